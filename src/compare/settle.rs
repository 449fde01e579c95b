//! The comparison of what the API server predicts with what it has.

use serde_json::{Map, Value};

use super::{
    Change, Difference, Differences, MAX_DEPTH, Rules, is_empty,
    normalize::{is_compared, is_compared_metadata, sides},
};
use crate::{
    api::names,
    object::{Object, fields::compare_values},
};

/// The answer of [`settle`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settled {
    /// An apply would change nothing that counts.
    Same,
    /// An apply would change these fields.
    Differs(Vec<Difference>),
}

/// Compares the result of a dry-run apply with the live object.
///
/// Both come from the API server, so they are compared field by field and item by item; what the server itself writes,
/// the status, and what the rules name is left out. The API version is left out too: the live object may have been read
/// in another one.
pub fn settle(predicted: &Object, live: &Object, rules: &Rules) -> Settled {
    let sides = sides(predicted, live, rules);
    let mut differences = Differences::default();
    if let (Value::Object(wanted), Value::Object(found)) = (&*sides.wanted, &*sides.live) {
        let counts = |name: &str| name != "apiVersion" && is_compared(predicted, name, rules);
        mapping(wanted, found, 0, &counts, &mut differences);
    }
    if differences.found.is_empty() { Settled::Same } else { Settled::Differs(differences.found) }
}

fn mapping(
    wanted: &Map<String, Value>,
    live: &Map<String, Value>,
    depth: usize,
    counts: &dyn Fn(&str) -> bool,
    differences: &mut Differences,
) {
    for (name, declared) in wanted.iter().filter(|(name, _)| counts(name)) {
        let found = live.get(name).unwrap_or(&Value::Null);
        if !(is_empty(declared) && is_empty(found)) {
            differences.in_field(name, |differences| match (depth, name.as_str(), declared, found) {
                (_, _, _, Value::Null) => differences.add(Change::Missing),
                (0, "metadata", Value::Object(declared), Value::Object(found)) => {
                    mapping(declared, found, 1, &is_compared_metadata, differences);
                }
                (1, "annotations", Value::Object(declared), Value::Object(found)) => {
                    mapping(declared, found, 2, &|name| name != names::ANNOTATION_LAST_APPLIED, differences);
                }
                _ => value(declared, found, depth + 1, differences),
            });
        }
    }
    for (name, _) in live.iter().filter(|(name, found)| counts(name) && !is_empty(found)) {
        if !wanted.contains_key(name) {
            differences.in_field(name, |differences| differences.add(Change::Undeclared));
        }
    }
}

fn value(wanted: &Value, live: &Value, depth: usize, differences: &mut Differences) {
    if wanted == live || differences.is_full() {
        return;
    }
    match (wanted, live) {
        _ if depth > MAX_DEPTH => differences.add(Change::Changed),
        (Value::Object(wanted), Value::Object(live)) => {
            // Depth 2 and beyond: names there have no special meaning.
            mapping(wanted, live, depth.max(2), &|_| true, differences);
        }
        (Value::Array(wanted), Value::Array(live)) if wanted.len() == live.len() => {
            for (index, (wanted, live)) in wanted.iter().zip(live).enumerate() {
                differences.in_item(&index.to_string(), |differences| {
                    value(wanted, live, depth + 1, differences);
                });
            }
        }
        _ if is_empty(wanted) && is_empty(live) || compare_values(wanted, live).is_eq() => {}
        _ => differences.add(Change::Changed),
    }
}
