//! What holds for every tree: it renders or is refused, always in the same way, and an overlay that changes nothing changes
//! nothing.

use proptest::{collection::vec, prelude::*, sample::select};
use serde_json::{Value, json};

use super::*;

/// Texts that YAML readers disagree about, and plain ones.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        select(vec![
            "a",
            "web",
            "yes",
            "null",
            "0x1F",
            "1e3",
            "2024-01-02",
            "",
            " x",
            "a: b",
            "$(VAR)",
            "x\ny\n",
            "ü"
        ])
        .prop_map(str::to_owned),
        "[a-z]{1,8}",
        "\\PC{0,12}",
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((field(), inner), 0..4).prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

fn field() -> impl Strategy<Value = String> {
    let known = [
        "name",
        "image",
        "containers",
        "env",
        "template",
        "spec",
        "metadata",
        "labels",
        "$patch",
        "ports",
        "data",
    ];
    prop_oneof![3 => select(known.to_vec()).prop_map(str::to_owned), 1 => text()]
}

fn name() -> impl Strategy<Value = String> {
    select(vec!["a", "b", "web", "config"]).prop_map(str::to_owned)
}

fn resource() -> impl Strategy<Value = Value> {
    let kinds = vec![
        ("v1", "ConfigMap"),
        ("v1", "Secret"),
        ("v1", "Service"),
        ("apps/v1", "Deployment"),
        ("rbac.authorization.k8s.io/v1", "RoleBinding"),
        ("v1", "Namespace"),
        ("example.com/v1", "Widget"),
    ];
    (select(kinds), name(), value(), value(), any::<bool>()).prop_map(|(kind, name, spec, data, has_template)| {
        let mut object = json!({
            "apiVersion": kind.0, "kind": kind.1, "metadata": { "name": name }, "spec": spec, "data": data,
        });
        if has_template {
            object["spec"] = json!({ "template": { "spec": { "containers": [
                { "name": name, "image": "nginx:1", "env": [{ "name": "A", "value": spec }] },
            ] } } });
        }
        object
    })
}

/// A kustomization without what only counts at the top (`sortOptions`, `buildMetadata`).
fn kustomization() -> impl Strategy<Value = Value> {
    let json_patch = (select(vec!["add", "remove", "replace", "copy"]), "(/[a-z0-9~-]{0,9}){0,4}", value())
        .prop_map(
            |(op, path, value)| json!([{ "op": op, "path": path, "from": "/metadata", "value": value }]),
        );
    let patch = prop_oneof![
        resource().prop_map(|resource| json!({ "patch": resource.to_string() })),
        (resource(), name()).prop_map(
            |(resource, name)| json!({ "patch": resource.to_string(), "target": { "name": name } })
        ),
        (json_patch, name())
            .prop_map(|(patch, name)| json!({ "patch": patch.to_string(), "target": { "name": name } })),
    ];
    let generator = (name(), vec("[a-c]=[a-z =]{0,6}", 0..3), select(vec!["", "create", "merge", "replace"]))
        .prop_map(
            |(name, literals, behavior)| json!({ "name": name, "literals": literals, "behavior": behavior }),
        )
        .boxed();
    let replacement = (name(), "[a-z.*]{0,20}", name(), "[a-z.*0-9]{0,20}").prop_map(|(from, path, to, field)| {
        json!({
            "source": { "name": from, "fieldPath": path },
            "targets": [{ "select": { "name": to }, "fieldPaths": [field], "options": { "create": true } }],
        })
    });
    let entries = vec![
        ("namePrefix", text().prop_map(Value::from).boxed()),
        ("nameSuffix", "[a-z-]{0,4}".prop_map(Value::from).boxed()),
        ("namespace", "[a-z]{0,4}".prop_map(Value::from).boxed()),
        ("commonLabels", text().prop_map(|text| json!({ "app": text })).boxed()),
        (
            "labels",
            text().prop_map(|text| json!([{ "pairs": { "x": text }, "includeSelectors": true }])).boxed(),
        ),
        ("commonAnnotations", text().prop_map(|text| json!({ "note": text })).boxed()),
        ("images", text().prop_map(|tag| json!([{ "name": "nginx", "newTag": tag }])).boxed()),
        (
            "replicas",
            (name(), any::<u8>()).prop_map(|(name, count)| json!([{ "name": name, "count": count }])).boxed(),
        ),
        ("patches", vec(patch, 0..3).prop_map(Value::from).boxed()),
        ("configMapGenerator", vec(generator.clone(), 0..2).prop_map(Value::from).boxed()),
        ("secretGenerator", vec(generator, 0..2).prop_map(Value::from).boxed()),
        ("replacements", vec(replacement, 0..2).prop_map(Value::from).boxed()),
    ];
    let optional: Vec<BoxedStrategy<Option<(String, Value)>>> = entries
        .into_iter()
        .map(|(name, value)| {
            prop::option::weighted(0.25, value).prop_map(move |value| Some((name.to_owned(), value?))).boxed()
        })
        .collect();
    optional.prop_map(|fields| Value::Object(fields.into_iter().flatten().collect()))
}

