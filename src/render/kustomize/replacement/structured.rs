//! Fields inside of a text that is YAML or JSON: `data.config\.json.server.port`.
//!
//! When a path goes on through a scalar, the scalar is parsed, the rest of the path is followed in there and the text is
//! written back: JSON with sorted keys, compact or indented as it was; YAML with its comments and quotes. As in kustomize, a delimiter
//! is not heeded in there, and whatever goes wrong is no error here but means that the path leads elsewhere.

use serde_json::Value;

use super::NewValue;
use super::path::{self, Create};
use super::rewrite::rewrite;
use crate::object::yaml;

/// Sets a field inside of a text; false when the path does not lead through one.
pub(super) fn set(object: &mut Value, steps: &[String], create: Option<Create>, value: &NewValue) -> bool {
    for length in 1..steps.len() {
        let Some((outer, inner)) = steps.split_at_checked(length) else {
            return false;
        };
        let Ok(Some(Value::String(text))) = path::lookup_steps(object, outer) else {
            continue;
        };
        let Some(changed) = changed(text, inner, create, value) else {
            return false;
        };
        return write(object, outer, changed);
    }
    false
}

fn changed(text: &str, steps: &[String], create: Option<Create>, value: &NewValue) -> Option<String> {
    let options = yaml::Options::new(yaml::Schema::Yaml12ish, yaml::DuplicateKeys::LastWins);
    let parse = |text: &str| Some(yaml::parse(text.as_bytes(), &options).ok()?.into_iter().next()?.value);
    let before = parse(text)?;
    let mut document = before.clone();
    let mut is_set = true;
    let found = path::each(&mut document, steps, create, &mut |place| {
        is_set &= super::set(place, value).is_ok();
    });
    if !is_set || found.ok()? == 0 {
        return None;
    }
    if !text.trim_start().starts_with(['{', '[']) {
        let rewritten =
            rewrite(text, &before, &document).filter(|text| parse(text).as_ref() == Some(&document));
        return Some(rewritten.unwrap_or_else(|| yaml::to_string(&document)).trim().to_owned());
    }
    sort_keys(&mut document);
    let is_indented = text.contains('\n') && text.contains("  ");
    let json =
        if is_indented { serde_json::to_string_pretty(&document) } else { serde_json::to_string(&document) };
    // Go's encoder writes these so that JSON can stand in HTML.
    let escaped = |c: char| match c {
        '<' => Some("\\u003c"),
        '>' => Some("\\u003e"),
        '&' => Some("\\u0026"),
        '\u{2028}' => Some("\\u2028"),
        '\u{2029}' => Some("\\u2029"),
        _ => None,
    };
    let mut result = String::new();
    for c in json.ok()?.chars() {
        match escaped(c) {
            Some(text) => result.push_str(text),
            None => result.push(c),
        }
    }
    Some(result)
}

fn sort_keys(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.sort_keys();
            fields.values_mut().for_each(sort_keys);
        }
        Value::Array(items) => items.iter_mut().for_each(sort_keys),
        _ => {}
    }
}

/// Puts a text where [`path::lookup_steps`] found one.
fn write(object: &mut Value, steps: &[String], text: String) -> bool {
    let Some(place) = path::lookup_steps_mut(object, steps) else {
        return false;
    };
    *place = Value::String(text);
    true
}
