//! The AppProjects, compiled.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, PostParams},
};
use serde_json::Value;

use crate::{
    api::{
        AppProject, ClusterResourceRestrictionItem, ProjectDestination, UnsupportedField, names,
        unsupported_project_fields,
    },
    project::{OrphanRules, Project, windows::SyncWindows},
    settings::GlobalProject,
};

use super::orphans::OrphanSettings;

/// All projects of the controller's namespace by name.
pub struct Projects {
    controller_namespace: String,
    stored: RwLock<HashMap<String, Result<Stored, Arc<str>>>>,
    /// As they were read, for those who inherit from them.
    read: RwLock<HashMap<String, Value>>,
    globals: RwLock<Vec<GlobalProject>>,
}

struct Stored {
    project: Project,
    unsupported: Vec<UnsupportedField>,
    windows: Arc<SyncWindows>,
    window_problems: Vec<String>,
    orphans: Option<Arc<OrphanSettings>>,
}

impl Projects {
    /// No projects yet.
    pub fn new(controller_namespace: &str) -> Self {
        Self {
            controller_namespace: controller_namespace.to_owned(),
            stored: RwLock::default(),
            read: RwLock::default(),
            globals: RwLock::default(),
        }
    }

    /// Takes in a project; returns the names of those whose rules may be others now.
    pub fn observe(&self, value: Value) -> Vec<String> {
        let name = value.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default().to_owned();
        self.read.write().unwrap_or_else(PoisonError::into_inner).insert(name.clone(), value);
        self.changed(name)
    }

    /// Says from which projects others inherit.
    pub fn configure(&self, globals: &[GlobalProject]) {
        {
            let mut known = self.globals.write().unwrap_or_else(PoisonError::into_inner);
            if *known == globals {
                return;
            }
            *known = globals.to_vec();
        }
        self.names().iter().for_each(|name| self.compile(name));
    }

