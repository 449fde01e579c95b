//! The sandbox on a socket: HTTP or HTTPS on loopback, and the kubeconfig that leads there.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::service::Service;
use crate::error::{Classified, ErrorKind};

/// Where and how to serve.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// The address; port 0 takes a free one.
    pub address: SocketAddr,
    /// HTTPS under a certificate authority of its own.
    pub tls: bool,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self { address: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0), tls: false }
    }
}

/// Why the sandbox cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address cannot be bound.
    #[error("cannot listen on {address}: choose another port")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The address can be reached from other machines.
    #[error(
        "refusing to listen on {address}: the sandbox has no authentication and serves loopback addresses only"
    )]
    NotLoopback {
        /// The address.
        address: SocketAddr,
    },
    /// No certificate could be made.
    #[error("cannot make a certificate for the sandbox")]
    Certificate(#[from] rcgen::Error),
    /// The certificate could not be used.
    #[error("cannot set up TLS for the sandbox")]
    Tls(#[from] rustls::Error),
}

impl Classified for ServeError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Listen { .. } | Self::NotLoopback { .. } => ErrorKind::User,
            Self::Certificate(_) | Self::Tls(_) => ErrorKind::Bug,
        }
    }
}

/// How many connections are served at once.
const CONNECTIONS: usize = 1024;

/// A socket that serves a sandbox, until it is dropped.
pub struct Server {
    address: SocketAddr,
    authority: Option<String>,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Server {
    pub(super) async fn start(service: Service, options: ServeOptions) -> Result<Self, ServeError> {
        let address = options.address;
        if !address.ip().is_loopback() {
            return Err(ServeError::NotLoopback { address });
        }
        let listener =
            TcpListener::bind(address).await.map_err(|source| ServeError::Listen { address, source })?;
        let address = listener.local_addr().map_err(|source| ServeError::Listen { address, source })?;
        let (acceptor, authority) = if options.tls {
            let (config, authority) = certificates()?;
            (Some(TlsAcceptor::from(Arc::new(config))), Some(authority))
        } else {
            (None, None)
        };
        let stop = CancellationToken::new();
        let task = tokio::spawn(accept(listener, acceptor, service, stop.clone()));
        Ok(Self { address, authority, stop, task })
    }

    /// `http://127.0.0.1:PORT` or `https://…`.
    pub fn url(&self) -> String {
        let scheme = if self.authority.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// A kubeconfig that leads to the sandbox, as JSON, which is YAML too.
    pub fn kubeconfig(&self) -> Value {
        use base64::Engine as _;
        let mut cluster = json!({"server": self.url()});
        if let (Some(authority), Some(cluster)) = (&self.authority, cluster.as_object_mut()) {
            let encoded = base64::engine::general_purpose::STANDARD.encode(authority);
            cluster.insert("certificate-authority-data".to_owned(), Value::from(encoded));
        }
        json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "skiff-sandbox", "cluster": cluster}],
            "users": [{"name": "skiff-sandbox", "user": {"token": "not-checked"}}],
            "contexts": [{
                "name": "skiff-sandbox",
                "context": {"cluster": "skiff-sandbox", "user": "skiff-sandbox"},
            }],
            "current-context": "skiff-sandbox",
        })
    }

    /// Closes the socket and all connections.
    pub async fn shutdown(mut self) {
        self.stop.cancel();
        // The task ends by itself once it is cancelled.
        let _ = (&mut self.task).await;
    }
}

async fn accept(
    listener: TcpListener,
    acceptor: Option<TlsAcceptor>,
    service: Service,
    stop: CancellationToken,
) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let stream = tokio::select! {
            () = stop.cancelled() => return,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "the sandbox could not accept a connection");
                    continue;
                }
            },
        };
        let Ok(slot) = slots.clone().try_acquire_owned() else {
            continue;
        };
        let (service, acceptor) = (service.clone(), acceptor.clone());
        connections.spawn(async move {
            let _slot = slot;
            let _ = stream.set_nodelay(true);
            match acceptor {
                None => serve(stream, service).await,
                Some(acceptor) => {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        serve(stream, service).await;
                    }
                }
            }
        });
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, service: Service) {
    let respond = hyper::service::service_fn(move |request: http::Request<hyper::body::Incoming>| {
        let service = service.clone();
        async move { service.respond(request).await }
    });
    let builder = auto::Builder::new(TokioExecutor::new());
    // A client that goes away in the middle is its own business.
    let _ = builder.serve_connection(TokioIo::new(stream), respond).await;
}

/// A certificate for loopback and, as PEM, the authority that signed it.
fn certificates() -> Result<(ServerConfig, String), ServeError> {
    let authority_key = KeyPair::generate()?;
    let mut authority = CertificateParams::new(Vec::new())?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    authority.distinguished_name.push(DnType::CommonName, "skiff sandbox");
    let authority_certificate = authority.self_signed(&authority_key)?;
    let issuer = Issuer::new(authority, authority_key);
    let key = KeyPair::generate()?;
    let mut server = CertificateParams::new(vec!["localhost".to_owned()])?;
    server.subject_alt_names.push(SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)));
    server.subject_alt_names.push(SanType::IpAddress(IpAddr::V6(std::net::Ipv6Addr::LOCALHOST)));
    server.distinguished_name.push(DnType::CommonName, "skiff sandbox server");
    let certificate = server.signed_by(&key, &issuer)?;
    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], private)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok((config, authority_certificate.pem()))
}
