//! What comes of hooks: where each type stands in a sync that fails, in which order they run, and what is left of them.

use serde_json::json;
use skiff::{
    api::{Application, HookType, OperationPhase, ResultCode, SyncPhase, SyncStatusCode, names},
    files::RepoPath,
    git::writer::Change,
};

use super::{
    cli::skiff_app,
    harness::{World, config_map, deployment},
    hooks::{applied, hook, job, job_applies, job_of, row, state},
    http_server::{Behaviour, HttpServer},
    world::Upstream,
};

fn in_wave(manifest: &str, wave: i64) -> String {
    let annotation = format!("  annotations:\n    argocd.argoproj.io/sync-wave: \"{wave}\"\n");
    manifest.replacen("  annotations:\n", &annotation, 1)
}

fn failed(application: &Application, name: &str) -> bool {
    row(application, name).is_some_and(|row| row.hook_phase == Some(OperationPhase::Failed))
}

/// Waits until the operation waits for a hook.
async fn until_hook_runs(world: &World, hook: &str) {
    world.until_operation_says("orders", &format!("waiting for completion of hook batch/Job/{hook}")).await;
}

async fn until_gone(world: &World, job: &str) {
    world.until("the hook is gone", async |w: &World| job_of(w, job).await.is_none().then_some(())).await;
}

#[tokio::test]
async fn a_sync_hook_that_fails_keeps_later_waves_and_phases_from_beginning() {
    let world = World::manual(&[
        ("app/early.yaml", Some(&in_wave(&hook("early", "hook:fail", "Sync"), -1))),
        ("app/a.yaml", Some(&config_map("a", "1"))),
        ("app/post.yaml", Some(&hook("post", "hook:1", "PostSync"))),
        ("app/page.yaml", Some(&hook("page", "hook:1", "SyncFail"))),
    ])
    .await;
    world.sync("orders", json!({})).await;
    let application = world.until_operation("orders", OperationPhase::Failed).await;
    assert!(failed(&application, "early"));
    assert_eq!(applied(&world).iter().filter(|write| write.ends_with("/a")).count(), 0);
    assert_eq!(job_of(&world, "post").await, None);
    assert_eq!(row(&application, "page").unwrap().hook_type, Some(HookType::SyncFail));
    assert_eq!(application.status.history, []);
}

#[tokio::test]
async fn a_post_sync_hook_that_fails_fails_the_sync_of_what_is_applied() {
    let world = World::manual(&[
        ("app/a.yaml", Some(&config_map("a", "1"))),
        ("app/post.yaml", Some(&hook("post", "hook:fail", "PostSync"))),
        ("app/page.yaml", Some(&hook("page", "hook:1", "SyncFail"))),
    ])
    .await;
    world.sync("orders", json!({})).await;
    let application = world.until_operation("orders", OperationPhase::Failed).await;
    assert!(failed(&application, "post"));
    assert!(job_of(&world, "page").await.is_some());
    assert!(world.get("v1", "ConfigMap", &world.namespace, "a").await.is_some());
    world.until_status("orders", SyncStatusCode::Synced).await;
}

#[tokio::test]
async fn a_sync_fail_hook_that_fails_is_told_beside_what_it_was_for() {
    let world = World::manual(&[
        ("app/pre.yaml", Some(&hook("pre", "hook:fail", "PreSync"))),
        ("app/page.yaml", Some(&hook("page", "hook:fail", "SyncFail"))),
    ])
    .await;
    world.sync("orders", json!({})).await;
    let application = world.until_operation("orders", OperationPhase::Failed).await;
    let message = &state(&application).message;
    let (sync, hooks) = message.split_once('\n').unwrap_or((message, ""));
    assert!(
        sync.starts_with("one or more synchronization tasks completed unsuccessfully, reason: "),
        "{message}"
    );
    assert!(hooks.starts_with("one or more SyncFail hooks failed, reason: "), "{message}");
}

#[tokio::test]
async fn hooks_of_one_phase_run_wave_by_wave_until_one_fails() {
    let world = World::manual(&[
        ("app/a.yaml", Some(&in_wave(&hook("third", "hook:1", "PreSync"), 7))),
        ("app/b.yaml", Some(&in_wave(&hook("second", "hook:fail", "PreSync"), 0))),
        ("app/c.yaml", Some(&in_wave(&hook("first", "hook:1", "PreSync"), -7))),
    ])
    .await;
    world.sync("orders", json!({})).await;
    world.until_operation("orders", OperationPhase::Failed).await;
    assert_eq!(job_applies(&world.agent_writes()), ["first", "second"]);
    world.repository.commit(&[("app/b.yaml", Some(&in_wave(&hook("second", "hook:1", "PreSync"), 0)))]);
    world.requests.clear();
    world.sync_succeeds("orders").await;
    assert_eq!(job_applies(&world.agent_writes()), ["first", "second", "third"]);
}

