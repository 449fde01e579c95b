//! Patterns over names, as Argo CD's objects use them.
//!
//! Three dialects are in use, and a pattern means something else in each of them:
//!
//! | dialect | `*` | `**` | `{a,b}` | used for |
//! | --- | --- | --- | --- | --- |
//! | [`Dialect::Plain`] | anything | anything | either | destinations, namespaces, groups and kinds of ignore rules |
//! | [`Dialect::Path`] | anything but `/` | anything | either | source repositories |
//! | [`Dialect::Shell`] | anything but `/` | as `*` | itself | groups and kinds of a project's resource lists |
//!
//! A pattern becomes a regular expression of the `regex` crate, which takes linear time whatever the pattern.

use regex::{Regex, RegexBuilder};

/// A pattern longer than this is refused: no name that it could match is as long.
const MAX_PATTERN_BYTES: usize = 2048;

/// How deep `{…}` may nest.
const MAX_DEPTH: usize = 16;

/// Which characters of a pattern are special, and what they stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// No separator: `*` crosses `/`.
    Plain,
    /// `/` separates: `*` and `?` stop at it, `**` does not.
    Path,
    /// Go's `filepath.Match`: `*` and `?` stop at `/`, braces are literal, `[^…]` negates.
    Shell,
}

/// A pattern that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("pattern '{pattern}' is not valid: {reason}")]
pub struct GlobError {
    /// The pattern as written.
    pub pattern: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

/// A compiled pattern.
#[derive(Clone, Debug)]
pub struct Glob {
    matcher: Matcher,
}

#[derive(Clone, Debug)]
enum Matcher {
    Anything,
    Exactly(String),
    Regex(Regex),
}

impl Glob {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// When a bracket or brace is not closed, a range is reversed, a `\` ends the pattern, or the pattern is too long.
    pub fn new(pattern: &str, dialect: Dialect) -> Result<Self, GlobError> {
        let fail = |reason| GlobError { pattern: pattern.chars().take(200).collect(), reason };
        if pattern.len() > MAX_PATTERN_BYTES {
            return Err(fail("it is longer than 2048 bytes"));
        }
        if dialect == Dialect::Plain && pattern == "*" {
            return Ok(Self { matcher: Matcher::Anything });
        }
        if !pattern.contains(['*', '?', '[', ']', '{', '}', '\\']) {
            return Ok(Self { matcher: Matcher::Exactly(pattern.to_owned()) });
        }
        let expression = translate(pattern, dialect).map_err(fail)?;
        let regex = RegexBuilder::new(&expression)
            .dot_matches_new_line(true)
            .size_limit(1 << 20)
            .build()
            .map_err(|_| fail("it is too large, or a range of characters is reversed"))?;
        Ok(Self { matcher: Matcher::Regex(regex) })
    }

    /// Whether the whole of `text` matches.
    pub fn matches(&self, text: &str) -> bool {
        match &self.matcher {
            Matcher::Anything => true,
            Matcher::Exactly(pattern) => pattern == text,
            Matcher::Regex(regex) => regex.is_match(text),
        }
    }
}

fn translate(pattern: &str, dialect: Dialect) -> Result<String, &'static str> {
    let one = if dialect == Dialect::Plain { "." } else { "[^/]" };
    let mut out = String::from("^(?:");
    let mut characters = pattern.chars().peekable();
    let mut depth = 0_usize;
    while let Some(character) = characters.next() {
        match character {
            '*' => {
                let mut stars = 1;
                while characters.next_if_eq(&'*').is_some() {
                    stars += 1;
                }
                let crosses = stars > 1 && dialect == Dialect::Path;
                out.push_str(if crosses { "." } else { one });
                out.push('*');
            }
            '?' => out.push_str(one),
            '[' => {
                let class = class(&mut characters, dialect)?;
                out.push_str(&class);
            }
            '{' if dialect != Dialect::Shell => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return Err("braces are nested too deep");
                }
                out.push_str("(?:");
            }
            '}' if depth > 0 => {
                depth -= 1;
                out.push(')');
            }
            ',' if depth > 0 => out.push('|'),
            '\\' => literal(&mut out, characters.next().ok_or("it ends with '\\'")?),
            other => literal(&mut out, other),
        }
    }
    if depth > 0 {
        return Err("a '{' is not closed");
    }
    out.push_str(")$");
    Ok(out)
}

