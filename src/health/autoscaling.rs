//! HorizontalPodAutoscaler.

use serde_json::Value;

use super::{
    HealthError, Judgement, degraded,
    fields::{Condition, conditions},
    healthy, progressing,
};
use crate::object::Object;

/// Where `autoscaling/v1` keeps the conditions, as JSON.
const CONDITIONS_ANNOTATION: &str = "autoscaling.alpha.kubernetes.io/conditions";

pub(super) fn horizontal_pod_autoscaler(object: &Object) -> Judgement {
    match object.api_version() {
        "autoscaling/v2" => Ok(judge(&conditions(object)?)),
        "autoscaling/v1" => {
            let Some(text) = object.annotation(CONDITIONS_ANNOTATION).filter(|text| !text.is_empty()) else {
                return Ok(judge(&[]));
            };
            let parsed: Vec<Value> = serde_json::from_str(text).map_err(|_| HealthError::WrongType {
                object: object.key().to_string(),
                field: format!("metadata.annotations[{CONDITIONS_ANNOTATION}]"),
                expected: "a JSON list of conditions",
            })?;
            Ok(judge(&parsed.iter().map(Condition::of).collect::<Vec<_>>()))
        }
        _ => Err(HealthError::UnsupportedVersion {
            kind: object.kind().to_owned(),
            gvk: object.gvk().to_string(),
            supported: "autoscaling/v2",
        }),
    }
}

fn judge(conditions: &[Condition<'_>]) -> crate::api::HealthStatus {
    if let Some(failed) = conditions.iter().find(|condition| has_failed(condition)) {
        return degraded(failed.message);
    }
    let able = |condition: &&Condition<'_>| {
        matches!(condition.kind, "AbleToScale" | "ScalingLimited") && condition.is_true()
    };
    match conditions.iter().find(able) {
        Some(condition) => healthy(condition.message),
        None => progressing("Waiting to Autoscale"),
    }
}

fn has_failed(condition: &Condition<'_>) -> bool {
    match condition.kind {
        "AbleToScale" => matches!(condition.reason, "FailedGetScale" | "FailedUpdateScale"),
        "ScalingActive" => matches!(
            condition.reason,
            "FailedGetResourceMetric"
                | "FailedGetObjectMetric"
                | "FailedGetPodsMetric"
                | "FailedGetExternalMetric"
                | "FailedComputeMetricsReplicas"
                | "InvalidSelector"
        ),
        _ => false,
    }
}
