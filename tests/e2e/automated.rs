//! What the automated sync policy does by itself, and what it leaves to people.

use serde_json::{Value, json};
use skiff::api::{OperationState, SyncStatusCode, names};

use super::harness::{World, config_map, deployment};

/// An Application with this automated policy.
async fn apply_with(world: &World, automated: Value) {
    let mut application = world.automated("orders", "app");
    application["spec"]["syncPolicy"]["automated"] = automated;
    world.apply(application).await;
}

async fn replicas(world: &World) -> Value {
    world.get("apps/v1", "Deployment", &world.namespace, "orders").await.unwrap()["spec"]["replicas"].clone()
}

#[tokio::test]
async fn a_policy_that_is_switched_off_syncs_nothing() {
    let world = World::new().await;
    let commit = world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "1")))]);
    apply_with(&world, json!({ "enabled": false, "prune": true, "selfHeal": true })).await;
    world.until_status("orders", SyncStatusCode::OutOfSync).await;
    let application = world.refresh("orders").await;
    assert_eq!(application.status.operation_state, None);
    assert_eq!(world.written(), [""; 0]);

    world.change_spec("orders", json!({ "syncPolicy": { "automated": { "enabled": true } } })).await;
    world.until_synced("orders", &commit).await;
}

#[tokio::test]
async fn without_prune_an_object_that_was_removed_from_the_source_stays_and_is_shown() {
    let world = World::new().await;
    let commit = world
        .repository
        .commit(&[("app/a.yaml", Some(&config_map("a", "1"))), ("app/b.yaml", Some(&config_map("b", "1")))]);
    apply_with(&world, json!({ "selfHeal": true })).await;
    world.until_synced("orders", &commit).await;
    world.repository.commit(&[("app/b.yaml", None)]);
    world.until_status("orders", SyncStatusCode::OutOfSync).await;
    let application = world.refresh("orders").await;
    let row = application.status.resources.iter().find(|row| row.name == "b").unwrap();
    assert!(row.requires_pruning);
    assert_eq!(row.status, Some(SyncStatusCode::OutOfSync));
    assert_eq!(world.names("v1", "ConfigMap", &world.namespace).await, ["a", "b"]);
    assert_eq!(application.status.history.len(), 1, "no sync begins for an object that it would leave alone");
}

#[tokio::test]
async fn a_change_of_the_rest_is_synced_while_an_object_waits_to_be_pruned() {
    let world = World::new().await;
    let commit = world
        .repository
        .commit(&[("app/a.yaml", Some(&config_map("a", "1"))), ("app/b.yaml", Some(&config_map("b", "1")))]);
    apply_with(&world, json!({})).await;
    world.until_synced("orders", &commit).await;
    world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "2"))), ("app/b.yaml", None)]);
    world
        .until("a has its new value", async |w: &World| {
            let live = w.get("v1", "ConfigMap", &w.namespace, "a").await?;
            (live["data"]["key"] == "2").then_some(())
        })
        .await;
    assert!(world.get("v1", "ConfigMap", &world.namespace, "b").await.is_some());
    world.until_status("orders", SyncStatusCode::OutOfSync).await;
}

#[tokio::test]
async fn without_self_heal_drift_is_shown_at_once_and_left_alone() {
    let world = World::new().await;
    let commit =
        world.repository.commit(&[("app/deployment.yaml", Some(&deployment("orders", "orders:1.0", 2)))]);
    apply_with(&world, json!({ "prune": true })).await;
    world.until_synced("orders", &commit).await;
    world.requests.clear();
    world
        .patch("apps/v1", "Deployment", &world.namespace, "orders", json!({ "spec": { "replicas": 5 } }))
        .await;
    let application = world.until_status("orders", SyncStatusCode::OutOfSync).await;
    let rows = &application.status.resources;
    assert_eq!(rows.iter().map(|row| row.status).collect::<Vec<_>>(), [Some(SyncStatusCode::OutOfSync)]);
    world.refresh("orders").await;
    assert_eq!(replicas(&world).await, 5);
    assert_eq!(world.written(), [""; 0]);

    world
        .patch("apps/v1", "Deployment", &world.namespace, "orders", json!({ "spec": { "replicas": 2 } }))
        .await;
    world.until_status("orders", SyncStatusCode::Synced).await;
}

