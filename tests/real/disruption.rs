//! An API server that goes away and comes back, and an etcd that forgets.

use std::time::Duration;

use crate::{
    control_plane, process,
    world::{World, until},
};

/// How many objects a sync has that is interrupted.
const OBJECTS: usize = 300;

fn many(value: &str) -> String {
    let manifest = |number: usize| process::config_map(&format!("object-{number:03}"), value);
    (0..OBJECTS).map(|number| format!("{}---\n", manifest(number))).collect()
}

async fn values(world: &World) -> Vec<String> {
    let objects = world.list("v1", "ConfigMap", &world.shop).await;
    let ours =
        objects.iter().filter(|object| object["metadata"]["name"].as_str().unwrap().starts_with("object-"));
    ours.map(|object| object["data"]["key"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_the_api_server_in_mid_sync_costs_time_and_nothing_else() {
    let Some(control_plane) = control_plane::disrupted().await else { return };
    let world = World::on(&control_plane).await;
    let agent = world.start_agent("agent-0");
    agent.until_ready().await;
    let first = world.commit(&[("app/many.yaml", Some(&many("one")))]);
    let mut application = world.automated("app", "app");
    application["spec"]["syncPolicy"]["retry"] =
        serde_json::json!({ "limit": 20, "backoff": { "duration": "1s", "factor": 1 } });
    world.apply(application).await;
    until("the sync is in its middle", || async {
        let written = values(&world).await.len();
        if written > 10 { Ok(()) } else { Err(format!("{written} objects")) }
    })
    .await;
    control_plane.restart_api_server().await;
    world.until_synced("app", &first).await;
    assert_eq!(values(&world).await, vec!["one"; OBJECTS]);

    // The next commit and drift are seen as before.
    let second = world.commit(&[("app/many.yaml", Some(&many("two")))]);
    world.until_synced("app", &second).await;
    assert_eq!(values(&world).await, vec!["two"; OBJECTS]);
    let by_hand = serde_json::json!({ "data": { "key": "by hand" } });
    world.patch("v1", "ConfigMap", &world.shop, "object-007", by_hand).await;
    until("the drift is put back", || async {
        let value = world.value("object-007").await;
        if value.as_deref() == Some("two") { Ok(()) } else { Err(format!("{value:?}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_while_the_api_server_is_away_is_caught_up_with() {
    let Some(control_plane) = control_plane::disrupted().await else { return };
    let world = World::on(&control_plane).await;
    let mut agent = world.start_agent("agent-0");
    agent.until_ready().await;
    let first = world.commit(&[("app/settings.yaml", Some(&process::config_map("settings", "one")))]);
    world.apply(world.automated("app", "app")).await;
    world.until_synced("app", &first).await;

    control_plane.stop_api_server().await;
    let second = world.commit(&[
        ("app/settings.yaml", Some(&process::config_map("settings", "two"))),
        ("app/more.yaml", Some(&process::config_map("more", "one"))),
    ]);
    // Long enough that the lease is no longer trusted.
    assert!(
        agent.end(Duration::from_secs(25)).await.is_none(),
        "the agent has ended: {:?}",
        agent.err.all().last()
    );
    control_plane.start_api_server().await;
    world.until_synced("app", &second).await;
    assert_eq!(world.value("settings").await.as_deref(), Some("two"));
    assert_eq!(world.value("more").await.as_deref(), Some("one"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_whose_history_was_compacted_begins_anew_and_misses_nothing() {
    let Some(control_plane) = control_plane::disrupted().await else { return };
    let world = World::on(&control_plane).await;
    let agent = world.start_agent("agent-0");
    agent.until_ready().await;
    let revision = world.commit(&[
        ("app/settings.yaml", Some(&process::config_map("settings", "one"))),
        ("app/other.yaml", Some(&process::config_map("other", "one"))),
    ]);
    world.apply(world.automated("app", "app")).await;
    world.until_synced("app", &revision).await;

    // While nothing is watched, drift and a deletion happen; then the history that would tell of them is gone.
    agent.signal("STOP");
    for number in 0..20 {
        let value = serde_json::json!({ "data": { "key": number.to_string() } });
        world.patch("v1", "ConfigMap", &world.shop, "settings", value).await;
    }
    world.delete("v1", "ConfigMap", &world.shop, "other").await;
    control_plane.compact().await;
    control_plane.restart_api_server().await;
    agent.signal("CONT");
    until("drift and deletion are put back", || async {
        let (settings, other) = (world.value("settings").await, world.value("other").await);
        let is_back = settings.as_deref() == Some("one") && other.as_deref() == Some("one");
        if is_back { Ok(()) } else { Err(format!("{settings:?} {other:?}")) }
    })
    .await;
    world.until_synced("app", &revision).await;

    // And the watches live on.
    let by_hand = serde_json::json!({ "data": { "key": "by hand" } });
    world.patch("v1", "ConfigMap", &world.shop, "settings", by_hand).await;
    until("the next drift is put back", || async {
        let value = world.value("settings").await;
        if value.as_deref() == Some("one") { Ok(()) } else { Err(format!("{value:?}")) }
    })
    .await;
}
