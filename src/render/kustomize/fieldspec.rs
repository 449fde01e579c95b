//! Field specs: where in which kinds of objects a transformer works.
//!
//! ```text
//! {group, version, kind, path: spec/template/metadata/labels, create: true}
//! ```
//!
//! An empty group, version or kind fits any. A path is separated by `/` (`\/` is a slash in a key); lists need no
//! step of their own, the rest of the path is followed in every element; a step that ends in `[]` expects a list and is
//! never created. [`Configuration`] holds the lists of all transformers: the defaults (`data/fieldspecs.json`), to which
//! `configurations:` and `crds:` of a kustomization are added.

use std::{borrow::Cow, sync::OnceLock};

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{filter::FilterError, shared, sort::sort_field_specs};
use crate::error::{Classified, ErrorKind};
use crate::object::{Gvk, type_name};

/// How deep lists in lists are followed.
const MAX_DEPTH: usize = 256;

/// A place in objects of a kind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FieldSpec {
    /// API group; empty for any.
    pub group: String,
    /// API version; empty for any.
    pub version: String,
    /// Kind; empty for any.
    pub kind: String,
    /// The path as written, separated by `/`.
    pub path: String,
    /// Whether a transformer that creates fields may create this one.
    pub create: bool,
}

/// What [`visit`] puts where a field with `create` is missing or null.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Create {
    /// Nothing: missing fields stay missing whatever the field spec says.
    Never,
    /// A null, which the visitor replaces by a scalar.
    Scalar,
    /// An empty mapping.
    Mapping,
}

/// A kind that others refer to by name, and the fields in which they do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub struct NameReference {
    /// API group of the kind referred to; empty for any.
    pub group: String,
    /// Its API version; empty for any.
    pub version: String,
    /// Its kind.
    pub kind: String,
    /// Where the name stands.
    pub field_specs: Vec<FieldSpec>,
}

/// The field specs of every transformer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub struct Configuration {
    /// Of `namePrefix`.
    pub name_prefix: Vec<FieldSpec>,
    /// Of `nameSuffix`.
    pub name_suffix: Vec<FieldSpec>,
    /// Of `namespace`.
    pub namespace: Vec<FieldSpec>,
    /// Of `commonLabels` and of `labels` with `includeSelectors`.
    pub common_labels: Vec<FieldSpec>,
    /// The user's own for every entry of `labels`.
    pub labels: Vec<FieldSpec>,
    /// Of `labels` with `includeTemplates`.
    pub template_labels: Vec<FieldSpec>,
    /// Of `commonAnnotations`.
    pub common_annotations: Vec<FieldSpec>,
    /// Of `images`.
    pub images: Vec<FieldSpec>,
    /// Of `replicas`.
    pub replicas: Vec<FieldSpec>,
    /// Where vars are expanded.
    pub var_reference: Vec<FieldSpec>,
    /// Where names of other objects stand.
    pub name_reference: Vec<NameReference>,
}

/// Why field specs cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FieldSpecError {
    /// Two field specs for the same place disagree.
    #[error("conflicting field specs for path '{path}'{kind}: one has 'create: true', the other has not")]
    Conflict {
        /// The path.
        path: String,
        /// ` of kind 'X'`, or nothing.
        kind: String,
    },
}

impl Classified for FieldSpecError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::User
    }
}

impl FieldSpec {
    /// One for any kind.
    pub fn any(path: &str, create: bool) -> Self {
        Self { path: path.to_owned(), create, ..Self::default() }
    }

    /// Whether objects of this kind have the field.
    pub fn matches(&self, gvk: &Gvk) -> bool {
        selects(&self.group, &gvk.group)
            && selects(&self.version, &gvk.version)
            && selects(&self.kind, &gvk.kind)
    }

    /// Whether writing to the field can change what an object is called.
    pub fn is_identity(&self) -> bool {
        let path = self.path.trim_start_matches('/');
        ["metadata/name", "apiVersion", "kind"].iter().any(|field| path.starts_with(field))
            || path == "metadata"
    }

    /// Whether an object is of a kind that has the field.
    fn matches_object(&self, object: &Value) -> bool {
        let text = |field| object.get(field).and_then(Value::as_str).unwrap_or_default();
        if !self.kind.is_empty() && self.kind != text("kind") {
            return false;
        }
        if self.group.is_empty() && self.version.is_empty() {
            return true;
        }
        let api_version = text("apiVersion");
        let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
        selects(&self.group, group) && selects(&self.version, version)
    }

    /// Whether `other`, taken as a selector, picks this one: it then adds nothing to a list that has this one.
    fn is_covered_by(&self, other: &Self) -> bool {
        self.path == other.path
            && selects(&other.group, &self.group)
            && selects(&other.version, &self.version)
            && selects(&other.kind, &self.kind)
    }
}

