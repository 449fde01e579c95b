//! A commit's files, read from the object database.

use std::{path::Path, sync::Arc};

use bytes::Bytes;
use git2::{ErrorCode, Oid};

use super::{mirror::Generation, references::CommitId};
use crate::files::{EntryKind, FilesError, RepoPath, Tree, TreeEntry};

/// The first line of the small file that Git LFS leaves in place of a large one.
const LFS_POINTER: &[u8] = b"version https://git-lfs.github.com/spec/";

/// The tree of one commit. Entries are read when they are asked for; their ids are Git's object ids.
pub struct GitTree {
    generation: Arc<Generation>,
    commit: CommitId,
    root: Oid,
}

struct Found {
    id: Oid,
    kind: EntryKind,
}

impl Found {
    fn entry(&self) -> TreeEntry {
        TreeEntry { kind: self.kind, id: self.id.to_string().into() }
    }
}

impl GitTree {
    pub(super) fn new(generation: Arc<Generation>, commit: CommitId, root: Oid) -> Self {
        Self { generation, commit, root }
    }

    /// The commit whose files these are.
    pub fn commit(&self) -> &CommitId {
        &self.commit
    }

    /// The object id of the root directory: equal for two commits exactly when all their files are.
    pub fn id(&self) -> String {
        self.root.to_string()
    }

    /// The repository on disk that holds the objects.
    pub(super) fn directory(&self) -> &Path {
        self.generation.path()
    }

    fn find(&self, path: &RepoPath) -> Result<Option<Found>, FilesError> {
        if path.is_root() {
            return Ok(Some(Found { id: self.root, kind: EntryKind::Directory }));
        }
        let found = self.generation.with(|repository| {
            match repository.find_tree(self.root)?.get_path(Path::new(path.as_str())) {
                Ok(entry) => Ok(Some(Found { id: entry.id(), kind: kind(entry.filemode()) })),
                Err(error) if error.code() == ErrorCode::NotFound => Ok(None),
                Err(error) => Err(error),
            }
        });
        found.map_err(|error| self.storage(path, error))
    }

    /// An object that a tree names is missing or cannot be read: the mirror is damaged and is fetched anew next time.
    fn storage(&self, path: &RepoPath, error: git2::Error) -> FilesError {
        self.generation.retire();
        FilesError::Storage {
            path: path.clone(),
            storage: "the Git object database",
            source: Box::new(error),
        }
    }
}

fn kind(mode: i32) -> EntryKind {
    match mode {
        0o040_000 => EntryKind::Directory,
        0o120_000 => EntryKind::Symlink,
        0o160_000 => EntryKind::Submodule,
        _ => EntryKind::File,
    }
}

fn wrong_kind(path: &RepoPath, found: EntryKind, expected: &'static str) -> FilesError {
    let found = match found {
        EntryKind::File => "a file",
        EntryKind::Directory => "a directory",
        EntryKind::Symlink => "a symbolic link",
        EntryKind::Submodule => "a Git submodule, which Skiff does not follow",
    };
    FilesError::WrongKind { path: path.clone(), found, expected }
}

impl Tree for GitTree {
    fn entry(&self, path: &RepoPath) -> Result<Option<TreeEntry>, FilesError> {
        Ok(self.find(path)?.map(|found| found.entry()))
    }

    fn children(&self, path: &RepoPath) -> Result<Vec<(String, TreeEntry)>, FilesError> {
        let found = self.find(path)?.ok_or_else(|| FilesError::NotFound { path: path.clone() })?;
        if found.kind != EntryKind::Directory {
            return Err(wrong_kind(path, found.kind, "a directory"));
        }
        let children = self.generation.with(|repository| {
            let tree = repository.find_tree(found.id)?;
            let child = |entry: git2::TreeEntry<'_>| {
                let found = Found { id: entry.id(), kind: kind(entry.filemode()) };
                // A name that is not UTF-8 cannot be written in a path.
                Some((entry.name().ok()?.to_owned(), found.entry()))
            };
            Ok(tree.iter().filter_map(child).collect::<Vec<_>>())
        });
        let mut children = children.map_err(|error| self.storage(path, error))?;
        children.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(children)
    }

    fn content(&self, path: &RepoPath, limit: u64) -> Result<Bytes, FilesError> {
        let found = self.find(path)?.ok_or_else(|| FilesError::NotFound { path: path.clone() })?;
        if matches!(found.kind, EntryKind::Directory | EntryKind::Submodule) {
            return Err(wrong_kind(path, found.kind, "a file"));
        }
        let content = self.generation.with(|repository| {
            let (size, _) = repository.odb()?.read_header(found.id)?;
            if u64::try_from(size).is_ok_and(|size| size > limit) {
                return Ok(None);
            }
            Ok(Some(Bytes::copy_from_slice(repository.find_blob(found.id)?.content())))
        });
        let content = content.map_err(|error| self.storage(path, error))?.ok_or_else(|| {
            FilesError::Limit { what: "file", path: path.clone(), limit: format!("{limit} bytes") }
        })?;
        if content.starts_with(LFS_POINTER) {
            let found = "a Git LFS pointer (Git LFS is not supported: commit the file itself)";
            return Err(FilesError::WrongKind { path: path.clone(), found, expected: "a file" });
        }
        Ok(content)
    }
}
