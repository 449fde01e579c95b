//! The parts of an Application.

mod hydrator;
mod operation;
mod source;
mod spec;
mod status;

pub use hydrator::*;
pub use operation::*;
pub use source::*;
pub use spec::*;
pub use status::*;
