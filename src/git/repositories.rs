//! All repositories that the agent reads: who may go to the network when, and what is known already.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use git2::Repository;
use tokio::{
    sync::{OwnedMutexGuard, OwnedSemaphorePermit, Semaphore},
    task::spawn_blocking,
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{
    credentials::Credentials,
    error::GitError,
    fetch::{self, Fetch, Wanted},
    libgit2,
    mirror::{Generation, Mirror},
    network::{GitObserver, Request, Step},
    references::{CommitId, References},
    revision::{Resolution, RevisionError, RevisionSpec},
    tree::GitTree,
    url::{RepoUrl, Scheme},
};
use crate::places::held;

/// A fetch that takes longer no longer counts as one of those at a time: what hangs keeps no other repository waiting.
const COUNTS_FOR: Duration = Duration::from_secs(10);
/// Sets of credentials whose listings are kept for one repository.
const MAX_LISTINGS: usize = 16;

/// How repositories are read.
#[derive(Clone, Debug)]
pub struct GitOptions {
    /// Where the mirrors live; belongs to this process alone.
    pub cache_directory: PathBuf,
    /// Time for listing the references.
    pub list_timeout: Duration,
    /// Time for bringing one commit.
    pub fetch_timeout: Duration,
    /// Fetch only the newest commit where the server can do that (never over `file://`).
    pub shallow: bool,
    /// Connections to one host at a time.
    pub connections_per_host: usize,
    /// Fetches at a time.
    pub fetches: usize,
    /// Bytes that one fetch may receive.
    pub fetch_bytes: u64,
    /// Repositories, by normalized URL, that are read from elsewhere: a copy that stands for them in a test.
    pub redirects: HashMap<String, RepoUrl>,
}

impl GitOptions {
    /// The defaults: 15 s to list, 60 s to fetch, shallow, 8 connections to one host, 8 fetches, 2 GiB.
    pub fn new(cache_directory: PathBuf) -> Self {
        Self {
            cache_directory,
            list_timeout: Duration::from_secs(15),
            fetch_timeout: Duration::from_secs(60),
            shallow: true,
            connections_per_host: 8,
            fetches: 8,
            fetch_bytes: 2 << 30,
            redirects: HashMap::new(),
        }
    }
}

/// Who made a commit, when and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitMetadata {
    /// `Name <address>`.
    pub author: String,
    /// When it was written, in seconds since 1970.
    pub seconds: i64,
    /// The message, all of it.
    pub message: String,
    /// The tags that lead to it.
    pub tags: Vec<String>,
}

/// All repositories. Clones share everything.
#[derive(Clone)]
pub struct Repositories {
    shared: Arc<Shared>,
}

struct Shared {
    options: GitOptions,
    observer: Option<Arc<dyn GitObserver>>,
    entries: Mutex<HashMap<String, Arc<Entry>>>,
    hosts: Mutex<HashMap<String, Arc<Semaphore>>>,
    fetches: Arc<Semaphore>,
}

/// One repository.
struct Entry {
    mirror: Mirror,
    listing: Arc<tokio::sync::Mutex<()>>,
    fetching: Arc<tokio::sync::Mutex<()>>,
    /// The newest listing for each set of credentials, and when its request began. Who has one may read the repository.
    listings: Mutex<HashMap<u64, Listing>>,
}

type Listing = (Instant, Arc<References>);

/// Is told of as long as it lives.
struct Waiting<'a>(Option<&'a dyn GitObserver>, &'a RepoUrl);

impl<'a> Waiting<'a> {
    fn new(observer: Option<&'a dyn GitObserver>, url: &'a RepoUrl) -> Self {
        if let Some(observer) = observer {
            observer.waiting(url, 1);
        }
        Self(observer, url)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(observer) = self.0 {
            observer.waiting(self.1, -1);
        }
    }
}

impl Repositories {
    /// Repositories with mirrors in the cache directory, which is made when it is needed.
    pub fn new(options: GitOptions, observer: Option<Arc<dyn GitObserver>>) -> Self {
        libgit2::prepare();
        libgit2::set_home(&options.cache_directory);
        let fetches = Arc::new(Semaphore::new(options.fetches.max(1)));
        let (entries, hosts) = (Mutex::default(), Mutex::default());
        Self { shared: Arc::new(Shared { options, observer, entries, hosts, fetches }) }
    }

    /// How repositories are read.
    pub fn options(&self) -> &GitOptions {
        &self.shared.options
    }

