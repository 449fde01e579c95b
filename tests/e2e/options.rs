//! Sync options of Applications and of single objects: what each of them does to the cluster.

use serde_json::{Value, json};
use skiff::api::{Application, OperationPhase, SyncStatusCode};

use super::harness::{World, config_map, deployment};

fn with_options(manifest: &str, options: &str) -> String {
    let annotation =
        format!("metadata:\n  annotations: {{argocd.argoproj.io/sync-options: \"{options}\"}}\n");
    manifest.replacen("metadata:\n", &annotation, 1)
}

fn message(application: &Application) -> &str {
    &application.status.operation_state.as_ref().unwrap().message
}

/// An Application that is synced by hand, in a namespace that exists.
async fn world_with(manifests: &[(&str, Option<&str>)]) -> World {
    let world = World::new().await;
    world.repository.commit(manifests);
    world.create_namespace(&world.namespace).await;
    world.apply(world.application("orders", "app")).await;
    world.until_status("orders", SyncStatusCode::OutOfSync).await;
    world
}

async fn live(world: &World, kind: (&str, &str), name: &str) -> Option<Value> {
    world.get(kind.0, kind.1, &world.namespace, name).await
}

/// Waits until the sync waits for the Deployment, whose image cannot be pulled.
async fn until_web_is_awaited(world: &World) {
    let waits = |it: &Application| {
        let state = it.status.operation_state.as_ref();
        state.is_some_and(|state| state.message == "waiting for healthy state of apps/Deployment/web")
    };
    world.until_application("orders", "waits for the Deployment", waits).await;
}

/// Gives the Deployment an image that runs.
async fn mend_web(world: &World) {
    let image = json!({ "spec": { "template": { "spec": { "containers": [
        { "name": "main", "image": "web:1.0", "resources": { "limits": { "cpu": "1", "memory": "64Mi" } } },
    ] } } } });
    world.patch("apps/v1", "Deployment", &world.namespace, "web", image).await;
}

const CONFIG_MAP: (&str, &str) = ("v1", "ConfigMap");
const DEPLOYMENT: (&str, &str) = ("apps/v1", "Deployment");

#[tokio::test]
async fn replace_takes_away_what_the_source_does_not_have() {
    let world =
        world_with(&[("app/a.yaml", Some(&with_options(&config_map("a", "1"), "Replace=true")))]).await;
    world.sync("orders", json!({})).await;
    world.until_operation("orders", OperationPhase::Succeeded).await;
    world.patch("v1", "ConfigMap", &world.namespace, "a", json!({ "data": { "theirs": "2" } })).await;
    let before = live(&world, CONFIG_MAP, "a").await.unwrap();
    world.sync("orders", json!({})).await;
    world.until_operation("orders", OperationPhase::Succeeded).await;
    let after = live(&world, CONFIG_MAP, "a").await.unwrap();
    assert_eq!(after["data"], json!({ "key": "1" }));
    assert_eq!(after["metadata"]["uid"], before["metadata"]["uid"]);
}

#[tokio::test]
async fn force_deletes_and_creates_what_cannot_be_changed() {
    let world = world_with(&[("app/web.yaml", Some(&deployment("web", "web:1.0", 1)))]).await;
    world.sync("orders", json!({})).await;
    world.until_operation("orders", OperationPhase::Succeeded).await;
    let before = live(&world, DEPLOYMENT, "web").await.unwrap();
    // The selector of a Deployment is immutable.
    let other = deployment("web", "web:2.0", 1).replace("{app: web}", "{app: other}");
    world.repository.commit(&[("app/web.yaml", Some(&other))]);
    world.sync("orders", json!({})).await;
    let application = world.until_operation("orders", OperationPhase::Failed).await;
    assert!(message(&application).contains("immutable"), "{}", message(&application));
    assert_eq!(live(&world, DEPLOYMENT, "web").await.unwrap()["metadata"]["uid"], before["metadata"]["uid"]);

    world.repository.commit(&[("app/web.yaml", Some(&with_options(&other, "Force=true")))]);
    world.sync("orders", json!({})).await;
    world.until_operation("orders", OperationPhase::Succeeded).await;
    let after = live(&world, DEPLOYMENT, "web").await.unwrap();
    assert_ne!(after["metadata"]["uid"], before["metadata"]["uid"]);
    assert_eq!(after["spec"]["selector"]["matchLabels"]["app"], "other");
}

