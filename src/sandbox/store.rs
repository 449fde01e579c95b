//! The API server's rules around [`Storage`]: what the HTTP handlers and the controllers both call.
//!
//! ```text
//! handlers ─┐                     ┌─▶ write   create, update, no-op detection, generation, managed fields
//!           ├─▶ Store (one lock) ─┼─▶ delete  preconditions, finalizers, grace, propagation
//! controllers┘                    └─▶ chores  what must happen later: garbage, namespaces, CRDs
//! ```
//!
//! Every method is synchronous and atomic: one lock is held from reading the old state to writing the new one.
//! Objects go in and out as JSON values in any served version; they are kept in the storage version of their kind.

mod admit;
mod apply;
mod chores;
mod delete;
mod write;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::{Notify, watch};

pub(super) use self::apply::{Apply, types_of};
pub use self::delete::{DeleteOutcome, DeleteRequest, Propagation};
pub use self::write::{FieldValidation, WriteOptions, now};
pub(super) use self::write::{random_suffix, stale, subject};
use super::kinds::{Registry, Resource};
use super::status::ApiError;
pub use super::storage::EventKind;
use super::storage::{Event, Storage, Stored};
use crate::object::{GroupKind, Gvk, ObjectKey};

/// What of the store can be set.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// How many events of each kind are kept for watches that resume.
    pub event_log_capacity: usize,
    /// How long a new CRD takes until it is established.
    pub crd_established_delay: Duration,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self { event_log_capacity: 4096, crd_established_delay: Duration::ZERO }
    }
}

/// A shared handle to the sandbox's objects.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    state: Mutex<State>,
    options: StoreOptions,
    work: Notify,
    closed: watch::Sender<bool>,
}

/// Everything behind the lock.
pub(super) struct State {
    pub(super) storage: Storage,
    pub(super) registry: Registry,
    chores: BTreeSet<chores::Chore>,
    /// How many cluster addresses and node ports were given to Services.
    addresses: u16,
    node_ports: u16,
}

impl State {
    /// A cluster address that no Service was given before (until 65,000 were).
    pub(super) fn allocate_address(&mut self) -> String {
        self.addresses = self.addresses.wrapping_add(1);
        let [high, low] = self.addresses.wrapping_add(1).to_be_bytes();
        format!("10.96.{high}.{low}")
    }

    /// A node port that no Service was given before (until 2,700 were).
    pub(super) fn allocate_node_port(&mut self) -> u16 {
        self.node_ports = (self.node_ports + 1) % 2768;
        30_000 + self.node_ports
    }
}

/// One change, as a controller sees it.
#[derive(Clone, Debug)]
pub struct WatchEvent {
    /// What happened.
    pub kind: EventKind,
    /// The object after the change, or its last state.
    pub object: Value,
}

impl Store {
    /// An empty store with the namespaces that every cluster has.
    pub fn new(options: StoreOptions) -> Self {
        let state = State {
            storage: Storage::new(options.event_log_capacity),
            registry: Registry::default(),
            chores: BTreeSet::new(),
            addresses: 0,
            node_ports: 0,
        };
        let store = Self {
            inner: Arc::new(Inner {
                state: Mutex::new(state),
                options,
                work: Notify::new(),
                closed: watch::Sender::new(false),
            }),
        };
        store.populate();
        store
    }

    /// One object in the version that it is stored in. The namespace is empty for cluster-scoped kinds.
    pub fn get(&self, kind: &GroupKind, namespace: &str, name: &str) -> Option<Value> {
        self.lock().storage.get(kind, namespace, name).map(|stored| stored.value())
    }

    /// The objects of a kind, of one namespace or all, in key order.
    pub fn list(&self, kind: &GroupKind, namespace: Option<&str>) -> Vec<Value> {
        let stored = self.lock().storage.list(kind, namespace);
        stored.iter().map(|stored| stored.value()).collect()
    }

