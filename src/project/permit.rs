//! Turning a wanted write into a permitted one.

use super::{Destination, Project, Refusal};
use crate::{
    api::sync_options::PropagationPolicy,
    object::{Gvk, Object, ObjectKey, Scope},
};

/// What an Application says about itself, as far as its project asks.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    /// The namespace that the Application lives in.
    pub application_namespace: &'a str,
    /// `repoURL` of every source of this sync.
    pub repo_urls: &'a [String],
    /// The resolved cluster.
    pub destination: &'a Destination,
    /// `spec.destination.namespace`; may be empty.
    pub namespace: &'a str,
}

/// How the garbage collector treats the dependents of a deleted object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Propagation {
    /// The object goes after its dependents.
    #[default]
    Foreground,
    /// The object goes first.
    Background,
    /// The dependents stay.
    Orphan,
}

impl From<PropagationPolicy> for Propagation {
    fn from(policy: PropagationPolicy) -> Self {
        match policy {
            PropagationPolicy::Foreground => Self::Foreground,
            PropagationPolicy::Background => Self::Background,
            PropagationPolicy::Orphan => Self::Orphan,
        }
    }
}

/// A server-side apply: of a manifest, of a namespace to create, of a hook.
///
/// The same permitted value may be applied as a dry run first.
#[derive(Clone, Debug)]
pub struct Apply {
    /// The object as it is sent, with its final namespace.
    pub object: Object,
    /// Its kind's scope, from discovery.
    pub scope: Scope,
}

/// A deletion: prune, cascade, or of a hook.
#[derive(Clone, Debug)]
pub struct Delete {
    /// Group, version and kind.
    pub gvk: Gvk,
    /// Namespace; empty for a cluster-scoped object.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// The kind's scope, from discovery.
    pub scope: Scope,
    /// The object's uid: a precondition, so that a successor of the same name is never hit.
    pub uid: String,
    /// The object's resourceVersion as a precondition, when what was decided on must be what is deleted.
    pub resource_version: Option<String>,
    /// What happens to its dependents.
    pub propagation: Propagation,
}

/// The removal of one finalizer from an object, such as the one that hooks carry.
#[derive(Clone, Debug)]
pub struct RemoveFinalizer {
    /// Group, version and kind.
    pub gvk: Gvk,
    /// Namespace; empty for a cluster-scoped object.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// The kind's scope, from discovery.
    pub scope: Scope,
    /// The object's uid.
    pub uid: String,
    /// The finalizer.
    pub finalizer: String,
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Apply {}
    impl Sealed for super::Delete {}
    impl Sealed for super::RemoveFinalizer {}
}

/// A write that a project can judge. Implemented by [`Apply`], [`Delete`] and [`RemoveFinalizer`] and by nothing else.
pub trait Write: sealed::Sealed {
    /// The identity of the object that is written.
    fn key(&self) -> ObjectKey;
    /// Its kind's scope.
    fn scope(&self) -> Scope;
    /// Whether it brings content of a source into the cluster.
    fn carries_source(&self) -> bool;
    /// Why it contradicts itself, if it does.
    fn contradiction(&self) -> Option<&'static str>;
}

fn missing_target(namespace: &str, name: &str, uid: &str, scope: Scope) -> Option<&'static str> {
    if name.is_empty() || uid.is_empty() {
        return Some("a deletion or a change of finalizers needs the object's name and uid");
    }
    misplaced(namespace, scope)
}

fn misplaced(namespace: &str, scope: Scope) -> Option<&'static str> {
    match scope {
        Scope::Cluster if !namespace.is_empty() => {
            Some("its kind is cluster-scoped, so metadata.namespace must not be set")
        }
        Scope::Namespaced if namespace.is_empty() => {
            Some("its kind is namespaced, so set metadata.namespace or spec.destination.namespace")
        }
        _ => None,
    }
}

impl Write for Apply {
    fn key(&self) -> ObjectKey {
        self.object.key()
    }