#[tokio::test]
async fn ignored_fields_are_left_as_they_are_where_that_is_asked_for() {
    let world = World::new().await;
    let commit = world.repository.commit(&[("app/web.yaml", Some(&deployment("web", "web:1.0", 1)))]);
    let mut application = world.automated("orders", "app");
    application["spec"]["ignoreDifferences"] =
        json!([{ "group": "apps", "kind": "Deployment", "jsonPointers": ["/spec/replicas"] }]);
    application["spec"]["syncPolicy"]["syncOptions"] =
        json!(["CreateNamespace=true", "RespectIgnoreDifferences=true"]);
    world.apply(application).await;
    world.until_synced("orders", &commit).await;
    world.patch("apps/v1", "Deployment", &world.namespace, "web", json!({ "spec": { "replicas": 3 } })).await;
    let commit = world.repository.commit(&[("app/web.yaml", Some(&deployment("web", "web:2.0", 1)))]);
    world.until_synced("orders", &commit).await;
    let web = live(&world, DEPLOYMENT, "web").await.unwrap();
    assert_eq!(web["spec"]["replicas"], 3);
    assert_eq!(web["spec"]["template"]["spec"]["containers"][0]["image"], "web:2.0");
}

#[tokio::test]
async fn a_shared_object_fails_the_sync_where_that_is_asked_for() {
    let world = world_with(&[("app/a.yaml", Some(&config_map("a", "1")))]).await;
    world.sync("orders", json!({})).await;
    world.until_operation("orders", OperationPhase::Succeeded).await;
    world.apply(world.application("second", "app")).await;
    world.until_application("second", "was compared", |it| it.status.sync.is_some()).await;
    world.sync("second", json!({ "syncOptions": ["FailOnSharedResource=true"] })).await;
    let application = world.until_operation("second", OperationPhase::Failed).await;
    assert!(
        message(&application).starts_with("Shared resource found: ConfigMap/a"),
        "{}",
        message(&application)
    );
}

#[tokio::test]
async fn the_namespace_that_is_created_has_its_labels_and_annotations() {
    let world = World::new().await;
    let commit = world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "1")))]);
    let mut application = world.automated("orders", "app");
    application["spec"]["syncPolicy"]["managedNamespaceMetadata"] =
        json!({ "labels": { "team": "shop" }, "annotations": { "owner": "orders" } });
    world.apply(application).await;
    let synced = world.until_synced("orders", &commit).await;
    let metadata = |namespace: &Value| {
        (
            namespace["metadata"]["labels"]["team"].clone(),
            namespace["metadata"]["annotations"]["owner"].clone(),
        )
    };
    let namespace = world.get("v1", "Namespace", "", &world.namespace).await.unwrap();
    assert_eq!(metadata(&namespace), (json!("shop"), json!("orders")));
    let result = synced.status.operation_state.unwrap().sync_result.unwrap();
    assert_eq!(result.managed_namespace_metadata.unwrap().labels["team"], "shop");
    let changed = json!({ "syncPolicy": { "managedNamespaceMetadata": { "labels": { "team": "stock" } } } });
    world.change_spec("orders", changed).await;
    world
        .until("the label follows", async |w: &World| {
            let namespace = w.get("v1", "Namespace", "", &w.namespace).await?;
            (namespace["metadata"]["labels"]["team"] == "stock").then_some(())
        })
        .await;
}

#[tokio::test]
async fn an_object_of_a_kind_that_comes_later_may_be_declared_before() {
    let world = World::new().await;
    let group = world.unique_group();
    let widget =
        format!("apiVersion: {group}/v1\nkind: Widget\nmetadata:\n  name: gear\nspec: {{size: 3}}\n");
    world.repository.commit(&[
        ("app/a.yaml", Some(&config_map("a", "1"))),
        ("app/gear.yaml", Some(&with_options(&widget, "SkipDryRunOnMissingResource=true"))),
    ]);
    world.apply(world.automated("orders", "app")).await;
    let application = world.until_application("orders", "has tried", |it| {
        it.status
            .operation_state
            .as_ref()
            .is_some_and(|state| state.sync_result.as_ref().is_some_and(|result| result.resources.len() >= 2))
    });
    application.await;
    assert!(live(&world, CONFIG_MAP, "a").await.is_some(), "what can be applied is");
}

