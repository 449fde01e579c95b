//! `skiff app diff`: what a sync would change, found out here and now.

use super::{AppError, Session, error::EXIT_COMMAND, name::One};
use crate::{
    cli::{
        changes::{ChangesOptions, ShownChange},
        output::Console,
    },
    controller::{Agent, AgentOptions, PreviewOptions},
    metrics::{Metrics, MetricsOptions},
};

/// The options of `skiff app diff`.
#[derive(Debug, clap::Args)]
pub struct Options {
    #[command(flatten)]
    one: One,

    /// Compare with this revision in place of the source's, such as a branch before it is merged
    #[arg(long)]
    revision: Option<String>,

    /// Let the API server predict every object by a dry run, also those that would be created
    #[arg(long)]
    server_side: bool,

    #[command(flatten)]
    shown: ChangesOptions,

    /// Exit with a code of its own when something differs
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    exit_code: bool,

    /// The exit code when something differs
    #[arg(long, value_name = "CODE", default_value_t = EXIT_COMMAND)]
    diff_exit_code: u8,

    /// The namespace of the agent's settings and projects [default: the Application's]
    #[arg(long, value_name = "NAMESPACE")]
    controller_namespace: Option<String>,
}

/// Shows what a sync would change.
pub(super) async fn run(
    session: &Session,
    options: &Options,
    console: &mut Console<'_>,
) -> Result<u8, AppError> {
    let result = show(session, options, console).await;
    result.map_err(|error| match error {
        AppError::Output(error) => AppError::Output(error),
        other => AppError::Diff(Box::new(other)),
    })
}

async fn show(session: &Session, options: &Options, console: &mut Console<'_>) -> Result<u8, AppError> {
    let name = options.one.named(session)?;
    let application = session.get(&name).await?.application;
    let known =
        Some(application.status.controller_namespace.as_str()).filter(|namespace| !namespace.is_empty());
    let namespace = options.controller_namespace.as_deref().or(known).unwrap_or(&name.namespace).to_owned();
    // A mirror of one's own: that of the agent is out of reach.
    let mirrors = tempfile::tempdir()?;
    let agent_options = AgentOptions::new(&namespace, String::new(), mirrors.path().to_owned());
    let metrics = Metrics::new(&MetricsOptions::default()).map_err(std::io::Error::other)?;
    let agent = Agent::new(session.client(), agent_options, metrics.into());
    let wishes = PreviewOptions { revision: options.revision.clone(), server_side: options.server_side };
    let preview = agent.preview(application, &wishes).await?;
    let changes: Vec<ShownChange<'_>> =
        preview.changes.iter().map(|change| ShownChange { key: &change.key, text: &change.text }).collect();
    let commit: String = preview.commit.chars().take(7).collect();
    let title = format!("Application {name} at {commit}");
    options.shown.show(&title, &changes, &preview.notes, console)?;
    let differs = !preview.changes.is_empty();
    Ok(if differs && options.exit_code { options.diff_exit_code } else { 0 })
}
