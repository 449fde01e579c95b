//! Namespaces by pattern.

use regex::{Regex, RegexBuilder};

use super::reader::Fault;
use crate::glob::{Dialect, Glob};

/// Patterns over namespaces: each a glob, or a regular expression between slashes.
#[derive(Clone, Debug, Default)]
pub struct NamespacePatterns {
    text: String,
    patterns: Vec<Pattern>,
}

impl PartialEq for NamespacePatterns {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

#[derive(Clone, Debug)]
enum Pattern {
    Glob(Glob),
    Regex(Regex),
}

impl NamespacePatterns {
    /// Reads a list separated by commas.
    pub(super) fn parse(text: &str) -> Result<Self, Fault> {
        let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
        let patterns = items.map(Pattern::parse).collect::<Result<_, _>>()?;
        Ok(Self { text: text.to_owned(), patterns })
    }

    /// Whether any pattern matches.
    pub fn matches(&self, namespace: &str) -> bool {
        self.patterns.iter().any(|pattern| match pattern {
            Pattern::Glob(glob) => glob.matches(namespace),
            Pattern::Regex(regex) => regex.is_match(namespace),
        })
    }

    /// Whether there are no patterns: then Applications live in the agent's namespace only.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }
}

impl Pattern {
    fn parse(text: &str) -> Result<Self, Fault> {
        let expression = text.strip_prefix('/').and_then(|rest| rest.strip_suffix('/'));
        match expression {
            Some(expression) => RegexBuilder::new(expression)
                .size_limit(1 << 20)
                .build()
                .map(Self::Regex)
                .map_err(|_| Fault::new(format!("'{text}' is not a regular expression"))),
            None => {
                Glob::new(text, Dialect::Plain).map(Self::Glob).map_err(|error| Fault::new(error.to_string()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_globs_or_regular_expressions() {
        let patterns = NamespacePatterns::parse("team-*, /^dev-[0-9]+$/").ok().unwrap();
        assert!(patterns.matches("team-a") && patterns.matches("dev-12"));
        assert!(!patterns.matches("dev-x") && !patterns.matches("kube-system"));
        assert!(NamespacePatterns::parse("/(/").is_err());
    }

    #[test]
    fn no_pattern_matches_nothing() {
        let none = NamespacePatterns::parse(" , ").ok().unwrap();
        assert!(none.is_empty() && !none.matches("argocd"));
    }
}
