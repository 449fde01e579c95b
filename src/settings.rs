//! Argo CD's settings as typed values.
//!
//! ```text
//! ConfigMaps, Secrets ──RawSettings──▶ Settings::read ──▶ Settings + problems
//!                                          ▲
//!                                  last good Settings
//! ```
//!
//! Reading is pure; watching the objects is the controller's part. A value that cannot be read keeps its last good
//! value and gives a [`SettingsProblem`] with ConfigMap, key and line: a typing error never changes how an installation
//! behaves. Keys that Skiff knows but does not act on are listed in [`Settings::ignored`], and so are keys that nobody
//! knows. Values of Secrets are [`Masked`].

mod clusters;
mod customizations;
mod ignored;
mod namespaces;
mod reader;
mod resource_filter;
mod values;

use std::{collections::BTreeMap, time::Duration};

pub use clusters::ClusterSecret;
pub use customizations::{CompareOptions, IgnoreStatus};
pub use ignored::IgnoredKey;
pub use namespaces::NamespacePatterns;
pub use reader::SettingsProblem;
pub use resource_filter::ResourceFilter;

use self::reader::Reader;
use crate::{
    api::{ResourceIgnoreDifferences, names, tracking::TrackingMethod},
    masked::Masked,
};

/// The ConfigMap with most settings.
pub const CONFIG_MAP: &str = "argocd-cm";
/// The ConfigMap with the settings that are process options in Argo CD.
pub const COMMAND_PARAMETERS_CONFIG_MAP: &str = "argocd-cmd-params-cm";
/// The ConfigMap with known SSH hosts.
pub const KNOWN_HOSTS_CONFIG_MAP: &str = "argocd-ssh-known-hosts-cm";
/// The ConfigMap with certificate authorities by host name.
pub const TLS_CERTIFICATES_CONFIG_MAP: &str = "argocd-tls-certs-cm";

/// The ConfigMaps' and Secrets' data as read from the cluster.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RawSettings {
    /// `argocd-cm`.
    pub config: BTreeMap<String, String>,
    /// `argocd-cmd-params-cm`.
    pub command_parameters: BTreeMap<String, String>,
    /// `argocd-ssh-known-hosts-cm`.
    pub known_hosts: BTreeMap<String, String>,
    /// `argocd-tls-certs-cm`.
    pub tls_certificates: BTreeMap<String, String>,
    /// The Secrets with the label `argocd.argoproj.io/secret-type`.
    pub secrets: Vec<RawSecret>,
}

/// A Secret with the label `argocd.argoproj.io/secret-type`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RawSecret {
    /// Name.
    pub name: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// The decoded data.
    pub data: BTreeMap<String, Masked<Vec<u8>>>,
}

impl RawSecret {
    /// What the Secret holds: `repository`, `repo-creds`, `cluster`…
    pub fn secret_type(&self) -> &str {
        self.labels.get(names::LABEL_SECRET_TYPE).map_or("", String::as_str)
    }
}

/// How often Applications are compared without an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reconciliation {
    /// `timeout.reconciliation`: how old a revision may become. Zero never looks again by itself.
    pub timeout: Duration,
    /// `timeout.reconciliation.jitter`: the longest random addition.
    pub jitter: Duration,
    /// `timeout.hard.reconciliation`: how old a render may become. Zero never renders again by itself.
    pub hard_timeout: Duration,
}

/// The delay between two attempts to put drift back.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SelfHealBackoff {
    /// The delay before the second attempt; there is none before the first.
    pub initial: Duration,
    /// What the delay is multiplied with after every attempt.
    pub factor: f64,
    /// The longest delay.
    pub cap: Duration,
}

