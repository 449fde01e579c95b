//! Which kinds a cluster serves.
//!
//! Two requests (aggregated discovery) tell all kinds; a server that cannot aggregate is asked group by group. A
//! group whose server is down is remembered as unavailable: "no such kind" and "cannot know" are different answers,
//! since only the first one may ever lead to a decision about an object.

use std::collections::{BTreeMap, HashMap};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::APIResourceList;
use kube::{Client, core::ApiResource, core::discovery::v2::APIGroupDiscoveryList};

use super::{ClusterError, Timeouts};
use crate::object::{GroupKind, Gvk, Scope};

/// One kind in one version, as the cluster serves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KindInfo {
    /// What the client needs to address it.
    pub resource: ApiResource,
    /// Whether its objects live in namespaces.
    pub scope: Scope,
    /// Whether it can be listed and watched.
    pub watchable: bool,
    /// Whether status is written through a subresource.
    pub status_subresource: bool,
}

/// All kinds of a cluster at one moment.
#[derive(Clone, Debug, Default)]
pub struct Kinds {
    kinds: HashMap<Gvk, KindInfo>,
    preferred: HashMap<GroupKind, String>,
    unavailable: BTreeMap<String, String>,
}

impl Kinds {
    /// Looks a kind up.
    ///
    /// # Errors
    /// [`ClusterError::UnknownKind`], or [`ClusterError::GroupUnavailable`] when its group cannot be discovered now.
    pub fn get(&self, gvk: &Gvk) -> Result<&KindInfo, ClusterError> {
        if let Some(info) = self.kinds.get(gvk) {
            return Ok(info);
        }
        self.available(&gvk.group)?;
        Err(ClusterError::UnknownKind { gvk: gvk.clone() })
    }

    /// Every kind once, in the version that the cluster prefers.
    pub fn each_preferred(&self) -> impl Iterator<Item = (&Gvk, &KindInfo)> {
        self.kinds.iter().filter(|(gvk, _)| self.preferred.get(&gvk.group_kind()) == Some(&gvk.version))
    }

    /// The version that the cluster prefers for a kind; `None` when it has no such kind.
    ///
    /// # Errors
    /// [`ClusterError::GroupUnavailable`] when that cannot be known now.
    pub fn preferred(&self, kind: &GroupKind) -> Result<Option<Gvk>, ClusterError> {
        let Some(version) = self.preferred.get(kind) else {
            return self.available(&kind.group).map(|()| None);
        };
        Ok(Some(Gvk::new(&kind.group, version, &kind.kind)))
    }

    /// Whether every group could be discovered.
    pub fn are_complete(&self) -> bool {
        self.unavailable.is_empty()
    }

    fn available(&self, group: &str) -> Result<(), ClusterError> {
        let Some(reason) = self.unavailable.get(group) else { return Ok(()) };
        Err(ClusterError::GroupUnavailable { group: group.to_owned(), reason: reason.clone() })
    }

    /// Adds one kind that is not served yet but will be: that of a CustomResourceDefinition in the same sync.
    pub fn with_expected(mut self, gvk: Gvk, plural: &str, scope: Scope) -> Self {
        let resource = ApiResource {
            group: gvk.group.clone(),
            version: gvk.version.clone(),
            api_version: gvk.api_version(),
            kind: gvk.kind.clone(),
            plural: plural.to_owned(),
        };
        let info = KindInfo { resource, scope, watchable: false, status_subresource: false };
        self.kinds.entry(gvk).or_insert(info);
        self
    }

    fn add(&mut self, gvk: Gvk, plural: &str, scope: Scope, verbs: &[String], status_subresource: bool) {
        let resource = ApiResource {
            group: gvk.group.clone(),
            version: gvk.version.clone(),
            api_version: gvk.api_version(),
            kind: gvk.kind.clone(),
            plural: plural.to_owned(),
        };
        let has = |verb: &str| verbs.iter().any(|v| v == verb);
        let watchable = has("list") && has("watch");
        self.preferred.entry(gvk.group_kind()).or_insert_with(|| gvk.version.clone());
        self.kinds.entry(gvk).or_insert(KindInfo { resource, scope, watchable, status_subresource });
    }
}

