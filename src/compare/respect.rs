//! `RespectIgnoreDifferences=true`: what may differ is applied as the cluster has it, so that an apply neither resets
//! nor removes it.

use serde_json::Value;

use super::Rules;
use crate::object::{
    Object,
    schema::{self, ListType, TypeRef},
};

/// How deep values are walked.
const MAX_DEPTH: usize = 128;

/// The declared object with everything that the rules ignore as it is in the cluster. Where the cluster has nothing
/// there, nothing is declared.
pub fn respect(desired: &Object, live: &Object, rules: &Rules) -> Object {
    if !rules.concern(&live.key()) {
        return desired.clone();
    }
    let mut wanted = desired.value().clone();
    let mut rest = live.value().clone();
    rules.remove_ignored(live, [&mut wanted, &mut rest]);
    let schema = schema::built_in(&desired.gvk()).unwrap_or_else(TypeRef::deduced);
    // Of the metadata only labels and annotations are anybody's to declare.
    for part in ["labels", "annotations"] {
        let path = format!("/metadata/{part}");
        if let (Some(live), Some(rest), Some(wanted)) =
            (live.value().pointer(&path), rest.pointer(&path), wanted.pointer_mut(&path))
        {
            graft(wanted, rest, live, &schema.field("metadata").field(part), 0);
        }
    }
    if let (Some(wanted), Some(rest), Some(live)) =
        (wanted.as_object_mut(), rest.as_object(), live.value().as_object())
    {
        for (name, value) in live {
            if matches!(name.as_str(), "apiVersion" | "kind" | "metadata" | "status") {
                continue;
            }
            match (rest.get(name), wanted.get_mut(name)) {
                (None, _) => {
                    wanted.insert(name.clone(), value.clone());
                }
                (Some(rest), Some(wanted)) => graft(wanted, rest, value, &schema.field(name), 1),
                (Some(_), None) => {}
            }
        }
    }
    Object::from_value(wanted).unwrap_or_else(|_| desired.clone())
}

/// Puts into `wanted` what `live` has and `rest` (the same without what is ignored) has not.
fn graft(wanted: &mut Value, rest: &Value, live: &Value, schema: &TypeRef, depth: usize) {
    if rest == live || depth > MAX_DEPTH {
        return;
    }
    match (wanted, rest, live) {
        (Value::Object(wanted), Value::Object(rest), Value::Object(live)) => {
            for (name, value) in live {
                match (rest.get(name), wanted.get_mut(name)) {
                    (None, _) => {
                        wanted.insert(name.clone(), value.clone());
                    }
                    (Some(rest), Some(wanted)) => graft(wanted, rest, value, &schema.field(name), depth + 1),
                    (Some(_), None) => {}
                }
            }
        }
        (Value::Array(wanted), Value::Array(rest), Value::Array(live)) => {
            items(wanted, rest, live, schema, depth);
        }
        (wanted, _, live) => *wanted = live.clone(),
    }
}

fn items(wanted: &mut Vec<Value>, rest: &[Value], live: &[Value], schema: &TypeRef, depth: usize) {
    let is_keyed = matches!(schema.list_type(), ListType::Map { .. } | ListType::Set);
    let of = schema.items();
    if is_keyed {
        for item in live {
            let Ok(element) = schema.item_element(item) else { continue };
            let is_same = |other: &&Value| schema.item_element(other).ok().as_ref() == Some(&element);
            let kept = rest.iter().find(is_same);
            let declared = wanted.iter_mut().find(|other| is_same(&&**other));
            match (kept, declared) {
                (None, None) => wanted.push(item.clone()),
                (Some(rest), Some(declared)) => graft(declared, rest, item, &of, depth + 1),
                _ => {}
            }
        }
    } else if wanted.len() == live.len() && rest.len() == live.len() {
        for ((wanted, rest), live) in wanted.iter_mut().zip(rest).zip(live) {
            graft(wanted, rest, live, &of, depth + 1);
        }
    } else {
        *wanted = live.to_vec();
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{api::ResourceIgnoreDifferences, compare::SystemRules};

    #[allow(clippy::needless_pass_by_value, reason = "values are written in place")]
    fn respected(desired: Value, live: Value, pointers: &[&str], expressions: &[&str]) -> Value {
        let object = |spec: Value| {
            Object::from_value(json!({
                "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "a" }, "spec": spec,
            }))
            .unwrap()
        };
        let rule = ResourceIgnoreDifferences {
            group: "apps".to_owned(),
            kind: "Deployment".to_owned(),
            json_pointers: pointers.iter().map(ToString::to_string).collect(),
            jq_path_expressions: expressions.iter().map(ToString::to_string).collect(),
            ..ResourceIgnoreDifferences::default()
        };
        let (rules, problems) = Rules::compile(&[rule], &SystemRules::default());
        assert_eq!(problems, []);
        respect(&object(desired), &object(live), &rules).value()["spec"].clone()
    }

    #[test]
    fn an_ignored_field_is_applied_as_the_cluster_has_it() {
        let spec = respected(
            json!({ "replicas": 3, "paused": true }),
            json!({ "replicas": 7, "paused": false }),
            &["/spec/replicas"],
            &[],
        );
        assert_eq!(spec, json!({ "paused": true, "replicas": 7 }));
    }

    #[test]
    fn an_ignored_field_that_the_cluster_does_not_have_is_not_declared() {
        let spec = respected(json!({ "replicas": 3, "paused": true }), json!({}), &["/spec/replicas"], &[]);
        assert_eq!(spec, json!({ "paused": true }));
    }

    #[test]
    fn an_ignored_item_of_a_list_is_left_alone_and_the_others_are_applied() {
        let containers = |items: Value| json!({ "template": { "spec": { "containers": items } } });
        let spec = respected(
            containers(json!([{ "name": "app", "image": "app:2" }])),
            containers(json!([
                { "name": "app", "image": "app:1", "imagePullPolicy": "Always" },
                { "name": "istio-proxy", "image": "proxy:1" },
            ])),
            &[],
            &[".spec.template.spec.containers[] | select(.name == \"istio-proxy\")"],
        );
        assert_eq!(
            spec,
            containers(json!([
                { "name": "app", "image": "app:2" },
                { "name": "istio-proxy", "image": "proxy:1" },
            ]))
        );
        let spec = respected(
            containers(json!([{ "name": "app", "image": "app:2", "workingDir": "/a" }])),
            containers(json!([{ "name": "app", "image": "app:1", "workingDir": "/b" }])),
            &[],
            &[".spec.template.spec.containers[].image"],
        );
        assert_eq!(spec, containers(json!([{ "name": "app", "workingDir": "/a", "image": "app:1" }])));
    }
}
