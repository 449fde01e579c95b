use std::sync::Arc;

use rcgen::{BasicConstraints, Certificate, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
    server::WebPkiClientVerifier,
};
use skiff::{
    error::{Classified as _, ErrorKind},
    git::{ClientCertificate, Credentials, GitError, RepoUrl},
    masked::Masked,
};

use crate::{
    http_server::{Behaviour, HttpProxy, HttpServer, basic},
    world::{Reader, Upstream},
};

/// A certificate authority.
struct Authority {
    certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self { certificate, issuer: Issuer::new(params, key) }
    }

    fn issue(&self, name: &str) -> Issued {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        Issued { certificate: params.signed_by(&key, &self.issuer).unwrap(), key }
    }
}

struct Issued {
    certificate: Certificate,
    key: KeyPair,
}

impl Issued {
    /// A certificate that signs itself and says of itself that it is an authority, as `openssl req -x509` makes them.
    fn self_signed(name: &str) -> Self {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self { certificate: params.self_signed(&key).unwrap(), key }
    }

    fn server(&self, clients: Option<&Authority>) -> ServerConfig {
        let provider = Arc::new(ring::default_provider());
        let builder =
            ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
        let builder = match clients {
            None => builder.unwrap().with_no_client_auth(),
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                roots.add(authority.certificate.der().clone()).unwrap();
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
                builder.unwrap().with_client_cert_verifier(verifier.unwrap())
            }
        };
        let chain: Vec<CertificateDer<'static>> = vec![self.certificate.der().clone()];
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(self.key.serialize_der()));
        builder.with_single_cert(chain, key).unwrap()
    }
}

fn trusting(certificate: &Certificate) -> Credentials {
    Credentials { certificate_authorities: Some(certificate.pem().into()), ..Credentials::default() }
}

async fn read(server: &HttpServer, credentials: Credentials) -> Result<String, GitError> {
    Reader::new().with_credentials(credentials).read(&server.url(), "main", "file").await
}

#[track_caller]
fn assert_certificate(result: Result<String, GitError>) {
    let error = result.unwrap_err();
    assert!(matches!(error, GitError::Certificate { .. }), "{error:?}");
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert!(error.to_string().contains("argocd-tls-certs-cm under the key '127.0.0.1'"), "{error}");
}

#[tokio::test]
async fn a_server_is_trusted_through_its_certificate_authority_alone() {
    let (upstream, authority) = (Upstream::new(), Authority::new());
    let tls = authority.issue("127.0.0.1").server(None);
    let server = HttpServer::start_secure(&upstream, Behaviour::basic("user", "right"), tls).await;
    let login = |credentials: Credentials| Credentials {
        username: Some("user".to_owned()),
        password: Some(Masked::new("right".to_owned())),
        ..credentials
    };
    assert_certificate(read(&server, login(Credentials::default())).await);
    assert_certificate(read(&server, login(trusting(&Authority::new().certificate))).await);
    assert!(
        server.seen().is_empty(),
        "credentials went to a server that is not trusted: {:?}",
        server.seen()
    );
    assert_eq!(read(&server, login(trusting(&authority.certificate))).await.unwrap(), "one");
    let insecure = Credentials { insecure: true, ..Credentials::default() };
    assert_eq!(read(&server, login(insecure)).await.unwrap(), "one");
}

#[tokio::test]
async fn the_certificate_that_a_server_shows_is_told_so_that_its_end_can_be() {
    let (upstream, authority) = (Upstream::new(), Authority::new());
    let issued = authority.issue("127.0.0.1");
    let server = HttpServer::start_secure(&upstream, Behaviour::Serve, issued.server(None)).await;
    let reader = Reader::new().with_credentials(trusting(&authority.certificate));
    assert_eq!(reader.read(&server.url(), "main", "file").await.unwrap(), "one");
    let shown = ("127.0.0.1".to_owned(), issued.certificate.der().to_vec());
    assert_eq!(reader.counter.certificates().first(), Some(&shown));
}

