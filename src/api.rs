//! The custom resources as Rust types, and the rules that belong to single values of them.
//!
//! ```text
//! Application ── spec ──▶ source(s), destination, sync policy          AppProject ── spec ──▶ what its applications may do
//!            ├── operation ▶ a sync somebody asked for
//!            └── status ───▶ sync, health, resources, conditions, history
//! ```
//!
//! Names are Argo CD's (`argoproj.io/v1alpha1`). Reading is tolerant: unknown fields are skipped, a missing field has
//! Go's zero value, and so has a `null`; writing leaves zero values out. Fields that Skiff accepts but does not act on
//! are listed by [`unsupported_fields`] and its sibling for projects, so that nobody has to guess. Only `resource` knows the Kubernetes client.

mod application;
pub mod conditions;
pub mod crd;
pub mod duration;
mod health;
pub mod names;
mod omit;
mod project;
pub mod refresh;
mod resource;
pub mod retry;
mod string_enum;
pub mod sync_options;
mod time;
pub mod tracking;
mod unsupported;

pub use application::*;
pub use health::{HealthStatus, HealthStatusCode};
pub use project::*;
pub use resource::{AppProject, Application, ReadError};
pub use time::Time;
pub use unsupported::{
    UnsupportedField, unknown_object_options, unknown_options, unsupported_fields,
    unsupported_object_options, unsupported_project_fields,
};
