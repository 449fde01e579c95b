//! What `skiff test` finds, and where.

use std::sync::LazyLock;

use regex::Regex;

use crate::files::{RepoPath, Tree};

/// A line is looked for in files up to this size.
const MAX_BYTES: u64 = 4 << 20;

/// What a finding is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, clap::ValueEnum)]
pub(super) enum Rule {
    /// An Application or AppProject that cannot be read
    InvalidApplication,
    /// A source that cannot be rendered
    RenderError,
    /// What the API server, the project or the sync itself refuses
    SyncError,
    /// One object that several Applications declare
    Conflict,
    /// A kustomization that no Application leads to
    OrphanOverlay,
    /// An image without a version, or 'latest'
    LatestImage,
    /// A Secret whose values stand in Git
    PlainSecret,
    /// Something that was not looked at, and why
    NotTested,
}

impl Rule {
    /// All rules.
    pub(super) const ALL: [Self; 8] = [
        Self::InvalidApplication,
        Self::RenderError,
        Self::SyncError,
        Self::Conflict,
        Self::OrphanOverlay,
        Self::LatestImage,
        Self::PlainSecret,
        Self::NotTested,
    ];

    /// `render-error`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::InvalidApplication => "invalid-application",
            Self::RenderError => "render-error",
            Self::SyncError => "sync-error",
            Self::Conflict => "conflict",
            Self::OrphanOverlay => "orphan-overlay",
            Self::LatestImage => "latest-image",
            Self::PlainSecret => "plain-secret",
            Self::NotTested => "not-tested",
        }
    }

    /// What the rule looks for, as a sentence.
    pub(super) fn describe(self) -> &'static str {
        match self {
            Self::InvalidApplication => "An Application or AppProject cannot be read.",
            Self::RenderError => "A source cannot be rendered.",
            Self::SyncError => "The API server, the project or the sync itself refuses an object.",
            Self::Conflict => "Several Applications declare one object.",
            Self::OrphanOverlay => "No Application leads to a kustomization.",
            Self::LatestImage => "An image has no version, or 'latest'.",
            Self::PlainSecret => "The values of a Secret stand in Git.",
            Self::NotTested => "Something was not looked at.",
        }
    }
}

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Severity {
    /// The repository is not fit to be merged.
    Error,
    /// Somebody has allowed it.
    Warning,
}

/// A place in the repository.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// The file or directory.
    pub(super) path: RepoPath,
    /// The line, from 1.
    pub(super) line: usize,
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Finding {
    /// Where; `None` where no file is to blame.
    pub(super) place: Option<Place>,
    /// What it is about.
    pub(super) rule: Rule,
    /// The Application, `namespace/name`, or nothing.
    pub(super) application: String,
    /// What is wrong, and what helps.
    pub(super) message: String,
}

impl Finding {
    /// A finding about an Application.
    pub(super) fn new(
        rule: Rule,
        application: &str,
        place: Option<Place>,
        message: impl Into<String>,
    ) -> Self {
        // One line each: that is what annotations and tables can show.
        let message: String = message.into().split_whitespace().collect::<Vec<_>>().join(" ");
        Self { place, rule, application: application.to_owned(), message }
    }
}

/// The last file and line that an error names, as the errors of `render` do: `'apps/a.yaml': line 7`.
pub(super) fn place_in(text: &str, tree: &dyn Tree) -> Option<Place> {
    static NAMED: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"'([^']+)'|\bline (\d+)").ok());
    let mut found: Option<Place> = None;
    for part in NAMED.as_ref()?.captures_iter(text) {
        if let Some(path) = part.get(1).and_then(|path| RepoPath::parse(path.as_str()).ok()) {
            if !path.is_root() && tree.entry(&path).is_ok_and(|entry| entry.is_some()) {
                found = Some(Place { path, line: 1 });
            }
        } else if let (Some(line), Some(found)) = (part.get(2), &mut found) {
            found.line = line.as_str().parse().unwrap_or(found.line);
        }
    }
    found
}

/// The first line from `from` on that has a text; `from` itself where none has.
pub(super) fn line_with(tree: &dyn Tree, from: &Place, text: &str) -> Place {
    let content = tree.content(&from.path, MAX_BYTES).unwrap_or_default();
    let content = String::from_utf8_lossy(&content);
    let lines = content.lines().enumerate().skip(from.line.saturating_sub(1));
    // A document ends where the next one begins.
    let mut lines = lines.take_while(|(number, line)| *number < from.line || !line.starts_with("---"));
    let line = lines.find(|(_, line)| line.contains(text)).map_or(from.line, |(number, _)| number + 1);
    Place { path: from.path.clone(), line }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::MemoryTree;

    fn tree() -> MemoryTree {
        MemoryTree::new([("apps/a.yaml", "a: 1\nb: 2\n---\nc: 3\nb: 4\n"), ("apps/b.yaml", "")]).unwrap()
    }

    fn place(path: &str, line: usize) -> Place {
        Place { path: RepoPath::parse(path).unwrap(), line }
    }

    #[test]
    fn the_place_of_an_error_is_the_last_file_that_it_names() {
        let text =
            "in 'apps/b.yaml', resources entry 'a.yaml': cannot parse 'apps/a.yaml': line 7, column 11: no";
        assert_eq!(place_in(text, &tree()), Some(place("apps/a.yaml", 7)));
        assert_eq!(place_in("'nowhere.yaml', line 3", &tree()), None);
    }

    #[test]
    fn a_line_is_looked_for_in_its_own_document() {
        assert_eq!(line_with(&tree(), &place("apps/a.yaml", 1), "b:"), place("apps/a.yaml", 2));
        assert_eq!(line_with(&tree(), &place("apps/a.yaml", 4), "b:"), place("apps/a.yaml", 5));
        assert_eq!(line_with(&tree(), &place("apps/a.yaml", 1), "c:"), place("apps/a.yaml", 1));
    }
}
