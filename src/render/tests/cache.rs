use std::{sync::Mutex, time::Duration};

use bytes::Bytes;

use super::*;
use crate::files::{DerivedCache, Tree, TreeEntry};

/// Renders, changes the tree, and says whether the first render still holds for it.
fn holds_after(tree: &MemoryTree, spec: &Value, change: impl FnOnce(&mut MemoryTree)) -> bool {
    let first = try_render(tree.clone(), spec.clone()).unwrap_or_else(|error| panic!("{}", chain(&error)));
    let mut changed = tree.clone();
    change(&mut changed);
    let holds = first.inputs.unchanged_in(&changed).unwrap();
    if holds {
        let second = try_render(changed, spec.clone()).unwrap();
        let values = |rendered: &Rendered| {
            rendered.objects.iter().map(|rendered| rendered.object.value().clone()).collect::<Vec<_>>()
        };
        assert_eq!(values(&first), values(&second), "the render was said to hold");
    }
    holds
}

#[test]
fn a_directory_holds_until_a_file_that_it_reads_changes() {
    let tree = tree(&[
        ("app/a.yaml", &config_map("a")),
        ("app/sub/b.yaml", &config_map("b")),
        ("app/README.md", "text"),
        ("other/c.yaml", &config_map("c")),
    ]);
    let flat = json!({ "path": "app" });
    let deep = json!({ "path": "app", "directory": { "recurse": true } });
    let insert =
        |name: &'static str, text: String| move |tree: &mut MemoryTree| tree.insert(path(name), text);
    for spec in [&flat, &deep] {
        assert!(!holds_after(&tree, spec, insert("app/a.yaml", config_map("z"))));
        assert!(!holds_after(&tree, spec, insert("app/new.yaml", config_map("new"))));
        assert!(!holds_after(&tree, spec, insert("app/kustomization.yaml", "resources: []\n".into())));
        assert!(!holds_after(
            &tree,
            spec,
            insert("app/.argocd-source.yaml", "directory: {include: x}\n".into())
        ));
        assert!(!holds_after(
            &tree,
            spec,
            insert("app/.argocd-source-orders.yaml", "directory: {}\n".into())
        ));
        assert!(holds_after(&tree, spec, insert("other/c.yaml", config_map("z"))));
        assert!(holds_after(&tree, spec, insert("other/new.yaml", config_map("z"))));
        assert!(holds_after(&tree, spec, insert("app/README.md", "other text".into())));
        assert!(holds_after(&tree, spec, |_| {}));
    }
    assert!(holds_after(&tree, &flat, insert("app/sub/b.yaml", config_map("z"))));
    assert!(!holds_after(&tree, &deep, insert("app/sub/b.yaml", config_map("z"))));
    assert!(!holds_after(&tree, &deep, insert("app/sub/deeper/new.yaml", config_map("new"))));
}

#[test]
fn a_kustomization_holds_until_a_file_that_it_reads_changes() {
    let mut tree = tree(&[
        ("base/kustomization.yaml", "resources: [a.yaml, linked.yaml]\n"),
        ("base/a.yaml", &config_map("a")),
        ("base/unused.yaml", &config_map("unused")),
        ("base/real.yaml", &config_map("real")),
        ("dev/kustomization.yaml", "resources: [../base]\nnamePrefix: dev-\n"),
        ("live/kustomization.yaml", "resources: [../base]\n"),
    ]);
    tree.insert_link(path("base/linked.yaml"), "real.yaml");
    let spec = json!({ "path": "dev" });
    let insert =
        |name: &'static str, text: String| move |tree: &mut MemoryTree| tree.insert(path(name), text);
    for name in ["base/a.yaml", "base/real.yaml"] {
        assert!(!holds_after(&tree, &spec, insert(name, config_map("z"))), "{name}");
    }
    for name in ["dev/kustomization.yaml", "base/kustomization.yaml"] {
        assert!(!holds_after(&tree, &spec, insert(name, "resources: []\n".into())), "{name}");
    }
    for name in ["dev/kustomization.yml", "dev/Kustomization", "base/kustomization.yml", "dev/Chart.yaml"] {
        assert!(!holds_after(&tree, &spec, insert(name, "resources: []\n".into())), "{name}");
    }
    assert!(!holds_after(&tree, &spec, |tree| tree.insert_link(path("base/linked.yaml"), "unused.yaml")));
    assert!(!holds_after(&tree, &spec, |tree| tree.insert(path("base/linked.yaml"), "real.yaml")));
    for name in ["base/unused.yaml", "live/kustomization.yaml", "dev/notes.yaml", "README.md"] {
        assert!(holds_after(&tree, &spec, insert(name, "resources: []\n".into())), "{name}");
    }
    let lenient = json!({ "path": "dev", "kustomize": { "components": ["../extra"], "ignoreMissingComponents": true } });
    let component = "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nnameSuffix: -x\n";
    assert!(!holds_after(&tree, &lenient, insert("extra/kustomization.yaml", component.into())));
}

