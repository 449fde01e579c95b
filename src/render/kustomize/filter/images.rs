//! `images`: other names, tags and digests for container images.
//!
//! An entry runs over an object twice, as in kustomize: once over `image` in every element of any list called
//! `containers` or `initContainers`, at any depth; then over the field specs. Its name is a regular expression.

use regex::Regex;
use serde_json::Value;

use super::{FilterError, scalar_text};
use crate::object::type_name;
use crate::render::kustomize::fieldspec::{Create, FieldSpec, gvk_of, visit};

/// How deep an object is searched for containers.
const MAX_DEPTH: usize = 512;

/// One entry of `images`, its name compiled.
#[derive(Debug, Clone)]
pub struct Image {
    pattern: Regex,
    new_name: String,
    new_tag: String,
    digest: String,
    tag_suffix: String,
}

impl Image {
    /// Compiles an entry. Empty texts change nothing.
    ///
    /// # Errors
    /// When the name is not a regular expression.
    pub fn new(
        name: &str,
        new_name: &str,
        new_tag: &str,
        digest: &str,
        tag_suffix: &str,
    ) -> Result<Self, FilterError> {
        let pattern = Regex::new(&format!(
            "^{name}(:[a-zA-Z0-9_.{{}}-]*)?(@sha256:[a-zA-Z0-9_.{{}}-]*)?$"
        ))
        .map_err(|error| FilterError::ImagePattern {
            name: name.to_owned(),
            reason: error.to_string(),
        })?;
        Ok(Self {
            pattern,
            new_name: new_name.to_owned(),
            new_tag: new_tag.to_owned(),
            digest: digest.to_owned(),
            tag_suffix: tag_suffix.to_owned(),
        })
    }

    /// The image that stands for `image`, or nothing when the entry is about another.
    fn replace(&self, image: &str) -> Option<String> {
        if !self.pattern.is_match(image) {
            return None;
        }
        let (name, tag, digest) = split(image);
        let name = if self.new_name.is_empty() {
            name
        } else {
            &self.new_name
        };
        let (tag, digest) = match (
            self.new_tag.as_str(),
            self.digest.as_str(),
            self.tag_suffix.as_str(),
        ) {
            ("", "", "") => (tag.to_owned(), digest),
            ("", "", suffix) => (format!("{tag}{suffix}"), ""),
            (new_tag, new_digest, _) => (new_tag.to_owned(), new_digest),
        };
        let mut replaced = name.to_owned();
        if !tag.is_empty() {
            replaced.push(':');
            replaced.push_str(&tag);
        }
        if !digest.is_empty() {
            replaced.push('@');
            replaced.push_str(digest);
        }
        Some(replaced)
    }

    fn set(&self, place: &mut Value, path: &str) -> Result<(), FilterError> {
        if place.is_null() {
            return Ok(());
        }
        let Some(old) = scalar_text(place) else {
            return Err(FilterError::WrongType {
                path: path.to_owned(),
                expected: "a string",
                found: type_name(place),
            });
        };
        if let Some(new) = self.replace(&old) {
            *place = Value::String(new);
        }
        Ok(())
    }
}

/// Name, tag and digest; the port of a registry is part of the name.
fn split(image: &str) -> (&str, &str, &str) {
    let (before_digest, digest) = image.split_once('@').unwrap_or((image, ""));
    let path_start = before_digest.find('/').unwrap_or(0);
    let colon = before_digest
        .char_indices()
        .find(|(at, c)| *at >= path_start && *c == ':')
        .map(|(at, _)| at);
    let (name, tag) = match colon.and_then(|at| before_digest.split_at_checked(at)) {
        Some((name, tag)) => (name, tag.trim_start_matches(':')),
        None => (before_digest, ""),
    };
    (name, tag, digest)
}

/// Changes the images of one object. CustomResourceDefinitions are left alone.
///
/// # Errors
/// When an image is a mapping or a list, or when a field spec leads through a scalar.
pub fn apply(object: &mut Value, image: &Image, fieldspecs: &[FieldSpec]) -> Result<(), FilterError> {
    if gvk_of(object).kind == "CustomResourceDefinition" {
        return Ok(());
    }
    containers(object, image, 0)?;
    for spec in fieldspecs {
        visit(object, spec, Create::Never, &mut |place| {
            image.set(place, &spec.path)
        })?;
    }
    Ok(())
}

fn containers(value: &mut Value, image: &Image, depth: usize) -> Result<(), FilterError> {
    if depth > MAX_DEPTH {
        return Err(FilterError::TooDeep {
            path: "containers/image".to_owned(),
        });
    }
    match value {
        Value::Array(items) => items
            .iter_mut()
            .try_for_each(|item| containers(item, image, depth + 1)),
        Value::Object(fields) => {
            for (key, field) in fields {
                containers(field, image, depth + 1)?;
                if (key == "containers" || key == "initContainers")
                    && let Value::Array(items) = field
                {
                    for place in items.iter_mut().filter_map(|item| item.get_mut("image")) {
                        image.set(place, &format!("{key}/image"))?;
                    }
                }
            }
            Ok(())
        }
        _ => Ok(()),
    }
}
