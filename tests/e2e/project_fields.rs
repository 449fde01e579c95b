//! Fields of an AppProject that are not acted on yet: nobody may think that they are.

use serde_json::{Value, json};
use skiff::api::{OperationPhase, SyncStatusCode, names};

use super::harness::{World, config_map, find_condition};

/// A project that permits everything, with one field more.
fn with(field: &str, value: Value) -> Value {
    let mut spec = json!({
        "sourceRepos": ["*"],
        "destinations": [{ "server": "*", "namespace": "*" }],
        "clusterResourceWhitelist": [{ "group": "*", "kind": "*" }],
    });
    spec[field] = value;
    spec
}

fn of_project(mut application: Value, project: &str) -> Value {
    application["spec"]["project"] = json!(project);
    application
}

#[tokio::test]
async fn a_sync_that_somebody_asks_for_ends_in_an_error_that_names_the_field() {
    let world = World::new().await;
    let commit = world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "1")))]);
    let keys = json!([{ "keyID": "4AEE18F83AFDEB23" }]);
    world.project("team-a", with("signatureKeys", keys)).await;
    world.apply(of_project(world.application("orders", "app"), "team-a")).await;
    world.until_status("orders", SyncStatusCode::OutOfSync).await;
    let patch = json!({ "operation": {
        "sync": { "syncOptions": ["CreateNamespace=true"] },
        "retry": { "limit": 5 },
    } });
    world.patch("argoproj.io/v1alpha1", "Application", &world.argocd, "orders", patch).await;
    let application = world.until_operation("orders", OperationPhase::Error).await;
    let state = application.status.operation_state.unwrap();
    assert!(state.message.starts_with("AppProject 'team-a': spec.signatureKeys: "), "{}", state.message);
    assert_eq!(state.retry_count, 0);
    assert_eq!(world.written(), [""; 0]);

    world.project("team-a", with("description", json!("no keys any more"))).await;
    world.sync("orders", json!({ "syncOptions": ["CreateNamespace=true"] })).await;
    world.until_synced("orders", &commit).await;
}

#[tokio::test]
async fn a_field_that_restricts_nothing_is_only_told_of() {
    let world = World::new().await;
    let commit = world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "1")))]);
    let accounts = json!([{ "server": "*", "namespace": "*", "defaultServiceAccount": "deployer" }]);
    world.project("team-a", with("destinationServiceAccounts", accounts)).await;
    world.apply(of_project(world.automated("orders", "app"), "team-a")).await;
    let application = world.until_synced("orders", &commit).await;
    let text = "AppProject 'team-a': spec.destinationServiceAccounts";
    assert!(find_condition(&application, names::CONDITION_UNSUPPORTED_FIELD_WARNING, text).is_some());
    assert_eq!(application.status.conditions.len(), 1, "{:?}", application.status.conditions);
}
