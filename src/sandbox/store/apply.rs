//! Server-side apply at the store, and the counting of managed fields for every other write.

use serde_json::Value;

use super::super::apply::{self, ApplyError, Conflict, Operation};
use super::super::kinds::Resource;
use super::super::status::{ApiError, Cause};
use super::write::{Tracking, WriteOptions, now, stale, subject};
use super::{Store, text};
use crate::object::fields::FieldSet;
use crate::object::schema::{self, TypeRef};

/// A server-side apply, as the request states it.
#[derive(Debug)]
pub(in super::super) struct Apply {
    /// The applied configuration.
    pub object: Value,
    /// Take fields from other managers.
    pub force: bool,
}

impl Store {
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
            None if !text(&apply.object, "/metadata/uid").is_empty() => {
                let why = format!(
                    "uid mismatch: the provided object specified uid {}, and no existing object was found",
                    text(&apply.object, "/metadata/uid")
                );
                return Err(ApiError::conflict(subject(resource, name), &why));
            }
            _ => {}
        }
        if let Some(metadata) = apply.object.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.shift_remove("resourceVersion");
        }
        let tracker = Tracker::new(resource, subresource);
        let merged = tracker
            .with(&options.manager, |operation| {
                apply::apply(live.as_ref(), &apply.object, &tracker.types, operation, apply.force)
            })
            .map_err(apply_error)?;
        let (value, created) = match live {
            Some(live) => {
                (state.update(resource, subresource, &live, merged, options, Tracking::Done)?, false)
            }
            None => (state.create(resource, namespace, merged, options, Tracking::Done)?, true),
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
    Cause { reason: "FieldManagerConflict", message: conflict.message(), field: conflict.field() }
}

/// What the counting of managed fields needs to know of a resource.
pub(super) struct Tracker {
    types: TypeRef,
    reset: FieldSet,
    api_version: String,
    subresource: String,
}

impl Tracker {
    pub(super) fn new(resource: &Resource, subresource: &str) -> Self {
        let types = types_of(resource);
        let reset = apply::reset_fields(&types, subresource, resource.status);
        Self { types, reset, api_version: resource.api_version(), subresource: subresource.to_owned() }
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

    pub(super) fn track(&self, live: Option<&Value>, new: Value, manager: &str) -> Value {
        let mut tracked =
            self.with(manager, |operation| apply::track_update(live, new, &self.types, operation));
        if self.subresource == "scale" {
            // Entries that come from the form of a scale have no time.
            let entries = tracked.pointer_mut("/metadata/managedFields").and_then(Value::as_array_mut);
            for entry in entries.into_iter().flatten().filter_map(Value::as_object_mut) {
                if entry.get("subresource").is_some_and(|subresource| subresource == "scale") {
                    entry.shift_remove("time");
                }
            }
        }
        tracked
    }
}

/// The typed schema of a resource.
pub(in super::super) fn types_of(resource: &Resource) -> TypeRef {
    match &resource.custom {
        Some(custom) => custom.types.clone(),
        None => schema::built_in(&resource.gvk()).unwrap_or_else(TypeRef::deduced),
    }
}
