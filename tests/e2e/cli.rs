//! `skiff app` against a cluster with an agent.

use clap::Parser;
use serde_json::{Value, json};
use skiff::{
    api::SyncStatusCode,
    cli::{
        app::{AppError, AppOptions, Session, run_command},
        output::Console,
    },
};

use super::harness::{World, config_map, deployment};

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    options: AppOptions,
}

/// An Application that is synced only when somebody asks.
fn manual(world: &World, name: &str, path: &str) -> Value {
    let mut application = world.application(name, path);
    application["spec"]["syncPolicy"] = json!({ "syncOptions": ["CreateNamespace=true"] });
    application
}

/// What a command said and its exit code.
pub struct Said {
    pub exit_code: u8,
    pub out: String,
    pub err: String,
}

/// Runs `skiff app <arguments>` as the binary does.
pub async fn skiff_app(world: &World, arguments: &str) -> Said {
    let arguments = Arguments::parse_from(std::iter::once("app").chain(arguments.split_whitespace()));
    let session = Session::new(world.client.clone(), &world.argocd);
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut console = Console { out: &mut out, err: &mut err, input: None, colours: false };
    let result = run_command(&session, &arguments.options.command, &mut console).await;
    let exit_code = result.unwrap_or_else(|error: AppError| {
        console.problem(&error, error.hint().as_deref()).unwrap();
        error.exit_code()
    });
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said { exit_code, out: text(out), err: text(err) }
}

impl Said {
    #[track_caller]
    fn expect(self, exit_code: u8, needles: &[&str]) -> Self {
        let text = format!("exit code {}\n{}\n{}", self.exit_code, self.out, self.err);
        assert_eq!(self.exit_code, exit_code, "{text}");
        for needle in needles {
            assert!(text.contains(needle), "'{needle}' is missing in\n{text}");
        }
        self
    }
}

#[tokio::test]
async fn an_application_is_synced_by_hand_and_shown() {
    let world = World::new().await;
    world.repository.commit(&[
        ("app/deployment.yaml", Some(&deployment("orders", "orders:1.0", 2))),
        ("app/config.yaml", Some(&config_map("settings", "one"))),
    ]);
    world.apply(manual(&world, "orders", "app")).await;
    skiff_app(&world, "refresh orders").await.expect(0, &["OutOfSync"]);
    let settings = format!("ConfigMap:{}/settings", world.namespace);
    skiff_app(&world, "diff orders").await.expect(1, &[&settings, "+  key: one"]);
    skiff_app(&world, "sync orders --dry-run").await.expect(0, &["Succeeded"]);
    assert!(world.get("v1", "ConfigMap", &world.namespace, "settings").await.is_none(), "a dry run wrote");
    skiff_app(&world, "sync orders")
        .await
        .expect(0, &["Phase:              Succeeded", "ConfigMap", "Synced"]);
    skiff_app(&world, "wait orders --timeout 30")
        .await
        .expect(0, &["Sync Status:        Synced to", "Healthy"]);
    skiff_app(&world, "diff orders").await.expect(0, &[]);
    skiff_app(&world, "list -o name").await.expect(0, &[&format!("{}/orders", world.argocd)]);
    skiff_app(&world, "list").await.expect(0, &["SYNCPOLICY", "Manual", "Synced"]);
    for command in ["get orders -o tree", "get orders --tree", "resources orders -o tree"] {
        let drawn = skiff_app(&world, command).await.expect(0, &["└─Deployment/orders"]);
        let depth = |kind: &str| {
            drawn.out.lines().filter(|line| line.contains(kind)).map(|line| line.find(kind)).next()
        };
        let (deployment, set, pod) =
            (depth("Deployment/orders"), depth("ReplicaSet/orders-"), depth("Pod/orders-"));
        assert!(deployment < set && set < pod && deployment.is_some(), "{}", drawn.out);
        assert!(
            drawn.out.lines().any(|line| line.contains("Pod/") && line.contains("Healthy")),
            "{}",
            drawn.out
        );
    }
    let listed = skiff_app(&world, "resources orders -o json").await.expect(0, &[]);
    let listed: Vec<Value> = serde_json::from_str(&listed.out).unwrap();
    let pods = listed.iter().filter(|row| row["kind"] == "Pod" && row["depth"] == 2);
    assert_eq!(pods.count(), 2, "{listed:?}");
    let history = skiff_app(&world, "history orders -o id").await.expect(0, &[]);
    assert_eq!(history.out, "0\n");
    let history = skiff_app(&world, "history orders -o json").await.expect(0, &[]);
    let history: Vec<Value> = serde_json::from_str(&history.out).unwrap();
    assert_eq!((history.len(), &history[0]["id"]), (1, &json!(0)));
    skiff_app(&world, "history orders -o yaml").await.expect(0, &["- deployStartedAt:", "  revision: "]);
    let shown = skiff_app(&world, "refresh orders -o json").await.expect(0, &[]);
    let shown: Value = serde_json::from_str(&shown.out).unwrap();
    assert_eq!(shown["status"]["sync"]["status"], "Synced");
}

#[tokio::test]
async fn one_object_can_be_synced_alone() {
    let world = World::new().await;
    world
        .repository
        .commit(&[("app/a.yaml", Some(&config_map("a", "1"))), ("app/b.yaml", Some(&config_map("b", "1")))]);
    world.apply(manual(&world, "orders", "app")).await;
    skiff_app(&world, "refresh orders").await.expect(0, &[]);
    skiff_app(&world, "sync orders --resource :ConfigMap:a").await.expect(0, &["Succeeded"]);
    assert!(world.get("v1", "ConfigMap", &world.namespace, "a").await.is_some());
    assert!(world.get("v1", "ConfigMap", &world.namespace, "b").await.is_none());
    skiff_app(&world, "sync orders --resource :ConfigMap:c").await.expect(20, &["error:", "--resource"]);
}

