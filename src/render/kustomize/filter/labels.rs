//! `labels` and `commonLabels`: the same pairs at every place of the field specs.

use serde_json::{Map, Value};

use super::FilterError;
use crate::object::type_name;
use crate::render::kustomize::{
    fieldspec::{Create, FieldSpec, visit_places},
    shared::{Place, Shared},
};

/// Sets the pairs at every place; values that are there are replaced, mappings that are missing are made. What is added to
/// several places is noted in `shared`.
///
/// # Errors
/// When a place is neither a mapping nor null, or a key is empty.
pub fn apply(
    object: &mut Value,
    pairs: &[(String, String)],
    fieldspecs: &[FieldSpec],
    shared: &mut Shared,
) -> Result<(), FilterError> {
    if pairs.is_empty() {
        return Ok(());
    }
    let mut added: Vec<Vec<Place>> = vec![Vec::new(); pairs.len()];
    for spec in fieldspecs {
        visit_places(object, spec, Create::Mapping, &mut |place, trail| {
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
            let mut place = None;
            for ((key, text), added) in pairs.iter().zip(&mut added) {
                if key.is_empty() {
                    return Err(FilterError::EmptyKey { path: spec.path.clone() });
                }
                if entries.insert(key.clone(), Value::from(text.as_str())).is_none() {
                    added.push(Place::clone(place.get_or_insert_with(|| trail.to_place())));
                }
            }
            Ok(())
        })?;
    }
    for ((key, text), places) in pairs.iter().zip(added) {
        shared.add(key, text, places);
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
        apply(&mut object, &pairs(), &[FieldSpec::any("metadata/labels", true)], &mut Shared::default())
            .unwrap();
        assert_eq!(object["metadata"]["labels"], json!({"app": "new", "tier": "web", "team": "a"}));
    }

    #[test]
    fn a_missing_or_null_mapping_is_made_if_the_field_spec_creates() {
        for metadata in [json!({}), json!({"labels": null})] {
            let mut object = json!({"metadata": metadata});
            apply(&mut object, &pairs(), &[FieldSpec::any("metadata/labels", false)], &mut Shared::default())
                .unwrap();
            assert_eq!(object["metadata"], metadata);
            apply(&mut object, &pairs(), &[FieldSpec::any("metadata/labels", true)], &mut Shared::default())
                .unwrap();
            assert_eq!(object["metadata"]["labels"], json!({"app": "new", "team": "a"}));
        }
    }

    #[test]
    fn labels_that_are_a_list_are_an_error() {
        let result = apply(
            &mut json!({"metadata": {"labels": []}}),
            &pairs(),
            &[FieldSpec::any("metadata/labels", true)],
            &mut Shared::default(),
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
