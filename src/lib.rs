//! Skiff, a light pull-based GitOps agent for Kubernetes that speaks Argo CD's API.
//!
//! Data travels down this list and never up:
//!
//! ```text
//! git ─▶ render ─▶ compare ─▶ plan ─▶ execute ─▶ status
//! ```
//!
//! `object`, `files`, `render`, `compare`, `health`, `project` and the planning half of `sync` are functions of values
//! and do no I/O. Whoever does I/O (`git`, `cluster`, `controller`) holds no rules.

pub mod api;
pub mod cli;
pub mod cluster;
pub mod compare;
pub mod controller;
pub mod edit;
pub mod error;
pub mod events;
pub mod expiry;
pub mod files;
pub mod git;
mod glob;
pub mod health;
pub mod masked;
pub mod metrics;
pub mod object;
mod places;
pub mod project;
pub mod render;
pub mod sandbox;
pub mod settings;
pub mod sync;
