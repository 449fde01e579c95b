//! Following the agent's own kinds: settings, AppProjects and Applications.

use std::{sync::Arc, time::Duration};

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
    settings::secrets_selector,
    writer::resource,
};

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
    background.spawn(follow(secrets, "Secret", Some(secrets_selector()), synced.clone(), move |change| {
        if c.settings_store.secret(change) && s.is_set() {
            c.settings_changed();
        }
    }));
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
    let applications =
        if everywhere { Api::all_with(client.clone(), &applications) } else { in_namespace(applications) };
    background.spawn(follow(applications, "Application", None, synced.clone(), move |change| {
        c.application_changed(change);
    }));
    all.push(("Application", synced));
    all_listed(&all).await;
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
