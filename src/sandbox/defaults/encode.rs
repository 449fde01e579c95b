//! A value as the API server's types would write it.

use std::str::FromStr;

use serde_json::{Map, Value, json};

use crate::object::quantity::Quantity;
use crate::object::schema::{Field, Scalar, TypeRef};

/// The value with the fields that its type has, in the type's order, without empty values that the type leaves out and
/// with the zero values that it does not. What no schema describes stays as it is.
pub(super) fn encode(value: &Value, schema: &TypeRef) -> Value {
    match value {
        Value::Object(map) if is_struct(schema) => Value::Object(encode_struct(map, schema)),
        Value::Object(map) if schema.is_map() && !schema.is_deduced() => {
            let entry =
                |(name, value): (&String, &Value)| (name.clone(), encode_entry(value, &schema.field(name)));
            Value::Object(map.iter().map(entry).collect())
        }
        Value::Array(items) if schema.is_list() && !schema.is_deduced() => {
            let items_type = schema.items();
            Value::Array(items.iter().map(|item| encode_entry(item, &items_type)).collect())
        }
        Value::String(_) | Value::Number(_) if schema.is_quantity() => canonical_quantity(value),
        Value::Number(number) if schema.scalar() == Some(Scalar::Integer) && number.is_f64() => {
            whole(number.as_f64()).unwrap_or_else(|| value.clone())
        }
        other => other.clone(),
    }
}

/// An item of a list or an entry of a map: null there is the type's zero value.
fn encode_entry(value: &Value, schema: &TypeRef) -> Value {
    match (value, zero(schema)) {
        (Value::Null, _) if schema.scalar() == Some(Scalar::Bytes) => json!(""),
        (Value::Null, Some(zero)) => zero,
        _ => encode(value, schema),
    }
}

fn encode_struct(map: &Map<String, Value>, schema: &TypeRef) -> Map<String, Value> {
    let mut written = Map::new();
    for field in schema.fields() {
        let Some(field_type) = schema.declared_field(&field.name) else {
            continue;
        };
        let value = match map.get(&field.name) {
            None | Some(Value::Null) => absent(field, &field_type),
            // The server refuses such a request before it gets here.
            Some(value) if is_struct(&field_type) && !value.is_object() => absent(field, &field_type),
            Some(value) => Some(encode(value, &field_type)).filter(|value| {
                let empty = is_empty(value) && !(value.is_object() && is_struct(&field_type));
                // An empty list of managed fields is a request to forget them all.
                field.optional || !field.omit_empty || !empty || field.name == "managedFields"
            }),
        };
        if let Some(value) = value {
            written.insert(field.name.clone(), value);
        }
    }
    written
}

/// What is written for a field that is not set; nothing for most.
fn absent(field: &Field, field_type: &TypeRef) -> Option<Value> {
    if field.optional {
        return (!field.omit_empty).then_some(Value::Null);
    }
    // A struct has no empty value that could be left out, and neither has a time.
    let always = is_struct(field_type)
        || matches!(field_type.scalar(), Some(Scalar::Time | Scalar::Quantity)) && !field_type.is_deduced();
    if always || !field.omit_empty { zero(field_type) } else { None }
}

/// The zero value of a type; none for one that the schema does not describe.
fn zero(schema: &TypeRef) -> Option<Value> {
    if schema.is_deduced() {
        return None;
    }
    if is_struct(schema) {
        return Some(Value::Object(encode_struct(&Map::new(), schema)));
    }
    Some(match schema.scalar() {
        None | Some(Scalar::Time | Scalar::Bytes | Scalar::Untyped) => Value::Null,
        Some(Scalar::String) => json!(""),
        Some(Scalar::Integer | Scalar::Number | Scalar::IntOrString) => json!(0),
        Some(Scalar::Boolean) => json!(false),
        Some(Scalar::Quantity) => json!("0"),
    })
}

fn is_struct(schema: &TypeRef) -> bool {
    !schema.name().is_empty()
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
    }
}

fn canonical_quantity(value: &Value) -> Value {
    let text = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    Quantity::from_str(&text).map_or_else(|_| value.clone(), |quantity| json!(quantity.canonical()))
}

fn whole(number: Option<f64>) -> Option<Value> {
    let text = format!("{:.0}", number.filter(|number| number.fract() == 0.0)?);
    Some(json!(text.parse::<i64>().ok()?))
}

/// The paths of fields that the types do not have.
pub(super) fn unknown_fields(object: &Value, schema: &TypeRef) -> Vec<String> {
    let mut unknown = Vec::new();
    collect_unknown(object, schema, "", &mut unknown);
    unknown
}

fn collect_unknown(value: &Value, schema: &TypeRef, path: &str, unknown: &mut Vec<String>) {
    if schema.is_deduced() {
        return;
    }
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                if is_struct(schema) && schema.declared_field(name).is_none() {
                    unknown.push(path);
                } else {
                    collect_unknown(value, &schema.field(name), &path, unknown);
                }
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                collect_unknown(item, &schema.items(), &format!("{path}[{index}]"), unknown);
            }
        }
        _ => {}
    }
}
