//! Deletion: preconditions, grace, finalizers, propagation.

use serde_json::{Value, json};

use super::super::kinds::Resource;
use super::super::status::{ApiError, Subject};
use super::super::{convert, crd};
use super::chores::Chore;
use super::write::{kind_subject, metadata_mut, now};
use super::{State, Store, key_of, text};
use crate::object::ObjectKey;

/// How a delete treats dependents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// The object goes at once, the garbage collector takes its dependents.
    Background,
    /// Blocking dependents go first.
    Foreground,
    /// Dependents stay and lose the owner reference.
    Orphan,
}

/// `DeleteOptions`.
#[derive(Clone, Debug, Default)]
pub struct DeleteRequest {
    /// What happens to dependents; none means the kind's default, which is background.
    pub propagation: Option<Propagation>,
    /// Seconds that the object has to end by itself (only Pods use them).
    pub grace: Option<i64>,
    /// The uid that the object must have.
    pub uid: Option<String>,
    /// The resource version that the object must have.
    pub resource_version: Option<String>,
    /// Go through everything but the deletion.
    pub dry_run: bool,
}

/// What a delete did.
#[derive(Clone, Debug)]
pub enum DeleteOutcome {
    /// The object is gone; this was its last state.
    Removed(Value),
    /// The object waits for finalizers or grace.
    Pending(Value),
}

impl DeleteOutcome {
    /// The object's state after the request.
    pub fn object(&self) -> &Value {
        match self {
            Self::Removed(object) | Self::Pending(object) => object,
        }
    }
}

/// The finalizer of a foreground deletion.
pub(super) const FOREGROUND: &str = "foregroundDeletion";
/// The finalizer of an orphaning deletion.
pub(super) const ORPHAN: &str = "orphan";

/// The finalizer that a CRD gets on deletion: its objects go first.
pub(super) const CRD_CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";

/// Namespaces that cannot be deleted.
const PROTECTED: &[&str] = &["default", "kube-system", "kube-public"];

/// Whether a terminating object waits for nothing any more.
pub(super) fn may_go(object: &Value) -> bool {
    let empty = |pointer: &str| object.pointer(pointer).and_then(Value::as_array).is_none_or(Vec::is_empty);
    let namespace = text(object, "/kind") == "Namespace" && text(object, "/apiVersion") == "v1";
    !text(object, "/metadata/deletionTimestamp").is_empty()
        && empty("/metadata/finalizers")
        && object.pointer("/metadata/deletionGracePeriodSeconds").and_then(Value::as_i64).unwrap_or(0) == 0
        && (!namespace || empty("/spec/finalizers"))
}

pub(super) fn finalizers(object: &Value) -> Vec<String> {
    let list = object.pointer("/metadata/finalizers").and_then(Value::as_array);
    list.map(|list| list.iter().filter_map(|f| f.as_str().map(str::to_owned)).collect()).unwrap_or_default()
}

pub(super) fn set_finalizers(object: &mut Value, finalizers: &[String]) {
    if let Some(metadata) = metadata_mut(object) {
        if finalizers.is_empty() {
            metadata.shift_remove("finalizers");
        } else {
            metadata.insert("finalizers".to_owned(), json!(finalizers));
        }
    }
}

impl Store {
    /// Deletes an object, or marks it when something has to happen first.
    pub(in super::super) fn delete_in(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
        request: &DeleteRequest,
    ) -> Result<DeleteOutcome, ApiError> {
        let outcome = self.lock().delete(resource, namespace, name, request)?;
        self.inner.work.notify_one();
        Ok(outcome)
    }
}

