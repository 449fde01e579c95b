//! From bytes to a text that libyaml-safer can take.
//!
//! It panics where a text ends inside of a block scalar or right behind a backslash, and where a comma follows a tag in a
//! flow collection. Here such texts are changed so that it reads them or refuses them; the reader undoes the change.

use std::borrow::Cow;

use super::{
    Options, YamlProblem,
    reader::{Place, Refusal},
};

/// More `%TAG` lines than anybody has; libyaml compares each with all others.
const TAG_DIRECTIVES: usize = 64;

/// Size, encoding, characters: what would otherwise be an error without a place.
pub(super) fn check<'a>(text: &'a [u8], options: &Options) -> Result<&'a str, Refusal> {
    let start = Place { line: 0, column: 0 };
    if text.len() > options.limits.bytes {
        let message = format!("the text is over the limit of {} bytes", options.limits.bytes);
        return Err(Refusal::new(YamlProblem::Limit, start, message));
    }
    if text.starts_with(&[0xff, 0xfe]) || text.starts_with(&[0xfe, 0xff]) {
        return Err(Refusal::new(YamlProblem::Syntax, start, "the text is UTF-16: save it as UTF-8"));
    }
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let text = std::str::from_utf8(text).map_err(|error| {
        let valid = text.get(..error.valid_up_to()).unwrap_or_default();
        let place = end_of(&String::from_utf8_lossy(valid));
        Refusal::new(YamlProblem::Syntax, place, "the text is not UTF-8 (is it a binary file?)")
    })?;
    let control = |c: char| {
        matches!(c, '\0'..='\x08' | '\x0b' | '\x0c' | '\x0e'..='\x1f' | '\x7f'..='\u{84}' | '\u{86}'..='\u{9f}')
            || matches!(c, '\u{fffe}' | '\u{ffff}')
    };
    let is_doubtful = |byte: u8| (byte < 0x20 && !matches!(byte, b'\t' | b'\n' | b'\r')) || byte >= 0x7f;
    if text.bytes().any(is_doubtful)
        && let Some((before, found)) = text.char_indices().find(|(_, c)| control(*c))
    {
        let place = end_of(text.get(..before).unwrap_or_default());
        let message =
            format!("control characters are not allowed, but U+{:04X} stands here", u32::from(found));
        return Err(Refusal::new(YamlProblem::Syntax, place, message));
    }
    if text.contains("%TAG") && text.lines().filter(|line| line.starts_with("%TAG")).count() > TAG_DIRECTIVES
    {
        let message = format!("more than {TAG_DIRECTIVES} %TAG directives");
        return Err(Refusal::new(YamlProblem::Limit, start, message));
    }
    Ok(text)
}

fn end_of(text: &str) -> Place {
    let last = text.rsplit('\n').next().unwrap_or_default();
    let clamp = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    Place { line: clamp(text.matches('\n').count()), column: clamp(last.chars().count()) }
}

/// The text with commas guarded by the sentinel and with a line break at its end.
///
/// Blanks behind the last line break are dropped; else a line break is added, and `true` says so.
pub(super) fn prepare(text: &str, sentinel: Option<char>) -> (Cow<'_, str>, bool) {
    let mut prepared =
        sentinel.map_or(Cow::Borrowed(text), |sentinel| Cow::Owned(guard_tags(text, sentinel)));
    let content = prepared.trim_end_matches(' ').len();
    let is_line_end = |text: &str| text.ends_with(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}']);
    let last_line_is_blank = prepared.get(..content).is_some_and(|text| text.is_empty() || is_line_end(text));
    if !last_line_is_blank {
        prepared.to_mut().push('\n');
        return (prepared, true);
    }
    if content < prepared.len() {
        prepared.to_mut().truncate(content);
    }
    (prepared, false)
}

/// A character that the text does not hold, when it holds a tag that a comma follows directly.
///
/// A character that cannot stand there makes such a tag an error; where the same letters are part of a text or
/// comment, the reader takes the character out again.
pub(super) fn sentinel(text: &str) -> Option<char> {
    text.find('!')?;
    commas_behind_tags(text).next()?;
    ('\u{e000}'..='\u{f8ff}').find(|candidate| !text.contains(*candidate))
}

fn guard_tags(text: &str, sentinel: char) -> String {
    let mut guarded = String::with_capacity(text.len() + 16);
    let mut done = 0;
    for comma in commas_behind_tags(text) {
        guarded.push_str(text.get(done..comma).unwrap_or_default());
        guarded.push(sentinel);
        done = comma;
    }
    guarded.push_str(text.get(done..).unwrap_or_default());
    guarded
}

/// Positions of commas that may follow a tag directly: a `!` stands before them with no blank or bracket between.
fn commas_behind_tags(text: &str) -> impl Iterator<Item = usize> {
    let mut behind_tag = false;
    text.bytes().enumerate().filter_map(move |(position, byte)| {
        match byte {
            b'!' => behind_tag = true,
            b',' if behind_tag => {
                // Part of the longhand of `!!str` and its like, where a comma does no harm.
                let is_longhand =
                    text.get(..position).is_some_and(|before| before.ends_with("!<tag:yaml.org"));
                behind_tag = is_longhand;
                return (!is_longhand).then_some(position);
            }
            b' ' | b'\t' | b'\n' | b'\r' | b'[' | b']' | b'{' | b'}' => behind_tag = false,
            _ => {}
        }
        None
    })
}
