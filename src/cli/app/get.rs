//! `skiff app get`, and how an Application is shown to people.

use std::{collections::HashMap, io, time::Duration};

use super::{
    AppError, Session, list::cluster, name::One, refresh, session::Found, tree as children, windows,
};
use crate::{
    api::{Application, ApplicationSource, OperationState, ResourceStatus, Time, refresh::Refresh},
    cli::output::{Cell, Console},
    object::ObjectKey,
};

/// What the Application looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// A summary and a table of its objects.
    #[default]
    Wide,
    /// A summary and its objects as a tree.
    Tree,
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}

/// The options of `skiff app get`.
#[derive(Debug, clap::Args)]
pub struct Options {
    #[command(flatten)]
    one: One,

    /// Compare the Application with its source first
    #[arg(long)]
    refresh: bool,

    /// The same, and render its source anew
    #[arg(long)]
    hard_refresh: bool,

    /// Show the last operation too
    #[arg(long)]
    show_operation: bool,

    /// How many seconds a refresh may take; 0 for no limit
    #[arg(long, value_name = "SECONDS", default_value_t = refresh::DEFAULT_TIMEOUT)]
    timeout: u64,

    /// What the output looks like
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,

    /// The same as -o tree: the objects with their children, read from the cluster now
    #[arg(long, conflicts_with = "output")]
    tree: bool,
}

/// Shows an Application.
pub(super) async fn run(
    session: &Session,
    options: &Options,
    console: &mut Console<'_>,
) -> Result<u8, AppError> {
    let name = options.one.named(session)?;
    let wanted = match (options.hard_refresh, options.refresh) {
        (true, _) => Some(Refresh::Hard),
        (false, true) => Some(Refresh::Normal),
        (false, false) => None,
    };
    let found = match wanted {
        Some(refresh) => refresh::refresh(session, &name, refresh, limit(options.timeout)).await?,
        None => session.get(&name).await?,
    };
    let format = if options.tree { Format::Tree } else { options.output };
    show_now(session, &found, format, options.show_operation, console).await?;
    if let (Format::Wide | Format::Tree, Some(windows)) =
        (options.output, windows::of(session, &found).await?)
    {
        console.line("")?;
        console.field("SyncWindow", windows.state)?;
        console.field("Assigned Windows", windows.windows.join(", "))?;
    }
    Ok(0)
}

/// A time limit in seconds, where 0 means none.
pub(super) fn limit(seconds: u64) -> Option<Duration> {
    (seconds > 0).then(|| Duration::from_secs(seconds))
}

/// Shows an Application in a format. For a tree the cluster is asked for the children of its objects.
pub(super) async fn show_now(
    session: &Session,
    found: &Found,
    format: Format,
    with_operation: bool,
    console: &mut Console<'_>,
) -> Result<(), AppError> {
    if format != Format::Tree {
        return Ok(show(found, format, with_operation, console)?);
    }
    let tree = Box::pin(children::read(session, &found.application)).await?;
    describe(&found.application, with_operation, console)?;
    console.line("")?;
    Ok(tree.show(&found.application, console)?)
}

/// Shows what is known of an Application without asking.
pub(super) fn show(
    found: &Found,
    format: Format,
    with_operation: bool,
    console: &mut Console<'_>,
) -> io::Result<()> {
    let application = &found.application;
    match format {
        Format::Json => return console.json(&found.value),
        Format::Yaml => return console.yaml(&found.value),
        Format::Wide | Format::Tree => describe(application, with_operation, console)?,
    }
    if !application.status.resources.is_empty() {
        console.line("")?;
        match format {
            Format::Tree => tree(application, console)?,
            _ => resources(application, console)?,
        }
    }
    Ok(())
}

/// Shows everything but the objects.
fn describe(application: &Application, with_operation: bool, console: &mut Console<'_>) -> io::Result<()> {
    summary(application, console)?;
    let state = application.status.operation_state.as_ref();
    if let Some(state) = state.filter(|_| with_operation) {
        console.line("")?;
        operation(state, console)?;
    }
    let conditions = &application.status.conditions;
    if !conditions.is_empty() {
        console.line("")?;
        let rows = conditions.iter().map(|condition| {
            let time = condition.last_transition_time.map(|time| time.to_string()).unwrap_or_default();
            vec![condition.condition_type.as_str().into(), condition.message.as_str().into(), time.into()]
        });
        console.table(&["CONDITION", "MESSAGE", "LAST TRANSITION"], rows.collect())?;
    }
    Ok(())
}