    /// Asks the server for its references. Callers at the same time share one request.
    ///
    /// # Errors
    /// See [`GitError`].
    pub async fn references(
        &self,
        url: &RepoUrl,
        credentials: &Credentials,
        cancel: &CancellationToken,
    ) -> Result<Arc<References>, GitError> {
        let asked = Instant::now();
        let options = &self.shared.options;
        let entry = self.entry(url);
        let step = Arc::new(Step::new(
            self.place(url),
            credentials,
            "listing the references",
            options.list_timeout,
            options.fetch_bytes,
            cancel,
        ));
        let turn = self.turn(&step, url, &entry.listing).await?;
        let fingerprint = credentials.fingerprint(url);
        if let Some((began, references)) = lock(&entry.listings).get(&fingerprint)
            && *began >= asked
        {
            return Ok(Arc::clone(references));
        }
        let place = self.place_at_host(&step).await?;
        let began = Instant::now();
        let private = options.cache_directory.clone();
        let result = Arc::clone(&step).run((turn, place), move |step| fetch::list(step, &private)).await;
        self.observe(url, Request::LsRemote, began, result.is_ok());
        if let (Some(observer), Some((host, certificate))) =
            (&self.shared.observer, lock(&step.server_certificate).take())
        {
            observer.server_certificate(&host, &certificate);
        }
        let mut listings = lock(&entry.listings);
        match result {
            Ok((references, _turn)) => {
                let mut references = Arc::new(references);
                // Equal listings share their memory.
                if let Some((_, same)) = listings.values().find(|(_, listed)| *listed == references) {
                    references = Arc::clone(same);
                }
                if listings.len() >= MAX_LISTINGS {
                    listings.clear();
                }
                listings.insert(fingerprint, (began, Arc::clone(&references)));
                Ok(references)
            }
            Err(error) => {
                if matches!(error, GitError::Authentication { .. } | GitError::NotFound { .. }) {
                    listings.remove(&fingerprint);
                }
                Err(error)
            }
        }
    }

    /// The commit that a revision means, given the references. Only an abbreviated commit id that no reference leads to may
    /// need the network.
    ///
    /// # Errors
    /// [`GitError::Revision`] when there is no such commit; else see [`GitError`].
    pub async fn resolve(
        &self,
        url: &RepoUrl,
        credentials: &Credentials,
        revision: &RevisionSpec,
        known: &Arc<References>,
        cancel: &CancellationToken,
    ) -> Result<CommitId, GitError> {
        let fail = |source| GitError::Revision { repository: url.to_string(), source };
        let digits = match revision.resolve(known).map_err(fail)? {
            Resolution::Commit(commit) => return Ok(commit),
            Resolution::Abbreviated(digits) => digits,
        };
        // First in what the mirror has, then in all that the server has.
        for complete in [false, true] {
            if complete {
                self.fetch(url, credentials, Wanted::Everything, known, cancel).await?;
            }
            let wanted = digits.clone();
            let found = self
                .read(url, move |generation| generation.with(|repository| expand(repository, &wanted)))
                .await?;
            match found {
                Expanded::One(commit) => return Ok(commit),
                Expanded::Many => return Err(fail(RevisionError::Ambiguous { revision: digits })),
                Expanded::None => {}
            }
        }
        Err(fail(RevisionError::Unknown { revision: digits }))
    }

    /// The files of a commit, fetched if the mirror does not have it.
    ///
    /// # Errors
    /// [`GitError::Revision`] when the server does not have it either; else see [`GitError`].
    pub async fn commit_tree(
        &self,
        url: &RepoUrl,
        credentials: &Credentials,
        commit: &CommitId,
        cancel: &CancellationToken,
    ) -> Result<Arc<GitTree>, GitError> {
        // Without a listing these credentials have not shown yet that they may read what the mirror holds.
        let listed = lock(&self.entry(url).listings).get(&credentials.fingerprint(url)).cloned();
        let known = match listed {
            Some((_, references)) => references,
            None => self.references(url, credentials, cancel).await?,
        };
        if let Some(tree) = self.local_tree(url, commit).await? {
            return Ok(tree);
        }
        self.fetch(url, credentials, Wanted::Commit(commit.clone()), &known, cancel).await?;
        let tree = self.local_tree(url, commit).await?;
        tree.ok_or_else(|| GitError::Revision {
            repository: url.to_string(),
            source: RevisionError::Unknown { revision: commit.to_string() },
        })
    }

