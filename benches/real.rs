//! The agent on a real Kubernetes control plane: from a commit, and from a change by hand, to the live object; then its
//! memory and its requests with many Applications at rest.
//!
//! The agent is a process of its own, the control plane that of the tests (`tests/control-plane`, or the disposable
//! cluster that `SKIFF_TEST_KUBECONFIG` names). The repository is polled every [`POLL_EVERY`] seconds while commits are
//! measured, and as often as by default at rest.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::panic
)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use futures::{StreamExt, pin_mut};
use kube::{
    Api, Client,
    api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams},
    core::{ApiResource, GroupVersionKind},
    runtime::{WatchStreamExt, watcher},
};
use serde_json::{Value, json};
use skiff::{
    files::RepoPath,
    git::writer::{self, Author, Change},
};
use tokio::{sync::watch, time::Instant};

#[path = "support/application.rs"]
mod application;
#[path = "../tests/support/control_plane.rs"]
mod control_plane;

const POLL_EVERY: &str = "0.01";
const PATIENCE: Duration = Duration::from_secs(600);
const EVENTS: usize = 200;
const APPLICATIONS: usize = 100;
/// How long requests are counted.
const AT_REST: Duration = Duration::from_secs(180);
/// So long without a reconciliation counts as rest.
const REST: Duration = Duration::from_secs(10);

const APPLICATION: (&str, &str) = ("argoproj.io/v1alpha1", "Application");

#[tokio::main]
async fn main() {
    let control_plane = control_plane::shared_async().await;
    control_plane.install_crds().await;
    let bench =
        Bench { client: control_plane.client().await, kubeconfig: control_plane.kubeconfig().to_owned() };
    bench.reactions().await;
    bench.rest().await;
}

struct Bench {
    client: Client,
    kubeconfig: PathBuf,
}

