//! `skiff app` through a kubeconfig: what it prints, and its exit codes.

use serde_json::Value;

use crate::world::{World, config_map, parse, run, skiff};

#[tokio::test(flavor = "multi_thread")]
async fn an_application_goes_from_nothing_to_synced_to_deleted() {
    let world = World::new().await;
    world.commit(&[("app/a.yaml", &config_map("a", "one")), ("app/b.yaml", &config_map("b", "two"))]);
    let agent = world.start_agent("agent");
    agent.until_ready().await;
    world.skiff(&["app", "get", "orders"]).await.expect(13, &["does not exist", "hint:"]);
    world.apply(world.application("orders", "app")).await;
    world.skiff(&["app", "refresh", "orders"]).await.expect(0, &["'argocd/orders' is OutOfSync"]);
    let diff = world.skiff(&["app", "diff", "orders"]).await.expect(1, &["ConfigMap:shop/a", "+  key: one"]);
    assert!(!diff.out.contains('\u{1b}'), "colours in a pipe: {}", diff.out);
    let sync = world.skiff(&["app", "sync", "orders", "--timeout", "30"]).await.expect(0, &["Succeeded"]);
    assert!(sync.err.contains("argocd/orders:"), "progress belongs to the error stream: {}", sync.err);
    world
        .skiff(&["app", "wait", "orders", "--timeout", "30"])
        .await
        .expect(0, &["Synced to main", "Healthy"]);
    world.skiff(&["app", "diff", "orders"]).await.expect(0, &[]);

    let list = world.skiff(&["app", "list", "-o", "json"]).await.expect(0, &[]);
    let list: Value = serde_json::from_str(&list.out).unwrap();
    assert_eq!(list[0]["metadata"]["name"], "orders");
    let got = parse(&world.skiff(&["app", "get", "orders", "-o", "yaml"]).await.expect(0, &[]).out);
    assert_eq!(got["status"]["sync"]["status"], "Synced");
    let history = world.skiff(&["app", "history", "orders", "-o", "id"]).await.expect(0, &[]);
    assert_eq!(history.out, "0\n");

    world.skiff(&["app", "delete", "orders"]).await.expect(20, &["--yes"]);
    world
        .skiff(&["app", "delete", "orders", "--yes", "--wait", "--timeout", "30"])
        .await
        .expect(0, &["deleted"]);
    assert!(world.config_map("a").is_none());
    assert_eq!(world.skiff(&["app", "list", "-o", "name"]).await.expect(0, &[]).out, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_that_fails_and_a_wait_in_vain_have_their_exit_codes() {
    let world = World::new().await;
    world.commit(&[("app/a.yaml", "kind: ConfigMap\n")]);
    let agent = world.start_agent("agent");
    agent.until_ready().await;
    world.apply(world.application("orders", "app")).await;
    world.skiff(&["app", "sync", "orders", "--timeout", "30"]).await.expect(1, &["Phase:", "a.yaml"]);
    world.skiff(&["app", "diff", "orders"]).await.expect(2, &["error:", "a.yaml"]);
    world
        .skiff(&["app", "wait", "orders", "--sync", "--timeout", "1"])
        .await
        .expect(14, &["not synced after 1 s"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_the_connection_is_told() {
    let world = World::bare().await;
    world.skiff(&["app", "list"]).await.expect(12, &["error:", "skiff crds"]);
    let nobody = world.write_kubeconfig("nobody", |kubeconfig| {
        kubeconfig["clusters"][0]["cluster"]["server"] = "http://127.0.0.1:1".into();
    });
    let nobody = nobody.to_str().unwrap();
    run(skiff(&["app", "list", "--kubeconfig", nobody])).await.expect(11, &["error:", "hint:"]);
    run(skiff(&["app", "list", "--kubeconfig", nobody, "--context", "none"]))
        .await
        .expect(11, &["error:", "hint:"]);
    run(skiff(&["app", "list", "--kubeconfig", "/nowhere"])).await.expect(11, &["error:", "KUBECONFIG"]);
    run(skiff(&["app", "fly"])).await.expect(2, &["unrecognized subcommand", "fly"]);
}
