//! Parts of a value by field set.

use serde_json::{Map, Value};

use super::{FieldSet, PathElement};
use crate::object::schema::TypeRef;

/// The parts of a value that a set names; `Null` when nothing is left.
///
/// Items of keyed lists keep their key fields, so that the result can be compared or applied.
pub fn extract(value: &Value, set: &FieldSet, schema: &TypeRef) -> Value {
    match value {
        Value::Array(_) | Value::Object(_) if schema.is_leaf(value) => value.clone(),
        Value::Array(items) => {
            let kept: Vec<Value> = items
                .iter()
                .filter_map(|item| {
                    let element = schema.item_element(item).ok()?;
                    let below = set.below(&element);
                    if below.is_none() && !set.has_member(&element) {
                        return None;
                    }
                    let (PathElement::Key(keys), Value::Object(fields)) = (&element, item) else {
                        return Some(item.clone());
                    };
                    let part = below.map(|below| extract(item, below, &schema.items()));
                    let part = part.as_ref().and_then(Value::as_object);
                    let of_item = |(name, field): (&String, &Value)| {
                        let kept = part.and_then(|part| part.get(name));
                        let key = keys.iter().any(|(key, _)| key == name).then_some(field);
                        Some((name.clone(), kept.or(key)?.clone()))
                    };
                    Some(Value::Object(fields.iter().filter_map(of_item).collect()))
                })
                .collect();
            if kept.is_empty() && !items.is_empty() { Value::Null } else { Value::Array(kept) }
        }
        Value::Object(fields) => {
            let kept: Map<String, Value> = fields
                .iter()
                .filter_map(|(name, field)| {
                    let element = PathElement::Field(name.clone());
                    let field_type = schema.field(name);
                    let part = match set.below(&element) {
                        Some(below) => extract(field, below, &field_type),
                        None if set.has_member(&element) => match field {
                            Value::Array(_) | Value::Object(_) if !field_type.is_leaf(field) => {
                                empty_like(field)
                            }
                            _ => return Some((name.clone(), field.clone())),
                        },
                        None => return None,
                    };
                    match part {
                        Value::Null if set.has_member(&element) => Some((name.clone(), empty_like(field))),
                        Value::Null => None,
                        part => Some((name.clone(), part)),
                    }
                })
                .collect();
            if kept.is_empty() && !fields.is_empty() { Value::Null } else { Value::Object(kept) }
        }
        scalar => scalar.clone(),
    }
}

fn empty_like(value: &Value) -> Value {
    match value {
        Value::Array(_) => Value::Array(Vec::new()),
        Value::Object(_) => Value::Object(Map::new()),
        other => other.clone(),
    }
}

/// A value without the parts that a set names; `Null` when nothing is left.
pub fn remove(value: &Value, set: &FieldSet, schema: &TypeRef) -> Value {
    match value {
        Value::Array(items) => {
            if items.is_empty() || schema.is_leaf(value) {
                return Value::Null;
            }
            let kept: Vec<Value> = items
                .iter()
                .filter_map(|item| {
                    let Ok(element) = schema.item_element(item) else {
                        return Some(item.clone());
                    };
                    if set.has_member(&element) {
                        return None;
                    }
                    Some(match set.below(&element) {
                        Some(below) => remove(item, below, &schema.items()),
                        None => item.clone(),
                    })
                })
                .collect();
            if kept.is_empty() { Value::Null } else { Value::Array(kept) }
        }
        Value::Object(fields) => {
            if fields.is_empty() || schema.is_leaf(value) {
                return Value::Null;
            }
            let kept: Map<String, Value> = fields
                .iter()
                .filter_map(|(name, field)| {
                    let element = PathElement::Field(name.clone());
                    if set.has_member(&element) {
                        return None;
                    }
                    let rest = match set.below(&element) {
                        Some(below) => remove(field, below, &schema.field(name)),
                        None => field.clone(),
                    };
                    Some((name.clone(), rest))
                })
                .collect();
            if kept.is_empty() { Value::Null } else { Value::Object(kept) }
        }
        scalar => scalar.clone(),
    }
}
