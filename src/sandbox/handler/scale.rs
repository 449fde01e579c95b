//! The scale subresource: `autoscaling/v1` `Scale` over an object's own replica fields.

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::super::decode::json_type;
use super::super::kinds::ScalePaths;
use super::super::output;
use super::super::status::{ApiError, Cause, Subject};
use super::super::store::{stale, text};
use super::patch::{Patch, read_apply, read_patch};
use super::{Answer, Call, Handler, parse_body};

/// From the live `Scale` to the wanted one.
type Change<'a> = Box<dyn FnOnce(&Value) -> Result<Value, ApiError> + 'a>;

impl Handler {
    pub(super) fn scale(&self, call: &Call<'_>) -> Answer {
        let Some(paths) = call.resource.scale.clone() else {
            return Ok(output::page_not_found());
        };
        if call.request.verb() == "get" {
            let live = self.live(call)?;
            return Ok(output::json(StatusCode::OK, &scale_of(&paths, &live)));
        }
        let change: Change<'_> = match call.request.verb() {
            "update" => {
                let scale = parse_body(call.request, &call.resource)?;
                Box::new(move |_| Ok(scale))
            }
            "patch" if call.request.content_type == "application/apply-patch+yaml" => {
                let applied = read_apply(call)?.object;
                Box::new(move |live| {
                    let mut scale = live.clone();
                    json_patch::merge(&mut scale, &applied);
                    Ok(scale)
                })
            }
            "patch" => {
                let patch = read_patch(call)?;
                Box::new(move |live| {
                    let mut scale = live.clone();
                    match &patch {
                        Patch::Json(patch) => json_patch::patch(&mut scale, patch)
                            .map_err(|error| ApiError::bad_request(error.to_string()))?,
                        Patch::Merge(patch) | Patch::Strategic(patch) => json_patch::merge(&mut scale, patch),
                    }
                    Ok(scale)
                })
            }
            _ => return Err(ApiError::method_not_allowed()),
        };
        let options = call.write_options()?;
        let target = call.target;
        let (updated, _) = self.store.update_in(
            &call.resource,
            "scale",
            &target.namespace,
            &target.name,
            &options,
            |live| {
                let scale = change(&scale_of(&paths, live))?;
                let version = text(&scale, "/metadata/resourceVersion");
                if !version.is_empty() && version != text(live, "/metadata/resourceVersion") {
                    return Err(stale(&call.resource, &target.name));
                }
                let mut object = live.clone();
                let replicas = scale.pointer("/spec/replicas").cloned().unwrap_or(Value::from(0));
                check(&replicas, &scale, &target.name)?;
                set(&mut object, &paths.spec_replicas, replicas);
                Ok(object)
            },
        )?;
        Ok(output::json(StatusCode::OK, &scale_of(&paths, &updated)))
    }
}

/// The number must be one, and not negative.
fn check(replicas: &Value, scale: &Value, name: &str) -> Result<(), ApiError> {
    match replicas.as_i64() {
        Some(number) if number < 0 => {
            let subject = Subject { group: "autoscaling", resource: "Scale", name };
            let detail = "must be greater than or equal to 0";
            Err(ApiError::invalid(subject, vec![Cause::invalid("spec.replicas", replicas, detail)]))
        }
        Some(_) => Ok(()),
        None => {
            let found = json_type(replicas);
            let why = format!(
                "json: cannot unmarshal {found} into Go struct field ScaleSpec.spec.replicas of type int32"
            );
            Err(ApiError::unreadable_patch(&scale.to_string(), &why))
        }
    }
}

fn names(path: &str) -> impl Iterator<Item = &str> {
    path.split('.').filter(|name| !name.is_empty())
}

fn find<'a>(object: &'a Value, path: &str) -> Option<&'a Value> {
    names(path).try_fold(object, |value, name| value.get(name))
}

fn set(object: &mut Value, path: &str, value: Value) {
    let mut current = object;
    for name in names(path) {
        if !current.is_object() {
            *current = Value::Object(Map::new());
        }
        let Some(map) = current.as_object_mut() else {
            return;
        };
        current = map.entry(name).or_insert(Value::Null);
    }
    *current = value;
}

fn scale_of(paths: &ScalePaths, object: &Value) -> Value {
    let mut metadata = Map::new();
    for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if let Some(value) = object.pointer("/metadata").and_then(|metadata| metadata.get(field)) {
            metadata.insert(field.to_owned(), value.clone());
        }
    }
    let number = |path: &str| find(object, path).and_then(Value::as_i64).unwrap_or(0);
    let mut spec = Map::new();
    // The number 0 is left out, as the API server's own type has it.
    if number(&paths.spec_replicas) != 0 {
        spec.insert("replicas".to_owned(), Value::from(number(&paths.spec_replicas)));
    }
    let mut status = json!({"replicas": number(&paths.status_replicas)});
    let selector = paths.selector.as_deref().and_then(|path| find(object, path)).map(selector_text);
    if let (Some(selector), Some(status)) = (selector, status.as_object_mut()) {
        status.insert("selector".to_owned(), Value::from(selector));
    }
    json!({
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": metadata,
        "spec": spec,
        "status": status,
    })
}

/// A label selector in its textual form.
fn selector_text(selector: &Value) -> String {
    if let Some(text) = selector.as_str() {
        return text.to_owned();
    }
    let plain = selector.get("matchLabels").and_then(Value::as_object).or_else(|| {
        // A ReplicationController's selector is the labels themselves.
        if selector.get("matchExpressions").is_some() { None } else { selector.as_object() }
    });
    let mut parts: Vec<(String, String)> = plain
        .into_iter()
        .flatten()
        .map(|(key, value)| (key.clone(), format!("{key}={}", value.as_str().unwrap_or_default())))
        .collect();
    for expression in selector.get("matchExpressions").and_then(Value::as_array).into_iter().flatten() {
        let key = text(expression, "/key");
        let mut values: Vec<&str> = expression
            .get("values")
            .and_then(Value::as_array)
            .map(|values| values.iter().filter_map(Value::as_str).collect())
            .unwrap_or_default();
        values.sort_unstable();
        let part = match text(expression, "/operator") {
            "In" => format!("{key} in ({})", values.join(",")),
            "NotIn" => format!("{key} notin ({})", values.join(",")),
            "Exists" => key.to_owned(),
            _ => format!("!{key}"),
        };
        parts.push((key.to_owned(), part));
    }
    parts.sort();
    parts.into_iter().map(|(_, part)| part).collect::<Vec<_>>().join(",")
}