    /// The objects that name this uid in their owner references.
    pub fn list_owned(&self, owner_uid: &str) -> Vec<Value> {
        let stored: Vec<Arc<Stored>> = {
            let state = self.lock();
            let keys = state.storage.dependents(owner_uid);
            keys.iter()
                .filter_map(|key| state.storage.get(&key.group_kind(), &key.namespace, &key.name))
                .collect()
        };
        stored.iter().map(|stored| stored.value()).collect()
    }

    /// The latest resource version.
    pub fn revision(&self) -> u64 {
        self.lock().storage.revision()
    }

    /// Creates an object, named by its own metadata.
    ///
    /// # Errors
    /// Whatever the API server refuses: an existing name, a missing namespace, an invalid object.
    pub fn create(&self, object: Value, manager: &str) -> Result<Value, ApiError> {
        let resource = self.resource_of(&object)?;
        let namespace = text(&object, "/metadata/namespace").to_owned();
        self.create_in(&resource, &namespace, object, &WriteOptions::of(manager))
    }

    /// Replaces an object. A `metadata.resourceVersion` that is no longer the latest is a conflict.
    ///
    /// # Errors
    /// Whatever the API server refuses: a missing object, a conflict, an invalid object.
    pub fn update(&self, object: Value, manager: &str) -> Result<Value, ApiError> {
        self.replace(object, "", manager)
    }

    /// Replaces an object's status.
    ///
    /// # Errors
    /// As [`Store::update`].
    pub fn update_status(&self, object: Value, manager: &str) -> Result<Value, ApiError> {
        self.replace(object, "status", manager)
    }

    fn replace(&self, object: Value, subresource: &str, manager: &str) -> Result<Value, ApiError> {
        let resource = self.resource_of(&object)?;
        let namespace = text(&object, "/metadata/namespace").to_owned();
        let name = text(&object, "/metadata/name").to_owned();
        self.update_in(&resource, subresource, &namespace, &name, &WriteOptions::of(manager), |_| Ok(object))
            .map(|(value, _)| value)
    }

    /// Deletes an object.
    ///
    /// # Errors
    /// [`ApiError`] with code 404 when it is not there.
    pub fn delete(
        &self,
        kind: &GroupKind,
        namespace: &str,
        name: &str,
        propagation: Propagation,
    ) -> Result<(), ApiError> {
        let resource = self.lock().registry.by_group_kind(kind).ok_or_else(ApiError::no_such_path)?;
        let request = DeleteRequest { propagation: Some(propagation), ..DeleteRequest::default() };
        self.delete_in(&resource, namespace, name, &request).map(|_| ())
    }

    /// Watches a kind: first an `Added` for each object that is there, then each change.
    pub fn watch(&self, kind: &GroupKind) -> Watch {
        Watch {
            tail: self.tail(kind, 0),
            kind: kind.clone(),
            store: self.clone(),
            started: false,
            ready: Vec::new(),
        }
    }

    /// Forgets the event log, so that watches from older versions are told 410.
    pub fn compact(&self) {
        self.lock().storage.compact();
    }

    /// Whether [`Store::close`] was called.
    pub fn is_closed(&self) -> bool {
        *self.inner.closed.borrow()
    }

    /// Ends all watches and chores.
    pub fn close(&self) {
        self.inner.closed.send_replace(true);
    }

    /// Resolves when the store is closed.
    pub async fn closed(&self) {
        let mut closed = self.inner.closed.subscribe();
        // The sender lives as long as this handle: the wait ends by the value alone.
        let _ = closed.wait_for(|closed| *closed).await;
    }

    /// The resource that an object belongs to, by its `apiVersion` and `kind`.
    pub(super) fn resource_of(&self, object: &Value) -> Result<Arc<Resource>, ApiError> {
        let gvk = Gvk::from_api_version(text(object, "/apiVersion"), text(object, "/kind"));
        self.lock().registry.by_gvk(&gvk).ok_or_else(ApiError::no_such_path)
    }

