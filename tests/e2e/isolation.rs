//! One Application that hangs, fails or is huge delays no other, and what hangs comes to an end.

use std::time::Duration;

use serde_json::json;
use skiff::{
    api::OperationPhase,
    sandbox::fault::{Fault, FaultRule},
};

use super::harness::{Setup, World, config_map};

#[tokio::test]
async fn syncs_that_hang_in_slow_requests_delay_no_other() {
    let mut world = Setup::new().without_agent().build().await;
    let mut options = world.agent_options("agent-0");
    // Longer than any test waits: what hangs goes on hanging.
    options.timeouts.write = Duration::from_secs(3600);
    world.start_agent_with(options).await;
    let stuck_namespace = world.unique("stuck");
    let hang = FaultRule { namespace: Some(stuck_namespace.clone()), ..FaultRule::on("patch", "configmaps") };
    world.faults.inject(hang, Fault::Delay(Duration::from_secs(3600)));
    let commit = world.repository.commit(&[
        ("stuck/a.yaml", Some(&config_map("a", "1"))),
        ("stuck/kustomization.yaml", Some("resources: [a.yaml]\n")),
        ("app/a.yaml", Some(&config_map("a", "1"))),
    ]);
    // More than the agent looks at at once.
    let stuck: Vec<String> = (0..40).map(|n| format!("stuck-{n}")).collect();
    for name in &stuck {
        let mut application = world.automated(name, "stuck");
        application["spec"]["destination"]["namespace"] = json!(stuck_namespace);
        application["spec"]["source"]["kustomize"] = json!({ "namePrefix": format!("{name}-") });
        world.apply(application).await;
    }
    world
        .until("all of them hang", async |w: &World| {
            let sent = w.requests.sent();
            let hangs = |name: &String| {
                let path = format!("/namespaces/{stuck_namespace}/configmaps/{name}-a?");
                sent.iter().any(|sent| sent.uri.contains(&path))
            };
            stuck.iter().all(hangs).then_some(())
        })
        .await;
    world.apply(world.automated("orders", "app")).await;
    world.until_synced("orders", &commit).await;
    for name in &stuck {
        let state = world.read_application(name).await.status.operation_state;
        assert!(
            state.is_none_or(|state| state.phase == OperationPhase::Running),
            "{name} does not hang any more"
        );
    }
}

/// The files of a kustomization that would take minutes to render.
fn endless() -> Vec<(&'static str, String)> {
    let many: Vec<String> = (0..2000).map(|n| config_map(&format!("a{n}"), "1")).collect();
    let patches: String = (0..5000)
        .map(|n| {
            let operation = format!("[{{op: add, path: /data/x{n}, value: '1'}}]");
            format!("- {{target: {{kind: ConfigMap, name: '.*'}}, patch: \"{operation}\"}}\n")
        })
        .collect();
    vec![
        ("endless/all.yaml", many.join("---\n")),
        ("endless/kustomization.yaml", format!("resources: [all.yaml]\npatches:\n{patches}")),
    ]
}

#[tokio::test]
async fn an_application_that_renders_for_ever_delays_no_other_and_is_given_up() {
    let world = World::new().await;
    world.parameters(json!({ "controller.repo.server.timeout.seconds": "2" })).await;
    let files = endless();
    let mut changes: Vec<(&str, Option<&str>)> =
        files.iter().map(|(path, text)| (*path, Some(text.as_str()))).collect();
    let small = config_map("small", "1");
    changes.push(("app/a.yaml", Some(&small)));
    let commit = world.repository.commit(&changes);
    // More of them than are rendered at once.
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let endless: Vec<String> = (0..=processors).map(|n| format!("endless-{n}")).collect();
    for name in &endless {
        world.apply(world.automated(name, "endless")).await;
    }
    world.apply(world.automated("orders", "app")).await;
    world.until_synced("orders", &commit).await;
    for name in &endless {
        world.until_condition(name, "ComparisonError", "rendering was given up after 2 s").await;
        let application = world.read_application(name).await;
        let message = &application.status.conditions.first().unwrap().message;
        for part in ["kustomization 'endless'", "controller.repo.server.timeout.seconds"] {
            assert!(message.contains(part), "{message}");
        }
    }

    // It is looked at again and again, and not rendered again before something has changed.
    let rendered = world.metric("skiff_render_cache_misses_total", &[]);
    let reconciled = || world.metric("argocd_app_reconcile_count", &[]);
    let before = reconciled();
    world
        .until("they are looked at again", async |_: &World| (reconciled() > before + 3.0).then_some(()))
        .await;
    assert_eq!(world.metric("skiff_render_cache_misses_total", &[]), rendered);

    let mended = config_map("mended", "1");
    let commit = world.repository.commit(&[
        ("endless/all.yaml", Some(&mended)),
        ("endless/kustomization.yaml", Some("resources: [all.yaml]\n")),
    ]);
    world
        .until_application("endless-0", "is compared again", |application| {
            application.status.sync.as_ref().is_some_and(|sync| sync.revision == commit.as_str())
        })
        .await;
}
