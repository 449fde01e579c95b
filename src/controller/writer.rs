//! Writing to Applications: status, operation, refresh annotations, finalizers.
//!
//! A status is written as the JSON merge patch between what is there and what should be, and not at all when that is
//! empty. Where the CRD has a status subresource, status goes there and the rest to the main resource; where it has
//! none, as Argo CD's, one request carries both.

use std::{sync::Arc, time::Duration};

use kube::{
    Api, Client,
    api::{Patch, PatchParams},
    core::{ApiResource, DynamicObject},
};
use serde_json::{Map, Value, json};

use super::applications::{ApplicationKey, Applications, Asks, Own};
use crate::{
    api::{ApplicationCondition, ApplicationStatus, Operation, OperationPhase, Time, conditions, names},
    cluster::ClusterError,
};

/// What happens to the field `operation`.
#[derive(Clone, Debug, PartialEq)]
pub enum OperationChange {
    /// It stays as it is.
    Keep,
    /// It is set; the write fails when anybody changed the Application since `resource_version`.
    Set {
        /// The operation.
        operation: Box<Operation>,
        /// The version in which no operation was set.
        resource_version: String,
    },
    /// It is removed, because that operation has ended; the write fails when anybody changed the Application since
    /// `resource_version`.
    Clear {
        /// The version in which it still was the one that has ended.
        resource_version: String,
    },
}

/// Told of what others asked for, where the answer to a write shows it before the watch does.
pub type Asked = Arc<dyn Fn(ApplicationKey, Asks) + Send + Sync>;

/// Writes Applications.
pub struct Writer {
    client: Client,
    applications: Arc<Applications>,
    asked: Asked,
    resource: ApiResource,
    limit: Duration,
}

impl Writer {
    /// A writer that tells `applications` of each answer, and `asked` of what is new in it. `limit` is the time for
    /// one request.
    pub fn new(client: Client, applications: Arc<Applications>, asked: Asked, limit: Duration) -> Self {
        Self { client, applications, asked, resource: resource("Application", "applications"), limit }
    }

    /// Brings status and operation to what they should be. Returns whether anything was written.
    ///
    /// # Errors
    /// When the API server refuses or does not answer; 409 when an operation was to be set or removed and somebody was
    /// quicker.
    pub async fn write(
        &self,
        key: &ApplicationKey,
        old: &ApplicationStatus,
        new: &ApplicationStatus,
        operation: OperationChange,
        status_subresource: bool,
    ) -> Result<bool, ClusterError> {
        let status = merge_patch(&json_of(old), &json_of(new));
        let mut main = Map::new();
        let own = if operation == OperationChange::Keep { Own::Status } else { Own::Operation };
        match operation {
            OperationChange::Keep => {}
            OperationChange::Set { operation, resource_version } => {
                main.insert("operation".to_owned(), json_of(&*operation));
                main.insert("metadata".to_owned(), json!({ "resourceVersion": resource_version }));
            }
            OperationChange::Clear { resource_version } => {
                main.insert("operation".to_owned(), Value::Null);
                main.insert("metadata".to_owned(), json!({ "resourceVersion": resource_version }));
            }
        }
        let mut written = false;
        if status_subresource {
            // An operation that is on record is removed before its end is, so that a crash in between has its end told
            // later. One that is not would be lost by that: it is asked for until its end is on record.
            let clears = main.get("operation") == Some(&Value::Null);
            let on_record = old.operation_state.as_ref().is_some_and(|state| !state.phase.is_completed());
            if (!clears || on_record) && !main.is_empty() {
                self.patch(key, &Value::Object(std::mem::take(&mut main)), None, own).await?;
                written = true;
            }
            if let Some(status) = status {
                self.patch(key, &json!({ "status": status }), Some("status"), Own::Status).await?;
                written = true;
            }
            if !main.is_empty() {
                self.patch(key, &Value::Object(main), None, own).await?;
                written = true;
            }
            return Ok(written);
        }
        if let Some(status) = status {
            main.insert("status".to_owned(), status);
        }
        if !main.is_empty() {
            self.patch_sized(key, main, own).await?;
            written = true;
        }
        Ok(written)
    }

