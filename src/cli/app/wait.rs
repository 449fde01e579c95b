//! `skiff app wait`: until an Application is as it should be, by watching it.
//!
//! With a revision, what the Application says of other revisions counts for nothing: it is over when the revision or a
//! later one is synced and its operation has ended, and it has failed when that operation has.

mod revision;

use std::{ops::ControlFlow, time::Duration};

use tokio::time::Instant;

use self::revision::{Question, Verdict, Wanted};
use super::{
    AppError, Session,
    get::{self, limit},
    name::{AppName, Several},
    session::Found,
};
use crate::{
    api::{Application, HealthStatusCode, OperationPhase, SyncStatusCode, names},
    cli::{git_login::GitAccess, output::Console},
};

/// How many characters of a commit's id tell it from others.
const SHORT_REVISION: usize = 7;

/// The options of `skiff app wait`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 all is as wanted, 11 no connection, 12 refused by the API server, 13 no such Application, \
    14 the time is over, 15 degraded, 16 the sync of the revision failed, 20 anything else.\n\n\
    A commit is later than another where the Application's history has it later, or the repository has the other among \
    its ancestors. The repository is asked only about commits that the history does not tell of; where it cannot be \
    read, only those of the history count."
)]
pub struct Options {
    #[command(flatten)]
    several: Several,

    /// Wait for this commit or a later one: until it is synced and its sync has ended
    #[arg(long, value_name = "SHA", conflicts_with_all = ["delete", "selector"])]
    revision: Option<String>,

    /// Wait until the cluster has what the source declares
    #[arg(long)]
    sync: bool,

    /// Wait until everything is healthy
    #[arg(long)]
    health: bool,

    /// Wait until it is suspended; with --health or --degraded, any of them will do
    #[arg(long)]
    suspended: bool,

    /// Wait until it is degraded; with --health or --suspended, any of them will do
    #[arg(long)]
    degraded: bool,

    /// Wait until no operation is in progress
    #[arg(long)]
    operation: bool,

    /// Wait until it is gone
    #[arg(long)]
    delete: bool,

    /// How many seconds to wait; 0 for no limit
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    timeout: u64,

    /// What the output looks like
    #[arg(short, long, value_enum, default_value_t)]
    output: get::Format,

    #[command(flatten)]
    access: GitAccess,
}

/// What is waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Goal {
    sync: bool,
    health: bool,
    suspended: bool,
    degraded: bool,
    operation: bool,
    delete: bool,
}

impl Goal {
    /// Nothing chosen means synced, healthy and idle.
    fn of(options: &Options) -> Self {
        let chosen = Self {
            sync: options.sync,
            health: options.health,
            suspended: options.suspended,
            degraded: options.degraded,
            operation: options.operation,
            delete: options.delete,
        };
        if options.revision.is_some() {
            Self { sync: true, operation: true, ..chosen }
        } else if chosen == Self::default() {
            Self { sync: true, health: true, operation: true, ..chosen }
        } else {
            chosen
        }
    }

    fn is_reached(self, application: &Application) -> bool {
        let health = application.status.health_code();
        let is_health_wanted = self.health || self.suspended || self.degraded;
        let is_health_right = (self.health && health == HealthStatusCode::Healthy)
            || (self.suspended && health == HealthStatusCode::Suspended)
            || (self.degraded && health == HealthStatusCode::Degraded);
        !self.delete
            && (!is_health_wanted || is_health_right)
            && (!self.sync || application.status.sync_code() == SyncStatusCode::Synced)
            && (!self.operation || is_idle(application))
    }

    fn in_words(self) -> &'static str {
        match self {
            Self { delete: true, .. } => "gone",
            Self { sync: true, health: true, .. } => "synced, healthy and idle",
            Self { sync: true, .. } => "synced",
            Self { health: true, .. } => "healthy",
            Self { operation: true, suspended: false, degraded: false, .. } => "idle",
            _ => "as wanted",
        }
    }
}

