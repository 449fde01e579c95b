//! What delivers other things: Flux, Flagger, Knative, KServe, KEDA, Istio, Operator Lifecycle Manager.

use super::{Degraded, HealthStatus, Healthy, Progressing, Suspended, Unknown, View, because, told};

/// Flux: everything can be suspended, and retries are told apart from failures by `Ready`.
pub(super) fn flux(view: View<'_>) -> HealthStatus {
    flux_with(view, &[])
}

/// A source of Flux must also have stored what it fetched. One for OCI charts fetches nothing by itself.
pub(super) fn flux_source(view: View<'_>) -> HealthStatus {
    if view.kind() == "HelmRepository" && view.text("spec.type") == "oci" && !view.is("spec.suspend") {
        return told(Healthy, "OCI Helm repositories do not report a state");
    }
    flux_with(view, &["ArtifactInStorage"])
}

/// A release of Flux, whose last upgrade and tests count besides.
pub(super) fn helm_release(view: View<'_>) -> HealthStatus {
    let health = flux_with(view, &[]);
    let conditions = view.conditions();
    let failed = ["Released", "TestSuccess"].iter().find_map(|kind| conditions.find(kind, "False"));
    match failed {
        Some(failed) if health.status == Healthy => because(Degraded, failed),
        _ => health,
    }
}

fn flux_with(view: View<'_>, also: &[&str]) -> HealthStatus {
    if view.is("spec.suspend") {
        return told(Suspended, format!("{} is suspended", view.kind()));
    }
    let conditions = view.conditions();
    if conditions.is_empty() {
        return view.waiting();
    }
    let reconciling = conditions.find("Reconciling", "True");
    match conditions.get("Ready") {
        Some(ready) if ready.is_true() => match also.iter().find(|kind| !conditions.is_true(kind)) {
            None => because(Healthy, ready),
            Some(kind) => told(Degraded, format!("{kind} is not True")),
        },
        Some(ready) if ready.status == "Unknown" && reconciling.is_some() => because(Progressing, ready),
        Some(ready) => because(Degraded, ready),
        None => reconciling.map_or_else(
            || told(Degraded, format!("{} has no Ready condition", view.kind())),
            |reconciling| because(Progressing, reconciling),
        ),
    }
}

pub(super) fn canary(view: View<'_>) -> HealthStatus {
    let conditions = view.conditions();
    let message = conditions.get("Promoted").map_or("", |promoted| promoted.message);
    let phase = view.text("status.phase");
    let code = match phase {
        "Failed" => Degraded,
        "Progressing" | "Finalising" | "Promoting" => Progressing,
        "Succeeded" | "Initialized" => Healthy,
        _ => Unknown,
    };
    told(code, if message.is_empty() { phase } else { message })
}

/// `v1alpha1` has been gone since 0.19 and nothing is known of its status.
pub(super) fn knative_service(view: View<'_>) -> Option<HealthStatus> {
    if view.text("apiVersion").ends_with("/v1alpha1") && !view.has("status.conditions") {
        return None;
    }
    let conditions = view.conditions();
    let parts = ["ConfigurationsReady", "RoutesReady", "Ready"];
    if let Some(failed) = parts.iter().find_map(|kind| conditions.find(kind, "False")) {
        return Some(because(Degraded, failed));
    }
    if parts.iter().all(|kind| conditions.is_true(kind)) {
        return Some(told(Healthy, "Knative Service is healthy"));
    }
    let unknown = parts.iter().find_map(|kind| conditions.find(kind, "Unknown"));
    Some(unknown.map_or_else(|| view.waiting(), |unknown| because(Progressing, unknown)))
}

/// Knative's operator: while it works, `Ready` is not true yet, and not for being broken.
pub(super) fn knative_operator(view: View<'_>) -> HealthStatus {
    let conditions = view.conditions();
    if conditions.is_empty() {
        return view.waiting();
    }
    let deploying = conditions.iter().find(|condition| {
        matches!(condition.kind, "Ready" | "DeploymentsAvailable")
            && matches!(condition.status, "False" | "Unknown")
    });
    if let Some(deploying) = deploying {
        return because(Progressing, deploying);
    }
    match conditions.iter().find(|condition| !condition.is_true()) {
        Some(failed) => because(Degraded, failed),
        None if conditions.is_true("Ready") => told(Healthy, format!("{} is healthy", view.kind())),
        None => view.waiting(),
    }
}

