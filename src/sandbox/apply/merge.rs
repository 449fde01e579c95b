//! The applied object laid over the live one.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::validate::{Shape, as_list, as_map, shape};
use crate::object::fields::PathElement;
use crate::object::schema::{ListType, TypeRef};

/// `applied` wins where both have a leaf; items of keyed lists and sets are merged in the applied order.
pub(super) fn merge(live: &Value, applied: &Value, schema: &TypeRef) -> Value {
    merge_values(Some(live), Some(applied), schema).unwrap_or(Value::Null)
}

fn merge_values(live: Option<&Value>, applied: Option<&Value>, schema: &TypeRef) -> Option<Value> {
    let leaf = || applied.or(live).cloned();
    match shape(schema, applied.or(live)) {
        Shape::Scalar => leaf(),
        Shape::List => {
            let (left, right) = (as_list(live), as_list(applied));
            if *schema.list_type() == ListType::Atomic || (left.is_empty() && right.is_empty()) {
                return leaf();
            }
            let merged = merge_items(left, right, schema);
            (!merged.is_empty()).then_some(Value::Array(merged))
        }
        Shape::Map => {
            let (left, right) = (as_map(live), as_map(applied));
            let size = |map: Option<&Map<String, Value>>| map.map_or(0, Map::len);
            if schema.is_atomic_map() || (size(left) == 0 && size(right) == 0) {
                return leaf();
            }
            let mut merged = Map::new();
            for (name, value) in left.into_iter().flatten() {
                let other = right.and_then(|right| right.get(name));
                if let Some(value) = merge_values(Some(value), other, &schema.field(name)) {
                    merged.insert(name.clone(), value);
                }
            }
            for (name, value) in right.into_iter().flatten() {
                if !left.is_some_and(|left| left.contains_key(name))
                    && let Some(value) = merge_values(None, Some(value), &schema.field(name))
                {
                    merged.insert(name.clone(), value);
                }
            }
            (!merged.is_empty()).then_some(Value::Object(merged))
        }
    }
}

/// Merges keyed items: applied items keep the applied order, live ones stay where they are relative to the items that
/// both have.
fn merge_items(live: &[Value], applied: &[Value], schema: &TypeRef) -> Vec<Value> {
    let index = |items: &[Value]| -> Vec<(PathElement, Value)> {
        items.iter().filter_map(|item| Some((schema.item_element(item).ok()?, item.clone()))).collect()
    };
    let (left, right) = (index(live), index(applied));
    let mut by_left: BTreeMap<&PathElement, Option<&Value>> = BTreeMap::new();
    for (element, value) in &left {
        // An item that is there twice is merged with nothing: the applied one replaces it.
        by_left.entry(element).and_modify(|known| *known = Some(&Value::Null)).or_insert(Some(value));
    }
    let by_right: BTreeMap<&PathElement, &Value> =
        right.iter().map(|(element, value)| (element, value)).collect();
    let items = schema.items();
    let mut shared = right.iter().map(|(element, _)| element).filter(|element| by_left.contains_key(element));
    let mut next_shared = shared.next();
    let mut done: BTreeMap<&PathElement, ()> = BTreeMap::new();
    let mut merged = Vec::new();
    let (mut l, mut r) = (left.iter().peekable(), right.iter().peekable());
    loop {
        match (l.peek().copied(), r.peek().copied()) {
            (None, None) => break,
            (Some((element, _)), Some((other, value))) if element == other => {
                done.insert(element, ());
                let left_value = by_left.get(element).copied().flatten();
                merged.extend(merge_values(left_value, Some(value), &items));
                l.next();
                r.next();
                next_shared = shared.next();
                continue;
            }
            (Some((element, _)), Some(_))
                if by_right.contains_key(element) && next_shared.is_some_and(|next| next != element) =>
            {
                l.next();
                continue;
            }
            _ => {}
        }
        if let Some((element, value)) = l.peek().copied() {
            if !by_right.contains_key(element) {
                merged.extend(merge_values(Some(value), None, &items));
                l.next();
                continue;
            } else if done.contains_key(element) {
                l.next();
            }
        }
        if let Some((element, value)) = r.next() {
            done.insert(element, ());
            let left_value = by_left.get(element).copied().flatten();
            merged.extend(merge_values(left_value, Some(value), &items));
            if next_shared == Some(element) {
                next_shared = shared.next();
            }
        }
    }
    merged
}
