//! What the platform provides: volumes, addresses, APIs, budgets, workflows.

use super::{
    Judgement, degraded,
    fields::{conditions, list, text},
    healthy, progressing, require_version, unknown,
};
use crate::object::Object;

pub(super) fn persistent_volume_claim(object: &Object) -> Judgement {
    require_version(object, "v1")?;
    Ok(match text(object, "status.phase")? {
        "Lost" => degraded(""),
        "Pending" => progressing(""),
        "Bound" => healthy(""),
        _ => unknown(""),
    })
}

pub(super) fn service(object: &Object) -> Judgement {
    require_version(object, "v1")?;
    if text(object, "spec.type")? == "LoadBalancer" { has_address(object) } else { Ok(healthy("")) }
}

pub(super) fn ingress(object: &Object) -> Judgement {
    has_address(object)
}

fn has_address(object: &Object) -> Judgement {
    let addressed = !list(object, "status.loadBalancer.ingress")?.is_empty();
    Ok(if addressed { healthy("") } else { progressing("") })
}

pub(super) fn api_service(object: &Object) -> Judgement {
    let available = conditions(object)?.into_iter().find(|condition| condition.kind == "Available");
    Ok(match available {
        Some(condition) => {
            let message = format!("{}: {}", condition.reason, condition.message);
            if condition.is_true() { healthy(message) } else { progressing(message) }
        }
        None => progressing("Waiting to be processed"),
    })
}

pub(super) fn custom_resource_definition(object: &Object) -> Judgement {
    let conditions = conditions(object)?;
    let find = |kind| conditions.iter().find(move |condition| condition.kind == kind);
    if conditions.is_empty() {
        return Ok(progressing("Status conditions not found"));
    }
    if let Some(condition) = find("Terminating").filter(|condition| condition.is_true()) {
        return Ok(progressing(format!("CRD is being terminated: {}", condition.message)));
    }
    if let Some(condition) = find("NamesAccepted").filter(|condition| condition.is_false()) {
        return Ok(degraded(format!("CRD names have not been accepted: {}", condition.message)));
    }
    if let Some(condition) = find("NonStructuralSchema").filter(|condition| condition.is_true()) {
        return Ok(degraded(format!("Schema violations found: {}", condition.message)));
    }
    let Some(established) = find("Established") else {
        return Ok(degraded("CRD is not established"));
    };
    Ok(if established.is_true() {
        healthy("CRD is healthy")
    } else if established.reason == "Installing" {
        progressing(format!("CRD is being installed: {}", established.message))
    } else {
        degraded(format!("CRD is not established: {}", established.message))
    })
}

pub(super) fn pod_disruption_budget(object: &Object) -> Judgement {
    let conditions = conditions(object)?;
    if conditions.is_empty() {
        return Ok(progressing("Waiting for status"));
    }
    let failed =
        conditions.iter().find(|condition| condition.is_false() && condition.reason != "InsufficientPods");
    Ok(match failed {
        Some(condition) => degraded(format!("{}: {}", condition.reason, condition.message)),
        None => healthy("PodDisruptionBudget is healthy"),
    })
}

pub(super) fn workflow(object: &Object) -> Judgement {
    let message = text(object, "status.message")?;
    Ok(match text(object, "status.phase")? {
        "" | "Pending" | "Running" => progressing(message),
        "Succeeded" => healthy(message),
        "Failed" | "Error" => degraded(message),
        _ => unknown(message),
    })
}
