//! Create and update: system fields, generations, conflicts, refusals.

use serde_json::{Value, json};

use super::{CONFIG_MAPS, DEPLOYMENTS, World, config_map, deployment, reason};

#[tokio::test]
async fn a_created_object_gets_its_system_fields() {
    let world = World::new();
    let (code, created) = world.post(CONFIG_MAPS, &config_map("a", json!({"k": "v"}))).await;
    assert_eq!(code, 201);
    let metadata = &created["metadata"];
    assert_eq!(metadata["namespace"], "default");
    assert!(metadata["uid"].as_str().unwrap().len() == 36);
    assert!(metadata["resourceVersion"].as_str().unwrap().parse::<u64>().unwrap() > 0);
    assert!(metadata["creationTimestamp"].as_str().unwrap().ends_with('Z'));
    assert_eq!(metadata.get("generation"), None, "a ConfigMap has no generation");
    assert_eq!(metadata["managedFields"][0]["manager"], "tester");
    assert_eq!(metadata["managedFields"][0]["operation"], "Update");
    assert_eq!(metadata["managedFields"][0]["fieldsV1"]["f:data"]["f:k"], json!({}));
    let again = world.post(CONFIG_MAPS, &config_map("a", json!({}))).await;
    assert_eq!(reason(&again), (409, "AlreadyExists"));
    assert_eq!(again.1["message"], "configmaps \"a\" already exists");
    assert_eq!(again.1["details"], json!({"name": "a", "kind": "configmaps"}));
}

#[tokio::test]
async fn generate_name_adds_five_characters() {
    let world = World::new();
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "job-"}});
    let (code, created) = world.post(CONFIG_MAPS, &object).await;
    assert_eq!(code, 201);
    let name = created["metadata"]["name"].as_str().unwrap();
    assert!(name.starts_with("job-") && name.len() == 9, "{name}");
    let nameless = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {}});
    let answer = world.post(CONFIG_MAPS, &nameless).await;
    assert_eq!(reason(&answer), (422, "Invalid"));
    assert_eq!(answer.1["details"]["causes"][0]["reason"], "FieldValueRequired");
}

#[tokio::test]
async fn a_namespace_must_exist_and_must_not_be_terminating() {
    let world = World::new();
    let answer = world.post("/api/v1/namespaces/none/configmaps", &config_map("a", json!({}))).await;
    assert_eq!(reason(&answer), (404, "NotFound"));
    assert_eq!(answer.1["message"], "namespaces \"none\" not found");
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "going"}});
    assert_eq!(world.post("/api/v1/namespaces", &namespace).await.0, 201);
    let mut held = config_map("held", json!({}));
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    assert_eq!(world.post("/api/v1/namespaces/going/configmaps", &held).await.0, 201);
    assert_eq!(world.delete("/api/v1/namespaces/going", &json!({})).await.0, 200);
    let answer = world.post("/api/v1/namespaces/going/configmaps", &config_map("a", json!({}))).await;
    assert_eq!(reason(&answer), (403, "Forbidden"));
    assert_eq!(answer.1["details"]["causes"][0]["reason"], "NamespaceTerminating");
}

#[tokio::test]
async fn a_namespace_gets_what_every_namespace_has() {
    let world = World::new();
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}});
    let (_, created) = world.post("/api/v1/namespaces", &namespace).await;
    assert_eq!(created["status"]["phase"], "Active");
    assert_eq!(created["spec"]["finalizers"], json!(["kubernetes"]));
    assert_eq!(created["metadata"]["labels"]["kubernetes.io/metadata.name"], "shop");
    world.wait("ServiceAccount", "shop", "default", |object| object.is_some()).await;
    world.wait("ConfigMap", "shop", "kube-root-ca.crt", |object| object.is_some()).await;
}

