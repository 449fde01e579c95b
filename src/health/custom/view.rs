//! Reading a custom object: a field that is absent, null or of another type than asked for counts as not there.
//!
//! The API server has checked these objects against their operator's schema, and many states are told by a field
//! that is not there yet, so unlike the built-in checks nothing here is an error.

use serde_json::{Map, Value};

use crate::{
    api::{HealthStatus, HealthStatusCode},
    health::fields::{Condition, at},
};

/// One object, or a part of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct View<'a>(pub &'a Value);

impl<'a> View<'a> {
    pub(super) fn get(self, path: &str) -> Option<&'a Value> {
        at(self.0, path)
    }

    pub(super) fn part(self, path: &str) -> View<'a> {
        View(self.get(path).unwrap_or(&Value::Null))
    }

    pub(super) fn has(self, path: &str) -> bool {
        self.get(path).is_some()
    }

    /// Empty if absent.
    pub(super) fn text(self, path: &str) -> &'a str {
        self.get(path).and_then(Value::as_str).unwrap_or_default()
    }

    pub(super) fn number(self, path: &str) -> Option<i64> {
        self.get(path).and_then(Value::as_i64)
    }

    /// 0 if absent.
    pub(super) fn count(self, path: &str) -> i64 {
        self.number(path).unwrap_or_default()
    }

    pub(super) fn flag(self, path: &str) -> Option<bool> {
        self.get(path).and_then(Value::as_bool)
    }

    pub(super) fn is(self, path: &str) -> bool {
        self.flag(path) == Some(true)
    }

    /// Empty if absent.
    pub(super) fn items(self, path: &str) -> impl Iterator<Item = View<'a>> + Clone + use<'a> {
        self.get(path).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default().iter().map(View)
    }

    /// The values of a mapping. Empty if absent.
    pub(super) fn values(self, path: &str) -> impl Iterator<Item = View<'a>> + use<'a> {
        self.get(path).and_then(Value::as_object).into_iter().flat_map(Map::values).map(View)
    }

    /// Whether a list or mapping is absent or has nothing in it.
    pub(super) fn is_empty(self, path: &str) -> bool {
        match self.get(path) {
            Some(Value::Array(items)) => items.is_empty(),
            Some(Value::Object(fields)) => fields.is_empty(),
            other => other.is_none(),
        }
    }

    pub(super) fn annotation(self, name: &str) -> Option<&'a str> {
        self.part("metadata.annotations").0.get(name)?.as_str()
    }

    pub(super) fn label(self, name: &str) -> Option<&'a str> {
        self.part("metadata.labels").0.get(name)?.as_str()
    }

    pub(super) fn kind(self) -> &'a str {
        self.text("kind")
    }

    pub(super) fn generation(self) -> Option<i64> {
        self.number("metadata.generation")
    }

    /// Whether the operator says that it has not seen the newest version of the object yet. One that says nothing
    /// of generations is believed.
    pub(super) fn is_outdated(self, observed_generation: &str) -> bool {
        matches!((self.generation(), self.number(observed_generation)), (Some(now), Some(seen)) if now != seen)
    }

    /// `status.conditions`.
    pub(super) fn conditions(self) -> Conditions<'a> {
        self.conditions_at("status.conditions")
    }

    pub(super) fn conditions_at(self, path: &str) -> Conditions<'a> {
        Conditions(self.items(path).map(|item| Condition::of(item.0)).collect())
    }

    /// What is said of an object that has not said anything decisive.
    pub(super) fn waiting(self) -> HealthStatus {
        HealthStatus::new(
            HealthStatusCode::Progressing,
            format!("Waiting for {} to report its state", self.kind()),
        )
    }

    pub(super) fn unobserved(self) -> HealthStatus {
        let message = format!("Waiting for the controller to observe the newest version of {}", self.kind());
        HealthStatus::new(HealthStatusCode::Progressing, message)
    }
}

/// Conditions in their order.
#[derive(Clone, Debug)]
pub(super) struct Conditions<'a>(Vec<Condition<'a>>);

impl<'a> Conditions<'a> {
    pub(super) fn iter(&self) -> impl Iterator<Item = &Condition<'a>> {
        self.0.iter()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The first of a type.
    pub(super) fn get(&self, kind: &str) -> Option<&Condition<'a>> {
        self.iter().find(|condition| condition.kind == kind)
    }

    /// The first of a type with a status.
    pub(super) fn find(&self, kind: &str, status: &str) -> Option<&Condition<'a>> {
        self.iter().find(|condition| condition.kind == kind && condition.status == status)
    }

    pub(super) fn is_true(&self, kind: &str) -> bool {
        self.find(kind, "True").is_some()
    }

    /// The first with a status, whatever its type.
    pub(super) fn any(&self, status: &str) -> Option<&Condition<'a>> {
        self.iter().find(|condition| condition.status == status)
    }
}

/// A health that a condition is the reason for.
pub(super) fn because(status: HealthStatusCode, condition: &Condition<'_>) -> HealthStatus {
    let text = if condition.message.is_empty() { condition.reason } else { condition.message };
    HealthStatus::new(status, if text.is_empty() { condition.kind } else { text })
}
