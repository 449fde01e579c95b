//! Behaviour of whole builds that the conformance data does not show: hostile trees, limits, messages.

mod properties;
mod quirks;

use std::sync::Arc;

use serde_json::{Value, json};

use super::{KustomizeError, Limits, LoadRestrictor, Options, Output, build};
use crate::{
    error::chain,
    files::{FileLimits, Files, MemoryTree, RepoPath},
};

const CONFIG_MAP: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {k: v}\n";

fn path(text: &str) -> RepoPath {
    RepoPath::parse(text).unwrap()
}

fn tree(files: &[(&str, &str)]) -> MemoryTree {
    MemoryTree::new(files.iter().map(|(path, text)| (*path, *text))).unwrap()
}

fn build_with(tree: MemoryTree, root: &str, options: &Options) -> Result<Output, KustomizeError> {
    build(&Files::new(Arc::new(tree), FileLimits::default()), &path(root), options)
}

fn built(files: &[(&str, &str)], root: &str) -> Output {
    build_with(tree(files), root, &Options::default()).unwrap_or_else(|error| panic!("{}", chain(&error)))
}

fn refused(files: &[(&str, &str)], root: &str) -> String {
    chain(&build_with(tree(files), root, &Options::default()).unwrap_err())
}

fn names(output: &Output) -> Vec<&str> {
    output.objects.iter().map(|object| object["metadata"]["name"].as_str().unwrap()).collect()
}

#[test]
fn a_base_that_leads_back_to_itself_is_an_error_that_names_the_chain() {
    let message = refused(
        &[
            ("a/kustomization.yaml", "resources: [../b]"),
            ("b/kustomization.yaml", "resources: [../c]"),
            ("c/kustomization.yaml", "resources: [../a]"),
        ],
        "a",
    );
    assert!(message.contains("'a' uses 'b' uses 'c' uses 'a'"), "{message}");
    assert!(message.contains("in 'b/kustomization.yaml' (line 1), resources entry '../c'"), "{message}");
}

#[test]
fn bases_may_not_be_nested_deeper_than_the_limit() {
    let mut files = Vec::new();
    for level in 0..10 {
        files.push((format!("l{level}/kustomization.yaml"), format!("resources: [../l{}]", level + 1)));
    }
    files.push(("l10/kustomization.yaml".to_owned(), "resources: []".to_owned()));
    let tree = MemoryTree::new(files).unwrap();
    let options = |depth| Options { limits: Limits { depth, ..Limits::default() }, ..Options::default() };
    assert!(build_with(tree.clone(), "l0", &options(11)).is_ok());
    let error = build_with(tree, "l0", &options(10)).unwrap_err();
    assert!(chain(&error).contains("limit of 10 kustomizations inside of each other"), "{}", chain(&error));
}

#[test]
fn bases_that_multiply_end_at_a_limit() {
    let mut files = vec![("l0/kustomization.yaml".to_owned(), "resources: []".to_owned())];
    for level in 1..21 {
        for side in ["left", "right"] {
            let text = format!("resources: [../../l{}]\nnamePrefix: {side}-\n", level - 1);
            files.push((format!("l{level}/{side}/kustomization.yaml"), text));
        }
        files.push((format!("l{level}/kustomization.yaml"), "resources: [left, right]".to_owned()));
    }
    let error = build_with(MemoryTree::new(files).unwrap(), "l20", &Options::default()).unwrap_err();
    assert!(chain(&error).contains("10000 kustomizations in one build"), "{}", chain(&error));
}

#[test]
fn nothing_above_the_repository_can_be_named() {
    for entry in ["../../..", "../../../etc/passwd", "/etc/passwd", "../../../../base"] {
        let text = format!("resources: ['{entry}']");
        let message = refused(&[("o/kustomization.yaml", &text)], "o");
        assert!(
            message.contains("leads out of the repository") || message.contains("is absolute"),
            "{message}"
        );
    }
}

#[test]
fn a_file_outside_of_its_root_needs_the_restriction_lifted() {
    let files = [("o/kustomization.yaml", "resources: [../a.yaml]"), ("a.yaml", CONFIG_MAP)];
    let message = refused(&files, "o");
    assert!(message.contains("file 'a.yaml' is not in or below 'o'"), "{message}");
    let options = Options { load_restrictor: LoadRestrictor::None, ..Options::default() };
    assert_eq!(names(&build_with(tree(&files), "o", &options).unwrap()), ["a"]);
}

