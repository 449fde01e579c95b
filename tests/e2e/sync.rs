//! From a commit to the cluster.

use serde_json::json;
use skiff::api::{HealthStatusCode, OperationPhase};

use super::harness::{World, config_map, deployment};

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
    let live = world.get("v1", "ConfigMap", &world.namespace, "settings").await.unwrap();
    assert_eq!(live["data"]["key"], "one");
    let tracking = &live["metadata"]["annotations"]["argocd.argoproj.io/tracking-id"];
    assert_eq!(*tracking, format!("orders:/ConfigMap:{}/settings", world.namespace));
    world
        .until_application("orders", "is healthy", |application| {
            application.status.health_code() == HealthStatusCode::Healthy
        })
        .await;

    let commit = world.repository.commit(&[("app/config.yaml", Some(&config_map("settings", "two")))]);
    let application = world.until_synced("orders", &commit).await;
    assert_eq!(
        world.get("v1", "ConfigMap", &world.namespace, "settings").await.unwrap()["data"]["key"],
        "two"
    );
    assert_eq!(application.status.history.iter().map(|entry| entry.id).collect::<Vec<_>>(), [0, 1]);
}

#[tokio::test]
async fn an_object_that_is_removed_from_the_source_is_pruned() {
    let world = World::new().await;
    world
        .repository
        .commit(&[("app/a.yaml", Some(&config_map("a", "1"))), ("app/b.yaml", Some(&config_map("b", "1")))]);
    world.apply(world.automated("orders", "app")).await;
    world.until("b is there", async |w: &World| w.get("v1", "ConfigMap", &w.namespace, "b").await).await;
    let commit = world.repository.commit(&[("app/b.yaml", None)]);
    world.until_synced("orders", &commit).await;
    assert!(world.get("v1", "ConfigMap", &world.namespace, "b").await.is_none());
    assert!(world.get("v1", "ConfigMap", &world.namespace, "a").await.is_some());
}

#[tokio::test]
async fn drift_is_put_back() {
    let world = World::new().await;
    let commit =
        world.repository.commit(&[("app/deployment.yaml", Some(&deployment("orders", "orders:1.0", 2)))]);
    world.apply(world.automated("orders", "app")).await;
    world.until_synced("orders", &commit).await;
    world
        .patch("apps/v1", "Deployment", &world.namespace, "orders", json!({ "spec": { "replicas": 5 } }))
        .await;
    world
        .until("the Deployment has two replicas again", async |w: &World| {
            let live = w.get("apps/v1", "Deployment", &w.namespace, "orders").await?;
            (live["spec"]["replicas"] == 2).then_some(())
        })
        .await;
}

#[tokio::test]
async fn the_destination_namespace_is_created_when_that_is_asked_for() {
    let world = World::new().await;
    let commit = world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "1")))]);
    world.apply(world.automated("orders", "app")).await;
    let application = world.until_synced("orders", &commit).await;
    let namespace = world.get("v1", "Namespace", "", &world.namespace).await.unwrap();
    assert!(namespace["metadata"].get("annotations").is_none(), "it belongs to nobody: {namespace}");
    let rows: Vec<&str> = application.status.resources.iter().map(|row| row.kind.as_str()).collect();
    assert_eq!(rows, ["ConfigMap"]);
}

#[tokio::test]
async fn without_the_destination_namespace_nothing_is_applied() {
    let world = World::new().await;
    let elsewhere_namespace = world.unique("elsewhere");
    world.create_namespace(&elsewhere_namespace).await;
    let elsewhere = config_map("elsewhere", "1")
        .replace("name: elsewhere", &format!("name: elsewhere\n  namespace: {elsewhere_namespace}"));
    world
        .repository
        .commit(&[("app/a.yaml", Some(&config_map("a", "1"))), ("app/elsewhere.yaml", Some(&elsewhere))]);
    world.apply(world.application("orders", "app")).await;
    world.sync("orders", json!({})).await;
    let application = world.until_operation("orders", OperationPhase::Failed).await;
    let message = application.status.operation_state.unwrap().message;
    let missing = format!("namespaces \"{}\" not found", world.namespace);
    assert!(message.contains(&missing), "{message}");
    assert_eq!(world.written(), [""; 0]);
    assert!(world.get("v1", "ConfigMap", &elsewhere_namespace, "elsewhere").await.is_none());
}

