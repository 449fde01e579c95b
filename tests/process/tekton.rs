//! The pipeline of `deploy/tekton`: read by Tekton's own types, its webhooks taken by Tekton's own interceptors.

use std::{fs, path::PathBuf, process::Command, sync::OnceLock};

use hmac::{Hmac, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::world::{Said, has_program, manifest_directory, run, skiff};

const SECRET: &str = "a webhook's secret";

/// The program of `tests/tekton`, built once; `None` without Go.
async fn tekton() -> Option<PathBuf> {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    if !has_program("go", &["version"]) {
        return None;
    }
    let build = || {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("tekton");
        let mut command = Command::new("go");
        command.args(["build", "-o"]).arg(&path).arg(".");
        let output = command.current_dir(manifest_directory().join("tests/tekton")).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        path
    };
    Some(tokio::task::spawn_blocking(move || BUILT.get_or_init(build).clone()).await.unwrap())
}

/// What a folder of `deploy/tekton` renders to.
async fn rendered(folder: &str) -> String {
    let folder = manifest_directory().join("deploy/tekton").join(folder);
    run(skiff(&["render", folder.to_str().unwrap()])).await.expect(0, &["kind: "]).out
}

async fn ask(arguments: &[&str]) -> Option<Said> {
    let mut command = Command::new(tekton().await?);
    command.args(arguments).stdin(std::process::Stdio::null());
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    Some(run(command).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn tekton_takes_every_overlay_and_all_references_lead_somewhere() {
    for (overlay, counts) in [
        ("github", "11 tasks, 2 pipelines, 1 event listeners"),
        ("gitlab", "11 tasks, 2 pipelines, 1 event listeners"),
        ("gitea", "11 tasks, 2 pipelines, 1 event listeners"),
        ("kaniko", "11 tasks, 2 pipelines, 0 event listeners"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("all.yaml");
        fs::write(&file, rendered(&format!("overlays/{overlay}")).await).unwrap();
        let Some(said) = ask(&["validate", file.to_str().unwrap()]).await else { return };
        said.expect(0, &[counts]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_pipeline_is_seen() {
    let text = rendered("overlays/github").await;
    for (from, to, says) in [
        ("runAfter:", "runsAfter:", "unknown field \"runsAfter\""),
        ("name: scan-image\n    timeout", "name: scan-picture\n    timeout", "no Task scan-picture"),
        ("results.IMAGE_DIGEST)", "results.IMAGE_DIGESTS)", "IMAGE_DIGESTS"),
        ("name: depth\n", "name: length\n", "depth"),
        ("value: $(params.dockerfile)", "value: $(params.dockerfiles)", "dockerfiles"),
        ("serviceAccountName: rollout-watcher", "serviceAccountName: nobody", "no ServiceAccount nobody"),
        ("ref: pull-request", "ref: pull-requests", "no TriggerBinding pull-requests"),
    ] {
        assert!(text.contains(from), "{from}");
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("all.yaml");
        fs::write(&file, text.replacen(from, to, 1)).unwrap();
        let Some(said) = ask(&["validate", file.to_str().unwrap()]).await else { return };
        said.expect(1, &[says]);
    }
}

/// A recorded webhook, with what a test changes in it.
fn webhook(name: &str, changes: &Value) -> Value {
    let path = manifest_directory().join("tests/tekton/webhooks").join(format!("{name}.json"));
    let mut body: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    json_patch::merge(&mut body, changes);
    body
}

/// The runs that an EventListener creates for a webhook, which is signed with `secret`.
async fn runs(rendered: &str, provider: &str, event: &str, body: &Value, secret: &str) -> Option<Vec<Value>> {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        fs::write(folder.path().join(name), text).unwrap();
        folder.path().join(name).to_str().unwrap().to_owned()
    };
    let body = body.to_string();
    let headers = if provider == "gitlab" {
        json!({ "X-Gitlab-Event": [event], "X-Gitlab-Token": [secret] })
    } else {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
        mac.update(body.as_bytes());
        let digest: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        json!({ "X-Github-Event": [event], "X-Hub-Signature-256": [format!("sha256={digest}")], "Content-Type": ["application/json"] })
    };
    let all = write("all.yaml", rendered);
    let (body, headers) = (write("body.json", &body), write("headers.json", &headers.to_string()));
    let said = ask(&["trigger", &all, "webhooks", &body, &headers, SECRET]).await?.expect(0, &[]);
    Some(serde_json::from_str(&said.out).unwrap())
}

fn parameter<'a>(run: &'a Value, name: &str) -> &'a Value {
    let params = run["spec"]["params"].as_array().unwrap();
    &params.iter().find(|param| param["name"] == name).unwrap_or_else(|| panic!("{name}"))["value"]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_is_one_run_and_only_where_it_is_to_be_one() {
    for (provider, event, name, commit, repository) in [
        (
            "github",
            "push",
            "github-push",
            "1b6453892473a467d07372d45eb05abc2031647a",
            "https://github.com/shop/orders.git",
        ),
        (
            "gitea",
            "push",
            "gitea-push",
            "bffeb74224043ba2feb48d137756c8a9331c449a",
            "https://git.example.com/shop/orders.git",
        ),
        (
            "gitlab",
            "Push Hook",
            "gitlab-push",
            "da1560886d4f094c3e6c9ef40349f7d38b5d27d7",
            "https://gitlab.example.com/shop/orders.git",
        ),
    ] {
        let all = rendered(&format!("overlays/{provider}")).await;
        let body = webhook(name, &json!({}));
        let Some(found) = runs(&all, provider, event, &body, SECRET).await else { return };
        let [run] = found.as_slice() else { panic!("{provider}: {found:#?}") };
        assert_eq!(run["spec"]["pipelineRef"]["name"], "build-and-deploy", "{provider}");
        assert_eq!(parameter(run, "revision"), commit);
        assert_eq!(parameter(run, "repo-url"), repository);
        let count = async |changes: Value| {
            runs(&all, provider, event, &webhook(name, &changes), SECRET).await.unwrap().len()
        };
        assert_eq!(count(json!({ "ref": "refs/heads/release/1.2" })).await, 1, "{provider}");
        for ignored in [
            json!({ "ref": "refs/heads/feature" }),
            json!({ "ref": "refs/tags/main" }),
            json!({ "ref": "refs/heads/mainline" }),
            json!({ "after": "0000000000000000000000000000000000000000" }),
        ] {
            assert_eq!(count(ignored.clone()).await, 0, "{provider}: {ignored}");
        }
        assert!(runs(&all, provider, event, &body, "another secret").await.unwrap().is_empty(), "{provider}");
        assert!(runs(&all, provider, "ping", &body, SECRET).await.unwrap().is_empty(), "{provider}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_request_of_the_manifests_is_tested() {
    for (provider, event, name, repository, ignored) in [
        (
            "github",
            "pull_request",
            "github-pull-request",
            "shop/manifests",
            [
                json!({ "action": "labeled" }),
                // Somebody else's fork must not run under our credentials.
                json!({ "pull_request": { "head": { "repo": { "full_name": "eve/manifests" } } } }),
                json!({ "pull_request": { "base": { "ref": "old" } } }),
            ],
        ),
        (
            "gitea",
            "pull_request",
            "gitea-pull-request",
            "shop/manifests",
            [
                json!({ "action": "label_updated" }),
                json!({ "pull_request": { "head": { "repo": { "full_name": "eve/manifests" } } } }),
                json!({ "pull_request": { "base": { "ref": "old" } } }),
            ],
        ),
        (
            "gitlab",
            "Merge Request Hook",
            "gitlab-merge-request",
            "16",
            [
                json!({ "object_attributes": { "oldrev": null } }),
                json!({ "object_attributes": { "source_project_id": 17 } }),
                json!({ "object_attributes": { "target_branch": "old" } }),
            ],
        ),
    ] {
        let all = rendered(&format!("overlays/{provider}")).await;
        let Some(found) = runs(&all, provider, event, &webhook(name, &json!({})), SECRET).await else {
            return;
        };
        let [run] = found.as_slice() else { panic!("{provider}: {found:#?}") };
        assert_eq!(run["spec"]["pipelineRef"]["name"], "test-manifests", "{provider}");
        for (name, value) in [("repository", repository), ("number", "7"), ("provider", provider)] {
            assert_eq!(parameter(run, name), value, "{provider}");
        }
        for changes in ignored {
            let found = runs(&all, provider, event, &webhook(name, &changes), SECRET).await.unwrap();
            assert!(found.is_empty(), "{provider}: {changes}");
        }
    }
}
