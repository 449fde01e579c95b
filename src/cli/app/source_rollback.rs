//! `skiff rollback`: takes an Application's source back in Git, by a commit that is pushed, and waits for the agent.
//!
//! ```text
//! history ─▶ revision to go back to ─▶ its files, and those of the branch ─▶ what differs ─▶ commit ─▶ push ─▶ wait
//! ```
//!
//! Only files that the Application reads are touched: those of its path, and those that its render read at the revision
//! to go back to. So the cluster is never ahead of Git, and the rollback is itself a commit that can be reverted.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
    sync::Arc,
    time::Duration,
};

use similar::TextDiff;
use tokio_util::sync::CancellationToken;

use super::{
    AppError, Session,
    get::limit,
    name::AppName,
    refresh,
    session::{Connection, Found},
};
use crate::{
    api::{ApplicationSource, SyncStatusCode, refresh::Refresh},
    cli::{
        git_login::{GitLogin, GitLoginError},
        output::Console,
    },
    error::{Classified, ErrorKind},
    files::{EntryKind, FileLimits, Files, FilesError, PathError, RepoPath, Tree},
    git::{
        CommitId, Content, Draft, GitError, GitOptions, GitTree, Publication, Published, RepoUrl,
        Repositories, RevisionError, RevisionSpec,
        writer::{Author, Change},
    },
    render::{RenderContext, render},
};

/// A directory is looked into so deep.
const MAX_DEPTH: usize = 64;
/// How long races with others who push are run again.
const PATIENCE: Duration = Duration::from_secs(60);

/// The options of `skiff rollback`.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// How to reach the cluster.
    #[command(flatten)]
    connection: Connection,

    /// The Application, 'name' or 'namespace/name'
    #[arg(value_name = "NAME")]
    name: String,

    /// The revision to go back to; the one that was synced before the present one by default
    #[arg(long, value_name = "REVISION")]
    to: Option<String>,

    /// Show the commit's changes and push nothing
    #[arg(long)]
    dry_run: bool,

    /// How many seconds to wait for the agent; 0 for no limit
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    timeout: u64,

    #[command(flatten)]
    login: GitLogin,
}

