//! `skiff install` and the Kustomize tree under `deploy/`.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::{Value, json};
use skiff::object::{GroupKind, yaml};

use crate::world::{World, manifest_directory, run, skiff, until};

/// The documents of a text, by kind and name.
fn objects(text: &str) -> BTreeMap<String, Value> {
    let documents = yaml::parse(text.as_bytes(), &yaml::Options::default()).unwrap();
    let named = documents.into_iter().map(|document| {
        let name = document.value["metadata"]["name"].as_str().unwrap();
        (format!("{}/{name}", document.value["kind"].as_str().unwrap()), document.value)
    });
    named.collect()
}

async fn dry_run(arguments: &[&str]) -> BTreeMap<String, Value> {
    let arguments = [&["install", "--dry-run"], arguments].concat();
    objects(&run(skiff(&arguments)).await.expect(0, &[]).out)
}

/// Definitions as the Prometheus operator brings them, without their schema.
fn monitoring_definitions() -> Vec<Value> {
    let definition = |kind: &str, plural: &str| {
        json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": { "name": format!("{plural}.monitoring.coreos.com") },
            "spec": {
                "group": "monitoring.coreos.com", "scope": "Namespaced",
                "names": { "kind": kind, "plural": plural, "singular": kind.to_lowercase(), "listKind": format!("{kind}List") },
                "versions": [{
                    "name": "v1", "served": true, "storage": true,
                    "schema": { "openAPIV3Schema": { "type": "object", "x-kubernetes-preserve-unknown-fields": true } },
                }],
            },
        })
    };
    vec![definition("ServiceMonitor", "servicemonitors"), definition("PrometheusRule", "prometheusrules")]
}

#[tokio::test]
async fn what_is_printed_is_what_the_kustomize_tree_renders_to() {
    for (folder, arguments) in [
        ("default", &[][..]),
        ("high-availability", &["--ha"]),
        ("least-privilege", &["--least-privilege"]),
        ("namespaced", &["--namespaced"]),
        ("shadow", &["--mode", "shadow"]),
    ] {
        let arguments = [arguments, &["--image", "skiff"]].concat();
        let printed = dry_run(&arguments).await;
        let folder = manifest_directory().join("deploy/install").join(folder);
        let rendered = run(skiff(&["render", folder.to_str().unwrap()])).await.expect(0, &[]);
        assert_eq!(printed, objects(&rendered.out), "{}", folder.display());
    }
}

#[tokio::test]
async fn the_options_choose_namespace_image_replicas_and_permissions() {
    let usual = dry_run(&[]).await;
    for key in [
        "Namespace/argocd",
        "CustomResourceDefinition/applications.argoproj.io",
        "CustomResourceDefinition/appprojects.argoproj.io",
        "ServiceAccount/skiff-agent",
        "ClusterRole/skiff-agent-cluster-wide",
        "Deployment/skiff-agent",
        "Service/skiff-agent-metrics",
        "PodDisruptionBudget/skiff-agent",
        "NetworkPolicy/skiff-agent",
        "ServiceMonitor/skiff-agent",
        "PrometheusRule/skiff-applications",
        "PrometheusRule/skiff-agent",
        "ConfigMap/skiff-dashboard",
    ] {
        assert!(usual.contains_key(key), "{key} is missing");
    }
    let chosen = dry_run(&[
        "--namespace",
        "gitops",
        "--ha",
        "--least-privilege",
        "--without-monitoring",
        "--image",
        "registry.example.com:5000/team/skiff:1.2@sha256:0123456789012345678901234567890123456789012345678901234567890123",
    ])
    .await;
    assert!(!chosen.keys().any(|key| key.contains("cluster-wide") || key.starts_with("Prometheus")));
    assert!(!chosen.contains_key("ServiceMonitor/skiff-agent") && chosen.contains_key("Namespace/gitops"));
    for (key, object) in &chosen {
        let namespace = object["metadata"].get("namespace");
        assert!(namespace.is_none_or(|namespace| namespace == "gitops"), "{key}");
        for subject in object["subjects"].as_array().into_iter().flatten() {
            assert_eq!(subject["namespace"], "gitops", "{key}");
        }
    }
    let deployment = &chosen["Deployment/skiff-agent"]["spec"];
    assert_eq!(deployment["replicas"], 2);
    assert!(deployment["template"]["spec"]["topologySpreadConstraints"].is_array());
    let container = &deployment["template"]["spec"]["containers"][0];
    let image = container["image"].as_str().unwrap();
    assert!(
        image.starts_with("registry.example.com:5000/team/skiff") && image.contains("@sha256:0123"),
        "{image}"
    );
    for wrong in ["", ":1", "skiff:", "two words"] {
        run(skiff(&["install", "--dry-run", "--image", wrong])).await.expect(1, &["--image", "is no image"]);
    }
}

