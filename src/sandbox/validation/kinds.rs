//! Rules for the contents of built-in kinds, one function a kind.

use base64::Engine as _;
use serde_json::{Value, json};

use super::super::kinds::Resource;
use super::super::status::Cause;
use super::super::store::text;
use super::names::{CONFIG_KEY, LABEL, SUBDOMAIN};
use super::pods::pod_spec;
use super::{not_negative, one_of, qualified};

/// The most that a ConfigMap or Secret may hold.
const MAX_DATA: usize = 1 << 20;

/// What is wrong with an object of a built-in kind.
pub(super) fn contents(resource: &Resource, object: &Value, causes: &mut Vec<Cause>) {
    match (resource.group.as_str(), resource.kind.as_str()) {
        ("", "ConfigMap") => config_map(object, causes),
        ("", "Secret") => secret(object, causes),
        ("", "Pod") => pod_spec(object.pointer("/spec"), "spec", causes),
        ("", "Service") => service(object, causes),
        ("", "PersistentVolumeClaim") => claim(object, causes),
        ("apps", "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet") => {
            workload(&resource.kind, object, causes);
        }
        ("batch", "Job") => {
            not_negative(object, "/spec/parallelism", "spec.parallelism", causes);
            job_template(object.pointer("/spec/template/spec"), "spec.template.spec", causes);
        }
        ("batch", "CronJob") => cron_job(object, causes),
        ("autoscaling", "HorizontalPodAutoscaler") => autoscaler(object, causes),
        ("policy", "PodDisruptionBudget") => {
            not_negative(object, "/spec/minAvailable", "spec.minAvailable", causes);
            not_negative(object, "/spec/maxUnavailable", "spec.maxUnavailable", causes);
        }
        ("rbac.authorization.k8s.io", "Role" | "ClusterRole") => role(object, &resource.kind, causes),
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => {
            let kinds: &[&str] =
                if resource.namespaced { &["Role", "ClusterRole"] } else { &["ClusterRole"] };
            if !kinds.contains(&text(object, "/roleRef/kind")) {
                let kinds: Vec<String> = kinds.iter().map(|kind| (*kind).to_owned()).collect();
                let kind = Value::from(text(object, "/roleRef/kind"));
                causes.push(Cause::not_supported("roleRef.kind", &kind, &kinds));
            }
            required(object, "/roleRef/name", "roleRef.name", causes);
        }
        ("networking.k8s.io", "Ingress") => ingress(object, causes),
        ("storage.k8s.io", "StorageClass") => required(object, "/provisioner", "provisioner", causes),
        ("scheduling.k8s.io", "PriorityClass") => {
            let value = object.get("value").and_then(Value::as_i64).unwrap_or(0);
            if value > 1_000_000_000 && !text(object, "/metadata/name").starts_with("system-") {
                let detail = "maximum allowed value of a user defined priority is 1000000000";
                causes.push(Cause::forbidden("value", detail));
            }
        }
        _ => {}
    }
}

/// What is wrong with a status.
pub(super) fn status(resource: &Resource, object: &Value, causes: &mut Vec<Cause>) {
    match (resource.group.as_str(), resource.kind.as_str()) {
        ("", "Service") => {
            let ingress = object.pointer("/status/loadBalancer/ingress").and_then(Value::as_array);
            let balanced = text(object, "/spec/type") == "LoadBalancer";
            if ingress.is_some_and(|ingress| !ingress.is_empty()) && !balanced {
                let detail = "may only be used when `spec.type` is 'LoadBalancer'";
                causes.push(Cause::forbidden("status.loadBalancer.ingress", detail));
            }
        }
        ("", "Namespace") if text(object, "/metadata/deletionTimestamp").is_empty() => {
            let phase = text(object, "/status/phase");
            if phase != "Active" {
                let detail = "may only be 'Active' if `deletionTimestamp` is empty";
                causes.push(Cause::invalid("status.Phase", &Value::from(phase), detail));
            }
        }
        _ => {}
    }
}

fn required(object: &Value, pointer: &str, field: &str, causes: &mut Vec<Cause>) {
    if text(object, pointer).is_empty() {
        causes.push(Cause::required(field, ""));
    }
}

