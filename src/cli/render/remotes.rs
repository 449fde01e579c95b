//! Remote bases, fetched for a person or a pipeline.
//!
//! Mirrors are kept in a cache directory, so that a second run brings only what is new. Nothing is taken from the machine's
//! own Git configuration: who has to log in names files, and a password goes to no other host than that of its line.

use std::{env, path::PathBuf, sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use crate::{
    cli::git_login::{GitFiles, GitLoginError},
    error::{Classified, ErrorKind},
    files::{SingleFile, Tree},
    git::{GitError, GitOptions, RepoUrl, Repositories, RevisionError, RevisionSpec, UrlError, download},
    render::kustomize::{Remote, RemoteSource},
};

/// How remote bases are fetched.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Remote bases")]
pub(in crate::cli) struct FetchOptions {
    /// Where repositories are kept [default: $XDG_CACHE_HOME/skiff, else ~/.cache/skiff]
    #[arg(long, value_name = "DIR")]
    cache_dir: Option<PathBuf>,
    #[command(flatten)]
    files: GitFiles,
}

/// Why a remote base could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The options cannot be used.
    #[error(transparent)]
    Login(#[from] GitLoginError),
    /// There is no directory for the mirrors.
    #[error("there is no place to keep repositories: set --cache-dir, XDG_CACHE_HOME or HOME")]
    NoCache,
    /// Its `ref` can be no revision.
    #[error("remote base '{remote}'")]
    Revision {
        /// Which one.
        remote: String,
        /// What is wrong with it.
        #[source]
        source: RevisionError,
    },
    /// Its URL is none.
    #[error("remote base '{remote}'")]
    Url {
        /// Which one.
        remote: String,
        /// What is wrong with it.
        #[source]
        source: UrlError,
    },
    /// The server did not give it.
    #[error("remote base '{remote}'")]
    Git {
        /// Which one.
        remote: String,
        /// Why.
        #[source]
        source: GitError,
    },
}

impl Classified for FetchError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Login(error) => error.kind(),
            Self::NoCache => ErrorKind::Configuration,
            Self::Revision { .. } | Self::Url { .. } => ErrorKind::User,
            Self::Git { source, .. } => source.kind(),
        }
    }
}

/// Fetches remotes, one after the other.
pub(in crate::cli) struct Fetcher<'a> {
    options: &'a FetchOptions,
    repositories: Option<Repositories>,
}

impl<'a> Fetcher<'a> {
    pub(in crate::cli) fn new(options: &'a FetchOptions) -> Self {
        Self { options, repositories: None }
    }

    /// The tree of a remote.
    ///
    /// # Errors
    /// See [`FetchError`].
    pub(super) async fn fetch(&mut self, remote: &Remote) -> Result<Arc<dyn Tree>, FetchError> {
        let name = remote.to_string();
        let repositories = self.repositories()?;
        let stop = CancellationToken::new();
        let failed = |source| FetchError::Git { remote: name.clone(), source };
        match &remote.source {
            RemoteSource::Repository { url, revision } => {
                let revision = RevisionSpec::reference(revision)
                    .map_err(|source| FetchError::Revision { remote: name.clone(), source })?;
                let credentials = self.options.files.credentials(url)?;
                let fetching = async {
                    let known = repositories.references(url, &credentials, &stop).await?;
                    let commit = repositories.resolve(url, &credentials, &revision, &known, &stop).await?;
                    repositories.commit_tree(url, &credentials, &commit, &stop).await
                };
                let tree = within(remote.timeout, &name, fetching).await.map_err(failed)?;
                Ok(tree)
            }
            RemoteSource::File { url } => {
                let mut address = url.clone();
                address.set_query(None);
                address.set_fragment(None);
                let address = RepoUrl::parse(address.as_str())
                    .map_err(|source| FetchError::Url { remote: name.clone(), source })?;
                let credentials = self.options.files.credentials(&address)?;
                let downloading = download(url, &credentials, repositories.options(), &stop);
                let content = within(remote.timeout, &name, downloading).await.map_err(failed)?;
                Ok(Arc::new(SingleFile::new(content)))
            }
        }
    }

    fn repositories(&mut self) -> Result<Repositories, FetchError> {
        if let Some(repositories) = &self.repositories {
            return Ok(repositories.clone());
        }
        let variable = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let below = |directory: PathBuf| directory.join("skiff");
        let directory = self
            .options
            .cache_dir
            .clone()
            .or_else(|| variable("XDG_CACHE_HOME").map(below))
            .or_else(|| variable("HOME").map(|home| below(home.join(".cache"))))
            .ok_or(FetchError::NoCache)?;
        let repositories = Repositories::new(GitOptions::new(directory), None);
        self.repositories = Some(repositories.clone());
        Ok(repositories)
    }
}

async fn within<T>(
    limit: Duration,
    remote: &str,
    work: impl Future<Output = Result<T, GitError>>,
) -> Result<T, GitError> {
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
        let (repository, step) = (remote.to_owned(), "fetching".to_owned());
        Err(GitError::Timeout { repository, step, limit })
    })
}
