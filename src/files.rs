//! Read-only trees of files: a Git tree, a folder on disk, or memory.
//!
//! ```text
//! Tree (raw entries: blob, directory, symlink, submodule)
//!   └─ Files (links resolved inside the tree, limits, what was read is recorded)
//!        └─ renderers
//! ```
//!
//! Renderers see a [`Files`] and nothing else, so they can reach neither the host's files nor anything above the
//! root of the source: a path is a [`RepoPath`], which cannot hold `..`, and a symbolic link is resolved within the
//! tree or is an error. `Files` writes down what was learned of each entry: the content id of a file, the names in a
//! directory, that nothing was there. A later commit of which the same is true renders to the same result
//! ([`Inputs::unchanged_in`]).

mod budget;
mod derived;
mod disk;
mod memory;
mod mounted;
mod path;
mod recorder;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

pub use budget::{Budget, Exhausted};
use bytes::Bytes;
pub use derived::{Derived, DerivedCache, Form};
pub use disk::DiskTree;
pub use memory::MemoryTree;
pub use mounted::{MountedTree, SingleFile};
pub use path::{PathError, RepoPath};
pub use recorder::{Access, Inputs};

use crate::error::{Classified, ErrorKind};

/// What an entry of a tree is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link; its content is the target path.
    Symlink,
    /// A Git submodule; Skiff does not follow it.
    Submodule,
}

/// One entry of a tree, not followed if it is a link.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TreeEntry {
    /// What it is.
    pub kind: EntryKind,
    /// Changes exactly when the content does (for a directory: anything below it). In a Git tree the object id.
    pub id: Arc<str>,
}

/// Why a file could not be read.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// Nothing is there.
    #[error("'{path}' does not exist in the source")]
    NotFound {
        /// The path that was asked for.
        path: RepoPath,
    },
    /// A file was wanted and a directory is there, or the reverse.
    #[error("'{path}' is {found}, not {expected}")]
    WrongKind {
        /// The path that was asked for.
        path: RepoPath,
        /// What is there.
        found: &'static str,
        /// What was wanted.
        expected: &'static str,
    },
    /// A symbolic link leads out of the tree, is absolute, or never ends.
    #[error("symbolic link '{path}' {problem}: a source can read only its own tree")]
    Link {
        /// The link.
        path: RepoPath,
        /// What is wrong with it, as a clause ("points outside of the repository (to '/etc')").
        problem: String,
    },
    /// A limit was passed.
    #[error("{what} '{path}' is over the limit of {limit}")]
    Limit {
        /// What was too big ("file", "number of files read at").
        what: &'static str,
        /// The path that was asked for.
        path: RepoPath,
        /// The limit with its unit.
        limit: String,
    },
    /// The render has used up its time.
    #[error(transparent)]
    Exhausted(#[from] Exhausted),
    /// The storage below failed.
    #[error("cannot read '{path}' from {storage}")]
    Storage {
        /// The path that was asked for.
        path: RepoPath,
        /// "the Git object database", "disk".
        storage: &'static str,
        /// What it said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Classified for FilesError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Storage { .. } => ErrorKind::Transient,
            _ => ErrorKind::User,
        }
    }
}

/// Raw access to one immutable tree of files. Links are reported, not followed.
pub trait Tree: Send + Sync {
    /// The entry at a path, or `None` when nothing is there. The root is a directory.
    ///
    /// # Errors
    /// [`FilesError::Storage`].
    fn entry(&self, path: &RepoPath) -> Result<Option<TreeEntry>, FilesError>;

    /// The entries of the directory at a path, sorted by name.
    ///
    /// # Errors
    /// [`FilesError::NotFound`], [`FilesError::WrongKind`], [`FilesError::Storage`].
    fn children(&self, path: &RepoPath) -> Result<Vec<(String, TreeEntry)>, FilesError>;

    /// The content of the file (or the target of the link) at a path, at most `limit` bytes long.
    ///
    /// # Errors
    /// As [`Tree::children`], and [`FilesError::Limit`] where it is longer.
    fn content(&self, path: &RepoPath, limit: u64) -> Result<Bytes, FilesError>;

    /// The highest directory that links and `..` in what is at a path may lead to. Every tree has one, unless others are
    /// mounted in it.
    fn boundary(&self, _path: &RepoPath) -> RepoPath {
        RepoPath::root()
    }
}

/// What a render may read at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileLimits {
    /// Bytes of one file.
    pub file_bytes: u64,
    /// Files read by one render.
    pub files: usize,
    /// Bytes read by one render.
    pub total_bytes: u64,
}

impl Default for FileLimits {
    fn default() -> Self {
        Self { file_bytes: 10 << 20, files: 50_000, total_bytes: 256 << 20 }
    }
}

