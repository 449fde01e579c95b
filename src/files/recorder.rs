//! What a render looked at, so that it is known when the result still holds.

use std::{collections::BTreeMap, sync::Arc, sync::Mutex, sync::PoisonError};

use super::{FileLimits, FilesError, RepoPath, Tree, TreeEntry};

/// One entry that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// It was there, with this content id.
    Present(Arc<str>),
    /// Nothing was there.
    Absent,
}

/// The entries that a render looked at, by path.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Inputs(Arc<BTreeMap<RepoPath, Access>>);

impl Inputs {
    /// The entries in the order of their paths.
    pub fn iter(&self) -> impl Iterator<Item = (&RepoPath, &Access)> {
        self.0.iter()
    }

    /// Whether a render of this tree would read exactly what was read before.
    ///
    /// # Errors
    /// [`FilesError::Storage`].
    pub fn unchanged_in(&self, tree: &dyn Tree) -> Result<bool, FilesError> {
        for (path, access) in self.iter() {
            let same = match (tree.entry(path)?, access) {
                (Some(entry), Access::Present(id)) => entry.id == *id,
                (None, Access::Absent) => true,
                _ => false,
            };
            if !same {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

#[derive(Default)]
pub(super) struct Recorder(Mutex<State>);

#[derive(Default)]
struct State {
    accesses: BTreeMap<RepoPath, Access>,
    files: usize,
    bytes: u64,
}

impl Recorder {
    pub(super) fn present(&self, path: &RepoPath, entry: &TreeEntry) {
        self.lock().accesses.insert(path.clone(), Access::Present(entry.id.clone()));
    }

    pub(super) fn absent(&self, path: &RepoPath) {
        self.lock().accesses.insert(path.clone(), Access::Absent);
    }

    /// Counts one file that was read against the limits.
    pub(super) fn count(&self, path: &RepoPath, bytes: usize, limits: &FileLimits) -> Result<(), FilesError> {
        let mut state = self.lock();
        state.files += 1;
        state.bytes = state.bytes.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
        if state.files > limits.files {
            let (what, limit) = ("the number of files read up to", limits.files.to_string());
            return Err(FilesError::Limit { what, path: path.clone(), limit });
        }
        if state.bytes > limits.total_bytes {
            let (what, limit) = ("the size of all files read up to", format!("{} bytes", limits.total_bytes));
            return Err(FilesError::Limit { what, path: path.clone(), limit });
        }
        Ok(())
    }

    pub(super) fn inputs(&self) -> Inputs {
        Inputs(Arc::new(self.lock().accesses.clone()))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
