//! From an Application's source to the objects that it declares.
//!
//! ```text
//! revision ─▶ commit ─▶ tree ─▶ render ─▶ scope and namespace ─▶ tracking ─▶ one object per identity
//! ```
//!
//! The outcome is kept as compact JSON together with what was read of the tree, so that it is known when it still
//! holds ([`super::renderer`] brings both together).

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use serde_json::Value;
use tokio::time::Instant;

use super::{
    applications::ApplicationKey,
    remotes::{RemoteError, ResolvedRemote, UsedRemote},
    sources::Resolved,
};
use crate::{
    api::{
        ApplicationCondition, ApplicationSource, ApplicationSourceType, names, unknown_object_options,
        unsupported_object_options,
    },
    cluster::{ClusterError, discovery::Kinds, kinds_of_definition},
    error::{Classified, ErrorKind},
    files::{FilesError, Inputs},
    git::{CommitId, GitError, RevisionError, UrlError},
    object::{Gvk, Object, ObjectKey, Scope},
    project::Refusal,
    render::{RenderContext, RenderError, Rendered},
    sync::{hook::Role, ownership::Tracking},
};

/// How often a render may ask for remote bases that it did not know of before: remotes that name others.
pub(super) const REMOTE_ROUNDS: usize = 16;
/// How many remote bases one source may read.
pub(super) const REMOTES: usize = 64;

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
    Git(#[from] Arc<GitError>),
    /// A remote base could not be read.
    #[error(transparent)]
    Remote(Box<RemoteError>),
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
    #[error(
        "rendering was given up after {} s{place}: make the source smaller, split the application, or raise \
         controller.repo.server.timeout.seconds in ConfigMap 'argocd-cmd-params-cm'; it is tried again when one of \
         these changes, or on a hard refresh",
        limit.as_secs()
    )]
    TooSlow {
        /// How long it was let.
        limit: Duration,
        /// Where it was, in brackets; empty where that is not known.
        place: String,
    },
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

impl From<RemoteError> for DesiredError {
    fn from(error: RemoteError) -> Self {
        Self::Remote(error.into())
    }
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
            | Self::TooSlow { .. }
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

    fn generate_name(&self) -> String {
        self.object().map(|object| object.generate_name().to_owned()).unwrap_or_default()
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
    /// The commit; of several sources, the first one's.
    pub commit: CommitId,
    /// The commit of each source.
    pub commits: Arc<[CommitId]>,
    /// When the reference to the commit was first seen.
    pub seen: Instant,
    /// How the manifests were rendered.
    pub source_type: ApplicationSourceType,
    /// The same for each source.
    pub source_types: Arc<[ApplicationSourceType]>,
    /// The objects, one per identity, sorted by it.
    pub objects: Arc<[DesiredObject]>,
    /// What is doubtful about them.
    pub warnings: Arc<[ApplicationCondition]>,
    /// Kinds that definitions among the objects will add, with plural name and scope.
    pub expected_kinds: Arc<[(Gvk, String, Scope)]>,
    /// When a remote base was last seen to be another than before.
    pub remotes_moved: Option<Timestamp>,
    pub(super) remotes: Arc<[UsedRemote]>,
    pub(super) inputs: Inputs,
    pub(super) uses_revision: bool,
    pub(super) fingerprint: u64,
    pub(super) scopes: Arc<[(Gvk, Option<Scope>)]>,
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
    /// How long rendering may take.
    pub time_limit: Duration,
    /// Identifies the settings that `is_excluded` stands for.
    pub settings_fingerprint: u64,
    /// The kinds of the destination.
    pub kinds: &'a Kinds,
}

/// Everything but the tree that shapes the outcome.
pub(super) fn fingerprint(input: &DesiredInput<'_>, commit: &CommitId) -> u64 {
    let mut hasher = DefaultHasher::new();
    input.context.fingerprint(input.source, commit.as_str()).hash(&mut hasher);
    format!("{:?}", input.tracking).hash(&mut hasher);
    (input.destination_namespace, input.tolerate_unknown_kinds, input.settings_fingerprint).hash(&mut hasher);
    hasher.finish()
}

impl Desired {
    /// The same objects at a later commit.
    pub(super) fn moved_to(&self, resolved: &Resolved, remotes: &[ResolvedRemote]) -> Self {
        let remotes = remotes.iter().map(ResolvedRemote::used).collect();
        Self { seen: resolved.seen, remotes, ..self.clone() }.at(resolved.commit.clone())
    }

