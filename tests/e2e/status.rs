//! What an Application's status tells: health, summary, and everything that is doubtful.

use serde_json::{Value, json};
use skiff::api::{ApplicationSourceType, HealthStatusCode, SyncStatusCode, names};

use super::harness::{World, config_map, deployment};

async fn until_health(world: &World, code: HealthStatusCode) {
    world
        .until_application("orders", &format!("is {code}"), |application| {
            application.status.health_code() == code
        })
        .await;
}

#[tokio::test]
async fn health_follows_the_objects() {
    let world = World::new().await;
    world.repository.commit(&[("app/web.yaml", Some(&deployment("web", "web:broken", 1)))]);
    world.apply(world.application("orders", "app")).await;
    until_health(&world, HealthStatusCode::Missing).await;
    world.sync("orders", json!({ "syncOptions": ["CreateNamespace=true"] })).await;
    until_health(&world, HealthStatusCode::Progressing).await;
    world.repository.commit(&[("app/web.yaml", Some(&deployment("web", "web:1.0", 1)))]);
    world.until_status("orders", SyncStatusCode::OutOfSync).await;
    world.sync("orders", json!({})).await;
    until_health(&world, HealthStatusCode::Healthy).await;
}

#[tokio::test]
async fn a_deployment_that_misses_its_deadline_is_degraded_though_it_is_synced() {
    let world = World::new().await;
    let broken = deployment("web", "web:broken", 1)
        .replace("spec:\n  replicas", "spec:\n  progressDeadlineSeconds: 1\n  replicas");
    let commit = world.repository.commit(&[("app/web.yaml", Some(&broken))]);
    world.apply(world.automated("orders", "app")).await;
    world.until_synced("orders", &commit).await;
    until_health(&world, HealthStatusCode::Degraded).await;
    let application = world.read_application("orders").await;
    assert_eq!(application.status.sync_code(), SyncStatusCode::Synced);
    world.repository.commit(&[("app/web.yaml", Some(&deployment("web", "web:1.1", 1)))]);
    until_health(&world, HealthStatusCode::Healthy).await;
}

const BALANCED: &str = "apiVersion: v1
kind: Service
metadata: {name: web}
spec: {type: LoadBalancer, ports: [{port: 80}]}
";
const INGRESS: &str = "apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web}
spec:
  tls: [{hosts: [shop.example.com]}]
  rules:
  - host: shop.example.com
    http: {paths: [{path: /cart, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}
";

#[tokio::test]
async fn the_summary_has_images_and_addresses() {
    let world = World::new().await;
    let commit = world.repository.commit(&[
        ("app/web.yaml", Some(&deployment("web", "web:1.0", 1))),
        ("app/worker.yaml", Some(&deployment("worker", "worker:2.0", 1))),
        ("app/service.yaml", Some(BALANCED)),
        ("app/ingress.yaml", Some(INGRESS)),
    ]);
    world.apply(world.automated("orders", "app")).await;
    let application = world.until_synced("orders", &commit).await;
    assert_eq!(application.status.source_type, Some(ApplicationSourceType::Directory));
    assert_eq!(application.status.summary.images, ["web:1.0", "worker:2.0"]);
    assert_eq!(application.status.controller_namespace, world.argocd);
    assert!(application.status.reconciled_at.is_some());
    world
        .until_application("orders", "tells both addresses", |application| {
            let urls = &application.status.summary.external_urls;
            urls.iter().any(|url| url == "https://shop.example.com/cart")
                && urls.iter().any(|url| url.starts_with("http://") && !url.contains("example.com"))
        })
        .await;
}

#[tokio::test]
async fn an_object_that_is_declared_twice_is_warned_about() {
    let world = World::new().await;
    let commit = world.repository.commit(&[
        ("app/a.yaml", Some(&config_map("twin", "first"))),
        ("app/b.yaml", Some(&config_map("twin", "last"))),
    ]);
    world.apply(world.automated("orders", "app")).await;
    let application = world.until_synced("orders", &commit).await;
    let condition = &application.status.conditions[0];
    assert_eq!(condition.condition_type, names::CONDITION_REPEATED_RESOURCE_WARNING);
    assert!(
        condition.message.contains("ConfigMap") && condition.message.contains("app/b.yaml"),
        "{}",
        condition.message
    );
    assert_eq!(world.get("v1", "ConfigMap", &world.namespace, "twin").await.unwrap()["data"]["key"], "last");
    let commit = world.repository.commit(&[("app/b.yaml", None)]);
    assert_eq!(world.until_synced("orders", &commit).await.status.conditions, []);
}

#[tokio::test]
async fn a_kind_that_the_settings_exclude_is_left_out_and_warned_about() {
    let world = World::new().await;
    world.repository.commit(&[
        ("app/a.yaml", Some(&config_map("a", "1"))),
        ("app/web.yaml", Some(&deployment("web", "web:1.0", 1))),
    ]);
    let exclusions = "- apiGroups: [apps]\n  kinds: [Deployment]\n";
    world.settings(json!({ "resource.exclusions": exclusions })).await;
    world.apply(world.application("orders", "app")).await;
    world.until_condition("orders", names::CONDITION_EXCLUDED_RESOURCE_WARNING, "web").await;
    world.sync("orders", json!({ "syncOptions": ["CreateNamespace=true"] })).await;
    world.until_status("orders", SyncStatusCode::Synced).await;
    assert!(world.get("apps/v1", "Deployment", &world.namespace, "web").await.is_none());
    world.settings(json!({})).await;
    world
        .until_application("orders", "has the Deployment again", |application| {
            application.status.sync_code() == SyncStatusCode::OutOfSync
                && application.status.conditions.is_empty()
        })
        .await;
}

#[tokio::test]
async fn an_object_of_two_applications_is_warned_about() {
    let world = World::new().await;
    let commit = world.repository.commit(&[
        ("one/shared.yaml", Some(&config_map("shared", "1"))),
        ("two/shared.yaml", Some(&config_map("shared", "1"))),
        ("two/own.yaml", Some(&config_map("own", "1"))),
    ]);
    world.apply(world.automated("one", "one")).await;
    world.until_synced("one", &commit).await;
    let mut second = world.automated("two", "two");
    second["spec"]["syncPolicy"]["automated"] = json!({ "enabled": false });
    world.apply(second).await;
    let text = format!("ConfigMap/shared is part of applications {0}/two and {0}/one", world.argocd);
    world.until_condition("two", names::CONDITION_SHARED_RESOURCE_WARNING, &text).await;
}

#[tokio::test]
async fn every_field_that_is_not_acted_on_is_named() {
    let world = World::new().await;
    let commit = world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "1")))]);
    let mut application = world.automated("orders", "app");
    application["spec"]["syncPolicy"]["syncOptions"] =
        json!(["CreateNamespace=true", "ServerSideApply=false"]);
    world.apply(application).await;
    let application = world.until_synced("orders", &commit).await;
    let [warning] = application.status.conditions.as_slice() else {
        panic!("one condition is expected: {:?}", application.status.conditions)
    };
    assert_eq!(warning.condition_type, names::CONDITION_UNSUPPORTED_FIELD_WARNING);
    assert!(
        warning.message.starts_with("spec.syncPolicy.syncOptions[ServerSideApply=false]: "),
        "{warning:?}"
    );
}

