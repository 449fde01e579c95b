//! What stands for something in a cloud: Crossplane, Config Connector, AWS Controllers for Kubernetes.

use super::{Conditions, Degraded, HealthStatus, Healthy, Progressing, Suspended, View, because, told};

/// Kinds that configure Crossplane or record what it uses, and report nothing when all is well.
const SILENT: &[&str] = &[
    "ClusterProviderConfig",
    "Composition",
    "CompositionRevision",
    "ControllerConfig",
    "DeploymentRuntimeConfig",
    "EnvironmentConfig",
    "ImageConfig",
    "ManagedResourceActivationPolicy",
    "ProviderConfig",
    "ProviderConfigUsage",
];

/// What may say `True` when an object of any Crossplane group is as it should be.
const POSITIVE: &[&str] = &["Ready", "Healthy", "Offered", "Established", "ValidPipeline", "RevisionHealthy"];

/// Any kind of a Crossplane or Upbound group: claims, composites, managed resources, packages.
pub(super) fn any(view: View<'_>) -> HealthStatus {
    let conditions = view.conditions();
    if conditions.is_empty() {
        if view.kind().ends_with("ProviderConfig") && view.has("status.users") {
            return told(Healthy, "Resource is in use");
        }
        if view.is_empty("status") && SILENT.contains(&view.kind()) {
            return told(Healthy, "Resource is up-to-date");
        }
        return view.waiting();
    }
    if let Some(problem) = problem(&conditions) {
        return problem;
    }
    let positive = POSITIVE.iter().find_map(|kind| conditions.find(kind, "True"));
    positive.map_or_else(|| progress(view, &conditions), |condition| because(Healthy, condition))
}

/// A managed resource is healthy once it is both synced and ready.
pub(super) fn managed(view: View<'_>) -> HealthStatus {
    let conditions = view.conditions();
    if let Some(problem) = problem(&conditions) {
        return problem;
    }
    match conditions.find("Ready", "True") {
        Some(ready) if conditions.is_true("Synced") => because(Healthy, ready),
        _ => progress(view, &conditions),
    }
}

fn problem(conditions: &Conditions<'_>) -> Option<HealthStatus> {
    let failed = ["LastAsyncOperation", "Synced"].iter().find_map(|kind| conditions.find(kind, "False"))?;
    Some(match failed.reason {
        "ReconcilePaused" => because(Suspended, failed),
        _ => because(Degraded, failed),
    })
}

fn progress(view: View<'_>, conditions: &Conditions<'_>) -> HealthStatus {
    conditions.get("Ready").map_or_else(|| view.waiting(), |ready| because(Progressing, ready))
}

/// A package of a provider: installed and healthy.
pub(super) fn provider_package(view: View<'_>) -> HealthStatus {
    let conditions = view.conditions();
    if conditions.is_empty() {
        return view.waiting();
    }
    if conditions.is_true("Installed") && conditions.is_true("Healthy") {
        return told(Healthy, "Provider is installed and healthy");
    }
    conditions
        .any("False")
        .map_or_else(|| told(Degraded, "Provider is not healthy"), |failed| because(Degraded, failed))
}

/// A stack of Crossplane before 0.10, which nests its conditions.
pub(super) fn stack_install(view: View<'_>) -> HealthStatus {
    let conditions = view.conditions_at("status.conditionedStatus.conditions");
    match conditions.get("Ready") {
        Some(ready) if ready.is_true() => because(Healthy, ready),
        Some(ready) => because(Progressing, ready),
        None => view.waiting(),
    }
}

/// Config Connector of Google Cloud says in the reason of `Ready` how far it is.
pub(super) fn config_connector(view: View<'_>) -> HealthStatus {
    if view.is_outdated("status.observedGeneration") {
        return view.unobserved();
    }
    if matches!(view.kind(), "ConfigConnector" | "ConfigConnectorContext") {
        let errors: Vec<&str> = view.items("status.errors").filter_map(|error| error.0.as_str()).collect();
        return match view.flag("status.healthy") {
            Some(true) => told(Healthy, format!("{} is healthy", view.kind())),
            Some(false) if errors.is_empty() => told(Degraded, format!("{} is unhealthy", view.kind())),
            Some(false) => told(Degraded, errors.join("; ")),
            None => view.waiting(),
        };
    }
    let conditions = view.conditions();
    let Some(ready) = conditions.get("Ready") else {
        return view.waiting();
    };
    match ready.reason {
        "UpToDate" if ready.is_true() => because(Healthy, ready),
        "DependencyNotReady" => because(Suspended, ready),
        "DependencyNotFound" | "DependencyInvalid" | "UpdateFailed" | "DeleteFailed"
        | "ManagementConflict" => because(Degraded, ready),
        _ => because(Progressing, ready),
    }
}

/// AWS Controllers for Kubernetes: a terminal condition needs a person.
pub(super) fn aws_controller(view: View<'_>) -> HealthStatus {
    let conditions = view.conditions();
    if let Some(terminal) = conditions.find("ACK.Terminal", "True") {
        return because(Degraded, terminal);
    }
    if let Some(ready) = conditions.get("Ready") {
        return because(if ready.is_true() { Healthy } else { Progressing }, ready);
    }
    match conditions.get("ACK.ResourceSynced") {
        Some(synced) if synced.is_true() => because(Healthy, synced),
        Some(synced) => because(Progressing, synced),
        None => view.waiting(),
    }
}
