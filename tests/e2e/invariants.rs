//! What must hold whatever happens: each invariant of the design, tried from outside.

use std::{path::Path, time::Duration};

use serde_json::{Value, json};
use skiff::{
    api::{OperationPhase, SyncStatusCode},
    files::RepoPath,
    git::{CommitId, writer::Change},
    sandbox::fault::{Fault, FaultRule},
};

use super::{
    harness::{Setup, World, config_map, deployment, is_synced},
    recorder::{Recorder, Sent},
};

const BROKEN: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: [\n";
const TRACKING: &str = "argocd.argoproj.io/tracking-id";
const INSTALLATION: &str = "argocd.argoproj.io/installation-id";

/// A world in which `orders` (ConfigMaps `kept` and `removed`, a Deployment) is synced.
async fn synced_world() -> (World, CommitId) {
    synced(World::new().await).await
}

async fn synced(world: World) -> (World, CommitId) {
    let commit = world.repository.commit(&[
        ("app/kept.yaml", Some(&config_map("kept", "1"))),
        ("app/removed.yaml", Some(&config_map("removed", "1"))),
        ("app/deployment.yaml", Some(&deployment("orders", "orders:1.0", 1))),
    ]);
    world.apply(world.automated("orders", "app")).await;
    world.until_synced("orders", &commit).await;
    (world, commit)
}

/// A commit that would change `kept`, and prune `removed` and the Deployment.
fn change_and_remove(world: &World) -> CommitId {
    world.repository.commit(&[
        ("app/kept.yaml", Some(&config_map("kept", "2"))),
        ("app/removed.yaml", None),
        ("app/deployment.yaml", None),
    ])
}

async fn assert_untouched(world: &World) {
    assert!(world.workload_writes().is_empty(), "{:?}", world.workload_writes());
    assert_eq!(value_of(world, "kept").await.as_deref(), Some("1"));
    assert_eq!(value_of(world, "removed").await.as_deref(), Some("1"));
    assert!(read_deployment(world).await.is_some());
}

/// The Deployment, read without asking which kinds there are.
async fn read_deployment(world: &World) -> Option<k8s_openapi::api::apps::v1::Deployment> {
    kube::Api::namespaced(world.client.clone(), &world.namespace).get_opt("orders").await.unwrap()
}

async fn assert_changed(world: &World) {
    assert_eq!(value_of(world, "kept").await.as_deref(), Some("2"));
    assert_eq!(value_of(world, "removed").await, None);
    world
        .until("the Deployment is gone", async |w: &World| {
            w.get("apps/v1", "Deployment", &w.namespace, "orders").await.is_none().then_some(())
        })
        .await;
}

async fn value_of(world: &World, config_map: &str) -> Option<String> {
    let live = world.get("v1", "ConfigMap", &world.namespace, config_map).await?;
    live["data"]["key"].as_str().map(str::to_owned)
}

fn names(requests: &[Sent]) -> Vec<String> {
    requests.iter().map(|sent| format!("{} {}", sent.method, sent.uri)).collect()
}

fn link(path: &str, target: &str) -> Change {
    Change::Link(RepoPath::parse(path).unwrap(), target.to_owned())
}

fn file(path: &str, content: &str) -> Change {
    Change::Write(RepoPath::parse(path).unwrap(), content.as_bytes().to_vec())
}

// 1. Nothing is pruned or applied on an incomplete picture.

#[tokio::test]
async fn nothing_is_pruned_or_applied_when_rendering_fails() {
    let (world, _) = synced_world().await;
    world.requests.clear();
    world.repository.commit(&[
        ("app/kept.yaml", Some(&config_map("kept", "2"))),
        ("app/removed.yaml", None),
        ("app/deployment.yaml", None),
        ("app/broken.yaml", Some(BROKEN)),
    ]);
    world.until_condition("orders", "ComparisonError", "app/broken.yaml").await;
    assert_untouched(&world).await;
    let commit = world.repository.commit(&[("app/broken.yaml", None)]);
    world.until_synced("orders", &commit).await;
    assert_changed(&world).await;
}

#[tokio::test]
async fn nothing_is_pruned_or_applied_while_an_api_group_cannot_be_discovered() {
    let (mut world, _) = synced_world().await;
    world.stop_agent().await;
    let group_down = FaultRule {
        verb: Some("discovery".to_owned()),
        group: Some("apps".to_owned()),
        ..FaultRule::default()
    };
    world.faults.inject(group_down, Fault::Unavailable);
    world.requests.clear();
    let commit = change_and_remove(&world);
    world.start_agent().await;
    world.until_condition("orders", "ComparisonError", "apps").await;
    assert_untouched(&world).await;
    let rows = world.read_application("orders").await.status.resources;
    assert!(rows.iter().any(|row| row.kind == "Deployment"), "the Deployment is lost from sight");

    world.faults.clear();
    world.until_synced("orders", &commit).await;
    assert_changed(&world).await;
}

#[tokio::test]
async fn an_application_is_not_let_go_while_its_objects_cannot_be_seen() {
    let (mut world, _) = synced_world().await;
    let finalizers = json!({ "metadata": { "finalizers": ["resources-finalizer.argocd.argoproj.io"] } });
    world.patch("argoproj.io/v1alpha1", "Application", &world.argocd, "orders", finalizers).await;
    world.stop_agent().await;
    let group_down = FaultRule {
        verb: Some("discovery".to_owned()),
        group: Some("apps".to_owned()),
        ..FaultRule::default()
    };
    world.faults.inject(group_down, Fault::Unavailable);
    world.delete("argoproj.io/v1alpha1", "Application", &world.argocd, "orders").await;
    world.start_agent().await;
    world.until_condition("orders", "DeletionError", "apps").await;

    world.faults.clear();
    world
        .until("Application and Deployment are gone", async |w: &World| {
            let application = w.get("argoproj.io/v1alpha1", "Application", &w.argocd, "orders").await;
            (application.is_none() && read_deployment(w).await.is_none()).then_some(())
        })
        .await;
}

#[tokio::test]
async fn nothing_is_pruned_or_applied_while_a_managed_kind_cannot_be_listed() {
    let faults = [
        Fault::Forbidden,
        Fault::InternalError,
        Fault::Unavailable,
        Fault::Disconnect,
        Fault::TooManyRequests(1),
    ];
    let tries = faults.map(|fault| async move {
        let (mut world, _) = synced_world().await;
        world.stop_agent().await;
        world.faults.inject(FaultRule::on("list", "deployments"), fault);
        world.requests.clear();
        let commit = change_and_remove(&world);
        world.start_agent().await;
        world.until_condition("orders", "ComparisonError", "deployments").await;
        assert_untouched(&world).await;

        world.faults.clear();
        world.until_synced("orders", &commit).await;
        assert_changed(&world).await;
    });
    futures::future::join_all(tries).await;
}

#[tokio::test]
async fn nothing_is_pruned_or_applied_before_every_managed_kind_is_listed() {
    let (mut world, _) = synced_world().await;
    world.stop_agent().await;
    world.faults.inject(FaultRule::on("list", "deployments"), Fault::Delay(Duration::from_millis(700)));
    world.requests.clear();
    let commit = change_and_remove(&world);
    world.start_agent().await;
    world.until_synced("orders", &commit).await;
    let sent = world.requests.sent();
    let listed = sent.iter().find(|sent| sent.is_read() && sent.uri.contains("/deployments?")).unwrap();
    let written = sent.iter().find(|sent| sent.is_write() && sent.uri.contains("/configmaps/")).unwrap();
    let (_, answered) = listed.answer().unwrap();
    assert!(answered < written.at, "{written:?} came before {listed:?} was answered");
}

// 2. Only what the tracking id names is pruned, and it is looked at again at the moment of deletion.

#[tokio::test]
async fn only_what_the_tracking_id_names_is_pruned() {
    let (world, _) = synced_world().await;
    let ns = &world.namespace;
    let foreign = [
        ("copied", Some(format!("orders:/ConfigMap:{ns}/removed"))),
        ("of-another-application", Some(format!("invoices:/ConfigMap:{ns}/of-another-application"))),
        ("of-another-kind", Some(format!("orders:/Secret:{ns}/of-another-kind"))),
        ("of-another-namespace", Some("orders:/ConfigMap:market/of-another-namespace".to_owned())),
        ("of-another-group", Some(format!("orders:apps/ConfigMap:{ns}/of-another-group"))),
        ("garbled", Some("orders".to_owned())),
        ("of-nobody", None),
    ];
    let config_map = async |name: &str, annotations: Value| {
        let metadata = json!({ "name": name, "namespace": ns, "annotations": annotations });
        world.apply(json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata })).await;
    };
    for (name, tracking_id) in &foreign {
        let annotations = match tracking_id {
            Some(id) => json!({ TRACKING: id, INSTALLATION: world.installation() }),
            None => json!({ INSTALLATION: world.installation() }),
        };
        config_map(name, annotations).await;
    }
    let id = |name: &str| format!("orders:/ConfigMap:{ns}/{name}");
    config_map(
        "of-another-installation",
        json!({ TRACKING: id("of-another-installation"), INSTALLATION: "other" }),
    )
    .await;
    config_map("of-no-installation", json!({ TRACKING: id("of-no-installation") })).await;
    // One that says all of it is pruned: it is taken for what an earlier commit declared.
    config_map("own", json!({ TRACKING: id("own"), INSTALLATION: world.installation() })).await;
    let commit = change_and_remove(&world);
    world.until_synced("orders", &commit).await;
    world
        .until("what is its own is pruned", async |w: &World| {
            w.get("v1", "ConfigMap", &w.namespace, "own").await.is_none().then_some(())
        })
        .await;
    let others = foreign.iter().map(|(name, _)| *name);
    for name in others.chain(["of-another-installation", "of-no-installation"]) {
        assert!(world.get("v1", "ConfigMap", &world.namespace, name).await.is_some(), "{name} was pruned");
    }
}

