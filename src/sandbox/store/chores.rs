//! What the server does in its own time: garbage collection, namespace termination, CRDs, the kubelet's last word.
//!
//! Each write notes the chores that it causes in a set; one task works the set off. A chore looks at the state anew,
//! so doing one twice, or late, is harmless.

use serde_json::{Value, json};
use tokio::task::{JoinHandle, JoinSet};

use super::super::kinds::Resource;
use super::super::storage::owner_uids;
use super::super::{convert, crd, prepare};
use super::delete::{
    CRD_CLEANUP, DeleteRequest, FOREGROUND, ORPHAN, Propagation, finalizers, set_finalizers,
};
use super::write::metadata_mut;
use super::{State, Store, WriteOptions, text};
use crate::object::{GroupKind, Gvk, ObjectKey};

/// One thing to look at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Chore {
    /// An object with owners: does one of them still stand?
    Collect(ObjectKey),
    /// An object in foreground deletion: are its dependents gone?
    Foreground(ObjectKey),
    /// An object in orphaning deletion: its dependents lose their owner.
    Orphan(ObjectKey),
    /// A terminating namespace: its contents go, then it goes.
    Namespace(String),
    /// A namespace: it has a default ServiceAccount and the CA bundle.
    NamespaceDefaults(String),
    /// A CRD: its names are accepted, or its objects are cleaned up.
    Crd(String),
    /// A CRD that has waited long enough: it is established.
    Establish(String),
    /// A terminating Pod on a node: the kubelet confirms the end.
    Kubelet(ObjectKey),
}

fn namespace_kind() -> GroupKind {
    GroupKind::new("", "Namespace")
}

fn crd_kind() -> GroupKind {
    GroupKind::new("apiextensions.k8s.io", "CustomResourceDefinition")
}

fn is_terminating(object: &Value) -> bool {
    !text(object, "/metadata/deletionTimestamp").is_empty()
}

impl Store {
    /// Starts the task that works off chores; it ends with the store.
    pub(in super::super) fn start_chores(&self) -> JoinHandle<()> {
        let store = self.clone();
        tokio::spawn(async move {
            let mut waiting = JoinSet::new();
            loop {
                let chores = store.lock().take_chores();
                if chores.is_empty() {
                    tokio::select! {
                        () = store.inner.work.notified() => {}
                        () = store.closed() => return,
                        Some(_) = waiting.join_next() => {}
                    }
                }
                for chore in chores {
                    if let Chore::Crd(name) = &chore
                        && !store.inner.options.crd_established_delay.is_zero()
                    {
                        let (store, name) = (store.clone(), name.clone());
                        waiting.spawn(async move {
                            tokio::time::sleep(store.inner.options.crd_established_delay).await;
                            store.lock().add_chore(Chore::Establish(name));
                        });
                    }
                    let immediate = store.inner.options.crd_established_delay.is_zero();
                    store.lock().run(chore, immediate);
                }
            }
        })
    }

    /// The objects that a new cluster has.
    pub(super) fn populate(&self) {
        let options = WriteOptions::of("kube-apiserver");
        for name in ["default", "kube-system", "kube-public", "kube-node-lease"] {
            let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
            if let Ok(resource) = self.resource_of(&namespace) {
                // An empty store refuses none of these.
                let _ = self.create_in(&resource, "", namespace, &options);
            }
        }
        let service = json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {
                "name": "kubernetes", "namespace": "default",
                "labels": {"component": "apiserver", "provider": "kubernetes"},
            },
            "spec": {"type": "ClusterIP", "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": 6443}]},
        });
        let _ = self.create(service, "kube-apiserver");
        let mut state = self.lock();
        let pending = state.take_chores();
        for chore in pending {
            state.run(chore, true);
        }
    }
}

impl State {
    pub(super) fn after_create(&mut self, key: &ObjectKey, object: &Value) {
        match (key.group.as_str(), key.kind.as_str()) {
            ("", "Namespace") => self.add_chore(Chore::NamespaceDefaults(key.name.clone())),
            ("apiextensions.k8s.io", "CustomResourceDefinition") => {
                self.add_chore(Chore::Crd(key.name.clone()));
            }
            _ => {}
        }
        self.check_owners(key, object);
    }

