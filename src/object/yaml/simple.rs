//! A quick reader for the plain YAML that most manifests are.
//!
//! ```text
//! text ──simple──▶ documents
//!         └─ anything unusual: nothing, and the full reader reads all of it
//! ```
//!
//! It knows block mappings and sequences, scalars that end on their line, literal blocks, and flow collections on one line, in
//! the spelling that people and tools use; it knows no anchors, tags, folded texts, tabs or directives. It never says what is
//! wrong with a text: where it is not sure, it gives up. What it reads, it reads as libyaml does.

use serde_json::Value;

use super::{
    Document, Options,
    expand::expand,
    reader::{Node, NodeKind, Place, plain},
};

/// Collections inside of each other; the full reader goes deeper.
const DEPTH: usize = 60;
/// Bytes of a key; libyaml refuses those of more than 1,024 characters.
const KEY: usize = 1000;

/// Reads a text if it is simple.
pub(super) fn parse(text: &str, options: &Options) -> Option<Vec<Document>> {
    let is_unusual = |c: char| {
        (c.is_control() && c != '\n')
            || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
    };
    let is_control = |byte: u8| (byte < b' ' && byte != b'\n') || byte == 0x7f;
    let has_unusual = text.bytes().any(is_control) || (!text.is_ascii() && text.contains(is_unusual));
    if !text.ends_with('\n') || has_unusual {
        return None;
    }
    let lines = text.split('\n').map(Line::new).collect();
    Simple { lines, at: 0, nodes: Vec::new(), options, count: 0 }.documents()
}

#[derive(Clone, Copy)]
struct Line<'a> {
    /// Blanks before the first other character.
    indent: usize,
    /// What stands between the blanks at both ends.
    text: &'a str,
    whole: &'a str,
}

impl<'a> Line<'a> {
    fn new(whole: &'a str) -> Self {
        let text = whole.trim_start_matches(' ');
        Self { indent: whole.len() - text.len(), text: text.trim_end_matches(' '), whole }
    }

    /// Whether it stands between documents.
    fn is_marker(self) -> bool {
        self.indent == 0
            && (self.text.starts_with("---") || self.text.starts_with("...") || self.text.starts_with('%'))
    }
}

struct Simple<'a, 'o> {
    lines: Vec<Line<'a>>,
    /// The line that is read.
    at: usize,
    nodes: Vec<Node>,
    options: &'o Options,
    count: usize,
}

