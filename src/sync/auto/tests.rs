//! Every row of the decision.

#![allow(clippy::needless_pass_by_value, reason = "values are written in place")]

use serde_json::{Value, json};

use super::*;
use crate::api::Time;

const NOW: i64 = 1_000_000;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// An Application with an automated policy.
fn application(automated: Value, status: Value) -> Application {
    Application::from_value(json!({
        "metadata": { "name": "orders", "namespace": "argocd" },
        "spec": {
            "project": "default", "destination": { "name": "in-cluster" }, "source": { "repoURL": "r", "path": "p" },
            "syncPolicy": { "automated": automated, "syncOptions": ["CreateNamespace=true"] },
        },
        "status": status,
    }))
    .unwrap()
}

fn row(name: &str, status: Option<SyncStatusCode>, requires_pruning: bool) -> ResourceStatus {
    ResourceStatus {
        kind: "ConfigMap".to_owned(),
        name: name.to_owned(),
        namespace: "shop".to_owned(),
        status,
        requires_pruning,
        ..ResourceStatus::default()
    }
}

fn changed() -> Vec<ResourceStatus> {
    vec![
        row("same", Some(SyncStatusCode::Synced), false),
        row("changed", Some(SyncStatusCode::OutOfSync), false),
    ]
}

/// A finished operation for revision `abc`.
fn attempted(phase: &str, heals: i64, finished: i64) -> Value {
    json!({ "operationState": {
        "phase": phase, "message": "it broke", "startedAt": "1970-01-01T00:00:00Z", "finishedAt": Time::new(at(finished)).to_string(),
        "operation": { "sync": { "autoHealAttemptsCount": heals } },
        "syncResult": { "revision": "abc", "source": { "repoURL": "r", "path": "p" } },
    } })
}

fn decided(
    application: &Application,
    resources: &[ResourceStatus],
    status: SyncStatusCode,
    revision: &str,
) -> Decision {
    decided_after(application, resources, status, revision, None)
}

fn decided_after(
    application: &Application,
    resources: &[ResourceStatus],
    status: SyncStatusCode,
    revision: &str,
    remotes_moved: Option<Timestamp>,
) -> Decision {
    let sync = SyncStatus { status, revision: revision.to_owned(), ..SyncStatus::default() };
    decide(&AutoSyncInput {
        application,
        sync: &sync,
        resources,
        kept: &HashSet::from([ObjectKey::new("", "ConfigMap", "shop", "kept")]),
        sources: &application.spec.effective_sources(),
        remotes_moved,
        now: at(NOW),
        backoff: SelfHealBackoff::default(),
    })
}

fn decision(automated: Value, status: Value) -> Decision {
    decided(&application(automated, status), &changed(), SyncStatusCode::OutOfSync, "abc")
}

fn started(decision: Decision) -> SyncOperation {
    let Decision::Start(operation) = decision else { panic!("{decision:?}") };
    assert!(operation.initiated_by.automated);
    operation.sync.unwrap()
}

#[test]
fn a_new_revision_begins_a_sync() {
    let sync = started(decision(json!({ "prune": true }), json!({})));
    assert_eq!((sync.revision.as_str(), sync.prune, sync.resources.len()), ("abc", true, 0));
    assert_eq!(sync.sync_options, ["CreateNamespace=true"]);
    assert_eq!(sync.source.unwrap().path, "p");
    let Decision::Start(operation) = decision(json!({}), json!({})) else { panic!() };
    assert_eq!(operation.retry.limit, 5);
}

#[test]
fn a_remote_base_that_moved_after_the_last_sync_is_as_good_as_a_new_revision() {
    let mut last = attempted("Succeeded", 0, 900);
    last["operationState"]["startedAt"] = json!(Time::new(at(800)).to_string());
    let application = application(json!({}), last);
    let decided =
        |moved| decided_after(&application, &changed(), SyncStatusCode::OutOfSync, "abc", Some(at(moved)));
    assert_eq!(decided(700), Decision::Nothing(Nothing::AlreadySynced));
    assert_eq!(started(decided(850)).revision, "abc");
}

