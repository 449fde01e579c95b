//! Which kinds the sandbox serves: the built-in ones of this table, and those that CRDs add.
//!
//! A [`Resource`] is one kind in one served version. All versions of a kind share one bucket of storage; `Event` is
//! served under two groups from one bucket.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::crd::CustomVersion;
use crate::object::{GroupKind, Gvk};

/// When `metadata.generation` grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generation {
    /// The kind has none.
    None,
    /// With any change outside of metadata and status.
    Counted,
}

/// Where the scale subresource finds its numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScalePaths {
    /// Dotted path of the wanted number of replicas, with a leading dot.
    pub spec_replicas: String,
    /// Dotted path of the observed number of replicas, with a leading dot.
    pub status_replicas: String,
    /// Dotted path of the label selector (a string, or a selector object for built-in kinds).
    pub selector: Option<String>,
}

/// What may be done with a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verbs {
    /// Everything.
    All,
    /// `create` only: reviews, which are answered and not stored.
    Create,
}

/// One kind in one version, as the API serves it.
#[derive(Clone, Debug)]
pub struct Resource {
    /// API group; empty for the core group.
    pub group: String,
    /// Version.
    pub version: String,
    /// Kind.
    pub kind: String,
    /// Kind of a list.
    pub list_kind: String,
    /// Name in paths.
    pub plural: String,
    /// Singular name.
    pub singular: String,
    /// Short names.
    pub short_names: Vec<String>,
    /// Categories such as `all`.
    pub categories: Vec<String>,
    /// Whether objects live in namespaces.
    pub namespaced: bool,
    /// Whether there is a status subresource.
    pub status: bool,
    /// The scale subresource.
    pub scale: Option<ScalePaths>,
    /// How generation counts.
    pub generation: Generation,
    /// What may be done.
    pub verbs: Verbs,
    /// The bucket that its objects live in.
    pub storage: GroupKind,
    /// The version that its objects are stored in.
    pub storage_version: String,
    /// What a CRD says of this version.
    pub custom: Option<Arc<CustomVersion>>,
}

impl Resource {
    /// Group, version and kind.
    pub fn gvk(&self) -> Gvk {
        Gvk::new(&self.group, &self.version, &self.kind)
    }

    /// `apiVersion` of its objects.
    pub fn api_version(&self) -> String {
        self.gvk().api_version()
    }

    /// Whether its objects can be deleted many at a time.
    pub fn has_collections(&self) -> bool {
        self.kind != "Namespace" || !self.group.is_empty()
    }

    /// `plural` or `plural.group`.
    pub fn qualified(&self) -> String {
        if self.group.is_empty() { self.plural.clone() } else { format!("{}.{}", self.plural, self.group) }
    }
}

/// One row of the table: group, version, kind, plural, short names, and flags (`N` namespaced, `s` status,
/// `S` scale, `g` generation, `a` category `all`, `e` category `api-extensions`, `c` create only).
type Row = (&'static str, &'static str, &'static str, &'static str, &'static str, &'static str);

