//! Commits that reach a server, whoever else writes there.
//!
//! A commit is made upon the newest commit of a branch and pushed without force, so that nothing of others is ever lost. Who
//! loses the race reads the branch anew, makes the change once more upon what is there now, and tries again after a moment
//! that chance decides, until the time for it is over. What to change is therefore a function of the tree, not a patch.
//! A branch of a `file://` repository moves by compare-and-swap under Git's own lock, because libgit2's local transport
//! would overwrite what came in between; hooks do not run there.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use git2::{ErrorCode, Oid, PushOptions, Repository};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::{
    credentials::Credentials,
    error::GitError,
    network::Step,
    references::CommitId,
    repositories::Repositories,
    signing::SigningKey,
    tree::GitTree,
    url::{RepoUrl, Scheme},
    writer::{self, Author, Change},
};

/// The first pause after a lost race is shorter than this, each later one may be twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// No pause is longer than this.
const LONGEST_PAUSE: Duration = Duration::from_secs(3);

/// Where a commit goes, and in whose name.
#[derive(Clone, Debug)]
pub struct Publication {
    /// The repository.
    pub url: RepoUrl,
    /// How to log in.
    pub credentials: Credentials,
    /// The branch that is read.
    pub from: String,
    /// The branch that is written. If it is another one, it is made from the first, or goes on where it is already.
    pub to: String,
    /// Who commits.
    pub author: Author,
    /// With what the commit is signed.
    pub signing_key: Option<Arc<SigningKey>>,
    /// How long races are run again.
    pub patience: Duration,
}

/// A commit to be made.
#[derive(Clone, Debug)]
pub struct Draft {
    /// What it does.
    pub content: Content,
    /// Why; the whole message.
    pub message: String,
}

/// What a commit does.
#[derive(Clone, Debug)]
pub enum Content {
    /// Files are written and removed.
    Changes(Vec<Change>),
    /// Commits are taken back, in this order, in one commit.
    Revert(Vec<CommitId>),
}

/// How a publication ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Published {
    /// There was nothing to change.
    Nothing {
        /// The commit of which that is true.
        at: CommitId,
        /// The branch that it is the newest of: the one to write if it is there, else the one that is read.
        branch: String,
    },
    /// The branch has a new commit.
    Commit {
        /// The new commit.
        id: CommitId,
        /// The commit upon which it was made.
        parent: CommitId,
        /// How many times it was tried.
        attempts: u32,
    },
}

impl Repositories {
    /// Makes a commit on a branch and pushes it. `draft` looks at the files of the newest commit and says what to do;
    /// it is asked again after each lost race.
    ///
    /// # Errors
    /// Those of `draft`; [`GitError::Raced`] when others were quicker for as long as the patience lasted;
    /// [`GitError::Rejected`] when the server does not take the commit; else see [`GitError`].
    pub async fn publish<E: From<GitError>>(
        &self,
        publication: &Publication,
        mut draft: impl FnMut(&Arc<GitTree>) -> Result<Option<Draft>, E>,
        cancel: &CancellationToken,
    ) -> Result<Published, E> {
        let Publication { url, credentials, from, to, .. } = publication;
        let (began, mut attempts) = (Instant::now(), 0_u32);
        loop {
            attempts = attempts.saturating_add(1);
            let known = self.references(url, credentials, cancel).await?;
            let branch = |name: &str| known.refs.get(&format!("refs/heads/{name}")).cloned();
            let existing = branch(to);
            let Some(tip) = existing.clone().or_else(|| branch(from)) else {
                return Err(GitError::NoBranch { repository: url.to_string(), branch: from.clone() }.into());
            };
            let tree = self.commit_tree(url, credentials, &tip, cancel).await?;
            let Some(draft) = draft(&tree)? else {
                let branch = if existing.is_some() { to } else { from }.clone();
                return Ok(Published::Nothing { at: tip, branch });
            };
            let pushed = self.push(publication, &tree, existing.is_some(), draft, cancel).await;
            match pushed {
                Ok(Some(id)) => return Ok(Published::Commit { id, parent: tip, attempts }),
                Ok(None) => {}
                // What a server says about a reference that is being written differs from server to server; that the
                // branch is elsewhere by now says it all.
                Err(GitError::Rejected { repository, branch: refused, problem }) => {
                    let now = self.references(url, credentials, cancel).await?;
                    if now.refs.get(&format!("refs/heads/{to}")) == existing.as_ref()
                        && !is_being_written(&problem)
                    {
                        return Err(GitError::Rejected { repository, branch: refused, problem }.into());
                    }
                }
                Err(error) => return Err(error.into()),
            }
            let pause = pause(attempts);
            if began.elapsed() + pause > publication.patience {
                let repository = url.to_string();
                return Err(GitError::Raced { repository, branch: to.clone(), attempts }.into());
            }
            tracing::debug!(repository = %url, branch = to, attempts, "somebody was quicker, trying again");
            tokio::select! {
                () = sleep(pause) => {}
                () = cancel.cancelled() => {
                    let (repository, step) = (url.to_string(), "pushing".to_owned());
                    return Err(GitError::Cancelled { repository, step }.into());
                }
            }
        }
    }

