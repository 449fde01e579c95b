//! `skiff app`: Applications from the command line, through the kubeconfig.
//!
//! ```text
//! arguments ─▶ Session (kubeconfig, namespace) ─▶ one file a command ─▶ Console, exit code
//! ```
//!
//! Nothing but the Kubernetes API is asked: a refresh is an annotation, a sync is the field `operation`, and waiting is
//! a watch. So the commands work wherever the agent works, and with the permissions of whoever runs them. Exit codes
//! are those of Argo CD's CLI: see [`AppError::exit_code`].

mod delete;
mod diff;
mod error;
mod get;
mod history;
mod inventory;
mod list;
mod name;
mod refresh;
mod resources;
mod rollback;
mod session;
pub mod source_rollback;
mod sync;
mod terminate_op;
mod tree;
mod wait;
mod windows;

pub use error::AppError;
pub(in crate::cli) use session::request;
pub use session::{Connection, Session};

use crate::cli::output::Console;

/// The options of `skiff app`.
#[derive(Debug, clap::Args)]
pub struct AppOptions {
    /// How to reach the cluster.
    #[command(flatten)]
    pub connection: Connection,
    /// What to do.
    #[command(subcommand)]
    pub command: AppCommand,
}

/// What `skiff app` can do.
#[derive(Debug, clap::Subcommand)]
pub enum AppCommand {
    /// List Applications
    List(list::Options),
    /// Show an Application and its objects
    Get(get::Options),
    /// Show an Application's objects with their children, and what belongs to nobody
    Resources(inventory::Options),
    /// Show what a sync would change
    Diff(diff::Options),
    /// Bring the cluster to what the source declares
    Sync(sync::Options),
    /// Wait until Applications are synced, healthy, idle or gone
    Wait(wait::Options),
    /// Show what was synced when
    History(history::Options),
    /// Sync what was synced before, by its id in the history; the source stays as it is
    Rollback(rollback::Options),
    /// End a sync before its end
    TerminateOp(terminate_op::Options),
    /// Delete Applications, with or without their objects
    Delete(delete::Options),
    /// Compare an Application with its source now
    Refresh(refresh::Options),
}

/// Runs a command and returns its exit code.
///
/// # Errors
/// When the command could not do what it was asked for; [`AppError::exit_code`] has the exit code then.
pub async fn run(options: &AppOptions, console: &mut Console<'_>) -> Result<u8, AppError> {
    let session = Session::connect(&options.connection).await?;
    run_command(&session, &options.command, console).await
}

/// Runs a command on a session that is connected.
///
/// # Errors
/// As [`run`].
pub async fn run_command(
    session: &Session,
    command: &AppCommand,
    console: &mut Console<'_>,
) -> Result<u8, AppError> {
    match command {
        AppCommand::List(options) => list::run(session, options, console).await,
        AppCommand::Get(options) => Box::pin(get::run(session, options, console)).await,
        AppCommand::Resources(options) => Box::pin(inventory::run(session, options, console)).await,
        AppCommand::Diff(options) => Box::pin(diff::run(session, options, console)).await,
        AppCommand::Sync(options) => sync::run(session, options, console).await,
        AppCommand::Wait(options) => wait::run(session, options, console).await,
        AppCommand::History(options) => history::run(session, options, console).await,
        AppCommand::Rollback(options) => rollback::run(session, options, console).await,
        AppCommand::TerminateOp(options) => terminate_op::run(session, options, console).await,
        AppCommand::Delete(options) => delete::run(session, options, console).await,
        AppCommand::Refresh(options) => refresh::run(session, options, console).await,
    }
}
