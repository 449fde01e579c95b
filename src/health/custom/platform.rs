//! Kinds of platforms that share no convention: KubeVirt, OpenShift, Spark, Flink, Grafana and others.

use super::{Degraded, HealthStatus, Healthy, Progressing, Suspended, Unknown, View, because, told};

/// A virtual machine that was stopped on purpose is not broken.
pub(super) fn virtual_machine(view: View<'_>) -> HealthStatus {
    let conditions = view.conditions();
    if let Some(failed) = conditions.find("Failure", "True") {
        return because(Degraded, failed);
    }
    if let Some(paused) = conditions.find("Paused", "True") {
        return because(Suspended, paused);
    }
    match conditions.get("Ready") {
        Some(ready) if ready.is_true() => told(Healthy, "Running"),
        Some(ready) if view.is("status.created") => because(Progressing, ready),
        Some(_) => match view.text("status.printableStatus") {
            state @ ("Starting" | "Provisioning" | "WaitingForVolumeBinding" | "Migrating") => {
                told(Progressing, state)
            }
            state @ ("CrashLoopBackOff" | "ErrImagePull" | "ImagePullBackOff" | "ErrorPvcNotFound"
            | "DataVolumeError" | "ErrorUnschedulable") => told(Degraded, state),
            _ => told(Suspended, "Stopped"),
        },
        None => view.waiting(),
    }
}

pub(super) fn virtual_machine_instance(view: View<'_>) -> HealthStatus {
    let conditions = view.conditions();
    if let Some(paused) = conditions.find("Paused", "True") {
        return because(Suspended, paused);
    }
    let phase = view.text("status.phase");
    match (phase, conditions.get("Ready")) {
        ("", _) => view.waiting(),
        ("Succeeded", _) => told(Suspended, "Stopped"),
        ("Failed", _) => told(Degraded, phase),
        ("Unknown", _) => told(Unknown, phase),
        ("Running", Some(ready)) if ready.is_true() => told(Healthy, "Running"),
        (_, Some(ready)) if !ready.message.is_empty() => because(Progressing, ready),
        _ => told(Progressing, phase),
    }
}

pub(super) fn data_volume(view: View<'_>) -> HealthStatus {
    let conditions = view.conditions();
    let phase = view.text("status.phase");
    match phase {
        "Succeeded" => return told(Healthy, phase),
        "Failed" | "Unknown" => return told(Degraded, phase),
        "Paused" => return told(Suspended, phase),
        _ => {}
    }
    match conditions.find("Running", "False").filter(|running| running.reason == "Error") {
        Some(failed) => because(Degraded, failed),
        None if phase.is_empty() => view.waiting(),
        None => told(Progressing, phase),
    }
}

/// OpenShift's router: degraded, rolling out, or serving with all its replicas.
pub(super) fn ingress_controller(view: View<'_>) -> HealthStatus {
    let conditions = view.conditions();
    if let Some(failed) = conditions.find("Degraded", "True").or_else(|| conditions.find("Admitted", "False"))
    {
        return because(Degraded, failed);
    }
    let rolling = conditions.find("Progressing", "True");
    let missing = ["DeploymentReplicasAllAvailable", "Available"]
        .iter()
        .find_map(|kind| conditions.find(kind, "False"));
    match rolling.or(missing) {
        Some(waiting) => because(Progressing, waiting),
        None if conditions.is_true("Available") => told(Healthy, "IngressController is available"),
        None => view.waiting(),
    }
}

pub(super) fn deployment_config(view: View<'_>) -> HealthStatus {
    let conditions = view.conditions();
    if view.number("spec.replicas") == Some(0) {
        return told(Healthy, "DeploymentConfig is scaled to zero");
    }
    if let Some(failed) = conditions.find("Progressing", "False") {
        return because(Degraded, failed);
    }
    match (conditions.find("Progressing", "True"), conditions.is_true("Available")) {
        (Some(done), true) if done.reason == "NewReplicationControllerAvailable" => because(Healthy, done),
        (Some(rolling), _) => because(Progressing, rolling),
        (None, _) => conditions
            .get("Progressing")
            .map_or_else(|| view.waiting(), |waiting| because(Progressing, waiting)),
    }
}

