//! `skiff render` as a person runs it, on directories.

use super::*;
use crate::error::chain;

struct Folder(tempfile::TempDir);

impl Folder {
    fn new(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Self(folder)
    }

    fn run(&self, directory: &str, application: Option<&str>) -> Result<(String, String), String> {
        let application = application.map(|name| self.path(name));
        let mut arguments = vec![self.path(directory)];
        if let Some(application) = &application {
            arguments.extend(["--application".to_owned(), application.clone()]);
        }
        let (_, output, messages) = self.run_with(&arguments)?;
        Ok((output, messages))
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    /// Exit code, output and messages.
    fn run_with<T: AsRef<str>>(&self, arguments: &[T]) -> Result<(u8, String, String), String> {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            options: RenderOptions,
        }
        let arguments = arguments.iter().map(|argument| argument.as_ref().to_owned());
        let line =
            <Line as clap::Parser>::try_parse_from(std::iter::once("render".to_owned()).chain(arguments))
                .map_err(|error| error.to_string())?;
        let (mut output, mut messages) = (Vec::new(), Vec::new());
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let code = runtime
            .block_on(run(&line.options, &mut output, &mut messages))
            .map_err(|error| chain(&error))?;
        Ok((code, String::from_utf8(output).unwrap(), String::from_utf8(messages).unwrap()))
    }
}

const A: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n";
const B: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: b\n";

#[test]
fn a_plain_directory_is_printed_as_documents() {
    let folder = Folder::new(&[("app/a.yaml", A), ("app/b.yaml", B), ("app/values.yaml", "x: 1\n")]);
    let (output, messages) = folder.run("app", None).unwrap();
    assert_eq!(output, format!("{A}---\n{B}"));
    assert!(messages.starts_with("warning: 'values.yaml', line 1"), "{messages}");
}

const TREE: [(&str, &str); 3] = [
    ("base/kustomization.yaml", "resources: [a.yaml]\n"),
    ("base/a.yaml", A),
    ("overlays/dev/kustomization.yaml", "resources: [../../base]\nnamePrefix: dev-\n"),
];

#[test]
fn a_kustomization_reads_its_bases_within_the_root() {
    let folder = Folder::new(&TREE);
    let (output, _) = folder.run("overlays/dev", None).unwrap();
    assert!(output.contains("name: dev-a"), "no repository, no limit: {output}");
    let overlay = folder.path("overlays/dev");
    let error = folder.run_with(&["--root", &folder.path("overlays"), &overlay]).unwrap_err();
    assert!(error.contains("leads out of the repository"), "{error}");
    fs::create_dir(folder.0.path().join("overlays/.git")).unwrap();
    let error = folder.run("overlays/dev", None).unwrap_err();
    assert!(error.contains("leads out of the repository"), "{error}");
    fs::rename(folder.0.path().join("overlays/.git"), folder.0.path().join(".git")).unwrap();
    let (output, _) = folder.run("overlays/dev", None).unwrap();
    assert!(output.contains("name: dev-a"), "{output}");
}

#[test]
fn an_error_shows_the_way_to_the_line() {
    let folder = Folder::new(&TREE);
    fs::write(folder.0.path().join("base/a.yaml"), "kind: ConfigMap\n  data: [\n").unwrap();
    fs::create_dir(folder.0.path().join(".git")).unwrap();
    let error = folder.run("overlays/dev", None).unwrap_err();
    let parts = [
        "'overlays/dev/kustomization.yaml' (line 1), resources entry '../../base'",
        "'base/kustomization.yaml' (line 1), resources entry 'a.yaml'",
        "'base/a.yaml': line 2",
    ];
    let mut rest = error.as_str();
    for part in parts {
        let (_, after) =
            rest.split_once(part).unwrap_or_else(|| panic!("{part} is not in its place: {error}"));
        rest = after;
    }
}

