//! Databases, queues, search and storage.

use super::{
    Degraded, HealthStatus, HealthStatusCode, Healthy, Progressing, Suspended, Unknown, View, because, told,
};

/// The phases of CloudNativePG, which are sentences.
const POSTGRES_PHASES: &[(&str, HealthStatusCode)] = &[
    ("Cluster in healthy state", Healthy),
    ("Setting up primary", Progressing),
    ("Creating a new replica", Progressing),
    ("Creating primary instance", Progressing),
    ("Waiting for the instances to become active", Progressing),
    ("Promoting to primary cluster", Progressing),
    ("Upgrading cluster", Progressing),
    ("Upgrading Postgres major version", Progressing),
    ("Cluster upgrade delayed", Progressing),
    ("Online upgrade in progress", Progressing),
    ("Failing over", Degraded),
    ("Switchover in progress", Degraded),
    ("Applying configuration", Degraded),
    ("Primary instance is being restarted in-place", Degraded),
    ("Primary instance is being restarted without a switchover", Degraded),
    ("Cluster cannot execute instance online upgrade due to missing architecture binary", Degraded),
    ("Unable to create required cluster objects", Degraded),
    ("Waiting for user action", Suspended),
    ("Cluster is unrecoverable and needs manual intervention", Suspended),
    ("Cluster has incomplete or invalid image catalog", Suspended),
    ("Cluster cannot proceed to reconciliation due to an unknown plugin being required", Suspended),
    ("Cluster cannot proceed to reconciliation due to an error while interacting with plugins", Suspended),
];

pub(super) fn cloud_native_postgres(view: View<'_>) -> HealthStatus {
    if view.annotation("cnpg.io/reconciliationLoop") == Some("disabled") {
        return told(Suspended, "the cluster is not reconciled: cnpg.io/reconciliationLoop is disabled");
    }
    let conditions = view.conditions();
    if let Some(hibernation) = conditions.get("cnpg.io/hibernation") {
        return because(if hibernation.is_true() { Suspended } else { Degraded }, hibernation);
    }
    let phase = view.text("status.phase");
    if phase.is_empty() {
        return view.waiting();
    }
    let known = POSTGRES_PHASES.iter().find(|(known, _)| *known == phase).map(|(_, code)| *code);
    let reason = view.text("status.phaseReason");
    told(
        known.unwrap_or(Unknown),
        if reason.is_empty() { phase.to_owned() } else { format!("{phase}: {reason}") },
    )
}

/// MariaDB and what belongs to it: `Ready` is false on the way, and says `Failed` where it is a failure.
pub(super) fn mariadb(view: View<'_>) -> HealthStatus {
    let conditions = view.conditions();
    match conditions.get("Ready") {
        Some(ready) if ready.is_true() => because(Healthy, ready),
        Some(ready) if ready.reason == "Failed" => because(Degraded, ready),
        Some(ready) if ready.reason == "Suspended" => because(Suspended, ready),
        Some(ready) => because(Progressing, ready),
        None => view.waiting(),
    }
}

/// Jobs of MariaDB tell in the reason how they ended. One that waits for its next time is well.
pub(super) fn mariadb_job(view: View<'_>) -> HealthStatus {
    let conditions = view.conditions();
    let Some(complete) = conditions.get("Complete") else {
        return view.waiting();
    };
    let code = match complete.reason {
        "JobFailed" | "CronJobFailed" | "Failed" => Degraded,
        "JobSuspended" => Suspended,
        "CronJobScheduled" => Healthy,
        _ if complete.is_true() => Healthy,
        _ => Progressing,
    };
    because(code, complete)
}

/// Elasticsearch: nodes, then the operator's phase, then the colour that the cluster has itself.
pub(super) fn elasticsearch(view: View<'_>) -> HealthStatus {
    if !view.has("status.phase") && !view.has("status.health") {
        return told(Unknown, "Elasticsearch has not reported a state");
    }
    let wanted: i64 = view.items("spec.nodeSets").map(|set| set.count("count")).fold(0, i64::saturating_add);
    let available = view.count("status.availableNodes");
    if available < wanted {
        return told(Progressing, format!("{available} of {wanted} nodes are available"));
    }
    match view.text("status.phase") {
        "Ready" => colour(view).unwrap_or_else(|| told(Unknown, "the health of Elasticsearch is not known")),
        "ApplyingChanges" | "MigratingData" => {
            told(Progressing, format!("Elasticsearch is {}", view.text("status.phase")))
        }
        "Invalid" => told(Degraded, "the specification of Elasticsearch is invalid"),
        phase => told(Unknown, phase),
    }
}

/// Beats: colour first, and without one the number of nodes.
pub(super) fn beat(view: View<'_>) -> HealthStatus {
    colour(view).unwrap_or_else(|| match view.number("status.expectedNodes") {
        Some(expected) => told(
            Progressing,
            format!("{} of {expected} nodes are available", view.count("status.availableNodes")),
        ),
        None => told(Unknown, "the health of the Beat is not known"),
    })
}

pub(super) fn logstash(view: View<'_>) -> HealthStatus {
    colour(view).unwrap_or_else(|| view.waiting())
}

fn colour(view: View<'_>) -> Option<HealthStatus> {
    let colour = view.text("status.health");
    let code = match colour {
        "green" => Healthy,
        "yellow" => Progressing,
        "red" => Degraded,
        _ => return None,
    };
    Some(told(code, format!("{} is {colour}", view.kind())))
}

