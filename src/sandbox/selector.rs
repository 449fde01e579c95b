//! Label selectors and field selectors, as list, watch and deletecollection take them.

use std::collections::BTreeMap;

use serde_json::Value;

use super::kinds::Resource;
use super::status::ApiError;
use super::storage::Stored;

/// One requirement on a label.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Requirement {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Absent(String),
    Greater(String, i64),
    Less(String, i64),
}

/// A label selector: all requirements hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSelector(Vec<Requirement>);

impl LabelSelector {
    /// Reads `a=b,c!=d,e in (f,g),!h`.
    ///
    /// # Errors
    /// 400 that shows the part that does not parse.
    pub fn parse(text: &str) -> Result<Self, ApiError> {
        let mut requirements = Vec::new();
        for part in split_outside_parentheses(text) {
            let part = part.trim();
            if part.is_empty() {
                continue;
            }
            let requirement = requirement(part).ok_or_else(|| {
                ApiError::bad_request(format!("unable to parse requirement: found '{part}'"))
            })?;
            requirements.push(requirement);
        }
        Ok(Self(requirements))
    }

    /// Whether nothing is required.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether labels fit.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        let number = |key: &str| labels.get(key).and_then(|value| value.parse::<i64>().ok());
        self.0.iter().all(|requirement| match requirement {
            Requirement::In(key, values) => labels.get(key).is_some_and(|value| values.contains(value)),
            Requirement::NotIn(key, values) => labels.get(key).is_none_or(|value| !values.contains(value)),
            Requirement::Exists(key) => labels.contains_key(key),
            Requirement::Absent(key) => !labels.contains_key(key),
            Requirement::Greater(key, limit) => number(key).is_some_and(|value| value > *limit),
            Requirement::Less(key, limit) => number(key).is_some_and(|value| value < *limit),
        })
    }
}

fn split_outside_parentheses(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut depth = 0usize;
    for character in text.chars() {
        match character {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(last) = parts.last_mut() {
            last.push(character);
        }
    }
    parts
}

fn requirement(part: &str) -> Option<Requirement> {
    let key = |text: &str| {
        let text = text.trim();
        let valid = !text.is_empty()
            && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/'));
        valid.then(|| text.to_owned())
    };
    if let Some(absent) = part.strip_prefix('!') {
        return Some(Requirement::Absent(key(absent)?));
    }
    if let Some((left, values)) = part.strip_suffix(')').and_then(|part| part.split_once('(')) {
        let values = values.split(',').map(|value| value.trim().to_owned()).collect();
        let left = left.trim();
        if let Some(left) = left.strip_suffix(" notin") {
            return Some(Requirement::NotIn(key(left)?, values));
        }
        return Some(Requirement::In(key(left.strip_suffix(" in")?)?, values));
    }
    for (operator, negated) in [("!=", true), ("==", false), ("=", false)] {
        if let Some((left, right)) = part.split_once(operator) {
            let values = vec![right.trim().to_owned()];
            return Some(if negated {
                Requirement::NotIn(key(left)?, values)
            } else {
                Requirement::In(key(left)?, values)
            });
        }
    }
    if let Some((left, right)) = part.split_once('>') {
        return Some(Requirement::Greater(key(left)?, right.trim().parse().ok()?));
    }
    if let Some((left, right)) = part.split_once('<') {
        return Some(Requirement::Less(key(left)?, right.trim().parse().ok()?));
    }
    Some(Requirement::Exists(key(part)?))
}

/// A field selector: all fields have (or have not) these values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSelector(Vec<(String, bool, String)>);

impl FieldSelector {
    /// Reads `status.phase=Running,metadata.name!=x` for a resource.
    ///
    /// # Errors
    /// 400 for a field that the resource cannot be selected by.
    pub fn parse(text: &str, resource: &Resource) -> Result<Self, ApiError> {
        let mut terms = Vec::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let parsed = part
                .split_once("!=")
                .map(|(field, value)| (field, false, value))
                .or_else(|| part.split_once("==").map(|(field, value)| (field, true, value)))
                .or_else(|| part.split_once('=').map(|(field, value)| (field, true, value)));
            let Some((field, equal, value)) = parsed else {
                return Err(ApiError::bad_request(format!("invalid field selector: {part:?}")));
            };
            if !is_selectable(resource, field) {
                return Err(ApiError::bad_request(format!("field label not supported: {field}")));
            }
            terms.push((field.to_owned(), equal, value.to_owned()));
        }
        Ok(Self(terms))
    }

    /// Whether nothing is required.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether an object fits.
    pub fn matches(&self, stored: &Stored) -> bool {
        let mut parsed: Option<Value> = None;
        self.0.iter().all(|(field, equal, wanted)| {
            let found = match field.as_str() {
                "metadata.name" => stored.key.name.clone(),
                "metadata.namespace" => stored.key.namespace.clone(),
                field => field_text(parsed.get_or_insert_with(|| stored.value()), field),
            };
            (found == *wanted) == *equal
        })
    }
}

fn is_selectable(resource: &Resource, field: &str) -> bool {
    if matches!(field, "metadata.name" | "metadata.namespace") {
        return true;
    }
    if let Some(custom) = &resource.custom {
        return custom.selectable_fields.iter().any(|path| path.strip_prefix('.').unwrap_or(path) == field);
    }
    match (resource.group.as_str(), resource.kind.as_str()) {
        ("", "Pod") => matches!(
            field,
            "spec.nodeName"
                | "spec.restartPolicy"
                | "spec.schedulerName"
                | "spec.serviceAccountName"
                | "spec.hostNetwork"
                | "status.phase"
                | "status.podIP"
                | "status.nominatedNodeName"
        ),
        (_, "Event") => {
            field.starts_with("involvedObject.")
                || field.starts_with("regarding.")
                || matches!(
                    field,
                    "reason" | "type" | "source" | "reportingComponent" | "reportingController"
                )
        }
        ("", "Secret") => field == "type",
        ("", "Namespace") => field == "status.phase",
        ("", "Node") => field == "spec.unschedulable",
        ("", "ReplicationController") | ("apps", "ReplicaSet") => field == "status.replicas",
        ("batch", "Job") => field == "status.successful",
        _ => false,
    }
}

fn field_text(value: &Value, field: &str) -> String {
    let field = match field {
        "status.successful" => "status.succeeded",
        "source" => "source.component",
        "reportingController" => "reportingComponent",
        field => field,
    };
    let mut current = value;
    for name in field.split('.') {
        let name = if name == "regarding" { "involvedObject" } else { name };
        match current.get(name) {
            Some(child) => current = child,
            None => {
                return if field.ends_with("replicas") || field.ends_with("succeeded") {
                    "0".into()
                } else {
                    String::new()
                };
            }
        }
    }
    current.as_str().map_or_else(|| current.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_forms_of_requirements_hold_together() {
        let labels =
            BTreeMap::from([("app".to_owned(), "shop".to_owned()), ("n".to_owned(), "5".to_owned())]);
        for (text, fits) in [
            ("", true),
            ("app=shop", true),
            ("app==shop,n=5", true),
            ("app!=shop", false),
            ("other!=x", true),
            ("app in (shop, desk)", true),
            ("app notin (shop,desk)", false),
            ("other notin (x)", true),
            ("app", true),
            ("!app", false),
            ("n>4,n<6", true),
            ("n>5", false),
        ] {
            let selector = LabelSelector::parse(text).unwrap();
            assert_eq!(selector.matches(&labels), fits, "{text}");
        }
        assert_eq!(LabelSelector::parse("a b").unwrap_err().code(), 400);
    }
}
