//! What comes next in a sync: a function of its plan, its record and the live objects.
//!
//! ```text
//! hooks run? ──▶ wait          something failed? ──▶ SyncFail hooks ──▶ Failed
//!    │ no                              │ no
//!    ▼                                 ▼
//! applied objects healthy, pruned objects gone? ──no──▶ wait
//!    │ yes
//!    ▼
//! the first group with pending tasks ──▶ run it;  none left ──▶ Succeeded
//! ```
//!
//! [`update`] first brings the record up to what the live objects show. Nothing here depends on who has done the
//! steps before: any replica comes to the same answer from the same record.

use super::{
    plan::{Action, Plan, Task},
    record::{self, Progress, Record},
};
use crate::{
    api::{HealthStatus, HealthStatusCode, OperationPhase, ResourceResult, ResultCode, SyncPhase},
    object::{Object, ObjectKey},
};

/// Message of an operation that had nothing to do.
pub const NO_MORE_TASKS: &str = "successfully synced (no more tasks)";
/// Message of an operation that carried out every task.
pub const ALL_TASKS_RUN: &str = "successfully synced (all tasks run)";
/// Message of an operation some of whose tasks failed.
pub const TASKS_FAILED: &str = "one or more synchronization tasks completed unsuccessfully";
/// What follows when hooks that ran because of that failed too.
const SYNC_FAIL_FAILED: &str = "one or more SyncFail hooks failed";

/// What the cluster has, as far as a step asks.
pub trait Live {
    /// The live object of a task; `None` when the cluster does not have it.
    fn object(&self, task: &Task) -> Option<&Object>;
    /// How well it runs; `None` when its kind has no health.
    fn health(&self, object: &Object) -> Option<HealthStatus>;
}

/// What comes next.
#[derive(Clone, Debug)]
pub enum Step<'p> {
    /// These tasks, of one phase and wave.
    Run(Vec<&'p Task>),
    /// Nothing before the cluster changes, for the reason that the message tells.
    Wait(String),
    /// Nothing before somebody approves that these objects are deleted.
    Confirm(Vec<ObjectKey>),
    /// Nothing any more.
    Finish {
        /// How it ended.
        phase: OperationPhase,
        /// In one sentence.
        message: String,
    },
}

/// Brings the tasks that run to what the live objects show.
pub fn update(plan: &Plan, record: &mut Record, live: &dyn Live) {
    let has_steps = plan.has_steps();
    for task in plan.tasks().filter(|task| task.applied().is_some()) {
        if record.progress(task) != Progress::Running {
            continue;
        }
        let Some(row) = record.row(task).cloned() else { continue };
        let Some(object) = live.object(task) else {
            if task.is_hook() || has_steps {
                let message = format!("Resource {} is missing, it might have been deleted", name(task));
                record.set(ResourceResult { hook_phase: Some(OperationPhase::Error), message, ..row });
            }
            continue;
        };
        // Nobody waits for these, so their health decides nothing either: it is the Application's, not the sync's.
        if !task.is_hook() && !has_steps {
            continue;
        }
        let health = live.health(object);
        let phase = match health.as_ref().map(|health| health.status) {
            None | Some(HealthStatusCode::Healthy) => OperationPhase::Succeeded,
            Some(HealthStatusCode::Degraded) => OperationPhase::Failed,
            Some(HealthStatusCode::Unknown) if task.is_hook() => OperationPhase::Failed,
            Some(HealthStatusCode::Missing) if task.is_hook() => OperationPhase::Succeeded,
            Some(_) => continue,
        };
        // What an object says of itself is news of a hook, and of an object that failed.
        let said = health.map(|health| health.message).filter(|text| !text.is_empty());
        let message = match said {
            Some(text) if task.is_hook() || phase == OperationPhase::Failed => text,
            _ => row.message.clone(),
        };
        record.set(ResourceResult { hook_phase: Some(phase), message, ..row });
    }
}

