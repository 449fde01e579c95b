//! Syncs that somebody asks for through `operation`: what they do, how they end, and how they are tried again.

use std::time::Duration;

use serde_json::{Value, json};
use skiff::{
    api::{Application, OperationPhase, OperationState, ResourceResult, ResultCode, SyncStatusCode},
    sandbox::fault::{Fault, FaultRule},
};

use super::{
    harness::{Setup, World, config_map},
    recorder::Sent,
};

const APPLICATION: (&str, &str) = ("argoproj.io/v1alpha1", "Application");

fn state(application: &Application) -> &OperationState {
    application.status.operation_state.as_ref().unwrap()
}

fn results(application: &Application) -> &[ResourceResult] {
    &state(application).sync_result.as_ref().unwrap().resources
}

async fn value(world: &World, name: &str) -> Option<Value> {
    Some(world.get("v1", "ConfigMap", &world.namespace, name).await?["data"]["key"].clone())
}

/// Asks for a sync that is tried again as `retry` says.
async fn sync_with_retry(world: &World, retry: Value) {
    let operation = json!({ "sync": {}, "retry": retry });
    let patch = json!({ "operation": operation, "status": { "operationState": null } });
    world.patch(APPLICATION.0, APPLICATION.1, &world.argocd, "orders", patch).await;
}

#[tokio::test]
async fn nothing_is_synced_before_somebody_asks() {
    let world = World::manual(&[("app/a.yaml", Some(&config_map("a", "1")))]).await;
    let application = world.refresh("orders").await;
    assert_eq!(application.status.operation_state, None);
    assert_eq!(value(&world, "a").await, None);
}

#[tokio::test]
async fn a_sync_tells_who_asked_and_what_became_of_each_object() {
    let world = World::manual(&[("app/a.yaml", Some(&config_map("a", "1")))]).await;
    world.sync("orders", json!({})).await;
    let application = world.until_operation("orders", OperationPhase::Succeeded).await;
    let state = state(&application);
    assert_eq!(state.message, "successfully synced (all tasks run)");
    assert_eq!(state.operation.initiated_by.username, "person");
    assert!(!state.operation.initiated_by.automated);
    assert!(state.finished_at.is_some());
    let [result] = results(&application) else { panic!("one result expected: {state:?}") };
    assert_eq!(
        (result.kind.as_str(), result.namespace.as_str(), result.name.as_str()),
        ("ConfigMap", world.namespace.as_str(), "a")
    );
    assert_eq!(
        (result.status, result.message.as_str()),
        (Some(ResultCode::Synced), "configmap/a serverside-applied")
    );
    let [entry] = application.status.history.as_slice() else { panic!("one entry expected") };
    assert_eq!(entry.initiated_by.username, "person");
    assert_eq!(entry.revision, application.status.sync.unwrap().revision);

    world.sync("orders", json!({})).await;
    let application = world.until_operation("orders", OperationPhase::Succeeded).await;
    assert_eq!(results(&application)[0].message, "configmap/a unchanged");
}

#[tokio::test]
async fn a_sync_may_go_to_another_revision() {
    let world = World::new().await;
    let first = world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "1")))]);
    let second = world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "2")))]);
    world.apply(world.application("orders", "app")).await;
    world
        .sync("orders", json!({ "revision": first.as_str(), "syncOptions": ["CreateNamespace=true"] }))
        .await;
    let application = world.until_operation("orders", OperationPhase::Succeeded).await;
    assert_eq!(value(&world, "a").await.unwrap(), "1");
    assert_eq!(state(&application).sync_result.as_ref().unwrap().revision, first.as_str());
    assert_eq!(application.status.history[0].revision, first.as_str());
    let sync = application.status.sync.unwrap();
    assert_eq!((sync.status, sync.revision.as_str()), (SyncStatusCode::OutOfSync, second.as_str()));
}

#[tokio::test]
async fn a_sync_to_a_revision_that_does_not_exist_ends_in_an_error() {
    let world = World::manual(&[("app/a.yaml", Some(&config_map("a", "1")))]).await;
    world.sync("orders", json!({ "revision": "no-such-branch" })).await;
    let application = world.until_operation("orders", OperationPhase::Error).await;
    assert!(state(&application).message.contains("no-such-branch"), "{}", state(&application).message);
    assert_eq!(value(&world, "a").await, None);
}

