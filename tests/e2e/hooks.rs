//! Hooks: what runs before, with and after a sync, how often, and what becomes of it.

use serde_json::{Value, json};
use skiff::api::{Application, HookType, OperationPhase, OperationState, ResourceResult, SyncStatusCode};

use super::{
    harness::{Setup, World, config_map},
    recorder::{Recorder, Sent},
};

const WAITS: &str = "waiting for completion of hook";

/// A Job that ends well, fails (`hook:fail`) or never ends (`hook:broken`), as its image says.
pub fn job(name: &str, image: &str, annotations: &[(&str, &str)]) -> String {
    let annotations: String =
        annotations.iter().map(|(key, value)| format!("    {key}: \"{value}\"\n")).collect();
    format!(
        "apiVersion: batch/v1
kind: Job
metadata:
  {name}
  annotations:
{annotations}spec:
  backoffLimit: 0
  template:
    spec:
      restartPolicy: Never
      containers:
      - {{name: main, image: \"{image}\"}}
"
    )
}

pub fn hook(name: &str, image: &str, types: &str) -> String {
    job(&format!("name: {name}"), image, &[("argocd.argoproj.io/hook", types)])
}

pub fn state(application: &Application) -> &OperationState {
    application.status.operation_state.as_ref().unwrap()
}

pub fn row<'a>(application: &'a Application, name: &str) -> Option<&'a ResourceResult> {
    application
        .status
        .operation_state
        .as_ref()?
        .sync_result
        .as_ref()?
        .resources
        .iter()
        .find(|row| row.name == name)
}

pub async fn job_of(world: &World, name: &str) -> Option<Value> {
    world.get("batch/v1", "Job", &world.namespace, name).await
}

/// What the agent has changed, in order.
pub fn applied(world: &World) -> Vec<String> {
    world.written().iter().filter_map(|write| write.strip_prefix("PATCH ")).map(str::to_owned).collect()
}

/// The Jobs that were applied, in order. Taking a finalizer off is no apply.
pub fn job_applies(sent: &[Sent]) -> Vec<String> {
    let name = |sent: &Sent| {
        let path = sent.uri.split('?').next()?;
        let is_apply = sent.method == "PATCH" && sent.uri.contains("fieldManager=");
        path.rsplit_once("/jobs/").filter(|_| is_apply).map(|(_, name)| name.to_owned())
    };
    sent.iter().filter_map(name).collect()
}

fn runs(world: &World, name: &str) -> usize {
    job_applies(&world.agent_writes()).iter().filter(|job| *job == name).count()
}

#[tokio::test]
async fn hooks_run_before_with_and_after_the_manifests() {
    let world = World::manual(&[
        ("app/a.yaml", Some(&config_map("a", "1"))),
        ("app/post.yaml", Some(&hook("post", "hook:1", "PostSync"))),
        ("app/pre.yaml", Some(&hook("pre", "hook:1", "PreSync"))),
        ("app/fail.yaml", Some(&hook("never", "hook:1", "SyncFail"))),
    ])
    .await;
    world.sync("orders", json!({})).await;
    let application = world.until_operation("orders", OperationPhase::Succeeded).await;
    let order = applied(&world);
    let place = |name: &str| order.iter().position(|write| write.ends_with(name)).unwrap();
    assert!(
        place("jobs/pre") < place("configmaps/a") && place("configmaps/a") < place("jobs/post"),
        "{order:?}"
    );
    assert_eq!(job_of(&world, "never").await, None);
    let pre = row(&application, "pre").unwrap();
    assert_eq!((pre.hook_type, pre.hook_phase), (Some(HookType::PreSync), Some(OperationPhase::Succeeded)));
    assert_eq!(row(&application, "never"), None);
    assert_eq!(state(&application).message, "successfully synced (no more tasks)");
    let pre = job_of(&world, "pre").await.unwrap();
    assert_eq!(pre["metadata"]["finalizers"].as_array().map(Vec::len), None, "nothing keeps it from going");
    let hooks = application.status.resources.iter().filter(|row| row.hook);
    assert!(hooks.clone().all(|row| row.status.is_none()) && hooks.count() >= 2);
    assert_eq!(application.status.sync_code(), SyncStatusCode::Synced);
}

