//! What a sync of an Application would change, as text: the agent's own look at it, by somebody who does not lead.
//!
//! It goes the way of every look (validate, render, compare), with a context that lives as long as the question. The
//! only requests that look like writes are server-side dry runs.

use std::sync::Arc;

use kube::{
    Api,
    api::ListParams,
    core::{ApiResource, DynamicObject},
};
use serde_json::Value;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{
    Agent, AgentError, ApplicationKey,
    context::Context,
    follow::Change,
    observe::{Observation, ObserveError},
    own_kinds::core,
    projects::permissive_project,
    reconcile::{Level, Look, Memory},
    settings::secrets_selector,
    sources::Freshness,
    target::Target,
    writer::resource,
};
use crate::{
    api::{Application, names, sync_options::SyncOptions},
    cluster::{ClusterError, FieldValidation},
    compare::{Rules, TextDiffOptions, adoption::without_left_behind, text_diff},
    error::{Classified, ErrorKind},
    object::{Object, ObjectKey},
    project::Apply,
    settings::{
        COMMAND_PARAMETERS_CONFIG_MAP, CONFIG_MAP, KNOWN_HOSTS_CONFIG_MAP, TLS_CERTIFICATES_CONFIG_MAP,
    },
    sync::{
        self,
        plan::{Candidate, Verdict},
    },
};

/// Lines around a change.
const CONTEXT_LINES: usize = 3;

/// Why it cannot be said what a sync would change.
#[derive(Debug, thiserror::Error)]
pub enum PreviewError {
    /// The cluster cannot be asked, or lacks Skiff's kinds.
    #[error(transparent)]
    Agent(#[from] AgentError),
    /// The API server refused or did not answer.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The source cannot be rendered or compared.
    #[error("cannot compare application '{application}'")]
    Observe {
        /// `namespace/name`.
        application: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
        /// Whose fault it is.
        kind: ErrorKind,
    },
}

impl Classified for PreviewError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Agent(AgentError::NoCustomResources) => ErrorKind::Configuration,
            Self::Agent(AgentError::Cluster(error)) | Self::Cluster(error) => error.kind(),
            Self::Observe { kind, .. } => *kind,
        }
    }
}

/// What a preview is asked for.
#[derive(Clone, Debug, Default)]
pub struct PreviewOptions {
    /// Another revision than the source's.
    pub revision: Option<String>,
    /// Whether the API server predicts also what would be created.
    pub server_side: bool,
}

/// What a sync would change.
#[derive(Debug, Default)]
pub struct Preview {
    /// The commit that was compared.
    pub commit: String,
    /// The objects that a sync with pruning would change, sorted by identity.
    pub changes: Vec<PreviewedChange>,
    /// What the answer leaves out or had to guess.
    pub notes: Vec<String>,
}

/// What a sync would change in one object.
#[derive(Debug)]
pub struct PreviewedChange {
    /// The object.
    pub key: ObjectKey,
    /// A unified difference of the two sides as YAML. Values of Secrets are masked.
    pub text: String,
}

impl Agent {
    /// What a sync of an Application would change, at the source's revision or at another one.
    ///
    /// # Errors
    /// When the source cannot be rendered, or the cluster cannot be read.
    pub async fn preview(
        &self,
        application: Application,
        wishes: &PreviewOptions,
    ) -> Result<Preview, PreviewError> {
        let stop = CancellationToken::new();
        let _end = stop.clone().drop_guard();
        let mut background = JoinSet::new();
        // Boxed, as below: together these futures would not fit on the stack of a test's thread.
        let context = Box::pin(Context::new(self, &self.client, &stop, &mut background)).await?;
        let mut preview = Preview::default();
        Box::pin(read_settings(self, &context, &application, &mut preview.notes)).await?;
        let key = ApplicationKey::new(application.namespace(), application.name());
        let mut look = Look::new(&context, &key, Arc::new(application), String::new(), Level::Forced);
        Box::pin(look_at(&mut look, wishes, &mut preview)).await?;
        Ok(preview)
    }
}

async fn look_at(
    look: &mut Look<'_>,
    wishes: &PreviewOptions,
    preview: &mut Preview,
) -> Result<(), PreviewError> {
    let revision = wishes.revision.as_deref();
    let mut target = Target::of_spec(&look.application.spec);
    if let (Some(wanted), Some(first)) = (revision, target.revisions.first_mut()) {
        wanted.clone_into(first);
    }
    let mut memory = Memory::default();
    let observed = Box::pin(look.observe(&mut memory, &target, Freshness::Now)).await;
    let observation = observed.map_err(|error| match error {
        ObserveError::Cluster(error) => PreviewError::Cluster(*error),
        error => PreviewError::Observe {
            application: look.key.to_string(),
            kind: error.kind(),
            source: error.into(),
        },
    })?;
    preview.commit = observation.desired.commit.to_string();
    preview.notes.extend(look.conditions.iter().map(|condition| condition.message.clone()));
    preview.notes.extend(observation.desired.warnings.iter().map(|condition| condition.message.clone()));
    let (rules, _) = Rules::compile(&look.application.spec.ignore_differences, &look.settings.system_rules);
    let options = TextDiffOptions { context: CONTEXT_LINES, rules: &rules };
    let cluster = &look.context.cluster;
    let migrates = SyncOptions::new(look.application.spec.sync_options()).migrates_client_side_apply();
    for candidate in &observation.comparison.candidates {
        let Some(key) =
            candidate.declared().filter(|object| sync::is_resource(object)).map(|object| object.key())
        else {
            continue;
        };
        let text = match (&candidate.verdict, &candidate.desired, &candidate.live) {
            (Verdict::Missing, Some(desired), _) if wishes.server_side => {
                let predicted = predicted(look, &observation, candidate, &mut preview.notes).await;
                text_diff(None, predicted.as_ref().or(Some(desired.as_ref())), &options)
            }
            (Verdict::Missing, Some(desired), _) => text_diff(None, Some(desired), &options),
            (Verdict::Extra, _, Some(live)) if look.tracking.may_prune(live).is_ok() => {
                text_diff(Some(live), None, &options)
            }
            (Verdict::Differs(_), Some(desired), Some(_)) => {
                // What is kept of live objects leaves out what nobody declares.
                let live = cluster.get(&desired.gvk(), &key).await?;
                let predicted = predicted(look, &observation, candidate, &mut preview.notes).await;
                let stored = candidate.live.as_ref().filter(|_| migrates);
                let predicted = predicted.map(|predicted| match stored {
                    Some(stored) => without_left_behind(&predicted, desired, stored),
                    None => predicted,
                });
                text_diff(live.as_ref(), predicted.as_ref().or(Some(desired.as_ref())), &options)
            }
            _ => String::new(),
        };
        if !text.is_empty() {
            preview.changes.push(PreviewedChange { key, text });
        }
    }
    preview.changes.sort_by(|a, b| a.key.cmp(&b.key));
    Ok(())
}

