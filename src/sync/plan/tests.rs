//! The order of a plan, and what is pruned.

#![allow(clippy::needless_pass_by_value, reason = "values are written in place")]

use serde_json::{Value, json};

use super::*;
use crate::sync::ownership::TrackingSettings;

fn tracking() -> Tracking {
    Tracking::new(&TrackingSettings::default(), "orders", "argocd", "argocd", "shop")
}

fn object(kind: &str, name: &str, annotations: Value) -> Object {
    let (api_version, namespaced) = match kind {
        "Namespace" => ("v1", false),
        "CustomResourceDefinition" => ("apiextensions.k8s.io/v1", false),
        "Widget" => ("example.com/v1", true),
        "Deployment" => ("apps/v1", true),
        _ => ("v1", true),
    };
    let mut metadata = json!({ "name": name, "annotations": annotations });
    if namespaced {
        metadata["namespace"] = "shop".into();
    }
    let mut value = json!({ "apiVersion": api_version, "kind": kind, "metadata": metadata });
    if kind == "CustomResourceDefinition" {
        value["spec"] = json!({ "group": "example.com", "names": { "kind": "Widget" } });
    }
    tracking().mark(Object::from_value(value).unwrap())
}

fn wave(wave: i64) -> Value {
    json!({ "argocd.argoproj.io/sync-wave": wave.to_string() })
}

fn options(options: &str) -> Value {
    json!({ "argocd.argoproj.io/sync-options": options })
}

fn new(kind: &str, name: &str, annotations: Value) -> Candidate {
    Candidate {
        desired: Some(Arc::new(object(kind, name, annotations))),
        live: None,
        verdict: Verdict::Missing,
    }
}

fn same(kind: &str, name: &str) -> Candidate {
    let object = Arc::new(object(kind, name, json!({})));
    Candidate { desired: Some(Arc::clone(&object)), live: Some(object), verdict: Verdict::Same }
}

fn extra(kind: &str, name: &str, annotations: Value) -> Candidate {
    Candidate {
        desired: None,
        live: Some(Arc::new(object(kind, name, annotations))),
        verdict: Verdict::Extra,
    }
}

struct Sync {
    options: Vec<String>,
    prune: bool,
    resources: Vec<SyncOperationResource>,
    skip_hooks: bool,
    namespace_exists: bool,
    namespace_metadata: Option<ManagedNamespaceMetadata>,
    former_namespace_metadata: Option<ManagedNamespaceMetadata>,
    approved: bool,
    rows: Vec<ResourceResult>,
}

impl Default for Sync {
    fn default() -> Self {
        Self {
            options: Vec::new(),
            prune: true,
            resources: Vec::new(),
            skip_hooks: false,
            namespace_exists: true,
            namespace_metadata: None,
            former_namespace_metadata: None,
            approved: false,
            rows: Vec::new(),
        }
    }
}

impl Sync {
    fn with(options: &[&str]) -> Self {
        Self { options: options.iter().map(ToString::to_string).collect(), ..Self::default() }
    }

    fn plan(&self, candidates: &[Candidate]) -> Result<Plan, PlanError> {
        plan(&PlanInput {
            candidates,
            options: &SyncOptions::new(&self.options),
            prune: self.prune,
            resources: &self.resources,
            skip_hooks: self.skip_hooks,
            tracking: &tracking(),
            destination_namespace: "shop",
            destination_namespace_exists: self.namespace_exists,
            namespace_metadata: self.namespace_metadata.as_ref(),
            former_namespace_metadata: self.former_namespace_metadata.as_ref(),
            approved: self.approved,
            revision: "0123456789abcdef",
            started_at: Time::new(jiff::Timestamp::from_second(1_700_000_000).unwrap()),
            rows: &self.rows,
        })
    }