#[tokio::test]
async fn a_sync_prunes_only_if_it_says_so() {
    let world = World::manual(&[
        ("app/a.yaml", Some(&config_map("a", "1"))),
        ("app/b.yaml", Some(&config_map("b", "1"))),
    ])
    .await;
    world.sync_succeeds("orders").await;
    world.repository.commit(&[("app/b.yaml", None)]);
    world
        .until_application("orders", "has an object to prune", |application| {
            application.status.resources.iter().any(|row| row.requires_pruning)
        })
        .await;
    world.sync("orders", json!({})).await;
    let application = world.until_operation("orders", OperationPhase::Succeeded).await;
    let kept = results(&application).iter().find(|result| result.name == "b").unwrap();
    let skipped = (Some(ResultCode::PruneSkipped), "ignored (requires pruning)");
    assert_eq!((kept.status, kept.message.as_str()), skipped);
    assert!(value(&world, "b").await.is_some());

    world.sync("orders", json!({ "prune": true })).await;
    let application = world.until_operation("orders", OperationPhase::Succeeded).await;
    let pruned = results(&application).iter().find(|result| result.name == "b").unwrap();
    assert_eq!((pruned.status, pruned.message.as_str()), (Some(ResultCode::Pruned), "pruned"));
    assert_eq!(value(&world, "b").await, None);
    world.until_status("orders", SyncStatusCode::Synced).await;
}

#[tokio::test]
async fn a_dry_run_writes_nothing_and_leaves_no_history() {
    let world = World::manual(&[("app/a.yaml", Some(&config_map("a", "1")))]).await;
    world.sync("orders", json!({ "dryRun": true })).await;
    let application = world.until_operation("orders", OperationPhase::Succeeded).await;
    assert_eq!(state(&application).message, "successfully validated (dry run)");
    assert_eq!(results(&application)[0].message, "configmap/a serverside-applied (dry run)");
    assert_eq!(application.status.history, []);
    assert_eq!(application.status.sync_code(), SyncStatusCode::OutOfSync);
    assert_eq!(world.written(), [""; 0]);
    assert_eq!(value(&world, "a").await, None);
}

#[tokio::test]
async fn a_dry_run_shows_what_would_be_refused() {
    let invalid = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {ports: [{port: 70000}]}\n";
    let world = World::manual(&[("app/web.yaml", Some(invalid))]).await;
    world.sync("orders", json!({ "dryRun": true })).await;
    let application = world.until_operation("orders", OperationPhase::Failed).await;
    assert!(state(&application).message.contains("port"), "{}", state(&application).message);
}

#[tokio::test]
async fn a_selective_sync_touches_only_what_is_selected_and_leaves_no_history() {
    let world = World::manual(&[
        ("app/a.yaml", Some(&config_map("a", "1"))),
        ("app/b.yaml", Some(&config_map("b", "1"))),
    ])
    .await;
    world.sync("orders", json!({ "resources": [{ "kind": "ConfigMap", "name": "b" }] })).await;
    let application = world.until_operation("orders", OperationPhase::Succeeded).await;
    assert_eq!(world.names("v1", "ConfigMap", &world.namespace).await, ["b"]);
    assert_eq!(results(&application).len(), 1);
    assert_eq!(application.status.history, []);
    assert_eq!(application.status.sync_code(), SyncStatusCode::OutOfSync);
}

async fn until_refused(world: &World, sync: Value, text: &str) {
    world.sync("orders", sync).await;
    let application = world.until_operation("orders", OperationPhase::Error).await;
    assert!(state(&application).message.contains(text), "{}", state(&application).message);
    assert_eq!(world.written(), [""; 0]);
}

#[tokio::test]
async fn what_is_not_supported_is_refused_by_name() {
    let world = World::manual(&[("app/a.yaml", Some(&config_map("a", "1")))]).await;
    until_refused(&world, json!({ "manifests": ["{}"] }), "operation.sync.manifests").await;
    until_refused(
        &world,
        json!({ "syncOptions": ["Prunelast=true"] }),
        "Prunelast=true is not a sync option",
    )
    .await;
    let nothing = json!({ "operation": { "info": [{ "name": "why", "value": "no reason" }] } });
    world.patch(APPLICATION.0, APPLICATION.1, &world.argocd, "orders", nothing).await;
    world
        .until_application("orders", "has an operation that asked for nothing", |application| {
            application.operation.is_none() && state(application).message.contains("no operation specified")
        })
        .await;
}

