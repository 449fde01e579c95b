//! Trees of objects as values.

use serde_json::{Value, json};

use super::*;

fn member(api_version: &str, kind: &str, name: &str, owners: &[&str]) -> Member {
    with_body(api_version, kind, name, owners, json!({}))
}

#[allow(clippy::needless_pass_by_value, reason = "tests give it values that they have just made")]
fn with_body(api_version: &str, kind: &str, name: &str, owners: &[&str], spec: Value) -> Member {
    let owners: Vec<Value> =
        owners.iter().map(|uid| json!({ "uid": uid, "kind": "x", "name": uid })).collect();
    let value = json!({
        "apiVersion": api_version, "kind": kind, "spec": spec,
        "metadata": { "name": name, "namespace": "shop", "uid": name, "ownerReferences": owners },
    });
    Member::of(&Object::from_value(value).unwrap(), None)
}

fn drawn(members: &[Member], group: &str, kind: &str, name: &str) -> Vec<String> {
    let forest = Forest::new(members);
    let mut seen = HashSet::new();
    let branches = forest.descendants(&ObjectKey::new(group, kind, "shop", name), &mut seen);
    branches.iter().map(|branch| format!("{}{}", "-".repeat(branch.depth), branch.member.key.name)).collect()
}

#[test]
fn children_come_right_after_their_parents_to_any_depth() {
    let members = [
        member("v1", "Pod", "pod-b", &["rs-1"]),
        member("v1", "Pod", "pod-a", &["rs-1"]),
        member("apps/v1", "ReplicaSet", "rs-1", &["orders"]),
        member("apps/v1", "ReplicaSet", "rs-0", &["orders"]),
        member("apps/v1", "Deployment", "orders", &[]),
        member("apps/v1", "Deployment", "other", &[]),
        member("example.com/v1", "Widget", "widget", &["pod-a"]),
    ];
    assert_eq!(
        drawn(&members, "apps", "Deployment", "orders"),
        ["-rs-0", "-rs-1", "--pod-a", "---widget", "--pod-b"]
    );
    assert_eq!(drawn(&members, "apps", "Deployment", "other"), Vec::<String>::new());
}

#[test]
fn what_names_tell_counts_where_nobody_is_named_as_owner() {
    let with_annotation = |api_version: &str, kind: &str, name: &str, annotation: (&str, &str)| {
        let value = json!({
            "apiVersion": api_version, "kind": kind,
            "metadata": { "name": name, "namespace": "shop", "uid": name, "annotations": { annotation.0: annotation.1 } },
        });
        Member::of(&Object::from_value(value).unwrap(), None)
    };
    let members = [
        member("v1", "ServiceAccount", "robot", &[]),
        with_annotation("v1", "Secret", "token", ("kubernetes.io/service-account.name", "robot")),
        with_annotation("v1", "Secret", "lost", ("kubernetes.io/service-account.name", "gone")),
        member("operators.coreos.com/v1", "OperatorGroup", "group", &[]),
        with_annotation(
            "operators.coreos.com/v1alpha1",
            "ClusterServiceVersion",
            "csv",
            ("olm.operatorGroup", "group"),
        ),
    ];
    assert_eq!(drawn(&members, "", "ServiceAccount", "robot"), ["-token"]);
    assert_eq!(drawn(&members, "operators.coreos.com", "OperatorGroup", "group"), ["-csv"]);
    let forest = Forest::new(&members);
    let top: Vec<bool> = members.iter().map(|member| forest.is_top_level(member)).collect();
    assert_eq!(top, [true, false, true, true, false]);
}

#[test]
fn the_last_child_is_marked_and_knows_its_parent() {
    let members =
        [member("v1", "A", "a", &[]), member("v1", "B", "b", &["a"]), member("v1", "B", "c", &["a"])];
    let forest = Forest::new(&members);
    let branches = forest.descendants(&ObjectKey::new("", "A", "shop", "a"), &mut HashSet::new());
    let marks: Vec<(bool, &str)> = branches.iter().map(|branch| (branch.is_last, branch.parent)).collect();
    assert_eq!(marks, [(false, "a"), (true, "a")]);
}

#[test]
fn circles_and_endless_chains_end() {
    let circle =
        [member("v1", "A", "a", &["b"]), member("v1", "A", "b", &["a"]), member("v1", "A", "c", &["c"])];
    assert_eq!(drawn(&circle, "", "A", "a"), ["-b"]);
    assert_eq!(drawn(&circle, "", "A", "c"), Vec::<String>::new());
    let names: Vec<String> = (0..200).map(|number| format!("n{number:03}")).collect();
    let chain: Vec<Member> = names
        .iter()
        .enumerate()
        .map(|(position, name)| match position {
            0 => member("v1", "A", name, &[]),
            position => member("v1", "A", name, &[&names[position - 1]]),
        })
        .collect();
    assert_eq!(drawn(&chain, "", "A", "n000").len(), MAX_DEPTH);
}

#[test]
fn an_object_with_two_owners_comes_once_and_below_its_controller() {
    let mut child = member("v1", "Pod", "pod", &["first", "second"]);
    let value = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "pod", "namespace": "shop", "uid": "pod",
        "ownerReferences": [{ "uid": "first" }, { "uid": "second", "controller": true }] } });
    assert_eq!(child.owners, ["first", "second"]);
    child = Member::of(&Object::from_value(value).unwrap(), None);
    let members = [child, member("v1", "A", "first", &[]), member("v1", "A", "second", &[])];
    assert_eq!(drawn(&members, "", "A", "first"), Vec::<String>::new());
    assert_eq!(drawn(&members, "", "A", "second"), ["-pod"]);
}

#[test]
fn volume_claims_and_endpoints_are_told_by_their_names() {
    let templates = json!({ "volumeClaimTemplates": [{ "metadata": { "name": "data" } }] });
    let members = [
        with_body("apps/v1", "StatefulSet", "db", &[], templates),
        member("v1", "PersistentVolumeClaim", "data-db-0", &[]),
        member("v1", "PersistentVolumeClaim", "data-db-x", &[]),
        member("v1", "PersistentVolumeClaim", "logs-db-0", &[]),
    ];
    assert_eq!(drawn(&members, "apps", "StatefulSet", "db"), ["-data-db-0"]);
    let services = [member("v1", "Service", "svc", &[]), with_body("v1", "Endpoints", "svc", &[], json!({}))];
    let services: Vec<Member> = services
        .into_iter()
        .enumerate()
        .map(|(position, member)| Member { uid: format!("uid-{position}"), ..member })
        .collect();
    assert_eq!(drawn(&services, "", "Service", "svc"), ["-svc"]);
}
