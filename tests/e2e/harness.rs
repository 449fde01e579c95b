//! A cluster, a Git repository and an agent for one test.

use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams},
    core::{ApiResource, DynamicObject, GroupVersionKind},
    discovery::{Discovery, Scope},
};
use serde_json::{Value, json};
use skiff::{
    api::{Application, ApplicationCondition, HealthStatusCode, OperationPhase, SyncStatusCode},
    controller::{Agent, AgentOptions},
    files::RepoPath,
    git::{
        CommitId,
        writer::{self, Author, Change},
    },
    metrics::{Metrics, MetricsOptions},
    sandbox::fault::Faults,
};
use tokio::{task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    cluster::{Cluster, Wishes},
    recorder::{Recorder, Sent},
};

/// How often it looks.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// How often the agent looks at repositories.
const POLL_EVERY: Duration = Duration::from_millis(50);

/// One test's world.
pub struct World {
    /// An administrator's client.
    pub client: Client,
    /// What goes wrong with the agents' requests.
    pub faults: Faults,
    /// The agent's namespace.
    pub argocd: String,
    /// A namespace for workloads; it does not exist yet.
    pub namespace: String,
    /// The repository that Applications of this world read.
    pub repository: Repository,
    /// The agent's metrics.
    pub metrics: Arc<Metrics>,
    /// What the agent has sent to the cluster.
    pub requests: Recorder,
    /// The kinds that this test has asked for.
    kinds: Mutex<HashMap<GroupVersionKind, (ApiResource, Scope)>>,
    /// Part of every name that must be this world's alone.
    id: String,
    directory: tempfile::TempDir,
    agent: Option<RunningAgent>,
    cluster: Cluster,
}

struct RunningAgent {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// How a world is made.
pub struct Setup {
    definitions: Option<Vec<Value>>,
    agent: bool,
    alone: bool,
}

impl Setup {
    /// Skiff's own definitions, an agent.
    pub fn new() -> Self {
        Self { definitions: None, agent: true, alone: false }
    }

    /// Other definitions of Skiff's kinds.
    pub fn definitions(mut self, definitions: Vec<Value>) -> Self {
        self.definitions = Some(definitions);
        self
    }

    /// No agent yet: the test starts it.
    pub fn without_agent(mut self) -> Self {
        self.agent = false;
        self
    }

    /// Nobody else may change the cluster meanwhile.
    pub fn alone(mut self) -> Self {
        self.alone = true;
        self
    }

    /// Makes the world.
    pub async fn build(self) -> World {
        let id = format!("t{:06x}", fastrand::u32(..1 << 24));
        let alone = self.alone || self.definitions.is_some();
        let cluster = crate::cluster(Wishes { id: id.clone(), definitions: self.definitions, alone }).await;
        let directory = tempfile::tempdir().unwrap();
        let repository = Repository::new(directory.path().join("repository").as_path());
        let faults = Faults::default();
        let mut world = World {
            client: cluster.client.clone(),
            argocd: format!("argocd-{id}"),
            namespace: format!("shop-{id}"),
            repository,
            metrics: Arc::new(Metrics::new(&MetricsOptions::default()).unwrap()),
            requests: Recorder::new(&faults),
            faults,
            kinds: Mutex::default(),
            id,
            directory,
            agent: None,
            cluster,
        };
        world.create_namespace(&world.argocd).await;
        // Several installations are on one cluster: what another one tracks is none of ours.
        let metadata = world.settings_metadata("argocd-cm");
        let data = json!({ "installationID": world.id });
        let settings = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data });
        world.apply_as("harness", settings).await;
        if self.agent {
            world.start_agent().await;
        }
        world
    }
}

impl World {
    /// A world with everything as usual.
    pub async fn new() -> Self {
        Setup::new().build().await
    }

    /// A world in which the namespace of the workloads exists and the Application `orders` was compared with these
    /// manifests and waits to be synced by hand.
    pub async fn manual(manifests: &[(&str, Option<&str>)]) -> Self {
        let world = Self::new().await;
        world.repository.commit(manifests);
        world.create_namespace(&world.namespace).await;
        world.apply(world.application("orders", "app")).await;
        let is_compared = |it: &Application| it.status.sync_code() != SyncStatusCode::Unknown;
        world.until_application("orders", "was compared", is_compared).await;
        world
    }

