//! `skiff app sync`: writes the field `operation` and waits for what comes of it.

use std::{collections::HashMap, ops::ControlFlow, time::Duration};

use serde_json::json;

use super::{
    AppError, Session,
    error::EXIT_COMMAND,
    get::{self, RESOURCE_HEADERS, limit},
    name::{AppName, Several},
    resources::{ResourcePattern, select},
    session::Found,
    windows,
};
use crate::{
    api::{
        Application, Info, Operation, OperationInitiator, OperationPhase, OperationState, ResourceResult,
        SyncOperation, SyncStrategy, SyncStrategyApply, SyncStrategyHook, Time, names, retry::RetryStrategy,
    },
    cli::output::{Cell, Console},
    object::ObjectKey,
};

/// How often an operation is written again when somebody else changes the Application at the same time.
const MAX_CONFLICTS: usize = 5;

/// Whether hooks run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Strategy {
    /// Apply only.
    Apply,
    /// Apply and run hooks.
    Hook,
}

/// The options of `skiff app sync`.
#[derive(Debug, clap::Args)]
pub struct Options {
    #[command(flatten)]
    several: Several,

    /// Show what would happen and write nothing
    #[arg(long)]
    dry_run: bool,

    /// Delete what the source no longer has
    #[arg(long)]
    prune: bool,

    /// Approve the deletions that this sync, or the one that waits for it, asks to have approved
    #[arg(long)]
    confirm_prune: bool,

    /// Sync this revision in place of the source's
    #[arg(long, default_value = "")]
    revision: String,

    /// Sync only this object, '[!]GROUP:KIND:[NAMESPACE/]NAME'; may be repeated, '!' leaves out
    #[arg(long, value_name = "RESOURCE")]
    resource: Vec<String>,

    /// Whether hooks run
    #[arg(long, value_enum)]
    strategy: Option<Strategy>,

    /// Delete and create again where an update is refused
    #[arg(long)]
    force: bool,

    /// Apply only objects that are out of sync
    #[arg(long)]
    apply_out_of_sync_only: bool,

    /// Try again so many times when it fails; -1 for ever
    #[arg(long, value_name = "TIMES", default_value_t = 0, allow_negative_numbers = true)]
    retry_limit: i64,

    /// A note, 'name=value'; may be repeated
    #[arg(long, value_name = "NOTE")]
    info: Vec<String>,

    /// Do not wait for the end
    #[arg(long = "async")]
    asynchronous: bool,

    #[command(flatten)]
    end: End,
}

/// How the end of an operation is waited for and shown.
#[derive(Debug, clap::Args)]
pub(super) struct End {
    /// How many seconds to wait; 0 for no limit
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    timeout: u64,

    /// What the output looks like
    #[arg(short, long, value_enum, default_value_t)]
    output: get::Format,
}

impl End {
    /// Waits for an operation that follows `before` and shows what came of it. 1 when it did not succeed.
    pub async fn show(
        &self,
        session: &Session,
        name: &AppName,
        before: Option<&OperationState>,
        console: &mut Console<'_>,
    ) -> Result<u8, AppError> {
        let found = wait(session, name, before, limit(self.timeout), console).await?;
        let state = found.application.status.operation_state.clone().unwrap_or_default();
        show(&found, &state, self.output, console)?;
        Ok(if state.phase == OperationPhase::Succeeded { 0 } else { EXIT_COMMAND })
    }
}

/// Syncs Applications: all are asked to at once, then waited for. 1 when one of them did not succeed.
pub(super) async fn run(
    session: &Session,
    options: &Options,
    console: &mut Console<'_>,
) -> Result<u8, AppError> {
    let patterns: Vec<ResourcePattern> =
        options.resource.iter().map(|text| ResourcePattern::parse(text)).collect::<Result<_, _>>()?;
    let notes = options.info.iter().map(|text| note(text)).collect::<Result<Vec<_>, _>>()?;
    let names = options.several.resolve(session).await?;
    let mut asked = Vec::new();
    for name in names {
        let waits = options.confirm_prune && waits_for_approval(&session.get(&name).await?);
        let before = if waits { None } else { request(session, &name, options, &patterns, &notes).await? };
        if options.confirm_prune {
            approve(session, &name, before.as_ref(), limit(options.end.timeout)).await?;
        }
        asked.push((name, before));
    }
    let mut exit_code = 0;
    for (name, before) in asked {
        if options.asynchronous {
            console.line(&format!("application '{name}' is being synced"))?;
            continue;
        }
        exit_code = exit_code.max(options.end.show(session, &name, before.as_ref(), console).await?);
    }
    Ok(exit_code)
}

