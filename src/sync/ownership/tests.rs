//! Who owns what, by each method of tracking.

#![allow(clippy::needless_pass_by_value, reason = "values are written in place")]

use serde_json::{Value, json};

use super::*;

fn tracking(method: TrackingMethod, installation_id: &str) -> Tracking {
    let settings = TrackingSettings {
        method,
        installation_id: installation_id.to_owned(),
        ..TrackingSettings::default()
    };
    Tracking::new(&settings, "orders", "argocd", "argocd", "shop")
}

fn by_annotation() -> Tracking {
    tracking(TrackingMethod::Annotation, "")
}

fn object(kind: &str, namespace: &str, metadata: Value) -> Object {
    let api_version = match kind {
        "Deployment" => "apps/v1",
        "CustomResourceDefinition" => "apiextensions.k8s.io/v1",
        _ => "v1",
    };
    let mut all = json!({ "name": "a" });
    if !namespace.is_empty() {
        all["namespace"] = namespace.into();
    }
    all.as_object_mut().unwrap().extend(metadata.as_object().unwrap().clone());
    Object::from_value(json!({ "apiVersion": api_version, "kind": kind, "metadata": all })).unwrap()
}

fn with_id(id: &str) -> Object {
    object("Deployment", "shop", json!({ "annotations": { "argocd.argoproj.io/tracking-id": id } }))
}

const OURS: &str = "orders:apps/Deployment:shop/a";

#[test]
fn marking_by_annotation() {
    let marked = by_annotation().mark(object("Deployment", "shop", json!({})));
    assert_eq!(marked.annotation(names::ANNOTATION_TRACKING_ID), Some(OURS));
    assert_eq!(marked.label(names::LABEL_INSTANCE), None);
    let cluster_scoped = by_annotation().mark(object("Namespace", "", json!({})));
    assert_eq!(cluster_scoped.annotation(names::ANNOTATION_TRACKING_ID), Some("orders:/Namespace:shop/a"));
    let copied = by_annotation().mark(with_id("other:apps/Deployment:x/y"));
    assert_eq!(
        copied.annotation(names::ANNOTATION_TRACKING_ID),
        Some(OURS),
        "an id in the source is replaced"
    );
}

#[test]
fn marking_by_label_and_by_both() {
    let marked = tracking(TrackingMethod::Label, "").mark(object("Deployment", "shop", json!({})));
    assert_eq!(
        (marked.label(names::LABEL_INSTANCE), marked.annotation(names::ANNOTATION_TRACKING_ID)),
        (Some("orders"), None)
    );
    let both =
        tracking(TrackingMethod::AnnotationAndLabel, "x").mark(object("Deployment", "shop", json!({})));
    assert_eq!(
        (both.label(names::LABEL_INSTANCE), both.annotation(names::ANNOTATION_TRACKING_ID)),
        (Some("orders"), Some(OURS))
    );
    assert_eq!(both.annotation(names::ANNOTATION_INSTALLATION_ID), Some("x"));
}

#[test]
fn a_definition_of_a_kind_is_not_marked() {
    for method in TrackingMethod::ALL {
        let definition = object("CustomResourceDefinition", "", json!({}));
        assert_eq!(tracking(*method, "x").mark(definition.clone()), definition);
    }
}

#[test]
fn what_is_marked_is_ours_and_prunable() {
    for method in TrackingMethod::ALL {
        for (kind, namespace) in [("Deployment", "shop"), ("Deployment", "elsewhere"), ("Namespace", "")] {
            let tracking = tracking(*method, "x");
            let live = tracking.mark(object(kind, namespace, json!({})));
            assert_eq!(tracking.owner(&live), Owner::Ours);
            assert!(tracking.is_managed(&live) && tracking.refers_to_itself(&live, None));
            assert_eq!(tracking.may_prune(&live), Ok(()));
        }
    }
}

