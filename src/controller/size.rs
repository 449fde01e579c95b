//! What of a status is left out where the Application would be larger than the API server takes.
//!
//! Rows of objects are what makes a status large. Those that say that all is well go first, and of each kind one stays:
//! which kinds an Application has says later where to look for what it has left behind.

use std::collections::HashSet;

use serde::Serialize;

use crate::{
    api::{ApplicationStatus, HealthStatusCode, ResourceResult, ResourceStatus, ResultCode, SyncStatusCode},
    object::GroupKind,
};

/// How large a status may be. etcd takes 1.5 MiB for all of an object.
const LIMIT: usize = 1 << 20;
/// A status with fewer rows than this is not measured: a row takes some hundreds of bytes.
const SMALL: usize = 1000;

/// Takes out what is too much. Returns what to tell people.
pub fn fit(status: &mut ApplicationStatus) -> Option<String> {
    let result = status.operation_state.as_ref().and_then(|state| state.sync_result.as_ref());
    let rows = status.resources.len() + result.map_or(0, |result| result.resources.len());
    if rows < SMALL {
        return None;
    }
    let mut excess = bytes(status).saturating_sub(LIMIT);
    if excess == 0 {
        return None;
    }
    let shown = drop_rows(&mut status.resources, &mut excess, |row: &ResourceStatus| {
        let kind = GroupKind::new(&row.group, &row.kind);
        let is_synced = row.status == Some(SyncStatusCode::Synced);
        let health = row.health.as_ref().map(|health| health.status);
        (kind, is_synced && health.is_none_or(|health| health == HealthStatusCode::Healthy))
    });
    let mut told = format!("of its {} objects status.resources shows {}", shown.1, shown.0);
    let state = status.operation_state.as_mut().filter(|_| excess > 0);
    if let Some(result) = state.and_then(|state| state.sync_result.as_mut()) {
        let shown = drop_rows(&mut result.resources, &mut excess, |row: &ResourceResult| {
            let is_done = row.status == Some(ResultCode::Synced) && row.hook_type.is_none();
            (GroupKind::new(&row.group, &row.kind), is_done)
        });
        told.push_str(&format!(", of {} outcomes the last operation shows {}", shown.1, shown.0));
    }
    Some(format!("{told}: the Application would be too large for the API server; split it"))
}

/// Takes out dispensable rows from the end until no excess is left. Returns how many stay, and of how many.
fn drop_rows<T: Serialize>(
    rows: &mut Vec<T>,
    excess: &mut usize,
    look: impl Fn(&T) -> (GroupKind, bool),
) -> (usize, usize) {
    let all = rows.len();
    let mut kinds = HashSet::new();
    let is_first: Vec<bool> = rows.iter().map(|row| kinds.insert(look(row).0)).collect();
    let mut kept = Vec::with_capacity(all);
    for (row, is_first) in std::mem::take(rows).into_iter().zip(is_first).rev() {
        if *excess > 0 && !is_first && look(&row).1 {
            // And the comma.
            *excess = excess.saturating_sub(bytes(&row) + 1);
        } else {
            kept.push(row);
        }
    }
    kept.reverse();
    *rows = kept;
    (rows.len(), all)
}

fn bytes(value: &impl Serialize) -> usize {
    serde_json::to_vec(value).map_or(0, |json| json.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{OperationState, SyncOperationResult};

    fn row(kind: &str, number: usize, status: SyncStatusCode) -> ResourceStatus {
        ResourceStatus {
            kind: kind.to_owned(),
            name: format!("an-object-with-a-name-of-a-common-length-{number}"),
            namespace: "a-namespace".to_owned(),
            status: Some(status),
            ..ResourceStatus::default()
        }
    }

    fn result(number: usize, status: ResultCode) -> ResourceResult {
        ResourceResult {
            kind: "ConfigMap".to_owned(),
            name: number.to_string(),
            message: "x".repeat(200),
            status: Some(status),
            ..ResourceResult::default()
        }
    }

    #[test]
    fn a_status_of_common_size_is_left_alone() {
        let resources = (0..2000).map(|number| row("ConfigMap", number, SyncStatusCode::Synced)).collect();
        let mut status = ApplicationStatus { resources, ..ApplicationStatus::default() };
        let before = status.clone();
        assert_eq!(fit(&mut status), None);
        assert_eq!(status, before);
    }

    #[test]
    fn what_is_out_of_sync_and_one_of_each_kind_stays() {
        let resources = (0..20_000).map(|number| row("ConfigMap", number, SyncStatusCode::Synced)).collect();
        let mut status = ApplicationStatus { resources, ..ApplicationStatus::default() };
        status.resources.push(row("Secret", 1, SyncStatusCode::Synced));
        status.resources.push(row("ConfigMap", 77_777, SyncStatusCode::OutOfSync));
        let told = fit(&mut status).unwrap();
        assert!(bytes(&status) <= LIMIT);
        assert!(bytes(&status) > LIMIT / 2, "more is left out than must be");
        assert!(status.resources.iter().any(|row| row.kind == "Secret"));
        assert!(status.resources.iter().any(|row| row.name.ends_with("77777")));
        assert!(
            told.contains(&format!("of its 20002 objects status.resources shows {}", status.resources.len()))
        );
    }

    #[test]
    fn failures_of_an_operation_stay_when_its_outcomes_are_too_many() {
        let mut resources: Vec<ResourceResult> =
            (0..10_000).map(|number| result(number, ResultCode::Synced)).collect();
        resources.push(result(10_000, ResultCode::SyncFailed));
        let sync_result = Some(SyncOperationResult { resources, ..SyncOperationResult::default() });
        let state = OperationState { sync_result, ..OperationState::default() };
        let mut status = ApplicationStatus { operation_state: Some(state), ..ApplicationStatus::default() };
        let told = fit(&mut status).unwrap();
        assert!(bytes(&status) <= LIMIT);
        let rows = status.operation_state.unwrap().sync_result.unwrap().resources;
        assert_eq!(rows.last().unwrap().status, Some(ResultCode::SyncFailed));
        assert!(told.contains(&format!("of 10001 outcomes the last operation shows {}", rows.len())));
    }
}
