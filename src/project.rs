//! What an AppProject permits: the one choke point of every write.
//!
//! ```text
//! AppProjectSpec ──compile──▶ Project ──admit(claim)──▶ Admission ──permit(write)──▶ Permitted<write>
//!                            patterns   the Application's   each object:              all that the cluster
//!                            once       own facts, once     kind, name, namespace     room takes
//! ```
//!
//! A [`Permitted`] can be made in this room only and its content cannot be changed afterwards, so a write that the
//! project does not permit cannot be expressed: neither an apply, nor the creation of a namespace, a prune, a cascade,
//! a hook, the deletion of a hook, or the removal of a finalizer. Whatever is not said is denied: an Application
//! without a source, a destination without a server, a namespaced object without a namespace. Writes to the
//! Application's own `status` and `operation` are not the project's business.

mod orphans;
mod permit;
mod rules;
pub mod windows;

pub use orphans::OrphanRules;
pub use permit::{Admission, Apply, Claim, Delete, Permitted, Propagation, RemoveFinalizer, Write};
pub use rules::{Destination, Project, ProjectProblem};

use crate::error::{Classified, ErrorKind};

/// Why a project does not permit something.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The Application's namespace may not use the project.
    #[error(
        "application in namespace '{namespace}' is not allowed to use project '{project}': add the namespace to the project's spec.sourceNamespaces"
    )]
    ApplicationNamespace {
        /// The project.
        project: String,
        /// The Application's namespace.
        namespace: String,
    },
    /// A source is not among the project's repositories.
    #[error(
        "application repo {repo_url} is not permitted in project '{project}': add it to the project's spec.sourceRepos"
    )]
    Source {
        /// The project.
        project: String,
        /// The repository's URL without user and password.
        repo_url: String,
    },
    /// No source is named, so none can be permitted.
    #[error("an application without a source cannot write anything in project '{project}': set spec.source")]
    NoSource {
        /// The project.
        project: String,
    },
    /// The destination is not among the project's.
    #[error(
        "application destination server '{server}' and namespace '{namespace}' do not match any of the allowed destinations in project '{project}': add them to the project's spec.destinations"
    )]
    Destination {
        /// The project.
        project: String,
        /// The cluster's API server.
        server: String,
        /// The namespace.
        namespace: String,
    },
    /// The cluster belongs to another project, or the project takes only clusters of its own.
    #[error(
        "cluster '{server}' is not permitted in project '{project}': the 'project' field of its cluster Secret {reason}"
    )]
    Cluster {
        /// The project.
        project: String,
        /// The cluster's API server.
        server: String,
        /// What the field says or should say.
        reason: String,
    },
    /// The kind (or the name of the cluster-scoped object) is not permitted.
    #[error("resource {group}:{kind} is not permitted in project {project}: object '{name}': {remedy}")]
    Kind {
        /// The project.
        project: String,
        /// API group.
        group: String,
        /// Kind.
        kind: String,
        /// The object's name.
        name: String,
        /// Which list decides.
        remedy: &'static str,
    },
    /// The object's own namespace is not among the project's destinations.
    #[error(
        "namespace {namespace} is not permitted in project '{project}': add it to the project's spec.destinations for server '{server}'"
    )]
    Namespace {
        /// The project.
        project: String,
        /// The object's namespace.
        namespace: String,
        /// The cluster's API server.
        server: String,
    },
    /// The write contradicts itself, so it cannot be judged.
    #[error("{object} cannot be written in project '{project}': {reason}")]
    Malformed {
        /// The project.
        project: String,
        /// The object's identity.
        object: String,
        /// What is wrong.
        reason: &'static str,
    },
}

impl Classified for Refusal {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Malformed { .. } | Self::NoSource { .. } => ErrorKind::User,
            _ => ErrorKind::Configuration,
        }
    }
}

#[cfg(test)]
mod tests;
