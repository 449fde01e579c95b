//! Sync options of Applications and of single objects: what each of them does to the cluster.

use serde_json::{Value, json};
use skiff::api::{Application, OperationPhase, SyncStatusCode};

use super::harness::{World, config_map, deployment};

pub fn with_options(manifest: &str, options: &str) -> String {
    let annotation =
        format!("metadata:\n  annotations: {{argocd.argoproj.io/sync-options: \"{options}\"}}\n");
    manifest.replacen("metadata:\n", &annotation, 1)
}

fn message(application: &Application) -> &str {
    &application.status.operation_state.as_ref().unwrap().message
}

pub fn in_wave(manifest: &str, wave: i64) -> String {
    let annotation = format!("metadata:\n  annotations: {{argocd.argoproj.io/sync-wave: \"{wave}\"}}\n");
    manifest.replacen("metadata:\n", &annotation, 1)
}

pub async fn live(world: &World, kind: (&str, &str), name: &str) -> Option<Value> {
    world.get(kind.0, kind.1, &world.namespace, name).await
}

/// Waits until the sync waits for the Deployment, whose image cannot be pulled.
pub async fn until_web_is_awaited(world: &World) {
    world.until_operation_says("orders", "waiting for healthy state of apps/Deployment/web").await;
}

/// Gives the Deployment an image that runs.
pub async fn mend_web(world: &World) {
    let image = json!({ "spec": { "template": { "spec": { "containers": [
        { "name": "main", "image": "web:1.0", "resources": { "limits": { "cpu": "1", "memory": "64Mi" } } },
    ] } } } });
    world.patch("apps/v1", "Deployment", &world.namespace, "web", image).await;
}

pub const CONFIG_MAP: (&str, &str) = ("v1", "ConfigMap");
const DEPLOYMENT: (&str, &str) = ("apps/v1", "Deployment");

#[tokio::test]
async fn replace_takes_away_what_the_source_does_not_have() {
    let world =
        World::manual(&[("app/a.yaml", Some(&with_options(&config_map("a", "1"), "Replace=true")))]).await;
    world.sync_succeeds("orders").await;
    world.patch("v1", "ConfigMap", &world.namespace, "a", json!({ "data": { "theirs": "2" } })).await;
    let before = live(&world, CONFIG_MAP, "a").await.unwrap();
    world.sync_succeeds("orders").await;
    let after = live(&world, CONFIG_MAP, "a").await.unwrap();
    assert_eq!(after["data"], json!({ "key": "1" }));
    assert_eq!(after["metadata"]["uid"], before["metadata"]["uid"]);
}

#[tokio::test]
async fn force_deletes_and_creates_what_cannot_be_changed() {
    let world = World::manual(&[("app/web.yaml", Some(&deployment("web", "web:1.0", 1)))]).await;
    world.sync_succeeds("orders").await;
    let before = live(&world, DEPLOYMENT, "web").await.unwrap();
    // The selector of a Deployment is immutable.
    let other = deployment("web", "web:2.0", 1).replace("{app: web}", "{app: other}");
    world.repository.commit(&[("app/web.yaml", Some(&other))]);
    world.sync("orders", json!({})).await;
    let application = world.until_operation("orders", OperationPhase::Failed).await;
    assert!(message(&application).contains("immutable"), "{}", message(&application));
    assert_eq!(live(&world, DEPLOYMENT, "web").await.unwrap()["metadata"]["uid"], before["metadata"]["uid"]);

    world.repository.commit(&[("app/web.yaml", Some(&with_options(&other, "Force=true")))]);
    world.sync_succeeds("orders").await;
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
    let world = World::manual(&[("app/a.yaml", Some(&config_map("a", "1")))]).await;
    world.sync_succeeds("orders").await;
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
    let world = World::manual(&[("app/web.yaml", Some(&unknown("web:1.0")))]).await;
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
        World::manual(&[("app/last.yaml", Some(&last)), ("app/a.yaml", Some(&config_map("a", "1")))]).await;
    world.sync_succeeds("orders").await;
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
    let world = World::manual(&[
        ("app/web.yaml", Some(&deployment("web", "web:1.0", 1))),
        ("app/a.yaml", Some(&config_map("a", "1"))),
    ])
    .await;
    world.sync_succeeds("orders").await;
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
    let world = World::manual(&[
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

fn rows(application: &Application) -> Vec<&str> {
    let state = application.status.operation_state.as_ref().unwrap();
    let rows = &state.sync_result.as_ref().unwrap().resources;
    let mut names: Vec<&str> = rows.iter().map(|row| row.name.as_str()).collect();
    names.sort_unstable();
    names
}

#[tokio::test]
async fn only_what_is_out_of_sync_is_applied_where_that_is_asked_for_and_hooks_run_all_the_same() {
    let hook = config_map("hook", "1").replacen(
        "metadata:\n",
        "metadata:\n  annotations: {argocd.argoproj.io/hook: PreSync}\n",
        1,
    );
    let world = World::manual(&[
        ("app/a.yaml", Some(&config_map("a", "1"))),
        ("app/b.yaml", Some(&with_options(&config_map("b", "1"), "Replace=true"))),
        ("app/hook.yaml", Some(&hook)),
    ])
    .await;
    world.sync("orders", json!({})).await;
    let all = world.until_operation("orders", OperationPhase::Succeeded).await;
    assert_eq!(rows(&all), ["a", "b", "hook"]);
    world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "2")))]);
    world.requests.clear();
    world.sync("orders", json!({ "syncOptions": ["ApplyOutOfSyncOnly=true"] })).await;
    let some = world.until_operation("orders", OperationPhase::Succeeded).await;
    assert_eq!(rows(&some), ["a", "hook"]);
    let writes = world.written();
    assert!(!writes.iter().any(|write| write.ends_with("configmaps/b")), "{writes:?}");
}

