//! From verdicts to what is done, in which order.
//!
//! ```text
//! candidates ──▶ tasks ──▶ sorted by phase, wave, kind, name ──▶ groups of one phase and wave
//! (desired, live, verdict)      │
//!                               ├ a hook is a task in each phase that it names
//!                               ├ a namespace or a kind goes before the first object that needs it
//!                               └ what is pruned goes in reverse
//! ```
//!
//! A plan says what the sync wants. How far it is stands in the operation's rows ([`super::record`]), and what comes
//! next is said by [`super::step`]. Whether each write is permitted is asked of `project` when it is carried out, and
//! whether an object may be pruned is asked again of [`Tracking::may_prune`] at that moment. A plan is made anew at
//! each step: the same commit and the same rows give the same order, whatever has been done meanwhile.

mod arrange;
mod tasks;

use std::{collections::BTreeSet, sync::Arc};

use super::{ownership::Tracking, record};
use crate::{
    api::{
        HookType, ManagedNamespaceMetadata, ResourceResult, SyncOperationResource, SyncPhase, Time,
        sync_options::SyncOptions,
    },
    compare::Difference,
    error::{Classified, ErrorKind},
    object::{Gvk, Object, ObjectKey},
};

/// How a desired object compares with the live one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The cluster has what is declared.
    Same,
    /// It has something else.
    Differs(Vec<Difference>),
    /// It has no such object.
    Missing,
    /// It has an object of this Application that the source does not have.
    Extra,
    /// They could not be compared.
    Unknown,
}

/// One object of an Application: declared, live, or both.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// As the source declares it, marked and with its final namespace.
    pub desired: Option<Arc<Object>>,
    /// As the cluster has it.
    pub live: Option<Arc<Object>>,
    /// How the two compare.
    pub verdict: Verdict,
}

impl Candidate {
    /// The object as the cluster has it, else as the source declares it.
    pub fn object(&self) -> Option<&Arc<Object>> {
        self.live.as_ref().or(self.desired.as_ref())
    }

    /// The object as the source declares it, else as the cluster has it.
    pub fn declared(&self) -> Option<&Arc<Object>> {
        self.desired.as_ref().or(self.live.as_ref())
    }
}

/// What a plan is made from.
#[derive(Clone, Copy, Debug)]
pub struct PlanInput<'a> {
    /// Every object of the Application.
    pub candidates: &'a [Candidate],
    /// The operation's sync options.
    pub options: &'a SyncOptions,
    /// Whether the operation deletes what the source no longer has.
    pub prune: bool,
    /// Whether somebody has approved, since the operation began, what has to be approved.
    pub approved: bool,
    /// The only objects to sync; empty for all. A selective sync runs no hooks.
    pub resources: &'a [SyncOperationResource],
    /// Whether hooks are left out (strategy `apply`).
    pub skip_hooks: bool,
    /// Who owns what.
    pub tracking: &'a Tracking,
    /// `spec.destination.namespace`; may be empty.
    pub destination_namespace: &'a str,
    /// Whether the cluster has that namespace.
    pub destination_namespace_exists: bool,
    /// Labels and annotations of that namespace, if it is the Application's to create.
    pub namespace_metadata: Option<&'a ManagedNamespaceMetadata>,
    /// The same as it was given last.
    pub former_namespace_metadata: Option<&'a ManagedNamespaceMetadata>,
    /// The commit, for generated names.
    pub revision: &'a str,
    /// When the operation began, for generated names.
    pub started_at: Time,
    /// What is on record of the operation.
    pub rows: &'a [ResourceResult],
}

/// Why no plan can be made. Nothing has been written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// An object could not be compared, so the picture is incomplete.
    #[error("nothing is synced because {objects} could not be compared: see the application's conditions")]
    Incomplete {
        /// The objects.
        objects: String,
    },
}

impl Classified for PlanError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Incomplete { .. } => ErrorKind::Transient,
        }
    }
}

/// Message of an object that is not pruned because the operation does not prune.
pub const REQUIRES_PRUNING: &str = "ignored (requires pruning)";
/// Message of an object that is not pruned because of its sync option.
pub const NO_PRUNE: &str = "ignored (no prune)";
/// Message of a namespace or definition that is not pruned because declared objects need it.
pub const STILL_NEEDED: &str = "ignored (objects that the source declares need it)";
/// Message of an object that was pruned.
pub const PRUNED: &str = "pruned";
/// Message of an object that would be pruned.
pub const PRUNED_DRY_RUN: &str = "pruned (dry run)";

