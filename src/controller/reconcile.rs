//! One look at one Application.
//!
//! ```text
//! validate ─▶ desired ─▶ compare ─▶ operation? ─▶ (start on record ─▶ execute ─▶ compare again) ─▶ status, if it changed
//! ```
//!
//! Whatever fails becomes a condition and leaves the last good state alone; nothing is written to the destination
//! unless everything before it succeeded. All that must survive a crash is in the Application: an operation is on
//! record before its first write and is taken up again by whoever leads next.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::time::Instant;

use super::{
    applications::ApplicationKey, comparison::Verdicts, context::Context, deletion, desired::Desired,
    operation, renderer::Known, settings::AgentSettings, shadow, size, sources::Freshness, target::Target,
    turns::Turn, writer::OperationChange,
};
use crate::{
    api::{
        Application, ApplicationCondition, ApplicationStatus, Operation, OperationPhase, OperationState,
        Time, names,
        refresh::{self, Refresh},
    },
    cluster::ClusterError,
    error::Classified,
    metrics,
    sync::{auto::Decision, ownership::Tracking, retry},
};

/// How thorough a look is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Live objects may have changed.
    Live,
    /// The repository may have moved, or the rules have changed.
    Latest,
    /// Somebody asked: the repository is asked now.
    Forced,
    /// Somebody asked for all of it anew: nothing cached is used.
    Hard,
}

/// When to look again, if nothing happens before.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Next(pub Option<(Level, Duration)>);

/// When to look again at a difference that the server could not settle.
const UNSETTLED: Duration = Duration::from_secs(5);
/// How often the end of an operation is written anew when somebody else was quicker.
const WRITES_OF_AN_END: usize = 5;
/// Pauses between looks at an Application that cannot be compared.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(180);

/// What is remembered of an Application between looks. Nothing is lost when it is gone.
#[derive(Default)]
pub struct Memory {
    /// What is known of each source.
    pub(super) desired: Vec<Known>,
    pub(super) verdicts: Verdicts,
    /// Whether the last look held its turn for longer than it is meant to.
    pub(super) is_slow: bool,
    pub(super) failures: u32,
    pub(super) compared: Option<Instant>,
    pub(super) drift_since: Option<Instant>,
    /// The same of what a running operation syncs, where that is not what the spec declares.
    pub(super) aside: Option<Box<Memory>>,
}

/// Looks at one Application and does what follows from it.
pub async fn reconcile(context: &Context, key: &ApplicationKey, level: Level) -> Next {
    let Some(stored) = context.applications.get(key) else {
        context.forget(key);
        return Next::default();
    };
    if let (Err(problem), Some(shadow)) = (&stored.application, &context.shadow) {
        shadow.unreadable(key, problem);
        return Next::default();
    }
    let application = match stored.application {
        Ok(application) => application,
        Err(_) if stored.is_told => return Next::default(),
        Err(problem) => {
            let condition = ApplicationCondition::new(names::CONDITION_INVALID_SPEC_ERROR, problem.as_ref());
            if let Err(error) = context.writer.write_condition(key, condition).await {
                tracing::warn!(application = %key, %error, "the condition could not be written");
            }
            return Next::default();
        }
    };
    if refresh::is_skipped(&application) && context.shadow.is_none() {
        return Next::default();
    }
    let memory = context.memory(key);
    let mut memory = memory.lock().await;
    let begun = Instant::now();
    let mut look = Look::new(context, key, application, stored.resource_version, level);
    if let Some(shadow) = &context.shadow {
        let next = Box::pin(shadow::look(&mut look, &mut memory, shadow)).await;
        context.metrics.reconciled(&key.namespace, names::IN_CLUSTER_SERVER, begun.elapsed());
        return next;
    }
    let result = if look.application.is_terminating() {
        Box::pin(deletion::step(&mut look, &mut memory)).await
    } else {
        // Whoever asks for the end of an operation does not wait for requests that hang. All that matters is on record, so
        // that the next look ends the operation just as if the agent had been restarted.
        tokio::select! {
            result = Box::pin(look.run(&mut memory)) => result,
            () = context.applications.terminated(key) => Ok(Next(Some((Level::Live, Duration::ZERO)))),
        }
    };
    memory.is_slow = look.turn.as_ref().is_some_and(Turn::is_slow);
    context.metrics.reconciled(&key.namespace, names::IN_CLUSTER_SERVER, begun.elapsed());
    context.reporter.show(&look.application, &look.status);
    match result {
        Ok(next) => next,
        // Somebody else wrote the Application; its new version brings us back.
        Err(error) if error.is_conflict() => Next(Some((level, FIRST_RETRY))),
        Err(error) => {
            tracing::warn!(application = %key, %error, "the outcome could not be written");
            context.metrics.error(error.kind());
            memory.failures = memory.failures.saturating_add(1);
            context.metrics.queue_retried(metrics::Queue::Reconciliation);
            Next(Some((level, retry_after(memory.failures))))
        }
    }
}