    /// Makes the commit upon the tree's and pushes it; `None` when the branch has moved.
    async fn push(
        &self,
        publication: &Publication,
        tree: &Arc<GitTree>,
        branch_exists: bool,
        draft: Draft,
        cancel: &CancellationToken,
    ) -> Result<Option<CommitId>, GitError> {
        if matches!(draft.content, Content::Revert(_)) {
            self.bring_history(&publication.url, &publication.credentials, cancel).await?;
        }
        let Publication { url, credentials, .. } = publication.clone();
        let (publication, tree) = (publication.clone(), Arc::clone(tree));
        let work = move |step: &Arc<Step>| {
            let is_local = step.url.scheme() == Scheme::File;
            let directory = if is_local { Path::new(step.url.path()) } else { tree.directory() };
            let repository = Repository::open(directory).map_err(|error| step.classify(error))?;
            let id = make(&repository, tree.commit(), &draft, &publication)
                .map_err(|source| GitError::Commit { repository: step.repository(), source })?;
            let expected = branch_exists.then(|| tree.commit());
            let push = Push { step, repository: &repository, branch: &publication.to, expected };
            let moved = if is_local { push.locally(id)? } else { push.to_server(id)? };
            Ok(moved.then(|| CommitId::from_oid(id)))
        };
        self.write(&url, &credentials, cancel, work).await
    }
}

/// Makes the commit's objects; no branch moves.
fn make(
    repository: &Repository,
    parent: &CommitId,
    draft: &Draft,
    publication: &Publication,
) -> Result<Oid, git2::Error> {
    let parent = repository.find_commit(parent.oid()?)?;
    let tree = match &draft.content {
        Content::Changes(changes) => writer::changed_tree(repository, &parent.tree()?, changes)?,
        Content::Revert(commits) => {
            let mut tree = parent.tree()?;
            for commit in commits {
                let reverted = repository.find_commit(commit.oid()?)?;
                let id = writer::reverted_tree(repository, &reverted, &tree)?;
                tree = repository.find_tree(id)?;
            }
            tree.id()
        }
    };
    let signature = publication.author.signature()?;
    let tree = repository.find_tree(tree)?;
    let buffer =
        repository.commit_create_buffer(&signature, &signature, &draft.message, &tree, &[&parent])?;
    let Some(key) = &publication.signing_key else {
        return repository.odb()?.write(git2::ObjectType::Commit, &buffer);
    };
    let text = std::str::from_utf8(&buffer)
        .map_err(|_| git2::Error::from_str("the commit's message is not UTF-8, so it cannot be signed"))?;
    repository.commit_signed(text, &key.sign(&buffer)?, None)
}

/// One attempt to move a branch.
struct Push<'a> {
    step: &'a Arc<Step>,
    repository: &'a Repository,
    branch: &'a str,
    /// Where the branch must be; `None` if it must not exist.
    expected: Option<&'a CommitId>,
}

