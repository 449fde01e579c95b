//! Job and CronJob.

use super::{
    Judgement, degraded,
    fields::{conditions, flag, has, list, text},
    healthy, progressing, require_version, suspended,
};
use crate::object::Object;

pub(super) fn job(object: &Object) -> Judgement {
    require_version(object, "batch/v1")?;
    let mut failure = None;
    let mut message = None;
    let mut is_suspended = false;
    for condition in conditions(object)? {
        match condition.kind {
            "Failed" => failure = Some(condition.message),
            "Complete" => message = Some(condition.message),
            "Suspended" => {
                message = Some(condition.message);
                is_suspended |= condition.is_true();
            }
            _ => {}
        }
    }
    Ok(match (failure, message) {
        (Some(failure), _) => degraded(failure),
        (None, None) => progressing(""),
        (None, Some(message)) if is_suspended => suspended(message),
        (None, Some(message)) => healthy(message),
    })
}

pub(super) fn cron_job(object: &Object) -> Judgement {
    if flag(object, "spec.suspend")? {
        return Ok(healthy("CronJob is Suspended"));
    }
    if !has(object, "status") {
        return Ok(progressing("Waiting for the CronJob to be observed"));
    }
    let scheduled = text(object, "status.lastScheduleTime")?;
    let succeeded = text(object, "status.lastSuccessfulTime")?;
    Ok(if scheduled.is_empty() {
        healthy("CronJob has not been scheduled yet")
    } else if succeeded.is_empty() {
        healthy("CronJob has not completed an execution yet")
    } else if !list(object, "status.active")?.is_empty() {
        healthy("CronJob has a job running")
    } else if is_before(succeeded, scheduled) {
        degraded("CronJob has not completed its last execution successfully")
    } else {
        healthy("CronJob has completed its last execution successfully")
    })
}

/// Whether one RFC 3339 time lies before another. Texts that are no times are compared as such.
fn is_before(first: &str, second: &str) -> bool {
    match (first.parse::<jiff::Timestamp>(), second.parse::<jiff::Timestamp>()) {
        (Ok(first), Ok(second)) => first < second,
        _ => first < second,
    }
}
