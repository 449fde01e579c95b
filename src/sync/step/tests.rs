//! Single steps: what is waited for, and how a sync ends.

use std::{collections::HashMap, sync::Arc};

use serde_json::json;

use super::*;
use crate::{
    api::{HookType, SyncPhase},
    sync::{plan::Group, record},
};

#[derive(Default)]
struct Cluster(HashMap<String, (HealthStatusCode, &'static str)>, bool);

impl Cluster {
    fn with(objects: &[(&str, HealthStatusCode, &'static str)]) -> Self {
        Self(objects.iter().map(|(name, code, text)| ((*name).to_owned(), (*code, *text))).collect(), false)
    }
}

impl Live for Cluster {
    fn object(&self, task: &Task) -> Option<&Object> {
        self.0.get(&task.key.name)?;
        let mut metadata = json!({ "name": task.key.name });
        if self.1 {
            metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        }
        let object = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": metadata });
        Some(Box::leak(Box::new(Object::from_value(object).unwrap())))
    }

    fn health(&self, object: &Object) -> Option<HealthStatus> {
        self.0.get(object.name()).map(|(code, text)| HealthStatus::new(*code, *text))
    }
}

fn task(name: &str, phase: SyncPhase, wave: i64, hook: Option<HookType>) -> Task {
    let object = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name } });
    let desired = Arc::new(Object::from_value(object).unwrap());
    let (key, gvk) = (desired.key(), desired.gvk());
    Task { key, gvk, phase, wave, hook, action: Action::Apply { desired, live: None, changed: true } }
}

fn plan(tasks: &[Task]) -> Plan {
    let groups = tasks.chunk_by(|a, b| (a.phase, a.wave) == (b.phase, b.wave));
    let group = |tasks: &[Task]| Group { phase: tasks[0].phase, wave: tasks[0].wave, tasks: tasks.to_vec() };
    Plan::new(groups.map(group).collect(), &[])
}

fn prune(name: &str) -> Task {
    let mut task = task(name, SyncPhase::Sync, 0, None);
    let live = Arc::clone(task.applied().unwrap());
    task.action = Action::Prune { live };
    task
}

fn pruned(record: &mut Record, task: &Task) {
    record.set(ResourceResult {
        status: Some(ResultCode::Pruned),
        hook_phase: Some(OperationPhase::Succeeded),
        ..record::row(task)
    });
}

fn running(record: &mut Record, task: &Task) {
    record.set(ResourceResult {
        status: Some(ResultCode::Synced),
        hook_phase: Some(OperationPhase::Running),
        ..record::row(task)
    });
}

fn text(plan: &Plan, record: &mut Record, cluster: &Cluster) -> String {
    update(plan, record, cluster);
    match next(plan, record, cluster) {
        Step::Run(tasks) => {
            format!("run {}", tasks.iter().map(|task| task.key.name.as_str()).collect::<Vec<_>>().join(" "))
        }
        Step::Wait(message) => message,
        Step::Confirm(keys) => format!("confirm {}", keys.len()),
        Step::Finish { phase, message } => format!("{phase}: {message}"),
    }
}

#[test]
fn nothing_to_do_has_succeeded() {
    let text = text(&Plan::default(), &mut Record::default(), &Cluster::default());
    assert_eq!(text, "Succeeded: successfully synced (no more tasks)");
}

#[test]
fn one_wave_ends_without_waiting_for_health_and_two_do_not() {
    let (first, second) = (task("a", SyncPhase::Sync, 0, None), task("b", SyncPhase::Sync, 1, None));
    let progressing =
        Cluster::with(&[("a", HealthStatusCode::Progressing, ""), ("b", HealthStatusCode::Progressing, "")]);
    let one = plan(std::slice::from_ref(&first));
    let mut record = Record::default();
    assert_eq!(text(&one, &mut record, &progressing), "run a");
    running(&mut record, &first);
    assert_eq!(text(&one, &mut record, &progressing), "Succeeded: successfully synced (all tasks run)");
    let two = plan(&[first, second.clone()]);
    assert_eq!(text(&two, &mut record, &progressing), "waiting for healthy state of /Pod/a");
    let healthy =
        Cluster::with(&[("a", HealthStatusCode::Healthy, ""), ("b", HealthStatusCode::Progressing, "")]);
    assert_eq!(text(&two, &mut record, &healthy), "run b");
    running(&mut record, &second);
    assert_eq!(
        text(&two, &mut record, &healthy),
        "Succeeded: successfully synced (all tasks run)",
        "the last wave's health gates nothing"
    );
}

#[test]
fn a_wave_that_becomes_degraded_fails_the_sync_with_its_message() {
    let (first, second) = (task("a", SyncPhase::Sync, 0, None), task("b", SyncPhase::Sync, 1, None));
    let plan = plan(&[first.clone(), second]);
    let mut record = Record::default();
    running(&mut record, &first);
    let degraded = Cluster::with(&[("a", HealthStatusCode::Degraded, "it crashes")]);
    assert_eq!(
        text(&plan, &mut record, &degraded),
        "Failed: one or more synchronization tasks completed unsuccessfully, reason: it crashes"
    );
}

#[test]
fn hooks_are_awaited_in_every_phase_and_gate_the_next() {
    let pre = task("pre", SyncPhase::PreSync, 0, Some(HookType::PreSync));
    let object = task("a", SyncPhase::Sync, 0, None);
    let post = task("post", SyncPhase::PostSync, 0, Some(HookType::PostSync));
    let plan = plan(&[pre.clone(), object.clone(), post.clone()]);
    let mut record = Record::default();
    let at = |pre, a, post| Cluster::with(&[("pre", pre, ""), ("a", a, ""), ("post", post, "")]);
    use HealthStatusCode::{Healthy, Progressing};
    running(&mut record, &pre);
    assert_eq!(
        text(&plan, &mut record, &at(Progressing, Progressing, Progressing)),
        "waiting for completion of hook /Pod/pre"
    );
    assert_eq!(text(&plan, &mut record, &at(Healthy, Progressing, Progressing)), "run a");
    running(&mut record, &object);
    assert_eq!(
        text(&plan, &mut record, &at(Healthy, Progressing, Progressing)),
        "waiting for healthy state of /Pod/a"
    );
    assert_eq!(text(&plan, &mut record, &at(Healthy, Healthy, Progressing)), "run post");
    running(&mut record, &post);
    assert_eq!(
        text(&plan, &mut record, &at(Healthy, Healthy, Progressing)),
        "waiting for completion of hook /Pod/post"
    );
    assert_eq!(
        text(&plan, &mut record, &at(Healthy, Healthy, Healthy)),
        "Succeeded: successfully synced (no more tasks)"
    );
}

#[test]
fn a_hook_that_fails_or_vanishes_fails_the_sync_and_runs_what_is_for_that() {
    let pre = task("pre", SyncPhase::PreSync, 0, Some(HookType::PreSync));
    let object = task("a", SyncPhase::Sync, 0, None);
    let fail = task("fail", SyncPhase::SyncFail, 0, Some(HookType::SyncFail));
    let plan = plan(&[pre.clone(), object, fail.clone()]);
    let mut record = Record::default();
    running(&mut record, &pre);
    assert_eq!(text(&plan, &mut record.clone(), &Cluster::default()), "run fail");
    let failed = Cluster::with(&[
        ("pre", HealthStatusCode::Degraded, "no table"),
        ("fail", HealthStatusCode::Degraded, "no pager"),
    ]);
    assert_eq!(text(&plan, &mut record, &failed), "run fail");
    running(&mut record, &fail);
    assert_eq!(
        text(&plan, &mut record, &failed),
        "Failed: one or more synchronization tasks completed unsuccessfully, reason: no table\n\
         one or more SyncFail hooks failed, reason: no pager"
    );
}

#[test]
fn what_is_pruned_has_to_be_gone_before_the_next_wave() {
    let (gone, mut record) = (prune("old"), Record::default());
    let plan = plan(&[gone.clone(), task("a", SyncPhase::Sync, 1, None)]);
    pruned(&mut record, &gone);
    let going = Cluster(Cluster::with(&[("old", HealthStatusCode::Progressing, "")]).0, true);
    assert_eq!(text(&plan, &mut record, &going), "waiting for deletion of /Pod/old");
    assert_eq!(text(&plan, &mut record, &Cluster::default()), "run a");
}

#[test]
fn a_sync_of_several_waves_awaits_health_also_when_its_prunes_are_gone_from_the_plan() {
    let (gone, last) = (prune("old"), task("a", SyncPhase::Sync, 1, None));
    let mut record = Record::default();
    record.plan_prunes(&plan(&[gone.clone(), last.clone()]));
    pruned(&mut record, &gone);
    running(&mut record, &last);
    let later = Plan::new(plan(&[last]).groups, record.rows());
    let degraded = Cluster::with(&[("a", HealthStatusCode::Degraded, "crash")]);
    assert_eq!(text(&later, &mut record, &degraded), format!("Failed: {TASKS_FAILED}, reason: crash"));
}

#[test]
fn a_group_waits_as_a_whole_for_what_has_to_be_confirmed() {
    let Action::Prune { live } = prune("old").action else { unreachable!() };
    let asks = Task { action: Action::ConfirmPrune { live }, ..prune("old") };
    let plan = plan(&[asks, task("a", SyncPhase::Sync, 0, None)]);
    assert_eq!(text(&plan, &mut Record::default(), &Cluster::default()), "confirm 1");
}
