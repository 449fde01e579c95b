//! Carrying out a plan: first everything is checked, then it is written, group after group.
//!
//! ```text
//! permit all ─▶ validate all (server-side dry run) ─▶ for each group: prune, apply kind after kind ─▶ results
//! ```
//!
//! Nothing is written before every task is permitted and every change that can be validated is valid: a broken commit
//! harms nothing. Every step may be repeated: an apply that was done is done again with the same outcome, a prune
//! looks at the object once more and deletes exactly that version of it. So an operation that was cut off anywhere is
//! resumed by running it again. A CustomResourceDefinition is awaited before objects of its kinds are applied.

use std::{collections::HashMap, sync::Arc, time::Duration};

use super::{
    order::Provides,
    ownership::Tracking,
    plan::{self, Action, Group, Plan, Task},
    prune::{Pruned, Pruner},
};
use crate::{
    api::{OperationPhase, ResourceResult, ResultCode},
    cluster::{Cluster, ClusterError, bounded, discovery::Kinds, kinds_of_definition},
    error::chain,
    object::{Gvk, Object, ObjectKey, Scope},
    project::{Admission, Apply, Permitted, Propagation},
};

/// How long a CustomResourceDefinition may take to be established.
const ESTABLISHED_LIMIT: Duration = Duration::from_secs(30);

/// What carries out a plan.
pub struct Executor<'a> {
    /// The destination.
    pub cluster: &'a Cluster,
    /// What the project permits this application.
    pub admission: &'a Admission,
    /// Whose objects may be pruned.
    pub tracking: &'a Tracking,
    /// Kinds that the cluster serves, and those that definitions in the plan will add.
    pub kinds: &'a Kinds,
    /// What happens to the dependents of pruned objects.
    pub propagation: Propagation,
    /// Validate only.
    pub dry_run: bool,
    /// Told of each request that writes, or would.
    pub observer: &'a (dyn WriteObserver + Sync),
}

/// Counts the requests that a sync makes.
pub trait WriteObserver {
    /// One request on behalf of the application: Kubernetes' verb, the object, the status code of the answer (0 where
    /// there was none), and whether nothing was to be written.
    fn write(&self, verb: &'static str, key: &ObjectKey, code: u16, dry_run: bool);
}

/// What came of a plan.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// How the operation ended.
    pub phase: OperationPhase,
    /// In one sentence.
    pub message: String,
    /// What happened to each object.
    pub resources: Vec<ResourceResult>,
}

