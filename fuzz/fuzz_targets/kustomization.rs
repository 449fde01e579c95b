//! Any bytes as a kustomization file and as a resource: built or refused, twice in the same way.

#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use skiff::{
    files::{FileLimits, Files, MemoryTree, RepoPath},
    render::kustomize::{Options, build},
};

const OBJECT: &str = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {template: {spec: {containers: \
    [{name: a, image: nginx}]}}}\n";

fuzz_target!(|input: &[u8]| {
    // The part behind the first zero byte is another file.
    let mut parts = input.splitn(2, |byte| *byte == 0);
    let kustomization = parts.next().unwrap_or_default().to_vec();
    let other = parts.next().unwrap_or_default().to_vec();
    let files =
        [("kustomization.yaml", kustomization), ("a.yaml", OBJECT.as_bytes().to_vec()), ("b.yaml", other)];
    let tree = MemoryTree::new(files).expect("the paths are fine");
    let render = || {
        let files = Files::new(Arc::new(tree.clone()), FileLimits::default());
        build(&files, &RepoPath::root(), &Options::default())
            .map(|output| output.objects)
            .map_err(|error| error.to_string())
    };
    assert_eq!(render(), render());
});