/// KServe: conditions of severity `Info` do not count, and a model that cannot be loaded blocks.
pub(super) fn inference_service(view: View<'_>) -> HealthStatus {
    let conditions = view.conditions();
    if let Some(stopped) = conditions.find("Stopped", "True") {
        return because(Suspended, stopped);
    }
    let counted =
        || conditions.iter().filter(|condition| condition.severity != "Info" && condition.kind != "Stopped");
    if let Some(failed) = counted().find(|condition| condition.is_false()) {
        return because(Degraded, failed);
    }
    match view.text("status.modelStatus.transitionStatus") {
        "" | "UpToDate" | "InProgress" => {}
        word => return told(Degraded, format!("model transition status is {word}")),
    }
    if let Some(unknown) = counted().find(|condition| !condition.is_true()) {
        return because(Progressing, unknown);
    }
    if view.text("status.modelStatus.transitionStatus") == "InProgress" {
        return told(Progressing, "the model is being loaded");
    }
    if conditions.is_true("Ready") { told(Healthy, "InferenceService is healthy") } else { view.waiting() }
}

/// KEDA: a scaler that falls back scales by guess.
pub(super) fn scaled_object(view: View<'_>) -> HealthStatus {
    let conditions = view.conditions();
    if let Some(failed) = conditions.find("Ready", "False").or_else(|| conditions.find("Fallback", "True")) {
        return because(Degraded, failed);
    }
    ready_or_paused(view)
}

pub(super) fn scaled_job(view: View<'_>) -> HealthStatus {
    let conditions = view.conditions();
    match conditions.get("Ready") {
        Some(ready) if !ready.is_true() => because(Degraded, ready),
        _ => ready_or_paused(view),
    }
}

fn ready_or_paused(view: View<'_>) -> HealthStatus {
    let conditions = view.conditions();
    match (conditions.find("Ready", "True"), conditions.find("Paused", "True")) {
        (Some(_), Some(paused)) => because(Suspended, paused),
        (Some(ready), None) => because(Healthy, ready),
        (None, _) => view.waiting(),
    }
}

/// The operator of Istio numbers its states in old versions and names them in newer ones.
pub(super) fn istio_operator(view: View<'_>) -> HealthStatus {
    let number = view.number("status.status");
    let code = match (number, view.text("status.status")) {
        (Some(0), _) | (None, "NONE") => Unknown,
        (Some(1), _) | (None, "UPDATING") | (Some(2), _) | (None, "RECONCILING") => Progressing,
        (Some(3), _) | (None, "HEALTHY") => Healthy,
        (Some(4), _) | (None, "ERROR") => Degraded,
        _ => return view.waiting(),
    };
    let message = view.text("status.message");
    told(code, if message.is_empty() { format!("Istio is {code}") } else { message.to_owned() })
}

/// A subscription waits for a person when its plans are approved by hand, which is no failure.
pub(super) fn subscription(view: View<'_>) -> HealthStatus {
    let conditions = view.conditions();
    let failed = ["CatalogSourcesUnhealthy", "InstallPlanFailed", "ResolutionFailed", "BundleUnpackFailed"]
        .iter()
        .find_map(|kind| conditions.find(kind, "True"));
    if let Some(failed) = failed {
        return because(Degraded, failed);
    }
    let installed = !view.text("status.installedCSV").is_empty();
    let by_hand = view.text("spec.installPlanApproval") == "Manual";
    let message = |state: &str| format!("{state}: {}", view.text("status.installedCSV"));
    match view.text("status.state") {
        "UpgradeFailed" => told(Degraded, message("UpgradeFailed")),
        "UpgradePending" | "UpgradeAvailable" if by_hand && installed => told(
            Healthy,
            format!("{} is installed; an upgrade waits for approval", view.text("status.installedCSV")),
        ),
        "" => view.waiting(),
        "AtLatestKnown" => told(Healthy, message("AtLatestKnown")),
        state => {
            let pending = conditions.find("InstallPlanPending", "True");
            pending.map_or_else(|| told(Progressing, state), |pending| because(Progressing, pending))
        }
    }
}
