//! `commonAnnotations`: pairs of text, set exactly as labels are.

use serde_json::Value;

use super::{FilterError, labels};
use crate::render::kustomize::fieldspec::FieldSpec;

/// Sets the pairs at every place; values that are there are replaced, mappings that are missing are made.
///
/// # Errors
/// When a place is neither a mapping nor null.
pub fn apply(
    object: &mut Value,
    pairs: &[(String, String)],
    fieldspecs: &[FieldSpec],
) -> Result<(), FilterError> {
    labels::apply(object, pairs, fieldspecs)
}
