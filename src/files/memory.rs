//! A tree in memory, for tests and for manifests that come with a request.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::{EntryKind, FilesError, PathError, RepoPath, Tree, TreeEntry, wrong_kind};

/// Files and links by path; directories exist where something lies below them.
#[derive(Clone, Default)]
pub struct MemoryTree {
    entries: BTreeMap<RepoPath, (EntryKind, Bytes)>,
}

impl MemoryTree {
    /// A tree of these files.
    ///
    /// # Errors
    /// [`PathError`] for a path that is not inside a tree.
    pub fn new<P: AsRef<str>, C: Into<Vec<u8>>>(
        files: impl IntoIterator<Item = (P, C)>,
    ) -> Result<Self, PathError> {
        let mut tree = Self::default();
        for (path, content) in files {
            tree.insert(RepoPath::parse(path.as_ref())?, content);
        }
        Ok(tree)
    }

    /// Adds or replaces a file.
    pub fn insert(&mut self, path: RepoPath, content: impl Into<Vec<u8>>) {
        self.entries.insert(path, (EntryKind::File, Bytes::from(content.into())));
    }

    /// Adds or replaces a symbolic link.
    pub fn insert_link(&mut self, path: RepoPath, target: &str) {
        self.entries.insert(path, (EntryKind::Symlink, Bytes::copy_from_slice(target.as_bytes())));
    }

    fn below<'a>(
        &'a self,
        path: &'a RepoPath,
    ) -> impl Iterator<Item = (&'a RepoPath, &'a (EntryKind, Bytes))> + 'a {
        self.entries.range(path.clone()..).filter(move |(p, _)| *p != path && p.is_within(path))
    }
}

impl Tree for MemoryTree {
    fn entry(&self, path: &RepoPath) -> Result<Option<TreeEntry>, FilesError> {
        if let Some((kind, content)) = self.entries.get(path) {
            return Ok(Some(TreeEntry { kind: *kind, id: digest(&[content]) }));
        }
        let mut parts: Vec<&[u8]> = Vec::new();
        for (below, (_, content)) in self.below(path) {
            parts.push(below.as_str().as_bytes());
            parts.push(content);
        }
        if parts.is_empty() && !path.is_root() {
            return Ok(None);
        }
        Ok(Some(TreeEntry { kind: EntryKind::Directory, id: digest(&parts) }))
    }

    fn children(&self, path: &RepoPath) -> Result<Vec<(String, TreeEntry)>, FilesError> {
        match self.entry(path)? {
            None => return Err(FilesError::NotFound { path: path.clone() }),
            Some(entry) if entry.kind != EntryKind::Directory => {
                return Err(wrong_kind(path, entry.kind, "a directory"));
            }
            Some(_) => {}
        }
        let mut names: Vec<String> = Vec::new();
        for (below, _) in self.below(path) {
            let Some(name) = below.relative_to(path).and_then(|rest| rest.split('/').next()) else {
                continue;
            };
            if names.last().map(String::as_str) != Some(name) {
                names.push(name.to_owned());
            }
        }
        names.sort();
        names.dedup();
        let mut children = Vec::with_capacity(names.len());
        for name in names {
            let Ok(child) = path.join(&name) else { continue };
            if let Some(entry) = self.entry(&child)? {
                children.push((name, entry));
            }
        }
        Ok(children)
    }

    fn content(&self, path: &RepoPath, limit: u64) -> Result<Bytes, FilesError> {
        match self.entries.get(path) {
            Some((_, content)) if u64::try_from(content.len()).unwrap_or(u64::MAX) > limit => {
                Err(FilesError::Limit { what: "file", path: path.clone(), limit: format!("{limit} bytes") })
            }
            Some((_, content)) => Ok(content.clone()),
            None => Err(FilesError::NotFound { path: path.clone() }),
        }
    }
}

pub(super) fn digest(parts: &[&[u8]]) -> Arc<str> {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.len().to_le_bytes());
        hash.update(part);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect::<String>().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::{FileLimits, Files};

    fn files(tree: MemoryTree) -> Files {
        Files::new(Arc::new(tree), FileLimits::default())
    }

    fn path(text: &str) -> RepoPath {
        RepoPath::parse(text).unwrap()
    }

    #[test]
    fn links_are_followed_inside_the_tree_only() {
        let mut tree = MemoryTree::new([("base/a.yaml", "a"), ("base/sub/b.yaml", "b")]).unwrap();
        tree.insert_link(path("overlay/a.yaml"), "../base/a.yaml");
        tree.insert_link(path("overlay/dir"), "../base/sub");
        tree.insert_link(path("overlay/out"), "../../etc/passwd");
        tree.insert_link(path("overlay/absolute"), "/etc/passwd");
        tree.insert_link(path("overlay/loop"), "loop");
        let files = files(tree);
        assert_eq!(&files.read(&path("overlay/a.yaml")).unwrap()[..], b"a");
        assert_eq!(&files.read(&path("overlay/dir/b.yaml")).unwrap()[..], b"b");
        for bad in ["overlay/out", "overlay/absolute", "overlay/loop"] {
            let error = files.read(&path(bad)).unwrap_err();
            assert!(matches!(error, FilesError::Link { .. }), "{error}");
        }
    }

    #[test]
    fn inputs_tell_when_a_render_still_holds() {
        let tree = MemoryTree::new([("a/x.yaml", "1"), ("b/y.yaml", "2")]).unwrap();
        let files = files(tree.clone());
        files.read(&path("a/x.yaml")).unwrap();
        assert!(!files.is_file(&path("a/missing.yaml")).unwrap());
        let inputs = files.inputs();
        let mut other = tree.clone();
        other.insert(path("b/y.yaml"), "changed");
        assert!(inputs.unchanged_in(&other).unwrap());
        other.insert(path("a/missing.yaml"), "now there");
        assert!(!inputs.unchanged_in(&other).unwrap());
    }

    #[test]
    fn a_listing_holds_as_long_as_names_and_kinds_do() {
        let tree = MemoryTree::new([("a/x.yaml", "1"), ("a/sub/y.yaml", "2"), ("b", "3")]).unwrap();
        let files = files(tree.clone());
        assert!(files.is_directory(&path("a")).unwrap());
        files.list(&path("a")).unwrap();
        files.read(&path("a/x.yaml")).unwrap();
        assert!(files.is_directory(&path("a")).unwrap());
        let inputs = files.inputs();
        let changed = |change: &dyn Fn(&mut MemoryTree)| {
            let mut other = tree.clone();
            change(&mut other);
            !inputs.unchanged_in(&other).unwrap()
        };
        assert!(!changed(&|tree| tree.insert(path("a/sub/y.yaml"), "other")));
        assert!(!changed(&|tree| tree.insert(path("a/sub/z.yaml"), "new")));
        assert!(changed(&|tree| tree.insert(path("a/z.yaml"), "new")));
        assert!(changed(&|tree| tree.insert_link(path("a/link"), "../b")));
        assert!(
            changed(&|tree| tree.insert_link(path("a/x.yaml"), "1")),
            "a link with the file's content is no file"
        );
        assert!(changed(&|tree| *tree = MemoryTree::new([("a", "now a file")]).unwrap()));
    }

    #[test]
    fn limits_are_errors_that_name_the_file() {
        let limits = FileLimits { file_bytes: 3, files: 10, total_bytes: 100 };
        let tree = MemoryTree::new([("big", "four"), ("small", "ok")]).unwrap();
        let files = Files::new(Arc::new(tree), limits);
        files.read(&path("small")).unwrap();
        assert!(files.read(&path("big")).unwrap_err().to_string().contains("'big'"));
    }
}
