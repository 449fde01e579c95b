//! What a new state must be before it is written, and what of the live state it keeps.

use serde_json::{Map, Value, json};

use super::super::kinds::Resource;
use super::super::status::{ApiError, Cause};
use super::super::{custom, decode, defaults};
use super::apply::types_of;
use super::no_kind;
use super::text;
use super::write::{FieldValidation, Tracking, WriteOptions, kind_subject, metadata_mut, stale, subject};
use crate::object::Gvk;
use crate::object::schema::{self, TypeRef};

/// `… cannot be handled as a …`: a body that is no object of a resource.
fn unfit(resource: &Resource, kind: &str, version: &str, why: &str) -> ApiError {
    ApiError::bad_request(format!(
        "{kind} in version {version:?} cannot be handled as a {}: {why}",
        resource.kind
    ))
}

/// Checks or fills in `apiVersion` and `kind`, and sees to it that there is `metadata`.
pub(super) fn identify(resource: &Resource, object: &mut Value) -> Result<(), ApiError> {
    if object.is_null() {
        *object = Value::Object(Map::new());
    }
    let Some(map) = object.as_object() else {
        let why = format!("json: cannot unmarshal into Go value of type {}", resource.kind);
        return Err(unfit(resource, &resource.kind, &resource.version, &why));
    };
    let text = |field: &str| map.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (given, kind) = (text("apiVersion"), text("kind"));
    if resource.custom.is_some() && (given.is_empty() || kind.is_empty()) {
        // Nothing but the body says what a custom resource is.
        let missing = if kind.is_empty() { "Kind" } else { "apiVersion" };
        return Err(ApiError::bad_request(format!(
            "the object provided is unrecognized (must be of type {}): Object '{missing}' is missing in '{object}'",
            resource.kind
        )));
    }
    check_kind(resource, &given, &kind)?;
    let Some(map) = object.as_object_mut() else { return Ok(()) };
    map.insert("apiVersion".to_owned(), Value::from(resource.api_version()));
    map.insert("kind".to_owned(), Value::from(resource.kind.as_str()));
    let metadata = map.entry("metadata").or_insert(Value::Null);
    if metadata.is_null() {
        *metadata = Value::Object(Map::new());
    }
    let Some(metadata) = metadata.as_object_mut() else {
        let found = decode::json_type(metadata);
        let why = if resource.custom.is_some() {
            format!("json: cannot unmarshal {found} into Go value of type v1.ObjectMeta")
        } else {
            let kind = &resource.kind;
            format!(
                "json: cannot unmarshal {found} into Go struct field {kind}.metadata of type v1.ObjectMeta"
            )
        };
        return Err(unfit(resource, &resource.kind, &resource.version, &why));
    };
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

/// The `apiVersion` and `kind` of a body, where it has them, must be those of the path.
fn check_kind(resource: &Resource, api_version: &str, kind: &str) -> Result<(), ApiError> {
    let expected = resource.api_version();
    let fits = |given: &str, wanted: &str| given.is_empty() || given == wanted;
    if fits(api_version, &expected) && fits(kind, &resource.kind) {
        return Ok(());
    }
    let given = if api_version.is_empty() { &expected } else { api_version };
    let kind = if kind.is_empty() { &resource.kind } else { kind };
    let gvk = Gvk::from_api_version(given, kind);
    if resource.custom.is_none() {
        if schema::built_in(&gvk).is_some() {
            let group = if resource.group.is_empty() { "core" } else { &resource.group };
            let why = format!(
                "converting ({}.{kind}) to ({group}.{}): unknown conversion",
                gvk.version, resource.kind
            );
            return Err(unfit(resource, kind, &gvk.version, &why));
        }
        // Versions that were served once are read still, and found to be another one then.
        if kind != resource.kind || !gvk.version.contains("beta") {
            return Err(unfit(resource, kind, &gvk.version, &no_kind(kind, given)));
        }
    }
    if given != expected {
        return Err(ApiError::bad_request(format!(
            "the API version in the data ({given}) does not match the expected API version ({expected})"
        )));
    }
    let why = format!("no kind {kind:?} is registered for this resource");
    Err(unfit(resource, kind, &resource.version, &why))
}

/// The namespace of a body, where it has one, must be that of the path.
pub(super) fn check_namespace(namespace: &str, object: &mut Value) -> Result<(), ApiError> {
    let given = text(object, "/metadata/namespace");
    if given.is_empty() || given == namespace {
        return Ok(());
    }
    Err(ApiError::bad_request(
        "the namespace of the provided object does not match the namespace sent on the request",
    ))
}

/// Sets or removes `metadata.namespace`.
pub(super) fn set_namespace(object: &mut Value, namespace: &str) {
    if let Some(metadata) = metadata_mut(object) {
        if namespace.is_empty() {
            metadata.shift_remove("namespace");
        } else {
            metadata.insert("namespace".to_owned(), Value::from(namespace));
        }
    }
}

/// Optimistic concurrency: the resource version and the uid that an update states must be the live ones.
pub(super) fn check_versions(
    resource: &Resource,
    live: &Value,
    object: &Value,
    name: &str,
    patching: bool,
) -> Result<(), ApiError> {
    let uid = text(object, "/metadata/uid");
    let live_uid = text(live, "/metadata/uid");
    if !uid.is_empty() && uid != live_uid {
        if patching {
            let cause = Cause::invalid("metadata.uid", &Value::from(uid), "field is immutable");
            return Err(ApiError::invalid(kind_subject(resource, name), vec![cause]));
        }
        let group = if resource.custom.is_some() { format!("{}/", resource.group) } else { String::new() };
        let why = format!(
            "StorageError: invalid object, Code: 4, Key: /registry/{group}{}/{}/{name}, ResourceVersion: 0, \
             AdditionalErrorMsg: Precondition failed: UID in precondition: {uid}, UID in object meta: {live_uid}",
            resource.plural,
            text(live, "/metadata/namespace"),
        );
        return Err(ApiError::conflict(subject(resource, name), &why));
    }
    let version = text(object, "/metadata/resourceVersion");
    if !version.is_empty() && version.parse::<u64>().is_err() {
        let message = format!("strconv.ParseUint: parsing {version:?}: invalid syntax");
        return Err(ApiError::no_number(message));
    }
    if version.is_empty() {
        let unconditional = resource.custom.is_none()
            && !matches!(
                resource.kind.as_str(),
                "Lease" | "CustomResourceDefinition" | "APIService" | "EndpointSlice"
            );
        if !unconditional {
            let cause = Cause {
                reason: "FieldValueInvalid",
                message: "Invalid value: 0: must be specified for an update".to_owned(),
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
pub(super) fn carry_system_fields(live: &Value, object: &mut Value, tracking: Tracking) {
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
    if tracking == Tracking::Count
        && !metadata.contains_key("managedFields")
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
pub(super) fn counts(object: &Value, resource: &Resource) -> Value {
    let Some(map) = object.as_object() else {
        return Value::Null;
    };
    let ignored = |field: &str| matches!(field, "metadata" | "status" | "apiVersion" | "kind");
    let mut part: Map<String, Value> = map
        .iter()
        .filter(|(field, _)| !ignored(field))
        .map(|(field, value)| (field.clone(), value.clone()))
        .collect();
    match (resource.group.as_str(), resource.kind.as_str()) {
        ("apps", "Deployment") => {
            let mut annotations =
                object.pointer("/metadata/annotations").cloned().unwrap_or_else(|| json!({}));
            if let Some(annotations) = annotations.as_object_mut() {
                // The controller writes this one with the status.
                annotations.shift_remove("deployment.kubernetes.io/revision");
            }
            part.insert("annotations".to_owned(), annotations);
        }
        // A Pod is bound to its node through a subresource.
        ("", "Pod") => {
            if let Some(spec) = part.get_mut("spec").and_then(Value::as_object_mut) {
                spec.shift_remove("nodeName");
            }
        }
        _ => {}
    }
    Value::Object(part)
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

/// Whether `metadata` has an empty list or mapping. They are not stored, but an apply to a custom resource that leaves one
/// is a change each time.
pub(super) fn has_empty_metadata(object: &Value) -> bool {
    let metadata = object.get("metadata").and_then(Value::as_object);
    metadata.into_iter().flatten().any(|(_, value)| match value {
        Value::Object(map) => map.is_empty(),
        Value::Array(list) => list.is_empty(),
        _ => false,
    })
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
    let mut unknown = metadata_type().map(|of| unknown_metadata(object, &of)).unwrap_or_default();
    unknown.extend(custom::prune(object, &custom.schema));
    unknown.sort_unstable();
    report_unknown(resource, &unknown, options)
}

/// The type of `metadata`, which custom resources share with all others.
fn metadata_type() -> Option<TypeRef> {
    Some(schema::built_in(&Gvk::new("", "v1", "ConfigMap"))?.field("metadata"))
}

/// Removes what `metadata` cannot have, and returns its paths.
fn unknown_metadata(object: &mut Value, of: &TypeRef) -> Vec<String> {
    let Some(metadata) = metadata_mut(object) else { return Vec::new() };
    let unknown: Vec<String> = metadata.keys().filter(|name| !of.allows_field(name)).cloned().collect();
    for name in &unknown {
        metadata.shift_remove(name);
    }
    unknown.into_iter().map(|name| format!("metadata.{name}")).collect()
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

/// Refuses values that a field of a built-in kind, or the metadata of any, cannot hold.
pub(super) fn check_types(resource: &Resource, object: &Value) -> Result<(), ApiError> {
    let problem = if resource.custom.is_some() {
        let metadata = object.get("metadata").unwrap_or(&Value::Null);
        metadata_type().and_then(|of| decode::mistyped(metadata, &of))
    } else {
        decode::mistyped(object, &types_of(resource))
    };
    problem.map_or(Ok(()), |problem| Err(unfit(resource, &resource.kind, &resource.version, &problem)))
}
