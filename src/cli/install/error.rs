//! Errors of `skiff install`.

use std::io;

use super::{ADMINISTRATORS_PART, argo_cd::Running};
use crate::{
    cli::app::AppError,
    cluster::ClusterError,
    error::{Classified, ErrorKind},
    files::PathError,
    render::RenderError,
};

/// Why Skiff could not be installed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// The image's name is none.
    #[error("--image '{0}' is no image: write NAME[:TAG][@DIGEST]")]
    Image(String),
    /// There is no usable kubeconfig.
    #[error(transparent)]
    Connect(#[from] Box<AppError>),
    /// The objects cannot be made, for example because a name is none.
    #[error("cannot make the objects: check --namespace and --image")]
    Render(#[source] Box<RenderError>),
    /// A path of the tree is none.
    #[error("the files of this binary")]
    Path(#[from] PathError),
    /// Argo CD's controller looks after the same Applications.
    #[error(
        "Argo CD's controller runs ({0}), and two controllers for the same Applications would undo each other's work: \
         'skiff install --mode shadow' runs beside it and shows what Skiff would judge differently; to take over, stop it \
         with 'kubectl -n {namespace} scale {workload} --replicas=0' and install again",
        namespace = .0.namespace,
        workload = .0.workload
    )]
    ArgoCdRuns(Running),
    /// Options that mean nothing in shadow mode.
    #[error(
        "--mode shadow has no variants: it reads everything and writes one ConfigMap; leave out --ha, --namespaced and --least-privilege"
    )]
    Shadow,
    /// A namespace's name is none.
    #[error("--target-namespaces: '{0}' is no name of a namespace")]
    Namespace(String),
    /// A namespace is not there, and these options do not bring it.
    #[error("namespace '{0}' does not exist: 'kubectl create namespace {0}' makes it, or somebody who may")]
    NoNamespace(String),
    /// The kinds are not there, and these options do not bring them.
    #[error(
        "the cluster has no kinds Application and AppProject (argoproj.io/v1alpha1), and definitions are a cluster \
         administrator's part: '{ADMINISTRATORS_PART}', once"
    )]
    NoDefinitions,
    /// Permissions that one does not have cannot be given to others.
    #[error(
        "{object} may give no permission that you do not have: have a cluster administrator apply what 'skiff install \
         --namespaced --dry-run' prints"
    )]
    MayNotGrant {
        /// The Role or its binding.
        object: String,
        /// What the API server says.
        #[source]
        source: Box<ClusterError>,
    },
    /// The API server refused or did not answer.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// A kind that was defined cannot be used.
    #[error("the definition {0} is applied, but its kind is not served: 'kubectl describe crd {0}' says why")]
    NotServed(String),
    /// The output is gone.
    #[error("cannot write the output")]
    Output(#[from] io::Error),
}

impl Classified for InstallError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Image(_)
            | Self::Render(_)
            | Self::ArgoCdRuns(_)
            | Self::Shadow
            | Self::Namespace(_)
            | Self::NoDefinitions
            | Self::NoNamespace(_)
            | Self::MayNotGrant { .. } => ErrorKind::User,
            Self::Connect(error) => error.kind(),
            Self::Cluster(error) => error.kind(),
            Self::NotServed(_) => ErrorKind::Transient,
            Self::Path(_) => ErrorKind::Bug,
            Self::Output(_) => ErrorKind::Configuration,
        }
    }
}
