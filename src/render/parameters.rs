//! Files in the source that override its spec: `.argocd-source.yaml` and `.argocd-source-<application>.yaml`.

use serde_json::Value;

use super::{FieldError, Origin, RenderError};
use crate::{
    api::ApplicationSource,
    files::{Files, RepoPath},
    object::yaml,
};

const PREFIX: &str = ".argocd-source";

/// What a file in the repository must not change: it would lead to another source.
const PROTECTED: [&str; 4] = ["chart", "path", "repoURL", "targetRevision"];

/// Whether a file has this purpose.
pub(super) fn is_parameters_file(name: &str) -> bool {
    name.strip_prefix(PREFIX).is_some_and(|rest| rest.starts_with(['.', '-']) && rest.ends_with(".yaml"))
}

/// The source with the files' overrides, merged as JSON merge patches.
pub(super) fn merged(
    files: &Files,
    source: &ApplicationSource,
    root: &RepoPath,
    application: &str,
) -> Result<ApplicationSource, RenderError> {
    let mut names = vec![format!("{PREFIX}.yaml")];
    if !application.is_empty() {
        names.push(format!("{PREFIX}-{application}.yaml"));
    }
    let mut merged = source.clone();
    for name in names {
        let Ok(file) = root.join(&name) else { continue };
        if !files.is_file(&file)? {
            continue;
        }
        let text = files.read(&file)?;
        let documents = yaml::parse(&text, &yaml::Options::default())
            .map_err(|source| RenderError::Yaml { file: file.clone(), source })?;
        let Some(patch) = documents.into_iter().next().map(|document| document.value) else {
            continue;
        };
        if !patch.is_object() {
            let problem = "the file must hold a mapping with fields of spec.source".to_owned();
            return Err(RenderError::Document { origin: Origin { path: file, line: 1 }, problem });
        }
        merged = apply(&merged, patch).map_err(|source| RenderError::Parameters { file, source })?;
    }
    Ok(merged)
}

fn apply(source: &ApplicationSource, mut patch: Value) -> Result<ApplicationSource, FieldError> {
    if let Some(fields) = patch.as_object_mut() {
        for field in PROTECTED {
            fields.shift_remove(field);
        }
    }
    let mut value = serde_json::to_value(source).unwrap_or_default();
    json_patch::merge(&mut value, &patch);
    serde_path_to_error::deserialize(value)
}
