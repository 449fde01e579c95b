//! What the workload controllers share: Pods from templates, owners, readiness, conditions.

use serde_json::{Map, Value, json};

use super::{Context, Key};
use crate::object::GroupKind;
use crate::sandbox::defaults::sorted;
use crate::sandbox::status::ApiError;
use crate::sandbox::store::{Propagation, now};

/// The field manager of everything but the kubelet.
pub(super) const MANAGER: &str = "kube-controller-manager";

pub(super) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

pub(super) fn number(value: &Value, pointer: &str) -> Option<i64> {
    value.pointer(pointer).and_then(Value::as_i64)
}

pub(super) fn count(items: usize) -> i64 {
    i64::try_from(items).unwrap_or(i64::MAX)
}

pub(super) fn key(object: &Value) -> Key {
    (text(object, "/metadata/namespace").to_owned(), text(object, "/metadata/name").to_owned())
}

pub(super) fn is_terminating(object: &Value) -> bool {
    !text(object, "/metadata/deletionTimestamp").is_empty()
}

/// The owner reference of the object's controller.
pub(super) fn controller_of(object: &Value) -> Option<&Value> {
    let references = object.pointer("/metadata/ownerReferences")?.as_array()?;
    references.iter().find(|reference| reference.get("controller") == Some(&Value::Bool(true)))
}

/// An owner reference to this object as the controller.
pub(super) fn owner_reference(owner: &Value) -> Value {
    json!({
        "apiVersion": text(owner, "/apiVersion"),
        "kind": text(owner, "/kind"),
        "name": text(owner, "/metadata/name"),
        "uid": text(owner, "/metadata/uid"),
        "controller": true,
        "blockOwnerDeletion": true,
    })
}

/// The objects of a kind that this object controls and that are not being deleted, in name order.
pub(super) fn controlled(context: &Context, owner: &Value, kind: &str) -> Vec<Value> {
    let uid = text(owner, "/metadata/uid");
    let mut objects = context.store.list_owned(uid);
    objects.retain(|object| {
        text(object, "/kind") == kind
            && !is_terminating(object)
            && controller_of(object).is_some_and(|reference| text(reference, "/uid") == uid)
    });
    objects.sort_by(|a, b| text(a, "/metadata/name").cmp(text(b, "/metadata/name")));
    objects
}

/// A Pod from a workload's template, with extra labels.
pub(super) fn pod_of(context: &Context, owner: &Value, name: Option<&str>, labels: &[(&str, &str)]) -> Value {
    let template = owner.pointer("/spec/template").cloned().unwrap_or_default();
    let mut metadata = Map::new();
    match name {
        Some(name) => metadata.insert("name".to_owned(), json!(name)),
        None => {
            let prefix = format!("{}-", text(owner, "/metadata/name"));
            metadata.insert("generateName".to_owned(), json!(prefix))
        }
    };
    metadata.insert("namespace".to_owned(), json!(text(owner, "/metadata/namespace")));
    let mut all_labels =
        template.pointer("/metadata/labels").and_then(Value::as_object).cloned().unwrap_or_default();
    for (name, value) in labels {
        all_labels.insert((*name).to_owned(), json!(value));
    }
    metadata.insert("labels".to_owned(), Value::Object(all_labels));
    if let Some(annotations) = template.pointer("/metadata/annotations") {
        metadata.insert("annotations".to_owned(), annotations.clone());
    }
    metadata.insert("ownerReferences".to_owned(), json!([owner_reference(owner)]));
    let mut spec = template.get("spec").cloned().unwrap_or_default();
    if let Some(spec) = spec.as_object_mut() {
        spec.entry("nodeName").or_insert_with(|| json!(context.options.node_name));
    }
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
}

