//! `spec.source.kustomize`: the source's kustomization, edited.
//!
//! Argo CD edits the kustomization in the source's directory (`kustomize edit …`) and builds that. So a prefix replaces
//! the one that is written there, an image replaces the entry of its name, and patches are added behind the others. The
//! edited kustomization is handed to the build in place of the file's.

use serde_json::{Map, Value, json};

use super::{RenderError, environment::Environment, kustomize::remote::is_remote};
use crate::{
    api::{ApplicationSourceKustomize, KustomizePatch},
    files::{EntryKind, Files, RepoPath},
    object::yaml::{self, DuplicateKeys, Schema},
};

const FILE_NAMES: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

/// The edited kustomization; `None` when nothing is to be edited, or when the build itself will refuse the directory.
pub(super) fn overlay(
    files: &Files,
    root: &RepoPath,
    spec: &ApplicationSourceKustomize,
    environment: &Environment,
) -> Result<Option<Value>, RenderError> {
    let Some(mut kustomization) = written(files, root)? else {
        return Ok(None);
    };
    let before = kustomization.clone();
    edit(&mut kustomization, files, root, spec, environment)?;
    Ok((kustomization != before).then_some(Value::Object(kustomization)))
}

/// The kustomization as it is written. Which files there are and how they are read is the build's to judge.
fn written(files: &Files, root: &RepoPath) -> Result<Option<Map<String, Value>>, RenderError> {
    for name in FILE_NAMES {
        let Ok(file) = root.join(name) else { continue };
        if !files.is_file(&file)? {
            continue;
        }
        let text = files.read(&file)?;
        let options = yaml::Options::new(Schema::Yaml11, DuplicateKeys::LastWins);
        let Ok(documents) = yaml::parse(&text, &options) else {
            return Ok(None);
        };
        return Ok(match documents.into_iter().next().map(|document| document.value) {
            Some(Value::Object(map)) => Some(map),
            Some(_) => None,
            None => Some(Map::new()),
        });
    }
    Ok(None)
}

fn edit(
    kustomization: &mut Map<String, Value>,
    files: &Files,
    root: &RepoPath,
    spec: &ApplicationSourceKustomize,
    environment: &Environment,
) -> Result<(), RenderError> {
    for (field, text) in
        [("namePrefix", &spec.name_prefix), ("nameSuffix", &spec.name_suffix), ("namespace", &spec.namespace)]
    {
        if !text.is_empty() {
            *slot(kustomization, field) = Value::from(text.as_str());
        }
    }
    for (position, text) in spec.images.iter().enumerate() {
        let image = image(text).ok_or_else(|| RenderError::Field {
            field: format!("kustomize.images[{position}]"),
            problem: format!("'{text}' is no image: write name:tag, name@digest, or old-name=new-name:tag"),
        })?;
        edit_list(kustomization, "images", |images| set_image(images, image));
    }
    for (position, replica) in spec.replicas.iter().enumerate() {
        let count = replica.count.as_int().ok_or_else(|| RenderError::Field {
            field: format!("kustomize.replicas[{position}].count"),
            problem: "must be a whole number".to_owned(),
        })?;
        let item = json!({ "name": replica.name, "count": count });
        edit_list(kustomization, "replicas", |replicas| set_by_name(replicas, item));
    }
    let labels: Vec<(&String, String)> =
        spec.common_labels.iter().map(|(key, value)| (key, environment.substitute(value))).collect();
    if !labels.is_empty() {
        let (field, force) = ("commonLabels", spec.force_common_labels);
        let mut added = Ok(());
        if spec.label_without_selector {
            edit_list(kustomization, "labels", |entries| {
                if let Some(pairs) = labels_entry(entries, spec.label_include_templates) {
                    added = add(pairs, labels, force, field, "forceCommonLabels");
                }
            });
        } else {
            added = add(slot(kustomization, field), labels, force, field, "forceCommonLabels");
        }
        added?;
    }
    let annotations: Vec<(&String, String)> = spec
        .common_annotations
        .iter()
        .map(|(key, value)| {
            let substituted = spec.common_annotations_envsubst.then(|| environment.substitute(value));
            (key, substituted.unwrap_or_else(|| value.clone()))
        })
        .collect();
    if !annotations.is_empty() {
        let (field, force) = ("commonAnnotations", spec.force_common_annotations);
        add(slot(kustomization, field), annotations, force, field, "forceCommonAnnotations")?;
    }
    if !spec.patches.is_empty() {
        edit_list(kustomization, "patches", |patches| {
            patches.extend(spec.patches.iter().map(patch));
        });
    }
    for component in &spec.components {
        if spec.ignore_missing_components && !is_component(files, root, component)? {
            continue;
        }
        let component = Value::from(component.as_str());
        edit_list(kustomization, "components", |components| {
            if !components.contains(&component) {
                components.push(component);
            }
        });
    }
    Ok(())
}

