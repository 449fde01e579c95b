//! The whole loop on the sandbox, in one process: from a commit, and from a change by hand, to the live object.
//!
//! The repository is polled every [`POLL_EVERY`], so the time from commit to cluster includes up to that much of
//! waiting until the new reference is seen.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout)]

use std::{sync::Arc, time::Duration};

use kube::{
    Api, Client,
    api::{DynamicObject, Patch, PatchParams},
    core::{ApiResource, GroupVersionKind},
};
use serde_json::{Value, json};
use skiff::{
    api::crd,
    controller::{Agent, AgentOptions},
    files::RepoPath,
    git::writer::{self, Author, Change},
    metrics::{Metrics, MetricsOptions},
    object::{GroupKind, yaml},
    sandbox::{Sandbox, store::Watch},
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

#[path = "support/application.rs"]
mod application;

const POLL_EVERY: Duration = Duration::from_millis(10);
const PATIENCE: Duration = Duration::from_secs(30);
const EVENTS: usize = 300;

#[tokio::main]
async fn main() {
    let folder = tempfile::tempdir().unwrap();
    let repository = folder.path().join("repository");
    writer::init(&repository, true).unwrap();
    let sandbox = Sandbox::builder().pod_ready_delay(Duration::from_millis(5)).build();
    let client = sandbox.client();
    for definition in crd::definitions() {
        let definition =
            yaml::parse(definition.to_yaml().as_bytes(), &yaml::Options::default()).unwrap().remove(0);
        apply(&client, "CustomResourceDefinition", "apiextensions.k8s.io/v1", "", definition.value).await;
    }
    for name in ["argocd", "shop"] {
        apply(&client, "Namespace", "v1", "", json!({ "metadata": { "name": name } })).await;
    }
    let mut options = AgentOptions::new("argocd", "bench".to_owned(), folder.path().join("cache"));
    options.poll_interval = Some(POLL_EVERY);
    let agent =
        Agent::new(client.clone(), options, Arc::new(Metrics::new(&MetricsOptions::default()).unwrap()));
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    let running = tokio::spawn(async move { agent.run(stopped).await.unwrap() });

    let commit = |value: &str| {
        let author = Author::new("bench", "bench@example.com");
        let write = |path, text: String| Change::Write(RepoPath::parse(path).unwrap(), text.into_bytes());
        let settings =
            format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: settings\ndata:\n  key: {value}\n");
        let changes =
            [write("app/all.yaml", application::application(0)), write("app/settings.yaml", settings)];
        writer::commit(&repository, "main", &changes, value, &author).unwrap();
    };
    let mut settings = sandbox.store().watch(&GroupKind::new("", "ConfigMap"));
    commit("first");
    apply(&client, "Application", "argoproj.io/v1alpha1", "argocd", json!({
        "metadata": { "name": "shop" },
        "spec": {
            "project": "default",
            "source": { "repoURL": format!("file://{}", repository.display()), "path": "app", "targetRevision": "main" },
            "destination": { "server": "https://kubernetes.default.svc", "namespace": "shop" },
            "syncPolicy": { "automated": { "prune": true, "selfHeal": true } },
        },
    }))
    .await;
    until(&mut settings, "first").await;
    idle(&sandbox).await;

    let (mut applied, mut healed) = (Vec::new(), Vec::new());
    for number in 0..EVENTS {
        let declared = format!("commit-{number}");
        commit(&declared);
        let begun = Instant::now();
        until(&mut settings, &declared).await;
        applied.push(begun.elapsed());
        idle(&sandbox).await;
        // Once per commit: what drifts again and again is put back ever less often, on purpose.
        let change = json!({ "metadata": { "name": "settings" }, "data": { "key": "by-hand" } });
        apply(&client, "ConfigMap", "v1", "shop", change).await;
        let begun = Instant::now();
        until(&mut settings, "by-hand").await;
        until(&mut settings, &declared).await;
        healed.push(begun.elapsed());
        idle(&sandbox).await;
    }
    report("commit -> applied", applied);
    report("drift -> healed", healed);
    stop.cancel();
    running.await.unwrap();
}

/// Applies an object, as a person does.
async fn apply(client: &Client, kind: &str, api_version: &str, namespace: &str, mut object: Value) {
    object["apiVersion"] = json!(api_version);
    object["kind"] = json!(kind);
    let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
    let api: Api<DynamicObject> = match namespace {
        "" => Api::all_with(client.clone(), &resource),
        namespace => Api::namespaced_with(client.clone(), namespace, &resource),
    };
    let name = object["metadata"]["name"].as_str().unwrap().to_owned();
    let begun = Instant::now();
    // A kind is served a moment after its definition.
    while let Err(error) =
        api.patch(&name, &PatchParams::apply("person").force(), &Patch::Apply(&object)).await
    {
        assert!(begun.elapsed() < PATIENCE, "{error}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Waits until the ConfigMap holds a value.
async fn until(settings: &mut Watch, value: &str) {
    let seen = async {
        while let Some(event) = settings.next().await {
            if event.object["metadata"]["name"] == "settings" && event.object["data"]["key"] == value {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, seen).await.unwrap();
}

/// Waits until the operation is over and its outcome on record, so that events do not overlap.
async fn idle(sandbox: &Sandbox) {
    let mut applications = sandbox.store().watch(&GroupKind::new("argoproj.io", "Application"));
    let seen = async {
        while let Some(event) = applications.next().await {
            let status = &event.object["status"];
            if status["operationState"]["phase"] == "Succeeded"
                && status["sync"]["status"] == "Synced"
                && event.object.get("operation").is_none()
            {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, seen).await.unwrap();
}

fn report(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |share: usize| times.get((times.len() - 1) * share / 100).copied().unwrap_or_default();
    println!(
        "{what:<18} p50 {:>8.1?}  p90 {:>8.1?}  p99 {:>8.1?}  max {:>8.1?}  ({} times)",
        at(50),
        at(90),
        at(99),
        at(100),
        times.len()
    );
}
