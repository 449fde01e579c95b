//! Field managers: who owns which fields, since when.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value, json};

use super::compare::Comparison;
use super::{Conflict, Operation};
use crate::object::fields::{FieldSet, PathElement};
use crate::object::schema::TypeRef;

/// How many managers by update are kept apart.
const MAX_UPDATE_MANAGERS: usize = 10;

/// What tells two entries of `managedFields` apart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Manager {
    /// The manager's name.
    pub name: String,
    /// Whether it applies (or updates).
    pub applies: bool,
    /// `apiVersion` of its updates; empty for appliers, who have one entry whatever the version.
    pub api_version: String,
    /// `status`, `scale`; empty for the object itself.
    pub subresource: String,
}

impl Manager {
    pub(super) fn applying(operation: &Operation<'_>) -> Self {
        Self { applies: true, api_version: String::new(), ..Self::updating(operation) }
    }

    fn updating(operation: &Operation<'_>) -> Self {
        let name = if operation.manager.is_empty() { "unknown" } else { operation.manager };
        Self {
            name: name.to_owned(),
            applies: false,
            api_version: operation.api_version.to_owned(),
            subresource: operation.subresource.to_owned(),
        }
    }
}

impl fmt::Display for Manager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.name)?;
        if !self.subresource.is_empty() {
            write!(f, " with subresource {:?}", self.subresource)?;
        }
        if self.applies { Ok(()) } else { write!(f, " using {}", self.api_version) }
    }
}

/// What one manager owns.
#[derive(Debug, Clone)]
pub(super) struct Set {
    pub fields: FieldSet,
    pub api_version: String,
    pub time: Option<String>,
}

/// Every manager of one object.
#[derive(Debug, Clone, Default)]
pub(super) struct Managers {
    sets: BTreeMap<Manager, Set>,
}

impl Managers {
    /// Those of a stored object; none when they cannot be read.
    pub(super) fn of_object(object: &Value) -> Self {
        let entries = object.pointer("/metadata/managedFields").and_then(Value::as_array);
        entries.and_then(|entries| Self::of_entries(entries)).unwrap_or_default()
    }

    /// Reads `metadata.managedFields`; `None` when an entry is invalid.
    pub(super) fn of_entries(entries: &[Value]) -> Option<Self> {
        let mut sets = BTreeMap::new();
        for entry in entries {
            let text = |field: &str| entry.get(field).and_then(Value::as_str).unwrap_or_default();
            let applies = match text("operation") {
                "Apply" => true,
                "Update" => false,
                _ => return None,
            };
            let api_version = text("apiVersion").to_owned();
            if api_version.is_empty() || text("fieldsType") != "FieldsV1" {
                return None;
            }
            let fields = match entry.get("fieldsV1") {
                Some(fields) => FieldSet::from_fields_v1(fields).ok()?,
                None => FieldSet::new(),
            };
            let manager = Manager {
                name: text("manager").to_owned(),
                applies,
                api_version: if applies { String::new() } else { api_version.clone() },
                subresource: text("subresource").to_owned(),
            };
            let time = entry.get("time").and_then(Value::as_str).map(str::to_owned);
            sets.insert(manager, Set { fields, api_version, time });
        }
        Some(Self { sets })
    }

    /// Writes `metadata.managedFields`; `None` when nobody owns anything.
    pub(super) fn to_value(&self) -> Option<Value> {
        if self.sets.is_empty() {
            return None;
        }
        let mut entries: Vec<(&Manager, &Set)> = self.sets.iter().collect();
        entries.sort_by_key(|(manager, set)| {
            (!manager.applies, &set.time, &manager.name, &set.api_version, &manager.subresource)
        });
        let entry = |(manager, set): (&Manager, &Set)| {
            let mut entry = Map::new();
            if !manager.name.is_empty() {
                entry.insert("manager".to_owned(), json!(manager.name));
            }
            let operation = if manager.applies { "Apply" } else { "Update" };
            entry.insert("operation".to_owned(), json!(operation));
            entry.insert("apiVersion".to_owned(), json!(set.api_version));
            if let Some(time) = &set.time {
                entry.insert("time".to_owned(), json!(time));
            }
            entry.insert("fieldsType".to_owned(), json!("FieldsV1"));
            entry.insert("fieldsV1".to_owned(), set.fields.to_fields_v1());
            if !manager.subresource.is_empty() {
                entry.insert("subresource".to_owned(), json!(manager.subresource));
            }
            Value::Object(entry)
        };
        Some(Value::Array(entries.into_iter().map(entry).collect()))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sets.is_empty()
    }

    pub(super) fn insert(&mut self, manager: Manager, set: Set) -> Option<Set> {
        self.sets.insert(manager, set)
    }

    pub(super) fn set_time(&mut self, manager: &Manager, time: Option<String>) {
        if let Some(set) = self.sets.get_mut(manager) {
            set.time = time;
        }
    }

