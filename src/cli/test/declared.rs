//! The Applications of a repository, and what they render to.
//!
//! ```text
//! files ─▶ Applications ─render─▶ objects ─▶ Applications among them ─render─▶ …
//! ```
//!
//! An Application that another one declares counts as rendered, not as it stands in a file: a kustomization may have
//! changed it.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::Value;

use super::finding::{Finding, Place, Rule, place_in};
use crate::{
    api::{Application, ApplicationSource, names},
    cli::render::{Fetcher, rendered_in},
    error::chain,
    files::{EntryKind, FilesError, RepoPath, Tree},
    git::RepoUrl,
    glob::Glob,
    object::{Object, yaml},
    render::{RenderContext, Rendered},
};

/// Directories inside of each other.
const MAX_DEPTH: usize = 64;
/// Files that are looked at.
const MAX_FILES: usize = 50_000;
/// A larger file is no Application.
const MAX_BYTES: u64 = 4 << 20;
/// Applications of Applications of Applications …
const MAX_ROUNDS: usize = 16;

/// An Application or AppProject, and where it is declared.
#[derive(Clone, Debug)]
pub(super) struct Declared {
    /// The object, with its namespace.
    pub(super) value: Value,
    /// The line on which its document begins.
    pub(super) place: Place,
}

/// An Application that was rendered.
pub(super) struct Tested {
    /// `namespace/name`.
    pub(super) name: String,
    /// The Application.
    pub(super) application: Application,
    /// Where it is declared, and as what.
    pub(super) declared: Declared,
    /// What its sources in this repository render to, one entry each.
    pub(super) rendered: Vec<Rendered>,
    /// Whether all of it was rendered: then it can be synced too.
    pub(super) is_whole: bool,
}

/// Everything that a repository declares.
#[derive(Default)]
pub(super) struct Fleet {
    /// The Applications, by `namespace/name`.
    pub(super) applications: BTreeMap<String, Tested>,
    /// The AppProjects, by `namespace/name`.
    pub(super) projects: BTreeMap<String, Declared>,
    /// What was wrong.
    pub(super) findings: Vec<Finding>,
}

