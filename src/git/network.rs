//! One network step: a thread of its own, a deadline, and an error that says what happened.
//!
//! libgit2 blocks, and while it connects nothing can stop it. So a step runs on its own thread, which owns whatever bounds
//! the number of steps; the caller waits until the deadline and then leaves the thread behind. What keeps a server's place
//! occupied is thus the thread, not the caller: a server that hangs uses up its own places and nobody else's.

use std::{
    cell::{Cell, RefCell},
    future::Future,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use git2::{CertificateCheckStatus, Cred, CredentialType, ErrorClass, ErrorCode, RemoteCallbacks};
use sha2::{Digest as _, Sha256};
use tokio::{
    runtime::Handle,
    sync::oneshot,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{
    credentials::Credentials,
    error::GitError,
    known_hosts::Trust,
    libgit2,
    mirror::is_damage,
    url::{RepoUrl, Scheme},
};

/// A kind of network request, as Argo CD's metrics tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Request {
    /// Listing the references.
    LsRemote,
    /// Fetching commits.
    Fetch,
}

impl Request {
    /// The value of the metric label `request_type`.
    pub fn label(self) -> &'static str {
        match self {
            Self::LsRemote => "ls-remote",
            Self::Fetch => "fetch",
        }
    }
}

/// Is told about each request to a server once it has ended.
pub trait GitObserver: Send + Sync {
    /// `repository` is the URL without user information; `ok` whether the request succeeded.
    fn request(&self, repository: &RepoUrl, request: Request, duration: Duration, ok: bool);

    /// A request begins (`1`) or ceases (`-1`) to wait until the repository is free.
    fn waiting(&self, _repository: &RepoUrl, _change: i64) {}

    /// A server has shown this certificate (DER) for its host.
    fn server_certificate(&self, _host: &str, _der: &[u8]) {}
}

/// What a network step works with; shared by the caller, the thread and the callbacks of libgit2.
pub(super) struct Step {
    pub url: RepoUrl,
    pub credentials: Credentials,
    /// "listing the references", "fetching".
    pub name: &'static str,
    pub limit: Duration,
    pub deadline: Instant,
    pub cancel: CancellationToken,
    pub runtime: Handle,
    /// Bytes that may be received.
    pub max_bytes: u64,
    /// The host that was connected to last, and the certificate (DER) that it has shown.
    pub server_certificate: Mutex<Option<(String, Vec<u8>)>>,
    /// The first thing that went wrong where libgit2's own error would say less.
    failure: Mutex<Option<GitError>>,
}

thread_local! {
    /// The step of this thread, for transports, which libgit2 makes by itself.
    static CURRENT: RefCell<Option<Arc<Step>>> = const { RefCell::new(None) };
}

impl Step {
    /// A step that begins now. It ends when `cancel` is cancelled.
    pub(super) fn new(
        url: &RepoUrl,
        credentials: &Credentials,
        name: &'static str,
        limit: Duration,
        max_bytes: u64,
        cancel: &CancellationToken,
    ) -> Self {
        Self {
            url: url.clone(),
            credentials: credentials.clone(),
            name,
            limit,
            deadline: Instant::now() + limit,
            cancel: cancel.child_token(),
            runtime: Handle::current(),
            max_bytes,
            server_certificate: Mutex::new(None),
            failure: Mutex::new(None),
        }
    }

    /// The step of this thread.
    pub(super) fn current() -> Option<Arc<Self>> {
        CURRENT.with(|current| current.borrow().clone())
    }

    pub(super) fn repository(&self) -> String {
        self.url.to_string()
    }

    /// Waits for something within the step's time.
    pub(super) async fn within<T>(&self, future: impl Future<Output = T>) -> Result<T, GitError> {
        tokio::select! {
            biased;
            value = future => Ok(value),
            () = self.cancel.cancelled() => Err(self.stopped()),
            () = sleep_until(self.deadline) => Err(self.stopped()),
        }
    }

