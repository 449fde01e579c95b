//! What the server refuses with 422: bad names and labels, missing fields, changes of immutable ones.

mod immutable;
mod names;

use serde_json::Value;

use self::immutable::immutable;
use self::names::{CONFIG_KEY, LABEL, LABEL_1035, LABEL_VALUE, SUBDOMAIN, qualified};
use super::kinds::Resource;
use super::status::Cause;
use super::store::text;
use super::{crd, custom};

/// What is wrong with a new object.
pub fn create(resource: &Resource, object: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let name = text(object, "/metadata/name");
    if name.is_empty() {
        causes.push(Cause::required("metadata.name", "name or generateName is required"));
    } else {
        check_name(resource, name, &mut causes);
    }
    metadata(object, &mut causes);
    contents(resource, object, &mut causes);
    causes
}

/// What is wrong with a change of an object.
pub fn update(resource: &Resource, subresource: &str, live: &Value, object: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    metadata(object, &mut causes);
    finalizers(live, object, &mut causes);
    if subresource == "status" {
        if let Some(custom) = &resource.custom {
            causes.extend(custom::validate(object, &custom.schema));
        }
        return causes;
    }
    contents(resource, object, &mut causes);
    immutable(resource, live, object, &mut causes);
    causes
}

fn check_name(resource: &Resource, name: &str, causes: &mut Vec<Cause>) {
    let field = "metadata.name";
    match (resource.group.as_str(), resource.kind.as_str()) {
        ("", "Namespace") => LABEL.check(field, name, causes),
        ("", "Service") => LABEL_1035.check(field, name, causes),
        ("rbac.authorization.k8s.io", _) => {
            if let Some(found) = ["/", "%"].iter().find(|text| name.contains(**text)) {
                causes.push(Cause::invalid(field, &Value::from(name), &format!("may not contain '{found}'")));
            }
            if matches!(name, "." | "..") {
                causes.push(Cause::invalid(field, &Value::from(name), &format!("may not be '{name}'")));
            }
        }
        // Its own rule (plural.group) says it better.
        ("apiextensions.k8s.io", "CustomResourceDefinition") => {}
        _ => SUBDOMAIN.check(field, name, causes),
    }
}

fn metadata(object: &Value, causes: &mut Vec<Cause>) {
    let entries =
        |field: &str| object.pointer("/metadata").and_then(|m| m.get(field)).and_then(Value::as_object);
    for (key, value) in entries("labels").into_iter().flatten() {
        qualified("metadata.labels", key, causes);
        LABEL_VALUE.check("metadata.labels", value.as_str().unwrap_or_default(), causes);
    }
    let mut size = 0usize;
    for (key, value) in entries("annotations").into_iter().flatten() {
        qualified("metadata.annotations", &key.to_lowercase(), causes);
        size += key.len() + value.as_str().map_or(0, str::len);
    }
    if size > 256 << 10 {
        causes.push(Cause {
            reason: "FieldValueTooLong",
            message: "Too long: may not be more than 262144 bytes".to_owned(),
            field: "metadata.annotations".to_owned(),
        });
    }
    let owners = object.pointer("/metadata/ownerReferences").and_then(Value::as_array);
    for (index, owner) in owners.into_iter().flatten().enumerate() {
        for field in ["apiVersion", "kind", "name", "uid"] {
            if text(owner, &format!("/{field}")).is_empty() {
                let path = format!("metadata.ownerReferences[{index}].{field}");
                let detail =
                    if field == "apiVersion" { "version must not be empty" } else { "must not be empty" };
                causes.push(Cause::invalid(path, &Value::from(""), detail));
            }
        }
    }
}

fn finalizers(live: &Value, object: &Value, causes: &mut Vec<Cause>) {
    if text(live, "/metadata/deletionTimestamp").is_empty() {
        return;
    }
    let list = |value: &Value| {
        value.pointer("/metadata/finalizers").and_then(Value::as_array).cloned().unwrap_or_default()
    };
    let known = list(live);
    let added: Vec<Value> = list(object).into_iter().filter(|finalizer| !known.contains(finalizer)).collect();
    if !added.is_empty() {
        let shown: Vec<String> = added.iter().map(Value::to_string).collect();
        let detail = format!(
            "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
            shown.join(", ")
        );
        causes.push(Cause::forbidden("metadata.finalizers", &detail));
    }
}