    /// A name that is this world's alone, for what has no namespace.
    pub fn unique(&self, name: &str) -> String {
        format!("{name}-{}", self.id)
    }

    /// What tells this world's installation from others.
    pub fn installation(&self) -> &str {
        &self.id
    }

    /// An API group that is this world's alone.
    pub fn unique_group(&self) -> String {
        format!("{}.example.com", self.id)
    }

    /// How long this world's cluster may take for anything.
    pub fn patience(&self) -> Duration {
        self.cluster.patience
    }

    /// The usual options of an agent in this world.
    pub fn agent_options(&self, identity: &str) -> AgentOptions {
        let cache = self.directory.path().join("cache").join(identity);
        let mut options = AgentOptions::new(&self.argocd, identity.to_owned(), cache);
        options.poll_interval = Some(POLL_EVERY);
        options
    }

    /// Starts the agent and waits until it leads.
    pub async fn start_agent(&mut self) {
        self.start_agent_with(self.agent_options("agent-0")).await;
    }

    /// Starts the agent with other options and waits until it leads.
    pub async fn start_agent_with(&mut self, options: AgentOptions) {
        let client = self.requests.client(self.client.clone());
        let agent = Agent::new(client, options, Arc::clone(&self.metrics));
        let ready = agent.readiness();
        let leadership = agent.leadership();
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let task = tokio::spawn(async move { agent.run(stopped).await.unwrap() });
        self.agent = Some(RunningAgent { stop, task });
        self.until("the agent leads and is ready", async |_: &World| {
            (leadership.is_leading() && ready()).then_some(())
        })
        .await;
    }

    /// Stops the agent as SIGTERM does and waits for its end.
    pub async fn stop_agent(&mut self) {
        if let Some(agent) = self.agent.take() {
            agent.stop.cancel();
            agent.task.await.unwrap();
        }
    }

    /// Ends the agent as SIGKILL does: nothing is given up or recorded.
    pub async fn kill_agent(&mut self) {
        if let Some(agent) = self.agent.take() {
            agent.task.abort();
            let _ = agent.task.await;
        }
    }

    /// Waits until `look` finds something.
    pub async fn until<T>(&self, what: &str, look: impl AsyncFn(&World) -> Option<T>) -> T {
        let begun = Instant::now();
        loop {
            if let Some(found) = look(self).await {
                return found;
            }
            assert!(
                begun.elapsed() < self.patience(),
                "waited in vain until {what}\n{}",
                self.describe().await
            );
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// The Applications' statuses, for messages of failures.
    async fn describe(&self) -> String {
        let resource = resource("argoproj.io/v1alpha1", "Application");
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), &self.argocd, &resource);
        let mut text = String::new();
        for application in api.list(&Default::default()).await.map(|list| list.items).unwrap_or_default() {
            let name = application.metadata.name.clone().unwrap_or_default();
            text.push_str(&format!(
                "{name}: {}\n",
                serde_json::to_string_pretty(&application.data["status"]).unwrap()
            ));
        }
        text
    }

    async fn api(&self, api_version: &str, kind: &str, namespace: &str) -> Api<DynamicObject> {
        let gvk = GroupVersionKind::try_from(kube::core::TypeMeta {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
        })
        .unwrap();
        let known = self.kinds.lock().unwrap().get(&gvk).cloned();
        let (resource, scope) = match known {
            Some(known) => known,
            None => {
                let found = self.until_served(&gvk).await;
                self.kinds.lock().unwrap().insert(gvk, found.clone());
                found
            }
        };
        match scope {
            Scope::Cluster => Api::all_with(self.client.clone(), &resource),
            Scope::Namespaced => Api::namespaced_with(self.client.clone(), namespace, &resource),
        }
    }

