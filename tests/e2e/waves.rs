//! In which order a sync applies objects.

use std::time::Duration;

use serde_json::json;
use skiff::{
    api::OperationPhase,
    sandbox::fault::{Fault, FaultRule},
};

use crate::harness::{Setup, World, config_map, deployment};

/// What the agent has applied, in order, each as `resource/name`.
fn applied(world: &World) -> Vec<String> {
    world.written().iter().filter_map(|write| write.strip_prefix("PATCH ")).map(str::to_owned).collect()
}

const WIDGET: &str = "apiVersion: example.com/v1
kind: Widget
metadata: {name: gear}
spec: {size: 3}
---
";

const WIDGETS: &str = "apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {kind: Widget, plural: widgets, singular: widget, listKind: WidgetList}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec: {type: object, properties: {size: {type: integer}}}
---
";

const REST: &str = "apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web, namespace: stock}
spec: {defaultBackend: {service: {name: web, port: {number: 80}}}}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: stock}
spec: {ports: [{port: 80}]}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: web, namespace: stock}
---
apiVersion: v1
kind: Secret
metadata: {name: web, namespace: stock}
stringData: {password: hunter2}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: web, namespace: stock}
rules: [{apiGroups: [''], resources: [pods], verbs: [get]}]
---
apiVersion: v1
kind: Namespace
metadata: {name: stock}
";

#[tokio::test]
async fn kinds_are_applied_in_their_order_and_what_others_need_goes_first() {
    let world = Setup::new().sandbox(|it| it.crd_established_delay(Duration::from_millis(200))).build().await;
    let web =
        deployment("web", "web:1.0", 1).replace("name: web\nspec", "name: web\n  namespace: stock\nspec");
    let all = format!("{WIDGET}{WIDGETS}{web}---\n{REST}");
    let commit = world.repository.commit(&[("app/all.yaml", Some(&all))]);
    world.apply(world.automated("orders", "app")).await;
    let application = world.until_synced("orders", &commit).await;
    assert_eq!(
        applied(&world),
        [
            "namespaces/shop",
            "namespaces/stock",
            "serviceaccounts/web",
            "secrets/web",
            "customresourcedefinitions/widgets.example.com",
            "roles/web",
            "services/web",
            "deployments/web",
            "ingresses/web",
            "widgets/gear",
        ]
    );
    let mut writes = world.sandbox.requests().writes().into_iter();
    assert_eq!(
        writes.find(|write| write.status >= 300),
        None,
        "every object was applied when what it needs was there"
    );
    assert_eq!(application.status.operation_state.unwrap().retry_count, 0);
    let gear = world.get("example.com/v1", "Widget", "shop", "gear").await.unwrap();
    assert_eq!(gear["spec"]["size"], 3);
}

#[tokio::test]
async fn a_resource_of_a_kind_that_came_with_the_last_commit_is_followed_like_any_other() {
    let world = World::new().await;
    let commit = world.repository.commit(&[("app/all.yaml", Some(&format!("{WIDGET}{WIDGETS}")))]);
    world.apply(world.automated("orders", "app")).await;
    world.until_synced("orders", &commit).await;
    let drift = json!({ "spec": { "size": 9 } });
    world.patch("example.com/v1", "Widget", "shop", "gear", drift).await;
    world
        .until("the size is put back", async |w: &World| {
            let gear = w.get("example.com/v1", "Widget", "shop", "gear").await?;
            (gear["spec"]["size"] == 3).then_some(())
        })
        .await;
    let commit = world.repository.commit(&[("app/all.yaml", Some(WIDGETS))]);
    world.until_synced("orders", &commit).await;
    assert!(world.get("example.com/v1", "Widget", "shop", "gear").await.is_none());
}

fn in_wave(manifest: &str, wave: i64) -> String {
    let annotation = format!("metadata:\n  annotations: {{argocd.argoproj.io/sync-wave: \"{wave}\"}}\n");
    manifest.replacen("metadata:\n", &annotation, 1)
}

#[tokio::test]
async fn waves_come_before_kinds() {
    let world = World::new().await;
    let commit = world.repository.commit(&[
        ("app/late.yaml", Some(&in_wave(&config_map("late", "1"), 2))),
        ("app/middle.yaml", Some(&config_map("middle", "1"))),
        ("app/early.yaml", Some(&in_wave(&deployment("early", "web:1.0", 1), -1))),
    ]);
    world.apply(world.automated("orders", "app")).await;
    let application = world.until_synced("orders", &commit).await;
    assert_eq!(
        applied(&world),
        ["namespaces/shop", "deployments/early", "configmaps/middle", "configmaps/late"]
    );
    let waves: Vec<(&str, i64)> =
        application.status.resources.iter().map(|row| (row.name.as_str(), row.sync_wave)).collect();
    assert_eq!(waves, [("late", 2), ("middle", 0), ("early", -1)]);
}

#[tokio::test]
async fn a_wave_that_fails_keeps_the_next_one_from_beginning() {
    let world = World::new().await;
    world.repository.commit(&[
        ("app/first.yaml", Some(&config_map("first", "1"))),
        ("app/second.yaml", Some(&in_wave(&config_map("second", "1"), 1))),
    ]);
    world.apply(json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "shop" } })).await;
    // The first request for it is its validation.
    let refused = FaultRule::on("patch", "configmaps").named("first").after(1);
    world.sandbox.faults().inject(refused, Fault::InternalError);
    world.apply(world.application("orders", "app")).await;
    world.sync("orders", json!({})).await;
    world.until_operation("orders", OperationPhase::Failed).await;
    assert_eq!(applied(&world), ["configmaps/first"]);
}

#[tokio::test]
async fn a_definition_that_somebody_deletes_comes_back_with_its_objects() {
    let world = World::new().await;
    let commit = world.repository.commit(&[("app/all.yaml", Some(&format!("{WIDGET}{WIDGETS}")))]);
    world.apply(world.automated("orders", "app")).await;
    world.until_synced("orders", &commit).await;
    let (version, kind, name) =
        ("apiextensions.k8s.io/v1", "CustomResourceDefinition", "widgets.example.com");
    let before = world.get(version, kind, "", name).await.unwrap();
    world.delete(version, kind, "", name).await;
    world
        .until("the definition is back", async |w: &World| {
            let definition = w.get(version, kind, "", name).await?;
            let is_new = definition["metadata"]["uid"] != before["metadata"]["uid"];
            let conditions = definition["status"]["conditions"].as_array()?.iter();
            let mut established =
                conditions.filter(|it| it["type"] == "Established" && it["status"] == "True");
            established.next().filter(|_| is_new).map(drop)
        })
        .await;
    world
        .until("the object is back", async |w: &World| {
            w.get("example.com/v1", "Widget", "shop", "gear").await
        })
        .await;
    world.until_synced("orders", &commit).await;
}