    fn scope(&self) -> Scope {
        self.scope
    }

    fn carries_source(&self) -> bool {
        true
    }

    fn contradiction(&self) -> Option<&'static str> {
        if self.object.kind().ends_with("List") && self.object.value().get("items").is_some() {
            return Some("it is a list of objects, and each of them has to be judged by itself");
        }
        misplaced(self.object.namespace(), self.scope)
    }
}

impl Write for Delete {
    fn key(&self) -> ObjectKey {
        ObjectKey::new(&self.gvk.group, &self.gvk.kind, &self.namespace, &self.name)
    }

    fn scope(&self) -> Scope {
        self.scope
    }

    fn carries_source(&self) -> bool {
        false
    }

    fn contradiction(&self) -> Option<&'static str> {
        missing_target(&self.namespace, &self.name, &self.uid, self.scope)
    }
}

impl Write for RemoveFinalizer {
    fn key(&self) -> ObjectKey {
        ObjectKey::new(&self.gvk.group, &self.gvk.kind, &self.namespace, &self.name)
    }

    fn scope(&self) -> Scope {
        self.scope
    }

    fn carries_source(&self) -> bool {
        false
    }

    fn contradiction(&self) -> Option<&'static str> {
        if self.finalizer.is_empty() {
            return Some("no finalizer is named");
        }
        missing_target(&self.namespace, &self.name, &self.uid, self.scope)
    }
}

/// The proof that a project permits an Application's namespace, sources and destination.
///
/// It judges by the rules as they were when it was made: make a new one for each step of an operation.
#[derive(Clone, Debug)]
pub struct Admission {
    project: Project,
    destination: Destination,
    source_permitted: bool,
}

impl Admission {
    pub(super) fn new(project: Project, destination: Destination, source_permitted: bool) -> Self {
        Self { project, destination, source_permitted }
    }

    /// The project that permits.
    pub fn project(&self) -> &Project {
        &self.project
    }

    /// The cluster that the writes are for.
    pub fn destination(&self) -> &Destination {
        &self.destination
    }

    /// Judges one write by the object's final kind, name and namespace.
    ///
    /// # Errors
    /// When the project does not permit the kind or the namespace, when an apply is asked of an admission that was
    /// made for a deletion, or when the write contradicts its kind's scope.
    pub fn permit<W: Write>(&self, write: W) -> Result<Permitted<W>, Refusal> {
        let key = write.key();
        if let Some(reason) = write.contradiction() {
            let project = self.project.name().to_owned();
            return Err(Refusal::Malformed { project, object: key.to_string(), reason });
        }
        if write.carries_source() && !self.source_permitted {
            return Err(Refusal::NoSource { project: self.project.name().to_owned() });
        }
        self.project.permits_resource(&key, write.scope(), &self.destination)?;
        Ok(Permitted {
            write,
            destination: self.destination.clone(),
            project: self.project.name().to_owned(),
        })
    }
}

/// A write that a project has permitted, for one cluster.
///
/// There is no other way to make one than [`Admission::permit`], and none to change it:
///
/// ```compile_fail
/// use skiff::project::{Apply, Destination, Permitted};
/// fn smuggle(write: Apply, destination: Destination) -> Permitted<Apply> {
///     Permitted { write, destination, project: "default".to_owned() }
/// }
/// ```
///
/// ```compile_fail
/// use skiff::project::{Apply, Permitted};
/// fn tamper(permitted: &mut Permitted<Apply>) {
///     permitted.write().object.set_namespace("kube-system");
/// }
/// ```
#[derive(Debug)]
pub struct Permitted<W> {
    write: W,
    destination: Destination,
    project: String,
}

impl<W> Permitted<W> {
    /// What is permitted.
    pub fn write(&self) -> &W {
        &self.write
    }

    /// The cluster that it is permitted for.
    pub fn destination(&self) -> &Destination {
        &self.destination
    }

    /// The name of the project that permits it.
    pub fn project(&self) -> &str {
        &self.project
    }
}
