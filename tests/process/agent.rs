//! `skiff agent`: its probes, metrics and logs, its end, and what it refuses to start with.

use std::time::Duration;

use serde_json::{Value, json};
use skiff::sandbox::fault::{Fault, FaultRule};

use crate::world::{World, config_map, run, skiff};

/// What a stop may take.
const STOP_LIMIT: Duration = Duration::from_secs(10);

fn automated(world: &World, name: &str, path: &str) -> Value {
    let mut application = world.application(name, path);
    application["spec"]["syncPolicy"] = json!({ "automated": { "prune": true, "selfHeal": true } });
    application
}

fn is_done(application: &Value, revision: &str) -> bool {
    application["status"]["sync"]["status"] == "Synced"
        && application["status"]["sync"]["revision"] == revision
        && application["status"]["operationState"]["phase"] == "Succeeded"
        && application.get("operation").is_none()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_agent_tells_how_it_is_and_ends_when_told_to() {
    let world = World::new().await;
    let revision = world.commit(&[("app/a.yaml", &config_map("a", "hush-hush"))]);
    let mut agent = world.start_agent("first");
    agent.until_ready().await;
    assert_eq!(agent.page("/healthz").await.0, 200);
    world.apply(automated(&world, "orders", "app")).await;
    world.until_application("orders", "is synced", |application| is_done(application, &revision)).await;

    // The metrics follow what the Application shows, an instant later.
    agent
        .until_page(
            "/metrics",
            &[
                "\nargocd_app_info{",
                "\nargocd_app_reconcile_bucket{",
                "\nargocd_app_sync_total{",
                "\nargocd_app_k8s_request_total{",
                "\nargocd_cluster_info{",
                "\nargocd_cluster_events_total{",
                "\nargocd_git_request_total{",
                "\nskiff_api_requests_total{",
                "\nskiff_render_cache_misses_total",
                "\nprocess_resident_memory_bytes",
                "sync_status=\"Synced\"",
                "health_status=\"Healthy\"",
            ],
        )
        .await;
    let (_, metrics) = agent.page("/metrics").await;
    let info = metrics.lines().find(|line| line.starts_with("argocd_app_info{")).unwrap();
    for label in
        ["name=\"orders\"", "sync_status=\"Synced\"", "health_status=\"Healthy\"", "project=\"default\""]
    {
        assert!(info.contains(label), "{info}");
    }

    agent.terminate();
    let status = agent.end(STOP_LIMIT).await.expect("SIGTERM ends the agent in time");
    assert_eq!(status.code(), Some(0));
    let log = agent.log();
    for line in &log {
        assert!(
            line["timestamp"].is_string() && line["level"].is_string() && line["message"].is_string(),
            "{line}"
        );
    }
    assert_eq!(log.last().unwrap()["message"], "skiff agent has ended");
    assert!(
        !log.iter().any(|line| line.to_string().contains("hush-hush")),
        "a manifest's content is in the log"
    );
    let lease = skiff::object::GroupKind::new("coordination.k8s.io", "Lease");
    let lease = world.sandbox.store().get(&lease, "argocd", "skiff-agent").unwrap();
    assert!(lease["spec"]["holderIdentity"].as_str().unwrap_or_default().is_empty(), "{lease}");
}

/// A stop in the middle of a sync whose writes take so long.
async fn stop_in_the_middle(write_takes: Duration) -> (Value, bool) {
    let world = World::new().await;
    let revision = world.commit(&[
        ("app/a.yaml", &config_map("a", "1")),
        ("app/b.yaml", &config_map("b", "1")),
        ("app/c.yaml", &config_map("c", "1")),
    ]);
    world.sandbox.faults().inject(FaultRule::on("patch", "configmaps"), Fault::Delay(write_takes));
    let mut agent = world.start_agent("first");
    agent.until_ready().await;
    world.apply(automated(&world, "orders", "app")).await;
    world
        .until_application("orders", "is being synced", |application| {
            application["status"]["operationState"]["phase"] == "Running"
        })
        .await;
    agent.terminate();
    let status = agent.end(STOP_LIMIT).await.expect("SIGTERM ends the agent in time");
    assert_eq!(status.code(), Some(0));
    let left = world.read_application("orders").unwrap();
    let is_finished = is_done(&left, &revision);

    world.sandbox.faults().clear();
    let second = world.start_agent("second");
    second.until_ready().await;
    let application =
        world.until_application("orders", "is synced", |application| is_done(application, &revision)).await;
    for name in ["a", "b", "c"] {
        assert_eq!(world.config_map(name).unwrap()["data"]["key"], "1");
    }
    assert_eq!(application["status"]["history"].as_array().unwrap().len(), 1, "one operation, one entry");
    (left, is_finished)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_that_can_end_in_time_is_finished_before_the_agent_ends() {
    let (left, is_finished) = stop_in_the_middle(Duration::from_millis(300)).await;
    assert!(is_finished, "{left:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_that_cannot_end_in_time_stays_on_record_and_the_next_agent_finishes_it() {
    let (left, is_finished) = stop_in_the_middle(Duration::from_secs(12)).await;
    assert!(!is_finished);
    assert_eq!(left["status"]["operationState"]["phase"], "Running", "{left:#}");
    assert!(left["operation"]["sync"].is_object(), "{left:#}");
    assert!(left["status"]["history"].is_null(), "{left:#}");
}

/// A cluster that has the agent's namespace and nothing else.
async fn without_definitions() -> World {
    let world = World::bare().await;
    world.apply(json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "argocd" } })).await;
    world
}

