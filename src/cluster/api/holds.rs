//! Whether something would be lost with an object.

use std::collections::HashSet;

use kube::{
    Api,
    api::ListParams,
    core::{DynamicObject, ObjectMeta},
};

use super::{Cluster, ClusterError, KindInfo, kinds_of_definition};
use crate::object::{Object, ObjectKey, Scope};

/// Objects of one kind that are looked at; where there are more, there are some that count.
const LOOKED_AT: u32 = 100;

/// Kinds that come and go by themselves.
const TRANSIENT: &[&str] = &[
    "Endpoints",
    "EndpointSlice",
    "Event",
    "Lease",
    "PodMetrics",
    "ControllerRevision",
    "LocalSubjectAccessReview",
];

impl Cluster {
    /// Whether an object holds what would be lost with it, `going` and what comes with every namespace left out: a
    /// claim that is bound, a definition whose kind has objects, a namespace that has any. What cannot be known counts
    /// as yes.
    pub async fn holds_data(&self, object: &Object, going: &HashSet<ObjectKey>) -> bool {
        match object.kind() {
            "PersistentVolumeClaim" => {
                let phase = object.value().pointer("/status/phase").and_then(serde_json::Value::as_str);
                phase == Some("Bound")
            }
            "CustomResourceDefinition" => {
                let kinds = self.kinds();
                for gvk in kinds_of_definition(object).keys() {
                    if let Ok(info) = kinds.get(gvk) {
                        return self.has_objects(info, "", going).await;
                    }
                }
                false
            }
            "Namespace" => {
                let kinds = self.kinds();
                if !kinds.are_complete() {
                    return true;
                }
                for (gvk, info) in kinds.each_preferred() {
                    let counts = info.scope == Scope::Namespaced
                        && info.watchable
                        && gvk.group != "events.k8s.io"
                        && gvk.group != "metrics.k8s.io"
                        && !TRANSIENT.contains(&gvk.kind.as_str());
                    if counts && self.has_objects(info, object.name(), going).await {
                        return true;
                    }
                }
                false
            }
            _ => false,
        }
    }

    async fn has_objects(&self, info: &KindInfo, namespace: &str, going: &HashSet<ObjectKey>) -> bool {
        let api: Api<DynamicObject> = match info.scope {
            Scope::Namespaced if !namespace.is_empty() => {
                Api::namespaced_with(self.client.clone(), namespace, &info.resource)
            }
            _ => Api::all_with(self.client.clone(), &info.resource),
        };
        let key = ObjectKey::new(&info.resource.group, &info.resource.kind, namespace, "*");
        let params = ListParams::default().limit(LOOKED_AT);
        let listed = self.read(&key, api.list_metadata(&params)).await;
        match listed {
            Ok(list) => {
                list.metadata.continue_.is_some_and(|next| !next.is_empty())
                    || list.items.iter().any(|found| counts(info, &found.metadata, going))
            }
            Err(ClusterError::Refused { code: 404 | 405, .. }) => false,
            Err(error) => {
                tracing::warn!(%error, "it cannot be told whether something would be lost");
                true
            }
        }
    }
}

/// Whether somebody would miss an object.
fn counts(info: &KindInfo, metadata: &ObjectMeta, going: &HashSet<ObjectKey>) -> bool {
    let name = metadata.name.as_deref().unwrap_or_default();
    let namespace = metadata.namespace.as_deref().unwrap_or_default();
    let comes_with_a_namespace = matches!(
        (info.resource.kind.as_str(), name),
        ("ConfigMap", "kube-root-ca.crt" | "openshift-service-ca.crt") | ("ServiceAccount", "default")
    );
    let belongs_to_another = metadata.owner_references.as_ref().is_some_and(|owners| !owners.is_empty())
        || metadata
            .annotations
            .as_ref()
            .is_some_and(|annotations| annotations.contains_key("kubernetes.io/service-account.name"));
    let key = ObjectKey::new(&info.resource.group, &info.resource.kind, namespace, name);
    !comes_with_a_namespace
        && !belongs_to_another
        && metadata.deletion_timestamp.is_none()
        && !going.contains(&key)
}
