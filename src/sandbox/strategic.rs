//! Strategic merge patch, as the API server applies it.
//!
//! Mappings are merged, null deletes, and lists are replaced unless the kind's schema says that they are merged: by
//! a key ([`Patch::merge_key`](crate::object::schema::Patch)), or as a set of scalars. A patch may carry directives: `$patch: delete`
//! and `$patch: replace` in a mapping or an item, `$retainKeys` for unions, `$deleteFromPrimitiveList/…`, and
//! `$setElementOrder/…`. These keys are those of the API server's own types, not of server-side apply.

#[cfg(test)]
mod tests;

use std::cmp::Ordering;

use serde_json::{Map, Value};

use crate::error::{Classified, ErrorKind};
use crate::object::schema::{Patch, TypeRef};

const DIRECTIVE: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const DELETE_FROM: &str = "$deleteFromPrimitiveList/";
const SET_ORDER: &str = "$setElementOrder/";

/// How deep a patch may be nested.
const MAX_DEPTH: usize = 128;

/// Why a patch could not be applied (400, in the API server's words).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StrategicError {
    /// `$patch` has another value than `delete` or `replace`.
    #[error("unknown patch type: {directive} in map: {field}")]
    UnknownDirective {
        /// The value.
        directive: String,
        /// The field that holds it.
        field: String,
    },
    /// An item of a keyed list lacks the key.
    #[error("map: {field} does not contain declared merge key: {key}")]
    NoMergeKey {
        /// The list.
        field: String,
        /// The key.
        key: String,
    },
    /// `$retainKeys` does not name every field of the patch, or is no list.
    #[error("invalid patch format of retainKeys")]
    RetainKeys,
    /// `$deleteFromPrimitiveList` is no list.
    #[error("invalid patch format of primitive list")]
    PrimitiveList,
    /// `$setElementOrder` is no list, or lacks an item of the patch.
    #[error("invalid patch format of setElementOrder list")]
    ElementOrder,
    /// The patch is no mapping, or nested too deeply.
    #[error("invalid JSON document")]
    BadDocument,
}

impl Classified for StrategicError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::User
    }
}

type Fields = Map<String, Value>;

/// Applies a strategic merge patch to an object of a kind with this schema.
///
/// # Errors
/// When the patch or its directives do not have the form that the API server asks for.
pub fn merge(live: &Value, patch: &Value, schema: Option<&TypeRef>) -> Result<Value, StrategicError> {
    let deduced = TypeRef::deduced();
    let (Value::Object(live), Value::Object(patch)) = (live, patch) else {
        return Err(StrategicError::BadDocument);
    };
    merge_maps(live.clone(), patch, schema.unwrap_or(&deduced), 0).map(Value::Object)
}

fn merge_maps(
    mut original: Fields,
    patch: &Fields,
    schema: &TypeRef,
    depth: usize,
) -> Result<Fields, StrategicError> {
    if depth > MAX_DEPTH {
        return Err(StrategicError::BadDocument);
    }
    match patch.get(DIRECTIVE).map(|directive| directive.as_str().unwrap_or_default()) {
        None => {}
        Some("delete") => return Ok(Fields::new()),
        Some("replace") => {
            let kept = patch.iter().filter(|(name, _)| *name != DIRECTIVE);
            return Ok(kept.map(|(name, value)| (name.clone(), value.clone())).collect());
        }
        Some(other) => {
            return Err(StrategicError::UnknownDirective {
                directive: other.to_owned(),
                field: Value::Object(patch.clone()).to_string(),
            });
        }
    }
    retain_keys(&mut original, patch)?;
    for (name, order) in patch {
        if let Some(field) = name.strip_prefix(SET_ORDER) {
            merge_in_order(&mut original, field, patch.get(field), order, schema, depth)?;
        }
    }
    for (name, value) in patch {
        if name.starts_with('$') && !name.starts_with(DELETE_FROM) {
            continue;
        }
        if patch.contains_key(&format!("{SET_ORDER}{name}")) && value.is_array() {
            continue;
        }
        if let Some(field) = name.strip_prefix(DELETE_FROM) {
            let gone = value.as_array().ok_or(StrategicError::PrimitiveList)?;
            if let Some(Value::Array(items)) = original.get_mut(field) {
                items.retain(|item| !gone.contains(item));
            }
            continue;
        }
        if value.is_null() {
            original.shift_remove(name);
            continue;
        }
        let info = schema.field_info(name).map(|field| field.patch.clone()).unwrap_or_default();
        let field_type = schema.field(name);
        let merged = match (original.get_mut(name), value) {
            (Some(Value::Object(fields)), Value::Object(patch)) => {
                let fields = std::mem::take(fields);
                Some(Value::Object(merge_maps(fields, patch, &field_type, deeper(depth))?))
            }
            (Some(Value::Array(items)), Value::Array(patch)) => {
                let items = std::mem::take(items);
                Some(Value::Array(merge_lists(name, items, patch, &info, &field_type, depth)?))
            }
            (Some(Value::Object(_) | Value::Array(_)), _) | (_, Value::Object(_) | Value::Array(_)) => {
                fresh(value)
            }
            _ => Some(value.clone()),
        };
        match merged {
            Some(merged) => original.insert(name.clone(), merged),
            None => original.shift_remove(name),
        };
    }
    Ok(original)
}

fn deeper(depth: usize) -> usize {
    depth.saturating_add(1)
}

/// `$retainKeys`: only these fields survive, and the patch may set no others.
fn retain_keys(original: &mut Fields, patch: &Fields) -> Result<(), StrategicError> {
    let Some(keys) = patch.get(RETAIN_KEYS) else {
        return Ok(());
    };
    let keys = keys.as_array().ok_or(StrategicError::RetainKeys)?;
    let is_kept = |name: &str| keys.iter().any(|key| key == name);
    for (name, value) in patch {
        if !name.starts_with('$') && !value.is_null() && !is_kept(name) {
            return Err(StrategicError::RetainKeys);
        }
    }
    original.retain(|name, _| is_kept(name));
    Ok(())
}

