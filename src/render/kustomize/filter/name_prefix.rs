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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn text_goes_before_or_after_the_name() {
        let specs = [FieldSpec::any("metadata/name", false)];
        let mut object = json!({"metadata": {"name": "web"}});
        apply(&mut object, Affix::Prefix("a-"), &specs).unwrap();
        apply(&mut object, Affix::Suffix("-z"), &specs).unwrap();
        assert_eq!(object["metadata"]["name"], "a-web-z");
        assert!(apply(&mut json!({"metadata": {"name": {}}}), Affix::Prefix("a"), &specs).is_err());
    }

    #[test]
    fn definitions_api_services_and_namespaces_of_any_group_keep_their_names() {
        let keeps = |api_version, kind| keeps_name(&Gvk::from_api_version(api_version, kind));
        assert!(keeps("v1", "Namespace") && keeps("example.com/v1", "Namespace"));
        assert!(keeps("apiextensions.k8s.io/v1", "CustomResourceDefinition"));
        assert!(keeps("apiregistration.k8s.io/v1", "APIService") && !keeps("example.com/v1", "APIService"));
        assert!(!keeps("v1", "Pod"));
    }
}
