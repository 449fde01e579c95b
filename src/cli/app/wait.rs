//! `skiff app wait`.

use std::{ops::ControlFlow, time::Duration};

use super::{
    AppError, Session,
    get::{self, limit},
    name::{AppName, Several},
    session::Found,
};
use crate::{
    api::{Application, HealthStatusCode, SyncStatusCode, names},
    cli::output::Console,
};

/// The options of `skiff app wait`.
#[derive(Debug, clap::Args)]
pub struct Options {
    #[command(flatten)]
    several: Several,

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
        if chosen == Self::default() {
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

/// Waits for Applications one after the other, within one time limit.
pub(super) async fn run(
    session: &Session,
    options: &Options,
    console: &mut Console<'_>,
) -> Result<u8, AppError> {
    let goal = Goal::of(options);
    let begin = tokio::time::Instant::now();
    for name in options.several.resolve(session).await? {
        let limit = limit(options.timeout);
        let rest = limit.map(|limit| limit.saturating_sub(begin.elapsed()));
        match wait(session, &name, goal, (rest, limit), console).await? {
            Some(found) => get::show_now(session, &found, options.output, true, console).await?,
            None => console.line(&format!("application '{name}' is gone"))?,
        }
    }
    Ok(0)
}

/// Waits until the goal is reached; `None` when the Application is gone and was to be.
async fn wait(
    session: &Session,
    name: &AppName,
    goal: Goal,
    (rest, limit): (Option<Duration>, Option<Duration>),
    console: &mut Console<'_>,
) -> Result<Option<Found>, AppError> {
    let mut shown = String::new();
    let mut health_before: Option<HealthStatusCode> = None;
    let reached = session.follow(name, rest, |state| {
        let Some(found) = state else {
            return match goal.delete {
                true => Ok(ControlFlow::Break(None)),
                false => Err(AppError::NotFound { name: name.to_string() }),
            };
        };
        let words = in_words(&found.application);
        if words != shown {
            console.progress(&format!("{name}: {words}"))?;
            shown = words;
        }
        let health = found.application.status.health_code();
        if goal.is_reached(&found.application) {
            return Ok(ControlFlow::Break(Some(found)));
        }
        if goal.health && !goal.degraded {
            check_health(name, health_before, &found.application)?;
        }
        health_before = Some(health);
        Ok(ControlFlow::Continue(()))
    });
    match reached.await? {
        Some(found) => Ok(found),
        None => Err(AppError::TimedOut {
            name: name.to_string(),
            wanted: goal.in_words(),
            limit: limit.unwrap_or_default(),
            state: shown,
        }),
    }
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
            let message = application.status.health.as_ref().map_or("", |health| health.message.as_str());
            let message = if message.is_empty() { String::new() } else { format!(": {message}") };
            Err(AppError::Degraded { name: name.to_string(), from, to, message })
        }
        _ => Ok(()),
    }
}

/// `OutOfSync, Progressing, operation Running: applying`.
fn in_words(application: &Application) -> String {
    let status = &application.status;
    let mut words = format!("{}, {}", status.sync_code(), status.health_code());
    if application.is_terminating() {
        words.push_str(", deletion in progress");
    }
    if let Some(state) = status.operation_state.as_ref().filter(|_| !is_idle(application)) {
        words.push_str(&format!(", operation {}", state.phase));
        if !state.message.is_empty() {
            words.push_str(&format!(": {}", state.message));
        }
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
        assert_eq!(error.exit_code(), 20);
    }
}
