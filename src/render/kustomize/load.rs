//! Reading the files of a kustomization tree.
//!
//! A [`Root`] is a directory with a kustomization file, together with the chain of roots that led to it. Directories may be
//! anywhere in the repository, but not on that chain; files must lie in or below their root once links are followed, unless
//! the load restrictor is lifted. Each resource file is parsed once however often it is named.

use std::{cell::RefCell, collections::HashMap, rc::Rc};

use bytes::Bytes;
use serde_json::Value;

use super::{LoadRestrictor, Options, error::KustomizeError, manifest::Manifest};
use crate::{
    files::{EntryKind, Files, RepoPath},
    object::yaml::{self, DuplicateKeys, Schema},
};

const FILE_NAMES: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

/// A directory with a kustomization file.
#[derive(Debug)]
pub(super) struct Root {
    /// Where it really is.
    pub directory: RepoPath,
    /// Its kustomization file.
    pub file: RepoPath,
    parent: Option<Rc<Root>>,
    depth: usize,
}

/// What an entry of `resources` leads to.
pub(super) enum Entry {
    File(Rc<Vec<Manifest>>),
    Directory,
}

/// Reads files on behalf of roots.
pub(super) struct Loader<'a> {
    files: &'a Files,
    options: &'a Options,
    manifests: RefCell<HashMap<RepoPath, Rc<Vec<Manifest>>>>,
    configurations: RefCell<HashMap<RepoPath, Rc<Value>>>,
    /// Directories as named, where they really are, and their kustomization file.
    directories: RefCell<HashMap<RepoPath, (RepoPath, RepoPath)>>,
}

impl<'a> Loader<'a> {
    pub fn new(files: &'a Files, options: &'a Options) -> Self {
        Self {
            files,
            options,
            manifests: RefCell::default(),
            configurations: RefCell::default(),
            directories: RefCell::default(),
        }
    }

    /// The root that the build was asked for.
    pub fn top(&self, directory: &RepoPath) -> Result<Rc<Root>, KustomizeError> {
        let (directory, file) = self.locate(directory)?;
        Ok(Rc::new(Root { directory, file, parent: None, depth: 1 }))
    }

    /// The root that an entry of another one's kustomization names.
    pub fn enter(&self, from: &Rc<Root>, entry: &str) -> Result<Rc<Root>, KustomizeError> {
        let (directory, file) = self.locate(&from.directory.join_lenient(entry)?)?;
        let mut visited = Some(from);
        while let Some(root) = visited {
            if root.directory.is_within(&directory) {
                return Err(KustomizeError::invalid(format!(
                    "the bases form a cycle: {}",
                    cycle(from, root, &directory)
                )));
            }
            visited = root.parent.as_ref();
        }
        if from.depth >= self.options.limits.depth {
            return Err(KustomizeError::Limit {
                limit: format!("{} kustomizations inside of each other", self.options.limits.depth),
            });
        }
        Ok(Rc::new(Root { directory, file, parent: Some(Rc::clone(from)), depth: from.depth + 1 }))
    }

    /// Where a directory really is, and its kustomization file.
    fn locate(&self, path: &RepoPath) -> Result<(RepoPath, RepoPath), KustomizeError> {
        if let Some(known) = self.directories.borrow().get(path) {
            return Ok(known.clone());
        }
        let directory = self.directory(path)?;
        let file = self.kustomization_file(&directory)?;
        self.directories.borrow_mut().insert(path.clone(), (directory.clone(), file.clone()));
        Ok((directory, file))
    }

    fn directory(&self, path: &RepoPath) -> Result<RepoPath, KustomizeError> {
        match self.files.kind(path)? {
            Some(EntryKind::Directory) => Ok(self.files.real_path(path)?.unwrap_or_else(|| path.clone())),
            Some(EntryKind::Submodule) => Err(KustomizeError::invalid(format!(
                "'{path}' is a Git submodule: submodules are not fetched, keep the files in the repository"
            ))),
            Some(_) => Err(KustomizeError::invalid(format!(
                "'{path}' is a file: a directory with a kustomization file is needed here"
            ))),
            None => Err(KustomizeError::invalid(format!("'{path}' does not exist in the source"))),
        }
    }

