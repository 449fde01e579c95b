//! `skiff app delete`.

use std::{io::BufRead, ops::ControlFlow};

use serde_json::json;

use super::{
    AppError, Session,
    error::EXIT_COMMAND,
    get::limit,
    name::{AppName, Several},
};
use crate::{api::names, cli::output::Console};

/// How dependents of the deleted objects go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Propagation {
    /// Before the objects that own them.
    #[default]
    Foreground,
    /// Afterwards.
    Background,
}

/// The options of `skiff app delete`.
#[derive(Debug, clap::Args)]
pub struct Options {
    #[command(flatten)]
    several: Several,

    /// Delete the Applications' objects too
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    cascade: bool,

    /// How the objects' dependents go
    #[arg(short, long, value_enum, default_value_t)]
    propagation_policy: Propagation,

    /// Do not ask
    #[arg(short, long)]
    yes: bool,

    /// Wait until the Applications are gone
    #[arg(long)]
    wait: bool,

    /// How many seconds to wait; 0 for no limit
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    timeout: u64,
}

const CASCADE_FINALIZERS: [&str; 3] = [
    names::FINALIZER_RESOURCES,
    names::FINALIZER_RESOURCES_FOREGROUND,
    names::FINALIZER_RESOURCES_BACKGROUND,
];

/// Deletes Applications one after the other.
pub(super) async fn run(
    session: &Session,
    options: &Options,
    console: &mut Console<'_>,
) -> Result<u8, AppError> {
    let names = options.several.resolve(session).await?;
    for name in &names {
        if !options.yes && !is_confirmed(name, options.cascade, console)? {
            console.progress("nothing more is deleted")?;
            return Ok(EXIT_COMMAND);
        }
        delete(session, name, options).await?;
        console.line(&format!("application '{name}' deleted"))?;
    }
    if options.wait {
        for name in &names {
            wait_until_gone(session, name, options.timeout).await?;
        }
    }
    Ok(0)
}

async fn delete(session: &Session, name: &AppName, options: &Options) -> Result<(), AppError> {
    let found = session.get(name).await?;
    let before = found.application.metadata.finalizers.clone().unwrap_or_default();
    let after = finalizers(&before, options.cascade, options.propagation_policy);
    if after != before {
        // The resource version makes the API server refuse the change if anybody else changed the list meanwhile.
        let metadata = json!({
            "finalizers": after,
            "resourceVersion": found.application.metadata.resource_version,
        });
        session.patch(name, &json!({ "metadata": metadata })).await?;
    }
    session.delete(name).await
}

/// The finalizers with which an Application's deletion does what is wanted.
fn finalizers(before: &[String], cascade: bool, propagation: Propagation) -> Vec<String> {
    let others = before.iter().filter(|name| !CASCADE_FINALIZERS.contains(&name.as_str())).cloned();
    let wanted = match (cascade, propagation) {
        (false, _) => None,
        (true, Propagation::Foreground) => Some(names::FINALIZER_RESOURCES.to_owned()),
        (true, Propagation::Background) => Some(names::FINALIZER_RESOURCES_BACKGROUND.to_owned()),
    };
    others.chain(wanted).collect()
}

fn is_confirmed(name: &AppName, cascade: bool, console: &mut Console<'_>) -> Result<bool, AppError> {
    let what = if cascade { "and all its objects" } else { "and leave its objects" };
    let Some(input) = console.input.as_mut() else {
        let message =
            format!("refusing to delete application '{name}' {what} without being asked to: add --yes");
        return Err(AppError::Usage { message });
    };
    write!(console.err, "delete application '{name}' {what}? [y/N] ")?;
    console.err.flush()?;
    let mut answer = String::new();
    input.read_line(&mut answer)?;
    Ok(["y", "yes"].contains(&answer.trim().to_lowercase().as_str()))
}

async fn wait_until_gone(session: &Session, name: &AppName, seconds: u64) -> Result<(), AppError> {
    let mut finalizers = String::new();
    let gone = session.follow(name, limit(seconds), |state| {
        let Some(found) = state else {
            return Ok(ControlFlow::Break(()));
        };
        finalizers = found.application.metadata.finalizers.unwrap_or_default().join(", ");
        Ok(ControlFlow::Continue(()))
    });
    match gone.await? {
        Some(()) => Ok(()),
        None => Err(AppError::TimedOut {
            name: name.to_string(),
            wanted: "gone",
            limit: limit(seconds).unwrap_or_default(),
            state: format!("its finalizers are still there: {finalizers}"),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(before: &[&str], cascade: bool, propagation: Propagation) -> Vec<String> {
        let before: Vec<String> = before.iter().map(|name| (*name).to_owned()).collect();
        finalizers(&before, cascade, propagation)
    }

    #[test]
    fn cascading_sets_one_finalizer_and_keeps_those_of_others() {
        let before = ["example.com/x", names::FINALIZER_RESOURCES_FOREGROUND];
        assert_eq!(of(&before, true, Propagation::Foreground), ["example.com/x", names::FINALIZER_RESOURCES]);
        assert_eq!(of(&[], true, Propagation::Background), [names::FINALIZER_RESOURCES_BACKGROUND]);
    }

    #[test]
    fn not_cascading_takes_the_finalizers_away() {
        assert_eq!(of(&CASCADE_FINALIZERS, false, Propagation::Foreground), Vec::<String>::new());
        assert_eq!(of(&["example.com/x"], false, Propagation::Foreground), ["example.com/x"]);
    }

    fn confirmed(answer: Option<&str>) -> Result<bool, AppError> {
        let name = AppName { namespace: "argocd".to_owned(), name: "orders".to_owned() };
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut answer = answer.map(str::as_bytes);
        let input = answer.as_mut().map(|answer| answer as &mut (dyn BufRead + Send));
        is_confirmed(&name, true, &mut Console { out: &mut out, err: &mut err, input, colours: false })
    }

    #[test]
    fn only_a_yes_deletes() {
        assert!(confirmed(Some("yes\n")).unwrap() && confirmed(Some("Y\n")).unwrap());
        assert!(!confirmed(Some("\n")).unwrap() && !confirmed(Some("")).unwrap());
        assert!(confirmed(None).unwrap_err().to_string().contains("--yes"));
    }
}
