//! Deployment: one ReplicaSet for each version of its template, and the way from the old ones to the new one.

use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::parts::{
    MANAGER, conditions, controlled, count, delete, hash, is_terminating, number, owner_reference, set_spec,
    text, with_condition, write_status,
};
use super::{Context, Memory};
use crate::sandbox::status::ApiError;

const REVISION: &str = "deployment.kubernetes.io/revision";
const HASH: &str = "pod-template-hash";
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

pub(super) fn reconcile(
    context: &Context,
    memory: &mut Memory,
    deployment: &Value,
) -> Result<Option<Duration>, ApiError> {
    if is_terminating(deployment) {
        return Ok(None);
    }
    let paused = deployment.pointer("/spec/paused") == Some(&Value::Bool(true));
    let sets = controlled(context, deployment, "ReplicaSet");
    let template_hash = hash(deployment.pointer("/spec/template").unwrap_or(&Value::Null));
    let (new, mut old): (Vec<Value>, Vec<Value>) =
        sets.into_iter().partition(|set| text(set, &format!("/metadata/labels/{HASH}")) == template_hash);
    old.sort_by_key(revision_of);
    let mut new = new.into_iter().next();
    let mut deployment = deployment.clone();
    if !paused {
        let made = current_set(context, &deployment, new, &old, &template_hash)?;
        deployment = set_revision(context, deployment, revision_of(&made))?;
        new = Some(roll(context, &deployment, made, &mut old)?);
    }
    write(context, memory, &deployment, new.as_ref(), &old)
}

fn annotation<'a>(object: &'a Value, name: &str) -> &'a str {
    let annotations = object.pointer("/metadata/annotations");
    annotations.and_then(|annotations| annotations.get(name)).and_then(Value::as_str).unwrap_or_default()
}

fn revision_of(set: &Value) -> i64 {
    annotation(set, REVISION).parse().unwrap_or(0)
}

fn replicas(set: &Value) -> i64 {
    number(set, "/spec/replicas").unwrap_or(1)
}

fn available(set: &Value) -> i64 {
    number(set, "/status/availableReplicas").unwrap_or(0)
}

/// The ReplicaSet of the current template, with the highest revision.
fn current_set(
    context: &Context,
    deployment: &Value,
    known: Option<Value>,
    old: &[Value],
    template_hash: &str,
) -> Result<Value, ApiError> {
    let highest = old.iter().map(revision_of).max().unwrap_or(0);
    let Some(mut set) = known else {
        let revision = highest.saturating_add(1);
        return context.store.create(new_set(deployment, template_hash, revision), MANAGER);
    };
    if revision_of(&set) > highest {
        return Ok(set);
    }
    if let Some(annotations) = set.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        annotations.insert(REVISION.to_owned(), json!(highest.saturating_add(1).to_string()));
    }
    context.store.update(set, MANAGER)
}

fn new_set(deployment: &Value, template_hash: &str, revision: i64) -> Value {
    let mut annotations =
        deployment.pointer("/metadata/annotations").and_then(Value::as_object).cloned().unwrap_or_default();
    annotations.shift_remove(LAST_APPLIED);
    let surge = bounds(deployment).0;
    for (name, value) in [
        (REVISION, revision),
        ("deployment.kubernetes.io/desired-replicas", replicas(deployment)),
        ("deployment.kubernetes.io/max-replicas", replicas(deployment).saturating_add(surge)),
    ] {
        annotations.insert(name.to_owned(), json!(value.to_string()));
    }
    let mut template = deployment.pointer("/spec/template").cloned().unwrap_or_default();
    let mut selector = deployment.pointer("/spec/selector").cloned().unwrap_or_default();
    let label = |labels: Option<&mut Map<String, Value>>| {
        if let Some(labels) = labels {
            labels.insert(HASH.to_owned(), json!(template_hash));
        }
    };
    label(template.pointer_mut("/metadata/labels").and_then(Value::as_object_mut));
    if let Some(selector) = selector.as_object_mut() {
        label(selector.entry("matchLabels").or_insert_with(|| json!({})).as_object_mut());
    }
    let mut set = json!({
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": format!("{}-{template_hash}", text(deployment, "/metadata/name")),
            "namespace": text(deployment, "/metadata/namespace"),
            "labels": template.pointer("/metadata/labels").cloned().unwrap_or_default(),
            "annotations": annotations,
            "ownerReferences": [owner_reference(deployment)],
        },
        "spec": {"replicas": 0, "selector": selector, "template": template},
    });
    if let Some(seconds) = deployment.pointer("/spec/minReadySeconds") {
        set_spec(&mut set, "minReadySeconds", seconds.clone());
    }
    set
}

