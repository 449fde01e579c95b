use std::{collections::BTreeSet, path::PathBuf};

use serde_json::Value;

use super::*;

fn repository(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn reference(file_name: &str) -> Value {
    let path = repository("../shared/conformance/argocd-crds").join(file_name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_yaml::from_str(&text).unwrap()
}

fn root_schema(definition: &Value) -> &Value {
    &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
}

/// Every property's path with what the API server enforces of it.
fn rules(schema: &Value, path: &str, found: &mut BTreeSet<String>) {
    let mut enforced = schema.clone();
    if let Some(fields) = enforced.as_object_mut() {
        fields.retain(|name, _| {
            !["description", "properties", "items", "additionalProperties"].contains(&name.as_str())
        });
        if let Some(Value::Array(names)) = fields.get_mut("required") {
            names.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
        }
    }
    sort_fields(&mut enforced);
    found.insert(format!("{path} {enforced}"));
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        rules(property, &format!("{path}.{name}"), found);
    }
    for (child, mark) in [("items", "[]"), ("additionalProperties", "{}")] {
        if let Some(child) = schema.get(child) {
            rules(child, &format!("{path}{mark}"), found);
        }
    }
}

#[test]
fn every_property_and_rule_is_the_reference_tools() {
    for definition in definitions() {
        let reference = reference(definition.file_name);
        let (mut ours, mut theirs) = (BTreeSet::new(), BTreeSet::new());
        rules(root_schema(&definition.value), "", &mut ours);
        rules(root_schema(&reference), "", &mut theirs);
        let missing: Vec<&String> = theirs.difference(&ours).collect();
        let surplus: Vec<&String> = ours.difference(&theirs).collect();
        assert!(theirs.len() > 80, "the reference was not read");
        assert!(
            missing.is_empty() && surplus.is_empty(),
            "{}: missing {missing:#?}, surplus {surplus:#?}",
            definition.file_name
        );
    }
}

#[test]
fn names_columns_and_subresources_are_the_reference_tools() {
    for definition in definitions() {
        let mut reference = reference(definition.file_name);
        let mut ours = definition.value;
        for value in [&mut ours, &mut reference] {
            value["spec"]["versions"][0]["schema"] = Value::Null;
            value["metadata"].as_object_mut().unwrap().shift_remove("annotations");
            sort_fields(value);
        }
        assert_eq!(ours, reference);
    }
}

#[test]
fn the_committed_definitions_are_up_to_date() {
    for definition in definitions() {
        let path = repository("deploy/crds").join(definition.file_name);
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            committed == definition.to_yaml(),
            "{} is stale: run 'cargo run -- crds --output deploy/crds'",
            path.display()
        );
    }
}

#[test]
fn every_property_says_what_it_is_for() {
    fn check(schema: &Value, path: &str) {
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}.{name}");
            let is_described = property["description"].as_str().is_some_and(|text| text.ends_with('.'));
            assert!(is_described || path == ".metadata", "{path} has no description");
            check(property, &path);
            check(&property["items"], &format!("{path}[]"));
        }
    }
    for definition in definitions() {
        check(root_schema(&definition.value), "");
    }
}