    /// Runs `work` on a thread that owns `places` until it ends, which may be after this has returned. Gives them back with
    /// the result, so that nobody else has their turn before the caller has made use of it.
    pub(super) async fn run<T, P, W>(self: Arc<Self>, places: P, work: W) -> Result<(T, P), GitError>
    where
        T: Send + 'static,
        P: Send + 'static,
        W: FnOnce(&Arc<Self>) -> Result<T, GitError> + Send + 'static,
    {
        let problem = (!self.credentials.unsupported.is_empty()).then(|| {
            format!(
                "field '{}' is not supported yet; use another way to log in",
                self.credentials.unsupported.join("', '")
            )
        });
        if let Some(problem) = problem {
            return Err(GitError::Settings { repository: self.repository(), problem });
        }
        if self.url.scheme() == Scheme::Ssh {
            libgit2::prefer_keys_of(&self.credentials.known_hosts);
        }
        let (send, receive) = oneshot::channel();
        let step = Arc::clone(&self);
        let thread = thread::Builder::new().name("git".to_owned()).spawn(move || {
            CURRENT.set(Some(Arc::clone(&step)));
            let result = work(&step).map(|result| (result, places));
            // The caller may be gone.
            let _ = send.send(result);
        });
        if let Err(error) = thread {
            return Err(self.failed(&format!("cannot start a thread: {error}")));
        }
        // Whatever ends this future, be it that the caller drops it, also ends the work.
        let _guard = self.cancel.clone().drop_guard();
        match self.within(receive).await? {
            Ok(result) => result,
            Err(_) => Err(self.failed("the thread ended without a result")),
        }
    }

    /// The error of a step that was cancelled or is past its deadline.
    fn stopped(&self) -> GitError {
        let (repository, step) = (self.repository(), self.name.to_owned());
        if Instant::now() >= self.deadline {
            GitError::Timeout { repository, step, limit: self.limit }
        } else {
            GitError::Cancelled { repository, step }
        }
    }

    fn is_stopped(&self) -> bool {
        self.cancel.is_cancelled() || Instant::now() >= self.deadline
    }

    /// A [`GitError::Network`] of this step.
    pub(super) fn failed(&self, problem: &str) -> GitError {
        GitError::Network {
            repository: self.repository(),
            step: self.name.to_owned(),
            problem: problem.trim().to_owned(),
        }
    }

    /// Keeps an error for [`Step::classify`], and gives one that libgit2 can carry.
    pub(super) fn fail(&self, error: GitError) -> git2::Error {
        let text = error.to_string();
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        git2::Error::new(ErrorCode::User, ErrorClass::Callback, text)
    }

