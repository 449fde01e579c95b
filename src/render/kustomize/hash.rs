//! The hash that generated ConfigMaps and Secrets carry in their name.
//!
//! kustomize hashes compact JSON as Go writes it, so the same contents must give the same bytes here. The name in it is
//! always empty: equal contents give equal hashes whatever they are called.

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

/// The hash of a ConfigMap or Secret, ten characters long; `None` for any other kind.
pub(super) fn of(object: &Value) -> Option<String> {
    let kind = object.get("kind").and_then(Value::as_str)?;
    let field = |name: &str| match object.get(name) {
        None | Some(Value::Null) => Value::from(""),
        Some(value) => value.clone(),
    };
    let mut content = Map::new();
    content.insert("kind".to_owned(), Value::from(kind));
    content.insert("name".to_owned(), Value::from(""));
    content.insert("data".to_owned(), field("data"));
    let optional = match kind {
        "ConfigMap" => "binaryData",
        "Secret" => {
            content.insert("type".to_owned(), field("type"));
            "stringData"
        }
        _ => return None,
    };
    if let Some(value @ Value::Object(_)) = object.get(optional) {
        content.insert(optional.to_owned(), value.clone());
    }
    let mut text = String::new();
    write_json(&Value::Object(content), &mut text);
    let digest = Sha256::digest(text.as_bytes());
    let hexadecimal: String = digest.iter().take(5).map(|byte| format!("{byte:02x}")).collect();
    // Letters instead of these digits keep the hash from forming words.
    let encoded = hexadecimal.chars().map(|c| match c {
        '0' => 'g',
        '1' => 'h',
        '3' => 'k',
        'a' => 'm',
        'e' => 't',
        other => other,
    });
    Some(encoded.collect())
}

/// Compact JSON with sorted keys, escaped as Go's encoder does.
fn write_json(value: &Value, text: &mut String) {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<(&String, &Value)> = fields.iter().collect();
            fields.sort_by_key(|(key, _)| *key);
            text.push('{');
            for (at, (key, value)) in fields.into_iter().enumerate() {
                if at > 0 {
                    text.push(',');
                }
                write_string(key, text);
                text.push(':');
                write_json(value, text);
            }
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    text.push(',');
                }
                write_json(item, text);
            }
            text.push(']');
        }
        Value::String(string) => write_string(string, text),
        Value::Null | Value::Bool(_) | Value::Number(_) => text.push_str(&value.to_string()),
    }
}

fn write_string(string: &str, text: &mut String) {
    text.push('"');
    for c in string.chars() {
        match c {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            '\u{8}' => text.push_str("\\b"),
            '\u{c}' => text.push_str("\\f"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\u{1f}' => {
                text.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            other => text.push(other),
        }
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn hashes_are_those_of_kustomize() {
        let cases = [
            (json!({"kind": "ConfigMap"}), "6ct58987ht"),
            (json!({"kind": "ConfigMap", "metadata": {"name": "any"}, "data": {"x": "y"}}), "6gc9d749f7"),
            (json!({"kind": "Secret", "type": "Opaque", "data": {}}), "46f8b28mk5"),
            (json!({"kind": "Secret", "type": "Opaque", "data": {"one": "MQ=="}}), "k9fk8hgk4f"),
        ];
        for (object, expected) in cases {
            assert_eq!(of(&object).unwrap(), expected, "{object}");
        }
    }

    #[test]
    fn the_order_of_keys_does_not_matter() {
        let a = json!({"kind": "ConfigMap", "data": {"a": "1", "b": "<&>\u{2028}"}});
        let b = json!({"data": {"b": "<&>\u{2028}", "a": "1"}, "kind": "ConfigMap"});
        assert_eq!(of(&a), of(&b));
    }
}
