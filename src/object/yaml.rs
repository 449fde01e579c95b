//! YAML as the Kubernetes tools read and write it.
//!
//! ```text
//! bytes ──text──▶ libyaml events ──reader──▶ node arena ──expand──▶ Document { value, line }
//!                                    └─ scalar: plain text ▶ null, bool, number, string
//! Value ──emitter──▶ text
//! ```
//!
//! Two readers exist in the wild and disagree: `sigs.k8s.io/yaml` (kubectl, Argo CD, Helm, kustomization files) follows
//! YAML 1.1, kustomize reads resource files with YAML 1.2 and leftovers. [`Schema`] picks one. Numbers end as a trip
//! through JSON leaves them (`1.0` is `1`, `0644` is `420`), since that is what reaches the API server. Everything is
//! bounded by [`Limits`] and each error names its line and column. JSON is YAML here; JSON's own escapes are read too.

mod emitter;
mod expand;
mod folded;
mod locate;
pub mod packed;
mod reader;
mod scalar;
mod simple;
#[cfg(test)]
mod tests;
mod text;

use serde_json::Value;

pub use self::locate::{Located, LocatedContent, LocatedStyle, locate};
use crate::error::{Classified, ErrorKind};

/// How plain scalars and merge keys are understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schema {
    /// What `sigs.k8s.io/yaml` does: `yes`, `on`, `y` are booleans, keys may be numbers or booleans and become strings,
    /// a merge key overrides the keys that stand before it.
    Yaml11,
    /// What kustomize does with resource files: `yes` is a string, timestamps are written out in full, keys must be
    /// strings, explicit keys always win over merged ones, an object's annotations keep the text that is written, folded
    /// texts get the line breaks that kustomize prints.
    Yaml12ish,
}

/// What happens when a mapping has the same key twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DuplicateKeys {
    /// The text is refused.
    Error,
    /// The last value counts; [`Document::duplicate_keys`] tells of it.
    LastWins,
}

/// What one text may hold at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the text.
    pub bytes: usize,
    /// Mappings and sequences inside of each other. 256 is more than `serde_json` reads back from an API server.
    pub depth: usize,
    /// Documents, empty ones not counted.
    pub documents: usize,
    /// Keys and values of all documents, aliases expanded.
    pub nodes: usize,
    /// Keys and values that come from expanding aliases. A long string counts for more than one.
    pub alias_nodes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 10 << 20, depth: 256, documents: 20_000, nodes: 4_000_000, alias_nodes: 400_000 }
    }
}

/// How a text is read. The default is how manifests are read by kubectl and Argo CD.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// How plain scalars are understood.
    pub schema: Schema,
    /// What happens to repeated keys.
    pub duplicate_keys: DuplicateKeys,
    /// What the text may hold at most.
    pub limits: Limits,
    /// With [`Schema::Yaml12ish`]: whether the text is a patch. Then keys that are numbers or booleans become text instead
    /// of being refused, and an annotation that is null stays null, which removes it.
    pub is_patch: bool,
    /// With [`Schema::Yaml12ish`]: whether an object's annotations are text without exception, nulls of patches included.
    pub annotations_as_text: bool,
    /// The same for its labels.
    pub labels_as_text: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self::new(Schema::Yaml11, DuplicateKeys::LastWins)
    }
}

impl Options {
    /// A schema and a policy with the default limits.
    pub fn new(schema: Schema, duplicate_keys: DuplicateKeys) -> Self {
        Self {
            schema,
            duplicate_keys,
            limits: Limits::default(),
            is_patch: false,
            annotations_as_text: false,
            labels_as_text: false,
        }
    }
}

/// One document of a text.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// What it says.
    pub value: Value,
    /// The line on which its first key or value stands, from 1.
    pub line: usize,
    /// Keys that were given more than once in one mapping (the first few of them).
    pub duplicate_keys: Vec<DuplicateKey>,
    /// The paths of fields and elements that are null because nothing is written there, not even `null` (at most
    /// 10,000). kustomize drops such fields where it keeps explicit nulls.
    pub blank_fields: Vec<Vec<String>>,
}

/// A key that a mapping has twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DuplicateKey {
    /// The key.
    pub key: String,
    /// Where it stands again, from 1.
    pub line: usize,
    /// Where it stood first, from 1.
    pub first_line: usize,
}

/// What sort of thing is wrong with a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum YamlProblem {
    /// It is not YAML.
    Syntax,
    /// It is YAML, but says something that a JSON value cannot hold: infinity, a list as a key.
    Value,
    /// A key stands twice in one mapping.
    DuplicateKey,
    /// A limit was passed.
    Limit,
}

/// Why a text could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
pub struct YamlError {
    /// What sort of problem it is.
    pub problem: YamlProblem,
    /// Where, from 1.
    pub line: usize,
    /// Where in the line, in characters from 1.
    pub column: usize,
    /// How many documents before it were read without a problem, empty ones not counted.
    pub documents_before: usize,
    /// What is wrong and, where it is known, what helps.
    pub message: String,
}

impl Classified for YamlError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::User
    }
}

/// Reads all documents of a text. Empty documents are dropped.
///
/// # Errors
/// See [`YamlProblem`]. A text with one bad document gives an error and no documents.
pub fn parse(text: &[u8], options: &Options) -> Result<Vec<Document>, YamlError> {
    reader::parse(text, options)
}

/// Writes one value as go-yaml does: block style, lists at the indent of their key, quotes only where a YAML 1.1 reader
/// would misread the text. Fields stay in their order. Ends with a newline.
pub fn to_string(value: &Value) -> String {
    let mut text = String::new();
    emitter::write(&mut text, value);
    text
}

/// Writes several values with `---` lines between them.
pub fn documents_to_string<'a>(values: impl IntoIterator<Item = &'a Value>) -> String {
    let mut text = String::new();
    for value in values {
        if !text.is_empty() {
            text.push_str("---\n");
        }
        emitter::write(&mut text, value);
    }
    text
}
