//! What a new state must be before it is written, and what of the live state it keeps.

use serde_json::{Map, Value};

use super::super::kinds::Resource;
use super::super::status::{ApiError, Cause};
use super::super::{custom, decode, defaults};
use super::apply::types_of;
use super::text;
use super::write::{FieldValidation, WriteOptions, metadata_mut, stale, subject};

/// Checks or fills in `apiVersion`, `kind`, `metadata` and the namespace.
pub(super) fn identify(resource: &Resource, namespace: &str, object: &mut Value) -> Result<(), ApiError> {
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
    let given = metadata.get("namespace").and_then(Value::as_str).unwrap_or_default();
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
pub(super) fn check_versions(
    resource: &Resource,
    live: &Value,
    object: &Value,
    name: &str,
) -> Result<(), ApiError> {
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
pub(super) fn carry_system_fields(live: &Value, object: &mut Value) {
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
pub(super) fn carry_subresources(resource: &Resource, subresource: &str, live: &Value, object: &mut Value) {
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
pub(super) fn counts(object: &Value) -> Value {
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
pub(super) fn unchanged(live: &Value, object: &Value) -> bool {
    let timeless = |value: &Value| {
        let mut value = value.clone();
        let entries = value.pointer_mut("/metadata/managedFields").and_then(Value::as_array_mut);
        for entry in entries.into_iter().flatten() {
            if let Some(entry) = entry.as_object_mut() {
                entry.shift_remove("time");
            }
        }
        value
    };
    timeless(live) == timeless(object)
}

/// Removes unknown fields of custom resources, and refuses or warns as asked.
pub(super) fn prune_input(
    resource: &Resource,
    object: &mut Value,
    options: &WriteOptions,
) -> Result<(), ApiError> {
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
    let listed: Vec<String> = unknown.iter().map(|field| format!("unknown field {field:?}")).collect();
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

/// Refuses values that a field of a built-in kind cannot hold.
pub(super) fn check_types(resource: &Resource, object: &Value) -> Result<(), ApiError> {
    if resource.custom.is_some() {
        return Ok(());
    }
    decode::mistyped(object, &types_of(resource), &resource.kind).map_or(Ok(()), |problem| {
        Err(ApiError::bad_request(format!(
            "{kind} in version {version:?} cannot be handled as a {kind}: {problem}",
            kind = resource.kind,
            version = resource.version,
        )))
    })
}
