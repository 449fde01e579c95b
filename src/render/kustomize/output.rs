//! The last touch: records of the build, kustomize's own annotations, and the order of keys.

use std::cmp::Ordering;

use serde_json::{Map, Value};

use super::{
    accumulate::BuildMetadata,
    error::KustomizeError,
    resource::{Resource, describe},
};
use crate::object::yaml;

const INTERNAL: &str = "internal.config.kubernetes.io/";
/// What kustomize removes from under [`INTERNAL`]; other keys there are the user's.
const INTERNAL_NAMES: [&str; 16] = [
    "previousKinds",
    "previousNames",
    "previousNamespaces",
    "prefixes",
    "suffixes",
    "refBy",
    "generatorBehavior",
    "needsHashSuffix",
    "allowNameChange",
    "allowKindChange",
    "path",
    "index",
    "seqindent",
    "id",
    "annotations-migration-resource-id",
    "helm-generated",
];
const OTHER_INTERNAL: [&str; 3] =
    ["config.kubernetes.io/path", "config.kubernetes.io/index", "config.k8s.io/id"];
const ORIGIN: &str = "config.kubernetes.io/origin";
const TRANSFORMATIONS: &str = "alpha.config.kubernetes.io/transformations";
const LOCAL_CONFIG: &str = "config.kubernetes.io/local-config";
const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "kustomize-v5.8.1");

/// Whether a resource takes part in the build but is no part of its output.
pub(super) fn is_local(resource: &Resource) -> bool {
    let annotations = resource.value.get("metadata").and_then(|metadata| metadata.get("annotations"));
    match annotations.and_then(|annotations| annotations.get(LOCAL_CONFIG)) {
        None => false,
        Some(Value::String(text)) => text != "false",
        Some(value) => *value != Value::Bool(false),
    }
}

/// Makes the object that is put out.
pub(super) fn finish(resource: &mut Resource, metadata: BuildMetadata) -> Result<Value, KustomizeError> {
    let origin = resource.origin.as_ref().filter(|_| metadata.origin).map(|origin| origin.to_value());
    let transformations: Vec<Value> =
        resource.transformations.iter().map(|record| record.to_value()).collect();
    if let Some(fields) = resource.metadata_mut() {
        annotate(fields, origin.as_ref(), metadata, transformations);
        if metadata.managed_by {
            let labels = fields.entry("labels").or_insert(Value::Null);
            if labels.is_null() {
                *labels = Value::Object(Map::new());
            }
            if let Some(labels) = labels.as_object_mut() {
                labels.insert(MANAGED_BY.0.to_owned(), Value::from(MANAGED_BY.1));
            }
        }
    }
    let mut value = std::mem::take(&mut resource.value);
    check_text(&value).map_err(|error| error.of_object("output", describe(resource.id())))?;
    sort(&mut value);
    Ok(value)
}

fn annotate(
    metadata: &mut Map<String, Value>,
    origin: Option<&Value>,
    wanted: BuildMetadata,
    transformations: Vec<Value>,
) {
    let records = [
        (ORIGIN, origin.map(yaml::to_string)),
        (
            TRANSFORMATIONS,
            (wanted.transformations && !transformations.is_empty())
                .then(|| yaml::to_string(&Value::Array(transformations))),
        ),
    ];
    for (name, text) in records {
        let Some(text) = text else { continue };
        let annotations = metadata.entry("annotations").or_insert(Value::Null);
        if annotations.is_null() {
            *annotations = Value::Object(Map::new());
        }
        if let Some(annotations) = annotations.as_object_mut() {
            annotations.insert(name.to_owned(), Value::from(text));
        }
    }
    let is_empty = match metadata.get_mut("annotations") {
        Some(Value::Object(annotations)) => {
            annotations.retain(|name, _| !is_internal(name));
            annotations.is_empty()
        }
        Some(Value::Null) => true,
        _ => false,
    };
    if is_empty {
        metadata.shift_remove("annotations");
    }
}

