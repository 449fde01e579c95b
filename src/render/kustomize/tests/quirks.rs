//! What kustomize does though nobody would guess it, and trees rely on.

use super::*;
use crate::render::kustomize::Reorder;

const DEPLOYMENT: &str =
    "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {template: {spec: {}}}\n";
const BASE: &str = "resources: [web.yaml]\nlabels: [{pairs: {env: dev, app: x}, includeSelectors: true}]\n";

/// The label `env` of the object, its selector and its template under an overlay.
fn env_under(overlay: &str) -> [String; 3] {
    let files = [
        ("base/kustomization.yaml", BASE),
        ("base/web.yaml", DEPLOYMENT),
        ("top/kustomization.yaml", &format!("resources: [../base]\n{overlay}")),
    ];
    let object = built(&files, "top").objects.remove(0);
    let places =
        ["/metadata/labels/env", "/spec/selector/matchLabels/env", "/spec/template/metadata/labels/env"];
    places.map(|place| object.pointer(place).and_then(Value::as_str).unwrap_or_default().to_owned())
}

#[test]
fn a_label_that_a_base_has_put_into_several_fields_is_changed_in_all_of_them_by_a_write_to_one() {
    let everywhere = ["prod", "prod", "prod"];
    assert_eq!(env_under("labels: [{pairs: {env: prod}}]\n"), everywhere);
    assert_eq!(env_under("namePrefix: p-\nnamespace: shop\nlabels: [{pairs: {env: prod}}]\n"), everywhere);
    let patch =
        "apiVersion: apps/v1\n      kind: Deployment\n      metadata: {name: web, labels: {env: prod}}\n";
    assert_eq!(env_under(&format!("patches:\n  - patch: |\n      {patch}")), everywhere);
}

#[test]
fn a_json_patch_changes_the_one_field_that_it_names() {
    let patch = |next: &str| {
        let patch = r#"[{"op": "replace", "path": "/metadata/labels/env", "value": "prod"}]"#;
        env_under(&format!("patches: [{{target: {{kind: Deployment}}, patch: '{patch}'}}]\n{next}"))
    };
    assert_eq!(patch(""), ["prod", "dev", "dev"]);
    assert_eq!(patch("labels: [{pairs: {env: test}}]\n"), ["test", "dev", "dev"]);
}

#[test]
fn plugins_in_place_run_before_those_in_files() {
    let plugin = |name: &str| {
        format!(
            "apiVersion: builtin\nkind: PrefixTransformer\nmetadata: {{name: {name}}}\nprefix: {name}-\n\
             fieldSpecs: [{{path: metadata/name}}]\n"
        )
    };
    let inline = plugin("inline").replace('\n', "\n  ");
    let kustomization = format!("resources: [a.yaml]\ntransformers:\n- file.yaml\n- ''\n- |-\n  {inline}\n");
    let files = |kustomization| {
        vec![
            ("kustomization.yaml", kustomization),
            ("a.yaml", CONFIG_MAP.to_owned()),
            ("file.yaml", plugin("file")),
        ]
    };
    let run = |kustomization: String| {
        let tree = MemoryTree::new(files(kustomization)).unwrap();
        build_with(tree, ".", &Options::default())
    };
    assert_eq!(names(&run(kustomization.clone()).unwrap()), ["file-inline-a"]);

    let twice = chain(&run(kustomization.replace("- ''", "- file.yaml")).unwrap_err());
    assert!(twice.contains("PrefixTransformer 'file'") && twice.contains("there twice"), "{twice}");
    let unspecified = kustomization.replace("fieldSpecs", "fieldspec");
    let unspecified = chain(&run(unspecified).unwrap_err());
    assert!(unspecified.contains("'inline'") && unspecified.contains("'fieldSpecs'"), "{unspecified}");
}

#[test]
fn a_replacement_selects_each_target_by_the_names_that_the_last_one_left() {
    let kustomization = "resources: [a.yaml]\nreplacements:\n- sourceValue: renamed\n  targets:\n  \
        - select: {name: a}\n  - {select: {name: a}, fieldPaths: [data.k]}\n  \
        - {select: {name: renamed}, fieldPaths: [data.n], options: {create: true}}\n";
    let output = built(&[("kustomization.yaml", kustomization), ("a.yaml", CONFIG_MAP)], ".");
    assert_eq!(names(&output), ["renamed"]);
    assert_eq!(output.objects[0]["data"], json!({"k": "v", "n": "renamed"}));
    let none = "resources: [a.yaml]\nreplacements: [{sourceValue: x, targets: []}]\n";
    let message = refused(&[("kustomization.yaml", none), ("a.yaml", CONFIG_MAP)], ".");
    assert!(message.contains("at least one target"), "{message}");
}