fn set_revision(context: &Context, mut deployment: Value, revision: i64) -> Result<Value, ApiError> {
    let revision = revision.to_string();
    if annotation(&deployment, REVISION) == revision {
        return Ok(deployment);
    }
    if let Some(metadata) = deployment.get_mut("metadata").and_then(Value::as_object_mut) {
        let annotations = metadata.entry("annotations").or_insert_with(|| json!({}));
        if let Some(annotations) = annotations.as_object_mut() {
            annotations.insert(REVISION.to_owned(), json!(revision));
        }
    }
    context.store.update(deployment, MANAGER)
}

/// How many Pods there may be more than asked for, and how many may be unavailable.
fn bounds(deployment: &Value) -> (i64, i64) {
    if text(deployment, "/spec/strategy/type") == "Recreate" {
        return (0, 0);
    }
    let total = replicas(deployment);
    let resolve = |field: &str, up: bool| {
        let value = deployment.pointer("/spec/strategy/rollingUpdate").and_then(|rolling| rolling.get(field));
        match value {
            Some(Value::String(text)) => {
                let percent: i64 = text.trim_end_matches('%').parse().unwrap_or(0);
                let scaled = percent.saturating_mul(total);
                let whole = scaled.div_euclid(100);
                if up && scaled.rem_euclid(100) > 0 { whole.saturating_add(1) } else { whole }
            }
            Some(value) => value.as_i64().unwrap_or(0),
            None => 0,
        }
    };
    match (resolve("maxSurge", true), resolve("maxUnavailable", false)) {
        (0, 0) => (0, 1),
        (surge, unavailable) => (surge, unavailable.min(total)),
    }
}

fn scale(context: &Context, set: &Value, to: i64) -> Result<Value, ApiError> {
    if replicas(set) == to {
        return Ok(set.clone());
    }
    let mut set = set.clone();
    set_spec(&mut set, "replicas", json!(to));
    context.store.update(set, MANAGER)
}

/// Moves replicas from the old ReplicaSets to the new one, as far as the strategy allows now.
fn roll(context: &Context, deployment: &Value, new: Value, old: &mut Vec<Value>) -> Result<Value, ApiError> {
    let wanted = replicas(deployment);
    let (surge, unavailable) = bounds(deployment);
    let mut new = new;
    if text(deployment, "/spec/strategy/type") == "Recreate" {
        for set in old.iter_mut() {
            *set = scale(context, set, 0)?;
        }
        let gone = old.iter().all(|set| number(set, "/status/replicas").unwrap_or(0) == 0);
        if gone {
            new = scale(context, &new, wanted)?;
        }
    } else {
        let total: i64 = old.iter().map(replicas).sum::<i64>().saturating_add(replicas(&new));
        let room = wanted.saturating_add(surge).saturating_sub(total).max(0);
        let target = replicas(&new).saturating_add(room).min(wanted);
        new = scale(context, &new, target)?;
        let total: i64 = old.iter().map(replicas).sum::<i64>().saturating_add(replicas(&new));
        let missing = replicas(&new).saturating_sub(available(&new)).max(0);
        let needed = wanted.saturating_sub(unavailable);
        let mut spare = total.saturating_sub(needed).saturating_sub(missing).max(0);
        // Replicas that do not work go first; they cost nothing.
        for set in old.iter_mut() {
            let useless = replicas(set).saturating_sub(available(set)).max(0).min(spare);
            *set = scale(context, set, replicas(set).saturating_sub(useless))?;
            spare = spare.saturating_sub(useless);
        }
        let working: i64 = old.iter().map(available).sum::<i64>().saturating_add(available(&new));
        let mut spare = spare.min(working.saturating_sub(needed)).max(0);
        for set in old.iter_mut() {
            let fewer = replicas(set).min(spare);
            *set = scale(context, set, replicas(set).saturating_sub(fewer))?;
            spare = spare.saturating_sub(fewer);
        }
    }
    let keep = number(deployment, "/spec/revisionHistoryLimit").unwrap_or(10);
    let idle = |set: &Value| replicas(set) == 0 && number(set, "/status/replicas").unwrap_or(0) == 0;
    let mut excess = count(old.len()).saturating_sub(keep).max(0);
    let mut kept = Vec::new();
    for set in old.drain(..) {
        if excess > 0 && idle(&set) {
            delete(context, &set)?;
            excess = excess.saturating_sub(1);
        } else {
            kept.push(set);
        }
    }
    *old = kept;
    Ok(new)
}