fn summary(application: &Application, console: &mut Console<'_>) -> io::Result<()> {
    let (spec, status) = (&application.spec, &application.status);
    console.field("Name", application.qualified_name())?;
    console.field("Project", spec.project_name())?;
    console.field("Server", cluster(&spec.destination))?;
    console.field("Namespace", spec.destination.namespace.as_str())?;
    for (index, address) in status.summary.external_urls.iter().enumerate() {
        console.field(if index == 0 { "URL" } else { "" }, address.as_str())?;
    }
    let sources = spec.effective_sources();
    console.line(if sources.len() > 1 { "Sources:" } else { "Source:" })?;
    for source in &sources {
        show_source(source, console)?;
    }
    console.field("Sync Policy", sync_policy(application))?;
    let mut sync = Cell::of(status.sync_code());
    let from = revision(application);
    if !from.is_empty() {
        sync = sync.with_suffix(&format!(
            " {} {from}",
            if status.sync_code().as_str() == "Synced" { "to" } else { "from" }
        ));
    }
    console.field("Sync Status", sync)?;
    let mut health = Cell::of(status.health_code());
    let message = status.health.as_ref().map_or("", |health| health.message.as_str());
    if !message.is_empty() {
        health = health.with_suffix(&format!(" ({message})"));
    }
    console.field("Health Status", health)
}

fn show_source(source: &ApplicationSource, console: &mut Console<'_>) -> io::Result<()> {
    console.field("- Repo", source.repo_url.as_str())?;
    console.field("  Target", source.revision())?;
    if !source.path.is_empty() {
        console.field("  Path", source.path.as_str())?;
    }
    if !source.chart.is_empty() {
        console.field("  Chart", source.chart.as_str())?;
    }
    if !source.reference.is_empty() {
        console.field("  Ref", source.reference.as_str())?;
    }
    Ok(())
}

fn sync_policy(application: &Application) -> String {
    let Some(automated) = application.spec.automated() else {
        return "Manual".to_owned();
    };
    let details: Vec<&str> = [("Prune", automated.prunes()), ("Self Heal", automated.heals())]
        .into_iter()
        .filter_map(|(name, is_set)| is_set.then_some(name))
        .collect();
    if details.is_empty() { "Automated".to_owned() } else { format!("Automated ({})", details.join(", ")) }
}

/// `main (1a2b3c4)`.
fn revision(application: &Application) -> String {
    let Some(sync) = &application.status.sync else {
        return String::new();
    };
    let sources = application.spec.effective_sources();
    let revisions =
        if sync.revisions.is_empty() { std::slice::from_ref(&sync.revision) } else { &sync.revisions };
    let pairs = sources.iter().zip(revisions).filter(|(_, commit)| !commit.is_empty());
    pairs.map(|(source, commit)| with_commit(source.revision(), commit)).collect::<Vec<_>>().join(", ")
}

/// A revision with the short form of its commit, unless it is the commit.
pub(super) fn with_commit(revision: &str, commit: &str) -> String {
    if revision == commit {
        return commit.to_owned();
    }
    format!("{revision} ({})", commit.chars().take(7).collect::<String>())
}

/// Shows how an operation went.
pub(super) fn operation(state: &OperationState, console: &mut Console<'_>) -> io::Result<()> {
    console.field("Operation", if state.operation.sync.is_some() { "Sync" } else { "" })?;
    if let Some(result) = &state.sync_result {
        let revisions =
            if result.revisions.is_empty() { result.revision.clone() } else { result.revisions.join(", ") };
        console.field("Sync Revision", revisions)?;
    }
    console.field("Phase", Cell::of(state.phase))?;
    console.field("Start", state.started_at.to_string())?;
    console.field("Finished", state.finished_at.map(|time| time.to_string()).unwrap_or_default())?;
    console.field("Duration", duration(state.started_at, state.finished_at.unwrap_or_else(Time::now)))?;
    if state.retry_count > 0 {
        console.field("Retries", state.retry_count.to_string())?;
    }
    console.field("Message", state.message.as_str())
}

fn duration(from: Time, to: Time) -> String {
    let seconds = (to.timestamp().as_second() - from.timestamp().as_second()).max(0);
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, seconds) => format!("{minutes}m{seconds}s"),
        (hours, minutes, seconds) => format!("{hours}h{minutes}m{seconds}s"),
    }
}