fn entries<'a>(object: &'a Value, field: &str) -> impl Iterator<Item = (&'a String, &'a str)> {
    let map = object.get(field).and_then(Value::as_object);
    map.into_iter().flatten().map(|(key, value)| (key, value.as_str().unwrap_or_default()))
}

fn keys(object: &Value, field: &str, causes: &mut Vec<Cause>) {
    for (key, _) in entries(object, field) {
        let at = format!("{field}[{key}]");
        CONFIG_KEY.check(&at, key, causes);
        if matches!(key.as_str(), "." | "..") {
            causes.push(Cause::invalid(at, &Value::from(key.as_str()), &format!("must not be '{key}'")));
        }
    }
}

fn config_map(object: &Value, causes: &mut Vec<Cause>) {
    keys(object, "data", causes);
    keys(object, "binaryData", causes);
    for (key, _) in entries(object, "data") {
        if object.get("binaryData").is_some_and(|binary| binary.get(key).is_some()) {
            let detail = "duplicate of key present in binaryData";
            causes.push(Cause::invalid(format!("data[{key}]"), &Value::from(key.as_str()), detail));
        }
    }
    let size: usize = entries(object, "data").map(|(_, value)| value.len()).sum();
    if size > MAX_DATA {
        causes.push(Cause::too_long("[]", MAX_DATA));
    }
}

fn secret(object: &Value, causes: &mut Vec<Cause>) {
    keys(object, "data", causes);
    // Base64 is a third longer than what it holds.
    let size: usize = entries(object, "data").map(|(_, value)| value.len() / 4 * 3).sum();
    if size > MAX_DATA {
        causes.push(Cause::too_long("data", MAX_DATA));
    }
    let needed: &[&str] = match text(object, "/type") {
        "kubernetes.io/tls" => &["tls.crt", "tls.key"],
        "kubernetes.io/dockerconfigjson" => &[".dockerconfigjson"],
        "kubernetes.io/dockercfg" => &[".dockercfg"],
        "kubernetes.io/ssh-auth" => &["ssh-privatekey"],
        "kubernetes.io/basic-auth" => {
            let has = |key: &str| entries(object, "data").any(|(known, _)| known == key);
            if has("username") || has("password") { &[] } else { &["username", "password"] }
        }
        _ => &[],
    };
    for key in needed {
        let field = format!("data[{key}]");
        match entries(object, "data").find(|(known, _)| known == key) {
            None => causes.push(Cause::required(field, "")),
            Some((_, value)) if key.starts_with(".docker") => {
                let decoded = base64::engine::general_purpose::STANDARD.decode(value).unwrap_or_default();
                if let Err(error) = serde_json::from_slice::<Value>(&decoded) {
                    let shown = Value::from("<secret contents redacted>");
                    causes.push(Cause::invalid(field, &shown, &error.to_string()));
                }
            }
            Some(_) => {}
        }
    }
}