#[tokio::test]
async fn a_hook_that_fails_stops_the_sync_and_starts_what_is_for_that() {
    let world = World::manual(&[
        ("app/a.yaml", Some(&config_map("a", "1"))),
        ("app/pre.yaml", Some(&hook("pre", "hook:fail", "PreSync"))),
        ("app/page.yaml", Some(&hook("page", "hook:1", "SyncFail"))),
    ])
    .await;
    world.sync("orders", json!({})).await;
    let application = world.until_operation("orders", OperationPhase::Failed).await;
    assert_eq!(world.get("v1", "ConfigMap", &world.namespace, "a").await, None);
    let message = &state(&application).message;
    assert!(
        message.starts_with("one or more synchronization tasks completed unsuccessfully, reason: "),
        "{message}"
    );
    assert_eq!(row(&application, "page").unwrap().hook_phase, Some(OperationPhase::Succeeded));
    assert!(job_of(&world, "page").await.is_some());
}

#[tokio::test]
async fn each_operation_runs_a_hook_once_and_anew() {
    let world = World::manual(&[("app/pre.yaml", Some(&hook("pre", "hook:1", "PreSync")))]).await;
    world.sync_succeeds("orders").await;
    let first = job_of(&world, "pre").await.unwrap();
    world.sync("orders", json!({})).await;
    world
        .until("the hook ran again", async |w: &World| {
            let second = job_of(w, "pre").await?;
            (second["metadata"]["uid"] != first["metadata"]["uid"]).then_some(())
        })
        .await;
    world.until_operation("orders", OperationPhase::Succeeded).await;
    assert_eq!(runs(&world, "pre"), 2);
}

#[tokio::test]
async fn delete_policies_say_when_a_hook_goes() {
    let with = |name: &str, image: &str, policy: &str| {
        let annotations =
            [("argocd.argoproj.io/hook", "Sync"), ("argocd.argoproj.io/hook-delete-policy", policy)];
        job(&format!("name: {name}"), image, &annotations)
    };
    let world = World::manual(&[
        ("app/s.yaml", Some(&with("on-success", "hook:1", "HookSucceeded"))),
        ("app/f.yaml", Some(&with("on-failure", "hook:1", "HookFailed"))),
    ])
    .await;
    world.sync_succeeds("orders").await;
    world
        .until("the hook is gone", async |w: &World| job_of(w, "on-success").await.is_none().then_some(()))
        .await;
    assert!(job_of(&world, "on-failure").await.is_some());
    world.repository.commit(&[("app/bad.yaml", Some(&with("bad", "hook:fail", "HookFailed")))]);
    world.sync("orders", json!({})).await;
    world.until_operation("orders", OperationPhase::Failed).await;
    for name in ["bad", "on-failure"] {
        world
            .until("the hook is gone", async |w: &World| job_of(w, name).await.is_none().then_some(()))
            .await;
    }
    assert!(job_of(&world, "on-success").await.is_some(), "the sync did not succeed");
}

#[tokio::test]
async fn a_hook_with_a_generated_name_is_a_new_object_each_time() {
    let annotations = [("argocd.argoproj.io/hook", "PreSync")];
    let world =
        World::manual(&[("app/pre.yaml", Some(&job("generateName: pre-", "hook:1", &annotations)))]).await;
    world.sync("orders", json!({})).await;
    let application = world.until_operation("orders", OperationPhase::Succeeded).await;
    let result = state(&application).sync_result.as_ref().unwrap();
    let started = state(&application).started_at.timestamp().as_second();
    let name = format!("pre-{}-presync-{started}", result.revision.get(..7).unwrap());
    assert_eq!(result.resources[0].name, name);
    assert!(job_of(&world, &name).await.is_some());
    assert_eq!(application.status.sync_code(), SyncStatusCode::Synced, "a finished hook is no drift");
}