    fn kustomization_file(&self, directory: &RepoPath) -> Result<RepoPath, KustomizeError> {
        let mut found = Vec::new();
        for name in FILE_NAMES {
            let file = directory.join(name)?;
            if self.files.is_file(&file)? {
                found.push(file);
            }
        }
        match found.as_slice() {
            [_] => found
                .pop()
                .ok_or_else(|| KustomizeError::invalid(format!("no kustomization file in '{directory}'"))),
            [] => Err(KustomizeError::invalid(format!(
                "directory '{directory}' has no kustomization file: one of '{}' is needed",
                FILE_NAMES.join("', '")
            ))),
            [first, second, ..] => Err(KustomizeError::invalid(format!(
                "directory '{directory}' has several kustomization files ('{first}' and '{second}'): keep one"
            ))),
        }
    }

    /// The first document of a file that is read as configuration (YAML 1.1); null when it has none.
    pub fn configuration(&self, root: &Root, entry: &str) -> Result<(RepoPath, Rc<Value>), KustomizeError> {
        let file = self.file(root, entry)?;
        let value = self.first_document(&file)?;
        Ok((file, value))
    }

    /// The first document of a root's kustomization file.
    pub fn kustomization(&self, root: &Root) -> Result<Rc<Value>, KustomizeError> {
        self.first_document(&root.file)
    }

    fn first_document(&self, file: &RepoPath) -> Result<Rc<Value>, KustomizeError> {
        if let Some(known) = self.configurations.borrow().get(file) {
            return Ok(Rc::clone(known));
        }
        let text = self.files.read(file)?;
        let options = yaml::Options::new(Schema::Yaml11, DuplicateKeys::LastWins);
        let documents = match yaml::parse(&text, &options) {
            Ok(documents) => documents,
            // What follows the first document is never looked at.
            Err(error) if error.documents_before > 0 => {
                let lines = String::from_utf8_lossy(&text);
                yaml::parse(first_part(&lines).as_bytes(), &options)
                    .map_err(|_| KustomizeError::Yaml { file: file.clone(), source: error })?
            }
            Err(source) => {
                return Err(KustomizeError::Yaml { file: file.clone(), source });
            }
        };
        let value = Rc::new(documents.into_iter().next().map_or(Value::Null, |document| document.value));
        self.configurations.borrow_mut().insert(file.clone(), Rc::clone(&value));
        Ok(value)
    }

    /// The content of a file.
    pub fn read(&self, root: &Root, entry: &str) -> Result<Bytes, KustomizeError> {
        Ok(self.files.read(&self.file(root, entry)?)?)
    }

    /// The text of a file, and where it is.
    pub fn text(&self, root: &Root, entry: &str) -> Result<(RepoPath, String), KustomizeError> {
        let file = self.file(root, entry)?;
        let text = String::from_utf8(self.files.read(&file)?.to_vec())
            .map_err(|_| KustomizeError::invalid(format!("'{file}' is not UTF-8 text")))?;
        Ok((file, text))
    }

    /// The manifests in a file.
    pub fn manifests(&self, root: &Root, entry: &str) -> Result<Rc<Vec<Manifest>>, KustomizeError> {
        let file = self.file(root, entry)?;
        if let Some(known) = self.manifests.borrow().get(&file) {
            return Ok(Rc::clone(known));
        }
        let text = self.files.read(&file)?;
        let manifests = Rc::new(Manifest::parse(&text, Some(&file))?);
        self.manifests.borrow_mut().insert(file, Rc::clone(&manifests));
        Ok(manifests)
    }

    /// What an entry of `resources` (or of the plugin lists) leads to.
    pub fn entry(&self, root: &Root, entry: &str) -> Result<Entry, KustomizeError> {
        if entry.is_empty() {
            return Err(KustomizeError::invalid("the entry is empty: it must name a file or a directory"));
        }
        if is_http(entry) {
            return Err(remote(entry));
        }
        let path = match root.directory.join_lenient(entry) {
            Ok(path) => path,
            Err(_) if is_remote(entry) => return Err(remote(entry)),
            Err(error) => return Err(error.into()),
        };
        if self.directories.borrow().contains_key(&path) {
            return Ok(Entry::Directory);
        }
        match self.files.kind(&path)? {
            Some(EntryKind::File) => self.manifests(root, entry).map(Entry::File),
            _ if is_remote(entry) => Err(remote(entry)),
            _ => Ok(Entry::Directory),
        }
    }

