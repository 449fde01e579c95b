//! A test's part of a real cluster: namespaces, a repository, and the agent as a process.

use std::{path::PathBuf, time::Duration};

use kube::{
    Api, Client,
    api::{DeleteParams, DynamicObject, Patch, PatchParams},
    core::{ApiResource, GroupVersionKind},
};
use serde_json::{Value, json};
use skiff::{
    files::RepoPath,
    git::writer::{self, Author, Change},
    object::yaml,
};
use tokio::time::Instant;

use crate::{
    control_plane::{self, ControlPlane},
    process::{self, Process, Said},
    worlds::Place,
};

/// How long a test waits for something to come true. Nothing takes this long unless it is broken.
pub const PATIENCE: Duration = Duration::from_secs(150);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// One test's world.
pub struct World {
    /// The administrator's client.
    pub client: Client,
    /// The administrator's kubeconfig.
    pub kubeconfig: PathBuf,
    /// The agent's namespace.
    pub argocd: String,
    /// The namespace of workloads.
    pub shop: String,
    /// Namespaces and custom kinds that exist because of this world.
    id: String,
    folder: tempfile::TempDir,
    is_removed: bool,
    _place: Option<Place>,
}

impl World {
    /// A place among others on the control plane that all share.
    pub async fn new() -> Self {
        let control_plane = control_plane::shared_async().await;
        let place = Place::take(false).await;
        let mut world = Self::on(control_plane).await;
        world._place = Some(place);
        world
    }

