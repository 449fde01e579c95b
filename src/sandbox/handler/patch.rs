//! `patch` in its four types.

use http::StatusCode;
use serde_json::Value;

use super::super::status::{ApiError, Cause, Subject};
use super::super::store::{Apply, text, types_of};
use super::super::strategic;
use super::{Answer, Call, Handler};
use crate::object::yaml;

/// A patch of a type other than apply.
pub(super) enum Patch {
    Json(json_patch::Patch),
    Merge(Value),
    Strategic(Value),
}

impl Handler {
    pub(super) fn patch(&self, call: &Call<'_>) -> Answer {
        let options = call.write_options()?;
        let target = call.target;
        if call.request.content_type == "application/apply-patch+yaml" {
            let apply = read_apply(call)?;
            let (object, created) = self.store.apply_in(
                &call.resource,
                &target.subresource,
                &target.namespace,
                &target.name,
                &options,
                apply,
            )?;
            let code = if created { StatusCode::CREATED } else { StatusCode::OK };
            return Ok(call.respond(code, object, Some(&options)));
        }
        if !call.request.parameter("force").is_empty() {
            return Err(invalid_options(Cause::forbidden(
                "force",
                "may not be specified for non-apply patch",
            )));
        }
        let patch = read_patch(call)?;
        let (object, _) = self.store.update_in(
            &call.resource,
            &target.subresource,
            &target.namespace,
            &target.name,
            &options,
            |live| patched(call, live, &patch),
        )?;
        Ok(call.respond(StatusCode::OK, object, Some(&options)))
    }
}

/// The body of an apply, checked against the path.
pub(super) fn read_apply(call: &Call<'_>) -> Result<Apply, ApiError> {
    let request = call.request;
    if request.parameter("fieldManager").is_empty() {
        return Err(invalid_options(Cause::required("fieldManager", "is required for apply patch")));
    }
    let mut object = parse_yaml(&request.body)
        .map_err(|error| ApiError::bad_request(format!("error decoding YAML: {error}")))?;
    let name = text(&object, "/metadata/name").to_owned();
    if name.is_empty()
        && let Some(map) = object.as_object_mut()
    {
        let metadata = map.entry("metadata").or_insert_with(|| Value::Object(serde_json::Map::new()));
        if let Some(metadata) = metadata.as_object_mut() {
            metadata.insert("name".to_owned(), Value::from(call.target.name.as_str()));
        }
    } else if name != call.target.name {
        return Err(ApiError::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            call.target.name
        )));
    }
    Ok(Apply { object, force: request.is_set("force") })
}

pub(super) fn read_patch(call: &Call<'_>) -> Result<Patch, ApiError> {
    let unreadable =
        |error: serde_json::Error| ApiError::bad_request(format!("error decoding patch: {error}"));
    let object = || {
        let value: Value = serde_json::from_slice(&call.request.body).map_err(unreadable)?;
        if value.is_object() {
            Ok(value)
        } else {
            Err(ApiError::bad_request(
                "error decoding patch: json: cannot unmarshal into Go value of type map[string]interface {}",
            ))
        }
    };
    Ok(match call.request.content_type.as_str() {
        "application/json-patch+json" => {
            Patch::Json(serde_json::from_slice(&call.request.body).map_err(unreadable)?)
        }
        "application/merge-patch+json" => Patch::Merge(object()?),
        "application/strategic-merge-patch+json" if call.resource.custom.is_none() => {
            Patch::Strategic(object()?)
        }
        _ => {
            let strategic =
                if call.resource.custom.is_none() { "application/strategic-merge-patch+json, " } else { "" };
            return Err(ApiError::unsupported_media_type(format!(
                "the body of the request was in an unknown format - accepted media types include: \
                 application/json-patch+json, application/merge-patch+json, {strategic}application/apply-patch+yaml"
            )));
        }
    })
}

pub(super) fn patched(call: &Call<'_>, live: &Value, patch: &Patch) -> Result<Value, ApiError> {
    let mut object = live.clone();
    match patch {
        Patch::Json(patch) => {
            json_patch::patch(&mut object, patch).map_err(|_| {
                ApiError::new(
                    422,
                    "Invalid",
                    "the server rejected our request due to an error in our request",
                )
            })?;
        }
        Patch::Merge(patch) => json_patch::merge(&mut object, patch),
        Patch::Strategic(patch) => {
            let types = types_of(&call.resource);
            object = strategic::merge(&object, patch, Some(&types))
                .map_err(|error| ApiError::bad_request(error.to_string()))?;
        }
    }
    Ok(object)
}

fn invalid_options(cause: Cause) -> ApiError {
    ApiError::invalid(Subject { group: "meta.k8s.io", resource: "PatchOptions", name: "" }, vec![cause])
}

/// One YAML document, as the API server reads it.
pub(super) fn parse_yaml(body: &[u8]) -> Result<Value, String> {
    let options = yaml::Options { duplicate_keys: yaml::DuplicateKeys::LastWins, ..yaml::Options::default() };
    let mut documents = yaml::parse(body, &options).map_err(|error| error.to_string())?;
    if documents.is_empty() {
        return Err("EOF".to_owned());
    }
    Ok(documents.swap_remove(0).value)
}
