//! Rolling back: by a commit that takes the source back, and from the history as Argo CD does; and what else the
//! commands do about syncs that run.

use clap::Parser;
use serde_json::json;
use skiff::{
    api::{OperationPhase, SyncStatusCode, names},
    cli::{
        app::{Session, source_rollback},
        output::Console,
    },
    error::chain,
};

use super::{
    cli::skiff_app,
    harness::{Repository, World, config_map, deployment},
};

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    options: source_rollback::Options,
}

/// Runs `skiff rollback <arguments>` as the binary does; what it said, or its error.
async fn skiff_rollback(world: &World, arguments: &str) -> Result<String, String> {
    let arguments = Arguments::parse_from(std::iter::once("rollback").chain(arguments.split_whitespace()));
    let session = Session::new(world.client.clone(), &world.argocd);
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut console = Console { out: &mut out, err: &mut err, input: None, colours: false };
    let result = Box::pin(source_rollback::run_on(&session, &arguments.options, &mut console)).await;
    result.map_err(|error| chain(&error))?;
    Ok(String::from_utf8(out).unwrap())
}

#[tokio::test]
async fn a_rollback_is_a_commit_that_takes_back_what_the_application_reads() {
    let world = World::new().await;
    let kustomization = "resources: [../base]\n";
    let first = world.repository.commit(&[
        ("base/kustomization.yaml", Some("resources: [web.yaml]\n")),
        ("base/web.yaml", Some(&deployment("web", "web:1.0", 1))),
        ("app/kustomization.yaml", Some(kustomization)),
        ("other/a.yaml", Some(&config_map("a", "1"))),
    ]);
    world.apply(world.automated("orders", "app")).await;
    world.until_synced("orders", &first).await;
    let second = world.repository.commit(&[
        ("base/web.yaml", Some(&deployment("web", "web:2.0", 1))),
        ("app/extra.yaml", Some(&config_map("extra", "1"))),
        ("app/kustomization.yaml", Some("resources: [../base, extra.yaml]\n")),
        ("other/a.yaml", Some(&config_map("a", "2"))),
    ]);
    world.until_synced("orders", &second).await;
    let shown = skiff_rollback(&world, "orders --dry-run").await.unwrap();
    assert!(
        shown.contains("-        image: web:2.0") && shown.contains("+        image: web:1.0"),
        "{shown}"
    );
    assert!(!shown.contains("other/a.yaml"), "{shown}");
    let said = skiff_rollback(&world, "orders").await.unwrap();
    assert!(said.contains("is rolled back"), "{said}");
    let web = world.get("apps/v1", "Deployment", &world.namespace, "web").await.unwrap();
    assert_eq!(web["spec"]["template"]["spec"]["containers"][0]["image"], "web:1.0");
    assert_eq!(world.get("v1", "ConfigMap", &world.namespace, "extra").await, None);
    let application = world.read_application("orders").await;
    let present = application.status.sync.unwrap().revision;
    assert!(present != first.as_str() && present != second.as_str(), "it is a commit of its own");
    let (message, other) = world.repository.read_at(&present, "other/a.yaml");
    assert!(message.starts_with(&format!("Roll back orders to {}", first.short())), "{message}");
    assert!(message.contains(&format!("From: {second}\nTo: {first}\n")), "{message}");
    assert!(message.contains("Application: ") && message.contains("\nRequested-by: "), "{message}");
    assert!(other.contains("key: \"2\""), "what the application does not read stays");
}

#[tokio::test]
async fn the_history_is_gone_back_to_only_while_nothing_syncs_by_itself() {
    let world = World::new().await;
    let first = world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "1")))]);
    world.apply(world.automated("orders", "app")).await;
    world.until_synced("orders", &first).await;
    let second = world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "2")))]);
    world.until_synced("orders", &second).await;
    let said = skiff_app(&world, "rollback orders 0").await;
    assert!(said.exit_code == 20 && said.err.contains("auto-sync is enabled"), "{}", said.err);
    world.change_spec("orders", json!({ "syncPolicy": { "automated": null } })).await;
    let said = skiff_app(&world, "rollback orders 0").await;
    assert_eq!(said.exit_code, 0, "{}", said.err);
    let a = world.get("v1", "ConfigMap", &world.namespace, "a").await.unwrap();
    assert_eq!(a["data"]["key"], "1");
    let application = world.until_status("orders", SyncStatusCode::OutOfSync).await;
    assert_eq!(application.status.history.last().unwrap().revision, first.as_str());
    let said = skiff_app(&world, "rollback orders 99").await;
    assert!(said.exit_code == 20 && said.err.contains("no entry 99"), "{}", said.err);
}

#[tokio::test]
async fn deletions_are_approved_and_syncs_ended_from_the_command_line() {
    let world = World::new().await;
    let manifests: Vec<(String, String)> =
        (0..6).map(|n| (format!("app/{n}.yaml"), config_map(&format!("c{n}"), "1"))).collect();
    let all: Vec<(&str, Option<&str>)> =
        manifests.iter().map(|(path, text)| (path.as_str(), Some(text.as_str()))).collect();
    let commit = world.repository.commit(&all);
    world.apply(world.automated("orders", "app")).await;
    world.until_synced("orders", &commit).await;
    let removed: Vec<(&str, Option<&str>)> = all.iter().take(5).map(|(path, _)| (*path, None)).collect();
    let commit = world.repository.commit(&removed);
    world.until_condition("orders", names::CONDITION_PRUNE_GUARD_WARNING, "5 of 6").await;
    let said = skiff_app(&world, "terminate-op orders").await;
    assert_eq!(said.exit_code, 0, "{}", said.err);
    world.until_operation("orders", OperationPhase::Failed).await;
    assert_eq!(world.names("v1", "ConfigMap", &world.namespace).await.len(), 6);
    let said = skiff_app(&world, "sync orders --confirm-prune").await;
    assert_eq!(said.exit_code, 0, "{}", said.err);
    world.until_synced("orders", &commit).await;
    assert_eq!(world.names("v1", "ConfigMap", &world.namespace).await, ["c5"]);
}

