//! Sync windows of a project: what happens by itself, what people may do, and when it goes on.

use serde_json::{Value, json};
use skiff::api::{OperationPhase, SyncStatusCode, names};

use super::harness::{World, config_map};

fn project(windows: Value) -> Value {
    let mut spec = json!({
        "sourceRepos": ["*"],
        "destinations": [{ "server": "*", "namespace": "*" }],
        "clusterResourceWhitelist": [{ "group": "*", "kind": "*" }],
    });
    spec["syncWindows"] = windows;
    spec
}

fn deny_always(extra: &Value) -> Value {
    let mut window =
        json!({ "kind": "deny", "schedule": "* * * * *", "duration": "1h", "applications": ["ord*"] });
    for (key, value) in extra.as_object().unwrap() {
        window[key] = value.clone();
    }
    json!([window])
}

fn of_project(mut application: Value) -> Value {
    application["spec"]["project"] = json!("team-a");
    application
}

#[tokio::test]
async fn nothing_is_synced_by_itself_while_a_window_denies_it() {
    let world = World::new().await;
    let commit = world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "1")))]);
    world.project("team-a", project(deny_always(&json!({})))).await;
    world.apply(of_project(world.automated("orders", "app"))).await;
    world.apply(of_project(world.automated("payments", "app"))).await;
    world.until_status("orders", SyncStatusCode::OutOfSync).await;
    // Another Application of the same project, for which there is no window, shows that time has passed.
    world.until_synced("payments", &commit).await;
    let application = world.refresh("orders").await;
    assert_eq!(application.status.operation_state, None);
    assert_eq!(application.status.conditions.iter().filter(|it| it.is_error()).count(), 0);
    world.project("team-a", project(json!([]))).await;
    world.until_synced("orders", &commit).await;
}

#[tokio::test]
async fn a_sync_that_somebody_asks_for_waits_until_the_window_lets_it() {
    let world = World::new().await;
    let commit = world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "1")))]);
    world.project("team-a", project(deny_always(&json!({})))).await;
    world.apply(of_project(world.application("orders", "app"))).await;
    world.until_status("orders", SyncStatusCode::OutOfSync).await;
    world.sync("orders", json!({ "syncOptions": ["CreateNamespace=true"] })).await;
    let waits = |it: &skiff::api::Application| {
        it.status.operation_state.as_ref().is_some_and(|state| {
            state.phase == OperationPhase::Running && state.message == "Sync operation blocked by sync window"
        })
    };
    world.until_application("orders", "waits", waits).await;
    assert_eq!(world.written(), [""; 0]);
    world.project("team-a", project(deny_always(&json!({ "manualSync": true })))).await;
    world.until_synced("orders", &commit).await;
}

#[tokio::test]
async fn a_window_that_cannot_be_read_denies_and_is_told() {
    let world = World::new().await;
    world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "1")))]);
    world.project("team-a", project(deny_always(&json!({ "schedule": "every day" })))).await;
    world.apply(of_project(world.automated("orders", "app"))).await;
    let text = "AppProject 'team-a': spec.syncWindows[0].schedule: 'every day' has 2 fields instead of five";
    world.until_condition("orders", names::CONDITION_SYNC_ERROR, text).await;
    assert_eq!(world.written(), [""; 0]);
}

#[tokio::test]
async fn a_time_zone_decides_whether_a_window_is_open() {
    let world = World::new().await;
    let commit = world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "1")))]);
    // Open for an hour more at least, and half a day away where the clocks show another time.
    let hour = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).hour();
    let schedule = format!("0 {} * * *", (hour + 23) % 24);
    let window =
        |zone: &str| deny_always(&json!({ "schedule": schedule, "duration": "3h", "timeZone": zone }));
    world.project("team-a", project(window("UTC"))).await;
    world.apply(of_project(world.automated("orders", "app"))).await;
    world.apply(of_project(world.automated("payments", "app"))).await;
    world.until_synced("payments", &commit).await;
    let application = world.refresh("orders").await;
    assert_eq!(application.status.operation_state, None);
    world.project("team-a", project(window("Etc/GMT-12"))).await;
    world.until_synced("orders", &commit).await;
}

#[tokio::test]
async fn outside_of_a_window_that_allows_only_people_may_sync_where_it_says_so() {
    let world = World::new().await;
    let commit = world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "1")))]);
    let hour = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).hour();
    let window = json!({
        "kind": "allow", "schedule": format!("0 {} * * *", (hour + 12) % 24), "duration": "1h", "manualSync": true,
    });
    world.project("team-a", project(deny_always(&window))).await;
    world.apply(of_project(world.automated("orders", "app"))).await;
    world.apply(of_project(world.automated("payments", "app"))).await;
    world.until_synced("payments", &commit).await;
    let application = world.refresh("orders").await;
    assert_eq!(application.status.operation_state, None);
    world.sync("orders", json!({ "syncOptions": ["CreateNamespace=true"] })).await;
    world.until_synced("orders", &commit).await;
}