    /// Whether a commit, named by its id or the beginning of it, is another one or led to it; `None` when the
    /// repository does not have it.
    ///
    /// # Errors
    /// [`GitError::Revision`] when the beginning fits several commits; else see [`GitError`].
    pub async fn leads_to(
        &self,
        url: &RepoUrl,
        credentials: &Credentials,
        (digits, later): (&str, &CommitId),
        cancel: &CancellationToken,
    ) -> Result<Option<bool>, GitError> {
        self.bring_history(url, credentials, cancel).await?;
        let (wanted, tip) = (digits.to_owned(), later.clone());
        let found = self.read(url, move |generation| {
            generation.with(|repository| match expand(repository, &wanted)? {
                Expanded::None => Ok(Ok(None)),
                Expanded::Many => Ok(Err(RevisionError::Ambiguous { revision: wanted })),
                Expanded::One(commit) if commit == tip => Ok(Ok(Some(true))),
                Expanded::One(commit) => match repository.graph_descendant_of(tip.oid()?, commit.oid()?) {
                    // The later one is on no branch any more.
                    Err(error) if error.code() == git2::ErrorCode::NotFound => Ok(Ok(Some(false))),
                    answer => answer.map(|is_later| Ok(Some(is_later))),
                },
            })
        });
        found.await?.map_err(|source| GitError::Revision { repository: url.to_string(), source })
    }

    /// Author, date and message of a commit.
    ///
    /// # Errors
    /// As [`Repositories::commit_tree`].
    pub async fn commit_metadata(
        &self,
        url: &RepoUrl,
        credentials: &Credentials,
        commit: &CommitId,
        cancel: &CancellationToken,
    ) -> Result<CommitMetadata, GitError> {
        self.commit_tree(url, credentials, commit, cancel).await?;
        let known = lock(&self.entry(url).listings).get(&credentials.fingerprint(url)).cloned();
        let tags = known
            .map(|(_, references)| references.tags_of(commit).into_iter().map(ToOwned::to_owned).collect());
        let id = commit.clone();
        let read = move |generation: &Arc<Generation>| {
            generation.with(|repository| {
                let commit = repository.find_object(id.oid()?, None)?.peel_to_commit()?;
                let author = commit.author();
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                Ok(CommitMetadata {
                    author: format!("{} <{}>", text(author.name_bytes()), text(author.email_bytes())),
                    seconds: author.when().seconds(),
                    message: text(commit.message_bytes()).trim_end().to_owned(),
                    tags: tags.unwrap_or_default(),
                })
            })
        };
        self.read(url, read).await
    }

    async fn local_tree(&self, url: &RepoUrl, commit: &CommitId) -> Result<Option<Arc<GitTree>>, GitError> {
        let id = commit.clone();
        match self.read(url, move |generation| generation.tree(&id)).await {
            // The damaged generation is retired by now, so the commit is to be fetched again.
            Err(GitError::Mirror { source, .. })
                if source.downcast_ref().is_some_and(super::mirror::is_damage) =>
            {
                Ok(None)
            }
            result => result,
        }
    }

    /// Reads from the mirror, off the async threads.
    async fn read<T, R>(&self, url: &RepoUrl, read: R) -> Result<T, GitError>
    where
        T: Send + 'static,
        R: FnOnce(&Arc<Generation>) -> Result<T, git2::Error> + Send + 'static,
    {
        let entry = self.entry(url);
        let repository = url.to_string();
        let mirror = |source| GitError::Mirror { repository, source };
        let result = spawn_blocking(move || {
            let generation =
                entry.mirror.generation().map_err(Box::<dyn std::error::Error + Send + Sync>::from)?;
            read(&generation).map_err(Box::from)
        });
        match result.await {
            Ok(result) => result.map_err(mirror),
            Err(error) => Err(mirror(Box::new(error))),
        }
    }

    /// Waits until nobody else does the same with a repository.
    async fn turn(
        &self,
        step: &Step,
        url: &RepoUrl,
        lock: &Arc<tokio::sync::Mutex<()>>,
    ) -> Result<OwnedMutexGuard<()>, GitError> {
        let _waiting = Waiting::new(self.shared.observer.as_deref(), url);
        step.within(Arc::clone(lock).lock_owned()).await
    }

