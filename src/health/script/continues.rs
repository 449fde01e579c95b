//! `goto continue`, for scripts that are written for the Lua of Argo CD.
//!
//! The interpreter has no `goto` but a statement `continue`. What scripts use `goto` for is to go on with the innermost
//! loop, with the label right before the loop's `end`. That becomes `continue`; any other `goto` is an error that says
//! so. Texts and comments are left alone, and no line moves.

use std::borrow::Cow;

/// How deep blocks may nest.
const MAX_DEPTH: usize = 200;

/// What a word, a label or a sign of the script is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'a> {
    Word(&'a str),
    Label(&'a str),
    Other,
}

struct Block {
    is_loop: bool,
    is_function: bool,
    /// Jumps that were found in it and in blocks of it that are no loops: label, start and end in the script.
    jumps: Vec<(usize, usize, usize)>,
    /// The last label in it, when nothing but labels came after it.
    labels: Vec<(usize, usize, usize)>,
}

/// Rewrites `goto` to `continue`.
///
/// # Errors
/// When a `goto` is none that goes on with the innermost loop.
pub(super) fn rewrite(source: &str) -> Result<Cow<'_, str>, String> {
    if !source.contains("goto") {
        return Ok(Cow::Borrowed(source));
    }
    let tokens = tokens(source);
    let mut edits: Vec<(usize, usize, &'static str)> = Vec::new();
    let mut blocks = vec![Block { is_loop: false, is_function: true, jumps: Vec::new(), labels: Vec::new() }];
    let mut loop_head = false;
    let mut position = 0;
    while let Some(&(token, start, end)) = tokens.get(position) {
        let next = tokens.get(position + 1).map(|(token, ..)| *token);
        let Some(block) = blocks.last_mut() else { break };
        match token {
            Token::Label(_) => block.labels.push((position, start, end)),
            Token::Word("end" | "until" | "else" | "elseif") => {}
            _ => block.labels.clear(),
        }
        match token {
            Token::Word("goto") if matches!(next, Some(Token::Word(_))) => {
                let (_, _, end) = tokens.get(position + 1).copied().unwrap_or((Token::Other, end, end));
                block.jumps.push((position + 1, start, end));
                position += 1;
            }
            Token::Word("for" | "while") => loop_head = true,
            Token::Word(word @ ("do" | "repeat" | "then" | "function")) => {
                let is_loop = word == "repeat" || (word == "do" && loop_head);
                loop_head &= word != "do";
                if blocks.len() >= MAX_DEPTH {
                    return Err(format!("its blocks nest more than {MAX_DEPTH} deep"));
                }
                blocks.push(Block {
                    is_loop,
                    is_function: word == "function",
                    jumps: Vec::new(),
                    labels: Vec::new(),
                });
            }
            Token::Word(word @ ("end" | "until" | "else" | "elseif")) if blocks.len() > 1 => {
                let Some(closed) = blocks.pop() else { break };
                let outer = close(closed, &tokens, source, &mut edits)?;
                if let Some(block) = blocks.last_mut() {
                    block.jumps.extend(outer);
                }
                if word == "else" {
                    blocks.push(Block {
                        is_loop: false,
                        is_function: false,
                        jumps: Vec::new(),
                        labels: Vec::new(),
                    });
                }
            }
            _ => {}
        }
        position += 1;
    }
    if let Some((_, start, _)) = blocks.iter().flat_map(|block| &block.jumps).next() {
        return Err(unsupported(source, *start));
    }
    edits.sort_unstable();
    let mut rewritten = String::with_capacity(source.len());
    let mut done = 0;
    for (start, end, text) in edits {
        rewritten.push_str(source.get(done..start).unwrap_or_default());
        rewritten.push_str(text);
        done = end;
    }
    rewritten.push_str(source.get(done..).unwrap_or_default());
    Ok(Cow::Owned(rewritten))
}

/// Settles the jumps of a block that ends, and hands on those that belong to a loop around it.
fn close(
    block: Block,
    tokens: &[(Token<'_>, usize, usize)],
    source: &str,
    edits: &mut Vec<(usize, usize, &'static str)>,
) -> Result<Vec<(usize, usize, usize)>, String> {
    if !block.is_loop && !block.is_function {
        return Ok(block.jumps);
    }
    let name = |position: usize| match tokens.get(position) {
        Some((Token::Word(name) | Token::Label(name), ..)) => *name,
        _ => "",
    };
    for (target, start, end) in &block.jumps {
        let found = block.is_loop && block.labels.iter().any(|(label, ..)| name(*label) == name(*target));
        if !found {
            return Err(unsupported(source, *start));
        }
        edits.push((*start, *end, "do continue end"));
    }
    edits.extend(block.labels.iter().map(|(_, start, end)| (*start, *end, "")));
    Ok(Vec::new())
}

fn unsupported(source: &str, start: usize) -> String {
    let line = source.get(..start).unwrap_or_default().lines().count().max(1);
    format!(
        "health.lua:{line}: goto can only go on with the innermost loop: put its label right before the loop's end"
    )
}

/// The words, labels and signs of a script, with where they start and end.
fn tokens(source: &str) -> Vec<(Token<'_>, usize, usize)> {
    let bytes = source.as_bytes();
    let at = |position: usize| bytes.get(position).copied().unwrap_or(0);
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let mut found = Vec::new();
    let mut position = 0;
    while position < bytes.len() {
        let start = position;
        match (at(position), at(position + 1)) {
            (b'-', b'-') => {
                position += 2;
                position = match long_bracket(source, position) {
                    Some(end) => end,
                    None => source
                        .get(position..)
                        .and_then(|rest| rest.find('\n'))
                        .map_or(bytes.len(), |end| position + end),
                };
            }
            (b'[', b'[' | b'=') => match long_bracket(source, position) {
                Some(end) => {
                    position = end;
                    found.push((Token::Other, start, end));
                }
                None => position += 1,
            },
            (quote @ (b'"' | b'\''), _) => {
                position += 1;
                while position < bytes.len() && at(position) != quote {
                    position += if at(position) == b'\\' { 2 } else { 1 };
                }
                position += 1;
                found.push((Token::Other, start, position));
            }
            (b':', b':') => {
                let rest = source.get(position + 2..).unwrap_or_default();
                match rest.split_once("::") {
                    Some((name, _)) if !name.trim().is_empty() && name.trim().bytes().all(is_word) => {
                        position += name.len() + 4;
                        found.push((Token::Label(name.trim()), start, position));
                    }
                    _ => position += 2,
                }
            }
            (byte, _) if is_word(byte) => {
                while is_word(at(position)) {
                    position += 1;
                }
                found.push((Token::Word(source.get(start..position).unwrap_or_default()), start, position));
            }
            (byte, _) => {
                position += 1;
                if !byte.is_ascii_whitespace() && byte != b';' {
                    found.push((Token::Other, start, position));
                }
            }
        }
    }
    found
}

/// The end of a text in long brackets that starts here.
fn long_bracket(source: &str, start: usize) -> Option<usize> {
    let rest = source.get(start..)?.strip_prefix('[')?;
    let level = rest.len() - rest.trim_start_matches('=').len();
    let inside = rest.get(level..)?.strip_prefix('[')?;
    let close = format!("]{}]", "=".repeat(level));
    let end = inside.find(&close)?;
    Some(start + level + 2 + end + close.len())
}
