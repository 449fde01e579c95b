//! What an Application declares: sources, destination, and how it is synced.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ApplicationSource, SourceHydrator};
use crate::api::{names, omit, retry::RetryStrategy};

/// How many history entries are kept when the spec does not say.
pub const DEFAULT_REVISION_HISTORY_LIMIT: usize = 10;

/// What an Application declares.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(extend("required" = ["destination", "project"]))]
pub struct ApplicationSpec {
    /// The cluster and namespace to write to.
    pub destination: ApplicationDestination,
    /// Fields that may differ without being drift.
    #[serde(skip_serializing_if = "omit::zero")]
    pub ignore_differences: Vec<ResourceIgnoreDifferences>,
    /// Notes for people.
    #[serde(skip_serializing_if = "omit::zero")]
    pub info: Vec<Info>,
    /// The AppProject that the Application belongs to; empty means `default`.
    pub project: String,
    /// How many history entries are kept; 10 by default, 0 keeps none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision_history_limit: Option<i64>,
    /// Where the manifests come from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<ApplicationSource>,
    /// Renders manifests into a branch and syncs from there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_hydrator: Option<Box<SourceHydrator>>,
    /// Several sources, which win over `source`.
    #[serde(skip_serializing_if = "omit::zero")]
    pub sources: Vec<ApplicationSource>,
    /// When and how syncs happen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sync_policy: Option<SyncPolicy>,
}

impl ApplicationSpec {
    /// The project's name: `default` when none is written.
    pub fn project_name(&self) -> &str {
        if self.project.is_empty() { names::DEFAULT_PROJECT } else { &self.project }
    }

    /// Whether the Application lists several sources (even if the list has one element).
    pub fn has_multiple_sources(&self) -> bool {
        self.source_hydrator.is_none() && !self.sources.is_empty()
    }

    /// The sources that are synced: those of the hydrator, else `sources`, else `source`.
    pub fn effective_sources(&self) -> Vec<ApplicationSource> {
        if let Some(hydrator) = &self.source_hydrator {
            return vec![hydrator.effective_source()];
        }
        if self.sources.is_empty() { self.source.iter().cloned().collect() } else { self.sources.clone() }
    }

    /// What is wrong with the sources, if anything, as `field: problem`.
    pub fn source_problem(&self) -> Option<String> {
        if self.has_multiple_sources() {
            return self.sources.iter().enumerate().find_map(|(index, source)| {
                Some(format!("spec.sources[{index}]: {}", source.problem(true)?))
            });
        }
        match self.effective_sources().first() {
            None => Some("spec.source: is missing: set 'repoURL' and 'path'".to_owned()),
            Some(source) => source.problem(false).map(|problem| format!("spec.source: {problem}")),
        }
    }

    /// The sync policy's options; none without a policy.
    pub fn sync_options(&self) -> &[String] {
        self.sync_policy.as_ref().map_or(&[], |policy| &policy.sync_options)
    }

    /// The automated policy if it is there and not switched off.
    pub fn automated(&self) -> Option<&SyncPolicyAutomated> {
        let automated = self.sync_policy.as_ref()?.automated.as_ref()?;
        automated.enabled.unwrap_or(true).then_some(automated)
    }

    /// How many history entries are kept.
    pub fn history_limit(&self) -> usize {
        match self.revision_history_limit {
            None => DEFAULT_REVISION_HISTORY_LIMIT,
            Some(limit) => usize::try_from(limit).unwrap_or(0),
        }
    }

    /// Writes what the defaults mean and takes away what says nothing, so that two spellings of one spec compare equal:
    /// an empty project becomes `default`, an empty sync policy and empty tool options disappear.
    ///
    /// Returns whether anything changed.
    pub fn normalize(&mut self) -> bool {
        let before = self.clone();
        if self.project.is_empty() {
            names::DEFAULT_PROJECT.clone_into(&mut self.project);
        }
        if self.sync_policy.as_ref().is_some_and(omit::zero) {
            self.sync_policy = None;
        }
        for source in self.source.iter_mut().chain(&mut self.sources) {
            source.kustomize.take_if(|options| omit::zero(options));
            source.helm.take_if(|options| omit::zero(options));
            source.directory.take_if(|options| omit::zero(options));
        }
        *self != before
    }
}

