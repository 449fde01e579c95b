//! The Kubernetes Events that tell an Application's story.
//!
//! This builds values; the controller sends them. Reasons, messages and names are Argo CD's, so that what filters
//! events today goes on doing so.

use k8s_openapi::{
    api::core::v1::{Event, EventSource, ObjectReference},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
};

use crate::api::{Application, HealthStatus, OperationPhase, OperationState, SyncStatusCode, names};

/// The longest message that the API server takes, in bytes.
const MAX_MESSAGE: usize = 1024;

/// Something that happened to an Application.
#[derive(Clone, Debug, PartialEq)]
pub enum Happening {
    /// The sync status changed.
    SyncStatus {
        /// What it was; `None` before the first comparison.
        from: Option<SyncStatusCode>,
        /// What it is.
        to: SyncStatusCode,
    },
    /// The health changed.
    Health {
        /// What it was; `None` before the first judgement.
        from: Option<HealthStatus>,
        /// What it is.
        to: HealthStatus,
    },
    /// An automated sync began.
    AutomatedSyncStarted {
        /// The commits.
        revisions: Vec<String>,
    },
    /// A sync ended.
    OperationCompleted(Box<OperationState>),
    /// A cascading deletion failed.
    DeletionFailed {
        /// Why.
        message: String,
    },
    /// The Application's objects and the Application itself are gone.
    Deleted,
}

/// Builds the event of something that happened to an Application. `destination_server` is the URL of its cluster.
pub fn event(
    application: &Application,
    happening: &Happening,
    destination_server: &str,
    now: jiff::Timestamp,
) -> Event {
    let (reason, is_failure, message) = describe(happening);
    let name = format!("{}.{:x}", application.name(), now.as_nanosecond());
    let destination = [
        ("dest-server", destination_server),
        ("dest-namespace", application.spec.destination.namespace.as_str()),
    ];
    let annotations = destination.into_iter().filter(|(_, value)| !value.is_empty());
    let time = Some(Time(now));
    Event {
        metadata: ObjectMeta {
            name: Some(name),
            namespace: Some(application.namespace().to_owned()),
            annotations: Some(annotations.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()),
            ..ObjectMeta::default()
        },
        involved_object: ObjectReference {
            api_version: Some(names::API_VERSION.to_owned()),
            kind: Some("Application".to_owned()),
            name: Some(application.name().to_owned()),
            namespace: Some(application.namespace().to_owned()),
            resource_version: application.metadata.resource_version.clone(),
            uid: application.metadata.uid.clone(),
            field_path: None,
        },
        source: Some(EventSource { component: Some(names::EVENT_COMPONENT.to_owned()), host: None }),
        reason: Some(reason.to_owned()),
        message: Some(shorten(message)),
        type_: Some(if is_failure { "Warning" } else { "Normal" }.to_owned()),
        count: Some(1),
        first_timestamp: time.clone(),
        last_timestamp: time,
        ..Event::default()
    }
}

/// Reason, whether it is a failure, and message.
fn describe(happening: &Happening) -> (&'static str, bool, String) {
    match happening {
        Happening::SyncStatus { from, to } => {
            let from = from.map_or("", SyncStatusCode::as_str);
            (names::REASON_RESOURCE_UPDATED, false, format!("Updated sync status: {from} -> {to}"))
        }
        Happening::Health { from, to } => {
            let from = from.as_ref().map_or("", |health| health.status.as_str());
            let why = if to.message.is_empty() { String::new() } else { format!(" ({})", to.message) };
            (
                names::REASON_RESOURCE_UPDATED,
                false,
                format!("Updated health status: {from} -> {}{why}", to.status),
            )
        }
        Happening::AutomatedSyncStarted { revisions } => {
            let message = format!("Initiated automated sync to '{}'", revisions.join(", "));
            (names::REASON_OPERATION_STARTED, false, message)
        }
        Happening::OperationCompleted(state) => completed(state),
        Happening::DeletionFailed { message } => (
            names::REASON_STATUS_REFRESHED,
            true,
            format!("Unable to delete application resources: {message}"),
        ),
        Happening::Deleted => (names::REASON_RESOURCE_DELETED, false, "deleted application".to_owned()),
    }
}

