//! The agent from a Git commit to a reconciled cluster, each behaviour as somebody outside sees it.
//!
//! A test asks the harness for a [`World`](harness::World): a cluster, a repository, an agent. It does not know which
//! cluster it got: the suite is part of two crates, whose roots decide. It acts as people do (commits, edits,
//! Applications) and waits for what they would see.

pub mod cluster;
pub mod harness;
#[allow(dead_code, reason = "the tests of Git use the rest")]
#[path = "../git/http_server.rs"]
mod http_server;
pub mod recorder;
#[allow(dead_code, reason = "the tests of Git use the rest")]
#[path = "../git/world.rs"]
mod world;

mod adoption;
mod app_diff;
mod app_of_apps;
mod automated;
mod bad_input;
mod cli;
mod crds;
mod credentials;
mod deletion;
mod drift;
mod events;
mod faults;
mod guard;
mod health;
mod hook_outcomes;
mod hooks;
mod invariants;
mod isolation;
mod kustomize;
mod leadership;
mod metrics;
mod namespaced;
mod operation;
mod options;
mod orphans;
mod project;
mod project_fields;
mod prune;
mod recovery;
mod remotes;
mod rollback;
mod secrets;
mod settings;
mod several_sources;
mod shadow;
mod sources;
mod status;
mod sync;
mod waves;
mod windows;
