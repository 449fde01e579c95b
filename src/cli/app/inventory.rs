//! `skiff app resources`: an Application's objects with their children, and what belongs to nobody.

use serde_json::{Value, json};

use super::{
    AppError, Session,
    get::Format,
    name::One,
    tree::{self, Row},
};
use crate::cli::output::{Cell, Console};

/// The options of `skiff app resources`.
#[derive(Debug, clap::Args)]
pub struct Options {
    #[command(flatten)]
    one: One,

    /// Show only what belongs to no Application; the AppProject must have spec.orphanedResources
    #[arg(long)]
    orphaned: bool,

    /// What the output looks like
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// Shows the objects of an Application.
pub(super) async fn run(
    session: &Session,
    options: &Options,
    console: &mut Console<'_>,
) -> Result<u8, AppError> {
    let (_, found) = options.one.find(session).await?;
    let mut tree = tree::read(session, &found.application).await?;
    if options.orphaned {
        tree.rows.retain(|row| row.is_orphan);
    }
    match options.output {
        Format::Tree => return Ok(tree.show(&found.application, console).map(|()| 0)?),
        Format::Json => console.json(&Value::Array(tree.rows.iter().map(as_json).collect()))?,
        Format::Yaml => console.yaml(&Value::Array(tree.rows.iter().map(as_json).collect()))?,
        Format::Wide => {
            let rows = tree.rows.iter().map(as_cells).collect();
            let headers = ["GROUP", "KIND", "NAMESPACE", "NAME", "STATUS", "HEALTH", "ORPHANED", "MESSAGE"];
            console.table(&headers, rows)?;
        }
    }
    tree.tell(console)?;
    Ok(0)
}

fn as_cells(row: &Row) -> Vec<Cell> {
    vec![
        row.key.group.as_str().into(),
        row.key.kind.as_str().into(),
        row.key.namespace.as_str().into(),
        row.key.name.as_str().into(),
        Cell::of_optional(row.sync),
        Cell::of_optional(row.health.as_ref().map(|health| health.status)),
        if row.is_orphan { "Yes" } else { "No" }.into(),
        row.message().into(),
    ]
}

fn as_json(row: &Row) -> Value {
    json!({
        "group": row.key.group,
        "kind": row.key.kind,
        "namespace": row.key.namespace,
        "name": row.key.name,
        "depth": row.depth,
        "status": row.sync,
        "health": row.health,
        "orphaned": row.is_orphan,
    })
}
