//! `skiff agent`: runs the controller, its metrics and its probes until it is told to stop.

mod credentials;

use std::{io::IsTerminal, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use clap::ValueEnum;
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use tokio::{net::TcpListener, signal::unix::SignalKind};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use self::credentials::OwnCredentials;
use crate::{
    api::names,
    cli::output::colours_wanted,
    cluster::Reach,
    controller::{Agent, AgentError, AgentOptions, Mode},
    error::{Classified, ErrorKind},
    metrics::{
        Metrics, MetricsOptions,
        server::{Check, Probes, router, serve},
    },
};

/// How logs are written.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum LogFormat {
    /// One line of text an event.
    Text,
    /// One JSON object an event.
    Json,
}

/// What the agent does about what it finds.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum ModeArgument {
    /// Writes statuses and syncs.
    Active,
    /// Runs beside an Argo CD and writes nothing but the ConfigMap skiff-shadow: where its verdicts differ.
    Shadow,
}

/// The options of `skiff agent`.
#[derive(Debug, clap::Args)]
pub struct AgentArguments {
    /// The kubeconfig file [default: the pod's service account, else $KUBECONFIG, else ~/.kube/config]
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,

    /// The kubeconfig's context
    #[arg(long, value_name = "NAME")]
    context: Option<String>,

    /// The namespace of the agent, its settings and its projects
    #[arg(long, env = "ARGOCD_NAMESPACE", default_value = names::DEFAULT_NAMESPACE, value_name = "NAMESPACE")]
    namespace: String,

    /// What the agent does about what it finds
    #[arg(long, value_enum, default_value = "active", env = "SKIFF_MODE")]
    mode: ModeArgument,

    /// Look into the agent's own namespace only: it needs no ClusterRole
    #[arg(long)]
    namespaced: bool,

    /// With --namespaced: further namespaces to deploy to
    #[arg(long, value_name = "NAMESPACES", value_delimiter = ',', requires = "namespaced")]
    target_namespaces: Vec<String>,

    /// Where mirrors of repositories are kept
    #[arg(long, env = "SKIFF_CACHE", default_value = "/var/cache/skiff", value_name = "DIR")]
    cache: PathBuf,

    /// Where metrics and probes are served
    #[arg(long, default_value = "0.0.0.0:8082", value_name = "ADDRESS")]
    metrics_address: SocketAddr,

    /// Time between two looks at a repository's references, instead of timeout.reconciliation
    #[arg(long, value_parser = seconds, value_name = "SECONDS")]
    poll_interval: Option<Duration>,

    /// How logs are written
    #[arg(long, value_enum, default_value = "text", env = "ARGOCD_APPLICATION_CONTROLLER_LOGFORMAT")]
    log_format: LogFormat,

    /// What is logged: error, warn, info, debug, trace, or directives for single modules
    #[arg(
        long,
        default_value = "info",
        env = "ARGOCD_APPLICATION_CONTROLLER_LOGLEVEL",
        value_name = "LEVEL"
    )]
    log_level: String,

    /// Labels of Applications that become labels of the metric argocd_app_labels
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    metrics_application_labels: Vec<String>,

    /// Condition types that are counted in the metric argocd_app_condition
    #[arg(long, value_delimiter = ',', value_name = "TYPES")]
    metrics_application_conditions: Vec<String>,

    /// Labels of clusters' Secrets that become labels of the metric argocd_cluster_labels
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    metrics_cluster_labels: Vec<String>,

    /// The name of this replica in the election [default: 'skiff-' and a random part]
    #[arg(long, env = "POD_NAME", value_name = "NAME")]
    identity: Option<String>,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "give a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

