//! Rows, sync status and summary.

#![allow(clippy::needless_pass_by_value, reason = "values are written in place")]

use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::sync::ownership::TrackingSettings;

fn tracking() -> Tracking {
    Tracking::new(&TrackingSettings::default(), "orders", "argocd", "argocd", "shop")
}

fn object(name: &str, annotations: Value) -> Arc<Object> {
    let value = json!({ "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": name, "namespace": "shop", "annotations": annotations } });
    Arc::new(tracking().mark(Object::from_value(value).unwrap()))
}

fn candidate(name: &str, annotations: Value, verdict: Verdict) -> Candidate {
    let object = object(name, annotations);
    let desired = (verdict != Verdict::Extra).then(|| Arc::clone(&object));
    let live = (verdict != Verdict::Missing).then_some(object);
    Candidate { desired, live, verdict }
}

fn rolled(candidates: &[Candidate]) -> (Vec<ResourceStatus>, SyncStatusCode) {
    let judged: Vec<Judged<'_>> =
        candidates.iter().map(|candidate| Judged { candidate, health: None, permitted: true }).collect();
    sync_status(&judged, RollupInput { tracking: &tracking(), options: &SyncOptions::default() })
}

use SyncStatusCode::{OutOfSync, Synced, Unknown};

#[test]
fn an_application_is_out_of_sync_when_an_object_is() {
    for (verdict, expected) in [
        (Verdict::Same, Synced),
        (Verdict::Differs(Vec::new()), OutOfSync),
        (Verdict::Missing, OutOfSync),
        (Verdict::Extra, OutOfSync),
        (Verdict::Unknown, Unknown),
    ] {
        let (rows, whole) =
            rolled(&[candidate("a", json!({}), Verdict::Same), candidate("b", json!({}), verdict.clone())]);
        assert_eq!((whole, rows[1].status), (expected, Some(expected)), "{verdict:?}");
        assert_eq!(rows[1].requires_pruning, verdict == Verdict::Extra);
    }
    assert_eq!(rolled(&[]).1, Synced);
}

