//! What an agent sends to the cluster, body by body, and the moment at which it is cut off from it.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Method, Request, Response};
use kube::{Client, client::Body};
use tower::Service;

/// A request of an agent.
#[derive(Clone, Debug)]
pub struct Sent {
    pub method: Method,
    /// Path and query.
    pub uri: String,
    pub body: Bytes,
}

impl Sent {
    /// Whether it may change something.
    pub fn is_write(&self) -> bool {
        self.method != Method::GET && !self.uri.contains("dryRun=") && !self.uri.contains("reviews")
    }

    /// Whether it reads once, unlike a watch.
    pub fn is_read(&self) -> bool {
        self.method == Method::GET && !self.uri.contains("watch=true")
    }

    /// Whether it keeps or gives up the lease.
    pub fn is_about_the_lease(&self) -> bool {
        self.uri.contains("/leases")
    }

    /// Whether it sends an event.
    pub fn is_event(&self) -> bool {
        self.uri.contains("/events") && self.method == Method::POST
    }

    pub fn body(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Clones share what they recorded.
#[derive(Clone, Default)]
pub struct Recorder {
    sent: Arc<Mutex<Vec<Sent>>>,
    /// How many writes still come through, if not all.
    writes_left: Arc<Mutex<Option<usize>>>,
    is_cut: Arc<AtomicBool>,
}

impl Recorder {
    /// A client whose requests are recorded.
    pub fn client(&self, client: Client) -> Client {
        let namespace = client.default_namespace().to_owned();
        Client::new(Recording { client, recorder: self.clone() }, namespace)
    }

    pub fn sent(&self) -> Vec<Sent> {
        self.sent.lock().unwrap().clone()
    }

    /// Everything but the writes to the lease and the events.
    pub fn writes(&self) -> Vec<Sent> {
        let counts = |sent: &Sent| sent.is_write() && !sent.is_about_the_lease() && !sent.is_event();
        self.sent().into_iter().filter(counts).collect()
    }

    /// Forgets all requests so far.
    pub fn clear(&self) {
        self.sent.lock().unwrap().clear();
    }

    /// Lets so many more writes come through. The next one arrives, but is never answered, and nothing after it arrives.
    pub fn cut_after(&self, writes: usize) {
        *self.writes_left.lock().unwrap() = Some(writes);
    }

    /// Whether the writes that were let through are used up.
    pub fn is_cut(&self) -> bool {
        self.is_cut.load(Ordering::Acquire)
    }

    async fn pass(&self, client: Client, request: Request<Body>) -> Result<Response<Body>, kube::Error> {
        let (head, body) = request.into_parts();
        let body = body.collect_bytes().await?;
        let uri = head.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
        let sent = Sent { method: head.method.clone(), uri, body: body.clone() };
        let counts = sent.is_write() && !sent.is_about_the_lease() && !sent.is_event();
        let request = Request::from_parts(head, Body::from(body));
        if self.is_cut() {
            return std::future::pending().await;
        }
        self.sent.lock().unwrap().push(sent);
        if counts && self.spend() {
            let _ = client.send(request).await;
            return std::future::pending().await;
        }
        client.send(request).await
    }

    /// Whether this write is the one that is never answered.
    fn spend(&self) -> bool {
        let mut left = self.writes_left.lock().unwrap();
        match *left {
            None => false,
            Some(0) => {
                self.is_cut.store(true, Ordering::Release);
                true
            }
            Some(more) => {
                *left = Some(more - 1);
                false
            }
        }
    }
}

#[derive(Clone)]
struct Recording {
    client: Client,
    recorder: Recorder,
}

impl Service<Request<Body>> for Recording {
    type Response = Response<Body>;
    type Error = tower::BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let Self { client, recorder } = self.clone();
        Box::pin(async move { recorder.pass(client, request).await.map_err(Into::into) })
    }
}
