//! From the healths of an Application's top-level objects to its own.

use crate::{
    api::{HealthStatus, HealthStatusCode, names},
    object::{Object, ObjectKey},
};

/// How many culprits a message names.
const NAMED_CULPRITS: usize = 3;

/// One top-level object of an Application. Hooks and skipped objects are none.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    /// Its identity.
    pub key: &'a ObjectKey,
    /// The live object; `None` when the cluster does not have it.
    pub live: Option<&'a Object>,
    /// Its health, if its kind has one.
    pub health: Option<&'a HealthStatus>,
}

/// Adds up an Application's health: the worst of its parts, with the parts to blame in the message.
///
/// `application` is the Application's own identity, for one that manages itself.
pub fn roll_up<'a>(
    parts: impl IntoIterator<Item = Part<'a>>,
    application: Option<&ObjectKey>,
) -> HealthStatus {
    let mut worst = HealthStatusCode::Healthy;
    let mut culprits: Vec<&ObjectKey> = Vec::new();
    let mut any = false;
    let mut any_live = false;
    for part in parts {
        any = true;
        any_live |= part.live.is_some();
        let (Some(live), Some(health)) = (part.live, part.health) else {
            continue;
        };
        let is_application = part.key.group == names::GROUP && part.key.kind == "Application";
        let ignored = live.annotation(names::ANNOTATION_IGNORE_HEALTHCHECK) == Some("true")
            || application == Some(part.key)
            || (is_application
                && matches!(health.status, HealthStatusCode::Missing | HealthStatusCode::Unknown));
        if ignored || health.status < worst {
            continue;
        }
        if health.status > worst {
            worst = health.status;
            culprits.clear();
        }
        culprits.push(part.key);
    }
    if any && !any_live && worst < HealthStatusCode::Missing {
        return HealthStatus::new(HealthStatusCode::Missing, "");
    }
    if worst == HealthStatusCode::Healthy {
        return HealthStatus::new(worst, "");
    }
    culprits.sort();
    let names: Vec<String> = culprits.iter().take(NAMED_CULPRITS).map(ToString::to_string).collect();
    let more = culprits.len().saturating_sub(NAMED_CULPRITS);
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    HealthStatus::new(worst, format!("Caused by {}{rest}", names.join(", ")))
}
