//! A directory of plain manifests: YAML and JSON files.

use serde_json::Value;

use super::{Origin, RenderError, parameters::is_parameters_file};
use crate::{
    api::ApplicationSourceDirectory,
    files::{EntryKind, Files, Form, RepoPath},
    glob::{Dialect, Glob},
    object::yaml::{self, YamlProblem, packed},
};

/// The form in which parsed files are kept for later renders.
const MANIFESTS: Form = "manifests";

/// A file with this text is not rendered.
const SKIP_MARKER: &str = "+argocd:skip-file-rendering";

const EXTENSIONS: [&str; 4] = ["yaml", "yml", "json", "jsonnet"];

/// Reads the manifests below a directory, in the order of their paths.
pub(super) fn read(
    files: &Files,
    root: &RepoPath,
    options: Option<&ApplicationSourceDirectory>,
    warnings: &mut Vec<String>,
) -> Result<Vec<(Value, Origin)>, RenderError> {
    let default = ApplicationSourceDirectory::default();
    let options = options.unwrap_or(&default);
    let filter = Filter {
        any_extension: options.disable_extension_filter,
        exclude: glob("exclude", &options.exclude)?,
        include: glob("include", &options.include)?,
    };
    let mut values = Vec::new();
    let mut pending = vec![(root.clone(), EntryKind::Directory)];
    while let Some((path, kind)) = pending.pop() {
        match kind {
            EntryKind::Directory if path == *root || (options.recurse && may_enter(files, &path)?) => {
                let children = files.list(&path)?;
                let below = children.into_iter().rev();
                pending
                    .extend(below.filter_map(|(name, kind)| path.join(&name).ok().map(|path| (path, kind))));
            }
            EntryKind::File if filter.wants(&path, root) => {
                values.extend(file(files, &path, warnings)?);
            }
            _ => {}
        }
    }
    Ok(values)
}

/// Directories are not entered through links, which may lead in a circle, and a folder on disk may hold Git's own files.
fn may_enter(files: &Files, path: &RepoPath) -> Result<bool, RenderError> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Ok(true);
    };
    let expected = files.real_path(&parent)?.and_then(|parent| parent.join(name).ok());
    Ok(name != ".git" && files.real_path(path)? == expected)
}

struct Filter {
    any_extension: bool,
    exclude: Option<Glob>,
    include: Option<Glob>,
}

impl Filter {
    fn wants(&self, path: &RepoPath, root: &RepoPath) -> bool {
        let (Some(name), Some(relative)) = (path.file_name(), path.relative_to(root)) else {
            return false;
        };
        let has_extension =
            name.rsplit_once('.').is_some_and(|(_, extension)| EXTENSIONS.contains(&extension));
        (has_extension || self.any_extension)
            && !is_parameters_file(name)
            && !self.exclude.as_ref().is_some_and(|glob| glob.matches(relative))
            && self.include.as_ref().is_none_or(|glob| glob.matches(relative))
    }
}

fn glob(field: &'static str, pattern: &str) -> Result<Option<Glob>, RenderError> {
    if pattern.is_empty() {
        return Ok(None);
    }
    Glob::new(pattern, Dialect::Plain).map(Some).map_err(|source| RenderError::Glob { field, source })
}

fn file(
    files: &Files,
    path: &RepoPath,
    warnings: &mut Vec<String>,
) -> Result<Vec<(Value, Origin)>, RenderError> {
    let extension = path.file_name().and_then(|name| name.rsplit_once('.')).map(|(_, extension)| extension);
    if extension == Some("jsonnet") {
        return Err(RenderError::Unsupported {
            place: format!("'{path}' is a Jsonnet file, which"),
            problem: "is not supported yet: keep the manifest as YAML, or name the file in spec.source.directory.exclude",
        });
    }
    let is_json = extension == Some("json");
    let known = files.derived(path, MANIFESTS)?.and_then(|bytes| packed::unpack(&bytes));
    if let Some(documents) = known {
        return values(path, is_json, documents, |_| true, warnings);
    }
    let text = files.read(path)?;
    let lenient = String::from_utf8_lossy(&text);
    if lenient.contains(SKIP_MARKER) {
        return Ok(Vec::new());
    }
    let documents = match yaml::parse(&text, &yaml::Options::default()) {
        Ok(documents) => documents,
        Err(error)
            if !is_json
                && error.problem != YamlProblem::Limit
                && is_unrelated(&lenient, error.documents_before) =>
        {
            warnings.push(format!("'{path}' is left out, since it does not look like a manifest: {error}"));
            return Ok(Vec::new());
        }
        Err(source) => {
            return Err(RenderError::Yaml { file: path.clone(), source });
        }
    };
    // Whatever else the text decides is asked only of documents that are no objects.
    if documents.iter().all(|document| document.value.is_object()) {
        files.derive(path, MANIFESTS, &text, || packed::pack(&documents))?;
    }
    values(path, is_json, documents, |before| is_unrelated(&lenient, before), warnings)
}

/// The manifests among the documents of a file.
fn values(
    path: &RepoPath,
    is_json: bool,
    documents: Vec<yaml::Document>,
    is_unrelated: impl Fn(usize) -> bool,
    warnings: &mut Vec<String>,
) -> Result<Vec<(Value, Origin)>, RenderError> {
    if is_json && documents.len() != 1 {
        let problem = format!("a JSON file must hold one object, but this one holds {}", documents.len());
        return Err(RenderError::Document { origin: Origin { path: path.clone(), line: 1 }, problem });
    }
    let some_manifest = is_json
        || documents.iter().any(|document| claims_to_be_an_object(&document.value))
        || (documents.iter().any(|document| !document.value.is_object()) && !is_unrelated(0));
    let mut values = Vec::with_capacity(documents.len());
    for document in documents {
        let origin = Origin { path: path.clone(), line: document.line };
        for duplicate in &document.duplicate_keys {
            warnings.push(format!(
                "'{path}', line {}: key '{}' was already given at line {}; the last one counts",
                duplicate.line, duplicate.key, duplicate.first_line
            ));
        }
        if some_manifest {
            values.push((document.value, origin));
        } else {
            warnings.push(format!("{origin} is left out: it has neither apiVersion nor kind"));
        }
    }
    Ok(values)
}

/// A document with one of these and without the other is a manifest with a mistake, and no other file that happens to be
/// YAML: to leave it out would delete what it declares.
fn claims_to_be_an_object(value: &Value) -> bool {
    value.get("apiVersion").is_some() || value.get("kind").is_some()
}

/// Whether a file that is no YAML may be left out: it has no readable document and lacks what every manifest has.
fn is_unrelated(text: &str, documents_before: usize) -> bool {
    documents_before == 0 && !["apiVersion:", "kind:", "metadata:"].iter().all(|field| text.contains(field))
}
