//! Errors of `skiff app`.

use std::{io, time::Duration};

use crate::{
    api::{OperationPhase, ReadError, names},
    cluster::ClusterError,
    controller::PreviewError,
    error::{Classified, ErrorKind},
};

/// The command has an answer, and it is no.
pub(super) const EXIT_COMMAND: u8 = 1;
const EXIT_DIFF: u8 = 2;
const EXIT_CONNECTION: u8 = 11;
const EXIT_API: u8 = 12;
const EXIT_NOT_FOUND: u8 = 13;
const EXIT_TIMED_OUT: u8 = 14;
const EXIT_DEGRADED: u8 = 15;
const EXIT_SYNC_FAILED: u8 = 16;
const EXIT_GENERIC: u8 = 20;

/// Why a command could not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// There is no usable kubeconfig.
    #[error("cannot read the kubeconfig")]
    Kubeconfig(#[source] kube::config::KubeconfigError),
    /// The kubeconfig's credentials or certificates are of no use.
    #[error("cannot use the kubeconfig")]
    Client(#[source] Box<kube::Error>),
    /// The API server refused or did not answer.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// There is no such Application.
    #[error("application '{name}' does not exist")]
    NotFound {
        /// `namespace/name`.
        name: String,
    },
    /// An Application that nobody can read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Another operation has to end first.
    #[error("cannot sync application '{name}': another operation is already in progress")]
    OperationInProgress {
        /// `namespace/name`.
        name: String,
    },
    /// Something about the Application forbids what was asked for.
    #[error("cannot {action} application '{name}': {why}")]
    Refused {
        /// What was asked for.
        action: &'static str,
        /// `namespace/name`.
        name: String,
        /// What forbids it.
        why: String,
        /// What helps.
        hint: &'static str,
    },
    /// The arguments make no sense together.
    #[error("{message}")]
    Usage {
        /// What is wrong with them, and what to write instead.
        message: String,
    },
    /// The time is over.
    #[error("application '{name}' is not {wanted} after {} s: {state}", limit.as_secs())]
    TimedOut {
        /// `namespace/name`.
        name: String,
        /// What was waited for.
        wanted: &'static str,
        /// The time limit.
        limit: Duration,
        /// What it is instead.
        state: String,
    },
    /// It got worse while its health was waited for, or was bad until the time was over.
    #[error("application '{name}' {how}{message}")]
    Degraded {
        /// `namespace/name`.
        name: String,
        /// `went from Healthy to Degraded`.
        how: String,
        /// Why, with `: ` in front, or nothing.
        message: String,
    },
    /// The sync of the revision that was waited for failed, and is not tried again.
    #[error("the sync of application '{name}' to {revision} ended {phase}: {message}")]
    SyncFailed {
        /// `namespace/name`.
        name: String,
        /// The commit.
        revision: String,
        /// Failed or Error.
        phase: OperationPhase,
        /// Why.
        message: String,
    },
    /// It cannot be said what a sync would change.
    #[error(transparent)]
    Preview(#[from] PreviewError),
    /// Any of these, where exit code 1 has a meaning of its own and every error is 2.
    #[error(transparent)]
    Diff(Box<AppError>),
    /// The output is gone.
    #[error("cannot write the output")]
    Output(#[from] io::Error),
}

impl AppError {
    /// The exit code: 11 no connection, 12 refused by the API server, 13 no such Application, 14 the
    /// time is over, 15 degraded, 16 the sync failed, 20 anything else, and 2 for every error of `diff`.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Kubeconfig(_) | Self::Client(_) => EXIT_CONNECTION,
            Self::Cluster(ClusterError::Connection { .. } | ClusterError::Timeout { .. }) => EXIT_CONNECTION,
            Self::Cluster(_) => EXIT_API,
            Self::NotFound { .. } => EXIT_NOT_FOUND,
            Self::TimedOut { .. } => EXIT_TIMED_OUT,
            Self::Degraded { .. } => EXIT_DEGRADED,
            Self::SyncFailed { .. } => EXIT_SYNC_FAILED,
            Self::Diff(_) => EXIT_DIFF,
            _ => EXIT_GENERIC,
        }
    }

    /// What helps, when it is known.
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Kubeconfig(_) => {
                "set KUBECONFIG, or name the file with --kubeconfig and the context with --context"
            }
            Self::Client(_) => "check the context's user and cluster with 'kubectl config view --minify'",
            Self::Cluster(ClusterError::Refused { code: 401 | 403, .. }) => {
                "ask for permission on applications.argoproj.io in this namespace, or choose another context"
            }
            Self::Cluster(ClusterError::Refused { code: 404, .. }) => {
                "install the definitions first: skiff crds | kubectl apply --server-side -f -"
            }
            Self::Cluster(ClusterError::Connection { .. } | ClusterError::Timeout { .. }) => {
                "check that the cluster of the kubeconfig's current context is up and can be reached"
            }
            Self::NotFound { .. } => {
                return Some(format!(
                    "'skiff app list -A' shows all; --app-namespace chooses a namespace ({} is usual)",
                    names::DEFAULT_NAMESPACE
                ));
            }
            Self::Read(_) => "correct the field with 'kubectl edit application'",
            Self::OperationInProgress { .. } => {
                "wait for it with 'skiff app wait --operation', then try again"
            }
            Self::Refused { hint, .. } => hint,
            Self::TimedOut { .. } | Self::Degraded { .. } | Self::SyncFailed { .. } => {
                "'skiff app get' shows which object it is about"
            }
            Self::Diff(error) => return error.hint(),
            Self::Preview(error) if error.kind() == ErrorKind::User => {
                "correct the Application or its source, then try again"
            }
            Self::Cluster(_) | Self::Preview(_) | Self::Usage { .. } | Self::Output(_) => return None,
        };
        Some(text.to_owned())
    }
}

impl Classified for AppError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Kubeconfig(_) | Self::Client(_) => ErrorKind::Configuration,
            Self::Cluster(error) => error.kind(),
            Self::Preview(error) => error.kind(),
            Self::Diff(error) => error.kind(),
            Self::OperationInProgress { .. } | Self::TimedOut { .. } | Self::Output(_) => {
                ErrorKind::Transient
            }
            Self::NotFound { .. }
            | Self::Read(_)
            | Self::Refused { .. }
            | Self::Usage { .. }
            | Self::SyncFailed { .. }
            | Self::Degraded { .. } => ErrorKind::User,
        }
    }
}
