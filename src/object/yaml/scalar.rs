//! What a plain scalar means: go-yaml's resolver, version 2 (YAML 1.1) and version 3.

use serde_json::{Number, Value};

use super::Schema;

/// A plain scalar that a JSON value may not be able to hold.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Resolved {
    /// Null, boolean, number or string.
    Value(Value),
    /// A date or a time of day and date; version 2 keeps the text, version 3 writes it out in full.
    Timestamp(String),
    /// `.inf` or `.nan`, which JSON has no word for.
    NotFinite,
    /// `<<`.
    Merge,
}

/// Reads a plain scalar.
pub(super) fn resolve(text: &str, schema: Schema) -> Resolved {
    let Some(first) = text.bytes().next() else {
        return Resolved::Value(Value::Null);
    };
    match first {
        b'0'..=b'9' | b'+' | b'-' | b'.' => number_like(text),
        b'<' if text == "<<" => Resolved::Merge,
        b'~' if text == "~" => Resolved::Value(Value::Null),
        b'y' | b'Y' | b'n' | b'N' | b't' | b'T' | b'f' | b'F' | b'o' | b'O' => word(text, schema),
        _ => string(text),
    }
}

/// Whether a string may be written plain: a reader of either schema reads this very string back.
pub(super) fn reads_back_as_string(text: &str) -> bool {
    !is_base_60(text)
        && matches!(resolve(text, Schema::Yaml11), Resolved::Value(Value::String(_)) | Resolved::Merge)
}

/// A number as JSON has it: a whole one without a fraction, whatever it was written as.
pub(super) fn from_float(float: f64) -> Option<Value> {
    if float.fract() == 0.0 && float.abs() < 1e21 {
        let digits = format!("{float}");
        if digits == "-0" {
            return Some(Value::from(0));
        }
        if let Some(whole) = decimal(&digits) {
            return Some(whole);
        }
    }
    Number::from_f64(float).map(Value::Number)
}

/// A whole number of either sign, or `None`.
pub(super) fn integer(text: &str) -> Option<Value> {
    let plain = text.replace('_', "");
    let (sign, digits) = match plain.as_bytes().first() {
        Some(b'+') => ("", plain.get(1..)?),
        Some(b'-') => ("-", plain.get(1..)?),
        _ => ("", plain.as_str()),
    };
    let (base, digits) = match digits.get(..2) {
        Some("0x" | "0X") => (16, digits.get(2..)?),
        Some("0b" | "0B") => (2, digits.get(2..)?),
        Some("0o" | "0O") => (8, digits.get(2..)?),
        Some(_) if digits.starts_with('0') => (8, digits.get(1..)?),
        _ => (10, digits),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| char::from(byte).is_digit(base)) {
        return None;
    }
    if let Ok(number) = i64::from_str_radix(&format!("{sign}{digits}"), base) {
        return Some(Value::from(number));
    }
    if sign.is_empty() { u64::from_str_radix(digits, base).ok().map(Value::from) } else { None }
}

/// A floating-point number, or `None` for other text and for what does not fit.
pub(super) fn float(text: &str) -> Option<Value> {
    let plain = if text.starts_with('.') { text.to_owned() } else { text.replace('_', "") };
    if !looks_like_float(&plain) {
        return None;
    }
    let float: f64 = plain.parse().ok()?;
    if float.is_finite() { from_float(float) } else { None }
}

fn word(text: &str, schema: Schema) -> Resolved {
    match text {
        "true" | "True" | "TRUE" => Resolved::Value(Value::Bool(true)),
        "false" | "False" | "FALSE" => Resolved::Value(Value::Bool(false)),
        "null" | "Null" | "NULL" => Resolved::Value(Value::Null),
        "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" if schema == Schema::Yaml11 => {
            Resolved::Value(Value::Bool(true))
        }
        "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" if schema == Schema::Yaml11 => {
            Resolved::Value(Value::Bool(false))
        }
        _ => string(text),
    }
}

fn number_like(text: &str) -> Resolved {
    match text.trim_start_matches(['+', '-']) {
        ".inf" | ".Inf" | ".INF" if text.len() <= 5 => return Resolved::NotFinite,
        ".nan" | ".NaN" | ".NAN" if text.len() == 4 => return Resolved::NotFinite,
        _ => {}
    }
    if let Some(full) = timestamp(text) {
        return Resolved::Timestamp(full);
    }
    if !text.starts_with('.')
        && let Some(number) = integer(text)
    {
        return Resolved::Value(number);
    }
    float(text).map_or_else(|| string(text), Resolved::Value)
}

