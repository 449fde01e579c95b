//! An Application's objects with all that hangs below them, read from the cluster here and now.
//!
//! The Application's status names its own objects. Their children are found by their owner references among the metadata
//! of everything in the same namespaces, and only those whose kind has a health are read in full.

use std::{
    collections::{BTreeSet, HashSet},
    io,
};

use kube::{
    Api,
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use serde_json::Value;

use super::{AppError, Session};
use crate::{
    api::{
        AppProject, Application, HealthStatus, HealthStatusCode, ResourceStatus, SyncStatusCode, names,
        tracking,
    },
    cli::output::{Cell, Console, Tone},
    cluster::{
        ClusterError, Timeouts, bounded,
        discovery::{Kinds, discover},
        tree::{Forest, Inventory, Member, inventory},
    },
    controller,
    health::{self, Scripts},
    object::{Gvk, Object, ObjectKey, Scope},
    project::{OrphanRules, Project},
    settings::{CONFIG_MAP, RawSettings, Settings},
    sync::ownership::TrackingSettings,
};

/// One object of an Application, or below it.
#[derive(Clone, Debug)]
pub(super) struct Row {
    /// The object.
    pub key: ObjectKey,
    /// 0 for one of the Application's own, 1 for its child…
    pub depth: usize,
    /// What stands before its name in a tree.
    pub branch: String,
    /// Only its own objects are compared.
    pub sync: Option<SyncStatusCode>,
    /// Its health, if its kind has one.
    pub health: Option<HealthStatus>,
    /// Whether no Application has to do with it.
    pub is_orphan: bool,
}

/// The objects in the order of a tree.
#[derive(Debug, Default)]
pub(super) struct Tree {
    /// The objects.
    pub rows: Vec<Row>,
    /// What could not be read.
    pub notes: Vec<String>,
}

/// What is known of the installation.
struct Installation {
    namespace: String,
    settings: Settings,
    tracking: TrackingSettings,
    notes: Vec<String>,
}

/// Reads an Application's tree.
pub(super) async fn read(session: &Session, application: &Application) -> Result<Tree, AppError> {
    let installation = Installation::read(session, application).await?;
    let kinds = discover(&session.client(), Timeouts::default()).await?;
    let inventory = objects(session, application, &installation, &kinds).await?;
    let forest = Forest::new(&inventory.members);
    let own: Vec<&ResourceStatus> = application.status.resources.iter().collect();
    // What is its own is not anybody's child in the picture.
    let mut seen: HashSet<&str> =
        own.iter().filter_map(|row| Some(forest.get(&row.key())?.uid.as_str())).collect();
    let mut rows: Vec<(Row, Option<&Member>)> = Vec::new();
    for (position, resource) in own.iter().enumerate() {
        let is_last = position + 1 == own.len();
        let row = Row {
            key: resource.key(),
            depth: 0,
            branch: branch(&[], is_last),
            sync: resource.status,
            health: resource.health.clone(),
            is_orphan: false,
        };
        rows.push((row, None));
        add_descendants(&forest, &resource.key(), is_last, false, &mut seen, &mut rows);
    }
    let mut notes = [installation.notes.clone(), inventory.unread.clone()].concat();
    let orphans = orphans(session, application, &installation, &inventory, &mut notes).await?;
    for (position, orphan) in orphans.iter().enumerate() {
        let is_last = position + 1 == orphans.len();
        let row = Row {
            key: orphan.key.clone(),
            depth: 0,
            branch: branch(&[], is_last),
            sync: None,
            health: None,
            is_orphan: true,
        };
        rows.push((row, Some(orphan)));
        add_descendants(&forest, &orphan.key, is_last, true, &mut seen, &mut rows);
    }
    let scripts = &installation.settings.health_scripts;
    let judging = rows.into_iter().enumerate();
    let judging =
        judging.map(|(number, (row, member))| judged(session, number, row, member, &kinds, scripts));
    let mut judged = bounded(judging).await;
    // In order, whichever answer came first.
    judged.sort_by_key(|(number, _)| *number);
    let mut rows = Vec::with_capacity(judged.len());
    for (_, row) in judged {
        match row {
            Ok(row) => rows.push(row),
            Err((row, problem)) => {
                notes.push(problem);
                rows.push(row);
            }
        }
    }
    notes.sort();
    notes.dedup();
    Ok(Tree { rows, notes })
}

fn add_descendants<'a>(
    forest: &Forest<'a>,
    key: &ObjectKey,
    root_is_last: bool,
    is_orphan: bool,
    seen: &mut HashSet<&'a str>,
    rows: &mut Vec<(Row, Option<&'a Member>)>,
) {
    let mut lasts: Vec<bool> = vec![root_is_last];
    for found in forest.descendants(key, seen) {
        lasts.truncate(found.depth);
        let row = Row {
            key: found.member.key.clone(),
            depth: found.depth,
            branch: branch(&lasts, found.is_last),
            sync: None,
            health: None,
            is_orphan,
        };
        lasts.push(found.is_last);
        rows.push((row, Some(found.member)));
    }
}

/// The lines that lead from the left to an object: `│ └─`.
fn branch(ancestors_are_last: &[bool], is_last: bool) -> String {
    let mut text: String = ancestors_are_last.iter().map(|last| if *last { "  " } else { "│ " }).collect();
    text.push_str(if is_last { "└─" } else { "├─" });
    text
}

impl Installation {
    async fn read(session: &Session, application: &Application) -> Result<Self, AppError> {
        let namespace = match application.status.controller_namespace.as_str() {
            "" => application.namespace(),
            namespace => namespace,
        };
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("", "v1", "ConfigMap"));
        let api: Api<DynamicObject> = Api::namespaced_with(session.client(), namespace, &resource);
        let mut notes = Vec::new();
        let map = match request("get", &format!("ConfigMap '{CONFIG_MAP}'"), api.get_opt(CONFIG_MAP)).await {
            Ok(map) => map.and_then(|map| map.data.get("data").cloned()).unwrap_or_default(),
            Err(error) if error.is_forbidden() => {
                notes.push(format!("{error}: defaults stand for the settings"));
                Value::Null
            }
            Err(error) => return Err(error.into()),
        };
        let entries = map.as_object().into_iter().flatten();
        let config =
            entries.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect();
        let raw = RawSettings { config, ..RawSettings::default() };
        let (settings, _) = Settings::read(&raw, &Settings::default());
        let tracking = TrackingSettings {
            method: settings.tracking_method,
            label_key: settings.instance_label_key.clone(),
            installation_id: settings.installation_id.clone(),
        };
        Ok(Self { namespace: namespace.to_owned(), settings, tracking, notes })
    }
}

