use std::sync::Arc;

use skiff::{
    error::{Classified as _, ErrorKind},
    git::{Credentials, GitError, KnownHosts, RepoUrl},
    masked::Masked,
};

use tokio::sync::Mutex;

use crate::{
    ssh_server::SshServer,
    world::{Reader, Upstream, write},
};

/// libgit2 knows one list of preferred keys in a process, so these tests take turns.
static TURN: Mutex<()> = Mutex::const_new(());

fn credentials(key: String, known_hosts: &str) -> Credentials {
    Credentials {
        ssh_private_key: Some(Masked::new(key)),
        known_hosts: Arc::new(KnownHosts::parse(known_hosts)),
        origins: vec!["repo-secret".to_owned()],
        ..Credentials::default()
    }
}

#[tokio::test]
async fn a_repository_is_read_with_a_key_from_a_known_host() {
    let _turn = TURN.lock().await;
    let (upstream, server) = (Upstream::new(), SshServer::start(&["ed25519"]));
    let known = server.known_host("ed25519");
    let reader = Reader::new().with_credentials(credentials(server.client_key(), &known));
    let url = server.url(&upstream);
    assert_eq!(reader.read(&url, "main", "file").await.unwrap(), "one");
    upstream.commit("main", &[write("file", "two")]);
    assert_eq!(reader.read(&url, "main", "file").await.unwrap(), "two");
    assert!(reader.mirror().join("shallow").exists());
    // A key whose last line break was lost on its way through a form is still a key.
    let trimmed = credentials(server.client_key().trim().to_owned(), &known);
    assert_eq!(Reader::new().with_credentials(trimmed).read(&url, "main", "file").await.unwrap(), "two");
}

#[tokio::test]
async fn a_host_that_is_not_known_gets_no_login() {
    let _turn = TURN.lock().await;
    let (upstream, server) = (Upstream::new(), SshServer::start(&["ed25519"]));
    let other = SshServer::start(&["ed25519"]);
    let known = server.known_host("ed25519");
    let other_key = other.known_host("ed25519");
    let changed = format!("{} {}", known.split(' ').next().unwrap(), other_key.split_once(' ').unwrap().1);
    let revoked = format!("{known}\n@revoked {known}");
    let url = server.url(&upstream);
    for (known_hosts, reason) in [
        ("", "no key is known for 127.0.0.1"),
        (&*other_key, "no key is known for 127.0.0.1"),
        (&*changed, "is not one of those known for it"),
        (&*revoked, "is marked as revoked"),
    ] {
        let reader = Reader::new().with_credentials(credentials(server.client_key(), known_hosts));
        let error = reader.references(&url).await.unwrap_err();
        assert!(matches!(error, GitError::HostKey { .. }), "{error:?}");
        assert_eq!(error.kind(), ErrorKind::Configuration);
        assert!(error.to_string().contains(reason), "{error}");
    }
    assert!(!server.log().contains("Accepted"), "{}", server.log());
    let insecure = Credentials { insecure: true, ..credentials(server.client_key(), "") };
    assert_eq!(Reader::new().with_credentials(insecure).read(&url, "main", "file").await.unwrap(), "one");
}

#[tokio::test]
async fn a_key_that_the_server_does_not_accept_is_tried_once() {
    let _turn = TURN.lock().await;
    let (upstream, server) = (Upstream::new(), SshServer::start(&["ed25519"]));
    let (known, url) = (server.known_host("ed25519"), server.url(&upstream));
    let wrong = Reader::new().with_credentials(credentials(server.other_key(), &known));
    let error = wrong.references(&url).await.unwrap_err();
    assert!(matches!(error, GitError::Authentication { .. }), "{error:?}");
    assert!(error.to_string().contains("Secret 'repo-secret'"), "{error}");

    let none = Credentials { ssh_private_key: None, ..credentials(String::new(), &known) };
    let error = Reader::new().with_credentials(none).references(&url).await.unwrap_err();
    assert!(error.to_string().contains("sshPrivateKey"), "{error}");

    let rubbish = Reader::new().with_credentials(credentials("canary".to_owned(), &known));
    let error = rubbish.references(&url).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration, "{error:?}");
    assert!(!format!("{error:?}").contains("canary"), "{error:?}");
}

#[tokio::test]
async fn a_repository_that_is_not_there_is_the_users_to_correct() {
    let _turn = TURN.lock().await;
    let (upstream, server) = (Upstream::new(), SshServer::start(&["ed25519"]));
    let reader =
        Reader::new().with_credentials(credentials(server.client_key(), &server.known_host("ed25519")));
    let url = server.url(&upstream);
    std::fs::remove_dir_all(upstream.directory()).unwrap();
    let error = reader.references(&url).await.unwrap_err();
    assert!(matches!(error, GitError::NotFound { .. }), "{error:?}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_told_as_such() {
    let _turn = TURN.lock().await;
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = RepoUrl::parse(&format!("ssh://git@127.0.0.1:{port}/shop.git")).unwrap();
    let error = Reader::new().references(&url).await.unwrap_err();
    assert!(matches!(error, GitError::Network { .. }), "{error:?}");
    assert!(error.to_string().contains("failed to connect to 127.0.0.1"), "{error}");
}

#[tokio::test]
async fn a_host_with_several_keys_is_asked_for_one_that_is_known() {
    let _turn = TURN.lock().await;
    let kinds = ["ecdsa", "ed25519", "rsa"];
    let (upstream, server) = (Upstream::new(), SshServer::start(&kinds));
    for kind in kinds {
        let known = credentials(server.client_key(), &server.known_host(kind));
        let reader = Reader::new().with_credentials(known);
        assert_eq!(reader.read(&server.url(&upstream), "main", "file").await.unwrap(), "one", "{kind}");
    }
}