async fn agent_with(world: &World, kubeconfig: &std::path::Path) -> crate::world::Said {
    let cache = world.path("cache");
    let arguments =
        ["agent", "--kubeconfig", kubeconfig.to_str().unwrap(), "--cache", cache.to_str().unwrap()];
    run(skiff(&[&arguments[..], &["--metrics-address", "127.0.0.1:0"]].concat())).await
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_from_another_program_are_refused_and_nothing_is_run() {
    let world = World::new().await;
    let marker = world.path("was-run");
    let exec = json!({ "exec": {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": "touch",
        "args": [marker],
        "interactiveMode": "Never",
    } });
    let provider = json!({ "auth-provider": {
        "name": "gcp",
        "config": { "cmd-path": "touch", "cmd-args": marker, "token-key": "{.x}", "expiry-key": "{.y}" },
    } });
    for (means, user) in [("exec", exec), ("auth-provider", provider)] {
        let kubeconfig =
            world.write_kubeconfig("with-program", |kubeconfig| kubeconfig["users"][0]["user"] = user);
        agent_with(&world, &kubeconfig).await.expect(2, &["error:", &format!("({means})"), "runs none"]);
        assert!(!marker.exists(), "{means} was run");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_users_program_does_not_matter() {
    let world = without_definitions().await;
    let kubeconfig = world.write_kubeconfig("other-user", |kubeconfig| {
        let other =
            json!({ "name": "other", "user": { "exec": { "command": "false", "apiVersion": "v1" } } });
        kubeconfig["users"].as_array_mut().unwrap().push(other);
    });
    agent_with(&world, &kubeconfig).await.expect(2, &["no kind Application"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_without_the_definitions_is_told_apart_from_a_broken_one() {
    let world = without_definitions().await;
    agent_with(&world, &world.path("kubeconfig")).await.expect(2, &["skiff crds | kubectl apply"]);
    agent_with(&world, &world.path("missing")).await.expect(2, &["error:", "--kubeconfig"]);
    let kubeconfig = world.path("kubeconfig");
    let arguments = ["agent", "--kubeconfig", kubeconfig.to_str().unwrap()];
    run(skiff(&[&arguments[..], &["--log-level", "=x="]].concat())).await.expect(2, &["--log-level"]);
    run(skiff(&[&arguments[..], &["--metrics-address", "nowhere"]].concat()))
        .await
        .expect(2, &["--metrics-address"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_log_that_goes_into_a_file_has_no_colours() {
    let world = without_definitions().await;
    let said = agent_with(&world, &world.path("kubeconfig")).await;
    assert!(said.err.contains("skiff agent begins"), "{}", said.err);
    assert!(!said.err.contains('\u{1b}'), "{}", said.err);
}