/// The options of the controller.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ControllerSettings {
    /// `controller.status.processors`: Applications that are compared at a time.
    pub status_processors: usize,
    /// `controller.operation.processors`: Applications that are synced at a time.
    pub operation_processors: usize,
    /// The delay between two attempts to put drift back.
    pub self_heal: SelfHealBackoff,
    /// `controller.sync.timeout.seconds`: when a sync is stopped; never when absent.
    pub sync_timeout: Option<Duration>,
    /// `controller.sync.wave.delay.seconds`: the pause between two waves.
    pub wave_delay: Duration,
    /// `controller.kubectl.parallelism.limit`: objects that are applied at a time.
    pub apply_parallelism: usize,
    /// `controller.repo.error.grace.period.seconds`: how long a failing repository goes unmentioned.
    pub repository_error_grace: Duration,
    /// `controller.ignore.normalizer.jq.timeout`: how long one jq expression may run.
    pub jq_timeout: Duration,
    /// `controller.resource.health.persist`: whether each resource's health is written into the status.
    pub persist_resource_health: bool,
}

/// The options of access to repositories.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RepositorySettings {
    /// `reposerver.git.request.timeout`: how long one listing of references may take.
    pub git_request_timeout: Duration,
    /// `reposerver.git.lsremote.parallelism.limit`: listings at a time; absent for no limit.
    pub git_list_parallelism: Option<usize>,
    /// `reposerver.max.combined.directory.manifests.size`: how many bytes of plain manifests one Application may have.
    pub max_directory_bytes: usize,
    /// `reposerver.include.hidden.directories`: whether directories with a leading dot are read.
    pub include_hidden_directories: bool,
}

/// Everything that an installation can set.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How often Applications are compared without an event.
    pub reconciliation: Reconciliation,
    /// `application.resourceTrackingMethod`: how objects are marked.
    pub tracking_method: TrackingMethod,
    /// `application.instanceLabelKey`: the label of tracking by label.
    pub instance_label_key: String,
    /// `installationID`: tells several installations in one cluster apart; empty for one.
    pub installation_id: String,
    /// `resource.exclusions` and `resource.inclusions`.
    pub resource_filter: ResourceFilter,
    /// `resource.compareoptions`.
    pub compare_options: CompareOptions,
    /// The fields that every Application ignores, from `resource.customizations`.
    pub ignore_differences: Vec<ResourceIgnoreDifferences>,
    /// The fields whose change in a live object is no event, from `resource.customizations`; empty when
    /// `resource.ignoreResourceUpdatesEnabled` is false.
    pub ignore_resource_updates: Vec<ResourceIgnoreDifferences>,
    /// `kustomize.enable`: whether Kustomize trees are recognised.
    pub kustomize_enabled: bool,
    /// `kustomize.buildOptions`, word by word.
    pub kustomize_build_options: Vec<String>,
    /// `cluster.inClusterEnabled`: whether the agent's own cluster is a destination.
    pub in_cluster_enabled: bool,
    /// `application.namespaces`: where Applications may live besides the agent's namespace.
    pub application_namespaces: NamespacePatterns,
    /// The options of the controller.
    pub controller: ControllerSettings,
    /// The options of access to repositories.
    pub repositories: RepositorySettings,
    /// `metrics.application.labels`: labels of Applications that become labels of `argocd_app_labels`.
    pub metrics_application_labels: Vec<String>,
    /// `metrics.application.conditions`: condition types that are counted in `argocd_app_condition`.
    pub metrics_application_conditions: Vec<String>,
    /// The known SSH hosts, as OpenSSH writes them.
    pub known_hosts: String,
    /// Certificate authorities as PEM, by host name.
    pub tls_certificates: BTreeMap<String, String>,
    /// Secrets of the types `repository` and `repo-creds`.
    pub repository_secrets: Vec<RawSecret>,
    /// Clusters that Secrets declare.
    pub clusters: Vec<ClusterSecret>,
    /// Keys that have no effect.
    pub ignored: Vec<IgnoredKey>,
}

