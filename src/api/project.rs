//! What an AppProject declares: what its Applications may use and do. The rules themselves are in `project`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::omit;

/// What an AppProject declares.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct AppProjectSpec {
    /// Cluster-scoped kinds that are refused.
    #[serde(skip_serializing_if = "omit::zero")]
    pub cluster_resource_blacklist: Vec<ClusterResourceRestrictionItem>,
    /// Cluster-scoped kinds that are permitted; none when empty.
    #[serde(skip_serializing_if = "omit::zero")]
    pub cluster_resource_whitelist: Vec<ClusterResourceRestrictionItem>,
    /// What the project is for.
    #[serde(skip_serializing_if = "omit::zero")]
    #[schemars(extend("maxLength" = 255))]
    pub description: String,
    /// Service accounts to act as, by destination.
    #[serde(skip_serializing_if = "omit::zero")]
    pub destination_service_accounts: Vec<ApplicationDestinationServiceAccount>,
    /// Clusters and namespaces that are permitted; none when empty. A leading `!` refuses.
    #[serde(skip_serializing_if = "omit::zero")]
    pub destinations: Vec<ProjectDestination>,
    /// Namespaced kinds that are refused.
    #[serde(skip_serializing_if = "omit::zero")]
    pub namespace_resource_blacklist: Vec<GroupKindItem>,
    /// Namespaced kinds that are permitted: all when absent, none when empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace_resource_whitelist: Option<Vec<GroupKindItem>>,
    /// Looks for objects in the destination namespaces that no Application declares.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub orphaned_resources: Option<OrphanedResourcesMonitorSettings>,
    /// Permit only clusters whose Secret names this project.
    #[serde(skip_serializing_if = "omit::zero")]
    pub permit_only_project_scoped_clusters: bool,
    /// Roles with their policies and tokens.
    #[serde(skip_serializing_if = "omit::zero")]
    pub roles: Vec<ProjectRole>,
    /// Keys that commits must be signed with; superseded by `sourceIntegrity`.
    #[serde(skip_serializing_if = "omit::zero")]
    pub signature_keys: Vec<SignatureKey>,
    /// Which commits are trusted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_integrity: Option<SourceIntegrity>,
    /// Namespaces whose Applications may use the project; the agent's own always may.
    #[serde(skip_serializing_if = "omit::zero")]
    pub source_namespaces: Vec<String>,
    /// Repositories that are permitted; none when empty. A leading `!` refuses.
    #[serde(skip_serializing_if = "omit::zero")]
    pub source_repos: Vec<String>,
    /// When syncs may happen.
    #[serde(skip_serializing_if = "omit::zero")]
    pub sync_windows: Vec<SyncWindow>,
}

impl AppProjectSpec {
    /// Adds the rules of a project that this one inherits from.
    pub fn inherit(&mut self, from: Self) {
        self.cluster_resource_whitelist.extend(from.cluster_resource_whitelist);
        self.cluster_resource_blacklist.extend(from.cluster_resource_blacklist);
        if let Some(permitted) = from.namespace_resource_whitelist {
            self.namespace_resource_whitelist.get_or_insert_default().extend(permitted);
        }
        self.namespace_resource_blacklist.extend(from.namespace_resource_blacklist);
        self.sync_windows.extend(from.sync_windows);
        self.source_repos.extend(from.source_repos);
        self.destinations.extend(from.destinations);
        self.destination_service_accounts.extend(from.destination_service_accounts);
    }
}

/// A cluster-scoped kind, and perhaps a name. Globs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(extend("required" = ["group", "kind"]))]
pub struct ClusterResourceRestrictionItem {
    /// API group; empty for the core group.
    pub group: String,
    /// Kind.
    pub kind: String,
    /// Name; empty means all.
    #[serde(skip_serializing_if = "omit::zero")]
    pub name: String,
}

/// A kind in a group. Globs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(extend("required" = ["group", "kind"]))]
pub struct GroupKindItem {
    /// API group; empty for the core group.
    pub group: String,
    /// Kind.
    pub kind: String,
}

/// A cluster and a namespace that a project permits or, with a leading `!`, refuses. Globs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct ProjectDestination {
    /// The cluster's name.
    #[serde(skip_serializing_if = "omit::zero")]
    pub name: String,
    /// The namespace.
    #[serde(skip_serializing_if = "omit::zero")]
    pub namespace: String,
    /// The URL of the cluster's API.
    #[serde(skip_serializing_if = "omit::zero")]
    pub server: String,
}

/// The service account to act as at a destination.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(extend("required" = ["defaultServiceAccount", "server"]))]
pub struct ApplicationDestinationServiceAccount {
    /// The service account, `name` or `namespace:name`.
    pub default_service_account: String,
    /// The namespace, a glob.
    #[serde(skip_serializing_if = "omit::zero")]
    pub namespace: String,
    /// The URL of the cluster's API, a glob.
    pub server: String,
}

/// Looks for objects that no Application declares.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct OrphanedResourcesMonitorSettings {
    /// Objects that are left alone.
    #[serde(skip_serializing_if = "omit::zero")]
    pub ignore: Vec<OrphanedResourceKey>,
    /// Whether to set a condition; false by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warn: Option<bool>,
}

