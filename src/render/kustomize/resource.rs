//! A resource on its way through a build: its fields, and what is remembered of it.
//!
//! ```text
//! file ──▶ Manifest (parsed once) ──▶ Resource ──▶ … renamed, moved, patched … ──▶ output
//! ```
//!
//! Each renaming step first stores the id that the resource has: selectors, patches, name references and vars know a
//! resource by its former names too. kustomize keeps this memory in annotations of the object, here it stays outside.

use std::rc::Rc;

use serde_json::{Map, Value};

use super::{
    fieldspec::gvk_of, filter::scalar_text, load::Place, manifest::Manifest, schema, selector::Id,
    shared::Shared,
};
use crate::files::RepoPath;

/// One of the annotations in which kustomize remembers things.
const NOTE: &str = "internal.config.kubernetes.io/previousNames";

/// Where something comes from, for `buildMetadata`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Provenance {
    /// A resource file.
    File(Place),
    /// A generator or a transformer.
    Plugin {
        /// The file that configures it.
        configured_in: Place,
        /// `apiVersion`, `kind`, `name`, `namespace`; the last two may be empty.
        configured_by: Box<[String; 4]>,
    },
}

impl Provenance {
    /// The record as kustomize writes it.
    pub fn to_value(&self) -> Value {
        let mut record = Map::new();
        let mut add = |field: &str, text: &str| {
            if !text.is_empty() {
                record.insert(field.to_owned(), Value::from(text));
            }
        };
        let (Self::File(place) | Self::Plugin { configured_in: place, .. }) = self;
        if let Self::File(place) = self {
            add("path", &place.path);
        }
        if let Some(remote) = &place.remote {
            add("repo", &remote.repository);
            add("ref", &remote.reference);
        }
        match self {
            Self::File(_) => {}
            Self::Plugin { configured_in, configured_by } => {
                add("configuredIn", &configured_in.path);
                let fields = ["apiVersion", "kind", "name", "namespace"];
                let by = fields
                    .iter()
                    .zip(configured_by.iter())
                    .filter(|(_, text)| !text.is_empty())
                    .map(|(field, text)| ((*field).to_owned(), Value::from(text.as_str())))
                    .collect();
                record.insert("configuredBy".to_owned(), Value::Object(by));
            }
        }
        Value::Object(record)
    }
}

/// A resource during a build.
#[derive(Debug, Clone)]
pub(super) struct Resource {
    /// Its fields. After a change of identity call [`Resource::refresh`].
    pub value: Value,
    current: Id,
    /// Oldest first; namespaces are effective ones.
    previous: Vec<Id>,
    /// In the order applied.
    pub prefixes: Vec<Rc<str>>,
    /// In the order applied.
    pub suffixes: Vec<Rc<str>>,
    /// Whether its name gets a hash of its content in the end.
    pub needs_hash: bool,
    /// Vars that read it.
    pub vars: Vec<String>,
    /// The file and line it was read from, or those of the kustomization that generated it.
    pub file: Option<RepoPath>,
    pub line: usize,
    pub origin: Option<Rc<Provenance>>,
    pub transformations: Vec<Rc<Provenance>>,
    /// Paths of the fields that are null because nothing is written there.
    pub blank_fields: Vec<Vec<String>>,
    /// Texts that one write changes in several fields.
    pub shared: Shared,
    /// A patch removed it.
    pub is_deleted: bool,
}

impl Resource {
    pub fn new(manifest: Manifest) -> Self {
        let current = id_of(&manifest.value);
        Self {
            value: manifest.value,
            current,
            previous: Vec::new(),
            prefixes: Vec::new(),
            suffixes: Vec::new(),
            needs_hash: false,
            vars: Vec::new(),
            file: manifest.file,
            line: manifest.line,
            origin: None,
            transformations: Vec::new(),
            blank_fields: manifest.blank_fields,
            shared: Shared::default(),
            is_deleted: false,
        }
    }

    /// The id it has now.
    pub fn id(&self) -> &Id {
        &self.current
    }

    /// The id it had first.
    pub fn original_id(&self) -> &Id {
        self.previous.first().unwrap_or(&self.current)
    }

    /// The ids it had, oldest first.
    pub fn previous_ids(&self) -> &[Id] {
        &self.previous
    }

    /// The id it has now and those it had.
    pub fn ids(&self) -> impl Iterator<Item = &Id> {
        std::iter::once(&self.current).chain(&self.previous)
    }

    /// Takes the identity from the fields again, after they have changed.
    pub fn refresh(&mut self) {
        self.shared.settle(&mut self.value);
        if !is_id_of(&self.current, &self.value) {
            self.current = id_of(&self.value);
        }
        // Only name, namespace and kind are remembered; group and version are always the current ones.
        for previous in &mut self.previous {
            if previous.gvk.group != self.current.gvk.group {
                previous.gvk.group.clone_from(&self.current.gvk.group);
            }
            if previous.gvk.version != self.current.gvk.version {
                previous.gvk.version.clone_from(&self.current.gvk.version);
            }
        }
    }

    /// Remembers the id it has, before a step that changes it.
    pub fn store_previous_id(&mut self) {
        let mut id = self.current.clone();
        id.namespace = id.effective_namespace().to_owned();
        self.previous.push(id);
    }

    /// Takes over what is remembered of another resource, whose place this one takes.
    pub fn inherit(&mut self, other: &Self) {
        self.previous.clone_from(&other.previous);
        self.prefixes.clone_from(&other.prefixes);
        self.suffixes.clone_from(&other.suffixes);
        self.vars.clone_from(&other.vars);
        self.transformations.clone_from(&other.transformations);
        self.refresh();
    }

