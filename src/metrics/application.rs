//! Metrics of single Applications.

use std::time::Duration;

use prometheus::{CounterVec, IntCounterVec, IntGaugeVec, Opts};

use super::{
    Make, MetricsOptions,
    series::{Owner, Series},
    whole,
};
use crate::api::{Application, OperationPhase};

/// The labels that every metric of an Application has.
#[derive(Clone, Copy, Debug)]
pub struct ApplicationLabels<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Its project.
    pub project: &'a str,
}

impl<'a> ApplicationLabels<'a> {
    /// The labels of an Application.
    pub fn of(application: &'a Application) -> Self {
        Self {
            namespace: application.namespace(),
            name: application.name(),
            project: application.spec.project_name(),
        }
    }

    fn key(&self) -> Owner {
        (self.namespace.to_owned(), self.name.to_owned())
    }
}

/// A request to a cluster on behalf of an Application.
#[derive(Clone, Copy, Debug)]
pub struct KubernetesRequest<'a> {
    /// The URL of the cluster's API.
    pub server: &'a str,
    /// The status code of the answer; 0 when none came.
    pub response_code: u16,
    /// Kubernetes' verb.
    pub verb: &'a str,
    /// The object's kind.
    pub resource_kind: &'a str,
    /// The object's namespace.
    pub resource_namespace: &'a str,
    /// Whether nothing was to be written.
    pub dry_run: bool,
}

pub(super) struct ApplicationMetrics {
    info: Series<IntGaugeVec>,
    labels: Option<(Vec<String>, Series<IntGaugeVec>)>,
    conditions: Option<(Vec<String>, Series<IntGaugeVec>)>,
    syncs: Series<IntCounterVec>,
    sync_duration: Series<CounterVec>,
    requests: Series<IntCounterVec>,
    orphaned: Series<IntGaugeVec>,
}

impl ApplicationMetrics {
    pub fn new(make: &Make<'_>, options: &MetricsOptions) -> Result<Self, prometheus::Error> {
        let labels = if options.application_labels.is_empty() {
            None
        } else {
            let names: Vec<String> =
                options.application_labels.iter().map(|label| label_name(label)).collect();
            let mut all = vec!["namespace", "name", "project"];
            all.extend(names.iter().map(String::as_str));
            let metric = make.gauges("argocd_app_labels", "An Application's labels.", &all)?;
            Some((options.application_labels.clone(), Series::new(metric)))
        };
        let conditions = if options.application_conditions.is_empty() {
            None
        } else {
            let metric = make.gauges(
                "argocd_app_condition",
                "An Application's conditions by type.",
                &["namespace", "name", "project", "condition"],
            )?;
            Some((options.application_conditions.clone(), Series::new(metric)))
        };
        let seconds = CounterVec::new(
            Opts::new("argocd_app_sync_duration_seconds_total", "Seconds that an Application's syncs took."),
            &["namespace", "name", "project", "dest_server"],
        )?;
        Ok(Self {
            info: Series::new(make.gauges(
                "argocd_app_info",
                "An Application and its present state.",
                &[
                    "namespace",
                    "name",
                    "project",
                    "autosync_enabled",
                    "repo",
                    "dest_server",
                    "dest_namespace",
                    "sync_status",
                    "health_status",
                    "operation",
                ],
            )?),
            labels,
            conditions,
            syncs: Series::new(make.counters(
                "argocd_app_sync_total",
                "An Application's syncs that ended.",
                &["namespace", "name", "project", "dest_server", "phase", "dry_run"],
            )?),
            sync_duration: Series::new(make.register(seconds)?),
            requests: Series::new(make.counters(
                "argocd_app_k8s_request_total",
                "Requests to clusters on behalf of an Application.",
                &[
                    "namespace",
                    "name",
                    "project",
                    "server",
                    "response_code",
                    "verb",
                    "resource_kind",
                    "resource_namespace",
                    "dry_run",
                ],
            )?),
            orphaned: Series::new(make.gauges(
                "argocd_app_orphaned_resources_count",
                "Objects in an Application's namespace that nobody declares.",
                &["namespace", "name", "project"],
            )?),
        })
    }

    pub fn set(&self, application: &Application, repository: &str, destination_server: &str) {
        let labels = ApplicationLabels::of(application);
        let ApplicationLabels { namespace, name, project } = labels;
        let key = labels.key();
        let operation = match (&application.operation, application.is_terminating()) {
            (_, true) => "delete",
            (Some(_), false) => "sync",
            (None, false) => "",
        };
        self.info.forget(&key);
        let values = [
            namespace,
            name,
            project,
            boolean(application.spec.automated().is_some()),
            repository,
            destination_server,
            &application.spec.destination.namespace,
            application.status.sync_code().as_str(),
            application.status.health_code().as_str(),
            operation,
        ];
        self.info.with(&key, &values).set(1);
        if let Some((chosen, series)) = &self.labels {
            series.forget(&key);
            let mut values = vec![namespace, name, project];
            let written = application.metadata.labels.as_ref();
            values.extend(
                chosen.iter().map(|label| written.and_then(|all| all.get(label)).map_or("", String::as_str)),
            );
            series.with(&key, &values).set(1);
        }
        if let Some((chosen, series)) = &self.conditions {
            series.forget(&key);
            for condition_type in chosen {
                let conditions = &application.status.conditions;
                let count =
                    conditions.iter().filter(|condition| condition.condition_type == *condition_type).count();
                if count > 0 {
                    series.with(&key, &[namespace, name, project, condition_type]).set(whole(count));
                }
            }
        }
    }

    pub fn forget(&self, namespace: &str, name: &str) {
        let key = (namespace.to_owned(), name.to_owned());
        self.info.forget(&key);
        for (_, series) in self.labels.iter().chain(&self.conditions) {
            series.forget(&key);
        }
        self.syncs.forget(&key);
        self.sync_duration.forget(&key);
        self.requests.forget(&key);
        self.orphaned.forget(&key);
    }

    pub fn sync_ended(
        &self,
        application: ApplicationLabels<'_>,
        destination_server: &str,
        phase: OperationPhase,
        dry_run: bool,
        duration: Duration,
    ) {
        let key = application.key();
        let ApplicationLabels { namespace, name, project } = application;
        let values = [namespace, name, project, destination_server, phase.as_str(), boolean(dry_run)];
        self.syncs.with(&key, &values).inc();
        let values = [namespace, name, project, destination_server];
        self.sync_duration.with(&key, &values).inc_by(duration.as_secs_f64());
    }

    pub fn request(&self, application: ApplicationLabels<'_>, request: &KubernetesRequest<'_>) {
        let values = [
            application.namespace,
            application.name,
            application.project,
            request.server,
            &request.response_code.to_string(),
            request.verb,
            request.resource_kind,
            request.resource_namespace,
            boolean(request.dry_run),
        ];
        self.requests.with(&application.key(), &values).inc();
    }

    pub fn set_orphaned(&self, application: ApplicationLabels<'_>, count: usize) {
        let values = [application.namespace, application.name, application.project];
        self.orphaned.with(&application.key(), &values).set(whole(count));
    }
}

fn boolean(value: bool) -> &'static str {
    if value { "true" } else { "false" }
}

/// `label_` and the label's key, with `_` for what a metric's label may not have.
fn label_name(label: &str) -> String {
    let name = label.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' });
    "label_".chars().chain(name).collect()
}
