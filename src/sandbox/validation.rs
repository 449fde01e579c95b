//! What the server refuses with 422: bad names and labels, missing fields, changes of immutable ones.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;

use super::kinds::Resource;
use super::status::Cause;
use super::store::text;
use super::{crd, custom};

/// One rule for names: its pattern, the longest that fits, and what is said otherwise.
struct NameRule {
    pattern: LazyLock<Option<Regex>>,
    longest: usize,
    message: &'static str,
}

static SUBDOMAIN: NameRule = NameRule {
    pattern: LazyLock::new(|| {
        Regex::new(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$").ok()
    }),
    longest: 253,
    message: "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and \
        must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
        '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
};
static LABEL: NameRule = NameRule {
    pattern: LazyLock::new(|| Regex::new("^[a-z0-9]([-a-z0-9]*[a-z0-9])?$").ok()),
    longest: 63,
    message: "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start \
        and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
        '[a-z0-9]([-a-z0-9]*[a-z0-9])?')",
};
static LABEL_1035: NameRule = NameRule {
    pattern: LazyLock::new(|| Regex::new("^[a-z]([-a-z0-9]*[a-z0-9])?$").ok()),
    longest: 63,
    message: "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic \
        character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for \
        validation is '[a-z]([-a-z0-9]*[a-z0-9])?')",
};
static LABEL_VALUE: NameRule = NameRule {
    pattern: LazyLock::new(|| Regex::new("^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$").ok()),
    longest: 63,
    message: "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must \
        start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for \
        validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
};
static QUALIFIED_NAME: NameRule = NameRule {
    pattern: LazyLock::new(|| Regex::new("^([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$").ok()),
    longest: 63,
    message: "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an \
        alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
        '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
};
static CONFIG_KEY: NameRule = NameRule {
    pattern: LazyLock::new(|| Regex::new("^[-._a-zA-Z0-9]+$").ok()),
    longest: 253,
    message: "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or \
        'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')",
};

impl NameRule {
    fn check(&self, field: &str, name: &str, causes: &mut Vec<Cause>) {
        let shown = Value::from(name);
        if name.len() > self.longest {
            causes.push(Cause::invalid(
                field,
                &shown,
                &format!("must be no more than {} characters", self.longest),
            ));
        }
        if self
            .pattern
            .as_ref()
            .is_some_and(|pattern| !pattern.is_match(name))
        {
            causes.push(Cause::invalid(field, &shown, self.message));
        }
    }
}

/// What is wrong with a new object.
pub fn create(resource: &Resource, object: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let name = text(object, "/metadata/name");
    if name.is_empty() {
        causes.push(Cause::required(
            "metadata.name",
            "name or generateName is required",
        ));
    } else {
        check_name(resource, name, &mut causes);
    }
    metadata(object, &mut causes);
    contents(resource, object, &mut causes);
    causes
}

/// What is wrong with a change of an object.
pub fn update(resource: &Resource, subresource: &str, live: &Value, object: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    metadata(object, &mut causes);
    finalizers(live, object, &mut causes);
    if subresource == "status" {
        if let Some(custom) = &resource.custom {
            causes.extend(custom::validate(object, &custom.schema));
        }
        return causes;
    }
    contents(resource, object, &mut causes);
    immutable(resource, live, object, &mut causes);
    causes
}

fn check_name(resource: &Resource, name: &str, causes: &mut Vec<Cause>) {
    let field = "metadata.name";
    match (resource.group.as_str(), resource.kind.as_str()) {
        ("", "Namespace") => LABEL.check(field, name, causes),
        ("", "Service") => LABEL_1035.check(field, name, causes),
        ("rbac.authorization.k8s.io", _) => {
            if let Some(found) = ["/", "%"].iter().find(|text| name.contains(**text)) {
                causes.push(Cause::invalid(
                    field,
                    &Value::from(name),
                    &format!("may not contain '{found}'"),
                ));
            }
            if matches!(name, "." | "..") {
                causes.push(Cause::invalid(
                    field,
                    &Value::from(name),
                    &format!("may not be '{name}'"),
                ));
            }
        }
        // Its own rule (plural.group) says it better.
        ("apiextensions.k8s.io", "CustomResourceDefinition") => {}
        _ => SUBDOMAIN.check(field, name, causes),
    }
}

