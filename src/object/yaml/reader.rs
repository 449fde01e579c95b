//! From text to documents.
//!
//! libyaml's events become nodes in an arena, so that an anchor costs nothing until it is used. At the end of each
//! document the tree below its root is turned into a JSON value; there, and only there, aliases are expanded (against a
//! budget) and merge keys are merged.

use std::{collections::HashMap, io::BufReader};

use libyaml_safer::{Encoding, EventData, Mark, Parser, ScalarStyle};
use serde_json::Value;

use super::{
    Document, DuplicateKeys, Options, Schema, YamlError, YamlProblem,
    expand::expand,
    folded::written_and_read_back,
    scalar::{self, Resolved},
    simple,
    text::{check, prepare, sentinel},
};

/// One node of a document, as written.
pub(super) struct Node {
    pub(super) kind: NodeKind,
    pub(super) place: Place,
    /// Whether an alias may lead here.
    pub(super) anchored: bool,
}

pub(super) enum NodeKind {
    Scalar(Value),
    /// A scalar without quotes that is no text, and how it is written ([`Schema::Yaml12ish`] only).
    Plain(Value, Box<str>),
    /// Nothing where a value may stand.
    Blank,
    /// A plain `<<`.
    Merge,
    Sequence(Vec<usize>),
    Mapping(Vec<(usize, usize)>),
}

/// A line and a column, from 0.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) line: u32,
    pub(super) column: u32,
}

impl From<Mark> for Place {
    fn from(mark: Mark) -> Self {
        let clamp = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        Self { line: clamp(mark.line), column: clamp(mark.column) }
    }
}

/// Why a text is refused, before it is known how many documents were read before.
pub(super) struct Refusal {
    pub(super) problem: YamlProblem,
    pub(super) place: Place,
    pub(super) message: String,
}

impl Refusal {
    pub(super) fn new(problem: YamlProblem, place: Place, message: impl Into<String>) -> Self {
        Self { problem, place, message: message.into() }
    }

    /// What is missing at the end of a text is missing on its last line, not on the one behind it.
    fn within(mut self, text: &str) -> Self {
        let last = u32::try_from(text.lines().count()).unwrap_or(u32::MAX).saturating_sub(1);
        if self.place.line > last {
            let length = text.lines().next_back().map_or(0, |line| line.chars().count());
            self.place = Place { line: last, column: u32::try_from(length).unwrap_or(u32::MAX) };
        }
        self
    }

    pub(super) fn into_error(self, documents_before: usize) -> YamlError {
        YamlError {
            problem: self.problem,
            line: usize::try_from(self.place.line).unwrap_or(usize::MAX).saturating_add(1),
            column: usize::try_from(self.place.column).unwrap_or(usize::MAX).saturating_add(1),
            documents_before,
            message: self.message,
        }
    }
}

pub(super) fn parse(text: &[u8], options: &Options) -> Result<Vec<Document>, YamlError> {
    let text = check(text, options).map_err(|refusal| refusal.into_error(0))?;
    simple::parse(text, options).map_or_else(|| parse_in_full(text, options), Ok)
}

/// Reads any text.
pub(super) fn parse_in_full(text: &str, options: &Options) -> Result<Vec<Document>, YamlError> {
    let sentinel = sentinel(text);
    let (prepared, line_added) = prepare(text, sentinel);
    let documents = Reader::new(options, sentinel, line_added).read(&prepared);
    match documents {
        Err(error)
            if error.problem == YamlProblem::Syntax
                && options.duplicate_keys == DuplicateKeys::LastWins
                && text.trim_start().starts_with(['{', '[']) =>
        {
            json(text).ok_or(error)
        }
        documents => documents,
    }
}