    pub(super) fn after_update(&mut self, key: &ObjectKey, object: &Value) {
        if is_terminating(object) {
            self.after_mark(key, object);
        } else if *key == ObjectKey::new(crd_kind().group, crd_kind().kind, "", &key.name) {
            self.add_chore(Chore::Crd(key.name.clone()));
        }
        self.check_owners(key, object);
    }

    fn check_owners(&mut self, key: &ObjectKey, object: &Value) {
        if owner_uids(object).iter().any(|uid| self.storage.key_of_uid(uid).is_none()) {
            self.add_chore(Chore::Collect(key.clone()));
        }
    }

    pub(super) fn after_mark(&mut self, key: &ObjectKey, object: &Value) {
        let waits = finalizers(object);
        if waits.iter().any(|finalizer| finalizer == FOREGROUND) {
            self.add_chore(Chore::Foreground(key.clone()));
        }
        if waits.iter().any(|finalizer| finalizer == ORPHAN) {
            self.add_chore(Chore::Orphan(key.clone()));
        }
        match (key.group.as_str(), key.kind.as_str()) {
            ("", "Namespace") => self.add_chore(Chore::Namespace(key.name.clone())),
            ("", "Pod") => self.add_chore(Chore::Kubelet(key.clone())),
            ("apiextensions.k8s.io", "CustomResourceDefinition") => {
                self.add_chore(Chore::Crd(key.name.clone()));
            }
            _ => {}
        }
    }

    pub(super) fn after_remove(&mut self, key: &ObjectKey, removed: &Value) {
        for uid in owner_uids(removed) {
            if let Some(owner) = self.storage.key_of_uid(&uid) {
                self.add_chore(Chore::Foreground(owner));
            }
        }
        if !key.namespace.is_empty() {
            if self.stored(&namespace_kind(), "", &key.namespace).is_some_and(|ns| is_terminating(&ns)) {
                self.add_chore(Chore::Namespace(key.namespace.clone()));
            } else if matches!(
                (key.kind.as_str(), key.name.as_str()),
                ("ServiceAccount", "default") | ("ConfigMap", "kube-root-ca.crt")
            ) {
                self.add_chore(Chore::NamespaceDefaults(key.namespace.clone()));
            }
        }
        if key.group_kind() == crd_kind() {
            let (group, plural) = (text(removed, "/spec/group"), text(removed, "/spec/names/plural"));
            self.registry.remove(group, plural);
        } else if let Some(resource) = self.registry.by_group_kind(&key.group_kind())
            && resource.custom.is_some()
        {
            let name = resource.qualified();
            if self.stored(&crd_kind(), "", &name).is_some_and(|crd| is_terminating(&crd)) {
                self.add_chore(Chore::Crd(name));
            }
        }
    }

    fn stored(&self, kind: &GroupKind, namespace: &str, name: &str) -> Option<Value> {
        self.storage.get(kind, namespace, name).map(|stored| stored.value())
    }

    fn run(&mut self, chore: Chore, establish: bool) {
        match chore {
            Chore::Collect(key) => self.collect(&key),
            Chore::Foreground(key) => self.finish_foreground(&key),
            Chore::Orphan(key) => self.finish_orphan(&key),
            Chore::Namespace(name) => self.finish_namespace(&name),
            Chore::NamespaceDefaults(name) => self.fill_namespace(&name),
            Chore::Crd(name) => self.serve_crd(&name, establish),
            Chore::Establish(name) => self.serve_crd(&name, true),
            Chore::Kubelet(key) => {
                let now = DeleteRequest { grace: Some(0), ..DeleteRequest::default() };
                if self
                    .stored(&key.group_kind(), &key.namespace, &key.name)
                    .is_some_and(|pod| is_terminating(&pod))
                {
                    self.delete_key(&key, &now);
                }
            }
        }
    }

    fn resource_at(&self, key: &ObjectKey) -> Option<std::sync::Arc<Resource>> {
        self.registry.by_group_kind(&key.group_kind())
    }

    /// Deletes an object; that it is gone already is as good.
    fn delete_key(&mut self, key: &ObjectKey, request: &DeleteRequest) {
        if let Some(resource) = self.resource_at(key) {
            let _ = self.delete(&resource, &key.namespace, &key.name, request);
        }
    }

