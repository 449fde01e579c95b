//! Changes scalars in a YAML text and leaves the rest of it as it is written: comments, quotes, flow style.
//!
//! kustomize reads the text into nodes and prints them, which keeps those and changes the indentation only: two blanks a
//! level, lists not indented below their key. So the text is edited here, scalar by scalar, and blocks that are indented
//! deeper are moved left. Texts for which that is not enough (anchors, tags, fields that come or go) are left to the
//! caller, who prints them anew.

use libyaml_safer::{Event, EventData, MappingStyle, Mark, Parser, ScalarStyle, SequenceStyle};
use serde_json::Value;

use crate::object::yaml;

/// The text that says `after` instead of `before`, or nothing if it cannot be had by changing scalars.
pub(super) fn rewrite(text: &str, before: &Value, after: &Value) -> Option<String> {
    let mut rewrite =
        Rewrite { frames: Vec::new(), root: Some((before, after)), edits: Vec::new(), moves: Vec::new() };
    let mut parser = Parser::new();
    let mut input = text.as_bytes();
    parser.set_input(&mut input);
    loop {
        let event = parser.parse().ok()?;
        if matches!(event.data, EventData::StreamEnd) {
            break;
        }
        rewrite.event(event)?;
    }
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    // From the end to the beginning, so that columns stay true.
    for edit in rewrite.edits.iter().rev() {
        let line = lines.get_mut(edit.line)?;
        let head: String = line.chars().take(edit.start).collect();
        let tail: String = line.chars().skip(edit.end).collect();
        *line = format!("{head}{}{tail}", edit.text);
    }
    for Move { from, to, by, column } in rewrite.moves {
        for line in lines.iter_mut().take(to).skip(from) {
            let blanks = line.len() - line.trim_start_matches(' ').len();
            if !line.trim_start().starts_with('#') || blanks >= column {
                *line = line.chars().skip(by.min(blanks)).collect();
            }
        }
    }
    Some(lines.join("\n"))
}

struct Rewrite<'v> {
    frames: Vec<Frame<'v>>,
    root: Option<(&'v Value, &'v Value)>,
    edits: Vec<Edit>,
    moves: Vec<Move>,
}

/// A mapping or a list that is open.
struct Frame<'v> {
    before: &'v Value,
    after: &'v Value,
    is_flow: bool,
    start: (usize, usize),
    by: usize,
    key: Option<String>,
    index: usize,
}

struct Edit {
    line: usize,
    start: usize,
    end: usize,
    text: String,
}

struct Move {
    from: usize,
    to: usize,
    by: usize,
    column: usize,
}

fn place(mark: &Mark) -> Option<(usize, usize)> {
    Some((usize::try_from(mark.line).ok()?, usize::try_from(mark.column).ok()?))
}

impl<'v> Rewrite<'v> {
    fn event(&mut self, event: Event) -> Option<()> {
        let (start, end) = (place(&event.start_mark)?, place(&event.end_mark)?);
        match event.data {
            EventData::Scalar { anchor: None, tag: None, value, style, .. } => {
                self.scalar(value, style, start, end)
            }
            EventData::SequenceStart { anchor: None, tag: None, style, .. } => {
                self.open(style == SequenceStyle::Flow, start, false)
            }
            EventData::MappingStart { anchor: None, tag: None, style, .. } => {
                self.open(style == MappingStyle::Flow, start, true)
            }
            EventData::SequenceEnd | EventData::MappingEnd => {
                let frame = self.frames.pop()?;
                if frame.by > 0 {
                    // The end is where the next token stands: at the end of the text, behind its last line.
                    let to = if end.1 == 0 || end.0 > frame.start.0 { end.0 } else { end.0 + 1 };
                    let to = if self.frames.is_empty() { usize::MAX } else { to };
                    self.moves.push(Move { from: frame.start.0, to, by: frame.by, column: frame.start.1 });
                }
                Some(())
            }
            EventData::StreamStart { .. }
            | EventData::DocumentStart { .. }
            | EventData::DocumentEnd { .. } => Some(()),
            _ => None,
        }
    }

    /// What the next value is and was; nothing for a key.
    fn next(&mut self) -> Option<(&'v Value, &'v Value)> {
        let Some(frame) = self.frames.last_mut() else {
            return self.root.take();
        };
        if frame.before.is_array() {
            let index = frame.index;
            frame.index += 1;
            return Some((frame.before.get(index)?, frame.after.get(index)?));
        }
        let key = frame.key.take()?;
        Some((frame.before.get(&key)?, frame.after.get(&key)?))
    }

    fn open(&mut self, is_flow: bool, start: (usize, usize), is_mapping: bool) -> Option<()> {
        let (before, after) = self.next()?;
        let same_shape = match (before, after) {
            (Value::Array(before), Value::Array(after)) => !is_mapping && before.len() == after.len(),
            (Value::Object(before), Value::Object(after)) => is_mapping && before.len() == after.len(),
            _ => false,
        };
        if !same_shape {
            return None;
        }
        let by = match self.frames.last() {
            Some(parent) if !is_flow => {
                let indent = if is_mapping || parent.before.is_array() { 2 } else { 0 };
                let by = start.1.checked_sub(parent.start.1)?.checked_sub(indent)?;
                if by > 0 && parent.before.is_array() {
                    return None;
                }
                by
            }
            _ => 0,
        };
        self.frames.push(Frame { before, after, is_flow, start, by, key: None, index: 0 });
        Some(())
    }

    fn scalar(
        &mut self,
        value: String,
        style: ScalarStyle,
        start: (usize, usize),
        end: (usize, usize),
    ) -> Option<()> {
        if let Some(frame) = self.frames.last_mut()
            && frame.before.is_object()
            && frame.key.is_none()
        {
            frame.key = Some(value);
            return Some(());
        }
        let is_flow = self.frames.last().is_some_and(|frame| frame.is_flow);
        let (before, after) = self.next()?;
        if before == after {
            return Some(());
        }
        if start.0 != end.0 {
            return None;
        }
        let text = written(after, style, is_flow)?;
        self.edits.push(Edit { line: start.0, start: start.1, end: end.1, text });
        Some(())
    }
}

/// A scalar in the style of the one that it replaces.
fn written(value: &Value, style: ScalarStyle, is_flow: bool) -> Option<String> {
    let Value::String(text) = value else {
        return (!value.is_array() && !value.is_object())
            .then(|| yaml::to_string(value).trim_end().to_owned());
    };
    let is_one_line = !text.chars().any(char::is_control);
    let single = || format!("'{}'", text.replace('\'', "''"));
    match style {
        ScalarStyle::SingleQuoted if is_one_line => Some(single()),
        ScalarStyle::Plain if is_one_line => {
            let plain = yaml::to_string(value).trim_end().to_owned();
            let needs_quotes = is_flow && plain == *text && plain.contains([',', '[', ']', '{', '}']);
            Some(if needs_quotes { single() } else { plain })
        }
        ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => serde_json::to_string(text).ok(),
        _ => None,
    }
}
