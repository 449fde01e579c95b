//! What is drift and what is not.

use super::*;

#[test]
fn fields_that_only_the_cluster_has_are_not_drift() {
    let desired = json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": "a" },
        "spec": { "ports": [{ "port": 80 }], "selector": { "app": "a" } } });
    let live = json!({ "apiVersion": "v1", "kind": "Service",
        "metadata": { "name": "a", "namespace": "n", "uid": "u", "resourceVersion": "1", "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": { "by": "somebody" } },
        "spec": { "ports": [{ "port": 80, "protocol": "TCP", "targetPort": 80, "nodePort": 31000 }],
            "selector": { "app": "a" }, "clusterIP": "10.0.0.1", "type": "ClusterIP", "sessionAffinity": "None" },
        "status": { "loadBalancer": {} } });
    assert_same(desired, live);
}

#[test]
fn a_changed_a_missing_and_an_added_value_are_told_apart() {
    let desired = deployment(json!({ "replicas": 3, "paused": true, "minReadySeconds": 5 }));
    let live = deployment(json!({ "replicas": 5, "paused": true, "progressDeadlineSeconds": 600 }));
    assert_differs(
        desired,
        live,
        &["spec.replicas differs", "spec.minReadySeconds is missing in the cluster"],
    );
}

#[test]
fn empty_values_are_the_same_as_none() {
    for empty in [json!(null), json!({}), json!([]), json!({ "a": {}, "b": null })] {
        let desired = json!({ "apiVersion": "e.io/v1", "kind": "X", "metadata": { "name": "a" }, "spec": { "x": empty } });
        let live = json!({ "apiVersion": "e.io/v1", "kind": "X", "metadata": { "name": "a" } });
        assert_same(desired.clone(), live.clone());
        assert_same(live, desired);
    }
    let volumes = |volume| deployment(json!({ "template": { "spec": { "volumes": [volume] } } }));
    assert_same(
        volumes(json!({ "name": "v", "emptyDir": {} })),
        volumes(json!({ "name": "v", "emptyDir": {} })),
    );
    assert_same(
        with_containers(json!([{ "name": "a", "resources": {} }])),
        with_containers(json!([{ "name": "a", "resources": { "limits": { "cpu": "1" } } }])),
    );
    assert_differs(
        volumes(json!({ "name": "v", "emptyDir": {} })),
        volumes(json!({ "name": "w" })),
        &["spec.template.spec.volumes[name=v] is missing in the cluster"],
    );
}

#[test]
fn an_empty_mapping_where_the_cluster_has_a_list_differs() {
    assert_differs(
        json!({ "apiVersion": "e.io/v1", "kind": "X", "metadata": { "name": "a" }, "spec": { "a": {} } }),
        json!({ "apiVersion": "e.io/v1", "kind": "X", "metadata": { "name": "a" }, "spec": { "a": [1] } }),
        &["spec.a differs"],
    );
}

#[test]
fn zero_values_that_the_api_server_leaves_out_are_not_drift() {
    let desired = with_containers(json!([{ "name": "a", "image": "a:1", "tty": false, "workingDir": "" }]));
    let live = with_containers(json!([{ "name": "a", "image": "a:1" }]));
    assert_same(desired, live);
}

#[test]
fn quantities_are_compared_by_value() {
    let resources = |cpu: Value, memory: Value| {
        with_containers(
            json!([{ "name": "a", "resources": { "requests": { "cpu": cpu, "memory": memory } } }]),
        )
    };
    assert_same(resources(json!("1000m"), json!("1024Mi")), resources(json!("1"), json!("1Gi")));
    assert_same(resources(json!(1), json!(1024)), resources(json!("1"), json!("1Ki")));
    assert_same(resources(json!(0.5), json!("1e3")), resources(json!("500m"), json!("1k")));
    let path = "spec.template.spec.containers[name=a].resources.requests.cpu differs";
    assert_differs(resources(json!("1000m"), json!("1Gi")), resources(json!("1001m"), json!("1Gi")), &[path]);
}