#[test]
fn every_field_of_the_context_and_the_source_shapes_the_fingerprint() {
    let source_of = |spec: Value| source(spec);
    let one = source_of(json!({ "path": "app" }));
    let fingerprint =
        |context: &RenderContext, source: &ApplicationSource| context.fingerprint(source, "commit1");
    let known = fingerprint(&context(), &one);
    let contexts = [
        RenderContext { application_name: "x".into(), ..context() },
        RenderContext { destination_namespace: "x".into(), ..context() },
        RenderContext { project_name: "x".into(), ..context() },
        RenderContext { limits: RenderLimits { objects: 1, bytes: 1 }, ..context() },
        RenderContext {
            kustomize: crate::render::kustomize::Options {
                load_restrictor: crate::render::kustomize::LoadRestrictor::None,
                ..Default::default()
            },
            ..context()
        },
    ];
    for other in &contexts {
        assert_ne!(fingerprint(other, &one), known);
    }
    assert_ne!(fingerprint(&context(), &source_of(json!({ "path": "other" }))), known);
    assert_eq!(fingerprint(&RenderContext { revision: "x".into(), ..context() }, &one), known);
    assert_eq!(context().fingerprint(&one, "commit2"), known, "the commit itself shapes nothing here");
    let with_commit = source_of(
        json!({ "path": "app", "kustomize": { "commonLabels": { "rev": "$ARGOCD_APP_REVISION_SHORT" } } }),
    );
    assert_ne!(context().fingerprint(&with_commit, "commit2"), fingerprint(&context(), &with_commit));
}

#[test]
fn a_render_tells_when_it_holds_the_commit() {
    let files = [
        ("app/kustomization.yaml", "resources: [a.yaml]\n"),
        ("app/a.yaml", &*config_map("a")),
        ("app/.argocd-source.yaml", "kustomize: {commonLabels: {rev: $ARGOCD_APP_REVISION_SHORT}}\n"),
    ];
    let with = rendered(&files, json!({ "path": "app" }));
    assert_eq!(with.objects[0].object.label("rev"), Some("0123456"));
    assert!(with.uses_revision);
    assert!(!rendered(&files[..2], json!({ "path": "app" })).uses_revision);
}

/// A tree that notes whose contents are asked for.
struct Watched {
    tree: MemoryTree,
    read: Mutex<Vec<String>>,
}

impl Tree for Watched {
    fn entry(&self, path: &RepoPath) -> Result<Option<TreeEntry>, FilesError> {
        self.tree.entry(path)
    }

    fn children(&self, path: &RepoPath) -> Result<Vec<(String, TreeEntry)>, FilesError> {
        self.tree.children(path)
    }

    fn content(&self, path: &RepoPath, limit: u64) -> Result<Bytes, FilesError> {
        self.read.lock().unwrap().push(path.as_str().to_owned());
        self.tree.content(path, limit)
    }
}

