//! What is kept of a live object.

use std::collections::BTreeSet;

use serde_json::Value;

/// Takes out of a live object what neither comparison nor health needs.
///
/// What goes: the managed fields of everybody but `manager` (its entries of operation `Apply`) and the `trusted`
/// managers (the union of [`Rules::trusted_managers`](super::Rules::trusted_managers)), the annotation of a client-side
/// apply (which repeats the whole object, Secret values included) but for the set of its fields, and `metadata.selfLink`.
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
    metadata.shift_remove("selfLink");
    super::adoption::condense(&mut live);
    live
}
