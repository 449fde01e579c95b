use serde_json::json;

use super::*;
use crate::{api::OperationPhase, expiry::CredentialKind};

fn application(name: &str, sync_status: &str) -> Application {
    Application::from_value(json!({
        "metadata": { "name": name, "namespace": "argocd", "labels": { "team.io/name": "shop" } },
        "spec": { "project": "default", "destination": { "namespace": "shop" }, "syncPolicy": { "automated": {} } },
        "status": {
            "sync": { "status": sync_status },
            "health": { "status": "Healthy" },
            "conditions": [{ "type": "SyncError", "message": "a" }, { "type": "SyncError", "message": "b" }],
        },
    }))
    .unwrap()
}

fn show(metrics: &Metrics, application: &Application) {
    metrics.set_application(application, &application.status, "r", "s");
}

fn everything() -> Arc<Metrics> {
    let options = MetricsOptions {
        application_labels: vec!["team.io/name".to_owned()],
        application_conditions: vec!["SyncError".to_owned()],
        cluster_labels: vec!["team.io/name".to_owned()],
    };
    Arc::new(Metrics::new(&options).unwrap())
}

fn use_all(metrics: &Metrics) {
    let orders = application("orders", "OutOfSync");
    let labels = ApplicationLabels::of(&orders);
    let second = Duration::from_secs(1);
    metrics.set_application(&orders, &orders.status, "https://example.com/r", "https://c");
    metrics.sync_ended(labels, "https://c", OperationPhase::Succeeded, false, second);
    let request = KubernetesRequest {
        server: "https://c",
        response_code: 200,
        verb: "patch",
        resource_kind: "Deployment",
        resource_namespace: "shop",
        dry_run: true,
    };
    metrics.application_request(labels, &request);
    metrics.reconciled("argocd", "https://c", second);
    metrics.cluster_event("https://c", "apps", "Deployment");
    metrics.set_cluster("https://c", "in-cluster", "v1.33", true);
    metrics.set_cluster_labels(
        "https://c",
        "in-cluster",
        &[("team.io/name".to_owned(), "ops".to_owned())].into(),
    );
    metrics.set_cluster_cache("https://c", 4, 40, None);
    metrics.cluster_events_processed("https://c", 7, second);
    metrics.git_request("https://example.com/r", "ls-remote", second);
    metrics.git_fetch_failed("https://example.com/r", "main");
    metrics.git_list_failed("https://example.com/r", "main");
    metrics.repository_pending("https://example.com/r", 2);
    metrics.render_cache_hit();
    metrics.render_cache_miss();
    metrics.render_waited(second);
    metrics.api_request("apply", 200);
    metrics.drift_healed(second);
    metrics.commit_synced(second);
    metrics.error(ErrorKind::User);
    metrics.set_leader(true);
    metrics.set_shadow("different", 3);
    let expiry = |name: &str, at: &str| Expiry {
        kind: CredentialKind::RepositoryToken,
        name: name.to_owned(),
        at: at.parse().unwrap(),
    };
    metrics.set_expiries("settings", &[expiry("gone", "2030-01-01T00:00:00Z")]);
    metrics.set_expiries("settings", &[expiry("shop", "2033-05-18T03:33:20Z")]);
    metrics.set_queue_depth(Queue::Operation, 5);
    metrics.queue_added(Queue::Operation);
    metrics.queue_retried(Queue::Operation);
}

