//! What an Application's objects add up to: rows, sync status, summary.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    hook::Role,
    order,
    ownership::Tracking,
    plan::{Candidate, Verdict},
};
use crate::{
    api::{
        ApplicationSummary, HealthStatus, ResourceStatus, SyncStatusCode, names,
        sync_options::{Deletion, SyncOptions},
    },
    object::Object,
};

/// An extra object with this comparison option does not make its Application out of sync.
const IGNORE_EXTRANEOUS: &str = "IgnoreExtraneous";

/// One object, compared and judged.
#[derive(Clone, Copy, Debug)]
pub struct Judged<'a> {
    /// Both sides and how they compare.
    pub candidate: &'a Candidate,
    /// Its health, if it is kept in the row.
    pub health: Option<&'a HealthStatus>,
    /// Whether the project permits its kind and place.
    pub permitted: bool,
}

/// What the rows and the status are made from, besides the objects.
#[derive(Clone, Copy, Debug)]
pub struct RollupInput<'a> {
    /// Who owns what.
    pub tracking: &'a Tracking,
    /// The Application's sync options.
    pub options: &'a SyncOptions,
}

/// The rows of `status.resources`, sorted by group, kind, namespace and name, and the sync status that they add up to.
pub fn sync_status(judged: &[Judged<'_>], input: RollupInput<'_>) -> (Vec<ResourceStatus>, SyncStatusCode) {
    let mut whole = SyncStatusCode::Synced;
    let mut rows = Vec::with_capacity(judged.len());
    for item in judged {
        let Some((row, contribution)) = row(item, input) else {
            continue;
        };
        whole = whole.max(contribution);
        rows.push(row);
    }
    rows.sort_by(|a, b| {
        (&a.group, &a.kind, &a.namespace, &a.name).cmp(&(&b.group, &b.kind, &b.namespace, &b.name))
    });
    (rows, whole)
}

fn row(item: &Judged<'_>, input: RollupInput<'_>) -> Option<(ResourceStatus, SyncStatusCode)> {
    let Candidate { desired, live, verdict } = item.candidate;
    let object = item.candidate.object()?;
    let declared = item.candidate.declared()?;
    let role = Role::of(declared);
    // A hook that does not run is nothing that the cluster lacks.
    if matches!(role, Role::Hook(_)) && live.is_none() {
        return None;
    }
    let refers_to_itself =
        live.as_ref().is_none_or(|live| input.tracking.refers_to_itself(live, desired.as_deref()));
    let counted = role.is_resource() && refers_to_itself;
    let code = match verdict {
        Verdict::Same => SyncStatusCode::Synced,
        Verdict::Differs(_) | Verdict::Missing | Verdict::Extra => SyncStatusCode::OutOfSync,
        Verdict::Unknown => SyncStatusCode::Unknown,
    };
    let ignored = *verdict == Verdict::Extra && has_compare_option(object, IGNORE_EXTRANEOUS);
    let contribution = if counted && !ignored { code } else { SyncStatusCode::Synced };
    let shown = if item.permitted { code } else { SyncStatusCode::Unknown };
    let own = SyncOptions::of_object(declared);
    let confirm = SyncOptions::delete(input.options, &own) == Deletion::Confirm
        || SyncOptions::prune(input.options, &own) == Deletion::Confirm;
    let key = object.key();
    let row = ResourceStatus {
        version: object.gvk().version,
        group: key.group,
        kind: key.kind,
        namespace: key.namespace,
        name: key.name,
        status: counted.then_some(shown),
        health: item.health.cloned(),
        hook: matches!(role, Role::Hook(_)),
        requires_pruning: desired.is_none() && counted,
        requires_deletion_confirmation: confirm,
        sync_wave: desired.as_ref().map_or(0, |desired| order::wave(desired)),
    };
    Some((row, contribution))
}

fn has_compare_option(object: &Object, option: &str) -> bool {
    let options = object.annotation(names::ANNOTATION_COMPARE_OPTIONS).unwrap_or_default();
    options.split(',').any(|token| token.trim() == option)
}

/// Images, addresses and whether there are Applications among the objects.
///
/// `annotations` are the Application's own: its links are addresses too.
pub fn summary<'a>(
    annotations: impl IntoIterator<Item = (&'a str, &'a str)>,
    objects: impl IntoIterator<Item = &'a Object>,
) -> ApplicationSummary {
    let mut images = BTreeSet::new();
    let mut urls = BTreeSet::new();
    let mut is_app_of_apps = false;
    for (key, value) in annotations {
        if key.starts_with(names::ANNOTATION_LINK_PREFIX) {
            urls.insert(value.to_owned());
        }
    }
    for object in objects {
        images.extend(images_of(object).map(str::to_owned));
        is_app_of_apps |= object.group() == names::GROUP && object.kind() == "Application";
        if object.annotation(names::ANNOTATION_IGNORE_DEFAULT_LINKS) != Some("true") {
            urls.extend(addresses_of(object));
        }
    }
    ApplicationSummary {
        images: images.into_iter().collect(),
        external_urls: urls.into_iter().collect(),
        is_app_of_apps,
    }
}

