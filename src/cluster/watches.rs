//! One watch for each kind that somebody requires, for as long as somebody requires it.
//!
//! A watch lists its kind in pages, follows it, and lists again after a gap. Where the agent looks after some namespaces
//! only, there is one in each. Its state is published: until the first
//! listing is complete, and again when the watch has failed for longer than [`STALE_AFTER`], whoever depends on the
//! kind must not decide anything.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::{FutureExt, StreamExt};
use kube::{
    Api, Client,
    core::DynamicObject,
    runtime::{WatchStreamExt, watcher},
};
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{ClusterError, Reach, WatchBackoff, discovery::KindInfo, live::LiveIndex};
use crate::{
    error::{Classified, ErrorKind},
    object::{Gvk, Object, ObjectKey},
};

/// A watch that was in order may fail this long before its kind counts as unknown: API servers restart.
pub const STALE_AFTER: Duration = Duration::from_secs(60);
/// A failing watch tries again at least this often, so one that has not failed for longer works again.
const LONGEST_BACKOFF: Duration = Duration::from_secs(90);
/// Objects in one page of a listing.
const PAGE_SIZE: u32 = 500;
/// Events of one watch that are taken in before others have their turn.
const AT_ONCE: usize = 500;
/// How long the API server may take to show one object.
const ASK_LIMIT: Duration = Duration::from_secs(10);
/// A kind that nobody requires any more stays watched this long: applications are edited in steps.
const KEEP_UNUSED: Duration = Duration::from_secs(300);

/// Told of applications whose live objects changed.
pub type Notify = Arc<dyn Fn(&str) + Send + Sync>;
/// Told of what watches show, for metrics.
pub trait WatchObserver: Send + Sync {
    /// One event of a watch.
    fn event(&self, gvk: &Gvk);
    /// It took `duration` to take in `count` events that were there together.
    fn processed(&self, count: usize, duration: Duration);
}

/// The state of one watch.
#[derive(Clone, Debug)]
enum WatchState {
    Starting,
    Synced,
    Failing { since: Instant, last: Instant, had_synced: bool, error: ClusterError },
}

impl WatchState {
    /// The error for which the kind counts as unknown.
    fn unusable(&self) -> Option<&ClusterError> {
        match self {
            Self::Failing { had_synced: false, error, .. } => Some(error),
            Self::Failing { since, last, had_synced: true, error }
                if last.duration_since(*since) > STALE_AFTER && last.elapsed() < LONGEST_BACKOFF =>
            {
                Some(error)
            }
            _ => None,
        }
    }
}

struct Watched {
    info: KindInfo,
    /// One in each namespace, or one everywhere.
    states: Vec<watch::Receiver<WatchState>>,
    stop: CancellationToken,
    required_by: BTreeSet<Arc<str>>,
    unused_since: Option<Instant>,
}

/// All watches of one cluster.
pub struct Watches {
    client: Client,
    reach: Reach,
    index: Arc<LiveIndex>,
    notify: Notify,
    observer: Arc<dyn WatchObserver>,
    stop: CancellationToken,
    watched: Mutex<HashMap<Arc<Gvk>, Watched>>,
}

impl Watches {
    /// No watches yet. `stop` ends all that will be.
    pub fn new(
        client: Client,
        reach: Reach,
        index: Arc<LiveIndex>,
        notify: Notify,
        observer: Arc<dyn WatchObserver>,
        stop: CancellationToken,
    ) -> Self {
        Self { client, reach, index, notify, observer, stop, watched: Mutex::default() }
    }

    /// How far they look.
    pub fn reach(&self) -> &Reach {
        &self.reach
    }

    /// Says which kinds somebody requires from now on; kinds that were required before and are not any more are let
    /// go some minutes after the last one lost interest.
    pub fn require(&self, who: &str, kinds: impl IntoIterator<Item = (Gvk, KindInfo)>) {
        let who: Arc<str> = who.into();
        let now = Instant::now();
        let mut watched = self.lock();
        let mut kept = HashSet::new();
        for (gvk, info) in kinds {
            let gvk = Arc::new(gvk);
            kept.insert(Arc::clone(&gvk));
            let entry = watched.entry(Arc::clone(&gvk)).or_insert_with(|| self.start(&gvk, info));
            entry.required_by.insert(Arc::clone(&who));
            entry.unused_since = None;
        }
        watched.retain(|gvk, entry| {
            if !kept.contains(gvk) && entry.required_by.remove(&who) && entry.required_by.is_empty() {
                entry.unused_since = Some(now);
            }
            let expired = entry.unused_since.is_some_and(|since| now.duration_since(since) > KEEP_UNUSED);
            if expired {
                entry.stop.cancel();
                self.index.drop_kind(gvk);
            }
            !expired
        });
    }

