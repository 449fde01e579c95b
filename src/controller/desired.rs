//! From an Application's source to the objects that it declares.
//!
//! ```text
//! revision ─▶ commit ─▶ tree ─▶ render ─▶ scope and namespace ─▶ tracking ─▶ one object per identity
//! ```
//!
//! The outcome is kept as compact JSON together with what was read of the tree. A later commit that leaves those
//! entries alone, under the same rules, declares the same objects and is not rendered again.

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use serde_json::Value;
use tokio::{sync::Semaphore, time::Instant};

use super::{
    applications::ApplicationKey,
    remotes::{Reader, RemoteError, Remotes, ResolvedRemote, UsedRemote},
    sources::{Freshness, Resolved, Sources},
};
use crate::{
    api::{
        ApplicationCondition, ApplicationSource, ApplicationSourceType, names, unsupported_object_options,
    },
    cluster::{ClusterError, discovery::Kinds, kinds_of_definition},
    error::{Classified, ErrorKind},
    files::{FileLimits, Files, FilesError, Inputs, MountedTree, Tree},
    git::{CommitId, GitError, RepoUrl, RevisionError, RevisionSpec, UrlError},
    metrics::Metrics,
    object::{Gvk, Object, ObjectKey, Scope},
    project::Refusal,
    render::{RenderContext, RenderError, Rendered, kustomize::Remote, render},
    sync::ownership::Tracking,
};

/// How long one render may take.
const RENDER_LIMIT: Duration = Duration::from_secs(60);
/// How often a render may ask for remote bases that it did not know of before: remotes that name others.
const REMOTE_ROUNDS: usize = 16;
/// How many remote bases one source may read.
const REMOTES: usize = 64;

/// Why it is not known what an Application declares.
#[derive(Debug, thiserror::Error)]
pub enum DesiredError {
    /// `repoURL` is no URL that Skiff can read.
    #[error("spec.source.repoURL")]
    Url(#[source] UrlError),
    /// `targetRevision` cannot be a revision.
    #[error("spec.source.targetRevision")]
    Revision(#[source] RevisionError),
    /// The repository could not be read.
    #[error(transparent)]
    Git(#[from] GitError),
    /// A remote base could not be read.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// Remote bases lead to ever more of them.
    #[error(
        "the source reads more than {REMOTES} remote bases, or more than {REMOTE_ROUNDS} behind each other"
    )]
    TooManyRemotes,
    /// The manifests could not be rendered.
    #[error(transparent)]
    Render(#[from] RenderError),
    /// The tree of files could not be read.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// Rendering took too long.
    #[error("rendering took longer than {} s: make the source smaller", RENDER_LIMIT.as_secs())]
    TooSlow,
    /// Rendering panicked: a bug that this application met.
    #[error("rendering ended unexpectedly; this is a bug of Skiff, please report it")]
    Panicked,
    /// A kind is not known.
    #[error("{origin}")]
    Kind {
        /// The object and the file that it comes from.
        origin: String,
        /// Why it is not known.
        #[source]
        source: Box<ClusterError>,
    },
    /// A namespaced object has no namespace.
    #[error("{origin}: no namespace: set metadata.namespace or spec.destination.namespace")]
    NoNamespace {
        /// The object and the file that it comes from.
        origin: String,
    },
    /// An object has no name of its own.
    #[error("{origin}: generateName is supported for hooks only: set metadata.name")]
    GeneratedName {
        /// The object and the file that it comes from.
        origin: String,
    },
}

impl Classified for DesiredError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Git(error) => error.kind(),
            Self::Remote(error) => error.kind(),
            Self::Render(error) => error.kind(),
            Self::Files(error) => error.kind(),
            Self::Kind { source, .. } => source.kind(),
            Self::Panicked => ErrorKind::Bug,
            Self::Url(_)
            | Self::Revision(_)
            | Self::TooSlow
            | Self::TooManyRemotes
            | Self::NoNamespace { .. }
            | Self::GeneratedName { .. } => ErrorKind::User,
        }
    }
}

/// One declared object.
#[derive(Clone)]
pub struct DesiredObject {
    /// Its identity, with the final namespace.
    pub key: ObjectKey,
    /// Its kind and version.
    pub gvk: Gvk,
    /// A hash of its content.
    pub hash: u64,
    body: Arc<[u8]>,
}

