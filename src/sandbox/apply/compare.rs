//! What changed between two states of an object, as field sets.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::validate::{Shape, as_list, as_map, shape};
use crate::object::fields::{FieldSet, PathElement, compare_values};
use crate::object::schema::{ListType, TypeRef};

/// The fields that differ.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    /// In the old state only.
    pub removed: FieldSet,
    /// In both, with another value.
    pub modified: FieldSet,
    /// In the new state only.
    pub added: FieldSet,
}

impl Comparison {
    pub(super) fn of(old: &Value, new: &Value, schema: &TypeRef) -> Self {
        let mut comparison = Self::default();
        comparison.values(Some(old), Some(new), schema, &mut Vec::new());
        comparison
    }

    /// Without these fields and everything below them.
    pub(super) fn without(self, fields: &FieldSet) -> Self {
        Self {
            removed: self.removed.recursive_difference(fields),
            modified: self.modified.recursive_difference(fields),
            added: self.added.recursive_difference(fields),
        }
    }

    fn values(
        &mut self,
        old: Option<&Value>,
        new: Option<&Value>,
        schema: &TypeRef,
        path: &mut Vec<PathElement>,
    ) {
        let (left, right) = (shape(schema, old), shape(schema, new));
        let is_leaf = match (old, new) {
            (_, None) => self.shaped(left, old, new, schema, path),
            (None, _) => self.shaped(right, old, new, schema, path),
            _ if left == right => self.shaped(right, old, new, schema, path),
            _ => {
                self.shaped(left, old, new, schema, path);
                self.shaped(right, old, new, schema, path)
            }
        };
        if !is_leaf {
            if old.is_none() {
                self.added.insert(path);
            } else if new.is_none() {
                self.removed.insert(path);
            }
        }
    }

    /// Compares as one shape; tells whether it was a leaf.
    fn shaped(
        &mut self,
        shape: Shape,
        old: Option<&Value>,
        new: Option<&Value>,
        schema: &TypeRef,
        path: &mut Vec<PathElement>,
    ) -> bool {
        match shape {
            Shape::Scalar => self.leaf(old, new, path),
            Shape::List => {
                let (left, right) = (as_list(old), as_list(new));
                if *schema.list_type() == ListType::Atomic || (left.is_empty() && right.is_empty()) {
                    return self.leaf(old, new, path);
                }
                self.items(left, right, schema, path);
                false
            }
            Shape::Map => {
                let (left, right) = (as_map(old), as_map(new));
                let size = |map: Option<&Map<String, Value>>| map.map_or(0, Map::len);
                if schema.is_atomic_map() || (size(left) == 0 && size(right) == 0) {
                    return self.leaf(old, new, path);
                }
                let get = |map: Option<&'_ Map<String, Value>>, name: &str| {
                    map.and_then(|map| map.get(name)).cloned()
                };
                let names =
                    left.into_iter().flatten().chain(right.into_iter().flatten()).map(|(name, _)| name);
                let names: std::collections::BTreeSet<&String> = names.collect();
                for name in names {
                    path.push(PathElement::Field(name.clone()));
                    let (old, new) = (get(left, name), get(right, name));
                    self.values(old.as_ref(), new.as_ref(), &schema.field(name), path);
                    path.pop();
                }
                false
            }
        }
    }

    fn leaf(&mut self, old: Option<&Value>, new: Option<&Value>, path: &[PathElement]) -> bool {
        match (old, new) {
            (None, _) => self.added.insert(path),
            (_, None) => self.removed.insert(path),
            (Some(old), Some(new)) => {
                if compare_values(old, new).is_ne() {
                    self.modified.insert(path);
                }
            }
        }
        true
    }

    fn items(&mut self, old: &[Value], new: &[Value], schema: &TypeRef, path: &mut Vec<PathElement>) {
        let mut by_element: BTreeMap<PathElement, (Vec<&Value>, Vec<&Value>)> = BTreeMap::new();
        for item in old {
            if let Ok(element) = schema.item_element(item) {
                by_element.entry(element).or_default().0.push(item);
            }
        }
        for item in new {
            if let Ok(element) = schema.item_element(item) {
                by_element.entry(element).or_default().1.push(item);
            }
        }
        let items = schema.items();
        for (element, (left, right)) in by_element {
            path.push(element);
            match (left.as_slice(), right.as_slice()) {
                ([] | [_], [] | [_]) => {
                    self.values(left.first().copied(), right.first().copied(), &items, path);
                }
                ([_, _, ..], [_, _, ..]) => {
                    let same = left.len() == right.len()
                        && left.iter().zip(&right).all(|(a, b)| compare_values(a, b).is_eq());
                    if !same {
                        self.modified.insert(path);
                    }
                }
                ([_, _, ..], _) => {
                    if let Some(right) = right.first() {
                        self.values(None, Some(right), &items, path);
                    }
                    self.removed.insert(path);
                }
                (_, [_, _, ..]) => {
                    if let Some(left) = left.first() {
                        self.values(Some(left), None, &items, path);
                    }
                    self.added.insert(path);
                }
            }
            path.pop();
        }
    }
}
