//! A Kubernetes object as data.
//!
//! ```text
//! bytes ──yaml──▶ Value ──Object::from_value──▶ Object ──key──▶ ObjectKey
//! ```
//!
//! An [`Object`] is a JSON value that is known to have an `apiVersion`, a `kind` and a name, so nobody further down
//! asks again. Field order is kept as written. Printing an `Object` for debugging shows its identity, never its
//! contents: it may be a Secret. This room knows nothing of files, clusters or Argo CD.

pub mod fields;
mod key;
pub mod quantity;
pub mod schema;
pub mod yaml;

use std::fmt;

pub use key::{GroupKind, Gvk, ObjectKey, Scope};
use serde_json::{Map, Value};

/// Why a value is not a Kubernetes object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ObjectError {
    /// The document is a list, a string, a number…
    #[error("a Kubernetes object must be a mapping, but this is {found}")]
    NotAMapping {
        /// What it is instead.
        found: &'static str,
    },
    /// A field that every object has is missing or empty.
    #[error("{object}field '{field}' is missing: every Kubernetes object needs it")]
    Missing {
        /// As much as is known of the object, with a trailing `: `, or nothing.
        object: String,
        /// The field's path.
        field: &'static str,
    },
    /// A field that must be a string or a mapping is something else.
    #[error("{object}field '{field}' must be {expected}")]
    WrongType {
        /// As much as is known of the object, with a trailing `: `, or nothing.
        object: String,
        /// The field's path.
        field: String,
        /// What it must be.
        expected: &'static str,
    },
}

/// A Kubernetes object: a JSON mapping with `apiVersion`, `kind` and `metadata.name` (or `metadata.generateName`).
#[derive(Clone, PartialEq)]
pub struct Object {
    value: Value,
}

impl Object {
    /// Checks that a value is an object and takes it.
    ///
    /// # Errors
    /// When it is not a mapping, when `apiVersion`, `kind` or the name is missing, empty or no string, or when
    /// `metadata`, `metadata.labels` or `metadata.annotations` has the wrong type (a number as label, say).
    pub fn from_value(value: Value) -> Result<Self, ObjectError> {
        Self::check(&value)?;
        Ok(Self { value })
    }

    /// Checks that a value is an object.
    ///
    /// # Errors
    /// As [`Object::from_value`].
    pub fn check(value: &Value) -> Result<(), ObjectError> {
        let Value::Object(map) = value else {
            return Err(ObjectError::NotAMapping { found: type_name(value) });
        };
        let kind = map.get("kind").and_then(Value::as_str).unwrap_or_default();
        let metadata = map.get("metadata");
        let name = metadata.and_then(|m| m.get("name")).and_then(Value::as_str).unwrap_or_default();
        let known = match (kind, name) {
            ("", "") => String::new(),
            ("", name) => format!("object '{name}': "),
            (kind, "") => format!("{kind}: "),
            (kind, name) => format!("{kind} '{name}': "),
        };
        let missing = |field| ObjectError::Missing { object: known.clone(), field };
        let wrong = |field: &str, expected| ObjectError::WrongType {
            object: known.clone(),
            field: field.to_owned(),
            expected,
        };
        for field in ["apiVersion", "kind"] {
            match map.get(field) {
                Some(Value::String(text)) if !text.is_empty() => {}
                None | Some(Value::Null | Value::String(_)) => {
                    return Err(missing(if field == "kind" { "kind" } else { "apiVersion" }));
                }
                Some(_) => return Err(wrong(field, "a string")),
            }
        }
        let metadata = match metadata {
            Some(Value::Object(metadata)) => metadata,
            None | Some(Value::Null) => return Err(missing("metadata.name")),
            Some(_) => return Err(wrong("metadata", "a mapping")),
        };
        for field in ["name", "generateName", "namespace"] {
            if !matches!(metadata.get(field), None | Some(Value::Null | Value::String(_))) {
                return Err(wrong(&format!("metadata.{field}"), "a string (put it in quotes)"));
            }
        }
        let has =
            |field: &str| metadata.get(field).and_then(Value::as_str).is_some_and(|text| !text.is_empty());
        if !has("name") && !has("generateName") {
            return Err(missing("metadata.name"));
        }
        for field in ["labels", "annotations"] {
            match metadata.get(field) {
                None | Some(Value::Null) => {}
                Some(Value::Object(entries)) => {
                    if let Some((key, _)) =
                        entries.iter().find(|(_, v)| !matches!(v, Value::String(_) | Value::Null))
                    {
                        let field = format!("metadata.{field}[{key}]");
                        return Err(wrong(&field, "a string (put it in quotes)"));
                    }
                }
                Some(_) => return Err(wrong(&format!("metadata.{field}"), "a mapping of strings")),
            }
        }
        Ok(())
    }

