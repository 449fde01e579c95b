//! `images:` of a kustomization.

use std::{fmt, str::FromStr};

use serde_json::{Map, Value, json};

use super::{
    EditError,
    text::{Piece, end_of_line, line_end, next_line, replace, rewrite, scalar, start_of_line},
    values::read,
};
use crate::{
    error::{Classified, ErrorKind},
    object::yaml::{self, Located, LocatedContent},
};

/// What an image becomes: `[NAME=]IMAGE[:TAG][@DIGEST]`, as `kustomize edit set image` reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageChange {
    /// The image as manifests name it.
    pub name: String,
    /// The name that it gets; `None` leaves the entry's as it is.
    pub new_name: Option<String>,
    /// The tag that it gets.
    pub new_tag: Option<String>,
    /// The digest that it gets.
    pub digest: Option<String>,
}

/// A text that is no image reference.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' {problem}: write [NAME=]IMAGE[:TAG][@DIGEST]")]
pub struct ImageReferenceError {
    text: String,
    problem: &'static str,
}

impl Classified for ImageReferenceError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::User
    }
}

impl FromStr for ImageChange {
    type Err = ImageReferenceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fail = |problem| ImageReferenceError { text: text.to_owned(), problem };
        if text.len() > 1024 || text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(fail("is no image"));
        }
        let (name, reference) = match text.split_once('=') {
            Some((name, reference)) => (Some(name), reference),
            None => (None, text),
        };
        let (rest, digest) = match reference.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (reference, None),
        };
        // A colon before the last slash belongs to the registry's port.
        let (image, tag) = match rest.rsplit_once(':') {
            Some((image, tag)) if !tag.contains('/') => (image, Some(tag)),
            _ => (rest, None),
        };
        let is_image = |image: &str| {
            !image.is_empty()
                && !image.starts_with(['/', '-', '.'])
                && image.chars().all(|c| c.is_ascii_alphanumeric() || "/._-:[]".contains(c))
        };
        let is_tag = |tag: &str| {
            (1..=128).contains(&tag.len())
                && !tag.starts_with(['.', '-'])
                && tag.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
        };
        let is_digest = |digest: &str| {
            digest.split_once(':').is_some_and(|(algorithm, hash)| {
                !algorithm.is_empty() && hash.len() >= 32 && hash.chars().all(|c| c.is_ascii_hexdigit())
            })
        };
        if !is_image(image) {
            return Err(fail("names no image"));
        }
        if name.is_some_and(|name| !is_image(name)) {
            return Err(fail("has a wrong NAME"));
        }
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(fail("has a wrong tag"));
        }
        if digest.is_some_and(|digest| !is_digest(digest)) {
            return Err(fail("has a wrong digest"));
        }
        if name.is_none() && tag.is_none() && digest.is_none() {
            return Err(fail("says neither tag nor digest nor another name"));
        }
        Ok(Self {
            name: name.unwrap_or(image).to_owned(),
            new_name: name.map(|_| image.to_owned()),
            new_tag: tag.map(ToOwned::to_owned),
            digest: digest.map(ToOwned::to_owned),
        })
    }
}

impl fmt::Display for ImageChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.new_name.as_ref().unwrap_or(&self.name))?;
        if let Some(tag) = &self.new_tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

impl ImageChange {
    /// The fields of the entry in the order in which they are written: `None` takes one away.
    fn fields(&self) -> Vec<(&'static str, Option<&str>)> {
        let mut fields = Vec::new();
        if let Some(new_name) = &self.new_name {
            fields.push(("newName", Some(new_name.as_str())));
        }
        // A digest that stays would win over a new tag, and a tag that stays would tell a lie about a new digest.
        if self.new_tag.is_some() || self.digest.is_some() {
            fields.push(("newTag", self.new_tag.as_deref()));
            fields.push(("digest", self.digest.as_deref()));
        }
        fields
    }
}

/// Sets images of a kustomization. An entry is found by its `name`, else by its `newName`; one that is not there is added.
///
/// # Errors
/// [`EditError`]; the text then stays what it was.
pub fn set_images(text: &str, changes: &[ImageChange]) -> Result<String, EditError> {
    let mut changed = text.to_owned();
    let mut wanted = read(text)?;
    for change in changes {
        let name = set_image(&mut changed, change)?;
        expect(&mut wanted, &name, change);
    }
    if read(&changed).ok().as_ref() == Some(&wanted) {
        Ok(changed)
    } else {
        Err(EditError::Unsafe { key: "images".to_owned() })
    }
}

