//! What all looks of one term of leadership share, and how news reaches the queue.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};

use kube::Client;
use tokio::{sync::watch, task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    Agent, AgentError, AgentOptions, Leadership, Mode,
    applications::{ApplicationKey, Applications, Asks},
    follow::Change,
    orphans::Orphans,
    projects::Projects,
    queue::Queue,
    reconcile::{Level, Memory},
    remotes::Remotes,
    renderer::Renderer,
    reporter::{CountedEvents, CountedGitRequests, Reporter},
    settings::{AgentSettings, SettingsStore},
    shadow::Shadow,
    sources::{PollInterval, Sources},
    turns::Turns,
    writer::Writer,
};
use crate::{
    api::names,
    cluster::{Cluster, ClusterError, LiveRules, live::LiveIndex, watches::Watches},
    compare::strip_for_storage,
    git::{GitOptions, Repositories},
    metrics::Metrics,
    object::Gvk,
};

/// For how long a definition may be there before its kind can be discovered. A busy API server has taken two seconds.
const DISCOVERY_LAG: Duration = Duration::from_secs(6);

/// Waits until Skiff's kinds are served. Returns whether an Application's status is a subresource.
async fn own_kinds_served(cluster: &Cluster) -> Result<bool, AgentError> {
    let own = |kind| Gvk::new(names::GROUP, names::VERSION, kind);
    let begun = Instant::now();
    loop {
        let kinds = cluster.discover(Duration::ZERO).await?;
        if let (Ok(application), Ok(_)) = (kinds.get(&own("Application")), kinds.get(&own("AppProject"))) {
            return Ok(application.status_subresource);
        }
        if begun.elapsed() > DISCOVERY_LAG {
            return Err(AgentError::NoCustomResources);
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Everything that a look needs.
pub(super) struct Context {
    pub(super) options: AgentOptions,
    pub(super) leadership: Leadership,
    pub(super) metrics: Arc<Metrics>,
    pub(super) status_subresource: bool,
    pub(super) cluster: Cluster,
    pub(super) applications: Arc<Applications>,
    pub(super) projects: Projects,
    pub(super) orphans: Orphans,
    /// What was found in shadow mode; absent in any other.
    pub(super) shadow: Option<Shadow>,
    pub(super) sources: Arc<Sources>,
    pub(super) remotes: Arc<Remotes>,
    pub(super) renderer: Renderer,
    pub(super) turns: Turns,
    pub(super) settings_store: SettingsStore,
    pub(super) settings: watch::Receiver<Arc<AgentSettings>>,
    pub(super) writer: Writer,
    pub(super) reporter: Reporter,
    pub(super) queue: Arc<Queue<ApplicationKey, Level>>,
    pub(super) trusted_managers: Arc<RwLock<BTreeSet<String>>>,
    pub(super) memories: Mutex<HashMap<ApplicationKey, Arc<tokio::sync::Mutex<Memory>>>>,
}

impl Context {
    /// Makes the rooms of one term of leadership and joins them: who is told of what. Tasks that it needs go to
    /// `background`, and end with `stop`.
    ///
    /// # Errors
    /// When the cluster lacks Skiff's kinds, or cannot be asked for its kinds.
    pub(super) async fn new(
        agent: &Agent,
        client: &Client,
        stop: &CancellationToken,
        background: &mut JoinSet<()>,
    ) -> Result<Arc<Self>, AgentError> {
        let queue: Arc<Queue<ApplicationKey, Level>> = Arc::default();
        let (settings_store, settings) = SettingsStore::new();
        let namespace = agent.options.namespace.clone();

        let trusted_managers: Arc<RwLock<BTreeSet<String>>> = Arc::default();
        let rules = live_rules(&settings, &trusted_managers);
        let live = Arc::new(LiveIndex::new(rules));
        let notify = {
            let (queue, namespace) = (Arc::clone(&queue), namespace.clone());
            Arc::new(move |instance: &str| {
                queue.add(ApplicationKey::of_instance(instance, &namespace), Level::Live);
            })
        };
        let observer = Arc::new(CountedEvents(Arc::clone(&agent.metrics)));
        let reach = agent.options.reach.clone();
        let watches =
            Watches::new(client.clone(), reach, Arc::clone(&live), notify, observer, stop.child_token());
        let cluster =
            Cluster::new(client.clone(), agent.options.timeouts, names::FIELD_MANAGER, live, watches);
        let status_subresource = own_kinds_served(&cluster).await?;
        let version = cluster.version().await?;
        agent.metrics.set_cluster(names::IN_CLUSTER_SERVER, names::IN_CLUSTER_NAME, &version, true);

        let mut git = GitOptions::new(agent.options.cache_directory.clone());
        git.redirects.clone_from(&agent.options.redirects);
        let repositories =
            Repositories::new(git, Some(Arc::new(CountedGitRequests::new(Arc::clone(&agent.metrics)))));
        let moved = {
            let queue = Arc::clone(&queue);
            Arc::new(move |key: &ApplicationKey| queue.add(key.clone(), Level::Latest))
        };
        let interval = settings.borrow().poll_interval();
        let sources = Arc::new(Sources::new(repositories, interval, moved, stop.child_token()));
        let remotes = Remotes::new(Arc::clone(&sources), stop.child_token());
        let applications: Arc<Applications> = Arc::default();
        let asked = {
            let queue = Arc::clone(&queue);
            Arc::new(move |key, asks| enqueue(&queue, key, asks))
        };
        let writer =
            Writer::new(client.clone(), Arc::clone(&applications), asked, agent.options.timeouts.write);
        let (reporter, send_events) = Reporter::new(client.clone(), Arc::clone(&agent.metrics));
        background.spawn(send_events);
        Ok(Arc::new(Self {
            projects: Projects::new(&namespace),
            orphans: Orphans::default(),
            shadow: (agent.options.mode == Mode::Shadow).then(Shadow::default),
            renderer: Renderer::new(Arc::clone(&sources), Arc::clone(&remotes), Arc::clone(&agent.metrics)),
            remotes,
            turns: Turns::default(),
            options: agent.options.clone(),
            leadership: agent.leadership.clone(),
            metrics: Arc::clone(&agent.metrics),
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

    /// The settings as they are now.
    pub(super) fn settings(&self) -> Arc<AgentSettings> {
        Arc::clone(&self.settings.borrow())
    }

    /// What is remembered of an Application; one look at a time has it.
    pub(super) fn memory(&self, key: &ApplicationKey) -> Arc<tokio::sync::Mutex<Memory>> {
        let mut memories = self.memories.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(memories.entry(key.clone()).or_default())
    }

    /// Drops all that is known of an Application that is gone.
    pub(super) fn forget(&self, key: &ApplicationKey) {
        self.memories.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
        self.sources.forget(key);
        self.remotes.forget(key);
        self.orphans.forget(key);
        if let Some(shadow) = &self.shadow {
            shadow.forget(key);
        }
        let instance = key.instance_name(&self.options.namespace);
        self.cluster.live.declare(&instance, []);
        self.cluster.watches.require(&instance, []);
        self.metrics.forget_application(&key.namespace, &key.name);
    }

    /// Keeps the managed fields of these managers in live objects from now on: rules ask for them.
    pub(super) fn trust_managers(&self, managers: &BTreeSet<String>) {
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

    /// Whether the status of Applications is written through a subresource.
    pub(super) fn applications_have_status_subresource(&self) -> bool {
        self.status_subresource
    }

    /// Whether this replica may still record what it did.
    pub(super) fn still_leads(&self, action: &'static str, key: &ApplicationKey) -> Result<(), ClusterError> {
        if self.leadership.is_leading() {
            return Ok(());
        }
        Err(ClusterError::NotLeading { action, object: format!("Application {key}") })
    }

    /// Reads the settings anew and has everything looked at under them.
    pub(super) fn settings_changed(&self) {
        let before = self.settings();
        self.settings_store.publish();
        let settings = self.settings();
        if settings.tracking != before.tracking {
            // Whose an object is was decided when it was seen.
            self.cluster.watches.begin_anew();
        }
        self.projects.configure(settings.global_projects());
        let mut interval = settings.poll_interval();
        if let Some(fixed) = self.options.poll_interval {
            interval = PollInterval { interval: fixed, jitter: Duration::ZERO };
        }
        self.sources.configure(settings.credentials(), interval);
        self.metrics.set_expiries("settings", &settings.expiries());
        let labels = settings.cluster_labels();
        self.metrics.set_cluster_labels(names::IN_CLUSTER_SERVER, names::IN_CLUSTER_NAME, labels);
        for key in self.applications.keys() {
            self.queue.add(key, Level::Latest);
        }
    }

    /// Takes in what the watch of Applications shows.
    pub(super) fn application_changed(&self, change: Change) {
        match change {
            Change::Present(value) => {
                let namespace = value.pointer("/metadata/namespace").and_then(serde_json::Value::as_str);
                if !self.settings().manages_namespace(namespace.unwrap_or_default(), &self.options.namespace)
                {
                    return;
                }
                if let Some((key, asks)) = self.applications.observe(value) {
                    // In shadow mode the status is somebody else's, and what ours is compared with.
                    let is_news = asks == Asks::Nothing && self.shadow.is_some();
                    enqueue(&self.queue, key, if is_news { Asks::Comparison } else { asks });
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
