//! What Skiff knows of an Application.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    ApplicationDestination, ApplicationSource, ApplicationSourceType, OperationInitiator, OperationState,
    ResourceIgnoreDifferences, SourceHydratorStatus,
};
use crate::{
    api::{
        HealthStatus, HealthStatusCode, Time, omit,
        string_enum::{lenient, string_enum},
    },
    object::ObjectKey,
};

/// What Skiff knows of an Application.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct ApplicationStatus {
    /// Problems and warnings.
    #[serde(skip_serializing_if = "omit::zero")]
    pub conditions: Vec<ApplicationCondition>,
    /// The namespace that the agent runs in.
    #[serde(skip_serializing_if = "omit::zero")]
    pub controller_namespace: String,
    /// How well the Application runs; absent until it was judged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthStatus>,
    /// Past syncs, oldest first.
    #[serde(skip_serializing_if = "omit::zero")]
    pub history: Vec<RevisionHistory>,
    /// No longer written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_at: Option<Time>,
    /// How far the last operation is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation_state: Option<OperationState>,
    /// When the Application was last compared with the newest revision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reconciled_at: Option<Time>,
    /// Where the resources' health is kept: `appTree`, or empty for `resources`.
    #[serde(skip_serializing_if = "omit::zero")]
    pub resource_health_source: String,
    /// The managed objects.
    #[serde(skip_serializing_if = "omit::zero")]
    pub resources: Vec<ResourceStatus>,
    /// The state of the hydrator.
    #[serde(skip_serializing_if = "omit::zero")]
    pub source_hydrator: SourceHydratorStatus,
    /// The tool that rendered the source.
    #[serde(deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub source_type: Option<ApplicationSourceType>,
    /// The same for several sources.
    #[serde(skip_serializing_if = "omit::zero")]
    pub source_types: Vec<ApplicationSourceType>,
    /// What the objects add up to.
    #[serde(skip_serializing_if = "omit::zero")]
    pub summary: ApplicationSummary,
    /// Whether the cluster has what the source declares; absent until it was compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sync: Option<SyncStatus>,
}

impl ApplicationStatus {
    /// Whether the cluster has what the source declares; `Unknown` before the first comparison.
    pub fn sync_code(&self) -> SyncStatusCode {
        self.sync.as_ref().map_or(SyncStatusCode::Unknown, |sync| sync.status)
    }

    /// How well the Application runs; `Unknown` before the first judgement.
    pub fn health_code(&self) -> HealthStatusCode {
        self.health.as_ref().map_or(HealthStatusCode::Unknown, |health| health.status)
    }

    /// Adds a history entry with the next id and drops the oldest beyond `limit`.
    pub fn push_history(&mut self, mut entry: RevisionHistory, limit: usize) {
        entry.id = self.history.last().map_or(0, |last| last.id + 1);
        self.history.push(entry);
        let surplus = self.history.len().saturating_sub(limit);
        self.history.drain(..surplus);
    }
}

/// A problem or a warning.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(extend("required" = ["message", "type"]))]
pub struct ApplicationCondition {
    /// When it was first seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_transition_time: Option<Time>,
    /// What is wrong, for people.
    pub message: String,
    /// One of the types in [`crate::api::names`]; its suffix says how bad it is.
    #[serde(rename = "type")]
    pub condition_type: String,
}

impl ApplicationCondition {
    /// A condition whose time is filled in when it is set.
    pub fn new(condition_type: impl Into<String>, message: impl Into<String>) -> Self {
        Self { condition_type: condition_type.into(), message: message.into(), last_transition_time: None }
    }

    /// Whether this is an error rather than a warning or a note.
    pub fn is_error(&self) -> bool {
        self.condition_type.ends_with("Error")
    }
}

string_enum! {
    /// Whether the cluster has what the source declares, from best to worst.
    pub enum SyncStatusCode, otherwise Unknown {
        /// It has.
        Synced = "Synced",
        /// It has not.
        OutOfSync = "OutOfSync",
        /// Could not be compared.
        Unknown = "Unknown",
    }
}