impl DesiredObject {
    fn new(object: &Object) -> Self {
        let body: Arc<[u8]> = serde_json::to_vec(object.value()).unwrap_or_default().into();
        let mut hasher = DefaultHasher::new();
        body.hash(&mut hasher);
        Self { key: object.key(), gvk: object.gvk(), hash: hasher.finish(), body }
    }

    /// The object itself; `None` never happens for what was an object when it was written out.
    pub fn object(&self) -> Option<Object> {
        let value: Value = serde_json::from_slice(&self.body).ok()?;
        Object::from_value(value).ok()
    }
}

/// What an Application declares at one commit.
#[derive(Clone)]
pub struct Desired {
    /// The commit.
    pub commit: CommitId,
    /// When the reference to the commit was first seen.
    pub seen: Instant,
    /// How the manifests were rendered.
    pub source_type: ApplicationSourceType,
    /// The objects, one per identity, sorted by it.
    pub objects: Arc<[DesiredObject]>,
    /// What is doubtful about them.
    pub warnings: Arc<[ApplicationCondition]>,
    /// Kinds that definitions among the objects will add, with plural name and scope.
    pub expected_kinds: Arc<[(Gvk, String, Scope)]>,
    /// When a remote base was last seen to be another than before.
    pub remotes_moved: Option<Timestamp>,
    remotes: Arc<[UsedRemote]>,
    inputs: Inputs,
    uses_revision: bool,
    fingerprint: u64,
    scopes: Arc<[(Gvk, Option<Scope>)]>,
}

/// What shapes the declared objects besides the commit.
pub struct DesiredInput<'a> {
    /// The source.
    pub source: &'a ApplicationSource,
    /// The revision to read it at; usually that of the source.
    pub revision: &'a str,
    /// The Application.
    pub application: &'a ApplicationKey,
    /// The project, for credentials.
    pub project: &'a str,
    /// Whether the project permits a URL as a source: what remote bases are asked.
    pub permits_source: &'a (dyn Fn(&str) -> Result<(), Refusal> + Sync),
    /// What the renderer is told, but for the revision.
    pub context: RenderContext,
    /// How objects are marked.
    pub tracking: &'a Tracking,
    /// Namespace of objects that name none.
    pub destination_namespace: &'a str,
    /// Whether objects of unknown kinds are let through (`SkipDryRunOnMissingResource=true`).
    pub tolerate_unknown_kinds: bool,
    /// Whether a kind is excluded by the settings.
    pub is_excluded: &'a (dyn Fn(&Gvk) -> bool + Sync),
    /// Identifies the settings that `is_excluded` stands for.
    pub settings_fingerprint: u64,
    /// The kinds of the destination.
    pub kinds: &'a Kinds,
}

/// Where declared objects come from.
pub struct Renderer {
    sources: Arc<Sources>,
    remotes: Arc<Remotes>,
    permits: Semaphore,
    limits: FileLimits,
    metrics: Arc<Metrics>,
}

/// How the declared objects were found, for metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RenderCache {
    /// They were known for what the commit holds.
    Hit,
    /// They had to be rendered.
    Miss,
}

