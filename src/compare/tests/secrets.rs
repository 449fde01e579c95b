//! No value of a Secret ever leaves the comparison.

#![allow(clippy::needless_pass_by_value, reason = "values are written in place")]

use super::*;

const CANARY: &str = "canary-9f2c";

fn secret(field: &str, entries: Value) -> Value {
    json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "a", "namespace": "n" }, field: entries })
}

fn encode(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}

#[test]
fn text_data_is_the_same_as_its_base64() {
    let live = secret("data", json!({ "a": encode("x"), "b": encode("y") }));
    assert_same(secret("stringData", json!({ "a": "x" })), live.clone());
    let mut both = secret("data", json!({ "a": encode("old"), "b": encode("y") }));
    both["stringData"] = json!({ "a": "x" });
    assert_same(both, live.clone());
    assert_differs(secret("stringData", json!({ "a": "z" })), live, &["data.a differs"]);
}

#[test]
fn no_value_is_in_a_difference() {
    let changed = format!("{CANARY}-changed");
    let (live, desired) = (
        secret("data", json!({ "a": encode(CANARY) })),
        secret("stringData", json!({ "a": changed, "b": CANARY })),
    );
    let (live, desired) = (object(live), object(desired));
    let found = format!(
        "{:?} {:?}",
        local(&desired, &live, &no_rules(), MANAGER),
        settle(&desired, &live, &no_rules())
    );
    for value in [CANARY, &encode(CANARY), &encode(&changed)] {
        assert!(!found.contains(value), "{found}");
    }
    assert!(found.contains("data.b"));
}

#[test]
fn values_are_masked_before_the_text_is_made() {
    let rules = no_rules();
    let options = TextDiffOptions { context: 3, rules: &rules };
    let mut live =
        secret("data", json!({ "same": encode(CANARY), "changed": encode(CANARY), "gone": encode(CANARY) }));
    live["metadata"]["annotations"] =
        json!({ "kubectl.kubernetes.io/last-applied-configuration": format!("{{\"data\":\"{CANARY}\"}}") });
    let predicted =
        secret("stringData", json!({ "same": CANARY, "changed": format!("{CANARY}2"), "new": CANARY }));
    let (live, predicted) = (object(live), object(predicted));
    let text = text_diff(Some(&live), Some(&predicted), &options);
    for value in [CANARY, &encode(CANARY), &encode(&format!("{CANARY}2"))] {
        assert!(!text.contains(value), "{text}");
    }
    assert!(text.contains("-  changed: ++++++++\n") && text.contains("+  changed: ++++++++++++\n"), "{text}");
    assert!(
        text.contains("   same: ++++++++\n") && text.contains("-  gone:") && text.contains("+  new:"),
        "{text}"
    );
    for text in [text_diff(Some(&live), None, &options), text_diff(None, Some(&predicted), &options)] {
        assert!(
            !text.contains(CANARY) && !text.contains(&encode(CANARY)) && text.contains("same: ++++++++"),
            "{text}"
        );
    }
}

#[test]
fn a_kind_that_is_called_secret_is_masked_in_any_group() {
    let rules = no_rules();
    let options = TextDiffOptions { context: 3, rules: &rules };
    let custom = |value: &str| {
        object(json!({ "apiVersion": "e.io/v1", "kind": "Secret", "metadata": { "name": "a" },
        "stringData": { "a": value }, "data": CANARY }))
    };
    let text = text_diff(Some(&custom(CANARY)), Some(&custom("other")), &options);
    assert!(!text.contains(CANARY) && text.contains("++++"), "{text}");
}

#[test]
fn problems_of_rules_do_not_show_values_of_objects() {
    let rules = rules(
        json!([{ "group": "", "kind": "Secret", "jqPathExpressions": [".data.a | fromjson | .b", ".data[] | error"] }]),
    );
    let same = object(secret("data", json!({ "a": encode(CANARY) })));
    assert_eq!(local(&same, &same, &rules, MANAGER), Local::Same);
    assert_eq!(rules.exhausted(), []);
}