    /// Everything that somebody owns.
    pub(super) fn all_fields(&self) -> FieldSet {
        self.sets.values().fold(FieldSet::new(), |all, set| all.union(&set.fields))
    }

    pub(super) fn reconciled_with(mut self, schema: &TypeRef) -> Self {
        for set in self.sets.values_mut() {
            set.fields = set.fields.reconciled_with(schema);
        }
        self
    }

    /// Takes the changed fields from everybody but `by`.
    ///
    /// # Errors
    /// Without `force`, the fields that others own.
    pub(super) fn take_over(
        &mut self,
        changes: &Comparison,
        by: Option<&Manager>,
        force: bool,
    ) -> Result<(), Vec<Conflict>> {
        let changed = changes.modified.union(&changes.added);
        let others = |manager: &Manager| Some(manager) != by;
        if !force {
            let mut conflicts = Vec::new();
            for (manager, set) in self.sets.iter().filter(|(manager, _)| others(manager)) {
                for path in set.fields.intersection(&changed).paths() {
                    conflicts.push(Conflict { manager: manager.clone(), path });
                }
            }
            if !conflicts.is_empty() {
                // The API server names appliers before updaters of the same name.
                conflicts.sort_by(|a, b| {
                    let order =
                        |conflict: &Conflict| (conflict.manager.name.clone(), !conflict.manager.applies);
                    order(a).cmp(&order(b))
                });
                return Err(conflicts);
            }
        }
        for (_, set) in self.sets.iter_mut().filter(|(manager, _)| others(manager)) {
            let taken = set.fields.intersection(&changed);
            set.fields = set.fields.difference(&taken).difference(&changes.removed);
        }
        self.sets.retain(|_, set| !set.fields.is_empty());
        Ok(())
    }

    /// Records that the writer set everything that differs between two states.
    pub(super) fn record_update(
        &mut self,
        old: &Value,
        new: &Value,
        schema: &TypeRef,
        operation: &Operation<'_>,
    ) {
        let changes = Comparison::of(old, new, schema).without(operation.reset);
        *self = std::mem::take(self).reconciled_with(schema);
        // With force there are no conflicts to report.
        let _ = self.take_over(&changes, None, true);
        let fields = strip_metadata(&changes.modified.union(&changes.added));
        if fields.is_empty() {
            return;
        }
        let manager = Manager::updating(operation);
        let before = self.sets.get(&manager).map(|set| set.fields.clone()).unwrap_or_default();
        self.sets.insert(
            manager,
            Set {
                fields: fields.union(&before),
                api_version: operation.api_version.to_owned(),
                time: Some(operation.now.to_owned()),
            },
        );
    }

    /// Nobody owns an object's identity.
    pub(super) fn strip_metadata(&mut self, manager: &Manager) {
        if let Some(set) = self.sets.get_mut(manager) {
            set.fields = strip_metadata(&set.fields);
            if set.fields.is_empty() {
                self.sets.remove(manager);
            }
        }
    }

    /// Merges the oldest updates of a version into one entry when there are too many.
    pub(super) fn cap(&mut self) {
        let mut updaters: Vec<(Option<String>, Manager)> = self
            .sets
            .iter()
            .filter(|(manager, _)| !manager.applies)
            .map(|(manager, set)| (set.time.clone(), manager.clone()))
            .collect();
        updaters.sort();
        let mut excess = updaters.len().saturating_sub(MAX_UPDATE_MANAGERS);
        let mut first_of_version: BTreeMap<String, Manager> = BTreeMap::new();
        for (time, manager) in updaters {
            if excess == 0 {
                return;
            }
            let version = manager.api_version.clone();
            let Some(first) = first_of_version.get(&version) else {
                first_of_version.insert(version, manager);
                continue;
            };
            let bucket = Manager {
                name: "ancient-changes".to_owned(),
                applies: false,
                api_version: version.clone(),
                subresource: String::new(),
            };
            if !self.sets.contains_key(&bucket)
                && let Some(set) = self.sets.remove(first)
            {
                self.sets.insert(bucket.clone(), set);
            }
            let merged = self.sets.remove(&manager).map(|set| set.fields).unwrap_or_default();
            if let Some(set) = self.sets.get_mut(&bucket) {
                set.fields = set.fields.union(&merged);
                set.time = time;
            }
            excess = excess.saturating_sub(1);
        }
    }
}

fn strip_metadata(fields: &FieldSet) -> FieldSet {
    let field = |name: &str| PathElement::field(name);
    let mut strip = FieldSet::new();
    for name in ["apiVersion", "kind", "metadata"] {
        strip.insert(&[field(name)]);
    }
    for name in [
        "name",
        "namespace",
        "creationTimestamp",
        "selfLink",
        "uid",
        "clusterName",
        "generation",
        "managedFields",
        "resourceVersion",
    ] {
        strip.insert(&[field("metadata"), field(name)]);
    }
    fields.difference(&strip)
}
