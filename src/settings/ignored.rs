//! What is set and has no effect, so that a log line can name it.

use std::{collections::BTreeMap, fmt};

use super::{
    COMMAND_PARAMETERS_CONFIG_MAP, CONFIG_MAP, REPOSITORY_SECRETS, RawSecret, RawSettings, customizations,
    kustomize,
};

/// Something that is set and has no effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ignored {
    /// What: a key, a part of its value, or a Secret.
    pub place: String,
    /// Why it has no effect.
    pub why: &'static str,
}

impl fmt::Display for Ignored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.why)
    }
}

const NOT_YET: &str = "is not acted on yet";
const UNKNOWN: &str = "is not known: check its spelling";
const OWN_CLUSTER: &str = "only its labels are used, for the metric argocd_cluster_labels";
const CLUSTER: &str = "other clusters are not supported yet: Skiff manages the cluster that it runs in";

pub(super) const CONFIG_ACTED_ON: &[&str] = &[
    "application.instanceLabelKey",
    "application.resourceTrackingMethod",
    "application.sync.pruneGuard.enabled",
    "application.sync.pruneGuard.minimum",
    "application.sync.pruneGuard.percent",
    "globalProjects",
    "installationID",
    "kustomize.buildOptions",
    "resource.compareoptions",
    "resource.customizations",
    "resource.exclusions",
    "resource.inclusions",
    "timeout.reconciliation",
    "timeout.reconciliation.jitter",
];

/// Further keys of `argocd-cm` that Argo CD acts on; a trailing `*` stands for any rest.
const CONFIG_KNOWN: &[&str] = &[
    "accounts.*",
    "additionalUrls",
    "admin.enabled",
    "application.allowedNodeLabels",
    "application.links",
    "application.sync.impersonation.enabled",
    "application.sync.impersonation.enforced",
    "application.sync.requireOverridePrivilegeForRevisionSync",
    "cluster.inClusterEnabled",
    "commit.author.*",
    "dex.*",
    "exec.*",
    "extension.config*",
    "ga.*",
    "helm.*",
    "help.*",
    "jsonnet.enable",
    "kustomize.buildOptions.*",
    "kustomize.enable",
    "kustomize.path.*",
    "oidc.*",
    "passwordPattern",
    "project.links",
    "resource.customLabels",
    "resource.excludeEventLabelKeys",
    "resource.ignoreResourceUpdatesEnabled",
    "resource.includeEventLabelKeys",
    "resource.links",
    "resource.respectRBAC",
    "resource.sensitive.mask.annotations",
    "server.*",
    "sourceHydrator.*",
    "statusbadge.*",
    "timeout.hard.reconciliation",
    "ui.*",
    "url",
    "users.*",
    "webhook.*",
];

pub(super) const PARAMETERS_ACTED_ON: &[&str] = &[
    "application.namespaces",
    "controller.repo.server.timeout.seconds",
    "controller.self.heal.backoff.cap.seconds",
    "controller.self.heal.backoff.factor",
    "controller.self.heal.backoff.timeout.seconds",
    "controller.sync.timeout.seconds",
];

/// Further keys of `argocd-cmd-params-cm`, as [`CONFIG_KNOWN`].
const PARAMETERS_KNOWN: &[&str] = &[
    "applicationsetcontroller.*",
    "commit.server",
    "commitserver.*",
    "controller.*",
    "hydrator.enabled",
    "log.*",
    "notificationscontroller.*",
    "otlp.*",
    "redis.*",
    "repo.server",
    "reposerver.*",
    "server.*",
];

pub(super) fn find(raw: &RawSettings) -> Vec<Ignored> {
    let mut found = keys(CONFIG_MAP, &raw.config, CONFIG_ACTED_ON, CONFIG_KNOWN);
    found.extend(parts(&raw.config));
    let parameters = &raw.command_parameters;
    found.extend(keys(COMMAND_PARAMETERS_CONFIG_MAP, parameters, PARAMETERS_ACTED_ON, PARAMETERS_KNOWN));
    found.extend(raw.secrets.iter().filter_map(secret));
    found
}

fn keys(
    config_map: &'static str,
    data: &BTreeMap<String, String>,
    acted_on: &[&str],
    known: &[&str],
) -> Vec<Ignored> {
    data.keys()
        .filter(|key| !acted_on.contains(&key.as_str()) && customizations::is_acted_on(key) != Some(true))
        .map(|key| {
            let is_known = known.iter().any(|pattern| match pattern.strip_suffix('*') {
                Some(prefix) => key.starts_with(prefix),
                None => key == pattern,
            });
            let is_known = is_known || customizations::is_acted_on(key).is_some();
            let why = if is_known { NOT_YET } else { UNKNOWN };
            Ignored { place: format!("ConfigMap '{config_map}', key '{key}'"), why }
        })
        .collect()
}

/// Parts of the values of keys that are acted on in other parts.
fn parts(config: &BTreeMap<String, String>) -> Vec<Ignored> {
    type Parts = fn(&str) -> Vec<(String, &'static str)>;
    let readers: [(&str, Parts); 3] = [
        (kustomize::BUILD_OPTIONS, kustomize::flags_without_effect),
        (customizations::COMPARE_OPTIONS, |text| not_yet(customizations::options_without_effect(text))),
        (customizations::MAP, |text| not_yet(customizations::parts_without_effect(text))),
    ];
    let mut found = Vec::new();
    for (key, read) in readers {
        let parts = config.get(key).map(|text| read(text)).unwrap_or_default();
        found.extend(parts.into_iter().map(|(part, why)| Ignored {
            place: format!("ConfigMap '{CONFIG_MAP}', key '{key}', '{part}'"),
            why,
        }));
    }
    found
}

fn not_yet(parts: Vec<String>) -> Vec<(String, &'static str)> {
    parts.into_iter().map(|part| (part, NOT_YET)).collect()
}

fn secret(secret: &RawSecret) -> Option<Ignored> {
    let secret_type = secret.secret_type();
    if REPOSITORY_SECRETS.contains(&secret_type) {
        return None;
    }
    let (place, why) = match secret_type {
        "cluster" if secret.is_in_cluster() => (format!("Secret '{}'", secret.name), OWN_CLUSTER),
        "cluster" => (format!("Secret '{}'", secret.name), CLUSTER),
        other => (format!("Secret '{}' of type '{other}'", secret.name), NOT_YET),
    };
    Some(Ignored { place, why })
}