    fn names(&self) -> Vec<String> {
        self.read.read().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    /// Compiles a project that has changed, and those that may inherit from it.
    fn changed(&self, name: String) -> Vec<String> {
        let globals = self.globals.read().unwrap_or_else(PoisonError::into_inner);
        let is_global = globals.iter().any(|global| global.project_name == name);
        drop(globals);
        let names = if is_global { self.names() } else { vec![name] };
        names.iter().for_each(|name| self.compile(name));
        names
    }

    /// A project with what it inherits.
    fn effective(&self, name: &str, value: Value) -> Result<AppProject, String> {
        let mut project = AppProject::from_value(value).map_err(|error| crate::error::chain(&error))?;
        let labels = project.metadata.labels.clone().unwrap_or_default();
        let globals = self.globals.read().unwrap_or_else(PoisonError::into_inner);
        for global in globals.iter().filter(|global| global.is_inherited_by(name, &labels)) {
            let from = &global.project_name;
            let read = self.read.read().unwrap_or_else(PoisonError::into_inner).get(from).cloned();
            let Some(read) = read else {
                tracing::error!(project = name, global = from, "there is no such AppProject to inherit from");
                continue;
            };
            // What it would refuse is not known, so nothing may be permitted.
            let inherited = AppProject::from_value(read).map_err(|error| {
                format!("it inherits from AppProject '{from}': {}", crate::error::chain(&error))
            })?;
            project.spec.inherit(inherited.spec);
        }
        Ok(project)
    }

    fn compile(&self, name: &str) {
        let Some(value) = self.read.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned() else {
            return;
        };
        let name = name.to_owned();
        let stored = match self.effective(&name, value) {
            Ok(project) => {
                let (compiled, problems) = Project::compile(&name, &project.spec, &self.controller_namespace);
                for problem in problems {
                    tracing::error!(project = name, %problem, "a rule of the project is not used");
                }
                let (windows, window_problems) = SyncWindows::compile(&project.spec.sync_windows);
                for problem in &window_problems {
                    tracing::error!(project = name, %problem, "a sync window of the project cannot be used");
                }
                Ok(Stored {
                    windows: windows.into(),
                    orphans: project.spec.orphaned_resources.as_ref().map(|settings| {
                        let warn = settings.warn == Some(true);
                        OrphanSettings { rules: OrphanRules::new(settings), warn }.into()
                    }),
                    window_problems,
                    project: compiled,
                    unsupported: unsupported_project_fields(&name, &project.spec),
                })
            }
            Err(problem) => Err(problem.into()),
        };
        self.stored.write().unwrap_or_else(PoisonError::into_inner).insert(name, stored);
    }

    /// Takes a project out; returns the names of those whose rules may be others now.
    pub fn forget(&self, name: &str) -> Vec<String> {
        self.read.write().unwrap_or_else(PoisonError::into_inner).remove(name);
        self.stored.write().unwrap_or_else(PoisonError::into_inner).remove(name);
        self.changed(name.to_owned())
    }

    /// One project; `None` when there is none of that name, an error when it cannot be read.
    pub fn get(&self, name: &str) -> Option<Result<Project, Arc<str>>> {
        self.stored.read().unwrap_or_else(PoisonError::into_inner).get(name).map(|stored| {
            let stored = stored.as_ref();
            stored.map(|stored| stored.project.clone()).map_err(Arc::clone)
        })
    }

    /// When one project's Applications may be synced, and what of that cannot be read.
    pub fn windows(&self, name: &str) -> (Arc<SyncWindows>, Vec<String>) {
        let stored = self.stored.read().unwrap_or_else(PoisonError::into_inner);
        let stored = stored.get(name).and_then(|stored| stored.as_ref().ok());
        stored.map(|it| (Arc::clone(&it.windows), it.window_problems.clone())).unwrap_or_default()
    }

    /// What one project says of objects that belong to nobody; `None` where it does not ask for them.
    pub(super) fn orphan_settings(&self, name: &str) -> Option<Arc<OrphanSettings>> {
        let stored = self.stored.read().unwrap_or_else(PoisonError::into_inner);
        stored.get(name)?.as_ref().ok()?.orphans.clone()
    }

    /// The fields of one project that are set but not acted on.
    pub fn unsupported(&self, name: &str) -> Vec<UnsupportedField> {
        let stored = self.stored.read().unwrap_or_else(PoisonError::into_inner);
        stored
            .get(name)
            .and_then(|stored| stored.as_ref().ok())
            .map(|stored| stored.unsupported.clone())
            .unwrap_or_default()
    }
}

/// Creates the project `default`, which permits everything, where there is none: Applications without a project
/// belong to it.
pub async fn ensure_default_project(client: &Client, namespace: &str) {
    let resource = ApiResource::erase::<AppProject>(&());
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
    let ensured = async {
        if api.get_opt(names::DEFAULT_PROJECT).await?.is_none() {
            // API servers refuse a custom resource whose body does not say its kind.
            let project =
                serde_json::from_value(permissive_project().to_value()).map_err(kube::Error::SerdeError)?;
            api.create(&PostParams::default(), &project).await?;
        }
        Ok::<(), kube::Error>(())
    };
    if let Err(error) = ensured.await {
        tracing::warn!(%error, "the AppProject 'default' could not be created");
    }
}

/// A project that permits everything.
pub fn permissive_project() -> AppProject {
    let any = || "*".to_owned();
    let destination = ProjectDestination { server: any(), namespace: any(), ..ProjectDestination::default() };
    let kind = ClusterResourceRestrictionItem {
        group: any(),
        kind: any(),
        ..ClusterResourceRestrictionItem::default()
    };
    let mut project = AppProject::default();
    project.metadata.name = Some(names::DEFAULT_PROJECT.to_owned());
    project.spec.source_repos = vec![any()];
    project.spec.destinations = vec![destination];
    project.spec.cluster_resource_whitelist = vec![kind];
    project
}
