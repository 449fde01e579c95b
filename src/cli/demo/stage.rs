//! Where the story is played: a sandbox or somebody's cluster, a repository in a temporary directory, and the agent in
//! this process. Whatever was put there is taken away at the end.

use std::{path::Path, sync::Arc, time::Duration};

use k8s_openapi::{
    api::core::v1::Namespace, apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client, Config,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
    runtime::{conditions::is_crd_established, wait::await_condition},
};
use serde_json::json;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{
    error::{DemoError, StepError},
    manifests::Place,
    world::{ENVIRONMENTS, World},
};
use crate::{
    api::{crd::definitions, names},
    controller::{Agent, AgentError, AgentOptions},
    error::chain,
    git::writer,
    metrics::{Metrics, MetricsOptions},
    sandbox::Sandbox,
};

/// How often the agent looks at the repository's references.
const POLL_INTERVAL: Duration = Duration::from_millis(250);
/// How long a Pod of the sandbox takes until it is ready, so that a rollout can be seen.
const POD_READY_DELAY: Duration = Duration::from_millis(150);
/// How long the agent may take to end.
const AGENT_END_LIMIT: Duration = Duration::from_secs(10);
/// How long anything may take on a real cluster, where images are pulled.
const REAL_CLUSTER_LIMIT: Duration = Duration::from_secs(180);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The time between two looks at a real cluster.
const REAL_CLUSTER_PAUSE: Duration = Duration::from_millis(200);
const MANAGER: &str = "skiff-demo";

/// A cluster, a repository and, once it was started, an agent.
pub(super) struct Stage {
    pub(super) world: World,
    /// The sandbox, unless the cluster is a real one.
    pub(super) sandbox: Option<Sandbox>,
    pub(super) agent: Option<JoinHandle<Result<(), AgentError>>>,
    stop: CancellationToken,
    installed: Vec<String>,
    directory: TempDir,
}

impl Stage {
    /// A stage on a sandbox.
    pub(super) fn on_sandbox() -> Result<Self, DemoError> {
        let sandbox = Sandbox::builder().pod_ready_delay(POD_READY_DELAY).build();
        let mut stage = Self::new(sandbox.client(), names::DEFAULT_NAMESPACE, "shop-")?;
        stage.sandbox = Some(sandbox);
        Ok(stage)
    }

    /// A stage on the cluster of a kubeconfig, in namespaces that nobody else has.
    pub(super) async fn on_cluster(path: &Path, context: Option<String>) -> Result<Self, DemoError> {
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| DemoError::Kubeconfig {
            path: path.display().to_string(),
            source,
        };
        let kubeconfig = Kubeconfig::read_from(path).map_err(|error| failed(error.into()))?;
        let options = KubeConfigOptions { context, ..KubeConfigOptions::default() };
        let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
        let mut config = config.map_err(|error| failed(error.into()))?;
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        let client = Client::try_from(config);
        let client = client.map_err(|error| failed(error.into()))?;
        let unique: String = (0..6).map(|_| fastrand::char('a'..='z')).collect();
        let own = format!("skiff-demo-{unique}");
        let mut stage = Self::new(client, &own, &format!("{own}-"))?;
        stage.world.limit = REAL_CLUSTER_LIMIT;
        stage.world.pause = REAL_CLUSTER_PAUSE;
        Ok(stage)
    }

    fn new(client: Client, agent_namespace: &str, namespace_prefix: &str) -> Result<Self, DemoError> {
        let directory = tempfile::Builder::new().prefix("skiff-demo-").tempdir();
        let directory = directory.map_err(DemoError::Directory)?;
        let repository = directory.path().join("manifests.git");
        let place = Place {
            repository: format!("file://{}", repository.display()),
            agent_namespace: agent_namespace.to_owned(),
            namespace_prefix: namespace_prefix.to_owned(),
        };
        Ok(Self {
            world: World::new(client, repository, place),
            sandbox: None,
            agent: None,
            stop: CancellationToken::new(),
            installed: Vec::new(),
            directory,
        })
    }

    /// The temporary directory, which lasts as long as the stage.
    pub(super) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Makes the repository, installs Skiff's kinds, and starts the agent.
    pub(super) async fn prepare(&mut self) -> Result<(), DemoError> {
        self.set_up().await.map_err(DemoError::Prepare)?;
        let place = &self.world.place;
        let identity = format!("{MANAGER}-{}", std::process::id());
        let mut options =
            AgentOptions::new(&place.agent_namespace, identity, self.directory.path().join("cache"));
        options.poll_interval = Some(POLL_INTERVAL);
        let metrics = Metrics::new(&MetricsOptions::default()).map_err(DemoError::Metrics)?;
        let agent = Agent::new(self.world.client.clone(), options, Arc::new(metrics));
        let stop = self.stop.clone();
        self.agent = Some(tokio::spawn(async move { agent.run(stop).await }));
        Ok(())
    }

