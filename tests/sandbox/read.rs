//! Get and list: pages, selectors, forms.

use serde_json::json;

use super::{CONFIG_MAPS, DEPLOYMENTS, World, config_map, deployment, reason};

async fn with_config_maps(count: usize) -> World {
    let world = World::new();
    for index in 0..count {
        let mut object = config_map(&format!("c{index:02}"), json!({}));
        object["metadata"]["labels"] =
            json!({"parity": if index % 2 == 0 { "even" } else { "odd" }, "test": "yes"});
        world.post(CONFIG_MAPS, &object).await;
    }
    world
}

#[tokio::test]
async fn pages_show_the_state_of_the_first() {
    let world = with_config_maps(7).await;
    let select = format!("{CONFIG_MAPS}?labelSelector=test");
    let (_, first) = world.get(&format!("{select}&limit=3")).await;
    assert_eq!(first["items"].as_array().unwrap().len(), 3);
    let version = first["metadata"]["resourceVersion"].clone();
    world.delete(&format!("{CONFIG_MAPS}/c05"), &json!({})).await;
    world.post(CONFIG_MAPS, &config_map("c99", json!({}))).await;
    let token = first["metadata"]["continue"].as_str().unwrap();
    let (code, second) = world.get(&format!("{select}&limit=3&continue={token}")).await;
    assert_eq!(code, 200);
    assert_eq!(second["metadata"]["resourceVersion"], version);
    let token = second["metadata"]["continue"].as_str().unwrap();
    let (_, third) = world.get(&format!("{select}&limit=3&continue={token}")).await;
    assert_eq!(third["metadata"].get("continue"), None);
    let names: Vec<&str> = [&first, &second, &third]
        .iter()
        .flat_map(|page| page["items"].as_array().unwrap())
        .map(|item| item["metadata"]["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["c00", "c01", "c02", "c03", "c04", "c05", "c06"]);
    assert_eq!(reason(&world.get(&format!("{CONFIG_MAPS}?continue=nonsense")).await), (400, "BadRequest"));
}

#[tokio::test]
async fn selectors_narrow_a_list() {
    let world = with_config_maps(4).await;
    for (query, count) in [
        ("labelSelector=parity%3Deven", 2),
        ("labelSelector=parity%20in%20(even,odd),test", 4),
        ("labelSelector=test,parity!%3Deven", 2),
        ("fieldSelector=metadata.name%3Dc01", 1),
        ("labelSelector=test&fieldSelector=metadata.name!%3Dc01", 3),
    ] {
        let (code, list) = world.get(&format!("{CONFIG_MAPS}?{query}")).await;
        assert_eq!((code, list["items"].as_array().unwrap().len()), (200, count), "{query}");
    }
    assert_eq!(
        reason(&world.get(&format!("{CONFIG_MAPS}?fieldSelector=data.k%3Dx")).await),
        (400, "BadRequest")
    );
    let (code, active) = world.get("/api/v1/namespaces?fieldSelector=status.phase%3DActive").await;
    assert_eq!((code, active["items"].as_array().unwrap().len()), (200, 4));
}

#[tokio::test]
async fn items_of_typed_lists_have_no_kind() {
    let world = with_config_maps(1).await;
    let (_, list) = world.get(&format!("{CONFIG_MAPS}?labelSelector=test")).await;
    assert_eq!((&list["kind"], &list["apiVersion"]), (&json!("ConfigMapList"), &json!("v1")));
    assert_eq!(list["items"][0].get("kind"), None);
    assert_eq!(list["items"][0]["metadata"]["name"], "c00");
}

#[tokio::test]
async fn lists_of_all_namespaces_and_of_one() {
    let world = with_config_maps(1).await;
    let (_, all) = world.get("/api/v1/configmaps").await;
    let (_, one) = world.get("/api/v1/namespaces/kube-system/configmaps").await;
    assert!(all["items"].as_array().unwrap().len() > one["items"].as_array().unwrap().len());
    let (code, empty) = world.get("/api/v1/namespaces/none/configmaps").await;
    assert_eq!((code, &empty["items"]), (200, &json!([])));
}

#[tokio::test]
async fn versions_from_the_future_and_the_past_are_told() {
    let world = with_config_maps(1).await;
    let answer = world.get(&format!("{CONFIG_MAPS}?resourceVersion=99999")).await;
    assert_eq!(reason(&answer), (504, "Timeout"));
    let answer = world.get(&format!("{CONFIG_MAPS}?resourceVersion=1&resourceVersionMatch=Exact")).await;
    assert_eq!(reason(&answer), (410, "Expired"));
    assert_eq!(world.get(&format!("{CONFIG_MAPS}?resourceVersion=0")).await.0, 200);
}

#[tokio::test]
async fn tables_and_metadata_are_other_forms_of_the_same() {
    let world = World::new();
    world.post(DEPLOYMENTS, &deployment("web")).await;
    let accept = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io,application/json")];
    let (code, table) = world.send_with("GET", DEPLOYMENTS, &accept, "").await;
    assert_eq!((code, &table["kind"]), (200, &json!("Table")));
    let columns: Vec<&str> =
        table["columnDefinitions"].as_array().unwrap().iter().filter_map(|c| c["name"].as_str()).collect();
    assert_eq!(
        columns,
        ["Name", "Ready", "Up-to-date", "Available", "Age", "Containers", "Images", "Selector"]
    );
    assert_eq!(table["rows"][0]["cells"][0], "web");
    assert_eq!(table["rows"][0]["object"]["kind"], "PartialObjectMetadata");
    let accept = [("accept", "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io")];
    let (_, list) = world.send_with("GET", DEPLOYMENTS, &accept, "").await;
    assert_eq!(list["kind"], "PartialObjectMetadataList");
    assert_eq!(list["items"][0].get("spec"), None);
    let accept = [("accept", "application/vnd.kubernetes.protobuf")];
    let answer = world.send_with("GET", DEPLOYMENTS, &accept, "").await;
    assert_eq!(reason(&answer), (406, "NotAcceptable"));
}

#[tokio::test]
async fn events_have_two_groups_and_one_storage() {
    let world = World::new();
    let event = json!({"apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "e"},
        "reason": "Because", "note": "it happened", "type": "Normal", "action": "Act",
        "reportingController": "tester", "reportingInstance": "x", "eventTime": "2026-01-01T00:00:00.000000Z",
        "regarding": {"kind": "Pod", "name": "p", "namespace": "default"}});
    let (code, answer) = world.post("/apis/events.k8s.io/v1/namespaces/default/events", &event).await;
    assert_eq!(code, 201, "{answer}");
    let (_, core) = world.get("/api/v1/namespaces/default/events/e").await;
    assert_eq!((&core["message"], &core["apiVersion"]), (&json!("it happened"), &json!("v1")));
    assert_eq!(core["involvedObject"]["name"], "p");
    let (_, list) = world.get("/api/v1/events?fieldSelector=involvedObject.name%3Dp").await;
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
}
