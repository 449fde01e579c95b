//! How far into the cluster an agent looks.

use std::{collections::BTreeSet, fmt, sync::Arc};

use crate::object::Scope;

/// The whole cluster, or some namespaces of it: an agent without a ClusterRole can neither list nor read anything else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// All of it.
    #[default]
    Cluster,
    /// These namespaces, and nothing that belongs to none.
    Namespaces(Arc<BTreeSet<String>>),
}

impl Reach {
    /// Some namespaces.
    pub fn namespaces(names: impl IntoIterator<Item = String>) -> Self {
        Self::Namespaces(Arc::new(names.into_iter().collect()))
    }

    /// Whether a namespace is within reach.
    pub fn covers(&self, namespace: &str) -> bool {
        match self {
            Self::Cluster => true,
            Self::Namespaces(names) => names.contains(namespace),
        }
    }

    /// Why an object of this scope and namespace is out of reach; `None` where it is not.
    pub fn problem(&self, scope: Scope, namespace: &str) -> Option<String> {
        match (self, scope) {
            (Self::Cluster, _) => None,
            (Self::Namespaces(_), Scope::Cluster) => {
                Some(format!("it belongs to the cluster as a whole, and {self}"))
            }
            (Self::Namespaces(_), Scope::Namespaced) => (!self.covers(namespace))
                .then(|| format!("namespace '{namespace}' is none of its own: {self}")),
        }
    }

    /// Where objects of a scope are listed: `None` is everywhere. There is no place for what is out of reach.
    pub fn places(&self, scope: Scope) -> Vec<Option<String>> {
        match (self, scope) {
            (Self::Cluster, _) => vec![None],
            (Self::Namespaces(_), Scope::Cluster) => Vec::new(),
            (Self::Namespaces(names), Scope::Namespaced) => names.iter().cloned().map(Some).collect(),
        }
    }
}

impl fmt::Display for Reach {
    /// The end of a sentence that says what cannot be done.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cluster => f.write_str("the agent looks after the whole cluster"),
            Self::Namespaces(names) => {
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                let names = names.join(", ");
                write!(f, "the agent runs with --namespaced and looks after namespace {names} only")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_named_namespaces_are_within_reach() {
        let reach = Reach::namespaces(["argocd".to_owned(), "shop".to_owned()]);
        assert_eq!(reach.problem(Scope::Namespaced, "shop"), None);
        let told = reach.problem(Scope::Namespaced, "kube-system").unwrap();
        assert!(told.contains("'kube-system'") && told.contains("argocd, shop"), "{told}");
        let told = reach.problem(Scope::Cluster, "").unwrap();
        assert!(told.contains("the cluster as a whole"), "{told}");
        assert_eq!(reach.places(Scope::Namespaced), [Some("argocd".to_owned()), Some("shop".to_owned())]);
        assert!(reach.places(Scope::Cluster).is_empty());
        assert_eq!(Reach::Cluster.places(Scope::Cluster), [None]);
        assert_eq!(Reach::Cluster.problem(Scope::Cluster, ""), None);
    }
}
