use skiff::git::writer::{self, Change};
use tempfile::TempDir;

use crate::world::{Upstream, author, git, path, write};

#[test]
fn changes_make_a_commit_that_git_finds_sound() {
    let upstream = Upstream::new();
    let link = Change::Link(path("apps/link"), "../file".to_owned());
    let commit = upstream.commit("main", &[write("apps/a.yaml", "a"), link, Change::Remove(path("file"))]);
    upstream.git(&["fsck", "--strict"]);
    assert_eq!(upstream.git(&["rev-parse", "main"]), commit.as_str());
    assert_eq!(upstream.git(&["ls-tree", "-r", "--name-only", "main"]), "apps/a.yaml\napps/link");
    assert_eq!(upstream.git(&["cat-file", "-p", "main:apps/link"]), "../file");
    assert_eq!(upstream.git(&["log", "--format=%an %s", "main"]), "Test a commit\nTest a commit");
}

#[test]
fn a_revert_undoes_its_commit_and_nothing_else() {
    let upstream = Upstream::new();
    let bad = upstream.commit("main", &[write("file", "broken")]);
    upstream.commit("main", &[write("other", "later")]);
    writer::revert(&upstream.directory(), "main", &bad, &author()).unwrap();
    assert_eq!(upstream.git(&["show", "main:file"]), "one");
    assert_eq!(upstream.git(&["show", "main:other"]), "later");
    assert!(
        upstream.git(&["show", "-s", "--format=%B", "main"]).contains(&format!("This reverts commit {bad}."))
    );
}

#[test]
fn a_revert_that_later_commits_stand_in_the_way_of_changes_nothing() {
    let upstream = Upstream::new();
    let bad = upstream.commit("main", &[write("file", "broken")]);
    let tip = upstream.commit("main", &[write("file", "on top")]);
    let error = writer::revert(&upstream.directory(), "main", &bad, &author()).unwrap_err();
    assert!(skiff::error::chain(&error).contains("later commits"), "{error:?}");
    assert_eq!(upstream.git(&["rev-parse", "main"]), tip.as_str());
}

#[test]
fn a_working_tree_follows_its_branch() {
    let directory = TempDir::new().unwrap();
    writer::init(directory.path(), false).unwrap();
    let commit = |branch: &str, changes: &[Change]| {
        writer::commit(directory.path(), branch, changes, "message", &author()).unwrap()
    };
    commit("main", &[write("file", "one"), write("gone", "x")]);
    commit("main", &[write("file", "two"), Change::Remove(path("gone"))]);
    commit("other", &[write("file", "other")]);
    assert_eq!(std::fs::read_to_string(directory.path().join("file")).unwrap(), "two");
    assert_eq!(git(directory.path(), &["status", "--porcelain"]), "");
}
