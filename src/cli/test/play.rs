//! Syncs the Applications of a repository on a sandbox, with an agent in this process, as a cluster would see it.
//!
//! The agent reads a copy of the files in the place of the repository that the Applications name. Each Application is synced
//! once, whether or not its syncs are automated. What a cluster has of itself is made up: namespaces that nobody declares,
//! kinds whose definitions are elsewhere (their fields are not checked), and projects that are not in the repository.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
    time::Duration,
};

use kube::{
    Api, Client,
    api::{Patch, PatchParams},
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    TestError,
    declared::{Fleet, Tested},
    finding::{Finding, Place, Rule, line_with, place_in},
};
use crate::{
    api::{Application, crd::definitions, names},
    cluster::{ClusterError, Timeouts, discovery},
    controller::{Agent, AgentOptions},
    files::{RepoPath, Tree},
    git::{
        RepoUrl,
        writer::{self, Author, Change},
    },
    metrics::{Metrics, MetricsOptions},
    object::{GroupKind, Gvk, Object},
    sandbox::Sandbox,
};

const MANAGER: &str = "skiff-test";
const MAIN: &str = "main";
/// A larger file is not copied.
const MAX_BYTES: u64 = 64 << 20;
const POLL_INTERVAL: Duration = Duration::from_millis(500);
const POD_READY_DELAY: Duration = Duration::from_millis(5);
/// How long a definition may take until its kind is served.
const KIND_LIMIT: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(20);

/// Where the files come from, and as what.
pub(super) struct Copied<'a> {
    pub(super) tree: &'a Arc<dyn Tree>,
    pub(super) paths: &'a [RepoPath],
    pub(super) url: &'a str,
}

/// What a sync on the sandbox showed.
pub(super) struct Played {
    /// How many Applications were synced without an error.
    pub(super) synced: usize,
    pub(super) findings: Vec<Finding>,
}

/// Syncs what can be synced.
pub(super) async fn play(fleet: &Fleet, copied: &Copied<'_>, limit: Duration) -> Result<Played, TestError> {
    let mut findings = Vec::new();
    let chosen: Vec<&Tested> =
        fleet.applications.values().filter(|tested| can_be_synced(tested, &mut findings)).collect();
    if chosen.is_empty() {
        return Ok(Played { synced: 0, findings });
    }
    let directory = tempfile::tempdir().map_err(TestError::Directory)?;
    let repository = directory.path().join("repository");
    copy(copied, &repository, &revisions(&chosen))?;
    let sandbox = Sandbox::builder().pod_ready_delay(POD_READY_DELAY).build();
    let mut stage = Stage { client: sandbox.client(), sandbox, findings };
    let namespace = stage.set_up(fleet, &chosen).await?;

    let mut options = AgentOptions::new(&namespace, MANAGER.to_owned(), directory.path().join("cache"));
    options.poll_interval = Some(POLL_INTERVAL);
    let here = RepoUrl::parse(&format!("file://{}", repository.display())).map_err(TestError::Url)?;
    options.redirects = std::iter::once((copied.url.to_owned(), here)).collect();
    let metrics = Metrics::new(&MetricsOptions::default()).map_err(TestError::Metrics)?;
    let agent = Agent::new(stage.client.clone(), options, Arc::new(metrics));
    let stop = CancellationToken::new();
    let _stopped_in_the_end = stop.clone().drop_guard();
    let running = tokio::spawn(async move { agent.run(stop).await });
    let played = stage.sync(&chosen, copied.tree.as_ref(), limit).await;
    running.abort();
    played
}

/// Whether an Application can be synced here; if not, why.
fn can_be_synced(tested: &Tested, findings: &mut Vec<Finding>) -> bool {
    let place = Some(tested.declared.place.clone());
    let mut not = |why: &str| findings.push(Finding::new(Rule::NotTested, &tested.name, place.clone(), why));
    if !tested.application.spec.destination.is_in_cluster() {
        not("it is rendered but not synced: its cluster is another one than the agent's");
        return false;
    }
    tested.is_whole && !tested.rendered.is_empty()
}

