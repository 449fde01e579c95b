//! What the API knows about the shape of objects: which lists are merged, by which keys, and what a field holds.
//!
//! ```text
//! built_in(gvk)      the kinds of Kubernetes itself, from a table (`schema/built_in.txt`)
//! from_openapi(..)   a CustomResourceDefinition's structural schema
//! TypeRef::deduced() everything else: lists are one leaf, mappings are merged
//!       └─▶ TypeRef ──field("spec")─▶ TypeRef ──items()─▶ TypeRef …
//! ```
//!
//! Server-side apply (`ListType`) and strategic merge patch ([`Patch`]) have different keys for the same list, and
//! both are here. A [`TypeRef`] is a cheap handle into a shared table, so types may refer to themselves.

mod built_in;
mod openapi;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use serde_json::Value;

use super::fields::PathElement;

pub use built_in::{built_in, built_in_kinds};
pub use openapi::from_openapi;

/// How server-side apply merges a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListType {
    /// The list is one leaf: it is replaced as a whole.
    Atomic,
    /// A set of scalars.
    Set,
    /// Items are mappings, told apart by these fields.
    Map(Vec<String>),
}

/// How an API-server strategic merge patch treats a field.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Patch {
    /// Lists are merged instead of replaced.
    pub merge: bool,
    /// The field that tells the list's items apart; none for a list of scalars.
    pub merge_key: Option<String>,
    /// A patch that names `$retainKeys` drops all other fields (used for unions such as volumes).
    pub retain_keys: bool,
}

/// What a scalar holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scalar {
    /// Text.
    String,
    /// Text or nothing: RFC 3339.
    Time,
    /// Base64 in a string.
    Bytes,
    /// A whole number.
    Integer,
    /// Any number.
    Number,
    /// True or false.
    Boolean,
    /// `500m`, `1Gi`: equal by value, not by text.
    Quantity,
    /// A port or a percentage.
    IntOrString,
    /// Any scalar.
    Untyped,
}

#[derive(Debug, Clone, Default)]
struct Type {
    name: String,
    scalar: Option<Scalar>,
    list: Option<List>,
    map: Option<Mapping>,
    deduced: bool,
}

#[derive(Debug, Clone)]
struct List {
    items: usize,
    list_type: ListType,
}

#[derive(Debug, Clone, Default)]
struct Mapping {
    fields: Vec<Field>,
    by_name: HashMap<String, usize>,
    element: Option<usize>,
    atomic: bool,
    embedded: bool,
}

impl Mapping {
    fn push(&mut self, field: Field) {
        self.by_name.insert(field.name.clone(), self.fields.len());
        self.fields.push(field);
    }

    fn field(&self, name: &str) -> Option<&Field> {
        self.by_name.get(name).and_then(|&index| self.fields.get(index))
    }
}

/// A field of a struct, as the API server's own types declare it.
#[derive(Debug, Clone)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// Its number in protobuf; of a custom resource's field 0.
    pub number: u32,
    /// Whether an empty value is left out when the object is written.
    pub omit_empty: bool,
    /// Whether 'not set' differs from the zero value (a pointer in the API server's types).
    pub optional: bool,
    /// The value of an absent field; for a list key, the value that a missing key has.
    pub default: Option<Value>,
    /// How a strategic merge patch treats it.
    pub patch: Patch,
    schema: usize,
}

#[derive(Debug, Default)]
struct Table {
    types: Vec<Type>,
}

const DEDUCED: usize = 0;
const UNTYPED_ATOMIC: usize = 1;

impl Table {
    /// A table that has the two types of values without schema, at fixed places.
    fn new() -> Self {
        let untyped = |list_items, element, atomic, deduced| Type {
            name: String::new(),
            scalar: Some(Scalar::Untyped),
            list: Some(List { items: list_items, list_type: ListType::Atomic }),
            map: Some(Mapping { element: Some(element), atomic, ..Mapping::default() }),
            deduced,
        };
        Self {
            types: vec![
                untyped(UNTYPED_ATOMIC, DEDUCED, false, true),
                untyped(UNTYPED_ATOMIC, UNTYPED_ATOMIC, true, true),
            ],
        }
    }

    fn add(&mut self, schema: Type) -> usize {
        self.types.push(schema);
        self.types.len().saturating_sub(1)
    }
}

/// A handle on the type of one value.
#[derive(Clone)]
pub struct TypeRef {
    table: Arc<Table>,
    index: usize,
}

impl std::fmt::Debug for TypeRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TypeRef({})", self.index)
    }
}

static UNKNOWN: LazyLock<Arc<Table>> = LazyLock::new(|| Arc::new(Table::new()));
static NO_TYPE: LazyLock<Type> = LazyLock::new(Type::default);

impl TypeRef {
    /// The type of a value that no schema describes: lists are atomic, mappings are merged field by field.
    pub fn deduced() -> Self {
        Self { table: Arc::clone(&UNKNOWN), index: DEDUCED }
    }

    fn get(&self) -> &Type {
        self.table.types.get(self.index).unwrap_or(&NO_TYPE)
    }

    fn at(&self, index: usize) -> Self {
        Self { table: Arc::clone(&self.table), index }
    }

    /// The name of a built-in type, such as `PodSpec`; empty for types without a name.
    pub fn name(&self) -> &str {
        &self.get().name
    }

