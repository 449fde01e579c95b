//! Which resources a patch or a replacement is for.
//!
//! Group, version, kind, name and namespace are regular expressions that must match from end to end; an empty one
//! matches everything. Labels and annotations are selected by the label selector syntax of Kubernetes
//! (`a=b,c!=d,e in (f,g),h,!i`).

use regex::Regex;
use serde::Deserialize;
use serde_json::Value;

use super::schema;
use crate::error::{Classified, ErrorKind};
use crate::object::Gvk;

/// A name that a resource has or once had.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Id {
    /// Group, version and kind.
    pub gvk: Gvk,
    /// Name.
    pub name: String,
    /// Namespace as written; empty for none.
    pub namespace: String,
}

impl Id {
    /// The namespace that the resource lands in: see [`schema::effective_namespace`].
    pub fn effective_namespace(&self) -> &str {
        schema::effective_namespace(&self.gvk, &self.namespace)
    }
}

/// A selector as written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Selector {
    /// API group.
    pub group: String,
    /// API version.
    pub version: String,
    /// Kind.
    pub kind: String,
    /// Name.
    pub name: String,
    /// Namespace.
    pub namespace: String,
    /// Labels.
    pub label_selector: String,
    /// Annotations.
    pub annotation_selector: String,
}

/// Why a selector cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    /// A field is not a regular expression.
    #[error("selector field '{field}': '{pattern}' is not a valid regular expression: {reason}")]
    Pattern {
        /// The field.
        field: &'static str,
        /// As written.
        pattern: String,
        /// What is wrong.
        reason: String,
    },
    /// A label or annotation selector cannot be parsed.
    #[error(
        "'{selector}' is not a valid label selector: {reason}; write for example 'app=shop,tier in (web,api),!legacy'"
    )]
    Requirements {
        /// As written.
        selector: String,
        /// What is wrong.
        reason: &'static str,
    },
}

impl Classified for SelectorError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::User
    }
}

/// A selector ready for use.
#[derive(Debug, Clone)]
pub struct CompiledSelector {
    group: Option<Regex>,
    version: Option<Regex>,
    kind: Option<Regex>,
    name: Option<Regex>,
    namespace: Option<Regex>,
    labels: Vec<Requirement>,
    annotations: Vec<Requirement>,
}

impl Selector {
    /// Compiles the expressions.
    ///
    /// # Errors
    /// When one of them is invalid.
    pub fn compile(&self) -> Result<CompiledSelector, SelectorError> {
        Ok(CompiledSelector {
            group: anchored("group", &self.group)?,
            version: anchored("version", &self.version)?,
            kind: anchored("kind", &self.kind)?,
            name: anchored("name", &self.name)?,
            namespace: anchored("namespace", &self.namespace)?,
            labels: parse_requirements(&self.label_selector)?,
            annotations: parse_requirements(&self.annotation_selector)?,
        })
    }
}

fn anchored(field: &'static str, pattern: &str) -> Result<Option<Regex>, SelectorError> {
    if pattern.is_empty() {
        return Ok(None);
    }
    Regex::new(&format!("^(?:{pattern})$")).map(Some).map_err(|error| SelectorError::Pattern {
        field,
        pattern: pattern.to_owned(),
        reason: error.to_string(),
    })
}

fn fits(pattern: Option<&Regex>, text: &str) -> bool {
    pattern.is_none_or(|pattern| pattern.is_match(text))
}

impl CompiledSelector {
    /// Whether this selects a resource as the target of a patch: by its original or its current name and namespace,
    /// its current kind, and its labels and annotations as they are now.
    pub fn matches_patch_target(&self, original: &Id, current: &Id, object: &Value) -> bool {
        let namespace = self.namespace.as_ref();
        let name = self.name.as_ref();
        (fits(namespace, original.effective_namespace()) || fits(namespace, current.effective_namespace()))
            && (fits(name, &original.name) || fits(name, &current.name))
            && self.matches_gvk(&current.gvk)
            && self.matches_labels(object)
    }

    /// Whether the name fields select this id.
    pub fn matches_id(&self, id: &Id) -> bool {
        fits(self.name.as_ref(), &id.name)
            && fits(self.namespace.as_ref(), &id.namespace)
            && self.matches_gvk(&id.gvk)
    }

    /// Whether the label and annotation selectors select this object.
    pub fn matches_labels(&self, object: &Value) -> bool {
        let metadata = object.get("metadata");
        let entries = |field| metadata.and_then(|metadata| metadata.get(field));
        let all = |requirements: &[Requirement], entries: Option<&Value>| {
            requirements.iter().all(|requirement| requirement.matches(entries))
        };
        all(&self.labels, entries("labels")) && all(&self.annotations, entries("annotations"))
    }

