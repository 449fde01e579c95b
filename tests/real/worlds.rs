//! The end-to-end suite's worlds on one real cluster.
//!
//! Each has namespaces of its own, all of which have its id in their names, as everything has that it makes without a
//! namespace. At its end all of that is removed in the background. A world that needs the cluster for itself (because it
//! brings other definitions of Skiff's kinds, say) waits until the others are gone.

use std::{
    collections::HashMap,
    sync::{LazyLock, Mutex, OnceLock, mpsc},
    thread::ThreadId,
    time::Duration,
};

use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, Patch, PatchParams},
    core::{ApiResource, DynamicObject, GroupVersionKind, PartialObjectMeta},
};
use serde_json::{Value, json};
use tokio::{runtime::Runtime, sync::Notify};

use crate::{
    control_plane::{self, ControlPlane},
    suite::cluster::{Cluster, Wishes, install, own_definitions},
};

/// Controllers of a busy real cluster take their time, above all to remove a namespace.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often it is looked whether something is gone.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A place on the real cluster for a world of the suite.
pub async fn cluster(wishes: Wishes) -> Cluster {
    let control_plane = control_plane::shared_async().await;
    let place = Place::take(wishes.alone).await;
    let client = control_plane.client().await;
    let definitions = wishes.definitions;
    let is_changed = definitions.is_some();
    if let Some(definitions) = definitions {
        install(&client, &definitions, PATIENCE).await;
    } else {
        static INSTALLED: tokio::sync::OnceCell<()> = tokio::sync::OnceCell::const_new();
        INSTALLED.get_or_init(|| control_plane.install_crds()).await;
    }
    let stay = Stay { control_plane, id: wishes.id, is_changed, place: Some(place) };
    Cluster::new(client, PATIENCE, stay)
}

/// The leave to be on the cluster, until it is dropped.
pub struct Place(ThreadId);

/// Who is on the cluster. A test is known by its thread, and may have several worlds.
#[derive(Default)]
struct Visitors {
    worlds: HashMap<ThreadId, usize>,
    alone: Option<ThreadId>,
    waiting: usize,
}

static VISITORS: LazyLock<Mutex<Visitors>> = LazyLock::new(Mutex::default);
static CHANGED: Notify = Notify::const_new();

impl Visitors {
    fn enter(&mut self, test: ThreadId, alone: bool) -> bool {
        let is_free = self.alone.is_none_or(|owner| owner == test);
        let may = if alone {
            is_free && self.worlds.keys().all(|other| *other == test)
        } else {
            is_free && (self.waiting == 0 || self.worlds.contains_key(&test))
        };
        if may {
            *self.worlds.entry(test).or_default() += 1;
            if alone {
                self.alone = Some(test);
            }
        }
        may
    }

    fn leave(&mut self, test: ThreadId) {
        let worlds = self.worlds.get_mut(&test).unwrap();
        *worlds -= 1;
        if *worlds == 0 {
            self.worlds.remove(&test);
            self.alone = self.alone.filter(|owner| *owner != test);
        }
    }
}

impl Place {
    /// Waits for a place among others, or for the whole cluster.
    pub async fn take(alone: bool) -> Self {
        let test = std::thread::current().id();
        if alone {
            VISITORS.lock().unwrap().waiting += 1;
        }
        loop {
            let changed = CHANGED.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            {
                let mut visitors = VISITORS.lock().unwrap();
                if visitors.enter(test, alone) {
                    visitors.waiting -= usize::from(alone);
                    CHANGED.notify_waiters();
                    return Self(test);
                }
            }
            changed.await;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        VISITORS.lock().unwrap().leave(self.0);
        CHANGED.notify_waiters();
    }
}

/// A world's stay on the cluster.
struct Stay {
    control_plane: &'static ControlPlane,
    id: String,
    is_changed: bool,
    place: Option<Place>,
}

impl Drop for Stay {
    fn drop(&mut self) {
        // The test's own runtime ends with it.
        static RUNTIME: OnceLock<Runtime> = OnceLock::new();
        let runtime = RUNTIME.get_or_init(|| {
            let mut builder = tokio::runtime::Builder::new_multi_thread();
            builder.worker_threads(1).enable_all().build().unwrap()
        });
        let (control_plane, id, is_changed) = (self.control_plane, self.id.clone(), self.is_changed);
        let place = self.place.take();
        let (removed, wait) = mpsc::channel();
        runtime.spawn(async move {
            let client = control_plane.client().await;
            if is_changed {
                install(&client, &own_definitions(), PATIENCE).await;
            }
            let outcome = tokio::time::timeout(PATIENCE, remove(&client, &id)).await;
            // Who has the cluster alone sees no definitions go.
            drop(place);
            if !matches!(outcome, Ok(Ok(()))) {
                use std::io::Write;
                let _ = writeln!(std::io::stderr(), "what test {id} made is not removed: {outcome:?}");
            }
            let _ = removed.send(());
        });
        // A control plane of our own ends with the process, and takes everything along.
        if !control_plane.is_own() {
            let _ = wait.recv_timeout(PATIENCE);
        }
    }
}

/// Removes everything whose name has the id in it.
async fn remove(client: &Client, id: &str) -> Result<(), kube::Error> {
    let group_kind = |group: &str, version: &str, kind: &str| {
        ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind))
    };
    let applications = group_kind("argoproj.io", "v1alpha1", "Application");
    let namespaces = group_kind("", "v1", "Namespace");
    let definitions = group_kind("apiextensions.k8s.io", "v1", "CustomResourceDefinition");
    for namespace in named(client, &namespaces, id).await? {
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &namespace, &applications);
        for application in api.list_metadata(&ListParams::default()).await?.items {
            let Some(name) = application.metadata.name.filter(|_| application.metadata.finalizers.is_some())
            else {
                continue;
            };
            let patch: Value = json!({ "metadata": { "finalizers": null } });
            ignore_missing(api.patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await)?;
        }
    }
    for resource in
        [namespaces, definitions.clone(), group_kind("rbac.authorization.k8s.io", "v1", "ClusterRole")]
    {
        let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
        for name in named(client, &resource, id).await? {
            ignore_missing(api.delete(&name, &DeleteParams::default()).await)?;
        }
    }
    while !named(client, &definitions, id).await?.is_empty() {
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(())
}

async fn named(client: &Client, resource: &ApiResource, id: &str) -> Result<Vec<String>, kube::Error> {
    let api: Api<DynamicObject> = Api::all_with(client.clone(), resource);
    let listed = api.list_metadata(&ListParams::default()).await?;
    let names = listed.items.into_iter().filter_map(|it: PartialObjectMeta<_>| it.metadata.name);
    Ok(names.filter(|name| name.contains(id)).collect())
}

fn ignore_missing<T>(result: Result<T, kube::Error>) -> Result<(), kube::Error> {
    match result {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        other => other.map(drop),
    }
}
