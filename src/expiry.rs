//! When credentials end: certificates (X.509) and tokens (JWT). Nothing is verified here and nothing of a credential is
//! kept; what cannot be read has no end that could be told.

use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use rustls::pki_types::{CertificateDer, pem::PemObject};
use serde_json::Value;
use x509_parser::parse_x509_certificate;

/// Certificates that are looked at in one file.
const CERTIFICATES: usize = 1000;
/// The longest token that is looked at.
const TOKEN: usize = 64 << 10;

/// What kind of credential it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CredentialKind {
    /// The client certificate of the agent's kubeconfig.
    KubeconfigClientCertificate,
    /// The token in the agent's kubeconfig.
    KubeconfigToken,
    /// A token in a file that somebody renews, as kubelet does for a service account.
    TokenFile,
    /// The client certificate of a repository Secret.
    RepositoryClientCertificate,
    /// A token of a repository Secret.
    RepositoryToken,
    /// What `argocd-tls-certs-cm` trusts for a host.
    CertificateAuthority,
    /// What a Git server shows.
    GitServerCertificate,
}

impl CredentialKind {
    /// The value of the metric's label `kind`.
    pub fn label(self) -> &'static str {
        match self {
            Self::KubeconfigClientCertificate => "kubeconfig_client_certificate",
            Self::KubeconfigToken => "kubeconfig_token",
            Self::TokenFile => "token_file",
            Self::RepositoryClientCertificate => "repository_client_certificate",
            Self::RepositoryToken => "repository_token",
            Self::CertificateAuthority => "certificate_authority",
            Self::GitServerCertificate => "git_server_certificate",
        }
    }
}

impl fmt::Display for CredentialKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// The end of one credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// What it is.
    pub kind: CredentialKind,
    /// Where it stands: a Secret, a host, a file.
    pub name: String,
    /// When it ends.
    pub at: Timestamp,
}

/// When a certificate ends.
pub fn of_certificate(der: &[u8]) -> Option<Timestamp> {
    let (_, certificate) = parse_x509_certificate(der).ok()?;
    Timestamp::from_second(certificate.validity().not_after.timestamp()).ok()
}

fn ends(pem: &[u8]) -> impl Iterator<Item = Timestamp> {
    let certificates = CertificateDer::pem_slice_iter(pem).take(CERTIFICATES).filter_map(Result::ok);
    certificates.filter_map(|certificate| of_certificate(&certificate))
}

/// When a certificate with those that vouch for it, as PEM, ends: with the first of them.
pub fn of_chain(pem: &[u8]) -> Option<Timestamp> {
    ends(pem).min()
}

/// When a list of trusted certificates, as PEM, ends: with the last of them, since one suffices.
pub fn of_authorities(pem: &[u8]) -> Option<Timestamp> {
    ends(pem).max()
}

/// When a token ends, if it is a JWT that says so.
pub fn of_token(token: &[u8]) -> Option<Timestamp> {
    let text = std::str::from_utf8(token).ok().filter(|text| text.len() <= TOKEN)?.trim();
    let mut parts = text.split('.');
    let (_, claims, _) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let claims = URL_SAFE_NO_PAD.decode(claims.trim_end_matches('=')).ok()?;
    let claims: Value = serde_json::from_slice(&claims).ok()?;
    let end = claims.get("exp")?;
    let seconds = end.as_i64().or_else(|| end.to_string().split('.').next()?.parse().ok())?;
    Timestamp::from_second(seconds).ok()
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    fn certificate(year: i32) -> (String, Vec<u8>) {
        let mut parameters = CertificateParams::new(vec!["git.example.com".to_owned()]).unwrap();
        parameters.not_before = date_time_ymd(2020, 1, 1);
        parameters.not_after = date_time_ymd(year, 6, 1);
        let certificate = parameters.self_signed(&KeyPair::generate().unwrap()).unwrap();
        (certificate.pem(), certificate.der().to_vec())
    }

    fn june(year: i32) -> Option<Timestamp> {
        Some(format!("{year}-06-01T00:00:00Z").parse().unwrap())
    }

    fn token(claims: &str) -> String {
        format!("e30.{}.c2lnbmF0dXJl", URL_SAFE_NO_PAD.encode(claims))
    }

    #[test]
    fn a_chain_ends_with_its_first_certificate_and_trust_with_its_last() {
        let (early, late) = (certificate(2030), certificate(2040));
        assert_eq!(of_certificate(&early.1), june(2030));
        let key = KeyPair::generate().unwrap().serialize_pem();
        let both = format!("{key}\nsome text\n{}\n{}", late.0, early.0);
        assert_eq!(of_chain(both.as_bytes()), june(2030));
        assert_eq!(of_authorities(both.as_bytes()), june(2040));
    }

    #[test]
    fn a_token_ends_when_it_says_so() {
        let end = Some("2033-05-18T03:33:20Z".parse().unwrap());
        assert_eq!(of_token(format!("{}\n", token(r#"{"exp":2000000000}"#)).as_bytes()), end);
        assert_eq!(of_token(token(r#"{"exp":2000000000.5}"#).as_bytes()), end);
    }

    #[test]
    fn what_cannot_be_read_has_no_end() {
        let long = token(&format!(r#"{{"exp":1,"a":"{}"}}"#, "a".repeat(100_000)));
        let texts = [
            "",
            "a",
            "ghp_0123456789",
            "a.b.c",
            "a.b.c.d",
            &token("{}"),
            &token(r#"{"exp":"soon"}"#),
            &long,
            &token(r#"{"exp":99999999999999999}"#),
        ];
        for text in texts {
            assert_eq!(of_token(text.as_bytes()), None, "{text:.40}");
        }
        for pem in ["", "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n", "-----BEGIN"] {
            assert_eq!(of_chain(pem.as_bytes()), None);
            assert_eq!(of_authorities(pem.as_bytes()), None);
        }
        assert_eq!(of_token(&[0xff, b'.', b'.']), None);
        assert_eq!(of_certificate(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]), None);
    }
}
