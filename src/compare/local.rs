//! The comparison that needs no request.
//!
//! Every field that the source declares is looked up in the live object, in step with the schema of its kind. What only
//! the live object has is left alone, with two exceptions: what Skiff itself applied earlier and the source no longer
//! declares, and what stands inside of a list or mapping that is declared as a whole.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{
    Change, Difference, Differences, MAX_DEPTH, Rules,
    adoption::LAST_APPLIED_MANAGER,
    is_empty,
    normalize::{Sides, is_compared, is_compared_metadata, sides},
    rules::is_item,
};
use crate::object::{
    Object,
    fields::{FieldSet, PathElement, compare_values},
    quantity::Quantity,
    schema::{self, Field, ListType, TypeRef},
};

/// The answer of [`local`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Local {
    /// The cluster has what is declared. This is certain.
    Same,
    /// It does not, as far as can be told here; a dry run settles it.
    Differs(Vec<Difference>),
    /// It has fields that a client-side apply declared and the source does not any more. This is certain: they go with
    /// the first apply, which takes them over before, so that no dry run shows it.
    LeftBehind(Vec<Difference>),
}

/// Compares a declared object with the live one. `manager` is the field manager that syncs apply with.
///
/// `Same` means that an apply would change nothing but, at most, who owns which field.
pub fn local(desired: &Object, live: &Object, rules: &Rules, manager: &str) -> Local {
    let schema = schema::built_in(&desired.gvk()).unwrap_or_else(TypeRef::deduced);
    let sides = sides(desired, live, rules);
    let mut differences = Differences::default();
    if let (Value::Object(wanted), Value::Object(live_fields)) = (&*sides.wanted, &*sides.live) {
        for (name, value) in wanted.iter().filter(|(name, _)| is_compared(desired, name, rules)) {
            if name == "metadata" {
                metadata(value, live_fields.get(name), &schema, &mut differences);
            } else {
                field(name, value, live_fields, &schema, Context::Merged, 0, &mut differences);
            }
        }
    }
    let undeclared = |held_by: fn(&Value, &str) -> bool, differences: &mut Differences| {
        let is_compared = |name: &str| is_compared(desired, name, rules);
        removed(&sides, live, &schema, |entry| held_by(entry, manager), is_compared, differences);
    };
    let mut left = Differences::default();
    undeclared(is_last_applied, &mut left);
    if !left.found.is_empty() {
        left.found.extend(differences.found);
        return Local::LeftBehind(left.found);
    }
    undeclared(is_applied_by, &mut differences);
    if differences.found.is_empty() { Local::Same } else { Local::Differs(differences.found) }
}

/// Whether what only the live object has is somebody else's, or belongs to a list or mapping that is declared as a whole.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Context {
    Merged,
    Whole,
}

fn metadata(wanted: &Value, live: Option<&Value>, schema: &TypeRef, differences: &mut Differences) {
    let (Value::Object(wanted), Some(Value::Object(live))) = (wanted, live) else {
        return;
    };
    let schema = schema.field("metadata");
    differences.in_field("metadata", |differences| {
        for (name, value) in wanted.iter().filter(|(name, _)| is_compared_metadata(name)) {
            if name == "generateName" && !live.contains_key(name) {
                continue;
            }
            field(name, value, live, &schema, Context::Merged, 1, differences);
        }
    });
}

fn field(
    name: &str,
    wanted: &Value,
    live: &Map<String, Value>,
    schema: &TypeRef,
    context: Context,
    depth: usize,
    differences: &mut Differences,
) {
    let found = live.get(name).unwrap_or(&Value::Null);
    let says_nothing =
        is_empty(wanted) || schema.field_info(name).is_some_and(|info| is_left_out(wanted, info));
    if says_nothing && is_empty(found) {
        return;
    }
    differences.in_field(name, |differences| {
        if found.is_null() {
            differences.add(Change::Missing);
        } else {
            value(
                wanted,
                found,
                &schema.field(name),
                resource_amounts(name, context),
                depth + 1,
                differences,
            );
        }
    });
}

/// `requests` and `limits` hold quantities in every kind; the context is passed through.
fn resource_amounts(name: &str, context: Context) -> Place {
    Place { context, amounts: matches!(name, "requests" | "limits") }
}

/// Where a value stands, as far as the schema does not say.
#[derive(Clone, Copy)]
struct Place {
    context: Context,
    amounts: bool,
}