#[tokio::test]
async fn a_namespace_that_the_source_declares_wins_over_a_created_one() {
    let world = World::new().await;
    let name = &world.namespace;
    let namespace =
        format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}, labels: {{team: shop}}}}\n");
    let commit = world
        .repository
        .commit(&[("app/namespace.yaml", Some(&namespace)), ("app/a.yaml", Some(&config_map("a", "1")))]);
    world.apply(world.automated("orders", "app")).await;
    world.until_synced("orders", &commit).await;
    let live = world.get("v1", "Namespace", "", &world.namespace).await.unwrap();
    assert_eq!(live["metadata"]["labels"]["team"], "shop");
    assert_eq!(world.written(), [format!("PATCH namespaces/{name}"), "PATCH configmaps/a".to_owned()]);
}

/// An Application as a manifest in the repository.
fn child(world: &World, name: &str, path: &str) -> String {
    let mut application = world.automated(name, path);
    application["metadata"]["finalizers"] = json!(["resources-finalizer.argocd.argoproj.io"]);
    application.to_string()
}

#[tokio::test]
async fn an_application_of_applications_brings_them_and_takes_them_away() {
    let world = World::new().await;
    world.repository.commit(&[
        ("apps/one.json", Some(&child(&world, "one", "one"))),
        ("apps/two.json", Some(&child(&world, "two", "two"))),
        ("one/a.yaml", Some(&config_map("a", "1"))),
        ("two/b.yaml", Some(&config_map("b", "1"))),
    ]);
    let mut root = world.automated("root", "apps");
    root["spec"]["destination"]["namespace"] = json!(world.argocd);
    world.apply(root).await;
    world
        .until("the objects of both are there", async |w: &World| {
            (w.get("v1", "ConfigMap", &w.namespace, "a").await.is_some()
                && w.get("v1", "ConfigMap", &w.namespace, "b").await.is_some())
            .then_some(())
        })
        .await;
    let root = world
        .until_application("root", "is healthy", |application| {
            application.status.health_code() == HealthStatusCode::Healthy
                && !application.status.history.is_empty()
        })
        .await;
    assert!(root.status.summary.is_app_of_apps);
    let commit = world.repository.commit(&[("apps/two.json", None)]);
    world
        .until("b is gone", async |w: &World| {
            w.get("v1", "ConfigMap", &w.namespace, "b").await.is_none().then_some(())
        })
        .await;
    world.until_synced("root", &commit).await;
    assert_eq!(world.names("argoproj.io/v1alpha1", "Application", &world.argocd).await, ["one", "root"]);
    assert!(world.get("v1", "ConfigMap", &world.namespace, "a").await.is_some());
}

#[tokio::test]
async fn the_cluster_may_be_given_by_its_name_and_no_other_cluster_is_taken_for_it() {
    let world = World::new().await;
    let commit = world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "1")))]);
    let mut application = world.automated("orders", "app");
    application["spec"]["destination"] = json!({ "name": "in-cluster", "namespace": world.namespace });
    world.apply(application.clone()).await;
    world.until_synced("orders", &commit).await;
    for destination in [
        json!({ "name": "production", "namespace": world.namespace }),
        json!({ "server": "https://203.0.113.1", "namespace": world.namespace }),
        json!({ "server": "https://kubernetes.default.svc", "name": "in-cluster", "namespace": world.namespace }),
        json!({ "namespace": world.namespace }),
    ] {
        let mut other = world.automated("other", "app");
        other["spec"]["destination"] = destination;
        world.apply(other).await;
        world.until_condition("other", "InvalidSpecError", "spec.destination").await;
        world.delete("argoproj.io/v1alpha1", "Application", &world.argocd, "other").await;
        world
            .until("the Application is gone", async |w: &World| {
                w.get("argoproj.io/v1alpha1", "Application", &w.argocd, "other").await.is_none().then_some(())
            })
            .await;
    }
}

