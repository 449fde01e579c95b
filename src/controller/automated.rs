//! Whether a look begins a sync that nobody asked for.

use std::{collections::HashSet, sync::Arc};

use jiff::Timestamp;

use super::{observe::Observation, reconcile::Look, target::Target};
use crate::{
    api::{
        Application, ResourceStatus, SyncStatusCode,
        sync_options::{Deletion, SyncOptions},
        unknown_options,
    },
    object::{Object, ObjectKey},
    sync::auto::{self, AutoSyncInput, Decision, Nothing},
};

impl Look<'_> {
    /// Whether the Application has to be synced by itself now, later or not at all.
    pub(super) fn decide(&self, target: &Target, observation: &Observation) -> Decision {
        let Observation { comparison, desired, .. } = observation;
        // What is going already needs no sync to go.
        let going: HashSet<ObjectKey> = comparison
            .candidates
            .iter()
            .filter(|candidate| candidate.desired.is_none())
            .filter_map(|candidate| Some(candidate.live.as_ref()?).filter(|live| live.is_terminating()))
            .map(|live| live.key())
            .collect();
        // What is to stay is no drift that a sync would put right.
        let options = SyncOptions::new(self.application.spec.sync_options());
        let stays = |live: &&Arc<Object>| {
            SyncOptions::prune(&options, &SyncOptions::of_object(live)) == Deletion::Forbidden
        };
        let no_longer_declared = comparison.candidates.iter().filter(|candidate| candidate.desired.is_none());
        let kept: HashSet<ObjectKey> = no_longer_declared
            .filter_map(|candidate| candidate.live.as_ref().filter(stays))
            .map(|live| live.key())
            .collect();
        let is_left = |row: &ResourceStatus| {
            row.status.is_some_and(|status| status != SyncStatusCode::Synced) && !going.contains(&row.key())
        };
        if !going.is_empty() && !self.status.resources.iter().any(is_left) {
            return Decision::Nothing(Nothing::NotOutOfSync);
        }
        let mut application = Application::clone(&self.application);
        application.status = self.status.clone();
        let sync = self.status.sync.clone().unwrap_or_default();
        let decision = auto::decide(&AutoSyncInput {
            application: &application,
            sync: &sync,
            resources: &self.status.resources,
            kept: &kept,
            sources: &target.sources,
            remotes_moved: desired.remotes_moved,
            now: Timestamp::now(),
            backoff: self.settings.self_heal_backoff,
        });
        match (decision, self.refusal().or_else(|| desired.refusal())) {
            (Decision::Start(_) | Decision::Later(_), Some(refusal)) => Decision::Refuse(refusal),
            (Decision::Start(operation), None) => match self.automated_sync_waits() {
                Some(wait) => Decision::Later(Timestamp::now().checked_add(wait).unwrap_or(Timestamp::MAX)),
                None => Decision::Start(operation),
            },
            (decision, _) => decision,
        }
    }

    /// Why nothing of this Application may be synced: its project restricts syncs in a way that is not obeyed yet or
    /// cannot be read, or it has an option that nobody knows.
    pub(super) fn refusal(&self) -> Option<String> {
        let fields = self.context.projects.unsupported(self.application.spec.project_name());
        let mut reasons: Vec<String> =
            fields.iter().filter(|field| field.stops_syncs).map(ToString::to_string).collect();
        reasons.extend(self.window_problem());
        reasons.extend(unknown_options(&self.application.spec));
        (!reasons.is_empty()).then(|| reasons.join("; "))
    }
}
