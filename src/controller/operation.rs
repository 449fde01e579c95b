//! A sync: from being asked for to being on record as done.
//!
//! ```text
//! asked for ─▶ Running on record ─▶ plan ─▶ steps ─▶ Succeeded │ Failed │ Error
//!                    ▲                        │
//!                    └── retry, after a backoff ┘
//! ```
//!
//! Everything that a later step needs is in `status.operationState`, written before the first write to the
//! destination. A process that dies in between leaves it `Running`; whoever leads next carries the same operation
//! out again at the same revision, and what was done already is found done.

mod steps;
mod terminate;

use std::time::Duration;

use jiff::Timestamp;

use super::{
    desired::Desired,
    observe::Observation,
    reconcile::{Level, Look, Memory, Next},
    sources::Freshness,
    target::Target,
    windows::BLOCKED,
    writer::OperationChange,
};
use crate::{
    api::{
        ManagedNamespaceMetadata, Operation, OperationPhase, OperationState, ResourceResult, SyncOperation,
        SyncOperationResult, Time, names, sync_options::SyncOptions,
    },
    cluster::ClusterError,
    error::chain,
    sync::{auto, retry},
};

/// How an operation, or an attempt of it, has ended.
struct Ended {
    phase: OperationPhase,
    message: String,
}

impl Ended {
    fn new(phase: OperationPhase, message: impl Into<String>) -> Self {
        Self { phase, message: message.into() }
    }
}

/// Starts a sync that nobody asked for.
pub(super) async fn begin_automated(
    look: &mut Look<'_>,
    memory: &mut Memory,
    observation: &Observation,
    target: &Target,
    operation: Operation,
) -> Result<Next, ClusterError> {
    let result = SyncOperationResult {
        managed_namespace_metadata: namespace_metadata(look),
        ..target.result(Some(&observation.desired))
    };
    let state = OperationState { sync_result: Some(result), ..running(operation.clone()) };
    look.status.operation_state = Some(state.clone());
    // Fails if anybody asked for a sync meanwhile: theirs goes first.
    let set = OperationChange::Set { operation: Box::new(operation), resource_version: String::new() };
    look.write(set).await?;
    look.context.reporter.operation_started(&look.application, &state, observation.desired.commit.as_str());
    Box::pin(steps::pursue(look, memory, observation, target, observation, target)).await
}

/// Ends an operation whose Application is being deleted; `None` when there is none.
pub(super) async fn end_for_deletion(
    look: &mut Look<'_>,
    memory: &mut Memory,
) -> Result<Option<Next>, ClusterError> {
    let unfinished = look.status.operation_state.clone().filter(|state| !state.phase.is_completed());
    let Some(state) = unfinished else { return Ok(None) };
    let message = "Operation terminated: the application is being deleted".to_owned();
    Box::pin(terminate::terminate(look, memory, state, message)).await.map(Some)
}

