//! Commit ids, and the references that a server advertises.

use std::{collections::BTreeMap, fmt};

/// The id of a commit: 40 lower-case hexadecimal digits.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommitId(Box<str>);

impl CommitId {
    /// Reads 40 hexadecimal digits; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let hexadecimal = text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        hexadecimal.then(|| Self(text.to_ascii_lowercase().into()))
    }

    /// The 40 digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first seven digits, as people know them.
    pub fn short(&self) -> &str {
        self.0.get(..7).unwrap_or(&self.0)
    }

    pub(super) fn from_oid(id: git2::Oid) -> Self {
        Self(id.to_string().into())
    }

    pub(super) fn oid(&self) -> Result<git2::Oid, git2::Error> {
        git2::Oid::from_str(&self.0)
    }
}

impl fmt::Display for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What `git ls-remote` shows: each reference and the commit that it leads to.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct References {
    /// Full reference name (`refs/heads/main`) → commit. An annotated tag leads to the commit that it tags. The order is
    /// that in which servers advertise.
    pub refs: BTreeMap<String, CommitId>,
    /// The commit of `HEAD`; `None` in an empty repository.
    pub head: Option<CommitId>,
    /// The branch that `HEAD` stands for (`refs/heads/main`), where the server says so.
    pub head_target: Option<String>,
}

impl References {
    /// The commit of a reference by its full name, or by its short name as `git` shortens branches and tags.
    /// A branch wins over a tag of the same name.
    pub fn get(&self, name: &str) -> Option<&CommitId> {
        if name == "HEAD" {
            return self.head.as_ref();
        }
        ["refs/heads/", "refs/tags/", "refs/remotes/", "refs/", ""]
            .iter()
            .find_map(|prefix| self.refs.get(&format!("{prefix}{name}")))
    }

    /// The names of the tags without `refs/tags/`.
    pub fn tags(&self) -> impl Iterator<Item = &str> {
        self.refs.keys().filter_map(|name| name.strip_prefix("refs/tags/"))
    }

    /// The names of the branches without `refs/heads/`.
    pub fn branches(&self) -> impl Iterator<Item = &str> {
        self.refs.keys().filter_map(|name| name.strip_prefix("refs/heads/"))
    }

    /// The tags that lead to a commit.
    pub fn tags_of(&self, commit: &CommitId) -> Vec<&str> {
        let at_commit = self.refs.iter().filter(|(_, id)| *id == commit);
        at_commit.filter_map(|(name, _)| name.strip_prefix("refs/tags/")).collect()
    }

    /// Whether the server has any commit at all.
    pub fn is_empty(&self) -> bool {
        self.refs.is_empty() && self.head.is_none()
    }

    /// One advertised line. `name^{}` carries the commit of the annotated tag `name` and follows it.
    pub(super) fn add(&mut self, name: &str, id: CommitId, symref_target: Option<&str>) {
        if name == "HEAD" {
            self.head = Some(id);
            self.head_target = symref_target.map(ToOwned::to_owned);
        } else {
            self.refs.insert(name.strip_suffix("^{}").unwrap_or(name).to_owned(), id);
        }
    }

    /// The name of a reference that leads to a commit, branches first.
    pub(super) fn name_of(&self, commit: &CommitId) -> Option<&str> {
        self.refs.iter().find(|(_, id)| *id == commit).map(|(name, _)| name.as_str())
    }
}
