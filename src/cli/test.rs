//! `skiff test`: a GitOps repository, checked before it is merged.
//!
//! ```text
//! files ─▶ Applications ─render─▶ objects ─┬─▶ rules (checks)            ─┬─▶ findings ─▶ text │ JUnit │ SARIF │ GitHub
//!                                          └─▶ sync on a sandbox (play)   ─┘
//! ```

mod checks;
mod declared;
mod finding;
mod play;
mod report;

use std::{collections::BTreeSet, io, path::PathBuf, sync::Arc, time::Duration};

use self::{
    finding::{Finding, Rule, Severity},
    play::Copied,
    report::{Format, Report},
};
use super::{
    output::Console,
    render::{FetchOptions, Fetcher},
};
use crate::{
    cluster::ClusterError,
    error::{Classified, ErrorKind},
    files::{DiskTree, FilesError, Tree},
    git::{GitError, UrlError},
    glob::{Dialect, Glob, GlobError},
    object::ObjectError,
};

/// The options of `skiff test`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 nothing was found but what is allowed, 1 something was, 2 and more it could not be tested."
)]
pub struct TestOptions {
    /// The repository's files
    #[arg(value_name = "DIR", default_value = ".")]
    directory: PathBuf,

    /// Begin with the Applications of these files only, and go on with those that they lead to
    #[arg(long, value_name = "GLOB", value_delimiter = ',')]
    apps: Vec<String>,

    /// The URL under which Applications name this repository [default: the one that most of them name]
    #[arg(long, value_name = "URL")]
    repo: Option<String>,

    /// How findings are written
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,

    /// Findings that are warnings
    #[arg(long, value_enum, value_name = "RULE", value_delimiter = ',')]
    allow: Vec<Rule>,

    /// Render and look, but sync nothing on the sandbox
    #[arg(long)]
    no_sync: bool,

    /// How many seconds the syncs may take together
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    timeout: u64,

    #[command(flatten)]
    fetch: FetchOptions,
}

/// Why a repository could not be tested.
#[derive(Debug, thiserror::Error)]
pub enum TestError {
    /// The directory cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The directory.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A pattern cannot be read.
    #[error("--apps")]
    Glob(#[from] GlobError),
    /// A file cannot be read.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// There is nothing to test.
    #[error("no Application is in {place}: check the directory and --apps")]
    Nothing {
        /// The directory, or the patterns.
        place: String,
    },
    /// No directory for the copy.
    #[error("cannot make a temporary directory")]
    Directory(#[source] io::Error),
    /// The copy cannot be made.
    #[error("cannot copy the files into a repository")]
    Copy(#[from] GitError),
    /// The temporary directory's name cannot stand in a URL.
    #[error("cannot use the temporary directory: set TMPDIR to another one")]
    Url(#[source] UrlError),
    /// The metrics cannot be set up.
    #[error("the metrics of the agent")]
    Metrics(#[source] prometheus::Error),
    /// Something of Skiff's own is no object.
    #[error("an object of Skiff's own")]
    Own(#[source] ObjectError),
    /// The sandbox refused what a cluster has of itself.
    #[error(transparent)]
    Sandbox(#[from] ClusterError),
    /// The output is gone.
    #[error("cannot write the output")]
    Output(#[from] io::Error),
}

impl Classified for TestError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Metrics(_) | Self::Own(_) | Self::Sandbox(_) => ErrorKind::Bug,
            // Exit code 1 says that something was found.
            _ => ErrorKind::Configuration,
        }
    }
}

/// Tests a repository and returns the exit code.
///
/// # Errors
/// [`TestError`] when it cannot be tested.
pub async fn run(options: &TestOptions, console: &mut Console<'_>) -> Result<u8, TestError> {
    let shown = options.directory.display().to_string();
    let directory = options.directory.canonicalize();
    let tree = directory.and_then(DiskTree::new);
    let tree: Arc<dyn Tree> =
        Arc::new(tree.map_err(|source| TestError::Read { path: shown.clone(), source })?);
    let chosen = options.apps.iter().map(|pattern| Glob::new(pattern, Dialect::Path));
    let chosen = chosen.collect::<Result<Vec<_>, _>>()?;
    let paths = declared::files(tree.as_ref())?;
    let mut fetcher = Fetcher::new(&options.fetch);
    let (mut fleet, url) = declared::fleet(&tree, &paths, &chosen, options.repo.clone(), &mut fetcher).await;
    let mut found = std::mem::take(&mut fleet.findings);
    if fleet.applications.is_empty() && found.is_empty() {
        let place = if options.apps.is_empty() { shown } else { options.apps.join(", ") };
        return Err(TestError::Nothing { place });
    }
    found.extend(checks::check(&fleet, &paths, tree.as_ref()));
    let mut synced = 0;
    if let (false, Some(url)) = (options.no_sync, &url) {
        let copied = Copied { tree: &tree, paths: &paths, url };
        let played = play::play(&fleet, &copied, Duration::from_secs(options.timeout)).await?;
        synced = played.synced;
        found.extend(played.findings);
    }
    let report = Report {
        applications: fleet.applications.keys().cloned().collect(),
        objects: fleet.applications.values().map(|tested| tested.objects().count()).sum(),
        synced,
        findings: judged(found, &options.allow),
    };
    report.write(options.output, console.out)?;
    Ok(u8::from(report.has_errors()))
}

/// Findings by place, each once, with how much it matters.
fn judged(found: Vec<Finding>, allowed: &[Rule]) -> Vec<(Severity, Finding)> {
    let found: BTreeSet<Finding> = found.into_iter().collect();
    let severity = |finding: &Finding| {
        let is_allowed = finding.rule == Rule::NotTested || allowed.contains(&finding.rule);
        if is_allowed { Severity::Warning } else { Severity::Error }
    };
    found.into_iter().map(|finding| (severity(&finding), finding)).collect()
}