/// A tree as renderers see it: links resolved, limits kept, each access recorded.
pub struct Files {
    tree: Arc<dyn Tree>,
    limits: FileLimits,
    recorder: recorder::Recorder,
    budget: Budget,
    /// Where paths lead: the same ones are asked for again and again.
    resolved: Mutex<HashMap<RepoPath, Resolved>>,
    /// The entries on the way there.
    entries: Mutex<HashMap<RepoPath, Option<TreeEntry>>>,
    derived: Option<Arc<DerivedCache>>,
    /// What this render has made of files so far.
    made: Mutex<Vec<(Arc<str>, Form, Derived)>>,
}

/// A source of fewer files than this is parsed so quickly that nothing is kept of it.
const MANY_FILES: usize = 8;

/// What is at a path once links are followed, and where that really is.
type Resolved = Option<(RepoPath, TreeEntry)>;

/// A symbolic link may pass through this many others (Linux has the same number).
const LINK_DEPTH: usize = 40;

impl Files {
    /// Wraps a tree for one render.
    pub fn new(tree: Arc<dyn Tree>, limits: FileLimits) -> Self {
        Self {
            tree,
            limits,
            recorder: recorder::Recorder::default(),
            budget: Budget::default(),
            resolved: Mutex::default(),
            entries: Mutex::default(),
            derived: None,
            made: Mutex::default(),
        }
    }

    /// Gives the render what earlier ones made of files. Only for trees whose ids of files are those of their contents.
    pub fn with_derived(mut self, derived: Arc<DerivedCache>) -> Self {
        self.derived = Some(derived);
        self
    }

    /// Gives the render a budget of its own.
    pub fn within(mut self, budget: Budget) -> Self {
        self.budget = budget;
        self
    }

    /// What is left for the render.
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    /// What has been looked at so far.
    pub fn inputs(&self) -> Inputs {
        self.recorder.inputs()
    }

    /// The kind of what is at a path once links are followed; `None` when nothing is there.
    ///
    /// # Errors
    /// [`FilesError::Link`], [`FilesError::Storage`].
    pub fn kind(&self, path: &RepoPath) -> Result<Option<EntryKind>, FilesError> {
        Ok(self.resolve(path)?.map(|(_, entry)| entry.kind))
    }

    /// Whether a regular file is there once links are followed.
    ///
    /// # Errors
    /// As [`Files::kind`].
    pub fn is_file(&self, path: &RepoPath) -> Result<bool, FilesError> {
        Ok(self.kind(path)? == Some(EntryKind::File))
    }

    /// Whether a directory is there once links are followed.
    ///
    /// # Errors
    /// As [`Files::kind`].
    pub fn is_directory(&self, path: &RepoPath) -> Result<bool, FilesError> {
        Ok(self.kind(path)? == Some(EntryKind::Directory))
    }

    /// Where a path really leads once links are followed; `None` when nothing is there.
    ///
    /// # Errors
    /// As [`Files::kind`].
    pub fn real_path(&self, path: &RepoPath) -> Result<Option<RepoPath>, FilesError> {
        Ok(self.resolve(path)?.map(|(real, _)| real))
    }

    /// The content of a file.
    ///
    /// # Errors
    /// [`FilesError::NotFound`], [`FilesError::WrongKind`], [`FilesError::Limit`], [`FilesError::Link`],
    /// [`FilesError::Storage`].
    pub fn read(&self, path: &RepoPath) -> Result<Bytes, FilesError> {
        let (real, entry) = self.resolve(path)?.ok_or_else(|| FilesError::NotFound { path: path.clone() })?;
        if entry.kind != EntryKind::File {
            return Err(wrong_kind(path, entry.kind, "a file"));
        }
        let content = self.tree.content(&real, self.limits.file_bytes)?;
        self.recorder.count(path, content.len(), &self.limits)?;
        Ok(content)
    }

    /// What an earlier render made of a file in some form ([`Files::derive`]). It counts as read.
    ///
    /// # Errors
    /// As [`Files::read`].
    pub fn derived(&self, path: &RepoPath, form: Form) -> Result<Option<Bytes>, FilesError> {
        let Some(derived) = &self.derived else { return Ok(None) };
        let Some((_, entry)) = self.resolve(path)? else { return Ok(None) };
        let Some(kept) = derived.get(&entry.id, form) else { return Ok(None) };
        self.recorder.count(path, kept.length, &self.limits)?;
        Ok(Some(kept.made))
    }

    /// Notes what was made of a file's content, for [`Files::keep_derived`].
    ///
    /// # Errors
    /// As [`Files::kind`].
    pub fn derive(
        &self,
        path: &RepoPath,
        form: Form,
        content: &[u8],
        make: impl FnOnce() -> Vec<u8>,
    ) -> Result<(), FilesError> {
        if self.derived.is_some()
            && let Some((_, entry)) = self.resolve(path)?
        {
            let derived = Derived { made: make().into(), length: content.len() };
            lock(&self.made).push((entry.id, form, derived));
        }
        Ok(())
    }

