//! Secret values and credentials reach the API server and the host that they belong to, and nothing else.
//!
//! Words that appear nowhere else are planted wherever a secret can stand. Then everything that the agent produced is
//! searched for them: its log at the finest level, the bodies of all its requests but a Secret's own, the Applications, the
//! events, the metrics, and what `skiff app diff` prints.

use std::{
    io::Write,
    sync::{Arc, Mutex, OnceLock},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::json;
use skiff::{
    api::OperationPhase,
    cli::agent::log_filter,
    sandbox::fault::{Fault, FaultRule},
};
use tracing_subscriber::fmt::MakeWriter;

use super::{
    cli::skiff_app,
    harness::{World, config_map},
};

/// All that was logged in this process since somebody began to listen.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Listens to all threads, since rendering and Git have threads of their own.
    fn listen() -> Self {
        static LOG: OnceLock<Log> = OnceLock::new();
        let log = LOG.get_or_init(|| {
            let log = Log::default();
            let subscriber = tracing_subscriber::fmt()
                .with_env_filter(log_filter("trace").unwrap())
                .with_ansi(false)
                .with_writer(log.clone())
                .finish();
            tracing::subscriber::set_global_default(subscriber).unwrap();
            log
        });
        log.clone()
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// Searches everything that left the agent for a word, as it is and in base64.
async fn assert_told_nobody(world: &World, log: &Log, printed: &str, secret: &str) {
    // Base64 of a part depends on where it begins; the words are encoded as whole values.
    let encoded = STANDARD.encode(secret);
    let mut places =
        vec![("the log".to_owned(), log.text()), ("the metrics".to_owned(), world.metrics.text().unwrap())];
    places.push(("what was printed".to_owned(), printed.to_owned()));
    for sent in world.requests.sent() {
        let own = sent.uri.contains("/secrets/");
        let body = if own { String::new() } else { sent.body() };
        places.push((format!("{} {}", sent.method, sent.uri), format!("{}{body}", sent.uri)));
    }
    for (kind, api_version) in [("Event", "v1"), ("Application", "argoproj.io/v1alpha1")] {
        for name in world.names(api_version, kind, &world.argocd).await {
            let mut object = world.get(api_version, kind, &world.argocd, &name).await.unwrap();
            object["spec"] = json!(null);
            places.push((format!("{kind} {name}"), object.to_string()));
        }
    }
    for (place, text) in places {
        for word in [secret, &encoded] {
            if let Some(at) = text.find(word) {
                let from =
                    (0..at).rev().filter(|at| text.is_char_boundary(*at)).take(300).last().unwrap_or(0);
                panic!("'{secret}' got into {place}: …{}", &text[from..at + word.len()]);
            }
        }
    }
}

fn secret(name: &str, rest: &str) -> String {
    format!("apiVersion: v1\nkind: Secret\nmetadata:\n  name: {name}\n{rest}")
}

#[tokio::test]
async fn values_of_secrets_in_manifests_are_told_nobody() {
    let log = Log::listen();
    let world = World::new().await;
    let plain = secret("plain", "stringData:\n  password: canary-in-string-data\n");
    let encoded = secret("encoded", &format!("data:\n  password: {}\n", STANDARD.encode("canary-in-data")));
    world.repository.commit(&[
        ("app/plain.yaml", Some(&plain)),
        ("app/encoded.yaml", Some(&encoded)),
        (
            "generated/kustomization.yaml",
            Some("secretGenerator:\n- name: made\n  literals: [password=canary-generated]\n"),
        ),
        ("refused/a.yaml", Some(&secret("refused", "stringDatas:\n  password: canary refused!\n"))),
        ("wrong/a.yaml", Some(&secret("wrong", "data:\n  password: [canary-in-a-list]\n"))),
        (
            "garbled/a.yaml",
            Some(&secret("garbled", "stringData:\n  password: \"canary-garbled\n  other: *canary-alias\n")),
        ),
        (
            "frozen/a.yaml",
            Some(&secret("frozen", "immutable: true\nstringData:\n  password: canary-first\n")),
        ),
        ("forbidden/a.yaml", Some(&secret("forbidden", "stringData:\n  password: canary-forbidden\n"))),
    ]);
    world.faults.inject(FaultRule::on("patch", "secrets").named("forbidden"), Fault::Forbidden);
    for path in ["app", "generated", "refused", "wrong", "garbled", "frozen", "forbidden"] {
        let mut application = world.automated(path, path);
        application["spec"]["syncPolicy"]["automated"]["selfHeal"] = json!(false);
        world.apply(application).await;
    }
    for path in ["app", "generated", "frozen"] {
        world.until_operation(path, OperationPhase::Succeeded).await;
    }
    for path in ["refused", "wrong", "garbled", "forbidden"] {
        world
            .until_application(path, "has a problem", |application| {
                let failing = application.status.operation_state.as_ref();
                let failing = failing.is_some_and(|state| {
                    state.phase != OperationPhase::Succeeded && !state.message.is_empty()
                });
                failing || !application.status.conditions.is_empty()
            })
            .await;
    }
    // What is live differs from what is declared, and the other way round.
    world.change_spec("app", json!({ "syncPolicy": { "automated": null } })).await;
    let live = json!({ "stringData": { "password": "canary-live" } });
    world.patch("v1", "Secret", &world.namespace, "plain", live).await;
    world.repository.commit(&[(
        "frozen/a.yaml",
        Some(&secret("frozen", "immutable: true\nstringData:\n  password: canary-second\n")),
    )]);
    let frozen = format!("Secret:{}/frozen", world.namespace);
    world
        .until_application("frozen", "fails to sync", |application| {
            let state = application.status.operation_state.as_ref().unwrap();
            state.phase != OperationPhase::Succeeded && state.message.contains(&frozen)
        })
        .await;
    world.until_status("app", skiff::api::SyncStatusCode::OutOfSync).await;
    let mut printed = String::new();
    for command in ["diff app", "diff frozen", "get app", "get frozen -o json", "get refused -o yaml"] {
        let said = skiff_app(&world, command).await;
        printed.push_str(&format!("{}{}", said.out, said.err));
    }
    assert!(printed.contains("password"), "the diff names the key: {printed}");
    assert!(log.text().contains("reconcile"), "the log was not heard");
    for canary in [
        "canary-in-string-data",
        "canary-in-data",
        "canary-generated",
        "canary refused!",
        "canary-in-a-list",
        "canary-garbled",
        "canary-first",
        "canary-second",
        "canary-forbidden",
        "canary-live",
    ] {
        assert_told_nobody(&world, &log, &printed, canary).await;
    }
    let stored = world.get("v1", "Secret", &world.namespace, "encoded").await.unwrap();
    assert_eq!(stored["data"]["password"], STANDARD.encode("canary-in-data"));
}

#[tokio::test]
async fn credentials_of_repositories_are_told_nobody() {
    let log = Log::listen();
    let world = World::new().await;
    // A server that hangs up on everybody.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        loop {
            drop(listener.accept().await);
        }
    });
    let data = [
        (
            "password",
            json!({ "url": format!("{base}/password.git"), "username": "robot", "password": "canary-password" }),
        ),
        ("token", json!({ "url": format!("{base}/token.git"), "bearerToken": "canary-token" })),
        ("key", json!({ "url": "ssh://git@127.0.0.1:1/key.git", "sshPrivateKey": "canary-broken-key" })),
        (
            "proxy",
            json!({ "url": format!("{base}/proxy.git"), "proxy": "http://user:canary-proxy@127.0.0.1:1" }),
        ),
    ];
    for (name, data) in data {
        let metadata = json!({
            "name": name,
            "namespace": world.argocd,
            "labels": { "argocd.argoproj.io/secret-type": "repository" },
        });
        let url = data["url"].clone();
        world
            .apply(json!({ "apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": data }))
            .await;
        let mut application = world.automated(name, "app");
        application["spec"]["source"]["repoURL"] = url;
        world.apply(application).await;
    }
    let mut application = world.automated("in-the-url", "app");
    let host = base.trim_start_matches("http://");
    application["spec"]["source"]["repoURL"] = json!(format!("http://robot:canary-in-url@{host}/url.git"));
    world.apply(application).await;
    for name in ["password", "token", "key", "proxy", "in-the-url"] {
        world
            .until_application(name, "has a condition", |application| {
                !application.status.conditions.is_empty()
            })
            .await;
    }
    let refused = world.read_application("in-the-url").await;
    assert!(refused.status.conditions.iter().any(|condition| {
        condition.condition_type == "InvalidSpecError" && condition.message.contains("repository")
    }));
    // One whose repository answers, so that a commit is reached with credentials at hand, too.
    let commit = world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "1")))]);
    world.apply(world.automated("orders", "app")).await;
    world.until_synced("orders", &commit).await;
    let mut printed = String::new();
    for name in ["password", "token", "key", "proxy"] {
        let said = skiff_app(&world, &format!("get {name}")).await;
        printed.push_str(&format!("{}{}", said.out, said.err));
    }
    for canary in ["canary-password", "canary-token", "canary-broken-key", "canary-proxy", "canary-in-url"] {
        assert_told_nobody(&world, &log, &printed, canary).await;
    }
    server.abort();
}