#[tokio::test]
async fn helms_annotations_mean_what_they_mean_to_argo_cd() {
    let helm = |name: &str, hook: &str, weight: &str| {
        job(&format!("name: {name}"), "hook:1", &[("helm.sh/hook", hook), ("helm.sh/hook-weight", weight)])
    };
    let world = World::manual(&[
        ("app/b.yaml", Some(&helm("second", "pre-install,pre-upgrade", "5"))),
        ("app/a.yaml", Some(&helm("first", "pre-install", "-5"))),
        ("app/t.yaml", Some(&helm("test", "test", "0"))),
        ("app/p.yaml", Some(&helm("post", "post-upgrade", "0"))),
    ])
    .await;
    world.sync_succeeds("orders").await;
    let applies = job_applies(&world.agent_writes());
    assert_eq!(applies, ["first", "second", "post"]);
}

#[tokio::test]
async fn a_hook_that_never_ends_is_ended_by_the_time_limit() {
    let world = World::manual(&[("app/pre.yaml", Some(&hook("pre", "hook:broken", "PreSync")))]).await;
    world.parameters(json!({ "controller.sync.timeout.seconds": "1" })).await;
    world.sync("orders", json!({})).await;
    let application = world.until_operation("orders", OperationPhase::Failed).await;
    assert_eq!(state(&application).message, "Operation terminated: it took longer than 1 s");
    assert_eq!(row(&application, "pre").unwrap().message, "Terminated");
    world.until("the hook is gone", async |w: &World| job_of(w, "pre").await.is_none().then_some(())).await;
}

#[tokio::test]
async fn whoever_terminates_a_sync_ends_its_hooks() {
    let world = World::manual(&[("app/pre.yaml", Some(&hook("pre", "hook:broken", "PreSync")))]).await;
    world.sync("orders", json!({})).await;
    world.until_operation_says("orders", WAITS).await;
    let patch = json!({ "status": { "operationState": { "phase": "Terminating" } } });
    world.patch("argoproj.io/v1alpha1", "Application", &world.argocd, "orders", patch).await;
    let application = world.until_operation("orders", OperationPhase::Failed).await;
    assert_eq!(state(&application).message, "Operation terminated");
    world.until("the hook is gone", async |w: &World| job_of(w, "pre").await.is_none().then_some(())).await;
}

#[tokio::test]
async fn a_hook_that_somebody_removes_fails_the_sync() {
    let world = World::manual(&[
        ("app/pre.yaml", Some(&hook("pre", "hook:broken", "PreSync"))),
        ("app/a.yaml", Some(&config_map("a", "1"))),
    ])
    .await;
    world.sync("orders", json!({})).await;
    world
        .until("the hook runs", async |w: &World| {
            let application = w.read_application("orders").await;
            let runs = row(&application, "pre")?.hook_phase == Some(OperationPhase::Running);
            (runs && job_of(w, "pre").await.is_some()).then_some(())
        })
        .await;
    let finalizers = json!({ "metadata": { "finalizers": null } });
    world.patch("batch/v1", "Job", &world.namespace, "pre", finalizers).await;
    world.delete("batch/v1", "Job", &world.namespace, "pre").await;
    let application = world.until_operation("orders", OperationPhase::Failed).await;
    let message = &state(&application).message;
    assert!(message.contains("Resource batch/Job/pre is missing, it might have been deleted"), "{message}");
    assert_eq!(world.get("v1", "ConfigMap", &world.namespace, "a").await, None);
}