/// The first step of a path, its escapes resolved, and what is behind it.
fn split_step(path: &str) -> (Cow<'_, str>, Option<&str>) {
    let mut from = 0;
    while let Some(slash) = path.get(from..).and_then(|rest| rest.find('/')).map(|at| from + at) {
        let before = path.get(..slash).unwrap_or_default();
        if !before.ends_with('\\') {
            return (unescaped(before), path.get(slash + 1..));
        }
        from = slash + 1;
    }
    (unescaped(path), None)
}

fn unescaped(step: &str) -> Cow<'_, str> {
    if step.contains("\\/") { Cow::Owned(step.replace("\\/", "/")) } else { Cow::Borrowed(step) }
}

fn selects(wanted: &str, actual: &str) -> bool {
    wanted.is_empty() || wanted == actual
}

/// Adds field specs to a list by kustomize's rule: an incoming one is dropped when the list has one with the same path
/// whose kind the incoming one selects.
///
/// # Errors
/// When those two disagree about `create`.
pub fn merge_into(list: &mut Vec<FieldSpec>, incoming: &[FieldSpec]) -> Result<(), FieldSpecError> {
    for spec in incoming {
        match list.iter().find(|present| present.is_covered_by(spec)) {
            None => list.push(spec.clone()),
            Some(present) if present.create == spec.create => {}
            Some(present) => {
                let kind = if present.kind.is_empty() {
                    String::new()
                } else {
                    format!(" of kind '{}'", present.kind)
                };
                return Err(FieldSpecError::Conflict { path: spec.path.clone(), kind });
            }
        }
    }
    Ok(())
}

impl Configuration {
    /// The defaults of kustomize.
    pub fn defaults() -> &'static Self {
        static DEFAULTS: OnceLock<Configuration> = OnceLock::new();
        DEFAULTS.get_or_init(|| {
            // The embedded table is checked by a test.
            serde_json::from_str(include_str!("data/fieldspecs.json")).unwrap_or_default()
        })
    }

    /// The defaults and the field specs of one kustomization, in kustomize's order.
    ///
    /// # Errors
    /// As [`Configuration::merge`].
    pub fn of_layer(own: &Self) -> Result<Self, FieldSpecError> {
        let mut layer = Self::defaults().clone();
        layer.merge(own)?;
        for specs in [
            &mut layer.name_prefix,
            &mut layer.name_suffix,
            &mut layer.namespace,
            &mut layer.common_labels,
            &mut layer.labels,
            &mut layer.template_labels,
            &mut layer.common_annotations,
            &mut layer.images,
            &mut layer.replicas,
            &mut layer.var_reference,
        ] {
            sort_field_specs(specs);
        }
        Ok(layer)
    }

    /// Adds the field specs of another configuration.
    ///
    /// # Errors
    /// When the two disagree about `create` of a field.
    pub fn merge(&mut self, other: &Self) -> Result<(), FieldSpecError> {
        merge_into(&mut self.name_prefix, &other.name_prefix)?;
        merge_into(&mut self.name_suffix, &other.name_suffix)?;
        merge_into(&mut self.namespace, &other.namespace)?;
        merge_into(&mut self.common_labels, &other.common_labels)?;
        merge_into(&mut self.labels, &other.labels)?;
        merge_into(&mut self.template_labels, &other.template_labels)?;
        merge_into(&mut self.common_annotations, &other.common_annotations)?;
        merge_into(&mut self.images, &other.images)?;
        merge_into(&mut self.replicas, &other.replicas)?;
        merge_into(&mut self.var_reference, &other.var_reference)?;
        for reference in &other.name_reference {
            let present = self.name_reference.iter_mut().find(|present| {
                (&present.group, &present.version, &present.kind)
                    == (&reference.group, &reference.version, &reference.kind)
            });
            match present {
                Some(present) => merge_into(&mut present.field_specs, &reference.field_specs)?,
                None => self.name_reference.push(reference.clone()),
            }
        }
        Ok(())
    }
}

/// Group, version and kind of a value; empty where it has none.
pub fn gvk_of(object: &Value) -> Gvk {
    let text = |field| object.get(field).and_then(Value::as_str).unwrap_or_default();
    Gvk::from_api_version(text("apiVersion"), text("kind"))
}

/// Calls `set` on every place of `object` that the field spec names, if the object is of its kind.
///
/// A missing field ends the walk in silence, unless both the spec and `create` allow to create it.
///
/// # Errors
/// When the path leads through a scalar, and whatever `set` returns.
pub fn visit(
    object: &mut Value,
    spec: &FieldSpec,
    create: Create,
    set: &mut dyn FnMut(&mut Value) -> Result<(), FilterError>,
) -> Result<(), FilterError> {
    if !spec.matches_object(object) {
        return Ok(());
    }
    visit_any_kind(object, spec, create, set)
}

