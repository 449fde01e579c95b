//! kubectl against the sandbox on a socket. Skipped, loudly, where there is no kubectl.

use std::process::Stdio;
use std::time::Duration;

use serde_json::json;
use skiff::sandbox::{ServeOptions, Server};
use tempfile::TempDir;

use super::World;

struct Kubectl {
    folder: TempDir,
    _server: Server,
    world: World,
}

impl Kubectl {
    async fn new(tls: bool) -> Option<Self> {
        let found = std::process::Command::new("kubectl")
            .args(["version", "--client"])
            .stdout(Stdio::null())
            .status();
        if !found.is_ok_and(|status| status.success()) {
            assert!(std::env::var_os("CI").is_none(), "kubectl is missing: in CI its tests must run");
            eprintln!("SKIPPED: kubectl is not installed, so its tests were not run");
            return None;
        }
        let world = World::new();
        let server = world.sandbox.serve(ServeOptions { tls, ..ServeOptions::default() }).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("kubeconfig"), server.kubeconfig().to_string()).unwrap();
        Some(Self { folder, _server: server, world })
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    async fn run(&self, arguments: &[&str]) -> (bool, String) {
        let kubeconfig = self.folder.path().join("kubeconfig");
        let home = self.folder.path().to_path_buf();
        let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let output = tokio::task::spawn_blocking(move || {
            std::process::Command::new("kubectl")
                .args(&arguments)
                .env("KUBECONFIG", kubeconfig)
                .env("HOME", home)
                .env("KUBE_EDITOR", "sed -i s/replicas:.*/replicas:\\ 6/")
                .output()
                .unwrap()
        });
        let output =
            tokio::time::timeout(Duration::from_secs(60), output).await.expect("kubectl ends").unwrap();
        let text =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        (output.status.success(), text)
    }

    async fn ok(&self, arguments: &[&str]) -> String {
        let (success, text) = self.run(arguments).await;
        assert!(success, "kubectl {arguments:?}: {text}");
        text
    }
}

const MANIFEST: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: 'example/web:1'}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
";

