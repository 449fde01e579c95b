//! Outages, hanging requests and races: nothing is lost, and the agent gets there by itself.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use skiff::{
    api::SyncStatusCode,
    controller::Agent,
    metrics::{Metrics, MetricsOptions},
    sandbox::fault::{Fault, FaultRule},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

use super::{
    cluster::own_definitions,
    harness::{Setup, World, config_map},
};

const APPLICATION: (&str, &str) = ("argoproj.io/v1alpha1", "Application");

async fn live(world: &World, name: &str) -> Option<Value> {
    world.get("v1", "ConfigMap", &world.namespace, name).await
}

#[tokio::test]
async fn an_api_server_that_is_away_for_longer_than_the_lease_is_worked_with_again() {
    let mut world = Setup::new().without_agent().build().await;
    let mut options = world.agent_options("agent-0");
    options.leader.lease_duration = Duration::from_secs(2);
    options.leader.trusted_for = Duration::from_secs(1);
    options.leader.retry_period = Duration::from_millis(100);
    options.timeouts.write = Duration::from_secs(1);
    world.start_agent_with(options).await;
    world
        .repository
        .commit(&[("app/a.yaml", Some(&config_map("a", "1"))), ("app/b.yaml", Some(&config_map("b", "1")))]);
    world.apply(world.automated("orders", "app")).await;
    world.until_status("orders", SyncStatusCode::Synced).await;

    world.faults.inject(FaultRule::default(), Fault::Disconnect);
    let commit =
        world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "2"))), ("app/b.yaml", None)]);
    world.requests.clear();
    let gone = async || {
        let leads = world.metric("skiff_leader", &[]) > 0.0;
        let asked = world.requests.sent().iter().filter(|sent| sent.is_about_the_lease()).count();
        (!leads && asked > 30).then_some(())
    };
    while gone().await.is_none() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    world.faults.clear();
    world.until_synced("orders", &commit).await;
    assert_eq!(live(&world, "a").await.unwrap()["data"]["key"], "2");
    assert!(live(&world, "b").await.is_none());
}

#[tokio::test]
async fn applications_of_a_repository_that_fails_do_not_ask_it_one_after_the_other() {
    let world = World::new().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let server = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            count.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(async move {
                let _ = stream.read(&mut [0; 4096]).await;
                tokio::time::sleep(Duration::from_millis(400)).await;
                let answer =
                    "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
                let _ = stream.write_all(answer.as_bytes()).await;
            });
        }
    });
    for n in 0..30 {
        let mut application = world.automated(&format!("orders-{n}"), "app");
        application["spec"]["source"]["repoURL"] = json!(format!("http://127.0.0.1:{port}/orders.git"));
        world.apply(application).await;
    }
    for n in 0..30 {
        world.until_condition(&format!("orders-{n}"), "ComparisonError", "503").await;
    }
    let asked = asked.load(Ordering::Relaxed);
    assert!(asked < 15, "30 Applications have asked {asked} times");
    server.abort();
}

#[tokio::test]
async fn another_tracking_method_shows_at_once_what_belongs_to_an_application() {
    let world = World::new().await;
    let commit = world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "1")))]);
    world.apply(world.automated("orders", "app")).await;
    world.until_synced("orders", &commit).await;
    // What the label says counts for nothing so far.
    let labels = json!({ "app.kubernetes.io/instance": "orders" });
    let metadata = json!({ "name": "left", "namespace": world.namespace, "labels": labels });
    world.apply(json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata })).await;
    world.refresh("orders").await;
    assert!(live(&world, "left").await.is_some());
    world.settings(json!({ "application.resourceTrackingMethod": "label" })).await;
    world
        .until("what the label names is pruned", async |w: &World| {
            live(w, "left").await.is_none().then_some(())
        })
        .await;
    assert!(live(&world, "a").await.is_some());
}

#[tokio::test]
async fn other_namespaces_of_applications_count_at_once() {
    let world = World::new().await;
    world.project("default", json!({
        "sourceRepos": ["*"], "sourceNamespaces": ["*"], "destinations": [{ "server": "*", "namespace": "*" }],
        "clusterResourceWhitelist": [{ "group": "*", "kind": "*" }],
    })).await;
    world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "1")))]);
    let (team, other) = (world.unique("team"), world.unique("other"));
    for namespace in [&team, &other] {
        world.create_namespace(namespace).await;
        let mut application = world.automated("orders", "app");
        application["metadata"]["namespace"] = json!(namespace);
        application["spec"]["destination"]["namespace"] = json!(format!("shop-{namespace}"));
        world.apply(application).await;
    }
    let synced = async |w: &World, namespace: &str| {
        w.get("v1", "ConfigMap", &format!("shop-{namespace}"), "a").await.is_some()
    };
    assert!(!synced(&world, &team).await);
    world.parameters(json!({ "application.namespaces": team })).await;
    world.until("team-a is looked after", async |w: &World| synced(w, &team).await.then_some(())).await;
    assert!(!synced(&world, &other).await);

    // Nobody looks after it any more, and its objects stay.
    world.parameters(json!({ "application.namespaces": other })).await;
    world
        .until("the other one is looked after", async |w: &World| synced(w, &other).await.then_some(()))
        .await;
    world.delete("v1", "ConfigMap", &format!("shop-{other}"), "a").await;
    world.until("it is put back", async |w: &World| synced(w, &other).await.then_some(())).await;
    world.delete("v1", "ConfigMap", &format!("shop-{team}"), "a").await;
    world.delete("v1", "ConfigMap", &format!("shop-{other}"), "a").await;
    world.until("it is put back again", async |w: &World| synced(w, &other).await.then_some(())).await;
    assert!(!synced(&world, &team).await);
    world.parameters(json!({ "application.namespaces": format!("{other},{team}") })).await;
    world.until("team-a is looked after again", async |w: &World| synced(w, &team).await.then_some(())).await;
}

