//! `skiff render`: prints what a directory renders to, by the engine that the agent uses.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    api::{Application, ApplicationSource, ReadError},
    error::{Classified, ErrorKind},
    files::{DiskTree, FileLimits, Files},
    object::yaml::{self, YamlError},
    render::{RenderContext, RenderError, Rendered, render},
};

/// The options of `skiff render`.
#[derive(Debug, clap::Args)]
pub struct RenderOptions {
    /// The directory to render; with --application the root of the repository
    #[arg(value_name = "DIR", default_value = ".")]
    directory: PathBuf,
    /// Render spec.source of this Application manifest
    #[arg(long, value_name = "FILE")]
    application: Option<PathBuf>,
    /// The directory that no file is read outside of [default: the Git repository around DIR, else DIR]
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
}

/// Why a directory could not be rendered.
#[derive(Debug, thiserror::Error)]
pub enum RenderCommandError {
    /// A directory or file of the command line cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The path as given.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The directory is not below the root.
    #[error("{path} is not below the root {root}: choose another --root")]
    Outside {
        /// The directory.
        path: String,
        /// The root.
        root: String,
    },
    /// The Application manifest is no YAML.
    #[error("cannot read {path}")]
    Yaml {
        /// The manifest.
        path: String,
        /// Where and why.
        #[source]
        source: YamlError,
    },
    /// The manifest is no Application with one source.
    #[error("{path}: {problem}")]
    NoApplication {
        /// The manifest.
        path: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A field of the Application has the wrong type.
    #[error("cannot read {path}")]
    Application {
        /// The manifest.
        path: String,
        /// The field and what is wrong with it.
        #[source]
        source: ReadError,
    },
    /// The source cannot be rendered.
    #[error(transparent)]
    Render(#[from] RenderError),
    /// Standard output is gone.
    #[error("cannot print the objects")]
    Print(#[source] io::Error),
}

impl Classified for RenderCommandError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Render(source) => source.kind(),
            Self::Print(_) => ErrorKind::Configuration,
            _ => ErrorKind::User,
        }
    }
}

/// Prints the objects to `output` as YAML documents, and what is doubtful about them to `messages`.
///
/// # Errors
/// See [`RenderCommandError`]; nothing is printed then.
pub fn run(
    options: &RenderOptions,
    output: &mut dyn Write,
    messages: &mut dyn Write,
) -> Result<(), RenderCommandError> {
    let rendered = rendered(options)?;
    print(&rendered, output, messages).map_err(RenderCommandError::Print)
}

fn print(rendered: &Rendered, output: &mut dyn Write, messages: &mut dyn Write) -> io::Result<()> {
    for warning in &rendered.warnings {
        writeln!(messages, "warning: {warning}")?;
    }
    for (position, rendered) in rendered.objects.iter().enumerate() {
        if position > 0 {
            writeln!(output, "---")?;
        }
        write!(output, "{}", yaml::to_string(rendered.object.value()))?;
    }
    output.flush()
}

fn rendered(options: &RenderOptions) -> Result<Rendered, RenderCommandError> {
    let directory = canonical(&options.directory)?;
    let root = match (&options.root, &options.application) {
        (Some(root), _) => canonical(root)?,
        (None, Some(_)) => directory.clone(),
        (None, None) => repository_around(&directory).unwrap_or(&directory).to_owned(),
    };
    let outside = || RenderCommandError::Outside {
        path: options.directory.display().to_string(),
        root: root.display().to_string(),
    };
    let (source, context) = match &options.application {
        Some(manifest) => application(manifest)?,
        None => {
            let path = directory.strip_prefix(&root).map_err(|_| outside())?;
            let path = path.to_str().ok_or_else(outside)?;
            let path = if path.is_empty() { "." } else { path };
            (ApplicationSource { path: path.to_owned(), ..Default::default() }, RenderContext::default())
        }
    };
    let tree = DiskTree::new(&root).map_err(|source| read_error(&root, source))?;
    Ok(render(&Files::new(Arc::new(tree), FileLimits::default()), &source, &context)?)
}

/// The source of an Application manifest, and what it says besides.
fn application(manifest: &Path) -> Result<(ApplicationSource, RenderContext), RenderCommandError> {
    let path = manifest.display().to_string();
    let no_application =
        |problem: &str| RenderCommandError::NoApplication { path: path.clone(), problem: problem.to_owned() };
    let text = fs::read(manifest).map_err(|source| read_error(manifest, source))?;
    let documents = yaml::parse(&text, &yaml::Options::default())
        .map_err(|source| RenderCommandError::Yaml { path: path.clone(), source })?;
    let mut applications = documents
        .into_iter()
        .map(|document| document.value)
        .filter(|value| value.get("kind").and_then(|kind| kind.as_str()) == Some("Application"));
    let (Some(value), None) = (applications.next(), applications.next()) else {
        return Err(no_application("the file must hold one Application"));
    };
    let application = Application::from_value(value)
        .map_err(|source| RenderCommandError::Application { path: path.clone(), source })?;
    let mut sources = application.spec.effective_sources();
    let (Some(source), true) = (sources.pop(), sources.is_empty()) else {
        return Err(no_application("the Application must have one source: set spec.source"));
    };
    let context = RenderContext {
        application_name: application.name().to_owned(),
        destination_namespace: application.spec.destination.namespace.clone(),
        project_name: application.spec.project_name().to_owned(),
        ..RenderContext::default()
    };
    Ok((source, context))
}

