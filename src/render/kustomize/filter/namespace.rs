//! `namespace`: moves an object into a namespace.
//!
//! `metadata.namespace` is set on everything that is not known to be cluster-scoped; a core Namespace is renamed; the
//! subjects of role bindings follow by a rule of their own; the rest is field specs.

use serde_json::{Map, Value};

use super::{FilterError, scalar_text};
use crate::object::type_name;
use crate::render::kustomize::fieldspec::{Create, FieldSpec, gvk_of, visit, visit_any_kind};
use crate::render::kustomize::schema;

/// Which subjects of a role binding get the namespace directly.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RoleBindingSubjects {
    /// Those named `default`.
    #[default]
    DefaultOnly,
    /// Every service account.
    AllServiceAccounts,
    /// None.
    None,
}

/// What to set.
#[derive(Debug, Clone, Default)]
pub struct Namespace {
    /// The namespace.
    pub namespace: String,
    /// Whether a namespace that is there stays.
    pub unset_only: bool,
    /// Which subjects of role bindings follow.
    pub subjects: RoleBindingSubjects,
}

/// Sets the namespace of one object.
///
/// # Errors
/// When `metadata`, a subject or a place of the field specs has the wrong type.
pub fn apply(object: &mut Value, config: &Namespace, fieldspecs: &[FieldSpec]) -> Result<(), FilterError> {
    let gvk = gvk_of(object);
    if !schema::is_cluster_scoped(&gvk) {
        let spec = FieldSpec::any("metadata/namespace", true);
        visit_any_kind(object, &spec, Create::Scalar, &mut |place| config.set(place, &spec))?;
    }
    if is_role_binding(&gvk.kind) {
        set_subjects(object, config)?;
    }
    for spec in fieldspecs {
        let path = spec.path.trim_start_matches('/');
        let is_done = match path {
            "metadata/namespace" => true,
            "metadata/name" => !(gvk.group.is_empty() && gvk.version == "v1"),
            // Only what is meant for role bindings by name gives way to their rule.
            "subjects" | "subjects/namespace" => is_role_binding(&spec.kind),
            _ => false,
        };
        if !is_done {
            visit(object, spec, Create::Scalar, &mut |place| config.set(place, spec))?;
        }
    }
    Ok(())
}

fn is_role_binding(kind: &str) -> bool {
    matches!(kind, "RoleBinding" | "ClusterRoleBinding")
}

impl Namespace {
    fn set(&self, place: &mut Value, spec: &FieldSpec) -> Result<(), FilterError> {
        let Some(old) = scalar_text(place) else {
            return Err(FilterError::WrongType {
                path: spec.path.clone(),
                expected: "a string",
                found: type_name(place),
            });
        };
        if !self.unset_only || old.is_empty() {
            *place = Value::from(self.namespace.as_str());
        }
        Ok(())
    }

    fn moves(&self, subject: &Map<String, Value>) -> bool {
        let is = |field: &str, text: &str| subject.get(field).and_then(Value::as_str) == Some(text);
        match self.subjects {
            RoleBindingSubjects::DefaultOnly => is("name", "default"),
            RoleBindingSubjects::AllServiceAccounts => is("kind", "ServiceAccount"),
            RoleBindingSubjects::None => false,
        }
    }
}

