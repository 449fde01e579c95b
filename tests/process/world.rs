//! A cluster on a socket, a repository, and the binary.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use kube::{
    Api,
    api::{DynamicObject, Patch, PatchParams},
    core::{ApiResource, GroupVersionKind},
};
use serde_json::{Value, json};
use skiff::{
    api::crd,
    files::RepoPath,
    git::writer::{self, Author, Change},
    object::{GroupKind, yaml},
    sandbox::{Sandbox, ServeOptions, Server},
};
use tokio::time::Instant;

/// How long a test waits for something to come true. Nothing takes this long unless it is broken.
pub const PATIENCE: Duration = Duration::from_secs(40);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// One test's world.
pub struct World {
    pub sandbox: Sandbox,
    folder: tempfile::TempDir,
    server: Server,
}

impl World {
    /// A cluster with Skiff's kinds and the namespaces `argocd` and `shop`.
    pub async fn new() -> Self {
        let world = Self::bare().await;
        for definition in crd::definitions() {
            world.apply(parse(&definition.to_yaml())).await;
        }
        for name in ["argocd", "shop"] {
            world
                .apply(json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } }))
                .await;
        }
        world
    }

    /// A cluster without any of it.
    pub async fn bare() -> Self {
        let sandbox = Sandbox::builder().pod_ready_delay(Duration::from_millis(5)).build();
        let server = sandbox.serve(ServeOptions::default()).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        writer::init(&folder.path().join("repository"), true).unwrap();
        let world = Self { sandbox, folder, server };
        world.write_kubeconfig("kubeconfig", |_| {});
        world
    }

    /// A file of this world.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a kubeconfig that differs from the working one.
    pub fn write_kubeconfig(&self, name: &str, change: impl FnOnce(&mut Value)) -> PathBuf {
        let mut kubeconfig = self.server.kubeconfig();
        change(&mut kubeconfig);
        let path = self.path(name);
        std::fs::write(&path, yaml::to_string(&kubeconfig)).unwrap();
        path
    }

    /// Commits files to `main`.
    pub fn commit(&self, files: &[(&str, &str)]) -> String {
        let write = |(path, text): &(&str, &str)| {
            Change::Write(RepoPath::parse(path).unwrap(), text.as_bytes().to_vec())
        };
        self.change(&files.iter().map(write).collect::<Vec<_>>())
    }

    /// Removes files from `main`.
    pub fn remove(&self, paths: &[&str]) -> String {
        let remove = |path: &&str| Change::Remove(RepoPath::parse(path).unwrap());
        self.change(&paths.iter().map(remove).collect::<Vec<_>>())
    }

    fn change(&self, changes: &[Change]) -> String {
        let author = Author::new("Developer", "developer@example.com");
        writer::commit(&self.path("repository"), "main", changes, "a change", &author).unwrap().to_string()
    }

    /// An Application of this world's repository.
    pub fn application(&self, name: &str, path: &str) -> Value {
        json!({
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "Application",
            "metadata": { "name": name, "namespace": "argocd" },
            "spec": {
                "project": "default",
                "source": {
                    "repoURL": format!("file://{}", self.path("repository").display()),
                    "path": path,
                    "targetRevision": "main",
                },
                "destination": { "server": "https://kubernetes.default.svc", "namespace": "shop" },
            },
        })
    }

    /// Applies an object as a person does.
    pub async fn apply(&self, object: Value) {
        let text = |pointer| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let (group, version) = text("/apiVersion").rsplit_once('/').unwrap_or(("", text("/apiVersion")));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, text("/kind")));
        let client = self.sandbox.client();
        let api: Api<DynamicObject> = match text("/metadata/namespace") {
            "" => Api::all_with(client, &resource),
            namespace => Api::namespaced_with(client, namespace, &resource),
        };
        let parameters = PatchParams::apply("person").force();
        let begun = Instant::now();
        // A kind is served a moment after its definition.
        while let Err(error) = api.patch(text("/metadata/name"), &parameters, &Patch::Apply(&object)).await {
            assert!(begun.elapsed() < PATIENCE, "{error}");
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Reads an Application.
    pub fn read_application(&self, name: &str) -> Option<Value> {
        self.sandbox.store().get(&GroupKind::new("argoproj.io", "Application"), "argocd", name)
    }

    /// Reads a ConfigMap of the namespace `shop`.
    pub fn config_map(&self, name: &str) -> Option<Value> {
        self.sandbox.store().get(&GroupKind::new("", "ConfigMap"), "shop", name)
    }

    /// Waits until an Application is as described.
    pub async fn until_application(&self, name: &str, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        until(&format!("Application {name} {what}"), || async {
            self.read_application(name)
                .filter(|application| is(application))
                .ok_or_else(|| format!("{:#}", self.read_application(name).unwrap_or_default()["status"]))
        })
        .await
    }

    /// Starts `skiff agent` on this cluster.
    pub fn start_agent(&self, identity: &str) -> Process {
        let kubeconfig = self.path("kubeconfig");
        let cache = self.path(&format!("cache-{identity}"));
        let arguments = [
            "agent",
            "--kubeconfig",
            kubeconfig.to_str().unwrap(),
            "--cache",
            cache.to_str().unwrap(),
            "--metrics-address",
            "127.0.0.1:0",
            "--poll-interval",
            "0.05",
            "--log-format",
            "json",
            "--identity",
            identity,
        ];
        Process::start(skiff(&arguments))
    }

    /// Runs the binary to its end, with this world's kubeconfig.
    pub async fn skiff(&self, arguments: &[&str]) -> Said {
        let mut command = skiff(arguments);
        command.env("KUBECONFIG", self.path("kubeconfig"));
        run(command).await
    }
}

