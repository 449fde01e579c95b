use serde_json::json;

use super::*;

fn keys<'a>(schema: &'a Schema, api_version: &str, kind: &str, path: &[&str]) -> Option<&'a [String]> {
    let mut known = schema.root(api_version, kind)?;
    for step in path {
        known = if *step == "[]" { known.items()? } else { known.field(step)? };
    }
    known.merge_keys()
}

#[test]
fn built_in_kinds_have_the_merge_keys_of_kubernetes() {
    let schema = Schema::built_in();
    let pod_spec = ["spec", "template", "spec", "containers"];
    assert_eq!(keys(schema, "apps/v1", "Deployment", &pod_spec), Some(["name".to_owned()].as_slice()));
    assert_eq!(
        keys(schema, "apps/v1", "StatefulSet", &[&pod_spec[..], &["[]", "ports"]].concat()),
        Some(["containerPort".to_owned(), "protocol".to_owned()].as_slice())
    );
    assert_eq!(keys(schema, "v1", "ServiceAccount", &["secrets"]), Some(["name".to_owned()].as_slice()));
    assert_eq!(keys(schema, "v1", "ServiceAccount", &["imagePullSecrets"]), None);
    assert_eq!(keys(schema, "v1", "Pod", &["metadata", "finalizers"]), Some([].as_slice()));
    assert_eq!(keys(schema, "v1", "Pod", &["spec", "tolerations"]), None);
    assert!(schema.root("autoscaling/v2", "HorizontalPodAutoscaler").is_none());
}

#[test]
fn every_type_that_the_table_names_is_in_it() {
    let table = table();
    assert!(table.kinds.len() > 30 && table.types.len() > 100);
    let kinds = table.kinds.values().flat_map(HashMap::values).map(|text| text.trim_start_matches('-'));
    let fields = table.types.values().flat_map(HashMap::values).map(|text| text.rsplit(']').next().unwrap());
    for name in kinds.chain(fields).filter(|name| !name.is_empty()) {
        assert!(table.types.contains_key(name), "{name}");
    }
}

#[test]
fn scope_is_known_for_old_built_in_kinds_only() {
    let scoped = |api_version, kind| is_cluster_scoped(&Gvk::from_api_version(api_version, kind));
    for (api_version, kind) in [
        ("v1", "Namespace"),
        ("rbac.authorization.k8s.io/v1", "ClusterRole"),
        ("storage.k8s.io/v1", "StorageClass"),
        ("flowcontrol.apiserver.k8s.io/v1beta1", "FlowSchema"),
    ] {
        assert!(scoped(api_version, kind), "{kind}");
    }
    for (api_version, kind) in [
        ("v1", "Pod"),
        ("example.com/v1", "Namespace"),
        ("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy"),
        ("flowcontrol.apiserver.k8s.io/v1", "FlowSchema"),
    ] {
        assert!(!scoped(api_version, kind), "{kind}");
    }
    let namespace = |kind, namespace| effective_namespace(&Gvk::new("", "v1", kind), namespace).to_owned();
    assert_eq!(namespace("Pod", ""), "default");
    assert_eq!(namespace("Pod", "a"), "a");
    assert_eq!(namespace("Node", "a"), NOT_NAMESPACED);
}

#[test]
fn an_openapi_document_gives_types_to_its_kinds() {
    let document = json!({"definitions": {
        "Widget": {
            "x-kubernetes-group-version-kind": [{"group": "example.com", "version": "v1", "kind": "Widget"}, {"group": "", "version": "v1", "kind": "Widget"}],
            "properties": {"spec": {"properties": {
                "parts": {"type": "array", "x-kubernetes-patch-strategy": "merge", "x-kubernetes-patch-merge-key": "id", "items": {"$ref": "#/definitions/Part"}},
                "keyed": {"type": "array", "x-kubernetes-list-map-keys": ["a"], "items": {"type": "object"}},
                "named": {"additionalProperties": {"$ref": "#/definitions/Part"}},
            }}}
        },
        "Part": {"properties": {
            "parts": {"type": "array", "x-kubernetes-patch-strategy": "merge,retainKeys", "x-kubernetes-list-map-keys": ["id", "n"], "items": {"$ref": "#/definitions/Part"}},
            "lost": {"$ref": "#/definitions/Nowhere"}
        }}
    }});
    let schema = Schema::from_openapi(&document).unwrap();
    for api_version in ["example.com/v1", "v1"] {
        assert_eq!(
            keys(&schema, api_version, "Widget", &["spec", "parts"]),
            Some(["id".to_owned()].as_slice())
        );
    }
    let nested = ["spec", "parts", "[]", "parts", "[]", "parts"];
    assert_eq!(keys(&schema, "v1", "Widget", &nested), Some(["id".to_owned(), "n".to_owned()].as_slice()));
    assert!(keys(&schema, "v1", "Widget", &["spec", "named", "any", "parts"]).is_some());
    assert_eq!(keys(&schema, "v1", "Widget", &["spec", "keyed"]), None);
    assert!(schema.root("apps/v1", "Deployment").is_none());
    assert!(Schema::from_openapi(&json!([])).is_err());
    assert!(Schema::from_openapi(&json!({"definitions": 1})).is_err());
}

#[test]
fn crds_tell_where_names_labels_and_annotations_are() {
    let document = json!({
        "github.com/x/v1.Bee": {"Schema": {"properties": {
            "apiVersion": {}, "kind": {}, "metadata": {},
            "spec": {"$ref": "github.com/x/v1.BeeSpec"}
        }}},
        "github.com/x/v1.BeeSpec": {"Schema": {"properties": {
            "secret": {"x-kubernetes-object-ref-api-version": "v1", "x-kubernetes-object-ref-kind": "Secret", "x-kubernetes-object-ref-name-key": "key"},
            "selector": {"x-kubernetes-label-selector": ""},
            "notes": {"x-kubernetes-annotation": ""},
            "title": {"x-kubernetes-identity": ""}
        }}}
    });
    let configuration = crd_configuration(&document).unwrap();
    let spec = |path: &str| FieldSpec { kind: "Bee".to_owned(), ..FieldSpec::any(path, false) };
    assert_eq!(configuration.common_labels, [spec("spec/selector")]);
    assert_eq!(configuration.common_annotations, [spec("spec/notes")]);
    assert_eq!(configuration.name_prefix, [spec("spec/title")]);
    let [reference] = configuration.name_reference.as_slice() else { panic!("one name reference") };
    assert_eq!((reference.version.as_str(), reference.kind.as_str()), ("v1", "Secret"));
    assert_eq!(reference.field_specs, [spec("spec/secret/key")]);
}

#[test]
fn types_that_refer_to_each_other_without_end_and_manifests_are_refused() {
    let properties =
        json!({"apiVersion": {}, "kind": {}, "metadata": {}, "a": {"$ref": "A"}, "b": {"$ref": "A"}});
    let cyclic = json!({"A": {"Schema": {"properties": properties}}});
    assert!(matches!(crd_configuration(&cyclic), Err(SchemaError::TooManyReferences { .. })));
    let manifest = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition"});
    assert!(matches!(crd_configuration(&manifest), Err(SchemaError::NotDefinitions { .. })));
}

#[test]
fn a_crd_file_may_define_nothing() {
    for document in [json!(null), json!({}), json!({"a": null})] {
        assert_eq!(crd_configuration(&document), Ok(Configuration::default()), "{document}");
    }
    assert!(crd_configuration(&json!([])).is_err());
}
