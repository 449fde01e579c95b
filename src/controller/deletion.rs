//! Deleting an Application with its objects.
//!
//! With a cascade finalizer the objects go first: the highest sync wave, then the next, each when the one before is
//! gone. Without one only the Application goes. Every object is looked at once more before it is deleted.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::{
    comparison,
    reconcile::{Level, Look, Next},
    writer::OperationChange,
};
use crate::{
    api::{ApplicationCondition, names, sync_options::SyncOptions},
    cluster::ClusterError,
    error::chain,
    object::{GroupKind, ObjectKey},
    project::{Admission, Claim, Propagation},
    sync::{
        cascade::{self, Cascade},
        prune::{Pruned, Pruner},
    },
};

/// How long the first listing of a kind may take.
const LISTING_LIMIT: Duration = Duration::from_secs(60);
/// A deletion is looked at again this often, besides when an object of it goes.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

const CASCADE: &[&str] = &[
    names::FINALIZER_RESOURCES,
    names::FINALIZER_RESOURCES_FOREGROUND,
    names::FINALIZER_RESOURCES_BACKGROUND,
];
const HOOKS: &[&str] = &[
    names::FINALIZER_PRE_DELETE,
    names::FINALIZER_PRE_DELETE_CLEANUP,
    names::FINALIZER_POST_DELETE,
    names::FINALIZER_POST_DELETE_CLEANUP,
];

/// Takes a deletion one step further.
pub(super) async fn step(look: &mut Look<'_>) -> Result<Next, ClusterError> {
    let finalizers = look.application.metadata.finalizers.clone().unwrap_or_default();
    let has = |names: &[&str]| finalizers.iter().any(|finalizer| names.contains(&finalizer.as_str()));
    if !has(CASCADE) && !has(HOOKS) {
        return Ok(Next::default());
    }
    if has(HOOKS) {
        let text = "PreDelete and PostDelete hooks are not supported yet: run them by hand and remove their finalizers \
                    (pre-delete-finalizer…, post-delete-finalizer…) from the Application";
        return refuse(look, text.to_owned()).await;
    }
    match delete_next(look).await {
        Ok(false) => Ok(Next(Some((Level::Live, LOOK_AGAIN)))),
        Ok(true) => {
            let left: Vec<String> = finalizers
                .iter()
                .filter(|finalizer| !CASCADE.contains(&finalizer.as_str()))
                .cloned()
                .collect();
            look.context.reporter.deleted(&look.application);
            look.context.writer.set_finalizers(look.key, &finalizers, &left).await?;
            Ok(Next::default())
        }
        Err(problem) => refuse(look, problem).await,
    }
}

async fn refuse(look: &mut Look<'_>, problem: String) -> Result<Next, ClusterError> {
    let is_told = look.status.conditions.iter().any(|condition| {
        condition.condition_type == names::CONDITION_DELETION_ERROR && condition.message == problem
    });
    if !is_told {
        look.context.reporter.deletion_failed(&look.application, &problem);
    }
    let condition = ApplicationCondition::new(names::CONDITION_DELETION_ERROR, problem);
    look.set_conditions(&[names::CONDITION_DELETION_ERROR], vec![condition]);
    look.write(OperationChange::Keep).await?;
    Ok(Next(Some((Level::Live, LOOK_AGAIN * 6))))
}

/// Deletes what comes next. `true`: nothing is left that goes with the Application.
async fn delete_next(look: &Look<'_>) -> Result<bool, String> {
    let cluster = &look.context.cluster;
    let admission = admit(look)?;
    let kinds = cluster.discover(Duration::from_secs(600)).await.map_err(|error| error.to_string())?;
    let status = &look.application.status;
    let results = status.operation_state.iter().filter_map(|state| state.sync_result.as_ref());
    let mut watched = BTreeMap::new();
    let managed =
        status.resources.iter().map(|row| GroupKind::new(&row.group, &row.kind)).chain(
            results.flat_map(|result| &result.resources).map(|row| GroupKind::new(&row.group, &row.kind)),
        );
    for kind in managed {
        // A kind that the cluster does not have has no objects.
        let Some(gvk) = kinds.preferred(&kind).map_err(|error| error.to_string())? else { continue };
        let info = kinds.get(&gvk).map_err(|error| error.to_string())?;
        if info.watchable {
            watched.insert(gvk, info.clone());
        }
    }
    cluster.watches.require(look.tracking.instance_name(), watched.clone());
    for gvk in watched.keys() {
        cluster.watches.synced(gvk, LISTING_LIMIT).await.map_err(|error| error.to_string())?;
    }
    let mut live = Vec::new();
    for found in cluster.live.owned_by(look.tracking.instance_name()) {
        let permitted = kinds.get(&found.gvk).is_ok_and(|info| {
            admission.project().permits_resource(&found.key, info.scope, admission.destination()).is_ok()
        });
        if !permitted {
            continue;
        }
        // An object whose body is not kept at the moment must not be left behind for that.
        let found = comparison::with_body(cluster, found).await.map_err(|error| error.to_string())?;
        live.extend(found.and_then(|found| found.object()).map(Arc::new));
    }
    let options = SyncOptions::new(look.application.spec.sync_options());
    let itself = ObjectKey::new(names::GROUP, "Application", &look.key.namespace, &look.key.name);
    let objects = match cascade::next(&live, &look.tracking, &options, &itself) {
        Cascade::Done => return Ok(true),
        Cascade::Wait(_) => return Ok(false),
        Cascade::Delete(objects) => objects,
    };
    let propagation = if look.application.has_finalizer(names::FINALIZER_RESOURCES_BACKGROUND) {
        Propagation::Background
    } else {
        Propagation::Foreground
    };
    let tracking = &look.tracking;
    let pruner = Pruner { cluster, admission: &admission, tracking, kinds: &kinds, propagation };
    for object in objects {
        match pruner.prune(&object.gvk(), &object).await? {
            Pruned::Deleted => {}
            Pruned::Left(reason) => tracing::info!(object = %object.key(), reason, "left in place"),
        }
    }
    Ok(false)
}

/// What the project permits in a deletion: sources do not matter any more.
fn admit(look: &Look<'_>) -> Result<Admission, String> {
    let destination = look.destination()?;
    let project = look.project()?;
    let claim = Claim {
        application_namespace: &look.key.namespace,
        repo_urls: &[],
        destination: &destination,
        namespace: &look.application.spec.destination.namespace,
    };
    project.admit_deletion(&claim).map_err(|refusal| chain(&refusal))
}