    /// Brings what is wanted into the mirror, unless somebody has done so while this waited for its turn.
    async fn fetch(
        &self,
        url: &RepoUrl,
        credentials: &Credentials,
        wanted: Wanted,
        known: &Arc<References>,
        cancel: &CancellationToken,
    ) -> Result<(), GitError> {
        let options = &self.shared.options;
        let entry = self.entry(url);
        let (limit, bytes) = (options.fetch_timeout, options.fetch_bytes);
        let step = Arc::new(Step::new(self.place(url), credentials, "fetching", limit, bytes, cancel));
        let turn = self.turn(&step, url, &entry.fetching).await?;
        let references = Arc::clone(known);
        let done = match &wanted {
            Wanted::Commit(commit) => self.local_tree(url, commit).await?.is_some(),
            Wanted::Everything => {
                self.read(url, move |generation| Ok(generation.is_complete(&references))).await?
            }
        };
        if done {
            return Ok(());
        }
        let place = self.place_at_host(&step).await?;
        // Held by the caller, not the thread: a server that hangs keeps its host's places, not everybody's.
        let fetch = step.within(Arc::clone(&self.shared.fetches).acquire_owned()).await?;
        let began = Instant::now();
        let shallow = options.shallow && self.place(url).scheme() != Scheme::File;
        let (references, into) = (Arc::clone(known), Arc::clone(&entry));
        let fetching = Arc::clone(&step).run((turn, place), move |step| {
            Fetch::new(step, &references, shallow).run(&into.mirror, &wanted)
        });
        let result = held(fetch, COUNTS_FOR, fetching).await;
        self.observe(url, Request::Fetch, began, result.is_ok());
        result.map(drop)
    }

    /// Brings all branches and tags with their history into the mirror.
    pub(super) async fn bring_history(
        &self,
        url: &RepoUrl,
        credentials: &Credentials,
        cancel: &CancellationToken,
    ) -> Result<(), GitError> {
        let known = self.references(url, credentials, cancel).await?;
        self.fetch(url, credentials, Wanted::Everything, &known, cancel).await
    }

    /// Runs a push on a thread of its own, when it is its turn at the host.
    pub(super) async fn write<T, W>(
        &self,
        url: &RepoUrl,
        credentials: &Credentials,
        cancel: &CancellationToken,
        work: W,
    ) -> Result<T, GitError>
    where
        T: Send + 'static,
        W: FnOnce(&Arc<Step>) -> Result<T, GitError> + Send + 'static,
    {
        let options = &self.shared.options;
        let (limit, bytes) = (options.fetch_timeout, options.fetch_bytes);
        let step = Arc::new(Step::new(url, credentials, "pushing to", limit, bytes, cancel));
        let place = self.place_at_host(&step).await?;
        step.run(place, work).await.map(|(value, _)| value)
    }

    async fn place_at_host(&self, step: &Step) -> Result<Option<OwnedSemaphorePermit>, GitError> {
        let host = step.url.authority();
        let places =
            Arc::clone(lock(&self.shared.hosts).entry(host).or_insert_with(|| {
                Arc::new(Semaphore::new(self.shared.options.connections_per_host.max(1)))
            }));
        // The semaphore is never closed.
        Ok(step.within(places.acquire_owned()).await?.ok())
    }

    /// Where a repository is read from.
    fn place<'a>(&'a self, url: &'a RepoUrl) -> &'a RepoUrl {
        let redirects = &self.shared.options.redirects;
        if redirects.is_empty() { url } else { redirects.get(&url.normalized()).unwrap_or(url) }
    }

    fn entry(&self, url: &RepoUrl) -> Arc<Entry> {
        let name = url.mirror_name();
        let directory = self.shared.options.cache_directory.join(&name);
        Arc::clone(lock(&self.shared.entries).entry(name).or_insert_with(|| {
            Arc::new(Entry {
                mirror: Mirror::new(directory),
                listing: Arc::default(),
                fetching: Arc::default(),
                listings: Mutex::default(),
            })
        }))
    }

    fn observe(&self, url: &RepoUrl, request: Request, began: Instant, ok: bool) {
        if let Some(observer) = &self.shared.observer {
            observer.request(url, request, began.elapsed(), ok);
        }
    }
}

enum Expanded {
    None,
    One(CommitId),
    Many,
}

/// The commit whose id begins with these digits.
fn expand(repository: &Repository, digits: &str) -> Result<Expanded, git2::Error> {
    match repository.find_commit_by_prefix(digits) {
        Ok(commit) => Ok(Expanded::One(CommitId::from_oid(commit.id()))),
        Err(error) if error.code() == git2::ErrorCode::Ambiguous => Ok(Expanded::Many),
        Err(error) if error.code() == git2::ErrorCode::NotFound => Ok(Expanded::None),
        Err(error) => Err(error),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