#[test]
fn objects_go_to_one_file_or_to_a_file_each() {
    let more = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: Web, namespace: shop}\n---\n\
        apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n";
    let folder = Folder::new(&[("app/a.yaml", A), ("app/more.yaml", more), ("out/old", "")]);
    let names = |directory: &str| {
        let mut names: Vec<String> = fs::read_dir(folder.path(directory))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    let (app, file) = (folder.path("app"), folder.path("all.yaml"));
    let (printed, _) = folder.run("app", None).unwrap();
    assert_eq!(folder.run_with(&[&app, "-o", &file]).unwrap().1, "");
    assert_eq!(fs::read_to_string(&file).unwrap(), printed);
    folder.run_with(&[&app, "-o", &folder.path("out")]).unwrap();
    let of_each = ["apps_v1_deployment_web.yaml", "v1_configmap_a.yaml", "v1_namespace_shop.yaml"];
    let several =
        ["default_v1_configmap_a.yaml", "old", "shop_apps_v1_deployment_web.yaml", "v1_namespace_shop.yaml"];
    assert_eq!(names("out"), several);
    assert_eq!(fs::read_to_string(folder.path("out/default_v1_configmap_a.yaml")).unwrap(), A);
    fs::write(folder.path("app/a.yaml"), A.replace("name: a", "name: a\n  namespace: shop")).unwrap();
    folder.run_with(&[&app, "--output", &folder.path("new/")]).unwrap();
    assert_eq!(names("new"), of_each, "one namespace needs no mention");
    fs::write(folder.path("app/b.yaml"), A.replace("name: a", "name: A\n  namespace: shop")).unwrap();
    let error = folder.run_with(&[&app, "-o", &folder.path("out")]).unwrap_err();
    assert!(error.contains("v1_configmap_a.yaml"), "{error}");
    fs::write(folder.path("app/b.yaml"), A.replace("name: a", "name: ../../up")).unwrap();
    let error = folder.run_with(&[&app, "-o", &folder.path("out")]).unwrap_err();
    assert!(error.contains("'/'"), "{error}");
}

#[test]
fn two_trees_are_compared_object_by_object() {
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {password: PASSWORD}\n";
    let changed = A.replace("name: a", "name: a\n  labels: {new: label}");
    let folder = Folder::new(&[
        ("one/a.yaml", A),
        ("one/b.yaml", B),
        ("one/s.yaml", &secret.replace("PASSWORD", "hunter2")),
        ("two/a.yaml", &changed),
        ("two/c.yaml", &A.replace("name: a", "name: c")),
        ("two/s.yaml", &secret.replace("PASSWORD", "hunter3")),
    ]);
    let (one, two) = (folder.path("one"), folder.path("two"));
    assert_eq!(folder.run_with(&[&one, "--diff", &one]).unwrap(), (0, String::new(), String::new()));
    let (code, output, _) = folder.run_with(&[&one, "--diff", &two]).unwrap();
    assert_eq!(code, 1);
    for line in ["+  labels:", "+    new: label", "-  name: b", "+  name: c"] {
        assert!(output.lines().any(|printed| printed == line), "{line}: {output}");
    }
    assert!(output.contains(&format!("({one})")) && output.contains(&format!("({two})")), "{output}");
    assert!(!output.contains("hunter"), "{output}");
    assert!(
        output.lines().any(|line| line.starts_with("+  password: ")),
        "a changed secret is seen: {output}"
    );
}

#[test]
fn the_load_restrictor_is_lifted_where_that_is_asked() {
    let folder = Folder::new(&[("app/kustomization.yaml", "resources: [../a.yaml]\n"), ("a.yaml", A)]);
    let (app, root) = (folder.path("app"), folder.path(""));
    let error = folder.run_with(&[&app, "--root", &root]).unwrap_err();
    assert!(error.contains("LoadRestrictionsNone"), "{error}");
    let lifted = ["--root", &root, &app, "--load-restrictor", "LoadRestrictionsNone"];
    assert_eq!(folder.run_with(&lifted).unwrap().1, A);
    assert!(folder.run_with(&[&app, "--load-restrictor", "none"]).is_err());
}

#[test]
fn a_kustomization_may_print_what_no_cluster_takes_and_a_warning_says_so() {
    let folder = Folder::new(&[
        ("app/kustomization.yaml", "resources: [a.yaml]\n"),
        ("app/a.yaml", "kind: Widget\nmetadata: {name: a}\n"),
        ("plain/a.yaml", A),
    ]);
    let (output, messages) = folder.run("app", None).unwrap();
    assert_eq!(output, "kind: Widget\nmetadata:\n  name: a\n");
    assert!(
        messages.contains("a.yaml', line 1") && messages.contains("'apiVersion' is missing"),
        "{messages}"
    );
    let app = folder.path("app");
    folder.run_with(&[&app, "-o", &folder.path("out/")]).unwrap();
    assert_eq!(fs::read_to_string(folder.path("out/widget_a.yaml")).unwrap(), output);
    let error = folder.run_with(&[&app, "--diff", &folder.path("plain")]).unwrap_err();
    assert!(error.contains("'apiVersion' is missing"), "{error}");
    let (output, messages) = folder.run("plain", None).unwrap();
    assert_eq!(output, A);
    assert!(messages.contains("no kustomization file"), "{messages}");
}

