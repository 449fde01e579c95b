//! The Applications as they were last seen, by the watch or in the answer to a write.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use serde_json::Value;

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
#[derive(Clone)]
pub struct Stored {
    /// The Application, if it can be read.
    pub application: Result<Arc<Application>, Arc<str>>,
    /// The version that this is.
    pub resource_version: String,
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

/// All Applications by key.
#[derive(Default)]
pub struct Applications {
    stored: RwLock<HashMap<ApplicationKey, Stored>>,
}

impl Applications {
    /// Takes in a version of an Application, unless a newer one is known already.
    pub fn observe(&self, value: Value) -> Option<(ApplicationKey, Asks)> {
        let text = |pointer| value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let key = ApplicationKey::new(text("/metadata/namespace"), text("/metadata/name"));
        let resource_version = text("/metadata/resourceVersion");
        let application = Application::from_value(value)
            .map(Arc::new)
            .map_err(|error| Arc::from(crate::error::chain(&error)));
        let mut stored = self.stored.write().unwrap_or_else(PoisonError::into_inner);
        let asks = match stored.get(&key) {
            Some(known) if is_older(&resource_version, &known.resource_version) => return None,
            Some(known) => match (&known.application, &application) {
                (Ok(old), Ok(new)) => asks(old, new),
                _ => Asks::Resolution,
            },
            None => Asks::Resolution,
        };
        stored.insert(key.clone(), Stored { application, resource_version });
        Some((key, asks))
    }

    /// Takes an Application out.
    pub fn forget(&self, key: &ApplicationKey) {
        self.stored.write().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    /// One Application.
    pub fn get(&self, key: &ApplicationKey) -> Option<Stored> {
        self.stored.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    /// The keys of all Applications, sorted.
    pub fn keys(&self) -> BTreeSet<ApplicationKey> {
        self.stored.read().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    /// The keys of the Applications of one project.
    pub fn of_project(&self, project: &str) -> Vec<ApplicationKey> {
        let stored = self.stored.read().unwrap_or_else(PoisonError::into_inner);
        let named = |application: &Application| match application.spec.project.as_str() {
            "" => names::DEFAULT_PROJECT == project,
            name => name == project,
        };
        stored
            .iter()
            .filter(|(_, stored)| stored.application.as_ref().is_ok_and(|application| named(application)))
            .map(|(key, _)| key.clone())
            .collect()
    }
}

fn asks(old: &Application, new: &Application) -> Asks {
    if old.spec != new.spec {
        return Asks::Resolution;
    }
    let terminating = |application: &Application| {
        application.status.operation_state.as_ref().map(|state| state.phase) == Some(OperationPhase::Terminating)
    };
    let metadata_changed = old.metadata.annotations != new.metadata.annotations
        || old.metadata.finalizers != new.metadata.finalizers
        || old.metadata.deletion_timestamp != new.metadata.deletion_timestamp;
    if metadata_changed || old.operation != new.operation || terminating(old) != terminating(new) {
        return Asks::Comparison;
    }
    Asks::Nothing
}

fn is_older(version: &str, than: &str) -> bool {
    match (version.parse::<u64>(), than.parse::<u64>()) {
        (Ok(version), Ok(than)) => version < than,
        _ => false,
    }
}
