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
        visit_any_kind(object, &spec, Create::Scalar, &mut |place| {
            config.set(place, &spec)
        })?;
    }
    let is_binding = matches!(gvk.kind.as_str(), "RoleBinding" | "ClusterRoleBinding");
    if is_binding {
        set_subjects(object, config)?;
    }
    for spec in fieldspecs {
        let path = spec.path.trim_start_matches('/');
        let is_done = match path {
            "metadata/namespace" => true,
            "metadata/name" => !(gvk.group.is_empty() && gvk.version == "v1"),
            "subjects" | "subjects/namespace" => is_binding,
            _ => false,
        };
        if !is_done {
            visit(object, spec, Create::Scalar, &mut |place| config.set(place, spec))?;
        }
    }
    Ok(())
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
        if !(self.unset_only && !old.is_empty()) {
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
        if let Value::Object(subject) = subject
            && config.moves(subject)
        {
            config.set(subject.entry("namespace").or_insert(Value::Null), &spec)?;
        }
    }
    Ok(())
}
