//! Whom an HTTPS connection trusts, and which certificate it shows.

use std::sync::{Arc, OnceLock};

use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject as _},
    server::ParsedCertificate,
};

use crate::git::{error::GitError, network::Step};

/// The settings for one connection: the host's own certificate authorities where there are some, else the system's.
pub(super) fn client_config(step: &Step) -> Result<ClientConfig, GitError> {
    let provider = Arc::new(ring::default_provider());
    let settings = |problem: String| GitError::Settings { repository: step.repository(), problem };
    let authorities = match &step.credentials.certificate_authorities {
        Some(pem) => read_authorities(pem).ok_or_else(|| {
            settings("its entry in ConfigMap argocd-tls-certs-cm holds no valid PEM certificate".to_owned())
        })?,
        None => Authorities { roots: system_roots(), pinned: Vec::new() },
    };
    let trust = if step.credentials.insecure {
        Trust::Anybody
    } else {
        let verifier =
            WebPkiServerVerifier::builder_with_provider(authorities.roots, Arc::clone(&provider)).build();
        let verifier = verifier.map_err(|error| {
            settings(format!(
                "no certificate authority is trusted ({error}); install the package ca-certificates"
            ))
        })?;
        Trust::Authorities { verifier, pinned: authorities.pinned }
    };
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| settings(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Verifier { trust, provider }));
    let Some(client) = &step.credentials.client_certificate else {
        return Ok(builder.with_no_client_auth());
    };
    let chain: Result<Vec<_>, _> =
        CertificateDer::pem_slice_iter(client.certificate.reveal().as_bytes()).collect();
    let chain =
        chain.map_err(|_| settings("field 'tlsClientCertData' is not a PEM certificate".to_owned()))?;
    let key = PrivateKeyDer::from_pem_slice(client.key.reveal().as_bytes())
        .map_err(|_| settings("field 'tlsClientCertKey' is not a PEM private key".to_owned()))?;
    builder
        .with_client_auth_cert(chain, key)
        .map_err(|_| settings("'tlsClientCertData' and 'tlsClientCertKey' do not belong together".to_owned()))
}

struct Authorities {
    roots: Arc<RootCertStore>,
    pinned: Vec<CertificateDer<'static>>,
}

fn read_authorities(pem: &str) -> Option<Authorities> {
    let pinned: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes()).filter_map(Result::ok).collect();
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(pinned.iter().cloned());
    (added > 0).then(|| Authorities { roots: Arc::new(roots), pinned })
}

fn system_roots() -> Arc<RootCertStore> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    let read = || {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        Arc::new(roots)
    };
    Arc::clone(ROOTS.get_or_init(read))
}

#[derive(Debug)]
enum Trust {
    /// `insecure` is set.
    Anybody,
    Authorities {
        verifier: Arc<WebPkiServerVerifier>,
        /// Certificates that are trusted themselves: a self-signed server certificate that says of itself that it is an
        /// authority is no end entity to `verifier`.
        pinned: Vec<CertificateDer<'static>>,
    },
}

#[derive(Debug)]
struct Verifier {
    trust: Trust,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match &self.trust {
            Trust::Anybody => Ok(ServerCertVerified::assertion()),
            Trust::Authorities { pinned, .. }
                if pinned.iter().any(|certificate| certificate == end_entity) =>
            {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            Trust::Authorities { verifier, .. } => {
                verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
