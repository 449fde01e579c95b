use serde_json::json;

use super::*;

fn id(kind: &str, name: &str) -> Id {
    Id { gvk: Gvk::from_api_version("v1", kind), name: name.to_owned(), namespace: String::new() }
}

fn source() -> Value {
    json!({"data": {
        "num": "5432", "str": "abc", "empty": "", "float": "1.5", "date": "2024-01-02", "yes": "yes", "bool": "true",
        "multi": "a: b", "host": "db.example.com:5432", "list": ["x", {"name": "n", "v": 1}], "none": null, "real": 7
    }})
}

fn target() -> Value {
    json!({
        "metadata": {"name": "target", "labels": {"app": "web"}},
        "n": 1, "s": "x", "nul": null, "f": 1.5, "b": true, "l": ["a", "b"], "m": {"a": 1}, "url": "http://a/b",
        "containers": [{"name": "web", "image": "i:1"}, {"name": "webhook", "image": "i:2"}]
    })
}

fn replacement(value: Value) -> Replacement {
    Replacement::deserialize(value).unwrap()
}

fn run(value: Value) -> Result<Value, ReplacementError> {
    let (mut source, mut target) = (source(), target());
    let mut resources = [
        Resource { ids: vec![id("Source", "source")], object: &mut source },
        Resource { ids: vec![id("Target", "new"), id("Target", "old")], object: &mut target },
    ];
    apply(&replacement(value), &mut resources, &Budget::default())?;
    Ok(target)
}

/// Copies one field of the source to one of the target.
fn copy(from: &str, to: &str, create: bool) -> Result<Value, ReplacementError> {
    run(json!({
        "source": {"kind": "Source", "fieldPath": from},
        "targets": [{"select": {"kind": "Target"}, "fieldPaths": [to], "options": {"create": create}}]
    }))
}

#[test]
fn a_scalar_that_is_there_keeps_its_type() {
    assert_eq!(copy("data.num", "n", false).unwrap()["n"], 5432);
    assert_eq!(copy("data.num", "s", false).unwrap()["s"], "5432");
    assert_eq!(copy("data.real", "s", false).unwrap()["s"], "7");
    assert_eq!(copy("data.num", "f", false).unwrap()["f"], 5432);
    assert_eq!(copy("data.empty", "s", false).unwrap()["s"], "");
    assert_eq!(copy("data.num", "l.[=a]", false).unwrap()["l"], json!(["5432", "b"]));
}

#[test]
fn text_that_does_not_fit_the_type_is_an_error() {
    for (from, to) in
        [("str", "n"), ("float", "n"), ("yes", "b"), ("bool", "n"), ("num", "nul"), ("empty", "n")]
    {
        let error = copy(&format!("data.{from}"), to, false).unwrap_err();
        assert!(matches!(error, ReplacementError::WrongType { .. }), "{from} to {to}: {error}");
    }
}

#[test]
fn a_created_scalar_gets_the_type_that_its_text_looks_like() {
    let created = |from: &str| copy(&format!("data.{from}"), "new", true).unwrap()["new"].clone();
    assert_eq!(created("num"), 5432);
    assert_eq!(created("bool"), true);
    assert_eq!(created("yes"), "yes");
    assert_eq!(created("multi"), "a: b");
    assert_eq!(created("empty"), "");
    assert_eq!(created("date"), "2024-01-02T00:00:00Z");
}

#[test]
fn a_mapping_or_a_list_becomes_a_copy() {
    assert_eq!(copy("data.list", "l", false).unwrap()["l"], source()["data"]["list"]);
    assert_eq!(copy("data.list.1", "m", false).unwrap()["m"], json!({"name": "n", "v": 1}));
    assert_eq!(copy("data.num", "l", false).unwrap()["l"], "5432");
    assert_eq!(copy("data.list", "a.b", true).unwrap()["a"]["b"], source()["data"]["list"]);
}

