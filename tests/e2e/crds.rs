//! The same behaviour with other definitions of the custom resources than Skiff's own.

use serde_json::{Value, json};
use skiff::{
    api::{OperationPhase, OperationState},
    sandbox::fault::{Fault, FaultRule},
};

use super::{
    cluster::{own_definitions, parse},
    harness::{Setup, World, config_map},
};

/// Argo CD's own definitions.
fn of_argo_cd() -> Vec<Value> {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/conformance/argocd-crds");
    let read = |name: &str| parse(&std::fs::read_to_string(format!("{directory}/{name}")).unwrap());
    vec![read("application-crd.yaml"), read("appproject-crd.yaml")]
}

/// Skiff's definitions with a status subresource.
fn with_status_subresource() -> Vec<Value> {
    let mut definitions = own_definitions();
    for definition in &mut definitions {
        for version in definition["spec"]["versions"].as_array_mut().unwrap() {
            version["subresources"] = json!({ "status": {} });
        }
    }
    definitions
}

/// The life of an Application: synced, healed, pruned, synced by hand.
async fn lives(world: &World) {
    let first = world
        .repository
        .commit(&[("app/a.yaml", Some(&config_map("a", "1"))), ("app/b.yaml", Some(&config_map("b", "1")))]);
    world.apply(world.automated("orders", "app")).await;
    let application = world.until_synced("orders", &first).await;
    assert_eq!(application.status.history.len(), 1);
    world.patch("v1", "ConfigMap", &world.namespace, "a", json!({ "data": { "key": "drift" } })).await;
    world
        .until("the drift is put back", async |w: &World| {
            let live = w.get("v1", "ConfigMap", &w.namespace, "a").await?;
            (live["data"]["key"] == "1").then_some(())
        })
        .await;
    world.until_synced("orders", &first).await;
    let second = world.repository.commit(&[("app/b.yaml", None)]);
    let application = world.until_synced("orders", &second).await;
    assert_eq!(world.names("v1", "ConfigMap", &world.namespace).await, ["a"]);
    let operation = application.status.operation_state.unwrap().operation;
    assert!(operation.initiated_by.automated);

    world.change_spec("orders", json!({ "syncPolicy": { "automated": null } })).await;
    let operation =
        json!({ "initiatedBy": { "username": "person" }, "sync": { "revision": first.as_str() } });
    world
        .patch(
            "argoproj.io/v1alpha1",
            "Application",
            &world.argocd,
            "orders",
            json!({ "operation": operation }),
        )
        .await;
    world
        .until_application("orders", "was synced by hand", |application| {
            let state = application.status.operation_state.as_ref().unwrap();
            application.operation.is_none()
                && state.phase == OperationPhase::Succeeded
                && state.operation.initiated_by.username == "person"
        })
        .await;
    assert_eq!(world.names("v1", "ConfigMap", &world.namespace).await, ["a", "b"]);
    let application = world.read_application("orders").await;
    assert_eq!(application.status.history.last().unwrap().revision, first.as_str());
    world.requests.clear();
    world.refresh("orders").await;
    assert_eq!(world.requests.writes().len(), 1, "only the annotation of the refresh is removed");
}

#[tokio::test]
async fn an_application_lives_with_the_definitions_of_argo_cd() {
    lives(&Setup::new().definitions(of_argo_cd()).build().await).await;
}

#[tokio::test]
async fn an_application_lives_with_a_status_subresource() {
    lives(&Setup::new().definitions(with_status_subresource()).build().await).await;
}

#[tokio::test]
async fn a_retry_survives_with_a_status_subresource() {
    let world = Setup::new().definitions(with_status_subresource()).build().await;
    let commit = world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "1")))]);
    let fails_once = FaultRule::on("patch", "configmaps").named("a").times(1);
    world.faults.inject(fails_once, Fault::InternalError);
    let mut application = world.automated("orders", "app");
    application["spec"]["syncPolicy"]["retry"] = json!({ "limit": 2, "backoff": { "duration": "1s" } });
    world.apply(application).await;
    world
        .until_application("orders", "waits for its next attempt", |application| {
            application.status.operation_state.as_ref().is_some_and(OperationState::is_waiting_for_retry)
        })
        .await;
    let application = world.until_synced("orders", &commit).await;
    assert_eq!(application.status.operation_state.unwrap().retry_count, 1);
}
