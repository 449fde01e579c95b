//! The forms that single values of settings have.

use std::{collections::BTreeMap, str::FromStr, time::Duration};

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

pub(super) fn boolean(text: &str) -> Result<bool, Fault> {
    match text.trim() {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        other => Err(Fault::new(format!("'{other}' is neither 'true' nor 'false'"))),
    }
}

/// A number of workers: at least one, at most a thousand.
pub(super) fn count(text: &str) -> Result<usize, Fault> {
    match text.trim().parse() {
        Ok(count @ 1..=1000) => Ok(count),
        _ => Err(Fault::new(format!("'{text}' is not a number from 1 to 1000"))),
    }
}

/// A number where zero and less mean no limit.
pub(super) fn limit(text: &str) -> Result<Option<usize>, Fault> {
    match text.trim().parse::<i64>() {
        Ok(limit) => Ok(usize::try_from(limit).ok().filter(|limit| *limit > 0)),
        Err(_) => Err(Fault::new(format!("'{text}' is not a number"))),
    }
}

pub(super) fn factor(text: &str) -> Result<f64, Fault> {
    match text.trim().parse() {
        Ok(factor) if (1.0..=1000.0).contains(&factor) => Ok(factor),
        _ => Err(Fault::new(format!("'{text}' is not a number from 1 to 1000"))),
    }
}

/// A size as Kubernetes writes quantities: `10M`, `512Ki`, `1000`.
pub(super) fn bytes(text: &str) -> Result<usize, Fault> {
    let fault = || Fault::new(format!("'{text}' is not a size: write it as '10M' or '512Ki'"));
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor: usize = match unit {
        "" => 1,
        "k" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        _ => return Err(fault()),
    };
    number.parse::<usize>().ok().and_then(|number| number.checked_mul(factor)).ok_or_else(fault)
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

/// A list separated by commas.
pub(super) fn list(data: &BTreeMap<String, String>, key: &str) -> Vec<String> {
    let text = data.get(key).map_or("", String::as_str);
    text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_decimal_and_binary_units() {
        assert_eq!(bytes("10M").ok(), Some(10_000_000));
        assert_eq!(bytes("512Ki").ok(), Some(512 << 10));
        assert_eq!(bytes("7").ok(), Some(7));
        for text in ["", "M", "1.5M", "10MB", "99999999999999999999G"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_label_key_may_have_a_prefix() {
        assert!(label_key("app.kubernetes.io/instance").is_ok());
        assert!(label_key("instance").is_ok());
        for text in ["", "/instance", "a/b/c", "in stance", "-instance", "Upper.io/x"] {
            assert!(label_key(text).is_err(), "{text}");
        }
    }

    #[test]
    fn zero_workers_are_refused_and_zero_limits_mean_none() {
        assert!(count("0").is_err());
        assert_eq!(limit("0").ok(), Some(None));
        assert_eq!(limit("4").ok(), Some(Some(4)));
    }
}
