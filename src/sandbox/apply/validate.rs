//! Whether a value fits its schema, and as what it is treated.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::object::fields::{MAX_DEPTH, PathElement, path_to_string};
use crate::object::schema::{ListType, Scalar, TypeRef};

/// How a value is walked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Map,
    Scalar,
    List,
}

/// The value's own shape where the schema allows it; else the first one that the schema has.
pub(super) fn shape(schema: &TypeRef, value: Option<&Value>) -> Shape {
    let scalar = schema.scalar().is_some();
    match value {
        Some(Value::Bool(_) | Value::Number(_) | Value::String(_)) if scalar => Shape::Scalar,
        Some(Value::Array(_)) if schema.is_list() => Shape::List,
        Some(Value::Object(_)) if schema.is_map() => Shape::Map,
        _ if schema.is_map() => Shape::Map,
        _ if scalar => Shape::Scalar,
        _ => Shape::List,
    }
}

pub(super) fn as_list(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

pub(super) fn as_map(value: Option<&Value>) -> Option<&Map<String, Value>> {
    value.and_then(Value::as_object)
}

/// Checks an applied object. The error is the API server's text: every place and what is wrong there.
pub(super) fn validate(value: &Value, schema: &TypeRef) -> Result<(), String> {
    let mut errors = Vec::new();
    check(value, schema, &mut Vec::new(), &mut errors);
    match errors.as_slice() {
        [] => Ok(()),
        [only] => Err(only.clone()),
        _ => Err(format!("errors:\n  {}", errors.join("\n  "))),
    }
}

fn check(value: &Value, schema: &TypeRef, path: &mut Vec<PathElement>, errors: &mut Vec<String>) {
    let fail = |errors: &mut Vec<String>, path: &[PathElement], text: String| {
        let place = path_to_string(path);
        errors.push(if place.is_empty() { text } else { format!("{place}: {text}") });
    };
    if path.len() > MAX_DEPTH {
        return fail(errors, path, format!("nested more than {MAX_DEPTH} levels deep"));
    }
    match (shape(schema, Some(value)), value) {
        (_, Value::Null) => {}
        (Shape::Map, Value::Object(fields)) => {
            for (name, field) in fields {
                path.push(PathElement::Field(name.clone()));
                if schema.allows_field(name) {
                    check(field, &schema.field(name), path, errors);
                } else {
                    fail(errors, path, "field not declared in schema".to_owned());
                }
                path.pop();
            }
        }
        (Shape::Map, Value::Array(items)) => {
            let items: Vec<String> = items.iter().map(Value::to_string).collect();
            fail(errors, path, format!("expected map, got &{{[{}]}}", items.join(" ")));
        }
        (Shape::Map, other) => fail(errors, path, format!("expected map, got {}", go_value(other))),
        (Shape::List, Value::Array(items)) => {
            let mut seen = BTreeSet::new();
            for (index, item) in items.iter().enumerate() {
                let element = match schema.list_type() {
                    ListType::Atomic => PathElement::Index(index),
                    _ => match schema.item_element(item) {
                        Ok(element) => element,
                        Err(reason) => return fail(errors, path, format!("element {index}: {reason}")),
                    },
                };
                if !seen.insert(element.clone()) {
                    fail(errors, path, format!("duplicate entries for key {element}"));
                }
                path.push(element);
                check(item, &schema.items(), path, errors);
                path.pop();
            }
        }
        (Shape::List, other) => fail(errors, path, format!("expected list, got {}", go_value(other))),
        (Shape::Scalar, other) => {
            let (fits, expected) = match schema.scalar().unwrap_or(Scalar::Untyped) {
                Scalar::Integer | Scalar::Number => (other.is_number(), "numeric (int or float)"),
                Scalar::String | Scalar::Bytes => (other.is_string(), "string"),
                Scalar::Boolean => (other.is_boolean(), "boolean"),
                Scalar::Time | Scalar::Quantity | Scalar::IntOrString | Scalar::Untyped => {
                    (!other.is_array() && !other.is_object(), "any scalar")
                }
            };
            if !fits {
                let found = match other {
                    Value::String(_) if expected.starts_with("numeric") => "string".to_owned(),
                    other => go_value(other),
                };
                fail(errors, path, format!("expected {expected}, got {found}"));
            }
        }
    }
}

fn go_value(value: &Value) -> String {
    format!("&value.valueUnstructured{{Value:{value}}}")
}
