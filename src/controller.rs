//! The controller: what keeps Applications and cluster together.
//!
//! ```text
//! Applications, projects, settings ─┐
//! repositories (polled) ────────────┼─▶ queue ─▶ one look per Application at a time ─▶ destination, status, events
//! live objects (watched) ───────────┘
//! ```
//!
//! A replica that does not lead waits and serves its probes. The one that leads follows the agent's own kinds, and
//! looks at an Application whenever something that concerns it changed. Each look is a task of its own, so that one
//! that hangs or fails delays no other; what costs processor time (rendering) and requests is limited separately.
//! On a stop no new look begins, those under way may end, and the lease is given up last. In [shadow mode](shadow) there
//! is no lease, and what would be written is compared with what an Argo CD writes.

mod applications;
mod automated;
mod comparison;
mod context;
mod deletion;
mod desired;
mod follow;
mod leader;
mod observe;
mod operation;
mod orphans;
mod outcome;
mod own_kinds;
mod preview;
mod projects;
mod queue;
mod reconcile;
mod remotes;
mod renderer;
mod reporter;
mod settings;
mod shadow;
mod size;
mod sources;
mod target;
mod turns;
mod unwatched;
mod windows;
mod work;
mod writer;

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use kube::Client;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub(crate) use self::orphans::orphans;
pub use self::{
    applications::ApplicationKey,
    leader::{LeaderOptions, Leadership},
    preview::{Preview, PreviewError, PreviewOptions, PreviewedChange},
};
use self::{
    context::Context,
    leader::Elector,
    orphans::look_for_orphans,
    own_kinds::follow_own_kinds,
    reporter::CountedRequests,
    work::{measure, work},
};
use crate::{
    cluster::{
        ClusterError, Reach, Timeouts,
        transport::{self, Gate},
    },
    error::Classified,
    git::RepoUrl,
    metrics::Metrics,
};

/// What an agent does about what it finds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// It writes statuses and syncs.
    #[default]
    Active,
    /// It writes nothing but a report of where its verdicts differ from the statuses of an Argo CD beside it.
    Shadow,
}

/// What an agent is told at its start.
#[derive(Clone, Debug)]
pub struct AgentOptions {
    /// The namespace of the agent, its settings and its projects.
    pub namespace: String,
    /// What it does about what it finds.
    pub mode: Mode,
    /// How far into the cluster it looks.
    pub reach: Reach,
    /// Where mirrors of repositories are kept.
    pub cache_directory: PathBuf,
    /// Overrides `timeout.reconciliation`, in tests and demonstrations.
    pub poll_interval: Option<Duration>,
    /// Repositories, by normalized URL, that are read from elsewhere: see [`crate::git::GitOptions::redirects`].
    pub redirects: HashMap<String, RepoUrl>,
    /// The election.
    pub leader: LeaderOptions,
    /// Time limits of requests.
    pub timeouts: Timeouts,
}

impl AgentOptions {
    /// The usual ones for a namespace and a name of this replica.
    pub fn new(namespace: &str, identity: String, cache_directory: PathBuf) -> Self {
        Self {
            namespace: namespace.to_owned(),
            mode: Mode::default(),
            reach: Reach::default(),
            cache_directory,
            poll_interval: None,
            redirects: HashMap::new(),
            leader: LeaderOptions::new(namespace, identity),
            timeouts: Timeouts::default(),
        }
    }
}

/// Why an agent cannot run.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The cluster does not have Skiff's kinds.
    #[error(
        "the cluster has no kind Application (argoproj.io/v1alpha1): install it with 'skiff crds | kubectl apply --server-side -f -'"
    )]
    NoCustomResources,
    /// The API server cannot be asked.
    #[error("cannot start")]
    Cluster(#[from] ClusterError),
}

/// An agent that can be run.
pub struct Agent {
    options: AgentOptions,
    client: Client,
    metrics: Arc<Metrics>,
    leadership: Leadership,
    ready: Arc<AtomicBool>,
}

impl Agent {
    /// An agent for the cluster of `client`.
    pub fn new(client: Client, options: AgentOptions, metrics: Arc<Metrics>) -> Self {
        Self { options, client, metrics, leadership: Leadership::default(), ready: Arc::default() }
    }

