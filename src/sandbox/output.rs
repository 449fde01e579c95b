//! How answers look: JSON in the form that the client asked for.

use axum::body::Body;
use bytes::{BufMut as _, Bytes, BytesMut};
use http::{HeaderValue, Response, StatusCode, header};
use serde_json::{Value, json};

use super::kinds::Resource;
use super::status::ApiError;
use super::table;

/// The content type of nearly everything.
pub const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The form of an object in an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The object itself.
    Plain,
    /// Rows and columns (`as=Table`).
    Table(Include),
    /// Only the metadata (`as=PartialObjectMetadata`, `…List`).
    Metadata,
}

/// What of an object its row in a table carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Include {
    /// Nothing.
    Nothing,
    /// Its metadata.
    Metadata,
    /// All of it.
    Object,
}

impl Include {
    fn of(parameter: &str) -> Result<Self, ApiError> {
        match parameter {
            "" | "Metadata" => Ok(Self::Metadata),
            "None" => Ok(Self::Nothing),
            "Object" => Ok(Self::Object),
            other => Err(ApiError::bad_request(format!(
                "Unable to convert to Table as requested: includeObject: Invalid value: {other:?}: must be \
                 'Metadata', 'Object', 'None', or empty"
            ))),
        }
    }
}

/// Refuses clients that take no JSON of any kind.
///
/// # Errors
/// 406.
pub fn check_acceptable(accept: &str) -> Result<(), ApiError> {
    let takes = |media: &str| {
        let media_type = media.split(';').next().unwrap_or_default().trim();
        matches!(media_type, "" | "application/json" | "*/*" | "application/*")
    };
    if accept.split(',').any(takes) {
        return Ok(());
    }
    let message = "406: Not Acceptable\n\nAvailable representations: application/json, application/yaml, \
                   application/vnd.kubernetes.protobuf";
    Err(ApiError::bare(406, "NotAcceptable", message))
}

impl Format {
    /// The first form of an `Accept` header that the sandbox has.
    ///
    /// # Errors
    /// 406 when the client accepts no JSON, 400 for a parameter `includeObject` that is none.
    pub fn negotiate(accept: &str, include_object: &str) -> Result<Self, ApiError> {
        if accept.trim().is_empty() {
            return Ok(Self::Plain);
        }
        for media in accept.split(',') {
            let mut parts = media.split(';').map(str::trim);
            let media_type = parts.next().unwrap_or_default();
            if !matches!(media_type, "application/json" | "*/*" | "application/*") {
                continue;
            }
            let form = parts.find_map(|part| part.strip_prefix("as="));
            match form {
                None => return Ok(Self::Plain),
                Some("Table") => return Include::of(include_object).map(Self::Table),
                Some("PartialObjectMetadata" | "PartialObjectMetadataList") => return Ok(Self::Metadata),
                Some(_) => {}
            }
        }
        check_acceptable(accept)?;
        Err(ApiError::not_acceptable(
            "only the following media types are accepted: application/json, application/yaml, \
             application/vnd.kubernetes.protobuf",
        ))
    }

    /// Whether it has rows and columns.
    pub fn is_table(self) -> bool {
        matches!(self, Self::Table(_))
    }

    /// Whether stored bytes can be sent as they are.
    pub fn is_plain(self) -> bool {
        self == Self::Plain
    }
}

/// JSON with a status code.
pub fn json(code: StatusCode, value: &Value) -> Response<Body> {
    bytes(code, serde_json::to_vec(value).unwrap_or_default().into())
}

/// JSON with a more specific content type.
pub fn json_as(value: &Value, content_type: &'static str) -> Response<Body> {
    let mut response = json(StatusCode::OK, value);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// Plain text.
pub fn text(code: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = code;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

/// What an API server says to a path that it does not have.
pub fn page_not_found() -> Response<Body> {
    text(StatusCode::NOT_FOUND, "404 page not found\n")
}

/// A refusal as a `Status`.
pub fn refusal(error: &ApiError) -> Response<Body> {
    let code = StatusCode::from_u16(error.code()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = json(code, &error.to_status());
    if let Some(seconds) = error.retry_after() {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// One object in the wanted form.
pub fn object(format: &Format, resource: &Resource, code: StatusCode, object: Value) -> Response<Body> {
    json(code, &shaped(format, resource, object))
}

/// A list in the wanted form.
pub fn list(format: &Format, resource: &Resource, metadata: &Value, mut items: Vec<Value>) -> Response<Body> {
    let document = match format {
        Format::Table(include) => table::table(resource, &items, metadata, *include),
        Format::Metadata => json!({
            "kind": "PartialObjectMetadataList",
            "apiVersion": "meta.k8s.io/v1",
            "metadata": metadata,
            "items": items.iter().map(metadata_only).collect::<Vec<_>>(),
        }),
        Format::Plain => {
            if resource.custom.is_none() {
                for item in items.iter_mut().filter_map(Value::as_object_mut) {
                    item.shift_remove("apiVersion");
                    item.shift_remove("kind");
                }
            }
            json!({
                "kind": resource.list_kind,
                "apiVersion": resource.api_version(),
                "metadata": metadata,
                "items": items,
            })
        }
    };
    json(StatusCode::OK, &document)
}

/// A plain list of items that are JSON already.
pub fn list_of_bytes(
    resource: &Resource,
    metadata: &Value,
    items: impl Iterator<Item = Bytes>,
) -> Response<Body> {
    let mut body = BytesMut::new();
    let head =
        json!({"kind": resource.list_kind, "apiVersion": resource.api_version(), "metadata": metadata});
    let head = head.to_string();
    body.put_slice(head.strip_suffix('}').unwrap_or(&head).as_bytes());
    body.put_slice(b",\"items\":[");
    for (index, item) in items.enumerate() {
        if index > 0 {
            body.put_u8(b',');
        }
        body.put_slice(&item);
    }
    body.put_slice(b"]}");
    bytes(StatusCode::OK, body.freeze())
}

/// An object in the wanted form, as watch events carry it.
pub fn shaped(format: &Format, resource: &Resource, object: Value) -> Value {
    match format {
        Format::Plain => object,
        Format::Metadata => metadata_only(&object),
        Format::Table(include) => {
            let revision = object.pointer("/metadata/resourceVersion").cloned().unwrap_or_default();
            table::table(resource, &[object], &json!({"resourceVersion": revision}), *include)
        }
    }
}

/// The `PartialObjectMetadata` of an object.
pub fn metadata_only(object: &Value) -> Value {
    let metadata = object.get("metadata").cloned().unwrap_or_default();
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata})
}

fn bytes(code: StatusCode, bytes: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::from(bytes));
    *response.status_mut() = code;
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    response
}
