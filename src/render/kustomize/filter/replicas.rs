//! `replicas`: the number of replicas of a workload.

use serde_json::Value;

use super::FilterError;
use crate::object::type_name;
use crate::render::kustomize::fieldspec::{Create, FieldSpec, visit};

/// Sets the count at every place that the field specs name in an object of this kind.
///
/// # Errors
/// When a place is a mapping or a list.
pub fn apply(object: &mut Value, count: i64, fieldspecs: &[FieldSpec]) -> Result<(), FilterError> {
    for spec in fieldspecs {
        visit(object, spec, Create::Scalar, &mut |place| {
            if place.is_object() || place.is_array() {
                return Err(FilterError::WrongType {
                    path: spec.path.clone(),
                    expected: "a number",
                    found: type_name(place),
                });
            }
            *place = Value::from(count);
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
    fn the_count_is_set_or_created_in_kinds_that_have_one() {
        let specs = [FieldSpec { kind: "Deployment".to_owned(), ..FieldSpec::any("spec/replicas", true) }];
        for spec in [json!({"replicas": 1}), json!({"replicas": null}), json!({})] {
            let mut object = json!({"kind": "Deployment", "spec": spec});
            apply(&mut object, 5, &specs).unwrap();
            assert_eq!(object["spec"]["replicas"], 5);
        }
        let mut other = json!({"kind": "Job", "spec": {}});
        apply(&mut other, 5, &specs).unwrap();
        assert_eq!(other, json!({"kind": "Job", "spec": {}}));
    }
}
