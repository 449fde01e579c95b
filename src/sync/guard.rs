//! The prune guard: a sync that would delete much, or what holds data, stops and asks.
//!
//! A broken refactoring of a repository looks like a wish to delete everything. So before its first write a sync is
//! held up when it would prune more than a share of an Application's objects (and more than a handful), or any
//! namespace, volume claim or definition that still holds something. Somebody approves it, or the next commit takes
//! its place.

use super::plan::{Action, Plan};
use crate::object::{Object, ObjectKey};

/// Objects that a message names at most.
const NAMED: usize = 20;

/// When a sync is held up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PruneGuard {
    /// Whether it ever is.
    pub enabled: bool,
    /// The share of an Application's objects, in percent, that may be pruned without asking.
    pub percent: u32,
    /// Fewer objects than this may be pruned without asking, whatever their share.
    pub minimum: u32,
}

impl Default for PruneGuard {
    fn default() -> Self {
        Self { enabled: true, percent: 50, minimum: 5 }
    }
}

/// The objects that a plan prunes.
pub fn pruned(plan: &Plan) -> impl Iterator<Item = &Object> {
    plan.tasks().filter_map(|task| match &task.action {
        Action::Prune { live } => Some(live.as_ref()),
        _ => None,
    })
}

/// Whether an object of this kind may hold what is lost with it, so that the cluster has to be asked.
pub fn may_hold_data(object: &Object) -> bool {
    matches!(
        (object.group(), object.kind()),
        ("", "Namespace" | "PersistentVolumeClaim") | ("apiextensions.k8s.io", "CustomResourceDefinition")
    )
}

/// Why a sync has to be approved, if it has to: what it would delete, and how to approve it.
///
/// `managed` is the number of objects that the Application has in the cluster, `holding` names those of the pruned
/// ones that hold data.
pub fn concern(
    guard: PruneGuard,
    application: &str,
    plan: &Plan,
    managed: usize,
    holding: &[ObjectKey],
) -> Option<String> {
    if !guard.enabled {
        return None;
    }
    let mut keys: Vec<ObjectKey> = pruned(plan).map(Object::key).collect();
    keys.sort();
    let count = keys.len();
    let share = count.saturating_mul(100) > managed.saturating_mul(guard.percent as usize);
    let many = count > 0 && share && count >= guard.minimum as usize;
    if !many && holding.is_empty() {
        return None;
    }
    let mut reasons = Vec::new();
    if many {
        reasons.push(format!("it would delete {count} of {managed} objects"));
    }
    if !holding.is_empty() {
        let names: Vec<String> = holding.iter().map(ToString::to_string).collect();
        reasons.push(format!("it would delete what still holds data ({})", names.join(", ")));
    }
    let listed = keys.iter().take(NAMED).map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let more = count.saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    Some(format!(
        "the sync waits because {}: {listed}{more}. If that is wanted, run 'skiff app sync {application} \
         --confirm-prune' or set annotation argocd.argoproj.io/deletion-approved to the present time (RFC 3339); if \
         not, correct the source",
        reasons.join(" and ")
    ))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::{
        api::SyncPhase,
        sync::plan::{Group, Task},
    };

    fn plan(count: usize) -> Plan {
        let tasks = (0..count).map(|number| {
            let object = json!({ "apiVersion": "v1", "kind": "ConfigMap",
                "metadata": { "name": format!("c{number}"), "namespace": "shop" } });
            let live = Arc::new(Object::from_value(object).unwrap());
            let (key, gvk) = (live.key(), live.gvk());
            Task { key, gvk, phase: SyncPhase::Sync, wave: 0, hook: None, action: Action::Prune { live } }
        });
        Plan::new(vec![Group { phase: SyncPhase::Sync, wave: 0, tasks: tasks.collect() }], &[])
    }

    fn is_concern(count: usize, managed: usize) -> bool {
        concern(PruneGuard::default(), "orders", &plan(count), managed, &[]).is_some()
    }

    #[test]
    fn more_than_half_and_at_least_five_is_a_concern() {
        assert!(is_concern(6, 11));
        assert!(is_concern(5, 9));
        assert!(!is_concern(5, 10), "half is not more than half");
        assert!(!is_concern(4, 4), "four are too few");
        assert!(!is_concern(50, 100) && is_concern(51, 100));
        assert!(!is_concern(0, 0));
    }

    #[test]
    fn what_holds_data_is_a_concern_however_few_there_are() {
        let claim = ObjectKey::new("", "PersistentVolumeClaim", "shop", "data");
        let message =
            concern(PruneGuard::default(), "orders", &plan(1), 100, std::slice::from_ref(&claim)).unwrap();
        assert!(message.contains("PersistentVolumeClaim:shop/data"), "{message}");
        assert!(message.contains("skiff app sync orders --confirm-prune"), "{message}");
        assert!(message.contains("argocd.argoproj.io/deletion-approved"), "{message}");
        let off = PruneGuard { enabled: false, ..PruneGuard::default() };
        assert_eq!(concern(off, "orders", &plan(9), 9, &[claim]), None);
    }

    #[test]
    fn the_threshold_is_a_setting_and_long_lists_are_cut() {
        let guard = PruneGuard { percent: 90, minimum: 1, enabled: true };
        assert_eq!(concern(guard, "orders", &plan(9), 10, &[]), None);
        let message = concern(guard, "orders", &plan(30), 30, &[]).unwrap();
        assert!(message.contains("30 of 30 objects") && message.contains("and 10 more"), "{message}");
    }
}
