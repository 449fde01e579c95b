//! Objects of kinds that cannot be watched, such as those of some aggregated API servers: they are read one by one at
//! each look, so that what changes about them is seen at the next look and not when it happens.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::desired::Desired;
use crate::{
    api::{ApplicationCondition, ApplicationStatus, names},
    cluster::{Cluster, ClusterError, bounded, discovery::Kinds},
    object::{GroupKind, Gvk, ObjectKey},
};

/// Reads what an Application declares, and what it had at its last comparison, of kinds that cannot be watched. Returns
/// these kinds.
///
/// # Errors
/// When one of the objects cannot be read, or when a kind cannot be known.
pub async fn read(
    cluster: &Cluster,
    kinds: &Kinds,
    desired: Option<&Desired>,
    status: &ApplicationStatus,
) -> Result<BTreeSet<GroupKind>, ClusterError> {
    let is_unwatched = |gvk: &Gvk| kinds.get(gvk).is_ok_and(|info| !info.watchable);
    let declared = desired.iter().flat_map(|desired| desired.objects.iter());
    let mut wanted: BTreeMap<ObjectKey, Gvk> = declared
        .filter(|object| is_unwatched(&object.gvk))
        .map(|object| (object.key.clone(), object.gvk.clone()))
        .collect();
    for row in &status.resources {
        if let Some(gvk) = kinds.preferred(&GroupKind::new(&row.group, &row.kind))?
            && is_unwatched(&gvk)
        {
            wanted.entry(row.key()).or_insert(gvk);
        }
    }
    let found = wanted.values().map(Gvk::group_kind).collect();
    let reads = wanted.into_iter().map(|(key, gvk)| async move {
        let gvk = Arc::new(gvk);
        if let Some(object) = cluster.get(&gvk, &key).await? {
            cluster.live.observe(&gvk, &object);
        } else if let Some(seen) = cluster.live.get(&gvk, &key) {
            cluster.live.forget_seen(&seen);
        }
        Ok(())
    });
    bounded(reads).await.into_iter().collect::<Result<(), ClusterError>>()?;
    Ok(found)
}

/// Tells whoever looks at an Application that changes by hand of its objects are seen late.
pub fn warning(kinds: &BTreeSet<GroupKind>) -> Option<ApplicationCondition> {
    let kinds: Vec<String> = kinds.iter().map(ToString::to_string).collect();
    (!kinds.is_empty()).then(|| {
        let message = format!(
            "the API server cannot watch {}: a change by hand of such an object is seen when the Application is \
             compared, as often as repositories are polled",
            kinds.join(", ")
        );
        ApplicationCondition::new(names::CONDITION_MANIFEST_WARNING, message)
    })
}
