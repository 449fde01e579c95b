//! From files and a source spec to the objects that should exist.
//!
//! ```text
//! spec.source ──parameters──▶ merged source ──choice──▶ directory │ kustomize ──▶ values ──▶ checked objects
//!   (.argocd-source*.yaml)                              (helm, plugin, jsonnet: refused)
//! ```
//!
//! [`render`] is a function of its arguments: it reads the given [`Files`] and nothing else, and `Files` writes down
//! what was read, so that a caller knows when the outcome still holds. What lies in other repositories the caller fetches and
//! mounts in the files when [`RenderError::Remotes`] asks for it. An error stops everything: there is no such thing
//! as half a render, since what is missing from it would be pruned.

mod choice;
mod directory;
mod environment;
pub mod kustomize;
mod overrides;
mod parameters;
mod parsed;
#[cfg(test)]
mod tests;

use std::fmt;

use serde_json::Value;

use crate::{
    api::{ApplicationSource, ApplicationSourceType},
    error::{Classified, ErrorKind},
    files::{Files, FilesError, Inputs, PathError, RepoPath},
    glob::GlobError,
    object::{Object, ObjectError, yaml::YamlError},
};
use environment::Environment;
use kustomize::{KustomizeError, Remote};

/// A field of the wrong type, with its path.
pub type FieldError = serde_path_to_error::Error<serde_json::Error>;

/// What a renderer is told besides the source.
#[derive(Clone, Debug, Default)]
pub struct RenderContext {
    /// The Application's instance name (`orders`, or `team-a_orders` outside of the controller's namespace).
    pub application_name: String,
    /// The destination's namespace.
    pub destination_namespace: String,
    /// The project's name.
    pub project_name: String,
    /// The commit.
    pub revision: String,
    /// Options of the installation for Kustomize.
    pub kustomize: kustomize::Options,
    /// What a render may make at most.
    pub limits: RenderLimits,
}

impl RenderContext {
    /// What shapes a render besides the files. The commit is part of it where the source asks for it.
    pub fn fingerprint(&self, source: &ApplicationSource, commit: &str) -> String {
        let context = Self { revision: String::new(), ..self.clone() };
        let source = serde_json::to_string(source).unwrap_or_default();
        let commit = if source.contains(environment::REVISION) { commit } else { "" };
        format!("{context:?} {commit} {source}")
    }
}

/// What a render may make at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RenderLimits {
    /// Objects.
    pub objects: usize,
    /// Bytes of all objects together, roughly as JSON.
    pub bytes: usize,
}

impl Default for RenderLimits {
    fn default() -> Self {
        Self { objects: 20_000, bytes: 128 << 20 }
    }
}

/// What a source renders to.
#[derive(Clone, Debug)]
pub struct Rendered {
    /// The objects in the order of the renderer, duplicates included.
    pub objects: Vec<RenderedObject>,
    /// What kind of source it is.
    pub source_type: ApplicationSourceType,
    /// What was read. The same files render to the same objects.
    pub inputs: Inputs,
    /// What is doubtful, though no error.
    pub warnings: Vec<String>,
    /// Whether the commit itself is part of the outcome (`$ARGOCD_APP_REVISION`): then it holds for no other commit.
    pub uses_revision: bool,
}

/// One rendered object.
#[derive(Clone, Debug)]
pub struct RenderedObject {
    /// The object.
    pub object: Object,
    /// Where it comes from.
    pub origin: Origin,
}

/// Where an object comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The file; for what a kustomization generates, the kustomization.
    pub path: RepoPath,
    /// The line of the file on which the object's document begins, from 1.
    pub line: usize,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}', line {}", self.path, self.line)
    }
}

