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
    until_blocked(&world).await;
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
    let window = |zone: &str| {
        let mut window = opened(1, "3h");
        window["timeZone"] = json!(zone);
        deny_always(&window)
    };
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
    let mut window = opened(12, "1h");
    window["kind"] = json!("allow");
    window["manualSync"] = json!(true);
    world.project("team-a", project(deny_always(&window))).await;
    world.apply(of_project(world.automated("orders", "app"))).await;
    world.apply(of_project(world.automated("payments", "app"))).await;
    world.until_synced("payments", &commit).await;
    let application = world.refresh("orders").await;
    assert_eq!(application.status.operation_state, None);
    world.sync("orders", json!({ "syncOptions": ["CreateNamespace=true"] })).await;
    world.until_synced("orders", &commit).await;
}

fn hour() -> i8 {
    jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).hour()
}

/// A window that opened every day so many full hours before this one.
fn opened(hours_ago: i8, duration: &str) -> Value {
    json!({ "schedule": format!("0 {} * * *", (hour() + 24 - hours_ago) % 24), "duration": duration })
}

/// A sync that was begun three hours ago, as an agent finds it that starts now.
async fn sync_begun_three_hours_ago(world: &World, automated: bool) {
    let started = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(3);
    let operation = json!({
        "initiatedBy": { "automated": automated }, "sync": { "syncOptions": ["CreateNamespace=true"] },
    });
    let state = json!({
        "phase": "Running", "startedAt": skiff::api::Time::new(started).to_string(), "operation": operation,
        "message": "",
    });
    let patch = json!({ "operation": operation, "status": { "operationState": state } });
    world.patch("argoproj.io/v1alpha1", "Application", &world.argocd, "orders", patch).await;
}

async fn until_blocked(world: &World) {
    let application = world.until_operation_says("orders", "Sync operation blocked by sync window").await;
    assert_eq!(application.status.operation_state.unwrap().phase, OperationPhase::Running);
}

#[tokio::test]
async fn a_sync_that_began_while_it_was_allowed_goes_on_where_its_windows_say_so() {
    // A denial since two hours ago at most, and a permission that ended an hour ago at least.
    let denied = |overrun: bool| {
        let mut window = opened(1, "3h");
        window["syncOverrun"] = json!(overrun);
        window
    };
    let permitted = |overrun: bool| {
        let mut window = opened(4, "3h");
        window["kind"] = json!("allow");
        window["syncOverrun"] = json!(overrun);
        window
    };
    for (stops, goes_on) in [(denied(false), denied(true)), (permitted(false), permitted(true))] {
        let world = World::new().await;
        let commit = world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "1")))]);
        world.project("team-a", project(deny_always(&stops))).await;
        world.apply(of_project(world.application("orders", "app"))).await;
        world.until_status("orders", SyncStatusCode::OutOfSync).await;
        sync_begun_three_hours_ago(&world, true).await;
        until_blocked(&world).await;
        assert_eq!(world.written(), [""; 0]);
        world.project("team-a", project(deny_always(&goes_on))).await;
        world.until_synced("orders", &commit).await;
    }
}

#[tokio::test]
async fn a_sync_that_begins_in_a_window_that_denies_does_not_overrun_it() {
    let world = World::new().await;
    let commit = world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "1")))]);
    let overrun = json!({ "syncOverrun": true });
    world.project("team-a", project(deny_always(&overrun))).await;
    world.apply(of_project(world.automated("orders", "app"))).await;
    world.apply(of_project(world.automated("payments", "app"))).await;
    world.until_synced("payments", &commit).await;
    assert_eq!(world.refresh("orders").await.status.operation_state, None);
    world.sync("orders", json!({})).await;
    until_blocked(&world).await;
}

#[tokio::test]
async fn a_window_is_for_the_namespaces_and_clusters_that_it_names() {
    let world = World::new().await;
    let commit = world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "1")))]);
    let always = |lists: Value| {
        let mut window = json!({ "kind": "deny", "schedule": "* * * * *", "duration": "1h" });
        window.as_object_mut().unwrap().extend(lists.as_object().unwrap().clone());
        project(json!([window]))
    };
    let denying = [
        json!({ "namespaces": ["shop-*"] }),
        json!({ "clusters": ["in-*"] }),
        json!({ "clusters": ["https://kubernetes.default.svc"], "applications": ["other"] }),
        json!({ "andOperator": true, "applications": ["ord*"], "namespaces": ["*"], "clusters": ["*"] }),
    ];
    world.project("team-a", always(json!({ "applications": ["*"] }))).await;
    world.apply(of_project(world.application("orders", "app"))).await;
    world.until_status("orders", SyncStatusCode::OutOfSync).await;
    let sync = json!({ "syncOptions": ["CreateNamespace=true"] });
    for lists in denying {
        world.project("team-a", always(lists)).await;
        world.sync("orders", sync.clone()).await;
        until_blocked(&world).await;
        let terminating = json!({ "status": { "operationState": { "phase": "Terminating" } } });
        world.patch("argoproj.io/v1alpha1", "Application", &world.argocd, "orders", terminating).await;
        world.until_operation("orders", OperationPhase::Failed).await;
    }
    assert_eq!(world.written(), [""; 0]);
    let strange = json!({ "andOperator": true, "applications": ["ord*"], "namespaces": ["elsewhere"] });
    world.project("team-a", always(strange)).await;
    world.sync("orders", sync).await;
    world.until_synced("orders", &commit).await;
}