    /// Follows the events of a kind after a revision.
    pub(super) fn tail(&self, kind: &GroupKind, revision: u64) -> Tail {
        let changed = self.lock().storage.subscribe(kind);
        Tail {
            store: self.clone(),
            kind: kind.clone(),
            revision,
            changed,
            closed: self.inner.closed.subscribe(),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Follows the events of one kind.
pub(super) struct Tail {
    store: Store,
    kind: GroupKind,
    revision: u64,
    changed: watch::Receiver<u64>,
    closed: watch::Receiver<bool>,
}

/// Why a [`Tail`] gives nothing more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TailEnd {
    /// Events that it has not seen have left the log.
    Expired,
    /// The sandbox is shut down.
    Closed,
}

impl Tail {
    /// A revision up to which everything was handed out.
    pub(super) fn reached(&self) -> u64 {
        let state = self.store.lock();
        match state.storage.events_after(&self.kind, self.revision) {
            Some(events) if events.is_empty() => state.storage.revision(),
            _ => self.revision,
        }
    }

    /// The next events, at least one, in order.
    pub(super) async fn next(&mut self) -> Result<Vec<Arc<Event>>, TailEnd> {
        loop {
            if *self.closed.borrow() {
                return Err(TailEnd::Closed);
            }
            self.changed.mark_unchanged();
            let events = self.store.lock().storage.events_after(&self.kind, self.revision);
            let events = events.ok_or(TailEnd::Expired)?;
            if let Some(last) = events.last() {
                self.revision = last.object.revision;
                return Ok(events);
            }
            tokio::select! {
                changed = self.changed.changed() => if changed.is_err() { return Err(TailEnd::Closed) },
                closed = self.closed.changed() => if closed.is_err() { return Err(TailEnd::Closed) },
            }
        }
    }
}

/// A controller's view of one kind.
pub struct Watch {
    store: Store,
    kind: GroupKind,
    tail: Tail,
    started: bool,
    /// Events to hand out, the next one last.
    ready: Vec<WatchEvent>,
}

impl Watch {
    /// The next change; `None` when the sandbox is shut down. After a lag everything comes again as `Added`.
    pub async fn next(&mut self) -> Option<WatchEvent> {
        loop {
            if let Some(event) = self.ready.pop() {
                return Some(event);
            }
            if !self.started {
                self.started = true;
                let (revision, stored) = {
                    let state = self.store.lock();
                    (state.storage.revision(), state.storage.list(&self.kind, None))
                };
                self.tail.revision = revision;
                self.ready = stored
                    .iter()
                    .rev()
                    .map(|stored| WatchEvent { kind: EventKind::Added, object: stored.value() })
                    .collect();
                continue;
            }
            match self.tail.next().await {
                Ok(events) => {
                    self.ready = events
                        .iter()
                        .rev()
                        .map(|event| WatchEvent { kind: event.kind, object: event.object.value() })
                        .collect();
                }
                Err(TailEnd::Expired) => self.started = false,
                Err(TailEnd::Closed) => return None,
            }
        }
    }
}

/// A kind in Go's words.
pub(super) fn kind_text(gvk: &Gvk) -> String {
    format!("{}/{}, Kind={}", gvk.group, gvk.version, gvk.kind)
}

/// What is said of a kind that nobody knows.
pub(super) fn no_kind(kind: &str, version: &str) -> String {
    format!("no kind {kind:?} is registered for version {version:?} in scheme \"pkg/runtime/scheme.go:111\"")
}

/// A string in a value, empty when it is absent.
pub(super) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The identity under which an object of a resource is kept.
pub(super) fn key_of(resource: &Resource, namespace: &str, name: &str) -> ObjectKey {
    ObjectKey::new(&resource.storage.group, &resource.storage.kind, namespace, name)
}
