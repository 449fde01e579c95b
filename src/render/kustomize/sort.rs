//! The order of the output.

use std::{cmp::Ordering, collections::HashMap};

use super::{
    error::KustomizeError,
    fieldspec::FieldSpec,
    kustomization::{LegacySortOptions, SortOptions},
    resource::Resource,
};
use crate::object::Gvk;

const FIRST: [&str; 22] = [
    "Namespace",
    "ResourceQuota",
    "StorageClass",
    "CustomResourceDefinition",
    "ServiceAccount",
    "PodSecurityPolicy",
    "Role",
    "ClusterRole",
    "RoleBinding",
    "ClusterRoleBinding",
    "ConfigMap",
    "Secret",
    "Endpoints",
    "Service",
    "LimitRange",
    "PriorityClass",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "Deployment",
    "StatefulSet",
    "CronJob",
    "PodDisruptionBudget",
];
const LAST: [&str; 2] = ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"];

/// Sorts resources as `sortOptions` say; without them in the order that kustomize calls legacy.
pub(super) fn sort(resources: &mut [Resource], options: Option<&SortOptions>) -> Result<(), KustomizeError> {
    let legacy = options.and_then(|options| options.legacy_sort_options.as_ref());
    match options.map(|options| options.order.as_str()) {
        Some("fifo") if legacy.is_some() => Err(KustomizeError::invalid(
            "sortOptions: 'legacySortOptions' cannot be set together with 'order: fifo'",
        )),
        Some("fifo") => Ok(()),
        Some("legacy") | None => {
            sort_legacy(resources, legacy);
            Ok(())
        }
        Some(other) => Err(KustomizeError::invalid(format!(
            "sortOptions: 'order' must be 'fifo' or 'legacy', not '{other}'"
        ))),
    }
}

fn sort_legacy(resources: &mut [Resource], options: Option<&LegacySortOptions>) {
    let mut ranks: HashMap<&str, i64> = HashMap::new();
    let (first, last): (Vec<&str>, Vec<&str>) = match options {
        None => (FIRST.to_vec(), LAST.to_vec()),
        Some(options) => (
            options.order_first.iter().map(String::as_str).collect(),
            options.order_last.iter().map(String::as_str).collect(),
        ),
    };
    for (rank, kind) in (i64::MIN / 2..).zip(first) {
        ranks.insert(kind, rank);
    }
    for (rank, kind) in (1..).zip(last) {
        ranks.insert(kind, rank);
    }
    resources.sort_by_cached_key(|resource| {
        let id = resource.id();
        let rank = ranks.get(id.gvk.kind.as_str()).copied().unwrap_or(0);
        (rank, KindKey::of(&id.gvk), format!("{}|{}", or(&id.namespace, "~X"), or(&id.name, "~N")))
    });
}

/// Sorts field specs by the kinds that they are for, as kustomize does.
pub(super) fn sort_field_specs(specs: &mut [FieldSpec]) {
    let rank = |kind: &str| {
        let first = FIRST.iter().position(|other| *other == kind).map(|at| (0, at));
        first.or_else(|| LAST.iter().position(|other| *other == kind).map(|at| (2, at))).unwrap_or((1, 0))
    };
    specs.sort_by_cached_key(|spec| {
        let gvk = Gvk::new(spec.group.as_str(), spec.version.as_str(), spec.kind.as_str());
        (rank(&spec.kind), KindKey::of(&gvk))
    });
}

fn or<'a>(text: &'a str, default: &'a str) -> &'a str {
    if text.is_empty() { default } else { text }
}

/// A kind in the order of kinds of one rank.
#[derive(PartialEq, Eq)]
struct KindKey {
    text: String,
    is_namespace: bool,
    is_core: bool,
}

impl KindKey {
    fn of(gvk: &Gvk) -> Self {
        let (group, version, kind) = (or(&gvk.group, "~G"), or(&gvk.version, "~V"), or(&gvk.kind, "~K"));
        Self {
            text: format!("{group}_{version}_{kind}"),
            is_namespace: gvk.kind == "Namespace",
            is_core: gvk.group.is_empty(),
        }
    }
}

impl Ord for KindKey {
    fn cmp(&self, other: &Self) -> Ordering {
        let ordering = self.text.cmp(&other.text);
        // The core Namespace comes before those of other groups.
        if self.is_namespace && other.is_namespace && self.is_core != other.is_core {
            ordering.reverse()
        } else {
            ordering
        }
    }
}

impl PartialOrd for KindKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