    /// Waits until all objects of a kind are known.
    ///
    /// # Errors
    /// [`ClusterError::NotWatched`] when the kind is not required by anybody, when it is out of reach, when a watch fails
    /// (at once if it never worked, after [`STALE_AFTER`] if it did), or when the listing takes longer than `limit`.
    pub async fn synced(&self, gvk: &Gvk, limit: Duration) -> Result<(), ClusterError> {
        let not_watched =
            |message: String, kind| ClusterError::NotWatched { gvk: gvk.clone(), message, kind };
        let Some(states) = self.lock().get(gvk).map(|watched| watched.states.clone()) else {
            return Err(not_watched("nobody has asked for it".to_owned(), ErrorKind::Bug));
        };
        if states.is_empty() {
            let message = format!("they belong to the cluster as a whole, and {}", self.reach);
            return Err(not_watched(message, ErrorKind::Configuration));
        }
        let until = Instant::now() + limit;
        for mut state in states {
            let decided = state.wait_for(|state| match state {
                WatchState::Starting => false,
                WatchState::Synced | WatchState::Failing { .. } => true,
            });
            match tokio::time::timeout_at(until, decided).await {
                Ok(Ok(state)) => {
                    if let Some(error) = state.unusable() {
                        return Err(not_watched(error.to_string(), error.kind()));
                    }
                }
                Ok(Err(_)) => {
                    return Err(not_watched("its watch has ended".to_owned(), ErrorKind::Transient));
                }
                Err(_) => {
                    let message = format!("listing them takes longer than {} s", limit.as_secs());
                    return Err(not_watched(message, ErrorKind::Transient));
                }
            }
        }
        Ok(())
    }

    /// Lists every kind anew, because what the index keeps of objects is decided by other rules now. Until that is done
    /// nothing is known of any kind.
    pub fn begin_anew(&self) {
        for (gvk, watched) in self.lock().iter_mut() {
            watched.stop.cancel();
            let Watched { states, stop, .. } = self.start(gvk, watched.info.clone());
            (watched.states, watched.stop) = (states, stop);
        }
    }

    /// How many kinds are watched, for metrics.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether no kind is watched.
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Arc<Gvk>, Watched>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start(&self, gvk: &Arc<Gvk>, info: KindInfo) -> Watched {
        let stop = self.stop.child_token();
        let mut states = Vec::new();
        for place in self.reach.places(info.scope) {
            let (publish, state) = watch::channel(WatchState::Starting);
            let task = Follow {
                gvk: Arc::clone(gvk),
                info: info.clone(),
                place,
                client: self.client.clone(),
                index: Arc::clone(&self.index),
                notify: Arc::clone(&self.notify),
                observer: Arc::clone(&self.observer),
                publish,
            };
            let stopped = stop.clone();
            tokio::spawn(async move { stopped.run_until_cancelled(task.run()).await });
            states.push(state);
        }
        Watched { info, states, stop, required_by: BTreeSet::new(), unused_since: None }
    }
}

/// The task behind one watch.
struct Follow {
    gvk: Arc<Gvk>,
    info: KindInfo,
    /// The namespace; everywhere if there is none.
    place: Option<String>,
    client: Client,
    index: Arc<LiveIndex>,
    notify: Notify,
    observer: Arc<dyn WatchObserver>,
    publish: watch::Sender<WatchState>,
}

