//! What settings say of single kinds: `resource.customizations`, and `resource.compareoptions` for all of them.
//!
//! The same rule can be written in one map (`resource.customizations`, key `group/Kind`) or in a key of its own
//! (`resource.customizations.<type>.<group>_<Kind>`); the latter wins. Of the types, `ignoreDifferences` and
//! `ignoreResourceUpdates` are acted on; `health`, `actions`, `useOpenLibs` and `knownTypeFields` are not yet.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::{
    Settings,
    reader::{Fault, Reader, typed, yaml},
    values,
};
use crate::api::ResourceIgnoreDifferences;

const MAP: &str = "resource.customizations";
const IGNORE_DIFFERENCES: &str = "ignoreDifferences";
const IGNORE_RESOURCE_UPDATES: &str = "ignoreResourceUpdates";
const TYPES: &[&str] =
    &["health", "useOpenLibs", "actions", IGNORE_DIFFERENCES, IGNORE_RESOURCE_UPDATES, "knownTypeFields"];

/// Which `status` fields the comparison leaves out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IgnoreStatus {
    /// Those of every kind.
    #[default]
    All,
    /// Those of CustomResourceDefinitions.
    CustomResourceDefinitions,
    /// None.
    None,
}

/// `resource.compareoptions`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompareOptions {
    /// Whether the rules of aggregated roles are left out.
    pub ignore_aggregated_roles: bool,
    /// Which `status` fields are left out.
    pub ignore_status: IgnoreStatus,
    /// Whether a change of ignored fields is no event.
    pub ignore_differences_on_resource_updates: bool,
}

impl Default for CompareOptions {
    fn default() -> Self {
        Self {
            ignore_aggregated_roles: false,
            ignore_status: IgnoreStatus::All,
            ignore_differences_on_resource_updates: true,
        }
    }
}

impl CompareOptions {
    pub(super) fn parse(text: &str) -> Result<Self, Fault> {
        #[derive(Default, Deserialize)]
        #[serde(default, rename_all = "camelCase")]
        struct Written {
            ignore_aggregated_roles: Option<bool>,
            ignore_resource_status_field: Option<Value>,
            ignore_differences_on_resource_updates: Option<bool>,
        }
        let written: Option<Written> = yaml(text)?;
        let (written, default) = (written.unwrap_or_default(), Self::default());
        // `off` is a boolean in YAML 1.1.
        let ignore_status = match &written.ignore_resource_status_field {
            Some(Value::Bool(false)) => IgnoreStatus::None,
            Some(Value::String(name)) if name == "none" || name == "off" || name == "false" => {
                IgnoreStatus::None
            }
            Some(Value::String(name)) if name == "crd" => IgnoreStatus::CustomResourceDefinitions,
            _ => IgnoreStatus::All,
        };
        Ok(Self {
            ignore_aggregated_roles: written
                .ignore_aggregated_roles
                .unwrap_or(default.ignore_aggregated_roles),
            ignore_status,
            ignore_differences_on_resource_updates: written
                .ignore_differences_on_resource_updates
                .unwrap_or(default.ignore_differences_on_resource_updates),
        })
    }
}

