//! Deleting an Application, with its objects or without them.

use serde_json::{Value, json};
use skiff::api::names;

use super::harness::{World, config_map, deployment};

fn with_finalizer(mut application: Value, finalizer: &str) -> Value {
    application["metadata"]["finalizers"] = json!([finalizer]);
    application
}

async fn delete_application(world: &World, name: &str) {
    world.delete("argoproj.io/v1alpha1", "Application", &world.argocd, name).await;
}

async fn until_gone(world: &World, name: &str) {
    world
        .until(&format!("Application {name} is gone"), async |w: &World| {
            w.get("argoproj.io/v1alpha1", "Application", &w.argocd, name).await.is_none().then_some(())
        })
        .await;
}

fn annotated(manifest: &str, annotation: &str) -> String {
    manifest.replacen("metadata:\n", &format!("metadata:\n  annotations: {{{annotation}}}\n"), 1)
}

fn in_wave(name: &str, wave: i64) -> String {
    annotated(&config_map(name, "1"), &format!("argocd.argoproj.io/sync-wave: \"{wave}\""))
}

fn deletions(world: &World) -> Vec<String> {
    world.written().into_iter().filter(|write| write.starts_with("DELETE")).collect()
}

#[tokio::test]
async fn without_a_finalizer_the_objects_stay() {
    let world = World::new().await;
    let commit = world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "1")))]);
    world.apply(world.automated("orders", "app")).await;
    world.until_synced("orders", &commit).await;
    delete_application(&world, "orders").await;
    until_gone(&world, "orders").await;
    // What another Application can do afterwards shows that the agent is past it.
    world.apply(world.automated("payments", "app")).await;
    world.until_synced("payments", &commit).await;
    assert_eq!(world.names("v1", "ConfigMap", &world.namespace).await, ["a"]);
    assert_eq!(deletions(&world), [""; 0]);
}

#[tokio::test]
async fn with_the_finalizer_objects_go_in_reverse_order_of_waves_and_the_application_last() {
    let world = World::new().await;
    let commit = world.repository.commit(&[
        ("app/first.yaml", Some(&in_wave("first", -1))),
        ("app/second.yaml", Some(&config_map("second", "1"))),
        ("app/third.yaml", Some(&in_wave("third", 3))),
    ]);
    world.apply(with_finalizer(world.automated("orders", "app"), names::FINALIZER_RESOURCES)).await;
    world.until_synced("orders", &commit).await;
    let guarded = json!({ "metadata": { "finalizers": ["example.com/guard"] } });
    world.patch("v1", "ConfigMap", &world.namespace, "second", guarded).await;
    delete_application(&world, "orders").await;
    world
        .until("the second object is going", async |w: &World| {
            let second = w.get("v1", "ConfigMap", &w.namespace, "second").await?;
            second["metadata"].get("deletionTimestamp").cloned()
        })
        .await;
    assert_eq!(deletions(&world), ["DELETE configmaps/third", "DELETE configmaps/second"]);
    assert!(world.read_application("orders").await.is_terminating());
    assert_eq!(world.names("v1", "ConfigMap", &world.namespace).await, ["first", "second"]);

    world
        .patch("v1", "ConfigMap", &world.namespace, "second", json!({ "metadata": { "finalizers": [] } }))
        .await;
    until_gone(&world, "orders").await;
    assert_eq!(world.names("v1", "ConfigMap", &world.namespace).await, [""; 0]);
    assert!(world.get("v1", "Namespace", "", &world.namespace).await.is_some(), "a created namespace stays");
}

/// The propagation policies of the deletions that were sent. One that shows late is sent again.
fn policies(world: &World) -> Vec<String> {
    let deletions = world.requests.writes().into_iter().filter(|sent| sent.method == "DELETE");
    let policy = |body: &[u8]| {
        serde_json::from_slice::<Value>(body).unwrap()["propagationPolicy"].as_str().map(str::to_owned)
    };
    let mut policies: Vec<String> = deletions.filter_map(|sent| policy(&sent.body)).collect();
    policies.dedup();
    policies
}

