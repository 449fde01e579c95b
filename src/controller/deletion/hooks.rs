//! Hooks that run when an Application is deleted.
//!
//! They come from the source, as it was last compared, and their objects say how far they are: one that was created
//! since the deletion began has run, or runs. The finalizer that every hook carries keeps it until it is cleaned up.

use std::{collections::BTreeMap, sync::Arc};

use super::Came;
use crate::{
    api::{HealthStatusCode, HookType, SyncPhase, names, sync_options::SyncOptions},
    cluster::{ClusterError, discovery::Kinds},
    compare::Rules,
    controller::{
        observe::Observation,
        reconcile::{Look, Memory},
        reporter::CountedWrites,
        sources::Freshness,
        target::Target,
    },
    error::chain,
    object::Object,
    project::Admission,
    sync::{
        executor::Executor,
        hook::{self, DeletePolicy, Role},
        plan::{Action, Task},
    },
};

const FINALIZERS: &[(HookType, &str, &str)] = &[
    (HookType::PreDelete, names::FINALIZER_PRE_DELETE, names::FINALIZER_PRE_DELETE_CLEANUP),
    (HookType::PostDelete, names::FINALIZER_POST_DELETE, names::FINALIZER_POST_DELETE_CLEANUP),
];

impl Look<'_> {
    /// Gives the Application the finalizers of the deletion hooks that its source has, and takes off the others.
    pub(in crate::controller) async fn keep_hook_finalizers(
        &self,
        observation: &Observation,
    ) -> Result<(), ClusterError> {
        let before = self.application.metadata.finalizers.clone().unwrap_or_default();
        let mut after = before.clone();
        for (hook_type, finalizer, cleanup) in FINALIZERS {
            let wanted = !declared(observation, *hook_type).is_empty();
            for name in [finalizer, cleanup] {
                let place = after.iter().position(|other| other == name);
                match (wanted, place) {
                    (true, None) => after.push((*name).to_owned()),
                    (false, Some(place)) => {
                        after.remove(place);
                    }
                    _ => {}
                }
            }
        }
        if after == before {
            return Ok(());
        }
        self.context.writer.set_finalizers(self.key, &before, &after).await
    }
}

/// The hooks of a type that the source has.
fn declared(observation: &Observation, hook_type: HookType) -> Vec<Arc<Object>> {
    let candidates = observation.comparison.candidates.iter();
    let desired = candidates.filter_map(|candidate| candidate.desired.as_ref());
    let is_wanted = |object: &&Arc<Object>| match Role::of(object) {
        Role::Hook(types) => types.contains(&hook_type),
        _ => false,
    };
    desired.filter(is_wanted).cloned().collect()
}

/// Runs the hooks of a type, wave by wave, and waits for their end.
pub(super) async fn run(
    look: &mut Look<'_>,
    memory: &mut Memory,
    hook_type: HookType,
) -> Result<Came, String> {
    let (observation, options) = observe(look, memory).await?;
    let mut waves: BTreeMap<i64, Vec<Task>> = BTreeMap::new();
    for object in declared(&observation, hook_type) {
        let task = task(look, &object, hook_type);
        waves.entry(task.wave).or_default().push(task);
    }
    let rules = Rules::default();
    let observer = CountedWrites { metrics: &look.context.metrics, application: &look.application };
    let Observation { admission, kinds, .. } = &observation;
    let executor = executor(look, admission, kinds, &options, &rules, &observer);
    let began = look.application.metadata.deletion_timestamp.as_ref().map(|time| time.0);
    for tasks in waves.into_values() {
        let mut missing = Vec::new();
        let mut runs = false;
        for task in &tasks {
            let Some(live) = executor.read(&task.gvk, &task.key).await? else {
                missing.push(task);
                continue;
            };
            let created = live.value().pointer("/metadata/creationTimestamp").and_then(|text| text.as_str());
            let created = created.and_then(|text| text.parse::<jiff::Timestamp>().ok());
            let is_older = created.zip(began).is_some_and(|(created, began)| created < began);
            if is_older && DeletePolicy::of(&live).before_creation {
                executor.delete_hook(&task.gvk, &task.key).await?;
                runs = true;
                continue;
            }
            match look.settings.health_scripts().assess(&live).map_err(|error| error.to_string())? {
                Some(health) if health.status == HealthStatusCode::Degraded => {
                    executor.delete_hook(&task.gvk, &task.key).await?;
                    return Err(format!("{hook_type} hook {} has failed: {}", task.key, health.message));
                }
                Some(health) if health.status != HealthStatusCode::Healthy => runs = true,
                _ => {}
            }
        }
        if !missing.is_empty() {
            let results = executor.run(&missing).await;
            let failed =
                results.into_iter().find(|row| row.status == Some(crate::api::ResultCode::SyncFailed));
            if let Some(row) = failed {
                return Err(format!("{hook_type} hook {}: {}", row.name, row.message));
            }
            return Ok(Came::Waits);
        }
        if runs {
            return Ok(Came::Waits);
        }
    }
    Ok(Came::Done)
}