pub(super) struct Rules {
    pub ignore_differences: Vec<ResourceIgnoreDifferences>,
    pub ignore_resource_updates: Vec<ResourceIgnoreDifferences>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Fields {
    json_pointers: Vec<String>,
    jq_path_expressions: Vec<String>,
    managed_fields_managers: Vec<String>,
}

pub(super) fn read(config: &mut Reader<'_>, last_good: &Settings) -> Rules {
    let ignore_updates = config.read("resource.ignoreResourceUpdatesEnabled", true, true, values::boolean);
    Rules {
        ignore_differences: rules(config, IGNORE_DIFFERENCES, &last_good.ignore_differences),
        ignore_resource_updates: if ignore_updates {
            rules(config, IGNORE_RESOURCE_UPDATES, &last_good.ignore_resource_updates)
        } else {
            Vec::new()
        },
    }
}

/// All rules of one type, by kind. A rule that cannot be read is taken from `last_good`.
fn rules(
    config: &mut Reader<'_>,
    rule_type: &str,
    last_good: &[ResourceIgnoreDifferences],
) -> Vec<ResourceIgnoreDifferences> {
    let mut found: BTreeMap<(String, String), ResourceIgnoreDifferences> = BTreeMap::new();
    let of_kind = |key: &(String, String)| {
        last_good.iter().find(|rule| (&rule.group, &rule.kind) == (&key.0, &key.1)).cloned()
    };
    match config.data.get(MAP).map(|text| combined(text, rule_type)) {
        None => {}
        Some(Ok(rules)) => found.extend(rules),
        Some(Err(fault)) => {
            // One problem is enough: both types are read from the same text.
            if rule_type == IGNORE_DIFFERENCES {
                config.report(MAP, &fault);
            }
            found
                .extend(last_good.iter().map(|rule| ((rule.group.clone(), rule.kind.clone()), rule.clone())));
        }
    }
    let prefix = format!("{MAP}.{rule_type}.");
    let data = config.data;
    for (key, text) in data.range(prefix.clone()..) {
        let Some(name) = key.strip_prefix(&prefix) else {
            break;
        };
        let kind = group_and_kind(name, '_');
        match yaml::<Option<Fields>>(text) {
            Ok(fields) => {
                found.insert(kind.clone(), rule(kind, fields.unwrap_or_default()));
            }
            Err(fault) => {
                config.report(key, &fault);
                match of_kind(&kind) {
                    Some(rule) => found.insert(kind, rule),
                    None => found.remove(&kind),
                };
            }
        }
    }
    found.into_values().collect()
}

type RulesByKind = Vec<((String, String), ResourceIgnoreDifferences)>;

/// The rules of one type in the map of all kinds. Each rule is YAML text inside of the YAML.
fn combined(text: &str, rule_type: &str) -> Result<RulesByKind, Fault> {
    let kinds: Option<BTreeMap<String, BTreeMap<String, Value>>> = yaml(text)?;
    let mut found = Vec::new();
    for (name, mut parts) in kinds.unwrap_or_default() {
        let Some(value) = parts.remove(rule_type) else {
            continue;
        };
        let inside = |fault: Fault| Fault::new(format!("'{name}', field '{rule_type}': {}", fault.message));
        let fields = match value {
            Value::String(text) => yaml::<Option<Fields>>(&text).map_err(inside)?,
            other => typed::<Option<Fields>>(other).map_err(inside)?,
        };
        let kind = group_and_kind(&name, '/');
        found.push((kind.clone(), rule(kind, fields.unwrap_or_default())));
    }
    Ok(found)
}

/// `group<separator>Kind`, `Kind` for the core group, `all` for everything.
fn group_and_kind(name: &str, separator: char) -> (String, String) {
    match name.rsplit_once(separator) {
        None if name == "all" => ("*".to_owned(), "*".to_owned()),
        None => (String::new(), name.to_owned()),
        Some((group, kind)) => (group.to_owned(), kind.to_owned()),
    }
}

fn rule((group, kind): (String, String), fields: Fields) -> ResourceIgnoreDifferences {
    ResourceIgnoreDifferences {
        group,
        kind,
        json_pointers: fields.json_pointers,
        jq_path_expressions: fields.jq_path_expressions,
        managed_fields_managers: fields.managed_fields_managers,
        ..ResourceIgnoreDifferences::default()
    }
}

/// Whether a key is one of this file's and acted on; `None` when it is none of them.
pub(super) fn is_acted_on(key: &str) -> Option<bool> {
    let rest = key.strip_prefix(MAP)?.strip_prefix('.')?;
    let (rule_type, _) = rest.split_once('.')?;
    TYPES.contains(&rule_type).then(|| [IGNORE_DIFFERENCES, IGNORE_RESOURCE_UPDATES].contains(&rule_type))
}