/// JSON has escapes that YAML lacks (surrogate pairs), and a file may hold several values in a row.
fn json(text: &str) -> Option<Vec<Document>> {
    let mut documents = Vec::new();
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    loop {
        let before = text.get(values.byte_offset()..)?;
        let start = text.len().checked_sub(before.trim_start().len())?;
        let line = text.get(..start)?.matches('\n').count() + 1;
        match values.next() {
            None => return Some(documents),
            Some(value) => {
                let value = whole_numbers(value.ok()?);
                documents.push(Document {
                    value,
                    line,
                    duplicate_keys: Vec::new(),
                    blank_fields: Vec::new(),
                });
            }
        }
    }
}

/// Writes `1.0` as `1`, as the trip through the Kubernetes API would. `serde_json` limits the depth of its values.
fn whole_numbers(value: Value) -> Value {
    match value {
        Value::Number(number) if number.is_f64() => {
            number.as_f64().and_then(scalar::from_float).unwrap_or(Value::Number(number))
        }
        Value::Array(items) => Value::Array(items.into_iter().map(whole_numbers).collect()),
        Value::Object(map) => map.into_iter().map(|(key, value)| (key, whole_numbers(value))).collect(),
        other => other,
    }
}

/// A collection whose end has not come yet.
struct Open {
    node: usize,
    key: Option<usize>,
    anchor: Option<String>,
}

struct Reader<'a> {
    options: &'a Options,
    sentinel: Option<char>,
    nodes: Vec<Node>,
    open: Vec<Open>,
    /// Whether the text ends with a line break that was not there.
    line_added: bool,
    anchors: HashMap<String, usize>,
    /// Keys and values of all documents so far.
    count: usize,
}

impl<'a> Reader<'a> {
    fn new(options: &'a Options, sentinel: Option<char>, line_added: bool) -> Self {
        Self {
            options,
            sentinel,
            line_added,
            nodes: Vec::new(),
            open: Vec::new(),
            anchors: HashMap::new(),
            count: 0,
        }
    }

    fn read(mut self, text: &str) -> Result<Vec<Document>, YamlError> {
        let mut documents = Vec::new();
        let mut parser = Parser::new();
        parser.set_encoding(Encoding::Utf8);
        parser.set_input(BufReader::with_capacity(16 << 10, text.as_bytes()));
        loop {
            let step = match parser.parse() {
                Ok(event) => {
                    let at_end = usize::try_from(event.end_mark.index).is_ok_and(|end| end >= text.len());
                    self.event(event.data, event.start_mark.into(), at_end, documents.len())
                }
                Err(error) => Err(syntax(&error)),
            };
            match step.map_err(|refusal| refusal.within(text).into_error(documents.len()))? {
                Step::More => {}
                Step::Document(document) => documents.push(document),
                Step::End => return Ok(documents),
            }
        }
    }

    fn event(
        &mut self,
        data: EventData,
        place: Place,
        at_end: bool,
        documents: usize,
    ) -> Result<Step, Refusal> {
        match data {
            EventData::StreamStart { .. } | EventData::DocumentStart { .. } => {}
            EventData::StreamEnd => return Ok(Step::End),
            EventData::DocumentEnd { .. } => {
                let nodes = std::mem::take(&mut self.nodes);
                self.anchors.clear();
                let Some(document) = expand(nodes, self.options, &mut self.count)? else {
                    return Ok(Step::More);
                };
                if documents >= self.options.limits.documents {
                    let message = format!("more than {} documents", self.options.limits.documents);
                    return Err(Refusal::new(YamlProblem::Limit, place, message));
                }
                return Ok(Step::Document(document));
            }
            EventData::Alias { anchor } => {
                let Some(node) = self.anchors.get(&anchor).copied() else {
                    let inside = self.open.iter().any(|open| open.anchor.as_deref() == Some(anchor.as_str()));
                    let problem =
                        if inside { "refers to the value that it is part of" } else { "was not defined" };
                    return Err(Refusal::new(
                        YamlProblem::Value,
                        place,
                        format!("anchor '{anchor}' {problem}"),
                    ));
                };
                self.place_node(node)?;
            }
            EventData::Scalar { anchor, tag, mut value, style, .. } => {
                if let Some(sentinel) = self.sentinel.filter(|sentinel| value.contains(*sentinel)) {
                    value.retain(|c| c != sentinel);
                }
                let is_block = matches!(style, ScalarStyle::Literal | ScalarStyle::Folded);
                if self.line_added && at_end && is_block && value.ends_with('\n') {
                    value.pop();
                }
                if matches!(style, ScalarStyle::Folded) && self.options.schema == Schema::Yaml12ish {
                    value = written_and_read_back(&value);
                }
                let kind = self.scalar(value, tag.as_deref(), style, place)?;
                let node = self.push(kind, place, anchor.is_some())?;
                if let Some(anchor) = anchor {
                    self.anchors.insert(anchor, node);
                }
                self.place_node(node)?;
            }
            EventData::SequenceStart { anchor, .. } => {
                self.open(NodeKind::Sequence(Vec::new()), anchor, place)?;
            }
            EventData::MappingStart { anchor, .. } => {
                self.open(NodeKind::Mapping(Vec::new()), anchor, place)?;
            }
            EventData::SequenceEnd | EventData::MappingEnd => {
                if let Some(Open { node, anchor: Some(anchor), .. }) = self.open.pop() {
                    self.anchors.insert(anchor, node);
                }
            }
        }
        Ok(Step::More)
    }