/// The branches that the Applications name.
fn revisions(chosen: &[&Tested]) -> BTreeSet<String> {
    let sources = chosen.iter().flat_map(|tested| tested.application.spec.effective_sources());
    let named =
        sources.map(|source| source.target_revision).filter(|it| !["", "HEAD"].contains(&it.as_str()));
    named.map(|name| name.trim_start_matches("refs/heads/").to_owned()).chain([MAIN.to_owned()]).collect()
}

/// Commits the files to a repository, on each of the branches.
fn copy(copied: &Copied<'_>, to: &Path, branches: &BTreeSet<String>) -> Result<(), TestError> {
    writer::init(to, true)?;
    let mut changes = Vec::new();
    for path in copied.paths {
        let content = copied.tree.content(path, MAX_BYTES)?;
        changes.push(Change::Write(path.clone(), content.to_vec()));
    }
    let author = Author::new(MANAGER, "skiff@localhost");
    for branch in branches {
        // A range of versions or a commit's id is no branch; the agent says so of the Application.
        if git2::Reference::is_valid_name(&format!("refs/heads/{branch}")) {
            writer::commit(to, branch, &changes, "The files that are tested", &author)?;
        }
    }
    Ok(())
}

/// The sandbox, before and while the agent runs.
struct Stage {
    sandbox: Sandbox,
    client: Client,
    findings: Vec<Finding>,
}

impl Stage {
    /// Brings in what a cluster has. Returns the agent's namespace.
    async fn set_up(&mut self, fleet: &Fleet, chosen: &[&Tested]) -> Result<String, TestError> {
        for definition in definitions() {
            self.apply(&Object::from_value(definition.value).map_err(TestError::Own)?).await?;
        }
        let mut namespaces: BTreeMap<&str, usize> = BTreeMap::new();
        for tested in chosen {
            *namespaces.entry(tested.application.namespace()).or_default() += 1;
        }
        let own =
            namespaces.iter().max_by_key(|(_, count)| **count).map_or(names::DEFAULT_NAMESPACE, |it| it.0);
        let mut needed: BTreeSet<&str> = namespaces.keys().copied().collect();
        for tested in chosen {
            let creates =
                tested.application.spec.sync_options().iter().any(|it| it == "CreateNamespace=true");
            let destination = tested.application.spec.destination.namespace.as_str();
            if !creates && !destination.is_empty() {
                needed.insert(destination);
            }
        }
        for namespace in needed {
            self.create("v1", "Namespace", "", namespace, json!({})).await?;
        }
        let parameters = json!({ "data": { "application.namespaces": "*" } });
        let own_settings = json!({ "metadata": { "labels": { "app.kubernetes.io/part-of": "argocd" } } });
        for (name, rest) in [("argocd-cmd-params-cm", parameters), ("argocd-cm", json!({}))] {
            let mut rest = rest;
            json_patch::merge(&mut rest, &own_settings);
            self.create("v1", "ConfigMap", own, name, rest).await?;
        }
        self.kinds(chosen).await?;
        self.projects(fleet, chosen, own).await?;
        Ok(own.to_owned())
    }

