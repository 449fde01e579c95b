//! Remotes: what kustomizations read from elsewhere, as the agent may read it.
//!
//! ```text
//! Remote ──permitted?──▶ followed (polled) ──▶ version (a commit, or a file's content) ──▶ tree to mount
//! ```
//!
//! A remote is read with the credentials that the settings have for its URL, and only where the project's `sourceRepos`
//! permit it. Repositories are polled as every source is; files are downloaded again at the same interval. An Application
//! follows what it asked for even while it cannot be rendered, so that a fix in a remote base reaches it.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use tokio::{
    sync::{Mutex as AsyncMutex, Semaphore},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use url::Url;

use super::{
    applications::ApplicationKey,
    sources::{Freshness, Resolved, Sources},
};
use crate::{
    error::{Classified, ErrorKind, chain},
    files::{RepoPath, SingleFile, Tree},
    git::{GitError, RepoUrl, RevisionError, RevisionSpec, Scheme},
    project::Refusal,
    render::kustomize::{Remote, RemoteSource},
};

/// Downloads at a time.
const DOWNLOADS: usize = 8;

/// Why a remote cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// The project does not permit it.
    #[error("remote base '{remote}'")]
    Refused {
        /// Which one.
        remote: String,
        /// By which rule.
        #[source]
        source: Refusal,
    },
    /// It is on the agent's own disk, and the Application's source is not.
    #[error(
        "remote base '{remote}' is a directory of the agent's own machine: only sources that are read over file:// themselves may name one"
    )]
    LocalDisk {
        /// Which one.
        remote: String,
    },
    /// Its `ref` can be no revision.
    #[error("remote base '{remote}'")]
    Revision {
        /// Which one.
        remote: String,
        /// What is wrong with it.
        #[source]
        source: RevisionError,
    },
    /// It could not be fetched.
    #[error("remote base '{remote}'")]
    Fetch {
        /// Which one.
        remote: String,
        /// Why.
        #[source]
        source: Arc<GitError>,
    },
}

impl Classified for RemoteError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Fetch { source, .. } => source.kind(),
            Self::Refused { source, .. } => source.kind(),
            Self::LocalDisk { .. } | Self::Revision { .. } => ErrorKind::User,
        }
    }
}

/// Who reads remotes.
pub struct Reader<'a> {
    /// The Application.
    pub application: &'a ApplicationKey,
    /// Its project, for credentials.
    pub project: &'a str,
    /// The repository that it reads itself.
    pub repository: &'a RepoUrl,
    /// Whether its project permits a URL as a source.
    pub permits: &'a (dyn Fn(&str) -> Result<(), Refusal> + Sync),
}

/// A remote as it is now.
#[derive(Clone)]
pub struct ResolvedRemote {
    remote: Remote,
    content: Content,
}

#[derive(Clone)]
enum Content {
    Repository(Resolved),
    File(Bytes),
}

/// What an Application's manifests were rendered with.
#[derive(Clone, Debug)]
pub struct UsedRemote {
    /// Which remote.
    pub remote: Remote,
    version: Version,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Version {
    Commit(crate::git::CommitId),
    File(Bytes),
}

impl UsedRemote {
    /// Whether it is the same remote with another content.
    pub fn moved_since(&self, earlier: &Self) -> bool {
        self.remote == earlier.remote && self.version != earlier.version
    }
}

impl ResolvedRemote {
    fn version(&self) -> Version {
        match &self.content {
            Content::Repository(resolved) => Version::Commit(resolved.commit.clone()),
            Content::File(content) => Version::File(content.clone()),
        }
    }

    /// What is kept of it.
    pub fn used(&self) -> UsedRemote {
        UsedRemote { remote: self.remote.clone(), version: self.version() }
    }

    /// Where it is mounted.
    pub fn mount(&self) -> RepoPath {
        self.remote.mount()
    }

    /// Whether this is what was used before.
    pub fn is(&self, used: &UsedRemote) -> bool {
        self.remote == used.remote && self.version() == used.version
    }
}

/// All remotes that are in use.
pub struct Remotes {
    sources: Arc<Sources>,
    files: Mutex<HashMap<String, Arc<RemoteFile>>>,
    downloads: Semaphore,
    stop: CancellationToken,
}

/// A file behind a URL as one project sees it.
struct RemoteFile {
    url: Url,
    project: String,
    applications: Mutex<BTreeSet<ApplicationKey>>,
    known: AsyncMutex<Option<(Bytes, Instant)>>,
    stop: CancellationToken,
}

impl Remotes {
    /// None yet. `stop` ends all polling.
    pub fn new(sources: Arc<Sources>, stop: CancellationToken) -> Arc<Self> {
        Arc::new(Self { sources, files: Mutex::default(), downloads: Semaphore::new(DOWNLOADS), stop })
    }

