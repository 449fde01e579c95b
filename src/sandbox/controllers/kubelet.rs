//! The kubelet of the one node: Pods run, end, or break as their images' tags say.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::parts::{has_tag, is_terminating, set_spec, text, with_condition, write_status};
use super::{Context, Memory};
use crate::sandbox::status::ApiError;
use crate::sandbox::store::now;

const MANAGER: &str = "kubelet";

/// What becomes of a Pod.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// An image cannot be pulled.
    Unpullable,
    /// A container fails each time that it is started.
    Crashes,
    Runs,
    Succeeds,
    Fails,
}

pub(super) fn reconcile(
    context: &Context,
    memory: &mut Memory,
    pod: &Value,
) -> Result<Option<Duration>, ApiError> {
    let phase = text(pod, "/status/phase");
    if is_terminating(pod) || matches!(phase, "Succeeded" | "Failed") {
        return Ok(None);
    }
    let pod = &if text(pod, "/spec/nodeName").is_empty() {
        let mut pod = pod.clone();
        set_spec(&mut pod, "nodeName", json!(context.options.node_name));
        context.store.update(pod, "kube-scheduler")?
    } else {
        pod.clone()
    };
    let fate = fate(pod);
    let is_running = phase == "Running";
    let since = memory.since(pod, if is_running { "running" } else { "pending" });
    let wait = |delay: Duration| {
        let at = since.checked_add(delay)?;
        at.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
    };
    let ends = matches!(fate, Fate::Succeeds | Fate::Fails);
    if fate == Fate::Unpullable || fate == Fate::Crashes {
        write_status(context, pod, status(pod, fate, false), MANAGER)?;
        return Ok(None);
    }
    if !is_running {
        if let Some(left) = wait(context.options.pod_ready_delay) {
            return Ok(Some(left));
        }
        write_status(context, pod, status(pod, Fate::Runs, true), MANAGER)?;
        return Ok(ends.then_some(Duration::ZERO));
    }
    if ends {
        if let Some(left) = wait(context.options.job_duration) {
            return Ok(Some(left));
        }
        write_status(context, pod, status(pod, fate, false), MANAGER)?;
    }
    Ok(None)
}

fn containers(pod: &Value, field: &str) -> Vec<Value> {
    pod.pointer("/spec")
        .and_then(|spec| spec.get(field))
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default()
}

fn fate(pod: &Value) -> Fate {
    let all: Vec<Value> =
        containers(pod, "initContainers").into_iter().chain(containers(pod, "containers")).collect();
    let any = |word: &str| all.iter().any(|container| has_tag(container, word));
    let always = matches!(text(pod, "/spec/restartPolicy"), "" | "Always");
    match (any("broken"), any("fail"), always) {
        (true, ..) => Fate::Unpullable,
        (_, true, true) => Fate::Crashes,
        (_, true, false) => Fate::Fails,
        (_, false, true) => Fate::Runs,
        (_, false, false) => Fate::Succeeds,
    }
}

