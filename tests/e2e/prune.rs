//! What a sync deletes, and what it never deletes.

use serde_json::{Value, json};
use skiff::api::{Application, OperationPhase, ResultCode, SyncStatusCode, Time, names};

use super::{
    harness::{World, config_map, deployment},
    options::{CONFIG_MAP, in_wave, live, mend_web, until_web_is_awaited, with_options},
};

const TRACKING_ID: &str = "argocd.argoproj.io/tracking-id";
const INSTALLATION_ID: &str = "argocd.argoproj.io/installation-id";

async fn two_config_maps() -> World {
    let world = World::new().await;
    let commit = world
        .repository
        .commit(&[("app/a.yaml", Some(&config_map("a", "1"))), ("app/b.yaml", Some(&config_map("b", "1")))]);
    world.apply(world.automated("orders", "app")).await;
    world.until_synced("orders", &commit).await;
    world
}

#[tokio::test]
async fn objects_that_say_nothing_of_the_application_stay() {
    let world = two_config_maps().await;
    let id = |application: &str, name: &str| {
        json!({
            TRACKING_ID: format!("{application}:/ConfigMap:{}/{name}", world.namespace),
            INSTALLATION_ID: world.installation(),
        })
    };
    let foreign = |name: &str, annotations: serde_json::Value| {
        let metadata = json!({
            "name": name, "namespace": world.namespace, "annotations": annotations,
            "labels": { "app.kubernetes.io/instance": "orders" },
        });
        json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata })
    };
    world.apply(foreign("untracked", json!({}))).await;
    world.apply(foreign("theirs", id("payments", "theirs"))).await;
    world.apply(foreign("copied", id("orders", "a"))).await;
    let commit = world.repository.commit(&[("app/b.yaml", None)]);
    world.until_synced("orders", &commit).await;
    assert_eq!(
        world.names("v1", "ConfigMap", &world.namespace).await,
        ["a", "copied", "theirs", "untracked"]
    );
    let deleted: Vec<String> =
        world.written().into_iter().filter(|write| write.starts_with("DELETE")).collect();
    assert_eq!(deleted, ["DELETE configmaps/b"]);
}

/// Two objects that are synced by themselves, one of which is never to be pruned.
async fn with_one_to_keep(automated: Value) -> World {
    let world = World::new().await;
    let kept = with_options(&config_map("kept", "1"), "Prune=false");
    let commit = world
        .repository
        .commit(&[("app/a.yaml", Some(&config_map("a", "1"))), ("app/kept.yaml", Some(&kept))]);
    let mut application = world.automated("orders", "app");
    application["spec"]["syncPolicy"]["automated"] = automated;
    world.apply(application).await;
    world.until_synced("orders", &commit).await;
    world
}

/// Takes that one out of the source and waits until the commit was synced.
async fn remove_kept(world: &World) -> Application {
    let commit = world.repository.commit(&[("app/kept.yaml", None)]);
    world
        .until_application("orders", "has tried to prune", |application| {
            let result =
                application.status.operation_state.as_ref().and_then(|state| state.sync_result.as_ref());
            application.operation.is_none() && result.is_some_and(|result| result.revision == commit.as_str())
        })
        .await
}

#[tokio::test]
async fn an_object_that_says_prune_false_stays() {
    let world = with_one_to_keep(json!({ "prune": true })).await;
    let application = remove_kept(&world).await;
    let state = application.status.operation_state.as_ref().unwrap();
    let results = &state.sync_result.as_ref().unwrap().resources;
    let result = results.iter().find(|result| result.name == "kept").unwrap();
    assert_eq!(
        (result.status, result.message.as_str()),
        (Some(ResultCode::PruneSkipped), "ignored (no prune)")
    );
    assert_eq!(application.status.sync_code(), SyncStatusCode::OutOfSync);
    assert_eq!(world.names("v1", "ConfigMap", &world.namespace).await, ["a", "kept"]);
}

#[tokio::test]
async fn an_object_that_stays_is_no_reason_to_heal_again_and_again() {
    let world = with_one_to_keep(json!({ "prune": true, "selfHeal": true })).await;
    let ended = remove_kept(&world).await;
    world.refresh("orders").await;
    let drift = json!({ "data": { "key": "by hand" } });
    world.patch("v1", "ConfigMap", &world.namespace, "a", drift).await;
    world
        .until("the drift beside it is put back", async |w: &World| {
            let live = w.get("v1", "ConfigMap", &w.namespace, "a").await?;
            (live["data"]["key"] == "1").then_some(())
        })
        .await;
    let healed =
        world.until_application("orders", "has healed", |application| application.operation.is_none()).await;
    let resources = |application: &Application| {
        let state = application.status.operation_state.clone().unwrap();
        state.operation.sync.unwrap().resources
    };
    assert!(resources(&ended).is_empty(), "healed although nothing had drifted: {ended:?}");
    let names: Vec<String> = resources(&healed).into_iter().map(|it| it.name).collect();
    assert_eq!(names, ["a"]);
    assert_eq!(world.names("v1", "ConfigMap", &world.namespace).await, ["a", "kept"]);
}

