//! The connection to the cluster that Applications are read from and written to.

use std::{ops::ControlFlow, path::PathBuf, pin::pin, time::Duration};

use futures::TryStreamExt;
use kube::{
    Api, Client, Config,
    api::{DeleteParams, ListParams, Patch, PatchParams},
    config::{KubeConfigOptions, Kubeconfig},
    core::{ApiResource, DynamicObject},
    runtime::{WatchStreamExt, watcher},
};
use serde_json::Value;
use tokio::time::Instant;

use super::{AppError, name::AppName};
use crate::{
    api::{AppProject, Application, names},
    cluster::ClusterError,
};

/// How long one request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// How many Applications are asked for at a time.
const PAGE: u32 = 500;
/// How many failures of a watch in a row are an error.
const MAX_WATCH_FAILURES: usize = 5;

/// How to reach the cluster.
#[derive(Debug, Default, clap::Args)]
pub struct Connection {
    /// The kubeconfig file [default: $KUBECONFIG, ~/.kube/config, or the pod's service account]
    #[arg(long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// The kubeconfig's context
    #[arg(long, visible_alias = "kube-context", global = true, value_name = "NAME")]
    pub context: Option<String>,

    /// The Applications' namespace [default: that of the context, or argocd]
    #[arg(short = 'N', long, global = true, env = "ARGOCD_NAMESPACE", value_name = "NAMESPACE")]
    pub app_namespace: Option<String>,
}

/// A connected client, and the namespace that names without one are in.
pub struct Session {
    client: Client,
    namespace: String,
}

/// An Application as it was read: the typed form, and everything that it has.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub name: AppName,
    pub application: Application,
    pub value: Value,
}

impl Session {
    /// Uses a client that is there already.
    pub fn new(client: Client, namespace: impl Into<String>) -> Self {
        Self { client, namespace: namespace.into() }
    }

    /// Connects as the kubeconfig says, or as the pod's service account where there is none.
    ///
    /// # Errors
    /// When the kubeconfig is missing or of no use.
    pub async fn connect(connection: &Connection) -> Result<Self, AppError> {
        let options =
            KubeConfigOptions { context: connection.context.clone(), ..KubeConfigOptions::default() };
        let kubeconfig = match &connection.kubeconfig {
            Some(path) => Kubeconfig::read_from(path),
            None => Kubeconfig::read(),
        };
        let (mut config, context_namespace) = match (kubeconfig, Config::incluster()) {
            (Ok(kubeconfig), _) => {
                let namespace = namespace_of(&kubeconfig, connection.context.as_deref());
                let config = Config::from_custom_kubeconfig(kubeconfig, &options)
                    .await
                    .map_err(AppError::Kubeconfig)?;
                (config, namespace)
            }
            (Err(_), Ok(config)) if connection.kubeconfig.is_none() => {
                let namespace = Some(config.default_namespace.clone());
                (config, namespace)
            }
            (Err(error), _) => return Err(AppError::Kubeconfig(error)),
        };
        config.connect_timeout = Some(Duration::from_secs(10));
        let client = Client::try_from(config).map_err(|error| AppError::Client(Box::new(error)))?;
        let namespace = connection.app_namespace.clone().filter(|namespace| !namespace.is_empty());
        Ok(Self::new(
            client,
            namespace.or(context_namespace).unwrap_or_else(|| names::DEFAULT_NAMESPACE.to_owned()),
        ))
    }

    /// The namespace of Applications that are named without one.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The client itself.
    pub(in crate::cli) fn client(&self) -> Client {
        self.client.clone()
    }

    /// One Application.
    pub(super) async fn get(&self, name: &AppName) -> Result<Found, AppError> {
        let api = self.api(Some(&name.namespace));
        match request("get", &format!("application '{name}'"), api.get_opt(&name.name)).await? {
            Some(object) => Found::read(object),
            None => Err(AppError::NotFound { name: name.to_string() }),
        }
    }

    /// A project; `None` when there is none of that name, or when whoever asks may not read it.
    pub(super) async fn project(&self, namespace: &str, name: &str) -> Result<Option<AppProject>, AppError> {
        let api: Api<AppProject> = Api::namespaced(self.client.clone(), namespace);
        match request("get", &format!("project '{name}'"), api.get_opt(name)).await {
            Err(error) if error.is_forbidden() => Ok(None),
            found => Ok(found?),
        }
    }

    /// The Applications of a namespace or of all, sorted by name. One that cannot be read does not hide the others.
    pub(super) async fn list(
        &self,
        namespace: Option<&str>,
        selector: Option<&str>,
    ) -> Result<Vec<Result<Found, AppError>>, AppError> {
        let api = self.api(namespace);
        let object = match namespace {
            Some(namespace) => format!("applications in namespace '{namespace}'"),
            None => "applications in all namespaces".to_owned(),
        };
        let mut parameters = ListParams::default().limit(PAGE);
        if let Some(selector) = selector {
            parameters = parameters.labels(selector);
        }
        let mut found = Vec::new();
        loop {
            let page = request("list", &object, api.list(&parameters)).await?;
            let next = page.metadata.continue_.clone().filter(|token| !token.is_empty());
            found.extend(page.items.into_iter().map(Found::read));
            match next {
                Some(token) => parameters = parameters.continue_token(&token),
                None => break,
            }
        }
        found.sort_by_key(|found| match found {
            Ok(found) => (1, found.name.to_string()),
            Err(_) => (0, String::new()),
        });
        Ok(found)
    }

