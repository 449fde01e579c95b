//! `labels` and `commonLabels`: the same pairs at every place of the field specs.

use serde_json::{Map, Value};

use super::FilterError;
use crate::object::type_name;
use crate::render::kustomize::fieldspec::{Create, FieldSpec, visit};

/// Sets the pairs at every place; values that are there are replaced, mappings that are missing are made.
///
/// # Errors
/// When a place is neither a mapping nor null.
pub fn apply(
    object: &mut Value,
    pairs: &[(String, String)],
    fieldspecs: &[FieldSpec],
) -> Result<(), FilterError> {
    if pairs.is_empty() {
        return Ok(());
    }
    for spec in fieldspecs {
        visit(object, spec, Create::Mapping, &mut |place| {
            if place.is_null() {
                *place = Value::Object(Map::new());
            }
            let Value::Object(entries) = place else {
                return Err(FilterError::WrongType {
                    path: spec.path.clone(),
                    expected: "a mapping",
                    found: type_name(place),
                });
            };
            for (key, text) in pairs {
                entries.insert(key.clone(), Value::from(text.as_str()));
            }
            Ok(())
        })?;
    }
    Ok(())
}
