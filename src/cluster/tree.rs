//! Whose child is what: the objects of a cluster as trees.
//!
//! ```text
//! metadata of every object ──Forest──▶ an object's descendants, in the order of a tree
//! ```
//!
//! An object names its owners by uid. Some relations are told by names only, and are added: a StatefulSet's volume
//! claims, a Service's Endpoints, a ServiceAccount's tokens, an OperatorGroup's ClusterServiceVersions. An object with several owners hangs below the one that controls it. Whatever the references
//! say, each object comes once and nothing is followed deeper than [`MAX_DEPTH`].

mod read;

use std::collections::{HashMap, HashSet};

use serde_json::Value;

pub use read::{Inventory, inventory};

use crate::object::{Gvk, Object, ObjectKey};

/// How deep a tree may be.
const MAX_DEPTH: usize = 64;

/// What is known of an object to find its place.
#[derive(Clone, Debug)]
pub struct Member {
    /// Kind and version that it was read in.
    pub gvk: Gvk,
    /// Its identity.
    pub key: ObjectKey,
    /// `metadata.uid`.
    pub uid: String,
    /// The uids of its owners, the one that controls it first.
    pub owners: Vec<String>,
    /// The application that tracks it, by its instance name.
    pub tracked_by: Option<String>,
    /// The beginnings of the names of the volume claims that a StatefulSet makes: `data-orders-`.
    claims: Vec<String>,
    /// Whose it is where only names tell.
    parent: Option<ObjectKey>,
}

impl Member {
    /// Reads what is needed of an object; its metadata suffices, except for the claims of a StatefulSet.
    pub fn of(object: &Object, tracked_by: Option<String>) -> Self {
        let references = object.value().pointer("/metadata/ownerReferences").and_then(Value::as_array);
        let mut owners: Vec<&Value> = references.into_iter().flatten().collect();
        owners.sort_by_key(|owner| owner.get("controller").and_then(Value::as_bool) != Some(true));
        let uid = |owner: &Value| owner.get("uid").and_then(Value::as_str).map(str::to_owned);
        let key = object.key();
        let templates = object.value().pointer("/spec/volumeClaimTemplates").and_then(Value::as_array);
        let is_stateful_set = (key.group.as_str(), key.kind.as_str()) == ("apps", "StatefulSet");
        let name = |claim: &Value| claim.pointer("/metadata/name").and_then(Value::as_str).map(str::to_owned);
        let claims = templates.into_iter().flatten().filter(|_| is_stateful_set).filter_map(name);
        Self {
            gvk: object.gvk(),
            uid: object.uid().to_owned(),
            owners: owners.into_iter().filter_map(uid).collect(),
            tracked_by,
            claims: claims.map(|claim| format!("{claim}-{}-", key.name)).collect(),
            parent: parent_by_name(object, &key),
            key,
        }
    }
}

fn parent_by_name(object: &Object, key: &ObjectKey) -> Option<ObjectKey> {
    let (group, kind, name) = match (key.group.as_str(), key.kind.as_str()) {
        ("", "Endpoints") => ("", "Service", key.name.as_str()),
        ("", "Secret") => ("", "ServiceAccount", object.annotation("kubernetes.io/service-account.name")?),
        ("operators.coreos.com", "ClusterServiceVersion") => {
            ("operators.coreos.com", "OperatorGroup", object.annotation("olm.operatorGroup")?)
        }
        _ => return None,
    };
    Some(ObjectKey::new(group, kind, &key.namespace, name))
}

/// A descendant in the order of a tree: each comes right after its parent or after its elder siblings' descendants.
#[derive(Clone, Copy, Debug)]
pub struct Branch<'a> {
    /// The object.
    pub member: &'a Member,
    /// 1 for a child of the object that was asked for, 2 for a grandchild…
    pub depth: usize,
    /// The uid of the parent.
    pub parent: &'a str,
    /// Whether it is the last child of its parent.
    pub is_last: bool,
}