#[tokio::test]
async fn a_stale_update_is_a_conflict() {
    let world = World::new();
    let (_, first) = world.post(CONFIG_MAPS, &config_map("a", json!({"k": "1"}))).await;
    let mut second = first.clone();
    second["data"]["k"] = json!("2");
    let path = format!("{CONFIG_MAPS}/a");
    let (code, updated) = world.put(&path, &second).await;
    assert_eq!(code, 200);
    assert_ne!(updated["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
    let answer = world.put(&path, &first).await;
    assert_eq!(reason(&answer), (409, "Conflict"));
    assert_eq!(
        answer.1["message"],
        "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply your \
         changes to the latest version and try again"
    );
    assert_eq!(
        world.put(&path, &config_map("a", json!({"k": "3"}))).await.0,
        200,
        "no version means no check"
    );
    let mut other = config_map("a", json!({}));
    other["metadata"]["uid"] = json!("11111111-1111-1111-1111-111111111111");
    let answer = world.put(&path, &other).await;
    assert_eq!(reason(&answer), (409, "Conflict"));
    assert!(answer.1["message"].as_str().unwrap().contains("Precondition failed: UID in precondition"));
    assert_eq!(
        reason(&world.put(&format!("{CONFIG_MAPS}/b"), &config_map("b", json!({}))).await),
        (404, "NotFound")
    );
    assert_eq!(reason(&world.put(&path, &config_map("b", json!({}))).await), (400, "BadRequest"));
}

#[tokio::test]
async fn an_update_that_changes_nothing_is_not_written() {
    let world = World::new();
    let (_, first) = world.post(DEPLOYMENTS, &deployment("web")).await;
    let path = format!("{DEPLOYMENTS}/web");
    let patch =
        json!({"spec": {"template": {"spec": {"containers": [{"name": "web", "image": "example/web:1"}]}}}});
    let body = patch.to_string();
    let (code, same) = world.send("PATCH", &path, "application/strategic-merge-patch+json", &body).await;
    assert_eq!(code, 200, "{same}");
    assert_eq!(same["spec"], first["spec"]);
    assert_eq!(same["metadata"]["generation"], first["metadata"]["generation"]);
}

#[tokio::test]
async fn generation_counts_changes_of_the_spec_only() {
    let world = World::new();
    let (_, first) = world.post(DEPLOYMENTS, &deployment("web")).await;
    assert_eq!(first["metadata"]["generation"], 1);
    let path = format!("{DEPLOYMENTS}/web");
    let (_, labelled) = world.merge(&path, &json!({"metadata": {"labels": {"x": "y"}}})).await;
    assert_eq!(labelled["metadata"]["generation"], 1);
    let (_, scaled) = world.merge(&path, &json!({"spec": {"replicas": 3}, "status": {"replicas": 77}})).await;
    assert_eq!(scaled["metadata"]["generation"], 2);
    assert_ne!(scaled["status"]["replicas"], 77, "the main resource cannot set the status");
    let status = json!({"status": {"observedGeneration": 99}, "spec": {"replicas": 9}});
    let (code, changed) = world.merge(&format!("{path}/status"), &status).await;
    assert_eq!(code, 200);
    assert_eq!(changed["status"]["observedGeneration"], 99);
    assert_eq!(changed["spec"]["replicas"], 3, "the status subresource cannot set the spec");
    assert_eq!(changed["metadata"]["generation"], 2);
}

#[tokio::test]
async fn names_labels_and_keys_are_checked() {
    let world = World::new();
    let answer = world.post(CONFIG_MAPS, &config_map("Not_A_Name", json!({}))).await;
    assert_eq!(reason(&answer), (422, "Invalid"));
    assert!(answer.1["message"].as_str().unwrap().starts_with(
        "ConfigMap \"Not_A_Name\" is invalid: metadata.name: Invalid value: \"Not_A_Name\": a lowercase RFC 1123 subdomain"
    ));
    assert_eq!(answer.1["details"]["kind"], "ConfigMap");
    let mut labelled = config_map("a", json!({}));
    labelled["metadata"]["labels"] = json!({"a": "not valid"});
    assert_eq!(reason(&world.post(CONFIG_MAPS, &labelled).await), (422, "Invalid"));
    let answer = world.post(CONFIG_MAPS, &config_map("a", json!({"bad key": "x"}))).await;
    assert_eq!(answer.1["details"]["causes"][0]["field"], "data[bad key]");
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "a:B:c"}, "rules": []});
    assert_eq!(world.post("/apis/rbac.authorization.k8s.io/v1/clusterroles", &role).await.0, 201);
}

