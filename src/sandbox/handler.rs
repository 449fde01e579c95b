//! One HTTP request of the Kubernetes API, answered.
//!
//! ```text
//! http::Request ─▶ ApiRequest ─▶ faults ─▶ discovery | read | watch | change | patch | scale | review ─▶ http::Response
//!                                  └─▶ RequestLog
//! ```
//!
//! The same [`Handler`] serves the in-process client and the sockets.

mod change;
mod patch;
mod read;
mod review;
mod scale;
mod watch;

use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use serde_json::Value;

use super::fault::{Fault, Faults, RequestLog, RequestRecord};
use super::kinds::{Resource, Verbs};
use super::output::{self, Format};
use super::protobuf::{self, PROTOBUF};
use super::request::{ApiRequest, Target};
use super::status::{ApiError, Cause, Subject};
use super::store::{FieldValidation, Store, WriteOptions};
use super::{discovery, openapi};

/// The largest body that is read, as in a real API server.
const BODY_LIMIT: usize = 3 << 20;

/// Answers requests from a store.
pub struct Handler {
    store: Store,
    faults: Faults,
    log: RequestLog,
    pages: read::Pages,
}

/// A request that is about a resource.
struct Call<'a> {
    request: &'a ApiRequest,
    target: &'a Target,
    resource: Arc<Resource>,
    format: Format,
}

/// An answer or a refusal.
type Answer = Result<Response<Body>, ApiError>;

impl Handler {
    /// A handler for a store.
    pub fn new(store: Store, faults: Faults, log: RequestLog) -> Self {
        Self { store, faults, log, pages: read::Pages::default() }
    }