/// An agent that ends with the bench.
struct Agent {
    child: Child,
    address: String,
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Bench {
    /// How long until a commit is applied and drift is put back.
    async fn reactions(&self) {
        let folder = tempfile::tempdir().unwrap();
        let (argocd, shop) = ("argocd-reactions", "shop-reactions");
        self.apply(("v1", "Namespace"), "", json!({ "metadata": { "name": argocd } })).await;
        self.apply(("v1", "Namespace"), "", json!({ "metadata": { "name": shop } })).await;
        let repository = folder.path().join("repository");
        writer::init(&repository, true).unwrap();
        let commit = |value: &str| {
            let settings = format!(
                "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: settings\ndata:\n  key: {value}\n"
            );
            commit(
                &repository,
                vec![
                    ("app/all.yaml".to_owned(), application::application(0)),
                    ("app/settings.yaml".to_owned(), settings),
                ],
            )
        };
        let first = commit("first");
        let mut settings = self.follow(("v1", "ConfigMap"), shop, "settings").await;
        let mut application = self.follow(APPLICATION, argocd, "shop").await;
        let agent = self.agent(folder.path(), argocd, &["--poll-interval", POLL_EVERY]);
        self.apply(APPLICATION, argocd, automated("shop", &repository, "app", shop)).await;
        until(&mut settings, |live| live["data"]["key"] == "first").await;
        until(&mut application, |it| is_done(it, &first)).await;

        let (mut applied, mut healed) = (Vec::new(), Vec::new());
        for number in 0..EVENTS {
            let declared = format!("commit-{number}");
            let revision = commit(&declared);
            let begun = Instant::now();
            until(&mut settings, |live| live["data"]["key"] == declared.as_str()).await;
            applied.push(begun.elapsed());
            until(&mut application, |it| is_done(it, &revision)).await;
            // Once per commit: what drifts again and again is put back ever less often, on purpose.
            let change = json!({ "metadata": { "name": "settings" }, "data": { "key": "by-hand" } });
            let changed = version(&self.apply(("v1", "ConfigMap"), shop, change).await);
            let begun = Instant::now();
            until(&mut settings, |live| version(live) > changed && live["data"]["key"] == declared.as_str())
                .await;
            healed.push(begun.elapsed());
            until(&mut application, |it| is_done(it, &revision) && heals(it) > 0).await;
        }
        report("commit -> applied", applied);
        report("drift -> healed", healed);
        drop(agent);
        self.remove(&[argocd, shop]).await;
    }

    /// What many Applications cost that are all as they should be.
    async fn rest(&self) {
        let folder = tempfile::tempdir().unwrap();
        let argocd = "argocd-rest";
        self.apply(("v1", "Namespace"), "", json!({ "metadata": { "name": argocd } })).await;
        let repository = folder.path().join("repository");
        writer::init(&repository, true).unwrap();
        let twenty_objects = |number| {
            let (ten, more) =
                (application::application(number), application::application(number + APPLICATIONS));
            (format!("apps/{number}/all.yaml"), format!("{ten}---\n{more}"))
        };
        commit(&repository, (0..APPLICATIONS).map(twenty_objects).collect());
        let mut namespaces = vec![argocd.to_owned()];
        for number in 0..APPLICATIONS {
            let namespace = format!("team-{number}-rest");
            let application =
                automated(&format!("app{number}"), &repository, &format!("apps/{number}"), &namespace);
            self.apply(APPLICATION, argocd, application).await;
            namespaces.push(namespace);
        }
        let begun = Instant::now();
        let agent = self.agent(folder.path(), argocd, &[]);
        agent
            // Without a metrics server no HorizontalPodAutoscaler becomes healthy.
            .until("all are synced", |metrics| {
                let done = |line: &&str| {
                    line.starts_with("argocd_app_info{") && line.contains("sync_status=\"Synced\"")
                };
                metrics.lines().filter(done).count() == APPLICATIONS
            })
            .await;
        let synced = begun.elapsed();
        let looks = |metrics: &str| sum(metrics, "argocd_app_reconcile_count");
        let mut before = (f64::MAX, Instant::now());
        agent
            .until("the agent is at rest", |metrics| {
                if looks(metrics) != before.0 {
                    before = (looks(metrics), Instant::now());
                }
                before.1.elapsed() > REST
            })
            .await;
        let requests = sum(&agent.metrics().await, "skiff_api_requests_total");
        tokio::time::sleep(AT_REST).await;
        let metrics = agent.metrics().await;
        let per_minute =
            (sum(&metrics, "skiff_api_requests_total") - requests) * 60.0 / AT_REST.as_secs_f64();
        println!("{APPLICATIONS} Applications x 20 objects");
        println!("  synced after {:.1} s", synced.as_secs_f64());
        println!(
            "  resident at rest {:.1} MiB, peak {:.1} MiB",
            agent.mebibytes("VmRSS"),
            agent.mebibytes("VmHWM")
        );
        println!("  API requests a minute at rest {per_minute:.1}");
        println!("  CPU time in all {:.1} s", sum(&metrics, "process_cpu_seconds_total"));
        drop(agent);
        let namespaces: Vec<&str> = namespaces.iter().map(String::as_str).collect();
        self.remove(&namespaces).await;
    }

    fn agent(&self, folder: &Path, namespace: &str, more: &[&str]) -> Agent {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_skiff"));
        command.args(["agent", "--namespace", namespace, "--kubeconfig"]).arg(&self.kubeconfig);
        command
            .arg("--cache")
            .arg(folder.join("cache"))
            .args(["--metrics-address", &free.to_string()])
            .args(more);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Agent { child: command.spawn().unwrap(), address: free.to_string() }
    }

    fn api(&self, (api_version, kind): (&str, &str), namespace: &str) -> Api<DynamicObject> {
        let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        match namespace {
            "" => Api::all_with(self.client.clone(), &resource),
            namespace => Api::namespaced_with(self.client.clone(), namespace, &resource),
        }
    }

    /// Applies an object, as a person does.
    async fn apply(&self, of: (&str, &str), namespace: &str, mut object: Value) -> Value {
        object["apiVersion"] = json!(of.0);
        object["kind"] = json!(of.1);
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        let parameters = PatchParams::apply("person").force();
        let applied = self.api(of, namespace).patch(&name, &parameters, &Patch::Apply(&object)).await;
        serde_json::to_value(applied.unwrap()).unwrap()
    }

    /// Follows an object: what it is like now is always at hand.
    async fn follow(&self, of: (&str, &str), namespace: &str, name: &str) -> watch::Receiver<Value> {
        let (sender, receiver) = watch::channel(Value::Null);
        let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
        let api = self.api(of, namespace);
        tokio::spawn(async move {
            let events = watcher(api, config).default_backoff().applied_objects();
            pin_mut!(events);
            while let Some(event) = events.next().await {
                if let Ok(object) = event {
                    let _ = sender.send(serde_json::to_value(object).unwrap());
                }
            }
        });
        receiver
    }

    async fn remove(&self, namespaces: &[&str]) {
        for namespace in namespaces {
            let _ = self
                .api(APPLICATION, namespace)
                .delete_collection(&DeleteParams::default(), &ListParams::default())
                .await;
            let _ = self.api(("v1", "Namespace"), "").delete(namespace, &DeleteParams::default()).await;
        }
    }
}

impl Agent {
    async fn metrics(&self) -> String {
        let address = self.address.clone();
        let asked = tokio::task::spawn_blocking(move || {
            use std::io::{Read, Write};
            let mut stream = std::net::TcpStream::connect(address)?;
            stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\r\n")?;
            let mut text = String::new();
            stream.read_to_string(&mut text)?;
            std::io::Result::Ok(text)
        });
        // Nobody listens before the agent has begun.
        asked.await.unwrap().unwrap_or_default()
    }

