//! What settings say of single kinds: `resource.customizations`, and `resource.compareoptions` for all of them.
//!
//! The same rule can be written in one map (`resource.customizations`, key `group/Kind`) or in a key of its own
//! (`resource.customizations.<type>.<group>_<Kind>`); the latter wins. Of the types, `ignoreDifferences`, `health` and
//! `useOpenLibs` are acted on; the others are not yet.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::reader::{Fault, Reader, typed, yaml};
use crate::{
    api::ResourceIgnoreDifferences,
    compare::{CompareOptions, IgnoreStatus},
};

/// The key of the map.
pub(super) const MAP: &str = "resource.customizations";
/// The key of the options for all kinds.
pub(super) const COMPARE_OPTIONS: &str = "resource.compareoptions";
/// The type of rule with fields to ignore.
pub(super) const IGNORE_DIFFERENCES: &str = "ignoreDifferences";
/// The type of rule with a health check.
pub(super) const HEALTH: &str = "health";
/// The type of rule that opens libraries to a health check.
pub(super) const OPEN_LIBRARIES: &str = "useOpenLibs";
const ACTED_ON: &[&str] = &[IGNORE_DIFFERENCES, HEALTH, OPEN_LIBRARIES];
const OTHER_TYPES: &[&str] = &["actions", "ignoreResourceUpdates", "knownTypeFields"];
/// The same in the map of all kinds.
const PARTS_ACTED_ON: &[&str] = &[IGNORE_DIFFERENCES, "health.lua", "health.lua.useOpenLibs"];
const COMPARE_OPTIONS_ACTED_ON: &[&str] = &["ignoreAggregatedRoles", "ignoreResourceStatusField"];

/// Reads `resource.compareoptions`.
pub(super) fn compare_options(text: &str) -> Result<CompareOptions, Fault> {
    #[derive(Default, Deserialize)]
    #[serde(default, rename_all = "camelCase")]
    struct Written {
        ignore_aggregated_roles: bool,
        ignore_resource_status_field: Value,
    }
    let written = yaml::<Option<Written>>(text)?.unwrap_or_default();
    let ignore_status = match &written.ignore_resource_status_field {
        // `off` is a boolean in YAML 1.1.
        Value::Bool(false) => IgnoreStatus::None,
        Value::String(name) => IgnoreStatus::from_setting(name),
        _ => IgnoreStatus::default(),
    };
    Ok(CompareOptions { ignore_status, ignore_aggregated_roles: written.ignore_aggregated_roles })
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Fields {
    json_pointers: Vec<String>,
    jq_path_expressions: Vec<String>,
    managed_fields_managers: Vec<String>,
}

/// The fields that every Application ignores, by kind. A rule that cannot be read is taken from `last_good`.
pub(super) fn ignore_differences(
    config: &mut Reader<'_>,
    last_good: &[ResourceIgnoreDifferences],
) -> Vec<ResourceIgnoreDifferences> {
    let mut found: BTreeMap<(String, String), ResourceIgnoreDifferences> = BTreeMap::new();
    let of_kind = |key: &(String, String)| {
        last_good.iter().find(|rule| (&rule.group, &rule.kind) == (&key.0, &key.1)).cloned()
    };
    match config.data.get(MAP).map(|text| combined(text)) {
        None => {}
        Some(Ok(rules)) => found.extend(rules),
        Some(Err(fault)) => {
            config.report(MAP, &fault);
            found
                .extend(last_good.iter().map(|rule| ((rule.group.clone(), rule.kind.clone()), rule.clone())));
        }
    }
    let prefix = format!("{MAP}.{IGNORE_DIFFERENCES}.");
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

/// The rules in the map of all kinds. Each rule is YAML text inside of the YAML.
fn combined(text: &str) -> Result<RulesByKind, Fault> {
    let kinds: Option<BTreeMap<String, BTreeMap<String, Value>>> = yaml(text)?;
    let mut found = Vec::new();
    for (name, mut parts) in kinds.unwrap_or_default() {
        let Some(value) = parts.remove(IGNORE_DIFFERENCES) else {
            continue;
        };
        let inside =
            |fault: Fault| Fault::new(format!("'{name}', field '{IGNORE_DIFFERENCES}': {}", fault.message));
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
    let acted_on = ACTED_ON.contains(&rule_type);
    (acted_on || OTHER_TYPES.contains(&rule_type)).then_some(acted_on)
}

/// The parts of the map of all kinds that are not acted on: `apps/Deployment: health.lua`.
pub(super) fn parts_without_effect(text: &str) -> Vec<String> {
    let kinds: Map<String, Value> = yaml(text).unwrap_or_default();
    let parts =
        |value: &Value| value.as_object().map(|parts| parts.keys().cloned().collect()).unwrap_or_default();
    let mut found = Vec::new();
    for (kind, value) in &kinds {
        let names: Vec<String> = parts(value);
        let others = names.iter().filter(|name| !PARTS_ACTED_ON.contains(&name.as_str()));
        found.extend(others.map(|name| format!("{kind}: {name}")));
    }
    found
}

/// The fields of `resource.compareoptions` that are not acted on.
pub(super) fn options_without_effect(text: &str) -> Vec<String> {
    let options: Map<String, Value> = yaml(text).unwrap_or_default();
    options.keys().filter(|name| !COMPARE_OPTIONS_ACTED_ON.contains(&name.as_str())).cloned().collect()
}
