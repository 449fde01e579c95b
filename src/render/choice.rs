//! Which directory is rendered, and with which renderer.

use super::RenderError;
use crate::{
    api::{ApplicationSource, ApplicationSourceType},
    files::{EntryKind, Files, RepoPath},
};

const KUSTOMIZATION_FILES: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

const HELM: &str = "is not supported yet: Helm charts cannot be rendered; keep the rendered manifests in Git";

/// The directory that `path` names.
pub(super) fn root(files: &Files, source: &ApplicationSource) -> Result<RepoPath, RenderError> {
    let unsupported =
        |place: &str, problem| Err(RenderError::Unsupported { place: place.to_owned(), problem });
    if !source.chart.is_empty() {
        return unsupported("spec.source.chart", HELM);
    }
    if source.repo_url.starts_with("oci://") {
        return unsupported(
            "spec.source.repoURL",
            "is an OCI registry, which is not supported yet: use a Git repository",
        );
    }
    if source.path.is_empty() {
        return Err(RenderError::Field {
            field: "path".to_owned(),
            problem: "is missing: set it to a directory of the repository ('.' for its root)".to_owned(),
        });
    }
    let path = RepoPath::parse(&source.path).map_err(RenderError::Path)?;
    let problem = match files.kind(&path)? {
        Some(EntryKind::Directory) => return Ok(path),
        None => "does not exist in the source at this revision",
        Some(EntryKind::Submodule) => {
            "is a Git submodule, which is not fetched: keep the manifests in the repository"
        }
        Some(_) => "is a file: set it to the directory that holds the manifests",
    };
    Err(RenderError::PathUnusable { path, problem })
}

/// The renderer: the one whose options are set, else the one whose file is there, else plain files.
pub(super) fn source_type(
    files: &Files,
    source: &ApplicationSource,
    root: &RepoPath,
) -> Result<ApplicationSourceType, RenderError> {
    let explicit = explicit_types(source);
    if explicit.len() > 1 {
        let types: Vec<&str> = explicit.iter().map(|source_type| source_type.as_str()).collect();
        return Err(RenderError::SeveralTypes { types: types.join(", ") });
    }
    let unsupported = |place: String, problem| Err(RenderError::Unsupported { place, problem });
    match explicit.first() {
        Some(ApplicationSourceType::Helm) => return unsupported("spec.source.helm".to_owned(), HELM),
        Some(ApplicationSourceType::Plugin) => {
            let problem = "is not supported: Skiff runs no other program";
            return unsupported("spec.source.plugin".to_owned(), problem);
        }
        Some(source_type) => return Ok(*source_type),
        None => {}
    }
    let has = |name: &str| root.join(name).map_or(Ok(false), |file| files.is_file(&file));
    if has("Chart.yaml")? {
        return unsupported(format!("'{root}' is a Helm chart, which"), HELM);
    }
    for name in KUSTOMIZATION_FILES {
        if has(name)? {
            return Ok(ApplicationSourceType::Kustomize);
        }
    }
    Ok(ApplicationSourceType::Directory)
}

/// Options that say nothing choose nothing.
fn explicit_types(source: &ApplicationSource) -> Vec<ApplicationSourceType> {
    let mut source = source.clone();
    source.helm = source.helm.filter(|options| *options != Default::default());
    source.kustomize = source.kustomize.filter(|options| *options != Default::default());
    source.directory = source.directory.filter(|options| *options != Default::default());
    source.explicit_types()
}
