//! Compares Skiff with the recorded output of the tools that it stands in for.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]

mod health;
mod kustomize;
