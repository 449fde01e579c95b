//! `configMapGenerator` and `secretGenerator`: objects made of literals, files and env files.
//!
//! Keys come from `envs`, then `literals`, then `files`, and none may come twice. What is generated joins the resources
//! according to its behaviour: it is new, or is merged into or takes the place of one that is there under any of its names.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};

use super::{
    error::KustomizeError,
    kustomization::{GeneratorArguments, GeneratorOptions},
    load::{Loader, Root},
    manifest::Manifest,
    resource::{Resource, describe},
    resources::Resources,
};

/// What is generated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    ConfigMap,
    Secret,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::ConfigMap => "ConfigMap",
            Self::Secret => "Secret",
        }
    }
}

/// Makes the object that one entry asks for.
pub(super) fn generate(
    kind: Kind,
    arguments: &GeneratorArguments,
    defaults: Option<&GeneratorOptions>,
    loader: &Loader<'_>,
    root: &Root,
) -> Result<Resource, KustomizeError> {
    if arguments.name.is_empty() {
        return Err(KustomizeError::invalid(format!("a {} generator must have a name", kind.name())));
    }
    let pairs = gather(kind, arguments, loader, root)?;
    let options = merged_options(arguments.options.as_ref(), defaults);

    let mut metadata = Map::new();
    metadata.insert("name".to_owned(), Value::from(arguments.name.as_str()));
    if !arguments.namespace.is_empty() {
        metadata.insert("namespace".to_owned(), Value::from(arguments.namespace.as_str()));
    }
    for (field, entries) in [("labels", options.labels), ("annotations", options.annotations)] {
        if !entries.is_empty() {
            let entries = entries.into_iter().map(|(key, text)| (key, Value::from(text))).collect();
            metadata.insert(field.to_owned(), Value::Object(entries));
        }
    }
    let mut object = Map::new();
    object.insert("apiVersion".to_owned(), Value::from("v1"));
    object.insert("kind".to_owned(), Value::from(kind.name()));
    object.insert("metadata".to_owned(), Value::Object(metadata));
    add_content(kind, arguments, pairs, &mut object);
    if options.immutable {
        object.insert("immutable".to_owned(), Value::from(true));
    }
    let manifest = Manifest::generated(Value::Object(object), &root.file);
    let mut resource = Resource::new(manifest);
    resource.needs_hash = !options.disable_name_suffix_hash;
    Ok(resource)
}

fn add_content(
    kind: Kind,
    arguments: &GeneratorArguments,
    pairs: Vec<(String, Vec<u8>)>,
    object: &mut Map<String, Value>,
) {
    let mut data = Map::new();
    let mut binary_data = Map::new();
    for (key, bytes) in pairs {
        match (kind, String::from_utf8(bytes)) {
            (Kind::ConfigMap, Ok(text)) => {
                data.insert(key, Value::from(text));
            }
            (Kind::ConfigMap, Err(binary)) => {
                binary_data.insert(key, Value::from(encode(binary.as_bytes())));
            }
            (Kind::Secret, text) => {
                let bytes = text.map_or_else(|binary| binary.into_bytes(), String::into_bytes);
                data.insert(key, Value::from(encode(&bytes)));
            }
        }
    }
    match kind {
        Kind::Secret => {
            let secret_type =
                arguments.secret_type.as_deref().filter(|text| !text.is_empty()).unwrap_or("Opaque");
            object.insert("type".to_owned(), Value::from(secret_type));
            object.insert("data".to_owned(), Value::Object(data));
        }
        Kind::ConfigMap => {
            for (field, entries) in [("data", data), ("binaryData", binary_data)] {
                if !entries.is_empty() {
                    object.insert(field.to_owned(), Value::Object(entries));
                }
            }
        }
    }
}

/// kustomize breaks base64 of 70 characters and more into lines, the last one included; the breaks are part of the value
/// and count for the hash.
fn encode(bytes: &[u8]) -> String {
    const LINE: usize = 70;
    let encoded = STANDARD.encode(bytes);
    if encoded.len() < LINE {
        return encoded;
    }
    let mut lines = String::with_capacity(encoded.len() + encoded.len() / LINE + 1);
    for (at, c) in encoded.chars().enumerate() {
        if at > 0 && at % LINE == 0 {
            lines.push('\n');
        }
        lines.push(c);
    }
    lines.push('\n');
    lines
}

fn merged_options(own: Option<&GeneratorOptions>, defaults: Option<&GeneratorOptions>) -> GeneratorOptions {
    let mut options = defaults.cloned().unwrap_or_default();
    if let Some(own) = own {
        options.labels.extend(own.labels.clone());
        options.annotations.extend(own.annotations.clone());
        // A generator cannot switch off what generatorOptions switch on, as in kustomize.
        options.disable_name_suffix_hash |= own.disable_name_suffix_hash;
        options.immutable |= own.immutable;
    }
    options
}

