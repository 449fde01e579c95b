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

pub mod error;
pub mod files;
pub mod masked;