/// Does to the values what the edit does to the text.
fn expect(kustomization: &mut Value, name: &str, change: &ImageChange) {
    if kustomization.is_null() {
        *kustomization = Value::Object(Map::new());
    }
    let Some(root) = kustomization.as_object_mut() else { return };
    let images = root.entry("images").or_insert(Value::Null);
    if images.is_null() {
        *images = json!([]);
    }
    let Some(images) = images.as_array_mut() else { return };
    let index = images.iter().position(|image| image["name"] == name).unwrap_or_else(|| {
        images.push(json!({ "name": name }));
        images.len() - 1
    });
    let Some(image) = images.get_mut(index).and_then(Value::as_object_mut) else { return };
    for (field, value) in change.fields() {
        match value {
            Some(value) => {
                image.insert(field.to_owned(), value.into());
            }
            None => {
                image.shift_remove(field);
            }
        }
    }
}

/// Sets one image and returns the `name` of its entry.
fn set_image(text: &mut String, change: &ImageChange) -> Result<String, EditError> {
    let form =
        |node: &Located, problem: &str| EditError::Form { line: node.line, problem: problem.to_owned() };
    let root = yaml::locate(text.as_bytes())?;
    let Some(root) = root else {
        append(text, &format!("images:{}", entry(change, line_end(text), 0)));
        return Ok(change.name.clone());
    };
    let LocatedContent::Mapping { is_flow: false, entries } = &root.content else {
        return Err(form(&root, "the kustomization is not written as lines of keys: change it by hand"));
    };
    let Some((key, images)) = root.entry("images") else {
        let column = entries.first().map_or(0, |(key, _)| key.column);
        let line = format!("{}images:{}", " ".repeat(column), entry(change, line_end(text), column));
        append(text, &line);
        return Ok(change.name.clone());
    };
    if images.is_marked {
        return Err(form(images, "images has an anchor or a tag: change it by hand"));
    }
    let (items, is_flow) = match &images.content {
        LocatedContent::Sequence { items, is_flow } => (items.as_slice(), *is_flow),
        _ if images.is_blank() || matches!(images.scalar(), Some("null" | "~")) => (&[][..], false),
        _ => return Err(form(images, "images is no list: correct it")),
    };
    if let Some((name, _)) = find(items, &change.name) {
        let name = name.to_owned();
        for (field, value) in change.fields() {
            set_field(text, &name, field, value)?;
        }
        return Ok(name);
    }
    let line_end = line_end(text);
    let piece = match items.last() {
        None => {
            let colon =
                key.span.end + text.get(key.span.end..).and_then(|rest| rest.find(':')).unwrap_or(0) + 1;
            let end = if images.is_blank() { colon } else { images.span.end };
            Piece { range: colon..end, with: entry(change, line_end, key.column) }
        }
        Some(last) if is_flow => {
            Piece { range: last.span.end..last.span.end, with: format!(", {}", flow_entry(change)) }
        }
        Some(last) => {
            let at = end_of_line(text, last.end());
            // The dash stands before the item, by as much as in the other items.
            let dash = text.get(start_of_line(text, last.span.start)..last.span.start);
            let column = dash.and_then(|before| before.find('-')).unwrap_or(key.column);
            Piece { range: at..at, with: entry(change, line_end, column) }
        }
    };
    *text = replace(text, &piece);
    Ok(change.name.clone())
}

/// The item of an image: by its name, else the only one that it is renamed to.
fn find<'a>(items: &'a [Located], name: &str) -> Option<(&'a str, &'a Located)> {
    let field = |item: &'a Located, field: &str| item.get(field).and_then(Located::scalar);
    if let Some(item) = items.iter().find(|item| field(item, "name") == Some(name)) {
        return Some((field(item, "name")?, item));
    }
    let mut renamed = items.iter().filter(|item| field(item, "newName") == Some(name));
    match (renamed.next(), renamed.next()) {
        (Some(item), None) => Some((field(item, "name")?, item)),
        _ => None,
    }
}

