//! One file for each object, under the names that kustomize gives them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use super::RenderCommandError;
use serde_json::Value;

use crate::{object::yaml, render::kustomize::Identity};

/// Writes the objects into a directory, which is made if it does not exist. Files that are there already stay, or are
/// replaced where they have the name of an object.
///
/// # Errors
/// When an object's name makes no file name, two make the same, or a file cannot be written. Names are checked first.
pub(super) fn write(documents: &[Value], directory: &Path) -> Result<(), RenderCommandError> {
    let objects: Vec<(Identity, &Value)> =
        documents.iter().map(|value| (Identity::of(value), value)).collect();
    let namespaces: BTreeSet<&str> = objects.iter().filter_map(|(identity, _)| identity.scope()).collect();
    let mut files: BTreeMap<String, &(Identity, &Value)> = BTreeMap::new();
    for object in &objects {
        let identity = &object.0;
        let name = file_name(identity, namespaces.len() > 1);
        let fail = |problem: String| RenderCommandError::FileName { object: identity.to_string(), problem };
        if name.contains(['/', '\0']) {
            return Err(fail(format!("'{name}' holds a '/'")));
        }
        if let Some((other, _)) = files.insert(name.clone(), object) {
            return Err(fail(format!("{other} has the file '{name}', too")));
        }
    }
    let error = |path: &Path, source| RenderCommandError::Write { path: path.display().to_string(), source };
    fs::create_dir_all(directory).map_err(|source| error(directory, source))?;
    for (name, (_, value)) in files {
        let path = directory.join(name);
        fs::write(&path, yaml::to_string(value)).map_err(|source| error(&path, source))?;
    }
    Ok(())
}

/// `group_version_kind_name.yaml` in lower case, with the namespace in front where there are several.
fn file_name(object: &Identity, several_namespaces: bool) -> String {
    let Identity { gvk, name, .. } = object;
    let namespace = object.scope().filter(|_| several_namespaces).unwrap_or_default();
    let parts = [namespace, &gvk.group, &gvk.version, &gvk.kind, name];
    let named: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    format!("{}.yaml", named.join("_")).to_lowercase()
}