/// What comes next, once the record is up to date.
pub fn next<'p>(plan: &'p Plan, record: &Record, live: &dyn Live) -> Step<'p> {
    let with = |progress: Progress| plan.tasks().filter(move |task| record.progress(task) == progress);
    let hooks: Vec<&Task> = with(Progress::Running).filter(|task| task.is_hook()).collect();
    if let Some(message) = waiting("completion of hook", "hooks", &hooks) {
        return Step::Wait(message);
    }
    let pending = |task: &&Task| matches!(record.progress(task), Progress::Pending | Progress::Creating);
    // By the rows, not by the tasks: what failed may be no part of the plan any more.
    let mut failed = record.rows().iter().filter(|row| record::progress(row) == Progress::Failed).peekable();
    if failed.peek().is_some() {
        let group = plan.groups.iter().find(|group| {
            group.phase == SyncPhase::SyncFail && group.tasks.iter().any(|task| pending(&task))
        });
        let sync_fail_failed = failed.any(|row| row.sync_phase == Some(SyncPhase::SyncFail));
        return match group.filter(|_| !sync_fail_failed) {
            Some(group) => Step::Run(group.tasks.iter().filter(pending).collect()),
            None => Step::Finish { phase: OperationPhase::Failed, message: reasons(record) },
        };
    }
    let groups = || plan.groups.iter().filter(|group| group.phase != SyncPhase::SyncFail);
    let next = groups().find(|group| group.tasks.iter().any(|task| pending(&task)));
    let ends_with_hooks = groups().next_back().is_some_and(|group| group.tasks.iter().any(Task::is_hook));
    if next.is_none() && !ends_with_hooks {
        let message = if plan.is_empty() { NO_MORE_TASKS } else { ALL_TASKS_RUN };
        return Step::Finish { phase: OperationPhase::Succeeded, message: message.to_owned() };
    }
    if plan.has_steps() {
        let applied: Vec<&Task> = with(Progress::Running).collect();
        if let Some(message) = waiting("healthy state of", "resources", &applied) {
            return Step::Wait(message);
        }
    }
    let going: Vec<&Task> = with(Progress::Succeeded)
        .filter(|task| is_pruned(record, task) && live.object(task).is_some_and(Object::is_terminating))
        .collect();
    if let Some(message) = waiting("deletion of", "resources", &going) {
        return Step::Wait(message);
    }
    let Some(group) = next else {
        return Step::Finish { phase: OperationPhase::Succeeded, message: NO_MORE_TASKS.to_owned() };
    };
    let tasks: Vec<&Task> = group.tasks.iter().filter(pending).collect();
    let to_confirm: Vec<ObjectKey> = tasks
        .iter()
        .filter(|task| matches!(task.action, Action::ConfirmPrune { .. }))
        .map(|task| task.key.clone())
        .collect();
    if to_confirm.is_empty() { Step::Run(tasks) } else { Step::Confirm(to_confirm) }
}

fn is_pruned(record: &Record, task: &Task) -> bool {
    record.row(task).and_then(|row| row.status) == Some(ResultCode::Pruned)
}

/// `apps/Deployment/orders`, as the messages of Argo CD name an object.
pub fn name(task: &Task) -> String {
    format!("{}/{}/{}", task.key.group, task.key.kind, task.key.name)
}

fn waiting(what: &str, several: &str, tasks: &[&Task]) -> Option<String> {
    let (first, more) = tasks.split_first()?;
    let more = if more.is_empty() { String::new() } else { format!(" and {} more {several}", more.len()) };
    Some(format!("waiting for {what} {}{more}", name(first)))
}

fn reasons(record: &Record) -> String {
    let of = |in_sync_fail: bool| {
        let failed = record.rows().iter().filter(|row| record::progress(row) == Progress::Failed);
        let mut reasons: Vec<&str> = failed
            .filter(|row| (row.sync_phase == Some(SyncPhase::SyncFail)) == in_sync_fail)
            .map(|row| row.message.as_str())
            .filter(|message| !message.is_empty())
            .collect();
        reasons.sort_unstable();
        reasons.dedup();
        reasons.join(",")
    };
    let told = |what: &str, reasons: String| {
        if reasons.is_empty() { what.to_owned() } else { format!("{what}, reason: {reasons}") }
    };
    let of_hooks = of(true);
    let message = told(TASKS_FAILED, of(false));
    if of_hooks.is_empty() { message } else { format!("{message}\n{}", told(SYNC_FAIL_FAILED, of_hooks)) }
}

#[cfg(test)]
mod tests;
