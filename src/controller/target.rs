//! What an Application is compared with or synced to: its sources, and the revision of each.

use std::collections::BTreeMap;

use super::desired::Desired;
use crate::{
    api::{ApplicationSource, ApplicationSpec, RevisionHistory, SyncOperation, SyncOperationResult},
    git::RepoUrl,
};

/// Sources with a revision each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// The sources, at least one.
    pub(super) sources: Vec<ApplicationSource>,
    /// The revision to read each at.
    pub(super) revisions: Vec<String>,
    /// Whether this is a list (even of one) rather than the one source.
    pub(super) is_list: bool,
}

impl Target {
    fn new(sources: Vec<ApplicationSource>, is_list: bool) -> Self {
        let revisions = sources.iter().map(|source| source.target_revision.clone()).collect();
        Self { sources, revisions, is_list }
    }

    /// What a spec declares.
    pub(super) fn of_spec(spec: &ApplicationSpec) -> Self {
        let mut sources = spec.effective_sources();
        if sources.is_empty() {
            sources.push(ApplicationSource::default());
        }
        Self::new(sources, spec.has_multiple_sources())
    }

    /// What an operation asks for: the spec's sources or its own, at the revisions that are on record of it, at those
    /// that it names, or at the sources'.
    pub(super) fn of_operation(&self, sync: &SyncOperation, result: Option<&SyncOperationResult>) -> Self {
        let mut target = if !sync.sources.is_empty() {
            Self::new(sync.sources.clone(), true)
        } else if let Some(source) = &sync.source {
            Self::new(vec![source.clone()], false)
        } else {
            Self::new(self.sources.clone(), self.is_list)
        };
        let of = |list: &[String], one: &str| -> Vec<String> {
            if target.is_list { list.to_vec() } else { vec![one.to_owned()] }
        };
        let asked = of(&sync.revisions, &sync.revision);
        let recorded = result.map(|result| of(&result.revisions, &result.revision)).unwrap_or_default();
        for revisions in [asked, recorded] {
            for (revision, wanted) in target.revisions.iter_mut().zip(revisions) {
                if !wanted.is_empty() {
                    *revision = wanted;
                }
            }
        }
        target
    }

    /// What is wrong with the sources together, as `field: problem`.
    pub(super) fn problem(&self) -> Option<String> {
        let mut names: BTreeMap<&str, usize> = BTreeMap::new();
        let mut revisions: BTreeMap<String, (usize, &str)> = BTreeMap::new();
        for (index, source) in self.sources.iter().enumerate().filter(|(_, it)| !it.reference.is_empty()) {
            let field = format!("spec.sources[{index}]");
            let name = source.reference.as_str();
            if !self.is_list {
                return Some(
                    "spec.source.ref: only a source of a list can be referred to: use 'spec.sources'"
                        .to_owned(),
                );
            }
            if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-') {
                return Some(format!("{field}.ref: '{name}' may hold letters, digits, '_' and '-' only"));
            }
            if let Some(other) = names.insert(name, index) {
                return Some(format!("{field}.ref: '{name}' is the name of spec.sources[{other}] already"));
            }
            if !source.chart.is_empty() {
                return Some(format!(
                    "{field}: Helm charts are not supported for ref sources: use a Git repository"
                ));
            }
            let url = RepoUrl::parse(&source.repo_url).map(|url| url.normalized().to_owned());
            let url = url.unwrap_or_else(|_| source.repo_url.clone());
            let revision = source.target_revision.as_str();
            if let Some((other, different)) =
                revisions.insert(url, (index, revision)).filter(|it| it.1 != revision)
            {
                return Some(format!(
                    "{field}.targetRevision: '{revision}' differs from '{different}' of spec.sources[{other}], which \
                     refers to the same repository"
                ));
            }
        }
        None
    }

    /// The one source, where this is no list.
    pub(super) fn source(&self) -> Option<ApplicationSource> {
        if self.is_list { None } else { self.sources.first().cloned() }
    }

    /// The sources, where this is a list.
    pub(super) fn list(&self) -> Vec<ApplicationSource> {
        if self.is_list { self.sources.clone() } else { Vec::new() }
    }

    /// The commit of the one source; empty for a list.
    pub(super) fn revision(&self, desired: &Desired) -> String {
        if self.is_list { String::new() } else { desired.commit.to_string() }
    }

    /// The commit of each source of a list.
    pub(super) fn revisions(&self, desired: &Desired) -> Vec<String> {
        if self.is_list { desired.commits.iter().map(ToString::to_string).collect() } else { Vec::new() }
    }

    /// An empty result of an operation that has this target, as far as it is known.
    pub(super) fn result(&self, desired: Option<&Desired>) -> SyncOperationResult {
        SyncOperationResult {
            revision: match desired {
                Some(desired) => self.revision(desired),
                None if self.is_list => String::new(),
                None => self.revisions.first().cloned().unwrap_or_default(),
            },
            revisions: match desired {
                Some(desired) => self.revisions(desired),
                None if self.is_list => self.revisions.clone(),
                None => Vec::new(),
            },
            source: self.source(),
            sources: self.list(),
            ..SyncOperationResult::default()
        }
    }

    /// A history entry of it, without id and times.
    pub(super) fn history(&self, desired: &Desired) -> RevisionHistory {
        RevisionHistory {
            revision: self.revision(desired),
            revisions: self.revisions(desired),
            source: self.source(),
            sources: self.list(),
            ..RevisionHistory::default()
        }
    }

    /// Whether a result is of these sources at the commits that they have now.
    pub(super) fn is_result(&self, result: &SyncOperationResult, desired: &Desired) -> bool {
        result.revision == self.revision(desired)
            && result.revisions == self.revisions(desired)
            && result.source == self.source()
            && result.sources == self.list()
    }

    /// Whether an observation of these sources, as they are now, is also one of `other`.
    pub(super) fn serves(&self, other: &Self, desired: &Desired) -> bool {
        self.sources == other.sources
            && self.is_list == other.is_list
            && other.revisions.iter().zip(&other.sources).zip(desired.commits.iter()).all(
                |((revision, source), commit)| {
                    *revision == source.target_revision || revision == commit.as_str()
                },
            )
    }
}
