//! Entries of a kustomization that lead elsewhere: directories in other repositories, and single files behind URLs.
//!
//! ```text
//! entry ──parse──▶ Location { remote, directory } ──▶ Remote::mount: where the caller mounts what it fetched
//! ```
//!
//! Nothing is fetched here. A build that meets a remote which is not mounted in its [`Files`](crate::files::Files) goes on
//! to find the others, and ends with the list of them; whoever called it fetches what is permitted and builds again. How a
//! URL splits into repository, directory and parameters is kustomize's rule, with two differences: submodules are never
//! fetched, and whether an `http(s)` URL is a file or a repository is told by its looks, where kustomize downloads it to see.

use std::{fmt, time::Duration};

use url::{Url, form_urlencoded};

use crate::{files::RepoPath, git::RepoUrl};

/// How long fetching one remote may take where its URL does not say.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(27);
/// And at most.
const MAX_TIMEOUT: Duration = Duration::from_secs(120);
const SCHEMES: [&str; 4] = ["ssh://", "https://", "http://", "file://"];

/// Something outside of the repository that a kustomization reads.
#[derive(Clone, Debug)]
pub struct Remote {
    /// What it is and where.
    pub source: RemoteSource,
    /// How long fetching it may take.
    pub timeout: Duration,
}

/// What a remote is and where.
#[derive(Clone, Debug)]
pub enum RemoteSource {
    /// The tree of a repository.
    Repository {
        /// The repository.
        url: RepoUrl,
        /// Branch, tag or commit; `HEAD` where the URL names none.
        revision: String,
    },
    /// One file, over HTTP.
    File {
        /// Its URL.
        url: Url,
    },
}

/// Two remotes are the same if they are mounted in the same place.
impl PartialEq for Remote {
    fn eq(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }
}

impl Eq for Remote {}

/// The URL without user information, which may be a password.
impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            RemoteSource::Repository { url, revision } if revision == "HEAD" => write!(f, "{url}"),
            RemoteSource::Repository { url, revision } => write!(f, "{url}?ref={revision}"),
            RemoteSource::File { url } => {
                let mut url = url.clone();
                // Neither can fail for a URL with a host.
                let _ = url.set_username("");
                let _ = url.set_password(None);
                url.fmt(f)
            }
        }
    }
}

impl Remote {
    /// The remote that a URL of a directory leads to, and where the directory is once it is mounted; `None` for a local path.
    ///
    /// # Errors
    /// What is wrong with the URL, as a clause.
    pub fn locate(url: &str) -> Result<Option<(Self, RepoPath)>, String> {
        let Some(location) = parse(url)?.filter(|location| !location.is_file()) else {
            return Ok(None);
        };
        let directory = location.remote.mount().join_lenient(&location.directory);
        Ok(Some((location.remote, directory.map_err(|error| error.to_string())?)))
    }

    /// The path under which a build looks for the tree of the repository (or the file).
    pub fn mount(&self) -> RepoPath {
        // A revision or a query may hold `..`, which is no step here.
        let text = self.to_string().replace("..", "%2E%2E");
        RepoPath::root().join_lenient(&text).unwrap_or_default()
    }

    /// Whether both are of one repository (or the same file), at whatever revision.
    pub fn is_same_place(&self, other: &Self) -> bool {
        match (&self.source, &other.source) {
            (RemoteSource::Repository { url: a, .. }, RemoteSource::Repository { url: b, .. }) => {
                a.normalized() == b.normalized()
            }
            _ => self == other,
        }
    }

    /// Whether it can come to mean something else: all but a commit's full id.
    pub fn moves(&self) -> bool {
        match &self.source {
            RemoteSource::Repository { revision, .. } => crate::git::CommitId::parse(revision).is_none(),
            RemoteSource::File { .. } => true,
        }
    }
}

/// A remote, and the directory in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Location {
    pub remote: Remote,
    /// Relative to the top of the repository; of a single file, its path there.
    pub directory: String,
    /// The repository as the entry writes it, for `buildMetadata`.
    pub written: String,
    /// What the entry asks for and does not get.
    pub warning: Option<&'static str>,
}

impl Location {
    /// Whether this is one file and not a repository.
    pub fn is_file(&self) -> bool {
        matches!(self.remote.source, RemoteSource::File { .. })
    }
}

/// Where an entry of `resources` or `components` leads if it is no local path.
///
/// # Errors
/// A problem with a URL, as a clause.
pub(super) fn parse(entry: &str) -> Result<Option<Location>, String> {
    if is_http(entry) && looks_like_file(entry) {
        return file(entry).map(Some);
    }
    repository(entry)
}

