//! Rules for Pods and the templates of Pods.

use serde_json::Value;

use super::super::status::Cause;
use super::super::store::text;
use super::names::LABEL;
use super::{one_of, qualified};
use crate::object::quantity::Quantity;

fn items<'a>(value: &'a Value, field: &str) -> impl Iterator<Item = (usize, &'a Value)> {
    value.get(field).and_then(Value::as_array).into_iter().flatten().enumerate()
}

/// What is wrong with a Pod's spec at a path.
pub(super) fn pod_spec(spec: Option<&Value>, path: &str, causes: &mut Vec<Cause>) {
    let empty = Value::Null;
    let spec = spec.unwrap_or(&empty);
    let volumes = volumes(spec, path, causes);
    let mut seen: Vec<&str> = Vec::new();
    if items(spec, "containers").next().is_none() {
        causes.push(Cause::required(format!("{path}.containers"), ""));
    }
    for list in ["containers", "initContainers"] {
        for (index, one) in items(spec, list) {
            let at = format!("{path}.{list}[{index}]");
            container(one, &at, &volumes, causes);
            let name = text(one, "/name");
            if !name.is_empty() && seen.contains(&name) {
                causes.push(Cause::duplicate(format!("{at}.name"), &Value::from(name)));
            }
            seen.push(name);
        }
    }
    one_of(
        spec,
        "/restartPolicy",
        &format!("{path}.restartPolicy"),
        &["Always", "OnFailure", "Never"],
        causes,
    );
    let policies = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
    one_of(spec, "/dnsPolicy", &format!("{path}.dnsPolicy"), &policies, causes);
    for (key, _) in spec.get("nodeSelector").and_then(Value::as_object).into_iter().flatten() {
        qualified(&format!("{path}.nodeSelector"), key, causes);
    }
    if let Some(seconds) = spec.get("activeDeadlineSeconds").and_then(Value::as_i64).filter(|it| *it < 1) {
        let detail = "must be between 1 and 2147483647, inclusive";
        causes.push(Cause::invalid(format!("{path}.activeDeadlineSeconds"), &Value::from(seconds), detail));
    }
}

fn volumes<'a>(spec: &'a Value, path: &str, causes: &mut Vec<Cause>) -> Vec<&'a str> {
    let mut names: Vec<&str> = Vec::new();
    for (index, volume) in items(spec, "volumes") {
        let at = format!("{path}.volumes[{index}]");
        let name = text(volume, "/name");
        if name.is_empty() {
            causes.push(Cause::required(format!("{at}.name"), ""));
        } else {
            LABEL.check(&format!("{at}.name"), name, causes);
        }
        if names.contains(&name) {
            causes.push(Cause::duplicate(format!("{at}.name"), &Value::from(name)));
        }
        names.push(name);
        let sources: Vec<&String> = volume.as_object().into_iter().flat_map(serde_json::Map::keys).collect();
        for source in sources.iter().filter(|source| **source != "name").skip(1) {
            causes
                .push(Cause::forbidden(format!("{at}.{source}"), "may not specify more than 1 volume type"));
        }
        if volume.get("hostPath").is_some() && text(volume, "/hostPath/path").is_empty() {
            causes.push(Cause::required(format!("{at}.hostPath.path"), ""));
        }
    }
    names
}

fn container(container: &Value, path: &str, volumes: &[&str], causes: &mut Vec<Cause>) {
    let at = |field: &str| format!("{path}.{field}");
    let name = text(container, "/name");
    if name.is_empty() {
        causes.push(Cause::required(at("name"), ""));
    } else {
        LABEL.check(&at("name"), name, causes);
    }
    let image = text(container, "/image");
    if image.is_empty() {
        causes.push(Cause::required(at("image"), ""));
    } else if image.trim() != image {
        let detail = "must not have leading or trailing whitespace";
        causes.push(Cause::invalid(at("image"), &Value::from(image), detail));
    }
    let policies = ["Always", "IfNotPresent", "Never"];
    one_of(container, "/imagePullPolicy", &at("imagePullPolicy"), &policies, causes);
    ports(container, path, causes);
    environment(container, path, causes);
    for (index, mount) in items(container, "volumeMounts") {
        let name = text(mount, "/name");
        if !volumes.contains(&name) {
            causes.push(Cause::not_found(at(&format!("volumeMounts[{index}].name")), name));
        }
    }
    resources(container, path, causes);
}

fn ports(container: &Value, path: &str, causes: &mut Vec<Cause>) {
    let mut names: Vec<&str> = Vec::new();
    for (index, port) in items(container, "ports") {
        let at = |field: &str| format!("{path}.ports[{index}].{field}");
        let name = text(port, "/name");
        if !name.is_empty() && names.contains(&name) {
            causes.push(Cause::duplicate(at("name"), &Value::from(name)));
        }
        names.push(name);
        match port.get("containerPort").and_then(Value::as_i64).unwrap_or(0) {
            0 => causes.push(Cause::required(at("containerPort"), "")),
            1..=65535 => {}
            other => {
                let detail = "must be between 1 and 65535, inclusive";
                causes.push(Cause::invalid(at("containerPort"), &Value::from(other), detail));
            }
        }
        one_of(port, "/protocol", &at("protocol"), &["SCTP", "TCP", "UDP"], causes);
    }
}

fn environment(container: &Value, path: &str, causes: &mut Vec<Cause>) {
    for (index, variable) in items(container, "env") {
        let at = |field: &str| format!("{path}.env[{index}].{field}");
        let name = text(variable, "/name");
        if name.is_empty() {
            causes.push(Cause::required(at("name"), ""));
        } else if !name.chars().all(|character| matches!(character, ' '..='~') && character != '=') {
            let detail = "a valid environment variable name must consist only of printable ASCII characters other \
                          than '='";
            causes.push(Cause::invalid(at("name"), &Value::from(name), detail));
        }
        if variable.get("valueFrom").is_some() && !text(variable, "/value").is_empty() {
            let detail = "may not be specified when `value` is not empty";
            causes.push(Cause::invalid(at("valueFrom"), &Value::from(""), detail));
        }
    }
}

fn resources(container: &Value, path: &str, causes: &mut Vec<Cause>) {
    let amount = |side: &str, name: &str| -> Option<Quantity> {
        container.pointer("/resources")?.get(side)?.get(name)?.as_str()?.parse().ok()
    };
    let zero: Option<Quantity> = "0".parse().ok();
    for side in ["limits", "requests"] {
        let named = container.pointer("/resources").and_then(|it| it.get(side)).and_then(Value::as_object);
        for (name, value) in named.into_iter().flatten() {
            let found = amount(side, name);
            if found < zero {
                let field = format!("{path}.resources.{side}[{name}]");
                causes.push(Cause::invalid(field, value, "must be greater than or equal to 0"));
            }
            if let (true, Some(limit)) = (side == "requests", amount("limits", name))
                && found.is_some_and(|found| found > limit)
            {
                let detail = format!("must be less than or equal to {name} limit of {}", limit.canonical());
                causes.push(Cause::invalid(format!("{path}.resources.requests"), value, &detail));
            }
        }
    }
}