/// The nearest directory at or above this one that is the top of a Git working tree.
fn repository_around(directory: &Path) -> Option<&Path> {
    directory.ancestors().find(|ancestor| ancestor.join(".git").exists())
}

fn canonical(path: &Path) -> Result<PathBuf, RenderCommandError> {
    path.canonicalize().map_err(|source| read_error(path, source))
}

fn read_error(path: &Path, source: io::Error) -> RenderCommandError {
    RenderCommandError::Read { path: path.display().to_string(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::chain;

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn new(files: &[(&str, &str)]) -> Self {
            let folder = tempfile::tempdir().unwrap();
            for (name, text) in files {
                let path = folder.path().join(name);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            Self(folder)
        }

        fn run(&self, directory: &str, application: Option<&str>) -> Result<(String, String), String> {
            let options = RenderOptions {
                directory: self.0.path().join(directory),
                application: application.map(|name| self.0.path().join(name)),
                root: None,
            };
            let (mut output, mut messages) = (Vec::new(), Vec::new());
            run(&options, &mut output, &mut messages).map_err(|error| chain(&error))?;
            Ok((String::from_utf8(output).unwrap(), String::from_utf8(messages).unwrap()))
        }
    }

    const A: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n";
    const B: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: b\n";

    #[test]
    fn a_plain_directory_is_printed_as_documents() {
        let folder = Folder::new(&[("app/a.yaml", A), ("app/b.yaml", B), ("app/values.yaml", "x: 1\n")]);
        let (output, messages) = folder.run("app", None).unwrap();
        assert_eq!(output, format!("{A}---\n{B}"));
        assert!(messages.starts_with("warning: 'values.yaml', line 1"), "{messages}");
    }

    #[test]
    fn a_kustomization_reads_its_bases_within_the_git_repository_around_it() {
        let files = [
            ("base/kustomization.yaml", "resources: [a.yaml]\n"),
            ("base/a.yaml", A),
            ("overlays/dev/kustomization.yaml", "resources: [../../base]\nnamePrefix: dev-\n"),
        ];
        let folder = Folder::new(&files);
        let error = folder.run("overlays/dev", None).unwrap_err();
        assert!(error.contains("leads out of the repository"), "{error}");
        fs::create_dir(folder.0.path().join(".git")).unwrap();
        let (output, _) = folder.run("overlays/dev", None).unwrap();
        assert!(output.contains("name: dev-a"), "{output}");
    }

    #[test]
    fn an_application_is_rendered_with_its_own_options() {
        let application = "apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {name: orders}\nspec:\n  \
            project: default\n  destination: {namespace: shop, server: https://x}\n  source:\n    \
            repoURL: https://example.com/r.git\n    path: app\n    kustomize:\n      namePrefix: dev-\n      \
            commonLabels: {app: $ARGOCD_APP_NAME, ns: $ARGOCD_APP_NAMESPACE}\n";
        let folder = Folder::new(&[
            ("app/kustomization.yaml", "resources: [a.yaml]\n"),
            ("app/a.yaml", A),
            ("orders.yaml", application),
            ("two.yaml", &format!("{application}---\n{application}")),
            ("none.yaml", A),
            ("wrong.yaml", &application.replace("namePrefix: dev-", "namePrefix: [x]")),
        ]);
        let (output, _) = folder.run(".", Some("orders.yaml")).unwrap();
        for line in ["  name: dev-a", "    app: orders", "    ns: shop"] {
            assert!(output.lines().any(|printed| printed == line), "{output}");
        }
        for bad in ["two.yaml", "none.yaml"] {
            let error = folder.run(".", Some(bad)).unwrap_err();
            assert!(error.contains(bad) && error.contains("one Application"), "{error}");
        }
        let error = folder.run(".", Some("wrong.yaml")).unwrap_err();
        assert!(error.contains("kustomize.namePrefix"), "{error}");
    }

    #[test]
    fn errors_name_the_file_and_print_nothing() {
        let folder = Folder::new(&[("app/a.yaml", A), ("app/b.yaml", "apiVersion: v1\nkind: X\n a: [\n")]);
        let error = folder.run("missing", None).unwrap_err();
        assert!(error.contains("missing"), "{error}");
        fs::write(folder.0.path().join("app/b.yaml"), format!("{B}  labels: [")).unwrap();
        let error = folder.run("app", None).unwrap_err();
        assert!(error.contains("'b.yaml': line 5"), "{error}");
    }

    #[test]
    fn a_link_to_a_file_outside_is_not_followed() {
        let outside = Folder::new(&[("secret.yaml", A)]);
        let folder = Folder::new(&[("app/b.yaml", B)]);
        let link = folder.0.path().join("app/link.yaml");
        std::os::unix::fs::symlink(outside.0.path().join("secret.yaml"), link).unwrap();
        let error = folder.run("app", None).unwrap_err();
        assert!(error.contains("symbolic link 'link.yaml'"), "{error}");
    }
}