    /// Reads an Application anew, where an answer has shown that it is not as the watch said last.
    ///
    /// # Errors
    /// As [`Writer::write`].
    pub async fn reread(&self, key: &ApplicationKey) -> Result<(), ClusterError> {
        let api = self.api(key);
        self.send(key, "get", Own::Status, api.get(&key.name)).await
    }

    /// Removes the refresh annotations, unless a later request (or a more thorough one) has come in meanwhile.
    ///
    /// # Errors
    /// As [`Writer::write`].
    pub async fn refreshed(
        &self,
        key: &ApplicationKey,
        refresh: &str,
        timestamp: Option<&str>,
    ) -> Result<(), ClusterError> {
        let pointer = |annotation: &str| format!("/metadata/annotations/{}", annotation.replace('/', "~1"));
        let mut operations = Vec::new();
        if let Some(timestamp) = timestamp {
            let path = pointer(names::ANNOTATION_REFRESH_TIMESTAMP);
            operations.push(json!({ "op": "test", "path": path, "value": timestamp }));
            operations.push(json!({ "op": "remove", "path": path }));
        }
        let path = pointer(names::ANNOTATION_REFRESH);
        operations.push(json!({ "op": "test", "path": path, "value": refresh }));
        operations.push(json!({ "op": "remove", "path": path }));
        let patch: json_patch::Patch = serde_json::from_value(Value::Array(operations)).unwrap_or_default();
        let params = PatchParams::default();
        let api = self.api(key);
        match self
            .send(key, "patch", Own::Refresh, api.patch(&key.name, &params, &Patch::Json::<()>(patch)))
            .await
        {
            // The test failed or the annotation is gone: then the next version of the object says what to do.
            Err(ClusterError::Refused { code: 422 | 400 | 404, .. }) => Ok(()),
            result => result,
        }
    }

    /// Changes finalizers, provided that the list still is what it was.
    ///
    /// # Errors
    /// As [`Writer::write`]; 422 when somebody changed the finalizers meanwhile.
    pub async fn set_finalizers(
        &self,
        key: &ApplicationKey,
        before: &[String],
        after: &[String],
    ) -> Result<(), ClusterError> {
        let patch = if before.is_empty() {
            json!([{ "op": "add", "path": "/metadata/finalizers", "value": after }])
        } else {
            json!([
                { "op": "test", "path": "/metadata/finalizers", "value": before },
                { "op": "replace", "path": "/metadata/finalizers", "value": after },
            ])
        };
        let patch: json_patch::Patch = serde_json::from_value(patch).unwrap_or_default();
        let params = PatchParams::default();
        let api = self.api(key);
        match self
            .send(key, "patch", Own::Finalizers, api.patch(&key.name, &params, &Patch::Json::<()>(patch)))
            .await
        {
            Err(error) if error.is_not_found() => Ok(()),
            result => result,
        }
    }

    /// Puts one condition on an Application that cannot even be read.
    ///
    /// # Errors
    /// As [`Writer::write`].
    pub async fn write_condition(
        &self,
        key: &ApplicationKey,
        condition: ApplicationCondition,
    ) -> Result<(), ClusterError> {
        let conditions = conditions::set(&[], &[], vec![condition], Time::now());
        self.patch(key, &json!({ "status": { "conditions": conditions } }), None, Own::Status).await
    }

