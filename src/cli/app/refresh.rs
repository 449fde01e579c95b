//! `skiff app refresh`.

use std::{ops::ControlFlow, time::Duration};

use serde_json::json;

use super::{
    AppError, Session,
    get::{self, limit},
    name::{AppName, Several},
    session::Found,
};
use crate::{
    api::{
        names::{ANNOTATION_REFRESH, ANNOTATION_REFRESH_TIMESTAMP},
        refresh::Refresh,
    },
    cli::output::Console,
};

/// How many seconds a refresh may take by default.
pub(super) const DEFAULT_TIMEOUT: u64 = 60;

/// The options of `skiff app refresh`.
#[derive(Debug, clap::Args)]
pub struct Options {
    #[command(flatten)]
    several: Several,

    /// Render the source anew, whatever is cached
    #[arg(long)]
    hard: bool,

    /// How many seconds to wait; 0 for no limit
    #[arg(long, value_name = "SECONDS", default_value_t = DEFAULT_TIMEOUT)]
    timeout: u64,

    /// Show the Applications afterwards, in place of a line for each
    #[arg(short, long, value_enum)]
    output: Option<get::Format>,
}

/// Refreshes Applications one after the other.
pub(super) async fn run(
    session: &Session,
    options: &Options,
    console: &mut Console<'_>,
) -> Result<u8, AppError> {
    let wanted = if options.hard { Refresh::Hard } else { Refresh::Normal };
    for name in options.several.resolve(session).await? {
        let found = refresh(session, &name, wanted, limit(options.timeout)).await?;
        if let Some(format) = options.output {
            get::show_now(session, &found, format, false, console).await?;
            continue;
        }
        let status = &found.application.status;
        console.line(&format!(
            "application '{name}' is {} and {}",
            status.sync_code(),
            status.health_code()
        ))?;
    }
    Ok(0)
}

/// Asks for a refresh and waits until the agent has done it.
pub(super) async fn refresh(
    session: &Session,
    name: &AppName,
    wanted: Refresh,
    limit: Option<Duration>,
) -> Result<Found, AppError> {
    let now = jiff::Timestamp::now().to_string();
    let annotations = json!({ ANNOTATION_REFRESH: wanted.as_str(), ANNOTATION_REFRESH_TIMESTAMP: now });
    session.patch(name, &json!({ "metadata": { "annotations": annotations } })).await?;
    let done = session.follow(name, limit, |state| {
        let Some(found) = state else {
            return Err(AppError::NotFound { name: name.to_string() });
        };
        let is_done = found.application.annotation(ANNOTATION_REFRESH).is_none();
        Ok(if is_done { ControlFlow::Break(found) } else { ControlFlow::Continue(()) })
    });
    done.await?.ok_or_else(|| AppError::TimedOut {
        name: name.to_string(),
        wanted: "refreshed",
        limit: limit.unwrap_or_default(),
        state: "the agent has not answered; is it running, and does it look after this namespace?".to_owned(),
    })
}
