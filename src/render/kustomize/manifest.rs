//! Objects as files have them: YAML documents, lists unpacked, checked for a kind and a name.

use std::fmt;

use serde_json::Value;

use super::{error::KustomizeError, filter::scalar_text};
use crate::{
    files::{Form, RepoPath},
    object::{
        type_name,
        yaml::{self, DuplicateKeys, Schema},
    },
};

/// How deep lists of lists (`kind: List`) are unpacked.
const LIST_DEPTH: usize = 32;

/// One object as a file has it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Manifest {
    pub value: Value,
    pub file: Option<RepoPath>,
    /// The line on which its document begins, from 1.
    pub line: usize,
    /// Paths of the fields that are null because nothing is written there.
    pub blank_fields: Vec<Vec<String>>,
}

/// What kustomize writes to a patch before it is applied. What is written so is text: a null removes nothing then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PatchForm {
    /// Nothing.
    AsWritten,
    /// Notes among its annotations: one with options.
    Noted,
    /// Notes, and new labels and annotations: one that has a target, and those of `patchesStrategicMerge`.
    Copied,
}

impl PatchForm {
    /// How the text of such a patch is read. Its keys meet those of the object as text: `80:` is the key `"80"`.
    pub fn reading(self) -> yaml::Options {
        yaml::Options {
            is_patch: true,
            annotations_as_text: self != Self::AsWritten,
            labels_as_text: self == Self::Copied,
            ..Manifest::reading()
        }
    }

    /// The form in which files that are read so are kept for later renders.
    pub fn kept_as(self) -> Form {
        match self {
            Self::AsWritten => "kustomize patch",
            Self::Noted => "kustomize patch with options",
            Self::Copied => "kustomize patch for a target",
        }
    }
}

impl Manifest {
    /// An object that no file has.
    pub fn generated(value: Value, file: &RepoPath) -> Self {
        Self { value, file: Some(file.clone()), line: 1, blank_fields: Vec::new() }
    }

    /// The objects of a text that has been read as YAML: lists are unpacked, empty documents dropped.
    ///
    /// # Errors
    /// When a document has no kind or no name.
    pub fn from_documents(
        documents: Vec<yaml::Document>,
        file: Option<&RepoPath>,
    ) -> Result<Vec<Self>, KustomizeError> {
        let mut manifests = Self::unpacked(documents, file)?;
        manifests.iter_mut().for_each(|manifest| write_out_annotations(&mut manifest.value));
        Ok(manifests)
    }

    /// How the text of resources is read.
    pub fn reading() -> yaml::Options {
        yaml::Options::new(Schema::Yaml12ish, DuplicateKeys::Error)
    }

    /// Reads the objects of a patch that is given as text.
    ///
    /// # Errors
    /// When the text is no YAML, or a document has no kind or no name.
    pub fn parse_patch(
        text: &[u8],
        file: Option<&RepoPath>,
        form: PatchForm,
    ) -> Result<Vec<Self>, KustomizeError> {
        Self::patches(read(text, file, &form.reading())?, file, form)
    }

    /// As [`Manifest::parse_patch`], for a text that has been read as YAML.
    ///
    /// # Errors
    /// When a document has no kind or no name.
    pub fn patches(
        documents: Vec<yaml::Document>,
        file: Option<&RepoPath>,
        form: PatchForm,
    ) -> Result<Vec<Self>, KustomizeError> {
        let mut patches = Self::unpacked(documents, file)?;
        let is_copied = form == PatchForm::Copied;
        for patch in patches.iter_mut().filter(|_| is_copied) {
            let Some(Value::Object(metadata)) = patch.value.get_mut("metadata") else { continue };
            for field in ["labels", "annotations"] {
                let is_empty = |value: &Value| value.as_object().is_none_or(serde_json::Map::is_empty);
                if metadata.get(field).is_some_and(is_empty) {
                    metadata.shift_remove(field);
                }
            }
        }
        Ok(patches)
    }

    fn unpacked(
        documents: Vec<yaml::Document>,
        file: Option<&RepoPath>,
    ) -> Result<Vec<Self>, KustomizeError> {
        let mut manifests = Vec::with_capacity(documents.len());
        let mut lists = Vec::new();
        for document in documents {
            let place = Place { file, line: document.line };
            match document.value {
                Value::Null => {}
                value if is_list(&value) => lists.push((value, document.blank_fields, place)),
                value => manifests.push(place.manifest(value, document.blank_fields)?),
            }
        }
        for (value, blank_fields, place) in lists {
            place.unpack(value, &blank_fields, &mut manifests, 0)?;
        }
        Ok(manifests)
    }
}

