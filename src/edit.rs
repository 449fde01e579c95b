//! Changes of YAML files that leave everything else as a person wrote it.
//!
//! ```text
//! text ──locate──▶ nodes with their places ──images, values──▶ replaced, inserted, removed pieces of the same text
//!                                                                 └── read again: exactly what was asked for has changed
//! ```
//!
//! Comments, order, quotes, indentation and line ends stay, because the text is edited, not written anew. A text in which
//! the place to change cannot be told for certain (an alias, a merge key, several documents) is refused rather than guessed
//! at, and each result is read again and compared with what the change should have done to the values.

mod images;
mod text;
mod values;

pub use self::{
    images::{ImageChange, ImageReferenceError, set_images},
    values::set_value,
};
use crate::{
    error::{Classified, ErrorKind},
    object::yaml::YamlError,
};

/// Why a file cannot be changed.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// It is no YAML.
    #[error("it cannot be read")]
    Yaml(#[from] YamlError),
    /// It does not have the form in which it can be changed.
    #[error("line {line}: {problem}")]
    Form {
        /// Where, from 1.
        line: usize,
        /// What stands there, and what to do.
        problem: String,
    },
    /// The change would have done something else as well.
    #[error("{key} cannot be changed without a change elsewhere in the file: change it by hand")]
    Unsafe {
        /// What was to be changed.
        key: String,
    },
}

impl Classified for EditError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::User
    }
}