#[tokio::test]
async fn what_changes_hands_between_plan_and_deletion_stays() {
    for verb in ["get", "delete"] {
        let (world, _) = synced_world().await;
        let delay = Fault::Delay(Duration::from_millis(500));
        world.faults.inject(FaultRule::on(verb, "configmaps").named("removed"), delay);
        world.requests.clear();
        change_and_remove(&world);
        world
            .until("the deletion is under way", async |w: &World| {
                let sent = w.requests.sent();
                let asked = |sent: &Sent| sent.uri.contains("/configmaps/removed") && sent.is_read();
                let deletes =
                    |sent: &Sent| sent.uri.contains("/configmaps/removed") && sent.method == "DELETE";
                sent.iter().any(|sent| if verb == "get" { asked(sent) } else { deletes(sent) }).then_some(())
            })
            .await;
        let client = kube::Api::<k8s_openapi::api::core::v1::ConfigMap>::namespaced(
            world.client.clone(),
            &world.namespace,
        );
        let id = format!("invoices:/ConfigMap:{}/removed", world.namespace);
        let patch = json!({ "metadata": { "annotations": { TRACKING: id } } });
        client.patch("removed", &Default::default(), &kube::api::Patch::Merge(patch)).await.unwrap();
        world
            .until_application("orders", "has ended the sync", |application| {
                let state = application.status.operation_state.as_ref().unwrap();
                application.status.history.len() > 1 && state.phase.is_completed()
            })
            .await;
        world.faults.clear();
        assert!(value_of(&world, "removed").await.is_some(), "pruned although it changed hands ({verb})");
    }
}