#[test]
fn a_name_that_a_json_patch_makes_a_number_still_is_a_name() {
    let kustomization = r#"{"resources": ["a.yaml"], "nameSuffix": "-x", "patches": [{"target": {"kind": "ConfigMap"},
        "patch": "[{\"op\": \"replace\", \"path\": \"/metadata/name\", \"value\": 3}]"}]}"#;
    let output = built(&[("kustomization.yaml", kustomization), ("a.yaml", CONFIG_MAP)], ".");
    assert_eq!(output.objects[0]["metadata"]["name"], "3-x");
}

#[test]
fn the_order_of_accumulation_is_kept_where_that_is_asked_and_the_tree_does_not_say() {
    let namespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: n}\n";
    let order = |kustomization: &str, reorder: Reorder| {
        let files = [("kustomization.yaml", kustomization), ("a.yaml", CONFIG_MAP), ("n.yaml", namespace)];
        let options = Options { reorder, ..Options::default() };
        let output = build_with(tree(&files), ".", &options).unwrap();
        names(&output).join(" ")
    };
    let plain = "resources: [a.yaml, n.yaml]\n";
    assert_eq!(order(plain, Reorder::Legacy), "n a");
    assert_eq!(order(plain, Reorder::None), "a n");
    assert_eq!(order(&format!("{plain}sortOptions: {{order: legacy}}\n"), Reorder::None), "n a");
    assert_eq!(order(&format!("{plain}sortOptions: {{order: fifo}}\n"), Reorder::Legacy), "a n");
}

#[test]
fn an_unknown_option_of_the_build_metadata_has_no_effect_but_a_warning() {
    let kustomization = "resources: [a.yaml]\nbuildMetadata: [originAnnotation]\n";
    let output = built(&[("kustomization.yaml", kustomization), ("a.yaml", CONFIG_MAP)], ".");
    assert_eq!(output.objects[0]["metadata"], json!({"name": "a"}));
    assert!(
        output.warnings.iter().any(|warning| warning.contains("'originAnnotation'")),
        "{:?}",
        output.warnings
    );
}

#[test]
fn the_metadata_of_a_kustomization_is_checked_and_has_no_effect() {
    let build = |metadata: &str| format!("resources: [a.yaml]\nmetadata: {metadata}\n");
    let good = build("{name: k, labels: {a: b}, annotations: {config.kubernetes.io/local-config: 'true'}}");
    assert_eq!(names(&built(&[("kustomization.yaml", &good), ("a.yaml", CONFIG_MAP)], ".")), ["a"]);
    for bad in ["{name: [x]}", "{labels: [x]}", "{uid: x}"] {
        let message = refused(&[("kustomization.yaml", &build(bad)), ("a.yaml", CONFIG_MAP)], ".");
        assert!(message.contains("metadata"), "{message}");
    }
}

#[test]
fn a_field_spec_for_one_kind_pushes_out_the_default_of_its_path_unless_a_base_has_brought_it() {
    let files = |kustomization: &'static str| {
        [
            ("top/kustomization.yaml", kustomization),
            ("top/config.yaml", "namePrefix: [{path: metadata/name, kind: Widget}]\n"),
            ("top/a.yaml", CONFIG_MAP),
            ("base/kustomization.yaml", "resources: [web.yaml]\n"),
            ("base/web.yaml", DEPLOYMENT),
        ]
    };
    let alone = built(&files("resources: [a.yaml]\nnamePrefix: p-\nconfigurations: [config.yaml]\n"), "top");
    assert_eq!(names(&alone), ["a"]);
    let over =
        built(&files("resources: [a.yaml, ../base]\nnamePrefix: p-\nconfigurations: [config.yaml]\n"), "top");
    assert_eq!(names(&over), ["p-a", "p-web"]);
}

/// A Deployment that refers to a generated ConfigMap, both renamed by the base, under an overlay.
fn renamed_under(overlay: &str) -> Output {
    let files = [
        (
            "base/kustomization.yaml",
            "resources: [web.yaml]\nnamePrefix: p-\nconfigMapGenerator: [{name: cm, literals: [a=b]}]\n",
        ),
        (
            "base/web.yaml",
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, annotations: {x: y}}\n\
             spec: {template: {spec: {containers: [{name: a, envFrom: [{configMapRef: {name: cm}}]}]}}}\n",
        ),
        ("top/kustomization.yaml", &format!("resources: [../base]\n{overlay}")),
    ];
    built(&files, "top")
}

