//! `patch` in its four types.

use http::StatusCode;
use serde_json::Value;

use super::super::decode::json_type;
use super::super::status::{ApiError, Cause, Subject};
use super::super::store::{Apply, WriteOptions, kind_text, text, types_of};
use super::super::strategic;
use super::{Answer, Call, Handler};
use crate::object::{Gvk, yaml};

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
        let options = WriteOptions { patching: true, ..options };
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
    let object = if request.body.is_empty() {
        Value::Object(serde_json::Map::new())
    } else {
        parse_yaml(&request.body)
            .map_err(|error| ApiError::bad_request(format!("error decoding YAML: {error}")))?
    };
    if !object.is_object() {
        return Err(ApiError::bad_request(format!(
            "error decoding YAML: error unmarshaling JSON: while decoding JSON: json: cannot unmarshal {} into Go \
             value of type map[string]interface {{}}",
            json_type(&object)
        )));
    }
    let gvk = Gvk::from_api_version(text(&object, "/apiVersion"), text(&object, "/kind"));
    let scale = call.target.subresource == "scale";
    if !scale && gvk != call.resource.gvk() {
        let message = format!("invalid object type: {}", kind_text(&gvk));
        return Err(ApiError::bad_request(message));
    }
    check_name(&object, &call.target.name)?;
    Ok(Apply { object, force: request.is_set("force") })
}

/// The body of an update or apply must carry the name of the path.
pub(super) fn check_name(object: &Value, wanted: &str) -> Result<(), ApiError> {
    match text(object, "/metadata/name") {
        "" => Err(ApiError::bad_request(format!(
            "the name of the object ({wanted} based on URL) was undeterminable: name must be provided"
        ))),
        name if name != wanted => Err(ApiError::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({wanted})"
        ))),
        _ => Ok(()),
    }
}

pub(super) fn read_patch(call: &Call<'_>) -> Result<Patch, ApiError> {
    let unreadable =
        |error: serde_json::Error| ApiError::bad_request(format!("error decoding patch: {error}"));
    let strategic = call.request.content_type == "application/strategic-merge-patch+json";
    let decoding = if strategic { "" } else { "error decoding patch: " };
    let object = || {
        let value: Value = serde_json::from_slice(&call.request.body).map_err(unreadable)?;
        if value.is_object() {
            Ok(value)
        } else {
            Err(ApiError::bad_request(format!(
                "{decoding}json: cannot unmarshal {} into Go value of type map[string]interface {{}}",
                json_type(&value)
            )))
        }
    };
    Ok(match call.request.content_type.as_str() {
        "application/json-patch+json" => {
            let operations: Vec<Value> = serde_json::from_slice(&call.request.body).map_err(unreadable)?;
            Patch::Json(serde_json::from_value(Value::Array(operations)).map_err(|_| ApiError::rejected())?)
        }
        "application/merge-patch+json" => Patch::Merge(object()?),
        "application/strategic-merge-patch+json" if call.resource.custom.is_none() => {
            Patch::Strategic(object()?)
        }
        _ => {
            return Err(unsupported(call));
        }
    })
}

pub(super) fn patched(call: &Call<'_>, live: &Value, patch: &Patch) -> Result<Value, ApiError> {
    let mut object = live.clone();
    match patch {
        Patch::Json(patch) => {
            let patch = lenient(&object, patch);
            json_patch::patch(&mut object, &patch).map_err(|_| ApiError::rejected())?;
        }
        Patch::Merge(patch) => json_patch::merge(&mut object, patch),
        Patch::Strategic(patch) => {
            let types = types_of(&call.resource);
            object = strategic::merge(&object, patch, Some(&types))
                .map_err(|error| ApiError::new(500, "", error.to_string()))?;
        }
    }
    Ok(object)
}

/// `replace` of a member that is not there adds it, as the API server's own implementation has it.
fn lenient(object: &Value, patch: &json_patch::Patch) -> json_patch::Patch {
    let mut patch = patch.clone();
    for operation in &mut patch.0 {
        if let json_patch::PatchOperation::Replace(replace) = operation
            && replace.path.resolve(object).is_err()
            && replace.path.parent().is_some_and(|parent| parent.resolve(object).is_ok_and(Value::is_object))
        {
            *operation = json_patch::PatchOperation::Add(json_patch::AddOperation {
                path: replace.path.clone(),
                value: replace.value.clone(),
            });
        }
    }
    patch
}

/// 415 for a patch of a type that the resource does not have.
fn unsupported(call: &Call<'_>) -> ApiError {
    if call.resource.custom.is_none() {
        return ApiError::bare(415, "UnsupportedMediaType", "415: Unsupported Media Type");
    }
    ApiError::unsupported_media_type(
        "the body of the request was in an unknown format - accepted media types include: \
         application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml",
    )
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
