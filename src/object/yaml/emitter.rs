//! From a value to text, in go-yaml's style.

use serde_json::{Map, Number, Value};

use super::scalar;

/// Keys longer than this stand behind a `?`; a YAML reader gives up on a key after 1,024 characters.
const SIMPLE_KEY: usize = 128;
/// A line is broken at the first space behind this column.
const WIDTH: usize = 80;

/// Writes a value at the end of a text, from the beginning of a line.
pub(super) fn write(text: &mut String, value: &Value) {
    match value {
        Value::Object(map) if !map.is_empty() => mapping(text, map, 0, false),
        Value::Array(items) if !items.is_empty() => sequence(text, items, 0, false),
        _ => {
            scalar_or_empty(text, value, 0);
            text.push('\n');
        }
    }
}

/// A number as go-yaml writes it: six digits and an exponent where Go's `%g` has one.
pub(super) fn number(number: &Number) -> String {
    let Some(float) = number.as_f64().filter(|_| number.is_f64()) else {
        return number.to_string();
    };
    let shortest = format!("{float:e}");
    let Some((mantissa, exponent)) = shortest.split_once('e') else {
        return shortest;
    };
    match exponent.parse::<i32>() {
        Ok(exponent) if !(-4..6).contains(&exponent) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{mantissa}e{sign}{:02}", exponent.unsigned_abs())
        }
        _ => format!("{float}"),
    }
}

/// `inline`: the first entry goes on the line that is already begun.
fn mapping(text: &mut String, map: &Map<String, Value>, indent: usize, inline: bool) {
    for (position, (key, value)) in map.iter().enumerate() {
        if position > 0 || !inline {
            spaces(text, indent);
        }
        let long = key.len() > SIMPLE_KEY || key.contains('\n');
        if long {
            text.push_str("? ");
            string(text, key, indent, Place::Value);
            text.push('\n');
            spaces(text, indent);
        } else {
            string(text, key, indent, Place::Key);
        }
        text.push(':');
        match value {
            Value::Object(inner) if !inner.is_empty() && long => {
                text.push(' ');
                mapping(text, inner, indent + 2, true);
            }
            Value::Object(inner) if !inner.is_empty() => {
                text.push('\n');
                mapping(text, inner, indent + 2, false);
            }
            Value::Array(items) if !items.is_empty() => {
                text.push('\n');
                sequence(text, items, indent, false);
            }
            _ => {
                text.push(' ');
                scalar_or_empty(text, value, indent);
                text.push('\n');
            }
        }
    }
}

fn sequence(text: &mut String, items: &[Value], indent: usize, inline: bool) {
    for (position, item) in items.iter().enumerate() {
        if position > 0 || !inline {
            spaces(text, indent);
        }
        text.push_str("- ");
        match item {
            Value::Object(inner) if !inner.is_empty() => mapping(text, inner, indent + 2, true),
            Value::Array(inner) if !inner.is_empty() => sequence(text, inner, indent + 2, true),
            _ => {
                scalar_or_empty(text, item, indent);
                text.push('\n');
            }
        }
    }
}

fn scalar_or_empty(text: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Null => text.push_str("null"),
        Value::Bool(truth) => text.push_str(if *truth { "true" } else { "false" }),
        Value::Number(value) => text.push_str(&number(value)),
        Value::String(value) => string(text, value, indent, Place::Value),
        Value::Array(_) => text.push_str("[]"),
        Value::Object(_) => text.push_str("{}"),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Key,
    Value,
}

/// What the characters of a string allow.
struct Allowed {
    plain: bool,
    single_quoted: bool,
    literal: bool,
}

fn string(text: &mut String, value: &str, indent: usize, place: Place) {
    if is_plain_word(value) {
        text.push_str(value);
        return;
    }
    let allowed = analyze(value);
    let reads_back = scalar::reads_back_as_string(value) && !(place == Place::Key && value == "<<");
    let folded = Folded::new(text, indent, place);
    if value.contains('\n') {
        if allowed.literal && place == Place::Value {
            literal(text, value, indent + 2);
        } else {
            folded.double_quoted(text, value);
        }
    } else if !reads_back {
        folded.double_quoted(text, value);
    } else if allowed.plain {
        folded.write(text, value, Style::Plain);
    } else if allowed.single_quoted {
        text.push('\'');
        folded.write(text, value, Style::SingleQuoted);
        text.push('\'');
    } else {
        folded.double_quoted(text, value);
    }
}

/// Whether a string is a word that is nothing but a string to any reader and has no place to be folded at: most are.
fn is_plain_word(value: &str) -> bool {
    // The words that mean something else are shorter.
    value.len() > 5
        && value.starts_with(|c: char| c.is_ascii_alphabetic())
        && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'/'))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    Plain,
    SingleQuoted,
    DoubleQuoted,
}

/// A text that goes on in further lines where it is long.
#[derive(Clone, Copy)]
struct Folded {
    column: usize,
    indent: usize,
    is_foldable: bool,
}

