//! Credentials of repositories, and which of them a repository gets.
//!
//! They come from Argo CD's `repository` and `repo-creds` Secrets. A `repository` entry holds for one URL, first that of
//! the application's project, then that of every project; where it carries no credentials, the `repo-creds` entry with the
//! longest path prefix supplies them. URLs are compared part by part ([`RepoUrl`]), never as text, so that neither a
//! look-alike host nor user information in front of the host attracts credentials that belong elsewhere.

use std::{
    collections::BTreeMap, collections::hash_map::DefaultHasher, fmt, hash::Hash, hash::Hasher, sync::Arc,
};

use super::{
    error::GitError,
    known_hosts::KnownHosts,
    url::{RepoUrl, Scheme},
};
use crate::masked::Masked;

/// The two kinds of Secret (value of the label `argocd.argoproj.io/secret-type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretKind {
    /// `repository`: one repository.
    Repository,
    /// `repo-creds`: a template for all repositories below a URL.
    Template,
}

/// A repository Secret as read from the cluster.
#[derive(Clone, Debug)]
pub struct CredentialSecret {
    /// Name of the Secret, for error messages.
    pub name: String,
    /// Which kind it is.
    pub kind: SecretKind,
    /// The decoded data.
    pub data: BTreeMap<String, Masked<Vec<u8>>>,
}

/// A certificate with which Skiff shows the server who it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClientCertificate {
    /// The certificate and its chain as PEM.
    pub certificate: Masked,
    /// Its private key as PEM.
    pub key: Masked,
}

/// All that is needed to reach one repository. `Default` is an anonymous connection.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    /// User name for HTTP basic authentication or SSH password login.
    pub username: Option<String>,
    /// Its password or token.
    pub password: Option<Masked>,
    /// Token for `Authorization: Bearer`, used before user name and password.
    pub bearer_token: Option<Masked>,
    /// Private key for SSH as PEM.
    pub ssh_private_key: Option<Masked>,
    /// Certificate with its key for TLS.
    pub client_certificate: Option<ClientCertificate>,
    /// Accept any TLS certificate and any SSH host key.
    pub insecure: bool,
    /// Proxy for HTTP and HTTPS, `http://[user:password@]host:port`.
    pub proxy: Option<Masked>,
    /// Hosts that are reached without the proxy, separated by commas.
    pub no_proxy: String,
    /// The only certificate authorities to trust for this host, as PEM; `None` trusts the system's.
    pub certificate_authorities: Option<Arc<str>>,
    /// The SSH host keys to trust.
    pub known_hosts: Arc<KnownHosts>,
    /// Settings that were found and that Skiff does not support; using the credentials fails and names them.
    pub unsupported: Vec<String>,
    /// The Secrets that they come from; of a command, its options and variables (`--…`, `$…`).
    pub origins: Vec<String>,
}

/// Fields of ways to log in that Skiff does not have.
const UNSUPPORTED_FIELDS: [&str; 7] = [
    "githubAppID",
    "githubAppPrivateKey",
    "gcpServiceAccountKey",
    "azureServicePrincipalClientId",
    "azureServicePrincipalClientID",
    "azureServicePrincipalClientSecret",
    "azureActiveDirectoryEndpoint",
];

impl Credentials {
    fn has_any(&self) -> bool {
        self.username.is_some()
            || self.password.is_some()
            || self.bearer_token.is_some()
            || self.ssh_private_key.is_some()
            || self.client_certificate.is_some()
            || !self.unsupported.is_empty()
    }

    /// Takes over how to log in from a template, and how to connect where it is not said here.
    fn inherit(&mut self, template: &Self) {
        self.username.clone_from(&template.username);
        self.password.clone_from(&template.password);
        self.bearer_token.clone_from(&template.bearer_token);
        self.ssh_private_key.clone_from(&template.ssh_private_key);
        self.client_certificate.clone_from(&template.client_certificate);
        self.unsupported.clone_from(&template.unsupported);
        self.origins.extend(template.origins.iter().cloned());
        if self.proxy.is_none() {
            self.proxy.clone_from(&template.proxy);
            self.no_proxy.clone_from(&template.no_proxy);
        }
    }

    /// Tells apart whom the server has let in. Only ever compared within this process.
    pub(super) fn fingerprint(&self, url: &RepoUrl) -> u64 {
        let mut hasher = DefaultHasher::new();
        let login = (&self.username, &self.password, &self.bearer_token, &self.ssh_private_key);
        (login, &self.client_certificate, url.user_info()).hash(&mut hasher);
        hasher.finish()
    }
}

struct Entry {
    url: RepoUrl,
    project: Option<String>,
    credentials: Credentials,
}

/// The credentials of all repositories that an installation knows.
#[derive(Default)]
pub struct CredentialStore {
    repositories: Vec<Entry>,
    templates: Vec<Entry>,
    certificate_authorities: BTreeMap<String, Arc<str>>,
    known_hosts: Arc<KnownHosts>,
}

impl fmt::Debug for CredentialStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let urls = |entries: &[Entry]| entries.iter().map(|entry| entry.url.to_string()).collect::<Vec<_>>();
        f.debug_struct("CredentialStore")
            .field("repositories", &urls(&self.repositories))
            .field("templates", &urls(&self.templates))
            .finish_non_exhaustive()
    }
}

