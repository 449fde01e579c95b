//! `skiff render`: prints what a directory renders to, by the engine that the agent uses.
//!
//! ```text
//! DIR ──render──▶ objects ──▶ standard output │ one file (-o FILE) │ a file each (-o DIR) │ differences (--diff OTHER)
//!        ▲  │
//!        │  ▼ remotes that are needed
//!      fetched (`remotes`)
//! ```

mod difference;
mod remotes;
mod split;

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::Value;

use self::remotes::FetchError;
pub(super) use self::remotes::{FetchOptions, Fetcher};
use crate::{
    api::{Application, ApplicationSource, ApplicationSourceType, ReadError},
    error::{Classified, ErrorKind, chain},
    files::{DiskTree, FileLimits, Files, MemoryTree, MountedTree, RepoPath, Tree},
    object::{
        Object,
        yaml::{self, YamlError},
    },
    render::{
        Manifests, RenderContext, RenderError, Rendered,
        kustomize::{LoadRestrictor, Remote, Reorder},
        manifests,
    },
};

/// How often a render may ask for remotes that it did not know of before.
const REMOTE_ROUNDS: usize = 16;

/// The options of `skiff render`.
#[derive(Debug, clap::Args)]
pub struct RenderOptions {
    /// The directory to render, or the Git URL of one; with --application the root of the repository
    #[arg(value_name = "DIR", default_value = ".")]
    directory: PathBuf,
    /// Render spec.source of this Application manifest
    #[arg(long, value_name = "FILE")]
    application: Option<PathBuf>,
    /// The directory that no file is read outside of [default: the Git repository around DIR, else no limit]
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Write to this file; into an existing directory, or one that ends with '/', a file for each object
    #[arg(short, long, value_name = "PATH", conflicts_with = "diff")]
    output: Option<PathBuf>,
    /// Print how OTHER differs from DIR, object by object, and end with 1 if it does
    #[arg(long, value_name = "OTHER")]
    diff: Option<PathBuf>,
    /// Which files a kustomization may read
    #[arg(long, value_name = "RULE", value_parser = ["LoadRestrictionsRootOnly", "LoadRestrictionsNone"], default_value = "LoadRestrictionsRootOnly")]
    load_restrictor: String,
    /// The order of what a kustomization without sortOptions makes
    #[arg(long, value_name = "ORDER", value_parser = ["legacy", "none"], default_value = "legacy")]
    reorder: String,
    #[command(flatten)]
    fetch: FetchOptions,
}