#[test]
fn a_link_counts_as_the_file_that_it_leads_to() {
    let files = [
        ("o/kustomization.yaml", "resources: [link.yaml]"),
        ("o/real/a.yaml", CONFIG_MAP),
        ("b.yaml", CONFIG_MAP),
    ];
    let mut inside = tree(&files);
    inside.insert_link(path("o/link.yaml"), "real/a.yaml");
    assert_eq!(names(&build_with(inside, "o", &Options::default()).unwrap()), ["a"]);
    for target in ["../b.yaml", "../../etc/passwd", "/etc/passwd", "link.yaml"] {
        let mut outside = tree(&files);
        outside.insert_link(path("o/link.yaml"), target);
        assert!(build_with(outside, "o", &Options::default()).is_err(), "{target}");
    }
}

#[test]
fn two_resources_with_one_id_are_named_with_their_files() {
    let message = refused(
        &[
            ("kustomization.yaml", "resources: [a.yaml, b.yaml]"),
            ("a.yaml", CONFIG_MAP),
            ("b.yaml", CONFIG_MAP),
        ],
        ".",
    );
    assert!(
        message.contains("ConfigMap 'a'") && message.contains("'a.yaml'") && message.contains("'b.yaml'"),
        "{message}"
    );
}

#[test]
fn two_resources_that_become_one_are_an_error() {
    let other = CONFIG_MAP.replace("name: a", "name: b");
    let patch = "patches: [{target: {name: b}, patch: '[{op: replace, path: /metadata/name, value: a}]'}]";
    let kustomization = format!("resources: [a.yaml, b.yaml]\n{patch}\n");
    let message =
        refused(&[("kustomization.yaml", &kustomization), ("a.yaml", CONFIG_MAP), ("b.yaml", &other)], ".");
    assert!(message.contains("is there twice"), "{message}");
}

#[test]
fn a_missing_file_is_named_with_the_kustomizations_that_lead_to_it() {
    let message = refused(
        &[
            ("o/kustomization.yaml", "resources: [../base]"),
            ("base/kustomization.yaml", "resources: [deployment.yaml]"),
        ],
        "o",
    );
    assert_eq!(
        message,
        "in 'o/kustomization.yaml' (line 1), resources entry '../base': in 'base/kustomization.yaml' (line 1), resources \
         entry 'deployment.yaml': 'base/deployment.yaml' does not exist in the source"
    );
}

#[test]
fn an_error_names_the_line_of_the_entry_that_led_to_it() {
    let entries = [
        ("resources:\n- a.yaml\n\n- gone.yaml\n", 4),
        ("resources: [a.yaml]\nconfigMapGenerator:\n- name: x\n- name: g\n  literals: [novalue]\n", 4),
        ("resources: [a.yaml]\npatches:\n# first\n- path: a.yaml\n- target: {kind: X}\n  patch: '['\n", 5),
        ("resources: [a.yaml]\nPatches:\n- path: a.yaml\n- path: gone.yaml\n", 4),
        ("resources: [a.yaml]\n\nvars: [{name: X}, {name: X}]\n", 3),
        ("resources: [a.yaml]\ngenerators:\n- |\n  kind: X\n  metadata: {name: x}\n", 2),
    ];
    for (kustomization, line) in entries {
        let message = refused(&[("o/kustomization.yaml", kustomization), ("o/a.yaml", CONFIG_MAP)], "o");
        assert!(message.starts_with(&format!("in 'o/kustomization.yaml' (line {line}), ")), "{message}");
    }
}

#[test]
fn broken_yaml_is_named_with_file_and_line() {
    let message = refused(&[("kustomization.yaml", "resources: [a.yaml]"), ("a.yaml", "a: 1\nb: [\n")], ".");
    assert!(message.contains("cannot parse 'a.yaml': line "), "{message}");
}

#[test]
fn an_unknown_field_is_an_error_at_any_depth() {
    let message = refused(&[("kustomization.yaml", "nameprefixx: a")], ".");
    assert!(message.contains("unknown field 'nameprefixx'"), "{message}");
    let message = refused(&[("kustomization.yaml", "images: [{name: a, newTagg: b}]")], ".");
    assert!(message.contains("field 'images[0]': unknown field 'newTagg'"), "{message}");
}

