//! Injected faults and the log of requests.

use std::time::{Duration, Instant};

use serde_json::json;
use skiff::sandbox::fault::{Fault, FaultRule};

use super::{CONFIG_MAPS, World, config_map, reason};

#[tokio::test]
async fn each_fault_has_its_answer() {
    let world = World::new();
    for (fault, code, word) in [
        (Fault::Conflict, 409, "Conflict"),
        (Fault::Expired, 410, "Expired"),
        (Fault::TooManyRequests(1), 429, "TooManyRequests"),
        (Fault::InternalError, 500, "InternalError"),
        (Fault::Unavailable, 503, "ServiceUnavailable"),
        (Fault::Forbidden, 403, "Forbidden"),
    ] {
        world.sandbox.faults().inject(FaultRule::on("create", "configmaps").times(1), fault);
        let answer = world.post(CONFIG_MAPS, &config_map("a", json!({}))).await;
        assert_eq!(reason(&answer), (code, word));
    }
    assert_eq!(world.post(CONFIG_MAPS, &config_map("a", json!({}))).await.0, 201, "the rules are used up");
}

#[tokio::test]
async fn too_many_requests_say_when_to_come_back() {
    let world = World::new();
    world.sandbox.faults().inject(FaultRule::on("get", "configmaps"), Fault::TooManyRequests(7));
    let (code, headers, body) = world.exchange("GET", &format!("{CONFIG_MAPS}/a"), &[], "").await;
    assert_eq!((code, headers["retry-after"].to_str().unwrap()), (429, "7"));
    assert!(body.contains("\"retryAfterSeconds\":7"));
}

#[tokio::test]
async fn a_rule_is_for_what_it_names() {
    let world = World::new();
    world
        .sandbox
        .faults()
        .inject(FaultRule::on("get", "configmaps").named("a").after(1).times(1), Fault::InternalError);
    for name in ["a", "b"] {
        world.post(CONFIG_MAPS, &config_map(name, json!({}))).await;
    }
    let path = format!("{CONFIG_MAPS}/a");
    assert_eq!(world.get(&format!("{CONFIG_MAPS}/b")).await.0, 200);
    assert_eq!(world.get(&path).await.0, 200, "the first one is let through");
    assert_eq!(world.get(&path).await.0, 500);
    assert_eq!(world.get(&path).await.0, 200);
    world.sandbox.faults().inject(FaultRule::on("get", "configmaps"), Fault::InternalError);
    world.sandbox.faults().clear();
    assert_eq!(world.get(&path).await.0, 200);
}

#[tokio::test]
async fn a_delay_delays_and_a_disconnect_answers_nothing() {
    let world = World::new();
    world
        .sandbox
        .faults()
        .inject(FaultRule::on("list", "configmaps").times(1), Fault::Delay(Duration::from_millis(200)));
    let start = Instant::now();
    assert_eq!(world.get(CONFIG_MAPS).await.0, 200);
    assert!(start.elapsed() >= Duration::from_millis(200));
    world.sandbox.faults().inject(FaultRule::on("list", "configmaps").times(1), Fault::Disconnect);
    let request = http::Request::builder().uri(CONFIG_MAPS).body(kube::client::Body::empty()).unwrap();
    assert!(world.sandbox.client().send(request).await.is_err());
}

#[tokio::test]
async fn discovery_of_one_group_can_fail() {
    let world = World::new();
    let rule =
        FaultRule { verb: Some("discovery".into()), group: Some("apps".into()), ..FaultRule::default() };
    world.sandbox.faults().inject(rule, Fault::Unavailable);
    assert_eq!(world.get("/apis/apps/v1").await.0, 503);
    assert_eq!(world.get("/apis/batch/v1").await.0, 200);
    let accept = [("accept", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList")];
    let (_, aggregated) = world.send_with("GET", "/apis", &accept, "").await;
    for group in aggregated["items"].as_array().unwrap() {
        let stale = group["metadata"]["name"] == "apps";
        assert_eq!(group["versions"][0]["freshness"], if stale { "Stale" } else { "Current" });
    }
}

#[tokio::test]
async fn the_log_tells_writes_from_reads() {
    let world = World::new();
    world.post(CONFIG_MAPS, &config_map("a", json!({}))).await;
    world.get(CONFIG_MAPS).await;
    world.merge(&format!("{CONFIG_MAPS}/a?dryRun=All"), &json!({})).await;
    world.merge(&format!("{CONFIG_MAPS}/none"), &json!({})).await;
    let log = world.sandbox.requests();
    let shown: Vec<(String, String, u16, bool)> =
        log.all().into_iter().map(|r| (r.verb, r.name, r.status, r.dry_run)).collect();
    assert_eq!(
        shown,
        [
            ("create".to_owned(), String::new(), 201, false),
            ("list".to_owned(), String::new(), 200, false),
            ("patch".to_owned(), "a".to_owned(), 200, true),
            ("patch".to_owned(), "none".to_owned(), 404, false),
        ]
    );
    assert_eq!(log.writes().len(), 2);
    assert!(
        log.all().iter().all(|record| record.user_agent == "tester/1.0" && record.namespace == "default")
    );
    log.clear();
    assert!(log.all().is_empty());
}
