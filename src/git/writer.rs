//! Commits in local repositories: new repositories, changes on a branch, reverts. [`Repositories::publish`] brings commits
//! to a server.
//!
//! [`Repositories::publish`]: super::Repositories::publish

use std::path::Path;

use git2::{
    ErrorCode, FileMode, Oid, Repository, RepositoryInitOptions, Signature, Time, Tree,
    build::{CheckoutBuilder, TreeUpdateBuilder},
};

use super::{error::GitError, libgit2, references::CommitId};
use crate::files::RepoPath;

/// Who makes a commit, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Author {
    /// Name.
    pub name: String,
    /// E-mail address.
    pub email: String,
    /// Seconds since 1970; `None` is now.
    pub seconds: Option<i64>,
}

impl Author {
    /// An author who commits now.
    pub fn new(name: &str, email: &str) -> Self {
        Self { name: name.to_owned(), email: email.to_owned(), seconds: None }
    }

    pub(super) fn signature(&self) -> Result<Signature<'static>, git2::Error> {
        match self.seconds {
            Some(seconds) => Signature::new(&self.name, &self.email, &Time::new(seconds, 0)),
            None => Signature::now(&self.name, &self.email),
        }
    }
}

/// What happens to one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The file has this content from now on.
    Write(RepoPath, Vec<u8>),
    /// A symbolic link with this target is there from now on.
    Link(RepoPath, String),
    /// Nothing is there from now on.
    Remove(RepoPath),
}

/// Makes an empty repository in a directory, which is made if it does not exist; `HEAD` stands for the branch `main`.
///
/// # Errors
/// [`GitError::Commit`].
pub fn init(directory: &Path, bare: bool) -> Result<(), GitError> {
    libgit2::prepare();
    let mut options = RepositoryInitOptions::new();
    options.bare(bare).mkpath(true).external_template(false).initial_head("main");
    Repository::init_opts(directory, &options).map_err(|error| failed(directory, error))?;
    Ok(())
}

/// Commits changes on a branch, which is made if it does not exist. A working tree in which the branch is checked out
/// follows, except for files that were edited there.
///
/// # Errors
/// [`GitError::Commit`].
pub fn commit(
    directory: &Path,
    branch: &str,
    changes: &[Change],
    message: &str,
    author: &Author,
) -> Result<CommitId, GitError> {
    libgit2::prepare();
    let commit = || {
        let repository = Repository::open(directory)?;
        let tip = tip(&repository, branch)?;
        let base = match &tip {
            Some(tip) => tip.tree()?,
            None => repository.find_tree(repository.treebuilder(None)?.write()?)?,
        };
        let tree = changed_tree(&repository, &base, changes)?;
        record(&repository, branch, tip.as_ref(), tree, message, author)
    };
    commit().map_err(|error| failed(directory, error))
}

/// Commits the reverse of a commit on a branch.
///
/// # Errors
/// [`GitError::Commit`], also where later commits stand in the way.
pub fn revert(
    directory: &Path,
    branch: &str,
    commit: &CommitId,
    author: &Author,
) -> Result<CommitId, GitError> {
    libgit2::prepare();
    let revert = || {
        let repository = Repository::open(directory)?;
        let Some(tip) = tip(&repository, branch)? else {
            return Err(git2::Error::from_str("the branch does not exist"));
        };
        let reverted = repository.find_commit(commit.oid()?)?;
        let tree = reverted_tree(&repository, &reverted, &tip.tree()?)?;
        let summary = String::from_utf8_lossy(reverted.summary_bytes().unwrap_or_default()).into_owned();
        let message = format!("Revert \"{summary}\"\n\nThis reverts commit {commit}.\n");
        record(&repository, branch, Some(&tip), tree, &message, author)
    };
    revert().map_err(|error| failed(directory, error))
}

/// The content of a file at the tip of a branch.
///
/// # Errors
/// [`GitError::Commit`], also where there is no such branch or file.
pub fn read(directory: &Path, branch: &str, path: &RepoPath) -> Result<Vec<u8>, GitError> {
    libgit2::prepare();
    let read = || {
        let repository = Repository::open(directory)?;
        let Some(tip) = tip(&repository, branch)? else {
            return Err(git2::Error::from_str("the branch does not exist"));
        };
        let entry = tip.tree()?.get_path(Path::new(path.as_str()))?;
        Ok(repository.find_blob(entry.id())?.content().to_vec())
    };
    read().map_err(|error| failed(directory, error))
}

/// A tree with changes.
pub(super) fn changed_tree(
    repository: &Repository,
    base: &Tree<'_>,
    changes: &[Change],
) -> Result<Oid, git2::Error> {
    let mut update = TreeUpdateBuilder::new();
    for change in changes {
        match change {
            Change::Write(path, content) => {
                let mode = base.get_path(Path::new(path.as_str())).map(|entry| entry.filemode());
                let executable = mode.is_ok_and(|mode| mode == i32::from(FileMode::BlobExecutable));
                let mode = if executable { FileMode::BlobExecutable } else { FileMode::Blob };
                update.upsert(path.as_str(), repository.blob(content)?, mode);
            }
            Change::Link(path, target) => {
                update.upsert(path.as_str(), repository.blob(target.as_bytes())?, FileMode::Link);
            }
            Change::Remove(path) => {
                update.remove(path.as_str());
            }
        }
    }
    update.create_updated(repository, base)
}

/// A tree without what a commit did.
pub(super) fn reverted_tree(
    repository: &Repository,
    reverted: &git2::Commit<'_>,
    ours: &Tree<'_>,
) -> Result<Oid, git2::Error> {
    if reverted.parent_count() > 1 {
        return Err(git2::Error::from_str("a merge cannot be taken back by itself: revert what it brought"));
    }
    let before = match reverted.parents().next() {
        Some(parent) => parent.tree()?,
        None => repository.find_tree(repository.treebuilder(None)?.write()?)?,
    };
    let mut index = repository.merge_trees(&reverted.tree()?, ours, &before, None)?;
    if index.has_conflicts() {
        return Err(git2::Error::from_str("later commits changed the same lines: revert those first"));
    }
    index.write_tree_to(repository)
}

fn tip<'a>(repository: &'a Repository, branch: &str) -> Result<Option<git2::Commit<'a>>, git2::Error> {
    match repository.find_reference(&format!("refs/heads/{branch}")) {
        Ok(reference) => reference.peel_to_commit().map(Some),
        Err(error) if error.code() == ErrorCode::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn record(
    repository: &Repository,
    branch: &str,
    parent: Option<&git2::Commit<'_>>,
    tree: Oid,
    message: &str,
    author: &Author,
) -> Result<CommitId, git2::Error> {
    let signature = author.signature()?;
    let name = format!("refs/heads/{branch}");
    let parents: Vec<_> = parent.into_iter().collect();
    let tree = repository.find_tree(tree)?;
    let checked_out = !repository.is_bare()
        && repository.find_reference("HEAD")?.symbolic_target().ok().flatten() == Some(name.as_str());
    // Before the branch moves: what the working tree is compared with is the old commit.
    if checked_out {
        repository.checkout_tree(tree.as_object(), Some(CheckoutBuilder::new().safe()))?;
    }
    let id = repository.commit(Some(&name), &signature, &signature, message, &tree, &parents)?;
    Ok(CommitId::from_oid(id))
}

fn failed(directory: &Path, error: git2::Error) -> GitError {
    GitError::Commit { repository: directory.display().to_string(), source: error }
}
