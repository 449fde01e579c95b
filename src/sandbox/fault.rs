//! Faults by rule, and the log of requests: how tests make the sandbox misbehave and see what it was asked.
//!
//! A client of any other API server can be struck by the same rules: [`RequestRecord::of`] says what a request is,
//! [`Faults::strike`] what becomes of it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::request::ApiRequest;
use super::status::{ApiError, Subject};

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// 409 `Conflict`.
    Conflict,
    /// 410 `Expired`.
    Expired,
    /// 429 with `Retry-After` in seconds.
    TooManyRequests(u32),
    /// 500 `InternalError`.
    InternalError,
    /// 503 `ServiceUnavailable`.
    Unavailable,
    /// 403 `Forbidden`.
    Forbidden,
    /// The request waits, and is then served.
    Delay(Duration),
    /// A watch ends after this many events.
    CutWatch(usize),
    /// The connection breaks without an answer.
    Disconnect,
}

/// When a fault strikes. Fields that are `None` fit everything.
#[derive(Clone, Debug, Default)]
pub struct FaultRule {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`, or `discovery`.
    pub verb: Option<String>,
    /// API group; for verb `discovery` the group whose discovery fails.
    pub group: Option<String>,
    /// Plural resource name.
    pub resource: Option<String>,
    /// Namespace.
    pub namespace: Option<String>,
    /// Object name.
    pub name: Option<String>,
    /// Subresource; the empty string is the object itself.
    pub subresource: Option<String>,
    /// How many requests are let through before the first that is struck.
    pub skip: usize,
    /// How many requests are struck; `None` for all.
    pub times: Option<usize>,
    /// The probability with which a fitting request is struck; `None` for certainty.
    pub probability: Option<f64>,
}

impl FaultRule {
    /// A rule for a verb on a resource.
    pub fn on(verb: &str, resource: &str) -> Self {
        Self { verb: Some(verb.to_owned()), resource: Some(resource.to_owned()), ..Self::default() }
    }

    /// The same for one name.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }

    /// The same for so many requests.
    #[must_use]
    pub fn times(mut self, times: usize) -> Self {
        self.times = Some(times);
        self
    }

    /// The same after so many requests.
    #[must_use]
    pub fn after(mut self, skip: usize) -> Self {
        self.skip = skip;
        self
    }

    fn fits(&self, request: &RequestRecord) -> bool {
        let fits =
            |wanted: &Option<String>, found: &str| wanted.as_deref().is_none_or(|wanted| wanted == found);
        fits(&self.verb, &request.verb)
            && fits(&self.group, &request.group)
            && fits(&self.resource, &request.resource)
            && fits(&self.namespace, &request.namespace)
            && fits(&self.name, &request.name)
            && fits(&self.subresource, &request.subresource)
    }
}

/// One request, as it was answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestRecord {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `apply`'s `patch`, `delete`, `deletecollection`, or
    /// `discovery` and `other` for what concerns no resource.
    pub verb: String,
    /// API group.
    pub group: String,
    /// API version.
    pub version: String,
    /// Plural resource name.
    pub resource: String,
    /// Namespace; empty for none or all.
    pub namespace: String,
    /// Object name; empty for collections.
    pub name: String,
    /// Subresource.
    pub subresource: String,
    /// Path and query.
    pub path: String,
    /// Whether it was a dry run.
    pub dry_run: bool,
    /// `User-Agent`.
    pub user_agent: String,
    /// `Content-Type` of the body.
    pub content_type: String,
    /// Status code of the answer.
    pub status: u16,
}

impl RequestRecord {
    /// What a request asks of which resource, before it is answered.
    pub fn of(request: &http::request::Parts) -> Self {
        ApiRequest::new(request, bytes::Bytes::new()).record()
    }

    /// Whether the request may have changed something: a verb that writes, no dry run, and no review.
    pub fn is_write(&self) -> bool {
        let writes =
            matches!(self.verb.as_str(), "create" | "update" | "patch" | "delete" | "deletecollection");
        writes && !self.dry_run && !self.resource.ends_with("reviews")
    }
}

#[derive(Debug)]
struct Armed {
    rule: FaultRule,
    fault: Fault,
    seen: usize,
    struck: usize,
}

/// The faults that are armed.
#[derive(Clone, Debug, Default)]
pub struct Faults(Arc<Mutex<Vec<Armed>>>);

impl Faults {
    /// Arms a fault.
    pub fn inject(&self, rule: FaultRule, fault: Fault) {
        self.lock().push(Armed { rule, fault, seen: 0, struck: 0 });
    }

    /// Disarms all faults.
    pub fn clear(&self) {
        self.lock().clear();
    }

    /// The faults that strike a request now.
    pub fn strike(&self, request: &RequestRecord) -> Vec<Fault> {
        let mut struck = Vec::new();
        for armed in self.lock().iter_mut().filter(|armed| armed.rule.fits(request)) {
            armed.seen += 1;
            if armed.seen <= armed.rule.skip || armed.rule.times.is_some_and(|times| armed.struck >= times) {
                continue;
            }
            if armed.rule.probability.is_some_and(|probability| fastrand::f64() >= probability) {
                continue;
            }
            armed.struck += 1;
            struck.push(armed.fault.clone());
        }
        struck
    }

    /// Whether the discovery of one group is to fail; only rules that name the group count.
    pub fn strike_group(&self, request: &RequestRecord) -> bool {
        let mut armed = self.lock();
        let mut rules =
            armed.iter_mut().filter(|armed| armed.rule.group.is_some() && armed.rule.fits(request));
        rules.any(|armed| {
            armed.seen += 1;
            let strikes =
                armed.seen > armed.rule.skip && armed.rule.times.is_none_or(|times| armed.struck < times);
            armed.struck += usize::from(strikes);
            strikes
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Armed>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Fault {
    /// The refusal that this fault answers with, if it is one.
    pub fn refusal(&self, request: &RequestRecord) -> Option<ApiError> {
        let subject = Subject { group: &request.group, resource: &request.resource, name: &request.name };
        Some(match self {
            Self::Conflict => ApiError::conflict(
                subject,
                "the object has been modified; please apply your changes to the latest version and try again",
            ),
            Self::Expired => ApiError::expired("The resourceVersion for the provided list is too old."),
            Self::TooManyRequests(seconds) => ApiError::too_many_requests(*seconds),
            Self::InternalError => ApiError::internal("injected fault"),
            Self::Unavailable => {
                ApiError::unavailable("the server is currently unable to handle the request")
            }
            Self::Forbidden => {
                let place = if request.namespace.is_empty() {
                    "at the cluster scope".to_owned()
                } else {
                    format!("in the namespace {:?}", request.namespace)
                };
                let why = format!(
                    "User \"sandbox\" cannot {} resource {:?} in API group {:?} {place}",
                    request.verb, request.resource, request.group
                );
                ApiError::forbidden(subject, &why)
            }
            Self::Delay(_) | Self::CutWatch(_) | Self::Disconnect => return None,
        })
    }
}

/// The latest requests.
#[derive(Clone, Debug)]
pub struct RequestLog {
    records: Arc<Mutex<VecDeque<RequestRecord>>>,
    capacity: usize,
}

impl Default for RequestLog {
    fn default() -> Self {
        Self { records: Arc::default(), capacity: 100_000 }
    }
}

impl RequestLog {
    /// All requests that are still in the log, the oldest first.
    pub fn all(&self) -> Vec<RequestRecord> {
        self.lock().iter().cloned().collect()
    }

    /// The requests that may have changed something.
    pub fn writes(&self) -> Vec<RequestRecord> {
        self.lock().iter().filter(|record| record.is_write()).cloned().collect()
    }

    /// Forgets all requests so far.
    pub fn clear(&self) {
        self.lock().clear();
    }

    pub(super) fn push(&self, record: RequestRecord) {
        let mut records = self.lock();
        if records.len() >= self.capacity {
            records.pop_front();
        }
        records.push_back(record);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<RequestRecord>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
