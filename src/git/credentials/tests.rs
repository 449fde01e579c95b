use super::*;
use crate::error::{Classified as _, ErrorKind};

fn secret(kind: SecretKind, name: &str, fields: &[(&str, &str)]) -> CredentialSecret {
    let data =
        fields.iter().map(|(field, value)| ((*field).to_owned(), Masked::new(value.as_bytes().to_vec())));
    CredentialSecret { name: name.to_owned(), kind, data: data.collect() }
}

fn repository(name: &str, fields: &[(&str, &str)]) -> CredentialSecret {
    secret(SecretKind::Repository, name, fields)
}

fn template(name: &str, url: &str) -> CredentialSecret {
    secret(SecretKind::Template, name, &[("url", url), ("username", name), ("password", "canary")])
}

fn store(secrets: &[CredentialSecret]) -> CredentialStore {
    let (store, problems) = CredentialStore::new(secrets, &BTreeMap::new(), "");
    assert!(problems.is_empty(), "{problems:?}");
    store
}

/// The names of the Secrets that a repository's credentials come from.
fn origins(store: &CredentialStore, url: &str, project: &str) -> Vec<String> {
    store.lookup(&RepoUrl::parse(url).unwrap(), project).origins
}

#[test]
fn a_repository_gets_the_secret_of_its_url_in_any_spelling() {
    let store = store(&[repository("own", &[("url", "https://GitHub.com/Org/Repo.git"), ("password", "x")])]);
    for url in [
        "https://github.com/org/repo",
        "https://github.com:443/ORG/repo.git",
        "https://bob@github.com/org/repo",
    ] {
        assert_eq!(origins(&store, url, "default"), ["own"], "{url}");
    }
}

#[test]
fn a_secret_of_the_project_comes_first_and_serves_no_other_project() {
    let url = ("url", "https://h/a/b");
    let scoped = repository("scoped", &[url, ("project", "team"), ("password", "x")]);
    let shared = repository("shared", &[url, ("password", "y")]);
    let both = store(&[shared, scoped.clone()]);
    assert_eq!(origins(&both, "https://h/a/b", "team"), ["scoped"]);
    assert_eq!(origins(&both, "https://h/a/b", "other"), ["shared"]);
    let only_scoped = store(&[scoped]);
    assert!(origins(&only_scoped, "https://h/a/b", "other").is_empty());
    assert!(origins(&only_scoped, "https://h/a/b", "").is_empty());
}

#[test]
fn the_longest_template_supplies_credentials() {
    let store = store(&[
        template("host", "https://git.example.com"),
        template("org", "https://git.example.com/org/"),
        template("ssh", "git@git.example.com:org"),
        repository("settings-only", &[("url", "https://git.example.com/org/repo"), ("insecure", "true")]),
        repository("own", &[("url", "https://git.example.com/org/own"), ("password", "x")]),
    ]);
    assert_eq!(origins(&store, "https://git.example.com/other/repo", "p"), ["host"]);
    assert_eq!(origins(&store, "https://git.example.com/org/any", "p"), ["org"]);
    assert_eq!(origins(&store, "https://git.example.com/org/own", "p"), ["own"]);
    assert_eq!(origins(&store, "ssh://git@git.example.com/org/any", "p"), ["ssh"]);
    let inherited = store.lookup(&RepoUrl::parse("https://git.example.com/org/repo").unwrap(), "p");
    assert_eq!(inherited.origins, ["settings-only", "org"]);
    assert!(inherited.insecure);
    assert_eq!(inherited.username.as_deref(), Some("org"));
}

#[test]
fn look_alikes_get_no_credentials() {
    let store = store(&[
        template("org", "https://example.com/org"),
        template("ssh", "git@example.com:org"),
        repository("own", &[("url", "https://example.com/own/repo"), ("password", "x")]),
    ]);
    for url in [
        "https://example.com.evil/org/repo",
        "https://example.com@evil.example/org/repo",
        "https://example.com:org@evil.example/org/repo",
        "https://evil.example/example.com/org/repo",
        "https://evil.example/https://example.com/org/repo",
        "https://example.com/organisation/repo",
        "https://example.com:8443/org/repo",
        "https://example.com:8443/own/repo",
        "http://example.com/org/repo",
        "http://example.com/own/repo",
        "https://sub.example.com/org/repo",
        "https://example.com/own/repo2",
        "git@example.com.evil:org/repo",
        "ssh://git@example.com:2222/org/repo",
        "other@example.com:org/repo",
        "git@example.com:organisation/repo",
    ] {
        assert!(origins(&store, url, "p").is_empty(), "{url}");
    }
}

#[test]
fn secrets_for_charts_are_left_alone_and_broken_ones_harm_no_other() {
    let secrets = [
        repository("chart", &[("url", "https://charts.example.com"), ("type", "helm"), ("name", "c")]),
        repository("no-url", &[("password", "canary")]),
        repository("bad-url", &[("url", "ext::sh"), ("password", "canary")]),
        repository("bad-flag", &[("url", "https://h/a"), ("insecure", "canary")]),
        repository("half", &[("url", "https://h/a"), ("tlsClientCertData", "canary")]),
        repository("good", &[("url", "https://h/a"), ("password", "x")]),
    ];
    let (store, problems) = CredentialStore::new(&secrets, &BTreeMap::new(), "");
    assert_eq!(origins(&store, "https://h/a", "p"), ["good"]);
    let texts: Vec<String> = problems.iter().map(ToString::to_string).collect();
    for (text, name) in texts.iter().zip(["no-url", "bad-url", "bad-flag", "half"]) {
        assert!(text.contains(&format!("Secret '{name}'")), "{text}");
        assert!(!text.contains("canary"), "{text}");
    }
    assert_eq!(problems.len(), 4);
    assert!(problems.iter().all(|problem| problem.kind() == ErrorKind::Configuration));
}

#[test]
fn certificate_authorities_belong_to_one_host_name() {
    let authorities = BTreeMap::from([("Git.example.com".to_owned(), "PEM".to_owned())]);
    let (store, _) = CredentialStore::new(&[], &authorities, "");
    let of = |url: &str| store.lookup(&RepoUrl::parse(url).unwrap(), "p").certificate_authorities;
    assert_eq!(of("https://git.example.com/a").as_deref(), Some("PEM"));
    assert_eq!(of("https://git.example.com:8443/a").as_deref(), Some("PEM"));
    assert_eq!(of("https://git.example.com.evil/a"), None);
}

#[test]
fn credentials_do_not_print() {
    let fields = [
        ("url", "https://u:canary@h/a"),
        ("password", "canary"),
        ("bearerToken", "canary"),
        ("sshPrivateKey", "canary"),
        ("proxy", "http://user:canary@proxy"),
        ("tlsClientCertData", "canary"),
        ("tlsClientCertKey", "canary"),
        ("githubAppPrivateKey", "canary"),
    ];
    let secrets = [repository("all", &fields)];
    let store = store(&secrets);
    let credentials = store.lookup(&RepoUrl::parse("https://h/a").unwrap(), "p");
    assert_eq!(credentials.unsupported, ["githubAppPrivateKey"]);
    assert!(credentials.bearer_token.is_some());
    let shown = format!("{store:?} {credentials:?} {:?}", secrets[0]);
    assert!(!shown.contains("canary"), "{shown}");
}
