//! Values of the wrong type in objects of built-in kinds, as a server that decodes into typed structs refuses them.

use base64::Engine as _;
use serde_json::Value;

use crate::object::quantity::Quantity;
use crate::object::schema::{Scalar, TypeRef};

/// Deeper than this an object is not checked.
const MAX_DEPTH: usize = 128;

/// Fields that are wider than the others.
const WIDE: &[&str] = &[
    "activeDeadlineSeconds",
    "deletionGracePeriodSeconds",
    "expirationSeconds",
    "fsGroup",
    "generation",
    "observedGeneration",
    "revision",
    "runAsGroup",
    "runAsUser",
    "supplementalGroups",
    "terminationGracePeriodSeconds",
    "tolerationSeconds",
];

/// Times with a fraction.
const FINE_TIMES: &[&str] = &["acquireTime", "renewTime", "eventTime", "lastObservedTime"];

/// The first value that its field cannot hold, in the words of Go's decoders.
pub fn mistyped(object: &Value, schema: &TypeRef) -> Option<String> {
    first(object, schema, &Place::default(), 0)
}

/// A value's type in the words of Go's JSON decoder.
pub fn json_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// The field of a struct in which a value is.
#[derive(Clone, Default)]
struct Place {
    owner: String,
    path: String,
    field: String,
}

impl Place {
    fn field(&self, owner: &TypeRef, name: &str) -> Self {
        if owner.name().is_empty() {
            return self.clone();
        }
        let path = if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) };
        Self { owner: owner.name().to_owned(), path, field: name.to_owned() }
    }
}

fn first(value: &Value, schema: &TypeRef, place: &Place, depth: usize) -> Option<String> {
    if depth > MAX_DEPTH || schema.is_deduced() {
        return None;
    }
    let wrong = |found: &str| {
        let (owner, path, wanted) = (&place.owner, &place.path, wanted(schema, &place.field));
        Some(format!("json: cannot unmarshal {found} into Go struct field {owner}.{path} of type {wanted}"))
    };
    match value {
        Value::Null => None,
        Value::Object(_) if !schema.is_map() => wrong("object"),
        Value::Object(fields) => {
            fields.iter().filter(|(name, _)| schema.allows_field(name)).find_map(|(name, child)| {
                first(child, &schema.field(name), &place.field(schema, name), depth + 1)
            })
        }
        Value::Array(_) if !schema.is_list() => wrong("array"),
        Value::Array(items) => items.iter().find_map(|item| first(item, &schema.items(), place, depth + 1)),
        Value::String(text) => match schema.scalar() {
            Some(Scalar::Integer | Scalar::Number | Scalar::Boolean) | None => wrong("string"),
            Some(Scalar::Bytes) => bad_base64(text),
            Some(Scalar::Quantity) => bad_quantity(text),
            Some(Scalar::Time) => bad_time(text, &place.field),
            Some(_) => None,
        },
        Value::Bool(_) => match schema.scalar() {
            Some(Scalar::Boolean | Scalar::Untyped) => None,
            _ => wrong("bool"),
        },
        Value::Number(number) => match schema.scalar() {
            Some(Scalar::Integer) => {
                let whole = number
                    .as_i64()
                    .filter(|number| WIDE.contains(&place.field.as_str()) || i32::try_from(*number).is_ok());
                if whole.is_some()
                    || number.as_f64().is_some_and(|number| number == number.trunc() && number.abs() < 1e9)
                {
                    None
                } else {
                    wrong(&format!("number {number}"))
                }
            }
            Some(Scalar::String | Scalar::Time | Scalar::Bytes | Scalar::Boolean) | None => wrong("number"),
            Some(_) => None,
        },
    }
}

fn wanted(schema: &TypeRef, field: &str) -> String {
    match schema.scalar() {
        Some(Scalar::Integer) if WIDE.contains(&field) => "int64".to_owned(),
        Some(Scalar::Integer | Scalar::IntOrString) => "int32".to_owned(),
        Some(Scalar::Number) => "float64".to_owned(),
        Some(Scalar::Boolean) => "bool".to_owned(),
        Some(_) => "string".to_owned(),
        None if schema.is_list() => format!("[]{}", wanted(&schema.items(), field)),
        None if schema.name().is_empty() => format!("map[string]{}", wanted(&schema.field(""), field)),
        None => format!("v1.{}", schema.name()),
    }
}

fn bad_base64(text: &str) -> Option<String> {
    use base64::DecodeError;
    let plain: String = text.chars().filter(|character| !matches!(character, '\n' | '\r')).collect();
    let error = base64::engine::general_purpose::STANDARD.decode(&plain).err()?;
    let at = match error {
        DecodeError::InvalidByte(at, _) => at,
        _ => plain.len() / 4 * 4,
    };
    Some(format!("illegal base64 data at input byte {at}"))
}

fn bad_quantity(text: &str) -> Option<String> {
    text.parse::<Quantity>().err()?;
    Some(
        "quantities must match the regular expression \
         '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
            .to_owned(),
    )
}

fn bad_time(text: &str, field: &str) -> Option<String> {
    text.parse::<jiff::Timestamp>().err()?;
    let fraction = if FINE_TIMES.contains(&field) { ".000000" } else { "" };
    Some(format!(
        "parsing time {text:?} as \"2006-01-02T15:04:05{fraction}Z07:00\": cannot parse {text:?} as \"2006\""
    ))
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
            mistyped(&json!({"apiVersion": "apps/v1", "kind": "Deployment", "spec": spec}), &schema)
        };
        assert_eq!(
            of(
                json!({"replicas": 2, "template": {"spec": {"containers": [{"ports": [{"containerPort": 80}]}]}}})
            ),
            None
        );
        assert_eq!(
            of(json!({"replicas": "two"})).unwrap(),
            "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32"
        );
        assert!(of(json!({"template": []})).unwrap().contains("cannot unmarshal array"));
        let labels = json!({"metadata": {"labels": {"a": 1}}});
        assert!(mistyped(&labels, &schema).unwrap().contains("ObjectMeta.metadata.labels of type string"));
        let amounts = json!({"template": {"spec": {"containers": [{"resources": {"limits": {"cpu": 1, "memory": "1Gi"}}}]}}});
        assert_eq!(of(amounts), None, "a quantity may be a number");
    }
}
