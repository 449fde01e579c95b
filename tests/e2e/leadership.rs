//! Two replicas of which one writes.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use skiff::{
    controller::{Agent, AgentOptions, Leadership},
    metrics::{Metrics, MetricsOptions},
    sandbox::fault::{Fault, FaultRule},
};
use tokio::{task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    harness::{Setup, World, config_map},
    recorder::Recorder,
};

/// One replica.
struct Replica {
    requests: Recorder,
    leadership: Leadership,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Replica {
    fn start(world: &World, options: AgentOptions) -> Self {
        let requests = Recorder::new(&world.faults);
        let metrics = Arc::new(Metrics::new(&MetricsOptions::default()).unwrap());
        let agent = Agent::new(requests.client(world.client.clone()), options, metrics);
        let leadership = agent.leadership();
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let task = tokio::spawn(async move { agent.run(stopped).await.unwrap() });
        Self { requests, leadership, stop, task }
    }

    async fn until_leading(&self, world: &World) {
        let leadership = self.leadership.clone();
        world.until("the replica leads", async |_: &World| leadership.is_leading().then_some(())).await;
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Options with a lease of two seconds, renewed ten times a second.
fn quick(world: &World, identity: &str) -> AgentOptions {
    let mut options = world.agent_options(identity);
    options.leader.lease_duration = Duration::from_secs(2);
    options.leader.trusted_for = Duration::from_secs(1);
    options.leader.retry_period = Duration::from_millis(100);
    options.timeouts.write = Duration::from_secs(1);
    options
}

/// The same with a lease that is held and trusted longer than any test waits.
fn patient(world: &World, identity: &str) -> AgentOptions {
    let mut options = world.agent_options(identity);
    options.leader.lease_duration = Duration::from_secs(600);
    options.leader.trusted_for = Duration::from_secs(300);
    options.leader.retry_period = Duration::from_millis(100);
    options
}

/// The lease, as it is stored.
async fn lease(world: &World) -> Value {
    let lease = world.get("coordination.k8s.io/v1", "Lease", &world.argocd, "skiff-agent").await.unwrap();
    lease["spec"].clone()
}

fn time(value: &Value) -> Timestamp {
    value.as_str().unwrap().parse().unwrap()
}

async fn world() -> World {
    Setup::new().without_agent().build().await
}

#[tokio::test]
async fn only_the_leader_writes() {
    let world = world().await;
    let first = Replica::start(&world, patient(&world, "first"));
    first.until_leading(&world).await;
    let second = Replica::start(&world, patient(&world, "second"));
    world.apply(world.automated("orders", "app")).await;
    for value in ["1", "2", "3"] {
        let commit = world.repository.commit(&[("app/a.yaml", Some(&config_map("a", value)))]);
        world.until_synced("orders", &commit).await;
    }
    world
        .until("the other has asked for the lease", async |_: &World| {
            second.requests.sent().iter().any(|sent| sent.is_about_the_lease()).then_some(())
        })
        .await;
    assert!(!second.leadership.is_leading());
    let sent = second.requests.sent();
    assert!(sent.iter().all(|sent| sent.is_about_the_lease() && !sent.is_write()), "{sent:?}");
    assert!(!first.requests.writes().is_empty());
}

#[tokio::test]
async fn a_stopped_leader_hands_over_at_once() {
    let world = world().await;
    let mut first = Replica::start(&world, patient(&world, "first"));
    first.until_leading(&world).await;
    let second = Replica::start(&world, patient(&world, "second"));
    world.apply(world.automated("orders", "app")).await;
    let commit = world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "1")))]);
    world.until_synced("orders", &commit).await;

    first.stop.cancel();
    (&mut first.task).await.unwrap();
    let written = first.requests.writes().len();
    second.until_leading(&world).await;
    let commit = world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "2")))]);
    world.until_synced("orders", &commit).await;
    assert_eq!(first.requests.writes().len(), written, "the one that was stopped wrote on");
}

#[tokio::test]
async fn a_killed_leader_is_replaced_once_its_lease_is_over() {
    let world = world().await;
    let first = Replica::start(&world, quick(&world, "first"));
    first.until_leading(&world).await;
    let second = Replica::start(&world, quick(&world, "second"));
    world
        .until("the other has seen the lease", async |_: &World| {
            (second.requests.sent().len() > 3).then_some(())
        })
        .await;
    first.task.abort();
    let held = lease(&world).await;
    second.until_leading(&world).await;
    if held["holderIdentity"] == "first" {
        let [renewed, taken] = [&held["renewTime"], &lease(&world).await["acquireTime"]].map(time);
        let waited = taken.duration_since(renewed);
        assert!(waited >= SignedDuration::from_secs(2), "taken over after {waited}");
    }
    world.apply(world.automated("orders", "app")).await;
    let commit = world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "1")))]);
    world.until_synced("orders", &commit).await;
}

#[tokio::test]
async fn a_leader_that_cannot_renew_its_lease_stops_writing() {
    let faults = [Fault::InternalError, Fault::Disconnect, Fault::Delay(Duration::from_secs(3600))];
    for fault in faults {
        let world = world().await;
        let replica = Replica::start(&world, quick(&world, "first"));
        replica.until_leading(&world).await;
        world.apply(world.automated("orders", "app")).await;
        let commit = world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "1")))]);
        world.until_synced("orders", &commit).await;

        world.faults.inject(FaultRule::on("update", "leases"), fault.clone());
        let since = Instant::now();
        let last = Mutex::new(since);
        let leadership = replica.leadership.clone();
        world
            .until("it does not trust its lease any more", async |_: &World| {
                let now = Instant::now();
                if leadership.is_leading() {
                    *last.lock().unwrap() = now;
                    return None;
                }
                Some(())
            })
            .await;
        let led = last.lock().unwrap().duration_since(since);
        assert!(led < Duration::from_secs(2), "{fault:?}: it led on for {led:?}");
        let written = replica.requests.writes().len();
        world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "2")))]);
        let attempts = replica.requests.sent().len();
        world
            .until("it tries to get its lease back", async |_: &World| {
                (replica.requests.sent().len() > attempts + 2).then_some(())
            })
            .await;
        assert_eq!(replica.requests.writes().len(), written, "{fault:?}: it wrote without its lease");

        world.faults.clear();
        let commit = world.repository.commit(&[("app/a.yaml", Some(&config_map("a", "3")))]);
        world.until_synced("orders", &commit).await;
    }
}
