//! When the agent's own credentials for the cluster end. Files are read anew each minute: somebody may renew them.

use std::{path::PathBuf, sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use kube::config::AuthInfo;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::{
    expiry::{self, CredentialKind, Expiry},
    metrics::Metrics,
};

/// How often it is looked.
const EVERY: Duration = Duration::from_secs(60);
/// The largest file that is read.
const LARGEST: u64 = 1 << 20;

/// What is known of the agent's credentials: ends that do not change, and files.
#[derive(Default)]
pub(super) struct OwnCredentials {
    fixed: Vec<Expiry>,
    token_file: Option<PathBuf>,
    certificate_file: Option<PathBuf>,
}

impl OwnCredentials {
    /// Those of a connection.
    pub(super) fn of(credentials: &AuthInfo) -> Self {
        let mut own = Self::default();
        let mut add = |kind, name: &str, at: Option<Timestamp>| {
            own.fixed.extend(at.map(|at| Expiry { kind, name: name.to_owned(), at }));
        };
        if let Some(encoded) = &credentials.client_certificate_data {
            let pem = STANDARD.decode(encoded).unwrap_or_default();
            add(
                CredentialKind::KubeconfigClientCertificate,
                "client-certificate-data",
                expiry::of_chain(&pem),
            );
        }
        if credentials.token.is_some() {
            // The client shows a token to nobody but who writes a kubeconfig.
            let written = serde_json::to_value(credentials).unwrap_or_default();
            let token = written.get("token").and_then(Value::as_str).unwrap_or_default();
            add(CredentialKind::KubeconfigToken, "token", expiry::of_token(token.as_bytes()));
        } else {
            own.token_file = credentials.token_file.as_ref().map(PathBuf::from);
        }
        if credentials.client_certificate_data.is_none() {
            own.certificate_file = credentials.client_certificate.as_ref().map(PathBuf::from);
        }
        own
    }

    fn read(&self) -> Vec<Expiry> {
        let mut found = self.fixed.clone();
        let files = [
            (&self.token_file, CredentialKind::TokenFile),
            (&self.certificate_file, CredentialKind::KubeconfigClientCertificate),
        ];
        for (path, kind) in files {
            let Some(path) = path else { continue };
            let is_small = std::fs::metadata(path).is_ok_and(|file| file.len() <= LARGEST);
            let Some(content) = is_small.then(|| std::fs::read(path).ok()).flatten() else { continue };
            let end = match kind {
                CredentialKind::TokenFile => expiry::of_token(&content),
                _ => expiry::of_chain(&content),
            };
            found.extend(end.map(|at| Expiry { kind, name: path.display().to_string(), at }));
        }
        found
    }
}

/// Shows when they end, until `stop`.
pub(super) async fn watch(own: OwnCredentials, metrics: Arc<Metrics>, stop: CancellationToken) {
    loop {
        metrics.set_expiries("kubeconfig", &own.read());
        if stop.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_none() {
            return;
        }
    }
}
