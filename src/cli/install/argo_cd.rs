//! Whether an Argo CD looks after Applications in the cluster.

use std::fmt;

use kube::{
    Api, Client,
    api::{ApiResource, ListParams},
    core::DynamicObject,
};

use super::{InstallError, InstallOptions};
use crate::{cli::app::request, cluster::ClusterError};

/// How Argo CD's application controller is labelled by its own manifests, its Helm chart and its operator.
const SELECTORS: [&str; 2] = [
    "app.kubernetes.io/name=argocd-application-controller",
    "app.kubernetes.io/part-of=argocd,app.kubernetes.io/component=application-controller",
];
/// What it may run as.
const KINDS: [(&str, &str); 2] = [("StatefulSet", "statefulsets"), ("Deployment", "deployments")];

/// An application controller that runs.
#[derive(Debug)]
pub struct Running {
    /// `statefulset/argocd-application-controller`.
    pub workload: String,
    /// Its namespace.
    pub namespace: String,
}

impl fmt::Display for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in namespace {}", self.workload, self.namespace)
    }
}

/// The first one that is found. Whoever may not look into the whole cluster looks where the agent will be.
///
/// # Errors
/// When the API server does not answer.
pub(super) async fn running(
    client: &Client,
    options: &InstallOptions,
) -> Result<Option<Running>, InstallError> {
    for (kind, plural) in KINDS {
        let resource = ApiResource {
            group: "apps".to_owned(),
            version: "v1".to_owned(),
            api_version: "apps/v1".to_owned(),
            kind: kind.to_owned(),
            plural: plural.to_owned(),
        };
        let everywhere = Api::all_with(client.clone(), &resource);
        match find(&everywhere, kind).await {
            Ok(None) => {}
            Ok(found) => return Ok(found),
            Err(error) if error.is_forbidden() => {
                for namespace in std::iter::once(&options.namespace).chain(&options.target_namespaces) {
                    let here = Api::namespaced_with(client.clone(), namespace, &resource);
                    match find(&here, kind).await {
                        Ok(None) => {}
                        Ok(found) => return Ok(found),
                        // Whoever may not see it is told what stands in the way by what follows.
                        Err(error) if error.is_forbidden() => {}
                        Err(error) => return Err(error.into()),
                    }
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(None)
}

async fn find(api: &Api<DynamicObject>, kind: &'static str) -> Result<Option<Running>, ClusterError> {
    for selector in SELECTORS {
        let parameters = ListParams::default().labels(selector);
        let found = request("list", kind, api.list(&parameters)).await?;
        let replicas =
            |it: &DynamicObject| it.data.pointer("/spec/replicas").and_then(serde_json::Value::as_u64);
        if let Some(controller) = found.items.into_iter().find(|it| replicas(it).unwrap_or(1) > 0) {
            let name = controller.metadata.name.unwrap_or_default();
            return Ok(Some(Running {
                workload: format!("{}/{name}", kind.to_lowercase()),
                namespace: controller.metadata.namespace.unwrap_or_default(),
            }));
        }
    }
    Ok(None)
}
