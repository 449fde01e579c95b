//! In which order tasks are done.

use super::{Group, PlanInput, Task};
use crate::{
    api::{SyncPhase, sync_options::SyncOptions},
    object::ObjectKey,
    sync::{
        order::{self, Provides},
        record,
    },
};

/// Sorts tasks and puts those of one phase and wave together.
pub(super) fn groups(mut tasks: Vec<Task>, input: &PlanInput<'_>) -> Vec<Group> {
    arrange_prunes(&mut tasks, input);
    tasks.sort_by(|a, b| sort_key(a).cmp(&sort_key(b)));
    hoist(&mut tasks);
    let mut groups: Vec<Group> = Vec::new();
    for task in tasks {
        match groups.last_mut() {
            Some(group) if (group.phase, group.wave) == (task.phase, task.wave) => group.tasks.push(task),
            _ => groups.push(Group { phase: task.phase, wave: task.wave, tasks: vec![task] }),
        }
    }
    for group in &mut groups {
        prunes_first(&mut group.tasks);
    }
    groups
}

fn sort_key(task: &Task) -> (SyncPhase, i64, usize, &str, &str, &str) {
    let key = &task.key;
    (task.phase, task.wave, order::kind_rank(&key.kind), &key.kind, &key.name, &key.namespace)
}

/// Mirrors the waves of prunes (what came last goes first), moves those that go last behind everything, and what
/// others need behind the others. What the record says wins: the order was settled when the operation began, by
/// objects that are gone by now.
fn arrange_prunes(tasks: &mut [Task], input: &PlanInput<'_>) {
    let mut waves: Vec<i64> = tasks.iter().filter(|task| task.is_prune()).map(|task| task.wave).collect();
    if waves.is_empty() {
        return;
    }
    waves.sort_unstable();
    waves.dedup();
    let mirrored = |wave: i64| {
        let place = waves.iter().position(|other| *other == wave)?;
        waves.iter().rev().nth(place).copied()
    };
    for task in tasks.iter_mut().filter(|task| task.is_prune()) {
        task.wave = mirrored(task.wave).unwrap_or(task.wave);
    }
    let in_sync = tasks.iter().filter(|task| task.phase == SyncPhase::Sync).map(|task| task.wave);
    let last = in_sync.max().unwrap_or_default().max(0).saturating_add(1);
    for task in tasks.iter_mut() {
        let Some(live) = task.pruned() else { continue };
        if input.options.prune_last() || SyncOptions::of_object(live).prune_last() {
            task.wave = last;
        }
    }
    let later: Vec<Option<i64>> = tasks
        .iter()
        .map(|task| {
            let provides = Provides::of(task.pruned()?)?;
            let needing =
                tasks.iter().filter(|it| it.pruned().is_some_and(|live| provides.is_needed_by(live)));
            needing.map(|it| it.wave).max()
        })
        .collect();
    for (task, later) in tasks.iter_mut().zip(later) {
        task.wave = later.map_or(task.wave, |later| later.max(task.wave));
        if task.is_prune()
            && let Some(wave) = record::planned_wave(input.rows, &task.key)
        {
            task.wave = wave;
        }
    }
}

/// Moves each namespace and each kind's definition before the first object that needs it.
fn hoist(tasks: &mut Vec<Task>) {
    let providers: Vec<(ObjectKey, Provides)> =
        tasks.iter().filter_map(|task| Some((task.key.clone(), Provides::of(task.applied()?)?))).collect();
    for (key, provides) in providers {
        let Some(from) = tasks.iter().position(|task| task.key == key && !task.is_prune()) else {
            continue;
        };
        let needed =
            tasks.iter().position(|task| task.applied().is_some_and(|object| provides.is_needed_by(object)));
        let Some(to) = needed.filter(|to| *to < from) else {
            continue;
        };
        let mut provider = tasks.remove(from);
        if let Some(dependent) = tasks.get(to) {
            provider.phase = dependent.phase;
            provider.wave = dependent.wave;
        }
        tasks.insert(to, provider);
    }
}

fn prunes_first(tasks: &mut Vec<Task>) {
    let (mut prunes, applies): (Vec<Task>, Vec<Task>) = tasks.drain(..).partition(Task::is_prune);
    prunes.reverse();
    tasks.extend(prunes.into_iter().chain(applies));
}
