//! GitOps Promoter: each kind has `Ready` for its newest generation, and then something of its own.

use super::{Degraded, HealthStatus, Healthy, Progressing, View, because, told};

/// What is wrong or missing before the kind's own state counts. `None` once it is ready.
fn not_ready(view: View<'_>) -> Option<HealthStatus> {
    if !view.text("metadata.deletionTimestamp").is_empty() {
        return Some(told(Progressing, format!("{} is being deleted", view.kind())));
    }
    let conditions = view.conditions();
    let Some(ready) = conditions.get("Ready") else {
        return Some(view.waiting());
    };
    let outdated =
        matches!((view.generation(), ready.observed_generation), (Some(now), Some(seen)) if now != seen);
    if outdated {
        return Some(view.unobserved());
    }
    match ready.status {
        "False" => Some(because(Degraded, ready)),
        "Unknown" => Some(because(Progressing, ready)),
        _ => None,
    }
}

pub(super) fn ready(view: View<'_>) -> HealthStatus {
    not_ready(view).unwrap_or_else(|| told(Healthy, format!("{} is ready", view.kind())))
}

/// A status is itself well when it was reported, whatever it says of the commit.
pub(super) fn commit_status(view: View<'_>) -> HealthStatus {
    not_ready(view).unwrap_or_else(|| match (view.text("status.sha"), view.text("status.phase")) {
        ("", _) | (_, "") => told(Progressing, "Waiting for the commit status to be reported"),
        (sha, phase) => told(Healthy, format!("commit {sha} is reported as {phase}")),
    })
}

pub(super) fn pull_request(view: View<'_>) -> HealthStatus {
    not_ready(view).unwrap_or_else(|| match (view.text("status.id"), view.text("status.state")) {
        ("", _) | (_, "") => told(Progressing, "Waiting for the pull request to be opened"),
        (id, state) => told(Healthy, format!("pull request {id} is {state}")),
    })
}

/// A check of each environment: all must have succeeded.
pub(super) fn environment_checks(view: View<'_>) -> HealthStatus {
    not_ready(view).unwrap_or_else(|| checks(view, "status.environments", "branch"))
}

/// A check of each application: all must have succeeded.
pub(super) fn application_checks(view: View<'_>) -> HealthStatus {
    not_ready(view).unwrap_or_else(|| match view.is_empty("status.applicationsSelected") {
        true => told(Degraded, "no application is selected"),
        false => checks(view, "status.applicationsSelected", "name"),
    })
}

fn checks(view: View<'_>, path: &str, name: &str) -> HealthStatus {
    let of_phase = |phases: &[&str]| view.items(path).find(|item| phases.contains(&item.text("phase")));
    if let Some(failed) = of_phase(&["failure", "error"]) {
        return told(Degraded, format!("{} has failed", failed.text(name)));
    }
    let pending = view.items(path).find(|item| item.text("phase") != "success");
    pending.map_or_else(
        || told(Healthy, "all checks have succeeded"),
        |pending| told(Progressing, format!("{} is pending", pending.text(name))),
    )
}

pub(super) fn change_transfer_policy(view: View<'_>) -> HealthStatus {
    not_ready(view)
        .or_else(|| hydration(view.part("status")))
        .unwrap_or_else(|| told(Healthy, promotion(view.part("status"))))
}

pub(super) fn promotion_strategy(view: View<'_>) -> HealthStatus {
    if let Some(health) = not_ready(view) {
        return health;
    }
    let mut environments = view.items("status.environments").peekable();
    if environments.peek().is_none() {
        return told(Progressing, "Waiting for environments to be reported");
    }
    environments.find_map(hydration).unwrap_or_else(|| told(Healthy, "all environments are reported"))
}

/// An environment counts once the commit that its branch was made from is known, for what runs and what is proposed.
fn hydration(environment: View<'_>) -> Option<HealthStatus> {
    let missing = ["active", "proposed"]
        .into_iter()
        .find(|side| environment.text(&format!("{side}.dry.sha")).is_empty())?;
    Some(told(Progressing, format!("Waiting for the {missing} commit to be known")))
}

fn promotion(environment: View<'_>) -> String {
    let (active, proposed) = (environment.text("active.dry.sha"), environment.text("proposed.dry.sha"));
    if active == proposed {
        format!("{active} is promoted")
    } else {
        format!("{proposed} waits to be promoted")
    }
}
