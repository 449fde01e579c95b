//! One file over HTTP, for kustomizations that name a URL.
//!
//! It is a `GET` by the rules of the transport: a deadline, a limit of bytes, trust and proxy by the settings. Redirects may
//! lead to other hosts, as releases of GitHub do, but never from `https` to `http`; credentials go to the first origin only.

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Method, StatusCode, header};
use http_body_util::BodyExt as _;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::{
    MAX_REDIRECTS,
    connection::{self, Connection, Outgoing},
};
use crate::git::{
    credentials::Credentials, error::GitError, network::Step, repositories::GitOptions, url::RepoUrl,
};

/// A file may be this long.
const MAX_BYTES: u64 = 10 << 20;

/// Brings the file behind an `http` or `https` URL.
///
/// # Errors
/// See [`GitError`]; its `repository` is the URL without user information and query.
pub async fn download(
    url: &Url,
    credentials: &Credentials,
    options: &GitOptions,
    cancel: &CancellationToken,
) -> Result<Bytes, GitError> {
    let step = step(url, credentials, options, cancel)?;
    step.within(follow(&step, url, options)).await?
}

fn step(
    url: &Url,
    credentials: &Credentials,
    options: &GitOptions,
    cancel: &CancellationToken,
) -> Result<Step, GitError> {
    let mut address = url.clone();
    address.set_query(None);
    address.set_fragment(None);
    let address = RepoUrl::parse(address.as_str())?;
    Ok(Step::new(&address, credentials, "downloading", options.list_timeout, MAX_BYTES, cancel))
}

async fn follow(step: &Step, url: &Url, options: &GitOptions) -> Result<Bytes, GitError> {
    let mut url = url.clone();
    let mut elsewhere: Option<Step> = None;
    for _ in 0..=MAX_REDIRECTS {
        let current = elsewhere.as_ref().unwrap_or(step);
        let response = get(current, &url).await?;
        let status = response.status();
        if status.is_success() {
            return body(step, response.into_body()).await;
        }
        if !status.is_redirection() {
            return Err(refused(step, status));
        }
        let location = response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
        let Some(to) = location.and_then(|location| url.join(location).ok()) else {
            return Err(step.failed("the server redirects to nowhere"));
        };
        let is_downgrade = url.scheme() == "https" && to.scheme() != "https";
        if is_downgrade || !matches!(to.scheme(), "http" | "https") {
            let location = format!("{}://{}", to.scheme(), to.host_str().unwrap_or_default());
            return Err(GitError::Redirect { repository: step.repository(), location });
        }
        if to.origin() != url.origin() {
            let kept = Credentials {
                proxy: step.credentials.proxy.clone(),
                no_proxy: step.credentials.no_proxy.clone(),
                ..Credentials::default()
            };
            elsewhere = Some(self::step(&to, &kept, options, &step.cancel)?);
        }
        url = to;
    }
    Err(step.failed(&format!("more than {MAX_REDIRECTS} redirects")))
}

async fn get(step: &Step, url: &Url) -> Result<http::Response<hyper::body::Incoming>, GitError> {
    let target = match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    };
    let mut outgoing = Outgoing::new(&Method::GET, &target, &Bytes::new());
    outgoing.set(header::ACCEPT, HeaderValue::from_static("*/*"));
    if let Some(authorization) = super::authorization(step)? {
        outgoing.set(header::AUTHORIZATION, authorization);
    }
    Connection::open(step, url).await?.send(step, outgoing).await
}

async fn body(step: &Step, mut body: hyper::body::Incoming) -> Result<Bytes, GitError> {
    let mut content = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| step.failed(&connection::reason(&error)))?;
        let Ok(data) = frame.into_data() else { continue };
        content.extend_from_slice(&data);
        if u64::try_from(content.len()).unwrap_or(u64::MAX) > step.max_bytes {
            return Err(step.over_limit());
        }
    }
    Ok(content.freeze())
}

fn refused(step: &Step, status: StatusCode) -> GitError {
    match status {
        StatusCode::UNAUTHORIZED => step.refused(),
        StatusCode::NOT_FOUND | StatusCode::GONE => GitError::NotFound { repository: step.repository() },
        StatusCode::PROXY_AUTHENTICATION_REQUIRED => connection::proxy_refused(step),
        status => step.failed(&format!("the server answers {status}")),
    }
}
