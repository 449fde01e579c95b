//! `ignoreDifferences`.

#![allow(clippy::needless_pass_by_value, reason = "values are written in place")]

use super::*;

fn ignoring(rule: Value) -> Rules {
    let mut all = json!({ "group": "apps", "kind": "Deployment" });
    all.as_object_mut().unwrap().extend(rule.as_object().unwrap().clone());
    rules(json!([all]))
}

fn differs(rules: &Rules, desired: Value, live: Value) -> bool {
    !compared(&desired, &live, rules).is_empty()
}

#[test]
fn a_pointer_takes_a_field_out_of_both_sides() {
    let rules = ignoring(json!({ "jsonPointers": ["/spec/replicas"] }));
    assert!(!differs(&rules, deployment(json!({ "replicas": 1 })), deployment(json!({ "replicas": 9 }))));
    assert!(!differs(&rules, deployment(json!({ "replicas": 1 })), deployment(json!({}))));
    assert!(differs(&rules, deployment(json!({ "paused": true })), deployment(json!({ "replicas": 9 }))));
}

#[test]
fn pointers_escape_and_reach_into_lists() {
    let annotated = |text: &str| {
        json!({ "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": "a", "annotations": { "a/b~c": text } } })
    };
    let rules = ignoring(json!({ "jsonPointers": ["/metadata/annotations/a~1b~0c"] }));
    assert!(!differs(&rules, annotated("1"), annotated("2")));
    let rules =
        ignoring(json!({ "jsonPointers": ["/spec/template/spec/containers/0/image", "/spec/absent/0/x"] }));
    let image = |image: &str| with_containers(json!([{ "name": "a", "image": image }]));
    assert!(!differs(&rules, image("a:1"), image("a:2")));
}

#[test]
fn an_expression_takes_what_it_finds_out_of_both_sides() {
    let rules = ignoring(json!({
        "jqPathExpressions": [".spec.template.spec.containers[] | select(.name == \"injected\")"],
    }));
    let two = |image: &str| with_containers(json!([{ "name": "a" }, { "name": "injected", "image": image }]));
    assert!(!differs(&rules, two("a:1"), two("a:2")));
    assert!(!differs(&rules, two("a:1"), with_containers(json!([{ "name": "a" }]))));
}

#[test]
fn fields_of_a_trusted_manager_are_left_to_it() {
    let rules = ignoring(json!({ "managedFieldsManagers": ["hpa"] }));
    assert!(rules.trusted_managers().contains("hpa"));
    let live = deployment(json!({ "replicas": 9, "paused": true }));
    let theirs = held(live.clone(), "hpa", "Update", json!({ "f:spec": { "f:replicas": {} } }));
    assert!(!differs(&rules, deployment(json!({ "replicas": 1 })), theirs.clone()));
    assert!(differs(&rules, deployment(json!({ "replicas": 1, "paused": false })), theirs));
    let nobodys = held(live, "somebody", "Update", json!({ "f:spec": { "f:replicas": {} } }));
    assert!(differs(&rules, deployment(json!({ "replicas": 1 })), nobodys));
}

#[test]
fn a_trusted_manager_of_one_field_of_an_item_does_not_take_the_item() {
    let rules = ignoring(json!({ "managedFieldsManagers": ["updater"] }));
    let live = with_containers(json!([{ "name": "a", "image": "a:9", "command": ["x"] }]));
    let live = held(
        live,
        "updater",
        "Update",
        json!({ "f:spec": { "f:template": { "f:spec": { "f:containers": {
        "k:{\"name\":\"a\"}": { "f:image": {} } } } } } }),
    );
    let wanted =
        |command: &str| with_containers(json!([{ "name": "a", "image": "a:1", "command": [command] }]));
    assert!(!differs(&rules, wanted("x"), live.clone()));
    assert!(differs(&rules, wanted("y"), live));
}

#[test]
fn an_ignored_field_that_is_no_longer_declared_is_not_drift() {
    let live = deployment(json!({ "replicas": 9 }));
    let live = held(live, MANAGER, "Apply", json!({ "f:spec": { "f:replicas": {} } }));
    assert!(differs(&no_rules(), deployment(json!({})), live.clone()));
    assert!(!differs(&ignoring(json!({ "jsonPointers": ["/spec/replicas"] })), deployment(json!({})), live));
}

