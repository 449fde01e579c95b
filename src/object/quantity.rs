//! Amounts of resources (`resource.Quantity`): `1500m`, `1.5Gi`, `1e3`.
//!
//! Two spellings of one amount are equal (`1000m` and `1`, `1Ki` and `1024`). The value is kept exactly, as a whole number
//! times a power of ten, rounded up to billionths as the API server does.

use std::{cmp::Ordering, fmt, str::FromStr};

/// An amount of a resource. Compares by value.
#[derive(Clone, Copy, Debug)]
pub struct Quantity {
    /// Without trailing zeros; zero has exponent 0.
    mantissa: i128,
    exponent: i32,
    format: Format,
}

/// The family of suffixes that an amount was written with; the API server stays in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Decimal,
    Binary,
    Exponent,
}

/// A text that is no amount.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not a quantity: write a number with a suffix such as m, k, M, Ki, Mi or none")]
pub struct QuantityError {
    text: String,
}

const DECIMAL: [(&str, i32); 10] =
    [("n", -9), ("u", -6), ("m", -3), ("", 0), ("k", 3), ("M", 6), ("G", 9), ("T", 12), ("P", 15), ("E", 18)];
const BINARY: [(&str, u32); 6] = [("Ki", 10), ("Mi", 20), ("Gi", 30), ("Ti", 40), ("Pi", 50), ("Ei", 60)];
/// Amounts are rounded up to this power of ten.
const SMALLEST: i32 = -9;

impl FromStr for Quantity {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).ok_or_else(|| QuantityError { text: text.chars().take(60).collect() })
    }
}

fn parse(text: &str) -> Option<Quantity> {
    let (negative, unsigned) = match text.as_bytes().first()? {
        b'-' => (true, text.get(1..)?),
        b'+' => (false, text.get(1..)?),
        _ => (false, text),
    };
    let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
    let (number, suffix) = (unsigned.get(..end)?, unsigned.get(end..)?);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let digits = format!("{whole}{}", fraction.trim_end_matches('0'));
    let fraction_digits = i32::try_from(fraction.trim_end_matches('0').len()).ok()?;
    let mut mantissa: i128 = if digits.is_empty() { 0 } else { digits.parse().ok()? };
    let (exponent, format) = if let Some((_, power)) = DECIMAL.iter().find(|(name, _)| *name == suffix) {
        (*power, Format::Decimal)
    } else if let Some((_, bits)) = BINARY.iter().find(|(name, _)| *name == suffix) {
        mantissa = mantissa.checked_mul(1i128.checked_shl(*bits)?)?;
        (0, Format::Binary)
    } else {
        let power = suffix.strip_prefix(['e', 'E'])?;
        let digits = power.strip_prefix(['+', '-']).unwrap_or(power);
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        (power.parse().ok()?, Format::Exponent)
    };
    let exponent = exponent.checked_sub(fraction_digits)?;
    let mantissa = if negative { -mantissa } else { mantissa };
    Some(normal(round_up(mantissa, exponent), format))
}

/// Away from zero, to billionths.
fn round_up(mantissa: i128, exponent: i32) -> (i128, i32) {
    let Some(excess) = SMALLEST.checked_sub(exponent).filter(|excess| *excess > 0) else {
        return (mantissa, exponent);
    };
    let divisor = u32::try_from(excess).ok().and_then(|power| 10i128.checked_pow(power));
    let rounded = divisor.map_or(mantissa.signum(), |divisor| {
        mantissa / divisor + if mantissa % divisor == 0 { 0 } else { mantissa.signum() }
    });
    (rounded, SMALLEST)
}

fn normal((mut mantissa, mut exponent): (i128, i32), format: Format) -> Quantity {
    if mantissa == 0 {
        exponent = 0;
    }
    while mantissa != 0 && mantissa % 10 == 0 {
        mantissa /= 10;
        exponent = exponent.saturating_add(1);
    }
    Quantity { mantissa, exponent, format }
}

impl Quantity {
    /// The amount as the API server writes it: the largest suffix of its family that leaves a whole number.
    pub fn canonical(&self) -> String {
        match self.format {
            Format::Binary => self.binary().unwrap_or_else(|| self.decimal(false)),
            Format::Decimal => self.decimal(false),
            Format::Exponent => self.decimal(true),
        }
    }

    fn binary(&self) -> Option<String> {
        let scale = u32::try_from(self.exponent).ok().and_then(|power| 10i128.checked_pow(power))?;
        let mut mantissa = self.mantissa.checked_mul(scale)?;
        if mantissa.unsigned_abs() < 1024 {
            return None;
        }
        let mut suffix = "";
        for (name, _) in BINARY {
            if mantissa % 1024 != 0 {
                break;
            }
            mantissa /= 1024;
            suffix = name;
        }
        Some(format!("{mantissa}{suffix}"))
    }

