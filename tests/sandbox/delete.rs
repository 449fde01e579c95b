//! Deletion: preconditions, finalizers, propagation, namespaces.

use serde_json::{Value, json};

use super::{CONFIG_MAPS, World, config_map, reason};

/// A ConfigMap that another owns.
async fn owned(world: &World, name: &str, owner: &Value, blocking: bool) -> Value {
    let mut object = config_map(name, json!({}));
    object["metadata"]["ownerReferences"] = json!([{
        "apiVersion": "v1", "kind": "ConfigMap", "name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"],
        "blockOwnerDeletion": blocking,
    }]);
    world.post(CONFIG_MAPS, &object).await.1
}

#[tokio::test]
async fn a_deleted_object_is_gone_and_its_status_says_so() {
    let world = World::new();
    let (_, created) = world.post(CONFIG_MAPS, &config_map("a", json!({}))).await;
    let path = format!("{CONFIG_MAPS}/a");
    let (code, status) = world.delete(&path, &json!({})).await;
    assert_eq!((code, &status["status"]), (200, &json!("Success")));
    assert_eq!(
        status["details"],
        json!({"name": "a", "kind": "configmaps", "uid": created["metadata"]["uid"]})
    );
    assert_eq!(reason(&world.delete(&path, &json!({})).await), (404, "NotFound"));
    assert_eq!(reason(&world.get(&path).await), (404, "NotFound"));
}

#[tokio::test]
async fn preconditions_protect_from_deleting_another_object() {
    let world = World::new();
    let (_, created) = world.post(CONFIG_MAPS, &config_map("a", json!({}))).await;
    let path = format!("{CONFIG_MAPS}/a");
    for wrong in [json!({"uid": "other"}), json!({"resourceVersion": "1"})] {
        let answer = world.delete(&path, &json!({"preconditions": wrong})).await;
        assert_eq!(reason(&answer), (409, "Conflict"));
    }
    let right = json!({"preconditions": {"uid": created["metadata"]["uid"]}});
    assert_eq!(world.delete(&format!("{path}?dryRun=All"), &right).await.0, 200);
    assert_eq!(world.get(&path).await.0, 200, "a dry run deletes nothing");
    assert_eq!(world.delete(&path, &right).await.0, 200);
    assert_eq!(world.get(&path).await.0, 404);
}

#[tokio::test]
async fn finalizers_hold_an_object_until_the_last_is_gone() {
    let world = World::new();
    let mut object = config_map("a", json!({}));
    object["metadata"]["finalizers"] = json!(["example.com/hold"]);
    world.post(CONFIG_MAPS, &object).await;
    let path = format!("{CONFIG_MAPS}/a");
    let (code, marked) = world.delete(&path, &json!({})).await;
    assert_eq!((code, &marked["kind"]), (200, &json!("ConfigMap")));
    assert!(marked["metadata"]["deletionTimestamp"].is_string());
    assert_eq!(marked["metadata"]["deletionGracePeriodSeconds"], 0);
    let version = &marked["metadata"]["resourceVersion"];
    let (_, again) = world.delete(&path, &json!({})).await;
    assert_eq!(&again["metadata"]["resourceVersion"], version, "a second delete changes nothing");
    let more = json!({"metadata": {"finalizers": ["example.com/hold", "example.com/more"]}});
    let answer = world.merge(&path, &more).await;
    assert_eq!(reason(&answer), (422, "Invalid"));
    assert!(answer.1["message"].as_str().unwrap().contains("no new finalizers can be added"));
    assert_eq!(world.merge(&path, &json!({"metadata": {"finalizers": null}})).await.0, 200);
    assert_eq!(world.get(&path).await.0, 404);
}

#[tokio::test]
async fn dependents_follow_their_owner() {
    let world = World::new();
    let (_, owner) = world.post(CONFIG_MAPS, &config_map("owner", json!({}))).await;
    let child = owned(&world, "child", &owner, true).await;
    owned(&world, "grandchild", &child, false).await;
    let options = json!({"propagationPolicy": "Background"});
    assert_eq!(world.delete(&format!("{CONFIG_MAPS}/owner"), &options).await.0, 200);
    assert_eq!(world.get(&format!("{CONFIG_MAPS}/owner")).await.0, 404);
    world.wait_gone("ConfigMap", "default", "child").await;
    world.wait_gone("ConfigMap", "default", "grandchild").await;
}