#[test]
fn a_field_that_is_unknown_or_of_the_wrong_type_is_named_with_its_line() {
    for (text, place) in [
        (
            "resources: []\n# two\nimages:\n- {name: a}\n- name: b\n  newTagg: c\n",
            "line 6: field 'images[1]'",
        ),
        ("resources: []\n\nnamePrefx: a\n", "line 3: unknown field 'namePrefx'"),
        ("resources:\n- a\n- [b]\n", "line 3: field 'resources[1]'"),
        ("resources: []\nLabels:\n- pairs:\n    a: 1\n", "line 4: field 'labels[0].pairs.a'"),
    ] {
        let message = refused(&[("kustomization.yaml", text)], ".");
        assert!(message.contains(place), "{place}: {message}");
    }
}

#[test]
fn only_the_first_document_of_a_kustomization_file_counts() {
    let text = "resources: [a.yaml]\n---\nthis: [is not yaml\n";
    assert_eq!(names(&built(&[("kustomization.yaml", text), ("a.yaml", CONFIG_MAP)], ".")), ["a"]);
}

#[test]
fn what_is_not_mounted_or_runs_programs_is_refused_with_the_reason() {
    let cases = [
        ("resources: ['https://github.com/org/repo//base?ref=v1']", "remote bases are needed"),
        ("components: ['git@github.com:org/repo']", "remote bases are needed"),
        ("resources: ['https://host/r.yaml']", "remote bases are needed"),
        ("helmCharts: [{name: x, repo: y}]", "helmCharts"),
        (
            "transformers: [\"apiVersion: v1\\nkind: F\\nmetadata: {name: f, annotations: {config.kubernetes.io/function: 'exec: {path: ./f}'}}\"]",
            "no other program",
        ),
        (
            "generators: [\"apiVersion: team.example.com/v1\\nkind: G\\nmetadata: {name: g}\"]",
            "no other program",
        ),
    ];
    for (text, expected) in cases {
        let message = refused(&[("kustomization.yaml", text)], ".");
        assert!(message.contains(expected), "{text}: {message}");
    }
}

#[test]
fn the_caller_may_hand_in_the_kustomization_that_counts() {
    let files =
        [("o/kustomization.yaml", "resources: [a.yaml]\nnamePrefix: old-\n"), ("o/a.yaml", CONFIG_MAP)];
    let overlay = json!({"resources": ["a.yaml"], "namePrefix": "new-", "commonLabels": {"team": "x"}});
    let options = Options { overlay: Some(overlay), ..Options::default() };
    let output = build_with(tree(&files), "o", &options).unwrap();
    assert_eq!(names(&output), ["new-a"]);
    assert_eq!(output.objects[0]["metadata"]["labels"], json!({"team": "x"}));
}

#[test]
fn each_object_knows_the_file_and_line_it_comes_from() {
    let text = format!("# comment\n---\n{CONFIG_MAP}---\n{}", CONFIG_MAP.replace("name: a", "name: b"));
    let output = built(
        &[
            ("o/kustomization.yaml", "resources: [../base]\nconfigMapGenerator: [{name: c}]"),
            ("base/kustomization.yaml", "resources: [r.yaml]"),
            ("base/r.yaml", &text),
        ],
        "o",
    );
    let origins: Vec<(&str, usize)> =
        output.origins.iter().map(|origin| (origin.path.as_str(), origin.line)).collect();
    assert_eq!(origins, [("base/r.yaml", 3), ("base/r.yaml", 8), ("o/kustomization.yaml", 1)]);
}

#[test]
fn deprecated_fields_work_and_are_told_of() {
    let output = built(
        &[
            ("o/kustomization.yaml", "bases: [../base]\ncommonLabels: {a: b}\n"),
            ("base/kustomization.yaml", "resources: [a.yaml]"),
            ("base/a.yaml", CONFIG_MAP),
        ],
        "o",
    );
    assert_eq!(names(&output), ["a"]);
    assert_eq!(output.warnings.len(), 2, "{:?}", output.warnings);
    assert!(output.warnings[0].contains("'bases' is deprecated"), "{:?}", output.warnings);
}

#[test]
fn an_overlay_that_changes_nothing_gives_what_its_base_gives() {
    let files = [
        ("o/kustomization.yaml", "resources: [../base]"),
        (
            "base/kustomization.yaml",
            "resources: [d.yaml]\nnamePrefix: x-\nconfigMapGenerator: [{name: c, literals: [a=b]}]",
        ),
        (
            "base/d.yaml",
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\nspec: {template: {spec: {volumes: [{configMap: {name: c}}]}}}",
        ),
    ];
    let base = built(&files, "base");
    assert_eq!(base.objects, built(&files, "o").objects);
    assert_eq!(
        base.objects[0]["metadata"]["name"],
        base.objects[1]["spec"]["template"]["spec"]["volumes"][0]["configMap"]["name"]
    );
}

