//! A tree with other trees in it.

use std::sync::Arc;

use bytes::Bytes;

use super::{EntryKind, FilesError, RepoPath, Tree, TreeEntry, memory::digest, wrong_kind};

/// A tree in which other trees can be read under paths of their own (mounts). No directory lists its mounts, and neither
/// links nor `..` lead from one tree to another ([`Tree::boundary`]).
pub struct MountedTree {
    primary: Arc<dyn Tree>,
    mounts: Vec<(RepoPath, Arc<dyn Tree>)>,
}

impl MountedTree {
    /// The primary tree with these others.
    pub fn new(primary: Arc<dyn Tree>, mounts: Vec<(RepoPath, Arc<dyn Tree>)>) -> Self {
        Self { primary, mounts }
    }

    fn mount<'a>(&'a self, path: &RepoPath) -> Option<&'a (RepoPath, Arc<dyn Tree>)> {
        self.mounts.iter().find(|(mount, _)| path.is_within(mount))
    }

    /// Asks the tree that a path lies in. Errors name the path as it was asked for.
    fn ask<T>(
        &self,
        path: &RepoPath,
        question: impl FnOnce(&dyn Tree, &RepoPath) -> Result<T, FilesError>,
    ) -> Result<T, FilesError> {
        let Some((mount, tree)) = self.mount(path) else {
            return question(self.primary.as_ref(), path);
        };
        let inside = path.relative_to(mount).and_then(|inside| RepoPath::root().join_lenient(inside).ok());
        let Some(inside) = inside else {
            return Err(FilesError::NotFound { path: path.clone() });
        };
        question(tree.as_ref(), &inside).map_err(|error| renamed(error, path))
    }
}

fn renamed(error: FilesError, to: &RepoPath) -> FilesError {
    let mut error = error;
    match &mut error {
        FilesError::NotFound { path }
        | FilesError::WrongKind { path, .. }
        | FilesError::Link { path, .. }
        | FilesError::Limit { path, .. }
        | FilesError::Storage { path, .. } => path.clone_from(to),
        FilesError::Exhausted(_) => {}
    }
    error
}

impl Tree for MountedTree {
    fn entry(&self, path: &RepoPath) -> Result<Option<TreeEntry>, FilesError> {
        self.ask(path, |tree, path| tree.entry(path))
    }

    fn children(&self, path: &RepoPath) -> Result<Vec<(String, TreeEntry)>, FilesError> {
        self.ask(path, |tree, path| tree.children(path))
    }

    fn content(&self, path: &RepoPath, limit: u64) -> Result<Bytes, FilesError> {
        self.ask(path, |tree, path| tree.content(path, limit))
    }

    fn boundary(&self, path: &RepoPath) -> RepoPath {
        self.mount(path).map_or_else(RepoPath::root, |(mount, _)| mount.clone())
    }
}

/// A tree that is one file: its root has a content instead of entries.
pub struct SingleFile {
    content: Bytes,
    id: Arc<str>,
}

impl SingleFile {
    /// A file with this content.
    pub fn new(content: Bytes) -> Self {
        let id = digest(&[&content]);
        Self { content, id }
    }
}

impl Tree for SingleFile {
    fn entry(&self, path: &RepoPath) -> Result<Option<TreeEntry>, FilesError> {
        let entry = || TreeEntry { kind: EntryKind::File, id: Arc::clone(&self.id) };
        Ok(path.is_root().then(entry))
    }

    fn children(&self, path: &RepoPath) -> Result<Vec<(String, TreeEntry)>, FilesError> {
        Err(wrong_kind(path, EntryKind::File, "a directory"))
    }

    fn content(&self, path: &RepoPath, limit: u64) -> Result<Bytes, FilesError> {
        if !path.is_root() {
            return Err(FilesError::NotFound { path: path.clone() });
        }
        if u64::try_from(self.content.len()).unwrap_or(u64::MAX) > limit {
            let limit = format!("{limit} bytes");
            return Err(FilesError::Limit { what: "file", path: path.clone(), limit });
        }
        Ok(self.content.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::{FileLimits, Files, MemoryTree};

    fn path(text: &str) -> RepoPath {
        RepoPath::root().join_lenient(text).unwrap()
    }

    fn tree() -> MountedTree {
        let primary = MemoryTree::new([("app/a.yaml", "a"), ("secret", "s")]).unwrap();
        let mut remote = MemoryTree::new([("base/b.yaml", "b")]).unwrap();
        remote.insert_link(path("base/inside"), "../base/b.yaml");
        remote.insert_link(path("out"), "../../../secret");
        let file = SingleFile::new(Bytes::from_static(b"f"));
        let mounts: Vec<(RepoPath, Arc<dyn Tree>)> = vec![
            (path("https://host/repo"), Arc::new(remote)),
            (path("https://host/file.yaml"), Arc::new(file)),
        ];
        MountedTree::new(Arc::new(primary), mounts)
    }

    #[test]
    fn mounted_trees_are_read_under_their_urls() {
        let files = Files::new(Arc::new(tree()), FileLimits::default());
        for (name, content) in [
            ("app/a.yaml", "a"),
            ("https://host/repo/base/b.yaml", "b"),
            ("https://host/repo/base/inside", "b"),
            ("https://host/file.yaml", "f"),
        ] {
            assert_eq!(files.read(&path(name)).unwrap(), content, "{name}");
        }
        let error = files.read(&path("https://host/repo/none")).unwrap_err().to_string();
        assert!(error.contains("'https://host/repo/none'"), "{error}");
    }

    #[test]
    fn no_link_leads_from_a_mounted_tree_to_another() {
        let files = Files::new(Arc::new(tree()), FileLimits::default());
        let error = files.read(&path("https://host/repo/out")).unwrap_err();
        assert!(matches!(error, FilesError::Link { .. }), "{error}");
    }

    #[test]
    fn a_change_in_a_mounted_tree_is_a_change_of_the_inputs() {
        let files = Files::new(Arc::new(tree()), FileLimits::default());
        files.read(&path("https://host/repo/base/b.yaml")).unwrap();
        let inputs = files.inputs();
        assert!(inputs.unchanged_in(&tree()).unwrap());
        let other = MemoryTree::new([("base/b.yaml", "changed")]).unwrap();
        let mut changed = tree();
        changed.mounts[0].1 = Arc::new(other);
        assert!(!inputs.unchanged_in(&changed).unwrap());
        changed.mounts.clear();
        assert!(!inputs.unchanged_in(&changed).unwrap());
    }
}