    fn file(&self, root: &Root, entry: &str) -> Result<RepoPath, KustomizeError> {
        if is_http(entry) {
            return Err(remote(entry));
        }
        let path = root.directory.join_lenient(entry)?;
        let Some(real) = self.files.real_path(&path)? else {
            return Err(KustomizeError::invalid(format!("file '{path}' does not exist in the source")));
        };
        if !self.files.is_file(&real)? {
            return Err(KustomizeError::invalid(format!("'{path}' is a directory: a file is needed here")));
        }
        let is_allowed =
            self.options.load_restrictor == LoadRestrictor::None || real.is_within(&root.directory);
        if !is_allowed {
            return Err(KustomizeError::invalid(format!(
                "file '{real}' is not in or below '{}': a kustomization may only read files below its own directory \
                 (make a base of it, or set the load restrictor to LoadRestrictionsNone)",
                root.directory
            )));
        }
        Ok(real)
    }
}

impl Root {
    /// Whether an entry of this root's lists names a directory on another machine.
    pub fn check_local(entry: &str) -> Result<(), KustomizeError> {
        if is_remote(entry) { Err(remote(entry)) } else { Ok(()) }
    }
}

/// The text up to the line that begins the second document.
fn first_part(text: &str) -> String {
    let mut part = String::new();
    let mut has_content = false;
    for line in text.split_inclusive('\n') {
        if line.starts_with("---") && has_content {
            break;
        }
        let is_content =
            !line.trim().is_empty() && !line.trim_start().starts_with('#') && !line.starts_with("---");
        has_content |= is_content;
        part.push_str(line);
    }
    part
}

fn cycle(from: &Rc<Root>, visited: &Root, candidate: &RepoPath) -> String {
    let mut chain = vec![format!("'{candidate}'")];
    let mut at = Some(from);
    while let Some(root) = at {
        chain.push(format!("'{}'", root.directory));
        if std::ptr::eq(root.as_ref(), visited) {
            break;
        }
        at = root.parent.as_ref();
    }
    chain.reverse();
    let mut text = chain.join(" uses ");
    if visited.directory != *candidate {
        text.push_str(&format!(", which contains '{}'", visited.directory));
    }
    text
}

fn is_http(entry: &str) -> bool {
    entry.starts_with("https://") || entry.starts_with("http://")
}

/// Whether an entry names a repository on another machine, by kustomize's rules for Git URLs.
fn is_remote(entry: &str) -> bool {
    let entry = entry.strip_prefix("git::").unwrap_or(entry);
    let has_scheme =
        ["https://", "http://", "ssh://", "file://"].iter().any(|scheme| entry.starts_with(scheme));
    let is_github = ["github.com/", "github.com:"]
        .iter()
        .any(|host| entry.get(..host.len()).is_some_and(|start| start.eq_ignore_ascii_case(host)));
    let is_scp = entry.split_once('@').is_some_and(|(user, rest)| {
        !user.contains('/')
            && rest.split_once(':').is_some_and(|(host, _)| !host.is_empty() && !host.contains('/'))
    });
    has_scheme || is_github || is_scp
}

fn remote(entry: &str) -> KustomizeError {
    // A URL may carry credentials before the `@`.
    let shown = match (entry.split_once("://"), entry.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, rest))) => format!("{scheme}://…@{rest}"),
        _ => entry.to_owned(),
    };
    KustomizeError::invalid(format!(
        "remote bases are not supported yet: copy what '{shown}' holds into the repository"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_elsewhere_are_recognised() {
        for entry in [
            "https://github.com/org/repo//base?ref=v1",
            "git::https://example.com/repo.git",
            "ssh://git@host/org/repo",
            "git@github.com:org/repo",
            "github.com/org/repo//base",
            "GitHub.com:org/repo",
            "file:///srv/repo.git",
        ] {
            assert!(is_remote(entry), "{entry}");
        }
        for entry in ["../base", "github.community/x", "a@b", "dir/user@host:x", "base?ref=v1"] {
            assert!(!is_remote(entry), "{entry}");
        }
    }

    #[test]
    fn a_refused_url_is_shown_without_its_password() {
        let text = remote("https://user:s3cret@host/repo").to_string();
        assert!(text.contains("host/repo") && !text.contains("s3cret"), "{text}");
    }
}
