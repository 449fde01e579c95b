//! `skiff image`: writes image tags to a manifest repository, as pipelines do after a build.
//!
//! ```text
//! [NAME=]IMAGE[:TAG][@DIGEST]… ─▶ edit the kustomization (or values file) of the newest commit ─▶ commit ─▶ push
//!                                     ▲ somebody was quicker: again, upon what is there now ◀─────────────────┘
//! ```
//!
//! The file keeps its comments, order and indentation. Nothing to change is success and no commit.

mod message;

use std::{io::Write, sync::Arc, time::Duration};

use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;

use self::message::{Message, MessageError};
use super::git_login::{GitLogin, GitLoginError};
use crate::{
    edit::{self, EditError, ImageChange},
    error::{Classified, ErrorKind},
    files::{FileLimits, Files, FilesError, PathError, RepoPath},
    git::{
        Content, Draft, GitError, GitOptions, GitTree, Publication, Published, RepoUrl, Repositories,
        writer::Change,
    },
};

/// The names under which a directory holds its kustomization.
const KUSTOMIZATION_FILES: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

/// The options of `skiff image`.
#[derive(Debug, clap::Args)]
pub struct ImageOptions {
    #[command(subcommand)]
    command: ImageCommand,
}

#[derive(Debug, clap::Subcommand)]
enum ImageCommand {
    /// Set images of a kustomization, or a value of a Helm values file, and push the commit
    Set(SetOptions),
}

/// The options of `skiff image set`.
#[derive(Debug, clap::Args)]
struct SetOptions {
    /// Images, '[NAME=]IMAGE[:TAG][@DIGEST]', as 'kustomize edit set image' takes them. Without NAME an entry keeps its
    /// newName; a tag takes the place of a digest and the reverse
    #[arg(required = true, value_name = "[NAME=]IMAGE[:TAG][@DIGEST]")]
    images: Vec<ImageChange>,
    /// The manifest repository
    #[arg(long, value_name = "URL")]
    repo: String,
    /// The branch to commit to
    #[arg(long, default_value = "main")]
    branch: String,
    /// The directory of the kustomization, or that --values is relative to
    #[arg(long, value_name = "DIR", default_value = ".")]
    path: String,
    /// Edit this values file in place of a kustomization
    #[arg(long, value_name = "FILE", requires = "key")]
    values: Option<String>,
    /// The key to set, 'image.tag'. One that ends in 'digest' gets the digest, in 'repository' the image's name, in 'image'
    /// all of it, any other the tag (or the digest where there is no tag). May be repeated
    #[arg(long, value_name = "KEY", requires = "values")]
    key: Vec<String>,
    /// The message: {images}, {path}, {branch}, {source_commit} and {pipeline_run} are filled in. What is known of these
    /// follows as trailers
    #[arg(long, value_name = "TEMPLATE", default_value = message::DEFAULT_TEMPLATE)]
    message: String,
    /// The commit of which the image was built, for the message
    #[arg(long, value_name = "SHA", env = "SKIFF_SOURCE_COMMIT")]
    source_commit: Option<String>,
    /// The pipeline run that built it, for the message
    #[arg(long, value_name = "NAME", env = "SKIFF_PIPELINE_RUN")]
    pipeline_run: Option<String>,
    /// Push to a branch of its own, made from --branch, and print its name
    #[arg(long)]
    pull_request: bool,
    /// How long to go on when others push at the same time, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    timeout: u64,
    #[command(flatten)]
    login: GitLogin,
}

