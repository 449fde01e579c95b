//! Structural schemas of custom resources: pruning, defaulting, validation.
//!
//! Recursion follows the schema as much as the object, and is bounded by [`MAX_DEPTH`].

use regex::Regex;
use serde_json::{Map, Value};

use super::status::Cause;

/// Deeper than this an object is neither pruned nor checked.
const MAX_DEPTH: usize = 128;

fn flag(schema: &Value, name: &str) -> bool {
    schema.get(name) == Some(&Value::Bool(true))
}

fn join(path: &str, field: &str) -> String {
    if path.is_empty() { field.to_owned() } else { format!("{path}.{field}") }
}

/// Removes the fields that the schema does not know and returns their paths.
pub fn prune(value: &mut Value, schema: &Value) -> Vec<String> {
    let mut unknown = Vec::new();
    prune_node(value, schema, "", true, 0, &mut unknown);
    unknown
}

fn prune_node(
    value: &mut Value,
    schema: &Value,
    path: &str,
    resource: bool,
    depth: usize,
    unknown: &mut Vec<String>,
) {
    if depth > MAX_DEPTH {
        return;
    }
    match value {
        Value::Object(map) => {
            let resource = resource || flag(schema, "x-kubernetes-embedded-resource");
            let preserve = flag(schema, "x-kubernetes-preserve-unknown-fields");
            let properties = schema.get("properties").and_then(Value::as_object);
            let additional = schema.get("additionalProperties");
            let mut dropped = Vec::new();
            for (name, child) in map.iter_mut() {
                if resource && matches!(name.as_str(), "apiVersion" | "kind" | "metadata") {
                    continue;
                }
                let child_path = join(path, name);
                match (properties.and_then(|p| p.get(name)), additional) {
                    (Some(known), _) => prune_node(child, known, &child_path, false, depth + 1, unknown),
                    (None, Some(Value::Bool(true))) => {}
                    (None, Some(rest @ Value::Object(_))) => {
                        prune_node(child, rest, &child_path, false, depth + 1, unknown);
                    }
                    (None, _) if preserve => {}
                    (None, _) => dropped.push(name.clone()),
                }
            }
            for name in dropped {
                map.shift_remove(&name);
                unknown.push(join(path, &name));
            }
        }
        Value::Array(list) => {
            if let Some(items) = schema.get("items") {
                for (index, item) in list.iter_mut().enumerate() {
                    prune_node(item, items, &format!("{path}[{index}]"), false, depth + 1, unknown);
                }
            }
        }
        _ => {}
    }
}

/// Removes nulls of fields that may not be null and have no default: in what a client sends whole they are as good as
/// nothing.
pub fn drop_nulls(value: &mut Value, schema: &Value) {
    drop_nulls_node(value, schema, 0);
}

fn drop_nulls_node(value: &mut Value, schema: &Value, depth: usize) {
    if depth > MAX_DEPTH {
        return;
    }
    match value {
        Value::Object(map) => {
            let properties = schema.get("properties").and_then(Value::as_object);
            let rest = schema.get("additionalProperties").filter(|rest| rest.is_object());
            map.retain(|name, child| {
                let Some(property) = properties.and_then(|known| known.get(name)).or(rest) else {
                    return true;
                };
                drop_nulls_node(child, property, depth + 1);
                !child.is_null() || flag(property, "nullable") || property.get("default").is_some()
            });
        }
        Value::Array(list) => {
            if let Some(items) = schema.get("items") {
                for item in list {
                    drop_nulls_node(item, items, depth + 1);
                }
            }
        }
        _ => {}
    }
}

/// Sets the fields that are absent and have a default. A null of a field that has one and is not nullable counts
/// as absent.
pub fn apply_schema_defaults(value: &mut Value, schema: &Value) {
    default_node(value, schema, 0);
}

