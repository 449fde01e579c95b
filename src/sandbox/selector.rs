//! Label selectors and field selectors, as list, watch and deletecollection take them.

use std::collections::{BTreeMap, VecDeque};

use serde_json::Value;

use super::kinds::Resource;
use super::status::{ApiError, Cause};
use super::storage::Stored;
use super::validation::{LABEL_VALUE, qualified};

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
        Parser { tokens: tokens(text).into() }.selector().map(Self).map_err(ApiError::bad_request)
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

/// The words and signs of a selector.
fn tokens(text: &str) -> Vec<String> {
    const SIGNS: &str = "=!(),><";
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = if SIGNS.contains(first) {
            let two = rest.get(..2).is_some_and(|two| matches!(two, "==" | "!="));
            if two { 2 } else { 1 }
        } else {
            rest.find(|c: char| c.is_whitespace() || SIGNS.contains(c)).unwrap_or(rest.len())
        };
        let (token, after) = rest.split_at_checked(length).unwrap_or((rest, ""));
        tokens.push(token.to_owned());
        rest = after.trim_start();
    }
    tokens
}

fn is_word(token: &str) -> bool {
    token.chars().next().is_some_and(|first| !"=!(),><".contains(first))
}

/// Reads requirements; the errors are the API server's.
struct Parser {
    tokens: VecDeque<String>,
}

impl Parser {
    fn peek(&self) -> &str {
        self.tokens.front().map_or("", String::as_str)
    }

    fn take(&mut self) -> String {
        self.tokens.pop_front().unwrap_or_default()
    }

    fn selector(mut self) -> Result<Vec<Requirement>, String> {
        let mut requirements = Vec::new();
        if self.tokens.is_empty() {
            return Ok(requirements);
        }
        loop {
            let next = self.peek();
            if next != "!" && !is_word(next) {
                return Err(format!("found '{next}', expected: !, identifier, or 'end of string'"));
            }
            let requirement = self.requirement();
            requirements.push(requirement.map_err(|why| format!("unable to parse requirement: {why}"))?);
            match self.take().as_str() {
                "" => return Ok(requirements),
                "," if self.peek() == "!" || is_word(self.peek()) => {}
                "," => return Err(format!("found '{}', expected: identifier after ','", self.peek())),
                other => return Err(format!("found '{other}', expected: ',' or 'end of string'")),
            }
        }
    }

    fn requirement(&mut self) -> Result<Requirement, String> {
        let absent = self.peek() == "!";
        if absent {
            self.take();
        }
        let key = self.take();
        if !is_word(&key) {
            return Err(format!("found '{key}', expected: identifier"));
        }
        check_label("<nil>", |causes| qualified("<nil>", &key, causes))?;
        if matches!(self.peek(), "" | ",") {
            return Ok(if absent { Requirement::Absent(key) } else { Requirement::Exists(key) });
        }
        let operator = self.take();
        let requirement = match operator.as_str() {
            "=" | "==" => Requirement::In(key, vec![self.value()?]),
            "!=" => Requirement::NotIn(key, vec![self.value()?]),
            ">" => Requirement::Greater(key, self.number()?),
            "<" => Requirement::Less(key, self.number()?),
            "in" => Requirement::In(key, self.values()?),
            "notin" => Requirement::NotIn(key, self.values()?),
            other => return Err(format!("found '{other}', expected: in, notin, =, ==, !=, gt, lt")),
        };
        if let Requirement::In(key, values) | Requirement::NotIn(key, values) = &requirement {
            for (index, value) in values.iter().enumerate() {
                let field = format!("values[{index}][{key}]");
                check_label(&field, |causes| LABEL_VALUE.check(&field, value, causes))?;
            }
        }
        Ok(requirement)
    }

    fn value(&mut self) -> Result<String, String> {
        match self.peek() {
            "" | "," => Ok(String::new()),
            next if is_word(next) => Ok(self.take()),
            next => Err(format!("found '{next}', expected: identifier")),
        }
    }

    fn number(&mut self) -> Result<i64, String> {
        let text = self.value()?;
        text.parse().map_err(|_| {
            format!(
                "values[0]: Invalid value: {text:?}: for 'Gt', 'Lt' operators, the value must be an integer"
            )
        })
    }

    fn values(&mut self) -> Result<Vec<String>, String> {
        let open = self.take();
        if open != "(" {
            return Err(format!("found '{open}' expected: '('"));
        }
        let mut values = Vec::new();
        loop {
            values.push(if is_word(self.peek()) { self.take() } else { String::new() });
            match self.take().as_str() {
                ")" => return Ok(values),
                "," => {}
                other => return Err(format!("found '{other}', expected: ',' or ')'")),
            }
        }
    }
}

fn check_label(field: &str, check: impl FnOnce(&mut Vec<Cause>)) -> Result<(), String> {
    let mut causes = Vec::new();
    check(&mut causes);
    causes.first().map_or(Ok(()), |cause| Err(format!("{field}: {}", cause.message)))
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
                let message = format!("invalid selector: '{text}'; can't understand '{part}'");
                return Err(ApiError::bad_request(message));
            };
            if !is_selectable(resource, field) {
                return Err(ApiError::bad_request(if has_fields_of_its_own(resource) {
                    format!("field label not supported: {field}")
                } else {
                    format!(
                        "{field:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
                    )
                }));
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

/// Whether a kind's fields are selected by rules of its own, which have their own words for unknown ones.
fn has_fields_of_its_own(resource: &Resource) -> bool {
    resource.custom.is_some()
        || matches!(
            resource.kind.as_str(),
            "Pod" | "Event" | "Secret" | "Namespace" | "Node" | "ReplicationController" | "Job"
        )
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
        ("", "ReplicationController") => field == "status.replicas",
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