/// Why images could not be set.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The login cannot be used.
    #[error(transparent)]
    Login(#[from] GitLoginError),
    /// A path of the command line leads nowhere.
    #[error("--path or --values cannot be used")]
    Path(#[from] PathError),
    /// The message template is wrong.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// Several images and one value.
    #[error("--values takes one image, and there are {0}")]
    Several(usize),
    /// The value that a key stands for is not in the image.
    #[error("--key {key} needs {needed}, and the image '{image}' has none")]
    Missing {
        /// The key.
        key: String,
        /// "a digest".
        needed: &'static str,
        /// The image.
        image: String,
    },
    /// The directory has no kustomization.
    #[error("'{path}' of branch '{branch}' has no kustomization: check --path, or use --values")]
    NoKustomization {
        /// The directory.
        path: String,
        /// The branch.
        branch: String,
    },
    /// The file cannot be read.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// The file is not UTF-8.
    #[error("'{0}' is no UTF-8 text")]
    Text(RepoPath),
    /// The file cannot be changed.
    #[error("cannot change '{path}'")]
    Edit {
        /// The file.
        path: RepoPath,
        /// Why.
        #[source]
        source: EditError,
    },
    /// The repository cannot be read or written.
    #[error(transparent)]
    Git(#[from] GitError),
    /// No directory for the mirror.
    #[error("cannot make a temporary directory")]
    Directory(#[source] std::io::Error),
    /// Standard output is gone.
    #[error("cannot print the result")]
    Print(#[source] std::io::Error),
}

impl Classified for ImageError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Login(error) => error.kind(),
            Self::Git(error) => error.kind(),
            Self::Files(error) => error.kind(),
            Self::Directory(_) | Self::Print(_) => ErrorKind::Configuration,
            _ => ErrorKind::User,
        }
    }
}

/// Sets images and pushes. Prints the commit or, for a pull request, the branch.
///
/// # Errors
/// [`ImageError`].
pub async fn run(
    options: &ImageOptions,
    output: &mut (dyn Write + Send),
    messages: &mut (dyn Write + Send),
) -> Result<(), ImageError> {
    let ImageCommand::Set(options) = &options.command;
    let target = Target::new(options)?;
    let url = RepoUrl::parse(&options.repo).map_err(GitLoginError::from)?;
    let message = Message::parse(&options.message)?;
    let message = message.fill(&message::Facts {
        images: &options.images,
        path: &options.path,
        branch: &options.branch,
        source_commit: options.source_commit.as_deref(),
        pipeline_run: options.pipeline_run.as_deref(),
    });
    let to = if options.pull_request { proposal_branch(options) } else { options.branch.clone() };
    let publication = Publication {
        credentials: options.login.credentials(&url)?,
        url,
        from: options.branch.clone(),
        to: to.clone(),
        author: options.login.author()?,
        signing_key: options.login.signing_key()?,
        patience: Duration::from_secs(options.timeout),
    };
    // A mirror of its own: many of these commands run at once on one machine.
    let cache = tempfile::tempdir().map_err(ImageError::Directory)?;
    let repositories = Repositories::new(GitOptions::new(cache.path().to_owned()), None);
    let draft = |tree: &Arc<GitTree>| {
        let change = target.change(tree, options)?;
        Ok::<_, ImageError>(
            change.map(|change| Draft { content: Content::Changes(vec![change]), message: message.clone() }),
        )
    };
    let published = repositories.publish(&publication, draft, &CancellationToken::new()).await?;
    // What a pipeline goes on with: the branch for a pull request, else the commit to wait for.
    let said = match &published {
        Published::Commit { .. } if options.pull_request => to.as_str(),
        Published::Commit { id, .. } => id.as_str(),
        Published::Nothing { branch, .. } if options.pull_request && *branch != to => "",
        Published::Nothing { .. } if options.pull_request => to.as_str(),
        Published::Nothing { at, .. } => at.as_str(),
    };
    if !said.is_empty() {
        writeln!(output, "{said}").map_err(ImageError::Print)?;
    }
    let told = match &published {
        Published::Commit { id, attempts: 1, .. } => format!("pushed {} to {to}", id.short()),
        Published::Commit { id, attempts, .. } => {
            format!(
                "pushed {} to {to} at the attempt number {attempts}, because others pushed too",
                id.short()
            )
        }
        Published::Nothing { at, branch } => {
            format!("nothing to change: {} of {branch} says so already", at.short())
        }
    };
    writeln!(messages, "{told}").map_err(ImageError::Print)?;
    Ok(())
}

/// The file to edit.
enum Target {
    Kustomization(RepoPath),
    /// The file, and what each key gets.
    Values(RepoPath, Vec<(String, String)>),
}

impl Target {
    fn new(options: &SetOptions) -> Result<Self, ImageError> {
        let directory = RepoPath::root().join_lenient(&options.path)?;
        let Some(file) = &options.values else { return Ok(Self::Kustomization(directory)) };
        let [image] = options.images.as_slice() else {
            return Err(ImageError::Several(options.images.len()));
        };
        let file = directory.join_lenient(file)?;
        let values = options.key.iter().map(|key| Ok((key.clone(), value_for(key, image)?)));
        Ok(Self::Values(file, values.collect::<Result<_, ImageError>>()?))
    }

    /// The change of the tree's file; `None` where it says all of it already.
    fn change(&self, tree: &Arc<GitTree>, options: &SetOptions) -> Result<Option<Change>, ImageError> {
        let files = Files::new(Arc::clone(tree) as Arc<dyn crate::files::Tree>, FileLimits::default());
        let path = match self {
            Self::Values(path, _) => path.clone(),
            Self::Kustomization(directory) => {
                let candidates = KUSTOMIZATION_FILES.iter().filter_map(|name| directory.join(name).ok());
                let mut found = None;
                for candidate in candidates {
                    if files.is_file(&candidate)? {
                        found = Some(candidate);
                        break;
                    }
                }
                found.ok_or_else(|| ImageError::NoKustomization {
                    path: options.path.clone(),
                    branch: options.branch.clone(),
                })?
            }
        };
        // What is written is the file that a link leads to, not the link.
        let path = files.real_path(&path)?.unwrap_or(path);
        let text =
            String::from_utf8(files.read(&path)?.to_vec()).map_err(|_| ImageError::Text(path.clone()))?;
        let edit = |result: Result<String, EditError>| {
            result.map_err(|source| ImageError::Edit { path: path.clone(), source })
        };
        let changed = match self {
            Self::Kustomization(_) => edit(edit::set_images(&text, &options.images))?,
            Self::Values(_, values) => {
                let mut changed = text.clone();
                for (key, value) in values {
                    changed = edit(edit::set_value(&changed, key, value))?;
                }
                changed
            }
        };
        Ok((changed != text).then(|| Change::Write(path, changed.into_bytes())))
    }
}

/// What a key of a values file gets of an image.
fn value_for(key: &str, image: &ImageChange) -> Result<String, ImageError> {
    let missing = |needed| ImageError::Missing { key: key.to_owned(), needed, image: image.to_string() };
    let last = key.rsplit(['.', '[']).next().unwrap_or(key).to_lowercase();
    if last.ends_with("digest") {
        return image.digest.clone().ok_or_else(|| missing("a digest"));
    }
    if last.ends_with("repository") {
        return Ok(image.new_name.as_ref().unwrap_or(&image.name).clone());
    }
    if last.ends_with("image") {
        return Ok(image.to_string());
    }
    image.new_tag.as_ref().or(image.digest.as_ref()).cloned().ok_or_else(|| missing("a tag"))
}

/// A branch that the same images for the same file always have, so that a pipeline that runs again finds its own.
fn proposal_branch(options: &SetOptions) -> String {
    let mut images: Vec<String> =
        options.images.iter().map(|image| format!("{}={image}", image.name)).collect();
    images.sort_unstable();
    let file = options.values.as_deref().unwrap_or_default();
    let text = format!("{}\n{}\n{file}\n{}", options.branch, options.path, images.join("\n"));
    let hash: String = Sha256::digest(text).iter().take(5).map(|byte| format!("{byte:02x}")).collect();
    let slug: String = options
        .path
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' })
        .take(40)
        .collect();
    let slug = slug.trim_matches('-');
    if slug.is_empty() { format!("skiff/images-{hash}") } else { format!("skiff/images-{slug}-{hash}") }
}
