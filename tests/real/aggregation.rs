//! An aggregated API whose server is down.

use serde_json::json;

use crate::{
    control_plane, process,
    world::{World, until},
};

#[tokio::test(flavor = "multi_thread")]
async fn an_api_without_its_server_stops_only_who_needs_it() {
    let Some(control_plane) = control_plane::disrupted().await else { return };
    let world = World::on(&control_plane).await;
    let agent = world.start_agent("agent-0");
    agent.until_ready().await;
    let first = world.commit(&[("before/settings.yaml", Some(&process::config_map("before", "one")))]);
    world.apply(world.automated("before", "before")).await;
    world.until_synced("before", &first).await;

    world
        .apply(json!({
            "apiVersion": "apiregistration.k8s.io/v1",
            "kind": "APIService",
            "metadata": { "name": "v1.down.example.com" },
            "spec": {
                "group": "down.example.com", "version": "v1",
                "groupPriorityMinimum": 1000, "versionPriority": 10,
                "insecureSkipTLSVerify": true,
                "service": { "name": "nobody", "namespace": world.shop, "port": 443 },
            },
        }))
        .await;
    until("the API server sees that nobody is there", || async {
        let service = world.get("apiregistration.k8s.io/v1", "APIService", "", "v1.down.example.com").await;
        let conditions = service.unwrap()["status"]["conditions"].to_string();
        if conditions.contains("\"False\"") { Ok(()) } else { Err(conditions) }
    })
    .await;

    // Applications from before and after, and an agent that starts anew, which discovers everything anew.
    let second = world.commit(&[
        ("before/settings.yaml", Some(&process::config_map("before", "two"))),
        ("after/settings.yaml", Some(&process::config_map("after", "one"))),
        ("needs/it.yaml", Some("apiVersion: down.example.com/v1\nkind: Thing\nmetadata: {name: thing}\n")),
        ("needs/settings.yaml", Some(&process::config_map("needs", "one"))),
    ]);
    world.apply(world.automated("after", "after")).await;
    world.apply(world.automated("needs", "needs")).await;
    for name in ["before", "after"] {
        world.until_synced(name, &second).await;
    }
    world
        .until_application("needs", "says which API it misses", |application| {
            application["status"]["conditions"].to_string().contains("down.example.com")
        })
        .await;
    assert_eq!(world.value("needs").await, None, "an object of an incomplete picture was written");
    drop(agent);
    let agent = world.start_agent("agent-0");
    agent.until_ready().await;
    let third = world.commit(&[("after/settings.yaml", Some(&process::config_map("after", "two")))]);
    world.until_synced("after", &third).await;

    // Nothing was pruned for want of knowledge.
    assert_eq!(world.value("before").await.as_deref(), Some("two"));
    world.delete("apiregistration.k8s.io/v1", "APIService", "", "v1.down.example.com").await;
}
