//! A repository to read from, and somebody who reads.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use skiff::{
    files::{RepoPath, Tree},
    git::{
        CommitId, Credentials, GitError, GitObserver, GitOptions, GitTree, References, RepoUrl, Repositories,
        Request, RevisionSpec, writer,
    },
};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// Runs `git` away from the configuration of whoever runs the tests, and returns what it prints.
pub fn git(directory: &Path, arguments: &[&str]) -> String {
    let output = git_command(directory).args(arguments).stdin(Stdio::null()).output();
    let output = output.expect("`git` runs; install the package git");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "git {arguments:?}: {stderr}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

pub fn git_command(directory: &Path) -> Command {
    let mut command = Command::new("git");
    command.current_dir(directory).env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
    for role in ["AUTHOR", "COMMITTER"] {
        command.env(format!("GIT_{role}_NAME"), "Test").env(format!("GIT_{role}_EMAIL"), "test@example.com");
    }
    command
}

pub fn author() -> writer::Author {
    writer::Author::new("Test", "test@example.com")
}

pub fn path(text: &str) -> RepoPath {
    RepoPath::parse(text).unwrap()
}

pub fn write(name: &str, content: &str) -> writer::Change {
    writer::Change::Write(path(name), content.as_bytes().to_vec())
}

/// A bare repository in a directory of its own.
pub struct Upstream {
    pub root: TempDir,
}

impl Upstream {
    pub fn empty() -> Self {
        let root = TempDir::new().unwrap();
        writer::init(&root.path().join("repo"), true).unwrap();
        Self { root }
    }

    /// With one commit on `main` that writes `file` with the content `one`.
    pub fn new() -> Self {
        let upstream = Self::empty();
        upstream.commit("main", &[write("file", "one")]);
        upstream
    }

    pub fn directory(&self) -> PathBuf {
        self.root.path().join("repo")
    }

    pub fn commit(&self, branch: &str, changes: &[writer::Change]) -> CommitId {
        writer::commit(&self.directory(), branch, changes, "a commit", &author()).unwrap()
    }

    pub fn git(&self, arguments: &[&str]) -> String {
        git(&self.directory(), arguments)
    }

    pub fn file_url(&self) -> RepoUrl {
        RepoUrl::parse(&format!("file://{}", self.directory().display())).unwrap()
    }
}

/// Counts requests, and keeps the certificates that servers show.
#[derive(Default)]
pub struct Counter(Mutex<Vec<(Request, bool)>>, Mutex<Vec<(String, Vec<u8>)>>);

impl Counter {
    pub fn certificates(&self) -> Vec<(String, Vec<u8>)> {
        self.1.lock().unwrap().clone()
    }

    pub fn count(&self, request: Request) -> usize {
        self.0.lock().unwrap().iter().filter(|(kind, _)| *kind == request).count()
    }
}

impl GitObserver for Counter {
    fn request(&self, _: &RepoUrl, request: Request, _: Duration, ok: bool) {
        self.0.lock().unwrap().push((request, ok));
    }

    fn server_certificate(&self, host: &str, der: &[u8]) {
        self.1.lock().unwrap().push((host.to_owned(), der.to_vec()));
    }
}

/// Somebody who reads repositories.
pub struct Reader {
    pub cache: Arc<TempDir>,
    pub repositories: Repositories,
    pub counter: Arc<Counter>,
    pub credentials: Credentials,
    pub cancel: CancellationToken,
}

impl Reader {
    pub fn new() -> Self {
        Self::with(Arc::new(TempDir::new().unwrap()), |_| {})
    }

    pub fn with(cache: Arc<TempDir>, adjust: impl FnOnce(&mut GitOptions)) -> Self {
        let counter = Arc::new(Counter::default());
        let mut options = GitOptions::new(cache.path().to_owned());
        adjust(&mut options);
        let repositories = Repositories::new(options, Some(Arc::clone(&counter) as Arc<dyn GitObserver>));
        Self {
            cache,
            repositories,
            counter,
            credentials: Credentials::default(),
            cancel: CancellationToken::new(),
        }
    }

    pub fn with_credentials(mut self, credentials: Credentials) -> Self {
        self.credentials = credentials;
        self
    }

    pub async fn references(&self, url: &RepoUrl) -> Result<Arc<References>, GitError> {
        self.repositories.references(url, &self.credentials, &self.cancel).await
    }

    pub async fn resolve(&self, url: &RepoUrl, revision: &str) -> Result<CommitId, GitError> {
        let references = self.references(url).await?;
        let revision = RevisionSpec::parse(revision, None).unwrap();
        self.repositories.resolve(url, &self.credentials, &revision, &references, &self.cancel).await
    }

    pub async fn tree(&self, url: &RepoUrl, commit: &CommitId) -> Result<Arc<GitTree>, GitError> {
        self.repositories.commit_tree(url, &self.credentials, commit, &self.cancel).await
    }

    /// The content of a file at a revision, the whole way from the listing.
    pub async fn read(&self, url: &RepoUrl, revision: &str, file: &str) -> Result<String, GitError> {
        let commit = self.resolve(url, revision).await?;
        let tree = self.tree(url, &commit).await?;
        let content = tree.content(&path(file), 1 << 20).unwrap();
        Ok(String::from_utf8(content.to_vec()).unwrap())
    }

    /// The directory of the only mirror.
    pub fn mirror(&self) -> PathBuf {
        let directories = |directory: &Path| -> Vec<PathBuf> {
            std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect()
        };
        let mirrors: Vec<_> =
            directories(self.cache.path()).into_iter().filter(|path| !path.ends_with("home")).collect();
        assert_eq!(mirrors.len(), 1, "{mirrors:?}");
        let generations = directories(&mirrors[0]);
        assert_eq!(generations.len(), 1, "{generations:?}");
        generations[0].clone()
    }
}
