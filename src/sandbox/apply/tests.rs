//! Server-side apply as its users meet it.
#![allow(clippy::needless_pass_by_value, reason = "json! values are made to be passed on")]

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{ApplyError, Operation, apply, reset_fields, track_update};
use crate::object::Gvk;
use crate::object::fields::FieldSet;
use crate::object::fields::tests::any_value;
use crate::object::schema::{TypeRef, built_in, from_openapi};
use crate::sandbox::defaults::apply_defaults;

const EARLY: &str = "2026-01-01T00:00:00Z";
const LATE: &str = "2026-01-02T00:00:00Z";

struct Writer<'a> {
    manager: &'a str,
    now: &'a str,
    force: bool,
    subresource: &'a str,
}

fn by(manager: &str) -> Writer<'_> {
    Writer { manager, now: EARLY, force: false, subresource: "" }
}

impl Writer<'_> {
    fn late(self) -> Self {
        Self { now: LATE, ..self }
    }

    fn force(self) -> Self {
        Self { force: true, ..self }
    }

    fn with<T>(&self, schema: &TypeRef, object: &Value, act: impl FnOnce(&Operation<'_>) -> T) -> T {
        let reset = reset_fields(schema, self.subresource, true);
        act(&Operation {
            manager: self.manager,
            api_version: object["apiVersion"].as_str().unwrap(),
            subresource: self.subresource,
            now: self.now,
            reset: &reset,
        })
    }

    fn apply(&self, live: Option<&Value>, applied: &Value) -> Result<Value, ApplyError> {
        let schema = schema_of(applied);
        let new =
            self.with(&schema, applied, |operation| apply(live, applied, &schema, operation, self.force));
        new.map(|mut object| {
            apply_defaults(&mut object);
            super::keep_times(live, object)
        })
    }

    fn update(&self, live: Option<&Value>, mut new: Value) -> Value {
        apply_defaults(&mut new);
        let schema = schema_of(&new);
        self.with(&schema.clone(), &new.clone(), |operation| track_update(live, new, &schema, operation))
    }
}

fn schema_of(object: &Value) -> TypeRef {
    let gvk = Gvk::from_api_version(object["apiVersion"].as_str().unwrap(), object["kind"].as_str().unwrap());
    built_in(&gvk).unwrap_or_else(TypeRef::deduced)
}

fn deployment(spec: Value) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "shop"}, "spec": spec})
}

fn containers(items: Value) -> Value {
    deployment(json!({"template": {"spec": {"containers": items}}}))
}

fn entry<'a>(object: &'a Value, manager: &str) -> &'a Value {
    let entries = object["metadata"]["managedFields"].as_array().unwrap();
    entries.iter().find(|entry| entry["manager"] == manager).unwrap_or(&Value::Null)
}

fn fields_of(object: &Value, manager: &str) -> Value {
    entry(object, manager)["fieldsV1"].clone()
}

#[test]
fn the_first_apply_owns_what_it_declares_and_not_the_defaults() {
    let live = by("skiff").apply(None, &containers(json!([{"name": "main", "image": "a:1"}]))).unwrap();
    assert_eq!(live["spec"]["replicas"], 1);
    let expected = json!([{
        "manager": "skiff",
        "operation": "Apply",
        "apiVersion": "apps/v1",
        "time": EARLY,
        "fieldsType": "FieldsV1",
        "fieldsV1": {"f:spec": {"f:template": {"f:spec": {"f:containers": {
            "k:{\"name\":\"main\"}": {".": {}, "f:image": {}, "f:name": {}},
        }}}}},
    }]);
    assert_eq!(live["metadata"]["managedFields"], expected);
}

#[test]
fn applying_the_same_again_changes_nothing_not_even_times() {
    let applied = containers(json!([{"name": "main", "image": "a:1"}]));
    let live = by("skiff").apply(None, &applied).unwrap();
    assert_eq!(by("skiff").late().apply(Some(&live), &applied).unwrap(), live);
}

