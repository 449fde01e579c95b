//! Values that do not print: credentials, keys, contents of Secrets.
//!
//! A [`Masked`] value shows as `****` in `Debug` and `Display` and cannot be serialized, so it cannot slip into a
//! log, an event, a status or an error. Whoever hands it to the one host that it belongs to calls [`Masked::reveal`],
//! which is easy to search for.

use std::fmt;

/// What stands where a secret value would stand.
pub const MASK: &str = "****";

/// A secret value. Its text is overwritten by nothing and printed by nothing.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Masked<T = String>(T);

impl<T> Masked<T> {
    /// Wraps a secret value.
    pub fn new(value: T) -> Self {
        Self(value)
    }

    /// The value itself, for the connection that it belongs to and for nothing else.
    pub fn reveal(&self) -> &T {
        &self.0
    }
}

impl<T> fmt::Debug for Masked<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl<T> fmt::Display for Masked<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}
