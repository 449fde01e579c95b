use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::object::yaml;

fn parse(text: &str) -> Value {
    let options = yaml::Options::new(yaml::Schema::Yaml12ish, yaml::DuplicateKeys::Error);
    yaml::parse(text.as_bytes(), &options).unwrap().remove(0).value
}

fn merged(kind: (&str, &str), spec: &str, patch: &str) -> Result<Value, MergeError> {
    let object = |spec: &str| json!({"apiVersion": kind.0, "kind": kind.1, "metadata": {"name": "x"}, "spec": parse(spec)});
    let mut target = object(spec);
    let patch = object(patch);
    assert_eq!(strategic_merge(&mut target, &patch, Schema::built_in())?, Merged::Kept);
    Ok(target["spec"].clone())
}

#[track_caller]
fn check(kind: (&str, &str), spec: &str, patch: &str, expected: &str) {
    assert_eq!(merged(kind, spec, patch).unwrap(), parse(expected));
}

const POD: (&str, &str) = ("v1", "Pod");
const SERVICE: (&str, &str) = ("v1", "Service");
const CUSTOM: (&str, &str) = ("example.com/v1", "Widget");

#[test]
fn scalars_are_replaced_and_mappings_are_merged() {
    check(CUSTOM, "{a: 1, b: {c: 2, d: 3}}", "{a: 5, b: {d: x, e: 4}}", "{a: 5, b: {c: 2, d: x, e: 4}}");
}

#[test]
fn a_number_in_the_place_of_a_quoted_text_is_quoted_too() {
    check(
        CUSTOM,
        "{a: '5', b: 'true', c: x, d: 5}",
        "{a: 6, b: false, c: 7, d: '8'}",
        "{a: '6', b: 'false', c: 7, d: '8'}",
    );
}

#[test]
fn a_null_in_the_patch_removes_and_adds_nothing() {
    check(
        CUSTOM,
        "{a: 1, b: {c: 2}, l: [1]}",
        "{a: null, b: null, l: null, new: null, f: {g: null}}",
        "{f: {}}",
    );
}

#[test]
fn a_null_that_the_patch_does_not_mention_stays() {
    check(CUSTOM, "{a: null, b: {c: null}}", "{b: {d: 1}}", "{a: null, b: {c: null, d: 1}}");
    check(CUSTOM, "{a: null, b: null}", "{a: null, b: {c: 1, z: null}}", "{b: {c: 1}}");
}

#[test]
fn lists_without_a_known_type_are_replaced_whole() {
    check(
        CUSTOM,
        "{containers: [{name: a}]}",
        "{containers: [{name: b}, {$patch: replace}]}",
        "{containers: [{name: b}, {$patch: replace}]}",
    );
    check(POD, "{tolerations: [{key: a}]}", "{tolerations: []}", "{tolerations: []}");
}

#[test]
fn partners_are_merged_and_elements_of_the_patch_come_first() {
    check(
        POD,
        "{containers: [{name: a, image: x}, {name: b, image: y}]}",
        "{containers: [{name: c, image: z}, {name: b, command: [run]}]}",
        "{containers: [{name: c, image: z}, {name: b, image: y, command: [run]}, {name: a, image: x}]}",
    );
}

#[test]
fn an_element_can_be_deleted_and_an_empty_list_of_a_patch_changes_nothing() {
    check(
        POD,
        "{containers: [{name: a}, {name: b}]}",
        "{containers: [{name: a, $patch: delete}]}",
        "{containers: [{name: b}]}",
    );
    check(POD, "{containers: [{name: a}]}", "{containers: [{name: a, $patch: delete}]}", "{containers: []}");
    check(POD, "{containers: [{name: a}]}", "{containers: []}", "{containers: [{name: a}]}");
    check(
        POD,
        "{containers: [{name: a}]}",
        "{containers: [{name: z, $patch: delete}]}",
        "{containers: [{name: a}]}",
    );
}

#[test]
fn a_lone_directive_in_a_list_is_for_the_whole_list() {
    let base = "{containers: [{name: a}, {name: b}], x: 1}";
    check(POD, base, "{containers: [{$patch: replace}, {name: c}]}", "{containers: [{name: c}], x: 1}");
    check(POD, base, "{containers: [{name: c}, {$patch: delete}]}", "{x: 1}");
    check(
        POD,
        base,
        "{containers: [{name: c}, {$patch: merge}]}",
        "{containers: [{name: c}, {name: a}, {name: b}], x: 1}",
    );
    let error = merged(POD, base, "{containers: [{$patch: other}]}").unwrap_err();
    assert!(
        matches!(&error, MergeError::UnknownDirective { path, directive } if path == "spec.containers" && directive == "other"),
        "{error}"
    );
}

