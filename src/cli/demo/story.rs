//! The story: what an operator does, and what comes of it. Each step gives the sentence that tells what happened.

use futures::future::LocalBoxFuture;
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Service},
    policy::v1::PodDisruptionBudget,
};
use tokio::time::Instant;

use super::{
    error::StepError,
    manifests::{MANIFESTS, ROOT_APPLICATION},
    narrator::seconds,
    world::{ENVIRONMENTS, SERVICE, Versions, World, application_of, replicas},
};
use crate::{
    api::{SyncStatusCode, names},
    error::chain,
    files::RepoPath,
    git::{CommitId, writer::Change},
};

const OLD_TAG: &str = "6.8.0";
const NEW_TAG: &str = "6.9.0";
const DEV: &str = "apps/order-service/overlays/dev/kustomization.yaml";
const STAGING: &str = "apps/order-service/overlays/staging/kustomization.yaml";
const DEV_APPLICATION: &str = "applications/order-service-dev.yaml";
const DEBUG_SERVICE: &str = "apps/order-service/overlays/staging/debug-service.yaml";
const DEPLOYMENT: &str = "apps/order-service/base/deployment.yaml";

/// A step of the story.
pub(super) struct Step {
    /// What should come true.
    pub(super) title: &'static str,
    /// Makes it so, and verifies it against the cluster.
    pub(super) act: for<'a> fn(&'a mut World) -> LocalBoxFuture<'a, Result<String, StepError>>,
}

/// All steps, in order.
pub(super) const STORY: &[Step] = &[
    Step { title: "First sync of three environments", act: |world| Box::pin(first_sync(world)) },
    Step { title: "A commit changes an image", act: |world| Box::pin(new_image(world)) },
    Step { title: "Scaled by hand and put back", act: |world| Box::pin(scaled_by_hand(world)) },
    Step { title: "A file is removed and its object pruned", act: |world| Box::pin(removed_file(world)) },
    Step {
        title: "A broken commit is an error and harms nothing",
        act: |world| Box::pin(broken_commit(world)),
    },
    Step { title: "git revert takes the error away", act: |world| Box::pin(repaired(world)) },
    Step { title: "skiff rollback takes the release back", act: |world| Box::pin(rolled_back(world)) },
    Step { title: "skiff app rollback goes back in the history", act: |world| Box::pin(went_back(world)) },
];

async fn first_sync(world: &mut World) -> Result<String, StepError> {
    let mut files = Vec::new();
    for manifest in MANIFESTS {
        let text = world.place.adapt(manifest.text);
        files.push(Change::Write(RepoPath::parse(manifest.path)?, text.into_bytes()));
    }
    let commit = world.commit("Declare the order-service in three environments", &files)?;
    let root = MANIFESTS.iter().find(|manifest| manifest.path == ROOT_APPLICATION);
    let root = world.place.adapt(root.map_or("", |manifest| manifest.text));
    let begun = Instant::now();
    world.apply_application(ROOT_APPLICATION, &root).await?;
    let mut pods = Vec::new();
    for environment in ENVIRONMENTS {
        let deployment = world.until(async || world.is_rolled_out(environment, OLD_TAG).await).await?;
        pods.push(format!("{environment} ({})", replicas(&deployment)));
    }
    all_synced(world, &commit).await?;
    world.until(async || world.is_synced("root", &commit).await).await?;
    let took = begun.elapsed();
    exist(world).await?;
    Ok(format!(
        "commit {} and one root Application → three Applications, with Pods in {}, all Synced and Healthy in {}",
        commit.short(),
        pods.join(", "),
        seconds(took),
    ))
}

/// That what stands around the Deployments is there too.
async fn exist(world: &World) -> Result<(), StepError> {
    for environment in ENVIRONMENTS {
        let services = world.objects::<Service>(environment);
        services
            .get(SERVICE)
            .await
            .map_err(StepError::api(format!("find the Service {SERVICE} of {environment}")))?;
        let maps = world.objects::<ConfigMap>(environment).list(&Default::default()).await;
        let maps = maps.map_err(StepError::api(format!("list the ConfigMaps of {environment}")))?;
        let generated = |map: &ConfigMap| {
            map.metadata
                .name
                .as_deref()
                .and_then(|name| name.strip_prefix(SERVICE))
                .is_some_and(|rest| rest.starts_with('-'))
        };
        if !maps.items.iter().any(generated) {
            return Err(StepError::Wrong(format!("the generated ConfigMap of {environment} is missing")));
        }
    }
    let budgets = world.objects::<PodDisruptionBudget>("production");
    budgets.get(SERVICE).await.map_err(StepError::api("find the PodDisruptionBudget of production"))?;
    Ok(())
}

