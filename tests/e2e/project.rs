//! What an AppProject permits an Application, for every kind of write, and what happens when it changes its mind.

use serde_json::{Value, json};
use skiff::api::{OperationPhase, SyncStatusCode, names};

use super::harness::{Setup, World, config_map, deployment};

/// A project that permits everything.
fn everything() -> Value {
    json!({
        "sourceRepos": ["*"],
        "destinations": [{ "server": "*", "namespace": "*" }],
        "clusterResourceWhitelist": [{ "group": "*", "kind": "*" }],
    })
}

/// A project that permits everything but what `change` takes away.
fn restricted(change: impl FnOnce(&mut Value)) -> Value {
    let mut spec = everything();
    change(&mut spec);
    spec
}

fn of_project(mut application: Value, project: &str) -> Value {
    application["spec"]["project"] = json!(project);
    application
}

fn cluster_role(world: &World) -> String {
    let name = world.unique("reader");
    format!(
        "apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {{name: {name}}}
rules: [{{apiGroups: [''], resources: [pods], verbs: [get]}}]
"
    )
}

/// Waits until a sync of the Application has failed with a text; nothing was written.
async fn until_refused(world: &World, text: &str) {
    world
        .until_application("orders", &format!("is refused: {text}"), |application| {
            application.status.operation_state.as_ref().is_some_and(|state| state.message.contains(text))
        })
        .await;
    assert_eq!(world.written(), [""; 0]);
}

#[tokio::test]
async fn a_project_that_does_not_exist_stops_everything_until_it_does() {
    let world = World::new().await;
    let commit = world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "1")))]);
    world.apply(of_project(world.automated("orders", "app"), "team-a")).await;
    let text = "Application references project team-a which does not exist";
    world.until_condition("orders", names::CONDITION_INVALID_SPEC_ERROR, text).await;
    assert_eq!(world.written(), [""; 0]);
    world.project("team-a", everything()).await;
    let application = world.until_synced("orders", &commit).await;
    assert_eq!(application.status.conditions, []);
}

#[tokio::test]
async fn a_repository_must_be_among_the_sources_of_the_project() {
    let world = World::new().await;
    let commit = world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "1")))]);
    world.project("team-a", restricted(|spec| spec["sourceRepos"] = json!(["https://example.com/*"]))).await;
    world.apply(of_project(world.automated("orders", "app"), "team-a")).await;
    let text = "is not permitted in project 'team-a'";
    world.until_condition("orders", names::CONDITION_INVALID_SPEC_ERROR, text).await;
    assert_eq!(world.written(), [""; 0]);
    let denied = json!(["*", format!("!{}", world.repository.url())]);
    world.project("team-a", restricted(|spec| spec["sourceRepos"] = denied)).await;
    let application = world.refresh("orders").await;
    assert_eq!(application.status.conditions[0].condition_type, names::CONDITION_INVALID_SPEC_ERROR);
    world.project("team-a", restricted(|spec| spec["sourceRepos"] = json!([world.repository.url()]))).await;
    world.until_synced("orders", &commit).await;
}

#[tokio::test]
async fn the_destination_must_be_among_those_of_the_project() {
    let world = World::new().await;
    let commit = world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "1")))]);
    let destinations = json!([{ "server": "*", "namespace": "team-a-*" }]);
    world.project("team-a", restricted(|spec| spec["destinations"] = destinations)).await;
    world.apply(of_project(world.automated("orders", "app"), "team-a")).await;
    let text = format!(
        "namespace '{}' do not match any of the allowed destinations in project 'team-a'",
        world.namespace
    );
    world.until_condition("orders", names::CONDITION_INVALID_SPEC_ERROR, &text).await;
    assert_eq!(world.written(), [""; 0]);
    let destinations = json!([{ "name": "in-cluster", "namespace": world.namespace }]);
    world.project("team-a", restricted(|spec| spec["destinations"] = destinations)).await;
    world.until_synced("orders", &commit).await;
}

#[tokio::test]
async fn a_namespace_that_the_project_excludes_is_not_written_to_and_nothing_else_either() {
    let world = World::new().await;
    let stray = config_map("stray", "1").replace("name: stray", "name: stray\n  namespace: kube-system");
    world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "1"))), ("app/stray.yaml", Some(&stray))]);
    let destinations =
        json!([{ "server": "*", "namespace": "*" }, { "server": "*", "namespace": "!kube-*" }]);
    world.project("team-a", restricted(|spec| spec["destinations"] = destinations)).await;
    world.apply(of_project(world.automated("orders", "app"), "team-a")).await;
    until_refused(&world, "namespace kube-system is not permitted in project 'team-a'").await;
    let commit = world.repository.commit(&[("app/stray.yaml", None)]);
    world.until_synced("orders", &commit).await;
}

