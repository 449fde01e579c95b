//! A smart HTTP server around `git http-backend`, and an HTTP proxy.

use std::{
    io::Write as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, Mutex},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Method, Request, Response, body::Incoming, header, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use skiff::git::RepoUrl;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;

use super::world::Upstream;

/// What a server does with requests.
#[derive(Clone, Debug)]
pub enum Behaviour {
    /// Serves everybody.
    Serve,
    /// Serves those who send this `Authorization`.
    Require(String),
    /// Sends everybody to this base.
    Redirect(String),
    /// Sends those who send this `Authorization` to this base, and asks the others for it.
    RequireThenRedirect(String, String),
    /// Answers with a status and no more.
    Status(u16),
    /// Serves once the gate is open.
    Gate(watch::Receiver<bool>),
    /// Never answers.
    Hang,
    /// Answers the listing, and sends no more than the head of a fetch.
    HangInFetch,
}

impl Behaviour {
    pub fn basic(user: &str, password: &str) -> Self {
        Self::Require(basic(user, password))
    }
}

pub fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

/// A request as the server saw it.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: Method,
    pub target: String,
    pub authorization: Option<String>,
    pub proxy_authorization: Option<String>,
}

/// A server on a port of its own; it ends with this value.
pub struct HttpServer {
    pub address: SocketAddr,
    pub secure: bool,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: JoinHandle<()>,
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl HttpServer {
    pub async fn start(upstream: &Upstream, behaviour: Behaviour) -> Self {
        Self::start_with(upstream.root.path(), behaviour, None).await
    }

    pub async fn start_secure(upstream: &Upstream, behaviour: Behaviour, tls: rustls::ServerConfig) -> Self {
        Self::start_with(upstream.root.path(), behaviour, Some(tls)).await
    }

    async fn start_with(root: &Path, behaviour: Behaviour, tls: Option<rustls::ServerConfig>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let service = Service { root: root.to_owned(), behaviour, seen: Arc::clone(&seen) };
        let acceptor = tls.map(|tls| TlsAcceptor::from(Arc::new(tls)));
        let secure = acceptor.is_some();
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (service, acceptor) = (service.clone(), acceptor.clone());
                tokio::spawn(async move {
                    match acceptor {
                        None => service.serve(stream).await,
                        Some(acceptor) => {
                            if let Ok(stream) = acceptor.accept(stream).await {
                                service.serve(stream).await;
                            }
                        }
                    }
                });
            }
        });
        Self { address, secure, seen, task }
    }

    pub fn base(&self) -> String {
        let scheme = if self.secure { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    pub fn url(&self) -> RepoUrl {
        RepoUrl::parse(&format!("{}/repo", self.base())).unwrap()
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

#[derive(Clone)]
struct Service {
    root: PathBuf,
    behaviour: Behaviour,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Service {
    async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(self, stream: S) {
        let answer = service_fn(move |request| {
            let service = self.clone();
            async move { Ok::<_, std::convert::Infallible>(service.answer(request).await) }
        });
        let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
    }

    async fn answer(
        self,
        request: Request<Incoming>,
    ) -> Response<http_body_util::Either<Full<Bytes>, Stalled>> {
        let whole = |response: Response<Full<Bytes>>| response.map(http_body_util::Either::Left);
        let seen = seen(&request);
        self.seen.lock().unwrap().push(seen.clone());
        match &self.behaviour {
            Behaviour::Hang => std::future::pending().await,
            Behaviour::Status(status) => return whole(empty(*status)),
            Behaviour::Redirect(base) => return whole(redirect(base, &seen)),
            Behaviour::Require(wanted) | Behaviour::RequireThenRedirect(wanted, _)
                if seen.authorization.as_ref() != Some(wanted) =>
            {
                let mut response = empty(401);
                response
                    .headers_mut()
                    .insert(header::WWW_AUTHENTICATE, "Basic realm=\"git\"".parse().unwrap());
                return whole(response);
            }
            Behaviour::RequireThenRedirect(_, base) => return whole(redirect(base, &seen)),
            Behaviour::HangInFetch if request.method() == Method::POST => {
                let response =
                    Response::builder().header(header::CONTENT_TYPE, "application/x-git-upload-pack-result");
                return response.body(http_body_util::Either::Right(Stalled)).unwrap();
            }
            Behaviour::Gate(open) => {
                let _ = open.clone().wait_for(|open| *open).await;
            }
            Behaviour::Require(_) | Behaviour::Serve | Behaviour::HangInFetch => {}
        }
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        whole(tokio::task::spawn_blocking(move || self.backend(&head, &body)).await.unwrap())
    }

    /// Runs `git http-backend` for one request.
    fn backend(&self, head: &http::request::Parts, body: &[u8]) -> Response<Full<Bytes>> {
        let header = |name| head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let mut command = Command::new("git");
        command.arg("http-backend").env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
        command.env("GIT_PROJECT_ROOT", &self.root).env("GIT_HTTP_EXPORT_ALL", "1");
        command.env("REQUEST_METHOD", head.method.as_str()).env("PATH_INFO", head.uri.path());
        command.env("QUERY_STRING", head.uri.query().unwrap_or_default());
        command.env("CONTENT_TYPE", header("content-type")).env("CONTENT_LENGTH", body.len().to_string());
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let body = body.to_vec();
        let writer = std::thread::spawn(move || {
            let _ = stdin.write_all(&body);
        });
        let output = child.wait_with_output().unwrap().stdout;
        writer.join().unwrap();
        let end = output.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
        let mut response = Response::builder();
        for line in std::str::from_utf8(&output[..end]).unwrap().lines() {
            let (name, value) = line.split_once(": ").unwrap();
            response = match name {
                "Status" => response.status(value[..3].parse::<u16>().unwrap()),
                _ => response.header(name, value),
            };
        }
        response.body(Full::from(output[end + 4..].to_vec())).unwrap()
    }
}

/// A body of which no byte ever comes.
struct Stalled;

impl hyper::body::Body for Stalled {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Bytes>, Self::Error>>> {
        std::task::Poll::Pending
    }
}

fn seen(request: &Request<Incoming>) -> Seen {
    let text = |name| request.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    Seen {
        method: request.method().clone(),
        target: request.uri().to_string(),
        authorization: text(header::AUTHORIZATION),
        proxy_authorization: text(header::PROXY_AUTHORIZATION),
    }
}

fn empty(status: u16) -> Response<Full<Bytes>> {
    Response::builder().status(status).body(Full::default()).unwrap()
}

fn redirect(base: &str, seen: &Seen) -> Response<Full<Bytes>> {
    let location = format!("{base}{}", seen.target.strip_prefix("/repo").unwrap_or(&seen.target));
    Response::builder().status(301).header(header::LOCATION, location).body(Full::default()).unwrap()
}

/// An HTTP proxy: `CONNECT` and absolute targets.
pub struct HttpProxy {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: JoinHandle<()>,
}

impl Drop for HttpProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl HttpProxy {
    pub async fn start(required: Option<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&log);
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (log, required) = (Arc::clone(&shared), required.clone());
                let answer = service_fn(move |request: Request<Incoming>| {
                    let seen = seen(&request);
                    log.lock().unwrap().push(seen.clone());
                    let refused = required.is_some() && seen.proxy_authorization != required;
                    async move {
                        let response = if refused { empty(407) } else { forward(request).await };
                        Ok::<_, std::convert::Infallible>(response)
                    }
                });
                let connection =
                    http1::Builder::new().serve_connection(TokioIo::new(stream), answer).with_upgrades();
                tokio::spawn(connection);
            }
        });
        Self { address, seen: log, task }
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

async fn forward(request: Request<Incoming>) -> Response<Full<Bytes>> {
    let authority = request.uri().authority().unwrap().to_string();
    let mut upstream = TcpStream::connect(&authority).await.unwrap();
    if request.method() == Method::CONNECT {
        tokio::spawn(async move {
            let client = hyper::upgrade::on(request).await.unwrap();
            let _ = tokio::io::copy_bidirectional(&mut TokioIo::new(client), &mut upstream).await;
        });
        return empty(200);
    }
    let (mut head, body) = request.into_parts();
    head.headers.remove(header::PROXY_AUTHORIZATION);
    head.uri = head.uri.path_and_query().unwrap().to_string().parse().unwrap();
    let body = Full::new(body.collect().await.unwrap().to_bytes());
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(upstream)).await.unwrap();
    tokio::spawn(connection);
    let (head, body) = sender.send_request(Request::from_parts(head, body)).await.unwrap().into_parts();
    Response::from_parts(head, Full::new(body.collect().await.unwrap().to_bytes()))
}
