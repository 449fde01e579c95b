//! From what a person writes as `targetRevision` to a commit.

use super::{
    references::{CommitId, References},
    semver::{Constraint, Version},
};

/// Revisions longer than this are refused; Git's own limit for a reference is about the same.
const MAX_LENGTH: usize = 1024;

/// A revision as written in a source: branch, tag, `HEAD`, commit id (full or at least seven digits), or a semantic
/// version range over tags. It cannot begin with `-` nor hold control characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RevisionSpec {
    text: String,
    tag_prefix: Option<String>,
    /// Whether it can only be a reference or a commit, no version.
    is_exact: bool,
}

/// Why a revision leads to no commit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RevisionError {
    /// The text can be no revision.
    #[error("revision {revision:?} {problem}")]
    Invalid {
        /// The text.
        revision: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Nothing of that name exists.
    #[error(
        "unable to resolve '{revision}' to a commit SHA: no branch, tag or commit of that name exists; push it or correct targetRevision"
    )]
    Unknown {
        /// The text.
        revision: String,
    },
    /// No tag satisfies the range.
    #[error(
        "unable to resolve '{revision}' to a commit SHA: none of the {tags} tags is a version in that range"
    )]
    NoTagInRange {
        /// The text.
        revision: String,
        /// How many tags there are.
        tags: usize,
    },
    /// Several commits begin with these digits.
    #[error("commit id '{revision}' is ambiguous: give more digits")]
    Ambiguous {
        /// The text.
        revision: String,
    },
    /// The repository holds no commit yet.
    #[error("unable to resolve '{revision}' to a commit SHA: the repository is empty; push a first commit")]
    EmptyRepository {
        /// The text.
        revision: String,
    },
}

/// Where a revision leads as far as references tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Resolution {
    Commit(CommitId),
    /// The first digits of a commit id that is behind none of the references.
    Abbreviated(String),
}

impl RevisionSpec {
    /// Reads `targetRevision`; empty is `HEAD`. With a `tag_prefix` (source field `tagPrefix`) only tags that begin with it
    /// are versions.
    ///
    /// # Errors
    /// [`RevisionError::Invalid`].
    pub fn parse(text: &str, tag_prefix: Option<&str>) -> Result<Self, RevisionError> {
        let text = text.trim();
        let tag_prefix = tag_prefix.filter(|prefix| !prefix.is_empty());
        for part in [text, tag_prefix.unwrap_or_default()] {
            let problem = if part.starts_with('-') {
                "begins with '-'"
            } else if part.chars().any(char::is_control) {
                "holds control characters"
            } else if part.len() > MAX_LENGTH {
                "is longer than 1024 bytes"
            } else {
                continue;
            };
            return Err(RevisionError::Invalid { revision: part.chars().take(80).collect(), problem });
        }
        let text = if text.is_empty() { "HEAD" } else { text };
        let tag_prefix = tag_prefix.map(ToOwned::to_owned);
        Ok(Self { text: text.to_owned(), tag_prefix, is_exact: false })
    }

    /// Reads a branch, tag or commit id, which is never taken for a version range: the `ref` of a remote base, where `v1.2`
    /// is the tag of that name.
    ///
    /// # Errors
    /// [`RevisionError::Invalid`].
    pub fn reference(text: &str) -> Result<Self, RevisionError> {
        Ok(Self { is_exact: true, ..Self::parse(text, None)? })
    }

    /// The text, `HEAD` where it was empty.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The commit, where the text is a full commit id: it never moves and needs no look at the references.
    pub fn fixed(&self) -> Option<CommitId> {
        CommitId::parse(&self.text)
    }

    /// Where the revision leads among these references.
    pub(super) fn resolve(&self, references: &References) -> Result<Resolution, RevisionError> {
        if let Some(commit) = self.fixed() {
            return Ok(Resolution::Commit(commit));
        }
        if let Some(name) = self.version_tag(references)
            && let Some(commit) = references.refs.get(&format!("refs/tags/{name}"))
        {
            return Ok(Resolution::Commit(commit.clone()));
        }
        if let Some(commit) = references.get(&self.text) {
            return Ok(Resolution::Commit(commit.clone()));
        }
        let revision = self.text.clone();
        if references.is_empty() {
            return Err(RevisionError::EmptyRepository { revision });
        }
        if (7..40).contains(&revision.len()) && revision.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return self.abbreviated(references);
        }
        if !self.is_exact && Version::parse(&revision).is_none() && Constraint::parse(&revision).is_some() {
            return Err(RevisionError::NoTagInRange { revision, tags: references.tags().count() });
        }
        Err(RevisionError::Unknown { revision })
    }

    /// The tag that the text means as a version: the exact one behind the prefix, or the highest in the range.
    fn version_tag(&self, references: &References) -> Option<String> {
        if self.is_exact {
            return None;
        }
        let prefix = self.tag_prefix.as_deref().unwrap_or_default();
        if Version::parse(&self.text).is_some() {
            return self.tag_prefix.as_ref().map(|prefix| format!("{prefix}{}", self.text));
        }
        let constraint = Constraint::parse(&self.text)?;
        let mut highest: Option<(Version, &str)> = None;
        for tag in references.tags() {
            let Some(version) = tag.strip_prefix(prefix).and_then(Version::parse) else {
                continue;
            };
            if constraint.allows(&version) && highest.as_ref().is_none_or(|(best, _)| version > *best) {
                highest = Some((version, tag));
            }
        }
        highest.map(|(_, tag)| tag.to_owned())
    }

    fn abbreviated(&self, references: &References) -> Result<Resolution, RevisionError> {
        let digits = self.text.to_ascii_lowercase();
        let mut matches: Vec<&CommitId> =
            references.refs.values().filter(|commit| commit.as_str().starts_with(&digits)).collect();
        matches.sort();
        matches.dedup();
        match matches.as_slice() {
            [] => Ok(Resolution::Abbreviated(digits)),
            [commit] => Ok(Resolution::Commit((*commit).clone())),
            _ => Err(RevisionError::Ambiguous { revision: digits }),
        }
    }
}

#[cfg(test)]
mod tests;
