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
//! behaves. Whatever else is set has no effect and is listed in [`Settings::ignored`]: keys, parts of keys, and Secrets
//! that Skiff does not act on yet, and keys that nobody knows. Values of Secrets are [`Masked`].

mod customizations;
mod global_projects;
mod health_scripts;
mod ignored;
mod kustomize;
mod namespaces;
mod reader;
mod resource_filter;
mod values;

use std::{collections::BTreeMap, time::Duration};

pub use global_projects::GlobalProject;
pub use ignored::Ignored;
pub use kustomize::BuildOptions;
pub use namespaces::NamespacePatterns;
pub use reader::SettingsProblem;
pub use resource_filter::ResourceFilter;

use self::reader::Reader;
use crate::{
    api::{ResourceIgnoreDifferences, names, tracking::TrackingMethod},
    compare::CompareOptions,
    health::Scripts,
    masked::Masked,
    sync::{auto::SelfHealBackoff, guard::PruneGuard},
};

/// The ConfigMap with most settings.
pub const CONFIG_MAP: &str = "argocd-cm";
/// The ConfigMap with the settings that are process options in Argo CD.
pub const COMMAND_PARAMETERS_CONFIG_MAP: &str = "argocd-cmd-params-cm";
/// The ConfigMap with known SSH hosts.
pub const KNOWN_HOSTS_CONFIG_MAP: &str = "argocd-ssh-known-hosts-cm";
/// The ConfigMap with certificate authorities by host name.
pub const TLS_CERTIFICATES_CONFIG_MAP: &str = "argocd-tls-certs-cm";

/// Types of Secrets that give access to repositories.
const REPOSITORY_SECRETS: &[&str] = &["repository", "repo-creds"];

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
    /// The decoded data.
    pub data: BTreeMap<String, Masked<Vec<u8>>>,
}

impl RawSecret {
    /// What the Secret holds: `repository`, `repo-creds`, `cluster`…
    pub fn secret_type(&self) -> &str {
        self.labels.get(names::LABEL_SECRET_TYPE).map_or("", String::as_str)
    }

    /// Whether this is the Secret of the cluster that the agent runs in.
    fn is_in_cluster(&self) -> bool {
        let server = self.data.get("server").map(|server| server.reveal().trim_ascii());
        self.secret_type() == "cluster" && server == Some(names::IN_CLUSTER_SERVER.as_bytes())
    }
}

/// How often Applications are compared without an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reconciliation {
    /// `timeout.reconciliation`: how old a revision may become. Zero never looks again by itself.
    pub timeout: Duration,
    /// `timeout.reconciliation.jitter`: the longest random addition.
    pub jitter: Duration,
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
    /// The installation's own health checks, from `resource.customizations`.
    pub health_scripts: Scripts,
    /// The fields that every Application ignores, from `resource.customizations`.
    pub ignore_differences: Vec<ResourceIgnoreDifferences>,
    /// `kustomize.buildOptions`.
    pub kustomize: BuildOptions,
    /// `globalProjects`: the AppProjects whose rules others inherit.
    pub global_projects: Vec<GlobalProject>,
    /// `application.namespaces`: where Applications may live besides the agent's namespace.
    pub application_namespaces: NamespacePatterns,
    /// `controller.self.heal.backoff.*`: the delay between two attempts to put drift back.
    pub self_heal_backoff: SelfHealBackoff,
    /// `controller.sync.timeout.seconds`: how long an operation may take; zero for any time.
    pub sync_timeout: Duration,
    /// `application.sync.pruneGuard.*`: when a sync that would delete much has to be approved.
    pub prune_guard: PruneGuard,
    /// `controller.repo.server.timeout.seconds`: how long rendering one Application may take.
    pub render_timeout: Duration,
    /// Labels of the Secret of the cluster that the agent runs in, where it has one.
    pub cluster_labels: BTreeMap<String, String>,
    /// The known SSH hosts, as OpenSSH writes them.
    pub known_hosts: String,
    /// Certificate authorities as PEM, by host name.
    pub tls_certificates: BTreeMap<String, String>,
    /// Secrets of the types `repository` and `repo-creds`.
    pub repository_secrets: Vec<RawSecret>,
    /// What is set and has no effect.
    pub ignored: Vec<Ignored>,
}

