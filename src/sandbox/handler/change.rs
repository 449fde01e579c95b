//! `create`, `update`, `delete`, `deletecollection`, and what is done to Pods.

use axum::body::Body;
use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::super::decode::json_type;
use super::super::kinds::Resource;
use super::super::protobuf::{self, PROTOBUF};
use super::super::status::{ApiError, Cause, Subject};
use super::super::store::{DeleteOutcome, DeleteRequest, Propagation, no_kind, subject, text};
use super::super::{convert, output};
use super::patch::{check_name, parse_yaml};
use super::read::{Selection, parse_integer};
use super::{Answer, Call, Handler, parse_body};

/// Kinds whose deletion answers with the object instead of a `Status`.
const RETURNS_DELETED: &[&str] = &[
    "Pod",
    "PodTemplate",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "ResourceQuota",
    "Service",
    "ServiceAccount",
    "StorageClass",
];

impl Handler {
    pub(super) fn create(&self, call: &Call<'_>) -> Answer {
        let options = call.write_options()?;
        let object = call.body()?;
        let created = self.store.create_in(&call.resource, &call.target.namespace, object, &options)?;
        Ok(call.respond(StatusCode::CREATED, created, Some(&options)))
    }

    pub(super) fn replace(&self, call: &Call<'_>) -> Answer {
        let options = call.write_options()?;
        let object = call.body()?;
        let target = call.target;
        check_name(&object, &target.name)?;
        let (updated, _) = self.store.update_in(
            &call.resource,
            &target.subresource,
            &target.namespace,
            &target.name,
            &options,
            |_| Ok(object),
        )?;
        Ok(call.respond(StatusCode::OK, updated, Some(&options)))
    }

    pub(super) fn delete(&self, call: &Call<'_>) -> Answer {
        let request = delete_request(call)?;
        let target = call.target;
        let outcome = self.store.delete_in(&call.resource, &target.namespace, &target.name, &request)?;
        Ok(match outcome {
            DeleteOutcome::Removed(object)
                if call.resource.custom.is_some()
                    || !RETURNS_DELETED.contains(&call.resource.kind.as_str()) =>
            {
                success(&call.resource, &target.name, &object)
            }
            DeleteOutcome::Removed(object) | DeleteOutcome::Pending(object) => {
                call.respond(StatusCode::OK, object, None)
            }
        })
    }

    pub(super) fn delete_collection(&self, call: &Call<'_>) -> Answer {
        let request = delete_request(call)?;
        let selection = Selection::of(call)?;
        let target = call.target;
        let (revision, objects) = {
            let state = self.store.lock();
            let objects = state.storage.list(&call.resource.storage, Some(target.namespace.as_str()));
            (state.storage.revision(), objects)
        };
        let mut deleted = Vec::new();
        for stored in objects.iter().filter(|stored| selection.matches(stored)) {
            match self.store.delete_in(&call.resource, &stored.key.namespace, &stored.key.name, &request) {
                Ok(_) => deleted.push(convert::to_served(&call.resource, stored.value())),
                Err(error) if error.code() == 404 => {}
                Err(error) => return Err(error),
            }
        }
        let metadata = json!({"resourceVersion": revision.to_string()});
        Ok(output::list(&call.format, &call.resource, &metadata, deleted))
    }

    /// `pods/binding` gives a Pod its node, `pods/eviction` deletes it.
    pub(super) fn pod_action(&self, call: &Call<'_>) -> Answer {
        if call.request.method != http::Method::POST {
            return Err(ApiError::method_not_allowed());
        }
        let options = call.write_options()?;
        let target = call.target;
        if target.subresource == "eviction" {
            let request = DeleteRequest { dry_run: options.dry_run, ..DeleteRequest::default() };
            self.store.delete_in(&call.resource, &target.namespace, &target.name, &request)?;
        } else {
            let node = text(&parse_body(call.request, &call.resource)?, "/target/name").to_owned();
            self.store.update_in(&call.resource, "", &target.namespace, &target.name, &options, |live| {
                if !text(live, "/spec/nodeName").is_empty() {
                    let why = format!("pod {} is already assigned to node", target.name);
                    return Err(ApiError::conflict(subject(&call.resource, &target.name), &why));
                }
                let mut pod = live.clone();
                if let Some(spec) = pod.get_mut("spec").and_then(Value::as_object_mut) {
                    spec.insert("nodeName".to_owned(), Value::from(node));
                }
                Ok(pod)
            })?;
        }
        let status =
            json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201});
        Ok(output::json(StatusCode::CREATED, &status))
    }
}

