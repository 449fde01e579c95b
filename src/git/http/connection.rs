//! One HTTP/1.1 connection, direct or through a proxy.

use std::{
    error::Error,
    io,
    sync::{Arc, PoisonError},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{Empty, Full};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use url::Url;

use super::{proxy::Proxy, tls};
use crate::git::{error::GitError, network::Step};

/// A request to be sent.
pub(super) struct Outgoing {
    method: Method,
    /// Path and query.
    target: String,
    headers: HeaderMap,
    body: Bytes,
}

impl Outgoing {
    pub(super) fn new(method: &Method, target: &str, body: &Bytes) -> Self {
        let mut headers = HeaderMap::new();
        // Some servers tell Git clients from browsers by this.
        headers.insert(header::USER_AGENT, HeaderValue::from_static("git/2.0 (skiff)"));
        Self { method: method.clone(), target: target.to_owned(), headers, body: body.clone() }
    }

    pub(super) fn set(&mut self, name: HeaderName, value: HeaderValue) {
        self.headers.insert(name, value);
    }
}

/// An open connection to one scheme, host and port.
pub(super) struct Connection {
    sender: http1::SendRequest<Full<Bytes>>,
    /// What stands before the path in the request line: nothing, or for a proxy without a tunnel the origin.
    prefix: String,
    host: HeaderValue,
    proxy_authorization: Option<HeaderValue>,
}

impl Connection {
    /// Connects to the origin of a URL, with the proxy, certificates and trust of the step's credentials.
    pub(super) async fn open(step: &Step, url: &Url) -> Result<Self, GitError> {
        let host = url.host_str().unwrap_or_default().to_owned();
        let port = url.port_or_known_default().unwrap_or(80);
        let authority = url.port().map_or_else(|| host.clone(), |port| format!("{host}:{port}"));
        let secure = url.scheme() == "https";
        let header =
            HeaderValue::from_str(&authority).map_err(|_| step.failed("the host's name cannot be sent"))?;
        let connection =
            |sender| Self { sender, prefix: String::new(), host: header.clone(), proxy_authorization: None };
        let Some(proxy) = Proxy::choose(step, &host, port)? else {
            let stream = connect(step, &host, port).await?;
            return Ok(connection(if secure {
                start(step, encrypt(step, &host, stream).await?).await?
            } else {
                start(step, stream).await?
            }));
        };
        let stream = connect(step, &proxy.host, proxy.port).await?;
        if secure {
            let tunnel = tunnel(step, &proxy, &host, port, stream).await?;
            return Ok(connection(start(step, encrypt(step, &host, tunnel).await?).await?));
        }
        let mut through = connection(start(step, stream).await?);
        through.prefix = format!("http://{authority}");
        through.proxy_authorization = proxy.authorization;
        Ok(through)
    }

    pub(super) fn is_open(&self) -> bool {
        self.sender.is_ready()
    }

    pub(super) async fn send(
        &mut self,
        step: &Step,
        outgoing: Outgoing,
    ) -> Result<Response<Incoming>, GitError> {
        let mut request = Request::new(Full::new(outgoing.body));
        *request.method_mut() = outgoing.method;
        *request.uri_mut() = format!("{}{}", self.prefix, outgoing.target)
            .parse()
            .map_err(|_| step.failed("the URL cannot be sent"))?;
        *request.headers_mut() = outgoing.headers;
        request.headers_mut().insert(header::HOST, self.host.clone());
        if let Some(authorization) = &self.proxy_authorization {
            request.headers_mut().insert(header::PROXY_AUTHORIZATION, authorization.clone());
        }
        self.sender.send_request(request).await.map_err(|error| step.failed(&reason(&error)))
    }
}

async fn connect(step: &Step, host: &str, port: u16) -> Result<TcpStream, GitError> {
    let name = host.trim_matches(['[', ']']);
    let stream = TcpStream::connect((name, port)).await;
    stream.map_err(|error| step.failed(&format!("cannot connect to {host} at port {port}: {error}")))
}

/// Starts HTTP on a stream. The task that drives it ends with the connection.
async fn start<S>(step: &Step, stream: S) -> Result<http1::SendRequest<Full<Bytes>>, GitError>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (sender, driver) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| step.failed(&reason(&error)))?;
    step.runtime.spawn(async move {
        // The request that was under way reports the error.
        let _ = driver.await;
    });
    Ok(sender)
}

async fn encrypt<S>(
    step: &Step,
    host: &str,
    stream: S,
) -> Result<tokio_rustls::client::TlsStream<S>, GitError>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned())
        .map_err(|_| step.failed("the host's name is not valid in TLS"))?;
    let connector = TlsConnector::from(Arc::new(tls::client_config(step)?));
    let stream =
        connector.connect(name, stream).await.map_err(|error| handshake_error(step, host, &error))?;
    if let Some(certificate) = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first()) {
        let mut shown = step.server_certificate.lock().unwrap_or_else(PoisonError::into_inner);
        *shown = Some((host.to_owned(), certificate.to_vec()));
    }
    Ok(stream)
}

fn handshake_error(step: &Step, host: &str, error: &io::Error) -> GitError {
    let repository = step.repository();
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
    match cause {
        Some(rustls::Error::InvalidCertificate(problem)) => GitError::Certificate {
            repository,
            problem: format!(
                "{problem}; add the certificate authority that signed it to ConfigMap argocd-tls-certs-cm under the key \
                 '{host}'"
            ),
        },
        Some(rustls::Error::AlertReceived(alert)) => GitError::Authentication {
            repository,
            problem: format!(
                "the server ended the TLS handshake ({alert:?}); it may want another client certificate"
            ),
        },
        _ => step.failed(&format!("the TLS handshake failed: {error}")),
    }
}

/// Asks a proxy for a connection to a host.
async fn tunnel(
    step: &Step,
    proxy: &Proxy,
    host: &str,
    port: u16,
    stream: TcpStream,
) -> Result<TokioIo<hyper::upgrade::Upgraded>, GitError> {
    let (mut sender, driver) = http1::handshake::<_, Empty<Bytes>>(TokioIo::new(stream))
        .await
        .map_err(|error| step.failed(&reason(&error)))?;
    step.runtime.spawn(async move {
        // As in `start`.
        let _ = driver.with_upgrades().await;
    });
    let target = format!("{host}:{port}");
    let mut request = Request::connect(&target).header(header::HOST, &target);
    if let Some(authorization) = &proxy.authorization {
        request = request.header(header::PROXY_AUTHORIZATION, authorization);
    }
    let request = request.body(Empty::new()).map_err(|error| step.failed(&error.to_string()))?;
    let response = sender.send_request(request).await.map_err(|error| step.failed(&reason(&error)))?;
    match response.status() {
        status if status.is_success() => {}
        StatusCode::PROXY_AUTHENTICATION_REQUIRED => return Err(proxy_refused(step)),
        status => return Err(step.failed(&format!("the proxy answers {status}"))),
    }
    let upgraded = hyper::upgrade::on(response).await.map_err(|error| step.failed(&reason(&error)))?;
    Ok(TokioIo::new(upgraded))
}

/// The error for credentials that the proxy does not accept.
pub(super) fn proxy_refused(step: &Step) -> GitError {
    GitError::Authentication {
        repository: step.repository(),
        problem: "the proxy asks for other credentials; correct user and password in the proxy's URL"
            .to_owned(),
    }
}

/// The innermost cause of an HTTP error, which says what happened on the network.
pub(super) fn reason(error: &hyper::Error) -> String {
    let mut cause: &dyn Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
