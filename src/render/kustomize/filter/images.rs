//! `images`: other names, tags and digests for container images.
//!
//! An entry runs over an object twice, as in kustomize: once over `image` in every element of any list called
//! `containers` or `initContainers`, at any depth; then over the field specs. Its name is a regular expression.

use regex::Regex;
use serde_json::Value;

use super::{FilterError, scalar_text};
use crate::object::type_name;
use crate::render::kustomize::fieldspec::{Create, FieldSpec, visit};

/// How deep an object is searched for containers.
const MAX_DEPTH: usize = 512;

/// The name of an entry.
#[derive(Debug, Clone)]
enum Pattern {
    /// Nothing in it is special but dots: compared at once, where an expression would have to be compiled first.
    Plain(String),
    Expression(Regex),
}

impl Pattern {
    fn new(name: &str) -> Result<Self, FilterError> {
        if name.chars().all(|c| c.is_ascii_alphanumeric() || "/:_-.".contains(c)) {
            return Ok(Self::Plain(name.to_owned()));
        }
        let expression = format!("^{name}(:[a-zA-Z0-9_.{{}}-]*)?(@sha256:[a-zA-Z0-9_.{{}}-]*)?$");
        Regex::new(&expression)
            .map(Self::Expression)
            .map_err(|error| FilterError::ImagePattern { name: name.to_owned(), reason: error.to_string() })
    }

    fn matches(&self, image: &str) -> bool {
        match self {
            Self::Expression(expression) => expression.is_match(image),
            Self::Plain(name) => {
                let mut rest = image.chars();
                let is_begun_by_name = name
                    .chars()
                    .all(|c| rest.next().is_some_and(|other| other == c || (c == '.' && other != '\n')));
                is_begun_by_name && is_tag_and_digest(rest.as_str())
            }
        }
    }
}

/// Whether a text is `[:tag][@sha256:digest]`.
fn is_tag_and_digest(text: &str) -> bool {
    let is_other = |c: char| !(c.is_ascii_alphanumeric() || "_.{}-".contains(c));
    let digest = text.strip_prefix(':').map_or(text, |tag| tag.trim_start_matches(|c| !is_other(c)));
    digest.is_empty() || digest.strip_prefix("@sha256:").is_some_and(|digest| !digest.contains(is_other))
}