#[tokio::test]
async fn an_object_that_moves_to_another_directory_of_the_application_is_not_pruned() {
    let world = two_config_maps().await;
    let before = world.get("v1", "ConfigMap", &world.namespace, "b").await.unwrap();
    let commit =
        world.repository.commit(&[("app/b.yaml", None), ("app/moved.yaml", Some(&config_map("b", "1")))]);
    world.until_synced("orders", &commit).await;
    let after = world.get("v1", "ConfigMap", &world.namespace, "b").await.unwrap();
    assert_eq!(before["metadata"]["uid"], after["metadata"]["uid"]);
}

#[tokio::test]
async fn an_object_of_a_kind_that_the_source_no_longer_has_is_pruned() {
    let world = World::new().await;
    let service = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {ports: [{port: 80}]}\n";
    let commit = world
        .repository
        .commit(&[("app/a.yaml", Some(&config_map("a", "1"))), ("app/service.yaml", Some(service))]);
    world.apply(world.automated("orders", "app")).await;
    world.until_synced("orders", &commit).await;
    let commit = world.repository.commit(&[("app/service.yaml", None)]);
    world.until_synced("orders", &commit).await;
    assert!(world.get("v1", "Service", &world.namespace, "web").await.is_none());
}

#[tokio::test]
async fn what_was_pruned_goes_with_its_dependents() {
    let world = World::new().await;
    let deployment = deployment("web", "web:1.0", 2);
    let commit = world
        .repository
        .commit(&[("app/a.yaml", Some(&config_map("a", "1"))), ("app/web.yaml", Some(&deployment))]);
    world.apply(world.automated("orders", "app")).await;
    world.until_synced("orders", &commit).await;
    world
        .until("two Pods run", async |w: &World| {
            (w.names("v1", "Pod", &w.namespace).await.len() == 2).then_some(())
        })
        .await;
    world.repository.commit(&[("app/web.yaml", None)]);
    world
        .until("the Pods are gone", async |w: &World| {
            w.names("v1", "Pod", &w.namespace).await.is_empty().then_some(())
        })
        .await;
    world.until_status("orders", SyncStatusCode::Synced).await;
}

#[tokio::test]
async fn objects_follow_the_application_to_another_namespace() {
    let world = two_config_maps().await;
    let store = world.unique("store");
    world.change_spec("orders", json!({ "destination": { "namespace": store } })).await;
    world
        .until("the objects have moved", async |w: &World| {
            w.get("v1", "ConfigMap", &store, "a").await?;
            w.get("v1", "ConfigMap", &store, "b").await?;
            w.names("v1", "ConfigMap", &w.namespace).await.is_empty().then_some(())
        })
        .await;
    world.until_status("orders", SyncStatusCode::Synced).await;
}

#[tokio::test]
async fn objects_may_be_tracked_by_label() {
    let world = World::new().await;
    world.settings(json!({ "application.resourceTrackingMethod": "label" })).await;
    // A label says nothing of the installation.
    let orders = &world.unique("orders");
    let commit = world
        .repository
        .commit(&[("app/a.yaml", Some(&config_map("a", "1"))), ("app/b.yaml", Some(&config_map("b", "1")))]);
    world.apply(world.automated(orders, "app")).await;
    world.until_synced(orders, &commit).await;
    world
        .until("a has the label", async |w: &World| {
            let live = w.get("v1", "ConfigMap", &w.namespace, "a").await?;
            let metadata = &live["metadata"];
            (metadata["labels"]["app.kubernetes.io/instance"] == *orders
                && metadata.get("annotations").is_none())
            .then_some(())
        })
        .await;
    let commit = world.repository.commit(&[("app/b.yaml", None)]);
    world.until_synced(orders, &commit).await;
    assert_eq!(world.names("v1", "ConfigMap", &world.namespace).await, ["a"]);
}