    fn decimal(&self, as_exponent: bool) -> String {
        let mut exponent = self.exponent;
        let mut zeros = exponent.rem_euclid(3);
        if !as_exponent {
            // There is no suffix above E.
            zeros = zeros.max(exponent.saturating_sub(18));
        }
        exponent = exponent.saturating_sub(zeros);
        let zeros = "0".repeat(usize::try_from(zeros).unwrap_or_default().min(400));
        let suffix = DECIMAL.iter().find(|(_, power)| *power == exponent).map_or("", |(name, _)| name);
        match (as_exponent, exponent) {
            (_, 0) => format!("{}{zeros}", self.mantissa),
            (true, _) => format!("{}{zeros}e{exponent}", self.mantissa),
            (false, _) => format!("{}{zeros}{suffix}", self.mantissa),
        }
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.canonical())
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        (self.mantissa, self.exponent) == (other.mantissa, other.exponent)
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        let sign = self.mantissa.signum().cmp(&other.mantissa.signum());
        if sign.is_ne() || self.mantissa == 0 {
            return sign;
        }
        let magnitude = self.magnitude().cmp(&other.magnitude()).then_with(|| {
            let (left, right) = (self.scaled_to(other.exponent), other.scaled_to(self.exponent));
            left.cmp(&right)
        });
        if self.mantissa < 0 { magnitude.reverse() } else { magnitude }
    }
}

impl Quantity {
    /// The power of ten of the first digit.
    fn magnitude(&self) -> i64 {
        i64::from(self.exponent) + i64::from(self.mantissa.unsigned_abs().ilog10())
    }

    /// The digits, lengthened where the exponent is above the other's. Only for amounts of equal magnitude, so it fits.
    fn scaled_to(&self, exponent: i32) -> u128 {
        let power = u32::try_from(self.exponent.saturating_sub(exponent)).unwrap_or(0);
        self.mantissa.unsigned_abs().saturating_mul(10u128.saturating_pow(power))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn quantity(text: &str) -> Quantity {
        text.parse().unwrap()
    }

    #[test]
    fn spellings_of_one_amount_are_equal() {
        for (one, other) in [
            ("1000m", "1"),
            ("1Ki", "1024"),
            ("1e3", "1k"),
            ("0.5", "500m"),
            ("1.5Gi", "1536Mi"),
            ("1E3", "1000"),
            ("+5", "5.0"),
            (".5", "0.50"),
            ("0Mi", "-0"),
            ("1E", "1000P"),
            ("0.0000000001", "1n"),
        ] {
            assert_eq!(quantity(one), quantity(other), "{one} {other}");
        }
        assert_ne!(quantity("1"), quantity("1m"));
        assert_ne!(quantity("1M"), quantity("1Mi"));
    }

    #[test]
    fn amounts_are_ordered_by_value() {
        let ordered =
            ["-3Gi", "-1.5", "0", "1n", "100u", "999m", "1", "1023", "1Ki", "1M", "1Mi", "1e19", "1e100"];
        for pair in ordered.windows(2) {
            assert!(quantity(pair[0]) < quantity(pair[1]), "{pair:?}");
        }
    }

    /// Checked against the API machinery's own parser.
    #[test]
    fn amounts_are_written_as_the_api_server_writes_them() {
        for (text, canonical) in [
            ("1000m", "1"),
            ("0.5", "500m"),
            ("1.5Gi", "1536Mi"),
            ("1024", "1024"),
            ("1024Ki", "1Mi"),
            ("0", "0"),
            ("0.0001", "100u"),
            ("1e3", "1e3"),
            ("1e-3", "1e-3"),
            ("0.1Ki", "102400m"),
            ("1.0", "1"),
            ("1000", "1k"),
            ("1000k", "1M"),
            ("-1.5", "-1500m"),
            ("0.1n", "1n"),
            ("12345678901234567890", "12345678901234567890"),
            ("2000Mi", "2000Mi"),
            ("2048Mi", "2Gi"),
            ("0.5Mi", "512Ki"),
            ("0.5Ki", "512"),
            ("1E5", "100e3"),
            ("1e19", "10e18"),
            ("-1Ki", "-1Ki"),
            ("1023.5", "1023500m"),
            ("1Ei", "1Ei"),
        ] {
            assert_eq!(quantity(text).canonical(), canonical, "{text}");
        }
        assert_eq!(quantity("1000000E").canonical(), "1000000E");
    }

    #[test]
    fn other_text_is_no_amount() {
        for text in [
            "", "1K", "1.2.3", " 1", "e", "1e", "1ee3", "1m5", "1Kim", "1e3m", ".", "-", "--1", "1 Gi", "one",
        ] {
            assert!(text.parse::<Quantity>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn the_canonical_form_is_the_same_amount(
            text in "[+-]?[0-9]{1,9}(\\.[0-9]{0,9})?(n|u|m||k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|e[0-9]|e-[0-9])"
        ) {
            let one = quantity(&text);
            let canonical = one.canonical();
            prop_assert_eq!(quantity(&canonical), one, "{}", &canonical);
            prop_assert_eq!(quantity(&canonical).canonical(), canonical);
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "[-+.0-9eEKMi]{0,50}|.*") {
            if let Ok(amount) = text.parse::<Quantity>() {
                prop_assert_eq!(amount.cmp(&amount), Ordering::Equal);
                let _ = amount.canonical();
            }
        }
    }
}