    /// Waits until the cluster tells that it has a kind, which may be a moment after its definition is there.
    async fn until_served(&self, gvk: &GroupVersionKind) -> (ApiResource, Scope) {
        let begun = Instant::now();
        loop {
            let discovery = Discovery::new(self.client.clone()).run_aggregated().await.unwrap();
            if let Some((resource, capabilities)) = discovery.resolve_gvk(gvk) {
                return (resource, capabilities.scope);
            }
            assert!(begun.elapsed() < self.patience(), "the cluster has no {gvk:?}");
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Reads an object.
    pub async fn get(&self, api_version: &str, kind: &str, namespace: &str, name: &str) -> Option<Value> {
        let found = self.api(api_version, kind, namespace).await.get_opt(name).await.unwrap()?;
        Some(serde_json::to_value(found).unwrap())
    }

    /// Applies an object as a person does, taking over what is there.
    pub async fn apply(&self, object: Value) -> Value {
        self.apply_as("person", object).await
    }

    async fn apply_as(&self, manager: &str, object: Value) -> Value {
        let text = |pointer| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let api = self.api(text("/apiVersion"), text("/kind"), text("/metadata/namespace")).await;
        let params = PatchParams::apply(manager).force();
        let applied = api.patch(text("/metadata/name"), &params, &Patch::Apply(&object)).await.unwrap();
        serde_json::to_value(applied).unwrap()
    }

    /// Changes an object by a merge patch, as a person does.
    pub async fn patch(
        &self,
        api_version: &str,
        kind: &str,
        namespace: &str,
        name: &str,
        patch: Value,
    ) -> Value {
        let api = self.api(api_version, kind, namespace).await;
        let params = PatchParams { field_manager: Some("person".to_owned()), ..PatchParams::default() };
        serde_json::to_value(api.patch(name, &params, &Patch::Merge(&patch)).await.unwrap()).unwrap()
    }

    /// Changes an object by a JSON patch.
    pub async fn patch_json(
        &self,
        api_version: &str,
        kind: &str,
        namespace: &str,
        name: &str,
        patch: Value,
    ) -> Value {
        let api = self.api(api_version, kind, namespace).await;
        let patch = Patch::Json::<()>(serde_json::from_value(patch).unwrap());
        serde_json::to_value(api.patch(name, &PatchParams::default(), &patch).await.unwrap()).unwrap()
    }

    /// Creates a namespace.
    pub async fn create_namespace(&self, name: &str) {
        self.apply(json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } })).await;
    }

    fn settings_metadata(&self, name: &str) -> Value {
        let labels = json!({ "app.kubernetes.io/part-of": "argocd" });
        json!({ "name": name, "namespace": self.argocd, "labels": labels })
    }

    /// Sets what a person has set in `argocd-cm`, and nothing else of it.
    pub async fn settings(&self, data: Value) {
        let metadata = self.settings_metadata("argocd-cm");
        self.apply(json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data }))
            .await;
    }

    /// Sets `argocd-cmd-params-cm`.
    pub async fn parameters(&self, data: Value) {
        let metadata = self.settings_metadata("argocd-cmd-params-cm");
        self.apply(json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data }))
            .await;
    }

    /// Deletes an object, as a person does.
    pub async fn delete(&self, api_version: &str, kind: &str, namespace: &str, name: &str) {
        self.api(api_version, kind, namespace).await.delete(name, &DeleteParams::default()).await.unwrap();
    }

    /// An Application of this world's repository, to be changed and applied.
    pub fn application(&self, name: &str, path: &str) -> Value {
        json!({
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "Application",
            "metadata": { "name": name, "namespace": self.argocd },
            "spec": {
                "project": "default",
                "source": { "repoURL": self.repository.url(), "path": path, "targetRevision": "main" },
                "destination": { "server": "https://kubernetes.default.svc", "namespace": self.namespace },
            },
        })
    }

    /// The same, synced by itself, with everything on.
    pub fn automated(&self, name: &str, path: &str) -> Value {
        let mut application = self.application(name, path);
        application["spec"]["syncPolicy"] = json!({
            "automated": { "prune": true, "selfHeal": true },
            "syncOptions": ["CreateNamespace=true"],
        });
        application
    }

    /// Asks for a sync, as a person does.
    pub async fn sync(&self, name: &str, sync: Value) {
        let patch = json!({
            "operation": { "initiatedBy": { "username": "person" }, "sync": sync },
            "status": { "operationState": null },
        });
        self.patch("argoproj.io/v1alpha1", "Application", &self.argocd, name, patch).await;
    }

    /// Asks for a sync of everything, and waits until it has succeeded.
    pub async fn sync_succeeds(&self, name: &str) {
        self.sync(name, json!({})).await;
        self.until_operation(name, OperationPhase::Succeeded).await;
    }

    /// Reads an Application.
    pub async fn read_application(&self, name: &str) -> Application {
        let value =
            self.get("argoproj.io/v1alpha1", "Application", &self.argocd, name).await.expect("Application");
        Application::from_value(value).unwrap()
    }

    /// Waits until an Application is as described.
    pub async fn until_application(
        &self,
        name: &str,
        what: &str,
        is: impl Fn(&Application) -> bool,
    ) -> Application {
        self.until(&format!("Application {name} {what}"), async |world: &World| {
            let application = world.read_application(name).await;
            is(&application).then_some(application)
        })
        .await
    }

    /// Waits until an Application is synced to a commit and its operation has ended well.
    pub async fn until_synced(&self, name: &str, commit: &CommitId) -> Application {
        self.until_application(name, &format!("is synced to {commit}"), |application| {
            is_synced(application, commit)
        })
        .await
    }

    /// Waits until an Application has a condition of a type whose message holds a text.
    pub async fn until_condition(
        &self,
        name: &str,
        condition_type: &str,
        text: &str,
    ) -> ApplicationCondition {
        let application = self
            .until_application(name, &format!("has a {condition_type} with '{text}'"), |application| {
                find_condition(application, condition_type, text).is_some()
            })
            .await;
        find_condition(&application, condition_type, text).unwrap().clone()
    }

    /// Waits until an Application's last operation has ended with a phase.
    pub async fn until_operation(&self, name: &str, phase: OperationPhase) -> Application {
        self.until_application(name, &format!("has an operation that ended as {phase}"), |application| {
            let state = application.status.operation_state.as_ref();
            application.operation.is_none() && state.is_some_and(|state| state.phase == phase)
        })
        .await
    }

    /// Waits until an Application's operation says something that begins so.
    pub async fn until_operation_says(&self, name: &str, text: &str) -> Application {
        self.until_application(name, &format!("has an operation that says '{text}'"), |application| {
            let state = application.status.operation_state.as_ref();
            state.is_some_and(|state| state.message.starts_with(text))
        })
        .await
    }

    /// Waits until an Application has a sync status.
    pub async fn until_status(&self, name: &str, code: SyncStatusCode) -> Application {
        self.until_application(name, &format!("is {code}"), |application| {
            application.status.sync_code() == code
        })
        .await
    }

    /// Changes the spec of an Application, as a person does.
    pub async fn change_spec(&self, name: &str, spec: Value) {
        let patch = json!({ "spec": spec });
        self.patch("argoproj.io/v1alpha1", "Application", &self.argocd, name, patch).await;
    }

    /// Makes an AppProject, or makes it another one.
    pub async fn project(&self, name: &str, spec: Value) {
        self.apply(json!({
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "AppProject",
            "metadata": { "name": name, "namespace": self.argocd },
            "spec": spec,
        }))
        .await;
    }

    /// The names of the objects of a kind in a namespace, but for those that every namespace has.
    pub async fn names(&self, api_version: &str, kind: &str, namespace: &str) -> Vec<String> {
        let listed = self.api(api_version, kind, namespace).await.list(&Default::default()).await.unwrap();
        let names = listed.items.into_iter().filter_map(|object| object.metadata.name);
        names.filter(|name| name != "kube-root-ca.crt").collect()
    }

    /// The writes that the agent has sent, but for its lease and its events.
    pub fn agent_writes(&self) -> Vec<Sent> {
        self.requests.writes()
    }

    /// The agent's writes to anything but Applications and the project that it makes at its start.
    pub fn workload_writes(&self) -> Vec<Sent> {
        let own = |sent: &Sent| sent.uri.contains("/applications/") || sent.uri.contains("/appprojects");
        self.agent_writes().into_iter().filter(|sent| !own(sent)).collect()
    }

    /// The same without AppProjects, in brief and in order: `PATCH configmaps/settings`.
    pub fn written(&self) -> Vec<String> {
        let brief = |sent: Sent| {
            let path = sent.uri.split('?').next().unwrap_or_default();
            let mut segments = path.rsplit('/');
            let (name, resource) = (segments.next().unwrap_or_default(), segments.next().unwrap_or_default());
            format!("{} {resource}/{name}", sent.method)
        };
        self.workload_writes()
            .into_iter()
            .filter(|sent| !sent.uri.contains("/appprojects"))
            .map(brief)
            .collect()
    }

    /// Asks for a refresh, as a person does, and waits until the agent has done it.
    pub async fn refresh(&self, name: &str) -> Application {
        let patch = json!({ "metadata": { "annotations": { "argocd.argoproj.io/refresh": "normal" } } });
        self.patch("argoproj.io/v1alpha1", "Application", &self.argocd, name, patch).await;
        self.until_application(name, "is refreshed", |application| {
            application.annotation("argocd.argoproj.io/refresh").is_none()
        })
        .await
    }

    /// The sum of the values of a metric's series that have all of these labels.
    pub fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let text = self.metrics.text().unwrap();
        let of_name = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{']));
        let series =
            text.lines().filter(of_name).filter(|line| labels.iter().all(|label| line.contains(label)));
        series.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
    }

    /// Waits until that sum is as wanted: metrics follow the status an instant later.
    pub async fn until_metric(&self, name: &str, labels: &[&str], is: impl Fn(f64) -> bool) {
        self.until(&format!("the metric {name} with {labels:?} is as wanted"), async |world: &World| {
            is(world.metric(name, labels)).then_some(())
        })
        .await;
    }

    /// Waits until the agent has looked at its repositories so many times more.
    pub async fn until_polled(&self, times: u32) {
        let polls = |world: &World| world.metric("argocd_git_request_total", &["ls-remote"]);
        let enough = polls(self) + f64::from(times);
        self.until("the repositories were polled", async |world: &World| {
            (polls(world) >= enough).then_some(())
        })
        .await;
    }

    /// Waits until an Application is healthy and everything that followed from its sync has come to rest.
    pub async fn until_quiet(&self, name: &str) {
        self.until_application(name, "is healthy", |application| {
            application.status.health_code() == HealthStatusCode::Healthy
        })
        .await;
        let requests = || self.requests.sent().iter().filter(|sent| !sent.is_about_the_lease()).count();
        let mut before = usize::MAX;
        while before != requests() {
            before = requests();
            self.until_polled(8).await;
        }
    }

    /// A directory that goes with this world.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(agent) = &self.agent {
            agent.task.abort();
        }
    }
}

