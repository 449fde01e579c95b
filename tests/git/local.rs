use std::{io::Write as _, process::Stdio};

use skiff::{
    error::{Classified as _, ErrorKind, chain},
    files::{EntryKind, FileLimits, Files, FilesError, Tree as _},
    git::{GitError, RepoUrl, writer::Change},
};

use crate::world::{Reader, Upstream, git_command, path, write};

#[tokio::test]
async fn each_form_of_revision_leads_to_its_commit() {
    let upstream = Upstream::new();
    let first = upstream.git(&["rev-parse", "main"]);
    upstream.git(&["tag", "v1.0.0", "main"]);
    upstream.commit("main", &[write("file", "two")]);
    upstream.git(&["tag", "-a", "v1.1.0", "-m", "annotated", "main"]);
    upstream.commit("main", &[write("file", "three")]);
    upstream.git(&["tag", "v2.0.0-rc1", "main"]);
    upstream.commit("feature/x", &[write("file", "branch")]);
    let (reader, url) = (Reader::new(), upstream.file_url());
    for (revision, content) in [
        ("", "three"),
        ("HEAD", "three"),
        ("main", "three"),
        ("refs/heads/main", "three"),
        ("feature/x", "branch"),
        ("v1.0.0", "one"),
        ("v1.1.0", "two"),
        ("^1.0", "two"),
        ("1.0.x", "one"),
        (">=2.0.0-0", "three"),
        (&first, "one"),
        (&first[..8], "one"),
    ] {
        assert_eq!(reader.read(&url, revision, "file").await.unwrap(), content, "{revision:?}");
    }
    let annotated = reader.resolve(&url, "v1.1.0").await.unwrap();
    assert_eq!(annotated.as_str(), upstream.git(&["rev-parse", "v1.1.0^{commit}"]));
    assert_ne!(annotated.as_str(), upstream.git(&["rev-parse", "v1.1.0"]));
}

#[tokio::test]
async fn what_does_not_exist_is_the_users_to_correct() {
    let upstream = Upstream::new();
    let (reader, url) = (Reader::new(), upstream.file_url());
    for revision in ["no-such-branch", "^9", "abcdef1", &"a".repeat(40)] {
        let error = reader.read(&url, revision, "file").await.unwrap_err();
        assert!(matches!(error, GitError::Revision { .. }), "{revision}: {error:?}");
        assert_eq!(error.kind(), ErrorKind::User);
        assert!(chain(&error).contains(&format!("'{revision}'")), "{}", chain(&error));
    }
    let nowhere = RepoUrl::parse("file:///no/such/repository").unwrap();
    let error = reader.references(&nowhere).await.unwrap_err();
    assert!(matches!(error, GitError::NotFound { .. }), "{error:?}");
}

#[tokio::test]
async fn an_empty_repository_has_no_revision_until_the_first_commit() {
    let upstream = Upstream::empty();
    let (reader, url) = (Reader::new(), upstream.file_url());
    let error = reader.resolve(&url, "HEAD").await.unwrap_err();
    assert!(chain(&error).contains("the repository is empty"), "{}", chain(&error));
    upstream.commit("main", &[write("file", "first")]);
    assert_eq!(reader.read(&url, "HEAD", "file").await.unwrap(), "first");
}

#[tokio::test]
async fn a_force_pushed_branch_is_followed_and_the_old_commit_stays_readable() {
    let upstream = Upstream::new();
    let (reader, url) = (Reader::new(), upstream.file_url());
    let old = reader.resolve(&url, "main").await.unwrap();
    reader.tree(&url, &old).await.unwrap();
    let other = upstream.commit("other", &[write("file", "rewritten")]);
    upstream.git(&["update-ref", "refs/heads/main", other.as_str()]);
    upstream.git(&["branch", "-D", "other"]);
    upstream.git(&["reflog", "expire", "--expire=now", "--all"]);
    upstream.git(&["gc", "-q", "--prune=now"]);
    assert_eq!(reader.read(&url, "main", "file").await.unwrap(), "rewritten");
    let content = reader.tree(&url, &old).await.unwrap().content(&path("file"), 100).unwrap();
    assert_eq!(content, "one");
}

#[tokio::test]
async fn a_deleted_branch_is_unknown_and_one_below_its_name_is_read() {
    let upstream = Upstream::new();
    upstream.commit("a", &[write("file", "a")]);
    let (reader, url) = (Reader::new(), upstream.file_url());
    let main = reader.resolve(&url, "main").await.unwrap();
    // Everything is fetched for a commit that no reference leads to.
    assert!(reader.resolve(&url, "abcdef1").await.is_err());
    upstream.git(&["branch", "-D", "a"]);
    assert!(matches!(reader.resolve(&url, "a").await, Err(GitError::Revision { .. })));
    upstream.commit("a/b", &[write("file", "below")]);
    assert!(matches!(reader.resolve(&url, "abcdef1").await, Err(GitError::Revision { .. })));
    assert_eq!(reader.read(&url, "a/b", "file").await.unwrap(), "below");
    assert_eq!(reader.resolve(&url, "main").await.unwrap(), main);
}

