//! A sequence of requests as data, and how its short forms become whole requests.
//!
//! ```text
//! {do: CREATE configmaps/a, body: {data: {x: "1"}}}    POST …/configmaps with apiVersion, kind and name filled in
//! {do: GET configmaps/a, save: {v: /metadata/resourceVersion}}
//! {do: "DELETE configmaps/a?propagationPolicy=$v"}      values of earlier answers, each server's own
//! ```
//!
//! `CREATE`, `UPDATE` and `APPLY` fill in what the path says already; `POST`, `PUT` and `PATCH` send what is written.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value, json};

/// One file of sequences.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Theme {
    /// Objects that bodies refer to by `$like`.
    #[serde(default)]
    pub definitions: BTreeMap<String, Value>,
    /// The sequences.
    pub sequences: Vec<Sequence>,
}

/// Requests that belong together. They have a namespace of their own.
#[derive(Debug, Deserialize, Clone)]
#[serde(deny_unknown_fields)]
pub struct Sequence {
    /// What it shows.
    pub name: String,
    /// The requests.
    pub steps: Vec<Step>,
}

/// One request.
#[derive(Debug, Deserialize, Clone)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Method and path, see [`Step::request`].
    #[serde(rename = "do")]
    pub what: String,
    /// The body, as JSON.
    pub body: Option<Value>,
    /// The body, as text.
    pub text: Option<String>,
    /// The field manager.
    pub by: Option<String>,
    /// The content type: `json`, `yaml`, `merge`, `json-patch`, `strategic`, `apply`, or any other.
    #[serde(rename = "as")]
    pub content_type: Option<String>,
    /// The `Accept` header.
    pub accept: Option<String>,
    /// Values to keep: name and JSON pointer into the answer.
    #[serde(default)]
    pub save: BTreeMap<String, String>,
    /// The request is repeated until its answer is this.
    pub until: Option<Until>,
    /// How many events are read from a watch.
    pub watch: Option<usize>,
    /// Compare what controllers write, too.
    #[serde(default)]
    pub controllers: bool,
}

/// What an answer must be.
#[derive(Debug, Deserialize, Clone)]
#[serde(deny_unknown_fields)]
pub struct Until {
    /// The status code.
    pub code: Option<u16>,
    /// A JSON pointer…
    pub at: Option<String>,
    /// …and the value there; none means that nothing is there.
    pub is: Option<Value>,
}

/// A request that can be sent.
#[derive(Debug)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub content_type: Option<String>,
    pub accept: Option<String>,
    pub body: Vec<u8>,
}

/// Resources that sequences name without a path: plural, group and version, kind, namespaced.
const RESOURCES: &[(&str, &str, &str, bool)] = &[
    ("configmaps", "v1", "ConfigMap", true),
    ("secrets", "v1", "Secret", true),
    ("services", "v1", "Service", true),
    ("serviceaccounts", "v1", "ServiceAccount", true),
    ("pods", "v1", "Pod", true),
    ("persistentvolumeclaims", "v1", "PersistentVolumeClaim", true),
    ("resourcequotas", "v1", "ResourceQuota", true),
    ("limitranges", "v1", "LimitRange", true),
    ("endpoints", "v1", "Endpoints", true),
    ("events", "v1", "Event", true),
    ("namespaces", "v1", "Namespace", false),
    ("persistentvolumes", "v1", "PersistentVolume", false),
    ("deployments", "apps/v1", "Deployment", true),
    ("statefulsets", "apps/v1", "StatefulSet", true),
    ("daemonsets", "apps/v1", "DaemonSet", true),
    ("replicasets", "apps/v1", "ReplicaSet", true),
    ("jobs", "batch/v1", "Job", true),
    ("cronjobs", "batch/v1", "CronJob", true),
    ("ingresses", "networking.k8s.io/v1", "Ingress", true),
    ("networkpolicies", "networking.k8s.io/v1", "NetworkPolicy", true),
    ("horizontalpodautoscalers", "autoscaling/v2", "HorizontalPodAutoscaler", true),
    ("poddisruptionbudgets", "policy/v1", "PodDisruptionBudget", true),
    ("leases", "coordination.k8s.io/v1", "Lease", true),
    ("roles", "rbac.authorization.k8s.io/v1", "Role", true),
    ("rolebindings", "rbac.authorization.k8s.io/v1", "RoleBinding", true),
    ("clusterroles", "rbac.authorization.k8s.io/v1", "ClusterRole", false),
    ("clusterrolebindings", "rbac.authorization.k8s.io/v1", "ClusterRoleBinding", false),
    ("storageclasses", "storage.k8s.io/v1", "StorageClass", false),
    ("priorityclasses", "scheduling.k8s.io/v1", "PriorityClass", false),
    ("ingressclasses", "networking.k8s.io/v1", "IngressClass", false),
    ("customresourcedefinitions", "apiextensions.k8s.io/v1", "CustomResourceDefinition", false),
    // Of the CRDs that sequences make in a group of their own.
    ("widgets", "$ns.example.com/v1", "Widget", true),
    ("gadgets", "$ns.example.com/v1", "Gadget", false),
];

/// Values that texts refer to as `$name`.
#[derive(Debug, Clone, Default)]
pub struct Variables(pub BTreeMap<String, Value>);

