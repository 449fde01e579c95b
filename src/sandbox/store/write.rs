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

use super::super::kinds::{Generation, Resource};
use super::super::status::{ApiError, Cause, Subject};
use super::super::{convert, custom, defaults, prepare, validation};
use super::admit::{
    carry_subresources, carry_system_fields, check_namespace, check_types, check_versions, counts,
    has_empty_metadata, identify, prune_input, set_namespace, unchanged,
};
use super::apply::Tracker;
use super::chores::Chore;
use super::{State, Store, key_of, text};

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
    /// The new state is what a patch makes of the live one: what cannot be read of it is the patch's fault.
    pub patching: bool,
    /// What the client is told in `Warning` headers.
    pub warnings: RefCell<Vec<String>>,
}

impl WriteOptions {
    /// Plain options for a manager.
    pub fn of(manager: &str) -> Self {
        Self { manager: manager.to_owned(), field_validation: FieldValidation::Ignore, ..Self::default() }
    }
}

/// The time in whole seconds, as object metadata has it.
pub fn now() -> String {
    let now = jiff::Timestamp::now();
    jiff::Timestamp::from_second(now.as_second()).unwrap_or(now).to_string()
}

/// Whether the managed fields of a new state are still to be counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tracking {
    /// They are.
    Count,
    /// Server-side apply did it.
    Done,
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
        let created = self.lock().create(resource, namespace, object, options, Tracking::Count)?;
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
}

/// The resource and an object's name, for refusals.
pub(in super::super) fn subject<'a>(resource: &'a Resource, name: &'a str) -> Subject<'a> {
    Subject { group: &resource.group, resource: &resource.plural, name }
}

pub(super) fn kind_subject<'a>(resource: &'a Resource, name: &'a str) -> Subject<'a> {
    Subject { group: &resource.group, resource: &resource.kind, name }
}