#[test]
fn mappings_obey_directives() {
    check(CUSTOM, "{a: {b: 1, c: 2}, d: 1}", "{a: {$patch: replace, e: 3}}", "{a: {e: 3}, d: 1}");
    check(CUSTOM, "{a: {b: 1}, d: 1}", "{a: {$patch: delete}}", "{d: 1}");
    check(CUSTOM, "{a: {b: 1}}", "{a: {$patch: merge, c: 1}}", "{a: {b: 1, c: 1}}");
    assert!(merged(CUSTOM, "{a: {b: 1}}", "{a: {$patch: bogus}}").is_err());
}

#[test]
fn directives_in_what_is_new_are_obeyed_too() {
    check(
        ("apps/v1", "Deployment"),
        "{b: {y: 1}}",
        "{d: {z: null, zz: {$patch: delete, q: 1}, r: {$patch: replace, q: 1}}, b: {zz: {$patch: delete}, r: {$patch: replace, q: 1, s: null}}, k: {$patch: bogus, a: 1}}",
        "{b: {y: 1, r: {q: 1}}, d: {r: {q: 1}}, k: {$patch: bogus, a: 1}}",
    );
    check(
        ("apps/v1", "Deployment"),
        "{x: 1}",
        "{template: {spec: {containers: [{$patch: replace}, {name: c}], volumes: [{$patch: delete}, {name: c}]}}}",
        "{x: 1, template: {spec: {containers: [{name: c}]}}}",
    );
}

#[test]
fn an_element_that_says_replace_only_moves_its_partner() {
    check(
        POD,
        "{containers: [{name: b}, {name: a, image: x, command: [a]}]}",
        "{containers: [{name: a, $patch: replace, image: z}]}",
        "{containers: [{name: a, image: x, command: [a]}, {name: b}]}",
    );
}

#[test]
fn directives_that_are_not_known_stay_as_data() {
    check(
        POD,
        "{containers: [{name: a}]}",
        "{$setElementOrder/containers: [{name: a}], containers: [{name: a, image: x}], $retainKeys: [a]}",
        "{$setElementOrder/containers: [{name: a}], containers: [{name: a, image: x}], $retainKeys: [a]}",
    );
}

#[test]
fn sets_of_scalars_are_united() {
    let mut target =
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x", "finalizers": ["a", "b"]}});
    let patch = json!({"metadata": {"finalizers": ["c", "b"]}});
    strategic_merge(&mut target, &patch, Schema::built_in()).unwrap();
    assert_eq!(target["metadata"]["finalizers"], json!(["c", "b", "a"]));
}

#[test]
fn with_two_keys_the_elements_of_the_object_keep_their_places() {
    check(
        SERVICE,
        "{ports: [{port: 80, protocol: TCP, b: 1}, {port: 81, protocol: TCP, b: 1}, {port: 82, protocol: UDP, b: 1}]}",
        "{ports: [{port: 82, protocol: UDP, p: 1}, {port: 83, protocol: TCP, p: 1}, {port: 80, protocol: TCP, p: 1}]}",
        "{ports: [{port: 83, protocol: TCP, p: 1}, {port: 80, protocol: TCP, b: 1, p: 1}, {port: 81, protocol: TCP, b: 1}, {port: 82, protocol: UDP, b: 1, p: 1}]}",
    );
}

#[test]
fn a_second_key_that_nobody_has_does_not_count() {
    check(
        SERVICE,
        "{ports: [{port: 80, b: 1}, {port: 81, b: 2}]}",
        "{ports: [{port: 81, p: 1}, {port: 84}]}",
        "{ports: [{port: 81, b: 2, p: 1}, {port: 84}, {port: 80, b: 1}]}",
    );
}

