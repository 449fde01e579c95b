//! Why a kustomization cannot be built.

use super::{
    decode::DecodeError, fieldspec::FieldSpecError, filter::FilterError, json_patch::JsonPatchError,
    merge::MergeError, remote::Remote, replacement::ReplacementError, schema::SchemaError,
    selector::SelectorError,
};
use crate::{
    error::{Classified, ErrorKind},
    files::{Exhausted, FilesError, PathError, RepoPath},
    object::yaml::YamlError,
    render::parsed::Unparsed,
};

/// Why a kustomization cannot be built. The chain of causes leads from the kustomization that was asked for, through the
/// entries that were followed, to the file, field or object to mend.
#[derive(Debug, thiserror::Error)]
pub enum KustomizeError {
    /// One step of the way to the error.
    #[error("in '{file}', {place}")]
    Within {
        /// The kustomization file.
        file: RepoPath,
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
        Self::Within { file: file.clone(), place: place.into(), source: Box::new(self) }
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
