//! From verdicts to what is done, in which order.
//!
//! ```text
//! candidates ──▶ tasks ──▶ sorted by phase, wave, kind, name ──▶ groups of one phase and wave
//! (desired, live, verdict)      │
//!                               ├ a namespace or a kind goes before the first object that needs it
//!                               └ what is pruned goes in reverse
//! ```
//!
//! A plan says what the sync wants; whether each write is permitted is asked of `project` when it is carried out, and
//! whether an object may be pruned is asked again of [`Tracking::may_prune`] at that moment. Phases `PostSync` and
//! `SyncFail` and hooks have their place here, but no task is made for a hook yet: a plan with one is refused.

use std::sync::Arc;

use super::{
    hook::Role,
    order::{self, Provides},
    ownership::Tracking,
};
use crate::{
    api::{
        SyncOperationResource, SyncPhase,
        sync_options::{Deletion, SyncOptions},
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
    /// The source has hooks.
    #[error(
        "hooks are not supported yet: remove annotation '{annotation}' from {objects}, or sync with strategy 'apply'"
    )]
    NotSupported {
        /// The annotation that makes the first of them a hook.
        annotation: &'static str,
        /// The objects.
        objects: String,
    },
}

impl Classified for PlanError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Incomplete { .. } => ErrorKind::Transient,
            Self::NotSupported { .. } => ErrorKind::User,
        }
    }
}

/// Message of an object that is not pruned because the operation does not prune.
pub const REQUIRES_PRUNING: &str = "ignored (requires pruning)";
/// Message of an object that is not pruned because of its sync option.
pub const NO_PRUNE: &str = "ignored (no prune)";
/// Message of an object whose pruning has to be confirmed, which is not possible yet.
pub const CONFIRM_PRUNE: &str = "ignored (Prune=confirm is not supported yet: set Prune=true to prune it)";
/// Message of an object that was pruned.
pub const PRUNED: &str = "pruned";
/// Message of an object that would be pruned.
pub const PRUNED_DRY_RUN: &str = "pruned (dry run)";
/// Message of an operation that had nothing to do.
pub const NO_MORE_TASKS: &str = "successfully synced (no more tasks)";
/// Message of an operation that carried out every task.
pub const ALL_TASKS_RUN: &str = "successfully synced (all tasks run)";
/// Message of an operation that ended before the first write.
pub const DRY_RUN_FAILED: &str = "one or more objects failed to apply (dry run)";
/// Message of an operation some of whose tasks failed.
pub const TASKS_FAILED: &str = "one or more synchronization tasks completed unsuccessfully";
/// Message of an operation some of whose tasks are not permitted or unknown to the cluster; the reasons follow.
pub const TASKS_NOT_VALID: &str = "one or more synchronization tasks are not valid";

/// What is done to one object.
#[derive(Clone, Debug)]
pub enum Action {
    /// The destination namespace is created.
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
        /// Whether the two differ. An object that does not is applied nevertheless, to own its fields.
        changed: bool,
    },
    /// The object is deleted.
    Prune {
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
    /// What is done.
    pub action: Action,
}

impl Task {
    fn new(object: &Object, phase: SyncPhase, wave: i64, action: Action) -> Self {
        Self { key: object.key(), gvk: object.gvk(), phase, wave, action }
    }

    /// Whether it deletes the object or decides not to.
    pub fn is_prune(&self) -> bool {
        matches!(self.action, Action::Prune { .. } | Action::SkipPrune { .. })
    }