    /// Whether any of the name fields is set.
    pub(super) fn has_id_fields(&self) -> bool {
        [&self.group, &self.version, &self.kind, &self.name, &self.namespace]
            .iter()
            .any(|field| field.is_some())
    }

    /// Whether a label or an annotation selector is set.
    pub(super) fn has_label_fields(&self) -> bool {
        !self.labels.is_empty() || !self.annotations.is_empty()
    }

    fn matches_gvk(&self, gvk: &Gvk) -> bool {
        fits(self.group.as_ref(), &gvk.group)
            && fits(self.version.as_ref(), &gvk.version)
            && fits(self.kind.as_ref(), &gvk.kind)
    }
}

/// One part of a label selector.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Requirement {
    key: String,
    operator: Operator,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Operator {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    DoesNotExist,
    GreaterThan(i64),
    LessThan(i64),
}

impl Requirement {
    fn matches(&self, entries: Option<&Value>) -> bool {
        let value = entries.and_then(|entries| entries.get(&self.key));
        let text = value.map(|value| super::filter::scalar_text(value).unwrap_or_default());
        let number = || text.as_deref().and_then(|text| text.parse::<i64>().ok());
        match &self.operator {
            Operator::In(values) => text.as_ref().is_some_and(|text| values.contains(text)),
            Operator::NotIn(values) => text.as_ref().is_none_or(|text| !values.contains(text)),
            Operator::Exists => text.is_some(),
            Operator::DoesNotExist => text.is_none(),
            Operator::GreaterThan(bound) => number().is_some_and(|number| number > *bound),
            Operator::LessThan(bound) => number().is_some_and(|number| number < *bound),
        }
    }
}

fn parse_requirements(selector: &str) -> Result<Vec<Requirement>, SelectorError> {
    let mut parts = Vec::new();
    let mut part = String::new();
    let mut in_parentheses = false;
    for c in selector.chars() {
        match c {
            '(' => in_parentheses = true,
            ')' => in_parentheses = false,
            ',' if !in_parentheses => {
                parts.push(std::mem::take(&mut part));
                continue;
            }
            _ => {}
        }
        part.push(c);
    }
    if parts.is_empty() && part.trim().is_empty() {
        return Ok(Vec::new());
    }
    parts.push(part);
    parts
        .iter()
        .map(|part| {
            parse_requirement(part.trim())
                .map_err(|reason| SelectorError::Requirements { selector: selector.to_owned(), reason })
        })
        .collect()
}

fn parse_requirement(part: &str) -> Result<Requirement, &'static str> {
    if let Some(key) = part.strip_prefix('!') {
        return Ok(Requirement { key: valid_key(key)?, operator: Operator::DoesNotExist });
    }
    if let Some(open) = part.strip_suffix(')') {
        let (head, list) = open.split_once('(').ok_or("a ')' without '('")?;
        let mut words = head.split_whitespace();
        let key = valid_key(words.next().unwrap_or_default())?;
        let values = list.split(',').map(|value| valid_value(value.trim())).collect::<Result<_, _>>()?;
        let operator = match (words.next(), words.next()) {
            (Some("in"), None) => Operator::In(values),
            (Some("notin"), None) => Operator::NotIn(values),
            _ => return Err("a list in parentheses must follow 'in' or 'notin'"),
        };
        return Ok(Requirement { key, operator });
    }
    let bound =
        |text: &str| text.trim().parse::<i64>().map_err(|_| "'<' and '>' compare with a whole number");
    let one = |text: &str| valid_value(text.trim()).map(|value| vec![value]);
    let (key, operator) = if let Some((key, value)) = part.split_once("!=") {
        (key, Operator::NotIn(one(value)?))
    } else if let Some((key, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
        (key, Operator::In(one(value)?))
    } else if let Some((key, value)) = part.split_once('>') {
        (key, Operator::GreaterThan(bound(value)?))
    } else if let Some((key, value)) = part.split_once('<') {
        (key, Operator::LessThan(bound(value)?))
    } else {
        (part, Operator::Exists)
    };
    Ok(Requirement { key: valid_key(key.trim())?, operator })
}

fn valid_key(key: &str) -> Result<String, &'static str> {
    let key = key.trim();
    let is_valid = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    if key.is_empty() || key.matches('/').count() > 1 || !key.chars().all(is_valid) {
        return Err("a key may only have letters, digits, '-', '_', '.' and one '/'");
    }
    Ok(key.to_owned())
}

fn valid_value(value: &str) -> Result<String, &'static str> {
    let is_valid = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if value.len() > 63 || !value.chars().all(is_valid) {
        return Err("a value may only have letters, digits, '-', '_' and '.', and at most 63 of them");
    }
    Ok(value.to_owned())
}

#[cfg(test)]
mod tests;
