//! Field sets: their JSON form, their algebra, and the parts of values that they name.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{FieldSet, FieldsError, PathElement, extract, path_to_string, remove};
use crate::object::Gvk;
use crate::object::schema::{TypeRef, built_in};

fn deployment() -> TypeRef {
    built_in(&Gvk::new("apps", "v1", "Deployment")).unwrap()
}

fn set(value: &Value) -> FieldSet {
    FieldSet::from_fields_v1(value).unwrap()
}

#[test]
fn managed_fields_are_written_in_the_api_servers_form() {
    let object = json!({
        "metadata": {"labels": {"app": "x"}, "finalizers": ["example.org/b", "example.org/a"]},
        "spec": {"template": {"spec": {
            "nodeSelector": {"disk": "ssd"},
            "containers": [{"name": "main", "args": ["-v"], "ports": [{"containerPort": 80}], "resources": {}}],
        }}},
    });
    let fields = FieldSet::of_value(&object, &deployment()).to_fields_v1();
    let expected = json!({
        "f:metadata": {
            "f:finalizers": {"v:\"example.org/a\"": {}, "v:\"example.org/b\"": {}},
            "f:labels": {"f:app": {}},
        },
        "f:spec": {"f:template": {"f:spec": {
            "f:containers": {"k:{\"name\":\"main\"}": {
                ".": {},
                "f:args": {},
                "f:name": {},
                "f:ports": {"k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}}},
                "f:resources": {},
            }},
            "f:nodeSelector": {},
        }}},
    });
    assert_eq!(fields.to_string(), expected.to_string());
}

#[test]
fn an_atomic_list_is_one_field_and_an_unknown_kind_has_only_atomic_lists() {
    let object = json!({"spec": {"list": [{"name": "a"}], "map": {"deep": {}}}});
    let fields = FieldSet::of_value(&object, &TypeRef::deduced()).to_fields_v1();
    let expected = json!({"f:spec": {".": {}, "f:list": {}, "f:map": {".": {}, "f:deep": {}}}});
    assert_eq!(fields, expected);
}

#[test]
fn a_path_reads_as_in_conflict_messages() {
    let path = [
        PathElement::field("spec"),
        PathElement::field("ports"),
        PathElement::key(vec![("protocol".to_owned(), json!("TCP")), ("port".to_owned(), json!(80))]),
        PathElement::field("finalizers"),
        PathElement::Value(json!("x")),
        PathElement::Index(3),
    ];
    assert_eq!(path_to_string(&path), ".spec.ports[port=80,protocol=\"TCP\"].finalizers[=\"x\"][3]");
}

#[test]
fn a_difference_keeps_children_unless_it_is_recursive() {
    let all = set(&json!({"f:a": {".": {}, "f:b": {}, "f:c": {}}, "f:d": {}}));
    let parent = set(&json!({"f:a": {}}));
    assert_eq!(all.difference(&parent).to_fields_v1(), json!({"f:a": {"f:b": {}, "f:c": {}}, "f:d": {}}));
    assert_eq!(all.recursive_difference(&parent).to_fields_v1(), json!({"f:d": {}}));
    assert!(all.difference(&all).is_empty());
}

#[test]
fn leaves_are_the_paths_without_others_below_them() {
    let all = set(&json!({"f:a": {".": {}, "f:b": {}}, "f:c": {}}));
    let leaves: Vec<String> = all.leaves().iter().map(|path| path_to_string(path)).collect();
    assert_eq!(leaves, [".c", ".a.b"]);
}

#[test]
fn element_types_of_later_versions_are_skipped_and_nonsense_is_refused() {
    assert_eq!(set(&json!({"f:a": {}, "x:new": {}})).to_fields_v1(), json!({"f:a": {}}));
    let refused = FieldSet::from_fields_v1(&json!({"k:{": {}})).unwrap_err();
    assert!(matches!(refused, FieldsError::BadElement { .. }), "{refused}");
    assert!(FieldSet::from_fields_v1(&json!({"f:a": 1})).is_err());
    let mut deep = json!({});
    for _ in 0..1000 {
        deep = json!({"f:a": deep});
    }
    assert!(matches!(FieldSet::from_fields_v1(&deep), Err(FieldsError::TooDeep { .. })));
    // Dropping a deeply nested value must not overflow the stack either.
    std::mem::forget(deep);
}

#[test]
fn extract_gives_exactly_what_a_manager_declared() {
    let live = json!({
        "metadata": {"name": "x", "labels": {"app": "x", "other": "y"}},
        "spec": {"replicas": 3, "template": {"spec": {"containers": [
            {"name": "sidecar", "image": "s:1"},
            {"name": "main", "image": "m:1", "imagePullPolicy": "Always"},
        ], "tolerations": [{"key": "a"}, {"key": "b"}]}}},
    });
    let applied = json!({
        "metadata": {"labels": {"app": "x"}},
        "spec": {"template": {"spec": {
            "containers": [{"name": "main", "image": "m:0"}],
            "tolerations": [],
        }}},
    });
    let declared = FieldSet::of_value(&applied, &deployment());
    let expected = json!({
        "metadata": {"labels": {"app": "x"}},
        "spec": {"template": {"spec": {
            "containers": [{"name": "main", "image": "m:1"}],
            "tolerations": [{"key": "a"}, {"key": "b"}],
        }}},
    });
    assert_eq!(extract(&live, &declared, &deployment()), expected);
}

#[test]
fn remove_takes_items_by_key_and_leaves_the_rest() {
    let live = json!({"spec": {"replicas": 3, "template": {"spec": {"containers": [
        {"name": "a", "image": "a:1"}, {"name": "b", "image": "b:1"},
    ]}}}});
    let gone = set(&json!({"f:spec": {"f:template": {"f:spec": {"f:containers": {
        "k:{\"name\":\"a\"}": {".": {}, "f:image": {}, "f:name": {}},
    }}}}}));
    let rest = json!({"spec": {"replicas": 3, "template": {"spec": {"containers": [{"name": "b", "image": "b:1"}]}}}});
    assert_eq!(remove(&live, &gone, &deployment()), rest);
}

fn element() -> impl Strategy<Value = PathElement> {
    prop_oneof![
        "[a-z.\"]{1,4}".prop_map(PathElement::Field),
        "[a-z]{1,3}".prop_map(|text| PathElement::Value(json!(text))),
        any::<i32>().prop_map(|number| PathElement::Value(json!(number))),
        ("[a-c]", any::<bool>())
            .prop_map(|(name, value)| PathElement::key(vec![(name, json!(value)), ("p".into(), json!(1))])),
        (0_usize..9).prop_map(PathElement::Index),
    ]
}

fn field_set() -> impl Strategy<Value = FieldSet> {
    prop::collection::vec(prop::collection::vec(element(), 1..5), 0..12).prop_map(|paths| {
        let mut set = FieldSet::new();
        for path in paths {
            set.insert(&path);
        }
        set
    })
}

pub(crate) fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-z0-9]{0,4}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 48, 6, |inner| {
        let name = prop_oneof![
            Just("metadata".to_owned()),
            Just("spec".to_owned()),
            Just("template".to_owned()),
            Just("containers".to_owned()),
            Just("ports".to_owned()),
            Just("name".to_owned()),
            Just("finalizers".to_owned()),
            "[a-z]{1,3}",
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((name, inner), 0..5)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn reading_what_was_written_gives_the_same_set(set in field_set()) {
        prop_assert_eq!(FieldSet::from_fields_v1(&set.to_fields_v1()).unwrap(), set);
    }

    #[test]
    fn the_set_operations_obey_their_laws(a in field_set(), b in field_set()) {
        prop_assert_eq!(a.union(&b), b.union(&a));
        prop_assert_eq!(a.intersection(&b), b.intersection(&a));
        prop_assert_eq!(a.difference(&b).union(&a.intersection(&b)), a.clone());
        prop_assert!(a.difference(&b).intersection(&b).is_empty());
        for path in a.paths() {
            prop_assert!(a.contains(&path));
            prop_assert_eq!(a.difference(&b).contains(&path), !b.contains(&path));
        }
    }

    #[test]
    fn no_value_makes_them_panic(value in any_value(), set in field_set()) {
        for schema in [deployment(), TypeRef::deduced()] {
            let declared = FieldSet::of_value(&value, &schema);
            let _ = extract(&value, &declared, &schema);
            let _ = remove(&value, &set, &schema);
            let _ = FieldSet::from_fields_v1(&value);
        }
    }
}
