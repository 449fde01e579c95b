//! Following all objects of one kind in a namespace with a store behind it, for the agent's own few kinds:
//! Applications, AppProjects, ConfigMaps, repository Secrets.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use futures::StreamExt;
use kube::{
    Api,
    core::DynamicObject,
    runtime::{WatchStreamExt, watcher},
};
use serde_json::Value;
use tokio::sync::Notify;

use crate::cluster::WatchBackoff;

/// Objects in one page of a listing.
const PAGE_SIZE: u32 = 100;

/// What happens to an object.
pub enum Change {
    /// It is there, like this.
    Present(Value),
    /// It is gone.
    Gone {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
}

/// Set once the first listing is complete.
#[derive(Clone, Default)]
pub struct Synced(Arc<(AtomicBool, Notify)>);

impl Synced {
    /// Whether the first listing is complete.
    pub fn is_set(&self) -> bool {
        self.0.0.load(Ordering::Acquire)
    }

    /// Waits for it.
    pub async fn wait(&self) {
        loop {
            let notified = self.0.1.notified();
            if self.is_set() {
                return;
            }
            notified.await;
        }
    }

    /// Tells those who wait for it.
    pub fn set(&self) {
        self.0.0.store(true, Ordering::Release);
        self.0.1.notify_waiters();
    }
}

/// Follows a kind for ever, calling `apply` for each change. Objects that vanished during a gap are told as gone; `known`
/// are those (namespace and name) that were told before.
pub async fn follow(
    api: Api<DynamicObject>,
    kind: &'static str,
    label_selector: Option<&str>,
    mut known: HashSet<(String, String)>,
    synced: Synced,
    mut apply: impl FnMut(Change),
) {
    let mut config = watcher::Config::default().page_size(PAGE_SIZE);
    if let Some(selector) = label_selector {
        config = config.labels(selector);
    }
    let mut events = Box::pin(watcher(api, config).backoff(WatchBackoff::default()));
    let mut listed = HashSet::new();
    while let Some(event) = events.next().await {
        match event {
            Ok(watcher::Event::Init) => listed.clear(),
            Ok(watcher::Event::InitApply(object)) => {
                listed.insert(identity(&object));
                known.insert(identity(&object));
                present(object, &mut apply);
            }
            Ok(watcher::Event::InitDone) => {
                for (namespace, name) in known.difference(&listed).cloned() {
                    apply(Change::Gone { namespace, name });
                }
                known = std::mem::take(&mut listed);
                synced.set();
            }
            Ok(watcher::Event::Apply(object)) => {
                known.insert(identity(&object));
                present(object, &mut apply);
            }
            Ok(watcher::Event::Delete(object)) => {
                let (namespace, name) = identity(&object);
                known.remove(&(namespace.clone(), name.clone()));
                apply(Change::Gone { namespace, name });
            }
            Err(error) => tracing::warn!(kind, error = %crate::error::chain(&error), "watch failed"),
        }
    }
}

fn identity(object: &DynamicObject) -> (String, String) {
    let metadata = &object.metadata;
    (metadata.namespace.clone().unwrap_or_default(), metadata.name.clone().unwrap_or_default())
}

fn present(mut object: DynamicObject, apply: &mut impl FnMut(Change)) {
    object.metadata.managed_fields = None;
    match serde_json::to_value(object) {
        Ok(value) => apply(Change::Present(value)),
        Err(error) => tracing::error!(%error, "an object cannot be written as JSON"),
    }
}