/// Whether the API server leaves a declared zero value out.
fn is_left_out(value: &Value, info: &Field) -> bool {
    info.omit_empty
        && !info.optional
        && info.default.is_none()
        && match value {
            Value::Bool(flag) => !flag,
            Value::Number(number) => number.as_f64() == Some(0.0),
            Value::String(text) => text.is_empty(),
            _ => false,
        }
}

fn value(
    wanted: &Value,
    live: &Value,
    schema: &TypeRef,
    place: Place,
    depth: usize,
    differences: &mut Differences,
) {
    if differences.is_full() {
        return;
    }
    if depth > MAX_DEPTH {
        differences.add(Change::Changed);
        return;
    }
    match (wanted, live) {
        (Value::Object(wanted), Value::Object(live)) => {
            mapping(wanted, live, schema, place, depth, differences);
        }
        (Value::Array(wanted), Value::Array(live)) => {
            list(wanted, live, schema, place.context, depth, differences);
        }
        _ => {
            if !is_equal_scalar(wanted, live, schema, place.amounts) {
                differences.add(Change::Changed);
            }
        }
    }
}

fn mapping(
    wanted: &Map<String, Value>,
    live: &Map<String, Value>,
    schema: &TypeRef,
    place: Place,
    depth: usize,
    differences: &mut Differences,
) {
    let whole = place.context == Context::Whole || schema.is_atomic_map();
    let context = if whole { Context::Whole } else { Context::Merged };
    for (name, declared) in wanted {
        if place.amounts {
            let found = live.get(name).unwrap_or(&Value::Null);
            if is_empty(declared) && is_empty(found) {
                continue;
            }
            differences.in_field(name, |differences| match found {
                Value::Null => differences.add(Change::Missing),
                found if is_equal_scalar(declared, found, &schema.field(name), true) => {}
                _ => differences.add(Change::Changed),
            });
        } else {
            field(name, declared, live, schema, context, depth, differences);
        }
    }
    if !whole {
        return;
    }
    for (name, found) in live {
        let default = schema.field_info(name).and_then(|info| info.default.as_ref());
        let expected = is_empty(found) || default == Some(found);
        if !wanted.contains_key(name) && !expected {
            differences.in_field(name, |differences| differences.add(Change::Undeclared));
        }
    }
}

fn list(
    wanted: &[Value],
    live: &[Value],
    schema: &TypeRef,
    context: Context,
    depth: usize,
    differences: &mut Differences,
) {
    let items = schema.items();
    if *schema.list_type() == ListType::Atomic || context == Context::Whole {
        if wanted.len() != live.len() {
            differences.add(Change::Changed);
            return;
        }
        for (index, (wanted, live)) in wanted.iter().zip(live).enumerate() {
            let place = Place { context: Context::Whole, amounts: false };
            differences.in_item(&index.to_string(), |differences| {
                value(wanted, live, &items, place, depth + 1, differences);
            });
        }
        return;
    }
    let mut places: BTreeMap<PathElement, (usize, &Value)> = BTreeMap::new();
    for (index, item) in live.iter().enumerate() {
        let Ok(element) = schema.item_element(item) else {
            return differences.add(Change::Changed);
        };
        if places.insert(element, (index, item)).is_some() {
            return differences.add(Change::Changed);
        }
    }
    let mut last = None;
    let mut is_in_order = true;
    for (index, item) in wanted.iter().enumerate() {
        let Ok(element) = schema.item_element(item) else {
            return differences.add(Change::Changed);
        };
        let label = label(&element, index);
        // Taken out, so that a second item with the same key is not found again.
        let Some((position, found)) = places.remove(&element) else {
            differences.in_item(&label, |differences| differences.add(Change::Missing));
            continue;
        };
        is_in_order &= last.is_none_or(|last| last < position);
        last = Some(position);
        let place = Place { context: Context::Merged, amounts: false };
        differences.in_item(&label, |differences| {
            value(item, found, &items, place, depth + 1, differences);
        });
    }
    if !is_in_order {
        differences.add(Change::Changed);
    }
}

/// An item's name in a path: its key, but no values of a list of scalars.
fn label(element: &PathElement, index: usize) -> String {
    match element {
        PathElement::Key(keys) => {
            let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            keys.iter().map(|(name, value)| format!("{name}={}", text(value))).collect::<Vec<_>>().join(",")
        }
        _ => index.to_string(),
    }
}