#[tokio::test]
async fn one_object_alone_may_be_applied_without_validation() {
    let unknown = config_map("a", "1").replacen("\ndata:\n", "\nbogus: 1\ndata:\n", 1);
    let world = World::manual(&[
        ("app/a.yaml", Some(&with_options(&unknown, "Validate=false"))),
        ("app/b.yaml", Some(&unknown.replace("name: a", "name: b"))),
    ])
    .await;
    world.sync("orders", json!({})).await;
    let application = world.until_operation("orders", OperationPhase::Failed).await;
    assert!(message(&application).contains("bogus"), "{}", message(&application));
    world.repository.commit(&[("app/b.yaml", None)]);
    world.sync_succeeds("orders").await;
    assert_eq!(world.names("v1", "ConfigMap", &world.namespace).await, ["a"]);
}

#[tokio::test]
async fn replace_of_the_application_is_for_every_object_and_deletes_no_namespace() {
    let world = World::new().await;
    let name = world.unique("stock");
    let namespace = format!("apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {name}\n");
    world
        .repository
        .commit(&[("app/a.yaml", Some(&config_map("a", "1"))), ("app/namespace.yaml", Some(&namespace))]);
    world.create_namespace(&world.namespace).await;
    world.apply(world.application("orders", "app")).await;
    world.sync_succeeds("orders").await;
    let before = world.get("v1", "Namespace", "", &name).await.unwrap();
    world.patch("v1", "ConfigMap", &world.namespace, "a", json!({ "data": { "theirs": "2" } })).await;
    let options = json!(["Replace=true"]);
    let strategy = json!({ "hook": { "force": true } });
    world.sync("orders", json!({ "syncOptions": options, "syncStrategy": strategy })).await;
    world.until_operation("orders", OperationPhase::Succeeded).await;
    assert_eq!(live(&world, CONFIG_MAP, "a").await.unwrap()["data"], json!({ "key": "1" }));
    let after = world.get("v1", "Namespace", "", &name).await.unwrap();
    assert_eq!(after["metadata"]["uid"], before["metadata"]["uid"]);
}

#[tokio::test]
async fn a_sync_may_force_what_no_object_asks_for() {
    let world = World::manual(&[("app/web.yaml", Some(&deployment("web", "web:1.0", 1)))]).await;
    world.sync_succeeds("orders").await;
    let before = live(&world, DEPLOYMENT, "web").await.unwrap();
    let other = deployment("web", "web:1.0", 1).replace("{app: web}", "{app: other}");
    world.repository.commit(&[("app/web.yaml", Some(&other))]);
    world.sync("orders", json!({ "syncStrategy": { "apply": { "force": true } } })).await;
    world.until_operation("orders", OperationPhase::Succeeded).await;
    let after = live(&world, DEPLOYMENT, "web").await.unwrap();
    assert_ne!(after["metadata"]["uid"], before["metadata"]["uid"]);
}

/// The labels and annotations of the destination namespace that this test has set.
async fn marks(world: &World) -> Value {
    let namespace = world.get("v1", "Namespace", "", &world.namespace).await.unwrap();
    let of = |field: &str, key: &str| namespace["metadata"][field].get(key).cloned();
    json!([of("labels", "team"), of("labels", "tier"), of("annotations", "owner"), of("labels", "theirs")])
}

