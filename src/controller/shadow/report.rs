//! The report as it stands in the ConfigMap.
//!
//! What differs comes first and has the room that it needs; what is equal has what is left. A ConfigMap ends at 1 MiB,
//! so what does not fit is counted in `leftOut` and named nowhere.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::verdict::{Agreement, Difference, Outcome};
use crate::{controller::ApplicationKey, object::yaml};

/// The ConfigMap of the report.
pub(crate) const NAME: &str = "skiff-shadow";
/// How much it may hold. The API server takes 1 MiB, names and managed fields included.
const ROOM: usize = 900 << 10;
/// The longest text of one entry.
const TEXT: usize = 500;
/// Differences that are shown of one Application.
const DIFFERENCES: usize = 20;
/// Notes that are shown of one Application.
const NOTES: usize = 10;

/// All Applications with what became of their comparison.
pub(super) type Outcomes = BTreeMap<ApplicationKey, Outcome>;

/// How many Applications there are of each kind.
pub(super) fn counts(outcomes: &Outcomes) -> BTreeMap<Agreement, usize> {
    let mut counts: BTreeMap<Agreement, usize> = Agreement::ALL.iter().map(|each| (*each, 0)).collect();
    for outcome in outcomes.values() {
        *counts.entry(outcome.agreement).or_default() += 1;
    }
    counts
}

/// The ConfigMap's data.
pub(super) fn data(outcomes: &Outcomes) -> BTreeMap<String, String> {
    data_within(outcomes, ROOM)
}

fn data_within(outcomes: &Outcomes, room: usize) -> BTreeMap<String, String> {
    let mut left = room;
    let (mut data, mut left_out) = (BTreeMap::new(), Map::new());
    for agreement in Agreement::ALL {
        let (mut text, mut missing) = (String::new(), 0);
        for (key, outcome) in outcomes.iter().filter(|(_, outcome)| outcome.agreement == agreement) {
            let entry = yaml::to_string(&json!([entry(key, outcome)]));
            // Strings in JSON, as the ConfigMap is sent, are longer than what they say.
            let size =
                entry.len() + entry.bytes().filter(|byte| matches!(byte, b'\n' | b'"' | b'\\')).count();
            if size > left {
                missing += 1;
                continue;
            }
            left -= size;
            text.push_str(&entry);
        }
        if missing > 0 {
            left_out.insert(agreement.label().to_owned(), missing.into());
        }
        data.insert(format!("{}.yaml", agreement.label()), some(text));
    }
    let counts = counts(outcomes);
    let mut summary = Map::new();
    summary.insert("version".to_owned(), env!("CARGO_PKG_VERSION").into());
    summary.insert("applications".to_owned(), outcomes.len().into());
    for agreement in Agreement::ALL {
        let count = counts.get(&agreement).copied().unwrap_or_default();
        summary.insert(agreement.label().to_owned(), count.into());
    }
    if !left_out.is_empty() {
        summary.insert("leftOut".to_owned(), left_out.into());
    }
    data.insert("summary.yaml".to_owned(), yaml::to_string(&Value::Object(summary)));
    data
}

fn some(text: String) -> String {
    if text.is_empty() { "[]\n".to_owned() } else { text }
}

fn entry(key: &ApplicationKey, outcome: &Outcome) -> Value {
    let mut entry = Map::new();
    entry.insert("application".to_owned(), key.to_string().into());
    match outcome.revisions.as_slice() {
        [] => {}
        [one] => {
            entry.insert("revision".to_owned(), one.as_str().into());
        }
        several => {
            entry.insert("revisions".to_owned(), several.to_vec().into());
        }
    }
    entry.insert("comparedAt".to_owned(), whole_seconds(outcome).into());
    if !outcome.why.is_empty() {
        entry.insert("why".to_owned(), cut(&outcome.why).into());
    }
    if !outcome.differences.is_empty() {
        let shown = outcome.differences.iter().take(DIFFERENCES).map(difference).collect();
        entry.insert("differences".to_owned(), Value::Array(shown));
        note_rest(&mut entry, "moreDifferences", outcome.differences.len(), DIFFERENCES);
    }
    if !outcome.notes.is_empty() {
        let shown: Vec<String> = outcome.notes.iter().take(NOTES).map(|note| cut(note)).collect();
        entry.insert("notes".to_owned(), shown.into());
        note_rest(&mut entry, "moreNotes", outcome.notes.len(), NOTES);
    }
    Value::Object(entry)
}

fn note_rest(entry: &mut Map<String, Value>, name: &str, all: usize, shown: usize) {
    if all > shown {
        entry.insert(name.to_owned(), (all - shown).into());
    }
}

fn difference(difference: &Difference) -> Value {
    let mut shown = json!({
        "of": cut(&difference.of), "skiff": cut(&difference.skiff), "argoCD": cut(&difference.argo_cd),
    });
    if let Some(shown) = shown.as_object_mut().filter(|_| !difference.because.is_empty()) {
        let because: Vec<String> = difference.because.iter().map(|text| cut(text)).collect();
        shown.insert("because".to_owned(), because.into());
    }
    shown
}

fn whole_seconds(outcome: &Outcome) -> String {
    outcome.compared_at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(TEXT) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn outcome(agreement: Agreement) -> Outcome {
        Outcome { agreement, ..Outcome::not_comparable("", Timestamp::UNIX_EPOCH) }
    }

    fn key(name: &str) -> ApplicationKey {
        ApplicationKey::new("argocd", name)
    }

    #[test]
    fn what_differs_is_told_with_both_sides() {
        let mut different = outcome(Agreement::Different);
        different.revisions = vec!["abc".to_owned()];
        different.differences = vec![Difference::new("sync status", &"OutOfSync", &"Synced")];
        let outcomes = Outcomes::from([(key("a"), different), (key("b"), outcome(Agreement::Equal))]);
        let data = data(&outcomes);
        assert_eq!(
            data["different.yaml"],
            "- application: argocd/a\n  revision: abc\n  comparedAt: \"1970-01-01T00:00:00Z\"\n  differences:\n  - of: sync \
             status\n    skiff: OutOfSync\n    argoCD: Synced\n"
        );
        assert!(data["equal.yaml"].contains("argocd/b"));
        assert_eq!(data["doubtful.yaml"], "[]\n");
        let summary = &data["summary.yaml"];
        assert!(
            summary.contains("applications: 2\ndifferent: 1\n") && summary.contains("equal: 1\n"),
            "{summary}"
        );
    }

    #[test]
    fn the_report_never_grows_beyond_its_room_and_tells_what_is_left_out() {
        let mut outcomes = Outcomes::new();
        for number in 0..9000 {
            let mut equal = outcome(Agreement::Equal);
            equal.revisions = vec!["0123456789".repeat(4)];
            outcomes.insert(key(&format!("equal-{number}")), equal);
        }
        for number in 0..100 {
            let mut different = outcome(Agreement::Different);
            let long = "\"\n".repeat(1000);
            different.differences = vec![Difference::new(&long, &long, &long); 100];
            different.notes = vec![long; 100];
            outcomes.insert(key(&format!("different-{number}")), different);
        }
        let data = data(&outcomes);
        let sent = serde_json::to_string(&data).unwrap().len();
        assert!(sent < 1 << 20, "{sent}");
        assert!(data["different.yaml"].contains("moreDifferences: 80"));
        let summary = &data["summary.yaml"];
        assert!(summary.contains("applications: 9100") && summary.contains("different: 100"), "{summary}");
        assert!(summary.contains("leftOut:"), "{summary}");
    }
}
