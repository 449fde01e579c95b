//! Properties: what an API server does to an object is never drift, and every change of a declared value is.

use proptest::prelude::*;
use serde_json::Map;

use super::*;

/// Scalars that no defaulting removes.
fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        (1_i64..1000).prop_map(Value::from),
        Just(Value::from(true)),
        "[a-z]{1,8}".prop_map(Value::from)
    ]
}

fn spec() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..4).prop_map(Value::from),
            prop::collection::btree_map("[a-e]{1,3}", inner, 1..5)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

fn custom(spec: &Value) -> Value {
    json!({ "apiVersion": "e.io/v1", "kind": "X", "metadata": { "name": "a" }, "spec": { "declared": spec } })
}

/// What an API server may add to mappings (outside of lists, whose items a schema would have to name), and any order.
fn as_served(value: &Value, in_list: bool) -> Value {
    match value {
        Value::Object(fields) => {
            let mut served: Map<String, Value> =
                fields.iter().rev().map(|(name, value)| (name.clone(), as_served(value, in_list))).collect();
            if !in_list {
                served.insert("defaulted".to_owned(), json!({ "by": "the server" }));
            }
            served.insert("emptied".to_owned(), json!({}));
            Value::Object(served)
        }
        Value::Array(items) => items.iter().map(|item| as_served(item, true)).collect(),
        scalar => scalar.clone(),
    }
}

/// The same value with its `index`-th scalar changed.
fn with_one_change(value: &Value, index: &mut usize) -> Value {
    match value {
        Value::Object(fields) => {
            fields.iter().map(|(name, value)| (name.clone(), with_one_change(value, index))).collect()
        }
        Value::Array(items) => items.iter().map(|item| with_one_change(item, index)).collect(),
        scalar => {
            let changed = *index == 0;
            *index = index.wrapping_sub(1);
            if changed { Value::from("changed by hand") } else { scalar.clone() }
        }
    }
}

fn leaves(value: &Value) -> usize {
    match value {
        Value::Object(fields) => fields.values().map(leaves).sum(),
        Value::Array(items) => items.iter().map(leaves).sum(),
        _ => 1,
    }
}

proptest! {
    #[test]
    fn what_the_server_adds_and_reorders_is_not_drift(spec in spec()) {
        let served = as_served(&custom(&spec), false);
        prop_assert_eq!(compared(&custom(&spec), &served, &no_rules()), Vec::<String>::new());
    }

    #[test]
    fn every_change_of_a_declared_value_is_drift(spec in spec(), place in any::<prop::sample::Index>()) {
        let mut index = place.index(leaves(&spec));
        let changed = with_one_change(&spec, &mut index);
        prop_assert_ne!(&changed, &spec);
        let served = as_served(&custom(&changed), false);
        prop_assert!(!compared(&custom(&spec), &served, &no_rules()).is_empty());
        let (predicted, live) = (object(custom(&spec)), object(custom(&changed)));
        prop_assert!(matches!(settle(&predicted, &live, &no_rules()), Settled::Differs(_)));
    }

    #[test]
    fn an_object_is_the_same_as_itself(spec in spec()) {
        let value = object(custom(&spec));
        prop_assert_eq!(local(&value, &value, &no_rules(), MANAGER), Local::Same);
        prop_assert_eq!(settle(&value, &value, &no_rules()), Settled::Same);
    }

    #[test]
    fn any_amount_is_the_same_in_thousandths(amount in 1_u32..100_000) {
        let resources = |cpu: Value| with_containers(json!([{ "name": "a", "resources": { "requests": { "cpu": cpu } } }]));
        let (whole, thousandths) = (json!(amount), json!(format!("{amount}000m")));
        prop_assert_eq!(compared(&resources(thousandths.clone()), &resources(whole), &no_rules()), Vec::<String>::new());
        let more = json!(format!("{}m", u64::from(amount) * 1000 + 1));
        prop_assert!(!compared(&resources(thousandths), &resources(more), &no_rules()).is_empty());
    }
}