#[tokio::test]
async fn what_is_immutable_stays() {
    let world = World::new();
    world.post(DEPLOYMENTS, &deployment("web")).await;
    let change = json!({"spec": {
        "selector": {"matchLabels": {"app": "other"}},
        "template": {"metadata": {"labels": {"app": "other"}}},
    }});
    let answer = world.merge(&format!("{DEPLOYMENTS}/web"), &change).await;
    assert_eq!(reason(&answer), (422, "Invalid"));
    assert_eq!(answer.1["details"]["causes"][0]["field"], "spec.selector");
    assert!(answer.1["message"].as_str().unwrap().contains("field is immutable"));

    let mut frozen = config_map("frozen", json!({"a": "1"}));
    frozen["immutable"] = json!(true);
    world.post(CONFIG_MAPS, &frozen).await;
    let answer = world.merge(&format!("{CONFIG_MAPS}/frozen"), &json!({"data": {"a": "2"}})).await;
    assert_eq!(reason(&answer), (422, "Invalid"));
    assert!(answer.1["message"].as_str().unwrap().contains("field is immutable when `immutable` is set"));

    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}});
    let services = "/api/v1/namespaces/default/services";
    let (code, created) = world.post(services, &service).await;
    assert_eq!(code, 201, "{created}");
    let address = created["spec"]["clusterIP"].as_str().unwrap().to_owned();
    assert!(address.starts_with("10.96."), "{address}");
    let (code, kept) = world.put(&format!("{services}/web"), &service).await;
    assert_eq!((code, kept["spec"]["clusterIP"].as_str().unwrap()), (200, address.as_str()));
    let answer = world
        .merge(
            &format!("{services}/web"),
            &json!({"spec": {"clusterIP": "10.96.200.1", "clusterIPs": ["10.96.200.1"]}}),
        )
        .await;
    assert_eq!(reason(&answer), (422, "Invalid"));
}

#[tokio::test]
async fn string_data_is_folded_into_data() {
    let world = World::new();
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"},
        "stringData": {"a": "hello"}, "data": {"b": "d29ybGQ="}});
    let (code, created) = world.post("/api/v1/namespaces/default/secrets", &secret).await;
    assert_eq!(code, 201);
    assert_eq!(created["data"], json!({"a": "aGVsbG8=", "b": "d29ybGQ="}));
    assert_eq!(created.get("stringData"), None);
    assert_eq!(created["type"], "Opaque");
}

#[tokio::test]
async fn a_dry_run_answers_and_writes_nothing() {
    let world = World::new();
    let before = world.sandbox.store().revision();
    let (code, object) =
        world.post(&format!("{CONFIG_MAPS}?dryRun=All"), &config_map("a", json!({"k": "v"}))).await;
    assert_eq!(code, 201);
    assert_eq!(object["data"]["k"], "v");
    assert_eq!(object["metadata"].get("resourceVersion"), None);
    assert_eq!(world.get(&format!("{CONFIG_MAPS}/a")).await.0, 404);
    assert_eq!(world.sandbox.store().revision(), before);
    assert!(world.sandbox.requests().writes().is_empty());
    assert_eq!(
        reason(&world.post(&format!("{CONFIG_MAPS}?dryRun=Some"), &config_map("a", json!({}))).await),
        (422, "Invalid")
    );
}

#[tokio::test]
async fn unknown_fields_are_refused_warned_of_or_ignored() {
    let world = World::new();
    let mut object = deployment("web");
    object["spec"]["replica"] = json!(3);
    let strict = world.post(&format!("{DEPLOYMENTS}?fieldValidation=Strict"), &object).await;
    assert_eq!(reason(&strict), (400, "BadRequest"));
    assert!(
        strict.1["message"]
            .as_str()
            .unwrap()
            .contains("strict decoding error: unknown field \"spec.replica\"")
    );
    let headers = [("content-type", "application/json")];
    let (code, answered, _) = world.exchange("POST", DEPLOYMENTS, &headers, &object.to_string()).await;
    assert_eq!(code, 201);
    assert_eq!(answered["warning"], "299 - \"unknown field \\\"spec.replica\\\"\"");
    object["metadata"]["name"] = json!("other");
    let path = format!("{DEPLOYMENTS}?fieldValidation=Ignore");
    let (code, answered, _) = world.exchange("POST", &path, &headers, &object.to_string()).await;
    assert_eq!((code, answered.get("warning")), (201, None));
}