#[tokio::test]
async fn nothing_runs_with_more_than_it_needs() {
    let printed = dry_run(&[]).await;
    let pod = &printed["Deployment/skiff-agent"]["spec"]["template"]["spec"];
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    for container in pod["containers"].as_array().unwrap() {
        let context = &container["securityContext"];
        assert_eq!(context["readOnlyRootFilesystem"], true);
        assert_eq!(context["allowPrivilegeEscalation"], false);
        assert_eq!(context["capabilities"]["drop"], json!(["ALL"]));
        assert!(container["resources"]["requests"]["memory"].is_string());
    }
    // Metrics and probes are all that anybody may reach.
    let ingress = &printed["NetworkPolicy/skiff-agent"]["spec"]["ingress"];
    assert_eq!(ingress, &json!([{ "ports": [{ "port": "metrics", "protocol": "TCP" }] }]));
}

#[tokio::test(flavor = "multi_thread")]
async fn installing_is_repeatable_and_brings_a_cluster_to_work() {
    let world = World::bare().await;
    let said = world.skiff(&["install"]).await.expect(
        0,
        &["created    apps/Deployment:argocd/skiff-agent", "left out   1 ServiceMonitor", "rollout status"],
    );
    assert!(!said.out.contains("unchanged"), "{}", said.out);
    let again = world.skiff(&["install"]).await.expect(0, &["kept       Namespace"]);
    assert!(!again.out.contains("created") && !again.out.contains("changed    apps/"), "{}", again.out);
    world
        .skiff(&["install", "--ha", "--image", "registry.example.com/skiff:2"])
        .await
        .expect(0, &["changed    apps/Deployment:argocd/skiff-agent"]);
    let deployment =
        world.sandbox.store().get(&GroupKind::new("apps", "Deployment"), "argocd", "skiff-agent");
    assert_eq!(
        deployment.unwrap()["spec"]["template"]["spec"]["containers"][0]["image"],
        "registry.example.com/skiff:2"
    );
    for definition in monitoring_definitions() {
        world.apply(definition).await;
    }
    until("monitoring is installed too", || async {
        let said = world.skiff(&["install"]).await;
        if said.out.contains("ServiceMonitor:argocd/skiff-agent") { Ok(()) } else { Err(said.out) }
    })
    .await;
}