/// What the API server would make of the declared object; `None`, and a note, where it does not say.
async fn predicted(
    look: &Look<'_>,
    observation: &Observation,
    candidate: &Candidate,
    notes: &mut Vec<String>,
) -> Option<Object> {
    let desired = candidate.desired.as_ref()?;
    let scope = observation.kinds.get(&desired.gvk()).ok()?.scope;
    let permitted = observation.admission.permit(Apply { object: Object::clone(desired), scope });
    let dry_run = match permitted {
        Ok(permitted) => look
            .context
            .cluster
            .dry_run(&permitted, FieldValidation::default())
            .await
            .map_err(|error| error.to_string()),
        Err(refusal) => Err(refusal.to_string()),
    };
    dry_run
        .map_err(|problem| notes.push(format!("{}: compared without a dry run: {problem}", desired.key())))
        .ok()
}

/// Reads the settings and the Application's project. What may not be read counts as not set, and is noted.
async fn read_settings(
    agent: &Agent,
    context: &Context,
    application: &Application,
    notes: &mut Vec<String>,
) -> Result<(), ClusterError> {
    let reader = Reader { agent };
    let config_maps = core("ConfigMap", "configmaps");
    for name in
        [CONFIG_MAP, COMMAND_PARAMETERS_CONFIG_MAP, KNOWN_HOSTS_CONFIG_MAP, TLS_CERTIFICATES_CONFIG_MAP]
    {
        if let Some(value) = reader.get(&config_maps, name, notes).await? {
            context.settings_store.config_map(Change::Present(value));
        }
    }
    for value in reader.list(&core("Secret", "secrets"), secrets_selector(), notes).await? {
        context.settings_store.secret(Change::Present(value));
    }
    context.settings_changed();
    let projects = resource("AppProject", "appprojects");
    for global in context.settings().global_projects() {
        if let Some(value) = reader.get(&projects, &global.project_name, notes).await? {
            context.projects.observe(value);
        }
    }
    match reader.get(&projects, application.spec.project_name(), notes).await? {
        Some(value) => {
            context.projects.observe(value);
        }
        None if application.spec.project_name() == names::DEFAULT_PROJECT => {
            context.projects.observe(permissive_project().to_value());
        }
        None => {}
    }
    Ok(())
}

/// Reads objects of the agent's namespace.
struct Reader<'a> {
    agent: &'a Agent,
}

impl Reader<'_> {
    fn api(&self, resource: &ApiResource) -> Api<DynamicObject> {
        Api::namespaced_with(self.agent.client.clone(), &self.agent.options.namespace, resource)
    }

    async fn get(
        &self,
        resource: &ApiResource,
        name: &str,
        notes: &mut Vec<String>,
    ) -> Result<Option<Value>, ClusterError> {
        let api = self.api(resource);
        let answer = self.request("get", format!("{} '{name}'", resource.kind), api.get_opt(name)).await;
        let found = tolerate(answer, notes)?.flatten();
        Ok(found.and_then(|object| serde_json::to_value(object).ok()))
    }

    async fn list(
        &self,
        resource: &ApiResource,
        selector: &str,
        notes: &mut Vec<String>,
    ) -> Result<Vec<Value>, ClusterError> {
        let (api, parameters) = (self.api(resource), ListParams::default().labels(selector));
        let object = format!("{}s of settings", resource.kind);
        let answer = self.request("list", object, api.list(&parameters)).await;
        let found = tolerate(answer, notes)?.map(|list| list.items).unwrap_or_default();
        Ok(found.into_iter().filter_map(|object| serde_json::to_value(object).ok()).collect())
    }

    async fn request<T>(
        &self,
        action: &'static str,
        object: String,
        call: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, ClusterError> {
        let limit = self.agent.options.timeouts.read;
        match tokio::time::timeout(limit, call).await {
            Ok(answer) => answer.map_err(|error| ClusterError::from_kube(error, action, object, true)),
            Err(_) => Err(ClusterError::Timeout { action, object, limit }),
        }
    }
}

/// Whoever asks may have fewer permissions than the agent.
fn tolerate<T>(answer: Result<T, ClusterError>, notes: &mut Vec<String>) -> Result<Option<T>, ClusterError> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.is_forbidden() => {
            notes.push(format!("{error}: the settings there are not known, and defaults are used"));
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