impl<'a> Simple<'a, '_> {
    fn documents(mut self) -> Option<Vec<Document>> {
        let mut documents = Vec::new();
        while let Some(line) = self.content() {
            match (line.indent, line.text) {
                (0, "---") => {
                    self.at += 1;
                    continue;
                }
                (0, _) if !line.is_marker() => {}
                _ => return None,
            }
            self.block(0, line.text, 0)?;
            if self.content().is_some_and(|line| !line.is_marker()) {
                return None;
            }
            let nodes = std::mem::take(&mut self.nodes);
            if documents.len() >= self.options.limits.documents {
                return None;
            }
            documents.extend(expand(nodes, self.options, &mut self.count).ok()?);
        }
        Some(documents)
    }

    /// The next line that says something.
    fn content(&mut self) -> Option<Line<'a>> {
        loop {
            let line = *self.lines.get(self.at)?;
            if !line.text.is_empty() && !line.text.starts_with('#') {
                return Some(line);
            }
            self.at += 1;
        }
    }

    /// What the next line of a collection in this column says; the inner `None` is its end.
    fn next(&mut self, column: usize) -> Option<Option<&'a str>> {
        match self.content() {
            Some(line) if line.indent > column => None,
            Some(line) if line.indent == column && !line.is_marker() => Some(Some(line.text)),
            _ => Some(None),
        }
    }

    fn push(&mut self, kind: NodeKind) -> Option<usize> {
        if self.count.saturating_add(self.nodes.len()) >= self.options.limits.nodes {
            return None;
        }
        let line = u32::try_from(self.at).ok()?;
        self.nodes.push(Node { kind, place: Place { line, column: 0 }, anchored: false });
        Some(self.nodes.len() - 1)
    }

    /// A mapping or a sequence that begins in this column of the line that is read.
    fn block(&mut self, column: usize, text: &'a str, depth: usize) -> Option<usize> {
        if depth > DEPTH {
            return None;
        }
        if is_item(text) { self.sequence(column, text, depth) } else { self.mapping(column, text, depth) }
    }

    fn mapping(&mut self, column: usize, first: &'a str, depth: usize) -> Option<usize> {
        let node = self.push(NodeKind::Blank)?;
        let mut entries = Vec::new();
        let mut text = first;
        loop {
            let (key, rest) = split_key(text)?;
            let key = self.key(&key)?;
            let value = self.value(column, rest, depth)?;
            entries.push((key, value));
            match self.next(column)? {
                None => break,
                Some(next) if is_item(next) => return None,
                Some(next) => text = next,
            }
        }
        self.nodes.get_mut(node)?.kind = NodeKind::Mapping(entries);
        Some(node)
    }

    fn key(&mut self, key: &Key<'a>) -> Option<usize> {
        let kind = match key {
            Key::Plain(text) => self.plain(text)?,
            Key::Quoted(text) => NodeKind::Scalar(Value::from(*text)),
        };
        self.push(kind)
    }

    fn value(&mut self, column: usize, rest: &'a str, depth: usize) -> Option<usize> {
        if !is_nothing(rest) {
            return self.scalar(column, rest, depth);
        }
        let blank = self.at;
        self.at += 1;
        match self.content() {
            Some(line) if line.indent > column => self.block(line.indent, line.text, depth + 1),
            Some(line) if line.indent == column && !line.is_marker() && is_item(line.text) => {
                self.sequence(column, line.text, depth + 1)
            }
            _ => self.blank(blank),
        }
    }

    fn sequence(&mut self, column: usize, first: &'a str, depth: usize) -> Option<usize> {
        let node = self.push(NodeKind::Blank)?;
        let mut items = Vec::new();
        let mut text = first;
        loop {
            let rest = text.strip_prefix('-')?.trim_start_matches(' ');
            let inner = column + (text.len() - rest.len());
            let item = if is_nothing(rest) {
                let blank = self.at;
                self.at += 1;
                match self.content() {
                    Some(line) if line.indent > column => self.block(line.indent, line.text, depth + 1)?,
                    _ => self.blank(blank)?,
                }
            } else if is_item(rest) || split_key(rest).is_some() {
                self.block(inner, rest, depth + 1)?
            } else {
                self.scalar(column, rest, depth)?
            };
            items.push(item);
            match self.next(column)? {
                Some(next) if is_item(next) => text = next,
                // What follows is an entry of the mapping that the sequence is a value in, or an error.
                _ => break,
            }
        }
        self.nodes.get_mut(node)?.kind = NodeKind::Sequence(items);
        Some(node)
    }

    fn blank(&mut self, line: usize) -> Option<usize> {
        let after = std::mem::replace(&mut self.at, line);
        let node = self.push(NodeKind::Blank);
        self.at = after;
        node
    }

    /// A value that begins on the line that is read, in a collection in this column.
    fn scalar(&mut self, column: usize, text: &'a str, depth: usize) -> Option<usize> {
        let first = text.bytes().next()?;
        let node = match first {
            b'|' => return self.literal(column, text),
            b'"' | b'\'' => {
                let (value, tail) = quoted(text)?;
                is_nothing_behind(tail).then(|| self.push(NodeKind::Scalar(Value::String(value))))??
            }
            b'[' | b'{' => {
                let (node, tail) = self.flow(text, depth + 1)?;
                is_nothing_behind(tail).then_some(node)?
            }
            _ => {
                let text = text.split_once(" #").map_or(text, |(before, _)| before.trim_end_matches(' '));
                if !may_begin_plain(text) || text.contains(": ") || text.ends_with(':') {
                    return None;
                }
                let kind = self.plain(text)?;
                self.push(kind)?
            }
        };
        self.at += 1;
        Some(node)
    }

    fn plain(&self, text: &str) -> Option<NodeKind> {
        let place = Place { line: 0, column: 0 };
        plain(text, self.options.schema, place).ok()
    }

    fn literal(&mut self, column: usize, header: &str) -> Option<usize> {
        let ends_with_break = match header {
            "|" => true,
            "|-" => false,
            _ => return None,
        };
        let node = self.push(NodeKind::Blank)?;
        self.at += 1;
        let first = *self.lines.get(self.at)?;
        if first.text.is_empty() || first.indent <= column {
            return None;
        }
        let mut text = String::new();
        while let Some(line) = self.lines.get(self.at) {
            if line.text.is_empty() {
                if line.whole.len() > first.indent {
                    return None;
                }
            } else if line.indent < first.indent {
                break;
            }
            text.push_str(line.whole.get(first.indent..).unwrap_or_default());
            text.push('\n');
            self.at += 1;
        }
        text.truncate(text.trim_end_matches('\n').len());
        if ends_with_break {
            text.push('\n');
        }
        self.nodes.get_mut(node)?.kind = NodeKind::Scalar(Value::String(text));
        Some(node)
    }

    /// A flow collection, and what is behind it.
    fn flow(&mut self, text: &'a str, depth: usize) -> Option<(usize, &'a str)> {
        if depth > DEPTH {
            return None;
        }
        if let Some(rest) = text.strip_prefix('[') {
            let node = self.push(NodeKind::Blank)?;
            let mut items = Vec::new();
            let mut rest = rest.trim_start_matches(' ');
            while !rest.starts_with(']') {
                let (item, behind) = self.flow_value(rest, depth)?;
                items.push(item);
                rest = behind_item(behind, ']')?;
            }
            self.nodes.get_mut(node)?.kind = NodeKind::Sequence(items);
            return Some((node, rest.get(1..)?));
        }
        let node = self.push(NodeKind::Blank)?;
        let mut entries = Vec::new();
        let mut rest = text.strip_prefix('{')?.trim_start_matches(' ');
        while !rest.starts_with('}') {
            let (key, behind) = split_key(rest)?;
            let key = self.key(&key)?;
            let (value, behind) = self.flow_value(behind, depth)?;
            entries.push((key, value));
            rest = behind_item(behind, '}')?;
        }
        self.nodes.get_mut(node)?.kind = NodeKind::Mapping(entries);
        Some((node, rest.get(1..)?))
    }

    fn flow_value(&mut self, text: &'a str, depth: usize) -> Option<(usize, &'a str)> {
        match text.bytes().next()? {
            b'[' | b'{' => self.flow(text, depth + 1),
            b'"' | b'\'' => {
                let (value, behind) = quoted(text)?;
                Some((self.push(NodeKind::Scalar(Value::String(value)))?, behind))
            }
            _ => {
                let (word, behind) = split_word(text)?;
                let kind = self.plain(word)?;
                Some((self.push(kind)?, behind))
            }
        }
    }
}

