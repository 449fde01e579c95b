//! Create and update: what happens between a decoded object and storage.
//!
//! ```text
//! create  defaults ▸ managed fields ▸ system fields ▸ kind's preparation ▸ validation ▸ put
//! update  conflict check ▸ defaults ▸ managed fields ▸ kind's preparation ▸ validation ▸ unchanged? ▸ put or remove
//! ```
//!
//! The order is the real server's: managed fields are counted before the server fills in what it allocates, and
//! an update that changes nothing is not written.

use std::cell::RefCell;
use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::super::apply::{self, ApplyError, Conflict, Operation};
use super::super::kinds::{Generation, Resource};
use super::super::status::{ApiError, Cause, Subject};
use super::super::{convert, custom, defaults, prepare, validation};
use super::chores::Chore;
use super::{State, Store, key_of, text};
use crate::object::fields::FieldSet;
use crate::object::schema::{self, TypeRef};

/// What to do with fields that the kind does not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FieldValidation {
    /// Drop them in silence.
    Ignore,
    /// Drop them and warn.
    #[default]
    Warn,
    /// Refuse the request.
    Strict,
}

/// Who writes, and how.
#[derive(Debug, Default)]
pub struct WriteOptions {
    /// The field manager.
    pub manager: String,
    /// Go through everything but the write.
    pub dry_run: bool,
    /// What to do with unknown fields.
    pub field_validation: FieldValidation,
    /// What the client is told in `Warning` headers.
    pub warnings: RefCell<Vec<String>>,
}

impl WriteOptions {
    /// Plain options for a manager.
    pub fn of(manager: &str) -> Self {
        Self {
            manager: manager.to_owned(),
            field_validation: FieldValidation::Ignore,
            ..Self::default()
        }
    }
}

/// The time in whole seconds, as object metadata has it.
pub fn now() -> String {
    let now = jiff::Timestamp::now();
    jiff::Timestamp::from_second(now.as_second())
        .unwrap_or(now)
        .to_string()
}

/// Whether the managed fields of a new state are still to be counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tracking {
    /// They are.
    Count,
    /// Server-side apply did it.
    Done,
}

/// A server-side apply, as the request states it.
#[derive(Debug)]
pub(in super::super) struct Apply {
    /// The applied configuration.
    pub object: Value,
    /// Take fields from other managers.
    pub force: bool,
}

impl Store {
    /// Creates an object in a namespace (empty for cluster-scoped resources).
    pub(in super::super) fn create_in(
        &self,
        resource: &Resource,
        namespace: &str,
        object: Value,
        options: &WriteOptions,
    ) -> Result<Value, ApiError> {
        let created = self
            .lock()
            .create(resource, namespace, object, options, Tracking::Count)?;
        self.inner.work.notify_one();
        Ok(created)
    }

    /// Changes an object by a function of its live state. Returns the new state.
    pub(in super::super) fn update_in(
        &self,
        resource: &Resource,
        subresource: &str,
        namespace: &str,
        name: &str,
        options: &WriteOptions,
        change: impl FnOnce(&Value) -> Result<Value, ApiError>,
    ) -> Result<(Value, bool), ApiError> {
        let mut state = self.lock();
        let live = state.live(resource, namespace, name)?;
        let changed = change(&live)?;
        let updated = state.update(resource, subresource, &live, changed, options, Tracking::Count)?;
        drop(state);
        self.inner.work.notify_one();
        Ok((updated, false))
    }

    /// Server-side apply. Returns the new state and whether the object was created.
    pub(in super::super) fn apply_in(
        &self,
        resource: &Resource,
        subresource: &str,
        namespace: &str,
        name: &str,
        options: &WriteOptions,
        mut apply: Apply,
    ) -> Result<(Value, bool), ApiError> {
        let mut state = self.lock();
        let live = match state.live(resource, namespace, name) {
            Ok(live) => Some(live),
            Err(missing) if !subresource.is_empty() => return Err(missing),
            Err(_) => None,
        };
        let version = text(&apply.object, "/metadata/resourceVersion").to_owned();
        match &live {
            Some(live) if !version.is_empty() && version != text(live, "/metadata/resourceVersion") => {
                return Err(stale(resource, name));
            }
            None if !version.is_empty() && version != "0" => {
                return Err(ApiError::not_found(subject(resource, name)));
            }
            _ => {}
        }
        if let Some(metadata) = apply.object.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.shift_remove("resourceVersion");
        }
        prune_input(resource, &mut apply.object, options)?;
        prepare::decode(resource, &mut apply.object);
        let tracker = Tracker::new(resource, subresource);
        let merged = tracker
            .with(&options.manager, |operation| {
                apply::apply(
                    live.as_ref(),
                    &apply.object,
                    &tracker.types,
                    operation,
                    apply.force,
                )
            })
            .map_err(apply_error)?;
        let (value, created) = match live {
            Some(live) => (
                state.update(resource, subresource, &live, merged, options, Tracking::Done)?,
                false,
            ),
            None => (
                state.create(resource, namespace, merged, options, Tracking::Done)?,
                true,
            ),
        };
        drop(state);
        self.inner.work.notify_one();
        Ok((value, created))
    }
}

