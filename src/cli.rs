//! The command line: one file a command, one exit code an error kind.

pub mod agent;
pub mod app;
mod changes;
mod crds;
mod demo;
mod diff;
mod documents;
mod embedded;
mod git_login;
mod health;
mod image;
mod install;
pub mod output;
mod render;
mod sandbox;
mod test;

use std::{
    io::{self, IsTerminal},
    process::ExitCode,
};

use clap::Parser;

use self::output::{Console, Output, colours_wanted};
use crate::error::{Classified, ErrorKind};

/// A light GitOps agent for Kubernetes that speaks Argo CD's API.
#[derive(Debug, Parser)]
#[command(name = "skiff", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Run the agent: keep the cluster as its repositories declare it
    Agent(agent::AgentArguments),
    /// List, show, sync, compare and delete Applications
    App(app::AppOptions),
    /// Take an Application's source back to an earlier revision, by a commit that is pushed, and wait
    Rollback(Box<app::source_rollback::Options>),
    /// Print what a directory of manifests renders to
    Render(render::RenderOptions),
    /// Check a GitOps repository before it is merged: render and sync every Application on the sandbox
    Test(test::TestOptions),
    /// Compare declared objects with live ones, both from files
    Diff(diff::DiffOptions),
    /// Print the health of objects in files, as the agent would see it
    Health(health::HealthOptions),
    /// Write image tags to a manifest repository, as pipelines do
    Image(image::ImageOptions),
    /// Apply what Skiff needs in a cluster, or print it
    Install(install::InstallOptions),
    /// Print the CustomResourceDefinitions of Application and AppProject
    Crds(crds::CrdsOptions),
    /// Watch commits reach a cluster: a whole story, on a sandbox or with --kubeconfig
    Demo(demo::DemoArguments),
    /// Run an in-memory Kubernetes API server to try things out
    Sandbox(sandbox::SandboxArguments),
}

/// The exit code of a command whose reader has gone: what a shell shows of a program that SIGPIPE ended. It is no success,
/// since nobody can tell how it would have ended.
const GIVEN_UP: u8 = 128 + 13;

/// Reads the command line and does what it says.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error, ErrorKind::Bug),
    };
    runtime.block_on(run(arguments.command))
}

async fn run(command: Command) -> ExitCode {
    let (mut out, mut err) = (Output::new(), io::stderr());
    match command {
        Command::Agent(arguments) => report(agent::run(arguments).await),
        Command::App(options) => app_command(&options).await,
        Command::Rollback(options) => {
            report(app::source_rollback::run(&options, &mut console(&mut out, &mut err)).await)
        }
        Command::Render(arguments) => code(render::run(&arguments, &mut out, &mut err).await),
        Command::Test(options) => code(Box::pin(test::run(&options, &mut console(&mut out, &mut err))).await),
        Command::Diff(options) => code(diff::run(&options, &mut console(&mut out, &mut err))),
        Command::Health(options) => code(health::run(&options, &mut console(&mut out, &mut err))),
        Command::Image(options) => report(image::run(&options, &mut out, &mut err).await),
        Command::Install(options) => report(install::run(&options, &mut console(&mut out, &mut err)).await),
        Command::Crds(options) => report(crds::run(&options, &mut out)),
        Command::Demo(arguments) => {
            let live = io::stdout().is_terminal() && err.is_terminal();
            let mut console = Console { colours: colours_wanted(live), ..console(&mut out, &mut err) };
            report(demo::run(&arguments, &mut console, live).await)
        }
        Command::Sandbox(arguments) => report(sandbox::run(arguments, &mut out).await),
    }
}

/// Standard output and standard error of a command that asks nothing.
fn console<'a>(out: &'a mut Output, err: &'a mut io::Stderr) -> Console<'a> {
    Console { out, err, input: None, colours: colours_wanted(io::stdout().is_terminal()) }
}

async fn app_command(options: &app::AppOptions) -> ExitCode {
    let (mut out, mut err) = (Output::new(), io::stderr());
    let mut input = io::BufReader::new(io::stdin());
    let interactive = io::stdin().is_terminal();
    let input: Option<&mut (dyn io::BufRead + Send)> = if interactive { Some(&mut input) } else { None };
    let mut console = Console { input, ..console(&mut out, &mut err) };
    match app::run(options, &mut console).await {
        Ok(code) => ExitCode::from(code),
        Err(_) if Output::is_given_up() => ExitCode::from(GIVEN_UP),
        Err(error) => {
            // Where the error itself cannot be written there is nobody to tell.
            let _ = console.problem(&error, error.hint().as_deref());
            ExitCode::from(error.exit_code())
        }
    }
}

fn report<E: Classified>(result: Result<(), E>) -> ExitCode {
    code(result.map(|()| 0))
}

/// The exit code that a command tells, or that of its error's kind.
fn code<E: Classified>(result: Result<u8, E>) -> ExitCode {
    result.map_or_else(|error| fail(&error, error.kind()), ExitCode::from)
}

fn fail(error: &dyn std::error::Error, kind: ErrorKind) -> ExitCode {
    if Output::is_given_up() {
        return ExitCode::from(GIVEN_UP);
    }
    let (mut out, mut err) = (Output::new(), io::stderr());
    let colours = colours_wanted(err.is_terminal());
    let _ = Console { colours, ..console(&mut out, &mut err) }.problem(error, None);
    match kind {
        ErrorKind::User => ExitCode::from(1),
        ErrorKind::Configuration => ExitCode::from(2),
        ErrorKind::Transient => ExitCode::from(3),
        ErrorKind::Bug => ExitCode::from(70),
    }
}
