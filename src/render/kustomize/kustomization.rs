//! The kustomization file as data.
//!
//! ```text
//! bytes ──yaml 1.1──▶ Value ──decode──▶ Kustomization ──fix (deprecated spellings)──▶ accumulate
//! ```
//!
//! Fields have the names that the file has. What a field does is told by the module that carries it out.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::{
    decode::{UnknownFields, decode},
    error::KustomizeError,
    fieldspec::FieldSpec,
    replacement::{Replacement, Source, Target},
    selector::Selector,
};
use crate::files::RepoPath;

const API_VERSION: &str = "kustomize.config.k8s.io/v1beta1";
const COMPONENT_API_VERSION: &str = "kustomize.config.k8s.io/v1alpha1";
pub(super) const COMPONENT: &str = "Component";

/// A kustomization file.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Kustomization {
    pub api_version: String,
    pub kind: String,
    metadata: Metadata,
    pub resources: Vec<String>,
    bases: Vec<String>,
    pub components: Vec<String>,
    pub crds: Vec<String>,
    pub generators: Vec<String>,
    pub transformers: Vec<String>,
    pub validators: Vec<String>,
    pub configurations: Vec<String>,
    pub name_prefix: String,
    pub name_suffix: String,
    pub namespace: String,
    pub labels: Vec<Label>,
    pub common_labels: BTreeMap<String, String>,
    pub common_annotations: BTreeMap<String, String>,
    pub patches: Vec<Patch>,
    pub patches_strategic_merge: Vec<String>,
    pub patches_json6902: Vec<Patch>,
    pub images: Vec<Image>,
    image_tags: Vec<Image>,
    pub replicas: Vec<Replica>,
    pub replacements: Vec<ReplacementEntry>,
    pub vars: Vec<Var>,
    pub config_map_generator: Vec<GeneratorArguments>,
    pub secret_generator: Vec<GeneratorArguments>,
    pub generator_options: Option<GeneratorOptions>,
    helm_globals: Option<Value>,
    helm_charts: Vec<Value>,
    helm_chart_inflation_generator: Vec<Value>,
    pub openapi: BTreeMap<String, String>,
    pub build_metadata: Vec<String>,
    pub sort_options: Option<SortOptions>,
}

/// `metadata`, which is checked and without effect.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Metadata {
    name: String,
    namespace: String,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
}

/// An entry of `labels`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Label {
    pub pairs: BTreeMap<String, String>,
    pub include_selectors: bool,
    pub include_templates: bool,
    pub fields: Vec<FieldSpec>,
}

/// An entry of `patches` or `patchesJson6902`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Patch {
    pub path: String,
    pub patch: String,
    pub target: Option<Selector>,
    pub options: BTreeMap<String, bool>,
}

/// An entry of `images`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Image {
    pub name: String,
    pub new_name: String,
    pub new_tag: String,
    pub digest: String,
    pub tag_suffix: String,
}

/// An entry of `replicas`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Replica {
    pub name: String,
    pub count: i64,
}

/// An entry of `replacements`: a file, or a replacement in place.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct ReplacementEntry {
    pub path: String,
    source: Option<Source>,
    source_value: Option<String>,
    targets: Option<Vec<Target>>,
}

impl ReplacementEntry {
    /// The replacement that is written in place, if any part of one is.
    pub fn inline(&self) -> Option<Replacement> {
        let Self { path: _, source, source_value, targets } = self;
        if source.is_none() && source_value.is_none() && targets.is_none() {
            return None;
        }
        Some(Replacement {
            source: source.clone(),
            source_value: source_value.clone(),
            targets: targets.clone(),
        })
    }
}

/// An entry of `vars`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Var {
    pub name: String,
    pub objref: VarObject,
    pub fieldref: VarField,
}

/// The object that a var reads.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct VarObject {
    pub api_version: String,
    pub group: String,
    pub version: String,
    pub kind: String,
    pub name: String,
    pub namespace: String,
}

/// The field that a var reads.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct VarField {
    pub field_path: String,
}

/// An entry of `configMapGenerator` or `secretGenerator`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct GeneratorArguments {
    pub name: String,
    pub namespace: String,
    pub behavior: String,
    pub literals: Vec<String>,
    pub files: Vec<String>,
    pub envs: Vec<String>,
    pub env: String,
    pub options: Option<GeneratorOptions>,
    /// Of Secrets only.
    #[serde(rename = "type")]
    pub secret_type: Option<String>,
}

