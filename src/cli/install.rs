//! `skiff install`: what Skiff needs in a cluster, printed or applied.
//!
//! ```text
//! deploy/ (built into the binary) + options as a kustomization ──render──▶ objects ──▶ printed │ applied server-side
//! ```
//!
//! It is the Kustomize tree of the repository and nothing else, rendered by Skiff's own engine: what the command applies,
//! `kubectl apply -k deploy/install/default` applies too. Applying it again is an upgrade.

mod argo_cd;
mod error;
mod files;
mod tree;

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use clap::ValueEnum;
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
    core::DynamicObject,
};

pub use self::error::InstallError;
use crate::{
    api::names,
    cli::{
        app::{Connection, Session, request},
        output::Console,
    },
    cluster::{
        ClusterError, Timeouts,
        discovery::{self, KindInfo},
    },
    object::{Gvk, Object, Scope, yaml},
};

/// The group of the objects that only a Prometheus operator understands.
const MONITORING: &str = "monitoring.coreos.com";
const DEFINITION: &str = "CustomResourceDefinition";
/// How long the kinds of new definitions may take.
const KIND_TIMEOUT: Duration = Duration::from_secs(30);
/// What a cluster administrator does once, before an agent can run that is no such administrator's.
const ADMINISTRATORS_PART: &str = "skiff crds | kubectl apply --server-side -f -";

/// What the agent is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum InstallMode {
    /// Looks after Applications: writes statuses and syncs.
    Active,
    /// Runs beside an Argo CD and writes nothing but the ConfigMap skiff-shadow: where its verdicts differ.
    Shadow,
}

/// The options of `skiff install`.
#[derive(Debug, clap::Args)]
pub struct InstallOptions {
    /// The namespace of the agent, its settings and its projects
    #[arg(long, value_name = "NAMESPACE", default_value = names::DEFAULT_NAMESPACE)]
    namespace: String,

    /// The agent's image
    #[arg(long, value_name = "IMAGE", default_value = concat!("skiff:", env!("CARGO_PKG_VERSION")))]
    image: String,

    /// What the agent is to do
    #[arg(long, value_enum, default_value = "active")]
    mode: InstallMode,

    /// Two replicas: one leads, the other takes over within seconds
    #[arg(long)]
    ha: bool,

    /// Let the agent look into its own namespace only: it needs no ClusterRole
    #[arg(long, conflicts_with = "least_privilege")]
    namespaced: bool,

    /// With --namespaced: further namespaces that it may deploy to
    #[arg(long, value_name = "NAMESPACES", value_delimiter = ',', requires = "namespaced")]
    target_namespaces: Vec<String>,

    /// Let the agent deploy the ordinary kinds of workloads only, in place of everything
    #[arg(long)]
    least_privilege: bool,

    /// Leave out what needs the Prometheus operator: ServiceMonitor and PrometheusRules
    #[arg(long)]
    without_monitoring: bool,

    /// Print the objects and ask no cluster
    #[arg(long)]
    dry_run: bool,

    /// The kubeconfig file [default: $KUBECONFIG, ~/.kube/config, or the pod's service account]
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,

    /// The kubeconfig's context
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
}

/// Prints or applies the objects.
///
/// # Errors
/// [`InstallError`].
pub async fn run(options: &InstallOptions, console: &mut Console<'_>) -> Result<(), InstallError> {
    if options.mode == InstallMode::Shadow && (options.ha || options.namespaced || options.least_privilege) {
        return Err(InstallError::Shadow);
    }
    let objects = tree::objects(options)?;
    if options.dry_run {
        if options.namespaced {
            writeln!(console.out, "# Once, by a cluster administrator: {ADMINISTRATORS_PART}")?;
        }
        for (position, object) in objects.iter().enumerate() {
            let separator = if position > 0 { "---\n" } else { "" };
            write!(console.out, "{separator}{}", yaml::to_string(object.value()))?;
        }
        return Ok(console.out.flush()?);
    }
    let connection = Connection {
        kubeconfig: options.kubeconfig.clone(),
        context: options.context.clone(),
        app_namespace: None,
    };
    let session = Session::connect(&connection).await.map_err(Box::new)?;
    let client = session.client();
    let argo_cd = argo_cd::running(&client, options).await?;
    match (options.mode, argo_cd) {
        // Two controllers for the same Applications would undo each other's work.
        (InstallMode::Active, Some(running)) => return Err(InstallError::ArgoCdRuns(running)),
        (InstallMode::Shadow, None) => {
            console.line(
                "note       no Argo CD controller is seen here: there are no verdicts to compare with",
            )?;
        }
        (InstallMode::Active, None) | (InstallMode::Shadow, Some(_)) => {}
    }
    install(&client, objects, options, console).await?;
    let (namespace, image) = (&options.namespace, &options.image);
    let (deployment, report) = match options.mode {
        InstallMode::Active => ("skiff-agent", String::new()),
        InstallMode::Shadow => (
            "skiff-shadow",
            format!(", and 'kubectl -n {namespace} get configmap skiff-shadow -o yaml' shows its report"),
        ),
    };
    console.line(&format!(
        "the agent is to run as {image} in namespace {namespace}: 'kubectl -n {namespace} rollout status \
         deployment/{deployment}' waits for it{report}"
    ))?;
    Ok(())
}

