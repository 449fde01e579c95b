//! The agent from a Git commit to a reconciled cluster, each behaviour as somebody outside sees it.
//!
//! A test asks the harness for a [`World`](harness::World): a cluster, a repository, an agent. It does not know which
//! cluster it got. It acts as people do (commits, edits, Applications) and waits for what they would see.

mod harness;

mod automated;
mod cli;
mod crds;
mod deletion;
mod drift;
mod kustomize;
mod operation;
mod project;
mod prune;
mod recorder;
mod sources;
mod status;
mod sync;
mod waves;