impl Default for Settings {
    /// What holds when nothing is set.
    fn default() -> Self {
        Self {
            reconciliation: Reconciliation {
                timeout: Duration::from_secs(120),
                jitter: Duration::from_secs(60),
                hard_timeout: Duration::ZERO,
            },
            tracking_method: TrackingMethod::Annotation,
            instance_label_key: names::LABEL_INSTANCE.to_owned(),
            installation_id: String::new(),
            resource_filter: ResourceFilter::default(),
            compare_options: CompareOptions::default(),
            ignore_differences: Vec::new(),
            ignore_resource_updates: Vec::new(),
            kustomize_enabled: true,
            kustomize_build_options: Vec::new(),
            in_cluster_enabled: true,
            application_namespaces: NamespacePatterns::default(),
            controller: ControllerSettings {
                status_processors: 20,
                operation_processors: 10,
                self_heal: SelfHealBackoff {
                    initial: Duration::from_secs(2),
                    factor: 3.0,
                    cap: Duration::from_secs(300),
                },
                sync_timeout: None,
                wave_delay: Duration::from_secs(2),
                apply_parallelism: 20,
                repository_error_grace: Duration::from_secs(180),
                jq_timeout: Duration::from_secs(1),
                persist_resource_health: false,
            },
            repositories: RepositorySettings {
                git_request_timeout: Duration::from_secs(15),
                git_list_parallelism: None,
                max_directory_bytes: 10 << 20,
                include_hidden_directories: false,
            },
            metrics_application_labels: Vec::new(),
            metrics_application_conditions: Vec::new(),
            known_hosts: String::new(),
            tls_certificates: BTreeMap::new(),
            repository_secrets: Vec::new(),
            clusters: Vec::new(),
            ignored: Vec::new(),
        }
    }
}

impl Settings {
    /// Reads what is there. A key that is absent or empty has its default; one that cannot be read has the value that it
    /// has in `last_good`, and a problem.
    pub fn read(raw: &RawSettings, last_good: &Self) -> (Self, Vec<SettingsProblem>) {
        let default = Self::default();
        let mut problems = Vec::new();
        let mut config = Reader::new(CONFIG_MAP, &raw.config, &mut problems);
        let (last, base) = (&last_good.reconciliation, &default.reconciliation);
        let reconciliation = Reconciliation {
            timeout: config.read("timeout.reconciliation", last.timeout, base.timeout, values::duration),
            jitter: config.read("timeout.reconciliation.jitter", last.jitter, base.jitter, values::duration),
            hard_timeout: config.read(
                "timeout.hard.reconciliation",
                last.hard_timeout,
                base.hard_timeout,
                values::duration,
            ),
        };
        let tracking_method = config.read(
            "application.resourceTrackingMethod",
            last_good.tracking_method,
            default.tracking_method,
            values::name,
        );
        let instance_label_key = config.read(
            "application.instanceLabelKey",
            last_good.instance_label_key.clone(),
            default.instance_label_key,
            values::label_key,
        );
        let installation_id = raw.config.get("installationID").cloned().unwrap_or_default();
        let resource_filter = resource_filter::read(&mut config, &last_good.resource_filter);
        let compare_options = config.read(
            "resource.compareoptions",
            last_good.compare_options,
            default.compare_options,
            CompareOptions::parse,
        );
        let rules = customizations::read(&mut config, last_good);
        let kustomize_enabled =
            config.read("kustomize.enable", last_good.kustomize_enabled, true, values::boolean);
        let kustomize_build_options = raw
            .config
            .get("kustomize.buildOptions")
            .map(|text| text.split_whitespace().map(str::to_owned).collect())
            .unwrap_or_default();
        let in_cluster_enabled =
            config.read("cluster.inClusterEnabled", last_good.in_cluster_enabled, true, values::boolean);

        let mut parameters =
            Reader::new(COMMAND_PARAMETERS_CONFIG_MAP, &raw.command_parameters, &mut problems);
        let application_namespaces = parameters.read(
            "application.namespaces",
            last_good.application_namespaces.clone(),
            default.application_namespaces,
            NamespacePatterns::parse,
        );
        let controller =
            ControllerSettings::read(&mut parameters, &last_good.controller, &default.controller);
        let repositories =
            RepositorySettings::read(&mut parameters, &last_good.repositories, &default.repositories);
        let (clusters, mut cluster_problems) = clusters::read(&raw.secrets);
        problems.append(&mut cluster_problems);

        let settings = Self {
            reconciliation,
            tracking_method,
            instance_label_key,
            installation_id,
            resource_filter,
            compare_options,
            ignore_differences: rules.ignore_differences,
            ignore_resource_updates: rules.ignore_resource_updates,
            kustomize_enabled,
            kustomize_build_options,
            in_cluster_enabled,
            application_namespaces,
            controller,
            repositories,
            metrics_application_labels: values::list(
                &raw.command_parameters,
                "controller.metrics.application.labels",
            ),
            metrics_application_conditions: values::list(
                &raw.command_parameters,
                "controller.metrics.application.conditions",
            ),
            known_hosts: raw.known_hosts.get("ssh_known_hosts").cloned().unwrap_or_default(),
            tls_certificates: raw.tls_certificates.clone(),
            repository_secrets: raw
                .secrets
                .iter()
                .filter(|secret| ["repository", "repo-creds"].contains(&secret.secret_type()))
                .cloned()
                .collect(),
            clusters,
            ignored: ignored::keys(raw),
        };
        (settings, problems)
    }
}