/// Whether an Application is synced to a commit and its operation has ended well.
pub fn is_synced(application: &Application, commit: &CommitId) -> bool {
    let status = &application.status;
    let succeeded =
        status.operation_state.as_ref().is_some_and(|state| state.phase == OperationPhase::Succeeded);
    let sync = status.sync.as_ref();
    sync.is_some_and(|sync| sync.status == SyncStatusCode::Synced && sync.revision == commit.as_str())
        && succeeded
        && application.operation.is_none()
}

/// A condition of a type whose message holds a text.
pub fn find_condition<'a>(
    application: &'a Application,
    condition_type: &str,
    text: &str,
) -> Option<&'a ApplicationCondition> {
    let conditions = application.status.conditions.iter();
    conditions.into_iter().find(|c| c.condition_type == condition_type && c.message.contains(text))
}

fn resource(api_version: &str, kind: &str) -> ApiResource {
    let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
    ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind))
}

/// A local Git repository that a test commits to.
pub struct Repository {
    directory: std::path::PathBuf,
}

impl Repository {
    /// An empty one.
    pub fn new(directory: &Path) -> Self {
        writer::init(directory, true).unwrap();
        Self { directory: directory.to_owned() }
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("file://{}", self.directory.display())
    }

    /// Commits files to `main`; `None` removes one.
    pub fn commit(&self, files: &[(&str, Option<&str>)]) -> CommitId {
        let changes: Vec<Change> = files
            .iter()
            .map(|(path, content)| {
                let path = RepoPath::parse(path).unwrap();
                match content {
                    Some(content) => Change::Write(path, content.as_bytes().to_vec()),
                    None => Change::Remove(path),
                }
            })
            .collect();
        self.change(&changes)
    }

