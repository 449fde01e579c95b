use super::*;
use crate::files::{MountedTree, SingleFile, Tree};

/// Renders as a caller does that can fetch these remotes (URL with its query → files; one file is called `-`), and tells
/// how many rounds it took.
fn render_with(
    files: &[(&str, &str)],
    remotes: &[(&str, &[(&str, &str)])],
) -> Result<(Rendered, usize), RenderError> {
    let mut mounts: Vec<(RepoPath, Arc<dyn Tree>)> = Vec::new();
    for round in 1..10 {
        let mounted = MountedTree::new(Arc::new(tree(files)), mounts.clone());
        let files = Files::new(Arc::new(mounted), FileLimits::default());
        match render(&files, &source(json!({"path": "app"})), &context()) {
            Err(RenderError::Remotes(needed)) => {
                assert!(!needed.is_empty());
                for remote in needed {
                    let found = remotes.iter().find(|(url, _)| *url == remote.to_string());
                    let (_, content) = found.unwrap_or_else(|| panic!("asks for {remote}"));
                    let tree: Arc<dyn Tree> = match content {
                        [("-", text)] => Arc::new(SingleFile::new(text.as_bytes().to_vec().into())),
                        files => Arc::new(tree(files)),
                    };
                    mounts.push((remote.mount(), tree));
                }
            }
            result => return result.map(|rendered| (rendered, round)),
        }
    }
    panic!("never has enough")
}

fn refusal_with(files: &[(&str, &str)], remotes: &[(&str, &[(&str, &str)])]) -> String {
    match render_with(files, remotes) {
        Ok((rendered, _)) => panic!("rendered {:?}", names(&rendered)),
        Err(error) => chain(&error),
    }
}

#[test]
fn remote_bases_and_files_are_asked_for_together_and_rendered_like_local_ones() {
    let kustomization = "namePrefix: dev-\nresources:\n- https://host/org/base//web?ref=v1\n- own.yaml\n\
        - github.com/org/other?ref=main\n- https://host/files/c.yaml\ncomponents:\n- ssh://git@host/org/part\n\
        patches:\n- {path: https://host/files/patch.yaml, target: {name: own}}\n";
    let (rendered, rounds) = render_with(
        &[("app/kustomization.yaml", kustomization), ("app/own.yaml", &config_map("own"))],
        &[
            (
                "https://host/org/base?ref=v1",
                &[
                    ("web/kustomization.yaml", "resources: [../shared, web.yaml]\n"),
                    ("web/web.yaml", &config_map("web")),
                    (
                        "shared/kustomization.yaml",
                        "resources: [s.yaml]\nconfigMapGenerator: [{name: g, files: [s.yaml]}]\n",
                    ),
                    ("shared/s.yaml", &config_map("shared")),
                ],
            ),
            (
                "https://github.com/org/other?ref=main",
                &[("kustomization.yaml", "resources: ['https://host/org/base//shared?ref=v2']\n")],
            ),
            (
                "https://host/org/base?ref=v2",
                &[
                    ("shared/kustomization.yaml", "resources: [s.yaml]\n"),
                    ("shared/s.yaml", &config_map("newer")),
                ],
            ),
            ("https://host/files/c.yaml", &[("-", &config_map("single"))]),
            ("https://host/files/patch.yaml", &[("-", "[{op: add, path: /data, value: {patched: 'yes'}}]")]),
            (
                "ssh://git@host/org/part",
                &[(
                    "kustomization.yaml",
                    "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nnameSuffix: -part\n",
                )],
            ),
        ],
    )
    .unwrap_or_else(|error| panic!("{}", chain(&error)));
    let mut found = names(&rendered);
    found.sort_unstable();
    assert_eq!(
        found,
        [
            "dev-g-part-9f44bmgg94",
            "dev-newer-part",
            "dev-own-part",
            "dev-shared-part",
            "dev-single-part",
            "dev-web-part"
        ]
    );
    assert_eq!(rounds, 5, "resources, what they need, components, patches, and then all is there");
    let origin = |name: &str| {
        let found = rendered.objects.iter().find(|rendered| rendered.object.name() == name);
        found.unwrap().origin.path.to_string()
    };
    assert_eq!(origin("dev-shared-part"), "https://host/org/base?ref=v1/shared/s.yaml");
    assert_eq!(origin("dev-single-part"), "https://host/files/c.yaml");
    let read: Vec<String> = rendered.inputs.iter().map(|(path, _)| path.to_string()).collect();
    for path in ["app/own.yaml", "https://host/org/base?ref=v1/web/web.yaml", "https://host/files/patch.yaml"]
    {
        assert!(read.iter().any(|read| read == path), "{path} is no input: {read:?}");
    }
}

