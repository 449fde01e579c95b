//! The scripts of the pipeline's steps, run as Tekton would run them: in a shell, with workspaces as directories, against
//! real repositories, a real agent, and with the real `git`, `skiff`, `curl`, `jq` and `kubectl`. What cannot be had here
//! (buildah, Trivy, Helm) is a recorder that notes its arguments and answers as the real one does.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Write},
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread::JoinHandle,
};

use serde_json::{Value, json};

use crate::world::{Said, World, has_program, manifest_directory, parse, run, until};

/// Where the steps of one test run.
struct Bench {
    folder: tempfile::TempDir,
    kubeconfig: Option<PathBuf>,
}

/// How a step ended, and its results.
struct Ended {
    said: Said,
    results: BTreeMap<String, String>,
}

impl Bench {
    fn new() -> Self {
        let bench = Self { folder: tempfile::tempdir().unwrap(), kubeconfig: None };
        fs::create_dir(bench.path("bin")).unwrap();
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_skiff"), bench.path("bin/skiff")).unwrap();
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    fn write(&self, name: &str, text: &str) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), text).unwrap();
    }

    /// A program that notes its arguments, one line a call, and then does what a script says.
    fn recorder(&self, name: &str, script: &str) {
        let calls = self.text(&format!("{name}.calls"));
        self.write(&format!("bin/{name}"), &format!("#!/bin/sh\necho \"$*\" >>{calls}\n{script}\n"));
        fs::set_permissions(self.path(&format!("bin/{name}")), fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn calls(&self, name: &str) -> String {
        fs::read_to_string(self.path(&format!("{name}.calls"))).unwrap_or_default()
    }

    /// Runs the one step of a Task.
    async fn step(&self, task: &str, params: &Value, workspaces: &[(&str, &Path)]) -> Ended {
        let path = manifest_directory().join(format!("deploy/tekton/base/tasks/{task}.yaml"));
        self.step_of(&parse(&fs::read_to_string(path).unwrap()), params, workspaces).await
    }

    async fn step_of(&self, task: &Value, params: &Value, workspaces: &[(&str, &Path)]) -> Ended {
        let spec = &task["spec"];
        let results = self.path("results");
        let _ = fs::remove_dir_all(&results);
        fs::create_dir(&results).unwrap();
        let mut values: BTreeMap<String, String> = BTreeMap::new();
        let mut lists: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for param in spec["params"].as_array().into_iter().flatten() {
            let name = param["name"].as_str().unwrap();
            match params.get(name).or_else(|| param.get("default")) {
                Some(Value::Array(items)) => {
                    let items = items.iter().map(|item| item.as_str().unwrap().to_owned()).collect();
                    lists.insert(format!("$(params.{name}[*])"), items);
                }
                Some(value) => {
                    values.insert(format!("$(params.{name})"), value.as_str().unwrap().to_owned());
                }
                None => panic!("param {name} is not given"),
            }
        }
        for name in params.as_object().unwrap().keys() {
            let is_known = [format!("$(params.{name})"), format!("$(params.{name}[*])")];
            assert!(
                is_known.iter().any(|it| values.contains_key(it) || lists.contains_key(it)),
                "no param {name}"
            );
        }
        for workspace in spec["workspaces"].as_array().into_iter().flatten() {
            let name = workspace["name"].as_str().unwrap();
            let bound = workspaces.iter().find(|(bound, _)| *bound == name);
            assert!(bound.is_some() || workspace["optional"] == true, "workspace {name} is not bound");
            let path = bound.map_or("", |(_, path)| path.to_str().unwrap());
            values.insert(format!("$(workspaces.{name}.path)"), path.to_owned());
            values.insert(format!("$(workspaces.{name}.bound)"), bound.is_some().to_string());
        }
        for result in spec["results"].as_array().into_iter().flatten() {
            let name = result["name"].as_str().unwrap();
            values.insert(format!("$(results.{name}.path)"), results.join(name).to_str().unwrap().to_owned());
        }
        let replaced = |text: &str| {
            for part in text.split("$(").skip(1) {
                let variable = format!("$({})", part.split(')').next().unwrap());
                assert!(values.contains_key(&variable), "nobody replaces {variable}");
            }
            values.iter().fold(text.to_owned(), |text, (variable, value)| text.replace(variable, value))
        };
        let [step] = spec["steps"].as_array().unwrap().as_slice() else { panic!("one step is expected") };
        let script = step["script"].as_str().unwrap();
        // What comes from outside is never part of a script.
        assert!(!script.contains("$(params.") && !script.contains("$(workspaces."), "{script}");
        self.write("script", script);
        let mut command = Command::new("sh");
        command.arg(self.path("script"));
        for argument in step["args"].as_array().into_iter().flatten() {
            let argument = argument.as_str().unwrap();
            match lists.get(argument) {
                Some(items) => command.args(items),
                None => command.arg(replaced(argument)),
            };
        }
        fs::create_dir_all(self.path("tmp")).unwrap();
        let path = format!("{}:{}", self.text("bin"), std::env::var("PATH").unwrap());
        command.env_clear().env("PATH", path).env("HOME", self.path("tmp")).env("TMPDIR", self.path("tmp"));
        for variable in step["env"].as_array().into_iter().flatten() {
            command.env(variable["name"].as_str().unwrap(), replaced(variable["value"].as_str().unwrap()));
        }
        if let Some(kubeconfig) = &self.kubeconfig {
            command.env("KUBECONFIG", kubeconfig);
        }
        command.current_dir(self.folder.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let said = run(command).await;
        let written = fs::read_dir(&results).unwrap().map(|entry| entry.unwrap());
        let results = written
            .map(|entry| {
                (entry.file_name().to_str().unwrap().to_owned(), fs::read_to_string(entry.path()).unwrap())
            })
            .collect();
        Ended { said, results }
    }
}

impl Ended {
    #[track_caller]
    fn expect(self, exit_code: i32, needles: &[&str]) -> BTreeMap<String, String> {
        self.said.expect(exit_code, needles);
        self.results
    }
}

/// Takes one request, answers that all is well, and returns its head and body.
fn one_request(status: &'static str) -> (String, JoinHandle<(String, String)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let taking = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut text = Vec::new();
        let mut part = [0; 4096];
        loop {
            let read = stream.read(&mut part).unwrap();
            text.extend_from_slice(&part[..read]);
            let shown = String::from_utf8_lossy(&text).into_owned();
            let Some((head, body)) = shown.split_once("\r\n\r\n") else { continue };
            let length = head.lines().find_map(|line| {
                line.to_lowercase()
                    .strip_prefix("content-length: ")
                    .map(|it| it.trim().parse::<usize>().unwrap())
            });
            if body.len() >= length.unwrap_or_default() || read == 0 {
                write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                    .unwrap();
                return (head.to_owned(), body.to_owned());
            }
        }
    });
    (url, taking)
}