/// The operator counts in a text: `1/2`.
pub(super) fn telemetry_collector(view: View<'_>) -> HealthStatus {
    if view.text("spec.mode") == "sidecar" {
        return told(Healthy, "a sidecar collector runs in the Pods that it is injected into");
    }
    let text = view.text("status.scale.statusReplicas");
    let counts = text
        .split_once('/')
        .and_then(|(ready, all)| Some((ready.parse::<i64>().ok()?, all.parse::<i64>().ok()?)));
    let Some((ready, all)) = counts else {
        return view.waiting();
    };
    let daemons = view.text("spec.mode") == "daemonset";
    let code = match (ready, all) {
        (0, 0) if daemons => Healthy,
        (0, _) => Degraded,
        (ready, all) if ready == all => Healthy,
        _ => Progressing,
    };
    told(code, format!("{text} replicas are ready"))
}

/// Spark runs its executors itself, and may scale them between bounds.
pub(super) fn spark_application(view: View<'_>) -> HealthStatus {
    let state = view.text("status.applicationState.state");
    let error = view.text("status.applicationState.errorMessage");
    let running = view.values("status.executorState").filter(|word| word.0 == "RUNNING").count();
    let running = i64::try_from(running).unwrap_or(i64::MAX);
    let code = match state {
        "" => return view.waiting(),
        "COMPLETED" => Healthy,
        "FAILED" | "SUBMISSION_FAILED" | "FAILING" => Degraded,
        "UNKNOWN" => Unknown,
        "SUSPENDED" => Suspended,
        "RUNNING" => {
            let (least, most) = executors(view);
            if (least..=most).contains(&running) { Healthy } else { Progressing }
        }
        _ => Progressing,
    };
    told(code, if error.is_empty() { format!("SparkApplication is {state}") } else { error.to_owned() })
}

/// How many executors an application may have: between the bounds of dynamic allocation, which the operator's own field
/// or Spark's configuration may switch on, or exactly so many.
fn executors(view: View<'_>) -> (i64, i64) {
    let allocation = view.part("spec.dynamicAllocation");
    if allocation.is("enabled") {
        return (allocation.count("minExecutors"), allocation.number("maxExecutors").unwrap_or(i64::MAX));
    }
    // Names of Spark's configuration have dots in them.
    let setting = |name: String| {
        let value = view.part("spec.sparkConf").0.get(&name)?;
        value.as_str().map_or_else(|| Some(value.to_string()), |text| Some(text.to_owned()))
    };
    let number = |name: String| setting(name).and_then(|text| text.parse::<i64>().ok());
    for of in ["spark.dynamicAllocation", "spark.streaming.dynamicAllocation"] {
        if setting(format!("{of}.enabled")).as_deref() == Some("true") {
            let least = number(format!("{of}.minExecutors")).unwrap_or_default();
            return (least, number(format!("{of}.maxExecutors")).unwrap_or(i64::MAX));
        }
    }
    let instances = view.number("spec.executor.instances").unwrap_or(1);
    (instances, instances)
}

pub(super) fn flink_deployment(view: View<'_>) -> HealthStatus {
    let reconciliation = view.part("status.reconciliationStatus");
    let manager = view.text("status.jobManagerDeploymentStatus");
    if reconciliation.is("success") || reconciliation.text("state") == "DEPLOYED" {
        return told(
            Healthy,
            format!("Flink deployment is {}", view.text("status.jobStatus.state").to_lowercase()),
        );
    }
    match manager {
        "ERROR" => {
            let error = reconciliation.text("error");
            told(Degraded, if error.is_empty() { view.text("status.error") } else { error })
        }
        "" => view.waiting(),
        manager => told(Progressing, format!("the job manager is {manager}")),
    }
}

