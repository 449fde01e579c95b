//! Why a kustomization cannot be built.

use super::{
    decode::DecodeError, fieldspec::FieldSpecError, filter::FilterError, json_patch::JsonPatchError,
    merge::MergeError, remote::Remote, replacement::ReplacementError, schema::SchemaError,
    selector::SelectorError,
};
use crate::{
    error::{Classified, ErrorKind},
    files::{Exhausted, Files, FilesError, PathError, RepoPath},
    object::yaml::{self, Located, LocatedContent, YamlError},
    render::parsed::Unparsed,
};

/// Why a kustomization cannot be built. The chain of causes leads from the kustomization that was asked for, through the
/// entries that were followed, to the file, field or object to mend.
#[derive(Debug, thiserror::Error)]
pub enum KustomizeError {
    /// One step of the way to the error.
    #[error("in '{file}'{}, {place}", .line.map(|line| format!(" (line {line})")).unwrap_or_default())]
    Within {
        /// The kustomization file.
        file: RepoPath,
        /// The line of the entry, from 1, where it is found.
        line: Option<usize>,
        /// The entry in it: "resources entry '../base'".
        place: String,
        /// What went wrong there.
        #[source]
        source: Box<KustomizeError>,
    },
    /// An object was being changed.
    #[error("{action} of {object}")]
    Object {
        /// What was attempted, as a noun: "strategic merge patch".
        action: &'static str,
        /// The object: "Deployment shop/api".
        object: String,
        /// Why it failed.
        #[source]
        source: Box<KustomizeError>,
    },
    /// A file cannot be read.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// A path leads out of the repository, or is none.
    #[error(transparent)]
    Path(#[from] PathError),
    /// A file is no YAML.
    #[error("cannot parse '{file}'")]
    Yaml {
        /// The file.
        file: RepoPath,
        /// What is wrong on which line.
        #[source]
        source: YamlError,
    },
    /// YAML written inside of a kustomization file is none.
    #[error("cannot parse the inline YAML")]
    InlineYaml(#[source] YamlError),
    /// A file does not have the fields that it should have.
    #[error("invalid configuration in '{file}'")]
    Decode {
        /// The file.
        file: RepoPath,
        /// The field and what is wrong with it.
        #[source]
        source: DecodeError,
    },
    /// The configuration of a plugin does not have the fields that it should have.
    #[error("invalid configuration of plugin {plugin}")]
    Plugin {
        /// Kind and name.
        plugin: String,
        /// The field and what is wrong with it.
        #[source]
        source: DecodeError,
    },
    /// Field specs contradict each other or are none.
    #[error(transparent)]
    FieldSpec(#[from] FieldSpecError),
    /// A field cannot be set.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// A strategic merge patch does not fit.
    #[error(transparent)]
    Merge(#[from] MergeError),
    /// A JSON patch does not fit or is none.
    #[error(transparent)]
    JsonPatch(#[from] JsonPatchError),
    /// A selector is invalid.
    #[error(transparent)]
    Selector(#[from] SelectorError),
    /// A replacement cannot be carried out.
    #[error(transparent)]
    Replacement(#[from] ReplacementError),
    /// A schema of `openapi` or `crds` cannot be used.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// Something else is wrong with what the user wrote; the text says what.
    #[error("{0}")]
    Invalid(String),
    /// Remote bases are not mounted in the files: fetch them, and build again.
    #[error("remote bases are needed: {}", list(.0))]
    Remotes(Vec<Remote>),
    /// The build has used up its time, or makes too much.
    #[error(transparent)]
    Exhausted(#[from] Exhausted),
    /// A limit was passed.
    #[error("the build passes the limit of {limit}")]
    Limit {
        /// The limit with its unit.
        limit: String,
    },
}

impl KustomizeError {
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::Invalid(message.into())
    }

    pub(super) fn within(self, file: &RepoPath, place: impl Into<String>) -> Self {
        Self::Within { file: file.clone(), line: None, place: place.into(), source: Box::new(self) }
    }

    /// Adds the lines of the entries that led to the error.
    pub(super) fn located(self, files: &Files) -> Self {
        match self {
            Self::Within { file, line: _, place, source } => {
                let text = files.read(&file).unwrap_or_default();
                let line = yaml::locate(&text).ok().flatten().and_then(|top| line_of(&place, &top));
                Self::Within { file, line, place, source: Box::new(source.located(files)) }
            }
            Self::Object { action, object, source } => {
                Self::Object { action, object, source: Box::new(source.located(files)) }
            }
            other => other,
        }
    }

    /// Whether remotes that are not mounted are all that is wrong.
    pub(super) fn is_of_remotes(&self) -> bool {
        match self {
            Self::Remotes(_) => true,
            Self::Within { source, .. } | Self::Object { source, .. } => source.is_of_remotes(),
            _ => false,
        }
    }

    pub(super) fn of_object(self, action: &'static str, object: impl Into<String>) -> Self {
        Self::Object { action, object: object.into(), source: Box::new(self) }
    }
}

fn list(remotes: &[Remote]) -> String {
    remotes.iter().map(|remote| format!("'{remote}'")).collect::<Vec<_>>().join(", ")
}

impl From<Unparsed> for KustomizeError {
    fn from(error: Unparsed) -> Self {
        match error {
            Unparsed::Files(source) => Self::Files(source),
            Unparsed::Yaml { file, source } => Self::Yaml { file, source },
        }
    }
}

impl Classified for KustomizeError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Within { source, .. } | Self::Object { source, .. } => source.kind(),
            Self::Files(source) => source.kind(),
            _ => ErrorKind::User,
        }
    }
}

/// The line of an entry that is named as the kustomization file names it: by its field, and by its number, or its name or path
/// in quotes, where the field is a list.
fn line_of(place: &str, top: &Located) -> Option<usize> {
    let field = place.split(' ').next()?;
    let value_of = |node: &Located, name: &str| match &node.content {
        LocatedContent::Mapping { entries, .. } => {
            let is_it = |key: &Located| key.scalar().is_some_and(|key| key.eq_ignore_ascii_case(name));
            entries.iter().position(|(key, _)| is_it(key))
        }
        _ => None,
    };
    let LocatedContent::Mapping { entries, .. } = &top.content else { return None };
    let (key, list) = entries.get(value_of(top, field)?)?;
    let LocatedContent::Sequence { items, .. } = &list.content else { return Some(key.line) };
    let quoted = place.split_once('\'').and_then(|(_, rest)| rest.strip_suffix('\''));
    let number = place.rsplit(' ').next().and_then(|number| number.parse::<usize>().ok());
    let is_named = |item: &Located| match (&item.content, quoted) {
        (LocatedContent::Mapping { entries, .. }, Some(quoted)) => ["name", "path"].iter().any(|field| {
            let value =
                value_of(item, field).and_then(|at| entries.get(at)).and_then(|(_, value)| value.scalar());
            value == Some(quoted)
        }),
        (_, Some(quoted)) => item.scalar() == Some(quoted),
        _ => false,
    };
    let numbered = || items.get(number?.checked_sub(1)?);
    Some(items.iter().find(|item| is_named(item)).or_else(numbered).map_or(key.line, |item| item.line))
}