async fn new_image(world: &mut World) -> Result<String, StepError> {
    let before = world.versions().await?;
    let message = format!("order-service: {NEW_TAG} in dev");
    let edit = world.edit(DEV, OLD_TAG, NEW_TAG)?;
    let begun = Instant::now();
    let commit = world.commit(&message, &[edit])?;
    world.until(async || world.is_rolled_out("dev", NEW_TAG).await).await?;
    let took = begun.elapsed();
    all_synced(world, &commit).await?;
    let dev = |key: &String| key.contains(" dev/");
    let after = world.versions().await?;
    if let Some(changed) = changes(&before, &after).find(|key| !dev(key)) {
        return Err(StepError::Wrong(format!("{changed} changed, but the commit is about dev only")));
    }
    world.release = Some(commit.clone());
    Ok(format!(
        "commit {} '{message}' → Deployment {SERVICE} rolled to {NEW_TAG} in {}; staging and production were not touched",
        commit.short(),
        seconds(took),
    ))
}

async fn scaled_by_hand(world: &mut World) -> Result<String, StepError> {
    let declared = world.until(async || world.is_rolled_out("production", OLD_TAG).await).await?;
    let declared = replicas(&declared);
    let by_hand = declared + 4;
    let begun = Instant::now();
    let generation = world.scale_by_hand("production", by_hand).await?;
    world
        .until(async || {
            let deployment = world.objects::<Deployment>("production").get(SERVICE).await;
            let deployment = deployment.map_err(|error| chain(&error))?;
            if replicas(&deployment) == declared && deployment.metadata.generation > Some(generation) {
                return Ok(());
            }
            Err(format!("Deployment {SERVICE} of production still wants {} Pods", replicas(&deployment)))
        })
        .await?;
    let healed = begun.elapsed();
    world.until(async || world.is_rolled_out("production", OLD_TAG).await).await?;
    Ok(format!(
        "somebody scaled {SERVICE} in production from {declared} to {by_hand} Pods → put back to {declared} in {}",
        seconds(healed),
    ))
}

async fn removed_file(world: &mut World) -> Result<String, StepError> {
    let message = "order-service: no debug port in staging";
    let changes = [
        world.edit(STAGING, "  - debug-service.yaml\n", "")?,
        Change::Remove(RepoPath::parse(DEBUG_SERVICE)?),
    ];
    let name = "order-service-debug";
    let services = world.objects::<Service>("staging");
    services.get(name).await.map_err(StepError::api(format!("find the Service {name} of staging")))?;
    let begun = Instant::now();
    let commit = world.commit(message, &changes)?;
    world
        .until(async || match services.get_opt(name).await {
            Ok(None) => Ok(()),
            Ok(Some(_)) => Err(format!("Service {name} of staging is still there")),
            Err(error) => Err(chain(&error)),
        })
        .await?;
    let took = begun.elapsed();
    all_synced(world, &commit).await?;
    services.get(SERVICE).await.map_err(StepError::api(format!("find the Service {SERVICE} of staging")))?;
    Ok(format!("commit {} '{message}' → Service {name} pruned in {}", commit.short(), seconds(took),))
}

async fn broken_commit(world: &mut World) -> Result<String, StepError> {
    let before = world.versions().await?;
    let message = "order-service: tidy up";
    // One blank less, as it happens in an editor.
    let edit = world.edit(DEPLOYMENT, "\n  replicas: 1\n", "\n replicas: 1\n")?;
    let begun = Instant::now();
    let commit = world.commit(message, &[edit])?;
    world.broken = Some(commit.clone());
    let mut shown = String::new();
    for environment in ENVIRONMENTS {
        shown = world.until(async || error_shown(world, environment).await).await?;
    }
    let took = begun.elapsed();
    unchanged(&before, world).await?;
    let text = format!(
        "commit {} '{message}' → three Applications show a {} in {}, none of {} objects was touched. It says: {shown}",
        commit.short(),
        names::CONDITION_COMPARISON_ERROR,
        seconds(took),
        before.len(),
    );
    world.before = Some(before);
    Ok(text)
}

/// The message with which an environment's Application shows that its source cannot be rendered.
async fn error_shown(world: &World, environment: &str) -> Result<String, String> {
    let name = application_of(environment);
    let status = world.application(&name).await?.status;
    let error = status
        .conditions
        .iter()
        .find(|condition| condition.condition_type == names::CONDITION_COMPARISON_ERROR);
    match error {
        Some(error)
            if error.message.contains("deployment.yaml") && status.sync_code() == SyncStatusCode::Unknown =>
        {
            Ok(error.message.clone())
        }
        Some(error) => Err(format!("Application {name} is {}: {}", status.sync_code(), error.message)),
        None => Err(format!("Application {name} is {} and shows no error", status.sync_code())),
    }
}