#[tokio::test]
async fn fields_that_nobody_knows_are_dropped_where_that_is_asked_for() {
    let unknown = |image: &str| {
        deployment("web", image, 1).replacen("spec:\n", "spec:\n  bogus: {a: 1}\n", 1).replacen(
            "      - name: main\n",
            "      - name: main\n        imagee: x\n",
            1,
        )
    };
    let world = world_with(&[("app/web.yaml", Some(&unknown("web:1.0")))]).await;
    world.sync("orders", json!({})).await;
    let application = world.until_operation("orders", OperationPhase::Failed).await;
    assert!(message(&application).contains("bogus"), "{}", message(&application));
    assert_eq!(live(&world, DEPLOYMENT, "web").await, None);

    world.change_spec("orders", json!({ "syncPolicy": { "syncOptions": ["Validate=false"] } })).await;
    for image in ["web:1.0", "web:2.0"] {
        let commit = world.repository.commit(&[("app/web.yaml", Some(&unknown(image)))]);
        world.refresh("orders").await;
        world.sync("orders", json!({ "syncOptions": ["Validate=false"] })).await;
        world.until_synced("orders", &commit).await;
        let web = live(&world, DEPLOYMENT, "web").await.unwrap();
        assert_eq!(web["spec"]["template"]["spec"]["containers"][0]["image"], image);
        assert_eq!(web["spec"].get("bogus"), None);
    }
}

#[tokio::test]
async fn what_is_pruned_last_goes_when_all_else_is_done() {
    let last = with_options(&config_map("last", "1"), "PruneLast=true");
    let world =
        world_with(&[("app/last.yaml", Some(&last)), ("app/a.yaml", Some(&config_map("a", "1")))]).await;
    world.sync("orders", json!({})).await;
    world.until_operation("orders", OperationPhase::Succeeded).await;
    world.repository.commit(&[
        ("app/last.yaml", None),
        ("app/a.yaml", None),
        ("app/web.yaml", Some(&deployment("web", "web:broken", 1))),
    ]);
    world.sync("orders", json!({ "prune": true })).await;
    until_web_is_awaited(&world).await;
    assert_eq!(live(&world, CONFIG_MAP, "a").await, None);
    assert!(live(&world, CONFIG_MAP, "last").await.is_some());
    mend_web(&world).await;
    world.until_operation("orders", OperationPhase::Succeeded).await;
    assert_eq!(live(&world, CONFIG_MAP, "last").await, None);
}

#[tokio::test]
async fn the_propagation_policy_says_what_becomes_of_dependents() {
    let world = world_with(&[
        ("app/web.yaml", Some(&deployment("web", "web:1.0", 1))),
        ("app/a.yaml", Some(&config_map("a", "1"))),
    ])
    .await;
    world.sync("orders", json!({})).await;
    world.until_operation("orders", OperationPhase::Succeeded).await;
    world
        .until("its Pod is there", async |w: &World| {
            (w.names("v1", "Pod", &w.namespace).await.len() == 1).then_some(())
        })
        .await;
    world.repository.commit(&[("app/web.yaml", None)]);
    let options = json!({ "prune": true, "syncOptions": ["PrunePropagationPolicy=orphan"] });
    world.sync("orders", options).await;
    world.until_operation("orders", OperationPhase::Succeeded).await;
    world
        .until("the Deployment is gone", async |w: &World| {
            live(w, DEPLOYMENT, "web").await.is_none().then_some(())
        })
        .await;
    let sets = world.names("apps/v1", "ReplicaSet", &world.namespace).await;
    assert_eq!(sets.len(), 1, "its dependents stay");
}

#[tokio::test]
async fn a_wave_begins_when_the_one_before_it_is_healthy() {
    let in_wave = |manifest: &str, wave: i64| {
        let annotation = format!("metadata:\n  annotations: {{argocd.argoproj.io/sync-wave: \"{wave}\"}}\n");
        manifest.replacen("metadata:\n", &annotation, 1)
    };
    let world = world_with(&[
        ("app/web.yaml", Some(&in_wave(&deployment("web", "web:broken", 1), 0))),
        ("app/late.yaml", Some(&in_wave(&config_map("late", "1"), 1))),
    ])
    .await;
    world.sync("orders", json!({})).await;
    until_web_is_awaited(&world).await;
    assert_eq!(live(&world, CONFIG_MAP, "late").await, None);
    mend_web(&world).await;
    world.until_operation("orders", OperationPhase::Succeeded).await;
    assert!(live(&world, CONFIG_MAP, "late").await.is_some());
}
