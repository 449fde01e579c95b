//! Which steps the fields of a kustomization stand for, in the order of work, with the field specs of its configuration.

use super::{
    error::KustomizeError,
    fieldspec::{Configuration, FieldSpec, merge_into},
    filter::namespace::Namespace,
    kustomization::{Kustomization, Label},
    plugin::Plugins,
    transform::{Step, image, pairs},
};

/// A step that a field asks for.
pub(super) struct FieldStep {
    /// The field or its entry, for a message.
    pub place: String,
    /// The plugin that kustomize runs for it.
    pub plugin: &'static str,
    /// Entries of the field that the step stands for.
    pub entries: usize,
    pub step: Step,
}

/// The steps of a kustomization.
///
/// # Errors
/// When an entry is contradictory, or a file that it names cannot be read; the error says which.
pub(super) fn of(
    kustomization: &Kustomization,
    configuration: &Configuration,
    plugins: &Plugins<'_>,
) -> Result<Vec<FieldStep>, KustomizeError> {
    let mut steps = Steps { steps: Vec::new(), plugins };
    patches(kustomization, &mut steps)?;
    names(kustomization, configuration, &mut steps)?;
    labels_and_annotations(kustomization, configuration, &mut steps)?;
    for (at, patch) in kustomization.patches_json6902.iter().enumerate() {
        let place = entry_place("patchesJson6902", at, &patch.path);
        steps.add(place, "PatchJson6902Transformer", plugins.json_6902(patch))?;
    }
    for replica in &kustomization.replicas {
        let (name, count) = (replica.name.clone(), replica.count);
        let step = Step::Replicas { name, count, fieldspecs: configuration.replicas.clone() };
        steps.add(format!("replicas entry '{}'", replica.name), "ReplicaCountTransformer", Ok(step))?;
    }
    if !kustomization.images.is_empty() {
        let images = kustomization.images.iter().map(image).collect::<Result<_, _>>();
        let step = images.map(|images| Step::Images { images, fieldspecs: configuration.images.clone() });
        steps.add("images", "ImageTagTransformer", step)?;
        steps.stands_for(kustomization.images.len());
    }
    if !kustomization.replacements.is_empty() {
        let step = plugins.replacements(&kustomization.replacements).map(Step::Replacements);
        steps.add("replacements", "ReplacementTransformer", step)?;
    }
    Ok(steps.steps)
}

struct Steps<'a> {
    steps: Vec<FieldStep>,
    plugins: &'a Plugins<'a>,
}

impl Steps<'_> {
    fn add(
        &mut self,
        place: impl Into<String>,
        plugin: &'static str,
        step: Result<Step, KustomizeError>,
    ) -> Result<(), KustomizeError> {
        let place = place.into();
        self.plugins.loader.budget().check()?;
        let step = step.map_err(|error| error.within(&self.plugins.root.file, place.as_str()))?;
        self.steps.push(FieldStep { place, plugin, entries: 1, step });
        Ok(())
    }

    /// Says how many entries the last step stands for.
    fn stands_for(&mut self, entries: usize) {
        if let Some(last) = self.steps.last_mut() {
            last.entries = entries;
        }
    }
}

fn patches(kustomization: &Kustomization, steps: &mut Steps<'_>) -> Result<(), KustomizeError> {
    if !kustomization.patches_strategic_merge.is_empty() {
        let step = steps.plugins.strategic_merge(&kustomization.patches_strategic_merge, "");
        steps.add("patchesStrategicMerge", "PatchStrategicMergeTransformer", step)?;
    }
    for (at, patch) in kustomization.patches.iter().enumerate() {
        let step = steps.plugins.patch(patch, "patches");
        steps.add(entry_place("patches", at, &patch.path), "PatchTransformer", step)?;
    }
    Ok(())
}

fn names(
    kustomization: &Kustomization,
    configuration: &Configuration,
    steps: &mut Steps<'_>,
) -> Result<(), KustomizeError> {
    if !kustomization.namespace.is_empty() {
        let config = Namespace { namespace: kustomization.namespace.clone(), ..Namespace::default() };
        let step = Step::Namespace { config, fieldspecs: configuration.namespace.clone() };
        steps.add("namespace", "NamespaceTransformer", Ok(step))?;
    }
    if !kustomization.name_prefix.is_empty() {
        let text = kustomization.name_prefix.clone();
        let step = Step::Prefix { text, fieldspecs: configuration.name_prefix.clone() };
        steps.add("namePrefix", "PrefixTransformer", Ok(step))?;
    }
    if !kustomization.name_suffix.is_empty() {
        let text = kustomization.name_suffix.clone();
        let step = Step::Suffix { text, fieldspecs: configuration.name_suffix.clone() };
        steps.add("nameSuffix", "SuffixTransformer", Ok(step))?;
    }
    Ok(())
}

fn labels_and_annotations(
    kustomization: &Kustomization,
    configuration: &Configuration,
    steps: &mut Steps<'_>,
) -> Result<(), KustomizeError> {
    for (at, label) in kustomization.labels.iter().enumerate() {
        let step = label_fieldspecs(label, configuration)
            .map(|fieldspecs| Step::Labels { pairs: pairs(&label.pairs), fieldspecs });
        steps.add(format!("labels entry {}", at + 1), "LabelTransformer", step)?;
    }
    // With `labels` alone, too, kustomize keeps a record of commonLabels.
    if !kustomization.common_labels.is_empty() || !kustomization.labels.is_empty() {
        let fieldspecs = configuration.common_labels.clone();
        let step = Step::Labels { pairs: pairs(&kustomization.common_labels), fieldspecs };
        steps.add("commonLabels", "LabelTransformer", Ok(step))?;
    }
    if !kustomization.common_annotations.is_empty() {
        let fieldspecs = configuration.common_annotations.clone();
        let step = Step::Annotations { pairs: pairs(&kustomization.common_annotations), fieldspecs };
        steps.add("commonAnnotations", "AnnotationsTransformer", Ok(step))?;
    }
    Ok(())
}

fn label_fieldspecs(label: &Label, configuration: &Configuration) -> Result<Vec<FieldSpec>, KustomizeError> {
    let mut fieldspecs = Vec::new();
    merge_into(&mut fieldspecs, &label.fields)?;
    merge_into(&mut fieldspecs, &configuration.labels)?;
    if label.include_selectors {
        merge_into(&mut fieldspecs, &configuration.common_labels)?;
    } else {
        if label.include_templates {
            merge_into(&mut fieldspecs, &configuration.template_labels)?;
        }
        merge_into(&mut fieldspecs, &[FieldSpec::any("metadata/labels", true)])?;
    }
    Ok(fieldspecs)
}

fn entry_place(field: &str, at: usize, path: &str) -> String {
    match path {
        "" => format!("{field} entry {}", at + 1),
        path => format!("{field} entry '{path}'"),
    }
}
