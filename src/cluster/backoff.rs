//! The pauses of a watch that fails.

use std::time::Duration;

use kube::runtime::{utils::Backoff, watcher::DefaultBackoff};

/// The client's own backoff, which begins anew once a watch works again.
///
/// The client takes the event that announces a listing for a sign of life, and it comes before each attempt to list:
/// so the first sign after a failure does not count. Otherwise a kind that may not be listed would be asked for every
/// second.
#[derive(Default)]
pub struct WatchBackoff {
    inner: DefaultBackoff,
    has_just_failed: bool,
}

impl Iterator for WatchBackoff {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.has_just_failed = true;
        self.inner.next()
    }
}

impl Backoff for WatchBackoff {
    fn reset(&mut self) {
        if !std::mem::take(&mut self.has_just_failed) {
            self.inner.reset();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_that_fails_again_and_again_is_tried_ever_less_often() {
        let mut backoff = WatchBackoff::default();
        let pauses: Vec<Duration> = (0..8)
            .map(|_| {
                let pause = backoff.next().unwrap();
                backoff.reset();
                pause
            })
            .collect();
        assert!(pauses.iter().all(|pause| *pause <= Duration::from_secs(60)), "{pauses:?}");
        assert!(pauses.last().is_some_and(|pause| *pause >= Duration::from_secs(30)), "{pauses:?}");
    }

    #[test]
    fn a_watch_that_works_again_begins_anew() {
        let mut backoff = WatchBackoff::default();
        for _ in 0..8 {
            backoff.next();
        }
        backoff.reset();
        backoff.reset();
        assert!(backoff.next().unwrap() < Duration::from_secs(2));
    }
}
