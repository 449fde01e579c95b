//! Commits that reach a server, over every transport, with others writing at the same time.

use std::{sync::Arc, time::Duration};

use skiff::{
    files::Tree as _,
    git::{
        CommitId, Content, Credentials, Draft, GitError, Publication, Published, RepoUrl, SigningKey,
        writer::Change,
    },
};
use tokio_util::sync::CancellationToken;

use crate::{
    http_server::{Behaviour, HttpServer},
    world::{Reader, Upstream, author, path, write},
};

fn publication(url: &RepoUrl) -> Publication {
    Publication {
        url: url.clone(),
        credentials: Credentials::default(),
        from: "main".to_owned(),
        to: "main".to_owned(),
        author: author(),
        signing_key: None,
        patience: Duration::from_secs(60),
    }
}

fn draft(changes: Vec<Change>) -> Option<Draft> {
    Some(Draft { content: Content::Changes(changes), message: "a change\n".to_owned() })
}

/// Adds a line to `lines`.
async fn add_line(reader: &Reader, publication: &Publication, line: &str) -> Result<Published, GitError> {
    let lines = path("lines");
    let add = |tree: &Arc<skiff::git::GitTree>| {
        let before = tree.entry(&lines).unwrap().map(|_| tree.content(&lines, 1 << 20).unwrap());
        let mut text = String::from_utf8(before.map(|bytes| bytes.to_vec()).unwrap_or_default()).unwrap();
        text.push_str(line);
        text.push('\n');
        Ok::<_, GitError>(draft(vec![Change::Write(lines.clone(), text.into_bytes())]))
    };
    reader.repositories.publish(publication, add, &CancellationToken::new()).await
}

fn commit_of(published: &Published) -> CommitId {
    match published {
        Published::Commit { id, .. } => id.clone(),
        Published::Nothing { .. } => panic!("nothing was published"),
    }
}

