//! What Skiff counts and measures, under Argo CD's names, so that dashboards and alerts keep working.
//!
//! ```text
//! controller, git, cluster ──typed methods──▶ Metrics ──text──▶ GET /metrics
//! ```
//!
//! No caller writes a metric's or a label's name. Series that carry an Application's name go when it goes
//! ([`Metrics::forget_application`]). What only Skiff has is called `skiff_*`. [`server`] serves the text.

mod application;
mod process;
mod queue;
mod series;
pub mod server;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGaugeVec, Opts,
    Registry, TextEncoder,
};

pub use application::{ApplicationLabels, KubernetesRequest};
pub use queue::{Queue, Work};

use self::{
    application::{ApplicationMetrics, label_names},
    process::ProcessMetrics,
    queue::QueueMetrics,
    series::{Series, SeriesKind, Texts},
};
use crate::{
    api::{Application, ApplicationStatus},
    error::ErrorKind,
    expiry::Expiry,
};

/// Argo CD's buckets for everything that takes seconds.
const SECONDS: &[f64] = &[0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0];
const GIT_SECONDS: &[f64] = &[0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 10.0, 20.0];
const WAIT_SECONDS: &[f64] = &[0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 10.0, 20.0, 60.0, 120.0];
/// For what Skiff does in milliseconds.
const FAST_SECONDS: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// Which optional series there are.
#[derive(Clone, Debug, Default)]
pub struct MetricsOptions {
    /// Labels of Applications that become labels of `argocd_app_labels`.
    pub application_labels: Vec<String>,
    /// Condition types that are counted in `argocd_app_condition`.
    pub application_conditions: Vec<String>,
    /// Labels of clusters' Secrets that become labels of `argocd_cluster_labels`.
    pub cluster_labels: Vec<String>,
}

/// All metrics of the process.
pub struct Metrics {
    registry: Registry,
    applications: ApplicationMetrics,
    queues: Arc<QueueMetrics>,
    process: ProcessMetrics,
    reconcile: HistogramVec,
    cluster_events: IntCounterVec,
    events_processing: HistogramVec,
    events_in_batch: IntGaugeVec,
    cluster_info: Series,
    cluster_connection: Series,
    expiries: Series,
    cluster_labels: Option<(Vec<String>, Series)>,
    cluster_objects: IntGaugeVec,
    cluster_kinds: IntGaugeVec,
    cluster_age: GaugeVec,
    git_requests: IntCounterVec,
    git_duration: HistogramVec,
    git_fetch_failures: IntCounterVec,
    git_list_failures: IntCounterVec,
    repository_pending: IntGaugeVec,
    render_wait: Histogram,
    render_hits: IntCounter,
    render_misses: IntCounter,
    api_requests: IntCounterVec,
    drift_heal: Histogram,
    commit_sync: Histogram,
    errors: IntCounterVec,
    leader: GaugeVec,
    shadow: IntGaugeVec,
}

