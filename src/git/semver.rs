//! Semantic versions and version ranges with the meaning that Helm and Argo CD give them (Go's Masterminds/semver).
//!
//! It differs from Cargo's: `1.2` alone means `1.2.x`, spaces join conditions as commas do, `||` separates alternatives,
//! `1.2 - 1.4` is a range, and a pre-release satisfies a group of conditions only when one of them names a pre-release.

use std::cmp::Ordering;

/// Conditions in one constraint; more are refused.
const MAX_CONDITIONS: usize = 64;

/// A version, read loosely: `v` in front and missing minor and patch numbers are fine. Build metadata is ignored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    numbers: [u64; 3],
    pre_release: String,
}

/// A version in which any part may be `x` or missing, as conditions have it.
struct Pattern {
    version: Version,
    /// How many leading numbers are given; the others are zero in `version`.
    given: usize,
}

impl Pattern {
    fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix('v').unwrap_or(text);
        let (text, build) = split_at(text, '+');
        let (numbers, pre_release) = split_at(text, '-');
        for suffix in [build, pre_release].into_iter().flatten() {
            let valid = |part: &str| {
                !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            };
            if !suffix.split('.').all(valid) {
                return None;
            }
        }
        let mut version =
            Version { numbers: [0; 3], pre_release: pre_release.unwrap_or_default().to_owned() };
        let mut given = 0;
        let mut wildcard = false;
        let mut parts = numbers.split('.');
        for slot in &mut version.numbers {
            let Some(part) = parts.next() else { break };
            if matches!(part, "x" | "X" | "*") {
                wildcard = true;
            } else if part.is_empty() || !part.bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            } else if !wildcard {
                *slot = part.parse().ok()?;
                given += 1;
            }
        }
        parts.next().is_none().then_some(Self { version, given })
    }
}

fn split_at(text: &str, separator: char) -> (&str, Option<&str>) {
    match text.split_once(separator) {
        Some((before, after)) => (before, Some(after)),
        None => (text, None),
    }
}

impl Version {
    /// Reads a version; `None` when the text is none.
    pub fn parse(text: &str) -> Option<Self> {
        let numbers = text.split(['-', '+']).next()?;
        if numbers.contains(['x', 'X', '*']) {
            return None;
        }
        Pattern::parse(text).map(|pattern| pattern.version)
    }

