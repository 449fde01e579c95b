//! What can be seen without a cluster: rules over rendered objects, as functions of values.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{
    declared::Fleet,
    finding::{Finding, Place, Rule, line_with},
};
use crate::{
    api::names,
    files::{RepoPath, Tree},
    object::Object,
};

/// The names under which a directory holds its kustomization.
const KUSTOMIZATION_FILES: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];
/// Kinds with Pods, and where their Pods' spec is.
const POD_SPECS: [&str; 3] = ["/spec", "/spec/template/spec", "/spec/jobTemplate/spec/template/spec"];

/// Runs all rules.
pub(super) fn check(fleet: &Fleet, paths: &[RepoPath], tree: &dyn Tree) -> Vec<Finding> {
    let mut findings = conflicts(fleet);
    findings.extend(orphans(fleet, paths, tree));
    for tested in fleet.applications.values() {
        for (object, place) in tested.objects() {
            for image in images(object).into_iter().filter(|image| is_latest(image)) {
                // An overlay may name the image: then the container's line is the nearest.
                let exact = line_with(tree, &place, &format!("image: {image}"));
                let at = if exact == place { line_with(tree, &place, "image:") } else { exact };
                let message = format!(
                    "{} runs image '{image}', which is another one tomorrow: name a version or a digest",
                    shown(object)
                );
                findings.push(Finding::new(Rule::LatestImage, &tested.name, Some(at), message));
            }
            if has_plain_values(object) {
                let message = format!(
                    "{} has its values in Git, where everybody reads them who reads the repository: keep a reference \
                     or a sealed form there",
                    shown(object)
                );
                findings.push(Finding::new(Rule::PlainSecret, &tested.name, Some(place), message));
            }
        }
    }
    findings
}

/// `Deployment 'web'`.
fn shown(object: &Object) -> String {
    format!("{} '{}'", object.kind(), object.name())
}

/// Objects that several Applications with one destination declare.
fn conflicts(fleet: &Fleet) -> Vec<Finding> {
    let mut owners: BTreeMap<(String, String), Vec<(&str, Place)>> = BTreeMap::new();
    for tested in fleet.applications.values() {
        let destination = &tested.application.spec.destination;
        let cluster = if destination.is_in_cluster() {
            names::IN_CLUSTER_SERVER.to_owned()
        } else {
            format!("{}{}", destination.server, destination.name)
        };
        for (object, place) in tested.objects().filter(|(object, _)| !object.name().is_empty()) {
            let mut key = object.key();
            if key.namespace.is_empty() && !is_cluster_wide(object) {
                key.namespace.clone_from(&destination.namespace);
            }
            owners.entry((cluster.clone(), key.to_string())).or_default().push((&tested.name, place));
        }
    }
    let mut findings = Vec::new();
    for ((_, key), owners) in owners {
        let names: BTreeSet<&str> = owners.iter().map(|(name, _)| *name).collect();
        for (name, place) in &owners {
            let others: Vec<&str> = names.iter().copied().filter(|other| other != name).collect();
            if !others.is_empty() {
                let message = format!(
                    "{key} is declared by {} too: each would take it from the other",
                    others.join(", ")
                );
                findings.push(Finding::new(Rule::Conflict, name, Some(place.clone()), message));
            }
        }
    }
    findings
}

/// Kinds that have no namespace: one that an Application's destination gives them would make equal objects differ.
fn is_cluster_wide(object: &Object) -> bool {
    let kind = object.kind();
    kind.starts_with("Cluster")
        || [
            "Namespace",
            "CustomResourceDefinition",
            "PersistentVolume",
            "StorageClass",
            "PriorityClass",
            "IngressClass",
            "RuntimeClass",
            "APIService",
            "MutatingWebhookConfiguration",
            "ValidatingWebhookConfiguration",
            "ValidatingAdmissionPolicy",
            "ValidatingAdmissionPolicyBinding",
        ]
        .contains(&kind)
}

