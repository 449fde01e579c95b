//! The steps that change the resources of a layer.
//!
//! ```text
//! fields of the kustomization ─┐
//!                              ├─▶ [Transformer] ──run──▶ Resources
//! plugins in transformers: ────┘
//! ```
//!
//! All steps of a layer are made before the first one runs, so a broken entry changes nothing. The same steps serve
//! the fields of a kustomization, which bring the default field specs, and plugins, which bring their own.

use std::{
    collections::{BTreeMap, HashMap},
    rc::Rc,
};

use serde_json::Value;

use super::{
    error::KustomizeError,
    fieldspec::FieldSpec,
    filter::{images, labels, name_prefix, name_prefix::Affix, namespace, replicas},
    hash,
    json_patch::Patch as JsonPatch,
    kustomization::Image,
    manifest::Manifest,
    patch::{self, Permissions, Target},
    replacement::{self, Replacement},
    resource::{Provenance, Resource, describe, is_selected},
    resources::Resources,
    schema::Schema,
};
use crate::{files::Budget, object::Gvk};

/// One step.
pub(super) enum Step {
    /// Patches that name their resources.
    Merge { patches: Vec<Manifest>, permissions: Permissions },
    /// A patch for selected resources.
    MergeSelected { patch: Box<Manifest>, target: Target, permissions: Permissions },
    /// A JSON patch.
    Json { patch: JsonPatch, target: Target, remembers: bool },
    /// A namespace.
    Namespace { config: namespace::Namespace, fieldspecs: Vec<FieldSpec> },
    /// A name prefix.
    Prefix { text: String, fieldspecs: Vec<FieldSpec> },
    /// A name suffix.
    Suffix { text: String, fieldspecs: Vec<FieldSpec> },
    /// Labels.
    Labels { pairs: Vec<(String, String)>, fieldspecs: Vec<FieldSpec> },
    /// Annotations.
    Annotations { pairs: Vec<(String, String)>, fieldspecs: Vec<FieldSpec> },
    /// A number of replicas.
    Replicas { name: String, count: i64, fieldspecs: Vec<FieldSpec> },
    /// Images, one after the other.
    Images { images: Vec<images::Image>, fieldspecs: Vec<FieldSpec> },
    /// Replacements.
    Replacements(Vec<Replacement>),
    /// Hash suffixes.
    Hash,
    /// A text that is written into fields.
    ValueAdd { value: String, targets: Vec<ValueTarget> },
}

/// Where [`Step::ValueAdd`] writes.
pub(super) struct ValueTarget {
    pub target: Target,
    pub fieldspec: FieldSpec,
    /// From 1: the text becomes this part of a file path that is there; 0: it takes the whole field.
    pub file_path_position: i64,
}

/// A step, and what `buildMetadata` says of it.
pub(super) struct Transformer {
    pub step: Step,
    /// One record for each entry of the kustomization that the step stands for.
    pub provenance: Vec<Rc<Provenance>>,
}

impl Transformer {
    /// Carries out the step.
    pub fn run(
        &self,
        resources: &mut Resources,
        schema: &Schema,
        budget: &Budget,
    ) -> Result<(), KustomizeError> {
        self.step.run(resources, schema, budget)?;
        if !self.provenance.is_empty() {
            for resource in resources.iter_mut() {
                self.provenance.iter().for_each(|step| resource.record(step));
                resource.shared.forget_annotations();
            }
        }
        Ok(())
    }
}

/// Text pairs in the form that filters take.
pub(super) fn pairs(entries: &BTreeMap<String, String>) -> Vec<(String, String)> {
    entries.iter().map(|(key, text)| (key.clone(), text.clone())).collect()
}

/// What one `images` entry does.
pub(super) fn image(image: &Image) -> Result<images::Image, KustomizeError> {
    let Image { name, new_name, new_tag, digest, tag_suffix } = image;
    Ok(images::Image::new(name, new_name, new_tag, digest, tag_suffix)?)
}

impl Step {
    /// Whether it is a strategic merge.
    pub fn is_merge(&self) -> bool {
        matches!(self, Self::Merge { .. } | Self::MergeSelected { .. })
    }

