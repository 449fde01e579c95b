//! A sync: from being asked for to being on record as done.
//!
//! ```text
//! asked for ─▶ Running on record ─▶ plan ─▶ execute ─▶ Succeeded │ Failed │ Error
//!                    ▲                          │
//!                    └── retry, after a backoff ┘
//! ```
//!
//! Everything that a later step needs is in `status.operationState`, written before the first write to the
//! destination. A process that dies in between leaves it `Running`; whoever leads next carries the same operation
//! out again at the same revision, and what was done already is found done.

use std::time::Duration;

use super::{
    observe::Observation,
    reconcile::{Level, Look, Memory, Next},
    reporter::CountedWrites,
    sources::Freshness,
    writer::OperationChange,
};
use crate::{
    api::{
        ApplicationSource, Operation, OperationPhase, OperationState, RevisionHistory, SyncOperation,
        SyncOperationResult, Time, names, sync_options::SyncOptions,
    },
    cluster::ClusterError,
    error::chain,
    git::CommitId,
    project::Propagation,
    sync::{
        executor::{Executor, Outcome},
        plan::{PlanInput, plan},
        retry,
    },
};

/// Starts a sync that nobody asked for.
pub(super) async fn begin_automated(
    look: &mut Look<'_>,
    memory: &mut Memory,
    observation: &Observation,
    source: &ApplicationSource,
    operation: Operation,
) -> Result<Next, ClusterError> {
    let state = running(operation.clone(), observation, source);
    look.status.operation_state = Some(state.clone());
    // Fails if anybody asked for a sync meanwhile: theirs goes first.
    let set = OperationChange::Set { operation: Box::new(operation), resource_version: String::new() };
    look.write(set).await?;
    look.context.reporter.operation_started(&look.application, &state, observation.desired.commit.as_str());
    execute(look, memory, observation, source).await
}

/// Takes an operation that was asked for, or that was left unfinished, one step further.
pub(super) async fn advance(
    look: &mut Look<'_>,
    memory: &mut Memory,
    observed: Option<&Observation>,
    source: &ApplicationSource,
) -> Result<Next, ClusterError> {
    let unfinished = look.status.operation_state.clone().filter(|state| !state.phase.is_completed());
    let mut state = match (unfinished, look.requested_operation()) {
        (Some(state), _) => state,
        (None, Some(operation)) => OperationState {
            phase: OperationPhase::Running,
            started_at: Time::now(),
            operation,
            ..OperationState::default()
        },
        (None, None) => return Ok(Next::default()),
    };
    if state.phase == OperationPhase::Terminating {
        return finish(look, memory, state, None, failure(OperationPhase::Failed, "Operation terminated"))
            .await;
    }
    if let Some(refusal) = look.refusal() {
        // Trying again changes nothing, so this ends it.
        state.phase = OperationPhase::Terminating;
        return finish(look, memory, state, None, failure(OperationPhase::Error, &refusal)).await;
    }
    if let Some(commit) = observed.and_then(|observation| overtaken_by(&state, observation, source)) {
        // What stands in the way of one commit must not keep the one that mends it waiting.
        let failure = state.message.split(". Retrying attempt #").next().unwrap_or_default();
        let message = format!("{failure}; not tried again: {commit} takes its place");
        let resources = state.sync_result.as_ref().map(|result| result.resources.clone()).unwrap_or_default();
        state.phase = OperationPhase::Terminating;
        let outcome = Outcome { phase: OperationPhase::Failed, message, resources };
        return finish(look, memory, state, None, outcome).await;
    }
    if let Some(wait) = look.until_retry().filter(|wait| !wait.is_zero()) {
        return Ok(Next(Some((Level::Live, wait))));
    }
    if state.is_waiting_for_retry() {
        retry::begin_attempt(&mut state);
    }
    let Some(sync) = state.operation.sync.clone() else {
        let outcome = failure(OperationPhase::Error, "Invalid operation request: no operation specified");
        return finish(look, memory, state, None, outcome).await;
    };
    let source = sync.source.clone().unwrap_or_else(|| source.clone());
    let pinned =
        state.sync_result.as_ref().map(|result| result.revision.clone()).filter(|text| !text.is_empty());
    let revision = pinned.unwrap_or_else(|| {
        if sync.revision.is_empty() { source.target_revision.clone() } else { sync.revision.clone() }
    });
    // What was asked for is on record even if it never becomes known which commit that is: otherwise no automated
    // sync could tell later whether its own commit was tried.
    state.sync_result.get_or_insert_with(|| SyncOperationResult {
        revision: revision.clone(),
        source: Some(source.clone()),
        ..SyncOperationResult::default()
    });
    if let Some(problem) = unsupported(&sync) {
        return finish(look, memory, state, None, failure(OperationPhase::Error, problem)).await;
    }
    let usable = observed.filter(|observation| {
        look.status.sync.as_ref().is_some_and(|sync| sync.compared_to.source.as_ref() == Some(&source))
            && (revision == source.target_revision || revision == observation.desired.commit.as_str())
    });
    let other;
    let observation = match usable {
        Some(observation) => observation,
        None => {
            let mut aside = Memory::default();
            match look.observe(&mut aside, &source, &revision, Freshness::Now).await {
                Ok(observation) => {
                    other = observation;
                    &other
                }
                Err(error) => {
                    let outcome = failure(OperationPhase::Error, &chain(&error));
                    return finish(look, memory, state, None, outcome).await;
                }
            }
        }
    };
    let resumed = look.status.operation_state.as_ref().is_some_and(|state| !state.phase.is_completed());
    state.sync_result = Some(result(observation, &source));
    look.status.operation_state = Some(state.clone());
    look.write(OperationChange::Keep).await?;
    if !resumed {
        look.context.reporter.operation_started(
            &look.application,
            &state,
            observation.desired.commit.as_str(),
        );
    }
    execute(look, memory, observation, &source).await
}