#[tokio::test]
async fn entries_are_what_git_says_and_links_are_not_followed() {
    let upstream = Upstream::new();
    let commit = upstream.commit(
        "main",
        &[
            write("apps/a/app.yaml", "a: 1"),
            Change::Link(path("link"), "apps/a/app.yaml".to_owned()),
            Change::Link(path("outside"), "/etc/passwd".to_owned()),
        ],
    );
    let submodule = format!("160000,{commit},vendor");
    let index = upstream.root.path().join("index");
    let with_index = |arguments: &[&str]| {
        let output = git_command(&upstream.directory())
            .env("GIT_INDEX_FILE", &index)
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    with_index(&["read-tree", "main"]);
    with_index(&["update-index", "--add", "--cacheinfo", &submodule]);
    let tree = with_index(&["write-tree"]);
    let commit = with_index(&["commit-tree", &tree, "-p", "main", "-m", "submodule"]);
    upstream.git(&["update-ref", "refs/heads/main", &commit]);

    let (reader, url) = (Reader::new(), upstream.file_url());
    let commit = reader.resolve(&url, "main").await.unwrap();
    let tree = reader.tree(&url, &commit).await.unwrap();
    let kind = |name: &str| tree.entry(&path(name)).unwrap().map(|entry| entry.kind);
    assert_eq!(kind(""), Some(EntryKind::Directory));
    assert_eq!(kind("apps/a"), Some(EntryKind::Directory));
    assert_eq!(kind("apps/a/app.yaml"), Some(EntryKind::File));
    assert_eq!(kind("link"), Some(EntryKind::Symlink));
    assert_eq!(kind("vendor"), Some(EntryKind::Submodule));
    for missing in ["nothing", "apps/b", "file/below", "vendor/below", "link/below"] {
        assert_eq!(kind(missing), None, "{missing}");
    }
    let names: Vec<String> = tree.children(&path("")).unwrap().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["apps", "file", "link", "outside", "vendor"]);
    let ids = [upstream.git(&["rev-parse", "main:apps"]), upstream.git(&["rev-parse", "main:file"])];
    assert_eq!(&*tree.entry(&path("apps")).unwrap().unwrap().id, ids[0]);
    assert_eq!(&*tree.entry(&path("file")).unwrap().unwrap().id, ids[1]);
    assert!(matches!(tree.content(&path("vendor"), 100), Err(FilesError::WrongKind { .. })));
    assert!(matches!(tree.children(&path("file")), Err(FilesError::WrongKind { .. })));
    assert!(matches!(tree.children(&path("nothing")), Err(FilesError::NotFound { .. })));

    let files = Files::new(tree, FileLimits::default());
    assert_eq!(files.read(&path("link")).unwrap(), "a: 1");
    assert!(matches!(files.read(&path("outside")), Err(FilesError::Link { .. })));
}

#[tokio::test]
async fn files_that_cannot_be_manifests_are_refused_with_the_reason() {
    let upstream = Upstream::new();
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n";
    upstream.commit("main", &[write("big.yaml", pointer), write("long.yaml", &"x".repeat(2000))]);
    let (reader, url) = (Reader::new(), upstream.file_url());
    let commit = reader.resolve(&url, "main").await.unwrap();
    let tree = reader.tree(&url, &commit).await.unwrap();
    let error = tree.content(&path("big.yaml"), 1000).unwrap_err();
    assert!(error.to_string().contains("Git LFS is not supported"), "{error}");
    assert_eq!(error.kind(), ErrorKind::User);
    let error = tree.content(&path("long.yaml"), 1000).unwrap_err();
    assert!(error.to_string().contains("limit of 1000 bytes"), "{error}");
    assert_eq!(tree.content(&path("long.yaml"), 2000).unwrap().len(), 2000);
}

#[tokio::test]
async fn a_tree_of_twenty_thousand_files_is_read_no_further_than_asked() {
    let upstream = Upstream::empty();
    let mut stream =
        String::from("commit refs/heads/main\ncommitter T <t@example.com> 1700000000 +0000\ndata 1\nx\n");
    for number in 0..20_000 {
        let content = format!("number: {number}\n");
        let directory = number / 100;
        stream += &format!("M 644 inline d{directory}/f{number}.yaml\ndata {}\n{content}", content.len());
    }
    let import =
        git_command(&upstream.directory()).args(["fast-import", "--quiet"]).stdin(Stdio::piped()).spawn();
    let mut import = import.unwrap();
    import.stdin.take().unwrap().write_all(stream.as_bytes()).unwrap();
    assert!(import.wait().unwrap().success());

    let (reader, url) = (Reader::new(), upstream.file_url());
    let commit = reader.resolve(&url, "main").await.unwrap();
    drop(reader.tree(&url, &commit).await.unwrap());
    // Take all files but one, and all directories but one, out of the mirror. A reader that looks at more than it was
    // asked for finds them missing.
    let mirror = reader.mirror();
    let pack_directory = mirror.join("objects/pack");
    let away = upstream.root.path().join("away");
    std::fs::rename(&pack_directory, &away).unwrap();
    std::fs::create_dir(&pack_directory).unwrap();
    for object in ["main", "main^{tree}", "main:d7", "main:d7/f777.yaml"] {
        let id = upstream.git(&["rev-parse", object]);
        let kind = upstream.git(&["cat-file", "-t", &id]);
        let content =
            git_command(&upstream.directory()).args(["cat-file", &kind, &id]).output().unwrap().stdout;
        let mut store = git_command(&mirror);
        let store =
            store.args(["hash-object", "-w", "--literally", "-t", &kind, "--stdin"]).stdin(Stdio::piped());
        let mut store = store.stdout(Stdio::null()).spawn().unwrap();
        store.stdin.take().unwrap().write_all(&content).unwrap();
        assert!(store.wait().unwrap().success());
    }
    let reader = Reader::with(reader.cache.clone(), |_| {});
    let tree = reader.tree(&url, &commit).await.unwrap();
    assert_eq!(tree.content(&path("d7/f777.yaml"), 100).unwrap(), "number: 777\n");
    assert_eq!(tree.children(&path("")).unwrap().len(), 200);
    assert_eq!(tree.children(&path("d7")).unwrap().len(), 100);
    assert!(tree.entry(&path("d7/f700.yaml")).unwrap().is_some());
    assert!(tree.children(&path("d8")).is_err(), "the test has not taken the other directories away");
}
