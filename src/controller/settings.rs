//! The settings as the controller uses them, kept up to date by watching the ConfigMaps and Secrets.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::watch;

use super::{applications::ApplicationKey, follow::Change, sources::PollInterval};
use crate::{
    api::{Application, names},
    compare::SystemRules,
    expiry::{self, CredentialKind, Expiry},
    git::{CredentialSecret, CredentialStore, SecretKind},
    health::Scripts,
    masked::Masked,
    object::Gvk,
    render::{RenderContext, kustomize},
    settings::{
        COMMAND_PARAMETERS_CONFIG_MAP, CONFIG_MAP, GlobalProject, KNOWN_HOSTS_CONFIG_MAP, NamespacePatterns,
        RawSecret, RawSettings, Settings, TLS_CERTIFICATES_CONFIG_MAP,
    },
    sync::{auto::SelfHealBackoff, guard::PruneGuard, ownership::TrackingSettings},
};

/// Settings in the form that the controller's rooms want them.
pub struct AgentSettings {
    /// How objects are marked.
    pub tracking: TrackingSettings,
    /// What every comparison ignores.
    pub system_rules: SystemRules,
    /// Delays between attempts to put drift back.
    pub self_heal_backoff: SelfHealBackoff,
    /// Identifies the settings that shape what an Application declares.
    pub fingerprint: u64,
    settings: Settings,
}

impl AgentSettings {
    fn new(settings: Settings) -> Self {
        let mut hasher = DefaultHasher::new();
        format!("{:?}", settings.resource_filter).hash(&mut hasher);
        settings.kustomize.hash(&mut hasher);
        Self {
            tracking: TrackingSettings {
                method: settings.tracking_method,
                label_key: settings.instance_label_key.clone(),
                installation_id: settings.installation_id.clone(),
            },
            system_rules: SystemRules {
                ignore_differences: settings.ignore_differences.clone(),
                options: settings.compare_options,
            },
            self_heal_backoff: settings.self_heal_backoff,
            fingerprint: hasher.finish(),
            settings,
        }
    }

    /// The installation's own health checks.
    pub fn health_scripts(&self) -> &Scripts {
        &self.settings.health_scripts
    }

    /// Whether a kind is kept out of everything.
    pub fn is_excluded(&self, gvk: &Gvk) -> bool {
        self.settings.resource_filter.excludes(&gvk.group, &gvk.kind, names::IN_CLUSTER_SERVER)
    }

    /// How often repositories are polled.
    pub fn poll_interval(&self) -> PollInterval {
        let reconciliation = &self.settings.reconciliation;
        PollInterval { interval: reconciliation.timeout, jitter: reconciliation.jitter }
    }

    /// When a sync that would delete much has to be approved.
    pub fn prune_guard(&self) -> PruneGuard {
        self.settings.prune_guard
    }

    /// How long an operation may take; `None` where that is not limited.
    pub fn sync_timeout(&self) -> Option<Duration> {
        (!self.settings.sync_timeout.is_zero()).then_some(self.settings.sync_timeout)
    }

    /// How long rendering one Application may take.
    pub fn render_limit(&self) -> Duration {
        self.settings.render_timeout
    }

    /// The labels that the agent's own cluster has in its Secret.
    pub fn cluster_labels(&self) -> &BTreeMap<String, String> {
        &self.settings.cluster_labels
    }

    /// The AppProjects whose rules others inherit.
    pub fn global_projects(&self) -> &[GlobalProject] {
        &self.settings.global_projects
    }

    /// Whether Applications of a namespace are looked after.
    pub fn manages_namespace(&self, namespace: &str, controller_namespace: &str) -> bool {
        namespace == controller_namespace || self.settings.application_namespaces.matches(namespace)
    }

    /// Where Applications may live besides the controller's namespace.
    pub fn application_namespaces(&self) -> &NamespacePatterns {
        &self.settings.application_namespaces
    }

    /// What the renderer is told about an Application. The revision is filled in when it is known.
    pub fn render_context(
        &self,
        application: &Application,
        key: &ApplicationKey,
        controller_namespace: &str,
    ) -> RenderContext {
        RenderContext {
            application_name: key.instance_name(controller_namespace),
            destination_namespace: application.spec.destination.namespace.clone(),
            project_name: application.spec.project_name().to_owned(),
            kustomize: kustomize::Options {
                load_restrictor: self.settings.kustomize.load_restrictor,
                reorder: self.settings.kustomize.reorder,
                ..kustomize::Options::default()
            },
            ..RenderContext::default()
        }
    }

