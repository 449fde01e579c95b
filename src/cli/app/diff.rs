//! `skiff app diff`: what a sync would change, found out here and now.

use super::{
    AppError, Session,
    error::EXIT_COMMAND,
    name::{AppName, One},
};
use crate::{
    cli::output::{Console, Tone},
    controller::{Agent, AgentOptions},
    metrics::{Metrics, MetricsOptions},
};

/// The options of `skiff app diff`.
#[derive(Debug, clap::Args)]
pub struct Options {
    #[command(flatten)]
    one: One,

    /// Compare with this revision in place of the source's
    #[arg(long)]
    revision: Option<String>,

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
    let name = AppName::parse(&options.one.name, session.namespace())?;
    let application = session.get(&name).await?.application;
    let known =
        Some(application.status.controller_namespace.as_str()).filter(|namespace| !namespace.is_empty());
    let namespace = options.controller_namespace.as_deref().or(known).unwrap_or(&name.namespace).to_owned();
    // A mirror of one's own: that of the agent is out of reach.
    let mirrors = tempfile::tempdir()?;
    let agent_options = AgentOptions::new(&namespace, String::new(), mirrors.path().to_owned());
    let metrics = Metrics::new(&MetricsOptions::default()).map_err(std::io::Error::other)?;
    let agent = Agent::new(session.client(), agent_options, metrics.into());
    let preview = agent.preview(application, options.revision.as_deref()).await?;
    for note in &preview.notes {
        let label = console.paint("note:", Tone::Notice);
        console.progress(&format!("{label} {note}"))?;
    }
    for change in &preview.changes {
        console.line(&format!("===== {} =====", change.key))?;
        for line in change.text.lines() {
            let tone = match line.chars().next() {
                Some('+') => Tone::Good,
                Some('-') => Tone::Bad,
                _ => Tone::Plain,
            };
            let line = console.paint(line, tone);
            console.line(&line)?;
        }
        console.line("")?;
    }
    let differs = !preview.changes.is_empty();
    Ok(if differs && options.exit_code { options.diff_exit_code } else { 0 })
}
