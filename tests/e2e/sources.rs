//! Where manifests come from: directories and revisions.

use std::time::Duration;

use serde_json::{Value, json};
use skiff::{
    api::{Application, SyncStatusCode},
    git::CommitId,
};

use super::harness::{Setup, World, config_map};

fn declared(application: &Application) -> Vec<&str> {
    application.status.resources.iter().map(|row| row.name.as_str()).collect()
}

async fn until_declared(world: &World, directory: Value, names: &[&str]) {
    let mut application = world.application("orders", "app");
    application["spec"]["source"]["directory"] = directory;
    world.apply(application).await;
    world
        .until_application("orders", &format!("declares {names:?}"), |application| {
            declared(application) == names
        })
        .await;
}

#[tokio::test]
async fn a_directory_is_read_as_far_as_its_options_say() {
    let world = World::new().await;
    world.repository.commit(&[
        ("app/a.yaml", Some(&config_map("a", "1"))),
        ("app/b.yml", Some(&config_map("b", "1"))),
        ("app/c.json", Some(r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c"}}"#)),
        ("app/notes.txt", Some("no manifest: at all")),
        ("app/sub/d.yaml", Some(&config_map("d", "1"))),
        ("app/sub/deep/e.yaml", Some(&config_map("e", "1"))),
        ("other/f.yaml", Some(&config_map("f", "1"))),
    ]);
    until_declared(&world, json!({}), &["a", "b", "c"]).await;
    until_declared(&world, json!({ "recurse": true }), &["a", "b", "c", "d", "e"]).await;
    until_declared(&world, json!({ "recurse": true, "include": "*.yaml" }), &["a", "d", "e"]).await;
    until_declared(&world, json!({ "recurse": true, "include": "{*.yml,sub/*}" }), &["b", "d", "e"]).await;
    until_declared(&world, json!({ "recurse": true, "exclude": "sub/*" }), &["a", "b", "c"]).await;
    let both = json!({ "recurse": true, "include": "*.yaml", "exclude": "{a.yaml,sub/deep/*}" });
    until_declared(&world, both, &["d"]).await;
}

#[tokio::test]
async fn the_root_of_a_repository_may_be_a_directory_of_manifests() {
    let world = World::new().await;
    let commit = world.repository.commit(&[("a.yaml", Some(&config_map("a", "1")))]);
    world.apply(world.automated("orders", ".")).await;
    let application = world.until_synced("orders", &commit).await;
    assert_eq!(declared(&application), ["a"]);
}

async fn until_compared(world: &World, revision: &str, commit: &CommitId) {
    let mut application = world.application("orders", "app");
    application["spec"]["source"]["targetRevision"] = json!(revision);
    world.apply(application).await;
    let is_compared = |application: &Application| {
        let sync = application.status.sync.as_ref();
        sync.is_some_and(|sync| {
            let source = sync.compared_to.source.as_ref();
            sync.revision == commit.as_str()
                && source.is_some_and(|source| source.target_revision == revision)
        })
    };
    world.until_application("orders", &format!("at '{revision}' is at commit {commit}"), is_compared).await;
}

#[tokio::test]
async fn every_kind_of_revision_names_its_commit() {
    let world = World::new().await;
    let repository = &world.repository;
    let first = repository.commit(&[("app/a.yaml", Some(&config_map("a", "1")))]);
    repository.tag("v1.0.0", &first, None);
    let second = repository.commit(&[("app/a.yaml", Some(&config_map("a", "2")))]);
    repository.tag("v1.1.0", &second, Some("the second"));
    let third = repository.commit(&[("app/a.yaml", Some(&config_map("a", "3")))]);
    repository.tag("v2.0.0", &third, None);
    let release = repository.commit_to("release/1", "app/a.yaml", &config_map("a", "4"));
    let head = repository.commit(&[("app/a.yaml", Some(&config_map("a", "5")))]);

    until_compared(&world, "v1.0.0", &first).await;
    until_compared(&world, "v1.1.0", &second).await;
    until_compared(&world, "refs/tags/v1.1.0", &second).await;
    until_compared(&world, "release/1", &release).await;
    until_compared(&world, "HEAD", &head).await;
    until_compared(&world, "", &head).await;
    until_compared(&world, "main", &head).await;
    until_compared(&world, third.as_str(), &third).await;
    until_compared(&world, first.as_str().get(..8).unwrap(), &first).await;
    until_compared(&world, "1.0.x", &first).await;
    until_compared(&world, ">=1.0.0 <2.0.0", &second).await;
    until_compared(&world, "*", &third).await;
    until_compared(&world, "^1.0.0", &second).await;

    let newest = repository.commit(&[("app/a.yaml", Some(&config_map("a", "6")))]);
    repository.tag("v1.2.0", &newest, Some("fits the range"));
    world
        .until_application("orders", "follows its range to the new tag", |application| {
            application.status.sync.as_ref().is_some_and(|sync| sync.revision == newest.as_str())
        })
        .await;
}

#[tokio::test]
async fn a_revision_that_is_pinned_stays_where_it_is() {
    let world = World::new().await;
    let pinned = world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "1")))]);
    let mut application = world.automated("orders", "app");
    application["spec"]["source"]["targetRevision"] = json!(pinned.as_str());
    world.apply(application).await;
    world.until_synced("orders", &pinned).await;
    world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "2")))]);
    let application = world.refresh("orders").await;
    assert_eq!(application.status.sync_code(), SyncStatusCode::Synced);
    assert_eq!(world.get("v1", "ConfigMap", &world.namespace, "a").await.unwrap()["data"]["key"], "1");
}