fn default_node(value: &mut Value, schema: &Value, depth: usize) {
    if depth > MAX_DEPTH {
        return;
    }
    match value {
        Value::Object(map) => {
            let properties = schema.get("properties").and_then(Value::as_object);
            for (name, property) in properties.into_iter().flatten() {
                let absent = match map.get(name) {
                    None => true,
                    Some(Value::Null) => !flag(property, "nullable"),
                    Some(_) => false,
                };
                if let Some(default) = property.get("default").filter(|_| absent) {
                    map.insert(name.clone(), default.clone());
                }
                if let Some(child) = map.get_mut(name) {
                    default_node(child, property, depth + 1);
                }
            }
            if let Some(rest @ Value::Object(_)) = schema.get("additionalProperties") {
                for (name, child) in map.iter_mut() {
                    if !properties.is_some_and(|p| p.contains_key(name)) {
                        default_node(child, rest, depth + 1);
                    }
                }
            }
        }
        Value::Array(list) => {
            if let Some(items) = schema.get("items") {
                for item in list {
                    default_node(item, items, depth + 1);
                }
            }
        }
        _ => {}
    }
}

/// What of an object breaks its schema.
pub fn validate(value: &Value, schema: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    validate_node(value, schema, "", 0, &mut causes);
    causes
}

fn fits(value: &Value, expected: &str) -> bool {
    match expected {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|n| n.fract() == 0.0),
        "number" => value.is_number(),
        _ => true,
    }
}

/// The OpenAPI name of a value's type.
fn openapi_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn validate_node(value: &Value, schema: &Value, path: &str, depth: usize, causes: &mut Vec<Cause>) {
    if depth > MAX_DEPTH {
        return;
    }
    if value.is_null() && flag(schema, "nullable") {
        return;
    }
    let expected = schema.get("type").and_then(Value::as_str).unwrap_or_default();
    let int_or_string = flag(schema, "x-kubernetes-int-or-string");
    if int_or_string {
        if !value.is_string() && !fits(value, "integer") {
            causes.push(wrong_type(value, path, "integer,string"));
            return;
        }
    } else if !expected.is_empty() && !fits(value, expected) {
        causes.push(wrong_type(value, path, expected));
        if expected == "integer" && value.is_number() {
            causes
                .push(unplaced(&format!("Checked value must be of type integer (default format) in {path}")));
        }
        return;
    }
    if let Some(allowed) = schema.get("enum").and_then(Value::as_array)
        && !allowed.contains(value)
    {
        let listed: Vec<String> =
            allowed.iter().map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_owned)).collect();
        causes.push(Cause::not_supported(path, value, &listed));
    }
    if let (Some(number), Some(factor)) = (value.as_f64(), schema.get("multipleOf").and_then(Value::as_f64))
        && ((number / factor) - (number / factor).round()).abs() > 1e-9
    {
        causes.push(Cause::invalid(path, value, &format!("{path} in body should be a multiple of {factor}")));
    }
    let count = |name: &str| schema.get(name).and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
    let mut broken = |detail: String| {
        causes.push(Cause::invalid(path, value, &format!("{path} in body {detail}")));
    };
    if let Some(number) = value.as_f64() {
        if let Some(limit) = schema.get("minimum").and_then(Value::as_f64) {
            if flag(schema, "exclusiveMinimum") && number <= limit {
                broken(format!("should be greater than {limit}"));
            } else if number < limit {
                broken(format!("should be greater than or equal to {limit}"));
            }
        }
        if let Some(limit) = schema.get("maximum").and_then(Value::as_f64) {
            if flag(schema, "exclusiveMaximum") && number >= limit {
                broken(format!("should be less than {limit}"));
            } else if number > limit {
                broken(format!("should be less than or equal to {limit}"));
            }
        }
    }
    match value {
        Value::String(string) => {
            let length = string.chars().count();
            if let Some(limit) = count("minLength").filter(|limit| length < *limit) {
                broken(format!("should be at least {limit} chars long"));
            }
            if let Some(limit) = count("maxLength").filter(|limit| length > *limit) {
                causes.push(Cause {
                    reason: "FieldValueTooLong",
                    message: format!("Too long: may not be more than {limit} bytes"),
                    field: path.to_owned(),
                });
            } else if let Some(pattern) = schema.get("pattern").and_then(Value::as_str)
                && Regex::new(pattern).is_ok_and(|regex| !regex.is_match(string))
            {
                causes.push(Cause::invalid(path, value, &format!("{path} in body should match '{pattern}'")));
            }
        }
        Value::Array(list) => {
            if let Some(limit) = count("minItems").filter(|limit| list.len() < *limit) {
                let detail = format!("{path} in body should have at least {limit} items");
                causes.push(Cause::invalid(path, &Value::from(list.len()), &detail));
            }
            if let Some(limit) = count("maxItems").filter(|limit| list.len() > *limit) {
                causes.push(too_many(path, list.len(), limit));
            }
            if let Some(items) = schema.get("items") {
                for (index, item) in list.iter().enumerate() {
                    validate_node(item, items, &format!("{path}[{index}]"), depth + 1, causes);
                }
            }
            duplicates(list, schema, path, causes);
        }
        Value::Object(map) => {
            if let Some(limit) = count("maxProperties").filter(|limit| map.len() > *limit) {
                causes.push(too_many(path, map.len(), limit));
            }
            if flag(schema, "x-kubernetes-embedded-resource") {
                for field in ["apiVersion", "kind"].iter().filter(|field| !map.contains_key(**field)) {
                    causes.push(Cause::required(join(path, field), ""));
                }
            }
            validate_object(map, schema, path, depth, causes);
        }
        _ => {}
    }
    validate_combinations(value, schema, path, depth, causes);
}