/// Writes the operation. Returns the state of the one before.
async fn request(
    session: &Session,
    name: &AppName,
    options: &Options,
    patterns: &[ResourcePattern],
    notes: &[Info],
) -> Result<Option<OperationState>, AppError> {
    let mut conflicts = 0;
    loop {
        let found = session.get(name).await?;
        let application = &found.application;
        check(name, application, options)?;
        if windows::of(session, &found).await?.is_some_and(|windows| !windows.by_hand) {
            return Err(AppError::Refused {
                action: "sync",
                name: name.to_string(),
                why: "blocked by sync window".to_owned(),
                hint: "'skiff app get' shows the windows; try again when they permit it",
            });
        }
        let operation = operation(name, application, options, patterns, notes)?;
        let patch = json!({
            "metadata": { "resourceVersion": application.metadata.resource_version },
            "operation": operation,
            // As Argo CD's server does: whoever waits must not take the old state for the new one's.
            "status": { "operationState": null },
        });
        match session.patch(name, &patch).await {
            Ok(_) => return Ok(found.application.status.operation_state),
            Err(AppError::Cluster(error)) if error.is_conflict() && conflicts < MAX_CONFLICTS => {
                conflicts += 1;
            }
            Err(error) => return Err(error),
        }
    }
}

fn check(name: &AppName, application: &Application, options: &Options) -> Result<(), AppError> {
    let refused = |why: &str, hint| {
        Err(AppError::Refused { action: "sync", name: name.to_string(), why: why.to_owned(), hint })
    };
    if application.is_terminating() {
        return refused("it is being deleted", "wait until it is gone with 'skiff app wait --delete'");
    }
    if application.operation.is_some() {
        return Err(AppError::OperationInProgress { name: name.to_string() });
    }
    let target = application.spec.effective_sources().into_iter().next().unwrap_or_default();
    let is_other = !options.revision.is_empty() && options.revision != target.revision();
    if is_other && !options.dry_run && application.spec.automated().is_some() {
        return refused(
            &format!(
                "automated syncs are on and would go back from '{}' to '{}'",
                options.revision,
                target.revision()
            ),
            "commit the change, or set spec.syncPolicy.automated.enabled to false first",
        );
    }
    Ok(())
}

fn operation(
    name: &AppName,
    application: &Application,
    options: &Options,
    patterns: &[ResourcePattern],
    notes: &[Info],
) -> Result<Operation, AppError> {
    let resources =
        if patterns.is_empty() { Vec::new() } else { select(patterns, &application.status.resources) };
    if resources.is_empty() && !patterns.is_empty() {
        // An empty list would mean everything.
        let message =
            format!("application '{name}' has no object that --resource chooses: see 'skiff app get {name}'");
        return Err(AppError::Usage { message });
    }
    let mut sync_options = application.spec.sync_options().to_vec();
    let only_out_of_sync = "ApplyOutOfSyncOnly=true";
    if options.apply_out_of_sync_only && !sync_options.iter().any(|option| option == only_out_of_sync) {
        sync_options.push(only_out_of_sync.to_owned());
    }
    let retry = match options.retry_limit {
        0 => {
            application.spec.sync_policy.as_ref().and_then(|policy| policy.retry.clone()).unwrap_or_default()
        }
        limit => RetryStrategy { limit, ..RetryStrategy::default() },
    };
    let sync = SyncOperation {
        dry_run: options.dry_run,
        prune: options.prune || options.confirm_prune,
        revision: options.revision.clone(),
        resources,
        sync_options,
        sync_strategy: strategy(options.strategy, options.force),
        ..SyncOperation::default()
    };
    let initiated_by =
        OperationInitiator { username: std::env::var("USER").unwrap_or_default(), automated: false };
    Ok(Operation { info: notes.to_vec(), initiated_by, retry, sync: Some(sync) })
}

fn strategy(strategy: Option<Strategy>, force: bool) -> Option<SyncStrategy> {
    match (strategy, force) {
        (None, false) => None,
        (Some(Strategy::Apply), force) => {
            Some(SyncStrategy { apply: Some(SyncStrategyApply { force }), hook: None })
        }
        (Some(Strategy::Hook) | None, force) => {
            Some(SyncStrategy { apply: None, hook: Some(SyncStrategyHook { force }) })
        }
    }
}

fn note(text: &str) -> Result<Info, AppError> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => {
            Ok(Info { name: name.to_owned(), value: value.to_owned() })
        }
        _ => Err(AppError::Usage { message: format!("'{text}' is not a note: write 'name=value'") }),
    }
}

/// Whether a sync is held up until somebody approves what it would delete.
fn waits_for_approval(found: &Found) -> bool {
    let status = &found.application.status;
    let runs = status.operation_state.as_ref().is_some_and(|state| !state.phase.is_completed());
    runs && status.conditions.iter().any(|it| it.condition_type == names::CONDITION_PRUNE_GUARD_WARNING)
}

