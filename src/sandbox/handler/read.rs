//! `get` and `list`.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use base64::Engine as _;
use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::super::selector::{FieldSelector, LabelSelector};
use super::super::status::ApiError;
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
        let live = self.live(call)?;
        Ok(call.respond(StatusCode::OK, live, None))
    }

    pub(super) fn list(&self, call: &Call<'_>) -> Answer {
        let selection = Selection::of(call)?;
        let parameter = |name| call.request.parameter(name);
        let limit = parse_count("limit", parameter("limit"))?;
        let (revision, mut objects) = match parameter("continue") {
            "" => {
                let state = self.store.lock();
                let revision = state.storage.revision();
                check_revision(parameter("resourceVersion"), parameter("resourceVersionMatch"), revision)?;
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

pub(super) fn parse_count(name: &str, text: &str) -> Result<usize, ApiError> {
    if text.is_empty() {
        return Ok(0);
    }
    text.parse().map_err(|_| ApiError::bad_request(format!("invalid value for {name}: {text:?}")))
}

/// What a list with a resource version can be answered with: only the latest state is kept.
fn check_revision(wanted: &str, matching: &str, current: u64) -> Result<(), ApiError> {
    if !matching.is_empty() && wanted.is_empty() {
        return Err(ApiError::bad_request(
            "resourceVersionMatch is forbidden unless resourceVersion is provided",
        ));
    }
    if !matches!(matching, "" | "Exact" | "NotOlderThan") {
        return Err(ApiError::bad_request(format!("unknown resourceVersionMatch {matching:?}")));
    }
    if matches!(wanted, "" | "0") {
        return Ok(());
    }
    let wanted: u64 = wanted
        .parse()
        .map_err(|_| ApiError::bad_request(format!("Invalid value: {wanted:?}: resourceVersion")))?;
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
    let invalid = || ApiError::bad_request("continue key is not valid");
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(token).map_err(|_| invalid())?;
    let token: Value = serde_json::from_slice(&bytes).map_err(|_| invalid())?;
    token.get("start").and_then(Value::as_str).and_then(|id| id.parse().ok()).ok_or_else(invalid)
}
