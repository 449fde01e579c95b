//! The live objects of the watched kinds, as far as anybody asks for them.
//!
//! Kept of each object: its version and uid, which application tracks it, and, where an application tracks or
//! declares it, its body as compact JSON without what comparison and health do not need. So ten thousand objects of
//! other people cost their names. All of it is synchronous state behind a lock; watches feed it and learn from it
//! which applications an event concerns.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use serde_json::Value;

use super::LiveRules;
use crate::object::{Gvk, Object, ObjectKey};

/// A live object as it is kept.
#[derive(Clone, Debug)]
pub struct LiveObject {
    /// Kind and version that it was read in.
    pub gvk: Arc<Gvk>,
    /// Its identity.
    pub key: Arc<ObjectKey>,
    /// `metadata.uid`.
    pub uid: Arc<str>,
    /// `metadata.resourceVersion`.
    pub resource_version: Arc<str>,
    /// The instance name of the application that it is tracked by.
    pub owner: Option<Arc<str>>,
    /// Whether it has owner references: then it is somebody's child and never managed itself.
    pub is_child: bool,
    body: Option<Body>,
}

/// An object as compact JSON.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Body {
    without_status: Arc<[u8]>,
    status: Option<Arc<[u8]>>,
}

impl Body {
    fn new(mut value: Value) -> Self {
        let json = |value: &Value| serde_json::to_vec(value).unwrap_or_default().into();
        let status = value.as_object_mut().and_then(|fields| fields.shift_remove("status"));
        Self { without_status: json(&value), status: status.as_ref().map(json) }
    }

    fn value(&self) -> Option<Value> {
        let mut value: Value = serde_json::from_slice(&self.without_status).ok()?;
        if let Some(status) = &self.status {
            value.as_object_mut()?.insert("status".to_owned(), serde_json::from_slice(status).ok()?);
        }
        Some(value)
    }
}

impl LiveObject {
    /// The object without what is not kept; `None` where nobody has asked for its body yet.
    pub fn object(&self) -> Option<Object> {
        Object::from_value(self.body.as_ref()?.value()?).ok()
    }

    /// Identifies the object and what is kept of it: equal as long as neither changes.
    pub fn hash(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (&self.uid, &self.body).hash(&mut hasher);
        hasher.finish()
    }

    /// The same without its status.
    pub fn hash_without_status(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (&self.uid, self.body.as_ref().map(|body| &body.without_status)).hash(&mut hasher);
        hasher.finish()
    }

    /// Whether the body is kept.
    pub fn has_body(&self) -> bool {
        self.body.is_some()
    }
}

/// The index of live objects.
pub struct LiveIndex {
    rules: LiveRules,
    state: RwLock<State>,
}

#[derive(Default)]
struct State {
    kinds: HashMap<Arc<Gvk>, KindObjects>,
    /// Who declares an object, tracked or not: its events concern them too.
    declared: HashMap<Arc<ObjectKey>, Vec<Arc<str>>>,
    declarations: HashMap<Arc<str>, Vec<Arc<ObjectKey>>>,
}

#[derive(Default)]
struct KindObjects {
    objects: HashMap<Arc<ObjectKey>, LiveObject>,
    by_owner: HashMap<Arc<str>, BTreeSet<Arc<ObjectKey>>>,
    /// What was observed since listings began that are still going on, by where they list.
    since_listing: HashMap<Option<String>, HashSet<ObjectKey>>,
}

impl LiveIndex {
    /// An empty index.
    pub fn new(rules: LiveRules) -> Self {
        Self { rules, state: RwLock::default() }
    }

