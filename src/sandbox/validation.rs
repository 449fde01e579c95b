//! What the server refuses with 422: bad names and labels, missing fields, changes of immutable ones.
//!
//! Only what people get wrong in practice is checked, in the API server's words; rules for rarely used fields are left out.

mod immutable;
mod kinds;
mod names;
mod pods;
mod warnings;

use serde_json::Value;

use self::immutable::immutable;
use self::names::{LABEL, SUBDOMAIN};
pub(super) use self::names::{LABEL_1035, LABEL_VALUE, qualified};
pub use self::warnings::warnings;
use super::kinds::Resource;
use super::status::Cause;
use super::store::text;
use super::{crd, custom};

/// What is wrong with a new object.
pub fn create(resource: &Resource, object: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let name = text(object, "/metadata/name");
    let generate = text(object, "/metadata/generateName");
    if !generate.is_empty() {
        let mut found = Vec::new();
        check_name(
            resource,
            "metadata.generateName",
            &format!("{}x", generate.trim_end_matches('-')),
            &mut found,
        );
        causes.extend(found.iter().map(|cause| {
            let rule = cause.message.split_once(": ").and_then(|(_, rest)| rest.split_once(": "));
            Cause::invalid("metadata.generateName", &Value::from(generate), rule.map_or("", |(_, rule)| rule))
        }));
    }
    if name.is_empty() {
        causes.push(Cause::required("metadata.name", "name or generateName is required"));
    } else {
        check_name(resource, "metadata.name", name, &mut causes);
    }
    metadata(resource, object, &mut causes);
    contents(resource, object, &mut causes);
    causes
}

/// What is wrong with a change of an object.
pub fn update(resource: &Resource, subresource: &str, live: &Value, object: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    metadata(resource, object, &mut causes);
    finalizers(live, object, &mut causes);
    if subresource == "status" {
        if let Some(custom) = &resource.custom {
            causes.extend(custom::validate(object, &custom.schema));
        } else {
            kinds::status(resource, object, &mut causes);
        }
        return causes;
    }
    contents(resource, object, &mut causes);
    immutable(resource, live, object, &mut causes);
    causes
}

fn check_name(resource: &Resource, field: &str, name: &str, causes: &mut Vec<Cause>) {
    match (resource.group.as_str(), resource.kind.as_str()) {
        ("", "Namespace") | ("apps", "StatefulSet") => {
            if name.contains('.') {
                causes.push(Cause::invalid(field, &Value::from(name), "must not contain dots"));
            } else {
                LABEL.check(field, name, causes);
            }
        }
        ("", "Service") => LABEL.check(field, name, causes),
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
        ("batch", "CronJob") => {
            SUBDOMAIN.check(field, name, causes);
            // Its Jobs' names are eleven characters longer, and a label's value.
            if name.len() > 52 {
                causes.push(Cause::invalid(field, &Value::from(name), "must be no more than 52 characters"));
            }
        }
        _ => SUBDOMAIN.check(field, name, causes),
    }
}

/// Whether Kubernetes itself has it.
fn is_standard_finalizer(name: &str) -> bool {
    matches!(name, "orphan" | "foregroundDeletion" | "kubernetes")
}

fn metadata(resource: &Resource, object: &Value, causes: &mut Vec<Cause>) {
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
        causes.push(Cause::too_long("metadata.annotations", 256 << 10));
    }
    owners(object, causes);
    let finalizers = object.pointer("/metadata/finalizers").and_then(Value::as_array);
    let names: Vec<&str> = finalizers.into_iter().flatten().filter_map(Value::as_str).collect();
    for (index, name) in names.iter().enumerate() {
        qualified("metadata.finalizers", name, causes);
        // Only the API server's own kinds ask for more than a name.
        let is_own = resource.custom.is_none()
            && !matches!(resource.group.as_str(), "apiextensions.k8s.io" | "apiregistration.k8s.io");
        if is_own && !name.contains('/') && !is_standard_finalizer(name) {
            let detail = "name is neither a standard finalizer name nor is it fully qualified";
            causes.push(Cause::invalid(format!("metadata.finalizers[{index}]"), &Value::from(*name), detail));
        }
    }
    if names.contains(&"orphan") && names.contains(&"foregroundDeletion") {
        let detail = "finalizer orphan and foregroundDeletion cannot be both set";
        causes.push(Cause::invalid("metadata.finalizers", &Value::from(names), detail));
    }
}

fn owners(object: &Value, causes: &mut Vec<Cause>) {
    let Some(owners) = object.pointer("/metadata/ownerReferences").and_then(Value::as_array) else {
        return;
    };
    for owner in owners {
        let version = text(owner, "/apiVersion");
        if version.is_empty() || version.matches('/').count() > 1 {
            let field = "metadata.ownerReferences.apiVersion";
            causes.push(Cause::invalid(field, &Value::from(version), "version must not be empty"));
        }
        for field in ["kind", "name", "uid"] {
            if text(owner, &format!("/{field}")).is_empty() {
                let path = format!("metadata.ownerReferences.{field}");
                causes.push(Cause::invalid(path, &Value::from(""), "must not be empty"));
            }
        }
        if version == "v1" && text(owner, "/kind") == "Event" {
            let detail = "/v1, Kind=Event is disallowed from being an owner";
            causes.push(Cause::invalid("metadata.ownerReferences", owner, detail));
        }
    }
    let controllers: Vec<&str> = owners
        .iter()
        .filter(|owner| owner.get("controller") == Some(&Value::Bool(true)))
        .map(|owner| text(owner, "/name"))
        .collect();
    if let [first, second, ..] = controllers.as_slice() {
        let detail = format!(
            "Only one reference can have Controller set to true. Found \"true\" in references for {first} and {second}"
        );
        causes.push(Cause::invalid("metadata.ownerReferences", &Value::Array(owners.clone()), &detail));
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
    } else if resource.kind == "CustomResourceDefinition" {
        causes.extend(crd::validate_crd(object));
    } else {
        kinds::contents(resource, object, causes);
    }
}

/// Refuses a value that is none of those.
fn one_of(object: &Value, pointer: &str, field: &str, allowed: &[&str], causes: &mut Vec<Cause>) {
    let value = text(object, pointer);
    if !value.is_empty() && !allowed.contains(&value) {
        let allowed: Vec<String> = allowed.iter().map(|name| (*name).to_owned()).collect();
        causes.push(Cause::not_supported(field, &Value::from(value), &allowed));
    }
}

/// Refuses a negative number.
fn not_negative(object: &Value, pointer: &str, field: &str, causes: &mut Vec<Cause>) {
    if let Some(number) = object.pointer(pointer).and_then(Value::as_i64).filter(|number| *number < 0) {
        let detail = "must be greater than or equal to 0";
        causes.push(Cause::invalid(field, &Value::from(number), detail));
    }
}