const ROWS: &[Row] = &[
    ("", "v1", "Binding", "bindings", "", "Nc"),
    ("", "v1", "ConfigMap", "configmaps", "cm", "N"),
    ("", "v1", "Endpoints", "endpoints", "ep", "N"),
    ("", "v1", "Event", "events", "ev", "N"),
    ("", "v1", "LimitRange", "limitranges", "limits", "N"),
    ("", "v1", "Namespace", "namespaces", "ns", "s"),
    ("", "v1", "Node", "nodes", "no", "s"),
    ("", "v1", "PersistentVolume", "persistentvolumes", "pv", "s"),
    ("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims", "pvc", "Ns"),
    ("", "v1", "Pod", "pods", "po", "Nsga"),
    ("", "v1", "PodTemplate", "podtemplates", "", "Ng"),
    ("", "v1", "ReplicationController", "replicationcontrollers", "rc", "NsSga"),
    ("", "v1", "ResourceQuota", "resourcequotas", "quota", "Ns"),
    ("", "v1", "Secret", "secrets", "", "N"),
    ("", "v1", "Service", "services", "svc", "Nsa"),
    ("", "v1", "ServiceAccount", "serviceaccounts", "sa", "N"),
    ("apiregistration.k8s.io", "v1", "APIService", "apiservices", "", "se"),
    ("apps", "v1", "ControllerRevision", "controllerrevisions", "", "N"),
    ("apps", "v1", "DaemonSet", "daemonsets", "ds", "Nsga"),
    ("apps", "v1", "Deployment", "deployments", "deploy", "NsSga"),
    ("apps", "v1", "ReplicaSet", "replicasets", "rs", "NsSga"),
    ("apps", "v1", "StatefulSet", "statefulsets", "sts", "NsSga"),
    ("events.k8s.io", "v1", "Event", "events", "ev", "N"),
    ("authentication.k8s.io", "v1", "SelfSubjectReview", "selfsubjectreviews", "", "c"),
    ("authentication.k8s.io", "v1", "TokenReview", "tokenreviews", "", "c"),
    ("authorization.k8s.io", "v1", "LocalSubjectAccessReview", "localsubjectaccessreviews", "", "Nc"),
    ("authorization.k8s.io", "v1", "SelfSubjectAccessReview", "selfsubjectaccessreviews", "", "c"),
    ("authorization.k8s.io", "v1", "SelfSubjectRulesReview", "selfsubjectrulesreviews", "", "c"),
    ("authorization.k8s.io", "v1", "SubjectAccessReview", "subjectaccessreviews", "", "c"),
    ("autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers", "hpa", "Nsa"),
    ("batch", "v1", "CronJob", "cronjobs", "cj", "Nsga"),
    ("batch", "v1", "Job", "jobs", "", "Nsga"),
    ("certificates.k8s.io", "v1", "CertificateSigningRequest", "certificatesigningrequests", "csr", "s"),
    ("networking.k8s.io", "v1", "Ingress", "ingresses", "ing", "Nsg"),
    ("networking.k8s.io", "v1", "IngressClass", "ingressclasses", "", "g"),
    ("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies", "netpol", "Ng"),
    ("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets", "pdb", "Nsg"),
    ("rbac.authorization.k8s.io", "v1", "ClusterRole", "clusterroles", "", ""),
    ("rbac.authorization.k8s.io", "v1", "ClusterRoleBinding", "clusterrolebindings", "", ""),
    ("rbac.authorization.k8s.io", "v1", "Role", "roles", "", "N"),
    ("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings", "", "N"),
    ("storage.k8s.io", "v1", "CSIDriver", "csidrivers", "", ""),
    ("storage.k8s.io", "v1", "CSINode", "csinodes", "", ""),
    ("storage.k8s.io", "v1", "CSIStorageCapacity", "csistoragecapacities", "", "N"),
    ("storage.k8s.io", "v1", "StorageClass", "storageclasses", "sc", ""),
    ("storage.k8s.io", "v1", "VolumeAttachment", "volumeattachments", "", "s"),
    (
        "admissionregistration.k8s.io",
        "v1",
        "MutatingWebhookConfiguration",
        "mutatingwebhookconfigurations",
        "",
        "ge",
    ),
    (
        "admissionregistration.k8s.io",
        "v1",
        "ValidatingAdmissionPolicy",
        "validatingadmissionpolicies",
        "",
        "sge",
    ),
    (
        "admissionregistration.k8s.io",
        "v1",
        "ValidatingAdmissionPolicyBinding",
        "validatingadmissionpolicybindings",
        "",
        "ge",
    ),
    (
        "admissionregistration.k8s.io",
        "v1",
        "ValidatingWebhookConfiguration",
        "validatingwebhookconfigurations",
        "",
        "ge",
    ),
    (
        "apiextensions.k8s.io",
        "v1",
        "CustomResourceDefinition",
        "customresourcedefinitions",
        "crd,crds",
        "sge",
    ),
    ("scheduling.k8s.io", "v1", "PriorityClass", "priorityclasses", "pc", "g"),
    ("coordination.k8s.io", "v1", "Lease", "leases", "", "N"),
    ("node.k8s.io", "v1", "RuntimeClass", "runtimeclasses", "", ""),
    ("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices", "", "Ng"),
];

fn built_in(row: &Row) -> Resource {
    let &(group, version, kind, plural, short, flags) = row;
    let has = |flag: char| flags.contains(flag);
    let mut categories = Vec::new();
    if has('a') {
        categories.push("all".to_owned());
    }
    if has('e') {
        categories.push("api-extensions".to_owned());
    }
    // Events have two groups and one storage.
    let storage_group = if kind == "Event" { "" } else { group };
    Resource {
        group: group.to_owned(),
        version: version.to_owned(),
        kind: kind.to_owned(),
        list_kind: if kind == "Endpoints" { "EndpointsList".to_owned() } else { format!("{kind}List") },
        plural: plural.to_owned(),
        singular: kind.to_lowercase(),
        short_names: short.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect(),
        categories,
        namespaced: has('N'),
        status: has('s'),
        scale: has('S').then(|| ScalePaths {
            spec_replicas: ".spec.replicas".to_owned(),
            status_replicas: ".status.replicas".to_owned(),
            selector: Some(".spec.selector".to_owned()),
        }),
        generation: if has('g') { Generation::Counted } else { Generation::None },
        verbs: if has('c') { Verbs::Create } else { Verbs::All },
        storage: GroupKind::new(storage_group, kind),
        storage_version: version.to_owned(),
        custom: None,
    }
}

