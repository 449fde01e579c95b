//! Durations as Go writes them: `1h30m`, `1.5s`, `100ms`.

use std::time::Duration;

/// Why a text is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not a duration: write it as '30s', '5m' or '1h30m'")]
pub struct DurationError {
    /// The text.
    pub text: String,
}

const NANOS_PER_UNIT: &[(&str, f64)] = &[
    ("ns", 1.0),
    ("us", 1e3),
    ("µs", 1e3),
    ("μs", 1e3),
    ("ms", 1e6),
    ("s", 1e9),
    ("m", 60e9),
    ("h", 3600e9),
];

/// Reads a duration. `0` needs no unit; a negative duration is an error.
///
/// # Errors
/// When the text is not a duration, or longer than 292 years.
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    let error = || DurationError { text: text.to_owned() };
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(error());
    }
    let mut nanos = 0.0_f64;
    while !rest.is_empty() {
        let (number, after) = split_while(rest, |c| c.is_ascii_digit() || c == '.');
        let (unit, after) = split_while(after, |c| !c.is_ascii_digit() && c != '.');
        let number: f64 = number.parse().map_err(|_| error())?;
        let (_, factor) = NANOS_PER_UNIT.iter().find(|(name, _)| *name == unit).ok_or_else(error)?;
        nanos += number * factor;
        rest = after;
    }
    if nanos > i64::MAX as f64 {
        return Err(error());
    }
    Duration::try_from_secs_f64(nanos / 1e9).map_err(|_| error())
}

/// Reads a duration in which a bare whole number means seconds, as retry settings have it.
///
/// # Errors
/// As [`parse`].
pub fn parse_or_seconds(text: &str) -> Result<Duration, DurationError> {
    match text.parse::<u64>() {
        Ok(seconds) => Ok(Duration::from_secs(seconds)),
        Err(_) => parse(text),
    }
}

fn split_while(text: &str, mut wanted: impl FnMut(char) -> bool) -> (&str, &str) {
    let end = text.find(|c| !wanted(c)).unwrap_or(text.len());
    text.split_at(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_go_reads() {
        assert_eq!(parse("5s"), Ok(Duration::from_secs(5)));
        assert_eq!(parse("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(parse("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(parse("100ms"), Ok(Duration::from_millis(100)));
        assert_eq!(parse("0"), Ok(Duration::ZERO));
        assert_eq!(parse("2562047h"), Ok(Duration::from_secs(2_562_047 * 3600)));
    }

    #[test]
    fn refuses_what_go_refuses() {
        for text in ["", "5", "s", "5 s", "1x", "-5s", "1.2.3s", "9999999h", "١s"] {
            assert!(parse(text).is_err(), "{text} was accepted");
        }
    }

    #[test]
    fn a_bare_number_means_seconds_in_retry_settings() {
        assert_eq!(parse_or_seconds("90"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_or_seconds("2m"), Ok(Duration::from_secs(120)));
        assert!(parse_or_seconds("soon").is_err());
    }
}
