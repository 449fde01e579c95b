//! The order of the output.

use std::{cmp::Ordering, collections::HashMap};

use super::{
    error::KustomizeError,
    kustomization::{LegacySortOptions, SortOptions},
    resource::Resource,
    selector::Id,
};

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
    let rank = |id: &Id| ranks.get(id.gvk.kind.as_str()).copied().unwrap_or(0);
    resources.sort_by(|a, b| {
        let (a, b) = (a.id(), b.id());
        rank(a).cmp(&rank(b)).then_with(|| compare_kinds(a, b)).then_with(|| compare_names(a, b))
    });
}

fn or<'a>(text: &'a str, default: &'a str) -> &'a str {
    if text.is_empty() { default } else { text }
}

fn compare_kinds(a: &Id, b: &Id) -> Ordering {
    if a.gvk == b.gvk {
        return Ordering::Equal;
    }
    let key = |id: &Id| {
        format!("{}_{}_{}", or(&id.gvk.group, "~G"), or(&id.gvk.version, "~V"), or(&id.gvk.kind, "~K"))
    };
    let ordering = key(a).cmp(&key(b));
    // The core Namespace comes before those of other groups.
    let is_namespaces = a.gvk.kind == "Namespace" && b.gvk.kind == "Namespace";
    if is_namespaces && (a.gvk.group.is_empty() != b.gvk.group.is_empty()) {
        ordering.reverse()
    } else {
        ordering
    }
}

fn compare_names(a: &Id, b: &Id) -> Ordering {
    let key = |id: &Id| format!("{}|{}", or(&id.namespace, "~X"), or(&id.name, "~N"));
    key(a).cmp(&key(b))
}
