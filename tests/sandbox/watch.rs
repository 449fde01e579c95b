//! Watches: from a version, with an initial list, over bookmarks, and to their ends.

use std::time::Duration;

use futures::{AsyncBufReadExt as _, StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::runtime::watcher;
use serde_json::{Value, json};
use skiff::sandbox::Sandbox;
use skiff::sandbox::fault::{Fault, FaultRule};

use super::{CONFIG_MAPS, World, config_map};

struct Events(std::pin::Pin<Box<dyn futures::Stream<Item = Value> + Send>>);

impl Events {
    async fn open(world: &World, query: &str) -> Self {
        let uri = format!("{CONFIG_MAPS}?watch=true&{query}");
        let request = http::Request::builder().uri(uri).body(Vec::new()).unwrap();
        let lines = world.sandbox.client().request_stream(request).await.unwrap().lines();
        Self(Box::pin(
            lines.map_ok(|line| serde_json::from_str(&line).unwrap()).filter_map(|v| async { v.ok() }),
        ))
    }

    async fn next(&mut self) -> Value {
        tokio::time::timeout(Duration::from_secs(20), self.0.next()).await.expect("an event").expect("no end")
    }

    async fn ended(&mut self) -> bool {
        tokio::time::timeout(Duration::from_secs(20), self.0.next()).await.expect("an end").is_none()
    }
}

fn seen(event: &Value) -> (&str, &str) {
    (event["type"].as_str().unwrap(), event["object"]["metadata"]["name"].as_str().unwrap_or_default())
}

#[tokio::test]
async fn a_watch_resumes_after_a_version() {
    let world = World::new();
    let (_, first) = world.post(CONFIG_MAPS, &config_map("a", json!({}))).await;
    world.post(CONFIG_MAPS, &config_map("b", json!({}))).await;
    let version = first["metadata"]["resourceVersion"].as_str().unwrap();
    let mut events = Events::open(&world, &format!("resourceVersion={version}")).await;
    assert_eq!(seen(&events.next().await), ("ADDED", "b"));
    world.merge(&format!("{CONFIG_MAPS}/a"), &json!({"data": {"x": "1"}})).await;
    let event = events.next().await;
    assert_eq!(seen(&event), ("MODIFIED", "a"));
    assert_eq!(event["object"]["kind"], "ConfigMap");
    world.delete(&format!("{CONFIG_MAPS}/a"), &json!({})).await;
    let event = events.next().await;
    assert_eq!(seen(&event), ("DELETED", "a"));
    assert_eq!(event["object"]["data"]["x"], "1");
}

#[tokio::test]
async fn an_object_that_leaves_the_selection_is_deleted_to_the_watcher() {
    let world = World::new();
    let mut object = config_map("a", json!({}));
    object["metadata"]["labels"] = json!({"in": "yes"});
    world.post(CONFIG_MAPS, &object).await;
    let mut events = Events::open(&world, "labelSelector=in").await;
    assert_eq!(seen(&events.next().await), ("ADDED", "a"));
    world.merge(&format!("{CONFIG_MAPS}/a"), &json!({"metadata": {"labels": {"in": null}}})).await;
    let event = events.next().await;
    assert_eq!(seen(&event), ("DELETED", "a"));
    assert_eq!(event["object"]["metadata"]["labels"]["in"], "yes", "the last state that was visible");
    world.merge(&format!("{CONFIG_MAPS}/a"), &json!({"metadata": {"labels": {"in": "again"}}})).await;
    assert_eq!(seen(&events.next().await), ("ADDED", "a"));
}

#[tokio::test]
async fn a_streaming_list_ends_with_a_marked_bookmark() {
    let world = World::new();
    world.post(CONFIG_MAPS, &config_map("a", json!({}))).await;
    let query = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&fieldSelector=metadata.name%3Da";
    let mut events = Events::open(&world, query).await;
    assert_eq!(seen(&events.next().await), ("ADDED", "a"));
    let bookmark = events.next().await;
    assert_eq!(bookmark["type"], "BOOKMARK");
    assert_eq!(bookmark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    let (code, _) = world.get(&format!("{CONFIG_MAPS}?watch=true&sendInitialEvents=true")).await;
    assert_eq!(code, 422);
}

#[tokio::test]
async fn a_version_that_left_the_log_is_gone() {
    let world = World { sandbox: Sandbox::builder().event_log_capacity(2).build() };
    let (_, first) = world.post(CONFIG_MAPS, &config_map("a", json!({}))).await;
    for name in ["b", "c", "d"] {
        world.post(CONFIG_MAPS, &config_map(name, json!({}))).await;
    }
    let version = first["metadata"]["resourceVersion"].as_str().unwrap();
    let mut events = Events::open(&world, &format!("resourceVersion={version}")).await;
    let event = events.next().await;
    assert_eq!((&event["type"], &event["object"]["code"]), (&json!("ERROR"), &json!(410)));
    assert_eq!(event["object"]["reason"], "Expired");
    assert!(events.ended().await);
}

#[tokio::test]
async fn a_watch_ends_with_its_timeout() {
    let world = World::new();
    let mut events = Events::open(&world, "resourceVersion=1&timeoutSeconds=1&labelSelector=none").await;
    assert!(events.ended().await);
}

#[tokio::test]
async fn a_watch_can_be_cut() {
    let world = World::new();
    world.sandbox.faults().inject(FaultRule::on("watch", "configmaps").times(1), Fault::CutWatch(1));
    let mut events = Events::open(&world, "labelSelector=test").await;
    for name in ["a", "b"] {
        let mut object = config_map(name, json!({}));
        object["metadata"]["labels"] = json!({"test": "yes"});
        world.post(CONFIG_MAPS, &object).await;
    }
    assert_eq!(seen(&events.next().await), ("ADDED", "a"));
    assert!(events.ended().await);
}

#[tokio::test]
async fn the_watcher_of_kube_survives_compaction_and_cuts() {
    let world = World::new();
    let api: Api<ConfigMap> = Api::namespaced(world.sandbox.client(), "default");
    for config in [watcher::Config::default(), watcher::Config::default().streaming_lists()] {
        let config = config.labels("round=now");
        let mut object = config_map("a", json!({"n": "0"}));
        object["metadata"]["labels"] = json!({"round": "now"});
        world.post(CONFIG_MAPS, &object).await;
        let mut stream = Box::pin(watcher(api.clone(), config));
        let next = async |stream: &mut std::pin::Pin<Box<_>>| loop {
            let next = futures::StreamExt::next(stream);
            match tokio::time::timeout(Duration::from_secs(20), next)
                .await
                .expect("an event")
                .expect("no end")
            {
                Ok(event) => return event,
                Err(_) => continue,
            }
        };
        loop {
            if matches!(next(&mut stream).await, watcher::Event::InitDone) {
                break;
            }
        }
        world.sandbox.store().compact();
        world.merge(&format!("{CONFIG_MAPS}/a"), &json!({"data": {"n": "1"}})).await;
        loop {
            match next(&mut stream).await {
                watcher::Event::Apply(object) | watcher::Event::InitApply(object)
                    if object.data.as_ref().is_some_and(|data| data["n"] == "1") =>
                {
                    break;
                }
                _ => {}
            }
        }
        world.delete(&format!("{CONFIG_MAPS}/a"), &json!({})).await;
        loop {
            if matches!(next(&mut stream).await, watcher::Event::Delete(_)) {
                break;
            }
        }
    }
}
