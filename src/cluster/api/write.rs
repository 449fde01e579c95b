//! Writes to one cluster, each of something that a project has permitted.

use std::{future::Future, sync::Arc};

use kube::{
    Api,
    api::{
        DeleteParams, Patch, PatchParams, PostParams, Preconditions, PropagationPolicy, ValidationDirective,
    },
    core::DynamicObject,
};
use serde_json::{Value, json};

use super::{Cluster, ClusterError};
use crate::{
    object::{Gvk, Object, ObjectKey},
    project::{Apply, Delete, Permitted, Propagation, RemoveFinalizer},
};

/// What the API server does about fields that it does not know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FieldValidation {
    /// It refuses the object.
    #[default]
    Strict,
    /// It drops the fields.
    Ignore,
}

impl FieldValidation {
    /// Strict unless the options say `Validate=false`.
    pub fn strict_if(strict: bool) -> Self {
        if strict { Self::Strict } else { Self::Ignore }
    }
}

impl Cluster {
    /// Applies an object server-side, taking over fields from whoever has them. Returns what it has become.
    ///
    /// # Errors
    /// When the API server refuses or does not answer, or when this replica does not lead.
    pub async fn apply(
        &self,
        apply: &Permitted<Apply>,
        validation: FieldValidation,
    ) -> Result<Object, ClusterError> {
        let params = PatchParams::apply(self.field_manager);
        self.send_apply(apply, "apply", params, validation).await.inspect(|object| self.saw(object))
    }

    /// What an object would become if it were applied.
    ///
    /// # Errors
    /// As [`Cluster::apply`].
    pub async fn dry_run(
        &self,
        apply: &Permitted<Apply>,
        validation: FieldValidation,
    ) -> Result<Object, ClusterError> {
        let params = PatchParams::apply(self.field_manager).dry_run();
        self.send_apply(apply, "validate", params, validation).await
    }