#[tokio::test]
async fn cut_off_after_any_write_a_sync_goes_on_and_runs_no_hook_twice() {
    let mut instants = 0;
    // Every third instant, so that the test ends in a minute: the agent behaves the same at the others.
    for writes in (0..).step_by(3) {
        let mut world = Setup::new().without_agent().build().await;
        world.repository.commit(&[
            ("app/pre.yaml", Some(&hook("pre", "hook:1", "PreSync"))),
            ("app/a.yaml", Some(&config_map("a", "1"))),
            ("app/post.yaml", Some(&hook("post", "hook:1", "PostSync"))),
        ]);
        world.create_namespace(&world.namespace).await;
        world.apply(world.application("orders", "app")).await;
        world.start_agent().await;
        world.until_status("orders", SyncStatusCode::OutOfSync).await;
        world.sync("orders", json!({})).await;
        world.until_operation("orders", OperationPhase::Succeeded).await;
        let before = [job_of(&world, "pre").await.unwrap(), job_of(&world, "post").await.unwrap()];
        world.requests.clear();
        world.requests.cut_after(writes);
        world.sync("orders", json!({})).await;
        let was_cut = world
            .until("the agent is cut off or done", async |w: &World| {
                let application = w.read_application("orders").await;
                let state = application.status.operation_state.as_ref();
                let done = application.operation.is_none() && state.is_some_and(|it| it.phase.is_completed());
                if w.requests.is_cut() { Some(true) } else { done.then_some(false) }
            })
            .await;
        let mut sent = world.agent_writes();
        world.kill_agent().await;
        world.requests = Recorder::new(&world.faults);
        world.start_agent().await;
        let application = world.until_operation("orders", OperationPhase::Succeeded).await;
        sent.extend(world.agent_writes());
        assert_eq!(job_applies(&sent), ["pre", "post"], "after {writes} writes");
        for (name, before) in ["pre", "post"].iter().zip(&before) {
            let after = job_of(&world, name).await.unwrap();
            assert_ne!(after["metadata"]["uid"], before["metadata"]["uid"], "{name} ran for this operation");
            assert_eq!(row(&application, name).unwrap().hook_phase, Some(OperationPhase::Succeeded));
        }
        if !was_cut {
            break;
        }
        instants += 1;
    }
    assert!(instants >= 4, "a sync with two hooks has more writes than three times {instants}");
}

#[tokio::test]
async fn another_replica_that_takes_the_lead_goes_on_with_the_hook_that_was_begun() {
    let mut world = World::manual(&[
        ("app/pre.yaml", Some(&hook("pre", "hook:broken", "PreSync"))),
        ("app/a.yaml", Some(&config_map("a", "1"))),
    ])
    .await;
    world.sync("orders", json!({})).await;
    world.until_operation_says("orders", WAITS).await;
    let job = job_of(&world, "pre").await.unwrap();
    world.stop_agent().await;
    world.start_agent_with(world.agent_options("agent-1")).await;
    let touched = json!({ "metadata": { "annotations": { "seen": "true" } } });
    world.patch("batch/v1", "Job", &world.namespace, "pre", touched).await;
    world.until_operation_says("orders", WAITS).await;
    assert_eq!(job_of(&world, "pre").await.unwrap()["metadata"]["uid"], job["metadata"]["uid"]);
    assert_eq!(runs(&world, "pre"), 1, "it was not applied again");
    assert_eq!(world.get("v1", "ConfigMap", &world.namespace, "a").await, None);
}

#[tokio::test]
async fn a_selective_sync_and_one_with_strategy_apply_run_no_hooks() {
    let world = World::manual(&[
        ("app/a.yaml", Some(&config_map("a", "1"))),
        ("app/pre.yaml", Some(&hook("pre", "hook:1", "PreSync"))),
    ])
    .await;
    world.sync("orders", json!({ "resources": [{ "kind": "ConfigMap", "name": "a" }] })).await;
    world.until_operation("orders", OperationPhase::Succeeded).await;
    world.sync("orders", json!({ "syncStrategy": { "apply": {} } })).await;
    world.until_operation("orders", OperationPhase::Succeeded).await;
    assert_eq!(job_of(&world, "pre").await, None);
}

#[tokio::test]
async fn a_hook_does_not_take_the_place_of_somebody_elses_object() {
    let world = World::manual(&[("app/pre.yaml", Some(&hook("pre", "hook:1", "PreSync")))]).await;
    let theirs = json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": { "name": "pre", "namespace": world.namespace },
        "spec": { "suspend": true, "template": { "spec": { "restartPolicy": "Never",
            "containers": [{ "name": "main", "image": "theirs:1" }] } } },
    });
    let theirs = world.apply(theirs).await;
    world.sync("orders", json!({})).await;
    let application = world.until_operation("orders", OperationPhase::Failed).await;
    let message = &state(&application).message;
    assert!(message.contains("cannot take the place of the object that is there"), "{message}");
    assert_eq!(job_of(&world, "pre").await.unwrap()["metadata"]["uid"], theirs["metadata"]["uid"]);
}