    /// Takes in an object that a watch, a read or a write showed. Returns the applications that it concerns, or
    /// nothing when what is kept of it did not change.
    ///
    /// An older version than the one that is known changes nothing: the answer to a write may be ahead of the watch.
    pub fn observe(&self, gvk: &Arc<Gvk>, object: &Object) -> Vec<Arc<str>> {
        let key = Arc::new(object.key());
        let owner: Option<Arc<str>> = (self.rules.owner)(object).map(Into::into);
        let wanted = owner.is_some() || self.read().declared.contains_key(&key);
        // Stripping and writing out is the costly part and needs no lock.
        let body = wanted.then(|| Body::new((self.rules.strip)(object.value().clone())));
        let live = LiveObject {
            gvk: Arc::clone(gvk),
            key: Arc::clone(&key),
            uid: object.uid().into(),
            resource_version: object.resource_version().into(),
            is_child: object
                .value()
                .pointer("/metadata/ownerReferences")
                .and_then(Value::as_array)
                .is_some_and(|owners| !owners.is_empty()),
            owner,
            body,
        };
        self.write().insert(live)
    }

    /// Takes an object out that a watch showed to be gone. Returns the applications that it concerned.
    ///
    /// A successor of the same name stays: the answer to a write may be ahead of the watch.
    pub fn forget(&self, gvk: &Arc<Gvk>, object: &Object) -> Vec<Arc<str>> {
        let key = object.key();
        let mut state = self.write();
        let known = state.kinds.get(gvk).and_then(|kind| kind.objects.get(&key));
        if known.is_some_and(|known| *known.uid != *object.uid()) {
            return Vec::new();
        }
        state.remove(gvk, &key)
    }

    /// A full listing of a kind begins, in one namespace or everywhere.
    pub fn begin_listing(&self, gvk: &Arc<Gvk>, place: Option<&str>) {
        let mut state = self.write();
        let kind = state.kinds.entry(Arc::clone(gvk)).or_default();
        kind.since_listing.insert(place.map(str::to_owned), HashSet::new());
    }

    /// Takes out all objects of a kind that a full listing of one namespace, or of all, did not show. Returns the applications that it concerned,
    /// and the objects that were observed while the listing went on and are not in it: an answer to a write may be
    /// newer than the listing, so whoever listed has to ask for them.
    pub fn retain(
        &self,
        gvk: &Arc<Gvk>,
        place: Option<&str>,
        listed: &HashSet<ObjectKey>,
    ) -> (Vec<Arc<str>>, Vec<Arc<ObjectKey>>) {
        let mut state = self.write();
        let Some(kind) = state.kinds.get_mut(gvk) else { return Default::default() };
        let observed = kind.since_listing.remove(&place.map(str::to_owned)).unwrap_or_default();
        let is_there = |key: &&Arc<ObjectKey>| place.is_none_or(|place| key.namespace == place);
        let here = kind.objects.keys().filter(is_there);
        let missing = here.filter(|key| !listed.contains(key.as_ref())).cloned();
        let (doubtful, gone): (Vec<_>, Vec<_>) = missing.partition(|key| observed.contains(key.as_ref()));
        let mut affected: Vec<Arc<str>> = gone.iter().flat_map(|key| state.remove(gvk, key)).collect();
        affected.sort();
        affected.dedup();
        (affected, doubtful)
    }

    /// Takes an object out that is not there any more, unless another version of it was observed since `seen`.
    pub fn forget_seen(&self, seen: &LiveObject) -> Vec<Arc<str>> {
        let mut state = self.write();
        let known = state.kinds.get(&seen.gvk).and_then(|kind| kind.objects.get(&seen.key));
        if known.is_none_or(|known| known.uid != seen.uid || known.resource_version != seen.resource_version)
        {
            return Vec::new();
        }
        state.remove(&seen.gvk, &seen.key)
    }

    /// Drops all that is known of a kind, once it is not watched any more.
    pub fn drop_kind(&self, gvk: &Gvk) {
        self.write().kinds.remove(gvk);
    }

    /// Drops all bodies, because what is to be kept of them has changed. They are read anew where they are needed.
    pub fn drop_bodies(&self) {
        for kind in self.write().kinds.values_mut() {
            for live in kind.objects.values_mut() {
                live.body = None;
            }
        }
    }