fn git(directory: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git").arg("-C").arg(directory).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_revision_is_cloned_and_a_value_is_never_an_option() {
    let (world, bench) = (World::bare().await, Bench::new());
    let first = world.commit(&[("main.go", "package main\n")]);
    let second = world.commit(&[("main.go", "package main // 2\n")]);
    let url = format!("file://{}", world.path("repository").display());
    let output = bench.path("source");
    for (revision, commit) in [("main", &second), (second.as_str(), &second), (first.as_str(), &first)] {
        let params = json!({ "url": url, "revision": revision });
        let results = bench.step("git-clone", &params, &[("output", &output)]).await.expect(0, &[]);
        assert_eq!(&results["commit"], commit);
        assert_eq!(results["url"], url);
        assert!(results["committer-date"].parse::<u64>().is_ok());
        assert!(output.join("main.go").exists());
    }
    for (param, value) in [("revision", "--upload-pack=touch /tmp/x"), ("url", "--help"), ("depth", "-1")] {
        let mut params = json!({ "url": url, "revision": "main" });
        params[param] = json!(value);
        bench
            .step("git-clone", &params, &[("output", &output)])
            .await
            .expect(2, &["is no URL, revision or depth"]);
    }
    let params = json!({ "url": url, "revision": "nobody" });
    bench.step("git-clone", &params, &[("output", &output)]).await.expect(1, &["nobody"]);
    let params = json!({ "url": "ext::sh -c true", "revision": "main" });
    bench.step("git-clone", &params, &[("output", &output)]).await.expect(1, &["not allowed"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn tests_and_lints_decide_whether_it_goes_on() {
    let bench = Bench::new();
    bench.write("source/test.sh", "echo tested >>\"$GOCACHE.log\"\nexit \"$1\"\n");
    fs::create_dir(bench.path("cache")).unwrap();
    let (source, cache) = (bench.path("source"), bench.path("cache"));
    for task in ["unit-test", "lint"] {
        for code in [0, 3] {
            let params = json!({ "command": format!("sh ./test.sh {code}\necho done") });
            let ended = bench.step(task, &params, &[("source", &source), ("cache", &cache)]).await;
            ended.expect(code, if code == 0 { &["done"] } else { &[] });
        }
        bench
            .step(task, &json!({ "command": "test -d \"$HOME\"" }), &[("source", &source)])
            .await
            .expect(0, &[]);
    }
    assert_eq!(fs::read_to_string(cache.join("go-build.log")).unwrap().lines().count(), 4);
}

const DIGEST: &str = "sha256:0123456789012345678901234567890123456789012345678901234567890123";

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_built_pushed_and_scanned_by_its_digest() {
    let bench = Bench::new();
    let digest_file = "for it in \"$@\"; do case \"$it\" in --digestfile=*) echo DIGEST >\"${it#--digestfile=}\" ;; esac; done";
    bench.recorder("buildah", &digest_file.replace("DIGEST", DIGEST));
    bench.recorder("trivy", "exit \"${TRIVY_ANSWERS:-0}\"");
    bench.write("source/Dockerfile", "FROM scratch\n");
    bench.write("login/config.json", "{}");
    let (source, login) = (bench.path("source"), bench.path("login"));
    let params = json!({ "image": "registry.example.com:5000/shop/orders", "tag": "1b64538" });
    let bound = [("source", source.as_path()), ("dockerconfig", login.as_path())];
    let results = bench.step("build-image", &params, &bound).await.expect(0, &[]);
    assert_eq!(results["IMAGE_URL"], "registry.example.com:5000/shop/orders:1b64538");
    assert_eq!(results["IMAGE_DIGEST"], DIGEST);
    let calls = bench.calls("buildah");
    let (build, push) = calls.split_once('\n').unwrap();
    for part in [
        "--storage-driver=vfs",
        "build --isolation=chroot",
        "/login/config.json",
        "/source/./Dockerfile",
        "-- ",
    ] {
        assert!(build.contains(part), "{part} is not in {build}");
    }
    assert!(push.contains("docker://registry.example.com:5000/shop/orders:1b64538"), "{push}");
    // Without a login there is no empty option.
    bench.step("build-image", &params, &[("source", &source)]).await.expect(0, &[]);
    assert_eq!(bench.calls("buildah").matches("--authfile").count(), 2);

    let params = json!({ "image": results["IMAGE_URL"], "digest": results["IMAGE_DIGEST"] });
    bench.step("scan-image", &params, &[("dockerconfig", &login)]).await.expect(0, &[]);
    let calls = bench.calls("trivy");
    assert!(calls.contains("--severity=HIGH,CRITICAL --exit-code=1"), "{calls}");
    assert!(
        calls.trim_end().ends_with(&format!("-- registry.example.com:5000/shop/orders@{DIGEST}")),
        "{calls}"
    );
    bench.recorder("trivy", "echo 'CVE-2026-1 CRITICAL'; exit 1");
    bench.step("scan-image", &params, &[]).await.expect(1, &["CRITICAL"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn kaniko_takes_the_place_of_buildah() {
    let folder = manifest_directory().join("deploy/tekton/overlays/kaniko");
    let rendered = run(crate::world::skiff(&["render", folder.to_str().unwrap()])).await.expect(0, &[]).out;
    let options = skiff::object::yaml::Options::default();
    let documents = skiff::object::yaml::parse(rendered.as_bytes(), &options).unwrap();
    let mut task = documents
        .into_iter()
        .map(|document| document.value)
        .find(|it| it["kind"] == "Task" && it["metadata"]["name"] == "build-image")
        .unwrap();
    let bench = Bench::new();
    bench.recorder("executor", &format!("for it in \"$@\"; do case \"$it\" in --digest-file=*) echo {DIGEST} >\"${{it#--digest-file=}}\" ;; esac; done"));
    let script = task["spec"]["steps"][0]["script"].as_str().unwrap();
    task["spec"]["steps"][0]["script"] =
        json!(script.replace("/kaniko/executor", &bench.text("bin/executor")));
    bench.write("source/Dockerfile", "FROM scratch\n");
    let params = json!({ "image": "registry.example.com/shop/orders", "tag": "1" });
    let results = bench.step_of(&task, &params, &[("source", &bench.path("source"))]).await.expect(0, &[]);
    assert_eq!(
        (results["IMAGE_URL"].as_str(), results["IMAGE_DIGEST"].as_str()),
        ("registry.example.com/shop/orders:1", DIGEST)
    );
    assert!(bench.calls("executor").contains("--destination=registry.example.com/shop/orders:1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chart_is_packaged_and_pushed() {
    let bench = Bench::new();
    bench.recorder(
        "helm",
        &format!("case \"$1\" in package) for it in \"$@\"; do case \"$it\" in --destination=*) touch \"${{it#--destination=}}/orders-1.2.3.tgz\" ;; esac; done ;; push) echo 'Pushed: registry.example.com/charts/orders:1.2.3' >&2; echo 'Digest: {DIGEST}' >&2 ;; esac"),
    );
    bench.write("source/chart/Chart.yaml", "name: orders\n");
    let params = json!({
        "chart": "chart", "registry": "oci://registry.example.com/charts", "version": "1.2.3", "app-version": "1b64538",
    });
    let results =
        bench.step("package-chart", &params, &[("source", &bench.path("source"))]).await.expect(0, &[]);
    assert_eq!(results["CHART_DIGEST"], DIGEST);
    assert_eq!(results["CHART_URL"], "registry.example.com/charts/orders:1.2.3");
    let calls = bench.calls("helm");
    assert!(
        calls.contains("--version=1.2.3 --app-version=1b64538 -- ")
            && calls.contains("orders-1.2.3.tgz oci://registry"),
        "{calls}"
    );
    bench.recorder("helm", "[ \"$1\" = package ] || { echo denied >&2; exit 1; }");
    bench.step("package-chart", &params, &[("source", &bench.path("source"))]).await.expect(1, &[]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_manifests_are_updated_and_the_rollout_is_waited_for() {
    let (world, mut bench) = (World::new().await, Bench::new());
    bench.kubeconfig = Some(world.path("kubeconfig"));
    let deployment = "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: orders\nspec:\n  selector:\n    matchLabels: {app: orders}\n  \
                      template:\n    metadata:\n      labels: {app: orders}\n    spec:\n      containers:\n        - {name: orders, image: orders}\n";
    world.commit(&[
        (
            "orders/kustomization.yaml",
            "resources: [deployment.yaml]\nimages:\n- name: orders # the pipeline's\n  newTag: v1\n",
        ),
        ("orders/deployment.yaml", deployment),
    ]);
    let _agent = world.start_agent("first");
    let mut application = world.application("orders", "orders");
    application["spec"]["syncPolicy"] = json!({ "automated": {} });
    world.apply(application).await;
    let repository = world.path("repository");
    let params = json!({
        "repo": format!("file://{}", repository.display()), "path": "orders", "name": "orders",
        "image": "registry.example.com/shop/orders:1b64538", "digest": DIGEST,
        "source-commit": "1b6453892473a467d07372d45eb05abc2031647a", "pipeline-run": "orders-x7",
    });
    let commit = bench.step("update-manifests", &params, &[]).await.expect(0, &[]).remove("commit").unwrap();
    assert_eq!(commit, git(&repository, &["rev-parse", "main"]));
    let message = git(&repository, &["log", "-1", "--format=%B"]);
    assert!(message.contains("orders-x7") && message.contains("1b6453892473"), "{message}");
    let again = bench.step("update-manifests", &params, &[]).await.expect(0, &[]);
    assert_eq!(again["commit"], commit, "nothing to change is success");
    let wait = json!({ "application": "orders", "revision": commit, "timeout": "35" });
    bench.step("wait-for-rollout", &wait, &[]).await.expect(0, &["Healthy"]);
    let kind = skiff::object::GroupKind::new("apps", "Deployment");
    let image =
        world.sandbox.store().get(&kind, "shop", "orders").unwrap()["spec"]["template"]["spec"]["containers"]
            [0]["image"]
            .clone();
    assert_eq!(image, format!("registry.example.com/shop/orders@{DIGEST}"));
    let nobody = json!({ "application": "nobody", "revision": commit, "timeout": "5" });
    bench.step("wait-for-rollout", &nobody, &[]).await.expect(13, &["does not exist"]);
    // A proposal is a branch of its own.
    let mut proposed = params.clone();
    (proposed["pull-request"], proposed["digest"]) = (json!("true"), json!(DIGEST.replace("0123", "3210")));
    let branch =
        bench.step("update-manifests", &proposed, &[]).await.expect(0, &[]).remove("commit").unwrap();
    assert!(branch.starts_with("skiff/images-"), "{branch}");
    assert_eq!(git(&repository, &["rev-parse", "main"]), commit);

    // What the proposal would change, as a comment.
    let (url, taking) = one_request("201 Created");
    bench.write("token/token", "a-token\n");
    let diff = json!({
        "applications": ["orders"], "revision": branch, "provider": "github", "api-url": url, "repository": "shop/manifests", "number": "7",
    });
    bench.step("diff-manifests", &diff, &[("token", &bench.path("token"))]).await.expect(0, &["```diff"]);
    let (head, body) = taking.join().unwrap();
    assert!(head.starts_with("POST /repos/shop/manifests/issues/7/comments HTTP/1.1"), "{head}");
    assert!(head.to_lowercase().contains("authorization: bearer a-token"), "{head}");
    let body: Value = serde_json::from_str(&body).unwrap();
    assert!(body["body"].as_str().unwrap().contains("sha256:3210"), "{body}");
    // One that cannot be compared fails the run, and is told of all the same.
    let (url, taking) = one_request("201 Created");
    let mut lost = diff.clone();
    (lost["applications"], lost["api-url"], lost["provider"]) =
        (json!(["nobody", "orders"]), json!(url), json!("gitlab"));
    bench.step("diff-manifests", &lost, &[("token", &bench.path("token"))]).await.expect(1, &["nobody"]);
    let (head, body) = taking.join().unwrap();
    assert!(head.starts_with("POST /projects/shop/manifests/merge_requests/7/notes"), "{head}");
    assert!(
        head.to_lowercase().contains("private-token: a-token") && body.contains("does not exist"),
        "{head}{body}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_repository_is_tested() {
    let bench = Bench::new();
    let copied = Command::new("cp")
        .arg("-r")
        .arg(manifest_directory().join("manifests"))
        .arg(bench.path("source"))
        .status();
    assert!(copied.unwrap().success());
    let source = bench.path("source");
    let source = [("source", source.as_path())];
    bench.step("test-manifests", &json!({ "allow": [] }), &source).await.expect(0, &["0 errors, 0 warnings"]);
    bench.write("source/apps/nobody/kustomization.yaml", "resources: []\n");
    bench.step("test-manifests", &json!({ "allow": [] }), &source).await.expect(1, &["[orphan-overlay]"]);
    let allowed = json!({ "allow": ["latest-image", "orphan-overlay"] });
    bench.step("test-manifests", &allowed, &source).await.expect(0, &["0 errors, 1 warning"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_s_end_is_told_to_a_chat() {
    let bench = Bench::new();
    let (url, taking) = one_request("200 OK");
    bench.write("webhook/url", &format!("{url}/services/T0/B0\n"));
    let params = json!({ "pipeline": "build-and-deploy", "run": "orders-x7", "status": "Failed", "text": "say \"hello\" & $(date)" });
    bench.step("notify", &params, &[("webhook", &bench.path("webhook"))]).await.expect(0, &[]);
    let (head, body) = taking.join().unwrap();
    assert!(head.starts_with("POST /services/T0/B0 "), "{head}");
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body["text"], "build-and-deploy orders-x7: Failed: say \"hello\" & $(date)");
    bench.step("notify", &params, &[]).await.expect(0, &["no webhook is bound"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn old_runs_are_pruned_and_those_that_run_are_kept() {
    if !has_program("kubectl", &["version", "--client"]) {
        return;
    }
    let world = World::bare().await;
    world
        .apply(json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": { "name": "pipelineruns.tekton.dev" },
            "spec": {
                "group": "tekton.dev", "scope": "Namespaced",
                "names": { "kind": "PipelineRun", "plural": "pipelineruns", "singular": "pipelinerun", "listKind": "PipelineRunList" },
                "versions": [{ "name": "v1", "served": true, "storage": true,
                    "schema": { "openAPIV3Schema": { "type": "object", "x-kubernetes-preserve-unknown-fields": true } } }],
            },
        }))
        .await;
    world.apply(json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "ci" } })).await;
    // The names are not in the order of their ends.
    for (name, ended) in [("a", Some(5)), ("b", Some(1)), ("c", Some(3)), ("d", Some(2)), ("e", None)] {
        let status =
            ended.map_or(json!({}), |hour| json!({ "completionTime": format!("2026-11-20T0{hour}:00:00Z") }));
        world
            .apply(json!({ "apiVersion": "tekton.dev/v1", "kind": "PipelineRun", "metadata": { "name": name, "namespace": "ci" }, "status": status }))
            .await;
    }
    let text = fs::read_to_string(manifest_directory().join("deploy/tekton/base/pruner.yaml")).unwrap();
    let script =
        parse(&text)["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["args"][0].clone();
    // As its Pod would: in the namespace that it runs in.
    let kubeconfig = world
        .write_kubeconfig("ci", |kubeconfig| kubeconfig["contexts"][0]["context"]["namespace"] = json!("ci"));
    let prune = async || {
        let mut command = Command::new("sh");
        command.args(["-c", script.as_str().unwrap()]).env("KEEP", "2").env("KUBECONFIG", &kubeconfig);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        run(command).await.expect(0, &[])
    };
    prune().await;
    let kind = skiff::object::GroupKind::new("tekton.dev", "PipelineRun");
    until("two that ended and the one that runs are left", || async {
        let left = world.sandbox.store().list(&kind, Some("ci"));
        let left: Vec<&str> = left.iter().map(|run| run["metadata"]["name"].as_str().unwrap()).collect();
        if left == ["a", "c", "e"] { Ok(()) } else { Err(format!("{left:?}")) }
    })
    .await;
    prune().await;
    assert_eq!(world.sandbox.store().list(&kind, Some("ci")).len(), 3);
}
