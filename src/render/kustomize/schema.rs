//! What strategic merge and the transformers know of kinds: merge keys of lists, and scope.
//!
//! ```text
//! data/schema.json ─┐
//!                   ├─▶ Schema: (apiVersion, kind) ──root──▶ TypeRef ──field / items──▶ TypeRef ──merge_keys──▶ keys
//! `openapi:` file  ─┘
//! ```
//!
//! The built-in table is that of Kubernetes 1.21, the one that kustomize has built in, no more and no less: newer kinds
//! and custom resources have no schema, so that all their lists are replaced whole. In the table `"[k1 k2]T"` is a list
//! of `T` that merges by the keys (by value if there are none), `"T"` a mapping of type `T`, and a kind with a leading
//! `-` is cluster-scoped. Lists that are replaced whole are left out.

use std::collections::{HashMap, VecDeque};
use std::sync::OnceLock;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::fieldspec::{Configuration, FieldSpec, FieldSpecError, NameReference};
use crate::error::{Classified, ErrorKind};
use crate::object::{Gvk, type_name};

/// The namespace of an id whose kind is cluster-scoped.
pub const NOT_NAMESPACED: &str = "_non_namespaceable_";

/// How many properties one file of `crds:` may lead to, references followed.
const MAX_CRD_PROPERTIES: usize = 100_000;

/// How deep references between types of `crds:` are followed.
const MAX_CRD_DEPTH: usize = 64;

/// Why a file of `openapi:` or `crds:` cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// It is no OpenAPI document.
    #[error("not an OpenAPI document: {reason}")]
    NotOpenApi {
        /// What it is instead.
        reason: String,
    },
    /// It is no map of OpenAPI definitions.
    #[error(
        "unable to parse OpenAPI definition '{definition}': {reason}; 'crds' takes files that map type names to \
         OpenAPI schemas, not CustomResourceDefinition manifests"
    )]
    NotDefinitions {
        /// Name of the type.
        definition: String,
        /// What is wrong.
        reason: String,
    },
    /// The types refer to each other without end.
    #[error("the types of the CRD file refer to too many others, starting from '{definition}'")]
    TooManyReferences {
        /// Name of the type.
        definition: String,
    },
    /// Two types want different things of one field.
    #[error("the CRD file contradicts itself")]
    Conflict(#[from] FieldSpecError),
}

impl Classified for SchemaError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::User
    }
}

/// The types of all kinds.
#[derive(Debug, Clone, Default)]
pub struct Schema {
    types: Vec<Type>,
    kinds: HashMap<String, HashMap<String, usize>>,
}

#[derive(Debug, Clone, Default)]
struct Type {
    fields: HashMap<String, usize>,
    other_fields: Option<usize>,
    items: Option<usize>,
    merge_keys: Option<Vec<String>>,
}

/// One type of a schema.
#[derive(Debug, Clone, Copy)]
pub struct TypeRef<'a> {
    schema: &'a Schema,
    index: usize,
}

impl<'a> TypeRef<'a> {
    fn get(self) -> Option<&'a Type> {
        self.schema.types.get(self.index)
    }

    fn at(self, index: usize) -> Self {
        Self { index, ..self }
    }

    /// The type of a field, if it is known.
    pub fn field(self, name: &str) -> Option<Self> {
        let this = self.get()?;
        this.fields.get(name).copied().or(this.other_fields).map(|index| self.at(index))
    }

    /// The type of the elements of a list, if it is known.
    pub fn items(self) -> Option<Self> {
        self.get()?.items.map(|index| self.at(index))
    }

    /// By what the elements of a list that merges are partners; no keys for a set of scalars. Nothing for a list that
    /// is replaced whole.
    pub fn merge_keys(self) -> Option<&'a [String]> {
        self.get()?.merge_keys.as_deref()
    }
}

#[derive(Deserialize)]
struct Table {
    kinds: HashMap<String, HashMap<String, String>>,
    types: HashMap<String, HashMap<String, String>>,
}