/// What became of an object.
#[derive(Clone, Copy)]
enum Outcome {
    Created,
    Changed,
    Unchanged,
    Kept(&'static str),
}

/// Applies objects one after the other.
async fn install(
    client: &Client,
    objects: Vec<Object>,
    options: &InstallOptions,
    console: &mut Console<'_>,
) -> Result<(), InstallError> {
    let kinds = discovery::discover(client, Timeouts::default()).await?;
    let brings_definitions = objects.iter().any(|object| object.kind() == DEFINITION);
    if !brings_definitions {
        let own = |kind| kinds.get(&Gvk::new(names::GROUP, names::VERSION, kind)).is_ok();
        if !(own("Application") && own("AppProject")) {
            return Err(InstallError::NoDefinitions);
        }
        for namespace in std::iter::once(&options.namespace).chain(&options.target_namespaces) {
            is_there(client, namespace).await?;
        }
    }
    let mut passed_over: BTreeMap<String, usize> = BTreeMap::new();
    for object in objects {
        let info = match kinds.get(&object.gvk()) {
            Ok(info) => info,
            Err(ClusterError::UnknownKind { .. }) if object.group() == MONITORING => {
                *passed_over.entry(object.kind().to_owned()).or_default() += 1;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        let shown = object.key().to_string();
        let applied = match apply(client, info, &object).await {
            Err(InstallError::Cluster(source))
                if options.namespaced && is_role(&object) && source.is_forbidden() =>
            {
                return Err(InstallError::MayNotGrant { object: shown, source: source.into() });
            }
            applied => applied?,
        };
        let said = match applied {
            Outcome::Created => format!("created    {shown}"),
            Outcome::Changed => format!("changed    {shown}"),
            Outcome::Unchanged => format!("unchanged  {shown}"),
            Outcome::Kept(why) => format!("kept       {shown}: {why}"),
        };
        console.line(&said)?;
    }
    for (kind, count) in passed_over {
        console.line(&format!("left out   {count} {kind}: this cluster has no Prometheus operator"))?;
    }
    Ok(())
}

/// Makes sure of a namespace that is not brought. Whoever may not look is told by what follows.
async fn is_there(client: &Client, namespace: &str) -> Result<(), InstallError> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    match request("get", namespace, namespaces.get_opt(namespace)).await {
        Ok(None) => Err(InstallError::NoNamespace(namespace.to_owned())),
        Ok(Some(_)) => Ok(()),
        Err(error) if error.is_forbidden() => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn is_role(object: &Object) -> bool {
    matches!(object.kind(), "Role" | "RoleBinding")
}

/// Applies one object. A namespace that is there stays as it is, and a definition that somebody else manages.
async fn apply(client: &Client, info: &KindInfo, object: &Object) -> Result<Outcome, InstallError> {
    let api: Api<DynamicObject> = match info.scope {
        Scope::Cluster => Api::all_with(client.clone(), &info.resource),
        Scope::Namespaced => Api::namespaced_with(client.clone(), object.namespace(), &info.resource),
    };
    let shown = object.key().to_string();
    let before = request("get", &shown, api.get_opt(object.name())).await?;
    if before.is_some() && object.kind() == "Namespace" {
        return Ok(Outcome::Kept("it is there already"));
    }
    let is_definition = object.kind() == DEFINITION;
    let mut parameters = PatchParams::apply(names::FIELD_MANAGER);
    parameters.force = !is_definition;
    let patch = Patch::Apply(object.value());
    let after = match request("apply", &shown, api.patch(object.name(), &parameters, &patch)).await {
        Ok(after) => after,
        Err(ClusterError::Refused { code: 409, .. }) if is_definition && before.is_some() => {
            return Ok(Outcome::Kept("somebody else manages it"));
        }
        Err(error) => return Err(error.into()),
    };
    if is_definition {
        served(client, object).await?;
    }
    Ok(match before {
        None => Outcome::Created,
        Some(before) if before.metadata.resource_version == after.metadata.resource_version => {
            Outcome::Unchanged
        }
        Some(_) => Outcome::Changed,
    })
}

/// Waits until the kind of a definition can be used, so that an agent which starts at once finds it.
async fn served(client: &Client, definition: &Object) -> Result<(), InstallError> {
    use kube::runtime::wait::{await_condition, conditions::is_crd_established};
    let api = Api::all(client.clone());
    let established = await_condition(api, definition.name(), is_crd_established());
    match tokio::time::timeout(KIND_TIMEOUT, established).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(InstallError::NotServed(definition.name().to_owned())),
    }
}