#[test]
fn an_object_of_another_application_or_of_nobody_is_not_prunable() {
    let tracking = by_annotation();
    for id in ["other:apps/Deployment:shop/a", "team_orders:apps/Deployment:shop/a"] {
        assert!(
            matches!(tracking.may_prune(&with_id(id)), Err(NotPrunable::OtherApplication { .. })),
            "{id}"
        );
    }
    for id in ["", "orders", "orders:apps/Deployment", ":apps/Deployment:shop/a"] {
        assert!(matches!(tracking.may_prune(&with_id(id)), Err(NotPrunable::Untracked { .. })), "{id}");
    }
    let labelled =
        object("Deployment", "shop", json!({ "labels": { "app.kubernetes.io/instance": "orders" } }));
    assert_eq!(
        tracking.owner(&labelled),
        Owner::Nobody,
        "a label proves nothing when tracking is by annotation"
    );
    assert_eq!(tracking.owner(&object("Deployment", "shop", json!({}))), Owner::Nobody);
}

#[test]
fn an_id_that_was_copied_to_another_object_proves_nothing() {
    let tracking = by_annotation();
    for id in [
        "orders:apps/Deployment:shop/b",
        "orders:apps/Deployment:other/a",
        "orders:apps/StatefulSet:shop/a",
        "orders:/Deployment:shop/a",
    ] {
        let live = with_id(id);
        assert!(!tracking.refers_to_itself(&live, None), "{id}");
        assert!(matches!(tracking.may_prune(&live), Err(NotPrunable::Copied { .. })), "{id}");
    }
}

#[test]
fn a_kind_may_move_to_another_group() {
    let tracking = by_annotation();
    let live = with_id("orders:extensions/Deployment:shop/a");
    let moved = json!({ "apiVersion": "extensions/v1beta1", "kind": "Deployment", "metadata": { "name": "a", "namespace": "shop" } });
    assert!(tracking.refers_to_itself(&live, Some(&Object::from_value(moved).unwrap())));
    assert!(!tracking.refers_to_itself(&live, None));
}

#[test]
fn what_another_object_owns_is_not_managed() {
    let live = object(
        "Deployment",
        "shop",
        json!({ "annotations": { "argocd.argoproj.io/tracking-id": OURS },
        "ownerReferences": [{ "kind": "X", "name": "x", "uid": "u" }] }),
    );
    let tracking = by_annotation();
    assert_eq!(tracking.owner(&live), Owner::Ours);
    assert!(!tracking.is_managed(&live));
    assert!(matches!(tracking.may_prune(&live), Err(NotPrunable::Owned { .. })));
}

#[test]
fn another_installations_objects_are_nobodys() {
    let (first, second, plain) = (
        tracking(TrackingMethod::Annotation, "1"),
        tracking(TrackingMethod::Annotation, "2"),
        by_annotation(),
    );
    let live = first.mark(object("Deployment", "shop", json!({})));
    assert_eq!(first.owner(&live), Owner::Ours);
    for other in [second, plain] {
        assert_eq!(other.owner(&live), Owner::Nobody);
        assert!(matches!(other.may_prune(&live), Err(NotPrunable::Untracked { .. })));
    }
}

#[test]
fn a_shared_object_names_both_applications() {
    let tracking = by_annotation();
    assert_eq!(
        tracking.shared_with(&with_id("team_other:apps/Deployment:shop/a")).as_deref(),
        Some("Deployment/a is part of applications argocd/orders and team/other")
    );
    assert_eq!(tracking.shared_with(&with_id(OURS)), None);
    assert_eq!(tracking.shared_with(&object("Deployment", "shop", json!({}))), None);
}

#[test]
fn an_application_of_another_namespace_has_it_in_its_name() {
    let tracking = Tracking::new(&TrackingSettings::default(), "orders", "team-a", "argocd", "shop");
    assert_eq!(tracking.instance_name(), "team-a_orders");
    assert_eq!(tracking.owner(&with_id(OURS)), Owner::Other("orders".to_owned()));
}
