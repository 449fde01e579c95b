use serde_json::{Value, json};

use super::*;
use crate::api::HealthStatus;

const COMMIT: &str = "0123456789012345678901234567890123456789";

fn status(value: Value) -> ApplicationStatus {
    serde_json::from_value(value).unwrap()
}

fn row(kind: &str, status: &str) -> Value {
    json!({ "version": "v1", "kind": kind, "namespace": "shop", "name": "a", "status": status })
}

/// What Argo CD says of an Application whose source is empty.
fn theirs(sync: &str, health: &str, rows: Value) -> Value {
    let mut status = json!({
        "sync": { "status": sync, "revision": COMMIT, "comparedTo": { "source": source() } },
        "health": { "status": health },
        "reconciledAt": "2026-03-01T12:00:00Z",
    });
    status["resources"] = rows;
    status
}

fn source() -> ApplicationSource {
    ApplicationSource { repo_url: "https://git.example.com/a".to_owned(), ..ApplicationSource::default() }
}

fn ours(sync: SyncStatusCode, rows: &[Value]) -> Ours {
    Ours {
        revisions: vec![COMMIT.to_owned()],
        sync,
        health: HealthStatusCode::Healthy,
        rows: rows.iter().map(|row| serde_json::from_value(row.clone()).unwrap()).collect(),
        ..Ours::default()
    }
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn compared(ours: &Ours, theirs: Value) -> Outcome {
    compare(ours, &status(theirs), Some(&source()), &[], at("2026-03-01T12:00:10Z"))
}

#[test]
fn the_same_verdicts_are_equal() {
    let rows = [row("ConfigMap", "Synced")];
    let outcome = compared(&ours(SyncStatusCode::Synced, &rows), theirs("Synced", "Healthy", json!(rows)));
    assert_eq!((outcome.agreement, outcome.differences.len()), (Agreement::Equal, 0));
    assert_eq!(outcome.revisions, [COMMIT]);
}

#[test]
fn each_side_of_a_difference_is_named() {
    let ours = ours(SyncStatusCode::OutOfSync, &[row("ConfigMap", "OutOfSync"), row("Secret", "Synced")]);
    let outcome = compared(
        &ours,
        theirs("Synced", "Degraded", json!([row("ConfigMap", "Synced"), row("Service", "Synced")])),
    );
    let told: Vec<String> =
        outcome.differences.iter().map(|it| format!("{}: {} {}", it.of, it.skiff, it.argo_cd)).collect();
    assert_eq!(outcome.agreement, Agreement::Different);
    assert_eq!(
        told,
        [
            "sync status: OutOfSync Synced",
            "health: Healthy Degraded",
            "ConfigMap:shop/a: OutOfSync Synced",
            "Secret:shop/a: Synced (absent)",
            "Service:shop/a: (absent) Synced",
        ]
    );
}

#[test]
fn the_health_of_an_object_counts_where_both_have_it() {
    let with_health = |code: HealthStatusCode| {
        let mut row = row("ConfigMap", "Synced");
        row["health"] = serde_json::to_value(HealthStatus::new(code, "")).unwrap();
        row
    };
    let ours = ours(SyncStatusCode::Synced, &[with_health(HealthStatusCode::Healthy)]);
    let elsewhere = theirs("Synced", "Healthy", json!([row("ConfigMap", "Synced")]));
    assert_eq!(compared(&ours, elsewhere).agreement, Agreement::Equal);
    let here = theirs("Synced", "Healthy", json!([with_health(HealthStatusCode::Degraded)]));
    assert_eq!(compared(&ours, here).differences[0].of, "ConfigMap:shop/a health");
}

#[test]
fn what_only_a_dry_run_could_settle_is_doubtful() {
    let mut ours = ours(SyncStatusCode::OutOfSync, &[row("ConfigMap", "OutOfSync")]);
    ours.guessed.insert(ObjectKey::new("", "ConfigMap", "shop", "a"), vec!["data.key differs".to_owned()]);
    let outcome = compared(&ours, theirs("Synced", "Healthy", json!([row("ConfigMap", "Synced")])));
    assert_eq!(outcome.agreement, Agreement::Doubtful);
    assert_eq!(outcome.differences[1].because, ["data.key differs"]);
    // Where Argo CD sees the same there is no doubt.
    let same = theirs("OutOfSync", "Healthy", json!([row("ConfigMap", "OutOfSync")]));
    assert_eq!(compared(&ours, same).agreement, Agreement::Equal);
    // What else differs is not settled by any dry run.
    ours.rows.push(serde_json::from_value(row("Secret", "OutOfSync")).unwrap());
    let rows = json!([row("ConfigMap", "Synced"), row("Secret", "Synced")]);
    let outcome = compared(&ours, theirs("Synced", "Healthy", rows));
    assert_eq!(outcome.agreement, Agreement::Different);
}

#[test]
fn verdicts_on_something_else_are_not_compared() {
    let ours = ours(SyncStatusCode::OutOfSync, &[]);
    let mut other_revision = theirs("Synced", "Healthy", json!([]));
    other_revision["sync"]["revision"] = json!("ffff");
    let mut other_source = theirs("Synced", "Healthy", json!([]));
    other_source["sync"]["comparedTo"]["source"]["path"] = json!("elsewhere");
    for (status, why) in [(other_revision, "compared ffff yet"), (other_source, "the present sources")] {
        let outcome = compared(&ours, status);
        assert_eq!(outcome.agreement, Agreement::NotComparable);
        assert!(outcome.why.contains(why), "{}", outcome.why);
        assert!(outcome.differences.is_empty());
    }
    // An error of Argo CD's is a difference, whichever commit it is about.
    let mut error = theirs("Unknown", "Healthy", json!([]));
    error["sync"]["revision"] = json!("");
    error["conditions"] = json!([{ "type": "ComparisonError", "message": "cannot render" }]);
    let outcome = compared(&ours, error);
    assert_eq!(outcome.agreement, Agreement::Different);
    assert_eq!(outcome.differences[1].of, "condition ComparisonError");
    assert!(!format!("{outcome:?}").contains("cannot render"), "Argo CD's messages stay where they are");
}

#[test]
fn an_error_of_skiffs_counts_when_argo_cd_has_looked_after_it() {
    let error = ApplicationCondition::new(names::CONDITION_COMPARISON_ERROR, "line 3");
    let failing = |since: &str| Ours {
        conditions: vec![error.clone()],
        failing_since: Some(at(since)),
        ..Ours { revisions: Vec::new(), ..ours(SyncStatusCode::Unknown, &[]) }
    };
    let status = || theirs("Synced", "Healthy", json!([]));
    assert_eq!(compared(&failing("2026-03-01T12:00:05Z"), status()).agreement, Agreement::NotComparable);
    let outcome = compared(&failing("2026-03-01T11:59:00Z"), status());
    assert_eq!(outcome.agreement, Agreement::Different);
    assert_eq!(outcome.differences[1].because, ["line 3"]);
}

#[test]
fn while_something_happens_nothing_is_compared() {
    let application = |change: Value| {
        let mut value = json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Application",
            "metadata": { "name": "a", "namespace": "argocd" },
            "spec": { "project": "default", "destination": {}, "source": source() },
            "status": theirs("Synced", "Healthy", json!([])),
        });
        json_patch::merge(&mut value, &change);
        Application::from_value(value).unwrap()
    };
    assert_eq!(obstacle(&application(json!({}))), None);
    for (change, why) in [
        (json!({ "metadata": { "deletionTimestamp": "2026-03-01T12:00:00Z" } }), "deleted"),
        (json!({ "operation": { "sync": {} } }), "operation"),
        (
            json!({ "status": { "operationState": { "phase": "Running", "operation": {}, "startedAt": "2026-03-01T12:00:00Z" } } }),
            "operation",
        ),
        (json!({ "metadata": { "annotations": { "argocd.argoproj.io/refresh": "normal" } } }), "refresh"),
        (json!({ "metadata": { "annotations": { "argocd.argoproj.io/skip-reconcile": "true" } } }), "skip"),
        (json!({ "status": { "sync": null } }), "not compared"),
    ] {
        let told = obstacle(&application(change.clone()));
        assert!(told.is_some_and(|told| told.contains(why)), "{change}: {told:?}");
    }
}
