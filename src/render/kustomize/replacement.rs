//! Replacements: a value of one resource, or a text, copied into fields of others.
//!
//! ```text
//! Source ──select exactly one──▶ resource ──path::lookup──▶ value ──delimiter──▶ part
//! part ──▶ every resource that a Target selects ──path::each──▶ fields ──set──▶ new values
//! ```
//!
//! A scalar that is there keeps its type and takes the text only; a scalar that had to be created gets the type that the
//! text looks like; a mapping or a list becomes a copy. Paths and texts with YAML or JSON inside are in the modules below.

mod path;
mod rewrite;
mod structured;

use serde::Deserialize;
use serde_json::Value;

pub use self::path::lookup;
use self::path::{Create, Place};
use super::filter::scalar_text;
use super::resource::id_of;
use super::schema;
use super::selector::{CompiledSelector, Id, Selector, SelectorError};
use crate::error::{Classified, ErrorKind};
use crate::files::{Budget, Exhausted};
use crate::object::{Gvk, type_name, yaml};

/// The field that is meant when none is named.
const DEFAULT_PATH: &str = "metadata.name";

/// One replacement.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Replacement {
    /// Where the value comes from.
    pub source: Option<Source>,
    /// The value itself, instead of a source.
    pub source_value: Option<String>,
    /// Where it goes.
    pub targets: Option<Vec<Target>>,
}

/// Where the value of a replacement comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Source {
    /// API group; empty for any.
    pub group: String,
    /// API version; empty for any.
    pub version: String,
    /// Kind; empty for any.
    pub kind: String,
    /// Name; empty for any.
    pub name: String,
    /// Namespace; empty for any.
    pub namespace: String,
    /// The field; empty for `metadata.name`.
    pub field_path: String,
    /// Which part of the field.
    pub options: Option<FieldOptions>,
}

/// Where the value of a replacement goes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Target {
    /// Which resources; required.
    pub select: Option<Selector>,
    /// Which of them not.
    pub reject: Vec<Selector>,
    /// Which of their fields; empty for `metadata.name`.
    pub field_paths: Vec<String>,
    /// Which part of the fields.
    pub options: Option<FieldOptions>,
}

/// Part of a text.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct FieldOptions {
    /// What separates the parts; empty for the whole text.
    pub delimiter: String,
    /// Which part, from 0.
    pub index: i64,
    /// Accepted and without effect, as in kustomize.
    pub encoding: String,
    /// Whether missing target fields are made.
    pub create: bool,
}

/// A resource as replacements see it.
#[derive(Debug)]
pub struct Resource<'a> {
    /// Its current id, then its previous ones.
    pub ids: Vec<Id>,
    /// Its fields.
    pub object: &'a mut Value,
}

impl Resource<'_> {
    /// Takes the current id from the fields again: the next target is selected by it.
    fn refresh(&mut self) {
        let current = id_of(self.object);
        for id in &mut self.ids {
            id.gvk.group.clone_from(&current.gvk.group);
            id.gvk.version.clone_from(&current.gvk.version);
        }
        if let Some(first) = self.ids.first_mut() {
            *first = current;
        }
    }
}

/// Why a replacement cannot be carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplacementError {
    /// Source or targets are missing.
    #[error("replacements must specify a source (or a sourceValue) and at least one target")]
    Incomplete,
    /// There are both a source and a source value.
    #[error("a replacement may have 'source' or 'sourceValue', not both")]
    TwoSources,
    /// A target does not say which resources it is for.
    #[error("replacement target must specify resources to select")]
    NothingToSelect,
    /// No resource is the source.
    #[error("nothing selected by replacement source {source_selector}")]
    NoSource {
        /// The source's selector.
        source_selector: String,
    },
    /// Several resources are the source.
    #[error("multiple matches for replacement source {source_selector}; name it more exactly")]
    ManySources {
        /// The source's selector.
        source_selector: String,
    },
    /// The source's field is missing, null or empty.
    #[error("fieldPath '{path}' is missing for replacement source {source_selector}")]
    NoSourceField {
        /// The field path.
        path: String,
        /// The source's selector.
        source_selector: String,
    },
    /// The source's text has fewer parts.
    #[error(
        "options.index {index} is out of bounds for the value at '{path}' of replacement source {source_selector}"
    )]
    IndexOutOfBounds {
        /// The index.
        index: i64,
        /// The field path.
        path: String,
        /// The source's selector.
        source_selector: String,
    },
    /// A mapping or a list cannot be split.
    #[error("delimiter option can only be used with scalar nodes, but field '{path}' is {found}")]
    DelimiterOnNonScalar {
        /// The field path.
        path: String,
        /// What is there.
        found: &'static str,
    },
    /// A path of the source cannot be followed.
    #[error("cannot look up field '{path}': {reason}")]
    Lookup {
        /// The field path.
        path: String,
        /// Why.
        reason: String,
    },
    /// A target has no such field.
    #[error("unable to find {create}field '{path}' in replacement target {target}{reason}")]
    NoTargetField {
        /// `or create `, or nothing.
        create: &'static str,
        /// The field path.
        path: String,
        /// Kind and name of the target.
        target: String,
        /// `: why`, or nothing.
        reason: String,
    },
    /// The text does not fit the type of the target's field.
    #[error("replacement for field '{path}' of {target} does not fit: the field is {found}, the text is not")]
    WrongType {
        /// The field path.
        path: String,
        /// Kind and name of the target.
        target: String,
        /// What is there.
        found: &'static str,
    },
    /// The build has used up its time, or makes too much.
    #[error(transparent)]
    Exhausted(#[from] Exhausted),
    /// A selector of a target is invalid.
    #[error("cannot select the targets of a replacement")]
    Selector(#[from] SelectorError),
}

impl Classified for ReplacementError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::User
    }
}