/// Kustomizations that no Application's render has read. One whose files only a failed render would read is not told of.
fn orphans(fleet: &Fleet, paths: &[RepoPath], tree: &dyn Tree) -> Vec<Finding> {
    let read: BTreeSet<&RepoPath> = fleet
        .applications
        .values()
        .flat_map(|tested| &tested.rendered)
        .flat_map(|rendered| rendered.inputs.iter().map(|(path, _)| path))
        .collect();
    let failed: Vec<RepoPath> = fleet
        .applications
        .values()
        .filter(|tested| !tested.is_whole)
        .flat_map(|tested| tested.application.spec.effective_sources())
        .filter_map(|source| RepoPath::root().join_lenient(&source.path).ok())
        .collect();
    let is_kustomization =
        |path: &&RepoPath| path.file_name().is_some_and(|name| KUSTOMIZATION_FILES.contains(&name));
    let unread = paths.iter().filter(is_kustomization).filter(|path| !read.contains(path));
    let unread = unread.filter(|path| !failed.iter().any(|failed| path.is_within(failed)));
    // A base may be meant for overlays that are to come; what is an overlay has a base.
    unread
        .filter(|path| failed.is_empty() || !is_component(tree, path))
        .map(|path| {
            let directory = path.parent().unwrap_or_else(RepoPath::root);
            let message = format!(
                "no application leads to the kustomization of '{directory}': declare one, or remove it"
            );
            Finding::new(Rule::OrphanOverlay, "", Some(Place { path: path.clone(), line: 1 }), message)
        })
        .collect()
}

/// Whether a file declares a Kustomize component, which a render that failed may have been about to read.
fn is_component(tree: &dyn Tree, path: &RepoPath) -> bool {
    tree.content(path, 1 << 20).is_ok_and(|text| String::from_utf8_lossy(&text).contains("kind: Component"))
}

/// The images of an object's containers.
fn images(object: &Object) -> Vec<String> {
    let mut images = BTreeSet::new();
    for pointer in POD_SPECS {
        let Some(spec) = object.value().pointer(pointer) else { continue };
        for field in ["containers", "initContainers"] {
            let containers = spec.get(field).and_then(Value::as_array).into_iter().flatten();
            images.extend(
                containers.filter_map(|it| it.get("image")).filter_map(Value::as_str).map(ToOwned::to_owned),
            );
        }
    }
    images.into_iter().collect()
}

/// Whether an image's name says nothing of its version.
fn is_latest(image: &str) -> bool {
    if image.contains('@') {
        return false;
    }
    let name = image.rsplit('/').next().unwrap_or(image);
    name.split_once(':').is_none_or(|(_, tag)| tag == "latest")
}

/// Whether a Secret has values. One that a controller fills in has none, and placeholders are none.
fn has_plain_values(object: &Object) -> bool {
    let is_placeholder = |value: &Value| {
        value.as_str().is_none_or(|text| text.is_empty() || (text.starts_with('<') && text.ends_with('>')))
    };
    let is_token =
        object.value().get("type").and_then(Value::as_str) == Some("kubernetes.io/service-account-token");
    object.is_secret()
        && !is_token
        && ["data", "stringData"].iter().any(|field| {
            let values = object.value().get(field).and_then(Value::as_object);
            values.is_some_and(|values| values.values().any(|value| !is_placeholder(value)))
        })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_image_has_a_version_or_is_another_one_tomorrow() {
        for image in ["nginx", "nginx:latest", "registry.example.com:5000/team/nginx", "a/b:latest"] {
            assert!(is_latest(image), "{image}");
        }
        for image in [
            "nginx:1.27",
            "registry.example.com:5000/nginx:1",
            "nginx@sha256:0123",
            "nginx:latest@sha256:0123",
        ] {
            assert!(!is_latest(image), "{image}");
        }
    }

    #[test]
    fn images_are_found_wherever_pods_are_described() {
        let pod = json!({ "containers": [{ "image": "a" }], "initContainers": [{ "image": "b:1" }] });
        for (kind, spec) in [
            ("Pod", pod.clone()),
            ("Deployment", json!({ "template": { "spec": pod } })),
            ("CronJob", json!({ "jobTemplate": { "spec": { "template": { "spec": pod } } } })),
        ] {
            let object =
                json!({ "apiVersion": "v1", "kind": kind, "metadata": { "name": "x" }, "spec": spec });
            assert_eq!(images(&Object::from_value(object).unwrap()), ["a", "b:1"], "{kind}");
        }
    }

    #[test]
    fn only_values_make_a_secret_plain() {
        let secret = |rest: Value| {
            let mut value = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "s" } });
            json_patch::merge(&mut value, &rest);
            has_plain_values(&Object::from_value(value).unwrap())
        };
        assert!(secret(json!({ "stringData": { "a": "b" } })) && secret(json!({ "data": { "a": "Yg==" } })));
        assert!(!secret(json!({})) && !secret(json!({ "stringData": { "a": "" } })));
        assert!(!secret(json!({ "stringData": { "a": "<path:vault/a>" } })));
        assert!(!secret(json!({ "type": "kubernetes.io/service-account-token", "data": {} })));
    }
}
