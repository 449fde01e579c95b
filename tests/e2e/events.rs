//! The Kubernetes Events that tell an Application's story, under Argo CD's reasons.

use serde_json::{Value, json};
use skiff::api::OperationPhase;

use super::harness::{World, config_map, deployment};

/// The events of an Application, as (reason, message, whole event).
async fn events(world: &World) -> Vec<(String, String, Value)> {
    let mut events = Vec::new();
    for name in world.names("v1", "Event", &world.argocd).await {
        let event = world.get("v1", "Event", &world.argocd, &name).await.unwrap();
        let text = |field: &str| event[field].as_str().unwrap().to_owned();
        events.push((text("reason"), text("message"), event.clone()));
    }
    events
}

async fn until_event(world: &World, reason: &str, message: &str) -> Value {
    world
        .until(&format!("there is an event {reason}: {message}"), async |w: &World| {
            let all = events(w).await;
            all.into_iter().find(|event| event.0 == reason && event.1.contains(message)).map(|event| event.2)
        })
        .await
}

#[tokio::test]
async fn an_automated_sync_tells_its_story() {
    let world = World::new().await;
    let commit =
        world.repository.commit(&[("app/deployment.yaml", Some(&deployment("orders", "orders:1.0", 1)))]);
    world.apply(world.automated("orders", "app")).await;
    let started =
        until_event(&world, "OperationStarted", &format!("Initiated automated sync to '{commit}'")).await;
    let completed =
        until_event(&world, "OperationCompleted", &format!("Sync operation to {commit} succeeded")).await;
    let synced = until_event(&world, "ResourceUpdated", "Updated sync status: OutOfSync -> Synced").await;
    until_event(&world, "ResourceUpdated", "-> Healthy").await;
    let application = world.read_application("orders").await;
    for event in [started, completed, synced] {
        assert_eq!(event["type"], "Normal");
        assert_eq!(event["count"], 1);
        assert_eq!(event["involvedObject"]["kind"], "Application");
        assert_eq!(event["involvedObject"]["name"], "orders");
        assert_eq!(event["involvedObject"]["uid"], application.metadata.uid.clone().unwrap());
        assert_eq!(event["source"]["component"], "argocd-application-controller");
        assert_eq!(event["metadata"]["annotations"]["dest-namespace"], world.namespace.as_str());
        assert_eq!(event["metadata"]["annotations"]["dest-server"], "https://kubernetes.default.svc");
        assert!(event["metadata"]["name"].as_str().unwrap().starts_with("orders."));
    }
}

#[tokio::test]
async fn a_sync_that_fails_is_a_warning() {
    let world = World::new().await;
    let manifest = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n  namespace: nowhere\n";
    let commit = world.repository.commit(&[("app/a.yaml", Some(manifest))]);
    world.apply(world.application("orders", "app")).await;
    world.sync("orders", json!({})).await;
    world.until_operation("orders", OperationPhase::Failed).await;
    let event =
        until_event(&world, "OperationCompleted", &format!("Sync operation to {commit} failed:")).await;
    assert_eq!(event["type"], "Warning");
    assert!(event["message"].as_str().unwrap().contains("nowhere"));
    let started = events(&world).await.into_iter().any(|event| event.0 == "OperationStarted");
    assert!(!started, "the agent tells of syncs that it begins by itself only");
}

#[tokio::test]
async fn a_reconcile_without_news_tells_nothing() {
    let world = World::new().await;
    let commit = world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "1")))]);
    world.apply(world.automated("orders", "app")).await;
    world.until_synced("orders", &commit).await;
    until_event(&world, "ResourceUpdated", "-> Healthy").await;
    until_event(&world, "OperationCompleted", "succeeded").await;
    world.until_polled(8).await;
    let before = events(&world).await.len();
    for _ in 0..3 {
        world.refresh("orders").await;
    }
    world.until_polled(4).await;
    assert_eq!(events(&world).await.len(), before);
}