    /// The plan as text, a group a line.
    fn lines(&self, candidates: &[Candidate]) -> Vec<String> {
        let plan = self.plan(candidates).unwrap();
        plan.groups
            .iter()
            .map(|group| {
                let tasks = group.tasks.iter().map(|task| {
                    let sign = match &task.action {
                        _ if task.is_hook() => "!",
                        Action::CreateNamespace { .. } => "*",
                        Action::ConfirmPrune { .. } => "?",
                        Action::Apply { changed: true, .. } => "+",
                        Action::Apply { changed: false, .. } => "=",
                        Action::Prune { .. } => "-",
                        Action::SkipPrune { .. } => "~",
                    };
                    assert_eq!((task.phase, task.wave), (group.phase, group.wave));
                    format!("{sign}{}/{}", task.key.kind, task.key.name)
                });
                format!("{} {}: {}", group.phase, group.wave, tasks.collect::<Vec<_>>().join(" "))
            })
            .collect()
    }
}

#[test]
fn objects_are_applied_by_wave_then_kind_then_name() {
    let candidates = [
        new("Deployment", "b", json!({})),
        new("Widget", "a", json!({})),
        new("Deployment", "a", json!({})),
        new("ConfigMap", "z", json!({})),
        new("Secret", "z", wave(1)),
        new("Service", "s", wave(-2)),
        same("ServiceAccount", "s"),
    ];
    assert_eq!(
        Sync::default().lines(&candidates),
        [
            "Sync -2: +Service/s",
            "Sync 0: =ServiceAccount/s +ConfigMap/z +Deployment/a +Deployment/b +Widget/a",
            "Sync 1: +Secret/z",
        ]
    );
}

#[test]
fn a_namespace_and_a_definition_go_before_what_needs_them() {
    let candidates = [
        new("Namespace", "shop", wave(5)),
        new("CustomResourceDefinition", "widgets.example.com", wave(3)),
        new("Widget", "w", wave(1)),
        new("ConfigMap", "a", wave(2)),
        new("ConfigMap", "b", wave(4)),
    ];
    assert_eq!(
        Sync::default().lines(&candidates),
        [
            "Sync 1: +CustomResourceDefinition/widgets.example.com +Namespace/shop +Widget/w",
            "Sync 2: +ConfigMap/a",
            "Sync 4: +ConfigMap/b",
        ]
    );
    let in_order = [new("Namespace", "shop", wave(-1)), new("ConfigMap", "a", json!({}))];
    assert_eq!(Sync::default().lines(&in_order), ["Sync -1: +Namespace/shop", "Sync 0: +ConfigMap/a"]);
}

#[test]
fn prunes_go_in_reverse_order_of_waves_and_kinds() {
    let candidates = [
        extra("Service", "s", wave(0)),
        extra("ConfigMap", "c", wave(0)),
        extra("Deployment", "d", wave(5)),
        new("ConfigMap", "n", wave(0)),
    ];
    assert_eq!(
        Sync::default().lines(&candidates),
        ["Sync 0: -Deployment/d +ConfigMap/n", "Sync 5: -Service/s -ConfigMap/c",]
    );
}

#[test]
fn prune_last_goes_behind_everything() {
    let candidates = [
        extra("ConfigMap", "own", options("PruneLast=true")),
        extra("ConfigMap", "plain", json!({})),
        new("ConfigMap", "n", wave(3)),
    ];
    assert_eq!(
        Sync::default().lines(&candidates),
        ["Sync 0: -ConfigMap/plain", "Sync 3: +ConfigMap/n", "Sync 4: -ConfigMap/own",]
    );
    assert_eq!(
        Sync::with(&["PruneLast=true"]).lines(&candidates),
        ["Sync 3: +ConfigMap/n", "Sync 4: -ConfigMap/plain -ConfigMap/own",]
    );
}

