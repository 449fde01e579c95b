//! The Applications as they were last seen, by the watch or in the answer to a write.
//!
//! They are kept as compact JSON, which is a fifth of what the parsed form takes, and are read by each look.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use serde_json::Value;
use tokio::sync::watch;

use crate::api::{Application, OperationPhase, names, tracking};

/// An Application's namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ApplicationKey {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl ApplicationKey {
    /// Builds one from its parts.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    /// The application that objects with this instance name are tracked by.
    pub fn of_instance(instance: &str, controller_namespace: &str) -> Self {
        let (name, namespace) = tracking::split_instance_name(instance, controller_namespace);
        Self::new(namespace, name)
    }

    /// The name under which its objects are tracked.
    pub fn instance_name(&self, controller_namespace: &str) -> String {
        tracking::instance_name(&self.name, &self.namespace, controller_namespace)
    }
}

impl fmt::Display for ApplicationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// An Application that can be read, or what is wrong with it.
pub struct Found {
    /// The Application, if it can be read.
    pub application: Result<Arc<Application>, Arc<str>>,
    /// Whether its conditions say already that it cannot be read.
    pub is_told: bool,
    /// The version that this is.
    pub resource_version: String,
}

/// An Application as it is kept: as JSON if it can be read, else what is wrong with it.
struct Stored {
    application: Result<Box<[u8]>, Arc<str>>,
    resource_version: Box<str>,
    project: Box<str>,
    is_told: bool,
    is_terminated: bool,
}

impl Stored {
    fn read(&self) -> Result<Application, Arc<str>> {
        let json = self.application.as_ref().map_err(Arc::clone)?;
        // What was read once can be read again.
        serde_json::from_slice(json).map_err(|error| Arc::from(error.to_string()))
    }
}

/// What a new version of an Application asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asks {
    /// Nothing: only the status changed, as the agent itself writes it.
    Nothing,
    /// To be compared again.
    Comparison,
    /// To be resolved and compared again: the spec changed, or it is new.
    Resolution,
}

/// What a write of the agent's own changed, besides the status: coming back in the answer it is no news.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Own {
    /// Nothing else.
    Status,
    /// The field `operation`.
    Operation,
    /// The annotations that ask for a refresh.
    Refresh,
    /// The finalizers.
    Finalizers,
}

/// All Applications by key.
#[derive(Default)]
pub struct Applications {
    stored: RwLock<HashMap<ApplicationKey, Stored>>,
    /// Changes when somebody asks for the end of an operation.
    terminations: watch::Sender<u64>,
}

impl Applications {
    /// Takes in a version of an Application that the watch showed, unless a newer one is known already.
    pub fn observe(&self, value: Value) -> Option<(ApplicationKey, Asks)> {
        self.take_in(value, None)
    }

    /// Takes in the answer to a write of the agent's own. What somebody else changed meanwhile is in it too, and the
    /// watch that shows it later finds nothing new: so whoever wrote has to pass on what is asked for here.
    ///
    /// An answer never brings an Application back that the watch has shown to be gone.
    pub fn answered(&self, value: Value, own: Own) -> Option<(ApplicationKey, Asks)> {
        self.take_in(value, Some(own))
    }