    /// Writes a changed object in its stored form.
    fn rewrite(&mut self, key: &ObjectKey, object: Value) {
        if let Some(resource) = self.resource_at(key) {
            let object = convert::to_served(&resource, object);
            self.commit(&resource, &key.namespace, &key.name, object);
        }
    }

    fn collect(&mut self, key: &ObjectKey) {
        let Some(mut object) = self.stored(&key.group_kind(), &key.namespace, &key.name) else {
            return;
        };
        let owners = owner_uids(&object);
        if owners.is_empty() {
            return;
        }
        let mut gone = Vec::new();
        let mut waiting = Vec::new();
        let mut solid = false;
        for uid in owners {
            let owner = self.storage.key_of_uid(&uid);
            match owner.and_then(|owner| self.stored(&owner.group_kind(), &owner.namespace, &owner.name)) {
                None => gone.push(uid),
                Some(owner)
                    if is_terminating(&owner) && finalizers(&owner).iter().any(|f| f == FOREGROUND) =>
                {
                    waiting.push(uid);
                }
                Some(_) => solid = true,
            }
        }
        if solid {
            if gone.is_empty() && waiting.is_empty() {
                return;
            }
            gone.extend(waiting);
            drop_owners(&mut object, &gone);
            self.rewrite(key, object);
            return;
        }
        if is_terminating(&object) {
            return;
        }
        let has_dependents = !self.storage.dependents(text(&object, "/metadata/uid")).is_empty();
        let propagation = if !waiting.is_empty() && has_dependents {
            Propagation::Foreground
        } else {
            Propagation::Background
        };
        let request = DeleteRequest {
            propagation: Some(propagation),
            uid: Some(text(&object, "/metadata/uid").to_owned()),
            ..DeleteRequest::default()
        };
        self.delete_key(key, &request);
    }

    fn finish_foreground(&mut self, key: &ObjectKey) {
        let Some(mut object) = self.stored(&key.group_kind(), &key.namespace, &key.name) else {
            return;
        };
        let mut waits = finalizers(&object);
        if !is_terminating(&object) || !waits.iter().any(|finalizer| finalizer == FOREGROUND) {
            return;
        }
        let uid = text(&object, "/metadata/uid").to_owned();
        let mut blocked = false;
        for dependent in self.storage.dependents(&uid) {
            let Some(value) = self.stored(&dependent.group_kind(), &dependent.namespace, &dependent.name)
            else {
                continue;
            };
            blocked |= blocks(&value, &uid);
            if !is_terminating(&value) {
                self.add_chore(Chore::Collect(dependent));
            }
        }
        if !blocked {
            waits.retain(|finalizer| finalizer != FOREGROUND);
            set_finalizers(&mut object, &waits);
            self.rewrite(key, object);
        }
    }

    fn finish_orphan(&mut self, key: &ObjectKey) {
        let Some(mut object) = self.stored(&key.group_kind(), &key.namespace, &key.name) else {
            return;
        };
        let mut waits = finalizers(&object);
        if !is_terminating(&object) || !waits.iter().any(|finalizer| finalizer == ORPHAN) {
            return;
        }
        let uid = text(&object, "/metadata/uid").to_owned();
        for dependent in self.storage.dependents(&uid) {
            if let Some(mut value) =
                self.stored(&dependent.group_kind(), &dependent.namespace, &dependent.name)
            {
                drop_owners(&mut value, std::slice::from_ref(&uid));
                self.rewrite(&dependent, value);
            }
        }
        waits.retain(|finalizer| finalizer != ORPHAN);
        set_finalizers(&mut object, &waits);
        self.rewrite(key, object);
    }

    fn finish_namespace(&mut self, name: &str) {
        let key = ObjectKey::new("", "Namespace", "", name);
        let Some(mut namespace) = self.stored(&namespace_kind(), "", name) else {
            return;
        };
        if !is_terminating(&namespace) {
            return;
        }
        let request =
            DeleteRequest { propagation: Some(Propagation::Background), ..DeleteRequest::default() };
        let mut left = false;
        for kind in self.storage.kinds() {
            if self.registry.by_group_kind(&kind).is_none_or(|resource| !resource.namespaced) {
                continue;
            }
            for stored in self.storage.list(&kind, Some(name)) {
                if !is_terminating(&stored.value()) {
                    self.delete_key(&stored.key, &request);
                }
                left |= self.storage.get(&kind, name, &stored.key.name).is_some();
            }
        }
        if left {
            return;
        }
        if let Some(spec) = namespace.get_mut("spec").and_then(Value::as_object_mut)
            && let Some(waits) = spec.get_mut("finalizers").and_then(Value::as_array_mut)
        {
            let before = waits.len();
            waits.retain(|finalizer| finalizer != "kubernetes");
            if waits.is_empty() {
                spec.shift_remove("finalizers");
            } else if waits.len() == before {
                return;
            }
            self.rewrite(&key, namespace);
        }
    }