/// The state of one look.
pub(super) struct Look<'a> {
    pub(super) context: &'a Context,
    pub(super) key: &'a ApplicationKey,
    pub(super) application: Arc<Application>,
    pub(super) resource_version: String,
    pub(super) level: Level,
    pub(super) settings: Arc<AgentSettings>,
    pub(super) tracking: Tracking,
    /// What the status will be; written at the end, or before an operation begins.
    pub(super) status: ApplicationStatus,
    /// What the status is on the server, as far as this look wrote it.
    pub(super) written: ApplicationStatus,
    pub(super) conditions: Vec<ApplicationCondition>,
    /// The right to hold all of an Application's objects in memory, from the first comparison to the end of the look.
    pub(super) turn: Option<Turn>,
}

impl<'a> Look<'a> {
    pub(super) fn new(
        context: &'a Context,
        key: &'a ApplicationKey,
        application: Arc<Application>,
        resource_version: String,
        level: Level,
    ) -> Self {
        let settings = context.settings();
        let tracking = Tracking::new(
            &settings.tracking,
            &key.name,
            &key.namespace,
            &context.options.namespace,
            &application.spec.destination.namespace,
        );
        let level = match refresh::requested(&application) {
            None => level,
            Some(Refresh::Normal) => level.max(Level::Forced),
            Some(Refresh::Hard) => Level::Hard,
        };
        let status = application.status.clone();
        let written = status.clone();
        Self {
            context,
            key,
            application,
            resource_version,
            level,
            settings,
            tracking,
            status,
            written,
            conditions: Vec::new(),
            turn: None,
        }
    }

    async fn run(&mut self, memory: &mut Memory) -> Result<Next, ClusterError> {
        if self.level == Level::Hard {
            *memory = Memory::default();
        }
        let target = Target::of_spec(&self.application.spec);
        let observed = Box::pin(self.observe(memory, &target, self.freshness())).await;
        let mut next = match &observed {
            Ok(observation) => {
                memory.failures = 0;
                memory.compared = Some(Instant::now());
                self.take_over(observation, &target);
                self.keep_hook_finalizers(observation).await?;
                self.note_drift(memory);
                let poll = self.settings.poll_interval().interval;
                let again = match (observation.comparison.settled, observation.is_watched) {
                    (false, _) => Some(UNSETTLED),
                    (true, false) => Some(self.context.options.poll_interval.unwrap_or(poll))
                        .filter(|wait| !wait.is_zero()),
                    (true, true) => None,
                };
                Next(again.map(|wait| (Level::Live, wait)))
            }
            Err(error) => self.take_error(memory, error),
        };
        if self.operation_is_pending() {
            let advanced = operation::advance(self, memory, observed.as_ref().ok(), &target);
            next = next.sooner(Box::pin(advanced).await?);
        } else if let Ok(observation) = &observed {
            match self.decide(&target, observation) {
                Decision::Nothing(_) => self.set_conditions(&[names::CONDITION_SYNC_ERROR], Vec::new()),
                Decision::Later(at) => {
                    let wait = at.duration_since(Timestamp::now());
                    next = next.sooner(Next(Some((Level::Live, wait.try_into().unwrap_or_default()))));
                }
                Decision::Refuse(message) => {
                    let condition = ApplicationCondition::new(names::CONDITION_SYNC_ERROR, message);
                    self.set_conditions(&[names::CONDITION_SYNC_ERROR], vec![condition]);
                }
                Decision::Start(wanted) => {
                    self.set_conditions(&[names::CONDITION_SYNC_ERROR], Vec::new());
                    let begun = operation::begin_automated(self, memory, observation, &target, *wanted);
                    next = next.sooner(Box::pin(begun).await?);
                }
            }
        }
        self.write(OperationChange::Keep).await?;
        self.acknowledge_refresh().await?;
        Ok(next)
    }

    /// An operation that begins means the newest commit, not the one that the last poll saw.
    pub(super) fn freshness(&self) -> Freshness {
        let unfinished =
            self.status.operation_state.as_ref().is_some_and(|state| !state.phase.is_completed());
        let begins = self.application.operation.is_some() && !unfinished;
        // A source that was never compared may be one that somebody pushed an instant ago.
        let target = Target::of_spec(&self.application.spec);
        let compared = self.status.sync.as_ref().map(|sync| &sync.compared_to);
        let is_new = compared.is_none_or(|it| it.source != target.source() || it.sources != target.list());
        if self.level >= Level::Forced || begins || is_new { Freshness::Now } else { Freshness::Polled }
    }

