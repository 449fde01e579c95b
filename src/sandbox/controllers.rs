//! Just enough controllers that workloads come alive.
//!
//! ```text
//! Deployment ▶ ReplicaSet ─┐
//! StatefulSet, DaemonSet ──┼▶ Pod ▶ (kubelet) Running and Ready, or broken as its image's tag says
//! Job ─────────────────────┘
//! PersistentVolumeClaim ▶ bound volume     Service, Ingress ▶ load balancer address
//! PodDisruptionBudget ▶ counts of its Pods     HorizontalPodAutoscaler ▶ conditions, but no scaling
//! ```
//!
//! Each controller is one task: it watches its kind and the kinds that it owns, and brings every object that an event
//! or a timer names one step nearer to its goal. Nothing is polled, and a status is written only when it changes. An
//! image tag that contains `broken` cannot be pulled; one that contains `fail` makes its container fail.

mod autoscaler;
mod daemon_set;
mod deployment;
mod disruption;
mod job;
mod kubelet;
mod network;
mod parts;
mod replica_set;
mod stateful_set;
#[cfg(test)]
mod tests;
mod volume;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures::future::FutureExt;
use futures::stream::{self, BoxStream, StreamExt};
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::status::ApiError;
use super::store::Store;
use crate::object::GroupKind;
use parts::text;

/// How fast, and how, workloads come alive.
#[derive(Debug, Clone)]
pub struct ControllerOptions {
    /// From a Pod's creation until it is Running and Ready.
    pub pod_ready_delay: Duration,
    /// How long a container that ends by itself (`restartPolicy` `Never` or `OnFailure`) runs.
    pub job_duration: Duration,
    /// Overrides `progressDeadlineSeconds` of every Deployment.
    pub progress_deadline: Option<Duration>,
    /// The name of the one node.
    pub node_name: String,
}

impl Default for ControllerOptions {
    fn default() -> Self {
        Self {
            pod_ready_delay: Duration::ZERO,
            job_duration: Duration::ZERO,
            progress_deadline: None,
            node_name: "sandbox-node".to_owned(),
        }
    }
}

/// The running controllers; they end when this is dropped.
#[derive(Debug)]
pub struct Controllers {
    _tasks: JoinSet<()>,
}

/// What every controller works with.
struct Context {
    store: Store,
    options: ControllerOptions,
}

/// Namespace and name.
type Key = (String, String);

/// Since when the objects of a controller have been as they are.
#[derive(Default)]
struct Memory {
    since: HashMap<Key, (String, Instant)>,
}

impl Memory {
    /// Since when this object has had this state; now, if it is new.
    fn since(&mut self, object: &Value, state: &str) -> Instant {
        let key = (text(object, "/metadata/namespace").to_owned(), text(object, "/metadata/name").to_owned());
        let state = format!("{} {state}", text(object, "/metadata/uid"));
        let entry = self.since.entry(key).or_insert_with(|| (state.clone(), Instant::now()));
        if entry.0 != state {
            *entry = (state, Instant::now());
        }
        entry.1
    }
}

/// One step for one object; the time after which it wants to be called again without an event.
type Reconcile = fn(&Context, &mut Memory, &Value) -> Result<Option<Duration>, ApiError>;

struct Controller {
    kind: GroupKind,
    owned: Vec<GroupKind>,
    /// A kind whose changes concern every object of the controller's kind in their namespace.
    related: Option<GroupKind>,
    reconcile: Reconcile,
}