/// The images of an object's containers, init containers included.
pub fn images_of(object: &Object) -> impl Iterator<Item = &str> {
    const POD_SPECS: &[&str] = &["/spec", "/spec/template/spec", "/spec/jobTemplate/spec/template/spec"];
    let specs = POD_SPECS.iter().filter_map(|pointer| object.value().pointer(pointer));
    let lists = specs.flat_map(|spec| [spec.get("initContainers"), spec.get("containers")]).flatten();
    let containers = lists.filter_map(Value::as_array).flatten();
    containers.filter_map(|container| container.get("image")?.as_str()).filter(|image| !image.is_empty())
}

fn addresses_of(object: &Object) -> Vec<String> {
    match (object.group(), object.kind()) {
        ("networking.k8s.io" | "extensions", "Ingress") => ingress_addresses(object),
        ("", "Service") => service_addresses(object),
        _ => Vec::new(),
    }
}

fn items<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The addresses that a load balancer has given.
fn balancer_hosts(object: &Object) -> Vec<&str> {
    let ingress = items(object.value(), "/status/loadBalancer/ingress").iter();
    ingress
        .map(
            |entry| {
                if text(entry, "/hostname").is_empty() {
                    text(entry, "/ip")
                } else {
                    text(entry, "/hostname")
                }
            },
        )
        .filter(|host| !host.is_empty())
        .collect()
}

fn ingress_addresses(object: &Object) -> Vec<String> {
    let value = object.value();
    let secured: Vec<&str> = items(value, "/spec/tls")
        .iter()
        .flat_map(|entry| items(entry, "/hosts"))
        .filter_map(Value::as_str)
        .collect();
    let mut urls = Vec::new();
    for rule in items(value, "/spec/rules") {
        let host = text(rule, "/host");
        let hosts = if host.is_empty() { balancer_hosts(object) } else { vec![host] };
        let mut paths: Vec<&str> =
            items(rule, "/http/paths").iter().map(|path| text(path, "/path").trim_end_matches('*')).collect();
        if paths.is_empty() {
            paths.push("");
        }
        for host in hosts {
            let scheme = if secured.contains(&host) { "https" } else { "http" };
            urls.extend(paths.iter().map(|path| format!("{scheme}://{host}{path}")));
        }
    }
    urls
}

fn service_addresses(object: &Object) -> Vec<String> {
    if text(object.value(), "/spec/type") != "LoadBalancer" {
        return Vec::new();
    }
    let ports: Vec<i64> =
        items(object.value(), "/spec/ports").iter().filter_map(|port| port.get("port")?.as_i64()).collect();
    let scheme = if ports.contains(&443) {
        "https"
    } else if ports.contains(&80) {
        "http"
    } else {
        return Vec::new();
    };
    balancer_hosts(object).into_iter().map(|host| format!("{scheme}://{host}")).collect()
}

#[cfg(test)]
mod tests;
