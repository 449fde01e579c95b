//! `namePrefix` and `nameSuffix`: text before or after a name.

use serde_json::Value;

use super::{FilterError, scalar_text};
use crate::object::{Gvk, type_name};
use crate::render::kustomize::fieldspec::{Create, FieldSpec, visit};

/// Which end of the name the text goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Affix<'a> {
    /// In front.
    Prefix(&'a str),
    /// Behind.
    Suffix(&'a str),
}

/// Whether objects of this (original) kind keep their names: their names mean something elsewhere.
pub fn keeps_name(original: &Gvk) -> bool {
    match original.kind.as_str() {
        "CustomResourceDefinition" | "Namespace" => true,
        "APIService" => original.group == "apiregistration.k8s.io",
        _ => false,
    }
}

/// Puts the text at every place; whether the object is one that [`keeps_name`] is the caller's question.
///
/// # Errors
/// When a place is a mapping or a list.
pub fn apply(object: &mut Value, affix: Affix<'_>, fieldspecs: &[FieldSpec]) -> Result<(), FilterError> {
    for spec in fieldspecs {
        visit(object, spec, Create::Scalar, &mut |place| {
            let Some(old) = scalar_text(place) else {
                return Err(FilterError::WrongType {
                    path: spec.path.clone(),
                    expected: "a scalar",
                    found: type_name(place),
                });
            };
            *place = Value::String(match affix {
                Affix::Prefix(text) => format!("{text}{old}"),
                Affix::Suffix(text) => format!("{old}{text}"),
            });
            Ok(())
        })?;
    }
    Ok(())
}