    /// What an error of libgit2 means.
    pub(super) fn classify(&self, error: git2::Error) -> GitError {
        if let Some(failure) = self.failure.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return failure;
        }
        if self.is_stopped() {
            return self.stopped();
        }
        let repository = self.repository();
        let is_file = self.url.scheme() == Scheme::File;
        match (error.code(), error.class()) {
            (ErrorCode::NotFound, _) if is_file => GitError::NotFound { repository },
            (_, ErrorClass::Os) if is_file && !Path::new(self.url.path()).exists() => {
                GitError::NotFound { repository }
            }
            (ErrorCode::Auth, _) => self.refused(),
            (ErrorCode::Certificate, _) => {
                GitError::HostKey { repository, problem: error.message().to_owned() }
            }
            // Of the network, though libgit2 files it under the system.
            (_, ErrorClass::Os) if !is_file && error.message().starts_with("failed to connect") => {
                self.failed(&format!("{}; check host and port", error.message()))
            }
            (_, ErrorClass::Os | ErrorClass::Filesystem | ErrorClass::NoMemory) => {
                GitError::Mirror { repository, source: Box::new(error) }
            }
            (_, ErrorClass::Ssh) if error.message().contains("failed to authenticate") => {
                let problem = format!(
                    "{}; set the field sshPrivateKey to a private key in PEM or OpenSSH format without passphrase",
                    error.message()
                );
                GitError::Authentication { repository, problem }
            }
            _ if self.url.scheme() == Scheme::Ssh && is_not_found(error.message()) => {
                GitError::NotFound { repository }
            }
            _ if is_damage(&error) => GitError::Mirror { repository, source: Box::new(error) },
            _ => self.failed(error.message()),
        }
    }

    /// The error for credentials that the server does not accept.
    pub(super) fn refused(&self) -> GitError {
        // No Secret's name begins like an option or a variable.
        let named = |origin: &String| match origin.starts_with(['-', '$']) {
            true => origin.clone(),
            false => format!("Secret '{origin}'"),
        };
        let origins = self.credentials.origins.iter().map(named).collect::<Vec<_>>().join(" and ");
        let problem = if self.credentials.origins.is_empty() && self.url.user_info().1.is_none() {
            "the server asks for credentials and there are none (some servers do so for repositories that do not exist, \
             too); check the URL, or give credentials: to the agent in a Secret with label \
             argocd.argoproj.io/secret-type=repository or repo-creds for this URL, to a command by its Git options"
                .to_owned()
        } else if origins.is_empty() {
            "the server refused the credentials in the URL; correct them, better in a repository Secret"
                .to_owned()
        } else {
            format!("the server refused the credentials of {origins}; correct them")
        };
        GitError::Authentication { repository: self.repository(), problem }
    }

    /// Callbacks for libgit2: they log in over SSH, check host keys, and stop the transfer when its time is over.
    pub(super) fn callbacks(self: &Arc<Self>) -> RemoteCallbacks<'static> {
        let mut callbacks = RemoteCallbacks::new();
        let step = Arc::clone(self);
        callbacks.transfer_progress(move |progress| {
            if u64::try_from(progress.received_bytes()).is_ok_and(|bytes| bytes > step.max_bytes) {
                step.fail(step.over_limit());
                return false;
            }
            !step.is_stopped()
        });
        let step = Arc::clone(self);
        callbacks.sideband_progress(move |_| !step.is_stopped());
        let step = Arc::clone(self);
        let tried = Cell::new(false);
        callbacks.credentials(move |_, _, allowed| step.log_in(allowed, &tried));
        let step = Arc::clone(self);
        callbacks.certificate_check(move |certificate, _| match certificate.as_hostkey() {
            Some(host_key) => step.check_host_key(host_key.hostkey().unwrap_or_default()),
            None => Err(git2::Error::from_str("certificates are checked by the transport")),
        });
        callbacks
    }

    pub(super) fn over_limit(&self) -> GitError {
        let limit =
            format!("more than {} bytes to receive; see the agent's limit for one fetch", self.max_bytes);
        GitError::Limit { repository: self.repository(), limit }
    }

    fn log_in(&self, allowed: CredentialType, tried: &Cell<bool>) -> Result<Cred, git2::Error> {
        let user = self.url.ssh_user();
        if allowed.contains(CredentialType::USERNAME) {
            return Cred::username(user);
        }
        // Called again after the server has said no.
        if tried.replace(true) {
            return Err(self.fail(self.refused()));
        }
        let password = self.credentials.password.as_ref().or(self.url.user_info().1);
        match (&self.credentials.ssh_private_key, password) {
            (Some(key), _) if allowed.contains(CredentialType::SSH_MEMORY) => {
                let mut key = key.reveal().trim().to_owned();
                key.push('\n');
                Cred::ssh_key_from_memory(user, None, &key, None)
            }
            (_, Some(password)) if allowed.contains(CredentialType::USER_PASS_PLAINTEXT) => {
                Cred::userpass_plaintext(user, password.reveal())
            }
            _ => {
                let problem = "the server accepts SSH keys and there is none for it; give one: to the agent in a Secret with label \
                               argocd.argoproj.io/secret-type=repository for this URL with the field sshPrivateKey, to \
                               a command by --ssh-private-key"
                    .to_owned();
                Err(self.fail(GitError::Authentication { repository: self.repository(), problem }))
            }
        }
    }

    fn check_host_key(&self, key: &[u8]) -> Result<CertificateCheckStatus, git2::Error> {
        if self.credentials.insecure {
            return Ok(CertificateCheckStatus::CertificateOk);
        }
        let (host, port) = (self.url.host(), self.url.port());
        let fingerprint = format!("SHA256:{}", STANDARD_NO_PAD.encode(Sha256::digest(key)));
        let problem = match self.credentials.known_hosts.check(host, port, key) {
            Trust::Known if !key.is_empty() => return Ok(CertificateCheckStatus::CertificateOk),
            Trust::Revoked => format!("its key {fingerprint} is marked as revoked"),
            Trust::Different => format!(
                "its key {fingerprint} is not one of those known for it: either the server was given a new key, or \
                 somebody stands in between; once it is verified, correct ConfigMap argocd-ssh-known-hosts-cm, or the file of --ssh-known-hosts"
            ),
            _ => format!(
                "no key is known for {host} at port {port}; once {fingerprint} is verified, add the output of \
                 `ssh-keyscan -p {port} {host}` to ConfigMap argocd-ssh-known-hosts-cm, or to the file of --ssh-known-hosts"
            ),
        };
        Err(self.fail(GitError::HostKey { repository: self.repository(), problem }))
    }
}

/// Whether this is how SSH servers (OpenSSH with Git; GitHub; GitLab) say that there is no such repository.
fn is_not_found(message: &str) -> bool {
    ["does not appear to be a git repository", "Repository not found", "could not be found"]
        .iter()
        .any(|sign| message.contains(sign))
}