/// A task whose write is permitted. A prune is permitted when it is carried out, for the object as it is then; that
/// it may be permitted at all is checked beforehand all the same.
enum Ready<'p> {
    Apply { task: &'p Task, apply: Permitted<Apply>, changed: bool },
    Prune { task: &'p Task, live: Arc<Object> },
    SkipPrune { task: &'p Task, message: String },
}

impl Ready<'_> {
    fn task(&self) -> &Task {
        match self {
            Self::Apply { task, .. } | Self::Prune { task, .. } | Self::SkipPrune { task, .. } => task,
        }
    }
}

impl Executor<'_> {
    /// Carries out a plan.
    pub async fn run(&self, plan: &Plan) -> Outcome {
        let (groups, refused) = self.permit(plan);
        if !refused.is_empty() {
            return failed(plan::TASKS_NOT_VALID, refused);
        }
        let invalid = self.validate(&groups).await;
        if !invalid.is_empty() {
            return failed(plan::DRY_RUN_FAILED, invalid);
        }
        let mut resources = Vec::new();
        for (group, ready) in plan.groups.iter().zip(&groups) {
            let results = if self.dry_run { Self::rehearse(ready) } else { self.group(group, ready).await };
            let any_failed = results.iter().any(is_failure);
            resources.extend(results);
            if any_failed {
                return failed(plan::TASKS_FAILED, resources);
            }
        }
        let message = if self.dry_run {
            "successfully validated (dry run)"
        } else if plan.groups.is_empty() {
            plan::NO_MORE_TASKS
        } else {
            plan::ALL_TASKS_RUN
        };
        Outcome { phase: OperationPhase::Succeeded, message: message.to_owned(), resources }
    }

    /// Asks the project for every task before any is carried out.
    fn permit<'p>(&self, plan: &'p Plan) -> (Vec<Vec<Ready<'p>>>, Vec<ResourceResult>) {
        let mut refused = Vec::new();
        let mut groups = Vec::new();
        for group in &plan.groups {
            let mut ready = Vec::new();
            for task in &group.tasks {
                match self.permit_task(task) {
                    Ok(task) => ready.push(task),
                    Err(message) => refused.push(result(
                        task,
                        Some(ResultCode::SyncFailed),
                        OperationPhase::Failed,
                        message,
                    )),
                }
            }
            groups.push(ready);
        }
        (groups, refused)
    }

    fn pruner(&self) -> Pruner<'_> {
        let Self { cluster, admission, tracking, kinds, propagation, .. } = *self;
        Pruner { cluster, admission, tracking, kinds, propagation }
    }

    fn permit_task<'p>(&self, task: &'p Task) -> Result<Ready<'p>, String> {
        let scope = |gvk: &Gvk| self.kinds.get(gvk).map(|info| info.scope).map_err(|error| error.to_string());
        match &task.action {
            Action::CreateNamespace { object } => {
                let write = Apply { object: Object::clone(object), scope: Scope::Cluster };
                let apply = self.admission.permit(write).map_err(|refusal| chain(&refusal))?;
                Ok(Ready::Apply { task, apply, changed: true })
            }
            Action::Apply { desired, changed, .. } => {
                let write = Apply { object: Object::clone(desired), scope: scope(&task.gvk)? };
                let apply = self.admission.permit(write).map_err(|refusal| chain(&refusal))?;
                Ok(Ready::Apply { task, apply, changed: *changed })
            }
            Action::Prune { live } => {
                self.pruner().permit(&task.gvk, live)?;
                Ok(Ready::Prune { task, live: Arc::clone(live) })
            }
            Action::SkipPrune { message, .. } => {
                Ok(Ready::SkipPrune { task, message: (*message).to_owned() })
            }
        }
    }

    /// Lets the API server judge every change that it can judge by now. What depends on a kind or a namespace that
    /// this plan will create is judged when it is applied.
    async fn validate(&self, groups: &[Vec<Ready<'_>>]) -> Vec<ResourceResult> {
        let served = self.cluster.kinds();
        let missing = groups.iter().flatten().filter_map(|ready| match ready {
            Ready::Apply { task, apply, .. }
                if !matches!(task.action, Action::Apply { live: Some(_), .. }) =>
            {
                Provides::of(&apply.write().object)
            }
            _ => None,
        });
        // A kind may be known still though its definition is gone.
        let missing: Vec<Provides> = missing.collect();
        let mut judged = Vec::new();
        for ready in groups.iter().flatten() {
            if let Ready::Apply { task, apply, changed: true } = ready
                && served.get(&task.gvk).is_ok()
                && !missing.iter().any(|provided| provided.is_needed_by(&apply.write().object))
            {
                judged.push(self.validate_one(task, apply));
            }
        }
        bounded(judged).await.into_iter().flatten().collect()
    }

    async fn validate_one(&self, task: &Task, apply: &Permitted<Apply>) -> Option<ResourceResult> {
        let validated = self.cluster.dry_run(apply).await;
        self.observer.write("patch", &task.key, code(&validated), true);
        let error = validated.err()?;
        Some(result(task, Some(ResultCode::SyncFailed), OperationPhase::Failed, error.to_string()))
    }

    /// The results of an operation that only rehearses.
    fn rehearse(ready: &[Ready<'_>]) -> Vec<ResourceResult> {
        ready
            .iter()
            .map(|ready| match ready {
                Ready::Apply { task, changed, .. } => {
                    let message = format!("{} {} (dry run)", display(&task.key), done(*changed));
                    result(task, Some(ResultCode::Synced), OperationPhase::Succeeded, message)
                }
                Ready::Prune { task, .. } => result(
                    task,
                    Some(ResultCode::Pruned),
                    OperationPhase::Succeeded,
                    plan::PRUNED_DRY_RUN.to_owned(),
                ),
                Ready::SkipPrune { task, message } => skipped(task, message),
            })
            .collect()
    }

    /// Prunes first, then applies kind after kind; objects of one kind go together. A kind that fails does not keep
    /// the others of its group from being applied.
    async fn group(&self, group: &Group, ready: &[Ready<'_>]) -> Vec<ResourceResult> {
        let by_key: HashMap<(&ObjectKey, &Gvk), &Ready<'_>> =
            ready.iter().map(|ready| ((&ready.task().key, &ready.task().gvk), ready)).collect();
        let mut prunes = Vec::new();
        for ready in ready.iter().filter(|ready| !matches!(ready, Ready::Apply { .. })) {
            prunes.push(self.execute(ready));
        }
        let mut results = bounded(prunes).await;
        for batch in group.apply_batches() {
            let mut applies = Vec::new();
            for task in batch {
                if let Some(ready) = by_key.get(&(&task.key, &task.gvk)) {
                    applies.push(self.execute(ready));
                }
            }
            results.extend(bounded(applies).await);
        }
        results.sort_by(|a, b| (&a.kind, &a.namespace, &a.name).cmp(&(&b.kind, &b.namespace, &b.name)));
        results
    }

    async fn execute(&self, ready: &Ready<'_>) -> ResourceResult {
        match ready {
            Ready::Apply { task, changed: false, .. } => {
                let message = format!("{} unchanged", display(&task.key));
                result(task, Some(ResultCode::Synced), OperationPhase::Running, message)
            }
            Ready::Apply { task, apply, changed: true } => match self.apply(task, apply).await {
                Ok(images) => {
                    let message = format!("{} serverside-applied", display(&task.key));
                    let mut result = result(task, Some(ResultCode::Synced), OperationPhase::Running, message);
                    result.images = images;
                    result
                }
                Err(error) => {
                    result(task, Some(ResultCode::SyncFailed), OperationPhase::Failed, error.to_string())
                }
            },
            Ready::Prune { task, live } => match self.pruner().prune(&task.gvk, live).await {
                Ok(Pruned::Deleted) => {
                    self.observer.write("delete", &task.key, 200, false);
                    result(task, Some(ResultCode::Pruned), OperationPhase::Succeeded, plan::PRUNED.to_owned())
                }
                Ok(Pruned::Left(reason)) => skipped(task, &format!("ignored ({reason})")),
                Err(message) => result(task, Some(ResultCode::SyncFailed), OperationPhase::Failed, message),
            },
            Ready::SkipPrune { task, message } => skipped(task, message),
        }
    }

    async fn apply(&self, task: &Task, apply: &Permitted<Apply>) -> Result<Vec<String>, ClusterError> {
        let applied = self.cluster.apply(apply).await;
        self.observer.write("patch", &task.key, code(&applied), false);
        let applied = applied?;
        if task.key.kind == "CustomResourceDefinition" && task.key.group == "apiextensions.k8s.io" {
            self.await_established(&task.gvk, &task.key, &applied).await?;
        }
        Ok(super::rollup::images_of(&applied).map(str::to_owned).collect())
    }

    /// Waits until the kinds of a definition are served.
    async fn await_established(
        &self,
        gvk: &Gvk,
        key: &ObjectKey,
        applied: &Object,
    ) -> Result<(), ClusterError> {
        let wanted = kinds_of_definition(applied);
        let mut pause = Duration::from_millis(25);
        let served = async {
            loop {
                let kinds = self.cluster.discover(Duration::ZERO).await?;
                if is_established(self.cluster.get(gvk, key).await?.as_ref())
                    && wanted.keys().all(|kind| kinds.get(kind).is_ok())
                {
                    return Ok(());
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(1));
            }
        };
        tokio::time::timeout(ESTABLISHED_LIMIT, served).await.unwrap_or_else(|_| {
            let (action, object) = ("establish", key.to_string());
            Err(ClusterError::Timeout { action, object, limit: ESTABLISHED_LIMIT })
        })
    }
}

fn code<T>(answer: &Result<T, ClusterError>) -> u16 {
    match answer {
        Ok(_) => 200,
        Err(ClusterError::Refused { code, .. }) => *code,
        Err(_) => 0,
    }
}

fn is_established(definition: Option<&Object>) -> bool {
    let conditions = definition.and_then(|definition| definition.value().pointer("/status/conditions"));
    conditions.and_then(serde_json::Value::as_array).into_iter().flatten().any(|condition| {
        condition.get("type").and_then(serde_json::Value::as_str) == Some("Established")
            && condition.get("status").and_then(serde_json::Value::as_str) == Some("True")
    })
}

fn is_failure(result: &ResourceResult) -> bool {
    result.status == Some(ResultCode::SyncFailed)
}

fn failed(message: &str, resources: Vec<ResourceResult>) -> Outcome {
    let mut reasons: Vec<&str> =
        resources.iter().filter(|result| is_failure(result)).map(|result| result.message.as_str()).collect();
    reasons.sort_unstable();
    reasons.dedup();
    let message = format!("{message}: {}", reasons.join(", "));
    Outcome { phase: OperationPhase::Failed, message, resources }
}

fn skipped(task: &Task, message: &str) -> ResourceResult {
    result(task, Some(ResultCode::PruneSkipped), OperationPhase::Succeeded, message.to_owned())
}

fn result(task: &Task, status: Option<ResultCode>, phase: OperationPhase, message: String) -> ResourceResult {
    ResourceResult {
        group: task.key.group.clone(),
        version: task.gvk.version.clone(),
        kind: task.key.kind.clone(),
        namespace: task.key.namespace.clone(),
        name: task.key.name.clone(),
        status,
        message,
        hook_phase: Some(phase),
        sync_phase: Some(task.phase),
        ..ResourceResult::default()
    }
}

/// `deployment.apps/orders`, as kubectl writes it.
fn display(key: &ObjectKey) -> String {
    let kind = key.kind.to_lowercase();
    if key.group.is_empty() {
        format!("{kind}/{}", key.name)
    } else {
        format!("{kind}.{}/{}", key.group, key.name)
    }
}

fn done(changed: bool) -> &'static str {
    if changed { "serverside-applied" } else { "unchanged" }
}
