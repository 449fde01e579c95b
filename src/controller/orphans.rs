//! Objects in an Application's namespace that belong to nobody, where its project asks for them.
//!
//! They are of kinds that nobody watches, so somebody has to look: now and then, when a project changes, and when an
//! Application is seen for the first time or its refresh is asked for. A round lists each namespace once for all of its
//! Applications. Looks read what the last round has found; one whose number changed is begun by the round.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use kube::Client;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{applications::ApplicationKey, context::Context, reconcile::Level};
use crate::{
    api::{Application, ApplicationCondition, names},
    cluster::{
        ClusterError,
        tree::{Forest, Inventory, Member, inventory},
    },
    metrics::ApplicationLabels,
    object::{Gvk, Object, Scope},
    project::{Destination, OrphanRules, Project},
};

/// The time between two rounds that nobody asked for.
const EVERY: Duration = Duration::from_secs(180);
/// Rounds that are asked for do not follow each other faster.
const PAUSE: Duration = Duration::from_secs(2);

/// What a project says of objects that belong to nobody.
pub(super) struct OrphanSettings {
    /// Which objects count.
    pub(super) rules: OrphanRules,
    /// Whether an Application is to warn of them.
    pub(super) warn: bool,
}

/// What was found last, and for whom to look again.
#[derive(Default)]
pub(super) struct Orphans {
    found: Mutex<HashMap<ApplicationKey, Found>>,
    asked: Mutex<BTreeSet<ApplicationKey>>,
    bell: Notify,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Found {
    count: usize,
    warn: bool,
}

impl Orphans {
    /// Has somebody look for an Application's orphans soon.
    pub(super) fn ask(&self, key: &ApplicationKey) {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone());
        self.bell.notify_one();
    }

    /// Drops what is known of an Application that is gone.
    pub(super) fn forget(&self, key: &ApplicationKey) {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    /// The warning of one Application, if it has to warn.
    pub(super) fn warning(&self, key: &ApplicationKey) -> Vec<ApplicationCondition> {
        let found = self.found.lock().unwrap_or_else(PoisonError::into_inner).get(key).copied();
        let warns = found.filter(|found| found.warn && found.count > 0);
        let condition = warns.map(|found| {
            let message = format!("Application has {} orphaned resources", found.count);
            ApplicationCondition::new(names::CONDITION_ORPHANED_RESOURCE_WARNING, message)
        });
        condition.into_iter().collect()
    }
}

/// The objects of the destination's namespace that nobody owns and no Application tracks, as far as they count for the
/// project. `existing` has the instance names of all Applications.
pub(crate) fn orphans<'a>(
    inventory: &'a Inventory,
    application: &Application,
    project: &Project,
    rules: &OrphanRules,
    existing: &HashSet<String>,
) -> Vec<&'a Member> {
    let destination = Destination {
        server: names::IN_CLUSTER_SERVER.to_owned(),
        name: names::IN_CLUSTER_NAME.to_owned(),
        project: String::new(),
    };
    let namespace = &application.spec.destination.namespace;
    let forest = Forest::new(&inventory.members);
    let mut found: Vec<&Member> = inventory
        .members
        .iter()
        .filter(|member| !namespace.is_empty() && member.key.namespace == *namespace)
        .filter(|member| forest.is_top_level(member))
        .filter(|member| member.tracked_by.as_ref().is_none_or(|instance| !existing.contains(instance)))
        .filter(|member| rules.counts(&member.key))
        .filter(|member| project.permits_resource(&member.key, Scope::Namespaced, &destination).is_ok())
        .collect();
    found.sort_by(|a, b| a.key.cmp(&b.key));
    found
}

/// Looks now and then, and when it is asked to, until `stop`.
pub(super) async fn look_for_orphans(context: Arc<Context>, client: Client, stop: CancellationToken) {
    loop {
        let asked = tokio::select! {
            () = stop.cancelled() => return,
            () = context.orphans.bell.notified() => {
                std::mem::take(&mut *context.orphans.asked.lock().unwrap_or_else(PoisonError::into_inner))
            }
            () = tokio::time::sleep(EVERY) => context.applications.keys(),
        };
        Box::pin(round(&context, &client, asked)).await;
        stop.run_until_cancelled(tokio::time::sleep(PAUSE)).await;
    }
}

async fn round(context: &Context, client: &Client, asked: BTreeSet<ApplicationKey>) {
    let namespace = &context.options.namespace;
    let existing: HashSet<String> =
        context.applications.keys().into_iter().map(|key| key.instance_name(namespace)).collect();
    let mut by_namespace: BTreeMap<String, Vec<Asking>> = BTreeMap::new();
    for key in asked {
        match asking(context, &key) {
            Some(asking) => {
                let namespace = asking.application.spec.destination.namespace.clone();
                by_namespace.entry(namespace).or_default().push(asking);
            }
            None => learn(context, &key, None),
        }
    }
    for (namespace, applications) in by_namespace {
        let inventory = match list(context, client, &namespace).await {
            Ok(inventory) => inventory,
            // What was found before stands.
            Err(error) => {
                tracing::warn!(namespace, %error, "orphaned resources could not be looked for");
                continue;
            }
        };
        for Asking { key, application, project, settings } in applications {
            let found = orphans(&inventory, &application, &project, &settings.rules, &existing);
            let count = u32::try_from(found.len()).map_or(f64::MAX, f64::from);
            context.metrics.set_orphans(ApplicationLabels::of(&application), count);
            learn(context, &key, Some(Found { count: found.len(), warn: settings.warn }));
        }
    }
}

/// Keeps what was found; the Application is looked at if that is news.
fn learn(context: &Context, key: &ApplicationKey, found: Option<Found>) {
    let mut all = context.orphans.found.lock().unwrap_or_else(PoisonError::into_inner);
    let before = match found {
        Some(found) => all.insert(key.clone(), found),
        None => all.remove(key),
    };
    drop(all);
    if before != found {
        context.queue.add(key.clone(), Level::Live);
    }
}

/// An Application whose project asks for orphans.
struct Asking {
    key: ApplicationKey,
    application: Arc<Application>,
    project: Project,
    settings: Arc<OrphanSettings>,
}

fn asking(context: &Context, key: &ApplicationKey) -> Option<Asking> {
    let application = context.applications.get(key)?.application.ok()?;
    let name = application.spec.project_name();
    let settings = context.projects.orphan_settings(name)?;
    let project = context.projects.get(name)?.ok()?;
    let destination = &application.spec.destination;
    let is_ours = !destination.namespace.is_empty() && destination.is_in_cluster();
    is_ours.then(|| Asking { key: key.clone(), application: Arc::clone(&application), project, settings })
}

async fn list(context: &Context, client: &Client, namespace: &str) -> Result<Inventory, ClusterError> {
    let settings = context.settings();
    let kinds = context.cluster.kinds();
    let reach = context.cluster.watches.reach();
    let is_left_out = |gvk: &Gvk| {
        let is_near = kinds.get(gvk).is_ok_and(|info| reach.problem(info.scope, namespace).is_none());
        settings.is_excluded(gvk) || !is_near
    };
    let tracked_by = |object: &Object| settings.tracking.instance_of(object);
    let namespaces = BTreeSet::from([namespace.to_owned()]);
    inventory(client, &kinds, &namespaces, &is_left_out, &tracked_by, context.options.timeouts).await
}
