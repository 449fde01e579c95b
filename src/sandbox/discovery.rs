//! Discovery: which groups, versions and resources there are, in the old form and in the aggregated one.

use serde_json::{Map, Value, json};

use super::kinds::{Registry, Resource, Verbs};

/// The content type of aggregated discovery.
pub const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// The version that the sandbox says it is.
const MINOR: u32 = 36;

/// Whether a client prefers aggregated discovery.
pub fn wants_aggregated(accept: &str) -> bool {
    accept.split(',').any(|media| {
        let has = |text: &str| media.split(';').any(|part| part.trim() == text);
        has("g=apidiscovery.k8s.io") && has("v=v2") && has("as=APIGroupDiscoveryList")
    })
}

/// `/version`.
pub fn version() -> Value {
    json!({
        "major": "1",
        "minor": MINOR.to_string(),
        "gitVersion": format!("v1.{MINOR}.0+skiff-sandbox"),
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "",
        "platform": format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH),
        "emulationMajor": "1",
        "emulationMinor": MINOR.to_string(),
        "minCompatibilityMajor": "1",
        "minCompatibilityMinor": (MINOR - 1).to_string(),
    })
}

/// `/api`.
pub fn core_versions() -> Value {
    json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []})
}

/// `/apis`.
pub fn group_list(registry: &Registry) -> Value {
    let groups: Vec<Value> = registry
        .groups()
        .iter()
        .filter(|group| !group.is_empty())
        .filter_map(|g| describe(registry, g))
        .collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

/// `/apis/GROUP`.
pub fn group(registry: &Registry, group: &str) -> Option<Value> {
    let mut described = describe(registry, group).filter(|_| !group.is_empty())?;
    if let Some(map) = described.as_object_mut() {
        map.insert("kind".to_owned(), Value::from("APIGroup"));
        map.insert("apiVersion".to_owned(), Value::from("v1"));
    }
    Some(described)
}

fn describe(registry: &Registry, group: &str) -> Option<Value> {
    let versions: Vec<Value> = registry
        .versions(group)
        .iter()
        .map(|version| json!({"groupVersion": format!("{group}/{version}"), "version": version}))
        .collect();
    let preferred = versions.first()?.clone();
    Some(json!({"name": group, "versions": versions, "preferredVersion": preferred}))
}

/// `/apis/GROUP/VERSION`, `/api/v1`.
pub fn resources(registry: &Registry, group: &str, version: &str) -> Option<Value> {
    let mut listed = Vec::new();
    for resource in registry.in_version(group, version) {
        let mut entry = Map::new();
        entry.insert("name".to_owned(), Value::from(resource.plural.as_str()));
        entry.insert("singularName".to_owned(), Value::from(resource.singular.as_str()));
        entry.insert("namespaced".to_owned(), Value::from(resource.namespaced));
        entry.insert("kind".to_owned(), Value::from(resource.kind.as_str()));
        entry.insert("verbs".to_owned(), json!(verbs(resource)));
        if !resource.short_names.is_empty() {
            entry.insert("shortNames".to_owned(), json!(resource.short_names));
        }
        if !resource.categories.is_empty() {
            entry.insert("categories".to_owned(), json!(resource.categories));
        }
        listed.push(Value::Object(entry));
        for subresource in subresources(resource) {
            let mut entry = json!({
                "name": format!("{}/{}", resource.plural, subresource.name),
                "singularName": "",
                "namespaced": resource.namespaced,
                "kind": subresource.kind,
                "verbs": subresource.verbs,
            });
            if let (Some((group, version)), Some(entry)) = (subresource.gv, entry.as_object_mut()) {
                entry.insert("group".to_owned(), Value::from(group));
                entry.insert("version".to_owned(), Value::from(version));
            }
            listed.push(entry);
        }
    }
    if listed.is_empty() {
        return None;
    }
    let group_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    let mut list = json!({"kind": "APIResourceList", "groupVersion": group_version, "resources": listed});
    // The list of the core group is older than this field.
    if let Some(list) = list.as_object_mut().filter(|_| !group.is_empty()) {
        list.insert("apiVersion".to_owned(), Value::from("v1"));
    }
    Some(list)
}

/// The aggregated form of everything under `/api` or `/apis`. Groups whose server does not answer are stale and empty.
pub fn aggregated(registry: &Registry, core: bool, is_down: impl Fn(&str) -> bool) -> Value {
    let groups: Vec<Value> = registry
        .groups()
        .iter()
        .filter(|group| group.is_empty() == core)
        .map(|group| {
            let down = is_down(group);
            let versions: Vec<Value> = registry
                .versions(group)
                .iter()
                .map(|version| {
                    if down {
                        return json!({"version": version, "freshness": "Stale"});
                    }
                    let resources: Vec<Value> = registry
                        .in_version(group, version)
                        .map(|resource| aggregated_resource(resource))
                        .collect();
                    json!({"version": version, "resources": resources, "freshness": "Current"})
                })
                .collect();
            let mut metadata = json!({"creationTimestamp": null});
            if let Some(metadata) = metadata.as_object_mut().filter(|_| !group.is_empty()) {
                metadata.insert("name".to_owned(), Value::from(group.as_str()));
            }
            json!({"metadata": metadata, "versions": versions})
        })
        .collect();
    json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": groups,
    })
}

