//! `skiff diff`: declared objects against live ones, both from files, without a cluster.
//!
//! The desired side is a file, or a directory that is rendered as the agent renders it; the live side is what
//! `kubectl get -o yaml` prints. What is shown is what a server-side apply would change: what only the live objects
//! have, defaults and managed fields stay out of it, and values of Secrets are masked.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    changes::{ChangesOptions, ShownChange},
    documents::{self, DocumentsError, FileDocument},
    output::Console,
};
use crate::{
    api::{ApplicationSource, names},
    compare::{Local, Rules, SystemRules, TextDiffOptions, local, text_diff},
    error::{Classified, ErrorKind},
    files::{DiskTree, FileLimits, Files},
    object::{Object, ObjectKey},
    render::{RenderContext, RenderError, render},
    sandbox::predict,
};

/// Lines around a change.
const CONTEXT_LINES: usize = 3;

/// The options of `skiff diff`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit code: 0 when nothing differs, 1 when something does, 2 when something cannot be read. \
A live object that nothing declares is not shown: who owns it is not known here."
)]
pub struct DiffOptions {
    /// The declared objects: a file, '-' for standard input, or a directory to render
    #[arg(long, value_name = "FILE|DIR")]
    desired: PathBuf,
    /// The live objects, as 'kubectl get -o yaml' prints them; '-' for standard input
    #[arg(long, value_name = "FILE")]
    live: PathBuf,
    #[command(flatten)]
    shown: ChangesOptions,
}

/// Why files cannot be compared.
#[derive(Debug, thiserror::Error)]
pub enum DiffError {
    /// A file cannot be read.
    #[error(transparent)]
    Documents(#[from] DocumentsError),
    /// A directory cannot be read.
    #[error("cannot read {path}")]
    Directory {
        /// The directory.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A directory cannot be rendered.
    #[error("cannot render {path}")]
    Render {
        /// The directory.
        path: String,
        /// Where and why.
        #[source]
        source: Box<RenderError>,
    },
    /// Standard output is gone.
    #[error("cannot print the differences")]
    Print(#[from] io::Error),
}

impl Classified for DiffError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Configuration
    }
}

/// Prints what differs and tells the exit code.
///
/// # Errors
/// When a side cannot be read, or the output is gone.
pub fn run(options: &DiffOptions, console: &mut Console<'_>) -> Result<u8, DiffError> {
    let desired = desired(&options.desired)?;
    let live = objects(documents::read(&options.live)?)?;
    let mut notes = Vec::new();
    let mut found: Vec<(ObjectKey, String)> = Vec::new();
    for object in &desired {
        let text = compare(object, counterpart(object, &live), &mut notes);
        if !text.is_empty() {
            found.push((object.key(), text));
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    let shown: Vec<ShownChange<'_>> = found.iter().map(|(key, text)| ShownChange { key, text }).collect();
    let title = format!("{} against {}", options.desired.display(), options.live.display());
    options.shown.show(&title, &shown, &notes, console)?;
    console.out.flush()?;
    Ok(u8::from(!found.is_empty()))
}

/// The live object that a declared one stands for. One that is declared without a namespace has that of its live object.
fn counterpart<'a>(desired: &Object, live: &'a [Object]) -> Option<&'a Object> {
    let key = desired.key();
    live.iter().find(|live| live.key() == key).or_else(|| {
        let mut alike = live.iter().filter(|live| {
            let other = live.key();
            key.namespace.is_empty()
                && (other.group, other.kind, other.name)
                    == (key.group.clone(), key.kind.clone(), key.name.clone())
        });
        alike.next().filter(|_| alike.next().is_none())
    })
}

fn compare(desired: &Object, live: Option<&Object>, notes: &mut Vec<String>) -> String {
    let (rules, _) = Rules::compile(&[], &SystemRules::default());
    let options = TextDiffOptions { context: CONTEXT_LINES, rules: &rules };
    let Some(live) = live else {
        return text_diff(None, Some(desired), &options);
    };
    if local(desired, live, &rules, names::FIELD_MANAGER) == Local::Same {
        return String::new();
    }
    let mut desired = desired.clone();
    if desired.namespace().is_empty() {
        desired.set_namespace(live.namespace());
    }
    match predict(live, &desired, names::FIELD_MANAGER) {
        Ok(predicted) => text_diff(Some(live), Some(&predicted), &options),
        Err(error) => {
            notes.push(format!("{}: compared as it is written: {error}", desired.key()));
            text_diff(Some(live), Some(&desired), &options)
        }
    }
}

fn desired(path: &Path) -> Result<Vec<Object>, DiffError> {
    if path == Path::new("-") || !path.is_dir() {
        return objects(documents::read(path)?);
    }
    let shown = || path.display().to_string();
    let root = path.canonicalize().map_err(|source| DiffError::Directory { path: shown(), source })?;
    let around = root.ancestors().find(|folder| folder.join(".git").exists()).unwrap_or(&root);
    let tree = DiskTree::new(around).map_err(|source| DiffError::Directory { path: shown(), source })?;
    let inside = root.strip_prefix(around).ok().and_then(Path::to_str).filter(|inside| !inside.is_empty());
    let source = ApplicationSource { path: inside.unwrap_or(".").to_owned(), ..ApplicationSource::default() };
    let files = Files::new(Arc::new(tree), FileLimits::default());
    let rendered = render(&files, &source, &RenderContext::default())
        .map_err(|source| DiffError::Render { path: shown(), source: Box::new(source) })?;
    Ok(rendered.objects.into_iter().map(|rendered| rendered.object).collect())
}

fn objects(documents: Vec<FileDocument>) -> Result<Vec<Object>, DiffError> {
    documents.into_iter().map(|document| Ok(document.object(document.value.clone())?)).collect()
}