#[tokio::test]
async fn a_certificate_for_another_host_is_refused() {
    let (upstream, authority) = (Upstream::new(), Authority::new());
    let server =
        HttpServer::start_secure(&upstream, Behaviour::Serve, authority.issue("other.example").server(None))
            .await;
    assert_certificate(read(&server, trusting(&authority.certificate)).await);
}

#[tokio::test]
async fn a_self_signed_certificate_can_be_trusted_itself() {
    let upstream = Upstream::new();
    let (own, other) = (Issued::self_signed("127.0.0.1"), Issued::self_signed("other.example"));
    let server = HttpServer::start_secure(&upstream, Behaviour::Serve, own.server(None)).await;
    assert_eq!(read(&server, trusting(&own.certificate)).await.unwrap(), "one");
    let elsewhere = HttpServer::start_secure(&upstream, Behaviour::Serve, other.server(None)).await;
    assert_certificate(read(&elsewhere, trusting(&other.certificate)).await);
    assert_certificate(read(&server, trusting(&other.certificate)).await);
}

#[tokio::test]
async fn a_client_certificate_is_shown_to_a_server_that_wants_one() {
    let (upstream, authority) = (Upstream::new(), Authority::new());
    let tls = authority.issue("127.0.0.1").server(Some(&authority));
    let server = HttpServer::start_secure(&upstream, Behaviour::Serve, tls).await;
    let client = authority.issue("client");
    let certificate = ClientCertificate {
        certificate: Masked::new(client.certificate.pem()),
        key: Masked::new(client.key.serialize_pem()),
    };
    let credentials =
        Credentials { client_certificate: Some(certificate), ..trusting(&authority.certificate) };
    assert_eq!(read(&server, credentials).await.unwrap(), "one");
    assert!(read(&server, trusting(&authority.certificate)).await.is_err());
}

#[tokio::test]
async fn tls_goes_through_a_proxy_end_to_end() {
    let (upstream, authority) = (Upstream::new(), Authority::new());
    let tls = authority.issue("127.0.0.1").server(None);
    let server = HttpServer::start_secure(&upstream, Behaviour::basic("user", "right"), tls).await;
    let proxy = HttpProxy::start(Some(basic("proxy", "secret"))).await;
    let credentials = Credentials {
        username: Some("user".to_owned()),
        password: Some(Masked::new("right".to_owned())),
        proxy: Some(Masked::new(format!("http://proxy:secret@{}", proxy.address))),
        ..trusting(&authority.certificate)
    };
    assert_eq!(read(&server, credentials.clone()).await.unwrap(), "one");
    assert!(
        proxy.seen().iter().all(|request| request.method == "CONNECT" && request.authorization.is_none())
    );
    assert!(!proxy.seen().is_empty());
    let wrong =
        Credentials { proxy: Some(Masked::new(format!("http://proxy:no@{}", proxy.address))), ..credentials };
    assert!(matches!(read(&server, wrong).await, Err(GitError::Authentication { .. })));
}

#[tokio::test]
async fn settings_that_are_no_certificates_are_named() {
    let (upstream, authority) = (Upstream::new(), Authority::new());
    let server =
        HttpServer::start_secure(&upstream, Behaviour::Serve, authority.issue("127.0.0.1").server(None))
            .await;
    let rubbish = Credentials { certificate_authorities: Some("rubbish".into()), ..Credentials::default() };
    let error = read(&server, rubbish).await.unwrap_err();
    assert!(error.to_string().contains("argocd-tls-certs-cm holds no valid PEM"), "{error}");
    let certificate =
        ClientCertificate { certificate: Masked::new("canary".into()), key: Masked::new("canary".into()) };
    let credentials =
        Credentials { client_certificate: Some(certificate), ..trusting(&authority.certificate) };
    let error = read(&server, credentials).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert!(
        error.to_string().contains("tlsClientCert") && !format!("{error:?}").contains("canary"),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_server_that_speaks_no_tls_gives_a_plain_error() {
    let upstream = Upstream::new();
    let server = HttpServer::start(&upstream, Behaviour::Serve).await;
    let url = RepoUrl::parse(&format!("https://{}/repo", server.address)).unwrap();
    let error = Reader::new().references(&url).await.unwrap_err();
    assert!(error.to_string().contains("TLS handshake failed"), "{error}");
}