/// Approves the deletions of the operation that runs, as soon as it is on record: an approval counts for operations that
/// began before it.
async fn approve(
    session: &Session,
    name: &AppName,
    before: Option<&OperationState>,
    limit: Option<Duration>,
) -> Result<(), AppError> {
    let begun = session.follow(name, limit, |state| {
        let Some(found) = state else {
            return Err(AppError::NotFound { name: name.to_string() });
        };
        let state = found.application.status.operation_state.as_ref().filter(|state| Some(*state) != before);
        Ok(state.map_or(ControlFlow::Continue(()), |state| ControlFlow::Break(state.started_at)))
    });
    let begun = begun.await?.ok_or_else(|| AppError::TimedOut {
        name: name.to_string(),
        wanted: "being synced",
        limit: limit.unwrap_or_default(),
        state: "the agent has not begun; is it running, and does it look after this namespace?".to_owned(),
    })?;
    // Whatever this machine's clock says.
    let now = Time::now();
    let at = if now.timestamp() < begun.timestamp() { begun } else { now };
    let patch =
        json!({ "metadata": { "annotations": { names::ANNOTATION_DELETION_APPROVED: at.to_string() } } });
    session.patch(name, &patch).await.map(drop)
}

/// Waits until the operation is over, and tells of each object's progress.
async fn wait(
    session: &Session,
    name: &AppName,
    before: Option<&OperationState>,
    limit: Option<Duration>,
    console: &mut Console<'_>,
) -> Result<Found, AppError> {
    let mut told = Told::default();
    let mut state_in_words =
        "the agent has not begun; is it running, and does it look after this namespace?".to_owned();
    let done = session.follow(name, limit, |state| {
        let Some(found) = state else {
            return Err(AppError::NotFound { name: name.to_string() });
        };
        let status = &found.application.status;
        let Some(state) = status.operation_state.as_ref().filter(|state| Some(*state) != before) else {
            return Ok(ControlFlow::Continue(()));
        };
        told.tell(name, state, console)?;
        state_in_words = format!("its operation is {}: {}", state.phase, state.message);
        let is_over = found.application.operation.is_none() && state.phase.is_completed();
        Ok(if is_over { ControlFlow::Break(found) } else { ControlFlow::Continue(()) })
    });
    done.await?.ok_or_else(|| AppError::TimedOut {
        name: name.to_string(),
        wanted: "synced",
        limit: limit.unwrap_or_default(),
        state: state_in_words,
    })
}

/// What was told of an operation already.
#[derive(Default)]
struct Told {
    message: String,
    results: HashMap<ObjectKey, String>,
}

impl Told {
    fn tell(
        &mut self,
        name: &AppName,
        state: &OperationState,
        console: &mut Console<'_>,
    ) -> Result<(), AppError> {
        for result in state.sync_result.iter().flat_map(|result| &result.resources) {
            let words = result_in_words(result);
            let key = ObjectKey::new(&result.group, &result.kind, &result.namespace, &result.name);
            if self.results.get(&key) != Some(&words) {
                console.progress(&format!("{name}: {key} {words}"))?;
                self.results.insert(key, words);
            }
        }
        if self.message != state.message {
            self.message.clone_from(&state.message);
            console.progress(&format!("{name}: {} {}", state.phase, state.message))?;
        }
        Ok(())
    }
}

