//! Objects in an Application's namespace that belong to nobody, where its project asks for them.

use serde_json::{Value, json};

use super::{
    cli::skiff_app,
    harness::{World, config_map, find_condition},
};

const WARNING: &str = "OrphanedResourceWarning";

fn project(orphans: &Value) -> Value {
    json!({
        "sourceRepos": ["*"],
        "destinations": [{ "server": "*", "namespace": "*" }],
        "clusterResourceWhitelist": [{ "group": "*", "kind": "*" }],
        "orphanedResources": orphans,
    })
}

async fn stray(world: &World, name: &str) {
    let metadata = json!({ "name": name, "namespace": world.namespace });
    world.apply(json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata })).await;
}

#[tokio::test]
async fn a_project_that_asks_is_warned_of_what_belongs_to_nobody() {
    let world = World::new().await;
    let commit = world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "1")))]);
    let ignore = json!([{ "group": "", "kind": "ConfigMap", "name": "known-*" }]);
    world.project("team-a", project(&json!({ "warn": true, "ignore": ignore }))).await;
    let mut application = world.automated("orders", "app");
    application["spec"]["project"] = json!("team-a");
    world.apply(application).await;
    world.until_synced("orders", &commit).await;
    stray(&world, "known-stray").await;
    stray(&world, "stray").await;
    world.refresh("orders").await;
    world.until_condition("orders", WARNING, "Application has 1 orphaned resources").await;
    world.until_metric("argocd_app_orphaned_resources_count", &["orders"], |count| count == 1.0).await;
    let said = skiff_app(&world, "resources orders --orphaned").await;
    assert!(said.out.contains("stray") && !said.out.contains("known-stray"), "{}", said.out);

    world.delete("v1", "ConfigMap", &world.namespace, "stray").await;
    world.refresh("orders").await;
    world.until_application("orders", "has no orphans", |it| find_condition(it, WARNING, "").is_none()).await;
}

#[tokio::test]
async fn orphans_are_counted_and_nobody_is_warned_unless_the_project_says_so() {
    let world = World::new().await;
    let commit = world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "1")))]);
    world.project("team-a", project(&json!({}))).await;
    let mut application = world.automated("orders", "app");
    application["spec"]["project"] = json!("team-a");
    world.apply(application).await;
    world.until_synced("orders", &commit).await;
    stray(&world, "stray").await;
    world.refresh("orders").await;
    world.until_metric("argocd_app_orphaned_resources_count", &["orders"], |count| count == 1.0).await;
    let application = world.refresh("orders").await;
    assert!(find_condition(&application, WARNING, "").is_none());
    world.project("team-a", project(&json!({ "warn": true }))).await;
    world.until_condition("orders", WARNING, "Application has 1 orphaned resources").await;
}
