//! Taking an observation, or the failure of one, into the status.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    observe::{Observation, ObserveError},
    reconcile::{Level, Look, Memory, Next, retry_after},
    target::Target,
};
use crate::{
    api::{
        ApplicationCondition, ApplicationSource, ComparedTo, HealthStatus, HealthStatusCode, SyncStatus,
        SyncStatusCode, Time, conditions, names, unknown_options, unsupported_fields,
    },
    error::{Classified, chain},
    git::RepoUrl,
    metrics,
    sync::auto,
};

/// An error that will pass is not shown while the last good comparison is younger than this.
const GRACE: Duration = Duration::from_secs(180);

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
    names::CONDITION_ORPHANED_RESOURCE_WARNING,
];

impl Look<'_> {
    /// Takes a comparison into the status.
    pub(super) fn take_over(&mut self, observation: &Observation, target: &Target) {
        let Observation { desired, comparison, .. } = observation;
        let application = Arc::clone(&self.application);
        let spec = &application.spec;
        let mut conditions: Vec<ApplicationCondition> = std::mem::take(&mut self.conditions);
        conditions.extend(desired.warnings.iter().cloned());
        conditions.extend(comparison.conditions.iter().cloned());
        conditions.extend(self.field_warnings());
        conditions.extend(self.context.orphans.warning(self.key));
        self.set_conditions(EVALUATED, conditions);
        let is_news = self.level >= Level::Forced || self.status.resources != comparison.rows;
        if is_news && self.context.projects.orphan_settings(spec.project_name()).is_some() {
            self.context.orphans.ask(self.key);
        }
        let mut code = comparison.sync;
        let last = self.status.operation_state.as_ref();
        if code == SyncStatusCode::Synced && auto::namespace_metadata_changed(spec, last) {
            code = SyncStatusCode::OutOfSync;
        }
        self.status.sync = Some(SyncStatus {
            status: code,
            revision: target.revision(desired),
            revisions: target.revisions(desired),
            compared_to: ComparedTo {
                source: target.source(),
                sources: target.list(),
                destination: spec.destination.clone(),
                ignore_differences: spec.ignore_differences.clone(),
            },
        });
        self.status.resources.clone_from(&comparison.rows);
        self.status.summary.clone_from(&comparison.summary);
        self.status.source_type = (!target.is_list).then_some(desired.source_type);
        self.status.source_types = if target.is_list { desired.source_types.to_vec() } else { Vec::new() };
        self.status.controller_namespace.clone_from(&self.context.options.namespace);
        self.set_health(comparison.health.clone());
    }

    /// Takes the failure of a comparison into the status. One that will pass is passed over for a while, so that a
    /// restarting server does not turn every Application red.
    pub(super) fn take_error(&mut self, memory: &mut Memory, error: &ObserveError) -> Next {
        tracing::warn!(application = %self.key, error = %chain(error), "the application could not be compared");
        self.context.metrics.error(error.kind());
        memory.failures = memory.failures.saturating_add(1);
        self.context.metrics.queue_retried(metrics::Queue::Reconciliation);
        let again = Next(Some((self.level.min(Level::Latest), retry_after(memory.failures))));
        let was_good = memory.compared.is_some_and(|at| at.elapsed() < GRACE);
        if error.kind().is_transient() && was_good && self.level < Level::Forced {
            self.conditions.clear();
            return again;
        }
        let condition = error.condition();
        let is_invalid = condition.condition_type == names::CONDITION_INVALID_SPEC_ERROR;
        let mut conditions = std::mem::take(&mut self.conditions);
        conditions.push(condition);
        conditions.extend(self.field_warnings());
        self.set_conditions(EVALUATED, conditions);
        let sync = self.status.sync.get_or_insert_with(SyncStatus::default);
        sync.status = SyncStatusCode::Unknown;
        sync.compared_to.destination = self.application.spec.destination.clone();
        let target = Target::of_spec(&self.application.spec);
        sync.compared_to.source = target.source();
        sync.compared_to.sources = target.list();
        for row in &mut self.status.resources {
            row.status = row.status.map(|_| SyncStatusCode::Unknown);
        }
        if is_invalid || self.status.health.is_none() {
            self.set_health(HealthStatus::new(HealthStatusCode::Unknown, ""));
        }
        // Waiting only helps against what passes; for the rest, a change of the input brings us back. Kinds and
        // permissions change without telling us.
        match error {
            ObserveError::InvalidSpec(_) => Next::default(),
            _ => again,
        }
    }

    /// A source whose URL holds a password is refused, and must not be copied into the status either.
    pub(super) fn drop_passwords(&mut self) {
        fn drop_from(one: &mut Option<ApplicationSource>, several: &mut Vec<ApplicationSource>) {
            let shows = |source: &ApplicationSource| RepoUrl::shows_password(&source.repo_url);
            one.take_if(|source| shows(source));
            if several.iter().any(shows) {
                several.clear();
            }
        }
        if let Some(sync) = &mut self.status.sync {
            drop_from(&mut sync.compared_to.source, &mut sync.compared_to.sources);
        }
        let Some(state) = &mut self.status.operation_state else { return };
        if let Some(result) = &mut state.sync_result {
            drop_from(&mut result.source, &mut result.sources);
        }
        // What an operation still has to do must be on record as it was asked for; its end is near.
        if let Some(sync) = state.operation.sync.as_mut().filter(|_| state.phase.is_completed()) {
            drop_from(&mut sync.source, &mut sync.sources);
        }
    }

    pub(super) fn warn_of_size(&mut self, text: String) {
        let told = ApplicationCondition::new(names::CONDITION_MANIFEST_WARNING, text);
        let mut new = std::mem::take(&mut self.status.conditions);
        new.push(told);
        let types: Vec<&str> =
            self.written.conditions.iter().map(|condition| condition.condition_type.as_str()).collect();
        self.status.conditions = conditions::set(&self.written.conditions, &types, new, Time::now());
    }

    pub(super) fn note_drift(&self, memory: &mut Memory) {
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

    pub(super) fn field_warnings(&self) -> impl Iterator<Item = ApplicationCondition> + use<> {
        let spec = &self.application.spec;
        let of_project = self.context.projects.unsupported(spec.project_name());
        let fields = unsupported_fields(spec).into_iter().chain(of_project).map(|field| {
            ApplicationCondition::new(names::CONDITION_UNSUPPORTED_FIELD_WARNING, field.to_string())
        });
        let unknown = unknown_options(spec)
            .into_iter()
            .map(|problem| ApplicationCondition::new(names::CONDITION_INVALID_SPEC_ERROR, problem));
        fields.chain(unknown)
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
}