async fn serve(upstream: &Upstream) -> (HttpServer, RepoUrl) {
    upstream.git(&["config", "http.receivepack", "true"]);
    let server = HttpServer::start(upstream, Behaviour::Serve).await;
    let url = RepoUrl::parse(&format!("{}/repo", server.base())).unwrap();
    (server, url)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_reaches_a_server_and_nothing_to_change_makes_none() {
    let upstream = Upstream::new();
    let (_server, url) = serve(&upstream).await;
    for (url, name) in [(url, "http"), (upstream.file_url(), "file")] {
        let reader = Reader::new();
        let before = upstream.git(&["rev-parse", "main"]);
        let published = add_line(&reader, &publication(&url), name).await.unwrap();
        let id = commit_of(&published);
        assert_eq!(upstream.git(&["rev-parse", "main"]), id.as_str());
        assert_eq!(upstream.git(&["rev-parse", "main^"]), before);
        assert_eq!(upstream.git(&["log", "-1", "--format=%an <%ae> %s"]), "Test <test@example.com> a change");
        let (again, cancel) = (publication(&url), CancellationToken::new());
        let nothing = reader.repositories.publish(&again, |_| Ok::<_, GitError>(None), &cancel).await;
        assert_eq!(nothing.unwrap(), Published::Nothing { at: id, branch: "main".to_owned() });
    }
    assert_eq!(upstream.git(&["show", "main:lines"]), "http\nfile");
    assert_eq!(upstream.git(&["fsck", "--strict", "--no-dangling"]), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_writers_at_once_lose_nothing() {
    let upstream = Upstream::new();
    let (_server, url) = serve(&upstream).await;
    let writers = (0..12).map(|number| {
        let url = if number % 3 == 0 { upstream.file_url() } else { url.clone() };
        tokio::spawn(async move {
            let line = format!("line-{number}");
            add_line(&Reader::new(), &publication(&url), &line).await.unwrap()
        })
    });
    let mut attempts = 0;
    for writer in writers.collect::<Vec<_>>() {
        if let Published::Commit { attempts: tried, .. } = writer.await.unwrap() {
            attempts += tried;
        }
    }
    let text = upstream.git(&["show", "main:lines"]);
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    let mut expected: Vec<String> = (0..12).map(|number| format!("line-{number}")).collect();
    expected.sort_unstable();
    assert_eq!(lines, expected);
    assert_eq!(upstream.git(&["rev-list", "--count", "main"]), "13");
    assert!(attempts >= 12);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_branch_is_made_and_goes_on_where_it_is() {
    let upstream = Upstream::new();
    let (_server, url) = serve(&upstream).await;
    let main = upstream.git(&["rev-parse", "main"]);
    let reader = Reader::new();
    let publication = Publication { to: "proposal".to_owned(), ..publication(&url) };
    let first = commit_of(&add_line(&reader, &publication, "one").await.unwrap());
    let second = commit_of(&add_line(&reader, &publication, "two").await.unwrap());
    assert_eq!(
        upstream.git(&["rev-parse", "proposal~2", "proposal~1", "proposal"]),
        format!("{main}\n{first}\n{second}")
    );
    assert_eq!(upstream.git(&["rev-parse", "main"]), main);
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_are_taken_back_upon_what_came_later() {
    let upstream = Upstream::new();
    let bad = upstream.commit("main", &[write("a", "broken")]);
    upstream.commit("main", &[write("b", "later")]);
    let (_server, url) = serve(&upstream).await;
    let reader = Reader::new();
    let revert = |commit: CommitId| {
        move |_: &Arc<skiff::git::GitTree>| {
            let content = Content::Revert(vec![commit.clone()]);
            Ok::<_, GitError>(Some(Draft { content, message: "take it back\n".to_owned() }))
        }
    };
    let cancel = CancellationToken::new();
    reader.repositories.publish(&publication(&url), revert(bad.clone()), &cancel).await.unwrap();
    assert_eq!(upstream.git(&["ls-tree", "--name-only", "main"]), "b\nfile");
    upstream.commit("main", &[write("file", "changed")]);
    let first = CommitId::parse(&upstream.git(&["rev-list", "--max-parents=0", "main"])).unwrap();
    let error = reader.repositories.publish(&publication(&url), revert(first), &cancel).await.unwrap_err();
    assert!(skiff::error::chain(&error).contains("later commits changed the same lines"), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_refuses_is_told_and_not_tried_for_ever() {
    let upstream = Upstream::new();
    let (_server, url) = serve(&upstream).await;
    let hook = upstream.directory().join("hooks/update");
    std::fs::create_dir_all(hook.parent().unwrap()).unwrap();
    std::fs::write(&hook, "#!/bin/sh\necho only by pull request >&2\nexit 1\n").unwrap();
    let mut permissions = std::fs::metadata(&hook).unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o755);
    std::fs::set_permissions(&hook, permissions).unwrap();
    let error = add_line(&Reader::new(), &publication(&url), "x").await.unwrap_err();
    assert!(
        matches!(&error, GitError::Rejected { problem, .. } if problem.contains("hook declined")),
        "{error:?}"
    );

    let missing = Publication { from: "trunk".to_owned(), to: "trunk".to_owned(), ..publication(&url) };
    let error = add_line(&Reader::new(), &missing, "x").await.unwrap_err();
    assert!(error.to_string().contains("has no branch 'trunk'"), "{error}");

    upstream.git(&["config", "http.receivepack", "false"]);
    let error = add_line(&Reader::new(), &publication(&url), "x").await.unwrap_err();
    assert!(error.to_string().contains("lack the right to write to"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_are_signed_as_git_verifies_them() {
    let upstream = Upstream::new();
    let (_server, url) = serve(&upstream).await;
    for kind in ["ed25519", "ecdsa"] {
        let keys = tempfile::tempdir().unwrap();
        let made = std::process::Command::new("ssh-keygen")
            .args(["-q", "-t", kind, "-N", "", "-C", "test@example.com", "-f"])
            .arg(keys.path().join("key"))
            .status();
        assert!(made.expect("`ssh-keygen` runs; install openssh-client").success());
        let public = std::fs::read_to_string(keys.path().join("key.pub")).unwrap();
        std::fs::write(keys.path().join("allowed"), format!("test@example.com {public}")).unwrap();
        let key = SigningKey::parse(&std::fs::read_to_string(keys.path().join("key")).unwrap()).unwrap();
        let signed = Publication { signing_key: Some(Arc::new(key)), ..publication(&url) };
        let commit = commit_of(&add_line(&Reader::new(), &signed, kind).await.unwrap());
        upstream.git(&["config", "gpg.format", "ssh"]);
        let allowed = keys.path().join("allowed");
        upstream.git(&["config", "gpg.ssh.allowedSignersFile", allowed.to_str().unwrap()]);
        upstream.git(&["verify-commit", commit.as_str()]);
    }
    let locked = SigningKey::parse("not a key").unwrap_err();
    assert!(locked.to_string().contains("OpenSSH format"), "{locked}");
}