/// Whether an entry leads elsewhere.
pub(crate) fn is_remote(entry: &str) -> bool {
    is_http(entry) || !matches!(repository(entry), Ok(None))
}

pub(super) fn is_http(entry: &str) -> bool {
    strip_prefix_ignoring_case(entry, "https://").is_some()
        || strip_prefix_ignoring_case(entry, "http://").is_some()
}

/// One file behind a URL.
pub(super) fn file(entry: &str) -> Result<Location, String> {
    let url = Url::parse(entry).map_err(|error| format!("is no URL ({error})"))?;
    if url.host_str().is_none() {
        return Err("has no host".to_owned());
    }
    let remote = Remote { source: RemoteSource::File { url }, timeout: DEFAULT_TIMEOUT };
    // kustomize's records speak of any URL as of one into a repository.
    let (written, directory) = match repository(entry) {
        Ok(Some(location)) => (location.written, location.directory),
        _ => (entry.to_owned(), String::new()),
    };
    Ok(Location { remote, directory, written, warning: None })
}

/// A URL without the marks of a repository, with the name of a YAML or JSON file in it.
fn looks_like_file(entry: &str) -> bool {
    let path = entry.split(['?', '#']).next().unwrap_or(entry);
    let rest = path.split_once("://").map_or(path, |(_, rest)| rest);
    let has_marker =
        rest.contains("//") || rest.contains(".git/") || rest.ends_with(".git") || rest.contains("_git/");
    let is_manifest = |segment: &str| {
        let segment = segment.to_ascii_lowercase();
        [".yaml", ".yml", ".json"].iter().any(|ending| segment.ends_with(ending))
    };
    !has_marker && rest.split('/').skip(1).any(is_manifest)
}

fn repository(entry: &str) -> Result<Option<Location>, String> {
    if entry.starts_with('/') {
        return Ok(None);
    }
    let (address, query) = entry.split_once('?').unwrap_or((entry, ""));
    let address = strip_prefix_ignoring_case(address, "git::").unwrap_or(address);
    let scheme = SCHEMES.iter().find(|scheme| strip_prefix_ignoring_case(address, scheme).is_some());
    let rest = scheme.and_then(|scheme| address.get(scheme.len()..)).unwrap_or(address);
    let (user, rest) = user(rest);
    let is_github =
        ["github.com/", "github.com:"].iter().any(|host| strip_prefix_ignoring_case(rest, host).is_some());
    if scheme.is_none() && user.is_empty() && !is_github {
        return Ok(None);
    }
    let (base, path, default_segments) = match scheme {
        Some(&"file://") => ("file://".to_owned(), format!("{user}{rest}"), usize::MAX),
        _ => {
            let separator = match (rest.find('/'), rest.find(':')) {
                (slash, Some(colon)) if scheme.is_none() && slash.is_none_or(|slash| colon < slash) => {
                    Some(colon)
                }
                (slash, _) => slash,
            };
            let split = separator.and_then(|at| Some((rest.get(..=at)?, rest.get(at + 1..)?)));
            let Some((host, path)) = split.filter(|(host, _)| host.len() > 1) else {
                // Such an address is no URL for kustomize either; with a scheme it cannot be anything else.
                return if scheme.is_some() {
                    Err("has no path to a repository".to_owned())
                } else {
                    Ok(None)
                };
            };
            let base = match scheme {
                _ if is_github && (scheme == Some(&"ssh://") || !user.is_empty()) => {
                    format!("{}github.com:", if user.is_empty() { "git@" } else { user })
                }
                _ if is_github => "https://github.com/".to_owned(),
                Some(scheme) => format!("{scheme}{user}{host}"),
                None => format!("{user}{host}"),
            };
            (base, path.to_owned(), 2)
        }
    };
    let Some((repository, directory)) = split(&path, default_segments) else {
        return if scheme.is_some() || is_github {
            Err("names no repository: write HOST/ORGANISATION/REPOSITORY//DIRECTORY".to_owned())
        } else {
            Ok(None)
        };
    };
    let directory = directory.trim_start_matches('/').to_owned();
    if RepoPath::root().join_lenient(&directory).is_err() {
        return Err("leads out of its repository".to_owned());
    }
    let parameters = Parameters::read(query);
    let written = format!("{base}{repository}");
    let url = RepoUrl::parse(&written).map_err(|error| error.to_string())?;
    let warning = parameters
        .submodules
        .then_some("'submodules=true' has no effect: the submodules of remote bases are not fetched");
    let source = RemoteSource::Repository { url, revision: parameters.revision };
    let remote = Remote { source, timeout: parameters.timeout };
    Ok(Some(Location { remote, directory, written, warning }))
}