/// Objects that are no orphans. Globs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct OrphanedResourceKey {
    /// API group; empty for the core group.
    #[serde(skip_serializing_if = "omit::zero")]
    pub group: String,
    /// Kind; empty means all.
    #[serde(skip_serializing_if = "omit::zero")]
    pub kind: String,
    /// Name; empty means all.
    #[serde(skip_serializing_if = "omit::zero")]
    pub name: String,
}

/// A role: who may do what with the project's Applications.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(extend("required" = ["name"]))]
pub struct ProjectRole {
    /// What the role is for.
    #[serde(skip_serializing_if = "omit::zero")]
    pub description: String,
    /// Groups of the identity provider whose members have the role.
    #[serde(skip_serializing_if = "omit::zero")]
    pub groups: Vec<String>,
    /// Tokens that were made for the role.
    #[serde(rename = "jwtTokens", skip_serializing_if = "omit::zero")]
    pub jwt_tokens: Vec<JwtToken>,
    /// Name.
    pub name: String,
    /// Policies, each a line of `p, …`.
    #[serde(skip_serializing_if = "omit::zero")]
    pub policies: Vec<String>,
}

/// What is known of a role's token; never the token itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(extend("required" = ["iat"]))]
pub struct JwtToken {
    /// When it ends, in Unix seconds; 0 means never.
    #[serde(skip_serializing_if = "omit::zero")]
    pub exp: i64,
    /// When it was made, in Unix seconds.
    pub iat: i64,
    /// Id.
    #[serde(skip_serializing_if = "omit::zero")]
    pub id: String,
}

/// A key that commits must be signed with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(extend("required" = ["keyID"]))]
pub struct SignatureKey {
    /// The key's id.
    #[serde(rename = "keyID")]
    pub key_id: String,
}

/// Which sources are trusted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(extend("required" = ["git"]))]
pub struct SourceIntegrity {
    /// Which commits are trusted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub git: Option<SourceIntegrityGit>,
}

/// Which commits are trusted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(extend("required" = ["policies"]))]
pub struct SourceIntegrityGit {
    /// Policies; a repository must match no more than one.
    pub policies: Vec<SourceIntegrityGitPolicy>,
}

/// How the commits of some repositories are checked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(extend("required" = ["gpg", "repos"]))]
pub struct SourceIntegrityGitPolicy {
    /// The signature check.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpg: Option<SourceIntegrityGitPolicyGpg>,
    /// The repositories.
    pub repos: Vec<SourceIntegrityGitPolicyRepo>,
}

/// A signature check.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(extend("required" = ["keys", "mode"]))]
pub struct SourceIntegrityGitPolicyGpg {
    /// Trusted keys.
    pub keys: Vec<String>,
    /// `none`, `head` or `strict`.
    pub mode: String,
}

/// Repositories by URL.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(extend("required" = ["url"]))]
pub struct SourceIntegrityGitPolicyRepo {
    /// A glob; a leading `!` excludes.
    pub url: String,
}

/// When syncs may happen, or may not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct SyncWindow {
    /// Whether every list that is set must match rather than any.
    #[serde(skip_serializing_if = "omit::zero")]
    pub and_operator: bool,
    /// Applications that it is for. Globs.
    #[serde(skip_serializing_if = "omit::zero")]
    pub applications: Vec<String>,
    /// Clusters that it is for. Globs.
    #[serde(skip_serializing_if = "omit::zero")]
    pub clusters: Vec<String>,
    /// What the window is for.
    #[serde(skip_serializing_if = "omit::zero")]
    pub description: String,
    /// How long it is open, such as `1h30m`.
    #[serde(skip_serializing_if = "omit::zero")]
    pub duration: String,
    /// `allow` or `deny`.
    #[serde(skip_serializing_if = "omit::zero")]
    pub kind: String,
    /// Whether people may sync in spite of it.
    #[serde(skip_serializing_if = "omit::zero")]
    pub manual_sync: bool,
    /// Namespaces that it is for. Globs.
    #[serde(skip_serializing_if = "omit::zero")]
    pub namespaces: Vec<String>,
    /// When it opens, as a cron expression of five fields.
    #[serde(skip_serializing_if = "omit::zero")]
    pub schedule: String,
    /// Whether a sync that has begun may go on.
    #[serde(skip_serializing_if = "omit::zero")]
    pub sync_overrun: bool,
    /// The schedule's time zone; UTC by default.
    #[serde(skip_serializing_if = "omit::zero")]
    pub time_zone: String,
}

/// What Skiff knows of an AppProject.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct AppProjectStatus {
    /// The roles' tokens.
    #[serde(skip_serializing_if = "omit::zero")]
    pub jwt_tokens_by_role: BTreeMap<String, JwtTokens>,
}

/// The tokens of one role.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct JwtTokens {
    /// The tokens.
    #[serde(skip_serializing_if = "omit::zero")]
    pub items: Vec<JwtToken>,
}
