//! What is kept of a live object.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::api::names;

/// Takes out of a live object what neither comparison nor health needs.
///
/// What goes: the managed fields of everybody but `manager` (its entries of operation `Apply`) and the `trusted`
/// managers (the union of [`Rules::trusted_managers`](super::Rules::trusted_managers)), the annotation of kubectl's
/// client-side apply (which repeats the whole object, Secret values included), and `metadata.selfLink`.
///
/// What stays: everything else, status included, so that a stored object can be compared, judged, diffed and shown.
pub fn strip_for_storage(mut live: Value, manager: &str, trusted: &BTreeSet<String>) -> Value {
    let Some(metadata) = live.get_mut("metadata").and_then(Value::as_object_mut) else {
        return live;
    };
    if let Some(Value::Array(entries)) = metadata.get_mut("managedFields") {
        entries.retain(|entry| {
            let text = |name| entry.get(name).and_then(Value::as_str).unwrap_or_default();
            (text("manager") == manager && text("operation") == "Apply" && text("subresource").is_empty())
                || trusted.contains(text("manager"))
        });
        if entries.is_empty() {
            metadata.shift_remove("managedFields");
        }
    }
    if let Some(Value::Object(annotations)) = metadata.get_mut("annotations") {
        annotations.shift_remove(names::ANNOTATION_LAST_APPLIED);
        if annotations.is_empty() {
            metadata.shift_remove("annotations");
        }
    }
    metadata.shift_remove("selfLink");
    live
}
