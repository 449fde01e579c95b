//! ReplicaSet: as many Pods as it asks for.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::parts::{
    MANAGER, controlled, count, delete, is_available, is_ready, is_terminating, number, pod_of, text,
    write_status,
};
use super::{Context, Memory};
use crate::sandbox::status::ApiError;

pub(super) fn reconcile(
    context: &Context,
    _: &mut Memory,
    set: &Value,
) -> Result<Option<Duration>, ApiError> {
    let mut pods = controlled(context, set, "Pod");
    pods.retain(|pod| !matches!(text(pod, "/status/phase"), "Succeeded" | "Failed"));
    let wanted = number(set, "/spec/replicas").unwrap_or(1).max(0);
    if !is_terminating(set) {
        for _ in count(pods.len())..wanted {
            pods.push(context.store.create(pod_of(context, set, None, &[]), MANAGER)?);
        }
        // Those that do no work yet go first.
        pods.sort_by_key(|pod| !is_ready(pod));
        while count(pods.len()) > wanted && !pods.is_empty() {
            delete(context, &pods.remove(0))?;
        }
    }
    let min_ready = number(set, "/spec/minReadySeconds").unwrap_or(0);
    let ready = count(pods.iter().filter(|pod| is_ready(pod)).count());
    let available = count(pods.iter().filter(|pod| is_available(pod, min_ready)).count());
    let mut status = Map::new();
    status.insert("replicas".to_owned(), json!(pods.len()));
    for (name, value) in [
        ("fullyLabeledReplicas", count(pods.len())),
        ("readyReplicas", ready),
        ("availableReplicas", available),
    ] {
        if value > 0 {
            status.insert(name.to_owned(), json!(value));
        }
    }
    if let Some(generation) = set.pointer("/metadata/generation") {
        status.insert("observedGeneration".to_owned(), generation.clone());
    }
    write_status(context, set, Value::Object(status), MANAGER)?;
    Ok((available < ready).then_some(Duration::from_millis(200)))
}
