//! Errors of `skiff install`.

use std::io;

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
        "Argo CD's controller runs ({namespace}/{name}), and two controllers for the same Applications would undo each \
         other's work: stop it with 'kubectl -n {namespace} scale statefulset/{name} --replicas=0', then install again"
    )]
    ArgoCdRuns {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
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
            Self::Image(_) | Self::Render(_) | Self::ArgoCdRuns { .. } => ErrorKind::User,
            Self::Connect(error) => error.kind(),
            Self::Cluster(error) => error.kind(),
            Self::NotServed(_) => ErrorKind::Transient,
            Self::Path(_) => ErrorKind::Bug,
            Self::Output(_) => ErrorKind::Configuration,
        }
    }
}
