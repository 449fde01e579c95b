//! What a render looked at, so that it is known when the result still holds.

use std::{collections::BTreeMap, sync::Arc, sync::Mutex, sync::PoisonError};

use super::{EntryKind, FileLimits, FilesError, RepoPath, Tree, TreeEntry, memory::digest};

/// What was learned of one entry.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// It was there, of this kind and with this content id.
    Present(EntryKind, Arc<str>),
    /// A directory was there; what it holds was not asked for.
    Directory,
    /// A directory was there, and its entries had these names and kinds (as a digest).
    Listing(Arc<str>),
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
            let entry = tree.entry(path)?;
            let same = match (entry, access) {
                (Some(entry), Access::Present(kind, id)) => entry.kind == *kind && entry.id == *id,
                (Some(entry), Access::Directory) => entry.kind == EntryKind::Directory,
                (Some(entry), Access::Listing(digest)) => {
                    entry.kind == EntryKind::Directory && listing_digest(&tree.children(path)?) == *digest
                }
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

/// Names and kinds, so that a change inside of an entry does not count as a change of the listing.
fn listing_digest(children: &[(String, TreeEntry)]) -> Arc<str> {
    let kinds: Vec<String> = children.iter().map(|(_, entry)| format!("{:?}", entry.kind)).collect();
    let names = children.iter().map(|(name, _)| name.as_bytes());
    let parts: Vec<&[u8]> = names.zip(&kinds).flat_map(|(name, kind)| [name, kind.as_bytes()]).collect();
    digest(&parts)
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
        if entry.kind == EntryKind::Directory {
            self.lock().accesses.entry(path.clone()).or_insert(Access::Directory);
        } else {
            let access = Access::Present(entry.kind, entry.id.clone());
            self.lock().accesses.insert(path.clone(), access);
        }
    }

    pub(super) fn listing(&self, path: &RepoPath, children: &[(String, TreeEntry)]) {
        self.lock().accesses.insert(path.clone(), Access::Listing(listing_digest(children)));
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

    /// How many files have been read.
    pub(super) fn files(&self) -> usize {
        self.lock().files
    }

    pub(super) fn inputs(&self) -> Inputs {
        Inputs(Arc::new(self.lock().accesses.clone()))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
