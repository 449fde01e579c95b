//! Fields that are accepted but not acted on, each with the reason.
//!
//! Two tables for Applications, one for the spec and one for each of its sources, and one for AppProjects. Whoever
//! makes Skiff act on a field removes its row; until then the field becomes a condition of every Application that sets
//! it, or whose project does. `roles` of an AppProject has no row: it is for those who come through an API server.

use super::{AppProjectSpec, ApplicationSource, ApplicationSpec, names, omit, sync_options::SyncOptions};
use crate::object::Object;

/// A field that is set but not acted on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnsupportedField {
    /// The field's path, such as `spec.source.helm`.
    pub path: String,
    /// Why, and what happens instead.
    pub why: &'static str,
    /// Whether nothing may be synced because of it: the field restricts syncs, and one that it forbids would be unsafe.
    pub stops_syncs: bool,
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

impl<T> Row<T> {
    fn field(&self, path: String) -> UnsupportedField {
        UnsupportedField { path, why: self.why, stops_syncs: false }
    }
}

const SPEC: &[Row<ApplicationSpec>] = &[Row {
    path: "sourceHydrator",
    why: "the source hydrator is not supported yet: nothing is rendered into its branch",
    is_set: |spec| spec.source_hydrator.is_some(),
}];

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

/// What restricts syncs: none happens before it is obeyed.
const PROJECT_RESTRICTIONS: &[Row<AppProjectSpec>] = &[
    Row {
        path: "signatureKeys",
        why: "signatures are not checked yet: nothing is synced while the project asks for them",
        is_set: |spec| !spec.signature_keys.is_empty(),
    },
    Row {
        path: "sourceIntegrity",
        why: "signatures are not checked yet: nothing is synced while the project asks for them",
        is_set: |spec| spec.source_integrity.is_some(),
    },
];

const PROJECT: &[Row<AppProjectSpec>] = &[Row {
    path: "destinationServiceAccounts",
    why: "Skiff does not act as another service account yet: it acts as itself, as Argo CD does while impersonation is off",
    is_set: |spec| !spec.destination_service_accounts.is_empty(),
}];

const SYNC_OPTIONS: &[(&str, &str)] = &[
    ("Force=true", "has an effect on single objects only: set it in their annotation"),
    ("ServerSideApply=false", "is not supported: objects are always applied on the server side"),
];

const OBJECT_SYNC_OPTIONS: &[(&str, &str)] =
    &[("ServerSideApply=false", "is not supported: objects are always applied on the server side")];

/// The sync options of an object that are not acted on, each with the reason.
pub fn unsupported_object_options(object: &Object) -> Vec<String> {
    let options = SyncOptions::of_object(object);
    let known = OBJECT_SYNC_OPTIONS.iter().filter(|(token, _)| options.has(token)).copied();
    known.map(|(token, why)| format!("{}: {token} {why}", names::ANNOTATION_SYNC_OPTIONS)).collect()
}

const UNKNOWN: &str =
    "is not a sync option: nothing is synced before its spelling is corrected or it is taken out";

/// The sync options of an object that nobody knows, each with the remedy. Nothing is synced while there are any.
pub fn unknown_object_options(object: &Object) -> Vec<String> {
    let options = SyncOptions::of_object(object);
    let unknown =
        options.unknown().map(|token| format!("{}: {token} {UNKNOWN}", names::ANNOTATION_SYNC_OPTIONS));
    unknown.collect()
}

/// The sync options of an Application that nobody knows, each with the remedy. Nothing is synced while there are any.
pub fn unknown_options(spec: &ApplicationSpec) -> Vec<String> {
    let options = SyncOptions::new(spec.sync_options());
    let unknown = options.unknown().map(|token| format!("spec.syncPolicy.syncOptions: {token} {UNKNOWN}"));
    unknown.collect()
}

/// The fields that are set but not acted on, in the order of the tables.
pub fn unsupported_fields(spec: &ApplicationSpec) -> Vec<UnsupportedField> {
    let mut found = Vec::new();
    for row in SPEC.iter().filter(|row| (row.is_set)(spec)) {
        found.push(row.field(format!("spec.{}", row.path)));
    }
    let single = spec.source.iter().map(|source| ("spec.source".to_owned(), source));
    let several =
        spec.sources.iter().enumerate().map(|(index, source)| (format!("spec.sources[{index}]"), source));
    for (path, source) in single.chain(several) {
        for row in SOURCE.iter().filter(|row| (row.is_set)(source)) {
            found.push(row.field(format!("{path}.{}", row.path)));
        }
    }
    let options = SyncOptions::new(spec.sync_options());
    for (token, why) in SYNC_OPTIONS.iter().filter(|(token, _)| options.has(token)).copied() {
        let path = format!("spec.syncPolicy.syncOptions[{token}]");
        found.push(UnsupportedField { path, why, stops_syncs: false });
    }
    found
}

/// The fields of an AppProject that are set but not acted on, those that stop syncs first.
pub fn unsupported_project_fields(name: &str, spec: &AppProjectSpec) -> Vec<UnsupportedField> {
    let of = |rows: &'static [Row<AppProjectSpec>], stops_syncs| {
        rows.iter().filter(|row| (row.is_set)(spec)).map(move |row| UnsupportedField {
            stops_syncs,
            ..row.field(format!("AppProject '{name}': spec.{}", row.path))
        })
    };
    of(PROJECT_RESTRICTIONS, true).chain(of(PROJECT, false)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::{AppProject, Application};

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
    fn what_restricts_syncs_in_a_project_stops_them() {
        let spec = json!({
            "roles": [{ "name": "reader" }],
            "syncWindows": [{ "kind": "deny", "schedule": "* * * * *", "duration": "1h", "applications": ["*"] }],
            "signatureKeys": [{ "keyID": "4AEE18F83AFDEB23" }],
            "sourceIntegrity": { "git": { "policies": [] } },
            "destinationServiceAccounts": [{ "server": "*", "defaultServiceAccount": "deployer" }],
        });
        let project = AppProject::from_value(json!({ "spec": spec })).unwrap();
        let fields = unsupported_project_fields("shop", &project.spec);
        let found: Vec<_> = fields.iter().map(|field| (field.path.as_str(), field.stops_syncs)).collect();
        assert_eq!(
            found,
            [
                ("AppProject 'shop': spec.signatureKeys", true),
                ("AppProject 'shop': spec.sourceIntegrity", true),
                ("AppProject 'shop': spec.destinationServiceAccounts", false),
            ]
        );
    }

    #[test]
    fn every_field_is_named_by_its_path() {
        let spec = json!({
            "source": { "repoURL": "r", "helm": {}, "directory": { "jsonnet": { "libs": ["vendor"] } } },
            "sources": [{ "repoURL": "r", "chart": "c" }],
            "syncPolicy": { "syncOptions": ["Force=true", "CreateNamespaces=true"] },
        });
        assert_eq!(
            unsupported(&spec),
            [
                "spec.source.helm",
                "spec.source.directory.jsonnet",
                "spec.sources[0].chart",
                "spec.syncPolicy.syncOptions[Force=true]",
            ]
        );
        let application = Application::from_value(json!({ "spec": spec })).unwrap();
        assert_eq!(
            unknown_options(&application.spec),
            [
                "spec.syncPolicy.syncOptions: CreateNamespaces=true is not a sync option: nothing is synced before its \
              spelling is corrected or it is taken out"
            ]
        );
    }
}