    /// Says which objects an application declares, so that their bodies are kept and their events reach it.
    pub fn declare(&self, application: &str, keys: impl IntoIterator<Item = ObjectKey>) {
        let mut state = self.write();
        let application: Arc<str> = application.into();
        state.undeclare(&application);
        let keys: Vec<Arc<ObjectKey>> = keys.into_iter().map(Arc::new).collect();
        for key in &keys {
            state.declared.entry(Arc::clone(key)).or_default().push(Arc::clone(&application));
        }
        if !keys.is_empty() {
            state.declarations.insert(application, keys);
        }
    }

    /// One object, in one version of its kind.
    pub fn get(&self, gvk: &Gvk, key: &ObjectKey) -> Option<LiveObject> {
        self.read().kinds.get(gvk)?.objects.get(key).cloned()
    }

    /// The objects that an application's tracking names, children left out. An object that is watched in two
    /// versions of its kind comes once.
    pub fn owned_by(&self, application: &str) -> Vec<LiveObject> {
        let state = self.read();
        let mut seen = HashSet::new();
        let mut owned: Vec<LiveObject> = Vec::new();
        for kind in state.kinds.values() {
            for key in kind.by_owner.get(application).into_iter().flatten() {
                if let Some(live) = kind.objects.get(key)
                    && !live.is_child
                    && (live.uid.is_empty() || seen.insert(Arc::clone(&live.uid)))
                {
                    owned.push(live.clone());
                }
            }
        }
        owned.sort_by(|a, b| a.key.cmp(&b.key));
        owned
    }