    /// Commits changes to `main`.
    pub fn change(&self, changes: &[Change]) -> CommitId {
        let author = Author::new("Developer", "developer@example.com");
        writer::commit(&self.directory, "main", changes, "a change", &author).unwrap()
    }

    /// Commits one file to a branch, which is made if it does not exist.
    pub fn commit_to(&self, branch: &str, path: &str, content: &str) -> CommitId {
        let change = Change::Write(RepoPath::parse(path).unwrap(), content.as_bytes().to_vec());
        let author = Author::new("Developer", "developer@example.com");
        writer::commit(&self.directory, branch, &[change], "a change", &author).unwrap()
    }

    /// Tags a commit; with a message the tag is an object of its own.
    pub fn tag(&self, name: &str, commit: &CommitId, message: Option<&str>) {
        let repository = git2::Repository::open(&self.directory).unwrap();
        let tagged = repository.revparse_single(commit.as_str()).unwrap();
        let tagger = git2::Signature::now("Developer", "developer@example.com").unwrap();
        match message {
            Some(message) => repository.tag(name, &tagged, &tagger, message, false).unwrap(),
            None => repository.tag_lightweight(name, &tagged, false).unwrap(),
        };
    }

    /// Makes a branch at `main`.
    pub fn branch(&self, name: &str) {
        let repository = git2::Repository::open(&self.directory).unwrap();
        let main = repository.revparse_single("main").unwrap().peel_to_commit().unwrap();
        repository.branch(name, &main, false).unwrap();
    }