/// Asks a cluster for all of its kinds.
///
/// # Errors
/// When the API server cannot be reached or refuses. A single group that fails is no error (see [`Kinds::get`]).
pub async fn discover(client: &Client, timeouts: Timeouts) -> Result<Kinds, ClusterError> {
    let read = async {
        let core = client.list_core_api_versions_aggregated().await?;
        let groups = client.list_api_groups_aggregated().await?;
        if core.items.is_empty() || groups.items.is_empty() {
            return one_by_one(client).await;
        }
        let mut kinds = Kinds::default();
        add_aggregated(&mut kinds, core);
        add_aggregated(&mut kinds, groups);
        Ok(kinds)
    };
    let (action, object) = ("discover", "the cluster's API".to_owned());
    match tokio::time::timeout(timeouts.read, read).await {
        Ok(Ok(kinds)) => Ok(kinds),
        Ok(Err(error)) => Err(ClusterError::from_kube(error, action, object, false)),
        Err(_) => Err(ClusterError::Timeout { action, object, limit: timeouts.read }),
    }
}

fn add_aggregated(kinds: &mut Kinds, list: APIGroupDiscoveryList) {
    for group in list.items {
        let name = group.metadata.and_then(|metadata| metadata.name).unwrap_or_default();
        for version in group.versions {
            let number = version.version.unwrap_or_default();
            if version.freshness.as_deref() == Some("Stale") {
                let reason = format!("version {number} is stale");
                kinds.unavailable.insert(name.clone(), reason);
            }
            for resource in version.resources {
                let (Some(plural), Some(response)) = (resource.resource, resource.response_kind) else {
                    continue;
                };
                let Some(kind) = response.kind else { continue };
                // Empty parts of a response kind are those of the list that it stands in.
                let part = |own: Option<String>, list: &str| {
                    own.filter(|own| !own.is_empty()).unwrap_or(list.to_owned())
                };
                let (group, gvk_version) = (part(response.group, &name), part(response.version, &number));
                let scope = scope(resource.scope.as_deref() == Some("Namespaced"));
                let status =
                    resource.subresources.iter().any(|sub| sub.subresource.as_deref() == Some("status"));
                kinds.add(Gvk::new(group, gvk_version, kind), &plural, scope, &resource.verbs, status);
            }
        }
    }
}

/// Discovery for servers that do not aggregate: a request for each version of each group.
async fn one_by_one(client: &Client) -> Result<Kinds, kube::Error> {
    let mut kinds = Kinds::default();
    for version in client.list_core_api_versions().await?.versions {
        let list = client.list_core_api_resources(&version).await?;
        add_plain(&mut kinds, "", &version, list);
    }
    for group in client.list_api_groups().await?.groups {
        let preferred = group.preferred_version.map(|version| version.version).unwrap_or_default();
        let mut versions = group.versions;
        versions.sort_by_key(|version| version.version != preferred);
        for version in versions {
            match client.list_api_group_resources(&version.group_version).await {
                Ok(list) => add_plain(&mut kinds, &group.name, &version.version, list),
                Err(error) => {
                    kinds.unavailable.insert(group.name.clone(), error.to_string());
                }
            }
        }
    }
    Ok(kinds)
}

fn add_plain(kinds: &mut Kinds, group: &str, version: &str, list: APIResourceList) {
    let with_status: Vec<String> = list
        .resources
        .iter()
        .filter_map(|resource| resource.name.strip_suffix("/status").map(str::to_owned))
        .collect();
    for resource in list.resources {
        if resource.name.contains('/') {
            continue;
        }
        let status = with_status.contains(&resource.name);
        let gvk = Gvk::new(group, version, resource.kind);
        kinds.add(gvk, &resource.name, scope(resource.namespaced), &resource.verbs, status);
    }
}

fn scope(namespaced: bool) -> Scope {
    if namespaced { Scope::Namespaced } else { Scope::Cluster }
}
