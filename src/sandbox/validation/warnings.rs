//! What the server takes and advises against.

use serde_json::Value;

use super::super::kinds::Resource;
use super::super::store::text;
use super::is_standard_finalizer;

/// What a client is told about an object that is written; `live` is its state before.
pub fn warnings(resource: &Resource, live: Option<&Value>, object: &Value) -> Vec<String> {
    if resource.custom.is_some() {
        return finalizers(live, object);
    }
    match (resource.group.as_str(), resource.kind.as_str()) {
        ("", "Service") => service(object),
        _ => Vec::new(),
    }
}

fn finalizers(live: Option<&Value>, object: &Value) -> Vec<String> {
    let names = |object: Option<&Value>| -> Vec<String> {
        let list = object.and_then(|object| object.pointer("/metadata/finalizers")).and_then(Value::as_array);
        list.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let known = names(live);
    let mut new = names(Some(object));
    new.retain(|name| !known.contains(name) && !name.contains('/') && !is_standard_finalizer(name));
    new.sort();
    new.dedup();
    let advice = |name: String| {
        let path = if name.contains('.') { " including a path (/)" } else { "" };
        format!(
            "metadata.finalizers: {name:?}: prefer a domain-qualified finalizer name{path} to avoid accidental \
             conflicts with other finalizer writers"
        )
    };
    new.into_iter().map(advice).collect()
}

fn service(object: &Value) -> Vec<String> {
    if text(object, "/spec/clusterIP") != "None" {
        return Vec::new();
    }
    let external = object.pointer("/spec/externalIPs").and_then(Value::as_array);
    let ignored = [
        ("loadBalancerIP", !text(object, "/spec/loadBalancerIP").is_empty()),
        ("externalIPs", external.is_some_and(|list| !list.is_empty())),
        ("SessionAffinity", text(object, "/spec/sessionAffinity") == "ClientIP"),
    ];
    let given = ignored.into_iter().filter(|(_, is_given)| *is_given);
    given.map(|(field, _)| format!("spec.{field} is ignored for headless services")).collect()
}
