//! Drift: seen when it happens, put back where that is wanted, and only what the source declares.

use serde_json::{Value, json};
use skiff::{
    api::{Application, OperationPhase, SyncStatusCode},
    git::CommitId,
};

use super::{
    harness::{Setup, World, config_map, deployment, is_synced},
    recorder::Sent,
};

async fn synced_world(self_heal: bool) -> (World, CommitId) {
    let world = World::new().await;
    let commit = world.repository.commit(&[
        ("app/settings.yaml", Some(&config_map("settings", "declared"))),
        ("app/deployment.yaml", Some(&deployment("orders", "orders:1.0", 2))),
    ]);
    let mut application = world.automated("orders", "app");
    application["spec"]["syncPolicy"]["automated"]["selfHeal"] = json!(self_heal);
    world.apply(application).await;
    world.until_synced("orders", &commit).await;
    (world, commit)
}

async fn settings(world: &World) -> Option<Value> {
    world.get("v1", "ConfigMap", &world.namespace, "settings").await
}

async fn change(world: &World, patch: Value) {
    world.patch("v1", "ConfigMap", &world.namespace, "settings", patch).await;
}

async fn until_back(world: &World) -> Value {
    world
        .until("the ConfigMap is back", async |w: &World| {
            settings(w).await.filter(|live| live["data"]["key"] == "declared")
        })
        .await
}

fn heals(application: &Application) -> i64 {
    let state = application.status.operation_state.as_ref().unwrap();
    state.operation.sync.as_ref().unwrap().auto_heal_attempts_count
}

#[tokio::test]
async fn a_changed_value_is_put_back() {
    let (world, commit) = synced_world(true).await;
    change(&world, json!({ "data": { "key": "by hand" } })).await;
    until_back(&world).await;
    let application = world
        .until_application("orders", "is healed", |application| {
            is_synced(application, &commit) && heals(application) == 1
        })
        .await;
    assert_eq!(application.status.history.last().unwrap().revision, commit.as_str());
}

#[tokio::test]
async fn a_removed_value_is_put_back() {
    let (world, _) = synced_world(true).await;
    change(&world, json!({ "data": null })).await;
    until_back(&world).await;
}

#[tokio::test]
async fn a_deleted_object_comes_back() {
    let (world, _) = synced_world(true).await;
    world.delete("v1", "ConfigMap", &world.namespace, "settings").await;
    until_back(&world).await;
    world.delete("apps/v1", "Deployment", &world.namespace, "orders").await;
    world
        .until("the Deployment is back", async |w: &World| {
            w.get("apps/v1", "Deployment", &w.namespace, "orders")
                .await
                .filter(|live| live["spec"]["replicas"] == 2)
        })
        .await;
}

#[tokio::test]
async fn a_removed_tracking_annotation_is_put_back() {
    let (world, _) = synced_world(true).await;
    change(&world, json!({ "metadata": { "annotations": { "argocd.argoproj.io/tracking-id": null } } }))
        .await;
    world
        .until("the annotation is back", async |w: &World| {
            let live = settings(w).await?;
            (live["metadata"]["annotations"]["argocd.argoproj.io/tracking-id"]
                == format!("orders:/ConfigMap:{}/settings", w.namespace))
            .then_some(())
        })
        .await;
}

#[tokio::test]
async fn what_others_add_is_left_alone() {
    let (world, commit) = synced_world(true).await;
    world.until_polled(8).await;
    world.requests.clear();
    let added = json!({
        "metadata": { "labels": { "team": "blue" }, "annotations": { "note": "by hand" } },
        "data": { "extra": "by hand" },
    });
    change(&world, added).await;
    let template = json!({ "metadata": { "annotations": { "kubectl.kubernetes.io/restartedAt": "now" } } });
    world
        .patch(
            "apps/v1",
            "Deployment",
            &world.namespace,
            "orders",
            json!({ "spec": { "template": template } }),
        )
        .await;
    world.refresh("orders").await;
    world.until_polled(4).await;
    let live = settings(&world).await.unwrap();
    assert_eq!(live["metadata"]["labels"]["team"], "blue");
    assert_eq!(live["metadata"]["annotations"]["note"], "by hand");
    assert_eq!(live["data"], json!({ "key": "declared", "extra": "by hand" }));
    assert!(is_synced(&world.read_application("orders").await, &commit));
    assert!(world.written().is_empty(), "{:?}", world.written());
}

#[tokio::test]
async fn without_self_heal_drift_is_shown_at_once_and_left() {
    let (world, _) = synced_world(false).await;
    world.requests.clear();
    change(&world, json!({ "data": { "key": "by hand" } })).await;
    let application = world.until_status("orders", SyncStatusCode::OutOfSync).await;
    let row = application.status.resources.iter().find(|row| row.kind == "ConfigMap").unwrap();
    assert_eq!(row.status, Some(SyncStatusCode::OutOfSync));
    let other = application.status.resources.iter().find(|row| row.kind == "Deployment").unwrap();
    assert_eq!(other.status, Some(SyncStatusCode::Synced));
    world.refresh("orders").await;
    assert_eq!(settings(&world).await.unwrap()["data"]["key"], "by hand");
    assert!(world.written().is_empty(), "{:?}", world.written());

    change(&world, json!({ "data": { "key": "declared" } })).await;
    world.until_status("orders", SyncStatusCode::Synced).await;
}

