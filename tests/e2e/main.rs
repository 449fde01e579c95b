//! The end-to-end suite on sandboxes, of which each world has one of its own. The crate `real` runs the same suite on a
//! real control plane.

// Clippy exempts test functions from these lints, and not the functions that they share.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice
)]

#[path = "suite.rs"]
mod suite;

use std::time::Duration;

use skiff::sandbox::Sandbox;

use suite::cluster::{Cluster, Wishes, install, own_definitions};

const PATIENCE: Duration = Duration::from_secs(30);

/// A sandbox that is quick, but not so quick that nothing has to be waited for.
async fn cluster(wishes: Wishes) -> Cluster {
    let delay = Duration::from_millis(5);
    let sandbox = Sandbox::builder().pod_ready_delay(delay).crd_established_delay(delay).build();
    let client = sandbox.client();
    let definitions = wishes.definitions.unwrap_or_else(own_definitions);
    install(&client, &definitions, PATIENCE).await;
    Cluster::new(client, PATIENCE, sandbox)
}