/// Why a source could not be taken back.
#[derive(Debug, thiserror::Error)]
pub enum RollbackError {
    /// The Application cannot be read or waited for.
    #[error(transparent)]
    App(#[from] AppError),
    /// The Application has no one branch to commit to, or nothing to go back to.
    #[error("cannot roll back application '{name}': {why}")]
    Refused {
        /// `namespace/name`.
        name: String,
        /// Why, and what to do instead.
        why: String,
    },
    /// The login cannot be used.
    #[error(transparent)]
    Login(#[from] GitLoginError),
    /// The revision cannot be one.
    #[error("--to")]
    Revision(#[from] RevisionError),
    /// A path of the source leads nowhere.
    #[error("spec.source.path")]
    Path(#[from] PathError),
    /// A file cannot be read.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// The repository cannot be read or written.
    #[error(transparent)]
    Git(#[from] GitError),
    /// No directory for the mirror.
    #[error("cannot make a temporary directory")]
    Directory(#[source] std::io::Error),
    /// The output is gone.
    #[error("cannot write the output")]
    Output(#[from] std::io::Error),
}

impl Classified for RollbackError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::App(error) => error.kind(),
            Self::Login(error) => error.kind(),
            Self::Git(error) => error.kind(),
            Self::Files(error) => error.kind(),
            Self::Directory(_) => ErrorKind::Configuration,
            Self::Output(_) => ErrorKind::Transient,
            Self::Refused { .. } | Self::Revision(_) | Self::Path(_) => ErrorKind::User,
        }
    }
}

/// Takes a source back. The session comes from the options.
///
/// # Errors
/// [`RollbackError`].
pub async fn run(options: &Options, console: &mut Console<'_>) -> Result<(), RollbackError> {
    let session = Session::connect(&options.connection).await?;
    run_on(&session, options, console).await
}

/// Takes a source back, on a session that is connected.
///
/// # Errors
/// [`RollbackError`].
pub async fn run_on(
    session: &Session,
    options: &Options,
    console: &mut Console<'_>,
) -> Result<(), RollbackError> {
    let name = AppName::parse(&options.name, session.namespace())?;
    let found = session.get(&name).await?;
    let refused = |why: &str| RollbackError::Refused { name: name.to_string(), why: why.to_owned() };
    let parts = parts(&found, options.to.as_deref()).map_err(|why| refused(&why))?;
    // Mirrors of its own: it may be the machine of somebody who is on call, or a pipeline.
    let cache = tempfile::tempdir().map_err(RollbackError::Directory)?;
    let repositories = Repositories::new(GitOptions::new(cache.path().to_owned()), None);
    // The last one of each branch: an Application shows no other.
    let mut pushed: BTreeMap<(&str, &str), CommitId> = BTreeMap::new();
    for part in &parts {
        let made = take_back(&name, &found, part, &repositories, options, console).await?;
        let branch = part.sources.first().map(|it| (it.repo_url.as_str(), it.target_revision.as_str()));
        pushed.extend(branch.zip(made));
    }
    let pushed: Vec<CommitId> = pushed.into_values().collect();
    if pushed.is_empty() {
        Ok(())
    } else {
        wait(session, &name, &pushed, limit(options.timeout), console).await
    }
}

/// What is taken back by one commit.
struct Part {
    /// Sources of one branch of one repository.
    sources: Vec<ApplicationSource>,
    /// The revision to go back to.
    to: String,
}

/// Makes the commit that takes a part back, and pushes it. `None` where nothing has to change, and with `--dry-run`.
async fn take_back(
    name: &AppName,
    found: &Found,
    part: &Part,
    repositories: &Repositories,
    options: &Options,
    console: &mut Console<'_>,
) -> Result<Option<CommitId>, RollbackError> {
    let Some(source) = part.sources.first() else { return Ok(None) };
    let url = RepoUrl::parse(&source.repo_url).map_err(GitLoginError::from)?;
    let credentials = options.login.credentials(&url)?;
    let cancel = CancellationToken::new();
    let references = repositories.references(&url, &credentials, &cancel).await?;
    let wanted = match source.target_revision.as_str() {
        "" | "HEAD" => references.head_target.clone().unwrap_or_default(),
        revision => format!("refs/heads/{}", revision.trim_start_matches("refs/heads/")),
    };
    if !references.refs.contains_key(&wanted) {
        let why = format!(
            "its targetRevision '{}' is no branch: change it to the revision to go back to",
            source.target_revision
        );
        return Err(RollbackError::Refused { name: name.to_string(), why });
    }
    let branch = wanted.trim_start_matches("refs/heads/").to_owned();
    let revision = RevisionSpec::parse(&part.to, None)?;
    let to = repositories.resolve(&url, &credentials, &revision, &references, &cancel).await?;
    let good = repositories.commit_tree(&url, &credentials, &to, &cancel).await?;
    let read: Vec<Read> =
        part.sources.iter().map(|source| read_by(found, source, &good)).collect::<Result<_, _>>()?;
    if options.dry_run {
        let tip = references.refs.get(&wanted).cloned().unwrap_or_else(|| to.clone());
        let tree = repositories.commit_tree(&url, &credentials, &tip, &cancel).await?;
        let changes = changes(&tree, &good, &read)?;
        return show(&changes, &tree, &branch, &to, console).map(|()| None);
    }
    let author = options.login.author()?;
    let person = person(&author);
    let publication = Publication {
        credentials,
        url,
        from: branch.clone(),
        to: branch.clone(),
        author,
        signing_key: options.login.signing_key()?,
        patience: PATIENCE,
    };
    let draft = |tree: &Arc<GitTree>| {
        let changes = changes(tree, &good, &read)?;
        let message = message(name, tree.commit(), &to, &person);
        let draft = Draft { content: Content::Changes(changes.clone()), message };
        Ok::<_, RollbackError>((!changes.is_empty()).then_some(draft))
    };
    match repositories.publish(&publication, draft, &cancel).await? {
        Published::Nothing { at, .. } => {
            let text = format!("nothing to take back: {} of {branch} is as {}", at.short(), to.short());
            console.line(&text)?;
            Ok(None)
        }
        Published::Commit { id, .. } => {
            console.line(&format!("pushed {} to {branch}: as {}", id.short(), to.short()))?;
            Ok(Some(id))
        }
    }
}

/// What has to be taken back: the one source, or those of several whose revisions changed with the last sync.
fn parts(found: &Found, to: Option<&str>) -> Result<Vec<Part>, String> {
    let spec = &found.application.spec;
    if spec.source_hydrator.is_some() {
        return Err("its manifests are hydrated: revert the commit of the dry source".to_owned());
    }
    if !spec.has_multiple_sources() {
        let source = spec.effective_sources().into_iter().next().ok_or("it has no source")?;
        if !source.chart.is_empty() {
            return Err("its source is a Helm chart: change spec.source.targetRevision".to_owned());
        }
        let before = || {
            before_the_present(found)
                .ok_or("its history has no revision before the present one: name one with --to")
        };
        let to = to.map_or_else(|| before().map(str::to_owned), |to| Ok(to.to_owned()))?;
        return Ok(vec![Part { sources: vec![source], to }]);
    }
    if to.is_some() {
        return Err("it has several sources with revisions of their own: without --to it goes back to those that were \
                    synced before the present ones"
            .to_owned());
    }
    let history = &found.application.status.history;
    let present = history.last().ok_or("its history is empty")?;
    let before = history
        .iter()
        .rev()
        .find(|entry| entry.revisions != present.revisions && entry.revisions.len() == spec.sources.len());
    let before = before.ok_or("its history has no revisions before the present ones")?;
    let mut parts: Vec<Part> = Vec::new();
    let revisions = before.revisions.iter().zip(&present.revisions);
    for (source, (to, _)) in spec.sources.iter().zip(revisions).filter(|(_, (to, now))| to != now) {
        // A chart has no branch, and one that others refer to declares nothing by itself.
        if !source.chart.is_empty() || source.path.is_empty() {
            continue;
        }
        let is_alike = |part: &&mut Part| {
            let first = part.sources.first();
            part.to == *to
                && first.is_some_and(|it| {
                    (&it.repo_url, &it.target_revision) == (&source.repo_url, &source.target_revision)
                })
        };
        match parts.iter_mut().find(is_alike) {
            Some(part) => part.sources.push(source.clone()),
            None => parts.push(Part { sources: vec![source.clone()], to: to.clone() }),
        }
    }
    if parts.is_empty() {
        return Err("what changed with its last sync are charts, or sources that others refer to: change their revisions".to_owned());
    }
    Ok(parts)
}

/// The newest revision of the history that is not the present one.
fn before_the_present(found: &Found) -> Option<&str> {
    let history = &found.application.status.history;
    let present = &history.last()?.revision;
    history.iter().rev().map(|entry| entry.revision.as_str()).find(|revision| revision != present)
}

/// What an Application reads of its repository.
struct Read {
    /// Its path.
    directory: RepoPath,
    /// What its render looked at besides.
    others: BTreeSet<RepoPath>,
}

/// What the Application reads at a revision.
fn read_by(found: &Found, source: &ApplicationSource, tree: &Arc<GitTree>) -> Result<Read, RollbackError> {
    let directory = RepoPath::root().join_lenient(&source.path)?;
    let files = Files::new(Arc::clone(tree) as Arc<dyn Tree>, FileLimits::default());
    let context = RenderContext {
        application_name: found.application.name().to_owned(),
        destination_namespace: found.application.spec.destination.namespace.clone(),
        project_name: found.application.spec.project_name().to_owned(),
        revision: tree.commit().to_string(),
        ..RenderContext::default()
    };
    // One that reads from elsewhere cannot be rendered here; then it is its path that counts.
    let others = match render(&files, source, &context) {
        Ok(rendered) => rendered.inputs.iter().map(|(path, _)| path.clone()).collect(),
        Err(_) => BTreeSet::new(),
    };
    Ok(Read { directory, others })
}

/// What has to change for the files to be as they were.
fn changes(tip: &Arc<GitTree>, good: &Arc<GitTree>, read: &[Read]) -> Result<Vec<Change>, RollbackError> {
    let mut paths = BTreeSet::new();
    for source in read {
        paths.extend(source.others.iter().cloned());
        for tree in [tip, good] {
            collect(tree.as_ref(), &source.directory, 0, &mut paths)?;
        }
    }
    let limit = FileLimits::default().file_bytes;
    let mut changes = Vec::new();
    for path in paths {
        let (now, then) = (tip.entry(&path)?, good.entry(&path)?);
        let is_file = |kind: EntryKind| matches!(kind, EntryKind::File | EntryKind::Symlink);
        let concerned = now.iter().chain(&then).all(|entry| is_file(entry.kind));
        if now == then || !concerned {
            continue;
        }
        changes.push(match then {
            None => Change::Remove(path),
            Some(entry) => {
                let content = good.content(&path, limit)?.to_vec();
                match entry.kind {
                    EntryKind::Symlink => Change::Link(path, String::from_utf8_lossy(&content).into_owned()),
                    _ => Change::Write(path, content),
                }
            }
        });
    }
    Ok(changes)
}

/// All files of a directory; none where it is not there.
fn collect(
    tree: &GitTree,
    directory: &RepoPath,
    depth: usize,
    paths: &mut BTreeSet<RepoPath>,
) -> Result<(), RollbackError> {
    let is_there =
        directory.is_root() || tree.entry(directory)?.is_some_and(|entry| entry.kind == EntryKind::Directory);
    if !is_there || depth > MAX_DEPTH {
        return Ok(());
    }
    for (name, entry) in tree.children(directory)? {
        let path = directory.join(&name)?;
        if entry.kind == EntryKind::Directory {
            collect(tree, &path, depth + 1, paths)?;
        } else {
            paths.insert(path);
        }
    }
    Ok(())
}

/// Who is logged in, or else whoever commits.
fn person(author: &Author) -> String {
    let logged_in = ["USER", "LOGNAME"].iter().filter_map(|name| std::env::var(name).ok());
    logged_in.into_iter().find(|name| !name.is_empty()).unwrap_or_else(|| author.name.clone())
}

/// The commit's message: what goes back, from where to where, and who asked for it.
fn message(name: &AppName, from: &CommitId, to: &CommitId, person: &str) -> String {
    format!(
        "Roll back {} to {}\n\nThe files that the application reads are again as they were.\n\nApplication: {name}\n\
         From: {from}\nTo: {to}\nRequested-by: {person}\n",
        name.name,
        to.short(),
    )
}

/// Shows what a commit would change.
fn show(
    changes: &[Change],
    tip: &Arc<GitTree>,
    branch: &str,
    to: &CommitId,
    console: &mut Console<'_>,
) -> Result<(), RollbackError> {
    if changes.is_empty() {
        console.line(&format!(
            "nothing to take back: {} of {branch} is as {}",
            tip.commit().short(),
            to.short()
        ))?;
        return Ok(());
    }
    let limit = FileLimits::default().file_bytes;
    for change in changes {
        let (path, after) = match change {
            Change::Write(path, content) => (path, String::from_utf8_lossy(content).into_owned()),
            Change::Link(path, target) => (path, target.clone()),
            Change::Remove(path) => (path, String::new()),
        };
        let before = match tip.entry(path)? {
            Some(_) => String::from_utf8_lossy(&tip.content(path, limit)?).into_owned(),
            None => String::new(),
        };
        let diff = TextDiff::from_lines(&before, &after);
        let (old, new) = (format!("a/{path}"), format!("b/{path}"));
        let text = diff.unified_diff().context_radius(3).header(&old, &new).to_string();
        console.line(text.trim_end())?;
    }
    Ok(())
}

/// Waits until the agent has compared the Application with the commits and, where it syncs by itself, has synced it.
async fn wait(
    session: &Session,
    name: &AppName,
    pushed: &[CommitId],
    limit: Option<Duration>,
    console: &mut Console<'_>,
) -> Result<(), RollbackError> {
    let found = refresh::refresh(session, name, Refresh::Normal, limit).await?;
    if found.application.spec.automated().is_none() {
        console
            .line(&format!("'skiff app sync {name}' brings it to the cluster: automated syncs are off"))?;
        return Ok(());
    }
    let mut state = String::new();
    let done = session.follow(name, limit, |found| {
        let Some(found) = found else { return Err(AppError::NotFound { name: name.to_string() }) };
        let status = &found.application.status;
        let compared = status.sync.as_ref().is_some_and(|sync| {
            pushed.iter().all(|commit| {
                sync.revision == commit.as_str() || sync.revisions.iter().any(|it| it == commit.as_str())
            })
        });
        let idle = found.application.operation.is_none();
        state = format!("it is {} and {}", status.sync_code(), status.health_code());
        let is_done = compared && idle && status.sync_code() == SyncStatusCode::Synced;
        Ok(if is_done { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    });
    done.await?.ok_or_else(|| AppError::TimedOut {
        name: name.to_string(),
        wanted: "rolled back",
        limit: limit.unwrap_or_default(),
        state: state.clone(),
    })?;
    console.line(&format!("application '{name}' is rolled back: {state}"))?;
    Ok(())
}
