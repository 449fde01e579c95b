//! Whether a sync begins by itself.
//!
//! Asked after every full comparison. The answer depends on values only: the Application, what was just compared, and
//! the time. One revision is tried once (the operation's own retries apart); after that, only drift begins another
//! sync, and drift that keeps coming back is put right ever less often.

use std::{collections::HashSet, time::Duration};

use jiff::Timestamp;

use crate::{
    api::{
        Application, ApplicationSource, ApplicationSpec, Operation, OperationInitiator, OperationPhase,
        OperationState, ResourceStatus, SyncOperation, SyncOperationResource, SyncStatus, SyncStatusCode,
        sync_options::SyncOptions,
    },
    object::ObjectKey,
};

/// How long to wait before drift that came back is put right again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SelfHealBackoff {
    /// The delay before the second attempt; the first one has none.
    pub first: Duration,
    /// What the delay is multiplied with after every attempt.
    pub factor: f64,
    /// The longest delay.
    pub longest: Duration,
}

impl Default for SelfHealBackoff {
    fn default() -> Self {
        Self { first: Duration::from_secs(2), factor: 3.0, longest: Duration::from_secs(300) }
    }
}

impl SelfHealBackoff {
    /// The delay after so many attempts in a row.
    pub fn delay(&self, attempts: i64) -> Duration {
        if attempts <= 0 {
            return Duration::ZERO;
        }
        let exponent = i32::try_from(attempts - 1).unwrap_or(i32::MAX);
        let seconds = self.first.as_secs_f64() * self.factor.powi(exponent);
        Duration::try_from_secs_f64(seconds).unwrap_or(self.longest).min(self.longest)
    }
}

/// What the decision is made from.
#[derive(Clone, Copy, Debug)]
pub struct AutoSyncInput<'a> {
    /// The Application, with the last operation in its status.
    pub application: &'a Application,
    /// The comparison that was just made.
    pub sync: &'a SyncStatus,
    /// The rows of that comparison.
    pub resources: &'a [ResourceStatus],
    /// Objects that the source no longer has and that stay all the same, such as those with `Prune=false`.
    pub kept: &'a HashSet<ObjectKey>,
    /// The sources that were compared.
    pub sources: &'a [ApplicationSource],
    /// When a remote base was last seen to move, which no revision tells.
    pub remotes_moved: Option<Timestamp>,
    /// The present.
    pub now: Timestamp,
    /// The delays of self-heal.
    pub backoff: SelfHealBackoff,
}

/// Why there is nothing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nothing {
    /// Automated syncs are off.
    NotAutomated,
    /// An operation is requested or running.
    OperationInProgress,
    /// The Application is being deleted.
    Deleting,
    /// It is not out of sync.
    NotOutOfSync,
    /// Only prunes are missing that no automated sync would make.
    OnlyPrunesLeft,
    /// This revision was synced, and the policy does not heal.
    AlreadySynced,
}

/// What follows from a comparison.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// Nothing.
    Nothing(Nothing),
    /// Look again at this time: drift is put right then.
    Later(Timestamp),
    /// No sync begins; the message goes into a `SyncError` condition.
    Refuse(String),
    /// This operation begins.
    Start(Box<Operation>),
}

/// Decides whether a sync begins.
pub fn decide(input: &AutoSyncInput<'_>) -> Decision {
    let application = input.application;
    let Some(automated) = application.spec.automated() else {
        return Decision::Nothing(Nothing::NotAutomated);
    };
    let last = application.status.operation_state.as_ref();
    if application.operation.is_some() || last.is_some_and(|state| !state.phase.is_completed()) {
        return Decision::Nothing(Nothing::OperationInProgress);
    }
    if application.metadata.deletion_timestamp.is_some() {
        return Decision::Nothing(Nothing::Deleting);
    }
    if input.sync.status != SyncStatusCode::OutOfSync {
        return Decision::Nothing(Nothing::NotOutOfSync);
    }
    // Rows without a status (hooks, copies) are nobody's drift.
    let out_of_sync = || {
        input.resources.iter().filter(|row| row.status.is_some_and(|status| status != SyncStatusCode::Synced))
    };
    if !automated.prunes() && out_of_sync().next().is_some() && out_of_sync().all(|row| row.requires_pruning)
    {
        return Decision::Nothing(Nothing::OnlyPrunesLeft);
    }
    let revisions = revisions(input.sync);
    let mut sync = SyncOperation {
        prune: automated.prunes(),
        revision: input.sync.revision.clone(),
        revisions: input.sync.revisions.clone(),
        sync_options: application.spec.sync_options().to_vec(),
        ..SyncOperation::default()
    };
    if application.spec.has_multiple_sources() {
        sync.sources = input.sources.to_vec();
    } else {
        sync.source = input.sources.first().cloned();
    }
    if let Some(last) = last.filter(|last| already_attempted(last, input)) {
        let goes_on = automated.heals() && out_of_sync().any(|row| is_beyond(last, row));
        if last.phase != OperationPhase::Succeeded && !goes_on {
            let attempted = last
                .sync_result
                .as_ref()
                .map_or_else(|| revisions.clone(), |result| list(&result.revision, &result.revisions));
            return Decision::Refuse(format!("Failed last sync attempt to {attempted}: {}", last.message));
        }
        if !automated.heals() {
            return Decision::Nothing(Nothing::AlreadySynced);
        }
        let drifted = || out_of_sync().filter(|row| !input.kept.contains(&row.key()));
        if out_of_sync().next().is_some() && drifted().next().is_none() {
            return Decision::Nothing(Nothing::OnlyPrunesLeft);
        }
        let attempts = attempts_in_a_row(last, input);
        if let Some(at) = heal_at(last, attempts, &input.backoff).filter(|at| *at > input.now) {
            return Decision::Later(at);
        }
        sync.auto_heal_attempts_count = attempts.saturating_add(1);
        sync.resources = drifted().map(wanted).collect();
    }
    if automated.prunes()
        && !automated.allows_empty()
        && input.resources.iter().all(|row| row.requires_pruning)
    {
        return Decision::Refuse(format!(
            "Skipping sync attempt to {revisions}: auto-sync will wipe out all resources"
        ));
    }
    let policy = application.spec.sync_policy.clone().unwrap_or_default();
    Decision::Start(Box::new(Operation {
        initiated_by: OperationInitiator { automated: true, username: String::new() },
        retry: policy.automated_retry(),
        sync: Some(sync),
        ..Operation::default()
    }))
}

