//! The comparison, by the behaviours that users meet.

#![allow(clippy::needless_pass_by_value, reason = "values are written in place")]

mod drift;
mod ignored;
mod properties;
mod secrets;
mod served;
mod settled;

use serde_json::{Value, json};

use super::*;
use crate::{api::ResourceIgnoreDifferences, object::Object};

const MANAGER: &str = "argocd-controller";

fn object(value: Value) -> Object {
    Object::from_value(value).unwrap()
}

fn no_rules() -> Rules {
    Rules::default()
}

fn rules(written: Value) -> Rules {
    let written: Vec<ResourceIgnoreDifferences> = serde_json::from_value(written).unwrap();
    let (rules, problems) = Rules::compile(&written, &SystemRules::default());
    assert_eq!(problems, []);
    rules
}

fn paths(differences: Vec<Difference>) -> Vec<String> {
    differences.iter().map(ToString::to_string).collect()
}

/// What `local` finds, as text; empty for `Same`.
fn compared(desired: &Value, live: &Value, rules: &Rules) -> Vec<String> {
    match local(&object(desired.clone()), &object(live.clone()), rules, MANAGER) {
        Local::Same => Vec::new(),
        Local::Differs(differences) | Local::LeftBehind(differences) => {
            assert!(!differences.is_empty());
            paths(differences)
        }
    }
}

fn assert_same(desired: Value, live: Value) {
    assert_eq!(compared(&desired, &live, &no_rules()), Vec::<String>::new());
}

fn assert_differs(desired: Value, live: Value, expected: &[&str]) {
    assert_eq!(compared(&desired, &live, &no_rules()), expected);
}

fn deployment(spec: Value) -> Value {
    json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "a", "namespace": "n" }, "spec": spec })
}

/// A Deployment with these containers.
fn with_containers(containers: Value) -> Value {
    deployment(json!({ "template": { "spec": { "containers": containers } } }))
}

fn config_map(data: Value) -> Value {
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "a", "namespace": "n" }, "data": data })
}

/// The same object with an entry of managed fields.
fn held(mut live: Value, manager: &str, operation: &str, fields: Value) -> Value {
    let entry =
        json!({ "manager": manager, "operation": operation, "fieldsType": "FieldsV1", "fieldsV1": fields });
    let metadata = live["metadata"].as_object_mut().unwrap();
    let entries = metadata.entry("managedFields").or_insert(json!([]));
    entries.as_array_mut().unwrap().push(entry);
    live
}
