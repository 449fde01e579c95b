//! Telling the world: Kubernetes Events and metrics.
//!
//! Events leave through a queue of limited length, so that an API server that is slow to take them delays nothing;
//! what does not fit is dropped and logged.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;
use kube::{Api, Client, api::PostParams};
use tokio::sync::mpsc;

use crate::{
    api::{Application, ApplicationStatus, OperationPhase, OperationState, names},
    cluster::{transport::RequestObserver, watches::WatchObserver},
    events::{self, Happening},
    expiry::{self, CredentialKind, Expiry},
    git::{GitObserver, RepoUrl, Request},
    metrics::{ApplicationLabels, KubernetesRequest, Metrics},
    object::{Gvk, ObjectKey},
    sync::executor::WriteObserver,
};

/// Events that wait at most: a hundred applications that finish a sync and change state at once.
const QUEUE: usize = 1000;
/// How long the API server may take for one.
const LIMIT: Duration = Duration::from_secs(10);

/// Sends events and keeps the metrics of Applications.
pub struct Reporter {
    queue: mpsc::Sender<Event>,
    metrics: Arc<Metrics>,
}

impl Reporter {
    /// A reporter and the task that sends what it is given, until the reporter is dropped.
    pub fn new(client: Client, metrics: Arc<Metrics>) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (queue, mut events) = mpsc::channel::<Event>(QUEUE);
        let send = async move {
            while let Some(event) = events.recv().await {
                let namespace = event.metadata.namespace.clone().unwrap_or_default();
                let api: Api<Event> = Api::namespaced(client.clone(), &namespace);
                match tokio::time::timeout(LIMIT, api.create(&PostParams::default(), &event)).await {
                    Ok(Ok(_)) => {}
                    Ok(Err(error)) => tracing::warn!(%error, "an event could not be sent"),
                    Err(_) => tracing::warn!("an event was not taken in time"),
                }
            }
        };
        (Self { queue, metrics }, send)
    }

    /// Tells of changes of sync status and health.
    pub fn status_changed(
        &self,
        application: &Application,
        before: &ApplicationStatus,
        after: &ApplicationStatus,
    ) {
        if before.sync_code() != after.sync_code() || before.sync.is_none() {
            let from = before.sync.as_ref().map(|sync| sync.status);
            self.send(application, &Happening::SyncStatus { from, to: after.sync_code() });
        }
        if (before.health_code() != after.health_code() || before.health.is_none())
            && let Some(to) = after.health.clone()
        {
            self.send(application, &Happening::Health { from: before.health.clone(), to });
        }
    }

    /// Shows an Application's state in the metrics.
    pub fn show(&self, application: &Application, status: &ApplicationStatus) {
        let url = application.spec.effective_sources().into_iter().next().map(|source| source.repo_url);
        let url = url.and_then(|url| RepoUrl::parse(&url).ok());
        let repository = url.map(|url| url.normalized().to_owned()).unwrap_or_default();
        let server = if application.spec.destination.is_in_cluster() { names::IN_CLUSTER_SERVER } else { "" };
        self.metrics.set_application(application, status, &repository, server);
    }

    /// Tells of a sync that begins.
    pub fn operation_started(&self, application: &Application, state: &OperationState, revision: &str) {
        let automated = state.operation.initiated_by.automated;
        tracing::info!(application = application.qualified_name(), revision, automated, "sync begins");
        if automated {
            let revisions = vec![revision.to_owned()];
            self.send(application, &Happening::AutomatedSyncStarted { revisions });
        }
    }

    /// Tells of a sync that has ended.
    pub fn operation_completed(&self, application: &Application, state: &OperationState) {
        let sync = state.operation.sync.clone().unwrap_or_default();
        let name = application.qualified_name();
        if state.phase == OperationPhase::Succeeded {
            tracing::info!(application = name, message = state.message, "sync succeeded");
        } else {
            tracing::warn!(application = name, message = state.message, "sync failed");
        }
        let took = state
            .finished_at
            .unwrap_or(state.started_at)
            .timestamp()
            .duration_since(state.started_at.timestamp());
        self.metrics.sync_ended(
            ApplicationLabels::of(application),
            names::IN_CLUSTER_SERVER,
            state.phase,
            sync.dry_run,
            took.try_into().unwrap_or_default(),
        );
        self.send(application, &Happening::OperationCompleted(Box::new(state.clone())));
    }

    /// Tells of a deletion that cannot go on.
    pub fn deletion_failed(&self, application: &Application, problem: &str) {
        tracing::warn!(application = application.qualified_name(), problem, "deletion cannot go on");
        self.send(application, &Happening::DeletionFailed { message: problem.to_owned() });
    }

    /// Tells that an Application and its objects are gone.
    pub fn deleted(&self, application: &Application) {
        tracing::info!(application = application.qualified_name(), "deleted");
        self.send(application, &Happening::Deleted);
    }

    fn send(&self, application: &Application, happening: &Happening) {
        let event = events::event(application, happening, names::IN_CLUSTER_SERVER, Timestamp::now());
        if self.queue.try_send(event).is_err() {
            tracing::warn!(application = application.qualified_name(), "too many events: one is not sent");
        }
    }
}