fn apply_error(error: ApplyError) -> ApiError {
    let message = error.to_string();
    match error {
        ApplyError::Conflicts(conflicts) => {
            ApiError::apply_conflict(message, conflicts.iter().map(conflict_cause).collect())
        }
        ApplyError::BadRequest(_) => ApiError::bad_request(message),
        ApplyError::DoesNotFit { .. } => ApiError::new(500, "", message),
    }
}

fn conflict_cause(conflict: &Conflict) -> Cause {
    Cause {
        reason: "FieldManagerConflict",
        message: conflict.message(),
        field: conflict.field(),
    }
}

/// What the counting of managed fields needs to know of a resource.
struct Tracker {
    types: TypeRef,
    reset: FieldSet,
    api_version: String,
    subresource: String,
}

impl Tracker {
    fn new(resource: &Resource, subresource: &str) -> Self {
        let types = types_of(resource);
        let reset = apply::reset_fields(&types, subresource, resource.status);
        Self {
            types,
            reset,
            api_version: resource.api_version(),
            subresource: subresource.to_owned(),
        }
    }

    fn with<T>(&self, manager: &str, act: impl FnOnce(&Operation<'_>) -> T) -> T {
        act(&Operation {
            manager,
            api_version: &self.api_version,
            subresource: &self.subresource,
            now: &now(),
            reset: &self.reset,
        })
    }

    fn track(&self, live: Option<&Value>, new: Value, manager: &str) -> Value {
        self.with(manager, |operation| {
            apply::track_update(live, new, &self.types, operation)
        })
    }
}

/// The resource and an object's name, for refusals.
pub(in super::super) fn subject<'a>(resource: &'a Resource, name: &'a str) -> Subject<'a> {
    Subject {
        group: &resource.group,
        resource: &resource.plural,
        name,
    }
}

fn kind_subject<'a>(resource: &'a Resource, name: &'a str) -> Subject<'a> {
    Subject {
        group: &resource.group,
        resource: &resource.kind,
        name,
    }
}

pub(in super::super) fn stale(resource: &Resource, name: &str) -> ApiError {
    let why = "the object has been modified; please apply your changes to the latest version and try again";
    ApiError::conflict(subject(resource, name), why)
}

/// The typed schema of a resource.
pub(in super::super) fn types_of(resource: &Resource) -> TypeRef {
    match &resource.custom {
        Some(custom) => custom.types.clone(),
        None => schema::built_in(&resource.gvk()).unwrap_or_else(TypeRef::deduced),
    }
}

/// Removes unknown fields of custom resources, and refuses or warns as asked.
fn prune_input(resource: &Resource, object: &mut Value, options: &WriteOptions) -> Result<(), ApiError> {
    let Some(custom) = &resource.custom else {
        return report_unknown(resource, &defaults::unknown_fields(object), options);
    };
    if custom.preserve_unknown_fields || custom.schema.is_null() {
        return Ok(());
    }
    let unknown = custom::prune(object, &custom.schema);
    report_unknown(resource, &unknown, options)
}

fn report_unknown(resource: &Resource, unknown: &[String], options: &WriteOptions) -> Result<(), ApiError> {
    if unknown.is_empty() {
        return Ok(());
    }
    let listed: Vec<String> = unknown
        .iter()
        .map(|field| format!("unknown field {field:?}"))
        .collect();
    match options.field_validation {
        FieldValidation::Ignore => {}
        FieldValidation::Warn => options.warnings.borrow_mut().extend(listed),
        FieldValidation::Strict => {
            return Err(ApiError::bad_request(format!(
                "{kind} in version {version:?} cannot be handled as a {kind}: strict decoding error: {}",
                listed.join(", "),
                kind = resource.kind,
                version = resource.version,
            )));
        }
    }
    Ok(())
}

impl State {
    /// The live object in the resource's version.
    pub(in super::super) fn live(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
    ) -> Result<Value, ApiError> {
        let stored = self.storage.get(&resource.storage, namespace, name);
        let stored = stored.ok_or_else(|| ApiError::not_found(subject(resource, name)))?;
        Ok(convert::to_served(resource, stored.value()))
    }

