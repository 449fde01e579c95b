//! What the cluster's own policies refuse.

use serde_json::{Value, json};

use crate::{
    process,
    world::{World, until},
};

/// Refuses ConfigMaps of the world's namespace for which an expression does not hold.
async fn policy(world: &World, name: &str, operations: &[&str], expression: &str, message: &str) {
    world
        .apply(json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicy",
            "metadata": { "name": name },
            "spec": {
                "failurePolicy": "Fail",
                "matchConstraints": { "resourceRules": [{
                    "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"], "operations": operations,
                }] },
                "validations": [{ "expression": expression, "message": message }],
            },
        }))
        .await;
    world
        .apply(json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": { "name": name },
            "spec": {
                "policyName": name,
                "validationActions": ["Deny"],
                "matchResources": { "namespaceSelector": {
                    "matchLabels": { "kubernetes.io/metadata.name": world.shop },
                } },
            },
        }))
        .await;
}

async fn remove_policy(world: &World, name: &str) {
    let version = "admissionregistration.k8s.io/v1";
    world.delete(version, "ValidatingAdmissionPolicyBinding", "", name).await;
    world.delete(version, "ValidatingAdmissionPolicy", "", name).await;
}

/// Waits until the API server acts on a policy, or no longer does.
async fn until_refused(world: &World, object: &Value, refused: bool) {
    let file = world.path("probe.json");
    std::fs::write(&file, object.to_string()).unwrap();
    let file = file.to_str().unwrap();
    until(&format!("the policy acts: {refused}"), || async {
        let said = world.kubectl(&["apply", "--server-side", "--dry-run=server", "-f", file]).await;
        if (said.exit_code != 0) == refused { Ok(()) } else { Err(format!("{}{}", said.out, said.err)) }
    })
    .await;
}

fn named(world: &World, name: &str, value: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": name, "namespace": world.shop }, "data": { "key": value },
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_policy_refuses_is_told_in_its_words_and_nothing_is_written() {
    let world = World::new().await;
    let name = world.unique("no-forbidden-values");
    let expression = "!has(object.data) || !('key' in object.data) || object.data['key'] != 'forbidden'";
    policy(&world, &name, &["CREATE", "UPDATE"], expression, "the value 'forbidden' is not for ConfigMaps")
        .await;
    until_refused(&world, &named(&world, "probe", "forbidden"), true).await;
    let agent = world.start_agent("agent-0");
    agent.until_ready().await;
    let revision = world.commit(&[
        ("app/first.yaml", Some(&process::config_map("first", "one"))),
        ("app/second.yaml", Some(&process::config_map("second", "one"))),
    ]);
    world.apply(world.automated("app", "app")).await;
    world.until_synced("app", &revision).await;

    let refused = world.commit(&[
        ("app/first.yaml", Some(&process::config_map("first", "two"))),
        ("app/second.yaml", Some(&process::config_map("second", "forbidden"))),
    ]);
    let failed = world
        .until_application("app", "says what the policy says", |application| {
            let operation = &application["status"]["operationState"];
            operation["syncResult"]["revision"] == refused
                && operation["message"].to_string().contains("the value 'forbidden' is not for ConfigMaps")
        })
        .await;
    assert_ne!(failed["status"]["operationState"]["phase"], "Succeeded");
    assert_eq!(failed["status"]["sync"]["status"], "OutOfSync");
    assert_eq!(world.value("first").await.as_deref(), Some("one"), "a part of the refused sync was written");

    let mended = world.commit(&[("app/second.yaml", Some(&process::config_map("second", "two")))]);
    world.until_synced("app", &mended).await;
    assert_eq!(world.value("first").await.as_deref(), Some("two"));
    remove_policy(&world, &name).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_whose_deletion_is_refused_stays_and_is_told() {
    let world = World::new().await;
    let name = world.unique("keep");
    policy(&world, &name, &["DELETE"], "oldObject.metadata.name != 'kept'", "'kept' must stay").await;
    let agent = world.start_agent("agent-0");
    agent.until_ready().await;
    let revision = world.commit(&[
        ("app/kept.yaml", Some(&process::config_map("kept", "one"))),
        ("app/other.yaml", Some(&process::config_map("other", "one"))),
    ]);
    world.apply(world.automated("app", "app")).await;
    world.until_synced("app", &revision).await;
    until("the policy acts", || async {
        let said = world
            .kubectl(&["delete", "configmap", "kept", "--dry-run=server", "--namespace", &world.shop])
            .await;
        if said.err.contains("'kept' must stay") { Ok(()) } else { Err(format!("{}{}", said.out, said.err)) }
    })
    .await;

    let pruned = world.commit(&[("app/kept.yaml", None)]);
    let failed = world
        .until_application("app", "says what the policy says", |application| {
            let operation = &application["status"]["operationState"];
            operation["syncResult"]["revision"] == pruned
                && operation["message"].to_string().contains("'kept' must stay")
        })
        .await;
    assert_ne!(failed["status"]["operationState"]["phase"], "Succeeded");
    assert_eq!(world.value("kept").await.as_deref(), Some("one"));

    remove_policy(&world, &name).await;
    world.until_synced("app", &pruned).await;
    assert_eq!(world.value("kept").await, None);
}