#[test]
fn a_rule_is_about_the_objects_that_it_names() {
    let (one, two) = (deployment(json!({ "replicas": 1 })), deployment(json!({ "replicas": 2 })));
    for (rule, applies) in [
        (json!({ "group": "apps", "kind": "Deployment" }), true),
        (json!({ "group": "a*", "kind": "Deploy*" }), true),
        (json!({ "group": "*", "kind": "*" }), true),
        (json!({ "group": "", "kind": "Deployment" }), false),
        (json!({ "group": "apps", "kind": "StatefulSet" }), false),
        (json!({ "group": "apps", "kind": "Deployment", "name": "a", "namespace": "n" }), true),
        (json!({ "group": "apps", "kind": "Deployment", "name": "b" }), false),
        (json!({ "group": "apps", "kind": "Deployment", "namespace": "m" }), false),
    ] {
        let mut rule = rule;
        rule["jsonPointers"] = json!(["/spec/replicas"]);
        assert_eq!(!differs(&rules(json!([rule])), one.clone(), two.clone()), applies, "{rule}");
    }
}

#[test]
fn a_broken_rule_is_named_and_the_others_work() {
    let written: Vec<ResourceIgnoreDifferences> = serde_json::from_value(json!([
        { "group": "[", "kind": "Deployment", "jsonPointers": ["/spec"] },
        { "group": "apps", "kind": "Deployment", "jsonPointers": ["spec/paused", "/spec/replicas"],
          "jqPathExpressions": [".spec[", "env"] },
    ]))
    .unwrap();
    let (rules, problems) = Rules::compile(&written, &SystemRules::default());
    let named: Vec<&str> = problems.iter().map(|problem| problem.rule.as_str()).collect();
    assert_eq!(
        named,
        [
            "spec.ignoreDifferences[0].group",
            "spec.ignoreDifferences[1].jsonPointers[0]",
            "spec.ignoreDifferences[1].jqPathExpressions[0]",
            "spec.ignoreDifferences[1].jqPathExpressions[1]",
        ]
    );
    assert!(!differs(&rules, deployment(json!({ "replicas": 1 })), deployment(json!({ "replicas": 2 }))));
    assert!(differs(&rules, deployment(json!({ "paused": true })), deployment(json!({ "paused": false }))));
}

#[test]
fn every_input_of_the_rules_changes_their_fingerprint() {
    let rule = |pointer: &str| ResourceIgnoreDifferences {
        kind: "Deployment".to_owned(),
        json_pointers: vec![pointer.to_owned()],
        ..ResourceIgnoreDifferences::default()
    };
    let of =
        |application: &[ResourceIgnoreDifferences], system: Vec<ResourceIgnoreDifferences>, aggregated| {
            let options = CompareOptions { ignore_aggregated_roles: aggregated, ..CompareOptions::default() };
            Rules::compile(application, &SystemRules { ignore_differences: system, options }).0.fingerprint()
        };
    let all = [
        of(&[], Vec::new(), false),
        of(&[], Vec::new(), true),
        of(&[rule("/a")], Vec::new(), false),
        of(&[rule("/b")], Vec::new(), false),
        of(&[rule("/a"), rule("/b")], Vec::new(), false),
        of(&[rule("/b")], vec![rule("/a")], false),
    ];
    assert_eq!(all.iter().collect::<std::collections::BTreeSet<_>>().len(), all.len());
    assert_eq!(of(&[rule("/a")], Vec::new(), false), of(&[rule("/a")], Vec::new(), false));
}

#[test]
fn stored_objects_keep_what_the_rules_need() {
    let live = json!({ "metadata": { "name": "a", "selfLink": "/x",
        "annotations": { "kubectl.kubernetes.io/last-applied-configuration": "{}" },
        "managedFields": [
            { "manager": MANAGER, "operation": "Apply", "fieldsV1": {} },
            { "manager": MANAGER, "operation": "Apply", "subresource": "status", "fieldsV1": {} },
            { "manager": MANAGER, "operation": "Update", "fieldsV1": {} },
            { "manager": "hpa", "operation": "Update", "fieldsV1": {} },
            { "manager": "kubectl", "operation": "Update", "fieldsV1": {} },
        ] }, "status": { "x": 1 } });
    let trusted = ["hpa".to_owned()].into();
    assert_eq!(
        strip_for_storage(live, MANAGER, &trusted),
        json!({ "metadata": { "name": "a", "managedFields": [
            { "manager": MANAGER, "operation": "Apply", "fieldsV1": {} },
            { "manager": "hpa", "operation": "Update", "fieldsV1": {} },
            { "manager": "kubectl.kubernetes.io/last-applied-configuration", "operation": "Update",
              "fieldsV1": {} },
        ] }, "status": { "x": 1 } })
    );
    let plain = json!({ "metadata": { "name": "a", "managedFields": [{ "manager": "x" }] } });
    assert_eq!(
        strip_for_storage(plain, MANAGER, &Default::default()),
        json!({ "metadata": { "name": "a" } })
    );
}
