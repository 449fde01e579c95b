//! Ways into a cluster: Gateway API and what attaches to it, Contour, Gloo, Routes of OpenShift.

use super::{Conditions, Degraded, HealthStatus, Healthy, Progressing, Suspended, View, because, told};

/// A Gateway of the Gateway API and its listeners.
pub(super) fn gateway(view: View<'_>) -> HealthStatus {
    let mut seen = false;
    let of_listeners = view.items("status.listeners").map(|listener| listener.conditions_at("conditions"));
    let all: Vec<Conditions<'_>> = std::iter::once(view.conditions()).chain(of_listeners).collect();
    if let Some(failed) = all.iter().find_map(refused) {
        return failed;
    }
    for conditions in &all {
        seen |= !conditions.is_empty();
        if let Some(programmed) = conditions.get("Programmed").filter(|condition| !condition.is_true()) {
            return because(Progressing, programmed);
        }
    }
    if seen { told(Healthy, "Gateway is programmed") } else { view.waiting() }
}

/// Routes are judged by each Gateway that they attach to, if it has seen the newest version.
pub(super) fn route(view: View<'_>) -> HealthStatus {
    let mut current = 0;
    for parent in view.items("status.parents") {
        let conditions = parent.conditions_at("conditions");
        if is_outdated(view, &conditions) {
            continue;
        }
        current += 1;
        if let Some(failed) = refused(&conditions) {
            return failed;
        }
        if let Some(programmed) = conditions.get("Programmed").filter(|condition| !condition.is_true()) {
            return because(Progressing, programmed);
        }
    }
    if current > 0 { told(Healthy, format!("{} is accepted", view.kind())) } else { view.waiting() }
}

/// A policy is judged by each Gateway (ancestor) of what it is attached to, and none may lag behind.
pub(super) fn backend_policy(view: View<'_>) -> HealthStatus {
    let ancestors: Vec<Conditions<'_>> =
        view.items("status.ancestors").map(|ancestor| ancestor.conditions_at("conditions")).collect();
    let current = || ancestors.iter().filter(|conditions| !is_outdated(view, conditions));
    if let Some(failed) = current().find_map(refused) {
        return failed;
    }
    if ancestors.is_empty() {
        return view.waiting();
    }
    if current().count() < ancestors.len() {
        return view.unobserved();
    }
    told(Healthy, format!("{} is accepted", view.kind()))
}

/// Kinds of Airlock Microgateway: where an ancestor has conditions, one must say that it was accepted.
pub(super) fn airlock(view: View<'_>) -> HealthStatus {
    let mut ancestors = 0;
    for ancestor in view.items("status.ancestors") {
        ancestors += 1;
        let conditions = ancestor.conditions_at("conditions");
        if conditions.is_empty() {
            continue;
        }
        if let Some(failed) = refused(&conditions) {
            return failed;
        }
        if is_outdated(view, &conditions) {
            return view.unobserved();
        }
        if !conditions.is_true("Accepted") {
            return told(Degraded, format!("{} has not been accepted by every ancestor", view.kind()));
        }
    }
    if ancestors == 0 { view.waiting() } else { told(Healthy, format!("{} is accepted", view.kind())) }
}

pub(super) fn gateway_class(view: View<'_>) -> HealthStatus {
    let conditions = view.conditions();
    match conditions.get("Accepted") {
        Some(_) if is_outdated(view, &conditions) => view.unobserved(),
        Some(accepted) if accepted.is_true() => because(Healthy, accepted),
        Some(accepted) if accepted.is_false() => because(Degraded, accepted),
        _ => view.waiting(),
    }
}

fn refused(conditions: &Conditions<'_>) -> Option<HealthStatus> {
    let failed = ["ResolvedRefs", "Accepted"].iter().find_map(|kind| conditions.find(kind, "False"))?;
    Some(because(Degraded, failed))
}

/// Whether conditions were told for another generation than the object has.
pub(super) fn is_outdated(view: View<'_>, conditions: &Conditions<'_>) -> bool {
    let Some(generation) = view.generation() else { return false };
    conditions.iter().any(|condition| condition.observed_generation.is_some_and(|seen| seen != generation))
}

/// Contour. A parent whose includes have problems serves the rest.
pub(super) fn contour(view: View<'_>) -> HealthStatus {
    let conditions = view.conditions();
    match conditions.get("Valid") {
        Some(_) if is_outdated(view, &conditions) => view.unobserved(),
        Some(valid) if valid.is_true() => because(Healthy, valid),
        Some(valid) if valid.is_false() && !view.is_empty("spec.includes") => because(Healthy, valid),
        Some(valid) if valid.is_false() => because(Degraded, valid),
        _ => view.waiting(),
    }
}

/// Gloo reports one state, or one for each namespace that a control plane watches; as a word or as its number.
pub(super) fn gloo(view: View<'_>) -> HealthStatus {
    let mut states: Vec<View<'_>> = view.values("status.statuses").collect();
    if states.is_empty() && view.has("status.state") {
        states.push(view.part("status"));
    }
    let is = |state: View<'_>, number: i64, word: &str| {
        state.number("state") == Some(number) || state.text("state") == word
    };
    let find = |number: i64, word: &str| states.iter().find(|state| is(**state, number, word));
    if let Some(rejected) = find(2, "Rejected").or_else(|| find(3, "Warning")) {
        return told(Degraded, rejected.text("reason"));
    }
    if find(0, "Pending").is_some() {
        return told(Suspended, format!("{} is pending", view.kind()));
    }
    if find(1, "Accepted").is_some() { told(Healthy, "Accepted") } else { view.waiting() }
}

/// A Route of OpenShift is admitted by each router that serves it.
pub(super) fn openshift_route(view: View<'_>) -> HealthStatus {
    let mut admitted = 0;
    for ingress in view.items("status.ingress") {
        let conditions = ingress.conditions_at("conditions");
        match conditions.get("Admitted") {
            Some(condition) if condition.is_true() => admitted += 1,
            Some(condition) if condition.is_false() => return because(Degraded, condition),
            Some(condition) => return because(Progressing, condition),
            None => return view.waiting(),
        }
    }
    if admitted > 0 { told(Healthy, "Route is healthy") } else { view.waiting() }
}

/// Google's certificate is there once every domain was seen to point at the load balancer.
pub(super) fn managed_certificate(view: View<'_>) -> HealthStatus {
    let failed = view.items("status.domainStatus").find(|domain| domain.text("status").starts_with("Failed"));
    if let Some(failed) = failed {
        return told(Degraded, format!("{}: {}", failed.text("domain"), failed.text("status")));
    }
    match view.text("status.certificateStatus") {
        "Active" => told(Healthy, "The certificate is active"),
        "" => view.waiting(),
        state => told(Progressing, format!("The certificate is {state}")),
    }
}