#[tokio::test]
async fn a_hook_of_two_phases_runs_in_each_of_them() {
    let world = World::manual(&[
        ("app/both.yaml", Some(&hook("both", "hook:1", "PreSync,PostSync"))),
        ("app/a.yaml", Some(&config_map("a", "1"))),
    ])
    .await;
    world.sync("orders", json!({})).await;
    let application = world.until_operation("orders", OperationPhase::Succeeded).await;
    let writes = applied(&world);
    let places: Vec<usize> = (0..writes.len()).filter(|place| writes[*place] == "configmaps/a").collect();
    let (before, after) = writes.split_at(places[0]);
    for part in [before, after] {
        assert!(part.iter().any(|write| write == "jobs/both"), "{writes:?}");
    }
    assert_eq!(job_applies(&world.agent_writes()), ["both", "both"]);
    let rows = &state(&application).sync_result.as_ref().unwrap().resources;
    let phases: Vec<_> = rows.iter().filter(|row| row.name == "both").map(|row| row.hook_phase).collect();
    assert_eq!(phases, [Some(OperationPhase::Succeeded); 2]);
}

#[tokio::test]
async fn a_hook_of_two_phases_is_held_until_its_last_run_has_ended() {
    let both = "metadata:\n  annotations: {argocd.argoproj.io/hook: 'PreSync,PostSync'}\n";
    let both = config_map("both", "1").replacen("metadata:\n", both, 1);
    let world = World::new().await;
    let lua = "if obj.metadata.labels ~= nil and obj.metadata.labels.done then return { status = 'Healthy' } end\n\
               return { status = 'Progressing' }";
    world.settings(json!({ "resource.customizations.health.ConfigMap": lua })).await;
    world.repository.commit(&[("app/both.yaml", Some(&both))]);
    world.create_namespace(&world.namespace).await;
    world.apply(world.application("orders", "app")).await;
    world.until_application("orders", "was compared", |it| it.status.sync.is_some()).await;
    world.sync("orders", json!({})).await;
    let runs = async |phase: SyncPhase| {
        world
            .until_application("orders", &format!("runs its hook of {phase}"), |it| {
                let rows = it.status.operation_state.iter().filter_map(|state| state.sync_result.as_ref());
                let mut rows = rows.flat_map(|result| &result.resources);
                rows.any(|row| {
                    row.sync_phase == Some(phase)
                        && (row.status, row.hook_phase)
                            == (Some(ResultCode::Synced), Some(OperationPhase::Running))
                })
            })
            .await;
        world.get("v1", "ConfigMap", &world.namespace, "both").await.unwrap()
    };
    let done = json!({ "metadata": { "labels": { "done": "yes" } } });
    let first = runs(SyncPhase::PreSync).await;
    world.patch("v1", "ConfigMap", &world.namespace, "both", done.clone()).await;
    let second = runs(SyncPhase::PostSync).await;
    assert_ne!(second["metadata"]["uid"], first["metadata"]["uid"]);
    // The operation is looked at again while the hook runs.
    world.refresh("orders").await;
    let held = world.get("v1", "ConfigMap", &world.namespace, "both").await.unwrap();
    assert_eq!(held["metadata"]["finalizers"], json!([names::FINALIZER_HOOK]));
    world.patch("v1", "ConfigMap", &world.namespace, "both", done).await;
    world.until_operation("orders", OperationPhase::Succeeded).await;
    let free = world.get("v1", "ConfigMap", &world.namespace, "both").await.unwrap();
    assert_eq!(free["metadata"].get("finalizers"), None);
}