/// The newer commit that an automated operation would wait with, while it waits to try an older one again.
fn overtaken_by<'a>(
    state: &OperationState,
    observation: &'a Observation,
    source: &ApplicationSource,
) -> Option<&'a CommitId> {
    let tried = state.sync_result.as_ref().filter(|_| state.is_waiting_for_retry())?;
    let is_newest =
        tried.revision == observation.desired.commit.as_str() && tried.source.as_ref() == Some(source);
    (state.operation.initiated_by.automated && !is_newest).then_some(&observation.desired.commit)
}

/// What an operation may ask for that is not done yet.
fn unsupported(sync: &SyncOperation) -> Option<&'static str> {
    if !sync.manifests.is_empty() {
        return Some("operation.sync.manifests is not supported yet: push the manifests to the repository");
    }
    if !sync.sources.is_empty() || !sync.revisions.is_empty() {
        return Some("operation.sync.sources is not supported yet: use an Application with one source");
    }
    let force = sync.sync_strategy.as_ref().is_some_and(|strategy| {
        strategy.apply.as_ref().is_some_and(|apply| apply.force)
            || strategy.hook.as_ref().is_some_and(|hook| hook.force)
    });
    force.then_some("operation.sync.syncStrategy: 'force' is not supported yet: sync without it")
}

fn running(operation: Operation, observation: &Observation, source: &ApplicationSource) -> OperationState {
    OperationState {
        phase: OperationPhase::Running,
        started_at: Time::now(),
        operation,
        sync_result: Some(result(observation, source)),
        ..OperationState::default()
    }
}

fn result(observation: &Observation, source: &ApplicationSource) -> SyncOperationResult {
    SyncOperationResult {
        revision: observation.desired.commit.to_string(),
        source: Some(source.clone()),
        ..SyncOperationResult::default()
    }
}

fn failure(phase: OperationPhase, message: &str) -> Outcome {
    Outcome { phase, message: message.to_owned(), resources: Vec::new() }
}