impl Metrics {
    /// Registers all metrics.
    ///
    /// # Errors
    /// When two of the configured Application labels become the same label name.
    pub fn new(options: &MetricsOptions) -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let make = Make { registry: &registry };
        let texts: Arc<Texts> = Arc::default();
        let cluster_labels = if options.cluster_labels.is_empty() {
            None
        } else {
            let names = label_names(&options.cluster_labels)?;
            let all: Vec<&str> = names.iter().map(String::as_str).chain(["name", "server"]).collect();
            let help = "The labels of a cluster's Secret.";
            let series = Series::new(&texts, SeriesKind::Gauge, "argocd_cluster_labels", help, &all);
            Some((options.cluster_labels.clone(), series))
        };
        let metrics = Self {
            applications: ApplicationMetrics::new(&texts, options)?,
            queues: Arc::new(QueueMetrics::new(&make)?),
            process: ProcessMetrics::new(&make)?,
            reconcile: make.histograms(
                "argocd_app_reconcile",
                "Seconds that one reconciliation of an Application took.",
                SECONDS,
                &["namespace", "dest_server"],
            )?,
            events_processing: make.histograms(
                "argocd_resource_events_processing",
                "Seconds that it took to take in watch events.",
                SECONDS,
                &["server"],
            )?,
            events_in_batch: make.gauges(
                "argocd_resource_events_processed_in_batch",
                "Watch events that were taken in together the last time.",
                &["server"],
            )?,
            cluster_events: make.counters(
                "argocd_cluster_events_total",
                "Watch events by kind.",
                &["server", "group", "kind"],
            )?,
            cluster_info: Series::new(
                &texts,
                SeriesKind::Gauge,
                "argocd_cluster_info",
                "A cluster and its version.",
                &["k8s_version", "name", "server"],
            ),
            cluster_connection: Series::new(
                &texts,
                SeriesKind::Gauge,
                "argocd_cluster_connection_status",
                "Whether a cluster answers: 1 or 0.",
                &["k8s_version", "server"],
            ),
            expiries: Series::new(
                &texts,
                SeriesKind::Gauge,
                "skiff_credential_expiry_timestamp_seconds",
                "When a credential ends, in Unix seconds: a certificate, or a token that says so.",
                &["kind", "name"],
            ),
            cluster_labels,
            cluster_objects: make.gauges(
                "argocd_cluster_api_resource_objects",
                "Live objects that are kept of a cluster.",
                &["server"],
            )?,
            cluster_kinds: make.gauges(
                "argocd_cluster_api_resources",
                "Kinds that are watched in a cluster.",
                &["server"],
            )?,
            cluster_age: make.float_gauges(
                "argocd_cluster_cache_age_seconds",
                "Seconds since a cluster was first listed; -1 before.",
                &["server"],
            )?,
            git_requests: make.counters(
                "argocd_git_request_total",
                "Requests to Git servers.",
                &["repo", "request_type"],
            )?,
            git_duration: make.histograms(
                "argocd_git_request_duration_seconds",
                "Seconds that requests to Git servers took.",
                GIT_SECONDS,
                &["repo", "request_type"],
            )?,
            git_fetch_failures: make.counters(
                "argocd_git_fetch_fail_total",
                "Fetches that failed.",
                &["repo", "revision"],
            )?,
            git_list_failures: make.counters(
                "argocd_git_lsremote_fail_total",
                "Listings of references that failed.",
                &["repo", "revision"],
            )?,
            repository_pending: make.gauges(
                "argocd_repo_pending_request_total",
                "Requests that wait for their turn at a repository.",
                &["repo"],
            )?,
            render_wait: make.histogram(
                "argocd_repo_parallelism_wait_duration_seconds",
                "Seconds that renders waited for their turn.",
                WAIT_SECONDS,
            )?,
            render_hits: make.counter(
                "skiff_render_cache_hits_total",
                "Renders that were not needed because nothing that they read had changed.",
            )?,
            render_misses: make.counter("skiff_render_cache_misses_total", "Renders that were needed.")?,
            api_requests: make.counters(
                "skiff_api_requests_total",
                "Requests to Kubernetes API servers; code 0 means that no answer came.",
                &["verb", "code"],
            )?,
            drift_heal: make.histogram(
                "skiff_drift_heal_seconds",
                "Seconds from the event that showed a drift to its end.",
                FAST_SECONDS,
            )?,
            commit_sync: make.histogram(
                "skiff_commit_sync_seconds",
                "Seconds from seeing a new commit to having synced it.",
                FAST_SECONDS,
            )?,
            errors: make.counters("skiff_errors_total", "Errors by kind.", &["kind"])?,
            leader: make.float_gauges("skiff_leader", "Whether this replica leads: 1 or 0.", &[])?,
            shadow: make.gauges(
                "skiff_shadow_applications",
                "Applications in shadow mode, by whether Skiff's verdict is that of Argo CD.",
                &["verdict"],
            )?,
            registry: registry.clone(),
        };
        Ok(metrics)
    }

    /// Everything in the Prometheus text format.
    ///
    /// # Errors
    /// When the encoder fails, which a registered metric cannot make it do.
    pub fn text(self: &Arc<Self>) -> Result<String, prometheus::Error> {
        Ok(self.parts()?.collect())
    }

    /// The same in parts of moderate size, each made when it is asked for: together they are megabytes.
    ///
    /// # Errors
    /// As [`Metrics::text`].
    pub fn parts(self: &Arc<Self>) -> Result<impl Iterator<Item = String> + Send + use<>, prometheus::Error> {
        self.process.update();
        self.queues.update();
        let registered = TextEncoder::new().encode_to_string(&self.registry.gather())?;
        let metrics = Arc::clone(self);
        let (mut at, mut last) = (0, None);
        let series = std::iter::from_fn(move || {
            loop {
                if let Some((text, reached)) = metrics.series().nth(at)?.text_after(last.as_ref()) {
                    last = Some(reached);
                    return Some(text);
                }
                (at, last) = (at + 1, None);
            }
        });
        Ok(std::iter::once(registered).chain(series))
    }

    fn series(&self) -> impl Iterator<Item = &Series> {
        let labels = self.cluster_labels.iter().map(|(_, series)| series);
        let of_clusters =
            [&self.cluster_info, &self.cluster_connection, &self.expiries].into_iter().chain(labels);
        of_clusters.chain(self.applications.all())
    }

    /// Shows an Application's present state, with a status that may be newer than its own. `repository` is its first
    /// repository's URL in normal form, `destination_server` the URL of its cluster, both empty when they are not
    /// known.
    pub fn set_application(
        &self,
        application: &Application,
        status: &ApplicationStatus,
        repository: &str,
        destination_server: &str,
    ) {
        self.applications.set(application, status, repository, destination_server);
    }

    /// Takes away every series of an Application that is gone.
    pub fn forget_application(&self, namespace: &str, name: &str) {
        self.applications.forget(namespace, name);
    }

    /// Says how many objects in an Application's namespace belong to nobody.
    pub fn set_orphans(&self, application: ApplicationLabels<'_>, count: f64) {
        self.applications.set_orphans(application, count);
    }

    /// Counts a sync that ended, with its phase, and the time that it took.
    pub fn sync_ended(
        &self,
        application: ApplicationLabels<'_>,
        destination_server: &str,
        phase: crate::api::OperationPhase,
        dry_run: bool,
        duration: Duration,
    ) {
        self.applications.sync_ended(application, destination_server, phase, dry_run, duration);
    }

    /// Counts a request to a cluster on behalf of an Application.
    pub fn application_request(&self, application: ApplicationLabels<'_>, request: &KubernetesRequest<'_>) {
        self.applications.request(application, request);
    }

    /// Measures one reconciliation of an Application in `namespace`.
    pub fn reconciled(&self, namespace: &str, destination_server: &str, duration: Duration) {
        self.reconcile.with_label_values(&[namespace, destination_server]).observe(duration.as_secs_f64());
    }

    /// Counts a watch event.
    pub fn cluster_event(&self, server: &str, group: &str, kind: &str) {
        self.cluster_events.with_label_values(&[server, group, kind]).inc();
    }

    /// Measures how long it took to take in `count` watch events together.
    pub fn cluster_events_processed(&self, server: &str, count: usize, duration: Duration) {
        self.events_processing.with_label_values(&[server]).observe(duration.as_secs_f64());
        self.events_in_batch.with_label_values(&[server]).set(whole(count));
    }

    /// Shows a cluster: its version as far as it is known, and whether it answers.
    pub fn set_cluster(&self, server: &str, name: &str, version: &str, is_connected: bool) {
        let owner = (server.to_owned(), String::new());
        self.cluster_info.replace(&owner, [(&[version, name, server][..], 1.0)]);
        let connected = if is_connected { 1.0 } else { 0.0 };
        self.cluster_connection.replace(&owner, [(&[version, server][..], connected)]);
    }

    /// Shows when the credentials of one origin (`settings`) end; those that it had before and has no more are gone.
    pub fn set_expiries(&self, origin: &str, expiries: &[Expiry]) {
        let labels: Vec<[&str; 2]> = expiries.iter().map(|it| [it.kind.label(), it.name.as_str()]).collect();
        // Until the year 2255 a float holds each second since 1970 exactly, and long after.
        let ends = expiries.iter().map(|it| it.at.as_duration().as_secs_f64());
        let series = labels.iter().map(|labels| &labels[..]).zip(ends);
        self.expiries.replace(&(origin.to_owned(), String::new()), series);
    }

    /// Shows the labels of a cluster's Secret.
    pub fn set_cluster_labels(&self, server: &str, name: &str, labels: &BTreeMap<String, String>) {
        if let Some((chosen, series)) = &self.cluster_labels {
            let value = |label| labels.get(label).map_or("", String::as_str);
            let values: Vec<&str> = chosen.iter().map(value).chain([name, server]).collect();
            series.replace(&(server.to_owned(), String::new()), [(&values[..], 1.0)]);
        }
    }

    /// Shows how much of a cluster is watched, and for how long; `None` before the first listing.
    pub fn set_cluster_cache(&self, server: &str, kinds: usize, objects: usize, age: Option<Duration>) {
        self.cluster_kinds.with_label_values(&[server]).set(whole(kinds));
        self.cluster_objects.with_label_values(&[server]).set(whole(objects));
        self.cluster_age.with_label_values(&[server]).set(age.map_or(-1.0, |age| age.as_secs_f64()));
    }

    /// Counts and measures a request to a Git server; `repository` is the URL without user information, `request` is
    /// `ls-remote` or `fetch`.
    pub fn git_request(&self, repository: &str, request: &'static str, duration: Duration) {
        self.git_requests.with_label_values(&[repository, request]).inc();
        self.git_duration.with_label_values(&[repository, request]).observe(duration.as_secs_f64());
    }

    /// Counts a fetch that failed.
    pub fn git_fetch_failed(&self, repository: &str, revision: &str) {
        self.git_fetch_failures.with_label_values(&[repository, revision]).inc();
    }

    /// Counts a listing of references that failed.
    pub fn git_list_failed(&self, repository: &str, revision: &str) {
        self.git_list_failures.with_label_values(&[repository, revision]).inc();
    }

    /// Counts requests that begin (`1`) or cease (`-1`) to wait for their turn at a repository.
    pub fn repository_pending(&self, repository: &str, change: i64) {
        self.repository_pending.with_label_values(&[repository]).add(change);
    }

    /// Counts a render that was not needed.
    pub fn render_cache_hit(&self) {
        self.render_hits.inc();
    }

    /// Counts a render that was needed.
    pub fn render_cache_miss(&self) {
        self.render_misses.inc();
    }

    /// Measures how long a render waited for its turn.
    pub fn render_waited(&self, duration: Duration) {
        self.render_wait.observe(duration.as_secs_f64());
    }

    /// Counts a request to a Kubernetes API server; code 0 means that no answer came.
    pub fn api_request(&self, verb: &'static str, code: u16) {
        self.api_requests.with_label_values(&[verb, &code.to_string()]).inc();
    }

    /// Measures how long a drift lasted, from its event to its end.
    pub fn drift_healed(&self, duration: Duration) {
        self.drift_heal.observe(duration.as_secs_f64());
    }

    /// Measures how long a commit took, from being seen to being synced.
    pub fn commit_synced(&self, duration: Duration) {
        self.commit_sync.observe(duration.as_secs_f64());
    }

    /// Counts an error.
    pub fn error(&self, kind: ErrorKind) {
        self.errors.with_label_values(&[kind.label()]).inc();
    }

    /// Shows whether this replica leads.
    pub fn set_leader(&self, leads: bool) {
        self.leader.with_label_values::<&str>(&[]).set(if leads { 1.0 } else { 0.0 });
    }

    /// Shows how many Applications there are with a verdict of shadow mode.
    pub fn set_shadow(&self, verdict: &'static str, count: usize) {
        self.shadow.with_label_values(&[verdict]).set(whole(count));
    }

    /// Shows how many Applications wait in a queue.
    pub fn set_queue_depth(&self, queue: Queue, depth: usize) {
        self.queues.set_depth(queue, depth);
    }

    /// Counts an addition to a queue.
    pub fn queue_added(&self, queue: Queue) {
        self.queues.added(queue);
    }

    /// Counts a repetition after a failure.
    pub fn queue_retried(&self, queue: Queue) {
        self.queues.retried(queue);
    }

    /// Measures a piece of work that waited for `waited`, from now until the returned value is dropped.
    pub fn work(&self, queue: Queue, waited: Duration) -> Work {
        QueueMetrics::begin(&self.queues, queue, waited)
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics")
    }
}