    fn is_pre_release(&self) -> bool {
        !self.pre_release.is_empty()
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        self.numbers.cmp(&other.numbers).then_with(|| match (self.is_pre_release(), other.is_pre_release()) {
            (false, false) => Ordering::Equal,
            (false, true) => Ordering::Greater,
            (true, false) => Ordering::Less,
            (true, true) => compare_pre_releases(&self.pre_release, &other.pre_release),
        })
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

fn compare_pre_releases(left: &str, right: &str) -> Ordering {
    let (mut left, mut right) = (left.split('.'), right.split('.'));
    loop {
        let order = match (left.next(), right.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => Ordering::Less,
            (Some(_), None) => Ordering::Greater,
            (Some(a), Some(b)) => match (a.parse::<u64>(), b.parse::<u64>()) {
                (Ok(a), Ok(b)) => a.cmp(&b),
                (Ok(_), Err(_)) => Ordering::Less,
                (Err(_), Ok(_)) => Ordering::Greater,
                (Err(_), Err(_)) => a.cmp(b),
            },
        };
        if order.is_ne() {
            return order;
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Same,
    Not,
    Greater,
    Less,
    GreaterOrEqual,
    LessOrEqual,
    Tilde,
    Caret,
}

/// Longer ones first, so that `>=` is not read as `>`.
const OPERATORS: [(&str, Operator); 11] = [
    ("!=", Operator::Not),
    (">=", Operator::GreaterOrEqual),
    ("=>", Operator::GreaterOrEqual),
    ("<=", Operator::LessOrEqual),
    ("=<", Operator::LessOrEqual),
    ("~>", Operator::Tilde),
    ("=", Operator::Same),
    (">", Operator::Greater),
    ("<", Operator::Less),
    ("~", Operator::Tilde),
    ("^", Operator::Caret),
];

#[derive(Clone, Debug)]
struct Condition {
    operator: Operator,
    version: Version,
    given: usize,
}

impl Condition {
    fn new(operator: Operator, text: &str) -> Option<Self> {
        let Pattern { version, given } = Pattern::parse(text)?;
        Some(Self { operator, version, given })
    }

    fn allows(&self, version: &Version) -> bool {
        let given_order =
            version.numbers.iter().take(self.given).cmp(self.version.numbers.iter().take(self.given));
        let complete = self.given == 3;
        match self.operator {
            Operator::Same if complete => version == &self.version,
            Operator::Same | Operator::Tilde => {
                // `~1.2.3` leaves the patch number free, `~1.2` and `~1` what they do not give.
                let fixed = self.given.min(2);
                version >= &self.version
                    && version.numbers.iter().take(fixed).eq(self.version.numbers.iter().take(fixed))
            }
            Operator::Not if complete => version != &self.version,
            Operator::Not => given_order.is_ne(),
            Operator::Greater if complete => version > &self.version,
            Operator::Greater => given_order.is_gt(),
            Operator::Less => version < &self.version,
            Operator::GreaterOrEqual => version >= &self.version,
            Operator::LessOrEqual if complete => version <= &self.version,
            Operator::LessOrEqual => given_order.is_le(),
            Operator::Caret => {
                // Fixed is everything up to the first number that is not zero.
                let zeros =
                    self.version.numbers.iter().take(self.given).take_while(|number| **number == 0).count();
                let fixed = (zeros + 1).min(self.given);
                version >= &self.version
                    && version.numbers.iter().take(fixed).eq(self.version.numbers.iter().take(fixed))
            }
        }
    }
}

/// A version range.
#[derive(Clone, Debug)]
pub struct Constraint {
    alternatives: Vec<Vec<Condition>>,
}

impl Constraint {
    /// Reads a range such as `^1.2`, `>=1.0 <2.0 || 3.x`, `1.2 - 1.4`; `None` when the text is none.
    pub fn parse(text: &str) -> Option<Self> {
        let alternatives: Option<Vec<_>> = text.split("||").map(parse_group).collect();
        let alternatives = alternatives?;
        let conditions: usize = alternatives.iter().map(Vec::len).sum();
        (conditions <= MAX_CONDITIONS).then_some(Self { alternatives })
    }

    /// Whether a version is in the range.
    pub fn allows(&self, version: &Version) -> bool {
        self.alternatives.iter().any(|group| {
            let names_pre_release = group.iter().any(|condition| condition.version.is_pre_release());
            (names_pre_release || !version.is_pre_release())
                && group.iter().all(|condition| condition.allows(version))
        })
    }
}

/// Conditions that hold together: separated by spaces or commas, `a - b` standing for `>=a <=b`.
fn parse_group(text: &str) -> Option<Vec<Condition>> {
    let mut group = Vec::new();
    let mut rest = text.trim();
    if rest.is_empty() {
        return Some(vec![Condition::new(Operator::GreaterOrEqual, "0.0.0")?]);
    }
    while !rest.is_empty() {
        let (operator, after) = OPERATORS
            .iter()
            .find_map(|(sign, operator)| rest.strip_prefix(sign).map(|after| (Some(*operator), after)))
            .unwrap_or((None, rest));
        let (version, after) = take_version(after.trim_start());
        let upper =
            after.trim_start().strip_prefix('-').filter(|upper| upper.starts_with(char::is_whitespace));
        if let (None, Some(upper)) = (operator, upper) {
            let (upper, after) = take_version(upper.trim_start());
            group.push(Condition::new(Operator::GreaterOrEqual, version)?);
            group.push(Condition::new(Operator::LessOrEqual, upper)?);
            rest = after;
        } else {
            group.push(Condition::new(operator.unwrap_or(Operator::Same), version)?);
            rest = after;
        }
        let next = rest.trim_start();
        rest = match next.strip_prefix(',') {
            Some(after_comma) if !after_comma.trim().is_empty() => after_comma.trim_start(),
            Some(_) => return None,
            None => next,
        };
    }
    Some(group)
}

fn take_version(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| c.is_whitespace() || c == ',').unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(range: &str, version: &str, expected: bool) {
        let constraint = Constraint::parse(range).unwrap_or_else(|| panic!("{range} is a range"));
        let version = Version::parse(version).unwrap_or_else(|| panic!("{version} is a version"));
        assert_eq!(constraint.allows(&version), expected, "{range} on {version:?}");
    }

    #[test]
    fn ranges_mean_what_they_mean_to_argo_cd() {
        let table = [
            (">=1.0 <2.0", "1.5.0", true),
            (">=1.0, <2.0", "2.0.0", false),
            ("1.2 - 1.4", "1.3.0", true),
            ("1.2 - 1.4", "1.4.9", true),
            ("1.2 - 1.4", "1.5.0", false),
            (">1 || <0.5", "0.4.0", true),
            (">1 || <0.5", "1.9.0", false),
            (">=1.0-0", "1.1.0-rc1", true),
            (">=1.0-0 <2.0", "1.1.0-rc1", true),
            (">=1.0", "1.1.0-rc1", false),
            ("!=1.2.3", "1.2.4", true),
            ("!=1.2.3", "1.2.3", false),
            ("!=1.2", "1.2.9", false),
            ("v1.2.3", "v1.2.3", true),
            ("^1.2", "1.9.0", true),
            ("^1.2", "2.0.0", false),
            ("^0.2.3", "0.2.9", true),
            ("^0.2.3", "0.3.0", false),
            ("^0.0.3", "0.0.4", false),
            ("^0", "0.9.0", true),
            ("~1.2.3", "1.2.9", true),
            ("~1.2.3", "1.3.0", false),
            ("~1", "1.9.0", true),
            ("1.x", "1.7.0", true),
            ("1.x", "2.0.0", false),
            ("1.2.*", "1.2.7", true),
            ("=1.2", "1.2.7", true),
            ("=1.2.3", "1.2.4", false),
            (">1.2", "1.2.9", false),
            (">1.2", "1.3.0", true),
            ("<=1.2", "1.2.9", true),
            ("<=1.2", "1.3.0", false),
            ("*", "0.0.1", true),
            ("*", "1.0.0-rc1", false),
            (">=1.21-0", "v1.35.0-eks-1", true),
            (">=1.21.0", "v1.35.0-eks-1", false),
            (">= 1.0.0", "1.0.0+build.7", true),
            ("1.x.x", "1.2.3", true),
        ];
        for (range, version, expected) in table {
            check(range, version, expected);
        }
    }

    #[test]
    fn names_of_branches_are_no_ranges() {
        for text in ["main", "release-1.2", "1.2.3.4", "feature/1.x", "x.y", "^", ">=", "1.2,", "v", "1..2"] {
            assert!(Constraint::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn pre_releases_sort_below_their_release_and_numbers_below_words() {
        let sorted = [
            "1.0.0-1",
            "1.0.0-2",
            "1.0.0-10",
            "1.0.0-alpha",
            "1.0.0-alpha.1",
            "1.0.0-beta",
            "1.0.0",
            "1.0.1",
        ];
        for pair in sorted.windows(2) {
            assert!(Version::parse(pair[0]) < Version::parse(pair[1]), "{pair:?}");
        }
    }

    #[test]
    fn an_exact_version_is_told_from_a_range() {
        for text in ["1.2", "v1.2.3", "1", "1.2.3-rc.1+x"] {
            assert!(Version::parse(text).is_some(), "{text}");
        }
        for text in ["1.x", "*", "^1", "1.2.3 ", "99999999999999999999"] {
            assert!(Version::parse(text).is_none(), "{text}");
        }
    }
}