fn is_equal_scalar(wanted: &Value, live: &Value, schema: &TypeRef, amounts: bool) -> bool {
    if wanted == live || (is_empty(wanted) && is_empty(live)) {
        return true;
    }
    match (wanted, live) {
        (Value::Number(_), Value::Number(_)) => compare_values(wanted, live).is_eq(),
        (Value::Number(_) | Value::String(_), Value::Number(_) | Value::String(_)) => {
            (schema.is_quantity() || amounts) && is_equal_quantity(wanted, live)
        }
        _ => false,
    }
}

fn is_equal_quantity(wanted: &Value, live: &Value) -> bool {
    let read = |value: &Value| -> Option<Quantity> {
        match value {
            Value::String(text) => text.parse().ok(),
            Value::Number(number) => number.to_string().parse().ok(),
            _ => None,
        }
    };
    matches!((read(wanted), read(live)), (Some(wanted), Some(live)) if wanted == live)
}

fn is_applied_by(entry: &Value, manager: &str) -> bool {
    let text = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default();
    text("manager") == manager && text("operation") == "Apply" && text("subresource").is_empty()
}

fn is_last_applied(entry: &Value, _: &str) -> bool {
    entry.get("manager").and_then(Value::as_str) == Some(LAST_APPLIED_MANAGER)
}

/// Finds what an entry of managed fields names, the live object has, and the source no longer declares.
fn removed(
    sides: &Sides<'_>,
    object: &Object,
    schema: &TypeRef,
    counts: impl Fn(&Value) -> bool,
    is_compared: impl Fn(&str) -> bool,
    differences: &mut Differences,
) {
    let (wanted, live) = (&*sides.wanted, &*sides.live);
    let entries = object.value().pointer("/metadata/managedFields").and_then(Value::as_array);
    for entry in entries.into_iter().flatten().filter(|entry| counts(entry)) {
        let Some(held) = entry.get("fieldsV1") else {
            continue;
        };
        let Ok(held) = FieldSet::from_fields_v1(held) else {
            differences.in_field("metadata", |differences| {
                differences.in_field("managedFields", |differences| differences.add(Change::Changed));
            });
            continue;
        };
        for path in held.leaves() {
            let skipped = match path.as_slice() {
                [PathElement::Field(name)] => !is_compared(name),
                [PathElement::Field(top), PathElement::Field(name), ..] if top == "metadata" => {
                    !is_compared_metadata(name)
                }
                [PathElement::Field(top), ..] => !is_compared(top),
                _ => true,
            };
            let is_live = || resolve(live, &path, schema).is_some_and(|value| !is_empty(value));
            if !skipped && resolve(wanted, &path, schema).is_none() && is_live() {
                differences.found.push(Difference { path: path_text(&path), change: Change::Undeclared });
            }
            if differences.is_full() {
                return;
            }
        }
    }
}

/// The value at a path of managed fields. An item of a keyed list is found by its keys, with the schema's defaults.
fn resolve<'a>(value: &'a Value, path: &[PathElement], schema: &TypeRef) -> Option<&'a Value> {
    let mut value = value;
    let mut schema = schema.clone();
    for element in path {
        match (element, value) {
            (PathElement::Field(name), Value::Object(fields)) => {
                value = fields.get(name)?;
                schema = schema.field(name);
            }
            (PathElement::Index(index), Value::Array(items)) => {
                value = items.get(*index)?;
                schema = schema.items();
            }
            (element, Value::Array(items)) => {
                value = items.iter().find(|item| is_item(item, element, &schema))?;
                schema = schema.items();
            }
            _ => return None,
        }
    }
    Some(value)
}

/// A path for people. A set's members are values and are not shown.
fn path_text(path: &[PathElement]) -> String {
    let mut differences = Differences::default();
    for (index, element) in path.iter().enumerate() {
        let mut text = String::new();
        let keep = |differences: &mut Differences, text: &mut String| differences.path.clone_into(text);
        match element {
            PathElement::Field(name) => differences.in_field(name, |inner| keep(inner, &mut text)),
            PathElement::Value(_) => differences.in_item("*", |inner| keep(inner, &mut text)),
            element => {
                let label = label(element, index);
                differences.in_item(&label, |inner| keep(inner, &mut text));
            }
        }
        differences.path = text;
    }
    differences.path
}
