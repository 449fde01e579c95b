//! The trie and its operations.

use std::collections::BTreeMap;
use std::collections::btree_map;

use serde_json::{Map, Value};

use super::{FieldsError, MAX_DEPTH, PathElement};
use crate::object::schema::{ListType, TypeRef};

/// A set of field paths.
///
/// A path's presence says nothing of its parents or children: `.spec` alone, `.spec.replicas` alone and both are three
/// different sets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSet {
    nodes: BTreeMap<PathElement, Node>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Node {
    member: bool,
    below: FieldSet,
}

impl Node {
    fn is_empty(&self) -> bool {
        !self.member && self.below.nodes.is_empty()
    }
}

/// The first path elements of a set, each with whether it is a member itself and with the set below it.
pub struct Children<'a> {
    nodes: btree_map::Iter<'a, PathElement, Node>,
}

impl<'a> Iterator for Children<'a> {
    type Item = (&'a PathElement, bool, &'a FieldSet);

    fn next(&mut self) -> Option<Self::Item> {
        self.nodes.next().map(|(element, node)| (element, node.member, &node.below))
    }
}

impl FieldSet {
    /// The empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads `managedFields[].fieldsV1`.
    ///
    /// # Errors
    /// When it is not made of nested mappings or a key is no path element. Element types of later versions are skipped.
    pub fn from_fields_v1(value: &Value) -> Result<Self, FieldsError> {
        read(value, &mut Vec::new()).map(|(set, _)| set)
    }

    /// Writes `managedFields[].fieldsV1`.
    pub fn to_fields_v1(&self) -> Value {
        Value::Object(self.write())
    }

    fn write(&self) -> Map<String, Value> {
        let mut map = Map::new();
        for (element, node) in &self.nodes {
            let mut below = Map::new();
            if node.member && !node.below.nodes.is_empty() {
                below.insert(".".to_owned(), Value::Object(Map::new()));
            }
            below.extend(node.below.write());
            map.insert(element.to_fields_v1(), Value::Object(below));
        }
        map
    }

    /// The fields that an applied value declares: scalars, atomic lists and mappings, empty mappings, the entries of
    /// maps, and the items of keyed lists and sets besides what is in them.
    pub fn of_value(value: &Value, schema: &TypeRef) -> Self {
        let mut set = Self::default();
        set.collect(value, schema, &mut Vec::new());
        set
    }

    fn collect(&mut self, value: &Value, schema: &TypeRef, path: &mut Vec<PathElement>) {
        if path.len() > MAX_DEPTH {
            return;
        }
        if schema.is_leaf(value) {
            self.insert(path);
            return;
        }
        match value {
            Value::Array(items) => {
                let elements: Vec<_> = items.iter().map(|item| schema.item_element(item)).collect();
                for (item, element) in items.iter().zip(&elements) {
                    let Ok(element) = element else { continue };
                    path.push(element.clone());
                    let duplicated = elements.iter().flatten().filter(|other| *other == element).count() > 1;
                    if !duplicated {
                        self.collect(item, &schema.items(), path);
                    }
                    self.insert(path);
                    path.pop();
                }
            }
            Value::Object(map) => {
                for (name, item) in map {
                    path.push(PathElement::Field(name.clone()));
                    let declared = schema.declared_field(name);
                    let is_field = declared.is_some();
                    self.collect(item, &declared.unwrap_or_else(|| schema.field(name)), path);
                    let empty = item.is_null() || item.as_object().is_some_and(Map::is_empty);
                    if empty || !is_field {
                        self.insert(path);
                    }
                    path.pop();
                }
            }
            _ => {}
        }
    }

    /// Adds one path, without its parents. The empty path is ignored: nobody owns a whole object.
    pub fn insert(&mut self, path: &[PathElement]) {
        let Some((first, rest)) = path.split_first() else {
            return;
        };
        let node = self.nodes.entry(first.clone()).or_default();
        if rest.is_empty() {
            node.member = true;
        } else {
            node.below.insert(rest);
        }
    }

    /// Whether this very path is in the set.
    pub fn contains(&self, path: &[PathElement]) -> bool {
        let Some((first, rest)) = path.split_first() else {
            return false;
        };
        self.nodes
            .get(first)
            .is_some_and(|node| if rest.is_empty() { node.member } else { node.below.contains(rest) })
    }

    /// Whether this first element is a member.
    pub fn has_member(&self, element: &PathElement) -> bool {
        self.nodes.get(element).is_some_and(|node| node.member)
    }

    /// The paths that begin with this element, without it; `None` when there are none.
    pub fn below(&self, element: &PathElement) -> Option<&Self> {
        self.nodes.get(element).map(|node| &node.below).filter(|below| !below.is_empty())
    }