/// Everything in the namespaces of the Application's objects.
async fn objects(
    session: &Session,
    application: &Application,
    installation: &Installation,
    kinds: &Kinds,
) -> Result<Inventory, ClusterError> {
    let mut namespaces: BTreeSet<String> =
        application.status.resources.iter().map(|row| row.namespace.clone()).collect();
    namespaces.insert(application.spec.destination.namespace.clone());
    namespaces.remove("");
    let filter = &installation.settings.resource_filter;
    let is_left_out = |gvk: &Gvk| filter.excludes(&gvk.group, &gvk.kind, names::IN_CLUSTER_SERVER);
    let tracked_by = |object: &Object| installation.tracking.instance_of(object);
    let client = session.client();
    inventory(&client, kinds, &namespaces, &is_left_out, &tracked_by, Timeouts::default()).await
}

/// The objects of the destination's namespace that nobody declares, if the project looks for those.
async fn orphans<'a>(
    session: &Session,
    application: &Application,
    installation: &Installation,
    inventory: &'a Inventory,
    notes: &mut Vec<String>,
) -> Result<Vec<&'a Member>, AppError> {
    let name = application.spec.project_name();
    let api: Api<AppProject> = Api::namespaced(session.client(), &installation.namespace);
    let project = match request("get", &format!("AppProject '{name}'"), api.get_opt(name)).await {
        Ok(project) => project,
        Err(error) if error.is_forbidden() => {
            notes.push(format!("{error}: orphaned resources are not looked for"));
            None
        }
        Err(error) => return Err(error.into()),
    };
    let Some(project) = project else { return Ok(Vec::new()) };
    let Some(settings) = &project.spec.orphaned_resources else { return Ok(Vec::new()) };
    let existing: HashSet<String> = match session.list(None, None).await {
        Ok(found) => found
            .iter()
            .flatten()
            .map(|found| {
                tracking::instance_name(&found.name.name, &found.name.namespace, &installation.namespace)
            })
            .collect(),
        Err(AppError::Cluster(error)) if error.is_forbidden() => {
            notes.push(format!("{error}: orphaned resources are not looked for"));
            return Ok(Vec::new());
        }
        Err(error) => return Err(error),
    };
    let (project, _) = Project::compile(name, &project.spec, &installation.namespace);
    Ok(controller::orphans(inventory, application, &project, &OrphanRules::new(settings), &existing))
}