/// Carries out the operation that is on record.
async fn execute(
    look: &mut Look<'_>,
    memory: &mut Memory,
    observation: &Observation,
    source: &ApplicationSource,
) -> Result<Next, ClusterError> {
    let Some(state) = look.status.operation_state.clone() else { return Ok(Next::default()) };
    let sync = state.operation.sync.clone().unwrap_or_default();
    let options = SyncOptions::new(&sync.sync_options);
    let skip_hooks = sync.sync_strategy.as_ref().is_some_and(|strategy| strategy.apply.is_some());
    let planned = plan(&PlanInput {
        candidates: &observation.comparison.candidates,
        options: &options,
        prune: sync.prune,
        resources: &sync.resources,
        skip_hooks,
        tracking: &look.tracking,
        destination_namespace: &look.application.spec.destination.namespace,
        destination_namespace_exists: observation.comparison.namespace_exists,
    });
    let outcome = match planned {
        Err(error) => failure(OperationPhase::Error, &chain(&error)),
        Ok(plan) => {
            let observer = CountedWrites { metrics: &look.context.metrics, application: &look.application };
            let executor = Executor {
                cluster: &look.context.cluster,
                admission: &observation.admission,
                tracking: &look.tracking,
                kinds: &observation.kinds,
                propagation: Propagation::from(options.prune_propagation_policy()),
                dry_run: sync.dry_run,
                observer: &observer,
            };
            executor.run(&plan).await
        }
    };
    finish(look, memory, state, Some((observation, source)), outcome).await
}

/// Puts the end of an attempt on record: the operation has ended, or is tried again later.
async fn finish(
    look: &mut Look<'_>,
    memory: &mut Memory,
    mut state: OperationState,
    observed: Option<(&Observation, &ApplicationSource)>,
    outcome: Outcome,
) -> Result<Next, ClusterError> {
    // Another replica may lead by now; then this attempt is its to finish, and nothing of it may be recorded.
    look.context.still_leads("record the outcome of", look.key)?;
    let sync = state.operation.sync.clone().unwrap_or_default();
    // An operation that ended before anything was looked at has tried no commit, and must say so: one without a
    // result counts as having tried every commit.
    state.sync_result.get_or_insert_with(SyncOperationResult::default).resources = outcome.resources;
    if let Err(error) = retry::end_attempt(&mut state, outcome.phase, &outcome.message, Time::now()) {
        state.message = format!("{} (operation.retry.backoff: {error})", state.message);
    }
    let ended = state.phase.is_completed();
    let phase = state.phase;
    let started_at = state.started_at;
    let initiated_by = state.operation.initiated_by.clone();
    look.status.operation_state = Some(state.clone());
    if !ended {
        look.write(OperationChange::Keep).await?;
        // However short the backoff is said to be.
        let wait = look.until_retry().unwrap_or_default().max(Duration::from_secs(1));
        return Ok(Next(Some((Level::Live, wait))));
    }
    let recorded = phase == OperationPhase::Succeeded && !sync.dry_run && !sync.is_selective();
    if let Some((observation, source)) = observed.filter(|_| recorded) {
        let entry = RevisionHistory {
            revision: observation.desired.commit.to_string(),
            source: Some(source.clone()),
            deployed_at: Time::now(),
            deploy_started_at: Some(started_at),
            initiated_by,
            ..RevisionHistory::default()
        };
        let limit = look.application.spec.history_limit();
        look.status.push_history(entry, limit);
    }
    look.finished(memory, phase, observed.map(|(observation, _)| &observation.desired));
    if !sync.dry_run {
        compare_again(look, memory).await;
    }
    look.write(OperationChange::Clear).await?;
    look.context.reporter.operation_completed(&look.application, &state);
    // Whatever did not come out as wished is looked at once more.
    Ok(Next(Some((Level::Live, Duration::from_millis(200)))))
}

/// What was just written is known from the answers, so this costs no request.
async fn compare_again(look: &mut Look<'_>, memory: &mut Memory) {
    let Some(source) = look.application.spec.effective_sources().into_iter().next() else { return };
    let revision = source.target_revision.clone();
    match look.observe(memory, &source, &revision, Freshness::Polled).await {
        Ok(observation) => {
            look.set_conditions(&[names::CONDITION_SYNC_ERROR], Vec::new());
            look.take_over(&observation, &source);
        }
        Err(error) => {
            tracing::debug!(application = %look.key, error = %chain(&error), "not compared after the sync");
        }
    }
}