async fn repaired(world: &mut World) -> Result<String, StepError> {
    let broken = world.broken.clone().ok_or_else(|| missing("broken commit"))?;
    let before = world.before.clone().ok_or_else(|| missing("list of objects"))?;
    let begun = Instant::now();
    let commit = world.revert(&broken)?;
    all_synced(world, &commit).await?;
    let took = begun.elapsed();
    unchanged(&before, world).await?;
    Ok(format!(
        "commit {} reverts {} → all Applications Synced and Healthy again in {}, and not one object was written",
        commit.short(),
        broken.short(),
        seconds(took),
    ))
}

/// The normal way: Git is taken back, and the cluster follows.
async fn rolled_back(world: &mut World) -> Result<String, StepError> {
    let name = application_of("dev");
    let shown = world.skiff(&format!("rollback {name} --dry-run")).await?;
    if !shown.contains(&format!("-    newTag: {NEW_TAG}\n+    newTag: {OLD_TAG}\n")) {
        return Err(StepError::Wrong(format!("the dry run does not show the tag that goes back: {shown}")));
    }
    let begun = Instant::now();
    world.skiff(&format!("rollback {name}")).await?;
    world.until(async || world.is_rolled_out("dev", OLD_TAG).await).await?;
    let took = begun.elapsed();
    let application = world.until(async || world.application(&name).await).await?;
    let recorded = application.status.history.last().map(|entry| entry.revision.clone());
    let commit = recorded.and_then(|revision| CommitId::parse(&revision));
    let commit =
        commit.ok_or_else(|| StepError::Wrong("the rollback is missing in the history".to_owned()))?;
    if Some(&commit) == world.release.as_ref() {
        return Err(StepError::Wrong("the rollback is missing in the Application's history".to_owned()));
    }
    all_synced(world, &commit).await?;
    Ok(format!(
        "'skiff rollback {name}' pushed {} → Deployment {SERVICE} of dev back at {OLD_TAG} in {}",
        commit.short(),
        seconds(took),
    ))
}

/// Argo CD's way: the cluster is taken back, and Git is not. So it is refused while automated syncs would undo it.
async fn went_back(world: &mut World) -> Result<String, StepError> {
    let name = application_of("dev");
    let release = world.release.clone().ok_or_else(|| missing("release"))?;
    let history = world.until(async || world.application(&name).await).await?.status.history;
    let entry = history.iter().find(|entry| entry.revision == release.as_str());
    let id = entry.ok_or_else(|| missing("release in the history"))?.id;
    let line = format!("app rollback {name} {id}");
    if world.skiff(&line).await.is_ok() {
        return Err(StepError::Wrong(format!("'skiff {line}' was not refused while auto-sync is on")));
    }
    let off = world.edit(DEV_APPLICATION, "    automated:\n", "    automated:\n      enabled: false\n")?;
    let off = world.commit("order-service: no automated syncs in dev", &[off])?;
    world
        .until(async || match world.application(&name).await?.spec.automated() {
            None => Ok(()),
            Some(_) => Err(format!("Application {name} still syncs by itself")),
        })
        .await?;
    let begun = Instant::now();
    world.skiff(&line).await?;
    world.until(async || world.is_rolled_out("dev", NEW_TAG).await).await?;
    let took = begun.elapsed();
    world
        .until(async || match world.application(&name).await?.status.sync_code() {
            SyncStatusCode::OutOfSync => Ok(()),
            code => Err(format!("Application {name} is {code}, but Git says {OLD_TAG}")),
        })
        .await?;
    let on = world.revert(&off)?;
    all_synced(world, &on).await?;
    world.until(async || world.is_rolled_out("dev", OLD_TAG).await).await?;
    Ok(format!(
        "refused while auto-sync is on; once it is off, 'skiff {line}' → {SERVICE} of dev at {NEW_TAG} in {}, OutOfSync; auto-sync on again → {OLD_TAG}",
        seconds(took),
    ))
}

async fn all_synced(world: &World, commit: &CommitId) -> Result<(), StepError> {
    for environment in ENVIRONMENTS {
        world.until(async || world.is_synced(&application_of(environment), commit).await).await?;
    }
    Ok(())
}

async fn unchanged(before: &Versions, world: &World) -> Result<(), StepError> {
    match changes(before, &world.versions().await?).next() {
        None => Ok(()),
        Some(changed) => Err(StepError::Wrong(format!("{changed} changed, though nothing should have"))),
    }
}

/// The objects that came, went, or have another version.
fn changes<'a>(before: &'a Versions, after: &'a Versions) -> impl Iterator<Item = &'a String> {
    let changed = before.iter().filter(|(key, version)| after.get(*key) != Some(version)).map(|(key, _)| key);
    changed.chain(after.keys().filter(|key| !before.contains_key(*key)))
}

fn missing(what: &str) -> StepError {
    StepError::Wrong(format!("an earlier step left no {what}"))
}