/// Rules for the contents of a kind that hold for every state.
fn contents(resource: &Resource, object: &Value, causes: &mut Vec<Cause>) {
    if let Some(custom) = &resource.custom {
        causes.extend(custom::validate(object, &custom.schema));
        return;
    }
    match (resource.group.as_str(), resource.kind.as_str()) {
        ("apiextensions.k8s.io", "CustomResourceDefinition") => causes.extend(crd::validate_crd(object)),
        ("", "ConfigMap") => keys(object, &["data", "binaryData"], causes),
        ("", "Secret") => keys(object, &["data"], causes),
        ("", "Pod") => pod_spec(object.pointer("/spec"), "spec", causes),
        ("", "Service") => service(object, causes),
        ("apps", "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet") => workload(object, causes),
        ("batch", "Job") => pod_spec(object.pointer("/spec/template/spec"), "spec.template.spec", causes),
        ("batch", "CronJob") => {
            if text(object, "/spec/schedule").is_empty() {
                causes.push(Cause::required("spec.schedule", ""));
            }
            let path = "spec.jobTemplate.spec.template.spec";
            pod_spec(object.pointer("/spec/jobTemplate/spec/template/spec"), path, causes);
        }
        _ => {}
    }
}

fn keys(object: &Value, fields: &[&str], causes: &mut Vec<Cause>) {
    for field in fields {
        for key in object.get(*field).and_then(Value::as_object).into_iter().flatten().map(|(key, _)| key) {
            CONFIG_KEY.check(&format!("{field}[{key}]"), key, causes);
        }
    }
}

fn service(object: &Value, causes: &mut Vec<Cause>) {
    let ports = object.pointer("/spec/ports").and_then(Value::as_array).cloned().unwrap_or_default();
    let headless = text(object, "/spec/clusterIP") == "None";
    if ports.is_empty() && !headless && text(object, "/spec/type") != "ExternalName" {
        causes.push(Cause::required("spec.ports", ""));
    }
    for (index, port) in ports.iter().enumerate() {
        if ports.len() > 1 && text(port, "/name").is_empty() {
            causes.push(Cause::required(format!("spec.ports[{index}].name"), ""));
        }
        let number = port.get("port").and_then(Value::as_i64).unwrap_or(0);
        if !(1..=65535).contains(&number) {
            let field = format!("spec.ports[{index}].port");
            causes.push(Cause::invalid(
                field,
                &Value::from(number),
                "must be between 1 and 65535, inclusive",
            ));
        }
    }
}

fn workload(object: &Value, causes: &mut Vec<Cause>) {
    if let Some(replicas) = object.pointer("/spec/replicas").and_then(Value::as_i64).filter(|n| *n < 0) {
        let detail = "must be greater than or equal to 0";
        causes.push(Cause::invalid("spec.replicas", &Value::from(replicas), detail));
    }
    let labels = object.pointer("/spec/template/metadata/labels").cloned().unwrap_or(Value::Null);
    match object.pointer("/spec/selector") {
        None | Some(Value::Null) => {
            causes.push(Cause::required("spec.selector", ""));
            let detail = "`selector` does not match template `labels`";
            causes.push(Cause::invalid("spec.template.metadata.labels", &labels, detail));
        }
        Some(selector) => {
            let wanted = selector.get("matchLabels").and_then(Value::as_object);
            let fits = |(key, value): (&String, &Value)| labels.get(key) == Some(value);
            if !wanted.into_iter().flatten().all(fits) {
                let detail = "`selector` does not match template `labels`";
                causes.push(Cause::invalid("spec.template.metadata.labels", &labels, detail));
            }
        }
    }
    pod_spec(object.pointer("/spec/template/spec"), "spec.template.spec", causes);
}

fn pod_spec(spec: Option<&Value>, path: &str, causes: &mut Vec<Cause>) {
    let containers = spec.and_then(|spec| spec.get("containers")).and_then(Value::as_array);
    let Some(containers) = containers.filter(|containers| !containers.is_empty()) else {
        causes.push(Cause::required(format!("{path}.containers"), ""));
        return;
    };
    let mut seen: Vec<&str> = Vec::new();
    for (index, container) in containers.iter().enumerate() {
        let at = |field: &str| format!("{path}.containers[{index}].{field}");
        let name = text(container, "/name");
        if name.is_empty() {
            causes.push(Cause::required(at("name"), ""));
        } else {
            LABEL.check(&at("name"), name, causes);
            if seen.contains(&name) {
                causes.push(Cause {
                    reason: "FieldValueDuplicate",
                    message: format!("Duplicate value: {name:?}"),
                    field: at("name"),
                });
            }
            seen.push(name);
        }
        if text(container, "/image").is_empty() {
            causes.push(Cause::required(at("image"), ""));
        }
    }
}
