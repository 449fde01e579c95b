//! kubectl as the second client of the same objects.

use serde_json::{Value, json};

use crate::{
    process,
    process::Process,
    world::{World, until},
};

fn deployment(image: &str, replicas: u32) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web}}\nspec:\n  replicas: {replicas}\n  selector: \
         {{matchLabels: {{app: web}}}}\n  template:\n    metadata: {{labels: {{app: web}}}}\n    spec: {{containers: \
         [{{name: web, image: '{image}'}}]}}\n"
    )
}

/// A world with a Deployment that is synced.
async fn world_with_deployment(self_heal: bool) -> Option<(World, Process, String)> {
    if !process::has_kubectl() {
        return None;
    }
    let world = World::new().await;
    let agent = world.start_agent("agent-0");
    agent.until_ready().await;
    let revision = world.commit(&[("app/web.yaml", Some(&deployment("web:1", 2)))]);
    let mut application = world.automated("app", "app");
    application["spec"]["syncPolicy"]["automated"]["selfHeal"] = json!(self_heal);
    world.apply(application).await;
    world.until_synced("app", &revision).await;
    Some((world, agent, revision))
}

async fn live(world: &World) -> Value {
    world.get("apps/v1", "Deployment", &world.shop, "web").await.unwrap()
}

fn image(deployment: &Value) -> &str {
    deployment["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_get_shows_sync_and_health_and_more_on_request() {
    let Some((world, _agent, revision)) = world_with_deployment(true).await else { return };
    let get = ["get", "applications.argoproj.io", "--namespace", &world.argocd];
    let name = world.unique("app");
    let said = world.kubectl(&get).await.expect(0, &[]);
    let mut lines = said.out.lines();
    let header: Vec<&str> =
        lines.next().unwrap().split("  ").map(str::trim).filter(|it| !it.is_empty()).collect();
    assert_eq!(header, ["NAME", "SYNC STATUS", "HEALTH STATUS"], "{}", said.out);
    let row: Vec<&str> = lines.next().unwrap().split_whitespace().collect();
    assert_eq!(row, [&*name, "Synced", "Healthy"], "{}", said.out);
    let wide = [&get[..], &["-o", "wide"]].concat();
    world.kubectl(&wide).await.expect(0, &["REVISION", "PROJECT", &revision, "default"]);
    world.kubectl(&["get", "app", &name, "--namespace", &world.argocd]).await.expect(0, &["Synced"]);
    world.kubectl(&["get", "appprojects", "--namespace", &world.argocd]).await.expect(0, &["default"]);
    world.kubectl(&["explain", "application.spec.source.repoURL"]).await.expect(0, &["repoURL"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_applies_over_declared_fields_is_put_back_and_the_rest_is_his() {
    let Some((world, _agent, _)) = world_with_deployment(true).await else { return };
    let file = world.path("by-hand.yaml");
    let by_hand = deployment("web:7", 5)
        .replace("metadata: {name: web}\n", "metadata: {name: web, labels: {team: blue}}\n");
    std::fs::write(&file, by_hand).unwrap();
    let file = file.to_str().unwrap();
    let server_side = ["apply", "--server-side", "--namespace", &world.shop, "-f", file];
    world.kubectl(&server_side).await.expect(1, &["conflict", "argocd-controller"]);
    world.kubectl(&[&server_side[..], &["--force-conflicts"]].concat()).await.expect(0, &[]);
    let put_back = || async {
        let live = live(&world).await;
        let is_back = image(&live) == "web:1" && live["spec"]["replicas"] == 2;
        if is_back { Ok(live) } else { Err(live["spec"].to_string()) }
    };
    let after = until("Git's values are back", put_back).await;
    assert_eq!(after["metadata"]["labels"]["team"], "blue");

    // As people do it every day, client-side.
    world.kubectl(&["apply", "--namespace", &world.shop, "-f", file]).await.expect(0, &[]);
    let after = until("Git's values are back again", put_back).await;
    assert_eq!(after["metadata"]["labels"]["team"], "blue");
    world.until_application("app", "is synced", |it| it["status"]["sync"]["status"] == "Synced").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_edit_is_seen_as_drift_and_put_back_when_asked() {
    let Some((world, _agent, revision)) = world_with_deployment(false).await else { return };
    let editor = world.path("editor");
    std::fs::write(&editor, "#!/bin/sh\nsed -i 's/image: web:1/image: web:edited/' \"$1\"\n").unwrap();
    std::fs::set_permissions(&editor, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let edit = ["edit", "deployment", "web", "--namespace", &world.shop];
    let environment = [("KUBE_EDITOR", editor.to_str().unwrap())];
    world.kubectl_with(&edit, &environment).await.expect(0, &["edited"]);
    world
        .until_application("app", "has drifted", |application| {
            let resources = application["status"]["resources"].to_string();
            application["status"]["sync"]["status"] == "OutOfSync" && resources.contains("OutOfSync")
        })
        .await;
    assert_eq!(image(&live(&world).await), "web:edited", "put back though nobody asked");

    let operation = json!({ "operation": { "sync": { "revision": revision } } });
    world.patch_application("app", operation).await;
    until("the edit is put back", || async {
        let live = live(&world).await;
        if image(&live) == "web:1" { Ok(()) } else { Err(live["spec"].to_string()) }
    })
    .await;
    world.until_synced("app", &revision).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_rollout_undo_does_not_last() {
    let Some((world, _agent, _)) = world_with_deployment(true).await else { return };
    let second = world.commit(&[("app/web.yaml", Some(&deployment("web:2", 2)))]);
    world.until_synced("app", &second).await;
    let generation = live(&world).await["metadata"]["generation"].as_i64().unwrap();
    world
        .kubectl(&["rollout", "undo", "deployment/web", "--namespace", &world.shop])
        .await
        .expect(0, &["rolled back"]);
    until("Git's image is back", || async {
        let live = live(&world).await;
        let was_undone = live["metadata"]["generation"].as_i64().unwrap() >= generation + 2;
        if was_undone && image(&live) == "web:2" { Ok(()) } else { Err(live["spec"].to_string()) }
    })
    .await;
    world.until_synced("app", &second).await;
    let rollout = ["rollout", "status", "deployment/web", "--timeout=60s", "--namespace", &world.shop];
    world.kubectl(&rollout).await.expect(0, &["successfully rolled out"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_kubectl_made_is_taken_over_without_a_restart() {
    if !process::has_kubectl() {
        return;
    }
    let world = World::new().await;
    let manifest = deployment("web:1", 2);
    let file = world.path("web.yaml");
    std::fs::write(&file, &manifest).unwrap();
    let apply = ["apply", "--namespace", &world.shop, "-f", file.to_str().unwrap()];
    world.kubectl(&apply).await.expect(0, &["created"]);
    let before = live(&world).await;
    let agent = world.start_agent("agent-0");
    agent.until_ready().await;
    let revision = world.commit(&[("app/web.yaml", Some(&manifest))]);
    world.apply(world.automated("app", "app")).await;
    world.until_synced("app", &revision).await;
    let after = live(&world).await;
    assert_eq!(after["metadata"]["uid"], before["metadata"]["uid"]);
    assert_eq!(after["spec"], before["spec"]);
    assert_eq!(world.list("apps/v1", "ReplicaSet", &world.shop).await.len(), 1, "the Pods were replaced");
    let tracking = &after["metadata"]["annotations"]["argocd.argoproj.io/tracking-id"];
    assert!(
        tracking
            .as_str()
            .is_some_and(|id| id.starts_with(&format!("{}:apps/Deployment:", world.unique("app")))),
        "{tracking}"
    );
}