fn completed(state: &OperationState) -> (&'static str, bool, String) {
    let requested = state.operation.sync.as_ref();
    let kind = if requested.is_some_and(|sync| sync.is_selective()) {
        "Partial sync operation"
    } else {
        "Sync operation"
    };
    let synced = state.sync_result.as_ref().map(|result| (result.revision.as_str(), &result.revisions));
    let asked = requested.map(|sync| (sync.revision.as_str(), &sync.revisions));
    let revision = match synced.or(asked) {
        Some((_, revisions)) if !revisions.is_empty() => revisions.join(", "),
        Some((revision, _)) => revision.to_owned(),
        None => String::new(),
    };
    match state.phase {
        OperationPhase::Succeeded => {
            (names::REASON_OPERATION_COMPLETED, false, format!("{kind} to {revision} succeeded"))
        }
        _ => (
            names::REASON_OPERATION_COMPLETED,
            true,
            format!("{kind} to {revision} failed: {}", state.message),
        ),
    }
}

fn shorten(mut message: String) -> String {
    if message.len() > MAX_MESSAGE {
        let ellipsis = "…";
        let mut end = MAX_MESSAGE - ellipsis.len();
        while !message.is_char_boundary(end) {
            end -= 1;
        }
        message.truncate(end);
        message.push_str(ellipsis);
    }
    message
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::HealthStatusCode;

    fn built(happening: &Happening) -> Event {
        let application = Application::from_value(json!({
            "metadata": { "name": "orders", "namespace": "argocd", "uid": "u-1" },
            "spec": { "destination": { "namespace": "shop" } },
        }))
        .unwrap();
        event(&application, happening, "https://c", jiff::Timestamp::from_second(16).unwrap())
    }

    fn told(happening: &Happening) -> (String, String, String) {
        let event = built(happening);
        (event.type_.unwrap(), event.reason.unwrap(), event.message.unwrap())
    }

    fn state(value: serde_json::Value) -> Happening {
        Happening::OperationCompleted(Box::new(serde_json::from_value(value).unwrap()))
    }

    #[test]
    fn an_event_is_about_its_application() {
        let event = built(&Happening::Deleted);
        assert_eq!(event.metadata.name.as_deref(), Some("orders.3b9aca000"));
        assert_eq!(event.metadata.namespace.as_deref(), Some("argocd"));
        assert_eq!(event.involved_object.uid.as_deref(), Some("u-1"));
        let annotations = event.metadata.annotations.unwrap();
        assert_eq!(annotations.get("dest-server").map(String::as_str), Some("https://c"));
        assert_eq!(annotations.get("dest-namespace").map(String::as_str), Some("shop"));
    }

    #[test]
    fn a_changed_status_tells_what_it_was_and_is() {
        let happening =
            Happening::SyncStatus { from: Some(SyncStatusCode::Synced), to: SyncStatusCode::OutOfSync };
        let (kind, reason, message) = told(&happening);
        assert_eq!((kind.as_str(), reason.as_str()), ("Normal", "ResourceUpdated"));
        assert_eq!(message, "Updated sync status: Synced -> OutOfSync");
        let to = HealthStatus::new(HealthStatusCode::Degraded, "Caused by apps/Deployment:shop/orders");
        let message = told(&Happening::Health { from: None, to }).2;
        assert_eq!(message, "Updated health status:  -> Degraded (Caused by apps/Deployment:shop/orders)");
    }

    #[test]
    fn an_operation_that_failed_is_a_warning() {
        let failed = state(json!({
            "phase": "Failed", "message": "one or more objects failed to apply",
            "operation": { "sync": { "resources": [{ "kind": "Job", "name": "a" }] } },
            "syncResult": { "revision": "abc" },
        }));
        let (kind, reason, message) = told(&failed);
        assert_eq!((kind.as_str(), reason.as_str()), ("Warning", "OperationCompleted"));
        assert_eq!(message, "Partial sync operation to abc failed: one or more objects failed to apply");
        let succeeded =
            state(json!({ "phase": "Succeeded", "operation": { "sync": { "revision": "main" } } }));
        assert_eq!(told(&succeeded).2, "Sync operation to main succeeded");
    }

    #[test]
    fn a_long_message_is_cut_where_the_api_server_would_refuse_it() {
        let message = told(&Happening::DeletionFailed { message: "ä".repeat(2000) }).2;
        assert!(message.len() <= MAX_MESSAGE && message.ends_with('…'));
    }
}
