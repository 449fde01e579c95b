//! Health of kinds: what Argo CD says of recorded objects.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use skiff::{health, object::Object};

const CASES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/conformance/health/cases.jsonl");

/// Health as a word. Operators' kinds are judged by their rule alone, as Argo CD's own cases are: some of these objects
/// were recorded while they were being deleted.
fn judged(mut value: Value) -> Option<String> {
    let metadata = value.as_object_mut().unwrap().entry("metadata").or_insert(json!({}));
    if metadata.get("name").is_none() && metadata.get("generateName").is_none() {
        metadata["name"] = "unnamed".into();
    }
    let object = Object::from_value(value).unwrap();
    let scripts = health::Scripts::default();
    let outcome = if health::is_custom_kind(object.group(), object.kind()) {
        scripts.by_kind(&object)
    } else {
        scripts.assess(&object)
    };
    match outcome {
        Ok(health) => health.map(|health| health.status.to_string()),
        Err(_) => Some("Unknown".to_owned()),
    }
}

#[test]
fn every_recorded_object_has_its_health() {
    let text = std::fs::read_to_string(CASES).unwrap_or_else(|error| panic!("cannot read {CASES}: {error}"));
    let mut kinds = BTreeSet::new();
    let mut failures = Vec::new();
    let mut count = 0;
    for line in text.lines().filter(|line| !line.is_empty()) {
        let case: Value = serde_json::from_str(line).unwrap();
        count += 1;
        kinds.insert((case["group"].to_string(), case["kind"].to_string()));
        let found = judged(case["object"].clone());
        if found.as_deref() != case["status"].as_str() {
            failures.push(format!("{}: expected {}, found {found:?}", case["name"], case["status"]));
        }
    }
    println!("{} of {count} cases of {} kinds have their health", count - failures.len(), kinds.len());
    assert!(count > 600, "only {count} cases were found");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