    /// How many objects are known, for metrics.
    pub fn len(&self) -> usize {
        self.read().kinds.values().map(|kind| kind.objects.len()).sum()
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    // A poisoned lock means that a thread panicked between two assignments; the state holds no invariant that this
    // could break for longer than until the next event.
    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn insert(&mut self, mut live: LiveObject) -> Vec<Arc<str>> {
        let kind = self.kinds.entry(Arc::clone(&live.gvk)).or_default();
        for (place, observed) in &mut kind.since_listing {
            if place.as_ref().is_none_or(|place| live.key.namespace == *place) {
                observed.insert(ObjectKey::clone(&live.key));
            }
        }
        let mut affected: Vec<Arc<str>> = live.owner.iter().cloned().collect();
        let key = match kind.objects.get_key_value(&live.key) {
            Some((key, known)) => {
                if is_older(&live.resource_version, &known.resource_version) {
                    return Vec::new();
                }
                let unchanged = known.uid == live.uid
                    && known.owner == live.owner
                    && known.body == live.body
                    && known.is_child == live.is_child;
                if let Some(owner) = &known.owner
                    && known.owner != live.owner
                {
                    affected.push(Arc::clone(owner));
                    if let Some(keys) = kind.by_owner.get_mut(owner) {
                        keys.remove(&live.key);
                    }
                }
                let key = Arc::clone(key);
                if unchanged {
                    affected.clear();
                    if let Some(known) = kind.objects.get_mut(&key) {
                        known.resource_version = live.resource_version;
                    }
                    return affected;
                }
                key
            }
            None => Arc::clone(&live.key),
        };
        if let Some(owner) = &mut live.owner {
            // One copy of the name for all of its objects.
            if let Some((known, _)) = kind.by_owner.get_key_value(owner) {
                *owner = Arc::clone(known);
            }
            kind.by_owner.entry(Arc::clone(owner)).or_default().insert(Arc::clone(&key));
        }
        live.key = Arc::clone(&key);
        affected.extend(self.declared.get(&key).into_iter().flatten().cloned());
        kind.objects.insert(key, live);
        affected.sort();
        affected.dedup();
        affected
    }

    fn remove(&mut self, gvk: &Arc<Gvk>, key: &ObjectKey) -> Vec<Arc<str>> {
        let Some(kind) = self.kinds.get_mut(gvk) else { return Vec::new() };
        let Some(live) = kind.objects.remove(key) else { return Vec::new() };
        let mut affected: Vec<Arc<str>> = self.declared.get(key).into_iter().flatten().cloned().collect();
        if let Some(owner) = live.owner {
            if let Some(keys) = kind.by_owner.get_mut(&owner) {
                keys.remove(key);
                if keys.is_empty() {
                    kind.by_owner.remove(&owner);
                }
            }
            affected.push(owner);
        }
        affected.sort();
        affected.dedup();
        affected
    }

    fn undeclare(&mut self, application: &Arc<str>) {
        for key in self.declarations.remove(application).unwrap_or_default() {
            if let Some(declarers) = self.declared.get_mut(&key) {
                declarers.retain(|declarer| declarer != application);
                if declarers.is_empty() {
                    self.declared.remove(&key);
                }
            }
        }
    }
}

/// Resource versions are numbers on every API server there is; where one is not, the newcomer is taken.
fn is_older(version: &str, than: &str) -> bool {
    match (version.parse::<u64>(), than.parse::<u64>()) {
        (Ok(version), Ok(than)) => version < than,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn index() -> LiveIndex {
        LiveIndex::new(LiveRules {
            owner: Arc::new(|object| object.annotation("owner").map(str::to_owned)),
            strip: Arc::new(|mut value| {
                if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
                    metadata.shift_remove("resourceVersion");
                }
                value
            }),
        })
    }

    fn gvk() -> Arc<Gvk> {
        Arc::new(Gvk::new("", "v1", "ConfigMap"))
    }

    fn config_map(name: &str, owner: Option<&str>, version: u64, data: &str) -> Object {
        let mut object = Object::from_value(json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": "shop", "uid": name, "resourceVersion": version.to_string()},
            "data": {"key": data},
        }))
        .unwrap();
        if let Some(owner) = owner {
            object.set_annotation("owner", owner);
        }
        object
    }

    #[test]
    fn an_event_concerns_the_old_and_the_new_owner_and_who_declares_the_object() {
        let index = index();
        index.declare("declarer", [config_map("a", None, 0, "").key()]);
        let affected = index.observe(&gvk(), &config_map("a", Some("first"), 1, "x"));
        assert_eq!(affected, ["declarer".into(), "first".into()]);
        let affected = index.observe(&gvk(), &config_map("a", Some("second"), 2, "x"));
        assert_eq!(affected, ["declarer".into(), "first".into(), "second".into()]);
        assert!(index.owned_by("first").is_empty());
        assert_eq!(index.owned_by("second").len(), 1);
        assert_eq!(index.forget(&gvk(), &config_map("a", None, 0, "")), ["declarer".into(), "second".into()]);
    }

    #[test]
    fn an_event_that_changes_nothing_that_is_kept_concerns_nobody() {
        let index = index();
        index.observe(&gvk(), &config_map("a", Some("app"), 1, "x"));
        assert!(index.observe(&gvk(), &config_map("a", Some("app"), 2, "x")).is_empty());
        assert_eq!(&*index.owned_by("app")[0].resource_version, "2");
    }

    #[test]
    fn an_event_that_is_older_than_the_answer_to_a_write_is_ignored() {
        let index = index();
        index.observe(&gvk(), &config_map("a", Some("app"), 5, "new"));
        assert!(index.observe(&gvk(), &config_map("a", Some("app"), 4, "old")).is_empty());
        let live = index.owned_by("app").remove(0).object().unwrap();
        assert_eq!(live.value()["data"]["key"], "new");
    }

    #[test]
    fn the_end_of_an_object_does_not_take_its_successor_along() {
        let index = index();
        let first = config_map("a", Some("app"), 1, "x");
        let of_uid = |uid: &str, version: u64| {
            config_map("a", Some("app"), version, "x")
                .edit(|value| value["metadata"]["uid"] = uid.into())
                .unwrap()
        };
        index.observe(&gvk(), &first);
        index.observe(&gvk(), &of_uid("successor", 4));
        assert!(index.observe(&gvk(), &config_map("a", Some("app"), 2, "going")).is_empty());
        assert!(index.forget(&gvk(), &config_map("a", Some("app"), 3, "going")).is_empty());
        assert_eq!(&*index.owned_by("app")[0].uid, "successor");
        assert_eq!(index.forget(&gvk(), &of_uid("successor", 5)), ["app".into()]);
    }

    #[test]
    fn the_body_of_an_object_that_nobody_asks_for_is_not_kept() {
        let index = index();
        let object = config_map("a", None, 1, "x");
        index.observe(&gvk(), &object);
        assert!(!index.get(&gvk(), &object.key()).unwrap().has_body());
        index.declare("app", [object.key()]);
        index.observe(&gvk(), &config_map("a", None, 2, "x"));
        assert!(index.get(&gvk(), &object.key()).unwrap().has_body());
    }

    #[test]
    fn objects_that_a_new_listing_does_not_show_are_gone() {
        let index = index();
        index.observe(&gvk(), &config_map("a", Some("app"), 1, "x"));
        index.observe(&gvk(), &config_map("b", Some("app"), 1, "x"));
        index.begin_listing(&gvk(), None);
        index.observe(&gvk(), &config_map("b", Some("app"), 1, "x"));
        let listed = HashSet::from([config_map("b", None, 1, "x").key()]);
        assert_eq!(index.retain(&gvk(), None, &listed), (vec!["app".into()], Vec::new()));
        assert_eq!(index.owned_by("app").len(), 1);
    }

    #[test]
    fn the_listing_of_one_namespace_says_nothing_about_another() {
        let index = index();
        let elsewhere = config_map("a", Some("app"), 1, "x")
            .edit(|value| value["metadata"]["namespace"] = "other".into());
        index.observe(&gvk(), &config_map("a", Some("app"), 1, "x"));
        index.observe(&gvk(), &elsewhere.unwrap());
        index.begin_listing(&gvk(), Some("other"));
        index.begin_listing(&gvk(), Some("shop"));
        assert_eq!(index.retain(&gvk(), Some("shop"), &HashSet::new()), (vec!["app".into()], Vec::new()));
        assert_eq!(index.owned_by("app").len(), 1);
        assert_eq!(index.retain(&gvk(), Some("other"), &HashSet::new()).0, ["app".into()]);
        assert!(index.is_empty());
    }

    #[test]
    fn an_object_that_was_applied_during_a_listing_stays_and_is_asked_for() {
        let index = index();
        index.observe(&gvk(), &config_map("old", Some("app"), 1, "x"));
        index.begin_listing(&gvk(), None);
        let applied = config_map("applied", Some("app"), 2, "x");
        index.observe(&gvk(), &applied);
        let (_, doubtful) = index.retain(&gvk(), None, &HashSet::new());
        assert_eq!(doubtful, [Arc::new(applied.key())]);
        let seen = index.get(&gvk(), &applied.key()).unwrap();
        index.observe(&gvk(), &config_map("applied", Some("app"), 3, "x"));
        assert!(index.forget_seen(&seen).is_empty(), "it was observed again");
        let seen = index.get(&gvk(), &applied.key()).unwrap();
        assert_eq!(index.forget_seen(&seen), ["app".into()]);
        assert!(index.is_empty());
    }

    #[test]
    fn a_new_status_changes_one_hash_of_two() {
        let index = index();
        let with_status = |version: u64, data: &str, status: &str| {
            let object = config_map("a", Some("app"), version, data);
            object.edit(|value| value["status"] = json!({ "phase": status })).unwrap()
        };
        let hashes = |object: &Object| {
            index.observe(&gvk(), object);
            let live = index.get(&gvk(), &object.key()).unwrap();
            assert_eq!(live.object().unwrap().value()["status"], object.value()["status"]);
            (live.hash(), live.hash_without_status())
        };
        let first = hashes(&with_status(1, "x", "Pending"));
        let ready = hashes(&with_status(2, "x", "Ready"));
        let changed = hashes(&with_status(3, "y", "Ready"));
        assert!(first.0 != ready.0 && first.1 == ready.1);
        assert!(ready.0 != changed.0 && ready.1 != changed.1);
    }
}
