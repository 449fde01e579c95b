use super::*;

#[test]
fn a_source_path_cannot_leave_the_repository() {
    let mut files = tree(&[("app/a.yaml", &config_map("a"))]);
    files.insert_link(path("out"), "../../etc");
    files.insert_link(path("absolute"), "/etc");
    files.insert_link(path("loop"), "loop");
    files.insert_link(path("chain1"), "chain2");
    files.insert_link(path("chain2"), "app/../../etc");
    for bad in [
        "..", "app/..", "../app", "/etc", "/", "app\0", "out", "absolute", "loop", "chain1", "out/sub",
        "chain1/x",
    ] {
        let error = refusal(files.clone(), json!({ "path": bad }));
        assert!(!error.is_empty(), "{bad:?}");
        assert!(error.contains("spec.source.path") || error.contains("symbolic link"), "{bad:?}: {error}");
    }
    let missing = refusal(files.clone(), json!({ "path": "missing" }));
    assert!(missing.contains("spec.source.path 'missing' does not exist"), "{missing}");
    let file = refusal(files, json!({ "path": "app/a.yaml" }));
    assert!(file.contains("is a file"), "{file}");
}

#[test]
fn a_link_out_of_the_repository_is_an_error_and_not_a_file() {
    for target in ["/etc/passwd", "../../../../etc/passwd", "../app/../../etc/passwd"] {
        let mut plain = tree(&[("app/a.yaml", &config_map("a"))]);
        plain.insert_link(path("app/passwd.yaml"), target);
        let error = refusal(plain, json!({ "path": "app" }));
        assert!(error.contains("symbolic link 'app/passwd.yaml' points outside"), "{error}");
        let mut kustomized = tree(&[("app/kustomization.yaml", "resources: [passwd.yaml]\n")]);
        kustomized.insert_link(path("app/passwd.yaml"), target);
        let error = refusal(kustomized, json!({ "path": "app" }));
        assert!(error.contains("points outside"), "{error}");
        let mut overrides = tree(&[("app/a.yaml", &config_map("a"))]);
        overrides.insert_link(path("app/.argocd-source.yaml"), target);
        let error = refusal(overrides, json!({ "path": "app" }));
        assert!(error.contains("points outside"), "{error}");
    }
}

#[test]
fn an_override_cannot_lead_out_of_the_repository() {
    let files =
        tree(&[("app/kustomization.yaml", "resources: [a.yaml]\n"), ("app/a.yaml", &config_map("a"))]);
    for component in ["../../x", "/etc", "https://example.com/x"] {
        for ignore in [false, true] {
            let spec = json!({
                "path": "app", "kustomize": { "components": [component], "ignoreMissingComponents": ignore }
            });
            if let Ok(rendered) = try_render(files.clone(), spec) {
                assert!(ignore && component.starts_with("https"), "{component}");
                assert_eq!(names(&rendered), ["a"]);
            }
        }
    }
    let patch = json!({ "path": "app", "kustomize": { "patches": [{ "path": "../../etc/passwd" }] } });
    assert!(refusal(files, patch).contains("etc/passwd"));
    let name = RenderContext { application_name: "../../x".into(), ..context() };
    let tree = tree(&[("app/a.yaml", &config_map("a"))]);
    let files = Files::new(Arc::new(tree), FileLimits::default());
    render(&files, &source(json!({ "path": "app" })), &name).unwrap();
}

#[test]
fn bombs_and_giants_are_errors_that_name_the_file() {
    let mut bomb =
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\nx0: &x0 [a, a, a, a, a, a, a, a, a]\n"
            .to_owned();
    for level in 1..10 {
        let aliases = vec![format!("*x{}", level - 1); 9].join(", ");
        bomb.push_str(&format!("x{level}: &x{level} [{aliases}]\n"));
    }
    let deep = format!("{}data: {}{}\n", config_map("a"), "[".repeat(10_000), "]".repeat(10_000));
    let many = "---\na: 1\n".repeat(30_000);
    for text in [&bomb, &deep, &many] {
        for name in ["app/a.yaml", "app/a.json"] {
            let error = refusal(tree(&[(name, text)]), json!({ "path": "app" }));
            assert!(error.contains(&format!("'{name}'")), "{error}");
        }
    }
    let binary = MemoryTree::new([("app/a.yaml", vec![0xffu8, 0x00, 0x80])]).unwrap();
    let rendered = try_render(binary, json!({ "path": "app" })).unwrap();
    assert_eq!((rendered.objects.len(), rendered.warnings.len()), (0, 1));
    let limits = FileLimits { file_bytes: 1000, files: 3, total_bytes: 2000 };
    let within = |files: &[(&str, &str)]| {
        let files = Files::new(Arc::new(tree(files)), limits);
        render(&files, &source(json!({ "path": "app" })), &context()).map_err(|error| chain(&error))
    };
    let long = "#".repeat(1001);
    assert!(within(&[("app/a.yaml", &long)]).unwrap_err().contains("'app/a.yaml' is over the limit"));
    let small = config_map("a");
    let names: Vec<String> = (0..5).map(|n| format!("app/{n}.yaml")).collect();
    let four: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), small.as_str())).collect();
    assert!(within(&four).unwrap_err().contains("number of files"));
}

#[test]
fn a_render_has_a_limit_of_objects_and_of_bytes() {
    let many: String = (0..10).map(|n| format!("---\n{}", config_map(&format!("a{n}")))).collect();
    let with = |limits: RenderLimits| {
        let files = Files::new(Arc::new(tree(&[("app/a.yaml", &many)])), FileLimits::default());
        let context = RenderContext { limits, ..context() };
        render(&files, &source(json!({ "path": "app" })), &context).map_err(|error| chain(&error))
    };
    assert_eq!(with(RenderLimits::default()).unwrap().objects.len(), 10);
    assert!(with(RenderLimits { objects: 9, bytes: 1 << 20 }).unwrap_err().contains("9 objects"));
    assert!(with(RenderLimits { objects: 10, bytes: 100 }).is_err());
    let mut nested = config_map("a");
    for _ in 0..20 {
        let indented: String = nested.lines().map(|line| format!("  {line}\n")).collect();
        nested = format!("apiVersion: v1\nkind: List\nitems:\n-{}", indented.strip_prefix(' ').unwrap());
    }
    let error = refusal(tree(&[("app/a.yaml", &nested)]), json!({ "path": "app" }));
    assert!(error.contains("nested"), "{error}");
}

#[test]
fn an_error_message_never_shows_what_a_secret_holds() {
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: s, labels: {n: 5}}\nstringData: {password: hunter2}\n";
    let error = refusal(tree(&[("app/a.yaml", secret)]), json!({ "path": "app" }));
    assert!(error.contains("Secret 's'") && !error.contains("hunter2"), "{error}");
    let good = secret.replace("n: 5", "n: five");
    let rendered = rendered(&[("app/a.yaml", &good)], json!({ "path": "app" }));
    assert!(!format!("{rendered:?}").contains("hunter2"));
}
