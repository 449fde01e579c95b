//! Whether the cluster has what a source declares: a verdict per object.
//!
//! ```text
//! desired ─┐   only the fields that desired declares, and those that Skiff once applied
//!          ├─▶ local ──▶ Same                     no request, nearly always
//! live ────┘     └─────▶ Differs ──▶ dry-run apply ──▶ settle(predicted, live) ──▶ Same or Differs
//! ```
//!
//! [`local`] says `Same` only when it is sure. What it cannot know (defaults of a webhook, the lists of an unknown
//! kind) is asked of the API server once per change, and [`settle`] compares its answer with the live object. [`Rules`]
//! hold what may differ without being drift. A [`Difference`] names a field and never its value.

pub mod adoption;
mod jq;
mod local;
mod normalize;
mod respect;
mod rules;
mod settle;
mod storage;
mod text;

use std::fmt;

pub use local::{Local, local};
pub use respect::respect;
pub use rules::{CompareOptions, IgnoreStatus, RuleProblem, Rules, SystemRules};
pub use settle::{Settled, settle};
pub use storage::strip_for_storage;
pub use text::{TextDiffOptions, manifest_diff, text_diff};

/// More differences of one object than this are not listed.
const MAX_DIFFERENCES: usize = 100;

/// How deep two values are compared; deeper ones count as different.
const MAX_DEPTH: usize = 128;

/// In which way a field differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Change {
    /// The source declares it, the cluster does not have it.
    Missing,
    /// Both have it, with different values.
    Changed,
    /// The cluster has it in a place that belongs to the source, and the source does not declare it.
    Undeclared,
}

/// One field in which an object differs. It never holds a value: the object may be a Secret.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Difference {
    /// The field's path: `spec.template.spec.containers[name=app].image`.
    pub path: String,
    /// In which way it differs.
    pub change: Change,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.change {
            Change::Missing => "is missing in the cluster",
            Change::Changed => "differs",
            Change::Undeclared => "is not declared",
        };
        write!(f, "{} {what}", self.path)
    }
}

/// Collects differences with their paths while two values are walked.
#[derive(Default)]
struct Differences {
    path: String,
    found: Vec<Difference>,
}

impl Differences {
    fn add(&mut self, change: Change) {
        if self.found.len() < MAX_DIFFERENCES {
            self.found.push(Difference { path: self.path.clone(), change });
        }
    }

    fn is_full(&self) -> bool {
        self.found.len() >= MAX_DIFFERENCES
    }

    /// Runs a step with a mapping's field at the end of the path.
    fn in_field(&mut self, name: &str, step: impl FnOnce(&mut Self)) {
        let length = self.path.len();
        if name.contains(['.', '/', '[']) {
            self.path.push_str(&format!("[{name}]"));
        } else {
            if !self.path.is_empty() {
                self.path.push('.');
            }
            self.path.push_str(name);
        }
        step(self);
        self.path.truncate(length);
    }

    /// Runs a step with a list's item at the end of the path.
    fn in_item(&mut self, item: &str, step: impl FnOnce(&mut Self)) {
        let length = self.path.len();
        self.path.push_str(&format!("[{item}]"));
        step(self);
        self.path.truncate(length);
    }
}

/// Whether a value says nothing: null, or a mapping or list of nothing.
fn is_empty(value: &serde_json::Value) -> bool {
    match value {
        serde_json::Value::Null => true,
        serde_json::Value::Array(items) => items.is_empty(),
        serde_json::Value::Object(fields) => fields.values().all(is_empty),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