/// Whether no operation is asked for or in progress, no refresh is due, and the last operation's effect was compared.
pub(super) fn is_idle(application: &Application) -> bool {
    if application.operation.is_some() || application.annotation(names::ANNOTATION_REFRESH).is_some() {
        return false;
    }
    let status = &application.status;
    let Some(state) = &status.operation_state else {
        return true;
    };
    let Some(finished_at) = state.finished_at else {
        return false;
    };
    let is_dry_run = state.operation.sync.as_ref().is_some_and(|sync| sync.dry_run);
    let is_compared = status.reconciled_at.is_some_and(|reconciled_at| reconciled_at >= finished_at);
    state.phase.is_completed() && (is_dry_run || is_compared)
}

/// How an Application came to the end of a wait.
enum End {
    /// As it was to be.
    Reached(Box<Found>),
    /// Gone, as it was to be.
    Gone,
    /// Whether it is the end, a repository has to say.
    Ask(Vec<Question>),
}

/// Waits for Applications one after the other, within one time limit.
pub(super) async fn run(
    session: &Session,
    options: &Options,
    console: &mut Console<'_>,
) -> Result<u8, AppError> {
    let mut wanted = options.revision.as_deref().map(Wanted::parse).transpose()?;
    let limit = limit(options.timeout);
    let deadline = limit.map(|limit| Instant::now() + limit);
    for name in options.several.resolve(session).await? {
        let mut waiting = Waiting::new(&name, Goal::of(options), limit);
        loop {
            match waiting.until(session, deadline, wanted.as_ref(), console).await? {
                End::Reached(found) => {
                    get::show_now(session, &found, options.output, true, console).await?;
                    break;
                }
                End::Gone => {
                    console.line(&format!("application '{name}' is gone"))?;
                    break;
                }
                End::Ask(questions) => {
                    let Some(wanted) = &mut wanted else { continue };
                    ask(wanted, &questions, (&options.access, deadline), console).await?;
                }
            }
        }
    }
    Ok(0)
}

/// Asks the repositories, and says so where they have no answer.
async fn ask(
    wanted: &mut Wanted,
    questions: &[Question],
    (access, deadline): (&GitAccess, Option<Instant>),
    console: &mut Console<'_>,
) -> Result<(), AppError> {
    for question in questions {
        let asking = wanted.ask(question, access);
        let answer = match deadline {
            None => asking.await,
            // Then the wait itself is over, and says so.
            Some(deadline) => match tokio::time::timeout_at(deadline, asking).await {
                Ok(answer) => answer,
                Err(_) => return Ok(()),
            },
        };
        if let Err(error) = answer {
            console
                .progress("it cannot be told whether a commit is later than the one that is waited for")?;
            console.problem(&error, Some("the Git options say how to log in to the repository"))?;
        }
    }
    Ok(())
}

/// What was seen while an Application is waited for.
struct Waiting<'a> {
    name: &'a AppName,
    goal: Goal,
    limit: Option<Duration>,
    shown: String,
    health: Option<HealthStatusCode>,
    /// How it is degraded at the wanted revision, if it is.
    degraded: Option<String>,
}

impl<'a> Waiting<'a> {
    fn new(name: &'a AppName, goal: Goal, limit: Option<Duration>) -> Self {
        Self { name, goal, limit, shown: String::new(), health: None, degraded: None }
    }

    /// Watches until the end, or until a repository has to be asked.
    async fn until(
        &mut self,
        session: &Session,
        deadline: Option<Instant>,
        wanted: Option<&Wanted>,
        console: &mut Console<'_>,
    ) -> Result<End, AppError> {
        let rest = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let end = session.follow(self.name, rest, |state| {
            let Some(found) = state else {
                return match self.goal.delete {
                    true => Ok(ControlFlow::Break(End::Gone)),
                    false => Err(AppError::NotFound { name: self.name.to_string() }),
                };
            };
            self.look(found, wanted, console)
        });
        let end = end.await?;
        end.ok_or_else(|| self.timed_out())
    }