    /// Asks whether an object like this one, with another name, could be created. Nothing is written.
    ///
    /// # Errors
    /// As [`Cluster::apply`].
    pub async fn dry_run_create(&self, apply: &Permitted<Apply>) -> Result<(), ClusterError> {
        let (key, api) = self.target(apply)?;
        let mut value = apply.write().object.value().clone();
        if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.shift_remove("name");
            metadata.insert("generateName".to_owned(), format!("{}-", key.name).into());
        }
        let object = dynamic(value, "validate", &key)?;
        let params = PostParams { dry_run: true, field_manager: Some(self.field_manager.to_owned()) };
        self.write("validate", &key, api.create(&params, &object)).await.map(drop)
    }

    /// Puts an object in the place of the one that is there in version `resource_version`, or creates it when that is
    /// `None`. Returns what it has become.
    ///
    /// # Errors
    /// As [`Cluster::apply`]; 409 when somebody was quicker.
    pub async fn replace(
        &self,
        apply: &Permitted<Apply>,
        resource_version: Option<&str>,
    ) -> Result<Object, ClusterError> {
        let (key, api) = self.target(apply)?;
        let mut value = apply.write().object.value().clone();
        if let (Some(version), Some(metadata)) =
            (resource_version, value.get_mut("metadata").and_then(Value::as_object_mut))
        {
            metadata.insert("resourceVersion".to_owned(), version.into());
        }
        let object = dynamic(value, "replace", &key)?;
        let params = PostParams { dry_run: false, field_manager: Some(self.field_manager.to_owned()) };
        let answer = match resource_version {
            Some(_) => self.write("replace", &key, api.replace(&key.name, &params, &object)).await?,
            None => self.write("create", &key, api.create(&params, &object)).await?,
        };
        let replaced = self.object(answer, &apply.write().object.gvk(), "replace", &key)?;
        self.saw(&replaced);
        Ok(replaced)
    }

    /// Says who manages which fields of the object in version `resource_version`, before it is applied.
    ///
    /// # Errors
    /// As [`Cluster::apply`]; 409 or 422 when somebody has changed the object meanwhile.
    pub async fn set_managed_fields(
        &self,
        apply: &Permitted<Apply>,
        managed_fields: &Value,
        resource_version: &str,
    ) -> Result<(), ClusterError> {
        let (key, api) = self.target(apply)?;
        // As kubectl does it: replacing the version makes the API server compare it.
        let patch = json!([
            { "op": "replace", "path": "/metadata/managedFields", "value": managed_fields },
            { "op": "replace", "path": "/metadata/resourceVersion", "value": resource_version },
        ]);
        let patch: json_patch::Patch = serde_json::from_value(patch).unwrap_or_default();
        let params =
            PatchParams { field_manager: Some(self.field_manager.to_owned()), ..PatchParams::default() };
        let patch = Patch::Json::<()>(patch);
        let request = api.patch(&key.name, &params, &patch);
        self.write("take over the fields of", &key, request).await.map(drop)
    }

    /// Deletes an object, provided that it still is the one that was decided on.
    ///
    /// # Errors
    /// When the API server refuses (409 when it is another object or another version by now) or does not answer.
    /// An object that is gone already is no error.
    pub async fn delete(&self, delete: &Permitted<Delete>) -> Result<(), ClusterError> {
        let delete = delete.write();
        let key = ObjectKey::new(&delete.gvk.group, &delete.gvk.kind, &delete.namespace, &delete.name);
        let kinds = self.kinds();
        let api = self.api(kinds.get(&delete.gvk)?, &key.namespace);
        let params = DeleteParams {
            propagation_policy: Some(match delete.propagation {
                Propagation::Foreground => PropagationPolicy::Foreground,
                Propagation::Background => PropagationPolicy::Background,
                Propagation::Orphan => PropagationPolicy::Orphan,
            }),
            preconditions: Some(Preconditions {
                uid: Some(delete.uid.clone()),
                resource_version: delete.resource_version.clone(),
            }),
            ..DeleteParams::default()
        };
        match self.write("delete", &key, api.delete(&key.name, &params)).await {
            Err(error) if error.is_not_found() => Ok(()),
            result => result.map(|_| ()),
        }
    }

    /// Takes one finalizer off an object, as it was read. One that is gone, or has it no more, is no error.
    ///
    /// # Errors
    /// When the API server refuses or does not answer; 409 or 422 when somebody has changed the object meanwhile.
    pub async fn remove_finalizer(
        &self,
        remove: &Permitted<RemoveFinalizer>,
        object: &Object,
    ) -> Result<(), ClusterError> {
        let remove = remove.write();
        let key = ObjectKey::new(&remove.gvk.group, &remove.gvk.kind, &remove.namespace, &remove.name);
        let finalizers = object.value().pointer("/metadata/finalizers").and_then(Value::as_array);
        let Some(place) = finalizers
            .and_then(|list| list.iter().position(|finalizer| *finalizer == remove.finalizer.as_str()))
        else {
            return Ok(());
        };
        let path = format!("/metadata/finalizers/{place}");
        let patch = json!([
            { "op": "test", "path": "/metadata/uid", "value": remove.uid },
            { "op": "test", "path": path, "value": remove.finalizer },
            { "op": "remove", "path": path },
        ]);
        let patch: json_patch::Patch = serde_json::from_value(patch).unwrap_or_default();
        let kinds = self.kinds();
        let api = self.api(kinds.get(&remove.gvk)?, &key.namespace);
        let (params, patch) = (PatchParams::default(), Patch::Json::<()>(patch));
        let request = api.patch(&key.name, &params, &patch);
        match self.write("remove the finalizer of", &key, request).await {
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(error),
            Ok(answer) => {
                if let Ok(object) = self.object(answer, &remove.gvk, "remove the finalizer of", &key) {
                    self.saw(&object);
                }
                Ok(())
            }
        }
    }

    async fn send_apply(
        &self,
        apply: &Permitted<Apply>,
        action: &'static str,
        mut params: PatchParams,
        validation: FieldValidation,
    ) -> Result<Object, ClusterError> {
        let object = &apply.write().object;
        let (key, api) = self.target(apply)?;
        params.force = true;
        params.field_validation = Some(match validation {
            FieldValidation::Strict => ValidationDirective::Strict,
            FieldValidation::Ignore => ValidationDirective::Ignore,
        });
        let send = async |value: &Value| {
            self.write(action, &key, api.patch(&key.name, &params, &Patch::Apply(value))).await
        };
        let applied = match send(object.value()).await {
            Err(error @ ClusterError::Refused { code: 400 | 422 | 500, .. })
                if validation == FieldValidation::Ignore =>
            {
                // What it refuses may be no more than a field that it does not know.
                match self.without_unknown_fields(apply).await {
                    Ok(Some(known)) => send(&known).await?,
                    Ok(None) | Err(_) => return Err(error),
                }
            }
            answer => answer?,
        };
        self.object(applied, &object.gvk(), action, &key)
    }

    pub(super) fn target(
        &self,
        apply: &Permitted<Apply>,
    ) -> Result<(ObjectKey, Api<DynamicObject>), ClusterError> {
        let object = &apply.write().object;
        let key = object.key();
        let kinds = self.kinds();
        let api = self.api(kinds.get(&object.gvk())?, &key.namespace);
        Ok((key, api))
    }

    /// Takes the answer to a write into the index: it may be ahead of the watch.
    fn saw(&self, object: &Object) {
        self.live.observe(&Arc::<Gvk>::new(object.gvk()), object);
    }

    pub(super) async fn write<T>(
        &self,
        action: &'static str,
        key: &ObjectKey,
        request: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, ClusterError> {
        self.timed(action, key, self.timeouts.write, request).await
    }
}

pub(super) fn dynamic(
    value: Value,
    action: &'static str,
    key: &ObjectKey,
) -> Result<DynamicObject, ClusterError> {
    serde_json::from_value(value).map_err(|error| ClusterError::Connection {
        action,
        object: key.to_string(),
        message: format!("the object cannot be sent: {error}"),
    })
}
