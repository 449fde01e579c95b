//! What earlier renders made of files' contents, so that a file that did not change is not parsed again.
//!
//! ```text
//! (content id, form) ──▶ bytes     least recently used goes first; what nobody has asked for in a while goes too
//! ```
//!
//! The bytes are whatever the maker can read back; this room does not look into them. Since a content id stands for the
//! content, nothing here is ever out of date. The cache is small, and empty when all is quiet.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::lock;

/// What was made of a content: the maker's own name for it.
pub type Form = &'static str;

/// Something that was made of a file.
#[derive(Clone, Debug)]
pub struct Derived {
    /// What was made.
    pub made: Bytes,
    /// Bytes of the file, which count against a render's limits as if it had been read.
    pub length: usize,
}

/// What was made of many files.
#[derive(Debug)]
pub struct DerivedCache {
    bytes: usize,
    age: Duration,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    entries: HashMap<(Arc<str>, Form), (Derived, Instant)>,
    bytes: usize,
}

/// What an entry takes besides what was made.
const OVERHEAD: usize = 200;

impl DerivedCache {
    /// One that keeps so many bytes, and nothing that nobody has asked for in that time.
    pub fn new(bytes: usize, age: Duration) -> Self {
        Self { bytes, age, kept: Mutex::default() }
    }

    /// What was made of the content with this id.
    pub(super) fn get(&self, id: &Arc<str>, form: Form) -> Option<Derived> {
        let mut kept = lock(&self.kept);
        let (derived, used) = kept.entries.get_mut(&(Arc::clone(id), form))?;
        *used = Instant::now();
        Some(derived.clone())
    }

    /// Keeps what was made, in the place of what has not been used for longest.
    pub(super) fn put(&self, id: Arc<str>, form: Form, derived: Derived) {
        let size = derived.made.len().saturating_add(OVERHEAD);
        // Nothing may push out all the rest.
        if size > self.bytes / 4 {
            return;
        }
        let mut kept = lock(&self.kept);
        kept.insert((id, form), derived, size);
        if kept.bytes > self.bytes {
            kept.shrink_to(self.bytes / 4 * 3);
        }
    }

    /// Drops what nobody has asked for in a while; to be called now and then.
    pub fn drop_old(&self) {
        let mut kept = lock(&self.kept);
        let now = Instant::now();
        let age = self.age;
        kept.retain(|used| now.saturating_duration_since(used) < age);
    }

    /// How many contents it knows, and their bytes.
    pub fn size(&self) -> (usize, usize) {
        let kept = lock(&self.kept);
        (kept.entries.len(), kept.bytes)
    }
}

impl Kept {
    fn insert(&mut self, key: (Arc<str>, Form), derived: Derived, size: usize) {
        self.bytes = self.bytes.saturating_add(size);
        if let Some((before, _)) = self.entries.insert(key, (derived, Instant::now())) {
            self.bytes = self.bytes.saturating_sub(before.made.len().saturating_add(OVERHEAD));
        }
    }

    fn shrink_to(&mut self, bytes: usize) {
        let mut used: Vec<(Instant, usize)> = self
            .entries
            .values()
            .map(|(derived, used)| (*used, derived.made.len().saturating_add(OVERHEAD)))
            .collect();
        used.sort_unstable();
        let mut left = self.bytes;
        let oldest_kept = used.into_iter().find(|(_, size)| {
            let is_kept = left <= bytes;
            left = left.saturating_sub(*size);
            is_kept
        });
        self.retain(|used| oldest_kept.is_some_and(|(oldest, _)| used >= oldest));
    }

    fn retain(&mut self, keep: impl Fn(Instant) -> bool) {
        let bytes = &mut self.bytes;
        self.entries.retain(|_, (derived, used)| {
            let is_kept = keep(*used);
            if !is_kept {
                *bytes = bytes.saturating_sub(derived.made.len().saturating_add(OVERHEAD));
            }
            is_kept
        });
        if self.entries.is_empty() {
            self.entries.shrink_to_fit();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn derived(bytes: usize) -> Derived {
        Derived { made: vec![0; bytes].into(), length: 7 }
    }

    fn id(number: usize) -> Arc<str> {
        number.to_string().into()
    }

    #[test]
    fn what_is_used_least_makes_room_for_what_is_new() {
        let cache = DerivedCache::new(8 * (1000 + OVERHEAD), Duration::from_secs(3600));
        for number in 0..100 {
            cache.put(id(number), "x", derived(1000));
            assert!(cache.get(&id(0), "x").is_some(), "what is in use goes before what is not, at {number}");
        }
        let (contents, bytes) = cache.size();
        assert!((4..=8).contains(&contents), "{contents}");
        assert_eq!(bytes, contents * (1000 + OVERHEAD));
        assert!(cache.get(&id(1), "x").is_none());
        assert!(cache.get(&id(99), "x").is_some());
        assert!(cache.get(&id(99), "y").is_none());
    }

    #[test]
    fn nothing_is_kept_that_is_too_large_or_too_old() {
        let cache = DerivedCache::new(4000, Duration::ZERO);
        cache.put(id(1), "x", derived(2000));
        assert_eq!(cache.size(), (0, 0));
        cache.put(id(1), "x", derived(100));
        cache.put(id(1), "x", derived(200));
        assert_eq!(cache.size(), (1, 200 + OVERHEAD));
        cache.drop_old();
        assert_eq!(cache.size(), (0, 0));
    }
}