    fn api(&self, key: &ApplicationKey) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &key.namespace, &self.resource)
    }

    /// Where the API server finds an Application too large, a condition says so. An operation that ends does so all the same,
    /// without its outcomes; what comes before that must not go on as if it were on record.
    async fn patch_sized(
        &self,
        key: &ApplicationKey,
        mut patch: Map<String, Value>,
        own: Own,
    ) -> Result<(), ClusterError> {
        match self.patch(key, &Value::Object(patch.clone()), None, own).await {
            Err(error) if error.is_too_large() => {
                let text = format!("the Application is too large: {error}; split it");
                let condition = ApplicationCondition::new(names::CONDITION_UNKNOWN_ERROR, &text);
                let conditions = conditions::set(&[], &[], vec![condition], Time::now());
                if patch.get("operation") != Some(&Value::Null) {
                    let status = json!({ "status": { "conditions": conditions } });
                    self.patch(key, &status, None, Own::Status).await?;
                    return Err(error);
                }
                let state = json!({
                    "phase": OperationPhase::Error, "message": text, "finishedAt": Time::now(), "syncResult": null,
                });
                let status = json!({ "conditions": conditions, "operationState": state });
                patch.insert("status".to_owned(), status);
                self.patch(key, &Value::Object(patch), None, own).await
            }
            result => result,
        }
    }

    async fn patch(
        &self,
        key: &ApplicationKey,
        patch: &Value,
        subresource: Option<&'static str>,
        own: Own,
    ) -> Result<(), ClusterError> {
        let api = self.api(key);
        let params = PatchParams::default();
        let patch = Patch::Merge(patch);
        match subresource {
            Some(_) => self.send(key, "patch", own, api.patch_status(&key.name, &params, &patch)).await,
            None => self.send(key, "patch", own, api.patch(&key.name, &params, &patch)).await,
        }
    }

    async fn send(
        &self,
        key: &ApplicationKey,
        action: &'static str,
        own: Own,
        request: impl Future<Output = Result<DynamicObject, kube::Error>>,
    ) -> Result<(), ClusterError> {
        let object = format!("Application {key}");
        match tokio::time::timeout(self.limit, request).await {
            Ok(Ok(mut application)) => {
                application.metadata.managed_fields = None;
                if let Ok(value) = serde_json::to_value(application)
                    && let Some((key, asks)) = self.applications.answered(value, own)
                {
                    (self.asked)(key, asks);
                }
                Ok(())
            }
            Ok(Err(error)) => Err(ClusterError::from_kube(error, action, object, false)),
            Err(_) => Err(ClusterError::Timeout { action, object, limit: self.limit }),
        }
    }
}

/// What the client needs to address one of Argo CD's kinds.
pub fn resource(kind: &str, plural: &str) -> ApiResource {
    ApiResource {
        group: names::GROUP.to_owned(),
        version: names::VERSION.to_owned(),
        api_version: names::API_VERSION.to_owned(),
        kind: kind.to_owned(),
        plural: plural.to_owned(),
    }
}

fn json_of<T: serde::Serialize>(value: &T) -> Value {
    serde_json::to_value(value).unwrap_or(Value::Null)
}

/// The JSON merge patch (RFC 7386) that turns `old` into `new`; `None` when they are equal.
fn merge_patch(old: &Value, new: &Value) -> Option<Value> {
    if old == new {
        return None;
    }
    let (Value::Object(old), Value::Object(new)) = (old, new) else { return Some(new.clone()) };
    let mut patch = Map::new();
    for name in old.keys().filter(|name| !new.contains_key(*name)) {
        patch.insert(name.clone(), Value::Null);
    }
    for (name, value) in new {
        match old.get(name) {
            Some(before) => {
                if let Some(change) = merge_patch(before, value) {
                    patch.insert(name.clone(), change);
                }
            }
            None => {
                patch.insert(name.clone(), value.clone());
            }
        }
    }
    (!patch.is_empty()).then_some(Value::Object(patch))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_turns_the_old_into_the_new() {
        let old = json!({ "a": 1, "b": { "c": 2, "d": 3 }, "list": [1, 2], "gone": true });
        let new = json!({ "a": 1, "b": { "c": 2, "d": 4 }, "list": [2], "new": {} });
        let patch = merge_patch(&old, &new).unwrap();
        assert_eq!(patch, json!({ "gone": null, "b": { "d": 4 }, "list": [2], "new": {} }));
        let mut patched = old;
        json_patch::merge(&mut patched, &patch);
        assert_eq!(patched, new);
    }

    #[test]
    fn equal_values_need_no_patch() {
        assert_eq!(merge_patch(&json!({ "a": [1] }), &json!({ "a": [1] })), None);
    }
}
