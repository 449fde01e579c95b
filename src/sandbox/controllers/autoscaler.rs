//! HorizontalPodAutoscaler: nothing is measured here, so it asks for the least that it may.

use std::time::Duration;

use serde_json::{Value, json};

use super::parts::{MANAGER, is_terminating, number, write_status};
use super::{Context, Memory};
use crate::sandbox::status::ApiError;

pub(super) fn reconcile(
    context: &Context,
    _: &mut Memory,
    autoscaler: &Value,
) -> Result<Option<Duration>, ApiError> {
    if is_terminating(autoscaler) {
        return Ok(None);
    }
    let least = number(autoscaler, "/spec/minReplicas").unwrap_or(1);
    let condition = |kind: &str, status: &str, reason: &str, message: &str| json!({ "type": kind, "status": status, "reason": reason, "message": message });
    let status = json!({
        "currentReplicas": least,
        "desiredReplicas": least,
        "conditions": [
            condition("AbleToScale", "True", "ReadyForNewScale", "recommended size matches current size"),
            condition("ScalingActive", "True", "ValidMetricFound", "nothing is measured in the sandbox"),
            condition("ScalingLimited", "False", "DesiredWithinRange", "the desired count is within the acceptable range"),
        ],
    });
    write_status(context, autoscaler, status, MANAGER)?;
    Ok(None)
}
