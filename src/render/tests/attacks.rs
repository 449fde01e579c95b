use std::time::{Duration, Instant};

use super::*;
use crate::files::Budget;

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

/// A render with a time limit; its error and how long it took.
fn within_time(tree: MemoryTree, limit: Duration) -> (String, Duration) {
    let files = Files::new(Arc::new(tree), FileLimits::default()).within(Budget::of(limit));
    let begun = Instant::now();
    let error = render(&files, &source(json!({ "path": "app" })), &context()).unwrap_err();
    assert!(files.budget().is_overdue());
    (chain(&error), begun.elapsed())
}

#[test]
fn a_render_ends_when_its_time_is_over() {
    let many: String = (0..2000).map(|n| format!("---\n{}", config_map(&format!("a{n}")))).collect();
    let (mut patches, mut targets) = (String::new(), String::new());
    for n in 0..3000 {
        let operation = format!("[{{op: add, path: /x{n}, value: 1}}]");
        patches.push_str(&format!("- {{target: {{kind: ConfigMap, name: '.*'}}, patch: '{operation}'}}\n"));
        targets.push_str(&format!(
            "  - {{select: {{kind: ConfigMap}}, fieldPaths: [metadata.labels.x{n}], options: {{create: true}}}}\n"
        ));
    }
    let replacements =
        format!("replacements:\n- source: {{kind: ConfigMap, name: a0}}\n  targets:\n{targets}");
    let images: String = (0..3000).map(|n| format!("- {{name: 'i{n}', newTag: '1'}}\n")).collect();
    let pods: String = (0..2000)
        .map(|n| format!("---\n{}spec: {{containers: [{{image: a}}]}}\n", config_map(&format!("a{n}"))))
        .collect();
    let directory: Vec<(String, String)> =
        (0..20_000).map(|n| (format!("app/{n}.yaml"), config_map(&format!("a{n}")))).collect();
    let kustomized = |all: &str, rest: &str| {
        let kustomization = format!("resources: [all.yaml]\n{rest}");
        tree(&[("app/all.yaml", all), ("app/kustomization.yaml", &kustomization)])
    };
    let endless = [
        ("patches", kustomized(&many, &format!("patches:\n{patches}"))),
        ("replacements", kustomized(&many, &replacements)),
        ("images", kustomized(&pods, &format!("images:\n{images}"))),
        (
            "directory",
            MemoryTree::new(directory.iter().map(|(path, text)| (path.as_str(), text.as_str()))).unwrap(),
        ),
    ];
    for (what, tree) in endless {
        let (error, took) = within_time(tree, Duration::from_millis(100));
        assert!(error.contains("takes longer than 0.1 s"), "{what}: {error}");
        assert!(took < Duration::from_secs(15), "{what}: {took:?}");
    }
}

#[test]
fn what_multiplies_itself_ends_at_a_limit() {
    let value = "x".repeat(1000);
    let base = format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a}}\ndata: {{x: {value}}}\n");
    let copies =
        "- {op: copy, from: /data, path: /data/y}\n- {op: copy, from: /data, path: /data/z}\n".repeat(40);
    let nested = "- {op: add, path: /n, value: {}}\n- {op: move, from: /data, path: /n/data}\n- {op: move, from: /n, path: /data}\n"
        .repeat(2000);
    let doubling: String = (0..60)
        .map(|_| {
            "- source: {kind: ConfigMap, name: a, fieldPath: data}\n  targets: [{select: {kind: ConfigMap}, \
             fieldPaths: [data.y, data.z], options: {create: true}}]\n"
        })
        .collect();
    let patch = |operations: &str| {
        let indented: String = operations.lines().map(|line| format!("    {line}\n")).collect();
        format!("patches:\n- target: {{kind: ConfigMap}}\n  patch: |\n{indented}")
    };
    let bombs = [
        ("copies", patch(&copies), "makes more than"),
        ("nested", patch(&nested), "nested more than"),
        ("replacements", format!("replacements:\n{doubling}"), "makes more than"),
    ];
    for (what, fields, problem) in bombs {
        let kustomization = format!("resources: [all.yaml]\n{fields}");
        let tree = tree(&[("app/all.yaml", &base), ("app/kustomization.yaml", &kustomization)]);
        let error = within_memory(tree);
        assert!(error.contains(problem), "{what}: {error}");
    }
    // A base of 64 KiB, used a thousand times under other names.
    let base = format!("{base}  y: {}\n", "x".repeat(1 << 16))
        .replace("data: {x", "data:\n  x")
        .replace("}\n  y", "\n  y");
    let names: Vec<String> = (0..1000).map(|n| format!("app/{n}/kustomization.yaml")).collect();
    let layers: Vec<String> =
        (0..1000).map(|n| format!("resources: [../../base]\nnamePrefix: p{n}-\n")).collect();
    let all = (0..1000).map(|n| format!("- {n}\n")).collect::<String>();
    let top = format!("resources:\n{}", all.replace("- ", "- ./"));
    let mut files: Vec<(&str, &str)> =
        names.iter().zip(&layers).map(|(name, layer)| (name.as_str(), layer.as_str())).collect();
    files.extend([("base/all.yaml", base.as_str()), ("base/kustomization.yaml", "resources: [all.yaml]\n")]);
    files.push(("app/kustomization.yaml", &top));
    let error = within_memory(tree(&files));
    assert!(error.contains("makes more than 16 MiB"), "{error}");
}

/// The error of a render that may make 16 MiB.
fn within_memory(tree: MemoryTree) -> String {
    let files = Files::new(Arc::new(tree), FileLimits::default()).within(Budget::of_bytes(16 << 20));
    chain(&render(&files, &source(json!({ "path": "app" })), &context()).unwrap_err())
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
