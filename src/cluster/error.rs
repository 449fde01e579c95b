//! Errors of requests to a cluster.

use std::time::Duration;

use kube::core::Status;

use super::transport::Held;
use crate::{
    error::{Classified, ErrorKind},
    object::Gvk,
};

/// Why a request to a cluster did not do what it was for.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ClusterError {
    /// The cluster serves no such kind.
    #[error(
        "the cluster has no kind {gvk}: install its CustomResourceDefinition (in this application in the same sync, \
         or beforehand) or correct apiVersion and kind"
    )]
    UnknownKind {
        /// The kind that was looked up.
        gvk: Gvk,
    },
    /// The API group is registered, but the server behind it does not answer, so its kinds are not known.
    #[error(
        "API group '{group}' cannot be discovered ({reason}): its server may be down; nothing is changed meanwhile"
    )]
    GroupUnavailable {
        /// The group.
        group: String,
        /// What the API server says of it.
        reason: String,
    },
    /// The API server refused a request.
    #[error("cannot {action} {object}: {message}")]
    Refused {
        /// What was attempted ("apply", "list").
        action: &'static str,
        /// On which object or resource.
        object: String,
        /// HTTP status code.
        code: u16,
        /// The reason, such as `Forbidden`.
        reason: String,
        /// What the API server said; for Secrets only what cannot hold a value.
        message: String,
    },
    /// No answer in time.
    #[error("cannot {action} {object}: the API server did not answer within {} s", limit.as_secs())]
    Timeout {
        /// What was attempted.
        action: &'static str,
        /// On which object or resource.
        object: String,
        /// The time limit.
        limit: Duration,
    },
    /// The connection failed, or the answer made no sense.
    #[error("cannot {action} {object}: {message}")]
    Connection {
        /// What was attempted.
        action: &'static str,
        /// On which object or resource.
        object: String,
        /// The cause.
        message: String,
    },
    /// This replica does not lead (any more), so it must not write.
    #[error("cannot {action} {object}: another replica leads now")]
    NotLeading {
        /// What was attempted.
        action: &'static str,
        /// On which object or resource.
        object: String,
    },
    /// The agent runs in shadow mode, so it must not write.
    #[error("cannot {action} {object}: the agent runs in shadow mode and writes nothing but its report")]
    Shadow {
        /// What was attempted.
        action: &'static str,
        /// On which object or resource.
        object: String,
    },
    /// A watch that the request depends on has not delivered yet.
    #[error("the objects of kind {gvk} cannot be watched: {message}")]
    NotWatched {
        /// The kind.
        gvk: Gvk,
        /// Why, and what to do.
        message: String,
        /// The kind of the cause.
        kind: ErrorKind,
    },
}

impl ClusterError {
    /// Classifies an error of the client. With `secret` the server's message is not passed on: it may quote values.
    pub(crate) fn from_kube(error: kube::Error, action: &'static str, object: String, secret: bool) -> Self {
        match error {
            kube::Error::Api(status) => Self::from_status(&status, action, object, secret),
            kube::Error::Service(cause) if cause.is::<Held>() => match cause.downcast_ref::<Held>() {
                Some(Held::Shadow) => Self::Shadow { action, object },
                Some(Held::NotLeading) | None => Self::NotLeading { action, object },
            },
            other => Self::Connection { action, object, message: root_cause(&other) },
        }
    }

    fn from_status(status: &Status, action: &'static str, object: String, secret: bool) -> Self {
        let details = status.details.as_ref();
        let is_of_namespace =
            status.code == 404 && details.is_some_and(|details| details.kind == "namespaces");
        let message = if is_of_namespace {
            format!("{}: create it, or set the sync option CreateNamespace=true", status.message)
        } else if secret {
            let fields: Vec<&str> = status
                .details
                .iter()
                .flat_map(|details| &details.causes)
                .map(|cause| cause.field.as_str())
                .filter(|field| !field.is_empty())
                .collect();
            let place = if fields.is_empty() { String::new() } else { format!(" at {}", fields.join(", ")) };
            format!(
                "the API server refused it ({}){place}; its message is not shown since it may hold values",
                status.reason
            )
        } else {
            status.message.clone()
        };
        Self::Refused { action, object, code: status.code, reason: status.reason.clone(), message }
    }

    /// Whether the object (or the resource) was not found.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { code: 404, .. })
    }

    /// Whether somebody else changed the object meanwhile.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Refused { code: 409, .. })
    }

    /// Whether the object is larger than the API server, or etcd behind it, takes.
    pub fn is_too_large(&self) -> bool {
        match self {
            Self::Refused { code: 413, .. } => true,
            Self::Refused { code: 500, message, .. } => message.contains("request is too large"),
            _ => false,
        }
    }

    /// Whether permissions are missing.
    pub fn is_forbidden(&self) -> bool {
        matches!(self, Self::Refused { code: 401 | 403, .. })
    }
}

/// The innermost cause: the layers of an HTTP client above it say nothing that a person can use.
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

impl Classified for ClusterError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::UnknownKind { .. } => ErrorKind::User,
            Self::Refused { code, .. } => match code {
                401 | 403 => ErrorKind::Configuration,
                400 | 404 | 405 | 413 | 415 | 422 => ErrorKind::User,
                _ => ErrorKind::Transient,
            },
            Self::NotWatched { kind, .. } => *kind,
            Self::Shadow { .. } => ErrorKind::Configuration,
            Self::GroupUnavailable { .. }
            | Self::Timeout { .. }
            | Self::Connection { .. }
            | Self::NotLeading { .. } => ErrorKind::Transient,
        }
    }
}