    fn create(
        &mut self,
        resource: &Resource,
        namespace: &str,
        mut object: Value,
        options: &WriteOptions,
        tracking: Tracking,
    ) -> Result<Value, ApiError> {
        identify(resource, namespace, &mut object)?;
        if !text(&object, "/metadata/resourceVersion").is_empty() {
            return Err(ApiError::new(
                500,
                "",
                "resourceVersion should not be set on objects to be created",
            ));
        }
        if tracking == Tracking::Count {
            prune_input(resource, &mut object, options)?;
        }
        prepare::decode(resource, &mut object);
        self.default(resource, &mut object);
        if resource.status
            && let Some(map) = object.as_object_mut()
        {
            map.shift_remove("status");
        }
        if tracking == Tracking::Count {
            if let Some(metadata) = metadata_mut(&mut object) {
                metadata.shift_remove("managedFields");
            }
            object = Tracker::new(resource, "").track(None, object, &options.manager);
        }
        let generate = text(&object, "/metadata/generateName").to_owned();
        let mut name = text(&object, "/metadata/name").to_owned();
        if name.is_empty() && !generate.is_empty() {
            name = format!("{generate}{}", random_suffix());
        }
        if resource.namespaced {
            self.check_namespace(resource, namespace, &name)?;
        }
        if let Some(metadata) = metadata_mut(&mut object) {
            if !name.is_empty() {
                metadata.insert("name".to_owned(), Value::from(name.as_str()));
            }
            if resource.namespaced {
                metadata.insert("namespace".to_owned(), Value::from(namespace));
            } else {
                metadata.shift_remove("namespace");
            }
            metadata.insert("uid".to_owned(), Value::from(uuid::Uuid::new_v4().to_string()));
            metadata.insert("creationTimestamp".to_owned(), Value::from(now()));
            for field in [
                "deletionTimestamp",
                "deletionGracePeriodSeconds",
                "selfLink",
                "generation",
            ] {
                metadata.shift_remove(field);
            }
            if resource.generation == Generation::Counted {
                metadata.insert("generation".to_owned(), Value::from(1));
            }
        }
        prepare::create(self, resource, &mut object);
        let causes = validation::create(resource, &object);
        if !causes.is_empty() {
            return Err(ApiError::invalid(kind_subject(resource, &name), causes));
        }
        let key = key_of(resource, namespace, &name);
        if self.storage.get(&key.group_kind(), namespace, &name).is_some() {
            return Err(ApiError::already_exists(subject(resource, &name)));
        }
        if options.dry_run {
            return Ok(object);
        }
        let stored = self.storage.put(&key, convert::to_stored(resource, object));
        self.after_create(&key, &stored);
        Ok(convert::to_served(resource, stored))
    }

    fn update(
        &mut self,
        resource: &Resource,
        subresource: &str,
        live: &Value,
        mut object: Value,
        options: &WriteOptions,
        tracking: Tracking,
    ) -> Result<Value, ApiError> {
        let namespace = text(live, "/metadata/namespace").to_owned();
        let name = text(live, "/metadata/name").to_owned();
        let given = text(&object, "/metadata/name");
        if !given.is_empty() && given != name {
            return Err(ApiError::bad_request(format!(
                "the name of the object ({given}) does not match the name on the URL ({name})"
            )));
        }
        identify(resource, &namespace, &mut object)?;
        check_versions(resource, live, &object, &name)?;
        if tracking == Tracking::Count {
            prune_input(resource, &mut object, options)?;
        }
        prepare::decode(resource, &mut object);
        carry_system_fields(live, &mut object);
        carry_subresources(resource, subresource, live, &mut object);
        prepare::carry(resource, live, &mut object);
        self.default(resource, &mut object);
        if tracking == Tracking::Count {
            object = Tracker::new(resource, subresource).track(Some(live), object, &options.manager);
        }
        prepare::update(self, resource, live, &mut object);
        if resource.generation == Generation::Counted
            && subresource != "status"
            && counts(live) != counts(&object)
        {
            let generation = live
                .pointer("/metadata/generation")
                .and_then(Value::as_i64)
                .unwrap_or(0)
                + 1;
            if let Some(metadata) = metadata_mut(&mut object) {
                metadata.insert("generation".to_owned(), Value::from(generation));
            }
        }
        let causes = validation::update(resource, subresource, live, &object);
        if !causes.is_empty() {
            return Err(ApiError::invalid(kind_subject(resource, &name), causes));
        }
        if unchanged(live, &object) {
            return Ok(live.clone());
        }
        if options.dry_run {
            return Ok(object);
        }
        Ok(self.commit(resource, &namespace, &name, object))
    }