// 3. One choke point permits writes.

/// An AppProject that permits ConfigMaps, Services and Deployments in the namespace of the workloads, and nothing that has no namespace.
fn narrow_project(world: &World) -> Value {
    let kind = |group: &str, kind: &str| json!({ "group": group, "kind": kind });
    json!({
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "AppProject",
        "metadata": { "name": "narrow", "namespace": world.argocd },
        "spec": {
            "sourceRepos": ["*"],
            "destinations": [{ "server": "*", "namespace": world.namespace }],
            "namespaceResourceWhitelist": [kind("", "ConfigMap"), kind("", "Service"), kind("apps", "Deployment")],
        },
    })
}

async fn narrow_world() -> (World, Value) {
    let world = World::new().await;
    world.apply(narrow_project(&world)).await;
    world.create_namespace(&world.namespace).await;
    let mut application = world.automated("orders", "app");
    application["spec"]["project"] = json!("narrow");
    (world, application)
}

#[tokio::test]
async fn nothing_that_the_project_does_not_permit_is_applied() {
    let forbidden = [
        ("a kind that is not listed", "apiVersion: v1\nkind: Secret\nmetadata:\n  name: bad\n"),
        ("a kind without namespace", "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: bad-namespace\n"),
        (
            "another namespace",
            "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: bad\n  namespace: default\n",
        ),
    ];
    for (what, manifest) in forbidden {
        let (world, application) = narrow_world().await;
        world
            .repository
            .commit(&[("app/good.yaml", Some(&config_map("good", "1"))), ("app/bad.yaml", Some(manifest))]);
        world.apply(application).await;
        world
            .until_application("orders", &format!("is refused {what}"), |application| {
                let state = application.status.operation_state.as_ref();
                state.is_some_and(|state| {
                    state.phase != OperationPhase::Succeeded && state.message.contains("not permitted")
                })
            })
            .await;
        assert!(world.workload_writes().is_empty(), "{what}: {:?}", names(&world.workload_writes()));
    }
}

