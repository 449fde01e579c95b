//! What the built-in table and a CRD's schema say.

use serde_json::{Value, json};

use super::{ListType, Scalar, TypeRef, built_in, built_in_kinds, from_openapi};
use crate::object::Gvk;

fn kind(group: &str, kind: &str) -> TypeRef {
    built_in(&Gvk::new(group, "v1", kind)).unwrap_or_else(|| panic!("{kind} is missing"))
}

fn at(schema: &TypeRef, path: &str) -> TypeRef {
    path.split('.').fold(schema.clone(), |schema, step| match step {
        "[]" => schema.items(),
        name => schema.declared_field(name).unwrap_or_else(|| schema.field(name)),
    })
}

fn keys(list: &[&str]) -> ListType {
    ListType::Map(list.iter().map(|&key| key.to_owned()).collect())
}

#[test]
fn lists_of_built_in_kinds_are_merged_by_the_keys_of_server_side_apply() {
    let pod = at(&kind("apps", "Deployment"), "spec.template.spec");
    for (path, expected) in [
        ("containers", keys(&["name"])),
        ("containers.[].ports", keys(&["containerPort", "protocol"])),
        ("containers.[].env", keys(&["name"])),
        ("containers.[].envFrom", ListType::Atomic),
        ("containers.[].volumeMounts", keys(&["mountPath"])),
        ("containers.[].command", ListType::Atomic),
        ("volumes", keys(&["name"])),
        ("tolerations", ListType::Atomic),
        ("hostAliases", keys(&["ip"])),
        ("imagePullSecrets", keys(&["name"])),
        ("topologySpreadConstraints", keys(&["topologyKey", "whenUnsatisfiable"])),
    ] {
        assert_eq!(*at(&pod, path).list_type(), expected, "{path}");
    }
    let metadata = at(&kind("", "Service"), "metadata");
    assert_eq!(*at(&metadata, "finalizers").list_type(), ListType::Set);
    assert_eq!(*at(&metadata, "ownerReferences").list_type(), keys(&["uid"]));
    assert_eq!(*at(&kind("", "Service"), "spec.ports").list_type(), keys(&["port", "protocol"]));
    assert_eq!(*at(&kind("rbac.authorization.k8s.io", "Role"), "rules").list_type(), ListType::Atomic);
}

#[test]
fn a_strategic_merge_patch_has_other_keys() {
    let container = at(&kind("", "Pod"), "spec.containers.[]");
    let ports = container.field_info("ports").unwrap();
    assert_eq!(ports.patch.merge_key.as_deref(), Some("containerPort"));
    let volumes = at(&kind("", "Pod"), "spec");
    let volumes = volumes.field_info("volumes").unwrap();
    assert!(volumes.patch.merge && volumes.patch.retain_keys);
    let strategy = at(&kind("apps", "Deployment"), "spec");
    assert!(strategy.field_info("strategy").unwrap().patch.retain_keys);
}

#[test]
fn selectors_and_references_are_atomic() {
    let deployment = kind("apps", "Deployment");
    assert!(at(&deployment, "spec.selector").is_atomic_map());
    assert!(at(&deployment, "spec.template.spec.nodeSelector").is_atomic_map());
    assert!(
        at(&deployment, "spec.template.spec.containers.[].env.[].valueFrom.secretKeyRef").is_atomic_map()
    );
    assert!(!at(&deployment, "metadata.labels").is_atomic_map());
}

#[test]
fn a_missing_list_key_has_its_default() {
    let ports = at(&kind("", "Service"), "spec.ports");
    assert_eq!(ports.default_of_key("protocol"), Some(json!("TCP")));
    assert_eq!(ports.item_element(&json!({"port": 80})).unwrap().to_string(), "[port=80,protocol=\"TCP\"]");
    assert_eq!(ports.item_element(&json!({"name": "x"})).unwrap().to_string(), "[port=0,protocol=\"TCP\"]");
}