#[test]
fn nothing_leads_out_of_a_remote_repository() {
    let top = ("app/kustomization.yaml", "resources: ['https://host/org/base//web']\n");
    let secret = ("secret/kustomization.yaml", "resources: []\n");
    for (file, text) in [
        ("web/kustomization.yaml", "resources: [../../../../secret]\n"),
        ("web/kustomization.yaml", "resources: ['../https:/host/org/../../secret']\n"),
        ("web/kustomization.yaml", "resources: [../../other/x.yaml]\n"),
        ("web/kustomization.yaml", "configMapGenerator: [{name: g, files: [../top.yaml]}]\n"),
        ("web/kustomization.yaml", "resources: ['file:///etc//']\n"),
    ] {
        let remote: &[(&str, &str)] = &[(file, text), ("top.yaml", "x")];
        let remotes = [("https://host/org/base", remote), ("file:///etc", &[("x", "x")])];
        let error = refusal_with(&[top, secret], &remotes);
        assert!(error.contains("https://host/org/base/web/kustomization.yaml"), "{text}: {error}");
    }
}

#[test]
fn an_error_in_a_remote_base_tells_the_way_to_it() {
    let error = refusal_with(
        &[("app/kustomization.yaml", "resources: ['https://host/org/base?ref=v1']\n")],
        &[(
            "https://host/org/base?ref=v1",
            &[("kustomization.yaml", "resources: [a.yaml]\n"), ("a.yaml", "kind: ConfigMap\n  x: [\n")],
        )],
    );
    for part in [
        "app/kustomization.yaml",
        "resources entry 'https://host/org/base?ref=v1'",
        "'https://host/org/base?ref=v1/a.yaml'",
        "line 2",
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
}

#[test]
fn remotes_that_include_each_other_are_a_cycle() {
    let error = refusal_with(
        &[("app/kustomization.yaml", "resources: ['https://host/org/a']\n")],
        &[
            ("https://host/org/a", &[("kustomization.yaml", "resources: ['https://host/org/b']\n")]),
            ("https://host/org/b", &[("kustomization.yaml", "resources: ['https://host/org/a']\n")]),
        ],
    );
    assert!(error.contains("the bases form a cycle"), "{error}");
}

#[test]
fn records_of_the_build_name_the_remote() {
    let kustomization =
        "buildMetadata: [originAnnotations]\nresources: ['https://host/org/base//web?ref=v1']\n";
    let web = "resources: [a.yaml]\nconfigMapGenerator: [{name: g, literals: [a=b]}]\n";
    let (rendered, _) = render_with(
        &[("app/kustomization.yaml", kustomization)],
        &[(
            "https://host/org/base?ref=v1",
            &[("web/kustomization.yaml", web), ("web/a.yaml", &config_map("a"))],
        )],
    )
    .unwrap_or_else(|error| panic!("{}", chain(&error)));
    let records: Vec<&str> = rendered
        .objects
        .iter()
        .filter_map(|rendered| rendered.object.annotation("config.kubernetes.io/origin"))
        .collect();
    assert_eq!(
        records,
        [
            "path: web/a.yaml\nrepo: https://host/org/base\nref: v1\n",
            "repo: https://host/org/base\nref: v1\nconfiguredIn: web/kustomization.yaml\n\
             configuredBy:\n  apiVersion: builtin\n  kind: ConfigMapGenerator\n",
        ]
    );
}