pub(in super::super) fn stale(resource: &Resource, name: &str) -> ApiError {
    let why = "the object has been modified; please apply your changes to the latest version and try again";
    ApiError::conflict(subject(resource, name), why)
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

    pub(super) fn create(
        &mut self,
        resource: &Resource,
        namespace: &str,
        mut object: Value,
        options: &WriteOptions,
        tracking: Tracking,
    ) -> Result<Value, ApiError> {
        read(resource, &mut object, options, tracking)?;
        if !resource.namespaced && resource.custom.is_some() {
            set_namespace(&mut object, "");
        }
        check_namespace(namespace, &mut object)?;
        if !text(&object, "/metadata/resourceVersion").is_empty() {
            return Err(ApiError::new(500, "", "resourceVersion should not be set on objects to be created"));
        }
        prepare::decode(resource, &mut object);
        prepare::template_generation(resource, None, &mut object);
        self.default(resource, &mut object, tracking);
        if resource.status
            && let Some(map) = object.as_object_mut()
        {
            map.shift_remove("status");
        }
        if tracking == Tracking::Count {
            if let Some(metadata) = metadata_mut(&mut object) {
                for field in ["managedFields", "deletionTimestamp", "deletionGracePeriodSeconds"] {
                    metadata.shift_remove(field);
                }
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
        if resource.custom.is_some() && self.is_going(resource) {
            let why = "create not allowed while custom resource definition is terminating";
            return Err(ApiError::forbidden(subject(resource, &name), why));
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
            for field in ["deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"] {
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
        options.warnings.borrow_mut().extend(validation::warnings(resource, None, &object));
        let key = key_of(resource, namespace, &name);
        if self.storage.get(&key.group_kind(), namespace, &name).is_some() {
            let known = self.storage.get(&key.group_kind(), namespace, &name);
            let going =
                known.is_some_and(|known| !text(&known.value(), "/metadata/deletionTimestamp").is_empty());
            let subject = subject(resource, &name);
            let refuse = if going { ApiError::still_exists } else { ApiError::already_exists };
            return Err(refuse(subject));
        }
        if options.dry_run {
            return Ok(object);
        }
        let stored = self.storage.put(&key, convert::to_stored(resource, object));
        self.after_create(&key, &stored);
        Ok(convert::to_served(resource, stored))
    }

    pub(super) fn update(
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
        let sent_deletion = text(&object, "/metadata/deletionTimestamp").to_owned();
        let given = text(&object, "/metadata/name");
        if !given.is_empty() && given != name {
            return Err(ApiError::bad_request(format!(
                "the name of the object ({given}) does not match the name on the URL ({name})"
            )));
        }
        let is_rewritten =
            tracking == Tracking::Done && resource.custom.is_some() && has_empty_metadata(&object);
        let read = read(resource, &mut object, options, tracking);
        if options.patching
            && let Err(error) = read
        {
            let why = error.to_string();
            let why = why.split_once(": ").filter(|(head, _)| head.contains("cannot be handled as"));
            let why = why.map_or_else(|| error.to_string(), |(_, why)| why.to_owned());
            return Err(ApiError::unreadable_patch(&object.to_string(), &why));
        }
        read?;
        check_namespace(&namespace, &mut object)?;
        check_versions(resource, live, &object, &name, options.patching || tracking == Tracking::Done)?;
        prepare::decode(resource, &mut object);
        carry_system_fields(live, &mut object, tracking);
        carry_subresources(resource, subresource, live, &mut object);
        if subresource != "finalize" {
            prepare::carry(resource, live, &mut object);
        }
        self.default(resource, &mut object, tracking);
        if tracking == Tracking::Count {
            object = Tracker::new(resource, subresource).track(Some(live), object, &options.manager);
        }
        prepare::update(self, resource, live, &mut object);
        prepare::template_generation(resource, Some(live), &mut object);
        if resource.generation == Generation::Counted
            && subresource != "status"
            && counts(live, resource) != counts(&object, resource)
        {
            let generation = live.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or(0) + 1;
            if let Some(metadata) = metadata_mut(&mut object) {
                metadata.insert("generation".to_owned(), Value::from(generation));
            }
        }
        let mut causes = validation::update(resource, subresource, live, &object);
        if !options.patching
            && text(live, "/metadata/deletionTimestamp").is_empty()
            && !sent_deletion.is_empty()
        {
            let value = Value::from(sent_deletion);
            causes.push(Cause::invalid("metadata.deletionTimestamp", &value, "field is immutable"));
        }
        if !causes.is_empty() {
            return Err(ApiError::invalid(kind_subject(resource, &name), causes));
        }
        options.warnings.borrow_mut().extend(validation::warnings(resource, Some(live), &object));
        if !is_rewritten && unchanged(live, &object) {
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
            // Watches see the last state that was there; the client the one that let it go.
            self.remove(&key);
            return convert::to_served(resource, stored);
        }
        let stored = self.storage.put(&key, stored);
        self.after_update(&key, &stored);
        convert::to_served(resource, stored)
    }

    fn default(&self, resource: &Resource, object: &mut Value, tracking: Tracking) {
        match &resource.custom {
            Some(custom) => {
                // An apply that takes the last entry out of somebody else's mapping makes it null, which stays so.
                if tracking == Tracking::Count {
                    custom::drop_nulls(object, &custom.schema);
                }
                custom::apply_schema_defaults(object, &custom.schema);
            }
            None => defaults::apply_defaults(object),
        }
    }

    /// Whether the definition of a custom resource is being deleted.
    fn is_going(&self, resource: &Resource) -> bool {
        let kind = crate::object::GroupKind::new("apiextensions.k8s.io", "CustomResourceDefinition");
        let definition = self.storage.get(&kind, "", &resource.qualified());
        definition.is_some_and(|crd| !text(&crd.value(), "/metadata/deletionTimestamp").is_empty())
    }

    fn check_namespace(&self, resource: &Resource, namespace: &str, name: &str) -> Result<(), ApiError> {
        let kind = crate::object::GroupKind::new("", "Namespace");
        let Some(stored) = self.storage.get(&kind, "", namespace) else {
            return Err(ApiError::not_found(Subject { group: "", resource: "namespaces", name: namespace }));
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

/// Takes a body for an object of a resource, or says why it is none.
fn read(
    resource: &Resource,
    object: &mut Value,
    options: &WriteOptions,
    tracking: Tracking,
) -> Result<(), ApiError> {
    identify(resource, object)?;
    match tracking {
        Tracking::Count => prune_input(resource, object, options)?,
        // The applied configuration was checked; what is left is the live object's.
        Tracking::Done => prune_input(resource, object, &WriteOptions::of(""))?,
    }
    check_types(resource, object)
}

pub(super) fn metadata_mut(object: &mut Value) -> Option<&mut Map<String, Value>> {
    object.get_mut("metadata").and_then(Value::as_object_mut)
}

/// Five characters, as `generateName` gets them.
pub(in super::super) fn random_suffix() -> String {
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    (0..5).filter_map(|_| fastrand::choice(ALPHABET)).map(|byte| char::from(*byte)).collect()
}