fn metadata(object: &Value, causes: &mut Vec<Cause>) {
    let entries = |field: &str| {
        object
            .pointer("/metadata")
            .and_then(|m| m.get(field))
            .and_then(Value::as_object)
    };
    for (key, value) in entries("labels").into_iter().flatten() {
        qualified("metadata.labels", key, causes);
        LABEL_VALUE.check("metadata.labels", value.as_str().unwrap_or_default(), causes);
    }
    let mut size = 0usize;
    for (key, value) in entries("annotations").into_iter().flatten() {
        qualified("metadata.annotations", &key.to_lowercase(), causes);
        size += key.len() + value.as_str().map_or(0, str::len);
    }
    if size > 256 << 10 {
        causes.push(Cause {
            reason: "FieldValueTooLong",
            message: "Too long: may not be more than 262144 bytes".to_owned(),
            field: "metadata.annotations".to_owned(),
        });
    }
    let owners = object
        .pointer("/metadata/ownerReferences")
        .and_then(Value::as_array);
    for (index, owner) in owners.into_iter().flatten().enumerate() {
        for field in ["apiVersion", "kind", "name", "uid"] {
            if text(owner, &format!("/{field}")).is_empty() {
                let path = format!("metadata.ownerReferences[{index}].{field}");
                let detail = if field == "apiVersion" {
                    "version must not be empty"
                } else {
                    "must not be empty"
                };
                causes.push(Cause::invalid(path, &Value::from(""), detail));
            }
        }
    }
}

fn qualified(field: &str, key: &str, causes: &mut Vec<Cause>) {
    let name = match key.split_once('/') {
        None => key,
        Some((prefix, name)) => {
            let mut found = Vec::new();
            SUBDOMAIN.check(field, prefix, &mut found);
            causes.extend(found.into_iter().map(|_| {
                Cause::invalid(
                    field,
                    &Value::from(key),
                    &format!("prefix part {}", SUBDOMAIN.message),
                )
            }));
            name
        }
    };
    if name.is_empty() {
        causes.push(Cause::invalid(
            field,
            &Value::from(key),
            "name part must be non-empty",
        ));
    }
    let mut found = Vec::new();
    QUALIFIED_NAME.check(field, name, &mut found);
    causes.extend(
        found
            .into_iter()
            .map(|_| Cause::invalid(field, &Value::from(key), QUALIFIED_NAME.message)),
    );
}

fn finalizers(live: &Value, object: &Value, causes: &mut Vec<Cause>) {
    if text(live, "/metadata/deletionTimestamp").is_empty() {
        return;
    }
    let list = |value: &Value| {
        value
            .pointer("/metadata/finalizers")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default()
    };
    let known = list(live);
    let added: Vec<Value> = list(object)
        .into_iter()
        .filter(|finalizer| !known.contains(finalizer))
        .collect();
    if !added.is_empty() {
        let shown: Vec<String> = added.iter().map(Value::to_string).collect();
        let detail = format!(
            "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
            shown.join(", ")
        );
        causes.push(Cause::forbidden("metadata.finalizers", &detail));
    }
}