/// A short name for the content of a template, as `pod-template-hash` has it.
pub(super) fn hash(template: &Value) -> String {
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut hash: u32 = 0x811c_9dc5;
    for byte in sorted(template).to_string().bytes() {
        hash = (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    }
    let letter = |digit: u8| ALPHABET.get(usize::from(digit) % ALPHABET.len()).copied().unwrap_or(b'b');
    hash.to_string().bytes().map(|digit| char::from(letter(digit))).collect()
}

pub(super) fn has_condition(object: &Value, condition: &str) -> bool {
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
    conditions.into_iter().flatten().any(|it| text(it, "/type") == condition && text(it, "/status") == "True")
}

/// Whether a Pod is ready.
pub(super) fn is_ready(pod: &Value) -> bool {
    has_condition(pod, "Ready")
}

/// Whether a Pod has been ready for at least this long.
pub(super) fn is_available(pod: &Value, min_ready_seconds: i64) -> bool {
    if !is_ready(pod) || min_ready_seconds <= 0 {
        return is_ready(pod);
    }
    let conditions = pod.pointer("/status/conditions").and_then(Value::as_array);
    let since = conditions
        .into_iter()
        .flatten()
        .find(|it| text(it, "/type") == "Ready")
        .and_then(|it| text(it, "/lastTransitionTime").parse::<jiff::Timestamp>().ok());
    since.is_some_and(|since| {
        jiff::Timestamp::now().as_second().saturating_sub(since.as_second()) >= min_ready_seconds
    })
}

/// A list of conditions with one set; its times change only when its status does.
pub(super) fn with_condition(conditions: &[Value], condition: &Value, updates: bool) -> Vec<Value> {
    let kind = text(condition, "/type");
    let old = conditions.iter().find(|it| text(it, "/type") == kind);
    let same = |field: &str| old.is_some_and(|old| old.get(field) == condition.get(field));
    if same("status") && same("reason") && same("message") {
        return conditions.to_vec();
    }
    let mut new = condition.clone();
    if let Some(new) = new.as_object_mut() {
        let transition =
            old.filter(|_| same("status")).and_then(|old| old.get("lastTransitionTime").cloned());
        if updates {
            new.insert("lastUpdateTime".to_owned(), json!(now()));
        }
        new.insert("lastTransitionTime".to_owned(), transition.unwrap_or_else(|| json!(now())));
    }
    let mut conditions: Vec<Value> =
        conditions.iter().filter(|it| text(it, "/type") != kind).cloned().collect();
    conditions.push(new);
    conditions
}

/// The conditions that an object has.
pub(super) fn conditions(object: &Value) -> Vec<Value> {
    object.pointer("/status/conditions").and_then(Value::as_array).cloned().unwrap_or_default()
}

/// Writes a status if it differs from the object's.
///
/// # Errors
/// What the store refuses.
pub(super) fn write_status(
    context: &Context,
    object: &Value,
    status: Value,
    manager: &str,
) -> Result<(), ApiError> {
    if object.get("status") == Some(&status) {
        return Ok(());
    }
    let mut object = object.clone();
    if let Some(map) = object.as_object_mut() {
        map.insert("status".to_owned(), status);
    }
    context.store.update_status(object, manager).map(|_| ())
}

/// Deletes an object; it may be gone already.
///
/// # Errors
/// What the store refuses.
pub(super) fn delete(context: &Context, object: &Value) -> Result<(), ApiError> {
    let api_version = text(object, "/apiVersion");
    let group = api_version.rsplit_once('/').map_or("", |(group, _)| group);
    let kind = GroupKind::new(group, text(object, "/kind"));
    let (namespace, name) = key(object);
    match context.store.delete(&kind, &namespace, &name, Propagation::Background) {
        Err(error) if error.code() != 404 => Err(error),
        _ => Ok(()),
    }
}

/// Sets a field of an object's `spec`.
pub(super) fn set_spec(object: &mut Value, field: &str, value: Value) {
    if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
        spec.insert(field.to_owned(), value);
    }
}

/// The images of a Pod's containers that have this word in their tag.
pub(super) fn has_tag(container: &Value, word: &str) -> bool {
    let image = text(container, "/image");
    let name = image.rsplit('/').next().unwrap_or_default();
    name.split_once(':').is_some_and(|(_, tag)| tag.contains(word))
}