fn is_internal(name: &str) -> bool {
    name.strip_prefix(INTERNAL).is_some_and(|name| INTERNAL_NAMES.contains(&name))
        || OTHER_INTERNAL.contains(&name)
}

/// Refuses characters that YAML cannot carry.
fn check_text(value: &Value) -> Result<(), KustomizeError> {
    match value {
        Value::String(text) => check_characters(text),
        Value::Array(items) => items.iter().try_for_each(check_text),
        Value::Object(fields) => fields.iter().try_for_each(|(key, value)| {
            check_characters(key)?;
            check_text(value)
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
    }
}

fn check_characters(text: &str) -> Result<(), KustomizeError> {
    if text.bytes().all(|byte| byte < 0x7f) {
        return Ok(());
    }
    let is_refused =
        |c: char| matches!(c, '\u{7f}'..='\u{84}' | '\u{86}'..='\u{9f}' | '\u{fffe}' | '\u{ffff}');
    match text.chars().find(|c| is_refused(*c)) {
        None => Ok(()),
        Some(c) => Err(KustomizeError::invalid(format!(
            "a text holds the control character U+{:04X}, which YAML cannot carry",
            u32::from(c)
        ))),
    }
}

/// Puts the keys of every mapping into the order in which kustomize prints them.
fn sort(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.values_mut().for_each(sort);
            // Most mappings of manifests are in order, and making one anew costs much more than looking.
            if !fields.keys().is_sorted_by(|a, b| compare_keys(a, b).is_le()) {
                let mut entries: Vec<(String, Value)> = std::mem::take(fields).into_iter().collect();
                entries.sort_by(|(a, _), (b, _)| compare_keys(a, b));
                *fields = entries.into_iter().collect();
            }
        }
        Value::Array(items) => items.iter_mut().for_each(sort),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Punctuation, digits, letters; runs of digits by their number: `a2` before `a10`.
fn compare_keys(a: &str, b: &str) -> Ordering {
    // Keys mostly differ in letters before there is any digit.
    let differing = a.bytes().zip(b.bytes()).take_while(|(x, _)| !x.is_ascii_digit()).find(|(x, y)| x != y);
    if let Some((x, y)) = differing
        && x.is_ascii_alphabetic()
        && y.is_ascii_alphabetic()
    {
        return x.cmp(&y);
    }
    let mut left = a.chars().peekable();
    let mut right = b.chars().peekable();
    loop {
        match (left.peek().copied(), right.peek().copied()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => return Ordering::Less,
            (Some(_), None) => return Ordering::Greater,
            (Some(x), Some(y)) if x.is_ascii_digit() && y.is_ascii_digit() => {
                let x = digits(&mut left);
                let y = digits(&mut right);
                let ordering = x.len().cmp(&y.len()).then_with(|| x.cmp(&y));
                if ordering.is_ne() {
                    return ordering;
                }
            }
            (Some(x), Some(y)) if x == y => {
                left.next();
                right.next();
            }
            (Some(x), Some(y)) => {
                return class(x).cmp(&class(y)).then_with(|| x.cmp(&y));
            }
        }
    }
}

fn class(c: char) -> u8 {
    match c {
        c if c.is_alphabetic() => 2,
        c if c.is_numeric() => 1,
        _ => 0,
    }
}

/// A run of digits without its leading zeros.
fn digits(characters: &mut std::iter::Peekable<std::str::Chars<'_>>) -> String {
    let mut run = String::new();
    while let Some(c) = characters.next_if(char::is_ascii_digit) {
        run.push(c);
    }
    run.trim_start_matches('0').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_ordered_as_kustomize_prints_them() {
        let mut keys = vec!["b", "a10", "a2", "a", "A", "_x", "1", "a.b", "ab", "01"];
        keys.sort_by(|a, b| compare_keys(a, b));
        assert_eq!(keys, ["_x", "1", "01", "A", "a", "a.b", "a2", "a10", "ab", "b"]);
    }
}
