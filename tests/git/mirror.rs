use std::{fs, path::Path, sync::Arc};

use skiff::{
    files::{FilesError, Tree as _},
    git::{GitError, RepoUrl, Request},
};

use tokio::sync::watch;

use crate::http_server::{Behaviour, HttpServer};
use crate::world::{Reader, Upstream, git_command, path, write};

fn packs(mirror: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(mirror.join("objects/pack")).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|extension| extension == "pack")).collect()
}

#[tokio::test]
async fn polls_without_news_do_not_fetch() {
    let upstream = Upstream::new();
    let (reader, url) = (Reader::new(), upstream.file_url());
    for _ in 0..5 {
        assert_eq!(reader.read(&url, "main", "file").await.unwrap(), "one");
    }
    assert_eq!((reader.counter.count(Request::LsRemote), reader.counter.count(Request::Fetch)), (5, 1));
    upstream.commit("main", &[write("file", "two")]);
    assert_eq!(reader.read(&url, "main", "file").await.unwrap(), "two");
    assert_eq!(reader.counter.count(Request::Fetch), 2);
}

#[tokio::test]
async fn callers_at_the_same_time_share_requests() {
    let upstream = Upstream::new();
    let (open, gate) = watch::channel(false);
    let server = HttpServer::start(&upstream, Behaviour::Gate(gate)).await;
    let (reader, url) = (Reader::new(), server.url());
    let mut callers: Vec<_> = (0..20).map(|_| Box::pin(reader.read(&url, "main", "file"))).collect();
    for caller in &mut callers {
        assert!(futures::poll!(caller).is_pending());
    }
    open.send(true).unwrap();
    let contents = futures::future::join_all(callers).await;
    assert!(contents.into_iter().all(|content| content.unwrap() == "one"));
    assert_eq!(reader.counter.count(Request::Fetch), 1);
    // The first, and one for all who came while that was under way: it may have missed a push.
    assert_eq!(reader.counter.count(Request::LsRemote), 2);
}

#[tokio::test]
async fn what_was_fetched_survives_a_restart() {
    let upstream = Upstream::new();
    let (reader, url) = (Reader::new(), upstream.file_url());
    reader.read(&url, "main", "file").await.unwrap();
    let restarted = Reader::with(Arc::clone(&reader.cache), |_| {});
    assert_eq!(restarted.read(&url, "main", "file").await.unwrap(), "one");
    assert_eq!(restarted.counter.count(Request::Fetch), 0);
}

#[tokio::test]
async fn a_damaged_mirror_is_fetched_anew() {
    let upstream = Upstream::new();
    let (reader, url) = (Reader::new(), upstream.file_url());
    reader.read(&url, "main", "file").await.unwrap();
    let (cache, mirror) = (Arc::clone(&reader.cache), reader.mirror());
    // libgit2 keeps packs open for as long as anybody reads from them.
    drop(reader);
    for damage in ["pack", "objects", "head", "everything"] {
        let directory = mirror.parent().unwrap();
        let generation = fs::read_dir(directory).unwrap().next().unwrap().unwrap().path();
        let mirror = generation;
        match damage {
            "pack" => {
                for pack in packs(&mirror) {
                    fs::remove_file(&pack).unwrap();
                    fs::write(&pack, "rubbish").unwrap();
                }
            }
            "objects" => {
                fs::remove_dir_all(mirror.join("objects")).unwrap();
                fs::create_dir(mirror.join("objects")).unwrap();
            }
            "head" => fs::remove_file(mirror.join("HEAD")).unwrap(),
            _ => fs::remove_dir_all(&mirror).unwrap(),
        }
        let restarted = Reader::with(Arc::clone(&cache), |_| {});
        assert_eq!(restarted.read(&url, "main", "file").await.unwrap(), "one", "{damage}");
        assert_eq!(restarted.counter.count(Request::Fetch), 1, "{damage}");
    }
}