/// Objects with their children.
pub struct Forest<'a> {
    by_key: HashMap<&'a ObjectKey, &'a Member>,
    children: HashMap<&'a str, Vec<&'a Member>>,
    /// Those that have no owner, but a parent by name.
    by_name: HashSet<&'a str>,
}

impl<'a> Forest<'a> {
    /// Finds the parent of each object.
    pub fn new(members: &'a [Member]) -> Self {
        let by_uid: HashMap<&str, &Member> =
            members.iter().map(|member| (member.uid.as_str(), member)).collect();
        let by_key: HashMap<&ObjectKey, &Member> =
            members.iter().map(|member| (&member.key, member)).collect();
        let claimants: Vec<&Member> = members.iter().filter(|member| !member.claims.is_empty()).collect();
        let mut children: HashMap<&str, Vec<&Member>> = HashMap::new();
        let mut names_tell = HashSet::new();
        for member in members {
            let declared = member.owners.iter().find(|owner| by_uid.contains_key(owner.as_str()));
            let parent = match declared {
                Some(owner) => Some(owner.as_str()),
                None => by_name(member, &by_key, &claimants),
            };
            if let Some(parent) = parent.filter(|parent| *parent != member.uid) {
                if member.owners.is_empty() {
                    names_tell.insert(member.uid.as_str());
                }
                children.entry(parent).or_default().push(member);
            }
        }
        for siblings in children.values_mut() {
            siblings.sort_by(|a, b| (&a.key.kind, &a.key.name).cmp(&(&b.key.kind, &b.key.name)));
        }
        Self { by_key, children, by_name: names_tell }
    }

    /// One object.
    pub fn get(&self, key: &ObjectKey) -> Option<&'a Member> {
        self.by_key.get(key).copied()
    }

    /// Whether an object belongs to no other.
    pub fn is_top_level(&self, member: &Member) -> bool {
        member.owners.is_empty() && !self.by_name.contains(member.uid.as_str())
    }

    /// All that hangs below an object, without those that `seen` names by uid, which learns of what is returned.
    pub fn descendants(&self, key: &ObjectKey, seen: &mut HashSet<&'a str>) -> Vec<Branch<'a>> {
        let mut found = Vec::new();
        if let Some(root) = self.get(key) {
            seen.insert(&root.uid);
            self.descend(&root.uid, 1, seen, &mut found);
        }
        found
    }

    fn descend(
        &self,
        parent: &'a str,
        depth: usize,
        seen: &mut HashSet<&'a str>,
        found: &mut Vec<Branch<'a>>,
    ) {
        if depth > MAX_DEPTH {
            return;
        }
        let siblings = self.children.get(parent).map(Vec::as_slice).unwrap_or_default();
        let fresh: Vec<&'a Member> =
            siblings.iter().copied().filter(|member| seen.insert(&member.uid)).collect();
        for (position, member) in fresh.iter().enumerate() {
            found.push(Branch { member, depth, parent, is_last: position + 1 == fresh.len() });
            self.descend(&member.uid, depth + 1, seen, found);
        }
    }
}

/// The parent of an object that names none, where names tell.
fn by_name<'a>(
    member: &Member,
    by_key: &HashMap<&ObjectKey, &'a Member>,
    claimants: &[&'a Member],
) -> Option<&'a str> {
    if !member.owners.is_empty() {
        return None;
    }
    if let Some(parent) = &member.parent {
        return by_key.get(parent).map(|parent| parent.uid.as_str());
    }
    let ObjectKey { group, kind, namespace, name } = &member.key;
    if !group.is_empty() || kind != "PersistentVolumeClaim" {
        return None;
    }
    let claims = |set: &&&Member| {
        let mut ordinals = set.claims.iter().filter_map(|claim| name.strip_prefix(claim.as_str()));
        set.key.namespace == *namespace && ordinals.any(|rest| rest.parse::<u32>().is_ok())
    };
    claimants.iter().find(claims).map(|set| set.uid.as_str())
}

#[cfg(test)]
mod tests;
