//! Services of type LoadBalancer and Ingresses get an address.

use std::time::Duration;

use serde_json::{Value, json};

use super::parts::{MANAGER, is_terminating, text, write_status};
use super::{Context, Memory};
use crate::sandbox::status::ApiError;

/// An address that is reserved for documentation.
const ADDRESS: &str = "192.0.2.10";

pub(super) fn reconcile_service(
    context: &Context,
    _: &mut Memory,
    service: &Value,
) -> Result<Option<Duration>, ApiError> {
    let balanced = text(service, "/spec/type") == "LoadBalancer";
    let entry = json!({"ip": ADDRESS, "ipMode": "VIP"});
    assign(context, service, balanced.then_some(entry))
}

pub(super) fn reconcile_ingress(
    context: &Context,
    _: &mut Memory,
    ingress: &Value,
) -> Result<Option<Duration>, ApiError> {
    assign(context, ingress, Some(json!({"ip": ADDRESS})))
}

fn assign(context: &Context, object: &Value, entry: Option<Value>) -> Result<Option<Duration>, ApiError> {
    let balancer = match entry {
        Some(entry) => json!({"ingress": [entry]}),
        None => json!({}),
    };
    let old = object.pointer("/status/loadBalancer");
    if is_terminating(object) || old.unwrap_or(&json!({})) == &balancer {
        return Ok(None);
    }
    let mut status =
        object.get("status").filter(|status| status.is_object()).cloned().unwrap_or_else(|| json!({}));
    if let Some(status) = status.as_object_mut() {
        status.insert("loadBalancer".to_owned(), balancer);
    }
    write_status(context, object, status, MANAGER)?;
    Ok(None)
}