/// Starts the controllers on a store. Must be called inside a Tokio runtime.
pub fn start(store: Store, options: ControllerOptions) -> Controllers {
    let context = Arc::new(Context { store, options });
    let of = |group: &str, kind: &str, owned: &[(&str, &str)], reconcile: Reconcile| Controller {
        kind: GroupKind::new(group, kind),
        owned: owned.iter().map(|(group, kind)| GroupKind::new(*group, *kind)).collect(),
        related: None,
        reconcile,
    };
    let pods: &[(&str, &str)] = &[("", "Pod")];
    let controllers = [
        of("apps", "Deployment", &[("apps", "ReplicaSet")], deployment::reconcile),
        of("apps", "ReplicaSet", pods, replica_set::reconcile),
        of("apps", "StatefulSet", pods, stateful_set::reconcile),
        of("apps", "DaemonSet", pods, daemon_set::reconcile),
        of("batch", "Job", pods, job::reconcile),
        of("", "Pod", &[], kubelet::reconcile),
        of("", "PersistentVolumeClaim", &[], volume::reconcile),
        of("", "Service", &[], network::reconcile_service),
        of("networking.k8s.io", "Ingress", &[], network::reconcile_ingress),
        of("autoscaling", "HorizontalPodAutoscaler", &[], autoscaler::reconcile),
        Controller {
            related: Some(GroupKind::new("", "Pod")),
            ..of("policy", "PodDisruptionBudget", &[], disruption::reconcile)
        },
    ];
    let mut tasks = JoinSet::new();
    for controller in controllers {
        tasks.spawn(run(Arc::clone(&context), controller));
    }
    Controllers { _tasks: tasks }
}

/// How many events are taken in before the objects that they name are looked at.
const BATCH: usize = 1024;

/// How long a refused write waits before it is tried again.
const RETRY_CONFLICT: Duration = Duration::from_millis(5);
const RETRY_OTHER: Duration = Duration::from_millis(500);

async fn run(context: Arc<Context>, controller: Controller) {
    let mut events = changes(&context.store, &controller);
    let mut timers: BTreeSet<(Instant, Key)> = BTreeSet::new();
    let mut memory = Memory::default();
    loop {
        let mut due = BTreeSet::new();
        let wake = timers.first().map(|(at, _)| *at);
        tokio::select! {
            keys = events.next() => match keys {
                Some(keys) => { due.extend(keys); }
                None => return,
            },
            () = tokio::time::sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {}
        }
        for _ in 0..BATCH {
            let Some(Some(keys)) = events.next().now_or_never() else {
                break;
            };
            due.extend(keys);
        }
        let now = Instant::now();
        while let Some(first) = timers.pop_first() {
            if first.0 > now {
                timers.insert(first);
                break;
            }
            due.insert(first.1);
        }
        for key in due {
            let Some(object) = context.store.get(&controller.kind, &key.0, &key.1) else {
                memory.since.remove(&key);
                continue;
            };
            let again = match (controller.reconcile)(&context, &mut memory, &object) {
                Ok(again) => again,
                Err(error) if matches!(error.code(), 404 | 409) => Some(RETRY_CONFLICT),
                Err(error) => {
                    tracing::debug!(kind = %controller.kind, name = %key.1, code = error.code(), "sandbox controller was refused");
                    Some(RETRY_OTHER)
                }
            };
            if let Some(at) = again.and_then(|again| now.checked_add(again)) {
                timers.insert((at, key));
            }
        }
    }
}

/// The objects of the controller's kind that something happened to, or to something that they own.
fn changes(store: &Store, controller: &Controller) -> BoxStream<'static, Vec<Key>> {
    let kinds = std::iter::once(&controller.kind).chain(&controller.owned).chain(&controller.related);
    let streams = kinds.map(|kind| {
        let owner = controller.kind.clone();
        let is_primary = *kind == owner;
        let is_related = controller.related.as_ref() == Some(kind);
        let all = store.clone();
        let events = stream::unfold(store.watch(kind), |mut watch| async move {
            let event = watch.next().await?;
            Some((event, watch))
        });
        events
            .map(move |event| {
                let namespace = text(&event.object, "/metadata/namespace").to_owned();
                if is_primary {
                    return vec![(namespace, text(&event.object, "/metadata/name").to_owned())];
                }
                if is_related {
                    return all.list(&owner, Some(&namespace)).iter().map(parts::key).collect();
                }
                let Some(reference) = parts::controller_of(&event.object) else {
                    return Vec::new();
                };
                let is_owner = text(reference, "/kind") == owner.kind
                    && text(reference, "/apiVersion").rsplit_once('/').map_or("", |(group, _)| group)
                        == owner.group;
                is_owner.then(|| (namespace, text(reference, "/name").to_owned())).into_iter().collect()
            })
            .boxed()
    });
    stream::select_all(streams).boxed()
}
