//! Desired against live: a verdict and a health for each object, and what they add up to.
//!
//! Nothing is decided before every kind that matters is fully known: those that are declared and those of objects that
//! the last comparison showed. A verdict is kept for as long as both sides and the rules stay the same; where the
//! local comparison says "differs", a server-side dry run settles whether an apply would change anything.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use super::desired::{Desired, DesiredObject};
use crate::{
    api::{
        Application, ApplicationCondition, ApplicationSummary, HealthStatus, HealthStatusCode,
        ResourceStatus, SyncStatusCode, names, sync_options::SyncOptions,
    },
    cluster::{
        Cluster, ClusterError, FieldValidation, Reach, bounded,
        discovery::{KindInfo, Kinds},
        live::LiveObject,
    },
    compare::{self, Local, Rules, Settled},
    error::{Classified, ErrorKind},
    health::{self, HealthError},
    object::{GroupKind, Gvk, Object, ObjectKey},
    project::{Admission, Apply},
    sync::{
        app_of_apps,
        ownership::Tracking,
        plan::{Candidate, Verdict},
        rollup::{self, Judged, RollupInput},
    },
};

/// How long the first listing of a kind may take.
const LISTING_LIMIT: Duration = Duration::from_secs(60);

/// What is compared.
pub struct ComparisonInput<'a> {
    /// The destination.
    pub cluster: &'a Cluster,
    /// The Application, with the rows of its last comparison.
    pub application: &'a Application,
    /// What it declares.
    pub desired: &'a Desired,
    /// The kinds of the destination and those that will be added.
    pub kinds: &'a Kinds,
    /// Who owns what.
    pub tracking: &'a Tracking,
    /// What the project permits.
    pub admission: &'a Admission,
    /// Rules on what to ignore.
    pub rules: &'a Rules,
    /// The installation's own health checks.
    pub health_scripts: &'a health::Scripts,
    /// Sync options.
    pub options: &'a SyncOptions,
    /// Whether a kind is excluded by the settings.
    pub is_excluded: &'a (dyn Fn(&Gvk) -> bool + Sync),
}

/// Verdicts of the last comparison.
#[derive(Default)]
pub struct Verdicts(HashMap<VerdictKey, Verdict>);

/// All that a verdict depends on. The declared object's identity is part of its hash.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct VerdictKey {
    desired: u64,
    live: u64,
    rules: u64,
}

/// The outcome of a comparison.
pub struct Comparison {
    /// Every object with both sides.
    pub candidates: Vec<Candidate>,
    /// The rows of the status.
    pub rows: Vec<ResourceStatus>,
    /// What they add up to.
    pub sync: SyncStatusCode,
    /// The health of the Application.
    pub health: HealthStatus,
    /// Images, addresses.
    pub summary: ApplicationSummary,
    /// What is doubtful.
    pub conditions: Vec<ApplicationCondition>,
    /// Whether the destination namespace exists.
    pub namespace_exists: bool,
    /// Whether every difference was settled. One that was not, because the server could not say, may be none.
    pub settled: bool,
}

/// Waits until every kind that matters is fully known.
///
/// # Errors
/// When one of them cannot be.
pub async fn prepare(input: &ComparisonInput<'_>) -> Result<(), ClusterError> {
    let ComparisonInput { cluster, desired, tracking, .. } = *input;
    let watched = watched_kinds(input)?;
    cluster.watches.require(tracking.instance_name(), watched.clone());
    cluster.live.declare(tracking.instance_name(), desired.objects.iter().map(|object| object.key.clone()));
    for (gvk, _) in &watched {
        cluster.watches.synced(gvk, LISTING_LIMIT).await?;
    }
    Ok(())
}

