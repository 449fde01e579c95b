//! The prune guard: a sync that would delete much waits until somebody approves it, or until the source is mended.

use serde_json::{Value, json};
use skiff::api::{Application, OperationPhase, Time, names};

use super::harness::{World, config_map, is_synced};

const GUARD: &str = names::CONDITION_PRUNE_GUARD_WARNING;

/// A world with an Application of eight objects that syncs by itself.
async fn world() -> World {
    let world = World::new().await;
    let manifests: Vec<(String, String)> =
        (0..8).map(|n| (format!("app/{n}.yaml"), config_map(&format!("c{n}"), "1"))).collect();
    let all: Vec<(&str, Option<&str>)> =
        manifests.iter().map(|(path, text)| (path.as_str(), Some(text.as_str()))).collect();
    let commit = world.repository.commit(&all);
    world.apply(world.automated("orders", "app")).await;
    world.until_synced("orders", &commit).await;
    world
}

fn removed(count: usize) -> Vec<(String, Option<String>)> {
    (0..count).map(|n| (format!("app/{n}.yaml"), None)).collect()
}

fn commit(world: &World, changes: &[(String, Option<String>)]) -> skiff::git::CommitId {
    let changes: Vec<(&str, Option<&str>)> =
        changes.iter().map(|(path, text)| (path.as_str(), text.as_deref())).collect();
    world.repository.commit(&changes)
}

async fn approve(world: &World) {
    let now = Time::now().to_string();
    let approved = json!({ "metadata": { "annotations": { "argocd.argoproj.io/deletion-approved": now } } });
    world.patch("argoproj.io/v1alpha1", "Application", &world.argocd, "orders", approved).await;
}

async fn left(world: &World) -> usize {
    world.names("v1", "ConfigMap", &world.namespace).await.len()
}

#[tokio::test]
async fn a_sync_that_would_delete_more_than_half_waits_and_says_what_and_how_to_confirm() {
    let world = world().await;
    let commit = commit(&world, &removed(6));
    let condition = world.until_condition("orders", GUARD, "it would delete 6 of 8 objects").await;
    assert!(condition.message.contains("ConfigMap:"), "{}", condition.message);
    assert!(condition.message.contains("skiff app sync orders --confirm-prune"), "{}", condition.message);
    assert_eq!(left(&world).await, 8);
    approve(&world).await;
    let application = world.until_synced("orders", &commit).await;
    assert_eq!(application.status.conditions, []);
    assert_eq!(left(&world).await, 2);
}

#[tokio::test]
async fn a_commit_that_mends_the_source_takes_the_place_of_a_sync_that_waits() {
    let world = world().await;
    let broken = commit(&world, &removed(6));
    world.until_condition("orders", GUARD, "6 of 8").await;
    let mended = world.repository.revert(&broken);
    let application = world.until_application("orders", "is synced to the mended commit", |it| {
        it.status.sync.as_ref().is_some_and(|sync| sync.revision == mended.as_str())
            && it.status.sync_code() == skiff::api::SyncStatusCode::Synced
            && it.operation.is_none()
    });
    let application = application.await;
    assert!(application.status.conditions.iter().all(|it| it.condition_type != GUARD));
    assert_eq!(left(&world).await, 8);
}

#[tokio::test]
async fn few_deletions_and_a_threshold_that_permits_them_need_no_approval() {
    let few = world().await;
    let four = commit(&few, &removed(4));
    few.until_synced("orders", &four).await;
    assert_eq!(left(&few).await, 4);

    let many = world().await;
    many.settings(json!({ "application.sync.pruneGuard.percent": "90" })).await;
    let six = commit(&many, &removed(6));
    many.until_synced("orders", &six).await;
    assert_eq!(left(&many).await, 2);
}

#[tokio::test]
async fn a_volume_claim_that_is_bound_needs_approval_by_itself() {
    let world = World::new().await;
    let claim = "apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
";
    let commit = world
        .repository
        .commit(&[("app/a.yaml", Some(&config_map("a", "1"))), ("app/claim.yaml", Some(claim))]);
    world.apply(world.automated("orders", "app")).await;
    world.until_synced("orders", &commit).await;
    world
        .until("the claim is bound", async |w: &World| {
            let claim = w.get("v1", "PersistentVolumeClaim", &w.namespace, "data").await?;
            (claim["status"]["phase"] == "Bound").then_some(())
        })
        .await;
    let commit = world.repository.commit(&[("app/claim.yaml", None)]);
    let text = "it would delete what still holds data (PersistentVolumeClaim:";
    world.until_condition("orders", GUARD, text).await;
    approve(&world).await;
    world.until_application("orders", "has begun to prune", |it| is_synced(it, &commit) || went(it)).await;
    world
        .until("the claim goes", async |w: &World| {
            match w.get("v1", "PersistentVolumeClaim", &w.namespace, "data").await {
                None => Some(()),
                Some(claim) => claim["metadata"]["deletionTimestamp"].is_string().then_some(()),
            }
        })
        .await;
}