impl Default for Settings {
    /// What holds when nothing is set.
    fn default() -> Self {
        Self {
            reconciliation: Reconciliation {
                timeout: Duration::from_secs(120),
                jitter: Duration::from_secs(60),
            },
            tracking_method: TrackingMethod::Annotation,
            instance_label_key: names::LABEL_INSTANCE.to_owned(),
            installation_id: String::new(),
            resource_filter: ResourceFilter::default(),
            compare_options: CompareOptions::default(),
            health_scripts: Scripts::default(),
            ignore_differences: Vec::new(),
            kustomize: BuildOptions::default(),
            global_projects: Vec::new(),
            application_namespaces: NamespacePatterns::default(),
            self_heal_backoff: SelfHealBackoff::default(),
            sync_timeout: Duration::ZERO,
            prune_guard: PruneGuard::default(),
            render_timeout: Duration::from_secs(60),
            cluster_labels: BTreeMap::new(),
            known_hosts: String::new(),
            tls_certificates: BTreeMap::new(),
            repository_secrets: Vec::new(),
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
            customizations::compare_options,
        );
        let ignore_differences =
            customizations::ignore_differences(&mut config, &last_good.ignore_differences);
        let health_scripts = health_scripts::read(&mut config, &last_good.health_scripts);
        let kustomize = config.read(
            kustomize::BUILD_OPTIONS,
            last_good.kustomize,
            default.kustomize,
            kustomize::build_options,
        );
        let global_projects = config.read(
            "globalProjects",
            last_good.global_projects.clone(),
            default.global_projects,
            global_projects::parse,
        );
        let (last, base) = (&last_good.prune_guard, &default.prune_guard);
        let prune_guard = PruneGuard {
            enabled: config.read(
                "application.sync.pruneGuard.enabled",
                last.enabled,
                base.enabled,
                values::flag,
            ),
            percent: config.read(
                "application.sync.pruneGuard.percent",
                last.percent,
                base.percent,
                values::percent,
            ),
            minimum: config.read(
                "application.sync.pruneGuard.minimum",
                last.minimum,
                base.minimum,
                values::count,
            ),
        };

        let mut parameters =
            Reader::new(COMMAND_PARAMETERS_CONFIG_MAP, &raw.command_parameters, &mut problems);
        let application_namespaces = parameters.read(
            "application.namespaces",
            last_good.application_namespaces.clone(),
            default.application_namespaces,
            NamespacePatterns::parse,
        );
        let (last, base) = (&last_good.self_heal_backoff, &default.self_heal_backoff);
        let mut seconds = |key, last, default| parameters.read(key, last, default, values::seconds);
        let first = seconds("controller.self.heal.backoff.timeout.seconds", last.first, base.first);
        let longest = seconds("controller.self.heal.backoff.cap.seconds", last.longest, base.longest);
        let sync_timeout =
            seconds("controller.sync.timeout.seconds", last_good.sync_timeout, default.sync_timeout);
        let render_timeout = parameters.read(
            "controller.repo.server.timeout.seconds",
            last_good.render_timeout,
            default.render_timeout,
            values::positive_seconds,
        );
        let factor =
            parameters.read("controller.self.heal.backoff.factor", last.factor, base.factor, values::factor);

        let settings = Self {
            reconciliation,
            tracking_method,
            instance_label_key,
            installation_id,
            resource_filter,
            compare_options,
            health_scripts,
            ignore_differences,
            kustomize,
            global_projects,
            application_namespaces,
            self_heal_backoff: SelfHealBackoff { first, factor, longest },
            sync_timeout,
            prune_guard,
            render_timeout,
            cluster_labels: raw
                .secrets
                .iter()
                .find(|secret| secret.is_in_cluster())
                .map(|secret| secret.labels.clone())
                .unwrap_or_default(),
            known_hosts: raw.known_hosts.get("ssh_known_hosts").cloned().unwrap_or_default(),
            tls_certificates: raw.tls_certificates.clone(),
            repository_secrets: raw
                .secrets
                .iter()
                .filter(|secret| REPOSITORY_SECRETS.contains(&secret.secret_type()))
                .cloned()
                .collect(),
            ignored: ignored::find(raw),
        };
        (settings, problems)
    }
}

#[cfg(test)]
mod tests;