fn class(
    characters: &mut std::iter::Peekable<std::str::Chars<'_>>,
    dialect: Dialect,
) -> Result<String, &'static str> {
    let unclosed = "a '[' is not closed";
    let negation = if dialect == Dialect::Shell { '^' } else { '!' };
    let mut out = String::from("[");
    if characters.next_if_eq(&negation).is_some() {
        out.push('^');
        if dialect != Dialect::Plain {
            out.push('/');
        }
    }
    let mut empty = true;
    loop {
        match characters.next().ok_or(unclosed)? {
            ']' if empty => return Err("a '[]' is empty"),
            ']' => break,
            '\\' => literal(&mut out, characters.next().ok_or(unclosed)?),
            '-' if !empty && characters.peek() != Some(&']') => out.push('-'),
            other => literal(&mut out, other),
        }
        empty = false;
    }
    out.push(']');
    Ok(out)
}

fn literal(out: &mut String, character: char) {
    let mut buffer = [0; 4];
    out.push_str(&regex::escape(character.encode_utf8(&mut buffer)));
}

#[cfg(test)]
mod tests {
    use super::{Dialect, Glob};

    fn matches(dialect: Dialect, pattern: &str, text: &str) -> bool {
        Glob::new(pattern, dialect).unwrap().matches(text)
    }

    #[test]
    fn a_star_crosses_slashes_only_in_the_plain_dialect() {
        assert!(matches(Dialect::Plain, "https://*", "https://a.example/b/c"));
        assert!(!matches(Dialect::Path, "https://*", "https://a.example/b/c"));
        assert!(matches(Dialect::Path, "https://**", "https://a.example/b/c"));
        assert!(!matches(Dialect::Shell, "*", "a/b"));
        assert!(!matches(Dialect::Shell, "**", "a/b"));
        assert!(matches(Dialect::Path, "a**c", "ab/bc"));
    }

    #[test]
    fn the_whole_text_has_to_match() {
        for dialect in [Dialect::Plain, Dialect::Path, Dialect::Shell] {
            assert!(matches(dialect, "team-*", "team-a"));
            assert!(!matches(dialect, "team-*", "a-team-a"));
            assert!(!matches(dialect, "team", "team-a"));
            assert!(!matches(dialect, "*-team", "a-team-b"));
            assert!(!matches(dialect, "a*", "b\na"));
        }
    }

    #[test]
    fn alternatives_and_classes_are_understood() {
        assert!(matches(Dialect::Plain, "{dev,staging-*}", "staging-1"));
        assert!(!matches(Dialect::Plain, "{dev,staging}", "production"));
        assert!(matches(Dialect::Plain, "{a,{b,c}d}", "cd"));
        assert!(matches(Dialect::Shell, "{a,b}", "{a,b}"));
        assert!(matches(Dialect::Plain, "v[0-9]", "v3"));
        assert!(matches(Dialect::Plain, "v[!0-9]", "vx"));
        assert!(!matches(Dialect::Plain, "v[!0-9]", "v3"));
        assert!(matches(Dialect::Shell, "v[^0-9]", "vx"));
        assert!(!matches(Dialect::Shell, "a[^0-9]b", "a/b"));
        assert!(matches(Dialect::Plain, "a?c", "abc"));
        assert!(matches(Dialect::Plain, r"a\*c", "a*c"));
        assert!(!matches(Dialect::Plain, r"a\*c", "abc"));
    }

    #[test]
    fn characters_of_regular_expressions_are_literal() {
        assert!(!matches(Dialect::Plain, "a.c*", "abc"));
        assert!(matches(Dialect::Plain, "(a|b)+$*", "(a|b)+$x"));
        assert!(matches(Dialect::Plain, "[a&&b]", "&"));
    }

    #[test]
    fn a_broken_pattern_is_an_error_that_names_it() {
        for pattern in ["[a", "{a,b", "a\\", "[]", "[z-a]"] {
            let error = Glob::new(pattern, Dialect::Plain).unwrap_err();
            assert!(error.to_string().contains(pattern), "{error}");
        }
        assert!(Glob::new(&"*a".repeat(5000), Dialect::Plain).is_err());
    }
}