/// Sets or takes away one field of the entry with a name.
fn set_field(text: &mut String, name: &str, field: &str, value: Option<&str>) -> Result<(), EditError> {
    let Some(root) = yaml::locate(text.as_bytes())? else { return Ok(()) };
    let items = match root.get("images").map(|images| &images.content) {
        Some(LocatedContent::Sequence { items, .. }) => items.as_slice(),
        _ => &[],
    };
    let Some((_, item)) = find(items, name) else { return Ok(()) };
    let LocatedContent::Mapping { entries, is_flow } = &item.content else { return Ok(()) };
    let piece = match (item.entry(field), value) {
        (None, None) => None,
        (Some((_, node)), Some(value)) => rewrite(node, field, value)?,
        (None, Some(value)) => {
            let Some((name_key, name_value)) = item.entry("name") else { return Ok(()) };
            if *is_flow {
                let at = name_value.span.end;
                Some(Piece { range: at..at, with: format!(", {field}: {}", scalar(value)) })
            } else {
                // Behind the fields that it follows in `ImageChange::fields`.
                let before: &[&str] = match field {
                    "newName" => &["name"],
                    "newTag" => &["newName", "name"],
                    _ => &["newTag", "newName", "name"],
                };
                let anchor = before.iter().find_map(|key| item.get(key)).unwrap_or(name_value);
                let at = end_of_line(text, anchor.end());
                let indent = " ".repeat(name_key.column);
                let with = format!("{}{indent}{field}: {}", line_end(text), scalar(value));
                Some(Piece { range: at..at, with })
            }
        }
        (Some((key, node)), None) => {
            let index = entries.iter().position(|(found, _)| found.span == key.span).unwrap_or(0);
            let next = entries.get(index + 1).map(|(key, _)| key.span.start);
            let end = if node.is_blank() { key.span.end } else { node.end() };
            let range = match (is_flow, next) {
                (true, Some(next)) => key.span.start..next,
                (true, None) => {
                    let before = index.checked_sub(1).and_then(|index| entries.get(index));
                    before.map_or(key.span.start, |(_, value)| value.span.end)..end
                }
                // The first key shares its line with the dash.
                (false, Some(next)) if index == 0 => key.span.start..next,
                _ => start_of_line(text, key.span.start)..next_line(text, end),
            };
            Some(Piece { range, with: String::new() })
        }
    };
    if let Some(piece) = piece {
        *text = replace(text, &piece);
    }
    Ok(())
}

/// A new entry as lines, each after a line break.
fn entry(change: &ImageChange, line_end: &str, column: usize) -> String {
    let indent = " ".repeat(column);
    let mut lines = format!("{line_end}{indent}- name: {}", scalar(&change.name));
    for (field, value) in change.fields() {
        if let Some(value) = value {
            lines.push_str(&format!("{line_end}{indent}  {field}: {}", scalar(value)));
        }
    }
    lines
}

fn flow_entry(change: &ImageChange) -> String {
    let fields = change.fields().into_iter().filter_map(|(field, value)| Some((field, value?)));
    let fields = [("name", change.name.as_str())].into_iter().chain(fields);
    let fields: Vec<String> = fields.map(|(field, value)| format!("{field}: {}", scalar(value))).collect();
    format!("{{{}}}", fields.join(", "))
}