/// `$setElementOrder/field`: merges the field's list and puts the items that the patch knows in this order.
fn merge_in_order(
    original: &mut Fields,
    field: &str,
    patch: Option<&Value>,
    order: &Value,
    schema: &TypeRef,
    depth: usize,
) -> Result<(), StrategicError> {
    let order = order.as_array().ok_or(StrategicError::ElementOrder)?;
    let info = schema.field_info(field).map(|field| field.patch.clone()).unwrap_or_default();
    let key = info.merge_key.as_deref();
    let before = original.get(field).and_then(Value::as_array).cloned();
    let patched = patch.and_then(Value::as_array);
    let known = |item: &Value| order.iter().any(|other| same_item(item, other, key));
    if patched.into_iter().flatten().any(|item| item.get(DIRECTIVE).is_none() && !known(item)) {
        return Err(StrategicError::ElementOrder);
    }
    let merged = match (&before, patched) {
        (Some(before), Some(patched)) => {
            merge_lists(field, before.clone(), patched, &info, &schema.field(field), depth)?
        }
        (Some(before), None) => before.clone(),
        (None, Some(patched)) => patched.iter().filter_map(fresh).collect(),
        (None, None) => return Ok(()),
    };
    let merged = arrange(merged, order, before.as_deref().unwrap_or_default(), key);
    original.insert(field.to_owned(), Value::Array(merged));
    Ok(())
}

fn merge_lists(
    field: &str,
    original: Vec<Value>,
    patch: &[Value],
    info: &Patch,
    schema: &TypeRef,
    depth: usize,
) -> Result<Vec<Value>, StrategicError> {
    if !info.merge {
        return Ok(patch.to_vec());
    }
    let before = original.clone();
    let Some(key) = info.merge_key.as_deref() else {
        let mut merged = original;
        for item in patch {
            if !merged.contains(item) {
                merged.push(item.clone());
            }
        }
        return Ok(arrange(merged, patch, &before, None));
    };
    let no_key =
        |item: &Value| StrategicError::NoMergeKey { field: format!("{field}: {item}"), key: key.to_owned() };
    let mut merged = original;
    let mut plain = Vec::new();
    let mut replace = false;
    for item in patch {
        match item.get(DIRECTIVE).map(|directive| directive.as_str().unwrap_or_default()) {
            None => plain.push(item),
            Some("replace") => replace = true,
            Some("delete") => {
                let value = item.get(key).ok_or_else(|| no_key(item))?;
                merged.retain(|other| other.get(key) != Some(value));
            }
            Some(other) => {
                return Err(StrategicError::UnknownDirective {
                    directive: other.to_owned(),
                    field: field.to_owned(),
                });
            }
        }
    }
    if replace {
        return Ok(plain.into_iter().cloned().collect());
    }
    for &item in &plain {
        let value = item.get(key).ok_or_else(|| no_key(item))?;
        match merged.iter_mut().find(|other| other.get(key) == Some(value)) {
            Some(Value::Object(fields)) => {
                let patch = item.as_object().ok_or_else(|| no_key(item))?;
                *fields = merge_maps(std::mem::take(fields), patch, &schema.items(), deeper(depth))?;
            }
            _ => merged.extend(fresh(item)),
        }
    }
    let order: Vec<Value> = plain.into_iter().cloned().collect();
    Ok(arrange(merged, &order, &before, Some(key)))
}

fn same_item(a: &Value, b: &Value, key: Option<&str>) -> bool {
    match key {
        Some(key) => a.get(key).is_some() && a.get(key) == b.get(key),
        None => a == b,
    }
}

/// Items that the patch knows in the patch's order, the others in the server's, woven together by the server's order.
fn arrange(
    items: Vec<Value>,
    patch_order: &[Value],
    server_order: &[Value],
    key: Option<&str>,
) -> Vec<Value> {
    let place = |order: &[Value], item: &Value| order.iter().position(|other| same_item(item, other, key));
    let (mut known, mut others): (Vec<Value>, Vec<Value>) =
        items.into_iter().partition(|item| place(patch_order, item).is_some());
    known.sort_by_key(|item| place(patch_order, item));
    others.sort_by(|a, b| match (place(server_order, a), place(server_order, b)) {
        (Some(a), Some(b)) => a.cmp(&b),
        _ => Ordering::Equal,
    });
    let mut woven = Vec::with_capacity(known.len().saturating_add(others.len()));
    let (mut known, mut others) = (known.into_iter().peekable(), others.into_iter().peekable());
    loop {
        let take_other = match (others.peek(), known.peek()) {
            (None, None) => return woven,
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (Some(other), Some(item)) => {
                matches!((place(server_order, other), place(server_order, item)), (Some(a), Some(b)) if a < b)
            }
        };
        woven.extend(if take_other { others.next() } else { known.next() });
    }
}

/// A patch's value where the object has none: directives have nothing to act on, and neither has null.
fn fresh(value: &Value) -> Option<Value> {
    match value {
        Value::Object(fields) if fields.contains_key(DIRECTIVE) => None,
        Value::Object(fields) => Some(Value::Object(
            fields
                .iter()
                .filter(|(name, value)| !name.starts_with('$') && !value.is_null())
                .filter_map(|(name, value)| Some((name.clone(), fresh(value)?)))
                .collect(),
        )),
        Value::Array(items) => Some(Value::Array(items.iter().filter_map(fresh).collect())),
        other => Some(other.clone()),
    }
}