/// Compares an Application with its destination, once [`prepare`] is done.
///
/// # Errors
/// When an object that has to be read cannot be.
pub async fn compare(
    input: &ComparisonInput<'_>,
    verdicts: &mut Verdicts,
) -> Result<Comparison, ClusterError> {
    let ComparisonInput { application, tracking, .. } = *input;
    let pairs = pair(input).await?;
    let (candidates, settled) = judge(input, pairs, verdicts).await;

    let mut conditions = Vec::new();
    let mut healths: Vec<Option<HealthStatus>> = Vec::with_capacity(candidates.len());
    for candidate in &candidates {
        healths.push(match &candidate.live {
            // What is not to be synced is not missed.
            None => (candidate.desired.as_deref().is_some_and(crate::sync::is_resource))
                .then(|| HealthStatus::new(HealthStatusCode::Missing, "")),
            Some(live) => assess(input.health_scripts, live).await.unwrap_or_else(|error| {
                let text = format!("error setting app health: {error}");
                conditions.push(ApplicationCondition::new(names::CONDITION_COMPARISON_ERROR, text));
                Some(HealthStatus::new(HealthStatusCode::Unknown, error.to_string()))
            }),
        });
        if let (Some(live), Some(_)) = (&candidate.live, &candidate.desired)
            && let Some(message) = tracking.shared_with(live)
        {
            conditions.push(ApplicationCondition::new(names::CONDITION_SHARED_RESOURCE_WARNING, message));
        }
    }
    let permitted: Vec<bool> = candidates.iter().map(|candidate| is_permitted(input, candidate)).collect();
    let judged: Vec<Judged<'_>> = candidates
        .iter()
        .zip(&healths)
        .zip(&permitted)
        .map(|((candidate, health), permitted)| Judged {
            candidate,
            health: health.as_ref(),
            permitted: *permitted,
        })
        .collect();
    let (rows, sync) = rollup::sync_status(&judged, RollupInput { tracking, options: input.options });
    let keys: Vec<ObjectKey> = candidates
        .iter()
        .map(|candidate| {
            candidate.object().map_or_else(|| ObjectKey::new("", "", "", ""), |object| object.key())
        })
        .collect();
    let itself = ObjectKey::new(names::GROUP, "Application", application.namespace(), application.name());
    let parts = candidates.iter().zip(&healths).zip(&keys).filter_map(|((candidate, health), key)| {
        let declared = candidate.declared()?;
        let counted = crate::sync::is_resource(declared);
        counted.then_some(health::Part { key, live: candidate.live.as_deref(), health: health.as_ref() })
    });
    let health = health::roll_up(parts, Some(&itself));
    let annotations = application.metadata.annotations.iter().flatten();
    let summary = rollup::summary(
        annotations.map(|(key, value)| (key.as_str(), value.as_str())),
        candidates.iter().filter_map(|candidate| candidate.object().map(AsRef::as_ref)),
    );
    let namespace_exists = namespace_exists(input).await?;
    Ok(Comparison { candidates, rows, sync, health, summary, conditions, namespace_exists, settled })
}

/// Judges a live object. A script may run for long, so it does not run where other Applications wait.
pub(super) async fn assess(
    scripts: &health::Scripts,
    live: &Arc<Object>,
) -> Result<Option<HealthStatus>, HealthError> {
    if scripts.find(live.group(), live.kind()).is_none() {
        return Ok(scripts.assess(live)?.or_else(|| app_of_apps::reported_health(live)));
    }
    let (scripts, object) = (scripts.clone(), Arc::clone(live));
    let judged = tokio::task::spawn_blocking(move || scripts.assess(&object)).await;
    judged.unwrap_or_else(|_| {
        let message = "the health check ended unexpectedly".to_owned();
        Err(HealthError::Script { object: live.key().to_string(), message })
    })
}

/// The kinds that are declared, and those of the objects that were there at the last comparison: what was removed
/// from the source must still be seen to be pruned.
fn watched_kinds(input: &ComparisonInput<'_>) -> Result<Vec<(Gvk, KindInfo)>, ClusterError> {
    let mut wanted: BTreeMap<Gvk, ()> = BTreeMap::new();
    let mut declared: HashSet<GroupKind> = HashSet::new();
    for object in input.desired.objects.iter() {
        declared.insert(object.gvk.group_kind());
        wanted.insert(object.gvk.clone(), ());
    }
    let status = &input.application.status;
    let results = status.operation_state.iter().filter_map(|state| state.sync_result.as_ref());
    let before =
        status.resources.iter().map(|row| GroupKind::new(&row.group, &row.kind)).chain(
            results.flat_map(|result| &result.resources).map(|row| GroupKind::new(&row.group, &row.kind)),
        );
    for kind in before {
        if !declared.contains(&kind)
            && let Some(gvk) = input.kinds.preferred(&kind)?
        {
            wanted.insert(gvk, ());
        }
    }
    let watchable = wanted.into_keys().filter_map(|gvk| {
        let info = input.kinds.get(&gvk).ok()?.clone();
        info.watchable.then_some((gvk, info))
    });
    Ok(watchable.collect())
}