fn went(application: &Application) -> bool {
    let state = application.status.operation_state.as_ref();
    state.is_some_and(|state| state.phase == OperationPhase::Succeeded)
}

#[tokio::test]
async fn a_namespace_that_somebody_else_uses_needs_approval() {
    let world = World::new().await;
    let name = world.unique("stock");
    let namespace = format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n");
    let commit = world
        .repository
        .commit(&[("app/a.yaml", Some(&config_map("a", "1"))), ("app/namespace.yaml", Some(&namespace))]);
    world.apply(world.automated("orders", "app")).await;
    world.until_synced("orders", &commit).await;
    let theirs: Value = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "theirs", "namespace": name },
    });
    world.apply(theirs).await;
    world.repository.commit(&[("app/namespace.yaml", None)]);
    world
        .until_condition(
            "orders",
            GUARD,
            &format!("it would delete what still holds data (Namespace:/{name})"),
        )
        .await;
    assert!(world.get("v1", "Namespace", "", &name).await.is_some());
}

#[tokio::test]
async fn what_has_to_be_confirmed_waits_for_its_group() {
    let world = World::new().await;
    let asks = config_map("a", "1").replacen(
        "metadata:\n",
        "metadata:\n  annotations: {argocd.argoproj.io/sync-options: Prune=confirm}\n",
        1,
    );
    let commit =
        world.repository.commit(&[("app/a.yaml", Some(&asks)), ("app/b.yaml", Some(&config_map("b", "1")))]);
    world.apply(world.automated("orders", "app")).await;
    world.until_synced("orders", &commit).await;
    let commit =
        world.repository.commit(&[("app/a.yaml", None), ("app/b.yaml", Some(&config_map("b", "2")))]);
    world.until_condition("orders", GUARD, "waiting for pruning confirmation of ConfigMap").await;
    let b = world.get("v1", "ConfigMap", &world.namespace, "b").await.unwrap();
    assert_eq!(b["data"]["key"], "1", "nothing of the group is done");
    approve(&world).await;
    world.until_synced("orders", &commit).await;
    assert_eq!(world.names("v1", "ConfigMap", &world.namespace).await, ["b"]);
}

#[tokio::test]
async fn a_definition_whose_objects_are_somebody_elses_needs_approval_and_stays_without_it() {
    let world = World::new().await;
    let group = world.unique_group();
    let tracking =
        format!("orders:apiextensions.k8s.io/CustomResourceDefinition:{}/widgets.{group}", world.namespace);
    // Definitions are not tracked by Skiff; those that older versions of Argo CD have tracked still are.
    let definition = format!(
        "apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: widgets.{group}
  annotations:
    argocd.argoproj.io/tracking-id: {tracking}
    argocd.argoproj.io/installation-id: {}
spec:
  group: {group}
  scope: Namespaced
  names: {{plural: widgets, kind: Widget}}
  versions:
  - name: v1
    served: true
    storage: true
    schema: {{openAPIV3Schema: {{type: object, x-kubernetes-preserve-unknown-fields: true}}}}
",
        world.installation()
    );
    let commit = world
        .repository
        .commit(&[("app/a.yaml", Some(&config_map("a", "1"))), ("app/definition.yaml", Some(&definition))]);
    world.apply(world.automated("orders", "app")).await;
    world.until_synced("orders", &commit).await;
    let metadata = json!({ "name": "theirs", "namespace": world.namespace });
    world.apply(json!({ "apiVersion": format!("{group}/v1"), "kind": "Widget", "metadata": metadata })).await;
    let commit = world.repository.commit(&[("app/definition.yaml", None)]);
    let text = format!(
        "it would delete what still holds data (apiextensions.k8s.io/CustomResourceDefinition:/widgets.{group})"
    );
    world.until_condition("orders", GUARD, &text).await;
    // While it waits it is looked at again, and asks the API server nothing that it has been told already.
    let rehearsed =
        |world: &World| world.requests.sent().iter().filter(|sent| sent.uri.contains("dryRun=")).count();
    let before = rehearsed(&world);
    world.refresh("orders").await;
    assert_eq!(rehearsed(&world), before);
    assert!(world.get(&format!("{group}/v1"), "Widget", &world.namespace, "theirs").await.is_some());
    approve(&world).await;
    world.until_synced("orders", &commit).await;
}
