//! Repository URLs: what Skiff accepts, and when two of them mean the same repository.

use std::fmt;

use sha2::{Digest as _, Sha256};
use url::{Host, Url};

use crate::masked::Masked;

/// URLs longer than this are refused.
const MAX_LENGTH: usize = 2048;

/// How a repository is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scheme {
    /// A directory on this machine.
    File,
    /// Smart HTTP without TLS.
    Http,
    /// Smart HTTP over TLS.
    Https,
    /// SSH, in URL or scp-like form.
    Ssh,
}

impl Scheme {
    fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Http => "http",
            Self::Https => "https",
            Self::Ssh => "ssh",
        }
    }

    fn default_port(self) -> u16 {
        match self {
            Self::File => 0,
            Self::Http => 80,
            Self::Https => 443,
            Self::Ssh => 22,
        }
    }
}

/// Why a text is no repository URL. The text is shown without user information.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "repository URL {url:?} {problem}: write https://host/path, http://host/path, ssh://user@host/path, user@host:path or file:///path"
)]
pub struct UrlError {
    url: String,
    problem: &'static str,
}

/// A repository URL that has been taken apart and checked. `Display` and `Debug` show it without user information
/// (for SSH with the user name, which is part of the address and no secret).
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RepoUrl {
    scheme: Scheme,
    host: String,
    port: u16,
    /// Begins with `/`, or with `~` or a name for an SSH path relative to the login directory.
    path: String,
    user: Option<String>,
    password: Option<Masked>,
}

