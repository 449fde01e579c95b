//! The binary as a process: what it prints, how it exits, and that it ends well when it is told to.
//!
//! A [`World`](world::World) has a sandbox on loopback, a kubeconfig that leads there, and a repository. Tests start
//! the binary as people and Pods do, and look at its output, its exit code and the cluster.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stderr
)]

mod agent;
mod alerts;
mod app;
mod diff;
mod health;
mod image;
mod install;
mod offline;
mod repository;
mod sandbox;
mod steps;
mod tekton;
mod world;
