//! `skiff app rollback`: syncs what the history says was synced before, as Argo CD does. The source is left as it is, so
//! this is refused while automated syncs would undo it; `skiff rollback` takes the source back.

use serde_json::json;

use super::{AppError, Session, name::AppName, sync};
use crate::{
    api::{Operation, OperationInitiator, RevisionHistory, SyncOperation, SyncStrategy, SyncStrategyApply},
    cli::output::Console,
};

/// The options of `skiff app rollback`.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The Application, 'name' or 'namespace/name'
    #[arg(value_name = "NAME")]
    name: String,

    /// The history entry to go back to, see 'skiff app history'; the one before the last by default
    #[arg(value_name = "ID")]
    id: Option<i64>,

    /// Delete what that revision does not have
    #[arg(long)]
    prune: bool,

    /// Show what would happen and write nothing
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    end: sync::End,
}

/// Syncs a history entry and waits for the end.
pub(super) async fn run(
    session: &Session,
    options: &Options,
    console: &mut Console<'_>,
) -> Result<u8, AppError> {
    let name = AppName::parse(&options.name, session.namespace())?;
    let found = session.get(&name).await?;
    let application = &found.application;
    let refused =
        |why: String, hint| Err(AppError::Refused { action: "roll back", name: name.to_string(), why, hint });
    if application.spec.automated().is_some() {
        return refused(
            "auto-sync is enabled, and would undo it".to_owned(),
            "take the source back with 'skiff rollback', or set spec.syncPolicy.automated.enabled to false first",
        );
    }
    if application.operation.is_some() {
        return Err(AppError::OperationInProgress { name: name.to_string() });
    }
    let history = &application.status.history;
    let entry = match options.id {
        Some(id) => history.iter().find(|entry| entry.id == id),
        None => history.iter().rev().nth(1),
    };
    let Some(entry) = entry else {
        let ids: Vec<String> = history.iter().map(|entry| entry.id.to_string()).collect();
        let why = match options.id {
            Some(id) => format!("its history has no entry {id}, but {}", ids.join(", ")),
            None => "its history has no entry before the last".to_owned(),
        };
        return refused(why, "'skiff app history' shows the entries");
    };
    let patch = json!({
        "metadata": { "resourceVersion": application.metadata.resource_version },
        "operation": operation(entry, options, application.spec.sync_options()),
        "status": { "operationState": null },
    });
    let before = application.status.operation_state.clone();
    session.patch(&name, &patch).await?;
    options.end.show(session, &name, before.as_ref(), console).await
}

fn operation(entry: &RevisionHistory, options: &Options, sync_options: &[String]) -> Operation {
    let sync = SyncOperation {
        revision: entry.revision.clone(),
        revisions: entry.revisions.clone(),
        source: entry.source.clone(),
        sources: entry.sources.clone(),
        prune: options.prune,
        dry_run: options.dry_run,
        sync_options: sync_options.to_vec(),
        // What a release did once is not to be done again by going back to it.
        sync_strategy: Some(SyncStrategy { apply: Some(SyncStrategyApply::default()), hook: None }),
        ..SyncOperation::default()
    };
    let initiated_by =
        OperationInitiator { username: std::env::var("USER").unwrap_or_default(), automated: false };
    Operation { initiated_by, sync: Some(sync), ..Operation::default() }
}
