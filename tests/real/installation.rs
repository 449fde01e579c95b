//! What `skiff install` brings, under a real API server's permissions and pod security.

use std::time::Duration;

use serde_json::{Value, json};
use skiff::object::yaml;

use crate::{
    process::{self, Process},
    world::{World, refusals, until},
};

/// What `skiff install` prints with these options.
async fn printed(world: &World, options: &[&str]) -> Vec<Value> {
    let arguments = ["install", "--dry-run", "--without-monitoring", "--namespace", &world.argocd];
    let said = process::run(process::skiff(&[&arguments[..], options].concat())).await.expect(0, &[]);
    let documents = yaml::parse(said.out.as_bytes(), &yaml::Options::default()).unwrap();
    documents.into_iter().map(|document| document.value).collect()
}

/// A world with one Application's files, whose agent has the token of a ServiceAccount.
async fn start(world: &World, account: &str, further: &[&str]) -> Process {
    let token = world.token(&world.argocd, account).await;
    let kubeconfig = world.write_kubeconfig("of-the-account.kubeconfig", json!({ "token": token }));
    let agent = world.start_agent_with("agent-0", &kubeconfig, further);
    agent.until_ready().await;
    agent
}

const WEB: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: 'web:1'}]}
";

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_for_some_namespaces_needs_no_cluster_role() {
    let world = World::new().await;
    for object in printed(&world, &["--namespaced", "--target-namespaces", &world.shop]).await {
        let kind = object["kind"].as_str().unwrap();
        assert!(
            !["Namespace", "ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition"].contains(&kind)
        );
        world.apply(object).await;
    }
    let agent = start(&world, "skiff-agent", &["--namespaced", "--target-namespaces", &world.shop]).await;
    let other = world.unique("other");
    let elsewhere = process::config_map("elsewhere", "one")
        .replace("metadata:", &format!("metadata:\n  namespace: {other}"));
    let revision = world.commit(&[
        ("app/settings.yaml", Some(&process::config_map("settings", "one"))),
        ("app/web.yaml", Some(WEB)),
        ("beyond/elsewhere.yaml", Some(&elsewhere)),
    ]);
    let mut application = world.automated("app", "app");
    application["metadata"]["finalizers"] = json!(["resources-finalizer.argocd.argoproj.io"]);
    application["spec"]["syncPolicy"]["syncOptions"] = json!(["CreateNamespace=true"]);
    world.apply(application).await;
    world.apply(world.automated("beyond", "beyond")).await;
    world.until_synced("app", &revision).await;
    world
        .until_application("beyond", "says what is out of reach", |application| {
            application["status"]["conditions"].to_string().contains("is none of its own")
        })
        .await;
    world.patch("v1", "ConfigMap", &world.shop, "settings", json!({ "data": { "key": "by hand" } })).await;
    until("the drift is put back", || async {
        match world.value("settings").await {
            Some(value) if value == "one" => Ok(()),
            value => Err(format!("{value:?}")),
        }
    })
    .await;
    world.delete("argoproj.io/v1alpha1", "Application", &world.argocd, &world.unique("app")).await;
    until("everything is deleted", || async {
        let left = world.list("apps/v1", "Deployment", &world.shop).await;
        if left.is_empty() && world.read_application("app").await.is_none() {
            Ok(())
        } else {
            Err(format!("{left:?}"))
        }
    })
    .await;
    assert_eq!(refusals(&agent), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shadow_reports_with_nothing_but_permissions_to_read() {
    let world = World::new().await;
    let revision = world.commit(&[
        ("app/settings.yaml", Some(&process::config_map("settings", "one"))),
        ("app/web.yaml", Some(WEB)),
    ]);
    // An agent with all permissions plays Argo CD.
    let mut argo_cd = world.start_agent("argo-cd");
    argo_cd.until_ready().await;
    world.apply(world.automated("app", "app")).await;
    world.until_synced("app", &revision).await;
    argo_cd.terminate();
    assert!(argo_cd.end(Duration::from_secs(30)).await.is_some());
    let before = world.read_application("app").await.unwrap();

    let installed = printed(&world, &["--mode", "shadow"]).await;
    for object in &installed {
        world.apply(object.clone()).await;
    }
    let shadow = start(&world, "skiff-shadow", &["--mode", "shadow"]).await;
    let reported = async |part: &str, text: &str| {
        until(&format!("the report says '{text}' in {part}"), || async {
            let report =
                world.get("v1", "ConfigMap", &world.argocd, "skiff-shadow").await.ok_or("there is none")?;
            let found = report["data"][part].as_str().unwrap_or_default();
            if found.contains(text) { Ok(()) } else { Err(report["data"].to_string()) }
        })
        .await;
    };
    let name = format!("{}/{}", world.argocd, world.unique("app"));
    reported("equal.yaml", &name).await;
    world.delete("v1", "ConfigMap", &world.shop, "settings").await;
    reported("different.yaml", "ConfigMap:").await;
    assert_eq!(refusals(&shadow), Vec::<String>::new());
    let after = world.read_application("app").await.unwrap();
    assert_eq!(after["metadata"]["resourceVersion"], before["metadata"]["resourceVersion"]);
    for kind in ["ClusterRoleBinding", "ClusterRole"] {
        world.delete("rbac.authorization.k8s.io/v1", kind, "", "skiff-shadow").await;
    }
}

/// A Pod of a pipeline's Task.
fn pod(world: &World, task: &str, security: Value) -> Value {
    let labels = json!({ "tekton.dev/task": task });
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": "step", "namespace": world.shop, "labels": labels },
        "spec": { "containers": [{ "name": "step", "image": "step:1" }] },
    });
    pod["spec"]["containers"][0]["securityContext"] = security;
    pod
}

