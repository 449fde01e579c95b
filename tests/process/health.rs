//! `skiff health`: the health of files.

use std::{
    fs,
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use crate::world::{config_map, run, skiff};

const OBJECTS: &str = "apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {type: LoadBalancer}
---
apiVersion: example.com/v1
kind: Widget
metadata: {name: one}
status: {phase: Broken}
---
apiVersion: v1
kind: List
items:
  - {apiVersion: v1, kind: ConfigMap, metadata: {name: settings}}
  - {apiVersion: cert-manager.io/v1, kind: Certificate, status: {conditions: [{type: Ready, status: 'True', message: issued}]}}
";

const SETTINGS: &str = "apiVersion: v1
kind: ConfigMap
metadata: {name: argocd-cm}
data:
  resource.customizations.health.example.com_Widget: |
    if obj.status.phase == 'Broken' then
      return { status = 'Degraded', message = 'phase is ' .. obj.status.phase }
    end
    return { status = 'Healthy' }
";

#[tokio::test]
async fn each_document_has_its_status_and_message() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("objects.yaml");
    fs::write(&file, OBJECTS).unwrap();
    let file = file.to_str().unwrap();
    let said = run(skiff(&["health", file])).await.expect(0, &["STATUS", "Service", "Progressing", "issued"]);
    assert_eq!(said.out.lines().count(), 5, "{}", said.out);

    let printed = run(skiff(&["health", file, "-o", "json"])).await.expect(0, &[]).out;
    let printed: Vec<Value> = serde_json::from_str(&printed).unwrap();
    let statuses: Vec<&Value> = printed.iter().map(|one| &one["status"]).collect();
    assert_eq!(statuses, [&json!("Progressing"), &Value::Null, &Value::Null, &json!("Healthy")]);
    assert_eq!(printed[3]["message"], "issued");
    assert_eq!(printed[0]["name"], "web");
}

#[tokio::test]
async fn ones_own_lua_can_be_tried_and_a_health_can_fail_a_pipeline() {
    let folder = tempfile::tempdir().unwrap();
    let (file, settings) = (folder.path().join("objects.yaml"), folder.path().join("argocd-cm.yaml"));
    fs::write(&file, OBJECTS).unwrap();
    fs::write(&settings, SETTINGS).unwrap();
    let mut arguments = vec!["health", file.to_str().unwrap(), "--settings", settings.to_str().unwrap()];
    run(skiff(&arguments)).await.expect(0, &["Degraded", "phase is Broken"]);
    arguments.extend(["--fail-on", "degraded,unknown"]);
    run(skiff(&arguments)).await.expect(1, &["phase is Broken"]);
    run(skiff(&["health", file.to_str().unwrap(), "--fail-on", "Degraded"])).await.expect(0, &[]);
}

#[tokio::test]
async fn what_cannot_be_read_is_named_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let object = write("a.yaml", "apiVersion: v1\nkind: Pod\n");
    let nothing = write("b.yaml", "a: 1\n---\nkind: Pod\n");
    let broken = write("c.yaml", "a: [\n");
    let lua = write("d.yaml", &SETTINGS.replace("return { status = 'Healthy' }", "return {"));
    run(skiff(&["health", &nothing])).await.expect(2, &["b.yaml, document at line 1", "'apiVersion'"]);
    run(skiff(&["health", &broken])).await.expect(2, &["c.yaml", "line"]);
    run(skiff(&["health", "/nowhere.yaml"])).await.expect(2, &["cannot read /nowhere.yaml"]);
    run(skiff(&["health", &object, "--settings", &object])).await.expect(2, &["ConfigMap 'argocd-cm'"]);
    let key = "key 'resource.customizations.health.example.com_Widget', line";
    run(skiff(&["health", &object, "--settings", &lua]))
        .await
        .expect(2, &["ConfigMap 'argocd-cm'", key, "Pod"]);
    run(skiff(&["health", &object, "--fail-on", "Sick"])).await.expect(2, &["Healthy, Suspended"]);
}

#[test]
fn a_command_whose_reader_has_had_enough_ends_without_a_word() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("objects.yaml");
    fs::write(&file, config_map("b", "1")).unwrap();
    let directory = folder.path().join("app");
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("a.yaml"), config_map("a", "1")).unwrap();
    let (file, directory) = (file.to_str().unwrap(), directory.to_str().unwrap());
    let commands: [&[&str]; 5] = [
        &["health", file],
        &["health", file, "-o", "json"],
        &["crds"],
        &["render", directory],
        &["diff", "--desired", file, "--live", "/dev/null"],
    ];
    for arguments in commands {
        // Nobody reads it from the beginning, so that its first write fails.
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = Command::new(env!("CARGO_BIN_EXE_skiff"));
        let said = command.args(arguments).stdout(writer).stderr(Stdio::piped()).output().unwrap();
        let err = String::from_utf8_lossy(&said.stderr);
        assert_eq!(said.status.code(), Some(128 + 13), "{arguments:?}: {err}");
        assert!(!err.contains("error"), "{arguments:?}: {err}");
    }
}