    /// Applies the definitions that the repository has, and makes up those of other kinds that it uses.
    async fn kinds(&mut self, chosen: &[&Tested]) -> Result<(), TestError> {
        let is_definition = |object: &Object| object.kind() == "CustomResourceDefinition";
        for tested in chosen {
            for (object, place) in tested.objects().filter(|(object, _)| is_definition(object)) {
                if let Err(error) = self.apply(object).await {
                    let message = crate::error::chain(&error);
                    self.findings.push(Finding::new(Rule::SyncError, &tested.name, Some(place), message));
                }
            }
        }
        let kinds = discovery::discover(&self.client, Timeouts::default()).await?;
        let mut unknown: BTreeMap<(String, String), (Gvk, bool, &str, Place)> = BTreeMap::new();
        for tested in chosen {
            for (object, place) in tested.objects() {
                let gvk = object.gvk();
                if !gvk.group.is_empty() && matches!(kinds.get(&gvk), Err(ClusterError::UnknownKind { .. })) {
                    let is_cluster_wide =
                        object.kind().starts_with("Cluster") && object.namespace().is_empty();
                    let key = (gvk.group.clone(), gvk.kind.clone());
                    unknown.entry(key).or_insert((gvk, is_cluster_wide, &tested.name, place));
                }
            }
        }
        let made_up: Vec<_> = unknown.into_values().collect();
        for (gvk, is_cluster_wide, application, place) in made_up {
            let message = format!("no definition of {gvk} is in the repository: its fields are not checked");
            self.findings.push(Finding::new(Rule::NotTested, application, Some(place), message));
            let plural =
                ApiResource::from_gvk(&GroupVersionKind::gvk(&gvk.group, &gvk.version, &gvk.kind)).plural;
            let spec = json!({ "spec": {
                "group": gvk.group, "scope": if is_cluster_wide { "Cluster" } else { "Namespaced" },
                "names": { "kind": gvk.kind, "plural": plural, "singular": gvk.kind.to_lowercase(), "listKind": format!("{}List", gvk.kind) },
                "versions": [{
                    "name": gvk.version, "served": true, "storage": true,
                    "schema": { "openAPIV3Schema": { "type": "object", "x-kubernetes-preserve-unknown-fields": true } },
                }],
            }});
            let name = format!("{plural}.{}", gvk.group);
            self.create("apiextensions.k8s.io/v1", "CustomResourceDefinition", "", &name, spec).await?;
        }
        Ok(())
    }