async fn deleted_with(finalizer: &str) -> World {
    let world = World::new().await;
    let commit = world.repository.commit(&[("app/web.yaml", Some(&deployment("web", "web:1.0", 2)))]);
    world.apply(with_finalizer(world.automated("orders", "app"), finalizer)).await;
    world.until_synced("orders", &commit).await;
    world
        .until("two Pods run", async |w: &World| {
            (w.names("v1", "Pod", &w.namespace).await.len() == 2).then_some(())
        })
        .await;
    delete_application(&world, "orders").await;
    until_gone(&world, "orders").await;
    assert!(world.get("apps/v1", "Deployment", &world.namespace, "web").await.is_none());
    world
        .until("the Pods are gone", async |w: &World| {
            w.names("v1", "Pod", &w.namespace).await.is_empty().then_some(())
        })
        .await;
    world
}

#[tokio::test]
async fn dependents_go_before_their_owner_or_after_it_as_the_finalizer_says() {
    let world = deleted_with(names::FINALIZER_RESOURCES_FOREGROUND).await;
    assert_eq!(policies(&world), ["Foreground"]);
    let world = deleted_with(names::FINALIZER_RESOURCES_BACKGROUND).await;
    assert_eq!(policies(&world), ["Background"]);
}

#[tokio::test]
async fn what_says_that_it_stays_stays() {
    let world = World::new().await;
    let commit = world.repository.commit(&[
        ("app/a.yaml", Some(&config_map("a", "1"))),
        (
            "app/b.yaml",
            Some(&annotated(&config_map("b", "1"), "argocd.argoproj.io/sync-options: Delete=false")),
        ),
        ("app/c.yaml", Some(&annotated(&config_map("c", "1"), "helm.sh/resource-policy: keep"))),
    ]);
    world.apply(with_finalizer(world.automated("orders", "app"), names::FINALIZER_RESOURCES)).await;
    world.until_synced("orders", &commit).await;
    delete_application(&world, "orders").await;
    until_gone(&world, "orders").await;
    assert_eq!(world.names("v1", "ConfigMap", &world.namespace).await, ["b", "c"]);
}

#[tokio::test]
async fn delete_false_of_the_application_keeps_everything() {
    let world = World::new().await;
    let commit = world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "1")))]);
    let mut application = with_finalizer(world.automated("orders", "app"), names::FINALIZER_RESOURCES);
    application["spec"]["syncPolicy"]["syncOptions"] = json!(["CreateNamespace=true", "Delete=false"]);
    world.apply(application).await;
    world.until_synced("orders", &commit).await;
    delete_application(&world, "orders").await;
    until_gone(&world, "orders").await;
    assert_eq!(world.names("v1", "ConfigMap", &world.namespace).await, ["a"]);
}

#[tokio::test]
async fn a_project_that_forbids_the_destination_holds_the_deletion_up() {
    let world = World::new().await;
    let permitted = json!({
        "sourceRepos": ["*"],
        "destinations": [{ "server": "*", "namespace": "*" }],
        "clusterResourceWhitelist": [{ "group": "*", "kind": "*" }],
    });
    world.project("team-a", permitted.clone()).await;
    let commit = world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "1")))]);
    let mut application = with_finalizer(world.automated("orders", "app"), names::FINALIZER_RESOURCES);
    application["spec"]["project"] = json!("team-a");
    world.apply(application).await;
    world.until_synced("orders", &commit).await;
    let mut forbidding = permitted.clone();
    forbidding["destinations"] = json!([{ "server": "*", "namespace": "elsewhere" }]);
    world.project("team-a", forbidding).await;
    delete_application(&world, "orders").await;
    let text = "do not match any of the allowed destinations";
    world.until_condition("orders", names::CONDITION_DELETION_ERROR, text).await;
    assert_eq!(world.names("v1", "ConfigMap", &world.namespace).await, ["a"]);
    assert_eq!(deletions(&world), [""; 0]);

    world.project("team-a", permitted).await;
    until_gone(&world, "orders").await;
    assert_eq!(world.names("v1", "ConfigMap", &world.namespace).await, [""; 0]);
}

