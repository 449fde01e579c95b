//! Health as a value: the words, their order, and the status that carries them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Time, omit, string_enum::string_enum};

string_enum! {
    /// How well something runs, from best to worst: the greatest of several is the health of the whole.
    pub enum HealthStatusCode, otherwise Unknown {
        /// Runs as declared.
        Healthy = "Healthy",
        /// Paused on purpose.
        Suspended = "Suspended",
        /// Not there yet, but on its way.
        Progressing = "Progressing",
        /// Not in the cluster.
        Missing = "Missing",
        /// Failed.
        Degraded = "Degraded",
        /// Could not be judged.
        Unknown = "Unknown",
    }
}

/// The health of an Application or of one of its resources.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct HealthStatus {
    /// When the health last changed; only kept for an Application.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_transition_time: Option<Time>,
    /// Why, for people.
    #[serde(skip_serializing_if = "omit::zero")]
    pub message: String,
    /// The health itself.
    pub status: HealthStatusCode,
}

impl HealthStatus {
    /// A health with a reason, which may be empty.
    pub fn new(status: HealthStatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), last_transition_time: None }
    }
}
