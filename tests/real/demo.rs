//! The demo's story on a real cluster.

use std::time::Duration;

use crate::{
    control_plane,
    process::{self, Process},
    world::World,
};

/// The story waits for rollouts on a cluster that others use too.
const LIMIT: Duration = Duration::from_secs(8 * 60);

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_plays_on_a_real_cluster_and_leaves_nothing() {
    let control_plane = control_plane::shared_async().await;
    let world = World::new().await;
    let kubeconfig = control_plane.kubeconfig().to_str().unwrap();
    let mut demo = Process::start(process::skiff(&["demo", "--kubeconfig", kubeconfig]));
    let status = demo.end(LIMIT).await;
    let told = format!("{}\n{}", demo.out.all().join("\n"), demo.err.all().join("\n"));
    assert!(status.is_some_and(|status| status.success()), "{told}");
    assert!(told.contains("All 8 steps came true"), "{told}");
    let namespaces = world.list("v1", "Namespace", "").await;
    let left: Vec<&str> = namespaces
        .iter()
        .filter_map(|namespace| namespace["metadata"]["name"].as_str())
        .filter(|name| name.starts_with("skiff-demo-"))
        .collect();
    assert_eq!(left, Vec::<&str>::new());
}
