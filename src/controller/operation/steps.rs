//! Carrying an operation out, from what is on record to where it has to wait or has ended.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use super::{Ended, finish, is_overtaken, overtaken};
use crate::{
    api::{
        ApplicationCondition, HealthStatus, HealthStatusCode, OperationPhase, OperationState, ResourceResult,
        ResultCode, SyncPhase, SyncStrategy, names, sync_options::SyncOptions,
    },
    cluster::{Cluster, ClusterError, bounded},
    compare::Rules,
    controller::{
        comparison,
        observe::Observation,
        reconcile::{Level, Look, Memory, Next},
        reporter::CountedWrites,
        target::Target,
        writer::OperationChange,
    },
    error::chain,
    health::Scripts,
    object::{Object, ObjectKey},
    sync::{
        app_of_apps,
        executor::{self, Executor},
        guard,
        hook::DeletePolicy,
        plan::{Plan, PlanInput, Task, name_some, plan},
        record::{self, Progress, Record},
        step::{self, Live, Step},
    },
};

/// An operation that waits is looked at this often, besides when an object of it changes.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// The live objects that a step asks about.
#[derive(Default)]
struct View {
    objects: HashMap<(ObjectKey, SyncPhase), Arc<Object>>,
    healths: HashMap<ObjectKey, Option<HealthStatus>>,
}

impl Live for View {
    fn object(&self, task: &Task) -> Option<&Object> {
        self.objects.get(&(task.key.clone(), task.phase)).map(AsRef::as_ref)
    }

    fn health(&self, object: &Object) -> Option<HealthStatus> {
        self.healths.get(&object.key()).cloned().flatten()
    }
}

impl View {
    /// Reads what is known of the objects whose outcome is awaited. One that is not known is asked for: it may be of
    /// a kind that cannot be watched.
    async fn of(
        executor: &Executor<'_>,
        scripts: &Scripts,
        plan: &Plan,
        record: &Record,
    ) -> Result<Self, String> {
        let awaited = |task: &&Task| match record.progress(task) {
            Progress::Running => true,
            Progress::Succeeded => {
                task.is_hook() || record.row(task).and_then(|row| row.status) == Some(ResultCode::Pruned)
            }
            Progress::Failed => task.is_hook(),
            Progress::Pending | Progress::Creating => false,
        };
        let mut reads = Vec::new();
        for task in plan.tasks().filter(awaited) {
            reads.push(async move {
                let known = executor.cluster.live.get(&task.gvk, &task.key).and_then(|live| live.object());
                let found = match known {
                    None if record.progress(task) == Progress::Running => {
                        executor.read(&task.gvk, &task.key).await?
                    }
                    known => known,
                };
                let Some(object) = found.map(Arc::new) else { return Ok(None) };
                let health = match app_of_apps::health_of_child(&object) {
                    Some(health) => Some(health),
                    None => comparison::assess(scripts, &object).await.unwrap_or_else(|error| {
                        Some(HealthStatus::new(HealthStatusCode::Unknown, error.to_string()))
                    }),
                };
                Ok::<_, String>(Some((task, object, health)))
            });
        }
        let mut view = Self::default();
        for found in bounded(reads).await {
            if let Some((task, object, health)) = found? {
                view.healths.insert(object.key(), health);
                view.objects.insert((task.key.clone(), task.phase), object);
            }
        }
        Ok(view)
    }
}

/// An operation on its way.
struct Pursuit<'p> {
    state: OperationState,
    record: Record,
    plan: Plan,
    executor: &'p Executor<'p>,
    /// Hooks whose finalizer was taken off in this look.
    released: HashSet<(ObjectKey, SyncPhase)>,
}

/// How far a pursuit came.
enum Came {
    Ended(Ended),
    /// It waits for the cluster, for the reason that is on record.
    Waits,
    /// It waits for somebody to approve a deletion, with this message.
    Asks(String),
}

