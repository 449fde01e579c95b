//! From a commit to the cluster.

use serde_json::json;
use skiff::api::HealthStatusCode;

use crate::harness::{World, config_map, deployment};

#[tokio::test]
async fn a_commit_reaches_the_cluster() {
    let world = World::new().await;
    let commit = world.repository.commit(&[
        ("app/deployment.yaml", Some(&deployment("orders", "orders:1.0", 2))),
        ("app/config.yaml", Some(&config_map("settings", "one"))),
    ]);
    world.apply(world.automated("orders", "app")).await;
    let application = world.until_synced("orders", &commit).await;
    assert_eq!(application.status.resources.len(), 2);
    assert_eq!(application.status.history.len(), 1);
    assert_eq!(application.status.summary.images, ["orders:1.0"]);
    let live = world.get("v1", "ConfigMap", "shop", "settings").await.unwrap();
    assert_eq!(live["data"]["key"], "one");
    let tracking = &live["metadata"]["annotations"]["argocd.argoproj.io/tracking-id"];
    assert_eq!(tracking, "orders:/ConfigMap:shop/settings");
    world
        .until_application("orders", "is healthy", |application| {
            application.status.health_code() == HealthStatusCode::Healthy
        })
        .await;

    let commit = world.repository.commit(&[("app/config.yaml", Some(&config_map("settings", "two")))]);
    let application = world.until_synced("orders", &commit).await;
    assert_eq!(world.get("v1", "ConfigMap", "shop", "settings").await.unwrap()["data"]["key"], "two");
    assert_eq!(application.status.history.iter().map(|entry| entry.id).collect::<Vec<_>>(), [0, 1]);
}

#[tokio::test]
async fn an_object_that_is_removed_from_the_source_is_pruned() {
    let world = World::new().await;
    world.repository.commit(&[
        ("app/a.yaml", Some(&config_map("a", "1"))),
        ("app/b.yaml", Some(&config_map("b", "1"))),
    ]);
    world.apply(world.automated("orders", "app")).await;
    world.until("b is there", async |w: &World| w.get("v1", "ConfigMap", "shop", "b").await).await;
    let commit = world.repository.commit(&[("app/b.yaml", None)]);
    world.until_synced("orders", &commit).await;
    assert!(world.get("v1", "ConfigMap", "shop", "b").await.is_none());
    assert!(world.get("v1", "ConfigMap", "shop", "a").await.is_some());
}

#[tokio::test]
async fn drift_is_put_back() {
    let world = World::new().await;
    let commit = world.repository.commit(&[("app/deployment.yaml", Some(&deployment("orders", "orders:1.0", 2)))]);
    world.apply(world.automated("orders", "app")).await;
    world.until_synced("orders", &commit).await;
    world.patch("apps/v1", "Deployment", "shop", "orders", json!({ "spec": { "replicas": 5 } })).await;
    world
        .until("the Deployment has two replicas again", async |w: &World| {
            let live = w.get("apps/v1", "Deployment", "shop", "orders").await?;
            (live["spec"]["replicas"] == 2).then_some(())
        })
        .await;
}