impl Follow {
    async fn run(self) {
        let api: Api<DynamicObject> = match &self.place {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &self.info.resource),
            None => Api::all_with(self.client.clone(), &self.info.resource),
        };
        let config = watcher::Config::default().page_size(PAGE_SIZE);
        let mut events = Box::pin(watcher(api, config).backoff(WatchBackoff::default()));
        let mut listed = HashSet::new();
        while let Some(event) = events.next().await {
            let begun = Instant::now();
            let (mut count, mut next) = (0, Some(event));
            while let Some(event) = next {
                self.take_in(event, &mut listed).await;
                count += 1;
                next = if count < AT_ONCE { events.next().now_or_never().flatten() } else { None };
            }
            self.observer.processed(count, begun.elapsed());
        }
    }

    async fn take_in(
        &self,
        event: Result<watcher::Event<DynamicObject>, watcher::Error>,
        listed: &mut HashSet<ObjectKey>,
    ) {
        match event {
            Ok(watcher::Event::Init) => {
                listed.clear();
                self.index.begin_listing(&self.gvk, self.place.as_deref());
            }
            Ok(watcher::Event::InitApply(object)) => {
                if let Some(object) = self.object(object) {
                    listed.insert(object.key());
                    self.observe(&object);
                }
            }
            Ok(watcher::Event::InitDone) => {
                let place = self.place.as_deref();
                let (affected, doubtful) = self.index.retain(&self.gvk, place, &std::mem::take(listed));
                self.tell(affected);
                for key in doubtful {
                    self.ask_for(&key).await;
                }
                self.publish.send_replace(WatchState::Synced);
            }
            Ok(watcher::Event::Apply(object)) => {
                self.observer.event(&self.gvk);
                if let Some(object) = self.object(object) {
                    self.observe(&object);
                }
                self.recovered();
            }
            Ok(watcher::Event::Delete(object)) => {
                self.observer.event(&self.gvk);
                if let Some(object) = self.object(object) {
                    self.tell(self.index.forget(&self.gvk, &object));
                }
                self.recovered();
            }
            Err(error) => self.failed(error),
        }
    }

    /// Finds out whether an object that a listing did not show is there. What cannot be asked for is taken to be gone
    /// until the watch shows it.
    async fn ask_for(&self, key: &ObjectKey) {
        let Some(seen) = self.index.get(&self.gvk, key) else { return };
        let api: Api<DynamicObject> = if key.namespace.is_empty() {
            Api::all_with(self.client.clone(), &self.info.resource)
        } else {
            Api::namespaced_with(self.client.clone(), &key.namespace, &self.info.resource)
        };
        let found = tokio::time::timeout(ASK_LIMIT, api.get_opt(&key.name)).await;
        match found.ok().and_then(Result::ok).flatten().and_then(|object| self.object(object)) {
            Some(object) => self.observe(&object),
            None => self.tell(self.index.forget_seen(&seen)),
        }
    }

    fn observe(&self, object: &Object) {
        self.tell(self.index.observe(&self.gvk, object));
    }

    fn tell(&self, applications: Vec<Arc<str>>) {
        for application in applications {
            (self.notify)(&application);
        }
    }

    /// An item of a list comes without its kind.
    fn object(&self, mut object: DynamicObject) -> Option<Object> {
        object.types = Some(kube::core::TypeMeta {
            api_version: self.info.resource.api_version.clone(),
            kind: self.info.resource.kind.clone(),
        });
        let value = serde_json::to_value(object).ok()?;
        match Object::from_value(value) {
            Ok(object) => Some(object),
            Err(error) => {
                tracing::warn!(kind = %self.gvk, %error, "a live object is passed over");
                None
            }
        }
    }

    fn recovered(&self) {
        self.publish.send_if_modified(|state| {
            let failing = matches!(state, WatchState::Failing { had_synced: true, .. });
            if failing {
                *state = WatchState::Synced;
            }
            failing
        });
    }

    fn failed(&self, error: watcher::Error) {
        let gone = matches!(&error, watcher::Error::WatchError(status) if status.code == 410);
        if gone {
            // The history that the watch stood on was compacted; the watcher lists anew by itself.
            tracing::debug!(kind = %self.gvk, "watch begins anew");
            return;
        }
        let resource = self.info.resource.plural.clone();
        let error = match error {
            watcher::Error::InitialListFailed(error) => {
                ClusterError::from_kube(error, "list", resource, false)
            }
            watcher::Error::WatchStartFailed(error) | watcher::Error::WatchFailed(error) => {
                ClusterError::from_kube(error, "watch", resource, false)
            }
            watcher::Error::WatchError(status) => {
                ClusterError::from_kube(kube::Error::Api(status), "watch", resource, false)
            }
            watcher::Error::NoResourceVersion => {
                let message = "the answer has no resourceVersion".to_owned();
                ClusterError::Connection { action: "watch", object: resource, message }
            }
        };
        tracing::warn!(kind = %self.gvk, %error, "watch failed");
        self.publish.send_modify(|state| {
            let last = Instant::now();
            let (since, had_synced) = match state {
                WatchState::Failing { since, last, had_synced, .. } if last.elapsed() < LONGEST_BACKOFF => {
                    (*since, *had_synced)
                }
                WatchState::Failing { had_synced, .. } => (last, *had_synced),
                WatchState::Synced => (last, true),
                WatchState::Starting => (last, false),
            };
            *state = WatchState::Failing { since, last, had_synced, error };
        });
    }
}