fn success(resource: &Resource, name: &str, object: &Value) -> Response<Body> {
    let mut details = json!({"name": name});
    if let Some(details) = details.as_object_mut() {
        if !resource.group.is_empty() {
            details.insert("group".to_owned(), Value::from(resource.group.as_str()));
        }
        details.insert("kind".to_owned(), Value::from(resource.plural.as_str()));
        details.insert("uid".to_owned(), Value::from(text(object, "/metadata/uid")));
    }
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details});
    output::json(StatusCode::OK, &status)
}

/// The body of a delete, which may be left out.
fn delete_options(call: &Call<'_>) -> Result<Value, ApiError> {
    let request = call.request;
    if request.body.is_empty() {
        return Ok(Value::Null);
    }
    let body: Value = if request.content_type == PROTOBUF {
        protobuf::decode(&request.body).map_err(|error| ApiError::bad_request(error.to_string()))?
    } else if request.content_type == "application/yaml" {
        parse_yaml(&request.body).map_err(ApiError::bad_request)?
    } else {
        serde_json::from_slice(&request.body).map_err(|error| {
            ApiError::bad_request(format!("couldn't get version/kind; json parse error: {error}"))
        })?
    };
    let (kind, version) = (text(&body, "/kind"), text(&body, "/apiVersion"));
    if !matches!(kind, "" | "DeleteOptions") {
        return Err(ApiError::bad_request(no_kind(kind, version)));
    }
    if body.get("gracePeriodSeconds").is_some_and(|seconds| !seconds.is_null() && !seconds.is_i64()) {
        return Err(ApiError::bad_request(format!(
            "json: cannot unmarshal {} into Go struct field DeleteOptions.gracePeriodSeconds of type int64",
            json_type(body.get("gracePeriodSeconds").unwrap_or(&Value::Null))
        )));
    }
    Ok(body)
}

/// `DeleteOptions`, from the body or the query.
fn delete_request(call: &Call<'_>) -> Result<DeleteRequest, ApiError> {
    let options = call.write_options()?;
    let body = delete_options(call)?;
    let parameter = |name: &str| {
        let given = call.request.parameter(name);
        if given.is_empty() { text(&body, &format!("/{name}")).to_owned() } else { given.to_owned() }
    };
    let invalid = |cause| {
        let subject = Subject { group: "meta.k8s.io", resource: "DeleteOptions", name: "" };
        Err(ApiError::invalid(subject, vec![cause]))
    };
    let mut propagation = match parameter("propagationPolicy").as_str() {
        "" => None,
        "Background" => Some(Propagation::Background),
        "Foreground" => Some(Propagation::Foreground),
        "Orphan" => Some(Propagation::Orphan),
        other => {
            let supported = ["Foreground", "Background", "Orphan", "nil"].map(str::to_owned);
            return invalid(Cause::not_supported("propagationPolicy", &Value::from(other), &supported));
        }
    };
    let orphan = match call.request.parameter("orphanDependents") {
        "" => body.get("orphanDependents").and_then(Value::as_bool),
        text => Some(text == "true"),
    };
    match (orphan, propagation) {
        (Some(_), Some(_)) => {
            return invalid(Cause::invalid(
                "propagationPolicy",
                &Value::from(parameter("propagationPolicy")),
                "orphanDependents and deletionPropagation cannot be both set",
            ));
        }
        (Some(true), None) => propagation = Some(Propagation::Orphan),
        (Some(false), None) => propagation = Some(Propagation::Background),
        (None, _) => {}
    }
    let grace = match call.request.parameter("gracePeriodSeconds") {
        "" => body.get("gracePeriodSeconds").and_then(Value::as_i64),
        text => Some(parse_integer(text)?),
    };
    let precondition = |field: &str| {
        let found = text(&body, &format!("/preconditions/{field}"));
        (!found.is_empty()).then(|| found.to_owned())
    };
    let dry_run = options.dry_run
        || body.get("dryRun").and_then(Value::as_array).is_some_and(|list| list.iter().any(|v| v == "All"));
    Ok(DeleteRequest {
        propagation,
        grace,
        uid: precondition("uid"),
        resource_version: precondition("resourceVersion"),
        dry_run,
    })
}