    fn run(&self, resources: &mut Resources, schema: &Schema, budget: &Budget) -> Result<(), KustomizeError> {
        budget.check()?;
        match self {
            Self::Merge { patches, permissions } => {
                patch::merge_by_id(patches, *permissions, resources, schema, budget)
            }
            Self::MergeSelected { patch, target, permissions } => {
                patch::merge_into_selected(patch, target, *permissions, resources, schema, budget)
            }
            Self::Json { patch, target, remembers } => {
                patch::apply_json(patch, target, *remembers, resources, budget)
            }
            Self::Namespace { config, fieldspecs } => set_namespace(config, fieldspecs, resources, budget),
            Self::Prefix { text, fieldspecs } => rename(Affix::Prefix(text), fieldspecs, resources, budget),
            Self::Suffix { text, fieldspecs } => rename(Affix::Suffix(text), fieldspecs, resources, budget),
            Self::Labels { pairs, fieldspecs } => set_pairs("labels", pairs, fieldspecs, resources, budget),
            Self::Annotations { pairs, fieldspecs } => {
                set_pairs("annotations", pairs, fieldspecs, resources, budget)
            }
            Self::Images { images, fieldspecs } => set_images(images, fieldspecs, resources, budget),
            Self::Replicas { name, count, fieldspecs } => set_replicas(name, *count, fieldspecs, resources),
            Self::Replacements(replacements) => replace(replacements, resources, budget),
            Self::Hash => {
                add_hashes(resources);
                Ok(())
            }
            Self::ValueAdd { value, targets } => add_value(value, targets, resources, budget),
        }
    }
}

/// Changes every resource, with the field specs of its kind.
fn each(
    resources: &mut Resources,
    budget: &Budget,
    action: &'static str,
    fieldspecs: &[FieldSpec],
    apply: impl Fn(&mut Resource, &[FieldSpec]) -> Result<(), KustomizeError>,
) -> Result<(), KustomizeError> {
    let mut by_kind: HashMap<Gvk, Vec<FieldSpec>> = HashMap::new();
    for resource in resources.iter_mut() {
        let gvk = &resource.id().gvk;
        if !by_kind.contains_key(gvk) {
            let fitting = fieldspecs.iter().filter(|spec| spec.matches(gvk)).cloned().collect();
            by_kind.insert(gvk.clone(), fitting);
        }
        let fitting = by_kind.get(gvk).map(Vec::as_slice).unwrap_or_default();
        // kustomize's own notes are annotations, so the field is there for a field spec that does not make it.
        let has_notes = resource.has_annotations_of_kustomize();
        if has_notes {
            resource.annotations_mut();
        }
        budget.check()?;
        apply(resource, fitting).map_err(|error| error.of_object(action, describe(resource.id())))?;
        if has_notes {
            resource.drop_empty_annotations();
        }
        if fitting.iter().any(FieldSpec::is_identity) {
            resource.refresh();
        } else {
            resource.shared.settle(&mut resource.value);
        }
    }
    Ok(())
}

fn set_pairs(
    action: &'static str,
    pairs: &[(String, String)],
    fieldspecs: &[FieldSpec],
    resources: &mut Resources,
    budget: &Budget,
) -> Result<(), KustomizeError> {
    each(resources, budget, action, fieldspecs, |resource, fieldspecs| {
        let Resource { value, shared, .. } = resource;
        labels::apply(value, pairs, fieldspecs, shared).map_err(KustomizeError::from)
    })
}

fn set_namespace(
    config: &namespace::Namespace,
    fieldspecs: &[FieldSpec],
    resources: &mut Resources,
    budget: &Budget,
) -> Result<(), KustomizeError> {
    if config.namespace.is_empty() {
        return Ok(());
    }
    for resource in resources.iter_mut() {
        budget.check()?;
        resource.store_previous_id();
        namespace::apply(&mut resource.value, config, fieldspecs)
            .map_err(|error| KustomizeError::from(error).of_object("namespace", describe(resource.id())))?;
        resource.refresh();
    }
    resources.check_unique().map_err(|error| error.of_object("namespace", format!("'{}'", config.namespace)))
}

fn rename(
    affix: Affix<'_>,
    fieldspecs: &[FieldSpec],
    resources: &mut Resources,
    budget: &Budget,
) -> Result<(), KustomizeError> {
    let text: Rc<str> = match affix {
        Affix::Prefix(text) | Affix::Suffix(text) => text.into(),
    };
    for resource in resources.iter_mut() {
        budget.check()?;
        let original = resource.original_id().gvk.clone();
        if name_prefix::keeps_name(&original) {
            continue;
        }
        for spec in fieldspecs {
            if !is_selected(&original, &spec.group, &spec.version, &spec.kind) {
                continue;
            }
            if spec.path == "metadata/name" {
                match affix {
                    Affix::Prefix(_) => resource.prefixes.push(Rc::clone(&text)),
                    Affix::Suffix(_) => resource.suffixes.push(Rc::clone(&text)),
                }
                resource.store_previous_id();
            }
            name_prefix::apply(&mut resource.value, affix, std::slice::from_ref(spec)).map_err(|error| {
                KustomizeError::from(error).of_object("name prefix or suffix", describe(resource.id()))
            })?;
            resource.refresh();
        }
    }
    Ok(())
}