#[tokio::test]
async fn no_namespace_is_created_that_the_project_does_not_permit() {
    let world = World::new().await;
    world.apply(narrow_project(&world)).await;
    let mut application = world.automated("orders", "app");
    application["spec"]["project"] = json!("narrow");
    world.repository.commit(&[("app/good.yaml", Some(&config_map("good", "1")))]);
    world.apply(application).await;
    world
        .until_application("orders", "is refused the namespace", |application| {
            application
                .status
                .operation_state
                .as_ref()
                .is_some_and(|state| state.message.contains("Namespace"))
        })
        .await;
    assert!(world.workload_writes().is_empty(), "{:?}", names(&world.workload_writes()));
    assert!(world.get("v1", "Namespace", "", &world.namespace).await.is_none());
}

#[tokio::test]
async fn nothing_is_pruned_healed_or_deleted_that_the_project_no_longer_permits() {
    let (world, application) = narrow_world().await;
    let commit = world.repository.commit(&[
        ("app/kept.yaml", Some(&config_map("kept", "1"))),
        ("app/deployment.yaml", Some(&deployment("orders", "orders:1.0", 1))),
    ]);
    let mut application = application;
    application["metadata"]["finalizers"] = json!(["resources-finalizer.argocd.argoproj.io"]);
    world.apply(application).await;
    world.until_synced("orders", &commit).await;

    let mut project = narrow_project(&world);
    project["spec"]["namespaceResourceWhitelist"] = json!([{ "group": "", "kind": "ConfigMap" }]);
    world.apply(project).await;
    world.requests.clear();
    world
        .patch("apps/v1", "Deployment", &world.namespace, "orders", json!({ "spec": { "replicas": 3 } }))
        .await;
    world.refresh("orders").await;
    world.repository.commit(&[("app/deployment.yaml", None)]);
    world.until_polled(4).await;
    world.refresh("orders").await;
    world.delete("argoproj.io/v1alpha1", "Application", &world.argocd, "orders").await;
    world
        .until("the Application is gone", async |w: &World| {
            w.get("argoproj.io/v1alpha1", "Application", &w.argocd, "orders").await.is_none().then_some(())
        })
        .await;
    let live = world
        .get("apps/v1", "Deployment", &world.namespace, "orders")
        .await
        .expect("the Deployment is left alone");
    assert_eq!(live["spec"]["replicas"], 3);
    let writes = names(&world.workload_writes());
    assert!(writes.iter().all(|write| !write.contains("deployments")), "{writes:?}");
    assert!(value_of(&world, "kept").await.is_none());
}

