//! Application and AppProject as Kubernetes resources: the only file of this room that knows the client.

use std::borrow::Cow;

use k8s_openapi::{NamespaceResourceScope, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{
    AppProjectSpec, AppProjectStatus, ApplicationSpec, ApplicationStatus, Operation, names, omit, tracking,
};
use crate::error::{Classified, ErrorKind};

/// Why a value is not an Application or an AppProject.
#[derive(Debug, thiserror::Error)]
#[error("{kind} '{name}': field '{path}' cannot be read: correct its type")]
pub struct ReadError {
    /// `Application` or `AppProject`.
    pub kind: &'static str,
    /// The object's `namespace/name`, as far as it is known.
    pub name: String,
    /// The path of the field.
    pub path: String,
    /// What is wrong with the field.
    #[source]
    pub source: serde_json::Error,
}

impl Classified for ReadError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::User
    }
}

macro_rules! resource {
    ($(#[$meta:meta])* $name:ident, $fields:ident, $plural:literal, { $($(#[$field_meta:meta])* $field:ident: $type:ty,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq, Serialize)]
        pub struct $name {
            /// Name, namespace, labels, annotations, finalizers…
            pub metadata: ObjectMeta,
            $($(#[$field_meta])* pub $field: $type,)+
        }

        #[derive(Deserialize)]
        struct $fields {
            #[serde(default)]
            metadata: ObjectMeta,
            $(#[serde(default)] $field: $type,)+
        }

        impl $name {
            /// Reads one from JSON, as tolerantly as Argo CD does.
            ///
            /// # Errors
            /// When a field has the wrong type; the error names it.
            pub fn from_value(value: Value) -> Result<Self, ReadError> {
                let text = |pointer| value.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
                let name = format!("{}/{}", text("/metadata/namespace"), text("/metadata/name"));
                let fields: $fields = read(value).map_err(|error| ReadError {
                    kind: stringify!($name),
                    name,
                    path: error.path().to_string(),
                    source: error.into_inner(),
                })?;
                Ok(Self { metadata: fields.metadata, $($field: fields.$field,)+ })
            }

            /// Writes it as JSON, with `apiVersion` and `kind`.
            pub fn to_value(&self) -> Value {
                let mut object = serde_json::Map::new();
                object.insert("apiVersion".to_owned(), names::API_VERSION.into());
                object.insert("kind".to_owned(), stringify!($name).into());
                if let Ok(Value::Object(fields)) = serde_json::to_value(self) {
                    object.extend(fields);
                }
                Value::Object(object)
            }

            /// `metadata.name`.
            pub fn name(&self) -> &str {
                self.metadata.name.as_deref().unwrap_or_default()
            }

            /// `metadata.namespace`.
            pub fn namespace(&self) -> &str {
                self.metadata.namespace.as_deref().unwrap_or_default()
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let value = Value::deserialize(deserializer)?;
                Self::from_value(value).map_err(|error| serde::de::Error::custom(crate::error::chain(&error)))
            }
        }

        impl kube::Resource for $name {
            type DynamicType = ();
            type Scope = NamespaceResourceScope;

            fn kind((): &()) -> Cow<'_, str> {
                stringify!($name).into()
            }

            fn group((): &()) -> Cow<'_, str> {
                names::GROUP.into()
            }

            fn version((): &()) -> Cow<'_, str> {
                names::VERSION.into()
            }

            fn plural((): &()) -> Cow<'_, str> {
                $plural.into()
            }

            fn meta(&self) -> &ObjectMeta {
                &self.metadata
            }

            fn meta_mut(&mut self) -> &mut ObjectMeta {
                &mut self.metadata
            }
        }
    };
}

resource! {
    /// An Application: manifests from a source, kept true in a destination.
    Application, ApplicationFields, "applications", {
        /// What it declares.
        spec: ApplicationSpec,
        /// What Skiff knows of it.
        #[serde(skip_serializing_if = "omit::zero")]
        status: ApplicationStatus,
        /// A sync that somebody asked for.
        #[serde(skip_serializing_if = "Option::is_none")]
        operation: Option<Operation>,
    }
}

resource! {
    /// An AppProject: what its Applications may use and do.
    AppProject, AppProjectFields, "appprojects", {
        /// What it declares.
        spec: AppProjectSpec,
        /// What Skiff knows of it.
        #[serde(skip_serializing_if = "omit::zero")]
        status: AppProjectStatus,
    }
}

impl Application {
    /// One annotation's value.
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.metadata.annotations.as_ref()?.get(key).map(String::as_str)
    }

    /// Whether a finalizer is set.
    pub fn has_finalizer(&self, finalizer: &str) -> bool {
        self.metadata.finalizers.iter().flatten().any(|name| name == finalizer)
    }

    /// `<namespace>/<name>`, as people and RBAC name it.
    pub fn qualified_name(&self) -> String {
        format!("{}/{}", self.namespace(), self.name())
    }

    /// The name under which its objects are tracked: see [`tracking::instance_name`].
    pub fn instance_name(&self, controller_namespace: &str) -> String {
        tracking::instance_name(self.name(), self.namespace(), controller_namespace)
    }

    /// Whether deletion has begun.
    pub fn is_terminating(&self) -> bool {
        self.metadata.deletion_timestamp.is_some()
    }
}

fn read<T: DeserializeOwned>(mut value: Value) -> Result<T, serde_path_to_error::Error<serde_json::Error>> {
    drop_nulls(&mut value);
    serde_path_to_error::deserialize(value)
}

/// Takes `null` fields away, which mean the same as absent ones; but for Helm's values, where `null` unsets a default.
fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, field| !field.is_null());
            for (name, field) in fields.iter_mut() {
                if name != "valuesObject" {
                    drop_nulls(field);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

#[cfg(test)]
mod tests;
