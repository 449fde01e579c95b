//! Reading keys of one ConfigMap, with a fallback for each.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{
    error::{Classified, ErrorKind},
    object::yaml::{self, DuplicateKeys, Options, Schema},
};

/// A setting that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{object}, key '{key}'{}: {message}", line.map(|line| format!(", line {line}")).unwrap_or_default())]
pub struct SettingsProblem {
    /// The object, such as `ConfigMap 'argocd-cm'`.
    pub object: String,
    /// The key.
    pub key: String,
    /// The line of the key's text, from 1, when it has several.
    pub line: Option<usize>,
    /// What is wrong, and what holds instead.
    pub message: String,
}

impl Classified for SettingsProblem {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Configuration
    }
}

/// What is wrong with one text.
pub(super) struct Fault {
    pub line: Option<usize>,
    pub message: String,
}

impl Fault {
    pub fn new(message: impl Into<String>) -> Self {
        Self { line: None, message: message.into() }
    }
}

/// Reads the keys of one ConfigMap and collects what is wrong.
pub(super) struct Reader<'a> {
    object: String,
    pub data: &'a BTreeMap<String, String>,
    problems: &'a mut Vec<SettingsProblem>,
}

impl<'a> Reader<'a> {
    pub fn new(
        config_map: &str,
        data: &'a BTreeMap<String, String>,
        problems: &'a mut Vec<SettingsProblem>,
    ) -> Self {
        Self { object: format!("ConfigMap '{config_map}'"), data, problems }
    }

    /// The value of a key: `default` when it is absent or empty, `last_good` when it cannot be read.
    pub fn read<T>(
        &mut self,
        key: &str,
        last_good: T,
        default: T,
        parse: impl FnOnce(&str) -> Result<T, Fault>,
    ) -> T {
        match self.data.get(key).map(|text| text.trim()) {
            None | Some("") => default,
            Some(_) => {
                let text = self.data.get(key).map_or("", String::as_str);
                parse(text).unwrap_or_else(|fault| {
                    self.report(key, &fault);
                    last_good
                })
            }
        }
    }

    pub fn report(&mut self, key: &str, fault: &Fault) {
        self.report_with(key, fault, "the last good value still holds");
    }

    /// Reports what is wrong, and what holds instead.
    pub fn report_with(&mut self, key: &str, fault: &Fault, holds: &str) {
        self.problems.push(SettingsProblem {
            object: self.object.clone(),
            key: key.to_owned(),
            line: fault.line,
            message: format!("{}: {holds}", fault.message),
        });
    }
}

/// Reads a text of YAML into a type; empty text is `null`.
pub(super) fn yaml<T: DeserializeOwned>(text: &str) -> Result<T, Fault> {
    let options = Options::new(Schema::Yaml11, DuplicateKeys::Error);
    let documents = yaml::parse(text.as_bytes(), &options)
        .map_err(|error| Fault { line: Some(error.line), message: error.message.clone() })?;
    if let Some(second) = documents.get(1) {
        return Err(Fault {
            line: Some(second.line),
            message: "there must be one YAML document only".to_owned(),
        });
    }
    let value = documents.into_iter().next().map_or(Value::Null, |document| document.value);
    typed(value)
}

/// Turns a value into a type; the message names the field.
pub(super) fn typed<T: DeserializeOwned>(value: Value) -> Result<T, Fault> {
    serde_path_to_error::deserialize(value)
        .map_err(|error| Fault::new(format!("field '{}': {}", error.path(), error.inner())))
}