#[test]
fn workloads_are_written_in_one_place() {
    // The agent's own objects are written by these: the project `default`, status, lease, events, the report of shadow mode.
    let own = ["projects.rs", "writer.rs", "leader.rs", "reporter.rs", "shadow.rs"]
        .map(|file| format!("controller/{file}"));
    let outside =
        |name: &str| ["sandbox", "cli"].iter().any(|room| name.starts_with(room)) || name.contains("tests");
    let mut writers = Vec::new();
    for (name, text) in sources() {
        let calls = ["PatchParams", "PostParams", "DeleteParams", "Request::builder"];
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        if calls.iter().any(|call| code.contains(call)) && !outside(&name) && !own.contains(&name) {
            writers.push(name);
        }
    }
    writers.sort();
    // The first makes dry runs only. Both take nothing but what was permitted.
    assert_eq!(writers, ["cluster/api/known_fields.rs", "cluster/api/write.rs"]);
}

/// The files under `src`, by their path in it.
fn sources() -> Vec<(String, String)> {
    fn walk(directory: &Path, root: &Path, found: &mut Vec<(String, String)>) {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, root, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                found.push((name, std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    walk(&root, &root, &mut found);
    assert!(found.len() > 100, "the sources were not found");
    found
}

// 4. A source reads only its own tree.

#[tokio::test]
async fn a_source_reads_only_its_own_tree() {
    let outside = config_map("outside", "canary-outside");
    type Flip = fn(&str) -> Vec<Change>;
    let cases: Vec<(&str, Flip)> = vec![
        ("an absolute link", |target| vec![link("app/a.yaml", target)]),
        ("a link that climbs", |_| vec![link("app/a.yaml", "../../outside.yaml")]),
        ("a link to a directory", |target| {
            vec![
                link("app/up", target.rsplit_once('/').unwrap().0),
                file("app/kustomization.yaml", "resources: [up/outside.yaml]\n"),
            ]
        }),
        ("a resource that climbs", |_| {
            vec![file("app/kustomization.yaml", "resources: [../../outside.yaml]\n")]
        }),
        ("an absolute resource", |target| {
            vec![file("app/kustomization.yaml", &format!("resources: [{target}]\n"))]
        }),
        ("a generator that climbs", |_| {
            vec![file(
                "app/kustomization.yaml",
                "configMapGenerator:\n- name: a\n  files: [../../outside.yaml]\n",
            )]
        }),
        ("a patch that climbs", |_| {
            vec![
                file("app/a.yaml", &config_map("a", "1")),
                file("app/kustomization.yaml", "resources: [a.yaml]\npatches:\n- path: ../../outside.yaml\n"),
            ]
        }),
    ];
    for (what, changes) in cases {
        let world = World::new().await;
        let place = world.directory().join("outside.yaml");
        std::fs::write(&place, &outside).unwrap();
        world.repository.change(&changes(place.to_str().unwrap()));
        world.apply(world.automated("orders", "app")).await;
        world
            .until_application("orders", &format!("refuses {what}"), |application| {
                application
                    .status
                    .conditions
                    .iter()
                    .any(|condition| condition.condition_type == "ComparisonError")
            })
            .await;
        let said: String = world.requests.sent().iter().map(Sent::body).collect();
        assert!(!said.contains("canary-outside"), "{what}: {said}");
        assert!(world.workload_writes().is_empty(), "{what}");
    }
}

// 5. The agent runs no other program.

#[test]
fn no_other_program_is_run() {
    for (name, text) in sources() {
        for way in ["process::Command", "Command::new", "execve", "posix_spawn", "libc::fork"] {
            assert!(!text.contains(way), "src/{name} contains {way}");
        }
    }
}

// 7. A reconcile with nothing to do writes nothing.

#[tokio::test]
async fn twenty_reconciles_with_nothing_to_do_write_nothing() {
    let (world, commit) = synced_world().await;
    world.until_quiet("orders").await;
    world.requests.clear();
    for n in 0..20 {
        world.refresh("orders").await;
        // An annotation of somebody else on a live object, too.
        let touched = json!({ "metadata": { "annotations": { "touched": n.to_string() } } });
        world.patch("v1", "ConfigMap", &world.namespace, "kept", touched).await;
    }
    world.until_polled(20).await;
    let writes = world.agent_writes();
    let acknowledges = |sent: &Sent| {
        let operations: Vec<Value> = serde_json::from_slice(&sent.body).unwrap();
        let refresh = "/metadata/annotations/argocd.argoproj.io~1refresh";
        operations.iter().all(|operation| operation["path"] == refresh)
            && operations
                .iter()
                .filter(|operation| operation["op"] != "test")
                .all(|operation| operation["op"] == "remove")
    };
    assert!(writes.iter().all(acknowledges), "{:?}", writes.iter().map(Sent::body).collect::<Vec<_>>());
    assert_eq!(writes.len(), 20, "one for each refresh that was asked for");
    assert!(is_synced(&world.read_application("orders").await, &commit));
}

#[tokio::test]
async fn in_steady_state_only_watches_and_the_lease_reach_the_api_server() {
    // Kinds that come and go are looked at.
    let (world, _) = synced(Setup::new().alone().build().await).await;
    world.until_quiet("orders").await;
    world.requests.clear();
    world.until_polled(20).await;
    let sent = world.requests.sent();
    let others: Vec<_> = sent
        .into_iter()
        .filter(|sent| (sent.is_read() || sent.is_write()) && !sent.is_about_the_lease())
        .collect();
    assert!(others.is_empty(), "{:?}", names(&others));
}

// 8. Killed at any instant, the agent continues.

#[tokio::test]
async fn killed_after_any_write_the_agent_finishes_what_it_began() {
    let mut instants = 0;
    for writes in 0.. {
        let mut world = Setup::new().without_agent().build().await;
        world.repository.commit(&[
            ("app/kept.yaml", Some(&config_map("kept", "1"))),
            ("app/removed.yaml", Some(&config_map("removed", "1"))),
        ]);
        world.apply(world.automated("orders", "app")).await;
        world.start_agent().await;
        let first = world.until_application("orders", "is synced", |application| {
            application.status.sync_code() == SyncStatusCode::Synced && application.operation.is_none()
        });
        first.await;
        world.requests.cut_after(writes);
        let commit = world.repository.commit(&[
            ("app/kept.yaml", Some(&config_map("kept", "2"))),
            ("app/added.yaml", Some(&config_map("added", "1"))),
            ("app/removed.yaml", None),
        ]);
        let was_cut = world
            .until("the agent is cut off or done", async |w: &World| {
                let done = is_synced(&w.read_application("orders").await, &commit);
                if w.requests.is_cut() { Some(true) } else { done.then_some(false) }
            })
            .await;
        world.kill_agent().await;
        let left = world.read_application("orders").await;
        world.requests = Recorder::new(&world.faults);
        world.start_agent().await;
        let application = world.until_synced("orders", &commit).await;
        let ids: Vec<i64> = application.status.history.iter().map(|entry| entry.id).collect();
        assert_eq!(ids, [0, 1], "after {writes} writes: {:#?}", application.status.history);
        let state = application.status.operation_state.as_ref().unwrap();
        let unfinished = left.status.operation_state.filter(|state| !state.phase.is_completed());
        if let Some(unfinished) = unfinished {
            assert_eq!(state.started_at, unfinished.started_at, "another operation was begun");
        }
        assert_eq!(value_of(&world, "kept").await.as_deref(), Some("2"));
        assert_eq!(value_of(&world, "added").await.as_deref(), Some("1"));
        assert_eq!(value_of(&world, "removed").await, None);
        if !was_cut {
            break;
        }
        instants += 1;
    }
    assert!(instants >= 4, "a sync has more writes than {instants}");
}

#[tokio::test]
async fn killed_in_the_middle_of_a_long_sync_the_agent_continues_it() {
    let mut world = World::new().await;
    let manifests: Vec<(String, String)> =
        (0..30).map(|n| (format!("app/{n}.yaml"), config_map(&format!("settings-{n}"), "1"))).collect();
    let changes: Vec<(&str, Option<&str>)> =
        manifests.iter().map(|(path, text)| (path.as_str(), Some(text.as_str()))).collect();
    let commit = world.repository.commit(&changes);
    // This one's apply does not come to its end.
    let last = FaultRule::on("patch", "configmaps").named("settings-29");
    world.faults.inject(last, Fault::Delay(Duration::from_secs(3600)));
    world.apply(world.automated("orders", "app")).await;
    let applied = async |w: &World| {
        let all: kube::Api<k8s_openapi::api::core::v1::ConfigMap> =
            kube::Api::namespaced(w.client.clone(), &w.namespace);
        let listed = all.list(&Default::default()).await.unwrap().items;
        listed.iter().filter(|object| object.metadata.name.as_ref().unwrap().starts_with("settings-")).count()
    };
    world.until("some are applied", async |w: &World| (applied(w).await > 0).then_some(())).await;
    world.kill_agent().await;
    let left = world.read_application("orders").await;
    let before = applied(&world).await;
    assert!(before < 30, "the sync was over before the agent was killed");
    assert_eq!(left.status.operation_state.as_ref().unwrap().phase, OperationPhase::Running);

    world.faults.clear();
    world.start_agent().await;
    let application = world.until_synced("orders", &commit).await;
    assert_eq!(applied(&world).await, 30);
    assert_eq!(application.status.history.len(), 1);
    assert_eq!(application.status.history[0].id, 0);
    let state = application.status.operation_state.unwrap();
    assert_eq!(state.started_at, left.status.operation_state.unwrap().started_at);
}

// 9. One application that hangs, fails or is huge delays no other.

#[tokio::test]
async fn an_application_whose_repository_hangs_delays_no_other() {
    let world = World::new().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    for n in 0..10 {
        let mut stuck = world.automated(&format!("stuck-{n}"), "app");
        stuck["spec"]["source"]["repoURL"] = json!(format!("http://127.0.0.1:{port}/{n}.git"));
        world.apply(stuck).await;
    }
    // Somebody has connected and waits for an answer that never comes.
    let waiting = listener.accept().await.unwrap();
    let commit = world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "1")))]);
    world.apply(world.automated("orders", "app")).await;
    world.until_synced("orders", &commit).await;
    drop(waiting);
}