    fn operation_is_pending(&self) -> bool {
        let unfinished =
            self.status.operation_state.as_ref().is_some_and(|state| !state.phase.is_completed());
        self.application.operation.is_some() || unfinished
    }

    /// Writes what changed of the status, and tells of it.
    pub(super) async fn write(&mut self, operation: OperationChange) -> Result<(), ClusterError> {
        if let Some(text) = size::fit(&mut self.status) {
            self.warn_of_size(text);
        }
        if self.status == self.written && operation == OperationChange::Keep {
            return Ok(());
        }
        self.drop_passwords();
        self.status.reconciled_at = Some(Time::now());
        let subresource = self.context.applications_have_status_subresource();
        let operation = match operation {
            OperationChange::Set { operation, .. } => {
                OperationChange::Set { operation, resource_version: self.resource_version.clone() }
            }
            other => other,
        };
        self.context.writer.write(self.key, &self.written, &self.status, operation, subresource).await?;
        self.context.reporter.status_changed(&self.application, &self.written, &self.status);
        self.written = self.status.clone();
        Ok(())
    }

    /// Writes the end of an operation and takes it off the Application; one that was asked for meanwhile stays, and is
    /// next.
    pub(super) async fn write_end(&mut self, ended: &Operation) -> Result<(), ClusterError> {
        let mut attempts = WRITES_OF_AN_END;
        loop {
            let known = self.context.applications.get(self.key);
            let resource_version = known.as_ref().map(|it| it.resource_version.clone()).unwrap_or_default();
            let known = known.and_then(|it| it.application.ok());
            let asked = known.as_ref().and_then(|known| known.operation.as_ref());
            let change = match asked.is_some_and(|asked| asked.is_request_of(ended)) {
                true => OperationChange::Clear { resource_version },
                false => OperationChange::Keep,
            };
            attempts -= 1;
            match self.write(change).await {
                Err(error) if error.is_conflict() && attempts > 0 => {
                    self.context.writer.reread(self.key).await?;
                    if let Some(known) = self.context.applications.get(self.key)
                        && let Ok(application) = known.application
                    {
                        self.written = application.status.clone();
                    }
                }
                result => return result,
            }
        }
    }

    async fn acknowledge_refresh(&self) -> Result<(), ClusterError> {
        let Some(refresh) = self.application.annotation(names::ANNOTATION_REFRESH) else { return Ok(()) };
        let timestamp = self.application.annotation(names::ANNOTATION_REFRESH_TIMESTAMP);
        self.context.writer.refreshed(self.key, refresh, timestamp).await
    }

    /// Whether somebody has approved deletions since an operation began.
    pub(super) fn has_approved_deletions(&self, state: &OperationState) -> bool {
        let approved = self.application.annotation(names::ANNOTATION_DELETION_APPROVED);
        let at = approved.and_then(|text| text.trim().parse::<Timestamp>().ok());
        at.is_some_and(|at| at >= state.started_at.timestamp())
    }

    /// The operation that is on record or asked for.
    pub(super) fn requested_operation(&self) -> Option<Operation> {
        self.application.operation.clone()
    }

    /// How long until a waiting operation is tried again.
    pub(super) fn until_retry(&self) -> Option<Duration> {
        let state = self.status.operation_state.as_ref()?;
        let wait = retry::due_at(state)?.duration_since(Timestamp::now());
        Some(wait.try_into().unwrap_or_default())
    }

    /// Counts a finished operation.
    pub(super) fn finished(&self, memory: &mut Memory, phase: OperationPhase, desired: Option<&Desired>) {
        let automated_heal = self
            .status
            .operation_state
            .as_ref()
            .and_then(|state| state.operation.sync.as_ref())
            .is_some_and(|sync| sync.auto_heal_attempts_count > 0);
        if phase != OperationPhase::Succeeded {
            return;
        }
        if let Some(since) = memory.drift_since.take()
            && automated_heal
        {
            self.context.metrics.drift_healed(since.elapsed());
        } else if let Some(desired) = desired
            && !automated_heal
        {
            self.context.metrics.commit_synced(desired.seen.elapsed());
        }
    }
}

impl Next {
    /// The sooner of two.
    pub fn sooner(self, other: Self) -> Self {
        match (self.0, other.0) {
            (Some(a), Some(b)) => Self(Some((a.0.max(b.0), a.1.min(b.1)))),
            (a, b) => Self(a.or(b)),
        }
    }
}

/// One second, doubled with each failure, up to three minutes, varied.
pub(super) fn retry_after(failures: u32) -> Duration {
    let doubled = FIRST_RETRY.saturating_mul(2u32.saturating_pow(failures.saturating_sub(1).min(16)));
    super::leader::jittered(doubled.min(LAST_RETRY))
}