/// Carries out the operation that is on record as far as it goes. `newest` is what automated syncs go by now.
pub(super) async fn pursue(
    look: &mut Look<'_>,
    memory: &mut Memory,
    observation: &Observation,
    target: &Target,
    newest: &Observation,
    newest_target: &Target,
) -> Result<Next, ClusterError> {
    let Some(state) = look.status.operation_state.clone() else { return Ok(Next::default()) };
    let sync = state.operation.sync.clone().unwrap_or_default();
    let options = SyncOptions::new(&sync.sync_options);
    let strategy = sync.sync_strategy.clone().unwrap_or_default();
    let policy = look.application.spec.sync_policy.clone().unwrap_or_default();
    let rows = state.sync_result.as_ref().map(|result| result.resources.clone()).unwrap_or_default();
    let former_metadata = state.sync_result.as_ref().and_then(|it| it.managed_namespace_metadata.clone());
    let revision = observation.desired.commit.to_string();
    let planned = plan(&PlanInput {
        candidates: &observation.comparison.candidates,
        options: &options,
        prune: sync.prune,
        approved: look.has_approved_deletions(&state),
        resources: &sync.resources,
        skip_hooks: strategy.apply.is_some(),
        tracking: &look.tracking,
        destination_namespace: &look.application.spec.destination.namespace,
        destination_namespace_exists: observation.comparison.namespace_exists,
        namespace_metadata: policy.managed_namespace_metadata.as_ref(),
        former_namespace_metadata: former_metadata.as_ref(),
        revision: &revision,
        started_at: state.started_at,
        rows: &rows,
    });
    let plan = match planned {
        Ok(plan) => plan,
        Err(error) => {
            let ended = Ended::new(OperationPhase::Error, chain(&error));
            return finish(look, memory, state, Some((&observation.desired, target)), ended).await;
        }
    };
    let (rules, _) = Rules::compile(&look.application.spec.ignore_differences, &look.settings.system_rules);
    let context = look.context;
    let application = Arc::clone(&look.application);
    let tracking = look.tracking.clone();
    let observer = CountedWrites { metrics: &context.metrics, application: &application };
    let executor = Executor {
        cluster: &context.cluster,
        admission: &observation.admission,
        tracking: &tracking,
        kinds: &observation.kinds,
        options: &options,
        force: is_forced(&strategy),
        rules: &rules,
        client_side_manager: application.annotation(names::ANNOTATION_CLIENT_SIDE_APPLY_MIGRATION_MANAGER),
        observer: &observer,
    };
    let record = Record::new(rows);
    let mut pursuit = Pursuit { state, record, plan, executor: &executor, released: HashSet::new() };
    let begun = if pursuit.record.is_empty() {
        Box::pin(pursuit.begin(look, observation, sync.dry_run, &options)).await?
    } else {
        None
    };
    let came = match begun {
        Some(came) => came,
        None => Box::pin(pursuit.go_on(look)).await?,
    };
    let mut state = pursuit.state;
    if let Some(result) = &mut state.sync_result {
        result.resources = pursuit.record.rows().to_vec();
    }
    let mut ask = Vec::new();
    match came {
        Came::Ended(ended) => {
            return finish(look, memory, state, Some((&observation.desired, target)), ended).await;
        }
        Came::Waits => {}
        Came::Asks(message) => {
            // Whoever mends the source must not have to wait for an approval that nobody wants to give.
            if is_overtaken(&state, newest, newest_target) {
                state.phase = OperationPhase::Terminating;
                return finish(look, memory, state, None, overtaken(&message, newest)).await;
            }
            ask.push(ApplicationCondition::new(names::CONDITION_PRUNE_GUARD_WARNING, &message));
            state.message = message;
        }
    }
    look.status.operation_state = Some(state);
    look.set_conditions(&[names::CONDITION_PRUNE_GUARD_WARNING], ask);
    look.write(OperationChange::Keep).await?;
    Ok(Next(Some((Level::Live, LOOK_AGAIN))))
}

fn is_forced(strategy: &SyncStrategy) -> bool {
    strategy.apply.as_ref().is_some_and(|apply| apply.force)
        || strategy.hook.as_ref().is_some_and(|hook| hook.force)
}

