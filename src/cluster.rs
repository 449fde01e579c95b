//! The destination cluster: what kinds it has, what lives in it, and writes to it.
//!
//! ```text
//!              ┌────────────── Cluster ──────────────┐
//! discovery ──▶│ kind of a Gvk, or why it is unknown │
//! watches ────▶│ LiveIndex: stripped live objects    │──▶ who is affected by an event
//! Permitted ──▶│ apply, dry run, delete              │──▶ the live object that came of it
//!              └─────────────────────────────────────┘
//! ```
//!
//! Only kinds that somebody requires are watched. What a watch shows is kept as compact JSON, without what neither
//! comparison nor health needs. A write takes a [`Permitted`](crate::project::Permitted) value, which only `project`
//! makes; each request has a time limit, and none is sent while another replica leads ([`transport::Gate`]).
//! This room holds no rules: what belongs to whom and what to strip is given to it as functions.

mod api;
mod backoff;
pub mod discovery;
mod error;
pub mod live;
mod parallel;
mod reach;
pub mod transport;
pub mod tree;
pub mod watches;

use std::{sync::Arc, time::Duration};

pub use api::{Cluster, FieldValidation, kinds_of_definition};
pub use backoff::WatchBackoff;
pub use error::ClusterError;
pub use parallel::bounded;
pub use reach::Reach;

/// How long requests may take.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// One read.
    pub read: Duration,
    /// One write. Together with the time that a lease is trusted after its last renewal this must not be longer
    /// than the lease: a write that began while this replica led must end before another one may lead.
    pub write: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { read: Duration::from_secs(30), write: Duration::from_secs(15) }
    }
}

/// Names the owner of an object.
pub type OwnerOf = dyn Fn(&crate::object::Object) -> Option<String> + Send + Sync;
/// Takes out of an object what is not kept.
pub type Strip = dyn Fn(serde_json::Value) -> serde_json::Value + Send + Sync;

/// What the index must be told about objects, since it holds no rules itself.
#[derive(Clone)]
pub struct LiveRules {
    /// The instance name of the application that an object is tracked by.
    pub owner: Arc<OwnerOf>,
    /// Drops what neither comparison nor health needs.
    pub strip: Arc<Strip>,
}