/// A command of the binary, with nothing of the tests' environment that would change it.
pub fn skiff(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_skiff"));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    for variable in ["KUBECONFIG", "KUBERNETES_SERVICE_HOST", "ARGOCD_NAMESPACE", "NO_COLOR"] {
        command.env_remove(variable);
    }
    command
}

/// What a command said and its exit code.
pub struct Said {
    pub exit_code: i32,
    pub out: String,
    pub err: String,
}

impl Said {
    /// Fails unless the exit code is this one and all the texts are there.
    #[track_caller]
    pub fn expect(self, exit_code: i32, needles: &[&str]) -> Self {
        let text = format!("exit code {}\n{}\n{}", self.exit_code, self.out, self.err);
        assert_eq!(self.exit_code, exit_code, "{text}");
        for needle in needles {
            assert!(text.contains(needle), "'{needle}' is missing in\n{text}");
        }
        assert!(!text.contains("panicked"), "{text}");
        self
    }
}

/// Runs a command to its end. The test's own tasks go on meanwhile, since the sandbox is one of them.
pub async fn run(command: Command) -> Said {
    let shown = format!("{command:?}");
    let mut process = Process::start(command);
    let exit_code = process.end(PATIENCE).await.unwrap_or_else(|| panic!("{shown} does not end")).code();
    Said { exit_code: exit_code.unwrap_or(-1), out: process.out.text(), err: process.err.text() }
}

/// What a process has written to a stream so far.
#[derive(Clone, Default)]
pub struct Lines {
    lines: Arc<Mutex<Vec<String>>>,
    reader: Arc<Mutex<Option<std::thread::JoinHandle<()>>>>,
}

impl Lines {
    fn of(stream: impl Read + Send + 'static) -> Self {
        let lines = Self::default();
        let kept = Arc::clone(&lines.lines);
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                kept.lock().unwrap().push(line);
            }
        });
        *lines.reader.lock().unwrap() = Some(reader);
        lines
    }

    /// The lines up to now.
    pub fn all(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    fn text(&self) -> String {
        if let Some(reader) = self.reader.lock().unwrap().take() {
            reader.join().unwrap();
        }
        self.all().iter().map(|line| format!("{line}\n")).collect()
    }
}

