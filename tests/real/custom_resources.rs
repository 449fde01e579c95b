//! Custom kinds: defaults that the API server fills in, fields that it knows nothing of, and Argo CD's own definition.

use serde_json::{Value, json};

use crate::{
    control_plane, process,
    world::{World, until},
};

/// A kind whose `size` and `limits.cpu` have defaults, and whose objects are cut to their schema.
fn definition(world: &World) -> Value {
    let group = format!("{}.example.com", world.unique("shop"));
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": { "name": format!("widgets.{group}") },
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": { "plural": "widgets", "singular": "widget", "kind": "Widget" },
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": { "openAPIV3Schema": { "type": "object", "properties": {
                    "spec": { "type": "object", "default": {}, "properties": {
                        "size": { "type": "string", "default": "medium" },
                        "limits": { "type": "object", "default": {}, "properties": {
                            "cpu": { "x-kubernetes-int-or-string": true, "default": "100m" },
                        } },
                        "parts": {
                            "type": "array",
                            "x-kubernetes-list-type": "map",
                            "x-kubernetes-list-map-keys": ["name"],
                            "items": { "type": "object", "required": ["name"], "properties": {
                                "name": { "type": "string" },
                                "count": { "type": "integer", "default": 1 },
                            } },
                        },
                    } },
                } } },
            }],
        },
    })
}

