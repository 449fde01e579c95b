//! Reading the fields that decide, with their types checked.

use serde_json::Value;

use super::HealthError;
use crate::object::Object;

pub(super) fn at<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    let found = path.split('.').try_fold(value, |value, name| value.get(name))?;
    (!found.is_null()).then_some(found)
}

fn wrong(object: &Object, field: impl Into<String>, expected: &'static str) -> HealthError {
    HealthError::WrongType { object: object.key().to_string(), field: field.into(), expected }
}

/// A whole number, if the field is there.
pub(super) fn integer(object: &Object, path: &str) -> Result<Option<i64>, HealthError> {
    match at(object.value(), path) {
        None => Ok(None),
        Some(value) => value.as_i64().map(Some).ok_or_else(|| wrong(object, path, "a whole number")),
    }
}

/// A whole number, 0 if the field is absent.
pub(super) fn count(object: &Object, path: &str) -> Result<i64, HealthError> {
    integer(object, path).map(Option::unwrap_or_default)
}

/// A text, empty if the field is absent.
pub(super) fn text<'a>(object: &'a Object, path: &str) -> Result<&'a str, HealthError> {
    match at(object.value(), path) {
        None => Ok(""),
        Some(value) => value.as_str().ok_or_else(|| wrong(object, path, "a string")),
    }
}

/// A boolean, false if the field is absent.
pub(super) fn flag(object: &Object, path: &str) -> Result<bool, HealthError> {
    match at(object.value(), path) {
        None => Ok(false),
        Some(value) => value.as_bool().ok_or_else(|| wrong(object, path, "true or false")),
    }
}

/// Whether a field is there and not null.
pub(super) fn has(object: &Object, path: &str) -> bool {
    at(object.value(), path).is_some()
}

/// A list, empty if the field is absent.
pub(super) fn list<'a>(object: &'a Object, path: &str) -> Result<&'a [Value], HealthError> {
    match at(object.value(), path) {
        None => Ok(&[]),
        Some(value) => value.as_array().map(Vec::as_slice).ok_or_else(|| wrong(object, path, "a list")),
    }
}

/// One entry of `status.conditions`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Condition<'a> {
    pub kind: &'a str,
    pub status: &'a str,
    pub reason: &'a str,
    pub message: &'a str,
    /// How bad it is that the status is `False`, in Cluster API and Knative.
    pub severity: &'a str,
    /// The generation that it was told for, where the operator says so.
    pub observed_generation: Option<i64>,
}

impl<'a> Condition<'a> {
    pub(super) fn of(value: &'a Value) -> Self {
        let text = |name| value.get(name).and_then(Value::as_str).unwrap_or_default();
        Self {
            kind: text("type"),
            status: text("status"),
            reason: text("reason"),
            message: text("message"),
            severity: text("severity"),
            observed_generation: value.get("observedGeneration").and_then(Value::as_i64),
        }
    }

    pub(super) fn is_true(&self) -> bool {
        self.status == "True"
    }

    pub(super) fn is_false(&self) -> bool {
        self.status == "False"
    }
}

/// `status.conditions`, in order.
pub(super) fn conditions(object: &Object) -> Result<Vec<Condition<'_>>, HealthError> {
    let conditions = list(object, "status.conditions")?;
    if conditions.iter().any(|condition| !condition.is_object()) {
        return Err(wrong(object, "status.conditions", "a list of mappings"));
    }
    Ok(conditions.iter().map(Condition::of).collect())
}
