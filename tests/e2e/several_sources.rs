//! Applications of several sources, and Applications that declare Applications.

use serde_json::{Value, json};
use skiff::api::{HealthStatusCode, OperationPhase, SyncStatusCode, names};

use super::harness::{World, config_map, deployment};

fn several(world: &World, sources: Value) -> Value {
    let mut application = world.automated("orders", "app");
    let spec = application["spec"].as_object_mut().unwrap();
    spec.shift_remove("source");
    spec.insert("sources".to_owned(), sources);
    application
}

fn source(world: &World, path: &str) -> Value {
    json!({ "repoURL": world.repository.url(), "path": path, "targetRevision": "main" })
}

async fn value(world: &World, name: &str) -> Option<Value> {
    Some(world.get("v1", "ConfigMap", &world.namespace, name).await?["data"]["key"].clone())
}

#[tokio::test]
async fn all_sources_are_synced_together_and_the_last_one_wins() {
    let world = World::new().await;
    let commit = world.repository.commit(&[
        ("base/a.yaml", Some(&config_map("a", "1"))),
        ("base/b.yaml", Some(&config_map("b", "1"))),
        ("extra/b.yaml", Some(&config_map("b", "2"))),
    ]);
    world.apply(several(&world, json!([source(&world, "base"), source(&world, "extra")]))).await;
    let application = world
        .until_application("orders", "is synced", |it| {
            it.status.sync_code() == SyncStatusCode::Synced && it.operation.is_none()
        })
        .await;
    assert_eq!((value(&world, "a").await, value(&world, "b").await), (Some(json!("1")), Some(json!("2"))));
    let sync = application.status.sync.unwrap();
    assert_eq!((sync.revision.as_str(), sync.revisions.len()), ("", 2));
    assert!(sync.revisions.iter().all(|revision| revision == commit.as_str()));
    let [entry] = application.status.history.as_slice() else { panic!("one entry") };
    assert_eq!((entry.sources.len(), entry.revisions.len()), (2, 2));
    world.until_condition("orders", names::CONDITION_REPEATED_RESOURCE_WARNING, "ConfigMap").await;
    let next = world.repository.commit(&[("extra/b.yaml", Some(&config_map("b", "3")))]);
    world
        .until_application("orders", "follows", |it| {
            let sync = it.status.sync.as_ref();
            sync.is_some_and(|sync| sync.revisions.iter().all(|revision| revision == next.as_str()))
                && it.status.sync_code() == SyncStatusCode::Synced
        })
        .await;
    assert_eq!(value(&world, "b").await, Some(json!("3")));
}

#[tokio::test]
async fn a_source_that_is_only_referred_to_declares_nothing() {
    let world = World::new().await;
    world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "1")))]);
    let reference = json!({ "repoURL": world.repository.url(), "targetRevision": "main", "ref": "values" });
    world.apply(several(&world, json!([source(&world, "app"), reference]))).await;
    world.until_status("orders", SyncStatusCode::Synced).await;
    assert_eq!(world.names("v1", "ConfigMap", &world.namespace).await, ["a"]);
}

#[tokio::test]
async fn references_that_contradict_each_other_are_an_error() {
    let world = World::new().await;
    world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "1")))]);
    let reference = |name: &str, revision: &str| json!({ "repoURL": world.repository.url(), "targetRevision": revision, "ref": name });
    let sources = json!([source(&world, "app"), reference("values", "main"), reference("values", "main")]);
    world.apply(several(&world, sources)).await;
    let text = "spec.sources[2].ref: 'values' is the name of spec.sources[1] already";
    world.until_condition("orders", names::CONDITION_INVALID_SPEC_ERROR, text).await;
    let sources = json!([source(&world, "app"), reference("a", "main"), reference("b", "other")]);
    world.change_spec("orders", json!({ "sources": sources })).await;
    let text = "spec.sources[2].targetRevision: 'other' differs from 'main'";
    world.until_condition("orders", names::CONDITION_INVALID_SPEC_ERROR, text).await;
}