#[tokio::test]
async fn an_application_that_cannot_be_read_is_told_once() {
    // A definition that lets anything in.
    let mut definitions = own_definitions();
    for version in definitions.iter_mut().flat_map(|one| one["spec"]["versions"].as_array_mut().unwrap()) {
        let schema = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
        version["schema"]["openAPIV3Schema"] = schema;
    }
    let mut world = Setup::new().definitions(definitions).build().await;
    let mut application = world.application("orders", "app");
    application["spec"]["syncPolicy"] = json!({ "retry": { "limit": 1 } });
    world.apply(application).await;
    let broken =
        json!({ "spec": { "ignoreDifferences": [{ "kind": "Deployment", "jsonPointers": "none" }] } });
    world.patch(APPLICATION.0, APPLICATION.1, &world.argocd, "orders", broken).await;
    let conditions = async |w: &World| {
        let application = w.get(APPLICATION.0, APPLICATION.1, &w.argocd, "orders").await.unwrap();
        let conditions = application["status"]["conditions"].as_array().cloned().unwrap_or_default();
        conditions.into_iter().find(|condition| condition["type"] == "InvalidSpecError")
    };
    let told = world.until("it is told", conditions).await;
    assert!(told["message"].as_str().unwrap().contains("jsonPointers"), "{told}");
    world.stop_agent().await;
    world.requests.clear();
    world.start_agent().await;
    let commit = world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "1")))]);
    world.apply(world.automated("invoices", "app")).await;
    world.until_synced("invoices", &commit).await;
    world.settings(json!({ "timeout.reconciliation": "180s" })).await;
    world
        .patch(
            APPLICATION.0,
            APPLICATION.1,
            &world.argocd,
            "orders",
            json!({ "metadata": { "labels": { "a": "b" } } }),
        )
        .await;
    world.refresh("invoices").await;
    let writes = world.requests.writes();
    assert!(writes.iter().all(|sent| !sent.uri.contains("/applications/orders")), "{writes:?}");
    assert_eq!(conditions(&world).await.unwrap(), told);
}

#[tokio::test]
async fn a_deletion_that_cannot_go_on_is_told_once() {
    let world = World::new().await;
    world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "1")))]);
    let mut application = world.application("orders", "app");
    application["metadata"]["finalizers"] = json!(["resources-finalizer.argocd.argoproj.io"]);
    application["spec"]["destination"] = json!({ "name": "elsewhere", "namespace": world.namespace });
    world.apply(application).await;
    world.until_condition("orders", "InvalidSpecError", "elsewhere").await;
    world.delete(APPLICATION.0, APPLICATION.1, &world.argocd, "orders").await;
    world.until_condition("orders", "DeletionError", "elsewhere").await;
    let looks = || world.metric("argocd_app_reconcile_count", &[]);
    for n in 0..3 {
        let before = looks();
        let patch = json!({ "metadata": { "labels": { "n": n.to_string() } } });
        world.patch(APPLICATION.0, APPLICATION.1, &world.argocd, "orders", patch).await;
        let annotation = json!({ "metadata": { "annotations": { "n": n.to_string() } } });
        world.patch(APPLICATION.0, APPLICATION.1, &world.argocd, "orders", annotation).await;
        world.until("it is looked at again", async |_: &World| (looks() > before).then_some(())).await;
    }
    let told = world
        .requests
        .sent()
        .iter()
        .filter(|sent| sent.is_event() && sent.body().contains("elsewhere"))
        .count();
    assert_eq!(told, 1);
}

#[tokio::test]
async fn a_replica_that_cannot_take_part_in_the_election_is_not_ready() {
    let world = Setup::new().without_agent().build().await;
    let nowhere = world.unique("nowhere");
    let mut options = world.agent_options("agent-0");
    options.namespace = nowhere.clone();
    options.leader.namespace = nowhere.clone();
    options.leader.retry_period = Duration::from_millis(50);
    let client = world.requests.client(world.client.clone());
    let metrics = Arc::new(Metrics::new(&MetricsOptions::default()).unwrap());
    let agent = Agent::new(client, options, metrics);
    let ready = agent.readiness();
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    let running = tokio::spawn(async move { agent.run(stopped).await });
    world
        .until("it has tried several times", async |w: &World| {
            assert!(!ready(), "ready without a lease in a namespace that does not exist");
            (w.requests.sent().iter().filter(|sent| sent.is_about_the_lease()).count() > 5).then_some(())
        })
        .await;
    world.create_namespace(&nowhere).await;
    world.until("it leads and is ready", async |_: &World| ready().then_some(())).await;
    stop.cancel();
    running.await.unwrap().unwrap();
}