#[test]
fn rows_are_sorted_and_carry_the_identity() {
    let (rows, _) = rolled(&[
        candidate("b", json!({ "argocd.argoproj.io/sync-wave": "3" }), Verdict::Same),
        candidate("a", json!({}), Verdict::Same),
    ]);
    assert_eq!(rows.iter().map(|row| row.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    let row = &rows[1];
    assert_eq!(
        (row.group.as_str(), row.version.as_str(), row.kind.as_str(), row.namespace.as_str(), row.sync_wave),
        ("apps", "v1", "Deployment", "shop", 3)
    );
}

#[test]
fn hooks_and_skipped_objects_have_no_status_and_do_not_count() {
    for (annotations, hook) in [
        (json!({ "argocd.argoproj.io/hook": "PreSync" }), true),
        (json!({ "argocd.argoproj.io/hook": "Skip" }), false),
        (json!({ "helm.sh/hook": "test" }), false),
    ] {
        let (rows, whole) = rolled(&[candidate("a", annotations, Verdict::Same)]);
        assert_eq!((whole, rows[0].status, rows[0].hook), (Synced, None, hook));
    }
    let hook = json!({ "argocd.argoproj.io/hook": "PreSync" });
    let (rows, whole) = rolled(&[candidate("a", hook, Verdict::Missing)]);
    assert_eq!((rows.len(), whole), (0, Synced), "a hook that does not run is not missing");
}

#[test]
fn a_copied_id_gives_no_status_and_needs_no_pruning() {
    let mut copy = Object::clone(&object("copy", json!({})));
    copy.set_annotation("argocd.argoproj.io/tracking-id", "orders:apps/Deployment:shop/original");
    let (rows, whole) =
        rolled(&[Candidate { desired: None, live: Some(Arc::new(copy)), verdict: Verdict::Extra }]);
    assert_eq!((whole, rows[0].status, rows[0].requires_pruning), (Synced, None, false));
}

#[test]
fn an_extraneous_object_may_be_ignored_but_its_row_is_honest() {
    let ignored = json!({ "argocd.argoproj.io/compare-options": "ServerSideDiff=true, IgnoreExtraneous" });
    let (rows, whole) = rolled(&[candidate("a", ignored.clone(), Verdict::Extra)]);
    assert_eq!((whole, rows[0].status, rows[0].requires_pruning), (Synced, Some(OutOfSync), true));
    assert_eq!(rolled(&[candidate("a", ignored, Verdict::Differs(Vec::new()))]).1, OutOfSync);
}

#[test]
fn a_kind_that_the_project_forbids_is_unknown() {
    let forbidden = candidate("a", json!({}), Verdict::Same);
    let judged = [Judged { candidate: &forbidden, health: None, permitted: false }];
    let (rows, whole) =
        sync_status(&judged, RollupInput { tracking: &tracking(), options: &SyncOptions::default() });
    assert_eq!((rows[0].status, whole), (Some(Unknown), Synced));
}

#[test]
fn deletions_to_confirm_are_shown() {
    let own = candidate("a", json!({ "argocd.argoproj.io/sync-options": "Prune=confirm" }), Verdict::Same);
    assert!(rolled(&[own]).0[0].requires_deletion_confirmation);
    let plain = candidate("a", json!({}), Verdict::Same);
    assert!(!rolled(std::slice::from_ref(&plain)).0[0].requires_deletion_confirmation);
    let judged = [Judged { candidate: &plain, health: None, permitted: true }];
    let options = SyncOptions::new(&["Delete=confirm".to_owned()]);
    let (rows, _) = sync_status(&judged, RollupInput { tracking: &tracking(), options: &options });
    assert!(rows[0].requires_deletion_confirmation);
}

fn summed(annotations: &[(&str, &str)], objects: Vec<Value>) -> ApplicationSummary {
    let objects: Vec<Object> = objects.into_iter().map(|value| Object::from_value(value).unwrap()).collect();
    summary(annotations.iter().copied(), &objects)
}

#[test]
fn images_are_collected_from_pods_and_their_templates() {
    let pod = json!({ "initContainers": [{ "image": "init:1" }], "containers": [{ "image": "b:1" }, { "image": "a:1" }, {}] });
    let found = summed(
        &[],
        vec![
            json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "a" }, "spec": pod }),
            json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "a" }, "spec": { "template": { "spec": pod } } }),
            json!({ "apiVersion": "batch/v1", "kind": "CronJob", "metadata": { "name": "a" },
            "spec": { "jobTemplate": { "spec": { "template": { "spec": { "containers": [{ "image": "c:1" }] } } } } } }),
        ],
    );
    assert_eq!(found.images, ["a:1", "b:1", "c:1", "init:1"]);
}

#[test]
fn addresses_come_from_ingresses_services_and_links() {
    let ingress = json!({ "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": { "name": "a" }, "spec": {
        "tls": [{ "hosts": ["shop.example"] }],
        "rules": [
            { "host": "shop.example", "http": { "paths": [{ "path": "/api/*" }, { "path": "/" }] } },
            { "host": "plain.example" },
            { "http": { "paths": [{ "path": "/x" }] } },
        ] }, "status": { "loadBalancer": { "ingress": [{ "hostname": "lb.example" }] } } });
    let service = |port: i32| {
        json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": "a" },
        "spec": { "type": "LoadBalancer", "ports": [{ "port": port }] },
        "status": { "loadBalancer": { "ingress": [{ "ip": "10.0.0.1" }] } } })
    };
    let found = summed(
        &[("link.argocd.argoproj.io/docs", "Docs|https://docs.example"), ("other", "x")],
        vec![ingress.clone(), service(443), service(5432)],
    );
    assert_eq!(
        found.external_urls,
        [
            "Docs|https://docs.example",
            "http://lb.example/x",
            "http://plain.example",
            "https://10.0.0.1",
            "https://shop.example/",
            "https://shop.example/api/",
        ]
    );
    let mut hidden = ingress;
    hidden["metadata"]["annotations"] = json!({ "argocd.argoproj.io/ignore-default-links": "true" });
    assert_eq!(summed(&[], vec![hidden]).external_urls, Vec::<String>::new());
}

#[test]
fn an_application_of_applications_is_known() {
    let child =
        json!({ "apiVersion": "argoproj.io/v1alpha1", "kind": "Application", "metadata": { "name": "a" } });
    assert!(summed(&[], vec![child]).is_app_of_apps);
    assert!(!summed(&[], Vec::new()).is_app_of_apps);
}
