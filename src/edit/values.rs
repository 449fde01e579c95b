//! A value of a Helm values file, or of any other YAML file.

use serde_json::Value;

use super::{
    EditError,
    text::{replace, rewrite},
};
use crate::object::yaml::{self, LocatedContent};

/// Gives the value at `key` (`image.tag`, `containers[0].image`; `\.` is a point that is part of a name) another text. The
/// key must be there: one that is not is more often misspelt than new.
///
/// # Errors
/// [`EditError`]; the text then stays what it was.
pub fn set_value(text: &str, key: &str, value: &str) -> Result<String, EditError> {
    let root = yaml::locate(text.as_bytes())?;
    let Some(root) = root else {
        return Err(EditError::Form {
            line: 1,
            problem: format!("the file says nothing, so there is no {key}"),
        });
    };
    let (mut node, mut pointer, mut known) = (&root, String::new(), Vec::new());
    for step in steps(key) {
        let next = match (&node.content, step.parse::<usize>()) {
            (LocatedContent::Sequence { items, .. }, Ok(index)) => items.get(index),
            (LocatedContent::Mapping { .. }, _) => node.get(&step),
            (LocatedContent::Alias, _) => {
                let problem = format!("{key} leads through an alias: change what it refers to by hand");
                return Err(EditError::Form { line: node.line, problem });
            }
            _ => None,
        };
        let Some(next) = next else {
            let names: Vec<&str> = match &node.content {
                LocatedContent::Mapping { entries, .. } => {
                    entries.iter().filter_map(|(key, _)| key.scalar()).take(10).collect()
                }
                _ => Vec::new(),
            };
            let above = if known.is_empty() { "the file".to_owned() } else { known.join(".") };
            let there = if names.is_empty() { "no keys".to_owned() } else { names.join(", ") };
            let problem = format!("there is no {key}: {above} has {there}");
            return Err(EditError::Form { line: node.line, problem });
        };
        pointer.push('/');
        pointer.push_str(&step.replace('~', "~0").replace('/', "~1"));
        known.push(step);
        node = next;
    }
    let Some(piece) = rewrite(node, key, value)? else { return Ok(text.to_owned()) };
    let changed = replace(text, &piece);
    let mut wanted = read(text)?;
    if let Some(place) = wanted.pointer_mut(&pointer) {
        *place = Value::String(value.to_owned());
    }
    if read(&changed).ok().as_ref() == Some(&wanted) {
        Ok(changed)
    } else {
        Err(EditError::Unsafe { key: key.to_owned() })
    }
}

/// What a text says.
pub(super) fn read(text: &str) -> Result<Value, EditError> {
    let documents = yaml::parse(text.as_bytes(), &yaml::Options::default())?;
    Ok(documents.into_iter().next().map_or(Value::Null, |document| document.value))
}

/// The names and numbers of a key.
fn steps(key: &str) -> Vec<String> {
    let mut steps = vec![String::new()];
    let mut characters = key.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => steps.last_mut().into_iter().for_each(|step| step.extend(characters.next())),
            '.' | '[' => steps.push(String::new()),
            ']' => {}
            other => steps.last_mut().into_iter().for_each(|step| step.push(other)),
        }
    }
    steps.retain(|step| !step.is_empty());
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::chain;

    #[test]
    fn a_value_is_changed_and_all_else_stays() {
        let text = "# the shop\nimage:   # who runs\n    repository: registry/orders\n    tag: \"1.0\"   # set by CI\nreplicas: 3\n";
        let changed = set_value(text, "image.tag", "1.1").unwrap();
        assert_eq!(changed, text.replace("\"1.0\"", "\"1.1\""));
    }

    #[test]
    fn a_text_that_would_be_read_as_a_number_gets_quotes() {
        assert_eq!(set_value("tag: v1\n", "tag", "1.10").unwrap(), "tag: \"1.10\"\n");
        assert_eq!(set_value("tag: 1.10\n", "tag", "1.10").unwrap(), "tag: \"1.10\"\n");
        assert_eq!(set_value("tag:\n", "tag", "v2").unwrap(), "tag: v2\n");
        assert_eq!(set_value("tag: '1.9' # old\n", "tag", "1.10").unwrap(), "tag: '1.10' # old\n");
    }

    #[test]
    fn elements_of_lists_and_names_with_points_are_reached() {
        let text = "apps:\r\n- {name: a, image: x:1}\r\n- name: b\r\n  image: y:1\r\na.b: {tag: q}\r\n";
        assert_eq!(set_value(text, "apps[0].image", "x:2").unwrap(), text.replace("x:1", "x:2"));
        assert_eq!(set_value(text, "apps[1].image", "y:2").unwrap(), text.replace("y:1", "y:2"));
        assert_eq!(set_value(text, "a\\.b.tag", "z").unwrap(), text.replace("tag: q", "tag: z"));
    }

    #[test]
    fn a_key_that_is_not_there_is_refused_with_those_that_are() {
        let error = set_value("image:\n  tag: a\n  name: b\n", "image.tga", "1").unwrap_err();
        assert_eq!(chain(&error), "line 2: there is no image.tga: image has tag, name");
    }

    #[test]
    fn what_cannot_be_changed_for_certain_is_refused() {
        for (text, sign) in [
            ("image: &i {tag: a}\nother: *i\n", "change elsewhere"),
            ("image: {tag: &t a}\nother: *t\n", "anchor"),
            ("image: {tag: |\n  a\n}\n", ""),
            ("image:\n  tag: |\n    a\n", "block"),
            ("image:\n  tag: [a]\n", "no text"),
            ("image:\n  tag: a\n---\nimage: {}\n", "second document"),
            ("base: &b {tag: a}\nimage: *b\n", "alias"),
        ] {
            let error = chain(&set_value(text, "image.tag", "1").unwrap_err());
            assert!(error.contains(sign), "{text}: {error}");
        }
    }
}
