//! From a Kustomize tree on disk to checked objects.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use divan::{Bencher, counter::ItemsCount};
use skiff::{
    api::ApplicationSource,
    files::{DiskTree, FileLimits, Files},
    render::{RenderContext, render},
};

#[path = "support/application.rs"]
mod application;
#[path = "support/tree.rs"]
mod tree;

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
