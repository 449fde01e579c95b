//! `skiff sandbox`, as kubectl sees it.

use std::{
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use crate::world::{Process, Said, has_kubectl, manifest_directory, run, skiff, until};

async fn kubectl(kubeconfig: &Path, arguments: &[&str]) -> Said {
    let mut command = Command::new("kubectl");
    command.arg("--kubeconfig").arg(kubeconfig).args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    run(command).await
}

#[tokio::test]
async fn kubectl_shows_applications_with_their_columns() {
    if !has_kubectl() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (kubeconfig, application) = (folder.path().join("kubeconfig"), folder.path().join("orders.yaml"));
    std::fs::write(
        &application,
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: argocd}\n---\n\
         apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {name: orders, namespace: argocd}\n\
         spec:\n  project: default\n  source: {repoURL: https://example.com/r.git, path: app}\n  \
         destination: {server: https://kubernetes.default.svc, namespace: shop}\n\
         status:\n  sync: {status: OutOfSync, revision: abcdef0123456789}\n  health: {status: Missing}\n",
    )
    .unwrap();
    let definitions = manifest_directory().join("deploy/crds/application-crd.yaml");
    let mut sandbox = Process::start(skiff(&[
        "sandbox",
        "--tls",
        "--kubeconfig",
        kubeconfig.to_str().unwrap(),
        "--load",
        definitions.to_str().unwrap(),
        application.to_str().unwrap(),
    ]));
    until("the sandbox says where it is", || async {
        let said = sandbox.out.all();
        if said.iter().any(|line| line.starts_with("Sandbox: https://127.0.0.1:")) {
            Ok(())
        } else {
            Err(said.join("\n"))
        }
    })
    .await;
    let table = kubectl(&kubeconfig, &["get", "applications", "-n", "argocd"]).await.expect(0, &[]);
    let rows: Vec<Vec<&str>> = table.out.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(
        rows,
        [vec!["NAME", "SYNC", "STATUS", "HEALTH", "STATUS"], vec!["orders", "OutOfSync", "Missing"]]
    );
    kubectl(&kubeconfig, &["get", "app", "-A", "-o", "wide"])
        .await
        .expect(0, &["REVISION", "abcdef0123456789"]);
    sandbox.terminate();
    let status = sandbox.end(Duration::from_secs(10)).await.expect("SIGTERM ends the sandbox");
    assert_eq!(status.code(), Some(0));
}