#[tokio::test]
async fn a_sync_that_fails_is_tried_again_and_may_succeed() {
    let world = World::manual(&[("app/a.yaml", Some(&config_map("a", "1")))]).await;
    let fails_twice = FaultRule::on("patch", "configmaps").named("a").times(2);
    world.faults.inject(fails_twice, Fault::InternalError);
    sync_with_retry(&world, json!({ "limit": 3, "backoff": { "duration": "10ms", "factor": 1 } })).await;
    let application = world.until_operation("orders", OperationPhase::Succeeded).await;
    assert_eq!(state(&application).retry_count, 2);
    assert_eq!(value(&world, "a").await.unwrap(), "1");
    assert_eq!(application.status.history.len(), 1);
}

#[tokio::test]
async fn a_sync_that_fails_too_often_ends() {
    let world = World::manual(&[("app/a.yaml", Some(&config_map("a", "1")))]).await;
    world.faults.inject(FaultRule::on("patch", "configmaps").named("a"), Fault::InternalError);
    sync_with_retry(&world, json!({ "limit": 2, "backoff": { "duration": "10ms", "factor": 1 } })).await;
    let application = world.until_operation("orders", OperationPhase::Failed).await;
    let message = &state(&application).message;
    assert!(message.ends_with("(retried 2 times)."), "{message}");
    assert!(message.contains("injected fault"), "{message}");
    assert_eq!(results(&application)[0].status, Some(ResultCode::SyncFailed));
    assert_eq!(application.status.history, []);
}

#[tokio::test]
async fn a_retry_takes_the_newest_commit_only_where_it_says_so() {
    let world = World::new().await;
    let service = |port: u32| {
        format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: web}}\nspec: {{ports: [{{port: {port}}}]}}\n"
        )
    };
    let broken = world.repository.commit(&[("app/web.yaml", Some(&service(70000)))]);
    let mended = world.repository.commit(&[("app/web.yaml", Some(&service(80)))]);
    world.create_namespace(&world.namespace).await;
    world.apply(world.application("orders", "app")).await;
    let backoff = json!({ "duration": "1s", "factor": 1 });
    let retry = |refresh: bool| json!({ "limit": 1, "refresh": refresh, "backoff": backoff });
    // As Argo CD's API server asks for a sync: with the commit that the revision was when somebody asked.
    let ask = async |refresh: bool| {
        let operation = json!({ "sync": { "revision": broken.as_str() }, "retry": retry(refresh) });
        let patch = json!({ "operation": operation, "status": { "operationState": null } });
        world.patch(APPLICATION.0, APPLICATION.1, &world.argocd, "orders", patch).await;
    };
    let tried = |application: &Application| {
        let state = state(application);
        (state.sync_result.as_ref().unwrap().revision.clone(), state.retry_count)
    };
    ask(false).await;
    let application = world.until_operation("orders", OperationPhase::Failed).await;
    assert_eq!(tried(&application), (broken.to_string(), 1));
    ask(true).await;
    let application = world.until_operation("orders", OperationPhase::Succeeded).await;
    assert_eq!(tried(&application), (mended.to_string(), 1));
}

/// Asks for a sync that fails and waits long for its next attempt.
async fn until_waiting(world: &World) {
    world.faults.inject(FaultRule::on("patch", "configmaps").named("a"), Fault::InternalError);
    sync_with_retry(world, json!({ "limit": 5, "backoff": { "duration": "1h", "maxDuration": "1h" } })).await;
    let application = world
        .until_application("orders", "waits for its next attempt", |application| {
            application.status.operation_state.as_ref().is_some_and(OperationState::is_waiting_for_retry)
        })
        .await;
    assert!(
        state(&application).message.contains("Retrying attempt #1 at"),
        "{}",
        state(&application).message
    );
    world.faults.clear();
}

#[tokio::test]
async fn an_operation_that_waits_can_be_terminated() {
    let world = World::manual(&[("app/a.yaml", Some(&config_map("a", "1")))]).await;
    until_waiting(&world).await;
    let patch = json!({ "status": { "operationState": { "phase": "Terminating" } } });
    world.patch(APPLICATION.0, APPLICATION.1, &world.argocd, "orders", patch).await;
    let application = world.until_operation("orders", OperationPhase::Failed).await;
    assert_eq!(state(&application).message, "Operation terminated (retried 1 times).");
    assert_eq!(value(&world, "a").await, None);

    world.sync_succeeds("orders").await;
    assert_eq!(value(&world, "a").await.unwrap(), "1");
}

