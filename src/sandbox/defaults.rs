//! What the API server makes of an object of a built-in kind before it stores it.
//!
//! ```text
//! decoded ──encode──▶ unknown fields and empty values gone ──rules──▶ defaults set ──encode──▶ as the server shows it
//! ```
//!
//! The API server reads every object into its own types and writes it from there, so an object comes back with
//! the fields in their order, quantities in canonical form, no empty values where the type leaves them out, and empty ones
//! where it does not. `encode` does the same from the schema; `rules` knows the defaults, by type and not by kind, so a
//! pod template gets them wherever it is.

mod encode;
mod rules;
#[cfg(test)]
mod tests;

use serde_json::{Map, Value};

use crate::object::Gvk;
use crate::object::schema::{TypeRef, built_in};

/// Brings an object of a built-in kind into the form in which the API server stores it. Others stay as they are.
pub fn apply_defaults(object: &mut Value) {
    let Some(schema) = type_of(object) else { return };
    *object = encode::encode(object, &schema);
    rules::set(object, &schema);
    *object = encode::encode(object, &schema);
}

/// The paths of an object's fields that its built-in kind does not have, such as `spec.replica`.
pub fn unknown_fields(object: &Value) -> Vec<String> {
    type_of(object).map(|schema| encode::unknown_fields(object, &schema)).unwrap_or_default()
}

/// An object of the same kind in which nothing is set: what a new object is compared with to see who set what.
pub fn zero_object(object: &Value, schema: &TypeRef) -> Value {
    let mut zero = Map::new();
    for field in ["apiVersion", "kind"] {
        if let Some(value) = object.get(field) {
            zero.insert(field.to_owned(), value.clone());
        }
    }
    encode::encode(&Value::Object(zero), schema)
}

/// The same value with the fields of every mapping in alphabetical order.
pub fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut fields: Vec<(String, Value)> =
                map.iter().map(|(name, value)| (name.clone(), sorted(value))).collect();
            fields.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(fields.into_iter().collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(sorted).collect()),
        other => other.clone(),
    }
}

fn type_of(object: &Value) -> Option<TypeRef> {
    let text = |field: &str| object.get(field).and_then(Value::as_str).unwrap_or_default();
    built_in(&Gvk::from_api_version(text("apiVersion"), text("kind")))
}
