//! The repositories that applications read, and the polling of their references.
//!
//! ```text
//! poll (every 120 s + jitter, per repository) ──ls-remote──▶ moved? ──▶ the applications of that repository
//! reconcile ──references (as of the last poll, or asked anew)──▶ commit ──▶ tree
//! ```
//!
//! A repository is polled once whatever the number of its applications, by a task of its own, so that one that hangs
//! delays no other. Nothing is fetched here unless an application resolves to a commit that the mirror lacks.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    sync::{Mutex as AsyncMutex, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use url::Url;

use super::applications::ApplicationKey;
use crate::{
    error::Classified,
    files::Tree,
    git::{
        CommitId, CredentialStore, Credentials, GitError, References, RepoUrl, Repositories, RevisionSpec,
        download,
    },
};

/// References that were listed before are used this long while a repository cannot be reached: most failures pass.
const GRACE: Duration = Duration::from_secs(180);

/// A failure that is not older than this is not asked for again by those whom the last poll would do as well.
const SAME_FAILURE: Duration = Duration::from_secs(5);

/// Told of applications whose repository moved.
pub type Moved = Arc<dyn Fn(&ApplicationKey) + Send + Sync>;

/// How fresh references have to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// As of the last poll, if there was one.
    Polled,
    /// Asked of the server after this call was made.
    Now,
}

/// A resolved revision.
#[derive(Clone)]
pub struct Resolved {
    /// The commit.
    pub commit: CommitId,
    /// When the references that name it were first seen, for the time from commit to sync.
    pub seen: Instant,
    source: Arc<Source>,
}

/// How often references are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PollInterval {
    /// The time between two listings; zero turns polling off.
    pub interval: Duration,
    /// Up to this much is added at random.
    pub jitter: Duration,
}

/// All sources that are in use.
pub struct Sources {
    repositories: Repositories,
    credentials: RwLock<Arc<CredentialStore>>,
    interval: watch::Sender<PollInterval>,
    moved: Moved,
    stop: CancellationToken,
    sources: Mutex<HashMap<SourceId, Arc<Source>>>,
}

/// A repository as one project sees it: credentials may belong to a project.
#[derive(Clone, PartialEq, Eq, Hash)]
struct SourceId {
    repository: String,
    project: String,
}

struct Source {
    url: RepoUrl,
    project: String,
    applications: Mutex<BTreeSet<ApplicationKey>>,
    known: AsyncMutex<Known>,
    stop: CancellationToken,
}

/// What is known of a repository's references.
#[derive(Default)]
struct Known {
    listed: Option<Listed>,
    failing_since: Option<Instant>,
    failed: Option<Failed>,
}

/// The last listing, where it failed.
struct Failed {
    error: Arc<GitError>,
    asked: Instant,
    ended: Instant,
}

#[derive(Clone)]
struct Listed {
    references: Arc<References>,
    asked: Instant,
    seen: Instant,
}

impl Sources {
    /// No sources yet. `stop` ends all polling.
    pub fn new(
        repositories: Repositories,
        interval: PollInterval,
        moved: Moved,
        stop: CancellationToken,
    ) -> Self {
        Self {
            repositories,
            credentials: RwLock::default(),
            interval: watch::Sender::new(interval),
            moved,
            stop,
            sources: Mutex::default(),
        }
    }

    /// Takes over new credentials, which count from the next request on, and a new interval, which counts from now on.
    pub fn configure(&self, credentials: CredentialStore, interval: PollInterval) {
        *self.credentials.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(credentials);
        self.interval.send_if_modified(|current| {
            let changed = *current != interval;
            *current = interval;
            changed
        });
    }

    /// Says which repository an application reads now; it is told when that moves. Repositories that no application
    /// reads any more are not polled any more.
    pub fn follow(self: &Arc<Self>, application: &ApplicationKey, url: &RepoUrl, project: &str) {
        let id = SourceId { repository: url.normalized().to_owned(), project: project.to_owned() };
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        if sources.get(&id).is_some_and(|source| source.has(application)) {
            return;
        }
        leave(&mut sources, application);
        self.join(&mut sources, id, application, url);
    }

    /// Says that an application reads a repository besides its own, which a remote base names.
    pub fn follow_also(self: &Arc<Self>, application: &ApplicationKey, url: &RepoUrl, project: &str) {
        let id = SourceId { repository: url.normalized().to_owned(), project: project.to_owned() };
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        self.join(&mut sources, id, application, url);
    }