#[tokio::test]
async fn an_application_whose_source_is_broken_can_be_deleted_with_its_objects() {
    let world = World::new().await;
    let commit = world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "1")))]);
    world.apply(with_finalizer(world.automated("orders", "app"), names::FINALIZER_RESOURCES)).await;
    world.until_synced("orders", &commit).await;
    world.change_spec("orders", json!({ "source": { "repoURL": "file:///no/such/repository" } })).await;
    world.until_condition("orders", names::CONDITION_COMPARISON_ERROR, "no/such/repository").await;
    delete_application(&world, "orders").await;
    until_gone(&world, "orders").await;
    assert_eq!(world.names("v1", "ConfigMap", &world.namespace).await, [""; 0]);
}

#[tokio::test]
async fn an_object_that_belongs_to_nobody_any_more_is_not_deleted() {
    let world = World::new().await;
    let commit = world
        .repository
        .commit(&[("app/a.yaml", Some(&config_map("a", "1"))), ("app/b.yaml", Some(&config_map("b", "1")))]);
    let mut application = with_finalizer(world.automated("orders", "app"), names::FINALIZER_RESOURCES);
    application["spec"]["syncPolicy"]["automated"] = json!({});
    world.apply(application).await;
    world.until_synced("orders", &commit).await;
    let released = json!({ "metadata": { "annotations": { "argocd.argoproj.io/tracking-id": null } } });
    world.patch("v1", "ConfigMap", &world.namespace, "b", released).await;
    delete_application(&world, "orders").await;
    until_gone(&world, "orders").await;
    assert_eq!(world.names("v1", "ConfigMap", &world.namespace).await, ["b"]);
}

#[tokio::test]
async fn an_operation_that_waits_does_not_hold_the_deletion_up() {
    use skiff::sandbox::fault::{Fault, FaultRule};
    let world = World::new().await;
    let commit = world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "1")))]);
    world.apply(with_finalizer(world.automated("orders", "app"), names::FINALIZER_RESOURCES)).await;
    world.until_synced("orders", &commit).await;
    world.faults.inject(FaultRule::on("patch", "configmaps").named("a"), Fault::InternalError);
    let operation =
        json!({ "sync": {}, "retry": { "limit": 5, "backoff": { "duration": "1h", "maxDuration": "1h" } } });
    let next = world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "2")))]);
    world
        .patch(
            "argoproj.io/v1alpha1",
            "Application",
            &world.argocd,
            "orders",
            json!({ "operation": operation }),
        )
        .await;
    world
        .until_application("orders", &format!("waits to try {next} again"), |application| {
            application.status.operation_state.as_ref().is_some_and(|state| state.is_waiting_for_retry())
        })
        .await;
    delete_application(&world, "orders").await;
    until_gone(&world, "orders").await;
    assert_eq!(world.names("v1", "ConfigMap", &world.namespace).await, [""; 0]);
}