#[test]
fn resources_of_unknown_kinds_are_quantities_and_other_texts_are_not() {
    let custom = |limits: &str, size: &str| {
        json!({ "apiVersion": "e.io/v1", "kind": "X", "metadata": { "name": "a" },
        "spec": { "resources": { "limits": { "cpu": limits } }, "size": size } })
    };
    assert_same(custom("1000m", "1"), custom("1", "1"));
    assert_differs(custom("1", "1000m"), custom("1", "1"), &["spec.size differs"]);
    let env =
        |value: &str| with_containers(json!([{ "name": "a", "env": [{ "name": "CPU", "value": value }] }]));
    assert_differs(
        env("1000m"),
        env("1"),
        &["spec.template.spec.containers[name=a].env[name=CPU].value differs"],
    );
}

#[test]
fn a_number_and_the_same_number_as_text_differ() {
    assert_differs(config_map(json!({ "a": "1" })), config_map(json!({ "a": 1 })), &["data.a differs"]);
    let port = |port: Value| {
        json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": "a" },
        "spec": { "ports": [{ "port": 80, "targetPort": port }] } })
    };
    assert_differs(
        port(json!("80")),
        port(json!(80)),
        &["spec.ports[port=80,protocol=TCP].targetPort differs"],
    );
}

#[test]
fn items_of_keyed_lists_are_found_by_key() {
    let desired =
        with_containers(json!([{ "name": "app", "image": "a:2", "env": [{ "name": "B", "value": "1" }] }]));
    let live = with_containers(json!([
        { "name": "sidecar", "image": "s:1" },
        { "name": "app", "image": "a:1", "imagePullPolicy": "Always",
          "env": [{ "name": "A", "value": "0" }, { "name": "B", "value": "1" }] },
    ]));
    assert_differs(desired, live, &["spec.template.spec.containers[name=app].image differs"]);
}

#[test]
fn a_missing_key_has_the_default_of_the_schema() {
    let service = |ports: Value| {
        json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": "a" },
        "spec": { "ports": ports } })
    };
    assert_same(
        service(json!([{ "port": 53, "name": "tcp" }, { "port": 53, "protocol": "UDP", "name": "udp" }])),
        service(
            json!([{ "port": 53, "protocol": "TCP", "name": "tcp" }, { "port": 53, "protocol": "UDP", "name": "udp" }]),
        ),
    );
}

#[test]
fn another_order_of_a_keyed_list_is_not_certain_to_be_the_same() {
    let two = |first: &str, second: &str| with_containers(json!([{ "name": first }, { "name": second }]));
    assert_differs(two("a", "b"), two("b", "a"), &["spec.template.spec.containers differs"]);
}

#[test]
fn one_key_twice_is_not_certain_to_be_the_same() {
    let env = json!([{ "name": "A", "value": "1" }, { "name": "A", "value": "2" }]);
    let value = with_containers(json!([{ "name": "a", "env": env }]));
    assert_ne!(compared(&value, &value, &no_rules()), Vec::<String>::new());
}

#[test]
fn a_list_that_is_declared_as_a_whole_is_compared_as_a_whole() {
    let role = |rules: Value| {
        json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
        "metadata": { "name": "a" }, "rules": rules })
    };
    let rule = json!({ "apiGroups": [""], "resources": ["pods"], "verbs": ["get"] });
    let wider = json!({ "apiGroups": [""], "resources": ["pods"], "verbs": ["get", "delete"] });
    let narrower =
        json!({ "apiGroups": [""], "resources": ["pods"], "verbs": ["get"], "resourceNames": ["x"] });
    assert_same(role(json!([rule])), role(json!([rule])));
    assert_differs(role(json!([rule])), role(json!([rule, rule])), &["rules differs"]);
    assert_differs(role(json!([rule])), role(json!([wider])), &["rules[0].verbs differs"]);
    assert_differs(role(json!([rule])), role(json!([narrower])), &["rules[0].resourceNames is not declared"]);
}

#[test]
fn a_selector_is_declared_as_a_whole() {
    let selector = |labels: Value| deployment(json!({ "selector": { "matchLabels": labels } }));
    assert_differs(
        selector(json!({ "a": "1" })),
        selector(json!({ "a": "1", "b": "2" })),
        &["spec.selector.matchLabels.b is not declared"],
    );
}

#[test]
fn a_default_inside_of_a_whole_is_left_to_the_dry_run() {
    let env = |source: Value| {
        with_containers(
            json!([{ "name": "a", "env": [{ "name": "IP", "valueFrom": { "fieldRef": source } }] }]),
        )
    };
    assert_differs(
        env(json!({ "fieldPath": "status.podIP" })),
        env(json!({ "apiVersion": "v1", "fieldPath": "status.podIP" })),
        &["spec.template.spec.containers[name=a].env[name=IP].valueFrom.fieldRef.apiVersion is not declared"],
    );
}