#[tokio::test]
async fn a_child_application_that_somebody_edits_is_put_back_and_its_status_is_no_drift() {
    let world = World::new().await;
    world.repository.commit(&[
        ("apps/one.json", Some(&child(&world, "one", "one"))),
        ("one/a.yaml", Some(&config_map("a", "1"))),
    ]);
    let mut root = world.automated("root", "apps");
    root["spec"]["destination"]["namespace"] = json!(world.argocd);
    world.apply(root).await;
    world.until("a is there", async |w: &World| w.get("v1", "ConfigMap", &w.namespace, "a").await).await;
    let next = world.repository.commit(&[("one/a.yaml", Some(&config_map("a", "2")))]);
    world.until_synced("one", &next).await;
    let root = world.until_synced("root", &next).await;
    assert_eq!(
        root.status.history.len(),
        1,
        "what the agent writes into a child is not synced by its parent"
    );
    world.change_spec("one", json!({ "source": { "path": "elsewhere" } })).await;
    world
        .until_application("one", "has its path again", |application| {
            application.spec.source.as_ref().is_some_and(|source| source.path == "one")
        })
        .await;
    world.until_synced("one", &next).await;
}

#[tokio::test]
async fn an_object_that_is_there_already_is_taken_over_with_what_others_have_in_it() {
    let world = World::new().await;
    world.create_namespace(&world.namespace).await;
    let found = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": { "name": "a", "namespace": world.namespace, "labels": { "owner": "person" } },
        "data": { "key": "other", "more": "kept" },
    });
    let found = world.apply(found).await;
    let commit = world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "1")))]);
    world.apply(world.automated("orders", "app")).await;
    world.until_synced("orders", &commit).await;
    let live = world.get("v1", "ConfigMap", &world.namespace, "a").await.unwrap();
    assert_eq!(live["metadata"]["uid"], found["metadata"]["uid"]);
    assert_eq!(live["metadata"]["labels"]["owner"], "person");
    assert_eq!(live["data"], json!({ "key": "1", "more": "kept" }));
}

#[tokio::test]
async fn a_field_that_the_source_no_longer_has_is_removed() {
    let world = World::new().await;
    let both = config_map("a", "1") + "  more: gone soon\n";
    let commit = world.repository.commit(&[("app/a.yaml", Some(&both))]);
    world.apply(world.automated("orders", "app")).await;
    world.until_synced("orders", &commit).await;
    assert_eq!(
        world.get("v1", "ConfigMap", &world.namespace, "a").await.unwrap()["data"]["more"],
        "gone soon"
    );
    let commit = world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "1")))]);
    world.until_synced("orders", &commit).await;
    let live = world.get("v1", "ConfigMap", &world.namespace, "a").await.unwrap();
    assert_eq!(live["data"], json!({ "key": "1" }));
}

#[tokio::test]
async fn a_change_that_the_api_server_refuses_is_told_and_changes_nothing() {
    let world = World::new().await;
    let commit = world.repository.commit(&[
        ("app/a.yaml", Some(&config_map("a", "1"))),
        ("app/web.yaml", Some(&deployment("web", "web:1.0", 1))),
    ]);
    world.apply(world.automated("orders", "app")).await;
    world.until_synced("orders", &commit).await;
    world.requests.clear();
    let other = deployment("web", "web:1.0", 1).replace("{app: web}", "{app: other}");
    world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "2"))), ("app/web.yaml", Some(&other))]);
    world
        .until_application("orders", "tells of the immutable field", |application| {
            let state = application.status.operation_state.as_ref().unwrap();
            state.message.contains("spec.selector") && state.message.contains("immutable")
        })
        .await;
    assert_eq!(world.written(), [""; 0]);
}

#[tokio::test]
async fn drift_that_comes_back_is_put_back_again() {
    let world = World::new().await;
    let commit = world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "1")))]);
    world.apply(world.automated("orders", "app")).await;
    world.until_synced("orders", &commit).await;
    for value in ["first", "second"] {
        world.patch("v1", "ConfigMap", &world.namespace, "a", json!({ "data": { "key": value } })).await;
        world
            .until(&format!("the {value} drift is put back"), async |w: &World| {
                let live = w.get("v1", "ConfigMap", &w.namespace, "a").await?;
                (live["data"]["key"] == "1").then_some(())
            })
            .await;
    }
    let application = world
        .until_application("orders", "has healed twice", |application| {
            let state = application.status.operation_state.as_ref().unwrap();
            let sync = state.operation.sync.as_ref().unwrap();
            application.operation.is_none() && sync.auto_heal_attempts_count == 2
        })
        .await;
    assert_eq!(application.status.history.len(), 1, "putting drift back is no new entry of the history");
}
