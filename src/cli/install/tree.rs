//! The options as a kustomization over the files of `deploy/`, and what it renders to.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{InstallError, InstallMode, InstallOptions, files::FILES};
use crate::{
    api::{ApplicationSource, names},
    files::{FileLimits, Files, MemoryTree, RepoPath},
    object::{Object, yaml},
    render::{RenderContext, render},
    sync::order::kind_rank,
};

/// Where the options stand among the files of `deploy/`.
const CHOSEN: &str = "install/chosen";
/// The same with the namespaces that are deployed to.
const ALL: &str = "install/all";

/// The objects that the options ask for, in the order in which they are applied.
///
/// # Errors
/// When the image or a namespace is none.
pub(super) fn objects(options: &InstallOptions) -> Result<Vec<Object>, InstallError> {
    let (name, tag, digest) = image(&options.image)?;
    let is_shadow = options.mode == InstallMode::Shadow;
    let resources: Vec<_> = [
        ("../../crds", !options.namespaced && !is_shadow),
        ("../../agent", !is_shadow),
        ("../../grafana", !is_shadow),
        ("../../prometheus", !is_shadow && !options.without_monitoring),
        ("../../shadow", is_shadow),
        ("../../shadow/prometheus", is_shadow && !options.without_monitoring),
    ]
    .into_iter()
    .filter_map(|(resource, is_wanted)| is_wanted.then_some(resource))
    .collect();
    let is_cluster_wide = !options.least_privilege && !options.namespaced && !is_shadow;
    let components: Vec<_> = [
        ("../../components/cluster-wide", is_cluster_wide),
        ("../../components/namespaced", options.namespaced),
        ("../../components/high-availability", options.ha),
    ]
    .into_iter()
    .filter_map(|(component, is_wanted)| is_wanted.then_some(component))
    .collect();
    let mut chosen = json!({
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": resources,
        "components": components,
        "images": [{ "name": "skiff", "newName": name, "newTag": tag, "digest": digest }],
    });
    if let Some(chosen) = chosen.as_object_mut() {
        if options.namespace != names::DEFAULT_NAMESPACE {
            chosen.insert("namespace".to_owned(), options.namespace.clone().into());
        }
        if !options.target_namespaces.is_empty() {
            chosen.insert("patches".to_owned(), json!([targets_argument(&options.target_namespaces)]));
        }
    }
    let mut tree = MemoryTree::new(FILES.iter().map(|file| (file.path, file.text)))?;
    let mut add = |folder: &str, kustomization: &Value| -> Result<(), InstallError> {
        let path = RepoPath::parse(&format!("{folder}/kustomization.yaml"))?;
        tree.insert(path, yaml::to_string(kustomization));
        Ok(())
    };
    add(CHOSEN, &chosen)?;
    let mut all = vec!["../chosen".to_owned()];
    for namespace in &options.target_namespaces {
        if !is_label(namespace) {
            return Err(InstallError::Namespace(namespace.clone()));
        }
        add(&format!("install/targets/{namespace}"), &target(namespace, &options.namespace))?;
        all.push(format!("../targets/{namespace}"));
    }
    add(ALL, &json!({ "resources": all }))?;
    let files = Files::new(Arc::new(tree), FileLimits::default());
    let source = ApplicationSource { path: ALL.to_owned(), ..Default::default() };
    let rendered = render(&files, &source, &RenderContext::default());
    let rendered = rendered.map_err(|error| InstallError::Render(Box::new(error)))?;
    let mut objects: Vec<Object> = rendered.objects.into_iter().map(|rendered| rendered.object).collect();
    objects.sort_by_key(|object| kind_rank(object.kind()));
    Ok(objects)
}

/// The agent's argument that names the namespaces which it deploys to.
fn targets_argument(namespaces: &[String]) -> Value {
    let argument = format!("--target-namespaces={}", namespaces.join(","));
    let patch =
        json!([{ "op": "add", "path": "/spec/template/spec/containers/0/args/-", "value": argument }]);
    json!({ "target": { "kind": "Deployment", "name": "skiff-agent" }, "patch": yaml::to_string(&patch) })
}

/// What an agent of another namespace may do in one that it deploys to.
fn target(namespace: &str, of_agent: &str) -> Value {
    let patch = json!([{ "op": "replace", "path": "/subjects/0/namespace", "value": of_agent }]);
    json!({
        "namespace": namespace,
        "resources": ["../../../namespace"],
        "patches": [{ "target": { "kind": "RoleBinding" }, "patch": yaml::to_string(&patch) }],
    })
}

/// Whether a text can be a namespace's name.
fn is_label(text: &str) -> bool {
    let is_fit = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&text.len())
        && text.bytes().all(is_fit)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// Name, tag and digest of an image.
fn image(text: &str) -> Result<(&str, &str, &str), InstallError> {
    let (rest, digest) = text.split_once('@').unwrap_or((text, ""));
    let name_begin = rest.rfind('/').map_or(0, |slash| slash + 1);
    let (name, tag) = match rest.rfind(':').filter(|colon| *colon >= name_begin) {
        Some(colon) => (rest.get(..colon).unwrap_or_default(), rest.get(colon + 1..).unwrap_or_default()),
        None => (rest, ""),
    };
    let is_sound = |part: &str| !part.contains(|c: char| c.is_whitespace() || c.is_control());
    if name.is_empty() || ![name, tag, digest].into_iter().all(is_sound) || rest.ends_with(':') {
        return Err(InstallError::Image(text.to_owned()));
    }
    Ok((name, tag, digest))
}