    /// An application reads this repository no more.
    pub fn unfollow(&self, application: &ApplicationKey, url: &RepoUrl, project: &str) {
        let id = SourceId { repository: url.normalized().to_owned(), project: project.to_owned() };
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        if sources.get(&id).is_some_and(|source| source.leave(application)) {
            sources.remove(&id);
        }
    }

    fn join(
        self: &Arc<Self>,
        sources: &mut HashMap<SourceId, Arc<Source>>,
        id: SourceId,
        application: &ApplicationKey,
        url: &RepoUrl,
    ) {
        let project = id.project.clone();
        let source = sources.entry(id).or_insert_with(|| {
            let source = Arc::new(Source {
                url: url.clone(),
                project,
                applications: Mutex::default(),
                known: AsyncMutex::default(),
                stop: self.stop.child_token(),
            });
            let (sources, polled) = (Arc::clone(self), Arc::clone(&source));
            tokio::spawn(async move { polled.stop.clone().run_until_cancelled(sources.poll(polled)).await });
            source
        });
        source.applications.lock().unwrap_or_else(PoisonError::into_inner).insert(application.clone());
    }

    /// An application reads no repository any more.
    pub fn forget(&self, application: &ApplicationKey) {
        leave(&mut self.sources.lock().unwrap_or_else(PoisonError::into_inner), application);
    }

    /// The commit that a revision names.
    ///
    /// # Errors
    /// When the repository cannot be asked, or has no such revision.
    pub async fn resolve(
        &self,
        url: &RepoUrl,
        project: &str,
        revision: &RevisionSpec,
        freshness: Freshness,
    ) -> Result<Resolved, Arc<GitError>> {
        let source = self.source(url, project);
        let credentials = self.credentials(&source);
        if let Some(commit) = revision.fixed() {
            return Ok(Resolved { commit, seen: Instant::now(), source });
        }
        let called = Instant::now();
        let listed = {
            let mut known = source.known.lock().await;
            let trusted = known.failing_since.is_none_or(|since| since.elapsed() < GRACE);
            let polled = freshness == Freshness::Polled;
            // Whoever waited for the lock while another caller asked has its answer, be it an error.
            match (&known.listed, &known.failed) {
                (Some(listed), _) if (polled && trusted) || listed.asked >= called => listed.clone(),
                (_, Some(failed))
                    if failed.asked >= called || (polled && failed.ended.elapsed() < SAME_FAILURE) =>
                {
                    return Err(Arc::clone(&failed.error));
                }
                _ => {
                    let (listed, news) = self.list(&source, &credentials, &mut known).await?;
                    if news {
                        // The next poll will find nothing new: the others have to be told now.
                        source.tell(&self.moved);
                    }
                    listed
                }
            }
        };
        let commit = self
            .repositories
            .resolve(&source.url, &credentials, revision, &listed.references, &source.stop)
            .await
            .map_err(Arc::new)?;
        Ok(Resolved { commit, seen: listed.seen, source })
    }

    /// The tree of a commit; it is fetched if the mirror lacks it.
    ///
    /// # Errors
    /// When the commit is not there and cannot be fetched.
    pub async fn tree(&self, resolved: &Resolved) -> Result<Arc<dyn Tree>, Arc<GitError>> {
        let credentials = self.credentials(&resolved.source);
        let source = &resolved.source;
        let tree =
            self.repositories.commit_tree(&source.url, &credentials, &resolved.commit, &source.stop).await;
        Ok(tree.map_err(Arc::new)?)
    }

    /// The content of one file behind a URL.
    ///
    /// # Errors
    /// When it cannot be downloaded.
    pub async fn download(
        &self,
        url: &Url,
        project: &str,
        stop: &CancellationToken,
    ) -> Result<Bytes, GitError> {
        let mut address = url.clone();
        address.set_query(None);
        address.set_fragment(None);
        let store = Arc::clone(&self.credentials.read().unwrap_or_else(PoisonError::into_inner));
        let credentials = store.lookup(&RepoUrl::parse(address.as_str())?, project);
        download(url, &credentials, self.repositories.options(), stop).await
    }

    /// Waits until it is time to poll again.
    pub async fn pause(&self) {
        let mut settings = self.interval.subscribe();
        loop {
            let PollInterval { interval, jitter } = *settings.borrow_and_update();
            if interval.is_zero() {
                // Polling is off until the settings say otherwise.
                if settings.changed().await.is_err() {
                    return std::future::pending().await;
                }
                continue;
            }
            let pause = tokio::time::sleep(interval.saturating_add(jitter.mul_f64(fastrand::f64())));
            tokio::select! {
                () = pause => return,
                Ok(()) = settings.changed() => {}
            }
        }
    }

