//! Deleting an object that is still ours at the moment of deletion.

use crate::{
    cluster::{Cluster, discovery::Kinds},
    error::chain,
    object::{Gvk, Object, Scope},
    project::{Admission, Delete, Permitted, Propagation},
    sync::ownership::Tracking,
};

/// How often a deletion looks again when the object changes under it.
const ATTEMPTS: usize = 3;

/// What deletes objects of one application.
#[derive(Clone, Copy)]
pub struct Pruner<'a> {
    /// The destination.
    pub cluster: &'a Cluster,
    /// What the project permits.
    pub admission: &'a Admission,
    /// Whose objects may be deleted.
    pub tracking: &'a Tracking,
    /// The kinds of the destination.
    pub kinds: &'a Kinds,
    /// What happens to dependents.
    pub propagation: Propagation,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pruned {
    /// It is gone, or going.
    Deleted,
    /// It was left alone, for this reason.
    Left(String),
}

impl Pruner<'_> {
    /// Whether the project permits the deletion of an object.
    ///
    /// # Errors
    /// The reason why not.
    pub fn permit(&self, gvk: &Gvk, live: &Object) -> Result<Permitted<Delete>, String> {
        let scope: Scope = self.kinds.get(gvk).map(|info| info.scope).map_err(|error| error.to_string())?;
        let version = live.resource_version();
        let write = Delete {
            gvk: gvk.clone(),
            namespace: live.namespace().to_owned(),
            name: live.name().to_owned(),
            scope,
            uid: live.uid().to_owned(),
            resource_version: (!version.is_empty()).then(|| version.to_owned()),
            propagation: self.propagation,
        };
        self.admission.permit(write).map_err(|refusal| chain(&refusal))
    }

    /// Reads an object once more and deletes exactly that version of it, if it still is the object that was decided
    /// on and still says that it belongs to this application.
    ///
    /// # Errors
    /// When the cluster refuses or does not answer, or when the project does not permit it.
    pub async fn prune(&self, gvk: &Gvk, decided_on: &Object) -> Result<Pruned, String> {
        let key = decided_on.key();
        for _ in 0..ATTEMPTS {
            let fresh = self.cluster.get(gvk, &key).await.map_err(|error| error.to_string())?;
            let Some(fresh) = fresh else { return Ok(Pruned::Deleted) };
            if fresh.uid() != decided_on.uid() {
                return Ok(Pruned::Left(
                    "the object was replaced by another one of the same name".to_owned(),
                ));
            }
            if let Err(reason) = self.tracking.may_prune(&fresh) {
                return Ok(Pruned::Left(chain(&reason)));
            }
            if fresh.is_terminating() {
                return Ok(Pruned::Deleted);
            }
            let delete = self.permit(gvk, &fresh)?;
            match self.cluster.delete(&delete).await {
                Ok(()) => return Ok(Pruned::Deleted),
                Err(error) if error.is_conflict() => {}
                Err(error) => return Err(error.to_string()),
            }
        }
        Err(format!("cannot delete {key}: it changes faster than it can be looked at"))
    }
}
