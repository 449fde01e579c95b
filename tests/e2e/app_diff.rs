//! `skiff app diff`: what a sync would change, for people, programs and pull requests.

use serde_json::Value;

use super::{
    cli::skiff_app,
    harness::{World, config_map, deployment},
};

fn secret(value: &str) -> String {
    format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: login}}\nstringData: {{password: {value}}}\n")
}

/// A synced Application, and a branch that changes an image and a secret, adds an object and removes one.
async fn world_with_a_branch() -> World {
    let world = World::new().await;
    let commit = world.repository.commit(&[
        ("app/web.yaml", Some(&deployment("web", "web:1.0", 1))),
        ("app/login.yaml", Some(&secret("canary-one"))),
        ("app/old.yaml", Some(&config_map("old", "1"))),
    ]);
    world.apply(world.automated("orders", "app")).await;
    world.until_synced("orders", &commit).await;
    // A branch of its own, which has no commit in common with the other.
    world.repository.commit_to("feature", "app/web.yaml", &deployment("web", "web:2.0", 1));
    world.repository.commit_to("feature", "app/login.yaml", &secret("canary-two"));
    world.repository.commit_to("feature", "app/new.yaml", &config_map("new", "1"));
    world
}

#[tokio::test]
async fn a_branch_shows_what_it_would_change_before_it_is_merged() {
    let world = world_with_a_branch().await;
    let said = skiff_app(&world, "diff orders").await;
    assert_eq!((said.exit_code, said.out.as_str()), (0, ""), "{}", said.err);

    let said = skiff_app(&world, "diff orders --revision feature").await;
    assert_eq!(said.exit_code, 1, "{}", said.err);
    for line in ["-      - image: web:1.0", "+      - image: web:2.0", "+  key: \"1\"", "-  key: \"1\""] {
        assert!(said.out.lines().any(|it| it == line), "{line} is missing in\n{}", said.out);
    }
    let secret = said.out.split("=====").find(|part| part.contains("--- Secret")).unwrap();
    assert!(secret.contains("-  password: +") && secret.contains("+  password: +"), "{secret}");
    let base64 = ["Y2FuYXJ5", "canary"];
    assert!(!base64.iter().any(|value| said.out.contains(value)), "{}", said.out);
    assert!(!said.out.contains("managedFields") && !said.out.contains("resourceVersion"), "{}", said.out);

    let said = skiff_app(&world, "diff orders --revision feature --exit-code=false").await;
    assert_eq!(said.exit_code, 0, "{}", said.err);
    let said = skiff_app(&world, "diff orders --revision nowhere").await;
    assert!(said.exit_code == 2 && said.err.contains("nowhere"), "{}: {}", said.exit_code, said.err);
    let web = world.get("apps/v1", "Deployment", &world.namespace, "web").await.unwrap();
    assert_eq!(web["spec"]["template"]["spec"]["containers"][0]["image"], "web:1.0", "a look wrote");
}

#[tokio::test]
async fn the_difference_is_told_to_programs_and_pull_requests_too() {
    let world = world_with_a_branch().await;
    let said = skiff_app(&world, "diff orders --revision feature -o json").await;
    assert_eq!(said.exit_code, 1, "{}", said.err);
    let told: Value = serde_json::from_str(&said.out).unwrap();
    let changes: Vec<(&str, &str)> = told["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|change| (change["action"].as_str().unwrap(), change["name"].as_str().unwrap()))
        .collect();
    for wanted in [("create", "new"), ("delete", "old"), ("change", "login"), ("change", "web")] {
        assert!(changes.contains(&wanted), "{wanted:?} is missing in {changes:?}");
    }
    let said = skiff_app(&world, "diff orders --revision feature -o markdown").await;
    assert_eq!(said.exit_code, 1, "{}", said.err);
    for text in ["**1** to create, **2** to change, **1** to delete", "```diff\n", "<details>", "</details>"]
    {
        assert!(said.out.contains(text), "{text} is missing in\n{}", said.out);
    }
}

#[tokio::test]
async fn the_api_server_may_predict_what_comes_of_it() {
    let world = world_with_a_branch().await;
    world.repository.commit_to("feature", "app/more.yaml", &secret("x").replace("login", "more"));
    let local = skiff_app(&world, "diff orders --revision feature").await;
    let predicted = skiff_app(&world, "diff orders --revision feature --server-side").await;
    assert_eq!((local.exit_code, predicted.exit_code), (1, 1), "{}{}", local.err, predicted.err);
    // Only the API server knows what it adds by itself.
    assert!(
        !local.out.contains("+type: Opaque") && predicted.out.contains("+type: Opaque"),
        "{}",
        predicted.out
    );
    assert_eq!(world.get("v1", "Secret", &world.namespace, "more").await, None);
}
