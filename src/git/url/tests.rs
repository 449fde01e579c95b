use super::*;

fn url(text: &str) -> RepoUrl {
    RepoUrl::parse(text).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn each_form_is_taken_apart_and_normalized_as_argo_cd_does() {
    use Scheme::{File, Http, Https, Ssh};
    let table = [
        (
            "https://GitHub.com/Argoproj/Example.git",
            Https,
            "github.com",
            443,
            "https://github.com/argoproj/example",
        ),
        (
            " https://github.com/argoproj/example/ ",
            Https,
            "github.com",
            443,
            "https://github.com/argoproj/example",
        ),
        ("https://github.com:443/a/b", Https, "github.com", 443, "https://github.com/a/b"),
        (
            "https://git.example.com:8443/a/b",
            Https,
            "git.example.com",
            8443,
            "https://git.example.com:8443/a/b",
        ),
        ("http://127.0.0.1:3000/a/b.git", Http, "127.0.0.1", 3000, "http://127.0.0.1:3000/a/b"),
        ("https://[::1]:8443/a", Https, "[::1]", 8443, "https://[::1]:8443/a"),
        ("git@github.com:Org/Repo.git", Ssh, "github.com", 22, "git@github.com/org/repo"),
        ("ssh://git@github.com/org/repo", Ssh, "github.com", 22, "git@github.com/org/repo"),
        ("ssh://git@github.com:22/org/repo.git", Ssh, "github.com", 22, "git@github.com/org/repo"),
        (
            "ssh://git@git.example.com:7999/org/repo",
            Ssh,
            "git.example.com",
            7999,
            "git@git.example.com:7999/org/repo",
        ),
        ("file:///srv/git/Repo.git", File, "", 0, "file:///srv/git/repo"),
    ];
    for (text, scheme, host, port, normalized) in table {
        let url = url(text);
        assert_eq!((url.scheme(), url.host(), url.port()), (scheme, host, port), "{text}");
        assert_eq!(url.normalized(), normalized, "{text}");
    }
}

#[test]
fn what_is_no_repository_url_is_refused_with_a_reason() {
    let table = [
        ("", "empty"),
        ("ext::sh -c touch% /tmp/x", "spaces"),
        ("ext::sh", "transport helper"),
        ("ext://host/path", "scheme"),
        ("git://host/path", "scheme"),
        ("ftp://host/path", "scheme"),
        ("/srv/git/repo", "no scheme"),
        ("host:path", "neither a scheme nor a user"),
        ("-oProxyCommand=touch@host:path", "begins with '-'"),
        ("ssh://-oProxyCommand=x/path", "valid URL|begins with '-'"),
        ("ssh://-oProxyCommand=x@host/path", "begins with '-'"),
        ("git@-oProxyCommand=x:path", "valid host"),
        ("git@-host:path", "begins with '-'"),
        ("git@host:-path", "begins with '-'"),
        ("git@host:../../etc", "'..'"),
        ("https://host/a/../b", "'..'"),
        ("https://host/a/%2e%2e/b", "'..'"),
        ("https://host/a%2f..%2fb", "'..'"),
        ("ssh://host/a%0ab", "control"),
        ("https://host/a\nb", "control"),
        ("https://host/a\0b", "control"),
        ("https://host\\@evil/a", "backslashes"),
        ("https://host/a?ref=main", "query"),
        ("https://host/a#main", "fragment"),
        ("https://host", "no path"),
        ("https:///path", "valid URL|no host|no path"),
        ("file://host/path", "names a host"),
        ("git@host:", "no path"),
    ];
    for (text, reason) in table {
        let error = RepoUrl::parse(text).expect_err(text).to_string();
        assert!(reason.split('|').any(|reason| error.contains(reason)), "{text:?}: {error}");
    }
    assert!(RepoUrl::parse(&format!("https://host/{}", "a".repeat(3000))).is_err());
}

#[test]
fn user_information_is_shown_nowhere() {
    for text in ["https://alice:canary@host/path", "https://canary@host/path"] {
        let url = url(text);
        let shown = format!("{url} {url:?} {} {}", url.normalized(), url.for_libgit2());
        assert!(!shown.contains("canary"), "{shown}");
        assert_eq!(url.for_libgit2(), "https://host/path");
    }
    for text in [
        "https://alice:canary@host/a/../b",
        "https://alice:can@ary@host?x",
        "ftp://canary@host/x",
        "canary@h:",
    ] {
        let error = RepoUrl::parse(text).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("canary"), "{error}");
    }
}

#[test]
fn libgit2_gets_the_host_that_was_checked() {
    assert_eq!(url("https://github.com@evil.example/a").for_libgit2(), "https://evil.example/a");
    assert_eq!(url("git@host:org/repo.git").for_libgit2(), "ssh://git@host:22/./org/repo.git");
    assert_eq!(url("git@host:/srv/repo").for_libgit2(), "ssh://git@host:22/srv/repo");
    assert_eq!(url("git@host:~/repo").for_libgit2(), "ssh://git@host:22/~/repo");
    assert_eq!(url("ssh://host/repo").for_libgit2(), "ssh://git@host:22/repo");
    assert_eq!(url("file:///srv/a%20b").for_libgit2(), "file:///srv/a%20b");
}

#[test]
fn a_mirror_is_shared_by_spellings_of_one_repository_and_by_nothing_else() {
    let same = [("https://h/a/b", "https://H:443/a/b.git"), ("git@h:a", "ssh://git@h/a.git")];
    for (left, right) in same {
        assert_eq!(url(left).mirror_name(), url(right).mirror_name(), "{left} {right}");
    }
    let different = [
        ("https://h/a/b", "https://h/A/b"),
        ("https://h/a/b", "http://h/a/b"),
        ("https://h/a/b", "https://h:8443/a/b"),
        ("file:///srv/a", "file:///srv/a.git"),
        ("git@h:a", "other@h:a"),
    ];
    for (left, right) in different {
        assert_ne!(url(left).mirror_name(), url(right).mirror_name(), "{left} {right}");
    }
}