#[test]
fn nothing_begins_without_a_policy_during_an_operation_or_a_deletion() {
    assert_eq!(decision(json!({ "enabled": false }), json!({})), Decision::Nothing(Nothing::NotAutomated));
    let mut manual = application(json!({}), json!({}));
    manual.spec.sync_policy = None;
    let out = SyncStatusCode::OutOfSync;
    assert_eq!(decided(&manual, &changed(), out, "abc"), Decision::Nothing(Nothing::NotAutomated));
    let mut requested = application(json!({}), json!({}));
    requested.operation = Some(Operation::default());
    assert_eq!(decided(&requested, &changed(), out, "abc"), Decision::Nothing(Nothing::OperationInProgress));
    assert_eq!(
        decision(json!({}), attempted("Running", 0, 0)),
        Decision::Nothing(Nothing::OperationInProgress)
    );
    let mut value = application(json!({}), json!({})).to_value();
    value["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
    let deleting = Application::from_value(value).unwrap();
    assert_eq!(decided(&deleting, &changed(), out, "abc"), Decision::Nothing(Nothing::Deleting));
}

#[test]
fn nothing_begins_when_nothing_is_out_of_sync() {
    for status in [SyncStatusCode::Synced, SyncStatusCode::Unknown] {
        let found = decided(&application(json!({}), json!({})), &changed(), status, "abc");
        assert_eq!(found, Decision::Nothing(Nothing::NotOutOfSync));
    }
}

#[test]
fn nothing_begins_for_prunes_alone_without_prune() {
    let rows = [
        row("same", Some(SyncStatusCode::Synced), false),
        row("extra", Some(SyncStatusCode::OutOfSync), true),
        row("hook", None, false),
    ];
    let out = SyncStatusCode::OutOfSync;
    let without = decided(&application(json!({}), json!({})), &rows, out, "abc");
    assert_eq!(without, Decision::Nothing(Nothing::OnlyPrunesLeft));
    assert!(started(decided(&application(json!({ "prune": true }), json!({})), &rows, out, "abc")).prune);
}

#[test]
fn a_failed_attempt_is_not_repeated_for_the_same_revision() {
    for phase in ["Failed", "Error"] {
        let heal = json!({ "selfHeal": true });
        assert_eq!(
            decision(heal, attempted(phase, 0, 0)),
            Decision::Refuse("Failed last sync attempt to [abc]: it broke".to_owned())
        );
    }
    let other = decided(
        &application(json!({}), attempted("Failed", 0, 0)),
        &changed(),
        SyncStatusCode::OutOfSync,
        "def",
    );
    assert_eq!(started(other).revision, "def");
}

#[test]
fn an_operation_that_ended_without_a_result_counts_as_an_attempt() {
    let mut status = attempted("Error", 0, 0);
    status["operationState"].as_object_mut().unwrap().shift_remove("syncResult");
    assert!(matches!(decision(json!({}), status), Decision::Refuse(_)));
}

#[test]
fn another_source_is_another_attempt() {
    let mut status = attempted("Failed", 0, 0);
    status["operationState"]["syncResult"]["source"]["path"] = "other".into();
    assert_eq!(started(decision(json!({}), status)).auto_heal_attempts_count, 0);
}

#[test]
fn what_is_to_stay_is_no_drift() {
    let heals = json!({ "prune": true, "selfHeal": true });
    let kept = || row("kept", Some(SyncStatusCode::OutOfSync), true);
    let application = application(heals, attempted("Succeeded", 0, 0));
    let decide = |rows: &[ResourceStatus], revision: &str| {
        decided(&application, rows, SyncStatusCode::OutOfSync, revision)
    };
    let same = row("same", Some(SyncStatusCode::Synced), false);
    assert_eq!(decide(&[same, kept()], "abc"), Decision::Nothing(Nothing::OnlyPrunesLeft));
    let [same, changed] = changed().try_into().unwrap();
    let sync = started(decide(&[same, changed, kept()], "abc"));
    assert_eq!(sync.resources.iter().map(|it| it.name.as_str()).collect::<Vec<_>>(), ["changed"]);
    // The first sync of a revision says what it leaves.
    assert!(
        started(decide(&[kept(), row("same", Some(SyncStatusCode::Synced), false)], "def"))
            .resources
            .is_empty()
    );
}

#[test]
fn drift_is_left_alone_without_self_heal() {
    assert_eq!(decision(json!({}), attempted("Succeeded", 0, 0)), Decision::Nothing(Nothing::AlreadySynced));
}

#[test]
fn drift_is_put_right_at_once_and_only_where_it_is() {
    let sync = started(decision(json!({ "selfHeal": true }), attempted("Succeeded", 0, NOW)));
    assert_eq!(sync.auto_heal_attempts_count, 1);
    let names: Vec<&str> = sync.resources.iter().map(|resource| resource.name.as_str()).collect();
    assert_eq!(names, ["changed"]);
}

#[test]
fn drift_that_comes_back_is_put_right_ever_less_often() {
    let heal = || json!({ "selfHeal": true });
    assert_eq!(decision(heal(), attempted("Succeeded", 1, NOW - 1)), Decision::Later(at(NOW + 1)));
    assert_eq!(started(decision(heal(), attempted("Succeeded", 1, NOW - 2))).auto_heal_attempts_count, 2);
    assert_eq!(decision(heal(), attempted("Succeeded", 3, NOW)), Decision::Later(at(NOW + 18)));
    assert_eq!(decision(heal(), attempted("Succeeded", 50, NOW)), Decision::Later(at(NOW + 300)));
    let seconds: Vec<u64> =
        (0..8).map(|attempts| SelfHealBackoff::default().delay(attempts).as_secs()).collect();
    assert_eq!(seconds, [0, 2, 6, 18, 54, 162, 300, 300]);
    assert_eq!(SelfHealBackoff::default().delay(i64::MAX).as_secs(), 300);
    assert_eq!(SelfHealBackoff::default().delay(-1).as_secs(), 0);
}

#[test]
fn after_a_quiet_time_the_attempts_begin_anew() {
    let sync = started(decision(json!({ "selfHeal": true }), attempted("Succeeded", 9, NOW - 700)));
    assert_eq!(sync.auto_heal_attempts_count, 1);
}

#[test]
fn an_automated_sync_does_not_wipe_everything_out() {
    let rows =
        [row("a", Some(SyncStatusCode::OutOfSync), true), row("b", Some(SyncStatusCode::OutOfSync), true)];
    let out = SyncStatusCode::OutOfSync;
    assert_eq!(
        decided(&application(json!({ "prune": true }), json!({})), &rows, out, "abc"),
        Decision::Refuse("Skipping sync attempt to [abc]: auto-sync will wipe out all resources".to_owned())
    );
    let empty = json!({ "prune": true, "allowEmpty": true });
    assert!(started(decided(&application(empty, json!({})), &rows, out, "abc")).prune);
}

#[test]
fn a_heal_that_failed_does_not_keep_what_drifted_later_waiting() {
    let heals = json!({ "selfHeal": true });
    let healed = |name: &str| {
        let mut status = attempted("Failed", 1, NOW - 100);
        let object = json!({ "kind": "ConfigMap", "name": name, "namespace": "shop" });
        status["operationState"]["operation"]["sync"]["resources"] = json!([object]);
        application(heals.clone(), status)
    };
    let decide = |name: &str| decided(&healed(name), &changed(), SyncStatusCode::OutOfSync, "abc");
    assert!(matches!(decide("changed"), Decision::Refuse(_)), "the same object would fail again");
    let Decision::Start(operation) = decide("another") else { panic!("what drifted later is put back") };
    let sync = operation.sync.unwrap();
    assert_eq!(sync.resources.iter().map(|it| it.name.as_str()).collect::<Vec<_>>(), ["changed"]);
    assert_eq!(sync.auto_heal_attempts_count, 2);
}

#[test]
fn a_heal_that_is_tried_again_takes_along_what_drifted_since() {
    let mut status = attempted("Running", 1, NOW - 100);
    let object = json!({ "kind": "ConfigMap", "name": "first", "namespace": "shop" });
    status["operationState"]["operation"]["sync"]["resources"] = json!([object]);
    let mut state = application(json!({ "selfHeal": true }), status).status.operation_state.unwrap();
    let names = |state: &OperationState| {
        let sync = state.operation.sync.as_ref().unwrap();
        sync.resources.iter().map(|it| it.name.clone()).collect::<Vec<_>>()
    };
    state.operation.initiated_by.automated = false;
    widen(&mut state, &changed());
    assert_eq!(names(&state), ["first"], "a person asked for this one alone");
    state.operation.initiated_by.automated = true;
    widen(&mut state, &changed());
    widen(&mut state, &changed());
    assert_eq!(names(&state), ["first", "changed"]);
}