/// Argo CD's application controller, with the labels that its installation gives it.
fn application_controller(kind: &str, labels: &Value, replicas: u32) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": kind,
        "metadata": { "name": "application-controller", "namespace": "argocd", "labels": labels },
        "spec": {
            "replicas": replicas, "selector": { "matchLabels": labels },
            "template": { "metadata": { "labels": labels }, "spec": { "containers": [{ "name": "c", "image": "argocd:3" }] } },
        },
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_installed_beside_a_running_argo_cd() {
    let world = World::bare().await;
    world.apply(json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "argocd" } })).await;
    let by_name = json!({ "app.kubernetes.io/name": "argocd-application-controller" });
    let by_operator = json!({
        "app.kubernetes.io/name": "shop-application-controller",
        "app.kubernetes.io/part-of": "argocd",
        "app.kubernetes.io/component": "application-controller",
    });
    for (kind, labels) in [("StatefulSet", by_name), ("Deployment", by_operator)] {
        world.apply(application_controller(kind, &labels, 1)).await;
        let workload = format!("{}/application-controller", kind.to_lowercase());
        let scale = format!("kubectl -n argocd scale {workload} --replicas=0");
        let said = world.skiff(&["install"]).await.expect(1, &[&workload, &scale, "--mode shadow"]);
        assert_eq!(said.out, "");
        world.apply(application_controller(kind, &labels, 0)).await;
    }
    world.skiff(&["install"]).await.expect(0, &["created    apps/Deployment:argocd/skiff-agent"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shadow_is_installed_beside_a_running_argo_cd_and_may_only_read() {
    let world = World::bare().await;
    world.apply(json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "argocd" } })).await;
    let labels = json!({ "app.kubernetes.io/name": "argocd-application-controller" });
    world.apply(application_controller("StatefulSet", &labels, 1)).await;
    world.skiff(&["install", "--mode", "shadow"]).await.expect(1, &["skiff crds | kubectl apply"]);
    for definition in skiff::api::crd::definitions() {
        world.apply(crate::world::parse(&definition.to_yaml())).await;
    }
    until("it is installed once the definitions are served", || async {
        let said = world.skiff(&["install", "--mode", "shadow"]).await;
        if said.out.contains("apps/Deployment:argocd/skiff-shadow") { Ok(()) } else { Err(said.err) }
    })
    .await;
    let again = world.skiff(&["install", "--mode", "shadow"]).await.expect(0, &["configmap skiff-shadow"]);
    assert!(!again.out.contains("created") && !again.out.contains("note"), "{}", again.out);
    // None of its names is one of the agent's, so that both can be told apart and taken away.
    let printed = dry_run(&["--mode", "shadow"]).await;
    let agents: Vec<String> = dry_run(&[]).await.into_keys().collect();
    assert!(printed.keys().all(|key| !agents.contains(key)), "{:?}", printed.keys());
    let arguments = &printed["Deployment/skiff-shadow"]["spec"]["template"]["spec"]["containers"][0]["args"];
    assert!(arguments.to_string().contains("--mode=shadow"), "{arguments}");
    for rule in printed["ClusterRole/skiff-shadow"]["rules"].as_array().unwrap() {
        for verb in rule["verbs"].as_array().unwrap() {
            let verb = verb.as_str().unwrap();
            assert!(["get", "list", "watch"].contains(&verb), "{rule}");
            // It would be a way into Pods and nodes.
            let everything = rule["apiGroups"].to_string().contains('*')
                || (rule["apiGroups"] == json!([""]) && rule["resources"].to_string().contains('*'));
            assert!(verb != "get" || !everything, "{rule}");
        }
    }
    let rules = &printed["Role/skiff-shadow"]["rules"];
    assert_eq!(
        rules,
        &json!([{
            "apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["skiff-shadow"], "verbs": ["create", "patch"],
        }])
    );
    for option in ["--ha", "--namespaced", "--least-privilege"] {
        run(skiff(&["install", "--dry-run", "--mode", "shadow", option]))
            .await
            .expect(1, &["has no variants"]);
    }
    world.apply(application_controller("StatefulSet", &labels, 0)).await;
    world.skiff(&["install", "--mode", "shadow"]).await.expect(0, &["no Argo CD controller is seen"]);
    // A namespace that is not brought has to be there, before anything is applied.
    for options in [["--mode=shadow", "--namespace=nobody"], ["--namespaced", "--target-namespaces=nobody"]] {
        let said = world.skiff(&[&["install"], &options[..]].concat()).await;
        let said = said.expect(1, &["namespace 'nobody' does not exist"]);
        assert!(!said.out.contains("created") && !said.out.contains("changed"), "{}", said.out);
    }
}

