//! Taking over objects that a client-side apply has written: kubectl's, or Argo CD's own.
//!
//! ```text
//! last-applied-configuration ──at storage──▶ set of the fields that were declared ──▶ left behind: live, not declared any more
//! managedFields of the client-side manager ──before the first apply──▶ Skiff's own entry ──▶ the apply removes them
//! ```
//!
//! A client-side apply notes what it declared in an annotation, values included. What is kept of it is the set of
//! fields without values, in the form of an entry of `managedFields` that no API server writes.

use serde_json::{Map, Value, json};

use crate::{
    api::names,
    object::{
        Gvk, Object,
        fields::{FieldSet, remove},
        schema::{self, TypeRef},
    },
};

/// The manager of the entry that keeps what a client-side apply declared.
pub(super) const LAST_APPLIED_MANAGER: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// The manager of kubectl's client-side apply.
const KUBECTL: &str = "kubectl-client-side-apply";

/// Managers whose client-side applies are taken over: kubectl's, Argo CD's (by its own name and by the older one), and
/// one that an Application names.
pub fn client_side_managers(named: Option<&str>) -> Vec<&str> {
    let known = [KUBECTL, names::FIELD_MANAGER, "argocd-application-controller"];
    known.into_iter().chain(named).collect()
}

/// Replaces the annotation of a client-side apply in a live object by the set of fields that it declares.
pub(super) fn condense(live: &mut Value) {
    let text = |value: &Value, pointer: &str| {
        value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let gvk = Gvk::from_api_version(&text(live, "/apiVersion"), &text(live, "/kind"));
    let Some(metadata) = live.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    let Some(Value::Object(annotations)) = metadata.get_mut("annotations") else { return };
    let Some(Value::String(applied)) = annotations.shift_remove(names::ANNOTATION_LAST_APPLIED) else {
        return;
    };
    if annotations.is_empty() {
        metadata.shift_remove("annotations");
    }
    let Ok(mut applied) = serde_json::from_str::<Value>(&applied) else { return };
    for identity in ["apiVersion", "kind", "status"] {
        if let Some(fields) = applied.as_object_mut() {
            fields.shift_remove(identity);
        }
    }
    if let Some(secret) = applied.as_object_mut().filter(|_| gvk.kind == "Secret" && gvk.group.is_empty()) {
        move_string_data(secret);
    }
    let schema = schema::built_in(&gvk).unwrap_or_else(TypeRef::deduced);
    let fields = FieldSet::of_value(&applied, &schema).to_fields_v1();
    let entry = json!({ "manager": LAST_APPLIED_MANAGER, "operation": "Update", "fieldsV1": fields });
    match metadata.entry("managedFields").or_insert(Value::Null) {
        Value::Array(entries) => entries.push(entry),
        other => *other = Value::Array(vec![entry]),
    }
}

/// The API server keeps `stringData` in `data`.
fn move_string_data(secret: &mut Map<String, Value>) {
    if let Some(Value::Object(texts)) = secret.shift_remove("stringData") {
        let data = secret.entry("data").or_insert(Value::Null);
        if data.is_null() {
            *data = Value::Object(Map::new());
        }
        if let Some(data) = data.as_object_mut() {
            data.extend(texts);
        }
    }
}

/// Whether a stored live object was written by a client-side apply that nobody has taken over yet.
pub fn was_applied_client_side(live: &Object) -> bool {
    entries(live).any(|entry| text(entry, "manager") == LAST_APPLIED_MANAGER)
}

/// The managed fields of a live object in which `own` has, by apply, what client-side `managers` have by update;
/// `None` when they have nothing.
pub fn taken_over(live: &Object, managers: &[&str], own: &str) -> Option<Value> {
    let is_client_side = |entry: &Value| {
        managers.contains(&text(entry, "manager"))
            && text(entry, "operation") == "Update"
            && text(entry, "subresource").is_empty()
    };
    let is_own = |entry: &Value| {
        text(entry, "manager") == own
            && text(entry, "operation") == "Apply"
            && text(entry, "subresource").is_empty()
    };
    if !entries(live).any(is_client_side) {
        return None;
    }
    let fields = |entry: &Value| {
        entry.get("fieldsV1").and_then(|fields| FieldSet::from_fields_v1(fields).ok()).unwrap_or_default()
    };
    let held = entries(live).filter(|entry| is_client_side(entry) || is_own(entry));
    let union = held.fold(FieldSet::new(), |union, entry| union.union(&fields(entry)));
    let mut kept: Vec<Value> =
        entries(live).filter(|entry| !is_client_side(entry) && !is_own(entry)).cloned().collect();
    let mut entry = entries(live).find(|entry| is_own(entry) || is_client_side(entry)).cloned()?;
    if let Some(entry) = entry.as_object_mut() {
        entry.insert("manager".to_owned(), own.into());
        entry.insert("operation".to_owned(), "Apply".into());
        entry.insert("fieldsV1".to_owned(), union.to_fields_v1());
    }
    kept.insert(0, entry);
    Some(Value::Array(kept))
}

/// What `predicted`, the outcome of a server-side apply, is once the apply has taken over what client-side applies
/// declared: without the fields that they declared and the source does not. `live` is as it is stored.
pub fn without_left_behind(predicted: &Object, desired: &Object, live: &Object) -> Object {
    let entry = entries(live).find(|entry| text(entry, "manager") == LAST_APPLIED_MANAGER);
    let held = entry.and_then(|entry| FieldSet::from_fields_v1(entry.get("fieldsV1")?).ok());
    let Some(held) = held else { return predicted.clone() };
    let schema = schema::built_in(&desired.gvk()).unwrap_or_else(TypeRef::deduced);
    let mut wanted = desired.value().clone();
    if let Some(secret) = wanted.as_object_mut().filter(|_| desired.kind() == "Secret") {
        move_string_data(secret);
    }
    let left = held.difference(&FieldSet::of_value(&wanted, &schema));
    Object::from_value(remove(predicted.value(), &left, &schema)).unwrap_or_else(|_| predicted.clone())
}

fn entries(live: &Object) -> impl Iterator<Item = &Value> {
    let entries = live.value().pointer("/metadata/managedFields").and_then(Value::as_array);
    entries.into_iter().flatten()
}

fn text<'a>(entry: &'a Value, name: &str) -> &'a str {
    entry.get(name).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::{Local, Rules, local, strip_for_storage};

    fn live(last_applied: &Value, data: &Value) -> Object {
        let fields = |names: &[&str]| {
            let data: Map<String, Value> =
                names.iter().map(|name| (format!("f:{name}"), json!({}))).collect();
            json!({ "f:data": data })
        };
        Object::from_value(json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {
                "name": "a", "resourceVersion": "7",
                "annotations": { names::ANNOTATION_LAST_APPLIED: last_applied.to_string() },
                "managedFields": [
                    { "manager": "kubectl-client-side-apply", "operation": "Update", "apiVersion": "v1",
                      "fieldsType": "FieldsV1", "time": "2026-01-01T00:00:00Z", "fieldsV1": fields(&["kept", "removed"]) },
                    { "manager": "somebody", "operation": "Update", "apiVersion": "v1",
                      "fieldsType": "FieldsV1", "fieldsV1": fields(&["theirs"]) },
                ],
            },
            "data": data,
        }))
        .unwrap()
    }

    fn config_map(data: &Value) -> Value {
        json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "a" }, "data": data })
    }

    fn stored(live: &Object) -> Object {
        let value = strip_for_storage(live.value().clone(), names::FIELD_MANAGER, &Default::default());
        Object::from_value(value).unwrap()
    }

    fn compared(desired: &Value, live: &Object) -> Local {
        let desired = Object::from_value(desired.clone()).unwrap();
        local(&desired, live, &Rules::default(), names::FIELD_MANAGER)
    }

    #[test]
    fn a_field_that_a_client_side_apply_declared_and_the_source_does_not_is_left_behind() {
        let before = json!({ "kept": "1", "removed": "secret-value" });
        let live =
            stored(&live(&config_map(&before), &json!({ "kept": "1", "removed": "2", "theirs": "3" })));
        assert!(was_applied_client_side(&live));
        assert!(!live.value().to_string().contains("secret-value"), "no value is kept of the annotation");
        let Local::LeftBehind(left) = compared(&config_map(&json!({ "kept": "1" })), &live) else {
            panic!("the field is left behind")
        };
        let left: Vec<String> = left.iter().map(ToString::to_string).collect();
        assert_eq!(left, ["data.removed is not declared"]);
    }

    #[test]
    fn an_object_that_agrees_is_the_same_whoever_applied_it() {
        let data = json!({ "kept": "1" });
        let live = stored(&live(&config_map(&data), &json!({ "kept": "1", "theirs": "3" })));
        assert_eq!(compared(&config_map(&data), &live), Local::Same);
    }

    #[test]
    fn what_is_left_behind_is_not_in_the_outcome() {
        let before = config_map(&json!({ "kept": "1", "removed": "2" }));
        let live = live(&before, &json!({ "kept": "1", "removed": "2", "theirs": "3" }));
        let desired = Object::from_value(config_map(&json!({ "kept": "4" }))).unwrap();
        let predicted =
            Object::from_value(config_map(&json!({ "kept": "4", "removed": "2", "theirs": "3" }))).unwrap();
        let outcome = without_left_behind(&predicted, &desired, &stored(&live));
        assert_eq!(outcome.value()["data"], json!({ "kept": "4", "theirs": "3" }));
        assert_eq!(outcome.value()["metadata"]["name"], "a");
        assert_eq!(without_left_behind(&predicted, &desired, &predicted), predicted);
    }

    #[test]
    fn the_fields_of_client_side_applies_become_skiffs_own() {
        let live = live(&config_map(&json!({})), &json!({}));
        let taken = taken_over(&live, &client_side_managers(None), names::FIELD_MANAGER).unwrap();
        let managers: Vec<(&str, &str)> = taken
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| (text(entry, "manager"), text(entry, "operation")))
            .collect();
        assert_eq!(managers, [(names::FIELD_MANAGER, "Apply"), ("somebody", "Update")]);
        assert_eq!(taken[0]["fieldsV1"], json!({ "f:data": { "f:kept": {}, "f:removed": {} } }));
    }

    #[test]
    fn what_other_managers_have_stays_theirs() {
        let live = live(&config_map(&json!({})), &json!({}));
        let others = Object::from_value({
            let mut value = live.value().clone();
            value["metadata"]["managedFields"].as_array_mut().unwrap().remove(0);
            value
        });
        assert_eq!(taken_over(&others.unwrap(), &client_side_managers(None), names::FIELD_MANAGER), None);
    }

    #[test]
    fn an_unreadable_annotation_says_nothing() {
        let mut value = live(&json!({}), &json!({})).into_value();
        value["metadata"]["annotations"][names::ANNOTATION_LAST_APPLIED] = "{".into();
        assert!(!was_applied_client_side(&stored(&Object::from_value(value).unwrap())));
    }
}