    /// Answers one request. `None` means that the connection breaks without an answer.
    pub async fn handle<B>(&self, request: Request<B>) -> Option<Response<Body>>
    where
        B: hyper::body::Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (parts, body) = request.into_parts();
        let body = Limited::new(body, BODY_LIMIT).collect().await;
        let too_large = body.as_ref().is_err_and(|error| error.is::<http_body_util::LengthLimitError>());
        let readable = body.is_ok();
        let request = ApiRequest::new(&parts, body.map(|body| body.to_bytes()).unwrap_or_default());
        let mut record = request.record();
        let faults = self.faults.strike(&record);
        let mut cut = None;
        let mut refusal = None;
        for fault in &faults {
            match fault {
                Fault::Delay(time) => tokio::time::sleep(*time).await,
                Fault::CutWatch(events) => cut = Some(*events),
                Fault::Disconnect => {
                    self.log.push(record);
                    return None;
                }
                other => refusal = other.refusal(&record),
            }
        }
        let answer = if let Some(refusal) = refusal {
            Err(refusal)
        } else if too_large {
            Err(ApiError::too_large(BODY_LIMIT))
        } else if readable {
            self.answer(&request, cut)
        } else {
            Err(ApiError::bad_request("unable to read the request body"))
        };
        let response = answer.unwrap_or_else(|error| output::refusal(&error));
        record.status = response.status().as_u16();
        self.log.push(record);
        Some(response)
    }

    fn answer(&self, request: &ApiRequest, cut: Option<usize>) -> Answer {
        let Some(target) = &request.target else {
            return self.answer_fixed(request);
        };
        let resource = self.store.lock().registry.resource(&target.group, &target.version, &target.resource);
        let Some(resource) = resource else {
            return self.no_such_path(&target.group);
        };
        let by_name = !target.name.is_empty();
        if resource.namespaced == target.namespace.is_empty() && (by_name || !resource.namespaced) {
            return self.no_such_path(&target.group);
        }
        let format = Format::negotiate(&request.accept, request.parameter("includeObject"))?;
        let call = Call { request, target, resource, format };
        let mut answer = self.answer_call(&call, cut)?;
        if let Some(warning) = call.resource.custom.as_ref().and_then(|custom| custom.deprecation.as_ref()) {
            warn(&mut answer, warning);
        }
        Ok(answer)
    }

    /// A request that is about a resource.
    fn answer_call(&self, call: &Call<'_>, cut: Option<usize>) -> Answer {
        let (request, target) = (call.request, call.target);
        let by_name = !target.name.is_empty();
        if call.resource.verbs == Verbs::Create {
            return match request.verb() {
                "create" => self.review(call),
                _ => Err(ApiError::method_not_allowed()),
            };
        }
        match target.subresource.as_str() {
            "" => {}
            "status" if call.resource.status => {}
            "finalize" if call.resource.kind == "Namespace" && call.resource.group.is_empty() => {}
            "scale" if call.resource.scale.is_some() => return self.scale(call),
            "binding" | "eviction" if call.resource.kind == "Pod" => return self.pod_action(call),
            "log" if call.resource.kind == "Pod" => {
                self.live(call)?;
                return Ok(output::text(StatusCode::OK, ""));
            }
            _ => return self.no_such_path(&target.group),
        }
        match request.verb() {
            "get" => self.get(call),
            "list" => self.list(call),
            "watch" => self.watch(call, cut),
            "create" if !by_name && (!call.resource.namespaced || !target.namespace.is_empty()) => {
                self.create(call)
            }
            "update" if by_name => self.replace(call),
            "patch" if by_name => self.patch(call),
            "delete" if target.subresource.is_empty() => self.delete(call),
            "deletecollection"
                if call.resource.has_collections()
                    && (!call.resource.namespaced || !target.namespace.is_empty()) =>
            {
                self.delete_collection(call)
            }
            _ => Err(ApiError::method_not_allowed()),
        }
    }

    /// Discovery, versions, health.
    fn answer_fixed(&self, request: &ApiRequest) -> Answer {
        let segments: Vec<&str> = request.segments.iter().map(String::as_str).collect();
        if request.method != http::Method::GET && request.method != http::Method::HEAD {
            return Err(ApiError::method_not_allowed());
        }
        if segments.first().is_some_and(|root| matches!(*root, "api" | "apis")) {
            output::check_acceptable(&request.accept)?;
        }
        let state = self.store.lock();
        let found = match segments.as_slice() {
            ["version"] => Some(discovery::version()),
            ["healthz" | "livez" | "readyz", ..] => return Ok(output::text(StatusCode::OK, "ok")),
            ["api" | "apis"] if discovery::wants_aggregated(&request.accept) => {
                let document = discovery::aggregated(&state.registry, segments == ["api"], |group| {
                    let asked = RequestRecord {
                        verb: "discovery".to_owned(),
                        group: group.to_owned(),
                        ..RequestRecord::default()
                    };
                    // A rule without a group has struck the request itself.
                    self.faults.strike_group(&asked)
                });
                return Ok(output::json_as(&document, discovery::AGGREGATED));
            }
            ["api"] => Some(discovery::core_versions()),
            ["apis"] => Some(discovery::group_list(&state.registry)),
            ["apis", group] => discovery::group(&state.registry, group),
            ["api", version] => discovery::resources(&state.registry, "", version),
            ["apis", group, version] => discovery::resources(&state.registry, group, version),
            ["openapi", "v2"] => Some(openapi::v2()),
            ["openapi", "v3"] => Some(openapi::index(&state.registry)),
            ["openapi", "v3", "api", version] => openapi::document(&state.registry, "", version),
            ["openapi", "v3", "apis", group, version] => openapi::document(&state.registry, group, version),
            [] => {
                Some(serde_json::json!({"paths": ["/api", "/apis", "/healthz", "/openapi/v3", "/version"]}))
            }
            _ => None,
        };
        drop(state);
        match (found, segments.as_slice()) {
            (Some(document), _) => Ok(output::json(StatusCode::OK, &document)),
            (None, ["api", ..]) => self.no_such_path(""),
            (None, ["apis", group, _version]) => self.no_such_path(group),
            (None, _) => Ok(output::page_not_found()),
        }
    }

    /// What a path without resource is answered with: a `Status` under the groups of the server itself, plain text
    /// elsewhere.
    fn no_such_path(&self, group: &str) -> Answer {
        if self.store.lock().registry.is_built_in(group) {
            Err(ApiError::no_such_path())
        } else {
            Ok(output::page_not_found())
        }
    }

    /// The live object that a call names.
    fn live(&self, call: &Call<'_>) -> Result<Value, ApiError> {
        self.store.lock().live(&call.resource, &call.target.namespace, &call.target.name)
    }
}

