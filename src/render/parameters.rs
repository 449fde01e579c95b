//! Files in the source that override its spec: `.argocd-source.yaml` and `.argocd-source-<application>.yaml`.

use serde_json::Value;

use super::RenderError;
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
    name.strip_prefix(PREFIX)
        .is_some_and(|rest| rest.starts_with(['.', '-']) && rest.ends_with(".yaml"))
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
        let documents =
            yaml::parse(&text, &yaml::Options::default()).map_err(|source| RenderError::Yaml {
                file: file.clone(),
                source,
            })?;
        let Some(patch) = documents.into_iter().next().map(|document| document.value) else {
            continue;
        };
        merged = apply(&merged, patch).map_err(|source| RenderError::Parameters { file, source })?;
    }
    Ok(merged)
}

fn apply(source: &ApplicationSource, mut patch: Value) -> Result<ApplicationSource, serde_json::Error> {
    let Some(fields) = patch.as_object_mut() else {
        return Err(serde::de::Error::custom(
            "the file must hold a mapping with fields of spec.source",
        ));
    };
    for field in PROTECTED {
        fields.shift_remove(field);
    }
    let mut value = serde_json::to_value(source)?;
    json_patch::merge(&mut value, &patch);
    serde_json::from_value(value)
}
