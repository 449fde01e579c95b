//! OpenKruise: workloads that can pause, and roll out to a part only.

use super::{Degraded, HealthStatus, Healthy, Progressing, Suspended, Unknown, View, because, told};

/// A rollout that stops at a partition waits for a person to go on.
fn at_partition(view: View<'_>, partition: i64) -> bool {
    partition != 0 && view.generation().unwrap_or_default() > 1
}

fn is_observed(view: View<'_>) -> bool {
    view.has("status.observedGeneration") && !view.is_outdated("status.observedGeneration")
}

pub(super) fn clone_set(view: View<'_>) -> HealthStatus {
    replicated(view, "spec.updateStrategy")
}

pub(super) fn stateful_set(view: View<'_>) -> HealthStatus {
    replicated(view, "spec.updateStrategy.rollingUpdate")
}

fn replicated(view: View<'_>, strategy: &str) -> HealthStatus {
    if !is_observed(view) {
        return view.unobserved();
    }
    let strategy = view.part(strategy);
    if strategy.is("paused") {
        return told(Suspended, format!("{} is paused", view.kind()));
    }
    let replicas = view.count("status.replicas");
    let available = view.count("status.updatedAvailableReplicas");
    let partition = strategy.count("partition");
    if at_partition(view, partition) {
        let expected =
            view.number("status.expectedUpdatedReplicas").unwrap_or(replicas.saturating_sub(partition));
        return if view.count("status.updatedReplicas") >= expected {
            told(Suspended, format!("{} has been updated up to its partition and waits", view.kind()))
        } else {
            told(Progressing, format!("{} is being updated up to its partition", view.kind()))
        };
    }
    if available == replicas {
        return told(Healthy, format!("all replicas of {} are updated and available", view.kind()));
    }
    let conditions = view.conditions();
    let failed =
        conditions.iter().find(|condition| condition.kind.starts_with("Failed") && condition.is_true());
    failed.map_or_else(
        || told(Degraded, format!("{available} of {replicas} replicas of {} are available", view.kind())),
        |failed| because(Degraded, failed),
    )
}

pub(super) fn daemon_set(view: View<'_>) -> HealthStatus {
    if !is_observed(view) {
        return view.unobserved();
    }
    let strategy = view.part("spec.updateStrategy.rollingUpdate");
    if strategy.is("paused") {
        return told(Suspended, "DaemonSet is paused");
    }
    let desired = view.count("status.desiredNumberScheduled");
    let updated = view.count("status.updatedNumberScheduled");
    let partition = strategy.count("partition");
    if at_partition(view, partition) && updated > desired.saturating_sub(partition) {
        return told(Suspended, "DaemonSet has been updated up to its partition and waits");
    }
    // The number is left out while no Pod is available, also where none is wanted.
    match view.number("status.numberAvailable") {
        Some(available) if updated == desired && available == desired => {
            told(Healthy, "all Pods of the DaemonSet are updated and available")
        }
        _ if updated == desired && view.count("status.numberUnavailable") > 0 => {
            told(Degraded, format!("{} Pods are not available", view.count("status.numberUnavailable")))
        }
        _ => told(Progressing, format!("{updated} of {desired} Pods are updated")),
    }
}

/// A job that never ran is degraded, one that waits for its next time is healthy.
pub(super) fn advanced_cron_job(view: View<'_>) -> HealthStatus {
    if view.is("spec.paused") {
        return told(Suspended, "AdvancedCronJob is paused");
    }
    if !view.has("status") {
        return view.waiting();
    }
    if !view.is_empty("status.active") {
        return told(Progressing, "AdvancedCronJob has a job running");
    }
    match view.text("status.lastScheduleTime") {
        "" => told(Degraded, "AdvancedCronJob has not been scheduled"),
        time => told(Healthy, format!("AdvancedCronJob was last scheduled at {time}")),
    }
}

pub(super) fn broadcast_job(view: View<'_>) -> HealthStatus {
    let (desired, succeeded) = (view.count("status.desired"), view.count("status.succeeded"));
    let count = format!("{succeeded} of {desired} Pods have succeeded");
    match view.text("status.phase") {
        "completed" if desired == succeeded => told(Healthy, count),
        "failed" => {
            let conditions = view.conditions();
            conditions
                .find("Failed", "True")
                .map_or_else(|| told(Degraded, count), |failed| because(Degraded, failed))
        }
        "paused" => told(Suspended, "BroadcastJob is paused"),
        _ => told(Progressing, count),
    }
}

/// A release that pauses at a step waits for a person.
pub(super) fn rollout(view: View<'_>) -> HealthStatus {
    if !is_observed(view) {
        return view.unobserved();
    }
    let message = view.text("status.message");
    let step = ["status.canaryStatus.currentStepState", "status.blueGreenStatus.currentStepState"]
        .iter()
        .map(|path| view.text(path))
        .find(|step| !step.is_empty());
    match view.text("status.phase") {
        "Progressing" if step == Some("StepPaused") => told(Suspended, message),
        "Healthy" => told(Healthy, message),
        "Disabled" => told(Suspended, message),
        _ => {
            let conditions = view.conditions();
            let failed = conditions.iter().find(|condition| {
                condition.kind == "Progressing" && condition.is_false() && condition.reason == "Failed"
            });
            failed.map_or_else(|| told(Progressing, message), |failed| because(Degraded, failed))
        }
    }
}

pub(super) fn game_server(view: View<'_>) -> HealthStatus {
    let (current, desired) = (view.text("status.currentState"), view.text("status.desiredState"));
    match current {
        "" | "Unknown" => return told(Unknown, "the state of the GameServer is not known"),
        "Crash" => return told(Degraded, "the GameServer has crashed"),
        _ => {}
    }
    let of_pod = view.conditions_at("status.podStatus.conditions");
    if current != desired {
        return told(Progressing, format!("the GameServer is {current} on its way to {desired}"));
    }
    match of_pod.iter().find(|condition| condition.is_false()) {
        Some(failed) => because(Degraded, failed),
        None if current == "Ready" => told(Healthy, "the GameServer is ready"),
        None => told(Progressing, format!("the GameServer is {current}")),
    }
}

pub(super) fn game_server_set(view: View<'_>) -> HealthStatus {
    if !is_observed(view) {
        return view.unobserved();
    }
    let strategy = view.part("spec.updateStrategy.rollingUpdate");
    if strategy.is("paused") {
        return told(Suspended, "GameServerSet is paused");
    }
    let replicas = view.count("spec.replicas");
    let partition = strategy.count("partition");
    let updated = view.count("status.updatedReplicas");
    if partition != 0 && updated >= replicas.saturating_sub(partition) {
        return told(Suspended, "GameServerSet has been updated up to its partition and waits");
    }
    let ready = view.count("status.updatedReadyReplicas");
    if ready < replicas || view.number("status.readyReplicas").is_some_and(|ready| ready < replicas) {
        return told(Progressing, format!("{ready} of {replicas} GameServers are updated and ready"));
    }
    told(Healthy, "all GameServers are updated and ready")
}