#[tokio::test]
async fn a_branch_that_is_forced_back_takes_the_cluster_along() {
    let world = World::new().await;
    let first = world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "1")))]);
    world.apply(world.automated("orders", "app")).await;
    world.until_synced("orders", &first).await;
    let second = world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "2")))]);
    world.until_synced("orders", &second).await;
    world.repository.force(&first);
    world.until_synced("orders", &first).await;
    assert_eq!(world.get("v1", "ConfigMap", &world.namespace, "a").await.unwrap()["data"]["key"], "1");
}

#[tokio::test]
async fn a_commit_that_is_reverted_is_taken_back() {
    let world = World::new().await;
    let first = world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "1")))]);
    world.apply(world.automated("orders", "app")).await;
    world.until_synced("orders", &first).await;
    let change = world
        .repository
        .commit(&[("app/a.yaml", Some(&config_map("a", "2"))), ("app/b.yaml", Some(&config_map("b", "1")))]);
    world.until_synced("orders", &change).await;
    let reverted = world.repository.revert(&change);
    world.until_synced("orders", &reverted).await;
    assert_eq!(world.get("v1", "ConfigMap", &world.namespace, "a").await.unwrap()["data"]["key"], "1");
    assert_eq!(world.names("v1", "ConfigMap", &world.namespace).await, ["a"]);
}

/// A world whose agent does not look at repositories by itself.
async fn world_without_polls() -> World {
    let mut world = Setup::new().without_agent().build().await;
    let mut options = world.agent_options("agent-0");
    options.poll_interval = Some(Duration::from_secs(3600));
    world.start_agent_with(options).await;
    world
}

#[tokio::test]
async fn a_commit_that_one_application_is_refreshed_to_reaches_the_others() {
    let world = world_without_polls().await;
    let first = world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "1")))]);
    for name in ["orders", "payments"] {
        world.apply(world.automated(name, "app")).await;
        world.until_synced(name, &first).await;
    }
    let second = world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "2")))]);
    world.refresh("orders").await;
    world
        .until_application("payments", "has seen the commit", |it| {
            it.status.sync.as_ref().is_some_and(|sync| sync.revision == second.as_str())
        })
        .await;
}

#[tokio::test]
async fn a_new_application_sees_what_was_pushed_an_instant_ago() {
    let world = world_without_polls().await;
    let first = world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "1")))]);
    world.apply(world.automated("orders", "app")).await;
    world.until_synced("orders", &first).await;
    let second = world.repository.commit(&[("other/b.yaml", Some(&config_map("b", "1")))]);
    world.apply(world.automated("payments", "other")).await;
    world.until_synced("payments", &second).await;
}