fn service(object: &Value, causes: &mut Vec<Cause>) {
    let ports = object.pointer("/spec/ports").and_then(Value::as_array).cloned().unwrap_or_default();
    let kind = text(object, "/spec/type");
    let headless = text(object, "/spec/clusterIP") == "None";
    if ports.is_empty() && !headless && kind != "ExternalName" {
        causes.push(Cause::required("spec.ports", ""));
    }
    if headless && matches!(kind, "LoadBalancer" | "NodePort") {
        let detail = format!("may not be set to 'None' for {kind} services");
        causes.push(Cause::invalid("spec.clusterIPs[0]", &Value::from("None"), &detail));
    }
    if kind == "ExternalName" {
        let name = text(object, "/spec/externalName");
        if name.is_empty() {
            causes.push(Cause::required("spec.externalName", ""));
        } else {
            SUBDOMAIN.check("spec.externalName", name, causes);
        }
    }
    let range = "must be between 1 and 65535, inclusive";
    let mut names: Vec<&str> = Vec::new();
    for (index, port) in ports.iter().enumerate() {
        let at = |field: &str| format!("spec.ports[{index}].{field}");
        let name = text(port, "/name");
        if name.is_empty() {
            if ports.len() > 1 {
                causes.push(Cause::required(at("name"), ""));
            }
        } else {
            LABEL.check(&at("name"), name, causes);
            if names.contains(&name) {
                causes.push(Cause::duplicate(at("name"), &Value::from(name)));
            }
        }
        names.push(name);
        for field in ["port", "targetPort"] {
            let number = port.get(field).and_then(Value::as_i64);
            if let Some(number) = number.filter(|number| !(1..=65535).contains(number)) {
                causes.push(Cause::invalid(at(field), &Value::from(number), range));
            }
        }
        let target = text(port, "/targetPort");
        if target.chars().any(|character| !character.is_ascii_alphanumeric() && character != '-') {
            let detail = "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)";
            causes.push(Cause::invalid(at("targetPort"), &Value::from(target), detail));
        }
        one_of(port, "/protocol", &at("protocol"), &["SCTP", "TCP", "UDP"], causes);
        let node = port.get("nodePort").and_then(Value::as_i64).unwrap_or(0);
        if node != 0 && kind == "ClusterIP" {
            causes.push(Cause::forbidden(at("nodePort"), "may not be used when `type` is 'ClusterIP'"));
        } else if node != 0 && !(30_000..=32_767).contains(&node) {
            let detail = "provided port is not in the valid range. The range of valid ports is 30000-32767";
            causes.push(Cause::invalid(at("nodePort"), &Value::from(node), detail));
        }
    }
    let identity = |port: &Value| (text(port, "/protocol").to_owned(), port.get("port").cloned());
    for (index, port) in ports.iter().enumerate() {
        if ports.iter().take(index).any(|other| identity(other) == identity(port)) {
            let shown = json!({
                "Name": "", "Protocol": text(port, "/protocol"), "AppProtocol": null,
                "Port": port.get("port"), "TargetPort": 0, "NodePort": 0,
            });
            causes.push(Cause::duplicate(format!("spec.ports[{index}]"), &shown));
        }
    }
    let kinds = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
    one_of(object, "/spec/type", "spec.type", &kinds, causes);
    one_of(object, "/spec/sessionAffinity", "spec.sessionAffinity", &["ClientIP", "None"], causes);
    for (key, _) in object.pointer("/spec/selector").and_then(Value::as_object).into_iter().flatten() {
        qualified("spec.selector", key, causes);
    }
    let address = text(object, "/spec/clusterIP");
    if !matches!(address, "" | "None") && address.parse::<std::net::IpAddr>().is_err() {
        let detail = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
        causes.push(Cause::invalid("spec.clusterIPs[0]", &Value::from(address), detail));
    }
}

fn claim(object: &Value, causes: &mut Vec<Cause>) {
    let modes = object.pointer("/spec/accessModes").and_then(Value::as_array).cloned().unwrap_or_default();
    if modes.is_empty() {
        causes.push(Cause::required("spec.accessModes", "at least 1 access mode is required"));
    }
    let known = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];
    for mode in &modes {
        one_of(&json!({"mode": mode}), "/mode", "spec.accessModes", &known, causes);
    }
    match object.pointer("/spec/resources/requests/storage") {
        None => causes.push(Cause::required("spec.resources[storage]", "")),
        Some(size) if *size == "0" => {
            causes.push(Cause::invalid("spec.resources[storage]", size, "must be greater than zero"));
        }
        Some(_) => {}
    }
}

