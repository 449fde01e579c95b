//! Sets of field paths: what a field manager owns.
//!
//! ```text
//! managedFields[].fieldsV1 ⇄ FieldSet ⇄ the fields that a value declares (by its type)
//! ```
//!
//! A [`FieldSet`] is a trie of [`PathElement`]s, as the API server keeps it: a node may be a member of the set itself,
//! may have members below it, or both. The set operations, the order of elements and the JSON form are those of the
//! API server, so that what is computed here equals what it records. Walking a value needs its
//! [`TypeRef`](super::schema::TypeRef), which knows which lists are merged by key and which are one leaf.

mod element;
mod extract;
mod set;
#[cfg(test)]
pub(crate) mod tests;

pub use element::{PathElement, compare_values, path_to_string};
pub use extract::{extract, remove};
pub use set::{Children, FieldSet};

/// Why a `fieldsV1` value could not be read, or a value has no field set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FieldsError {
    /// `fieldsV1` holds something else than mappings.
    #[error("managed fields must be nested mappings, but '{path}' is {found}")]
    NotAMapping {
        /// Where.
        path: String,
        /// What it is instead.
        found: &'static str,
    },
    /// A key of `fieldsV1` is no path element.
    #[error("managed fields have the key '{key}', which is no path element: {reason}")]
    BadElement {
        /// The key as written.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Nested deeper than any object may be.
    #[error("managed fields are nested more than {limit} levels deep")]
    TooDeep {
        /// The limit.
        limit: usize,
    },
}

impl crate::error::Classified for FieldsError {
    fn kind(&self) -> crate::error::ErrorKind {
        crate::error::ErrorKind::User
    }
}

/// How deep a set or a value may be nested.
pub(crate) const MAX_DEPTH: usize = 256;