fn validate_object(
    map: &Map<String, Value>,
    schema: &Value,
    path: &str,
    depth: usize,
    causes: &mut Vec<Cause>,
) {
    let required = schema.get("required").and_then(Value::as_array);
    for name in required.into_iter().flatten().filter_map(Value::as_str) {
        if !map.contains_key(name) {
            causes.push(Cause::required(join(path, name), ""));
        }
    }
    let properties = schema.get("properties").and_then(Value::as_object);
    let rest = schema.get("additionalProperties").filter(|rest| rest.is_object());
    let mut names: Vec<&String> = map.keys().collect();
    names.sort();
    for name in names {
        let Some(child) = map.get(name) else { continue };
        // The metadata of an object has rules of its own.
        if path.is_empty() && name == "metadata" {
            continue;
        }
        if let Some(schema) = properties.and_then(|p| p.get(name)).or(rest) {
            validate_node(child, schema, &join(path, name), depth + 1, causes);
        }
    }
}

fn validate_combinations(value: &Value, schema: &Value, path: &str, depth: usize, causes: &mut Vec<Cause>) {
    // The problems of each alternative.
    let problems = |name: &str| -> Option<Vec<Vec<Cause>>> {
        let schemas = schema.get(name)?.as_array()?;
        let problems = schemas.iter().map(|schema| {
            let mut found = Vec::new();
            validate_node(value, schema, path, depth + 1, &mut found);
            found
        });
        Some(problems.collect())
    };
    let passing = |problems: &[Vec<Cause>]| problems.iter().filter(|found| found.is_empty()).count();
    // The alternative that fits best says what is missing.
    let best = |problems: &[Vec<Cause>]| {
        problems.iter().min_by_key(|found| found.len()).cloned().unwrap_or_default()
    };
    if let Some(problems) = problems("anyOf").filter(|problems| passing(problems) == 0) {
        causes.push(unplaced(&format!("{path:?} must validate at least one schema (anyOf)")));
        causes.extend(best(&problems));
    }
    if let Some(problems) = problems("oneOf") {
        let sentence = format!("{path:?} must validate one and only one schema (oneOf)");
        match passing(&problems) {
            1 => {}
            0 => {
                causes.push(unplaced(&format!("{sentence}. Found none valid")));
                causes.extend(best(&problems));
            }
            several => causes.push(unplaced(&format!("{sentence}. Found {several} valid alternatives"))),
        }
    }
    if let Some(problems) = problems("allOf")
        && passing(&problems) != problems.len()
    {
        causes.extend(problems.iter().flatten().cloned());
        let none = if passing(&problems) == 0 { ". None validated" } else { "" };
        causes.push(unplaced(&format!("{path:?} must validate all the schemas (allOf){none}")));
    }
    if let Some(negated) = schema.get("not") {
        let mut found = Vec::new();
        validate_node(value, negated, path, depth + 1, &mut found);
        if found.is_empty() {
            causes.push(unplaced(&format!("{path:?} must not validate the schema (not)")));
        }
    }
}