    /// Changes fields of an Application by a JSON merge patch.
    pub(super) async fn patch(&self, name: &AppName, patch: &Value) -> Result<Found, AppError> {
        let api = self.api(Some(&name.namespace));
        let parameters = PatchParams::default();
        let object = format!("application '{name}'");
        let answer =
            request("patch", &object, api.patch(&name.name, &parameters, &Patch::Merge(patch))).await;
        match answer {
            Ok(object) => Found::read(object),
            Err(error) if error.is_not_found() => Err(AppError::NotFound { name: name.to_string() }),
            Err(error) => Err(error.into()),
        }
    }

    /// Deletes an Application.
    pub(super) async fn delete(&self, name: &AppName) -> Result<(), AppError> {
        let api = self.api(Some(&name.namespace));
        let parameters = DeleteParams::default();
        let object = format!("application '{name}'");
        match request("delete", &object, api.delete(&name.name, &parameters)).await {
            Ok(_) => Ok(()),
            Err(error) if error.is_not_found() => Err(AppError::NotFound { name: name.to_string() }),
            Err(error) => Err(error.into()),
        }
    }

    /// Shows every state of an Application, beginning with the present one, to `step` until that breaks; `None` stands
    /// for an Application that is not there. Returns `None` when `limit` is over first.
    pub(super) async fn follow<T>(
        &self,
        name: &AppName,
        limit: Option<Duration>,
        mut step: impl FnMut(Option<Found>) -> Result<ControlFlow<T>, AppError>,
    ) -> Result<Option<T>, AppError> {
        let api = self.api(Some(&name.namespace));
        let mut states = pin!(watcher::watch_object(api, &name.name).default_backoff());
        let deadline = limit.map(|limit| Instant::now() + limit);
        let mut failures = 0;
        loop {
            let next = states.try_next();
            let state = match deadline {
                None => next.await,
                Some(deadline) => match tokio::time::timeout_at(deadline, next).await {
                    Ok(state) => state,
                    Err(_) => return Ok(None),
                },
            };
            match state {
                Ok(Some(object)) => {
                    failures = 0;
                    if let ControlFlow::Break(result) = step(object.map(Found::read).transpose()?)? {
                        return Ok(Some(result));
                    }
                }
                Ok(None) => return Ok(None),
                Err(error) => {
                    failures += 1;
                    if failures >= MAX_WATCH_FAILURES || is_refusal(&error) {
                        return Err(watch_error(error, name).into());
                    }
                }
            }
        }
    }

    fn api(&self, namespace: Option<&str>) -> Api<DynamicObject> {
        let resource = ApiResource::erase::<Application>(&());
        match namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        }
    }
}

impl Found {
    fn read(mut object: DynamicObject) -> Result<Self, AppError> {
        object.metadata.managed_fields = None;
        object.types = Some(kube::core::TypeMeta {
            api_version: names::API_VERSION.to_owned(),
            kind: "Application".to_owned(),
        });
        let value = serde_json::to_value(&object).unwrap_or_default();
        let application = Application::from_value(value.clone())?;
        let name =
            AppName { namespace: application.namespace().to_owned(), name: application.name().to_owned() };
        Ok(Self { name, application, value })
    }
}

/// One request, within a time limit.
pub(in crate::cli) async fn request<T>(
    action: &'static str,
    object: &str,
    call: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, ClusterError> {
    match tokio::time::timeout(REQUEST_TIMEOUT, call).await {
        Ok(answer) => {
            answer.map_err(|error| ClusterError::from_kube(error, action, object.to_owned(), false))
        }
        Err(_) => Err(ClusterError::Timeout { action, object: object.to_owned(), limit: REQUEST_TIMEOUT }),
    }
}

fn is_refusal(error: &watcher::Error) -> bool {
    let (watcher::Error::InitialListFailed(cause) | watcher::Error::WatchStartFailed(cause)) = error else {
        return false;
    };
    matches!(cause, kube::Error::Api(status) if [401, 403, 404].contains(&status.code))
}

fn watch_error(error: watcher::Error, name: &AppName) -> ClusterError {
    let object = format!("application '{name}'");
    match error {
        watcher::Error::InitialListFailed(cause)
        | watcher::Error::WatchStartFailed(cause)
        | watcher::Error::WatchFailed(cause) => ClusterError::from_kube(cause, "watch", object, false),
        watcher::Error::WatchError(status) => {
            ClusterError::from_kube(kube::Error::Api(status), "watch", object, false)
        }
        other => ClusterError::Connection { action: "watch", object, message: other.to_string() },
    }
}

/// The namespace of a kubeconfig's context, if it names one.
fn namespace_of(kubeconfig: &Kubeconfig, context: Option<&str>) -> Option<String> {
    let wanted = context.or(kubeconfig.current_context.as_deref())?;
    let context = kubeconfig.contexts.iter().find(|context| context.name == wanted)?;
    context.context.as_ref()?.namespace.clone().filter(|namespace| !namespace.is_empty())
}