#[test]
fn paths_of_a_source_pick_the_first_element_that_fits_exactly() {
    for path in ["data.list.[name=n].v", ".data.list.-.v", "data.list.1.v"] {
        assert_eq!(copy(path, "n", false).unwrap()["n"], 1, "{path}");
    }
    for path in ["data.none", "data.gone", "data.list.7", "data.list.[name=x]", "data.str.x", "data.0"] {
        assert!(copy(path, "n", false).is_err(), "{path}");
    }
}

#[test]
fn paths_of_a_target_pick_every_element_that_fits_the_expression() {
    let images = |path: &str| {
        let target = copy("data.str", path, false).unwrap();
        let image = |index: usize| target["containers"][index]["image"].as_str().unwrap().to_owned();
        (image(0), image(1))
    };
    let both = ("abc".to_owned(), "abc".to_owned());
    assert_eq!(images("containers.[name=web].image"), both);
    assert_eq!(images("containers.*.image"), both);
    assert_eq!(images("containers.[name=^web$].image"), ("abc".to_owned(), "i:2".to_owned()));
    assert_eq!(images("containers.1.image"), ("i:1".to_owned(), "abc".to_owned()));
}

#[test]
fn missing_parts_of_a_path_are_created_on_demand() {
    assert_eq!(copy("data.str", "x.[name=n].y", true).unwrap()["x"], json!([{"name": "n", "y": "abc"}]));
    assert_eq!(copy("data.str", "l.2", true).unwrap()["l"], json!(["a", "b", "abc"]));
    assert_eq!(copy("data.str", r"an.a\.b/c", true).unwrap()["an"], json!({"a.b/c": "abc"}));
    assert_eq!(copy("data.str", "an.[a.b/c]", true).unwrap()["an"], json!({"a.b/c": "abc"}));
    assert_eq!(copy("data.str", "nul.foo", true).unwrap()["nul"], Value::Null);
}

#[test]
fn a_path_that_leads_nowhere_is_an_error() {
    for path in ["gone", "m.gone", "l.2", "containers.[name=x].image", "l.-", "s.x", "m.[a=b]"] {
        let error = copy("data.str", path, false).unwrap_err();
        assert!(matches!(error, ReplacementError::NoTargetField { .. }), "{path}: {error}");
    }
    for path in ["x.*.y", "l.7", "m.a.b"] {
        assert!(copy("data.str", path, true).is_err(), "{path}");
    }
}

#[test]
fn a_delimiter_takes_a_part_and_replaces_a_part() {
    let part = |from_index: i64, to_index: i64| {
        run(json!({
            "source": {"kind": "Source", "fieldPath": "data.host", "options": {"delimiter": ":", "index": from_index}},
            "targets": [{"select": {"kind": "Target"}, "fieldPaths": ["url"], "options": {"delimiter": "/", "index": to_index}}]
        }))
        .map(|target| target["url"].as_str().unwrap().to_owned())
    };
    assert_eq!(part(0, 2).unwrap(), "http://db.example.com/b");
    assert_eq!(part(1, -1).unwrap(), "5432/http://a/b");
    assert_eq!(part(1, 9).unwrap(), "http://a/b/5432");
    for index in [2, -1] {
        assert!(matches!(part(index, 0), Err(ReplacementError::IndexOutOfBounds { .. })));
    }
}

#[test]
fn a_delimiter_needs_a_scalar() {
    let options = json!({"delimiter": "/"});
    let source = run(
        json!({"source": {"kind": "Source", "fieldPath": "data.list", "options": options}, "targets": [{"select": {}}]}),
    );
    assert!(matches!(source, Err(ReplacementError::DelimiterOnNonScalar { .. })));
    let target = run(
        json!({"sourceValue": "x", "targets": [{"select": {"kind": "Target"}, "fieldPaths": ["m"], "options": options}]}),
    );
    assert!(matches!(target, Err(ReplacementError::DelimiterOnNonScalar { .. })));
}