impl CredentialStore {
    /// Reads the Secrets, the certificate authorities by host name (ConfigMap `argocd-tls-certs-cm`) and the known SSH
    /// hosts (`argocd-ssh-known-hosts-cm`, key `ssh_known_hosts`). A Secret that cannot be read is left out and reported
    /// in the second part of the result; the others hold.
    pub fn new<'a>(
        secrets: impl IntoIterator<Item = &'a CredentialSecret>,
        certificate_authorities: &BTreeMap<String, String>,
        known_hosts: &str,
    ) -> (Self, Vec<GitError>) {
        let mut store = Self {
            certificate_authorities: certificate_authorities
                .iter()
                .map(|(host, pem)| (host.to_ascii_lowercase(), Arc::from(pem.as_str())))
                .collect(),
            known_hosts: Arc::new(KnownHosts::parse(known_hosts)),
            ..Self::default()
        };
        let mut problems = Vec::new();
        for secret in secrets {
            match read(secret) {
                Ok(Some(entry)) => match secret.kind {
                    SecretKind::Repository => store.repositories.push(entry),
                    SecretKind::Template => store.templates.push(entry),
                },
                Ok(None) => {}
                Err(problem) => problems.push(problem),
            }
        }
        (store, problems)
    }

    /// What to reach a repository with on behalf of a project. A repository that no Secret mentions is reached
    /// anonymously.
    pub fn lookup(&self, url: &RepoUrl, project: &str) -> Credentials {
        let same = |entry: &&Entry| entry.url.normalized() == url.normalized();
        let of = |wanted: Option<&str>| {
            self.repositories.iter().filter(same).find(|entry| entry.project.as_deref() == wanted)
        };
        let mut credentials =
            of(Some(project)).or_else(|| of(None)).map(|entry| entry.credentials.clone()).unwrap_or_default();
        if !credentials.has_any() {
            let templates = self.templates.iter().filter(|entry| url.is_within(&entry.url));
            if let Some(template) = templates.max_by_key(|entry| entry.url.path().len()) {
                credentials.inherit(&template.credentials);
            }
        }
        if url.scheme() == Scheme::Https {
            let bare_host = url.host().trim_matches(['[', ']']);
            credentials.certificate_authorities = self.certificate_authorities.get(bare_host).cloned();
        }
        credentials.known_hosts = Arc::clone(&self.known_hosts);
        credentials
    }
}

/// The entry of a Secret; `None` when it is for another kind of repository than Git.
fn read(secret: &CredentialSecret) -> Result<Option<Entry>, GitError> {
    let fail =
        |problem: String| GitError::Settings { repository: format!("Secret '{}'", secret.name), problem };
    let text = |field: &str| -> Result<Option<String>, GitError> {
        let Some(value) = secret.data.get(field) else {
            return Ok(None);
        };
        let text = std::str::from_utf8(value.reveal())
            .map_err(|_| fail(format!("field '{field}' is not UTF-8 text; set it again")))?;
        Ok(Some(text.to_owned()).filter(|text| !text.is_empty()))
    };
    let masked = |field: &str| text(field).map(|value| value.map(Masked::new));
    let flag = |field: &str| -> Result<bool, GitError> {
        match text(field)?.as_deref().map(str::trim) {
            None | Some("" | "false" | "False" | "FALSE" | "f" | "F" | "0") => Ok(false),
            Some("true" | "True" | "TRUE" | "t" | "T" | "1") => Ok(true),
            Some(_) => Err(fail(format!("field '{field}' is neither 'true' nor 'false'"))),
        }
    };
    if text("type")?.is_some_and(|kind| kind.trim() != "git") {
        return Ok(None);
    }
    let url =
        text("url")?.ok_or_else(|| fail("it has no field 'url'; add the repository's URL".to_owned()))?;
    let url = match secret.kind {
        SecretKind::Repository => RepoUrl::parse(&url),
        SecretKind::Template => RepoUrl::parse_prefix(&url),
    };
    let url = url.map_err(|error| fail(format!("field 'url': {error}")))?;
    let client_certificate = match (masked("tlsClientCertData")?, masked("tlsClientCertKey")?) {
        (Some(certificate), Some(key)) => Some(ClientCertificate { certificate, key }),
        (None, None) => None,
        _ => {
            return Err(fail(
                "'tlsClientCertData' and 'tlsClientCertKey' need each other; set both".to_owned(),
            ));
        }
    };
    let mut unsupported = Vec::new();
    for field in UNSUPPORTED_FIELDS {
        if text(field)?.is_some() {
            unsupported.push(field.to_owned());
        }
    }
    if flag("useAzureWorkloadIdentity")? {
        unsupported.push("useAzureWorkloadIdentity".to_owned());
    }
    let credentials = Credentials {
        username: text("username")?,
        password: masked("password")?,
        bearer_token: masked("bearerToken")?,
        ssh_private_key: masked("sshPrivateKey")?,
        client_certificate,
        insecure: flag("insecure")? || flag("insecureIgnoreHostKey")?,
        proxy: masked("proxy")?,
        no_proxy: text("noProxy")?.unwrap_or_default(),
        unsupported,
        origins: vec![secret.name.clone()],
        ..Credentials::default()
    };
    let project = if secret.kind == SecretKind::Repository { text("project")? } else { None };
    Ok(Some(Entry { url, project, credentials }))
}

#[cfg(test)]
mod tests;
