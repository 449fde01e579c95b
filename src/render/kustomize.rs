//! What `kustomize build` does (version 5.8.1), as a function of a tree of files.
//!
//! ```text
//! kustomization file ──decode──▶ accumulate: bases, generators, components, transformers   (once a layer)
//!                                     │
//!                                     ▼
//!              hashes ▶ name references ▶ vars ▶ local config ▶ sort ▶ objects             (once a build)
//! ```
//!
//! `load` reads files within the rules of roots; `accumulate` holds the order of work; `transform` the steps, which call
//! the `filter`s, `merge`, `json_patch` and `replacement` on single objects; `resource` and `resources` remember every id
//! that an object ever had. Where kustomize has an oddity that trees rely on, it is done here too and a comment says so.
//! Nothing is fetched and no program is run: remote bases that are not mounted in the files end the build with
//! [`KustomizeError::Remotes`], for the caller to fetch; Helm charts and functions are refused.

mod accumulate;
mod decode;
mod error;
mod fieldspec;
mod filter;
mod generator;
mod hash;
mod json_patch;
mod kustomization;
mod load;
mod manifest;
mod merge;
mod output;
mod patch;
mod plugin;
mod reference;
pub(crate) mod remote;
mod replacement;
mod resource;
mod resources;
mod schema;
mod selector;
mod shared;
mod sort;
mod steps;
#[cfg(test)]
mod tests;
mod transform;
mod vars;

pub use error::KustomizeError;
pub use remote::{Remote, RemoteSource};
use std::fmt;

use serde_json::Value;

use crate::{
    files::{Files, RepoPath},
    object::Gvk,
};

/// Which files a kustomization may read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum LoadRestrictor {
    /// Those in or below its own directory: `LoadRestrictionsRootOnly`.
    #[default]
    RootOnly,
    /// Any in the repository: `LoadRestrictionsNone`.
    None,
}

/// The order of what a kustomization without `sortOptions` makes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Reorder {
    /// By kind: Namespaces first, webhooks last.
    #[default]
    Legacy,
    /// As accumulated.
    None,
}

/// What one build may use at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Kustomizations inside of each other.
    pub depth: usize,
    /// Kustomizations that are built, each as often as it is used.
    pub kustomizations: usize,
    /// Resources.
    pub resources: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { depth: 64, kustomizations: 10_000, resources: 100_000 }
    }
}

/// How a kustomization is built.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Options {
    /// What counts as the content of the kustomization file that is built, edited by the caller with an Application's
    /// overrides for instance; without it, what the file says. Its paths are relative to the directory that is built.
    pub overlay: Option<Value>,
    /// Which files may be read.
    pub load_restrictor: LoadRestrictor,
    /// The order of the output where the kustomization does not say.
    pub reorder: Reorder,
    /// What the build may use at most.
    pub limits: Limits,
}

/// Where an object was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The manifest, or the kustomization that generated the object.
    pub path: RepoPath,
    /// The line on which its document begins, from 1.
    pub line: usize,
}

/// What a build makes.
#[derive(Debug, Default, PartialEq)]
pub struct Output {
    /// The objects, in the order in which kustomize prints them.
    pub objects: Vec<Value>,
    /// Where each of them comes from; as many as there are objects.
    pub origins: Vec<Origin>,
    /// What the user should know, deprecated fields for instance.
    pub warnings: Vec<String>,
}

/// How kustomize knows a document; parts may be empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Group, version and kind.
    pub gvk: Gvk,
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
}

impl Identity {
    /// The identity of a document.
    pub fn of(document: &Value) -> Self {
        let selector::Id { gvk, name, namespace } = resource::id_of(document);
        Self { gvk, namespace, name }
    }

    /// The namespace that the document is in as far as kustomize knows kinds: `default` where it names none, and nothing
    /// for the kinds that are outside of namespaces.
    pub fn scope(&self) -> Option<&str> {
        (!schema::is_cluster_scoped(&self.gvk))
            .then(|| schema::effective_namespace(&self.gvk, &self.namespace))
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} '{}'", self.gvk.kind, self.name)
    }
}

/// Builds the kustomization in a directory.
///
/// # Errors
/// [`KustomizeError::Remotes`] when remotes are needed that are not mounted ([`Remote::mount`]); else when the kustomization,
/// or anything that it leads to, is missing, malformed or contradictory, or passes a limit. The chain of causes leads from
/// the kustomization to the place to mend.
pub fn build(files: &Files, root: &RepoPath, options: &Options) -> Result<Output, KustomizeError> {
    build_all(files, root, options).map_err(|error| error.located(files))
}

fn build_all(files: &Files, root: &RepoPath, options: &Options) -> Result<Output, KustomizeError> {
    let mut build = accumulate::Build::new(files, options);
    let (kustomization, mut accumulator) = build.top(root).map_err(|error| {
        if error.is_of_remotes() { KustomizeError::Remotes(build.loader.needed()) } else { error }
    })?;
    build.warnings.extend(build.loader.warnings());
    transform::add_hashes(&mut accumulator.resources);
    let configuration = accumulator.configuration().clone();
    reference::repair(&mut accumulator.resources, &configuration.name_reference, files.budget())?;
    accumulator.vars.resolve(
        &mut accumulator.resources,
        &configuration.var_reference,
        &mut build.warnings,
        files.budget(),
    )?;
    accumulator.resources.retain(|resource| !output::is_local(resource));
    accumulator.resources.check_unique()?;
    let mut resources = accumulator.resources.into_vec();
    if kustomization.sort_options.is_some() || options.reorder == Reorder::Legacy {
        sort::sort(&mut resources, kustomization.sort_options.as_ref())?;
    }

    let mut output = Output { warnings: build.warnings, ..Output::default() };
    for mut resource in resources {
        output.objects.push(output::finish(&mut resource, build.metadata)?);
        let (path, line) = (resource.file.unwrap_or_else(|| root.clone()), resource.line);
        output.origins.push(Origin { path, line });
    }
    Ok(output)
}