#[test]
fn names_and_labels_are_those_that_dashboards_ask_for() {
    let metrics = everything();
    use_all(&metrics);
    let text = metrics.text().unwrap();
    for line in [
        r#"argocd_app_info{autosync_enabled="true",dest_namespace="shop",dest_server="https://c",health_status="Healthy",name="orders",namespace="argocd",operation="",project="default",repo="https://example.com/r",sync_status="OutOfSync"} 1"#,
        r#"argocd_app_labels{label_team_io_name="shop",name="orders",namespace="argocd",project="default"} 1"#,
        r#"argocd_app_condition{condition="SyncError",name="orders",namespace="argocd",project="default"} 2"#,
        r#"argocd_app_sync_total{dest_server="https://c",dry_run="false",name="orders",namespace="argocd",phase="Succeeded",project="default"} 1"#,
        r#"argocd_app_sync_duration_seconds_total{dest_server="https://c",name="orders",namespace="argocd",project="default"} 1"#,
        r#"argocd_app_k8s_request_total{dry_run="true",name="orders",namespace="argocd",project="default",resource_kind="Deployment",resource_namespace="shop",response_code="200",server="https://c",verb="patch"} 1"#,
        r#"argocd_app_reconcile_bucket{dest_server="https://c",namespace="argocd",le="0.25"} 0"#,
        r#"argocd_cluster_connection_status{k8s_version="v1.33",server="https://c"} 1"#,
        r#"argocd_cluster_cache_age_seconds{server="https://c"} -1"#,
        r#"argocd_cluster_info{k8s_version="v1.33",name="in-cluster",server="https://c"} 1"#,
        r#"argocd_cluster_labels{label_team_io_name="ops",name="in-cluster",server="https://c"} 1"#,
        r#"argocd_resource_events_processing_bucket{server="https://c",le="0.5"} 0"#,
        r#"argocd_resource_events_processed_in_batch{server="https://c"} 7"#,
        r#"argocd_repo_parallelism_wait_duration_seconds_bucket{le="1"} 1"#,
        r#"argocd_repo_pending_request_total{repo="https://example.com/r"} 2"#,
        r#"argocd_git_request_total{repo="https://example.com/r",request_type="ls-remote"} 1"#,
        r#"argocd_git_lsremote_fail_total{repo="https://example.com/r",revision="main"} 1"#,
        r#"argocd_git_fetch_fail_total{repo="https://example.com/r",revision="main"} 1"#,
        r#"workqueue_depth{name="app_operation_processing_queue"} 5"#,
        r#"skiff_api_requests_total{code="200",verb="apply"} 1"#,
        r#"skiff_errors_total{kind="user"} 1"#,
        "skiff_render_cache_hits_total 1",
        r#"skiff_shadow_applications{verdict="different"} 3"#,
        r#"skiff_credential_expiry_timestamp_seconds{kind="repository_token",name="shop"} 2000000000"#,
        "skiff_leader 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\nis not in\n{text}");
    }
    assert!(!text.contains("\"gone\""), "{text}");
}

#[test]
fn a_changed_application_has_one_info_series() {
    let metrics = everything();
    show(&metrics, &application("orders", "OutOfSync"));
    show(&metrics, &application("orders", "Synced"));
    let text = metrics.text().unwrap();
    let info: Vec<&str> = text.lines().filter(|line| line.starts_with("argocd_app_info{")).collect();
    assert!(info.len() == 1 && info[0].contains(r#"sync_status="Synced""#), "{info:?}");
}

#[test]
fn a_deleted_application_leaves_no_series() {
    let metrics = everything();
    use_all(&metrics);
    show(&metrics, &application("carts", "Synced"));
    metrics.forget_application("argocd", "orders");
    let text = metrics.text().unwrap();
    assert!(!text.contains("orders"), "{text}");
    assert!(text.contains("carts"));
}

#[test]
fn work_in_progress_is_shown_and_then_measured() {
    let metrics = everything();
    let work = metrics.work(Queue::Reconciliation, Duration::from_millis(5));
    let longest = |text: &str| -> f64 {
        let name = r#"workqueue_longest_running_processor_seconds{name="app_reconciliation_queue"} "#;
        text.lines().find_map(|line| line.strip_prefix(name)).unwrap().parse().unwrap()
    };
    assert!(longest(&metrics.text().unwrap()) > 0.0);
    drop(work);
    let text = metrics.text().unwrap();
    assert_eq!(longest(&text), 0.0);
    assert!(text.contains(r#"workqueue_work_duration_seconds_count{name="app_reconciliation_queue"} 1"#));
}

#[test]
fn the_processs_memory_is_measured() {
    let text = everything().text().unwrap();
    let name = "process_resident_memory_bytes ";
    let bytes: f64 = text.lines().find_map(|line| line.strip_prefix(name)).unwrap().parse().unwrap();
    assert!(bytes > 1e6, "{bytes}");
}

#[test]
fn two_labels_that_become_one_name_are_refused() {
    let labels = vec!["a.b".to_owned(), "a-b".to_owned()];
    assert!(
        Metrics::new(&MetricsOptions { application_labels: labels, ..MetricsOptions::default() }).is_err()
    );
}
