//! A real Kubernetes control plane for the tests of this process.
//!
//! ```text
//! SKIFF_TEST_KUBECONFIG is set ─▶ that cluster; it must be disposable
//! Go is there ─▶ tests/control-plane is built once into target/ and started once ─▶ etcd, API server, controllers
//! neither ─▶ every test of the process is named as skipped, and the process ends
//! ```
//!
//! The first test that asks starts it and the others wait. It listens to a pipe that this process holds, so that it
//! ends with the process however that comes about, and removes its files.

#![allow(dead_code, reason = "each test crate that mounts this uses a part of it")]

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Mutex, OnceLock, mpsc},
    time::{Duration, Instant},
};

use kube::{
    Client, Config,
    api::{Api, DynamicObject, Patch, PatchParams},
    config::{KubeConfigOptions, Kubeconfig},
    core::{ApiResource, GroupVersionKind},
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use skiff::{api::crd, object::yaml};

/// How long a build may take. On two busy cores the first one has taken a quarter of an hour.
const BUILD_LIMIT: Duration = Duration::from_secs(60 * 60);
/// How long a start may take; the program itself gives up earlier.
const START_LIMIT: Duration = Duration::from_secs(5 * 60);
/// How long a command may take, such as a restart of the API server.
const COMMAND_LIMIT: Duration = Duration::from_secs(3 * 60);
/// How long a kind may take to be served.
const ESTABLISHED_LIMIT: Duration = Duration::from_secs(60);

const REPLACEMENT: &str = "SKIFF_TEST_KUBECONFIG";

/// A cluster that was started, or that somebody has named.
#[derive(Debug)]
pub struct ControlPlane {
    kubeconfig: PathBuf,
    controls: Option<Mutex<Controls>>,
}

#[derive(Debug)]
struct Controls {
    /// The control plane ends when this is closed, which the end of the process does.
    commands: ChildStdin,
    answers: mpsc::Receiver<String>,
    _child: Child,
}

/// The control plane that all tests of this process share. Blocks while it is built and started.
///
/// Without one, the tests of this process are reported as skipped and the process ends.
pub fn shared() -> &'static ControlPlane {
    static SHARED: OnceLock<ControlPlane> = OnceLock::new();
    SHARED.get_or_init(|| match std::env::var_os(REPLACEMENT) {
        Some(kubeconfig) => ControlPlane { kubeconfig: PathBuf::from(kubeconfig), controls: None },
        None => start(&[]),
    })
}

/// The same, for a test inside a runtime.
pub async fn shared_async() -> &'static ControlPlane {
    tokio::task::spawn_blocking(shared).await.unwrap()
}

/// A control plane for tests that stop and restart parts of it; one test at a time has it.
///
/// There is none, and the test is reported as skipped, where somebody's own cluster is all there is.
pub async fn disrupted() -> Option<Disrupted> {
    if std::env::var_os(REPLACEMENT).is_some() && find_go().is_none() {
        let test = std::thread::current().name().unwrap_or_default().to_owned();
        let reason = "it disrupts a control plane, and there is no Go to build one (https://go.dev/dl)";
        assert!(std::env::var_os("CI").is_none(), "{reason}");
        say(&format!("SKIPPED: {test}: {reason}"));
        return None;
    }

    static DISRUPTED: OnceLock<ControlPlane> = OnceLock::new();
    static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    let turn = TURN.lock().await;
    let start = || DISRUPTED.get_or_init(|| start(&[]));
    let control_plane = tokio::task::spawn_blocking(start).await.unwrap();
    Some(Disrupted { control_plane, _turn: turn })
}

/// A control plane of which nobody else expects anything meanwhile.
pub struct Disrupted {
    control_plane: &'static ControlPlane,
    _turn: tokio::sync::MutexGuard<'static, ()>,
}

impl std::ops::Deref for Disrupted {
    type Target = ControlPlane;

    fn deref(&self) -> &ControlPlane {
        self.control_plane
    }
}

impl Disrupted {
    /// Kills the API server.
    pub async fn stop_api_server(&self) {
        self.command("stop-apiserver").await;
    }

