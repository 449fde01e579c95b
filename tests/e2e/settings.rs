//! Settings that change while the agent runs.

use serde_json::{Value, json};
use skiff::api::SyncStatusCode;

use super::harness::{Setup, World, config_map};

async fn live(world: &World, name: &str) -> Option<Value> {
    world.get("v1", "ConfigMap", &world.namespace, name).await
}

fn label(object: &Value) -> &Value {
    &object["metadata"]["labels"]["app.kubernetes.io/instance"]
}

#[tokio::test]
async fn another_tracking_method_counts_at_once_and_prunes_as_before() {
    let world = World::new().await;
    // A label says nothing of the installation.
    let orders = &world.unique("orders");
    world
        .repository
        .commit(&[("app/a.yaml", Some(&config_map("a", "1"))), ("app/b.yaml", Some(&config_map("b", "1")))]);
    world.apply(world.automated(orders, "app")).await;
    world.until_status(orders, SyncStatusCode::Synced).await;
    world.settings(json!({ "application.resourceTrackingMethod": "label" })).await;
    for name in ["a", "b"] {
        world
            .until(&format!("{name} has the label"), async |w: &World| {
                live(w, name).await.filter(|object| label(object) == orders.as_str())
            })
            .await;
    }
    let commit = world.repository.commit(&[("app/b.yaml", None)]);
    world.until_synced(orders, &commit).await;
    assert!(live(&world, "b").await.is_none());
    assert!(live(&world, "a").await.is_some());
}

#[tokio::test]
async fn a_shorter_time_between_polls_counts_at_once() {
    let mut world = Setup::new().without_agent().build().await;
    let commit = world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "1")))]);
    world.apply(world.automated("orders", "app")).await;
    let mut options = world.agent_options("agent-0");
    options.poll_interval = None;
    world.start_agent_with(options).await;
    world.until_synced("orders", &commit).await;
    let commit = world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "2")))]);
    world.settings(json!({ "timeout.reconciliation": "1s", "timeout.reconciliation.jitter": "0s" })).await;
    world.until_synced("orders", &commit).await;
    // Nothing but a poll tells of this one.
    let commit = world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "3")))]);
    world.until_synced("orders", &commit).await;
}

#[tokio::test]
async fn an_excluded_kind_is_left_alone_and_told_of() {
    let world = World::new().await;
    let secret = "apiVersion: v1\nkind: Secret\nmetadata:\n  name: token\n";
    let commit = world
        .repository
        .commit(&[("app/a.yaml", Some(&config_map("a", "1"))), ("app/secret.yaml", Some(secret))]);
    world.apply(world.automated("orders", "app")).await;
    world.until_synced("orders", &commit).await;
    let exclusions = "- apiGroups: [\"\"]\n  kinds: [Secret]\n";
    world.settings(json!({ "resource.exclusions": exclusions })).await;
    world.until_condition("orders", "ExcludedResourceWarning", "token").await;
    let commit =
        world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "2"))), ("app/secret.yaml", None)]);
    let application = world.until_synced("orders", &commit).await;
    assert!(
        world.get("v1", "Secret", &world.namespace, "token").await.is_some(),
        "an excluded kind was pruned"
    );
    assert!(application.status.resources.iter().all(|row| row.kind != "Secret"));

    world.settings(json!({})).await;
    world
        .until("it is pruned once it is not excluded any more", async |w: &World| {
            w.get("v1", "Secret", &w.namespace, "token").await.is_none().then_some(())
        })
        .await;
}

#[tokio::test]
async fn a_broken_setting_keeps_its_last_good_value() {
    let world = World::new().await;
    world.settings(json!({ "application.resourceTrackingMethod": "annotation+label" })).await;
    world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "1")))]);
    world.apply(world.automated("orders", "app")).await;
    world.until_status("orders", SyncStatusCode::Synced).await;
    assert_eq!(label(&live(&world, "a").await.unwrap()), "orders");

    // One key is broken, and another one that is changed with it counts.
    let exclusions = "- apiGroups: [\"\"]\n  kinds: [Secret]\n";
    let broken =
        json!({ "application.resourceTrackingMethod": "nonsense", "resource.exclusions": exclusions });
    world.settings(broken).await;
    let secret = "apiVersion: v1\nkind: Secret\nmetadata:\n  name: token\n";
    world
        .repository
        .commit(&[("app/b.yaml", Some(&config_map("b", "1"))), ("app/secret.yaml", Some(secret))]);
    world.until_condition("orders", "ExcludedResourceWarning", "token").await;
    let b = world.until("b is there", async |w: &World| live(w, "b").await).await;
    assert_eq!(label(&b), "orders");
    assert_eq!(label(&live(&world, "a").await.unwrap()), "orders");
}
