//! DaemonSet: one Pod on the one node.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::parts::{
    MANAGER, controlled, count, delete, hash, is_available, is_ready, is_terminating, number, pod_of, text,
    write_status,
};
use super::{Context, Memory};
use crate::sandbox::status::ApiError;

const REVISION: &str = "controller-revision-hash";

pub(super) fn reconcile(
    context: &Context,
    _: &mut Memory,
    set: &Value,
) -> Result<Option<Duration>, ApiError> {
    if is_terminating(set) {
        return Ok(None);
    }
    let revision = hash(set.pointer("/spec/template").unwrap_or(&Value::Null));
    let is_current = |pod: &Value| text(pod, &format!("/metadata/labels/{REVISION}")) == revision;
    let mut pods = controlled(context, set, "Pod");
    if text(set, "/spec/updateStrategy/type") != "OnDelete" {
        for pod in pods.iter().filter(|pod| !is_current(pod)) {
            delete(context, pod)?;
        }
        pods.retain(is_current);
    }
    if pods.is_empty() {
        pods.push(context.store.create(pod_of(context, set, None, &[(REVISION, &revision)]), MANAGER)?);
    }
    let min_ready = number(set, "/spec/minReadySeconds").unwrap_or(0);
    let how_many = |test: &dyn Fn(&Value) -> bool| count(pods.iter().filter(|pod| test(pod)).count());
    let (ready, available) = (how_many(&is_ready), how_many(&|pod| is_available(pod, min_ready)));
    let mut status = Map::new();
    status.insert("currentNumberScheduled".to_owned(), json!(1));
    status.insert("numberMisscheduled".to_owned(), json!(0));
    status.insert("desiredNumberScheduled".to_owned(), json!(1));
    status.insert("numberReady".to_owned(), json!(ready));
    let observed = set.pointer("/metadata/generation").cloned().unwrap_or_default();
    status.insert("observedGeneration".to_owned(), observed);
    for (field, value) in [
        ("updatedNumberScheduled", how_many(&is_current)),
        ("numberAvailable", available),
        ("numberUnavailable", 1_i64.saturating_sub(available)),
    ] {
        if value > 0 {
            status.insert(field.to_owned(), json!(value));
        }
    }
    write_status(context, set, Value::Object(status), MANAGER)?;
    Ok((available < ready).then_some(Duration::from_millis(200)))
}
