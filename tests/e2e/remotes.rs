//! Remote bases of kustomizations: permitted, fetched with credentials, followed.

use std::sync::{Arc, Mutex};

use axum::{Router, extract::State, http::StatusCode, routing::get};
use serde_json::{Value, json};
use skiff::{
    api::names,
    files::RepoPath,
    git::{CommitId, writer::Change},
};

use super::{
    harness::{World, config_map},
    http_server::{Behaviour, HttpServer},
    world::Upstream,
};

/// A repository of bases behind a Git server.
struct Bases {
    upstream: Upstream,
    server: HttpServer,
}

impl Bases {
    async fn new(behaviour: Behaviour) -> Self {
        let upstream = Upstream::empty();
        let server = HttpServer::start(&upstream, behaviour).await;
        let bases = Self { upstream, server };
        bases.commit("main", "web/kustomization.yaml", "resources: [a.yaml]\n");
        bases
    }

    fn commit(&self, branch: &str, path: &str, content: &str) -> CommitId {
        let path = RepoPath::parse(path).unwrap();
        self.upstream.commit(branch, &[Change::Write(path, content.as_bytes().to_vec())])
    }

    /// The value of the ConfigMap `a` in the base.
    fn declare(&self, value: &str) -> CommitId {
        self.commit("main", "web/a.yaml", &config_map("a", value))
    }

    /// A kustomization that reads the base with these parameters.
    fn overlay(&self, parameters: &str) -> String {
        format!("resources: ['{}//web{parameters}']\n", self.server.url())
    }
}

async fn until_value(world: &World, value: &str) {
    world
        .until(&format!("ConfigMap a has the value {value}"), async |world: &World| {
            let live = world.get("v1", "ConfigMap", &world.namespace, "a").await?;
            (live["data"]["key"] == value).then_some(())
        })
        .await;
}

/// Synced by itself when a revision is new; drift is left alone.
fn without_healing(world: &World) -> Value {
    let mut application = world.automated("orders", "app");
    application["spec"]["syncPolicy"]["automated"] = json!({});
    application
}

#[tokio::test]
async fn a_remote_base_is_read_with_its_credentials_and_followed() {
    let (world, bases) = (World::new().await, Bases::new(Behaviour::basic("robot", "open sesame")).await);
    bases.declare("1");
    let overlay = bases.overlay("?ref=main");
    let commit = world.repository.commit(&[("app/kustomization.yaml", Some(&overlay))]);
    world.apply(without_healing(&world)).await;
    let text = format!("remote base '{}?ref=main': cannot log in", bases.server.url());
    world.until_condition("orders", names::CONDITION_COMPARISON_ERROR, &text).await;
    world
        .apply(json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": "bases",
                "namespace": world.argocd,
                "labels": { "argocd.argoproj.io/secret-type": "repo-creds" },
            },
            "stringData": {
                "type": "git", "url": bases.server.base(), "username": "robot", "password": "open sesame",
            },
        }))
        .await;
    world.until_synced("orders", &commit).await;
    until_value(&world, "1").await;
    bases.declare("2");
    until_value(&world, "2").await;
    world.until_synced("orders", &commit).await;
    bases.declare("3");
    until_value(&world, "3").await;
}

#[tokio::test]
async fn a_remote_base_that_is_broken_and_mended_is_seen_though_the_source_stays() {
    let (world, bases) = (World::new().await, Bases::new(Behaviour::Serve).await);
    bases.commit("main", "web/a.yaml", "kind: ConfigMap\n  broken: [\n");
    world.repository.commit(&[("app/kustomization.yaml", Some(&bases.overlay("")))]);
    world.apply(without_healing(&world)).await;
    let text = format!("cannot parse '{}/web/a.yaml': line 2", bases.server.url());
    world.until_condition("orders", names::CONDITION_COMPARISON_ERROR, &text).await;
    bases.declare("1");
    until_value(&world, "1").await;
    bases.commit("main", "web/kustomization.yaml", "resources: [nothing.yaml]\n");
    let text = "'nothing.yaml'";
    world.until_condition("orders", names::CONDITION_COMPARISON_ERROR, text).await;
    until_value(&world, "1").await;
}