fn gather(
    kind: Kind,
    arguments: &GeneratorArguments,
    loader: &Loader<'_>,
    root: &Root,
) -> Result<Vec<(String, Vec<u8>)>, KustomizeError> {
    let mut pairs: Vec<(String, Vec<u8>)> = Vec::new();
    let mut keys = std::collections::HashSet::new();
    let mut add = |key: &str, content: Vec<u8>| {
        if !keys.insert(key.to_owned()) {
            let (kind, name) = (kind.name(), &arguments.name);
            return Err(KustomizeError::invalid(format!(
                "{kind} generator '{name}' has the key '{key}' twice"
            )));
        }
        pairs.push((key.to_owned(), content));
        Ok(())
    };
    let environment = (!arguments.env.is_empty()).then_some(&arguments.env);
    for entry in arguments.envs.iter().chain(environment) {
        let (file, text) = loader.text(root, entry)?;
        for (number, line) in text.lines().enumerate() {
            let line = if number == 0 { line.trim_start_matches('\u{feff}') } else { line };
            let line = line.trim_start();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (key, value) = line.split_once('=').unwrap_or((line, ""));
            if key.is_empty() {
                let line = number + 1;
                return Err(KustomizeError::invalid(format!(
                    "'{file}' line {line}: there is no key before '='"
                )));
            }
            add(key, value.as_bytes().to_vec())?;
        }
    }
    for literal in &arguments.literals {
        // The literal may be a password: only what stands before the `=` is shown.
        match literal.split_once('=') {
            Some((key, value)) if !key.is_empty() => add(key, without_quotes(value).as_bytes().to_vec())?,
            _ => {
                return Err(KustomizeError::invalid(format!(
                    "{} generator '{}' has a literal that is not of the form key=value",
                    kind.name(),
                    arguments.name
                )));
            }
        }
    }
    for entry in &arguments.files {
        let (key, path) = match entry.split_once('=') {
            None => (entry.rsplit('/').next().unwrap_or(entry), entry.as_str()),
            Some((key, path)) if !key.is_empty() && !path.is_empty() && !path.contains('=') => (key, path),
            Some(_) => {
                return Err(KustomizeError::invalid(format!(
                    "{} generator '{}': files entry '{entry}' must be PATH or KEY=PATH",
                    kind.name(),
                    arguments.name
                )));
            }
        };
        add(key, loader.read(root, path)?.to_vec())?;
    }
    Ok(pairs)
}

/// One pair of quotes around a literal's value does not belong to it.
fn without_quotes(value: &str) -> &str {
    for quote in ['"', '\''] {
        if let Some(inner) = value.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote)) {
            return inner;
        }
    }
    value
}

/// Adds a generated resource to those that are there, by its behaviour.
pub(super) fn absorb(
    resources: &mut Resources,
    mut new: Resource,
    behavior: &str,
) -> Result<(), KustomizeError> {
    let found = resources.with_any_id(new.id());
    let (at, old) = match found.as_slice() {
        [] if matches!(behavior, "merge" | "replace") => {
            return Err(KustomizeError::invalid(format!(
                "behavior '{behavior}': {} does not exist, so there is nothing to {behavior}",
                describe(new.id())
            )));
        }
        [] => return resources.append(new),
        [at] => match resources.get(*at) {
            Some(old) => (*at, old),
            None => return Ok(()),
        },
        _ => {
            return Err(KustomizeError::invalid(format!(
                "behavior '{behavior}': several resources are or were called {}",
                describe(new.id())
            )));
        }
    };
    if !matches!(behavior, "merge" | "replace") {
        return Err(KustomizeError::invalid(format!(
            "{} exists already: set the generator's behavior to 'merge' or 'replace', or rename one",
            describe(new.id())
        )));
    }
    for field in ["labels", "annotations"] {
        overlay(&old.value, &mut new.value, &["metadata", field]);
    }
    if behavior == "merge" {
        for field in ["data", "binaryData"] {
            overlay(&old.value, &mut new.value, &[field]);
        }
        new.origin.clone_from(&old.origin);
    }
    new.needs_hash &= old.needs_hash;
    let old_id = old.id().clone();
    new.set_name(&old_id.name);
    new.set_namespace(&old_id.namespace);
    new.inherit(old);
    resources.replace(at, new);
    Ok(())
}

/// Puts the entries of a mapping of `old` under those of `new`.
fn overlay(old: &Value, new: &mut Value, path: &[&str]) {
    let old = path.iter().try_fold(old, |value, step| value.get(step));
    let Some(Value::Object(old)) = old else { return };
    if old.is_empty() {
        return;
    }
    let mut place = new;
    for step in path {
        let Value::Object(fields) = place else { return };
        place = fields.entry(*step).or_insert(json!({}));
    }
    if let Value::Object(entries) = place {
        let mut merged = old.clone();
        for (key, value) in std::mem::take(entries) {
            merged.insert(key, value);
        }
        *entries = merged;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_pair_of_matching_quotes_is_taken_off() {
        let cases = [
            ("\"a\"", "a"),
            ("'a'", "a"),
            ("\"a\" \"b\"", "a\" \"b"),
            ("\"", "\""),
            ("\"a'", "\"a'"),
            ("''", ""),
        ];
        for (written, expected) in cases {
            assert_eq!(without_quotes(written), expected);
        }
    }

    #[test]
    fn long_base64_is_broken_into_lines() {
        assert!(!encode(&[0; 51]).contains('\n'));
        let encoded = encode(&[0; 60]);
        assert_eq!(encoded.lines().map(str::len).collect::<Vec<_>>(), [70, 10]);
        assert!(encoded.ends_with('\n'));
    }
}