/// The cluster and namespace that an Application writes to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct ApplicationDestination {
    /// The cluster's name. Excludes `server`.
    #[serde(skip_serializing_if = "omit::zero")]
    pub name: String,
    /// The namespace for namespaced objects that name none.
    #[serde(skip_serializing_if = "omit::zero")]
    pub namespace: String,
    /// The URL of the cluster's API. Excludes `name`.
    #[serde(skip_serializing_if = "omit::zero")]
    pub server: String,
}

/// How a destination names its cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ClusterReference<'a> {
    /// By API URL, without a trailing `/`.
    Server(&'a str),
    /// By the name that its Secret gives it.
    Name(&'a str),
}

impl ApplicationDestination {
    /// How the cluster is named.
    ///
    /// # Errors
    /// A message when both `server` and `name` are set, or neither is.
    pub fn cluster(&self) -> Result<ClusterReference<'_>, String> {
        match (self.server.trim_end_matches('/'), self.name.as_str()) {
            ("", "") => Err(format!(
                "spec.destination: neither 'server' nor 'name' is set: set one of them, for the cluster that Skiff runs in 'server: {}'",
                names::IN_CLUSTER_SERVER
            )),
            (server, "") => Ok(ClusterReference::Server(server)),
            ("", name) => Ok(ClusterReference::Name(name)),
            (server, name) => Err(format!(
                "spec.destination: both 'server' ({server}) and 'name' ({name}) are set: remove one of them"
            )),
        }
    }

    /// Whether this is the cluster that Skiff runs in, by URL or by name.
    pub fn is_in_cluster(&self) -> bool {
        matches!(
            self.cluster(),
            Ok(ClusterReference::Server(names::IN_CLUSTER_SERVER)
                | ClusterReference::Name(names::IN_CLUSTER_NAME))
        )
    }
}

/// Fields of some objects that may differ without being drift.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(extend("required" = ["kind"]))]
pub struct ResourceIgnoreDifferences {
    /// API group; empty for the core group, a glob otherwise.
    #[serde(skip_serializing_if = "omit::zero")]
    pub group: String,
    /// Paths in jq's language.
    #[serde(skip_serializing_if = "omit::zero")]
    pub jq_path_expressions: Vec<String>,
    /// Paths as JSON pointers.
    #[serde(skip_serializing_if = "omit::zero")]
    pub json_pointers: Vec<String>,
    /// Kind, a glob.
    pub kind: String,
    /// Managers whose fields are left to them.
    #[serde(skip_serializing_if = "omit::zero")]
    pub managed_fields_managers: Vec<String>,
    /// Name; empty means all.
    #[serde(skip_serializing_if = "omit::zero")]
    pub name: String,
    /// Namespace; empty means all.
    #[serde(skip_serializing_if = "omit::zero")]
    pub namespace: String,
}

/// A note for people.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(extend("required" = ["name", "value"]))]
pub struct Info {
    /// Name.
    pub name: String,
    /// Value.
    pub value: String,
}

/// When and how syncs happen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct SyncPolicy {
    /// Syncs without being asked, when present and not switched off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub automated: Option<SyncPolicyAutomated>,
    /// Labels and annotations of a namespace made by `CreateNamespace=true`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub managed_namespace_metadata: Option<ManagedNamespaceMetadata>,
    /// How failed syncs are tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetryStrategy>,
    /// Options, each `Key=value`.
    #[serde(skip_serializing_if = "omit::zero")]
    pub sync_options: Vec<String>,
}

/// Syncing without being asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct SyncPolicyAutomated {
    /// Let a sync delete everything; false by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_empty: Option<bool>,
    /// False switches automated syncs off; true by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Delete what the source no longer has; false by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prune: Option<bool>,
    /// Put back what was changed in the cluster; false by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub self_heal: Option<bool>,
}

impl SyncPolicyAutomated {
    /// Whether a sync may delete everything.
    pub fn allows_empty(&self) -> bool {
        self.allow_empty.unwrap_or(false)
    }

    /// Whether syncs delete what the source no longer has.
    pub fn prunes(&self) -> bool {
        self.prune.unwrap_or(false)
    }

    /// Whether changes in the cluster are put back.
    pub fn heals(&self) -> bool {
        self.self_heal.unwrap_or(false)
    }
}

/// Labels and annotations of a namespace made by `CreateNamespace=true`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct ManagedNamespaceMetadata {
    /// Annotations.
    #[serde(skip_serializing_if = "omit::zero")]
    pub annotations: BTreeMap<String, String>,
    /// Labels.
    #[serde(skip_serializing_if = "omit::zero")]
    pub labels: BTreeMap<String, String>,
}