#[tokio::test]
async fn a_namespaced_installation_holds_nothing_of_the_cluster_as_a_whole() {
    let arguments =
        ["--namespaced", "--namespace", "gitops", "--target-namespaces", "shop-dev,shop-production", "--ha"];
    let said = run(skiff(&[&["install", "--dry-run"], &arguments[..]].concat())).await.expect(0, &[]);
    assert!(
        said.out.starts_with("# Once, by a cluster administrator: skiff crds | kubectl apply"),
        "{}",
        said.out
    );
    let documents = yaml::parse(said.out.as_bytes(), &yaml::Options::default()).unwrap();
    let mut bound = Vec::new();
    for document in &documents {
        let object = &document.value;
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
        assert!(!namespace.is_empty(), "{object}");
        assert!(object["metadata"]["name"] == "skiff-agent-namespace" || namespace == "gitops", "{object}");
        if object["kind"] == "RoleBinding" {
            assert_eq!(object["subjects"][0]["namespace"], "gitops", "{object}");
            if object["metadata"]["name"] == "skiff-agent-namespace" {
                bound.push(namespace.to_owned());
            }
        }
    }
    bound.sort();
    assert_eq!(bound, ["gitops", "shop-dev", "shop-production"]);
    let deployment = &objects(&said.out)["Deployment/skiff-agent"]["spec"];
    assert_eq!(deployment["replicas"], 2);
    let arguments = deployment["template"]["spec"]["containers"][0]["args"].to_string();
    assert!(
        arguments.contains("--namespaced")
            && arguments.contains("--target-namespaces=shop-dev,shop-production"),
        "{arguments}"
    );
    run(skiff(&["install", "--dry-run", "--namespaced", "--target-namespaces", "../crds"]))
        .await
        .expect(1, &["'../crds' is no name of a namespace"]);
    run(skiff(&["install", "--dry-run", "--target-namespaces", "shop"])).await.expect(2, &["--namespaced"]);
}

/// Every file of a folder, with its path below the repository.
fn files(folder: &Path, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else {
            let name = path.strip_prefix(manifest_directory()).unwrap().to_str().unwrap().to_owned();
            found.push((name, fs::read_to_string(&path).unwrap()));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn skiff_manages_itself() {
    let world = World::bare().await;
    for definition in monitoring_definitions() {
        world.apply(definition).await;
    }
    world.skiff(&["install"]).await.expect(0, &["created"]);
    let agent = world.start_agent("first");
    agent.until_ready().await;
    let mut tree = Vec::new();
    files(&manifest_directory().join("deploy"), &mut tree);
    let commit = |tree: &[(String, String)]| {
        world.commit(&tree.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect::<Vec<_>>())
    };
    let revision = commit(&tree);
    let text = fs::read_to_string(manifest_directory().join("deploy/self-managed/application.yaml")).unwrap();
    let mut application = crate::world::parse(&text);
    application["spec"]["source"]["repoURL"] =
        json!(format!("file://{}", world.path("repository").display()));
    world.apply(application).await;
    let synced = |revision: String| {
        move |application: &Value| {
            let status = &application["status"];
            status["sync"]["revision"] == revision
                && status["sync"]["status"] == "Synced"
                && status["operationState"]["phase"] == "Succeeded"
        }
    };
    world.until_application("skiff", "has taken over what was installed", synced(revision)).await;
    // An upgrade is a commit.
    let name = "deploy/install/default/kustomization.yaml";
    let (_, text) = tree.iter_mut().find(|(path, _)| path == name).unwrap();
    text.push_str("images:\n  - name: skiff\n    newName: registry.example.com/skiff\n    newTag: \"2.0\"\n");
    let revision = commit(&tree);
    world.until_application("skiff", "has upgraded itself", synced(revision)).await;
    let deployment =
        world.sandbox.store().get(&GroupKind::new("apps", "Deployment"), "argocd", "skiff-agent");
    let image = deployment.unwrap()["spec"]["template"]["spec"]["containers"][0]["image"].clone();
    assert_eq!(image, "registry.example.com/skiff:2.0");
}
