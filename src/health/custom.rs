//! Health of the kinds that operators bring along.
//!
//! ```text
//! group and kind ──table──▶ Rule ──object──▶ health
//! ```
//!
//! Most operators follow one of few conventions, so most rows of the [`table`] are data: which conditions decide, or
//! which words a field may hold. Where a kind is its own, its row names a function of its family's file. Each rule
//! follows what the operator documents of its status; a status that it does not know is progress, because an
//! operator that says nothing decisive yet has not finished.

mod argo;
mod cluster;
mod crossplane;
mod database;
mod delivery;
mod gateway;
mod kruise;
mod numaproj;
mod platform;
mod policy;
mod promoter;
mod table;
mod view;

use self::view::{Conditions, View, because};
use crate::{
    api::{
        HealthStatus,
        HealthStatusCode::{self, Degraded, Healthy, Progressing, Suspended, Unknown},
    },
    object::Object,
};

/// How the health of a kind is told.
#[derive(Clone, Copy)]
enum Rule {
    /// The first of these conditions (type, status) that the object has decides.
    Conditions(&'static [(&'static str, &'static str, HealthStatusCode)]),
    /// The same, but not while `status.observedGeneration` is behind.
    Observed(&'static [(&'static str, &'static str, HealthStatusCode)]),
    /// The word in a field decides.
    Word(Words),
    /// A function decides.
    Judge(fn(View<'_>) -> HealthStatus),
    /// A function decides whether there is a health at all.
    Optional(fn(View<'_>) -> Option<HealthStatus>),
}

/// What the words in a field mean.
#[derive(Clone, Copy)]
struct Words {
    /// The field.
    field: &'static str,
    /// A field that explains it.
    message: &'static str,
    /// The words.
    words: &'static [(&'static str, HealthStatusCode)],
    /// What any other word means.
    otherwise: HealthStatusCode,
}

/// Judges an object of a custom kind. `None` when no rule is known for the kind, or when the kind has no health.
pub(super) fn judge(object: &Object) -> Option<HealthStatus> {
    let rule = table::rule(object.group(), object.kind())?;
    let view = View(object.value());
    match rule {
        Rule::Conditions(clauses) => Some(by_conditions(view, &view.conditions(), clauses)),
        Rule::Observed(_) if view.is_outdated("status.observedGeneration") => Some(view.unobserved()),
        Rule::Observed(clauses) => Some(by_conditions(view, &view.conditions(), clauses)),
        Rule::Word(words) => Some(by_word(view, &words)),
        Rule::Judge(judge) => Some(judge(view)),
        Rule::Optional(judge) => judge(view),
    }
}

/// Whether a rule is known for a kind.
pub(super) fn is_known(group: &str, kind: &str) -> bool {
    table::rule(group, kind).is_some()
}

fn by_conditions(
    view: View<'_>,
    conditions: &Conditions<'_>,
    clauses: &[(&str, &str, HealthStatusCode)],
) -> HealthStatus {
    let met = |(kind, status, code): &(&str, &str, HealthStatusCode)| {
        conditions.find(kind, status).map(|condition| because(*code, condition))
    };
    clauses.iter().find_map(met).unwrap_or_else(|| match clauses.first() {
        // Why it is not there yet is often said by the condition that will decide.
        Some((kind, ..)) if conditions.get(kind).is_some_and(|condition| !condition.message.is_empty()) => {
            conditions.get(kind).map_or_else(|| view.waiting(), |condition| because(Progressing, condition))
        }
        _ => view.waiting(),
    })
}

fn by_word(view: View<'_>, words: &Words) -> HealthStatus {
    let word = view.text(words.field);
    let known = words.words.iter().find(|(candidate, _)| *candidate == word).map(|(_, code)| *code);
    if !view.has(words.field) || (word.is_empty() && known.is_none()) {
        return view.waiting();
    }
    let message = view.text(words.message);
    let message = if message.is_empty() { format!("{} is {word}", view.kind()) } else { message.to_owned() };
    HealthStatus::new(known.unwrap_or(words.otherwise), message)
}

fn told(code: HealthStatusCode, message: impl Into<String>) -> HealthStatus {
    HealthStatus::new(code, message)
}