    /// Keeps what the render has made of files for later ones, if it has read many: where one of them changes, the others
    /// need not be parsed again.
    pub fn keep_derived(&self) {
        let made = std::mem::take(&mut *lock(&self.made));
        if let Some(derived) = self.derived.as_ref().filter(|_| self.recorder.files() >= MANY_FILES) {
            made.into_iter().for_each(|(id, form, made)| derived.put(id, form, made));
        }
    }

    /// Names and kinds of what a directory holds, sorted by name; links show the kind of what they lead to.
    ///
    /// # Errors
    /// As [`Files::read`].
    pub fn list(&self, path: &RepoPath) -> Result<Vec<(String, EntryKind)>, FilesError> {
        let (real, entry) = self.resolve(path)?.ok_or_else(|| FilesError::NotFound { path: path.clone() })?;
        if entry.kind != EntryKind::Directory {
            return Err(wrong_kind(path, entry.kind, "a directory"));
        }
        let children = self.tree.children(&real)?;
        self.recorder.listing(&real, &children);
        let mut listed = Vec::with_capacity(children.len());
        for (name, child) in children {
            let kind = if child.kind == EntryKind::Symlink {
                let Ok(target) = path.join(&name) else { continue };
                match self.kind(&target)? {
                    Some(kind) => kind,
                    None => continue,
                }
            } else {
                child.kind
            };
            listed.push((name, kind));
        }
        Ok(listed)
    }

    /// The highest directory that `..` in what is at a path may lead to: the root, or that of a mounted tree.
    pub fn boundary(&self, path: &RepoPath) -> RepoPath {
        self.tree.boundary(path)
    }

    fn resolve(&self, path: &RepoPath) -> Result<Resolved, FilesError> {
        self.budget.check()?;
        if let Some(known) = lock(&self.resolved).get(path) {
            return Ok(known.clone());
        }
        let found = self.look_up(path)?;
        lock(&self.resolved).insert(path.clone(), found.clone());
        Ok(found)
    }

    /// What the tree has at a path, links not followed.
    fn entry(&self, path: &RepoPath) -> Result<Option<TreeEntry>, FilesError> {
        if let Some(known) = lock(&self.entries).get(path) {
            return Ok(known.clone());
        }
        let found = self.tree.entry(path)?;
        lock(&self.entries).insert(path.clone(), found.clone());
        Ok(found)
    }

    /// Follows links from a path to what is really there, recording each entry on the way.
    fn look_up(&self, path: &RepoPath) -> Result<Resolved, FilesError> {
        let top = self.tree.boundary(path);
        let below = |path: &RepoPath| -> Vec<String> {
            let rest = path.relative_to(&top).unwrap_or_default();
            rest.split('/').rev().filter(|name| !name.is_empty()).map(str::to_owned).collect()
        };
        let mut pending = below(path);
        let mut real = top.clone();
        let mut links = 0usize;
        let Some(mut entry) = self.entry(&real)? else {
            return Ok(None);
        };
        while let Some(component) = pending.pop() {
            let Ok(next) = real.join(&component) else {
                return Ok(None);
            };
            let found = if entry.kind == EntryKind::Directory { self.entry(&next)? } else { None };
            let Some(found) = found else {
                self.recorder.absent(&next);
                return Ok(None);
            };
            if found.kind != EntryKind::Symlink {
                real = next;
                entry = found;
                continue;
            }
            self.recorder.present(&next, &found);
            links += 1;
            if links > LINK_DEPTH {
                let problem = format!("passes through more than {LINK_DEPTH} other links");
                return Err(FilesError::Link { path: path.clone(), problem });
            }
            let target = self.tree.content(&next, 4096)?;
            let target = String::from_utf8_lossy(&target).into_owned();
            let resolved = real.join_lenient(&target).ok();
            let resolved =
                resolved.filter(|resolved| self.tree.boundary(resolved) == top).ok_or_else(|| {
                    let problem = format!("points outside of the repository (to '{target}')");
                    FilesError::Link { path: next.clone(), problem }
                })?;
            pending.extend(below(&resolved));
            real = top.clone();
            match self.entry(&real)? {
                Some(root) => entry = root,
                None => return Ok(None),
            }
        }
        self.recorder.present(&real, &entry);
        Ok(Some((real, entry)))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn wrong_kind(path: &RepoPath, found: EntryKind, expected: &'static str) -> FilesError {
    let found = match found {
        EntryKind::File => "a file",
        EntryKind::Directory => "a directory",
        EntryKind::Symlink => "a symbolic link",
        EntryKind::Submodule => "a Git submodule (Skiff does not fetch submodules)",
    };
    FilesError::WrongKind { path: path.clone(), found, expected }
}
