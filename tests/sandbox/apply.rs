//! Server-side apply through the API.

use serde_json::json;

use super::{CONFIG_MAPS, DEPLOYMENTS, World, config_map, deployment, reason};

#[tokio::test]
async fn apply_creates_then_updates_then_rests() {
    let world = World::new();
    let path = format!("{DEPLOYMENTS}/web?fieldManager=skiff");
    let (code, created) = world.apply(&path, &deployment("web")).await;
    assert_eq!(code, 201, "{created}");
    assert_eq!(created["metadata"]["managedFields"][0]["operation"], "Apply");
    world
        .wait("apps/Deployment", "default", "web", |object| {
            object.is_some_and(|o| o["status"]["observedGeneration"] == 1)
        })
        .await;
    let (_, settled) = world.get(&format!("{DEPLOYMENTS}/web")).await;
    let (code, again) = world.apply(&path, &deployment("web")).await;
    assert_eq!(code, 200);
    assert_eq!(again["spec"], settled["spec"]);
    assert_eq!(again["metadata"]["generation"], 1);
    let mut changed = deployment("web");
    changed["spec"]["replicas"] = json!(4);
    let (_, changed) = world.apply(&path, &changed).await;
    assert_eq!(changed["metadata"]["generation"], 2);
}

#[tokio::test]
async fn an_apply_that_changes_nothing_keeps_the_version() {
    let world = World::new();
    let path = format!("{CONFIG_MAPS}/a?fieldManager=skiff");
    let (_, first) = world.apply(&path, &config_map("a", json!({"x": "1"}))).await;
    let (_, second) = world.apply(&path, &config_map("a", json!({"x": "1"}))).await;
    assert_eq!(first, second);
}

#[tokio::test]
async fn fields_of_others_conflict_until_forced() {
    let world = World::new();
    world.apply(&format!("{CONFIG_MAPS}/a?fieldManager=one"), &config_map("a", json!({"x": "1"}))).await;
    let path = format!("{CONFIG_MAPS}/a?fieldManager=two");
    let answer = world.apply(&path, &config_map("a", json!({"x": "2"}))).await;
    assert_eq!(reason(&answer), (409, "Conflict"));
    assert_eq!(
        answer.1["details"]["causes"],
        json!([{
            "reason": "FieldManagerConflict", "message": "conflict with \"one\"", "field": ".data.x",
        }])
    );
    let (code, forced) =
        world.apply(&format!("{path}&force=true"), &config_map("a", json!({"x": "2"}))).await;
    assert_eq!((code, &forced["data"]["x"]), (200, &json!("2")));
}

#[tokio::test]
async fn dropped_fields_are_removed_and_dry_runs_are_not_stored() {
    let world = World::new();
    let path = format!("{CONFIG_MAPS}/a?fieldManager=skiff");
    world.apply(&path, &config_map("a", json!({"x": "1", "y": "2"}))).await;
    let (_, planned) = world.apply(&format!("{path}&dryRun=All"), &config_map("a", json!({"x": "1"}))).await;
    assert_eq!(planned["data"], json!({"x": "1"}));
    let (_, live) = world.get(&format!("{CONFIG_MAPS}/a")).await;
    assert_eq!(live["data"], json!({"x": "1", "y": "2"}));
    let (_, applied) = world.apply(&path, &config_map("a", json!({"x": "1"}))).await;
    assert_eq!(applied["data"], json!({"x": "1"}));
}

#[tokio::test]
async fn apply_needs_a_manager_a_fitting_name_and_no_managed_fields() {
    let world = World::new();
    let answer = world.apply(&format!("{CONFIG_MAPS}/a"), &config_map("a", json!({}))).await;
    assert_eq!(reason(&answer), (422, "Invalid"));
    assert!(
        answer.1["message"]
            .as_str()
            .unwrap()
            .contains("fieldManager: Required value: is required for apply patch")
    );
    let path = format!("{CONFIG_MAPS}/a?fieldManager=skiff");
    assert_eq!(reason(&world.apply(&path, &config_map("b", json!({}))).await), (400, "BadRequest"));
    let mut managed = config_map("a", json!({}));
    managed["metadata"]["managedFields"] = json!([]);
    assert_eq!(reason(&world.apply(&path, &managed).await), (400, "BadRequest"));
    let answer = world
        .apply("/api/v1/namespaces/none/configmaps/a?fieldManager=skiff", &config_map("a", json!({})))
        .await;
    assert_eq!(reason(&answer), (404, "NotFound"));
}
