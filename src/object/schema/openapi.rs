//! The structural schema of a CustomResourceDefinition.

use std::sync::Arc;

use serde_json::Value;

use super::{DEDUCED, Field, List, ListType, Mapping, Patch, Scalar, Table, Type, TypeRef};
use crate::object::fields::MAX_DEPTH;

/// The type that an OpenAPI v3 schema with `x-kubernetes-*` extensions describes, such as a
/// CustomResourceDefinition's `spec.versions[].schema.openAPIV3Schema`.
///
/// `metadata` (and that of embedded resources) gets the API's own metadata type. Whatever the schema leaves open has
/// the deduced type.
pub fn from_openapi(schema: &Value) -> TypeRef {
    let mut table = super::built_in::table_of_metadata();
    let index = add_object(&mut table, schema, 0);
    TypeRef { table: Arc::new(table), index }
}

fn add_object(table: &mut Table, schema: &Value, depth: usize) -> usize {
    let index = add(table, schema, depth);
    let metadata = super::built_in::metadata_index(table);
    let string = table.add(Type { scalar: Some(Scalar::String), ..Type::default() });
    if let Some(map) = table.types.get_mut(index).and_then(|object| object.map.as_mut()) {
        for (name, schema) in [("apiVersion", string), ("kind", string), ("metadata", metadata)] {
            match map.by_name.get(name).and_then(|&at| map.fields.get_mut(at)) {
                Some(field) => field.schema = schema,
                None => map.push(field(name, schema, None)),
            }
        }
    }
    index
}

fn field(name: &str, schema: usize, default: Option<Value>) -> Field {
    Field {
        number: 0,
        name: name.to_owned(),
        omit_empty: false,
        optional: true,
        default,
        patch: Patch::default(),
        schema,
    }
}

fn add(table: &mut Table, schema: &Value, depth: usize) -> usize {
    let is = |extension: &str| schema.get(extension) == Some(&Value::Bool(true));
    let text = |key: &str| schema.get(key).and_then(Value::as_str).unwrap_or_default();
    if depth > MAX_DEPTH {
        return DEDUCED;
    }
    if is("x-kubernetes-int-or-string") {
        return table.add(Type { scalar: Some(Scalar::IntOrString), ..Type::default() });
    }
    let preserve = is("x-kubernetes-preserve-unknown-fields");
    match text("type") {
        "string" => scalar(table, Scalar::String),
        "integer" => scalar(table, Scalar::Integer),
        "number" => scalar(table, Scalar::Number),
        "boolean" => scalar(table, Scalar::Boolean),
        "array" => {
            let items = match schema.get("items") {
                Some(items) => add(table, items, depth.saturating_add(1)),
                None => DEDUCED,
            };
            let keys = schema.get("x-kubernetes-list-map-keys").and_then(Value::as_array);
            let keys = keys.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
            let list_type = match text("x-kubernetes-list-type") {
                "map" => ListType::Map(keys),
                "set" => ListType::Set,
                _ => ListType::Atomic,
            };
            table.add(Type { list: Some(List { items, list_type }), ..Type::default() })
        }
        "object" => {
            let mut map = Mapping {
                atomic: text("x-kubernetes-map-type") == "atomic",
                embedded: is("x-kubernetes-embedded-resource"),
                ..Mapping::default()
            };
            if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
                for (name, property) in properties {
                    let schema = add(table, property, depth.saturating_add(1));
                    map.push(field(name, schema, property.get("default").cloned()));
                }
            }
            map.element = match schema.get("additionalProperties") {
                Some(Value::Bool(true)) => Some(DEDUCED),
                Some(open @ Value::Object(_)) => Some(add(table, open, depth.saturating_add(1))),
                _ => preserve.then_some(DEDUCED),
            };
            if map.embedded {
                let metadata = super::built_in::metadata_index(table);
                let string = scalar(table, Scalar::String);
                for (name, schema) in [("apiVersion", string), ("kind", string), ("metadata", metadata)] {
                    if map.field(name).is_none() {
                        map.push(field(name, schema, None));
                    }
                }
            }
            table.add(Type { map: Some(map), ..Type::default() })
        }
        _ => DEDUCED,
    }
}

fn scalar(table: &mut Table, scalar: Scalar) -> usize {
    table.add(Type { scalar: Some(scalar), ..Type::default() })
}