/// The user before an `@`, with the `@`.
fn user(text: &str) -> (&str, &str) {
    let is_user = |user: &str| {
        user.starts_with(|c: char| c.is_ascii_alphabetic())
            && user.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    match text.split_once('@') {
        Some((user, _)) if is_user(user) => text.split_at_checked(user.len() + 1).unwrap_or(("", text)),
        _ => ("", text),
    }
}

/// Repository and directory: after `_git/` and one segment (Azure DevOps), at `//`, after `.git`, or after the first
/// segments.
fn split(path: &str, default_segments: usize) -> Option<(String, String)> {
    let (repository, directory) = if let Some((before, after)) = path.split_once("_git/") {
        let (name, directory) = after.split_once('/').unwrap_or((after, ""));
        (format!("{before}_git/{name}"), directory.to_owned())
    } else if let Some((repository, directory)) = path.split_once("//") {
        (repository.to_owned(), directory.to_owned())
    } else if let Some((before, after)) = path.split_once(".git") {
        (format!("{before}.git"), after.to_owned())
    } else if default_segments == usize::MAX {
        (path.to_owned(), String::new())
    } else {
        let segments: Vec<&str> = path.split('/').collect();
        if segments.len() < default_segments {
            return None;
        }
        let (repository, directory) = segments.split_at(default_segments);
        (repository.join("/"), directory.join("/"))
    };
    (!repository.is_empty()).then_some((repository, directory))
}

struct Parameters {
    revision: String,
    timeout: Duration,
    submodules: bool,
}

impl Parameters {
    /// `ref` (or `version`), `timeout` and `submodules`; others have no meaning.
    fn read(query: &str) -> Self {
        let get = |name: &str| {
            let found = form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name);
            found.map(|(_, value)| value.into_owned()).filter(|value| !value.is_empty())
        };
        let timeout = get("timeout").and_then(|text| seconds(&text)).unwrap_or(DEFAULT_TIMEOUT);
        Self {
            revision: get("ref").or_else(|| get("version")).unwrap_or_else(|| "HEAD".to_owned()),
            timeout: timeout.min(MAX_TIMEOUT),
            submodules: get("submodules")
                .is_some_and(|text| matches!(text.as_str(), "1" | "t" | "T" | "true" | "TRUE" | "True")),
        }
    }
}

/// Whole seconds, or a duration with units as Go writes it (`1m30s`).
fn seconds(text: &str) -> Option<Duration> {
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds)).filter(|timeout| !timeout.is_zero());
    }
    let mut total = 0.0f64;
    let mut rest = text;
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (value, units) = rest.split_at_checked(number)?;
        let unit_length = units.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(units.len());
        let (unit, after) = units.split_at_checked(unit_length)?;
        let scale = match unit {
            "ns" => 1e-9,
            "us" | "µs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        total += value.parse::<f64>().ok()? * scale;
        rest = after;
    }
    Duration::try_from_secs_f64(total).ok().filter(|timeout| !timeout.is_zero())
}

