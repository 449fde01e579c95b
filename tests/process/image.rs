//! The image: what the Dockerfile copies into it is enough to run the agent, as nobody in particular.

use std::{fs, path::Path, process::Command};

use crate::world::{Process, World, has_program, manifest_directory, run};

/// Runs a program in a directory that is all that it sees, as the image's user.
fn inside(root: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("/usr/sbin/chroot");
    command.arg("--userspec=65532:65532").arg(root).arg("/usr/bin/skiff").args(arguments).env_clear();
    command.stdin(std::process::Stdio::null());
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn the_agent_runs_with_nothing_but_what_the_image_holds() {
    // Only root may change its root.
    if !has_program("sh", &["-c", "test $(id -u) = 0"]) {
        return;
    }
    let world = World::new().await;
    let root = world.path("image");
    let mut collect = Command::new(manifest_directory().join("deploy/image/collect"));
    collect.arg(env!("CARGO_BIN_EXE_skiff")).arg(&root);
    collect.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    run(collect).await.expect(0, &[]);
    assert!(!root.join("bin/sh").exists() && root.join("etc/ssl/certs/ca-certificates.crt").exists());
    run(inside(&root, &["--version"])).await.expect(0, &["skiff"]);
    run(inside(&root, &["install", "--dry-run"])).await.expect(0, &["kind: Deployment"]);
    // The mount that the Deployment has.
    fs::copy(world.path("kubeconfig"), root.join("tmp/kubeconfig")).unwrap();
    let arguments = [
        "agent",
        "--kubeconfig",
        "/tmp/kubeconfig",
        "--metrics-address",
        "127.0.0.1:0",
        "--log-format",
        "json",
    ];
    let mut agent = Process::start(inside(&root, &arguments));
    agent.until_ready().await;
    agent.terminate();
    let ended = agent.end(crate::world::PATIENCE).await.unwrap();
    assert!(ended.success(), "{:?}", agent.err.all());
}

#[test]
fn the_dockerfile_builds_what_the_test_collects() {
    let text = fs::read_to_string(manifest_directory().join("Dockerfile")).unwrap();
    for line in [
        "cargo build --release --locked --bin skiff",
        "deploy/image/collect target/release/skiff /image",
        "FROM scratch",
        "COPY --from=build /image /",
        "USER 65532:65532",
        "ENTRYPOINT [\"/usr/bin/skiff\"]",
    ] {
        assert!(text.lines().any(|found| found.contains(line)), "{line}");
    }
    // The manifest names files of these folders, and the binary has others built in.
    let ignored = fs::read_to_string(manifest_directory().join(".dockerignore")).unwrap();
    for needed in ["Cargo.toml", "Cargo.lock", ".cargo", "src", "benches", "tests", "deploy", "manifests"] {
        assert!(ignored.lines().any(|line| line == format!("!{needed}")), "{needed}");
        assert!(manifest_directory().join(needed).exists(), "{needed}");
    }
}