impl ControllerSettings {
    fn read(parameters: &mut Reader<'_>, last: &Self, default: &Self) -> Self {
        let mut count = |key, last, default| parameters.read(key, last, default, values::count);
        let status_processors =
            count("controller.status.processors", last.status_processors, default.status_processors);
        let operation_processors =
            count("controller.operation.processors", last.operation_processors, default.operation_processors);
        let apply_parallelism =
            count("controller.kubectl.parallelism.limit", last.apply_parallelism, default.apply_parallelism);
        let mut seconds = |key, last, default| parameters.read(key, last, default, values::seconds);
        let initial = seconds(
            "controller.self.heal.backoff.timeout.seconds",
            last.self_heal.initial,
            default.self_heal.initial,
        );
        let cap =
            seconds("controller.self.heal.backoff.cap.seconds", last.self_heal.cap, default.self_heal.cap);
        let sync_timeout =
            seconds("controller.sync.timeout.seconds", last.sync_timeout.unwrap_or_default(), Duration::ZERO);
        let wave_delay = seconds("controller.sync.wave.delay.seconds", last.wave_delay, default.wave_delay);
        let repository_error_grace = seconds(
            "controller.repo.error.grace.period.seconds",
            last.repository_error_grace,
            default.repository_error_grace,
        );
        let factor = parameters.read(
            "controller.self.heal.backoff.factor",
            last.self_heal.factor,
            default.self_heal.factor,
            values::factor,
        );
        let jq_timeout = parameters.read(
            "controller.ignore.normalizer.jq.timeout",
            last.jq_timeout,
            default.jq_timeout,
            values::duration,
        );
        let persist_resource_health = parameters.read(
            "controller.resource.health.persist",
            last.persist_resource_health,
            default.persist_resource_health,
            values::boolean,
        );
        Self {
            status_processors,
            operation_processors,
            self_heal: SelfHealBackoff { initial, factor, cap },
            sync_timeout: (!sync_timeout.is_zero()).then_some(sync_timeout),
            wave_delay,
            apply_parallelism,
            repository_error_grace,
            jq_timeout,
            persist_resource_health,
        }
    }
}

impl RepositorySettings {
    fn read(parameters: &mut Reader<'_>, last: &Self, default: &Self) -> Self {
        Self {
            git_request_timeout: parameters.read(
                "reposerver.git.request.timeout",
                last.git_request_timeout,
                default.git_request_timeout,
                values::duration,
            ),
            git_list_parallelism: parameters.read(
                "reposerver.git.lsremote.parallelism.limit",
                last.git_list_parallelism,
                default.git_list_parallelism,
                values::limit,
            ),
            max_directory_bytes: parameters.read(
                "reposerver.max.combined.directory.manifests.size",
                last.max_directory_bytes,
                default.max_directory_bytes,
                values::bytes,
            ),
            include_hidden_directories: parameters.read(
                "reposerver.include.hidden.directories",
                last.include_hidden_directories,
                default.include_hidden_directories,
                values::boolean,
            ),
        }
    }
}

#[cfg(test)]
mod tests;
