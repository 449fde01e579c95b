//! An agent for some namespaces only: one that needs no ClusterRole.

use http::StatusCode;
use serde_json::json;
use skiff::{
    api::OperationPhase,
    cluster::Reach,
    sandbox::fault::{Fault, FaultRule},
};

use super::{
    harness::{Setup, World, config_map, deployment},
    recorder::Sent,
};

/// A world whose agent looks after its own namespace and the one for workloads, and is refused everything else.
async fn world() -> World {
    let mut world = Setup::new().without_agent().build().await;
    world.create_namespace(&world.namespace).await;
    let (argocd, namespace) = (world.argocd.clone(), world.namespace.clone());
    world.requests.confine_to(&[&argocd, &namespace]);
    start(&mut world).await;
    world
}

async fn start(world: &mut World) {
    let mut options = world.agent_options("agent-0");
    options.reach = Reach::namespaces([world.argocd.clone(), world.namespace.clone()]);
    world.start_agent_with(options).await;
}

/// The requests that were refused for want of permissions.
fn refused(world: &World) -> Vec<String> {
    let sent = world.requests.sent().into_iter();
    let is_refused =
        |answer: Option<(StatusCode, _)>| answer.is_some_and(|(status, _)| status == StatusCode::FORBIDDEN);
    sent.filter(|sent| is_refused(sent.answer()))
        .map(|sent| format!("{} {}", sent.method, sent.uri))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_syncs_heals_prunes_and_deletes_without_asking_for_anything_else() {
    let world = world().await;
    let files = [
        ("app/settings.yaml", Some(config_map("settings", "one"))),
        ("app/more.yaml", Some(config_map("more", "one"))),
        ("app/web.yaml", Some(deployment("web", "web:1", 2))),
    ];
    let files: Vec<(&str, Option<&str>)> =
        files.iter().map(|(path, text)| (*path, text.as_deref())).collect();
    let commit = world.repository.commit(&files);
    let mut application = world.automated("app", "app");
    application["metadata"]["finalizers"] = json!(["resources-finalizer.argocd.argoproj.io"]);
    world.apply(application).await;
    world.until_synced("app", &commit).await;
    world
        .patch("v1", "ConfigMap", &world.namespace, "settings", json!({ "data": { "key": "by hand" } }))
        .await;
    world
        .until("the drift is put back", async |world: &World| {
            let settings = world.get("v1", "ConfigMap", &world.namespace, "settings").await?;
            (settings["data"]["key"] == "one").then_some(())
        })
        .await;
    let commit = world.repository.commit(&[("app/more.yaml", None)]);
    world.until_synced("app", &commit).await;
    assert_eq!(world.get("v1", "ConfigMap", &world.namespace, "more").await, None);
    world.delete("argoproj.io/v1alpha1", "Application", &world.argocd, "app").await;
    world
        .until("everything is deleted", async |world: &World| {
            let left = world.get("argoproj.io/v1alpha1", "Application", &world.argocd, "app").await;
            left.is_none().then_some(())
        })
        .await;
    assert_eq!(world.names("v1", "ConfigMap", &world.namespace).await, Vec::<String>::new());
    assert_eq!(refused(&world), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_list_and_not_get_is_shown_an_object_in_a_list() {
    let world = World::new().await;
    world.faults.inject(FaultRule::on("get", "namespaces"), Fault::Forbidden);
    let commit = world.repository.commit(&[("app/a.yaml", Some(&config_map("settings", "one")))]);
    // Whether the namespace is to be created has to be known first.
    world.apply(world.automated("app", "app")).await;
    world.until_synced("app", &commit).await;
    let listed = |sent: &Sent| {
        sent.is_read() && sent.uri.contains("namespaces?") && sent.uri.contains("fieldSelector")
    };
    assert!(world.requests.sent().iter().any(listed));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_out_of_reach_is_an_error_that_says_so_and_stops_its_application_alone() {
    let world = world().await;
    let other = world.unique("other");
    let elsewhere =
        config_map("elsewhere", "one").replace("metadata:", &format!("metadata:\n  namespace: {other}"));
    let class = world.unique("urgent");
    let class = format!(
        "apiVersion: scheduling.k8s.io/v1\nkind: PriorityClass\nmetadata: {{name: {class}}}\nvalue: 10\n"
    );
    let commit = world.repository.commit(&[
        ("elsewhere/a.yaml", Some(&elsewhere)),
        ("elsewhere/here.yaml", Some(&config_map("not-written", "one"))),
        ("cluster/a.yaml", Some(&class)),
        ("cluster/here.yaml", Some(&config_map("not-written", "one"))),
        ("here/a.yaml", Some(&config_map("here", "one"))),
    ]);
    for name in ["elsewhere", "cluster", "here"] {
        world.apply(world.automated(name, name)).await;
    }
    let mut away = world.automated("away", "here");
    away["spec"]["destination"]["namespace"] = json!(other);
    world.apply(away).await;
    let text = format!("namespace '{other}' is none of its own");
    world.until_condition("elsewhere", "ComparisonError", &text).await;
    world.until_condition("cluster", "ComparisonError", "belongs to the cluster as a whole").await;
    world.until_condition("away", "InvalidSpecError", "--namespaced").await;
    world.until_synced("here", &commit).await;
    assert_eq!(world.names("v1", "ConfigMap", &world.namespace).await, ["here"]);
    assert_eq!(refused(&world), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_come_out_of_reach_is_neither_forgotten_nor_pruned() {
    let mut world = World::new().await;
    let other = world.unique("other");
    world.create_namespace(&other).await;
    let elsewhere =
        config_map("elsewhere", "one").replace("metadata:", &format!("metadata:\n  namespace: {other}"));
    let commit = world.repository.commit(&[
        ("app/elsewhere.yaml", Some(&elsewhere)),
        ("app/here.yaml", Some(&config_map("here", "one"))),
    ]);
    let mut application = world.automated("app", "app");
    application["metadata"]["finalizers"] = json!(["resources-finalizer.argocd.argoproj.io"]);
    world.apply(application).await;
    world.until_synced("app", &commit).await;
    world.stop_agent().await;
    start(&mut world).await;
    world.repository.commit(&[("app/elsewhere.yaml", None)]);
    world.until_condition("app", "ComparisonError", "was there at the last comparison").await;
    world.delete("argoproj.io/v1alpha1", "Application", &world.argocd, "app").await;
    world.until_condition("app", "DeletionError", "widen the agent's reach").await;
    assert!(world.get("v1", "ConfigMap", &other, "elsewhere").await.is_some());
    assert!(world.get("v1", "ConfigMap", &world.namespace, "here").await.is_some());
    // With its old reach the agent goes on.
    world.stop_agent().await;
    world.start_agent().await;
    world
        .until("everything is deleted", async |world: &World| {
            let left = world.get("argoproj.io/v1alpha1", "Application", &world.argocd, "app").await;
            left.is_none().then_some(())
        })
        .await;
    assert!(world.get("v1", "ConfigMap", &other, "elsewhere").await.is_none());
    world.delete("v1", "Namespace", "", &other).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn applications_may_live_in_the_namespaces_that_are_deployed_to() {
    let world = world().await;
    world.project("default", json!({
        "sourceRepos": ["*"], "sourceNamespaces": ["*"], "destinations": [{ "server": "*", "namespace": "*" }],
    })).await;
    world.parameters(json!({ "application.namespaces": "*" })).await;
    world.repository.commit(&[("app/a.yaml", Some(&config_map("settings", "one")))]);
    let mut application = world.automated("app", "app");
    application["metadata"]["namespace"] = json!(world.namespace);
    world.apply(application).await;
    world
        .until("it is synced", async |world: &World| {
            let found = world.get("argoproj.io/v1alpha1", "Application", &world.namespace, "app").await?;
            let phase = found.pointer("/status/operationState/phase")?.as_str()?.to_owned();
            (phase == OperationPhase::Succeeded.as_str()).then_some(())
        })
        .await;
    assert_eq!(refused(&world), Vec::<String>::new());
}