#[test]
fn the_order_of_kinds_can_be_switched_off() {
    let text = format!("{A}---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: shop}}\n");
    let folder = Folder::new(&[("app/kustomization.yaml", "resources: [a.yaml]\n"), ("app/a.yaml", &text)]);
    let app = folder.path("app");
    let first = |arguments: &[&str]| {
        folder.run_with(arguments).unwrap().1.contains("Namespace\nmetadata:\n  name: shop\n---")
    };
    assert!(first(&[&app]) && first(&[&app, "--reorder", "legacy"]));
    assert!(!first(&[&app, "--reorder", "none"]));
    assert!(folder.run_with(&[&app, "--reorder", "fifo"]).is_err());
}

#[test]
fn remote_bases_are_fetched() {
    use crate::git::writer::{self, Author, Change};
    let folder = Folder::new(&[("app/kustomization.yaml", "")]);
    let bases = folder.0.path().join("bases.git");
    writer::init(&bases, true).unwrap();
    let write = |path: &str, text: &str| {
        Change::Write(crate::files::RepoPath::parse(path).unwrap(), text.as_bytes().to_vec())
    };
    let author = Author::new("Developer", "developer@example.com");
    let changes = [write("web/kustomization.yaml", "resources: [a.yaml]\n"), write("web/a.yaml", A)];
    writer::commit(&bases, "main", &changes, "a base", &author).unwrap();
    let url = format!("file://{}//web?ref=main", bases.display());
    let text = format!("namePrefix: dev-\nresources: ['{url}']\n");
    fs::write(folder.path("app/kustomization.yaml"), text).unwrap();
    let cache = folder.path("cache");
    let run = |directory: &str| folder.run_with(&["--cache-dir", &cache, directory]);
    assert!(run(&folder.path("app")).unwrap().1.contains("name: dev-a"));
    assert_eq!(run(&url).unwrap().1, A, "the base itself");
    let error = run(&url.replace("main", "nothing")).unwrap_err();
    assert!(error.contains("?ref=nothing'") && error.contains("no branch, tag or commit"), "{error}");
}

#[test]
fn an_application_is_rendered_with_its_own_options() {
    let application = "apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {name: orders}\nspec:\n  \
        project: default\n  destination: {namespace: shop, server: https://x}\n  source:\n    \
        repoURL: https://example.com/r.git\n    path: app\n    kustomize:\n      namePrefix: dev-\n      \
        commonLabels: {app: $ARGOCD_APP_NAME, ns: $ARGOCD_APP_NAMESPACE}\n";
    let folder = Folder::new(&[
        ("app/kustomization.yaml", "resources: [a.yaml]\n"),
        ("app/a.yaml", A),
        ("orders.yaml", application),
        ("two.yaml", &format!("{application}---\n{application}")),
        ("none.yaml", A),
        ("wrong.yaml", &application.replace("namePrefix: dev-", "namePrefix: [x]")),
    ]);
    let (output, _) = folder.run(".", Some("orders.yaml")).unwrap();
    for line in ["  name: dev-a", "    app: orders", "    ns: shop"] {
        assert!(output.lines().any(|printed| printed == line), "{output}");
    }
    for bad in ["two.yaml", "none.yaml"] {
        let error = folder.run(".", Some(bad)).unwrap_err();
        assert!(error.contains(bad) && error.contains("one Application"), "{error}");
    }
    let error = folder.run(".", Some("wrong.yaml")).unwrap_err();
    assert!(error.contains("kustomize.namePrefix"), "{error}");
}

#[test]
fn errors_name_the_file_and_print_nothing() {
    let folder = Folder::new(&[("app/a.yaml", A), ("app/b.yaml", "apiVersion: v1\nkind: X\n a: [\n")]);
    let error = folder.run("missing", None).unwrap_err();
    assert!(error.contains("missing"), "{error}");
    fs::write(folder.0.path().join("app/b.yaml"), format!("{B}  labels: [")).unwrap();
    let error = folder.run("app", None).unwrap_err();
    assert!(error.contains("'b.yaml': line 5"), "{error}");
}

#[test]
fn a_link_to_a_file_outside_is_not_followed() {
    let outside = Folder::new(&[("secret.yaml", A)]);
    let folder = Folder::new(&[("app/b.yaml", B)]);
    let link = folder.0.path().join("app/link.yaml");
    std::os::unix::fs::symlink(outside.0.path().join("secret.yaml"), link).unwrap();
    let error = folder.run("app", None).unwrap_err();
    assert!(error.contains("symbolic link 'link.yaml'"), "{error}");
}
