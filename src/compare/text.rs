//! Differences as text, to be read like a code review.

use serde_json::{Map, Value};
use similar::TextDiff;

use super::{
    Rules,
    normalize::{is_compared, sides},
};
use crate::{
    api::names,
    object::{Object, yaml},
};

/// How a difference is written.
#[derive(Clone, Copy, Debug)]
pub struct TextDiffOptions<'a> {
    /// How many unchanged lines are shown around a change.
    pub context: usize,
    /// Fields that these rules name are left out on both sides.
    pub rules: &'a Rules,
}

/// What a Secret's value is shown as. A changed one is shown longer on the other side.
const SECRET: &str = "++++++++";
const CHANGED_SECRET: &str = "++++++++++++";

/// The unified difference between the live object and the one that a sync would leave, as YAML; empty when there is
/// none. A missing side stands for an object that is created or pruned.
///
/// Values of Secrets are masked before anything is compared: equal values look equal, different ones different.
pub fn text_diff(live: Option<&Object>, predicted: Option<&Object>, options: &TextDiffOptions<'_>) -> String {
    let Some(object) = predicted.or(live) else {
        return String::new();
    };
    let (mut live_value, mut predicted_value) = match (live, predicted) {
        (Some(live), Some(predicted)) => {
            let sides = sides(predicted, live, options.rules);
            (Some(sides.live.into_owned()), Some(sides.wanted.into_owned()))
        }
        (live, predicted) => (live.map(own_side(options)), predicted.map(own_side(options))),
    };
    for value in [&mut live_value, &mut predicted_value].into_iter().flatten() {
        clean(value, object, options.rules);
    }
    if object.kind() == "Secret" {
        mask(&mut live_value, &mut predicted_value);
    }
    let text = |value: &Option<Value>| {
        value.as_ref().map(|value| yaml::to_string(&sorted(value))).unwrap_or_default()
    };
    let (before, after) = (text(&live_value), text(&predicted_value));
    if before == after {
        return String::new();
    }
    let key = object.key();
    TextDiff::from_lines(&before, &after)
        .unified_diff()
        .context_radius(options.context)
        .header(&format!("{key} (live)"), &format!("{key} (after sync)"))
        .to_string()
}

/// The unified difference between two manifests of an object, as YAML; empty when there is none. The values of Secrets are
/// masked as in [`text_diff`]. `names` go into the header.
pub fn manifest_diff(
    before: Option<&Object>,
    after: Option<&Object>,
    names: (&str, &str),
    context: usize,
) -> String {
    let Some(object) = after.or(before) else {
        return String::new();
    };
    let mut values =
        (before.map(|object| object.value().clone()), after.map(|object| object.value().clone()));
    if object.kind() == "Secret" {
        mask(&mut values.0, &mut values.1);
    }
    let text = |value: &Option<Value>| {
        value.as_ref().map(|value| yaml::to_string(&sorted(value))).unwrap_or_default()
    };
    let (before, after) = (text(&values.0), text(&values.1));
    if before == after {
        return String::new();
    }
    let key = object.key();
    TextDiff::from_lines(&before, &after)
        .unified_diff()
        .context_radius(context)
        .header(&format!("{key} ({})", names.0), &format!("{key} ({})", names.1))
        .to_string()
}

/// One side alone, normalized against itself.
fn own_side<'a>(options: &'a TextDiffOptions<'_>) -> impl Fn(&Object) -> Value + 'a {
    |object| sides(object, object, options.rules).wanted.into_owned()
}

/// Takes out what the API server writes and nobody reviews.
fn clean(value: &mut Value, object: &Object, rules: &Rules) {
    let Some(fields) = value.as_object_mut() else {
        return;
    };
    if !is_compared(object, "status", rules) {
        fields.shift_remove("status");
    }
    let Some(metadata) = fields.get_mut("metadata").and_then(Value::as_object_mut) else {
        return;
    };
    for name in ["creationTimestamp", "generation", "managedFields", "resourceVersion", "selfLink", "uid"] {
        metadata.shift_remove(name);
    }
    if let Some(Value::Object(annotations)) = metadata.get_mut("annotations") {
        annotations.shift_remove(names::ANNOTATION_LAST_APPLIED);
        if annotations.is_empty() {
            metadata.shift_remove("annotations");
        }
    }
}

/// Replaces the values of a Secret on both sides. `stringData` has been merged into `data` before.
fn mask(live: &mut Option<Value>, predicted: &mut Option<Value>) {
    for field in ["data", "stringData"] {
        let values = |side: &Option<Value>| -> Map<String, Value> {
            side.as_ref().and_then(|side| side.get(field)?.as_object().cloned()).unwrap_or_default()
        };
        let before = values(live);
        for side in [&mut *live, &mut *predicted].into_iter().flatten() {
            match side.get_mut(field) {
                Some(Value::Object(entries)) => {
                    for (key, value) in entries {
                        let is_changed = before.get(key).is_some_and(|before| before != value);
                        *value = Value::from(if is_changed { CHANGED_SECRET } else { SECRET });
                    }
                }
                Some(Value::Null) | None => {}
                Some(other) => *other = Value::from(SECRET),
            }
        }
    }
}

/// The value with the fields of every mapping in one order, so that order is never shown as a change.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut entries: Vec<(&String, &Value)> = fields.iter().collect();
            entries.sort_by_key(|(name, _)| *name);
            Value::Object(entries.into_iter().map(|(name, value)| (name.clone(), sorted(value))).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(sorted).collect()),
        scalar => scalar.clone(),
    }
}