#[test]
fn a_field_that_the_manager_drops_is_removed_unless_somebody_else_owns_it() {
    let both = json!({"app": "x", "tier": "y"});
    let mut applied = deployment(json!({"paused": true}));
    applied["metadata"]["labels"] = both.clone();
    let live = by("skiff").apply(None, &applied).unwrap();
    let mut other = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "shop"}});
    other["metadata"]["labels"] = json!({"tier": "y"});
    let live = by("other").apply(Some(&live), &other).unwrap();
    assert_eq!(fields_of(&live, "other"), json!({"f:metadata": {"f:labels": {"f:tier": {}}}}));

    let live = by("skiff").late().apply(Some(&live), &deployment(json!({}))).unwrap();
    assert_eq!(live["metadata"]["labels"], json!({"tier": "y"}));
    assert!(live["spec"].get("paused").is_none());
    assert_eq!(entry(&live, "other")["time"], Value::Null, "an apply that changes nothing sets no time");
}

#[test]
fn another_value_is_a_conflict_in_the_api_servers_words() {
    let live = by("kubectl-client-side-apply").update(None, deployment(json!({"replicas": 2})));
    let error = by("skiff").apply(Some(&live), &deployment(json!({"replicas": 3}))).unwrap_err();
    let message = "Apply failed with 1 conflict: conflict with \"kubectl-client-side-apply\" using apps/v1: .spec.replicas";
    assert_eq!(error.to_string(), message);

    let live = by("argo").apply(Some(&live), &containers(json!([{"name": "main", "image": "a:1"}]))).unwrap();
    let other = deployment(json!({
        "replicas": 3,
        "template": {"spec": {"containers": [{"name": "main", "image": "a:2"}]}},
    }));
    let error = by("skiff").apply(Some(&live), &other).unwrap_err();
    let message = "Apply failed with 2 conflicts: conflicts with \"argo\":\n\
                   - .spec.template.spec.containers[name=\"main\"].image\n\
                   conflicts with \"kubectl-client-side-apply\" using apps/v1:\n\
                   - .spec.replicas";
    assert_eq!(error.to_string(), message);
}

#[test]
fn the_same_value_is_shared_and_force_takes_the_field() {
    let live = by("a").apply(None, &deployment(json!({"replicas": 2}))).unwrap();
    let live = by("b").apply(Some(&live), &deployment(json!({"replicas": 2}))).unwrap();
    assert_eq!(fields_of(&live, "a"), fields_of(&live, "b"));
    let live = by("b").force().apply(Some(&live), &deployment(json!({"replicas": 5}))).unwrap();
    assert_eq!(live["spec"]["replicas"], 5);
    assert_eq!(*entry(&live, "a"), Value::Null, "a owns nothing any more");
}

#[test]
fn who_scales_by_hand_takes_the_field_from_the_applier() {
    let live = by("skiff").apply(None, &deployment(json!({"replicas": 2, "paused": true}))).unwrap();
    let mut edited = live.clone();
    edited["spec"]["replicas"] = json!(7);
    let live = by("kubectl-edit").late().update(Some(&live), edited);
    assert_eq!(fields_of(&live, "kubectl-edit"), json!({"f:spec": {"f:replicas": {}}}));
    assert_eq!(fields_of(&live, "skiff"), json!({"f:spec": {"f:paused": {}}}));
    assert_eq!(entry(&live, "skiff")["time"], EARLY);
    assert_eq!(entry(&live, "kubectl-edit")["time"], LATE);
}

#[test]
fn an_update_that_removes_a_field_removes_its_owners() {
    let live = by("skiff").apply(None, &deployment(json!({"replicas": 2, "paused": true}))).unwrap();
    let mut edited = live.clone();
    edited["spec"].as_object_mut().unwrap().shift_remove("paused");
    let live = by("kubectl-edit").update(Some(&live), edited);
    assert_eq!(fields_of(&live, "skiff"), json!({"f:spec": {"f:replicas": {}}}));
    assert_eq!(*entry(&live, "kubectl-edit"), Value::Null);
}

