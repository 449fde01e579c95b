//! Requests to one cluster: what is read. [`write`] has what is written.

mod holds;
mod known_fields;
mod write;

use std::{
    collections::BTreeMap,
    future::Future,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use kube::{Api, Client, api::ListParams, core::DynamicObject};
use serde_json::Value;
use tokio::{
    sync::{Mutex, Semaphore},
    time::Instant,
};

use super::{
    ClusterError, Timeouts,
    discovery::{self, KindInfo, Kinds},
    live::LiveIndex,
    watches::Watches,
};
use crate::{
    object::{Gvk, Object, ObjectKey, Scope},
    places::held,
};

pub use write::FieldValidation;

/// Requests about objects under way at once.
const REQUESTS: usize = 64;
/// A request that takes longer no longer counts: what hangs must not keep the others waiting. How many hang is bounded
/// by the number of applications that are worked on at once.
const COUNTS_FOR: Duration = Duration::from_secs(3);
/// How long an incomplete discovery is good for.
const INCOMPLETE_MAX_AGE: Duration = Duration::from_secs(2);

/// One destination cluster.
pub struct Cluster {
    client: Client,
    timeouts: Timeouts,
    field_manager: &'static str,
    kinds: RwLock<Arc<Kinds>>,
    discovered: Mutex<Option<Instant>>,
    requests: Semaphore,
    /// The live objects of the kinds that are watched.
    pub live: Arc<LiveIndex>,
    /// The watches.
    pub watches: Watches,
}

impl Cluster {
    /// A cluster whose kinds are not known yet.
    pub fn new(
        client: Client,
        timeouts: Timeouts,
        field_manager: &'static str,
        live: Arc<LiveIndex>,
        watches: Watches,
    ) -> Self {
        Self {
            client,
            timeouts,
            field_manager,
            kinds: RwLock::default(),
            discovered: Mutex::new(None),
            requests: Semaphore::new(REQUESTS),
            live,
            watches,
        }
    }

    /// The kinds as they were last discovered.
    pub fn kinds(&self) -> Arc<Kinds> {
        Arc::clone(&self.kinds.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Discovers the kinds anew unless that was done less than `max_age` ago, or less than a moment ago while some
    /// of them cannot be discovered.
    ///
    /// # Errors
    /// When the API server cannot be asked; then the kinds stay as they were.
    pub async fn discover(&self, max_age: Duration) -> Result<Arc<Kinds>, ClusterError> {
        let mut discovered = self.discovered.lock().await;
        let max_age = if self.kinds().are_complete() { max_age } else { max_age.min(INCOMPLETE_MAX_AGE) };
        if discovered.is_none_or(|at| at.elapsed() > max_age) {
            let kinds = discovery::discover(&self.client, self.timeouts).await?;
            *self.kinds.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(kinds);
            *discovered = Some(Instant::now());
        }
        Ok(self.kinds())
    }

    /// Reads one object; `None` when it does not exist. Whoever may only list is shown it in a list.
    ///
    /// # Errors
    /// When its kind is unknown, or when the API server refuses or does not answer.
    pub async fn get(&self, gvk: &Gvk, key: &ObjectKey) -> Result<Option<Object>, ClusterError> {
        let kinds = self.kinds();
        let info = kinds.get(gvk)?;
        let api = self.api(info, &key.namespace);
        let found = match self.read(key, api.get_opt(&key.name)).await {
            Err(error) if error.is_forbidden() => {
                let alone = ListParams::default().fields(&format!("metadata.name={}", key.name));
                let listed = self.read(key, api.list(&alone)).await;
                listed.map_err(|_| error)?.items.into_iter().next()
            }
            found => found?,
        };
        found.map(|object| self.object(object, gvk, "get", key)).transpose()
    }

    /// The version of the API server, such as `v1.33.2`.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn version(&self) -> Result<String, ClusterError> {
        let (action, object) = ("read the version of", "the API server".to_owned());
        match tokio::time::timeout(self.timeouts.read, self.client.apiserver_version()).await {
            Ok(Ok(info)) => Ok(info.git_version),
            Ok(Err(error)) => Err(ClusterError::from_kube(error, action, object, false)),
            Err(_) => Err(ClusterError::Timeout { action, object, limit: self.timeouts.read }),
        }
    }

    fn api(&self, info: &KindInfo, namespace: &str) -> Api<DynamicObject> {
        match info.scope {
            Scope::Namespaced => Api::namespaced_with(self.client.clone(), namespace, &info.resource),
            Scope::Cluster => Api::all_with(self.client.clone(), &info.resource),
        }
    }

    async fn read<T>(
        &self,
        key: &ObjectKey,
        request: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, ClusterError> {
        self.timed("get", key, self.timeouts.read, request).await
    }

    async fn timed<T>(
        &self,
        action: &'static str,
        key: &ObjectKey,
        limit: Duration,
        request: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, ClusterError> {
        let place = self.requests.acquire().await;
        match tokio::time::timeout(limit, held(place, COUNTS_FOR, request)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(ClusterError::from_kube(error, action, key.to_string(), is_secret(key))),
            Err(_) => Err(ClusterError::Timeout { action, object: key.to_string(), limit }),
        }
    }

    fn object(
        &self,
        mut object: DynamicObject,
        gvk: &Gvk,
        action: &'static str,
        key: &ObjectKey,
    ) -> Result<Object, ClusterError> {
        object.types.get_or_insert_with(|| kube::core::TypeMeta {
            api_version: gvk.api_version(),
            kind: gvk.kind.clone(),
        });
        let invalid = |message: String| ClusterError::Connection { action, object: key.to_string(), message };
        let value = serde_json::to_value(object).map_err(|error| invalid(error.to_string()))?;
        Object::from_value(value).map_err(|error| invalid(format!("the answer is no object: {error}")))
    }
}

fn is_secret(key: &ObjectKey) -> bool {
    key.kind == "Secret" && key.group.is_empty()
}

/// The kinds that a CustomResourceDefinition will serve, with their plural name and scope.
pub fn kinds_of_definition(definition: &Object) -> BTreeMap<Gvk, (String, Scope)> {
    let spec = definition.value().get("spec").unwrap_or(&Value::Null);
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
    let (group, kind) = (text(spec.get("group")), text(spec.pointer("/names/kind")));
    let plural = text(spec.pointer("/names/plural"));
    let scope = if text(spec.get("scope")) == "Namespaced" { Scope::Namespaced } else { Scope::Cluster };
    let versions = spec.get("versions").and_then(Value::as_array);
    versions
        .into_iter()
        .flatten()
        .filter(|version| version.get("served").and_then(Value::as_bool).unwrap_or(true))
        .map(|version| (Gvk::new(&group, text(version.get("name")), &kind), (plural.clone(), scope)))
        .collect()
}