fn container_status(container: &Value, pod: &Value, fate: Fate, is_init: bool) -> Value {
    let time = now();
    let id = format!("sandbox://{}/{}", text(pod, "/metadata/uid"), text(container, "/name"));
    let image = text(container, "/image");
    let ended = |code: i64, reason: &str| {
        let started = text(pod, "/status/startTime");
        let started = if started.is_empty() { &time } else { started };
        json!({"terminated": {"exitCode": code, "reason": reason, "startedAt": started, "finishedAt": time, "containerID": id}})
    };
    let waiting = |reason: &str, message: String| json!({"waiting": {"reason": reason, "message": message}});
    let broken = has_tag(container, "broken");
    let (state, ready) = match fate {
        Fate::Unpullable if broken => {
            (waiting("ImagePullBackOff", format!("Back-off pulling image \"{image}\"")), false)
        }
        Fate::Unpullable => (json!({"waiting": {"reason": "PodInitializing"}}), false),
        Fate::Crashes if has_tag(container, "fail") => {
            let message = format!("back-off 10s restarting failed container={}", text(container, "/name"));
            (waiting("CrashLoopBackOff", message), false)
        }
        Fate::Runs | Fate::Crashes if is_init => (ended(0, "Completed"), true),
        Fate::Runs | Fate::Crashes => (json!({"running": {"startedAt": time}}), true),
        Fate::Fails if has_tag(container, "fail") => (ended(1, "Error"), false),
        Fate::Succeeds | Fate::Fails => (ended(0, "Completed"), is_init),
    };
    let started = state.get("running").is_some();
    let image_id = if fate == Fate::Unpullable { String::new() } else { format!("sandbox://{image}") };
    let mut status = json!({
        "name": text(container, "/name"),
        "state": state,
        "lastState": {},
        "ready": ready,
        "restartCount": 0,
        "image": image,
        "imageID": image_id,
        "started": started,
    });
    if let Some(status) = status.as_object_mut().filter(|_| fate != Fate::Unpullable) {
        status.insert("containerID".to_owned(), json!(id));
    }
    status
}

fn status(pod: &Value, fate: Fate, ready: bool) -> Value {
    let phase = match fate {
        Fate::Unpullable => "Pending",
        Fate::Runs | Fate::Crashes => "Running",
        Fate::Succeeds => "Succeeded",
        Fate::Fails => "Failed",
    };
    let old = pod.get("status").cloned().unwrap_or_default();
    let known_phase = text(&old, "/phase") == phase && old.get("containerStatuses").is_some();
    if known_phase && !matches!(fate, Fate::Succeeds | Fate::Fails) {
        return old;
    }
    let mut conditions = super::parts::conditions(pod);
    let not_ready = match fate {
        Fate::Succeeds => "PodCompleted",
        Fate::Fails => "PodFailed",
        _ => "ContainersNotReady",
    };
    for (kind, holds) in [
        ("PodReadyToStartContainers", !matches!(fate, Fate::Succeeds | Fate::Fails)),
        ("Initialized", true),
        ("Ready", ready),
        ("ContainersReady", ready),
        ("PodScheduled", true),
    ] {
        let mut condition = json!({
            "type": kind,
            "status": if holds { "True" } else { "False" },
            "lastProbeTime": null,
        });
        if let Some(condition) = condition.as_object_mut().filter(|_| !holds && kind.ends_with("Ready")) {
            condition.insert("reason".to_owned(), json!(not_ready));
        }
        conditions = with_condition(&conditions, &condition, false);
    }
    let list = |field: &str, is_init: bool| -> Vec<Value> {
        containers(pod, field)
            .iter()
            .map(|container| container_status(container, pod, fate, is_init))
            .collect()
    };
    let mut status = old;
    if let Some(status) = status.as_object_mut() {
        let address = address(text(pod, "/metadata/uid"));
        status.insert("phase".to_owned(), json!(phase));
        status.insert("conditions".to_owned(), Value::Array(conditions));
        status.insert("hostIP".to_owned(), json!("192.0.2.1"));
        status.insert("hostIPs".to_owned(), json!([{"ip": "192.0.2.1"}]));
        if fate != Fate::Unpullable {
            status.insert("podIP".to_owned(), json!(address));
            status.insert("podIPs".to_owned(), json!([{"ip": address}]));
        }
        status.entry("startTime").or_insert_with(|| json!(now()));
        let init = list("initContainers", true);
        if !init.is_empty() {
            status.insert("initContainerStatuses".to_owned(), Value::Array(init));
        }
        status.insert("containerStatuses".to_owned(), Value::Array(list("containers", false)));
    }
    status
}

/// An address in 10.244.0.0/16 that depends on the Pod's uid.
fn address(uid: &str) -> String {
    let sum = uid.bytes().fold(0_u16, |sum, byte| sum.wrapping_mul(31).wrapping_add(u16::from(byte)));
    let [high, low] = sum.to_be_bytes();
    format!("10.244.{high}.{}", low.max(1))
}
