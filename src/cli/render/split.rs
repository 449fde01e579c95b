//! One file for each object, under the names that kustomize gives them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use super::RenderCommandError;
use crate::{
    object::{Object, yaml},
    render::{Rendered, kustomize::namespace_of},
};

/// Writes the objects into a directory, which is made if it does not exist. Files that are there already stay, or are
/// replaced where they have the name of an object.
///
/// # Errors
/// When an object's name makes no file name, two make the same, or a file cannot be written. Names are checked first.
pub(super) fn write(rendered: &Rendered, directory: &Path) -> Result<(), RenderCommandError> {
    let namespaces: BTreeSet<&str> =
        rendered.objects.iter().filter_map(|rendered| namespace_of(&rendered.object)).collect();
    let mut files: BTreeMap<String, &Object> = BTreeMap::new();
    for rendered in &rendered.objects {
        let object = &rendered.object;
        let name = file_name(object, namespaces.len() > 1);
        let fail =
            |problem: String| RenderCommandError::FileName { object: object.key().to_string(), problem };
        if name.contains(['/', '\0']) {
            return Err(fail(format!("'{name}' holds a '/'")));
        }
        if let Some(other) = files.insert(name.clone(), object) {
            return Err(fail(format!("{} has the file '{name}', too", other.key())));
        }
    }
    let error = |path: &Path, source| RenderCommandError::Write { path: path.display().to_string(), source };
    fs::create_dir_all(directory).map_err(|source| error(directory, source))?;
    for (name, object) in files {
        let path = directory.join(name);
        fs::write(&path, yaml::to_string(object.value())).map_err(|source| error(&path, source))?;
    }
    Ok(())
}

/// `group_version_kind_name.yaml` in lower case, with the namespace in front where there are several.
fn file_name(object: &Object, several_namespaces: bool) -> String {
    let gvk = object.gvk();
    let namespace = namespace_of(object).filter(|_| several_namespaces).unwrap_or_default();
    let parts = [namespace, &gvk.group, &gvk.version, &gvk.kind, object.name()];
    let named: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    format!("{}.yaml", named.join("_")).to_lowercase()
}
