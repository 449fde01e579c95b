//! `get` and `list`.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use base64::Engine as _;
use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::super::selector::{FieldSelector, LabelSelector};
use super::super::status::{ApiError, Cause, Subject};
use super::super::storage::Stored;
use super::super::{convert, output};
use super::{Answer, Call, Handler};

/// Lists that are being read page by page: later pages show the state of the first.
#[derive(Default)]
pub(super) struct Pages(Mutex<VecDeque<Page>>);

struct Page {
    id: u64,
    revision: u64,
    rest: Arc<Vec<Arc<Stored>>>,
}

/// How many unfinished lists are remembered; the oldest ones answer 410.
const PAGES: usize = 128;

impl Pages {
    fn keep(&self, revision: u64, rest: Vec<Arc<Stored>>) -> u64 {
        let mut pages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if pages.len() >= PAGES {
            pages.pop_front();
        }
        let id = fastrand::u64(..);
        pages.push_back(Page { id, revision, rest: Arc::new(rest) });
        id
    }

    fn find(&self, id: u64) -> Option<(u64, Arc<Vec<Arc<Stored>>>)> {
        let pages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pages.iter().find(|page| page.id == id).map(|page| (page.revision, page.rest.clone()))
    }
}

/// What of a kind a list or watch is about.
pub(super) struct Selection {
    pub(super) labels: LabelSelector,
    pub(super) fields: FieldSelector,
}

impl Selection {
    pub(super) fn of(call: &Call<'_>) -> Result<Self, ApiError> {
        Ok(Self {
            labels: LabelSelector::parse(call.request.parameter("labelSelector"))?,
            fields: FieldSelector::parse(call.request.parameter("fieldSelector"), &call.resource)?,
        })
    }

    pub(super) fn matches(&self, stored: &Stored) -> bool {
        self.labels.matches(&stored.labels) && self.fields.matches(stored)
    }

    fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }
}

impl Handler {
    pub(super) fn get(&self, call: &Call<'_>) -> Answer {
        parse_version(call.request.parameter("resourceVersion")).map_err(ApiError::no_number)?;
        let live = self.live(call)?;
        Ok(call.respond(StatusCode::OK, live, None))
    }

    pub(super) fn list(&self, call: &Call<'_>) -> Answer {
        let selection = Selection::of(call)?;
        let parameter = |name| call.request.parameter(name);
        let limit = parse_count(parameter("limit"))?;
        check_options(call)?;
        let (revision, mut objects) = match parameter("continue") {
            "" => {
                let state = self.store.lock();
                let revision = state.storage.revision();
                let wanted = parse_version(parameter("resourceVersion"))
                    .map_err(|error| ApiError::bad_request(format!("invalid resource version: {error}")))?;
                check_revision(wanted, parameter("resourceVersionMatch"), revision)?;
                let namespace = Some(call.target.namespace.as_str());
                (revision, state.storage.list(&call.resource.storage, namespace))
            }
            token => {
                if !matches!(parameter("resourceVersion"), "" | "0") {
                    return Err(ApiError::bad_request(
                        "specifying resource version is not allowed when using continue",
                    ));
                }
                let id = read_token(token)?;
                let (revision, rest) = self.pages.find(id).ok_or_else(|| {
                    ApiError::expired(
                        "The provided continue parameter is too old to display a consistent list result. You can \
                         start a new list without the continue parameter.",
                    )
                })?;
                (revision, rest.as_ref().clone())
            }
        };
        if !selection.is_empty() {
            objects.retain(|stored| selection.matches(stored));
        }
        let mut metadata = json!({"resourceVersion": revision.to_string()});
        if call.resource.custom.is_some()
            && let Some(metadata) = metadata.as_object_mut()
        {
            metadata.insert("continue".to_owned(), Value::from(""));
        }
        if limit > 0 && objects.len() > limit {
            let rest = objects.split_off(limit);
            let remaining = rest.len();
            let token = write_token(revision, self.pages.keep(revision, rest));
            if let Some(metadata) = metadata.as_object_mut() {
                metadata.insert("continue".to_owned(), Value::from(token));
                if selection.is_empty() {
                    metadata.insert("remainingItemCount".to_owned(), Value::from(remaining));
                }
            }
        }
        Ok(respond_list(call, &metadata, &objects))
    }
}