/// What is done to one object.
#[derive(Clone, Debug)]
pub enum Action {
    /// The destination namespace is created, or given its labels and annotations.
    CreateNamespace {
        /// The namespace, untracked: it is never pruned.
        object: Arc<Object>,
    },
    /// The object is applied.
    Apply {
        /// As declared.
        desired: Arc<Object>,
        /// As it is.
        live: Option<Arc<Object>>,
        /// Whether the two differ. One that does not is written only if its options say so.
        changed: bool,
    },
    /// The object is deleted.
    Prune {
        /// As it is.
        live: Arc<Object>,
    },
    /// The object is deleted as soon as somebody approves it; its group waits.
    ConfirmPrune {
        /// As it is.
        live: Arc<Object>,
    },
    /// The object stays, though the source no longer has it.
    SkipPrune {
        /// As it is.
        live: Arc<Object>,
        /// Why.
        message: &'static str,
    },
}

/// One step of a plan.
#[derive(Clone, Debug)]
pub struct Task {
    /// The object's identity.
    pub key: ObjectKey,
    /// The object's group, version and kind.
    pub gvk: Gvk,
    /// The phase.
    pub phase: SyncPhase,
    /// The wave within the phase.
    pub wave: i64,
    /// When it runs, if it is a hook.
    pub hook: Option<HookType>,
    /// What is done.
    pub action: Action,
}

impl Task {
    /// Whether it deletes the object or decides not to.
    pub fn is_prune(&self) -> bool {
        self.pruned().is_some()
    }

    /// Whether it is a hook.
    pub fn is_hook(&self) -> bool {
        self.hook.is_some()
    }

    /// The object that is applied, if one is.
    pub fn applied(&self) -> Option<&Arc<Object>> {
        match &self.action {
            Action::CreateNamespace { object } => Some(object),
            Action::Apply { desired, .. } => Some(desired),
            Action::Prune { .. } | Action::ConfirmPrune { .. } | Action::SkipPrune { .. } => None,
        }
    }

    /// The object that the source no longer has, if it is one.
    pub fn pruned(&self) -> Option<&Arc<Object>> {
        match &self.action {
            Action::Prune { live } | Action::ConfirmPrune { live } | Action::SkipPrune { live, .. } => {
                Some(live)
            }
            Action::CreateNamespace { .. } | Action::Apply { .. } => None,
        }
    }
}

/// The tasks of one phase and wave: prunes first, then applies.
#[derive(Clone, Debug)]
pub struct Group {
    /// The phase.
    pub phase: SyncPhase,
    /// The wave.
    pub wave: i64,
    /// The tasks, in order.
    pub tasks: Vec<Task>,
}

/// What a sync does, in order.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// The groups; one begins when the one before it is done and healthy.
    pub groups: Vec<Group>,
    has_steps: bool,
}

impl Plan {
    /// A plan of these groups, in an operation that has these rows on record.
    pub fn new(groups: Vec<Group>, rows: &[ResourceResult]) -> Self {
        let counted = groups.iter().filter(|group| {
            group.tasks.iter().any(|task| !matches!(task.action, Action::CreateNamespace { .. }))
        });
        let pruned = rows.iter().filter_map(record::prune_wave).map(|wave| (SyncPhase::Sync, wave));
        let steps: BTreeSet<(SyncPhase, i64)> =
            counted.map(|group| (group.phase, group.wave)).chain(pruned).collect();
        Self { has_steps: steps.len() > 1, groups }
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Every task, in order.
    pub fn tasks(&self) -> impl Iterator<Item = &Task> {
        self.groups.iter().flat_map(|group| &group.tasks)
    }

    /// Whether there is more than one phase or wave, so that one waits for the health of the one before it. The
    /// creation of the destination namespace does not count; what the operation has pruned does.
    pub fn has_steps(&self) -> bool {
        self.has_steps
    }
}

/// Makes the plan of one sync.
///
/// # Errors
/// When an object could not be compared.
pub fn plan(input: &PlanInput<'_>) -> Result<Plan, PlanError> {
    let unknown = input.candidates.iter().filter(|candidate| candidate.verdict == Verdict::Unknown);
    let objects = name_some(unknown.filter_map(|candidate| candidate.object()).map(|object| object.key()));
    if !objects.is_empty() {
        return Err(PlanError::Incomplete { objects });
    }
    Ok(Plan::new(arrange::groups(tasks::tasks(input), input), input.rows))
}

/// The first few identities, for a message.
pub fn name_some(keys: impl Iterator<Item = ObjectKey>) -> String {
    const NAMED: usize = 3;
    let keys: Vec<String> = keys.map(|key| key.to_string()).collect();
    let named = keys.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    match keys.len().saturating_sub(NAMED) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

#[cfg(test)]
mod tests;