/// Rules for the contents of a kind that hold for every state.
fn contents(resource: &Resource, object: &Value, causes: &mut Vec<Cause>) {
    if let Some(custom) = &resource.custom {
        causes.extend(custom::validate(object, &custom.schema));
        return;
    }
    match (resource.group.as_str(), resource.kind.as_str()) {
        ("apiextensions.k8s.io", "CustomResourceDefinition") => causes.extend(crd::validate_crd(object)),
        ("", "ConfigMap") => keys(object, &["data", "binaryData"], causes),
        ("", "Secret") => keys(object, &["data"], causes),
        ("", "Pod") => pod_spec(object.pointer("/spec"), "spec", causes),
        ("", "Service") => service(object, causes),
        ("apps", "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet") => workload(object, causes),
        ("batch", "Job") => pod_spec(
            object.pointer("/spec/template/spec"),
            "spec.template.spec",
            causes,
        ),
        ("batch", "CronJob") => {
            if text(object, "/spec/schedule").is_empty() {
                causes.push(Cause::required("spec.schedule", ""));
            }
            let path = "spec.jobTemplate.spec.template.spec";
            pod_spec(
                object.pointer("/spec/jobTemplate/spec/template/spec"),
                path,
                causes,
            );
        }
        _ => {}
    }
}

fn keys(object: &Value, fields: &[&str], causes: &mut Vec<Cause>) {
    for field in fields {
        for key in object
            .get(*field)
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
            .map(|(key, _)| key)
        {
            CONFIG_KEY.check(&format!("{field}[{key}]"), key, causes);
        }
    }
}

fn service(object: &Value, causes: &mut Vec<Cause>) {
    let ports = object
        .pointer("/spec/ports")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    let headless = text(object, "/spec/clusterIP") == "None";
    if ports.is_empty() && !headless && text(object, "/spec/type") != "ExternalName" {
        causes.push(Cause::required("spec.ports", ""));
    }
    for (index, port) in ports.iter().enumerate() {
        if ports.len() > 1 && text(port, "/name").is_empty() {
            causes.push(Cause::required(format!("spec.ports[{index}].name"), ""));
        }
        let number = port.get("port").and_then(Value::as_i64).unwrap_or(0);
        if !(1..=65535).contains(&number) {
            let field = format!("spec.ports[{index}].port");
            causes.push(Cause::invalid(
                field,
                &Value::from(number),
                "must be between 1 and 65535, inclusive",
            ));
        }
    }
}

fn workload(object: &Value, causes: &mut Vec<Cause>) {
    if let Some(replicas) = object
        .pointer("/spec/replicas")
        .and_then(Value::as_i64)
        .filter(|n| *n < 0)
    {
        let detail = "must be greater than or equal to 0";
        causes.push(Cause::invalid("spec.replicas", &Value::from(replicas), detail));
    }
    let labels = object
        .pointer("/spec/template/metadata/labels")
        .cloned()
        .unwrap_or(Value::Null);
    match object.pointer("/spec/selector") {
        None | Some(Value::Null) => {
            causes.push(Cause::required("spec.selector", ""));
            let detail = "`selector` does not match template `labels`";
            causes.push(Cause::invalid("spec.template.metadata.labels", &labels, detail));
        }
        Some(selector) => {
            let wanted = selector.get("matchLabels").and_then(Value::as_object);
            let fits = |(key, value): (&String, &Value)| labels.get(key) == Some(value);
            if !wanted.into_iter().flatten().all(fits) {
                let detail = "`selector` does not match template `labels`";
                causes.push(Cause::invalid("spec.template.metadata.labels", &labels, detail));
            }
        }
    }
    pod_spec(
        object.pointer("/spec/template/spec"),
        "spec.template.spec",
        causes,
    );
}

fn pod_spec(spec: Option<&Value>, path: &str, causes: &mut Vec<Cause>) {
    let containers = spec
        .and_then(|spec| spec.get("containers"))
        .and_then(Value::as_array);
    let Some(containers) = containers.filter(|containers| !containers.is_empty()) else {
        causes.push(Cause::required(format!("{path}.containers"), ""));
        return;
    };
    let mut seen: Vec<&str> = Vec::new();
    for (index, container) in containers.iter().enumerate() {
        let at = |field: &str| format!("{path}.containers[{index}].{field}");
        let name = text(container, "/name");
        if name.is_empty() {
            causes.push(Cause::required(at("name"), ""));
        } else {
            LABEL.check(&at("name"), name, causes);
            if seen.contains(&name) {
                causes.push(Cause {
                    reason: "FieldValueDuplicate",
                    message: format!("Duplicate value: {name:?}"),
                    field: at("name"),
                });
            }
            seen.push(name);
        }
        if text(container, "/image").is_empty() {
            causes.push(Cause::required(at("image"), ""));
        }
    }
}

