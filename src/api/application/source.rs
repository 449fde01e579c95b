//! Where manifests come from and how they are rendered.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::{omit, string_enum::string_enum};

string_enum! {
    /// The tool that renders a source.
    pub enum ApplicationSourceType, otherwise Directory {
        /// A Helm chart.
        Helm = "Helm",
        /// A Kustomize tree.
        Kustomize = "Kustomize",
        /// Plain manifests.
        Directory = "Directory",
        /// A config management plugin.
        Plugin = "Plugin",
    }
}

// A status repeats it several times, so what is rare is kept outside of it.
/// One place that manifests come from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(extend("required" = ["repoURL"]))]
pub struct ApplicationSource {
    /// A chart's name in a Helm repository. Excludes `path`.
    #[serde(skip_serializing_if = "omit::zero")]
    pub chart: String,
    /// Options for a directory of plain manifests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub directory: Option<Box<ApplicationSourceDirectory>>,
    /// Options for Helm.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub helm: Option<Box<ApplicationSourceHelm>>,
    /// Options for Kustomize.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kustomize: Option<Box<ApplicationSourceKustomize>>,
    /// A name to select this source by when there are several.
    #[serde(skip_serializing_if = "omit::zero")]
    pub name: String,
    /// A directory in the repository; `.` for its root.
    #[serde(skip_serializing_if = "omit::zero")]
    pub path: String,
    /// Options for a config management plugin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plugin: Option<Box<ApplicationSourcePlugin>>,
    /// An alias by which other sources refer to this one's files.
    #[serde(rename = "ref", skip_serializing_if = "omit::zero")]
    pub reference: String,
    /// The URL of the repository.
    #[serde(rename = "repoURL")]
    pub repo_url: String,
    /// Only tags with this prefix are candidates of a version range.
    #[serde(skip_serializing_if = "omit::zero")]
    pub tag_prefix: String,
    /// A branch, tag, commit or version range; empty means `HEAD`.
    #[serde(skip_serializing_if = "omit::zero")]
    pub target_revision: String,
}

impl ApplicationSource {
    /// The tools whose options are set. More than one is an error of the spec.
    pub fn explicit_types(&self) -> Vec<ApplicationSourceType> {
        let set = [
            (ApplicationSourceType::Helm, self.helm.is_some()),
            (ApplicationSourceType::Kustomize, self.kustomize.is_some()),
            (ApplicationSourceType::Directory, self.directory.is_some()),
            (ApplicationSourceType::Plugin, self.plugin.is_some()),
        ];
        set.into_iter().filter_map(|(source_type, is_set)| is_set.then_some(source_type)).collect()
    }

    /// The revision that is asked for: `HEAD` when none is written.
    pub fn revision(&self) -> &str {
        if self.target_revision.is_empty() { "HEAD" } else { &self.target_revision }
    }

    /// What is wrong with this source, if anything.
    ///
    /// A source of several may have nothing but a `ref`; `of_several` allows that.
    pub fn problem(&self, of_several: bool) -> Option<String> {
        if self.repo_url.is_empty() {
            return Some("'repoURL' is missing: set it to the repository's URL".to_owned());
        }
        let set = self.explicit_types();
        if set.len() > 1 {
            let names: Vec<&str> = set.iter().map(|source_type| source_type.as_str()).collect();
            return Some(format!(
                "multiple application sources defined: {}: keep one of them",
                names.join(",")
            ));
        }
        if !self.chart.is_empty() && self.target_revision.is_empty() {
            return Some("'targetRevision' is missing: a chart needs a version".to_owned());
        }
        let is_reference = of_several && !self.reference.is_empty();
        if self.path.is_empty() && self.chart.is_empty() && !is_reference {
            return Some(
                "neither 'path' nor 'chart' is set: set 'path' to a directory of the repository ('.' for its root)"
                    .to_owned(),
            );
        }
        None
    }
}

/// Options for a directory of plain manifests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct ApplicationSourceDirectory {
    /// Read files whatever their extension.
    #[serde(skip_serializing_if = "omit::zero")]
    pub disable_extension_filter: bool,
    /// A glob of files to leave out; it wins over `include`.
    #[serde(skip_serializing_if = "omit::zero")]
    pub exclude: String,
    /// A glob of the only files to read.
    #[serde(skip_serializing_if = "omit::zero")]
    pub include: String,
    /// Options for Jsonnet files.
    #[serde(skip_serializing_if = "omit::zero")]
    pub jsonnet: ApplicationSourceJsonnet,
    /// Read subdirectories too.
    #[serde(skip_serializing_if = "omit::zero")]
    pub recurse: bool,
}

