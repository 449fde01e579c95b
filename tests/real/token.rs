//! Credentials that end while the agent runs.

use serde_json::json;

use crate::{
    process,
    world::{World, until},
};

async fn grant(world: &World, account: &str) {
    world
        .apply(json!({
            "apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": { "name": account, "namespace": world.argocd },
        }))
        .await;
    world
        .apply(json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
            "metadata": { "name": world.unique(account) },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin" },
            "subjects": [{ "kind": "ServiceAccount", "name": account, "namespace": world.argocd }],
        }))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_whose_token_ends_goes_on_by_itself_when_its_file_is_renewed() {
    let world = World::new().await;
    grant(&world, "first").await;
    grant(&world, "second").await;
    let file = world.path("token");
    std::fs::write(&file, world.token(&world.argocd, "first").await).unwrap();
    let kubeconfig = world.write_kubeconfig("agent.kubeconfig", json!({ "tokenFile": file }));
    let mut agent = world.start_agent_as("agent-0", &kubeconfig);
    agent.until_ready().await;
    let first = world.commit(&[("app/settings.yaml", Some(&process::config_map("settings", "one")))]);
    world.apply(world.automated("app", "app")).await;
    world.until_synced("app", &first).await;

    // A token ends with its ServiceAccount, within the ten seconds for which the API server remembers it.
    world.delete("v1", "ServiceAccount", &world.argocd, "first").await;
    let refused = || agent.err.all().iter().filter(|line| line.contains("nauthorized")).count();
    until("the agent is refused", || async {
        if refused() > 0 { Ok(()) } else { Err(format!("{:?}", agent.err.all().last())) }
    })
    .await;
    let second = world.commit(&[("app/settings.yaml", Some(&process::config_map("settings", "two")))]);
    assert_eq!(world.value("settings").await.as_deref(), Some("one"));

    // The kubelet replaces the file of a projected token in this way.
    let renewed = world.path("token.renewed");
    std::fs::write(&renewed, world.token(&world.argocd, "second").await).unwrap();
    std::fs::rename(&renewed, &file).unwrap();
    world.until_synced("app", &second).await;
    assert_eq!(world.value("settings").await.as_deref(), Some("two"));
    assert!(agent.end(std::time::Duration::ZERO).await.is_none(), "the agent has ended");
}