    /// Starts the API server and waits until it is ready.
    pub async fn start_api_server(&self) {
        self.command("start-apiserver").await;
    }

    /// Kills the API server, starts it again and waits until it is ready.
    pub async fn restart_api_server(&self) {
        self.command("restart-apiserver").await;
    }

    /// Makes etcd forget all revisions but the newest.
    pub async fn compact(&self) {
        self.command("compact").await;
    }

    async fn command(&self, command: &'static str) {
        let control_plane = self.control_plane;
        tokio::task::spawn_blocking(move || {
            let mut controls = control_plane.controls.as_ref().unwrap().lock().unwrap();
            writeln!(controls.commands, "{command}").unwrap();
            let answer = controls.answers.recv_timeout(COMMAND_LIMIT).unwrap();
            assert!(answer.contains("\"done\""), "the control plane answers '{command}' by {answer}");
        })
        .await
        .unwrap();
    }
}

impl ControlPlane {
    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Whether it was started for these tests alone.
    pub fn is_own(&self) -> bool {
        self.controls.is_some()
    }

    /// The administrator's configuration.
    pub async fn config(&self) -> Config {
        let kubeconfig = Kubeconfig::read_from(&self.kubeconfig).unwrap();
        Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap()
    }

    /// An administrator's client. It belongs to the runtime of its test.
    pub async fn client(&self) -> Client {
        Client::try_from(self.config().await).unwrap()
    }

    /// Installs Skiff's own kinds and waits until they are served.
    pub async fn install_crds(&self) {
        for definition in crd::definitions() {
            let parsed = yaml::parse(definition.to_yaml().as_bytes(), &yaml::Options::default());
            self.install_crd(parsed.unwrap().remove(0).value).await;
        }
    }