    /// When the credentials that the settings hold end, as far as they say.
    pub fn expiries(&self) -> Vec<Expiry> {
        let mut found = Vec::new();
        let mut add = |kind, name: &str, at: Option<Timestamp>| {
            found.extend(at.map(|at| Expiry { kind, name: name.to_owned(), at }));
        };
        for secret in &self.settings.repository_secrets {
            let value = |key: &str| secret.data.get(key).map_or(&[][..], |value| value.reveal());
            let certificate = expiry::of_chain(value("tlsClientCertData"));
            add(CredentialKind::RepositoryClientCertificate, &secret.name, certificate);
            let tokens = [value("bearerToken"), value("password")].into_iter().filter_map(expiry::of_token);
            add(CredentialKind::RepositoryToken, &secret.name, tokens.min());
        }
        for (host, authorities) in &self.settings.tls_certificates {
            let end = expiry::of_authorities(authorities.as_bytes());
            add(CredentialKind::CertificateAuthority, host, end);
        }
        found
    }

    /// The credentials that the settings hold. Secrets that cannot be read are logged by name and left out.
    pub fn credentials(&self) -> CredentialStore {
        let secrets: Vec<CredentialSecret> = self
            .settings
            .repository_secrets
            .iter()
            .map(|secret| CredentialSecret {
                name: secret.name.clone(),
                kind: if secret.secret_type() == "repo-creds" {
                    SecretKind::Template
                } else {
                    SecretKind::Repository
                },
                data: secret.data.clone(),
            })
            .collect();
        let (tls, known_hosts) = (&self.settings.tls_certificates, &self.settings.known_hosts);
        let (store, problems) = CredentialStore::new(&secrets, tls, known_hosts);
        for problem in problems {
            tracing::warn!(error = %crate::error::chain(&problem), "a repository Secret is not used");
        }
        store
    }
}

/// Collects the ConfigMaps and Secrets and publishes the settings that they add up to.
pub struct SettingsStore {
    raw: Mutex<(RawSettings, BTreeMap<String, RawSecret>)>,
    publish: watch::Sender<Arc<AgentSettings>>,
}

impl SettingsStore {
    /// The settings that hold where nothing is set, and the place where newer ones appear.
    pub fn new() -> (Self, watch::Receiver<Arc<AgentSettings>>) {
        let (publish, settings) = watch::channel(Arc::new(AgentSettings::new(Settings::default())));
        (Self { raw: Mutex::default(), publish }, settings)
    }

    /// Takes in a change of a ConfigMap. Returns whether it is one that holds settings.
    pub fn config_map(&self, change: Change) -> bool {
        let (name, data) = match change {
            Change::Present(value) => (text(&value, "/metadata/name"), strings(value.get("data"))),
            Change::Gone { name, .. } => (name, BTreeMap::new()),
        };
        let mut raw = self.raw.lock().unwrap_or_else(PoisonError::into_inner);
        let place = match name.as_str() {
            CONFIG_MAP => &mut raw.0.config,
            COMMAND_PARAMETERS_CONFIG_MAP => &mut raw.0.command_parameters,
            KNOWN_HOSTS_CONFIG_MAP => &mut raw.0.known_hosts,
            TLS_CERTIFICATES_CONFIG_MAP => &mut raw.0.tls_certificates,
            _ => return false,
        };
        let changed = *place != data;
        *place = data;
        changed
    }

    /// Takes in a change of a Secret with the label of settings. Returns whether anything changed.
    pub fn secret(&self, change: Change) -> bool {
        let mut raw = self.raw.lock().unwrap_or_else(PoisonError::into_inner);
        match change {
            Change::Present(value) => {
                let secret = RawSecret {
                    name: text(&value, "/metadata/name"),
                    labels: strings(value.pointer("/metadata/labels")),
                    data: strings(value.get("data"))
                        .into_iter()
                        .filter_map(|(key, encoded)| Some((key, Masked::new(STANDARD.decode(encoded).ok()?))))
                        .collect(),
                };
                raw.1.insert(secret.name.clone(), secret.clone()) != Some(secret)
            }
            Change::Gone { name, .. } => raw.1.remove(&name).is_some(),
        }
    }

    /// Reads what was collected and publishes it. What cannot be read stays as it was, and is logged.
    pub fn publish(&self) {
        let raw = {
            let (mut settings, secrets) = self.raw.lock().unwrap_or_else(PoisonError::into_inner).clone();
            settings.secrets = secrets.into_values().collect();
            settings
        };
        let last_good = Arc::clone(&self.publish.borrow());
        let (settings, problems) = Settings::read(&raw, &last_good.settings);
        for problem in problems {
            tracing::error!(%problem, "a setting is not used; its last good value holds");
        }
        let known = &last_good.settings.ignored;
        for ignored in settings.ignored.iter().filter(|ignored| !known.contains(ignored)) {
            tracing::warn!(setting = ignored.place, reason = ignored.why, "a setting has no effect");
        }
        self.publish.send_replace(Arc::new(AgentSettings::new(settings)));
    }
}

/// Namespaced names of what is followed.
pub fn secrets_selector() -> &'static str {
    names::LABEL_SECRET_TYPE
}

fn text(value: &Value, pointer: &str) -> String {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn strings(value: Option<&Value>) -> BTreeMap<String, String> {
    let entries = value.and_then(Value::as_object).into_iter().flatten();
    entries.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}
