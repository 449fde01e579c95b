//! In which order objects are synced: phase, wave, kind, name.

use crate::{
    api::names,
    object::{GroupKind, Object},
};

/// Kinds that others need come first. Kinds that are not listed come last, in no order among themselves.
const KINDS: &[&str] = &[
    "Namespace",
    "NetworkPolicy",
    "ResourceQuota",
    "LimitRange",
    "PodSecurityPolicy",
    "PodDisruptionBudget",
    "ServiceAccount",
    "Secret",
    "SecretList",
    "ConfigMap",
    "StorageClass",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "CustomResourceDefinition",
    "ClusterRole",
    "ClusterRoleList",
    "ClusterRoleBinding",
    "ClusterRoleBindingList",
    "Role",
    "RoleList",
    "RoleBinding",
    "RoleBindingList",
    "Service",
    "DaemonSet",
    "Pod",
    "ReplicationController",
    "ReplicaSet",
    "Deployment",
    "HorizontalPodAutoscaler",
    "StatefulSet",
    "Job",
    "CronJob",
    "IngressClass",
    "Ingress",
    "APIService",
];

/// The place of a kind, whatever its group.
pub fn kind_rank(kind: &str) -> usize {
    KINDS.iter().position(|listed| *listed == kind).unwrap_or(KINDS.len())
}

/// The wave that an object's annotation gives it; Helm's hook weight counts where there is none, else it is 0.
pub fn wave(object: &Object) -> i64 {
    let read = |annotation| object.annotation(annotation)?.trim().parse::<i64>().ok();
    read(names::ANNOTATION_SYNC_WAVE).or_else(|| read(names::ANNOTATION_HELM_HOOK_WEIGHT)).unwrap_or_default()
}

/// What an object provides that others cannot be applied without.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Provides {
    /// A namespace of this name.
    Namespace(String),
    /// A kind.
    Kind(GroupKind),
}

impl Provides {
    /// What this object provides, if anything.
    pub fn of(object: &Object) -> Option<Self> {
        match (object.group(), object.kind()) {
            ("", "Namespace") => Some(Self::Namespace(object.name().to_owned())),
            ("apiextensions.k8s.io", "CustomResourceDefinition") => {
                let text = |pointer| object.value().pointer(pointer).and_then(|value| value.as_str());
                Some(Self::Kind(GroupKind::new(text("/spec/group")?, text("/spec/names/kind")?)))
            }
            _ => None,
        }
    }

    /// Whether an object cannot be applied without it.
    pub fn is_needed_by(&self, object: &Object) -> bool {
        match self {
            Self::Namespace(name) => object.namespace() == name,
            Self::Kind(kind) => object.gvk().group_kind() == *kind,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[allow(clippy::needless_pass_by_value, reason = "values are written in place")]
    fn annotated(annotations: serde_json::Value) -> Object {
        Object::from_value(json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "a", "annotations": annotations },
        }))
        .unwrap()
    }

    #[test]
    fn what_others_need_comes_first_and_unlisted_kinds_last() {
        let order = [
            "Namespace",
            "ServiceAccount",
            "Secret",
            "ConfigMap",
            "CustomResourceDefinition",
            "ClusterRole",
            "RoleBinding",
            "Service",
            "Deployment",
            "StatefulSet",
            "Job",
            "Ingress",
            "APIService",
            "Certificate",
        ];
        assert!(order.map(kind_rank).is_sorted_by(|a, b| a < b));
        assert_eq!(kind_rank("Certificate"), kind_rank("Rollout"));
    }

    #[test]
    fn a_wave_is_a_signed_number_and_anything_else_is_none() {
        assert_eq!(wave(&annotated(json!({ "argocd.argoproj.io/sync-wave": "-5" }))), -5);
        assert_eq!(
            wave(&annotated(json!({ "argocd.argoproj.io/sync-wave": "soon", "helm.sh/hook-weight": "3" }))),
            3
        );
        assert_eq!(wave(&annotated(json!({ "argocd.argoproj.io/sync-wave": "1.5" }))), 0);
        assert_eq!(wave(&annotated(json!({}))), 0);
    }
}
