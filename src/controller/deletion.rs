//! Deleting an Application with its objects.
//!
//! ```text
//! an unfinished sync ends ─▶ PreDelete hooks ─▶ objects, wave by wave in reverse ─▶ PostDelete hooks ─▶ hooks are cleaned up
//! ```
//!
//! Each step has its finalizer, which goes when the step is done. Without a cascade finalizer only the Application
//! goes. Every object is looked at once more before it is deleted.

mod hooks;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;

pub(super) use self::hooks::executor;
use super::{
    comparison, operation,
    reconcile::{Level, Look, Memory, Next},
    reporter::CountedWrites,
    unwatched,
    writer::OperationChange,
};
use crate::{
    api::{ApplicationCondition, HookType, names, sync_options::SyncOptions},
    cluster::ClusterError,
    compare::Rules,
    error::chain,
    object::{GroupKind, ObjectKey},
    project::{Admission, Claim, Propagation},
    sync::{
        cascade::{self, Cascade},
        hook,
        plan::name_some,
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
const CLEANUP: &[&str] = &[names::FINALIZER_PRE_DELETE_CLEANUP, names::FINALIZER_POST_DELETE_CLEANUP];

/// Takes a deletion one step further.
pub(super) async fn step(look: &mut Look<'_>, memory: &mut Memory) -> Result<Next, ClusterError> {
    let finalizers = look.application.metadata.finalizers.clone().unwrap_or_default();
    let has = |names: &[&str]| finalizers.iter().any(|finalizer| names.contains(&finalizer.as_str()));
    if let Some(ended) = Box::pin(operation::end_for_deletion(look, memory)).await? {
        return Ok(ended);
    }
    if has(&[names::FINALIZER_PRE_DELETE]) {
        let done = Box::pin(hooks::run(look, memory, HookType::PreDelete)).await;
        return go_on(look, &finalizers, done, &[names::FINALIZER_PRE_DELETE]).await;
    }
    if has(CASCADE) {
        let done = Box::pin(delete_next(look)).await;
        if matches!(done, Ok(Came::Done)) {
            look.context.reporter.deleted(&look.application);
        }
        return go_on(look, &finalizers, done, CASCADE).await;
    }
    if has(&[names::FINALIZER_POST_DELETE]) {
        let done = Box::pin(hooks::run(look, memory, HookType::PostDelete)).await;
        return go_on(look, &finalizers, done, &[names::FINALIZER_POST_DELETE]).await;
    }
    if has(CLEANUP) {
        let done = Box::pin(hooks::clean_up(look, memory)).await;
        return go_on(look, &finalizers, done, CLEANUP).await;
    }
    Ok(Next::default())
}

/// How far a step came.
enum Came {
    /// It is done.
    Done,
    /// It waits for the cluster.
    Waits,
    /// It waits for somebody to approve it, with this message.
    Asks(String),
}

/// Takes the finalizers of a step off when it is done; the next version of the Application begins the next one.
async fn go_on(
    look: &mut Look<'_>,
    finalizers: &[String],
    came: Result<Came, String>,
    of_step: &[&str],
) -> Result<Next, ClusterError> {
    match came {
        Ok(Came::Waits) => Ok(Next(Some((Level::Live, LOOK_AGAIN)))),
        Ok(Came::Asks(message)) => {
            let condition = ApplicationCondition::new(names::CONDITION_PRUNE_GUARD_WARNING, message);
            look.set_conditions(&[names::CONDITION_PRUNE_GUARD_WARNING], vec![condition]);
            look.write(OperationChange::Keep).await?;
            Ok(Next(Some((Level::Live, LOOK_AGAIN))))
        }
        Ok(Came::Done) => {
            let is_left = |finalizer: &&String| !of_step.contains(&finalizer.as_str());
            let left: Vec<String> = finalizers.iter().filter(is_left).cloned().collect();
            look.context.writer.set_finalizers(look.key, finalizers, &left).await?;
            Ok(Next((!left.is_empty()).then_some((Level::Live, Duration::ZERO))))
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
    Ok(Next(Some((Level::Live, LOOK_AGAIN * 2))))
}

/// Deletes what comes next.
async fn delete_next(look: &Look<'_>) -> Result<Came, String> {
    let cluster = &look.context.cluster;
    let admission = admit(look)?;
    look.check_reach_of_rows()?;
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
    unwatched::read(cluster, &kinds, None, status).await.map_err(|error| error.to_string())?;
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
    let objects = match cascade::next(&live, &look.tracking, &options, &itself, is_approved(look)) {
        Cascade::Done => return Ok(Came::Done),
        Cascade::Wait(going) => {
            let (rules, metrics) = (Rules::default(), &look.context.metrics);
            let observer = CountedWrites { metrics, application: &look.application };
            let executor = executor(look, &admission, &kinds, &options, &rules, &observer);
            // Hooks that no operation looks after any more.
            for object in going.iter().filter(|object| hook::has_finalizer(object)) {
                executor.release_ended(&object.gvk(), &object.key()).await?;
            }
            return Ok(Came::Waits);
        }
        Cascade::Confirm(keys) => {
            return Ok(Came::Asks(format!(
                "waiting for confirmation of the deletion of {}: set annotation {} to the present time (RFC 3339)",
                name_some(keys.into_iter()),
                names::ANNOTATION_DELETION_APPROVED
            )));
        }
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
    Ok(Came::Waits)
}

/// Whether somebody has approved, since the deletion began, what has to be approved.
fn is_approved(look: &Look<'_>) -> bool {
    let approved = look.application.annotation(names::ANNOTATION_DELETION_APPROVED);
    let at = approved.and_then(|text| text.trim().parse::<Timestamp>().ok());
    let began = look.application.metadata.deletion_timestamp.as_ref().map(|time| time.0);
    at.zip(began).is_some_and(|(at, began)| at >= began)
}

/// What the project permits in a deletion: sources do not matter any more.
pub(super) fn admit(look: &Look<'_>) -> Result<Admission, String> {
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
