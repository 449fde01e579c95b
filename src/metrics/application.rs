//! Metrics of single Applications.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use super::{
    MetricsOptions,
    series::{Owner, Series, SeriesKind, Texts},
};
use crate::api::{Application, ApplicationStatus, OperationPhase};

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
    info: Series,
    labels: Option<(Vec<String>, Series)>,
    conditions: Option<(Vec<String>, Series)>,
    syncs: Series,
    sync_duration: Series,
    requests: Series,
    orphans: Series,
}

impl ApplicationMetrics {
    pub fn new(texts: &Arc<Texts>, options: &MetricsOptions) -> Result<Self, prometheus::Error> {
        let gauge = |name, help, labels: &[&str]| Series::new(texts, SeriesKind::Gauge, name, help, labels);
        let counter =
            |name, help, labels: &[&str]| Series::new(texts, SeriesKind::Counter, name, help, labels);
        let labels = if options.application_labels.is_empty() {
            None
        } else {
            let names = label_names(&options.application_labels)?;
            let all: Vec<&str> =
                names.iter().map(String::as_str).chain(["name", "namespace", "project"]).collect();
            let series = gauge("argocd_app_labels", "An Application's labels.", &all);
            Some((options.application_labels.clone(), series))
        };
        let conditions = if options.application_conditions.is_empty() {
            None
        } else {
            let series = gauge(
                "argocd_app_condition",
                "An Application's conditions by type.",
                &["condition", "name", "namespace", "project"],
            );
            Some((options.application_conditions.clone(), series))
        };
        Ok(Self {
            info: gauge(
                "argocd_app_info",
                "An Application and its present state.",
                &[
                    "autosync_enabled",
                    "dest_namespace",
                    "dest_server",
                    "health_status",
                    "name",
                    "namespace",
                    "operation",
                    "project",
                    "repo",
                    "sync_status",
                ],
            ),
            labels,
            conditions,
            syncs: counter(
                "argocd_app_sync_total",
                "An Application's syncs that ended.",
                &["dest_server", "dry_run", "name", "namespace", "phase", "project"],
            ),
            sync_duration: counter(
                "argocd_app_sync_duration_seconds_total",
                "Seconds that an Application's syncs took.",
                &["dest_server", "name", "namespace", "project"],
            ),
            orphans: gauge(
                "argocd_app_orphaned_resources_count",
                "Objects in an Application's namespace that belong to nobody.",
                &["name", "namespace", "project"],
            ),
            requests: counter(
                "argocd_app_k8s_request_total",
                "Requests to clusters on behalf of an Application.",
                &[
                    "dry_run",
                    "name",
                    "namespace",
                    "project",
                    "resource_kind",
                    "resource_namespace",
                    "response_code",
                    "server",
                    "verb",
                ],
            ),
        })
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &Series> {
        let optional = self.labels.iter().chain(&self.conditions).map(|(_, series)| series);
        let all = [&self.info, &self.syncs, &self.sync_duration, &self.requests, &self.orphans];
        all.into_iter().chain(optional)
    }

    pub fn set(&self, application: &Application, status: &ApplicationStatus, repository: &str, server: &str) {
        let labels = ApplicationLabels::of(application);
        let ApplicationLabels { namespace, name, project } = labels;
        let key = labels.key();
        let operation = match (&application.operation, application.is_terminating()) {
            (_, true) => "delete",
            (Some(_), false) => "sync",
            (None, false) => "",
        };
        let values = [
            boolean(application.spec.automated().is_some()),
            &application.spec.destination.namespace,
            server,
            status.health_code().as_str(),
            name,
            namespace,
            operation,
            project,
            repository,
            status.sync_code().as_str(),
        ];
        self.info.replace(&key, [(&values[..], 1.0)]);
        if let Some((chosen, series)) = &self.labels {
            let written = application.metadata.labels.as_ref();
            let value = |label| written.and_then(|all| all.get(label)).map_or("", String::as_str);
            let values: Vec<&str> = chosen.iter().map(value).chain([name, namespace, project]).collect();
            series.replace(&key, [(&values[..], 1.0)]);
        }
        if let Some((chosen, series)) = &self.conditions {
            let count = |chosen: &str| {
                let of_type = status.conditions.iter().filter(|condition| condition.condition_type == chosen);
                u32::try_from(of_type.count()).map_or(f64::MAX, f64::from)
            };
            let present: Vec<_> =
                chosen.iter().map(|chosen| ([chosen, name, namespace, project], count(chosen))).collect();
            let present = present.iter().filter(|(_, count)| *count > 0.0);
            series.replace(&key, present.map(|(values, count)| (&values[..], *count)));
        }
    }

    pub fn forget(&self, namespace: &str, name: &str) {
        let key = (namespace.to_owned(), name.to_owned());
        for series in self.all() {
            series.forget(&key);
        }
    }

    pub fn set_orphans(&self, application: ApplicationLabels<'_>, count: f64) {
        let ApplicationLabels { namespace, name, project } = application;
        self.orphans.replace(&application.key(), [(&[name, namespace, project][..], count)]);
    }

    pub fn sync_ended(
        &self,
        application: ApplicationLabels<'_>,
        server: &str,
        phase: OperationPhase,
        dry_run: bool,
        duration: Duration,
    ) {
        let key = application.key();
        let ApplicationLabels { namespace, name, project } = application;
        self.syncs.add(&key, &[server, boolean(dry_run), name, namespace, phase.as_str(), project], 1.0);
        self.sync_duration.add(&key, &[server, name, namespace, project], duration.as_secs_f64());
    }

    pub fn request(&self, application: ApplicationLabels<'_>, request: &KubernetesRequest<'_>) {
        let values = [
            boolean(request.dry_run),
            application.name,
            application.namespace,
            application.project,
            request.resource_kind,
            request.resource_namespace,
            &request.response_code.to_string(),
            request.server,
            request.verb,
        ];
        self.requests.add(&application.key(), &values, 1.0);
    }
}

fn boolean(value: bool) -> &'static str {
    if value { "true" } else { "false" }
}

/// `label_` and each label's key, with `_` for what a metric's label may not have.
///
/// # Errors
/// When two of them become one name.
pub(super) fn label_names(labels: &[String]) -> Result<Vec<String>, prometheus::Error> {
    let mut seen = BTreeSet::new();
    let name_of = |label: &String| {
        let name = label.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' });
        let name: String = "label_".chars().chain(name).collect();
        if !seen.insert(name.clone()) {
            return Err(prometheus::Error::Msg(format!(
                "two labels become the one label {name} of a metric"
            )));
        }
        Ok(name)
    };
    labels.iter().map(name_of).collect()
}
