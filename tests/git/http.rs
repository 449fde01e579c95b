use std::{sync::Arc, time::Duration};

use hyper::Method;
use skiff::{
    error::{Classified as _, ErrorKind, chain},
    files::Tree as _,
    git::{Credentials, GitError, RepoUrl, Request},
    masked::Masked,
};
use tempfile::TempDir;

use crate::{
    http_server::{Behaviour, HttpProxy, HttpServer, basic},
    world::{Reader, Upstream, path, write},
};

fn password(user: &str, password: &str) -> Credentials {
    Credentials {
        username: Some(user.to_owned()),
        password: Some(Masked::new(password.to_owned())),
        origins: vec!["repo-secret".to_owned()],
        ..Credentials::default()
    }
}

fn hasty() -> Reader {
    Reader::with(Arc::new(TempDir::new().unwrap()), |options| {
        options.list_timeout = Duration::from_millis(300);
        options.fetch_timeout = Duration::from_millis(300);
    })
}

#[tokio::test]
async fn only_the_newest_commit_is_fetched() {
    let upstream = Upstream::new();
    upstream.commit("main", &[write("file", "two")]);
    let server = HttpServer::start(&upstream, Behaviour::Serve).await;
    let (reader, url) = (Reader::new(), server.url());
    assert_eq!(reader.read(&url, "main", "file").await.unwrap(), "two");
    let shallow = std::fs::read_to_string(reader.mirror().join("shallow")).unwrap();
    assert_eq!(shallow.trim(), upstream.git(&["rev-parse", "main"]));
    for number in 0..5 {
        upstream.commit("main", &[write("file", &number.to_string())]);
        assert_eq!(reader.read(&url, "main", "file").await.unwrap(), number.to_string());
    }
    assert_eq!(reader.counter.count(Request::Fetch), 6);
}

#[tokio::test]
async fn a_poll_is_one_request() {
    let upstream = Upstream::new();
    let server = HttpServer::start(&upstream, Behaviour::basic("user", "right")).await;
    let reader = Reader::new().with_credentials(password("user", "right"));
    reader.references(&server.url()).await.unwrap();
    reader.references(&server.url()).await.unwrap();
    assert_eq!(server.seen().len(), 2, "{:?}", server.seen());
}

