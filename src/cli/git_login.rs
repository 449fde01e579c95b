//! How commands log in to Git, and in whose name those that write commit.
//!
//! Nothing is taken from the machine's own Git configuration or agents: what a pipeline mounts is named on the command line
//! or in the environment, and secrets are read from files or variables, never from arguments, which every process can see.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use url::Url;

use crate::{
    error::{Classified, ErrorKind},
    git::{Credentials, KnownHosts, RepoUrl, Scheme, SigningKey, SigningKeyError, UrlError, writer::Author},
    masked::Masked,
};

/// The variable with the password or token for HTTP.
pub const PASSWORD_VARIABLE: &str = "SKIFF_GIT_PASSWORD";

/// A credentials file has a line for each repository.
const MAX_CREDENTIAL_LINES: usize = 10_000;

/// How to log in to whatever repository: each file says by itself what it is for.
#[derive(Debug, Default, clap::Args)]
pub struct GitFiles {
    /// A file of URLs with user and password, as 'git credential-store' keeps them
    #[arg(long, value_name = "FILE")]
    git_credentials: Option<PathBuf>,
    /// A private key for SSH
    #[arg(long, value_name = "FILE")]
    ssh_private_key: Option<PathBuf>,
    /// The SSH hosts to trust, as ~/.ssh/known_hosts has them
    #[arg(long, value_name = "FILE")]
    ssh_known_hosts: Option<PathBuf>,
    /// The only certificate authorities to trust for HTTPS, as PEM
    #[arg(long, value_name = "FILE")]
    certificate_authority: Option<PathBuf>,
}

/// How to log in to one repository.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Git options")]
pub struct GitAccess {
    /// The user for HTTP; the password comes from --password-file or $SKIFF_GIT_PASSWORD
    #[arg(long, value_name = "NAME", env = "SKIFF_GIT_USERNAME")]
    username: Option<String>,
    /// A file with the password or token for HTTP
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    #[command(flatten)]
    files: GitFiles,
}

/// How to log in, and as whom to commit.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Git options")]
pub struct GitLogin {
    #[command(flatten)]
    access: GitAccess,
    /// Sign commits with this SSH private key (ed25519 or ecdsa)
    #[arg(long, value_name = "FILE")]
    signing_key: Option<PathBuf>,
    /// Who commits
    #[arg(long, value_name = "NAME", default_value = "Skiff", env = "GIT_AUTHOR_NAME")]
    author_name: String,
    /// The address of whoever commits
    #[arg(long, value_name = "ADDRESS", default_value = "skiff@localhost", env = "GIT_AUTHOR_EMAIL")]
    author_email: String,
}

/// Why the options cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum GitLoginError {
    /// The repository's URL is none.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// A file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The signing key cannot be used.
    #[error(transparent)]
    SigningKey(#[from] SigningKeyError),
    /// Name or address cannot stand in a commit.
    #[error("--author-name and --author-email must be one line without '<' and '>', and not empty")]
    Author,
}

impl Classified for GitLoginError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Url(_) | Self::Author => ErrorKind::User,
            Self::Read { .. } | Self::SigningKey(_) => ErrorKind::Configuration,
        }
    }
}

impl GitFiles {
    /// The credentials for a repository.
    ///
    /// # Errors
    /// [`GitLoginError::Read`].
    pub fn credentials(&self, url: &RepoUrl) -> Result<Credentials, GitLoginError> {
        let mut credentials = Credentials::default();
        if let Some(file) = &self.git_credentials
            && let Some((user, password)) = stored(&read(file)?, url)
        {
            credentials.username = Some(user);
            credentials.password = Some(password);
            credentials.origins.push("--git-credentials".to_owned());
        }
        if self.ssh_private_key.is_some() && url.scheme() == Scheme::Ssh {
            credentials.origins.push("--ssh-private-key".to_owned());
        }
        credentials.ssh_private_key = self.ssh_private_key.as_deref().map(read).transpose()?.map(Masked::new);
        if let Some(file) = &self.ssh_known_hosts {
            credentials.known_hosts = Arc::new(KnownHosts::parse(&read(file)?));
        }
        if let Some(file) = &self.certificate_authority {
            credentials.certificate_authorities = Some(read(file)?.into());
        }
        Ok(credentials)
    }
}

