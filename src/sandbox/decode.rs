//! Values of the wrong type in objects of built-in kinds, as a server that decodes into typed structs refuses them.

use serde_json::Value;

use crate::object::schema::{Scalar, TypeRef};

/// Deeper than this an object is not checked.
const MAX_DEPTH: usize = 128;

/// The first value that its field cannot hold, in the words of Go's JSON decoder.
pub fn mistyped(object: &Value, schema: &TypeRef, kind: &str) -> Option<String> {
    let (found, path, wanted) = first(object, schema, "", 0)?;
    Some(format!("json: cannot unmarshal {found} into Go struct field {kind}.{path} of type {wanted}"))
}

fn first(
    value: &Value,
    schema: &TypeRef,
    path: &str,
    depth: usize,
) -> Option<(&'static str, String, &'static str)> {
    if depth > MAX_DEPTH || schema.is_deduced() {
        return None;
    }
    let wrong = |found| Some((found, path.to_owned(), wanted(schema)));
    match value {
        Value::Null => None,
        Value::Object(_) if !schema.is_map() => wrong("object"),
        Value::Object(fields) => {
            let known = fields.iter().filter(|(name, _)| schema.allows_field(name));
            known
                .map(|(name, child)| {
                    let at = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                    first(child, &schema.field(name), &at, depth + 1)
                })
                .find(Option::is_some)
                .flatten()
        }
        Value::Array(_) if !schema.is_list() => wrong("array"),
        Value::Array(items) => items
            .iter()
            .map(|item| first(item, &schema.items(), path, depth + 1))
            .find(Option::is_some)
            .flatten(),
        Value::String(_) => match schema.scalar() {
            Some(Scalar::Integer | Scalar::Number | Scalar::Boolean) | None => wrong("string"),
            Some(_) => None,
        },
        Value::Bool(_) => match schema.scalar() {
            Some(Scalar::Boolean | Scalar::Untyped) => None,
            _ => wrong("bool"),
        },
        Value::Number(number) => match schema.scalar() {
            Some(Scalar::Integer) if number.is_f64() => wrong("number"),
            Some(Scalar::String | Scalar::Time | Scalar::Bytes | Scalar::Boolean) | None => wrong("number"),
            Some(_) => None,
        },
    }
}

fn wanted(schema: &TypeRef) -> &'static str {
    match schema.scalar() {
        Some(Scalar::Integer) => "int32",
        Some(Scalar::Number) => "float64",
        Some(Scalar::Boolean) => "bool",
        Some(_) => "string",
        None if schema.is_list() => "[]",
        None => "struct",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::object::Gvk;
    use crate::object::schema::built_in;

    #[test]
    fn the_first_wrong_type_is_named() {
        let schema = built_in(&Gvk::new("apps", "v1", "Deployment")).unwrap();
        let of = |spec: Value| {
            mistyped(
                &json!({"apiVersion": "apps/v1", "kind": "Deployment", "spec": spec}),
                &schema,
                "Deployment",
            )
        };
        assert_eq!(
            of(
                json!({"replicas": 2, "template": {"spec": {"containers": [{"ports": [{"containerPort": 80}]}]}}})
            ),
            None
        );
        assert_eq!(
            of(json!({"replicas": "two"})).unwrap(),
            "json: cannot unmarshal string into Go struct field Deployment.spec.replicas of type int32"
        );
        assert!(of(json!({"template": []})).unwrap().contains("cannot unmarshal array"));
        let labels = json!({"metadata": {"labels": {"a": 1}}});
        assert!(
            mistyped(&labels, &schema, "Deployment").unwrap().contains("metadata.labels.a of type string")
        );
        let amounts = json!({"template": {"spec": {"containers": [{"resources": {"limits": {"cpu": 1, "memory": "1Gi"}}}]}}});
        assert_eq!(of(amounts), None, "a quantity may be a number");
    }
}
