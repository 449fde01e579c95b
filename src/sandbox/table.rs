//! `as=Table`: what `kubectl get` prints, computed by the server.

use serde_json::{Value, json};

use super::crd::Column;
use super::kinds::Resource;
use super::output::{Include, metadata_only};
use super::store::text;

/// The table of some objects of a resource.
pub fn table(resource: &Resource, objects: &[Value], metadata: &Value, include: Include) -> Value {
    let columns = columns(resource);
    let definitions: Vec<Value> = columns
        .iter()
        .map(|column| {
            json!({
                "name": column.name,
                "type": column.type_name,
                "format": column.format,
                "description": column.description,
                "priority": column.priority,
            })
        })
        .collect();
    let is_bookmark = |object: &Value| object.pointer("/metadata/name").is_none();
    let rows: Vec<Value> = objects
        .iter()
        .filter(|object| !is_bookmark(object))
        .map(|object| {
            let cells: Vec<Value> = columns.iter().map(|column| cell(resource, column, object)).collect();
            let object = match include {
                Include::Nothing => Value::Null,
                Include::Metadata => metadata_only(object),
                Include::Object => object.clone(),
            };
            json!({"cells": cells, "object": object})
        })
        .collect();
    json!({
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": definitions,
        "rows": rows,
    })
}

fn column(name: &str, type_name: &str, priority: i64, json_path: &str) -> Column {
    Column {
        name: name.to_owned(),
        type_name: type_name.to_owned(),
        format: if name == "Name" { "name".to_owned() } else { String::new() },
        description: String::new(),
        priority,
        json_path: json_path.to_owned(),
    }
}