/// The operator works through stages; each can fail.
pub(super) fn grafana(view: View<'_>) -> HealthStatus {
    let (stage, status) = (view.text("status.stage"), view.text("status.stageStatus"));
    match (stage, status) {
        ("", _) => view.waiting(),
        (_, "failed") => {
            told(Degraded, format!("stage {stage} has failed: {}", view.text("status.lastMessage")))
        }
        ("complete", "success") => told(Healthy, "Grafana is complete"),
        _ => told(Progressing, format!("stage {stage}: {status}")),
    }
}

/// What is loaded into Grafana. Before it had conditions, a hash said that it was.
pub(super) fn grafana_content(view: View<'_>) -> HealthStatus {
    let conditions = view.conditions();
    let negative = ["NoMatchingInstance", "InvalidSpec", "NoMatchingFolder"];
    if let Some(failed) = negative.iter().find_map(|kind| conditions.find(kind, "True")) {
        return because(Degraded, failed);
    }
    let counted = || conditions.iter().filter(|condition| !negative.contains(&condition.kind));
    if let Some(failed) = counted().find(|condition| condition.is_false()) {
        return because(Degraded, failed);
    }
    if let Some(applied) = counted().find(|condition| condition.is_true()) {
        return because(Healthy, applied);
    }
    if view.is("status.NoMatchingInstances") {
        return told(Degraded, "no Grafana matches the instance selector");
    }
    if view.text("status.hash").is_empty() {
        view.waiting()
    } else {
        told(Healthy, format!("{} is applied", view.kind()))
    }
}

/// Keptn's analysis: completed is not passed.
pub(super) fn keptn_analysis(view: View<'_>) -> HealthStatus {
    match view.text("status.state") {
        "" => view.waiting(),
        "Completed" if view.is("status.pass") => told(Healthy, "the analysis has passed"),
        "Completed" if view.is("status.warning") => told(Degraded, "the analysis has passed with warnings"),
        "Completed" => told(Degraded, "the analysis has failed"),
        state => told(Progressing, format!("the analysis is {state}")),
    }
}

pub(super) fn keptn_metric(view: View<'_>) -> HealthStatus {
    let error = view.text("status.errMsg");
    if !error.is_empty() {
        return told(Degraded, error);
    }
    if view.has("status.value") { told(Healthy, "the metric has a value") } else { view.waiting() }
}

/// Without a replica a function is scaled to zero, as asked for.
pub(super) fn function(view: View<'_>) -> HealthStatus {
    let conditions = view.conditions();
    match (conditions.get("Ready"), conditions.get("Healthy")) {
        (Some(ready), _) if ready.is_false() => because(Degraded, ready),
        (Some(ready), Some(healthy)) if ready.is_true() && healthy.is_true() => because(Healthy, healthy),
        (Some(ready), Some(healthy)) if ready.is_true() && healthy.is_false() => {
            told(Suspended, "no replica is available")
        }
        _ => view.waiting(),
    }
}

/// Operators made with Ansible say in a reason whether a run is over.
pub(super) fn ansible_operator(view: View<'_>) -> HealthStatus {
    let conditions = view.conditions();
    if let Some(failed) = conditions.find("Failure", "True") {
        return because(Degraded, failed);
    }
    match (conditions.find("Successful", "True"), conditions.find("Running", "True")) {
        (_, Some(running)) if running.reason == "Successful" => because(Healthy, running),
        (Some(done), None) => because(Healthy, done),
        (_, Some(running)) => because(Progressing, running),
        (None, None) => view.waiting(),
    }
}

pub(super) fn volume_snapshot(view: View<'_>) -> HealthStatus {
    if view.has("status.error") {
        let message = view.text("status.error.message");
        return told(Degraded, if message.is_empty() { "the snapshot has failed" } else { message });
    }
    if view.is("status.readyToUse") { told(Healthy, "Ready to use") } else { view.waiting() }
}