    /// Looks at one state of the Application.
    fn look(
        &mut self,
        found: Found,
        wanted: Option<&Wanted>,
        console: &mut Console<'_>,
    ) -> Result<ControlFlow<End>, AppError> {
        let application = &found.application;
        let words = in_words(application, wanted.is_some());
        if words != self.shown {
            console.progress(&format!("{}: {words}", self.name))?;
            self.shown = words;
        }
        self.degraded = None;
        match wanted.map_or(Verdict::Reached, |wanted| wanted.judge(application)) {
            Verdict::Reached => {}
            Verdict::NotYet => {
                self.health = Some(application.status.health_code());
                return Ok(ControlFlow::Continue(()));
            }
            Verdict::Ask(questions) => return Ok(ControlFlow::Break(End::Ask(questions))),
        }
        if wanted.is_some() {
            check_sync(self.name, application)?;
        }
        if self.goal.is_reached(application) {
            return Ok(ControlFlow::Break(End::Reached(Box::new(found))));
        }
        if self.goal.health && !self.goal.degraded {
            check_health(self.name, self.health, application)?;
            let is_degraded = application.status.health_code() == HealthStatusCode::Degraded;
            self.degraded = (wanted.is_some() && is_degraded).then(|| health_message(application));
        }
        self.health = Some(application.status.health_code());
        Ok(ControlFlow::Continue(()))
    }

    fn timed_out(&self) -> AppError {
        let (name, limit) = (self.name.to_string(), self.limit.unwrap_or_default());
        match &self.degraded {
            Some(message) => {
                let how = format!("is still Degraded after {} s", limit.as_secs());
                AppError::Degraded { name, how, message: message.clone() }
            }
            None => {
                AppError::TimedOut { name, wanted: self.goal.in_words(), limit, state: self.shown.clone() }
            }
        }
    }
}

/// A sync of the revision that the Application is at, which failed and is not tried again.
fn check_sync(name: &AppName, application: &Application) -> Result<(), AppError> {
    let status = &application.status;
    let (None, Some(state), Some(compared)) = (&application.operation, &status.operation_state, &status.sync)
    else {
        return Ok(());
    };
    let result = state.sync_result.as_ref();
    let of_this = result.is_some_and(|result| match compared.revisions.is_empty() {
        true => result.revision == compared.revision,
        false => result.revisions == compared.revisions,
    });
    if !of_this || !state.phase.is_completed() || state.phase == OperationPhase::Succeeded {
        return Ok(());
    }
    Err(AppError::SyncFailed {
        name: name.to_string(),
        revision: revisions(application),
        phase: state.phase,
        message: state.message.clone(),
    })
}

/// Becoming degraded while health is waited for is a failure; having been so at the start is not.
fn check_health(
    name: &AppName,
    before: Option<HealthStatusCode>,
    application: &Application,
) -> Result<(), AppError> {
    let to = application.status.health_code();
    match before {
        Some(from)
            if to == HealthStatusCode::Degraded
                && from != HealthStatusCode::Degraded
                && from != HealthStatusCode::Unknown =>
        {
            let how = format!("went from {from} to {to}");
            Err(AppError::Degraded { name: name.to_string(), how, message: health_message(application) })
        }
        _ => Ok(()),
    }
}

/// Why the health is as it is, with `: ` in front, or nothing.
fn health_message(application: &Application) -> String {
    let message = application.status.health.as_ref().map_or("", |health| health.message.as_str());
    if message.is_empty() { String::new() } else { format!(": {message}") }
}

/// `1a2b3c4`.
fn revisions(application: &Application) -> String {
    let Some(sync) = &application.status.sync else { return "no revision".to_owned() };
    let all = if sync.revisions.is_empty() { std::slice::from_ref(&sync.revision) } else { &sync.revisions };
    let short = |revision: &String| revision.chars().take(SHORT_REVISION).collect::<String>();
    let all = all.iter().filter(|revision| !revision.is_empty()).map(short).collect::<Vec<_>>().join(", ");
    if all.is_empty() { "no revision".to_owned() } else { all }
}