#[test]
fn the_table_of_prunes() {
    let message = |sync: &Sync, annotations: Value| {
        let plan = sync.plan(&[extra("ConfigMap", "a", annotations)]).unwrap();
        match &plan.groups[0].tasks[0].action {
            Action::Prune { .. } => "pruned",
            Action::SkipPrune { message, .. } => message,
            Action::ConfirmPrune { .. } => "waits",
            other => panic!("{other:?}"),
        }
    };
    let off = Sync { prune: false, ..Sync::default() };
    assert_eq!(message(&off, json!({})), "ignored (requires pruning)");
    assert_eq!(message(&off, options("Prune=true")), "ignored (requires pruning)");
    assert_eq!(message(&Sync::default(), json!({})), "pruned");
    assert_eq!(message(&Sync::default(), options("Prune=false")), "ignored (no prune)");
    assert_eq!(message(&Sync::with(&["Prune=false"]), json!({})), "ignored (no prune)");
    assert_eq!(message(&Sync::with(&["Prune=false"]), options("Prune=true")), "pruned");
    assert_eq!(message(&Sync::default(), options("Prune=confirm")), "waits");
    assert_eq!(message(&Sync::with(&["Prune=confirm"]), json!({})), "waits");
    assert_eq!(message(&Sync { approved: true, ..Sync::default() }, options("Prune=confirm")), "pruned");
    assert_eq!(message(&off, options("Prune=confirm")), "ignored (requires pruning)");
    assert_eq!(message(&Sync::default(), options("Prune=flase")), "ignored (no prune)");
    assert_eq!(message(&Sync::default(), json!({ "helm.sh/resource-policy": "keep" })), "pruned");
}

#[test]
fn what_is_not_ours_is_never_pruned() {
    let foreign = |id: &str| {
        let mut live = object("ConfigMap", "a", json!({}));
        live.set_annotation("argocd.argoproj.io/tracking-id", id);
        Candidate { desired: None, live: Some(Arc::new(live)), verdict: Verdict::Extra }
    };
    for id in [
        "other:/ConfigMap:shop/a",
        "orders:/ConfigMap:shop/b",
        "orders:/ConfigMap:elsewhere/a",
        "orders:/Secret:shop/a",
        "",
    ] {
        assert!(Sync::default().plan(&[foreign(id)]).unwrap().is_empty(), "{id}");
    }
    assert!(!Sync::default().plan(&[foreign("orders:/ConfigMap:shop/a")]).unwrap().is_empty());
}

#[test]
fn the_destination_namespace_is_created_first_if_asked_for_and_missing() {
    let candidates = [new("ConfigMap", "a", wave(-5))];
    let missing = Sync { namespace_exists: false, ..Sync::with(&["CreateNamespace=true"]) };
    assert_eq!(missing.lines(&candidates), ["PreSync 0: *Namespace/shop", "Sync -5: +ConfigMap/a"]);
    let plan = missing.plan(&candidates).unwrap();
    let namespace = plan.tasks().next().and_then(Task::applied).unwrap();
    assert_eq!(
        namespace.value(),
        &json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "shop" } })
    );
    assert_eq!(
        Sync { namespace_exists: false, ..Sync::default() }.lines(&candidates),
        ["Sync -5: +ConfigMap/a"]
    );
    assert_eq!(Sync::with(&["CreateNamespace=true"]).lines(&candidates), ["Sync -5: +ConfigMap/a"]);
    let declared = [new("Namespace", "shop", json!({})), new("ConfigMap", "a", json!({}))];
    assert_eq!(missing.lines(&declared), ["Sync 0: +Namespace/shop +ConfigMap/a"], "a manifest wins");
    let entries = |key: &str| [(key.to_owned(), "on".to_owned())].into();
    let metadata = ManagedNamespaceMetadata { labels: entries("label"), annotations: entries("note") };
    let former =
        Sync { former_namespace_metadata: Some(metadata.clone()), ..Sync::with(&["CreateNamespace=true"]) };
    assert_eq!(former.lines(&candidates), ["PreSync 0: *Namespace/shop", "Sync -5: +ConfigMap/a"]);
    let managed = Sync { namespace_metadata: Some(metadata), ..Sync::with(&["CreateNamespace=true"]) };
    let plan = managed.plan(&candidates).unwrap();
    let namespace = plan.tasks().next().and_then(Task::applied).unwrap();
    assert_eq!(
        namespace.value()["metadata"],
        json!({ "name": "shop", "labels": { "label": "on" },
            "annotations": { "note": "on", "argocd.argoproj.io/sync-options": "ServerSideApply=true" } })
    );
    assert!(!plan.has_steps(), "the namespace is no step of its own");
}

