//! The patch types other than apply.

use serde_json::json;

use super::{CONFIG_MAPS, DEPLOYMENTS, World, config_map, deployment, reason};

#[tokio::test]
async fn a_merge_patch_sets_and_removes() {
    let world = World::new();
    world.post(CONFIG_MAPS, &config_map("a", json!({"x": "1", "y": "2"}))).await;
    let (code, patched) =
        world.merge(&format!("{CONFIG_MAPS}/a"), &json!({"data": {"x": null, "z": "3"}})).await;
    assert_eq!((code, &patched["data"]), (200, &json!({"y": "2", "z": "3"})));
    let answer = world.merge(&format!("{CONFIG_MAPS}/none"), &json!({})).await;
    assert_eq!(reason(&answer), (404, "NotFound"));
    let answer =
        world.merge(&format!("{CONFIG_MAPS}/a"), &json!({"metadata": {"resourceVersion": "1"}})).await;
    assert_eq!(reason(&answer), (409, "Conflict"));
}

#[tokio::test]
async fn a_json_patch_is_all_or_nothing() {
    let world = World::new();
    world.post(CONFIG_MAPS, &config_map("a", json!({"x": "1"}))).await;
    let path = format!("{CONFIG_MAPS}/a");
    let good = json!([{"op": "test", "path": "/data/x", "value": "1"}, {"op": "replace", "path": "/data/x", "value": "2"}]);
    let (code, patched) = world.send("PATCH", &path, "application/json-patch+json", &good.to_string()).await;
    assert_eq!((code, &patched["data"]["x"]), (200, &json!("2")));
    let answer = world.send("PATCH", &path, "application/json-patch+json", &good.to_string()).await;
    assert_eq!(reason(&answer), (422, "Invalid"));
    assert_eq!(
        reason(&world.send("PATCH", &path, "application/json-patch+json", "{}").await),
        (400, "BadRequest")
    );
}

#[tokio::test]
async fn a_strategic_patch_merges_lists_by_key() {
    let world = World::new();
    world.post(DEPLOYMENTS, &deployment("web")).await;
    let patch = json!({"spec": {"template": {"spec": {"containers": [{"name": "side", "image": "example/side:1"}]}}}});
    let path = format!("{DEPLOYMENTS}/web");
    let content = "application/strategic-merge-patch+json";
    let (code, patched) = world.send("PATCH", &path, content, &patch.to_string()).await;
    assert_eq!(code, 200, "{patched}");
    let mut names: Vec<&str> = patched["spec"]["template"]["spec"]["containers"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|container| container["name"].as_str())
        .collect();
    names.sort_unstable();
    assert_eq!(names, ["side", "web"]);
}

#[tokio::test]
async fn an_unknown_patch_type_is_refused() {
    let world = World::new();
    world.post(CONFIG_MAPS, &config_map("a", json!({}))).await;
    let answer = world.send("PATCH", &format!("{CONFIG_MAPS}/a"), "application/json", "{}").await;
    assert_eq!(reason(&answer), (415, "UnsupportedMediaType"));
    let answer = world
        .send("PATCH", &format!("{CONFIG_MAPS}/a?force=true"), "application/merge-patch+json", "{}")
        .await;
    assert_eq!(reason(&answer), (422, "Invalid"));
}
