//! What an agent sends to the cluster, body by body, what goes wrong with it on purpose, and the moment at which it is
//! cut off.
//!
//! All of it happens in the agent's client, so that it works before any cluster.

use std::{
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use axum::body::Body as Answer;
use bytes::Bytes;
use futures::{StreamExt, future::BoxFuture, stream};
use http::{Method, Request, Response, StatusCode, header};
use kube::{Client, client::Body};
use serde_json::{Value, json};
use skiff::sandbox::fault::{Fault, Faults, RequestRecord};
use tokio::time::Instant;
use tower::Service;

/// A request of an agent.
#[derive(Clone, Debug)]
pub struct Sent {
    pub method: Method,
    /// Path and query.
    pub uri: String,
    pub body: Bytes,
    /// When it was sent.
    pub at: Instant,
    answer: Arc<OnceLock<(StatusCode, Instant)>>,
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

    /// What the cluster answered, and when.
    pub fn answer(&self) -> Option<(StatusCode, Instant)> {
        self.answer.get().copied()
    }
}

/// Clones share what they recorded.
#[derive(Clone, Default)]
pub struct Recorder {
    faults: Faults,
    sent: Arc<Mutex<Vec<Sent>>>,
    /// How many writes still come through, if not all.
    writes_left: Arc<Mutex<Option<usize>>>,
    is_cut: Arc<AtomicBool>,
    /// The resources that cannot be watched.
    unwatchable: Arc<Mutex<Vec<String>>>,
    /// The namespaces that requests may be about, if not all.
    confined_to: Arc<Mutex<Option<Vec<String>>>>,
}

impl Recorder {
    /// One whose requests these faults strike.
    pub fn new(faults: &Faults) -> Self {
        Self { faults: faults.clone(), ..Self::default() }
    }

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

    /// Lets discovery say that a resource (`configmaps`) can be neither listed nor watched.
    pub fn hide_watch_of(&self, resource: &str) {
        self.unwatchable.lock().unwrap().push(resource.to_owned());
    }

    /// Refuses whatever is not about objects in these namespaces, as for a user who has Roles there and no ClusterRole.
    pub fn confine_to(&self, namespaces: &[&str]) {
        *self.confined_to.lock().unwrap() = Some(namespaces.iter().map(|it| (*it).to_owned()).collect());
    }

    fn is_out_of_bounds(&self, record: &RequestRecord) -> bool {
        let confined_to = self.confined_to.lock().unwrap();
        let is_of_an_object = !matches!(record.verb.as_str(), "discovery" | "other");
        let is_inside = |namespaces: &Vec<String>| {
            record.resource != "namespaces" && namespaces.contains(&record.namespace)
        };
        is_of_an_object && confined_to.as_ref().is_some_and(|namespaces| !is_inside(namespaces))
    }

    async fn pass(
        &self,
        client: Client,
        request: Request<Body>,
    ) -> Result<Response<Answer>, tower::BoxError> {
        let (head, body) = request.into_parts();
        let body = body.collect_bytes().await?;
        let uri = head.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
        let answer = Arc::default();
        let at = Instant::now();
        let sent = Sent { method: head.method.clone(), uri, body: body.clone(), at, answer };
        let counts = sent.is_write() && !sent.is_about_the_lease() && !sent.is_event();
        let record = RequestRecord::of(&head);
        let request = Request::from_parts(head, Body::from(body));
        if self.is_cut() {
            return std::future::pending().await;
        }
        self.sent.lock().unwrap().push(sent.clone());
        let response = if counts && self.spend() {
            let _ = client.send(request).await;
            return std::future::pending().await;
        } else {
            self.strike_or_send(&record, client, request).await?
        };
        let _ = sent.answer.set((response.status(), Instant::now()));
        Ok(response)
    }

    async fn strike_or_send(
        &self,
        record: &RequestRecord,
        client: Client,
        request: Request<Body>,
    ) -> Result<Response<Answer>, tower::BoxError> {
        if self.is_out_of_bounds(record) {
            return Ok(refusal(&Fault::Forbidden, record));
        }
        let mut cut = None;
        for fault in self.faults.strike(record) {
            match fault {
                Fault::Delay(time) => tokio::time::sleep(time).await,
                Fault::CutWatch(events) => cut = Some(events),
                Fault::Disconnect => return Err("the connection was closed (an injected fault)".into()),
                other => return Ok(refusal(&other, record)),
            }
        }
        let response = client.send(request).await?;
        if record.verb == "discovery" {
            return self.as_discovered(response).await;
        }
        Ok(response.map(|body| match cut {
            Some(events) => cut_after(events, body),
            None => Answer::new(body),
        }))
    }

    /// The same discovery, in which groups that a fault strikes are stale and empty, as when their server is down, and in
    /// which some resources cannot be watched.
    async fn as_discovered(&self, response: Response<Body>) -> Result<Response<Answer>, tower::BoxError> {
        let (mut head, body) = response.into_parts();
        let bytes = body.collect_bytes().await?;
        let mut document: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let mut struck = false;
        let unwatchable = self.unwatchable.lock().unwrap().clone();
        for group in document["items"].as_array_mut().into_iter().flatten() {
            let name = group["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            let versions = group["versions"].as_array_mut().into_iter().flatten();
            for resource in versions.flat_map(|version| version["resources"].as_array_mut()).flatten() {
                if unwatchable.iter().any(|name| resource["resource"] == *name) {
                    resource["verbs"] = json!(["create", "delete", "get", "patch", "update"]);
                    struck = true;
                }
            }
            let asked =
                RequestRecord { verb: "discovery".to_owned(), group: name, ..RequestRecord::default() };
            if !self.faults.strike_group(&asked) {
                continue;
            }
            struck = true;
            for version in group["versions"].as_array_mut().into_iter().flatten() {
                version["freshness"] = "Stale".into();
                version.as_object_mut().unwrap().shift_remove("resources");
            }
        }
        if !struck {
            return Ok(Response::from_parts(head, Answer::from(bytes)));
        }
        head.headers.remove(header::CONTENT_LENGTH);
        Ok(Response::from_parts(head, Answer::from(document.to_string())))
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

fn refusal(fault: &Fault, record: &RequestRecord) -> Response<Answer> {
    let error = fault.refusal(record).unwrap();
    let mut response = Response::builder().status(error.code());
    if let Some(seconds) = error.retry_after() {
        response = response.header(header::RETRY_AFTER, seconds);
    }
    response = response.header(header::CONTENT_TYPE, "application/json");
    response.body(Answer::from(error.to_status().to_string())).unwrap()
}

/// A watch that ends after so many events, each of which is a line.
fn cut_after(events: usize, body: Body) -> Answer {
    let frames = Answer::new(body).into_data_stream();
    Answer::from_stream(stream::unfold((frames, events), |(mut frames, left)| async move {
        if left == 0 {
            return None;
        }
        let frame = match frames.next().await? {
            Ok(frame) => frame,
            Err(error) => return Some((Err(error), (frames, 0))),
        };
        let ends = frame.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
        let ends: Vec<usize> = ends.take(left).collect();
        let left = left - ends.len();
        let end = if left == 0 { ends.last().copied().unwrap_or(0) } else { frame.len() };
        Some((Ok(frame.slice(..end)), (frames, left)))
    }))
}

#[derive(Clone)]
struct Recording {
    client: Client,
    recorder: Recorder,
}

impl Service<Request<Body>> for Recording {
    type Response = Response<Answer>;
    type Error = tower::BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let Self { client, recorder } = self.clone();
        Box::pin(async move { recorder.pass(client, request).await })
    }
}