fn respond_list(call: &Call<'_>, metadata: &Value, objects: &[Arc<Stored>]) -> Response<Body> {
    let resource = &call.resource;
    if call.format.is_plain() && convert::is_identity(resource) {
        // The bytes of typed items come without apiVersion and kind; those of custom resources have them.
        let items = objects.iter().map(|stored| {
            if resource.custom.is_some() { stored.json.clone() } else { stored.json_of_item() }
        });
        return output::list_of_bytes(resource, metadata, items);
    }
    let items: Vec<Value> =
        objects.iter().map(|stored| convert::to_served(resource, stored.value())).collect();
    output::list(&call.format, resource, metadata, items)
}

/// A number of the query in Go's words.
pub(super) fn parse_integer(text: &str) -> Result<i64, ApiError> {
    text.parse()
        .map_err(|_| ApiError::bad_request(format!("strconv.ParseInt: parsing {text:?}: invalid syntax")))
}

/// A number of things; 0 for no limit.
pub(super) fn parse_count(text: &str) -> Result<usize, ApiError> {
    if text.is_empty() {
        return Ok(0);
    }
    Ok(usize::try_from(parse_integer(text)?).unwrap_or(0))
}

/// A resource version; 0 when none is asked for.
pub(super) fn parse_version(text: &str) -> Result<u64, String> {
    let wrong = |_| {
        format!(
            "resourceVersion: Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: invalid syntax"
        )
    };
    if text.is_empty() { Ok(0) } else { text.parse().map_err(wrong) }
}

/// The options of lists and watches that contradict each other.
pub(super) fn check_options(call: &Call<'_>) -> Result<(), ApiError> {
    let parameter = |name| call.request.parameter(name);
    let (matching, version) = (parameter("resourceVersionMatch"), parameter("resourceVersion"));
    let field = "resourceVersionMatch";
    let supported = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        Cause::not_supported(field, &Value::from(matching), &names)
    };
    let mut causes = Vec::new();
    let watch = call.request.verb() == "watch";
    let streaming = call.request.is_set("sendInitialEvents");
    if watch && streaming {
        if matching != "NotOlderThan" {
            let detail = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
            causes.push(Cause::forbidden(field, detail));
        }
    } else if watch && parameter("sendInitialEvents").is_empty() && !matching.is_empty() {
        let detail = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
        causes.push(Cause::forbidden(field, detail));
    }
    if watch {
        if !matches!(matching, "" | "NotOlderThan") {
            causes.push(supported(&["NotOlderThan"]));
        }
        if !parameter("continue").is_empty() {
            let detail = "resourceVersionMatch is forbidden when continue is provided";
            causes.push(Cause::forbidden(field, detail));
        }
    } else {
        if !matching.is_empty() && version.is_empty() {
            let detail = "resourceVersionMatch is forbidden unless resourceVersion is provided";
            causes.push(Cause::forbidden(field, detail));
        }
        if !matches!(matching, "" | "Exact" | "NotOlderThan") {
            causes.push(supported(&["Exact", "NotOlderThan", ""]));
        }
        if matching == "Exact" && version == "0" {
            let detail = "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"";
            causes.push(Cause::forbidden(field, detail));
        }
        if !parameter("sendInitialEvents").is_empty() {
            causes.push(Cause::forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list"));
        }
    }
    if causes.is_empty() {
        return Ok(());
    }
    let subject = Subject { group: "meta.k8s.io", resource: "ListOptions", name: "" };
    Err(ApiError::invalid(subject, causes))
}

/// What a list with a resource version can be answered with: only the latest state is kept.
fn check_revision(wanted: u64, matching: &str, current: u64) -> Result<(), ApiError> {
    if wanted > current {
        let message = format!("Too large resource version: {wanted}, current: {current}");
        return Err(ApiError::new(504, "Timeout", message));
    }
    if matching == "Exact" && wanted < current {
        return Err(ApiError::expired("The resourceVersion for the provided list is too old."));
    }
    Ok(())
}

fn write_token(revision: u64, id: u64) -> String {
    let token = json!({"v": "meta.k8s.io/v1", "rv": revision, "start": id.to_string()});
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(token.to_string())
}

fn read_token(token: &str) -> Result<u64, ApiError> {
    let invalid = || ApiError::bad_request("invalid continue token: continue key is not valid");
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(token).map_err(|_| invalid())?;
    let token: Value = serde_json::from_slice(&bytes).map_err(|_| invalid())?;
    token.get("start").and_then(Value::as_str).and_then(|id| id.parse().ok()).ok_or_else(invalid)
}