/// Options for Jsonnet files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct ApplicationSourceJsonnet {
    /// External variables.
    #[serde(skip_serializing_if = "omit::zero")]
    pub ext_vars: Vec<JsonnetVar>,
    /// Directories to search for libraries.
    #[serde(skip_serializing_if = "omit::zero")]
    pub libs: Vec<String>,
    /// Top-level arguments.
    #[serde(skip_serializing_if = "omit::zero")]
    pub tlas: Vec<JsonnetVar>,
}

/// A value handed to Jsonnet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(extend("required" = ["name", "value"]))]
pub struct JsonnetVar {
    /// Whether the value is Jsonnet code rather than text.
    #[serde(skip_serializing_if = "omit::zero")]
    pub code: bool,
    /// Name.
    pub name: String,
    /// Text or code.
    pub value: String,
}

/// Options for Helm.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct ApplicationSourceHelm {
    /// API versions that templates see; by default those of the cluster.
    #[serde(skip_serializing_if = "omit::zero")]
    pub api_versions: Vec<String>,
    /// Parameters whose values are read from files.
    #[serde(skip_serializing_if = "omit::zero")]
    pub file_parameters: Vec<HelmFileParameter>,
    /// Skip value files that do not exist.
    #[serde(skip_serializing_if = "omit::zero")]
    pub ignore_missing_value_files: bool,
    /// Kubernetes version that templates see; by default that of the cluster.
    #[serde(skip_serializing_if = "omit::zero")]
    pub kube_version: String,
    /// Release namespace; by default the destination's.
    #[serde(skip_serializing_if = "omit::zero")]
    pub namespace: String,
    /// Parameters; they win over all values.
    #[serde(skip_serializing_if = "omit::zero")]
    pub parameters: Vec<HelmParameter>,
    /// Send the repository's credentials to every host that its charts come from.
    #[serde(skip_serializing_if = "omit::zero")]
    pub pass_credentials: bool,
    /// Release name; by default the Application's.
    #[serde(skip_serializing_if = "omit::zero")]
    pub release_name: String,
    /// Leave out the chart's CRDs.
    #[serde(skip_serializing_if = "omit::zero")]
    pub skip_crds: bool,
    /// Do not check values against the chart's schema.
    #[serde(skip_serializing_if = "omit::zero")]
    pub skip_schema_validation: bool,
    /// Leave out test manifests.
    #[serde(skip_serializing_if = "omit::zero")]
    pub skip_tests: bool,
    /// Value files, later ones winning.
    #[serde(skip_serializing_if = "omit::zero")]
    pub value_files: Vec<String>,
    /// Values as YAML text.
    #[serde(skip_serializing_if = "omit::zero")]
    pub values: String,
    /// Values as an object; it wins over `values`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("type" = "object", "x-kubernetes-preserve-unknown-fields" = true))]
    pub values_object: Option<serde_json::Value>,
    /// Helm's major version; accepted for compatibility.
    #[serde(skip_serializing_if = "omit::zero")]
    pub version: String,
}

/// A Helm parameter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct HelmParameter {
    /// Take the value as a string whatever it looks like.
    #[serde(skip_serializing_if = "omit::zero")]
    pub force_string: bool,
    /// Path of the value.
    #[serde(skip_serializing_if = "omit::zero")]
    pub name: String,
    /// The value.
    #[serde(skip_serializing_if = "omit::zero")]
    pub value: String,
}

/// A Helm parameter whose value is read from a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct HelmFileParameter {
    /// Path of the value.
    #[serde(skip_serializing_if = "omit::zero")]
    pub name: String,
    /// Path of the file.
    #[serde(skip_serializing_if = "omit::zero")]
    pub path: String,
}