/// One entry of `images`, its name compiled.
#[derive(Debug, Clone)]
pub struct Image {
    pattern: Pattern,
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
        Ok(Self {
            pattern: Pattern::new(name)?,
            new_name: new_name.to_owned(),
            new_tag: new_tag.to_owned(),
            digest: digest.to_owned(),
            tag_suffix: tag_suffix.to_owned(),
        })
    }

    /// Whether the entry is about one of these images.
    pub fn is_about_any(&self, images: &[String]) -> bool {
        images.iter().any(|image| self.pattern.matches(image))
    }

    /// The image that stands for `image`, or nothing when the entry is about another.
    fn replace(&self, image: &str) -> Option<String> {
        if !self.pattern.matches(image) {
            return None;
        }
        let (name, tag, digest) = split(image);
        let name = if self.new_name.is_empty() { name } else { &self.new_name };
        let (tag, digest) = match (self.new_tag.as_str(), self.digest.as_str(), self.tag_suffix.as_str()) {
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
}

/// Name, tag and digest; the port of a registry is part of the name.
fn split(image: &str) -> (&str, &str, &str) {
    let (before_digest, digest) = image.split_once('@').unwrap_or((image, ""));
    let path_start = before_digest.find('/').unwrap_or(0);
    let colon = before_digest.char_indices().find(|(at, c)| *at >= path_start && *c == ':').map(|(at, _)| at);
    let (name, tag) = match colon.and_then(|at| before_digest.split_at_checked(at)) {
        Some((name, tag)) => (name, tag.trim_start_matches(':')),
        None => (before_digest, ""),
    };
    (name, tag, digest)
}

/// The images of one object: an entry that is about none of them changes nothing.
///
/// # Errors
/// When an image is a mapping or a list, or when a field spec leads through a scalar.
pub fn images(object: &mut Value, fieldspecs: &[FieldSpec]) -> Result<Vec<String>, FilterError> {
    let mut images = Vec::new();
    each(object, fieldspecs, &mut |image| {
        images.push(image.to_owned());
        None
    })?;
    Ok(images)
}

/// Changes the images of one object. CustomResourceDefinitions are left alone.
///
/// # Errors
/// As [`images`].
pub fn apply(object: &mut Value, image: &Image, fieldspecs: &[FieldSpec]) -> Result<(), FilterError> {
    each(object, fieldspecs, &mut |old| image.replace(old))
}

/// What is to stand in the place of an image, if it changes.
type Replace<'a> = &'a mut dyn FnMut(&str) -> Option<String>;

fn each(object: &mut Value, fieldspecs: &[FieldSpec], replace: Replace<'_>) -> Result<(), FilterError> {
    if object.get("kind").and_then(Value::as_str) == Some("CustomResourceDefinition") {
        return Ok(());
    }
    containers(object, replace, 0)?;
    for spec in fieldspecs {
        visit(object, spec, Create::Never, &mut |place| set(place, &spec.path, replace))?;
    }
    Ok(())
}

fn set(place: &mut Value, path: &str, replace: Replace<'_>) -> Result<(), FilterError> {
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
    if let Some(new) = replace(&old) {
        *place = Value::String(new);
    }
    Ok(())
}

fn containers(value: &mut Value, replace: Replace<'_>, depth: usize) -> Result<(), FilterError> {
    if depth > MAX_DEPTH {
        return Err(FilterError::TooDeep { path: "containers/image".to_owned() });
    }
    match value {
        Value::Array(items) => items.iter_mut().try_for_each(|item| containers(item, replace, depth + 1)),
        Value::Object(fields) => {
            for (key, field) in fields {
                containers(field, replace, depth + 1)?;
                let path = match key.as_str() {
                    "containers" => "containers/image",
                    "initContainers" => "initContainers/image",
                    _ => continue,
                };
                if let Value::Array(items) = field {
                    let images = items.iter_mut().filter_map(|item| item.get_mut("image"));
                    for place in images {
                        set(place, path, replace)?;
                    }
                }
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::render::kustomize::fieldspec::Configuration;

    fn replaced(image: &str, name: &str, new: [&str; 4]) -> String {
        let [new_name, new_tag, digest, tag_suffix] = new;
        let entry = Image::new(name, new_name, new_tag, digest, tag_suffix).unwrap();
        let mut object = json!({"kind": "Widget", "image": {"image": image}});
        apply(&mut object, &entry, &[FieldSpec::any("image/image", true)]).unwrap();
        object["image"]["image"].as_str().unwrap().to_owned()
    }

    #[test]
    fn a_plain_name_matches_what_it_would_match_as_an_expression() {
        let names = ["", "nginx", "n.inx", "reg.io:5000/a/b", "a.b/c-d_e", "nginx:"];
        let images = [
            "",
            ":1",
            "nginx",
            "nginx:",
            "nginx:1.2",
            "nginx@sha256:ab",
            "nginx:1@sha256:ab",
            "nginx:1@sha256:",
            "nginx@sha512:ab",
            "nginx:1:2",
            "nginx:1/2",
            "nginxx",
            "n/inx",
            "reg.io:5000/a/b:v1",
            "reg-io:5000/a/b",
            "a.b/c-d_e:{}",
            "nginx::1",
            "nginx:1\n",
            "ünginx",
        ];
        for name in names {
            let Ok(Pattern::Plain(_)) = Pattern::new(name) else { panic!("{name} is plain") };
            let Ok(Pattern::Expression(expression)) = Pattern::new(&format!("(?:{name})")) else {
                panic!("{name}")
            };
            for image in images {
                assert_eq!(
                    Pattern::new(name).unwrap().matches(image),
                    expression.is_match(image),
                    "{name} {image:?}"
                );
            }
        }
    }

    #[test]
    fn name_tag_and_digest_are_replaced_separately() {
        for (image, new, expected) in [
            ("nginx", ["", "2", "", ""], "nginx:2"),
            ("nginx:1", ["", "2", "", ""], "nginx:2"),
            ("nginx@sha256:abc", ["", "2", "", ""], "nginx:2"),
            ("nginx:1@sha256:abc", ["other", "", "", ""], "other:1@sha256:abc"),
            ("nginx:1", ["", "", "sha256:def", ""], "nginx@sha256:def"),
            ("nginx:1", ["x/y", "2", "sha256:def", ""], "x/y:2@sha256:def"),
            ("nginx:1@sha256:abc", ["", "", "", "-s"], "nginx:1-s"),
            ("nginxx:1", ["", "2", "", ""], "nginxx:1"),
            ("docker.io/nginx:1", ["", "2", "", ""], "docker.io/nginx:1"),
        ] {
            assert_eq!(replaced(image, "nginx", new), expected, "{image}");
        }
    }

    #[test]
    fn the_port_of_a_registry_is_not_a_tag() {
        assert_eq!(replaced("host:5000/a/b", "host:5000/a/b", ["", "2", "", ""]), "host:5000/a/b:2");
        assert_eq!(replaced("host:5000/a/b:1", "host:5000/a/b", ["", "2", "", ""]), "host:5000/a/b:2");
    }

    #[test]
    fn the_name_is_a_regular_expression() {
        assert_eq!(replaced("re-x-y:1", "re.*y", ["new", "", "", ""]), "new:1");
        assert!(Image::new("(", "", "", "", "").is_err());
    }

    #[test]
    fn containers_are_found_at_any_depth_and_an_entry_runs_twice_over_them() {
        let entry = Image::new("nginx", "", "", "", "-s").unwrap();
        let mut object = json!({
            "kind": "Deployment",
            "spec": {"template": {"spec": {"containers": [{"image": "nginx:1"}, {"image": null}, {}]}}},
            "any": [{"initContainers": [{"image": "nginx:1"}]}]
        });
        apply(&mut object, &entry, &Configuration::defaults().images).unwrap();
        assert_eq!(object.pointer("/spec/template/spec/containers/0/image").unwrap(), "nginx:1-s-s");
        assert_eq!(object.pointer("/any/0/initContainers/0/image").unwrap(), "nginx:1-s");
        assert_eq!(object.pointer("/spec/template/spec/containers/1").unwrap(), &json!({"image": null}));
    }

    #[test]
    fn custom_resource_definitions_are_left_alone() {
        let entry = Image::new("nginx", "", "2", "", "").unwrap();
        let mut object =
            json!({"kind": "CustomResourceDefinition", "spec": {"containers": [{"image": "nginx"}]}});
        apply(&mut object, &entry, &Configuration::defaults().images).unwrap();
        assert_eq!(object.pointer("/spec/containers/0/image").unwrap(), "nginx");
    }
}
