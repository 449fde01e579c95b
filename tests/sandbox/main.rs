//! The sandbox answers as a Kubernetes API server does: through the kube client, plain requests and kubectl.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::needless_pass_by_value
)]

mod apply;
mod crd;
mod delete;
mod discovery;
mod faults;
mod kubectl;
mod objects;
mod patch;
mod read;
mod watch;

use std::time::Duration;

use http_body_util::BodyExt as _;
use kube::client::Body;
use serde_json::{Value, json};
use skiff::object::GroupKind;
use skiff::sandbox::Sandbox;

/// A sandbox and short ways to ask it things.
struct World {
    sandbox: Sandbox,
}

/// The code and the body of an answer.
type Answer = (u16, Value);

impl World {
    fn new() -> Self {
        Self { sandbox: Sandbox::builder().build() }
    }

    async fn send(&self, method: &str, path: &str, content_type: &str, body: &str) -> Answer {
        self.send_with(method, path, &[("content-type", content_type)], body).await
    }

    async fn send_with(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let (code, _, body) = self.exchange(method, path, headers, body).await;
        (code, serde_json::from_str(&body).unwrap_or(Value::String(body)))
    }

    async fn exchange(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> (u16, http::HeaderMap, String) {
        let mut request =
            http::Request::builder().method(method).uri(path).header("user-agent", "tester/1.0");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body.as_bytes().to_vec())).unwrap();
        let response = self.sandbox.client().send(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        (parts.status.as_u16(), parts.headers, String::from_utf8(bytes.to_vec()).unwrap())
    }

    async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, "", "").await
    }

    async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send("POST", path, "application/json", &body.to_string()).await
    }

    async fn put(&self, path: &str, body: &Value) -> Answer {
        self.send("PUT", path, "application/json", &body.to_string()).await
    }

    async fn merge(&self, path: &str, body: &Value) -> Answer {
        self.send("PATCH", path, "application/merge-patch+json", &body.to_string()).await
    }

    async fn apply(&self, path: &str, body: &Value) -> Answer {
        self.send("PATCH", path, "application/apply-patch+yaml", &body.to_string()).await
    }

    async fn delete(&self, path: &str, options: &Value) -> Answer {
        self.send("DELETE", path, "application/json", &options.to_string()).await
    }

    /// Waits until an object fits, and says what it was otherwise.
    async fn wait(&self, kind: &str, namespace: &str, name: &str, fits: impl Fn(Option<&Value>) -> bool) {
        let (group, kind) = kind.rsplit_once('/').unwrap_or(("", kind));
        let kind = GroupKind::new(group, kind);
        let mut changes = self.sandbox.store().watch(&kind);
        let waiting = async {
            loop {
                let object = self.sandbox.store().get(&kind, namespace, name);
                if fits(object.as_ref()) {
                    return;
                }
                changes.next().await;
            }
        };
        if tokio::time::timeout(Duration::from_secs(20), waiting).await.is_err() {
            let object = self.sandbox.store().get(&kind, namespace, name);
            panic!("{kind} {namespace}/{name} never came to be as expected: {object:#?}");
        }
    }

    async fn wait_gone(&self, kind: &str, namespace: &str, name: &str) {
        self.wait(kind, namespace, name, |object| object.is_none()).await;
    }
}

fn config_map(name: &str, data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})
}

fn deployment(name: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "web", "image": "example/web:1"}]},
            },
        },
    })
}

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";

fn reason(answer: &Answer) -> (u16, &str) {
    (answer.0, answer.1["reason"].as_str().unwrap_or_default())
}
