//! Server-side apply and the tracking of field managers, as the API server does them.
//!
//! ```text
//! live ─┬─ merge(applied) ─ prune what the manager no longer declares ─▶ new ─ compare(live, new) ─▶ conflicts?
//!       └─ managedFields ───────────────────────────────────────────────▶ owners of each field, times
//! ```
//!
//! [`apply`] is for apply patches, [`track_update`] for everything else that writes. Both return the object with
//! its `metadata.managedFields`; defaults are set by the caller afterwards. A write that changes nothing but times
//! returns the live object as it is, so that the caller can see that there is nothing to store.

mod compare;
mod managers;
mod merge;
#[cfg(test)]
mod tests;
mod validate;

use serde_json::{Map, Value};

use self::compare::Comparison;
use self::managers::{Managers, Set};
use super::defaults;
use crate::error::{Classified, ErrorKind};
use crate::object::fields::{FieldSet, PathElement, compare_values, path_to_string, remove};
use crate::object::schema::TypeRef;

pub use self::managers::Manager;

const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Who writes, through which door.
#[derive(Debug, Clone, Copy)]
pub struct Operation<'a> {
    /// The field manager's name.
    pub manager: &'a str,
    /// `apiVersion` of the request.
    pub api_version: &'a str,
    /// `status`, `scale`; empty for the object itself.
    pub subresource: &'a str,
    /// The time of the request, RFC 3339 in whole seconds.
    pub now: &'a str,
    /// Fields that a write through this door never changes and nobody comes to own (see [`reset_fields`]).
    pub reset: &'a FieldSet,
}

/// One field that somebody else owns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// Who owns it.
    pub manager: Manager,
    /// Which field.
    pub path: Vec<PathElement>,
}

impl Conflict {
    /// `conflict with "kubectl" using apps/v1`: the message of the cause in the status.
    pub fn message(&self) -> String {
        format!("conflict with {}", self.manager)
    }

    /// `.spec.replicas`: the field of the cause in the status.
    pub fn field(&self) -> String {
        path_to_string(&self.path)
    }
}

/// Why an object could not be applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// Others own fields that would change (409, reason `Conflict`, one cause of type `FieldManagerConflict` each).
    #[error("{}", conflict_message(.0))]
    Conflicts(Vec<Conflict>),
    /// The request contradicts itself (400).
    #[error("{0}")]
    BadRequest(String),
    /// The applied object does not fit its schema (500 without a reason, as the API server answers).
    #[error("failed to create typed patch object ({object}): {errors}")]
    DoesNotFit {
        /// Namespace, name and kind.
        object: String,
        /// Every place that does not fit, and why.
        errors: String,
    },
}

impl Classified for ApplyError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::User
    }
}

fn conflict_message(conflicts: &[Conflict]) -> String {
    if let [conflict] = conflicts {
        return format!("Apply failed with 1 conflict: {}: {}", conflict.message(), conflict.field());
    }
    let mut text = format!("Apply failed with {} conflicts: ", conflicts.len());
    let mut lines = Vec::new();
    let mut last = None;
    for conflict in conflicts {
        if last != Some(&conflict.manager) {
            lines.push(format!("conflicts with {}:", conflict.manager));
            last = Some(&conflict.manager);
        }
        lines.push(format!("- {}", conflict.field()));
    }
    text.push_str(&lines.join("\n"));
    text
}

/// The fields that a write may not change: `status` through an object that has a status subresource, and what does not
/// belong to the status through that subresource.
pub fn reset_fields(schema: &TypeRef, subresource: &str, has_status: bool) -> FieldSet {
    let field = |name: &str| PathElement::field(name);
    let mut set = FieldSet::new();
    match subresource {
        "" if has_status => set.insert(&[field("status")]),
        "status" => {
            set.insert(&[field("spec")]);
            if schema.name().is_empty() {
                set.insert(&[field("metadata")]);
            } else {
                set.insert(&[field("metadata"), field("labels")]);
            }
        }
        _ => {}
    }
    set
}

