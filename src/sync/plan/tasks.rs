//! Which tasks there are.

use std::sync::Arc;

use serde_json::json;

use super::{Action, Candidate, NO_PRUNE, PlanInput, REQUIRES_PRUNING, STILL_NEEDED, Task, Verdict};
use crate::{
    api::{
        ManagedNamespaceMetadata, SyncOperationResource, SyncPhase, names,
        sync_options::{Deletion, SyncOptions},
    },
    object::Object,
    sync::{
        hook::{self, Role},
        order::{self, Provides},
    },
};

/// Everything that the sync does, in no order.
pub(super) fn tasks(input: &PlanInput<'_>) -> Vec<Task> {
    let mut tasks: Vec<Task> = Vec::new();
    for candidate in input.candidates {
        let Some(declared) = candidate.declared().filter(|object| is_selected(object, input.resources))
        else {
            continue;
        };
        match (Role::of(declared), &candidate.desired) {
            (Role::Resource, Some(desired)) => tasks.extend(apply(candidate, desired, input)),
            (Role::Resource, None) => tasks.extend(prune(candidate, input)),
            (Role::Hook(_), Some(desired)) if input.skip_hooks || !input.resources.is_empty() => {
                tracing::trace!(object = %desired.key(), "the hook is left out");
            }
            (Role::Hook(types), Some(desired)) => {
                for hook_type in types {
                    if let Some(phase) = hook::phase_of(hook_type) {
                        let object = hook_object(desired, phase, input);
                        // Only a hook with a name of its own can have been there before.
                        let live = candidate.live.clone();
                        let action = Action::Apply { desired: Arc::clone(&object), live, changed: true };
                        let task = task(&object, phase, order::wave(&object), action);
                        tasks.push(Task { hook: Some(hook_type), ..task });
                    }
                }
            }
            (Role::Hook(_) | Role::Skipped | Role::Ignored, _) => {}
        }
    }
    tasks.extend(namespace(input));
    tasks
}

fn task(object: &Object, phase: SyncPhase, wave: i64, action: Action) -> Task {
    Task { key: object.key(), gvk: object.gvk(), phase, wave, hook: None, action }
}

fn is_selected(object: &Object, resources: &[SyncOperationResource]) -> bool {
    resources.is_empty()
        || resources.iter().any(|wanted| {
            wanted.group == object.group()
                && wanted.kind == object.kind()
                && wanted.name == object.name()
                && (wanted.namespace.is_empty() || wanted.namespace == object.namespace())
        })
}

fn apply(candidate: &Candidate, desired: &Arc<Object>, input: &PlanInput<'_>) -> Option<Task> {
    let changed = candidate.verdict != Verdict::Same;
    // What this operation has applied is unchanged from then on, and still a part of it.
    let on_record = || {
        let key = desired.key();
        input.rows.iter().any(|row| {
            (&row.group, &row.kind, &row.namespace, &row.name)
                == (&key.group, &key.kind, &key.namespace, &key.name)
        })
    };
    if !changed && input.options.apply_out_of_sync_only() && !on_record() {
        return None;
    }
    let action = Action::Apply { desired: Arc::clone(desired), live: candidate.live.clone(), changed };
    Some(task(desired, SyncPhase::Sync, order::wave(desired), action))
}

fn prune(candidate: &Candidate, input: &PlanInput<'_>) -> Option<Task> {
    let live = candidate.live.as_ref()?;
    input.tracking.may_prune(live).ok()?;
    let provides = Provides::of(live);
    // The namespace that the Application itself creates stays, whoever has marked it.
    let own_namespace = Provides::Namespace(input.destination_namespace.to_owned());
    if input.options.create_namespace() && provides.as_ref() == Some(&own_namespace) {
        return None;
    }
    let needed = provides.is_some_and(|provides| {
        let declared = input.candidates.iter().filter_map(|candidate| candidate.desired.as_ref());
        declared.into_iter().any(|object| provides.is_needed_by(object))
    });
    let own = SyncOptions::of_object(live);
    let skip = |message| Action::SkipPrune { live: Arc::clone(live), message };
    let action = match (input.prune, SyncOptions::prune(input.options, &own)) {
        (false, _) => skip(REQUIRES_PRUNING),
        (true, Deletion::Forbidden) => skip(NO_PRUNE),
        (true, _) if needed => skip(STILL_NEEDED),
        (true, Deletion::Confirm) if !input.approved => Action::ConfirmPrune { live: Arc::clone(live) },
        (true, Deletion::Confirm | Deletion::Allowed) => Action::Prune { live: Arc::clone(live) },
    };
    Some(task(live, SyncPhase::Sync, order::wave(live), action))
}

/// A hook as it is created in one phase: with a name, the mark for that name, and the finalizer.
fn hook_object(desired: &Arc<Object>, phase: SyncPhase, input: &PlanInput<'_>) -> Arc<Object> {
    let name = |prefix: &str| hook::generated_name(prefix, input.revision, phase.as_str(), input.started_at);
    let named = hook::named(desired, name);
    let marked = if desired.name().is_empty() { input.tracking.mark(named) } else { named };
    Arc::new(hook::with_finalizer(marked))
}

/// The task that creates the destination namespace or gives it its metadata, unless the source has it.
fn namespace(input: &PlanInput<'_>) -> Option<Task> {
    let name = input.destination_namespace;
    let has_any = |it: &&ManagedNamespaceMetadata| !it.labels.is_empty() || !it.annotations.is_empty();
    let metadata = input.namespace_metadata.filter(has_any);
    // Where there is none any more, what it was given before is taken away.
    let has_metadata = metadata.or(input.former_namespace_metadata.filter(has_any)).is_some();
    let has_work = !input.destination_namespace_exists || (has_metadata && input.resources.is_empty());
    if !input.options.create_namespace() || name.is_empty() || !has_work {
        return None;
    }
    let wanted = Provides::Namespace(name.to_owned());
    let mut declared = input.candidates.iter().filter_map(|candidate| candidate.desired.as_ref());
    if declared.any(|object| Provides::of(object).as_ref() == Some(&wanted)) {
        return None;
    }
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
    let mut object = Object::from_value(namespace).ok()?;
    if let Some(metadata) = metadata {
        for (key, value) in &metadata.labels {
            object.set_label(key, value);
        }
        for (key, value) in &metadata.annotations {
            object.set_annotation(key, value);
        }
        object.set_annotation(names::ANNOTATION_SYNC_OPTIONS, "ServerSideApply=true");
    }
    let object = Arc::new(object);
    Some(task(&object, SyncPhase::PreSync, 0, Action::CreateNamespace { object: Arc::clone(&object) }))
}
