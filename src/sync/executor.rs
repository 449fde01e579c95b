//! Carrying out tasks.
//!
//! Nothing is written before everything is permitted and every change that can be validated is valid: a broken commit
//! harms nothing. Every write may be repeated: an apply that was done is done again with the same outcome, a prune
//! looks at the object once more and deletes exactly that version of it. What must not be repeated (the creation of a
//! hook) is put on record by the caller between [`Executor::clear`] and [`Executor::run`]. A CustomResourceDefinition
//! is awaited before objects of its kinds are applied.

mod apply;
mod hooks;

use std::time::Duration;

use super::{
    order::Provides,
    ownership::Tracking,
    plan::{self, Action, Plan, Task},
    prune::{Pruned, Pruner},
    record,
};
use crate::{
    api::{OperationPhase, ResourceResult, ResultCode, sync_options::SyncOptions},
    cluster::{Cluster, ClusterError, bounded, discovery::Kinds, kinds_of_definition},
    compare::Rules,
    error::chain,
    object::{Gvk, Object, ObjectKey, Scope},
    project::{Admission, Apply, Permitted, Propagation},
};

/// How long a CustomResourceDefinition may take to be established.
const ESTABLISHED_LIMIT: Duration = Duration::from_secs(30);

/// Message of an operation some of whose tasks are not permitted or unknown to the cluster; the reasons follow.
pub const TASKS_NOT_VALID: &str = "one or more synchronization tasks are not valid";
/// Message of an operation that ended before the first write.
pub const DRY_RUN_FAILED: &str = "one or more objects failed to apply (dry run)";

/// What carries out tasks.
pub struct Executor<'a> {
    /// The destination.
    pub cluster: &'a Cluster,
    /// What the project permits this application.
    pub admission: &'a Admission,
    /// Whose objects may be pruned.
    pub tracking: &'a Tracking,
    /// Kinds that the cluster serves, and those that definitions in the plan will add.
    pub kinds: &'a Kinds,
    /// The operation's sync options.
    pub options: &'a SyncOptions,
    /// Whether an object whose update is refused is deleted and created again.
    pub force: bool,
    /// What may differ; with `RespectIgnoreDifferences=true` it is left as it is in the cluster.
    pub rules: &'a Rules,
    /// A further manager of client-side applies whose fields are taken over.
    pub client_side_manager: Option<&'a str>,
    /// Told of each request that writes, or would.
    pub observer: &'a (dyn WriteObserver + Sync),
}

/// Counts the requests that a sync makes.
pub trait WriteObserver {
    /// One request on behalf of the application: Kubernetes' verb, the object, the status code of the answer (0 where
    /// there was none), and whether nothing was to be written.
    fn write(&self, verb: &'static str, key: &ObjectKey, code: u16, dry_run: bool);
}

impl Executor<'_> {
    /// Asks the project for every task before any is carried out. Returns those that it refuses, or whose kind the
    /// cluster does not have.
    pub fn refused(&self, plan: &Plan) -> Vec<ResourceResult> {
        let refusal = |task: &Task| match (&task.action, task.applied()) {
            (Action::Prune { live } | Action::ConfirmPrune { live }, _) => {
                self.pruner().permit(&task.gvk, live).map(drop)
            }
            (Action::SkipPrune { .. }, _) | (_, None) => Ok(()),
            // One that the cluster may have by then is asked when it is applied.
            (_, Some(object)) if self.may_be_missing(object) => Ok(()),
            (_, Some(_)) => self.permit(task).map(drop),
        };
        plan.tasks().filter_map(|task| Some(failed(task, refusal(task).err()?))).collect()
    }

    /// Whether a kind that the cluster does not have is no error yet.
    fn may_be_missing(&self, object: &Object) -> bool {
        let tolerated = self.options.skip_dry_run_on_missing_resource()
            || SyncOptions::of_object(object).skip_dry_run_on_missing_resource();
        tolerated && matches!(self.kinds.get(&object.gvk()), Err(ClusterError::UnknownKind { .. }))
    }

    /// Lets the API server judge every change that it can judge by now. What depends on a kind or a namespace that
    /// this plan will create is judged when it is applied. Returns what it would refuse.
    pub async fn invalid(&self, plan: &Plan) -> Vec<ResourceResult> {
        let served = self.cluster.kinds();
        // A kind may be known still though its definition is gone.
        let missing: Vec<Provides> = plan
            .tasks()
            .filter(|task| !matches!(task.action, Action::Apply { live: Some(_), .. }))
            .filter_map(|task| Provides::of(task.applied()?))
            .collect();
        let mut judged = Vec::new();
        for task in plan.tasks() {
            let Some(object) = task.applied() else { continue };
            let unchanged = matches!(task.action, Action::Apply { changed: false, .. });
            if !unchanged
                && served.get(&task.gvk).is_ok()
                && !missing.iter().any(|provided| provided.is_needed_by(object))
            {
                judged.push(self.judge(task));
            }
        }
        bounded(judged).await.into_iter().flatten().collect()
    }

    async fn judge(&self, task: &Task) -> Option<ResourceResult> {
        let validated = match self.permit(task) {
            Ok(apply) => self.validate(task, &apply).await.map_err(|error| error.to_string()),
            Err(refusal) => Err(refusal),
        };
        Some(failed(task, validated.err()?))
    }

