//! When the sync windows of an Application's project let it be synced.

use std::time::Duration;

use jiff::Timestamp;

use super::reconcile::Look;
use crate::{api::OperationState, project::windows::Subject};

/// Message of an operation that waits for its project's sync windows.
pub(super) const BLOCKED: &str = "Sync operation blocked by sync window";

impl Look<'_> {
    /// How long an automated sync has to wait before it asks again whether it may begin; `None` when it may.
    pub(super) fn automated_sync_waits(&self) -> Option<Duration> {
        self.waits_for_window(false, None)
    }

    /// How long an operation has to wait before it asks again whether it may go on; `None` when it may.
    pub(super) fn operation_waits(&self, state: &OperationState) -> Option<Duration> {
        let is_manual = !state.operation.initiated_by.automated;
        self.waits_for_window(is_manual, Some(state.started_at.timestamp()))
    }

    /// Windows of the project that cannot be read: nothing is synced before they are corrected.
    pub(super) fn window_problem(&self) -> Option<String> {
        let name = self.application.spec.project_name();
        let (_, problems) = self.context.projects.windows(name);
        (!problems.is_empty()).then(|| {
            format!(
                "AppProject '{name}': {}: nothing is synced before that is corrected",
                problems.join("; ")
            )
        })
    }

    fn waits_for_window(&self, is_manual: bool, begun: Option<Timestamp>) -> Option<Duration> {
        let (windows, _) = self.context.projects.windows(self.application.spec.project_name());
        if windows.is_empty() {
            return None;
        }
        let destination = self.destination().ok()?;
        let subject = Subject {
            application: &self.key.name,
            namespace: &self.application.spec.destination.namespace,
            destination: &destination,
        };
        let verdict = windows.judge(&subject, is_manual, begun, Timestamp::now());
        (!verdict.is_allowed).then_some(verdict.ask_again)
    }
}
