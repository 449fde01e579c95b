//! The comparison of a dry run's result, and its text.

use super::*;

fn settled(predicted: &Value, live: &Value, rules: &Rules) -> Vec<String> {
    match settle(&object(predicted.clone()), &object(live.clone()), rules) {
        Settled::Same => Vec::new(),
        Settled::Differs(differences) => paths(differences),
    }
}

#[test]
fn what_the_api_server_writes_does_not_count() {
    let predicted = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "a", "generation": 3,
        "resourceVersion": "9", "managedFields": [{ "manager": "x" }], "annotations": {} }, "spec": { "replicas": 1 },
        "status": { "replicas": 0 } });
    let live = json!({ "apiVersion": "apps/v1beta1", "kind": "Deployment", "metadata": { "name": "a", "generation": 2,
        "resourceVersion": "8", "uid": "u", "creationTimestamp": "2026-01-01T00:00:00Z",
        "annotations": { "kubectl.kubernetes.io/last-applied-configuration": "{}" } }, "spec": { "replicas": 1, "x": null } });
    assert_eq!(
        settled(&predicted, &live, &no_rules()),
        ["metadata.annotations is not declared"].map(String::from)[1..]
    );
}

#[test]
fn every_other_field_counts_in_both_directions() {
    let predicted = config_map(json!({ "a": "1", "b": "2" }));
    let live = config_map(json!({ "b": "3", "c": "4" }));
    assert_eq!(
        settled(&predicted, &live, &no_rules()),
        ["data.a is missing in the cluster", "data.b differs", "data.c is not declared",]
    );
}

#[test]
fn lists_are_compared_item_by_item() {
    let list = |items: Value| with_containers(json!([{ "name": "a", "args": items }]));
    assert_eq!(
        settled(&list(json!(["x", "y"])), &list(json!(["x", "z"])), &no_rules()),
        ["spec.template.spec.containers[0].args[1] differs"]
    );
    assert_eq!(
        settled(&list(json!(["x"])), &list(json!(["x", "y"])), &no_rules()),
        ["spec.template.spec.containers[0].args differs"]
    );
}

#[test]
fn ignored_fields_do_not_count() {
    let rules = rules(
        json!([{ "group": "apps", "kind": "Deployment", "jsonPointers": ["/spec/replicas", "/metadata/labels/x"] }]),
    );
    let mut predicted = deployment(json!({ "replicas": 1 }));
    predicted["metadata"]["labels"] = json!({ "x": "1" });
    assert_eq!(settled(&predicted, &deployment(json!({ "replicas": 2 })), &rules), Vec::<String>::new());
}

#[test]
fn a_text_diff_reads_like_a_review() {
    let rules = no_rules();
    let options = TextDiffOptions { context: 1, rules: &rules };
    let value = |replicas: i32, order: bool| {
        let mut value = deployment(json!({ "replicas": replicas, "paused": true, "minReadySeconds": 5 }));
        value["metadata"]["resourceVersion"] = json!(replicas.to_string());
        value["status"] = json!({ "replicas": replicas });
        if order {
            let spec = value["spec"].as_object_mut().unwrap();
            let paused = spec.shift_remove("paused").unwrap();
            spec.insert("paused".to_owned(), paused);
        }
        object(value)
    };
    let text = text_diff(Some(&value(1, false)), Some(&value(3, true)), &options);
    assert_eq!(
        text,
        "--- apps/Deployment:n/a (live)\n+++ apps/Deployment:n/a (after sync)\n@@ -8,2 +8,2 @@\n   paused: true\n-  replicas: 1\n+  replicas: 3\n"
    );
    assert_eq!(text_diff(Some(&value(1, false)), Some(&value(1, true)), &options), "");
    assert!(text_diff(None, Some(&value(1, false)), &options).contains("+  replicas: 1\n"));
    assert!(text_diff(Some(&value(1, false)), None, &options).contains("-  replicas: 1\n"));
    assert_eq!(text_diff(None, None, &options), "");
}