/// Rules for what may change.
fn immutable(resource: &Resource, live: &Value, object: &Value, causes: &mut Vec<Cause>) {
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
                let mut spec = value
                    .get("spec")
                    .and_then(Value::as_object)
                    .cloned()
                    .unwrap_or_default();
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
            for field in ["completions", "selector", "template", "completionMode"] {
                if field == "template" && live.pointer("/spec/suspend") == Some(&Value::Bool(true)) {
                    continue;
                }
                fixed(
                    causes,
                    &format!("/spec/{field}"),
                    &format!("spec.{field}"),
                    "field is immutable",
                );
            }
        }
        ("", "Service") => {
            let (old, new) = (text(live, "/spec/clusterIP"), text(object, "/spec/clusterIP"));
            if !old.is_empty() && old != new && text(object, "/spec/type") != "ExternalName" {
                let value = object.pointer("/spec/clusterIPs").cloned().unwrap_or(Value::Null);
                causes.push(Cause::invalid(
                    "spec.clusterIPs[0]",
                    &value,
                    "may not change once set",
                ));
            }
        }
        ("", "Secret") => {
            fixed(causes, "/type", "type", "field is immutable");
            frozen(live, object, &["data"], causes);
        }
        ("", "ConfigMap") => frozen(live, object, &["data", "binaryData"], causes),
        ("", "PersistentVolumeClaim") => {
            let rest = |value: &Value| {
                let mut spec = value
                    .get("spec")
                    .and_then(Value::as_object)
                    .cloned()
                    .unwrap_or_default();
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
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => {
            fixed(causes, "/roleRef", "roleRef", "cannot change roleRef");
        }
        ("storage.k8s.io", "StorageClass") => {
            for field in ["parameters", "provisioner", "reclaimPolicy"] {
                if changed(&format!("/{field}")) {
                    causes.push(Cause::forbidden(
                        field,
                        &format!("updates to {field} are forbidden."),
                    ));
                }
            }
            fixed(
                causes,
                "/volumeBindingMode",
                "volumeBindingMode",
                "field is immutable",
            );
        }
        ("scheduling.k8s.io", "PriorityClass") if changed("/value") => {
            causes.push(Cause::forbidden("value", "may not be changed in an update."));
        }
        ("networking.k8s.io", "IngressClass") => {
            fixed(
                causes,
                "/spec/controller",
                "spec.controller",
                "field is immutable",
            );
        }
        ("apiextensions.k8s.io", "CustomResourceDefinition") => {
            fixed(causes, "/spec/group", "spec.group", "field is immutable");
            fixed(
                causes,
                "/spec/names/plural",
                "spec.names.plural",
                "field is immutable",
            );
            if crd::is_established(live) {
                fixed(causes, "/spec/scope", "spec.scope", "field is immutable");
                fixed(
                    causes,
                    "/spec/names/kind",
                    "spec.names.kind",
                    "field is immutable",
                );
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
            for field in [
                "activeDeadlineSeconds",
                "tolerations",
                "terminationGracePeriodSeconds",
                "schedulingGates",
            ] {
                spec.shift_remove(field);
            }
            // Binding is an update in the sandbox.
            if live.pointer("/spec/nodeName").is_none() {
                spec.shift_remove("nodeName");
            }
        }
        spec
    };
    if rest(live) != rest(object) {
        causes.push(Cause::forbidden(
            "spec",
            "pod updates may not change fields other than `spec.containers[*].image`, \
             `spec.initContainers[*].image`, `spec.activeDeadlineSeconds`, `spec.tolerations` (only additions to \
             existing tolerations), `spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was \
             previously negative)",
        ));
    }
}