#[test]
fn items_are_merged_by_key_and_applied_items_keep_their_order() {
    let live = by("skiff")
        .apply(None, &containers(json!([{"name": "a", "image": "a:1"}, {"name": "b", "image": "b:1"}])))
        .unwrap();
    let live =
        by("injector").apply(Some(&live), &containers(json!([{"name": "proxy", "image": "p:1"}]))).unwrap();
    let reversed = containers(json!([{"name": "b", "image": "b:1"}, {"name": "a", "image": "a:1"}]));
    let live = by("skiff").apply(Some(&live), &reversed).unwrap();
    let names: Vec<_> = live["spec"]["template"]["spec"]["containers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| &c["name"])
        .collect();
    assert_eq!(names, ["b", "proxy", "a"], "an item that only the live list has stays behind its neighbour");
}

#[test]
fn a_dropped_item_goes_but_keeps_what_others_own_of_it() {
    let two = json!([{"name": "a", "image": "a:1"}, {"name": "b", "image": "b:1"}]);
    let live = by("skiff").apply(None, &containers(two)).unwrap();
    let gone = by("skiff").apply(Some(&live), &containers(json!([{"name": "a", "image": "a:1"}]))).unwrap();
    assert_eq!(gone["spec"]["template"]["spec"]["containers"].as_array().unwrap().len(), 1);

    let live = by("tuner").apply(Some(&live), &containers(json!([{"name": "b", "tty": true}]))).unwrap();
    let live = by("skiff").apply(Some(&live), &containers(json!([{"name": "a", "image": "a:1"}]))).unwrap();
    let left = &live["spec"]["template"]["spec"]["containers"][1];
    assert_eq!(left["name"], "b");
    assert_eq!(left["tty"], true);
    assert!(left.get("image").is_none());
}

#[test]
fn an_atomic_list_is_replaced_and_conflicts_as_a_whole() {
    let tolerate = |keys: &[&str]| {
        let list: Vec<Value> = keys.iter().map(|key| json!({"key": key})).collect();
        deployment(json!({"template": {"spec": {"tolerations": list}}}))
    };
    let live = by("a").apply(None, &tolerate(&["x", "y"])).unwrap();
    let error = by("b").apply(Some(&live), &tolerate(&["x"])).unwrap_err();
    assert!(error.to_string().ends_with(": .spec.template.spec.tolerations"), "{error}");
    let live = by("b").force().apply(Some(&live), &tolerate(&["z"])).unwrap();
    assert_eq!(live["spec"]["template"]["spec"]["tolerations"], json!([{"key": "z"}]));
}

#[test]
fn a_set_keeps_everybodys_items() {
    let map = |finalizers: Value| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "finalizers": finalizers}});
    let live = by("a").apply(None, &map(json!(["a/a", "s/s"]))).unwrap();
    let live = by("b").apply(Some(&live), &map(json!(["b/b", "s/s"]))).unwrap();
    let live = by("a").apply(Some(&live), &map(json!([]))).unwrap();
    assert_eq!(live["metadata"]["finalizers"], json!(["b/b", "s/s"]));
}

#[test]
fn an_object_that_was_never_tracked_belongs_to_before_first_apply() {
    let mut live = deployment(json!({"replicas": 2}));
    live["metadata"]["uid"] = json!("u");
    apply_defaults(&mut live);
    let error = by("skiff").apply(Some(&live), &deployment(json!({"replicas": 3}))).unwrap_err();
    assert!(error.to_string().contains("conflict with \"before-first-apply\" using apps/v1"), "{error}");
}

#[test]
fn kubectl_may_take_over_what_its_client_side_apply_declared() {
    let mut live = deployment(json!({"replicas": 2}));
    let last = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {"replicas": 2}});
    live["metadata"]["annotations"] =
        json!({"kubectl.kubernetes.io/last-applied-configuration": last.to_string()});
    let live = by("kubectl-client-side-apply").update(None, live);
    assert!(by("skiff").apply(Some(&live), &deployment(json!({"replicas": 3}))).is_err());
    let live = by("kubectl").apply(Some(&live), &deployment(json!({"replicas": 3}))).unwrap();
    assert_eq!(live["spec"]["replicas"], 3);
    let annotation =
        live.pointer("/metadata/annotations/kubectl.kubernetes.io~1last-applied-configuration").unwrap();
    assert!(annotation.as_str().unwrap().contains("\"replicas\":3"), "{annotation}");
}