/// As [`visit`], for a caller that has decided by another identity that the spec applies.
///
/// # Errors
/// As [`visit`].
pub fn visit_any_kind(
    object: &mut Value,
    spec: &FieldSpec,
    create: Create,
    set: &mut dyn FnMut(&mut Value) -> Result<(), FilterError>,
) -> Result<(), FilterError> {
    walk(object, spec, create, &mut |place, _| set(place))
}

/// As [`visit`], for a caller that wants to know where the places are.
///
/// # Errors
/// As [`visit`].
pub fn visit_places(
    object: &mut Value,
    spec: &FieldSpec,
    create: Create,
    set: &mut dyn FnMut(&mut Value, &Trail<'_>) -> Result<(), FilterError>,
) -> Result<(), FilterError> {
    if !spec.matches_object(object) {
        return Ok(());
    }
    walk(object, spec, create, set)
}

fn walk(
    object: &mut Value,
    spec: &FieldSpec,
    create: Create,
    set: &mut dyn FnMut(&mut Value, &Trail<'_>) -> Result<(), FilterError>,
) -> Result<(), FilterError> {
    let create = if spec.create { create } else { Create::Never };
    let path = spec.path.strip_prefix('/').unwrap_or(&spec.path);
    Walk { spec, create, set, trail: Trail(Vec::new()) }.follow(object, Some(path))
}

/// The way to a place.
pub struct Trail<'s>(Vec<TrailStep<'s>>);

enum TrailStep<'s> {
    Field(Cow<'s, str>),
    Index(usize),
}

impl Trail<'_> {
    /// The way to keep.
    pub fn to_place(&self) -> shared::Place {
        let keep = |step: &TrailStep<'_>| match step {
            TrailStep::Field(name) => shared::Step::Field(name.clone().into_owned()),
            TrailStep::Index(at) => shared::Step::Index(*at),
        };
        self.0.iter().map(keep).collect()
    }
}

struct Walk<'a, 's> {
    spec: &'a FieldSpec,
    create: Create,
    set: &'a mut dyn FnMut(&mut Value, &Trail<'_>) -> Result<(), FilterError>,
    trail: Trail<'s>,
}

impl<'s> Walk<'_, 's> {
    fn into(
        &mut self,
        step: TrailStep<'s>,
        value: &mut Value,
        rest: Option<&'s str>,
    ) -> Result<(), FilterError> {
        self.trail.0.push(step);
        let outcome = self.follow(value, rest);
        self.trail.0.pop();
        outcome
    }

    fn follow(&mut self, value: &mut Value, path: Option<&'s str>) -> Result<(), FilterError> {
        if self.trail.0.len() > MAX_DEPTH {
            return Err(FilterError::TooDeep { path: self.spec.path.clone() });
        }
        let Some(remaining) = path else {
            return (self.set)(value, &self.trail);
        };
        match value {
            Value::Array(items) => items
                .iter_mut()
                .enumerate()
                .try_for_each(|(at, item)| self.into(TrailStep::Index(at), item, path)),
            Value::Object(fields) => {
                let (name, rest) = split_step(remaining);
                let list = match &name {
                    Cow::Borrowed(name) => name.strip_suffix("[]").map(Cow::Borrowed),
                    Cow::Owned(name) => name.strip_suffix("[]").map(|name| Cow::Owned(name.to_owned())),
                };
                if let Some(name) = list {
                    return match field_mut(fields, &name) {
                        None => Ok(()),
                        Some(next) => {
                            // A list that is announced and null becomes an empty one, as in kustomize.
                            if next.is_null() {
                                *next = Value::Array(Vec::new());
                            }
                            self.into(TrailStep::Field(name), next, rest)
                        }
                    };
                }
                match field_or_created(fields, &name, self.create, rest.is_none()) {
                    Some(next) => self.into(TrailStep::Field(name), next, rest),
                    None => Ok(()),
                }
            }
            Value::Null => Ok(()),
            Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                Err(FilterError::NotTraversable { path: self.spec.path.clone(), found: type_name(value) })
            }
        }
    }
}

/// A field of a mapping. In a small one a look at every key is cheaper than a hash, and this is asked for more than all else.
fn field_mut<'a>(fields: &'a mut Map<String, Value>, name: &str) -> Option<&'a mut Value> {
    if fields.len() > 8 {
        return fields.get_mut(name);
    }
    fields.iter_mut().find(|(key, _)| *key == name).map(|(_, value)| value)
}

fn field_or_created<'a>(
    fields: &'a mut Map<String, Value>,
    name: &str,
    create: Create,
    is_last: bool,
) -> Option<&'a mut Value> {
    let new = match (create, is_last) {
        (Create::Never, _) => return field_mut(fields, name).filter(|value| !value.is_null()),
        (Create::Scalar, true) => Value::Null,
        (Create::Mapping, _) | (Create::Scalar, false) => Value::Object(Map::new()),
    };
    let field = fields.entry(name).or_insert(Value::Null);
    if field.is_null() {
        *field = new;
    }
    Some(field)
}

#[cfg(test)]
mod tests;