#[test]
fn lists_of_unknown_kinds_are_compared_by_position() {
    let custom = |items: Value| {
        json!({ "apiVersion": "e.io/v1", "kind": "X", "metadata": { "name": "a" },
        "spec": { "items": items } })
    };
    assert_same(
        custom(json!([{ "name": "a" }, { "name": "b" }])),
        custom(json!([{ "name": "a" }, { "name": "b" }])),
    );
    assert_differs(
        custom(json!([{ "name": "a" }])),
        custom(json!([{ "name": "a" }, { "name": "b" }])),
        &["spec.items differs"],
    );
    assert_differs(
        custom(json!([{ "name": "a" }])),
        custom(json!([{ "name": "a", "defaulted": 1 }])),
        &["spec.items[0].defaulted is not declared"],
    );
}

#[test]
fn a_removed_field_is_drift() {
    let desired = config_map(json!({ "kept": "1" }));
    let live = config_map(json!({ "kept": "1", "removed": "2", "by-hand": "3" }));
    let ours = json!({ "f:data": { "f:kept": {}, "f:removed": {} } });
    let live = held(live, MANAGER, "Apply", ours);
    let live = held(live, "kubectl-edit", "Update", json!({ "f:data": { "f:by-hand": {} } }));
    assert_differs(desired, live, &["data.removed is not declared"]);
}

#[test]
fn a_removed_item_of_a_keyed_list_is_drift() {
    let desired = with_containers(json!([{ "name": "app" }]));
    let live = with_containers(
        json!([{ "name": "app" }, { "name": "old", "image": "o:1" }, { "name": "injected" }]),
    );
    let item = |name: &str| format!("k:{{\"name\":\"{name}\"}}");
    let ours = json!({ "f:spec": { "f:template": { "f:spec": { "f:containers": {
        item("app"): { ".": {}, "f:name": {} }, item("old"): { ".": {}, "f:name": {}, "f:image": {} },
    } } } } });
    let live = held(live, MANAGER, "Apply", ours);
    assert_differs(
        desired,
        live,
        &[
            "spec.template.spec.containers[name=old].image is not declared",
            "spec.template.spec.containers[name=old].name is not declared",
        ],
    );
}

#[test]
fn a_removed_item_is_told_from_its_neighbour_by_the_default_of_a_key() {
    let service = |ports: Value| {
        json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": "a" },
        "spec": { "ports": ports } })
    };
    let live = service(json!([{ "port": 53, "protocol": "TCP" }, { "port": 53, "protocol": "UDP" }]));
    let ours = json!({ "f:spec": { "f:ports": {
        "k:{\"port\":53,\"protocol\":\"TCP\"}": { ".": {}, "f:port": {} },
        "k:{\"port\":53,\"protocol\":\"UDP\"}": { ".": {}, "f:port": {}, "f:protocol": {} },
    } } });
    let live = held(live, MANAGER, "Apply", ours);
    assert_same(service(json!([{ "port": 53 }, { "port": 53, "protocol": "UDP" }])), live.clone());
    let found = compared(&service(json!([{ "port": 53 }])), &live, &no_rules());
    assert!(found.iter().all(|path| path.contains("protocol=UDP")) && !found.is_empty(), "{found:?}");
}

#[test]
fn what_others_hold_or_what_was_held_by_update_is_not_removed() {
    let desired = config_map(json!({ "a": "1" }));
    let live = config_map(json!({ "a": "1", "b": "2" }));
    let fields = json!({ "f:data": { "f:a": {}, "f:b": {} } });
    assert_same(desired.clone(), held(live.clone(), "another", "Apply", fields.clone()));
    assert_same(desired, held(live, MANAGER, "Update", fields));
}

#[test]
fn a_held_field_that_is_gone_already_is_not_drift() {
    let fields = json!({ "f:data": { "f:a": {}, "f:b": {} }, "f:status": { "f:x": {} } });
    let mut live = config_map(json!({ "a": "1" }));
    live["status"] = json!({ "x": 1 });
    assert_same(config_map(json!({ "a": "1" })), held(live, MANAGER, "Apply", fields));
}

#[test]
fn unreadable_managed_fields_are_not_certain_to_be_the_same() {
    let live = held(config_map(json!({ "a": "1" })), MANAGER, "Apply", json!({ "f:data": 7 }));
    assert_differs(config_map(json!({ "a": "1" })), live, &["metadata.managedFields differs"]);
}