/// Carries out one replacement over all resources.
///
/// # Errors
/// When the source is missing or ambiguous, or a target field cannot be set.
pub fn apply(
    replacement: &Replacement,
    resources: &mut [Resource<'_>],
    budget: &Budget,
) -> Result<(), ReplacementError> {
    let targets = replacement.targets.as_deref().filter(|targets| !targets.is_empty());
    let targets = targets.ok_or(ReplacementError::Incomplete)?;
    let value = match (&replacement.source, &replacement.source_value) {
        (None, None) => return Err(ReplacementError::Incomplete),
        (Some(_), Some(_)) => return Err(ReplacementError::TwoSources),
        (None, Some(text)) => typed_by_look(text),
        (Some(source), None) => source.read(resources)?,
    };
    let text = replacement.source_value.clone().or_else(|| scalar_text(&value)).unwrap_or_default();
    let value = NewValue { value, text };
    for target in targets {
        budget.check()?;
        let select = target.select.as_ref().ok_or(ReplacementError::NothingToSelect)?.compile()?;
        let reject = target.reject.iter().map(Selector::compile).collect::<Result<Vec<_>, _>>()?;
        for resource in resources.iter_mut().filter(|resource| is_selected(resource, &select, &reject)) {
            target.write(resource, &value, budget)?;
            if target.changes_identity() {
                resource.refresh();
            }
        }
    }
    Ok(())
}

fn is_selected(resource: &Resource<'_>, select: &CompiledSelector, reject: &[CompiledSelector]) -> bool {
    let is_rejected = |reject: &CompiledSelector| {
        (reject.has_id_fields() && resource.ids.iter().any(|id| reject.matches_id(id)))
            || (reject.has_label_fields() && reject.matches_labels(resource.object))
    };
    select.matches_labels(resource.object)
        && resource.ids.iter().any(|id| select.matches_id(id))
        && !reject.iter().any(is_rejected)
}

/// The value to set, and its text if it is a scalar (else empty).
struct NewValue {
    value: Value,
    text: String,
}

impl Source {
    fn read(&self, resources: &[Resource<'_>]) -> Result<Value, ReplacementError> {
        let mut matches = resources.iter().filter(|resource| resource.ids.iter().any(|id| self.selects(id)));
        let resource = match (matches.next(), matches.next()) {
            (None, _) => {
                return Err(ReplacementError::NoSource { source_selector: self.describe() });
            }
            (Some(_), Some(_)) => {
                return Err(ReplacementError::ManySources { source_selector: self.describe() });
            }
            (Some(resource), None) => resource,
        };
        let path = if self.field_path.is_empty() { DEFAULT_PATH } else { &self.field_path };
        let value = match lookup(resource.object, path)? {
            None | Some(Value::Null) => None,
            Some(Value::Object(fields)) if fields.is_empty() => None,
            Some(Value::Array(items)) if items.is_empty() => None,
            Some(value) => Some(value),
        };
        let value = value.ok_or_else(|| ReplacementError::NoSourceField {
            path: path.to_owned(),
            source_selector: self.describe(),
        })?;
        let Some(options) = self.options.as_ref().filter(|options| !options.delimiter.is_empty()) else {
            return Ok(value.clone());
        };
        let text = scalar_text(value).ok_or_else(|| ReplacementError::DelimiterOnNonScalar {
            path: path.to_owned(),
            found: type_name(value),
        })?;
        let part =
            usize::try_from(options.index).ok().and_then(|index| text.split(&options.delimiter).nth(index));
        let part = part.ok_or_else(|| ReplacementError::IndexOutOfBounds {
            index: options.index,
            path: path.to_owned(),
            source_selector: self.describe(),
        })?;
        Ok(if value.is_string() { Value::from(part) } else { typed_by_look(part) })
    }

    fn selects(&self, id: &Id) -> bool {
        let fits = |wanted: &str, actual: &str| wanted.is_empty() || wanted == actual;
        let gvk = Gvk::new(&self.group, &self.version, &self.kind);
        fits(&self.group, &id.gvk.group)
            && fits(&self.version, &id.gvk.version)
            && fits(&self.kind, &id.gvk.kind)
            && fits(&self.name, &id.name)
            && (self.namespace.is_empty()
                || schema::effective_namespace(&gvk, &self.namespace) == id.effective_namespace())
    }

    fn describe(&self) -> String {
        let fields = [
            ("group", &self.group),
            ("version", &self.version),
            ("kind", &self.kind),
            ("name", &self.name),
            ("namespace", &self.namespace),
        ];
        let fields: Vec<String> = fields
            .iter()
            .filter(|(_, text)| !text.is_empty())
            .map(|(field, text)| format!("{field}: {text}"))
            .collect();
        format!("{{{}}}", fields.join(", "))
    }
}

impl Target {
    /// Whether it may write into the fields that make an id.
    fn changes_identity(&self) -> bool {
        let is_identity = |path: &String| {
            let path = path.trim_start_matches('.');
            ["metadata", "kind", "apiVersion"].iter().any(|field| path.starts_with(field))
        };
        self.field_paths.is_empty() || self.field_paths.iter().any(is_identity)
    }

    fn write(
        &self,
        resource: &mut Resource<'_>,
        value: &NewValue,
        budget: &Budget,
    ) -> Result<(), ReplacementError> {
        let default = [DEFAULT_PATH.to_owned()];
        let paths = if self.field_paths.is_empty() { default.as_slice() } else { &self.field_paths };
        let options = self.options.clone().unwrap_or_default();
        let create = options.create.then_some(match value.value {
            Value::Object(_) => Create::Mapping,
            Value::Array(_) => Create::List,
            _ => Create::Scalar,
        });
        for path in paths {
            budget.spend(&value.value)?;
            let steps = path::split(path);
            if structured::set(resource.object, &steps, create, value) {
                continue;
            }
            let describe = || {
                resource.ids.first().map(|id| format!("{} '{}'", id.gvk.kind, id.name)).unwrap_or_default()
            };
            let not_found = |reason: String| ReplacementError::NoTargetField {
                create: if options.create { "or create " } else { "" },
                path: path.clone(),
                target: describe(),
                reason,
            };
            let mut failure = None;
            let found = path::each(resource.object, &steps, create, &mut |place| {
                let result = set_part(place, value, &options);
                failure = failure.take().or(result.err());
            })
            .map_err(|reason| not_found(format!(": {reason}")))?;
            match failure {
                Some(Misfit::NotAScalar(found)) => {
                    return Err(ReplacementError::DelimiterOnNonScalar { path: path.clone(), found });
                }
                Some(Misfit::WrongType(found)) => {
                    return Err(ReplacementError::WrongType {
                        path: path.clone(),
                        target: describe(),
                        found,
                    });
                }
                None if found == 0 => return Err(not_found(String::new())),
                None => {}
            }
        }
        Ok(())
    }
}

/// Why a value cannot be put somewhere.
enum Misfit {
    NotAScalar(&'static str),
    WrongType(&'static str),
}

fn set_part(place: Place<'_>, value: &NewValue, options: &FieldOptions) -> Result<(), Misfit> {
    if options.delimiter.is_empty() {
        return set(place, value);
    }
    let old = scalar_text(place.value).ok_or(Misfit::NotAScalar(type_name(place.value)))?;
    let mut parts: Vec<&str> = old.split(&options.delimiter).collect();
    match usize::try_from(options.index) {
        Err(_) => parts.insert(0, &value.text),
        Ok(index) => match parts.get_mut(index) {
            Some(part) => *part = &value.text,
            None => parts.push(&value.text),
        },
    }
    let text = parts.join(&options.delimiter);
    set(place, &NewValue { value: Value::Null, text })
}

/// Puts the value in a place: a scalar keeps its type.
fn set(place: Place<'_>, value: &NewValue) -> Result<(), Misfit> {
    let target = place.value;
    let found = type_name(target);
    let new = match &*target {
        Value::Array(_) | Value::Object(_) => value.value.clone(),
        _ if place.is_created => typed_by_look(&value.text),
        Value::String(_) => Value::String(value.text.clone()),
        old => {
            let new = typed_by_look(&value.text);
            let is_same_type = match (old, &new) {
                (Value::Number(old), Value::Number(new)) => old.is_f64() || !new.is_f64(),
                (old, new) => type_name(old) == type_name(new),
            };
            if !is_same_type {
                return Err(Misfit::WrongType(found));
            }
            new
        }
    };
    *target = new;
    Ok(())
}

/// A scalar as an unquoted text in a resource file would be read.
fn typed_by_look(text: &str) -> Value {
    let plain = !text.is_empty()
        && !text.contains(|c: char| c.is_whitespace() || "#{}[],&*!|>'\"%@`".contains(c))
        && !text.ends_with(':');
    let options = yaml::Options::new(yaml::Schema::Yaml12ish, yaml::DuplicateKeys::Error);
    let parsed = plain.then(|| yaml::parse(text.as_bytes(), &options).ok()).flatten();
    match parsed.and_then(|documents| documents.into_iter().next()).map(|document| document.value) {
        Some(value @ (Value::Number(_) | Value::Bool(_) | Value::String(_))) => value,
        _ if matches!(text, "null" | "Null" | "NULL" | "~") => Value::Null,
        _ => Value::from(text),
    }
}

#[cfg(test)]
mod tests;
