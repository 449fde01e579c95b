//! The forms that single values of settings have.

use std::{str::FromStr, time::Duration};

use super::reader::Fault;
use crate::api::duration as go_duration;

pub(super) fn duration(text: &str) -> Result<Duration, Fault> {
    go_duration::parse(text.trim()).map_err(|error| Fault::new(error.to_string()))
}

pub(super) fn seconds(text: &str) -> Result<Duration, Fault> {
    match text.trim().parse() {
        Ok(seconds) => Ok(Duration::from_secs(seconds)),
        Err(_) => Err(Fault::new(format!("'{text}' is not a number of seconds"))),
    }
}

pub(super) fn positive_seconds(text: &str) -> Result<Duration, Fault> {
    match seconds(text)? {
        Duration::ZERO => Err(Fault::new("it must be at least 1")),
        duration => Ok(duration),
    }
}

pub(super) fn factor(text: &str) -> Result<f64, Fault> {
    match text.trim().parse() {
        Ok(factor) if (1.0..=1000.0).contains(&factor) => Ok(factor),
        _ => Err(Fault::new(format!("'{text}' is not a number from 1 to 1000"))),
    }
}

pub(super) fn flag(text: &str) -> Result<bool, Fault> {
    match text.trim() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(Fault::new(format!("'{text}' is neither 'true' nor 'false'"))),
    }
}

pub(super) fn percent(text: &str) -> Result<u32, Fault> {
    match text.trim().trim_end_matches('%').parse() {
        Ok(percent) if percent <= 100 => Ok(percent),
        _ => Err(Fault::new(format!("'{text}' is not a number from 0 to 100"))),
    }
}

pub(super) fn count(text: &str) -> Result<u32, Fault> {
    text.trim().parse().map_err(|_| Fault::new(format!("'{text}' is not a number")))
}

/// One of an enumeration's names.
pub(super) fn name<T: FromStr>(text: &str) -> Result<T, Fault>
where
    T::Err: std::fmt::Display,
{
    text.trim().parse().map_err(|error: T::Err| Fault::new(error.to_string()))
}

/// The key of a label: an optional DNS name and `/`, then up to 63 characters.
pub(super) fn label_key(text: &str) -> Result<String, Fault> {
    let (prefix, name) = text.split_once('/').unwrap_or(("", text));
    let is_end = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    let is_name = (1..=63).contains(&name.len())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
        && is_end(name.chars().next())
        && is_end(name.chars().last());
    let is_prefix = prefix.len() <= 253
        && prefix.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c))
        && (prefix.is_empty() != text.contains('/'));
    if is_name && is_prefix {
        Ok(text.to_owned())
    } else {
        Err(Fault::new(format!("'{text}' is not a label's key")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_key_may_have_a_prefix() {
        assert!(label_key("app.kubernetes.io/instance").is_ok());
        assert!(label_key("instance").is_ok());
        for text in ["", "/instance", "a/b/c", "in stance", "-instance", "Upper.io/x"] {
            assert!(label_key(text).is_err(), "{text}");
        }
    }
}
