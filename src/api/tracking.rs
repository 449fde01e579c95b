//! How an object says which Application it belongs to.
//!
//! ```text
//! argocd.argoproj.io/tracking-id: <instance name>:<group>/<kind>:<namespace>/<name>
//! ```
//!
//! The id names the object too, so that an annotation that was copied to another object proves nothing.

use std::fmt;

use super::string_enum::string_enum;
use crate::object::ObjectKey;

/// The longest value of a label.
const LABEL_LENGTH: usize = 63;

string_enum! {
    /// How objects are marked as an Application's: the setting `application.resourceTrackingMethod`.
    pub enum TrackingMethod, otherwise Annotation {
        /// By the annotation with the tracking id.
        Annotation = "annotation",
        /// By a label with the instance name.
        Label = "label",
        /// By the annotation; the label is for people.
        AnnotationAndLabel = "annotation+label",
    }
}

/// The name that stands for an Application in tracking ids: its own, with its namespace in front when that is not the
/// agent's.
pub fn instance_name(name: &str, namespace: &str, controller_namespace: &str) -> String {
    if namespace.is_empty() || namespace == controller_namespace {
        name.to_owned()
    } else {
        format!("{namespace}_{name}")
    }
}

/// The name and namespace of the Application behind an instance name.
pub fn split_instance_name<'a>(instance: &'a str, controller_namespace: &'a str) -> (&'a str, &'a str) {
    match instance.split_once('_') {
        Some((namespace, name)) => (name, namespace),
        None => (instance, controller_namespace),
    }
}

/// The tracking id of an object.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TrackingId {
    /// The Application's instance name.
    pub instance: String,
    /// The object. A cluster-scoped one carries the destination namespace.
    pub object: ObjectKey,
}

impl TrackingId {
    /// The id of an object of an Application whose destination namespace is given.
    pub fn new(instance: impl Into<String>, key: &ObjectKey, destination_namespace: &str) -> Self {
        let mut object = key.clone();
        if object.namespace.is_empty() {
            destination_namespace.clone_into(&mut object.namespace);
        }
        Self { instance: instance.into(), object }
    }

    /// Reads an id; `None` when the text is not one, which means untracked.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, ':');
        let (instance, group_kind, namespaced_name) = (parts.next()?, parts.next()?, parts.next()?);
        let (group, kind) = split_in_two(group_kind)?;
        let (namespace, name) = split_in_two(namespaced_name)?;
        Some(Self { instance: instance.to_owned(), object: ObjectKey::new(group, kind, namespace, name) })
    }

    /// Whether the id names this object: the same group, kind and name, and the same namespace unless the object has
    /// none.
    ///
    /// An object that carries the id of another one was copied; it belongs to nobody.
    pub fn names(&self, key: &ObjectKey) -> bool {
        let of_id = &self.object;
        of_id.group == key.group
            && of_id.kind == key.kind
            && of_id.name == key.name
            && (key.namespace.is_empty() || of_id.namespace == key.namespace)
    }
}

impl fmt::Display for TrackingId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ObjectKey { group, kind, namespace, name } = &self.object;
        write!(f, "{}:{group}/{kind}:{namespace}/{name}", self.instance)
    }
}

/// An instance name as a label's value: cut to 63 characters, without trailing punctuation.
pub fn label_value(instance: &str) -> String {
    let cut: String = instance.chars().take(LABEL_LENGTH).collect();
    cut.trim_end_matches(|c: char| !c.is_ascii_alphanumeric()).to_owned()
}

fn split_in_two(text: &str) -> Option<(&str, &str)> {
    text.split_once('/').filter(|(_, rest)| !rest.contains('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_as_it_was_written() {
        let key = ObjectKey::new("apps", "Deployment", "shop", "orders");
        let id = TrackingId::new("orders", &key, "elsewhere");
        assert_eq!(id.to_string(), "orders:apps/Deployment:shop/orders");
        assert_eq!(TrackingId::parse(&id.to_string()), Some(id));
    }

    #[test]
    fn the_core_group_is_empty_and_a_cluster_scoped_object_carries_the_destination_namespace() {
        let key = ObjectKey::new("", "Namespace", "", "shop");
        let id = TrackingId::new("team-a_orders", &key, "shop-dev");
        assert_eq!(id.to_string(), "team-a_orders:/Namespace:shop-dev/shop");
        assert!(id.names(&key));
    }

    #[test]
    fn a_name_may_hold_colons() {
        let id = TrackingId::parse("a:rbac.authorization.k8s.io/Role:kube-system/system:leader").unwrap();
        assert_eq!(id.object.name, "system:leader");
    }

    #[test]
    fn anything_else_is_untracked() {
        for text in
            ["", "orders", "a:b:c", "a:apps/Deployment", "a:apps/Deployment/x:ns/n", "a:apps/D:ns/n/m"]
        {
            assert_eq!(TrackingId::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_copied_annotation_does_not_name_the_copy() {
        let id = TrackingId::parse("orders:apps/Deployment:shop/orders").unwrap();
        for copy in [
            ObjectKey::new("apps", "Deployment", "shop", "orders-copy"),
            ObjectKey::new("apps", "Deployment", "other", "orders"),
            ObjectKey::new("apps", "StatefulSet", "shop", "orders"),
            ObjectKey::new("", "Deployment", "shop", "orders"),
        ] {
            assert!(!id.names(&copy), "{copy}");
        }
    }

    #[test]
    fn applications_of_other_namespaces_have_their_namespace_in_front() {
        assert_eq!(instance_name("orders", "argocd", "argocd"), "orders");
        assert_eq!(instance_name("orders", "", "argocd"), "orders");
        assert_eq!(instance_name("orders", "team-a", "argocd"), "team-a_orders");
        assert_eq!(split_instance_name("team-a_orders", "argocd"), ("orders", "team-a"));
        assert_eq!(split_instance_name("orders", "argocd"), ("orders", "argocd"));
    }

    #[test]
    fn a_label_is_cut_to_what_a_label_may_be() {
        let long = format!("{}._tail", "a".repeat(62));
        assert_eq!(label_value(&long), "a".repeat(62));
        assert_eq!(label_value("orders"), "orders");
    }
}
