//! Job: Pods until enough of them succeeded or too many failed.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::parts::{
    MANAGER, conditions, controlled, count, delete, has_condition, is_ready, is_terminating, number, pod_of,
    text, with_condition, write_status,
};
use super::{Context, Memory};
use crate::sandbox::status::ApiError;
use crate::sandbox::store::now;

pub(super) fn reconcile(
    context: &Context,
    memory: &mut Memory,
    job: &Value,
) -> Result<Option<Duration>, ApiError> {
    if is_terminating(job) {
        return Ok(None);
    }
    if has_condition(job, "Complete") || has_condition(job, "Failed") {
        return expire(context, memory, job);
    }
    let mut pods = controlled(context, job, "Pod");
    let in_phase = |pods: &[Value], phase: &str| {
        count(pods.iter().filter(|pod| text(pod, "/status/phase") == phase).count())
    };
    let succeeded = in_phase(&pods, "Succeeded");
    let failed = in_phase(&pods, "Failed");
    let parallelism = number(job, "/spec/parallelism").unwrap_or(1);
    let completions = number(job, "/spec/completions");
    let is_done = match completions {
        Some(wanted) => succeeded >= wanted,
        None => succeeded > 0,
    };
    let has_failed = !is_done && failed > number(job, "/spec/backoffLimit").unwrap_or(6);
    let suspended = job.pointer("/spec/suspend") == Some(&Value::Bool(true));
    let is_active = |pod: &Value| !matches!(text(pod, "/status/phase"), "Succeeded" | "Failed");
    let active = count(pods.iter().filter(|pod| is_active(pod)).count());
    let left = completions.map_or(parallelism, |wanted| wanted.saturating_sub(succeeded));
    let target = if is_done || has_failed || suspended { 0 } else { parallelism.min(left) };
    for _ in active..target {
        pods.push(context.store.create(pod_of(context, job, None, &[]), MANAGER)?);
    }
    if active > target {
        let surplus: Vec<Value> = pods
            .iter()
            .filter(|pod| is_active(pod))
            .skip(usize::try_from(target).unwrap_or(0))
            .cloned()
            .collect();
        for pod in &surplus {
            delete(context, pod)?;
        }
        pods.retain(|pod| !surplus.contains(pod));
    }

    let mut status =
        job.get("status").filter(|status| status.is_object()).cloned().unwrap_or_else(|| json!({}));
    let Some(fields) = status.as_object_mut() else {
        return Ok(None);
    };
    let active = count(pods.iter().filter(|pod| is_active(pod)).count());
    let ready = count(pods.iter().filter(|pod| is_active(pod) && is_ready(pod)).count());
    for (name, value) in [("active", active), ("succeeded", succeeded), ("failed", failed)] {
        if value > 0 {
            fields.insert(name.to_owned(), json!(value));
        } else {
            fields.shift_remove(name);
        }
    }
    fields.insert("ready".to_owned(), json!(ready));
    fields.insert("terminating".to_owned(), json!(0));
    fields.insert("uncountedTerminatedPods".to_owned(), json!({}));
    if !suspended {
        fields.entry("startTime").or_insert_with(|| json!(now()));
    }
    let mut set = conditions(job);
    let condition = |kind: &str, reason: &str, message: &str| json!({"type": kind, "status": "True", "reason": reason, "message": message, "lastProbeTime": now()});
    if is_done {
        fields.insert("completionTime".to_owned(), json!(now()));
        let message = "Reached expected number of succeeded pods";
        for kind in ["SuccessCriteriaMet", "Complete"] {
            set = with_condition(&set, &condition(kind, "CompletionsReached", message), false);
        }
    } else if has_failed {
        let message = "Job has reached the specified backoff limit";
        for kind in ["FailureTarget", "Failed"] {
            set = with_condition(&set, &condition(kind, "BackoffLimitExceeded", message), false);
        }
    } else if suspended {
        set = with_condition(&set, &condition("Suspended", "JobSuspended", "Job suspended"), false);
    } else if has_condition(job, "Suspended") {
        let resumed = json!({"type": "Suspended", "status": "False", "reason": "JobResumed", "message": "Job resumed", "lastProbeTime": now()});
        set = with_condition(&set, &resumed, false);
    }
    if !set.is_empty() {
        fields.insert("conditions".to_owned(), Value::Array(set));
    }
    write_status(context, job, status, MANAGER)?;
    Ok(None)
}

/// `ttlSecondsAfterFinished`.
fn expire(context: &Context, memory: &mut Memory, job: &Value) -> Result<Option<Duration>, ApiError> {
    let Some(seconds) = number(job, "/spec/ttlSecondsAfterFinished") else {
        return Ok(None);
    };
    let ttl = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
    let waited = Instant::now().saturating_duration_since(memory.since(job, "finished"));
    if waited < ttl {
        return Ok(Some(ttl.saturating_sub(waited)));
    }
    delete(context, job)?;
    Ok(None)
}