/// Why the agent could not run.
#[derive(Debug, thiserror::Error)]
pub enum AgentCommandError {
    /// There is no usable kubeconfig.
    #[error("cannot find the cluster: pass --kubeconfig, or run in a pod with a service account")]
    Config(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The kubeconfig has another program make the credentials.
    #[error(
        "cannot use the kubeconfig's user '{user}': its credentials come from another program ({means}), and the agent runs \
         none; give it a user with a token or a client certificate, such as a service account's"
    )]
    CredentialProgram {
        /// The user of the chosen context.
        user: String,
        /// The field that names the program.
        means: &'static str,
    },
    /// The address for metrics cannot be listened on.
    #[error("cannot serve metrics on {address}: choose another --metrics-address")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The cache directory cannot be used.
    #[error("cannot use {} for mirrors: choose another --cache", path.display())]
    Cache {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The log level cannot be read.
    #[error("--log-level: cannot read '{level}'")]
    LogLevel {
        /// What was given.
        level: String,
        /// Why.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    /// The metrics cannot be set up.
    #[error("--metrics-application-labels")]
    Metrics(#[source] prometheus::Error),
    /// Signals cannot be received.
    #[error("cannot receive signals")]
    Signals(#[source] std::io::Error),
    /// The agent itself.
    #[error(transparent)]
    Agent(#[from] AgentError),
}

impl Classified for AgentCommandError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Agent(AgentError::Cluster(error)) => error.kind(),
            _ => ErrorKind::Configuration,
        }
    }
}

/// Runs the agent until SIGTERM or SIGINT.
///
/// # Errors
/// When it cannot begin: see [`AgentCommandError`].
pub async fn run(arguments: AgentArguments) -> Result<(), AgentCommandError> {
    start_logging(arguments.log_format, &arguments.log_level)?;
    let (client, own_credentials) = connect(arguments.kubeconfig, arguments.context).await?;
    std::fs::create_dir_all(&arguments.cache)
        .map_err(|source| AgentCommandError::Cache { path: arguments.cache.clone(), source })?;
    let metrics = Arc::new(
        Metrics::new(&MetricsOptions {
            application_labels: arguments.metrics_application_labels,
            application_conditions: arguments.metrics_application_conditions,
            cluster_labels: arguments.metrics_cluster_labels,
        })
        .map_err(AgentCommandError::Metrics)?,
    );
    let identity = arguments.identity.unwrap_or_else(|| format!("skiff-{}", uuid::Uuid::new_v4()));
    let mut options = AgentOptions::new(&arguments.namespace, identity, arguments.cache);
    options.poll_interval = arguments.poll_interval;
    if arguments.namespaced {
        let own = std::iter::once(arguments.namespace.clone());
        options.reach = Reach::namespaces(own.chain(arguments.target_namespaces));
    }
    options.mode = match arguments.mode {
        ModeArgument::Active => Mode::Active,
        ModeArgument::Shadow => Mode::Shadow,
    };
    let agent = Agent::new(client, options, Arc::clone(&metrics));

    let stop = stop_on_signal().map_err(AgentCommandError::Signals)?;
    let address = arguments.metrics_address;
    let listener =
        TcpListener::bind(address).await.map_err(|source| AgentCommandError::Listen { address, source })?;
    // Port 0 takes a free one.
    let address = listener.local_addr().unwrap_or(address);
    let is_ready = agent.readiness();
    let ready = Check {
        name: "controller",
        ask: Arc::new(move || if is_ready() { Ok(()) } else { Err("still reading the cluster".to_owned()) }),
    };
    let probes = Probes { liveness: Vec::new(), readiness: vec![ready] };
    let expiries = tokio::spawn(credentials::watch(own_credentials, Arc::clone(&metrics), stop.clone()));
    let server = tokio::spawn(serve(listener, router(metrics, probes), stop.clone()));
    tracing::info!(%address, namespace = arguments.namespace, version = env!("CARGO_PKG_VERSION"), "skiff agent begins");
    let result = agent.run(stop.clone()).await;
    stop.cancel();
    server.abort();
    expiries.abort();
    tracing::info!("skiff agent has ended");
    Ok(result?)
}

async fn connect(
    kubeconfig: Option<PathBuf>,
    context: Option<String>,
) -> Result<(Client, OwnCredentials), AgentCommandError> {
    let failed = |error: Box<dyn std::error::Error + Send + Sync>| AgentCommandError::Config(error);
    let in_cluster = if kubeconfig.is_none() { Config::incluster().ok() } else { None };
    let config = match in_cluster {
        Some(config) => config,
        None => {
            let kubeconfig = match kubeconfig {
                Some(path) => Kubeconfig::read_from(path),
                None => Kubeconfig::read(),
            };
            let kubeconfig = kubeconfig.map_err(|error| failed(error.into()))?;
            refuse_credential_programs(&kubeconfig, context.as_deref())?;
            let options = KubeConfigOptions { context, ..KubeConfigOptions::default() };
            Config::from_custom_kubeconfig(kubeconfig, &options)
                .await
                .map_err(|error| failed(error.into()))?
        }
    };
    let own = OwnCredentials::of(&config.auth_info);
    Ok((Client::try_from(config).map_err(|error| failed(error.into()))?, own))
}

/// The client would run them without asking.
fn refuse_credential_programs(
    kubeconfig: &Kubeconfig,
    context: Option<&str>,
) -> Result<(), AgentCommandError> {
    let chosen = context.or(kubeconfig.current_context.as_deref());
    let context = kubeconfig.contexts.iter().find(|context| Some(context.name.as_str()) == chosen);
    let user =
        context.and_then(|context| context.context.as_ref()).and_then(|context| context.user.as_deref());
    let found = kubeconfig.auth_infos.iter().find(|found| Some(found.name.as_str()) == user);
    let Some((user, credentials)) = found.and_then(|found| Some((&found.name, found.auth_info.as_ref()?)))
    else {
        return Ok(());
    };
    let means = match (&credentials.exec, &credentials.auth_provider) {
        (Some(_), _) => "exec",
        (None, Some(_)) => "auth-provider",
        (None, None) => return Ok(()),
    };
    Err(AgentCommandError::CredentialProgram { user: user.clone(), means })
}

/// A token that is cancelled by SIGTERM or SIGINT.
pub(super) fn stop_on_signal() -> std::io::Result<CancellationToken> {
    let stop = CancellationToken::new();
    let mut terminate = tokio::signal::unix::signal(SignalKind::terminate())?;
    let mut interrupt = tokio::signal::unix::signal(SignalKind::interrupt())?;
    let stopped = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stopped.cancel();
    });
    Ok(stop)
}

/// What is logged at a level, or by several directives as of `RUST_LOG`.
///
/// The client's own lines on answers are left out at every level: they hold what the API server said, which may quote
/// a Secret.
///
/// # Errors
/// When a directive cannot be read.
pub fn log_filter(level: &str) -> Result<EnvFilter, tracing_subscriber::filter::ParseError> {
    EnvFilter::builder().parse(format!("{level},kube_client::client=info"))
}

fn start_logging(format: LogFormat, level: &str) -> Result<(), AgentCommandError> {
    let filter = log_filter(level)
        .map_err(|source| AgentCommandError::LogLevel { level: level.to_owned(), source })?;
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(colours_wanted(std::io::stderr().is_terminal()))
        .with_writer(std::io::stderr);
    match format {
        LogFormat::Text => logs.init(),
        LogFormat::Json => logs.json().flatten_event(true).init(),
    }
    Ok(())
}
