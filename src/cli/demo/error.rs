//! What can go wrong in a demonstration.

use std::{io, time::Duration};

use crate::{
    controller::AgentError,
    error::{Classified, ErrorKind},
    files::PathError,
    git::GitError,
    object::yaml::YamlError,
    sandbox::ServeError,
};

/// Why a step of the story did not come true.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// What the step waits for did not happen.
    #[error("not so after {} s: {last}", limit.as_secs())]
    NotInTime {
        /// For how long it was waited.
        limit: Duration,
        /// What was missing at the end.
        last: String,
    },
    /// Something happened that must not.
    #[error("{0}")]
    Wrong(String),
    /// A manifest is not as the story expects it.
    #[error("cannot edit {path}: it has no {expected:?}")]
    Edit {
        /// The manifest.
        path: String,
        /// What was to be replaced.
        expected: String,
    },
    /// A command did not do what it was typed for.
    #[error("'skiff {line}'")]
    Command {
        /// Its arguments.
        line: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A manifest's path cannot be used in the repository.
    #[error(transparent)]
    Path(#[from] PathError),
    /// A manifest is no YAML.
    #[error("cannot read {path}")]
    Yaml {
        /// The manifest.
        path: String,
        /// Where and why.
        #[source]
        source: YamlError,
    },
    /// A commit could not be made.
    #[error(transparent)]
    Git(#[from] GitError),
    /// The API server refused what the story does.
    #[error("cannot {action}")]
    Api {
        /// What was to be done.
        action: String,
        /// What the API server said.
        #[source]
        source: Box<kube::Error>,
    },
}

impl StepError {
    /// An error of the API server while something was done.
    pub(super) fn api(action: impl Into<String>) -> impl FnOnce(kube::Error) -> Self {
        let action = action.into();
        move |source| Self::Api { action, source: Box::new(source) }
    }
}

/// Why the demonstration ended early.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// There is no room for the repository.
    #[error(
        "cannot use a temporary directory for the Git repository: set TMPDIR to one that you may write to"
    )]
    Directory(#[source] io::Error),
    /// The kubeconfig is of no use.
    #[error("cannot use the kubeconfig {path}")]
    Kubeconfig {
        /// The kubeconfig file.
        path: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The cluster cannot be prepared.
    #[error("cannot prepare the cluster")]
    Prepare(#[source] StepError),
    /// Something of the demonstration is left on the cluster.
    #[error("cannot clean up: remove what is left with 'kubectl delete namespace {namespaces}'")]
    CleanUp {
        /// The namespaces of the demonstration.
        namespaces: String,
        /// Why.
        #[source]
        source: StepError,
    },
    /// The sandbox cannot be served.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// The metrics of the agent cannot be set up.
    #[error("cannot start the agent")]
    Metrics(#[source] prometheus::Error),
    /// The agent ended.
    #[error("the agent ended in the middle of the story")]
    Agent(#[source] AgentError),
    /// The agent ended without saying why.
    #[error("the agent ended in the middle of the story")]
    AgentLost,
    /// A step did not come true.
    #[error("step {number} did not come true ({title})")]
    Step {
        /// Its number.
        number: usize,
        /// What should have happened.
        title: &'static str,
        /// What happened instead.
        #[source]
        source: StepError,
    },
    /// Somebody ended it.
    #[error("interrupted")]
    Interrupted,
    /// Signals cannot be received.
    #[error("cannot receive signals")]
    Signals(#[source] io::Error),
    /// Standard output is gone.
    #[error("cannot print")]
    Print(#[from] io::Error),
}

impl Classified for DemoError {
    /// Always the kind whose exit code is 1: the story came true, or it did not.
    fn kind(&self) -> ErrorKind {
        ErrorKind::User
    }
}