/// All files of a tree, without those of Git itself.
///
/// # Errors
/// When a directory cannot be read, or there are too many files.
pub(super) fn files(tree: &dyn Tree) -> Result<Vec<RepoPath>, FilesError> {
    let (mut open, mut found) = (vec![(RepoPath::root(), 0)], Vec::new());
    while let Some((directory, depth)) = open.pop() {
        for (name, entry) in tree.children(&directory)? {
            let Ok(path) = directory.join(&name) else { continue };
            match entry.kind {
                EntryKind::Directory if name != ".git" && depth < MAX_DEPTH => open.push((path, depth + 1)),
                EntryKind::File => found.push(path),
                _ => {}
            }
        }
        if found.len() > MAX_FILES {
            let limit = MAX_FILES.to_string();
            return Err(FilesError::Limit { what: "the number of files up to", path: directory, limit });
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// The Applications and AppProjects of files, each with what it declares of itself.
fn declared_in(tree: &dyn Tree, paths: &[RepoPath], chosen: &[Glob]) -> Vec<(&'static str, Declared)> {
    let mut found = Vec::new();
    for path in paths {
        let is_yaml = [".yaml", ".yml", ".json"].iter().any(|ending| path.as_str().ends_with(ending));
        if !is_yaml {
            continue;
        }
        // What is no YAML, a template for example, is found by the render of whoever uses it.
        let Ok(text) = tree.content(path, MAX_BYTES) else { continue };
        if !text.windows(names::GROUP.len()).any(|window| window == names::GROUP.as_bytes()) {
            continue;
        }
        let Ok(documents) = yaml::parse(&text, &yaml::Options::default()) else { continue };
        for document in documents {
            let kind = match document.value.get("kind").and_then(Value::as_str) {
                Some("Application") => "Application",
                Some("AppProject") => "AppProject",
                _ => continue,
            };
            let is_chosen = chosen.is_empty() || chosen.iter().any(|glob| glob.matches(path.as_str()));
            let spec = document.value.get("spec");
            let has_source = ["source", "sources", "sourceHydrator"]
                .iter()
                .any(|field| spec.and_then(|spec| spec.get(field)).is_some());
            // A patch of one is none, and projects are needed wherever they are.
            if kind == "AppProject" || (has_source && is_chosen) {
                let place = Place { path: path.clone(), line: document.line };
                found.push((kind, Declared { value: document.value, place }));
            }
        }
    }
    found
}

/// Sets the namespace that an object has where it says none, and returns `namespace/name`.
fn identify(value: &mut Value, namespace: &str) -> String {
    let text = |value: &Value, field: &str| {
        value.pointer(field).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let mut own = text(value, "/metadata/namespace");
    if own.is_empty()
        && let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut)
    {
        namespace.clone_into(&mut own);
        metadata.insert("namespace".to_owned(), namespace.into());
    }
    format!("{own}/{}", text(value, "/metadata/name"))
}

/// The URL under which most Applications name a repository: this one, unless somebody says otherwise.
fn most_named(applications: &BTreeMap<String, Declared>) -> Option<String> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for declared in applications.values() {
        let spec = declared.value.get("spec");
        let one = spec.and_then(|spec| spec.get("source"));
        let several = spec.and_then(|spec| spec.get("sources")).and_then(Value::as_array);
        for source in one.into_iter().chain(several.into_iter().flatten()) {
            if let Some(url) = source.get("repoURL").and_then(Value::as_str).filter(|url| !url.is_empty()) {
                *counts.entry(normalized(url)).or_default() += 1;
            }
        }
    }
    counts.into_iter().max_by_key(|(_, count)| *count).map(|(url, _)| url)
}

/// A URL in the form in which equal ones are equal.
pub(super) fn normalized(url: &str) -> String {
    RepoUrl::parse(url).map_or_else(|_| url.to_owned(), |url| url.normalized())
}

/// Reads and renders the Applications of a repository. `url` is what they call it; if it is `None`, what most of them
/// name. Returns the URL too.
pub(super) async fn fleet(
    tree: &Arc<dyn Tree>,
    paths: &[RepoPath],
    chosen: &[Glob],
    url: Option<String>,
    fetcher: &mut Fetcher<'_>,
) -> (Fleet, Option<String>) {
    let mut fleet = Fleet::default();
    let mut open: BTreeMap<String, Declared> = BTreeMap::new();
    for (kind, mut declared) in declared_in(tree.as_ref(), paths, chosen) {
        let name = identify(&mut declared.value, names::DEFAULT_NAMESPACE);
        let known = if kind == "Application" { &mut open } else { &mut fleet.projects };
        known.entry(name).or_insert(declared);
    }
    let url = url.map(|url| normalized(&url)).or_else(|| most_named(&open));
    for _ in 0..MAX_ROUNDS {
        let mut next = BTreeMap::new();
        for (name, declared) in std::mem::take(&mut open) {
            if fleet.applications.get(&name).is_some_and(|known| known.declared.value == declared.value) {
                continue;
            }
            fleet.findings.retain(|finding| finding.application != name);
            let Some(tested) = test(tree, name, declared, url.as_deref(), fetcher, &mut fleet.findings).await
            else {
                continue;
            };
            let namespace = tested.application.spec.destination.namespace.clone();
            for rendered in tested.rendered.iter().flat_map(|rendered| &rendered.objects) {
                let place = Place { path: rendered.origin.path.clone(), line: rendered.origin.line };
                let mut declared = Declared { value: rendered.object.value().clone(), place };
                match (rendered.object.group(), rendered.object.kind()) {
                    (names::GROUP, "Application") => {
                        next.insert(identify(&mut declared.value, &namespace), declared);
                    }
                    (names::GROUP, "AppProject") => {
                        let name = identify(&mut declared.value, &namespace);
                        fleet.projects.insert(name, declared);
                    }
                    _ => {}
                }
            }
            fleet.applications.insert(tested.name.clone(), tested);
        }
        open = next;
        if open.is_empty() {
            break;
        }
    }
    (fleet, url)
}

/// Reads and renders one Application.
async fn test(
    tree: &Arc<dyn Tree>,
    name: String,
    declared: Declared,
    url: Option<&str>,
    fetcher: &mut Fetcher<'_>,
    findings: &mut Vec<Finding>,
) -> Option<Tested> {
    let application = match Application::from_value(declared.value.clone()) {
        Ok(application) => application,
        Err(error) => {
            let place = Some(declared.place.clone());
            findings.push(Finding::new(Rule::InvalidApplication, &name, place, chain(&error)));
            return None;
        }
    };
    let mut rendered = Vec::new();
    let mut is_whole = true;
    for source in application.spec.effective_sources() {
        let place = Some(declared.place.clone());
        if Some(normalized(&source.repo_url).as_str()) != url || !source.chart.is_empty() {
            is_whole = false;
            let message = format!("its source {} is not in this repository", source.repo_url);
            findings.push(Finding::new(Rule::NotTested, &name, place, message));
            continue;
        }
        match rendered_in(Arc::clone(tree), source.clone(), context(&application), fetcher).await {
            Ok(one) => rendered.push(one),
            Err(error) => {
                is_whole = false;
                let message = chain(&error);
                let at =
                    place_in(&message, tree.as_ref()).or_else(|| directory(&source, tree.as_ref())).or(place);
                findings.push(Finding::new(Rule::RenderError, &name, at, message));
            }
        }
    }
    Some(Tested { name, application, declared, rendered, is_whole })
}

fn context(application: &Application) -> RenderContext {
    RenderContext {
        application_name: application.name().to_owned(),
        destination_namespace: application.spec.destination.namespace.clone(),
        project_name: application.spec.project_name().to_owned(),
        ..RenderContext::default()
    }
}

/// The kustomization of a source's path, for errors that name no file.
fn directory(source: &ApplicationSource, tree: &dyn Tree) -> Option<Place> {
    let path = RepoPath::root().join_lenient(&source.path).ok()?.join("kustomization.yaml").ok()?;
    tree.entry(&path).ok()??;
    Some(Place { path, line: 1 })
}

impl Tested {
    /// Each rendered object with its namespace, and where it comes from.
    pub(super) fn objects(&self) -> impl Iterator<Item = (&Object, Place)> {
        self.rendered.iter().flat_map(|rendered| &rendered.objects).map(|rendered| {
            (&rendered.object, Place { path: rendered.origin.path.clone(), line: rendered.origin.line })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cli::render::FetchOptions, files::MemoryTree};

    const ROOT: &str = "apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {name: root}
spec:
  source: {repoURL: https://git.example.com/shop.git, path: applications}
  destination: {server: https://kubernetes.default.svc, namespace: argocd}
";

    async fn fleet_of(files_of: &[(&str, &str)], chosen: &[Glob]) -> (Fleet, Option<String>) {
        let tree: Arc<dyn Tree> = Arc::new(MemoryTree::new(files_of.iter().copied()).unwrap());
        let paths = files(tree.as_ref()).unwrap();
        let options = FetchOptions::default();
        fleet(&tree, &paths, chosen, None, &mut Fetcher::new(&options)).await
    }

    #[tokio::test]
    async fn applications_lead_to_applications() {
        let child = ROOT.replace("root", "child").replace("path: applications", "path: app");
        let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n";
        let files = [
            ("root-app.yaml", ROOT),
            ("applications/kustomization.yaml", "resources: [child.yaml]\nnamePrefix: my-\n"),
            ("applications/child.yaml", child.as_str()),
            ("app/a.yaml", map),
            ("template.yaml", "argoproj.io {{ no yaml\n"),
        ];
        let chosen = [Glob::new("root-app.yaml", crate::glob::Dialect::Path).unwrap()];
        let (fleet, url) = fleet_of(&files, &chosen).await;
        assert!(fleet.findings.is_empty(), "{:?}", fleet.findings);
        assert_eq!(url.as_deref(), Some(normalized("https://git.example.com/shop").as_str()));
        let names: Vec<_> = fleet.applications.keys().map(String::as_str).collect();
        assert_eq!(names, ["argocd/my-child", "argocd/root"]);
        assert_eq!(fleet.applications["argocd/my-child"].objects().count(), 1);
    }

    #[tokio::test]
    async fn errors_name_file_and_line_and_stop_nothing_else() {
        let broken = ROOT.replace("applications", "broken").replace("root", "broken");
        let odd = ROOT.replace("path: applications", "path: [1]").replace("root", "odd");
        let elsewhere = ROOT.replace("shop.git", "other.git").replace("root", "elsewhere");
        let files = [
            ("root-app.yaml", ROOT),
            ("broken.yaml", broken.as_str()),
            ("odd.yaml", odd.as_str()),
            ("elsewhere.yaml", elsewhere.as_str()),
            ("applications/a.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"),
            ("broken/kustomization.yaml", "resources: [b.yaml]\n"),
            ("broken/b.yaml", "kind: ConfigMap\n  a: b\n"),
        ];
        let (fleet, _) = fleet_of(&files, &[]).await;
        let found: Vec<_> = fleet
            .findings
            .iter()
            .map(|it| {
                (it.rule, it.application.as_str(), it.place.as_ref().map(|it| (it.path.as_str(), it.line)))
            })
            .collect();
        assert_eq!(
            found,
            [
                (Rule::RenderError, "argocd/broken", Some(("broken/b.yaml", 2))),
                (Rule::NotTested, "argocd/elsewhere", Some(("elsewhere.yaml", 1))),
                (Rule::InvalidApplication, "argocd/odd", Some(("odd.yaml", 1))),
            ]
        );
        assert!(fleet.applications["argocd/root"].is_whole && !fleet.applications["argocd/broken"].is_whole);
    }
}