/// Whether the cluster has what the source declares.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(extend("required" = ["status"]))]
pub struct SyncStatus {
    /// The part of the spec that was compared.
    #[serde(skip_serializing_if = "omit::zero")]
    pub compared_to: ComparedTo,
    /// The commit that was compared.
    #[serde(skip_serializing_if = "omit::zero")]
    pub revision: String,
    /// The same for several sources.
    #[serde(skip_serializing_if = "omit::zero")]
    pub revisions: Vec<String>,
    /// The answer.
    pub status: SyncStatusCode,
}

/// The part of a spec that decides what is compared.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(extend("required" = ["destination"]))]
pub struct ComparedTo {
    /// The destination.
    pub destination: ApplicationDestination,
    /// The ignored fields.
    #[serde(skip_serializing_if = "omit::zero")]
    pub ignore_differences: Vec<ResourceIgnoreDifferences>,
    /// The source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<ApplicationSource>,
    /// Several sources.
    #[serde(skip_serializing_if = "omit::zero")]
    pub sources: Vec<ApplicationSource>,
}

/// A managed object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct ResourceStatus {
    /// API group; empty for the core group.
    #[serde(skip_serializing_if = "omit::zero")]
    pub group: String,
    /// How well it runs; absent when its kind has no health.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthStatus>,
    /// Whether it is a hook.
    #[serde(skip_serializing_if = "omit::zero")]
    pub hook: bool,
    /// Kind.
    #[serde(skip_serializing_if = "omit::zero")]
    pub kind: String,
    /// Name.
    #[serde(skip_serializing_if = "omit::zero")]
    pub name: String,
    /// Namespace; empty for a cluster-scoped object.
    #[serde(skip_serializing_if = "omit::zero")]
    pub namespace: String,
    /// Whether somebody has to confirm its deletion.
    #[serde(skip_serializing_if = "omit::zero")]
    pub requires_deletion_confirmation: bool,
    /// Whether the source no longer has it.
    #[serde(skip_serializing_if = "omit::zero")]
    pub requires_pruning: bool,
    /// Whether the cluster has what the source declares; absent for hooks.
    #[serde(deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub status: Option<SyncStatusCode>,
    /// The wave in which it is synced.
    #[serde(skip_serializing_if = "omit::zero")]
    pub sync_wave: i64,
    /// API version.
    #[serde(skip_serializing_if = "omit::zero")]
    pub version: String,
}

impl ResourceStatus {
    /// The object's identity.
    pub fn key(&self) -> ObjectKey {
        ObjectKey::new(&self.group, &self.kind, &self.namespace, &self.name)
    }
}

/// What an Application's objects add up to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct ApplicationSummary {
    /// Addresses under which the Application can be reached.
    #[serde(rename = "externalURLs", skip_serializing_if = "omit::zero")]
    pub external_urls: Vec<String>,
    /// Images of all containers.
    #[serde(skip_serializing_if = "omit::zero")]
    pub images: Vec<String>,
    /// Whether it has Applications among its objects.
    #[serde(skip_serializing_if = "omit::zero")]
    pub is_app_of_apps: bool,
}

/// A past sync.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(extend("required" = ["deployedAt", "id"]))]
pub struct RevisionHistory {
    /// When the sync began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deploy_started_at: Option<Time>,
    /// When it succeeded.
    pub deployed_at: Time,
    /// A number that grows by one with every entry.
    pub id: i64,
    /// Who asked for it.
    #[serde(skip_serializing_if = "omit::zero")]
    pub initiated_by: OperationInitiator,
    /// The commit.
    #[serde(skip_serializing_if = "omit::zero")]
    pub revision: String,
    /// The same for several sources.
    #[serde(skip_serializing_if = "omit::zero")]
    pub revisions: Vec<String>,
    /// The source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<ApplicationSource>,
    /// The same for several sources.
    #[serde(skip_serializing_if = "omit::zero")]
    pub sources: Vec<ApplicationSource>,
}