    /// Two namespaces, an empty repository, and Skiff's kinds.
    pub async fn on(control_plane: &ControlPlane) -> Self {
        control_plane.install_crds().await;
        let id = format!("r{:06x}", fastrand::u32(..1 << 24));
        let world = Self {
            client: control_plane.client().await,
            kubeconfig: control_plane.kubeconfig().to_owned(),
            argocd: format!("argocd-{id}"),
            shop: format!("shop-{id}"),
            id,
            folder: tempfile::tempdir().unwrap(),
            is_removed: !control_plane.is_own(),
            _place: None,
        };
        writer::init(&world.path("repository"), true).unwrap();
        for name in [&world.argocd, &world.shop] {
            world
                .apply(json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } }))
                .await;
        }
        world
    }

    /// A name that no other test has.
    pub fn unique(&self, name: &str) -> String {
        format!("{name}-{}", self.id)
    }

    /// A file of this world.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Commits files to `main`; no text means that the file is removed.
    pub fn commit(&self, files: &[(&str, Option<&str>)]) -> String {
        let changes: Vec<Change> = files
            .iter()
            .map(|(path, text)| {
                let path = RepoPath::parse(path).unwrap();
                match text {
                    Some(text) => Change::Write(path, text.as_bytes().to_vec()),
                    None => Change::Remove(path),
                }
            })
            .collect();
        let author = Author::new("Developer", "developer@example.com");
        writer::commit(&self.path("repository"), "main", &changes, "a change", &author).unwrap().to_string()
    }

    /// An Application of this world's repository. Its real name is [unique](Self::unique), since it is the mark of its
    /// objects in the whole cluster.
    pub fn application(&self, name: &str, path: &str) -> Value {
        json!({
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "Application",
            "metadata": { "name": self.unique(name), "namespace": self.argocd },
            "spec": {
                "project": "default",
                "source": {
                    "repoURL": format!("file://{}", self.path("repository").display()),
                    "path": path,
                    "targetRevision": "main",
                },
                "destination": { "server": "https://kubernetes.default.svc", "namespace": self.shop },
            },
        })
    }

    /// The same, synced by itself, with everything on.
    pub fn automated(&self, name: &str, path: &str) -> Value {
        let mut application = self.application(name, path);
        application["spec"]["syncPolicy"] = json!({ "automated": { "prune": true, "selfHeal": true } });
        application
    }

    fn api(&self, api_version: &str, kind: &str, namespace: &str) -> Api<DynamicObject> {
        let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        match namespace {
            "" => Api::all_with(self.client.clone(), &resource),
            namespace => Api::namespaced_with(self.client.clone(), namespace, &resource),
        }
    }

    /// Applies an object as a person does, taking over what is there.
    pub async fn apply(&self, object: Value) -> Value {
        let text = |pointer| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let api = self.api(text("/apiVersion"), text("/kind"), text("/metadata/namespace"));
        let parameters = PatchParams::apply("person").force();
        let applied = api.patch(text("/metadata/name"), &parameters, &Patch::Apply(&object)).await;
        serde_json::to_value(applied.unwrap_or_else(|error| panic!("{error}: {object}"))).unwrap()
    }

    /// Changes an object by a merge patch, as a person does.
    pub async fn patch(&self, api_version: &str, kind: &str, namespace: &str, name: &str, patch: Value) {
        let parameters = PatchParams { field_manager: Some("person".to_owned()), ..PatchParams::default() };
        let api = self.api(api_version, kind, namespace);
        api.patch(name, &parameters, &Patch::Merge(&patch)).await.unwrap();
    }

    /// Reads an object.
    pub async fn get(&self, api_version: &str, kind: &str, namespace: &str, name: &str) -> Option<Value> {
        let found = self.api(api_version, kind, namespace).get_opt(name).await.unwrap()?;
        Some(serde_json::to_value(found).unwrap())
    }

    /// Reads all objects of a kind in a namespace.
    pub async fn list(&self, api_version: &str, kind: &str, namespace: &str) -> Vec<Value> {
        let found = self.api(api_version, kind, namespace).list(&Default::default()).await.unwrap();
        found.items.into_iter().map(|object| serde_json::to_value(object).unwrap()).collect()
    }

    /// Deletes an object.
    pub async fn delete(&self, api_version: &str, kind: &str, namespace: &str, name: &str) {
        self.api(api_version, kind, namespace).delete(name, &DeleteParams::default()).await.unwrap();
    }

    /// The value of `key` in a ConfigMap of the workloads' namespace.
    pub async fn value(&self, name: &str) -> Option<String> {
        let found = self.get("v1", "ConfigMap", &self.shop, name).await?;
        found["data"]["key"].as_str().map(str::to_owned)
    }

    /// Reads an Application.
    pub async fn read_application(&self, name: &str) -> Option<Value> {
        self.get("argoproj.io/v1alpha1", "Application", &self.argocd, &self.unique(name)).await
    }

    /// Changes an Application by a merge patch, as a person does.
    pub async fn patch_application(&self, name: &str, patch: Value) {
        self.patch("argoproj.io/v1alpha1", "Application", &self.argocd, &self.unique(name), patch).await;
    }

    /// Waits until an Application is as described.
    pub async fn until_application(&self, name: &str, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        until(&format!("Application {name} {what}"), || async {
            let application = self.read_application(name).await.ok_or("there is none")?;
            if is(&application) { Ok(application) } else { Err(format!("{:#}", application["status"])) }
        })
        .await
    }

    /// Waits until an Application is synced to a commit, healthy, and its operation has ended.
    pub async fn until_synced(&self, name: &str, revision: &str) -> Value {
        self.until_application(name, "is synced and healthy", |application| {
            let status = &application["status"];
            status["sync"]["status"] == "Synced"
                && status["sync"]["revision"] == revision
                && status["health"]["status"] == "Healthy"
                && status["operationState"]["phase"] != "Running"
        })
        .await
    }

    /// Starts the agent with the administrator's permissions.
    pub fn start_agent(&self, identity: &str) -> Process {
        self.start_agent_as(identity, &self.kubeconfig)
    }

    /// Starts the agent with a kubeconfig of its own.
    pub fn start_agent_as(&self, identity: &str, kubeconfig: &std::path::Path) -> Process {
        self.start_agent_with(identity, kubeconfig, &[])
    }

    /// The same with further arguments.
    pub fn start_agent_with(
        &self,
        identity: &str,
        kubeconfig: &std::path::Path,
        further: &[&str],
    ) -> Process {
        let cache = self.path("cache");
        let mut arguments = vec![
            "agent",
            "--kubeconfig",
            kubeconfig.to_str().unwrap(),
            "--namespace",
            &self.argocd,
            "--cache",
            cache.to_str().unwrap(),
            "--metrics-address",
            "127.0.0.1:0",
            "--poll-interval",
            "0.2",
            "--log-format",
            "json",
            "--identity",
            identity,
        ];
        arguments.extend(further);
        Process::start(process::skiff(&arguments))
    }

    /// Runs kubectl to its end, as the administrator.
    pub async fn kubectl(&self, arguments: &[&str]) -> Said {
        self.kubectl_with(arguments, &[]).await
    }

    /// The same with variables of the environment.
    pub async fn kubectl_with(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Said {
        let mut command = std::process::Command::new("kubectl");
        command.arg("--kubeconfig").arg(&self.kubeconfig).args(arguments);
        command.envs(environment.iter().copied());
        command.stdin(std::process::Stdio::null());
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        process::run(command).await
    }

    /// A kubeconfig for a user of the same cluster.
    pub fn write_kubeconfig(&self, name: &str, user: Value) -> PathBuf {
        let text = std::fs::read(&self.kubeconfig).unwrap();
        let mut kubeconfig = yaml::parse(&text, &yaml::Options::default()).unwrap().remove(0).value;
        kubeconfig["users"][0]["user"] = user;
        let path = self.path(name);
        std::fs::write(&path, yaml::to_string(&kubeconfig)).unwrap();
        path
    }

    /// A token of a ServiceAccount.
    pub async fn token(&self, namespace: &str, name: &str) -> String {
        let said = self.kubectl(&["create", "token", name, "--namespace", namespace]).await.expect(0, &[]);
        said.out.trim().to_owned()
    }
}

impl Drop for World {
    /// Somebody's own cluster gets rid of the namespaces. One that was started for the tests goes away as a whole.
    fn drop(&mut self) {
        if self.is_removed {
            let _ = std::process::Command::new("kubectl")
                .arg("--kubeconfig")
                .arg(&self.kubeconfig)
                .args(["delete", "namespace", "--wait=false", "--ignore-not-found", &self.argocd, &self.shop])
                .output();
        }
    }
}

/// What an agent's log says of refused requests. The status code is not looked for: revisions and times have any digits.
pub fn refusals(agent: &Process) -> Vec<String> {
    agent.err.all().into_iter().filter(|line| line.contains("orbidden")).collect()
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
