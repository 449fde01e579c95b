//! `watch`: the initial state if asked for, then events, bookmarks, and the end.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures::stream;
use http::{Response, StatusCode, header};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::super::kinds::Resource;
use super::super::output::Format;
use super::super::status::ApiError;
use super::super::storage::{Event, EventKind, Stored};
use super::super::store::{Store, Tail, TailEnd};
use super::super::{convert, output};
use super::read::{Selection, check_options, parse_count, parse_version};
use super::{Answer, Call, Handler};

/// How often a quiet watch is told how far it is.
const BOOKMARK_INTERVAL: Duration = Duration::from_secs(15);

struct Watching {
    store: Store,
    tail: Tail,
    selection: Selection,
    resource: Arc<Resource>,
    format: Format,
    namespace: String,
    bookmarks: bool,
    next_bookmark: Instant,
    deadline: Instant,
    /// The resource version of the latest bookmark or event that was sent.
    sent: u64,
    ready: VecDeque<Bytes>,
    /// Events that may still be sent before an injected cut.
    left: Option<usize>,
    ended: bool,
    columns_sent: bool,
}

impl Handler {
    pub(super) fn watch(&self, call: &Call<'_>, cut: Option<usize>) -> Answer {
        let selection = Selection::of(call)?;
        let request = call.request;
        let streaming = request.is_set("sendInitialEvents");
        check_options(call)?;
        let timeout = parse_count(request.parameter("timeoutSeconds"))?;
        let from = parse_version(request.parameter("resourceVersion")).map_err(ApiError::no_number)?;
        let timeout = match timeout {
            0 => fastrand::u64(1800..3600),
            seconds => u64::try_from(seconds).unwrap_or(3600).min(86_400),
        };
        let bookmarks = request.is_set("allowWatchBookmarks");
        let initial = request.parameter("sendInitialEvents");
        let (revision, start) = {
            let state = self.store.lock();
            let current = state.storage.revision();
            if streaming || (from == 0 && initial.is_empty()) {
                (current, state.storage.list(&call.resource.storage, Some(call.target.namespace.as_str())))
            } else {
                (if from == 0 { current } else { from }, Vec::new())
            }
        };
        let mut watching = Watching {
            tail: self.store.tail(&call.resource.storage, revision),
            store: self.store.clone(),
            selection,
            resource: call.resource.clone(),
            format: call.format,
            namespace: call.target.namespace.clone(),
            bookmarks,
            next_bookmark: Instant::now() + BOOKMARK_INTERVAL,
            deadline: Instant::now() + Duration::from_secs(timeout),
            sent: revision,
            ready: VecDeque::new(),
            left: cut,
            ended: false,
            columns_sent: false,
        };
        for stored in &start {
            if watching.selection.matches(stored) {
                watching.push("ADDED", stored);
            }
        }
        if streaming && bookmarks {
            watching.push_bookmark(revision, true);
        }
        let frames = stream::unfold(watching, |mut watching| async move {
            let frame = watching.next().await?;
            Some((Ok::<_, std::convert::Infallible>(frame), watching))
        });
        let mut response = Response::new(Body::from_stream(frames));
        *response.status_mut() = StatusCode::OK;
        response.headers_mut().insert(header::CONTENT_TYPE, output::JSON);
        Ok(response)
    }
}

impl Watching {
    /// The next bytes; `None` at the end of the watch.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if self.left == Some(0) {
                return None;
            }
            if let Some(frame) = self.ready.pop_front() {
                if let Some(left) = &mut self.left {
                    *left -= 1;
                }
                return Some(frame);
            }
            if self.ended {
                return None;
            }
            tokio::select! {
                biased;
                events = self.tail.next() => match events {
                    Ok(events) => events.iter().for_each(|event| self.take(event)),
                    Err(TailEnd::Expired) => {
                        self.ended = true;
                        let from = self.sent;
                        let current = self.store.revision();
                        let error = ApiError::expired(format!("too old resource version: {from} ({current})"));
                        self.ready.push_back(frame("ERROR", &error.to_status()));
                    }
                    Err(TailEnd::Closed) => return None,
                },
                () = tokio::time::sleep_until(self.deadline) => {
                    self.ended = true;
                    self.bookmark();
                }
                () = tokio::time::sleep_until(self.next_bookmark), if self.bookmarks => {
                    self.next_bookmark = Instant::now() + BOOKMARK_INTERVAL;
                    self.bookmark();
                }
            }
        }
    }

    /// Tells how far the watch is, if it is further than the client knows.
    fn bookmark(&mut self) {
        let revision = self.tail.reached();
        if self.bookmarks && revision > self.sent {
            self.push_bookmark(revision, false);
        }
    }

    fn take(&mut self, event: &Event) {
        if !self.namespace.is_empty() && event.object.key.namespace != self.namespace {
            return;
        }
        let is = self.selection.matches(&event.object);
        let was = event.previous.as_ref().is_some_and(|previous| self.selection.matches(previous));
        match (event.kind, was, is) {
            (EventKind::Added, _, true) | (EventKind::Modified, false, true) => {
                self.push("ADDED", &event.object);
            }
            (EventKind::Modified, true, true) => self.push("MODIFIED", &event.object),
            (EventKind::Deleted, true, _) => self.push("DELETED", &event.object),
            (EventKind::Modified, true, false) => {
                // The client is shown the last state that it could see, under the version of the change.
                if let Some(previous) = &event.previous {
                    let mut value = previous.value();
                    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
                        let revision = event.object.revision.to_string();
                        metadata.insert("resourceVersion".to_owned(), Value::from(revision));
                    }
                    self.sent = event.object.revision;
                    self.push_value("DELETED", value);
                }
            }
            _ => {}
        }
    }

    fn push(&mut self, kind: &str, stored: &Stored) {
        self.sent = self.sent.max(stored.revision);
        if self.format.is_plain() && convert::is_identity(&self.resource) {
            let mut bytes = Vec::with_capacity(stored.json.len() + 40);
            bytes.extend_from_slice(format!("{{\"type\":\"{kind}\",\"object\":").as_bytes());
            bytes.extend_from_slice(&stored.json);
            bytes.extend_from_slice(b"}\n");
            self.ready.push_back(bytes.into());
        } else {
            self.push_value(kind, stored.value());
        }
    }

    fn push_value(&mut self, kind: &str, value: Value) {
        let value = convert::to_served(&self.resource, value);
        let mut shaped = output::shaped(&self.format, &self.resource, value);
        // A table's columns are told once.
        if std::mem::replace(&mut self.columns_sent, true)
            && self.format.is_table()
            && let Some(table) = shaped.as_object_mut()
        {
            table.insert("columnDefinitions".to_owned(), Value::Null);
        }
        self.ready.push_back(frame(kind, &shaped));
    }

    fn push_bookmark(&mut self, revision: u64, end_of_initial: bool) {
        self.sent = revision;
        let mut metadata = json!({"resourceVersion": revision.to_string()});
        if end_of_initial && let Some(metadata) = metadata.as_object_mut() {
            metadata.insert("annotations".to_owned(), json!({"k8s.io/initial-events-end": "true"}));
        }
        let object = json!({
            "kind": self.resource.kind,
            "apiVersion": self.resource.api_version(),
            "metadata": metadata,
        });
        self.ready.push_back(frame("BOOKMARK", &output::shaped(&self.format, &self.resource, object)));
    }
}

fn frame(kind: &str, object: &Value) -> Bytes {
    let mut text = json!({"type": kind, "object": object}).to_string();
    text.push('\n');
    text.into()
}