#[tokio::test]
async fn cluster_scoped_kinds_need_a_permission() {
    let world = World::new().await;
    let commit = world.repository.commit(&[("app/role.yaml", Some(&cluster_role(&world)))]);
    let only = |kind: &str, name: &str| json!([{ "group": "*", "kind": kind, "name": name }]);
    world.project("team-a", restricted(|spec| spec["clusterResourceWhitelist"] = json!([]))).await;
    let mut application = of_project(world.application("orders", "app"), "team-a");
    application["spec"]["syncPolicy"] = json!({ "automated": {}, "retry": { "limit": 0 } });
    world.apply(application).await;
    until_refused(
        &world,
        "resource rbac.authorization.k8s.io:ClusterRole is not permitted in project team-a",
    )
    .await;

    world
        .project(
            "team-a",
            restricted(|spec| spec["clusterResourceWhitelist"] = only("ClusterRole", "other-*")),
        )
        .await;
    world.sync("orders", json!({})).await;
    world.until_operation("orders", OperationPhase::Failed).await;
    assert_eq!(world.written(), [""; 0]);

    world
        .project("team-a", restricted(|spec| spec["clusterResourceWhitelist"] = only("ClusterRole", "read*")))
        .await;
    world.sync("orders", json!({})).await;
    world.until_synced("orders", &commit).await;
}

#[tokio::test]
async fn a_denied_cluster_scoped_kind_is_denied_though_all_are_permitted() {
    let world = World::new().await;
    world.repository.commit(&[("app/role.yaml", Some(&cluster_role(&world)))]);
    let denied = json!([{ "group": "rbac.authorization.k8s.io", "kind": "*" }]);
    world.project("team-a", restricted(|spec| spec["clusterResourceBlacklist"] = denied)).await;
    world.apply(of_project(world.application("orders", "app"), "team-a")).await;
    world.sync("orders", json!({})).await;
    until_refused(
        &world,
        "resource rbac.authorization.k8s.io:ClusterRole is not permitted in project team-a",
    )
    .await;
}

#[tokio::test]
async fn the_destination_namespace_is_created_only_if_namespaces_are_permitted() {
    let world = World::new().await;
    let commit = world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "1")))]);
    world.project("team-a", restricted(|spec| spec["clusterResourceWhitelist"] = json!([]))).await;
    world.apply(of_project(world.automated("orders", "app"), "team-a")).await;
    until_refused(&world, "resource :Namespace is not permitted in project team-a").await;
    assert!(world.get("v1", "Namespace", "", &world.namespace).await.is_none());
    world
        .project(
            "team-a",
            restricted(|spec| {
                spec["clusterResourceWhitelist"] = json!([{ "group": "", "kind": "Namespace" }]);
            }),
        )
        .await;
    world.sync("orders", json!({ "syncOptions": ["CreateNamespace=true"] })).await;
    world.until_synced("orders", &commit).await;
}

#[tokio::test]
async fn namespaced_kinds_may_be_denied_or_listed() {
    let world = World::new().await;
    let commit = world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "1")))]);
    let group_kind = |group: &str, kind: &str| json!([{ "group": group, "kind": kind }]);
    world
        .project(
            "team-a",
            restricted(|spec| spec["namespaceResourceBlacklist"] = group_kind("", "ConfigMap")),
        )
        .await;
    world.apply(of_project(world.application("orders", "app"), "team-a")).await;
    let sync = json!({ "syncOptions": ["CreateNamespace=true"] });
    world.sync("orders", sync.clone()).await;
    until_refused(&world, "resource :ConfigMap is not permitted in project team-a").await;

    world
        .project("team-a", restricted(|spec| spec["namespaceResourceWhitelist"] = group_kind("apps", "*")))
        .await;
    world.sync("orders", sync.clone()).await;
    until_refused(&world, "resource :ConfigMap is not permitted in project team-a").await;

    world
        .project("team-a", restricted(|spec| spec["namespaceResourceWhitelist"] = group_kind("", "Config*")))
        .await;
    world.sync("orders", sync).await;
    world.until_synced("orders", &commit).await;
}

#[tokio::test]
async fn what_may_not_be_written_may_not_be_pruned_either() {
    let world = World::new().await;
    world.project("team-a", everything()).await;
    let commit = world.repository.commit(&[
        ("app/a.yaml", Some(&config_map("a", "1"))),
        ("app/web.yaml", Some(&deployment("web", "web:1.0", 1))),
    ]);
    world.apply(of_project(world.automated("orders", "app"), "team-a")).await;
    world.until_synced("orders", &commit).await;
    let denied = json!([{ "group": "apps", "kind": "Deployment" }]);
    world.project("team-a", restricted(|spec| spec["namespaceResourceBlacklist"] = denied)).await;
    world.requests.clear();
    world.repository.commit(&[("app/web.yaml", None)]);
    until_refused(&world, "resource apps:Deployment is not permitted in project team-a").await;
    assert!(world.get("apps/v1", "Deployment", &world.namespace, "web").await.is_some());
}