    fn take_in(&self, value: Value, own: Option<Own>) -> Option<(ApplicationKey, Asks)> {
        let text = |pointer| value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let key = ApplicationKey::new(text("/metadata/namespace"), text("/metadata/name"));
        let resource_version = text("/metadata/resourceVersion");
        if !resource_version.is_empty() && self.has(&key, &resource_version) {
            return Some((key, Asks::Nothing));
        }
        let json = serde_json::to_vec(&value).unwrap_or_default();
        let messages = messages(&value, names::CONDITION_INVALID_SPEC_ERROR);
        let application: Result<_, Arc<str>> =
            Application::from_value(value).map_err(|error| Arc::from(crate::error::chain(&error)));
        let problem = application.as_ref().err();
        let is_told = problem.is_some_and(|problem| messages.iter().any(|told| **told == **problem));
        let is_terminated = application.as_ref().is_ok_and(ends_operation);
        let mut stored = self.stored.write().unwrap_or_else(PoisonError::into_inner);
        let asks = match stored.get(&key) {
            Some(known) if is_older(&resource_version, &known.resource_version) => return None,
            Some(known) => match (known.read(), &application) {
                (Ok(old), Ok(new)) => asks(&old, new, own),
                (Err(old), Err(new)) if old == *new => Asks::Nothing,
                _ => Asks::Resolution,
            },
            None if own.is_some() => return None,
            None => Asks::Resolution,
        };
        let project = application.as_ref().map_or("", |application| application.spec.project_name()).into();
        let application = application.map(|_| json.into());
        let version = resource_version.into();
        let new = Stored { application, resource_version: version, project, is_told, is_terminated };
        let before = stored.insert(key.clone(), new);
        drop(stored);
        if is_terminated && before.is_none_or(|before| !before.is_terminated) {
            self.terminations.send_modify(|count| *count = count.wrapping_add(1));
        }
        Some((key, asks))
    }

    fn has(&self, key: &ApplicationKey, resource_version: &str) -> bool {
        let stored = self.stored.read().unwrap_or_else(PoisonError::into_inner);
        stored.get(key).is_some_and(|known| &*known.resource_version == resource_version)
    }

    /// Waits until somebody asks for the end of an Application's operation.
    pub async fn terminated(&self, key: &ApplicationKey) {
        let mut terminations = self.terminations.subscribe();
        while terminations.changed().await.is_ok() {
            let stored = self.stored.read().unwrap_or_else(PoisonError::into_inner);
            if stored.get(key).is_some_and(|stored| stored.is_terminated) {
                return;
            }
        }
        // Nobody can ask any more.
        std::future::pending::<()>().await;
    }