/// Why a directory could not be rendered.
#[derive(Debug, thiserror::Error)]
pub enum RenderCommandError {
    /// A directory or file of the command line cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The path as given.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write {path}")]
    Write {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Two objects would be written to one file, or one to no file of the directory.
    #[error("{object} cannot be written to a file of its own: {problem}")]
    FileName {
        /// The object.
        object: String,
        /// What is wrong with the name.
        problem: String,
    },
    /// The directory is not below the root.
    #[error("{path} is not below the root {root}: choose another --root")]
    Outside {
        /// The directory.
        path: String,
        /// The root.
        root: String,
    },
    /// The directory is a URL that leads nowhere.
    #[error("'{url}' {problem}")]
    Url {
        /// The URL without user information.
        url: String,
        /// What is wrong with it, as a clause.
        problem: String,
    },
    /// The Application manifest is no YAML.
    #[error("cannot read {path}")]
    Yaml {
        /// The manifest.
        path: String,
        /// Where and why.
        #[source]
        source: YamlError,
    },
    /// The manifest is no Application with one source.
    #[error("{path}: {problem}")]
    NoApplication {
        /// The manifest.
        path: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A field of the Application has the wrong type.
    #[error("cannot read {path}")]
    Application {
        /// The manifest.
        path: String,
        /// The field and what is wrong with it.
        #[source]
        source: ReadError,
    },
    /// A remote base could not be fetched.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// Remote bases lead to ever more of them.
    #[error("more than {REMOTE_ROUNDS} remote bases name each other")]
    TooManyRemotes,
    /// The source cannot be rendered.
    #[error(transparent)]
    Render(#[from] RenderError),
    /// Standard output is gone.
    #[error("cannot print the objects")]
    Print(#[source] io::Error),
}

impl Classified for RenderCommandError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Render(source) => source.kind(),
            Self::Fetch(source) => source.kind(),
            Self::Print(_) | Self::Write { .. } => ErrorKind::Configuration,
            _ => ErrorKind::User,
        }
    }
}

/// Prints the objects to `output` as YAML documents (or writes them to files, or prints how they differ from others), and
/// what is doubtful about them to `messages`. Returns the exit code: 1 where there are differences.
///
/// # Errors
/// See [`RenderCommandError`]; nothing is printed then.
pub async fn run(
    options: &RenderOptions,
    output: &mut dyn Write,
    messages: &mut dyn Write,
) -> Result<u8, RenderCommandError> {
    let rendered = rendered(options, &options.directory).await?;
    let warn = |warning: &str, messages: &mut dyn Write| {
        writeln!(messages, "warning: {warning}").map_err(RenderCommandError::Print)
    };
    rendered.warnings.iter().try_for_each(|warning| warn(warning, messages))?;
    if let Some(other) = &options.diff {
        let rendered = rendered.check()?;
        let other_rendered = self::rendered(options, other).await?.check()?;
        let names = (options.directory.display().to_string(), other.display().to_string());
        let text = difference::between(&rendered, &other_rendered, (&names.0, &names.1));
        write!(output, "{text}").and_then(|()| output.flush()).map_err(RenderCommandError::Print)?;
        return Ok(u8::from(!text.is_empty()));
    }
    let documents: Vec<Value> = match (&rendered.source_type, &options.application) {
        // kustomize prints what no cluster would take; so does this in its place, and says so.
        (ApplicationSourceType::Kustomize, None) => {
            for (value, origin) in &rendered.values {
                if let Err(error) = Object::check(value) {
                    warn(&format!("{origin}: {error}; the agent would refuse it"), messages)?;
                }
            }
            rendered.values.into_iter().map(|(value, _)| value).collect()
        }
        (source_type, application) => {
            if *source_type == ApplicationSourceType::Directory && application.is_none() {
                warn("there is no kustomization file: the manifests of the directory are printed", messages)?;
            }
            rendered.check()?.objects.into_iter().map(|rendered| rendered.object.into_value()).collect()
        }
    };
    match &options.output {
        None => print(&documents, output).map_err(RenderCommandError::Print)?,
        Some(path) if path.is_dir() || path.as_os_str().as_encoded_bytes().ends_with(b"/") => {
            split::write(&documents, path)?;
        }
        Some(path) => {
            let mut text = Vec::new();
            print(&documents, &mut text)
                .and_then(|()| fs::write(path, text))
                .map_err(|source| RenderCommandError::Write { path: path.display().to_string(), source })?;
        }
    }
    // The process ends now, and taking thousands of objects apart would take a tenth of its time.
    std::mem::forget(documents);
    Ok(0)
}

fn print(documents: &[Value], output: &mut dyn Write) -> io::Result<()> {
    output.write_all(yaml::documents_to_string(documents).as_bytes())?;
    output.flush()
}

/// What is rendered, and where its files are.
struct Job {
    tree: Arc<dyn Tree>,
    source: ApplicationSource,
    context: RenderContext,
    fetched: Vec<(RepoPath, Arc<dyn Tree>)>,
}

impl Job {
    async fn run(mut self, fetcher: &mut Fetcher<'_>) -> Result<Manifests, RenderCommandError> {
        for _ in 0..REMOTE_ROUNDS {
            let tree: Arc<dyn Tree> = match self.fetched.as_slice() {
                [] => Arc::clone(&self.tree),
                fetched => Arc::new(MountedTree::new(Arc::clone(&self.tree), fetched.to_vec())),
            };
            match manifests(&Files::new(tree, FileLimits::default()), &self.source, &self.context) {
                Err(RenderError::Remotes(needed)) => {
                    for remote in needed {
                        self.fetched.push((remote.mount(), fetcher.fetch(&remote).await?));
                    }
                }
                rendered => return Ok(rendered?),
            }
        }
        Err(RenderCommandError::TooManyRemotes)
    }
}

/// What a source of a tree renders to, with its remote bases.
///
/// # Errors
/// See [`RenderCommandError`].
pub(super) async fn rendered_in(
    tree: Arc<dyn Tree>,
    source: ApplicationSource,
    context: RenderContext,
    fetcher: &mut Fetcher<'_>,
) -> Result<Rendered, RenderCommandError> {
    Ok(Job { tree, source, context, fetched: Vec::new() }.run(fetcher).await?.check()?)
}

async fn rendered(options: &RenderOptions, directory: &Path) -> Result<Manifests, RenderCommandError> {
    let mut fetcher = Fetcher::new(&options.fetch);
    if let Some(url) = directory.to_str().filter(|_| !directory.exists()) {
        let located = Remote::locate(url).map_err(|problem| {
            let shown = url.rsplit_once('@').map_or(url, |(_, rest)| rest).to_owned();
            RenderCommandError::Url { url: shown, problem }
        })?;
        if let Some((remote, path)) = located {
            let fetched = vec![(remote.mount(), fetcher.fetch(&remote).await?)];
            let source = ApplicationSource { path: path.as_str().to_owned(), ..Default::default() };
            let tree = Arc::new(MemoryTree::default());
            return Job { tree, source, context: context(options), fetched }.run(&mut fetcher).await;
        }
    }
    let directory = &canonical(directory)?;
    if let Some(manifest) = &options.application {
        let root = options.root.as_deref().map(canonical).transpose()?;
        let (source, application) = application(manifest)?;
        let context = RenderContext { kustomize: context(options).kustomize, ..application };
        let tree = disk(root.as_deref().unwrap_or(directory))?;
        return Job { tree, source, context, fetched: Vec::new() }.run(&mut fetcher).await;
    }
    let below = |root: &Path| -> Result<Job, RenderCommandError> {
        let outside = || RenderCommandError::Outside {
            path: directory.display().to_string(),
            root: root.display().to_string(),
        };
        let path = directory.strip_prefix(root).map_err(|_| outside())?;
        let path = path.to_str().ok_or_else(outside)?;
        let path = if path.is_empty() { "." } else { path };
        let source = ApplicationSource { path: path.to_owned(), ..Default::default() };
        Ok(Job { tree: disk(root)?, source, context: context(options), fetched: Vec::new() })
    };
    let root = options.root.as_deref().map(canonical).transpose()?;
    if let Some(root) = root.as_deref().or_else(|| repository_around(directory)) {
        return below(root)?.run(&mut fetcher).await;
    }
    match below(directory)?.run(&mut fetcher).await {
        // Bases may be anywhere then, as for kustomize.
        Err(error) if chain(&error).contains("leads out of the repository") => {
            let top = directory.ancestors().last().unwrap_or(directory);
            below(top)?.run(&mut fetcher).await
        }
        result => result,
    }
}

fn context(options: &RenderOptions) -> RenderContext {
    let mut context = RenderContext::default();
    if options.load_restrictor == "LoadRestrictionsNone" {
        context.kustomize.load_restrictor = LoadRestrictor::None;
    }
    if options.reorder == "none" {
        context.kustomize.reorder = Reorder::None;
    }
    context
}

fn disk(root: &Path) -> Result<Arc<dyn Tree>, RenderCommandError> {
    Ok(Arc::new(DiskTree::new(root).map_err(|source| read_error(root, source))?))
}

/// The source of an Application manifest, and what it says besides.
fn application(manifest: &Path) -> Result<(ApplicationSource, RenderContext), RenderCommandError> {
    let path = manifest.display().to_string();
    let no_application =
        |problem: &str| RenderCommandError::NoApplication { path: path.clone(), problem: problem.to_owned() };
    let text = fs::read(manifest).map_err(|source| read_error(manifest, source))?;
    let documents = yaml::parse(&text, &yaml::Options::default())
        .map_err(|source| RenderCommandError::Yaml { path: path.clone(), source })?;
    let mut applications = documents
        .into_iter()
        .map(|document| document.value)
        .filter(|value| value.get("kind").and_then(|kind| kind.as_str()) == Some("Application"));
    let (Some(value), None) = (applications.next(), applications.next()) else {
        return Err(no_application("the file must hold one Application"));
    };
    let application = Application::from_value(value)
        .map_err(|source| RenderCommandError::Application { path: path.clone(), source })?;
    let mut sources = application.spec.effective_sources();
    let (Some(source), true) = (sources.pop(), sources.is_empty()) else {
        return Err(no_application("the Application must have one source: set spec.source"));
    };
    let context = RenderContext {
        application_name: application.name().to_owned(),
        destination_namespace: application.spec.destination.namespace.clone(),
        project_name: application.spec.project_name().to_owned(),
        ..RenderContext::default()
    };
    Ok((source, context))
}

/// The nearest directory at or above this one that is the top of a Git working tree.
fn repository_around(directory: &Path) -> Option<&Path> {
    directory.ancestors().find(|ancestor| ancestor.join(".git").exists())
}

fn canonical(path: &Path) -> Result<PathBuf, RenderCommandError> {
    path.canonicalize().map_err(|source| read_error(path, source))
}

fn read_error(path: &Path, source: io::Error) -> RenderCommandError {
    RenderCommandError::Read { path: path.display().to_string(), source }
}

#[cfg(test)]
mod tests;
