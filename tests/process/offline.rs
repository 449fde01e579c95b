//! Commands that need no cluster.

use std::fs;

use crate::world::{config_map, manifest_directory, parse, run, skiff};

#[tokio::test]
async fn a_directory_is_rendered_to_standard_output() {
    let root = manifest_directory().join("manifests");
    let directory = root.join("apps/order-service/overlays/production");
    let arguments = ["render", directory.to_str().unwrap(), "--root", root.to_str().unwrap()];
    let said = run(skiff(&arguments)).await.expect(0, &[]);
    let documents: Vec<_> = said.out.split("---\n").map(parse).collect();
    assert!(documents.iter().any(|document| document["kind"] == "Deployment"), "{}", said.out);
    assert_eq!(said.err, "");
}

#[tokio::test]
async fn a_render_that_fails_prints_where_and_why_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.yaml"), config_map("a", "1")).unwrap();
    fs::write(folder.path().join("b.yaml"), "apiVersion: v1\nkind: ConfigMap\n  metadata: {}\n").unwrap();
    let said = run(skiff(&["render", folder.path().to_str().unwrap()]))
        .await
        .expect(1, &["error:", "b.yaml", "line 3"]);
    assert_eq!(said.out, "");
    let missing = folder.path().join("missing");
    run(skiff(&["render", missing.to_str().unwrap()])).await.expect(1, &["error:", "missing"]);
}

#[tokio::test]
async fn the_definitions_are_printed_and_are_those_of_the_repository() {
    let printed = run(skiff(&["crds"])).await.expect(0, &[]).out;
    let folder = tempfile::tempdir().unwrap();
    run(skiff(&["crds", "-o", folder.path().to_str().unwrap()])).await.expect(0, &["application-crd.yaml"]);
    let mut together = Vec::new();
    for name in ["application-crd.yaml", "appproject-crd.yaml"] {
        let written = fs::read_to_string(folder.path().join(name)).unwrap();
        let kept = fs::read_to_string(manifest_directory().join("deploy/crds").join(name)).unwrap();
        assert_eq!(written, kept, "{name} is stale: run 'skiff crds -o deploy/crds'");
        together.push(written);
    }
    assert_eq!(printed, together.join("---\n"));
}

#[tokio::test]
async fn the_version_and_the_help_are_there() {
    run(skiff(&["--version"])).await.expect(0, &["skiff ", env!("CARGO_PKG_VERSION")]);
    run(skiff(&["--help"])).await.expect(0, &["agent", "app", "render", "crds", "sandbox"]);
}
