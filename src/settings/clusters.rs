//! Clusters that Secrets of type `cluster` declare.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use serde::Deserialize;

use super::{RawSecret, SettingsProblem, reader::Fault, values};
use crate::{api::names, masked::Masked};

/// A destination cluster and how to reach it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClusterSecret {
    /// The name of the Secret.
    pub secret_name: String,
    /// The cluster's name; its URL when the Secret gives none.
    pub name: String,
    /// The URL of its API, without a trailing `/`.
    pub server: String,
    /// The only namespaces to look at; empty for all.
    pub namespaces: Vec<String>,
    /// Whether cluster-scoped objects are looked at in spite of `namespaces`.
    pub cluster_resources: bool,
    /// The only project that may use the cluster; empty for all.
    pub project: String,
    /// The Secret's labels, which are the cluster's.
    pub labels: BTreeMap<String, String>,
    /// The Secret's annotations, which are the cluster's.
    pub annotations: BTreeMap<String, String>,
    /// User name for basic authentication.
    pub username: Option<String>,
    /// Its password.
    pub password: Option<Masked>,
    /// Token for `Authorization: Bearer`.
    pub bearer_token: Option<Masked>,
    /// Accept any certificate.
    pub insecure: bool,
    /// The name that the certificate must have, when it is not the URL's host.
    pub server_name: Option<String>,
    /// The only certificate authorities to trust, as PEM.
    pub certificate_authorities: Option<Vec<u8>>,
    /// A client certificate as PEM.
    pub client_certificate: Option<Masked<Vec<u8>>>,
    /// Its key as PEM.
    pub client_key: Option<Masked<Vec<u8>>>,
    /// The proxy's URL, which may hold a password.
    pub proxy_url: Option<Masked>,
    /// Fields of ways to log in that Skiff does not have: it runs no other program.
    pub unsupported: Vec<&'static str>,
}

impl ClusterSecret {
    /// Whether all work on the cluster is suspended by annotation.
    pub fn is_skipped(&self) -> bool {
        self.annotations.get(names::ANNOTATION_SKIP_RECONCILE).is_some_and(|value| value == "true")
    }
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Config {
    username: Option<String>,
    password: Option<String>,
    bearer_token: Option<String>,
    tls_client_config: Option<TlsClientConfig>,
    aws_auth_config: Option<serde::de::IgnoredAny>,
    exec_provider_config: Option<serde::de::IgnoredAny>,
    proxy_url: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct TlsClientConfig {
    insecure: bool,
    server_name: Option<String>,
    cert_data: Option<String>,
    key_data: Option<String>,
    ca_data: Option<String>,
}

/// Reads the cluster Secrets; one that cannot be read is left out and gives a problem.
pub(super) fn read(secrets: &[RawSecret]) -> (Vec<ClusterSecret>, Vec<SettingsProblem>) {
    let (mut clusters, mut problems) = (Vec::new(), Vec::new());
    for secret in secrets.iter().filter(|secret| secret.secret_type() == "cluster") {
        match read_one(secret) {
            Ok(cluster) => clusters.push(cluster),
            Err((key, fault)) => problems.push(SettingsProblem {
                object: format!("Secret '{}'", secret.name),
                key: key.to_owned(),
                line: fault.line,
                message: format!("{}: the cluster is left out", fault.message),
            }),
        }
    }
    (clusters, problems)
}

fn read_one(secret: &RawSecret) -> Result<ClusterSecret, (&'static str, Fault)> {
    let text = |key: &'static str| match secret.data.get(key) {
        None => Ok(String::new()),
        Some(value) => match std::str::from_utf8(value.reveal()) {
            Ok(text) => Ok(text.trim().to_owned()),
            Err(_) => Err((key, Fault::new("the value is not UTF-8"))),
        },
    };
    let server = text("server")?.trim_end_matches('/').to_owned();
    if !server.starts_with("https://") && !server.starts_with("http://") {
        return Err((
            "server",
            Fault::new("the value is missing or no URL: set it to the URL of the cluster's API"),
        ));
    }
    let config = match text("config")?.as_str() {
        "" => Config::default(),
        // The parser's message may quote a credential, so only the place is shown.
        json => serde_json::from_str(json).map_err(|error| {
            let place = format!("the value is not the JSON that is expected: see column {}", error.column());
            ("config", Fault { line: Some(error.line()), message: place })
        })?,
    };
    let tls = config.tls_client_config.unwrap_or_default();
    let decode = |field: &str, text: Option<String>| match text.filter(|text| !text.is_empty()) {
        None => Ok(None),
        Some(text) => BASE64
            .decode(text)
            .map(Some)
            .map_err(|_| ("config", Fault::new(format!("field 'tlsClientConfig.{field}' is not base64")))),
    };
    let cluster_resources = match text("clusterResources")?.as_str() {
        "" => false,
        value => values::boolean(value).map_err(|fault| ("clusterResources", fault))?,
    };
    let name = Some(text("name")?).filter(|name| !name.is_empty()).unwrap_or_else(|| server.clone());
    let mut labels = secret.labels.clone();
    labels.remove(names::LABEL_SECRET_TYPE);
    let unsupported = [
        ("config.awsAuthConfig", config.aws_auth_config.is_some()),
        ("config.execProviderConfig", config.exec_provider_config.is_some()),
    ];
    let masked = |text: Option<String>| text.filter(|text| !text.is_empty()).map(Masked::new);
    Ok(ClusterSecret {
        secret_name: secret.name.clone(),
        name,
        server,
        namespaces: text("namespaces")?
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect(),
        cluster_resources,
        project: text("project")?,
        labels,
        annotations: secret.annotations.clone(),
        username: config.username.filter(|name| !name.is_empty()),
        password: masked(config.password),
        bearer_token: masked(config.bearer_token),
        insecure: tls.insecure,
        server_name: tls.server_name.filter(|name| !name.is_empty()),
        certificate_authorities: decode("caData", tls.ca_data)?,
        client_certificate: decode("certData", tls.cert_data)?.map(Masked::new),
        client_key: decode("keyData", tls.key_data)?.map(Masked::new),
        proxy_url: masked(config.proxy_url),
        unsupported: unsupported.into_iter().filter_map(|(field, is_set)| is_set.then_some(field)).collect(),
    })
}
