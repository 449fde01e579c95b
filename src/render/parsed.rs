//! Files as YAML documents, parsed once as long as their content stays the same and a cache remembers them.

use crate::{
    files::{Files, FilesError, Form, RepoPath},
    object::yaml::{self, Document, YamlError, packed},
};

/// Why a file is no documents.
#[derive(Debug)]
pub(super) enum Unparsed {
    /// It cannot be read.
    Files(FilesError),
    /// It is no YAML.
    Yaml {
        /// The file.
        file: RepoPath,
        /// Where and why.
        source: YamlError,
    },
}

impl From<FilesError> for Unparsed {
    fn from(error: FilesError) -> Self {
        Self::Files(error)
    }
}

/// The documents of a file. The form stands for the options.
pub(super) fn documents(
    files: &Files,
    file: &RepoPath,
    form: Form,
    options: &yaml::Options,
) -> Result<Vec<Document>, Unparsed> {
    if let Some(documents) = files.derived(file, form)?.and_then(|bytes| packed::unpack(&bytes)) {
        return Ok(documents);
    }
    let text = files.read(file)?;
    let documents =
        yaml::parse(&text, options).map_err(|source| Unparsed::Yaml { file: file.clone(), source })?;
    files.derive(file, form, &text, || packed::pack(&documents))?;
    Ok(documents)
}
