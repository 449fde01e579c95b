//! Pieces of a text that are replaced, inserted or removed.

use std::ops::Range;

use super::EditError;
use crate::object::yaml::{self, Located, LocatedStyle};

/// One change.
pub(super) struct Piece {
    pub(super) range: Range<usize>,
    pub(super) with: String,
}

/// The text with one piece changed.
pub(super) fn replace(text: &str, piece: &Piece) -> String {
    let before = text.get(..piece.range.start).unwrap_or_default();
    let after = text.get(piece.range.end..).unwrap_or_default();
    format!("{before}{}{after}", piece.with)
}

/// What ends the lines of a text.
pub(super) fn line_end(text: &str) -> &'static str {
    if text.contains("\r\n") { "\r\n" } else { "\n" }
}

/// The end of the line on which a byte stands, before its line break.
pub(super) fn end_of_line(text: &str, at: usize) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    at + rest.find(['\r', '\n']).unwrap_or(rest.len())
}

/// The beginning of the line on which a byte stands.
pub(super) fn start_of_line(text: &str, at: usize) -> usize {
    text.get(..at).and_then(|before| before.rfind(['\r', '\n'])).map_or(0, |found| found + 1)
}

/// The beginning of the line behind the one on which a byte stands.
pub(super) fn next_line(text: &str, at: usize) -> usize {
    let end = end_of_line(text, at);
    let rest = text.get(end..).unwrap_or_default();
    end + if rest.starts_with("\r\n") { 2 } else { usize::from(!rest.is_empty()) }
}

/// The change that gives a scalar another text, in its own kind of quotes; `None` where it has the text already.
pub(super) fn rewrite(node: &Located, key: &str, value: &str) -> Result<Option<Piece>, EditError> {
    let form = |problem: String| Err(EditError::Form { line: node.line, problem });
    let yaml::LocatedContent::Scalar { value: old, style } = &node.content else {
        return form(format!("{key} is no text: change it by hand"));
    };
    if node.is_marked {
        return form(format!("{key} has an anchor or a tag: change it by hand"));
    }
    if old == value && !node.is_blank() && (*style != LocatedStyle::Plain || plain(value)) {
        return Ok(None);
    }
    let simple = value.chars().all(|c| !c.is_control() && !matches!(c, '\'' | '"' | '\\'));
    let with = match style {
        LocatedStyle::SingleQuoted if simple => format!("'{value}'"),
        LocatedStyle::DoubleQuoted if simple => format!("\"{value}\""),
        LocatedStyle::Block => return form(format!("{key} is a block of lines: change it by hand")),
        _ if node.is_blank() => format!(" {}", scalar(value)),
        _ => scalar(value),
    };
    Ok(Some(Piece { range: node.span.clone(), with }))
}

/// A text as a scalar: with quotes where a reader would take it for something else.
pub(super) fn scalar(value: &str) -> String {
    yaml::to_string(&serde_json::Value::String(value.to_owned())).trim_end().to_owned()
}

/// Whether a text means itself without quotes.
fn plain(value: &str) -> bool {
    scalar(value) == value
}
