//! CRDs create kinds: discovery, pruning, defaults, validation, versions, subresources, columns.

use std::time::Duration;

use serde_json::{Value, json};
use skiff::sandbox::Sandbox;

use super::{World, reason};

const CRDS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const WIDGETS: &str = "/apis/example.com/v1/namespaces/default/widgets";

fn widgets() -> Value {
    let schema = json!({"openAPIV3Schema": {
        "type": "object",
        "properties": {
            "spec": {
                "type": "object",
                "required": ["size"],
                "properties": {
                    "size": {"type": "integer", "minimum": 1},
                    "color": {"type": "string", "default": "red"},
                    "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                    "replicas": {"type": "integer"},
                },
            },
            "status": {"type": "object", "properties": {"ready": {"type": "boolean"}, "replicas": {"type": "integer"}}},
        },
    }});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"plural": "widgets", "kind": "Widget", "shortNames": ["wd"]},
            "versions": [
                {
                    "name": "v1", "served": true, "storage": true, "schema": schema,
                    "subresources": {
                        "status": {},
                        "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"},
                    },
                    "additionalPrinterColumns": [{"name": "Size", "type": "integer", "jsonPath": ".spec.size"}],
                },
                {"name": "v1beta1", "served": true, "storage": false, "schema": schema},
            ],
        },
    })
}

fn widget(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": name}, "spec": spec})
}

async fn established() -> World {
    let world = World::new();
    let (code, answer) = world.post(CRDS, &widgets()).await;
    assert_eq!(code, 201, "{answer}");
    wait_established(&world).await;
    world
}

async fn wait_established(world: &World) {
    world
        .wait("apiextensions.k8s.io/CustomResourceDefinition", "", "widgets.example.com", |crd| {
            let conditions = crd.and_then(|crd| crd["status"]["conditions"].as_array());
            conditions
                .is_some_and(|list| list.iter().any(|c| c["type"] == "Established" && c["status"] == "True"))
        })
        .await;
}

#[tokio::test]
async fn a_kind_is_served_once_its_crd_is_established() {
    let world =
        World { sandbox: Sandbox::builder().crd_established_delay(Duration::from_millis(300)).build() };
    assert_eq!(world.post(CRDS, &widgets()).await.0, 201);
    let early = world.post(WIDGETS, &widget("a", json!({"size": 1}))).await;
    assert_eq!(early.0, 404);
    wait_established(&world).await;
    assert_eq!(world.post(WIDGETS, &widget("a", json!({"size": 1}))).await.0, 201);
    let (_, resources) = world.get("/apis/example.com/v1").await;
    let names: Vec<&str> =
        resources["resources"].as_array().unwrap().iter().filter_map(|r| r["name"].as_str()).collect();
    assert_eq!(names, ["widgets", "widgets/status", "widgets/scale"]);
}

#[tokio::test]
async fn unknown_fields_are_pruned_and_defaults_are_set() {
    let world = established().await;
    let spec = json!({"size": 3, "typo": true, "free": {"anything": [1]}});
    let (code, created) = world.post(WIDGETS, &widget("a", spec.clone())).await;
    assert_eq!(code, 201);
    assert_eq!(created["spec"], json!({"size": 3, "free": {"anything": [1]}, "color": "red"}));
    assert_eq!(created["metadata"]["generation"], 1);
    let strict = world.post(&format!("{WIDGETS}?fieldValidation=Strict"), &widget("b", spec)).await;
    assert_eq!(reason(&strict), (400, "BadRequest"));
    assert!(strict.1["message"].as_str().unwrap().contains("unknown field \"spec.typo\""));
}

#[tokio::test]
async fn a_schema_is_enforced() {
    let world = established().await;
    for (spec, field) in
        [(json!({}), "spec.size"), (json!({"size": "big"}), "spec.size"), (json!({"size": 0}), "spec.size")]
    {
        let answer = world.post(WIDGETS, &widget("a", spec.clone())).await;
        assert_eq!(reason(&answer), (422, "Invalid"), "{spec}");
        assert_eq!(answer.1["details"]["causes"][0]["field"], field);
        assert_eq!(answer.1["details"]["kind"], "Widget");
    }
}

#[tokio::test]
async fn every_version_shows_the_same_object() {
    let world = established().await;
    world.post(WIDGETS, &widget("a", json!({"size": 1}))).await;
    let path = "/apis/example.com/v1beta1/namespaces/default/widgets/a";
    let (_, old) = world.get(path).await;
    assert_eq!(old["apiVersion"], "example.com/v1beta1");
    let (code, changed) = world.merge(path, &json!({"spec": {"size": 2}})).await;
    assert_eq!((code, &changed["apiVersion"]), (200, &json!("example.com/v1beta1")));
    let (_, new) = world.get(&format!("{WIDGETS}/a")).await;
    assert_eq!((&new["apiVersion"], &new["spec"]["size"]), (&json!("example.com/v1"), &json!(2)));
    assert_eq!(world.get("/apis/example.com").await.1["preferredVersion"]["version"], "v1");
}