fn aggregated_resource(resource: &Resource) -> Value {
    let kind =
        |group: &str, version: &str, kind: &str| json!({"group": group, "version": version, "kind": kind});
    let mut entry = json!({
        "resource": resource.plural,
        "responseKind": kind(&resource.group, &resource.version, &resource.kind),
        "scope": if resource.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": resource.singular,
        "verbs": verbs(resource),
    });
    let subresources: Vec<Value> = subresources(resource)
        .into_iter()
        .map(|subresource| {
            let (group, version) = subresource.gv.unwrap_or((&resource.group, &resource.version));
            json!({
                "subresource": subresource.name,
                "responseKind": kind(group, version, &subresource.kind),
                "verbs": subresource.verbs,
            })
        })
        .collect();
    if let Some(entry) = entry.as_object_mut() {
        for (field, list) in [("shortNames", &resource.short_names), ("categories", &resource.categories)] {
            if !list.is_empty() {
                entry.insert(field.to_owned(), json!(list));
            }
        }
        if !subresources.is_empty() {
            entry.insert("subresources".to_owned(), Value::Array(subresources));
        }
    }
    entry
}

fn verbs(resource: &Resource) -> &'static [&'static str] {
    const CUSTOM: &[&str] =
        &["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"];
    match resource.verbs {
        Verbs::All if resource.custom.is_some() => CUSTOM,
        Verbs::All if !resource.has_collections() => {
            &["create", "delete", "get", "list", "patch", "update", "watch"]
        }
        Verbs::All => &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"],
        Verbs::Create => &["create"],
    }
}

struct Subresource {
    name: &'static str,
    kind: String,
    gv: Option<(&'static str, &'static str)>,
    verbs: &'static [&'static str],
}

fn subresources(resource: &Resource) -> Vec<Subresource> {
    const CHANGE: &[&str] = &["get", "patch", "update"];
    let mut found = Vec::new();
    if resource.kind == "Pod" && resource.group.is_empty() {
        let create: &[&str] = &["create"];
        found.push(Subresource { name: "binding", kind: "Binding".to_owned(), gv: None, verbs: create });
        let gv = Some(("policy", "v1"));
        found.push(Subresource { name: "eviction", kind: "Eviction".to_owned(), gv, verbs: create });
        found.push(Subresource { name: "log", kind: "Pod".to_owned(), gv: None, verbs: &["get"] });
    }
    if resource.kind == "Namespace" && resource.group.is_empty() {
        let kind = "Namespace".to_owned();
        found.push(Subresource { name: "finalize", kind, gv: None, verbs: &["update"] });
    }
    if resource.scale.is_some() {
        let gv = Some(("autoscaling", "v1"));
        found.push(Subresource { name: "scale", kind: "Scale".to_owned(), gv, verbs: CHANGE });
    }
    if resource.status {
        found.push(Subresource { name: "status", kind: resource.kind.clone(), gv: None, verbs: CHANGE });
    }
    if resource.custom.is_some() {
        found.reverse();
    }
    found
}