fn string(text: &str) -> Resolved {
    Resolved::Value(Value::String(text.to_owned()))
}

fn decimal(digits: &str) -> Option<Value> {
    digits.parse::<i64>().map(Value::from).or_else(|_| digits.parse::<u64>().map(Value::from)).ok()
}

/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`
fn looks_like_float(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['+', '-']).unwrap_or(exponent))),
        None => (unsigned, None),
    };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let mantissa_ok = match mantissa.split_once('.') {
        Some(("", fraction)) => !fraction.is_empty() && digits(fraction),
        Some((whole, fraction)) => digits(whole) && digits(fraction),
        None => !mantissa.is_empty() && digits(mantissa),
    };
    mantissa_ok && exponent.is_none_or(|exponent| !exponent.is_empty() && digits(exponent))
}

/// `[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?`: what old YAML 1.1 readers took for minutes and seconds.
fn is_base_60(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let whole = match unsigned.split_once('.') {
        Some((whole, fraction)) if fraction.bytes().all(|b| b.is_ascii_digit() || b == b'_') => whole,
        Some(_) => return false,
        None => unsigned,
    };
    let mut parts = whole.split(':');
    let first = parts.next().unwrap_or_default();
    let mut rest = 0usize;
    for part in parts {
        rest += 1;
        let in_range = match part.as_bytes() {
            [ones] => ones.is_ascii_digit(),
            [tens, ones] => (b'0'..=b'5').contains(tens) && ones.is_ascii_digit(),
            _ => false,
        };
        if !in_range {
            return false;
        }
    }
    rest > 0
        && first.bytes().next().is_some_and(|byte| byte.is_ascii_digit())
        && first.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_')
}

/// A date (`2024-1-2`) or a date with a time (`2024-01-02T03:04:05.6+01:00`, `2024-01-02 3:4:5`) written out in full.
fn timestamp(text: &str) -> Option<String> {
    let year = text.get(..4).filter(|year| year.bytes().all(|byte| byte.is_ascii_digit()))?;
    let rest = text.get(4..)?.strip_prefix('-')?;
    let (month, rest) = rest.split_once('-')?;
    let end = rest.find(['T', 't', ' ']).unwrap_or(rest.len());
    let day = rest.get(..end)?;
    let year: i16 = year.parse().ok()?;
    let date = jiff::civil::Date::new(year, two_digits(month)?, two_digits(day)?).ok()?;
    let Some(separator) = rest.get(end..)?.chars().next() else {
        return Some(format!("{date}T00:00:00Z"));
    };
    let time = rest.get(end + 1..)?;
    let (clock, zone) = if separator == ' ' {
        (time, "Z")
    } else {
        let at = time.find(['Z', '+', '-'])?;
        (time.get(..at)?, time.get(at..)?)
    };
    if zone != "Z" {
        let (hours, minutes) = zone.get(1..)?.split_once(':')?;
        if hours.len() != 2 || minutes.len() != 2 || two_digits(hours)? > 24 || two_digits(minutes)? > 59 {
            return None;
        }
    }
    let mut parts = clock.split(':');
    let (hour, minute, second) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let (second, fraction) = second.split_once('.').map_or((second, None), |(s, f)| (s, Some(f)));
    let (hour, minute, second) = (two_digits(hour)?, two_digits(minute)?, two_digits(second)?);
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let fraction = match fraction {
        None => String::new(),
        Some(digits) if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            return None;
        }
        Some(digits) => {
            let digits = digits.get(..9).unwrap_or(digits).trim_end_matches('0');
            if digits.is_empty() { String::new() } else { format!(".{digits}") }
        }
    };
    let zone = if zone == "+00:00" || zone == "-00:00" { "Z" } else { zone };
    Some(format!("{date}T{hour:02}:{minute:02}:{second:02}{fraction}{zone}"))
}

fn two_digits(text: &str) -> Option<i8> {
    if matches!(text.len(), 1 | 2) && text.bytes().all(|byte| byte.is_ascii_digit()) {
        text.parse().ok()
    } else {
        None
    }
}