fn set_images(
    images: &[images::Image],
    fieldspecs: &[FieldSpec],
    resources: &mut Resources,
    budget: &Budget,
) -> Result<(), KustomizeError> {
    each(resources, budget, "images", fieldspecs, |Resource { value, .. }, fieldspecs| {
        // Objects are searched once and after each change, not once for each entry.
        let mut found = images::images(value, fieldspecs)?;
        for image in images {
            if image.is_about_any(&found) {
                budget.check()?;
                images::apply(value, image, fieldspecs)?;
                found = images::images(value, fieldspecs)?;
            }
        }
        Ok(())
    })
}

fn set_replicas(
    name: &str,
    count: i64,
    fieldspecs: &[FieldSpec],
    resources: &mut Resources,
) -> Result<(), KustomizeError> {
    let mut is_found = false;
    for at in resources.named(name) {
        let apply = |resource: &mut Resource| -> Result<bool, KustomizeError> {
            let mut is_found = false;
            for spec in fieldspecs {
                let fits = resource.ids().any(|id| {
                    id.name == name && is_selected(&id.gvk, &spec.group, &spec.version, &spec.kind)
                });
                if fits {
                    is_found = true;
                    replicas::apply(&mut resource.value, count, std::slice::from_ref(spec)).map_err(
                        |error| KustomizeError::from(error).of_object("replicas", describe(resource.id())),
                    )?;
                }
            }
            Ok(is_found)
        };
        is_found |= resources.change(at, apply).unwrap_or(Ok(false))?;
    }
    if is_found {
        return Ok(());
    }
    let kinds: Vec<&str> = fieldspecs.iter().map(|spec| spec.kind.as_str()).collect();
    Err(KustomizeError::invalid(format!(
        "replicas: no resource called '{name}' is of a kind with replicas ({})",
        kinds.join(", ")
    )))
}

fn replace(
    replacements: &[Replacement],
    resources: &mut Resources,
    budget: &Budget,
) -> Result<(), KustomizeError> {
    let mut views: Vec<replacement::Resource<'_>> = resources
        .iter_mut()
        .map(|resource| {
            let ids = resource.ids().cloned().collect();
            replacement::Resource { ids, object: &mut resource.value }
        })
        .collect();
    replacements.iter().try_for_each(|next| replacement::apply(next, &mut views, budget))?;
    resources.iter_mut().for_each(Resource::refresh);
    Ok(())
}

/// Adds the hash of its content to the name of each resource that wants one.
pub(super) fn add_hashes(resources: &mut Resources) {
    for resource in resources.iter_mut().filter(|resource| resource.needs_hash) {
        if let Some(hash) = hash::of(&resource.value) {
            resource.store_previous_id();
            let name = format!("{}-{hash}", resource.id().name);
            resource.set_name(&name);
        }
    }
}

fn add_value(
    value: &str,
    targets: &[ValueTarget],
    resources: &mut Resources,
    budget: &Budget,
) -> Result<(), KustomizeError> {
    use super::fieldspec::{Create, visit_any_kind};
    for ValueTarget { target, fieldspec, file_path_position } in targets {
        let apply = |resource: &mut Resource| -> Result<(), KustomizeError> {
            visit_any_kind(&mut resource.value, fieldspec, Create::Scalar, &mut |place| {
                let old = place.as_str().unwrap_or_default();
                *place = Value::from(match usize::try_from(*file_path_position) {
                    Ok(position) if position > 0 && !old.is_empty() => {
                        insert_path_part(old, position - 1, value)
                    }
                    _ => value.to_owned(),
                });
                Ok(())
            })
            .map_err(|error| {
                KustomizeError::from(error).of_object("adding a value", describe(resource.id()))
            })?;
            resource.refresh();
            Ok(())
        };
        for at in target.select(resources) {
            budget.check()?;
            resources.change(at, apply).unwrap_or(Ok(()))?;
        }
    }
    Ok(())
}

fn insert_path_part(path: &str, position: usize, part: &str) -> String {
    let (root, relative) = path.strip_prefix('/').map_or(("", path), |rest| ("/", rest));
    let mut parts: Vec<&str> = relative.split('/').filter(|part| !part.is_empty()).collect();
    parts.insert(position.min(parts.len()), part);
    format!("{root}{}", parts.join("/"))
}