/// Adds lines at the end of a text.
fn append(text: &mut String, lines: &str) {
    let line_end = line_end(text);
    if !text.is_empty() && !text.ends_with(['\n', '\r']) {
        text.push_str(line_end);
    }
    text.push_str(lines);
    text.push_str(line_end);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::error::chain;

    fn set(text: &str, images: &[&str]) -> String {
        let changes: Vec<ImageChange> = images.iter().map(|image| image.parse().unwrap()).collect();
        set_images(text, &changes).unwrap_or_else(|error| panic!("{text}: {}", chain(&error)))
    }

    #[test]
    fn references_are_read_as_kustomize_reads_them() {
        let read = |text: &str| {
            let change: ImageChange = text.parse().unwrap();
            (change.name, change.new_name, change.new_tag, change.digest)
        };
        let some = |text: &str| Some(text.to_owned());
        let digest = format!("sha256:{}", "a".repeat(64));
        assert_eq!(read("orders:1.2"), ("orders".to_owned(), None, some("1.2"), None));
        assert_eq!(
            read("orders=localhost:5000/shop/orders:1.2"),
            ("orders".to_owned(), some("localhost:5000/shop/orders"), some("1.2"), None)
        );
        assert_eq!(
            read("orders=registry/orders"),
            ("orders".to_owned(), some("registry/orders"), None, None)
        );
        assert_eq!(
            read(&format!("localhost:5000/orders:1@{digest}")),
            ("localhost:5000/orders".to_owned(), None, some("1"), Some(digest.clone()))
        );
        for bad in
            ["", "orders", "orders:", "=orders:1", "a b:1", "orders@latest", "orders:1:2/", "-x:1", "x:-1"]
        {
            assert!(bad.parse::<ImageChange>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_tag_is_changed_and_comments_order_and_indentation_stay() {
        let text = "# who owns this: shop\nimages:\n    # released by CI\n    - newTag: \"1.0\"   # do not edit\n      name: orders\n    - name: other\n      newTag: v1\n\nresources: [../../base]\n";
        assert_eq!(set(text, &["orders:1.1"]), text.replace("\"1.0\"", "\"1.1\""));
        assert_eq!(set(text, &["orders:1.0"]), text);
    }

    #[test]
    fn an_entry_is_added_behind_the_others_in_their_style() {
        let text = "resources:\n- a.yaml\nimages:\n  - name: a\n    newTag: v1 # first\n# the end\nnamePrefix: dev-\n";
        assert_eq!(
            set(text, &["b=registry/b:2.0"]),
            "resources:\n- a.yaml\nimages:\n  - name: a\n    newTag: v1 # first\n  - name: b\n    newName: registry/b\n    newTag: \"2.0\"\n# the end\nnamePrefix: dev-\n"
        );
    }

    #[test]
    fn images_are_added_where_there_are_none() {
        assert_eq!(
            set("resources: [a.yaml]", &["a:v1"]),
            "resources: [a.yaml]\nimages:\n- name: a\n  newTag: v1\n"
        );
        assert_eq!(set("", &["a:v1"]), "images:\n- name: a\n  newTag: v1\n");
        assert_eq!(
            set("images: [] # none\nnamespace: x\n", &["a:v1"]),
            "images:\n- name: a\n  newTag: v1 # none\nnamespace: x\n"
        );
        assert_eq!(
            set("images:\nnamespace: x\n", &["a:v1"]),
            "images:\n- name: a\n  newTag: v1\nnamespace: x\n"
        );
    }

    #[test]
    fn a_digest_takes_the_place_of_a_tag_and_the_reverse() {
        let digest = format!("sha256:{}", "0".repeat(64));
        let tagged = "images:\n- name: a\n  newTag: v1\n  newName: b\n";
        let pinned = set(tagged, &[&format!("a@{digest}")]);
        assert_eq!(pinned, format!("images:\n- name: a\n  newName: b\n  digest: {digest}\n"));
        assert_eq!(set(&pinned, &["a:v2"]), "images:\n- name: a\n  newName: b\n  newTag: v2\n");
        let first = format!("images:\n- digest: {digest}\n  name: a\n");
        assert_eq!(set(&first, &["a:v2"]), "images:\n- name: a\n  newTag: v2\n");
        let flow = format!("images: [{{name: a, digest: '{digest}'}}, {{name: b, newTag: v1}}]\n");
        assert_eq!(
            set(&flow, &["a:v2", "c:v3"]),
            "images: [{name: a, newTag: v2}, {name: b, newTag: v1}, {name: c, newTag: v3}]\n"
        );
    }

    #[test]
    fn an_entry_is_found_by_what_it_is_renamed_to() {
        let text = "images:\n- name: orders\n  newName: registry/orders\n  newTag: v1\n";
        assert_eq!(set(text, &["registry/orders:v2"]), text.replace("v1", "v2"));
    }

    #[test]
    fn line_ends_of_windows_stay() {
        let text = "images:\r\n- name: a\r\n  newTag: v1\r\n";
        assert_eq!(
            set(text, &["a:v2", "b:v1"]),
            "images:\r\n- name: a\r\n  newTag: v2\r\n- name: b\r\n  newTag: v1\r\n"
        );
    }

    #[test]
    fn what_cannot_be_changed_for_certain_is_refused() {
        for (text, sign) in [
            ("{images: [{name: a, newTag: v1}]}\n", "lines of keys"),
            ("images: {a: v1}\n", "no list"),
            ("images: &i []\nx: *i\n", "anchor"),
            ("images:\n- name: a\n  newTag: &t v1\nx: *t\n", "anchor"),
            ("a: 1\n---\nb: 1\n", "second document"),
            ("images: [\n", "line"),
        ] {
            let error = set_images(text, &["a:v2".parse().unwrap()]).unwrap_err();
            assert!(chain(&error).contains(sign), "{text}: {}", chain(&error));
        }
    }

    proptest! {
        /// Whatever the layout: either exactly the image has changed, or nothing.
        #[test]
        fn any_layout_is_changed_rightly_or_refused(
            layout in prop::collection::vec(prop::sample::select(vec![
                "images:", "- name: a", "  - name: a", "  newTag: v1", "    newTag: 'v1'", "  digest: x", "# note",
                "resources: [b]", "", "- {name: a, newTag: v1}", "  newName: c # why", "images: [{name: a}]", "- newTag: v1", "  name: a",
            ]), 0..9),
            ends in prop::sample::select(vec!["\n", "\r\n"]),
        ) {
            let text = layout.join(ends);
            let change: ImageChange = "a:v2".parse().unwrap();
            if let Ok(changed) = set_images(&text, std::slice::from_ref(&change)) {
                let after = read(&changed).unwrap();
                let images = after["images"].as_array().unwrap();
                let image = images.iter().find(|image| image["name"] == "a" || image["newName"] == "a").unwrap();
                prop_assert_eq!(&image["newTag"], "v2");
                prop_assert!(image.get("digest").is_none());
                for line in layout.iter().filter(|line| line.starts_with('#')) {
                    prop_assert!(changed.contains(line));
                }
                prop_assert_eq!(set_images(&changed, &[change]).unwrap(), changed);
            }
        }
    }
}
