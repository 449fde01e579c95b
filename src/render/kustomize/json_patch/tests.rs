use serde_json::json;

use super::*;

fn patched(object: Value, patch: &str) -> Result<Value, JsonPatchError> {
    let mut object = object;
    apply(&parse(patch)?, &mut object, &Budget::default())?;
    Ok(object)
}

#[test]
fn every_operation_does_what_the_standard_says() {
    let object = || json!({"a": {"b": [1, 2, 3]}, "c/d": 1, "~": 2});
    let cases = [
        ("[{op: add, path: /a/b/1, value: x}]", json!({"a": {"b": [1, "x", 2, 3]}, "c/d": 1, "~": 2})),
        ("[{op: add, path: /a/b/-, value: x}]", json!({"a": {"b": [1, 2, 3, "x"]}, "c/d": 1, "~": 2})),
        ("[{op: add, path: /a/b, value: x}]", json!({"a": {"b": "x"}, "c/d": 1, "~": 2})),
        ("[{op: remove, path: /a/b/0}]", json!({"a": {"b": [2, 3]}, "c/d": 1, "~": 2})),
        (
            "[{op: replace, path: /c~1d, value: {x: null}}]",
            json!({"a": {"b": [1, 2, 3]}, "c/d": {"x": null}, "~": 2}),
        ),
        (
            "[{op: remove, path: /~0}, {op: move, from: /c~1d, path: /e}]",
            json!({"a": {"b": [1, 2, 3]}, "e": 1}),
        ),
        ("[{op: copy, from: /a/b/2, path: /a/b/0}]", json!({"a": {"b": [3, 1, 2, 3]}, "c/d": 1, "~": 2})),
        ("[{op: test, path: /a/b, value: [1, 2.0, 3]}]", object()),
        (r#"[{"op": "test", "path": "/missing", "value": null}]"#, object()),
    ];
    for (patch, expected) in cases {
        assert_eq!(patched(object(), patch).unwrap(), expected, "{patch}");
    }
}

#[test]
fn null_is_added_where_no_value_is_given_and_the_whole_object_stays() {
    assert_eq!(patched(json!({}), "[{op: add, path: /a}]").unwrap(), json!({"a": null}));
    for patch in ["[{op: add, path: '', value: {}}]", "[{op: remove, path: ''}]", "[{op: replace, path: /a}]"]
    {
        assert!(patched(json!({"a": 1}), patch).is_err(), "{patch}");
    }
}

#[test]
fn a_negative_index_counts_from_the_end() {
    let object = || json!({"l": [1, 2, 3]});
    assert_eq!(
        patched(object(), "[{op: replace, path: /l/-1, value: x}]").unwrap(),
        json!({"l": [1, 2, "x"]})
    );
    assert_eq!(patched(object(), "[{op: remove, path: /l/-3}]").unwrap(), json!({"l": [2, 3]}));
    assert!(patched(object(), "[{op: remove, path: /l/-4}]").is_err());
}

#[test]
fn yaml_is_read_as_yaml_1_1() {
    assert_eq!(patched(json!({}), "- op: add\n  path: /a\n  value: yes\n").unwrap(), json!({"a": true}));
}

#[test]
fn what_is_not_there_fails_and_the_message_says_what_and_where() {
    let fails = [
        "[{op: remove, path: /x}]",
        "[{op: replace, path: /x/y, value: 1}]",
        "[{op: add, path: /x/y, value: 1}]",
        "[{op: add, path: /l/7, value: 1}]",
        "[{op: add, path: /l/x, value: 1}]",
        "[{op: replace, path: /l/3, value: 1}]",
        "[{op: test, path: /l, value: 1}]",
        "[{op: move, from: /x, path: /y}]",
        "[{op: add, path: /s/x, value: 1}]",
    ];
    for patch in fails {
        let error = patched(json!({"l": [1], "s": "text"}), patch).unwrap_err();
        assert!(error.to_string().contains("operation 1"), "{patch}: {error}");
    }
}

#[test]
fn as_kustomize_has_it_a_missing_field_is_replaced_and_copied_as_null() {
    let patch = "[{op: replace, path: /x, value: 1}, {op: copy, from: /none, path: /y}]";
    assert_eq!(patched(json!({"l": [1]}), patch).unwrap(), json!({"l": [1], "x": 1, "y": null}));
    assert!(patched(json!({}), "[{op: copy, from: /none/deep, path: /y}]").is_err());
}

#[test]
fn what_is_not_a_patch_is_refused() {
    for text in [
        "",
        "a: b",
        "text",
        "[1]",
        "[{op: add}]",
        "[{op: fly, path: /a}]",
        "[{op: replace, path: /a}]",
        "[{op: move, path: /a}]",
        "{",
    ] {
        assert!(parse(text).is_err(), "{text}");
    }
}

#[test]
fn in_patches_of_a_kustomization_annotations_are_always_there() {
    let patch = parse("[{op: add, path: /metadata/annotations/a, value: b}]").unwrap();
    let mut object = json!({"metadata": {"name": "x"}});
    assert!(apply(&patch, &mut object.clone(), &Budget::default()).is_err());
    apply_keeping_annotations(&patch, &mut object, &Budget::default()).unwrap();
    assert_eq!(object, json!({"metadata": {"name": "x", "annotations": {"a": "b"}}}));
    let mut other = json!({"metadata": {"name": "x"}});
    apply_keeping_annotations(&parse("[]").unwrap(), &mut other, &Budget::default()).unwrap();
    assert_eq!(other, json!({"metadata": {"name": "x"}}));
}
