//! Keys that have no effect, so that a log line can name them.

use std::{collections::BTreeMap, fmt};

use super::{COMMAND_PARAMETERS_CONFIG_MAP, CONFIG_MAP, RawSettings, customizations};

/// A key that is set and has no effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IgnoredKey {
    /// The ConfigMap.
    pub config_map: &'static str,
    /// The key.
    pub key: String,
    /// Whether Argo CD acts on it.
    pub is_known: bool,
}

impl fmt::Display for IgnoredKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = if self.is_known { "is not acted on yet" } else { "is not known: check its spelling" };
        write!(f, "ConfigMap '{}', key '{}' {why}", self.config_map, self.key)
    }
}

const CONFIG_ACTED_ON: &[&str] = &[
    "application.instanceLabelKey",
    "application.resourceTrackingMethod",
    "cluster.inClusterEnabled",
    "installationID",
    "kustomize.buildOptions",
    "kustomize.enable",
    "resource.compareoptions",
    "resource.customizations",
    "resource.exclusions",
    "resource.ignoreResourceUpdatesEnabled",
    "resource.inclusions",
    "timeout.hard.reconciliation",
    "timeout.reconciliation",
    "timeout.reconciliation.jitter",
];

/// Keys of `argocd-cm` that Argo CD acts on; a trailing `*` stands for any rest.
const CONFIG_KNOWN: &[&str] = &[
    "accounts.*",
    "additionalUrls",
    "admin.enabled",
    "application.allowedNodeLabels",
    "application.links",
    "application.sync.impersonation.enabled",
    "application.sync.impersonation.enforced",
    "application.sync.requireOverridePrivilegeForRevisionSync",
    "commit.author.*",
    "dex.*",
    "exec.*",
    "extension.config*",
    "ga.*",
    "globalProjects",
    "helm.*",
    "help.*",
    "jsonnet.enable",
    "kustomize.buildOptions.*",
    "kustomize.path.*",
    "oidc.*",
    "passwordPattern",
    "project.links",
    "resource.customLabels",
    "resource.excludeEventLabelKeys",
    "resource.includeEventLabelKeys",
    "resource.links",
    "resource.respectRBAC",
    "resource.sensitive.mask.annotations",
    "server.*",
    "sourceHydrator.*",
    "statusbadge.*",
    "ui.*",
    "url",
    "users.*",
    "webhook.*",
];

const PARAMETERS_ACTED_ON: &[&str] = &[
    "application.namespaces",
    "controller.ignore.normalizer.jq.timeout",
    "controller.kubectl.parallelism.limit",
    "controller.metrics.application.conditions",
    "controller.metrics.application.labels",
    "controller.operation.processors",
    "controller.repo.error.grace.period.seconds",
    "controller.resource.health.persist",
    "controller.self.heal.backoff.cap.seconds",
    "controller.self.heal.backoff.factor",
    "controller.self.heal.backoff.timeout.seconds",
    "controller.status.processors",
    "controller.sync.timeout.seconds",
    "controller.sync.wave.delay.seconds",
    "reposerver.git.lsremote.parallelism.limit",
    "reposerver.git.request.timeout",
    "reposerver.include.hidden.directories",
    "reposerver.max.combined.directory.manifests.size",
];

/// Prefixes of the keys of `argocd-cmd-params-cm`, as [`CONFIG_KNOWN`].
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

pub(super) fn keys(raw: &RawSettings) -> Vec<IgnoredKey> {
    let config = (CONFIG_MAP, &raw.config, CONFIG_ACTED_ON, CONFIG_KNOWN);
    let parameters =
        (COMMAND_PARAMETERS_CONFIG_MAP, &raw.command_parameters, PARAMETERS_ACTED_ON, PARAMETERS_KNOWN);
    [config, parameters]
        .into_iter()
        .flat_map(|(config_map, data, acted_on, known)| without_effect(config_map, data, acted_on, known))
        .collect()
}

fn without_effect(
    config_map: &'static str,
    data: &BTreeMap<String, String>,
    acted_on: &[&str],
    known: &[&str],
) -> Vec<IgnoredKey> {
    data.keys()
        .filter(|key| !acted_on.contains(&key.as_str()) && customizations::is_acted_on(key) != Some(true))
        .map(|key| {
            let is_known = known.iter().any(|pattern| match pattern.strip_suffix('*') {
                Some(prefix) => key.starts_with(prefix),
                None => key == pattern,
            });
            let is_known = is_known || customizations::is_acted_on(key).is_some();
            IgnoredKey { config_map, key: key.clone(), is_known }
        })
        .collect()
}