/// Applies an object: what `PATCH` with `application/apply-patch+yaml` does.
///
/// `live` is `None` when the object does not exist yet. Returns the object to store.
///
/// # Errors
/// [`ApplyError::Conflicts`] without `force` when other managers own fields with other values.
pub fn apply(
    live: Option<&Value>,
    applied: &Value,
    schema: &TypeRef,
    operation: &Operation<'_>,
    force: bool,
) -> Result<Value, ApplyError> {
    let version = applied.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
    if version != operation.api_version {
        return Err(ApplyError::BadRequest(format!(
            "Incorrect version specified in apply patch. Specified patch version: {version}, expected: {}",
            operation.api_version
        )));
    }
    if applied.pointer("/metadata/managedFields").is_some_and(|fields| !fields.is_null()) {
        return Err(ApplyError::BadRequest("metadata.managedFields must be nil".to_owned()));
    }
    validate::validate(applied, schema)
        .map_err(|errors| ApplyError::DoesNotFit { object: identity(applied), errors })?;

    let (base, mut managers) = match live {
        Some(live) => (without_managed_fields(live), Managers::of_object(live)),
        None => (defaults::zero_object(applied, schema), Managers::default()),
    };
    if managers.is_empty() && live.is_some() {
        let before = Operation { manager: "before-first-apply", ..*operation };
        managers.record_update(&defaults::zero_object(&base, schema), &base, schema, &before);
    }
    let first = apply_once(&base, applied, schema, operation, managers.clone(), force);
    let (changed, managers) = match first {
        Err(conflicts) if operation.manager == "kubectl" => {
            let allowed = fields_of_last_applied(&base, schema, operation.api_version).unwrap_or_default();
            let refused: Vec<_> =
                conflicts.into_iter().filter(|conflict| !allowed.contains(&conflict.path)).collect();
            if !refused.is_empty() {
                return Err(ApplyError::Conflicts(refused));
            }
            apply_once(&base, applied, schema, operation, managers, true).map_err(ApplyError::Conflicts)?
        }
        result => result.map_err(ApplyError::Conflicts)?,
    };
    let mut object = changed.unwrap_or(base);
    if operation.manager == "kubectl" {
        refresh_last_applied(&mut object, applied);
    }
    set_managed_fields(&mut object, managers.to_value());
    Ok(keep_times(live, object))
}

type Applied = (Option<Value>, Managers);

fn apply_once(
    live: &Value,
    applied: &Value,
    schema: &TypeRef,
    operation: &Operation<'_>,
    managers: Managers,
    force: bool,
) -> Result<Applied, Vec<Conflict>> {
    let mut managers = managers.reconciled_with(schema);
    let merged = merge::merge(live, applied, schema);
    let manager = Manager::applying(operation);
    let declared = FieldSet::of_value(applied, schema).recursive_difference(operation.reset);
    let last = managers.insert(
        manager.clone(),
        Set { fields: declared, api_version: operation.api_version.to_owned(), time: None },
    );
    let last_time = last.as_ref().and_then(|last| last.time.clone());
    let new = match last {
        Some(last) if !last.fields.is_empty() => prune(&merged, &managers, &last.fields, schema),
        _ => merged,
    };
    let comparison = Comparison::of(live, &new, schema).without(operation.reset);
    managers.take_over(&comparison, Some(&manager), force)?;
    let changed = compare_values(live, &new).is_ne();
    managers.set_time(&manager, if changed { Some(operation.now.to_owned()) } else { last_time });
    managers.strip_metadata(&manager);
    Ok((changed.then_some(new), managers))
}

/// Removes what the manager declared the last time, declares no longer, and nobody else owns.
fn prune(merged: &Value, managers: &Managers, last: &FieldSet, schema: &TypeRef) -> Value {
    let named = |set: &FieldSet| set.with_named_parents(schema);
    let fields_of = |value: &Value| named(&FieldSet::of_value(value, schema));
    let last = named(last);
    let all = fields_of(merged);
    let pruned = remove(merged, &last, schema);
    let owned = named(&managers.all_fields());
    let pruned = remove(merged, &all.difference(&fields_of(&pruned).union(&owned)), schema);
    remove(merged, &all.difference(&fields_of(&pruned)).intersection(&last), schema)
}