/// `generatorOptions`, and the options of one generator.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct GeneratorOptions {
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    pub disable_name_suffix_hash: bool,
    pub immutable: bool,
}

/// `sortOptions`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct SortOptions {
    pub order: String,
    pub legacy_sort_options: Option<LegacySortOptions>,
}

/// Which kinds come first and last.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct LegacySortOptions {
    pub order_first: Vec<String>,
    pub order_last: Vec<String>,
}

impl Kustomization {
    /// Reads a kustomization from its value, replaces deprecated spellings, and adds a warning for each that it has.
    ///
    /// # Errors
    /// When a field is unknown or of the wrong type, when kind or apiVersion are not those of a kustomization, or
    /// when it asks for Helm.
    pub fn from_value(
        value: &Value,
        file: &RepoPath,
        warnings: &mut Vec<String>,
    ) -> Result<Self, KustomizeError> {
        let mut this: Self = decode(value, UnknownFields::Reject)
            .map_err(|source| KustomizeError::Decode { file: file.clone(), source })?;
        this.check(file)?;
        this.warn(file, warnings);
        this.resources.append(&mut this.bases);
        this.images.append(&mut this.image_tags);
        for arguments in this.config_map_generator.iter_mut().chain(&mut this.secret_generator) {
            if !arguments.env.is_empty() {
                arguments.envs.push(std::mem::take(&mut arguments.env));
            }
        }
        Ok(this)
    }

    fn check(&mut self, file: &RepoPath) -> Result<(), KustomizeError> {
        let expected = match self.kind.as_str() {
            "" | "Kustomization" => API_VERSION,
            COMPONENT => COMPONENT_API_VERSION,
            other => {
                return Err(KustomizeError::invalid(format!(
                    "'{file}' has kind '{other}': it must be Kustomization or Component"
                )));
            }
        };
        if self.kind.is_empty() {
            "Kustomization".clone_into(&mut self.kind);
        }
        let is_known = self.api_version.is_empty()
            || self.api_version == expected
            || (self.kind == COMPONENT && self.api_version == API_VERSION);
        if !is_known {
            return Err(KustomizeError::invalid(format!(
                "'{file}' has apiVersion '{}': for kind {} it must be '{expected}'",
                self.api_version, self.kind
            )));
        }
        if !self.helm_charts.is_empty()
            || !self.helm_chart_inflation_generator.is_empty()
            || self.helm_globals.is_some()
        {
            return Err(KustomizeError::invalid(format!(
                "'{file}' uses helmCharts, which is not supported yet: Helm charts cannot be rendered; \
                 keep the rendered manifests in Git and name them under 'resources'"
            )));
        }
        let typed = self.config_map_generator.iter().find(|arguments| arguments.secret_type.is_some());
        if let Some(arguments) = typed {
            return Err(KustomizeError::invalid(format!(
                "'{file}': configMapGenerator '{}' has the unknown field 'type'",
                arguments.name
            )));
        }
        Ok(())
    }

    fn warn(&self, file: &RepoPath, warnings: &mut Vec<String>) {
        let deprecated = [
            (!self.bases.is_empty(), "bases", "resources"),
            (!self.common_labels.is_empty(), "commonLabels", "labels"),
            (!self.image_tags.is_empty(), "imageTags", "images"),
            (!self.patches_json6902.is_empty(), "patchesJson6902", "patches"),
            (!self.patches_strategic_merge.is_empty(), "patchesStrategicMerge", "patches"),
            (!self.vars.is_empty(), "vars", "replacements"),
        ];
        for (_, old, new) in deprecated.iter().filter(|(is_used, _, _)| *is_used) {
            warnings.push(format!("'{file}': field '{old}' is deprecated, use '{new}' instead"));
        }
    }
}

/// Whether a kustomization says nothing but what it is.
pub(super) fn is_empty(value: &Value) -> bool {
    let Value::Object(fields) = value else {
        return value.is_null();
    };
    fields.iter().all(|(key, value)| {
        let is_header = ["apiVersion", "kind"].iter().any(|header| header.eq_ignore_ascii_case(key));
        is_header || matches!(value, Value::Null) || value.as_str() == Some("")
    })
}