#[tokio::test]
async fn damage_that_shows_while_reading_is_repaired_by_the_next_fetch() {
    let upstream = Upstream::new();
    upstream.commit("main", &[write("directory/file", "below")]);
    let (reader, url) = (Reader::new(), upstream.file_url());
    let commit = reader.resolve(&url, "main").await.unwrap();
    let tree = reader.tree(&url, &commit).await.unwrap();
    let mirror = reader.mirror();
    for pack in packs(&mirror) {
        let objects = fs::File::open(&pack).unwrap();
        fs::remove_file(&pack).unwrap();
        fs::remove_file(pack.with_extension("idx")).unwrap();
        let mut unpack = git_command(&mirror);
        assert!(unpack.args(["unpack-objects", "-q"]).stdin(objects).status().unwrap().success());
    }
    drop((tree, reader.repositories));
    let id = upstream.git(&["rev-parse", "main:directory/file"]);
    fs::remove_file(mirror.join("objects").join(&id[..2]).join(&id[2..])).unwrap();

    let reader = Reader::with(reader.cache, |_| {});
    let tree = reader.tree(&url, &commit).await.unwrap();
    assert!(matches!(tree.content(&path("directory/file"), 100), Err(FilesError::Storage { .. })));
    drop(tree);
    let tree = reader.tree(&url, &commit).await.unwrap();
    assert_eq!(tree.content(&path("directory/file"), 100).unwrap(), "below");
}

#[tokio::test]
async fn a_mirror_in_many_pieces_is_replaced_while_old_trees_stay_readable() {
    let upstream = Upstream::new();
    let (reader, url) = (Reader::new(), upstream.file_url());
    let first = reader.resolve(&url, "main").await.unwrap();
    let old = reader.tree(&url, &first).await.unwrap();
    let first_mirror = reader.mirror();
    for number in 0..103 {
        upstream.commit("main", &[write("file", &number.to_string())]);
        assert_eq!(reader.read(&url, "main", "file").await.unwrap(), number.to_string());
    }
    assert_eq!(old.content(&path("file"), 100).unwrap(), "one");
    drop(old);
    assert!(!first_mirror.exists());
    assert!(packs(&reader.mirror()).len() < 10);
}

#[tokio::test]
async fn metadata_of_a_commit_names_its_author_message_and_tags() {
    let upstream = Upstream::new();
    upstream.git(&["tag", "-a", "v1", "-m", "tagged", "main"]);
    let (reader, url) = (Reader::new(), upstream.file_url());
    let commit = reader.resolve(&url, "v1").await.unwrap();
    let metadata = reader
        .repositories
        .commit_metadata(&url, &reader.credentials, &commit, &reader.cancel)
        .await
        .unwrap();
    assert_eq!(metadata.author, "Test <test@example.com>");
    assert_eq!(metadata.message, "a commit");
    assert_eq!(metadata.tags, ["v1"]);
    assert_eq!(metadata.seconds.to_string(), upstream.git(&["show", "-s", "--format=%at", "main"]));
}

#[tokio::test]
async fn locks_that_a_killed_process_left_behind_stop_nothing() {
    let upstream = Upstream::new();
    let server = HttpServer::start(&upstream, Behaviour::Serve).await;
    let (reader, url) = (Reader::new(), server.url());
    reader.read(&url, "main", "file").await.unwrap();
    let (cache, mirror) = (Arc::clone(&reader.cache), reader.mirror());
    drop(reader);
    let references = fs::read_dir(mirror.join("refs/skiff/one")).unwrap().map(|entry| entry.unwrap().path());
    let locks: Vec<_> = references.map(|reference| reference.with_extension("lock")).collect();
    let locks: Vec<_> =
        locks.into_iter().chain(["shallow.lock", "packed-refs.lock"].map(|name| mirror.join(name))).collect();
    for lock in &locks {
        fs::write(lock, "").unwrap();
    }
    let restarted = Reader::with(cache, |_| {});
    for content in ["two", "three"] {
        upstream.commit("main", &[write("file", content)]);
        assert_eq!(restarted.read(&url, "main", "file").await.unwrap(), content);
    }
    assert_eq!(restarted.mirror(), mirror);
    assert!(locks.len() > 2 && locks.iter().all(|lock| !lock.exists()), "{locks:?}");
}

#[tokio::test]
async fn a_mirror_is_no_repository_that_an_application_can_name() {
    let upstream = Upstream::new();
    let reader = Reader::new();
    reader.read(&upstream.file_url(), "main", "file").await.unwrap();
    let link = upstream.root.path().join("link");
    std::os::unix::fs::symlink(reader.mirror(), &link).unwrap();
    for directory in [reader.mirror(), link] {
        let url = RepoUrl::parse(&format!("file://{}", directory.display())).unwrap();
        let error = reader.references(&url).await.unwrap_err();
        assert!(matches!(error, GitError::NotFound { .. }), "{error:?}");
    }
}
