//! Health checks that an installation brings along: `health.lua` of `resource.customizations`, by kind.
//!
//! ```text
//! group/Kind ──exact key, else the first wildcard──▶ Script ──lua──▶ health
//!                     │ none
//!                     ▼
//!             the checks that Skiff has
//! ```
//!
//! A script sees the object and nothing else, and ends within its limits ([`lua`]). One that fails makes the object
//! `Unknown`, with the error as message.

mod continues;
mod lua;

use std::{collections::BTreeMap, fmt, sync::Arc};

use super::{HealthError, has_hook_finalizer, pending_deletion};
use crate::{
    api::HealthStatus,
    glob::{Dialect, Glob},
    object::Object,
};

/// One script. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Script {
    /// The Lua text.
    pub source: Arc<str>,
    /// Whether it may use the libraries for text and numbers.
    pub open_libraries: bool,
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Script({} bytes)", self.source.len())
    }
}

impl Script {
    /// Checks that the text is Lua. The error has the line, from 1, and what is wrong with it.
    ///
    /// # Errors
    /// When it is not.
    pub fn check(&self) -> Result<(), (Option<usize>, String)> {
        lua::check(&self.source)
    }
}

/// The scripts of an installation, by `group/Kind` (`Kind` for the core group), with `*` as wildcard. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Scripts {
    exact: Arc<BTreeMap<String, Script>>,
    wildcards: Arc<Vec<(String, Glob, Script)>>,
}

impl PartialEq for Scripts {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Scripts {
    /// Takes scripts by key. A key that is no valid pattern is matched as it is written.
    pub fn new(scripts: impl IntoIterator<Item = (String, Script)>) -> Self {
        let mut exact = BTreeMap::new();
        let mut wildcards = Vec::new();
        for (key, script) in scripts {
            match Glob::new(&key, Dialect::Plain) {
                Ok(glob) if key.contains(['*', '?', '[', '{']) => wildcards.push((key, glob, script)),
                _ => {
                    exact.insert(key, script);
                }
            }
        }
        wildcards.sort_by(|first, second| first.0.cmp(&second.0));
        Self { exact: Arc::new(exact), wildcards: Arc::new(wildcards) }
    }

    /// All scripts with their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Script)> {
        let wildcards = self.wildcards.iter().map(|(key, _, script)| (key.as_str(), script));
        self.exact.iter().map(|(key, script)| (key.as_str(), script)).chain(wildcards)
    }

    /// The script for a kind: the one for exactly it, else the first in alphabetical order whose pattern matches.
    pub fn find(&self, group: &str, kind: &str) -> Option<&Script> {
        let key = if group.is_empty() { kind.to_owned() } else { format!("{group}/{kind}") };
        let wildcard =
            || self.wildcards.iter().find(|(_, glob, _)| glob.matches(&key)).map(|(_, _, script)| script);
        self.exact.get(&key).or_else(wildcard)
    }

    /// Judges one live object, as [`super::assess`], but by its kind's script where there is one. May take as long as
    /// a script may run, one second.
    ///
    /// # Errors
    /// When the script fails, or as [`super::assess`].
    pub fn assess(&self, object: &Object) -> Result<Option<HealthStatus>, HealthError> {
        if object.is_terminating() && !has_hook_finalizer(object) {
            return Ok(Some(pending_deletion()));
        }
        self.by_kind(object)
    }

    /// The same for an object as its kind's script or rule sees it, also while the object is being deleted.
    ///
    /// # Errors
    /// As [`Scripts::assess`].
    pub fn by_kind(&self, object: &Object) -> Result<Option<HealthStatus>, HealthError> {
        match self.find(object.group(), object.kind()) {
            Some(script) => lua::run(script, object.value())
                .map_err(|message| HealthError::Script { object: object.key().to_string(), message }),
            None => super::by_kind(object),
        }
    }
}

#[cfg(test)]
mod tests;
