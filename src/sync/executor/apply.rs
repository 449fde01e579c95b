//! Writing one object: by server-side apply, by putting it in the place of what is there, or by deleting and creating
//! it again, as its options say.

use std::time::Duration;

use super::{Executor, code};
use crate::{
    api::{names, sync_options::SyncOptions},
    cluster::{ClusterError, FieldValidation},
    compare::{adoption, respect},
    error::chain,
    object::{Object, ObjectKey},
    project::{Apply, Delete, Permitted, Propagation},
    sync::plan::{Action, Task},
};

/// How often a write is tried again when the object changes under it.
const ATTEMPTS: usize = 3;
/// How long an object may take to go before it is created again.
const GONE_LIMIT: Duration = Duration::from_secs(60);

/// How one object is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Manner {
    validation: FieldValidation,
    replace: bool,
    force: bool,
}

impl Executor<'_> {
    fn manner(&self, task: &Task) -> Manner {
        let read = |object: Option<&std::sync::Arc<Object>>| {
            object.map(|object| SyncOptions::of_object(object)).unwrap_or_default()
        };
        let live = match &task.action {
            Action::Apply { live, .. } => read(live.as_ref()),
            _ => SyncOptions::default(),
        };
        let own = read(task.applied());
        // The definition of a kind and a namespace are never deleted to be created again: their objects would go.
        let precious = matches!(task.key.kind.as_str(), "CustomResourceDefinition" | "Namespace");
        let plain = task.is_hook() || matches!(task.action, Action::CreateNamespace { .. });
        Manner {
            validation: FieldValidation::strict_if(self.options.validate() && own.validate()),
            replace: !plain && (self.options.replace() || own.replace() || live.replace()),
            force: !plain && !precious && (self.force || own.force() || live.force()),
        }
    }

    /// The object as it is sent: as declared, or with what may differ left as it is in the cluster.
    pub(super) fn sent(&self, task: &Task) -> Option<Object> {
        match &task.action {
            Action::Apply { desired, live: Some(live), .. }
                if self.options.respect_ignore_differences() && !task.is_hook() =>
            {
                Some(respect(desired, live, self.rules))
            }
            _ => task.applied().map(|object| Object::clone(object)),
        }
    }

    /// Lets the API server judge what a task would write.
    pub(super) async fn validate(&self, task: &Task, apply: &Permitted<Apply>) -> Result<(), ClusterError> {
        let manner = self.manner(task);
        let takes_a_place = task.is_hook() && matches!(task.action, Action::Apply { live: Some(_), .. });
        let validated = if takes_a_place {
            self.cluster.dry_run_create(apply).await
        } else {
            let validated = self.cluster.dry_run(apply, manner.validation).await.map(drop);
            match validated {
                // What cannot be updated is created again, if it could be.
                Err(error) if manner.force && is_refusal(&error) => self.cluster.dry_run_create(apply).await,
                validated => validated,
            }
        };
        self.observer.write("patch", &task.key, code(&validated), true);
        validated
    }

    /// Writes the object of a task. Returns what was done, and the object's images.
    pub(super) async fn write(&self, task: &Task) -> Result<(&'static str, Vec<String>), String> {
        let manner = self.manner(task);
        if matches!(task.action, Action::Apply { changed: false, .. }) && !manner.replace {
            let images = task.applied().map(|object| images(object)).unwrap_or_default();
            return Ok(("unchanged", images));
        }
        if self.cluster.kinds().get(&task.gvk).is_err() {
            // Its definition may have come with this sync, or from elsewhere meanwhile.
            let discovered = self.cluster.discover(Duration::from_secs(1)).await;
            discovered
                .map_err(|error| error.to_string())?
                .get(&task.gvk)
                .map_err(|error| error.to_string())?;
        }
        let apply = self.permit(task)?;
        let (done, object) = if manner.replace {
            self.replace(task, &apply, manner).await?
        } else {
            self.apply_server_side(task, &apply, manner).await?
        };
        if task.key.kind == "CustomResourceDefinition" && task.key.group == "apiextensions.k8s.io" {
            let established = self.await_established(&task.gvk, &task.key, &object).await;
            established.map_err(|error| error.to_string())?;
        }
        Ok((done, images(&object)))
    }

    async fn apply_server_side(
        &self,
        task: &Task,
        apply: &Permitted<Apply>,
        manner: Manner,
    ) -> Result<(&'static str, Object), String> {
        self.take_over_fields(task, apply).await?;
        let applied = self.cluster.apply(apply, manner.validation).await;
        self.observer.write("patch", &task.key, code(&applied), false);
        match applied {
            Ok(object) => Ok(("serverside-applied", object)),
            Err(error) if manner.force && is_refusal(&error) => {
                self.create_again(task, apply, manner).await.map(|object| ("replaced", object))
            }
            Err(error) => Err(told(&error)),
        }
    }

    /// Moves what client-side applies of kubectl and Argo CD manage to Skiff's own entry, so that a field that is
    /// gone from the source goes from the object too.
    async fn take_over_fields(&self, task: &Task, apply: &Permitted<Apply>) -> Result<(), String> {
        let Action::Apply { live: Some(live), .. } = &task.action else { return Ok(()) };
        let wanted = self.client_side_manager.is_some() || adoption::was_applied_client_side(live);
        if !wanted || !self.options.migrates_client_side_apply() || task.is_hook() {
            return Ok(());
        }
        for _ in 0..ATTEMPTS {
            let fresh = self.cluster.get(&task.gvk, &task.key).await.map_err(|error| error.to_string())?;
            let Some(fresh) = fresh else { return Ok(()) };
            let managers = adoption::client_side_managers(self.client_side_manager);
            let Some(fields) = adoption::taken_over(&fresh, &managers, names::FIELD_MANAGER) else {
                return Ok(());
            };
            let taken = self.cluster.set_managed_fields(apply, &fields, fresh.resource_version()).await;
            self.observer.write("patch", &task.key, code(&taken), false);
            match taken {
                Ok(()) => return Ok(()),
                Err(error) if error.is_conflict() => {}
                Err(error) => return Err(told(&error)),
            }
        }
        Err(changes_too_fast("take over the fields of", &task.key))
    }

    async fn replace(
        &self,
        task: &Task,
        apply: &Permitted<Apply>,
        manner: Manner,
    ) -> Result<(&'static str, Object), String> {
        for _ in 0..ATTEMPTS {
            let fresh = self.cluster.get(&task.gvk, &task.key).await.map_err(|error| error.to_string())?;
            if fresh.is_some() && manner.force {
                return self.create_again(task, apply, manner).await.map(|object| ("replaced", object));
            }
            let (verb, done) = if fresh.is_some() { ("update", "replaced") } else { ("create", "created") };
            let replaced = self.cluster.replace(apply, fresh.as_ref().map(Object::resource_version)).await;
            self.observer.write(verb, &task.key, code(&replaced), false);
            match replaced {
                Ok(object) => return Ok((done, object)),
                Err(error) if error.is_conflict() => {}
                Err(error) => return Err(told(&error)),
            }
        }
        Err(changes_too_fast("replace", &task.key))
    }

    /// Deletes an object and creates it again, provided that the API server would take the new one.
    async fn create_again(
        &self,
        task: &Task,
        apply: &Permitted<Apply>,
        manner: Manner,
    ) -> Result<Object, String> {
        self.cluster.dry_run_create(apply).await.map_err(|error| told(&error))?;
        let fresh = self.cluster.get(&task.gvk, &task.key).await.map_err(|error| error.to_string())?;
        if let Some(fresh) = fresh {
            let delete = Delete {
                gvk: task.gvk.clone(),
                namespace: fresh.namespace().to_owned(),
                name: fresh.name().to_owned(),
                scope: apply.write().scope,
                uid: fresh.uid().to_owned(),
                resource_version: None,
                propagation: Propagation::Background,
            };
            let delete = self.admission.permit(delete).map_err(|refusal| chain(&refusal))?;
            let deleted = self.cluster.delete(&delete).await;
            self.observer.write("delete", &task.key, code(&deleted), false);
            deleted.map_err(|error| told(&error))?;
            self.await_gone(task, fresh.uid()).await?;
        }
        let created = self.cluster.apply(apply, manner.validation).await;
        self.observer.write("patch", &task.key, code(&created), false);
        created.map_err(|error| told(&error))
    }

    async fn await_gone(&self, task: &Task, uid: &str) -> Result<(), String> {
        let mut pause = Duration::from_millis(20);
        let gone = async {
            loop {
                match self.cluster.get(&task.gvk, &task.key).await {
                    Ok(Some(live)) if live.uid() == uid => {}
                    Ok(_) => return Ok(()),
                    Err(error) => return Err(error.to_string()),
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(1));
            }
        };
        tokio::time::timeout(GONE_LIMIT, gone).await.unwrap_or_else(|_| {
            let limit = GONE_LIMIT.as_secs();
            Err(format!("cannot replace {}: it is not gone {limit} s after its deletion", task.key))
        })
    }
}

/// Whether the API server refuses the update as such, rather than who asks or when.
fn is_refusal(error: &ClusterError) -> bool {
    matches!(error, ClusterError::Refused { code: 409 | 422, .. })
}

fn images(object: &Object) -> Vec<String> {
    crate::sync::rollup::images_of(object).map(str::to_owned).collect()
}

fn changes_too_fast(action: &str, key: &ObjectKey) -> String {
    format!("cannot {action} {key}: it changes faster than it can be looked at")
}

/// An error's text, with what to do about it where the API server does not say.
fn told(error: &ClusterError) -> String {
    let text = error.to_string();
    if text.contains("the server could not find the requested resource") {
        return format!("{text}: is the CustomResourceDefinition installed, in this version?");
    }
    text
}