impl RepoUrl {
    /// Reads `file:`, `http:`, `https:` and `ssh:` URLs and the scp-like form `user@host:path`.
    ///
    /// # Errors
    /// [`UrlError`]: other schemes and Git's `transport::address`, parts that begin with `-`, control characters, `..`,
    /// a query or fragment, no path.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let url = Self::parse_prefix(text)?;
        if url.path.trim_matches('/').is_empty() {
            return Err(error(text, "has no path"));
        }
        Ok(url)
    }

    /// As [`RepoUrl::parse`], but the path may be missing: the `url` of a credential template.
    pub(super) fn parse_prefix(text: &str) -> Result<Self, UrlError> {
        let text = text.trim();
        let fail = |problem| error(text, problem);
        if text.len() > MAX_LENGTH {
            return Err(fail("is longer than 2048 bytes"));
        }
        if text.is_empty() {
            return Err(fail("is empty"));
        }
        if text.chars().any(|c| c.is_control() || c.is_whitespace() || c == '\\') {
            return Err(fail("holds spaces, backslashes or control characters"));
        }
        if text.starts_with('-') {
            return Err(fail("begins with '-'"));
        }
        let parsed = match text.split_once("://") {
            Some((scheme, _)) => Self::from_url(scheme, text)?,
            None => Self::from_scp_like(text)?,
        };
        for part in [Some(&parsed.host), parsed.user.as_ref(), Some(&parsed.path)].into_iter().flatten() {
            if part.trim_start_matches('/').starts_with('-') {
                return Err(fail("has a part that begins with '-'"));
            }
        }
        Ok(parsed)
    }

    fn from_url(scheme: &str, text: &str) -> Result<Self, UrlError> {
        let fail = |problem| error(text, problem);
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "file" => Scheme::File,
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            "ssh" | "git+ssh" => Scheme::Ssh,
            _ => return Err(fail("has a scheme that Skiff does not read")),
        };
        // Looked at in the raw text, because `Url` resolves `..` away.
        if percent_decoded(text).split('/').any(|component| component == "..") {
            return Err(fail("holds '..'"));
        }
        let url = Url::parse(text).map_err(|_| fail("is not a valid URL"))?;
        if url.query().is_some() || url.fragment().is_some() {
            return Err(fail("holds a query or a fragment ('?', '#')"));
        }
        let host = match url.host() {
            Some(Host::Ipv6(address)) => format!("[{address}]"),
            Some(host) => host.to_string().to_ascii_lowercase(),
            None => String::new(),
        };
        if (scheme == Scheme::File) != host.is_empty() {
            return Err(fail(if host.is_empty() {
                "has no host"
            } else {
                "names a host, which file:// cannot reach"
            }));
        }
        let port = url.port().unwrap_or_else(|| scheme.default_port());
        let user = Some(percent_decoded(url.username())).filter(|user| !user.is_empty());
        let password = url.password().map(|password| Masked::new(percent_decoded(password)));
        if percent_decoded(url.path()).chars().any(char::is_control) {
            return Err(fail("holds spaces, backslashes or control characters"));
        }
        let path = if scheme == Scheme::Ssh || scheme == Scheme::File {
            percent_decoded(url.path())
        } else {
            url.path().to_owned()
        };
        Ok(Self { scheme, host, port, path, user, password })
    }

    fn from_scp_like(text: &str) -> Result<Self, UrlError> {
        let fail = |problem| error(text, problem);
        let (address, path) = text.split_once(':').ok_or_else(|| fail("has no scheme"))?;
        if path.starts_with(':') {
            return Err(fail("names a transport helper, which Skiff does not run"));
        }
        let (user, host) = match address.split_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, address),
        };
        let in_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if host.is_empty() || !host.chars().all(in_host) {
            return Err(fail("has no valid host"));
        }
        let in_user = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '+');
        if user.is_some_and(|user| user.is_empty() || !user.chars().all(in_user)) {
            return Err(fail("has no valid user name"));
        }
        // `C:/path` and a bare `host:path` cannot be told apart; Argo CD knows the scp-like form by its user name, too.
        let user = user.ok_or_else(|| fail("has neither a scheme nor a user name"))?;
        if path.split('/').any(|component| component == "..") {
            return Err(fail("holds '..'"));
        }
        Ok(Self {
            scheme: Scheme::Ssh,
            host: host.to_ascii_lowercase(),
            port: Scheme::Ssh.default_port(),
            path: path.to_owned(),
            user: Some(user.to_owned()),
            password: None,
        })
    }

    /// How the repository is reached.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The host in lower case, IPv6 addresses in brackets; empty for `file`.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, the scheme's own where the URL names none.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The path on the host.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The user to log in as over SSH.
    pub(super) fn ssh_user(&self) -> &str {
        self.user.as_deref().unwrap_or("git")
    }

    /// Whether a text that is meant as a URL holds a password, as far as can be told of one that is none.
    pub fn shows_password(text: &str) -> bool {
        Self::parse(text).map_or_else(|_| text.contains('@'), |url| url.password.is_some())
    }

    /// User name and password that stand in the URL itself.
    pub(super) fn user_info(&self) -> (Option<&str>, Option<&Masked>) {
        (self.user.as_deref(), self.password.as_ref())
    }

    /// The form in which Argo CD compares repository URLs: lower case, no `.git` at the end, no `ssh://`, the scp-like form
    /// with a slash for its colon. No password, and a user name only for SSH.
    pub fn normalized(&self) -> String {
        let path = self.path.to_lowercase();
        let path = path.trim_matches('/');
        let path = path.strip_suffix(".git").unwrap_or(path);
        match self.scheme {
            Scheme::File => format!("file:///{path}"),
            Scheme::Http | Scheme::Https => format!("{}://{}/{path}", self.scheme.name(), self.authority()),
            Scheme::Ssh => match &self.user {
                Some(user) => format!("{}@{}/{path}", user.to_lowercase(), self.authority()),
                None => format!("{}/{path}", self.authority()),
            },
        }
    }

    /// Whether this URL lies at or below a credential template's: same scheme, host, port and (SSH) user, and a path that
    /// begins with all components of the template's path.
    pub(super) fn is_within(&self, prefix: &Self) -> bool {
        let same_user = prefix.user.is_none() || self.ssh_user() == prefix.ssh_user();
        if (self.scheme, &self.host, self.port) != (prefix.scheme, &prefix.host, prefix.port)
            || (self.scheme == Scheme::Ssh && !same_user)
        {
            return false;
        }
        let components = |url: &Self| -> Vec<String> {
            let path = url.path.to_lowercase();
            let path = path.strip_suffix(".git").unwrap_or(&path);
            path.split('/').filter(|component| !component.is_empty()).map(ToOwned::to_owned).collect()
        };
        components(self).starts_with(&components(prefix))
    }

    /// The name of the mirror's directory. It distinguishes more than [`RepoUrl::normalized`]: paths keep their case, and
    /// directories of this machine their `.git`, because there they can be different repositories.
    pub(super) fn mirror_name(&self) -> String {
        let path = match self.scheme {
            Scheme::File => self.path.as_str(),
            _ => self.path.trim_matches('/').strip_suffix(".git").unwrap_or(self.path.trim_matches('/')),
        };
        let user = self.user.as_deref().filter(|_| self.scheme == Scheme::Ssh).unwrap_or_default();
        let key = format!("{}://{user}@{}:{}/{path}", self.scheme.name(), self.host, self.port);
        Sha256::digest(key).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }

    /// The URL for libgit2: built from the parts that were checked, without user information but for SSH's user name.
    pub(super) fn for_libgit2(&self) -> String {
        match self.scheme {
            Scheme::File => format!("file://{}", percent_encoded(&self.path)),
            Scheme::Http | Scheme::Https => {
                format!("{}://{}{}", self.scheme.name(), self.authority(), self.path)
            }
            Scheme::Ssh => {
                let user = percent_encoded(self.ssh_user());
                // After a slash, `~` and `./` lead to the login directory as the scp-like form does.
                let path = match self.path.strip_prefix('/') {
                    Some(_) => percent_encoded(&self.path),
                    None if self.path.starts_with('~') => format!("/{}", percent_encoded(&self.path)),
                    None => format!("/./{}", percent_encoded(&self.path)),
                };
                format!("ssh://{user}@{}:{}{path}", self.host, self.port)
            }
        }
    }

    /// `host`, or `host:port` where the port is not the scheme's own.
    pub(super) fn authority(&self) -> String {
        if self.port == self.scheme.default_port() {
            self.host.clone()
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for RepoUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.scheme, &self.user) {
            (Scheme::Ssh, Some(user)) if !self.path.starts_with('/') => {
                write!(f, "{user}@{}:{}", self.host, self.path)
            }
            (Scheme::Ssh, Some(user)) => write!(f, "ssh://{user}@{}{}", self.authority(), self.path),
            (Scheme::File, _) => write!(f, "file://{}", self.path),
            _ => write!(f, "{}://{}{}", self.scheme.name(), self.authority(), self.path),
        }
    }
}

impl fmt::Debug for RepoUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{self}'")
    }
}

/// An error about a text that may hold a password in any odd place: everything between `//` and the last `@` goes.
fn error(text: &str, problem: &'static str) -> UrlError {
    let text: String = text.chars().filter(|c| !c.is_control()).take(200).collect();
    let url = match (text.split_once("://"), text.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://{host}"),
        (None, Some((_, host))) => host.to_owned(),
        _ => text,
    };
    UrlError { url, problem }
}

pub(super) fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let digit = |offset: usize| rest.clone().nth(offset).and_then(|digit| char::from(digit).to_digit(16));
        let decoded = match (byte, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => u8::try_from(high * 16 + low).ok(),
            _ => None,
        };
        if decoded.is_some() {
            rest.nth(1);
        }
        bytes.push(decoded.unwrap_or(byte));
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn percent_encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~+@".contains(&byte);
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

#[cfg(test)]
mod tests;