    /// Tells an application that something it reads has moved.
    pub fn tell(&self, application: &ApplicationKey) {
        (self.moved)(application);
    }

    fn source(&self, url: &RepoUrl, project: &str) -> Arc<Source> {
        let id = SourceId { repository: url.normalized().to_owned(), project: project.to_owned() };
        let sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        sources.get(&id).cloned().unwrap_or_else(|| {
            Arc::new(Source {
                url: url.clone(),
                project: project.to_owned(),
                applications: Mutex::default(),
                known: AsyncMutex::default(),
                stop: self.stop.child_token(),
            })
        })
    }

    fn credentials(&self, source: &Source) -> Credentials {
        let store = Arc::clone(&self.credentials.read().unwrap_or_else(PoisonError::into_inner));
        store.lookup(&source.url, &source.project)
    }

    /// Lists the references. The flag tells whether applications have to look: they moved, or can be listed again.
    async fn list(
        &self,
        source: &Source,
        credentials: &Credentials,
        known: &mut Known,
    ) -> Result<(Listed, bool), Arc<GitError>> {
        let asked = Instant::now();
        let references = match self.repositories.references(&source.url, credentials, &source.stop).await {
            Ok(references) => references,
            Err(error) => {
                known.failing_since.get_or_insert(asked);
                if !error.kind().is_transient() {
                    // Waiting does not mend this one, so nobody may go on as if nothing had happened.
                    known.listed = None;
                }
                let error = Arc::new(error);
                known.failed = Some(Failed { error: Arc::clone(&error), asked, ended: Instant::now() });
                return Err(error);
            }
        };
        known.failed = None;
        let recovered = known.failing_since.take().is_some();
        let moved = known.listed.as_ref().is_some_and(|before| before.references != references);
        let seen = match &known.listed {
            Some(before) if !moved => before.seen,
            _ => Instant::now(),
        };
        let fresh = Listed { references, asked, seen };
        known.listed = Some(fresh.clone());
        Ok((fresh, moved || recovered))
    }

    async fn poll(self: Arc<Self>, source: Arc<Source>) {
        let mut failures = 0u32;
        let mut settings = self.interval.subscribe();
        loop {
            let PollInterval { interval, jitter } = *settings.borrow_and_update();
            // A repository that fails is asked less often, up to eight times the interval.
            let backoff = interval.saturating_mul(2u32.saturating_pow(failures.min(3)));
            let pause = async {
                if interval.is_zero() {
                    // Polling is off until the settings say otherwise.
                    return std::future::pending().await;
                }
                tokio::time::sleep(backoff.saturating_add(jitter.mul_f64(fastrand::f64()))).await;
            };
            tokio::select! {
                () = pause => {}
                Ok(()) = settings.changed() => continue,
            }
            let credentials = self.credentials(&source);
            let listed = {
                let mut known = source.known.lock().await;
                self.list(&source, &credentials, &mut known).await
            };
            match listed {
                Ok((_, news)) => {
                    failures = 0;
                    if news {
                        source.tell(&self.moved);
                    }
                }
                Err(error) => {
                    failures = failures.saturating_add(1);
                    tracing::warn!(repository = %source.url, error = %crate::error::chain(&error), "polling failed");
                    // Once the grace is over, the applications ask by themselves and show the error.
                    source.tell(&self.moved);
                }
            }
        }
    }
}

impl Source {
    /// Whether nobody is left.
    fn leave(&self, application: &ApplicationKey) -> bool {
        let mut applications = self.applications.lock().unwrap_or_else(PoisonError::into_inner);
        applications.remove(application);
        if applications.is_empty() {
            self.stop.cancel();
        }
        applications.is_empty()
    }

    fn has(&self, application: &ApplicationKey) -> bool {
        self.applications.lock().unwrap_or_else(PoisonError::into_inner).contains(application)
    }

    fn tell(&self, moved: &Moved) {
        let applications = self.applications.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for application in applications {
            moved(&application);
        }
    }
}

fn leave(sources: &mut HashMap<SourceId, Arc<Source>>, application: &ApplicationKey) {
    sources.retain(|_, source| !source.leave(application));
}