fn workload(kind: &str, object: &Value, causes: &mut Vec<Cause>) {
    not_negative(object, "/spec/replicas", "spec.replicas", causes);
    not_negative(object, "/spec/minReadySeconds", "spec.minReadySeconds", causes);
    let labels = object.pointer("/spec/template/metadata/labels").cloned().unwrap_or(Value::Null);
    let mismatch = "`selector` does not match template `labels`";
    let unfit = |causes: &mut Vec<Cause>| {
        causes.push(Cause::invalid("spec.template.metadata.labels", &labels, mismatch));
    };
    match object.pointer("/spec/selector") {
        None | Some(Value::Null) => {
            if kind != "DaemonSet" {
                causes.push(Cause::required("spec.selector", ""));
            }
            unfit(causes);
        }
        Some(selector) => {
            let wanted = selector.get("matchLabels").and_then(Value::as_object);
            let expressions = selector.get("matchExpressions").and_then(Value::as_array);
            for (index, expression) in expressions.into_iter().flatten().enumerate() {
                if !matches!(text(expression, "/operator"), "In" | "NotIn" | "Exists" | "DoesNotExist") {
                    let field = format!("spec.selector.matchExpressions[{index}].operator");
                    let operator = Value::from(text(expression, "/operator"));
                    causes.push(Cause::invalid(field, &operator, "not a valid selector operator"));
                    causes.push(Cause::invalid("spec.selector", selector, "invalid label selector"));
                }
            }
            if wanted.is_none_or(serde_json::Map::is_empty) && expressions.is_none_or(Vec::is_empty) {
                let detail = "empty selector is invalid for deployment";
                let detail = detail.replace("deployment", &kind.to_lowercase());
                causes.push(Cause::invalid("spec.selector", selector, &detail));
            }
            let fits = |(key, value): (&String, &Value)| labels.get(key) == Some(value);
            if !wanted.into_iter().flatten().all(fits) {
                unfit(causes);
            }
        }
    }
    not_negative(object, "/spec/revisionHistoryLimit", "spec.revisionHistoryLimit", causes);
    if kind == "Deployment" {
        strategy(object, causes);
    }
    pod_spec(object.pointer("/spec/template/spec"), "spec.template.spec", causes);
    let policy = text(object, "/spec/template/spec/restartPolicy");
    if matches!(policy, "OnFailure" | "Never") {
        let always = ["Always".to_owned()];
        let field = "spec.template.spec.restartPolicy";
        causes.push(Cause::not_supported(field, &Value::from(policy), &always));
    }
}

fn strategy(object: &Value, causes: &mut Vec<Cause>) {
    let kind = text(object, "/spec/strategy/type");
    let rolling = object.pointer("/spec/strategy/rollingUpdate");
    if !matches!(kind, "" | "Recreate" | "RollingUpdate") {
        let supported = ["Recreate".to_owned(), "RollingUpdate".to_owned()];
        let shown = json!({"Type": kind, "RollingUpdate": rolling});
        causes.push(Cause::not_supported("spec.strategy", &shown, &supported));
    }
    if kind == "Recreate" && rolling.is_some() {
        let detail = "may not be specified when strategy `type` is 'Recreate'";
        causes.push(Cause::forbidden("spec.strategy.rollingUpdate", detail));
    }
    let none = |field: &str| {
        rolling.and_then(|rolling| rolling.get(field)).is_some_and(|value| *value == 0 || *value == "0%")
    };
    if none("maxSurge") && none("maxUnavailable") {
        let detail = "may not be 0 when `maxSurge` is 0";
        let field = "spec.strategy.rollingUpdate.maxUnavailable";
        causes.push(Cause::invalid(field, &Value::from(0), detail));
    }
    let number = |field: &str| object.pointer("/spec").and_then(|spec| spec.get(field)?.as_i64());
    if let Some(deadline) = number("progressDeadlineSeconds")
        && deadline <= number("minReadySeconds").unwrap_or(0)
    {
        let detail = "must be greater than minReadySeconds";
        causes.push(Cause::invalid("spec.progressDeadlineSeconds", &Value::from(deadline), detail));
    }
}

fn job_template(spec: Option<&Value>, path: &str, causes: &mut Vec<Cause>) {
    pod_spec(spec, path, causes);
    if spec.is_some_and(|spec| text(spec, "/restartPolicy") == "Always") {
        let field = format!("{path}.restartPolicy");
        causes.push(Cause::required(field, "valid values: \"OnFailure\", \"Never\""));
    }
}