#[tokio::test]
async fn bodies_that_make_no_sense_are_refused() {
    let world = World::new();
    for body in ["", "{", "[]", "\"x\""] {
        assert_eq!(world.send("POST", CONFIG_MAPS, "application/json", body).await.0, 400, "{body:?}");
    }
    let answer = world.send("POST", CONFIG_MAPS, "text/plain", "{}").await;
    assert_eq!(reason(&answer), (415, "UnsupportedMediaType"));
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}});
    assert_eq!(reason(&world.post(CONFIG_MAPS, &secret).await), (400, "BadRequest"));
    let mut elsewhere = config_map("a", json!({}));
    elsewhere["metadata"]["namespace"] = json!("kube-system");
    let answer = world.post(CONFIG_MAPS, &elsewhere).await;
    assert_eq!(
        answer.1["message"],
        "the namespace of the provided object does not match the namespace sent on the request"
    );
    let huge = config_map("a", json!({"k": "x".repeat(3 << 20)}));
    assert_eq!(reason(&world.post(CONFIG_MAPS, &huge).await), (413, "RequestEntityTooLarge"));
    let mut versioned = config_map("a", json!({}));
    versioned["metadata"]["resourceVersion"] = json!("5");
    assert_eq!(world.post(CONFIG_MAPS, &versioned).await.0, 500);
    let yaml = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: text}\ndata: {k: 'on'}\n";
    let (code, created) = world.send("POST", CONFIG_MAPS, "application/yaml", yaml).await;
    assert_eq!((code, &created["data"]["k"]), (201, &json!("on")));
    let (code, text) = world.get("/apis/example.com/v1/things").await;
    assert_eq!((code, text), (404, Value::from("404 page not found\n")));
    assert_eq!(world.send("POST", &format!("{CONFIG_MAPS}/a"), "application/json", "{}").await.0, 405);
}

#[tokio::test]
async fn values_of_the_wrong_type_are_refused() {
    let world = World::new();
    let mut object = deployment("web");
    object["spec"]["replicas"] = json!("two");
    let answer = world.post(DEPLOYMENTS, &object).await;
    assert_eq!(reason(&answer), (400, "BadRequest"));
    assert!(answer.1["message"].as_str().unwrap().contains("cannot unmarshal string"));
    let mut object = config_map("a", json!({}));
    object["metadata"]["labels"] = json!({"n": 1});
    assert_eq!(reason(&world.post(CONFIG_MAPS, &object).await), (400, "BadRequest"));
}

#[tokio::test]
async fn a_dropped_sandbox_ends_its_watches() {
    let world = World::new();
    let kind = skiff::object::GroupKind::new("", "Lease");
    let mut changes = world.sandbox.store().watch(&kind);
    drop(world);
    assert!(changes.next().await.is_none());
}

#[tokio::test]
async fn reviews_are_always_allowed_and_are_no_writes() {
    let world = World::new();
    let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {"verb": "delete", "resource": "pods"}}});
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let (code, answered) = world.post(path, &review).await;
    assert_eq!((code, &answered["status"]["allowed"]), (201, &json!(true)));
    assert!(world.sandbox.requests().writes().is_empty());
    assert_eq!(world.get(path).await.0, 405);
}

#[tokio::test]
async fn a_scale_is_a_view_of_an_object() {
    let world = World::new();
    world.post(DEPLOYMENTS, &deployment("web")).await;
    let path = format!("{DEPLOYMENTS}/web/scale");
    let (code, scale) = world.get(&path).await;
    assert_eq!(code, 200);
    assert_eq!((&scale["kind"], &scale["apiVersion"]), (&json!("Scale"), &json!("autoscaling/v1")));
    assert_eq!(scale["spec"]["replicas"], 2);
    assert_eq!(scale["status"]["selector"], "app=web");
    let (code, scaled) = world.merge(&path, &json!({"spec": {"replicas": 5}})).await;
    assert_eq!((code, &scaled["spec"]["replicas"]), (200, &json!(5)));
    let (_, live) = world.get(&format!("{DEPLOYMENTS}/web")).await;
    assert_eq!((&live["spec"]["replicas"], &live["metadata"]["generation"]), (&json!(5), &json!(2)));
    let managers: Vec<&str> = live["metadata"]["managedFields"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|entry| entry["subresource"].as_str())
        .collect();
    assert!(managers.contains(&"scale"), "{managers:?}");
}