#[test]
fn the_values_of_secrets_stay_out_of_messages() {
    let texts = [
        "secretGenerator: [{name: s, literals: [s3cret]}]",
        "secretGenerator: [{name: s, literals: 's3cret'}]",
        "secretGenerator: [{name: s, literals: [a=s3cret, a=s3cret]}]",
        "resources: [s.yaml]\nconfigMapGenerator: [{name: s, literals: ['=s3cret']}]",
    ];
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: s3cret\n";
    for text in texts {
        let message = refused(&[("kustomization.yaml", text), ("s.yaml", secret)], ".");
        assert!(!message.contains("s3cret"), "{message}");
    }
}

/// Mutilated kustomizations are errors or builds, never a crash.
#[test]
fn no_cut_of_a_kustomization_makes_a_panic() {
    let text = "resources: [a.yaml]\nnamePrefix: p-\nlabels: [{pairs: {a: b}, includeSelectors: true}]\n\
                patches: [{target: {kind: C.*}, patch: '[{op: add, path: /data/x, value: y}]'}]\n\
                replacements: [{source: {kind: ConfigMap}, targets: [{select: {kind: ConfigMap}, fieldPaths: [data.k]}]}]\n\
                vars: [{name: V, objref: {kind: ConfigMap, name: a, apiVersion: v1}}]\n\
                configMapGenerator: [{name: c, literals: [a=b]}]\nimages: [{name: 'n(', newTag: t}]\n";
    for part in (0..=text.len()).filter_map(|end| text.get(..end)) {
        let files = [("kustomization.yaml", part), ("a.yaml", CONFIG_MAP)];
        let _ = build_with(tree(&files), ".", &Options::default());
    }
    let odd = [
        json!([]),
        json!({"resources": {}}),
        json!({"patches": [null]}),
        json!({"labels": [{"pairs": null}]}),
        Value::Null,
    ];
    for overlay in odd {
        let options = Options { overlay: Some(overlay), ..Options::default() };
        let _ = build_with(tree(&[("kustomization.yaml", "")]), ".", &options);
    }
}

#[test]
fn a_strategic_patch_drops_blank_fields_and_keeps_explicit_nulls() {
    let deployment = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\nspec:\n  blank:\n  kept: null\n  template:\n    \
                      spec:\n      containers:\n      - name: c\n        env:\n      tolerations:\n      - key:\n";
    let patch = "patches: [{target: {kind: Deployment}, patch: '{apiVersion: v1, kind: X, metadata: {name: x}, a: b}'}]";
    let files = |patch: &str| {
        let kustomization = format!("resources: [d.yaml]\n{patch}\n");
        built(&[("kustomization.yaml", &kustomization), ("d.yaml", deployment)], ".").objects[0]["spec"]
            .clone()
    };
    let pod = |container: Value| json!({"containers": [container], "tolerations": [{"key": null}]});
    assert_eq!(
        files(patch),
        json!({"kept": null, "template": {"spec": pod(json!({"name": "c"}))}}),
        "lists that are not merged are left alone"
    );
    let untouched = pod(json!({"env": null, "name": "c"}));
    assert_eq!(files(""), json!({"blank": null, "kept": null, "template": {"spec": untouched}}));
}

#[test]
fn a_validator_may_mark_but_not_change() {
    let validator = |labels: &str| {
        let config = format!(
            "{{apiVersion: builtin, kind: LabelTransformer, metadata: {{name: v}}, labels: {{{labels}}}, fieldSpecs: [{{path: metadata/labels, create: true}}]}}"
        );
        format!("resources: [a.yaml]\nvalidators: ['{config}']\n")
    };
    let marks = validator("validated-by: me");
    let output = built(&[("kustomization.yaml", &marks), ("a.yaml", CONFIG_MAP)], ".");
    assert_eq!(output.objects[0]["metadata"]["labels"], json!({"validated-by": "me"}));
    let changes = validator("team: x");
    let message = refused(&[("kustomization.yaml", &changes), ("a.yaml", CONFIG_MAP)], ".");
    assert!(message.contains("a validator must not change resources"), "{message}");
}