/// Takes an operation that was asked for, or that was left unfinished, one step further.
pub(super) async fn advance(
    look: &mut Look<'_>,
    memory: &mut Memory,
    observed: Option<&Observation>,
    newest: &Target,
) -> Result<Next, ClusterError> {
    let unfinished = look.status.operation_state.clone().filter(|state| !state.phase.is_completed());
    let is_resumed = unfinished.is_some();
    let namespace_metadata = namespace_metadata(look);
    let mut state = match (unfinished, look.requested_operation()) {
        (Some(state), _) => state,
        (None, Some(operation)) => running(operation),
        (None, None) => return Ok(Next::default()),
    };
    if state.phase == OperationPhase::Terminating {
        let message = state.message.clone();
        return Box::pin(terminate::terminate(look, memory, state, message)).await;
    }
    if let Some(limit) = timed_out(look, &state) {
        state.phase = OperationPhase::Terminating;
        let message = format!("Operation terminated: it took longer than {} s", limit.as_secs());
        return Box::pin(terminate::terminate(look, memory, state, message)).await;
    }
    if let Some(refusal) = look.refusal() {
        // Trying again changes nothing, so this ends it.
        return end_now(look, memory, state, Ended::new(OperationPhase::Error, refusal)).await;
    }
    if state.is_waiting_for_retry()
        && let Some(observation) = observed.filter(|it| is_overtaken(&state, it, newest))
    {
        // What stands in the way of one commit must not keep the one that mends it waiting.
        let failure = state.message.split(". Retrying attempt #").next().unwrap_or_default();
        let ended = overtaken(failure, observation);
        return end_now(look, memory, state, ended).await;
    }
    if let Some(wait) = look.until_retry().filter(|wait| !wait.is_zero()) {
        return Ok(Next(Some((Level::Live, wait))));
    }
    if state.is_waiting_for_retry() {
        retry::begin_attempt(&mut state);
        if observed.is_some() {
            auto::widen(&mut state, &look.status.resources);
        }
    }
    let Some(sync) = state.operation.sync.clone() else {
        let ended = Ended::new(OperationPhase::Error, "Invalid operation request: no operation specified");
        return end_now(look, memory, state, ended).await;
    };
    let target = newest.of_operation(&sync, state.sync_result.as_ref());
    // What was asked for is on record even if it never becomes known which commit that is: otherwise no automated
    // sync could tell later whether its own commit was tried.
    state.sync_result.get_or_insert_with(|| SyncOperationResult {
        managed_namespace_metadata: namespace_metadata.clone(),
        ..target.result(None)
    });
    if let Some(problem) = unsupported(&sync) {
        return end_now(look, memory, state, Ended::new(OperationPhase::Error, problem)).await;
    }
    if let Some(wait) = look.operation_waits(&state) {
        BLOCKED.clone_into(&mut state.message);
        look.status.operation_state = Some(state);
        look.write(OperationChange::Keep).await?;
        return Ok(Next(Some((Level::Live, wait))));
    }
    let usable = observed.filter(|observation| newest.serves(&target, &observation.desired));
    let other;
    let observation = match usable {
        Some(observation) => observation,
        None => {
            let mut aside = std::mem::take(&mut memory.aside).unwrap_or_default();
            let found = Box::pin(look.observe(&mut aside, &target, Freshness::Now)).await;
            memory.aside = Some(aside);
            match found {
                Ok(observation) => {
                    other = observation;
                    &other
                }
                Err(error) => {
                    let ended = Ended::new(OperationPhase::Error, chain(&error));
                    return finish(look, memory, state, None, ended).await;
                }
            }
        }
    };
    let mut result = SyncOperationResult {
        managed_namespace_metadata: namespace_metadata,
        ..target.result(Some(&observation.desired))
    };
    if let Some(recorded) = state.sync_result.take() {
        result.resources = recorded.resources;
    }
    state.sync_result = Some(result);
    if let Some(refusal) = observation.desired.refusal() {
        return end_now(look, memory, state, Ended::new(OperationPhase::Error, refusal)).await;
    }
    look.status.operation_state = Some(state.clone());
    look.write(OperationChange::Keep).await?;
    if !is_resumed {
        look.context.reporter.operation_started(
            &look.application,
            &state,
            observation.desired.commit.as_str(),
        );
    }
    Box::pin(steps::pursue(look, memory, observation, &target, observed.unwrap_or(observation), newest)).await
}

fn running(operation: Operation) -> OperationState {
    OperationState {
        phase: OperationPhase::Running,
        started_at: Time::now(),
        operation,
        ..OperationState::default()
    }
}

/// The labels and annotations that the destination namespace was given last. An operation keeps them on record until it
/// has given it others, or taken them away.
fn namespace_metadata(look: &Look<'_>) -> Option<ManagedNamespaceMetadata> {
    let last = look.status.operation_state.as_ref()?.sync_result.as_ref()?;
    last.managed_namespace_metadata.clone()
}

/// The limit that an operation has passed, if there is one.
fn timed_out(look: &Look<'_>, state: &OperationState) -> Option<Duration> {
    let limit = look.settings.sync_timeout()?;
    let ends = state.started_at.timestamp().checked_add(limit).ok()?;
    (ends <= Timestamp::now()).then_some(limit)
}

/// Whether an automated operation tries an older commit than the newest.
fn is_overtaken(state: &OperationState, newest: &Observation, target: &Target) -> bool {
    let tried = state.sync_result.as_ref();
    let is_newest = tried.is_none_or(|tried| target.is_result(tried, &newest.desired));
    state.operation.initiated_by.automated && !is_newest
}

fn overtaken(why: &str, newest: &Observation) -> Ended {
    let message = format!("{why}; not tried again: {} takes its place", newest.desired.commit);
    Ended::new(OperationPhase::Failed, message)
}