    /// The object as JSON.
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// The object as JSON, given away.
    pub fn into_value(self) -> Value {
        self.value
    }

    /// Changes the object's fields and checks it again.
    ///
    /// # Errors
    /// As [`Object::from_value`], when the change broke what makes it an object.
    pub fn edit(self, change: impl FnOnce(&mut Value)) -> Result<Self, ObjectError> {
        let mut value = self.value;
        change(&mut value);
        Self::from_value(value)
    }

    /// `apiVersion`.
    pub fn api_version(&self) -> &str {
        self.text("/apiVersion")
    }

    /// `kind`.
    pub fn kind(&self) -> &str {
        self.text("/kind")
    }

    /// The API group: empty for the core group.
    pub fn group(&self) -> &str {
        self.api_version().rsplit_once('/').map_or("", |(group, _)| group)
    }

    /// Group, version and kind.
    pub fn gvk(&self) -> Gvk {
        Gvk::from_api_version(self.api_version(), self.kind())
    }

    /// `metadata.name`; empty when only `generateName` is set.
    pub fn name(&self) -> &str {
        self.text("/metadata/name")
    }

    /// `metadata.generateName`; empty when absent.
    pub fn generate_name(&self) -> &str {
        self.text("/metadata/generateName")
    }

    /// `metadata.namespace`; empty when absent.
    pub fn namespace(&self) -> &str {
        self.text("/metadata/namespace")
    }

    /// `metadata.uid`; empty for an object that did not come from a cluster.
    pub fn uid(&self) -> &str {
        self.text("/metadata/uid")
    }

    /// `metadata.resourceVersion`; empty for an object that did not come from a cluster.
    pub fn resource_version(&self) -> &str {
        self.text("/metadata/resourceVersion")
    }

    /// Whether deletion has begun (`metadata.deletionTimestamp` is set).
    pub fn is_terminating(&self) -> bool {
        !self.text("/metadata/deletionTimestamp").is_empty()
    }

    /// The object's identity.
    pub fn key(&self) -> ObjectKey {
        ObjectKey::new(self.group(), self.kind(), self.namespace(), self.name())
    }

    /// One label's value.
    pub fn label(&self, key: &str) -> Option<&str> {
        self.metadata_entry("labels", key)
    }

    /// One annotation's value.
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.metadata_entry("annotations", key)
    }

    /// Sets one annotation.
    pub fn set_annotation(&mut self, key: &str, text: &str) {
        self.set_metadata_entry("annotations", key, text);
    }

    /// Sets one label.
    pub fn set_label(&mut self, key: &str, text: &str) {
        self.set_metadata_entry("labels", key, text);
    }

    /// Sets the namespace; an empty one removes the field.
    pub fn set_namespace(&mut self, namespace: &str) {
        if let Some(metadata) = self.metadata_mut() {
            if namespace.is_empty() {
                metadata.shift_remove("namespace");
            } else {
                metadata.insert("namespace".to_owned(), Value::from(namespace));
            }
        }
    }

    /// Whether this is a core `Secret`, whose values never leave the process but for its cluster.
    pub fn is_secret(&self) -> bool {
        self.kind() == "Secret" && self.group().is_empty()
    }

    fn text(&self, pointer: &str) -> &str {
        self.value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }

    fn metadata_mut(&mut self) -> Option<&mut Map<String, Value>> {
        self.value.get_mut("metadata").and_then(Value::as_object_mut)
    }

    fn metadata_entry(&self, field: &str, key: &str) -> Option<&str> {
        self.value.get("metadata")?.get(field)?.get(key)?.as_str()
    }

    fn set_metadata_entry(&mut self, field: &str, key: &str, text: &str) {
        let Some(metadata) = self.metadata_mut() else { return };
        let entries = metadata.entry(field).or_insert(Value::Null);
        if entries.is_null() {
            *entries = Value::Object(Map::new());
        }
        if let Some(entries) = entries.as_object_mut() {
            entries.insert(key.to_owned(), Value::from(text));
        }
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Object({})", self.key())
    }
}

/// What a JSON value is, with its article, for error messages.
pub fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "a mapping",
    }
}
