//! The bare repository on disk that stands for one remote repository.
//!
//! A mirror lives in a numbered directory, its generation. One that is damaged, or holds too many pack files (libgit2
//! cannot repack), is retired: the next fetch begins a new generation, and the old directory goes once nobody reads from it.
//! Within a generation objects are only ever added, so reading needs no lock against fetching.

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
};

use git2::{ErrorClass, ErrorCode, Repository, RepositoryInitOptions};

use super::{
    references::{CommitId, References},
    tree::GitTree,
};

/// Open handles that wait for the next reader.
const IDLE_HANDLES: usize = 4;
/// Each fetch adds a pack file, and each lookup asks each of them.
const MAX_PACKS: usize = 100;

/// The mirror of one repository.
pub(super) struct Mirror {
    directory: PathBuf,
    current: Mutex<Option<Arc<Generation>>>,
}

/// One directory of a mirror.
pub(super) struct Generation {
    path: PathBuf,
    retired: AtomicBool,
    handles: Mutex<Vec<Repository>>,
    trees: Mutex<HashMap<CommitId, Weak<GitTree>>>,
    /// The listing whose references have been fetched one and all, with their history.
    complete: Mutex<Option<Arc<References>>>,
}

impl Mirror {
    pub(super) fn new(directory: PathBuf) -> Self {
        Self { directory, current: Mutex::new(None) }
    }

    /// The directory to read from and fetch into. Blocks on the disk.
    pub(super) fn generation(&self) -> io::Result<Arc<Generation>> {
        let mut current = lock(&self.current);
        if let Some(generation) = current.as_ref().filter(|generation| !generation.is_retired()) {
            return Ok(Arc::clone(generation));
        }
        let number = match current.as_ref() {
            // The first use in this process: what an earlier one left behind is good if it opens.
            None => match self.adopt()? {
                Ok(generation) => return Ok(Arc::clone(current.insert(generation))),
                Err(next) => next,
            },
            Some(_) => self.numbers()?.last().map_or(0, |number| number + 1),
        };
        let path = self.directory.join(number.to_string());
        fs::create_dir_all(&self.directory)?;
        let mut options = RepositoryInitOptions::new();
        options.bare(true).external_template(false).no_reinit(true);
        Repository::init_opts(&path, &options).map_err(io::Error::other)?;
        Ok(Arc::clone(current.insert(Arc::new(Generation::new(path)))))
    }

    /// The newest generation on disk, or the number for the next; removes the others.
    fn adopt(&self) -> io::Result<Result<Arc<Generation>, u64>> {
        let mut adopted = None;
        let numbers = self.numbers()?;
        for number in numbers.iter().rev() {
            let path = self.directory.join(number.to_string());
            if adopted.is_none() && Repository::open_bare(&path).is_ok() {
                remove_leftovers(&path)?;
                adopted = Some(Arc::new(Generation::new(path)));
            } else {
                fs::remove_dir_all(&path)?;
            }
        }
        Ok(adopted.ok_or_else(|| numbers.last().map_or(0, |number| number + 1)))
    }

    fn numbers(&self) -> io::Result<Vec<u64>> {
        let entries = match fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut numbers: Vec<u64> = names.filter_map(|name| name.parse().ok()).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }
}

impl Generation {
    fn new(path: PathBuf) -> Self {
        Self {
            path,
            retired: AtomicBool::new(false),
            handles: Mutex::default(),
            trees: Mutex::default(),
            complete: Mutex::default(),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads with an open handle. An error that means damage retires the generation.
    pub(super) fn with<T>(
        &self,
        read: impl FnOnce(&Repository) -> Result<T, git2::Error>,
    ) -> Result<T, git2::Error> {
        let idle = lock(&self.handles).pop();
        let repository = match idle {
            Some(repository) => repository,
            None => Repository::open_bare(&self.path).inspect_err(|_| self.retire())?,
        };
        let result = read(&repository);
        if let Err(error) = &result
            && is_damage(error)
        {
            self.retire();
            return result;
        }
        let mut handles = lock(&self.handles);
        if handles.len() < IDLE_HANDLES {
            handles.push(repository);
        }
        drop(handles);
        result
    }

    /// Whether all is here that these references lead to.
    pub(super) fn is_complete(&self, references: &Arc<References>) -> bool {
        lock(&self.complete).as_ref() == Some(references)
    }

    pub(super) fn set_complete(&self, references: &Arc<References>) {
        *lock(&self.complete) = Some(Arc::clone(references));
    }

    /// Makes the next fetch begin anew.
    pub(super) fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
    }

    fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Relaxed)
    }

    /// Retires the generation if it holds too many pack files.
    pub(super) fn retire_if_fragmented(&self) {
        let packs = fs::read_dir(self.path.join("objects/pack")).into_iter().flatten().flatten();
        if packs.filter(|entry| entry.path().extension().is_some_and(|extension| extension == "pack")).count()
            > MAX_PACKS
        {
            self.retire();
        }
    }

    /// The tree of a commit, `None` where the mirror does not have it.
    pub(super) fn tree(self: &Arc<Self>, commit: &CommitId) -> Result<Option<Arc<GitTree>>, git2::Error> {
        if let Some(tree) = lock(&self.trees).get(commit).and_then(Weak::upgrade) {
            return Ok(Some(tree));
        }
        let root = self.with(|repository| {
            let root = repository.find_object(commit.oid()?, None).and_then(|object| object.peel_to_tree());
            match root {
                Ok(tree) => Ok(Some(tree.id())),
                Err(error) if error.code() == ErrorCode::NotFound => Ok(None),
                Err(error) => Err(error),
            }
        })?;
        let Some(root) = root else { return Ok(None) };
        let tree = Arc::new(GitTree::new(Arc::clone(self), commit.clone(), root));
        let mut trees = lock(&self.trees);
        trees.retain(|_, tree| tree.strong_count() > 0);
        trees.insert(commit.clone(), Arc::downgrade(&tree));
        Ok(Some(tree))
    }
}

impl Drop for Generation {
    fn drop(&mut self) {
        if self.is_retired() {
            lock(&self.handles).clear();
            if let Err(error) = fs::remove_dir_all(&self.path) {
                tracing::warn!(%error, path = %self.path.display(), "cannot remove an old mirror");
            }
        }
    }
}

/// Removes the locks of a process that was killed. Within this one nobody has touched the mirror yet.
fn remove_leftovers(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() {
            // Objects are moved into place when they are whole, without locks.
            if name != "objects" {
                remove_leftovers(&path)?;
            }
        } else if name.ends_with(".lock") {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

/// Whether an error says that the objects on disk are not what they should be.
pub(super) fn is_damage(error: &git2::Error) -> bool {
    use ErrorClass::{Config, Object, Odb, Reference, Repository, Tree, Zlib};
    matches!(error.class(), Config | Object | Odb | Reference | Repository | Tree | Zlib)
        && !matches!(error.code(), ErrorCode::NotFound | ErrorCode::Ambiguous)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