#[tokio::test]
async fn an_application_that_fails_delays_no_other() {
    let world = World::new().await;
    let commit = world
        .repository
        .commit(&[("app/a.yaml", Some(&config_map("a", "1"))), ("broken/a.yaml", Some(BROKEN))]);
    for n in 0..10 {
        world.apply(world.automated(&format!("broken-{n}"), "broken")).await;
    }
    world.apply(world.automated("orders", "app")).await;
    world.until_synced("orders", &commit).await;
}

#[tokio::test]
async fn a_huge_application_delays_no_other() {
    let world = World::new().await;
    let manifests: Vec<String> = (0..2000).map(|n| config_map(&format!("settings-{n}"), "1")).collect();
    let commit = world.repository.commit(&[
        ("huge/all.yaml", Some(&manifests.join("---\n"))),
        ("app/a.yaml", Some(&config_map("a", "1"))),
    ]);
    world.apply(world.automated("huge", "huge")).await;
    world
        .until_application("huge", "is being synced", |application| {
            application
                .status
                .operation_state
                .as_ref()
                .is_some_and(|state| state.phase == OperationPhase::Running)
        })
        .await;
    world.apply(world.automated("orders", "app")).await;
    world.until_synced("orders", &commit).await;
    let huge = world.read_application("huge").await;
    assert_eq!(
        huge.status.operation_state.unwrap().phase,
        OperationPhase::Running,
        "the small one came second"
    );
}