    async fn set_up(&mut self) -> Result<(), StepError> {
        writer::init(&self.world.repository, true)?;
        let client = &self.world.client;
        let known: Api<CustomResourceDefinition> = Api::all(client.clone());
        for definition in definitions() {
            let name = definition.value.pointer("/metadata/name").and_then(serde_json::Value::as_str);
            let name = name.unwrap_or_default();
            let action = format!("install the CustomResourceDefinition {name}");
            // One that is there already may be an Argo CD's: it fits as it is, and is not ours to change.
            let present = known.get_opt(name).await.map_err(StepError::api(action.clone()))?.is_some();
            if !present {
                self.installed.push(name.to_owned());
                known
                    .patch(name, &PatchParams::apply(MANAGER), &Patch::Apply(&definition.value))
                    .await
                    .map_err(StepError::api(action))?;
            }
            let established = await_condition(known.clone(), name, is_crd_established());
            if tokio::time::timeout(self.world.limit, established).await.is_err() {
                return Err(StepError::NotInTime {
                    limit: self.world.limit,
                    last: format!("the CustomResourceDefinition {name} is not established"),
                });
            }
        }
        let namespace = &self.world.place.agent_namespace;
        let object = json!({ "metadata": { "name": namespace } });
        let namespaces: Api<Namespace> = Api::all(client.clone());
        let object = serde_json::from_value(object).map_err(|error| {
            StepError::Wrong(format!("the namespace {namespace} cannot be described: {error}"))
        })?;
        namespaces
            .create(&PostParams::default(), &object)
            .await
            .map_err(StepError::api(format!("create the namespace {namespace}")))?;
        Ok(())
    }

    /// All namespaces of the story.
    fn namespaces(&self) -> Vec<String> {
        let place = &self.world.place;
        let environments = ENVIRONMENTS.iter().map(|environment| place.namespace(environment));
        std::iter::once(place.agent_namespace.clone()).chain(environments).collect()
    }

    /// Stops the agent and takes away whatever there is of the story. Of a sandbox nothing is left in any case.
    pub(super) async fn end(mut self) -> Result<(), DemoError> {
        self.stop.cancel();
        if let Some(mut agent) = self.agent.take()
            && tokio::time::timeout(AGENT_END_LIMIT, &mut agent).await.is_err()
        {
            agent.abort();
        }
        if self.sandbox.is_none() {
            self.clean_up()
                .await
                .map_err(|source| DemoError::CleanUp { namespaces: self.namespaces().join(" "), source })?;
        }
        self.directory.close().map_err(DemoError::Directory)
    }

    async fn clean_up(&self) -> Result<(), StepError> {
        // No agent is left to act on the finalizers of Applications; the namespaces take all objects with them.
        let applications = self.world.applications();
        let unfinished = json!({ "metadata": { "finalizers": null } });
        let found = applications.list(&ListParams::default()).await;
        for application in found.map(|list| list.items).unwrap_or_default() {
            applications
                .patch(application.name(), &PatchParams::default(), &Patch::Merge(&unfinished))
                .await
                .map_err(StepError::api(format!(
                    "remove the finalizers of Application {}",
                    application.name()
                )))?;
        }
        let namespaces: Api<Namespace> = Api::all(self.world.client.clone());
        for namespace in self.namespaces() {
            absent(namespaces.delete(&namespace, &DeleteParams::default()).await)
                .map_err(StepError::api(format!("delete the namespace {namespace}")))?;
        }
        for namespace in self.namespaces() {
            self.world
                .until(async || match namespaces.get_opt(&namespace).await {
                    Ok(None) => Ok(()),
                    Ok(Some(_)) => Err(format!("the namespace {namespace} is still there")),
                    Err(error) => Err(chain(&error)),
                })
                .await?;
        }
        let definitions: Api<CustomResourceDefinition> = Api::all(self.world.client.clone());
        for name in &self.installed {
            absent(definitions.delete(name, &DeleteParams::default()).await)
                .map_err(StepError::api(format!("delete the CustomResourceDefinition {name}")))?;
        }
        Ok(())
    }
}

/// A deletion's outcome, in which an object that is not there is as good as deleted.
fn absent<T>(deleted: kube::Result<T>) -> kube::Result<()> {
    match deleted {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(error),
    }
}