    /// Takes an Application out.
    pub fn forget(&self, key: &ApplicationKey) {
        self.stored.write().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    /// One Application.
    pub fn get(&self, key: &ApplicationKey) -> Option<Found> {
        let stored = self.stored.read().unwrap_or_else(PoisonError::into_inner);
        let found = stored.get(key)?;
        let resource_version = found.resource_version.to_string();
        let is_told = found.is_told;
        Some(Found { application: found.read().map(Arc::new), is_told, resource_version })
    }

    /// The keys of all Applications, sorted.
    pub fn keys(&self) -> BTreeSet<ApplicationKey> {
        self.stored.read().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    /// The keys of the Applications of one project.
    pub fn of_project(&self, project: &str) -> Vec<ApplicationKey> {
        let stored = self.stored.read().unwrap_or_else(PoisonError::into_inner);
        let of_project = stored.iter().filter(|(_, stored)| &*stored.project == project);
        of_project.map(|(key, _)| key.clone()).collect()
    }
}

fn asks(old: &Application, new: &Application, own: Option<Own>) -> Asks {
    if old.metadata.uid != new.metadata.uid || old.spec != new.spec {
        return Asks::Resolution;
    }
    let annotations = |application: &Application| {
        let mut annotations = application.metadata.annotations.clone().unwrap_or_default();
        if own == Some(Own::Refresh) {
            annotations.retain(|name, _| {
                ![names::ANNOTATION_REFRESH, names::ANNOTATION_REFRESH_TIMESTAMP].contains(&name.as_str())
            });
        }
        annotations
    };
    let finalizers_changed =
        own != Some(Own::Finalizers) && old.metadata.finalizers != new.metadata.finalizers;
    let operation_changed = own != Some(Own::Operation) && old.operation != new.operation;
    // Where the kind has no status subresource, whoever replaces the whole object wipes the status out.
    let was_wiped = old.status.sync.is_some() && new.status.sync.is_none();
    let changed = finalizers_changed
        || operation_changed
        || was_wiped
        || old.metadata.deletion_timestamp != new.metadata.deletion_timestamp
        || annotations(old) != annotations(new)
        || (!ends_operation(old) && ends_operation(new));
    if changed { Asks::Comparison } else { Asks::Nothing }
}

fn ends_operation(application: &Application) -> bool {
    let state = application.status.operation_state.as_ref();
    state.is_some_and(|state| state.phase == OperationPhase::Terminating)
}

/// The messages of an Application's conditions of one type, read without its types.
fn messages(application: &Value, condition_type: &str) -> Vec<String> {
    let conditions = application.pointer("/status/conditions").and_then(Value::as_array);
    conditions
        .into_iter()
        .flatten()
        .filter(|condition| condition.get("type").and_then(Value::as_str) == Some(condition_type))
        .filter_map(|condition| condition.get("message").and_then(Value::as_str).map(str::to_owned))
        .collect()
}

fn is_older(version: &str, than: &str) -> bool {
    match (version.parse::<u64>(), than.parse::<u64>()) {
        (Ok(version), Ok(than)) => version < than,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn version(number: u64, change: impl FnOnce(&mut Value)) -> Value {
        let mut value = json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Application",
            "metadata": { "namespace": "argocd", "name": "orders", "uid": "first" },
            "spec": { "project": "default", "destination": {}, "source": { "repoURL": "https://git.example/a" } },
        });
        value["metadata"]["resourceVersion"] = number.to_string().into();
        change(&mut value);
        value
    }

    fn known(value: Value) -> Applications {
        let applications = Applications::default();
        applications.observe(value);
        applications
    }

    fn asked(found: Option<(ApplicationKey, Asks)>) -> Asks {
        found.unwrap().1
    }

    #[test]
    fn what_somebody_else_changed_is_found_in_the_answer_to_an_own_write() {
        let applications = known(version(1, |_| {}));
        let answer = version(3, |value| {
            value["status"]["health"]["status"] = "Healthy".into();
            value["spec"]["source"]["targetRevision"] = "v2".into();
        });
        assert_eq!(asked(applications.answered(answer, Own::Status)), Asks::Resolution);
        let applications = known(version(1, |_| {}));
        let answer = version(3, |value| value["operation"] = json!({ "sync": {} }));
        assert_eq!(asked(applications.answered(answer, Own::Status)), Asks::Comparison);
    }

    #[test]
    fn what_the_agent_wrote_itself_is_no_news() {
        let applications = known(version(1, |_| {}));
        let answer = version(2, |value| value["operation"] = json!({ "sync": {} }));
        assert_eq!(asked(applications.answered(answer, Own::Operation)), Asks::Nothing);
        let refresh = json!({ "argocd.argoproj.io/refresh": "normal" });
        let applications = known(version(1, |value| value["metadata"]["annotations"] = refresh));
        assert_eq!(asked(applications.answered(version(2, |_| {}), Own::Refresh)), Asks::Nothing);
    }

    #[test]
    fn an_answer_does_not_bring_back_what_is_gone() {
        let applications = Applications::default();
        assert!(applications.answered(version(1, |_| {}), Own::Status).is_none());
        assert!(applications.keys().is_empty());
    }

    #[test]
    fn a_successor_of_the_same_name_is_new() {
        let applications = known(version(1, |_| {}));
        let successor = version(5, |value| value["metadata"]["uid"] = "second".into());
        assert_eq!(asked(applications.observe(successor)), Asks::Resolution);
    }

    #[test]
    fn an_unreadable_application_is_news_once() {
        let broken = |number| version(number, |value| value["spec"]["source"] = 1.into());
        let applications = known(broken(1));
        assert_eq!(asked(applications.observe(broken(2))), Asks::Nothing);
    }

    #[test]
    fn a_status_that_was_wiped_out_is_written_anew() {
        let applications = known(version(1, |value| value["status"]["sync"] = json!({ "status": "Synced" })));
        assert_eq!(asked(applications.observe(version(2, |_| {}))), Asks::Comparison);
    }
}