#[tokio::test]
async fn an_object_that_somebody_deletes_is_brought_back() {
    let world = World::new().await;
    let commit = world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "1")))]);
    world.apply(world.automated("orders", "app")).await;
    world.until_synced("orders", &commit).await;
    world.delete("v1", "ConfigMap", &world.namespace, "a").await;
    world.until("a is back", async |w: &World| w.get("v1", "ConfigMap", &w.namespace, "a").await).await;
    world.until_synced("orders", &commit).await;
}

#[tokio::test]
async fn a_source_without_manifests_wipes_out_nothing_unless_that_is_allowed() {
    let world = World::new().await;
    let commit = world.repository.commit(&[
        ("app/README.md", Some("Manifests of the shop.\n")),
        ("app/a.yaml", Some(&config_map("a", "1"))),
        ("app/b.yaml", Some(&config_map("b", "1"))),
    ]);
    apply_with(&world, json!({ "prune": true, "selfHeal": true })).await;
    world.until_synced("orders", &commit).await;
    let empty = world.repository.commit(&[("app/a.yaml", None), ("app/b.yaml", None)]);
    let text = "auto-sync will wipe out all resources";
    world.until_condition("orders", names::CONDITION_SYNC_ERROR, text).await;
    world.refresh("orders").await;
    assert_eq!(world.names("v1", "ConfigMap", &world.namespace).await, ["a", "b"]);

    apply_with(&world, json!({ "prune": true, "selfHeal": true, "allowEmpty": true })).await;
    let application = world.until_synced("orders", &empty).await;
    assert_eq!(world.names("v1", "ConfigMap", &world.namespace).await, Vec::<String>::new());
    assert_eq!(application.status.conditions, []);
}

#[tokio::test]
async fn a_revision_that_failed_is_not_tried_again_until_another_one_comes() {
    let world = World::new().await;
    let broken = deployment("orders", "orders:1.0", 1).replace("replicas: 1", "replicas: -1");
    let commit = world.repository.commit(&[("app/deployment.yaml", Some(&broken))]);
    let mut application = world.automated("orders", "app");
    application["spec"]["syncPolicy"]["retry"] = json!({ "limit": 0 });
    world.apply(application).await;
    let text = format!("Failed last sync attempt to [{commit}]");
    let condition = world.until_condition("orders", names::CONDITION_SYNC_ERROR, &text).await;
    assert!(condition.message.contains("replicas"), "{}", condition.message);
    world.requests.clear();
    world.refresh("orders").await;
    let tried = world.requests.sent().into_iter().filter(|sent| sent.method == "PATCH");
    assert!(!tried.into_iter().any(|sent| sent.uri.contains("/deployments/")), "not even a dry run");

    let fix =
        world.repository.commit(&[("app/deployment.yaml", Some(&deployment("orders", "orders:1.0", 1)))]);
    let application = world.until_synced("orders", &fix).await;
    assert_eq!(application.status.conditions, []);
    assert_eq!(application.status.history.len(), 1);
}

#[tokio::test]
async fn a_fix_does_not_wait_for_the_retries_of_what_it_mends() {
    let world = World::new().await;
    let broken = deployment("orders", "orders:1.0", 1).replace("replicas: 1", "replicas: -1");
    world.repository.commit(&[("app/deployment.yaml", Some(&broken))]);
    let mut application = world.automated("orders", "app");
    let backoff = json!({ "duration": "1h", "maxDuration": "1h" });
    application["spec"]["syncPolicy"]["retry"] = json!({ "limit": 5, "backoff": backoff });
    world.apply(application).await;
    world
        .until_application("orders", "waits for its next attempt", |application| {
            application.status.operation_state.as_ref().is_some_and(OperationState::is_waiting_for_retry)
        })
        .await;
    let fix =
        world.repository.commit(&[("app/deployment.yaml", Some(&deployment("orders", "orders:1.0", 1)))]);
    let application = world.until_synced("orders", &fix).await;
    assert_eq!(application.status.operation_state.unwrap().retry_count, 0);
}