    /// The object that is applied, if one is.
    pub fn applied(&self) -> Option<&Arc<Object>> {
        match &self.action {
            Action::CreateNamespace { object } => Some(object),
            Action::Apply { desired, .. } => Some(desired),
            Action::Prune { .. } | Action::SkipPrune { .. } => None,
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

impl Group {
    /// The tasks that delete or decide not to: dependents before what they need.
    pub fn prunes(&self) -> impl Iterator<Item = &Task> {
        self.tasks.iter().filter(|task| task.is_prune())
    }

    /// The tasks that apply, in batches of one kind: a batch may be applied at once, the next begins when it is done.
    pub fn apply_batches(&self) -> impl Iterator<Item = &[Task]> {
        let first = self.tasks.iter().position(|task| !task.is_prune()).unwrap_or(self.tasks.len());
        let applies = self.tasks.get(first..).unwrap_or_default();
        applies.chunk_by(|a, b| a.key.kind == b.key.kind)
    }
}

/// What a sync does, in order.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// The groups; one begins when the one before it is done and healthy.
    pub groups: Vec<Group>,
}

impl Plan {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Every task, in order.
    pub fn tasks(&self) -> impl Iterator<Item = &Task> {
        self.groups.iter().flat_map(|group| &group.tasks)
    }
}

/// Makes the plan of one sync.
///
/// # Errors
/// When an object could not be compared, or the source has hooks that should run.
pub fn plan(input: &PlanInput<'_>) -> Result<Plan, PlanError> {
    refuse_incomplete(input)?;
    refuse_hooks(input)?;
    let mut tasks: Vec<Task> =
        input.candidates.iter().filter_map(|candidate| task(candidate, input)).collect();
    tasks.extend(namespace_task(input));
    arrange_prunes(&mut tasks, input);
    tasks.sort_by(|a, b| sort_key(a).cmp(&sort_key(b)));
    hoist(&mut tasks);
    let mut groups: Vec<Group> = Vec::new();
    for task in tasks {
        match groups.last_mut() {
            Some(group) if (group.phase, group.wave) == (task.phase, task.wave) => group.tasks.push(task),
            _ => groups.push(Group { phase: task.phase, wave: task.wave, tasks: vec![task] }),
        }
    }
    for group in &mut groups {
        prunes_first(&mut group.tasks);
    }
    Ok(Plan { groups })
}

fn refuse_incomplete(input: &PlanInput<'_>) -> Result<(), PlanError> {
    let unknown = input.candidates.iter().filter(|candidate| candidate.verdict == Verdict::Unknown);
    let objects = name_some(unknown.filter_map(|candidate| candidate.object()));
    if objects.is_empty() { Ok(()) } else { Err(PlanError::Incomplete { objects }) }
}

fn refuse_hooks(input: &PlanInput<'_>) -> Result<(), PlanError> {
    if input.skip_hooks || !input.resources.is_empty() {
        return Ok(());
    }
    let mut annotation = None;
    let hooks = input.candidates.iter().filter_map(|candidate| candidate.desired.as_ref()).filter(|object| {
        let is_hook = matches!(Role::of(object), Role::Hook(_));
        if is_hook && annotation.is_none() {
            let of_argo = object.annotation(crate::api::names::ANNOTATION_HOOK).is_some();
            annotation = Some(if of_argo {
                crate::api::names::ANNOTATION_HOOK
            } else {
                crate::api::names::ANNOTATION_HELM_HOOK
            });
        }
        is_hook
    });
    let objects = name_some(hooks);
    match annotation {
        Some(annotation) => Err(PlanError::NotSupported { annotation, objects }),
        None => Ok(()),
    }
}

/// The first few identities, for a message.
fn name_some<'a>(objects: impl Iterator<Item = &'a Arc<Object>>) -> String {
    const NAMED: usize = 3;
    let keys: Vec<String> = objects.map(|object| object.key().to_string()).collect();
    let named = keys.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    match keys.len().saturating_sub(NAMED) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

fn is_selected(object: &Object, resources: &[SyncOperationResource]) -> bool {
    resources.is_empty()
        || resources.iter().any(|wanted| {
            wanted.group == object.group()
                && wanted.kind == object.kind()
                && wanted.name == object.name()
                && (wanted.namespace.is_empty() || wanted.namespace == object.namespace())
        })
}

fn task(candidate: &Candidate, input: &PlanInput<'_>) -> Option<Task> {
    let object = candidate.declared()?;
    if !is_selected(object, input.resources) || !Role::of(object).is_resource() {
        return None;
    }
    if let Some(desired) = &candidate.desired {
        let changed = candidate.verdict != Verdict::Same;
        if !changed && input.options.apply_out_of_sync_only() {
            return None;
        }
        let action = Action::Apply { desired: Arc::clone(desired), live: candidate.live.clone(), changed };
        return Some(Task::new(desired, SyncPhase::Sync, order::wave(desired), action));
    }
    let live = candidate.live.as_ref()?;
    input.tracking.may_prune(live).ok()?;
    let own = SyncOptions::of_object(live);
    let skip = |message| Action::SkipPrune { live: Arc::clone(live), message };
    let action = match (input.prune, SyncOptions::prune(input.options, &own)) {
        (false, _) => skip(REQUIRES_PRUNING),
        (true, Deletion::Forbidden) => skip(NO_PRUNE),
        (true, Deletion::Confirm) => skip(CONFIRM_PRUNE),
        (true, Deletion::Allowed) => Action::Prune { live: Arc::clone(live) },
    };
    Some(Task::new(live, SyncPhase::Sync, order::wave(live), action))
}

/// The task that creates the destination namespace, unless it is there or the source has it.
fn namespace_task(input: &PlanInput<'_>) -> Option<Task> {
    let name = input.destination_namespace;
    if !input.options.create_namespace() || name.is_empty() || input.destination_namespace_exists {
        return None;
    }
    let wanted = Provides::Namespace(name.to_owned());
    let declared = input.candidates.iter().filter_map(|candidate| candidate.desired.as_ref());
    if declared.map(|object| Provides::of(object)).any(|provides| provides.as_ref() == Some(&wanted)) {
        return None;
    }
    let namespace =
        serde_json::json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
    let object = Arc::new(Object::from_value(namespace).ok()?);
    Some(Task::new(&object, SyncPhase::PreSync, 0, Action::CreateNamespace { object: Arc::clone(&object) }))
}

/// Mirrors the waves of prunes (what came last goes first) and moves those that go last behind everything.
fn arrange_prunes(tasks: &mut [Task], input: &PlanInput<'_>) {
    let mut waves: Vec<i64> = tasks.iter().filter(|task| task.is_prune()).map(|task| task.wave).collect();
    waves.sort_unstable();
    waves.dedup();
    let mirrored = |wave: i64| {
        let place = waves.iter().position(|other| *other == wave)?;
        waves.iter().rev().nth(place).copied()
    };
    for task in tasks.iter_mut().filter(|task| task.is_prune()) {
        task.wave = mirrored(task.wave).unwrap_or(task.wave);
    }
    let in_sync = tasks.iter().filter(|task| task.phase == SyncPhase::Sync).map(|task| task.wave);
    let last = in_sync.max().unwrap_or_default().max(0).saturating_add(1);
    for task in tasks {
        let (Action::Prune { live } | Action::SkipPrune { live, .. }) = &task.action else {
            continue;
        };
        if input.options.prune_last() || SyncOptions::of_object(live).prune_last() {
            task.wave = last;
        }
    }
}

fn sort_key(task: &Task) -> (SyncPhase, i64, usize, &str, &str, &str) {
    let key = &task.key;
    (task.phase, task.wave, order::kind_rank(&key.kind), &key.kind, &key.name, &key.namespace)
}

/// Moves each namespace and each kind's definition before the first object that needs it.
fn hoist(tasks: &mut Vec<Task>) {
    let providers: Vec<(ObjectKey, Provides)> =
        tasks.iter().filter_map(|task| Some((task.key.clone(), Provides::of(task.applied()?)?))).collect();
    for (key, provides) in providers {
        let Some(from) = tasks.iter().position(|task| task.key == key && !task.is_prune()) else {
            continue;
        };
        let needed =
            tasks.iter().position(|task| task.applied().is_some_and(|object| provides.is_needed_by(object)));
        let Some(to) = needed.filter(|to| *to < from) else {
            continue;
        };
        let mut provider = tasks.remove(from);
        if let Some(dependent) = tasks.get(to) {
            provider.phase = dependent.phase;
            provider.wave = dependent.wave;
        }
        tasks.insert(to, provider);
    }
}

fn prunes_first(tasks: &mut Vec<Task>) {
    let (mut prunes, applies): (Vec<Task>, Vec<Task>) = tasks.drain(..).partition(Task::is_prune);
    prunes.reverse();
    tasks.extend(prunes.into_iter().chain(applies));
}

#[cfg(test)]
mod tests;