/// Deletes the hooks whose policy says so, and lets the others go when somebody deletes them.
pub(super) async fn clean_up(look: &mut Look<'_>, memory: &mut Memory) -> Result<Came, String> {
    let (observation, options) = observe(look, memory).await?;
    let rules = Rules::default();
    let observer = CountedWrites { metrics: &look.context.metrics, application: &look.application };
    let Observation { admission, kinds, .. } = &observation;
    let executor = executor(look, admission, kinds, &options, &rules, &observer);
    for (hook_type, ..) in FINALIZERS {
        for object in declared(&observation, *hook_type) {
            let task = task(look, &object, *hook_type);
            let Some(live) = executor.read(&task.gvk, &task.key).await? else { continue };
            let health =
                look.settings.health_scripts().assess(&live).ok().flatten().map(|health| health.status);
            let policy = DeletePolicy::of(&live);
            let goes = match health {
                Some(HealthStatusCode::Degraded) => policy.on_failure,
                None | Some(HealthStatusCode::Healthy) => policy.on_success,
                _ => false,
            };
            if goes {
                executor.delete_hook(&task.gvk, &task.key).await?;
            } else {
                executor.release_ended(&task.gvk, &task.key).await?;
            }
        }
    }
    Ok(Came::Done)
}

/// What the source declares, at the revision that was last compared.
async fn observe(look: &mut Look<'_>, memory: &mut Memory) -> Result<(Observation, SyncOptions), String> {
    let mut target = Target::of_spec(&look.application.spec);
    let sync = look.application.status.sync.clone().unwrap_or_default();
    let compared = if target.is_list { sync.revisions } else { vec![sync.revision] };
    for (revision, compared) in target.revisions.iter_mut().zip(compared) {
        if !compared.is_empty() {
            *revision = compared;
        }
    }
    let observation =
        Box::pin(look.observe(memory, &target, Freshness::Polled)).await.map_err(|error| chain(&error))?;
    Ok((observation, SyncOptions::new(look.application.spec.sync_options())))
}

/// What writes hooks outside of a sync.
pub(in crate::controller) fn executor<'a>(
    look: &'a Look<'_>,
    admission: &'a Admission,
    kinds: &'a Kinds,
    options: &'a SyncOptions,
    rules: &'a Rules,
    observer: &'a CountedWrites<'a>,
) -> Executor<'a> {
    Executor {
        cluster: &look.context.cluster,
        admission,
        tracking: &look.tracking,
        kinds,
        options,
        force: false,
        rules,
        client_side_manager: None,
        observer,
    }
}

/// A hook as it is created: its generated name tells this deletion from others.
fn task(look: &Look<'_>, object: &Arc<Object>, hook_type: HookType) -> Task {
    let deleted = look.application.metadata.deletion_timestamp.as_ref().map_or(0, |time| time.0.as_second());
    let name = |prefix: &str| format!("{prefix}{}-{deleted}", hook_type.as_str().to_lowercase());
    let named = hook::named(object, name);
    let marked = if object.name().is_empty() { look.tracking.mark(named) } else { named };
    let desired = Arc::new(hook::with_finalizer(marked));
    let (key, gvk, wave) = (desired.key(), desired.gvk(), hook::wave(&desired));
    let action = Action::Apply { desired, live: None, changed: true };
    Task { key, gvk, phase: SyncPhase::Sync, wave, hook: Some(hook_type), action }
}
