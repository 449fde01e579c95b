//! Where the sandbox keeps objects: what etcd and the watch cache are to a real API server.
//!
//! ```text
//! Storage ── one revision counter
//!   └─ Bucket (one per group and kind): key ─▶ Stored (JSON bytes), and a ring of events for watches
//! ```
//!
//! Objects are kept as JSON bytes: a parsed tree costs ten times as much, and lists and watches send bytes anyway.
//! Nothing here knows rules; [`super::store::Store`] does.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Map, Value};
use tokio::sync::watch;

use crate::object::{GroupKind, ObjectKey};

/// One version of one object.
#[derive(Debug)]
pub struct Stored {
    /// Group, kind, namespace and name.
    pub key: ObjectKey,
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.resourceVersion`.
    pub revision: u64,
    /// `metadata.labels`.
    pub labels: BTreeMap<String, String>,
    /// The whole object as JSON, `resourceVersion` included; `apiVersion` and `kind` come first.
    pub json: Bytes,
    /// Where in `json` the fields after `apiVersion` and `kind` begin.
    header: usize,
    owners: Vec<String>,
}

impl Stored {
    /// The object as a value.
    pub fn value(&self) -> Value {
        serde_json::from_slice(&self.json).unwrap_or_default()
    }

    /// The object without `apiVersion` and `kind`, as items of typed lists are.
    pub fn json_of_item(&self) -> Bytes {
        let rest = self.json.slice(self.header.min(self.json.len())..);
        [b"{", rest.as_ref()].concat().into()
    }

    fn new(key: ObjectKey, value: Value, revision: u64) -> Self {
        let metadata = value.get("metadata");
        let text =
            |field: &str| metadata.and_then(|m| m.get(field)).and_then(Value::as_str).unwrap_or_default();
        let labels = metadata
            .and_then(|m| m.get("labels"))
            .and_then(Value::as_object)
            .map(|labels| {
                labels.iter().map(|(k, v)| (k.clone(), v.as_str().unwrap_or_default().to_owned())).collect()
            })
            .unwrap_or_default();
        let owners = owner_uids(&value);
        let uid = text("uid").to_owned();
        let (json, header) = encode(value);
        Self { key, uid, revision, labels, json, header, owners }
    }
}

/// JSON with `apiVersion`, `kind` and `metadata` first, and the length of the first two.
fn encode(value: Value) -> (Bytes, usize) {
    let Value::Object(mut fields) = value else {
        return (Bytes::new(), 0);
    };
    let mut ordered = Map::new();
    for field in ["apiVersion", "kind"] {
        ordered.insert(field.to_owned(), fields.shift_remove(field).unwrap_or_default());
    }
    // `{"apiVersion":…,"kind":…` with a comma where the closing brace is.
    let header = serde_json::to_vec(&ordered).unwrap_or_default().len();
    if let Some(metadata) = fields.shift_remove("metadata") {
        ordered.insert("metadata".to_owned(), metadata);
    }
    ordered.extend(fields);
    (Bytes::from(serde_json::to_vec(&ordered).unwrap_or_default()), header)
}

/// The uids in `metadata.ownerReferences`.
pub fn owner_uids(value: &Value) -> Vec<String> {
    value
        .pointer("/metadata/ownerReferences")
        .and_then(Value::as_array)
        .map(|owners| owners.iter().filter_map(|o| o.get("uid")?.as_str().map(str::to_owned)).collect())
        .unwrap_or_default()
}

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// It was created.
    Added,
    /// It was changed.
    Modified,
    /// It is gone.
    Deleted,
}

/// One entry of the event log.
#[derive(Debug)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// The object after the change; for a deletion its last state, with the revision of the deletion.
    pub object: Arc<Stored>,
    /// The object before the change.
    pub previous: Option<Arc<Stored>>,
}

/// All objects of one group and kind.
struct Bucket {
    objects: BTreeMap<String, Arc<Stored>>,
    log: VecDeque<Arc<Event>>,
    /// Events up to this revision may have left the log.
    compacted: u64,
    changed: watch::Sender<u64>,
}

/// The objects, the revision counter and the indexes.
pub struct Storage {
    revision: u64,
    capacity: usize,
    buckets: HashMap<GroupKind, Bucket>,
    dependents: HashMap<String, BTreeSet<ObjectKey>>,
    uids: HashMap<String, ObjectKey>,
}

/// The order that etcd has: namespace and name joined by a slash.
fn path_of(namespace: &str, name: &str) -> String {
    if namespace.is_empty() { name.to_owned() } else { format!("{namespace}/{name}") }
}

impl Storage {
    /// An empty storage whose event logs hold `capacity` events per kind.
    pub fn new(capacity: usize) -> Self {
        Self {
            revision: 1,
            capacity: capacity.max(1),
            buckets: HashMap::new(),
            dependents: HashMap::new(),
            uids: HashMap::new(),
        }
    }

    /// The latest revision.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// One object.
    pub fn get(&self, kind: &GroupKind, namespace: &str, name: &str) -> Option<Arc<Stored>> {
        self.buckets.get(kind)?.objects.get(&path_of(namespace, name)).cloned()
    }

    /// The objects of a kind in key order, of one namespace or all.
    pub fn list(&self, kind: &GroupKind, namespace: Option<&str>) -> Vec<Arc<Stored>> {
        let Some(bucket) = self.buckets.get(kind) else {
            return Vec::new();
        };
        match namespace.filter(|namespace| !namespace.is_empty()) {
            None => bucket.objects.values().cloned().collect(),
            Some(namespace) => {
                let prefix = format!("{namespace}/");
                bucket
                    .objects
                    .range(prefix.clone()..)
                    .take_while(|(path, _)| path.starts_with(&prefix))
                    .map(|(_, stored)| stored.clone())
                    .collect()
            }
        }
    }

    /// The objects that name this uid as an owner.
    pub fn dependents(&self, uid: &str) -> Vec<ObjectKey> {
        self.dependents.get(uid).map(|keys| keys.iter().cloned().collect()).unwrap_or_default()
    }

    /// The object of this uid.
    pub fn key_of_uid(&self, uid: &str) -> Option<ObjectKey> {
        self.uids.get(uid).cloned()
    }

    /// The kinds that have objects.
    pub fn kinds(&self) -> Vec<GroupKind> {
        self.buckets
            .iter()
            .filter(|(_, bucket)| !bucket.objects.is_empty())
            .map(|(kind, _)| kind.clone())
            .collect()
    }

    /// Writes an object under the next revision and returns it with its `resourceVersion` set.
    pub fn put(&mut self, key: &ObjectKey, mut value: Value) -> Value {
        self.revision += 1;
        set_revision(&mut value, self.revision);
        let stored = Arc::new(Stored::new(key.clone(), value.clone(), self.revision));
        self.uids.insert(stored.uid.clone(), key.clone());
        for owner in &stored.owners {
            self.dependents.entry(owner.clone()).or_default().insert(key.clone());
        }
        let bucket = self.bucket(&key.group_kind());
        let previous = bucket.objects.insert(path_of(&key.namespace, &key.name), stored.clone());
        if let Some(previous) = &previous {
            let gone: Vec<String> =
                previous.owners.iter().filter(|owner| !stored.owners.contains(owner)).cloned().collect();
            self.forget_dependent(key, &gone);
        }
        let kind = if previous.is_some() { EventKind::Modified } else { EventKind::Added };
        self.log(Event { kind, object: stored, previous });
        value
    }

    /// Gives the objects of a kind another `apiVersion`, under the revisions that they have: the version in which they are
    /// stored has changed.
    pub fn relabel(&mut self, kind: &GroupKind, api_version: &str) {
        let Some(bucket) = self.buckets.get_mut(kind) else { return };
        for stored in bucket.objects.values_mut() {
            let mut value = stored.value();
            if value.get("apiVersion").is_some_and(|known| known != api_version)
                && let Some(fields) = value.as_object_mut()
            {
                fields.insert("apiVersion".to_owned(), Value::from(api_version));
                *stored = Arc::new(Stored::new(stored.key.clone(), value, stored.revision));
            }
        }
    }

    /// Removes an object and returns its last state under the revision of the deletion.
    pub fn remove(&mut self, key: &ObjectKey) -> Option<Value> {
        let previous =
            self.buckets.get_mut(&key.group_kind())?.objects.remove(&path_of(&key.namespace, &key.name))?;
        self.revision += 1;
        self.uids.remove(&previous.uid);
        self.forget_dependent(key, &previous.owners);
        let mut value = previous.value();
        set_revision(&mut value, self.revision);
        let object = Arc::new(Stored::new(key.clone(), value.clone(), self.revision));
        self.log(Event { kind: EventKind::Deleted, object, previous: Some(previous) });
        Some(value)
    }

    /// The events of a kind after a revision; `None` when some of them have left the log.
    pub fn events_after(&self, kind: &GroupKind, revision: u64) -> Option<Vec<Arc<Event>>> {
        let Some(bucket) = self.buckets.get(kind) else {
            return Some(Vec::new());
        };
        if revision < bucket.compacted {
            return None;
        }
        let start = bucket.log.partition_point(|event| event.object.revision <= revision);
        Some(bucket.log.iter().skip(start).cloned().collect())
    }

    /// Tells of each new event of a kind.
    pub fn subscribe(&mut self, kind: &GroupKind) -> watch::Receiver<u64> {
        self.bucket(kind).changed.subscribe()
    }

    /// Forgets all events so far, as etcd's compaction does: watches from older revisions get 410.
    pub fn compact(&mut self) {
        let revision = self.revision;
        for bucket in self.buckets.values_mut() {
            bucket.log.clear();
            bucket.compacted = revision;
        }
    }

    fn bucket(&mut self, kind: &GroupKind) -> &mut Bucket {
        self.buckets.entry(kind.clone()).or_insert_with(|| Bucket {
            objects: BTreeMap::new(),
            log: VecDeque::new(),
            compacted: 0,
            changed: watch::Sender::new(0),
        })
    }

    fn forget_dependent(&mut self, key: &ObjectKey, owners: &[String]) {
        for owner in owners {
            if let Some(keys) = self.dependents.get_mut(owner) {
                keys.remove(key);
                if keys.is_empty() {
                    self.dependents.remove(owner);
                }
            }
        }
    }

    fn log(&mut self, event: Event) {
        let revision = event.object.revision;
        let capacity = self.capacity;
        let bucket = self.bucket(&event.object.key.group_kind());
        bucket.log.push_back(Arc::new(event));
        if bucket.log.len() > capacity
            && let Some(dropped) = bucket.log.pop_front()
        {
            bucket.compacted = dropped.object.revision;
        }
        bucket.changed.send_replace(revision);
    }
}

fn set_revision(value: &mut Value, revision: u64) {
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert("resourceVersion".to_owned(), Value::from(revision.to_string()));
    }
}
