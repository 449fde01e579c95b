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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pairs() -> Vec<(String, String)> {
        vec![("team".to_owned(), "a".to_owned()), ("app".to_owned(), "new".to_owned())]
    }

    #[test]
    fn pairs_are_added_and_replace_what_is_there() {
        let mut object = json!({"metadata": {"labels": {"app": "old", "tier": "web"}}});
        apply(&mut object, &pairs(), &[FieldSpec::any("metadata/labels", true)]).unwrap();
        assert_eq!(object["metadata"]["labels"], json!({"app": "new", "tier": "web", "team": "a"}));
    }

    #[test]
    fn a_missing_or_null_mapping_is_made_if_the_field_spec_creates() {
        for metadata in [json!({}), json!({"labels": null})] {
            let mut object = json!({"metadata": metadata});
            apply(&mut object, &pairs(), &[FieldSpec::any("metadata/labels", false)]).unwrap();
            assert_eq!(object["metadata"], metadata);
            apply(&mut object, &pairs(), &[FieldSpec::any("metadata/labels", true)]).unwrap();
            assert_eq!(object["metadata"]["labels"], json!({"app": "new", "team": "a"}));
        }
    }

    #[test]
    fn labels_that_are_a_list_are_an_error() {
        let result = apply(
            &mut json!({"metadata": {"labels": []}}),
            &pairs(),
            &[FieldSpec::any("metadata/labels", true)],
        );
        assert_eq!(
            result,
            Err(FilterError::WrongType {
                path: "metadata/labels".to_owned(),
                expected: "a mapping",
                found: "a list",
            })
        );
    }
}