#[tokio::test]
async fn commits_that_no_reference_leads_to_are_fetched_by_id_or_with_everything() {
    for direct in ["true", "false"] {
        let upstream = Upstream::new();
        upstream.git(&["config", "uploadpack.allowReachableSHA1InWant", direct]);
        let old = upstream.git(&["rev-parse", "main"]);
        for number in 0..3 {
            upstream.commit("main", &[write("file", &number.to_string())]);
        }
        let server = HttpServer::start(&upstream, Behaviour::Serve).await;
        let (reader, url) = (Reader::new(), server.url());
        assert_eq!(reader.read(&url, "main", "file").await.unwrap(), "2");
        assert_eq!(reader.read(&url, &old, "file").await.unwrap(), "one", "allowed directly: {direct}");
        assert_eq!(reader.mirror().join("shallow").exists(), direct == "true");
        assert_eq!(reader.counter.count(Request::Fetch), 2);
        let error = reader.read(&url, &"b".repeat(40), "file").await.unwrap_err();
        assert!(matches!(error, GitError::Revision { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn first_digits_of_an_old_commit_are_found_once_everything_is_there() {
    let upstream = Upstream::new();
    let old = upstream.git(&["rev-parse", "main"]);
    upstream.commit("main", &[write("file", "two")]);
    let server = HttpServer::start(&upstream, Behaviour::Serve).await;
    let (reader, url) = (Reader::new(), server.url());
    assert_eq!(reader.read(&url, "main", "file").await.unwrap(), "two");
    assert_eq!(reader.read(&url, &old[..9], "file").await.unwrap(), "one");
    assert_eq!(reader.counter.count(Request::Fetch), 2);
    // As long as no reference moves, digits that lead nowhere cost no further fetch.
    for _ in 0..3 {
        assert!(matches!(reader.resolve(&url, "abcdef1").await, Err(GitError::Revision { .. })));
    }
    assert_eq!(reader.counter.count(Request::Fetch), 2);
}

#[tokio::test]
async fn passwords_and_tokens_are_sent_with_listing_and_fetch() {
    let upstream = Upstream::new();
    let bearer =
        Credentials { bearer_token: Some(Masked::new("token".to_owned())), ..Credentials::default() };
    let only_password =
        Credentials { password: Some(Masked::new("right".to_owned())), ..Credentials::default() };
    for (required, credentials) in [
        (basic("user", "right"), password("user", "right")),
        ("Bearer token".to_owned(), bearer),
        (basic("git", "right"), only_password),
    ] {
        let server = HttpServer::start(&upstream, Behaviour::Require(required.clone())).await;
        let reader = Reader::new().with_credentials(credentials);
        assert_eq!(reader.read(&server.url(), "main", "file").await.unwrap(), "one");
        let seen = server.seen();
        assert!(seen.iter().any(|request| request.method == Method::POST), "{seen:?}");
        assert!(seen.iter().all(|request| request.authorization.as_deref() == Some(&required)), "{seen:?}");
    }
    let server = HttpServer::start(&upstream, Behaviour::basic("user", "p@ss")).await;
    let url = RepoUrl::parse(&format!("http://user:p%40ss@{}/repo", server.address)).unwrap();
    assert_eq!(Reader::new().read(&url, "main", "file").await.unwrap(), "one");
}

#[tokio::test]
async fn refused_credentials_are_tried_once_and_named_without_their_value() {
    let upstream = Upstream::new();
    let server = HttpServer::start(&upstream, Behaviour::basic("user", "right")).await;
    let in_url = RepoUrl::parse(&format!("http://user:canary@{}/repo", server.address)).unwrap();
    for (url, credentials, remedy) in [
        (server.url(), password("user", "canary"), "Secret 'repo-secret'"),
        (server.url(), Credentials::default(), "argocd.argoproj.io/secret-type"),
        (in_url, Credentials::default(), "in the URL"),
    ] {
        let before = server.seen().len();
        let error = Reader::new().with_credentials(credentials).references(&url).await.unwrap_err();
        assert!(matches!(error, GitError::Authentication { .. }), "{error:?}");
        assert_eq!(error.kind(), ErrorKind::Configuration);
        let shown = format!("{} {error:?}", chain(&error));
        assert!(shown.contains(remedy) && !shown.contains("canary"), "{shown}");
        assert_eq!(server.seen().len() - before, 1);
    }
}

#[tokio::test]
async fn answers_of_a_server_become_errors_of_the_right_kind() {
    let upstream = Upstream::new();
    for (status, kind) in [
        (403, ErrorKind::Configuration),
        (404, ErrorKind::User),
        (429, ErrorKind::Transient),
        (500, ErrorKind::Transient),
        (503, ErrorKind::Transient),
    ] {
        let server = HttpServer::start(&upstream, Behaviour::Status(status)).await;
        let error = Reader::new().references(&server.url()).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{status}: {error:?}");
    }
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let gone = RepoUrl::parse(&format!("http://{closed}/repo")).unwrap();
    let error = Reader::new().references(&gone).await.unwrap_err();
    assert!(matches!(error, GitError::Network { .. }), "{error:?}");
    assert!(error.to_string().contains("cannot connect to 127.0.0.1"), "{error}");
    let server = HttpServer::start(&upstream, Behaviour::Status(200)).await;
    let error = Reader::new().references(&server.url()).await.unwrap_err();
    assert!(error.to_string().contains("does not answer as a Git server"), "{error}");
}

#[tokio::test]
async fn a_redirect_on_the_same_host_and_port_is_followed_with_credentials() {
    let upstream = Upstream::new();
    std::os::unix::fs::symlink(upstream.directory(), upstream.root.path().join("moved")).unwrap();
    let server = HttpServer::start(&upstream, Behaviour::basic("user", "right")).await;
    // The path `/repo/…` is answered with a redirect to `/moved/…` by a second server on the way there.
    let proxy = redirecting_front(&server).await;
    let url = RepoUrl::parse(&format!("http://{proxy}/repo")).unwrap();
    let reader = Reader::new().with_credentials(password("user", "right"));
    assert_eq!(reader.read(&url, "main", "file").await.unwrap(), "one");
    assert!(server.seen().iter().all(|request| request.target.starts_with("/moved/")), "{:?}", server.seen());
}

/// A front that redirects `/repo` to `/moved` on itself, and passes everything else on.
async fn redirecting_front(server: &HttpServer) -> std::net::SocketAddr {
    use axum::{Router, body::Body, extract::Request, response::IntoResponse as _, routing::any};
    let base = server.address;
    let pass_on = move |request: Request| async move {
        let stream = tokio::net::TcpStream::connect(base).await.unwrap();
        let stream = hyper_util::rt::TokioIo::new(stream);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        sender.send_request(request).await.unwrap().map(Body::new)
    };
    let redirect = |request: Request| async move {
        let target = request.uri().to_string().replacen("/repo", "/moved", 1);
        axum::response::Redirect::permanent(&target).into_response()
    };
    let router = Router::new().route("/repo/{*rest}", any(redirect)).fallback(pass_on);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

#[tokio::test]
async fn credentials_do_not_follow_a_redirect_to_another_port_or_host() {
    let upstream = Upstream::new();
    let thief = HttpServer::start(&upstream, Behaviour::Serve).await;
    let by_name = format!("http://localhost:{}", thief.address.port());
    for target in [thief.base(), by_name] {
        let target = format!("{target}/repo");
        let required = basic("user", "canary");
        for behaviour in [
            Behaviour::Redirect(target.clone()),
            Behaviour::RequireThenRedirect(required.clone(), target.clone()),
        ] {
            let server = HttpServer::start(&upstream, behaviour).await;
            let reader = Reader::new().with_credentials(password("user", "canary"));
            let error = reader.references(&server.url()).await.unwrap_err();
            assert!(matches!(error, GitError::Redirect { .. }), "{error:?}");
            assert!(error.to_string().contains(&target), "{error}");
            assert!(!server.seen().is_empty());
        }
    }
    assert!(thief.seen().is_empty(), "{:?}", thief.seen());
}

#[tokio::test]
async fn endless_redirects_end() {
    let upstream = Upstream::new();
    let server = HttpServer::start(&upstream, Behaviour::Redirect("/repo".to_owned())).await;
    let error = Reader::new().references(&server.url()).await.unwrap_err();
    assert!(error.to_string().contains("redirects"), "{error}");
    assert!(server.seen().len() < 10);
}

#[tokio::test]
async fn a_server_that_hangs_costs_a_timeout_and_delays_nobody_else() {
    let upstream = Upstream::new();
    let hanging = HttpServer::start(&upstream, Behaviour::Hang).await;
    let reader = Reader::new();
    let patient = tokio::spawn({
        let (repositories, url) = (reader.repositories.clone(), hanging.url());
        let cancel = reader.cancel.clone();
        async move { repositories.references(&url, &Credentials::default(), &cancel).await }
    });
    while hanging.seen().is_empty() {
        tokio::task::yield_now().await;
    }
    let other = upstream.file_url();
    assert_eq!(reader.read(&other, "main", "file").await.unwrap(), "one");
    assert!(!patient.is_finished());
    reader.cancel.cancel();
    let error = patient.await.unwrap().unwrap_err();
    assert!(matches!(error, GitError::Cancelled { .. }), "{error:?}");

    let error = hasty().references(&hanging.url()).await.unwrap_err();
    assert!(matches!(error, GitError::Timeout { .. }), "{error:?}");
    assert!(error.to_string().contains("listing the references of"), "{error}");
    assert_eq!(error.kind(), ErrorKind::Transient);
}

#[tokio::test]
async fn many_hanging_repositories_of_one_host_leave_room_for_other_hosts() {
    let upstream = Upstream::new();
    let hanging = HttpServer::start(&upstream, Behaviour::Hang).await;
    let reader = Reader::with(Arc::new(TempDir::new().unwrap()), |options| {
        options.connections_per_host = 2;
        options.fetches = 2;
    });
    let calls: Vec<_> = (0..10)
        .map(|number| {
            let url = RepoUrl::parse(&format!("{}/repo{number}", hanging.base())).unwrap();
            let (repositories, cancel) = (reader.repositories.clone(), reader.cancel.clone());
            tokio::spawn(async move { repositories.references(&url, &Credentials::default(), &cancel).await })
        })
        .collect();
    while hanging.seen().len() < 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(reader.read(&upstream.file_url(), "main", "file").await.unwrap(), "one");
    assert_eq!(hanging.seen().len(), 2);
    reader.cancel.cancel();
    for call in calls {
        assert!(matches!(call.await.unwrap(), Err(GitError::Cancelled { .. })));
    }
}

#[tokio::test]
async fn a_fetch_that_hangs_ends_at_its_deadline() {
    let upstream = Upstream::new();
    let server = HttpServer::start(&upstream, Behaviour::HangInFetch).await;
    let reader = Reader::with(Arc::new(TempDir::new().unwrap()), |options| {
        options.fetch_timeout = Duration::from_millis(300);
    });
    let error = reader.read(&server.url(), "main", "file").await.unwrap_err();
    assert!(matches!(error, GitError::Timeout { .. }), "{error:?}");
    assert!(error.to_string().contains("fetching"), "{error}");
}

#[tokio::test]
async fn a_fetch_over_the_limit_of_bytes_is_stopped() {
    let upstream = Upstream::new();
    let noise: String = (0..200_000).map(|_| fastrand::alphanumeric()).collect();
    upstream.commit("main", &[write("noise", &noise)]);
    let server = HttpServer::start(&upstream, Behaviour::Serve).await;
    let reader = Reader::with(Arc::new(TempDir::new().unwrap()), |options| {
        options.fetch_bytes = 100_000;
    });
    let error = reader.read(&server.url(), "main", "file").await.unwrap_err();
    assert!(matches!(error, GitError::Limit { .. }), "{error:?}");
}

#[tokio::test]
async fn what_one_set_of_credentials_fetched_is_not_read_with_another() {
    let upstream = Upstream::new();
    let server = HttpServer::start(&upstream, Behaviour::basic("user", "right")).await;
    let reader = Reader::new().with_credentials(password("user", "right"));
    let commit = reader.resolve(&server.url(), "main").await.unwrap();
    let tree = reader.tree(&server.url(), &commit).await.unwrap();
    assert!(tree.entry(&path("file")).unwrap().is_some());
    let url = server.url();
    for credentials in [Credentials::default(), password("user", "wrong"), password("other", "right")] {
        let tree = reader.repositories.commit_tree(&url, &credentials, &commit, &reader.cancel).await;
        assert!(matches!(tree, Err(GitError::Authentication { .. })));
    }
}

#[tokio::test]
async fn a_proxy_is_used_except_for_the_hosts_on_the_list() {
    let upstream = Upstream::new();
    let server = HttpServer::start(&upstream, Behaviour::basic("user", "right")).await;
    let proxy = HttpProxy::start(Some(basic("proxy", "p@ss"))).await;
    let through = |text: &str| Credentials {
        proxy: Some(Masked::new(text.replace("PROXY", &proxy.address.to_string()))),
        ..password("user", "right")
    };
    let credentials = through("http://proxy:p%40ss@PROXY");
    let reader = Reader::new().with_credentials(credentials.clone());
    assert_eq!(reader.read(&server.url(), "main", "file").await.unwrap(), "one");
    assert_eq!(proxy.seen().len(), server.seen().len());
    assert!(server.seen().iter().all(|request| request.proxy_authorization.is_none()));

    let before = proxy.seen().len();
    let direct = Credentials { no_proxy: "example.com,127.0.0.1".to_owned(), ..credentials };
    assert_eq!(
        Reader::new().with_credentials(direct).read(&server.url(), "main", "file").await.unwrap(),
        "one"
    );
    assert_eq!(proxy.seen().len(), before);

    for (text, expected) in [
        ("http://proxy:canary@PROXY", "proxy asks for other credentials"),
        ("socks5://canary@PROXY", "not an HTTP proxy"),
        ("canary; touch /tmp/x", "not a valid URL"),
    ] {
        let reader = Reader::new().with_credentials(through(text));
        let error = reader.references(&server.url()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration, "{error:?}");
        let shown = format!("{error} {error:?}");
        assert!(shown.contains(expected) && !shown.contains("canary"), "{shown}");
    }
}

#[tokio::test]
async fn ways_to_log_in_that_are_not_supported_say_so() {
    let upstream = Upstream::new();
    let server = HttpServer::start(&upstream, Behaviour::Serve).await;
    let credentials =
        Credentials { unsupported: vec!["githubAppPrivateKey".to_owned()], ..Credentials::default() };
    let error = Reader::new().with_credentials(credentials).references(&server.url()).await.unwrap_err();
    assert!(error.to_string().contains("'githubAppPrivateKey' is not supported"), "{error}");
    assert!(server.seen().is_empty());
}
