//! Paths inside of a repository.

use std::fmt;

/// A path from the root of a tree: components joined by `/`, no `.`, no `..`, no leading or trailing slash.
///
/// The root is the empty path and prints as `.`. Nothing that is not inside the tree can be written as a `RepoPath`.
/// A tree that is mounted under its URL keeps one slash behind the scheme; it prints with both.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct RepoPath(String);

/// Why a text is no path inside of a repository.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// It begins with `/`.
    #[error("path '{0}' is absolute: give it relative to the root of the repository")]
    Absolute(String),
    /// Its `..` climb above the root.
    #[error("path '{0}' leads out of the repository")]
    Escapes(String),
    /// It holds a NUL byte or is longer than 4,096 bytes.
    #[error("path {0:?} is not a valid file path")]
    Invalid(String),
}

impl RepoPath {
    /// The root of the tree.
    pub fn root() -> Self {
        Self(String::new())
    }

    /// Reads a path that a person wrote, relative to the root. `.` and empty components are dropped, `..` is an error
    /// even where it would stay inside: an Application's `path` has no reason to climb.
    ///
    /// # Errors
    /// See [`PathError`].
    pub fn parse(text: &str) -> Result<Self, PathError> {
        if text.split('/').any(|component| component == "..") {
            return Err(PathError::Escapes(text.to_owned()));
        }
        Self::root().join_lenient(text)
    }

    /// This path with a relative path behind it. `..` climbs, but never above the root.
    ///
    /// # Errors
    /// See [`PathError`].
    pub fn join_lenient(&self, relative: &str) -> Result<Self, PathError> {
        if relative.starts_with('/') {
            return Err(PathError::Absolute(relative.to_owned()));
        }
        if relative.contains('\0') || relative.len() > 4096 {
            return Err(PathError::Invalid(relative.chars().take(80).collect()));
        }
        let mut components: Vec<&str> = self.components().collect();
        for component in relative.split('/') {
            match component {
                "" | "." => {}
                ".." => {
                    if components.pop().is_none() {
                        return Err(PathError::Escapes(relative.to_owned()));
                    }
                }
                name => components.push(name),
            }
        }
        Ok(Self(components.join("/")))
    }

    /// This directory's entry of one name.
    ///
    /// # Errors
    /// [`PathError::Invalid`] when the name is empty, `.`, `..`, or holds a slash.
    pub fn join(&self, name: &str) -> Result<Self, PathError> {
        if name.is_empty() || name == "." || name == ".." || name.contains(['/', '\0']) {
            return Err(PathError::Invalid(name.to_owned()));
        }
        Ok(Self(if self.is_root() { name.to_owned() } else { format!("{}/{name}", self.0) }))
    }

    /// Whether this is the root.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The components from the root down.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/').filter(|component| !component.is_empty())
    }

    /// The last component; `None` for the root.
    pub fn file_name(&self) -> Option<&str> {
        self.components().next_back()
    }

    /// The directory that holds this entry; `None` for the root.
    pub fn parent(&self) -> Option<Self> {
        if self.is_root() {
            return None;
        }
        Some(Self(self.0.rsplit_once('/').map_or(String::new(), |(parent, _)| parent.to_owned())))
    }

    /// Whether this path is `directory` itself or something below it.
    pub fn is_within(&self, directory: &Self) -> bool {
        self.relative_to(directory).is_some()
    }

    /// This path as seen from `directory` (empty for the directory itself); `None` when it lies elsewhere.
    pub fn relative_to(&self, directory: &Self) -> Option<&str> {
        if directory.is_root() {
            return Some(&self.0);
        }
        let rest = self.0.strip_prefix(directory.0.as_str())?;
        if rest.is_empty() { Some(rest) } else { rest.strip_prefix('/') }
    }

    /// The path as Git writes it; empty for the root.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RepoPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_root() {
            return f.write_str(".");
        }
        match self.0.split_once('/') {
            Some((scheme @ ("https:" | "http:" | "ssh:" | "file:"), rest)) => write!(f, "{scheme}//{rest}"),
            _ => f.write_str(&self.0),
        }
    }
}

impl fmt::Debug for RepoPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{self}'")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_cannot_leave_the_tree() {
        assert_eq!(RepoPath::parse("a/./b//c/").unwrap().as_str(), "a/b/c");
        assert!(RepoPath::parse(".").unwrap().is_root());
        for text in ["..", "a/../b", "../a", "/etc/passwd", "a\0b"] {
            assert!(RepoPath::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_relative_path_may_climb_but_not_above_the_root() {
        let overlay = RepoPath::parse("overlays/dev").unwrap();
        assert_eq!(overlay.join_lenient("../../base").unwrap().as_str(), "base");
        assert!(overlay.join_lenient("../../../base").is_err());
        assert!(overlay.join_lenient("/base").is_err());
    }

    #[test]
    fn a_name_that_begins_alike_is_not_within() {
        let apps = RepoPath::parse("apps").unwrap();
        assert!(RepoPath::parse("apps/a").unwrap().is_within(&apps));
        assert!(!RepoPath::parse("apps-old/a").unwrap().is_within(&apps));
        assert!(apps.is_within(&RepoPath::root()));
    }
}
