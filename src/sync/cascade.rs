//! What goes when an Application is deleted with its objects.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    hook::{self, Role},
    order,
    ownership::{Tracking, is_custom_resource_definition},
};
use crate::{
    api::{
        names,
        sync_options::{Deletion, SyncOptions},
    },
    object::{Object, ObjectKey},
};

/// The next objects to delete, or what to wait for.
#[derive(Clone, Debug)]
pub enum Cascade {
    /// These are going; wait until they are gone.
    Wait(Vec<Arc<Object>>),
    /// Somebody has to approve first that these go.
    Confirm(Vec<ObjectKey>),
    /// Delete these now: the highest wave that is left.
    Delete(Vec<Arc<Object>>),
    /// Nothing that may go is left.
    Done,
}

/// The next step of deleting an Application's objects, from those that the cluster still has.
///
/// What stays: objects that are not this Application's by every rule of [`Tracking::may_prune`], definitions of kinds,
/// the Application itself, objects with `Delete=false` or Helm's `keep`, and hooks of the deletion itself. Nothing goes
/// before what has to be confirmed is `approved`.
pub fn next(
    live: &[Arc<Object>],
    tracking: &Tracking,
    options: &SyncOptions,
    application: &ObjectKey,
    approved: bool,
) -> Cascade {
    let mut waves: BTreeMap<i64, Vec<Arc<Object>>> = BTreeMap::new();
    let mut going = Vec::new();
    let goes = |object: &&Arc<Object>| goes(object, tracking, options, application);
    let must_be_confirmed = |object: &&Arc<Object>| {
        !object.is_terminating()
            && SyncOptions::delete(options, &SyncOptions::of_object(object)) == Deletion::Confirm
    };
    let asked: Vec<ObjectKey> =
        live.iter().filter(goes).filter(must_be_confirmed).map(|object| object.key()).collect();
    if !approved && !asked.is_empty() {
        return Cascade::Confirm(asked);
    }
    for object in live.iter().filter(goes) {
        if object.is_terminating() {
            going.push(Arc::clone(object));
        } else {
            waves.entry(order::wave(object)).or_default().push(Arc::clone(object));
        }
    }
    if !going.is_empty() {
        return Cascade::Wait(going);
    }
    waves.pop_last().map_or(Cascade::Done, |(_, objects)| Cascade::Delete(objects))
}

fn goes(object: &Object, tracking: &Tracking, options: &SyncOptions, application: &ObjectKey) -> bool {
    let own = SyncOptions::of_object(object);
    let keep = object
        .annotation(names::ANNOTATION_HELM_RESOURCE_POLICY)
        .is_some_and(|policy| policy.trim() == "keep");
    tracking.may_prune(object).is_ok()
        && !is_custom_resource_definition(object)
        && object.key() != *application
        && !keep
        && !is_deletion_hook(object)
        && SyncOptions::delete(options, &own) != Deletion::Forbidden
}

/// Whether an object is a hook that runs when its Application is deleted.
fn is_deletion_hook(object: &Object) -> bool {
    match Role::of(object) {
        Role::Hook(types) => types.into_iter().any(|hook_type| hook::phase_of(hook_type).is_none()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::sync::ownership::TrackingSettings;

    fn tracking() -> Tracking {
        Tracking::new(&TrackingSettings::default(), "orders", "argocd", "argocd", "shop")
    }

    fn marked(name: &str, annotations: &Value, deleting: bool) -> Arc<Object> {
        let mut metadata = json!({ "name": name, "namespace": "shop", "annotations": annotations });
        if deleting {
            metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        }
        let object = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata });
        Arc::new(tracking().mark(Object::from_value(object).unwrap()))
    }

    fn step(live: &[Arc<Object>]) -> (&'static str, Vec<String>) {
        step_with(live, false)
    }

    fn step_with(live: &[Arc<Object>], approved: bool) -> (&'static str, Vec<String>) {
        let application = ObjectKey::new("argoproj.io", "Application", "argocd", "orders");
        let names =
            |objects: Vec<Arc<Object>>| objects.iter().map(|object| object.name().to_owned()).collect();
        match next(live, &tracking(), &SyncOptions::default(), &application, approved) {
            Cascade::Wait(objects) => ("wait", names(objects)),
            Cascade::Confirm(keys) => ("confirm", keys.into_iter().map(|key| key.name).collect()),
            Cascade::Delete(objects) => ("delete", names(objects)),
            Cascade::Done => ("done", Vec::new()),
        }
    }

    #[test]
    fn the_highest_wave_goes_first_and_the_next_waits_for_it() {
        let wave = |wave: &str| json!({ "argocd.argoproj.io/sync-wave": wave });
        let (a, b, c) =
            (marked("a", &wave("1"), false), marked("b", &wave("2"), false), marked("c", &wave("2"), false));
        assert_eq!(step(&[a.clone(), b, c]), ("delete", vec!["b".to_owned(), "c".to_owned()]));
        let b = marked("b", &wave("2"), true);
        assert_eq!(step(&[a.clone(), b]), ("wait", vec!["b".to_owned()]));
        assert_eq!(step(&[a]), ("delete", vec!["a".to_owned()]));
        assert_eq!(step(&[]), ("done", Vec::new()));
    }

    #[test]
    fn what_asks_to_stay_stays() {
        let kept = [
            marked("a", &json!({ "argocd.argoproj.io/sync-options": "Delete=false" }), false),
            marked("b", &json!({ "argocd.argoproj.io/hook": "PostDelete" }), false),
            marked("c", &json!({ "helm.sh/resource-policy": "keep" }), false),
        ];
        assert_eq!(step(&kept).0, "done");
    }

    #[test]
    fn nothing_goes_before_what_has_to_be_confirmed_is_approved() {
        let asks = marked("b", &json!({ "argocd.argoproj.io/sync-options": "Delete=confirm" }), false);
        let live = [marked("a", &json!({}), false), asks];
        assert_eq!(step(&live), ("confirm", vec!["b".to_owned()]));
        assert_eq!(step_with(&live, true), ("delete", vec!["a".to_owned(), "b".to_owned()]));
    }

    #[test]
    fn what_is_not_ours_stays() {
        let theirs = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "x", "namespace": "shop",
            "annotations": { "argocd.argoproj.io/tracking-id": "other:/ConfigMap:shop/x" } } });
        let itself = json!({ "apiVersion": "argoproj.io/v1alpha1", "kind": "Application",
            "metadata": { "name": "orders", "namespace": "argocd" } });
        let definition = json!({ "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": { "name": "as.example.com", "annotations": {
                "argocd.argoproj.io/tracking-id": "orders:apiextensions.k8s.io/CustomResourceDefinition:shop/as.example.com" } } });
        let itself = tracking().mark(Object::from_value(itself).unwrap());
        let live = [Object::from_value(theirs).unwrap(), itself, Object::from_value(definition).unwrap()];
        assert_eq!(step(&live.map(Arc::new)).0, "done");
    }
}