#[tokio::test]
async fn post_sync_hooks_wait_until_what_was_applied_is_healthy() {
    let world = World::manual(&[
        ("app/web.yaml", Some(&deployment("web", "web:broken", 1))),
        ("app/post.yaml", Some(&hook("post", "hook:1", "PostSync"))),
    ])
    .await;
    world.sync("orders", json!({})).await;
    world.until_operation_says("orders", "waiting for healthy state of apps/Deployment/web").await;
    assert_eq!(job_of(&world, "post").await, None);
    let image =
        json!([{ "op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "web:1.0" }]);
    world.patch_json("apps/v1", "Deployment", &world.namespace, "web", image).await;
    world.until_operation("orders", OperationPhase::Succeeded).await;
    assert!(job_of(&world, "post").await.is_some());
}

#[tokio::test]
async fn what_is_to_be_skipped_or_no_hook_that_is_known_is_left_alone() {
    let with = |name: &str, hook: &str| {
        let annotations = format!("metadata:\n  annotations: {{argocd.argoproj.io/hook: {hook}}}\n");
        config_map(name, "1").replacen("metadata:\n", &annotations, 1)
    };
    let world = World::manual(&[
        ("app/a.yaml", Some(&config_map("a", "1"))),
        ("app/skipped.yaml", Some(&with("skipped", "Skip"))),
        ("app/ignored.yaml", Some(&with("ignored", "Whenever"))),
    ])
    .await;
    world.sync_succeeds("orders").await;
    let application = world.until_status("orders", SyncStatusCode::Synced).await;
    assert_eq!(world.names("v1", "ConfigMap", &world.namespace).await, ["a"]);
    let shown = application.status.resources.iter().find(|row| row.name == "skipped").unwrap();
    assert_eq!(shown.status, None, "it is shown, and is nobody's drift");
}

#[tokio::test]
async fn helms_delete_policies_say_when_a_hook_goes() {
    let with = |name: &str, policy: &str| {
        let annotations = [("helm.sh/hook", "post-install"), ("helm.sh/hook-delete-policy", policy)];
        job(&format!("name: {name}"), "hook:1", &annotations)
    };
    let world = World::manual(&[
        ("app/a.yaml", Some(&with("goes", "before-hook-creation,hook-succeeded"))),
        ("app/b.yaml", Some(&with("stays", "hook-failed"))),
    ])
    .await;
    let said = skiff_app(&world, "sync orders").await;
    assert_eq!(said.exit_code, 0, "{}", said.err);
    let is_of = |line: &&str| line.split_whitespace().nth(3) == Some("goes");
    let shown = said.out.lines().find(is_of).unwrap_or_default();
    let words: Vec<&str> = shown.split_whitespace().skip(4).take(2).collect();
    assert_eq!(words, ["Succeeded", "PostSync"], "a hook is shown by how it ended: {}", said.out);
    until_gone(&world, "goes").await;
    assert!(job_of(&world, "stays").await.is_some());
}

#[tokio::test]
async fn a_sync_that_is_stopped_by_its_project_leaves_no_hook_behind() {
    let world = World::manual(&[("app/pre.yaml", Some(&hook("pre", "hook:broken", "PreSync")))]).await;
    world.sync("orders", json!({})).await;
    until_hook_runs(&world, "pre").await;
    world.change_spec("orders", json!({ "syncPolicy": { "syncOptions": ["Repalce=true"] } })).await;
    let application = world.until_operation("orders", OperationPhase::Error).await;
    assert!(state(&application).message.contains("Repalce=true"), "{}", state(&application).message);
    assert_eq!(row(&application, "pre").unwrap().message, "Terminated");
    until_gone(&world, "pre").await;
}

#[tokio::test]
async fn a_hook_that_nobody_ended_goes_with_its_application() {
    let world = World::manual(&[
        ("app/a.yaml", Some(&config_map("a", "1"))),
        ("app/pre.yaml", Some(&hook("pre", "hook:broken", "PreSync"))),
    ])
    .await;
    world.sync("orders", json!({})).await;
    until_hook_runs(&world, "pre").await;
    // Another sync takes the place of the one that runs, and runs no hooks.
    world.sync("orders", json!({ "resources": [{ "kind": "ConfigMap", "name": "a" }] })).await;
    world.until_operation("orders", OperationPhase::Succeeded).await;
    let finalizer = json!({ "metadata": { "finalizers": [names::FINALIZER_RESOURCES] } });
    world.patch("argoproj.io/v1alpha1", "Application", &world.argocd, "orders", finalizer).await;
    world.delete("argoproj.io/v1alpha1", "Application", &world.argocd, "orders").await;
    world
        .until("the Application is gone", async |w: &World| {
            let left = w.get("argoproj.io/v1alpha1", "Application", &w.argocd, "orders").await;
            left.is_none().then_some(())
        })
        .await;
    until_gone(&world, "pre").await;
    assert_eq!(world.names("v1", "ConfigMap", &world.namespace).await, [""; 0]);
}

#[tokio::test]
async fn a_git_server_that_is_away_ends_no_sync_that_waits_for_its_hook() {
    let world = World::new().await;
    let upstream = Upstream::empty();
    let server = HttpServer::start(&upstream, Behaviour::Serve).await;
    let manifests =
        [("app/pre.yaml", hook("pre", "hook:broken", "PreSync")), ("app/a.yaml", config_map("a", "1"))];
    let write =
        |(path, text): (&str, String)| Change::Write(RepoPath::parse(path).unwrap(), text.into_bytes());
    upstream.commit("main", &manifests.map(write));
    world.create_namespace(&world.namespace).await;
    let mut application = world.application("orders", "app");
    application["spec"]["source"]["repoURL"] = json!(server.url().to_string());
    world.apply(application).await;
    world.sync("orders", json!({})).await;
    until_hook_runs(&world, "pre").await;
    let uid = job_of(&world, "pre").await.unwrap()["metadata"]["uid"].clone();
    drop(server);
    world.until_metric("argocd_git_lsremote_fail_total", &[], |failed| failed > 0.0).await;
    // What the sync still has to do is known: it is looked at again, though nothing can be compared anew.
    let application = world.refresh("orders").await;
    assert_eq!(state(&application).phase, OperationPhase::Running, "{}", state(&application).message);
    assert_eq!(row(&application, "pre").unwrap().hook_phase, Some(OperationPhase::Running));
    assert_eq!(job_of(&world, "pre").await.unwrap()["metadata"]["uid"], uid);
}