/// The manifest of an Application that reads a path of the world's repository.
fn child(world: &World, name: &str, path: &str, wave: i64) -> String {
    let mut application = world.automated(name, path);
    application["metadata"]["annotations"] = json!({ "argocd.argoproj.io/sync-wave": wave.to_string() });
    application["metadata"]["finalizers"] = json!([names::FINALIZER_RESOURCES]);
    serde_json::to_string_pretty(&application).unwrap()
}

#[tokio::test]
async fn a_wave_of_applications_waits_until_the_one_before_it_runs() {
    let world = World::new().await;
    world.repository.commit(&[
        ("parent/first.yaml", Some(&child(&world, "first", "first", 0))),
        ("parent/second.yaml", Some(&child(&world, "second", "second", 1))),
        ("first/web.yaml", Some(&deployment("web", "web:broken", 1))),
        ("second/b.yaml", Some(&config_map("b", "1"))),
    ]);
    let mut parent = world.automated("parent", "parent");
    parent["spec"]["destination"]["namespace"] = json!(world.argocd);
    parent["metadata"]["finalizers"] = json!([names::FINALIZER_RESOURCES]);
    world.apply(parent).await;
    world
        .until_application("parent", "waits for its first child", |it| {
            let state = it.status.operation_state.as_ref();
            state.is_some_and(|state| {
                state.message == "waiting for healthy state of argoproj.io/Application/first"
            })
        })
        .await;
    let second = world.get("argoproj.io/v1alpha1", "Application", &world.argocd, "second").await;
    assert_eq!(second, None);
    world.repository.commit(&[("first/web.yaml", Some(&deployment("web", "web:1.0", 1)))]);
    world.until_operation("parent", OperationPhase::Succeeded).await;
    world
        .until_application("parent", "is synced and healthy", |it| {
            it.status.sync_code() == SyncStatusCode::Synced
                && it.status.health_code() == HealthStatusCode::Healthy
        })
        .await;
    world.until_status("second", SyncStatusCode::Synced).await;
    // The parent goes after its children, and these after their objects.
    world.delete("argoproj.io/v1alpha1", "Application", &world.argocd, "parent").await;
    world
        .until("all of them are gone", async |w: &World| {
            let left = w.names("argoproj.io/v1alpha1", "Application", &w.argocd).await;
            left.is_empty().then_some(())
        })
        .await;
    assert_eq!(world.get("v1", "ConfigMap", &world.namespace, "b").await, None);
    assert_eq!(world.get("apps/v1", "Deployment", &world.namespace, "web").await, None);
}

#[tokio::test]
async fn applications_that_declare_each_other_are_an_error() {
    let world = World::new().await;
    world.repository.commit(&[
        ("first/second.yaml", Some(&child(&world, "second", "second", 0))),
        ("second/first.yaml", Some(&child(&world, "first", "first", 0))),
    ]);
    let mut first = world.automated("first", "first");
    first["spec"]["destination"]["namespace"] = json!(world.argocd);
    world.apply(first).await;
    world
        .until("the first has made the second", async |world: &World| {
            world.get("argoproj.io/v1alpha1", "Application", &world.argocd, "second").await
        })
        .await;
    let text = format!("the source declares Application {}/first, which declares this one", world.argocd);
    world.until_condition("second", names::CONDITION_INVALID_SPEC_ERROR, &text).await;
}

#[tokio::test]
async fn a_password_in_the_url_of_one_of_several_sources_is_refused_and_copied_nowhere() {
    let world = World::new().await;
    world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "1")))]);
    let mut application = world.automated("orders", "app");
    let good = application["spec"].as_object_mut().unwrap().shift_remove("source").unwrap();
    let shown = json!({ "repoURL": "https://robot:canary@git.example.com/shop.git", "path": "." });
    application["spec"]["sources"] = json!([good, shown]);
    world.apply(application).await;
    world.until_condition("orders", names::CONDITION_INVALID_SPEC_ERROR, "holds a password").await;
    world.apply(world.application("payments", "app")).await;
    world.sync("payments", json!({ "sources": [good, shown] })).await;
    world.until_operation("payments", OperationPhase::Error).await;
    for name in ["orders", "payments"] {
        let application = world.get("argoproj.io/v1alpha1", "Application", &world.argocd, name).await;
        let status = application.unwrap()["status"].to_string();
        assert!(!status.contains("canary"), "{status}");
    }
}
