use super::*;

const DEPLOYMENT: &str = "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: api\nspec:\n  replicas: 1\n  \
    selector:\n    matchLabels: {app: api}\n  template:\n    metadata:\n      labels: {app: api}\n    spec:\n      \
    containers:\n      - name: api\n        image: registry.example:5000/api:1\n";

fn deployment(kustomization: &str, spec: Value) -> Value {
    let component = "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\ncommonAnnotations: {extra: yes please}\n";
    let files = [
        ("app/kustomization.yaml", kustomization),
        ("app/deployment.yaml", DEPLOYMENT),
        ("extra/kustomization.yaml", component),
    ];
    let mut source = json!({ "path": "app" });
    source["kustomize"] = spec;
    rendered(&files, source).objects[0].object.value().clone()
}

const PLAIN: &str = "resources: [deployment.yaml]\n";

#[test]
fn names_and_namespace_replace_those_of_the_kustomization() {
    let written = "resources: [deployment.yaml]\nnamePrefix: own-\nnamespace: own\n";
    let spec = json!({ "namePrefix": "dev-", "nameSuffix": "-v2", "namespace": "dev" });
    let object = deployment(written, spec.clone());
    assert_eq!(object["metadata"], json!({ "name": "dev-api-v2", "namespace": "dev" }));
    assert_eq!(
        deployment("resources: [deployment.yaml]\nnameprefix: own-\n", spec)["metadata"]["name"],
        "dev-api-v2"
    );
}