    /// The first elements of the set's paths, in order, for walking in step with a value.
    pub fn children(&self) -> Children<'_> {
        Children { nodes: self.nodes.iter() }
    }

    /// Whether no path is in the set.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// The paths in either set.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut nodes = self.nodes.clone();
        for (element, theirs) in &other.nodes {
            let node = nodes.entry(element.clone()).or_default();
            node.member |= theirs.member;
            node.below = node.below.union(&theirs.below);
        }
        Self { nodes }
    }

    /// The paths in both sets.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        self.combine(|element, node| {
            let theirs = other.nodes.get(element)?;
            Some(Node { member: node.member && theirs.member, below: node.below.intersection(&theirs.below) })
        })
    }

    /// The paths of this set that are not in the other. A path below one of the other's stays.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        self.combine(|element, node| {
            let Some(theirs) = other.nodes.get(element) else {
                return Some(node.clone());
            };
            Some(Node { member: node.member && !theirs.member, below: node.below.difference(&theirs.below) })
        })
    }

    /// The paths of this set that are neither in the other nor below one of its paths.
    #[must_use]
    pub fn recursive_difference(&self, other: &Self) -> Self {
        self.combine(|element, node| match other.nodes.get(element) {
            None => Some(node.clone()),
            Some(theirs) if theirs.member => None,
            Some(theirs) => {
                Some(Node { member: node.member, below: node.below.recursive_difference(&theirs.below) })
            }
        })
    }

    /// The set without paths that have others of the set below them.
    #[must_use]
    pub fn without_parents(&self) -> Self {
        self.combine(|_, node| {
            Some(Node { member: node.member && node.below.is_empty(), below: node.below.without_parents() })
        })
    }

    /// The set with every declared field of a struct that leads to one of its paths. The API server compares sets in
    /// this form where it decides what may be removed.
    #[must_use]
    pub fn with_named_parents(&self, schema: &TypeRef) -> Self {
        self.combine(|element, node| {
            let (is_field, below) = match element {
                PathElement::Field(name) => match schema.declared_field(name) {
                    Some(field) => (true, field),
                    None => (false, schema.field(name)),
                },
                PathElement::Key(_) => (false, schema.items()),
                PathElement::Value(_) | PathElement::Index(_) => (false, TypeRef::deduced()),
            };
            Some(Node {
                member: node.member || (is_field && !node.below.is_empty()),
                below: node.below.with_named_parents(&below),
            })
        })
    }

    /// The set as the current schema would have recorded it: where a list or mapping has become atomic, its owners
    /// own it as a whole.
    #[must_use]
    pub fn reconciled_with(&self, schema: &TypeRef) -> Self {
        self.combine(|element, node| {
            let below = match element {
                PathElement::Field(name) => schema.field(name),
                _ => schema.items(),
            };
            let whole = !node.below.is_empty() && below.is_declared_atomic();
            Some(if whole {
                Node { member: true, below: Self::default() }
            } else {
                Node { member: node.member, below: node.below.reconciled_with(&below) }
            })
        })
    }

    fn combine(&self, keep: impl Fn(&PathElement, &Node) -> Option<Node>) -> Self {
        let kept = |(element, node)| Some((PathElement::clone(element), keep(element, node)?));
        Self { nodes: self.nodes.iter().filter_map(kept).filter(|(_, node)| !node.is_empty()).collect() }
    }

    /// Every path of the set that has no other below it.
    pub fn leaves(&self) -> Vec<Vec<PathElement>> {
        self.without_parents().paths()
    }

    /// Every path of the set, in the order in which the API server lists conflicts: a mapping's own members before
    /// those below them.
    pub fn paths(&self) -> Vec<Vec<PathElement>> {
        let mut paths = Vec::new();
        self.list(&mut Vec::new(), &mut paths);
        paths
    }

    fn list(&self, prefix: &mut Vec<PathElement>, paths: &mut Vec<Vec<PathElement>>) {
        for (element, _) in self.nodes.iter().filter(|(_, node)| node.member) {
            paths.push(prefix.iter().chain([element]).cloned().collect());
        }
        for (element, node) in &self.nodes {
            prefix.push(element.clone());
            node.below.list(prefix, paths);
            prefix.pop();
        }
    }
}

fn read(value: &Value, path: &mut Vec<PathElement>) -> Result<(FieldSet, bool), FieldsError> {
    let Value::Object(map) = value else {
        return Err(FieldsError::NotAMapping {
            path: super::path_to_string(path),
            found: crate::object::type_name(value),
        });
    };
    if path.len() > MAX_DEPTH {
        return Err(FieldsError::TooDeep { limit: MAX_DEPTH });
    }
    let mut set = FieldSet::default();
    let mut member = false;
    for (key, below) in map {
        if key == "." {
            member = true;
            continue;
        }
        let Some(element) = PathElement::from_fields_v1(key)? else {
            continue;
        };
        path.push(element);
        let (below, is_member) = read(below, path)?;
        if let Some(element) = path.pop() {
            let node = Node { member: is_member, below };
            if !node.is_empty() {
                set.nodes.insert(element, node);
            }
        }
    }
    let member = member || set.is_empty();
    Ok((set, member))
}

impl TypeRef {
    /// Whether a value of this type is owned as a whole: a scalar, an atomic list or mapping.
    pub(crate) fn is_leaf(&self, value: &Value) -> bool {
        match value {
            Value::Array(_) => *self.list_type() == ListType::Atomic,
            Value::Object(_) => self.is_atomic_map(),
            Value::Null => self.is_scalar() || self.is_declared_atomic(),
            _ => true,
        }
    }
}
