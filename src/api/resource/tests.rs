use serde_json::{Value, json};

use super::*;
use crate::api::{HealthStatusCode, OperationPhase, SyncStatusCode, crd};

/// A value with every property of a schema set, so that nothing can be forgotten.
fn full_value(schema: &Value) -> Value {
    if let Some(properties) = schema["properties"].as_object() {
        return properties.iter().map(|(name, property)| (name.clone(), full_value(property))).collect();
    }
    if schema["x-kubernetes-preserve-unknown-fields"] == true {
        return json!({ "replicas": 2, "unset": null, "list": [{ "a": 1 }] });
    }
    if let Some(choices) = schema["enum"].as_array() {
        return choices[0].clone();
    }
    match schema["type"].as_str() {
        Some("array") => json!([full_value(&schema["items"])]),
        Some("object") => match schema.get("additionalProperties") {
            Some(values) => json!({ "key": full_value(values) }),
            None => json!({ "name": "orders", "namespace": "argocd" }),
        },
        Some("string") if schema["format"] == "date-time" => json!("2026-01-31T08:15:00Z"),
        Some("string") => json!("some text"),
        Some("integer") => json!(7),
        Some("boolean") => json!(true),
        None if schema["x-kubernetes-int-or-string"] == true => json!("3"),
        other => panic!("a schema of type {other:?}: {schema}"),
    }
}

/// Gives enumerations one of their names.
fn name_enumerations(value: &mut Value) {
    let names = [
        ("/status/sourceType", "Kustomize"),
        ("/status/sourceTypes/0", "Helm"),
        ("/status/sync/status", "OutOfSync"),
        ("/status/health/status", "Degraded"),
        ("/status/resources/0/status", "Synced"),
        ("/status/resources/0/health/status", "Missing"),
        ("/status/operationState/phase", "Failed"),
        ("/status/operationState/syncResult/resources/0/hookPhase", "Running"),
        ("/status/operationState/syncResult/resources/0/hookType", "PreSync"),
        ("/status/operationState/syncResult/resources/0/status", "PruneSkipped"),
        ("/status/operationState/syncResult/resources/0/syncPhase", "PostSync"),
    ];
    for (pointer, name) in names {
        *value.pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer} is missing")) = json!(name);
    }
}

#[test]
fn every_field_of_an_application_survives_a_round_trip() {
    let definition = &crd::definitions()[0];
    let mut value = full_value(&definition.value["spec"]["versions"][0]["schema"]["openAPIV3Schema"]);
    value["apiVersion"] = json!("argoproj.io/v1alpha1");
    value["kind"] = json!("Application");
    name_enumerations(&mut value);
    let application = Application::from_value(value.clone()).unwrap();
    assert_eq!(application.to_value(), value);
    assert_eq!(application.status.sync_code(), SyncStatusCode::OutOfSync);
}

#[test]
fn every_field_of_a_project_survives_a_round_trip() {
    let definition = &crd::definitions()[1];
    let mut value = full_value(&definition.value["spec"]["versions"][0]["schema"]["openAPIV3Schema"]);
    value["apiVersion"] = json!("argoproj.io/v1alpha1");
    value["kind"] = json!("AppProject");
    assert_eq!(AppProject::from_value(value.clone()).unwrap().to_value(), value);
}

#[test]
fn an_absent_whitelist_is_not_an_empty_one() {
    let empty = AppProject::from_value(json!({ "spec": { "namespaceResourceWhitelist": [] } })).unwrap();
    assert_eq!(empty.spec.namespace_resource_whitelist, Some(Vec::new()));
    assert_eq!(AppProject::from_value(empty.to_value()).unwrap(), empty);
    let absent = AppProject::from_value(json!({ "spec": {} })).unwrap();
    assert_eq!(absent.spec.namespace_resource_whitelist, None);
}

#[test]
fn unknown_fields_nulls_and_odd_enumerations_are_read() {
    let application = Application::from_value(json!({
        "metadata": { "name": "orders", "creationTimestamp": null },
        "spec": { "source": { "repoURL": "r", "kustomize": null, "future": 1 }, "syncPolicy": null },
        "status": {
            "health": {},
            "sync": { "status": "" },
            "sourceType": "",
            "resources": [{ "kind": "Job", "status": "" }],
            "operationState": { "phase": "Dancing" },
        },
        "operation": null,
    }))
    .unwrap();
    assert_eq!(application.status.health_code(), HealthStatusCode::Unknown);
    assert_eq!(application.status.sync_code(), SyncStatusCode::Unknown);
    assert_eq!(application.status.source_type, None);
    assert_eq!(application.status.resources[0].status, None);
    assert_eq!(application.status.operation_state.unwrap().phase, OperationPhase::Error);
    assert_eq!(application.operation, None);
}

#[test]
fn a_null_in_helm_values_is_kept_because_it_unsets_a_default() {
    let value = json!({ "spec": { "source": { "helm": { "valuesObject": { "a": null } } } } });
    let application = Application::from_value(value).unwrap();
    assert_eq!(application.spec.source.unwrap().helm.unwrap().values_object, Some(json!({ "a": null })));
}

#[test]
fn a_field_of_the_wrong_type_is_named() {
    let value = json!({
        "metadata": { "name": "orders", "namespace": "argocd" },
        "spec": { "syncPolicy": { "automated": { "prune": "yes" } } },
    });
    let error = Application::from_value(value).unwrap_err();
    let text = crate::error::chain(&error);
    assert!(text.contains("Application 'argocd/orders'"), "{text}");
    assert!(text.contains("spec.syncPolicy.automated.prune"), "{text}");
}

#[test]
fn an_untouched_application_writes_no_status() {
    let value = json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Application",
        "metadata": { "name": "orders" },
        "spec": { "destination": { "server": "s" }, "project": "default" },
    });
    assert_eq!(Application::from_value(value.clone()).unwrap().to_value(), value);
}
