mod attacks;
mod cache;
mod directory;
mod kustomize;
mod parameters;
mod remotes;

use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::{
    error::chain,
    files::{FileLimits, Files, MemoryTree},
};

fn tree(files: &[(&str, &str)]) -> MemoryTree {
    MemoryTree::new(files.iter().copied()).unwrap()
}

fn path(text: &str) -> RepoPath {
    RepoPath::parse(text).unwrap()
}

/// A source as an Application would have it.
fn source(spec: Value) -> ApplicationSource {
    let mut spec = spec;
    spec.as_object_mut().unwrap().entry("repoURL").or_insert_with(|| json!("https://example.com/repo.git"));
    serde_json::from_value(spec).unwrap()
}

fn context() -> RenderContext {
    RenderContext {
        application_name: "orders".into(),
        destination_namespace: "shop".into(),
        project_name: "default".into(),
        revision: "0123456789abcdef0123456789abcdef01234567".into(),
        ..RenderContext::default()
    }
}

fn try_render(tree: MemoryTree, spec: Value) -> Result<Rendered, RenderError> {
    render(&Files::new(Arc::new(tree), FileLimits::default()), &source(spec), &context())
}

fn rendered(files: &[(&str, &str)], spec: Value) -> Rendered {
    try_render(tree(files), spec).unwrap_or_else(|error| panic!("{}", chain(&error)))
}

/// The whole message of a failing render.
fn refusal(tree: MemoryTree, spec: Value) -> String {
    match try_render(tree, spec) {
        Ok(rendered) => panic!("rendered {} objects", rendered.objects.len()),
        Err(error) => chain(&error),
    }
}

fn names(rendered: &Rendered) -> Vec<&str> {
    rendered.objects.iter().map(|rendered| rendered.object.name()).collect()
}

fn config_map(name: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\n")
}
