//! StatefulSet: numbered Pods, one after the other, each with its own claims.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::parts::{
    MANAGER, controlled, count, delete, hash, is_available, is_ready, is_terminating, key, number, pod_of,
    text, write_status,
};
use super::{Context, Memory};
use crate::object::GroupKind;
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
    let (namespace, name) = key(set);
    let wanted = number(set, "/spec/replicas").unwrap_or(1).max(0);
    let revision = format!("{name}-{}", hash(set.pointer("/spec/template").unwrap_or(&Value::Null)));
    let in_order = text(set, "/spec/podManagementPolicy") != "Parallel";
    let ordinal = |pod: &Value| -> i64 {
        let digits = text(pod, "/metadata/name").rsplit('-').next().unwrap_or_default();
        digits.parse().unwrap_or(-1)
    };
    let revision_of = |pod: &Value| text(pod, &format!("/metadata/labels/{REVISION}")).to_owned();
    let mut pods = controlled(context, set, "Pod");
    pods.sort_by_key(ordinal);

    let pod_kind = GroupKind::new("", "Pod");
    let mut steady = true;
    for number in 0..wanted {
        match pods.iter().find(|pod| ordinal(pod) == number) {
            Some(pod) if is_ready(pod) => {}
            Some(_) => steady = false,
            None => {
                steady = false;
                let pod_name = format!("{name}-{number}");
                // One of the same name may still be ending.
                if context.store.get(&pod_kind, &namespace, &pod_name).is_none() {
                    claims(context, set, &pod_name)?;
                    pods.push(
                        context
                            .store
                            .create(numbered_pod(context, set, &pod_name, number, &revision), MANAGER)?,
                    );
                }
            }
        }
        if in_order && !steady {
            break;
        }
    }
    if let Some(last) = pods.iter().rev().find(|pod| ordinal(pod) >= wanted).cloned() {
        if steady || !in_order {
            delete(context, &last)?;
            pods.retain(|pod| ordinal(pod) != ordinal(&last));
        }
        steady = false;
    }
    let rolls = text(set, "/spec/updateStrategy/type") != "OnDelete";
    let partition = number(set, "/spec/updateStrategy/rollingUpdate/partition").unwrap_or(0);
    if rolls {
        let outdated =
            pods.iter().rev().find(|pod| ordinal(pod) >= partition && revision_of(pod) != revision).cloned();
        // A Pod that is not ready is replaced at once; others one at a time.
        if let Some(pod) = outdated.filter(|pod| steady || !is_ready(pod)) {
            delete(context, &pod)?;
            pods.retain(|other| ordinal(other) != ordinal(&pod));
        }
    }

    let min_ready = number(set, "/spec/minReadySeconds").unwrap_or(0);
    let how_many = |test: &dyn Fn(&Value) -> bool| count(pods.iter().filter(|pod| test(pod)).count());
    let updated = how_many(&|pod| revision_of(pod) == revision);
    let ready = how_many(&is_ready);
    let available = how_many(&|pod| is_available(pod, min_ready));
    let before = text(set, "/status/currentRevision");
    let is_done = updated == wanted && ready == wanted && count(pods.len()) == wanted;
    let current = if is_done || before.is_empty() { revision.as_str() } else { before };
    let on_current = how_many(&|pod| revision_of(pod) == current);
    let mut status = Map::new();
    let observed = set.pointer("/metadata/generation").cloned().unwrap_or_default();
    status.insert("observedGeneration".to_owned(), observed);
    status.insert("replicas".to_owned(), json!(pods.len()));
    for (field, value) in
        [("readyReplicas", ready), ("currentReplicas", on_current), ("updatedReplicas", updated)]
    {
        if value > 0 {
            status.insert(field.to_owned(), json!(value));
        }
    }
    status.insert("currentRevision".to_owned(), json!(current));
    status.insert("updateRevision".to_owned(), json!(revision));
    status.insert("collisionCount".to_owned(), json!(0));
    status.insert("availableReplicas".to_owned(), json!(available));
    write_status(context, set, Value::Object(status), MANAGER)?;
    Ok((available < ready).then_some(Duration::from_millis(200)))
}

fn numbered_pod(context: &Context, set: &Value, name: &str, number: i64, revision: &str) -> Value {
    let index = number.to_string();
    let labels = [
        ("apps.kubernetes.io/pod-index", index.as_str()),
        (REVISION, revision),
        ("statefulset.kubernetes.io/pod-name", name),
    ];
    let mut pod = pod_of(context, set, Some(name), &labels);
    let claims: Vec<String> =
        claim_templates(set).iter().map(|claim| text(claim, "/metadata/name").to_owned()).collect();
    if let Some(spec) = pod.get_mut("spec").and_then(Value::as_object_mut) {
        spec.insert("hostname".to_owned(), json!(name));
        if !text(set, "/spec/serviceName").is_empty() {
            spec.insert("subdomain".to_owned(), json!(text(set, "/spec/serviceName")));
        }
        let volumes = spec.entry("volumes").or_insert_with(|| json!([]));
        if let Some(volumes) = volumes.as_array_mut() {
            volumes.retain(|volume| !claims.iter().any(|claim| text(volume, "/name") == claim));
            for claim in claims {
                let source = json!({"claimName": format!("{claim}-{name}")});
                volumes.push(json!({"name": claim, "persistentVolumeClaim": source}));
            }
        }
    }
    pod
}

fn claim_templates(set: &Value) -> Vec<Value> {
    set.pointer("/spec/volumeClaimTemplates").and_then(Value::as_array).cloned().unwrap_or_default()
}

/// Makes the Pod's claims; those of a former Pod of the same number are used again.
fn claims(context: &Context, set: &Value, pod_name: &str) -> Result<(), ApiError> {
    let namespace = text(set, "/metadata/namespace");
    let kind = GroupKind::new("", "PersistentVolumeClaim");
    for template in claim_templates(set) {
        let name = format!("{}-{pod_name}", text(&template, "/metadata/name"));
        if context.store.get(&kind, namespace, &name).is_some() {
            continue;
        }
        let mut labels =
            template.pointer("/metadata/labels").and_then(Value::as_object).cloned().unwrap_or_default();
        let selector = set.pointer("/spec/selector/matchLabels").and_then(Value::as_object).cloned();
        labels.extend(selector.unwrap_or_default());
        let claim = json!({
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {
                "name": name,
                "namespace": namespace,
                "labels": labels,
                "annotations": template.pointer("/metadata/annotations").cloned().unwrap_or_else(|| json!({})),
            },
            "spec": template.get("spec").cloned().unwrap_or_default(),
        });
        context.store.create(claim, MANAGER)?;
    }
    Ok(())
}
