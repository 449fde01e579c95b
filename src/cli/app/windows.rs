//! The sync windows that an Application's project has for it.

use jiff::Timestamp;

use super::{AppError, Session, session::Found};
use crate::{
    api::names,
    project::{
        Destination,
        windows::{Subject, SyncWindows},
    },
};

/// What the windows say now, in words.
pub(super) struct Windows {
    /// Whether a person may sync.
    pub by_hand: bool,
    /// `Sync Allowed`, `Manual Allowed` or `Sync Denied`.
    pub state: &'static str,
    /// Each window in brief, `deny:0 22 * * *:1h`.
    pub windows: Vec<String>,
}

/// Reads the windows of an Application's project. `None` when there are none, or when the project cannot be read by
/// whoever asks: then the agent has the last word.
pub(super) async fn of(session: &Session, found: &Found) -> Result<Option<Windows>, AppError> {
    let application = &found.application;
    let agent = &application.status.controller_namespace;
    let namespace = if agent.is_empty() { session.namespace() } else { agent };
    let project = session.project(namespace, application.spec.project_name()).await?;
    let Some(project) = project.filter(|project| !project.spec.sync_windows.is_empty()) else {
        return Ok(None);
    };
    let (windows, _) = SyncWindows::compile(&project.spec.sync_windows);
    let wanted = &application.spec.destination;
    let destination = if wanted.is_in_cluster() {
        let (server, name) = (names::IN_CLUSTER_SERVER.to_owned(), names::IN_CLUSTER_NAME.to_owned());
        Destination { server, name, project: String::new() }
    } else {
        Destination { server: wanted.server.clone(), name: wanted.name.clone(), project: String::new() }
    };
    let subject =
        Subject { application: application.name(), namespace: &wanted.namespace, destination: &destination };
    let now = Timestamp::now();
    let shown = windows.shown(&subject, now);
    if shown.is_empty() {
        return Ok(None);
    }
    let by_itself = windows.judge(&subject, false, None, now).is_allowed;
    let by_hand = windows.judge(&subject, true, None, now).is_allowed;
    let state = match (by_itself, by_hand) {
        (true, _) => "Sync Allowed",
        (false, true) => "Manual Allowed",
        (false, false) => "Sync Denied",
    };
    let brief = shown.into_iter().map(|shown| {
        let window = shown.window;
        format!("{}:{}:{}", window.kind, window.schedule, window.duration)
    });
    Ok(Some(Windows { by_hand, state, windows: brief.collect() }))
}