fn cron_job(object: &Value, causes: &mut Vec<Cause>) {
    let schedule = text(object, "/spec/schedule");
    let fields: Vec<&str> = schedule.split_whitespace().collect();
    if schedule.is_empty() {
        causes.push(Cause::required("spec.schedule", ""));
    } else if fields.len() != 5 && !schedule.starts_with('@') {
        let detail = format!("expected exactly 5 fields, found {}: [{}]", fields.len(), fields.join(" "));
        causes.push(Cause::invalid("spec.schedule", &Value::from(schedule), &detail));
    }
    let policies = ["Allow", "Forbid", "Replace"];
    one_of(object, "/spec/concurrencyPolicy", "spec.concurrencyPolicy", &policies, causes);
    let path = "spec.jobTemplate.spec.template.spec";
    job_template(object.pointer("/spec/jobTemplate/spec/template/spec"), path, causes);
}

fn autoscaler(object: &Value, causes: &mut Vec<Cause>) {
    let number = |field: &str| object.pointer("/spec").and_then(|spec| spec.get(field)?.as_i64());
    let most = number("maxReplicas").unwrap_or(0);
    if most < 1 {
        causes.push(Cause::required("spec.maxReplicas", "must be set and greater than 0"));
    }
    if most < number("minReplicas").unwrap_or(1) {
        let detail = "must be greater than or equal to `minReplicas`";
        causes.push(Cause::invalid("spec.maxReplicas", &Value::from(most), detail));
    }
    required(object, "/spec/scaleTargetRef/kind", "spec.scaleTargetRef.kind", causes);
    required(object, "/spec/scaleTargetRef/name", "spec.scaleTargetRef.name", causes);
    if text(object, "/spec/scaleTargetRef/apiVersion").is_empty() {
        let field = "spec.scaleTargetRef.apiVersion";
        causes.push(Cause::invalid(field, &Value::from(""), "apiVersion must specify API group"));
    }
}

fn role(object: &Value, kind: &str, causes: &mut Vec<Cause>) {
    for (index, rule) in object.get("rules").and_then(Value::as_array).into_iter().flatten().enumerate() {
        let at = |field: &str| format!("rules[{index}].{field}");
        if rule.get("verbs").and_then(Value::as_array).is_none_or(Vec::is_empty) {
            causes.push(Cause::required(at("verbs"), "verbs must contain at least one value"));
        }
        let paths = rule.get("nonResourceURLs").filter(|paths| !paths.is_null());
        if let Some(paths) = paths.filter(|_| kind == "Role") {
            let detail = "namespaced rules cannot apply to non-resource URLs";
            causes.push(Cause::invalid(at("nonResourceURLs"), paths, detail));
        }
    }
}

fn ingress(object: &Value, causes: &mut Vec<Cause>) {
    let rules = object.pointer("/spec/rules").and_then(Value::as_array).cloned().unwrap_or_default();
    if rules.is_empty() && object.pointer("/spec/defaultBackend").is_none() {
        let detail = "either `defaultBackend` or `rules` must be specified";
        causes.push(Cause::invalid("spec", &Value::Null, detail));
    }
    for (index, rule) in rules.iter().enumerate() {
        let at = format!("spec.rules[{index}]");
        let host = text(rule, "/host");
        if !host.is_empty() {
            SUBDOMAIN.check(&format!("{at}.host"), host.strip_prefix("*.").unwrap_or(host), causes);
        }
        let paths = rule.pointer("/http/paths").and_then(Value::as_array);
        for (index, path) in paths.into_iter().flatten().enumerate() {
            let at = format!("{at}.http.paths[{index}]");
            if text(path, "/pathType").is_empty() {
                causes.push(Cause::required(format!("{at}.pathType"), "pathType must be specified"));
            }
            let place = text(path, "/path");
            if !place.starts_with('/') && text(path, "/pathType") != "ImplementationSpecific" {
                let detail = "must be an absolute path";
                causes.push(Cause::invalid(format!("{at}.path"), &Value::from(place), detail));
            }
            let service = path.pointer("/backend/service");
            let port = service.and_then(|service| service.get("port")).and_then(Value::as_object);
            if service.is_some() && port.is_none_or(serde_json::Map::is_empty) {
                causes.push(Cause::required(format!("{at}.backend"), "port name or number is required"));
            }
        }
    }
}