/// Renders with a cache of parsed files; the files that were read for it, and what came out.
fn read_with(cache: &Arc<DerivedCache>, tree: &MemoryTree, spec: &Value) -> (Vec<String>, Vec<Value>) {
    let watched = Arc::new(Watched { tree: tree.clone(), read: Mutex::default() });
    let files = Files::new(Arc::clone(&watched) as Arc<dyn Tree>, FileLimits::default());
    let files = files.with_derived(Arc::clone(cache));
    let rendered = render(&files, &source(spec.clone()), &context()).unwrap();
    files.keep_derived();
    let without = try_render(tree.clone(), spec.clone()).unwrap();
    let values = |rendered: &Rendered| -> Vec<Value> {
        rendered.objects.iter().map(|rendered| rendered.object.value().clone()).collect()
    };
    assert_eq!(values(&rendered), values(&without), "the cache changes what is rendered");
    assert_eq!((&rendered.inputs, &rendered.warnings), (&without.inputs, &without.warnings));
    let mut read = watched.read.lock().unwrap().clone();
    read.sort();
    (read, values(&rendered))
}

#[test]
fn where_one_file_of_many_changes_only_that_one_is_read_and_parsed_again() {
    let mut tree = tree(&[
        ("dev/kustomization.yaml", "resources: [../base]\nnamePrefix: dev-\npatches: [{path: p.yaml}]\n"),
        ("dev/p.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\ndata:\n  z: 1e300\n"),
        ("base/b.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: b\ndata:\n  x: 1.5\n  y:\n"),
        ("plain/b.yaml", "apiVersion: v1\nkind: A\nmetadata: {name: a, name: a}\n"),
    ]);
    let mut resources = "resources: [b.yaml".to_owned();
    for number in 0..8 {
        resources.push_str(&format!(", {number}.yaml"));
        for directory in ["base", "plain"] {
            tree.insert(path(&format!("{directory}/{number}.yaml")), config_map(&format!("c{number}")));
        }
    }
    tree.insert(path("base/kustomization.yaml"), resources + "]\n");
    for (spec, changed) in [("dev", "base/3.yaml"), ("plain", "plain/3.yaml")] {
        let cache = Arc::new(DerivedCache::new(1 << 20, Duration::from_secs(3600)));
        let spec = json!({ "path": spec });
        let (first, _) = read_with(&cache, &tree, &spec);
        assert!(first.len() >= 9, "{first:?}");
        // Patches are read as text first.
        let again = read_with(&cache, &tree, &spec).0;
        assert!(again.iter().all(|file| file == "dev/p.yaml"), "{again:?}");
        tree.insert(path(changed), config_map("z"));
        let (read, values) = read_with(&cache, &tree, &spec);
        assert_eq!(read.iter().filter(|file| *file != "dev/p.yaml").collect::<Vec<_>>(), [changed]);
        assert!(values.iter().any(|value| value["metadata"]["name"].as_str().unwrap().ends_with('z')));
    }
}

#[test]
fn of_a_source_of_a_few_files_nothing_is_kept() {
    let cache = Arc::new(DerivedCache::new(1 << 20, Duration::from_secs(3600)));
    let tree = tree(&[("app/a.yaml", &config_map("a")), ("app/b.yaml", &config_map("b"))]);
    read_with(&cache, &tree, &json!({ "path": "app" }));
    assert_eq!(cache.size(), (0, 0));
}

#[test]
fn a_parsed_file_counts_against_the_limits_as_if_it_were_read() {
    let mut tree = tree(&[]);
    for number in 0..10 {
        tree.insert(path(&format!("app/{number}.yaml")), config_map(&format!("c{number}")));
    }
    let cache = Arc::new(DerivedCache::new(1 << 20, Duration::from_secs(3600)));
    let render_with = |files: usize| {
        let limits = FileLimits { files, ..FileLimits::default() };
        let files = Files::new(Arc::new(tree.clone()), limits).with_derived(Arc::clone(&cache));
        let rendered = render(&files, &source(json!({ "path": "app" })), &context());
        files.keep_derived();
        rendered
    };
    render_with(10).unwrap();
    assert_eq!(cache.size().0, 10);
    assert!(matches!(render_with(9), Err(RenderError::Files(FilesError::Limit { .. }))));
}