fn hook(name: &str, image: &str, hook_type: &str) -> String {
    format!(
        "apiVersion: batch/v1
kind: Job
metadata:
  name: {name}
  annotations:
    argocd.argoproj.io/hook: {hook_type}
    argocd.argoproj.io/hook-delete-policy: HookSucceeded
spec:
  backoffLimit: 0
  template:
    spec:
      restartPolicy: Never
      containers: [{{name: main, image: \"{image}\"}}]
"
    )
}

#[tokio::test]
async fn hooks_run_before_and_after_the_objects_go() {
    let world = World::new().await;
    let commit = world.repository.commit(&[
        ("app/a.yaml", Some(&config_map("a", "1"))),
        ("app/pre.yaml", Some(&hook("pre", "hook:1", "PreDelete"))),
        ("app/post.yaml", Some(&hook("post", "hook:1", "PostDelete"))),
    ]);
    world.apply(with_finalizer(world.automated("orders", "app"), names::FINALIZER_RESOURCES)).await;
    let application = world.until_synced("orders", &commit).await;
    assert!(application.has_finalizer(names::FINALIZER_PRE_DELETE));
    assert!(application.has_finalizer(names::FINALIZER_POST_DELETE));
    assert_eq!(
        world.names("batch/v1", "Job", &world.namespace).await,
        [""; 0],
        "they do not run with a sync"
    );
    world.requests.clear();
    delete_application(&world, "orders").await;
    until_gone(&world, "orders").await;
    let written = world.written();
    let place = |text: &str| written.iter().position(|write| write == text).unwrap_or(usize::MAX);
    let (pre, object, post) =
        (place("PATCH jobs/pre"), place("DELETE configmaps/a"), place("PATCH jobs/post"));
    assert!(pre < object && object < post && post < usize::MAX, "{written:?}");
    world
        .until("the hooks are cleaned up", async |w: &World| {
            w.names("batch/v1", "Job", &w.namespace).await.is_empty().then_some(())
        })
        .await;
}

#[tokio::test]
async fn a_hook_that_fails_holds_the_deletion_up_and_is_tried_again() {
    let world = World::new().await;
    let commit = world.repository.commit(&[
        ("app/a.yaml", Some(&config_map("a", "1"))),
        ("app/pre.yaml", Some(&hook("pre", "hook:fail", "PreDelete"))),
    ]);
    world.apply(with_finalizer(world.automated("orders", "app"), names::FINALIZER_RESOURCES)).await;
    world.until_synced("orders", &commit).await;
    delete_application(&world, "orders").await;
    world.until_condition("orders", names::CONDITION_DELETION_ERROR, "PreDelete hook").await;
    assert!(world.get("v1", "ConfigMap", &world.namespace, "a").await.is_some());
}

#[tokio::test]
async fn hooks_that_leave_the_source_take_their_finalizers_with_them() {
    let world = World::new().await;
    let commit = world.repository.commit(&[
        ("app/a.yaml", Some(&config_map("a", "1"))),
        ("app/pre.yaml", Some(&hook("pre", "hook:1", "PreDelete"))),
    ]);
    world.apply(world.automated("orders", "app")).await;
    world.until_synced("orders", &commit).await;
    world.repository.commit(&[("app/pre.yaml", None)]);
    world
        .until_application("orders", "has no finalizer of hooks", |application| {
            !application.has_finalizer(names::FINALIZER_PRE_DELETE)
        })
        .await;
}

#[tokio::test]
async fn what_has_to_be_confirmed_holds_the_deletion_up_until_somebody_does() {
    let world = World::new().await;
    let asks = config_map("a", "1").replacen(
        "metadata:\n",
        "metadata:\n  annotations: {argocd.argoproj.io/sync-options: Delete=confirm}\n",
        1,
    );
    let commit =
        world.repository.commit(&[("app/a.yaml", Some(&asks)), ("app/b.yaml", Some(&config_map("b", "1")))]);
    world.apply(with_finalizer(world.automated("orders", "app"), names::FINALIZER_RESOURCES)).await;
    world.until_synced("orders", &commit).await;
    delete_application(&world, "orders").await;
    let text = "waiting for confirmation of the deletion of ConfigMap";
    world.until_condition("orders", names::CONDITION_PRUNE_GUARD_WARNING, text).await;
    assert_eq!(world.names("v1", "ConfigMap", &world.namespace).await, ["a", "b"]);
    let now = skiff::api::Time::now().to_string();
    let approved = json!({ "metadata": { "annotations": { "argocd.argoproj.io/deletion-approved": now } } });
    world.patch("argoproj.io/v1alpha1", "Application", &world.argocd, "orders", approved).await;
    until_gone(&world, "orders").await;
    assert_eq!(world.names("v1", "ConfigMap", &world.namespace).await, [""; 0]);
}