#[test]
fn a_patch_that_removes_all_annotations_makes_kustomize_forget_former_names_and_the_hash() {
    let patch = |annotations: &str| {
        let patch = format!(
            "{{apiVersion: v1, kind: ConfigMap, metadata: {{name: cm, annotations: {annotations}}}}}"
        );
        let output = renamed_under(&format!("patches:\n- patch: |\n    {patch}\n"));
        let name = output.objects[0]["metadata"]["name"].as_str().unwrap().to_owned();
        let reference = "/spec/template/spec/containers/0/envFrom/0/configMapRef/name";
        (name, output.objects[1].pointer(reference).unwrap().as_str().unwrap().to_owned())
    };
    let hashed = "p-cm-4h2mbtbbt6".to_owned();
    assert_eq!(patch("{a: b}"), (hashed.clone(), hashed));
    for gone in ["null", "{$patch: replace, a: b}", "{$patch: delete}"] {
        assert_eq!(patch(gone), ("p-cm".to_owned(), "cm".to_owned()), "{gone}");
    }
}

#[test]
fn the_step_that_finds_no_record_of_an_origin_is_the_origin() {
    let patch = "{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, annotations: null}}";
    let records = |options: &str| {
        let overlay =
            format!("buildMetadata: [{options}]\nnamePrefix: q-\npatches:\n- patch: |\n    {patch}\n");
        renamed_under(&overlay).objects[1]["metadata"]["annotations"].clone()
    };
    let step = |plugin: &str| {
        format!("configuredIn: kustomization.yaml\nconfiguredBy:\n  apiVersion: builtin\n  kind: {plugin}\n")
    };
    let origin = step("PatchTransformer");
    let transformations = "- configuredIn: kustomization.yaml\n  configuredBy:\n    apiVersion: builtin\n    kind: PrefixTransformer\n";
    assert_eq!(records("originAnnotations"), json!({ "config.kubernetes.io/origin": origin }));
    assert_eq!(
        records("originAnnotations, transformerAnnotations"),
        json!({
            "alpha.config.kubernetes.io/transformations": transformations,
            "config.kubernetes.io/origin": origin,
        })
    );
}

#[test]
fn a_folded_text_with_an_indented_line_gains_a_line_as_in_kustomize() {
    let folded = |name: &str| {
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata:\n  x: >-\n    a\n      || b\n"
        )
    };
    let patch = folded("a").replace("  x:", "  y:").replace('\n', "\n    ");
    let kustomization = format!("resources: [a.yaml]\npatches:\n- patch: |\n    {patch}\n");
    let output = built(&[("kustomization.yaml", &kustomization), ("a.yaml", &folded("a"))], "");
    assert_eq!(output.objects[0]["data"], json!({"x": "a\n\n  || b", "y": "a\n\n  || b"}));
}

#[test]
fn a_schema_that_comes_after_the_built_in_one_was_needed_stands_beside_it() {
    let patch = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\n\
                 spec: {template: {spec: {containers: [{name: b, image: y}]}}}\n";
    let containers = |bases: &str| {
        let files = [
            ("top/kustomization.yaml", &*format!("resources: [{bases}]\npatches: [{{path: p.yaml}}]\n")),
            ("top/p.yaml", patch),
            ("web/kustomization.yaml", "resources: [web.yaml]\npatches: [{path: p.yaml}]\n"),
            ("web/web.yaml", &patch.replace("name: b, image: y", "name: a, image: x")),
            ("web/p.yaml", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, labels: {a: b}}\n"),
            ("types/kustomization.yaml", "resources: [a.yaml]\nopenapi: {path: schema.json}\n"),
            ("types/a.yaml", CONFIG_MAP),
            ("types/schema.json", "{\"definitions\": {}}"),
        ];
        let output = built(&files, "top");
        let web = output.objects.iter().find(|object| object["kind"] == "Deployment").unwrap();
        web["spec"]["template"]["spec"]["containers"].as_array().unwrap().len()
    };
    assert_eq!(containers("../web, ../types"), 2);
    assert_eq!(containers("../types, ../web"), 1);
}