    /// Whether this replica serves its purpose: it leads and follows everything, or it waits to.
    pub fn readiness(&self) -> impl Fn() -> bool + Send + Sync + 'static {
        let ready = Arc::clone(&self.ready);
        move || ready.load(Ordering::Acquire)
    }

    /// Whether this replica leads.
    pub fn leadership(&self) -> Leadership {
        self.leadership.clone()
    }

    /// Runs until `stop`: waits to lead, leads, and waits again if leadership is lost. In shadow mode there is nothing to
    /// lead: it looks on at once.
    ///
    /// # Errors
    /// When the cluster lacks Skiff's kinds, or cannot be asked for its kinds at all.
    pub async fn run(&self, stop: CancellationToken) -> Result<(), AgentError> {
        if self.options.mode == Mode::Shadow {
            return self.look_on(stop).await;
        }
        self.metrics.set_leader(false);
        let counted = transport::instrument(
            self.client.clone(),
            Arc::new(CountedRequests(Arc::clone(&self.metrics))),
            Arc::new(transport::Open),
        );
        let mut elector = Elector::new(counted, self.options.leader.clone(), self.leadership.clone());
        while elector.acquire(&stop, &self.ready).await {
            tracing::info!(identity = self.options.leader.identity, "this replica leads");
            self.ready.store(false, Ordering::Release);
            self.metrics.set_leader(true);
            let term = stop.child_token();
            let led = self.term(Arc::new(self.leadership.clone()), term.clone());
            tokio::pin!(led);
            let result = {
                // The lease is renewed while looks end after a stop.
                let never = CancellationToken::new();
                tokio::select! {
                    result = &mut led => result,
                    () = elector.hold(&never) => {
                        term.cancel();
                        led.await
                    }
                }
            };
            self.metrics.set_leader(false);
            elector.release().await;
            self.or_later(result, &stop).await?;
        }
        Ok(())
    }

    /// Shadow mode, until `stop`.
    async fn look_on(&self, stop: CancellationToken) -> Result<(), AgentError> {
        tracing::info!(report = shadow::REPORT_NAME, "shadow mode: nothing but the report is written");
        while !stop.is_cancelled() {
            let gate = Arc::new(shadow::ReportOnly::new(&self.options.namespace));
            let result = self.term(gate, stop.child_token()).await;
            self.or_later(result, &stop).await?;
        }
        Ok(())
    }

    /// An API server that fails at the beginning of a term may do better at the next.
    async fn or_later(
        &self,
        result: Result<(), AgentError>,
        stop: &CancellationToken,
    ) -> Result<(), AgentError> {
        match result {
            Err(AgentError::Cluster(error)) if error.kind().is_transient() => {
                tracing::warn!(%error, "cannot begin to work");
                let pause = leader::jittered(self.options.leader.retry_period);
                stop.run_until_cancelled(tokio::time::sleep(pause)).await;
                Ok(())
            }
            other => other,
        }
    }

    /// One term of leadership, or of looking on; all of its writes pass `gate`.
    async fn term(&self, gate: Arc<dyn Gate>, stop: CancellationToken) -> Result<(), AgentError> {
        let client = transport::instrument(
            self.client.clone(),
            Arc::new(CountedRequests(Arc::clone(&self.metrics))),
            gate,
        );
        let mut background = JoinSet::new();
        let begun = Box::pin(async {
            let context = Context::new(self, &client, &stop, &mut background).await?;
            follow_own_kinds(&client, &context, &mut background).await;
            Ok::<_, AgentError>(context)
        });
        // A stop, or the loss of the lease, does not wait for a server that does not answer.
        let begun = stop.run_until_cancelled(begun).await.transpose()?;
        if let Some(context) = begun {
            self.ready.store(true, Ordering::Release);
            background.spawn(measure(Arc::clone(&context)));
            if context.shadow.is_some() {
                background.spawn(shadow::publish(Arc::clone(&context), client.clone()));
            } else {
                background.spawn(look_for_orphans(Arc::clone(&context), client.clone(), stop.clone()));
            }
            work(&context, &stop).await;
        }
        stop.cancel();
        background.abort_all();
        while background.join_next().await.is_some() {}
        Ok(())
    }
}
