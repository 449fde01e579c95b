//! `skiff app terminate-op`: ends a sync before its end.

use std::ops::ControlFlow;

use serde_json::json;

use super::{AppError, Session, get::limit, name::One};
use crate::{api::OperationPhase, cli::output::Console};

/// The options of `skiff app terminate-op`.
#[derive(Debug, clap::Args)]
pub struct Options {
    #[command(flatten)]
    one: One,

    /// How many seconds to wait for the end; 0 for no limit
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    timeout: u64,
}

/// Asks for the end of the operation that runs, and waits for it.
pub(super) async fn run(
    session: &Session,
    options: &Options,
    console: &mut Console<'_>,
) -> Result<u8, AppError> {
    let (name, found) = options.one.find(session).await?;
    let state = found.application.status.operation_state.as_ref();
    let runs = state.is_some_and(|state| !state.phase.is_completed());
    if !runs {
        return Err(AppError::Refused {
            action: "terminate the operation of",
            name: name.to_string(),
            why: "no operation is in progress".to_owned(),
            hint: "'skiff app get --show-operation' shows the last one",
        });
    }
    let patch = json!({
        "metadata": { "resourceVersion": found.application.metadata.resource_version },
        "status": { "operationState": { "phase": OperationPhase::Terminating } },
    });
    session.patch(&name, &patch).await?;
    let ended = session.follow(&name, limit(options.timeout), |state| {
        let Some(found) = state else { return Err(AppError::NotFound { name: name.to_string() }) };
        let state = found.application.status.operation_state.as_ref();
        let is_over = state.is_none_or(|state| state.phase.is_completed());
        Ok(if is_over { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    });
    ended.await?.ok_or_else(|| AppError::TimedOut {
        name: name.to_string(),
        wanted: "idle",
        limit: limit(options.timeout).unwrap_or_default(),
        state: "its operation still runs".to_owned(),
    })?;
    console.line(&format!("the operation of application '{name}' is terminated"))?;
    Ok(0)
}
