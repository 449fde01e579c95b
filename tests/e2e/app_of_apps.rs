//! Applications that declare Applications, to any depth.

use serde_json::json;
use skiff::api::{Application, HealthStatusCode, SyncStatusCode, names};

use super::harness::{World, config_map, deployment};

const APPLICATION: &str = "argoproj.io/v1alpha1";

/// The manifest of an Application that reads a directory, syncs by itself and takes its objects along when it goes.
fn child(world: &World, name: &str, path: &str, namespace: &str) -> String {
    let mut application = world.automated(name, path);
    application["spec"]["destination"]["namespace"] = json!(namespace);
    application["metadata"]["finalizers"] = json!([names::FINALIZER_RESOURCES]);
    serde_json::to_string_pretty(&application).unwrap()
}

fn is(application: &Application, sync: SyncStatusCode, health: HealthStatusCode) -> bool {
    application.status.sync_code() == sync && application.status.health_code() == health
}

#[tokio::test]
async fn ten_levels_are_made_changed_and_deleted_from_the_top() {
    const LEVELS: usize = 10;
    let world = World::new().await;
    let name = |level: usize| format!("level-{level}");
    let manifests: Vec<(String, String)> = (1..LEVELS)
        .map(|level| {
            let namespace = if level + 1 == LEVELS { &world.namespace } else { &world.argocd };
            let manifest = child(&world, &name(level + 1), &name(level + 1), namespace);
            (format!("{}/child.yaml", name(level)), manifest)
        })
        .collect();
    let mut files: Vec<(&str, Option<&str>)> =
        manifests.iter().map(|(path, text)| (path.as_str(), Some(text.as_str()))).collect();
    let leaf = format!("{}/a.yaml", name(LEVELS));
    let (one, two) = (config_map("a", "1"), config_map("a", "2"));
    files.push((&leaf, Some(&one)));
    world.repository.commit(&files);
    let root: serde_json::Value =
        serde_json::from_str(&child(&world, &name(1), &name(1), &world.argocd)).unwrap();
    world.apply(root).await;
    let value = async |world: &World, wanted: &str| {
        let live = world.get("v1", "ConfigMap", &world.namespace, "a").await?;
        (live["data"]["key"] == wanted).then_some(())
    };
    let is_there = async |world: &World, level: usize| {
        world.get(APPLICATION, "Application", &world.argocd, &name(level)).await.is_some()
    };
    // One level after the other, so that each has the time that one thing may take.
    for level in 1..=LEVELS {
        let what = format!("level {level} is made");
        world.until(&what, async |w: &World| is_there(w, level).await.then_some(())).await;
    }
    world.until("the leaf is there", async |w: &World| value(w, "1").await).await;
    for level in (1..=LEVELS).rev() {
        let is_well = |it: &Application| is(it, SyncStatusCode::Synced, HealthStatusCode::Healthy);
        world.until_application(&name(level), "is well", is_well).await;
    }
    world.repository.commit(&[(&leaf, Some(&two))]);
    world.until("the leaf is changed", async |w: &World| value(w, "2").await).await;
    world.delete(APPLICATION, "Application", &world.argocd, &name(1)).await;
    for level in (1..=LEVELS).rev() {
        let what = format!("level {level} is gone");
        world.until(&what, async |w: &World| (!is_there(w, level).await).then_some(())).await;
    }
    assert_eq!(world.get("v1", "ConfigMap", &world.namespace, "a").await, None);
}

#[tokio::test]
async fn a_parent_is_as_well_as_its_children() {
    let world = World::new().await;
    world.repository.commit(&[
        ("parent/child.yaml", Some(&child(&world, "child", "child", &world.namespace))),
        ("child/web.yaml", Some(&deployment("web", "web:1.0", 1))),
    ]);
    let parent: serde_json::Value =
        serde_json::from_str(&child(&world, "parent", "parent", &world.argocd)).unwrap();
    world.apply(parent).await;
    let healthy = |it: &Application| is(it, SyncStatusCode::Synced, HealthStatusCode::Healthy);
    world.until_application("parent", "is well", healthy).await;
    world.until_application("child", "is well", healthy).await;
    world.repository.commit(&[("child/web.yaml", Some(&deployment("web", "web:broken", 1)))]);
    world
        .until_application("parent", "is no longer well", |it| {
            is(it, SyncStatusCode::Synced, HealthStatusCode::Progressing)
        })
        .await;
    world.repository.commit(&[("child/web.yaml", Some(&deployment("web", "web:2.0", 1)))]);
    world.until_application("parent", "is well again", healthy).await;
}

#[tokio::test]
async fn children_come_change_and_go_with_their_parent() {
    let world = World::new().await;
    world.repository.commit(&[
        ("parent/first.yaml", Some(&child(&world, "first", "first", &world.namespace))),
        ("parent/second.yaml", Some(&child(&world, "second", "second", &world.namespace))),
        ("first/a.yaml", Some(&config_map("a", "1"))),
        ("second/b.yaml", Some(&config_map("b", "1"))),
        ("other/c.yaml", Some(&config_map("c", "1"))),
    ]);
    let parent: serde_json::Value =
        serde_json::from_str(&child(&world, "parent", "parent", &world.argocd)).unwrap();
    world.apply(parent).await;
    let names = async |world: &World, wanted: &[&str]| {
        (world.names("v1", "ConfigMap", &world.namespace).await == wanted).then_some(())
    };
    world.until("both have their objects", async |w: &World| names(w, &["a", "b"]).await).await;
    world.repository.commit(&[
        ("parent/first.yaml", Some(&child(&world, "first", "other", &world.namespace))),
        ("parent/second.yaml", None),
    ]);
    world.until("one has others, one is gone", async |w: &World| names(w, &["c"]).await).await;
    world
        .until("only two Applications are left", async |w: &World| {
            (w.names(APPLICATION, "Application", &w.argocd).await == ["first", "parent"]).then_some(())
        })
        .await;
}
