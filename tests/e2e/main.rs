//! The agent from a Git commit to a reconciled cluster, each behaviour as somebody outside sees it.
//!
//! A test asks the harness for a [`World`](harness::World): a cluster, a repository, an agent. It does not know which
//! cluster it got. It acts as people do (commits, edits, Applications) and waits for what they would see.

// Clippy exempts test functions from these lints, and not the functions that they share.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice
)]

mod harness;
#[allow(dead_code, reason = "the tests of Git use the rest")]
#[path = "../git/http_server.rs"]
mod http_server;
mod recorder;
mod remotes;
#[allow(dead_code, reason = "the tests of Git use the rest")]
#[path = "../git/world.rs"]
mod world;

mod automated;
mod bad_input;
mod cli;
mod crds;
mod credentials;
mod deletion;
mod drift;
mod events;
mod faults;
mod invariants;
mod kustomize;
mod leadership;
mod metrics;
mod operation;
mod project;
mod project_fields;
mod prune;
mod secrets;
mod settings;
mod sources;
mod status;
mod sync;
mod waves;
