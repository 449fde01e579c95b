//! Strategic merge patches as kubectl and controllers send them.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{StrategicError, merge};
use crate::object::Gvk;
use crate::object::fields::tests::any_value;
use crate::object::schema::{TypeRef, built_in};

fn pod_spec(live: &Value, patch: &Value) -> Result<Value, StrategicError> {
    let schema = built_in(&Gvk::new("", "v1", "Pod")).unwrap();
    merge(&json!({"spec": live}), &json!({"spec": patch}), Some(&schema)).map(|pod| pod["spec"].clone())
}

#[test]
fn containers_are_merged_by_name_and_commands_replaced() {
    let live = json!({"containers": [{"name": "a", "image": "a:1", "command": ["x", "y"]}, {"name": "b", "image": "b:1"}]});
    let patch = json!({"containers": [{"name": "a", "image": "a:2", "command": ["z"]}]});
    let expected = json!([{"name": "a", "image": "a:2", "command": ["z"]}, {"name": "b", "image": "b:1"}]);
    assert_eq!(pod_spec(&live, &patch).unwrap()["containers"], expected);
}

#[test]
fn ports_are_merged_by_number_alone() {
    let live = json!({"containers": [{"name": "a", "ports": [{"containerPort": 53, "protocol": "TCP"}]}]});
    let patch = json!({"containers": [{"name": "a", "ports": [{"containerPort": 53, "protocol": "UDP"}]}]});
    let merged = pod_spec(&live, &patch).unwrap();
    assert_eq!(merged["containers"][0]["ports"], json!([{"containerPort": 53, "protocol": "UDP"}]));
}

#[test]
fn null_deletes_a_field_and_a_directive_an_item() {
    let live = json!({"hostname": "x", "containers": [{"name": "a"}, {"name": "b"}]});
    let patch = json!({"hostname": null, "containers": [{"name": "a", "$patch": "delete"}]});
    assert_eq!(pod_spec(&live, &patch).unwrap(), json!({"containers": [{"name": "b"}]}));
}

#[test]
fn replace_takes_the_patch_as_it_is() {
    let live = json!({"containers": [{"name": "a"}, {"name": "b"}], "securityContext": {"runAsUser": 1, "fsGroup": 2}});
    let patch = json!({
        "containers": [{"$patch": "replace"}, {"name": "c"}],
        "securityContext": {"$patch": "replace", "runAsUser": 3},
    });
    let expected = json!({"containers": [{"name": "c"}], "securityContext": {"runAsUser": 3}});
    assert_eq!(pod_spec(&live, &patch).unwrap(), expected);
}

#[test]
fn retain_keys_switches_a_union() {
    let live = json!({"volumes": [{"name": "v", "emptyDir": {}}]});
    let patch =
        json!({"volumes": [{"name": "v", "$retainKeys": ["name", "configMap"], "configMap": {"name": "c"}}]});
    let expected = json!({"volumes": [{"name": "v", "configMap": {"name": "c"}}]});
    assert_eq!(pod_spec(&live, &patch).unwrap(), expected);
    let patch = json!({"volumes": [{"name": "v", "$retainKeys": ["name"], "configMap": {}}]});
    assert_eq!(pod_spec(&live, &patch), Err(StrategicError::RetainKeys));
}

#[test]
fn items_take_the_asked_for_order() {
    let live = json!({"containers": [{"name": "a"}, {"name": "b"}, {"name": "server"}]});
    let patch = json!({
        "$setElementOrder/containers": [{"name": "b"}, {"name": "c"}, {"name": "a"}],
        "containers": [{"name": "c", "image": "c:1"}],
    });
    let merged = pod_spec(&live, &patch).unwrap();
    assert_eq!(
        merged["containers"],
        json!([{"name": "b"}, {"name": "c", "image": "c:1"}, {"name": "a"}, {"name": "server"}])
    );
}

#[test]
fn sets_of_scalars_grow_and_shrink() {
    let schema = built_in(&Gvk::new("", "v1", "ConfigMap")).unwrap();
    let live = json!({"metadata": {"finalizers": ["a", "b"]}});
    let patch = json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"], "finalizers": ["c", "b"]}});
    let merged = merge(&live, &patch, Some(&schema)).unwrap();
    assert_eq!(merged["metadata"]["finalizers"], json!(["c", "b"]));
}

#[test]
fn a_new_value_carries_no_directives() {
    let patch = json!({
        "affinity": {"$retainKeys": ["nodeAffinity"], "nodeAffinity": {"x": null}},
        "volumes": [{"name": "v", "$patch": "delete"}],
    });
    assert_eq!(
        pod_spec(&json!({}), &patch).unwrap(),
        json!({"affinity": {"nodeAffinity": {}}, "volumes": []})
    );
}

#[test]
fn bad_patches_are_refused() {
    let live = json!({"containers": [{"name": "a"}]});
    let no_key = pod_spec(&live, &json!({"containers": [{"image": "x"}]})).unwrap_err();
    assert!(no_key.to_string().contains("does not contain declared merge key: name"), "{no_key}");
    let unknown = pod_spec(&live, &json!({"$patch": "guess"})).unwrap_err();
    assert!(unknown.to_string().starts_with("unknown patch type: guess"), "{unknown}");
    assert_eq!(merge(&json!({}), &json!([]), None), Err(StrategicError::BadDocument));
}

proptest! {
    #[test]
    fn no_value_makes_it_panic(live in any_value(), patch in any_value()) {
        let schema = built_in(&Gvk::new("", "v1", "Pod")).unwrap();
        let _ = merge(&live, &patch, Some(&schema));
        let _ = merge(&live, &patch, None);
    }

    #[test]
    fn an_empty_patch_changes_nothing(live in any_value()) {
        if live.is_object() {
            prop_assert_eq!(merge(&live, &json!({}), Some(&TypeRef::deduced())).unwrap(), live);
        }
    }
}
