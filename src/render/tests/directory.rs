use super::*;

fn app(files: &[(&str, &str)]) -> Rendered {
    rendered(files, json!({ "path": "app" }))
}

#[test]
fn yaml_and_json_files_are_read_in_the_order_of_their_paths() {
    let rendered = app(&[
        ("app/b.yml", &format!("# first\n---\n{}---\n{}", config_map("b1"), config_map("b2"))),
        (
            "app/a.json",
            r#"{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "labels": {"v": "1.0"}}}"#,
        ),
        ("app/README.md", "no manifest"),
        ("app/c.yaml", ""),
        ("app/sub/d.yaml", &config_map("d")),
        ("other/e.yaml", &config_map("e")),
    ]);
    assert_eq!(names(&rendered), ["a", "b1", "b2"]);
    assert_eq!(rendered.source_type, ApplicationSourceType::Directory);
    assert_eq!(rendered.objects[2].origin.to_string(), "'app/b.yml', line 8");
    assert_eq!(rendered.warnings, Vec::<String>::new());
}

#[test]
fn subdirectories_are_read_when_asked_for() {
    let files = [
        ("app/z.yaml", &*config_map("z")),
        ("app/a/b/c.yaml", &*config_map("c")),
        ("app/.hidden/h.yaml", &*config_map("h")),
    ];
    let rendered = rendered(&files, json!({ "path": "app", "directory": { "recurse": true } }));
    assert_eq!(names(&rendered), ["h", "c", "z"]);
}

