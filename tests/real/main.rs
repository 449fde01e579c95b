//! What is tested on a real Kubernetes control plane: the whole end-to-end suite a second time, what only the real
//! thing shows, and the sandbox against it.
//!
//! See [`control_plane`] for where it comes from. Each test has namespaces and repositories of its own on the one that
//! all share, or takes its turn on the one that may be disrupted.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stderr
)]

#[path = "../support/control_plane.rs"]
mod control_plane;
mod differential;
#[allow(dead_code, reason = "the tests of the binary use the rest")]
#[path = "../process/world.rs"]
mod process;
mod world;

mod admission;
mod aggregation;
mod custom_resources;
mod demo;
mod disruption;
mod installation;
mod kill;
mod kubectl;
mod permissions;
mod token;

#[path = "../e2e/suite.rs"]
mod suite;
mod worlds;

use worlds::cluster;