#[test]
fn only_what_was_selected_is_synced() {
    let select = |group: &str, kind: &str, name: &str, namespace: &str| Sync {
        resources: vec![SyncOperationResource {
            group: group.to_owned(),
            kind: kind.to_owned(),
            name: name.to_owned(),
            namespace: namespace.to_owned(),
        }],
        ..Sync::default()
    };
    let candidates = [
        new("Deployment", "a", json!({})),
        new("ConfigMap", "a", json!({})),
        extra("ConfigMap", "b", json!({})),
    ];
    assert_eq!(select("apps", "Deployment", "a", "").lines(&candidates), ["Sync 0: +Deployment/a"]);
    assert_eq!(select("", "ConfigMap", "b", "shop").lines(&candidates), ["Sync 0: -ConfigMap/b"]);
    assert!(select("", "ConfigMap", "b", "other").plan(&candidates).unwrap().is_empty());
    assert!(select("", "Deployment", "a", "").plan(&candidates).unwrap().is_empty());
}

#[test]
fn unchanged_objects_are_left_out_if_asked_for() {
    let candidates = [same("ConfigMap", "a"), new("ConfigMap", "b", json!({}))];
    assert_eq!(Sync::with(&["ApplyOutOfSyncOnly=true"]).lines(&candidates), ["Sync 0: +ConfigMap/b"]);
    assert_eq!(Sync::default().lines(&candidates), ["Sync 0: =ConfigMap/a +ConfigMap/b"]);
    let row = ResourceResult {
        kind: "ConfigMap".to_owned(),
        namespace: "shop".to_owned(),
        name: "a".to_owned(),
        ..ResourceResult::default()
    };
    let resumed = Sync { rows: vec![row], ..Sync::with(&["ApplyOutOfSyncOnly=true"]) };
    assert_eq!(
        resumed.lines(&candidates),
        ["Sync 0: =ConfigMap/a +ConfigMap/b"],
        "it was applied by this sync"
    );
}

#[test]
fn a_plan_is_refused_when_the_picture_is_incomplete() {
    let mut unknown = same("ConfigMap", "a");
    unknown.verdict = Verdict::Unknown;
    let error = Sync::default().plan(&[unknown, extra("ConfigMap", "b", json!({}))]).unwrap_err();
    assert!(matches!(error, PlanError::Incomplete { .. }), "{error}");
    assert!(error.to_string().contains("ConfigMap:shop/a"), "{error}");
}

#[test]
fn a_hook_is_a_task_in_each_of_its_phases() {
    let hook = |name: &str, types: &str| new("Job", name, json!({ "argocd.argoproj.io/hook": types }));
    let candidates = [
        hook("migrate", "PreSync"),
        hook("smoke", "PostSync,PreSync"),
        hook("page", "SyncFail"),
        hook("warm", "Sync"),
        hook("bye", "PreDelete,PostDelete"),
        new("ConfigMap", "a", json!({})),
        new(
            "Job",
            "weighed",
            json!({ "helm.sh/hook": "pre-install,pre-upgrade", "helm.sh/hook-weight": "-5" }),
        ),
    ];
    let expected = [
        "PreSync -5: !Job/weighed",
        "PreSync 0: !Job/migrate !Job/smoke",
        "Sync 0: +ConfigMap/a !Job/warm",
        "PostSync 0: !Job/smoke",
        "SyncFail 0: !Job/page",
    ];
    assert_eq!(Sync::default().lines(&candidates), expected);
    let apply_only = Sync { skip_hooks: true, ..Sync::default() };
    assert_eq!(apply_only.lines(&candidates), ["Sync 0: +ConfigMap/a"]);
    let selected =
        SyncOperationResource { kind: "Job".to_owned(), name: "migrate".to_owned(), ..Default::default() };
    let selective = Sync { resources: vec![selected], ..Sync::default() };
    assert!(selective.plan(&candidates).unwrap().is_empty(), "a selective sync runs no hooks");
}