#[test]
fn images_replace_the_entry_of_their_name() {
    let image = |kustomization: &str, image: &str| {
        let object = deployment(kustomization, json!({ "images": [image] }));
        object["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap().to_owned()
    };
    let name = "registry.example:5000/api";
    assert_eq!(image(PLAIN, &format!("{name}:2")), format!("{name}:2"));
    assert_eq!(image(PLAIN, &format!("{name}=other/api:2")), "other/api:2");
    assert_eq!(image(PLAIN, &format!("{name}=other/api")), "other/api:1");
    assert_eq!(image(PLAIN, &format!("{name}@sha256:abc")), format!("{name}@sha256:abc"));
    let written = format!("{PLAIN}images: [{{name: '{name}', newName: mirror/api, newTag: '7'}}]\n");
    assert_eq!(image(&written, &format!("{name}=*:8")), "mirror/api:8");
    assert_eq!(image(&written, &format!("{name}=x/api:*")), "x/api:7");
    let files = tree(&[("app/kustomization.yaml", PLAIN), ("app/deployment.yaml", DEPLOYMENT)]);
    for bad in ["api", "", "=x", "registry.example:5000/api"] {
        let error = refusal(files.clone(), json!({ "path": "app", "kustomize": { "images": [bad] } }));
        assert!(error.contains("spec.source.kustomize.images[0]"), "{error}");
    }
}

#[test]
fn replicas_are_set_by_name() {
    let count = |kustomization: &str, count: Value| {
        let object = deployment(kustomization, json!({ "replicas": [{ "name": "api", "count": count }] }));
        object["spec"]["replicas"].clone()
    };
    assert_eq!(count(PLAIN, json!(5)), 5);
    assert_eq!(count(PLAIN, json!("6")), 6);
    assert_eq!(count(&format!("{PLAIN}replicas: [{{name: api, count: 2}}]\n"), json!(7)), 7);
}

#[test]
fn labels_reach_selectors_unless_told_otherwise() {
    let labelled = |spec: Value| deployment(PLAIN, spec);
    let plain = labelled(json!({ "commonLabels": { "env": "$ARGOCD_APP_NAME" } }));
    assert_eq!(plain["metadata"]["labels"]["env"], "orders", "variables are replaced");
    assert_eq!(plain["spec"]["selector"]["matchLabels"]["env"], "orders");
    let without = labelled(json!({ "commonLabels": { "env": "dev" }, "labelWithoutSelector": true }));
    assert_eq!(without["metadata"]["labels"]["env"], "dev");
    assert_eq!(without["spec"]["selector"]["matchLabels"].get("env"), None);
    assert_eq!(without["spec"]["template"]["metadata"]["labels"].get("env"), None);
    let templates = labelled(json!({
        "commonLabels": { "env": "dev" }, "labelWithoutSelector": true, "labelIncludeTemplates": true
    }));
    assert_eq!(templates["spec"]["selector"]["matchLabels"].get("env"), None);
    assert_eq!(templates["spec"]["template"]["metadata"]["labels"]["env"], "dev");
}

#[test]
fn a_label_that_is_written_already_needs_force() {
    let written = format!("{PLAIN}commonLabels: {{env: own}}\ncommonAnnotations: {{note: own}}\n");
    let files = tree(&[("app/kustomization.yaml", &written), ("app/deployment.yaml", DEPLOYMENT)]);
    for (field, key) in [("commonLabels", "env"), ("commonAnnotations", "note")] {
        let error = refusal(files.clone(), json!({ "path": "app", "kustomize": { field: { key: "dev" } } }));
        assert!(error.contains(&format!("spec.source.kustomize.{field}: '{key}'")), "{error}");
    }
    let object = deployment(
        &written,
        json!({
            "commonLabels": { "env": "dev" }, "forceCommonLabels": true,
            "commonAnnotations": { "note": "dev" }, "forceCommonAnnotations": true
        }),
    );
    assert_eq!(object["metadata"]["labels"]["env"], "dev");
    assert_eq!(object["metadata"]["annotations"]["note"], "dev");
}

#[test]
fn annotations_have_variables_only_when_asked() {
    let annotation = |substitute: bool| {
        deployment(PLAIN, json!({
            "commonAnnotations": { "path": "${ARGOCD_APP_SOURCE_PATH}" }, "commonAnnotationsEnvsubst": substitute
        }))["metadata"]["annotations"]["path"].clone()
    };
    assert_eq!(annotation(true), "app");
    assert_eq!(annotation(false), "${ARGOCD_APP_SOURCE_PATH}");
}

#[test]
fn patches_and_components_are_added() {
    let object = deployment(
        PLAIN,
        json!({
            "patches": [{
                "target": { "kind": "Deployment" },
                "patch": "- op: replace\n  path: /spec/replicas\n  value: 9\n"
            }],
            "components": ["../extra", "../missing"], "ignoreMissingComponents": true
        }),
    );
    assert_eq!(object["spec"]["replicas"], 9);
    assert_eq!(object["metadata"]["annotations"]["extra"], "yes please");
    let files = tree(&[("app/kustomization.yaml", PLAIN), ("app/deployment.yaml", DEPLOYMENT)]);
    let error = refusal(files, json!({ "path": "app", "kustomize": { "components": ["../missing"] } }));
    assert!(error.contains("missing"), "{error}");
}

#[test]
fn a_broken_kustomization_is_an_error_that_names_it() {
    for text in ["resources: [\n", "resources: 5\n", "- a\n", "unknownField: 1\n", ""] {
        let files = tree(&[("app/kustomization.yaml", text)]);
        for spec in [json!({ "path": "app" }), json!({ "path": "app", "kustomize": { "namePrefix": "x-" } })]
        {
            if text.is_empty() && spec.get("kustomize").is_some() {
                continue;
            }
            let error = refusal(files.clone(), spec);
            assert!(error.contains("app"), "{text:?}: {error}");
        }
    }
    let two = tree(&[("app/kustomization.yaml", PLAIN), ("app/Kustomization", PLAIN)]);
    let error = refusal(two, json!({ "path": "app", "kustomize": { "namePrefix": "x-" } }));
    assert!(error.contains("several"), "{error}");
    let none = tree(&[("app/a.yaml", &config_map("a"))]);
    let error = refusal(none, json!({ "path": "app", "kustomize": { "namePrefix": "x-" } }));
    assert!(error.contains("kustomization"), "{error}");
}