/// An object that is declared, live, or both.
struct Pair {
    desired: Option<DesiredObject>,
    live: Option<LiveObject>,
}

async fn pair(input: &ComparisonInput<'_>) -> Result<Vec<Pair>, ClusterError> {
    let ComparisonInput { cluster, desired, tracking, .. } = *input;
    let mut pairs = Vec::with_capacity(desired.objects.len());
    let mut declared: HashSet<&ObjectKey> = HashSet::new();
    for object in desired.objects.iter() {
        declared.insert(&object.key);
        let live = match cluster.live.get(&object.gvk, &object.key) {
            Some(live) => with_body(cluster, live).await?,
            None => None,
        };
        pairs.push(Pair { desired: Some(object.clone()), live });
    }
    for live in cluster.live.owned_by(tracking.instance_name()) {
        if !declared.contains(live.key.as_ref())
            && !(input.is_excluded)(&live.gvk)
            && let Some(live) = with_body(cluster, live).await?
        {
            pairs.push(Pair { desired: None, live: Some(live) });
        }
    }
    Ok(pairs)
}

/// A live object with its body, which is read if nobody had asked for it when its last event came.
pub(super) async fn with_body(
    cluster: &Cluster,
    live: LiveObject,
) -> Result<Option<LiveObject>, ClusterError> {
    if live.has_body() {
        return Ok(Some(live));
    }
    match cluster.get(&live.gvk, &live.key).await? {
        Some(read) => {
            cluster.live.observe(&live.gvk, &read);
            Ok(cluster.live.get(&live.gvk, &live.key).filter(LiveObject::has_body))
        }
        None => Ok(None),
    }
}

/// Judges all objects. The flag tells whether every difference was settled.
async fn judge(
    input: &ComparisonInput<'_>,
    pairs: Vec<Pair>,
    verdicts: &mut Verdicts,
) -> (Vec<Candidate>, bool) {
    let known = std::mem::take(&mut verdicts.0);
    let rules = input.rules.fingerprint();
    let mut judging = Vec::with_capacity(pairs.len());
    for pair in pairs {
        judging.push(judge_pair(input, pair, &known, rules));
    }
    let judged = bounded(judging).await;
    let mut candidates = Vec::with_capacity(judged.len());
    let mut all_settled = true;
    for (candidate, certainty) in judged {
        match certainty {
            Certainty::Holds(key) => {
                verdicts.0.insert(key, candidate.verdict.clone());
            }
            Certainty::Once => {}
            Certainty::Unsettled => all_settled = false,
        }
        candidates.push(candidate);
    }
    (candidates, all_settled)
}

/// How long a verdict holds.
enum Certainty {
    /// As long as nothing changes that it depends on.
    Holds(VerdictKey),
    /// For this comparison.
    Once,
    /// It could not be settled now and has to be asked again soon.
    Unsettled,
}

async fn judge_pair(
    input: &ComparisonInput<'_>,
    pair: Pair,
    known: &HashMap<VerdictKey, Verdict>,
    rules: u64,
) -> (Candidate, Certainty) {
    let Pair { desired, live } = pair;
    let declared = desired.as_ref().and_then(DesiredObject::object).map(Arc::new);
    let found = live.as_ref().and_then(LiveObject::object).map(Arc::new);
    let (verdict, certainty) = match (&desired, &declared, &found) {
        (Some(desired), Some(declared), Some(found)) => {
            // A status that nobody declares is not compared, and it changes more often than all the rest.
            let live_hash = match declared.value().get("status") {
                None => live.as_ref().map(LiveObject::hash_without_status),
                Some(_) => live.as_ref().map(LiveObject::hash),
            };
            let verdict_key =
                VerdictKey { desired: desired.hash, live: live_hash.unwrap_or_default(), rules };
            match known.get(&verdict_key) {
                Some(verdict) => (verdict.clone(), Certainty::Holds(verdict_key)),
                None => match verdict_of(input, declared, found, live.as_ref()).await {
                    (verdict, None) => (verdict, Certainty::Holds(verdict_key)),
                    (verdict, Some(ErrorKind::Transient)) => (verdict, Certainty::Unsettled),
                    (verdict, Some(_)) => (verdict, Certainty::Once),
                },
            }
        }
        (_, Some(_), None) => (Verdict::Missing, Certainty::Once),
        _ => (Verdict::Extra, Certainty::Once),
    };
    (Candidate { desired: declared, live: found, verdict }, certainty)
}

