//! `skiff test`: what it finds in a GitOps repository, and that the recommended one passes.

use std::{fs, path::Path};

use serde_json::Value;

use crate::world::{Said, manifest_directory, run, skiff};

/// A repository with one good Application, and what a test puts beside it.
struct Repository {
    folder: tempfile::TempDir,
}

impl Repository {
    fn new(files: &[(&str, &str)]) -> Self {
        let repository = Self { folder: tempfile::tempdir().unwrap() };
        repository.write("applications/orders.yaml", &application("orders", "apps/orders"));
        repository.write("apps/orders/kustomization.yaml", "resources: [config.yaml]\n");
        repository.write("apps/orders/config.yaml", &config("orders"));
        for (path, text) in files {
            repository.write(path, text);
        }
        repository
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    async fn test(&self, arguments: &[&str]) -> Said {
        test(self.folder.path(), arguments).await
    }
}

async fn test(folder: &Path, arguments: &[&str]) -> Said {
    let mut command = skiff(&[&["test", folder.to_str().unwrap()], arguments].concat());
    command.env("HOME", folder);
    run(command).await
}

fn application(name: &str, path: &str) -> String {
    format!(
        "apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata:\n  name: {name}\n  namespace: argocd\nspec:\n  \
         project: default\n  source:\n    repoURL: https://git.example.com/shop.git\n    targetRevision: main\n    path: {path}\n  \
         destination:\n    server: https://kubernetes.default.svc\n    namespace: shop\n"
    )
}

fn config(name: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\ndata:\n  a: b\n")
}

fn deployment(rest: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web\nspec:\n{rest}  selector:\n    matchLabels: {{app: web}}\n  \
         template:\n    metadata:\n      labels: {{app: web}}\n    spec:\n      containers:\n        - name: web\n          image: web:1\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn the_recommended_repository_passes() {
    let manifests = manifest_directory().join("manifests");
    let said = test(&manifests, &[]).await.expect(0, &["0 errors, 0 warnings"]);
    assert_eq!(said.out.lines().count(), 1, "{}", said.out);
    // The root Application leads to all of it.
    let from_root = test(&manifests, &["--apps", "root-app.yaml"]).await.expect(0, &["0 errors, 0 warnings"]);
    assert_eq!(from_root.out, said.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sound_repository_is_synced_and_nothing_is_found() {
    Repository::new(&[])
        .test(&[])
        .await
        .expect(0, &["1 application with 1 object, 1 synced on the sandbox: 0 errors, 0 warnings"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_rendered_is_found_with_file_and_line() {
    let said =
        Repository::new(&[("apps/orders/config.yaml", "apiVersion: v1\nkind: ConfigMap\n  name: a\n")])
            .test(&[])
            .await
            .expect(1, &["argocd/orders", "[render-error]", "1 error"]);
    assert!(said.out.starts_with("apps/orders/config.yaml:3: error:"), "{}", said.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_api_server_refuses_is_found_with_file_and_line() {
    for (rest, line, says) in [
        ("  replica: 3\n", 6, "replica"),
        ("  replicas: three\n", 6, "replicas"),
        ("  replicas: -1\n", 6, "replicas"),
    ] {
        let said = Repository::new(&[
            ("apps/orders/kustomization.yaml", "resources: [config.yaml, web.yaml]\n"),
            ("apps/orders/web.yaml", &deployment(rest)),
        ])
        .test(&[])
        .await
        .expect(1, &["[sync-error]", says, "0 synced"]);
        assert!(said.out.starts_with(&format!("apps/orders/web.yaml:{line}: error:")), "{}", said.out);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_that_nobody_can_read_is_found() {
    Repository::new(&[(
        "applications/odd.yaml",
        &application("odd", "apps/orders").replace("shop\n", "[shop]\n"),
    )])
    .test(&["--no-sync"])
    .await
    .expect(1, &["applications/odd.yaml:1: error:", "[invalid-application]"]);
    Repository::new(&[(
        "applications/orders.yaml",
        &application("orders", "apps/orders").replace("targetRevision", "targetRevison"),
    )])
    .test(&[])
    .await
    .expect(1, &["applications/orders.yaml:", "targetRevison", "[invalid-application]"]);
    let project = "apiVersion: argoproj.io/v1alpha1\nkind: AppProject\nmetadata:\n  name: shop\n  namespace: argocd\nspec:\n  \
                   sourceRepos: ['https://git.example.com/shop.git']\n  destinations: []\n";
    Repository::new(&[
        ("projects/shop.yaml", project),
        (
            "applications/orders.yaml",
            &application("orders", "apps/orders").replace("project: default", "project: shop"),
        ),
    ])
    .test(&[])
    .await
    .expect(1, &["[sync-error]", "spec.destinations"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn conflicts_orphans_latest_images_and_plain_secrets_are_found() {
    let latest = deployment("").replace("web:1", "web");
    let repository = Repository::new(&[
        ("applications/web.yaml", &application("web", "apps/web")),
        ("apps/web/kustomization.yaml", "resources: [web.yaml, config.yaml, secret.yaml]\n"),
        ("apps/web/web.yaml", &latest),
        ("apps/web/config.yaml", &config("orders")),
        (
            "apps/web/secret.yaml",
            "apiVersion: v1\nkind: Secret\nmetadata:\n  name: password\nstringData:\n  password: hush-hush\n",
        ),
        ("apps/web/overlays/nobody/kustomization.yaml", "resources: [../..]\n"),
    ]);
    let said = repository.test(&["--no-sync"]).await.expect(
        1,
        &[
            "apps/orders/config.yaml:1: error: application 'argocd/orders': ConfigMap:shop/orders is declared by argocd/web",
            "apps/web/config.yaml:1: error: application 'argocd/web': ConfigMap:shop/orders is declared by argocd/orders",
            "apps/web/overlays/nobody/kustomization.yaml:1: error:",
            "apps/web/web.yaml:14: error: application 'argocd/web': Deployment 'web' runs image 'web'",
            "apps/web/secret.yaml:1: error: application 'argocd/web': Secret 'password'",
            "5 errors",
        ],
    );
    assert!(!said.out.contains("hush-hush"));
    repository
        .test(&["--no-sync", "--allow", "conflict,orphan-overlay,latest-image,plain-secret"])
        .await
        .expect(0, &["0 errors, 5 warnings"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_tested_is_said() {
    let own_kind = "apiVersion: example.com/v1\nkind: Widget\nmetadata:\n  name: w\n";
    let said = Repository::new(&[
        ("apps/orders/kustomization.yaml", "resources: [config.yaml, widget.yaml]\n"),
        ("apps/orders/widget.yaml", own_kind),
        (
            "applications/far.yaml",
            &application("far", "apps/orders")
                .replace("https://kubernetes.default.svc", "https://far.example.com"),
        ),
        ("applications/other.yaml", &application("other", "x").replace("shop.git", "other.git")),
    ])
    .test(&[])
    .await
    .expect(
        0,
        &[
            "apps/orders/widget.yaml:1: warning:",
            "its fields are not checked",
            "applications/far.yaml:1: warning:",
            "its cluster is another one",
            "applications/other.yaml:1: warning:",
            "other.git is not in this repository",
            "1 synced",
        ],
    );
    assert!(!said.out.contains("error:"), "{}", said.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn findings_are_written_for_other_programs() {
    let repository = Repository::new(&[("apps/orders/config.yaml", "kind: ConfigMap\n")]);
    let junit =
        repository.test(&["--no-sync", "-o", "junit"]).await.expect(1, &["<testsuites", "failures=\"1\""]);
    assert!(junit.out.contains("file=\"apps/orders/config.yaml\" line=\"1\""), "{}", junit.out);
    let sarif: Value =
        serde_json::from_str(&repository.test(&["--no-sync", "-o", "sarif"]).await.expect(1, &[]).out)
            .unwrap();
    assert_eq!(sarif["runs"][0]["results"][0]["ruleId"], "render-error");
    let github = repository.test(&["--no-sync", "-o", "github"]).await.expect(1, &[]);
    assert!(
        github.out.starts_with("::error file=apps/orders/config.yaml,line=1,title=render-error"),
        "{}",
        github.out
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_tested_is_another_exit_code() {
    let empty = tempfile::tempdir().unwrap();
    test(empty.path(), &[]).await.expect(2, &["no Application"]);
    test(&empty.path().join("missing"), &[]).await.expect(2, &["cannot read"]);
    Repository::new(&[])
        .test(&["--apps", "nobody.yaml"])
        .await
        .expect(2, &["no Application is in nobody.yaml"]);
}