fn is_component(files: &Files, root: &RepoPath, component: &str) -> Result<bool, RenderError> {
    if is_remote(component) {
        return Ok(true);
    }
    match root.join_lenient(component) {
        Ok(path) => Ok(files.kind(&path)? == Some(EntryKind::Directory)),
        // The build says what is wrong with the path.
        Err(_) => Ok(true),
    }
}

/// The field as the file spells it: Kustomize does not mind the case.
fn slot<'a>(kustomization: &'a mut Map<String, Value>, field: &str) -> &'a mut Value {
    let key = kustomization.keys().rfind(|key| key.eq_ignore_ascii_case(field)).cloned();
    kustomization.entry(key.unwrap_or_else(|| field.to_owned())).or_insert(Value::Null)
}

/// Changes the field as a list. A value of another type becomes its first item, for the build to refuse.
fn edit_list(kustomization: &mut Map<String, Value>, field: &str, change: impl FnOnce(&mut Vec<Value>)) {
    let value = slot(kustomization, field);
    let mut items = match value.take() {
        Value::Array(items) => items,
        Value::Null => Vec::new(),
        other => vec![other],
    };
    change(&mut items);
    *value = Value::Array(items);
}

/// Adds entries to a mapping. A key that is there already is an error unless `force` is set.
fn add(
    target: &mut Value,
    entries: Vec<(&String, String)>,
    force: bool,
    field: &str,
    force_field: &str,
) -> Result<(), RenderError> {
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Some(map) = target.as_object_mut() else {
        return Ok(());
    };
    for (key, value) in entries {
        if map.contains_key(key) && !force {
            return Err(RenderError::Field {
                field: format!("kustomize.{field}"),
                problem: format!(
                    "'{key}' is set in the kustomization file already: drop one of them, or set '{force_field}' to true"
                ),
            });
        }
        map.insert(key.clone(), Value::from(value));
    }
    Ok(())
}

/// The entry of `labels` that labels without selectors go to.
fn labels_entry(labels: &mut Vec<Value>, include_templates: bool) -> Option<&mut Value> {
    let flag = |entry: &Value, name: &str| entry.get(name).and_then(Value::as_bool).unwrap_or(false);
    let suits = |entry: &Value| {
        !flag(entry, "includeSelectors")
            && flag(entry, "includeTemplates") == include_templates
            && entry.get("fields").is_none()
    };
    if !labels.iter().any(suits) {
        labels.push(json!({ "includeTemplates": include_templates, "pairs": {} }));
    }
    labels
        .iter_mut()
        .find(|entry| suits(entry))
        .and_then(Value::as_object_mut)
        .map(|entry| entry.entry("pairs").or_insert(Value::Null))
}

/// Replaces the item of the same name, or adds it.
fn set_by_name(items: &mut Vec<Value>, item: Value) {
    match items.iter_mut().find(|known| known.get("name") == item.get("name")) {
        Some(known) => *known = item,
        None => items.push(item),
    }
}

/// `*` stands for what the entry of the same name has.
fn set_image(images: &mut Vec<Value>, mut image: Value) {
    let known = images.iter().find(|known| known.get("name") == image.get("name")).cloned();
    if let Some(fields) = image.as_object_mut() {
        for field in ["newName", "newTag", "digest"] {
            if fields.get(field).is_some_and(|value| value == "*") {
                match known.as_ref().and_then(|known| known.get(field)) {
                    Some(value) => fields.insert(field.to_owned(), value.clone()),
                    None => fields.shift_remove(field),
                };
            }
        }
    }
    set_by_name(images, image);
}

/// Reads `[old=]name[:tag][@digest]`; without an old name a tag or a digest is needed.
fn image(text: &str) -> Option<Value> {
    let (old, new) = match text.split_once('=') {
        Some((old, new)) => (Some(old), new),
        None => (None, text),
    };
    let (name, digest) = new.split_once('@').map_or((new, None), |(name, digest)| (name, Some(digest)));
    // A colon before a slash belongs to the registry's port.
    let (name, tag) = match name.rsplit_once(':') {
        Some((before, tag)) if !tag.contains('/') => (before, Some(tag)),
        _ => (name, None),
    };
    if name.is_empty()
        || old.is_some_and(str::is_empty)
        || (old.is_none() && tag.is_none() && digest.is_none())
    {
        return None;
    }
    let mut image = Map::new();
    image.insert("name".to_owned(), Value::from(old.unwrap_or(name)));
    if old.is_some() {
        image.insert("newName".to_owned(), Value::from(name));
    }
    for (field, part) in [("newTag", tag), ("digest", digest)] {
        if let Some(part) = part {
            image.insert(field.to_owned(), Value::from(part));
        }
    }
    Some(Value::Object(image))
}

fn patch(patch: &KustomizePatch) -> Value {
    serde_json::to_value(patch).unwrap_or(Value::Null)
}