    /// Whether kustomize would have notes of its own in the annotations, which therefore exist.
    pub fn has_annotations_of_kustomize(&self) -> bool {
        !self.previous.is_empty() || self.needs_hash || self.origin.is_some() || !self.prefixes.is_empty()
    }

    /// Writes a note of kustomize's into the annotations, if it would have any; whether it is there. A step that removes it
    /// removes all that kustomize remembers: [`Resource::forget`].
    pub fn write_note(&mut self) -> bool {
        let annotations = if self.has_annotations_of_kustomize() { self.annotations_mut() } else { None };
        annotations.map(|annotations| annotations.insert(NOTE.to_owned(), Value::from(""))).is_some()
    }

    /// Takes the note out again; whether it was still there.
    pub fn take_note(&mut self) -> bool {
        let Some(Value::Object(metadata)) = self.value.get_mut("metadata") else { return false };
        let Some(Value::Object(annotations)) = metadata.get_mut("annotations") else { return false };
        let is_there = annotations.shift_remove(NOTE).is_some();
        if is_there && annotations.is_empty() {
            metadata.shift_remove("annotations");
        }
        is_there
    }

    /// Forgets former names, prefixes, the hash that was to come and where it is from.
    pub fn forget(&mut self) {
        self.previous.clear();
        self.prefixes.clear();
        self.suffixes.clear();
        self.needs_hash = false;
        self.forget_origin();
    }

    /// Forgets where it is from and what was done to it.
    pub fn forget_origin(&mut self) {
        self.origin = None;
        self.transformations.clear();
    }

    /// Adds the record of a step. What has no record of where it is from was made by that step, as far as kustomize knows.
    pub fn record(&mut self, step: &Rc<Provenance>) {
        if self.origin.is_none() {
            self.origin = Some(Rc::clone(step));
        } else {
            self.transformations.push(Rc::clone(step));
        }
    }

    /// `metadata`, made if it is missing.
    pub fn metadata_mut(&mut self) -> Option<&mut Map<String, Value>> {
        let metadata = self.value.as_object_mut()?.entry("metadata").or_insert(Value::Null);
        if metadata.is_null() {
            *metadata = Value::Object(Map::new());
        }
        metadata.as_object_mut()
    }

    /// `metadata.annotations`, made if they are missing.
    pub fn annotations_mut(&mut self) -> Option<&mut Map<String, Value>> {
        let annotations = self.metadata_mut()?.entry("annotations").or_insert(Value::Null);
        if annotations.is_null() {
            *annotations = Value::Object(Map::new());
        }
        annotations.as_object_mut()
    }

    /// Removes `metadata.annotations` if they hold nothing.
    pub fn drop_empty_annotations(&mut self) {
        if let Some(metadata) = self.metadata_mut()
            && metadata.get("annotations").and_then(Value::as_object).is_some_and(Map::is_empty)
        {
            metadata.shift_remove("annotations");
        }
    }

    /// Sets the name.
    pub fn set_name(&mut self, name: &str) {
        if let Some(metadata) = self.metadata_mut() {
            metadata.insert("name".to_owned(), Value::from(name));
        }
        name.clone_into(&mut self.current.name);
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
        namespace.clone_into(&mut self.current.namespace);
    }

    /// Sets the kind.
    pub fn set_kind(&mut self, kind: &str) {
        if let Some(fields) = self.value.as_object_mut() {
            fields.insert("kind".to_owned(), Value::from(kind));
        }
        kind.clone_into(&mut self.current.gvk.kind);
    }
}

/// The id that a value has.
pub(super) fn id_of(value: &Value) -> Id {
    // A JSON patch can make a number of a name: it counts by its text.
    let text = |field| {
        value
            .get("metadata")
            .and_then(|metadata| metadata.get(field))
            .and_then(scalar_text)
            .unwrap_or_default()
    };
    Id { gvk: gvk_of(value), name: text("name"), namespace: text("namespace") }
}

/// Whether an id is the one that a value has, as far as that is seen at a glance.
fn is_id_of(id: &Id, value: &Value) -> bool {
    let metadata = value.get("metadata");
    let text = |field| metadata.and_then(|metadata| metadata.get(field)).map_or(Some(""), Value::as_str);
    let api_version = value.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
    let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
    value.get("kind").and_then(Value::as_str) == Some(id.gvk.kind.as_str())
        && text("name") == Some(id.name.as_str())
        && text("namespace") == Some(id.namespace.as_str())
        && (group, version) == (id.gvk.group.as_str(), id.gvk.version.as_str())
}

/// Whether two ids mean the same resource: namespaces are compared as they take effect.
pub(super) fn is_same(a: &Id, b: &Id) -> bool {
    a.name == b.name && a.gvk == b.gvk && a.effective_namespace() == b.effective_namespace()
}

/// Whether a kind is selected by another where empty parts fit any.
pub(super) fn is_selected(gvk: &crate::object::Gvk, group: &str, version: &str, kind: &str) -> bool {
    (group.is_empty() || gvk.group == group)
        && (version.is_empty() || gvk.version == version)
        && (kind.is_empty() || gvk.kind == kind)
}

/// An id in words: `Deployment shop/api (apps/v1)`.
pub(super) fn describe(id: &Id) -> String {
    let api_version = match id.gvk.api_version() {
        text if text.is_empty() => String::new(),
        text => format!(" ({text})"),
    };
    match id.namespace.as_str() {
        "" => format!("{} '{}'{api_version}", id.gvk.kind, id.name),
        namespace => format!("{} '{namespace}/{}'{api_version}", id.gvk.kind, id.name),
    }
}

/// Whether a kind lies outside of namespaces.
pub(super) fn is_cluster_scoped(id: &Id) -> bool {
    schema::is_cluster_scoped(&id.gvk)
}