/// A row with the health of its object, if its kind has one; with what is wrong where it cannot be read.
async fn judged(
    session: &Session,
    number: usize,
    mut row: Row,
    member: Option<&Member>,
    kinds: &Kinds,
    scripts: &Scripts,
) -> (usize, Result<Row, (Row, String)>) {
    let Some(member) = member.filter(|member| has_check(&member.key, scripts)) else {
        return (number, Ok(row));
    };
    let Ok(info) = kinds.get(&member.gvk) else { return (number, Ok(row)) };
    let api: Api<DynamicObject> = match info.scope {
        Scope::Namespaced => Api::namespaced_with(session.client(), &member.key.namespace, &info.resource),
        Scope::Cluster => Api::all_with(session.client(), &info.resource),
    };
    let read = match request("get", &member.key.to_string(), api.get_opt(&member.key.name)).await {
        Ok(Some(object)) => object,
        // It went away meanwhile.
        Ok(None) => return (number, Ok(row)),
        Err(error) => return (number, Err((row, format!("{error}: its health is not known")))),
    };
    let object = serde_json::to_value(read).ok().and_then(|value| Object::from_value(value).ok());
    if let Some(object) = object {
        row.health = scripts
            .assess(&object)
            .unwrap_or_else(|error| Some(HealthStatus::new(HealthStatusCode::Unknown, error.to_string())));
    }
    (number, Ok(row))
}

fn has_check(key: &ObjectKey, scripts: &Scripts) -> bool {
    scripts.find(&key.group, &key.kind).is_some() || health::has_check(&key.group, &key.kind)
}

async fn request<T>(
    action: &'static str,
    object: &str,
    call: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, ClusterError> {
    let limit = Timeouts::default().read;
    match tokio::time::timeout(limit, call).await {
        Ok(answer) => {
            answer.map_err(|error| ClusterError::from_kube(error, action, object.to_owned(), false))
        }
        Err(_) => Err(ClusterError::Timeout { action, object: object.to_owned(), limit }),
    }
}

impl Tree {
    /// Draws the Application's objects, and then the orphans.
    pub fn show(&self, application: &Application, console: &mut Console<'_>) -> io::Result<()> {
        let mut rows = vec![vec![
            format!("Application/{}", application.name()).into(),
            Cell::of(application.status.sync_code()),
            Cell::of(application.status.health_code()),
        ]];
        rows.extend(self.rows.iter().filter(|row| !row.is_orphan).map(Row::drawn));
        console.table(&HEADERS, rows)?;
        let orphans: Vec<Vec<Cell>> = self.rows.iter().filter(|row| row.is_orphan).map(Row::drawn).collect();
        if !orphans.is_empty() {
            console.line("")?;
            console.table(&["ORPHANED", "", "HEALTH", "MESSAGE"], orphans)?;
        }
        self.tell(console)
    }

    /// Writes what could not be read beside the results.
    pub fn tell(&self, console: &mut Console<'_>) -> io::Result<()> {
        for note in &self.notes {
            let label = console.paint("note:", Tone::Notice);
            console.progress(&format!("{label} {note}"))?;
        }
        Ok(())
    }
}

const HEADERS: [&str; 4] = ["KIND/NAME", "STATUS", "HEALTH", "MESSAGE"];

impl Row {
    fn drawn(&self) -> Vec<Cell> {
        vec![
            format!("{}{}/{}", self.branch, self.key.kind, self.key.name).into(),
            Cell::of_optional(self.sync),
            Cell::of_optional(self.health.as_ref().map(|health| health.status)),
            self.message().into(),
        ]
    }

    /// Why it is not healthy.
    pub fn message(&self) -> &str {
        let unwell = self.health.as_ref().filter(|health| health.status != HealthStatusCode::Healthy);
        unwell.map_or("", |health| health.message.as_str())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lines_lead_from_an_object_to_its_children() {
        let member = |kind: &str, name: &str, owner: Option<&str>| {
            let owners: Vec<Value> = owner.iter().map(|uid| json!({ "uid": uid })).collect();
            let value = json!({ "apiVersion": "v1", "kind": kind,
                "metadata": { "name": name, "namespace": "shop", "uid": name, "ownerReferences": owners } });
            Member::of(&Object::from_value(value).unwrap(), None)
        };
        let members = [
            member("A", "a", None),
            member("B", "b", Some("a")),
            member("C", "c", Some("b")),
            member("B", "d", Some("a")),
        ];
        let forest = Forest::new(&members);
        let drawn = |root_is_last: bool| -> Vec<String> {
            let mut rows = Vec::new();
            let key = ObjectKey::new("", "A", "shop", "a");
            add_descendants(&forest, &key, root_is_last, false, &mut HashSet::new(), &mut rows);
            rows.into_iter().map(|(row, _)| format!("{}{}", row.branch, row.key.name)).collect()
        };
        assert_eq!(drawn(true), ["  ├─b", "  │ └─c", "  └─d"]);
        assert_eq!(drawn(false), ["│ ├─b", "│ │ └─c", "│ └─d"]);
    }
}