#[tokio::test]
async fn labels_that_the_created_namespace_no_longer_has_go_and_those_of_others_stay() {
    let world = World::new().await;
    let commit = world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "1")))]);
    let metadata = |metadata: Value| json!({ "syncPolicy": { "managedNamespaceMetadata": metadata } });
    let mut application = world.automated("orders", "app");
    application["spec"]["syncPolicy"]["managedNamespaceMetadata"] =
        json!({ "labels": { "team": "shop", "tier": "one" }, "annotations": { "owner": "orders" } });
    world.apply(application).await;
    world.until_synced("orders", &commit).await;
    let theirs = json!({ "metadata": { "labels": { "theirs": "stays" } } });
    world.patch("v1", "Namespace", "", &world.namespace, theirs).await;
    assert_eq!(marks(&world).await, json!(["shop", "one", "orders", "stays"]));
    let until = async |wanted: Value| {
        let what = format!("the namespace is marked {wanted}");
        world.until(&what, async |w: &World| (marks(w).await == wanted).then_some(())).await;
        world.until_synced("orders", &commit).await;
    };
    world.change_spec("orders", metadata(json!({ "labels": { "tier": null }, "annotations": null }))).await;
    until(json!(["shop", null, null, "stays"])).await;
    world.change_spec("orders", metadata(Value::Null)).await;
    until(json!([null, null, null, "stays"])).await;
    assert!(live(&world, CONFIG_MAP, "a").await.is_some());
}

#[tokio::test]
async fn an_object_of_a_kind_that_comes_later_is_applied_when_it_has_come() {
    let world = World::new().await;
    let group = world.unique_group();
    let widget =
        format!("apiVersion: {group}/v1\nkind: Widget\nmetadata:\n  name: gear\nspec: {{size: 3}}\n");
    world.repository.commit(&[("app/gear.yaml", Some(&widget))]);
    world.create_namespace(&world.namespace).await;
    let mut application = world.application("orders", "app");
    application["spec"]["syncPolicy"] = json!({ "syncOptions": ["SkipDryRunOnMissingResource=true"] });
    world.apply(application).await;
    world.until_status("orders", SyncStatusCode::OutOfSync).await;
    let retry = json!({ "limit": -1, "backoff": { "duration": "1s", "factor": 1 } });
    let sync = json!({ "syncOptions": ["SkipDryRunOnMissingResource=true"] });
    let operation = json!({ "operation": { "sync": sync, "retry": retry } });
    world.patch("argoproj.io/v1alpha1", "Application", &world.argocd, "orders", operation).await;
    world
        .until_application("orders", "has tried in vain", |it| {
            it.status.operation_state.as_ref().is_some_and(|state| state.retry_count > 0)
        })
        .await;
    let schema =
        json!({ "openAPIV3Schema": { "type": "object", "x-kubernetes-preserve-unknown-fields": true } });
    world
        .apply(json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": { "name": format!("widgets.{group}") },
            "spec": {
                "group": group, "scope": "Namespaced", "names": { "plural": "widgets", "kind": "Widget" },
                "versions": [{ "name": "v1", "served": true, "storage": true, "schema": schema }],
            },
        }))
        .await;
    world.until_operation("orders", OperationPhase::Succeeded).await;
    let gear = world.get(&format!("{group}/v1"), "Widget", &world.namespace, "gear").await.unwrap();
    assert_eq!(gear["spec"]["size"], 3);
}

#[tokio::test]
async fn a_mistyped_option_of_an_object_stops_every_sync_until_it_is_corrected() {
    let world = World::new().await;
    let manifest = |options: &str| with_options(&config_map("a", "1"), options);
    world.repository.commit(&[
        ("app/a.yaml", Some(&manifest("Prun=false"))),
        ("app/b.yaml", Some(&config_map("b", "1"))),
    ]);
    world.apply(world.automated("orders", "app")).await;
    let text = "Prun=false is not a sync option";
    let invalid = skiff::api::names::CONDITION_INVALID_SPEC_ERROR;
    let condition = world.until_condition("orders", invalid, text).await;
    assert!(condition.message.contains("app/a.yaml"), "{}", condition.message);
    world.until_condition("orders", skiff::api::names::CONDITION_SYNC_ERROR, text).await;
    world.sync("orders", json!({ "syncOptions": ["CreateNamespace=true"] })).await;
    let application = world.until_operation("orders", OperationPhase::Error).await;
    assert!(message(&application).contains(text), "{}", message(&application));
    assert_eq!(world.written(), [""; 0]);
    let commit = world.repository.commit(&[("app/a.yaml", Some(&manifest("Prune=false")))]);
    let application = world.until_synced("orders", &commit).await;
    assert_eq!(application.status.conditions, []);
}
