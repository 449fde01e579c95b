//! Following the agent's own kinds: settings, AppProjects and Applications.

use std::{collections::HashSet, sync::Arc, time::Duration};

use kube::{
    Api, Client,
    core::{ApiResource, DynamicObject},
};
use tokio::task::JoinSet;

use super::{
    context::Context,
    follow::{Change, Synced, follow},
    projects::ensure_default_project,
    reconcile::Level,
    settings::{AgentSettings, secrets_selector},
    writer::resource,
};
use crate::{cluster::Reach, object::Scope};

/// How long to wait for the first listing of the agent's own kinds before saying what is missing.
const START_LIMIT: Duration = Duration::from_secs(30);

/// Follows settings first, since they say how everything else is read, then projects, then Applications.
/// Returns when all of them are listed, however long that takes.
pub async fn follow_own_kinds(client: &Client, context: &Arc<Context>, background: &mut JoinSet<()>) {
    let namespace = &context.options.namespace;
    let mut all = Vec::new();
    let in_namespace = |resource| Api::<DynamicObject>::namespaced_with(client.clone(), namespace, &resource);

    let synced = Synced::default();
    let (c, s) = (Arc::clone(context), synced.clone());
    background.spawn(follow(
        in_namespace(core("ConfigMap", "configmaps")),
        "ConfigMap",
        None,
        HashSet::new(),
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
        HashSet::new(),
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

    if context.shadow.is_none() {
        ensure_default_project(client, namespace).await;
    }
    let synced = Synced::default();
    let c = Arc::clone(context);
    let projects = in_namespace(resource("AppProject", "appprojects"));
    background.spawn(follow(projects, "AppProject", None, HashSet::new(), synced.clone(), move |change| {
        let changed = match change {
            Change::Present(value) => c.projects.observe(value),
            Change::Gone { name, .. } => c.projects.forget(&name),
        };
        for key in changed.iter().flat_map(|name| c.applications.of_project(name)) {
            c.orphans.ask(&key);
            c.queue.add(key, Level::Latest);
        }
    }));
    all.push(("AppProject", synced));

    let synced = Synced::default();
    background.spawn(follow_applications(client.clone(), Arc::clone(context), synced.clone()));
    all.push(("Application", synced));
    all_listed(&all).await;
}

/// Follows the Applications of the namespaces that the settings name, and of others as soon as those change.
async fn follow_applications(client: Client, context: Arc<Context>, synced: Synced) {
    let mut settings = context.settings.clone();
    loop {
        let current = Arc::clone(&settings.borrow_and_update());
        let namespace = &context.options.namespace;
        let mut known = HashSet::new();
        for key in context.applications.keys() {
            if current.manages_namespace(&key.namespace, namespace) {
                known.insert((key.namespace, key.name));
            } else {
                context.application_changed(Change::Gone { namespace: key.namespace, name: key.name });
            }
        }
        let resource = resource("Application", "applications");
        let mut places = match &context.options.reach {
            Reach::Cluster if current.application_namespaces().is_empty() => vec![Some(namespace.clone())],
            reach => reach.places(Scope::Namespaced),
        };
        places.retain(|place| place.as_ref().is_none_or(|place| current.manages_namespace(place, namespace)));
        let synced_places: Vec<Synced> = places.iter().map(|_| Synced::default()).collect();
        let following = places.iter().zip(&synced_places).map(|(place, synced)| {
            let applications = match place {
                Some(place) => Api::namespaced_with(client.clone(), place, &resource),
                None => Api::all_with(client.clone(), &resource),
            };
            let is_there =
                |(namespace, _): &&(String, String)| place.as_ref().is_none_or(|it| it == namespace);
            let known = known.iter().filter(is_there).cloned().collect();
            follow(applications, "Application", None, known, synced.clone(), |change| {
                context.application_changed(change);
            })
        });
        let following = futures::future::join_all(following);
        let all_synced = async {
            for place in &synced_places {
                place.wait().await;
            }
            synced.set();
            std::future::pending::<()>().await;
        };
        let is_other = |settings: &Arc<AgentSettings>| {
            settings.application_namespaces() != current.application_namespaces()
        };
        tokio::select! {
            _ = following => {}
            () = all_synced => {}
            Ok(_) = settings.wait_for(is_other) => {}
        }
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

/// What the client needs to address one of Kubernetes' oldest kinds.
pub fn core(kind: &str, plural: &str) -> ApiResource {
    ApiResource {
        group: String::new(),
        version: "v1".to_owned(),
        api_version: "v1".to_owned(),
        kind: kind.to_owned(),
        plural: plural.to_owned(),
    }
}
