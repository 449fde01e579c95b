//! Health: checks of an installation's own, what counts, and that it stays when nothing changes.

use serde_json::json;
use skiff::api::HealthStatusCode;

use super::harness::{World, config_map};

const CHECK: &str = "resource.customizations.health.ConfigMap";

/// Waits until an Application has a health and `what` in its rows' messages.
async fn until_health(world: &World, name: &str, code: HealthStatusCode, what: &str) {
    world
        .until_application(name, &format!("is {code} with '{what}'"), |application| {
            let mut rows = application.status.resources.iter().filter_map(|row| row.health.as_ref());
            application.status.health_code() == code
                && (what.is_empty() || rows.any(|health| health.message.contains(what)))
        })
        .await;
}

#[tokio::test]
async fn a_check_in_the_settings_judges_at_once_and_so_does_its_next_version() {
    let world = World::new().await;
    let commit = world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "bad")))]);
    world.apply(world.automated("orders", "app")).await;
    world.until_synced("orders", &commit).await;
    until_health(&world, "orders", HealthStatusCode::Healthy, "").await;

    let lua = "hs = {}\nif obj.data.key == 'bad' then\n  hs.status = 'Degraded'\n  hs.message = 'key is ' .. obj.data.key\nelse\n  hs.status = 'Healthy'\nend\nreturn hs";
    world.settings(json!({ CHECK: lua })).await;
    until_health(&world, "orders", HealthStatusCode::Degraded, "key is bad").await;

    let in_map = "ConfigMap:\n  health.lua.useOpenLibs: true\n  health.lua: |\n    return { status = 'Suspended', message = string.upper(obj.data.key) }\n";
    world.settings(json!({ "resource.customizations": in_map })).await;
    until_health(&world, "orders", HealthStatusCode::Suspended, "BAD").await;

    world.settings(json!({ CHECK: lua })).await;
    until_health(&world, "orders", HealthStatusCode::Degraded, "key is bad").await;
    let commit = world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "good")))]);
    world.until_synced("orders", &commit).await;
    until_health(&world, "orders", HealthStatusCode::Healthy, "").await;
}

#[tokio::test]
async fn a_check_that_fails_makes_its_objects_unknown_and_says_why() {
    let world = World::new().await;
    world.settings(json!({ CHECK: "while true do end" })).await;
    let commit = world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "1")))]);
    world.apply(world.automated("orders", "app")).await;
    world.until_synced("orders", &commit).await;
    until_health(&world, "orders", HealthStatusCode::Unknown, "ran longer than 1 s").await;
    world.until_condition("orders", "ComparisonError", "ran longer than 1 s").await;

    world.settings(json!({ CHECK: "local a = 1\nreturn obj.nothing.at.all" })).await;
    until_health(&world, "orders", HealthStatusCode::Unknown, "health.lua:2:").await;
    world.settings(json!({ CHECK: "return os.execute('true')" })).await;
    until_health(&world, "orders", HealthStatusCode::Unknown, "nil").await;
    world.settings(json!({})).await;
    until_health(&world, "orders", HealthStatusCode::Healthy, "").await;
    world
        .until_application("orders", "has no condition", |application| {
            application.status.conditions.is_empty()
        })
        .await;
}

#[tokio::test]
async fn an_object_that_is_marked_so_does_not_count() {
    let world = World::new().await;
    world.settings(json!({ CHECK: "return { status = 'Degraded', message = 'never well' }" })).await;
    let marked = format!(
        "{}  annotations: {{ argocd.argoproj.io/ignore-healthcheck: 'true' }}\n",
        config_map("a", "1").replace("data:\n  key: \"1\"\n", "")
    );
    let commit = world.repository.commit(&[("app/a.yaml", Some(&marked))]);
    world.apply(world.automated("orders", "app")).await;
    world.until_synced("orders", &commit).await;
    until_health(&world, "orders", HealthStatusCode::Healthy, "never well").await;
}