#[test]
fn a_status_write_owns_the_status_under_its_subresource() {
    let live = by("skiff").apply(None, &deployment(json!({"replicas": 2}))).unwrap();
    let mut changed = live.clone();
    changed["status"] = json!({"replicas": 2});
    changed["spec"]["replicas"] = json!(9);
    let writer = Writer { subresource: "status", ..by("controller") };
    let live = writer.update(Some(&live), changed);
    let owned = entry(&live, "controller");
    assert_eq!(owned["fieldsV1"], json!({"f:status": {"f:replicas": {}}}));
    assert_eq!(owned["subresource"], "status");
}

#[test]
fn a_created_object_is_owned_with_its_defaults_by_its_creator() {
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x"}, "spec": {"ports": [{"port": 80}]}});
    let live = by("kubectl-create").update(None, service);
    let expected = json!({"f:spec": {
        "f:internalTrafficPolicy": {},
        "f:ports": {".": {}, "k:{\"port\":80,\"protocol\":\"TCP\"}": {
            ".": {}, "f:port": {}, "f:protocol": {}, "f:targetPort": {},
        }},
        "f:sessionAffinity": {},
        "f:type": {},
    }});
    assert_eq!(fields_of(&live, "kubectl-create"), expected);
}

#[test]
fn managed_fields_can_be_reset_but_not_lost() {
    let live = by("skiff").apply(None, &deployment(json!({"replicas": 2}))).unwrap();
    let mut without = live.clone();
    without["metadata"].as_object_mut().unwrap().shift_remove("managedFields");
    assert_eq!(by("x").update(Some(&live), without), live);
    let mut reset = live.clone();
    reset["metadata"]["managedFields"] = json!([]);
    let reset = by("x").update(Some(&live), reset);
    assert!(reset["metadata"].get("managedFields").is_none());
}

#[test]
fn old_updates_are_merged_when_there_are_too_many() {
    let mut live = by("creator").update(
        None,
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "data": {"a": "b"}}),
    );
    for index in 0..20 {
        let mut new = live.clone();
        new["data"][format!("key{index}")] = json!("value");
        live = by(&format!("manager{index}")).update(Some(&live), new);
    }
    let entries = live["metadata"]["managedFields"].as_array().unwrap();
    assert_eq!(entries.len(), 10);
    assert!(entry(&live, "ancient-changes")["fieldsV1"]["f:data"].get("f:key0").is_some());
}

#[test]
fn what_does_not_fit_the_schema_is_refused_with_its_place() {
    let error = by("skiff").apply(None, &deployment(json!({"replica": 2}))).unwrap_err();
    let message = "failed to create typed patch object (shop/web; apps/v1, Kind=Deployment): .spec.replica: field not declared in schema";
    assert_eq!(error.to_string(), message);
    let twice = containers(json!([{"name": "a"}, {"name": "a"}]));
    let error = by("skiff").apply(None, &twice).unwrap_err().to_string();
    assert!(
        error.ends_with(".spec.template.spec.containers: duplicate entries for key [name=\"a\"]"),
        "{error}"
    );
}

#[test]
fn a_custom_resource_is_merged_by_its_schema() {
    let schema = from_openapi(
        &json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
            "steps": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                "items": {"type": "object", "properties": {"name": {"type": "string"}, "run": {"type": "string"}}}},
        }}}}),
    );
    let pipeline = |name: &str| json!({"apiVersion": "example.org/v1", "kind": "Pipeline", "metadata": {"name": "x"}, "spec": {"steps": [{"name": name, "run": "r"}]}});
    let run = |manager: &str, live: Option<&Value>, applied: &Value| {
        by(manager)
            .with(&schema, applied, |operation| apply(live, applied, &schema, operation, false))
            .unwrap()
    };
    let live = run("a", None, &pipeline("one"));
    let live = run("b", Some(&live), &pipeline("two"));
    assert_eq!(live["spec"]["steps"].as_array().unwrap().len(), 2);
    let deduced = TypeRef::deduced();
    let live =
        by("a").with(&deduced, &live, |operation| apply(None, &pipeline("one"), &deduced, operation, false));
    let other = by("b").with(&deduced, &pipeline("two"), |operation| {
        apply(Some(live.as_ref().unwrap()), &pipeline("two"), &deduced, operation, false)
    });
    assert!(matches!(other, Err(ApplyError::Conflicts(_))), "without a schema the list is one field");
}

