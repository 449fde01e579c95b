//! Whole syncs of random plans, played on a model of a cluster: in which order things happen, and that a sync which
//! is cut off anywhere goes on to the same end.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use proptest::prelude::*;
use serde_json::json;

use super::{
    order::Provides,
    ownership::{Tracking, TrackingSettings},
    plan::{Action, Candidate, Plan, PlanInput, Task, Verdict, plan},
    record::{self, Progress, Record},
    step::{self, Live, Step},
};
use crate::{
    api::{
        HealthStatus, HealthStatusCode, OperationPhase, ResourceResult, ResultCode, SyncPhase, Time,
        sync_options::SyncOptions,
    },
    object::{Object, ObjectKey},
};

fn tracking() -> Tracking {
    Tracking::new(&TrackingSettings::default(), "orders", "argocd", "argocd", "shop")
}

/// What a generated object is.
#[derive(Clone, Debug)]
struct Spec {
    kind: usize,
    wave: i64,
    hook: Option<&'static str>,
    declared: bool,
    live: bool,
    fails: bool,
    healthy_after: u8,
    prune_last: bool,
}

const KINDS: &[(&str, &str)] = &[
    ("v1", "Namespace"),
    ("v1", "ConfigMap"),
    ("apps/v1", "Deployment"),
    ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
    ("example.com/v1", "Widget"),
    ("batch/v1", "Job"),
];

fn specs() -> impl Strategy<Value = Vec<Spec>> {
    let hook = prop_oneof![
        6 => Just(None),
        1 => Just(Some("PreSync")),
        1 => Just(Some("Sync")),
        1 => Just(Some("PostSync")),
        1 => Just(Some("SyncFail")),
        1 => Just(Some("PreSync,PostSync")),
    ];
    let one = (0..KINDS.len(), -2..3_i64, hook, any::<bool>(), any::<bool>(), 0..20_u8, 0..3_u8, 0..5_u8);
    let one = one.prop_map(|(kind, wave, hook, declared, live, fails, healthy_after, last)| Spec {
        kind,
        wave,
        hook: hook.filter(|_| kind == 5),
        declared: declared || !live,
        live,
        fails: fails == 0,
        healthy_after,
        prune_last: last == 0,
    });
    prop::collection::vec(one, 1..10)
}

fn object(number: usize, spec: &Spec) -> Object {
    let (api_version, kind) = KINDS[spec.kind];
    let mut annotations = json!({ "argocd.argoproj.io/sync-wave": spec.wave.to_string() });
    if let Some(hook) = spec.hook {
        annotations["argocd.argoproj.io/hook"] = hook.into();
    }
    if spec.prune_last {
        annotations["argocd.argoproj.io/sync-options"] = "PruneLast=true".into();
    }
    let (name, namespace) = match kind {
        "Namespace" => (format!("ns{}", number % 2), ""),
        "CustomResourceDefinition" => ("widgets.example.com".to_owned(), ""),
        _ => (format!("o{number}"), if number.is_multiple_of(2) { "ns0" } else { "ns1" }),
    };
    let mut metadata = json!({ "name": name, "annotations": annotations });
    if !namespace.is_empty() {
        metadata["namespace"] = namespace.into();
    }
    let mut value = json!({ "apiVersion": api_version, "kind": kind, "metadata": metadata });
    if kind == "CustomResourceDefinition" {
        value["spec"] = json!({ "group": "example.com", "names": { "kind": "Widget" } });
    }
    let object = Object::from_value(value).unwrap();
    // Definitions are tracked here, as Argo CD's older versions did, so that their pruning is tried too.
    let id = crate::api::tracking::TrackingId::new("orders", &object.key(), "shop");
    let mut object = object;
    object.set_annotation("argocd.argoproj.io/tracking-id", &id.to_string());
    object
}

/// A cluster in which objects become healthy after some looks.
#[derive(Clone, Default)]
struct World {
    declared: BTreeMap<ObjectKey, (Arc<Object>, Spec)>,
    live: BTreeMap<ObjectKey, Arc<Object>>,
    looks: HashMap<ObjectKey, u8>,
    /// What was done, in order.
    log: Vec<(String, ObjectKey, SyncPhase)>,
    /// What was applied in earlier groups and was not healthy when a later one began.
    hurried: Vec<String>,
    applied: BTreeMap<ObjectKey, (SyncPhase, i64)>,
}

impl World {
    fn new(specs: &[Spec]) -> Self {
        let mut world = Self::default();
        for (number, spec) in specs.iter().enumerate() {
            let object = Arc::new(object(number, spec));
            let key = object.key();
            if world.declared.contains_key(&key) || world.live.contains_key(&key) {
                continue;
            }
            if spec.declared {
                world.declared.insert(key.clone(), (Arc::clone(&object), spec.clone()));
            }
            if spec.live && spec.hook.is_none() {
                world.live.insert(key, object);
            }
        }
        world
    }