    /// Applies the projects, and makes up those that the repository does not have.
    async fn projects(&mut self, fleet: &Fleet, chosen: &[&Tested], own: &str) -> Result<(), TestError> {
        let mut known = BTreeSet::from(["default".to_owned()]);
        for (name, declared) in &fleet.projects {
            let mut value = declared.value.clone();
            if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
                metadata.insert("namespace".to_owned(), own.into());
                known.insert(metadata.get("name").and_then(Value::as_str).unwrap_or_default().to_owned());
            }
            let place = Some(declared.place.clone());
            let applied = match Object::from_value(value) {
                Ok(object) => self.apply(&object).await.map_err(|error| crate::error::chain(&error)),
                Err(error) => Err(error.to_string()),
            };
            if let Err(message) = applied {
                self.findings.push(Finding::new(Rule::InvalidApplication, name, place, message));
            }
        }
        for tested in chosen {
            let project = tested.application.spec.project_name();
            if known.insert(project.to_owned()) {
                let message = format!(
                    "its project '{project}' is not in the repository: what it permits is not checked"
                );
                let place = Some(tested.declared.place.clone());
                self.findings.push(Finding::new(Rule::NotTested, &tested.name, place, message));
                let all = json!([{ "group": "*", "kind": "*" }]);
                let spec = json!({ "spec": {
                    "sourceRepos": ["*"], "sourceNamespaces": ["*"], "clusterResourceWhitelist": all,
                    "destinations": [{ "server": "*", "namespace": "*" }],
                }});
                self.create("argoproj.io/v1alpha1", "AppProject", own, project, spec).await?;
            }
        }
        Ok(())
    }

    /// Syncs all Applications and looks at what comes of it.
    async fn sync(
        mut self,
        chosen: &[&Tested],
        tree: &dyn Tree,
        limit: Duration,
    ) -> Result<Played, TestError> {
        let mut waiting: Vec<&Tested> = Vec::new();
        for tested in chosen {
            let Ok(object) = Object::from_value(to_be_synced(tested)) else { continue };
            match self.apply(&object).await {
                Ok(()) if has_anything_to_sync(tested) => waiting.push(tested),
                Ok(()) => {}
                Err(error) => {
                    let message = crate::error::chain(&error);
                    let place = located(&message, &tested.declared.place, tree);
                    self.findings.push(Finding::new(
                        Rule::InvalidApplication,
                        &tested.name,
                        Some(place),
                        message,
                    ));
                }
            }
        }
        let mut synced = chosen.len() - waiting.len();
        let deadline = Instant::now() + limit;
        while !waiting.is_empty() && Instant::now() < deadline {
            let mut still = Vec::new();
            for tested in waiting {
                let Some(state) = self.state(tested) else {
                    still.push(tested);
                    continue;
                };
                match problems(tested, &state, tree) {
                    None => still.push(tested),
                    Some(found) if found.is_empty() => synced += 1,
                    Some(found) => self.findings.extend(found),
                }
            }
            waiting = still;
            tokio::time::sleep(PAUSE).await;
        }
        for tested in waiting {
            let state = self.state(tested);
            let status = state.as_ref().and_then(|state| state.status.operation_state.as_ref());
            let says = status.map_or("the agent has not begun", |status| status.message.as_str());
            let message = format!("its sync has not ended after {} s: {says}", limit.as_secs());
            let place = Some(tested.declared.place.clone());
            self.findings.push(Finding::new(Rule::SyncError, &tested.name, place, message));
        }
        Ok(Played { synced, findings: self.findings })
    }

    fn state(&self, tested: &Tested) -> Option<Application> {
        let kind = GroupKind::new(names::GROUP, "Application");
        let (namespace, name) = (tested.application.namespace(), tested.application.name());
        Application::from_value(self.sandbox.store().get(&kind, namespace, name)?).ok()
    }

    async fn create(
        &self,
        api_version: &str,
        kind: &str,
        namespace: &str,
        name: &str,
        rest: Value,
    ) -> Result<(), TestError> {
        let mut value = json!({ "apiVersion": api_version, "kind": kind, "metadata": { "name": name } });
        if !namespace.is_empty() {
            json_patch::merge(&mut value, &json!({ "metadata": { "namespace": namespace } }));
        }
        json_patch::merge(&mut value, &rest);
        self.apply(&Object::from_value(value).map_err(TestError::Own)?).await.map_err(TestError::from)
    }

    /// Applies an object, whose kind may have been defined a moment ago.
    async fn apply(&self, object: &Object) -> Result<(), ClusterError> {
        let gvk = object.gvk();
        let begun = Instant::now();
        let info = loop {
            let kinds = discovery::discover(&self.client, Timeouts::default()).await?;
            match kinds.get(&gvk) {
                Ok(info) => break info.clone(),
                Err(error) if begun.elapsed() > KIND_LIMIT => return Err(error),
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        };
        let api: Api<DynamicObject> = if object.namespace().is_empty() {
            Api::all_with(self.client.clone(), &info.resource)
        } else {
            Api::namespaced_with(self.client.clone(), object.namespace(), &info.resource)
        };
        let parameters = PatchParams::apply(MANAGER).force().validation_strict();
        let answer = api.patch(object.name(), &parameters, &Patch::Apply(object.value())).await;
        answer.map(drop).map_err(|error| {
            ClusterError::from_kube(error, "apply", object.key().to_string(), object.is_secret())
        })
    }
}

/// The Application as it is applied here: synced once, now, without its Applications, which are synced on their own.
fn to_be_synced(tested: &Tested) -> Value {
    let mut value = tested.declared.value.clone();
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.shift_remove("finalizers");
        metadata.shift_remove("ownerReferences");
    }
    if let Some(policy) = value.pointer_mut("/spec/syncPolicy").and_then(Value::as_object_mut) {
        policy.shift_remove("automated");
        policy.shift_remove("retry");
    }
    if let Some(fields) = value.as_object_mut() {
        fields.shift_remove("status");
        fields.shift_remove("operation");
        if has_anything_to_sync(tested) {
            let options = tested.application.spec.sync_options();
            let mut sync = json!({ "syncOptions": options });
            let own: Vec<Value> = tested
                .objects()
                .filter(|(object, _)| !is_application(object))
                .map(|(object, _)| {
                    json!({ "group": object.group(), "kind": object.kind(), "name": object.name() })
                })
                .collect();
            if tested.objects().any(|(object, _)| is_application(object))
                && let Some(sync) = sync.as_object_mut()
            {
                sync.insert("resources".to_owned(), own.into());
            }
            let operation = json!({ "initiatedBy": { "username": MANAGER }, "sync": sync });
            fields.insert("operation".to_owned(), operation);
        }
    }
    value
}

