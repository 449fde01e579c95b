//! Where the keys and values of a text stand, for those who change the text and leave everything else as it is.

use std::{io::BufReader, ops::Range};

use libyaml_safer::{Encoding, Event, EventData, MappingStyle, Mark, Parser, ScalarStyle, SequenceStyle};

use super::{
    DuplicateKeys, Options, Schema, YamlError, YamlProblem, parse,
    reader::{Place, Refusal},
    text,
};

/// Nodes inside of each other; files that people edit have a few.
const DEPTH: usize = 64;

/// A value and its place.
#[derive(Clone, Debug)]
pub struct Located {
    /// Bytes of the text. For block collections the end may lie behind the comments that follow.
    pub span: Range<usize>,
    /// The line of its beginning, from 1.
    pub line: usize,
    /// The column of its beginning, in characters from 0.
    pub column: usize,
    /// Whether an anchor or a tag stands before it.
    pub is_marked: bool,
    /// What it is.
    pub content: LocatedContent,
}

/// What a located value is.
#[derive(Clone, Debug)]
pub enum LocatedContent {
    /// A text, number, … as it is once quotes and escapes are gone.
    Scalar {
        /// Its text.
        value: String,
        /// How it is written.
        style: LocatedStyle,
    },
    /// A list.
    Sequence {
        /// Its elements.
        items: Vec<Located>,
        /// Whether it is written in brackets.
        is_flow: bool,
    },
    /// A mapping.
    Mapping {
        /// Its keys and values in their order.
        entries: Vec<(Located, Located)>,
        /// Whether it is written in braces.
        is_flow: bool,
    },
    /// A reference to an anchor.
    Alias,
}

/// How a scalar is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LocatedStyle {
    /// Without quotes.
    Plain,
    /// In `'`.
    SingleQuoted,
    /// In `"`.
    DoubleQuoted,
    /// As a block, after `|` or `>`.
    Block,
}

impl Located {
    /// The text of a scalar.
    pub fn scalar(&self) -> Option<&str> {
        match &self.content {
            LocatedContent::Scalar { value, .. } => Some(value),
            _ => None,
        }
    }

    /// The entry of a mapping.
    pub fn entry(&self, key: &str) -> Option<&(Located, Located)> {
        match &self.content {
            LocatedContent::Mapping { entries, .. } => {
                entries.iter().find(|(found, _)| found.scalar() == Some(key))
            }
            _ => None,
        }
    }

    /// The value of a key of a mapping.
    pub fn get(&self, key: &str) -> Option<&Located> {
        self.entry(key).map(|(_, value)| value)
    }

    /// Whether nothing is written where a value may stand.
    pub fn is_blank(&self) -> bool {
        matches!(&self.content, LocatedContent::Scalar { value, style: LocatedStyle::Plain } if value.is_empty())
            && !self.is_marked
    }

    /// Where what it says ends; comments behind it are not part of it.
    pub fn end(&self) -> usize {
        match &self.content {
            LocatedContent::Sequence { items, is_flow: false } => {
                items.last().map_or(self.span.start, Self::end)
            }
            LocatedContent::Mapping { entries, is_flow: false } => {
                entries.last().map_or(self.span.start, |(key, value)| {
                    if value.is_blank() { key.span.end } else { value.end() }
                })
            }
            _ => self.span.end,
        }
    }
}

/// The places in the only document of a text; `None` where it says nothing.
///
/// # Errors
/// As [`parse`], and where there are several documents, or where values are nested very deep.
pub fn locate(source: &[u8]) -> Result<Option<Located>, YamlError> {
    let options = Options::new(Schema::Yaml11, DuplicateKeys::Error);
    let documents = parse(source, &options)?;
    let refuse = |line: usize, message: &str| YamlError {
        problem: YamlProblem::Limit,
        line,
        column: 1,
        documents_before: 0,
        message: message.to_owned(),
    };
    if let Some(second) = documents.get(1) {
        return Err(refuse(
            second.line,
            "a second document begins here, and only a file with one can be changed",
        ));
    }
    if documents.is_empty() {
        return Ok(None);
    }
    let checked = text::check(source, &options).map_err(|refusal| refusal.into_error(0))?;
    if text::sentinel(checked).is_some() {
        return Err(refuse(1, "tags inside of brackets or braces cannot be edited: change the file by hand"));
    }
    let (prepared, _) = text::prepare(checked, None);
    let mut parser = Parser::new();
    parser.set_encoding(Encoding::Utf8);
    parser.set_input(BufReader::new(prepared.as_bytes()));
    let places = Places::new(checked, source.len() - checked.len());
    let mut reader = Reader { places, parser };
    loop {
        let event = reader.next()?;
        match event.data {
            EventData::StreamEnd => return Ok(None),
            EventData::StreamStart { .. }
            | EventData::DocumentStart { .. }
            | EventData::DocumentEnd { .. } => {}
            _ => return reader.node(event, 0).map(Some),
        }
    }
}

