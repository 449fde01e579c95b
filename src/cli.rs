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

use self::output::{Console, colours_wanted};
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

/// Reads the command line and does what it says.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error, None, ErrorKind::Bug),
    };
    runtime.block_on(run(arguments.command))
}

async fn run(command: Command) -> ExitCode {
    match command {
        Command::Agent(arguments) => report(agent::run(arguments).await),
        Command::App(options) => app_command(&options).await,
        Command::Rollback(options) => rollback_command(&options).await,
        Command::Render(arguments) => {
            match render::run(&arguments, &mut io::stdout(), &mut io::stderr()).await {
                Ok(code) => ExitCode::from(code),
                Err(error) => fail(&error, None, error.kind()),
            }
        }
        Command::Test(options) => test_command(&options).await,
        Command::Diff(options) => with_code(|console| diff::run(&options, console)),
        Command::Health(options) => with_code(|console| health::run(&options, console)),
        Command::Image(options) => report(image::run(&options, &mut io::stdout(), &mut io::stderr()).await),
        Command::Install(options) => install_command(&options).await,
        Command::Crds(options) => report(crds::run(&options, &mut io::stdout())),
        Command::Demo(arguments) => demo_command(&arguments).await,
        Command::Sandbox(arguments) => report(sandbox::run(arguments, &mut io::stdout()).await),
    }
}

async fn rollback_command(options: &app::source_rollback::Options) -> ExitCode {
    let (mut out, mut err) = (io::stdout(), io::stderr());
    let colours = colours_wanted(out.is_terminal());
    let mut console = Console { out: &mut out, err: &mut err, input: None, colours };
    report(app::source_rollback::run(options, &mut console).await)
}

async fn test_command(options: &test::TestOptions) -> ExitCode {
    let (mut out, mut err) = (io::stdout(), io::stderr());
    let colours = colours_wanted(out.is_terminal());
    let mut console = Console { out: &mut out, err: &mut err, input: None, colours };
    match Box::pin(test::run(options, &mut console)).await {
        Ok(code) => ExitCode::from(code),
        Err(error) => fail(&error, None, error.kind()),
    }
}

async fn install_command(options: &install::InstallOptions) -> ExitCode {
    let (mut out, mut err) = (io::stdout(), io::stderr());
    let colours = colours_wanted(out.is_terminal());
    let mut console = Console { out: &mut out, err: &mut err, input: None, colours };
    report(install::run(options, &mut console).await)
}

async fn demo_command(arguments: &demo::DemoArguments) -> ExitCode {
    let (mut out, mut err) = (io::stdout(), io::stderr());
    let live = out.is_terminal() && err.is_terminal();
    let colours = colours_wanted(live);
    let mut console = Console { out: &mut out, err: &mut err, input: None, colours };
    report(demo::run(arguments, &mut console, live).await)
}

async fn app_command(options: &app::AppOptions) -> ExitCode {
    let (mut out, mut err) = (io::stdout(), io::stderr());
    let mut input = io::BufReader::new(io::stdin());
    let interactive = io::stdin().is_terminal();
    let colours = colours_wanted(out.is_terminal());
    let input: Option<&mut (dyn io::BufRead + Send)> = if interactive { Some(&mut input) } else { None };
    let mut console = Console { out: &mut out, err: &mut err, input, colours };
    match app::run(options, &mut console).await {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            // Where the error itself cannot be written there is nobody to tell.
            let _ = console.problem(&error, error.hint().as_deref());
            ExitCode::from(error.exit_code())
        }
    }
}

/// Runs a command that tells its exit code.
fn with_code<E: Classified>(command: impl FnOnce(&mut Console<'_>) -> Result<u8, E>) -> ExitCode {
    let (mut out, mut err) = (io::stdout(), io::stderr());
    let colours = colours_wanted(out.is_terminal());
    let mut console = Console { out: &mut out, err: &mut err, input: None, colours };
    match command(&mut console) {
        Ok(code) => ExitCode::from(code),
        Err(error) => fail(&error, None, error.kind()),
    }
}

fn report<E: Classified>(result: Result<(), E>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error, None, error.kind()),
    }
}

fn fail(error: &dyn std::error::Error, hint: Option<&str>, kind: ErrorKind) -> ExitCode {
    let (mut out, mut err) = (io::stdout(), io::stderr());
    let colours = colours_wanted(err.is_terminal());
    let mut console = Console { out: &mut out, err: &mut err, input: None, colours };
    let _ = console.problem(error, hint);
    match kind {
        ErrorKind::User => ExitCode::from(1),
        ErrorKind::Configuration => ExitCode::from(2),
        ErrorKind::Transient => ExitCode::from(3),
        ErrorKind::Bug => ExitCode::from(70),
    }
}