/// A Secret from elsewhere, which puts the error behind the word.
pub(super) fn legacy_external_secret(view: View<'_>) -> HealthStatus {
    match view.text("status.status") {
        "" => view.waiting(),
        "SUCCESS" => told(Healthy, "the secret was fetched"),
        word if word.starts_with("ERROR") => told(Degraded, word),
        word => told(Progressing, word),
    }
}

/// SAP services: each condition is told for a generation.
pub(super) fn sap_service(view: View<'_>) -> HealthStatus {
    if !view.text("metadata.deletionTimestamp").is_empty() {
        return told(Progressing, format!("{} is being deleted", view.kind()));
    }
    let conditions = view.conditions();
    if super::gateway::is_outdated(view, &conditions) {
        return view.unobserved();
    }
    if let Some(failed) = conditions.find("Failed", "True") {
        return because(Degraded, failed);
    }
    match conditions.find("Succeeded", "False") {
        Some(running) => because(Progressing, running),
        None => {
            conditions.find("Ready", "True").map_or_else(|| view.waiting(), |ready| because(Healthy, ready))
        }
    }
}

/// A schema is applied in steps, and each reports through the reason of `Ready`.
pub(super) fn atlas(view: View<'_>) -> HealthStatus {
    let conditions = view.conditions();
    match conditions.get("Ready") {
        Some(ready) if ready.is_true() => because(Healthy, ready),
        Some(ready) if matches!(ready.reason, "Reconciling" | "GettingDevDB") => because(Progressing, ready),
        Some(ready) if ready.reason == "ApprovalPending" => because(Suspended, ready),
        Some(ready) if ready.is_false() => because(Degraded, ready),
        _ => view.waiting(),
    }
}

/// Proclaim: advertised, and then found by others.
pub(super) fn service_discovery(view: View<'_>) -> HealthStatus {
    let conditions = view.conditions();
    if super::gateway::is_outdated(view, &conditions) {
        return view.unobserved();
    }
    if let Some(ignored) = conditions.find("Adopted", "False") {
        return because(Degraded, ignored);
    }
    let failed =
        conditions.iter().find(|condition| !condition.is_true() && condition.reason.ends_with("Error"));
    if let Some(failed) = failed {
        return because(Degraded, failed);
    }
    let not_yet = ["Advertised", "Discoverable"]
        .iter()
        .find_map(|kind| conditions.get(kind).filter(|condition| !condition.is_true()));
    match not_yet {
        Some(waiting) => because(Progressing, waiting),
        None => conditions
            .find("Discoverable", "True")
            .map_or_else(|| view.waiting(), |found| because(Healthy, found)),
    }
}

/// Pulumi: the newest update of the newest generation.
pub(super) fn pulumi_stack(view: View<'_>) -> HealthStatus {
    if view.is_outdated("status.observedGeneration") {
        return view.unobserved();
    }
    let conditions = view.conditions();
    if let Some(stalled) = conditions.find("Stalled", "True") {
        return because(Degraded, stalled);
    }
    if view.text("status.lastUpdate.state") == "failed" {
        let message = view.text("status.lastUpdate.message");
        return told(Degraded, if message.is_empty() { "the last update has failed" } else { message });
    }
    match (conditions.find("Reconciling", "True"), conditions.find("Ready", "True")) {
        (_, Some(ready)) => because(Healthy, ready),
        (Some(running), None) => because(Progressing, running),
        (None, None) if view.text("status.lastUpdate.state") == "succeeded" => {
            told(Healthy, "the last update has succeeded")
        }
        (None, None) => view.waiting(),
    }
}

/// An exec hook and a schedule of Astra only do something when their time comes, if they are enabled.
pub(super) fn astra_standing(view: View<'_>) -> HealthStatus {
    let error = view.text("status.error");
    if !error.is_empty() {
        return told(Degraded, error);
    }
    if view.flag("spec.enabled") == Some(false) {
        return told(Suspended, format!("{} is disabled", view.kind()));
    }
    told(Healthy, format!("{} is enabled", view.kind()))
}