#[tokio::test]
async fn repeated_drift_is_put_back_ever_more_slowly() {
    let (world, commit) = synced_world(true).await;
    let mut finished = Vec::new();
    for attempt in 1..=2 {
        change(&world, json!({ "data": { "key": format!("by hand {attempt}") } })).await;
        let application = world
            .until_application("orders", &format!("is healed {attempt} times"), |application| {
                is_synced(application, &commit) && heals(application) == attempt
            })
            .await;
        let state = application.status.operation_state.unwrap();
        assert_eq!(state.phase, OperationPhase::Succeeded);
        finished.push((state.started_at.timestamp(), state.finished_at.unwrap().timestamp()));
    }
    let pause = finished[1].0.duration_since(finished[0].1);
    assert!(pause.as_secs() >= 2, "the second attempt began {pause:?} after the first");
}

#[tokio::test]
async fn drift_while_no_agent_runs_is_found_by_the_next() {
    let (mut world, _) = synced_world(true).await;
    world.stop_agent().await;
    change(&world, json!({ "data": { "key": "by hand" } })).await;
    world.delete("apps/v1", "Deployment", &world.namespace, "orders").await;
    world.start_agent().await;
    until_back(&world).await;
    world
        .until("the Deployment is back", async |w: &World| {
            w.get("apps/v1", "Deployment", &w.namespace, "orders").await
        })
        .await;
}

#[tokio::test]
async fn the_settings_may_ignore_differences_of_every_application() {
    let world = World::new().await;
    world.settings(json!({ "resource.customizations.ignoreDifferences.apps_Deployment": "jsonPointers: [/spec/replicas]\n" })).await;
    let commit = world.repository.commit(&[("app/web.yaml", Some(&deployment("web", "web:1.0", 2)))]);
    let mut application = world.automated("orders", "app");
    application["spec"]["syncPolicy"]["automated"] = json!({});
    world.apply(application).await;
    world.until_synced("orders", &commit).await;
    world.patch("apps/v1", "Deployment", &world.namespace, "web", json!({ "spec": { "replicas": 5 } })).await;
    let application = world.refresh("orders").await;
    assert_eq!(application.status.sync_code(), SyncStatusCode::Synced);
    world.settings(json!({})).await;
    world.until_status("orders", SyncStatusCode::OutOfSync).await;
}

#[tokio::test]
async fn a_difference_that_a_dry_run_settled_is_not_asked_about_again_when_only_the_status_changes() {
    let world = World::new().await;
    // The API server completes a fieldRef, which is compared as a whole: that differs until a dry run says otherwise.
    let manifest = deployment("orders", "orders:1.0", 1)
        + "        env:\n        - {name: POD, valueFrom: {fieldRef: {fieldPath: metadata.name}}}\n";
    let commit = world.repository.commit(&[("app/orders.yaml", Some(&manifest))]);
    world.apply(world.automated("orders", "app")).await;
    world.until_synced("orders", &commit).await;
    world.until_quiet("orders").await;
    let applies = || world.metric("skiff_api_requests_total", &["verb=\"apply\""]);
    let (asked, looks) = (applies(), world.metric("argocd_app_reconcile_count", &[]));
    assert!(
        asked >= 3.0,
        "the sync has one dry run and one write, the comparison after it a dry run: {asked}"
    );
    for pod in world.names("v1", "Pod", &world.namespace).await {
        world.delete("v1", "Pod", &world.namespace, &pod).await;
    }
    world.until_metric("argocd_app_reconcile_count", &[], |count| count > looks).await;
    assert_eq!(applies(), asked);
}

#[tokio::test]
async fn objects_of_a_kind_that_cannot_be_watched_are_looked_at_as_often_as_the_repository() {
    let mut world = Setup::new().without_agent().build().await;
    world.requests.hide_watch_of("configmaps");
    world.start_agent().await;
    let commit = world
        .repository
        .commit(&[("app/a.yaml", Some(&config_map("a", "1"))), ("app/b.yaml", Some(&config_map("b", "1")))]);
    world.apply(world.automated("orders", "app")).await;
    world.until_synced("orders", &commit).await;
    world.until_condition("orders", "ManifestWarning", "cannot watch ConfigMap").await;
    let value = async |world: &World, name: &str| {
        Some(world.get("v1", "ConfigMap", &world.namespace, name).await?["data"]["key"].clone())
    };
    world.patch("v1", "ConfigMap", &world.namespace, "a", json!({ "data": { "key": "2" } })).await;
    world.until("drift is put back", async |w: &World| (value(w, "a").await? == "1").then_some(())).await;
    world.delete("v1", "ConfigMap", &world.namespace, "a").await;
    world.until("it is there again", async |w: &World| (value(w, "a").await? == "1").then_some(())).await;

    // What is known of them outlives the agent.
    world.stop_agent().await;
    world.repository.commit(&[("app/b.yaml", None)]);
    world.start_agent().await;
    world.until("it is pruned", async |w: &World| value(w, "b").await.is_none().then_some(())).await;
    let listed = |sent: &Sent| sent.is_read() && sent.uri.starts_with("/api/v1/configmaps");
    assert!(!world.requests.sent().iter().any(listed));
}