/// Records who owns what after a create, an update, or a patch other than apply. Returns the object to store.
///
/// A request that sends managed fields replaces them (`[]` forgets them all); one that leaves them out keeps those of the
/// live object.
pub fn track_update(live: Option<&Value>, new: Value, schema: &TypeRef, operation: &Operation<'_>) -> Value {
    let sent = new.pointer("/metadata/managedFields").and_then(Value::as_array);
    let reset = sent.is_some_and(|sent| match sent.as_slice() {
        [] => true,
        [only] => only.as_object().is_some_and(Map::is_empty),
        _ => false,
    });
    let mut managers = match sent.map(|sent| Managers::of_entries(sent)) {
        _ if !operation.subresource.is_empty() => live.map(Managers::of_object).unwrap_or_default(),
        _ if reset => Managers::default(),
        Some(Some(managers)) if !managers.is_empty() => managers,
        _ => live.map(Managers::of_object).unwrap_or_default(),
    };
    let mut object = new;
    remove_managed_fields(&mut object);
    // An object that was stored without managers is not tracked before its first apply.
    let is_stored = live.is_some_and(|live| live.pointer("/metadata/uid").is_some());
    if !managers.is_empty() || !is_stored {
        let before = match live {
            Some(live) => without_managed_fields(live),
            None => defaults::zero_object(&object, schema),
        };
        managers.record_update(&before, &object, schema, operation);
        managers.cap();
    }
    set_managed_fields(&mut object, managers.to_value());
    keep_times(live, object)
}

/// The live object itself when nothing but the managers' times differs.
fn keep_times(live: Option<&Value>, object: Value) -> Value {
    let Some(live) = live else { return object };
    let timeless = |object: &Value| {
        let mut object = object.clone();
        for entry in managed_fields_mut(&mut object).into_iter().flatten() {
            if let Some(entry) = entry.as_object_mut() {
                entry.shift_remove("time");
            }
        }
        object
    };
    if compare_values(&timeless(live), &timeless(&object)).is_eq() { live.clone() } else { object }
}

fn managed_fields_mut(object: &mut Value) -> Option<&mut Vec<Value>> {
    object.pointer_mut("/metadata/managedFields")?.as_array_mut()
}

fn without_managed_fields(object: &Value) -> Value {
    let mut object = object.clone();
    remove_managed_fields(&mut object);
    object
}

fn remove_managed_fields(object: &mut Value) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.shift_remove("managedFields");
    }
}

fn set_managed_fields(object: &mut Value, entries: Option<Value>) {
    let (Some(object), Some(entries)) = (object.as_object_mut(), entries) else {
        return;
    };
    let metadata = object.entry("metadata").or_insert_with(|| Value::Object(Map::new()));
    if let Some(metadata) = metadata.as_object_mut() {
        metadata.insert("managedFields".to_owned(), entries);
    }
}

fn identity(object: &Value) -> String {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let gvk = crate::object::Gvk::from_api_version(text("/apiVersion"), text("/kind"));
    let kind = format!("{}/{}, Kind={}", gvk.group, gvk.version, gvk.kind);
    format!("{}/{}; {kind}", text("/metadata/namespace"), text("/metadata/name"))
}

fn last_applied(object: &Value) -> Option<&str> {
    object.get("metadata")?.get("annotations")?.get(LAST_APPLIED)?.as_str().filter(|text| !text.is_empty())
}

/// What `kubectl apply` without `--server-side` declared and nobody changed since: kubectl may take these fields over.
fn fields_of_last_applied(live: &Value, schema: &TypeRef, api_version: &str) -> Option<FieldSet> {
    let last: Value = serde_json::from_str(last_applied(live)?).ok()?;
    if last.get("apiVersion")?.as_str()? != api_version || validate::validate(&last, schema).is_err() {
        return None;
    }
    let changes = Comparison::of(&last, live, schema);
    let fields = FieldSet::of_value(&last, schema);
    Some(fields.difference(&changes.modified).difference(&changes.added).difference(&changes.removed))
}

fn refresh_last_applied(object: &mut Value, applied: &Value) {
    if last_applied(object).is_none() {
        return;
    }
    let mut applied = applied.clone();
    if let Some(annotations) = applied.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        annotations.shift_remove(LAST_APPLIED);
    }
    let mut text = super::defaults::sorted(&applied).to_string();
    text.push('\n');
    if let Some(annotations) = object.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        annotations.insert(LAST_APPLIED.to_owned(), Value::from(text));
    }
}