fn set_subjects(object: &mut Value, config: &Namespace) -> Result<(), FilterError> {
    let spec = FieldSpec::any("subjects/namespace", true);
    let subjects = match object.get_mut("subjects") {
        None | Some(Value::Null) => return Ok(()),
        Some(Value::Array(subjects)) => subjects,
        Some(other) => {
            return Err(FilterError::WrongType {
                path: "subjects".to_owned(),
                expected: "a list",
                found: type_name(other),
            });
        }
    };
    for subject in subjects {
        match subject {
            Value::Object(subject) if config.moves(subject) => {
                config.set(subject.entry("namespace").or_insert(Value::Null), &spec)?;
            }
            Value::Object(_) | Value::Null => {}
            other => {
                return Err(FilterError::WrongType {
                    path: spec.path,
                    expected: "in a list of mappings",
                    found: type_name(other),
                });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::render::kustomize::fieldspec::Configuration;

    fn moved(object: Value, change: impl FnOnce(&mut Namespace)) -> Value {
        let mut config = Namespace { namespace: "new".to_owned(), ..Namespace::default() };
        change(&mut config);
        let mut object = object;
        apply(&mut object, &config, &Configuration::defaults().namespace).unwrap();
        object
    }

    fn object(api_version: &str, kind: &str) -> Value {
        json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "x"}})
    }

    #[test]
    fn what_is_not_known_to_be_cluster_scoped_is_moved() {
        for (api_version, kind) in
            [("v1", "Pod"), ("example.com/v1", "Widget"), ("example.com/v1", "Namespace")]
        {
            let moved = moved(object(api_version, kind), |_| {});
            assert_eq!(moved["metadata"], json!({"name": "x", "namespace": "new"}), "{kind}");
        }
        let role = object("rbac.authorization.k8s.io/v1", "ClusterRole");
        assert_eq!(moved(role.clone(), |_| {}), role);
    }

    #[test]
    fn a_core_namespace_is_renamed() {
        assert_eq!(moved(object("v1", "Namespace"), |_| {})["metadata"], json!({"name": "new"}));
    }

    #[test]
    fn a_namespace_that_is_there_can_stay() {
        let mut pod = object("v1", "Pod");
        pod["metadata"]["namespace"] = json!("old");
        assert_eq!(moved(pod.clone(), |config| config.unset_only = true), pod);
        assert_eq!(moved(pod, |_| {})["metadata"]["namespace"], "new");
    }

    #[test]
    fn subjects_of_role_bindings_follow_by_their_own_rule() {
        let mut binding = object("rbac.authorization.k8s.io/v1", "RoleBinding");
        binding["subjects"] = json!([
            {"kind": "ServiceAccount", "name": "default"},
            {"kind": "ServiceAccount", "name": "robot", "namespace": "old"},
            {"kind": "User", "name": "default"}
        ]);
        let namespaces = |subjects| {
            let moved = moved(binding.clone(), |config| config.subjects = subjects);
            let namespace =
                |index: usize| moved["subjects"][index]["namespace"].as_str().unwrap_or_default().to_owned();
            [namespace(0), namespace(1), namespace(2)]
        };
        assert_eq!(namespaces(RoleBindingSubjects::DefaultOnly), ["new", "old", "new"]);
        assert_eq!(namespaces(RoleBindingSubjects::AllServiceAccounts), ["new", "new", ""]);
        assert_eq!(namespaces(RoleBindingSubjects::None), ["", "old", ""]);
    }

    #[test]
    fn a_field_spec_for_subjects_of_any_kind_moves_them_all() {
        let of_kind = |kind: &str| {
            let mut binding = object("rbac.authorization.k8s.io/v1", "RoleBinding");
            binding["subjects"] = json!([{"kind": "ServiceAccount", "name": "robot", "namespace": "old"}]);
            let config = Namespace { namespace: "new".to_owned(), ..Namespace::default() };
            let spec = FieldSpec { kind: kind.to_owned(), ..FieldSpec::any("subjects/namespace", true) };
            apply(&mut binding, &config, &[spec]).unwrap();
            binding["subjects"][0]["namespace"].clone()
        };
        assert_eq!(of_kind("RoleBinding"), "old");
        assert_eq!(of_kind(""), "new");
    }

    #[test]
    fn services_of_api_services_and_conversion_webhooks_are_moved() {
        let service = moved(object("apiregistration.k8s.io/v1", "APIService"), |_| {});
        assert_eq!(service["spec"]["service"]["namespace"], "new");
        let mut definition = object("apiextensions.k8s.io/v1", "CustomResourceDefinition");
        let path = "/spec/conversion/webhook/clientConfig/service";
        definition["spec"] =
            json!({"conversion": {"webhook": {"clientConfig": {"service": {"namespace": "old"}}}}});
        assert_eq!(moved(definition, |_| {}).pointer(path).unwrap()["namespace"], "new");
        let plain = object("apiextensions.k8s.io/v1", "CustomResourceDefinition");
        assert_eq!(moved(plain.clone(), |_| {}), plain);
    }
}
