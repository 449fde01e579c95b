//! What a Kubernetes API server answers when it refuses: the `Status` object with its code, reason and causes.
//!
//! Message texts are part of the API in practice (people and tools match on them), so each constructor writes the
//! sentence that a real API server writes for that reason.

use serde_json::{Map, Value, json};

/// One entry of `details.causes`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// `FieldValueInvalid`, `FieldManagerConflict`, …
    pub reason: &'static str,
    /// What is wrong.
    pub message: String,
    /// The field's path.
    pub field: String,
}

/// A refusal, as the API shows it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.message)]
pub struct ApiError(Box<Refusal>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Refusal {
    code: u16,
    reason: &'static str,
    message: String,
    name: String,
    group: String,
    kind: String,
    uid: String,
    causes: Vec<Cause>,
    retry_after: Option<u32>,
    has_details: bool,
}

/// The resource (or kind) that a refusal speaks of.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// API group; empty for the core group.
    pub group: &'a str,
    /// Plural resource name, or the kind for reason `Invalid`.
    pub resource: &'a str,
    /// Object name.
    pub name: &'a str,
}

impl Subject<'_> {
    fn qualified(&self) -> String {
        if self.group.is_empty() {
            self.resource.to_owned()
        } else {
            format!("{}.{}", self.resource, self.group)
        }
    }
}

impl ApiError {
    /// A refusal without details.
    pub fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self(Box::new(Refusal {
            code,
            reason,
            message: message.into(),
            name: String::new(),
            group: String::new(),
            kind: String::new(),
            uid: String::new(),
            causes: Vec::new(),
            retry_after: None,
            has_details: false,
        }))
    }

    fn about(mut self, subject: Subject<'_>) -> Self {
        self.0.name = subject.name.to_owned();
        self.0.group = subject.group.to_owned();
        self.0.kind = subject.resource.to_owned();
        self.0.has_details = true;
        self
    }

    /// A refusal with empty details, as the framework below the resources makes them.
    pub fn bare(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        let mut error = Self::new(code, reason, message);
        error.0.has_details = true;
        error
    }

    /// 404: no such object.
    pub fn not_found(subject: Subject<'_>) -> Self {
        let message = format!("{} {:?} not found", subject.qualified(), subject.name);
        Self::new(404, "NotFound", message).about(subject)
    }

    /// 404: no such path.
    pub fn no_such_path() -> Self {
        Self::bare(404, "NotFound", "the server could not find the requested resource")
    }

    /// 409: an object of this name is there.
    pub fn already_exists(subject: Subject<'_>) -> Self {
        let message = format!("{} {:?} already exists", subject.qualified(), subject.name);
        Self::new(409, "AlreadyExists", message).about(subject)
    }

    /// 409: an object of this name is there still, waiting to go.
    pub fn still_exists(subject: Subject<'_>) -> Self {
        let mut error = Self::already_exists(subject);
        error.0.message.insert_str(0, "object is being deleted: ");
        error
    }

    /// 409: optimistic concurrency or a precondition failed.
    pub fn conflict(subject: Subject<'_>, why: &str) -> Self {
        let message =
            format!("Operation cannot be fulfilled on {} {:?}: {why}", subject.qualified(), subject.name);
        Self::new(409, "Conflict", message).about(subject)
    }

    /// 409: server-side apply met other managers.
    pub fn apply_conflict(message: String, causes: Vec<Cause>) -> Self {
        Self::new(409, "Conflict", message).with_causes(causes)
    }

    /// 422: the object breaks the rules of its kind. `subject.resource` is the kind.
    pub fn invalid(subject: Subject<'_>, causes: Vec<Cause>) -> Self {
        let listed: Vec<String> =
            causes.iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect();
        let text = match listed.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let message = format!("{} {:?} is invalid: {text}", subject.qualified(), subject.name);
        let mut error = Self::new(422, "Invalid", message).about(subject);
        error.0.causes = causes;
        error
    }

    /// 400: the request makes no sense.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// 422: what a patch makes of the object cannot be read as one.
    pub fn unreadable_patch(patched: &str, why: &str) -> Self {
        let cause = Cause::invalid("patch", &Value::from(patched), why);
        Self::invalid(Subject { group: "", resource: "", name: "" }, vec![cause])
    }

    /// 422: a JSON patch that does not fit.
    pub fn rejected() -> Self {
        Self::bare(422, "Invalid", "the server rejected our request due to an error in our request")
    }

    /// 500 without a reason: a number that is none.
    pub fn no_number(message: impl Into<String>) -> Self {
        Self::new(500, "", message)
    }

    /// 403: refused although authenticated.
    pub fn forbidden(subject: Subject<'_>, why: &str) -> Self {
        let message = if subject.name.is_empty() {
            format!("{} is forbidden: {why}", subject.qualified())
        } else {
            format!("{} {:?} is forbidden: {why}", subject.qualified(), subject.name)
        };
        Self::new(403, "Forbidden", message).about(subject)
    }

    /// 405: the resource does not have this verb.
    pub fn method_not_allowed() -> Self {
        let message = "the server does not allow this method on the requested resource";
        Self::bare(405, "MethodNotAllowed", message)
    }

    /// 406: no representation that the client accepts.
    pub fn not_acceptable(message: impl Into<String>) -> Self {
        Self::new(406, "NotAcceptable", message)
    }

    /// 415: a body of a type that the server does not read.
    pub fn unsupported_media_type(message: impl Into<String>) -> Self {
        Self::new(415, "UnsupportedMediaType", message)
    }

    /// 410: the version is compacted away.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message)
    }

    /// 413: the body is over the limit.
    pub fn too_large(limit: usize) -> Self {
        Self::new(413, "RequestEntityTooLarge", format!("Request entity too large: limit is {limit}"))
    }

    /// 429 with `Retry-After`.
    pub fn too_many_requests(retry_after: u32) -> Self {
        let mut error = Self::new(429, "TooManyRequests", "Too many requests, please try again later.");
        error.0.retry_after = Some(retry_after);
        error.0.has_details = true;
        error
    }

    /// 500.
    pub fn internal(message: impl AsRef<str>) -> Self {
        let mut error =
            Self::new(500, "InternalError", format!("Internal error occurred: {}", message.as_ref()));
        error.0.causes =
            vec![Cause { reason: "", message: message.as_ref().to_owned(), field: String::new() }];
        error.0.has_details = true;
        error
    }

    /// 503.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(503, "ServiceUnavailable", message)
    }

    /// The same with these causes.
    #[must_use]
    pub fn with_causes(mut self, causes: Vec<Cause>) -> Self {
        self.0.causes = causes;
        self.0.has_details = true;
        self
    }

    /// The HTTP status code.
    pub fn code(&self) -> u16 {
        self.0.code
    }

    /// The machine-readable reason (`NotFound`, `Conflict`, …).
    pub fn reason(&self) -> &'static str {
        self.0.reason
    }

    /// The `Retry-After` header, in seconds.
    pub fn retry_after(&self) -> Option<u32> {
        self.0.retry_after
    }

    /// The causes of reason `Invalid` or of a conflict of server-side apply.
    pub fn causes(&self) -> &[Cause] {
        &self.0.causes
    }

    /// The `Status` object.
    pub fn to_status(&self) -> Value {
        let refusal = &*self.0;
        let mut status = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": refusal.message,
        });
        if let Some(status) = status.as_object_mut().filter(|_| !refusal.reason.is_empty()) {
            status.insert("reason".to_owned(), Value::from(refusal.reason));
        }
        if refusal.has_details {
            let mut details = Map::new();
            for (field, text) in [
                ("name", &refusal.name),
                ("group", &refusal.group),
                ("kind", &refusal.kind),
                ("uid", &refusal.uid),
            ] {
                if !text.is_empty() {
                    details.insert(field.to_owned(), Value::from(text.as_str()));
                }
            }
            if !refusal.causes.is_empty() {
                let causes = refusal.causes.iter().map(cause_json).collect();
                details.insert("causes".to_owned(), Value::Array(causes));
            }
            if let Some(seconds) = refusal.retry_after {
                details.insert("retryAfterSeconds".to_owned(), Value::from(seconds));
            }
            if let Some(status) = status.as_object_mut() {
                status.insert("details".to_owned(), Value::Object(details));
            }
        }
        if let Some(status) = status.as_object_mut() {
            status.insert("code".to_owned(), Value::from(refusal.code));
        }
        status
    }
}

