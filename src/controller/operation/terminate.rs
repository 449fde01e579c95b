//! Ending an operation before its end.

use super::{Ended, finish};
use crate::{
    api::{
        HealthStatusCode, OperationPhase, OperationState, ResourceResult, ResultCode,
        sync_options::SyncOptions,
    },
    cluster::ClusterError,
    compare::Rules,
    controller::{
        deletion,
        reconcile::{Look, Memory, Next},
        reporter::CountedWrites,
    },
    health::Scripts,
    object::Gvk,
    sync::{
        executor::Executor,
        hook::DeletePolicy,
        record::{self, Progress},
    },
};

/// Ends an operation: hooks that run are deleted, what is done stays done.
pub(super) async fn terminate(
    look: &mut Look<'_>,
    memory: &mut Memory,
    mut state: OperationState,
    message: String,
) -> Result<Next, ClusterError> {
    state.phase = OperationPhase::Terminating;
    let problems = end_hooks(look, &mut state).await;
    let said =
        if message.starts_with("Operation terminated") { message } else { "Operation terminated".to_owned() };
    let ended = if problems.is_empty() {
        Ended::new(OperationPhase::Failed, said)
    } else {
        let problems = problems.join("; ");
        Ended::new(OperationPhase::Error, format!("Operation termination had errors: {problems}"))
    };
    finish(look, memory, state, None, ended).await
}

/// Ends the hooks that still run in an operation that has ended otherwise.
pub(super) async fn end_running_hooks(look: &Look<'_>, state: &mut OperationState) -> Vec<String> {
    let runs = |row: &ResourceResult| {
        let progress = record::progress(row);
        row.hook_type.is_some() && matches!(progress, Progress::Running | Progress::Creating)
    };
    let is_left = state.sync_result.iter().flat_map(|result| &result.resources).any(runs);
    if is_left { end_hooks(look, state).await } else { Vec::new() }
}

/// Deletes the hooks of an operation that still run, and lets those go that have ended.
pub(in crate::controller) async fn end_hooks(look: &Look<'_>, state: &mut OperationState) -> Vec<String> {
    let Some(result) = &mut state.sync_result else { return Vec::new() };
    if !result.resources.iter().any(|row| row.hook_type.is_some()) {
        return Vec::new();
    }
    let admission = match deletion::admit(look) {
        Ok(admission) => admission,
        Err(problem) => return vec![problem],
    };
    let sync = state.operation.sync.clone().unwrap_or_default();
    let options = SyncOptions::new(&sync.sync_options);
    let kinds = look.context.cluster.kinds();
    let observer = CountedWrites { metrics: &look.context.metrics, application: &look.application };
    let rules = Rules::default();
    let executor = deletion::executor(look, &admission, &kinds, &options, &rules, &observer);
    let mut problems = Vec::new();
    for row in result.resources.iter_mut().filter(|row| row.hook_type.is_some()) {
        if let Err(problem) = end_hook(&executor, look.settings.health_scripts(), row).await {
            problems.push(problem);
        }
    }
    problems
}

async fn end_hook(
    executor: &Executor<'_>,
    scripts: &Scripts,
    row: &mut ResourceResult,
) -> Result<(), String> {
    let progress = record::progress(row);
    if progress == Progress::Pending {
        return Ok(());
    }
    let (gvk, key) = (Gvk::new(&row.group, &row.version, &row.kind), record::key(row));
    let live = executor.read(&gvk, &key).await?;
    let runs = matches!(progress, Progress::Running | Progress::Creating);
    let health =
        live.as_ref().and_then(|live| scripts.assess(live).ok().flatten()).map(|health| health.status);
    let ended = match health {
        _ if !runs => None,
        Some(HealthStatusCode::Healthy) => Some(OperationPhase::Succeeded),
        Some(HealthStatusCode::Degraded) => Some(OperationPhase::Failed),
        _ => None,
    };
    if let Some(live) = &live {
        if (runs && ended.is_none()) || DeletePolicy::of(live).on_failure {
            executor.delete_hook(&gvk, &key).await?;
        } else {
            executor.release_ended(&gvk, &key).await?;
        }
    }
    if runs {
        row.status = Some(ResultCode::Synced);
        row.hook_phase = Some(ended.unwrap_or(OperationPhase::Failed));
        if ended.is_none() {
            record::TERMINATED.clone_into(&mut row.message);
        }
    }
    Ok(())
}