    /// The type of a field or of a map's entry; the deduced type where the schema says nothing.
    pub fn field(&self, name: &str) -> Self {
        let map = self.get().map.as_ref();
        match map.and_then(|map| map.field(name).map(|field| field.schema).or(map.element)) {
            Some(index) => self.at(index),
            None => self.at(DEDUCED),
        }
    }

    /// The type of a field that the schema names (a struct's field, not a map's entry).
    pub fn declared_field(&self, name: &str) -> Option<Self> {
        Some(self.at(self.get().map.as_ref()?.field(name)?.schema))
    }

    /// The fields that the schema names, in its order.
    pub fn fields(&self) -> &[Field] {
        self.get().map.as_ref().map_or(&[], |map| &map.fields)
    }

    /// A field's declaration.
    pub fn field_info(&self, name: &str) -> Option<&Field> {
        self.get().map.as_ref()?.field(name)
    }

    /// Whether a mapping may have a field of this name.
    pub fn allows_field(&self, name: &str) -> bool {
        self.get().map.as_ref().is_some_and(|map| map.element.is_some() || map.field(name).is_some())
    }

    /// Whether this may be a mapping.
    pub fn is_map(&self) -> bool {
        self.get().map.is_some()
    }

    /// Whether this may be a list.
    pub fn is_list(&self) -> bool {
        self.get().list.is_some()
    }

    /// Whether this can only be a scalar.
    pub fn is_scalar(&self) -> bool {
        self.get().map.is_none() && self.get().list.is_none()
    }

    /// What a scalar of this type holds.
    pub fn scalar(&self) -> Option<Scalar> {
        self.get().scalar
    }

    /// The type of a list's items; the deduced type where the schema says nothing.
    pub fn items(&self) -> Self {
        self.at(self.get().list.as_ref().map_or(DEDUCED, |list| list.items))
    }

    /// How a list is merged.
    pub fn list_type(&self) -> &ListType {
        self.get().list.as_ref().map_or(&ListType::Atomic, |list| &list.list_type)
    }

    /// Whether a mapping is replaced as a whole (a label selector, say).
    pub fn is_atomic_map(&self) -> bool {
        self.get().map.as_ref().is_some_and(|map| map.atomic)
    }

    /// Whether a schema (not the lack of one) says that a list or mapping is replaced as a whole.
    pub fn is_declared_atomic(&self) -> bool {
        let this = self.get();
        !this.deduced
            && (this.map.as_ref().is_some_and(|map| map.atomic)
                || this.list.as_ref().is_some_and(|list| list.list_type == ListType::Atomic))
    }

    /// Whether no schema says anything about this value.
    pub fn is_deduced(&self) -> bool {
        self.get().deduced
    }

    /// Whether this mapping is a whole object of its own (`x-kubernetes-embedded-resource`).
    pub fn is_embedded_resource(&self) -> bool {
        self.get().map.as_ref().is_some_and(|map| map.embedded)
    }

    /// Whether this is a quantity, equal by value: `1000m` is `1`.
    pub fn is_quantity(&self) -> bool {
        self.get().scalar == Some(Scalar::Quantity)
    }

    /// Whether both a number and a string are right here.
    pub fn is_int_or_string(&self) -> bool {
        self.get().scalar == Some(Scalar::IntOrString)
    }

    /// For a keyed list: the value that a key field has where an item leaves it out (`protocol`: `TCP`).
    pub fn default_of_key(&self, key: &str) -> Option<Value> {
        let items = self.items();
        let field = items.field_info(key)?;
        // A field of a struct that is always written has the zero value of its type where it is not set.
        let zero = || match items.field(key).scalar()? {
            Scalar::String => Some(Value::from("")),
            Scalar::Integer => Some(Value::from(0)),
            _ => None,
        };
        let always = field.number > 0 && !field.optional && !field.omit_empty;
        field.default.clone().or_else(|| if always { zero() } else { None })
    }

    /// The path element that tells this item of a keyed list or set apart.
    ///
    /// # Errors
    /// A sentence, in the API server's words, when the list is atomic, the item lacks a key, or is of the wrong type.
    pub fn item_element(&self, item: &Value) -> Result<PathElement, String> {
        match self.list_type() {
            ListType::Atomic => Err("invalid indexing of non-associative list".to_owned()),
            ListType::Set => match item {
                Value::Object(_) => {
                    Err("associative list without keys has an element that's a map type".to_owned())
                }
                Value::Array(_) => Err("not supported: associative list with lists as elements".to_owned()),
                Value::Null => {
                    Err("associative list without keys has an element that's an explicit null".to_owned())
                }
                scalar => Ok(PathElement::Value(scalar.clone())),
            },
            ListType::Map(keys) => {
                let fields = match item {
                    Value::Object(fields) => fields,
                    Value::Null => {
                        return Err("associative list with keys may not have a null element".to_owned());
                    }
                    _ => return Err("associative list with keys may not have non-map elements".to_owned()),
                };
                let key = |name: &String| {
                    let value = fields.get(name).cloned().or_else(|| self.default_of_key(name));
                    value.map(|value| (name.clone(), value))
                };
                let found: Vec<(String, Value)> = keys.iter().filter_map(key).collect();
                if found.is_empty() {
                    let keys: Vec<String> = keys.iter().map(|key| format!("{key:?}")).collect();
                    return Err(format!(
                        "associative list with keys has an element that omits all key fields [{}] (and doesn't have \
                         default values for any key fields)",
                        keys.join(" ")
                    ));
                }
                Ok(PathElement::key(found))
            }
        }
    }
}
