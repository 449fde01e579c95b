//! Patches as entries of a kustomization: what they are, which resources they are for, and how they are applied.
//!
//! A text is a strategic merge patch when it holds resources, and a JSON patch when it holds a list of operations. Without a
//! target, a strategic merge patch names its one resource itself, by any id that it has or had.

use serde_json::Value;

use super::{
    error::KustomizeError,
    json_patch::{self, Patch as JsonPatch},
    load::{Loader, Root},
    manifest::{Manifest, PatchForm},
    merge::{Merged, strategic_merge},
    resource::{Resource, describe},
    resources::Resources,
    schema::{Schema, TypeRef},
    selector::{CompiledSelector, Selector},
};
use crate::{
    files::{Budget, RepoPath},
    object::yaml,
};

/// What a patch's text turned out to be.
pub(super) enum Content {
    StrategicMerge(Vec<Manifest>),
    Json(JsonPatch),
}

/// What a strategic merge patch may change of an object's identity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Permissions {
    pub name: bool,
    pub kind: bool,
}

/// A target that patches select resources with.
pub(super) struct Target {
    selector: CompiledSelector,
    /// The name, when it is a plain one: it is then looked up rather than searched for.
    name: Option<String>,
}

impl Target {
    pub fn new(selector: &Selector) -> Result<Self, KustomizeError> {
        let is_plain = !selector.name.is_empty()
            && selector.name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        Ok(Self { selector: selector.compile()?, name: is_plain.then(|| selector.name.clone()) })
    }

    /// Positions of the resources that it selects, in order.
    pub fn select(&self, resources: &mut Resources) -> Vec<usize> {
        let mut positions = match &self.name {
            Some(name) => resources.named(name),
            None => (0..resources.len()).collect(),
        };
        positions.sort_unstable();
        positions.retain(|at| {
            resources.get(*at).is_some_and(|resource| {
                !resource.is_deleted
                    && self.selector.matches_patch_target(
                        resource.original_id(),
                        resource.id(),
                        &resource.value,
                    )
            })
        });
        positions
    }
}

/// The text of a patch, and the file that it comes from.
pub(super) struct Text {
    pub file: Option<RepoPath>,
    pub text: String,
}

impl Text {
    /// Where it stands, for a message.
    pub fn place(&self) -> String {
        self.file.as_ref().map_or_else(|| "the inline patch".to_owned(), |file| format!("'{file}'"))
    }

    /// An error in it.
    pub fn error(&self, action: &'static str, source: impl Into<KustomizeError>) -> KustomizeError {
        source.into().of_object(action, self.place())
    }
}

/// The text of a patch that is given in place or as a file.
pub(super) fn text(
    path: &str,
    inline: &str,
    loader: &Loader<'_>,
    root: &Root,
) -> Result<Text, KustomizeError> {
    match (path.trim(), inline.trim()) {
        ("", "") => Err(KustomizeError::invalid("a patch must have one of 'patch' and 'path'")),
        ("", _) => Ok(Text { file: None, text: inline.to_owned() }),
        (path, "") => {
            let (file, text) = loader.text(root, path)?;
            Ok(Text { file: Some(file), text })
        }
        _ => Err(KustomizeError::invalid("a patch can have 'patch' or 'path', not both")),
    }
}

/// Finds out which sort of patch a text is. A text without content is a strategic merge patch without documents.
pub(super) fn parse(
    patch: &Text,
    has_target: bool,
    permissions: Permissions,
    loader: &Loader<'_>,
) -> Result<Content, KustomizeError> {
    let text = &patch.text;
    let form = match (has_target, permissions == Permissions::default()) {
        (true, _) => PatchForm::Copied,
        (false, false) => PatchForm::Noted,
        (false, true) => PatchForm::AsWritten,
    };
    let documents = match &patch.file {
        Some(file) => loader.patch_documents(file, form).ok(),
        None => yaml::parse(text.as_bytes(), &form.reading()).ok(),
    };
    let is_json_patch = match &documents {
        Some(documents) => documents.first().is_some_and(|document| document.value.is_array()),
        // JSON escapes that the reader of resources does not know, or keys that stand twice.
        None => text.trim_start().starts_with('[') || is_list(text, form),
    };
    if is_json_patch {
        return json_patch::parse(text).map(Content::Json).map_err(|error| patch.error("reading", error));
    }
    let file = patch.file.as_ref();
    let patches = match documents {
        Some(documents) => Manifest::patches(documents, file, form),
        None => Manifest::parse_patch(text.as_bytes(), file, form),
    };
    patches
        .map(Content::StrategicMerge)
        .map_err(|error| patch.error("reading as strategic merge patch or JSON patch", error))
}

/// Whether a text is a list once repeated keys are put up with.
fn is_list(text: &str, form: PatchForm) -> bool {
    let options = yaml::Options { duplicate_keys: yaml::DuplicateKeys::LastWins, ..form.reading() };
    let first =
        yaml::parse(text.as_bytes(), &options).ok().and_then(|documents| documents.into_iter().next());
    first.is_some_and(|document| document.value.is_array())
}

/// Merges patches into the resources that they name.
pub(super) fn merge_by_id(
    patches: &[Manifest],
    permissions: Permissions,
    resources: &mut Resources,
    schema: &Schema,
    budget: &Budget,
) -> Result<(), KustomizeError> {
    for patch in patches {
        budget.spend(&patch.value)?;
        let id = super::resource::id_of(&patch.value);
        let found = resources.with_any_id(&id);
        match found.as_slice() {
            [at] => merge_at(*at, &patch.value, permissions, resources, schema)?,
            [] => {
                return Err(KustomizeError::invalid(format!(
                    "strategic merge patch: there is no {} to patch; group, version, kind, name and namespace must be those \
                     that the resource has or had",
                    describe(&id)
                )));
            }
            _ => {
                return Err(KustomizeError::invalid(format!(
                    "strategic merge patch: several resources are or were called {}; give the patch a target",
                    describe(&id)
                )));
            }
        }
    }
    Ok(())
}