    /// Writes a new state, or removes the object when it was only waiting for its last finalizer.
    pub(super) fn commit(
        &mut self,
        resource: &Resource,
        namespace: &str,
        name: &str,
        object: Value,
    ) -> Value {
        let key = key_of(resource, namespace, name);
        let stored = convert::to_stored(resource, object);
        if super::delete::may_go(&stored) {
            self.storage.put(&key, stored);
            let removed = self.remove(&key).unwrap_or_default();
            return convert::to_served(resource, removed);
        }
        let stored = self.storage.put(&key, stored);
        self.after_update(&key, &stored);
        convert::to_served(resource, stored)
    }

    fn default(&self, resource: &Resource, object: &mut Value) {
        match &resource.custom {
            Some(custom) => {
                if !custom.schema.is_null() {
                    custom::apply_schema_defaults(object, &custom.schema);
                }
            }
            None => defaults::apply_defaults(object),
        }
    }

    fn check_namespace(&self, resource: &Resource, namespace: &str, name: &str) -> Result<(), ApiError> {
        let kind = crate::object::GroupKind::new("", "Namespace");
        let Some(stored) = self.storage.get(&kind, "", namespace) else {
            return Err(ApiError::not_found(Subject {
                group: "",
                resource: "namespaces",
                name: namespace,
            }));
        };
        if !text(&stored.value(), "/metadata/deletionTimestamp").is_empty() {
            let why = format!(
                "unable to create new content in namespace {namespace} because it is being terminated"
            );
            let cause = Cause {
                reason: "NamespaceTerminating",
                message: format!("namespace {namespace} is being terminated"),
                field: "metadata.namespace".to_owned(),
            };
            return Err(ApiError::forbidden(subject(resource, name), &why).with_causes(vec![cause]));
        }
        Ok(())
    }

    pub(super) fn create_as_controller(
        &mut self,
        resource: &Resource,
        namespace: &str,
        object: Value,
    ) -> Result<Value, ApiError> {
        let options = WriteOptions::of("kube-controller-manager");
        self.create(resource, namespace, object, &options, Tracking::Count)
    }

    pub(super) fn add_chore(&mut self, chore: Chore) {
        self.chores.insert(chore);
    }