#[tokio::test]
async fn the_health_stays_as_it_is_while_nothing_changes() {
    let world = World::new().await;
    world.settings(json!({ CHECK: "return { status = 'Progressing', message = 'since ever' }" })).await;
    let commit = world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "1")))]);
    world.apply(world.automated("orders", "app")).await;
    world.until_synced("orders", &commit).await;
    until_health(&world, "orders", HealthStatusCode::Progressing, "since ever").await;
    let before = world.read_application("orders").await.status.health;
    for _ in 0..3 {
        world.refresh("orders").await;
    }
    let label = json!({ "metadata": { "labels": { "seen": "yes" } } });
    world.patch("v1", "ConfigMap", &world.namespace, "a", label).await;
    let after = world.refresh("orders").await.status.health;
    assert_eq!(after, before, "the time of the last transition moved too");
}

#[tokio::test]
async fn an_application_is_as_well_as_the_worst_of_its_objects() {
    let world = World::new().await;
    // Each object says itself how it is.
    world.settings(json!({ CHECK: "return { status = obj.data.key, message = obj.data.key }" })).await;
    world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "Healthy")))]);
    world.apply(world.automated("orders", "app")).await;
    // From best to worst.
    let worse = ["Healthy", "Suspended", "Progressing", "Missing", "Degraded", "Unknown"];
    for status in worse {
        world.repository.commit(&[("app/b.yaml", Some(&config_map("b", status)))]);
        until_health(&world, "orders", status.parse().unwrap(), status).await;
    }
    // What does not count: what is a hook, and what only is not there yet.
    let hook = config_map("hook", "Degraded").replacen(
        "metadata:\n",
        "metadata:\n  annotations: {argocd.argoproj.io/hook: Skip}\n",
        1,
    );
    world.repository.commit(&[("app/b.yaml", None), ("app/hook.yaml", Some(&hook))]);
    until_health(&world, "orders", HealthStatusCode::Healthy, "").await;
}

#[tokio::test]
async fn what_is_not_there_worsens_an_application_only_when_nothing_is() {
    let world = World::new().await;
    world.repository.commit(&[
        ("app/a.yaml", Some(&config_map("a", "1"))),
        ("app/b.yaml", Some(&config_map("b", "1"))),
        ("none/kustomization.yaml", Some("resources: []\n")),
    ]);
    world.create_namespace(&world.namespace).await;
    world.apply(world.application("orders", "app")).await;
    until_health(&world, "orders", HealthStatusCode::Missing, "").await;
    world.sync("orders", json!({ "resources": [{ "kind": "ConfigMap", "name": "a" }] })).await;
    let application = world
        .until_application("orders", "is healthy with half of its objects", |it| {
            it.status.health_code() == HealthStatusCode::Healthy
        })
        .await;
    let row = application.status.resources.iter().find(|row| row.name == "b").unwrap();
    assert_eq!(row.health.as_ref().unwrap().status, HealthStatusCode::Missing);
    world.apply(world.application("empty", "none")).await;
    until_health(&world, "empty", HealthStatusCode::Healthy, "").await;
}

#[tokio::test]
async fn an_agent_that_begins_finds_everything_as_well_as_the_one_before() {
    let mut world = World::new().await;
    world.settings(json!({ CHECK: "return { status = 'Suspended', message = 'by its own check' }" })).await;
    let everything = json!({
        "sourceRepos": ["*"], "destinations": [{ "server": "*", "namespace": "*" }],
        "clusterResourceWhitelist": [{ "group": "*", "kind": "*" }],
    });
    world.project("team-a", everything).await;
    let commit = world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "1")))]);
    let mut application = world.automated("orders", "app");
    application["spec"]["project"] = json!("team-a");
    world.apply(application).await;
    world.until_synced("orders", &commit).await;
    until_health(&world, "orders", HealthStatusCode::Suspended, "by its own check").await;
    world.until_polled(4).await;
    world.stop_agent().await;
    world.requests.clear();
    let looks = world.metric("argocd_app_reconcile_count", &[]);
    world.start_agent_with(world.agent_options("agent-1")).await;
    world.until_metric("argocd_app_reconcile_count", &[], |now| now > looks).await;
    world.refresh("orders").await;
    // It has read settings, projects and objects before it judges, so that nothing is ever said otherwise.
    let statuses: Vec<String> = world
        .agent_writes()
        .into_iter()
        .filter(|sent| sent.uri.contains("/applications/") && sent.body().contains("health"))
        .map(|sent| sent.body())
        .collect();
    assert_eq!(statuses, [""; 0]);
}