#[tokio::test]
async fn a_merge_is_taken_back_with_all_that_it_brought() {
    let world = World::new().await;
    let first = world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "1")))]);
    world.apply(world.automated("orders", "app")).await;
    world.until_synced("orders", &first).await;
    world.repository.branch("feature");
    world.repository.commit_to("feature", "app/a.yaml", &config_map("a", "2"));
    world.repository.commit_to("feature", "app/b.yaml", &config_map("b", "1"));
    let merge = world.repository.merge("feature");
    world.until_synced("orders", &merge).await;
    let said = skiff_rollback(&world, "orders").await.unwrap();
    assert!(said.contains("is rolled back"), "{said}");
    assert_eq!(world.names("v1", "ConfigMap", &world.namespace).await, ["a"]);
    let a = world.get("v1", "ConfigMap", &world.namespace, "a").await.unwrap();
    assert_eq!(a["data"]["key"], "1");
}

#[tokio::test]
async fn several_sources_go_back_together_each_in_its_own_repository() {
    let world = World::new().await;
    let other = Repository::new(&world.directory().join("other"));
    world.repository.commit(&[
        ("base/a.yaml", Some(&config_map("a", "1"))),
        ("extra/b.yaml", Some(&config_map("b", "1"))),
        ("strange/c.yaml", Some(&config_map("c", "1"))),
    ]);
    other.commit(&[("app/d.yaml", Some(&config_map("d", "1")))]);
    let source = |url: String, path: &str| json!({ "repoURL": url, "path": path, "targetRevision": "main" });
    let mut application = world.automated("orders", "app");
    application["spec"].as_object_mut().unwrap().shift_remove("source");
    application["spec"]["sources"] = json!([
        source(world.repository.url(), "base"),
        source(world.repository.url(), "extra"),
        source(other.url(), "app"),
    ]);
    world.apply(application).await;
    let values = async |wanted: [&str; 3]| {
        world
            .until(&format!("the values are {wanted:?}"), async |w: &World| {
                for (name, wanted) in ["a", "b", "d"].iter().zip(wanted) {
                    let live = w.get("v1", "ConfigMap", &w.namespace, name).await?;
                    if live["data"]["key"] != wanted {
                        return None;
                    }
                }
                Some(())
            })
            .await;
        world
            .until_application("orders", "is synced and idle", |it| {
                it.status.sync_code() == SyncStatusCode::Synced && it.operation.is_none()
            })
            .await
    };
    values(["1", "1", "1"]).await;
    // Both repositories move before the Application is looked at again, so that they are one entry of its history.
    let skip = json!({ "metadata": { "annotations": { "argocd.argoproj.io/skip-reconcile": "true" } } });
    world.patch("argoproj.io/v1alpha1", "Application", &world.argocd, "orders", skip).await;
    world.repository.commit(&[
        ("base/a.yaml", Some(&config_map("a", "2"))),
        ("extra/b.yaml", Some(&config_map("b", "2"))),
        ("strange/c.yaml", Some(&config_map("c", "2"))),
    ]);
    other.commit(&[("app/d.yaml", Some(&config_map("d", "2")))]);
    let go_on = json!({ "metadata": { "annotations": {
        "argocd.argoproj.io/skip-reconcile": null, "argocd.argoproj.io/refresh": "normal",
    } } });
    world.patch("argoproj.io/v1alpha1", "Application", &world.argocd, "orders", go_on).await;
    values(["2", "2", "2"]).await;
    let error = skiff_rollback(&world, "orders --to main").await.unwrap_err();
    assert!(error.contains("it has several sources with revisions of their own"), "{error}");
    let said = skiff_rollback(&world, "orders").await.unwrap();
    assert_eq!(said.matches("pushed ").count(), 2, "one commit for each repository: {said}");
    let application = values(["1", "1", "1"]).await;
    let present = application.status.sync.unwrap().revisions;
    let (_, strange) = world.repository.read_at(&present[0], "strange/c.yaml");
    assert!(strange.contains("key: \"2\""), "what the application does not read stays");
}

#[tokio::test]
async fn where_only_a_source_changed_that_others_refer_to_there_is_nothing_to_take_back() {
    let world = World::new().await;
    let values = Repository::new(&world.directory().join("values"));
    world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "1")))]);
    values.commit(&[("values.yaml", Some("a: 0\n"))]);
    let mut application = world.application("orders", "app");
    application["spec"].as_object_mut().unwrap().shift_remove("source");
    application["spec"]["sources"] = json!([
        { "repoURL": world.repository.url(), "path": "app", "targetRevision": "main" },
        { "repoURL": values.url(), "ref": "values", "targetRevision": "main" },
    ]);
    world.apply(application).await;
    for entries in 1..=2 {
        world.sync("orders", json!({ "syncOptions": ["CreateNamespace=true"] })).await;
        world
            .until_application("orders", "has the sync in its history", |it| {
                it.status.history.len() == entries
            })
            .await;
        let moved = values.commit(&[("values.yaml", Some(&format!("a: {entries}\n")))]);
        world
            .until_application("orders", "shows the commit", |it| {
                it.status
                    .sync
                    .as_ref()
                    .is_some_and(|sync| sync.revisions.get(1).is_some_and(|it| it == moved.as_str()))
            })
            .await;
    }
    let error = skiff_rollback(&world, "orders").await.unwrap_err();
    assert!(error.contains("sources that others refer to"), "{error}");
}