    /// When a remote base was last seen to be another one than in an earlier render.
    pub(super) fn remotes_moved_since(&self, before: &Self) -> Option<Timestamp> {
        let moved = |now: &UsedRemote| before.remotes.iter().any(|then| now.moved_since(then));
        if self.remotes.iter().any(moved) { Some(Timestamp::now()) } else { before.remotes_moved }
    }

    /// The same at another commit that declares the same.
    fn at(self, commit: CommitId) -> Self {
        Self { commits: [commit.clone()].into(), commit, ..self }
    }

    /// What several sources declare together: where two declare the same object, the later one does.
    ///
    /// `None` when there is no source.
    pub fn merged(parts: &[Self]) -> Option<Self> {
        let first = parts.first()?;
        let mut warnings: Vec<ApplicationCondition> = Vec::new();
        let mut by_key: HashMap<ObjectKey, (usize, DesiredObject)> = HashMap::new();
        let mut expected: Vec<(Gvk, String, Scope)> = Vec::new();
        for (index, part) in parts.iter().enumerate() {
            warnings.extend(part.warnings.iter().cloned());
            expected.extend(part.expected_kinds.iter().cloned());
            for object in part.objects.iter() {
                let earlier = by_key.insert(object.key.clone(), (index, object.clone()));
                if let Some((earlier, _)) = earlier {
                    let text = format!(
                        "Resource {} appears more than once among the manifests (in sources {earlier} and {index}); \
                         the last one is used",
                        object.key
                    );
                    let repeated = names::CONDITION_REPEATED_RESOURCE_WARNING;
                    warnings.push(ApplicationCondition::new(repeated, text));
                }
            }
        }
        let mut objects: Vec<DesiredObject> = by_key.into_values().map(|(_, object)| object).collect();
        objects.sort_by(|a, b| a.key.cmp(&b.key));
        Some(Self {
            commits: parts.iter().map(|part| part.commit.clone()).collect(),
            source_types: parts.iter().map(|part| part.source_type).collect(),
            seen: parts.iter().map(|part| part.seen).max().unwrap_or(first.seen),
            remotes_moved: parts.iter().filter_map(|part| part.remotes_moved).max(),
            objects: objects.into(),
            warnings: warnings.into(),
            expected_kinds: expected.into(),
            ..first.clone()
        })
    }

    /// Why nothing of it may be synced: an option of an object that nobody knows may have been meant to protect it.
    pub(super) fn refusal(&self) -> Option<String> {
        let of_objects = self
            .warnings
            .iter()
            .filter(|warning| warning.condition_type == names::CONDITION_INVALID_SPEC_ERROR);
        let problems: Vec<&str> = of_objects.map(|warning| warning.message.as_str()).collect();
        (!problems.is_empty()).then(|| problems.join("; "))
    }

    /// Whether the cluster still has the kinds as they were when namespaces were filled in.
    pub(super) fn same_scopes(&self, kinds: &Kinds) -> bool {
        self.scopes.iter().all(|(gvk, scope)| kinds.get(gvk).ok().map(|info| info.scope) == *scope)
    }
}

/// Gives rendered objects their namespace and their mark.
pub(super) fn finish(
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
        warnings.extend(unknown_object_options(&object).into_iter().map(|problem| {
            ApplicationCondition::new(names::CONDITION_INVALID_SPEC_ERROR, format!("{}: {problem}", origin()))
        }));
        if object.name().is_empty() && !matches!(Role::of(&object), Role::Hook(_)) {
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
        let mut desired = DesiredObject::new(&input.tracking.mark(object));
        if desired.key.name.is_empty() {
            // A hook whose name each sync makes; here it only has to be told from others.
            desired.key.name = format!("{}{}", desired.generate_name(), by_key.len());
        }
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
        commits: [resolved.commit.clone()].into(),
        seen: resolved.seen,
        source_type: rendered.source_type,
        source_types: [rendered.source_type].into(),
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
