//! The source hydrator: manifests rendered into a branch, and synced from there.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    ApplicationSource, ApplicationSourceDirectory, ApplicationSourceHelm, ApplicationSourceKustomize,
    ApplicationSourcePlugin,
};
use crate::api::{Time, omit, string_enum::string_enum};

/// Renders manifests from one place into another and syncs from there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(extend("required" = ["drySource", "syncSource"]))]
pub struct SourceHydrator {
    /// What is rendered.
    pub dry_source: DrySource,
    /// Where rendered manifests are pushed first, for review.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hydrate_to: Option<HydrateTo>,
    /// What is synced.
    pub sync_source: SyncSource,
}

impl SourceHydrator {
    /// The source that is synced.
    pub fn effective_source(&self) -> ApplicationSource {
        let sync = &self.sync_source;
        let repo_url = if sync.repo_url.is_empty() { &self.dry_source.repo_url } else { &sync.repo_url };
        ApplicationSource {
            repo_url: repo_url.clone(),
            path: sync.path.clone(),
            target_revision: sync.target_branch.clone(),
            ..ApplicationSource::default()
        }
    }
}

/// What a hydrator renders.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(extend("required" = ["path", "repoURL", "targetRevision"]))]
pub struct DrySource {
    /// Options for a directory of plain manifests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub directory: Option<ApplicationSourceDirectory>,
    /// Options for Helm.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub helm: Option<ApplicationSourceHelm>,
    /// Options for Kustomize.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kustomize: Option<ApplicationSourceKustomize>,
    /// A directory in the repository.
    pub path: String,
    /// Options for a config management plugin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plugin: Option<ApplicationSourcePlugin>,
    /// The URL of the repository.
    #[serde(rename = "repoURL")]
    pub repo_url: String,
    /// A branch, tag or commit.
    pub target_revision: String,
}

/// What is synced when a hydrator is used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(extend("required" = ["path", "targetBranch"]))]
pub struct SyncSource {
    /// A directory in the repository, never its root.
    #[schemars(extend("minLength" = 1, "pattern" = "^.{2,}|[^./]$"))]
    pub path: String,
    /// The URL of the repository; by default that of the dry source.
    #[serde(rename = "repoURL", skip_serializing_if = "omit::zero")]
    pub repo_url: String,
    /// The branch.
    pub target_branch: String,
}

/// Where rendered manifests are pushed first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(extend("required" = ["targetBranch"]))]
pub struct HydrateTo {
    /// The branch.
    pub target_branch: String,
}

string_enum! {
    /// How far a hydration is.
    pub enum HydrateOperationPhase, otherwise Failed {
        /// Rendering and pushing.
        Hydrating = "Hydrating",
        /// Failed.
        Failed = "Failed",
        /// Pushed.
        Hydrated = "Hydrated",
    }
}

/// The state of the hydrator.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct SourceHydratorStatus {
    /// The hydration that runs or ran last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current_operation: Option<Box<HydrateOperation>>,
    /// The newest revision of the dry source that was looked at.
    #[serde(skip_serializing_if = "omit::zero")]
    pub last_compared_dry_revision: String,
    /// The last hydration that succeeded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_successful_operation: Option<Box<SuccessfulHydrateOperation>>,
}

/// A hydration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(extend("required" = ["message", "phase"]))]
pub struct HydrateOperation {
    /// The commit that was rendered.
    #[serde(rename = "drySHA", skip_serializing_if = "omit::zero")]
    pub dry_sha: String,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Time>,
    /// The commit that was pushed.
    #[serde(rename = "hydratedSHA", skip_serializing_if = "omit::zero")]
    pub hydrated_sha: String,
    /// What happened, for people.
    pub message: String,
    /// How far it is.
    #[schemars(extend("enum" = ["Hydrating", "Failed", "Hydrated"]))]
    pub phase: HydrateOperationPhase,
    /// The hydrator's spec at that time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_hydrator: Option<SourceHydrator>,
    /// When it began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
}

/// A hydration that succeeded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct SuccessfulHydrateOperation {
    /// The commit that was rendered.
    #[serde(rename = "drySHA", skip_serializing_if = "omit::zero")]
    pub dry_sha: String,
    /// The commit that was pushed.
    #[serde(rename = "hydratedSHA", skip_serializing_if = "omit::zero")]
    pub hydrated_sha: String,
    /// The hydrator's spec at that time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_hydrator: Option<SourceHydrator>,
}