    fn open(&mut self, kind: NodeKind, anchor: Option<String>, place: Place) -> Result<(), Refusal> {
        if self.open.len() >= self.options.limits.depth {
            let message = format!("values are nested more than {} deep", self.options.limits.depth);
            return Err(Refusal::new(YamlProblem::Limit, place, message));
        }
        let node = self.push(kind, place, anchor.is_some())?;
        self.place_node(node)?;
        if let Some(anchor) = &anchor {
            self.anchors.remove(anchor);
        }
        self.open.push(Open { node, key: None, anchor });
        Ok(())
    }

    fn push(&mut self, kind: NodeKind, place: Place, anchored: bool) -> Result<usize, Refusal> {
        if self.count.saturating_add(self.nodes.len()) >= self.options.limits.nodes {
            let message = format!("more than {} keys and values", self.options.limits.nodes);
            return Err(Refusal::new(YamlProblem::Limit, place, message));
        }
        self.nodes.push(Node { kind, place, anchored });
        Ok(self.nodes.len() - 1)
    }

    /// Puts a node where the innermost open collection expects the next one.
    fn place_node(&mut self, node: usize) -> Result<(), Refusal> {
        let Some(open) = self.open.last_mut() else {
            return Ok(());
        };
        match self.nodes.get_mut(open.node).map(|parent| &mut parent.kind) {
            Some(NodeKind::Sequence(items)) => items.push(node),
            Some(NodeKind::Mapping(entries)) => match open.key.take() {
                None => open.key = Some(node),
                Some(key) => entries.push((key, node)),
            },
            _ => {}
        }
        Ok(())
    }

    fn scalar(
        &self,
        text: String,
        tag: Option<&str>,
        style: ScalarStyle,
        place: Place,
    ) -> Result<NodeKind, Refusal> {
        let refuse = |message: String| Err(Refusal::new(YamlProblem::Value, place, message));
        let is_plain = matches!(style, ScalarStyle::Plain);
        let tag = tag.map(|tag| tag.strip_prefix("tag:yaml.org,2002:").unwrap_or(tag));
        let value = match tag {
            Some("binary") => return binary(&text, place),
            Some("int") => match scalar::integer(&text) {
                Some(number) => number,
                None => {
                    return refuse(format!("'{}' is tagged !!int, but is no whole number", short(&text)));
                }
            },
            Some("float") => match scalar::integer(&text).or_else(|| scalar::float(&text)) {
                Some(number) => number,
                None => return refuse(format!("'{}' is tagged !!float, but is no number", short(&text))),
            },
            Some("bool") => match scalar::resolve(&text, Schema::Yaml11) {
                Resolved::Value(value @ Value::Bool(_)) => value,
                _ => {
                    return refuse(format!(
                        "'{}' is tagged !!bool, but is neither true nor false",
                        short(&text)
                    ));
                }
            },
            Some("null") => match scalar::resolve(&text, Schema::Yaml11) {
                Resolved::Value(Value::Null) => Value::Null,
                _ => return refuse(format!("'{}' is tagged !!null, but is not null", short(&text))),
            },
            Some("merge") => return Ok(NodeKind::Merge),
            None if is_plain => return plain(&text, self.options.schema, place),
            _ => Value::String(text),
        };
        Ok(NodeKind::Scalar(value))
    }
}