/// The store of Trident: bound to a backend, unless the last change to it failed.
pub(super) fn trident_backend(view: View<'_>) -> HealthStatus {
    let message = view.text("status.message");
    match (view.text("status.phase"), view.text("status.lastOperationStatus")) {
        (_, "Failed") => told(Degraded, message),
        ("Bound", _) => told(Healthy, message),
        ("Lost" | "Failed", _) => told(Degraded, message),
        ("", _) => view.waiting(),
        (phase, _) => told(Progressing, phase),
    }
}

/// 3scale: what must be there before it starts is a failure, the rest is on its way.
pub(super) fn api_manager(view: View<'_>) -> HealthStatus {
    let conditions = view.conditions();
    match conditions.get("Available") {
        Some(available) if available.is_true() => because(Healthy, available),
        Some(available) if available.reason.starts_with("Missing") => because(Degraded, available),
        Some(available) if view.is_empty("status.deployments") => because(Progressing, available),
        Some(_) => {
            let count = |field: &str| view.items(&format!("status.deployments.{field}")).count();
            let (ready, rest) = (count("ready"), count("starting").saturating_add(count("stopped")));
            told(Progressing, format!("{ready} deployments are ready, {rest} are not"))
        }
        None => view.waiting(),
    }
}

pub(super) fn developer_user(view: View<'_>) -> HealthStatus {
    if view.text("status.developerUserState") == "suspended" {
        return told(Suspended, "the user is suspended");
    }
    let conditions = view.conditions();
    let failed = ["Failed", "Invalid", "Orphan"].iter().find_map(|kind| conditions.find(kind, "True"));
    match failed {
        Some(failed) => because(Degraded, failed),
        None => {
            conditions.find("Ready", "True").map_or_else(|| view.waiting(), |ready| because(Healthy, ready))
        }
    }
}

/// Camel K: the phase, explained by `Ready`.
pub(super) fn integration(view: View<'_>) -> HealthStatus {
    let conditions = view.conditions();
    let message = conditions.get("Ready").map_or("", |ready| ready.message);
    let phase = view.text("status.phase");
    let code = match phase {
        "" => return view.waiting(),
        "Running" => Healthy,
        "Error" => Degraded,
        _ => Progressing,
    };
    told(code, if message.is_empty() { phase } else { message })
}

/// A policy is ready once its rules are loaded.
pub(super) fn kyverno_policy(view: View<'_>) -> HealthStatus {
    let conditions = view.conditions();
    match conditions.get("Ready") {
        Some(ready) if ready.is_true() && ready.reason == "Succeeded" => because(Healthy, ready),
        Some(ready) if ready.is_false() && ready.reason == "Failed" => because(Degraded, ready),
        Some(ready) => because(Progressing, ready),
        None => view.waiting(),
    }
}

/// Pods that are not there yet are progress.
pub(super) fn prometheus(view: View<'_>) -> HealthStatus {
    let conditions = view.conditions();
    match conditions.get("Available") {
        Some(available) if available.is_true() => told(Healthy, "Prometheus is available"),
        Some(available) if available.reason == "SomePodsNotReady" => because(Progressing, available),
        Some(available) => because(Degraded, available),
        None => view.waiting(),
    }
}

/// One word for all kinds of VictoriaMetrics, with the reason of a failure.
pub(super) fn victoria_metrics(view: View<'_>) -> HealthStatus {
    if view.is_outdated("status.observedGeneration") {
        return view.unobserved();
    }
    let state = view.text("status.updateStatus");
    let code = match state {
        "" => return view.waiting(),
        "operational" => Healthy,
        "failed" => Degraded,
        "paused" => Suspended,
        _ => Progressing,
    };
    let reason = view.text("status.reason");
    told(code, if reason.is_empty() { format!("{} is {state}", view.kind()) } else { reason.to_owned() })
}