/// Options for Kustomize, as if written in a kustomization on top of the source's own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct ApplicationSourceKustomize {
    /// API versions that Helm charts inside of the tree see.
    #[serde(skip_serializing_if = "omit::zero")]
    pub api_versions: Vec<String>,
    /// Annotations for every object.
    #[serde(skip_serializing_if = "omit::zero")]
    pub common_annotations: BTreeMap<String, String>,
    /// Replace `$VARIABLES` of the build environment in the annotations' values.
    #[serde(skip_serializing_if = "omit::zero")]
    pub common_annotations_envsubst: bool,
    /// Labels for every object.
    #[serde(skip_serializing_if = "omit::zero")]
    pub common_labels: BTreeMap<String, String>,
    /// Components to add.
    #[serde(skip_serializing_if = "omit::zero")]
    pub components: Vec<String>,
    /// Let these annotations win over those of the tree.
    #[serde(skip_serializing_if = "omit::zero")]
    pub force_common_annotations: bool,
    /// Let these labels win over those of the tree.
    #[serde(skip_serializing_if = "omit::zero")]
    pub force_common_labels: bool,
    /// Skip components that do not exist.
    #[serde(skip_serializing_if = "omit::zero")]
    pub ignore_missing_components: bool,
    /// Images, each `[old=]name[:tag|@digest]`.
    #[serde(skip_serializing_if = "omit::zero")]
    pub images: Vec<String>,
    /// Kubernetes version that Helm charts inside of the tree see.
    #[serde(skip_serializing_if = "omit::zero")]
    pub kube_version: String,
    /// Put the labels into pod templates too, though not into selectors.
    #[serde(skip_serializing_if = "omit::zero")]
    pub label_include_templates: bool,
    /// Keep the labels out of selectors.
    #[serde(skip_serializing_if = "omit::zero")]
    pub label_without_selector: bool,
    /// Prefix for every object's name.
    #[serde(skip_serializing_if = "omit::zero")]
    pub name_prefix: String,
    /// Suffix for every object's name.
    #[serde(skip_serializing_if = "omit::zero")]
    pub name_suffix: String,
    /// Namespace for every namespaced object.
    #[serde(skip_serializing_if = "omit::zero")]
    pub namespace: String,
    /// Patches.
    #[serde(skip_serializing_if = "omit::zero")]
    pub patches: Vec<KustomizePatch>,
    /// Replica counts.
    #[serde(skip_serializing_if = "omit::zero")]
    pub replicas: Vec<KustomizeReplica>,
    /// A Kustomize version named in the settings.
    #[serde(skip_serializing_if = "omit::zero")]
    pub version: String,
}

/// A patch, strategic merge or JSON 6902, inline or in a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct KustomizePatch {
    /// `allowNameChange`, `allowKindChange`.
    #[serde(skip_serializing_if = "omit::zero")]
    pub options: BTreeMap<String, bool>,
    /// The patch itself.
    #[serde(skip_serializing_if = "omit::zero")]
    pub patch: String,
    /// The file that has the patch.
    #[serde(skip_serializing_if = "omit::zero")]
    pub path: String,
    /// The objects to patch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<KustomizeSelector>,
}

/// Which objects a patch is for. Empty fields match everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct KustomizeSelector {
    /// Selector over annotations.
    #[serde(skip_serializing_if = "omit::zero")]
    pub annotation_selector: String,
    /// API group.
    #[serde(skip_serializing_if = "omit::zero")]
    pub group: String,
    /// Kind.
    #[serde(skip_serializing_if = "omit::zero")]
    pub kind: String,
    /// Selector over labels.
    #[serde(skip_serializing_if = "omit::zero")]
    pub label_selector: String,
    /// Name, an anchored regular expression.
    #[serde(skip_serializing_if = "omit::zero")]
    pub name: String,
    /// Namespace, an anchored regular expression.
    #[serde(skip_serializing_if = "omit::zero")]
    pub namespace: String,
    /// API version.
    #[serde(skip_serializing_if = "omit::zero")]
    pub version: String,
}

/// A replica count for the workloads of one name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(extend("required" = ["count", "name"]))]
pub struct KustomizeReplica {
    /// How many.
    pub count: IntOrString,
    /// The workload's name.
    pub name: String,
}

/// A number, or a text that holds one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum IntOrString {
    /// A number.
    Int(i64),
    /// A text.
    String(String),
}

impl IntOrString {
    /// The number; `None` when the text is not one.
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Self::Int(number) => Some(*number),
            Self::String(text) => text.trim().parse().ok(),
        }
    }
}

impl Default for IntOrString {
    fn default() -> Self {
        Self::Int(0)
    }
}

impl JsonSchema for IntOrString {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "IntOrString".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "anyOf": [{ "type": "integer" }, { "type": "string" }],
            "x-kubernetes-int-or-string": true,
        })
    }
}

/// Options for a config management plugin.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct ApplicationSourcePlugin {
    /// Environment of the plugin.
    #[serde(skip_serializing_if = "omit::zero")]
    pub env: Vec<EnvEntry>,
    /// The plugin's name; empty means whichever claims the source.
    #[serde(skip_serializing_if = "omit::zero")]
    pub name: String,
    /// Parameters of the plugin.
    #[serde(skip_serializing_if = "omit::zero")]
    pub parameters: Vec<ApplicationSourcePluginParameter>,
}

/// An environment variable.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(extend("required" = ["name", "value"]))]
pub struct EnvEntry {
    /// Name.
    pub name: String,
    /// Value.
    pub value: String,
}

/// A plugin's parameter: a text, a list or a map.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct ApplicationSourcePluginParameter {
    /// The value as a list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub array: Option<Vec<String>>,
    /// The value as a map.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub map: Option<BTreeMap<String, String>>,
    /// Name.
    #[serde(skip_serializing_if = "omit::zero")]
    pub name: String,
    /// The value as a text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub string: Option<String>,
}
