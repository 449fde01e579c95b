//! Bad input gets a clear error and loses nothing: what was synced before stays, and a good commit heals.

use serde_json::json;
use skiff::{
    api::{OperationPhase, SyncStatusCode},
    files::RepoPath,
    git::writer::Change,
    sandbox::fault::{Fault, FaultRule},
};

use super::harness::{World, config_map};

/// A world in which `orders` with the ConfigMap `kept` is synced.
async fn synced_world() -> World {
    let world = World::new().await;
    let commit = world.repository.commit(&[("app/kept.yaml", Some(&config_map("kept", "good")))]);
    world.apply(world.automated("orders", "app")).await;
    world.until_synced("orders", &commit).await;
    world.requests.clear();
    world
}

async fn kept(world: &World) -> Option<String> {
    let live = world.get("v1", "ConfigMap", &world.namespace, "kept").await?;
    live["data"]["key"].as_str().map(str::to_owned)
}

async fn assert_nothing_is_lost(world: &World) {
    assert!(world.workload_writes().is_empty(), "{:?}", world.workload_writes());
    assert_eq!(kept(world).await.as_deref(), Some("good"));
}

/// Waits for a condition whose message holds all of these.
async fn until_condition(world: &World, condition_type: &str, needles: &[&str]) {
    world
        .until_application("orders", &format!("has a {condition_type} with {needles:?}"), |application| {
            application.status.conditions.iter().any(|condition| {
                condition.condition_type == condition_type
                    && needles.iter().all(|needle| condition.message.contains(needle))
            })
        })
        .await;
}

/// Commits something bad together with a change of `kept`, expects an error, and heals it by the next commit.
async fn a_bad_commit(changes: Vec<Change>, needles: &[&str]) {
    let world = synced_world().await;
    let mut bad = vec![write("app/kept.yaml", &config_map("kept", "bad"))];
    bad.extend(changes.iter().cloned());
    world.repository.change(&bad);
    until_condition(&world, "ComparisonError", needles).await;
    let application = world.read_application("orders").await;
    assert_eq!(application.status.sync_code(), SyncStatusCode::Unknown);
    assert_nothing_is_lost(&world).await;
    heal(&world, &changes).await;
}

async fn heal(world: &World, changes: &[Change]) {
    let mut good = vec![write("app/kept.yaml", &config_map("kept", "healed"))];
    good.extend(changes.iter().map(|change| match change {
        Change::Write(path, _) | Change::Link(path, _) | Change::Remove(path) => Change::Remove(path.clone()),
    }));
    let commit = world.repository.change(&good);
    let application = world.until_synced("orders", &commit).await;
    assert_eq!(kept(world).await.as_deref(), Some("healed"));
    assert!(application.status.conditions.is_empty(), "{:?}", application.status.conditions);
}

fn write(path: &str, content: &str) -> Change {
    Change::Write(RepoPath::parse(path).unwrap(), content.as_bytes().to_vec())
}

#[tokio::test]
async fn a_repository_that_cannot_be_read() {
    let world = synced_world().await;
    let (here, away) = (world.directory().join("repository"), world.directory().join("away"));
    std::fs::rename(&here, &away).unwrap();
    world.refresh("orders").await;
    until_condition(&world, "ComparisonError", &[&world.repository.url(), "check the URL"]).await;
    assert_nothing_is_lost(&world).await;
    std::fs::rename(&away, &here).unwrap();
    heal(&world, &[]).await;
}

#[tokio::test]
async fn a_path_that_does_not_exist() {
    let world = synced_world().await;
    world.change_spec("orders", json!({ "source": { "path": "nowhere" } })).await;
    until_condition(&world, "ComparisonError", &["spec.source.path", "'nowhere'", "does not exist"]).await;
    assert_nothing_is_lost(&world).await;
    world.change_spec("orders", json!({ "source": { "path": "app" } })).await;
    heal(&world, &[]).await;
}

#[tokio::test]
async fn a_revision_that_does_not_exist() {
    let world = synced_world().await;
    world.change_spec("orders", json!({ "source": { "targetRevision": "nonsense" } })).await;
    until_condition(&world, "ComparisonError", &["nonsense", &world.repository.url()]).await;
    assert_nothing_is_lost(&world).await;
    world.change_spec("orders", json!({ "source": { "targetRevision": "main" } })).await;
    heal(&world, &[]).await;
}

