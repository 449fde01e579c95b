//! The plain transformers of kustomize: each changes one object in place and knows of no other.
//!
//! ```text
//! field specs ──visit──▶ places in the object ──filter──▶ new text there
//! ```
//!
//! A filter is called with the object, what to set, and the field specs that say where (defaults and the user's
//! own, already merged). Which objects a filter is called for, in which order, and what is remembered of old names is
//! the engine's business.

pub mod images;
pub mod labels;
pub mod name_prefix;
pub mod namespace;
pub mod replicas;

use crate::error::{Classified, ErrorKind};

/// Why a filter could not change an object. The caller adds which object it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// The path of a field spec leads through something that has no fields.
    #[error("field '{path}': expected a mapping or a list on the way, found {found}")]
    NotTraversable {
        /// The path of the field spec.
        path: String,
        /// What is there instead.
        found: &'static str,
    },
    /// The field has another type than the filter can set.
    #[error("field '{path}' must be {expected}, but it is {found}")]
    WrongType {
        /// The path of the field spec.
        path: String,
        /// What the filter needs.
        expected: &'static str,
        /// What is there.
        found: &'static str,
    },
    /// The name of an `images` entry is used as a regular expression and is not a valid one.
    #[error("image name '{name}' is not a valid regular expression: {reason}")]
    ImagePattern {
        /// The name as written.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A pair without a key.
    #[error("field '{path}': a key must not be empty")]
    EmptyKey {
        /// The path of the field spec.
        path: String,
    },
    /// A text becomes longer than any real one.
    #[error("field '{path}' becomes longer than {limit} bytes")]
    TooLong {
        /// The path of the field spec.
        path: String,
        /// How long it may become.
        limit: usize,
    },
    /// The object is nested deeper than any real one.
    #[error("field '{path}' is nested too deep")]
    TooDeep {
        /// The path of the field spec.
        path: String,
    },
}

impl Classified for FilterError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::User
    }
}

/// The text of a scalar as kustomize sees it; nothing for a mapping or a list.
pub(super) fn scalar_text(value: &serde_json::Value) -> Option<String> {
    use serde_json::Value;
    match value {
        Value::Null => Some(String::new()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Number(number) => Some(number.to_string()),
        Value::String(text) => Some(text.clone()),
        Value::Array(_) | Value::Object(_) => None,
    }
}
