//! What of an answer is compared: everything but what a server makes up, and what controllers do meanwhile.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Map, Value, json};

use super::play::Answer;

static MADE_UP: LazyLock<Vec<(Regex, &'static str)>> = LazyLock::new(|| {
    let rule = |pattern: &str, name| (Regex::new(pattern).unwrap(), name);
    vec![
        rule("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "<uid>"),
        rule(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", "<time>"),
        rule(r"\b10\.\d+\.\d+\.\d+\b", "<address>"),
        rule(r"in record \(\d+\)", "in record (<version>)"),
        rule(r"^\d+s$", "<age>"),
        rule(r"kube-api-access-[a-z0-9]{5}", "kube-api-access-<generated>"),
        rule(r"resource version: \d+( \(\d+\)|, current: \d+)?", "resource version: <versions>"),
    ]
});

/// Managers whose writes come when they come.
const CONTROLLERS: &[&str] =
    &["kube-controller-manager", "kube-scheduler", "kubelet", "kwok", "control-plane"];
/// Kinds whose status belongs to controllers.
const WORKLOADS: &[&str] = &[
    "Deployment",
    "ReplicaSet",
    "StatefulSet",
    "DaemonSet",
    "Job",
    "CronJob",
    "Pod",
    "PersistentVolumeClaim",
    "PersistentVolume",
    "PodDisruptionBudget",
    "HorizontalPodAutoscaler",
];

/// An answer as it is compared.
pub fn normal(answer: &Answer, controllers: bool) -> Value {
    let mut body = answer.body.clone();
    if !controllers {
        without_controllers(&mut body);
    }
    without_repetition(&mut body);
    value(&mut body);
    let warnings: Vec<String> = answer.warnings.iter().map(|warning| text(warning)).collect();
    json!({"code": answer.code, "contentType": answer.content_type, "warnings": warnings, "body": body})
}

fn without_controllers(body: &mut Value) {
    let Some(map) = body.as_object_mut() else {
        if let Some(events) = body.as_array_mut() {
            events.iter_mut().filter_map(|event| event.get_mut("object")).for_each(without_controllers);
        }
        return;
    };
    let kind = map.get("kind").and_then(Value::as_str).unwrap_or_default().to_owned();
    if let Some(kind) = kind.strip_suffix("List") {
        for item in map.get_mut("items").and_then(Value::as_array_mut).into_iter().flatten() {
            let bare = item.get("kind").is_none();
            if let Some(item) = item.as_object_mut() {
                item.entry("kind").or_insert_with(|| Value::from(kind));
            }
            without_controllers(item);
            if let Some(item) = item.as_object_mut().filter(|_| bare) {
                item.shift_remove("kind");
            }
        }
    }
    if WORKLOADS.contains(&kind.as_str()) {
        map.shift_remove("status");
    }
    if kind == "Namespace"
        && let Some(status) = map.get_mut("status").and_then(Value::as_object_mut)
    {
        status.shift_remove("conditions");
    }
    let Some(metadata) = map.get_mut("metadata").and_then(Value::as_object_mut) else {
        return;
    };
    if let Some(entries) = metadata.get_mut("managedFields").and_then(Value::as_array_mut) {
        entries.retain(|entry| {
            !CONTROLLERS.iter().any(|name| entry.get("manager").is_some_and(|manager| manager == name))
        });
    }
    if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
        annotations.shift_remove("deployment.kubernetes.io/revision");
        if annotations.is_empty() {
            metadata.shift_remove("annotations");
        }
    }
}

/// Causes come in no order, and some are told twice.
fn without_repetition(body: &mut Value) {
    let Some(causes) = body.pointer_mut("/details/causes").and_then(Value::as_array_mut) else {
        return;
    };
    let mut told: Vec<Value> = Vec::new();
    causes.retain(|cause| {
        let new = !told.contains(cause);
        told.push(cause.clone());
        new
    });
    causes.sort_by_key(Value::to_string);
    // The sentence repeats the causes, in their order.
    if body["reason"] == "Invalid"
        && let Some(message) = body["message"].as_str()
        && let Some((head, _)) = message.split_once(" is invalid: ")
    {
        body["message"] = Value::from(format!("{head} is invalid: <causes>"));
    }
}

fn value(value: &mut Value) {
    match value {
        Value::String(string) => *string = text(string),
        Value::Array(items) => items.iter_mut().for_each(self::value),
        Value::Object(map) => {
            generated_name(map);
            if map.keys().any(|name| name.starts_with("k:")) {
                *map = std::mem::take(map).into_iter().map(|(name, child)| (text(&name), child)).collect();
            }
            for (name, child) in map.iter_mut() {
                match (name.as_str(), &child) {
                    ("resourceVersion", Value::String(version)) if !version.is_empty() => {
                        *child = json!("<version>");
                    }
                    ("continue", Value::String(token)) if !token.is_empty() => *child = json!("<token>"),
                    ("nodePort", Value::Number(_)) => *child = json!("<port>"),
                    ("managedFields", Value::Array(_)) => managed_fields(child),
                    _ => self::value(child),
                }
            }
        }
        _ => {}
    }
}

/// Entries come ordered by time, and the servers' clocks tick between different requests.
fn managed_fields(entries: &mut Value) {
    let Some(entries) = entries.as_array_mut() else { return };
    for entry in entries.iter_mut().filter_map(Value::as_object_mut) {
        if let Some(time) = entry.get_mut("time") {
            *time = json!("<time>");
        }
    }
    let key = |entry: &Value| {
        ["manager", "operation", "subresource", "apiVersion"]
            .map(|field| entry.get(field).map(Value::to_string))
    };
    entries.sort_by_key(key);
    // Lists of owners are keyed by uids.
    entries.iter_mut().for_each(value);
}

fn generated_name(map: &mut Map<String, Value>) {
    let prefix = map.get("generateName").and_then(Value::as_str).unwrap_or_default().to_owned();
    if !prefix.is_empty()
        && let Some(Value::String(name)) = map.get_mut("name")
        && name.len() == prefix.len() + 5
        && name.starts_with(&prefix)
    {
        *name = format!("{prefix}<generated>");
    }
}

fn text(text: &str) -> String {
    let mut text = text.to_owned();
    for (pattern, name) in MADE_UP.iter() {
        if let std::borrow::Cow::Owned(changed) = pattern.replace_all(&text, *name) {
            text = changed;
        }
    }
    text
}

/// The places where two values differ: JSON pointer, and what is there on both sides.
pub fn differences(left: &Value, right: &Value) -> Vec<(String, Value, Value)> {
    let mut found = Vec::new();
    compare("", left, right, &mut found);
    found
}

fn compare(at: &str, left: &Value, right: &Value, found: &mut Vec<(String, Value, Value)>) {
    match (left, right) {
        (Value::Object(one), Value::Object(other)) => {
            for name in one.keys().chain(other.keys().filter(|name| !one.contains_key(*name))) {
                let at = format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"));
                match (one.get(name), other.get(name)) {
                    (Some(one), Some(other)) => compare(&at, one, other, found),
                    (one, other) => {
                        let shown = |side: Option<&Value>| side.cloned().unwrap_or_else(|| json!("<absent>"));
                        found.push((at, shown(one), shown(other)));
                    }
                }
            }
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            for (index, (one, other)) in one.iter().zip(other).enumerate() {
                compare(&format!("{at}/{index}"), one, other, found);
            }
        }
        _ if left == right => {}
        _ => found.push((at.to_owned(), left.clone(), right.clone())),
    }
}
