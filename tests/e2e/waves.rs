//! In which order a sync applies objects.

use serde_json::json;
use skiff::{
    api::OperationPhase,
    sandbox::fault::{Fault, FaultRule},
};

use super::{
    harness::{World, config_map, deployment},
    recorder::Sent,
};

/// What the agent has applied, in order, each as `resource/name`.
fn applied(world: &World) -> Vec<String> {
    world.written().iter().filter_map(|write| write.strip_prefix("PATCH ")).map(str::to_owned).collect()
}

fn widget(world: &World) -> String {
    let group = world.unique_group();
    format!(
        "apiVersion: {group}/v1
kind: Widget
metadata: {{name: gear}}
spec: {{size: 3}}
---
"
    )
}

/// The definition of that kind.
fn widgets(world: &World) -> String {
    let group = world.unique_group();
    format!(
        "apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {{name: widgets.{group}}}
spec:
  group: {group}
  scope: Namespaced
  names: {{kind: Widget, plural: widgets, singular: widget, listKind: WidgetList}}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec: {{type: object, properties: {{size: {{type: integer}}}}}}
---
"
    )
}

fn api_version(world: &World) -> String {
    format!("{}/v1", world.unique_group())
}

const REST: &str = "apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web, namespace: STOCK}
spec: {defaultBackend: {service: {name: web, port: {number: 80}}}}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: STOCK}
spec: {ports: [{port: 80}]}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: web, namespace: STOCK}
---
apiVersion: v1
kind: Secret
metadata: {name: web, namespace: STOCK}
stringData: {password: hunter2}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: web, namespace: STOCK}
rules: [{apiGroups: [''], resources: [pods], verbs: [get]}]
---
apiVersion: v1
kind: Namespace
metadata: {name: STOCK}
";

#[tokio::test]
async fn kinds_are_applied_in_their_order_and_what_others_need_goes_first() {
    let world = World::new().await;
    let stock = world.unique("stock");
    let web = deployment("web", "web:1.0", 1)
        .replace("name: web\nspec", &format!("name: web\n  namespace: {stock}\nspec"));
    let rest = REST.replace("STOCK", &stock);
    let all = format!("{}{}{web}---\n{rest}", widget(&world), widgets(&world));
    let commit = world.repository.commit(&[("app/all.yaml", Some(&all))]);
    world.apply(world.automated("orders", "app")).await;
    let application = world.until_synced("orders", &commit).await;
    assert_eq!(
        applied(&world),
        [
            &format!("namespaces/{}", world.namespace),
            &format!("namespaces/{stock}"),
            "serviceaccounts/web",
            "secrets/web",
            &format!("customresourcedefinitions/widgets.{}", world.unique_group()),
            "roles/web",
            "services/web",
            "deployments/web",
            "ingresses/web",
            "widgets/gear",
        ]
    );
    let refused = |sent: &Sent| sent.answer().is_some_and(|(status, _)| !status.is_success());
    let refused: Vec<Sent> = world.workload_writes().into_iter().filter(refused).collect();
    assert!(refused.is_empty(), "every object was applied when what it needs was there: {refused:?}");
    assert_eq!(application.status.operation_state.unwrap().retry_count, 0);
    let gear = world.get(&api_version(&world), "Widget", &world.namespace, "gear").await.unwrap();
    assert_eq!(gear["spec"]["size"], 3);
}

#[tokio::test]
async fn a_resource_of_a_kind_that_came_with_the_last_commit_is_followed_like_any_other() {
    let world = World::new().await;
    let commit =
        world.repository.commit(&[("app/all.yaml", Some(&format!("{}{}", widget(&world), widgets(&world))))]);
    world.apply(world.automated("orders", "app")).await;
    world.until_synced("orders", &commit).await;
    let drift = json!({ "spec": { "size": 9 } });
    world.patch(&api_version(&world), "Widget", &world.namespace, "gear", drift).await;
    world
        .until("the size is put back", async |w: &World| {
            let gear = w.get(&api_version(w), "Widget", &w.namespace, "gear").await?;
            (gear["spec"]["size"] == 3).then_some(())
        })
        .await;
    let commit = world.repository.commit(&[("app/all.yaml", Some(&widgets(&world)))]);
    world.until_synced("orders", &commit).await;
    assert!(world.get(&api_version(&world), "Widget", &world.namespace, "gear").await.is_none());
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
        [
            &format!("namespaces/{}", world.namespace),
            "deployments/early",
            "configmaps/middle",
            "configmaps/late"
        ]
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
    world.create_namespace(&world.namespace).await;
    // The first request for it is its validation.
    let refused = FaultRule::on("patch", "configmaps").named("first").after(1);
    world.faults.inject(refused, Fault::InternalError);
    world.apply(world.application("orders", "app")).await;
    world.sync("orders", json!({})).await;
    world.until_operation("orders", OperationPhase::Failed).await;
    assert_eq!(applied(&world), ["configmaps/first"]);
}

#[tokio::test]
async fn a_definition_that_somebody_deletes_comes_back_with_its_objects() {
    let world = World::new().await;
    let commit =
        world.repository.commit(&[("app/all.yaml", Some(&format!("{}{}", widget(&world), widgets(&world))))]);
    let mut application = world.automated("orders", "app");
    // The object goes before its definition does: putting back the object alone fails until both are looked at again.
    let soon = json!({ "limit": 2, "backoff": { "duration": "1s", "factor": 1 } });
    application["spec"]["syncPolicy"]["retry"] = soon;
    world.apply(application).await;
    world.until_synced("orders", &commit).await;
    let (version, kind) = ("apiextensions.k8s.io/v1", "CustomResourceDefinition");
    let name = &format!("widgets.{}", world.unique_group());
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
            w.get(&api_version(w), "Widget", &w.namespace, "gear").await
        })
        .await;
    world.until_synced("orders", &commit).await;
}
