//! Reading the files of a kustomization tree.
//!
//! A [`Root`] is a directory with a kustomization file, together with the chain of roots that led to it. Directories may be
//! anywhere in the repository, but not on that chain; files must lie in or below their root once links are followed, unless
//! the load restrictor is lifted. Each resource file is parsed at most twice however often it is named. Remotes are read where the
//! caller mounted them; one that is not mounted is noted and ends the build.

use std::{cell::RefCell, collections::HashMap, rc::Rc};

use bytes::Bytes;
use serde_json::Value;

use super::{
    LoadRestrictor, Options,
    error::KustomizeError,
    manifest::{Manifest, PatchForm},
    remote::{self, Location, Remote, RemoteSource},
};
use crate::{
    files::{Budget, EntryKind, Files, Form, PathError, RepoPath},
    object::yaml::{self, Document, DuplicateKeys, Schema},
    render::parsed::{self, Unparsed},
};

/// Forms in which parsed files are kept for later renders.
const RESOURCES: Form = "kustomize resources";
const CONFIGURATION: Form = "kustomize configuration";

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
    File(Vec<Manifest>),
    Directory,
}

/// Reads files on behalf of roots.
pub(super) struct Loader<'a> {
    files: &'a Files,
    options: &'a Options,
    /// What was read from files, kept from the second time on: few are named twice.
    manifests: RefCell<HashMap<RepoPath, Option<Vec<Manifest>>>>,
    configurations: RefCell<HashMap<RepoPath, Rc<Value>>>,
    /// Directories as named, where they really are, and their kustomization file.
    directories: RefCell<HashMap<RepoPath, (RepoPath, RepoPath)>>,
    /// Remotes that are not mounted.
    needed: RefCell<Vec<Remote>>,
    /// Remotes that were read, by where they are mounted.
    remotes: RefCell<HashMap<RepoPath, Rc<RemoteOrigin>>>,
    warnings: RefCell<Vec<String>>,
}

/// How `buildMetadata` tells of a remote.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RemoteOrigin {
    pub repository: String,
    /// Empty where the URL names none.
    pub reference: String,
    /// The path in the repository of a remote that is one file.
    file: Option<String>,
}

/// Where a file is, for `buildMetadata`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// As seen from the directory that is built; in a remote, from the top of its repository.
    pub path: String,
    pub remote: Option<Rc<RemoteOrigin>>,
}

impl<'a> Loader<'a> {
    pub fn new(files: &'a Files, options: &'a Options) -> Self {
        Self {
            files,
            options,
            manifests: RefCell::default(),
            configurations: RefCell::default(),
            directories: RefCell::default(),
            needed: RefCell::default(),
            remotes: RefCell::default(),
            warnings: RefCell::default(),
        }
    }

    /// The remotes that the build met and that are not mounted.
    pub fn needed(&self) -> Vec<Remote> {
        self.needed.take()
    }

    /// What is doubtful about the remotes.
    pub fn warnings(&self) -> Vec<String> {
        self.warnings.take()
    }

    /// Where a file is, as seen from the directory that is built.
    pub fn place(&self, file: &RepoPath, top: &RepoPath) -> Place {
        let mount = self.files.boundary(file);
        let Some(remote) = self.remotes.borrow().get(&mount).cloned() else {
            return Place { path: relative(file, top), remote: None };
        };
        let inside = || file.relative_to(&mount).unwrap_or_default().to_owned();
        Place { path: remote.file.clone().unwrap_or_else(inside), remote: Some(remote) }
    }

