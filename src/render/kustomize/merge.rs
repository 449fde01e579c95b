//! Strategic merge, as kustomize does it.
//!
//! ```text
//!              both      ▶ merge   (mappings by field, lists by merge key or replaced whole, scalars replaced)
//! target, patch only target ▶ settle  (unchanged, but its merge lists are rebuilt)
//!              only patch  ▶ adopt   (nulls and deletions in it are dropped)
//! ```
//!
//! A mapping obeys `$patch: delete`, `replace` and `merge`; a merge list obeys an element that is nothing but such a
//! directive. Other directives are data and stay. Merge lists are in `merge/list.rs`.

mod list;

use serde_json::{Map, Value};

use self::list::Patch;
use super::filter::scalar_text;
use super::schema::{Schema, TypeRef};
use crate::error::{Classified, ErrorKind};
use crate::object::{type_name, yaml};

/// How deep objects and patches may be nested.
const MAX_DEPTH: usize = 512;

/// The field that holds a directive.
const DIRECTIVE: &str = "$patch";

/// What is left of the object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Merged {
    /// The object, changed or not.
    Kept,
    /// Nothing: the patch deletes it.
    Deleted,
}

/// Why a patch does not fit an object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MergeError {
    /// The patch has a mapping where the object has a list, and so on.
    #[error("wrong node kind at field '{path}': the object has {found} there, the patch {patch}")]
    WrongKind {
        /// Path of the field.
        path: String,
        /// What the object has.
        found: &'static str,
        /// What the patch has.
        patch: &'static str,
    },
    /// A list whose elements merge by key has an element that is not a mapping.
    #[error("wrong node kind at field '{path}': elements of this list must be mappings, but one is {found}")]
    NotAMapping {
        /// Path of the list.
        path: String,
        /// What the element is.
        found: &'static str,
    },
    /// The value of `$patch` is none that exists.
    #[error(
        "field '{path}': unknown patch strategy '{directive}'; '$patch' may be 'merge', 'replace' or 'delete'"
    )]
    UnknownDirective {
        /// Path of the mapping or list.
        path: String,
        /// Its value.
        directive: String,
    },
    /// A list with elements that lack their merge key, or repeat it, is too long to be merged.
    #[error("field '{path}': the list has more than {limit} elements, some without a unique merge key")]
    ListTooLong {
        /// Path of the list.
        path: String,
        /// How many elements such a list may have.
        limit: usize,
    },
    /// Object or patch are nested deeper than any real ones.
    #[error("field '{path}' is nested too deep")]
    TooDeep {
        /// Path of the field.
        path: String,
    },
}

impl Classified for MergeError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::User
    }
}

/// Merges `patch` into `target`. Names and namespaces are merged like other fields: to put them back is up to the caller.
///
/// # Errors
/// When the two have different kinds of nodes at the same place, or for an unknown directive.
pub fn strategic_merge(target: &mut Value, patch: &Value, schema: &Schema) -> Result<Merged, MergeError> {
    // kustomize makes a new object here and then forgets it, so the whole object cannot be replaced.
    if patch.get(DIRECTIVE).is_some_and(|directive| directive == "replace") {
        return Ok(Merged::Kept);
    }
    let kept = Merge { schema }.both(target, patch.clone(), None, &Path::ROOT)?;
    let is_empty = target.is_null() || target.as_object().is_some_and(Map::is_empty);
    Ok(if kept && !is_empty { Merged::Kept } else { Merged::Deleted })
}

/// Where the merge is, for messages and for the limit of depth.
#[derive(Clone, Copy)]
struct Path<'a> {
    parent: Option<&'a Path<'a>>,
    step: &'a str,
    depth: usize,
}

impl<'a> Path<'a> {
    const ROOT: Self = Self { parent: None, step: "", depth: 0 };

    fn child(&'a self, step: &'a str) -> Result<Self, MergeError> {
        if self.depth == MAX_DEPTH {
            return Err(MergeError::TooDeep { path: self.text() });
        }
        Ok(Self { parent: Some(self), step, depth: self.depth + 1 })
    }