#[test]
fn targets_are_selected_by_any_id_and_rejected_by_any() {
    let text = |select: Value, reject: Value| {
        let targets = json!([{"select": select, "reject": reject, "fieldPaths": ["s"]}]);
        run(json!({"sourceValue": "new", "targets": targets})).map(|target| target["s"].clone())
    };
    assert_eq!(text(json!({"name": "old"}), json!([])).unwrap(), "new");
    assert_eq!(text(json!({"name": "n.*"}), json!([])).unwrap(), "new");
    assert_eq!(text(json!({"name": "ne"}), json!([])).unwrap(), "x");
    assert_eq!(text(json!({"kind": "Target"}), json!([{"name": "old"}])).unwrap(), "x");
    assert_eq!(text(json!({"kind": "Target"}), json!([{"name": "other"}])).unwrap(), "new");
    assert_eq!(text(json!({"labelSelector": "app=web"}), json!([])).unwrap(), "new");
    assert_eq!(text(json!({"kind": "Target"}), json!([{"labelSelector": "app=web"}])).unwrap(), "x");
    assert_eq!(
        text(json!({"kind": "Target"}), json!([{"name": "other", "labelSelector": "app=api"}])).unwrap(),
        "new"
    );
}

#[test]
fn exactly_one_source_must_match() {
    let with = |source: Value| {
        run(json!({"source": source, "targets": [{"select": {"kind": "Target"}, "fieldPaths": ["s"]}]}))
    };
    assert!(matches!(with(json!({"kind": "Nothing"})), Err(ReplacementError::NoSource { .. })));
    assert!(matches!(with(json!({})), Err(ReplacementError::ManySources { .. })));
    let name = with(json!({"name": "old"})).unwrap();
    assert_eq!(name["s"], "target");
}

#[test]
fn incomplete_replacements_are_errors() {
    let targets = json!([{"select": {}}]);
    assert_eq!(run(json!({"targets": targets})), Err(ReplacementError::Incomplete));
    assert_eq!(run(json!({"sourceValue": "x"})), Err(ReplacementError::Incomplete));
    assert_eq!(
        run(json!({"sourceValue": "x", "source": {}, "targets": targets})),
        Err(ReplacementError::TwoSources)
    );
    assert_eq!(run(json!({"sourceValue": "x", "targets": [{}]})), Err(ReplacementError::NothingToSelect));
}

fn inside(text: &str, path: &str, create: bool) -> Value {
    let mut object = json!({"data": {"c.x": text}});
    let mut resources = [Resource { ids: vec![id("Target", "t")], object: &mut object }];
    let targets =
        json!([{"select": {}, "fieldPaths": [format!(r"data.c\.x.{path}")], "options": {"create": create}}]);
    apply(
        &replacement(json!({"sourceValue": "new", "targets": targets})),
        &mut resources,
        &Budget::default(),
    )
    .unwrap();
    object["data"]["c.x"].clone()
}

#[test]
fn a_field_inside_of_json_is_set_and_the_layout_kept() {
    assert_eq!(
        inside(r#"{"b": {"x": "<old>"}, "a": "<&>"}"#, "b.x", false),
        r#"{"a":"\u003c\u0026\u003e","b":{"x":"new"}}"#
    );
    assert_eq!(inside("{\n  \"a\": [\"old\"]\n}", "a.0", false), "{\n  \"a\": [\n    \"new\"\n  ]\n}");
    assert_eq!(inside(r#"{"a": 1}"#, "b", true), r#"{"a":1,"b":"new"}"#);
}

#[test]
fn a_field_inside_of_yaml_is_set_and_quotes_and_flow_stay() {
    let yaml = "global:\n  env: OLD\nconfigs:\n  - name: \"p\"\n    static:\n      - targets: [\"localhost:9090\"]\n";
    assert_eq!(
        inside(yaml, "global.env", false),
        "global:\n  env: new\nconfigs:\n- name: \"p\"\n  static:\n  - targets: [\"localhost:9090\"]"
    );
    assert_eq!(inside("a: 'old'\nb: |\n  x\n  y\nc: on", "a", false), "a: 'new'\nb: |\n  x\n  y\nc: on");
}

#[test]
fn comments_inside_of_yaml_stay() {
    assert_eq!(inside("# head\na: old # why\nb: 1", "a", false), "# head\na: new # why\nb: 1");
}