#[test]
fn quantities_and_ports_are_known() {
    let container = at(&kind("", "Pod"), "spec.containers.[]");
    assert!(at(&container, "resources.limits.cpu").is_quantity());
    assert!(at(&container, "livenessProbe.httpGet.port").is_int_or_string());
    assert!(at(&kind("", "PersistentVolumeClaim"), "spec.resources.requests.storage").is_quantity());
    assert_eq!(at(&kind("", "Secret"), "data.key").scalar(), Some(Scalar::Bytes));
}

#[test]
fn every_kind_of_the_table_has_its_identity_fields_and_refers_to_known_types() {
    let mut count = 0;
    for gvk in built_in_kinds() {
        let schema = built_in(gvk).unwrap();
        assert!(schema.field_info("apiVersion").is_some() && schema.field_info("kind").is_some(), "{gvk}");
        assert_eq!(at(&schema, "metadata").name(), "ObjectMeta", "{gvk}");
        count += 1;
    }
    assert!(count > 45, "{count} kinds");
    let open: &[&str] = &[
        "raw",
        "object",
        "data",
        "default",
        "enum",
        "example",
        "items",
        "fieldsV1",
        "additionalItems",
        "additionalProperties",
        "parameters",
    ];
    for gvk in built_in_kinds() {
        for field in built_in(gvk).unwrap().fields() {
            let schema = at(&built_in(gvk).unwrap(), &field.name);
            assert!(!schema.is_deduced() || open.contains(&field.name.as_str()), "{gvk} {}", field.name);
        }
    }
}

fn crd() -> TypeRef {
    from_openapi(&json!({
        "type": "object",
        "properties": {"spec": {"type": "object", "properties": {
            "steps": {
                "type": "array",
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["name", "stage"],
                "items": {"type": "object", "properties": {
                    "name": {"type": "string"},
                    "stage": {"type": "string", "default": "build"},
                }},
            },
            "tags": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
            "plain": {"type": "array", "items": {"type": "string"}},
            "port": {"x-kubernetes-int-or-string": true},
            "selector": {"type": "object", "x-kubernetes-map-type": "atomic", "additionalProperties": {"type": "string"}},
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
            "template": {"type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true},
        }}},
    }))
}

#[test]
fn a_crds_extensions_are_followed() {
    let spec = at(&crd(), "spec");
    assert_eq!(*at(&spec, "steps").list_type(), keys(&["name", "stage"]));
    let element = at(&spec, "steps").item_element(&json!({"name": "a"})).unwrap();
    assert_eq!(element.to_string(), "[name=\"a\",stage=\"build\"]");
    assert_eq!(*at(&spec, "tags").list_type(), ListType::Set);
    assert_eq!(*at(&spec, "plain").list_type(), ListType::Atomic);
    assert!(at(&spec, "port").is_int_or_string());
    assert!(at(&spec, "selector").is_atomic_map());
    assert!(at(&spec, "free").allows_field("anything"));
    assert!(!spec.allows_field("anything"));
    assert!(at(&spec, "template").is_embedded_resource());
    assert_eq!(*at(&spec, "template.metadata.finalizers").list_type(), ListType::Set);
    assert_eq!(*at(&crd(), "metadata.ownerReferences").list_type(), keys(&["uid"]));
}

#[test]
fn a_schema_that_is_no_schema_gives_the_deduced_type() {
    for schema in [Value::Null, json!(1), json!({"type": "what"}), json!({"type": ["object"]})] {
        assert!(from_openapi(&schema).field("x").is_deduced(), "{schema}");
    }
}

#[test]
fn a_recursive_type_can_be_walked_for_ever() {
    let mut schema = at(
        &kind("apiextensions.k8s.io", "CustomResourceDefinition"),
        "spec.versions.[].schema.openAPIV3Schema",
    );
    for _ in 0..100 {
        schema = schema.field("properties").field("x");
        assert_eq!(schema.name(), "JSONSchemaProps");
    }
}