    fn text(&self) -> String {
        let mut steps = Vec::new();
        let mut path = Some(self);
        while let Some(Path { parent: Some(parent), step, .. }) = path {
            steps.push(*step);
            path = Some(*parent);
        }
        steps.reverse();
        steps.join(".")
    }
}

/// What `$patch` of a mapping or a list says.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Directive {
    Merge,
    Replace,
    Delete,
}

impl Directive {
    fn parse(value: &Value, path: &Path<'_>) -> Result<Self, MergeError> {
        match value.as_str() {
            Some("merge") => Ok(Self::Merge),
            Some("replace") => Ok(Self::Replace),
            Some("delete") => Ok(Self::Delete),
            _ => Err(MergeError::UnknownDirective {
                path: path.text(),
                directive: scalar_text(value).unwrap_or_else(|| type_name(value).to_owned()),
            }),
        }
    }

    /// Takes the directive out of a mapping of the patch.
    fn take(fields: &mut Map<String, Value>, path: &Path<'_>) -> Result<Self, MergeError> {
        let Some(value) = fields.get(DIRECTIVE) else {
            return Ok(Self::Merge);
        };
        let directive = Self::parse(value, path)?;
        fields.shift_remove(DIRECTIVE);
        Ok(directive)
    }
}

struct Merge<'s> {
    schema: &'s Schema,
}