impl Pursuit<'_> {
    /// What comes before the first write: everything must be permitted and valid, and what deletes much is approved.
    async fn begin(
        &mut self,
        look: &Look<'_>,
        observation: &Observation,
        dry_run: bool,
        options: &SyncOptions,
    ) -> Result<Option<Came>, ClusterError> {
        let failed = |message: String| Some(Came::Ended(Ended::new(OperationPhase::Failed, message)));
        if options.fail_on_shared_resource() {
            let shared: Vec<&str> = observation
                .comparison
                .conditions
                .iter()
                .filter(|condition| condition.condition_type == names::CONDITION_SHARED_RESOURCE_WARNING)
                .map(|condition| condition.message.as_str())
                .collect();
            if !shared.is_empty() {
                return Ok(failed(format!("Shared resource found: {}", shared.join(", "))));
            }
        }
        let refused = self.executor.refused(&self.plan);
        if !refused.is_empty() {
            let message = executor::reason(executor::TASKS_NOT_VALID, &refused);
            refused.into_iter().for_each(|row| self.record.set(row));
            return Ok(failed(message));
        }
        let concern = match dry_run || look.has_approved_deletions(&self.state) {
            true => None,
            false => self.concern(look, observation).await,
        };
        // One that was told already, of a plan that was found valid then: it is looked at for as long as nobody approves.
        if let Some(message) = concern.clone().filter(|message| *message == self.state.message) {
            return Ok(Some(Came::Asks(message)));
        }
        let invalid = self.executor.invalid(&self.plan).await;
        if !invalid.is_empty() {
            let message = executor::reason(executor::DRY_RUN_FAILED, &invalid);
            invalid.into_iter().for_each(|row| self.record.set(row));
            return Ok(failed(message));
        }
        if dry_run {
            self.executor.rehearse(&self.plan).into_iter().for_each(|row| self.record.set(row));
            let message = "successfully validated (dry run)";
            return Ok(Some(Came::Ended(Ended::new(OperationPhase::Succeeded, message))));
        }
        if let Some(message) = concern {
            return Ok(Some(Came::Asks(message)));
        }
        if self.plan.has_steps() {
            self.record.plan_prunes(&self.plan);
        }
        Ok(None)
    }

    /// What of this sync somebody has to approve.
    async fn concern(&self, look: &Look<'_>, observation: &Observation) -> Option<String> {
        let managed = observation.comparison.candidates.iter().filter(|candidate| {
            candidate.live.is_some() && candidate.declared().is_some_and(|it| crate::sync::is_resource(it))
        });
        let guard = look.settings.prune_guard();
        let holding =
            if guard.enabled { holding(self.executor.cluster, &self.plan).await } else { Vec::new() };
        guard::concern(guard, &look.key.name, &self.plan, managed.count(), &holding)
    }

    /// Takes step after step.
    async fn go_on(&mut self, look: &mut Look<'_>) -> Result<Came, ClusterError> {
        let error = |problem: String| Came::Ended(Ended::new(OperationPhase::Error, problem));
        loop {
            let view = match Box::pin(View::of(
                self.executor,
                look.settings.health_scripts(),
                &self.plan,
                &self.record,
            ))
            .await
            {
                Ok(view) => view,
                Err(problem) => return Ok(error(problem)),
            };
            let before = self.record.clone();
            step::update(&self.plan, &mut self.record, &view);
            if self.record != before {
                self.persist(look).await?;
            }
            if let Err(problem) = self.release_ended(&view).await {
                return Ok(error(problem));
            }
            let plan = self.plan.clone();
            match step::next(&plan, &self.record, &view) {
                Step::Run(tasks) => {
                    if let Some(came) = Box::pin(self.run(look, tasks)).await? {
                        return Ok(came);
                    }
                }
                Step::Wait(message) => {
                    self.state.message = message;
                    return Ok(Came::Waits);
                }
                Step::Confirm(keys) => {
                    let objects = name_some(keys.into_iter());
                    return Ok(Came::Asks(format!(
                        "waiting for pruning confirmation of {objects}: run 'skiff app sync {} --confirm-prune' or \
                         set annotation {} to the present time (RFC 3339)",
                        look.key.name,
                        names::ANNOTATION_DELETION_APPROVED
                    )));
                }
                Step::Finish { phase, message } => return Ok(self.clean_up(phase, message).await),
            }
        }
    }

    /// Carries out tasks of one group. What is returned has come instead of the next step.
    async fn run(&mut self, look: &mut Look<'_>, tasks: Vec<&Task>) -> Result<Option<Came>, ClusterError> {
        let hooks: Vec<&Task> = tasks
            .iter()
            .copied()
            .filter(|task| task.is_hook() && self.record.progress(task) == Progress::Pending)
            .collect();
        match self.executor.clear(&hooks).await {
            Ok(false) => {}
            Ok(true) => {
                let hooks = name_some(hooks.iter().map(|task| task.key.clone()));
                self.state.message = format!("waiting for deletion of the last run of hook {hooks}");
                return Ok(Some(Came::Waits));
            }
            Err((key, problem)) => {
                for task in hooks.iter().filter(|task| task.key == key) {
                    self.record.set(ResourceResult {
                        status: Some(ResultCode::SyncFailed),
                        hook_phase: Some(OperationPhase::Failed),
                        message: problem.clone(),
                        ..record::row(task)
                    });
                }
                return Ok(None);
            }
        }
        let mut left = Vec::with_capacity(tasks.len());
        for task in tasks {
            if self.record.progress(task) == Progress::Creating {
                match self.executor.read(&task.gvk, &task.key).await {
                    Ok(None) => {}
                    // One that may have been there before: applying it once more changes nothing that was done.
                    Ok(Some(_)) if task.applied().is_some_and(|it| !DeletePolicy::of(it).before_creation) => {
                    }
                    // This operation has created it, and was cut off before it could say so.
                    Ok(Some(_)) => {
                        self.record.set(ResourceResult {
                            status: Some(ResultCode::Synced),
                            hook_phase: Some(OperationPhase::Running),
                            message: "created".to_owned(),
                            ..record::row(task)
                        });
                        continue;
                    }
                    Err(problem) => return Ok(Some(Came::Ended(Ended::new(OperationPhase::Error, problem)))),
                }
            }
            left.push(task);
        }
        if !hooks.is_empty() {
            hooks.iter().for_each(|task| self.record.create(task));
            self.persist(look).await?;
        }
        self.executor.run(&left).await.into_iter().for_each(|row| self.record.set(row));
        if self.plan.has_steps() {
            self.persist(look).await?;
        }
        Ok(None)
    }

    /// Takes the finalizers off hooks whose outcome is on record.
    async fn release_ended(&mut self, view: &View) -> Result<(), String> {
        // A hook of several phases is a new object in each.
        let runs =
            |task: &&Task| matches!(self.record.progress(task), Progress::Creating | Progress::Running);
        let running: HashSet<&ObjectKey> =
            self.plan.tasks().filter(|task| task.is_hook()).filter(runs).map(|task| &task.key).collect();
        for task in self.plan.tasks().filter(|task| task.is_hook() && !running.contains(&task.key)) {
            let has_ended = matches!(self.record.progress(task), Progress::Succeeded | Progress::Failed);
            let held = view.object(task).is_some_and(crate::sync::hook::has_finalizer);
            if has_ended && held && self.released.insert((task.key.clone(), task.phase)) {
                self.executor.release_ended(&task.gvk, &task.key).await?;
            }
        }
        Ok(())
    }

    /// Deletes the hooks whose policy says so.
    async fn clean_up(&self, phase: OperationPhase, message: String) -> Came {
        for task in self.plan.tasks().filter(|task| task.is_hook()) {
            let has_ended = matches!(self.record.progress(task), Progress::Succeeded | Progress::Failed);
            let policy = task.applied().map(|object| DeletePolicy::of(object));
            let goes = policy.is_some_and(|policy| match phase {
                OperationPhase::Succeeded => policy.on_success,
                _ => policy.on_failure,
            });
            if has_ended
                && goes
                && let Err(problem) = self.executor.delete_hook(&task.gvk, &task.key).await
            {
                return Came::Ended(Ended::new(OperationPhase::Error, format!("{message}; {problem}")));
            }
        }
        Came::Ended(Ended::new(phase, message))
    }

    /// Puts on record how far it is.
    async fn persist(&mut self, look: &mut Look<'_>) -> Result<(), ClusterError> {
        look.context.still_leads("record the progress of", look.key)?;
        if let Some(result) = &mut self.state.sync_result {
            result.resources = self.record.rows().to_vec();
        }
        look.status.operation_state = Some(self.state.clone());
        look.write(OperationChange::Keep).await
    }
}

/// Those of the objects that a plan prunes with which data would be lost.
async fn holding(cluster: &Cluster, plan: &Plan) -> Vec<ObjectKey> {
    let pruned: HashSet<ObjectKey> = guard::pruned(plan).map(Object::key).collect();
    let mut holding = Vec::new();
    for object in guard::pruned(plan).filter(|object| guard::may_hold_data(object)) {
        if cluster.holds_data(object, &pruned).await {
            holding.push(object.key());
        }
    }
    holding
}