/// What comes next in a flow collection: another item, or its end.
fn behind_item(behind: &str, end: char) -> Option<&str> {
    let rest = behind.trim_start_matches(' ');
    if rest.starts_with(end) {
        return Some(rest);
    }
    let next = rest.strip_prefix(',')?.trim_start_matches(' ');
    (!next.starts_with(end)).then_some(next)
}

enum Key<'a> {
    Plain(&'a str),
    Quoted(&'a str),
}

/// A key at the beginning of a text, and what is behind its colon.
fn split_key(text: &str) -> Option<(Key<'_>, &str)> {
    let (key, behind) = match text.bytes().next()? {
        quote @ (b'"' | b'\'') => {
            let (key, behind) = text.get(1..)?.split_once(char::from(quote))?;
            if key.contains('\\') {
                return None;
            }
            (Key::Quoted(key), behind)
        }
        _ => split_word(text).map(|(key, behind)| (Key::Plain(key), behind))?,
    };
    let (Key::Plain(written) | Key::Quoted(written)) = &key;
    if written.len() > KEY {
        return None;
    }
    let rest = behind.strip_prefix(':')?;
    if rest.is_empty() {
        Some((key, rest))
    } else {
        Some((key, rest.strip_prefix(' ')?.trim_start_matches(' ')))
    }
}

/// A word of characters that mean nothing to YAML, and what is behind it.
fn split_word(text: &str) -> Option<(&str, &str)> {
    let is_inside = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'/' | b'-');
    let end = text.bytes().position(|byte| !is_inside(byte)).unwrap_or(text.len());
    (end > 0 && !text.starts_with('-')).then(|| text.split_at_checked(end))?
}

fn is_item(text: &str) -> bool {
    text == "-" || text.starts_with("- ")
}

fn is_nothing(text: &str) -> bool {
    text.is_empty() || text.starts_with('#')
}

fn is_nothing_behind(tail: &str) -> bool {
    tail.trim_start_matches(' ').is_empty()
        || (tail.starts_with(' ') && is_nothing(tail.trim_start_matches(' ')))
}

fn may_begin_plain(text: &str) -> bool {
    let mut bytes = text.bytes();
    match bytes.next() {
        Some(b'-') => bytes.next().is_some_and(|next| next != b' '),
        Some(b'/' | b'.' | b'_' | b'$' | b'(' | b'+' | b'~' | b'=' | b'\\' | b'^') => true,
        Some(first) => first.is_ascii_alphanumeric() || !first.is_ascii(),
        None => false,
    }
}

/// A text in quotes that ends on its line, and what is behind it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let quote = text.chars().next()?;
    let mut rest = text.get(1..)?;
    let mut value = String::new();
    loop {
        let at = rest.find([quote, '\\'])?;
        value.push_str(rest.get(..at)?);
        let escaped = rest.get(at + 1..)?;
        if rest.get(at..)?.starts_with('\\') {
            if quote == '\'' {
                value.push('\\');
                rest = escaped;
                continue;
            }
            value.push(match escaped.bytes().next()? {
                b'"' => '"',
                b'\\' => '\\',
                b'n' => '\n',
                b't' => '\t',
                _ => return None,
            });
            rest = escaped.get(1..)?;
        } else if let Some(further) = escaped.strip_prefix('\'').filter(|_| quote == '\'') {
            value.push('\'');
            rest = further;
        } else {
            return Some((value, escaped));
        }
    }
}

#[cfg(test)]
mod tests;