    async fn until(&self, what: &str, mut is: impl FnMut(&str) -> bool) {
        let begun = Instant::now();
        while !is(&self.metrics().await) {
            assert!(begun.elapsed() < PATIENCE, "waited in vain until {what}");
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }

    /// A figure of `/proc/PID/status`.
    fn mebibytes(&self, field: &str) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(field)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
    }
}

/// The sum of a metric's series.
fn sum(metrics: &str, name: &str) -> f64 {
    let of_name = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{']));
    metrics.lines().filter(of_name).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

fn commit(repository: &Path, files: Vec<(String, String)>) -> String {
    let write =
        |(path, text): (String, String)| Change::Write(RepoPath::parse(&path).unwrap(), text.into_bytes());
    let changes: Vec<Change> = files.into_iter().map(write).collect();
    writer::commit(repository, "main", &changes, "a change", &Author::new("bench", "bench@example.com"))
        .unwrap()
        .to_string()
}

/// An Application that is synced by itself.
fn automated(name: &str, repository: &Path, path: &str, namespace: &str) -> Value {
    json!({
        "metadata": { "name": name },
        "spec": {
            "project": "default",
            "source": { "repoURL": format!("file://{}", repository.display()), "path": path, "targetRevision": "main" },
            "destination": { "server": "https://kubernetes.default.svc", "namespace": namespace },
            "syncPolicy": {
                "automated": { "prune": true, "selfHeal": true },
                "syncOptions": ["CreateNamespace=true"],
            },
        },
    })
}

/// Whether the last operation is over and its outcome on record, so that events do not overlap.
fn is_done(application: &Value, revision: &str) -> bool {
    let status = &application["status"];
    status["operationState"]["phase"] == "Succeeded"
        && status["operationState"]["syncResult"]["revision"] == revision
        && status["sync"]["status"] == "Synced"
        && status["sync"]["revision"] == revision
        && application.get("operation").is_none()
}

fn heals(application: &Value) -> i64 {
    let sync = &application["status"]["operationState"]["operation"]["sync"];
    sync["autoHealAttemptsCount"].as_i64().unwrap_or_default()
}

fn version(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap()
}

async fn until(object: &mut watch::Receiver<Value>, is: impl Fn(&Value) -> bool) {
    let seen = object.wait_for(|object| !object.is_null() && is(object));
    tokio::time::timeout(PATIENCE, seen).await.unwrap().unwrap();
}

fn report(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |share: usize| times.get((times.len() - 1) * share / 100).copied().unwrap_or_default();
    let (median, p90, p99, max) = (at(50), at(90), at(99), at(100));
    println!(
        "{what:<18} p50 {median:>8.1?}  p90 {p90:>8.1?}  p99 {p99:>8.1?}  max {max:>8.1?}  ({} times)",
        times.len()
    );
}
