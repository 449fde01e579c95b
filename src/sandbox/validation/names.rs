//! What names, labels and keys may look like, and what is said of those that do not.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;

use super::super::status::Cause;

/// One rule for names: its pattern, the longest that fits, and what is said otherwise.
pub(super) struct NameRule {
    pattern: LazyLock<Option<Regex>>,
    longest: usize,
    message: &'static str,
}

pub(super) static SUBDOMAIN: NameRule = NameRule {
    pattern: LazyLock::new(|| {
        Regex::new(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$").ok()
    }),
    longest: 253,
    message: "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and \
        must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
        '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
};
pub(super) static LABEL: NameRule = NameRule {
    pattern: LazyLock::new(|| Regex::new("^[a-z0-9]([-a-z0-9]*[a-z0-9])?$").ok()),
    longest: 63,
    message: "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start \
        and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
        '[a-z0-9]([-a-z0-9]*[a-z0-9])?')",
};
pub(super) static LABEL_1035: NameRule = NameRule {
    pattern: LazyLock::new(|| Regex::new("^[a-z]([-a-z0-9]*[a-z0-9])?$").ok()),
    longest: 63,
    message: "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic \
        character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for \
        validation is '[a-z]([-a-z0-9]*[a-z0-9])?')",
};
pub(super) static LABEL_VALUE: NameRule = NameRule {
    pattern: LazyLock::new(|| Regex::new("^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$").ok()),
    longest: 63,
    message: "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must \
        start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for \
        validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
};
static QUALIFIED_NAME: NameRule = NameRule {
    pattern: LazyLock::new(|| Regex::new("^([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$").ok()),
    longest: 63,
    message: "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an \
        alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
        '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
};
pub(super) static CONFIG_KEY: NameRule = NameRule {
    pattern: LazyLock::new(|| Regex::new("^[-._a-zA-Z0-9]+$").ok()),
    longest: 253,
    message: "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or \
        'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')",
};

impl NameRule {
    pub(super) fn check(&self, field: &str, name: &str, causes: &mut Vec<Cause>) {
        let shown = Value::from(name);
        if name.len() > self.longest {
            causes.push(Cause::invalid(
                field,
                &shown,
                &format!("must be no more than {} characters", self.longest),
            ));
        }
        if self.pattern.as_ref().is_some_and(|pattern| !pattern.is_match(name)) {
            causes.push(Cause::invalid(field, &shown, self.message));
        }
    }
}

/// The key of a label or annotation: a name, or a prefix and a name.
pub(super) fn qualified(field: &str, key: &str, causes: &mut Vec<Cause>) {
    let name = match key.split_once('/') {
        None => key,
        Some((prefix, name)) => {
            let mut found = Vec::new();
            SUBDOMAIN.check(field, prefix, &mut found);
            causes.extend(found.into_iter().map(|_| {
                Cause::invalid(field, &Value::from(key), &format!("prefix part {}", SUBDOMAIN.message))
            }));
            name
        }
    };
    if name.is_empty() {
        causes.push(Cause::invalid(field, &Value::from(key), "name part must be non-empty"));
    }
    let mut found = Vec::new();
    QUALIFIED_NAME.check(field, name, &mut found);
    causes
        .extend(found.into_iter().map(|_| Cause::invalid(field, &Value::from(key), QUALIFIED_NAME.message)));
}