#[test]
fn ports_with_and_without_protocol_are_taken_for_one_but_not_merged() {
    check(
        SERVICE,
        "{ports: [{port: 80, protocol: TCP, targetPort: 1}, {port: 81, protocol: TCP}]}",
        "{ports: [{port: 80, name: x}, {port: 82, name: q}]}",
        "{ports: [{port: 82, name: q}, {port: 80, protocol: TCP, targetPort: 1}, {port: 81, protocol: TCP}]}",
    );
    check(
        SERVICE,
        "{ports: [{port: 80, name: a}, {port: 81, protocol: TCP}]}",
        "{ports: [{port: 80, protocol: UDP}, {port: 81, protocol: UDP}]}",
        "{ports: [{port: 81, protocol: UDP}, {port: 80, name: a}, {port: 81, protocol: TCP}]}",
    );
    check(
        SERVICE,
        "{ports: [{port: 80, b: 1}, {port: 81, protocol: TCP, b: 1}, {port: 82, b: 1}]}",
        "{ports: [{port: 82, p: 1}, {port: 83, protocol: TCP, p: 1}, {port: 80,  p: 1}]}",
        "{ports: [{port: 83, protocol: TCP, p: 1}, {port: 80, b: 1, p: 1}, {port: 81, protocol: TCP, b: 1}, {port: 82, b: 1, p: 1}]}",
    );
}

#[test]
fn ports_with_two_keys_are_deleted_by_both() {
    let base = "{ports: [{port: 80, b: 1}, {port: 80, protocol: TCP, b: 2}]}";
    check(
        SERVICE,
        base,
        "{ports: [{port: 80, protocol: TCP, $patch: delete}]}",
        "{ports: [{port: 80, b: 1}]}",
    );
    check(SERVICE, base, "{ports: [{port: 80, $patch: delete}]}", base);
}

#[test]
fn of_duplicates_in_the_object_the_last_survives_even_if_the_patch_is_about_something_else() {
    check(
        POD,
        "{containers: [{name: a, env: [{name: X, value: '1'}, {name: Y, value: '2'}, {name: X, value: '3'}]}], n: 1}",
        "{n: 2}",
        "{containers: [{name: a, env: [{name: X, value: '3'}, {name: Y, value: '2'}]}], n: 2}",
    );
    check(
        SERVICE,
        "{ports: [{port: 80, b: 1}, {port: 80, protocol: TCP, b: 2}, {port: 80, protocol: TCP, b: 3}, {port: 82, b: 1}]}",
        "{ports: []}",
        "{ports: [{port: 80, b: 1}, {port: 80, protocol: TCP, b: 3}, {port: 82, b: 1}]}",
    );
}

#[test]
fn elements_without_their_key_collapse_as_in_kustomize() {
    check(
        POD,
        "{containers: [{name: a, image: x}, {image: q}, {image: r}, {name: b, image: y}, null, {}]}",
        "{containers: [{name: a, image: z}]}",
        "{containers: [{image: r}]}",
    );
    check(
        POD,
        "{containers: [{name: a, image: x}, {name: b, image: y}]}",
        "{containers: [{name: a, image: z}, {image: q}, {name: c}]}",
        "{containers: [{name: a, image: z}, {name: c}]}",
    );
    check(
        POD,
        "{x: 1}",
        "{containers: [{$patch: replace}, {name: c}, {name: d}, {name: c, image: x}, {name: e, $patch: delete}]}",
        "{x: 1, containers: [{$patch: replace}]}",
    );
    check(
        SERVICE,
        "{ports: [{port: 80, b: 1}, {protocol: TCP, b: 2}, {b: 3}]}",
        "{ports: [{port: 81, p: 1}, {protocol: UDP}]}",
        "{ports: [{b: 3}]}",
    );
    check(
        SERVICE,
        "{ports: [{port: 80, protocol: UDP, b: 1}, {port: 81, protocol: UDP, b: 1}]}",
        "{ports: [{protocol: UDP, p: 1}, {port: 82, protocol: UDP}]}",
        "{ports: [{port: 82, protocol: UDP}, {port: 80, protocol: UDP, b: 1}, {port: 81, protocol: UDP, b: 1}]}",
    );
}

#[test]
fn an_element_that_is_met_twice_has_lost_its_directive_the_second_time() {
    check(
        SERVICE,
        "{ports: [], x: 1}",
        "{ports: [{port: 82, name: q, $patch: replace}, {name: r}, {port: 82, name: p, protocol: TCP, $patch: delete}]}",
        "{ports: [{port: 82, name: p, protocol: TCP}], x: 1}",
    );
}