/// `at 1a2b3c4, OutOfSync, Progressing, operation Running: applying`.
fn in_words(application: &Application, with_revision: bool) -> String {
    let status = &application.status;
    let at = if with_revision { format!("at {}, ", revisions(application)) } else { String::new() };
    let mut words = format!("{at}{}, {}", status.sync_code(), status.health_code());
    if application.is_terminating() {
        words.push_str(", deletion in progress");
    }
    if let Some(state) = status.operation_state.as_ref().filter(|_| !is_idle(application)) {
        words.push_str(&format!(", operation {}", state.phase));
        if !state.message.is_empty() {
            words.push_str(&format!(": {}", state.message));
        }
    }
    for condition in status.conditions.iter().filter(|condition| condition.is_error()) {
        words.push_str(&format!(", {}: {}", condition.condition_type, condition.message));
    }
    if status.sync_code() == SyncStatusCode::OutOfSync && application.spec.automated().is_none() {
        words.push_str(", automated syncs are off");
    }
    words
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn application(sync: &str, health: &str, rest: &Value) -> Application {
        let mut value = json!({
            "metadata": { "name": "orders", "namespace": "argocd" },
            "status": { "sync": { "status": sync }, "health": { "status": health } },
        });
        json_patch::merge(&mut value, rest);
        Application::from_value(value).unwrap()
    }

    fn finished(reconciled_at: &str, dry_run: bool) -> Application {
        application(
            "Synced",
            "Healthy",
            &json!({ "status": {
                "reconciledAt": reconciled_at,
                "operationState": {
                    "phase": "Succeeded", "startedAt": "2026-01-01T00:00:00Z", "finishedAt": "2026-01-01T00:00:10Z",
                    "operation": { "sync": { "dryRun": dry_run } },
                },
            }}),
        )
    }

    const DEFAULT: Goal =
        Goal { sync: true, health: true, operation: true, suspended: false, degraded: false, delete: false };

    #[test]
    fn by_default_all_must_be_well() {
        let nothing = json!({});
        assert!(DEFAULT.is_reached(&application("Synced", "Healthy", &nothing)));
        assert!(!DEFAULT.is_reached(&application("OutOfSync", "Healthy", &nothing)));
        assert!(!DEFAULT.is_reached(&application("Synced", "Progressing", &nothing)));
        assert!(!DEFAULT.is_reached(&application(
            "Synced",
            "Healthy",
            &json!({ "operation": { "sync": {} } })
        )));
    }

    #[test]
    fn an_operation_is_over_only_when_its_effect_was_compared() {
        assert!(!is_idle(&finished("2026-01-01T00:00:05Z", false)));
        assert!(is_idle(&finished("2026-01-01T00:00:10Z", false)));
        assert!(is_idle(&finished("2026-01-01T00:00:05Z", true)), "a dry run has no effect");
    }

    #[test]
    fn several_healths_may_be_wanted() {
        let goal = Goal { health: true, suspended: true, ..Goal::default() };
        assert!(goal.is_reached(&application("OutOfSync", "Suspended", &json!({}))));
        assert!(!goal.is_reached(&application("Synced", "Degraded", &json!({}))));
    }

    #[test]
    fn becoming_degraded_is_a_failure_and_being_it_is_not() {
        let name = AppName { namespace: "argocd".to_owned(), name: "orders".to_owned() };
        let degraded =
            application("Synced", "Degraded", &json!({ "status": { "health": { "message": "why" } } }));
        assert!(check_health(&name, None, &degraded).is_ok());
        assert!(check_health(&name, Some(HealthStatusCode::Unknown), &degraded).is_ok());
        let error = check_health(&name, Some(HealthStatusCode::Progressing), &degraded).unwrap_err();
        assert_eq!(error.to_string(), "application 'argocd/orders' went from Progressing to Degraded: why");
        assert_eq!(error.exit_code(), 15);
    }

    #[test]
    fn only_the_failed_sync_of_the_present_revision_counts() {
        let name = AppName { namespace: "argocd".to_owned(), name: "orders".to_owned() };
        let synced_to = |phase: &str, revision: &str| {
            application(
                "OutOfSync",
                "Healthy",
                &json!({ "status": {
                    "sync": { "revision": "1234567890" },
                    "operationState": {
                        "phase": phase, "startedAt": "2026-01-01T00:00:00Z", "operation": { "sync": {} },
                        "message": "refused", "syncResult": { "revision": revision },
                    },
                }}),
            )
        };
        for (phase, revision) in
            [("Failed", "0987654321"), ("Running", "1234567890"), ("Succeeded", "1234567890")]
        {
            assert!(check_sync(&name, &synced_to(phase, revision)).is_ok(), "{phase} {revision}");
        }
        for phase in ["Failed", "Error"] {
            let error = check_sync(&name, &synced_to(phase, "1234567890")).unwrap_err();
            let text = format!("the sync of application 'argocd/orders' to 1234567 ended {phase}: refused");
            assert_eq!((error.to_string(), error.exit_code()), (text, 16));
        }
    }
}