impl Push<'_> {
    fn reference(&self) -> String {
        format!("refs/heads/{}", self.branch)
    }

    fn rejected(&self, problem: &str) -> GitError {
        let (repository, branch) = (self.step.repository(), self.branch.to_owned());
        GitError::Rejected { repository, branch, problem: problem.trim().to_owned() }
    }

    /// Moves the branch of a repository on this machine, if it still is where it was.
    fn locally(&self, id: Oid) -> Result<bool, GitError> {
        let name = self.reference();
        let head = self.repository.find_reference("HEAD").ok();
        let checked_out = head
            .is_some_and(|head| head.symbolic_target().ok().flatten().is_some_and(|target| target == name));
        if checked_out && !self.repository.is_bare() {
            return Err(self.rejected(
                "it is checked out there, and its working tree would not follow: use a bare repository",
            ));
        }
        let moved = match self.expected {
            Some(expected) => {
                let expected = expected.oid().map_err(|error| self.step.classify(error))?;
                self.repository.reference_matching(&name, id, true, expected, "push")
            }
            None => self.repository.reference(&name, id, false, "push"),
        };
        match moved {
            Ok(_) => Ok(true),
            Err(error)
                if matches!(
                    error.code(),
                    ErrorCode::Modified | ErrorCode::Locked | ErrorCode::Exists | ErrorCode::NotFound
                ) =>
            {
                Ok(false)
            }
            Err(error) => Err(self.step.classify(error)),
        }
    }

    /// Sends the commit to the server. What the server advertises at that moment decides whether the branch has moved.
    fn to_server(&self, id: Oid) -> Result<bool, GitError> {
        let refusal = Arc::new(Mutex::new(None));
        let mut callbacks = self.step.callbacks();
        let told = Arc::clone(&refusal);
        callbacks.push_update_reference(move |_, problem| {
            *told.lock().unwrap_or_else(PoisonError::into_inner) = problem.map(ToOwned::to_owned);
            Ok(())
        });
        let raced = Arc::new(Mutex::new(false));
        let (seen, expected) = (Arc::clone(&raced), self.expected.cloned());
        callbacks.push_negotiation(move |updates| {
            let is_as_expected = |update: &git2::PushUpdate<'_>| match &expected {
                Some(expected) => CommitId::from_oid(update.src()) == *expected,
                None => update.src().is_zero(),
            };
            if updates.iter().all(is_as_expected) {
                return Ok(());
            }
            *seen.lock().unwrap_or_else(PoisonError::into_inner) = true;
            Err(git2::Error::from_str("the branch has moved"))
        });
        let mut options = PushOptions::new();
        options.remote_callbacks(callbacks);
        let mut remote = self
            .repository
            .remote_anonymous(&self.step.url.for_libgit2())
            .map_err(|error| self.step.classify(error))?;
        let result = remote.push(&[format!("{id}:{}", self.reference())], Some(&mut options));
        if *raced.lock().unwrap_or_else(PoisonError::into_inner) {
            return Ok(false);
        }
        match result {
            Err(error) if error.code() == ErrorCode::NotFastForward => return Ok(false),
            Err(error) => return Err(self.step.classify(error)),
            Ok(()) => {}
        }
        match refusal.lock().unwrap_or_else(PoisonError::into_inner).take() {
            None => Ok(true),
            Some(problem) => Err(self.rejected(&problem)),
        }
    }
}

/// Whether a server says that somebody else is writing the same reference at this moment.
fn is_being_written(problem: &str) -> bool {
    let problem = problem.to_lowercase();
    ["lock", "failed to update ref", "fetch first", "non-fast-forward", "stale info", "incorrect old value"]
        .iter()
        .any(|sign| problem.contains(sign))
}

fn pause(attempts: u32) -> Duration {
    let longest = FIRST_PAUSE.saturating_mul(1 << attempts.min(10)).min(LONGEST_PAUSE);
    longest.mul_f64(0.1 + 0.9 * fastrand::f64())
}
