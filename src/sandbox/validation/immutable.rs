//! What of an object cannot change once it is there.

use serde_json::{Value, json};

use super::super::crd;
use super::super::kinds::Resource;
use super::super::status::Cause;
use super::super::store::text;

/// Rules for what may change.
pub(super) fn immutable(resource: &Resource, live: &Value, object: &Value, causes: &mut Vec<Cause>) {
    let changed = |pointer: &str| live.pointer(pointer) != object.pointer(pointer);
    let fixed = |causes: &mut Vec<Cause>, pointer: &str, field: &str, detail: &str| {
        if changed(pointer) {
            let value = object.pointer(pointer).cloned().unwrap_or(Value::Null);
            causes.push(Cause::invalid(field, &value, detail));
        }
    };
    match (resource.group.as_str(), resource.kind.as_str()) {
        ("apps", "Deployment" | "ReplicaSet" | "DaemonSet") => {
            fixed(causes, "/spec/selector", "spec.selector", "field is immutable");
        }
        ("apps", "StatefulSet") => {
            const FREE: &[&str] = &[
                "replicas",
                "ordinals",
                "template",
                "updateStrategy",
                "revisionHistoryLimit",
                "persistentVolumeClaimRetentionPolicy",
                "minReadySeconds",
            ];
            let rest = |value: &Value| {
                let mut spec = value.get("spec").and_then(Value::as_object).cloned().unwrap_or_default();
                spec.retain(|field, _| !FREE.contains(&field.as_str()));
                spec
            };
            if rest(live) != rest(object) {
                causes.push(Cause::forbidden(
                    "spec",
                    "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', \
                     'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and \
                     'minReadySeconds' are forbidden",
                ));
            }
        }
        ("batch", "Job") => {
            let rest = |value: &Value| {
                let mut template = value.pointer("/spec/template").cloned().unwrap_or_default();
                if live.pointer("/spec/suspend") == Some(&Value::Bool(true)) {
                    // Where a Job runs is settled when it starts.
                    for (part, fields) in [
                        ("spec", &["nodeSelector", "tolerations", "affinity", "schedulingGates"] as &[_]),
                        ("metadata", &["labels", "annotations"]),
                    ] {
                        let part = template.get_mut(part).and_then(Value::as_object_mut);
                        if let Some(part) = part {
                            part.retain(|field, _| !fields.contains(&field.as_str()));
                        }
                    }
                }
                template
            };
            if rest(live) != rest(object) {
                let value = object.pointer("/spec/template/spec").cloned().unwrap_or_default();
                causes.push(Cause::invalid("spec.template.spec", &value, "field is immutable"));
            }
            for field in ["completions", "selector", "completionMode"] {
                fixed(causes, &format!("/spec/{field}"), &format!("spec.{field}"), "field is immutable");
            }
        }
        ("", "Service") => {
            let (old, new) = (text(live, "/spec/clusterIP"), text(object, "/spec/clusterIP"));
            if !old.is_empty() && old != new && text(object, "/spec/type") != "ExternalName" {
                let value = object.pointer("/spec/clusterIPs").cloned().unwrap_or(Value::Null);
                causes.push(Cause::invalid("spec.clusterIPs[0]", &value, "may not change once set"));
            }
        }
        ("", "Secret") => {
            fixed(causes, "/type", "type", "field is immutable");
            frozen(live, object, &["data"], causes);
        }
        ("", "ConfigMap") => frozen(live, object, &["data", "binaryData"], causes),
        ("", "PersistentVolumeClaim") => {
            let rest = |value: &Value| {
                let mut spec = value.get("spec").and_then(Value::as_object).cloned().unwrap_or_default();
                spec.retain(|field, _| !matches!(field.as_str(), "resources" | "volumeAttributesClassName"));
                if value.pointer("/spec/volumeName").is_some() && live.pointer("/spec/volumeName").is_none() {
                    spec.shift_remove("volumeName");
                }
                spec
            };
            if rest(live) != rest(object) {
                causes.push(Cause::forbidden(
                    "spec",
                    "spec is immutable after creation except resources.requests and volumeAttributesClassName for \
                     bound claims",
                ));
            }
        }
        ("", "Pod") => pod_immutable(live, object, causes),
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") if changed("/roleRef") => {
            let part = |field: &str| text(object, &format!("/roleRef/{field}")).to_owned();
            let value = json!({"APIGroup": part("apiGroup"), "Kind": part("kind"), "Name": part("name")});
            causes.push(Cause::invalid("roleRef", &value, "cannot change roleRef"));
        }
        ("storage.k8s.io", "StorageClass") => {
            for field in ["parameters", "provisioner", "reclaimPolicy", "volumeBindingMode"] {
                fixed(causes, &format!("/{field}"), field, "field is immutable");
            }
        }
        ("scheduling.k8s.io", "PriorityClass") => {
            if changed("/value") {
                causes.push(Cause::forbidden("value", "may not be changed in an update."));
            }
            fixed(causes, "/preemptionPolicy", "preemptionPolicy", "field is immutable");
        }
        ("networking.k8s.io", "IngressClass") => {
            fixed(causes, "/spec/controller", "spec.controller", "field is immutable");
        }
        ("apiextensions.k8s.io", "CustomResourceDefinition") => {
            fixed(causes, "/spec/group", "spec.group", "field is immutable");
            fixed(causes, "/spec/names/plural", "spec.names.plural", "field is immutable");
            if crd::is_established(live) {
                fixed(causes, "/spec/scope", "spec.scope", "field is immutable");
                fixed(causes, "/spec/names/kind", "spec.names.kind", "field is immutable");
            }
        }
        _ => {}
    }
}

fn frozen(live: &Value, object: &Value, fields: &[&str], causes: &mut Vec<Cause>) {
    let yes = Some(&Value::Bool(true));
    if live.get("immutable") != yes {
        return;
    }
    let detail = "field is immutable when `immutable` is set";
    if object.get("immutable") != yes {
        causes.push(Cause::forbidden("immutable", detail));
    }
    for field in fields {
        if live.get(*field) != object.get(*field) {
            causes.push(Cause::forbidden(*field, detail));
        }
    }
}

fn pod_immutable(live: &Value, object: &Value, causes: &mut Vec<Cause>) {
    let rest = |value: &Value| {
        let mut spec = value.get("spec").cloned().unwrap_or_default();
        for list in ["containers", "initContainers"] {
            let containers = spec.get_mut(list).and_then(Value::as_array_mut);
            for container in containers.into_iter().flatten().filter_map(Value::as_object_mut) {
                container.shift_remove("image");
            }
        }
        if let Some(spec) = spec.as_object_mut() {
            for field in
                ["activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds", "schedulingGates"]
            {
                spec.shift_remove(field);
            }
            // Binding is an update in the sandbox.
            if live.pointer("/spec/nodeName").is_none() {
                spec.shift_remove("nodeName");
            }
        }
        spec
    };
    let count =
        |value: &Value| value.pointer("/spec/containers").and_then(Value::as_array).map_or(0, Vec::len);
    if count(live) != count(object) {
        causes.push(Cause::forbidden("spec.containers", "pod updates may not add or remove containers"));
    } else if rest(live) != rest(object) {
        causes.push(Cause::forbidden(
            "spec",
            "pod updates may not change fields other than \
             `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` \
             (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if \
             it was previously negative)",
        ));
    }
}
