//! A sync that somebody asked for, how far it is, and what came of it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ApplicationSource, Info, ManagedNamespaceMetadata, SyncPolicy};
use crate::api::{
    Time, omit,
    retry::RetryStrategy,
    string_enum::{lenient, string_enum},
};

/// A request: written to `operation`, cleared when it is done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Operation {
    /// Notes for people.
    #[serde(skip_serializing_if = "omit::zero")]
    pub info: Vec<Info>,
    /// Who asked.
    #[serde(skip_serializing_if = "omit::zero")]
    pub initiated_by: OperationInitiator,
    /// How it is tried again when it fails.
    #[serde(skip_serializing_if = "omit::zero")]
    pub retry: RetryStrategy,
    /// What to sync; the only kind of operation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sync: Option<SyncOperation>,
}

impl Operation {
    /// Whether this is the request that `recorded` began with. What is on record may have changed since: an attempt
    /// that takes the newest revision forgets the one that was asked for, and an automated operation is the agent's
    /// alone, one at a time.
    pub fn is_request_of(&self, recorded: &Self) -> bool {
        if self.initiated_by.automated && recorded.initiated_by.automated {
            return true;
        }
        let mut asked = self.clone();
        if recorded.retry.refresh
            && let (Some(asked), Some(recorded)) = (&mut asked.sync, &recorded.sync)
        {
            asked.revision.clone_from(&recorded.revision);
            asked.revisions.clone_from(&recorded.revisions);
        }
        asked == *recorded
    }
}

/// Who asked for an operation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct OperationInitiator {
    /// Whether the automated policy did.
    #[serde(skip_serializing_if = "omit::zero")]
    pub automated: bool,
    /// The user's name.
    #[serde(skip_serializing_if = "omit::zero")]
    pub username: String,
}

/// A sync.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct SyncOperation {
    /// How many times in a row drift was put back.
    #[serde(skip_serializing_if = "omit::zero")]
    pub auto_heal_attempts_count: i64,
    /// Show what would happen and write nothing.
    #[serde(skip_serializing_if = "omit::zero")]
    pub dry_run: bool,
    /// Manifests to sync in place of the source's.
    #[serde(skip_serializing_if = "omit::zero")]
    pub manifests: Vec<String>,
    /// Delete what the source no longer has.
    #[serde(skip_serializing_if = "omit::zero")]
    pub prune: bool,
    /// The only objects to sync; empty means all.
    #[serde(skip_serializing_if = "omit::zero")]
    pub resources: Vec<SyncOperationResource>,
    /// The revision to sync in place of the source's.
    #[serde(skip_serializing_if = "omit::zero")]
    pub revision: String,
    /// The same for several sources.
    #[serde(skip_serializing_if = "omit::zero")]
    pub revisions: Vec<String>,
    /// The source to sync in place of the spec's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<ApplicationSource>,
    /// The same for several sources.
    #[serde(skip_serializing_if = "omit::zero")]
    pub sources: Vec<ApplicationSource>,
    /// Options, each `Key=value`. Those of the spec are not added.
    #[serde(skip_serializing_if = "omit::zero")]
    pub sync_options: Vec<String>,
    /// Whether hooks run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sync_strategy: Option<SyncStrategy>,
}

impl SyncOperation {
    /// Whether only some objects are synced: then hooks do not run and no history is kept.
    pub fn is_selective(&self) -> bool {
        !self.resources.is_empty()
    }
}

/// Whether hooks run; they do when nothing is set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct SyncStrategy {
    /// Apply only: no hooks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub apply: Option<SyncStrategyApply>,
    /// Apply and run hooks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hook: Option<SyncStrategyHook>,
}

/// Options of syncing without hooks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct SyncStrategyApply {
    /// Delete and create again where an update is refused.
    #[serde(skip_serializing_if = "omit::zero")]
    pub force: bool,
}

/// Options of syncing with hooks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct SyncStrategyHook {
    /// Delete and create again where an update is refused.
    #[serde(skip_serializing_if = "omit::zero")]
    pub force: bool,
}

/// One object of a selective sync.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(extend("required" = ["kind", "name"]))]
pub struct SyncOperationResource {
    /// API group; empty for the core group.
    #[serde(skip_serializing_if = "omit::zero")]
    pub group: String,
    /// Kind.
    pub kind: String,
    /// Name.
    pub name: String,
    /// Namespace; empty means any.
    #[serde(skip_serializing_if = "omit::zero")]
    pub namespace: String,
}

string_enum! {
    /// How far an operation, a hook or an object's apply is.
    pub enum OperationPhase, otherwise Error {
        /// In progress, or waiting for its next attempt.
        Running = "Running",
        /// Somebody asked for it to stop.
        Terminating = "Terminating",
        /// Everything was done.
        Succeeded = "Succeeded",
        /// Something was refused or became unhealthy.
        Failed = "Failed",
        /// It could not be carried out.
        Error = "Error",
    }
}