/// What an operation may ask for that is not done.
fn unsupported(sync: &SyncOperation) -> Option<String> {
    if !sync.manifests.is_empty() {
        let text = "operation.sync.manifests is not supported yet: push the manifests to the repository";
        return Some(text.to_owned());
    }
    let options = SyncOptions::new(&sync.sync_options);
    let unknown: Vec<&str> = options.unknown().collect();
    if unknown.is_empty() {
        return None;
    }
    Some(format!(
        "operation.sync.syncOptions: {} is not a sync option: check its spelling",
        unknown.join(", ")
    ))
}

/// Ends an operation that is not to be tried again.
async fn end_now(
    look: &mut Look<'_>,
    memory: &mut Memory,
    mut state: OperationState,
    ended: Ended,
) -> Result<Next, ClusterError> {
    state.phase = OperationPhase::Terminating;
    finish(look, memory, state, None, ended).await
}

/// Puts the end of an attempt on record: the operation has ended, or is tried again later.
async fn finish(
    look: &mut Look<'_>,
    memory: &mut Memory,
    mut state: OperationState,
    synced: Option<(&Desired, &Target)>,
    ended: Ended,
) -> Result<Next, ClusterError> {
    // Another replica may lead by now; then this attempt is its to finish, and nothing of it may be recorded.
    look.context.still_leads("record the outcome of", look.key)?;
    let sync = state.operation.sync.clone().unwrap_or_default();
    // An operation that ended before anything was looked at has tried no commit, and must say so: one without a
    // result counts as having tried every commit.
    let result = state.sync_result.get_or_insert_with(SyncOperationResult::default);
    result.resources = begun(std::mem::take(&mut result.resources));
    if let Err(error) = retry::end_attempt(&mut state, ended.phase, &ended.message, Time::now()) {
        state.message = format!("{} (operation.retry.backoff: {error})", state.message);
    }
    let has_ended = state.phase.is_completed();
    if has_ended {
        // Nobody would ever end them, nor take their finalizers off.
        let problems = terminate::end_running_hooks(look, &mut state).await;
        if !problems.is_empty() {
            state.message = format!("{}; {}", state.message, problems.join("; "));
        }
    }
    let phase = state.phase;
    let started_at = state.started_at;
    let initiated_by = state.operation.initiated_by.clone();
    let is_recorded = phase == OperationPhase::Succeeded && !sync.dry_run && !sync.is_selective();
    if let Some(result) = state.sync_result.as_mut().filter(|_| is_recorded) {
        let policy = look.application.spec.sync_policy.as_ref();
        result.managed_namespace_metadata = policy.and_then(|it| it.managed_namespace_metadata.clone());
    }
    look.status.operation_state = Some(state.clone());
    look.set_conditions(&[names::CONDITION_PRUNE_GUARD_WARNING], Vec::new());
    if !has_ended {
        look.write(OperationChange::Keep).await?;
        // However short the backoff is said to be.
        let wait = look.until_retry().unwrap_or_default().max(Duration::from_secs(1));
        return Ok(Next(Some((Level::Live, wait))));
    }
    memory.aside = None;
    if let Some((desired, target)) = synced.filter(|_| is_recorded) {
        let mut entry = target.history(desired);
        entry.deployed_at = Time::now();
        entry.deploy_started_at = Some(started_at);
        entry.initiated_by = initiated_by;
        let limit = look.application.spec.history_limit();
        look.status.push_history(entry, limit);
    }
    look.finished(memory, phase, synced.map(|(desired, _)| desired));
    if !sync.dry_run && !look.application.is_terminating() {
        Box::pin(compare_again(look, memory)).await;
    }
    look.write_end(&state.operation).await?;
    look.context.reporter.operation_completed(&look.application, &state);
    // Whatever did not come out as wished is looked at once more.
    Ok(Next(Some((Level::Live, Duration::from_millis(200)))))
}

/// The rows of what was begun: what only was planned has not happened.
fn begun(rows: Vec<ResourceResult>) -> Vec<ResourceResult> {
    crate::sync::record::Record::new(rows).into_results()
}

/// What was just written is known from the answers, so this costs no request.
async fn compare_again(look: &mut Look<'_>, memory: &mut Memory) {
    let target = Target::of_spec(&look.application.spec);
    match Box::pin(look.observe(memory, &target, Freshness::Polled)).await {
        Ok(observation) => {
            look.set_conditions(&[names::CONDITION_SYNC_ERROR], Vec::new());
            look.take_over(&observation, &target);
        }
        Err(error) => {
            tracing::debug!(application = %look.key, error = %chain(&error), "not compared after the sync");
        }
    }
}