fn whole(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Makes metrics and registers them.
struct Make<'a> {
    registry: &'a Registry,
}

impl Make<'_> {
    fn register<T: prometheus::core::Collector + Clone + 'static>(
        &self,
        metric: T,
    ) -> Result<T, prometheus::Error> {
        self.registry.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    fn counter(&self, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
        self.register(IntCounter::new(name, help)?)
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, prometheus::Error> {
        self.register(IntCounterVec::new(Opts::new(name, help), labels)?)
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec, prometheus::Error> {
        self.register(IntGaugeVec::new(Opts::new(name, help), labels)?)
    }

    fn float_gauge(&self, name: &str, help: &str) -> Result<Gauge, prometheus::Error> {
        self.register(Gauge::new(name, help)?)
    }

    fn float_gauges(&self, name: &str, help: &str, labels: &[&str]) -> Result<GaugeVec, prometheus::Error> {
        self.register(GaugeVec::new(Opts::new(name, help), labels)?)
    }

    fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> Result<Histogram, prometheus::Error> {
        self.register(Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec()))?)
    }

    fn histograms(
        &self,
        name: &str,
        help: &str,
        buckets: &[f64],
        labels: &[&str],
    ) -> Result<HistogramVec, prometheus::Error> {
        let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        self.register(HistogramVec::new(options, labels)?)
    }
}

#[cfg(test)]
mod tests;