/// A cause that names its place in its text only.
fn unplaced(text: &str) -> Cause {
    Cause::invalid("<nil>", &Value::from(""), text)
}

fn too_many(path: &str, found: usize, limit: usize) -> Cause {
    Cause {
        reason: "FieldValueTooMany",
        message: format!("Too many: {found}: must have at most {limit} items"),
        field: path.to_owned(),
    }
}

fn duplicates(list: &[Value], schema: &Value, path: &str, causes: &mut Vec<Cause>) {
    let identity: Box<dyn Fn(&Value) -> Value> =
        match schema.get("x-kubernetes-list-type").and_then(Value::as_str) {
            Some("set") => Box::new(Value::clone),
            Some("map") => {
                let keys: Vec<String> = schema
                    .get("x-kubernetes-list-map-keys")
                    .and_then(Value::as_array)
                    .map(|keys| keys.iter().filter_map(|k| k.as_str().map(str::to_owned)).collect())
                    .unwrap_or_default();
                Box::new(move |item| {
                    let found = keys.iter().filter_map(|key| Some((key.clone(), item.get(key)?.clone())));
                    Value::Object(found.collect())
                })
            }
            _ => return,
        };
    let mut seen: Vec<Value> = Vec::new();
    for (index, item) in list.iter().enumerate() {
        let key = identity(item);
        if seen.contains(&key) {
            let shown = key.as_str().map_or_else(|| key.to_string(), |text| format!("{text:?}"));
            causes.push(Cause {
                reason: "FieldValueDuplicate",
                message: format!("Duplicate value: {shown}"),
                field: format!("{path}[{index}]"),
            });
        }
        seen.push(key);
    }
}

fn wrong_type(value: &Value, path: &str, expected: &str) -> Cause {
    let found = openapi_type(value);
    Cause {
        reason: "FieldValueTypeInvalid",
        message: format!("Invalid value: {found:?}: {path} in body must be of type {expected}: {found:?}"),
        field: if path.is_empty() { "<nil>".to_owned() } else { path.to_owned() },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schema() -> Value {
        json!({"type": "object", "properties": {"spec": {
            "type": "object", "required": ["size"],
            "properties": {
                "size": {"type": "integer", "minimum": 1},
                "color": {"type": "string", "enum": ["red", "blue"], "default": "red"},
                "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                "labels": {"type": "object", "additionalProperties": {"type": "string"}},
            },
        }}})
    }

    #[test]
    fn unknown_fields_are_pruned_but_not_where_they_are_preserved() {
        let mut value = json!({"apiVersion": "a/v1", "kind": "K", "metadata": {"name": "x"},
            "spec": {"size": 1, "nope": 1, "free": {"a": {"b": 1}}, "labels": {"k": "v"}}, "other": 1});
        let unknown = prune(&mut value, &schema());
        assert_eq!(unknown, ["spec.nope", "other"]);
        assert_eq!(value["spec"], json!({"size": 1, "free": {"a": {"b": 1}}, "labels": {"k": "v"}}));
    }

    #[test]
    fn defaults_fill_only_what_is_absent() {
        let mut value = json!({"spec": {"size": 1}});
        apply_schema_defaults(&mut value, &schema());
        assert_eq!(value["spec"]["color"], "red");
        let mut value = json!({"spec": {"color": "blue"}});
        apply_schema_defaults(&mut value, &schema());
        assert_eq!(value["spec"]["color"], "blue");
    }

    #[test]
    fn each_broken_rule_is_a_cause() {
        let causes = validate(&json!({"spec": {"size": 0, "color": "green"}}), &schema());
        let messages: Vec<String> = causes.iter().map(|c| format!("{}: {}", c.field, c.message)).collect();
        assert_eq!(
            messages,
            [
                "spec.color: Unsupported value: \"green\": supported values: \"red\", \"blue\"",
                "spec.size: Invalid value: 0: spec.size in body should be greater than or equal to 1",
            ]
        );
        let causes = validate(&json!({"spec": {"size": "big"}}), &schema());
        assert_eq!(
            causes[0].message,
            "Invalid value: \"string\": spec.size in body must be of type integer: \"string\""
        );
        assert_eq!(validate(&json!({"spec": {}}), &schema())[0].message, "Required value");
    }
}