#[tokio::test]
async fn in_foreground_the_owner_goes_last() {
    let world = World::new();
    let (_, owner) = world.post(CONFIG_MAPS, &config_map("owner", json!({}))).await;
    let mut child = config_map("child", json!({}));
    child["metadata"]["finalizers"] = json!(["example.com/hold"]);
    child["metadata"]["ownerReferences"] = json!([{
        "apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"],
        "blockOwnerDeletion": true,
    }]);
    world.post(CONFIG_MAPS, &child).await;
    let options = json!({"propagationPolicy": "Foreground"});
    let (_, marked) = world.delete(&format!("{CONFIG_MAPS}/owner"), &options).await;
    assert_eq!(marked["metadata"]["finalizers"], json!(["foregroundDeletion"]));
    world
        .wait("ConfigMap", "default", "child", |child| {
            child.is_some_and(|child| child["metadata"]["deletionTimestamp"].is_string())
        })
        .await;
    assert_eq!(world.get(&format!("{CONFIG_MAPS}/owner")).await.0, 200, "it waits for its dependent");
    world.merge(&format!("{CONFIG_MAPS}/child"), &json!({"metadata": {"finalizers": null}})).await;
    world.wait_gone("ConfigMap", "default", "owner").await;
}

#[tokio::test]
async fn orphans_stay_and_forget_their_owner() {
    let world = World::new();
    let (_, owner) = world.post(CONFIG_MAPS, &config_map("owner", json!({}))).await;
    owned(&world, "child", &owner, true).await;
    world.delete(&format!("{CONFIG_MAPS}/owner"), &json!({"propagationPolicy": "Orphan"})).await;
    world.wait_gone("ConfigMap", "default", "owner").await;
    let (code, child) = world.get(&format!("{CONFIG_MAPS}/child")).await;
    assert_eq!((code, child["metadata"].get("ownerReferences")), (200, None));
}

#[tokio::test]
async fn an_object_of_an_owner_that_never_was_is_collected() {
    let world = World::new();
    let owner = json!({"metadata": {"name": "ghost", "uid": "no-such-uid"}});
    assert!(owned(&world, "child", &owner, false).await["metadata"]["uid"].is_string());
    world.wait_gone("ConfigMap", "default", "child").await;
}

#[tokio::test]
async fn a_collection_is_deleted_by_selector() {
    let world = World::new();
    for (name, group) in [("a", "x"), ("b", "x"), ("c", "y")] {
        let mut object = config_map(name, json!({}));
        object["metadata"]["labels"] = json!({"group": group});
        world.post(CONFIG_MAPS, &object).await;
    }
    let (code, deleted) = world.delete(&format!("{CONFIG_MAPS}?labelSelector=group%3Dx"), &json!({})).await;
    assert_eq!((code, &deleted["kind"]), (200, &json!("ConfigMapList")));
    assert_eq!(deleted["items"].as_array().unwrap().len(), 2);
    let (_, left) = world.get(&format!("{CONFIG_MAPS}?labelSelector=group")).await;
    assert_eq!(left["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_namespace_takes_its_contents_with_it() {
    let world = World::new();
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}});
    world.post("/api/v1/namespaces", &namespace).await;
    let mut held = config_map("held", json!({}));
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    world.post("/api/v1/namespaces/shop/configmaps", &held).await;
    world.post("/api/v1/namespaces/shop/configmaps", &config_map("free", json!({}))).await;
    let (code, marked) = world.delete("/api/v1/namespaces/shop", &json!({})).await;
    assert_eq!((code, &marked["status"]["phase"]), (200, &json!("Terminating")));
    world.wait_gone("ConfigMap", "shop", "free").await;
    assert_eq!(world.get("/api/v1/namespaces/shop").await.0, 200, "it waits for the held object");
    let path = "/api/v1/namespaces/shop/configmaps/held";
    world.merge(path, &json!({"metadata": {"finalizers": null}})).await;
    world.wait_gone("Namespace", "", "shop").await;
    let answer = world.delete("/api/v1/namespaces/default", &json!({})).await;
    assert_eq!(reason(&answer), (403, "Forbidden"));
}

#[tokio::test]
async fn a_namespace_can_be_finalized_by_hand() {
    let world = World::new();
    let mut namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}});
    world.post("/api/v1/namespaces", &namespace).await;
    let mut held = config_map("held", json!({}));
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    world.post("/api/v1/namespaces/shop/configmaps", &held).await;
    world.delete("/api/v1/namespaces/shop", &json!({})).await;
    namespace["spec"] = json!({"finalizers": []});
    let (code, answer) = world.put("/api/v1/namespaces/shop/finalize", &namespace).await;
    assert_eq!(code, 200, "{answer}");
    assert_eq!(world.get("/api/v1/namespaces/shop").await.0, 404);
}