#[tokio::test]
async fn nothing_is_synced_while_an_option_is_mistyped() {
    let world = World::new().await;
    let commit = world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "1")))]);
    let mut application = world.automated("orders", "app");
    application["spec"]["syncPolicy"]["syncOptions"] = json!(["CreateNamespace=true", "Repalce=true"]);
    world.apply(application).await;
    let text = "spec.syncPolicy.syncOptions: Repalce=true is not a sync option";
    world.until_condition("orders", names::CONDITION_INVALID_SPEC_ERROR, text).await;
    world.until_condition("orders", names::CONDITION_SYNC_ERROR, text).await;
    assert_eq!(world.written(), [""; 0]);
    world.change_spec("orders", json!({ "syncPolicy": { "syncOptions": ["CreateNamespace=true"] } })).await;
    let application = world.until_synced("orders", &commit).await;
    assert_eq!(application.status.conditions, []);
}

async fn until_refused(source: impl FnOnce(&World) -> Value, condition_type: &str, text: &str) {
    let world = World::new().await;
    world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "1")))]);
    let mut application = world.automated("orders", "app");
    let spec = application["spec"].as_object_mut().unwrap();
    spec.shift_remove("source");
    for (key, value) in source(&world).as_object().unwrap() {
        spec.insert(key.clone(), value.clone());
    }
    world.apply(application).await;
    world.until_condition("orders", condition_type, text).await;
    assert_eq!(world.written(), [""; 0]);
}

#[tokio::test]
async fn a_source_that_is_not_supported_yet_is_refused_by_its_field() {
    let source = |world: &World, more: Value| {
        let mut source = json!({ "repoURL": world.repository.url(), "path": "app" });
        source.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        source
    };
    let invalid = names::CONDITION_INVALID_SPEC_ERROR;
    until_refused(|_| json!({}), invalid, "spec.source").await;
    let helm = json!({ "helm": { "releaseName": "orders" } });
    until_refused(
        |w| json!({ "source": source(w, helm) }),
        names::CONDITION_COMPARISON_ERROR,
        "spec.source.helm",
    )
    .await;
    let both = json!({ "kustomize": { "namePrefix": "a-" }, "directory": { "recurse": true } });
    until_refused(|w| json!({ "source": source(w, both) }), invalid, "multiple application sources defined")
        .await;
}