impl Variables {
    /// A text with its variables replaced; `$fill(N)` is N letters.
    pub fn fill(&self, text: &str) -> String {
        let mut text = text.to_owned();
        // The longest names first: `$ns` must not eat the start of `$nsuid`.
        let mut names: Vec<_> = self.0.iter().collect();
        names.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
        for (name, value) in names {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            text = text.replace(&format!("${name}"), &value);
        }
        while let Some(start) = text.find("$fill(") {
            let end = text[start..].find(')').expect("$fill( is closed") + start;
            let count: usize = text[start + 6..end].parse().expect("$fill has a number");
            text.replace_range(start..=end, &"x".repeat(count));
        }
        text
    }

    fn fill_value(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => match text.strip_prefix('$').and_then(|name| self.0.get(name)) {
                Some(value) => value.clone(),
                None => Value::from(self.fill(text)),
            },
            Value::Array(items) => items.iter().map(|item| self.fill_value(item)).collect(),
            Value::Object(map) => {
                map.iter().map(|(name, value)| (self.fill(name), self.fill_value(value))).collect()
            }
            other => other.clone(),
        }
    }
}

impl Step {
    /// The request that a step asks for.
    pub fn request(&self, variables: &Variables, definitions: &BTreeMap<String, Value>) -> Request {
        let (verb, rest) = self.what.split_once(' ').expect("a method and a path");
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut query: Vec<String> = query.split('&').filter(|p| !p.is_empty()).map(str::to_owned).collect();
        if let Some(manager) = &self.by {
            query.push(format!("fieldManager={manager}"));
        }
        let (method, content_type) = match verb {
            "CREATE" => ("POST", "json"),
            "UPDATE" => ("PUT", "json"),
            "APPLY" => ("PATCH", "apply"),
            "MERGE" => ("PATCH", "merge"),
            "STRATEGIC" => ("PATCH", "strategic"),
            "JSONPATCH" => ("PATCH", "json-patch"),
            other => (other, "json"),
        };
        let mut body = self.body.as_ref().map(|body| expand(body, definitions));
        let mut path = place.to_owned();
        if !place.starts_with('/') {
            let (plural, tail) = place.split_once('/').unwrap_or((place, ""));
            let name = tail.split('/').next().unwrap_or_default();
            let (_, api_version, kind, namespaced) =
                RESOURCES.iter().find(|row| row.0 == plural).expect("a resource of the table");
            if let Some(body) = body.as_mut().filter(|_| matches!(verb, "CREATE" | "UPDATE" | "APPLY")) {
                complete(body, api_version, kind, name);
            }
            let tail = if verb == "CREATE" { "" } else { tail };
            let root = if api_version.contains('/') { "apis" } else { "api" };
            let scope = if *namespaced { "/namespaces/$ns" } else { "" };
            path = format!("/{root}/{api_version}{scope}/{plural}/{tail}");
        }
        let mut path = variables.fill(path.trim_end_matches('/'));
        if !query.is_empty() {
            path = format!("{path}?{}", variables.fill(&query.join("&")));
        }
        let body = match (&self.text, body) {
            (Some(text), _) => Some(variables.fill(text).into_bytes()),
            (None, Some(body)) => Some(variables.fill_value(&body).to_string().into_bytes()),
            (None, None) => None,
        };
        let content_type = self.content_type.as_deref().unwrap_or(content_type);
        let content_type = match content_type {
            "json" => "application/json",
            "yaml" => "application/yaml",
            "merge" => "application/merge-patch+json",
            "json-patch" => "application/json-patch+json",
            "strategic" => "application/strategic-merge-patch+json",
            "apply" => "application/apply-patch+yaml",
            other => other,
        };
        Request {
            method: method.to_owned(),
            path,
            content_type: body.as_ref().map(|_| content_type.to_owned()),
            accept: self.accept.clone(),
            body: body.unwrap_or_default(),
        }
    }
}

/// A body with the definitions that it names: `{$like: deployment, spec: {replicas: 3}}` is a merge patch of one.
fn expand(body: &Value, definitions: &BTreeMap<String, Value>) -> Value {
    match body {
        Value::Object(map) => {
            let mut map = map.clone();
            let like = map.shift_remove("$like");
            let own = Value::Object(map.iter().map(|(k, v)| (k.clone(), expand(v, definitions))).collect());
            let Some(like) = like else { return own };
            let name = like.as_str().expect("$like names a definition");
            let mut whole = expand(definitions.get(name).expect("a definition of this file"), definitions);
            json_patch::merge(&mut whole, &own);
            whole
        }
        Value::Array(items) => items.iter().map(|item| expand(item, definitions)).collect(),
        other => other.clone(),
    }
}

fn complete(body: &mut Value, api_version: &str, kind: &str, name: &str) {
    let Some(map) = body.as_object_mut() else { return };
    let mut whole = Map::new();
    if !map.contains_key("kind") && !map.contains_key("apiVersion") {
        whole.insert("apiVersion".to_owned(), Value::from(api_version));
        whole.insert("kind".to_owned(), Value::from(kind));
    }
    whole.append(map);
    let metadata = whole.entry("metadata").or_insert_with(|| json!({}));
    if let Some(metadata) = metadata.as_object_mut()
        && !name.is_empty()
        && !metadata.contains_key("name")
    {
        metadata.insert("name".to_owned(), Value::from(name));
    }
    *map = whole;
}