fn table() -> &'static Table {
    static TABLE: OnceLock<Table> = OnceLock::new();
    TABLE.get_or_init(|| {
        // The embedded table is checked by a test.
        serde_json::from_str(include_str!("data/schema.json"))
            .unwrap_or_else(|_| Table { kinds: HashMap::new(), types: HashMap::new() })
    })
}

/// Whether kustomize knows the kind to be cluster-scoped. Custom resources and new kinds never are.
pub fn is_cluster_scoped(gvk: &Gvk) -> bool {
    static VERSIONS: OnceLock<HashMap<&'static str, Vec<&'static str>>> = OnceLock::new();
    let versions = VERSIONS.get_or_init(|| {
        let mut versions: HashMap<&str, Vec<&str>> = HashMap::new();
        for (version, kinds) in &table().kinds {
            for (kind, _) in kinds.iter().filter(|(_, description)| description.starts_with('-')) {
                versions.entry(kind).or_default().push(version);
            }
        }
        versions
    });
    versions.get(gvk.kind.as_str()).is_some_and(|versions| {
        versions.iter().any(|text| {
            let (group, version) = text.rsplit_once('/').unwrap_or(("", text));
            group == gvk.group && version == gvk.version
        })
    })
}

/// The namespace that counts when ids are compared: one and the same for all cluster-scoped kinds, `default` for none.
pub fn effective_namespace<'a>(gvk: &Gvk, namespace: &'a str) -> &'a str {
    if is_cluster_scoped(gvk) {
        NOT_NAMESPACED
    } else if namespace.is_empty() {
        "default"
    } else {
        namespace
    }
}

impl Schema {
    /// The schema that is built in.
    pub fn built_in() -> &'static Self {
        static BUILT_IN: OnceLock<Schema> = OnceLock::new();
        BUILT_IN.get_or_init(|| Self::from_table(table()))
    }

    /// Reads the document that `openapi: {path: …}` names. It stands instead of the built-in schema.
    ///
    /// # Errors
    /// When it is not a mapping or its `definitions` are not.
    pub fn from_openapi(document: &Value) -> Result<Self, SchemaError> {
        let not_openapi =
            |value: &Value| SchemaError::NotOpenApi { reason: format!("it is {}", type_name(value)) };
        let root = document.as_object().ok_or_else(|| not_openapi(document))?;
        let definitions = match root.get("definitions") {
            None | Some(Value::Null) => return Ok(Self::default()),
            Some(Value::Object(definitions)) => definitions,
            Some(other) => {
                let reason = format!("its 'definitions' are {}", type_name(other));
                return Err(SchemaError::NotOpenApi { reason });
            }
        };
        Ok(Builder::new(definitions).build())
    }

    /// The types of this schema and of one that was read later, which counts for the kinds that both have.
    pub fn extended_by(&self, later: &Self) -> Self {
        let mut both = self.clone();
        let moved = |index: usize| index + self.types.len();
        both.types.extend(later.types.iter().map(|later| Type {
            fields: later.fields.iter().map(|(name, index)| (name.clone(), moved(*index))).collect(),
            other_fields: later.other_fields.map(moved),
            items: later.items.map(moved),
            merge_keys: later.merge_keys.clone(),
        }));
        for (api_version, kinds) in &later.kinds {
            let kinds = kinds.iter().map(|(kind, index)| (kind.clone(), moved(*index)));
            both.kinds.entry(api_version.clone()).or_default().extend(kinds);
        }
        both
    }

    /// Whether the built-in table has a kind.
    pub fn is_built_in(gvk: &Gvk) -> bool {
        table().kinds.get(&gvk.api_version()).is_some_and(|kinds| kinds.contains_key(&gvk.kind))
    }

    /// The type of a kind.
    pub fn root(&self, api_version: &str, kind: &str) -> Option<TypeRef<'_>> {
        let index = *self.kinds.get(api_version)?.get(kind)?;
        Some(TypeRef { schema: self, index })
    }

    fn from_table(table: &Table) -> Self {
        let mut schema = Self { types: vec![Type::default(); table.types.len()], kinds: HashMap::new() };
        let names: HashMap<&str, usize> =
            table.types.keys().enumerate().map(|(index, name)| (name.as_str(), index)).collect();
        for (name, fields) in &table.types {
            let mut this = Type::default();
            for (field, text) in fields {
                let index = match text.strip_prefix('[').and_then(|text| text.split_once(']')) {
                    None => names.get(text.as_str()).copied(),
                    Some((keys, items)) => {
                        let merge_keys = Some(keys.split_whitespace().map(str::to_owned).collect());
                        let items = names.get(items).copied();
                        schema.types.push(Type { merge_keys, items, ..Type::default() });
                        schema.types.len().checked_sub(1)
                    }
                };
                this.fields.extend(index.map(|index| (field.clone(), index)));
            }
            if let Some(slot) = names.get(name.as_str()).and_then(|index| schema.types.get_mut(*index)) {
                *slot = this;
            }
        }
        for (api_version, kinds) in &table.kinds {
            let kinds = kinds.iter().filter_map(|(kind, text)| {
                names.get(text.trim_start_matches('-')).map(|index| (kind.clone(), *index))
            });
            schema.kinds.insert(api_version.clone(), kinds.collect());
        }
        schema
    }
}

