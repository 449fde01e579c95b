//! What a network step does with a server: list its references, and bring commits into a mirror.

use std::{io, path::Path, sync::Arc};

use git2::{AutotagOption, Direction, FetchOptions, ObjectType, Reference, Remote, Repository};
use sha2::{Digest as _, Sha256};

use super::{
    error::GitError,
    mirror::{Mirror, is_damage},
    network::Step,
    references::{CommitId, References},
    url::Scheme,
};

/// Fetch everything that the remote has, also where the mirror is shallow (Git's `--unshallow`).
const WHOLE_HISTORY: i32 = i32::MAX;

/// What a fetch is to bring.
pub(super) enum Wanted {
    Commit(CommitId),
    /// All branches and tags with their history.
    Everything,
}

/// Asks the server for its references. Directories in `private` are nobody's repositories: an application that names a
/// mirror there would read what others' credentials have brought.
pub(super) fn list(step: &Arc<Step>, private: &Path) -> Result<References, GitError> {
    if step.url.scheme() == Scheme::File {
        let (wanted, private) = (Path::new(step.url.path()).canonicalize(), private.canonicalize());
        if wanted.is_ok_and(|wanted| private.is_ok_and(|private| wanted.starts_with(private))) {
            return Err(GitError::NotFound { repository: step.repository() });
        }
    }
    let list = || {
        let mut remote = Remote::create_detached(step.url.for_libgit2())?;
        let connection = remote.connect_auth(Direction::Fetch, Some(step.callbacks()), None)?;
        let mut references = References::default();
        for head in connection.list()? {
            references.add(head.name(), CommitId::from_oid(head.oid()), head.symref_target());
        }
        Ok(references)
    };
    list().map_err(|error| step.classify(error))
}

/// One fetch, on its own thread.
pub(super) struct Fetch<'a> {
    step: &'a Arc<Step>,
    references: &'a Arc<References>,
    shallow: bool,
}

impl<'a> Fetch<'a> {
    /// A fetch from a server that advertises these references.
    pub(super) fn new(step: &'a Arc<Step>, references: &'a Arc<References>, shallow: bool) -> Self {
        Self { step, references, shallow }
    }

    /// Fetches what is wanted. A mirror that turns out to be damaged is replaced.
    pub(super) fn run(&self, mirror: &Mirror, wanted: &Wanted) -> Result<(), GitError> {
        match self.attempt(mirror, wanted) {
            Err(GitError::Mirror { source, .. }) if source.downcast_ref().is_some_and(is_damage) => {
                mirror.generation().map_err(|error| self.disk(error))?.retire();
                self.attempt(mirror, wanted)
            }
            result => result,
        }
    }

    fn disk(&self, error: io::Error) -> GitError {
        GitError::Mirror { repository: self.step.repository(), source: Box::new(error) }
    }

    /// Fetches with as little as the server allows: the reference that leads to the commit, else the commit by its id, else
    /// everything.
    fn attempt(&self, mirror: &Mirror, wanted: &Wanted) -> Result<(), GitError> {
        mirror.generation().map_err(|error| self.disk(error))?.retire_if_fragmented();
        let generation = mirror.generation().map_err(|error| self.disk(error))?;
        let repository =
            Repository::open_bare(generation.path()).map_err(|error| self.step.classify(error))?;
        if let Wanted::Commit(commit) = wanted {
            let by_name = self.references.name_of(commit).filter(|name| Reference::is_valid_name(name));
            for source in by_name.into_iter().chain([commit.as_str()]) {
                let result = self.fetch(&repository, &[refspec(source)], self.shallow);
                // Objects arrive before references are written, so the commit may be there in spite of an error.
                if has(&repository, commit) {
                    return Ok(());
                }
                match result {
                    // The reference has moved on since it was listed.
                    Ok(()) => {}
                    Err(GitError::Network { problem, .. }) if asks_too_much(&problem) => {}
                    // Damage shows again when everything is fetched; a commit that does not exist does not.
                    Err(GitError::Mirror { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        if generation.is_complete(self.references) {
            return Ok(());
        }
        self.make_room(&repository).map_err(|error| self.step.classify(error))?;
        let everything = ["heads", "tags"].map(|kind| format!("+refs/{kind}/*:refs/skiff/all/{kind}/*"));
        self.fetch(&repository, &everything, false)?;
        generation.set_complete(self.references);
        Ok(())
    }

    fn fetch(&self, repository: &Repository, refspecs: &[String], shallow: bool) -> Result<(), GitError> {
        let mut options = FetchOptions::new();
        options
            .remote_callbacks(self.step.callbacks())
            .download_tags(AutotagOption::None)
            .update_fetchhead(false);
        if shallow {
            options.depth(1);
        } else if repository.is_shallow() {
            options.depth(WHOLE_HISTORY);
        }
        let mut remote = repository
            .remote_anonymous(&self.step.url.for_libgit2())
            .map_err(|error| self.step.classify(error))?;
        remote.fetch(refspecs, Some(&mut options), None).map_err(|error| self.step.classify(error))
    }

    /// Removes references of which the server has no more, because `a` and `a/b` cannot both be names.
    fn make_room(&self, repository: &Repository) -> Result<(), git2::Error> {
        for reference in repository.references_glob("refs/skiff/all/*")? {
            let mut reference = reference?;
            let name = reference.name()?.strip_prefix("refs/skiff/all/").map(|name| format!("refs/{name}"));
            if !name.is_some_and(|name| self.references.refs.contains_key(&name)) {
                reference.delete()?;
            }
        }
        Ok(())
    }
}

/// From a reference or a commit to a reference of the mirror that never collides with another.
fn refspec(source: &str) -> String {
    let hash: String = Sha256::digest(source).iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("+{source}:refs/skiff/one/{hash}")
}

fn has(repository: &Repository, commit: &CommitId) -> bool {
    let object = commit.oid().and_then(|id| repository.find_object(id, None));
    object.and_then(|object| object.peel(ObjectType::Tree)).is_ok()
}

/// Whether a server or libgit2 says that it cannot fetch in this way, rather than that it cannot fetch. A refusal that comes
/// where libgit2 waits for something else is an unexpected packet to it.
fn asks_too_much(problem: &str) -> bool {
    ["shallow", "specific object", "not our ref", "unexpected packet type"]
        .iter()
        .any(|sign| problem.contains(sign))
}
