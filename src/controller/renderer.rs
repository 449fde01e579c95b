//! Rendering what has to be rendered, and nothing twice.
//!
//! A commit that leaves alone what an earlier render read, under the same rules, declares the same objects. A render
//! ends by itself when its time is over; until its thread has ended it counts against the number of renders at once,
//! and the same input is not tried again.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

use super::{
    desired::{Desired, DesiredError, DesiredInput, REMOTE_ROUNDS, REMOTES, fingerprint, finish},
    remotes::{Reader, RemoteError, Remotes, ResolvedRemote, UsedRemote},
    sources::{Freshness, Resolved, Sources},
};
use crate::{
    api::ApplicationSourceType,
    error::chain,
    files::{Budget, DerivedCache, FileLimits, Files, Inputs, MountedTree, Tree},
    git::{CommitId, RepoUrl, RevisionSpec},
    metrics::Metrics,
    render::{RenderError, Rendered, kustomize::Remote, render},
};

/// A render that has not noticed after this much more time that it is over does not keep its Application waiting.
const GRACE: Duration = Duration::from_secs(10);

/// Bytes of parsed files that are kept at most, packed.
const PARSED_BYTES: usize = 16 << 20;
/// How long a parsed file is kept that no render asks for: commits come in bursts, and at rest nothing is kept.
const PARSED_AGE: Duration = Duration::from_secs(600);

/// What earlier looks learned of an Application's declared objects.
#[derive(Default)]
pub struct Known {
    desired: Option<Desired>,
    too_slow: Option<TooSlow>,
}

/// What could not be rendered in time.
struct TooSlow {
    commit: CommitId,
    remotes: Vec<UsedRemote>,
    fingerprint: u64,
    limit: Duration,
    place: String,
}

/// Where declared objects come from.
pub struct Renderer {
    sources: Arc<Sources>,
    remotes: Arc<Remotes>,
    permits: Arc<Semaphore>,
    limits: FileLimits,
    /// Parsed files: where one file of a source changes, the others need not be parsed again.
    parsed: Arc<DerivedCache>,
    metrics: Arc<Metrics>,
}

