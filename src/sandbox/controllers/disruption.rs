//! PodDisruptionBudgets say how many of their Pods may go.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::parts::{
    MANAGER, conditions, count, is_ready, is_terminating, number, text, with_condition, write_status,
};
use super::{Context, Memory};
use crate::object::GroupKind;
use crate::sandbox::selector::LabelSelector;
use crate::sandbox::status::ApiError;

pub(super) fn reconcile(
    context: &Context,
    _: &mut Memory,
    budget: &Value,
) -> Result<Option<Duration>, ApiError> {
    if is_terminating(budget) {
        return Ok(None);
    }
    let selector = selector(budget.pointer("/spec/selector"))?;
    let mut pods = context.store.list(&GroupKind::new("", "Pod"), Some(text(budget, "/metadata/namespace")));
    pods.retain(|pod| {
        let is_over = matches!(text(pod, "/status/phase"), "Succeeded" | "Failed");
        !is_terminating(pod) && !is_over && selector.matches(&labels(pod))
    });
    // A real cluster asks the Pods' workloads how many there should be; here that many are there at once.
    let expected = count(pods.len());
    let healthy = count(pods.iter().filter(|pod| is_ready(pod)).count());
    let desired = match budget.pointer("/spec/maxUnavailable") {
        Some(unavailable) => expected - amount(unavailable, expected),
        None => budget.pointer("/spec/minAvailable").map_or(1, |available| amount(available, expected)),
    };
    let desired = desired.max(0);
    let allowed = (healthy - desired).max(0);
    let (status, reason) =
        if allowed > 0 { ("True", "SufficientPods") } else { ("False", "InsufficientPods") };
    let condition = json!({
        "type": "DisruptionAllowed",
        "status": status,
        "reason": reason,
        "message": "",
        "observedGeneration": number(budget, "/metadata/generation"),
    });
    let status = json!({
        "conditions": with_condition(&conditions(budget), &condition, false),
        "currentHealthy": healthy,
        "desiredHealthy": desired,
        "disruptionsAllowed": allowed,
        "expectedPods": expected,
        "observedGeneration": number(budget, "/metadata/generation"),
    });
    write_status(context, budget, status, MANAGER)?;
    Ok(None)
}

/// A number of Pods, or a percentage of them rounded up.
fn amount(value: &Value, of: i64) -> i64 {
    let percent = value.as_str().and_then(|text| text.strip_suffix('%')?.parse::<i64>().ok());
    match percent {
        Some(percent) => percent.saturating_mul(of).saturating_add(99) / 100,
        None => value.as_i64().unwrap_or_default(),
    }
}

fn labels(object: &Value) -> BTreeMap<String, String> {
    let labels = object.pointer("/metadata/labels").and_then(Value::as_object);
    labels
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect()
}

/// A selector of an object as a list request would write it.
fn selector(selector: Option<&Value>) -> Result<LabelSelector, ApiError> {
    let Some(selector) = selector else {
        // Without a selector nothing is selected: no value fits both.
        return LabelSelector::parse("none,!none");
    };
    let mut requirements = Vec::new();
    let wanted = selector.get("matchLabels").and_then(Value::as_object);
    for (key, value) in wanted.into_iter().flatten() {
        requirements.push(format!("{key}={}", value.as_str().unwrap_or_default()));
    }
    let expressions = selector.get("matchExpressions").and_then(Value::as_array);
    for expression in expressions.into_iter().flatten() {
        let key = text(expression, "/key");
        let values = expression.get("values").and_then(Value::as_array);
        let values: Vec<&str> = values.into_iter().flatten().filter_map(Value::as_str).collect();
        let values = values.join(",");
        requirements.push(match text(expression, "/operator") {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "DoesNotExist" => format!("!{key}"),
            _ => key.to_owned(),
        });
    }
    LabelSelector::parse(&requirements.join(","))
}