impl OperationPhase {
    /// Whether nothing more will happen.
    pub fn is_completed(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Error)
    }
}

/// How far the last operation is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(extend("required" = ["operation", "phase", "startedAt"]))]
pub struct OperationState {
    /// When it ended; with phase `Running`, when the attempt ended that is to be repeated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Time>,
    /// What happened, for people.
    #[serde(skip_serializing_if = "omit::zero")]
    pub message: String,
    /// What was asked for.
    pub operation: Operation,
    /// How far it is.
    pub phase: OperationPhase,
    /// How many times it was tried again.
    #[serde(skip_serializing_if = "omit::zero")]
    pub retry_count: i64,
    /// When it began.
    pub started_at: Time,
    /// What came of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sync_result: Option<SyncOperationResult>,
}

impl OperationState {
    /// Whether an attempt failed and the next one is due later.
    pub fn is_waiting_for_retry(&self) -> bool {
        self.phase == OperationPhase::Running && self.finished_at.is_some()
    }
}

/// What came of a sync.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(extend("required" = ["revision"]))]
pub struct SyncOperationResult {
    /// The namespace metadata that was applied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub managed_namespace_metadata: Option<ManagedNamespaceMetadata>,
    /// Each object's result.
    #[serde(skip_serializing_if = "omit::zero")]
    pub resources: Vec<ResourceResult>,
    /// The commit that was synced.
    pub revision: String,
    /// The same for several sources.
    #[serde(skip_serializing_if = "omit::zero")]
    pub revisions: Vec<String>,
    /// The source that was synced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<ApplicationSource>,
    /// The same for several sources.
    #[serde(skip_serializing_if = "omit::zero")]
    pub sources: Vec<ApplicationSource>,
}

string_enum! {
    /// What came of one object's sync.
    pub enum ResultCode, otherwise SyncFailed {
        /// Applied.
        Synced = "Synced",
        /// Refused.
        SyncFailed = "SyncFailed",
        /// Deleted.
        Pruned = "Pruned",
        /// Not deleted, though the source no longer has it.
        PruneSkipped = "PruneSkipped",
    }
}

string_enum! {
    /// The part of a sync that an object or hook belongs to, in order.
    pub enum SyncPhase, otherwise Sync {
        /// Before the manifests.
        PreSync = "PreSync",
        /// With the manifests.
        Sync = "Sync",
        /// When all manifests are healthy.
        PostSync = "PostSync",
        /// When the sync failed.
        SyncFail = "SyncFail",
    }
}

string_enum! {
    /// When a hook runs.
    pub enum HookType, otherwise Skip {
        /// Before the manifests.
        PreSync = "PreSync",
        /// With the manifests.
        Sync = "Sync",
        /// When all manifests are healthy.
        PostSync = "PostSync",
        /// When the sync failed.
        SyncFail = "SyncFail",
        /// Never.
        Skip = "Skip",
        /// Before the Application's objects are deleted.
        PreDelete = "PreDelete",
        /// After the Application's objects were deleted.
        PostDelete = "PostDelete",
    }
}

/// What came of one object's sync.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(extend("required" = ["group", "kind", "name", "namespace", "version"]))]
pub struct ResourceResult {
    /// API group.
    pub group: String,
    /// How far it is, for objects as for hooks.
    #[serde(deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub hook_phase: Option<OperationPhase>,
    /// When the hook runs; absent for an object that is none.
    #[serde(deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub hook_type: Option<HookType>,
    /// Images of the object's containers.
    #[serde(skip_serializing_if = "omit::zero")]
    pub images: Vec<String>,
    /// Kind.
    pub kind: String,
    /// What happened, for people.
    #[serde(skip_serializing_if = "omit::zero")]
    pub message: String,
    /// Name.
    pub name: String,
    /// Namespace.
    pub namespace: String,
    /// What came of it; absent while it is pending.
    #[serde(deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub status: Option<ResultCode>,
    /// The part of the sync that it belongs to.
    #[serde(deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub sync_phase: Option<SyncPhase>,
    /// API version.
    pub version: String,
}

/// How a failed automated sync is tried again when the policy does not say.
pub const DEFAULT_AUTOMATED_RETRY_LIMIT: i64 = 5;

impl SyncPolicy {
    /// How a failed automated sync is tried again: as the policy says, else five times.
    pub fn automated_retry(&self) -> RetryStrategy {
        self.retry.clone().unwrap_or_else(|| RetryStrategy {
            limit: DEFAULT_AUTOMATED_RETRY_LIMIT,
            ..RetryStrategy::default()
        })
    }
}
