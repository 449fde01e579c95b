//! Cron expressions of five fields, as Argo CD reads the schedules of sync windows.
//!
//! Minute, hour, day of month, month, day of week; `*`, `?`, lists, ranges, steps, and the English names of months and
//! days. Where both days are restricted, either of them counts. Seconds, descriptors (`@daily`) and `L` are not known.

use jiff::{
    ToSpan,
    civil::{Date, DateTime, Time},
};

/// How far ahead a schedule is searched: the 29th of February comes at least every eight years.
const YEARS: i16 = 8;

/// A schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    minutes: Field,
    hours: Field,
    days: Field,
    months: Field,
    weekdays: Field,
}

/// The values of one field, a bit each, and whether it was written as any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Field {
    bits: u64,
    is_any: bool,
}

impl Field {
    fn has(self, value: i8) -> bool {
        u32::try_from(value)
            .ok()
            .and_then(|shift| self.bits.checked_shr(shift))
            .is_some_and(|bits| bits & 1 == 1)
    }

    fn first_from(self, from: i8) -> Option<i8> {
        (from..64).find(|value| self.has(*value))
    }
}

const MONTHS: &[&str] =
    &["", "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: &[&str] = &["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

impl Schedule {
    /// Reads an expression.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [minutes, hours, days, months, weekdays] = fields.as_slice() else {
            return Err(format!(
                "'{text}' has {} fields instead of five: minute, hour, day of month, month, day of week",
                fields.len()
            ));
        };
        Ok(Self {
            minutes: field(minutes, "minute", 0, 59, &[])?,
            hours: field(hours, "hour", 0, 23, &[])?,
            days: field(days, "day of month", 1, 31, &[])?,
            months: field(months, "month", 1, 12, MONTHS)?,
            weekdays: field(weekdays, "day of week", 0, 6, WEEKDAYS)?,
        })
    }

    /// The first time after another one; `None` when there is none for years.
    pub fn next(&self, after: DateTime) -> Option<DateTime> {
        let start = after.checked_add(1.minute()).ok()?.with().second(0).subsec_nanosecond(0).build().ok()?;
        let last = start.date().checked_add(i32::from(YEARS).years()).ok()?;
        let mut date = start.date();
        let mut from = start.time();
        while date <= last {
            if !self.months.has(date.month()) {
                date = date.last_of_month().tomorrow().ok()?;
                from = Time::midnight();
                continue;
            }
            if self.is_on(date)
                && let Some(time) = self.time_from(from)
            {
                return Some(date.to_datetime(time));
            }
            date = date.tomorrow().ok()?;
            from = Time::midnight();
        }
        None
    }

    fn is_on(&self, date: Date) -> bool {
        let day = self.days.has(date.day());
        let weekday = self.weekdays.has(date.weekday().to_sunday_zero_offset());
        if self.days.is_any || self.weekdays.is_any { day && weekday } else { day || weekday }
    }

    fn time_from(&self, from: Time) -> Option<Time> {
        let mut hour = self.hours.first_from(from.hour())?;
        let mut minute = self.minutes.first_from(if hour == from.hour() { from.minute() } else { 0 });
        if minute.is_none() {
            hour = self.hours.first_from(hour.checked_add(1)?)?;
            minute = self.minutes.first_from(0);
        }
        Time::new(hour, minute?, 0, 0).ok()
    }
}