/// Merges a patch into every resource that a target selects.
pub(super) fn merge_into_selected(
    patch: &Manifest,
    target: &Target,
    permissions: Permissions,
    resources: &mut Resources,
    schema: &Schema,
    budget: &Budget,
) -> Result<(), KustomizeError> {
    for at in target.select(resources) {
        budget.spend(&patch.value)?;
        let mut value = patch.value.clone();
        if let (Some(resource), Some(fields)) = (resources.get(at), value.as_object_mut()) {
            for field in ["apiVersion", "kind"] {
                match resource.value.get(field) {
                    // With permission to change the kind, the patch's own kind counts.
                    _ if field == "kind" && permissions.kind => {}
                    Some(own) => {
                        fields.insert(field.to_owned(), own.clone());
                    }
                    None => {
                        fields.shift_remove(field);
                    }
                }
            }
        }
        merge_at(at, &value, permissions, resources, schema)?;
    }
    Ok(())
}

fn merge_at(
    at: usize,
    patch: &Value,
    permissions: Permissions,
    resources: &mut Resources,
    schema: &Schema,
) -> Result<(), KustomizeError> {
    let merge = |resource: &mut Resource| -> Result<(), KustomizeError> {
        let id = resource.id().clone();
        if permissions.name || permissions.kind {
            resource.store_previous_id();
        }
        drop_blank_fields(resource, schema);
        resource.shared.prepare_merge(patch);
        // A patch that removes all annotations removes kustomize's notes too: references to former names end, and a
        // generated object gets no hash.
        let has_note = resource.write_note();
        let merged = strategic_merge(&mut resource.value, patch, schema)
            .map_err(|error| KustomizeError::from(error).of_object("strategic merge patch", describe(&id)))?;
        if has_note && !resource.take_note() {
            resource.forget();
        }
        if merged == Merged::Deleted || resource.value.as_object().is_none_or(serde_json::Map::is_empty) {
            resource.is_deleted = true;
            return Ok(());
        }
        resource.refresh();
        if !permissions.kind && resource.id().gvk.kind != id.gvk.kind {
            resource.set_kind(&id.gvk.kind);
        }
        if !permissions.name && resource.id().name != id.name {
            resource.set_name(&id.name);
        }
        resource.set_namespace(&id.namespace);
        resource.refresh();
        Ok(())
    };
    resources.change(at, merge).unwrap_or(Ok(()))
}

/// A strategic merge drops the fields for which nothing is written in the object, while it keeps explicit nulls. It walks
/// through mappings and the lists that it merges, patched or not.
fn drop_blank_fields(resource: &mut Resource, schema: &Schema) {
    let blank_fields = std::mem::take(&mut resource.blank_fields);
    if blank_fields.is_empty() {
        return;
    }
    let id = resource.id();
    let root = schema.root(&id.gvk.api_version(), &id.gvk.kind);
    for path in blank_fields {
        drop_blank(&mut resource.value, &path, root);
    }
}

fn drop_blank(value: &mut Value, path: &[String], known: Option<TypeRef<'_>>) {
    let Some((step, rest)) = path.split_first() else {
        return;
    };
    match value {
        Value::Object(fields) if rest.is_empty() => {
            let is_blank = fields.get(step).is_some_and(Value::is_null);
            is_blank.then(|| fields.shift_remove(step));
        }
        Value::Object(fields) => {
            if let Some(field) = fields.get_mut(step) {
                drop_blank(field, rest, known.and_then(|known| known.field(step)));
            }
        }
        Value::Array(items) if known.is_some_and(|known| known.merge_keys().is_some()) => {
            if let Some(item) = step.parse().ok().and_then(|index: usize| items.get_mut(index)) {
                drop_blank(item, rest, known.and_then(TypeRef::items));
            }
        }
        _ => {}
    }
}

/// Applies a JSON patch to every resource that a target selects.
///
/// With `remembers`, as in `patches`, the resource stays known under the id that it has before the patch.
pub(super) fn apply_json(
    patch: &JsonPatch,
    target: &Target,
    remembers: bool,
    resources: &mut Resources,
    budget: &Budget,
) -> Result<(), KustomizeError> {
    let apply = |resource: &mut Resource| -> Result<(), KustomizeError> {
        if remembers {
            resource.store_previous_id();
        }
        let has_origin = resource.origin.is_some() && resource.write_note();
        let outcome = if resource.has_annotations_of_kustomize() {
            json_patch::apply_keeping_annotations(patch, &mut resource.value, budget)
        } else {
            json_patch::apply(patch, &mut resource.value, budget)
        };
        // On its way through JSON a blank field becomes an explicit null.
        resource.blank_fields.clear();
        resource.shared.clear();
        // kustomize puts back what it remembers after a JSON patch, but not where the object is from.
        if has_origin && !resource.take_note() {
            resource.forget_origin();
        }
        outcome
            .map_err(|error| KustomizeError::from(error).of_object("JSON patch", describe(resource.id())))?;
        if resource.value.as_object().is_none_or(serde_json::Map::is_empty) {
            resource.is_deleted = true;
        } else {
            resource.refresh();
        }
        Ok(())
    };
    for at in target.select(resources) {
        resources.change(at, apply).unwrap_or(Ok(()))?;
    }
    Ok(())
}