    /// The results of an operation that only rehearses.
    pub fn rehearse(&self, plan: &Plan) -> Vec<ResourceResult> {
        let rehearse = |task: &Task| match &task.action {
            Action::Apply { changed, .. } => {
                let done = if *changed { "serverside-applied" } else { "unchanged" };
                let message = format!("{} {done} (dry run)", display(&task.key));
                result(task, ResultCode::Synced, OperationPhase::Succeeded, message)
            }
            Action::CreateNamespace { .. } => {
                let message = format!("{} serverside-applied (dry run)", display(&task.key));
                result(task, ResultCode::Synced, OperationPhase::Succeeded, message)
            }
            Action::Prune { .. } | Action::ConfirmPrune { .. } => {
                let message = plan::PRUNED_DRY_RUN.to_owned();
                result(task, ResultCode::Pruned, OperationPhase::Succeeded, message)
            }
            Action::SkipPrune { message, .. } => skipped(task, message),
        };
        plan.tasks().map(rehearse).collect()
    }

    /// Carries out tasks of one phase and wave: prunes first, then applies kind after kind; objects of one kind go
    /// together. A kind that fails does not keep the others of its group from being applied.
    pub async fn run(&self, tasks: &[&Task]) -> Vec<ResourceResult> {
        let (prunes, applies): (Vec<&Task>, Vec<&Task>) = tasks.iter().partition(|task| task.is_prune());
        // What others need goes after them, and the rest at once.
        let (last, first): (Vec<&Task>, Vec<&Task>) = prunes
            .into_iter()
            .partition(|task| task.pruned().is_some_and(|live| Provides::of(live).is_some()));
        let mut results = Vec::new();
        for prunes in [first, last] {
            let pruning: Vec<_> = prunes.into_iter().map(|task| self.prune(task)).collect();
            results.extend(bounded(pruning).await);
        }
        for batch in applies.chunk_by(|a, b| a.key.kind == b.key.kind) {
            let applying: Vec<_> = batch.iter().map(|task| self.apply(task)).collect();
            results.extend(bounded(applying).await);
        }
        results.sort_by(|a, b| (&a.kind, &a.namespace, &a.name).cmp(&(&b.kind, &b.namespace, &b.name)));
        results
    }

    fn pruner(&self) -> Pruner<'_> {
        let Self { cluster, admission, tracking, kinds, .. } = *self;
        let propagation = Propagation::from(self.options.prune_propagation_policy());
        Pruner { cluster, admission, tracking, kinds, propagation }
    }

    async fn prune(&self, task: &Task) -> ResourceResult {
        match &task.action {
            Action::Prune { live } => match self.pruner().prune(&task.gvk, live).await {
                Ok(Pruned::Deleted) => {
                    self.observer.write("delete", &task.key, 200, false);
                    let message = plan::PRUNED.to_owned();
                    result(task, ResultCode::Pruned, OperationPhase::Succeeded, message)
                }
                Ok(Pruned::Left(reason)) => skipped(task, &format!("ignored ({reason})")),
                Err(message) => failed(task, message),
            },
            Action::SkipPrune { message, .. } => skipped(task, message),
            _ => failed(task, "its deletion was not approved".to_owned()),
        }
    }

    async fn apply(&self, task: &Task) -> ResourceResult {
        match self.write(task).await {
            Ok((done, images)) => {
                let message = format!("{} {done}", display(&task.key));
                ResourceResult {
                    images,
                    ..result(task, ResultCode::Synced, OperationPhase::Running, message)
                }
            }
            Err(message) => failed(task, message),
        }
    }

    /// What a task sends, permitted.
    fn permit(&self, task: &Task) -> Result<Permitted<Apply>, String> {
        let Some(object) = self.sent(task) else {
            return Err("there is nothing to apply".to_owned());
        };
        let scope = match &task.action {
            Action::CreateNamespace { .. } => Scope::Cluster,
            _ => {
                let served = self.cluster.kinds();
                let info =
                    self.kinds.get(&task.gvk).or_else(|error| served.get(&task.gvk).map_err(|_| error));
                info.map(|info| info.scope).map_err(|error| error.to_string())?
            }
        };
        let mut object = object;
        if scope == Scope::Cluster {
            object.set_namespace("");
        }
        self.admission.permit(Apply { object, scope }).map_err(|refusal| chain(&refusal))
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

fn is_established(definition: Option<&Object>) -> bool {
    let conditions = definition.and_then(|definition| definition.value().pointer("/status/conditions"));
    conditions.and_then(serde_json::Value::as_array).into_iter().flatten().any(|condition| {
        condition.get("type").and_then(serde_json::Value::as_str) == Some("Established")
            && condition.get("status").and_then(serde_json::Value::as_str) == Some("True")
    })
}

fn code<T>(answer: &Result<T, ClusterError>) -> u16 {
    match answer {
        Ok(_) => 200,
        Err(ClusterError::Refused { code, .. }) => *code,
        Err(_) => 0,
    }
}

/// The message of an operation that ended before its first write, for these reasons.
pub fn reason(message: &str, failed: &[ResourceResult]) -> String {
    let mut reasons: Vec<&str> = failed.iter().map(|result| result.message.as_str()).collect();
    reasons.sort_unstable();
    reasons.dedup();
    format!("{message}: {}", reasons.join(", "))
}

fn skipped(task: &Task, message: &str) -> ResourceResult {
    result(task, ResultCode::PruneSkipped, OperationPhase::Succeeded, message.to_owned())
}

fn failed(task: &Task, message: String) -> ResourceResult {
    result(task, ResultCode::SyncFailed, OperationPhase::Failed, message)
}

fn result(task: &Task, status: ResultCode, phase: OperationPhase, message: String) -> ResourceResult {
    ResourceResult { status: Some(status), message, hook_phase: Some(phase), ..record::row(task) }
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
