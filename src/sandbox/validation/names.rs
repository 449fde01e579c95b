//! What names, labels and keys may look like, and what is said of those that do not.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;

use super::super::status::Cause;

/// One rule for names: its pattern, the longest that fits, and what is said otherwise.
pub(in super::super) struct NameRule {
    pattern: LazyLock<Option<Regex>>,
    longest: usize,
    unit: &'static str,
    message: &'static str,
}

pub(in super::super) static SUBDOMAIN: NameRule = NameRule {
    pattern: LazyLock::new(|| {
        Regex::new(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$").ok()
    }),
    longest: 253,
    unit: "characters",
    message: "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and \
        must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
        '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
};
pub(in super::super) static LABEL: NameRule = NameRule {
    pattern: LazyLock::new(|| Regex::new("^[a-z0-9]([-a-z0-9]*[a-z0-9])?$").ok()),
    longest: 63,
    unit: "characters",
    message: "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start \
        and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
        '[a-z0-9]([-a-z0-9]*[a-z0-9])?')",
};
pub(in super::super) static LABEL_1035: NameRule = NameRule {
    pattern: LazyLock::new(|| Regex::new("^[a-z]([-a-z0-9]*[a-z0-9])?$").ok()),
    longest: 63,
    unit: "characters",
    message: "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic \
        character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for \
        validation is '[a-z]([-a-z0-9]*[a-z0-9])?')",
};
pub(in super::super) static LABEL_VALUE: NameRule = NameRule {
    pattern: LazyLock::new(|| Regex::new("^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$").ok()),
    longest: 63,
    unit: "bytes",
    message: "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must \
        start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for \
        validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
};
static QUALIFIED_NAME: NameRule = NameRule {
    pattern: LazyLock::new(|| Regex::new("^([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$").ok()),
    longest: 63,
    unit: "bytes",
    message: "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an \
        alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
        '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
};
pub(in super::super) static CONFIG_KEY: NameRule = NameRule {
    pattern: LazyLock::new(|| Regex::new("^[-._a-zA-Z0-9]+$").ok()),
    longest: 253,
    unit: "characters",
    message: "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or \
        'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')",
};

impl NameRule {
    pub(in super::super) fn check(&self, field: &str, name: &str, causes: &mut Vec<Cause>) {
        let problems = self.problems(name);
        causes.extend(problems.iter().map(|problem| Cause::invalid(field, &Value::from(name), problem)));
    }

    /// What is wrong with a name.
    pub(in super::super) fn problems(&self, name: &str) -> Vec<String> {
        let mut problems = Vec::new();
        if name.len() > self.longest {
            problems.push(format!("must be no more than {} {}", self.longest, self.unit));
        }
        if self.pattern.as_ref().is_some_and(|pattern| !pattern.is_match(name)) {
            problems.push(self.message.to_owned());
        }
        problems
    }
}

/// The key of a label or annotation: a name, or a prefix and a name.
pub(in super::super) fn qualified(field: &str, key: &str, causes: &mut Vec<Cause>) {
    let invalid = |detail: &str| Cause::invalid(field, &Value::from(key), detail);
    let parts: Vec<&str> = key.split('/').collect();
    let name = match parts.as_slice() {
        [name] => *name,
        ["", name] => {
            causes.push(invalid("prefix part must be non-empty"));
            *name
        }
        [prefix, name] => {
            let problems = SUBDOMAIN.problems(prefix);
            causes.extend(problems.iter().map(|problem| invalid(&format!("prefix part {problem}"))));
            *name
        }
        _ => {
            let rule = QUALIFIED_NAME.message.replacen("name part must", "a valid label key must", 1);
            let detail =
                format!("{rule} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')");
            causes.push(invalid(&detail));
            return;
        }
    };
    if name.is_empty() {
        causes.push(invalid("name part must be non-empty"));
    }
    for problem in QUALIFIED_NAME.problems(name) {
        let part = if problem.starts_with("name part") { problem } else { format!("name part {problem}") };
        causes.push(invalid(&part));
    }
}