fn widget(world: &World, spec: &str) -> String {
    let group = format!("{}.example.com", world.unique("shop"));
    format!("apiVersion: {group}/v1\nkind: Widget\nmetadata: {{name: widget}}\nspec: {spec}\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn defaults_of_a_custom_kind_are_no_drift() {
    let control_plane = control_plane::shared_async().await;
    let world = World::new().await;
    control_plane.install_crd(definition(&world)).await;
    let version = format!("{}.example.com/v1", world.unique("shop"));
    let agent = world.start_agent("agent-0");
    agent.until_ready().await;
    let revision = world
        .commit(&[("app/widget.yaml", Some(&widget(&world, "{parts: [{name: a}, {name: b, count: 2}]}")))]);
    world.apply(world.automated("app", "app")).await;
    world.until_synced("app", &revision).await;
    let live = world.get(&version, "Widget", &world.shop, "widget").await.unwrap();
    assert_eq!(live["spec"]["size"], "medium");
    assert_eq!(live["spec"]["limits"]["cpu"], "100m");
    assert_eq!(live["spec"]["parts"][0]["count"], 1);

    // A look from the ground up finds nothing, and changes nothing.
    let refresh = json!({ "metadata": { "annotations": { "argocd.argoproj.io/refresh": "hard" } } });
    world.patch_application("app", refresh).await;
    let application = world
        .until_application("app", "is refreshed", |application| {
            application["metadata"]["annotations"].get("argocd.argoproj.io/refresh").is_none()
        })
        .await;
    assert_eq!(application["status"]["sync"]["status"], "Synced", "{:#}", application["status"]);
    assert_eq!(application["status"]["history"].as_array().unwrap().len(), 1);
    let after = world.get(&version, "Widget", &world.shop, "widget").await.unwrap();
    assert_eq!(after["metadata"]["resourceVersion"], live["metadata"]["resourceVersion"]);

    // What somebody adds where Git says nothing is his; what Git says is put back.
    world.patch(&version, "Widget", &world.shop, "widget", json!({ "spec": { "size": "large" } })).await;
    let parts = json!({ "spec": { "parts": [{ "name": "a", "count": 1 }, { "name": "b", "count": 7 }] } });
    world.patch(&version, "Widget", &world.shop, "widget", parts).await;
    until("the declared part is put back", || async {
        let live = world.get(&version, "Widget", &world.shop, "widget").await.unwrap();
        let is_back = live["spec"]["parts"][1]["count"] == 2 && live["spec"]["size"] == "large";
        if is_back { Ok(()) } else { Err(live["spec"].to_string()) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_that_the_schema_does_not_have_is_named() {
    let control_plane = control_plane::shared_async().await;
    let world = World::new().await;
    control_plane.install_crd(definition(&world)).await;
    let version = format!("{}.example.com/v1", world.unique("shop"));
    let agent = world.start_agent("agent-0");
    agent.until_ready().await;
    world.commit(&[
        ("app/widget.yaml", Some(&widget(&world, "{size: small, colour: red}"))),
        ("app/settings.yaml", Some(&process::config_map("settings", "one"))),
    ]);
    world.apply(world.automated("app", "app")).await;
    let failed = world
        .until_application("app", "names the field", |application| {
            application["status"].to_string().contains("spec.colour")
        })
        .await;
    assert_ne!(failed["status"]["sync"]["status"], "Synced", "{failed:#}");
    assert_eq!(world.value("settings").await, None, "an object of the refused sync was written");

    let revision = world.commit(&[("app/widget.yaml", Some(&widget(&world, "{size: small}")))]);
    world.until_synced("app", &revision).await;
    let live = world.get(&version, "Widget", &world.shop, "widget").await.unwrap();
    assert_eq!(live["spec"]["size"], "small");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kind_may_come_after_the_application_that_declares_it() {
    let control_plane = control_plane::shared_async().await;
    let world = World::new().await;
    let agent = world.start_agent("agent-0");
    agent.until_ready().await;
    let revision = world.commit(&[("app/widget.yaml", Some(&widget(&world, "{size: small}")))]);
    world.apply(world.automated("app", "app")).await;
    world
        .until_application("app", "says that the kind is unknown", |application| {
            application["status"].to_string().contains("Widget")
                && application["status"]["sync"]["status"] != "Synced"
        })
        .await;
    control_plane.install_crd(definition(&world)).await;
    world.until_synced("app", &revision).await;
}

/// Argo CD's definitions, as its installation brings them.
async fn install_definitions_of_argocd(control_plane: &control_plane::ControlPlane) {
    let folder = process::manifest_directory().join("../shared/conformance/argocd-crds");
    for name in ["application-crd.yaml", "appproject-crd.yaml"] {
        let text = std::fs::read_to_string(folder.join(name)).unwrap();
        control_plane.install_crd(process::parse(&text)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_definitions_of_argo_cd_serve_the_agent_as_they_are() {
    let Some(control_plane) = control_plane::disrupted().await else { return };
    let world = World::on(&control_plane).await;
    install_definitions_of_argocd(&control_plane).await;
    let crd = world
        .get("apiextensions.k8s.io/v1", "CustomResourceDefinition", "", "applications.argoproj.io")
        .await
        .unwrap();
    let subresources = &crd["spec"]["versions"][0]["subresources"];
    assert!(
        subresources.get("status").is_none(),
        "Argo CD's Application has a status subresource: {subresources}"
    );

    let agent = world.start_agent("agent-0");
    agent.until_ready().await;
    let revision = world.commit(&[("app/settings.yaml", Some(&process::config_map("settings", "one")))]);
    world.apply(world.automated("app", "app")).await;
    world.until_synced("app", &revision).await;
    world.patch("v1", "ConfigMap", &world.shop, "settings", json!({ "data": { "key": "by hand" } })).await;
    until("the drift is put back", || async {
        let value = world.value("settings").await;
        if value.as_deref() == Some("one") { Ok(()) } else { Err(format!("{value:?}")) }
    })
    .await;
    let said = world.kubectl(&["get", "applications.argoproj.io", "--namespace", &world.argocd]).await;
    said.expect(0, &["SYNC STATUS", "HEALTH STATUS", "Synced", "Healthy"]);
    control_plane.install_crds().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_agent_may_start_in_the_moment_in_which_its_definitions_are_installed() {
    let Some(control_plane) = control_plane::disrupted().await else { return };
    let world = World::on(&control_plane).await;
    let version = "apiextensions.k8s.io/v1";
    for name in ["applications.argoproj.io", "appprojects.argoproj.io"] {
        world.delete(version, "CustomResourceDefinition", "", name).await;
        until("the definition is gone", || async {
            let definition = world.get(version, "CustomResourceDefinition", "", name).await;
            if definition.is_none() { Ok(()) } else { Err(name.to_owned()) }
        })
        .await;
    }
    let folder = process::manifest_directory().join("deploy/crds");
    world
        .kubectl(&["apply", "--server-side", "-k", folder.to_str().unwrap()])
        .await
        .expect(0, &["applications"]);
    let agent = world.start_agent("agent-0");
    agent.until_ready().await;
    let revision = world.commit(&[("app/settings.yaml", Some(&process::config_map("settings", "one")))]);
    control_plane.install_crds().await;
    world.apply(world.automated("app", "app")).await;
    world.until_synced("app", &revision).await;
}
