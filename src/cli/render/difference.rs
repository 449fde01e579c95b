//! How two renders differ, object by object.

use std::collections::BTreeMap;

use crate::{
    compare::manifest_diff,
    object::{Object, ObjectKey},
    render::Rendered,
};

/// Unchanged lines around a change.
const CONTEXT: usize = 3;

/// Unified differences of the objects that are not the same in both, in the order of the first and then of the second.
/// `names` are those of the two in the headers.
pub(super) fn between(one: &Rendered, other: &Rendered, names: (&str, &str)) -> String {
    let (ours, theirs) = (by_key(one), by_key(other));
    let new = keys(other).into_iter().filter(|key| !ours.contains_key(key));
    let mut text = String::new();
    for key in keys(one).into_iter().chain(new) {
        let (before, after) = (ours.get(&key).copied(), theirs.get(&key).copied());
        text.push_str(&manifest_diff(before, after, names, CONTEXT));
    }
    text
}

/// Identities in their order, each once.
fn keys(rendered: &Rendered) -> Vec<ObjectKey> {
    let mut seen = std::collections::HashSet::new();
    let keys = rendered.objects.iter().map(|rendered| rendered.object.key());
    keys.filter(|key| seen.insert(key.clone())).collect()
}

fn by_key(rendered: &Rendered) -> BTreeMap<ObjectKey, &Object> {
    rendered.objects.iter().map(|rendered| (rendered.object.key(), &rendered.object)).collect()
}
