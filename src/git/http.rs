//! The transport for `http://` and `https://`, in place of libgit2's own.
//!
//! libgit2 speaks the Git protocol; this module carries its requests: `GET …/info/refs`, then `POST …/git-upload-pack` to
//! fetch or `POST …/git-receive-pack` to push. It exists for what libgit2's transport cannot do: end a request at a deadline or when it is cancelled, even while it
//! connects; trust certificate authorities per host and show client certificates; send bearer tokens with every request;
//! and send credentials to nothing but the scheme, host and port that they belong to, whatever a redirect says.

mod connection;
mod download;
mod proxy;
mod tls;

use std::{
    future::Future,
    io,
    sync::{Arc, Mutex, PoisonError},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::{Buf as _, Bytes};
use git2::{
    Remote,
    transport::{Service, SmartSubtransport, SmartSubtransportStream, Transport},
};
use http::{HeaderValue, Method, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use url::Url;

pub use self::download::download;

use self::connection::{Connection, Outgoing};
use super::{error::GitError, network::Step};

/// A list of references may be this long, which is about 500,000 of them.
const MAX_REFERENCES_BYTES: u64 = 32 << 20;
/// What libgit2 may send in one request, which is what it wants and has.
const MAX_REQUEST_BYTES: usize = 32 << 20;
const MAX_REDIRECTS: usize = 5;

/// Makes the transport for the step of this thread.
pub(super) fn transport(remote: &Remote<'_>) -> Result<Transport, git2::Error> {
    let step =
        Step::current().ok_or_else(|| git2::Error::from_str("no network step is running on this thread"))?;
    let base =
        Url::parse(&step.url.for_libgit2()).map_err(|error| git2::Error::from_str(&error.to_string()))?;
    let session = Session { step, base: Mutex::new(base), idle: Mutex::new(None) };
    Transport::smart(remote, true, HttpTransport(Arc::new(session)))
}

/// What the requests to one repository share.
struct Session {
    step: Arc<Step>,
    /// The repository's URL, after redirects.
    base: Mutex<Url>,
    /// The connection of the last request, for the next one.
    idle: Mutex<Option<Connection>>,
}

struct HttpTransport(Arc<Session>);

impl SmartSubtransport for HttpTransport {
    fn action(&self, _: &str, action: Service) -> Result<Box<dyn SmartSubtransportStream>, git2::Error> {
        let call = match action {
            Service::UploadPackLs => Call { service: "git-upload-pack", method: Method::GET },
            Service::UploadPack => Call { service: "git-upload-pack", method: Method::POST },
            Service::ReceivePackLs => Call { service: "git-receive-pack", method: Method::GET },
            Service::ReceivePack => Call { service: "git-receive-pack", method: Method::POST },
        };
        let session = Arc::clone(&self.0);
        Ok(Box::new(Exchange {
            session,
            call,
            body: Vec::new(),
            response: None,
            chunk: Bytes::new(),
            received: 0,
        }))
    }

    fn close(&self) -> Result<(), git2::Error> {
        *self.0.idle.lock().unwrap_or_else(PoisonError::into_inner) = None;
        Ok(())
    }
}

/// What is asked of the server: the listing of a service by `GET`, the service itself by `POST`.
struct Call {
    service: &'static str,
    method: Method,
}

/// One request and its response. libgit2 writes the body, then reads.
struct Exchange {
    session: Arc<Session>,
    call: Call,
    body: Vec<u8>,
    response: Option<Incoming>,
    chunk: Bytes,
    received: u64,
}

impl io::Write for Exchange {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.body.len() + bytes.len() > MAX_REQUEST_BYTES {
            return Err(io::Error::other("the request is too long"));
        }
        self.body.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl io::Read for Exchange {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let session = Arc::clone(&self.session);
        if self.response.is_none() {
            let body = Bytes::from(std::mem::take(&mut self.body));
            let response = session.wait(session.exchange(&self.call, &body))?;
            self.response = Some(response.into_body());
        }
        while self.chunk.is_empty() {
            let Some(response) = &mut self.response else {
                return Ok(0);
            };
            let frame = session.wait(async {
                match response.frame().await {
                    None => Ok(None),
                    Some(Ok(frame)) => Ok(Some(frame)),
                    Some(Err(error)) => Err(session.step.failed(&connection::reason(&error))),
                }
            })?;
            let Some(frame) = frame else { return Ok(0) };
            self.chunk = frame.into_data().unwrap_or_default();
            self.received = self.received.saturating_add(u64::try_from(self.chunk.len()).unwrap_or(u64::MAX));
            let step = &session.step;
            let limit = if self.call.method == Method::GET { MAX_REFERENCES_BYTES } else { step.max_bytes };
            if self.received > limit {
                return Err(io::Error::other(step.fail(step.over_limit())));
            }
        }
        let length = self.chunk.len().min(buffer.len());
        self.chunk.copy_to_slice(buffer.get_mut(..length).unwrap_or_default());
        Ok(length)
    }
}

impl Session {
    /// Runs a future on the step's time, and keeps its error for [`Step::classify`].
    fn wait<T>(&self, future: impl Future<Output = Result<T, GitError>>) -> io::Result<T> {
        let result = self.step.runtime.block_on(self.step.within(future)).and_then(|result| result);
        result.map_err(|error| io::Error::other(self.step.fail(error)))
    }

    async fn exchange(&self, call: &Call, body: &Bytes) -> Result<Response<Incoming>, GitError> {
        for _ in 0..=MAX_REDIRECTS {
            let base = self.base.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let response = self.send(&base, call, body).await?;
            let status = response.status();
            if status == StatusCode::OK {
                return self.check_content_type(call, response);
            }
            if status.is_redirection() && call.method == Method::GET {
                let moved = self.redirected(&base, &response)?;
                *self.base.lock().unwrap_or_else(PoisonError::into_inner) = moved;
                *self.idle.lock().unwrap_or_else(PoisonError::into_inner) = None;
                continue;
            }
            return Err(self.refused(call, status));
        }
        Err(self.step.failed(&format!("more than {MAX_REDIRECTS} redirects")))
    }

    fn refused(&self, call: &Call, status: StatusCode) -> GitError {
        match status {
            StatusCode::UNAUTHORIZED => self.step.refused(),
            StatusCode::FORBIDDEN => GitError::Authentication {
                repository: self.step.repository(),
                problem: format!(
                    "the server answers 403 Forbidden; the credentials lack the right to {} the repository",
                    if call.service == "git-receive-pack" { "write to" } else { "read" }
                ),
            },
            StatusCode::NOT_FOUND | StatusCode::GONE => {
                GitError::NotFound { repository: self.step.repository() }
            }
            StatusCode::PROXY_AUTHENTICATION_REQUIRED => connection::proxy_refused(&self.step),
            status => self.step.failed(&format!("the server answers {status}")),
        }
    }

    fn check_content_type(
        &self,
        call: &Call,
        response: Response<Incoming>,
    ) -> Result<Response<Incoming>, GitError> {
        let kind = if call.method == Method::GET { "advertisement" } else { "result" };
        let expected = format!("application/x-{}-{kind}", call.service);
        let found = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        if found.is_some_and(|found| found.split(';').next() == Some(&expected)) {
            return Ok(response);
        }
        Err(self.step.failed(&format!(
            "the server does not answer as a Git server (content type {:?}); check the URL",
            found.unwrap_or_default()
        )))
    }

    async fn send(&self, base: &Url, call: &Call, body: &Bytes) -> Result<Response<Incoming>, GitError> {
        let (path, service) = (base.path().trim_end_matches('/'), call.service);
        let target = if call.method == Method::GET {
            format!("{path}/info/refs?service={service}")
        } else {
            format!("{path}/{service}")
        };
        let mut outgoing = Outgoing::new(&call.method, &target, body);
        if call.method == Method::GET {
            outgoing.set(header::ACCEPT, HeaderValue::from_static("*/*"));
        } else {
            // Both names are of ASCII letters.
            for (name, kind) in [(header::ACCEPT, "result"), (header::CONTENT_TYPE, "request")] {
                if let Ok(value) = HeaderValue::from_str(&format!("application/x-{service}-{kind}")) {
                    outgoing.set(name, value);
                }
            }
        }
        if let Some(authorization) = authorization(&self.step)? {
            outgoing.set(header::AUTHORIZATION, authorization);
        }
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut connection = match idle {
            Some(idle) if idle.is_open() => idle,
            _ => Connection::open(&self.step, base).await?,
        };
        let response = connection.send(&self.step, outgoing).await?;
        *self.idle.lock().unwrap_or_else(PoisonError::into_inner) = Some(connection);
        Ok(response)
    }

    /// The repository's new base after a redirect: on the same scheme, host and port, or from a scheme's own port of `http` to
    /// that of `https` on the same host.
    fn redirected(&self, base: &Url, response: &Response<Incoming>) -> Result<Url, GitError> {
        let location = response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
        let to = location.and_then(|location| base.join(location).ok());
        let Some(mut to) = to else {
            return Err(self.step.failed("the server redirects to nowhere"));
        };
        let same_origin = to.origin() == base.origin();
        let upgrade = base.host() == to.host()
            && (base.scheme(), to.scheme()) == ("http", "https")
            && base.port().is_none()
            && to.port().is_none();
        // Neither can fail for a URL with a host.
        let _ = to.set_username("");
        let _ = to.set_password(None);
        if !same_origin && !upgrade {
            to.set_query(None);
            let location: String = to.as_str().chars().take(200).collect();
            return Err(GitError::Redirect { repository: self.step.repository(), location });
        }
        let Some(path) = to.path().strip_suffix("/info/refs").map(ToOwned::to_owned) else {
            return Err(self
                .step
                .failed("the server redirects to something that is no repository; check the URL"));
        };
        to.set_query(None);
        to.set_path(&path);
        Ok(to)
    }
}

/// The header with the credentials. It is only ever sent to an address that [`Session::redirected`] let through,
/// or that the URL of a download names.
fn authorization(step: &Step) -> Result<Option<HeaderValue>, GitError> {
    let credentials = &step.credentials;
    let (url_user, url_password) = step.url.user_info();
    let text = if let Some(token) = &credentials.bearer_token {
        format!("Bearer {}", token.reveal().trim())
    } else {
        let own = credentials.username.is_some() || credentials.password.is_some();
        let (user, password) = if own {
            (credentials.username.as_deref(), credentials.password.as_ref())
        } else {
            (url_user, url_password)
        };
        if user.is_none() && password.is_none() {
            return Ok(None);
        }
        let password = password.map(|password| password.reveal().as_str()).unwrap_or_default();
        format!("Basic {}", STANDARD.encode(format!("{}:{password}", user.unwrap_or("git"))))
    };
    let mut value = HeaderValue::from_str(&text).map_err(|_| GitError::Settings {
        repository: step.repository(),
        problem: "the bearer token holds characters that cannot be sent; set it again".to_owned(),
    })?;
    value.set_sensitive(true);
    Ok(Some(value))
}
