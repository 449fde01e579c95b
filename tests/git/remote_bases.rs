//! `skiff render` with remote bases as a person runs it: the binary, a real server, its credentials.

use std::process::Command;

use tempfile::TempDir;

use crate::{
    http_server::{Behaviour, HttpServer},
    ssh_server::SshServer,
    world::{Upstream, write},
};

const CONFIG_MAP: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: settings\n";

/// A repository with a base, which uses another one beside it.
fn bases() -> Upstream {
    let upstream = Upstream::empty();
    let changes = [
        write("shared/kustomization.yaml", "resources: [settings.yaml]\n"),
        write("shared/settings.yaml", CONFIG_MAP),
        write("web/kustomization.yaml", "resources: [../shared]\nnamePrefix: web-\n"),
    ];
    upstream.commit("main", &changes);
    upstream.git(&["tag", "v1", "main"]);
    upstream.commit("main", &[write("web/kustomization.yaml", "resources: [../shared]\nnamePrefix: new-\n")]);
    upstream
}

/// A directory with an overlay of that base, and what a login needs.
struct Overlay(TempDir);

impl Overlay {
    fn of(base: &str) -> Self {
        let overlay = Self(TempDir::new().unwrap());
        overlay.write("kustomization.yaml", &format!("resources: ['{base}']\nnameSuffix: -dev\n"));
        overlay
    }

    fn write(&self, name: &str, text: &str) -> String {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path.display().to_string()
    }

    /// Exit code, output and messages.
    async fn render(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_skiff"));
        command.arg("render").arg(self.0.path()).args(arguments);
        command.arg("--cache-dir").arg(self.0.path().join("cache"));
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    }
}

fn named(name: &str) -> String {
    CONFIG_MAP.replace("settings", name)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_base_over_http_is_fetched_with_the_password_of_its_host() {
    let upstream = bases();
    let server = HttpServer::start(&upstream, Behaviour::basic("ci", "hush-hush")).await;
    let base = server.base();
    let overlay = Overlay::of(&format!("{base}/repo//web?ref=v1"));
    let stored =
        overlay.write("credentials", &format!("{}\n", base.replace("http://", "http://ci:hush-hush@")));
    let login = ["--git-credentials", &stored];
    assert_eq!(overlay.render(&login).await, (Some(0), named("web-settings-dev"), String::new()));

    let newest = Overlay::of(&format!("{base}/repo//web"));
    assert_eq!(newest.render(&login).await.1, named("new-settings-dev"));

    let (code, output, message) = Overlay::of(&format!("{base}/repo//web")).render(&[]).await;
    assert_eq!((code, output.as_str()), (Some(2), ""));
    assert!(
        message.contains("remote base") && message.contains("to a command by its Git options"),
        "{message}"
    );

    let (_, _, message) = Overlay::of(&format!("{base}/repo//web?ref=v2")).render(&login).await;
    assert!(message.contains("?ref=v2'") && !message.contains("hush-hush"), "{message}");
    let (_, _, message) = Overlay::of(&format!("{base}/repo//missing?ref=v1")).render(&login).await;
    assert!(message.contains("missing' does not exist"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_base_over_ssh_is_fetched_with_a_key_from_a_host_that_is_trusted() {
    let upstream = bases();
    let server = SshServer::start(&["ed25519"]);
    let overlay = Overlay::of(&format!("{}//web?ref=v1", server.url(&upstream)));
    let key = overlay.write("key", &server.client_key());
    let hosts = overlay.write("known_hosts", &format!("{}\n", server.known_host("ed25519").trim()));
    let login = ["--ssh-private-key", &key, "--ssh-known-hosts", &hosts];
    assert_eq!(overlay.render(&login).await, (Some(0), named("web-settings-dev"), String::new()));

    let stranger = overlay.write("stranger", &server.other_key());
    let fresh = || Overlay::of(&format!("{}//web?ref=v1", server.url(&upstream)));
    let (code, _, message) =
        fresh().render(&["--ssh-private-key", &stranger, "--ssh-known-hosts", &hosts]).await;
    assert_eq!(code, Some(2), "{message}");
    assert!(message.contains("refused the credentials of --ssh-private-key"), "{message}");
    let nobody = overlay.write("nobody", "");
    let (code, _, message) = fresh().render(&["--ssh-private-key", &key, "--ssh-known-hosts", &nobody]).await;
    assert_eq!(code, Some(2), "{message}");
    assert!(message.contains("or to the file of --ssh-known-hosts"), "{message}");
}
