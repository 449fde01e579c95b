//! `Validate=false`: what of an object the API server knows.
//!
//! A server-side apply refuses fields that are not in a kind's schema, whatever the field validation says. A write of
//! another kind drops them, so a dry run of one shows which they are.

use kube::api::{Patch, PatchParams, PostParams, ValidationDirective};
use serde_json::Value;

use super::{Cluster, ClusterError, write::dynamic};
use crate::{
    object::Object,
    project::{Apply, Permitted},
};

/// How deep values are walked.
const MAX_DEPTH: usize = 128;

impl Cluster {
    /// The object without the fields that the API server does not know; `None` when it knows all of them.
    ///
    /// # Errors
    /// When the API server refuses the object as it is, or does not answer.
    pub(super) async fn without_unknown_fields(
        &self,
        apply: &Permitted<Apply>,
    ) -> Result<Option<Value>, ClusterError> {
        let object = &apply.write().object;
        let (key, api) = self.target(apply)?;
        let manager = Some(self.field_manager.to_owned());
        let params = PatchParams {
            dry_run: true,
            field_manager: manager.clone(),
            field_validation: Some(ValidationDirective::Ignore),
            ..PatchParams::default()
        };
        let merge = Patch::Merge(object.value());
        let merged = api.patch(&key.name, &params, &merge);
        let answer = match self.write("validate", &key, merged).await {
            Err(error) if error.is_not_found() => {
                let params = PostParams { dry_run: true, field_manager: manager };
                let new = dynamic(object.value().clone(), "validate", &key)?;
                self.write("validate", &key, api.create(&params, &new)).await?
            }
            answer => answer?,
        };
        let answer = self.object(answer, &object.gvk(), "validate", &key)?;
        let known = known(object, &answer);
        Ok((known != *object.value()).then_some(known))
    }
}

/// What of a declared object is in the API server's answer. `stringData` never is: it becomes `data`.
fn known(declared: &Object, answer: &Object) -> Value {
    let mut known = declared.value().clone();
    if let (Value::Object(fields), Value::Object(found)) = (&mut known, answer.value()) {
        let is_kept = |name: &str| name == "stringData" && declared.kind() == "Secret";
        fields.retain(|name, _| is_kept(name) || found.contains_key(name));
        for (name, value) in fields.iter_mut() {
            if let Some(found) = found.get(name) {
                keep(value, found, 1);
            }
        }
    }
    known
}

fn keep(declared: &mut Value, found: &Value, depth: usize) {
    if depth > MAX_DEPTH {
        return;
    }
    match (declared, found) {
        (Value::Object(declared), Value::Object(found)) => {
            declared.retain(|name, _| found.contains_key(name));
            for (name, value) in declared.iter_mut() {
                if let Some(found) = found.get(name) {
                    keep(value, found, depth + 1);
                }
            }
        }
        (Value::Array(declared), Value::Array(found)) if declared.len() == found.len() => {
            for (value, found) in declared.iter_mut().zip(found) {
                keep(value, found, depth + 1);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(mut value: Value, kind: &str) -> Object {
        value["apiVersion"] = "v1".into();
        value["kind"] = kind.into();
        value["metadata"] = json!({ "name": "a" });
        Object::from_value(value).unwrap()
    }

    #[test]
    fn what_the_answer_lacks_is_dropped_at_any_depth() {
        let declared = json!({ "spec": { "a": [{ "x": 1, "bogus": 2 }], "wrong": {} }, "more": 1 });
        let answer = json!({ "spec": { "a": [{ "x": 1, "default": 3 }] }, "status": {} });
        let known = known(&object(declared, "Pod"), &object(answer, "Pod"));
        assert_eq!(known["spec"], json!({ "a": [{ "x": 1 }] }));
        assert_eq!(known.get("more"), None);
    }

    #[test]
    fn what_is_only_written_in_another_form_stays() {
        let declared = json!({ "stringData": { "a": "1" }, "bogus": 1 });
        let known = known(&object(declared, "Secret"), &object(json!({ "data": { "a": "MQ==" } }), "Secret"));
        assert_eq!(known["stringData"], json!({ "a": "1" }));
        assert_eq!(known.get("bogus"), None);
    }
}
