//! The metrics under Argo CD's names, as a scrape sees them.

use serde_json::json;
use skiff::api::HealthStatusCode;

use super::harness::{World, config_map, deployment};

#[tokio::test]
async fn a_sync_shows_in_the_metrics() {
    let world = World::new().await;
    let commit = world.repository.commit(&[
        ("app/a.yaml", Some(&config_map("a", "1"))),
        ("app/deployment.yaml", Some(&deployment("orders", "orders:1.0", 1))),
    ]);
    world.apply(world.automated("orders", "app")).await;
    world.until_synced("orders", &commit).await;
    world
        .until_application("orders", "is healthy", |application| {
            application.status.health_code() == HealthStatusCode::Healthy
        })
        .await;
    let (own, destination_namespace) =
        (format!("namespace=\"{}\"", world.argocd), format!("dest_namespace=\"{}\"", world.namespace));
    let application = [own.as_str(), "name=\"orders\"", "project=\"default\""];
    let destination = "dest_server=\"https://kubernetes.default.svc\"";

    let info = [
        &application[..],
        &[
            destination,
            &destination_namespace,
            "autosync_enabled=\"true\"",
            "sync_status=\"Synced\"",
            "health_status=\"Healthy\"",
            "operation=\"\"",
            "repo=\"file:///",
        ],
    ]
    .concat();
    world.until_metric("argocd_app_info", &info, |value| value == 1.0).await;
    world.until_metric("argocd_app_info", &application, |value| value == 1.0).await;
    let synced = [&application[..], &[destination, "phase=\"Succeeded\"", "dry_run=\"false\""]].concat();
    world.until_metric("argocd_app_sync_total", &synced, |value| value == 1.0).await;
    world.until_metric("argocd_app_sync_total", &application, |value| value == 1.0).await;
    let reconciled = [own.as_str(), destination];
    world.until_metric("argocd_app_reconcile_count", &reconciled, |value| value >= 1.0).await;
    world
        .until_metric("argocd_app_reconcile_bucket", &[destination, "le=\"16\""], |value| value >= 1.0)
        .await;
    let repository = format!("repo=\"{}\"", world.repository.url());
    world
        .until_metric("argocd_git_request_total", &[&repository, "request_type=\"ls-remote\""], |value| {
            value >= 1.0
        })
        .await;
    world
        .until_metric("argocd_git_request_total", &[&repository, "request_type=\"fetch\""], |value| {
            value >= 1.0
        })
        .await;
    world
        .until_metric("argocd_git_request_duration_seconds_count", &[&repository], |value| value >= 2.0)
        .await;
    let server = "server=\"https://kubernetes.default.svc\"";
    world
        .until_metric("argocd_cluster_info", &[server, "name=\"in-cluster\"", "k8s_version=\"v1."], |value| {
            value == 1.0
        })
        .await;
    world.until_metric("argocd_cluster_connection_status", &[server], |value| value == 1.0).await;
    world
        .until_metric("argocd_cluster_events_total", &[server, "kind=\"ConfigMap\""], |value| value >= 1.0)
        .await;
    world
        .until_metric("workqueue_adds_total", &["name=\"app_reconciliation_queue\""], |value| value >= 1.0)
        .await;
    world.until_metric("skiff_api_requests_total", &["verb=\"apply\""], |value| value >= 2.0).await;
    world.until_metric("skiff_render_cache_misses_total", &[], |value| value >= 1.0).await;
    world.until_metric("skiff_commit_sync_seconds_count", &[], |value| value >= 1.0).await;
}

#[tokio::test]
async fn drift_that_is_healed_is_measured() {
    let world = World::new().await;
    let commit = world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "1")))]);
    world.apply(world.automated("orders", "app")).await;
    world.until_synced("orders", &commit).await;
    assert_eq!(world.metric("skiff_drift_heal_seconds_count", &[]), 0.0);
    world.patch("v1", "ConfigMap", &world.namespace, "a", json!({ "data": { "key": "2" } })).await;
    world.until_metric("skiff_drift_heal_seconds_count", &[], |value| value == 1.0).await;
}

#[tokio::test]
async fn a_repository_that_fails_is_counted() {
    let world = World::new().await;
    let mut application = world.automated("orders", "app");
    application["spec"]["source"]["repoURL"] = json!("http://127.0.0.1:1/nobody.git");
    world.apply(application).await;
    world.until_condition("orders", "ComparisonError", "127.0.0.1:1").await;
    world
        .until_metric("argocd_git_lsremote_fail_total", &["repo=\"http://127.0.0.1:1/nobody"], |value| {
            value >= 1.0
        })
        .await;
}

#[tokio::test]
async fn an_applications_series_go_with_it() {
    let world = World::new().await;
    let commit = world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "1")))]);
    for name in ["orders", "invoices"] {
        world.apply(world.automated(name, "app")).await;
    }
    world.until_synced("invoices", &commit).await;
    world.until_operation("orders", skiff::api::OperationPhase::Succeeded).await;
    world.delete("argoproj.io/v1alpha1", "Application", &world.argocd, "orders").await;
    world
        .until("no series names it any more", async |w: &World| {
            (!w.metrics.text().unwrap().contains("name=\"orders\"")).then_some(())
        })
        .await;
    assert!(world.metric("argocd_app_info", &["name=\"invoices\""]) > 0.0);
}