    /// Finds out what a remote is now; the reader follows it from here on.
    ///
    /// # Errors
    /// When it is not permitted, or cannot be reached within its time.
    pub async fn resolve(
        self: &Arc<Self>,
        reader: &Reader<'_>,
        remote: &Remote,
        freshness: Freshness,
    ) -> Result<ResolvedRemote, RemoteError> {
        let (name, moves) = (remote.to_string(), remote.moves());
        let fetch = |source| RemoteError::Fetch { remote: name.clone(), source };
        let content = match &remote.source {
            RemoteSource::Repository { url, revision } => {
                (reader.permits)(&url.to_string())
                    .map_err(|source| RemoteError::Refused { remote: name.clone(), source })?;
                if url.scheme() == Scheme::File && reader.repository.scheme() != Scheme::File {
                    return Err(RemoteError::LocalDisk { remote: name });
                }
                let revision = RevisionSpec::reference(revision)
                    .map_err(|source| RemoteError::Revision { remote: name.clone(), source })?;
                if moves {
                    self.sources.follow_also(reader.application, url, reader.project);
                }
                let resolving = self.sources.resolve(url, reader.project, &revision, freshness);
                Content::Repository(within(remote, resolving).await.map_err(fetch)?)
            }
            RemoteSource::File { url } => {
                let mut address = url.clone();
                address.set_query(None);
                address.set_fragment(None);
                (reader.permits)(address.as_str())
                    .map_err(|source| RemoteError::Refused { remote: name.clone(), source })?;
                let file = self.file(reader, url);
                Content::File(within(remote, self.content(&file, freshness)).await.map_err(fetch)?)
            }
        };
        Ok(ResolvedRemote { remote: remote.clone(), content })
    }

    /// The tree of a remote, and where it is to be mounted.
    ///
    /// # Errors
    /// When it cannot be fetched within its time.
    pub async fn mount(&self, resolved: &ResolvedRemote) -> Result<(RepoPath, Arc<dyn Tree>), RemoteError> {
        let remote = &resolved.remote;
        let tree: Arc<dyn Tree> = match &resolved.content {
            Content::File(content) => Arc::new(SingleFile::new(content.clone())),
            Content::Repository(commit) => within(remote, self.sources.tree(commit))
                .await
                .map_err(|source| RemoteError::Fetch { remote: remote.to_string(), source })?,
        };
        Ok((remote.mount(), tree))
    }

    /// The reader does not read these any more.
    pub fn unfollow(&self, reader: &Reader<'_>, remotes: &[&Remote]) {
        let (application, project) = (reader.application, reader.project);
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        for remote in remotes {
            match &remote.source {
                RemoteSource::Repository { url, .. }
                    if url.normalized() == reader.repository.normalized() => {}
                RemoteSource::Repository { url, .. } => self.sources.unfollow(application, url, project),
                RemoteSource::File { url } => {
                    let id = file_id(url, project);
                    if files.get(&id).is_some_and(|file| file.leave(application)) {
                        files.remove(&id);
                    }
                }
            }
        }
    }

    /// An application reads no remote any more.
    pub fn forget(&self, application: &ApplicationKey) {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        files.retain(|_, file| !file.leave(application));
    }

    fn file(self: &Arc<Self>, reader: &Reader<'_>, url: &Url) -> Arc<RemoteFile> {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let file = files.entry(file_id(url, reader.project)).or_insert_with(|| {
            let file = Arc::new(RemoteFile {
                url: url.clone(),
                project: reader.project.to_owned(),
                applications: Mutex::default(),
                known: AsyncMutex::default(),
                stop: self.stop.child_token(),
            });
            let (remotes, polled) = (Arc::clone(self), Arc::clone(&file));
            tokio::spawn(async move { polled.stop.clone().run_until_cancelled(remotes.poll(&polled)).await });
            file
        });
        file.applications.lock().unwrap_or_else(PoisonError::into_inner).insert(reader.application.clone());
        Arc::clone(file)
    }

    async fn content(&self, file: &RemoteFile, freshness: Freshness) -> Result<Bytes, Arc<GitError>> {
        let called = Instant::now();
        let mut known = file.known.lock().await;
        match known.as_ref() {
            Some((content, asked)) if freshness == Freshness::Polled || *asked >= called => {
                Ok(content.clone())
            }
            _ => {
                let asked = Instant::now();
                let content = self.download(file).await?;
                *known = Some((content.clone(), asked));
                Ok(content)
            }
        }
    }

    async fn download(&self, file: &RemoteFile) -> Result<Bytes, GitError> {
        // The semaphore is never closed.
        let _permit = self.downloads.acquire().await.ok();
        self.sources.download(&file.url, &file.project, &file.stop).await
    }

    async fn poll(&self, file: &RemoteFile) {
        loop {
            self.sources.pause().await;
            match self.download(file).await {
                Ok(content) => {
                    let before = file.known.lock().await.replace((content.clone(), Instant::now()));
                    if before.is_some_and(|(before, _)| before != content) {
                        for application in file.followers() {
                            self.sources.tell(&application);
                        }
                    }
                }
                // What was downloaded before is used until it can be again.
                Err(error) => {
                    tracing::warn!(error = %chain(&error), "a file of a kustomization cannot be polled");
                }
            }
        }
    }
}

impl RemoteFile {
    fn followers(&self) -> BTreeSet<ApplicationKey> {
        self.applications.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether nobody is left.
    fn leave(&self, application: &ApplicationKey) -> bool {
        let mut applications = self.applications.lock().unwrap_or_else(PoisonError::into_inner);
        applications.remove(application);
        if applications.is_empty() {
            self.stop.cancel();
        }
        applications.is_empty()
    }
}

fn file_id(url: &Url, project: &str) -> String {
    format!("{project} {url}")
}

/// Waits no longer than the remote says.
async fn within<T>(
    remote: &Remote,
    work: impl Future<Output = Result<T, Arc<GitError>>>,
) -> Result<T, Arc<GitError>> {
    tokio::time::timeout(remote.timeout, work).await.unwrap_or_else(|_| {
        let (repository, step) = (remote.to_string(), "fetching".to_owned());
        Err(GitError::Timeout { repository, step, limit: remote.timeout }.into())
    })
}
