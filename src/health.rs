//! How well a live object runs: a function of the object alone.
//!
//! ```text
//! being deleted? ──▶ Progressing
//!      │ no
//!      ▼
//! the installation's own script for the kind ──▶ a health word and a message
//!      │ none
//!      ▼
//! the check of its group and kind, Kubernetes' own or an operator's ──▶ as Argo CD has them
//!      │ none
//!      ▼
//! no health: a ConfigMap neither runs nor fails
//! ```
//!
//! [`roll_up`] adds the healths of an Application's top-level objects up to its own. An object whose fields have the
//! wrong type cannot be judged: that is a [`HealthError`], which the caller shows as `Unknown` with the error's text.

mod autoscaling;
mod batch;
mod custom;
mod fields;
mod platform;
mod pod;
mod roll_up;
mod script;
mod workload;

pub use roll_up::{Part, roll_up};
pub use script::{Script, Scripts};

use crate::{
    api::{HealthStatus, HealthStatusCode, names},
    error::{Classified, ErrorKind},
    object::Object,
};

/// Why an object's health cannot be told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HealthError {
    /// A field that decides has the wrong type.
    #[error("cannot judge the health of {object}: field '{field}' must be {expected}")]
    WrongType {
        /// The object's identity.
        object: String,
        /// The field's path.
        field: String,
        /// What it must be.
        expected: &'static str,
    },
    /// The kind has a check, but not for this version.
    #[error("unsupported {kind} GVK: {gvk}: use {supported}")]
    UnsupportedVersion {
        /// The kind.
        kind: String,
        /// Group, version and kind as they are.
        gvk: String,
        /// The API version that is understood.
        supported: &'static str,
    },
    /// The installation's own check of the kind failed.
    #[error("{message}")]
    Script {
        /// The object's identity.
        object: String,
        /// What Lua says, with the line.
        message: String,
    },
}

impl Classified for HealthError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::User
    }
}

type Judgement = Result<HealthStatus, HealthError>;

/// Judges one live object by the checks that Skiff has. `None` when its kind has no health by itself.
///
/// # Errors
/// When a field that decides has the wrong type or the kind's version is not understood.
pub fn assess(object: &Object) -> Result<Option<HealthStatus>, HealthError> {
    Scripts::default().assess(object)
}

/// Whether an operator's kind is one that Skiff has a rule for.
pub fn is_custom_kind(group: &str, kind: &str) -> bool {
    custom::is_known(group, kind)
}

/// Whether objects of a kind have a health by themselves.
pub fn has_check(group: &str, kind: &str) -> bool {
    built_in(group, kind).is_some() || custom::is_known(group, kind)
}

/// The check of a kind, whether or not the object is being deleted.
fn by_kind(object: &Object) -> Result<Option<HealthStatus>, HealthError> {
    match built_in(object.group(), object.kind()) {
        Some(check) => check(object).map(Some),
        None => Ok(custom::judge(object)),
    }
}

type Check = fn(&Object) -> Judgement;

/// The check of one of Kubernetes' own kinds.
fn built_in(group: &str, kind: &str) -> Option<Check> {
    Some(match (group, kind) {
        ("apps", "Deployment") => workload::deployment,
        ("apps", "StatefulSet") => workload::stateful_set,
        ("apps", "DaemonSet") => workload::daemon_set,
        ("apps", "ReplicaSet") => workload::replica_set,
        ("", "Pod") => pod::pod,
        ("batch", "Job") => batch::job,
        ("batch", "CronJob") => batch::cron_job,
        ("", "PersistentVolumeClaim") => platform::persistent_volume_claim,
        ("", "Service") => platform::service,
        ("networking.k8s.io" | "extensions", "Ingress") => platform::ingress,
        ("autoscaling", "HorizontalPodAutoscaler") => autoscaling::horizontal_pod_autoscaler,
        ("apiregistration.k8s.io", "APIService") => platform::api_service,
        ("apiextensions.k8s.io", "CustomResourceDefinition") => platform::custom_resource_definition,
        ("policy", "PodDisruptionBudget") => platform::pod_disruption_budget,
        ("argoproj.io", "Workflow") => platform::workflow,
        _ => return None,
    })
}

fn pending_deletion() -> HealthStatus {
    progressing("Pending deletion")
}

fn has_hook_finalizer(object: &Object) -> bool {
    let finalizers = object.value().pointer("/metadata/finalizers").and_then(|list| list.as_array());
    finalizers.is_some_and(|list| list.iter().any(|finalizer| finalizer == names::FINALIZER_HOOK))
}

fn require_version(object: &Object, supported: &'static str) -> Result<(), HealthError> {
    if object.api_version() == supported {
        return Ok(());
    }
    Err(HealthError::UnsupportedVersion {
        kind: object.kind().to_owned(),
        gvk: object.gvk().to_string(),
        supported,
    })
}

fn healthy(message: impl Into<String>) -> HealthStatus {
    HealthStatus::new(HealthStatusCode::Healthy, message)
}

fn progressing(message: impl Into<String>) -> HealthStatus {
    HealthStatus::new(HealthStatusCode::Progressing, message)
}

fn degraded(message: impl Into<String>) -> HealthStatus {
    HealthStatus::new(HealthStatusCode::Degraded, message)
}

fn suspended(message: impl Into<String>) -> HealthStatus {
    HealthStatus::new(HealthStatusCode::Suspended, message)
}

fn unknown(message: impl Into<String>) -> HealthStatus {
    HealthStatus::new(HealthStatusCode::Unknown, message)
}

#[cfg(test)]
mod tests;