/// Turns OpenAPI definitions into types, each definition and each inline schema once.
struct Builder<'a> {
    definitions: &'a Map<String, Value>,
    schema: Schema,
    named: HashMap<&'a str, usize>,
    pending: VecDeque<(usize, &'a Value)>,
}

impl<'a> Builder<'a> {
    fn new(definitions: &'a Map<String, Value>) -> Self {
        Self { definitions, schema: Schema::default(), named: HashMap::new(), pending: VecDeque::new() }
    }

    fn build(mut self) -> Schema {
        for (name, definition) in self.definitions {
            let index = self.named(name);
            let kinds = definition.get("x-kubernetes-group-version-kind").and_then(Value::as_array);
            for kind in kinds.into_iter().flatten() {
                let text = |field| kind.get(field).and_then(Value::as_str).unwrap_or_default();
                let gvk = Gvk::new(text("group"), text("version"), text("kind"));
                if let Some(index) = index {
                    self.schema.kinds.entry(gvk.api_version()).or_default().insert(gvk.kind, index);
                }
            }
        }
        while let Some((index, node)) = self.pending.pop_front() {
            let mut this = Type::default();
            for (field, property) in node.get("properties").and_then(Value::as_object).into_iter().flatten() {
                this.fields.extend(self.resolve(property).map(|index| (field.clone(), index)));
            }
            this.other_fields = node
                .get("additionalProperties")
                .filter(|node| node.is_object())
                .and_then(|node| self.resolve(node));
            if node.get("type").and_then(Value::as_str) == Some("array") {
                this.items = node.get("items").and_then(|node| self.resolve(node));
                this.merge_keys = merge_keys(node);
            }
            if let Some(slot) = self.schema.types.get_mut(index) {
                *slot = this;
            }
        }
        self.schema
    }

    fn resolve(&mut self, node: &'a Value) -> Option<usize> {
        match node.get("$ref").and_then(Value::as_str) {
            Some(reference) => self.named(reference.strip_prefix("#/definitions/")?),
            None => Some(self.allocate(node)),
        }
    }

    fn named(&mut self, name: &str) -> Option<usize> {
        let (name, node) = self.definitions.get_key_value(name)?;
        if let Some(index) = self.named.get(name.as_str()) {
            return Some(*index);
        }
        let index = self.allocate(node);
        self.named.insert(name, index);
        Some(index)
    }

    fn allocate(&mut self, node: &'a Value) -> usize {
        let index = self.schema.types.len();
        self.schema.types.push(Type::default());
        self.pending.push_back((index, node));
        index
    }
}