fn rendered(tree: &MemoryTree, root: &str) -> Result<Vec<Value>, String> {
    build_with(tree.clone(), root, &Options::default())
        .map(|output| output.objects)
        .map_err(|error| chain(&error))
}

fn base(resources: &[Value], mut kustomization: Value) -> MemoryTree {
    let text: Vec<String> = resources.iter().map(ToString::to_string).collect();
    kustomization["resources"] = json!(["all.yaml"]);
    tree(&[
        ("base/all.yaml", &text.join("\n---\n")),
        ("base/kustomization.yaml", &kustomization.to_string()),
        ("overlay/kustomization.yaml", "resources: [../base]\n"),
    ])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_overlay_that_changes_nothing_renders_what_its_base_renders(
        resources in vec(resource(), 0..5),
        kustomization in kustomization(),
    ) {
        let tree = base(&resources, kustomization);
        let base = rendered(&tree, "base");
        prop_assert_eq!(&rendered(&tree, "base"), &base, "the same tree, the same objects");
        match (base, rendered(&tree, "overlay")) {
            (Ok(base), Ok(overlay)) => prop_assert_eq!(base, overlay),
            (Err(base), Err(overlay)) => prop_assert!(!base.is_empty() && !overlay.is_empty()),
            (base, overlay) => prop_assert!(false, "the base gives {base:?}, the overlay {overlay:?}"),
        }
    }

    #[test]
    fn any_kustomization_file_is_built_or_refused(
        fields in vec((field_of_kustomization(), value()), 0..5),
        junk in "\\PC{0,40}",
    ) {
        let kustomization = Value::Object(fields.into_iter().collect()).to_string();
        for text in [kustomization.as_str(), junk.as_str()] {
            let tree = tree(&[("kustomization.yaml", text), ("a.yaml", CONFIG_MAP)]);
            prop_assert_eq!(rendered(&tree, "."), rendered(&tree, "."));
        }
    }
}

fn field_of_kustomization() -> impl Strategy<Value = String> {
    let names = [
        "resources",
        "bases",
        "components",
        "crds",
        "generators",
        "transformers",
        "validators",
        "configurations",
        "namePrefix",
        "namespace",
        "labels",
        "commonLabels",
        "commonAnnotations",
        "patches",
        "patchesStrategicMerge",
        "patchesJson6902",
        "images",
        "imageTags",
        "replicas",
        "replacements",
        "vars",
        "configMapGenerator",
        "secretGenerator",
        "generatorOptions",
        "openapi",
        "buildMetadata",
        "sortOptions",
        "helmCharts",
        "kind",
    ];
    select(names.to_vec()).prop_map(str::to_owned)
}