#[test]
fn metadata_that_the_api_server_writes_is_not_compared() {
    let desired = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": {
        "name": "a", "namespace": "declared", "creationTimestamp": null, "uid": "old", "resourceVersion": "7", "generation": 2 } });
    let live = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": {
        "name": "a", "uid": "u", "resourceVersion": "9", "creationTimestamp": "2026-01-01T00:00:00Z" } });
    assert_same(desired, live);
}

#[test]
fn labels_and_annotations_are_compared() {
    let marked = |id: &str| {
        json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": {
        "name": "a", "annotations": { "argocd.argoproj.io/tracking-id": id } } })
    };
    assert_differs(
        marked("x"),
        marked("y"),
        &["metadata.annotations[argocd.argoproj.io/tracking-id] differs"],
    );
}

#[test]
fn the_status_is_left_out_unless_the_options_say_otherwise() {
    let crd = |kind: &str, status: i32| {
        json!({ "apiVersion": "e.io/v1", "kind": kind, "metadata": { "name": "a" },
        "status": { "x": status } })
    };
    let with = |ignore_status| {
        let options = CompareOptions { ignore_status, ignore_aggregated_roles: false };
        Rules::compile(&[], &SystemRules { ignore_differences: Vec::new(), options }).0
    };
    let definition = "CustomResourceDefinition";
    for (kind, ignore, same) in [
        ("X", IgnoreStatus::All, true),
        (definition, IgnoreStatus::All, true),
        ("X", IgnoreStatus::CustomResourceDefinitions, false),
        (definition, IgnoreStatus::CustomResourceDefinitions, true),
        ("X", IgnoreStatus::None, false),
        (definition, IgnoreStatus::None, false),
    ] {
        assert_eq!(
            compared(&crd(kind, 1), &crd(kind, 2), &with(ignore)).is_empty(),
            same,
            "{kind} {ignore:?}"
        );
    }
    assert_eq!(IgnoreStatus::from_setting("crd"), IgnoreStatus::CustomResourceDefinitions);
    assert_eq!(IgnoreStatus::from_setting("off"), IgnoreStatus::None);
    assert_eq!(IgnoreStatus::from_setting("whatever"), IgnoreStatus::All);
}

#[test]
fn the_rules_of_an_aggregated_role_are_the_clusters() {
    let role = |rules: Value| {
        json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": { "name": "a" }, "aggregationRule": { "clusterRoleSelectors": [] }, "rules": rules })
    };
    let filled = json!([{ "apiGroups": [""], "resources": ["pods"], "verbs": ["get"] }]);
    let other = json!([{ "apiGroups": [""], "resources": ["pods"], "verbs": ["list"] }]);
    assert_same(role(json!([])), role(filled.clone()));
    assert_differs(role(other.clone()), role(filled.clone()), &["rules[0].verbs[0] differs"]);
    let options = CompareOptions { ignore_aggregated_roles: true, ..CompareOptions::default() };
    let (rules, _) = Rules::compile(&[], &SystemRules { ignore_differences: Vec::new(), options });
    assert_eq!(compared(&role(other), &role(filled), &rules), Vec::<String>::new());
}

#[test]
fn another_api_version_is_not_certain_to_be_the_same() {
    let hpa = |version: &str| json!({ "apiVersion": version, "kind": "HorizontalPodAutoscaler", "metadata": { "name": "a" } });
    assert_differs(hpa("autoscaling/v1"), hpa("autoscaling/v2"), &["apiVersion differs"]);
}

#[test]
fn deep_and_wide_values_end() {
    let mut deep = json!(1);
    let mut other = json!(2);
    for _ in 0..1000 {
        deep = json!({ "a": deep });
        other = json!({ "a": other });
    }
    let custom = |spec: &Value| json!({ "apiVersion": "e.io/v1", "kind": "X", "metadata": { "name": "a" }, "spec": spec });
    assert_eq!(compared(&custom(&deep), &custom(&other), &no_rules()).len(), 1);
    let many = |offset: usize| -> Value { (0..1000).map(|n| (format!("k{n}"), json!(n + offset))).collect() };
    assert_eq!(compared(&custom(&many(0)), &custom(&many(1)), &no_rules()).len(), MAX_DIFFERENCES);
}
