//! An API server that fails, in every place where the agent asks it: the agent gets there all the same.

use std::time::Duration;

use serde_json::json;
use skiff::sandbox::fault::{Fault, FaultRule};

use super::harness::{Setup, World, config_map};

/// Syncs two commits while a fault strikes, and checks that no object was written more often than it had to be.
async fn converges(rule: FaultRule, fault: Fault) {
    let what = format!("{fault:?} at {:?} {:?}", rule.verb, rule.resource);
    let struck = rule.times.unwrap_or(0);
    let mut world = Setup::new().without_agent().build().await;
    world
        .repository
        .commit(&[("app/a.yaml", Some(&config_map("a", "1"))), ("app/b.yaml", Some(&config_map("b", "1")))]);
    world.apply(world.automated("orders", "app")).await;
    world.faults.inject(rule.clone(), fault.clone());
    world.start_agent().await;
    world
        .until(&format!("a is there despite {what}"), async |w: &World| {
            w.get("v1", "ConfigMap", &w.namespace, "a").await
        })
        .await;
    // Once more for what the first sync did not meet.
    world.faults.inject(rule, fault);
    let commit =
        world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "2"))), ("app/b.yaml", None)]);
    world.until_synced("orders", &commit).await;
    let live = world.get("v1", "ConfigMap", &world.namespace, "a").await.unwrap();
    assert_eq!(live["data"]["key"], "2", "{what}");
    assert!(world.get("v1", "ConfigMap", &world.namespace, "b").await.is_none(), "{what}");
    let applies = world.written().iter().filter(|write| *write == "PATCH configmaps/a").count();
    assert!(applies <= 2 + 2 * struck, "{what}: {:?}", world.written());
    let deletes = world.written().iter().filter(|write| *write == "DELETE configmaps/b").count();
    assert!(deletes <= 1 + 2 * struck, "{what}: {:?}", world.written());
}

async fn all_converge(verb: &str, resource: &str, faults: &[Fault]) {
    let tries = faults.iter().map(|fault| converges(FaultRule::on(verb, resource).times(1), fault.clone()));
    futures::future::join_all(tries).await;
}

fn refusals() -> Vec<Fault> {
    vec![Fault::InternalError, Fault::Unavailable, Fault::TooManyRequests(1), Fault::Disconnect]
}

const SLOW: Fault = Fault::Delay(Duration::from_millis(300));

#[tokio::test]
async fn while_listing() {
    let faults = [refusals(), vec![Fault::Expired, SLOW]].concat();
    all_converge("list", "configmaps", &faults).await;
}

#[tokio::test]
async fn while_listing_applications() {
    let faults = [refusals(), vec![Fault::Expired, SLOW]].concat();
    all_converge("list", "applications", &faults).await;
}

#[tokio::test]
async fn while_watching() {
    let faults = [refusals(), vec![Fault::Expired, Fault::CutWatch(0), Fault::CutWatch(1), SLOW]].concat();
    all_converge("watch", "configmaps", &faults).await;
}

#[tokio::test]
async fn while_watching_applications() {
    let faults = [refusals(), vec![Fault::Expired, Fault::CutWatch(0), Fault::CutWatch(1), SLOW]].concat();
    all_converge("watch", "applications", &faults).await;
}

#[tokio::test]
async fn while_applying() {
    let faults = [refusals(), vec![Fault::Conflict, SLOW]].concat();
    all_converge("patch", "configmaps", &faults).await;
}

#[tokio::test]
async fn while_reading_before_a_deletion() {
    let faults = [refusals(), vec![SLOW]].concat();
    // The test itself reads the other one.
    let rule = FaultRule::on("get", "configmaps").named("b").times(1);
    let tries = faults.iter().map(|fault| converges(rule.clone(), fault.clone()));
    futures::future::join_all(tries).await;
}

#[tokio::test]
async fn while_deleting() {
    let faults = [refusals(), vec![Fault::Conflict, SLOW]].concat();
    all_converge("delete", "configmaps", &faults).await;
}

#[tokio::test]
async fn while_writing_the_status() {
    let faults = [refusals(), vec![Fault::Conflict, SLOW]].concat();
    all_converge("patch", "applications", &faults).await;
}

#[tokio::test]
async fn while_recording_the_end_of_an_operation() {
    let faults = [refusals(), vec![Fault::Conflict]].concat();
    let tries = faults
        .iter()
        .map(|fault| converges(FaultRule::on("patch", "applications").times(1).after(1), fault.clone()));
    futures::future::join_all(tries).await;
}

#[tokio::test]
async fn while_sending_events() {
    all_converge("create", "events", &refusals()).await;
}

#[tokio::test]
async fn everything_at_random() {
    let mut world = Setup::new().without_agent().build().await;
    for fault in
        [Fault::InternalError, Fault::TooManyRequests(1), Fault::Disconnect, Fault::CutWatch(1), SLOW]
    {
        let rule = FaultRule { probability: Some(0.04), times: Some(15), ..FaultRule::default() };
        let rule = FaultRule { namespace: Some(world.namespace.clone()), ..rule };
        world.faults.inject(rule, fault);
    }
    let manifests: Vec<(String, String)> =
        (0..20).map(|n| (format!("app/{n}.yaml"), config_map(&format!("settings-{n}"), "1"))).collect();
    let changes: Vec<_> = manifests.iter().map(|(path, text)| (path.as_str(), Some(text.as_str()))).collect();
    let commit = world.repository.commit(&changes);
    let mut application = world.automated("orders", "app");
    let quickly = json!({ "limit": 100, "backoff": { "duration": "50ms", "factor": 1 } });
    application["spec"]["syncPolicy"]["retry"] = quickly;
    world.apply(application).await;
    world.start_agent().await;
    world.until_synced("orders", &commit).await;
    assert_eq!(
        world
            .names("v1", "ConfigMap", &world.namespace)
            .await
            .iter()
            .filter(|name| name.starts_with("settings-"))
            .count(),
        20
    );
}