/// A running process. It is killed at the end of its test.
pub struct Process {
    child: Child,
    pub out: Lines,
    pub err: Lines,
}

impl Process {
    /// Starts a command whose output is piped.
    pub fn start(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let out = Lines::of(child.stdout.take().unwrap());
        let err = Lines::of(child.stderr.take().unwrap());
        Self { child, out, err }
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        self.signal("TERM");
    }

    /// Sends the signal of this name.
    pub fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    /// How it ended, or nothing if it does not within the time.
    pub async fn end(&mut self, limit: Duration) -> Option<ExitStatus> {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return Some(status);
            }
            if begun.elapsed() > limit {
                return None;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// The agent's log, each line read as JSON.
    pub fn log(&self) -> Vec<Value> {
        let read =
            |line: &String| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        self.err.all().iter().map(read).collect()
    }

    /// Where the agent serves metrics and probes, once it says so.
    pub async fn address(&self) -> SocketAddr {
        until("the agent says where it serves", || async {
            let log = self.log();
            let begins = log.iter().find(|line| line["message"] == "skiff agent begins");
            begins.and_then(|line| line["address"].as_str()?.parse().ok()).ok_or_else(|| format!("{log:#?}"))
        })
        .await
    }

    /// The status and body of a page of the agent.
    pub async fn page(&self, path: &'static str) -> (u16, String) {
        get(self.address().await, path).await.unwrap()
    }

    /// Waits until a page of the agent holds all of these.
    pub async fn until_page(&self, path: &'static str, needles: &[&str]) {
        until(&format!("{path} holds {needles:?}"), || async {
            let (status, text) = self.page(path).await;
            match needles.iter().find(|needle| !text.contains(**needle)) {
                None if status == 200 => Ok(()),
                missing => Err(format!("{status}: {missing:?} is missing in\n{text}")),
            }
        })
        .await;
    }

    /// Waits until the agent says that it is ready.
    pub async fn until_ready(&self) {
        until("the agent is ready", || async {
            let (status, text) = self.page("/readyz").await;
            if status == 200 { Ok(()) } else { Err(text) }
        })
        .await;
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until `look` finds something; its error says how things are instead.
pub async fn until<T, F: Future<Output = Result<T, String>>>(what: &str, look: impl Fn() -> F) -> T {
    let begun = Instant::now();
    loop {
        match look().await {
            Ok(found) => return found,
            Err(instead) => assert!(begun.elapsed() < PATIENCE, "waited in vain until {what}:\n{instead}"),
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Reads one YAML document.
pub fn parse(text: &str) -> Value {
    yaml::parse(text.as_bytes(), &yaml::Options::default()).unwrap().remove(0).value
}

/// A ConfigMap manifest.
pub fn config_map(name: &str, value: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\ndata:\n  key: \"{value}\"\n")
}

/// Whether kubectl is there; where CI runs it must be.
pub fn has_kubectl() -> bool {
    has_program("kubectl", &["version", "--client"])
}

/// Whether a program is there; where CI runs it must be.
pub fn has_program(name: &str, arguments: &[&str]) -> bool {
    let found = Command::new(name).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
    let is_there = found.is_ok_and(|status| status.success());
    if !is_there {
        assert!(std::env::var_os("CI").is_none(), "{name} is missing: in CI its tests must run");
        eprintln!("SKIPPED: {name} is not installed");
    }
    is_there
}

/// The status and body of a page.
pub async fn get(address: SocketAddr, path: &str) -> std::io::Result<(u16, String)> {
    let path = path.to_owned();
    let asked = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        std::io::Result::Ok(text)
    });
    let text = asked.await.unwrap()?;
    let status = text.split_whitespace().nth(1).and_then(|status| status.parse().ok());
    Ok((status.ok_or(std::io::ErrorKind::UnexpectedEof)?, text))
}

/// The root of the project.
pub fn manifest_directory() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