impl Folded {
    fn new(text: &str, indent: usize, place: Place) -> Self {
        let line = text.rsplit('\n').next().unwrap_or_default();
        Self { column: line.chars().count(), indent: indent + 2, is_foldable: place == Place::Value }
    }

    fn double_quoted(self, text: &mut String, value: &str) {
        text.push('"');
        self.write(text, value, Style::DoubleQuoted);
        text.push('"');
    }

    fn write(mut self, text: &mut String, value: &str, style: Style) {
        self.column += usize::from(style != Style::Plain);
        let mut after_space = false;
        let mut characters = value.chars().enumerate().peekable();
        while let Some((at, c)) = characters.next() {
            if c != ' ' {
                let before = text.len();
                match (style, c) {
                    (Style::SingleQuoted, '\'') => text.push_str("''"),
                    (Style::DoubleQuoted, _) => escaped(text, c),
                    _ => text.push(c),
                }
                self.column += text.get(before..).map_or(1, |written| written.chars().count());
                after_space = false;
                continue;
            }
            let next = characters.peek().map(|(_, next)| *next);
            let is_inside = style == Style::Plain || (at > 0 && next.is_some());
            let is_split = style == Style::DoubleQuoted || next != Some(' ');
            if self.is_foldable && !after_space && self.column > WIDTH && is_inside && is_split {
                text.push('\n');
                spaces(text, self.indent);
                self.column = self.indent;
                if next == Some(' ') {
                    text.push('\\');
                    self.column += 1;
                }
            } else {
                text.push(' ');
                self.column += 1;
            }
            after_space = true;
        }
    }
}

fn analyze(value: &str) -> Allowed {
    let mut indicator = value.starts_with("---") || value.starts_with("...");
    let mut special = false;
    let mut space_then_break = false;
    let mut break_then_space = false;
    let mut previous: Option<char> = None;
    let mut characters = value.chars().peekable();
    while let Some(c) = characters.next() {
        let before_blank = characters.peek().is_none_or(|next| matches!(next, ' ' | '\t'));
        indicator |= match (previous, c) {
            (
                None,
                '#' | ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%' | '@'
                | '`',
            ) => true,
            (None, '?' | '-') | (_, ':') => before_blank,
            (Some(previous), '#') => matches!(previous, ' ' | '\t' | '\n' | '\r'),
            _ => false,
        };
        special |= !is_printable(c);
        space_then_break |= previous == Some(' ') && c == '\n';
        break_then_space |= previous == Some('\n') && c == ' ';
        previous = Some(c);
    }
    let blank_edge = value.starts_with([' ', '\n']) || value.ends_with([' ', '\n']);
    let quotable = !space_then_break && !special;
    Allowed {
        plain: quotable && !blank_edge && !indicator && !value.contains('\n'),
        single_quoted: quotable && !break_then_space,
        literal: quotable && !value.ends_with(' '),
    }
}

/// What go-yaml writes without an escape. Line and paragraph separators are escaped as well: readers differ about them.
fn is_printable(c: char) -> bool {
    matches!(c, '\n' | ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}')
        && !matches!(c, '\u{feff}' | '\u{2028}' | '\u{2029}')
}

fn literal(text: &mut String, value: &str, indent: usize) {
    text.push('|');
    if value.starts_with([' ', '\n']) {
        text.push('2');
    }
    let body = value.strip_suffix('\n');
    match body {
        None => text.push('-'),
        Some(body) if body.is_empty() || body.ends_with('\n') => text.push('+'),
        Some(_) => {}
    }
    for line in body.unwrap_or(value).split('\n') {
        text.push('\n');
        if !line.is_empty() {
            spaces(text, indent);
            text.push_str(line);
        }
    }
}

fn escaped(text: &mut String, c: char) {
    match c {
        '"' => text.push_str("\\\""),
        '\\' => text.push_str("\\\\"),
        '\0' => text.push_str("\\0"),
        '\x07' => text.push_str("\\a"),
        '\x08' => text.push_str("\\b"),
        '\t' => text.push_str("\\t"),
        '\n' => text.push_str("\\n"),
        '\x0b' => text.push_str("\\v"),
        '\x0c' => text.push_str("\\f"),
        '\r' => text.push_str("\\r"),
        '\x1b' => text.push_str("\\e"),
        '\u{85}' => text.push_str("\\N"),
        '\u{2028}' => text.push_str("\\L"),
        '\u{2029}' => text.push_str("\\P"),
        c if is_printable(c) => text.push(c),
        c => {
            let code = u32::from(c);
            text.push_str(&match code {
                0..=0xff => format!("\\x{code:02X}"),
                0x100..=0xffff => format!("\\u{code:04X}"),
                _ => format!("\\U{code:08X}"),
            });
        }
    }
}

fn spaces(text: &mut String, count: usize) {
    const SPACES: &str = "                                ";
    match SPACES.get(..count) {
        Some(spaces) => text.push_str(spaces),
        None => text.extend(std::iter::repeat_n(' ', count)),
    }
}
