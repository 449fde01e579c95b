//! From the stored form of an object to the served one and back.
//!
//! Custom resources have the conversion strategy `None`: only `apiVersion` changes. `Event` is one object with two
//! spellings, and is stored in the core group's.

use serde_json::Value;

use super::kinds::Resource;

/// Core field, `events.k8s.io` field.
const EVENT_FIELDS: &[(&str, &str)] = &[
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
];

/// Whether the served bytes are the stored bytes.
pub fn is_identity(resource: &Resource) -> bool {
    resource.version == resource.storage_version && resource.group == resource.storage.group
}

/// The form that a resource serves.
pub fn to_served(resource: &Resource, mut value: Value) -> Value {
    if is_identity(resource) {
        return value;
    }
    if resource.kind == "Event" {
        rename(&mut value, |(core, new)| (core, new));
        if let Some(map) = value.as_object_mut() {
            // Here they may be left out, in the core group not.
            map.retain(|field, value| {
                !matches!(field.as_str(), "reportingController" | "reportingInstance") || *value != ""
            });
        }
    }
    set_api_version(&mut value, resource.api_version());
    value
}

/// The form that is stored.
pub fn to_stored(resource: &Resource, mut value: Value) -> Value {
    if is_identity(resource) {
        return value;
    }
    if resource.kind == "Event" {
        rename(&mut value, |(core, new)| (new, core));
    }
    let stored = crate::object::Gvk::new(&resource.storage.group, &resource.storage_version, &resource.kind);
    set_api_version(&mut value, stored.api_version());
    value
}

fn set_api_version(value: &mut Value, api_version: String) {
    if let Some(map) = value.as_object_mut() {
        map.insert("apiVersion".to_owned(), Value::from(api_version));
    }
}

fn rename(
    value: &mut Value,
    direction: impl Fn((&'static str, &'static str)) -> (&'static str, &'static str),
) {
    let Some(map) = value.as_object_mut() else { return };
    for pair in EVENT_FIELDS {
        let (from, to) = direction(*pair);
        if let Some(field) = map.shift_remove(from) {
            map.insert(to.to_owned(), field);
        }
    }
}
