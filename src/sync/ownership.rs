//! Which live objects belong to an Application.
//!
//! An object says so itself, by the tracking id or the label that the setting names. Saying so is not enough: an id
//! that names another object was copied, and an object that another one owns (a ReplicaSet) lives and dies with its
//! owner. [`Tracking::may_prune`] asks all of it, and is asked again about the object as read right before a deletion.

use crate::{
    api::{
        names,
        tracking::{TrackingId, TrackingMethod, instance_name, label_value, split_instance_name},
    },
    error::{Classified, ErrorKind},
    object::Object,
};

/// How objects are marked, from the settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackingSettings {
    /// By annotation, by label, or by both.
    pub method: TrackingMethod,
    /// The label of tracking by label.
    pub label_key: String,
    /// Tells this installation from others that work on the same clusters; empty for none.
    pub installation_id: String,
}

impl Default for TrackingSettings {
    fn default() -> Self {
        Self {
            method: TrackingMethod::default(),
            label_key: names::LABEL_INSTANCE.to_owned(),
            installation_id: String::new(),
        }
    }
}

impl TrackingSettings {
    /// The instance name that a live object is marked with by this installation.
    pub fn instance_of(&self, live: &Object) -> Option<String> {
        if self.method == TrackingMethod::Label {
            return live.label(&self.label_key).filter(|name| !name.is_empty()).map(str::to_owned);
        }
        let installation = live.annotation(names::ANNOTATION_INSTALLATION_ID).unwrap_or_default();
        if installation != self.installation_id {
            return None;
        }
        tracking_id(live).map(|id| id.instance).filter(|name| !name.is_empty())
    }
}

/// Whose an object is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// This Application's.
    Ours,
    /// Another Application's, by its instance name.
    Other(String),
    /// Nobody's, or another installation's.
    Nobody,
}

/// Why a live object must not be pruned.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotPrunable {
    /// No tracking id or label.
    #[error("{object} is not pruned: it is not tracked by any application of this installation")]
    Untracked {
        /// The object.
        object: String,
    },
    /// It belongs to another Application.
    #[error("{object} is not pruned: it is tracked by application '{application}'")]
    OtherApplication {
        /// The object.
        object: String,
        /// The other Application.
        application: String,
    },
    /// Its tracking id names another object.
    #[error("{object} is not pruned: its tracking id '{tracking_id}' names another object, so it was copied")]
    Copied {
        /// The object.
        object: String,
        /// The id.
        tracking_id: String,
    },
    /// Another object owns it.
    #[error("{object} is not pruned: it has ownerReferences and goes with its owner")]
    Owned {
        /// The object.
        object: String,
    },
}

impl Classified for NotPrunable {
    fn kind(&self) -> ErrorKind {
        ErrorKind::User
    }
}

/// One Application's view on who owns what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tracking {
    settings: TrackingSettings,
    instance: String,
    controller_namespace: String,
    destination_namespace: String,
}

impl Tracking {
    /// The view of the Application of this name and namespace.
    pub fn new(
        settings: &TrackingSettings,
        application: &str,
        application_namespace: &str,
        controller_namespace: &str,
        destination_namespace: &str,
    ) -> Self {
        Self {
            settings: settings.clone(),
            instance: instance_name(application, application_namespace, controller_namespace),
            controller_namespace: controller_namespace.to_owned(),
            destination_namespace: destination_namespace.to_owned(),
        }
    }

    /// The name that stands for the Application in tracking ids.
    pub fn instance_name(&self) -> &str {
        &self.instance
    }

    /// Marks an object that is about to be applied. Its namespace must be final: the id names it.
    ///
    /// A CustomResourceDefinition is left unmarked, so that it is never pruned: its objects would go with it.
    pub fn mark(&self, mut object: Object) -> Object {
        if is_custom_resource_definition(&object) {
            return object;
        }
        let method = self.settings.method;
        if method != TrackingMethod::Label {
            let id = TrackingId::new(&self.instance, &object.key(), &self.destination_namespace);
            object.set_annotation(names::ANNOTATION_TRACKING_ID, &id.to_string());
            if !self.settings.installation_id.is_empty() {
                object.set_annotation(names::ANNOTATION_INSTALLATION_ID, &self.settings.installation_id);
            }
        }
        match method {
            TrackingMethod::Annotation => {}
            TrackingMethod::Label => object.set_label(&self.settings.label_key, &self.instance),
            TrackingMethod::AnnotationAndLabel => {
                object.set_label(&self.settings.label_key, &label_value(&self.instance));
            }
        }
        object
    }

    /// Whose a live object says it is.
    pub fn owner(&self, live: &Object) -> Owner {
        match self.settings.instance_of(live) {
            Some(instance) if instance == self.instance => Owner::Ours,
            Some(instance) => Owner::Other(instance),
            None => Owner::Nobody,
        }
    }

    /// Whether a live object is one of the Application's top-level objects: it says so, and no other object owns it.
    pub fn is_managed(&self, live: &Object) -> bool {
        self.owner(live) == Owner::Ours && !has_owner(live)
    }

    /// Whether the tracking id of a live object names that object. One that does not was copied, and the object is
    /// neither compared nor pruned.
    ///
    /// When there is a desired object its identity counts, so that a kind may move to another API group. An object
    /// without an id says nothing wrong.
    pub fn refers_to_itself(&self, live: &Object, desired: Option<&Object>) -> bool {
        if self.settings.method == TrackingMethod::Label {
            return true;
        }
        let Some(id) = tracking_id(live) else { return true };
        id.names(&live.key()) || desired.is_some_and(|desired| id.names(&desired.key()))
    }

    /// Whether a live object may be pruned by this Application.
    ///
    /// # Errors
    /// When the object does not say that it is this Application's, when its id names another object, or when another
    /// object owns it.
    pub fn may_prune(&self, live: &Object) -> Result<(), NotPrunable> {
        let object = live.key().to_string();
        match self.owner(live) {
            Owner::Ours => {}
            Owner::Other(application) => return Err(NotPrunable::OtherApplication { object, application }),
            Owner::Nobody => return Err(NotPrunable::Untracked { object }),
        }
        if !self.refers_to_itself(live, None) {
            let tracking_id = live.annotation(names::ANNOTATION_TRACKING_ID).unwrap_or_default().to_owned();
            return Err(NotPrunable::Copied { object, tracking_id });
        }
        if has_owner(live) {
            return Err(NotPrunable::Owned { object });
        }
        Ok(())
    }

    /// The message of the warning that a desired object is another Application's in the cluster.
    pub fn shared_with(&self, live: &Object) -> Option<String> {
        let Owner::Other(other) = self.owner(live) else {
            return None;
        };
        let qualified = |instance: &str| {
            let (name, namespace) = split_instance_name(instance, &self.controller_namespace);
            format!("{namespace}/{name}")
        };
        let (kind, name) = (live.kind(), live.name());
        Some(format!(
            "{kind}/{name} is part of applications {} and {}",
            qualified(&self.instance),
            qualified(&other)
        ))
    }
}

fn tracking_id(live: &Object) -> Option<TrackingId> {
    TrackingId::parse(live.annotation(names::ANNOTATION_TRACKING_ID)?)
}

/// Whether another object owns this one.
pub fn has_owner(live: &Object) -> bool {
    let references = live.value().pointer("/metadata/ownerReferences").and_then(|list| list.as_array());
    references.is_some_and(|list| !list.is_empty())
}

pub(super) fn is_custom_resource_definition(object: &Object) -> bool {
    object.kind() == "CustomResourceDefinition" && object.group() == "apiextensions.k8s.io"
}

#[cfg(test)]
mod tests;