fn strip_prefix_ignoring_case<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (start, rest) = text.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Repository, revision and directory.
    fn parsed(entry: &str) -> (String, String, String) {
        let location = parse(entry).unwrap_or_else(|problem| panic!("{entry} {problem}"));
        let location = location.unwrap_or_else(|| panic!("{entry} is local"));
        match location.remote.source {
            RemoteSource::Repository { url, revision } => (url.to_string(), revision, location.directory),
            RemoteSource::File { url } => (url.to_string(), "file".to_owned(), location.directory),
        }
    }

    #[test]
    fn each_spelling_of_a_repository_splits_as_kustomize_splits_it() {
        for (entry, repository, revision, directory) in [
            ("https://github.com/org/repo//base?ref=v1", "https://github.com/org/repo", "v1", "base"),
            ("https://github.com/org/repo/a/b?ref=v1", "https://github.com/org/repo", "v1", "a/b"),
            ("github.com/org/repo?ref=v1", "https://github.com/org/repo", "v1", ""),
            ("GitHub.com/org/repo", "https://github.com/org/repo", "HEAD", ""),
            ("github.com:org/repo//base", "https://github.com/org/repo", "HEAD", "base"),
            ("git@github.com:org/repo//base?ref=main", "git@github.com:org/repo", "main", "base"),
            ("git@github.com/org/repo.git/base", "git@github.com:org/repo.git", "HEAD", "base"),
            ("ssh://git@github.com/org/repo//base", "git@github.com:org/repo", "HEAD", "base"),
            ("https://user@github.com/org/repo", "user@github.com:org/repo", "HEAD", ""),
            (
                "git::https://host.example/org/repo.git//base",
                "https://host.example/org/repo.git",
                "HEAD",
                "base",
            ),
            (
                "https://host.example/group/sub/repo.git/base?version=2",
                "https://host.example/group/sub/repo.git",
                "2",
                "base",
            ),
            ("https://host.example/group/sub/repo//", "https://host.example/group/sub/repo", "HEAD", ""),
            ("https://host.example:8443/org/repo", "https://host.example:8443/org/repo", "HEAD", ""),
            (
                "ssh://git@host.example:2222/org/repo//base",
                "ssh://git@host.example:2222/org/repo",
                "HEAD",
                "base",
            ),
            (
                "git@host.example:group/sub/repo.git//base",
                "git@host.example:group/sub/repo.git",
                "HEAD",
                "base",
            ),
            ("user@host.example:org/repo/base", "user@host.example:org/repo", "HEAD", "base"),
            (
                "https://user@dev.azure.com/org/project/_git/repo/a/b?ref=main",
                "https://dev.azure.com/org/project/_git/repo",
                "main",
                "a/b",
            ),
            ("file:///srv/repos/base.git//overlay", "file:///srv/repos/base.git", "HEAD", "overlay"),
            ("file:///srv/repos/base", "file:///srv/repos/base", "HEAD", ""),
            ("https://github.com/o/r?version=a&ref=b", "https://github.com/o/r", "b", ""),
            ("https://github.com/o/r//x.yaml", "https://github.com/o/r", "HEAD", "x.yaml"),
        ] {
            let expected = (repository.to_owned(), revision.to_owned(), directory.to_owned());
            assert_eq!(parsed(entry), expected, "{entry}");
        }
    }

    #[test]
    fn urls_of_manifests_are_files() {
        for entry in [
            "https://raw.githubusercontent.com/org/repo/v1/deploy.yaml",
            "https://github.com/org/repo/releases/download/v1/install.YAML?x=1",
            "http://host/api/v4/projects/1/files/a.json/raw?ref=main",
        ] {
            assert_eq!(parsed(entry).1, "file", "{entry}");
        }
    }

    #[test]
    fn local_paths_are_no_urls() {
        for entry in [
            "../base",
            "github.community/x",
            "a@b",
            "dir/user@host:x",
            "base?ref=v1",
            "/srv/x",
            "a.git",
            "github.com",
        ] {
            assert_eq!(parse(entry), Ok(None), "{entry}");
            assert!(!is_remote(entry), "{entry}");
        }
    }

    #[test]
    fn addresses_that_lead_nowhere_are_refused() {
        for entry in [
            "https://github.com/org",
            "https://host",
            "https://host/org/repo//../x",
            "ssh://git@host/-x/repo",
            "https://host/org/../repo/x",
        ] {
            assert!(parse(entry).is_err(), "{entry}");
            assert!(is_remote(entry), "{entry}");
        }
    }

    #[test]
    fn timeouts_are_seconds_or_durations_and_have_a_limit() {
        for (query, expected) in [
            ("", 27_000),
            ("timeout=61", 61_000),
            ("timeout=1m0.5s", 60_500),
            ("timeout=2h", 120_000),
            ("timeout=0", 27_000),
            ("timeout=-1s", 27_000),
            ("timeout=x", 27_000),
        ] {
            assert_eq!(Parameters::read(query).timeout.as_millis(), expected, "{query}");
        }
        let location = parse("https://github.com/o/r?submodules=true").unwrap().unwrap();
        assert!(location.warning.is_some());
        let location = parse("https://github.com/o/r?submodules=false&depth=1").unwrap().unwrap();
        assert!(location.warning.is_none());
    }

    #[test]
    fn a_remote_is_shown_and_mounted_without_its_password() {
        for entry in ["https://user:s3cret@host/org/repo?ref=v1", "https://user:s3cret@host/a.yaml"] {
            let Ok(Some(location)) = parse(entry) else { panic!("{entry}") };
            assert!(
                !format!("{} {}", location.remote, location.remote.mount()).contains("s3cret"),
                "{entry}"
            );
        }
        let mount = |entry: &str| parse(entry).unwrap().unwrap().remote.mount();
        assert_eq!(mount("https://host/org/repo?ref=v1").to_string(), "https://host/org/repo?ref=v1");
        assert_ne!(mount("https://host/org/repo?ref=v1"), mount("https://host/org/repo?ref=v2"));
        assert_eq!(mount("https://host/org/repo?ref=../x").components().count(), 5);
    }
}