#[tokio::test]
async fn an_operation_that_waits_is_not_disturbed_by_another_request() {
    let world = World::manual(&[("app/a.yaml", Some(&config_map("a", "1")))]).await;
    until_waiting(&world).await;
    let patch =
        json!({ "operation": { "initiatedBy": { "username": "somebody else" }, "sync": { "prune": true } } });
    world.patch(APPLICATION.0, APPLICATION.1, &world.argocd, "orders", patch).await;
    let application = world.refresh("orders").await;
    assert!(state(&application).is_waiting_for_retry());
    assert_eq!(state(&application).operation.initiated_by.username, "");
    assert_eq!(value(&world, "a").await, None);
}

#[tokio::test]
async fn an_operation_that_waits_can_be_replaced_by_a_new_one() {
    let world = World::manual(&[("app/a.yaml", Some(&config_map("a", "1")))]).await;
    until_waiting(&world).await;
    world.sync("orders", json!({})).await;
    let application = world.until_operation("orders", OperationPhase::Succeeded).await;
    assert_eq!(state(&application).operation.initiated_by.username, "person");
    assert_eq!(state(&application).retry_count, 0);
}

#[tokio::test]
async fn the_history_keeps_the_last_ten_syncs_or_as_many_as_the_spec_says() {
    let world = World::new().await;
    world.apply(world.automated("orders", "app")).await;
    let mut commits = Vec::new();
    for round in 0..12 {
        let commit = world.repository.commit(&[("app/a.yaml", Some(&config_map("a", &round.to_string())))]);
        world.until_synced("orders", &commit).await;
        commits.push(commit);
    }
    let application = world.read_application("orders").await;
    let ids: Vec<i64> = application.status.history.iter().map(|entry| entry.id).collect();
    assert_eq!(ids, (2..12).collect::<Vec<_>>());
    let revisions: Vec<&str> =
        application.status.history.iter().map(|entry| entry.revision.as_str()).collect();
    assert_eq!(revisions, commits.iter().skip(2).map(|commit| commit.as_str()).collect::<Vec<_>>());

    world.change_spec("orders", json!({ "revisionHistoryLimit": 3 })).await;
    let commit = world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "last")))]);
    let application = world.until_synced("orders", &commit).await;
    let ids: Vec<i64> = application.status.history.iter().map(|entry| entry.id).collect();
    assert_eq!(ids, [10, 11, 12]);
}

#[tokio::test]
async fn a_source_given_with_the_operation_must_be_permitted_too() {
    let world = World::manual(&[("app/a.yaml", Some(&config_map("a", "1")))]).await;
    let spec = json!({
        "sourceRepos": [world.repository.url()],
        "destinations": [{ "server": "*", "namespace": "*" }],
    });
    world.project("team-a", spec).await;
    world.change_spec("orders", json!({ "project": "team-a" })).await;
    world
        .until_application("orders", "is compared", |application| application.status.conditions.is_empty())
        .await;
    let source =
        json!({ "repoURL": "https://example.com/strange.git", "path": "app", "targetRevision": "main" });
    let text = "application repo https://example.com/strange.git is not permitted in project 'team-a'";
    until_refused(&world, json!({ "source": source }), text).await;
}

#[tokio::test]
async fn a_dry_run_tells_what_would_be_pruned() {
    let world = World::manual(&[
        ("app/a.yaml", Some(&config_map("a", "1"))),
        ("app/b.yaml", Some(&config_map("b", "1"))),
    ])
    .await;
    world.sync_succeeds("orders").await;
    world.repository.commit(&[("app/b.yaml", None)]);
    world.until_status("orders", SyncStatusCode::OutOfSync).await;
    world.sync("orders", json!({ "dryRun": true, "prune": true })).await;
    let application = world.until_operation("orders", OperationPhase::Succeeded).await;
    let pruned = results(&application).iter().find(|result| result.name == "b").unwrap();
    assert_eq!((pruned.status, pruned.message.as_str()), (Some(ResultCode::Pruned), "pruned (dry run)"));
    assert_eq!(world.names("v1", "ConfigMap", &world.namespace).await, ["a", "b"]);
}

/// Asks for a sync and leaves on record what runs already.
async fn ask(world: &World, who: &str, retry: Value) {
    let operation = json!({ "initiatedBy": { "username": who }, "sync": {}, "retry": retry });
    let patch = json!({ "operation": operation });
    world.patch(APPLICATION.0, APPLICATION.1, &world.argocd, "orders", patch).await;
}