#[test]
fn globs_are_matched_against_the_path_below_the_directory() {
    let files = [
        ("app/a.yaml", &*config_map("a")),
        ("app/b.json", r#"{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "b"}}"#),
        ("app/sub/c.yaml", &*config_map("c")),
        ("app/sub/d.yml", &*config_map("d")),
    ];
    let with = |directory: Value| {
        let rendered = rendered(&files, json!({ "path": "app", "directory": directory }));
        rendered.objects.into_iter().map(|rendered| rendered.object.name().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(with(json!({ "recurse": true, "include": "*.yaml" })), ["a", "c"]);
    assert_eq!(with(json!({ "recurse": true, "include": "sub/*" })), ["c", "d"]);
    assert_eq!(with(json!({ "recurse": true, "include": "{*.yml,b.json}" })), ["b", "d"]);
    assert_eq!(with(json!({ "recurse": true, "exclude": "{sub/c.yaml,*.json}" })), ["a", "d"]);
    assert_eq!(
        with(json!({ "recurse": true, "include": "*", "exclude": "sub/*" })),
        ["a", "b"],
        "exclude wins"
    );
    let error = refusal(tree(&files), json!({ "path": "app", "directory": { "include": "{a" } }));
    assert!(error.contains("spec.source.directory.include"), "{error}");
}

#[test]
fn other_extensions_are_read_when_the_filter_is_off() {
    let files = [("app/a.yaml", &*config_map("a")), ("app/b.manifest", &*config_map("b"))];
    assert_eq!(names(&app(&files)), ["a"]);
    let all = rendered(&files, json!({ "path": "app", "directory": { "disableExtensionFilter": true } }));
    assert_eq!(names(&all), ["a", "b"]);
}

#[test]
fn a_file_with_the_skip_marker_is_left_out() {
    let skipped = format!("# +argocd:skip-file-rendering\n{}", config_map("b"));
    assert_eq!(names(&app(&[("app/a.yaml", &config_map("a")), ("app/b.yaml", &skipped)])), ["a"]);
}

#[test]
fn lists_stand_for_their_items() {
    let list = "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: ConfigMap\n  metadata: {name: a}\n\
                - apiVersion: v1\n  kind: ConfigMapList\n  items:\n  - metadata: {name: b}\n";
    let empty = "apiVersion: v1\nkind: ConfigMapList\nitems: null\n";
    let no_list = "apiVersion: example.com/v1\nkind: Wishlist\nmetadata: {name: c}\nitems: [x]\n";
    let rendered = app(&[("app/a.yaml", list), ("app/b.yaml", empty), ("app/c.yaml", no_list)]);
    assert_eq!(names(&rendered), ["a", "b", "c"]);
    assert_eq!(rendered.objects[1].object.kind(), "ConfigMap");
    let error = refusal(
        tree(&[("app/a.yaml", "apiVersion: v1\nkind: List\nitems: [x]\n")]),
        json!({ "path": "app" }),
    );
    assert!(error.contains("'app/a.yaml', line 1") && error.contains("items[0]"), "{error}");
}

#[test]
fn a_broken_manifest_is_an_error_with_file_and_line() {
    let broken = format!("{}data:\n  a: b\n c: d\n", config_map("a"));
    let error = refusal(tree(&[("app/a.yaml", &broken)]), json!({ "path": "app" }));
    assert!(error.starts_with("cannot read 'app/a.yaml': line 7"), "{error}");
    let second = format!("{}---\na: [\n", config_map("a"));
    let error = refusal(tree(&[("app/a.yaml", &second)]), json!({ "path": "app" }));
    assert!(error.contains("'app/a.yaml'"), "{error}");
}

#[test]
fn a_document_without_kind_is_an_error_with_file_and_line() {
    let cases = [
        (
            "apiVersion: v1\nmetadata: {name: a}\n",
            "'app/a.yaml', line 1: object 'a': field 'kind' is missing",
        ),
        ("kind: ConfigMap\nmetadata: {name: a}\n", "field 'apiVersion' is missing"),
        ("apiVersion: v1\nkind: ConfigMap\n", "field 'metadata.name' is missing"),
        ("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: 7\n", "metadata.name"),
    ];
    for (text, words) in cases {
        let error = refusal(tree(&[("app/a.yaml", text)]), json!({ "path": "app" }));
        assert!(error.contains(words), "{text:?}: {error}");
    }
    let second = format!("{}---\n\nfoo: bar\n", config_map("a"));
    let error = refusal(tree(&[("app/a.yaml", &second)]), json!({ "path": "app" }));
    assert!(error.contains("'app/a.yaml', line 7"), "{error}");
}

#[test]
fn yaml_that_is_no_manifest_is_left_out_with_a_warning() {
    let rendered = app(&[
        ("app/a.yaml", &config_map("a")),
        ("app/values.yaml", "replicas: 3\n"),
        ("app/template.yaml", "{{ if }}\nx: [\n"),
    ]);
    assert_eq!(names(&rendered), ["a"]);
    assert_eq!(rendered.warnings.len(), 2, "{:?}", rendered.warnings);
    assert!(rendered.warnings[1].contains("'app/values.yaml', line 1"), "{:?}", rendered.warnings);
}

#[test]
fn a_json_file_holds_one_object() {
    for text in ["", "{\"a\": 1}", "[]", "{", "{\"kind\": \"A\"}\n{\"kind\": \"B\"}"] {
        let error = refusal(tree(&[("app/a.json", text)]), json!({ "path": "app" }));
        assert!(error.contains("'app/a.json'"), "{text:?}: {error}");
    }
}

#[test]
fn jsonnet_is_refused_by_name() {
    let files = tree(&[("app/a.jsonnet", "{}"), ("app/b.yaml", &config_map("b"))]);
    let error = refusal(files.clone(), json!({ "path": "app" }));
    assert!(error.contains("'app/a.jsonnet'") && error.contains("not supported"), "{error}");
    let rendered =
        try_render(files, json!({ "path": "app", "directory": { "exclude": "*.jsonnet" } })).unwrap();
    assert_eq!(names(&rendered), ["b"]);
}

#[test]
fn generated_names_are_let_through() {
    let rendered =
        app(&[("app/a.yaml", "apiVersion: batch/v1\nkind: Job\nmetadata: {generateName: hook-}\n")]);
    assert_eq!(rendered.objects[0].object.generate_name(), "hook-");
}

#[test]
fn repeated_keys_are_warned_about() {
    let rendered = app(&[("app/a.yaml", &format!("{}  name: b\n", config_map("a")))]);
    assert_eq!(names(&rendered), ["b"]);
    assert!(rendered.warnings[0].contains("'app/a.yaml', line 5: key 'name'"), "{:?}", rendered.warnings);
}

#[test]
fn links_to_files_of_the_tree_are_read_and_directories_are_not_entered_through_them() {
    let mut tree = tree(&[("app/a.yaml", &config_map("a")), ("shared/b.yaml", &config_map("b"))]);
    tree.insert_link(path("app/b.yaml"), "../shared/b.yaml");
    tree.insert_link(path("app/circle"), "../app");
    tree.insert_link(path("app/shared"), "../shared");
    tree.insert_link(path("linked"), "app");
    let all = try_render(tree.clone(), json!({ "path": "app", "directory": { "recurse": true } })).unwrap();
    assert_eq!(names(&all), ["a", "b"]);
    let linked = try_render(tree, json!({ "path": "linked", "directory": { "recurse": true } })).unwrap();
    assert_eq!(names(&linked), ["a", "b"]);
}
