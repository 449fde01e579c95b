//! Reviews: questions about access. The sandbox has no authorization, so the answer is always yes.

use http::StatusCode;
use serde_json::{Value, json};

use super::super::output;
use super::super::status::ApiError;
use super::super::store::text;
use super::{Answer, Call, Handler};

impl Handler {
    pub(super) fn review(&self, call: &Call<'_>) -> Answer {
        let mut object = call.body()?;
        let status = match call.resource.kind.as_str() {
            "SelfSubjectReview" => {
                json!({"userInfo": {"username": "sandbox", "groups": ["system:masters", "system:authenticated"]}})
            }
            "TokenReview" => json!({"authenticated": true, "user": {"username": "sandbox"}}),
            "SelfSubjectRulesReview" => json!({
                "incomplete": false,
                "nonResourceRules": [{"nonResourceURLs": ["*"], "verbs": ["*"]}],
                "resourceRules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}],
            }),
            "Binding" => return self.bind(call, &object),
            _ => json!({"allowed": true, "reason": "the sandbox has no authorization"}),
        };
        if let Some(map) = object.as_object_mut() {
            map.insert("kind".to_owned(), Value::from(call.resource.kind.as_str()));
            map.insert("apiVersion".to_owned(), Value::from(call.resource.api_version()));
            map.entry("metadata").or_insert_with(|| json!({"creationTimestamp": null}));
            map.insert("status".to_owned(), status);
        }
        Ok(output::json(StatusCode::CREATED, &object))
    }

    /// The old way to give a Pod its node.
    fn bind(&self, call: &Call<'_>, binding: &Value) -> Answer {
        let pods = self.store.lock().registry.resource("", "v1", "pods");
        let resource = pods.ok_or_else(ApiError::no_such_path)?;
        let options = call.write_options()?;
        let node = text(binding, "/target/name").to_owned();
        let name = text(binding, "/metadata/name");
        self.store.update_in(&resource, "", &call.target.namespace, name, &options, |live| {
            let mut pod = live.clone();
            if let Some(spec) = pod.get_mut("spec").and_then(Value::as_object_mut) {
                spec.insert("nodeName".to_owned(), Value::from(node));
            }
            Ok(pod)
        })?;
        let status =
            json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201});
        Ok(output::json(StatusCode::CREATED, &status))
    }
}