    pub(super) fn take_chores(&mut self) -> BTreeSet<Chore> {
        std::mem::take(&mut self.chores)
    }
}

pub(super) fn metadata_mut(object: &mut Value) -> Option<&mut Map<String, Value>> {
    object.get_mut("metadata").and_then(Value::as_object_mut)
}

/// Checks or fills in `apiVersion`, `kind`, `metadata` and the namespace.
fn identify(resource: &Resource, namespace: &str, object: &mut Value) -> Result<(), ApiError> {
    let Some(map) = object.as_object_mut() else {
        return Err(ApiError::bad_request(format!(
            "{kind} in version {version:?} cannot be handled as a {kind}: json: cannot unmarshal into Go value of type {kind}",
            kind = resource.kind,
            version = resource.version,
        )));
    };
    let api_version = resource.api_version();
    let given = map.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
    if !given.is_empty() && given != api_version {
        return Err(ApiError::bad_request(format!(
            "the API version in the data ({given}) does not match the expected API version ({api_version})"
        )));
    }
    let kind = map.get("kind").and_then(Value::as_str).unwrap_or_default();
    if !kind.is_empty() && kind != resource.kind {
        return Err(ApiError::bad_request(format!(
            "{kind} in version {:?} cannot be handled as a {}: no kind {kind:?} is registered for this resource",
            resource.version, resource.kind
        )));
    }
    map.insert("apiVersion".to_owned(), Value::from(api_version));
    map.insert("kind".to_owned(), Value::from(resource.kind.as_str()));
    let metadata = map.entry("metadata").or_insert(Value::Null);
    if metadata.is_null() {
        *metadata = Value::Object(Map::new());
    }
    let Some(metadata) = metadata.as_object_mut() else {
        return Err(ApiError::bad_request(format!(
            "{kind} in version {version:?} cannot be handled as a {kind}: json: cannot unmarshal into Go struct field {kind}.metadata of type v1.ObjectMeta",
            kind = resource.kind,
            version = resource.version,
        )));
    };
    let given = metadata
        .get("namespace")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if !given.is_empty() && given != namespace {
        return Err(ApiError::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    for field in ["labels", "annotations", "finalizers", "ownerReferences"] {
        let empty = match metadata.get(field) {
            Some(Value::Null) => true,
            Some(Value::Object(map)) => map.is_empty(),
            Some(Value::Array(list)) => list.is_empty(),
            _ => false,
        };
        if empty {
            metadata.shift_remove(field);
        }
    }
    metadata.retain(|_, value| !value.is_null());
    Ok(())
}

/// Optimistic concurrency: the resource version and the uid that an update states must be the live ones.
fn check_versions(resource: &Resource, live: &Value, object: &Value, name: &str) -> Result<(), ApiError> {
    let uid = text(object, "/metadata/uid");
    let live_uid = text(live, "/metadata/uid");
    if !uid.is_empty() && uid != live_uid {
        let why = format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {live_uid}");
        return Err(ApiError::conflict(subject(resource, name), &why));
    }
    let version = text(object, "/metadata/resourceVersion");
    if version.is_empty() {
        let unconditional = resource.custom.is_none()
            && !matches!(
                resource.kind.as_str(),
                "Lease" | "CustomResourceDefinition" | "APIService" | "EndpointSlice"
            );
        if !unconditional {
            let cause = Cause {
                reason: "FieldValueInvalid",
                message: "Invalid value: 0x0: must be specified for an update".to_owned(),
                field: "metadata.resourceVersion".to_owned(),
            };
            return Err(ApiError::invalid(subject(resource, name), vec![cause]));
        }
    } else if version != text(live, "/metadata/resourceVersion") {
        return Err(stale(resource, name));
    }
    Ok(())
}

/// What a client can neither set nor remove.
fn carry_system_fields(live: &Value, object: &mut Value) {
    let Some(metadata) = metadata_mut(object) else {
        return;
    };
    for field in [
        "name",
        "namespace",
        "uid",
        "resourceVersion",
        "creationTimestamp",
        "generation",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "selfLink",
    ] {
        match live.pointer("/metadata").and_then(|m| m.get(field)) {
            Some(value) => {
                metadata.insert(field.to_owned(), value.clone());
            }
            None => {
                metadata.shift_remove(field);
            }
        }
    }
    if !metadata.contains_key("managedFields")
        && let Some(managed) = live.pointer("/metadata/managedFields")
    {
        metadata.insert("managedFields".to_owned(), managed.clone());
    }
}

/// The main resource keeps the live status; a status update keeps everything else.
fn carry_subresources(resource: &Resource, subresource: &str, live: &Value, object: &mut Value) {
    if subresource == "status" {
        let status = object.get("status").cloned();
        let managed = object.pointer("/metadata/managedFields").cloned();
        let mut kept = live.clone();
        if let Some(map) = kept.as_object_mut() {
            match status {
                Some(status) => map.insert("status".to_owned(), status),
                None => map.shift_remove("status"),
            };
        }
        if let (Some(metadata), Some(managed)) = (metadata_mut(&mut kept), managed) {
            metadata.insert("managedFields".to_owned(), managed);
        }
        *object = kept;
    } else if resource.status
        && let Some(map) = object.as_object_mut()
    {
        match live.get("status") {
            Some(status) => map.insert("status".to_owned(), status.clone()),
            None => map.shift_remove("status"),
        };
    }
}

/// The part of an object whose change counts as a new generation.
fn counts(object: &Value) -> Value {
    let Some(map) = object.as_object() else {
        return Value::Null;
    };
    let ignored = |field: &str| matches!(field, "metadata" | "status" | "apiVersion" | "kind");
    map.iter()
        .filter(|(field, _)| !ignored(field))
        .map(|(field, value)| (field.clone(), value.clone()))
        .collect()
}

/// Whether two states differ in nothing but the times in their managed fields.
fn unchanged(live: &Value, object: &Value) -> bool {
    let timeless = |value: &Value| {
        let mut value = value.clone();
        let entries = value
            .pointer_mut("/metadata/managedFields")
            .and_then(Value::as_array_mut);
        for entry in entries.into_iter().flatten() {
            if let Some(entry) = entry.as_object_mut() {
                entry.shift_remove("time");
            }
        }
        value
    };
    timeless(live) == timeless(object)
}

/// Five characters, as `generateName` gets them.
fn random_suffix() -> String {
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    (0..5)
        .filter_map(|_| fastrand::choice(ALPHABET))
        .map(|byte| char::from(*byte))
        .collect()
}