async fn works(tls: bool) {
    let Some(kubectl) = Kubectl::new(tls).await else {
        return;
    };
    let manifest = kubectl.file("web.yaml", MANIFEST);
    let text = kubectl.ok(&["apply", "--server-side", "-f", &manifest]).await;
    assert!(text.contains("deployment.apps/web serverside-applied"), "{text}");
    let text = kubectl.ok(&["get", "deployments", "-o", "wide"]).await;
    assert!(text.contains("NAME") && text.contains("example/web:1"), "{text}");
    kubectl.ok(&["wait", "--for=condition=Available", "deployment/web", "--timeout=30s"]).await;
    kubectl.ok(&["rollout", "status", "deployment/web", "--timeout=30s"]).await;
    kubectl.ok(&["scale", "deployment/web", "--replicas=3"]).await;
    assert_eq!(kubectl.ok(&["get", "deploy", "web", "-o", "jsonpath={.spec.replicas}"]).await, "3");
    let text = kubectl.ok(&["edit", "deployment", "web"]).await;
    assert!(text.contains("edited"), "{text}");
    assert_eq!(kubectl.ok(&["get", "deploy", "web", "-o", "jsonpath={.spec.replicas}"]).await, "6");
    kubectl.ok(&["label", "service", "web", "tier=front"]).await;
    kubectl.ok(&["annotate", "service", "web", "note=x"]).await;
    kubectl.ok(&["set", "image", "deployment/web", "web=example/web:2"]).await;
    let text = kubectl.ok(&["get", "all", "-A"]).await;
    assert!(text.contains("service/kubernetes") && text.contains("deployment.apps/web"), "{text}");
    let text = kubectl.ok(&["get", "deploy", "web", "-o", "yaml"]).await;
    assert!(text.contains("image: example/web:2"), "{text}");
    let (success, text) = kubectl.run(&["apply", "--server-side", "-f", &manifest]).await;
    assert!(!success && text.contains("conflict"), "{text}");
    kubectl.ok(&["apply", "--server-side", "--force-conflicts", "-f", &manifest]).await;
    kubectl.ok(&["delete", "-f", &manifest, "--timeout=30s"]).await;
    kubectl.ok(&["wait", "--for=delete", "deployment/web", "--timeout=30s"]).await;
    let (success, text) = kubectl.run(&["get", "deploy", "web"]).await;
    assert!(
        !success && text.contains("Error from server (NotFound): deployments.apps \"web\" not found"),
        "{text}"
    );
    let users = kubectl.world.sandbox.requests().all();
    assert!(users.iter().any(|record| record.user_agent.starts_with("kubectl/")));
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_works_over_http() {
    works(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_works_over_https() {
    works(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_apply_create_diff_and_namespaces_work() {
    let Some(kubectl) = Kubectl::new(false).await else {
        return;
    };
    let manifest = kubectl.file("web.yaml", MANIFEST);
    let namespace = kubectl.file("ns.yaml", "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n");
    kubectl.ok(&["create", "-f", &namespace]).await;
    // These commands send protobuf.
    kubectl.ok(&["create", "namespace", "desk"]).await;
    kubectl.ok(&["-n", "desk", "create", "configmap", "c", "--from-literal=a=1"]).await;
    kubectl.ok(&["-n", "desk", "create", "secret", "generic", "s", "--from-literal=a=1"]).await;
    kubectl.ok(&["-n", "desk", "create", "deployment", "web", "--image=example/web:1", "--port=80"]).await;
    kubectl.ok(&["-n", "desk", "create", "service", "nodeport", "web", "--tcp=80:http"]).await;
    let text = kubectl.ok(&["-n", "desk", "get", "configmap,secret,deployment,service", "-o", "yaml"]).await;
    for wanted in ["a: \"1\"", "a: MQ==", "image: example/web:1", "containerPort: 80", "targetPort: http"] {
        assert!(text.contains(wanted), "{wanted}: {text}");
    }
    let text = kubectl.ok(&["-n", "shop", "apply", "-f", &manifest]).await;
    assert!(text.contains("deployment.apps/web created"), "{text}");
    let text = kubectl.ok(&["-n", "shop", "apply", "-f", &manifest]).await;
    assert!(text.contains("deployment.apps/web unchanged"), "{text}");
    kubectl.ok(&["-n", "shop", "diff", "-f", &manifest]).await;
    let broken = kubectl.file("broken.yaml", &MANIFEST.replace("replicas: 2", "replica: 2"));
    let (success, text) = kubectl.run(&["-n", "shop", "apply", "-f", &broken]).await;
    assert!(!success && text.contains("unknown field \"spec.replica\""), "{text}");
    let text = kubectl.ok(&["api-resources"]).await;
    assert!(text.contains("deployments") && text.contains("deploy "), "{text}");
    kubectl.ok(&["delete", "namespace", "shop", "--timeout=30s"]).await;
    let (success, _) = kubectl.run(&["get", "namespace", "shop"]).await;
    assert!(!success);
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_prints_the_columns_of_a_crd() {
    let Some(kubectl) = Kubectl::new(false).await else {
        return;
    };
    let crd = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "shortNames": ["wd"]},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
                "additionalPrinterColumns": [{"name": "Size", "type": "integer", "jsonPath": ".spec.size"}],
            }],
        },
    });
    let crd = kubectl.file("crd.json", &crd.to_string());
    kubectl.ok(&["apply", "-f", &crd]).await;
    kubectl.ok(&["wait", "--for=condition=Established", "crd/widgets.example.com", "--timeout=30s"]).await;
    let widget = kubectl.file(
        "widget.yaml",
        "apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: w}\nspec: {size: 42}\n",
    );
    kubectl.ok(&["apply", "-f", &widget]).await;
    let text = kubectl.ok(&["get", "wd"]).await;
    assert!(text.contains("SIZE") && text.contains("42"), "{text}");
    kubectl.ok(&["delete", "widget", "w"]).await;
}