#[tokio::test]
async fn a_project_that_is_edited_takes_effect_at_once() {
    let world = World::new().await;
    world.project("team-a", everything()).await;
    let commit = world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "1")))]);
    world.apply(of_project(world.automated("orders", "app"), "team-a")).await;
    world.until_synced("orders", &commit).await;
    world.project("team-a", restricted(|spec| spec["destinations"] = json!([]))).await;
    let application = world.until_status("orders", SyncStatusCode::Unknown).await;
    assert_eq!(application.status.conditions[0].condition_type, names::CONDITION_INVALID_SPEC_ERROR);
    world.requests.clear();
    world.patch("v1", "ConfigMap", &world.namespace, "a", json!({ "data": { "key": "drift" } })).await;
    world.refresh("orders").await;
    assert_eq!(world.written(), [""; 0], "drift is not put back where the project does not permit it");
    world.project("team-a", everything()).await;
    world
        .until("the drift is put back", async |w: &World| {
            let live = w.get("v1", "ConfigMap", &w.namespace, "a").await?;
            (live["data"]["key"] == "1").then_some(())
        })
        .await;
}

#[tokio::test]
async fn a_project_inherits_what_a_global_one_permits_and_refuses() {
    let world = World::new().await;
    let global = json!({
        "namespaceResourceBlacklist": [{ "group": "", "kind": "Secret" }],
        "sourceRepos": ["file://**"],
    });
    world.project("global", global).await;
    world.project("team-a", restricted(|spec| spec["sourceRepos"] = json!([]))).await;
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: token}\n";
    world
        .repository
        .commit(&[("app/a.yaml", Some(&config_map("a", "1"))), ("app/secret.yaml", Some(secret))]);
    world.apply(of_project(world.automated("orders", "app"), "team-a")).await;
    world.until_condition("orders", names::CONDITION_INVALID_SPEC_ERROR, "is not permitted").await;

    let all = "- projectName: global\n  labelSelector:\n    matchExpressions:\n    - {key: free, operator: DoesNotExist}\n";
    world.settings(json!({ "globalProjects": all })).await;
    until_refused(&world, ":Secret is not permitted").await;

    // What the global project says counts as soon as it says so.
    world.project("global", json!({ "sourceRepos": ["file://**"] })).await;
    let commit = world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "2")))]);
    world.until_synced("orders", &commit).await;
}

async fn other_namespaces() -> (World, String, String) {
    let mut world = Setup::new().without_agent().build().await;
    let (team, strangers) = (world.unique("team-a"), world.unique("strangers"));
    world.parameters(json!({ "application.namespaces": "team-*" })).await;
    for name in [&team, &strangers] {
        world.create_namespace(name).await;
    }
    world.start_agent().await;
    (world, team, strangers)
}

async fn application_in(world: &World, namespace: &str) -> Option<Value> {
    world.get("argoproj.io/v1alpha1", "Application", namespace, "orders").await
}

#[tokio::test]
async fn an_application_of_another_namespace_needs_the_projects_leave() {
    let (world, team, strangers) = other_namespaces().await;
    world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "1")))]);
    world.project("team-a", everything()).await;
    for namespace in [&team, &strangers] {
        let mut application = of_project(world.automated("orders", "app"), "team-a");
        application["metadata"]["namespace"] = json!(namespace);
        world.apply(application).await;
    }
    world
        .until("the Application is refused", async |w: &World| {
            let application = application_in(w, &team).await?;
            let condition = application.pointer("/status/conditions/0/message")?.as_str()?;
            condition.contains("is not allowed to use project 'team-a'").then_some(())
        })
        .await;
    assert_eq!(world.written(), [""; 0]);
    world.project("team-a", restricted(|spec| spec["sourceNamespaces"] = json!([team]))).await;
    let live = world
        .until("the Application is synced", async |w: &World| {
            w.get("v1", "ConfigMap", &w.namespace, "a").await
        })
        .await;
    let id = &live["metadata"]["annotations"]["argocd.argoproj.io/tracking-id"];
    assert_eq!(*id, format!("{team}_orders:/ConfigMap:{}/a", world.namespace));
    let ignored = application_in(&world, &strangers).await.unwrap();
    assert!(ignored.get("status").is_none(), "{ignored}");
}