impl Renderer {
    /// A renderer that renders as many applications at once as there are processors.
    pub fn new(sources: Arc<Sources>, remotes: Arc<Remotes>, metrics: Arc<Metrics>) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let permits = Arc::new(Semaphore::new(processors));
        let parsed = Arc::new(DerivedCache::new(PARSED_BYTES, PARSED_AGE));
        Self { sources, remotes, permits, limits: FileLimits::default(), parsed, metrics }
    }

    /// The objects that an Application declares. What is `known` is used where it still holds, and kept up to date.
    ///
    /// # Errors
    /// See [`DesiredError`].
    pub async fn desired(
        &self,
        input: DesiredInput<'_>,
        known: &mut Known,
        freshness: Freshness,
    ) -> Result<Desired, DesiredError> {
        self.parsed.drop_old();
        let url = RepoUrl::parse(&input.source.repo_url).map_err(DesiredError::Url)?;
        let prefix = Some(input.source.tag_prefix.as_str());
        let revision = RevisionSpec::parse(input.revision, prefix).map_err(DesiredError::Revision)?;
        let resolved = self.sources.resolve(&url, input.project, &revision, freshness).await?;
        let fingerprint = fingerprint(&input, &resolved.commit);
        let reader = Reader {
            application: input.application,
            project: input.project,
            repository: &url,
            permits: input.permits_source,
        };
        self.check_slow(&input, &reader, known, &resolved, fingerprint, freshness).await?;
        let before = known.desired.clone();
        let holds = |known: &&Desired| known.fingerprint == fingerprint && known.same_scopes(input.kinds);
        // Where a remote that was read before cannot be read now, the render tells whether it is still needed.
        let (mut usable, mut remotes) = match before.as_ref().filter(holds) {
            Some(usable) => match self.resolve(&reader, &usable.remotes, freshness).await {
                Ok(remotes) => (Some(usable), remotes),
                Err(_) => (None, Vec::new()),
            },
            None => (None, Vec::new()),
        };
        let is_same =
            |usable: &&Desired| usable.commit == resolved.commit && are_same(&usable.remotes, &remotes);
        if let Some(usable) = usable.filter(is_same) {
            self.metrics.render_cache_hit();
            return Ok(usable.clone());
        }
        let own = self.sources.tree(&resolved).await?;
        let mut tree = match self.mounted(&own, &remotes).await {
            Ok(tree) => tree,
            Err(_) => {
                usable = None;
                remotes.clear();
                Arc::clone(&own)
            }
        };
        if let Some(usable) = usable.filter(|usable| !usable.uses_revision) {
            let (inputs, tree) = (usable.inputs.clone(), Arc::clone(&tree));
            let permit = Arc::clone(&self.permits).acquire_owned().await.ok();
            if blocking(permit, move || inputs.unchanged_in(tree.as_ref())).await?? {
                self.metrics.render_cache_hit();
                let desired = usable.moved_to(&resolved, &remotes);
                known.desired = Some(desired.clone());
                return Ok(desired);
            }
        }
        self.metrics.render_cache_miss();
        for _ in 0..REMOTE_ROUNDS {
            let needed = match self.render(&input, &resolved, tree).await {
                Err(DesiredError::Render(RenderError::Remotes(needed))) => needed,
                Err(DesiredError::TooSlow { limit, place }) => {
                    let (commit, place_of) = (resolved.commit.clone(), place.clone());
                    let remotes = remotes.iter().map(ResolvedRemote::used).collect();
                    known.too_slow = Some(TooSlow { commit, remotes, fingerprint, limit, place: place_of });
                    return Err(DesiredError::TooSlow { limit, place });
                }
                rendered => {
                    let mut desired = finish(&input, rendered?, &resolved, &remotes, fingerprint)?;
                    if let Some(before) = &before {
                        desired.remotes_moved = desired.remotes_moved_since(before);
                        self.leave(&reader, before, &desired);
                    }
                    *known = Known { desired: Some(desired.clone()), too_slow: None };
                    return Ok(desired);
                }
            };
            if remotes.len().saturating_add(needed.len()) > REMOTES {
                return Err(DesiredError::TooManyRemotes);
            }
            for remote in needed {
                remotes.push(self.remotes.resolve(&reader, &remote, freshness).await?);
            }
            tree = self.mounted(&own, &remotes).await?;
        }
        Err(DesiredError::TooManyRemotes)
    }

    /// What a source declares that others only refer to: nothing, at a commit.
    ///
    /// # Errors
    /// See [`DesiredError`].
    pub async fn reference(
        &self,
        input: &DesiredInput<'_>,
        freshness: Freshness,
    ) -> Result<Desired, DesiredError> {
        let url = RepoUrl::parse(&input.source.repo_url).map_err(DesiredError::Url)?;
        let revision = RevisionSpec::parse(input.revision, None).map_err(DesiredError::Revision)?;
        let resolved = self.sources.resolve(&url, input.project, &revision, freshness).await?;
        Ok(Desired {
            commit: resolved.commit.clone(),
            commits: [resolved.commit.clone()].into(),
            seen: resolved.seen,
            source_type: ApplicationSourceType::Directory,
            source_types: [ApplicationSourceType::Directory].into(),
            objects: Arc::default(),
            warnings: Arc::default(),
            expected_kinds: Arc::default(),
            remotes_moved: None,
            remotes: Arc::default(),
            inputs: Inputs::default(),
            uses_revision: false,
            fingerprint: fingerprint(input, &resolved.commit),
            scopes: Arc::default(),
        })
    }

    /// Renders nothing again that took too long, as long as all that it was rendered from is the same.
    async fn check_slow(
        &self,
        input: &DesiredInput<'_>,
        reader: &Reader<'_>,
        known: &mut Known,
        resolved: &Resolved,
        fingerprint: u64,
        freshness: Freshness,
    ) -> Result<(), DesiredError> {
        let is_same = |slow: &&TooSlow| {
            slow.commit == resolved.commit
                && slow.fingerprint == fingerprint
                && slow.limit >= input.time_limit
        };
        let Some(slow) = known.too_slow.as_ref().filter(is_same) else { return Ok(()) };
        let remotes = self.resolve(reader, &slow.remotes, freshness).await?;
        if are_same(&slow.remotes, &remotes) {
            return Err(DesiredError::TooSlow { limit: slow.limit, place: slow.place.clone() });
        }
        Ok(())
    }

    async fn render(
        &self,
        input: &DesiredInput<'_>,
        resolved: &Resolved,
        tree: Arc<dyn Tree>,
    ) -> Result<Rendered, DesiredError> {
        let (source, mut context) = (input.source.clone(), input.context.clone());
        context.revision = resolved.commit.to_string();
        let (limit, limits, parsed) = (input.time_limit, self.limits, Arc::clone(&self.parsed));
        let began = Instant::now();
        let permit = Arc::clone(&self.permits).acquire_owned().await.ok();
        self.metrics.render_waited(began.elapsed());
        let rendering = blocking(permit, move || {
            let files = Files::new(tree, limits).within(Budget::of(limit)).with_derived(parsed);
            let rendered = render(&files, &source, &context);
            files.keep_derived();
            (rendered, files.budget().is_overdue())
        });
        match tokio::time::timeout(limit.saturating_add(GRACE), rendering).await {
            Err(_) => Err(DesiredError::TooSlow { limit, place: String::new() }),
            Ok(ended) => match ended? {
                (Err(error), true) => Err(too_slow(limit, &error)),
                (rendered, _) => Ok(rendered?),
            },
        }
    }

    /// What was read of remotes before, as it is now.
    async fn resolve(
        &self,
        reader: &Reader<'_>,
        used: &[UsedRemote],
        freshness: Freshness,
    ) -> Result<Vec<ResolvedRemote>, RemoteError> {
        let mut remotes = Vec::with_capacity(used.len());
        for used in used {
            remotes.push(self.remotes.resolve(reader, &used.remote, freshness).await?);
        }
        Ok(remotes)
    }

    async fn mounted(
        &self,
        own: &Arc<dyn Tree>,
        remotes: &[ResolvedRemote],
    ) -> Result<Arc<dyn Tree>, RemoteError> {
        if remotes.is_empty() {
            return Ok(Arc::clone(own));
        }
        let mut mounts = Vec::with_capacity(remotes.len());
        for remote in remotes {
            mounts.push(self.remotes.mount(remote).await?);
        }
        Ok(Arc::new(MountedTree::new(Arc::clone(own), mounts)))
    }

    /// Remotes that are not read any more are not followed any more.
    fn leave(&self, reader: &Reader<'_>, before: &Desired, now: &Desired) {
        let is_left = |remote: &&Remote| now.remotes.iter().all(|used| !used.remote.is_same_place(remote));
        let left: Vec<&Remote> = before.remotes.iter().map(|used| &used.remote).filter(is_left).collect();
        self.remotes.unfollow(reader, &left);
    }
}

fn are_same(used: &[UsedRemote], now: &[ResolvedRemote]) -> bool {
    used.len() == now.len() && used.iter().zip(now).all(|(used, now)| now.is(used))
}

fn too_slow(limit: Duration, error: &RenderError) -> DesiredError {
    DesiredError::TooSlow { limit, place: format!(" ({})", chain(error)) }
}

/// Runs what may take long or panic on a thread of its own, which holds the permit for as long as it runs.
async fn blocking<T: Send + 'static>(
    permit: Option<OwnedSemaphorePermit>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, DesiredError> {
    let working = tokio::task::spawn_blocking(move || {
        let done = work();
        drop(permit);
        done
    });
    working.await.map_err(|_| DesiredError::Panicked)
}