impl Call<'_> {
    /// Manager, dry run and field validation, as the query states them.
    fn write_options(&self) -> Result<WriteOptions, ApiError> {
        let kind = match self.request.verb() {
            "create" => "CreateOptions",
            "update" => "UpdateOptions",
            "patch" => "PatchOptions",
            _ => "DeleteOptions",
        };
        let invalid = |cause| {
            let subject = Subject { group: "meta.k8s.io", resource: kind, name: "" };
            ApiError::invalid(subject, vec![cause])
        };
        let dry_run: Vec<&str> =
            self.request.parameters("dryRun").filter(|value| !value.is_empty()).collect();
        if dry_run.iter().any(|value| *value != "All") {
            let shown = Value::from(dry_run);
            return Err(invalid(Cause::not_supported("dryRun", &shown, &["All".to_owned()])));
        }
        let field_validation = match self.request.parameter("fieldValidation") {
            "" | "Warn" => FieldValidation::Warn,
            "Ignore" => FieldValidation::Ignore,
            "Strict" => FieldValidation::Strict,
            other => {
                let supported = ["", "Ignore", "Strict", "Warn"].map(str::to_owned);
                return Err(invalid(Cause::not_supported(
                    "fieldValidation",
                    &Value::from(other),
                    &supported,
                )));
            }
        };
        let mut manager = self.request.parameter("fieldManager").to_owned();
        if manager.len() > 128 {
            return Err(invalid(Cause::too_long("fieldManager", 128)));
        }
        if let Some((position, found)) = manager.char_indices().find(|(_, found)| found.is_control()) {
            let shown = Cause {
                reason: "FieldValueInvalid",
                message: format!(
                    "Invalid value: \"{}\": invalid character U+{:04X} (at position {position})",
                    manager.chars().map(go_escape).collect::<String>(),
                    u32::from(found)
                ),
                field: "fieldManager".to_owned(),
            };
            return Err(invalid(shown));
        }
        if manager.is_empty() {
            manager =
                self.request.user_agent.split('/').next().unwrap_or_default().chars().take(128).collect();
        }
        if manager.is_empty() {
            manager = "unknown".to_owned();
        }
        Ok(WriteOptions {
            manager,
            dry_run: !dry_run.is_empty(),
            field_validation,
            ..WriteOptions::default()
        })
    }

    /// The body as an object: JSON, or YAML where the content type says so.
    fn body(&self) -> Result<Value, ApiError> {
        parse_body(self.request, &self.resource)
    }

    /// An object as the client wants it, with the warnings of the write.
    fn respond(&self, code: StatusCode, object: Value, options: Option<&WriteOptions>) -> Response<Body> {
        let mut response = output::object(&self.format, &self.resource, code, object);
        for warning in options.map(|options| options.warnings.take()).unwrap_or_default() {
            warn(&mut response, &warning);
        }
        response
    }
}

fn warn(response: &mut Response<Body>, warning: &str) {
    let text = warning.replace('\\', "\\\\").replace('"', "\\\"");
    if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{text}\"")) {
        response.headers_mut().append(header::WARNING, value);
    }
}

/// A character as Go's `%q` shows it.
fn go_escape(character: char) -> String {
    match character {
        '\u{0}'..='\u{1f}' | '\u{7f}' => format!("\\x{:02x}", u32::from(character)),
        other => other.escape_debug().to_string(),
    }
}

fn parse_body(request: &ApiRequest, resource: &Resource) -> Result<Value, ApiError> {
    let unreadable = |why: String| {
        ApiError::bad_request(format!(
            "{kind} in version {version:?} cannot be handled as a {kind}: {why}",
            kind = resource.kind,
            version = resource.version,
        ))
    };
    if request.body.is_empty() {
        return Err(unreadable("EOF".to_owned()));
    }
    match request.content_type.as_str() {
        "" | "application/json" => {
            serde_json::from_slice(&request.body).map_err(|error| unreadable(error.to_string()))
        }
        PROTOBUF if resource.custom.is_none() => {
            protobuf::decode(&request.body).map_err(|error| unreadable(error.to_string()))
        }
        "application/yaml" => patch::parse_yaml(&request.body).map_err(unreadable),
        _ => Err(ApiError::unsupported_media_type(
            "the body of the request was in an unknown format - accepted media types include: application/json, \
             application/yaml, application/vnd.kubernetes.protobuf",
        )),
    }
}