fn write(
    context: &Context,
    memory: &mut Memory,
    deployment: &Value,
    new: Option<&Value>,
    old: &[Value],
) -> Result<Option<Duration>, ApiError> {
    let wanted = replicas(deployment);
    let sum = |field: &str| -> i64 {
        let of = |set: &Value| number(set, &format!("/status/{field}")).unwrap_or(0);
        old.iter().chain(new).map(of).sum()
    };
    let (total, ready, available) = (sum("replicas"), sum("readyReplicas"), sum("availableReplicas"));
    let updated = new.and_then(|new| number(new, "/status/replicas")).unwrap_or(0);
    let planned: i64 = old.iter().chain(new).map(replicas).sum();
    let name = new.map(|new| text(new, "/metadata/name")).unwrap_or_default();
    let is_complete = updated == wanted && total == wanted && available == wanted && new.is_some();
    let since = memory.since(deployment, &format!("{name} {total} {updated} {ready} {available}"));
    let deadline = context.options.progress_deadline.unwrap_or_else(|| {
        let seconds = number(deployment, "/spec/progressDeadlineSeconds").unwrap_or(600);
        Duration::from_secs(u64::try_from(seconds).unwrap_or(600))
    });
    let waited = Instant::now().saturating_duration_since(since);
    let was_stuck = conditions(deployment)
        .iter()
        .any(|it| text(it, "/type") == "Progressing" && text(it, "/reason") == "ProgressDeadlineExceeded");
    let is_stuck = !is_complete
        && (waited >= deadline
            || (was_stuck
                && number(deployment, "/status/observedGeneration")
                    == number(deployment, "/metadata/generation")
                && number(deployment, "/status/availableReplicas").unwrap_or(0) == available));

    let enough = available >= wanted.saturating_sub(bounds(deployment).1);
    let availability = if enough {
        json!({"type": "Available", "status": "True", "reason": "MinimumReplicasAvailable", "message": "Deployment has minimum availability."})
    } else {
        json!({"type": "Available", "status": "False", "reason": "MinimumReplicasUnavailable", "message": "Deployment does not have minimum availability."})
    };
    let progress = if is_complete {
        json!({"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable", "message": format!("ReplicaSet \"{name}\" has successfully progressed.")})
    } else if is_stuck {
        json!({"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": format!("ReplicaSet \"{name}\" has timed out progressing.")})
    } else {
        json!({"type": "Progressing", "status": "True", "reason": "ReplicaSetUpdated", "message": format!("ReplicaSet \"{name}\" is progressing.")})
    };
    let known = conditions(deployment);
    let paused = deployment.pointer("/spec/paused") == Some(&Value::Bool(true));
    let mut set = with_condition(&known, &availability, true);
    if !paused {
        set = with_condition(&set, &progress, true);
    }
    let mut status = Map::new();
    status.insert(
        "observedGeneration".to_owned(),
        deployment.pointer("/metadata/generation").cloned().unwrap_or_default(),
    );
    for (field, value) in [
        ("replicas", total),
        ("updatedReplicas", updated),
        ("readyReplicas", ready),
        ("availableReplicas", available),
        ("unavailableReplicas", planned.max(wanted).saturating_sub(available)),
    ] {
        if value > 0 {
            status.insert(field.to_owned(), json!(value));
        }
    }
    status.insert("conditions".to_owned(), Value::Array(set));
    write_status(context, deployment, Value::Object(status), MANAGER)?;
    Ok((!is_complete && !is_stuck && !paused).then(|| deadline.saturating_sub(waited)))
}