fn is_application(object: &Object) -> bool {
    object.group() == names::GROUP && ["Application", "AppProject"].contains(&object.kind())
}

fn has_anything_to_sync(tested: &Tested) -> bool {
    tested.objects().any(|(object, _)| !is_application(object))
}

/// What a sync that has ended complains of; `None` while it runs.
fn problems(tested: &Tested, state: &Application, tree: &dyn Tree) -> Option<Vec<Finding>> {
    let status = &state.status;
    let conditions = || {
        let errors = status.conditions.iter().filter(|condition| condition.is_error());
        errors.map(|condition| format!("{}: {}", condition.condition_type, condition.message))
    };
    let operation = status.operation_state.as_ref().filter(|it| it.phase.is_completed());
    let operation = operation.filter(|_| state.operation.is_none())?;
    if operation.phase == crate::api::OperationPhase::Succeeded {
        return Some(Vec::new());
    }
    let place = &tested.declared.place;
    let result = operation.sync_result.as_ref();
    let failed = result.iter().flat_map(|result| &result.resources).filter(|resource| {
        resource.status == Some(crate::api::ResultCode::SyncFailed)
            || resource.hook_phase.is_some_and(|phase| {
                matches!(phase, crate::api::OperationPhase::Failed | crate::api::OperationPhase::Error)
            })
    });
    let mut findings: Vec<Finding> = failed
        .map(|resource| {
            let declared = tested.objects().find(|(object, _)| {
                (object.group(), object.kind(), object.name())
                    == (resource.group.as_str(), resource.kind.as_str(), resource.name.as_str())
            });
            let place = declared.map_or_else(|| place.clone(), |(_, place)| place);
            let message = format!("{} '{}': {}", resource.kind, resource.name, resource.message);
            let place = located(&resource.message, &place, tree);
            Finding::new(Rule::SyncError, &tested.name, Some(place), message)
        })
        .collect();
    if findings.is_empty() {
        let said = operation.message.as_str();
        let more = conditions().filter(|it| !it.contains(said));
        let message = std::iter::once(said.to_owned()).chain(more).collect::<Vec<_>>().join("; ");
        let place = place_in(&message, tree).unwrap_or_else(|| object_in(tested, &message, tree));
        findings.push(Finding::new(Rule::SyncError, &tested.name, Some(place), message));
    }
    Some(findings)
}

/// Where the object stands that a message names, else where the Application does.
fn object_in(tested: &Tested, message: &str, tree: &dyn Tree) -> Place {
    let named = tested.objects().find(|(object, _)| {
        !object.name().is_empty() && message.contains(object.kind()) && message.contains(object.name())
    });
    match named {
        Some((_, place)) => located(message, &place, tree),
        None => tested.declared.place.clone(),
    }
}

/// The line of the field that a message is about, where it names one: `unknown field "spec.replica"`,
/// `spec.ports[0].port: Invalid value`.
fn located(message: &str, place: &Place, tree: &dyn Tree) -> Place {
    let words = message.split(|c: char| c.is_whitespace() || ['"', '\'', ','].contains(&c));
    let mut field = words.map(|word| word.trim_matches(['.', ':'])).filter(|word| {
        word.contains('.')
            && ["spec.", "metadata.", "data.", "stringData."]
                .iter()
                .any(|it| word.trim_start_matches('.').starts_with(it))
    });
    let leaf = field.next_back().and_then(|field| field.rsplit('.').next());
    match leaf.map(|leaf| leaf.split('[').next().unwrap_or(leaf)) {
        Some(leaf) if !leaf.is_empty() => line_with(tree, place, &format!("{leaf}:")),
        _ => place.clone(),
    }
}
