//! From a Kustomize tree on disk to checked objects; beside it the `kustomize` binary, where one is on the `PATH`.

#![allow(clippy::unwrap_used)]

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use divan::{Bencher, counter::ItemsCount};
use skiff::{
    api::ApplicationSource,
    files::{DerivedCache, DiskTree, EntryKind, FileLimits, Files, FilesError, RepoPath, Tree, TreeEntry},
    render::{RenderContext, render},
};

#[path = "support/application.rs"]
mod application;
#[path = "support/tree.rs"]
mod tree;

/// The one that the binary has.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() {
    divan::main();
}

#[divan::bench(args = [100, 500, 1000, 5000], sample_count = 10, sample_size = 1)]
fn kustomize_overlay(bencher: Bencher, objects: usize) {
    let directory = tempfile::tempdir().unwrap();
    tree::write(directory.path(), objects);
    let source = ApplicationSource { path: "overlays/o0".to_owned(), ..Default::default() };
    bencher.counter(ItemsCount::new(objects)).bench_local(|| {
        let files = Files::new(Arc::new(DiskTree::new(directory.path()).unwrap()), FileLimits::default());
        let rendered = render(&files, &source, &RenderContext::default()).unwrap();
        assert!(rendered.objects.len() >= objects);
        rendered
    });
}

/// A tree whose entries are known by their contents, as Git's are.
#[derive(Clone, Default)]
struct Stored(HashMap<RepoPath, (TreeEntry, Bytes)>);

impl Stored {
    fn insert(&mut self, path: &RepoPath, content: Vec<u8>) {
        let mut hasher = DefaultHasher::new();
        content.hash(&mut hasher);
        let id = format!("{:x}-{}", hasher.finish(), content.len()).into();
        self.0.insert(path.clone(), (TreeEntry { kind: EntryKind::File, id }, content.into()));
        let mut above = path.parent();
        while let Some(directory) = above {
            above = directory.parent();
            let entry = TreeEntry { kind: EntryKind::Directory, id: "".into() };
            self.0.entry(directory).or_insert((entry, Bytes::new()));
        }
    }
}

impl Tree for Stored {
    fn entry(&self, path: &RepoPath) -> Result<Option<TreeEntry>, FilesError> {
        Ok(self.0.get(path).map(|(entry, _)| entry.clone()))
    }

    fn children(&self, _: &RepoPath) -> Result<Vec<(String, TreeEntry)>, FilesError> {
        Ok(Vec::new())
    }

    fn content(&self, path: &RepoPath, _: u64) -> Result<Bytes, FilesError> {
        self.0
            .get(path)
            .map(|(_, content)| content.clone())
            .ok_or_else(|| FilesError::NotFound { path: path.clone() })
    }
}

/// The same tree, one file of it changed since the last render, as the agent renders it after a commit.
#[divan::bench(args = [500, 5000], sample_count = 10, sample_size = 1)]
fn kustomize_overlay_one_file_changed(bencher: Bencher, objects: usize) {
    let directory = tempfile::tempdir().unwrap();
    tree::write(directory.path(), objects);
    let mut tree = Stored::default();
    for name in ["base", "overlays/o0"] {
        for entry in std::fs::read_dir(directory.path().join(name)).unwrap() {
            let path = entry.unwrap().path();
            let inside = path.strip_prefix(directory.path()).unwrap().to_str().unwrap();
            tree.insert(&RepoPath::parse(inside).unwrap(), std::fs::read(&path).unwrap());
        }
    }
    let source = ApplicationSource { path: "overlays/o0".to_owned(), ..Default::default() };
    let parsed = Arc::new(DerivedCache::new(64 << 20, Duration::from_secs(3600)));
    let changed = RepoPath::parse("base/app0.yaml").unwrap();
    let mut count = 0;
    bencher.counter(ItemsCount::new(objects)).bench_local(|| {
        count += 1;
        tree.insert(&changed, format!("{}# {count}\n", application::application(0)).into());
        let files =
            Files::new(Arc::new(tree.clone()), FileLimits::default()).with_derived(Arc::clone(&parsed));
        let rendered = render(&files, &source, &RenderContext::default()).unwrap();
        files.keep_derived();
        rendered
    });
}

/// The same tree through the binary; at 5,000 objects it would take minutes.
#[divan::bench(args = [100, 500, 1000], sample_count = 3, sample_size = 1, ignore = !has_kustomize())]
fn kustomize_overlay_by_kustomize(bencher: Bencher, objects: usize) {
    let directory = tempfile::tempdir().unwrap();
    tree::write(directory.path(), objects);
    let overlay = directory.path().join("overlays/o0");
    bencher
        .counter(ItemsCount::new(objects))
        .bench_local(|| run(Command::new("kustomize").arg("build").arg(&overlay)));
}

/// A small overlay as a person or a pipeline renders it: a process from its start to its end.
#[divan::bench(sample_count = 20, sample_size = 1)]
fn small_overlay(bencher: Bencher) {
    let directory = small_tree();
    let overlay = directory.path().join("overlay");
    bencher.bench_local(|| run(Command::new(env!("CARGO_BIN_EXE_skiff")).arg("render").arg(&overlay)));
}

/// The same through the binary.
#[divan::bench(sample_count = 20, sample_size = 1, ignore = !has_kustomize())]
fn small_overlay_by_kustomize(bencher: Bencher) {
    let directory = small_tree();
    let overlay = directory.path().join("overlay");
    bencher.bench_local(|| run(Command::new("kustomize").arg("build").arg(&overlay)));
}

fn has_kustomize() -> bool {
    let version =
        Command::new("kustomize").arg("version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    version.is_ok_and(|status| status.success())
}

fn run(command: &mut Command) {
    assert!(command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success());
}

/// A base of a Deployment and a Service, and an overlay with the usual changes.
fn small_tree() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = directory.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap_or(Path::new("."))).unwrap();
        std::fs::write(path, text).unwrap();
    };
    let deployment = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec:\n  selector: {matchLabels: {app: web}}\n  \
        template:\n    metadata: {labels: {app: web}}\n    spec: {containers: [{name: web, image: web:1}]}\n---\n\
        apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {selector: {app: web}, ports: [{port: 80}]}\n";
    write("base/all.yaml", deployment);
    write(
        "base/kustomization.yaml",
        "resources: [all.yaml]\nconfigMapGenerator: [{name: web, literals: [a=b]}]\n",
    );
    let overlay = "resources: [../base]\nnamespace: shop\nnamePrefix: dev-\nimages: [{name: web, newTag: '2'}]\npatches:\n- patch: |\n    \
        {apiVersion: apps/v1, kind: Deployment, metadata: {name: web}, spec: {replicas: 3}}\n";
    write("overlay/kustomization.yaml", overlay);
    directory
}

#[divan::bench(args = [100, 1000], sample_count = 10, sample_size = 1)]
fn plain_directory(bencher: Bencher, objects: usize) {
    let directory = tempfile::tempdir().unwrap();
    tree::write(directory.path(), objects);
    std::fs::remove_file(directory.path().join("base/kustomization.yaml")).unwrap();
    let source = ApplicationSource { path: "base".to_owned(), ..Default::default() };
    bencher.counter(ItemsCount::new(objects)).bench_local(|| {
        let files = Files::new(Arc::new(DiskTree::new(directory.path()).unwrap()), FileLimits::default());
        let rendered = render(&files, &source, &RenderContext::default()).unwrap();
        assert_eq!(rendered.objects.len(), objects);
        rendered
    });
}
