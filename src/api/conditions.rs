//! How the conditions of an Application are replaced.

use std::collections::BTreeSet;

use super::{ApplicationCondition, Time};

/// Replaces all conditions of the evaluated types by the new ones.
///
/// A condition that was there with the same type and message keeps its time, so that a status does not change just
/// because it was computed again. The result is sorted by type and message and has no condition twice.
pub fn set(
    current: &[ApplicationCondition],
    evaluated_types: &[&str],
    new: Vec<ApplicationCondition>,
    now: Time,
) -> Vec<ApplicationCondition> {
    let mut result: Vec<ApplicationCondition> = current
        .iter()
        .filter(|condition| !evaluated_types.contains(&condition.condition_type.as_str()))
        .cloned()
        .collect();
    let mut seen = BTreeSet::new();
    for mut condition in new {
        if !seen.insert((condition.condition_type.clone(), condition.message.clone())) {
            continue;
        }
        let before = current
            .iter()
            .find(|old| old.condition_type == condition.condition_type && old.message == condition.message);
        condition.last_transition_time = before.and_then(|old| old.last_transition_time).or(Some(now));
        result.push(condition);
    }
    result.sort_by(|a, b| {
        (&a.condition_type, &a.message, a.last_transition_time).cmp(&(
            &b.condition_type,
            &b.message,
            b.last_transition_time,
        ))
    });
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::names::{
        CONDITION_COMPARISON_ERROR as COMPARISON, CONDITION_SYNC_ERROR as SYNC,
        CONDITION_UNKNOWN_ERROR as UNKNOWN,
    };

    fn at(second: i64) -> Time {
        Time::new(jiff::Timestamp::from_second(second).unwrap())
    }

    fn seen_at(second: i64, condition_type: &str, message: &str) -> ApplicationCondition {
        let mut condition = ApplicationCondition::new(condition_type, message);
        condition.last_transition_time = Some(at(second));
        condition
    }

    #[test]
    fn an_unchanged_condition_keeps_its_time() {
        let before = vec![seen_at(1, COMPARISON, "path is missing")];
        let new = vec![ApplicationCondition::new(COMPARISON, "path is missing")];
        assert_eq!(set(&before, &[COMPARISON], new, at(9)), before);
    }

    #[test]
    fn a_new_message_has_a_new_time() {
        let before = vec![seen_at(1, COMPARISON, "path is missing")];
        let new = vec![ApplicationCondition::new(COMPARISON, "yaml is broken")];
        assert_eq!(set(&before, &[COMPARISON], new, at(9)), [seen_at(9, COMPARISON, "yaml is broken")]);
    }

    #[test]
    fn types_that_were_not_evaluated_stay() {
        let before = vec![seen_at(1, COMPARISON, "gone now"), seen_at(2, SYNC, "stays")];
        assert_eq!(set(&before, &[COMPARISON, UNKNOWN], Vec::new(), at(9)), [seen_at(2, SYNC, "stays")]);
    }

    #[test]
    fn conditions_are_sorted_and_unique() {
        let new = [(UNKNOWN, "b"), (COMPARISON, "z"), (UNKNOWN, "a"), (UNKNOWN, "b")];
        let new =
            new.map(|(condition_type, message)| ApplicationCondition::new(condition_type, message)).to_vec();
        let expected = [seen_at(9, COMPARISON, "z"), seen_at(9, UNKNOWN, "a"), seen_at(9, UNKNOWN, "b")];
        assert_eq!(set(&[], &[UNKNOWN, COMPARISON], new, at(9)), expected);
    }
}