    /// What is left for the build.
    pub fn budget(&self) -> &'a Budget {
        self.files.budget()
    }

    /// The root that the build was asked for.
    pub fn top(&self, directory: &RepoPath) -> Result<Rc<Root>, KustomizeError> {
        let (directory, file) = self.locate(directory)?;
        Ok(Rc::new(Root { directory, file, parent: None, depth: 1 }))
    }

    /// The root that an entry of another one's kustomization names.
    pub fn enter(&self, from: &Rc<Root>, entry: &str) -> Result<Rc<Root>, KustomizeError> {
        let path = match remote(entry)? {
            Some(location) if location.is_file() => {
                return Err(KustomizeError::invalid(format!(
                    "'{}' is a file: a directory with a kustomization file is needed here",
                    location.remote
                )));
            }
            Some(location) => self.mounted(&location)?.join_lenient(&location.directory)?,
            None => self.join(from, entry)?,
        };
        let (directory, file) = self.locate(&path)?;
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

    /// The path that an entry names. None leads from one repository to another.
    fn join(&self, root: &Root, entry: &str) -> Result<RepoPath, KustomizeError> {
        let path = root.directory.join_lenient(entry)?;
        if self.files.boundary(&path) != self.files.boundary(&root.directory) {
            return Err(PathError::Escapes(entry.to_owned()).into());
        }
        Ok(path)
    }

    /// Where a remote is mounted.
    fn mounted(&self, location: &Location) -> Result<RepoPath, KustomizeError> {
        let remote = &location.remote;
        let mount = remote.mount();
        if self.files.boundary(&mount) != mount {
            let mut needed = self.needed.borrow_mut();
            if !needed.contains(remote) {
                needed.push(remote.clone());
            }
            return Err(KustomizeError::Remotes(vec![remote.clone()]));
        }
        self.remotes.borrow_mut().entry(mount.clone()).or_insert_with(|| {
            if let Some(warning) = location.warning {
                self.warnings.borrow_mut().push(format!("'{remote}': {warning}"));
            }
            let reference = match &remote.source {
                RemoteSource::Repository { revision, .. } if revision != "HEAD" => revision.clone(),
                _ => String::new(),
            };
            let file = location.is_file().then(|| location.directory.clone());
            Rc::new(RemoteOrigin { repository: location.written.clone(), reference, file })
        });
        Ok(mount)
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
        let options = yaml::Options::new(Schema::Yaml11, DuplicateKeys::LastWins);
        let documents = match parsed::documents(self.files, file, CONFIGURATION, &options) {
            Ok(documents) => documents,
            // What follows the first document is never looked at.
            Err(Unparsed::Yaml { file, source }) if source.documents_before > 0 => {
                let text = self.files.read(&file)?;
                let lines = String::from_utf8_lossy(&text);
                yaml::parse(first_part(&lines).as_bytes(), &options)
                    .map_err(|_| KustomizeError::Yaml { file, source })?
            }
            Err(error) => return Err(error.into()),
        };
        let value = Rc::new(documents.into_iter().next().map_or(Value::Null, |document| document.value));
        self.configurations.borrow_mut().insert(file.clone(), Rc::clone(&value));
        Ok(value)
    }

    /// Adds the line to an error about a field of a file.
    pub fn located(&self, error: KustomizeError) -> KustomizeError {
        match error {
            KustomizeError::Decode { file, source } => {
                let text = self.files.read(&file).unwrap_or_default();
                KustomizeError::Decode { file, source: source.located_in(&text) }
            }
            other => other,
        }
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
    pub fn manifests(&self, root: &Root, entry: &str) -> Result<Vec<Manifest>, KustomizeError> {
        let file = self.file(root, entry)?;
        let is_known = match self.manifests.borrow().get(&file) {
            Some(Some(known)) => return Ok(known.clone()),
            Some(None) => true,
            None => false,
        };
        let documents = parsed::documents(self.files, &file, RESOURCES, &Manifest::reading())?;
        let manifests = Manifest::from_documents(documents, Some(&file))?;
        self.manifests.borrow_mut().insert(file, is_known.then(|| manifests.clone()));
        Ok(manifests)
    }

    /// The documents of a file that is a patch, and where it is.
    pub fn patch(
        &self,
        root: &Root,
        entry: &str,
        form: PatchForm,
    ) -> Result<(RepoPath, Vec<Document>), KustomizeError> {
        let file = self.file(root, entry)?;
        let documents = self.patch_documents(&file, form)?;
        Ok((file, documents))
    }

    /// The documents of a patch in a file that has been found.
    pub fn patch_documents(&self, file: &RepoPath, form: PatchForm) -> Result<Vec<Document>, KustomizeError> {
        Ok(parsed::documents(self.files, file, form.kept_as(), &form.reading())?)
    }

    /// What an entry of `resources` (or of the plugin lists) leads to.
    pub fn entry(&self, root: &Root, entry: &str) -> Result<Entry, KustomizeError> {
        if entry.is_empty() {
            return Err(KustomizeError::invalid("the entry is empty: it must name a file or a directory"));
        }
        if remote::is_http(entry) {
            return match remote(entry)? {
                Some(location) if location.is_file() => self.manifests(root, entry).map(Entry::File),
                _ => Ok(Entry::Directory),
            };
        }
        let path = match self.join(root, entry) {
            Ok(path) => path,
            Err(_) if remote::is_remote(entry) => return Ok(Entry::Directory),
            Err(error) => return Err(error),
        };
        if self.directories.borrow().contains_key(&path) {
            return Ok(Entry::Directory);
        }
        match self.files.kind(&path)? {
            Some(EntryKind::File) => self.manifests(root, entry).map(Entry::File),
            _ => Ok(Entry::Directory),
        }
    }

    fn file(&self, root: &Root, entry: &str) -> Result<RepoPath, KustomizeError> {
        if remote::is_http(entry) {
            let location = remote::file(entry).map_err(|problem| invalid_url(entry, &problem))?;
            return self.mounted(&location);
        }
        let path = self.join(root, entry)?;
        let Some(real) = self.files.real_path(&path)? else {
            return Err(KustomizeError::invalid(format!("file '{path}' does not exist in the source")));
        };
        if !self.files.is_file(&real)? {
            return Err(KustomizeError::invalid(format!("'{path}' is a directory: a file is needed here")));
        }
        // In a repository that is not the user's own the restriction always holds.
        let is_lifted = self.options.load_restrictor == LoadRestrictor::None
            && self.files.boundary(&root.directory).is_root();
        let is_allowed = is_lifted || real.is_within(&root.directory);
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

/// Where an entry leads if that is elsewhere.
fn remote(entry: &str) -> Result<Option<Location>, KustomizeError> {
    remote::parse(entry).map_err(|problem| invalid_url(entry, &problem))
}

fn invalid_url(entry: &str, problem: &str) -> KustomizeError {
    // A URL may carry credentials before the `@`.
    let shown = match (entry.split_once("://"), entry.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, rest))) => format!("{scheme}://…@{rest}"),
        _ => entry.to_owned(),
    };
    KustomizeError::invalid(format!("'{shown}' {problem}"))
}

/// Where a file is as seen from a directory, with `..` where it lies elsewhere.
fn relative(file: &RepoPath, directory: &RepoPath) -> String {
    let file: Vec<&str> = file.components().collect();
    let directory: Vec<&str> = directory.components().collect();
    let common = file.iter().zip(&directory).take_while(|(a, b)| a == b).count();
    let up = directory.iter().skip(common).map(|_| "..");
    up.chain(file.into_iter().skip(common)).collect::<Vec<_>>().join("/")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_url_is_shown_without_its_password() {
        let text = invalid_url("https://user:s3cret@host", "has no path").to_string();
        assert!(text.contains("host") && !text.contains("s3cret"), "{text}");
    }
}
