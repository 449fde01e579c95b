//! Syncing: what is done in which order, when, how often, and the carrying out of it.
//!
//! ```text
//! candidates (desired, live, verdict) ──plan──▶ groups of tasks ──step──▶ what comes next ──executor──▶ results
//!                    │                              ▲                                                     │
//!                    │                              └──────────────── record (rows of the operation) ◀────┘
//!                    └──rollup──▶ rows, sync status, summary ──auto──▶ start a sync? when?
//! ```
//!
//! All but the executor are functions of values.

pub mod app_of_apps;
pub mod auto;
pub mod cascade;
pub mod executor;
pub mod guard;
pub mod hook;
pub mod order;
pub mod ownership;
pub mod plan;
pub mod prune;
pub mod record;
pub mod retry;
pub mod rollup;
pub mod step;

/// Whether an object of a source is an ordinary resource: neither a hook nor marked to be skipped.
pub fn is_resource(object: &crate::object::Object) -> bool {
    hook::Role::of(object).is_resource()
}

#[cfg(test)]
mod tests;