#[test]
fn a_subject_in_the_namespace_called_default_is_not_an_account_without_a_namespace() {
    let objects = "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: a}\n---\n\
                   apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {name: b, namespace: x}\n\
                   roleRef: {kind: Role, name: r, apiGroup: rbac.authorization.k8s.io}\n\
                   subjects: [{kind: ServiceAccount, name: a, namespace: default}]\n";
    let text = "resources: [r.yaml]\nnamePrefix: p-\n";
    let output = built(&[("kustomization.yaml", text), ("r.yaml", objects)], ".");
    assert_eq!(names(&output), ["p-a", "p-b"]);
    assert_eq!(output.objects[1]["subjects"][0]["name"], json!("a"));
}

/// What each of these gives was taken from kustomize 5.8.1.
mod as_kustomize_prints_it {
    use super::*;
    use crate::object::yaml;

    fn printed(kustomization: &str, resources: &str) -> String {
        let files = [("kustomization.yaml", kustomization), ("a.yaml", resources)];
        yaml::documents_to_string(&built(&files, ".").objects)
    }

    const OBJECT: &str =
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n  labels: {z: z}\n  annotations: {z: z}\n";

    #[test]
    fn annotations_keep_the_text_that_is_written() {
        let written = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: b\n  annotations: {n: null, f: 1.50, o: 0o17, t: 2024-01-02, T: True, nn: ~, x: }\n";
        let expected = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  annotations:\n    T: \"True\"\n    f: \"1.50\"\n    \"n\": \"null\"\n    nn: \"~\"\n    o: \"0o17\"\n    t: \"2024-01-02\"\n    x: \"\"\n  name: b\n";
        assert_eq!(printed("resources: [a.yaml]", written), expected);
    }

    #[test]
    fn a_null_removes_labels_and_annotations_only_in_patches_that_are_not_copied() {
        let patch = "{apiVersion: v1, kind: ConfigMap, metadata: {name: a, labels: {z: null}, annotations: {z: null}}}";
        let texts = (json!({"z": "null"}), json!({"z": "null"}));
        for (kustomization, expected) in [
            (format!("patches: [{{patch: '{patch}'}}]"), (json!({}), Value::Null)),
            (
                format!("patches: [{{patch: '{patch}', options: {{allowNameChange: true}}}}]"),
                (json!({}), json!({"z": "null"})),
            ),
            (format!("patches: [{{patch: '{patch}', target: {{name: a}}}}]"), texts.clone()),
            (format!("patchesStrategicMerge: ['{patch}']"), texts.clone()),
        ] {
            let text = format!("resources: [a.yaml]\n{kustomization}\n");
            let output = built(&[("kustomization.yaml", &text), ("a.yaml", OBJECT)], ".");
            let metadata = &output.objects[0]["metadata"];
            assert_eq!((metadata["labels"].clone(), metadata["annotations"].clone()), expected, "{text}");
        }
    }

    #[test]
    fn a_patch_cannot_replace_the_whole_object() {
        let kustomization = "resources: [a.yaml]\npatches:\n- patch: '{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, $patch: replace, data: {x: y}}'\n";
        assert_eq!(printed(kustomization, OBJECT), printed("resources: [a.yaml]", OBJECT));
    }

    #[test]
    fn long_lines_are_folded_behind_column_80() {
        let word = "word ".repeat(20);
        let resource =
            format!("{OBJECT}data:\n  plain: {word}end\n  single: '{word}'\n  double: \"{word}  \\x07\"\n");
        let output = printed("resources: [a.yaml]", &resource);
        let (first, rest) = (["word"; 15].join(" "), ["word"; 5].join(" "));
        assert!(output.contains(&format!("  plain: {first}\n    {rest} end\n")), "{output}");
        assert!(output.contains(&format!("  single: '{first}\n    {rest} '\n")), "{output}");
        let read = yaml::parse(output.as_bytes(), &yaml::Options::default()).unwrap();
        assert_eq!(read[0].value["data"]["double"], format!("{word}  \u{7}"), "{output}");
        assert!(output.lines().all(|line| line.len() < 90), "{output}");
    }

    #[test]
    fn a_label_field_among_annotations_exists_once_kustomize_has_notes_there() {
        let kustomization = "resources: [a.yaml]\nnamespace: shop\nlabels:\n- pairs: {app: x}\n  fields: [{path: metadata/annotations}]\n";
        let bare = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n";
        let output = built(&[("kustomization.yaml", kustomization), ("a.yaml", bare)], ".");
        assert_eq!(output.objects[0]["metadata"]["annotations"], json!({"app": "x"}));
    }
}