/// Why a source cannot be rendered.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// `path` is no path inside of the repository.
    #[error("spec.source.path cannot be read")]
    Path(#[source] PathError),
    /// Nothing is at `path`, or nothing that manifests can be read from.
    #[error("spec.source.path '{path}' {problem}")]
    PathUnusable {
        /// The path.
        path: RepoPath,
        /// What is wrong with it, as a clause.
        problem: &'static str,
    },
    /// The source asks for something that Skiff does not do.
    #[error("{place} {problem}")]
    Unsupported {
        /// The field (`spec.source.helm`) or the file.
        place: String,
        /// What is not supported and what to do instead, as a clause.
        problem: &'static str,
    },
    /// Options of several tools are set.
    #[error("spec.source has options of several tools ({types}): keep one of them")]
    SeveralTypes {
        /// The tools.
        types: String,
    },
    /// A field of the source has a value that cannot be used.
    #[error("spec.source.{field}: {problem}")]
    Field {
        /// The field below `spec.source`.
        field: String,
        /// What is wrong and what helps.
        problem: String,
    },
    /// A glob cannot be read.
    #[error("spec.source.directory.{field}")]
    Glob {
        /// `include` or `exclude`.
        field: &'static str,
        /// What is wrong with it.
        #[source]
        source: GlobError,
    },
    /// A file that overrides the source (`.argocd-source.yaml`) does not fit.
    #[error("'{file}' cannot be merged into spec.source")]
    Parameters {
        /// The file.
        file: RepoPath,
        /// What is wrong with it.
        #[source]
        source: FieldError,
    },
    /// A file is no YAML.
    #[error("cannot read '{file}'")]
    Yaml {
        /// The file.
        file: RepoPath,
        /// Where and why.
        #[source]
        source: YamlError,
    },
    /// A document is no Kubernetes object.
    #[error("{origin}")]
    Object {
        /// The file and the line.
        origin: Origin,
        /// What it lacks.
        #[source]
        source: ObjectError,
    },
    /// A document holds something else than objects.
    #[error("{origin}: {problem}")]
    Document {
        /// The file and the line.
        origin: Origin,
        /// What is wrong.
        problem: String,
    },
    /// The kustomization cannot be built.
    #[error("cannot build kustomization '{path}'")]
    Kustomize {
        /// Its directory.
        path: RepoPath,
        /// Why.
        #[source]
        source: Box<KustomizeError>,
    },
    /// The kustomization reads remotes that are not mounted in the files: fetch what is permitted and render again.
    #[error("remote bases are needed that are not fetched here: {}", .0.iter().map(|remote| format!("'{remote}'")).collect::<Vec<_>>().join(", "))]
    Remotes(Vec<Remote>),
    /// The render made too much.
    #[error("'{path}' renders to more than {limit}: split the application")]
    Limit {
        /// The source's path.
        path: RepoPath,
        /// The limit with its unit.
        limit: String,
    },
    /// The files cannot be read.
    #[error(transparent)]
    Files(#[from] FilesError),
}

impl Classified for RenderError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Files(source) => source.kind(),
            Self::Kustomize { source, .. } => source.kind(),
            _ => ErrorKind::User,
        }
    }
}

/// What a source renders to, before anybody has asked whether it consists of Kubernetes objects: a kustomization may hold
/// and print what no cluster would take.
#[derive(Clone, Debug)]
pub struct Manifests {
    /// The documents in the order of the renderer, and where they come from.
    pub values: Vec<(Value, Origin)>,
    /// What kind of source it is.
    pub source_type: ApplicationSourceType,
    /// What is doubtful, though no error.
    pub warnings: Vec<String>,
    inputs: Inputs,
    uses_revision: bool,
    root: RepoPath,
    limits: RenderLimits,
}

impl Manifests {
    /// Checks each document and takes lists apart.
    ///
    /// # Errors
    /// When a document is no Kubernetes object, or there are too many.
    pub fn check(self) -> Result<Rendered, RenderError> {
        let Self { values, source_type, warnings, inputs, uses_revision, root, limits } = self;
        let objects = objects(values, &root, limits)?;
        Ok(Rendered { objects, source_type, inputs, warnings, uses_revision })
    }
}

/// Renders a source.
///
/// # Errors
/// See [`RenderError`]. Nothing is rendered in part.
pub fn render(
    files: &Files,
    source: &ApplicationSource,
    context: &RenderContext,
) -> Result<Rendered, RenderError> {
    manifests(files, source, context)?.check()
}

/// Renders a source and leaves unchecked what comes out.
///
/// # Errors
/// See [`RenderError`].
pub fn manifests(
    files: &Files,
    source: &ApplicationSource,
    context: &RenderContext,
) -> Result<Manifests, RenderError> {
    let root = choice::root(files, source)?;
    let source = parameters::merged(files, source, &root, &context.application_name)?;
    let environment = Environment::new(&source, context);
    let mut warnings = Vec::new();
    let source_type = choice::source_type(files, &source, &root)?;
    let values = match source_type {
        ApplicationSourceType::Kustomize => {
            kustomization(files, &source, &root, context, &environment, &mut warnings)?
        }
        _ => directory::read(files, &root, source.directory.as_deref(), &mut warnings)?,
    };
    let limits = context.limits;
    let bytes = values.iter().map(|(value, _)| size(value)).fold(0, usize::saturating_add);
    if bytes > limits.bytes {
        return Err(RenderError::Limit { path: root, limit: format!("{} MiB", limits.bytes >> 20) });
    }
    let uses_revision = environment.used_revision();
    Ok(Manifests { values, source_type, warnings, inputs: files.inputs(), uses_revision, root, limits })
}

