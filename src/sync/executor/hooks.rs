//! What hooks need besides being applied: their predecessors go, their finalizers are taken off, and they are deleted
//! when their policy says so.

use super::{Executor, code};
use crate::{
    api::names,
    error::chain,
    object::{Gvk, Object, ObjectKey},
    project::{Delete, Propagation, RemoveFinalizer},
    sync::{hook, plan::Task},
};

/// How often a write is tried again when the hook changes under it.
const ATTEMPTS: usize = 5;

impl Executor<'_> {
    /// Deletes what stands in the place of hooks that are about to be created, where their policy says so. Returns
    /// whether a hook's predecessor is still there. One that stays is applied to.
    ///
    /// # Errors
    /// The object and the reason, when one may not be deleted or cannot be.
    pub async fn clear(&self, hooks: &[&Task]) -> Result<bool, (ObjectKey, String)> {
        let mut is_in_the_way = false;
        for task in hooks {
            let Some(object) = task.applied().filter(|object| hook::DeletePolicy::of(object).before_creation)
            else {
                continue;
            };
            let key = object.key();
            match self.delete_hook(&task.gvk, &key).await {
                Ok(gone) => is_in_the_way |= !gone,
                Err(problem) => return Err((key, problem)),
            }
        }
        Ok(is_in_the_way)
    }

    /// Deletes a hook, without waiting for its end. Returns whether it is gone.
    ///
    /// # Errors
    /// The reason, when it is not this Application's, is not permitted, or cannot be deleted.
    pub async fn delete_hook(&self, gvk: &Gvk, key: &ObjectKey) -> Result<bool, String> {
        for _ in 0..ATTEMPTS {
            let Some(live) = self.read(gvk, key).await? else { return Ok(true) };
            self.tracking.may_prune(&live).map_err(|reason| {
                format!("hook {key} cannot take the place of the object that is there: {}", chain(&reason))
            })?;
            if !self.release(gvk, &live).await? {
                continue;
            }
            let Some(live) = self.read(gvk, key).await? else { return Ok(true) };
            if live.is_terminating() {
                return Ok(false);
            }
            let scope = self.scope(gvk)?;
            let delete = Delete {
                gvk: gvk.clone(),
                namespace: live.namespace().to_owned(),
                name: live.name().to_owned(),
                scope,
                uid: live.uid().to_owned(),
                resource_version: None,
                propagation: Propagation::from(self.options.prune_propagation_policy()),
            };
            let delete = self.admission.permit(delete).map_err(|refusal| chain(&refusal))?;
            let deleted = self.cluster.delete(&delete).await;
            self.observer.write("delete", key, code(&deleted), false);
            match deleted {
                Ok(()) => return Ok(self.read(gvk, key).await?.is_none()),
                Err(error) if error.is_conflict() => {}
                Err(error) => return Err(error.to_string()),
            }
        }
        Err(format!("cannot delete hook {key}: it changes faster than it can be looked at"))
    }

    /// Takes the hook finalizer off a live object, so that it may go. Returns whether that is done; if not, the object
    /// has changed meanwhile and has to be read anew.
    ///
    /// # Errors
    /// The reason, when the project does not permit it or the cluster refuses.
    pub async fn release(&self, gvk: &Gvk, live: &Object) -> Result<bool, String> {
        if !hook::has_finalizer(live) {
            return Ok(true);
        }
        let remove = RemoveFinalizer {
            gvk: gvk.clone(),
            namespace: live.namespace().to_owned(),
            name: live.name().to_owned(),
            scope: self.scope(gvk)?,
            uid: live.uid().to_owned(),
            finalizer: names::FINALIZER_HOOK.to_owned(),
        };
        let remove = self.admission.permit(remove).map_err(|refusal| chain(&refusal))?;
        let removed = self.cluster.remove_finalizer(&remove, live).await;
        self.observer.write("patch", &live.key(), code(&removed), false);
        match removed {
            Ok(()) => Ok(true),
            Err(crate::cluster::ClusterError::Refused { code: 409 | 422 | 400, .. }) => Ok(false),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Takes the finalizer off a hook that has ended, as the cluster has it now.
    ///
    /// # Errors
    /// As [`Executor::release`].
    pub async fn release_ended(&self, gvk: &Gvk, key: &ObjectKey) -> Result<(), String> {
        for _ in 0..ATTEMPTS {
            let Some(live) = self.read(gvk, key).await? else { return Ok(()) };
            if self.release(gvk, &live).await? {
                return Ok(());
            }
        }
        Err(format!("cannot remove the finalizer of hook {key}: it changes faster than it can be looked at"))
    }

    /// Reads an object as the cluster has it now. One of a kind that the cluster does not have is not there.
    ///
    /// # Errors
    /// When the cluster does not answer.
    pub async fn read(&self, gvk: &Gvk, key: &ObjectKey) -> Result<Option<Object>, String> {
        match self.cluster.get(gvk, key).await {
            Err(crate::cluster::ClusterError::UnknownKind { .. }) => Ok(None),
            found => found.map_err(|error| error.to_string()),
        }
    }

    fn scope(&self, gvk: &Gvk) -> Result<crate::object::Scope, String> {
        let served = self.cluster.kinds();
        let info = self.kinds.get(gvk).or_else(|error| served.get(gvk).map_err(|_| error));
        info.map(|info| info.scope).map_err(|error| error.to_string())
    }
}
