//! `health.lua` of `resource.customizations`, in both of its forms.
//!
//! ```text
//! resource.customizations:                       resource.customizations.health.<group>_<Kind>: <Lua>
//!   <group>/<Kind>:                              resource.customizations.useOpenLibs.<group>_<Kind>: "true"
//!     health.lua: <Lua>
//!     health.lua.useOpenLibs: true
//! ```
//!
//! A key of its own wins over the map. A text that is no Lua is reported; the kind's last good script goes on, and where
//! there is none, the kind's objects are `Unknown` with the same message.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    customizations::{HEALTH, MAP, OPEN_LIBRARIES},
    reader::{Fault, Reader, yaml},
};
use crate::health::{Script, Scripts};

#[derive(Default)]
struct Parts {
    source: Option<String>,
    open_libraries: bool,
    /// The key of the ConfigMap that has the script.
    place: String,
}

/// Reads the scripts.
pub(super) fn read(config: &mut Reader<'_>, last_good: &Scripts) -> Scripts {
    let mut found: BTreeMap<String, Parts> = BTreeMap::new();
    match config.data.get(MAP).map(|text| yaml::<Option<BTreeMap<String, BTreeMap<String, Value>>>>(text)) {
        None => {}
        Some(Ok(kinds)) => {
            for (kind, parts) in kinds.unwrap_or_default() {
                from_map(config, &kind, &parts, &mut found);
            }
        }
        // Who reads the map for the fields to ignore has reported it.
        Some(Err(_)) => found.extend(last_good.iter().map(|(kind, script)| {
            let source = Some(script.source.to_string());
            (kind.to_owned(), Parts { source, open_libraries: script.open_libraries, place: MAP.to_owned() })
        })),
    }
    from_keys(config, &mut found);
    let last_good: BTreeMap<&str, &Script> = last_good.iter().collect();
    let mut scripts = Vec::new();
    for (kind, Parts { source, open_libraries, place }) in found {
        let Some(source) = source.filter(|source| !source.trim().is_empty()) else {
            continue;
        };
        let script = Script { source: source.into(), open_libraries };
        let kept = last_good.get(kind.as_str());
        match script.check() {
            Ok(()) => scripts.push((kind, script)),
            Err((line, message)) => {
                report(config, &kind, &place, line, &message, kept.is_some());
                scripts.push((kind, kept.map_or(script, |kept| Script::clone(kept))));
            }
        }
    }
    Scripts::new(scripts)
}

fn from_map(
    config: &mut Reader<'_>,
    kind: &str,
    parts: &BTreeMap<String, Value>,
    found: &mut BTreeMap<String, Parts>,
) {
    let mut wrong = |field: &str, expected: &str| {
        config.report(MAP, &Fault::new(format!("'{kind}', field '{field}' must be {expected}")));
    };
    let source = match parts.get("health.lua") {
        None | Some(Value::Null) => None,
        Some(Value::String(source)) => Some(source.clone()),
        Some(_) => {
            wrong("health.lua", "a text with Lua");
            None
        }
    };
    let open_libraries = match parts.get("health.lua.useOpenLibs") {
        None | Some(Value::Null) => false,
        Some(Value::Bool(open)) => *open,
        Some(_) => {
            wrong("health.lua.useOpenLibs", "true or false");
            false
        }
    };
    found.insert(kind.to_owned(), Parts { source, open_libraries, place: MAP.to_owned() });
}

fn from_keys(config: &mut Reader<'_>, found: &mut BTreeMap<String, Parts>) {
    let data = config.data;
    let (health, open) = (format!("{MAP}.{HEALTH}."), format!("{MAP}.{OPEN_LIBRARIES}."));
    for (key, text) in data {
        if let Some(name) = key.strip_prefix(&health) {
            let parts = found.entry(name.replacen('_', "/", 1)).or_default();
            (parts.source, parts.place) = (Some(text.clone()), key.clone());
        } else if let Some(name) = key.strip_prefix(&open) {
            match text.trim().parse() {
                Ok(open) => found.entry(name.replacen('_', "/", 1)).or_default().open_libraries = open,
                Err(_) => config.report(key, &Fault::new("it must be \"true\" or \"false\"")),
            }
        }
    }
}

fn report(
    config: &mut Reader<'_>,
    kind: &str,
    place: &str,
    line: Option<usize>,
    message: &str,
    has_last_good: bool,
) {
    let holds = if has_last_good {
        "the last good script still holds".to_owned()
    } else {
        format!("the health of every {kind} is Unknown until it is mended")
    };
    // In the map the line of the script is not the line of the key's text.
    let (line, script) = match line {
        Some(line) if place == MAP => (None, format!("'{kind}', field 'health.lua', line {line}: ")),
        line if place == MAP => (line, format!("'{kind}', field 'health.lua': ")),
        line => (line, String::new()),
    };
    config.report_with(place, &Fault { line, message: format!("{script}{message}") }, &holds);
}
