//! `skiff app list`.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{AppError, Session, session::Found};
use crate::{
    api::{Application, ApplicationCondition, ApplicationDestination, ApplicationSpec},
    cli::output::{Cell, Console},
};

/// What the list looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// A table.
    #[default]
    Wide,
    /// The names only.
    Name,
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}

/// The options of `skiff app list`.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// List the Applications of all namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,

    /// Only Applications with these labels, such as 'team=shop,tier!=test'
    #[arg(short = 'l', long)]
    selector: Option<String>,

    /// Only Applications of this project; may be repeated
    #[arg(short, long)]
    project: Vec<String>,

    /// Only Applications with a source in this repository
    #[arg(short, long)]
    repo: Option<String>,

    /// Only Applications for this cluster, by URL or name
    #[arg(short, long)]
    cluster: Option<String>,

    /// Only Applications with a source at this path
    #[arg(short = 'P', long)]
    path: Option<String>,

    /// What the output looks like
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

impl Options {
    fn wants(&self, spec: &ApplicationSpec) -> bool {
        let sources = spec.effective_sources();
        let is_any = |wanted: &Option<String>, has: &dyn Fn(&str) -> bool| wanted.as_deref().is_none_or(has);
        (self.project.is_empty() || self.project.iter().any(|project| project == spec.project_name()))
            && is_any(&self.repo, &|repo| sources.iter().any(|source| source.repo_url == repo))
            && is_any(&self.path, &|path| sources.iter().any(|source| source.path == path))
            && is_any(&self.cluster, &|cluster| {
                let ApplicationDestination { server, name, .. } = &spec.destination;
                server.trim_end_matches('/') == cluster.trim_end_matches('/') || name == cluster
            })
    }
}

/// Lists Applications.
pub(super) async fn run(
    session: &Session,
    options: &Options,
    console: &mut Console<'_>,
) -> Result<u8, AppError> {
    let namespace = (!options.all_namespaces).then_some(session.namespace());
    let mut shown: Vec<Found> = Vec::new();
    for found in session.list(namespace, options.selector.as_deref()).await? {
        match found {
            Ok(found) if options.wants(&found.application.spec) => shown.push(found),
            Ok(_) => {}
            Err(error) => console.problem(&error, error.hint().as_deref())?,
        }
    }
    let values = || Value::Array(shown.iter().map(|found| found.value.clone()).collect());
    match options.output {
        Format::Json => console.json(&values())?,
        Format::Yaml => console.yaml(&values())?,
        Format::Name => {
            for found in &shown {
                console.line(&found.name.to_string())?;
            }
        }
        Format::Wide => {
            let headers = [
                "NAME",
                "CLUSTER",
                "NAMESPACE",
                "PROJECT",
                "STATUS",
                "HEALTH",
                "SYNCPOLICY",
                "CONDITIONS",
                "REPO",
                "PATH",
                "TARGET",
            ];
            console.table(&headers, shown.iter().map(|found| row(&found.application)).collect())?;
        }
    }
    Ok(0)
}

fn row(application: &Application) -> Vec<Cell> {
    let spec = &application.spec;
    let source = spec.effective_sources().into_iter().next().unwrap_or_default();
    vec![
        application.qualified_name().into(),
        cluster(&spec.destination).into(),
        spec.destination.namespace.as_str().into(),
        spec.project_name().into(),
        Cell::of(application.status.sync_code()),
        Cell::of(application.status.health_code()),
        sync_policy(spec).into(),
        conditions(&application.status.conditions).into(),
        source.repo_url.into(),
        if source.chart.is_empty() { source.path } else { source.chart }.into(),
        source.target_revision.into(),
    ]
}

/// The cluster as the Application names it.
pub(super) fn cluster(destination: &ApplicationDestination) -> &str {
    if destination.server.is_empty() { &destination.name } else { &destination.server }
}

fn sync_policy(spec: &ApplicationSpec) -> &'static str {
    match spec.automated() {
        None => "Manual",
        Some(automated) if automated.prunes() => "Auto-Prune",
        Some(_) => "Auto",
    }
}

/// `SyncError,OrphanedResourceWarning(2)`.
fn conditions(conditions: &[ApplicationCondition]) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for condition in conditions {
        *counts.entry(condition.condition_type.as_str()).or_default() += 1;
    }
    if counts.is_empty() {
        return "<none>".to_owned();
    }
    let one = |(name, count): (&str, usize)| {
        if count == 1 { name.to_owned() } else { format!("{name}({count})") }
    };
    counts.into_iter().map(one).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::json;

    use super::*;

    #[derive(Parser)]
    struct Arguments {
        #[command(flatten)]
        options: Options,
    }

    fn wants(arguments: &[&str], spec: &Value) -> bool {
        let arguments = Arguments::parse_from(std::iter::once(&"list").chain(arguments));
        let application = Application::from_value(json!({ "spec": spec })).unwrap();
        arguments.options.wants(&application.spec)
    }

    #[test]
    fn filters_must_all_match() {
        let spec = json!({
            "destination": { "server": "https://c/" },
            "source": { "repoURL": "https://example.com/r", "path": "a" },
        });
        assert!(wants(&[], &spec));
        assert!(wants(&["-p", "default", "-p", "other", "-c", "https://c", "-P", "a"], &spec));
        assert!(!wants(&["-p", "default", "-P", "b"], &spec));
        assert!(!wants(&["-r", "https://example.com/other"], &spec));
    }

    #[test]
    fn conditions_are_counted_by_type() {
        let of = |types: &[&str]| {
            let all: Vec<_> = types.iter().map(|name| ApplicationCondition::new(*name, "")).collect();
            conditions(&all)
        };
        assert_eq!(of(&[]), "<none>");
        assert_eq!(of(&["SyncError", "ComparisonError", "SyncError"]), "ComparisonError,SyncError(2)");
    }
}
