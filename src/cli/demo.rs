//! `skiff demo`: a story of GitOps, played in front of you by a repository, a cluster and the agent.
//!
//! ```text
//! manifests/ ─▶ repository ◀─ commits ── story ── asks ─▶ cluster (sandbox or --kubeconfig)
//!                    └───────── agent (in this process) ─────▶┘
//! ```
//!
//! The story is a list of steps. Each does what an operator would do, waits for what should come of it, and verifies it
//! through the Kubernetes API; the first that does not come true in time ends the story with an error.

mod error;
mod manifests;
mod narrator;
mod stage;
mod story;
#[cfg(test)]
mod tests;
mod world;

use std::{
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use self::{
    error::DemoError,
    narrator::{Narrator, seconds},
    stage::Stage,
    story::STORY,
    world::{BRANCH, SERVICE, World},
};
use super::output::Console;
use crate::sandbox::{ServeOptions, Server};

/// The options of `skiff demo`.
#[derive(Debug, Default, clap::Args)]
pub struct DemoArguments {
    /// Stay up when the story is told, to look around, until Ctrl-C
    #[arg(long)]
    keep: bool,
    /// Play on the cluster of this kubeconfig, in namespaces of its own, instead of a sandbox
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// The kubeconfig's context
    #[arg(long, value_name = "NAME", requires = "kubeconfig")]
    context: Option<String>,
}

/// Plays the story, with spinners where somebody watches `live`, until it is told or Ctrl-C.
///
/// # Errors
/// When a step does not come true: see [`DemoError`].
pub async fn run(arguments: &DemoArguments, console: &mut Console<'_>, live: bool) -> Result<(), DemoError> {
    let stop = super::agent::stop_on_signal().map_err(DemoError::Signals)?;
    play(arguments, &mut Narrator::new(console, live), &stop).await
}

async fn play(
    arguments: &DemoArguments,
    narrator: &mut Narrator<'_, '_>,
    stop: &CancellationToken,
) -> Result<(), DemoError> {
    let mut stage = match &arguments.kubeconfig {
        None => Stage::on_sandbox()?,
        Some(path) => Stage::on_cluster(path, arguments.context.clone()).await?,
    };
    let played = perform(&mut stage, arguments, narrator, stop).await;
    if stage.sandbox.is_none() {
        narrator.say("Cleaning up: the Applications, the namespaces, and the kinds that were installed.")?;
    }
    let ended = stage.end().await;
    played.and(ended)
}

async fn perform(
    stage: &mut Stage,
    arguments: &DemoArguments,
    narrator: &mut Narrator<'_, '_>,
    stop: &CancellationToken,
) -> Result<(), DemoError> {
    let begun = Instant::now();
    tokio::select! {
        prepared = stage.prepare() => prepared?,
        () = stop.cancelled() => return Err(DemoError::Interrupted),
    }
    narrator.say(&introduction(stage, arguments, begun))?;
    let Some(mut agent) = stage.agent.take() else {
        return Err(DemoError::AgentLost);
    };
    let told = tokio::select! {
        told = tell(&mut stage.world, narrator) => told,
        () = stop.cancelled() => Err(DemoError::Interrupted),
        ended = &mut agent => return Err(match ended {
            Ok(Err(error)) => DemoError::Agent(error),
            Ok(Ok(())) | Err(_) => DemoError::AgentLost,
        }),
    };
    stage.agent = Some(agent);
    told?;
    if arguments.keep {
        let _server = look_around(stage, arguments, narrator).await?;
        stop.cancelled().await;
        narrator.say("")?;
    }
    Ok(())
}

/// Plays all steps and sums up.
async fn tell(world: &mut World, narrator: &mut Narrator<'_, '_>) -> Result<(), DemoError> {
    let begun = Instant::now();
    for (index, step) in STORY.iter().enumerate() {
        let running = narrator.begin(step.title);
        match (step.act)(world).await {
            Ok(what_happened) => narrator.came_true(running, &what_happened)?,
            Err(source) => {
                narrator.failed(running)?;
                return Err(DemoError::Step { number: index + 1, title: step.title, source });
            }
        }
    }
    Ok(narrator.summary(begun.elapsed())?)
}

fn introduction(stage: &Stage, arguments: &DemoArguments, begun: Instant) -> String {
    let cluster = match &arguments.kubeconfig {
        None => "a sandbox (an in-memory Kubernetes API server)".to_owned(),
        Some(path) => {
            format!("the cluster of {}, namespaces {}*", path.display(), stage.world.place.agent_namespace)
        }
    };
    format!(
        "Git repository: {}\nCluster:        {cluster}\nAgent:          in this process, ready in {}\n",
        stage.world.repository.display(),
        seconds(begun.elapsed()),
    )
}

/// Opens the sandbox to other programs and says what to do there.
async fn look_around(
    stage: &Stage,
    arguments: &DemoArguments,
    narrator: &mut Narrator<'_, '_>,
) -> Result<Option<Server>, DemoError> {
    let (server, kubeconfig) = match (&stage.sandbox, &arguments.kubeconfig) {
        (Some(sandbox), _) => {
            let server = sandbox.serve(ServeOptions::default()).await?;
            let path = stage.directory().join("kubeconfig");
            let mut kubeconfig = server.kubeconfig();
            let context = kubeconfig.pointer_mut("/contexts/0/context").and_then(Value::as_object_mut);
            if let Some(context) = context {
                context.insert("namespace".to_owned(), stage.world.place.agent_namespace.clone().into());
            }
            fs::write(&path, kubeconfig.to_string()).map_err(DemoError::Directory)?;
            (Some(server), path)
        }
        (None, path) => (None, path.clone().unwrap_or_default()),
    };
    narrator.say(&hints(&stage.world, &kubeconfig, arguments.context.as_deref()))?;
    Ok(server)
}

fn hints(world: &World, kubeconfig: &Path, context: Option<&str>) -> String {
    let namespace = &world.place.agent_namespace;
    let (production, staging) = (world.place.namespace("production"), world.place.namespace("staging"));
    let context = context.map(|context| format!(" --context {context}")).unwrap_or_default();
    let kubectl = format!("kubectl{context}");
    let app = format!("skiff app{context} -N {namespace}");
    let rollback = format!("skiff rollback{context} -N {namespace}");
    format!(
        "
Everything stays up. In another terminal:

  export KUBECONFIG={kubeconfig}
  {kubectl} get applications,appprojects -n {namespace}
  {kubectl} get deployments,pods,services -n {production}
  {app} list
  {app} get order-service-dev
  {app} history order-service-dev

Make it drift, and see it put back:

  {kubectl} scale deployment {SERVICE} -n {production} --replicas 9
  {kubectl} delete service {SERVICE} -n {staging}

Commit to the branch {BRANCH}, and see it applied:

  git clone {repository} manifests && cd manifests
  sed -i 's/newTag: .*/newTag: 6.9.1/' apps/order-service/overlays/production/kustomization.yaml
  git commit -am 'order-service: 6.9.1 in production' && git push

And take it back, by a commit that is pushed:

  {rollback} order-service-production --dry-run
  {rollback} order-service-production

Ctrl-C ends it and removes all of it.",
        kubeconfig = kubeconfig.display(),
        repository = world.repository.display(),
    )
}