#[test]
fn different_kinds_of_nodes_do_not_merge() {
    for (spec, patch) in [("{a: 1}", "{a: [1]}"), ("{a: {b: 1}}", "{a: x}"), ("{a: [1]}", "{a: {b: 1}}")] {
        let error = merged(CUSTOM, spec, patch).unwrap_err();
        assert!(matches!(&error, MergeError::WrongKind { path, .. } if path == "spec.a"), "{error}");
    }
    assert!(merged(POD, "{containers: [a]}", "{containers: [{name: b}]}").is_err());
}

#[test]
fn a_patch_can_delete_the_whole_object() {
    let mut target = json!({"apiVersion": "v1", "kind": "Pod"});
    let patch = json!({"kind": "Pod", "$patch": "delete"});
    assert_eq!(strategic_merge(&mut target, &patch, Schema::built_in()), Ok(Merged::Deleted));
}

#[test]
fn an_object_inside_a_custom_resource_has_the_type_of_its_kind() {
    check(
        CUSTOM,
        "{manifest: {apiVersion: v1, kind: Pod, spec: {containers: [{name: a}]}}}",
        "{manifest: {spec: {containers: [{name: b}]}}}",
        "{manifest: {apiVersion: v1, kind: Pod, spec: {containers: [{name: b}, {name: a}]}}}",
    );
}

#[test]
fn an_irregular_list_that_is_too_long_is_refused_and_a_regular_one_is_not() {
    let irregular: Vec<Value> = (0..5_000).map(|_| json!({"image": "x"})).collect();
    let regular: Vec<Value> = (0..5_000).map(|n| json!({"name": n.to_string()})).collect();
    let merge = |containers: Vec<Value>| {
        let mut target = json!({"apiVersion": "v1", "kind": "Pod", "spec": {"containers": containers}});
        strategic_merge(&mut target, &json!({"spec": {}}), Schema::built_in())
    };
    assert!(matches!(merge(irregular), Err(MergeError::ListTooLong { .. })));
    assert_eq!(merge(regular), Ok(Merged::Kept));
}

#[test]
fn nesting_is_limited() {
    let mut deep = json!(1);
    for _ in 0..600 {
        deep = json!({"a": deep});
    }
    let result = strategic_merge(&mut deep.clone(), &json!({"b": 1}), Schema::built_in());
    assert!(matches!(result, Err(MergeError::TooDeep { .. })));
}

fn regular_list(key: &'static str) -> impl Strategy<Value = Value> {
    proptest::collection::btree_map("[a-d]", any_value(), 0..4).prop_map(move |items| {
        items.into_iter().map(|(name, value)| json!({key: name, "v": value})).collect::<Vec<_>>().into()
    })
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (0..3u8).prop_map(Value::from),
        "[a-c]{0,2}".prop_map(Value::from)
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::vec(("(a|b|name|\\$patch|containers|env)", inner), 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

fn pod(plain: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
    (plain, regular_list("name"), regular_list("mountPath")).prop_map(|(plain, containers, mounts)| {
        json!({"apiVersion": "v1", "kind": "Pod", "spec": {"containers": containers, "initContainers": [{"name": "i", "volumeMounts": mounts}], "x": plain}})
    })
}

fn has_directive(value: &Value) -> bool {
    match value {
        Value::Object(fields) => fields.contains_key(DIRECTIVE) || fields.values().any(has_directive),
        Value::Array(items) => items.iter().any(has_directive),
        _ => false,
    }
}

proptest! {
    #[test]
    fn a_patch_without_directives_does_the_same_when_it_is_applied_twice(target in pod(any_value()), patch in pod(any_value())) {
        prop_assume!(!has_directive(&patch) && !has_directive(&target));
        let mut once = target.clone();
        if strategic_merge(&mut once, &patch, Schema::built_in()).is_ok() {
            let mut twice = once.clone();
            prop_assert_eq!(strategic_merge(&mut twice, &patch, Schema::built_in()), Ok(Merged::Kept));
            prop_assert_eq!(twice, once);
        }
    }

    #[test]
    fn no_patch_makes_it_panic(target in any_value(), patch in any_value(), containers in any_value(), others in any_value()) {
        let object = |containers: Value, rest: Value| json!({"apiVersion": "v1", "kind": "Pod", "spec": {"containers": containers, "a": rest}});
        let _ = strategic_merge(&mut target.clone(), &patch, Schema::built_in());
        let _ = strategic_merge(&mut object(containers, target), &object(others, patch), Schema::built_in());
    }
}