fn result_in_words(result: &ResourceResult) -> String {
    let code = result.status.map(|code| code.to_string());
    let phase = result.hook_phase.map(|phase| phase.to_string());
    let words: Vec<String> = code.into_iter().chain(phase).chain(Some(result.message.clone())).collect();
    words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

fn show(
    found: &Found,
    state: &OperationState,
    format: get::Format,
    console: &mut Console<'_>,
) -> Result<(), AppError> {
    if !matches!(format, get::Format::Wide) {
        get::show(found, format, true, console)?;
        return Ok(());
    }
    console.field("Name", found.name.to_string())?;
    get::operation(state, console)?;
    let results = state.sync_result.as_ref().map_or(&[][..], |result| &result.resources);
    if results.is_empty() {
        return Ok(());
    }
    console.line("")?;
    let health: HashMap<ObjectKey, Cell> = found
        .application
        .status
        .resources
        .iter()
        .map(|resource| {
            (resource.key(), Cell::of_optional(resource.health.as_ref().map(|health| health.status)))
        })
        .collect();
    let rows = results.iter().map(|result| {
        let key = ObjectKey::new(&result.group, &result.kind, &result.namespace, &result.name);
        // A hook is known by how it ended: its object may be gone, or be another one by now.
        let (status, health) = match result.hook_type {
            Some(_) => (Cell::of_optional(result.hook_phase), Cell::default()),
            None => (Cell::of_optional(result.status), health.get(&key).cloned().unwrap_or_default()),
        };
        vec![
            result.group.as_str().into(),
            result.kind.as_str().into(),
            result.namespace.as_str().into(),
            result.name.as_str().into(),
            status,
            health,
            result.hook_type.map(|hook_type| hook_type.to_string()).unwrap_or_default().into(),
            result.message.as_str().into(),
        ]
    });
    console.table(&RESOURCE_HEADERS, rows.collect())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::Value;

    use super::*;

    #[derive(Parser)]
    struct Arguments {
        #[command(flatten)]
        options: Options,
    }

    fn options(arguments: &[&str]) -> Options {
        Arguments::parse_from(["sync", "orders"].iter().chain(arguments)).options
    }

    fn name() -> AppName {
        AppName { namespace: "argocd".to_owned(), name: "orders".to_owned() }
    }

    fn application(rest: &Value) -> Application {
        let mut value = json!({
            "metadata": { "name": "orders", "namespace": "argocd" },
            "spec": {
                "source": { "repoURL": "r", "path": "a", "targetRevision": "main" },
                "syncPolicy": { "syncOptions": ["CreateNamespace=true"], "retry": { "limit": 3 } },
            },
            "status": { "resources": [{ "kind": "Service", "name": "a", "namespace": "shop" }] },
        });
        json_patch::merge(&mut value, rest);
        Application::from_value(value).unwrap()
    }

    fn built(arguments: &[&str]) -> Result<Operation, AppError> {
        let options = options(arguments);
        let patterns: Vec<_> =
            options.resource.iter().map(|text| ResourcePattern::parse(text).unwrap()).collect();
        operation(&name(), &application(&json!({})), &options, &patterns, &[])
    }

    #[test]
    fn the_spec_s_options_and_retry_are_copied() {
        let operation = built(&["--prune"]).unwrap();
        let sync = operation.sync.unwrap();
        assert_eq!(sync.sync_options, ["CreateNamespace=true"]);
        assert!(sync.prune && !sync.dry_run && sync.sync_strategy.is_none());
        assert_eq!(operation.retry.limit, 3);
        assert!(!operation.initiated_by.automated);
    }

    #[test]
    fn arguments_win_over_the_spec() {
        let operation =
            built(&["--retry-limit", "-1", "--dry-run", "--strategy", "apply", "--force"]).unwrap();
        let sync = operation.sync.unwrap();
        assert_eq!(operation.retry.limit, -1);
        assert!(sync.dry_run && sync.sync_strategy.unwrap().apply.unwrap().force);
    }

    #[test]
    fn a_selection_of_nothing_does_not_become_everything() {
        assert_eq!(built(&["--resource", ":Service:a"]).unwrap().sync.unwrap().resources.len(), 1);
        assert!(built(&["--resource", ":Service:other"]).unwrap_err().to_string().contains("--resource"));
    }

    #[test]
    fn what_forbids_a_sync_is_said_with_what_helps() {
        let of = |rest: &Value, arguments: &[&str]| check(&name(), &application(rest), &options(arguments));
        assert!(of(&json!({}), &[]).is_ok());
        let busy = of(&json!({ "operation": { "sync": {} } }), &[]).unwrap_err();
        assert!(matches!(busy, AppError::OperationInProgress { .. }) && busy.hint().is_some());
        let deleted = json!({ "metadata": { "deletionTimestamp": "2026-01-01T00:00:00Z" } });
        assert!(of(&deleted, &[]).unwrap_err().to_string().contains("being deleted"));
        let automated = json!({ "spec": { "syncPolicy": { "automated": {} } } });
        assert!(of(&automated, &["--revision", "other"]).unwrap_err().to_string().contains("automated"));
        assert!(of(&automated, &["--revision", "main"]).is_ok());
        assert!(of(&automated, &["--revision", "other", "--dry-run"]).is_ok());
    }

    #[test]
    fn progress_is_told_once() {
        let state: OperationState = serde_json::from_value(json!({
            "phase": "Running", "message": "waiting",
            "syncResult": { "resources": [{ "kind": "Service", "name": "a", "namespace": "shop", "status": "Synced" }] },
        }))
        .unwrap();
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut console = Console { out: &mut out, err: &mut err, input: None, colours: false };
        let mut told = Told::default();
        told.tell(&name(), &state, &mut console).unwrap();
        told.tell(&name(), &state, &mut console).unwrap();
        let text = String::from_utf8(err).unwrap();
        assert_eq!(text, "argocd/orders: Service:shop/a Synced\nargocd/orders: Running waiting\n");
    }
}