fn merge_keys(node: &Value) -> Option<Vec<String>> {
    let strategy = node.get("x-kubernetes-patch-strategy").and_then(Value::as_str)?;
    if !strategy.split(',').any(|strategy| strategy == "merge") {
        return None;
    }
    if let Some(keys) = node.get("x-kubernetes-list-map-keys").and_then(Value::as_array) {
        return Some(keys.iter().filter_map(Value::as_str).map(str::to_owned).collect());
    }
    let key = node.get("x-kubernetes-patch-merge-key").and_then(Value::as_str);
    Some(key.map(str::to_owned).into_iter().collect())
}

/// What a file of `crds:` implies for the transformers.
///
/// # Errors
/// When it does not map type names to OpenAPI definitions, or its types refer to each other without end.
pub fn crd_configuration(document: &Value) -> Result<Configuration, SchemaError> {
    let mut definitions = HashMap::new();
    let not_definitions = |definition: &str, value: &Value| SchemaError::NotDefinitions {
        definition: definition.to_owned(),
        reason: format!("it is {}", type_name(value)),
    };
    // A file with nothing but comments defines nothing.
    let nothing = Map::new();
    let root = match document {
        Value::Null => &nothing,
        _ => document.as_object().ok_or_else(|| not_definitions("", document))?,
    };
    for (name, definition) in root.iter().filter(|(_, definition)| !definition.is_null()) {
        let fields = definition.as_object().ok_or_else(|| not_definitions(name, definition))?;
        let schema = fields.iter().find(|(field, _)| field.eq_ignore_ascii_case("schema"));
        let properties = schema.and_then(|(_, schema)| schema.get("properties")).and_then(Value::as_object);
        definitions.insert(name.as_str(), properties);
    }
    let mut configuration = Configuration::default();
    let mut budget = MAX_CRD_PROPERTIES;
    for name in root.keys() {
        let properties = definitions.get(name.as_str()).copied().flatten();
        let is_kind = |properties: &Map<String, Value>| {
            ["kind", "apiVersion", "metadata"].iter().all(|field| properties.contains_key(*field))
        };
        if !properties.is_some_and(is_kind) {
            continue;
        }
        let kind = name.rsplit('.').next().unwrap_or(name);
        let mut found = Configuration::default();
        let mut pending = vec![(name.as_str(), String::new(), 0)];
        while let Some((definition, path, depth)) = pending.pop() {
            let properties = definitions.get(definition).copied().flatten();
            for (property, node) in properties.into_iter().flatten() {
                let too_many = || SchemaError::TooManyReferences { definition: name.clone() };
                budget = budget.checked_sub(1).ok_or_else(too_many)?;
                let escaped = property.replace('/', "\\/");
                let path = if path.is_empty() { escaped } else { format!("{path}/{escaped}") };
                note_property(&mut found, kind, &path, node);
                if let Some(reference) = node.get("$ref").and_then(Value::as_str)
                    && definitions.contains_key(reference)
                {
                    if depth == MAX_CRD_DEPTH {
                        return Err(too_many());
                    }
                    pending.push((reference, path, depth + 1));
                }
            }
        }
        configuration.merge(&found)?;
    }
    Ok(configuration)
}

fn note_property(found: &mut Configuration, kind: &str, path: &str, node: &Value) {
    let text = |extension: &str| node.get(extension).and_then(Value::as_str);
    let spec = |path: &str| FieldSpec { kind: kind.to_owned(), ..FieldSpec::any(path, false) };
    if text("x-kubernetes-annotation").is_some() {
        found.common_annotations.push(spec(path));
    }
    if text("x-kubernetes-label-selector").is_some() {
        found.common_labels.push(spec(path));
    }
    if text("x-kubernetes-identity").is_some() {
        found.name_prefix.push(spec(path));
    }
    if let (Some(version), Some(target)) =
        (text("x-kubernetes-object-ref-api-version"), text("x-kubernetes-object-ref-kind"))
    {
        let key = text("x-kubernetes-object-ref-name-key").unwrap_or("name");
        found.name_reference.push(NameReference {
            version: version.to_owned(),
            kind: target.to_owned(),
            field_specs: vec![spec(&format!("{path}/{key}"))],
            ..NameReference::default()
        });
    }
}

#[cfg(test)]
mod tests;
