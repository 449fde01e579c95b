//! Built-in plugins: steps and generators configured by resources in `transformers`, `generators` and `validators`.
//!
//! A plugin's configuration is a resource with apiVersion `builtin`; fields that it does not know are passed over. A
//! plugin has the field specs in its configuration and no others. Anything that would run a program is refused.

use std::collections::BTreeMap;

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{
    decode::{UnknownFields, decode},
    error::KustomizeError,
    fieldspec::FieldSpec,
    filter::namespace::{Namespace, RoleBindingSubjects},
    generator::{self, Kind},
    json_patch,
    kustomization::{GeneratorArguments, Image, Patch, ReplacementEntry, Replica},
    load::{Loader, Root},
    manifest::{Manifest, PatchForm},
    patch::{self, Content, Permissions, Target},
    replacement::Replacement,
    resource::{Resource, describe, id_of},
    selector::Selector,
    transform::{Step, ValueTarget, image, pairs},
};
const FUNCTION_ANNOTATIONS: [&str; 2] = ["config.kubernetes.io/function", "config.k8s.io/function"];

/// A generated resource, and how it joins the others.
pub(super) struct Generated {
    pub resource: Resource,
    pub behavior: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Metadata {
    name: String,
    namespace: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Fields {
    metadata: Metadata,
    field_specs: Vec<FieldSpec>,
    prefix: String,
    suffix: String,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    image_tag: Image,
    replica: Replica,
    replacements: Vec<ReplacementEntry>,
    unset_only: bool,
    set_role_binding_subjects: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct StrategicMerge {
    paths: Vec<String>,
    patches: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Json6902 {
    target: Option<Selector>,
    path: String,
    json_op: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ValueAdd {
    value: String,
    targets: Vec<ValueAddTarget>,
    target_file_path: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ValueAddTarget {
    selector: Selector,
    field_path: String,
    file_path_position: i64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct IamPolicy {
    cloud: String,
    kubernetes_service: Metadata,
    service_account: ServiceAccount,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ServiceAccount {
    name: String,
    project_id: String,
}

/// Reads the configuration of plugins on behalf of one kustomization.
pub(super) struct Plugins<'a> {
    pub loader: &'a Loader<'a>,
    pub root: &'a Root,
}

impl Plugins<'_> {
    /// The steps that a plugin in `transformers` or `validators` stands for.
    pub fn steps(&self, config: &Value) -> Result<Vec<Step>, KustomizeError> {
        let kind = builtin_kind(config)?;
        match kind {
            "PatchTransformer" => {
                return self.patch(&fields::<Patch>(config)?, "transformers").map(|step| vec![step]);
            }
            "PatchStrategicMergeTransformer" => {
                let StrategicMerge { paths, patches } = fields(config)?;
                return self.strategic_merge(&paths, &patches).map(|step| vec![step]);
            }
            "PatchJson6902Transformer" => {
                let Json6902 { target, path, json_op } = fields(config)?;
                return self
                    .json_6902(&Patch { path, patch: json_op, target, ..Patch::default() })
                    .map(|step| vec![step]);
            }
            "ValueAddTransformer" => return self.value_add(fields(config)?).map(|step| vec![step]),
            "HashTransformer" => return Ok(vec![Step::Hash]),
            _ => {}
        }
        let needs_fields = matches!(kind, "PrefixTransformer" | "SuffixTransformer");
        if needs_fields && config.get("fieldSpecs").is_none_or(Value::is_null) {
            return Err(KustomizeError::invalid(format!(
                "plugin {} must say by 'fieldSpecs' which fields it is for",
                describe(&id_of(config))
            )));
        }
        let this: Fields = fields(config)?;
        let fieldspecs = this.field_specs;
        let prefix = Step::Prefix { text: this.prefix, fieldspecs: fieldspecs.clone() };
        let suffix = Step::Suffix { text: this.suffix, fieldspecs: fieldspecs.clone() };
        let is_there = |step: &Step| !matches!(step, Step::Prefix { text, .. } | Step::Suffix { text, .. } if text.is_empty());
        let steps = match kind {
            "PrefixTransformer" => vec![prefix],
            "SuffixTransformer" => vec![suffix],
            "PrefixSuffixTransformer" => vec![prefix, suffix],
            "NamespaceTransformer" => {
                let config = Namespace {
                    namespace: this.metadata.namespace,
                    unset_only: this.unset_only,
                    subjects: role_binding_subjects(&this.set_role_binding_subjects)?,
                };
                vec![Step::Namespace { config, fieldspecs }]
            }
            "LabelTransformer" => vec![Step::Labels { pairs: pairs(&this.labels), fieldspecs }],
            "AnnotationsTransformer" => {
                vec![Step::Annotations { pairs: pairs(&this.annotations), fieldspecs }]
            }
            "ImageTagTransformer" => vec![Step::Images { images: vec![image(&this.image_tag)?], fieldspecs }],
            "ReplicaCountTransformer" => {
                vec![Step::Replicas { name: this.replica.name, count: this.replica.count, fieldspecs }]
            }
            "ReplacementTransformer" => vec![Step::Replacements(self.replacements(&this.replacements)?)],
            _ => return Err(unknown(config, "transformer")),
        };
        Ok(steps.into_iter().filter(is_there).collect())
    }

    /// What a plugin in `generators` generates.
    pub fn generate(&self, config: &Value) -> Result<Vec<Generated>, KustomizeError> {
        let kind = match builtin_kind(config)? {
            "ConfigMapGenerator" => Kind::ConfigMap,
            "SecretGenerator" => Kind::Secret,
            "IAMPolicyGenerator" => {
                return self.iam_policy(&fields(config)?).map(|generated| vec![generated]);
            }
            _ => return Err(unknown(config, "generator")),
        };
        let mut arguments: GeneratorArguments = fields(config)?;
        let Fields { metadata, .. } = fields(config)?;
        if arguments.name.is_empty() {
            arguments.name = metadata.name;
        }
        if arguments.namespace.is_empty() {
            arguments.namespace = metadata.namespace;
        }
        let resource = generator::generate(kind, &arguments, None, self.loader, self.root)?;
        Ok(vec![Generated { resource, behavior: arguments.behavior }])
    }

    /// The step of one entry of `patches`.
    pub fn patch(&self, patch: &Patch, field: &str) -> Result<Step, KustomizeError> {
        let text = patch::text(&patch.path, &patch.patch, self.loader, self.root)?;
        let place = text.place();
        let option = |name: &str| patch.options.get(name).copied().unwrap_or_default();
        let permissions = Permissions { name: option("allowNameChange"), kind: option("allowKindChange") };
        let target = patch.target.as_ref().map(Target::new).transpose()?;
        match (patch::parse(&text, target.is_some(), permissions, self.loader)?, target) {
            (Content::Json(patch), Some(target)) => Ok(Step::Json { patch, target, remembers: true }),
            (Content::Json(_), None) => Err(KustomizeError::invalid(format!(
                "{field}: {place} is a JSON patch, which needs a target that says what it is for"
            ))),
            (Content::StrategicMerge(patches), None) => Ok(Step::Merge { patches, permissions }),
            (Content::StrategicMerge(mut patches), Some(target)) => match (patches.pop(), patches.is_empty())
            {
                (None, _) => Ok(Step::Merge { patches, permissions }),
                (Some(patch), true) => {
                    Ok(Step::MergeSelected { patch: Box::new(patch), target, permissions })
                }
                (Some(_), false) => Err(KustomizeError::invalid(format!(
                    "{field}: {place} has several documents: only one is allowed together with a target"
                ))),
            },
        }
    }

    /// The step of `patchesStrategicMerge`: each entry is a file, or the patch itself.
    pub fn strategic_merge(&self, entries: &[String], inline: &str) -> Result<Step, KustomizeError> {
        let mut patches = Vec::new();
        for entry in entries {
            if looks_like_yaml(entry) {
                patches.extend(Manifest::parse_patch(entry.as_bytes(), None, PatchForm::Copied)?);
            } else {
                let (file, documents) = self.loader.patch(self.root, entry, PatchForm::Copied)?;
                patches.extend(Manifest::patches(documents, Some(&file), PatchForm::Copied)?);
            }
        }
        if !inline.is_empty() {
            patches.extend(Manifest::parse_patch(inline.as_bytes(), None, PatchForm::Copied)?);
        }
        if patches.is_empty() {
            return Err(KustomizeError::invalid("the strategic merge patch is empty"));
        }
        Ok(Step::Merge { patches, permissions: Permissions::default() })
    }

    /// The step of one entry of `patchesJson6902`.
    pub fn json_6902(&self, patch: &Patch) -> Result<Step, KustomizeError> {
        let selector = match &patch.target {
            Some(selector) if !selector.name.is_empty() => selector,
            _ => {
                return Err(KustomizeError::invalid("a JSON patch must have a target with a name"));
            }
        };
        let text = patch::text(&patch.path, &patch.patch, self.loader, self.root)?;
        let patch = json_patch::parse(&text.text).map_err(|source| text.error("reading", source))?;
        if patch.is_empty() {
            return Err(KustomizeError::invalid(format!("{} has no operation", text.place())));
        }
        Ok(Step::Json { patch, target: Target::new(selector)?, remembers: false })
    }

    /// The replacements of some entries, those in files included.
    pub fn replacements(&self, entries: &[ReplacementEntry]) -> Result<Vec<Replacement>, KustomizeError> {
        let mut replacements = Vec::new();
        for entry in entries {
            match (entry.path.as_str(), entry.inline()) {
                ("", Some(replacement)) => replacements.push(replacement),
                ("", None) => replacements.push(Replacement::default()),
                (path, None) => {
                    let (file, value) = self.loader.configuration(self.root, path)?;
                    let list =
                        if value.is_array() { value.as_ref().clone() } else { json!([value.as_ref()]) };
                    let listed: Vec<Replacement> = decode(&list, UnknownFields::Reject)
                        .map_err(|source| self.loader.located(KustomizeError::Decode { file, source }))?;
                    replacements.extend(listed);
                }
                (path, Some(_)) => {
                    return Err(KustomizeError::invalid(format!(
                        "replacements: an entry with a path ('{path}') cannot have a source or targets as well"
                    )));
                }
            }
        }
        Ok(replacements)
    }

    fn value_add(&self, config: ValueAdd) -> Result<Step, KustomizeError> {
        let mut targets = config.targets;
        if !config.target_file_path.is_empty() {
            let (file, value) = self.loader.configuration(self.root, &config.target_file_path)?;
            let listed: ValueAdd = decode(&value, UnknownFields::Ignore)
                .map_err(|source| self.loader.located(KustomizeError::Decode { file, source }))?;
            targets.extend(listed.targets);
        }
        if targets.is_empty() {
            return Err(KustomizeError::invalid("ValueAddTransformer must have targets"));
        }
        let targets = targets
            .into_iter()
            .map(|target| {
                Ok(ValueTarget {
                    target: Target::new(&target.selector)?,
                    fieldspec: FieldSpec::any(&target.field_path, true),
                    file_path_position: target.file_path_position,
                })
            })
            .collect::<Result<_, KustomizeError>>()?;
        Ok(Step::ValueAdd { value: config.value, targets })
    }

    fn iam_policy(&self, config: &IamPolicy) -> Result<Generated, KustomizeError> {
        if config.cloud != "gke" {
            return Err(KustomizeError::invalid(format!(
                "IAMPolicyGenerator: cloud must be 'gke', not '{}'",
                config.cloud
            )));
        }
        let IamPolicy { kubernetes_service: Metadata { name, namespace }, service_account, .. } = config;
        let account =
            format!("{}@{}.iam.gserviceaccount.com", service_account.name, service_account.project_id);
        let mut value = json!({
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": name, "annotations": {"iam.gke.io/gcp-service-account": account}},
        });
        if let (false, Some(Value::Object(metadata))) = (namespace.is_empty(), value.get_mut("metadata")) {
            metadata.insert("namespace".to_owned(), Value::from(namespace.as_str()));
        }
        let resource = Resource::new(Manifest::generated(value, &self.root.file));
        Ok(Generated { resource, behavior: String::new() })
    }
}

/// The resources in an entry that is YAML rather than a path; nothing for a path.
pub(super) fn inline_manifests(entry: &str) -> Option<Result<Vec<Manifest>, KustomizeError>> {
    (entry.trim().is_empty() || looks_like_yaml(entry))
        .then(|| Manifest::parse_patch(entry.as_bytes(), None, PatchForm::AsWritten))
}

fn looks_like_yaml(entry: &str) -> bool {
    entry.contains('\n') || entry.contains(": ") || entry.trim_start().starts_with('{')
}

fn fields<T: DeserializeOwned>(config: &Value) -> Result<T, KustomizeError> {
    decode(config, UnknownFields::Ignore)
        .map_err(|source| KustomizeError::Plugin { plugin: describe(&id_of(config)), source })
}

fn builtin_kind(config: &Value) -> Result<&str, KustomizeError> {
    let annotations = config.get("metadata").and_then(|metadata| metadata.get("annotations"));
    let is_function = annotations
        .is_some_and(|annotations| FUNCTION_ANNOTATIONS.iter().any(|name| annotations.get(name).is_some()));
    let plugin = || describe(&id_of(config));
    if is_function {
        return Err(KustomizeError::invalid(format!(
            "plugin {} is a container or executable function, which is refused: no other program is ever run",
            plugin()
        )));
    }
    if config.get("apiVersion").and_then(Value::as_str) != Some("builtin") {
        return Err(KustomizeError::invalid(format!(
            "plugin {} is not built in (apiVersion 'builtin') and is refused: no other program is ever run",
            plugin()
        )));
    }
    let kind = config.get("kind").and_then(Value::as_str).unwrap_or_default();
    if kind == "HelmChartInflationGenerator" {
        return Err(KustomizeError::invalid(format!(
            "plugin {} renders a Helm chart, which is not supported yet: Helm charts cannot be \
             rendered; keep the rendered manifests in Git and name them under 'resources'",
            plugin()
        )));
    }
    Ok(kind)
}

fn unknown(config: &Value, sort: &str) -> KustomizeError {
    KustomizeError::invalid(format!("there is no built-in {sort} for {}", describe(&id_of(config))))
}

fn role_binding_subjects(text: &str) -> Result<RoleBindingSubjects, KustomizeError> {
    match text {
        "" | "defaultOnly" => Ok(RoleBindingSubjects::DefaultOnly),
        "allServiceAccounts" => Ok(RoleBindingSubjects::AllServiceAccounts),
        "none" => Ok(RoleBindingSubjects::None),
        other => Err(KustomizeError::invalid(format!(
            "setRoleBindingSubjects must be 'defaultOnly', 'allServiceAccounts' or 'none', not '{other}'"
        ))),
    }
}