    fn candidates(&self) -> Vec<Candidate> {
        let keys: BTreeSet<&ObjectKey> = self.declared.keys().chain(self.live.keys()).collect();
        let candidate = |key: &ObjectKey| {
            let desired = self.declared.get(key).map(|(object, _)| Arc::clone(object));
            let live = self.live.get(key).cloned();
            let verdict = match (&desired, &live) {
                (Some(_), Some(_)) => Verdict::Same,
                (Some(_), None) => Verdict::Missing,
                _ => Verdict::Extra,
            };
            Candidate { desired, live, verdict }
        };
        keys.into_iter().map(candidate).collect()
    }

    fn health_of(&self, object: &Object) -> HealthStatusCode {
        let key = object.key();
        let Some((_, spec)) = self.declared.get(&key) else { return HealthStatusCode::Healthy };
        let looks = self.looks.get(&key).copied().unwrap_or_default();
        if looks < spec.healthy_after {
            HealthStatusCode::Progressing
        } else if spec.fails {
            HealthStatusCode::Degraded
        } else {
            HealthStatusCode::Healthy
        }
    }

    fn carry_out(&mut self, task: &Task) -> ResourceResult {
        let group = (task.phase, task.wave);
        for (key, of) in self.applied.iter().filter(|(_, of)| **of < group && group.0 != SyncPhase::SyncFail)
        {
            let live = self.live.get(key);
            if live.is_none_or(|object| self.health_of(object) != HealthStatusCode::Healthy) {
                self.hurried.push(format!("{} of {group:?} before {key} of {of:?} was healthy", task.key));
            }
        }
        if task.applied().is_some() {
            self.applied.insert(task.key.clone(), group);
        }
        let (code, phase, what) = match &task.action {
            Action::Prune { .. } => {
                self.live.remove(&task.key);
                (ResultCode::Pruned, OperationPhase::Succeeded, "prune")
            }
            Action::SkipPrune { .. } | Action::ConfirmPrune { .. } => {
                (ResultCode::PruneSkipped, OperationPhase::Succeeded, "skip")
            }
            Action::Apply { desired, .. } | Action::CreateNamespace { object: desired } => {
                self.live.insert(task.key.clone(), Arc::clone(desired));
                (ResultCode::Synced, OperationPhase::Running, if task.is_hook() { "hook" } else { "apply" })
            }
        };
        self.log.push((what.to_owned(), task.key.clone(), task.phase));
        ResourceResult { status: Some(code), hook_phase: Some(phase), ..record::row(task) }
    }
}

impl Live for World {
    fn object(&self, task: &Task) -> Option<&Object> {
        self.live.get(&task.key).map(AsRef::as_ref)
    }

    fn health(&self, object: &Object) -> Option<HealthStatus> {
        Some(HealthStatus::new(self.health_of(object), ""))
    }
}

fn planned(world: &World, rows: &[ResourceResult]) -> Plan {
    plan(&PlanInput {
        candidates: &world.candidates(),
        options: &SyncOptions::default(),
        prune: true,
        approved: false,
        resources: &[],
        skip_hooks: false,
        tracking: &tracking(),
        destination_namespace: "shop",
        destination_namespace_exists: true,
        namespace_metadata: None,
        former_namespace_metadata: None,
        revision: "0123456789",
        started_at: Time::new(jiff::Timestamp::from_second(1_700_000_000).unwrap()),
        rows,
    })
    .unwrap()
}

/// Plays a sync as the controller does, planning anew at each look. With `cuts` the process dies after so many things
/// done, with what was on record by then, and another one goes on; the numbers come round.
fn play(mut world: World, cuts: &[usize]) -> (OperationPhase, World) {
    let mut on_record: Vec<ResourceResult> = Vec::new();
    let mut cuts = cuts.iter().copied();
    let mut left = cuts.next();
    // Whether the process dies at this point.
    let mut dies = move || {
        let Some(count) = left else { return false };
        if count == 0 {
            left = cuts.next();
            return true;
        }
        left = Some(count - 1);
        false
    };
    'looks: for _ in 0..1000 {
        let mut record = Record::new(on_record.clone());
        let plan = planned(&world, record.rows());
        if record.is_empty() && plan.has_steps() {
            record.plan_prunes(&plan);
        }
        loop {
            step::update(&plan, &mut record, &world);
            match step::next(&plan, &record, &world) {
                Step::Run(tasks) => {
                    let mut left = Vec::new();
                    for task in tasks {
                        match record.progress(task) {
                            Progress::Creating if world.live.contains_key(&task.key) => {
                                record.set(ResourceResult {
                                    status: Some(ResultCode::Synced),
                                    hook_phase: Some(OperationPhase::Running),
                                    ..record::row(task)
                                });
                                continue;
                            }
                            Progress::Pending if task.is_hook() => {
                                // What is left of its last run is gone by then.
                                world.live.remove(&task.key);
                                world.looks.remove(&task.key);
                                world.applied.remove(&task.key);
                                record.create(task);
                            }
                            _ => {}
                        }
                        left.push(task);
                    }
                    on_record = record.rows().to_vec();
                    if dies() {
                        continue 'looks;
                    }
                    let mut results = Vec::new();
                    for task in left {
                        results.push(world.carry_out(task));
                        if dies() {
                            continue 'looks;
                        }
                    }
                    results.into_iter().for_each(|row| record.set(row));
                }
                Step::Wait(_) => {
                    on_record = record.rows().to_vec();
                    let keys: Vec<ObjectKey> = world.live.keys().cloned().collect();
                    for key in keys {
                        *world.looks.entry(key).or_default() += 1;
                    }
                    continue 'looks;
                }
                Step::Confirm(_) => unreachable!("nothing has to be confirmed"),
                Step::Finish { phase, .. } => return (phase, world),
            }
        }
    }
    panic!("the sync does not end");
}