impl Renderer {
    /// A renderer that renders as many applications at once as there are processors.
    pub fn new(sources: Arc<Sources>, remotes: Arc<Remotes>, metrics: Arc<Metrics>) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self { sources, remotes, permits: Semaphore::new(processors), limits: FileLimits::default(), metrics }
    }

    /// The objects that an Application declares. `known` is what it declared before and is used where it still holds.
    ///
    /// # Errors
    /// See [`DesiredError`].
    pub async fn desired(
        &self,
        input: DesiredInput<'_>,
        known: Option<&Desired>,
        freshness: Freshness,
    ) -> Result<(Desired, RenderCache), DesiredError> {
        let url = RepoUrl::parse(&input.source.repo_url).map_err(DesiredError::Url)?;
        let prefix = Some(input.source.tag_prefix.as_str());
        let revision = RevisionSpec::parse(input.revision, prefix).map_err(DesiredError::Revision)?;
        let resolved = self.sources.resolve(&url, input.project, &revision, freshness).await?;
        let fingerprint = fingerprint(&input, &resolved.commit);
        let before = known;
        let known = known.filter(|known| known.fingerprint == fingerprint && known.same_scopes(input.kinds));
        let reader = Reader {
            application: input.application,
            project: input.project,
            repository: &url,
            permits: input.permits_source,
        };
        // Where a remote that was read before cannot be read now, the render tells whether it is still needed.
        let (mut known, mut remotes) = match known {
            Some(known) => match self.resolve(&reader, known, freshness).await {
                Ok(remotes) => (Some(known), remotes),
                Err(_) => (None, Vec::new()),
            },
            None => (None, Vec::new()),
        };
        let is_same = |known: &&Desired| {
            known.commit == resolved.commit
                && known.remotes.iter().zip(&remotes).all(|(used, now)| now.is(used))
        };
        if let Some(known) = known.filter(is_same) {
            return Ok((known.clone(), RenderCache::Hit));
        }
        let own = self.sources.tree(&resolved).await?;
        let mut tree = match self.mounted(&own, &remotes).await {
            Ok(tree) => tree,
            Err(_) => {
                known = None;
                remotes.clear();
                Arc::clone(&own)
            }
        };
        if let Some(known) = known.filter(|known| !known.uses_revision) {
            let (inputs, tree) = (known.inputs.clone(), Arc::clone(&tree));
            if blocking(move || inputs.unchanged_in(tree.as_ref())).await?? {
                let remotes = remotes.iter().map(ResolvedRemote::used).collect();
                let desired =
                    Desired { commit: resolved.commit, seen: resolved.seen, remotes, ..known.clone() };
                return Ok((desired, RenderCache::Hit));
            }
        }
        for _ in 0..REMOTE_ROUNDS {
            let needed = match self.render(&input, &resolved, tree).await {
                Err(DesiredError::Render(RenderError::Remotes(needed))) => needed,
                rendered => {
                    let mut desired = finish(&input, rendered?, &resolved, &remotes, fingerprint)?;
                    if let Some(before) = before {
                        desired.remotes_moved = desired.remotes_moved_since(before);
                        self.leave(&reader, before, &desired);
                    }
                    return Ok((desired, RenderCache::Miss));
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

    async fn render(
        &self,
        input: &DesiredInput<'_>,
        resolved: &Resolved,
        tree: Arc<dyn Tree>,
    ) -> Result<Rendered, DesiredError> {
        let files = Files::new(tree, self.limits);
        let (source, mut context) = (input.source.clone(), input.context.clone());
        context.revision = resolved.commit.to_string();
        let began = Instant::now();
        let permit = self.permits.acquire().await;
        self.metrics.render_waited(began.elapsed());
        let rendering = blocking(move || render(&files, &source, &context));
        let rendered = tokio::time::timeout(RENDER_LIMIT, rendering).await;
        drop(permit);
        Ok(rendered.map_err(|_| DesiredError::TooSlow)???)
    }

    /// What was read of remotes before, as it is now.
    async fn resolve(
        &self,
        reader: &Reader<'_>,
        known: &Desired,
        freshness: Freshness,
    ) -> Result<Vec<ResolvedRemote>, RemoteError> {
        let mut remotes = Vec::with_capacity(known.remotes.len());
        for used in known.remotes.iter() {
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

/// Runs what may take long or panic on a thread of its own.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, DesiredError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| DesiredError::Panicked)
}

/// Everything but the tree that shapes the outcome.
fn fingerprint(input: &DesiredInput<'_>, commit: &CommitId) -> u64 {
    let mut hasher = DefaultHasher::new();
    input.context.fingerprint(input.source, commit.as_str()).hash(&mut hasher);
    format!("{:?}", input.tracking).hash(&mut hasher);
    (input.destination_namespace, input.tolerate_unknown_kinds, input.settings_fingerprint).hash(&mut hasher);
    hasher.finish()
}

impl Desired {
    /// When a remote base was last seen to be another one than in an earlier render.
    fn remotes_moved_since(&self, before: &Self) -> Option<Timestamp> {
        let moved = |now: &UsedRemote| before.remotes.iter().any(|then| now.moved_since(then));
        if self.remotes.iter().any(moved) { Some(Timestamp::now()) } else { before.remotes_moved }
    }

    /// Whether the cluster still has the kinds as they were when namespaces were filled in.
    fn same_scopes(&self, kinds: &Kinds) -> bool {
        self.scopes.iter().all(|(gvk, scope)| kinds.get(gvk).ok().map(|info| info.scope) == *scope)
    }
}

/// Gives rendered objects their namespace and their mark.
fn finish(
    input: &DesiredInput<'_>,
    rendered: Rendered,
    resolved: &Resolved,
    remotes: &[ResolvedRemote],
    fingerprint: u64,
) -> Result<Desired, DesiredError> {
    let is_read = |remote: &&ResolvedRemote| {
        let mount = remote.mount();
        rendered.inputs.iter().any(|(path, _)| path.is_within(&mount))
    };
    let remotes: Arc<[UsedRemote]> = remotes.iter().filter(is_read).map(ResolvedRemote::used).collect();
    let mut expected: HashMap<Gvk, (String, Scope)> = HashMap::new();
    for rendered in &rendered.objects {
        if rendered.object.kind() == "CustomResourceDefinition" {
            expected.extend(kinds_of_definition(&rendered.object));
        }
    }
    let mut warnings: Vec<ApplicationCondition> = rendered
        .warnings
        .iter()
        .map(|warning| ApplicationCondition::new(names::CONDITION_MANIFEST_WARNING, warning))
        .collect();
    let mut scopes: HashMap<Gvk, Option<Scope>> = HashMap::new();
    let mut by_key: HashMap<ObjectKey, DesiredObject> = HashMap::new();
    for rendered in rendered.objects {
        let mut object = rendered.object;
        let gvk = object.gvk();
        let origin = || format!("{} (from {})", object.key(), rendered.origin);
        if (input.is_excluded)(&gvk) {
            let text = format!("Resource {} is excluded in the settings", object.key());
            warnings.push(ApplicationCondition::new(names::CONDITION_EXCLUDED_RESOURCE_WARNING, text));
            continue;
        }
        let found = input.kinds.get(&gvk).map(|info| info.scope);
        scopes.insert(gvk.clone(), found.as_ref().ok().copied());
        let scope = match (found, expected.get(&gvk)) {
            (Ok(scope), _) => scope,
            (Err(_), Some((_, scope))) => *scope,
            (Err(ClusterError::UnknownKind { .. }), None) if tolerates(input, &object) => Scope::Namespaced,
            (Err(source), None) => {
                return Err(DesiredError::Kind { origin: origin(), source: source.into() });
            }
        };
        warnings.extend(unsupported_object_options(&object).into_iter().map(|problem| {
            ApplicationCondition::new(names::CONDITION_MANIFEST_WARNING, format!("{}: {problem}", origin()))
        }));
        if object.name().is_empty() {
            return Err(DesiredError::GeneratedName { origin: origin() });
        }
        match scope {
            Scope::Cluster => object.set_namespace(""),
            Scope::Namespaced if object.namespace().is_empty() => {
                if input.destination_namespace.is_empty() {
                    return Err(DesiredError::NoNamespace { origin: origin() });
                }
                object.set_namespace(input.destination_namespace);
            }
            Scope::Namespaced => {}
        }
        let desired = DesiredObject::new(&input.tracking.mark(object));
        match by_key.entry(desired.key.clone()) {
            Entry::Vacant(entry) => {
                entry.insert(desired);
            }
            Entry::Occupied(mut entry) => {
                let text = format!(
                    "Resource {} appears more than once among the manifests (last in {}); the last one is used",
                    desired.key, rendered.origin
                );
                warnings.push(ApplicationCondition::new(names::CONDITION_REPEATED_RESOURCE_WARNING, text));
                entry.insert(desired);
            }
        }
    }
    let mut objects: Vec<DesiredObject> = by_key.into_values().collect();
    objects.sort_by(|a, b| a.key.cmp(&b.key));
    Ok(Desired {
        commit: resolved.commit.clone(),
        seen: resolved.seen,
        source_type: rendered.source_type,
        objects: objects.into(),
        warnings: warnings.into(),
        expected_kinds: expected.into_iter().map(|(gvk, (plural, scope))| (gvk, plural, scope)).collect(),
        remotes_moved: None,
        remotes,
        inputs: rendered.inputs,
        uses_revision: rendered.uses_revision,
        fingerprint,
        scopes: scopes.into_iter().collect(),
    })
}

fn tolerates(input: &DesiredInput<'_>, object: &Object) -> bool {
    input.tolerate_unknown_kinds
        || crate::api::sync_options::SyncOptions::of_object(object).skip_dry_run_on_missing_resource()
}