/// Shows an Application's objects, with what the last sync says of each, and then its hooks.
pub(super) fn resources(application: &Application, console: &mut Console<'_>) -> io::Result<()> {
    let result = application.status.operation_state.as_ref().and_then(|state| state.sync_result.as_ref());
    let results = result.map_or(&[][..], |result| &result.resources);
    let messages: HashMap<ObjectKey, &str> = results
        .iter()
        .map(|of| (ObjectKey::new(&of.group, &of.kind, &of.namespace, &of.name), of.message.as_str()))
        .collect();
    let mut rows: Vec<Vec<Cell>> = Vec::new();
    for resource in &application.status.resources {
        rows.push(vec![
            resource.group.as_str().into(),
            resource.kind.as_str().into(),
            resource.namespace.as_str().into(),
            resource.name.as_str().into(),
            Cell::of_optional(resource.status),
            Cell::of_optional(resource.health.as_ref().map(|health| health.status)),
            "".into(),
            messages.get(&resource.key()).copied().unwrap_or_default().into(),
        ]);
    }
    for hook in results.iter().filter(|result| result.hook_type.is_some()) {
        rows.push(vec![
            hook.group.as_str().into(),
            hook.kind.as_str().into(),
            hook.namespace.as_str().into(),
            hook.name.as_str().into(),
            Cell::of_optional(hook.hook_phase),
            "".into(),
            hook.hook_type.map(|hook_type| hook_type.to_string()).unwrap_or_default().into(),
            hook.message.as_str().into(),
        ]);
    }
    console.table(&RESOURCE_HEADERS, rows)
}

/// The columns of a table of objects.
pub(super) const RESOURCE_HEADERS: [&str; 8] =
    ["GROUP", "KIND", "NAMESPACE", "NAME", "STATUS", "HEALTH", "HOOK", "MESSAGE"];

fn tree(application: &Application, console: &mut Console<'_>) -> io::Result<()> {
    let count = application.status.resources.len();
    let mut rows = vec![vec![
        format!("Application/{}", application.name()).into(),
        Cell::of(application.status.sync_code()),
        Cell::of(application.status.health_code()),
    ]];
    for (index, resource) in application.status.resources.iter().enumerate() {
        let branch = if index + 1 == count { "└─" } else { "├─" };
        let ResourceStatus { kind, name, health, status, .. } = resource;
        rows.push(vec![
            format!("{branch}{kind}/{name}").into(),
            Cell::of_optional(*status),
            Cell::of_optional(health.as_ref().map(|health| health.status)),
        ]);
    }
    console.table(&["KIND/NAME", "STATUS", "HEALTH"], rows)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::name::AppName, *};

    fn shown(format: Format) -> String {
        let value = json!({
            "metadata": { "name": "orders", "namespace": "argocd" },
            "spec": {
                "project": "shop",
                "source": { "repoURL": "https://example.com/r", "path": "a", "targetRevision": "main" },
                "destination": { "name": "in-cluster", "namespace": "orders" },
                "syncPolicy": { "automated": { "prune": true, "selfHeal": true } },
            },
            "status": {
                "sync": { "status": "OutOfSync", "revision": "0123456789" },
                "health": { "status": "Degraded", "message": "Caused by x" },
                "conditions": [{ "type": "SyncError", "message": "no" }],
                "resources": [
                    { "kind": "Service", "name": "a", "namespace": "orders", "status": "Synced", "health": { "status": "Healthy" } },
                    { "kind": "ConfigMap", "name": "b", "namespace": "orders", "status": "OutOfSync" },
                ],
                "operationState": {
                    "phase": "Failed", "startedAt": "2026-01-31T08:15:00Z", "finishedAt": "2026-01-31T08:16:05Z",
                    "operation": { "sync": {} }, "message": "refused",
                    "syncResult": { "revision": "0123456789", "resources": [
                        { "kind": "ConfigMap", "name": "b", "namespace": "orders", "version": "v1", "group": "", "message": "too long" },
                    ] },
                },
            },
        });
        let found = Found {
            name: AppName { namespace: "argocd".to_owned(), name: "orders".to_owned() },
            application: Application::from_value(value.clone()).unwrap(),
            value,
        };
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut console = Console { out: &mut out, err: &mut err, input: None, colours: false };
        show(&found, format, true, &mut console).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_summary_says_what_is_where_and_how_it_is() {
        let text = shown(Format::Wide);
        for line in [
            "Name:               argocd/orders",
            "Server:             in-cluster",
            "- Repo:             https://example.com/r",
            "Sync Policy:        Automated (Prune, Self Heal)",
            "Sync Status:        OutOfSync from main (0123456)",
            "Health Status:      Degraded (Caused by x)",
            "Duration:           1m5s",
            "SyncError  no",
            "       ConfigMap  orders     b     OutOfSync                 too long",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\nis not in\n{text}");
        }
    }

    #[test]
    fn a_tree_has_one_line_per_object() {
        let text = shown(Format::Tree);
        assert!(text.contains("Application/orders"), "{text}");
        assert!(text.contains("├─Service/a") && text.contains("└─ConfigMap/b"), "{text}");
    }

    #[test]
    fn programs_get_the_whole_object() {
        let value: serde_json::Value = serde_json::from_str(&shown(Format::Json)).unwrap();
        assert_eq!(value["spec"]["project"], "shop");
        assert!(shown(Format::Yaml).starts_with("metadata:\n"));
    }
}
