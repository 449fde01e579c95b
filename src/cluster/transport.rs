//! What every request passes through: a count by verb and status, and the gate that leadership holds.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use futures::future::BoxFuture;
use http::{Method, Request, Response};
use kube::{Client, client::Body};
use tower::Service;

/// Told of each request that was answered.
pub trait RequestObserver: Send + Sync {
    /// One request with Kubernetes' verb (`get`, `list`, `watch`, `create`, `update`, `patch`, `apply`, `delete`) and
    /// the status code of its answer, 0 where there was none.
    fn request(&self, verb: &'static str, code: u16);
}

/// Says which writes this process may send to the cluster right now.
pub trait Gate: Send + Sync {
    /// Why a write is held back; `None` when it may be sent.
    fn holds(&self, write: &Request<Body>) -> Option<Held>;
}

/// A gate that is always open, for a process that runs alone (a command, a test).
pub struct Open;

impl Gate for Open {
    fn holds(&self, _: &Request<Body>) -> Option<Held> {
        None
    }
}

/// Why the gate held a write back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Held {
    /// This replica does not lead (any more).
    #[error("another replica leads now")]
    NotLeading,
    /// The agent only looks on.
    #[error("the agent runs in shadow mode and writes nothing but its report")]
    Shadow,
}

/// A client that counts its requests and sends no write that the gate holds back.
pub fn instrument(client: Client, observer: Arc<dyn RequestObserver>, gate: Arc<dyn Gate>) -> Client {
    let namespace = client.default_namespace().to_owned();
    Client::new(Instrumented { client, observer, gate }, namespace)
}

#[derive(Clone)]
struct Instrumented {
    client: Client,
    observer: Arc<dyn RequestObserver>,
    gate: Arc<dyn Gate>,
}

impl Service<Request<Body>> for Instrumented {
    type Response = Response<Body>;
    type Error = tower::BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let Self { client, observer, gate } = self.clone();
        Box::pin(async move {
            let verb = verb(&request);
            let is_read = matches!(verb, "get" | "list" | "watch");
            if let Some(held) = (!is_read).then(|| gate.holds(&request)).flatten() {
                return Err(held.into());
            }
            let result = client.send(request).await;
            observer.request(verb, result.as_ref().map_or(0, |response| response.status().as_u16()));
            result.map_err(Into::into)
        })
    }
}

/// Kubernetes' verb of a request. A path that ends in a resource's name is a `get`, any other read is a `list`.
fn verb(request: &Request<Body>) -> &'static str {
    let query = request.uri().query().unwrap_or_default();
    match *request.method() {
        Method::GET if query.split('&').any(|pair| pair == "watch=true" || pair == "watch=1") => "watch",
        Method::GET => {
            // /api/v1/pods, /api/v1/namespaces/x/pods, /apis/apps/v1/deployments: a resource stands at depth 3 or 5
            // behind /api, 4 or 6 behind /apis; what stands one deeper is a name.
            let path = request.uri().path().trim_matches('/');
            let depth = path.split('/').count() - usize::from(path.starts_with("apis/"));
            let namespaced = path.split('/').any(|part| part == "namespaces") && depth > 4;
            if depth == 3 || (namespaced && depth == 5) { "list" } else { "get" }
        }
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => {
            let apply = request
                .headers()
                .get(http::header::CONTENT_TYPE)
                .is_some_and(|content_type| content_type.as_bytes().starts_with(b"application/apply-patch"));
            if apply { "apply" } else { "patch" }
        }
        Method::DELETE => "delete",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verb_of(method: Method, uri: &str) -> &'static str {
        verb(&Request::builder().method(method).uri(uri).body(Body::empty()).unwrap())
    }

    #[test]
    fn requests_are_counted_under_kubernetes_verbs() {
        assert_eq!(verb_of(Method::GET, "/api/v1/pods"), "list");
        assert_eq!(verb_of(Method::GET, "/api/v1/pods?watch=true&resourceVersion=1"), "watch");
        assert_eq!(verb_of(Method::GET, "/api/v1/namespaces/shop/pods"), "list");
        assert_eq!(verb_of(Method::GET, "/api/v1/namespaces/shop"), "get");
        assert_eq!(verb_of(Method::GET, "/apis/apps/v1/namespaces/shop/deployments"), "list");
        assert_eq!(verb_of(Method::GET, "/apis/apps/v1/namespaces/shop/deployments/orders"), "get");
        assert_eq!(verb_of(Method::GET, "/apis/apps/v1/deployments"), "list");
        assert_eq!(verb_of(Method::DELETE, "/api/v1/namespaces/shop"), "delete");
    }
}
