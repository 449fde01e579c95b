//! Fields that are accepted but not acted on, each with the reason.
//!
//! Two tables, one for the spec and one for each of its sources. Whoever makes Skiff act on a field removes its row;
//! until then the field becomes a condition of every Application that sets it.

use super::{ApplicationSource, ApplicationSpec, omit, sync_options::SyncOptions};

/// A field that is set but not acted on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnsupportedField {
    /// The field's path, such as `spec.source.helm`.
    pub path: String,
    /// Why, and what happens instead.
    pub why: &'static str,
}

impl std::fmt::Display for UnsupportedField {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.path, self.why)
    }
}

struct Row<T> {
    path: &'static str,
    why: &'static str,
    is_set: fn(&T) -> bool,
}

const SPEC: &[Row<ApplicationSpec>] = &[
    Row {
        path: "sourceHydrator",
        why: "the source hydrator is not supported yet: nothing is rendered into its branch",
        is_set: |spec| spec.source_hydrator.is_some(),
    },
    Row {
        path: "sources",
        why: "several sources are not supported yet: use 'spec.source'",
        is_set: |spec| !spec.sources.is_empty(),
    },
    Row {
        path: "syncPolicy.managedNamespaceMetadata",
        why: "labels and annotations of the created namespace are not supported yet: they are not set",
        is_set: |spec| {
            spec.sync_policy.as_ref().is_some_and(|policy| policy.managed_namespace_metadata.is_some())
        },
    },
];

const SOURCE: &[Row<ApplicationSource>] = &[
    Row {
        path: "chart",
        why: "Helm charts are not supported yet",
        is_set: |source| !source.chart.is_empty(),
    },
    Row { path: "helm", why: "Helm charts are not supported yet", is_set: |source| source.helm.is_some() },
    Row {
        path: "plugin",
        why: "config management plugins are not supported: Skiff runs no other program",
        is_set: |source| source.plugin.is_some(),
    },
    Row {
        path: "directory.jsonnet",
        why: "Jsonnet is not supported yet: its options have no effect",
        is_set: |source| source.directory.as_ref().is_some_and(|directory| !omit::zero(&directory.jsonnet)),
    },
    Row {
        path: "kustomize.version",
        why: "Skiff has one Kustomize engine of its own: the version has no effect",
        is_set: |source| source.kustomize.as_ref().is_some_and(|kustomize| !kustomize.version.is_empty()),
    },
    Row {
        path: "kustomize.kubeVersion",
        why: "Helm charts inside of a Kustomize tree are not supported yet: the version has no effect",
        is_set: |source| {
            source.kustomize.as_ref().is_some_and(|kustomize| !kustomize.kube_version.is_empty())
        },
    },
    Row {
        path: "kustomize.apiVersions",
        why: "Helm charts inside of a Kustomize tree are not supported yet: the versions have no effect",
        is_set: |source| {
            source.kustomize.as_ref().is_some_and(|kustomize| !kustomize.api_versions.is_empty())
        },
    },
];

const SYNC_OPTIONS: &[(&str, &str)] = &[
    ("ApplyOutOfSyncOnly=true", "is not supported yet: every object is applied"),
    (
        "ClientSideApplyMigration=false",
        "is not supported yet: the fields of a client-side apply are taken over",
    ),
    ("Delete=confirm", "is not supported yet: deletion does not wait for a confirmation"),
    ("FailOnSharedResource=true", "is not supported yet: a shared object gives a warning"),
    ("Force=true", "has a meaning for single objects only, and is not supported yet"),
    ("Prune=confirm", "is not supported yet: the object is not pruned"),
    ("PruneLast=true", "is not supported yet: objects are pruned with the rest"),
    ("Replace=true", "is not supported yet: objects are applied on the server side"),
    ("RespectIgnoreDifferences=true", "is not supported yet: ignored fields are applied as declared"),
    ("ServerSideApply=false", "is not supported: objects are always applied on the server side"),
    ("SkipDryRunOnMissingResource=true", "is not supported yet"),
    ("Validate=false", "is not supported yet: fields are checked"),
];

/// The fields that are set but not acted on, in the order of the tables.
pub fn unsupported_fields(spec: &ApplicationSpec) -> Vec<UnsupportedField> {
    let mut found = Vec::new();
    for row in SPEC.iter().filter(|row| (row.is_set)(spec)) {
        found.push(UnsupportedField { path: format!("spec.{}", row.path), why: row.why });
    }
    let single = spec.source.iter().map(|source| ("spec.source".to_owned(), source));
    let several =
        spec.sources.iter().enumerate().map(|(index, source)| (format!("spec.sources[{index}]"), source));
    for (path, source) in single.chain(several) {
        for row in SOURCE.iter().filter(|row| (row.is_set)(source)) {
            found.push(UnsupportedField { path: format!("{path}.{}", row.path), why: row.why });
        }
    }
    let options = SyncOptions::new(spec.sync_options());
    let known = SYNC_OPTIONS.iter().filter(|(token, _)| options.has(token)).copied();
    let unknown = options.unknown().map(|token| (token, "is not a sync option: check its spelling"));
    for (token, why) in known.chain(unknown) {
        found.push(UnsupportedField { path: format!("spec.syncPolicy.syncOptions[{token}]"), why });
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::Application;

    fn unsupported(spec: &serde_json::Value) -> Vec<String> {
        let application = Application::from_value(json!({ "spec": spec })).unwrap();
        unsupported_fields(&application.spec).into_iter().map(|field| field.path).collect()
    }

    #[test]
    fn a_plain_application_has_none() {
        let spec = json!({
            "project": "default",
            "destination": { "server": "https://kubernetes.default.svc" },
            "source": { "repoURL": "https://example.com/r.git", "path": "a", "directory": { "recurse": true } },
            "syncPolicy": { "syncOptions": ["CreateNamespace=true", "ServerSideApply=true"] },
        });
        assert_eq!(unsupported(&spec), Vec::<String>::new());
    }

    #[test]
    fn every_field_is_named_by_its_path() {
        let spec = json!({
            "source": { "repoURL": "r", "helm": {}, "directory": { "jsonnet": { "libs": ["vendor"] } } },
            "sources": [{ "repoURL": "r", "chart": "c" }],
            "syncPolicy": { "syncOptions": ["Replace=true", "CreateNamespaces=true"] },
        });
        assert_eq!(
            unsupported(&spec),
            [
                "spec.sources",
                "spec.source.helm",
                "spec.source.directory.jsonnet",
                "spec.sources[0].chart",
                "spec.syncPolicy.syncOptions[Replace=true]",
                "spec.syncPolicy.syncOptions[CreateNamespaces=true]",
            ]
        );
    }
}