#[tokio::test(flavor = "multi_thread")]
async fn in_the_namespace_of_the_pipeline_only_the_build_is_less_than_restricted() {
    let world = World::new().await;
    let folder = process::manifest_directory().join("deploy/tekton/base");
    let said = process::run(process::skiff(&["render", folder.to_str().unwrap()])).await.expect(0, &[]);
    let documents = yaml::parse(said.out.as_bytes(), &yaml::Options::default()).unwrap();
    let mut own_names = Vec::new();
    let mut build = Value::Null;
    for document in documents {
        let mut object = document.value;
        let kind = object["kind"].as_str().unwrap().to_owned();
        if kind == "Namespace" {
            object["metadata"]["name"] = json!(world.shop);
        } else if kind.starts_with("ValidatingAdmissionPolicy") {
            object["metadata"]["name"] = json!(world.unique("restricted"));
            // kustomize does not know that the kind is the cluster's, and the API server passes over it.
            object["metadata"].as_object_mut().unwrap().remove("namespace");
            if let Some(policy) = object.pointer_mut("/spec/policyName") {
                *policy = json!(world.unique("restricted"));
            }
            own_names.push(kind);
        } else {
            if kind == "Task" && object["metadata"]["name"] == "build-image" {
                build = object["spec"]["steps"][0]["securityContext"].clone();
            }
            continue;
        }
        world.apply(object).await;
    }
    assert_eq!(own_names.len(), 2);
    let file = world.path("pod.json");
    let create = async |pod: Value| {
        std::fs::write(&file, pod.to_string()).unwrap();
        world.kubectl(&["create", "--dry-run=server", "-f", file.to_str().unwrap()]).await
    };
    until("the policy acts", || async {
        let said = create(pod(&world, "unit-test", json!({}))).await;
        if said.err.contains("denied request") { Ok(()) } else { Err(format!("{}{}", said.out, said.err)) }
    })
    .await;
    let restricted = json!({
        "runAsNonRoot": true, "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] },
        "seccompProfile": { "type": "RuntimeDefault" },
    });
    create(pod(&world, "unit-test", restricted.clone())).await.expect(0, &[]);
    create(pod(&world, "build-image", build.clone())).await.expect(0, &[]);
    for (change, says) in [
        (json!({ "allowPrivilegeEscalation": null }), "allowPrivilegeEscalation"),
        (json!({ "capabilities": { "drop": null } }), "drop the capabilities"),
        (json!({ "capabilities": { "add": ["SETUID"] } }), "NET_BIND_SERVICE"),
        (json!({ "runAsNonRoot": null }), "runAsNonRoot"),
        (json!({ "runAsNonRoot": false }), "runAsNonRoot"),
        (json!({ "runAsUser": 0 }), "runAsUser"),
        (json!({ "seccompProfile": null }), "seccompProfile"),
    ] {
        let mut security = restricted.clone();
        json_patch::merge(&mut security, &change);
        let said = create(pod(&world, "unit-test", security)).await;
        assert!(said.exit_code != 0 && said.err.contains(says), "{change}: {}", said.err);
    }
    // The build has what baseline permits, and no more.
    create(pod(&world, "build-image", json!({ "privileged": true })))
        .await
        .expect(1, &["violates PodSecurity"]);
    assert!(create(pod(&world, "unit-test", build)).await.exit_code != 0);
    for kind in own_names {
        world.delete("admissionregistration.k8s.io/v1", &kind, "", &world.unique("restricted")).await;
    }
}