/// Counts what a sync writes under its Application's name.
pub struct CountedWrites<'a> {
    /// Where it is counted.
    pub metrics: &'a Metrics,
    /// The Application.
    pub application: &'a Application,
}

impl WriteObserver for CountedWrites<'_> {
    fn write(&self, verb: &'static str, key: &ObjectKey, code: u16, dry_run: bool) {
        let request = KubernetesRequest {
            server: names::IN_CLUSTER_SERVER,
            response_code: code,
            verb,
            resource_kind: &key.kind,
            resource_namespace: &key.namespace,
            dry_run,
        };
        self.metrics.application_request(ApplicationLabels::of(self.application), &request);
    }
}

/// Counts requests to the API server.
pub struct CountedRequests(pub Arc<Metrics>);

impl RequestObserver for CountedRequests {
    fn request(&self, verb: &'static str, code: u16) {
        self.0.api_request(verb, code);
    }
}

/// Counts what the watches of the cluster show.
pub struct CountedEvents(pub Arc<Metrics>);

impl WatchObserver for CountedEvents {
    fn event(&self, gvk: &Gvk) {
        self.0.cluster_event(names::IN_CLUSTER_SERVER, &gvk.group, &gvk.kind);
    }

    fn processed(&self, count: usize, duration: Duration) {
        self.0.cluster_events_processed(names::IN_CLUSTER_SERVER, count, duration);
    }
}

/// For how long a Git server's certificate is shown that nobody has seen again.
const CERTIFICATE_SHOWN: Duration = Duration::from_secs(3600);

/// Counts requests to Git servers, and tells when their certificates end.
pub struct CountedGitRequests {
    metrics: Arc<Metrics>,
    certificates: Mutex<BTreeMap<String, (Timestamp, Instant)>>,
}

impl CountedGitRequests {
    /// What counts into `metrics`.
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self { metrics, certificates: Mutex::default() }
    }
}

impl GitObserver for CountedGitRequests {
    fn request(&self, repository: &RepoUrl, request: Request, duration: Duration, ok: bool) {
        let url = repository.to_string();
        self.metrics.git_request(&url, request.label(), duration);
        match (ok, request) {
            (true, _) => {}
            (false, Request::LsRemote) => self.metrics.git_list_failed(&url, ""),
            (false, Request::Fetch) => self.metrics.git_fetch_failed(&url, ""),
        }
    }

    fn waiting(&self, repository: &RepoUrl, change: i64) {
        self.metrics.repository_pending(&repository.to_string(), change);
    }

    fn server_certificate(&self, host: &str, der: &[u8]) {
        let Some(end) = expiry::of_certificate(der) else { return };
        let mut certificates = self.certificates.lock().unwrap_or_else(PoisonError::into_inner);
        certificates.insert(host.to_owned(), (end, Instant::now()));
        certificates.retain(|_, (_, seen)| seen.elapsed() < CERTIFICATE_SHOWN);
        let kind = CredentialKind::GitServerCertificate;
        let expiries =
            certificates.iter().map(|(host, (at, _))| Expiry { kind, name: host.clone(), at: *at });
        self.metrics.set_expiries("git", &expiries.collect::<Vec<_>>());
    }
}
