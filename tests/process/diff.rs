//! `skiff diff`: files against files.

use std::fs;

use serde_json::Value;

use crate::world::{run, skiff};

const LIVE: &str = "apiVersion: v1
kind: List
items:
- apiVersion: apps/v1
  kind: Deployment
  metadata: {name: orders, namespace: shop, uid: u1, resourceVersion: '7', generation: 2}
  spec:
    replicas: 2
    revisionHistoryLimit: 10
    selector: {matchLabels: {app: orders}}
    template:
      metadata: {labels: {app: orders}}
      spec:
        restartPolicy: Always
        containers:
        - {name: main, image: 'orders:1', imagePullPolicy: IfNotPresent}
        - {name: injected, image: 'proxy:1'}
  status: {replicas: 2}
- apiVersion: v1
  kind: Secret
  metadata: {name: token, namespace: shop}
  data: {password: aHVudGVyMg==, same: c2FtZQ==}
";

const DESIRED: &str = "apiVersion: apps/v1
kind: Deployment
metadata: {name: orders}
spec:
  replicas: 2
  selector: {matchLabels: {app: orders}}
  template:
    metadata: {labels: {app: orders}}
    spec:
      containers:
      - {name: main, image: 'orders:2'}
---
apiVersion: v1
kind: Secret
metadata: {name: token, namespace: shop}
stringData: {password: correct-horse, same: same}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: fresh, namespace: shop}
data: {a: b}
";

fn write(folder: &tempfile::TempDir, name: &str, text: &str) -> String {
    let path = folder.path().join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn only_what_an_apply_would_change_is_shown_and_secrets_are_masked() {
    let folder = tempfile::tempdir().unwrap();
    let (desired, live) = (write(&folder, "desired.yaml", DESIRED), write(&folder, "live.yaml", LIVE));
    let said = run(skiff(&["diff", "--desired", &desired, "--live", &live])).await.expect(
        1,
        &[
            "===== apps/Deployment:",
            "-      - image: orders:1",
            "+      - image: orders:2",
            "ConfigMap:shop/fresh",
            "+  a: b",
        ],
    );
    for text in [
        "hunter2",
        "aHVudGVyMg",
        "correct-horse",
        "revisionHistoryLimit",
        "-      - image: proxy",
        "uid",
        "\u{1b}[",
    ] {
        assert!(!said.out.contains(text), "'{text}' is in\n{}", said.out);
    }
    let changed: Vec<&str> = said.out.lines().filter(|line| line.contains("password: ")).collect();
    assert_eq!(changed, ["-  password: ++++++++", "+  password: ++++++++++++"], "{}", said.out);
    assert!(
        !said.out.lines().any(|line| line.starts_with(['+', '-']) && line.contains("same")),
        "{}",
        said.out
    );

    let coloured = run(skiff(&["diff", "--desired", &desired, "--live", &live, "--color", "always"])).await;
    assert!(coloured.out.contains("\u{1b}["), "{}", coloured.out);
    run(skiff(&["diff", "--desired", &live, "--live", &live])).await.expect(0, &[]);
}

#[tokio::test]
async fn programs_and_pull_requests_get_their_own_formats() {
    let folder = tempfile::tempdir().unwrap();
    let (desired, live) = (write(&folder, "desired.yaml", DESIRED), write(&folder, "live.yaml", LIVE));
    let said =
        run(skiff(&["diff", "--desired", &desired, "--live", &live, "-o", "json"])).await.expect(1, &[]);
    let value: Value = serde_json::from_str(&said.out).unwrap();
    let actions: Vec<String> = value["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|change| format!("{} {}", change["kind"], change["action"]))
        .collect();
    assert_eq!(actions, ["\"ConfigMap\" \"create\"", "\"Secret\" \"change\"", "\"Deployment\" \"change\""]);
    run(skiff(&["diff", "--desired", &desired, "--live", &live, "-o", "markdown"]))
        .await
        .expect(1, &["**1** to create, **2** to change, **0** to delete", "```diff", "<details>"]);
}

#[tokio::test]
async fn a_directory_is_rendered_and_what_cannot_be_read_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let live = write(&folder, "live.yaml", LIVE);
    write(&folder, "app/kustomization.yaml", "namespace: shop\nresources: [desired.yaml]\n");
    write(&folder, "app/desired.yaml", DESIRED);
    let app = folder.path().join("app");
    let app = app.to_str().unwrap();
    run(skiff(&["diff", "--desired", app, "--live", &live]))
        .await
        .expect(1, &["Deployment:shop/orders", "orders:2"]);
    write(&folder, "app/kustomization.yaml", "resources: [gone.yaml]\n");
    run(skiff(&["diff", "--desired", app, "--live", &live])).await.expect(2, &["error:", "gone.yaml"]);
    run(skiff(&["diff", "--desired", "/nowhere", "--live", &live]))
        .await
        .expect(2, &["cannot read /nowhere"]);
    let broken = write(&folder, "broken.yaml", "kind: Pod\n");
    run(skiff(&["diff", "--desired", &live, "--live", &broken]))
        .await
        .expect(2, &["broken.yaml, document at line 1"]);
}