#[tokio::test]
async fn a_tag_and_a_commit_are_bases_that_stay() {
    let (world, bases) = (World::new().await, Bases::new(Behaviour::Serve).await);
    let first = bases.declare("1");
    bases.upstream.git(&["tag", "v1.2", first.as_str()]);
    let second = bases.declare("2");
    bases.upstream.git(&["tag", "v1.2.9", second.as_str()]);
    world.repository.commit(&[("app/kustomization.yaml", Some(&bases.overlay("?ref=v1.2")))]);
    world.apply(without_healing(&world)).await;
    until_value(&world, "1").await;
    let pinned = bases.overlay(&format!("?ref={second}&timeout=20s"));
    world.repository.commit(&[("app/kustomization.yaml", Some(&pinned))]);
    until_value(&world, "2").await;
    bases.declare("3");
    let pinned = pinned.replace("resources", "commonAnnotations: {seen: 'yes'}\nresources");
    let commit = world.repository.commit(&[("app/kustomization.yaml", Some(&pinned))]);
    world.until_synced("orders", &commit).await;
    until_value(&world, "2").await;
}

#[tokio::test]
async fn a_remote_base_must_be_among_the_sources_of_the_project() {
    let (world, bases) = (World::new().await, Bases::new(Behaviour::Serve).await);
    bases.declare("1");
    world.repository.commit(&[("app/kustomization.yaml", Some(&bases.overlay("")))]);
    let project = |repositories: Value| {
        json!({
            "sourceRepos": repositories,
            "destinations": [{ "server": "*", "namespace": "*" }],
            "clusterResourceWhitelist": [{ "group": "*", "kind": "*" }],
        })
    };
    world.project("team-a", project(json!([world.repository.url()]))).await;
    let mut application = without_healing(&world);
    application["spec"]["project"] = json!("team-a");
    world.apply(application).await;
    let text = format!(
        "remote base '{0}': application repo {0} is not permitted in project 'team-a'",
        bases.server.url()
    );
    world.until_condition("orders", names::CONDITION_COMPARISON_ERROR, &text).await;
    assert!(bases.server.seen().is_empty(), "nothing is asked of a server that is not permitted");
    let both = json!([world.repository.url(), bases.server.url().to_string()]);
    world.project("team-a", project(both)).await;
    until_value(&world, "1").await;
    world.project("team-a", project(json!([world.repository.url()]))).await;
    world.until_condition("orders", names::CONDITION_COMPARISON_ERROR, &text).await;
}

#[tokio::test]
async fn a_remote_base_has_its_time_limit() {
    let (world, bases) = (World::new().await, Bases::new(Behaviour::Hang).await);
    world.repository.commit(&[("app/kustomization.yaml", Some(&bases.overlay("?timeout=200ms")))]);
    world.apply(without_healing(&world)).await;
    let text = format!("remote base '{}'", bases.server.url());
    world.until_condition("orders", names::CONDITION_COMPARISON_ERROR, &text).await;
}

#[tokio::test]
async fn the_agents_own_disk_is_no_remote_base_of_a_source_elsewhere() {
    let (world, bases) = (World::new().await, Bases::new(Behaviour::Serve).await);
    let overlay = format!("resources: ['{}//app']\n", world.repository.url());
    bases.commit("main", "app/kustomization.yaml", &overlay);
    world.repository.commit(&[("app/kustomization.yaml", Some("resources: []\n"))]);
    let mut application = without_healing(&world);
    application["spec"]["source"]["repoURL"] = json!(bases.server.url().to_string());
    world.apply(application).await;
    let text = "is a directory of the agent's own machine";
    world.until_condition("orders", names::CONDITION_COMPARISON_ERROR, text).await;
}

/// A server of one file, whose content changes.
async fn file_server(content: &Arc<Mutex<String>>) -> String {
    let router = Router::new()
        .route(
            "/releases/a.yaml",
            get(|State(content): State<Arc<Mutex<String>>>| async move { content.lock().unwrap().clone() }),
        )
        .route("/moved/a.yaml", get(|| async { (StatusCode::FOUND, [("location", "/releases/a.yaml")], "") }))
        .with_state(Arc::clone(content));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    format!("http://{address}")
}

#[tokio::test]
async fn a_file_behind_a_url_is_a_resource_and_is_followed() {
    let world = World::new().await;
    let content = Arc::new(Mutex::new(config_map("a", "1")));
    let server = file_server(&content).await;
    let kustomization = format!("resources: ['{server}/moved/a.yaml']\n");
    world.repository.commit(&[("app/kustomization.yaml", Some(&kustomization))]);
    world.apply(without_healing(&world)).await;
    until_value(&world, "1").await;
    *content.lock().unwrap() = config_map("a", "2");
    until_value(&world, "2").await;
    let missing = format!("resources: ['{server}/releases/b.yaml']\n");
    world.repository.commit(&[("app/kustomization.yaml", Some(&missing))]);
    let text = format!("remote base '{server}/releases/b.yaml'");
    world.until_condition("orders", names::CONDITION_COMPARISON_ERROR, &text).await;
    until_value(&world, "2").await;
}
