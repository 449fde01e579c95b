//! Resident memory of the agent with many Applications of ten objects each, all synced by itself.
//!
//! The sandbox and the agent are processes of their own, so that only the agent is counted. Numbers of Applications
//! can be given: `cargo bench --bench memory -- 100 1000`.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::panic)]

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use skiff::{
    api::crd,
    files::RepoPath,
    git::writer::{self, Author, Change},
};

#[path = "support/application.rs"]
mod application;

const PATIENCE: Duration = Duration::from_secs(600);
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// So long without a reconciliation counts as rest.
const REST: Duration = Duration::from_secs(5);

fn main() {
    let given: Vec<usize> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let sizes = if given.is_empty() { vec![100, 1000] } else { given };
    println!(
        "{:>12}  {:>14}  {:>12}  {:>12}  {:>12}",
        "applications", "all synced", "at rest", "peak", "CPU time"
    );
    for applications in sizes {
        measure(applications);
    }
}

/// A child that ends with the bench.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn measure(applications: usize) {
    let folder = tempfile::tempdir().unwrap();
    let manifests = folder.path().join("cluster.yaml");
    let kubeconfig = folder.path().join("kubeconfig");
    let repository = folder.path().join("repository");
    write_repository(&repository, applications);
    fs::write(&manifests, cluster(&repository, applications)).unwrap();

    let skiff = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_skiff"));
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Process(command.spawn().unwrap())
    };
    let kubeconfig_text = kubeconfig.to_str().unwrap();
    let mut sandbox = skiff(&[
        "sandbox",
        "--kubeconfig",
        kubeconfig_text,
        "--pod-ready-delay",
        "0.01",
        "--load",
        manifests.to_str().unwrap(),
    ]);
    until("the sandbox serves", || {
        assert!(sandbox.0.try_wait().unwrap().is_none(), "the sandbox has ended");
        kubeconfig.exists().then_some(())
    });
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let cache = folder.path().join("cache");
    let begun = Instant::now();
    let mut agent = skiff(&[
        "agent",
        "--kubeconfig",
        kubeconfig_text,
        "--cache",
        cache.to_str().unwrap(),
        "--metrics-address",
        &address.to_string(),
    ]);
    until("all Applications are synced", || {
        assert!(agent.0.try_wait().unwrap().is_none(), "the agent has ended");
        let metrics = metrics(address)?;
        let synced = metrics
            .lines()
            .filter(|line| line.starts_with("argocd_app_info{") && line.contains("sync_status=\"Synced\""));
        (synced.count() == applications).then_some(())
    });
    let synced = begun.elapsed();
    let mut before = (String::new(), Instant::now());
    until("the agent is at rest", || {
        let metrics = metrics(address)?;
        let looks: String =
            metrics.lines().filter(|line| line.starts_with("argocd_app_reconcile_count")).collect();
        if looks != before.0 {
            before = (looks, Instant::now());
        }
        (before.1.elapsed() > REST).then_some(())
    });
    let mebibytes = |field| kibibytes(agent.0.id(), field) / 1024.0;
    let cpu = metrics(address).and_then(|metrics| {
        let line = metrics.lines().find(|line| line.starts_with("process_cpu_seconds_total"))?.to_owned();
        line.split(' ').next_back()?.parse::<f64>().ok()
    });
    println!(
        "{applications:>12}  {:>12.1} s  {:>8.1} MiB  {:>8.1} MiB  {:>10.1} s",
        synced.as_secs_f64(),
        mebibytes("VmRSS"),
        mebibytes("VmHWM"),
        cpu.unwrap_or_default(),
    );
}

fn write_repository(repository: &Path, applications: usize) {
    writer::init(repository, true).unwrap();
    let changes: Vec<Change> = (0..applications)
        .map(|number| {
            let path = RepoPath::parse(&format!("apps/app{number}/all.yaml")).unwrap();
            Change::Write(path, application::application(number).into_bytes())
        })
        .collect();
    writer::commit(repository, "main", &changes, "all", &Author::new("bench", "bench@example.com")).unwrap();
}

/// What is in the cluster before the agent comes.
fn cluster(repository: &Path, applications: usize) -> String {
    let mut documents: Vec<String> =
        crd::definitions().iter().map(|definition| definition.to_yaml()).collect();
    documents.push("apiVersion: v1\nkind: Namespace\nmetadata: {name: argocd}\n".to_owned());
    for number in 0..applications {
        documents.push(format!(
            "apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {{name: app{number}, namespace: argocd}}
spec:
  project: default
  source: {{repoURL: \"file://{}\", path: apps/app{number}, targetRevision: main}}
  destination: {{server: https://kubernetes.default.svc, namespace: team{number}}}
  syncPolicy:
    automated: {{prune: true, selfHeal: true}}
    syncOptions: [CreateNamespace=true]
",
            repository.display()
        ));
    }
    documents.join("---\n")
}

fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "waited in vain until {what}");
        thread::sleep(LOOK_EVERY);
    }
}

fn metrics(address: SocketAddr) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    Some(text)
}

/// A figure of `/proc/PID/status`.
fn kibibytes(process: u32, field: &str) -> f64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