fn kustomization(
    files: &Files,
    source: &ApplicationSource,
    root: &RepoPath,
    context: &RenderContext,
    environment: &Environment,
    warnings: &mut Vec<String>,
) -> Result<Vec<(Value, Origin)>, RenderError> {
    let mut options = context.kustomize.clone();
    if let Some(spec) = &source.kustomize {
        options.overlay = overrides::overlay(files, root, spec, environment)?;
    }
    let output = kustomize::build(files, root, &options).map_err(|error| match error {
        KustomizeError::Remotes(remotes) => RenderError::Remotes(remotes),
        source => RenderError::Kustomize { path: root.clone(), source: Box::new(source) },
    })?;
    warnings.extend(output.warnings);
    let origins = output.origins.into_iter().map(|origin| Origin { path: origin.path, line: origin.line });
    Ok(output.objects.into_iter().zip(origins).collect())
}

/// Checks each value and takes lists apart.
fn objects(
    values: Vec<(Value, Origin)>,
    root: &RepoPath,
    limits: RenderLimits,
) -> Result<Vec<RenderedObject>, RenderError> {
    let mut objects = Vec::with_capacity(values.len());
    for (value, origin) in values {
        let mut flat = Vec::new();
        flatten(value, &origin, 0, &mut flat)?;
        for value in flat {
            if objects.len() >= limits.objects {
                let limit = format!("{} objects", limits.objects);
                return Err(RenderError::Limit { path: root.clone(), limit });
            }
            let object = Object::from_value(value)
                .map_err(|source| RenderError::Object { origin: origin.clone(), source })?;
            objects.push(RenderedObject { object, origin: origin.clone() });
        }
    }
    Ok(objects)
}

/// Lists inside of lists; nobody nests them deeper.
const LIST_DEPTH: usize = 8;

/// A `List` (or `ConfigMapList` …) stands for its items.
fn flatten(value: Value, origin: &Origin, depth: usize, flat: &mut Vec<Value>) -> Result<(), RenderError> {
    let document = |problem: String| RenderError::Document { origin: origin.clone(), problem };
    let Value::Object(mut map) = value else {
        flat.push(value);
        return Ok(());
    };
    let kind = map.get("kind").and_then(Value::as_str).unwrap_or_default().to_owned();
    match map.get("items") {
        Some(Value::Null) if !map.contains_key("spec") && !map.contains_key("status") => return Ok(()),
        Some(Value::Array(_)) if kind.ends_with("List") => {}
        Some(_) if kind == "List" => {
            return Err(document("field 'items' of a List must be a list".to_owned()));
        }
        _ => {
            flat.push(Value::Object(map));
            return Ok(());
        }
    }
    if depth >= LIST_DEPTH {
        return Err(document(format!("lists are nested more than {LIST_DEPTH} deep")));
    }
    let api_version = map.get("apiVersion").cloned();
    let Some(Value::Array(items)) = map.shift_remove("items") else {
        return Ok(());
    };
    for (position, mut item) in items.into_iter().enumerate() {
        let Value::Object(fields) = &mut item else {
            return Err(document(format!("items[{position}] of {kind} must be a mapping")));
        };
        // The items of a typed list need not repeat its type.
        if let (Some(item_kind), Some(api_version)) = (kind.strip_suffix("List"), &api_version)
            && !item_kind.is_empty()
            && !fields.contains_key("kind")
        {
            fields.entry("apiVersion").or_insert_with(|| api_version.clone());
            fields.insert("kind".to_owned(), Value::from(item_kind));
        }
        flatten(item, origin, depth + 1, flat)?;
    }
    Ok(())
}

/// Roughly the bytes of a value as JSON.
fn size(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 8,
        Value::String(text) => text.len().saturating_add(2),
        Value::Array(items) => items.iter().map(size).fold(2, usize::saturating_add),
        Value::Object(map) => {
            map.iter().map(|(key, value)| key.len() + 4 + size(value)).fold(2, usize::saturating_add)
        }
    }
}
