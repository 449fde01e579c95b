//! `skiff image set` as a pipeline runs it: the binary, a real server, others that push too.

use std::process::{Command, Output};

use crate::{
    http_server::{Behaviour, HttpServer},
    world::{Upstream, write},
};

/// One image of the repository's kustomization for each process.
const PROCESSES: usize = 50;

fn skiff(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_skiff"));
    command.args(["image", "set"]).args(arguments);
    command
        .env_remove("SKIFF_GIT_PASSWORD")
        .env_remove("SKIFF_SOURCE_COMMIT")
        .env_remove("SKIFF_PIPELINE_RUN");
    command
}

fn told(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

async fn run(mut command: Command) -> (Option<i32>, String, String) {
    tokio::task::spawn_blocking(move || told(&command.output().unwrap())).await.unwrap()
}

async fn serve(upstream: &Upstream, behaviour: Behaviour) -> (HttpServer, String) {
    upstream.git(&["config", "http.receivepack", "true"]);
    let server = HttpServer::start(upstream, behaviour).await;
    let url = format!("{}/repo", server.base());
    (server, url)
}

fn kustomization(count: usize) -> String {
    let images = (0..count).map(|number| format!("- name: app-{number} # team {number}\n  newTag: v1\n"));
    format!("# released by pipelines\nresources: [../../base]\nimages:\n{}", images.collect::<String>())
}

const PATH: &str = "apps/overlays/dev/kustomization.yaml";

fn upstream(count: usize) -> Upstream {
    let upstream = Upstream::new();
    upstream.commit("main", &[write(PATH, &kustomization(count))]);
    upstream
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_processes_set_fifty_images_and_none_is_lost() {
    let upstream = upstream(PROCESSES);
    let (_server, url) = serve(&upstream, Behaviour::Serve).await;
    let processes = (0..PROCESSES).map(|number| {
        let image = format!("app-{number}:v2.{number}");
        let command = skiff(&[&image, "--repo", &url, "--path", "apps/overlays/dev", "--timeout", "900"]);
        tokio::spawn(run(command))
    });
    let mut commits = Vec::new();
    for process in processes.collect::<Vec<_>>() {
        let (code, out, err) = process.await.unwrap();
        assert_eq!(code, Some(0), "{err}");
        commits.push(out);
    }
    let expected: String = (0..PROCESSES)
        .map(|number| format!("- name: app-{number} # team {number}\n  newTag: v2.{number}\n"))
        .collect();
    let expected = format!("# released by pipelines\nresources: [../../base]\nimages:\n{expected}");
    assert_eq!(upstream.git(&["show", &format!("main:{PATH}")]), expected.trim_end());
    // Two were there before; each process made one, and printed it.
    let history = upstream.git(&["rev-list", "main"]);
    let mut made: Vec<&str> = history.lines().take(PROCESSES).collect();
    assert_eq!(history.lines().count(), PROCESSES + 2);
    made.sort_unstable();
    commits.sort_unstable();
    assert_eq!(made, commits);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_says_what_it_does_and_nothing_to_change_makes_none() {
    let upstream = upstream(1);
    let (_server, url) = serve(&upstream, Behaviour::basic("ci", "hush-hush")).await;
    let folder = tempfile::tempdir().unwrap();
    let stored = url.replace("http://", "http://ci:hush-hush@");
    std::fs::write(folder.path().join("credentials"), format!("{stored}\n")).unwrap();
    let credentials = folder.path().join("credentials");
    let arguments = ["--repo", &url, "--path", "apps/overlays/dev", "--source-commit", "abc123"];
    let set = |image: &str| {
        let mut command = skiff(&[image]);
        command.args(arguments).args(["--pipeline-run", "build-7", "--author-name", "CI"]);
        command.arg("--git-credentials").arg(&credentials);
        command
    };
    let (code, commit, err) = run(set("app-0=registry.example.com/app:v2")).await;
    assert_eq!(code, Some(0), "{err}");
    assert_eq!(upstream.git(&["rev-parse", "main"]), commit);
    assert_eq!(
        upstream.git(&["log", "-1", "--format=%an%n%B"]),
        "CI\nSet registry.example.com/app:v2 in apps/overlays/dev\n\nImage: registry.example.com/app:v2\n\
         Source-Commit: abc123\nPipeline-Run: build-7"
    );
    let (code, again, err) = run(set("app-0=registry.example.com/app:v2")).await;
    assert_eq!((code, again.as_str()), (Some(0), commit.as_str()));
    assert!(err.contains("nothing to change"), "{err}");
    assert_eq!(upstream.git(&["rev-parse", "main"]), commit);

    let mut wrong = skiff(&["app-0:v3"]);
    wrong.args(arguments).args(["--username", "ci"]).env("SKIFF_GIT_PASSWORD", "guessed-wrong");
    let (code, _, err) = run(wrong).await;
    assert_eq!(code, Some(2), "{err}");
    assert!(err.contains("cannot log in") && !err.contains("guessed-wrong"), "{err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_request_has_a_branch_that_a_second_run_finds_again() {
    let upstream = upstream(1);
    let (_server, url) = serve(&upstream, Behaviour::Serve).await;
    let propose = || skiff(&["app-0:v2", "--repo", &url, "--path", "apps/overlays/dev", "--pull-request"]);
    let main = upstream.git(&["rev-parse", "main"]);
    let (code, branch, err) = run(propose()).await;
    assert_eq!(code, Some(0), "{err}");
    let proposed = upstream.git(&["rev-parse", &branch]);
    assert_eq!(upstream.git(&["rev-parse", &format!("{branch}^"), "main"]), format!("{main}\n{main}"));
    assert_eq!(run(propose()).await.1, branch);
    assert_eq!(upstream.git(&["rev-parse", &branch]), proposed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_of_a_chart_is_set() {
    let upstream = Upstream::new();
    let values = "# chart\nimage:\n    repository: registry/app   # ours\n    tag: \"1.0\"\n";
    upstream.commit("main", &[write("charts/app/values.yaml", values)]);
    let url = upstream.file_url().to_string();
    let set = |image: &str, key: &str| {
        skiff(&[image, "--repo", &url, "--path", "charts/app", "--values", "values.yaml", "--key", key])
    };
    let (code, _, err) = run(set("app:1.1", "image.tag")).await;
    assert_eq!(code, Some(0), "{err}");
    assert_eq!(
        upstream.git(&["show", "main:charts/app/values.yaml"]),
        values.replace("\"1.0\"", "\"1.1\"").trim_end()
    );
    for (image, key, problem) in [
        ("app:1.2", "image.tga", "there is no image.tga: image has repository, tag"),
        ("app:1.2", "image.digest", "needs a digest"),
        ("app", "image.tag", "neither tag nor digest"),
    ] {
        let (code, _, err) = run(set(image, key)).await;
        assert!(code == Some(1) || code == Some(2), "{err}");
        assert!(err.contains(problem), "{err}");
    }
}
