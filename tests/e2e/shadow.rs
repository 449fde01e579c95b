//! Shadow mode: an agent beside an Argo CD that writes nothing but its report.
//!
//! An ordinary agent plays Argo CD: it writes the statuses, and stops before anything is compared with them.

use std::{sync::Arc, time::Duration};

use http::Method;
use serde_json::{Value, json};
use skiff::{
    controller::{Agent, Mode},
    metrics::{Metrics, MetricsOptions},
};
use tokio::{task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    cluster::parse,
    harness::{World, config_map, deployment},
    recorder::{Recorder, Sent},
};

/// An agent in shadow mode.
struct Shadow {
    requests: Recorder,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Shadow {
    fn start(world: &World) -> Self {
        let requests = Recorder::new(&world.faults);
        let metrics = Arc::new(Metrics::new(&MetricsOptions::default()).unwrap());
        let mut options = world.agent_options("shadow");
        options.mode = Mode::Shadow;
        let agent = Agent::new(requests.client(world.client.clone()), options, Arc::clone(&metrics));
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let task = tokio::spawn(async move { agent.run(stopped).await.unwrap() });
        Self { requests, metrics, stop, task }
    }

    /// Everything that is no read: dry runs, reviews, events and leases count.
    fn writes(&self) -> Vec<Sent> {
        self.requests.sent().into_iter().filter(|sent| sent.method != Method::GET).collect()
    }

    fn looks(&self) -> usize {
        let text = self.metrics.text().unwrap();
        let counts = text.lines().filter(|line| line.starts_with("argocd_app_reconcile_count"));
        counts.map(|line| line.rsplit(' ').next().unwrap().parse::<usize>().unwrap()).sum()
    }

    /// Stops it, and checks what must be true of every shadow.
    async fn end(mut self, world: &World) {
        self.stop.cancel();
        (&mut self.task).await.unwrap();
        let report = format!("/api/v1/namespaces/{}/configmaps/skiff-shadow?", world.argocd);
        for sent in self.writes() {
            assert!(
                sent.method == Method::PATCH && sent.uri.starts_with(&report),
                "{} {}",
                sent.method,
                sent.uri
            );
            assert!(sent.answer().is_some_and(|(status, _)| status.is_success()), "{}", sent.body());
        }
        assert!(!self.writes().is_empty());
    }
}

/// The report's parts, each as what its YAML says.
async fn report(world: &World) -> Option<Value> {
    let map = world.get("v1", "ConfigMap", &world.argocd, "skiff-shadow").await?;
    let parts = map["data"].as_object()?.iter();
    let parts = parts.map(|(name, text)| (name.replace(".yaml", ""), parse(text.as_str().unwrap())));
    Some(Value::Object(parts.collect()))
}

/// Waits until the report says something of one Application; returns its entry.
async fn until_reported(world: &World, name: &str, verdict: &str, text: &str) -> Value {
    let application = format!("{}/{name}", world.argocd);
    let begun = Instant::now();
    loop {
        let report = report(world).await.unwrap_or_default();
        let entries = report[verdict].as_array().cloned().unwrap_or_default();
        let entry = entries.into_iter().find(|entry| entry["application"] == *application);
        if let Some(entry) = entry.filter(|entry| entry.to_string().contains(text)) {
            return entry;
        }
        let waits = begun.elapsed() < world.patience();
        assert!(
            waits,
            "waited in vain until the report says '{verdict}' of {name} with '{text}':\n{report:#}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A world with an Application that is synced, and whose status says so. Nobody looks after it any more.
async fn synced(world: &mut World) -> String {
    let commit = world.repository.commit(&[
        ("app/settings.yaml", Some(&config_map("settings", "one"))),
        ("app/web.yaml", Some(&deployment("web", "web:1", 2))),
    ]);
    world.apply(world.automated("app", "app")).await;
    world.until_synced("app", &commit).await;
    world.until_quiet("app").await;
    world.stop_agent().await;
    commit.as_str().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn where_both_agree_the_report_says_so_and_nothing_else_is_written() {
    let mut world = World::new().await;
    let commit = synced(&mut world).await;
    let before = world.read_application("app").await;
    let shadow = Shadow::start(&world);
    let entry = until_reported(&world, "app", "equal", "comparedAt").await;
    assert_eq!(entry["revision"], *commit);
    let summary = report(&world).await.unwrap()["summary"].clone();
    assert_eq!(
        (&summary["applications"], &summary["equal"], &summary["different"]),
        (&json!(1), &json!(1), &json!(0))
    );
    let text = shadow.metrics.text().unwrap();
    assert!(text.contains("skiff_shadow_applications{verdict=\"equal\"} 1"), "{text}");
    // Alerts and dashboards that look at Argo CD must not see everything twice, nor miss a leader.
    assert!(!text.contains("argocd_app_info{") && !text.contains("skiff_leader"), "{text}");
    shadow.end(&world).await;
    assert_eq!(
        world.read_application("app").await.metadata.resource_version,
        before.metadata.resource_version
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn drift_is_reported_and_left_alone() {
    let mut world = World::new().await;
    synced(&mut world).await;
    let shadow = Shadow::start(&world);
    until_reported(&world, "app", "equal", "").await;
    // Without a dry run it is not certain that a changed field is one.
    let drifted = json!({ "data": { "key": "by hand" } });
    world.patch("v1", "ConfigMap", &world.namespace, "settings", drifted).await;
    let entry = until_reported(&world, "app", "doubtful", "data.key").await;
    assert_eq!(entry["differences"][0]["skiff"], "OutOfSync", "{entry:#}");
    // That an object is missing is.
    world.delete("apps/v1", "Deployment", &world.namespace, "web").await;
    let entry = until_reported(&world, "app", "different", "Deployment").await;
    assert!(entry.to_string().contains("it is missing in the cluster"), "{entry:#}");
    // Argo CD comes to the same verdict, and all is well.
    let mut rows: Vec<Value> = Vec::new();
    for row in &world.read_application("app").await.status.resources {
        let mut row = serde_json::to_value(row).unwrap();
        row["status"] = json!("OutOfSync");
        row.as_object_mut().unwrap().shift_remove("health");
        rows.push(row);
    }
    let status =
        json!({ "sync": { "status": "OutOfSync" }, "health": { "status": "Healthy" }, "resources": rows });
    world
        .patch("argoproj.io/v1alpha1", "Application", &world.argocd, "app", json!({ "status": status }))
        .await;
    until_reported(&world, "app", "equal", "").await;
    shadow.end(&world).await;
    let settings = world.get("v1", "ConfigMap", &world.namespace, "settings").await.unwrap();
    assert_eq!(settings["data"]["key"], "by hand");
    assert_eq!(world.get("apps/v1", "Deployment", &world.namespace, "web").await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_only_a_matter_of_time_is_no_difference() {
    let mut world = World::new().await;
    let commit = synced(&mut world).await;
    let shadow = Shadow::start(&world);
    until_reported(&world, "app", "equal", "").await;
    world.repository.commit(&[("app/settings.yaml", Some(&config_map("settings", "two")))]);
    let entry = until_reported(&world, "app", "notComparable", &commit).await;
    assert_eq!(entry.get("differences"), None, "{entry:#}");
    let application = "argoproj.io/v1alpha1";
    let operation = json!({ "operation": { "sync": {} } });
    world.patch(application, "Application", &world.argocd, "app", operation).await;
    until_reported(&world, "app", "notComparable", "an operation is running").await;
    let refresh =
        json!({ "operation": null, "metadata": { "annotations": { "argocd.argoproj.io/refresh": "hard" } } });
    world.patch(application, "Application", &world.argocd, "app", refresh).await;
    until_reported(&world, "app", "notComparable", "a refresh").await;
    let finalizers = json!({ "metadata": { "finalizers": ["resources-finalizer.argocd.argoproj.io"] } });
    world.patch(application, "Application", &world.argocd, "app", finalizers).await;
    world.delete(application, "Application", &world.argocd, "app").await;
    until_reported(&world, "app", "notComparable", "deleted").await;
    // Somebody else's work is still there to be done.
    let left = world.read_application("app").await;
    assert_eq!(left.annotation("argocd.argoproj.io/refresh"), Some("hard"));
    assert!(left.has_finalizer("resources-finalizer.argocd.argoproj.io"));
    let nobody = json!({ "metadata": { "finalizers": null } });
    world.patch(application, "Application", &world.argocd, "app", nobody).await;
    world
        .until("the report forgets it", async |world: &World| {
            (report(world).await?["summary"]["applications"] == 0).then_some(())
        })
        .await;
    shadow.end(&world).await;
    assert!(world.get("v1", "ConfigMap", &world.namespace, "settings").await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_skiff_cannot_do_is_told_before_anybody_migrates() {
    let mut world = World::new().await;
    synced(&mut world).await;
    // As Argo CD shows an Application whose plugin has rendered something.
    let mut templated = world.application("application", "templates");
    templated["spec"]["source"]["plugin"] = json!({ "name": "templates" });
    let compared_to =
        json!({ "source": templated["spec"]["source"], "destination": templated["spec"]["destination"] });
    world.repository.commit(&[("templates/a.yaml", Some("kind: {{ kind }}\n"))]);
    world.apply(templated).await;
    let status = json!({
        "sync": { "status": "Synced", "revision": "abc", "comparedTo": compared_to },
        "health": { "status": "Healthy" },
    });
    world
        .patch(
            "argoproj.io/v1alpha1",
            "Application",
            &world.argocd,
            "application",
            json!({ "status": status }),
        )
        .await;
    let shadow = Shadow::start(&world);
    let entry = until_reported(&world, "application", "different", "ComparisonError").await;
    assert!(entry["notes"].to_string().contains("plugins are not supported"), "{entry:#}");
    assert!(entry["differences"].to_string().contains("spec.source.plugin"), "{entry:#}");
    shadow.end(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_that_says_the_same_is_not_written_again() {
    let mut world = World::new().await;
    synced(&mut world).await;
    let shadow = Shadow::start(&world);
    until_reported(&world, "app", "equal", "").await;
    let (written, looked) = (shadow.writes().len(), shadow.looks());
    // Argo CD has looked again and found nothing.
    for second in 0..5 {
        let status = json!({ "status": { "reconciledAt": format!("2026-03-01T12:00:0{second}Z") } });
        world.patch("argoproj.io/v1alpha1", "Application", &world.argocd, "app", status).await;
    }
    world
        .until("the shadow has looked again", async |_: &World| (shadow.looks() > looked).then_some(()))
        .await;
    world.delete("apps/v1", "Deployment", &world.namespace, "web").await;
    until_reported(&world, "app", "different", "Deployment").await;
    assert!(shadow.writes().len() <= written + 2, "a look that found nothing was written down");
    shadow.end(&world).await;
}
