//! Which objects of a namespace belong to nobody, as far as a project cares.

use crate::{
    api::OrphanedResourcesMonitorSettings,
    glob::{Dialect, Glob},
    object::ObjectKey,
};

/// What every cluster puts into its namespaces.
fn is_furniture(key: &ObjectKey) -> bool {
    match (key.group.as_str(), key.kind.as_str(), key.name.as_str()) {
        ("", "Service", "kubernetes") => key.namespace == "default",
        ("", "ServiceAccount", "default") | ("", "ConfigMap", "kube-root-ca.crt") => true,
        _ => false,
    }
}

/// `orphanedResources` of a project: what it leaves alone.
pub struct OrphanRules {
    ignored: Vec<[Glob; 3]>,
}

impl OrphanRules {
    /// Reads the rules. A pattern that is none matches nothing.
    pub fn new(settings: &OrphanedResourcesMonitorSettings) -> Self {
        let glob = |pattern: &str, empty: &str| {
            Glob::new(if pattern.is_empty() { empty } else { pattern }, Dialect::Plain).ok()
        };
        // An empty group is the core group, while an empty kind or name is any.
        let ignored = settings.ignore.iter().filter_map(|item| {
            Some([glob(&item.group, "")?, glob(&item.kind, "*")?, glob(&item.name, "*")?])
        });
        Self { ignored: ignored.collect() }
    }

    /// Whether an object that nobody owns and nobody tracks counts as an orphan.
    pub fn counts(&self, key: &ObjectKey) -> bool {
        let ignored = self.ignored.iter().any(|[group, kind, name]| {
            group.matches(&key.group) && kind.matches(&key.kind) && name.matches(&key.name)
        });
        !ignored && !is_furniture(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::OrphanedResourceKey;

    #[test]
    fn what_a_project_ignores_and_what_every_namespace_has_is_no_orphan() {
        let item = |group: &str, kind: &str, name: &str| OrphanedResourceKey {
            group: group.to_owned(),
            kind: kind.to_owned(),
            name: name.to_owned(),
        };
        let ignore = vec![item("", "Secret", "sh.helm.*"), item("apps", "", "")];
        let rules = OrphanRules::new(&OrphanedResourcesMonitorSettings { ignore, warn: None });
        let counts =
            |group: &str, kind: &str, name: &str| rules.counts(&ObjectKey::new(group, kind, "shop", name));
        assert!(counts("", "Secret", "mine"));
        assert!(!counts("", "Secret", "sh.helm.release.v1"));
        assert!(!counts("apps", "Deployment", "any"));
        assert!(counts("batch", "Job", "any"));
        assert!(!counts("", "ServiceAccount", "default") && !counts("", "ConfigMap", "kube-root-ca.crt"));
        assert!(counts("", "Service", "kubernetes"), "only in the namespace default");
    }
}
