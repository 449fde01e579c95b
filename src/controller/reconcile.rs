//! One look at one Application.
//!
//! ```text
//! validate ─▶ desired ─▶ compare ─▶ operation? ─▶ (start on record ─▶ execute ─▶ compare again) ─▶ status, if it changed
//! ```
//!
//! Whatever fails becomes a condition and leaves the last good state alone; nothing is written to the destination
//! unless everything before it succeeded. All that must survive a crash is in the Application: an operation is on
//! record before its first write and is taken up again by whoever leads next.

use std::{collections::HashSet, sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::{sync::OwnedSemaphorePermit, time::Instant};

use super::{
    Context,
    applications::ApplicationKey,
    comparison::{self, Comparison, ComparisonInput, Verdicts},
    deletion,
    desired::{Desired, DesiredError, DesiredInput, RenderCache},
    operation,
    settings::AgentSettings,
    sources::Freshness,
    writer::OperationChange,
};
use crate::{
    api::{
        Application, ApplicationCondition, ApplicationSource, ApplicationStatus, ComparedTo, HealthStatus,
        HealthStatusCode, Operation, OperationPhase, ResourceStatus, SyncStatus, SyncStatusCode, Time,
        conditions, names,
        refresh::{self, Refresh},
        sync_options::SyncOptions,
        unsupported_fields,
    },
    cluster::{ClusterError, discovery::Kinds},
    compare::Rules,
    error::{Classified, ErrorKind, chain},
    metrics,
    object::{Gvk, ObjectKey},
    project::{Admission, Claim, Destination},
    sync::{
        auto::{self, AutoSyncInput, Decision, Nothing},
        ownership::Tracking,
        retry,
    },
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

/// An error that will pass is not shown while the last good comparison is younger than this.
const GRACE: Duration = Duration::from_secs(180);
/// When to look again at a difference that the server could not settle.
const UNSETTLED: Duration = Duration::from_secs(5);
/// Pauses between looks at an Application that cannot be compared.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(180);

/// What is remembered of an Application between looks. Nothing is lost when it is gone.
#[derive(Default)]
pub struct Memory {
    desired: Option<Desired>,
    verdicts: Verdicts,
    failures: u32,
    compared: Option<Instant>,
    drift_since: Option<Instant>,
}

/// Conditions that a look evaluates.
const EVALUATED: &[&str] = &[
    names::CONDITION_INVALID_SPEC_ERROR,
    names::CONDITION_UNKNOWN_ERROR,
    names::CONDITION_COMPARISON_ERROR,
    names::CONDITION_SHARED_RESOURCE_WARNING,
    names::CONDITION_REPEATED_RESOURCE_WARNING,
    names::CONDITION_EXCLUDED_RESOURCE_WARNING,
    names::CONDITION_UNSUPPORTED_FIELD_WARNING,
    names::CONDITION_MANIFEST_WARNING,
];

/// Looks at one Application and does what follows from it.
pub async fn reconcile(context: &Context, key: &ApplicationKey, level: Level) -> Next {
    let Some(stored) = context.applications.get(key) else {
        context.forget(key);
        return Next::default();
    };
    let application = match stored.application {
        Ok(application) => application,
        Err(problem) => {
            let condition = ApplicationCondition::new(names::CONDITION_INVALID_SPEC_ERROR, problem.as_ref());
            if let Err(error) = context.writer.write_condition(key, condition).await {
                tracing::warn!(application = %key, %error, "the condition could not be written");
            }
            return Next::default();
        }
    };
    if refresh::is_skipped(&application) {
        return Next::default();
    }
    let memory = context.memory(key);
    let mut memory = memory.lock().await;
    let begun = Instant::now();
    let mut look = Look::new(context, key, application, stored.resource_version, level);
    let result = if look.application.is_terminating() {
        deletion::step(&mut look).await
    } else {
        look.run(&mut memory).await
    };
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
    resource_version: String,
    level: Level,
    pub(super) settings: Arc<AgentSettings>,
    pub(super) tracking: Tracking,
    /// What the status will be; written at the end, or before an operation begins.
    pub(super) status: ApplicationStatus,
    /// What the status is on the server, as far as this look wrote it.
    written: ApplicationStatus,
    pub(super) conditions: Vec<ApplicationCondition>,
    /// The right to hold all of an Application's objects in memory, from the first comparison to the end of the look.
    turn: Option<OwnedSemaphorePermit>,
}

/// What a source declares and how it compares.
pub(super) struct Observation {
    pub(super) desired: Desired,
    pub(super) comparison: Comparison,
    pub(super) admission: Admission,
    pub(super) kinds: Arc<Kinds>,
}

/// Why there is no observation.
#[derive(Debug, thiserror::Error)]
pub(super) enum ObserveError {
    #[error("{0}")]
    InvalidSpec(String),
    #[error(transparent)]
    Desired(#[from] Box<DesiredError>),
    #[error(transparent)]
    Cluster(#[from] Box<ClusterError>),
}

impl From<DesiredError> for ObserveError {
    fn from(error: DesiredError) -> Self {
        Self::Desired(error.into())
    }
}

impl From<ClusterError> for ObserveError {
    fn from(error: ClusterError) -> Self {
        Self::Cluster(error.into())
    }
}

impl Classified for ObserveError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::InvalidSpec(_) => ErrorKind::User,
            Self::Desired(error) => error.kind(),
            Self::Cluster(error) => error.kind(),
        }
    }
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
        let source = self.application.spec.effective_sources().into_iter().next().unwrap_or_default();
        let revision = source.target_revision.clone();
        let observed = self.observe(memory, &source, &revision, self.freshness()).await;
        let mut next = match &observed {
            Ok(observation) => {
                memory.failures = 0;
                memory.compared = Some(Instant::now());
                self.take_over(observation, &source);
                self.note_drift(memory);
                let settled = observation.comparison.settled;
                Next((!settled).then_some((Level::Live, UNSETTLED)))
            }
            Err(error) => self.take_error(memory, error),
        };
        if self.operation_is_pending() {
            next = next.sooner(operation::advance(self, memory, observed.as_ref().ok(), &source).await?);
        } else if let Ok(observation) = &observed {
            match self.decide(&source, &observation.comparison) {
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
                    let begun =
                        operation::begin_automated(self, memory, observation, &source, *wanted).await?;
                    next = next.sooner(begun);
                }
            }
        }
        self.write(OperationChange::Keep).await?;
        self.acknowledge_refresh().await?;
        Ok(next)
    }

    /// An operation that begins means the newest commit, not the one that the last poll saw.
    fn freshness(&self) -> Freshness {
        let unfinished =
            self.status.operation_state.as_ref().is_some_and(|state| !state.phase.is_completed());
        let begins = self.application.operation.is_some() && !unfinished;
        if self.level >= Level::Forced || begins { Freshness::Now } else { Freshness::Polled }
    }

    /// Finds out what a source declares at a revision and how that compares with the cluster.
    pub(super) async fn observe(
        &mut self,
        memory: &mut Memory,
        source: &ApplicationSource,
        revision: &str,
        freshness: Freshness,
    ) -> Result<Observation, ObserveError> {
        let admission = self.admit(source)?;
        let spec = &self.application.spec;
        if let Some(problem) = spec.source_problem() {
            return Err(ObserveError::InvalidSpec(problem));
        }
        // Whatever the one source would render to, it is not what such an Application asks for.
        if spec.source_hydrator.is_some() || spec.has_multiple_sources() {
            let fields: Vec<String> = unsupported_fields(spec).iter().map(ToString::to_string).collect();
            return Err(ObserveError::InvalidSpec(fields.join("; ")));
        }
        let options = SyncOptions::new(spec.sync_options());
        let (rules, problems) = Rules::compile(&spec.ignore_differences, &self.settings.system_rules);
        for problem in problems {
            let condition = ApplicationCondition::new(names::CONDITION_COMPARISON_ERROR, problem.to_string());
            self.conditions.push(condition);
        }
        self.context.trust_managers(rules.trusted_managers());
        let project = spec.project_name();
        if let Ok(url) = crate::git::RepoUrl::parse(&source.repo_url) {
            self.context.sources.follow(self.key, &url, project);
        }
        let settings = Arc::clone(&self.settings);
        let is_excluded = move |gvk: &Gvk| settings.is_excluded(gvk);
        let kinds = self.context.cluster.discover(Duration::from_secs(600)).await?;
        let input = |kinds| DesiredInput {
            source,
            revision,
            project,
            context: self.settings.render_context(
                &self.application,
                self.key,
                &self.context.options.namespace,
            ),
            tracking: &self.tracking,
            destination_namespace: &spec.destination.namespace,
            tolerate_unknown_kinds: options.skip_dry_run_on_missing_resource(),
            is_excluded: &is_excluded,
            settings_fingerprint: self.settings.fingerprint,
            kinds,
        };
        let known = memory.desired.as_ref();
        let renderer = &self.context.renderer;
        let (desired, cache) = match renderer.desired(input(&kinds), known, freshness).await {
            // A kind that was not there a moment ago may have been added since.
            Err(DesiredError::Kind { .. }) => {
                let kinds = self.context.cluster.discover(Duration::from_secs(2)).await?;
                renderer.desired(input(&kinds), known, freshness).await?
            }
            result => result?,
        };
        match cache {
            RenderCache::Hit => self.context.metrics.render_cache_hit(),
            RenderCache::Miss => self.context.metrics.render_cache_miss(),
        }
        let mut kinds = self.context.cluster.kinds();
        if !desired.expected_kinds.is_empty() {
            let mut extended = Kinds::clone(&kinds);
            for (gvk, plural, scope) in desired.expected_kinds.iter() {
                extended = extended.with_expected(gvk.clone(), plural, *scope);
            }
            kinds = Arc::new(extended);
        }
        let input = ComparisonInput {
            cluster: &self.context.cluster,
            application: &self.application,
            desired: &desired,
            kinds: &kinds,
            tracking: &self.tracking,
            admission: &admission,
            rules: &rules,
            options: &options,
            is_excluded: &is_excluded,
        };
        comparison::prepare(&input).await?;
        if self.turn.is_none() {
            self.turn = Arc::clone(&self.context.turns).acquire_owned().await.ok();
        }
        let comparison = comparison::compare(&input, &mut memory.verdicts).await?;
        memory.desired = Some(desired.clone());
        Ok(Observation { desired, comparison, admission, kinds })
    }

    /// What the project permits this Application.
    fn admit(&self, source: &ApplicationSource) -> Result<Admission, ObserveError> {
        let spec = &self.application.spec;
        let destination = self.destination().map_err(ObserveError::InvalidSpec)?;
        let project = self.project().map_err(ObserveError::InvalidSpec)?;
        let claim = Claim {
            application_namespace: &self.key.namespace,
            repo_urls: std::slice::from_ref(&source.repo_url),
            destination: &destination,
            namespace: &spec.destination.namespace,
        };
        project.admit(&claim).map_err(|refusal| ObserveError::InvalidSpec(chain(&refusal)))
    }

    pub(super) fn destination(&self) -> Result<Destination, String> {
        let destination = &self.application.spec.destination;
        destination.cluster()?;
        if destination.is_in_cluster() {
            let (server, name) = (names::IN_CLUSTER_SERVER.to_owned(), names::IN_CLUSTER_NAME.to_owned());
            return Ok(Destination { server, name, project: String::new() });
        }
        let given = if destination.server.is_empty() { &destination.name } else { &destination.server };
        Err(format!(
            "spec.destination: cluster '{given}' is not known: Skiff manages the cluster that it runs in so far \
             (server {} or name {})",
            names::IN_CLUSTER_SERVER,
            names::IN_CLUSTER_NAME
        ))
    }

    pub(super) fn project(&self) -> Result<crate::project::Project, String> {
        let name = self.application.spec.project_name();
        match self.context.projects.get(name) {
            None => Err(format!(
                "Application references project {name} which does not exist: create AppProject '{name}' in namespace \
                 '{}' or correct spec.project",
                self.context.options.namespace
            )),
            Some(Err(problem)) => Err(problem.to_string()),
            Some(Ok(project)) => Ok(project),
        }
    }

    /// Takes a comparison into the status.
    pub(super) fn take_over(&mut self, observation: &Observation, source: &ApplicationSource) {
        let Observation { desired, comparison, .. } = observation;
        let application = Arc::clone(&self.application);
        let spec = &application.spec;
        let mut conditions: Vec<ApplicationCondition> = std::mem::take(&mut self.conditions);
        conditions.extend(desired.warnings.iter().cloned());
        conditions.extend(comparison.conditions.iter().cloned());
        conditions.extend(self.field_warnings());
        self.set_conditions(EVALUATED, conditions);
        self.status.sync = Some(SyncStatus {
            status: comparison.sync,
            revision: desired.commit.to_string(),
            revisions: Vec::new(),
            compared_to: ComparedTo {
                source: Some(source.clone()),
                sources: Vec::new(),
                destination: spec.destination.clone(),
                ignore_differences: spec.ignore_differences.clone(),
            },
        });
        self.status.resources.clone_from(&comparison.rows);
        self.status.summary.clone_from(&comparison.summary);
        self.status.source_type = Some(desired.source_type);
        self.status.source_types = Vec::new();
        self.status.controller_namespace.clone_from(&self.context.options.namespace);
        self.set_health(comparison.health.clone());
    }

    /// Takes the failure of a comparison into the status. One that will pass is passed over for a while, so that a
    /// restarting server does not turn every Application red.
    fn take_error(&mut self, memory: &mut Memory, error: &ObserveError) -> Next {
        let message = chain(error);
        tracing::warn!(application = %self.key, error = %message, "the application could not be compared");
        self.context.metrics.error(error.kind());
        memory.failures = memory.failures.saturating_add(1);
        self.context.metrics.queue_retried(metrics::Queue::Reconciliation);
        let again = Next(Some((self.level.min(Level::Latest), retry_after(memory.failures))));
        let was_good = memory.compared.is_some_and(|at| at.elapsed() < GRACE);
        if error.kind().is_transient() && was_good && self.level < Level::Forced {
            self.conditions.clear();
            return again;
        }
        let condition_type = match error {
            ObserveError::InvalidSpec(_) => names::CONDITION_INVALID_SPEC_ERROR,
            _ => names::CONDITION_COMPARISON_ERROR,
        };
        let mut conditions = std::mem::take(&mut self.conditions);
        conditions.push(ApplicationCondition::new(condition_type, message));
        conditions.extend(self.field_warnings());
        self.set_conditions(EVALUATED, conditions);
        let sync = self.status.sync.get_or_insert_with(SyncStatus::default);
        sync.status = SyncStatusCode::Unknown;
        sync.compared_to.destination = self.application.spec.destination.clone();
        sync.compared_to.source = self.application.spec.effective_sources().into_iter().next();
        for row in &mut self.status.resources {
            row.status = row.status.map(|_| SyncStatusCode::Unknown);
        }
        if condition_type == names::CONDITION_INVALID_SPEC_ERROR || self.status.health.is_none() {
            self.set_health(HealthStatus::new(HealthStatusCode::Unknown, ""));
        }
        // Waiting only helps against what passes; for the rest, a change of the input brings us back. Kinds and
        // permissions change without telling us.
        match error {
            ObserveError::InvalidSpec(_) => Next::default(),
            _ => again,
        }
    }

    fn note_drift(&self, memory: &mut Memory) {
        let code = self.status.sync_code();
        let same_revision = self.written.sync.as_ref().map(|sync| &sync.revision)
            == self.status.sync.as_ref().map(|sync| &sync.revision);
        if code == SyncStatusCode::OutOfSync
            && self.written.sync_code() == SyncStatusCode::Synced
            && same_revision
        {
            memory.drift_since.get_or_insert_with(Instant::now);
        } else if code == SyncStatusCode::Synced {
            memory.drift_since = None;
        }
    }

    fn decide(&self, source: &ApplicationSource, comparison: &Comparison) -> Decision {
        // What is going already needs no sync to go.
        let going: HashSet<ObjectKey> = comparison
            .candidates
            .iter()
            .filter(|candidate| candidate.desired.is_none())
            .filter_map(|candidate| Some(candidate.live.as_ref()?).filter(|live| live.is_terminating()))
            .map(|live| live.key())
            .collect();
        let is_left = |row: &ResourceStatus| {
            row.status.is_some_and(|status| status != SyncStatusCode::Synced) && !going.contains(&row.key())
        };
        if !going.is_empty() && !self.status.resources.iter().any(is_left) {
            return Decision::Nothing(Nothing::NotOutOfSync);
        }
        let mut application = Application::clone(&self.application);
        application.status = self.status.clone();
        let sync = self.status.sync.clone().unwrap_or_default();
        let decision = auto::decide(&AutoSyncInput {
            application: &application,
            sync: &sync,
            resources: &self.status.resources,
            sources: std::slice::from_ref(source),
            now: Timestamp::now(),
            backoff: self.settings.self_heal_backoff,
        });
        match (decision, self.refusal()) {
            (Decision::Start(_) | Decision::Later(_), Some(refusal)) => Decision::Refuse(refusal),
            (decision, _) => decision,
        }
    }

    /// Why nothing of this Application may be synced: its project restricts syncs in a way that is not obeyed yet.
    pub(super) fn refusal(&self) -> Option<String> {
        let fields = self.context.projects.unsupported(self.application.spec.project_name());
        let reasons: Vec<String> =
            fields.iter().filter(|field| field.stops_syncs).map(ToString::to_string).collect();
        (!reasons.is_empty()).then(|| reasons.join("; "))
    }

    fn field_warnings(&self) -> impl Iterator<Item = ApplicationCondition> + use<> {
        let spec = &self.application.spec;
        let of_project = self.context.projects.unsupported(spec.project_name());
        unsupported_fields(spec).into_iter().chain(of_project).map(|field| {
            ApplicationCondition::new(names::CONDITION_UNSUPPORTED_FIELD_WARNING, field.to_string())
        })
    }

    fn operation_is_pending(&self) -> bool {
        let unfinished =
            self.status.operation_state.as_ref().is_some_and(|state| !state.phase.is_completed());
        self.application.operation.is_some() || unfinished
    }

    pub(super) fn set_conditions(&mut self, evaluated: &[&str], new: Vec<ApplicationCondition>) {
        self.status.conditions = conditions::set(&self.status.conditions, evaluated, new, Time::now());
    }

    fn set_health(&mut self, mut health: HealthStatus) {
        let before = self.status.health.as_ref();
        health.last_transition_time = match before {
            Some(before) if before.status == health.status => before.last_transition_time,
            _ => Some(Time::now()),
        };
        self.status.health = Some(health);
    }

    /// Writes what changed of the status, and tells of it.
    pub(super) async fn write(&mut self, operation: OperationChange) -> Result<(), ClusterError> {
        if self.status == self.written && operation == OperationChange::Keep {
            return Ok(());
        }
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

    async fn acknowledge_refresh(&self) -> Result<(), ClusterError> {
        let Some(refresh) = self.application.annotation(names::ANNOTATION_REFRESH) else { return Ok(()) };
        let timestamp = self.application.annotation(names::ANNOTATION_REFRESH_TIMESTAMP);
        self.context.writer.refreshed(self.key, refresh, timestamp).await
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
fn retry_after(failures: u32) -> Duration {
    let doubled = FIRST_RETRY.saturating_mul(2u32.saturating_pow(failures.saturating_sub(1).min(16)));
    super::leader::jittered(doubled.min(LAST_RETRY))
}