    /// Applies a definition and waits until its kind is served.
    pub async fn install_crd(&self, definition: Value) {
        let gvk = GroupVersionKind::gvk("apiextensions.k8s.io", "v1", "CustomResourceDefinition");
        let client = self.client().await;
        let api: Api<DynamicObject> = Api::all_with(client.clone(), &ApiResource::from_gvk(&gvk));
        let name = definition["metadata"]["name"].as_str().unwrap().to_owned();
        api.patch(&name, &PatchParams::apply("tests").force(), &Patch::Apply(&definition)).await.unwrap();
        let spec = &definition["spec"];
        let served = format!(
            "/apis/{}/{}/{}?limit=1",
            spec["group"].as_str().unwrap(),
            spec["versions"][0]["name"].as_str().unwrap(),
            spec["names"]["plural"].as_str().unwrap()
        );
        let begun = Instant::now();
        loop {
            let established = api.get(&name).await.unwrap().data["status"]["conditions"]
                .as_array()
                .into_iter()
                .flatten()
                .any(|it| it["type"] == "Established" && it["status"] == "True");
            let list = http::Request::get(&served).body(Vec::new()).unwrap();
            if established && client.request_text(list).await.is_ok() {
                return;
            }
            assert!(begun.elapsed() < ESTABLISHED_LIMIT, "{name} is not served");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Builds and starts a control plane.
fn start(arguments: &[&str]) -> ControlPlane {
    static STARTS: Mutex<u32> = Mutex::new(0);
    let mut starts = STARTS.lock().unwrap();
    let Some(go) = find_go() else {
        skip_all(&format!(
            "a real control plane is needed, and there is neither Go to build one (https://go.dev/dl) nor \
             {REPLACEMENT}=FILE that names a disposable cluster"
        ))
    };
    let program = build(&go);
    let directory = target().join(format!("run-{}-{}", std::process::id(), *starts));
    *starts += 1;
    let mut child = Command::new(program)
        .arg("--directory")
        .arg(&directory)
        .args(["--remove-directory", "--pod-ready-delay", "5ms"])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let commands = child.stdin.take().unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    let (sender, answers) = mpsc::channel();
    std::thread::spawn(move || {
        for line in out.lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    let line = answers.recv_timeout(START_LIMIT).unwrap_or_else(|error| {
        panic!("the control plane in {} has not started: {error}", directory.display())
    });
    let ready: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(ready["ready"], json!(true), "{line}");
    ControlPlane {
        kubeconfig: PathBuf::from(ready["kubeconfig"].as_str().unwrap()),
        controls: Some(Mutex::new(Controls { commands, answers, _child: child })),
    }
}

/// Where programs and running instances are kept.
fn target() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("control-plane")
}

/// The program, built from its sources as they are unless that was done before.
fn build(go: &Path) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/control-plane");
    let directory = target().join(fingerprint(&source));
    let program = directory.join("control-plane");
    fs::create_dir_all(&directory).unwrap();
    // Test binaries may run at once.
    let lock = File::create(directory.join("lock")).unwrap();
    lock.lock().unwrap();
    if program.is_file() {
        return program;
    }
    say(&format!(
        "building the control plane of the tests with {}: the first time Kubernetes is fetched and compiled, which \
         takes 5 to 20 minutes on two cores and 3 GB of Go's caches; a build is kept in {}",
        go.display(),
        directory.display()
    ));
    let begun = Instant::now();
    let unfinished = directory.join("control-plane.unfinished");
    let mut build = Command::new(go)
        .args(["build", "-trimpath", "-ldflags", &linker_flags(&source), "-o"])
        .arg(&unfinished)
        .arg(".")
        .current_dir(&source)
        .env("CGO_ENABLED", "0")
        .env("GOWORK", "off")
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let status = loop {
        if let Some(status) = build.try_wait().unwrap() {
            break status;
        }
        if begun.elapsed() > BUILD_LIMIT {
            build.kill().unwrap();
        }
        std::thread::sleep(Duration::from_millis(100));
    };
    assert!(
        status.success(),
        "{} cannot build tests/control-plane ({status}): its messages are above; {REPLACEMENT}=FILE names another \
         disposable cluster",
        go.display()
    );
    fs::rename(unfinished, &program).unwrap();
    say(&format!("the control plane is built after {} s", begun.elapsed().as_secs()));
    program
}

/// Makes the components say the version that they are of, as a release's build does.
fn linker_flags(source: &Path) -> String {
    let module = fs::read_to_string(source.join("go.mod")).unwrap();
    let version = module.lines().find_map(|line| line.trim().strip_prefix("k8s.io/kubernetes v")).unwrap();
    let mut parts = version.split('.');
    let (major, minor) = (parts.next().unwrap(), parts.next().unwrap());
    let package = "k8s.io/component-base/version";
    format!(
        "-s -w -X {package}.gitVersion=v{version} -X {package}.gitMajor={major} -X {package}.gitMinor={minor}"
    )
}

/// A name for the program's sources.
fn fingerprint(source: &Path) -> String {
    let mut files: Vec<PathBuf> = fs::read_dir(source).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut hash = Sha256::new();
    for file in files.iter().filter(|file| file.is_file()) {
        hash.update(file.file_name().unwrap().as_encoded_bytes());
        hash.update(fs::read(file).unwrap());
    }
    hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

fn find_go() -> Option<PathBuf> {
    let works = |go: &PathBuf| {
        let asked = Command::new(go).arg("version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        asked.is_ok_and(|status| status.success())
    };
    ["go", "/usr/local/go/bin/go"].map(PathBuf::from).into_iter().find(works)
}

/// Names every test that this process was asked to run as skipped, and ends it.
#[allow(clippy::exit, reason = "a test cannot skip the others in another way")]
fn skip_all(reason: &str) -> ! {
    let filters = std::env::args().skip(1);
    let listed = Command::new(std::env::current_exe().unwrap())
        .args(filters)
        .args(["--list", "--format=terse"])
        .output();
    let listed = String::from_utf8_lossy(&listed.unwrap().stdout).into_owned();
    let names: Vec<&str> = listed.lines().filter_map(|line| line.strip_suffix(": test")).collect();
    for name in &names {
        say(&format!("SKIPPED: {name}"));
    }
    say(&format!("SKIPPED {} tests: {reason}", names.len()));
    let in_ci = std::env::var_os("CI").is_some();
    if in_ci {
        say("with CI=true that is a failure");
    }
    std::process::exit(if in_ci { 1 } else { 0 })
}

/// Writes to standard error, past the capture of a test's output.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}