/// Strimzi: `NotReady` for `Creating` is progress.
pub(super) fn strimzi(view: View<'_>) -> HealthStatus {
    let conditions = view.conditions();
    if let Some(paused) = conditions.find("ReconciliationPaused", "True") {
        return because(Suspended, paused);
    }
    if let Some(not_ready) = conditions.find("NotReady", "True") {
        return because(if not_ready.reason == "Creating" { Progressing } else { Degraded }, not_ready);
    }
    conditions.find("Ready", "True").map_or_else(|| view.waiting(), |ready| because(Healthy, ready))
}

/// Koperator: every broker configured and grown gracefully, then the cluster and Cruise Control.
pub(super) fn koperator(view: View<'_>) -> HealthStatus {
    if view.is_empty("status.brokersState") {
        return view.waiting();
    }
    let is_well = |broker: View<'_>| {
        let graceful = broker.text("gracefulActionState.cruiseControlState");
        broker.text("configurationState") == "ConfigInSync"
            && (graceful.is_empty() || graceful.ends_with("Succeeded"))
    };
    let unwell = view.values("status.brokersState").filter(|broker| !is_well(*broker)).count();
    if unwell > 0 {
        return told(Degraded, format!("{unwell} brokers are not in sync"));
    }
    let (state, topic) = (view.text("status.state"), view.text("status.cruiseControlTopicStatus"));
    if state == "ClusterRunning" && topic == "CruiseControlTopicReady" {
        return told(Healthy, "brokers, Cruise Control and cluster are in sync");
    }
    told(Progressing, format!("the cluster is {state}, Cruise Control is {topic}"))
}

/// Objects inside of RabbitMQ; without a condition nothing is known of them.
pub(super) fn rabbitmq_object(view: View<'_>) -> HealthStatus {
    let conditions = view.conditions();
    match conditions.get("Ready") {
        Some(ready) if ready.is_true() => because(Healthy, ready),
        Some(ready) if ready.is_false() => because(Degraded, ready),
        _ => told(Unknown, format!("the state of {} is not known", view.kind())),
    }
}

pub(super) fn rabbitmq_cluster(view: View<'_>) -> HealthStatus {
    let conditions = view.conditions();
    if let Some(failed) = conditions.find("ReconcileSuccess", "False") {
        return because(Degraded, failed);
    }
    let parts = ["ClusterAvailable", "AllReplicasReady"];
    match parts.iter().find(|kind| !conditions.is_true(kind)) {
        None => told(Healthy, "RabbitMQ is available"),
        Some(kind) => {
            conditions.get(kind).map_or_else(|| view.waiting(), |condition| because(Progressing, condition))
        }
    }
}

/// Rook's Cassandra: all members of all racks.
pub(super) fn cassandra(view: View<'_>) -> HealthStatus {
    if view.is_empty("status.racks") {
        return view.waiting();
    }
    let sum =
        |field: &str| view.values("status.racks").map(|rack| rack.count(field)).fold(0, i64::saturating_add);
    let declared =
        view.items("spec.datacenter.racks").map(|rack| rack.count("members")).fold(0, i64::saturating_add);
    let (members, ready) = (sum("members").max(declared), sum("readyMembers"));
    told(
        if ready < members { Progressing } else { Healthy },
        format!("{ready} of {members} members are ready"),
    )
}

pub(super) fn solr(view: View<'_>) -> HealthStatus {
    if !view.has("status") {
        return view.waiting();
    }
    let wanted = view.number("spec.replicas").unwrap_or_else(|| view.count("status.replicas"));
    let ready = view.count("status.readyReplicas");
    let stale = view
        .items("status.solrNodes")
        .any(|node| !node.is("ready") || node.flag("specUpToDate") == Some(false));
    let code = if ready < wanted || stale { Progressing } else { Healthy };
    told(code, format!("{ready} of {wanted} nodes are ready"))
}

pub(super) fn zookeeper(view: View<'_>) -> HealthStatus {
    let conditions = view.conditions();
    if let Some(failed) = conditions.find("Error", "True") {
        return because(Degraded, failed);
    }
    if let Some(upgrading) = conditions.find("Upgrading", "True") {
        return because(Progressing, upgrading);
    }
    let Some(ready) = view.number("status.readyReplicas") else {
        return view.waiting();
    };
    let wanted = view.number("spec.replicas").unwrap_or_else(|| view.count("status.replicas"));
    told(if ready < wanted { Progressing } else { Healthy }, format!("{ready} of {wanted} members are ready"))
}

/// Ceph's own verdict, with what it warns of.
pub(super) fn ceph_cluster(view: View<'_>) -> HealthStatus {
    let warnings = view.values("status.ceph.details").map(|detail| detail.text("message"));
    let warnings: Vec<&str> = warnings.filter(|message| !message.is_empty()).collect();
    let message =
        if warnings.is_empty() { view.text("status.message").to_owned() } else { warnings.join(", ") };
    match view.text("status.ceph.health") {
        "HEALTH_OK" => told(Healthy, message),
        "HEALTH_WARN" | "HEALTH_ERR" => told(Degraded, message),
        _ if view.text("status.phase") == "Failure" || view.text("status.state") == "Error" => {
            told(Degraded, message)
        }
        _ => view.waiting(),
    }
}