/// The kinds that are served now.
pub struct Registry {
    /// Group, version, plural.
    resources: BTreeMap<(String, String, String), Arc<Resource>>,
    /// Groups in the order that discovery shows them.
    groups: Vec<String>,
}

impl Default for Registry {
    fn default() -> Self {
        let mut registry = Self { resources: BTreeMap::new(), groups: Vec::new() };
        for row in ROWS {
            registry.add(built_in(row));
        }
        registry
    }
}

impl Registry {
    /// Serves one more resource, or another form of a known one.
    pub fn add(&mut self, resource: Resource) {
        if !self.groups.contains(&resource.group) {
            self.groups.push(resource.group.clone());
        }
        let key = (resource.group.clone(), resource.version.clone(), resource.plural.clone());
        self.resources.insert(key, Arc::new(resource));
    }

    /// Serves a resource in exactly these forms.
    pub fn replace(&mut self, group: &str, plural: &str, resources: Vec<Resource>) {
        self.resources.retain(|(g, _, p), _| g != group || p != plural);
        for resource in resources {
            self.add(resource);
        }
        self.forget_empty(group);
    }

    /// Stops serving a resource in all versions.
    pub fn remove(&mut self, group: &str, plural: &str) {
        self.resources.retain(|(g, _, p), _| g != group || p != plural);
        self.forget_empty(group);
    }

    fn forget_empty(&mut self, group: &str) {
        if !self.resources.keys().any(|(g, _, _)| g == group) {
            self.groups.retain(|g| g != group);
        }
    }

    /// A resource by its path.
    pub fn resource(&self, group: &str, version: &str, plural: &str) -> Option<Arc<Resource>> {
        self.resources.get(&(group.to_owned(), version.to_owned(), plural.to_owned())).cloned()
    }

    /// A resource by group, version and kind.
    pub fn by_gvk(&self, gvk: &Gvk) -> Option<Arc<Resource>> {
        self.in_version(&gvk.group, &gvk.version).find(|resource| resource.kind == gvk.kind).cloned()
    }

    /// A kind in the version that it is stored in.
    pub fn by_group_kind(&self, kind: &GroupKind) -> Option<Arc<Resource>> {
        self.resources
            .values()
            .filter(|resource| resource.group == kind.group && resource.kind == kind.kind)
            .max_by_key(|resource| resource.version == resource.storage_version)
            .cloned()
    }

    /// Whether a group has kinds that no CRD has added.
    pub fn is_built_in(&self, group: &str) -> bool {
        ROWS.iter().any(|row| row.0 == group)
    }

    /// The groups in discovery order, the core group among them as the empty string.
    pub fn groups(&self) -> &[String] {
        &self.groups
    }

    /// The versions of a group, the preferred one first.
    pub fn versions(&self, group: &str) -> Vec<String> {
        let mut versions: Vec<String> = Vec::new();
        for (g, version, _) in self.resources.keys() {
            if g == group && !versions.contains(version) {
                versions.push(version.clone());
            }
        }
        versions.sort_by_key(|version| std::cmp::Reverse(priority(version)));
        versions
    }

    /// The resources of one group and version, sorted by plural.
    pub fn in_version<'a>(
        &'a self,
        group: &'a str,
        version: &'a str,
    ) -> impl Iterator<Item = &'a Arc<Resource>> {
        self.resources.values().filter(move |resource| resource.group == group && resource.version == version)
    }
}

/// Kubernetes' order of versions: stable before beta before alpha, higher before lower, others last by name.
fn priority(version: &str) -> (u8, u32, u32, std::cmp::Reverse<String>) {
    let parsed = version.strip_prefix('v').and_then(|rest| {
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        let major: u32 = digits.parse().ok()?;
        let rest = rest.strip_prefix(digits.as_str())?;
        if rest.is_empty() {
            return Some((3, major, 0));
        }
        let (rank, minor) = rest
            .strip_prefix("beta")
            .map(|minor| (2, minor))
            .or_else(|| rest.strip_prefix("alpha").map(|minor| (1, minor)))?;
        Some((rank, major, minor.parse().ok()?))
    });
    let (rank, major, minor) = parsed.unwrap_or((0, 0, 0));
    (rank, major, minor, std::cmp::Reverse(version.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stable_versions_are_preferred() {
        let mut versions = vec!["v1alpha1", "foo", "v2beta1", "v1", "v10", "v1beta2", "bar"];
        versions.sort_by_key(|version| std::cmp::Reverse(priority(version)));
        assert_eq!(versions, ["v10", "v1", "v2beta1", "v1beta2", "v1alpha1", "bar", "foo"]);
    }
}
