use serde_json::json;

use super::*;

fn visited(object: &Value, spec: &FieldSpec, create: Create) -> (Value, Result<usize, FilterError>) {
    let mut object = object.clone();
    let mut count = 0;
    let result = visit(&mut object, spec, create, &mut |place| {
        count += 1;
        *place = json!("set");
        Ok(())
    });
    (object, result.map(|()| count))
}

#[test]
fn lists_on_the_way_are_followed_in_every_element() {
    let object = json!({"spec": {"containers": [{"image": "a"}, {"name": "x"}, null, [{"image": "b"}]]}});
    for path in ["spec/containers/image", "spec/containers[]/image", "/spec/containers[]/image"] {
        let (object, count) = visited(&object, &FieldSpec::any(path, true), Create::Never);
        assert_eq!(count, Ok(2));
        assert_eq!(object["spec"]["containers"][3][0]["image"], "set");
        assert_eq!(object["spec"]["containers"][1], json!({"name": "x"}));
    }
}

#[test]
fn missing_fields_are_created_only_if_both_spec_and_transformer_say_so() {
    let object = json!({"spec": {"n": null}});
    let spec = |create| FieldSpec::any("spec/a/b", create);
    assert_eq!(visited(&object, &spec(false), Create::Scalar), (object.clone(), Ok(0)));
    assert_eq!(visited(&object, &spec(true), Create::Never), (object.clone(), Ok(0)));
    assert_eq!(
        visited(&object, &spec(true), Create::Scalar).0,
        json!({"spec": {"n": null, "a": {"b": "set"}}})
    );
    assert_eq!(
        visited(&object, &FieldSpec::any("spec/n/b", true), Create::Mapping).0,
        json!({"spec": {"n": {"b": "set"}}})
    );
    assert_eq!(visited(&object, &FieldSpec::any("spec/l[]/b", true), Create::Mapping), (object, Ok(0)));
}

#[test]
fn a_null_that_is_announced_as_a_list_becomes_an_empty_one() {
    let object = json!({"spec": {"containers": null}});
    let (object, count) = visited(&object, &FieldSpec::any("spec/containers[]/image", true), Create::Never);
    assert_eq!((object, count), (json!({"spec": {"containers": []}}), Ok(0)));
}

#[test]
fn a_scalar_on_the_way_is_an_error() {
    let (_, result) = visited(&json!({"spec": "x"}), &FieldSpec::any("spec/a", true), Create::Scalar);
    assert!(matches!(result, Err(FilterError::NotTraversable { .. })));
}

#[test]
fn a_slash_can_be_escaped() {
    let object = json!({"metadata": {"annotations": {"a.io/b": {"c": "x"}}}});
    let spec = FieldSpec::any(r"metadata/annotations/a.io\/b/c", false);
    assert_eq!(visited(&object, &spec, Create::Never).1, Ok(1));
}

#[test]
fn kind_group_and_version_must_fit() {
    let object = json!({"apiVersion": "apps/v1", "kind": "Deployment", "a": 1});
    let spec = |group: &str, version: &str, kind: &str| FieldSpec {
        group: group.to_owned(),
        version: version.to_owned(),
        kind: kind.to_owned(),
        ..FieldSpec::any("a", false)
    };
    for fitting in [spec("", "", ""), spec("apps", "v1", "Deployment"), spec("", "", "Deployment")] {
        assert_eq!(visited(&object, &fitting, Create::Never).1, Ok(1));
    }
    for other in [spec("batch", "", ""), spec("", "v2", ""), spec("", "", "Pod")] {
        assert_eq!(visited(&object, &other, Create::Never).1, Ok(0));
    }
}

#[test]
fn a_broader_spec_is_dropped_and_a_narrower_one_is_added() {
    let of = |kind: &str| FieldSpec { kind: kind.to_owned(), ..FieldSpec::any("spec/x", true) };
    let merged = |first: &str, second: &str| {
        let mut list = vec![of(first)];
        merge_into(&mut list, &[of(second)]).unwrap();
        list.len()
    };
    assert_eq!(merged("Pod", ""), 1);
    assert_eq!(merged("", "Pod"), 2);
    assert_eq!(merged("Pod", "Pod"), 1);
    let conflict = merge_into(&mut vec![of("Pod")], &[FieldSpec { create: false, ..of("Pod") }]);
    assert!(matches!(conflict, Err(FieldSpecError::Conflict { .. })));
}

#[test]
fn the_defaults_are_complete() {
    let defaults = Configuration::defaults();
    assert_eq!(defaults.name_prefix, [FieldSpec::any("metadata/name", false)]);
    assert_eq!(defaults.common_labels.len(), 32);
    assert_eq!(defaults.template_labels.len(), 10);
    assert_eq!(defaults.common_annotations.len(), 9);
    assert_eq!(defaults.images.len(), 6);
    assert_eq!(defaults.replicas.len(), 4);
    assert_eq!(defaults.namespace.len(), 3);
    assert_eq!(defaults.var_reference.len(), 72);
    assert_eq!(defaults.name_reference.len(), 16);
    assert!(defaults.labels.is_empty());
}

#[test]
fn the_users_configuration_is_added_to_the_defaults() {
    let user = json!({
        "images": [{"path": "spec/tool/image", "kind": "Widget"}],
        "nameReference": [
            {"kind": "ConfigMap", "version": "v1", "fieldSpecs": [{"path": "spec/config", "kind": "Widget"}]},
            {"kind": "Widget", "fieldSpecs": [{"path": "spec/widget"}]}
        ]
    });
    let mut configuration = Configuration::defaults().clone();
    configuration.merge(&Configuration::deserialize(&user).unwrap()).unwrap();
    assert_eq!(configuration.images.len(), 7);
    assert_eq!(configuration.name_reference.len(), 17);
    let config_maps =
        configuration.name_reference.iter().find(|reference| reference.kind == "ConfigMap").unwrap();
    assert!(config_maps.field_specs.iter().any(|spec| spec.path == "spec/config"));
    assert!(Configuration::deserialize(&json!({"imagez": []})).is_err());
    assert!(Configuration::deserialize(&json!({"images": [{"paths": "x"}]})).is_err());
}
