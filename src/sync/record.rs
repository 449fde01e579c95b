//! How far a sync is: the rows of `status.operationState.syncResult.resources`.
//!
//! ```text
//! no row ─▶ Creating (hooks only: about to be created) ─▶ Running ─▶ Succeeded │ Failed
//! Planned (prunes only: in which wave) ─────────────────────────────┘
//! ```
//!
//! What is pruned is gone from the next plan, so a prune's row keeps its wave when it is done: a sync of several waves
//! stays one.
//!
//! The rows and the live objects are all that is known of a sync. A replica that takes over reads them and goes on
//! from there, so whatever must not happen twice is on record before it happens: a hook is put on record as
//! `Creating` when its predecessor is known to be gone. If it is there later, this operation has created it; its
//! finalizer keeps it from vanishing unseen.

use std::collections::HashMap;

use super::plan::{Plan, Task};
use crate::{
    api::{OperationPhase, ResourceResult, ResultCode, SyncPhase},
    object::ObjectKey,
};

const PLANNED: &str = "to be pruned in wave ";
/// What becomes of that when the object was pruned.
const PRUNED: &str = "pruned in wave ";
/// Message of a hook that is about to be created.
const CREATING: &str = "creating";
/// Message of a task that was cut off by whoever ended the operation.
pub const TERMINATED: &str = "Terminated";

/// How far a task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Nothing was done.
    Pending,
    /// A hook that this operation creates: it was not there when that was put on record.
    Creating,
    /// Applied; it is not known yet what comes of it.
    Running,
    /// Done.
    Succeeded,
    /// Refused, unhealthy, or gone.
    Failed,
}

/// The rows of one operation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Record {
    rows: Vec<ResourceResult>,
    places: HashMap<(ObjectKey, SyncPhase), usize>,
}

impl Record {
    /// Takes in the rows of a status.
    pub fn new(rows: Vec<ResourceResult>) -> Self {
        let places = rows.iter().enumerate().map(|(place, row)| (identity(row), place)).collect();
        Self { rows, places }
    }

    /// The rows.
    pub fn rows(&self) -> &[ResourceResult] {
        &self.rows
    }

    /// Whether nothing was begun.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The row of a task.
    pub fn row(&self, task: &Task) -> Option<&ResourceResult> {
        self.rows.get(*self.places.get(&(task.key.clone(), task.phase))?)
    }

    /// Adds a row, or replaces the one of the same object and phase.
    pub fn set(&mut self, mut row: ResourceResult) {
        match self.places.get(&identity(&row)).and_then(|place| self.rows.get_mut(*place)) {
            Some(known) => {
                if row.status == Some(ResultCode::Pruned)
                    && let Some(wave) = prune_wave(known)
                {
                    row.message = format!("{PRUNED}{wave}");
                }
                *known = row;
            }
            None => {
                self.places.insert(identity(&row), self.rows.len());
                self.rows.push(row);
            }
        }
    }

    /// How far a task is.
    pub fn progress(&self, task: &Task) -> Progress {
        self.row(task).map_or(Progress::Pending, progress)
    }

    /// Puts on record in which waves objects are to be pruned: once some of them are gone, that cannot be told any
    /// more.
    pub fn plan_prunes(&mut self, plan: &Plan) {
        for task in plan.tasks().filter(|task| task.is_prune()) {
            if self.row(task).is_none() {
                self.set(ResourceResult { message: format!("{PLANNED}{}", task.wave), ..row(task) });
            }
        }
    }

    /// Puts on record that a hook is created now.
    pub fn create(&mut self, task: &Task) {
        let message = CREATING.to_owned();
        self.set(ResourceResult { message, hook_phase: Some(OperationPhase::Running), ..row(task) });
    }

    /// Takes out what was never begun, at the end of an operation.
    pub fn into_results(self) -> Vec<ResourceResult> {
        self.rows.into_iter().filter(|row| progress(row) != Progress::Pending).collect()
    }
}

fn identity(row: &ResourceResult) -> (ObjectKey, SyncPhase) {
    (key(row), row.sync_phase.unwrap_or_default())
}

/// The identity of a row's object.
pub fn key(row: &ResourceResult) -> ObjectKey {
    ObjectKey::new(&row.group, &row.kind, &row.namespace, &row.name)
}

/// How far the task of a row is.
pub fn progress(row: &ResourceResult) -> Progress {
    match (row.hook_phase, row.status) {
        (None, None) => Progress::Pending,
        (Some(OperationPhase::Running | OperationPhase::Terminating), None) => Progress::Creating,
        (Some(OperationPhase::Running | OperationPhase::Terminating), Some(ResultCode::SyncFailed))
        | (Some(OperationPhase::Failed | OperationPhase::Error), _)
        | (None, Some(ResultCode::SyncFailed)) => Progress::Failed,
        (Some(OperationPhase::Running | OperationPhase::Terminating), Some(_)) => Progress::Running,
        (Some(OperationPhase::Succeeded), _) | (None, Some(_)) => Progress::Succeeded,
    }
}

/// An empty row for a task.
pub fn row(task: &Task) -> ResourceResult {
    ResourceResult {
        group: task.key.group.clone(),
        version: task.gvk.version.clone(),
        kind: task.key.kind.clone(),
        namespace: task.key.namespace.clone(),
        name: task.key.name.clone(),
        hook_type: task.hook,
        sync_phase: Some(task.phase),
        ..ResourceResult::default()
    }
}

/// The wave in which an object is or was pruned, as it was put on record; none in a sync of one wave.
pub fn prune_wave(row: &ResourceResult) -> Option<i64> {
    let wave = row.message.strip_prefix(PLANNED).or_else(|| row.message.strip_prefix(PRUNED))?;
    wave.parse().ok()
}

/// [`prune_wave`] of one object.
pub fn planned_wave(rows: &[ResourceResult], object: &ObjectKey) -> Option<i64> {
    rows.iter().find(|row| prune_wave(row).is_some() && key(row) == *object).and_then(prune_wave)
}