fn cause_json(cause: &Cause) -> Value {
    let mut fields = Map::new();
    for (name, text) in [("reason", cause.reason), ("message", &cause.message), ("field", &cause.field)] {
        if !text.is_empty() {
            fields.insert(name.to_owned(), Value::from(text));
        }
    }
    Value::Object(fields)
}

impl Cause {
    /// `Required value`.
    pub fn required(field: impl Into<String>, detail: &str) -> Self {
        let message =
            if detail.is_empty() { "Required value".to_owned() } else { format!("Required value: {detail}") };
        Self { reason: "FieldValueRequired", message, field: field.into() }
    }

    /// `Invalid value: …: detail`.
    pub fn invalid(field: impl Into<String>, value: &Value, detail: &str) -> Self {
        Self {
            reason: "FieldValueInvalid",
            message: format!("Invalid value: {}: {detail}", go_value(value)),
            field: field.into(),
        }
    }

    /// `Duplicate value: …`.
    pub fn duplicate(field: impl Into<String>, value: &Value) -> Self {
        let message = format!("Duplicate value: {}", go_value(value));
        Self { reason: "FieldValueDuplicate", message, field: field.into() }
    }

    /// `Not found: …`.
    pub fn not_found(field: impl Into<String>, value: &str) -> Self {
        Self { reason: "FieldValueNotFound", message: format!("Not found: {value:?}"), field: field.into() }
    }

    /// `Too long: may not be more than … bytes`.
    pub fn too_long(field: impl Into<String>, limit: usize) -> Self {
        let message = format!("Too long: may not be more than {limit} bytes");
        Self { reason: "FieldValueTooLong", message, field: field.into() }
    }

    /// `Forbidden: detail`.
    pub fn forbidden(field: impl Into<String>, detail: &str) -> Self {
        Self { reason: "FieldValueForbidden", message: format!("Forbidden: {detail}"), field: field.into() }
    }

    /// `Unsupported value: …: supported values: …`.
    pub fn not_supported(field: impl Into<String>, value: &Value, supported: &[String]) -> Self {
        let listed: Vec<String> = supported.iter().map(|text| format!("{text:?}")).collect();
        Self {
            reason: "FieldValueNotSupported",
            message: format!(
                "Unsupported value: {}: supported values: {}",
                go_value(value),
                listed.join(", ")
            ),
            field: field.into(),
        }
    }
}

/// A value as validation messages show it: strings quoted, everything else as JSON.
fn go_value(value: &Value) -> String {
    match value {
        Value::String(text) => format!("{text:?}"),
        Value::Null => "null".to_owned(),
        other => other.to_string(),
    }
}