    fn fill_namespace(&mut self, name: &str) {
        if self.stored(&namespace_kind(), "", name).is_none_or(|namespace| is_terminating(&namespace)) {
            return;
        }
        let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}});
        let bundle = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {
                "name": "kube-root-ca.crt",
                "annotations": {
                    "kubernetes.io/description": "The certificate authority of this sandbox: there is none, \
                        since nothing in it connects to the API server.",
                },
            },
            "data": {"ca.crt": ""},
        });
        for object in [account, bundle] {
            let kind = GroupKind::new("", text(&object, "/kind"));
            if let Some(resource) = self.registry.by_group_kind(&kind) {
                // That it exists already is the common case.
                let _ = self.create_as_controller(&resource, name, object);
            }
        }
    }

    fn serve_crd(&mut self, name: &str, establish: bool) {
        let key = ObjectKey::new(crd_kind().group, crd_kind().kind, "", name);
        let Some(mut object) = self.stored(&crd_kind(), "", name) else {
            return;
        };
        if is_terminating(&object) {
            self.clean_up_crd(&key, object);
            return;
        }
        let others: Vec<Value> = self
            .storage
            .list(&crd_kind(), None)
            .iter()
            .map(|stored| stored.value())
            .filter(|other| text(other, "/metadata/name") != name)
            .collect();
        let conflict = crd::name_conflict(&object, &others);
        let established = conflict.is_none() && (establish || crd::is_established(&object));
        if established {
            let (group, plural) =
                (text(&object, "/spec/group").to_owned(), text(&object, "/spec/names/plural").to_owned());
            let resources = crd::resources_of(&object);
            if let Some(resource) = resources.first() {
                let stored = Gvk::new(&group, &resource.storage_version, &resource.kind);
                self.storage.relabel(&resource.storage, &stored.api_version());
            }
            self.registry.replace(&group, &plural, resources);
        }
        if let Some(status) = prepare::crd_status(&object, established, conflict.as_ref())
            && let Some(map) = object.as_object_mut()
        {
            map.insert("status".to_owned(), status);
            self.rewrite(&key, object);
        }
    }

    fn clean_up_crd(&mut self, key: &ObjectKey, mut object: Value) {
        let kind = GroupKind::new(text(&object, "/spec/group"), text(&object, "/spec/names/kind"));
        for stored in self.storage.list(&kind, None) {
            if !is_terminating(&stored.value()) {
                self.delete_key(&stored.key, &DeleteRequest::default());
            }
        }
        let mut waits = finalizers(&object);
        if self.storage.list(&kind, None).is_empty() && waits.iter().any(|finalizer| finalizer == CRD_CLEANUP)
        {
            waits.retain(|finalizer| finalizer != CRD_CLEANUP);
            set_finalizers(&mut object, &waits);
            self.rewrite(key, object);
        }
    }
}

fn drop_owners(object: &mut Value, uids: &[String]) {
    let Some(metadata) = metadata_mut(object) else {
        return;
    };
    let Some(owners) = metadata.get_mut("ownerReferences").and_then(Value::as_array_mut) else {
        return;
    };
    owners.retain(|owner| !uids.iter().any(|uid| text(owner, "/uid") == uid));
    if owners.is_empty() {
        metadata.shift_remove("ownerReferences");
    }
}

fn blocks(object: &Value, owner_uid: &str) -> bool {
    let owners = object.pointer("/metadata/ownerReferences").and_then(Value::as_array);
    owners.is_some_and(|owners| {
        owners.iter().any(|owner| {
            text(owner, "/uid") == owner_uid && owner.get("blockOwnerDeletion") == Some(&Value::Bool(true))
        })
    })
}
