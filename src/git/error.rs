//! What can go wrong between a repository URL and a tree of files.

use std::time::Duration;

use super::{revision::RevisionError, url::UrlError};
use crate::error::{Classified, ErrorKind};

/// Why a repository could not be read or written. `repository` is its URL without user information.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// The URL is not one that Skiff reads.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// The revision does not exist in the repository, or is none.
    #[error("cannot resolve a revision of {repository}")]
    Revision {
        /// Which repository.
        repository: String,
        /// What is wrong with it.
        #[source]
        source: RevisionError,
    },
    /// The server does not know the repository, or hides it from these credentials.
    #[error("repository {repository} was not found: check the URL, and that the credentials may read it")]
    NotFound {
        /// Which repository.
        repository: String,
    },
    /// The server refused the credentials, or there are none.
    #[error("cannot log in to {repository}: {problem}")]
    Authentication {
        /// Which repository.
        repository: String,
        /// What was refused, and what to do.
        problem: String,
    },
    /// The SSH host key is not trusted.
    #[error("cannot trust the SSH host of {repository}: {problem}")]
    HostKey {
        /// Which repository.
        repository: String,
        /// Why not, and what to do.
        problem: String,
    },
    /// The TLS certificate is not trusted.
    #[error("cannot trust the TLS certificate of {repository}: {problem}")]
    Certificate {
        /// Which repository.
        repository: String,
        /// Why not, and what to do.
        problem: String,
    },
    /// The server sent the client elsewhere.
    #[error("{repository} redirects to {location}, another host: set repoURL to where the repository is now")]
    Redirect {
        /// Which repository.
        repository: String,
        /// Where to, without user information.
        location: String,
    },
    /// A setting of the repository cannot be used.
    #[error("cannot use the settings of {repository}: {problem}")]
    Settings {
        /// Which repository, or which Secret.
        repository: String,
        /// Which field, and what to do.
        problem: String,
    },
    /// A step did not end in time.
    #[error("{step} of {repository} did not end within {} s: the server may be overloaded or unreachable", limit.as_secs_f32())]
    Timeout {
        /// Which repository.
        repository: String,
        /// "listing the references", "fetching commit …".
        step: String,
        /// How long it was given.
        limit: Duration,
    },
    /// The caller no longer wants the result.
    #[error("{step} of {repository} was cancelled")]
    Cancelled {
        /// Which repository.
        repository: String,
        /// What was going on.
        step: String,
    },
    /// The repository is over a limit.
    #[error("{repository} is over a limit: {limit}")]
    Limit {
        /// Which repository.
        repository: String,
        /// Which limit.
        limit: String,
    },
    /// The network or the server failed.
    #[error("{step} of {repository} failed: {problem}")]
    Network {
        /// Which repository.
        repository: String,
        /// What was going on.
        step: String,
        /// What the other side or the network said.
        problem: String,
    },
    /// A commit could not be made in a local repository.
    #[error("cannot commit to {repository}")]
    Commit {
        /// Its directory.
        repository: String,
        /// What stands in the way.
        #[source]
        source: git2::Error,
    },
    /// The branch to write to does not exist.
    #[error("{repository} has no branch '{branch}': check its name")]
    NoBranch {
        /// Which repository.
        repository: String,
        /// Which branch.
        branch: String,
    },
    /// The server does not take a commit.
    #[error("{repository} refuses the push to branch '{branch}': {problem}")]
    Rejected {
        /// Which repository.
        repository: String,
        /// Which branch.
        branch: String,
        /// What the server said, and what to do.
        problem: String,
    },
    /// Others wrote to the branch each time before the push arrived.
    #[error(
        "branch '{branch}' of {repository} moved on before each of {attempts} pushes: try again, or wait longer"
    )]
    Raced {
        /// Which repository.
        repository: String,
        /// Which branch.
        branch: String,
        /// How many pushes.
        attempts: u32,
    },
    /// The mirror on disk cannot be read or written.
    #[error("cannot use the local mirror of {repository}")]
    Mirror {
        /// Which repository.
        repository: String,
        /// What the disk said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Classified for GitError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Url(_)
            | Self::Revision { .. }
            | Self::NotFound { .. }
            | Self::Limit { .. }
            | Self::Redirect { .. }
            | Self::NoBranch { .. }
            | Self::Rejected { .. }
            | Self::Commit { .. } => ErrorKind::User,
            Self::Authentication { .. }
            | Self::HostKey { .. }
            | Self::Certificate { .. }
            | Self::Settings { .. } => ErrorKind::Configuration,
            Self::Timeout { .. }
            | Self::Cancelled { .. }
            | Self::Network { .. }
            | Self::Raced { .. }
            | Self::Mirror { .. } => ErrorKind::Transient,
        }
    }
}
