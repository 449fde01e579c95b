use super::*;

#[test]
fn the_renderer_follows_from_the_files() {
    let kustomization = ("app/kustomization.yml", "resources: [a.yaml]\n");
    let manifest = ("app/a.yaml", &*config_map("a"));
    let kustomized = rendered(&[kustomization, manifest], json!({ "path": "app" }));
    assert_eq!(kustomized.source_type, ApplicationSourceType::Kustomize);
    assert_eq!(kustomized.objects[0].origin.to_string(), "'app/a.yaml', line 1");
    let empty_options = rendered(&[kustomization, manifest], json!({ "path": "app", "directory": {} }));
    assert_eq!(empty_options.source_type, ApplicationSourceType::Kustomize, "empty options choose nothing");
    let plain = rendered(
        &[kustomization, manifest],
        json!({ "path": "app", "directory": { "recurse": true, "exclude": "kustomization.yml" } }),
    );
    assert_eq!(plain.source_type, ApplicationSourceType::Directory);
    assert_eq!(names(&rendered(&[("a.yaml", manifest.1)], json!({ "path": "." }))), ["a"]);
}

#[test]
fn what_is_not_supported_is_refused_by_the_name_of_its_field() {
    let files = tree(&[("app/a.yaml", &config_map("a"))]);
    let cases = [
        (json!({ "path": "app", "helm": { "releaseName": "x" } }), "spec.source.helm"),
        (json!({ "path": "app", "plugin": { "name": "x" } }), "spec.source.plugin"),
        (json!({ "chart": "x", "targetRevision": "1.0" }), "spec.source.chart"),
        (json!({ "path": "app", "repoURL": "oci://example.com/x" }), "spec.source.repoURL"),
        (
            json!({ "path": "app", "kustomize": { "namePrefix": "x" }, "directory": { "recurse": true } }),
            "several tools",
        ),
        (json!({ "repoURL": "https://example.com" }), "spec.source.path"),
    ];
    for (spec, words) in cases {
        let error = refusal(files.clone(), spec);
        assert!(error.contains(words), "{error}");
    }
    let chart = tree(&[("app/Chart.yaml", "name: x\n"), ("app/templates/a.yaml", "{{ x }}")]);
    let error = refusal(chart, json!({ "path": "app" }));
    assert!(error.contains("'app' is a Helm chart"), "{error}");
}

#[test]
fn files_in_the_source_override_its_options_but_not_where_it_is() {
    let files = [
        ("app/kustomization.yaml", "resources: [a.yaml]\n"),
        ("app/a.yaml", &*config_map("a")),
        ("app/.argocd-source.yaml", "path: other\nkustomize:\n  namePrefix: all-\n  nameSuffix: -x\n"),
        (
            "app/.argocd-source-orders.yaml",
            "repoURL: https://evil.example\nkustomize: {namePrefix: orders-}\n",
        ),
        ("app/.argocd-source-billing.yaml", "kustomize: {namePrefix: billing-}\n"),
    ];
    assert_eq!(names(&rendered(&files, json!({ "path": "app" }))), ["orders-a-x"]);
    let mine = json!({ "path": "app", "kustomize": { "namePrefix": "spec-", "namespace": "ns" } });
    let rendered = rendered(&files, mine);
    assert_eq!((names(&rendered)[0], rendered.objects[0].object.namespace()), ("orders-a-x", "ns"));
}

#[test]
fn override_files_that_do_not_fit_are_errors_that_name_them() {
    for (text, words) in [
        ("kustomize: 5\n", "cannot be merged into spec.source"),
        ("- a\n", "must hold a mapping"),
        ("a: [\n", "line 1"),
    ] {
        let files = tree(&[("app/.argocd-source.yaml", text), ("app/a.yaml", &config_map("a"))]);
        let error = refusal(files, json!({ "path": "app" }));
        assert!(error.contains("'app/.argocd-source.yaml'") && error.contains(words), "{error}");
    }
    let harmless = [("app/.argocd-source.yaml", "# nothing\n"), ("app/a.yaml", &*config_map("a"))];
    let rendered = rendered(&harmless, json!({ "path": "app" }));
    assert_eq!((names(&rendered), rendered.warnings.len()), (vec!["a"], 0));
}