/// From lines and columns to bytes.
struct Places<'a> {
    text: &'a str,
    /// The byte at which each line begins.
    lines: Vec<usize>,
    /// Bytes before the text.
    offset: usize,
}

impl<'a> Places<'a> {
    fn new(text: &'a str, offset: usize) -> Self {
        let mut lines = vec![0];
        let mut characters = text.char_indices().peekable();
        while let Some((at, character)) = characters.next() {
            let is_end = match character {
                '\r' => !matches!(characters.peek(), Some((_, '\n'))),
                '\n' | '\u{85}' | '\u{2028}' | '\u{2029}' => true,
                _ => false,
            };
            if is_end {
                lines.push(at + character.len_utf8());
            }
        }
        Self { text, lines, offset }
    }

    fn byte(&self, mark: Mark) -> usize {
        let number = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        let Some(start) = self.lines.get(number(mark.line)) else { return self.offset + self.text.len() };
        let line = self.text.get(*start..).unwrap_or_default();
        let within = line.char_indices().nth(number(mark.column)).map_or(line.len(), |(at, _)| at);
        self.offset + start + within
    }
}

struct Reader<'a> {
    places: Places<'a>,
    parser: Parser<BufReader<&'a [u8]>>,
}

impl Reader<'_> {
    fn next(&mut self) -> Result<Event, YamlError> {
        // The text has been read without an error before.
        self.parser.parse().map_err(|error| {
            let start = Place { line: 0, column: 0 };
            Refusal::new(YamlProblem::Syntax, start, error.to_string()).into_error(0)
        })
    }

    fn node(&mut self, event: Event, depth: usize) -> Result<Located, YamlError> {
        let (start, mut end) = (event.start_mark, event.end_mark);
        if depth > DEPTH {
            let message = format!("values are nested more than {DEPTH} deep");
            return Err(Refusal::new(YamlProblem::Limit, start.into(), message).into_error(0));
        }
        let (is_marked, content) = match event.data {
            EventData::Scalar { anchor, tag, value, style, .. } => {
                let style = match style {
                    ScalarStyle::SingleQuoted => LocatedStyle::SingleQuoted,
                    ScalarStyle::DoubleQuoted => LocatedStyle::DoubleQuoted,
                    ScalarStyle::Literal | ScalarStyle::Folded => LocatedStyle::Block,
                    _ => LocatedStyle::Plain,
                };
                (anchor.is_some() || tag.is_some(), LocatedContent::Scalar { value, style })
            }
            EventData::SequenceStart { anchor, tag, style, .. } => {
                let mut items = Vec::new();
                loop {
                    let event = self.next()?;
                    if matches!(event.data, EventData::SequenceEnd) {
                        end = event.end_mark;
                        break;
                    }
                    items.push(self.node(event, depth + 1)?);
                }
                let is_flow = matches!(style, SequenceStyle::Flow);
                (anchor.is_some() || tag.is_some(), LocatedContent::Sequence { items, is_flow })
            }
            EventData::MappingStart { anchor, tag, style, .. } => {
                let mut entries = Vec::new();
                loop {
                    let event = self.next()?;
                    if matches!(event.data, EventData::MappingEnd) {
                        end = event.end_mark;
                        break;
                    }
                    let key = self.node(event, depth + 1)?;
                    let event = self.next()?;
                    entries.push((key, self.node(event, depth + 1)?));
                }
                let is_flow = matches!(style, MappingStyle::Flow);
                (anchor.is_some() || tag.is_some(), LocatedContent::Mapping { entries, is_flow })
            }
            _ => (false, LocatedContent::Alias),
        };
        let Place { line, column } = start.into();
        let number = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        let span = self.places.byte(start)..self.places.byte(end);
        Ok(Located { span, line: number(line).saturating_add(1), column: number(column), is_marked, content })
    }
}