#[tokio::test]
async fn yaml_that_is_broken() {
    let manifest = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n data: {}\n";
    a_bad_commit(vec![write("app/broken.yaml", manifest)], &["app/broken.yaml", "line 5"]).await;
}

#[tokio::test]
async fn a_document_without_kind() {
    let manifest = "apiVersion: v1\nmetadata:\n  name: a\n";
    let whole = format!("{}---\n{manifest}", config_map("b", "1"));
    a_bad_commit(vec![write("app/kindless.yaml", &whole)], &["app/kindless.yaml", "kind"]).await;
}

#[tokio::test]
async fn two_documents_with_one_identity() {
    let world = synced_world().await;
    let commit = world.repository.commit(&[("app/twin.yaml", Some(&config_map("kept", "twin")))]);
    until_condition(
        &world,
        "RepeatedResourceWarning",
        &["ConfigMap", "kept", "app/twin.yaml", "last one is used"],
    )
    .await;
    world.until_synced("orders", &commit).await;
    assert_eq!(kept(&world).await.as_deref(), Some("twin"));
    heal(&world, &[write("app/twin.yaml", "")]).await;
}

#[tokio::test]
async fn a_base_that_refers_to_itself() {
    let kustomization = "resources: [kept.yaml, ../base]\n";
    let base = "resources: [../app]\n";
    let changes =
        vec![write("app/kustomization.yaml", kustomization), write("base/kustomization.yaml", base)];
    a_bad_commit(changes, &["kustomization", "app", "cycle"]).await;
}

#[tokio::test]
async fn a_path_that_leads_out_of_the_repository() {
    let world = synced_world().await;
    world.change_spec("orders", json!({ "source": { "path": "app/../../etc" } })).await;
    until_condition(&world, "ComparisonError", &["spec.source.path", "leads out of the repository"]).await;
    assert_nothing_is_lost(&world).await;
    world.change_spec("orders", json!({ "source": { "path": "app" } })).await;
    heal(&world, &[]).await;
}

#[tokio::test]
async fn a_symbolic_link_out_of_the_tree() {
    let link = Change::Link(RepoPath::parse("app/link.yaml").unwrap(), "../../outside.yaml".to_owned());
    a_bad_commit(vec![link], &["app/link.yaml", "a source can read only its own tree"]).await;
}

#[tokio::test]
async fn a_kind_that_the_cluster_does_not_have() {
    let manifest = "apiVersion: example.com/v1\nkind: Widget\nmetadata:\n  name: a\n";
    let needles = ["app/widget.yaml", "Widget", "CustomResourceDefinition"];
    a_bad_commit(vec![write("app/widget.yaml", manifest)], &needles).await;
}

#[tokio::test]
async fn an_object_that_the_agent_may_not_write() {
    let world = synced_world().await;
    world.faults.inject(FaultRule::on("patch", "secrets"), Fault::Forbidden);
    let secret = "apiVersion: v1\nkind: Secret\nmetadata:\n  name: token\n";
    let bad = [write("app/kept.yaml", &config_map("kept", "bad")), write("app/secret.yaml", secret)];
    world.repository.change(&bad);
    let application = world
        .until_application("orders", "fails to sync", |application| {
            let state = application.status.operation_state.as_ref();
            state.is_some_and(|state| {
                state.phase != OperationPhase::Succeeded && state.message.contains("Forbidden")
            })
        })
        .await;
    let message = application.status.operation_state.unwrap().message;
    assert!(message.contains(&format!("Secret:{}/token", world.namespace)), "{message}");
    assert_nothing_is_lost(&world).await;
    heal(&world, &bad[1..]).await;
}