/// The local verdict, settled by a dry run where it says that something differs; with the kind of the error where
/// that failed.
async fn verdict_of(
    input: &ComparisonInput<'_>,
    desired: &Object,
    live: &Object,
    known: Option<&LiveObject>,
) -> (Verdict, Option<ErrorKind>) {
    let local = match compare::local(desired, live, input.rules, names::FIELD_MANAGER) {
        Local::Same => return (Verdict::Same, None),
        Local::LeftBehind(left) if input.options.migrates_client_side_apply() => {
            return (Verdict::Differs(left), None);
        }
        Local::LeftBehind(local) | Local::Differs(local) => local,
    };
    let Ok(info) = input.kinds.get(&desired.gvk()) else { return (Verdict::Differs(local), None) };
    let write = Apply { object: desired.clone(), scope: info.scope };
    // What the project refuses is shown as different; the sync will say why it is not done.
    let Ok(permitted) = input.admission.permit(write) else {
        return (Verdict::Differs(local), Some(ErrorKind::Configuration));
    };
    let own = SyncOptions::of_object(desired);
    let validation = FieldValidation::strict_if(input.options.validate() && own.validate());
    match input.cluster.dry_run(&permitted, validation).await {
        Ok(predicted) => {
            // A prediction for a newer version of the object says nothing about the one that was compared.
            let newer = known.is_some_and(|known| *known.resource_version != *predicted.resource_version());
            let fresh = if newer { reread(input, desired).await } else { None };
            let verdict = match compare::settle(&predicted, fresh.as_ref().unwrap_or(live), input.rules) {
                Settled::Same => Verdict::Same,
                Settled::Differs(differences) => Verdict::Differs(differences),
            };
            (verdict, None)
        }
        Err(error) => {
            tracing::debug!(object = %desired.key(), %error, "the difference could not be settled by a dry run");
            (Verdict::Differs(local), Some(error.kind()))
        }
    }
}

async fn reread(input: &ComparisonInput<'_>, desired: &Object) -> Option<Object> {
    let (gvk, key) = (desired.gvk(), desired.key());
    let fresh = input.cluster.get(&gvk, &key).await.ok().flatten()?;
    input.cluster.live.observe(&Arc::new(gvk), &fresh);
    Some(fresh)
}

fn is_permitted(input: &ComparisonInput<'_>, candidate: &Candidate) -> bool {
    let Some(object) = candidate.declared() else { return true };
    let Ok(info) = input.kinds.get(&object.gvk()) else { return true };
    input
        .admission
        .project()
        .permits_resource(&object.key(), info.scope, input.admission.destination())
        .is_ok()
}

/// Asked only where a sync may have to create the namespace.
async fn namespace_exists(input: &ComparisonInput<'_>) -> Result<bool, ClusterError> {
    let name = &input.application.spec.destination.namespace;
    let operation = input.application.operation.as_ref().or_else(|| {
        let state =
            input.application.status.operation_state.as_ref().filter(|state| !state.phase.is_completed());
        state.map(|state| &state.operation)
    });
    let of_operation = operation.and_then(|operation| operation.sync.as_ref());
    let may_create = input.options.create_namespace()
        || of_operation.is_some_and(|sync| SyncOptions::new(&sync.sync_options).create_namespace());
    let something_is_there = input
        .cluster
        .live
        .owned_by(input.tracking.instance_name())
        .iter()
        .any(|live| live.key.namespace == *name);
    // Where the agent's Role is, a namespace is.
    let is_granted = *input.cluster.watches.reach() != Reach::Cluster;
    if name.is_empty() || something_is_there || !may_create || is_granted {
        return Ok(true);
    }
    let key = ObjectKey::new("", "Namespace", "", name);
    Ok(input.cluster.get(&Gvk::new("", "v1", "Namespace"), &key).await?.is_some())
}
