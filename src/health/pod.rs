//! Pod.

use serde_json::Value;

use super::{
    Judgement, degraded,
    fields::{conditions, list, text},
    healthy, progressing, require_version, unknown,
};
use crate::{api::names, object::Object};

fn is_hook(object: &Object) -> bool {
    object.annotation(names::ANNOTATION_HOOK).is_some()
        || object.annotation(names::ANNOTATION_HELM_HOOK).is_some()
}

pub(super) fn pod(object: &Object) -> Judgement {
    require_version(object, "v1")?;
    let policy = text(object, "spec.restartPolicy")?;
    let as_always =
        object.annotation(names::ANNOTATION_IGNORE_RESTART_POLICY).is_some_and(|value| value == "true")
            && !is_hook(object);
    let always = policy == "Always" || as_always;
    let containers = list(object, "status.containerStatuses")?;
    if always {
        let stuck: Vec<&str> = containers.iter().filter_map(stuck_message).collect();
        if !stuck.is_empty() {
            return Ok(degraded(stuck.join(", ")));
        }
    }
    let message = text(object, "status.message")?;
    Ok(match text(object, "status.phase")? {
        "Pending" => progressing(message),
        "Succeeded" => healthy(message),
        "Failed" if !message.is_empty() => degraded(message),
        "Failed" => {
            let initial = list(object, "status.initContainerStatuses")?;
            degraded(initial.iter().chain(containers).find_map(failure_message).unwrap_or_default())
        }
        "Running" if always => {
            let ready =
                conditions(object)?.iter().any(|condition| condition.kind == "Ready" && condition.is_true());
            if ready {
                healthy(message)
            } else if containers
                .iter()
                .any(|container| !pointer(container, "/lastState/terminated").is_null())
            {
                degraded(message)
            } else {
                progressing(message)
            }
        }
        "Running" if matches!(policy, "OnFailure" | "Never") => progressing(message),
        _ => unknown(message),
    })
}

fn pointer<'a>(value: &'a Value, pointer: &str) -> &'a Value {
    value.pointer(pointer).unwrap_or(&Value::Null)
}

/// The message of a container that waits for a reason that does not pass by itself.
fn stuck_message(container: &Value) -> Option<&str> {
    let waiting = pointer(container, "/state/waiting");
    let reason = waiting.get("reason")?.as_str()?;
    let stuck = reason.starts_with("Err") || reason.ends_with("Error") || reason.ends_with("BackOff");
    stuck.then(|| waiting.get("message").and_then(Value::as_str).unwrap_or_default())
}

fn failure_message(container: &Value) -> Option<String> {
    let terminated = pointer(container, "/state/terminated");
    let text = |name| terminated.get(name).and_then(Value::as_str).unwrap_or_default();
    if !text("message").is_empty() {
        return Some(text("message").to_owned());
    }
    if text("reason") == "OOMKilled" {
        return Some("OOMKilled".to_owned());
    }
    let code = terminated.get("exitCode").and_then(Value::as_i64).filter(|code| *code != 0)?;
    let name = container.get("name").and_then(Value::as_str).unwrap_or_default();
    Some(format!("container {name:?} failed with exit code {code}"))
}