fn place(world: &World, what: &[&str], key: &ObjectKey) -> Option<usize> {
    world.log.iter().position(|(done, of, _)| what.contains(&done.as_str()) && of == key)
}

proptest! {
    #[test]
    fn what_an_object_needs_and_earlier_waves_come_before_it(specs in specs()) {
        let before = World::new(&specs);
        let (phase, world) = play(before.clone(), &[]);
        for (key, (object, spec)) in &before.declared {
            let Some(at) = place(&world, &["apply", "hook"], key) else {
                let never = spec.hook == Some("SyncFail") || phase != OperationPhase::Succeeded;
                prop_assert!(never, "{key} was left out");
                continue;
            };
            // A sync that fails early never comes to what the hooks of its failure may need.
            if spec.hook == Some("SyncFail") {
                continue;
            }
            for (other, (provider, _)) in &before.declared {
                let needed = Provides::of(provider).is_some_and(|provides| provides.is_needed_by(object));
                if needed && other != key {
                    let provided = place(&world, &["apply", "hook"], other);
                    prop_assert!(provided.is_some_and(|provided| provided < at), "{key} came before {other}");
                }
            }
        }
    }

    #[test]
    fn nothing_is_pruned_that_something_else_needs(specs in specs()) {
        let before = World::new(&specs);
        let (_, world) = play(before.clone(), &[]);
        for (key, live) in &before.live {
            let Some(at) = place(&world, &["prune"], key) else { continue };
            prop_assert!(!before.declared.contains_key(key), "{key} is declared");
            let Some(provides) = Provides::of(live) else { continue };
            for (object, _) in before.declared.values() {
                prop_assert!(!provides.is_needed_by(object), "{key} is needed by {}", object.key());
            }
            for (other, extra) in &before.live {
                if provides.is_needed_by(extra) && !before.declared.contains_key(other) {
                    let gone = place(&world, &["prune"], other);
                    prop_assert!(gone.is_some_and(|gone| gone < at), "{other} goes after {key}");
                }
            }
        }
    }

    #[test]
    fn phases_and_waves_follow_each_other(specs in specs()) {
        let before = World::new(&specs);
        let plan = planned(&before, &[]);
        let order: HashMap<(ObjectKey, SyncPhase), (SyncPhase, i64)> =
            plan.tasks().map(|task| ((task.key.clone(), task.phase), (task.phase, task.wave))).collect();
        let (phase, world) = play(before, &[]);
        let done: Vec<(SyncPhase, i64)> = world
            .log
            .iter()
            .filter_map(|(_, key, phase)| order.get(&(key.clone(), *phase)).copied())
            .collect();
        prop_assert!(done.is_sorted(), "{done:?}");
        prop_assert!(world.hurried.is_empty(), "{:?}", world.hurried);
        let ran_sync_fail = world.log.iter().any(|(_, _, phase)| *phase == SyncPhase::SyncFail);
        prop_assert!(!ran_sync_fail || phase == OperationPhase::Failed);
    }

    #[test]
    fn a_sync_that_is_cut_off_goes_on_to_the_same_end(
        specs in specs(),
        cuts in prop::collection::vec(0..6_usize, 1..8),
    ) {
        let before = World::new(&specs);
        let (phase, whole) = play(before.clone(), &[]);
        let (resumed_phase, resumed) = play(before, &cuts);
        prop_assert_eq!(resumed_phase, phase);
        let keys = |world: &World| world.live.keys().cloned().collect::<BTreeSet<_>>();
        let (resumed_keys, whole_keys) = (keys(&resumed), keys(&whole));
        // A failure that shows between two replicas ends the sync in the middle of its wave.
        match phase {
            OperationPhase::Succeeded => prop_assert_eq!(resumed_keys, whole_keys),
            _ => prop_assert!(resumed_keys.is_subset(&whole_keys), "{resumed_keys:?}"),
        }
        let mut hooks = HashMap::new();
        for (what, key, phase) in &resumed.log {
            if what == "hook" {
                *hooks.entry((key, phase)).or_insert(0) += 1;
            }
        }
        prop_assert!(hooks.values().all(|times| *times == 1), "a hook ran twice: {hooks:?}");
    }
}
