//! What the story acts on and looks at: a Git repository that it commits to and a cluster that it asks.
//!
//! Everything that a step claims is read from the Kubernetes API. The story and the agent know of each other only
//! what an operator would see: commits on one side, objects on the other.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use clap::Parser;
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Service, ServiceAccount},
    policy::v1::PodDisruptionBudget,
};
use kube::{
    Api, Client, Resource,
    api::{ListParams, ObjectMeta, Patch, PatchParams},
    core::NamespaceResourceScope,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{error::StepError, manifests::Place};
use crate::{
    api::{Application, HealthStatusCode, SyncStatusCode},
    cli::{
        app::{self, AppCommand, Session, source_rollback},
        output::Console,
    },
    error::chain,
    files::RepoPath,
    git::{
        CommitId,
        writer::{self, Author, Change},
    },
    object::yaml,
};

/// The branch that the Applications follow.
pub(super) const BRANCH: &str = "main";
/// The environments of the order-service.
pub(super) const ENVIRONMENTS: [&str; 3] = ["dev", "staging", "production"];
/// The name of the Deployment and of most that belongs to it.
pub(super) const SERVICE: &str = "order-service";
/// Who does by hand what should be done by a commit.
const SOMEBODY: &str = "skiff-demo";

/// The repository and the cluster, and what the story remembers between its steps.
pub(super) struct World {
    /// The cluster.
    pub(super) client: Client,
    /// The directory of the repository, which is a bare one.
    pub(super) repository: PathBuf,
    /// Namespaces and the repository's URL.
    pub(super) place: Place,
    /// How long to wait for anything.
    pub(super) limit: Duration,
    /// How long to wait between two looks.
    pub(super) pause: Duration,
    /// The commit that brought the new image.
    pub(super) release: Option<CommitId>,
    /// The commit that cannot be rendered.
    pub(super) broken: Option<CommitId>,
    /// The managed objects before the broken commit.
    pub(super) before: Option<Versions>,
}

/// Which version of each object there is, by kind, namespace and name.
pub(super) type Versions = BTreeMap<String, String>;

impl World {
    /// A world at the beginning of the story.
    pub(super) fn new(client: Client, repository: PathBuf, place: Place) -> Self {
        Self {
            client,
            repository,
            place,
            limit: Duration::from_secs(20),
            pause: Duration::from_millis(10),
            release: None,
            broken: None,
            before: None,
        }
    }

    /// Looks until it is as it should be. What is still missing is told as an error.
    pub(super) async fn until<T>(&self, look: impl AsyncFn() -> Result<T, String>) -> Result<T, StepError> {
        let begun = Instant::now();
        loop {
            match look().await {
                Ok(seen) => return Ok(seen),
                Err(last) if begun.elapsed() >= self.limit => {
                    return Err(StepError::NotInTime { limit: self.limit, last });
                }
                Err(_) => tokio::time::sleep(self.pause).await,
            }
        }
    }

    /// Commits on the branch.
    pub(super) fn commit(&self, message: &str, changes: &[Change]) -> Result<CommitId, StepError> {
        Ok(writer::commit(&self.repository, BRANCH, changes, message, &author())?)
    }

    /// Commits the reverse of a commit.
    pub(super) fn revert(&self, commit: &CommitId) -> Result<CommitId, StepError> {
        Ok(writer::revert(&self.repository, BRANCH, commit, &author())?)
    }

    /// The change that replaces a text in a file of the repository.
    pub(super) fn edit(&self, path: &str, from: &str, to: &str) -> Result<Change, StepError> {
        let file = RepoPath::parse(path)?;
        let content = writer::read(&self.repository, BRANCH, &file)?;
        let text = String::from_utf8_lossy(&content);
        if !text.contains(from) {
            return Err(StepError::Edit { path: path.to_owned(), expected: from.to_owned() });
        }
        Ok(Change::Write(file, text.replacen(from, to, 1).into_bytes()))
    }

    /// Applies an Application as a person would.
    pub(super) async fn apply_application(&self, path: &str, text: &str) -> Result<(), StepError> {
        let documents = yaml::parse(text.as_bytes(), &yaml::Options::default())
            .map_err(|source| StepError::Yaml { path: path.to_owned(), source })?;
        for document in documents {
            let name = document.value.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
            let action = format!("apply the Application of {path}");
            self.applications()
                .patch(name, &PatchParams::apply(SOMEBODY), &Patch::Apply(&document.value))
                .await
                .map_err(StepError::api(action))?;
        }
        Ok(())
    }

    /// Scales a Deployment as a person would, and gives the generation that came of it.
    pub(super) async fn scale_by_hand(&self, environment: &str, replicas: i32) -> Result<i64, StepError> {
        let deployments = self.objects::<Deployment>(environment);
        let action = format!("scale the Deployment {SERVICE} of {environment}");
        let patch = json!({ "spec": { "replicas": replicas } });
        let parameters = PatchParams { field_manager: Some(SOMEBODY.to_owned()), ..PatchParams::default() };
        let scaled = deployments
            .patch(SERVICE, &parameters, &Patch::Merge(&patch))
            .await
            .map_err(StepError::api(action))?;
        if scaled.spec.and_then(|spec| spec.replicas) != Some(replicas) {
            return Err(StepError::Wrong(format!("scaling the Deployment {SERVICE} by hand had no effect")));
        }
        Ok(scaled.metadata.generation.unwrap_or_default())
    }

    /// Runs a command line of `skiff` on the cluster. Gives what it said.
    pub(super) async fn skiff(&self, line: &str) -> Result<String, StepError> {
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| StepError::Command {
            line: line.to_owned(),
            source,
        };
        let command = Line::try_parse_from(line.split(' ')).map_err(|error| failed(error.into()))?;
        let session = Session::new(self.client.clone(), &self.place.agent_namespace);
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut console = Console { out: &mut out, err: &mut err, input: None, colours: false };
        match &command {
            Line::Rollback(options) => Box::pin(source_rollback::run_on(&session, options, &mut console))
                .await
                .map_err(|error| failed(error.into()))?,
            Line::App { command } => {
                let code = Box::pin(app::run_command(&session, command, &mut console)).await;
                let code = code.map_err(|error| failed(error.into()))?;
                if code != 0 {
                    return Err(StepError::Wrong(format!("'skiff {line}' ended with exit code {code}")));
                }
            }
        }
        Ok(String::from_utf8_lossy(&out).into_owned())
    }

    /// The objects of a kind in an environment's namespace.
    pub(super) fn objects<K>(&self, environment: &str) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.place.namespace(environment))
    }

    /// The Applications.
    pub(super) fn applications(&self) -> Api<Application> {
        Api::namespaced(self.client.clone(), &self.place.agent_namespace)
    }

    /// An Application.
    pub(super) async fn application(&self, name: &str) -> Result<Application, String> {
        self.applications().get(name).await.map_err(|error| chain(&error))
    }

    /// That an Application is synced with a commit and healthy.
    pub(super) async fn is_synced(&self, name: &str, commit: &CommitId) -> Result<(), String> {
        let application = self.application(name).await?;
        let status = &application.status;
        let revision = status.sync.as_ref().map_or("", |sync| sync.revision.as_str());
        if let Some(problem) = status.conditions.iter().find(|condition| condition.is_error()) {
            return Err(format!("Application {name} has a {}: {}", problem.condition_type, problem.message));
        }
        let is_so = status.sync_code() == SyncStatusCode::Synced
            && status.health_code() == HealthStatusCode::Healthy
            && revision == commit.as_str();
        if is_so {
            return Ok(());
        }
        let ill = status.resources.iter().find_map(|resource| {
            let health =
                resource.health.as_ref().filter(|health| health.status != HealthStatusCode::Healthy)?;
            Some(format!("; {} {} is {}: {}", resource.kind, resource.name, health.status, health.message))
        });
        let last = status.operation_state.as_ref();
        let last = last.map(|state| format!("; last operation {}: {}", state.phase, state.message));
        Err(format!(
            "Application {name} is {} and {} at commit '{revision}'{}{}",
            status.sync_code(),
            status.health_code(),
            ill.unwrap_or_default(),
            last.unwrap_or_default(),
        ))
    }

    /// That the order-service of an environment runs this image, with all its Pods. Gives the Deployment.
    pub(super) async fn is_rolled_out(&self, environment: &str, tag: &str) -> Result<Deployment, String> {
        let name = format!("Deployment {SERVICE} of {environment}");
        let deployment = self.objects::<Deployment>(environment).get(SERVICE).await;
        let deployment = deployment.map_err(|error| format!("{name}: {}", chain(&error)))?;
        let image = image(&deployment);
        if !image.ends_with(&format!(":{tag}")) {
            return Err(format!("{name} has the image {image}"));
        }
        let wanted = replicas(&deployment);
        let status = deployment.status.clone().unwrap_or_default();
        let current = status.observed_generation >= deployment.metadata.generation;
        let (all, updated, available) = (
            status.replicas.unwrap_or_default(),
            status.updated_replicas.unwrap_or_default(),
            status.available_replicas.unwrap_or_default(),
        );
        if current && all == wanted && updated == wanted && available == wanted {
            return Ok(deployment);
        }
        Err(format!("{name} has {available} of {wanted} Pods available, {updated} with its image"))
    }

    /// The versions of all that is managed: an object that nobody touched keeps its own.
    pub(super) async fn versions(&self) -> Result<Versions, StepError> {
        let mut versions = Versions::new();
        for environment in ENVIRONMENTS {
            self.versions_of::<Deployment>(environment, &mut versions).await?;
            self.versions_of::<Service>(environment, &mut versions).await?;
            self.versions_of::<ServiceAccount>(environment, &mut versions).await?;
            self.versions_of::<ConfigMap>(environment, &mut versions).await?;
            self.versions_of::<PodDisruptionBudget>(environment, &mut versions).await?;
        }
        Ok(versions)
    }

    async fn versions_of<K>(&self, environment: &str, versions: &mut Versions) -> Result<(), StepError>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
            + Clone
            + DeserializeOwned
            + std::fmt::Debug,
    {
        let action = format!("list objects of kind {} of {environment}", K::kind(&()));
        let objects = self.objects::<K>(environment).list(&ListParams::default()).await;
        for object in objects.map_err(StepError::api(action))? {
            let metadata = object.meta();
            let key =
                format!("{} {}/{}", K::kind(&()), environment, metadata.name.as_deref().unwrap_or_default());
            versions.insert(key, version(metadata));
        }
        Ok(())
    }
}

/// The identity of an object and of its content, apart from its status where the two can be told apart.
fn version(metadata: &ObjectMeta) -> String {
    let uid = metadata.uid.as_deref().unwrap_or_default();
    match metadata.generation {
        Some(generation) => format!("{uid} {generation}"),
        None => format!("{uid} {}", metadata.resource_version.as_deref().unwrap_or_default()),
    }
}

/// The image of a Deployment's first container.
pub(super) fn image(deployment: &Deployment) -> &str {
    let spec = deployment.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
    let image =
        spec.and_then(|spec| spec.containers.first()).and_then(|container| container.image.as_deref());
    image.unwrap_or_default()
}

/// How many Pods a Deployment wants.
pub(super) fn replicas(deployment: &Deployment) -> i32 {
    deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
}

/// The name of an environment's Application.
pub(super) fn application_of(environment: &str) -> String {
    format!("{SERVICE}-{environment}")
}

/// The commands that the story types.
#[derive(clap::Parser)]
#[command(no_binary_name = true)]
enum Line {
    Rollback(source_rollback::Options),
    App {
        #[command(subcommand)]
        command: AppCommand,
    },
}

fn author() -> Author {
    Author::new("Olivia Operator", "olivia@example.com")
}
