//! An OpenSSH server on a port of its own.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use skiff::git::RepoUrl;
use tempfile::TempDir;

use crate::world::Upstream;

const SSHD: &str = "/usr/sbin/sshd";

/// The server; it ends with this value.
pub struct SshServer {
    directory: TempDir,
    port: u16,
    child: Child,
}

impl Drop for SshServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Makes a key pair and returns the private key's path.
fn make_key(directory: &Path, name: &str, kind: &str) -> PathBuf {
    let path = directory.join(name);
    let mut command = Command::new("ssh-keygen");
    command.args(["-q", "-N", "", "-C", "test", "-t", kind, "-f"]).arg(&path);
    let status = command.status().expect("`ssh-keygen` runs; install the package openssh-client");
    assert!(status.success());
    path
}

impl SshServer {
    /// A server with these kinds of host key, which lets in whoever has [`SshServer::client_key`].
    pub fn start(host_key_kinds: &[&str]) -> Self {
        assert!(Path::new(SSHD).exists(), "{SSHD} is missing; install the package openssh-server");
        // Where sshd gives up its privileges; the package's service makes it at boot.
        let _ = fs::create_dir_all("/run/sshd");
        let directory = TempDir::new().unwrap();
        let path = directory.path();
        make_key(path, "client", "ed25519");
        fs::copy(path.join("client.pub"), path.join("authorized_keys")).unwrap();
        let mut config = format!(
            "ListenAddress 127.0.0.1\nPidFile none\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n\
             KbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\nAuthorizedKeysFile {}\n",
            path.join("authorized_keys").display()
        );
        for kind in host_key_kinds {
            let key = make_key(path, &format!("host_{kind}"), kind);
            config += &format!("HostKey {}\n", key.display());
        }
        fs::write(path.join("config"), config).unwrap();
        // Another process may take the port in between, so a server that does not come up gets another one.
        for _ in 0..5 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let mut command = Command::new(SSHD);
            command.arg("-D").arg("-f").arg(path.join("config")).args(["-p", &port.to_string()]);
            command.arg("-E").arg(path.join("log"));
            let mut child =
                command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            let deadline = Instant::now() + Duration::from_secs(10);
            while Instant::now() < deadline && child.try_wait().unwrap().is_none() {
                if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                    return Self { directory, port, child };
                }
                std::thread::yield_now();
            }
            let _ = child.kill();
            let _ = child.wait();
        }
        panic!(
            "sshd does not start: {}",
            fs::read_to_string(directory.path().join("log")).unwrap_or_default()
        );
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.directory.path().join(name)).unwrap()
    }

    pub fn client_key(&self) -> String {
        self.read("client")
    }

    /// A key that the server does not know.
    pub fn other_key(&self) -> String {
        make_key(self.directory.path(), "other", "ed25519");
        self.read("other")
    }

    /// The line of `known_hosts` for one of the host keys.
    pub fn known_host(&self, kind: &str) -> String {
        format!("[127.0.0.1]:{} {}", self.port, self.read(&format!("host_{kind}.pub")))
    }

    pub fn log(&self) -> String {
        self.read("log")
    }

    pub fn url(&self, upstream: &Upstream) -> RepoUrl {
        let user = Command::new("id").arg("-un").output().unwrap().stdout;
        let user = String::from_utf8(user).unwrap();
        let path = upstream.directory();
        RepoUrl::parse(&format!("ssh://{}@127.0.0.1:{}{}", user.trim(), self.port, path.display())).unwrap()
    }
}
