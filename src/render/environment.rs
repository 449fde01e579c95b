//! The build environment: `$ARGOCD_APP_NAME` and its like in values of the source.

use std::cell::Cell;

use super::RenderContext;
use crate::api::ApplicationSource;

/// The variables whose values are the commit begin with this.
pub(super) const REVISION: &str = "ARGOCD_APP_REVISION";

/// The variables and their values.
pub(super) struct Environment {
    variables: Vec<(&'static str, String)>,
    used_revision: Cell<bool>,
}

impl Environment {
    pub(super) fn new(source: &ApplicationSource, context: &RenderContext) -> Self {
        let short = |length| context.revision.chars().take(length).collect::<String>();
        let variables = vec![
            ("ARGOCD_APP_NAME", context.application_name.clone()),
            ("ARGOCD_APP_NAMESPACE", context.destination_namespace.clone()),
            ("ARGOCD_APP_PROJECT_NAME", context.project_name.clone()),
            (REVISION, context.revision.clone()),
            ("ARGOCD_APP_REVISION_SHORT", short(7)),
            ("ARGOCD_APP_REVISION_SHORT_8", short(8)),
            ("ARGOCD_APP_SOURCE_REPO_URL", source.repo_url.clone()),
            ("ARGOCD_APP_SOURCE_PATH", source.path.clone()),
            ("ARGOCD_APP_SOURCE_TARGET_REVISION", source.target_revision.clone()),
        ];
        Self { variables, used_revision: Cell::new(false) }
    }

    /// Whether a value was the commit's.
    pub(super) fn used_revision(&self) -> bool {
        self.used_revision.get()
    }

    /// Replaces `$NAME` and `${NAME}`; unknown names become nothing, `$$` becomes `$`, a lone `$` stays.
    pub(super) fn substitute(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            out.push_str(before);
            let (name, remainder) = name(after);
            match name {
                Some(name) => out.push_str(self.value(name)),
                None if after.len() == remainder.len() => out.push('$'),
                None => {}
            }
            rest = remainder;
        }
        out.push_str(rest);
        out
    }

    fn value(&self, name: &str) -> &str {
        if name == "$" {
            return "$";
        }
        if name.starts_with(REVISION) {
            self.used_revision.set(true);
        }
        self.variables.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| value)
    }
}

/// The name behind a `$`, as a shell would read it, and what follows it. Malformed braces are eaten.
fn name(after: &str) -> (Option<&str>, &str) {
    let is_special = |c: char| matches!(c, '*' | '#' | '$' | '@' | '!' | '?' | '-' | '0'..='9');
    if let Some(braced) = after.strip_prefix('{') {
        return match braced.split_once('}') {
            Some(("", rest)) => (None, rest),
            Some((name, rest)) => (Some(name), rest),
            None => (None, braced),
        };
    }
    let end = match after.chars().next() {
        Some(c) if is_special(c) => c.len_utf8(),
        _ => after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len()),
    };
    match after.split_at_checked(end) {
        Some((name, rest)) if !name.is_empty() => (Some(name), rest),
        _ => (None, after),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_replaced_as_a_shell_would() {
        let context = RenderContext {
            application_name: "orders".into(),
            revision: "0123456789abcdef".into(),
            ..RenderContext::default()
        };
        let source = ApplicationSource { path: "apps/orders".into(), ..ApplicationSource::default() };
        let environment = Environment::new(&source, &context);
        for (text, expected) in [
            ("$ARGOCD_APP_NAME-x", "orders-x"),
            ("${ARGOCD_APP_NAME}x", "ordersx"),
            ("$ARGOCD_APP_NAMEx", ""),
            ("$ARGOCD_APP_SOURCE_PATH", "apps/orders"),
            ("$$ARGOCD_APP_NAME", "$ARGOCD_APP_NAME"),
            ("5$ a$", "5$ a$"),
            ("a${}b${", "ab"),
            ("$1x", "x"),
            ("$é", "$é"),
        ] {
            assert_eq!(environment.substitute(text), expected, "{text}");
            assert!(!environment.used_revision(), "{text}");
        }
        assert_eq!(environment.substitute("$ARGOCD_APP_REVISION_SHORT"), "0123456");
        assert!(environment.used_revision());
    }
}