#[tokio::test]
async fn status_and_scale_are_subresources_where_the_crd_says_so() {
    let world = established().await;
    world.post(WIDGETS, &widget("a", json!({"size": 1, "replicas": 1}))).await;
    let path = format!("{WIDGETS}/a");
    let (_, ignored) = world.merge(&path, &json!({"status": {"ready": true}})).await;
    assert_eq!(ignored.get("status"), None);
    let (code, changed) = world.merge(&format!("{path}/status"), &json!({"status": {"ready": true}})).await;
    assert_eq!((code, &changed["status"]["ready"]), (200, &json!(true)));
    assert_eq!(changed["metadata"]["generation"], 1);
    let (code, scale) = world.merge(&format!("{path}/scale"), &json!({"spec": {"replicas": 4}})).await;
    assert_eq!((code, &scale["spec"]["replicas"]), (200, &json!(4)), "{scale}");
    let (_, changed) = world.get(&path).await;
    assert_eq!((&changed["spec"]["replicas"], &changed["metadata"]["generation"]), (&json!(4), &json!(2)));
    let beta = "/apis/example.com/v1beta1/namespaces/default/widgets/a";
    assert_eq!(world.get(&format!("{beta}/status")).await.0, 404);
    let answer = world.put(&path, &widget("a", json!({"size": 1}))).await;
    assert_eq!(reason(&answer), (422, "Invalid"), "a custom resource is updated with its version only");
    assert_eq!(world.send("PATCH", &path, "application/strategic-merge-patch+json", "{}").await.0, 415);
}

#[tokio::test]
async fn apply_follows_the_schema() {
    let world = established().await;
    let path = format!("{WIDGETS}/a?fieldManager=skiff&force=true");
    let (code, created) = world.apply(&path, &widget("a", json!({"size": 1}))).await;
    assert_eq!((code, &created["spec"]["color"]), (201, &json!("red")));
    let (code, same) = world.apply(&path, &widget("a", json!({"size": 1}))).await;
    assert_eq!((code, &same["metadata"]["resourceVersion"]), (200, &created["metadata"]["resourceVersion"]));
}

#[tokio::test]
async fn printer_columns_are_in_the_table() {
    let world = established().await;
    world.post(WIDGETS, &widget("a", json!({"size": 7}))).await;
    let accept = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")];
    let (_, table) = world.send_with("GET", WIDGETS, &accept, "").await;
    let columns: Vec<&str> =
        table["columnDefinitions"].as_array().unwrap().iter().filter_map(|c| c["name"].as_str()).collect();
    assert_eq!(columns, ["Name", "Size"]);
    assert_eq!(table["rows"][0]["cells"], json!(["a", 7]));
}

#[tokio::test]
async fn a_crd_takes_its_objects_with_it() {
    let world = established().await;
    let mut held = widget("held", json!({"size": 1}));
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    world.post(WIDGETS, &held).await;
    assert_eq!(world.delete(&format!("{CRDS}/widgets.example.com"), &json!({})).await.0, 200);
    world
        .wait("example.com/Widget", "default", "held", |object| {
            object.is_some_and(|object| object["metadata"]["deletionTimestamp"].is_string())
        })
        .await;
    assert_eq!(world.get(&format!("{CRDS}/widgets.example.com")).await.0, 200);
    let (code, answer) =
        world.merge(&format!("{WIDGETS}/held"), &json!({"metadata": {"finalizers": null}})).await;
    assert_eq!(code, 200, "{answer}");
    world.wait_gone("apiextensions.k8s.io/CustomResourceDefinition", "", "widgets.example.com").await;
    assert_eq!(world.get(WIDGETS).await.0, 404);
    assert_eq!(world.get("/apis/example.com").await.0, 404);
}

#[tokio::test]
async fn a_crd_that_contradicts_itself_is_refused() {
    let world = World::new();
    let mut misnamed = widgets();
    misnamed["metadata"]["name"] = json!("gadgets.example.com");
    let answer = world.post(CRDS, &misnamed).await;
    assert_eq!(reason(&answer), (422, "Invalid"));
    assert!(answer.1["message"].as_str().unwrap().contains("must be spec.names.plural+\".\"+spec.group"));
    let mut schemaless = widgets();
    schemaless["spec"]["versions"][0].as_object_mut().unwrap().remove("schema");
    assert_eq!(reason(&world.post(CRDS, &schemaless).await), (422, "Invalid"));
}

#[tokio::test]
async fn the_crds_of_argo_cd_are_served() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/conformance/argocd-crds");
    let Ok(entries) = std::fs::read_dir(folder) else {
        eprintln!("skipped: {folder} is not there");
        return;
    };
    let world = World::new();
    for entry in entries {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        let (code, answer) = world.send("POST", CRDS, "application/yaml", &text).await;
        assert_eq!(code, 201, "{answer}");
    }
    world
        .wait("apiextensions.k8s.io/CustomResourceDefinition", "", "applications.argoproj.io", |crd| {
            crd.is_some_and(|crd| crd["status"]["conditions"][1]["status"] == "True")
        })
        .await;
    let application = json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Application", "metadata": {"name": "a"},
        "spec": {"project": "default", "source": {"repoURL": "https://example.com/r", "path": "."},
            "destination": {"server": "https://kubernetes.default.svc"}}});
    let path = "/apis/argoproj.io/v1alpha1/namespaces/default/applications";
    let (code, created) = world.post(path, &application).await;
    assert_eq!(code, 201, "{created}");
    let status = json!({"status": {"sync": {"status": "Synced"}}});
    let (code, changed) = world.merge(&format!("{path}/a"), &status).await;
    assert_eq!((code, &changed["status"]["sync"]["status"]), (200, &json!("Synced")));
}