impl State {
    pub(super) fn delete(
        &mut self,
        resource: &Resource,
        namespace: &str,
        name: &str,
        request: &DeleteRequest,
    ) -> Result<DeleteOutcome, ApiError> {
        let live = self.live(resource, namespace, name)?;
        self.check_preconditions(resource, name, &live, request)?;
        let is_namespace = resource.group.is_empty() && resource.kind == "Namespace";
        if is_namespace && PROTECTED.contains(&name) {
            let what = Subject { group: "", resource: "namespaces", name };
            return Err(ApiError::forbidden(what, "this namespace may not be deleted"));
        }
        let terminating = !text(&live, "/metadata/deletionTimestamp").is_empty();
        let mut waits = finalizers(&live);
        let before = waits.clone();
        match request.propagation {
            Some(Propagation::Foreground) => {
                waits.retain(|finalizer| finalizer != ORPHAN);
                if !waits.iter().any(|finalizer| finalizer == FOREGROUND) {
                    waits.push(FOREGROUND.to_owned());
                }
            }
            Some(Propagation::Orphan) => {
                waits.retain(|finalizer| finalizer != FOREGROUND);
                if !waits.iter().any(|finalizer| finalizer == ORPHAN) {
                    waits.push(ORPHAN.to_owned());
                }
            }
            Some(Propagation::Background) => waits.retain(|f| f != FOREGROUND && f != ORPHAN),
            None => {}
        }
        let is_crd = resource.kind == "CustomResourceDefinition" && resource.group == "apiextensions.k8s.io";
        if is_crd && !terminating && !waits.iter().any(|finalizer| finalizer == CRD_CLEANUP) {
            waits.push(CRD_CLEANUP.to_owned());
        }
        // These two have a deletion of their own, which sets the time and nothing else.
        let plain = is_namespace || is_crd;
        let grace = grace_of(resource, &live, request);
        let shortened = grace
            < live
                .pointer("/metadata/deletionGracePeriodSeconds")
                .and_then(Value::as_i64)
                .unwrap_or(i64::MAX);
        if terminating && waits == before && !shortened {
            return Ok(DeleteOutcome::Pending(live));
        }
        let mut object = live.clone();
        set_finalizers(&mut object, &waits);
        let waits_for_something = !waits.is_empty() || is_namespace || grace > 0;
        if !waits_for_something {
            if request.dry_run {
                return Ok(DeleteOutcome::Removed(object));
            }
            let removed = self.remove(&key_of(resource, namespace, name)).unwrap_or(object);
            return Ok(DeleteOutcome::Removed(convert::to_served(resource, removed)));
        }
        if !plain {
            mark(&mut object, grace, terminating);
        } else if let Some(metadata) = metadata_mut(&mut object).filter(|_| !terminating) {
            metadata.insert("deletionTimestamp".to_owned(), Value::from(now()));
        }
        if is_crd {
            crd::mark_terminating(&mut object, &now());
        }
        if is_namespace && let Some(phase) = object.pointer_mut("/status/phase") {
            *phase = Value::from("Terminating");
        }
        if request.dry_run {
            return Ok(DeleteOutcome::Pending(object));
        }
        let key = key_of(resource, namespace, name);
        let stored = self.storage.put(&key, convert::to_stored(resource, object));
        self.after_mark(&key, &stored);
        Ok(DeleteOutcome::Pending(convert::to_served(resource, stored)))
    }

    fn check_preconditions(
        &self,
        resource: &Resource,
        name: &str,
        live: &Value,
        request: &DeleteRequest,
    ) -> Result<(), ApiError> {
        let check = |what: &str, wanted: &Option<String>, pointer: &str, perhaps: &str| {
            let found = text(live, pointer);
            match wanted {
                Some(wanted) if wanted != found => Err(ApiError::conflict(
                    kind_subject(resource, name),
                    &format!(
                        "the {what} in the precondition ({wanted}) does not match the {what} in record ({found}). \
                         The object might have been {perhaps}"
                    ),
                )),
                _ => Ok(()),
            }
        };
        check("UID", &request.uid, "/metadata/uid", "deleted and then recreated")?;
        check("ResourceVersion", &request.resource_version, "/metadata/resourceVersion", "modified")
    }

    /// Removes an object for good and notes who has to hear of it.
    pub(super) fn remove(&mut self, key: &ObjectKey) -> Option<Value> {
        let removed = self.storage.remove(key)?;
        for dependent in self.storage.dependents(text(&removed, "/metadata/uid")) {
            self.add_chore(Chore::Collect(dependent));
        }
        self.after_remove(key, &removed);
        Some(removed)
    }
}

/// How long a deletion may take: only running Pods get any time.
fn grace_of(resource: &Resource, live: &Value, request: &DeleteRequest) -> i64 {
    let is_pod = resource.group.is_empty() && resource.kind == "Pod";
    let running = !text(live, "/spec/nodeName").is_empty()
        && !matches!(text(live, "/status/phase"), "Succeeded" | "Failed");
    if !is_pod || !running {
        return 0;
    }
    let own = live.pointer("/spec/terminationGracePeriodSeconds").and_then(Value::as_i64).unwrap_or(30);
    request.grace.unwrap_or(own).max(0)
}

fn mark(object: &mut Value, grace: i64, terminating: bool) {
    let Some(metadata) = metadata_mut(object) else {
        return;
    };
    if !terminating {
        let at = jiff::Timestamp::now().checked_add(jiff::SignedDuration::from_secs(grace)).ok();
        let at = at.and_then(|at| jiff::Timestamp::from_second(at.as_second()).ok());
        let at = at.map_or_else(now, |at| at.to_string());
        metadata.insert("deletionTimestamp".to_owned(), Value::from(at));
        if let Some(generation) = metadata.get("generation").and_then(Value::as_i64).filter(|g| *g > 0) {
            metadata.insert("generation".to_owned(), Value::from(generation + 1));
        }
    }
    metadata.insert("deletionGracePeriodSeconds".to_owned(), Value::from(grace));
}