/// Whether the last operation put back some objects and this was not among them: its failure says nothing of this one.
/// When somebody deletes a definition its objects go first, and cannot be put back alone.
fn is_beyond(last: &OperationState, row: &ResourceStatus) -> bool {
    let healed = last.operation.sync.as_ref().filter(|sync| sync.auto_heal_attempts_count > 0);
    healed.is_some_and(|sync| !sync.resources.is_empty() && !sync.resources.contains(&wanted(row)))
}

/// Adds to an automated heal that is about to be tried again what drifted since it was begun: what it puts back may need
/// just that.
pub fn widen(state: &mut OperationState, resources: &[ResourceStatus]) {
    let operation = &mut state.operation;
    let Some(sync) = operation.sync.as_mut().filter(|_| operation.initiated_by.automated) else { return };
    if sync.auto_heal_attempts_count == 0 || sync.resources.is_empty() {
        return;
    }
    let drifted = resources.iter().filter(|row| row.status.is_some_and(|it| it != SyncStatusCode::Synced));
    for object in drifted.map(wanted) {
        if !sync.resources.contains(&object) {
            sync.resources.push(object);
        }
    }
}

fn wanted(row: &ResourceStatus) -> SyncOperationResource {
    SyncOperationResource {
        group: row.group.clone(),
        kind: row.kind.clone(),
        name: row.name.clone(),
        namespace: row.namespace.clone(),
    }
}

fn revisions(sync: &SyncStatus) -> String {
    list(&sync.revision, &sync.revisions)
}

fn list(revision: &str, revisions: &[String]) -> String {
    if revisions.is_empty() { format!("[{revision}]") } else { format!("[{}]", revisions.join(" ")) }
}

/// Whether the namespace that an Application creates was last given other labels and annotations than the spec has now.
pub fn namespace_metadata_changed(spec: &ApplicationSpec, last: Option<&OperationState>) -> bool {
    let is_sync = |last: &&OperationState| {
        let sync = last.operation.sync.as_ref();
        last.phase == OperationPhase::Succeeded && sync.is_some_and(|sync| !sync.dry_run)
    };
    let Some(result) = last.filter(is_sync).and_then(|last| last.sync_result.as_ref()) else {
        return false;
    };
    let wanted = spec.sync_policy.as_ref().and_then(|policy| policy.managed_namespace_metadata.as_ref());
    SyncOptions::new(spec.sync_options()).create_namespace()
        && result.managed_namespace_metadata.as_ref() != wanted
}

/// Whether the last operation was for what was compared now. One without a result failed before it knew.
fn already_attempted(last: &OperationState, input: &AutoSyncInput<'_>) -> bool {
    if input.remotes_moved.is_some_and(|moved| last.started_at.timestamp() < moved) {
        return false;
    }
    let Some(result) = &last.sync_result else {
        return true;
    };
    if namespace_metadata_changed(&input.application.spec, Some(last)) {
        return false;
    }
    let sources: &[ApplicationSource] = match &result.source {
        Some(source) if result.sources.is_empty() => std::slice::from_ref(source),
        _ => &result.sources,
    };
    result.revision == input.sync.revision
        && result.revisions == input.sync.revisions
        && sources == input.sources
}

/// The attempts so far. Drift after a quiet time longer than the longest delay counts as the first.
fn attempts_in_a_row(last: &OperationState, input: &AutoSyncInput<'_>) -> i64 {
    let count = last.operation.sync.as_ref().map_or(0, |sync| sync.auto_heal_attempts_count);
    let quiet_until = input.backoff.longest.saturating_mul(2);
    let finished = last.finished_at.and_then(|at| at.timestamp().checked_add(quiet_until).ok());
    if finished.is_some_and(|end| end < input.now) { 0 } else { count }
}

fn heal_at(last: &OperationState, attempts: i64, backoff: &SelfHealBackoff) -> Option<Timestamp> {
    last.finished_at?.timestamp().checked_add(backoff.delay(attempts)).ok()
}

#[cfg(test)]
mod tests;