/// Rows of name, type, priority, path; a path in angle brackets is computed by [`computed`].
type ColumnRow = (&'static str, &'static str, i64, &'static str);

fn columns(resource: &Resource) -> Vec<Column> {
    let mut columns = vec![column("Name", "string", 0, ".metadata.name")];
    if let Some(custom) = &resource.custom {
        if custom.columns.is_empty() {
            columns.push(column("Age", "date", 0, ".metadata.creationTimestamp"));
        }
        columns.extend(custom.columns.iter().cloned());
        return columns;
    }
    let rows: &[ColumnRow] = match (resource.group.as_str(), resource.kind.as_str()) {
        ("", "Pod") => &[
            ("Ready", "string", 0, "<ready>"),
            ("Status", "string", 0, "<pod-status>"),
            ("Restarts", "string", 0, "<restarts>"),
            ("Age", "string", 0, "<age>"),
            ("IP", "string", 1, ".status.podIP"),
            ("Node", "string", 1, ".spec.nodeName"),
            ("Nominated Node", "string", 1, ".status.nominatedNodeName"),
            ("Readiness Gates", "string", 1, "<none>"),
        ],
        ("apps", "Deployment") => &[
            ("Ready", "string", 0, "<ready-replicas>"),
            ("Up-to-date", "string", 0, "<updated-replicas>"),
            ("Available", "string", 0, "<available-replicas>"),
            ("Age", "string", 0, "<age>"),
            ("Containers", "string", 1, "<containers>"),
            ("Images", "string", 1, "<images>"),
            ("Selector", "string", 1, "<selector>"),
        ],
        ("apps", "ReplicaSet") => &[
            ("Desired", "integer", 0, ".spec.replicas"),
            ("Current", "integer", 0, ".status.replicas"),
            ("Ready", "integer", 0, ".status.readyReplicas"),
            ("Age", "string", 0, "<age>"),
            ("Containers", "string", 1, "<containers>"),
            ("Images", "string", 1, "<images>"),
            ("Selector", "string", 1, "<selector>"),
        ],
        ("apps", "StatefulSet") => &[
            ("Ready", "string", 0, "<ready-replicas>"),
            ("Age", "string", 0, "<age>"),
            ("Containers", "string", 1, "<containers>"),
            ("Images", "string", 1, "<images>"),
        ],
        ("apps", "DaemonSet") => &[
            ("Desired", "integer", 0, ".status.desiredNumberScheduled"),
            ("Current", "integer", 0, ".status.currentNumberScheduled"),
            ("Ready", "integer", 0, ".status.numberReady"),
            ("Up-to-date", "integer", 0, ".status.updatedNumberScheduled"),
            ("Available", "integer", 0, ".status.numberAvailable"),
            ("Age", "string", 0, "<age>"),
            ("Images", "string", 1, "<images>"),
        ],
        ("batch", "Job") => &[
            ("Status", "string", 0, "<job-status>"),
            ("Completions", "string", 0, "<completions>"),
            ("Age", "string", 0, "<age>"),
            ("Images", "string", 1, "<images>"),
        ],
        ("batch", "CronJob") => &[
            ("Schedule", "string", 0, ".spec.schedule"),
            ("Suspend", "boolean", 0, ".spec.suspend"),
            ("Age", "string", 0, "<age>"),
        ],
        ("", "Service") => &[
            ("Type", "string", 0, ".spec.type"),
            ("Cluster-IP", "string", 0, ".spec.clusterIP"),
            ("External-IP", "string", 0, "<external-address>"),
            ("Port(s)", "string", 0, "<ports>"),
            ("Age", "string", 0, "<age>"),
            ("Selector", "string", 1, "<selector>"),
        ],
        ("networking.k8s.io", "Ingress") => &[
            ("Class", "string", 0, ".spec.ingressClassName"),
            ("Hosts", "string", 0, "<hosts>"),
            ("Address", "string", 0, "<external-address>"),
            ("Age", "string", 0, "<age>"),
        ],
        ("", "ConfigMap") => &[("Data", "string", 0, "<data>"), ("Age", "string", 0, "<age>")],
        ("", "Secret") => {
            &[("Type", "string", 0, ".type"), ("Data", "string", 0, "<data>"), ("Age", "string", 0, "<age>")]
        }
        ("", "Namespace") => &[("Status", "string", 0, ".status.phase"), ("Age", "string", 0, "<age>")],
        ("", "PersistentVolumeClaim") => &[
            ("Status", "string", 0, ".status.phase"),
            ("Volume", "string", 0, ".spec.volumeName"),
            ("Capacity", "string", 0, ".status.capacity.storage"),
            ("StorageClass", "string", 0, ".spec.storageClassName"),
            ("Age", "string", 0, "<age>"),
        ],
        (_, "Event") => &[
            ("Last Seen", "string", 0, ".lastTimestamp"),
            ("Type", "string", 0, ".type"),
            ("Reason", "string", 0, ".reason"),
            ("Object", "string", 0, "<involved>"),
            ("Message", "string", 0, ".message"),
        ],
        ("apiextensions.k8s.io", "CustomResourceDefinition") => {
            &[("Created At", "date", 0, ".metadata.creationTimestamp")]
        }
        _ => &[("Age", "string", 0, "<age>")],
    };
    columns.extend(rows.iter().map(|(name, kind, priority, path)| column(name, kind, *priority, path)));
    columns
}

fn cell(resource: &Resource, column: &Column, object: &Value) -> Value {
    if let Some(name) = column.json_path.strip_prefix('<').and_then(|path| path.strip_suffix('>')) {
        return computed(name, object);
    }
    let found = find(object, &column.json_path);
    if resource.custom.is_none() && found.is_none() {
        return match column.type_name.as_str() {
            "integer" => Value::from(0),
            _ => Value::from("<none>"),
        };
    }
    match (column.type_name.as_str(), found) {
        (_, None) => Value::Null,
        ("date", Some(Value::String(time))) => Value::from(age(time)),
        ("string", Some(value @ (Value::Object(_) | Value::Array(_)))) => Value::from(value.to_string()),
        ("string", Some(value)) => Value::from(plain(value)),
        (_, Some(value)) => value.clone(),
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The value at a JSONPath of the kind that printer columns use: names, `['name']`, `[0]`, and
/// `[?(@.type=="Ready")]`.
fn find<'a>(object: &'a Value, path: &str) -> Option<&'a Value> {
    let mut current = object;
    let mut rest = path.trim_start_matches('$');
    while !rest.is_empty() {
        if let Some(tail) = rest.strip_prefix('.') {
            let mut end = tail.len();
            let mut escaped = false;
            for (index, character) in tail.char_indices() {
                match character {
                    '\\' if !escaped => escaped = true,
                    '.' | '[' if !escaped => {
                        end = index;
                        break;
                    }
                    _ => escaped = false,
                }
            }
            let (name, after) = tail.split_at_checked(end)?;
            rest = after;
            if !name.is_empty() {
                current = current.get(name.replace('\\', ""))?;
            }
        } else {
            let tail = rest.strip_prefix('[')?;
            let (inside, after) = tail.split_once(']')?;
            rest = after;
            current = if let Some(filter) = inside.strip_prefix("?(@.").and_then(|f| f.strip_suffix(')')) {
                let (field, wanted) = filter.split_once("==")?;
                let wanted = wanted.trim().trim_matches(['"', '\'']);
                current
                    .as_array()?
                    .iter()
                    .find(|item| item.get(field.trim()).is_some_and(|value| plain(value) == wanted))?
            } else if let Ok(index) = inside.parse::<usize>() {
                current.get(index)?
            } else {
                current.get(inside.trim_matches(['"', '\'']))?
            };
        }
    }
    Some(current).filter(|value| !value.is_null())
}

/// The time since, as kubectl shows it.
fn age(time: &str) -> String {
    let Ok(then) = time.parse::<jiff::Timestamp>() else {
        return "<unknown>".to_owned();
    };
    let seconds = (jiff::Timestamp::now().as_second() - then.as_second()).max(0);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..600 if seconds % 60 != 0 => format!("{}m{}s", seconds / 60, seconds % 60),
        120..10_800 => format!("{}m", seconds / 60),
        10_800..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

fn items<'a>(object: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> {
    object.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

fn join<'a>(values: impl Iterator<Item = &'a str>) -> String {
    let joined = values.filter(|text| !text.is_empty()).collect::<Vec<_>>().join(",");
    if joined.is_empty() { "<none>".to_owned() } else { joined }
}

fn number(object: &Value, pointer: &str) -> i64 {
    object.pointer(pointer).and_then(Value::as_i64).unwrap_or(0)
}

fn computed(name: &str, object: &Value) -> Value {
    let pod =
        object.pointer("/spec/template/spec").or_else(|| object.pointer("/spec")).unwrap_or(&Value::Null);
    let containers = || items(pod, "/containers");
    match name {
        "ready" => {
            let ready = items(object, "/status/containerStatuses")
                .filter(|status| status.get("ready") == Some(&Value::Bool(true)))
                .count();
            Value::from(format!("{ready}/{}", containers().count()))
        }
        "pod-status" => {
            let waiting = items(object, "/status/containerStatuses")
                .map(|status| text(status, "/state/waiting/reason"))
                .find(|reason| !reason.is_empty());
            if object.pointer("/metadata/deletionTimestamp").is_some() {
                Value::from("Terminating")
            } else {
                Value::from(waiting.unwrap_or(text(object, "/status/phase")))
            }
        }
        "restarts" => {
            let count: i64 = items(object, "/status/containerStatuses")
                .map(|status| number(status, "/restartCount"))
                .sum();
            Value::from(count.to_string())
        }
        "age" => Value::from(age(text(object, "/metadata/creationTimestamp"))),
        "updated-replicas" => Value::from(number(object, "/status/updatedReplicas")),
        "available-replicas" => Value::from(number(object, "/status/availableReplicas")),
        "ready-replicas" => Value::from(format!(
            "{}/{}",
            number(object, "/status/readyReplicas"),
            number(object, "/spec/replicas")
        )),
        "containers" => Value::from(join(containers().map(|container| text(container, "/name")))),
        "images" => Value::from(join(containers().map(|container| text(container, "/image")))),
        "selector" => {
            let labels = object
                .pointer("/spec/selector/matchLabels")
                .or_else(|| object.pointer("/spec/selector"))
                .and_then(Value::as_object);
            let pairs: Vec<String> =
                labels.into_iter().flatten().map(|(key, value)| format!("{key}={}", plain(value))).collect();
            Value::from(join(pairs.iter().map(String::as_str)))
        }
        "job-status" => {
            let done = |kind: &str| {
                items(object, "/status/conditions")
                    .any(|condition| text(condition, "/type") == kind && text(condition, "/status") == "True")
            };
            Value::from(if done("Complete") {
                "Complete"
            } else if done("Failed") {
                "Failed"
            } else if object.pointer("/spec/suspend") == Some(&Value::Bool(true)) {
                "Suspended"
            } else {
                "Running"
            })
        }
        "completions" => Value::from(format!(
            "{}/{}",
            number(object, "/status/succeeded"),
            object.pointer("/spec/completions").and_then(Value::as_i64).unwrap_or(1)
        )),
        "external-address" => {
            let addresses = items(object, "/status/loadBalancer/ingress").map(|entry| {
                let address = text(entry, "/ip");
                if address.is_empty() { text(entry, "/hostname") } else { address }
            });
            let shown = join(addresses.chain(items(object, "/spec/externalIPs").filter_map(Value::as_str)));
            if shown == "<none>" && text(object, "/spec/type") == "LoadBalancer" {
                Value::from("<pending>")
            } else {
                Value::from(shown)
            }
        }
        "ports" => {
            let ports: Vec<String> = items(object, "/spec/ports")
                .map(|port| {
                    let protocol =
                        if text(port, "/protocol").is_empty() { "TCP" } else { text(port, "/protocol") };
                    match number(port, "/nodePort") {
                        0 => format!("{}/{protocol}", number(port, "/port")),
                        node => format!("{}:{node}/{protocol}", number(port, "/port")),
                    }
                })
                .collect();
            Value::from(join(ports.iter().map(String::as_str)))
        }
        "hosts" => {
            let hosts: Vec<&str> = items(object, "/spec/rules")
                .map(|rule| if text(rule, "/host").is_empty() { "*" } else { text(rule, "/host") })
                .collect();
            Value::from(join(hosts.into_iter()))
        }
        "data" => {
            let count =
                |field: &str| object.get(field).and_then(Value::as_object).map_or(0, serde_json::Map::len);
            Value::from(count("data") + count("binaryData"))
        }
        "involved" => Value::from(format!(
            "{}/{}",
            text(object, "/involvedObject/kind").to_lowercase(),
            text(object, "/involvedObject/name")
        )),
        _ => Value::from("<none>"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_printer_columns_are_followed() {
        let object = json!({
            "metadata": {"annotations": {"a.b/c": "x"}},
            "status": {"conditions": [{"type": "Ready", "status": "True"}], "list": [1, 2]},
        });
        for (path, found) in [
            (".status.conditions[?(@.type==\"Ready\")].status", Some(json!("True"))),
            (".status.conditions[?(@.type=='Gone')].status", None),
            (".metadata.annotations.a\\.b/c", Some(json!("x"))),
            (".metadata.annotations['a.b/c']", None),
            (".status.list[1]", Some(json!(2))),
            (".status.none", None),
        ] {
            if path.contains("['a.b/c']") {
                assert_eq!(find(&object, path), Some(&json!("x")));
            } else {
                assert_eq!(find(&object, path).cloned(), found, "{path}");
            }
        }
    }
}
