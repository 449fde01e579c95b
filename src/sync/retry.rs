//! What becomes of an operation whose attempt failed.
//!
//! ```text
//! Running ──attempt fails──▶ Running + finishedAt (waiting) ──due──▶ Running ──▶ …
//!                       └─▶ Failed / Error when the limit is reached
//! ```
//!
//! Everything that is needed lives in `status.operationState`, so a restart continues where it was.

use jiff::Timestamp;

use crate::api::{OperationPhase, OperationState, Time, duration::DurationError};

/// Ends a failed attempt: either waits for the next one or ends the operation.
///
/// # Errors
/// When the retry strategy has an unreadable duration; the operation has then ended with its own message.
pub fn end_attempt(
    state: &mut OperationState,
    phase: OperationPhase,
    message: &str,
    now: Time,
) -> Result<(), DurationError> {
    let count = state.retry_count;
    state.finished_at = Some(now);
    let retry = &state.operation.retry;
    let terminated = state.phase == OperationPhase::Terminating;
    let delay = retry.delay(count);
    if terminated || phase == OperationPhase::Succeeded || !retry.permits(count) || delay.is_err() {
        let times = if count > 0 && phase != OperationPhase::Succeeded {
            format!(" (retried {count} times).")
        } else {
            String::new()
        };
        state.message = format!("{message}{times}");
        state.phase = phase;
        return delay
            .map(|_| ())
            .or_else(|error| if phase == OperationPhase::Succeeded { Ok(()) } else { Err(error) });
    }
    let at = now.timestamp().checked_add(delay?).unwrap_or(Timestamp::MAX);
    state.phase = OperationPhase::Running;
    state.retry_count = count.saturating_add(1);
    state.message =
        format!("{message}. Retrying attempt #{} at {}.", state.retry_count, at.strftime("%-I:%M%p"));
    Ok(())
}

/// When the next attempt of a waiting operation is due; `None` when it waits for none.
pub fn due_at(state: &OperationState) -> Option<Timestamp> {
    if !state.is_waiting_for_retry() {
        return None;
    }
    let finished = state.finished_at?.timestamp();
    let delay = state.operation.retry.delay(state.retry_count.saturating_sub(1)).unwrap_or_default();
    Some(finished.checked_add(delay).unwrap_or(Timestamp::MAX))
}

/// Begins the next attempt of a waiting operation. With `retry.refresh` it takes the newest revision.
pub fn begin_attempt(state: &mut OperationState) {
    let refresh = state.operation.retry.refresh;
    let latest = if refresh { " with latest revisions" } else { "" };
    state.message = format!("Retrying operation{latest}. Attempt #{}", state.retry_count);
    state.finished_at = None;
    state.sync_result = None;
    if let Some(sync) = state.operation.sync.as_mut().filter(|_| refresh) {
        sync.revision.clear();
        sync.revisions.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{Operation, SyncOperation, SyncOperationResult, retry::RetryStrategy};

    fn state(limit: i64, refresh: bool) -> OperationState {
        let sync = SyncOperation { revision: "abc".to_owned(), ..SyncOperation::default() };
        OperationState {
            phase: OperationPhase::Running,
            operation: Operation {
                sync: Some(sync),
                retry: RetryStrategy { limit, refresh, backoff: None },
                ..Operation::default()
            },
            sync_result: Some(SyncOperationResult::default()),
            ..OperationState::default()
        }
    }

    fn at(second: i64) -> Time {
        Time::new(Timestamp::from_second(second).unwrap())
    }

    #[test]
    fn a_failed_attempt_waits_and_then_begins_again() {
        let mut state = state(2, false);
        end_attempt(&mut state, OperationPhase::Failed, "it broke", at(46_800)).unwrap();
        assert!(state.is_waiting_for_retry());
        assert_eq!(state.message, "it broke. Retrying attempt #1 at 1:00PM.");
        assert_eq!(due_at(&state), Some(at(46_805).timestamp()));
        begin_attempt(&mut state);
        assert_eq!(state.message, "Retrying operation. Attempt #1");
        assert_eq!((state.finished_at, state.sync_result.is_none()), (None, true));
        assert_eq!(due_at(&state), None);
        end_attempt(&mut state, OperationPhase::Failed, "it broke", at(100)).unwrap();
        assert_eq!(due_at(&state), Some(at(110).timestamp()));
    }

    #[test]
    fn the_last_attempt_ends_the_operation() {
        let mut state = state(1, false);
        end_attempt(&mut state, OperationPhase::Error, "it broke", at(0)).unwrap();
        begin_attempt(&mut state);
        end_attempt(&mut state, OperationPhase::Error, "it broke", at(9)).unwrap();
        assert_eq!((state.phase, state.finished_at), (OperationPhase::Error, Some(at(9))));
        assert_eq!(state.message, "it broke (retried 1 times).");
    }

    #[test]
    fn without_a_limit_there_is_no_second_attempt_and_below_zero_no_end() {
        let mut never = state(0, false);
        end_attempt(&mut never, OperationPhase::Failed, "it broke", at(0)).unwrap();
        assert_eq!((never.phase, never.message.as_str()), (OperationPhase::Failed, "it broke"));
        let mut always = state(-1, false);
        always.retry_count = 1000;
        end_attempt(&mut always, OperationPhase::Failed, "it broke", at(0)).unwrap();
        assert!(always.is_waiting_for_retry());
        assert_eq!(due_at(&always), Some(at(180).timestamp()));
    }

    #[test]
    fn a_terminated_or_successful_operation_is_not_tried_again() {
        let mut terminated = state(5, false);
        terminated.phase = OperationPhase::Terminating;
        end_attempt(&mut terminated, OperationPhase::Failed, "Operation terminated", at(0)).unwrap();
        assert_eq!(terminated.phase, OperationPhase::Failed);
        let mut done = state(5, false);
        done.retry_count = 2;
        end_attempt(&mut done, OperationPhase::Succeeded, "done", at(0)).unwrap();
        assert_eq!((done.phase, done.message.as_str()), (OperationPhase::Succeeded, "done"));
    }

    #[test]
    fn with_refresh_the_newest_revision_is_taken() {
        let mut state = state(2, true);
        end_attempt(&mut state, OperationPhase::Failed, "it broke", at(0)).unwrap();
        begin_attempt(&mut state);
        assert_eq!(state.message, "Retrying operation with latest revisions. Attempt #1");
        assert_eq!(state.operation.sync.unwrap().revision, "");
    }

    #[test]
    fn an_unreadable_duration_ends_the_operation_and_is_named() {
        let mut state = state(2, false);
        state.operation.retry.backoff =
            Some(crate::api::retry::Backoff { duration: "soon".to_owned(), ..Default::default() });
        let error = end_attempt(&mut state, OperationPhase::Failed, "it broke", at(0)).unwrap_err();
        assert!(error.to_string().contains("soon"));
        assert_eq!(state.phase, OperationPhase::Failed);
    }
}