#[tokio::test]
async fn what_an_object_says_of_its_pruning_wins_over_the_application() {
    let world = World::manual(&[
        ("app/kept.yaml", Some(&config_map("kept", "1"))),
        ("app/goes.yaml", Some(&with_options(&config_map("goes", "1"), "Prune=true"))),
        ("app/rest.yaml", Some(&config_map("rest", "1"))),
    ])
    .await;
    world.sync_succeeds("orders").await;
    world.repository.commit(&[("app/kept.yaml", None), ("app/goes.yaml", None)]);
    world.sync("orders", json!({ "prune": true, "syncOptions": ["Prune=false"] })).await;
    world.until_operation("orders", OperationPhase::Succeeded).await;
    assert_eq!(world.names("v1", "ConfigMap", &world.namespace).await, ["kept", "rest"]);
}

#[tokio::test]
async fn what_is_pruned_last_waits_for_the_last_wave() {
    let world = World::manual(&[
        ("app/early.yaml", Some(&in_wave(&config_map("early", "1"), -3))),
        ("app/late.yaml", Some(&in_wave(&config_map("late", "1"), 3))),
        ("app/a.yaml", Some(&config_map("a", "1"))),
    ])
    .await;
    world.sync_succeeds("orders").await;
    world.repository.commit(&[
        ("app/early.yaml", None),
        ("app/late.yaml", None),
        ("app/a.yaml", Some(&config_map("a", "2"))),
        ("app/web.yaml", Some(&in_wave(&deployment("web", "web:broken", 1), 9))),
    ]);
    world.sync("orders", json!({ "prune": true, "syncOptions": ["PruneLast=true"] })).await;
    until_web_is_awaited(&world).await;
    assert_eq!(world.names("v1", "ConfigMap", &world.namespace).await, ["a", "early", "late"]);
    mend_web(&world).await;
    world.until_operation("orders", OperationPhase::Succeeded).await;
    assert_eq!(world.names("v1", "ConfigMap", &world.namespace).await, ["a"]);
}

#[tokio::test]
async fn what_is_pruned_goes_in_the_reverse_order_of_its_waves() {
    let in_wave = |name: &str, wave: i64| in_wave(&config_map(name, "1"), wave);
    let world = World::manual(&[
        ("app/first.yaml", Some(&in_wave("first", -1))),
        ("app/second.yaml", Some(&in_wave("second", 0))),
        ("app/third.yaml", Some(&in_wave("third", 5))),
        ("app/a.yaml", Some(&config_map("a", "1"))),
    ])
    .await;
    world.sync_succeeds("orders").await;
    // Whatever comes after the third waits until it is really gone.
    let held = json!({ "metadata": { "finalizers": ["example.com/held"] } });
    world.patch("v1", "ConfigMap", &world.namespace, "third", held).await;
    world.repository.commit(&[("app/first.yaml", None), ("app/second.yaml", None), ("app/third.yaml", None)]);
    world.requests.clear();
    world.sync("orders", json!({ "prune": true })).await;
    world.until_operation_says("orders", "waiting for deletion of /ConfigMap/third").await;
    assert!(live(&world, CONFIG_MAP, "second").await.is_some());
    let free = json!({ "metadata": { "finalizers": null } });
    world.patch("v1", "ConfigMap", &world.namespace, "third", free).await;
    world.until_operation("orders", OperationPhase::Succeeded).await;
    let deleted: Vec<String> =
        world.written().into_iter().filter(|write| write.starts_with("DELETE")).collect();
    assert_eq!(deleted, ["DELETE configmaps/third", "DELETE configmaps/second", "DELETE configmaps/first"]);
}

#[tokio::test]
async fn an_object_whose_option_is_mistyped_is_pruned_only_when_somebody_confirms_it() {
    let world = World::manual(&[
        ("app/a.yaml", Some(&config_map("a", "1"))),
        ("app/b.yaml", Some(&config_map("b", "1"))),
    ])
    .await;
    world.sync_succeeds("orders").await;
    // As Argo CD would have applied it.
    let mistyped =
        json!({ "metadata": { "annotations": { "argocd.argoproj.io/sync-options": "Prun=false" } } });
    world.patch("v1", "ConfigMap", &world.namespace, "b", mistyped).await;
    let commit = world.repository.commit(&[("app/b.yaml", None)]);
    world.sync("orders", json!({ "prune": true })).await;
    let guard = names::CONDITION_PRUNE_GUARD_WARNING;
    world.until_condition("orders", guard, "waiting for pruning confirmation of ConfigMap").await;
    assert!(live(&world, CONFIG_MAP, "b").await.is_some());
    let now = Time::now().to_string();
    let approved = json!({ "metadata": { "annotations": { "argocd.argoproj.io/deletion-approved": now } } });
    world.patch("argoproj.io/v1alpha1", "Application", &world.argocd, "orders", approved).await;
    world.until_synced("orders", &commit).await;
    assert_eq!(live(&world, CONFIG_MAP, "b").await, None);
}
