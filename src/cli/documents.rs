//! The documents of files that the command line names: YAML or JSON, `-` for standard input.

use std::{
    fs,
    io::{self, Read},
    path::Path,
};

use serde_json::Value;

use crate::{
    error::{Classified, ErrorKind},
    object::{
        Object, ObjectError,
        yaml::{self, DuplicateKeys, Options, Schema, YamlError},
    },
};

/// How much of standard input is read.
const MAX_INPUT_BYTES: u64 = 64 << 20;

/// Why a file has no documents.
#[derive(Debug, thiserror::Error)]
pub enum DocumentsError {
    /// A file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The path as given.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file is no YAML or JSON.
    #[error("cannot read {path}")]
    Yaml {
        /// The path as given.
        path: String,
        /// Where and why.
        #[source]
        source: YamlError,
    },
    /// A document is no object.
    #[error("{place}")]
    NoObject {
        /// File and line.
        place: String,
        /// What is missing.
        #[source]
        source: ObjectError,
    },
}

impl Classified for DocumentsError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Configuration
    }
}

/// One document, or one item of a document that is a list.
#[derive(Clone, Debug)]
pub struct FileDocument {
    /// The file as given.
    pub file: String,
    /// The line where its document begins, from 1.
    pub line: usize,
    /// What it holds.
    pub value: Value,
}

impl FileDocument {
    /// Where it is, for messages.
    pub fn place(&self) -> String {
        format!("{}, document at line {}", self.file, self.line)
    }

    /// A value of it as an object.
    ///
    /// # Errors
    /// When the value is none.
    pub fn object(&self, value: Value) -> Result<Object, DocumentsError> {
        Object::from_value(value).map_err(|source| DocumentsError::NoObject { place: self.place(), source })
    }
}

/// Reads the documents of a file in their order. Empty ones are left out, and what `kubectl get -o yaml` puts into a list
/// is taken out of it.
///
/// # Errors
/// When the file cannot be read, or is no YAML.
pub fn read(path: &Path) -> Result<Vec<FileDocument>, DocumentsError> {
    let file = path.display().to_string();
    let text = text(path).map_err(|source| DocumentsError::Read { path: file.clone(), source })?;
    let options = Options::new(Schema::Yaml11, DuplicateKeys::LastWins);
    let documents =
        yaml::parse(&text, &options).map_err(|source| DocumentsError::Yaml { path: file.clone(), source })?;
    let mut found = Vec::new();
    for document in documents {
        let line = document.line;
        let mut add = |value: Value| {
            if !value.is_null() {
                found.push(FileDocument { file: file.clone(), line, value });
            }
        };
        match items(document.value) {
            Ok(items) => items.into_iter().for_each(add),
            Err(value) => add(value),
        }
    }
    Ok(found)
}

fn text(path: &Path) -> io::Result<Vec<u8>> {
    if path != Path::new("-") {
        return fs::read(path);
    }
    let mut text = Vec::new();
    io::stdin().lock().take(MAX_INPUT_BYTES).read_to_end(&mut text)?;
    Ok(text)
}

/// The items of a list of objects, or the value itself when it is none.
fn items(mut value: Value) -> Result<Vec<Value>, Value> {
    let is_list = value.get("kind").and_then(Value::as_str).is_some_and(|kind| kind.ends_with("List"));
    match value.get_mut("items") {
        Some(Value::Array(items)) if is_list => Ok(std::mem::take(items)),
        _ => Err(value),
    }
}
