//! Numaflow and Numaplane.

use super::{Degraded, HealthStatus, Healthy, Progressing, View, because, told};

/// Set by Numaplane on the new version of something that it tries out beside the old one.
const PROGRESSIVE_RESULT: &str = "numaplane.numaproj.io/progressive-result-state";

/// What Numaflow runs: every condition must hold, paused or not.
pub(super) fn numaflow(view: View<'_>) -> HealthStatus {
    if view.label(PROGRESSIVE_RESULT) == Some("failed") {
        return told(Degraded, format!("the progressive upgrade of {} has failed", view.kind()));
    }
    if !view.has("status.observedGeneration") {
        return view.waiting();
    }
    if view.is_outdated("status.observedGeneration") {
        return view.unobserved();
    }
    let phase = view.text("status.phase");
    if phase == "Failed" {
        return told(Degraded, view.text("status.message"));
    }
    let conditions = view.conditions();
    match conditions.any("False") {
        Some(failed) => because(Degraded, failed),
        None => told(Healthy, format!("{} is {phase}", view.kind())),
    }
}

/// What Numaplane rolls out: first whether it was deployed, then how its child does.
pub(super) fn numaplane(view: View<'_>) -> HealthStatus {
    if !view.has("status.observedGeneration") {
        return view.waiting();
    }
    if view.is_outdated("status.observedGeneration") {
        return view.unobserved();
    }
    let message = view.text("status.message");
    match view.text("status.phase") {
        "Failed" => return told(Degraded, message),
        "Pending" => return told(Progressing, message),
        _ => {}
    }
    let conditions = view.conditions();
    if let Some(failed) = conditions.find("ProgressiveUpgradeSucceeded", "False") {
        return because(if failed.reason == "Progressing" { Progressing } else { Degraded }, failed);
    }
    let paused = conditions
        .iter()
        .find(|condition| condition.kind.ends_with("PausingOrPaused") && condition.is_true());
    if let Some(paused) = paused {
        return because(Healthy, paused);
    }
    let not_true = |kind| conditions.get(kind).filter(|condition| !condition.is_true());
    match not_true("ChildResourceDeployed").or_else(|| not_true("ChildResourcesHealthy")) {
        Some(failed) if failed.is_false() && failed.reason != "Progressing" => because(Degraded, failed),
        Some(waiting) => because(Progressing, waiting),
        None if conditions.is_true("ChildResourcesHealthy") => {
            told(Healthy, format!("{} is healthy", view.kind()))
        }
        None => view.waiting(),
    }
}
