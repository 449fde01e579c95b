use std::path::Path;

use super::*;
use crate::{
    error::chain,
    files::RepoPath,
    git::writer::{self, Change},
    object::GroupKind,
};

/// What the demonstration writes with these arguments.
async fn played(arguments: &DemoArguments, stop: &CancellationToken) -> (Result<(), DemoError>, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut console = Console { out: &mut out, err: &mut err, input: None, colours: false };
    let result = play(arguments, &mut Narrator::new(&mut console, false), stop).await;
    (result, String::from_utf8(out).unwrap())
}

fn repository(output: &str) -> &Path {
    Path::new(output.lines().next().unwrap().strip_prefix("Git repository: ").unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn demo_tells_the_whole_story() {
    let (result, output) = played(&DemoArguments::default(), &CancellationToken::new()).await;
    result.unwrap_or_else(|error| panic!("{}\n{output}", chain(&error)));
    let told: Vec<&str> = output.lines().filter(|line| line.starts_with("ok ")).collect();
    assert_eq!(told.len(), STORY.len(), "{output}");
    for (line, step) in told.iter().zip(STORY) {
        assert!(line.contains(step.title) && line.contains('→'), "{line}");
    }
    assert!(output.contains("All 8 steps came true in "), "{output}");
    assert!(!output.contains('\u{1b}'), "{output}");
    assert!(!repository(&output).exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_story_that_is_interrupted_leaves_nothing_behind() {
    let stop = CancellationToken::new();
    let mut stage = Stage::on_sandbox().unwrap();
    let directory = stage.directory().to_owned();
    stop.cancel();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut console = Console { out: &mut out, err: &mut err, input: None, colours: false };
    let arguments = DemoArguments::default();
    let result = perform(&mut stage, &arguments, &mut Narrator::new(&mut console, false), &stop).await;
    stage.end().await.unwrap();
    assert!(matches!(result, Err(DemoError::Interrupted)));
    assert!(!directory.exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_is_left_as_it_was_found() {
    let sandbox = crate::sandbox::Sandbox::builder().build();
    let server = sandbox.serve(ServeOptions::default()).await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let kubeconfig = directory.path().join("kubeconfig");
    fs::write(&kubeconfig, server.kubeconfig().to_string()).unwrap();
    let known = || {
        let kind = |group: &str, kind: &str| sandbox.store().list(&GroupKind::new(group, kind), None);
        let mut all = kind("", "Namespace");
        all.extend(kind("apiextensions.k8s.io", "CustomResourceDefinition"));
        all.into_iter()
            .map(|object| object["metadata"]["name"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let found = known();

    let mut first = Stage::on_cluster(&kubeconfig, None).await.unwrap();
    first.prepare().await.unwrap();
    (STORY.first().unwrap().act)(&mut first.world).await.unwrap();
    let with_first = known();
    assert_eq!(with_first.len(), found.len() + 4 + 2, "{with_first:?}");

    // Another one finds Skiff's kinds installed, so that they are not its to remove.
    let mut second = Stage::on_cluster(&kubeconfig, None).await.unwrap();
    second.prepare().await.unwrap();
    assert_eq!(known().len(), with_first.len() + 1);
    second.end().await.unwrap();
    assert_eq!(known(), with_first);

    first.end().await.unwrap();
    sandbox_settles(&sandbox, || known() == found).await;
}

/// Waits until the last CustomResourceDefinition is gone: nobody waits for that on a cluster.
async fn sandbox_settles(sandbox: &crate::sandbox::Sandbox, is_so: impl Fn() -> bool) {
    let kind = GroupKind::new("apiextensions.k8s.io", "CustomResourceDefinition");
    let mut changes = sandbox.store().watch(&kind);
    let settled = async {
        while !is_so() {
            changes.next().await.unwrap();
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), settled).await.unwrap();
}

#[tokio::test]
async fn a_step_that_does_not_come_true_says_what_is_missing() {
    let mut stage = Stage::on_sandbox().unwrap();
    stage.prepare().await.unwrap();
    // Nobody is left who could make it true.
    stage.agent.take().unwrap().abort();
    stage.world.limit = std::time::Duration::from_millis(50);
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut console = Console { out: &mut out, err: &mut err, input: None, colours: false };
    let error = tell(&mut stage.world, &mut Narrator::new(&mut console, false)).await.unwrap_err();
    let message = chain(&error);
    assert!(
        message.starts_with("step 1 did not come true (First sync of three environments): "),
        "{message}"
    );
    assert!(message.contains("Deployment order-service of dev"), "{message}");
    assert!(String::from_utf8(out).unwrap().starts_with("failed "));
    stage.end().await.unwrap();
}

#[tokio::test]
async fn an_edit_of_a_manifest_that_changed_is_refused() {
    let stage = Stage::on_sandbox().unwrap();
    writer::init(&stage.world.repository, true).unwrap();
    let change = Change::Write(RepoPath::parse("a.yaml").unwrap(), b"replicas: 1\n".to_vec());
    stage.world.commit("one file", &[change]).unwrap();
    let error = stage.world.edit("a.yaml", "replicas: 2", "replicas: 3").unwrap_err();
    assert_eq!(error.to_string(), "cannot edit a.yaml: it has no \"replicas: 2\"");
    stage.end().await.unwrap();
}

#[test]
fn looking_around_names_the_places_to_look_at() {
    let place = manifests::Place {
        repository: "file:///r".to_owned(),
        agent_namespace: "argocd".to_owned(),
        namespace_prefix: "shop-".to_owned(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _entered = runtime.enter();
    let sandbox = crate::sandbox::Sandbox::builder().build();
    let world = World::new(sandbox.client(), PathBuf::from("/r"), place);
    let hints = hints(&world, Path::new("/k"), Some("blue"));
    for expected in [
        "export KUBECONFIG=/k\n",
        "kubectl --context blue get applications,appprojects -n argocd\n",
        "skiff app --context blue -N argocd list\n",
        "kubectl --context blue scale deployment order-service -n shop-production",
        "git clone /r manifests",
        "skiff rollback --context blue -N argocd order-service-production\n",
    ] {
        assert!(hints.contains(expected), "{expected} in {hints}");
    }
}
