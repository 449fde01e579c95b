//! Clusters and nodes as objects: Cluster API, Karpenter, Gardener, Karmada.

use super::{Conditions, Degraded, HealthStatus, Healthy, Progressing, Suspended, View, because, told};

/// Cluster API: a phase, and `Ready` with a severity, where `Info` is progress.
pub(super) fn cluster(view: View<'_>) -> HealthStatus {
    if view.is("spec.paused") {
        return told(Suspended, "Cluster is paused");
    }
    failed_ready(view).unwrap_or_else(|| by_phase(view, &["Provisioned"]))
}

pub(super) fn machine(view: View<'_>) -> HealthStatus {
    by_phase(view, &["Running"])
}

pub(super) fn machine_pool(view: View<'_>) -> HealthStatus {
    failed_ready(view).unwrap_or_else(|| by_phase(view, &["Running"]))
}

pub(super) fn machine_deployment(view: View<'_>) -> HealthStatus {
    if view.is("spec.paused") {
        return told(Suspended, "MachineDeployment is paused");
    }
    by_phase(view, &["Running"])
}

fn by_phase(view: View<'_>, healthy: &[&str]) -> HealthStatus {
    let phase = view.text("status.phase");
    let code = match phase {
        "" => return view.waiting(),
        "Failed" => Degraded,
        phase if healthy.contains(&phase) => Healthy,
        _ => Progressing,
    };
    told(code, format!("{} is {phase}", view.kind()))
}

fn failed_ready(view: View<'_>) -> Option<HealthStatus> {
    let conditions = view.conditions();
    let ready = conditions.find("Ready", "False").filter(|condition| condition.severity != "Info")?;
    Some(because(Degraded, ready))
}

pub(super) fn machine_health_check(view: View<'_>) -> HealthStatus {
    let (Some(expected), current) =
        (view.number("status.expectedMachines"), view.count("status.currentHealthy"))
    else {
        return view.waiting();
    };
    let code = if current < expected { Degraded } else { Healthy };
    told(code, format!("{current} of {expected} machines are healthy"))
}

pub(super) fn managed_control_plane(view: View<'_>) -> HealthStatus {
    let failure = view.text("status.failureMessage");
    if !failure.is_empty() {
        return told(Degraded, failure);
    }
    let conditions = view.conditions();
    if let Some(failed) = conditions.find("Ready", "False").filter(|ready| ready.severity == "Error") {
        return because(Degraded, failed);
    }
    let (wanted, runs) = (view.text("spec.version"), view.text("status.version"));
    if !runs.is_empty() && !wanted.is_empty() && !same_version(wanted, runs) {
        return told(Progressing, format!("the control plane runs {runs} on its way to {wanted}"));
    }
    if view.is("status.ready") && conditions.is_true("Ready") {
        return told(Healthy, "the control plane is ready");
    }
    view.waiting()
}

/// Whether two versions agree as far as both are written: `v1.30` and `1.30.4` do.
fn same_version(first: &str, second: &str) -> bool {
    let first = first.trim_start_matches('v').split('.');
    let second = second.trim_start_matches('v').split('.');
    first.zip(second).all(|(first, second)| first == second)
}

pub(super) fn node_claim(view: View<'_>) -> HealthStatus {
    if view.is_outdated("status.observedGeneration") {
        return view.unobserved();
    }
    let conditions = view.conditions();
    if let Some(disrupting) = conditions.find("Disrupting", "True") {
        return because(Suspended, disrupting);
    }
    match conditions.get("Ready") {
        Some(ready) if ready.is_true() => because(Healthy, ready),
        Some(ready) if ready.is_false() => because(Degraded, ready),
        _ => view.waiting(),
    }
}

pub(super) fn shoot(view: View<'_>) -> HealthStatus {
    let operation = view.part("status.lastOperation");
    match operation.text("state") {
        "" => return view.waiting(),
        "Failed" | "Error" | "Aborted" => return told(Degraded, operation.text("description")),
        "Succeeded" => {}
        _ => return told(Progressing, operation.text("description")),
    }
    if view.is("spec.hibernation.enabled") && view.is("status.hibernated") {
        return told(Suspended, "Shoot is hibernated");
    }
    let conditions = view.conditions();
    match conditions.iter().find(|condition| !condition.is_true()) {
        Some(failed) => because(Progressing, failed),
        None if conditions.is_empty() => view.waiting(),
        None => told(Healthy, operation.text("description")),
    }
}

/// Karmada: scheduled, applied everywhere, and well in each member cluster.
pub(super) fn binding(view: View<'_>) -> HealthStatus {
    let conditions = view.conditions();
    if let Some(unscheduled) = conditions.find("Scheduled", "False") {
        return because(Progressing, unscheduled);
    }
    let unwell = |item: View<'_>| item.text("health") == "Unhealthy";
    if let Some(item) = view.items("status.aggregatedStatus").find(|item| unwell(*item)) {
        return told(Degraded, format!("unhealthy in cluster {}", item.text("clusterName")));
    }
    let (wanted, reported) =
        (view.items("spec.clusters").count(), view.items("status.aggregatedStatus").count());
    if reported < wanted {
        return told(Progressing, format!("{reported} of {wanted} clusters have reported"));
    }
    applied(view, &conditions)
}

fn applied(view: View<'_>, conditions: &Conditions<'_>) -> HealthStatus {
    match conditions.get("FullyApplied") {
        Some(applied) if applied.is_true() => because(Healthy, applied),
        Some(applied) => because(Progressing, applied),
        None => view.waiting(),
    }
}
