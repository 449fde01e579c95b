//! `skiff install`: what Skiff needs in a cluster, printed or applied.
//!
//! ```text
//! deploy/ (built into the binary) + options as a kustomization ──render──▶ objects ──▶ printed │ applied server-side
//! ```
//!
//! It is the Kustomize tree of the repository and nothing else, rendered by Skiff's own engine: what the command applies,
//! `kubectl apply -k deploy/install/default` applies too. Applying it again is an upgrade.

mod error;
mod files;

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use kube::{
    Api, Client,
    api::{ListParams, Patch, PatchParams},
    core::DynamicObject,
};
use serde_json::json;

pub use self::error::InstallError;
use self::files::FILES;
use crate::{
    api::{ApplicationSource, names},
    cli::{
        app::{Connection, Session, request},
        output::Console,
    },
    cluster::{
        ClusterError, Timeouts,
        discovery::{self, KindInfo},
    },
    files::{FileLimits, Files, MemoryTree, RepoPath},
    object::{Object, Scope, yaml},
    render::{RenderContext, render},
    sync::order::kind_rank,
};

/// Where the options stand among the files of `deploy/`.
const CHOSEN: &str = "install/chosen";
/// The group of the objects that only a Prometheus operator understands.
const MONITORING: &str = "monitoring.coreos.com";
/// How long the kinds of new definitions may take.
const KIND_TIMEOUT: Duration = Duration::from_secs(30);
/// The name of the label that tells what Argo CD's parts are.
const ARGO_CONTROLLER: &str = "app.kubernetes.io/name=argocd-application-controller";

/// The options of `skiff install`.
#[derive(Debug, clap::Args)]
pub struct InstallOptions {
    /// The namespace of the agent, its settings and its projects
    #[arg(long, value_name = "NAMESPACE", default_value = names::DEFAULT_NAMESPACE)]
    namespace: String,

    /// The agent's image
    #[arg(long, value_name = "IMAGE", default_value = concat!("skiff:", env!("CARGO_PKG_VERSION")))]
    image: String,

    /// Two replicas: one leads, the other takes over within seconds
    #[arg(long)]
    ha: bool,

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
    let objects = objects(options)?;
    if options.dry_run {
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
    install(&session.client(), objects, console).await?;
    let (namespace, image) = (&options.namespace, &options.image);
    console.line(&format!(
        "the agent is to run as {image} in namespace {namespace}: 'kubectl -n {namespace} rollout status \
         deployment/skiff-agent' waits for it"
    ))?;
    Ok(())
}

/// The objects that the options ask for, in the order in which they are applied.
fn objects(options: &InstallOptions) -> Result<Vec<Object>, InstallError> {
    let (name, tag, digest) = image(&options.image)?;
    let mut resources = vec!["../../crds", "../../agent", "../../grafana"];
    if !options.without_monitoring {
        resources.push("../../prometheus");
    }
    let components: Vec<_> = [
        ("../../components/cluster-wide", !options.least_privilege),
        ("../../components/high-availability", options.ha),
    ]
    .into_iter()
    .filter_map(|(component, is_wanted)| is_wanted.then_some(component))
    .collect();
    let mut chosen = json!({
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": resources,
        "components": components,
        "images": [{ "name": "skiff", "newName": name, "newTag": tag, "digest": digest }],
    });
    if options.namespace != names::DEFAULT_NAMESPACE
        && let Some(chosen) = chosen.as_object_mut()
    {
        chosen.insert("namespace".to_owned(), options.namespace.clone().into());
    }
    let mut tree = MemoryTree::new(FILES.iter().map(|file| (file.path, file.text)))?;
    tree.insert(RepoPath::parse(&format!("{CHOSEN}/kustomization.yaml"))?, yaml::to_string(&chosen));
    let files = Files::new(Arc::new(tree), FileLimits::default());
    let source = ApplicationSource { path: CHOSEN.to_owned(), ..Default::default() };
    let rendered = render(&files, &source, &RenderContext::default());
    let rendered = rendered.map_err(|error| InstallError::Render(Box::new(error)))?;
    let mut objects: Vec<Object> = rendered.objects.into_iter().map(|rendered| rendered.object).collect();
    objects.sort_by_key(|object| kind_rank(object.kind()));
    Ok(objects)
}

/// Name, tag and digest of an image.
fn image(text: &str) -> Result<(&str, &str, &str), InstallError> {
    let (rest, digest) = text.split_once('@').unwrap_or((text, ""));
    let name_begin = rest.rfind('/').map_or(0, |slash| slash + 1);
    let (name, tag) = match rest.rfind(':').filter(|colon| *colon >= name_begin) {
        Some(colon) => (rest.get(..colon).unwrap_or_default(), rest.get(colon + 1..).unwrap_or_default()),
        None => (rest, ""),
    };
    let is_sound = |part: &str| !part.contains(|c: char| c.is_whitespace() || c.is_control());
    if name.is_empty() || ![name, tag, digest].into_iter().all(is_sound) || rest.ends_with(':') {
        return Err(InstallError::Image(text.to_owned()));
    }
    Ok((name, tag, digest))
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
    console: &mut Console<'_>,
) -> Result<(), InstallError> {
    refuse_beside_argo_cd(client).await?;
    let kinds = discovery::discover(client, Timeouts::default()).await?;
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
        let said = match apply(client, info, &object).await? {
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

/// Two controllers for the same Applications would undo each other's work.
async fn refuse_beside_argo_cd(client: &Client) -> Result<(), InstallError> {
    let controllers: Api<k8s_openapi::api::apps::v1::StatefulSet> = Api::all(client.clone());
    let parameters = ListParams::default().labels(ARGO_CONTROLLER);
    let found = match request("list", "StatefulSets", controllers.list(&parameters)).await {
        Ok(found) => found,
        // Whoever may not see them is told what stands in the way by what follows.
        Err(error) if error.is_forbidden() => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let runs =
        found.items.into_iter().find(|it| it.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1) > 0);
    match runs {
        None => Ok(()),
        Some(controller) => Err(InstallError::ArgoCdRuns {
            namespace: controller.metadata.namespace.unwrap_or_default(),
            name: controller.metadata.name.unwrap_or_default(),
        }),
    }
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
    let is_definition = object.kind() == "CustomResourceDefinition";
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
