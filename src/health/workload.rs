//! Deployment, StatefulSet, DaemonSet, ReplicaSet: has the newest spec rolled out?

use super::{
    Judgement, degraded,
    fields::{conditions, count, flag, has, integer, text},
    healthy, progressing, require_version, suspended,
};
use crate::object::Object;

fn is_observed(object: &Object) -> Result<bool, super::HealthError> {
    Ok(count(object, "metadata.generation")? <= count(object, "status.observedGeneration")?)
}

pub(super) fn deployment(object: &Object) -> Judgement {
    require_version(object, "apps/v1")?;
    if flag(object, "spec.paused")? {
        return Ok(suspended("Deployment is paused"));
    }
    if !is_observed(object)? {
        return Ok(progressing(
            "Waiting for rollout to finish: observed deployment generation less than desired generation",
        ));
    }
    let progress = conditions(object)?.into_iter().find(|condition| condition.kind == "Progressing");
    if progress.is_some_and(|condition| condition.reason == "ProgressDeadlineExceeded") {
        return Ok(degraded(format!("Deployment {:?} exceeded its progress deadline", object.name())));
    }
    let updated = count(object, "status.updatedReplicas")?;
    let replicas = count(object, "status.replicas")?;
    let available = count(object, "status.availableReplicas")?;
    if let Some(wanted) = integer(object, "spec.replicas")?.filter(|wanted| updated < *wanted) {
        return Ok(progressing(format!(
            "Waiting for rollout to finish: {updated} out of {wanted} new replicas have been updated..."
        )));
    }
    if replicas > updated {
        let old = replicas.saturating_sub(updated);
        return Ok(progressing(format!(
            "Waiting for rollout to finish: {old} old replicas are pending termination..."
        )));
    }
    if available < updated {
        return Ok(progressing(format!(
            "Waiting for rollout to finish: {available} of {updated} updated replicas are available..."
        )));
    }
    Ok(healthy(""))
}

pub(super) fn stateful_set(object: &Object) -> Judgement {
    require_version(object, "apps/v1")?;
    if count(object, "status.observedGeneration")? == 0 || !is_observed(object)? {
        return Ok(progressing("Waiting for statefulset spec update to be observed..."));
    }
    let wanted = integer(object, "spec.replicas")?;
    let ready = count(object, "status.readyReplicas")?;
    if let Some(wanted) = wanted.filter(|wanted| ready < *wanted) {
        let missing = wanted.saturating_sub(ready);
        return Ok(progressing(format!("Waiting for {missing} pods to be ready...")));
    }
    let updated = count(object, "status.updatedReplicas")?;
    let strategy = text(object, "spec.updateStrategy.type")?;
    if strategy == "RollingUpdate" && has(object, "spec.updateStrategy.rollingUpdate") {
        let partition = integer(object, "spec.updateStrategy.rollingUpdate.partition")?;
        if let (Some(wanted), Some(partition)) = (wanted, partition) {
            let target = wanted.saturating_sub(partition);
            if updated < target {
                return Ok(progressing(format!(
                    "Waiting for partitioned roll out to finish: {updated} out of {target} new pods have been updated..."
                )));
            }
        }
        return Ok(healthy(format!(
            "partitioned roll out complete: {updated} new pods have been updated..."
        )));
    }
    if strategy == "OnDelete" {
        return Ok(healthy(format!("statefulset has {ready} ready pods")));
    }
    let update = text(object, "status.updateRevision")?;
    let current = text(object, "status.currentRevision")?;
    if update != current {
        return Ok(progressing(format!(
            "waiting for statefulset rolling update to complete {updated} pods at revision {update}..."
        )));
    }
    let pods = count(object, "status.currentReplicas")?;
    Ok(healthy(format!("statefulset rolling update complete {pods} pods at revision {current}...")))
}

pub(super) fn daemon_set(object: &Object) -> Judgement {
    require_version(object, "apps/v1")?;
    if !is_observed(object)? {
        return Ok(progressing(
            "Waiting for rollout to finish: observed daemon set generation less than desired generation",
        ));
    }
    let name = object.name();
    let updated = count(object, "status.updatedNumberScheduled")?;
    let wanted = count(object, "status.desiredNumberScheduled")?;
    let available = count(object, "status.numberAvailable")?;
    if text(object, "spec.updateStrategy.type")? == "OnDelete" {
        return Ok(healthy(format!("daemon set {updated} out of {wanted} new pods have been updated")));
    }
    if updated < wanted {
        return Ok(progressing(format!(
            "Waiting for daemon set {name:?} rollout to finish: {updated} out of {wanted} new pods have been updated..."
        )));
    }
    if available < wanted {
        return Ok(progressing(format!(
            "Waiting for daemon set {name:?} rollout to finish: {available} of {wanted} updated pods are available..."
        )));
    }
    Ok(healthy(""))
}

pub(super) fn replica_set(object: &Object) -> Judgement {
    require_version(object, "apps/v1")?;
    if !is_observed(object)? {
        return Ok(progressing(
            "Waiting for rollout to finish: observed replica set generation less than desired generation",
        ));
    }
    let failure = conditions(object)?.into_iter().find(|condition| condition.kind == "ReplicaFailure");
    if let Some(failure) = failure.filter(super::fields::Condition::is_true) {
        return Ok(degraded(failure.message));
    }
    let available = count(object, "status.availableReplicas")?;
    if let Some(wanted) = integer(object, "spec.replicas")?.filter(|wanted| available < *wanted) {
        return Ok(progressing(format!(
            "Waiting for rollout to finish: {available} out of {wanted} new replicas are available..."
        )));
    }
    Ok(healthy(""))
}
