//! What both sides lose before they are compared, and what is rewritten so that it can be.

use std::borrow::Cow;

use base64::Engine as _;
use serde_json::{Map, Value};

use super::{IgnoreStatus, Rules, is_empty};
use crate::object::Object;

/// Metadata that the API server writes, or that the comparison answers otherwise.
const SERVER_METADATA: &[&str] = &[
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "generation",
    "managedFields",
    "namespace",
    "resourceVersion",
    "selfLink",
    "uid",
];

/// The two sides of a comparison, borrowed as long as nothing had to be changed.
pub(super) struct Sides<'a> {
    /// As declared, or as the API server predicts it.
    pub(super) wanted: Cow<'a, Value>,
    /// As it is.
    pub(super) live: Cow<'a, Value>,
}

/// Takes out of both sides what the rules name, and rewrites what kinds have two spellings for.
pub(super) fn sides<'a>(wanted: &'a Object, live: &'a Object, rules: &Rules) -> Sides<'a> {
    let mut sides = Sides { wanted: Cow::Borrowed(wanted.value()), live: Cow::Borrowed(live.value()) };
    if wanted.is_secret() {
        merge_string_data(&mut sides.wanted);
        merge_string_data(&mut sides.live);
    }
    if matches!(wanted.kind(), "ClusterRole" | "Role") {
        drop_aggregated_rules(&mut sides, rules);
    }
    if rules.concern(&live.key()) {
        rules.remove_ignored(live, [sides.wanted.to_mut(), sides.live.to_mut()]);
    }
    sides
}

/// Whether a top-level field takes part in the comparison.
pub(super) fn is_compared(object: &Object, field: &str, rules: &Rules) -> bool {
    match field {
        "status" => match rules.options().ignore_status {
            IgnoreStatus::All => false,
            IgnoreStatus::CustomResourceDefinitions => object.kind() != "CustomResourceDefinition",
            IgnoreStatus::None => true,
        },
        _ => true,
    }
}

/// Whether a field of `metadata` takes part in the comparison.
pub(super) fn is_compared_metadata(field: &str) -> bool {
    !SERVER_METADATA.contains(&field)
}

/// Does what the API server does with `stringData` of a Secret.
fn merge_string_data(secret: &mut Cow<'_, Value>) {
    if secret.get("stringData").is_none() {
        return;
    }
    let Some(fields) = secret.to_mut().as_object_mut() else {
        return;
    };
    let Some(Value::Object(texts)) = fields.shift_remove("stringData") else {
        return;
    };
    let data = fields.entry("data").or_insert(Value::Null);
    if data.is_null() {
        *data = Value::Object(Map::new());
    }
    let Some(data) = data.as_object_mut() else { return };
    for (key, text) in texts {
        let encoded = match &text {
            Value::String(text) => Value::String(base64::engine::general_purpose::STANDARD.encode(text)),
            Value::Null => Value::String(String::new()),
            other => other.clone(),
        };
        data.insert(key, encoded);
    }
}

/// The rules of an aggregated role are the cluster's to write, unless the source declares some and the options do not
/// say to look away.
fn drop_aggregated_rules(sides: &mut Sides<'_>, rules: &Rules) {
    if !sides.wanted.get("aggregationRule").is_some_and(Value::is_object) {
        return;
    }
    let declares_rules = sides.wanted.get("rules").is_some_and(|rules| !is_empty(rules));
    if declares_rules && !rules.options().ignore_aggregated_roles {
        return;
    }
    for side in [&mut sides.wanted, &mut sides.live] {
        if let Some(fields) = side.to_mut().as_object_mut() {
            fields.shift_remove("rules");
        }
    }
}
