//! A folder on disk, for `skiff render` and tests.

use std::{fs, io, path::PathBuf, sync::Arc, time::UNIX_EPOCH};

use bytes::Bytes;

use super::{EntryKind, FilesError, RepoPath, Tree, TreeEntry, wrong_kind};

/// The files below one folder. Links are reported as links, so nothing outside of the folder is ever opened.
pub struct DiskTree {
    root: PathBuf,
}

impl DiskTree {
    /// The tree below a folder.
    ///
    /// # Errors
    /// When the folder does not exist or cannot be read.
    pub fn new(root: impl Into<PathBuf>) -> io::Result<Self> {
        let root = root.into().canonicalize()?;
        if !root.is_dir() {
            return Err(io::Error::new(io::ErrorKind::NotADirectory, "not a directory"));
        }
        Ok(Self { root })
    }

    fn on_disk(&self, path: &RepoPath) -> PathBuf {
        self.root.join(path.as_str())
    }
}

fn storage(path: &RepoPath, error: io::Error) -> FilesError {
    FilesError::Storage { path: path.clone(), storage: "disk", source: Box::new(error) }
}

impl Tree for DiskTree {
    fn entry(&self, path: &RepoPath) -> Result<Option<TreeEntry>, FilesError> {
        let metadata = match fs::symlink_metadata(self.on_disk(path)) {
            Ok(metadata) => metadata,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            Err(error) => return Err(storage(path, error)),
        };
        let kind = if metadata.is_dir() {
            EntryKind::Directory
        } else if metadata.is_symlink() {
            EntryKind::Symlink
        } else {
            EntryKind::File
        };
        let modified = metadata
            .modified()
            .ok()
            .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
            .unwrap_or_default();
        let id = Arc::from(format!("{:x}-{:x}", metadata.len(), modified.as_nanos()));
        Ok(Some(TreeEntry { kind, id }))
    }

    fn children(&self, path: &RepoPath) -> Result<Vec<(String, TreeEntry)>, FilesError> {
        match self.entry(path)? {
            None => return Err(FilesError::NotFound { path: path.clone() }),
            Some(entry) if entry.kind != EntryKind::Directory => {
                return Err(wrong_kind(path, entry.kind, "a directory"));
            }
            Some(_) => {}
        }
        let mut children = Vec::new();
        for entry in fs::read_dir(self.on_disk(path)).map_err(|error| storage(path, error))? {
            let entry = entry.map_err(|error| storage(path, error))?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let Ok(child) = path.join(&name) else { continue };
            if let Some(found) = self.entry(&child)? {
                children.push((name, found));
            }
        }
        children.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(children)
    }

    fn content(&self, path: &RepoPath, limit: u64) -> Result<Bytes, FilesError> {
        let on_disk = self.on_disk(path);
        let metadata = fs::symlink_metadata(&on_disk).map_err(|error| storage(path, error))?;
        if metadata.is_symlink() {
            let target = fs::read_link(&on_disk).map_err(|error| storage(path, error))?;
            return Ok(Bytes::from(target.to_string_lossy().into_owned().into_bytes()));
        }
        if metadata.len() > limit {
            return Err(FilesError::Limit {
                what: "file",
                path: path.clone(),
                limit: format!("{limit} bytes"),
            });
        }
        fs::read(&on_disk).map(Bytes::from).map_err(|error| storage(path, error))
    }
}
