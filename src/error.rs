//! What every error of Skiff has in common: a kind.
//!
//! Each module owns a typed error (`thiserror`) whose message says what was attempted, on what, and what to do
//! next. The kind is the only thing that code outside of that module needs of it: it decides whether a step is
//! tried again, which exit code a command ends with, and which label a failure is counted under.

/// Why something failed, as far as anybody but the reader of the message needs to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ErrorKind {
    /// The input is wrong (a manifest, an Application, a revision): only a change of the input helps.
    User,
    /// The installation is wrong (credentials, permissions, settings): an administrator has to act.
    Configuration,
    /// The network or a server failed: trying again with backoff may help.
    Transient,
    /// Skiff itself is wrong.
    Bug,
}

impl ErrorKind {
    /// The value of the metric label `kind`.
    pub fn label(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Configuration => "configuration",
            Self::Transient => "transient",
            Self::Bug => "bug",
        }
    }

    /// Whether the same step may succeed when it is tried again with nothing changed.
    pub fn is_transient(self) -> bool {
        self == Self::Transient
    }
}

/// An error that knows its [`ErrorKind`].
pub trait Classified: std::error::Error {
    /// The kind of this error.
    fn kind(&self) -> ErrorKind;
}

/// The whole chain of an error in one line: `message: cause: cause of the cause`.
///
/// Messages in this code base never repeat their cause, so the chain reads as one sentence. Those of libraries sometimes
/// end with it; then it is left out.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
