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
