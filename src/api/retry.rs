//! How often and after what delay a failed sync is tried again.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    duration::{self, DurationError},
    omit,
};

const DEFAULT_DURATION: Duration = Duration::from_secs(5);
const DEFAULT_FACTOR: i64 = 2;
const DEFAULT_MAX_DURATION: Duration = Duration::from_secs(180);

/// How a failed sync is tried again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct RetryStrategy {
    /// The delay between attempts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backoff: Option<Backoff>,
    /// How many times at most; 0 means never, a negative number without end.
    #[serde(skip_serializing_if = "omit::zero")]
    pub limit: i64,
    /// Take the newest revision for every attempt rather than the first attempt's.
    #[serde(skip_serializing_if = "omit::zero")]
    pub refresh: bool,
}

/// A delay that grows with every attempt.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Backoff {
    /// The first delay, such as `30s`; a bare number means seconds. 5 s by default.
    #[serde(skip_serializing_if = "omit::zero")]
    pub duration: String,
    /// What the delay is multiplied with after every attempt; 2 by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub factor: Option<i64>,
    /// The longest delay; 3 min by default, 0 means no limit.
    #[serde(skip_serializing_if = "omit::zero")]
    pub max_duration: String,
}

impl RetryStrategy {
    /// Whether there may be another attempt after `retry_count` repetitions.
    pub fn permits(&self, retry_count: i64) -> bool {
        self.limit < 0 || retry_count < self.limit
    }

    /// The delay before the next attempt after `retry_count` repetitions, without jitter.
    ///
    /// # Errors
    /// When a duration cannot be read.
    pub fn delay(&self, retry_count: i64) -> Result<Duration, DurationError> {
        let backoff = self.backoff.clone().unwrap_or_default();
        let read = |text: &str, default| {
            if text.is_empty() { Ok(default) } else { duration::parse_or_seconds(text) }
        };
        let first = read(&backoff.duration, DEFAULT_DURATION)?;
        let longest = read(&backoff.max_duration, DEFAULT_MAX_DURATION)?;
        let longest = if longest.is_zero() { Duration::from_secs(u64::from(u32::MAX)) } else { longest };
        let factor = backoff.factor.unwrap_or(DEFAULT_FACTOR).max(0) as f64;
        let exponent = i32::try_from(retry_count.max(0)).unwrap_or(i32::MAX);
        let seconds = first.as_secs_f64() * factor.powi(exponent);
        Ok(Duration::try_from_secs_f64(seconds).unwrap_or(longest).min(longest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_doubles_from_five_seconds_up_to_three_minutes() {
        let retry = RetryStrategy { limit: 5, ..RetryStrategy::default() };
        let seconds: Vec<u64> = (0..8).map(|count| retry.delay(count).unwrap().as_secs()).collect();
        assert_eq!(seconds, [5, 10, 20, 40, 80, 160, 180, 180]);
    }

    #[test]
    fn a_written_backoff_wins() {
        let backoff = Backoff { duration: "1m".to_owned(), factor: Some(3), max_duration: "0".to_owned() };
        let retry = RetryStrategy { backoff: Some(backoff), limit: -1, refresh: false };
        assert_eq!(retry.delay(2).unwrap(), Duration::from_secs(540));
        assert!(retry.permits(1_000_000));
        assert!(retry.delay(i64::MAX).is_ok(), "the delay never overflows");
    }

    #[test]
    fn no_limit_means_no_retry() {
        assert!(!RetryStrategy::default().permits(0));
        let retry = RetryStrategy { limit: 2, ..RetryStrategy::default() };
        assert!(retry.permits(1) && !retry.permits(2));
    }

    #[test]
    fn an_unreadable_duration_is_named() {
        let backoff = Backoff { duration: "soon".to_owned(), ..Backoff::default() };
        let retry = RetryStrategy { backoff: Some(backoff), ..RetryStrategy::default() };
        assert!(retry.delay(0).unwrap_err().to_string().contains("'soon'"));
    }
}
