//! What an apply would make of an object, without a cluster: the sandbox's own server-side apply.

use super::apply::{ApplyError, Operation, apply};
use crate::object::{
    Object,
    fields::FieldSet,
    schema::{TypeRef, built_in},
};

/// What a server-side apply by a field manager leaves of a live object: fields that others own stay, fields that the
/// manager applied before and does not declare any more go, if the live object still has its `managedFields`.
///
/// # Errors
/// When the declared object does not fit the schema of its kind.
pub fn predict(live: &Object, desired: &Object, manager: &str) -> Result<Object, ApplyError> {
    let schema = built_in(&desired.gvk()).unwrap_or_else(TypeRef::deduced);
    let operation = Operation {
        manager,
        api_version: desired.api_version(),
        subresource: "",
        // A time is not part of what is asked for.
        now: "1970-01-01T00:00:00Z",
        reset: &FieldSet::new(),
    };
    let applied = apply(Some(live.value()), desired.value(), &schema, &operation, true)?;
    Object::from_value(applied).map_err(|error| ApplyError::BadRequest(error.to_string()))
}
