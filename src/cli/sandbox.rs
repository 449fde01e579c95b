//! `skiff sandbox`: serves the in-memory Kubernetes API on loopback until it is told to end.

use std::{
    fs,
    io::{self, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use kube::{
    Api,
    api::{DynamicObject, Patch, PatchParams},
    core::GroupVersionKind,
    discovery::{self, Scope},
};

use super::documents::{self, DocumentsError};
use crate::{
    error::{Classified, ErrorKind},
    object::{Object, ObjectError, yaml},
    sandbox::{Sandbox, ServeError, ServeOptions},
};

/// How long a kind may take until it is served.
const KIND_TIMEOUT: Duration = Duration::from_secs(10);

/// The options of `skiff sandbox`.
#[derive(Debug, clap::Args)]
pub struct SandboxArguments {
    /// The port on 127.0.0.1; 0 takes a free one
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Serve HTTPS under a certificate authority of its own
    #[arg(long)]
    tls: bool,
    /// Where to write the kubeconfig
    #[arg(long, value_name = "FILE", default_value = "skiff-sandbox.kubeconfig")]
    kubeconfig: PathBuf,
    /// Seconds until a Pod is ready
    #[arg(long, value_name = "SECONDS", default_value_t = 0.5)]
    pod_ready_delay: f64,
    /// Apply these manifests first; '-' reads standard input
    #[arg(long, value_name = "FILE", num_args = 1..)]
    load: Vec<PathBuf>,
}

/// Why the sandbox could not be run.
#[derive(Debug, thiserror::Error)]
pub enum SandboxCommandError {
    /// It could not be served.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// `--pod-ready-delay` is no time.
    #[error("--pod-ready-delay must be a number of seconds that is not negative, not {0}")]
    Delay(f64),
    /// The kubeconfig cannot be written.
    #[error("cannot write {path}")]
    Write {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A manifest cannot be read.
    #[error(transparent)]
    Documents(#[from] DocumentsError),
    /// A document is no Kubernetes object.
    #[error("cannot read {place}")]
    Object {
        /// The manifest, and where the document starts.
        place: String,
        /// What is wrong with it.
        #[source]
        source: ObjectError,
    },
    /// The sandbox refused an object.
    #[error("cannot apply {object} of {path}")]
    Apply {
        /// The object.
        object: String,
        /// The manifest.
        path: String,
        /// What the sandbox said.
        #[source]
        source: Box<kube::Error>,
    },
    /// Standard output is gone.
    #[error("cannot print where the sandbox is")]
    Print(#[source] io::Error),
    /// The process cannot be told to end.
    #[error("cannot listen for signals")]
    Signal(#[source] io::Error),
}

impl Classified for SandboxCommandError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Serve(error) => error.kind(),
            Self::Print(_) | Self::Signal(_) => ErrorKind::Configuration,
            _ => ErrorKind::User,
        }
    }
}

/// Serves a sandbox until SIGTERM or Ctrl-C.
///
/// # Errors
/// When a manifest is refused, the port is taken, or a file cannot be read or written.
pub async fn run(arguments: SandboxArguments, output: &mut dyn Write) -> Result<(), SandboxCommandError> {
    let delay = Duration::try_from_secs_f64(arguments.pod_ready_delay)
        .map_err(|_| SandboxCommandError::Delay(arguments.pod_ready_delay))?;
    let ended = signal()?;
    let sandbox = Sandbox::builder().pod_ready_delay(delay).build();
    for path in &arguments.load {
        load(&sandbox, path).await?;
    }
    let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), arguments.port);
    let server = sandbox.serve(ServeOptions { address, tls: arguments.tls }).await?;
    let path = arguments.kubeconfig.display().to_string();
    fs::write(&arguments.kubeconfig, yaml::to_string(&server.kubeconfig()))
        .map_err(|source| SandboxCommandError::Write { path: path.clone(), source })?;
    write!(
        output,
        "Sandbox: {url}\n\
         Kubeconfig: {path}\n\n  \
         kubectl --kubeconfig {path} get all -A\n\n\
         This is an in-memory Kubernetes API for trying things out, and no cluster: there is no authentication,\n\
         no admission and no persistence, and no container runs. Everything is gone when it ends (Ctrl-C).\n",
        url = server.url(),
    )
    .and_then(|()| output.flush())
    .map_err(SandboxCommandError::Print)?;
    ended.await;
    server.shutdown().await;
    Ok(())
}

/// Resolves at SIGTERM or Ctrl-C; both are caught from now on.
fn signal() -> Result<impl Future<Output = ()>, SandboxCommandError> {
    #[cfg(unix)]
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
        .map_err(SandboxCommandError::Signal)?;
    Ok(async move {
        #[cfg(unix)]
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        #[cfg(not(unix))]
        let _ = tokio::signal::ctrl_c().await;
    })
}

async fn load(sandbox: &Sandbox, path: &Path) -> Result<(), SandboxCommandError> {
    for document in documents::read(path)? {
        let place = document.place();
        let object = Object::from_value(document.value)
            .map_err(|source| SandboxCommandError::Object { place, source })?;
        let key = object.key().to_string();
        apply(sandbox, object).await.map_err(|source| SandboxCommandError::Apply {
            object: key,
            path: document.file,
            source: Box::new(source),
        })?;
    }
    Ok(())
}

async fn apply(sandbox: &Sandbox, object: Object) -> Result<(), kube::Error> {
    let client = sandbox.client();
    let gvk = object.gvk();
    let gvk = GroupVersionKind::gvk(&gvk.group, &gvk.version, &gvk.kind);
    let (resource, capabilities) = served(sandbox, &gvk).await?;
    let api: Api<DynamicObject> = match capabilities.scope {
        Scope::Cluster => Api::all_with(client, &resource),
        Scope::Namespaced if object.namespace().is_empty() => Api::default_namespaced_with(client, &resource),
        Scope::Namespaced => Api::namespaced_with(client, object.namespace(), &resource),
    };
    let parameters = PatchParams::apply("skiff-sandbox").force();
    api.patch(object.name(), &parameters, &Patch::Apply(object.value())).await.map(|_| ())
}

/// The resource of a kind, which may have come with a CRD a moment ago.
async fn served(
    sandbox: &Sandbox,
    gvk: &GroupVersionKind,
) -> Result<(discovery::ApiResource, discovery::ApiCapabilities), kube::Error> {
    let crds = crate::object::GroupKind::new("apiextensions.k8s.io", "CustomResourceDefinition");
    let mut changes = sandbox.store().watch(&crds);
    let waiting = async {
        loop {
            match discovery::pinned_kind(&sandbox.client(), gvk).await {
                Ok(found) => return Ok(found),
                Err(error) if sandbox.store().list(&crds, None).is_empty() => return Err(error),
                Err(error) => {
                    if changes.next().await.is_none() {
                        return Err(error);
                    }
                }
            }
        }
    };
    match tokio::time::timeout(KIND_TIMEOUT, waiting).await {
        Ok(found) => found,
        Err(_) => discovery::pinned_kind(&sandbox.client(), gvk).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn manifests_are_loaded_crds_and_their_objects_together() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("all.yaml");
        let text = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: widgets, kind: Widget}
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
---
apiVersion: example.com/v1
kind: Widget
metadata: {name: w}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop}
";
        fs::write(&path, text).unwrap();
        let sandbox = Sandbox::builder().build();
        load(&sandbox, &path).await.unwrap();
        let widgets = crate::object::GroupKind::new("example.com", "Widget");
        assert!(sandbox.store().get(&widgets, "default", "w").is_some());
        let namespaces = crate::object::GroupKind::new("", "Namespace");
        assert!(sandbox.store().get(&namespaces, "", "shop").is_some());
    }

    #[tokio::test]
    async fn an_object_of_an_unknown_kind_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("odd.yaml");
        fs::write(&path, "apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: w}\n").unwrap();
        let error = load(&Sandbox::builder().build(), &path).await.unwrap_err();
        assert!(error.to_string().contains("cannot apply example.com/Widget:/w of "), "{error}");
    }
}
