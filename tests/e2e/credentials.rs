//! Credentials of repositories: from Secrets to the server that asks for them.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use serde_json::{Value, json};
use skiff::files::RepoPath;
use skiff::git::{CommitId, writer::Change};

use super::{
    harness::{World, config_map},
    http_server::{Behaviour, HttpServer},
    world::Upstream,
};

/// A repository behind a server that wants a user and a password.
struct Private {
    upstream: Upstream,
    server: HttpServer,
}

impl Private {
    async fn new() -> Self {
        let upstream = Upstream::empty();
        let server = HttpServer::start(&upstream, Behaviour::basic("robot", "open sesame")).await;
        Self { upstream, server }
    }

    fn commit(&self, value: &str) -> CommitId {
        let path = RepoPath::parse("app/a.yaml").unwrap();
        self.upstream.commit("main", &[Change::Write(path, config_map("a", value).into_bytes())])
    }

    fn application(&self, world: &World) -> Value {
        let mut application = world.automated("orders", "app");
        application["spec"]["source"]["repoURL"] = json!(self.server.url().to_string());
        application
    }
}

/// A Secret with credentials, of one of the two types that there are.
fn credentials(world: &World, secret_type: &str, url: &str, password: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": "private",
            "namespace": world.argocd,
            "labels": { "argocd.argoproj.io/secret-type": secret_type },
        },
        "stringData": { "type": "git", "url": url, "username": "robot", "password": password },
    })
}

#[tokio::test]
async fn a_repository_secret_opens_the_repository_when_it_comes() {
    let (world, private) = (World::new().await, Private::new().await);
    let commit = private.commit("1");
    world.apply(private.application(&world)).await;
    let url = private.server.url().to_string();
    world.until_condition("orders", "ComparisonError", &format!("cannot log in to {url}")).await;
    world.apply(credentials(&world, "repository", &url, "open sesame")).await;
    let application = world.until_synced("orders", &commit).await;
    assert!(application.status.conditions.is_empty(), "{:?}", application.status.conditions);
}

#[tokio::test]
async fn a_template_opens_every_repository_below_its_url() {
    let (world, private) = (World::new().await, Private::new().await);
    let commit = private.commit("1");
    world.apply(credentials(&world, "repo-creds", &private.server.base(), "open sesame")).await;
    world.apply(private.application(&world)).await;
    world.until_synced("orders", &commit).await;
}

#[tokio::test]
async fn credentials_are_not_sent_to_another_repository() {
    let (world, private) = (World::new().await, Private::new().await);
    private.commit("1");
    let elsewhere = "http://127.0.0.1:1/repo";
    world.apply(credentials(&world, "repository", elsewhere, "open sesame")).await;
    world.apply(private.application(&world)).await;
    world.until_condition("orders", "ComparisonError", "cannot log in").await;
    let seen = private.server.seen();
    assert!(!seen.is_empty());
    assert!(seen.iter().all(|request| request.authorization.is_none()), "{seen:?}");
}

#[tokio::test]
async fn a_changed_password_counts_from_the_next_request_on() {
    let (world, private) = (World::new().await, Private::new().await);
    let url = private.server.url().to_string();
    private.commit("1");
    world.apply(credentials(&world, "repository", &url, "wrong")).await;
    world.apply(private.application(&world)).await;
    world.until_condition("orders", "ComparisonError", "cannot log in").await;
    world.apply(credentials(&world, "repository", &url, "open sesame")).await;
    let commit = private.commit("2");
    world.until_synced("orders", &commit).await;

    world.apply(credentials(&world, "repository", &url, "wrong again")).await;
    world
        .until("the new password is sent", async |_: &World| {
            let wrong = super::http_server::basic("robot", "wrong again");
            private
                .server
                .seen()
                .iter()
                .any(|request| request.authorization.as_ref() == Some(&wrong))
                .then_some(())
        })
        .await;
    world.refresh("orders").await;
    world.until_condition("orders", "ComparisonError", "cannot log in").await;
    assert!(world.get("v1", "ConfigMap", &world.namespace, "a").await.is_some(), "what was synced is lost");
}

/// A certificate that ends on the first of June.
fn certificate(year: i32) -> (String, String) {
    let mut parameters = CertificateParams::new(vec!["git.example.com".to_owned()]).unwrap();
    parameters.not_after = date_time_ymd(year, 6, 1);
    let key = KeyPair::generate().unwrap();
    (parameters.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

#[tokio::test]
async fn the_ends_of_credentials_are_metrics_and_nothing_else_of_them_is() {
    let world = World::new().await;
    let ((client, key), (authority, _)) = (certificate(2033), certificate(2034));
    let token = format!("e30.{}.c2VjcmV0", URL_SAFE_NO_PAD.encode(r#"{"exp":2000000000}"#));
    let mut secret = credentials(&world, "repository", "https://git.example.com/a", &token);
    secret["stringData"]["tlsClientCertData"] = json!(client);
    secret["stringData"]["tlsClientCertKey"] = json!(key);
    world.apply(secret).await;
    world
        .apply(json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": { "name": "argocd-tls-certs-cm", "namespace": world.argocd },
            "data": { "git.example.com": authority },
        }))
        .await;
    let metric = "skiff_credential_expiry_timestamp_seconds";
    let ends = |kind: &str, name: &str| [format!("kind=\"{kind}\""), format!("name=\"{name}\"")];
    for (labels, at) in [
        (ends("repository_client_certificate", "private"), "2033-06-01T00:00:00Z"),
        (ends("repository_token", "private"), "2033-05-18T03:33:20Z"),
        (ends("certificate_authority", "git.example.com"), "2034-06-01T00:00:00Z"),
    ] {
        let at = at.parse::<jiff::Timestamp>().unwrap().as_duration().as_secs_f64();
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        world.until_metric(metric, &labels, |value| (value - at).abs() < 1.0).await;
    }
    let text = world.metrics.text().unwrap();
    assert!(!text.contains(&token) && !text.contains("BEGIN") && !text.contains("MII"), "{text}");
    // What is gone is no longer told of.
    world.delete("v1", "Secret", &world.argocd, "private").await;
    world.until_metric(metric, &["name=\"private\""], |value| value == 0.0).await;
}
