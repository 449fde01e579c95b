//! Argo Rollouts, Workflows, Events and ApplicationSet.

use super::{Degraded, HealthStatus, Healthy, Progressing, Suspended, Unknown, View, because, told};

const WORKLOAD_GENERATION: &str = "rollout.argoproj.io/workload-generation";

/// Newer versions say it in one word; those before 1.0 leave conditions and counts to be added up.
pub(super) fn rollout(view: View<'_>) -> HealthStatus {
    if !is_observed(view) {
        return told(Progressing, "Waiting for rollout spec update to be observed");
    }
    let message = view.text("status.message");
    match view.text("status.phase") {
        "" => before_phases(view),
        "Paused" => told(Suspended, message),
        word => told(word.parse().unwrap_or(Unknown), message),
    }
}

/// Both generations are kept as text, and in old versions as a hash, which says nothing.
fn is_observed(view: View<'_>) -> bool {
    if !view.has("status") {
        return false;
    }
    let generation = view.generation().unwrap_or_default();
    let seen = number_or_text(view, "status.observedGeneration");
    let workload = view.annotation(WORKLOAD_GENERATION).and_then(|text| text.parse::<i64>().ok());
    let of_workload = number_or_text(view, "status.workloadObservedGeneration");
    let own = seen.is_none_or(|seen| seen >= generation);
    let workloads = !view.has("spec.workloadRef") || workload.is_none_or(|now| of_workload == Some(now));
    own && workloads
}

fn number_or_text(view: View<'_>, path: &str) -> Option<i64> {
    view.number(path).or_else(|| view.text(path).parse().ok())
}

fn before_phases(view: View<'_>) -> HealthStatus {
    let conditions = view.conditions();
    let failed = conditions.iter().find(|condition| {
        condition.kind == "InvalidSpec"
            || (condition.kind == "Progressing"
                && matches!(condition.reason, "RolloutAborted" | "ProgressDeadlineExceeded"))
    });
    if let Some(condition) = failed {
        return because(Degraded, condition);
    }
    let paused = view.flag("status.verifyingPreview").unwrap_or_else(|| view.is("spec.paused"));
    if paused || !view.is_empty("status.pauseConditions") {
        return told(Suspended, "Rollout is paused");
    }
    let desired = view.number("spec.replicas").unwrap_or(1);
    let (updated, available) = (view.count("status.updatedReplicas"), view.count("status.availableReplicas"));
    if updated < desired {
        return told(Progressing, "Waiting for roll out to finish: More replicas need to be updated");
    }
    let current = view.text("status.currentPodHash");
    if view.has("spec.strategy.blueGreen") {
        let active = view.text("status.blueGreen.activeSelector");
        return if active.is_empty() || active != current {
            told(Progressing, "Waiting for roll out to finish: active service cutover pending")
        } else if available < desired {
            told(Progressing, "Waiting for roll out to finish: updated replicas are still becoming available")
        } else {
            told(Healthy, "")
        };
    }
    if view.count("status.replicas") > updated {
        return told(Progressing, "Waiting for roll out to finish: old replicas are pending termination");
    }
    if available < updated {
        return told(
            Progressing,
            "Waiting for roll out to finish: updated replicas are still becoming available",
        );
    }
    let stable = match view.text("status.stableRS") {
        "" => view.text("status.canary.stableRS"),
        stable => stable,
    };
    let has_steps = !view.is_empty("spec.strategy.canary.steps");
    if has_steps && stable != current {
        return told(Progressing, "Waiting for rollout to finish steps");
    }
    told(Healthy, "")
}

/// Without conditions a CronWorkflow waits for its time, which is as it should be.
pub(super) fn cron_workflow(view: View<'_>) -> HealthStatus {
    let conditions = view.conditions();
    let failed = conditions.find("SubmissionError", "True").or_else(|| conditions.find("SpecError", "True"));
    failed.map_or_else(|| told(Healthy, ""), |condition| because(Degraded, condition))
}

/// Configured and deployed, or why not.
pub(super) fn event_bus(view: View<'_>) -> HealthStatus {
    let conditions = view.conditions();
    match conditions.any("False") {
        Some(failed) => because(Degraded, failed),
        None => {
            conditions.find("Deployed", "True").map_or_else(|| view.waiting(), |done| because(Healthy, done))
        }
    }
}
