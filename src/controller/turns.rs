//! How many Applications are compared and synced at once.
//!
//! A look holds all objects of its Application in memory, so memory grows with the number of turns, and not with that
//! of Applications. A turn is meant for some seconds: one that lasts longer no longer counts, so that looks which hang
//! in slow requests keep nobody waiting. An Application whose last look took that long waits for a turn among its like.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Turns at once; and as many again for Applications that are slow.
const TURNS: usize = 32;
/// How long a turn counts.
const LIMIT: Duration = Duration::from_secs(3);

/// The turns there are.
pub struct Turns {
    quick: Arc<Semaphore>,
    slow: Arc<Semaphore>,
}

/// The right to hold all objects of one Application in memory, until it is dropped.
pub struct Turn {
    begun: Instant,
    _slow: Option<OwnedSemaphorePermit>,
    _end: Option<DropGuard>,
}

impl Default for Turns {
    fn default() -> Self {
        Self { quick: Arc::new(Semaphore::new(TURNS)), slow: Arc::new(Semaphore::new(TURNS)) }
    }
}

impl Turns {
    /// Waits for a turn. `is_slow`: the last one of this Application was slow.
    pub async fn take(&self, is_slow: bool) -> Turn {
        let turns = if is_slow { &self.slow } else { &self.quick };
        let permit = Arc::clone(turns).acquire_owned().await.ok();
        let begun = Instant::now();
        if is_slow {
            return Turn { begun, _slow: permit, _end: None };
        }
        let end = CancellationToken::new();
        let ended = end.clone();
        tokio::spawn(async move {
            let _permit = permit;
            let _ = tokio::time::timeout(LIMIT, ended.cancelled()).await;
        });
        Turn { begun, _slow: None, _end: Some(end.drop_guard()) }
    }
}

impl Turn {
    /// Whether it has lasted longer than a turn is meant to.
    pub fn is_slow(&self) -> bool {
        self.begun.elapsed() >= LIMIT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn turns_that_last_too_long_keep_nobody_waiting() {
        let turns = Turns::default();
        let begun = tokio::time::Instant::now();
        let mut held = Vec::new();
        for _ in 0..3 * TURNS {
            held.push(turns.take(false).await);
        }
        assert!(begun.elapsed() >= 2 * LIMIT && begun.elapsed() < 3 * LIMIT);
    }

    #[tokio::test(start_paused = true)]
    async fn slow_applications_wait_among_themselves() {
        let turns = Turns::default();
        let mut held = Vec::new();
        for _ in 0..TURNS {
            held.push(turns.take(true).await);
        }
        let another = tokio::time::timeout(Duration::from_secs(3600), turns.take(true)).await;
        assert!(another.is_err());
        let begun = tokio::time::Instant::now();
        drop(turns.take(false).await);
        assert_eq!(begun.elapsed(), Duration::ZERO);
        held.pop();
        drop(turns.take(true).await);
    }
}
