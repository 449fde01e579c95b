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
//! On a stop no new look begins, those under way may end, and the lease is given up last.

mod applications;
mod comparison;
mod deletion;
mod desired;
mod follow;
mod leader;
mod operation;
mod preview;
mod projects;
mod queue;
mod reconcile;
mod reporter;
mod settings;
mod sources;
mod writer;

use std::{
    collections::{BTreeSet, HashMap},
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use kube::{Api, Client, api::PostParams, core::DynamicObject};
use tokio::{
    sync::{Semaphore, watch},
    task::JoinSet,
    time::Instant,
};
use tokio_util::sync::CancellationToken;

pub use self::{
    applications::ApplicationKey,
    leader::{LeaderOptions, Leadership},
    preview::{Preview, PreviewError, PreviewedChange},
};
use self::{
    applications::{Applications, Asks},
    desired::Renderer,
    follow::{Change, Synced, follow},
    leader::Elector,
    projects::Projects,
    queue::Queue,
    reconcile::{Level, Memory, Next, reconcile},
    reporter::{CountedGitRequests, CountedRequests, Reporter},
    settings::{AgentSettings, SettingsStore, secrets_selector},
    sources::Sources,
    writer::{Writer, resource},
};
use crate::{
    api::{AppProject, ClusterResourceRestrictionItem, ProjectDestination, names},
    cluster::{
        Cluster, ClusterError, LiveRules, Timeouts,
        live::LiveIndex,
        transport::{self, Gate},
        watches::Watches,
    },
    compare::strip_for_storage,
    error::Classified,
    git::{GitOptions, Repositories},
    metrics::{self, Metrics},
    object::Gvk,
};

/// How long looks that are under way may take to end on a stop. Together with giving up the lease it stays below the
/// ten seconds that a stop may take.
const DRAIN_LIMIT: Duration = Duration::from_secs(6);
/// When an Application is looked at again whose look panicked.
const AFTER_PANIC: Duration = Duration::from_secs(180);
/// Applications whose objects are all held in memory at once. Memory grows with this number, and not with that of all
/// Applications; one that waits for something within its turn is bounded by the limits of its requests.
const TURNS: usize = 32;
/// How often sizes are measured.
const MEASURE_EVERY: Duration = Duration::from_secs(5);
/// How long to wait for the first listing of the agent's own kinds before saying what is missing.
const START_LIMIT: Duration = Duration::from_secs(30);

/// What an agent is told at its start.
#[derive(Clone, Debug)]
pub struct AgentOptions {
    /// The namespace of the agent, its settings and its projects.
    pub namespace: String,
    /// Where mirrors of repositories are kept.
    pub cache_directory: PathBuf,
    /// Overrides `timeout.reconciliation`, in tests and demonstrations.
    pub poll_interval: Option<Duration>,
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
            cache_directory,
            poll_interval: None,
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

    /// Runs until `stop`: waits to lead, leads, and waits again if leadership is lost.
    ///
    /// # Errors
    /// When the cluster lacks Skiff's kinds, or cannot be asked for its kinds at all.
    pub async fn run(&self, stop: CancellationToken) -> Result<(), AgentError> {
        let counted = transport::instrument(
            self.client.clone(),
            Arc::new(CountedRequests(Arc::clone(&self.metrics))),
            Arc::new(transport::Open),
        );
        let mut elector = Elector::new(counted, self.options.leader.clone(), self.leadership.clone());
        self.ready.store(true, Ordering::Release);
        while elector.acquire(&stop).await {
            tracing::info!(identity = self.options.leader.identity, "this replica leads");
            self.ready.store(false, Ordering::Release);
            self.metrics.set_leader(true);
            let term = stop.child_token();
            let led = self.lead(term.clone());
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
            match result {
                // An API server that fails at the beginning of a term may do better at the next.
                Err(AgentError::Cluster(error)) if error.kind().is_transient() => {
                    tracing::warn!(%error, "cannot begin to work");
                    let pause = leader::jittered(self.options.leader.retry_period);
                    stop.run_until_cancelled(tokio::time::sleep(pause)).await;
                }
                other => other?,
            }
            self.ready.store(true, Ordering::Release);
        }
        Ok(())
    }

    /// One term of leadership.
    async fn lead(&self, stop: CancellationToken) -> Result<(), AgentError> {
        let gate: Arc<dyn Gate> = Arc::new(self.leadership.clone());
        let client = transport::instrument(
            self.client.clone(),
            Arc::new(CountedRequests(Arc::clone(&self.metrics))),
            gate,
        );
        let mut background = JoinSet::new();
        let begun = Box::pin(async {
            let context = self.context(&client, &stop, &mut background).await?;
            let followed = self.follow_own_kinds(&client, &context, &mut background).await;
            all_listed(&followed).await;
            Ok::<_, AgentError>(context)
        });
        // A stop, or the loss of the lease, does not wait for a server that does not answer.
        let begun = stop.run_until_cancelled(begun).await.transpose()?;
        if let Some(context) = begun {
            self.ready.store(true, Ordering::Release);
            background.spawn(measure(Arc::clone(&context)));
            work(&context, &stop).await;
        }
        stop.cancel();
        background.abort_all();
        while background.join_next().await.is_some() {}
        Ok(())
    }

    async fn context(
        &self,
        client: &Client,
        stop: &CancellationToken,
        background: &mut JoinSet<()>,
    ) -> Result<Arc<Context>, AgentError> {
        let queue: Arc<Queue<ApplicationKey, Level>> = Arc::default();
        let (settings_store, settings) = SettingsStore::new();
        let namespace = self.options.namespace.clone();

        let trusted_managers: Arc<RwLock<BTreeSet<String>>> = Arc::default();
        let rules = live_rules(&settings, &trusted_managers);
        let live = Arc::new(LiveIndex::new(rules));
        let notify = {
            let (queue, namespace) = (Arc::clone(&queue), namespace.clone());
            Arc::new(move |instance: &str| {
                queue.add(ApplicationKey::of_instance(instance, &namespace), Level::Live);
            })
        };
        let count_event = {
            let metrics = Arc::clone(&self.metrics);
            Arc::new(move |gvk: &Gvk| metrics.cluster_event(names::IN_CLUSTER_SERVER, &gvk.group, &gvk.kind))
        };
        let watches =
            Watches::new(client.clone(), Arc::clone(&live), notify, count_event, stop.child_token());
        let cluster =
            Cluster::new(client.clone(), self.options.timeouts, names::FIELD_MANAGER, live, watches);
        let kinds = cluster.discover(Duration::ZERO).await?;
        let applications_kind = Gvk::new(names::GROUP, names::VERSION, "Application");
        let status_subresource =
            kinds.get(&applications_kind).map_err(|_| AgentError::NoCustomResources)?.status_subresource;
        let version = cluster.version().await?;
        self.metrics.set_cluster(names::IN_CLUSTER_SERVER, names::IN_CLUSTER_NAME, &version, true);

        let git = GitOptions::new(self.options.cache_directory.clone());
        let repositories =
            Repositories::new(git, Some(Arc::new(CountedGitRequests(Arc::clone(&self.metrics)))));
        let moved = {
            let queue = Arc::clone(&queue);
            Arc::new(move |key: &ApplicationKey| queue.add(key.clone(), Level::Latest))
        };
        let interval = settings.borrow().poll_interval();
        let sources = Arc::new(Sources::new(repositories, interval, moved, stop.child_token()));
        let applications: Arc<Applications> = Arc::default();
        let asked = {
            let queue = Arc::clone(&queue);
            Arc::new(move |key, asks| enqueue(&queue, key, asks))
        };
        let writer =
            Writer::new(client.clone(), Arc::clone(&applications), asked, self.options.timeouts.write);
        let (reporter, send_events) = Reporter::new(client.clone(), Arc::clone(&self.metrics));
        background.spawn(send_events);
        Ok(Arc::new(Context {
            projects: Projects::new(&namespace),
            renderer: Renderer::new(Arc::clone(&sources)),
            turns: Arc::new(Semaphore::new(TURNS)),
            options: self.options.clone(),
            leadership: self.leadership.clone(),
            metrics: Arc::clone(&self.metrics),
            status_subresource,
            cluster,
            applications,
            sources,
            settings_store,
            settings,
            writer,
            reporter,
            queue,
            memories: Mutex::default(),
            trusted_managers,
        }))
    }

    /// Follows settings first, since they say how everything else is read, then projects, then Applications.
    async fn follow_own_kinds(
        &self,
        client: &Client,
        context: &Arc<Context>,
        background: &mut JoinSet<()>,
    ) -> Vec<(&'static str, Synced)> {
        let namespace = &self.options.namespace;
        let core = |kind: &str, plural: &str| kube::core::ApiResource {
            group: String::new(),
            version: "v1".to_owned(),
            api_version: "v1".to_owned(),
            kind: kind.to_owned(),
            plural: plural.to_owned(),
        };
        let mut all = Vec::new();
        let in_namespace =
            |resource| Api::<DynamicObject>::namespaced_with(client.clone(), namespace, &resource);

        let synced = Synced::default();
        let (c, s) = (Arc::clone(context), synced.clone());
        background.spawn(follow(
            in_namespace(core("ConfigMap", "configmaps")),
            "ConfigMap",
            None,
            synced.clone(),
            move |change| {
                if c.settings_store.config_map(change) && s.is_set() {
                    c.settings_changed();
                }
            },
        ));
        all.push(("ConfigMap", synced));
        let synced = Synced::default();
        let (c, s) = (Arc::clone(context), synced.clone());
        let secrets = in_namespace(core("Secret", "secrets"));
        background.spawn(follow(
            secrets,
            "Secret",
            Some(secrets_selector()),
            synced.clone(),
            move |change| {
                if c.settings_store.secret(change) && s.is_set() {
                    c.settings_changed();
                }
            },
        ));
        all.push(("Secret", synced));
        // Nothing may be decided by defaults only because the settings are slow to come.
        all_listed(&all).await;
        context.settings_changed();

        ensure_default_project(client, namespace).await;
        let synced = Synced::default();
        let c = Arc::clone(context);
        let projects = in_namespace(resource("AppProject", "appprojects"));
        background.spawn(follow(projects, "AppProject", None, synced.clone(), move |change| {
            let name = match change {
                Change::Present(value) => c.projects.observe(value),
                Change::Gone { name, .. } => {
                    c.projects.forget(&name);
                    name
                }
            };
            for key in c.applications.of_project(&name) {
                c.queue.add(key, Level::Latest);
            }
        }));
        all.push(("AppProject", synced));

        let synced = Synced::default();
        let c = Arc::clone(context);
        let applications = resource("Application", "applications");
        let everywhere = context.settings().manages_other_namespaces();
        let applications = if everywhere {
            Api::all_with(client.clone(), &applications)
        } else {
            in_namespace(applications)
        };
        background.spawn(follow(applications, "Application", None, synced.clone(), move |change| {
            c.application_changed(change);
        }));
        all.push(("Application", synced));
        all
    }
}

/// Waits for the first listing of each kind, however long it takes, and says which one is late.
async fn all_listed(followed: &[(&'static str, Synced)]) {
    for (kind, synced) in followed {
        if tokio::time::timeout(START_LIMIT, synced.wait()).await.is_err() {
            tracing::error!(kind, "still waiting for the first listing: check the agent's permissions");
            synced.wait().await;
        }
    }
}

/// The rules that the index of live objects works by, as the settings are at the moment of each event.
fn live_rules(
    settings: &watch::Receiver<Arc<AgentSettings>>,
    trusted_managers: &Arc<RwLock<BTreeSet<String>>>,
) -> LiveRules {
    let (settings, trusted_managers) = (settings.clone(), Arc::clone(trusted_managers));
    LiveRules {
        owner: Arc::new(move |object| settings.borrow().tracking.instance_of(object)),
        strip: Arc::new(move |value| {
            let trusted = trusted_managers.read().unwrap_or_else(PoisonError::into_inner);
            let mut kept = strip_for_storage(value, names::FIELD_MANAGER, &trusted);
            // The version is kept beside the body: a new one alone is no change.
            if let Some(metadata) = kept.get_mut("metadata").and_then(serde_json::Value::as_object_mut) {
                metadata.shift_remove("resourceVersion");
            }
            kept
        }),
    }
}

/// Creates the project `default`, which permits everything, where there is none: Applications without a project
/// belong to it.
async fn ensure_default_project(client: &Client, namespace: &str) {
    let api: Api<AppProject> = Api::namespaced(client.clone(), namespace);
    let ensured = async {
        if api.get_opt(names::DEFAULT_PROJECT).await?.is_none() {
            api.create(&PostParams::default(), &permissive_project()).await?;
        }
        Ok::<(), kube::Error>(())
    };
    if let Err(error) = ensured.await {
        tracing::warn!(%error, "the AppProject 'default' could not be created");
    }
}

fn permissive_project() -> AppProject {
    let any = || "*".to_owned();
    let destination = ProjectDestination { server: any(), namespace: any(), ..ProjectDestination::default() };
    let kind = ClusterResourceRestrictionItem {
        group: any(),
        kind: any(),
        ..ClusterResourceRestrictionItem::default()
    };
    let mut project = AppProject::default();
    project.metadata.name = Some(names::DEFAULT_PROJECT.to_owned());
    project.spec.source_repos = vec![any()];
    project.spec.destinations = vec![destination];
    project.spec.cluster_resource_whitelist = vec![kind];
    project
}

/// Everything that a look needs.
pub(crate) struct Context {
    options: AgentOptions,
    leadership: Leadership,
    metrics: Arc<Metrics>,
    status_subresource: bool,
    cluster: Cluster,
    applications: Arc<Applications>,
    projects: Projects,
    sources: Arc<Sources>,
    renderer: Renderer,
    turns: Arc<Semaphore>,
    settings_store: SettingsStore,
    settings: watch::Receiver<Arc<AgentSettings>>,
    writer: Writer,
    reporter: Reporter,
    queue: Arc<Queue<ApplicationKey, Level>>,
    trusted_managers: Arc<RwLock<BTreeSet<String>>>,
    memories: Mutex<HashMap<ApplicationKey, Arc<tokio::sync::Mutex<Memory>>>>,
}

impl Context {
    fn settings(&self) -> Arc<AgentSettings> {
        Arc::clone(&self.settings.borrow())
    }

    fn memory(&self, key: &ApplicationKey) -> Arc<tokio::sync::Mutex<Memory>> {
        let mut memories = self.memories.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(memories.entry(key.clone()).or_default())
    }

    /// Drops all that is known of an Application that is gone.
    fn forget(&self, key: &ApplicationKey) {
        self.memories.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
        self.sources.forget(key);
        let instance = key.instance_name(&self.options.namespace);
        self.cluster.live.declare(&instance, []);
        self.cluster.watches.require(&instance, []);
        self.metrics.forget_application(&key.namespace, &key.name);
    }

    /// Keeps the managed fields of these managers in live objects from now on: rules ask for them.
    fn trust_managers(&self, managers: &BTreeSet<String>) {
        let known = self.trusted_managers.read().unwrap_or_else(PoisonError::into_inner);
        if managers.is_subset(&known) {
            return;
        }
        drop(known);
        self.trusted_managers
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(managers.iter().cloned());
        self.cluster.live.drop_bodies();
    }

    fn applications_have_status_subresource(&self) -> bool {
        self.status_subresource
    }

    fn still_leads(&self, action: &'static str, key: &ApplicationKey) -> Result<(), ClusterError> {
        if self.leadership.is_leading() {
            return Ok(());
        }
        Err(ClusterError::NotLeading { action, object: format!("Application {key}") })
    }

    fn settings_changed(&self) {
        self.settings_store.publish();
        let settings = self.settings();
        let mut interval = settings.poll_interval();
        if let Some(fixed) = self.options.poll_interval {
            interval = sources::PollInterval { interval: fixed, jitter: Duration::ZERO };
        }
        self.sources.configure(settings.credentials(), interval);
        for key in self.applications.keys() {
            self.queue.add(key, Level::Latest);
        }
    }

    fn application_changed(&self, change: Change) {
        match change {
            Change::Present(value) => {
                let namespace = value.pointer("/metadata/namespace").and_then(serde_json::Value::as_str);
                if !self.settings().manages_namespace(namespace.unwrap_or_default(), &self.options.namespace)
                {
                    return;
                }
                if let Some((key, asks)) = self.applications.observe(value) {
                    enqueue(&self.queue, key, asks);
                }
            }
            Change::Gone { namespace, name } => {
                let key = ApplicationKey::new(namespace, name);
                self.applications.forget(&key);
                self.queue.add(key, Level::Live);
            }
        }
    }
}

fn enqueue(queue: &Queue<ApplicationKey, Level>, key: ApplicationKey, asks: Asks) {
    match asks {
        Asks::Resolution => queue.add(key, Level::Latest),
        Asks::Comparison => queue.add(key, Level::Live),
        Asks::Nothing => {}
    }
}

/// Shows how much there is and waits, every few seconds.
async fn measure(context: Arc<Context>) {
    let begun = Instant::now();
    loop {
        let (live, watches) = (&context.cluster.live, &context.cluster.watches);
        context.metrics.set_cluster_cache(
            names::IN_CLUSTER_SERVER,
            watches.len(),
            live.len(),
            Some(begun.elapsed()),
        );
        context.metrics.set_queue_depth(metrics::Queue::Reconciliation, context.queue.depth());
        tokio::time::sleep(MEASURE_EVERY).await;
    }
}

/// Takes Applications from the queue until a stop, then lets what is under way end.
async fn work(context: &Arc<Context>, stop: &CancellationToken) {
    let mut looks = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(_) = looks.join_next(), if !looks.is_empty() => {}
            (key, level, waited) = context.queue.next() => {
                let context = Arc::clone(context);
                looks.spawn(look(context, key, level, waited));
            }
        }
    }
    let drained = async { while looks.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN_LIMIT, drained).await.is_err() {
        // What is cut off here is on record as running, and is taken up by whoever leads next.
        tracing::warn!(unfinished = looks.len(), "stopping without waiting any longer");
        looks.abort_all();
    }
}

/// One look. A panic in it is this Application's alone: the guard ends the work on the key in any case, and has it
/// looked at again later.
async fn look(context: Arc<Context>, key: ApplicationKey, level: Level, waited: Duration) {
    struct Done<'a>(&'a Context, &'a ApplicationKey);
    impl Drop for Done<'_> {
        fn drop(&mut self) {
            if std::thread::panicking() {
                tracing::error!(application = %self.1, "a look ended unexpectedly; this is a bug of Skiff, please report it");
                self.0.queue.add_after(self.1.clone(), Level::Latest, AFTER_PANIC);
            }
            self.0.queue.done(self.1);
        }
    }
    let done = Done(&context, &key);
    context.metrics.queue_added(metrics::Queue::Reconciliation);
    let work = context.metrics.work(metrics::Queue::Reconciliation, waited);
    let span = tracing::info_span!("reconcile", application = %key, ?level);
    let Next(next) = tracing::Instrument::instrument(reconcile(&context, &key, level), span).await;
    if let Some((level, wait)) = next {
        context.queue.add_after(key.clone(), level, wait);
    }
    drop(work);
    drop(done);
}
