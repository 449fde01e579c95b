//! Folders of this repository that are built into the binary.

/// A file of such a folder.
#[derive(Clone, Copy)]
pub(super) struct EmbeddedFile {
    /// Its path below the folder.
    pub(super) path: &'static str,
    /// Its content.
    pub(super) text: &'static str,
}

/// A table of files: `embedded!("deploy", "crds/kustomization.yaml", …)`.
macro_rules! embedded {
    ($folder:literal, $($path:literal),+ $(,)?) => {
        &[$($crate::cli::embedded::EmbeddedFile {
            path: $path,
            text: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/", $folder, "/", $path)),
        }),+]
    };
}
pub(super) use embedded;

/// The files that the repository has below some folders, for tests that compare a table with them.
#[cfg(test)]
pub(super) fn on_disk(root: &str, folders: &[&str]) -> std::collections::BTreeSet<String> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(root);
    let mut open: Vec<_> = folders.iter().map(|folder| root.join(folder)).collect();
    let mut found = std::collections::BTreeSet::new();
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                found.insert(path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    found
}
