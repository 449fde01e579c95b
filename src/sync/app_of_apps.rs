//! Applications that an Application declares.

use crate::{
    api::{Application, HealthStatus, HealthStatusCode, SyncStatusCode, names},
    object::Object,
};

/// How well a child Application says that it runs: its parent is as well as that. `None` for anything else than an
/// Application.
pub fn reported_health(object: &Object) -> Option<HealthStatus> {
    if (object.group(), object.kind()) != (names::GROUP, "Application") {
        return None;
    }
    let text = |pointer| object.value().pointer(pointer).and_then(serde_json::Value::as_str);
    let code = text("/status/health/status").map(|word| word.parse().unwrap_or(HealthStatusCode::Unknown));
    let message = text("/status/health/message").unwrap_or_default();
    Some(HealthStatus::new(code.unwrap_or(HealthStatusCode::Progressing), message))
}

/// How well a child Application runs, as a sync that waits for it has to see it: one that has not yet looked at what
/// it was told last has said nothing about that. `None` for anything else than an Application.
pub fn health_of_child(object: &Object) -> Option<HealthStatus> {
    if (object.group(), object.kind()) != (names::GROUP, "Application") {
        return None;
    }
    let progressing = |message: &str| Some(HealthStatus::new(HealthStatusCode::Progressing, message));
    let Ok(child) = Application::from_value(object.value().clone()) else {
        return Some(HealthStatus::new(HealthStatusCode::Unknown, "the Application cannot be read"));
    };
    let sync = child.status.sync.clone().unwrap_or_default();
    let spec = &child.spec;
    let is_current = if spec.has_multiple_sources() {
        sync.compared_to.sources == spec.sources
    } else {
        sync.compared_to.source.as_ref() == spec.effective_sources().first()
    };
    if !is_current || sync.compared_to.destination != spec.destination {
        return progressing("not compared with its source yet");
    }
    let unfinished = child.status.operation_state.as_ref().is_some_and(|state| !state.phase.is_completed());
    if child.operation.is_some() || unfinished {
        return progressing("a sync is under way");
    }
    if sync.status == SyncStatusCode::OutOfSync && spec.automated().is_some() {
        return progressing("not synced yet");
    }
    Some(
        child
            .status
            .health
            .clone()
            .unwrap_or_else(|| HealthStatus::new(HealthStatusCode::Progressing, "not judged yet")),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_child_is_as_well_as_it_says() {
        let reported = |kind: &str, status: Value| {
            let value = json!({ "apiVersion": "argoproj.io/v1alpha1", "kind": kind, "metadata": { "name": "a" }, "status": status });
            reported_health(&Object::from_value(value).unwrap()).map(|health| (health.status, health.message))
        };
        let degraded = json!({ "health": { "status": "Degraded", "message": "Caused by a Pod" } });
        assert_eq!(
            reported("Application", degraded.clone()),
            Some((HealthStatusCode::Degraded, "Caused by a Pod".to_owned()))
        );
        assert_eq!(reported("Application", json!({})), Some((HealthStatusCode::Progressing, String::new())));
        assert_eq!(reported("AppProject", degraded), None);
    }

    #[allow(clippy::needless_pass_by_value, reason = "values are written in place")]
    fn health(status: Value) -> Option<HealthStatusCode> {
        let source = json!({ "repoURL": "https://git.example/a", "path": "a", "targetRevision": "v2" });
        let object = json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Application",
            "metadata": { "name": "child", "namespace": "argocd" },
            "spec": { "project": "default", "destination": { "name": "in-cluster" }, "source": source,
                "syncPolicy": { "automated": {} } },
            "status": status,
        });
        health_of_child(&Object::from_value(object).unwrap()).map(|health| health.status)
    }

    fn compared(revision: &str, sync: &str, health: &str) -> Value {
        json!({
            "sync": { "status": sync, "comparedTo": {
                "destination": { "name": "in-cluster" },
                "source": { "repoURL": "https://git.example/a", "path": "a", "targetRevision": revision },
            } },
            "health": { "status": health },
        })
    }

    #[test]
    fn a_child_counts_by_its_own_health_once_it_has_seen_its_spec() {
        assert_eq!(health(compared("v2", "Synced", "Healthy")), Some(HealthStatusCode::Healthy));
        assert_eq!(health(compared("v2", "Synced", "Degraded")), Some(HealthStatusCode::Degraded));
        assert_eq!(health(compared("v1", "Synced", "Healthy")), Some(HealthStatusCode::Progressing));
        assert_eq!(health(compared("v2", "OutOfSync", "Healthy")), Some(HealthStatusCode::Progressing));
        assert_eq!(health(json!({})), Some(HealthStatusCode::Progressing));
    }

    #[test]
    fn other_kinds_are_no_children() {
        let object = json!({ "apiVersion": "apps/v1", "kind": "Application", "metadata": { "name": "a" } });
        assert_eq!(health_of_child(&Object::from_value(object).unwrap()), None);
    }
}