#[tokio::test]
async fn a_sync_that_fails_is_exit_code_one() {
    let world = World::new().await;
    world.repository.commit(&[("app/a.yaml", Some("kind: ConfigMap\n"))]);
    world.apply(manual(&world, "orders", "app")).await;
    skiff_app(&world, "sync orders --timeout 30").await.expect(1, &["Phase:"]);
    skiff_app(&world, "diff orders").await.expect(2, &["error:", "app/a.yaml"]);
}

#[tokio::test]
async fn deleting_takes_the_objects_along_or_leaves_them() {
    let world = World::new().await;
    world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "1")))]);
    for (flag, stays) in [("--cascade=false", true), ("--cascade", false)] {
        world.apply(world.automated("orders", "app")).await;
        skiff_app(&world, "wait orders --sync --timeout 30").await.expect(0, &["to main"]);
        skiff_app(&world, "delete orders").await.expect(20, &["--yes"]);
        skiff_app(&world, &format!("delete orders {flag} --yes --wait --timeout 30"))
            .await
            .expect(0, &["deleted"]);
        assert_eq!(world.get("v1", "ConfigMap", &world.namespace, "a").await.is_some(), stays, "{flag}");
        skiff_app(&world, "get orders").await.expect(13, &["does not exist", "hint:"]);
    }
}

#[tokio::test]
async fn waiting_ends_when_the_time_is_over() {
    let world = World::new().await;
    world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "1")))]);
    world.apply(manual(&world, "orders", "app")).await;
    skiff_app(&world, "refresh orders").await.expect(0, &[]);
    world
        .until_application("orders", "is compared", |application| {
            application.status.sync_code() == SyncStatusCode::OutOfSync
        })
        .await;
    skiff_app(&world, "wait orders --sync --timeout 1")
        .await
        .expect(14, &["not synced after 1 s", "OutOfSync"]);
}

#[tokio::test]
async fn a_second_operation_is_refused_while_one_is_asked_for() {
    let world = super::harness::Setup::new().without_agent().build().await;
    world.apply(manual(&world, "orders", "app")).await;
    skiff_app(&world, "sync orders --async").await.expect(0, &["is being synced"]);
    skiff_app(&world, "sync orders --async").await.expect(20, &["already in progress", "hint:"]);
    skiff_app(&world, "refresh orders --timeout 1").await.expect(14, &["the agent has not answered"]);
    let written = world.get("argoproj.io/v1alpha1", "Application", &world.argocd, "orders").await.unwrap();
    assert_eq!(written["operation"]["sync"]["syncOptions"], json!(["CreateNamespace=true"]));
}

#[tokio::test]
async fn a_revision_or_a_later_one_is_waited_for() {
    let mut world = World::new().await;
    let first = world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "1")))]);
    world.apply(manual(&world, "orders", "app")).await;
    skiff_app(&world, "refresh orders").await.expect(0, &[]);
    skiff_app(&world, &format!("wait orders --revision {first} --health --timeout 3"))
        .await
        .expect(14, &["OutOfSync", "automated syncs are off"]);
    skiff_app(&world, "sync orders --timeout 30").await.expect(0, &[]);
    skiff_app(&world, &format!("wait orders --revision {} --health --timeout 30", first.short()))
        .await
        .expect(0, &["Healthy"]);
    // Two commits at once: the agent never sees the one in between, and only the repository knows of it.
    world.stop_agent().await;
    let passed_over = world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "2")))]);
    let newest = world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "3")))]);
    let early = format!("wait orders --revision {passed_over} --timeout 3");
    skiff_app(&world, &early).await.expect(14, &[&format!("at {}", first.short())]);
    world.start_agent().await;
    let waiting = format!("wait orders --revision {passed_over} --health --timeout 60");
    let (waited, _) = tokio::join!(skiff_app(&world, &waiting), async {
        world
            .until_application("orders", "newest seen", |it| {
                it.status.sync.as_ref().is_some_and(|sync| sync.revision == newest.as_str())
            })
            .await;
        skiff_app(&world, "sync orders --timeout 30").await.expect(0, &[])
    });
    waited.expect(0, &[newest.short()]);
    for (revision, code, says) in [
        ("main", 20, "hexadecimal digits"),
        ("1234567890123456789012345678901234567890", 14, "has no commit"),
    ] {
        skiff_app(&world, &format!("wait orders --revision {revision} --timeout 5"))
            .await
            .expect(code, &[says]);
    }
    skiff_app(&world, &format!("wait nobody --revision {first}")).await.expect(13, &["does not exist"]);
}

#[tokio::test]
async fn a_sync_of_the_wanted_revision_that_fails_ends_the_wait() {
    let world = World::new().await;
    let good = world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "1")))]);
    let mut application = world.automated("orders", "app");
    application["spec"]["syncPolicy"]["retry"] = json!({ "limit": 0 });
    world.apply(application).await;
    skiff_app(&world, &format!("wait orders --revision {good} --health --timeout 30")).await.expect(0, &[]);
    let hook = json!({
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": { "name": "smoke", "annotations": { "argocd.argoproj.io/hook": "PostSync" } },
        "spec": { "backoffLimit": 0, "template": { "spec": { "restartPolicy": "Never", "containers": [{ "name": "smoke", "image": "smoke:fail" }] } } },
    });
    let bad = world
        .repository
        .commit(&[("app/a.yaml", Some(&config_map("a", "2"))), ("app/smoke.yaml", Some(&hook.to_string()))]);
    skiff_app(&world, &format!("wait orders --revision {bad} --health --timeout 60"))
        .await
        .expect(16, &["ended Failed", bad.short()]);
}
