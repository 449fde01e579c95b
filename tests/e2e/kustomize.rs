//! Kustomize trees, with and without overrides in the Application.

use serde_json::json;
use skiff::api::ApplicationSourceType;

use super::harness::{World, deployment};

const BASE: &str = "resources: [deployment.yaml]
labels:
- pairs: {part-of: shop}
configMapGenerator:
- name: settings
  literals: [mode=base]
";

fn overlay(namespace: &str) -> String {
    OVERLAY.replace("NAMESPACE", namespace)
}

const OVERLAY: &str = "resources: [../../base]
namespace: NAMESPACE
namePrefix: dev-
images:
- name: orders
  newTag: '1.1'
replicas:
- {name: orders, count: 2}
configMapGenerator:
- name: settings
  behavior: merge
  literals: [level=debug]
";

const COMPONENT: &str = "apiVersion: kustomize.config.k8s.io/v1alpha1
kind: Component
patches:
- target: {kind: Deployment}
  patch: |-
    - {op: add, path: /metadata/labels/traced, value: 'true'}
";

fn base_deployment() -> String {
    let container = "        image: orders:1.0\n        envFrom: [{configMapRef: {name: settings}}]\n";
    deployment("orders", "orders:1.0", 1).replace("        image: orders:1.0\n", container)
}

async fn tree() -> World {
    let world = World::new().await;
    world.repository.commit(&[
        ("base/kustomization.yaml", Some(BASE)),
        ("base/deployment.yaml", Some(&base_deployment())),
        ("components/traced/kustomization.yaml", Some(COMPONENT)),
    ]);
    world
}

#[tokio::test]
async fn an_overlay_reaches_the_cluster_and_follows_its_base() {
    let world = tree().await;
    let dev = world.unique("dev");
    let commit = world.repository.commit(&[("overlays/dev/kustomization.yaml", Some(&overlay(&dev)))]);
    let mut application = world.automated("orders", "overlays/dev");
    application["spec"]["destination"]["namespace"] = json!(dev);
    world.apply(application).await;
    let application = world.until_synced("orders", &commit).await;
    assert_eq!(application.status.source_type, Some(ApplicationSourceType::Kustomize));
    let live = world.get("apps/v1", "Deployment", &dev, "dev-orders").await.unwrap();
    assert_eq!(live["spec"]["replicas"], 2);
    assert_eq!(live["metadata"]["labels"]["part-of"], "shop");
    let container = &live["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["image"], "orders:1.1");
    let [generated] = &*world.names("v1", "ConfigMap", &dev).await else { panic!("one ConfigMap expected") };
    assert!(generated.starts_with("dev-settings-"), "{generated}");
    assert_eq!(container["envFrom"][0]["configMapRef"]["name"], generated.as_str());
    let data = &world.get("v1", "ConfigMap", &dev, generated).await.unwrap()["data"];
    assert_eq!(*data, json!({ "level": "debug", "mode": "base" }));

    let changed = BASE.replace("mode=base", "mode=new");
    let commit = world.repository.commit(&[("base/kustomization.yaml", Some(&changed))]);
    world.until_synced("orders", &commit).await;
    let renamed = world.names("v1", "ConfigMap", &dev).await;
    assert_eq!(renamed.len(), 1, "the one before was pruned: {renamed:?}");
    assert_ne!(renamed[0], *generated);
}

#[tokio::test]
async fn what_the_application_says_wins_over_the_tree() {
    let world = tree().await;
    let dev = world.unique("dev");
    let commit = world.repository.commit(&[("overlays/dev/kustomization.yaml", Some(&overlay(&dev)))]);
    let mut application = world.automated("orders", "overlays/dev");
    application["spec"]["source"]["kustomize"] = json!({
        "namePrefix": "blue-",
        "nameSuffix": "-v2",
        "namespace": world.namespace,
        "images": ["orders=registry.example.com/orders:2.0"],
        "replicas": [{ "name": "orders", "count": 3 }],
        "commonLabels": { "team": "blue" },
        "commonAnnotations": { "owner": "blue" },
        "components": ["../../components/traced"],
        "patches": [{
            "target": { "kind": "Deployment" },
            "patch": "- {op: replace, path: /spec/template/spec/containers/0/resources/limits/memory, value: 128Mi}",
        }],
    });
    world.apply(application).await;
    world.until_synced("orders", &commit).await;
    let live = world.get("apps/v1", "Deployment", &world.namespace, "blue-orders-v2").await.unwrap();
    assert_eq!(live["spec"]["replicas"], 3);
    assert_eq!(live["metadata"]["labels"]["team"], "blue");
    assert_eq!(live["metadata"]["labels"]["traced"], "true");
    assert_eq!(live["metadata"]["annotations"]["owner"], "blue");
    assert_eq!(live["spec"]["selector"]["matchLabels"]["team"], "blue");
    let pod = &live["spec"]["template"];
    assert_eq!(pod["metadata"]["labels"]["team"], "blue");
    let container = &pod["spec"]["containers"][0];
    assert_eq!(container["image"], "registry.example.com/orders:2.0");
    assert_eq!(container["resources"]["limits"]["memory"], "128Mi");
    let generated = container["envFrom"][0]["configMapRef"]["name"].as_str().unwrap();
    assert!(generated.starts_with("blue-settings-v2-"), "{generated}");
    assert!(world.get("v1", "ConfigMap", &world.namespace, generated).await.is_some());
}

#[tokio::test]
async fn a_change_of_the_overrides_alone_is_synced() {
    let world = tree().await;
    let dev = world.unique("dev");
    let commit = world.repository.commit(&[("overlays/dev/kustomization.yaml", Some(&overlay(&dev)))]);
    let mut application = world.automated("orders", "overlays/dev");
    application["spec"]["destination"]["namespace"] = json!(dev);
    world.apply(application).await;
    world.until_synced("orders", &commit).await;
    let images = json!({ "source": { "kustomize": { "images": ["orders:3.0"] } } });
    world.change_spec("orders", images).await;
    world
        .until("the image is the new one", async |w: &World| {
            let live = w.get("apps/v1", "Deployment", &dev, "dev-orders").await?;
            (live["spec"]["template"]["spec"]["containers"][0]["image"] == "orders:3.0").then_some(())
        })
        .await;
    world.until_synced("orders", &commit).await;
}
