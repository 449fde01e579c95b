//! Git repositories: their references, their commits, and the trees of files behind them.
//!
//! ```text
//! RepoUrl + Credentials ──▶ Repositories ──ls-remote──▶ References ──RevisionSpec──▶ CommitId
//!                               │                                                      │
//!                               └── one bare mirror per repository ◀──fetch if missing─┘
//!                                        └──▶ GitTree (files::Tree, read from the object database)
//! ```
//!
//! What moves is found by listing references, which is cheap; a fetch happens only for a commit that the mirror does
//! not have. Nothing is checked out. Every network step runs on a thread of its own with a deadline, so that a server
//! that hangs costs its own repository one error and nobody else anything. Credentials belong to a scheme, host, port
//! and path prefix, and go nowhere else. [`writer`] makes commits, [`Repositories::publish`] brings them to a server.

mod credentials;
mod error;
mod fetch;
mod http;
mod known_hosts;
mod libgit2;
mod mirror;
mod network;
mod publish;
mod references;
mod repositories;
mod revision;
mod semver;
mod signing;
mod tree;
mod url;
pub mod writer;

pub use self::{
    credentials::{ClientCertificate, CredentialSecret, CredentialStore, Credentials, SecretKind},
    error::GitError,
    http::download,
    known_hosts::KnownHosts,
    network::{GitObserver, Request},
    publish::{Content, Draft, Publication, Published},
    references::{CommitId, References},
    repositories::{CommitMetadata, GitOptions, Repositories},
    revision::{RevisionError, RevisionSpec},
    signing::{SigningKey, SigningKeyError},
    tree::GitTree,
    url::{RepoUrl, Scheme, UrlError},
};