fn field(text: &str, what: &str, least: i8, most: i8, names: &[&str]) -> Result<Field, String> {
    let wrong = |reason: &str| Err(format!("'{text}' is not a {what}: {reason}"));
    let value = |part: &str| -> Option<i8> {
        let name = part.to_ascii_lowercase();
        let named = names.iter().position(|known| !known.is_empty() && *known == name);
        named.and_then(|place| i8::try_from(place).ok()).or_else(|| {
            let plain = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
            part.parse().ok().filter(|_| plain)
        })
    };
    let mut bits = 0_u64;
    let mut is_any = false;
    for part in text.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, Some(step)),
            None => (part, None),
        };
        let (first, mut last) = match (range, range.split_once('-')) {
            ("*" | "?", _) => {
                is_any |= step.is_none_or(|step| step == "1");
                (least, most)
            }
            (_, Some((first, last))) => match (value(first), value(last)) {
                (Some(first), Some(last)) => (first, last),
                _ => return wrong("a range is written as 1-5"),
            },
            (one, None) => match value(one) {
                Some(one) => (one, one),
                None => return wrong("it must be a number, a name, a range, or *"),
            },
        };
        let step = match step {
            None => 1,
            Some(step) => {
                if range != "*" && range != "?" && !range.contains('-') {
                    last = most;
                }
                match step.parse::<u8>() {
                    Ok(step) if step > 0 => usize::from(step),
                    _ => return wrong("a step must be a number above 0"),
                }
            }
        };
        if first < least || last > most || first > last {
            return wrong(&format!("it must lie between {least} and {most}, the smaller number first"));
        }
        for value in (first..=last).step_by(step) {
            bits |= u32::try_from(value).ok().and_then(|shift| 1_u64.checked_shl(shift)).unwrap_or_default();
        }
    }
    Ok(Field { bits, is_any })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(schedule: &str, after: &str) -> Option<String> {
        let found = Schedule::parse(schedule).unwrap().next(after.parse().unwrap())?;
        Some(found.strftime("%Y-%m-%d %H:%M").to_string())
    }

    #[test]
    fn the_next_time_is_after_and_never_at_the_time_asked() {
        assert_eq!(next("0 22 * * *", "2026-11-22T21:59:30").unwrap(), "2026-11-22 22:00");
        assert_eq!(next("0 22 * * *", "2026-11-22T22:00:00").unwrap(), "2026-11-23 22:00");
        assert_eq!(next("*/15 * * * *", "2026-12-31T23:50:00").unwrap(), "2027-01-01 00:00");
        assert_eq!(next("59 23 31 12 *", "2026-12-31T23:59:00").unwrap(), "2027-12-31 23:59");
    }

    #[test]
    fn names_ranges_lists_and_steps_are_read() {
        // 2026-11-22 is a Sunday.
        assert_eq!(next("30 9 * * MON-FRI", "2026-11-21T00:00:00").unwrap(), "2026-11-23 09:30");
        assert_eq!(next("0 0 1 jan,JUL *", "2026-03-01T00:00:00").unwrap(), "2026-07-01 00:00");
        assert_eq!(next("0 8-18/5 * * ?", "2026-11-22T13:30:00").unwrap(), "2026-11-22 18:00");
        assert_eq!(next("5/20 * * * *", "2026-11-22T13:30:00").unwrap(), "2026-11-22 13:45");
    }

    #[test]
    fn where_both_days_are_restricted_either_counts() {
        assert_eq!(next("0 0 1 * SUN", "2026-11-22T12:00:00").unwrap(), "2026-11-29 00:00");
        assert_eq!(next("0 0 24 * SUN", "2026-11-22T12:00:00").unwrap(), "2026-11-24 00:00");
        assert_eq!(next("0 0 */2 * SUN", "2026-11-22T12:00:00").unwrap(), "2026-11-23 00:00");
    }

    #[test]
    fn a_day_that_never_comes_is_no_time() {
        assert_eq!(next("0 0 31 2 *", "2026-01-01T00:00:00"), None);
        assert_eq!(next("0 0 29 2 *", "2026-01-01T00:00:00").unwrap(), "2028-02-29 00:00");
    }

    #[test]
    fn what_is_no_schedule_is_told() {
        for text in [
            "",
            "* * * *",
            "0 * * * * *",
            "@daily",
            "60 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "* * * * 7",
            "a * * * *",
            "*/0 * * * *",
            "5-1 * * * *",
            "* * L * *",
            "-1 * * * *",
            "+1 * * * *",
            "1- * * * *",
        ] {
            assert!(Schedule::parse(text).is_err(), "{text}");
        }
        assert_eq!(
            Schedule::parse("61 * * * *").unwrap_err(),
            "'61' is not a minute: it must lie between 0 and 59, the smaller number first"
        );
    }
}