#[test]
fn a_hook_with_a_generated_name_has_one_name_for_the_whole_operation() {
    let hook = json!({
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": { "generateName": "migrate-", "namespace": "shop",
            "annotations": { "argocd.argoproj.io/hook": "PreSync" } },
    });
    let desired = Some(Arc::new(Object::from_value(hook).unwrap()));
    let candidates = [Candidate { desired, live: None, verdict: Verdict::Missing }];
    let plan = Sync::default().plan(&candidates).unwrap();
    let object = plan.tasks().next().and_then(Task::applied).unwrap();
    assert_eq!(object.name(), "migrate-0123456-presync-1700000000");
    assert_eq!(tracking().may_prune(object), Ok(()), "its mark names it");
    assert!(crate::sync::hook::has_finalizer(object));
}

#[test]
fn what_is_needed_by_declared_objects_is_not_pruned() {
    let candidates = [
        extra("Namespace", "shop", json!({})),
        extra("CustomResourceDefinition", "widgets.example.com", json!({})),
        new("Widget", "w", json!({})),
    ];
    let mut candidates = candidates.to_vec();
    for candidate in &mut candidates[..2] {
        let mut live = Object::clone(candidate.live.as_ref().unwrap());
        let id = crate::api::tracking::TrackingId::new("orders", &live.key(), "shop");
        live.set_annotation("argocd.argoproj.io/tracking-id", &id.to_string());
        candidate.live = Some(Arc::new(live));
    }
    assert_eq!(
        Sync::default().lines(&candidates),
        ["Sync 0: ~CustomResourceDefinition/widgets.example.com ~Namespace/shop +Widget/w"]
    );
}

#[test]
fn what_was_planned_stays_planned_when_other_objects_are_gone() {
    let (first, last) = (extra("Deployment", "d", wave(5)), extra("ConfigMap", "c", wave(0)));
    let applied = new("ConfigMap", "n", wave(3));
    let before = Sync::default().plan(&[first, last.clone(), applied.clone()]).unwrap();
    let mut record = crate::sync::record::Record::default();
    record.plan_prunes(&before);
    let resumed = Sync { rows: record.rows().to_vec(), ..Sync::default() };
    assert_eq!(resumed.lines(&[last, applied]), ["Sync 3: +ConfigMap/n", "Sync 5: -ConfigMap/c"]);
}

#[test]
fn skipped_and_ignored_objects_are_neither_applied_nor_pruned() {
    for annotations in [json!({ "argocd.argoproj.io/hook": "Skip" }), json!({ "helm.sh/hook": "test" })] {
        let candidates = [new("ConfigMap", "a", annotations.clone()), extra("ConfigMap", "b", annotations)];
        assert!(Sync::default().plan(&candidates).unwrap().is_empty());
    }
    let finished_hook = extra("Job", "migrate", json!({ "argocd.argoproj.io/hook": "PreSync" }));
    assert!(Sync::default().plan(&[finished_hook]).unwrap().is_empty());
}

#[test]
fn nothing_to_do_is_an_empty_plan() {
    assert!(Sync::default().plan(&[]).unwrap().is_empty());
    assert_eq!(Sync::default().plan(&[]).unwrap().tasks().count(), 0);
}