/// Waits until the operation of `who` has ended well and nothing more is asked for.
async fn until_done(world: &World, who: &str) -> Application {
    let is_done = |application: &Application| {
        let state = application.status.operation_state.as_ref();
        application.operation.is_none()
            && state.is_some_and(|state| {
                state.phase == OperationPhase::Succeeded && state.operation.initiated_by.username == who
            })
    };
    world.until_application("orders", &format!("has done what {who} asked for"), is_done).await
}

fn who_synced(application: &Application) -> Vec<&str> {
    application.status.history.iter().map(|entry| entry.initiated_by.username.as_str()).collect()
}

#[tokio::test]
async fn an_operation_that_is_asked_for_while_another_runs_is_next() {
    let world = World::manual(&[("app/a.yaml", Some(&config_map("a", "1")))]).await;
    let apply = FaultRule::on("patch", "configmaps").named("a").times(1);
    world.faults.inject(apply, Fault::Delay(Duration::from_millis(700)));
    ask(&world, "first", json!({})).await;
    world
        .until_application("orders", "is being synced", |application| {
            let state = application.status.operation_state.as_ref();
            state.is_some_and(|state| state.phase == OperationPhase::Running)
        })
        .await;
    ask(&world, "second", json!({})).await;
    let application = until_done(&world, "second").await;
    assert_eq!(who_synced(&application), ["first", "second"]);
}

#[tokio::test]
async fn an_operation_that_is_asked_for_while_another_waits_for_its_retry_is_next() {
    let world = World::manual(&[("app/a.yaml", Some(&config_map("a", "1")))]).await;
    world.faults.inject(FaultRule::on("patch", "configmaps").named("a").times(1), Fault::Forbidden);
    let backoff = json!({ "limit": 3, "refresh": true, "backoff": { "duration": "2s" } });
    ask(&world, "first", backoff).await;
    world
        .until_application("orders", "waits for its retry", |application| {
            application.status.operation_state.as_ref().is_some_and(|state| state.retry_count == 1)
        })
        .await;
    ask(&world, "second", json!({})).await;
    let application = until_done(&world, "second").await;
    assert_eq!(who_synced(&application), ["first", "second"]);
}

#[tokio::test]
async fn an_operation_that_is_asked_for_at_the_instant_when_another_ends_is_next() {
    let world = World::manual(&[("app/a.yaml", Some(&config_map("a", "1")))]).await;
    let ends = FaultRule::on("patch", "applications").named("orders");
    // The agent's writes of the Application are late, so that it does not know of the second one when it ends the first.
    world.faults.inject(ends, Fault::Delay(Duration::from_millis(500)));
    ask(&world, "first", json!({})).await;
    world
        .until("the end is on its way", async |w: &World| {
            let ends = |sent: &Sent| sent.is_write() && sent.body().contains("\"operation\":null");
            w.requests.sent().iter().any(ends).then_some(())
        })
        .await;
    ask(&world, "second", json!({})).await;
    world.faults.clear();
    let application = until_done(&world, "second").await;
    assert_eq!(who_synced(&application), ["first", "second"]);
}

#[tokio::test]
async fn an_operation_that_hangs_can_be_terminated() {
    let mut world = Setup::new().without_agent().build().await;
    let mut options = world.agent_options("agent-0");
    // Longer than any test waits.
    options.timeouts.write = Duration::from_secs(3600);
    world.start_agent_with(options).await;
    world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "1")))]);
    world.create_namespace(&world.namespace).await;
    world.apply(world.application("orders", "app")).await;
    world.until_status("orders", SyncStatusCode::OutOfSync).await;
    let apply = FaultRule::on("patch", "configmaps").named("a");
    world.faults.inject(apply, Fault::Delay(Duration::from_secs(3600)));
    world.sync("orders", json!({})).await;
    world
        .until("the apply hangs", async |w: &World| {
            w.requests
                .sent()
                .iter()
                .any(|sent| sent.method == "PATCH" && sent.uri.contains("/configmaps/a"))
                .then_some(())
        })
        .await;
    let patch = json!({ "status": { "operationState": { "phase": "Terminating" } } });
    world.patch(APPLICATION.0, APPLICATION.1, &world.argocd, "orders", patch).await;
    let application = world.until_operation("orders", OperationPhase::Failed).await;
    let state = application.status.operation_state.unwrap();
    assert!(state.message.contains("Operation terminated"), "{}", state.message);
    assert!(application.operation.is_none());

    world.faults.clear();
    world.sync_succeeds("orders").await;
}