/// A scalar without quotes and without a tag.
pub(super) fn plain(text: &str, schema: Schema, place: Place) -> Result<NodeKind, Refusal> {
    if text.is_empty() {
        return Ok(NodeKind::Blank);
    }
    let value = match scalar::resolve(text, schema) {
        Resolved::Value(value @ Value::String(_)) => value,
        Resolved::Value(value) if schema == Schema::Yaml12ish => {
            return Ok(NodeKind::Plain(value, text.into()));
        }
        Resolved::Value(value) => value,
        Resolved::Merge => return Ok(NodeKind::Merge),
        Resolved::Timestamp(full) if schema == Schema::Yaml12ish => {
            return Ok(NodeKind::Plain(Value::String(full), text.into()));
        }
        Resolved::Timestamp(_) => Value::from(text),
        Resolved::NotFinite => {
            return Err(Refusal::new(
                YamlProblem::Value,
                place,
                format!(
                    "'{text}' is no number that a Kubernetes object can hold: put it in quotes if it is a text"
                ),
            ));
        }
    };
    Ok(NodeKind::Scalar(value))
}

enum Step {
    More,
    Document(Document),
    End,
}

fn binary(text: &str, place: Place) -> Result<NodeKind, Refusal> {
    use base64::Engine;
    let compact: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    let refuse = |message| Err(Refusal::new(YamlProblem::Value, place, message));
    let Ok(bytes) = base64::engine::general_purpose::STANDARD.decode(compact) else {
        return refuse("the value is tagged !!binary, but is not base64");
    };
    match String::from_utf8(bytes) {
        Ok(text) => Ok(NodeKind::Scalar(Value::String(text))),
        Err(_) => refuse(
            "the value is tagged !!binary and holds bytes that are no text, which a JSON field cannot hold: \
             drop the tag where the field wants base64",
        ),
    }
}

fn short(text: &str) -> String {
    if text.chars().count() > 40 {
        text.chars().take(40).chain("…".chars()).collect()
    } else {
        text.to_owned()
    }
}

/// libyaml's own words, and what usually helps.
fn syntax(error: &libyaml_safer::Error) -> Refusal {
    let problem = error.problem();
    let hint = match problem {
        "found character that cannot start any token" => {
            " (a tab cannot indent, and a value that begins with @, ` or % needs quotes)"
        }
        "found a tab character that violates indentation"
        | "found a tab character where an indentation space is expected" => " (indent with spaces)",
        "mapping values are not allowed in this context" => {
            " (is a line indented wrongly, or does a text with ': ' in it need quotes?)"
        }
        "did not find expected key" | "did not find expected '-' indicator" => {
            " (is this line indented like the lines that it belongs to?)"
        }
        "could not find expected ':'" => {
            " (a key without ':', or a text that goes on over lines without an indent?)"
        }
        "did not find expected whitespace or line break" => " (put a space behind the tag)",
        _ => "",
    };
    let mut message = format!("{problem}{hint}");
    if let Some(context) = error.context() {
        message.push(' ');
        message.push_str(context);
        if let (Some(from), Some(at)) = (error.context_mark(), error.problem_mark())
            && from.line != at.line
        {
            message.push_str(&format!(" that begins at line {}", from.line.saturating_add(1)));
        }
    }
    let place = error.problem_mark().unwrap_or_default().into();
    Refusal::new(YamlProblem::Syntax, place, message)
}
