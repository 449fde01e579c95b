//! What one render may use besides what it reads: time, and memory for what it makes.
//!
//! A short source can ask for endless work: a base that is used a thousand times, a patch for each of ten thousand
//! objects, a value that is copied into itself. Whoever loops over such things calls [`Budget::check`], and whoever
//! copies a value calls [`Budget::spend`]; so a render ends by itself, wherever it is.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use serde_json::Value;

/// Values nested deeper than this are no manifests, and would overflow the stack.
const DEPTH: usize = 512;
/// What a render may make at most, unless something else is said: roughly as JSON.
const BYTES: usize = 256 << 20;

/// A budget is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Exhausted {
    /// The time.
    #[error("it takes longer than {} s", .0.as_secs_f32())]
    Time(Duration),
    /// The memory.
    #[error("it makes more than {} MiB of objects: split the application", .0 >> 20)]
    Bytes(usize),
    /// The depth of values.
    #[error("it makes values that are nested more than {DEPTH} deep")]
    Depth,
}

/// What is left for one render.
#[derive(Debug)]
pub struct Budget {
    time: Option<(Instant, Duration)>,
    limit: usize,
    spent: AtomicUsize,
}

impl Default for Budget {
    /// As much time as it takes.
    fn default() -> Self {
        Self { time: None, limit: BYTES, spent: AtomicUsize::new(0) }
    }
}

impl Budget {
    /// A budget whose time runs from now on.
    pub fn of(time: Duration) -> Self {
        Self { time: Some((Instant::now(), time)), ..Self::default() }
    }

    /// A smaller budget of memory, for tests of what happens at its end.
    #[cfg(test)]
    pub fn of_bytes(limit: usize) -> Self {
        Self { limit, ..Self::default() }
    }

    /// Whether the time is over.
    pub fn is_overdue(&self) -> bool {
        self.time.is_some_and(|(begun, limit)| begun.elapsed() >= limit)
    }

    /// Ends the work when the time is over.
    ///
    /// # Errors
    /// [`Exhausted::Time`].
    pub fn check(&self) -> Result<(), Exhausted> {
        match self.time {
            Some((begun, limit)) if begun.elapsed() >= limit => Err(Exhausted::Time(limit)),
            _ => Ok(()),
        }
    }

    /// Counts a value that is about to be copied.
    ///
    /// # Errors
    /// [`Exhausted`].
    pub fn spend(&self, value: &Value) -> Result<(), Exhausted> {
        self.check()?;
        let bytes = size(value, 0)?;
        let spent = self.spent.fetch_add(bytes, Ordering::Relaxed);
        if spent.saturating_add(bytes) > self.limit { Err(Exhausted::Bytes(self.limit)) } else { Ok(()) }
    }

    /// Checks that a value that was changed is not nested too deep.
    ///
    /// # Errors
    /// [`Exhausted::Depth`].
    pub fn check_depth(&self, value: &Value) -> Result<(), Exhausted> {
        size(value, 0).map(drop)
    }
}

/// Roughly the bytes of a value as JSON.
fn size(value: &Value, depth: usize) -> Result<usize, Exhausted> {
    if depth > DEPTH {
        return Err(Exhausted::Depth);
    }
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(8),
        Value::String(text) => Ok(text.len().saturating_add(2)),
        Value::Array(items) => {
            items.iter().try_fold(2usize, |sum, item| Ok(sum.saturating_add(size(item, depth + 1)?)))
        }
        Value::Object(map) => map.iter().try_fold(2usize, |sum, (key, item)| {
            Ok(sum.saturating_add(key.len() + 4).saturating_add(size(item, depth + 1)?))
        }),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_copied_adds_up() {
        let budget = Budget { limit: 100, ..Budget::default() };
        let value = json!({ "text": "x".repeat(40) });
        assert_eq!(budget.spend(&value), Ok(()));
        assert_eq!(budget.spend(&value), Err(Exhausted::Bytes(100)));
    }

    #[test]
    fn time_that_is_over_ends_the_work() {
        assert_eq!(Budget::of(Duration::ZERO).check(), Err(Exhausted::Time(Duration::ZERO)));
        assert_eq!(Budget::of(Duration::from_secs(3600)).check(), Ok(()));
        assert_eq!(Budget::default().check(), Ok(()));
    }

    #[test]
    fn no_value_is_nested_too_deep() {
        let deep = (0..2 * DEPTH).fold(Value::Null, |value, _| json!([value]));
        assert_eq!(Budget::default().spend(&deep), Err(Exhausted::Depth));
    }
}