fn configuration() -> impl Strategy<Value = Value> {
    let container = (0..3_u8, 0..3_u8, prop::option::of(any::<bool>()), prop::collection::vec(0..3_u8, 0..3));
    let container = container.prop_map(|(name, image, tty, ports)| {
        let mut container = json!({"name": format!("c{name}")});
        container["image"] = json!(format!("i:{image}"));
        if let Some(tty) = tty {
            container["tty"] = json!(tty);
        }
        let mut ports = ports;
        ports.sort_unstable();
        ports.dedup();
        if !ports.is_empty() {
            let ports: Vec<Value> = ports.iter().map(|port| json!({"containerPort": 80 + port})).collect();
            container["ports"] = json!(ports);
        }
        container
    });
    let labels = prop::collection::btree_map("[ab]", "[xy]", 0..3);
    (prop::collection::vec(container, 1..4), labels, prop::option::of(0..4_i64)).prop_map(
        |(list, labels, replicas)| {
            let mut seen = std::collections::BTreeSet::new();
            let list: Vec<Value> =
                list.into_iter().filter(|item| seen.insert(item["name"].to_string())).collect();
            let mut object = containers(json!(list));
            // An empty mapping is owned but not stored, which the API server takes for a conflict at the next apply.
            if !labels.is_empty() {
                object["metadata"]["labels"] = json!(labels);
            }
            if let Some(replicas) = replicas {
                object["spec"]["replicas"] = json!(replicas);
            }
            object
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn applying_twice_is_applying_once(first in configuration(), second in configuration(), third in configuration()) {
        let live = by("a").apply(None, &first).unwrap();
        let live = by("b").force().apply(Some(&live), &second).unwrap();
        let once = by("a").force().late().apply(Some(&live), &third).unwrap();
        prop_assert_eq!(by("a").late().apply(Some(&once), &third).unwrap(), once);
    }

    #[test]
    fn after_an_apply_the_manager_owns_what_it_declared(first in configuration(), second in configuration()) {
        let live = by("a").apply(None, &first).unwrap();
        let live = by("a").apply(Some(&live), &second).unwrap();
        let mut declared = second.clone();
        for field in ["apiVersion", "kind"] {
            declared.as_object_mut().unwrap().shift_remove(field);
        }
        for field in ["name", "namespace"] {
            declared["metadata"].as_object_mut().unwrap().shift_remove(field);
        }
        if declared["metadata"] == json!({}) {
            declared.as_object_mut().unwrap().shift_remove("metadata");
        }
        let declared = FieldSet::of_value(&declared, &schema_of(&second));
        let recorded = entry(&live, "a").get("fieldsV1").cloned().unwrap_or_else(|| json!({}));
        prop_assert_eq!(FieldSet::from_fields_v1(&recorded).unwrap(), declared);
    }

    #[test]
    fn the_only_manager_gets_exactly_what_it_applied_last(first in configuration(), second in configuration()) {
        let live = by("a").apply(None, &first).unwrap();
        let again = by("a").apply(Some(&live), &second).unwrap();
        let mut fresh = by("a").apply(None, &second).unwrap();
        fresh["metadata"]["managedFields"] = again["metadata"]["managedFields"].clone();
        let unordered = |object: &Value| crate::sandbox::defaults::sorted(object);
        let strip = |mut object: Value| {
            object["metadata"].as_object_mut().unwrap().shift_remove("managedFields");
            object
        };
        prop_assert_eq!(unordered(&strip(again)), unordered(&strip(fresh)));
    }

    #[test]
    fn no_value_makes_it_panic(live in any_value(), applied in any_value()) {
        let wrap = |value: Value| {
            let mut value = if value.is_object() { value } else { json!({}) };
            value["apiVersion"] = json!("apps/v1");
            value["kind"] = json!("Deployment");
            value
        };
        let (mut live, applied) = (wrap(live), wrap(applied));
        apply_defaults(&mut live);
        let _ = by("a").apply(Some(&live), &applied);
        let _ = by("a").update(Some(&live), applied);
    }
}