// 11. A cached render is used only if every input that shaped it is unchanged.

#[tokio::test]
async fn a_cached_render_is_used_only_if_its_inputs_are_unchanged() {
    let world = World::new().await;
    let misses = || world.metric("skiff_render_cache_misses_total", &[]);
    let hits = || world.metric("skiff_render_cache_hits_total", &[]);
    let kustomization = "resources: [a.yaml]\n";
    world.repository.commit(&[
        ("app/a.yaml", Some(&config_map("a", "1"))),
        ("app/kustomization.yaml", Some(kustomization)),
        ("twin/a.yaml", Some(&config_map("a", "1"))),
        ("twin/kustomization.yaml", Some(kustomization)),
    ]);
    let mut application = world.automated("orders", "app");
    world.apply(application.clone()).await;
    let until_rendered = async |what: &str, before: f64| {
        world
            .until(&format!("{what} is rendered"), async |w: &World| {
                (w.metric("skiff_render_cache_misses_total", &[]) > before).then_some(())
            })
            .await;
    };
    let until_value = async |namespace: &str, name: &str, value: &str| {
        world
            .until(&format!("{name} has the value {value}"), async |w: &World| {
                let live = w.get("v1", "ConfigMap", namespace, name).await?;
                (live["data"]["key"] == value).then_some(())
            })
            .await;
        world
            .until_application("orders", "is synced", |application| {
                application.status.sync_code() == SyncStatusCode::Synced && application.operation.is_none()
            })
            .await;
    };
    let shop = world.namespace.as_str();
    until_rendered("the first commit", 0.0).await;
    until_value(shop, "a", "1").await;

    // Another path, another branch, a refresh: nothing is rendered.
    let (rendered, known) = (misses(), hits());
    let commit = world.repository.commit(&[("other/a.yaml", Some("nonsense: ["))]);
    world
        .until_application("orders", "is at the new commit", |application| {
            application.status.sync.as_ref().is_some_and(|sync| sync.revision == commit.as_str())
        })
        .await;
    world.refresh("orders").await;
    assert_eq!(misses(), rendered, "what did not change was rendered again");
    assert!(hits() > known);

    let before = misses();
    world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "2")))]);
    until_rendered("a changed file", before).await;
    until_value(shop, "a", "2").await;

    let before = misses();
    world.repository.commit(&[("app/kustomization.yaml", Some("resources: [a.yaml]\nnameSuffix: -b\n"))]);
    until_rendered("a changed kustomization", before).await;
    until_value(shop, "a-b", "2").await;

    let before = misses();
    application["spec"]["source"]["kustomize"] = json!({ "namePrefix": "c-" });
    world.apply(application.clone()).await;
    until_rendered("an override", before).await;
    until_value(shop, "c-a-b", "2").await;

    let before = misses();
    application["spec"]["source"]["path"] = json!("twin");
    world.apply(application.clone()).await;
    until_rendered("another path", before).await;
    until_value(shop, "c-a", "1").await;

    let before = misses();
    let market = world.unique("market");
    application["spec"]["destination"]["namespace"] = json!(market);
    world.apply(application.clone()).await;
    until_rendered("another namespace", before).await;
    until_value(&market, "c-a", "1").await;

    let before = misses();
    world.settings(json!({ "application.resourceTrackingMethod": "annotation+label" })).await;
    until_rendered("another tracking method", before).await;
    world
        .until("the label is there", async |w: &World| {
            let live = w.get("v1", "ConfigMap", &market, "c-a").await?;
            (live["metadata"]["labels"]["app.kubernetes.io/instance"] == "orders").then_some(())
        })
        .await;
}
