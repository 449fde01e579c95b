//! Which objects a selective sync is about: `[!]GROUP:KIND:[NAMESPACE/]NAME`.

use super::AppError;
use crate::{
    api::{ResourceStatus, SyncOperationResource},
    glob::{Dialect, Glob},
};

/// A pattern over objects. Each part may be a glob.
#[derive(Clone, Debug)]
pub(super) struct ResourcePattern {
    is_exclusion: bool,
    group: Glob,
    kind: Glob,
    namespace: Option<Glob>,
    name: Glob,
}

impl ResourcePattern {
    /// Reads a pattern.
    pub fn parse(text: &str) -> Result<Self, AppError> {
        let usage = |why: &str| AppError::Usage {
            message: format!(
                "'{text}' is not a resource{why}: write 'GROUP:KIND:NAME' or 'GROUP:KIND:NAMESPACE/NAME'"
            ),
        };
        let (is_exclusion, rest) = match text.strip_prefix('!') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let parts: Vec<&str> = rest.splitn(3, ':').collect();
        let [group, kind, name] = parts.as_slice() else {
            return Err(usage(""));
        };
        let (namespace, name) = match name.split_once('/') {
            Some((namespace, name)) => (Some(namespace), name),
            None => (None, *name),
        };
        if kind.is_empty() || name.is_empty() {
            return Err(usage(""));
        }
        let glob = |pattern: &str| {
            Glob::new(pattern, Dialect::Plain).map_err(|error| usage(&format!(" ({})", error.reason)))
        };
        Ok(Self {
            is_exclusion,
            group: glob(group)?,
            kind: glob(kind)?,
            namespace: namespace.map(glob).transpose()?,
            name: glob(name)?,
        })
    }

    fn matches(&self, resource: &ResourceStatus) -> bool {
        self.group.matches(&resource.group)
            && self.kind.matches(&resource.kind)
            && self.name.matches(&resource.name)
            && self.namespace.as_ref().is_none_or(|namespace| namespace.matches(&resource.namespace))
    }
}

/// The objects that match any pattern and no exclusion; with exclusions only, all others.
pub(super) fn select(
    patterns: &[ResourcePattern],
    resources: &[ResourceStatus],
) -> Vec<SyncOperationResource> {
    let has_inclusion = patterns.iter().any(|pattern| !pattern.is_exclusion);
    resources
        .iter()
        .filter(|resource| !resource.hook)
        .filter(|resource| {
            let any = |exclusion: bool| {
                patterns.iter().any(|pattern| pattern.is_exclusion == exclusion && pattern.matches(resource))
            };
            (any(false) || !has_inclusion) && !any(true)
        })
        .map(|resource| SyncOperationResource {
            group: resource.group.clone(),
            kind: resource.kind.clone(),
            name: resource.name.clone(),
            namespace: resource.namespace.clone(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selected(patterns: &[&str]) -> Vec<String> {
        let resource = |group: &str, kind: &str, name: &str| ResourceStatus {
            group: group.to_owned(),
            kind: kind.to_owned(),
            name: name.to_owned(),
            namespace: "shop".to_owned(),
            ..ResourceStatus::default()
        };
        let resources = [
            resource("apps", "Deployment", "orders"),
            resource("", "Service", "orders"),
            resource("", "ConfigMap", "a"),
        ];
        let patterns: Vec<_> = patterns.iter().map(|text| ResourcePattern::parse(text).unwrap()).collect();
        select(&patterns, &resources).into_iter().map(|resource| resource.kind).collect()
    }

    #[test]
    fn patterns_choose_objects() {
        assert_eq!(selected(&["apps:Deployment:orders"]), ["Deployment"]);
        assert_eq!(selected(&[":Service:shop/orders"]), ["Service"]);
        assert_eq!(selected(&[":Service:other/orders"]), Vec::<String>::new());
        assert_eq!(selected(&["*:*:orders"]), ["Deployment", "Service"]);
    }

    #[test]
    fn an_exclamation_mark_leaves_objects_out() {
        assert_eq!(selected(&["!apps:Deployment:orders"]), ["Service", "ConfigMap"]);
        assert_eq!(selected(&["*:*:*", "!:ConfigMap:*"]), ["Deployment", "Service"]);
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["Deployment", "apps:Deployment", "apps::x", "apps:Deployment:", "a:b:[x"] {
            assert!(ResourcePattern::parse(text).unwrap_err().to_string().contains("GROUP:KIND"), "{text}");
        }
    }
}