impl<'s> Merge<'s> {
    /// The known type, or that of an object that is embedded where no type is known.
    fn type_of(&self, known: Option<TypeRef<'s>>, value: &Value) -> Option<TypeRef<'s>> {
        known.or_else(|| {
            let text = |field| value.get(field).and_then(Value::as_str);
            self.schema.root(text("apiVersion")?, text("kind")?)
        })
    }

    /// Merges a patch into what is there; false when nothing is left of it.
    fn both(
        &self,
        target: &mut Value,
        patch: Value,
        known: Option<TypeRef<'s>>,
        path: &Path<'_>,
    ) -> Result<bool, MergeError> {
        let known = self.type_of(known, target);
        let known = self.type_of(known, &patch);
        match (&mut *target, patch) {
            (_, Value::Null) => return Ok(false),
            (Value::Object(fields), Value::Object(mut patch)) => match Directive::take(&mut patch, path)? {
                Directive::Delete => return Ok(false),
                Directive::Merge => self.fields(fields, patch, known, path)?,
                Directive::Replace => {
                    self.adopt_fields(&mut patch, known, path)?;
                    *fields = patch;
                }
            },
            (Value::Array(items), Value::Array(patch)) => match known.and_then(TypeRef::merge_keys) {
                None => *items = patch,
                Some(_) => return self.lists(items, patch, known, path),
            },
            (target, patch) if is_scalar(target) && is_scalar(&patch) => *target = in_style_of(target, patch),
            (target, patch) => {
                return Err(MergeError::WrongKind {
                    path: path.text(),
                    found: type_name(target),
                    patch: type_name(&patch),
                });
            }
        }
        Ok(true)
    }

    fn fields(
        &self,
        fields: &mut Map<String, Value>,
        patch: Map<String, Value>,
        known: Option<TypeRef<'s>>,
        path: &Path<'_>,
    ) -> Result<(), MergeError> {
        for (name, value) in fields.iter_mut().filter(|(name, _)| !patch.contains_key(*name)) {
            self.settle(value, known.and_then(|known| known.field(name)), &path.child(name)?)?;
        }
        for (name, patch) in patch {
            let path = path.child(&name)?;
            let known = known.and_then(|known| known.field(&name));
            match fields.get_mut(&name) {
                Some(target) if !target.is_null() => {
                    if !self.both(target, patch, known, &path)? {
                        fields.shift_remove(&name);
                    }
                }
                _ => match self.adopt(patch, known, &path)? {
                    Some(value) => {
                        fields.insert(name, value);
                    }
                    None => {
                        fields.shift_remove(&name);
                    }
                },
            }
        }
        Ok(())
    }

    fn lists(
        &self,
        items: &mut Vec<Value>,
        mut patch: Vec<Value>,
        known: Option<TypeRef<'s>>,
        path: &Path<'_>,
    ) -> Result<bool, MergeError> {
        match list::take_directive(&mut patch, path)? {
            Directive::Delete => return Ok(false),
            Directive::Merge => {
                *items = self.merge_list(std::mem::take(items), Patch::Other(patch), known, path)?;
            }
            Directive::Replace => *items = self.merge_list(patch, Patch::Same, known, path)?,
        }
        Ok(true)
    }

    /// Rebuilds the merge lists of what no patch mentions.
    fn settle(
        &self,
        value: &mut Value,
        known: Option<TypeRef<'s>>,
        path: &Path<'_>,
    ) -> Result<(), MergeError> {
        let known = self.type_of(known, value);
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    self.settle(value, known.and_then(|known| known.field(name)), &path.child(name)?)?;
                }
            }
            Value::Array(items) if known.is_some_and(|known| known.merge_keys().is_some()) => {
                *items = self.merge_list(std::mem::take(items), Patch::None, known, path)?;
            }
            _ => {}
        }
        Ok(())
    }

    /// What of a patch lands where the object has nothing.
    fn adopt(
        &self,
        patch: Value,
        known: Option<TypeRef<'s>>,
        path: &Path<'_>,
    ) -> Result<Option<Value>, MergeError> {
        let known = self.type_of(known, &patch);
        match patch {
            Value::Null => Ok(None),
            Value::Object(mut fields) => {
                // Here, and only here, an unknown directive is data.
                if Directive::take(&mut fields, path).is_ok_and(|directive| directive == Directive::Delete) {
                    return Ok(None);
                }
                // Below, however, it is an error.
                self.adopt_fields(&mut fields, known, path)?;
                Ok(Some(Value::Object(fields)))
            }
            Value::Array(items) if known.is_some_and(|known| known.merge_keys().is_some()) => {
                self.merge_list(items, Patch::Same, known, path).map(|items| Some(Value::Array(items)))
            }
            other => Ok(Some(other)),
        }
    }

    /// Obeys the directives and nulls in a mapping of the patch that is taken over.
    fn adopt_fields(
        &self,
        fields: &mut Map<String, Value>,
        known: Option<TypeRef<'s>>,
        path: &Path<'_>,
    ) -> Result<(), MergeError> {
        let mut dropped = Vec::new();
        for (name, value) in fields.iter_mut() {
            if !self.adopt_in_place(value, known.and_then(|known| known.field(name)), &path.child(name)?)? {
                dropped.push(name.clone());
            }
        }
        if !dropped.is_empty() {
            fields.retain(|name, _| !dropped.contains(name));
        }
        Ok(())
    }

    fn adopt_in_place(
        &self,
        value: &mut Value,
        known: Option<TypeRef<'s>>,
        path: &Path<'_>,
    ) -> Result<bool, MergeError> {
        let known = self.type_of(known, value);
        match value {
            Value::Null => return Ok(false),
            Value::Object(fields) => {
                if Directive::take(fields, path)? == Directive::Delete {
                    return Ok(false);
                }
                self.adopt_fields(fields, known, path)?;
            }
            Value::Array(items) if known.is_some_and(|known| known.merge_keys().is_some()) => {
                let mut patch = std::mem::take(items);
                if list::take_directive(&mut patch, path)? == Directive::Delete {
                    return Ok(false);
                }
                *items = self.merge_list(patch, Patch::Same, known, path)?;
            }
            _ => {}
        }
        Ok(true)
    }
}

fn is_scalar(value: &Value) -> bool {
    matches!(value, Value::Bool(_) | Value::Number(_) | Value::String(_))
}

/// A scalar of the patch, put where the object has another. kustomize keeps the quotes that are there, so a number or a
/// boolean becomes text in the place of a text that can only have been quoted.
fn in_style_of(target: &Value, patch: Value) -> Value {
    let is_quoted = target.is_string() && yaml::to_string(target).starts_with(['"', '\'']);
    match scalar_text(&patch) {
        Some(text) if is_quoted => Value::String(text),
        _ => patch,
    }
}

#[cfg(test)]
mod tests;
