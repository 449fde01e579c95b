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

use serde_json::Value;
use tokio::{sync::Semaphore, time::Instant};

use super::sources::{Freshness, Resolved, Sources};
use crate::{
    api::{
        ApplicationCondition, ApplicationSource, ApplicationSourceType, names, unsupported_object_options,
    },
    cluster::{ClusterError, discovery::Kinds, kinds_of_definition},
    error::{Classified, ErrorKind},
    files::{FileLimits, Files, FilesError, Inputs},
    git::{CommitId, GitError, RepoUrl, RevisionError, RevisionSpec, UrlError},
    object::{Gvk, Object, ObjectKey, Scope},
    render::{RenderContext, RenderError, Rendered, render},
    sync::ownership::Tracking,
};

/// How long one render may take.
const RENDER_LIMIT: Duration = Duration::from_secs(60);

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
            Self::Render(error) => error.kind(),
            Self::Files(error) => error.kind(),
            Self::Kind { source, .. } => source.kind(),
            Self::Panicked => ErrorKind::Bug,
            Self::Url(_)
            | Self::Revision(_)
            | Self::TooSlow
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
    /// The project, for credentials.
    pub project: &'a str,
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
    permits: Semaphore,
    limits: FileLimits,
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
    pub fn new(sources: Arc<Sources>) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self { sources, permits: Semaphore::new(processors), limits: FileLimits::default() }
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
        let known = known.filter(|known| known.fingerprint == fingerprint && known.same_scopes(input.kinds));
        if let Some(known) = known.filter(|known| known.commit == resolved.commit) {
            return Ok((known.clone(), RenderCache::Hit));
        }
        let tree = self.sources.tree(&resolved).await?;
        if let Some(known) = known.filter(|known| !known.uses_revision) {
            let (inputs, tree) = (known.inputs.clone(), Arc::clone(&tree));
            if blocking(move || inputs.unchanged_in(tree.as_ref())).await?? {
                let desired = Desired { commit: resolved.commit, seen: resolved.seen, ..known.clone() };
                return Ok((desired, RenderCache::Hit));
            }
        }
        let files = Files::new(tree, self.limits);
        let (source, mut context) = (input.source.clone(), input.context.clone());
        context.revision = resolved.commit.to_string();
        let permit = self.permits.acquire().await;
        let rendering = blocking(move || render(&files, &source, &context));
        let rendered = tokio::time::timeout(RENDER_LIMIT, rendering).await;
        drop(permit);
        let rendered = rendered.map_err(|_| DesiredError::TooSlow)???;
        Ok((finish(&input, rendered, &resolved, fingerprint)?, RenderCache::Miss))
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
    fingerprint: u64,
) -> Result<Desired, DesiredError> {
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