#[tokio::test]
async fn a_kind_that_the_agent_may_not_list() {
    let world = synced_world().await;
    world.faults.inject(FaultRule::on("list", "secrets"), Fault::Forbidden);
    let secret = write("app/secret.yaml", "apiVersion: v1\nkind: Secret\nmetadata:\n  name: token\n");
    world.repository.change(&[write("app/kept.yaml", &config_map("kept", "bad")), secret.clone()]);
    until_condition(&world, "ComparisonError", &["Secret", "cannot list secrets", "forbidden"]).await;
    assert_nothing_is_lost(&world).await;
    heal(&world, &[secret]).await;
}

#[tokio::test]
async fn a_namespace_that_does_not_exist() {
    let world = synced_world().await;
    let manifest = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n  namespace: nowhere\n";
    let bad = [write("app/kept.yaml", &config_map("kept", "bad")), write("app/nowhere.yaml", manifest)];
    world.repository.change(&bad);
    world
        .until_application("orders", "fails to sync", |application| {
            let state = application.status.operation_state.as_ref();
            state.is_some_and(|state| {
                state.phase != OperationPhase::Succeeded
                    && state.message.contains("namespaces \"nowhere\" not found: create it, or set")
            })
        })
        .await;
    assert_nothing_is_lost(&world).await;
    heal(&world, &bad[1..]).await;
}

#[tokio::test]
async fn hostile_files_end_in_an_error_and_not_in_a_crash() {
    let head = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n";
    let bomb = {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for n in 1..12 {
            let before = format!("*a{}", n - 1);
            text.push_str(&format!("a{n}: &a{n} [{}]\n", vec![before; 10].join(", ")));
        }
        format!("{head}data:\n  key: x\nextra:\n  {}", text.replace('\n', "\n  "))
    };
    let hostile = [
        ("an alias bomb", bomb.into_bytes()),
        ("a deep nest", format!("{head}data: {}", "[".repeat(20_000)).into_bytes()),
        ("bytes that are no text", [head.as_bytes(), &[0xff, 0xfe, 0x00, 0x80]].concat()),
        ("a list for an object", b"- apiVersion: v1\n- kind: ConfigMap\n- metadata: {}\n".to_vec()),
        ("a number for metadata", b"apiVersion: v1\nkind: ConfigMap\nmetadata: 7\n".to_vec()),
        ("a number for a name", b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: [a]}\n".to_vec()),
    ];
    let tries = hostile.map(|(what, content)| async move {
        let world = synced_world().await;
        let path = RepoPath::parse("app/hostile.yaml").unwrap();
        world.repository.change(&[Change::Write(path.clone(), content)]);
        world
            .until_application("orders", &format!("refuses {what}"), |application| {
                application.status.conditions.iter().any(|condition| {
                    condition.condition_type == "ComparisonError"
                        && condition.message.contains("app/hostile.yaml")
                })
            })
            .await;
        assert_nothing_is_lost(&world).await;
        heal(&world, &[Change::Remove(path)]).await;
    });
    futures::future::join_all(tries).await;
}

#[tokio::test]
async fn a_spec_that_makes_no_sense() {
    let senseless = [
        (json!({ "project": "nowhere" }), "InvalidSpecError", "AppProject 'nowhere'"),
        (
            json!({ "destination": { "server": "https://elsewhere:6443" } }),
            "InvalidSpecError",
            "https://elsewhere:6443",
        ),
        (json!({ "destination": { "name": "in-cluster" } }), "InvalidSpecError", "destination"),
        (
            json!({ "source": { "repoURL": "gopher://example.com/x" } }),
            "ComparisonError",
            "spec.source.repoURL",
        ),
        (json!({ "source": { "targetRevision": "a b" } }), "ComparisonError", "correct targetRevision"),
        (json!({ "source": { "path": "" } }), "InvalidSpecError", "path"),
    ];
    for (spec, condition_type, needle) in senseless {
        let world = synced_world().await;
        let good =
            world.get("argoproj.io/v1alpha1", "Application", &world.argocd, "orders").await.unwrap()["spec"]
                .clone();
        world.change_spec("orders", spec).await;
        until_condition(&world, condition_type, &[needle]).await;
        assert_nothing_is_lost(&world).await;
        let mut back = good;
        if back["destination"]["name"].is_null() {
            back["destination"]["name"] = json!(null);
        }
        world.change_spec("orders", back).await;
        heal(&world, &[]).await;
    }
}