fn read(
    text: &[u8],
    file: Option<&RepoPath>,
    options: &yaml::Options,
) -> Result<Vec<yaml::Document>, KustomizeError> {
    yaml::parse(text, options).map_err(|source| match file {
        Some(file) => KustomizeError::Yaml { file: file.clone(), source },
        None => KustomizeError::InlineYaml(source),
    })
}

/// Annotations are text, also where a number or a boolean is written without quotes.
fn write_out_annotations(value: &mut Value) {
    let annotations = value.get_mut("metadata").and_then(|metadata| metadata.get_mut("annotations"));
    let Some(Value::Object(annotations)) = annotations else {
        return;
    };
    for text in annotations.values_mut() {
        if let Value::Bool(_) | Value::Number(_) | Value::Null = text
            && let Some(written) = scalar_text(text)
        {
            *text = Value::String(written);
        }
    }
}

fn is_list(value: &Value) -> bool {
    let kind = value.get("kind").and_then(Value::as_str).unwrap_or_default();
    kind == "List" || (kind.ends_with("List") && value.get("items").is_some())
}

#[derive(Clone, Copy)]
struct Place<'a> {
    file: Option<&'a RepoPath>,
    line: usize,
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.file {
            Some(file) => write!(f, "'{file}', document at line {}", self.line),
            None => write!(f, "inline YAML, document at line {}", self.line),
        }
    }
}

impl Place<'_> {
    fn manifest(self, value: Value, blank_fields: Vec<Vec<String>>) -> Result<Manifest, KustomizeError> {
        let fail = |problem: String| Err(KustomizeError::invalid(format!("{self}: {problem}")));
        let Value::Object(fields) = &value else {
            return fail(format!("a resource must be a mapping, but this is {}", type_name(&value)));
        };
        let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
        let kind = text(fields.get("kind"));
        match fields.get("kind") {
            Some(Value::String(kind)) if !kind.is_empty() => {}
            None | Some(Value::Null | Value::String(_)) => return fail("field 'kind' is missing".to_owned()),
            Some(_) => return fail("field 'kind' must be a string".to_owned()),
        }
        let metadata = match fields.get("metadata") {
            Some(Value::Object(metadata)) => metadata,
            None | Some(Value::Null) => return fail(format!("{kind}: field 'metadata.name' is missing")),
            Some(_) => return fail(format!("{kind}: field 'metadata' must be a mapping")),
        };
        match metadata.get("name") {
            Some(Value::String(name)) if !name.is_empty() => {}
            None | Some(Value::Null | Value::String(_)) => {
                return fail(format!("{kind}: field 'metadata.name' is missing"));
            }
            Some(_) => {
                return fail(format!("{kind}: field 'metadata.name' must be a string (put it in quotes)"));
            }
        }
        if !matches!(metadata.get("namespace"), None | Some(Value::Null | Value::String(_))) {
            return fail(format!("{kind}: field 'metadata.namespace' must be a string (put it in quotes)"));
        }
        for field in ["labels", "annotations"] {
            match metadata.get(field) {
                None | Some(Value::Null | Value::Object(_)) => {}
                Some(_) => {
                    return fail(format!("{kind}: field 'metadata.{field}' must be a mapping of strings"));
                }
            }
        }
        Ok(Manifest { value, file: self.file.cloned(), line: self.line, blank_fields })
    }

    fn unpack(
        self,
        list: Value,
        blank_fields: &[Vec<String>],
        manifests: &mut Vec<Manifest>,
        depth: usize,
    ) -> Result<(), KustomizeError> {
        if depth > LIST_DEPTH {
            return Err(KustomizeError::invalid(format!("{self}: lists are nested too deep")));
        }
        let Value::Object(mut fields) = list else {
            return Ok(());
        };
        let items = match fields.shift_remove("items") {
            None | Some(Value::Null) => return Ok(()),
            Some(Value::Array(items)) => items,
            Some(other) => {
                let found = type_name(&other);
                return Err(KustomizeError::invalid(format!(
                    "{self}: field 'items' must be a list, but is {found}"
                )));
            }
        };
        for (index, item) in items.into_iter().enumerate() {
            let index = index.to_string();
            let blank_fields: Vec<Vec<String>> = blank_fields
                .iter()
                .filter_map(|path| match path.split_first_chunk() {
                    Some(([field, at], rest)) if field == "items" && *at == index => Some(rest.to_vec()),
                    _ => None,
                })
                .collect();
            if is_list(&item) {
                self.unpack(item, &blank_fields, manifests, depth + 1)?;
            } else if !item.is_null() {
                manifests.push(self.manifest(item, blank_fields)?);
            }
        }
        Ok(())
    }
}
