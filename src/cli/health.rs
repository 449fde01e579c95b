//! `skiff health`: what the agent would say of the health of objects, offline.
//!
//! Meant for trying out health checks of one's own and for pipelines: any object as the cluster has it, or as
//! `kubectl get -o yaml` prints it. An operator's kind is judged by its rule alone; where such an object is being
//! deleted, it says so besides, because the agent shows all of those as `Progressing`.

use std::{
    io,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use super::{
    documents::{self, DocumentsError, FileDocument},
    output::{Cell, Console},
};
use crate::{
    api::{HealthStatus, HealthStatusCode},
    error::{Classified, ErrorKind},
    health::{self, Scripts},
    object::Object,
    settings::{self, RawSettings, Settings, SettingsProblem},
};

/// The options of `skiff health`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit code: 0 when every document was judged, 1 when one has a health that --fail-on names, \
2 when a document or a setting cannot be read."
)]
pub struct HealthOptions {
    /// Files with objects as YAML or JSON; '-' is standard input
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// A file with the ConfigMap argocd-cm: its resource.customizations go before Skiff's own checks
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
    /// How to print
    #[arg(long, short, value_name = "FORMAT", default_value = "text")]
    output: Format,
    /// Exit with 1 when an object has one of these healths, such as 'Degraded,Unknown'
    #[arg(long, value_name = "STATUS", value_delimiter = ',', value_parser = status)]
    fail_on: Vec<HealthStatusCode>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Format {
    Text,
    Json,
}

fn status(text: &str) -> Result<HealthStatusCode, String> {
    let word = |code: &&HealthStatusCode| code.as_str().eq_ignore_ascii_case(text);
    HealthStatusCode::ALL.iter().find(word).copied().ok_or_else(|| {
        let known: Vec<&str> = HealthStatusCode::ALL.iter().map(|code| code.as_str()).collect();
        format!("it must be one of {}", known.join(", "))
    })
}

/// Why objects could not be judged.
#[derive(Debug, thiserror::Error)]
pub enum HealthCommandError {
    /// A file cannot be read.
    #[error(transparent)]
    Documents(#[from] DocumentsError),
    /// The settings file has no ConfigMap.
    #[error(
        "{path} has no ConfigMap '{}': its data would hold 'resource.customizations'",
        settings::CONFIG_MAP
    )]
    NoSettings {
        /// The file.
        path: String,
    },
    /// Standard output is gone.
    #[error("cannot print the health")]
    Print(#[from] io::Error),
}

impl Classified for HealthCommandError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Configuration
    }
}

struct Judged {
    document: FileDocument,
    object: Object,
    health: Option<HealthStatus>,
}

/// Prints the health of all documents and tells the exit code.
///
/// # Errors
/// When a file cannot be read, a document is no object, or the output is gone.
pub fn run(options: &HealthOptions, console: &mut Console<'_>) -> Result<u8, HealthCommandError> {
    let (scripts, problems) = match &options.settings {
        Some(path) => read_settings(path)?,
        None => Default::default(),
    };
    for problem in &problems {
        console.problem(problem, None)?;
    }
    let mut judged = Vec::new();
    for file in &options.files {
        for document in documents::read(file)? {
            judged.push(judge(document, &scripts)?);
        }
    }
    match options.output {
        Format::Json => console.json(&Value::Array(judged.iter().map(as_json).collect()))?,
        Format::Text => as_text(&judged, console)?,
    }
    console.out.flush()?;
    let mut statuses = judged.iter().filter_map(|judged| judged.health.as_ref()).map(|health| health.status);
    let failed = statuses.any(|status| options.fail_on.contains(&status));
    Ok(if !problems.is_empty() { 2 } else { u8::from(failed) })
}

/// The scripts of a ConfigMap, and what is wrong with those settings.
fn read_settings(path: &Path) -> Result<(Scripts, Vec<SettingsProblem>), HealthCommandError> {
    let documents = documents::read(path)?;
    let is = |document: &&FileDocument, pointer: &str, text: &str| {
        document.value.pointer(pointer).and_then(Value::as_str) == Some(text)
    };
    let mut maps = documents.iter().filter(|document| is(document, "/kind", "ConfigMap"));
    let named = documents.iter().find(|document| {
        is(document, "/kind", "ConfigMap") && is(document, "/metadata/name", settings::CONFIG_MAP)
    });
    let map = named
        .or_else(|| maps.next())
        .ok_or_else(|| HealthCommandError::NoSettings { path: path.display().to_string() })?;
    let data = map.value.get("data").and_then(Value::as_object).into_iter().flatten();
    // The rest of the ConfigMap is not what is tried out here.
    let config = data
        .filter(|(key, _)| key.starts_with("resource.customizations"))
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect();
    let (settings, problems) =
        Settings::read(&RawSettings { config, ..RawSettings::default() }, &Settings::default());
    Ok((settings.health_scripts, problems))
}

fn judge(document: FileDocument, scripts: &Scripts) -> Result<Judged, HealthCommandError> {
    let object = document.object(with_name(document.value.clone()))?;
    let has_own_rule = health::is_custom_kind(object.group(), object.kind())
        || scripts.find(object.group(), object.kind()).is_some();
    let health = if has_own_rule { scripts.by_kind(&object) } else { scripts.assess(&object) };
    let health =
        health.unwrap_or_else(|error| Some(HealthStatus::new(HealthStatusCode::Unknown, error.to_string())));
    Ok(Judged { document, object, health })
}

/// The name does not matter for the health, so an object without one gets one.
fn with_name(mut value: Value) -> Value {
    if let Some(fields) = value.as_object_mut() {
        let metadata = fields.entry("metadata").or_insert(Value::Null);
        if metadata.is_null() {
            *metadata = json!({});
        }
        if let Some(metadata) = metadata.as_object_mut() {
            let named = |field: &str| {
                metadata.get(field).and_then(Value::as_str).is_some_and(|name| !name.is_empty())
            };
            if !named("name") && !named("generateName") {
                metadata.insert("name".to_owned(), "-".into());
            }
        }
    }
    value
}

fn as_json(judged: &Judged) -> Value {
    let Judged { document, object, health } = judged;
    json!({
        "file": document.file,
        "line": document.line,
        "group": object.group(),
        "kind": object.kind(),
        "namespace": object.namespace(),
        "name": object.name(),
        "status": health.as_ref().map(|health| health.status),
        "message": health.as_ref().map(|health| health.message.as_str()).unwrap_or_default(),
        "beingDeleted": object.is_terminating(),
    })
}

fn as_text(judged: &[Judged], console: &mut Console<'_>) -> io::Result<()> {
    let rows = judged.iter().map(|Judged { object, health, .. }| {
        let status = match health {
            Some(health) => Cell::of(health.status),
            None => "-".into(),
        };
        let mut message = health.as_ref().map(|health| health.message.clone()).unwrap_or_default();
        if health.is_none() {
            "the kind has no health by itself".clone_into(&mut message);
        } else if object.is_terminating() && message != "Pending deletion" {
            message =
                format!("{message} (being deleted: the agent shows it as Progressing)").trim().to_owned();
        }
        let kind = object.gvk().group_kind().to_string();
        vec![kind.into(), object.namespace().into(), object.name().into(), status, message.into()]
    });
    console.table(&["KIND", "NAMESPACE", "NAME", "STATUS", "MESSAGE"], rows.collect())
}
