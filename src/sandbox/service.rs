//! The in-process connection: a `tower` service that a `kube::Client` speaks to without sockets.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response, StatusCode};

use super::handler::Handler;

/// Hands requests to a [`Handler`].
#[derive(Clone)]
pub struct Service(Arc<Handler>);

/// An injected fault broke the connection.
#[derive(Debug, thiserror::Error)]
#[error("the connection was closed before an answer came (an injected fault)")]
pub struct Disconnected;

impl Service {
    /// A connection to a handler.
    pub fn new(handler: Arc<Handler>) -> Self {
        Self(handler)
    }

    /// The same for a server that cannot break its connection: 502 instead.
    pub async fn respond<B>(&self, request: Request<B>) -> Result<Response<Body>, Infallible>
    where
        B: hyper::body::Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        Ok(self.0.handle(request).await.unwrap_or_else(|| {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::BAD_GATEWAY;
            response
        }))
    }
}

impl<B> tower::Service<Request<B>> for Service
where
    B: hyper::body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Response = Response<Body>;
    type Error = Box<dyn std::error::Error + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let handler = self.0.clone();
        Box::pin(async move { handler.handle(request).await.ok_or_else(|| Disconnected.into()) })
    }
}
