//! Taking over what others have applied: kubectl on the client's side, or Argo CD.

use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use skiff::api::SyncStatusCode;

use super::{
    cli::skiff_app,
    harness::{World, config_map},
};

/// Creates a ConfigMap as a client-side apply does: with the annotation, and under its manager.
async fn apply_client_side(world: &World, manager: &str, data: Value) {
    let tracking = format!("orders:/ConfigMap:{}/a", world.namespace);
    let annotations = json!({
        "argocd.argoproj.io/tracking-id": tracking,
        "argocd.argoproj.io/installation-id": world.installation(),
    });
    let mut object = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": "a", "namespace": world.namespace, "annotations": annotations },
        "data": data,
    });
    let applied = object.to_string();
    object["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"] = applied.into();
    let api: Api<k8s_openapi::api::core::v1::ConfigMap> =
        Api::namespaced(world.client.clone(), &world.namespace);
    let params = PostParams { field_manager: Some(manager.to_owned()), ..PostParams::default() };
    api.create(&params, &serde_json::from_value(object).unwrap()).await.unwrap();
}

async fn data(world: &World) -> Value {
    world.get("v1", "ConfigMap", &world.namespace, "a").await.unwrap()["data"].clone()
}

#[tokio::test]
async fn what_agrees_is_taken_over_without_a_write() {
    for manager in ["kubectl-client-side-apply", "argocd-controller"] {
        let world = World::new().await;
        world.create_namespace(&world.namespace).await;
        apply_client_side(&world, manager, json!({ "key": "1" })).await;
        world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "1")))]);
        world.apply(world.automated("orders", "app")).await;
        let application = world.until_status("orders", SyncStatusCode::Synced).await;
        assert_eq!(application.status.operation_state, None, "{manager}");
        assert_eq!(world.written(), [""; 0], "{manager}");
    }
}

#[tokio::test]
async fn a_field_that_left_the_source_before_the_takeover_goes_and_a_strange_one_stays() {
    for manager in ["kubectl-client-side-apply", "argocd-controller"] {
        let world = World::new().await;
        world.create_namespace(&world.namespace).await;
        apply_client_side(&world, manager, json!({ "key": "1", "removed": "2" })).await;
        let params = PatchParams { field_manager: Some("somebody".to_owned()), ..PatchParams::default() };
        let api: Api<k8s_openapi::api::core::v1::ConfigMap> =
            Api::namespaced(world.client.clone(), &world.namespace);
        api.patch("a", &params, &Patch::Merge(json!({ "data": { "theirs": "3" } }))).await.unwrap();
        let commit = world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "1")))]);
        world.apply(world.application("orders", "app")).await;
        world.until_status("orders", SyncStatusCode::OutOfSync).await;
        let said = skiff_app(&world, "diff orders").await;
        assert!(
            said.out.contains("-  removed: \"2\"\n") && !said.out.contains("-  theirs"),
            "{manager}: {}",
            said.out
        );
        world.sync("orders", json!({})).await;
        world.until_synced("orders", &commit).await;
        assert_eq!(data(&world).await, json!({ "key": "1", "theirs": "3" }), "{manager}");
        let commit = world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "2")))]);
        world.sync("orders", json!({})).await;
        world.until_synced("orders", &commit).await;
        assert_eq!(data(&world).await, json!({ "key": "2", "theirs": "3" }), "{manager}");
    }
}

#[tokio::test]
async fn nothing_is_taken_over_where_that_is_switched_off() {
    let world = World::new().await;
    world.create_namespace(&world.namespace).await;
    apply_client_side(&world, "kubectl-client-side-apply", json!({ "key": "1", "removed": "2" })).await;
    let commit = world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "2")))]);
    let mut application = world.automated("orders", "app");
    application["spec"]["syncPolicy"]["syncOptions"] = json!(["ClientSideApplyMigration=false"]);
    world.apply(application).await;
    world.until_synced("orders", &commit).await;
    assert_eq!(data(&world).await, json!({ "key": "2", "removed": "2" }));
}

#[tokio::test]
async fn another_manager_is_taken_over_from_where_the_application_names_it() {
    let world = World::new().await;
    world.create_namespace(&world.namespace).await;
    apply_client_side(&world, "deploy-script", json!({ "key": "1", "removed": "2" })).await;
    let commit = world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "2")))]);
    let mut application = world.automated("orders", "app");
    application["metadata"]["annotations"] =
        json!({ "argocd.argoproj.io/client-side-apply-migration-manager": "deploy-script" });
    world.apply(application).await;
    world.until_synced("orders", &commit).await;
    assert_eq!(data(&world).await, json!({ "key": "2" }));
}