    /// Merges a branch into `main`, which has not moved since the branch was made.
    pub fn merge(&self, branch: &str) -> CommitId {
        let repository = git2::Repository::open(&self.directory).unwrap();
        let tip = |name: &str| repository.revparse_single(name).unwrap().peel_to_commit().unwrap();
        let (ours, theirs) = (tip("main"), tip(branch));
        let author = git2::Signature::now("Developer", "developer@example.com").unwrap();
        let tree = theirs.tree().unwrap();
        let parents = [&ours, &theirs];
        let merged = repository
            .commit(Some("refs/heads/main"), &author, &author, "Merge the branch", &tree, &parents)
            .unwrap();
        CommitId::parse(&merged.to_string()).unwrap()
    }

    /// Lets `main` be at a commit, as a forced push does.
    pub fn force(&self, commit: &CommitId) {
        let repository = git2::Repository::open(&self.directory).unwrap();
        let target = repository.revparse_single(commit.as_str()).unwrap().id();
        repository.reference("refs/heads/main", target, true, "forced").unwrap();
    }

    /// A commit's message, and what a file holds at it.
    pub fn read_at(&self, commit: &str, path: &str) -> (String, String) {
        let repository = git2::Repository::open(&self.directory).unwrap();
        let commit = repository.revparse_single(commit).unwrap().peel_to_commit().unwrap();
        let entry = commit.tree().unwrap().get_path(Path::new(path)).unwrap();
        let blob = repository.find_blob(entry.id()).unwrap();
        (commit.message().unwrap().to_owned(), String::from_utf8_lossy(blob.content()).into_owned())
    }

    /// Takes a commit back.
    pub fn revert(&self, commit: &CommitId) -> CommitId {
        let author = Author::new("Developer", "developer@example.com");
        writer::revert(&self.directory, "main", commit, &author).unwrap()
    }
}

/// A ConfigMap manifest.
pub fn config_map(name: &str, value: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\ndata:\n  key: \"{value}\"\n")
}

/// A Deployment manifest.
pub fn deployment(name: &str, image: &str, replicas: u32) -> String {
    format!(
        "apiVersion: apps/v1
kind: Deployment
metadata:
  name: {name}
spec:
  replicas: {replicas}
  selector:
    matchLabels: {{app: {name}}}
  template:
    metadata:
      labels: {{app: {name}}}
    spec:
      containers:
      - name: main
        image: {image}
        resources:
          limits: {{cpu: 1000m, memory: 64Mi}}
"
    )
}