#[tokio::test]
async fn a_namespace_that_somebody_deletes_comes_back_with_its_objects() {
    let world = World::new().await;
    let commit = world.repository.commit(&[
        ("app/a.yaml", Some(&config_map("a", "1"))),
        ("app/web.yaml", Some(&deployment("web", "web:1.0", 1))),
    ]);
    let mut application = world.automated("orders", "app");
    application["spec"]["syncPolicy"]["retry"] =
        json!({ "limit": 9, "backoff": { "duration": "1s", "factor": 1 } });
    world.apply(application).await;
    world.until_synced("orders", &commit).await;
    let before = world.get("v1", "Namespace", "", &world.namespace).await.unwrap();
    world.delete("v1", "Namespace", "", &world.namespace).await;
    world
        .until("the objects are back in a new namespace", async |w: &World| {
            let namespace = w.get("v1", "Namespace", "", &w.namespace).await?;
            let is_new = namespace["metadata"]["uid"] != before["metadata"]["uid"];
            w.get("v1", "ConfigMap", &w.namespace, "a").await.filter(|_| is_new)?;
            w.get("apps/v1", "Deployment", &w.namespace, "web").await
        })
        .await;
    world.until_synced("orders", &commit).await;
}

#[tokio::test]
async fn an_application_that_is_to_be_left_alone_is_left_alone() {
    let world = World::new().await;
    let commit = world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "1")))]);
    world.apply(world.automated("orders", "app")).await;
    world.apply(world.automated("payments", "app")).await;
    world.until_synced("orders", &commit).await;
    let skip =
        |value: Value| json!({ "metadata": { "annotations": { names::ANNOTATION_SKIP_RECONCILE: value } } });
    let kind = ("argoproj.io/v1alpha1", "Application");
    world.patch(kind.0, kind.1, &world.argocd, "payments", json!({ "spec": { "syncPolicy": null } })).await;
    world.patch(kind.0, kind.1, &world.argocd, "orders", skip(json!("true"))).await;
    // What the agent sees of another Application after that shows that it has seen that, too.
    world.refresh("payments").await;
    let next = world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "2")))]);
    world
        .until_application("payments", "has seen the commit", |application| {
            application.status.sync.as_ref().is_some_and(|sync| sync.revision == next.as_str())
        })
        .await;
    let application = world.read_application("orders").await;
    assert_eq!(application.status.sync.unwrap().revision, commit.as_str());
    world.patch(kind.0, kind.1, &world.argocd, "orders", skip(Value::Null)).await;
    world.until_synced("orders", &next).await;
}

#[tokio::test]
async fn a_revision_that_failed_is_tried_again_when_the_source_changes() {
    let world = World::new().await;
    let invalid = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {ports: [{port: 70000}]}\n";
    let commit = world
        .repository
        .commit(&[("app/web.yaml", Some(invalid)), ("other/a.yaml", Some(&config_map("a", "1")))]);
    let mut application = world.automated("orders", "app");
    application["spec"]["syncPolicy"]["retry"] = json!({ "limit": 0 });
    world.apply(application).await;
    world.until_condition("orders", "SyncError", "Failed last sync attempt to").await;
    let failed = world.read_application("orders").await.status.operation_state.unwrap();
    world.refresh("orders").await;
    let again = world.refresh("orders").await.status.operation_state.unwrap();
    assert_eq!(again.started_at, failed.started_at, "the same revision is not tried again");
    world.change_spec("orders", json!({ "source": { "path": "other" } })).await;
    let application = world.until_synced("orders", &commit).await;
    assert_eq!(application.status.conditions, []);
}
