//! `skiff app history`.

use serde_json::json;

use super::{AppError, Session, get::with_commit, name::One};
use crate::{
    api::{ApplicationSource, RevisionHistory},
    cli::output::Console,
};

/// What the history looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// A table.
    #[default]
    Wide,
    /// The ids only.
    Id,
    /// The entries as JSON.
    Json,
    /// The entries as YAML.
    Yaml,
}

/// The options of `skiff app history`.
#[derive(Debug, clap::Args)]
pub struct Options {
    #[command(flatten)]
    one: One,

    /// What the output looks like
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// Shows past syncs, oldest first.
pub(super) async fn run(
    session: &Session,
    options: &Options,
    console: &mut Console<'_>,
) -> Result<u8, AppError> {
    let (_, found) = options.one.find(session).await?;
    let history = &found.application.status.history;
    let entries = || found.value.pointer("/status/history").cloned().unwrap_or_else(|| json!([]));
    match options.output {
        Format::Json => console.json(&entries())?,
        Format::Yaml => console.yaml(&entries())?,
        Format::Id => {
            for entry in history {
                console.line(&entry.id.to_string())?;
            }
        }
        Format::Wide => {
            let rows = history.iter().map(|entry| {
                let by =
                    if entry.initiated_by.automated { "automated" } else { &entry.initiated_by.username };
                let date = entry.deployed_at.to_string();
                vec![entry.id.to_string().into(), date.into(), revisions(entry).into(), by.into()]
            });
            console.table(&["ID", "DATE", "REVISION", "INITIATED BY"], rows.collect())?;
        }
    }
    Ok(0)
}

fn revisions(entry: &RevisionHistory) -> String {
    let (sources, commits): (Vec<&ApplicationSource>, Vec<&String>) = if entry.sources.is_empty() {
        (entry.source.iter().collect(), vec![&entry.revision])
    } else {
        (entry.sources.iter().collect(), entry.revisions.iter().collect())
    };
    let pairs = sources.iter().zip(&commits);
    let text =
        pairs.map(|(source, commit)| with_commit(source.revision(), commit)).collect::<Vec<_>>().join(", ");
    if text.is_empty() { entry.revision.clone() } else { text }
}