impl GitAccess {
    /// The credentials for a repository.
    ///
    /// # Errors
    /// [`GitLoginError::Read`].
    pub fn credentials(&self, url: &RepoUrl) -> Result<Credentials, GitLoginError> {
        let credentials = self.files.credentials(url)?;
        let variable = env::var(PASSWORD_VARIABLE).ok().filter(|value| !value.is_empty());
        let password = match &self.password_file {
            Some(file) => Some(read(file)?.trim_end_matches(['\r', '\n']).to_owned()),
            None => variable,
        };
        if self.username.is_none() && password.is_none() {
            return Ok(credentials);
        }
        Ok(Credentials {
            username: self.username.clone(),
            password: password.map(Masked::new),
            ..credentials
        })
    }
}

impl GitLogin {
    /// The credentials for a repository.
    ///
    /// # Errors
    /// [`GitLoginError::Read`].
    pub fn credentials(&self, url: &RepoUrl) -> Result<Credentials, GitLoginError> {
        self.access.credentials(url)
    }

    /// With what commits are signed.
    ///
    /// # Errors
    /// [`GitLoginError::Read`], [`GitLoginError::SigningKey`].
    pub fn signing_key(&self) -> Result<Option<Arc<SigningKey>>, GitLoginError> {
        let Some(file) = &self.signing_key else { return Ok(None) };
        Ok(Some(Arc::new(SigningKey::parse(&read(file)?)?)))
    }

    /// Who commits.
    ///
    /// # Errors
    /// [`GitLoginError::Author`].
    pub fn author(&self) -> Result<Author, GitLoginError> {
        let (name, email) = (self.author_name.trim(), self.author_email.trim());
        let fits = |text: &str| !text.is_empty() && !text.contains(['<', '>', '\n', '\r', '\0']);
        if fits(name) && fits(email) { Ok(Author::new(name, email)) } else { Err(GitLoginError::Author) }
    }
}

/// User and password of the first line that is for the same scheme, host and port, and for no other path.
fn stored(text: &str, url: &RepoUrl) -> Option<(String, Masked)> {
    text.lines().take(MAX_CREDENTIAL_LINES).find_map(|line| {
        let entry = Url::parse(line.trim()).ok()?;
        let wanted = Url::parse(&url.to_string()).ok()?;
        let path = entry.path().trim_matches('/').trim_end_matches(".git");
        let same_place = entry.origin() == wanted.origin()
            && (path.is_empty() || path == wanted.path().trim_matches('/').trim_end_matches(".git"));
        let decoded = |text: &str| {
            let pairs = format!("x={}", text.replace('+', "%2B"));
            url::form_urlencoded::parse(pairs.as_bytes()).next().map(|(_, value)| value.into_owned())
        };
        same_place.then_some(())?;
        Some((decoded(entry.username())?, Masked::new(decoded(entry.password()?)?)))
    })
}

fn read(path: &Path) -> Result<String, GitLoginError> {
    fs::read_to_string(path)
        .map_err(|source| GitLoginError::Read { path: path.display().to_string(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_credentials_belong_to_one_host_and_path() {
        let text = "https://a:one@git.example.com:8443\nnonsense\nhttps://b:p%40ss+word@git.example.com\nhttps://c:three@other.example.com/shop/repo.git\n";
        let find = |url: &str| {
            stored(text, &RepoUrl::parse(url).unwrap())
                .map(|(user, password)| (user, password.reveal().clone()))
        };
        let some = |user: &str, password: &str| Some((user.to_owned(), password.to_owned()));
        assert_eq!(find("https://git.example.com/shop/repo"), some("b", "p@ss+word"));
        assert_eq!(find("https://git.example.com:8443/shop/repo"), some("a", "one"));
        assert_eq!(find("https://other.example.com/shop/repo"), some("c", "three"));
        assert_eq!(find("https://other.example.com/shop/else"), None);
        assert_eq!(find("http://git.example.com/shop/repo"), None);
    }
}
