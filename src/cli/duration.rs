//! Durations as they are typed: `25s`, `500ms`, `2m`, `1h`, or a bare number of seconds.

use std::fmt;
use std::str::FromStr;

/// A day: nothing that is set here is longer.
const MAX_MS: u64 = 24 * 3_600 * 1_000;

/// A year: the longest that anything is kept.
const MAX_LONG_MS: u64 = 365 * MAX_MS;

/// A duration in milliseconds, at most a year; days too, as in `7d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LongMillis(pub u64);

impl FromStr for LongMillis {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let ms = match text.trim().strip_suffix('d') {
            Some(days) => {
                days.trim().parse::<u64>().ok().and_then(|days| days.checked_mul(MAX_MS)).ok_or_else(
                    || format!("{text:?} is no duration: write a number and a unit, as in 7d, 36h, 90m"),
                )?
            }
            None => parse(text)?,
        };
        if ms > MAX_LONG_MS { Err(format!("{text:?} is longer than a year")) } else { Ok(Self(ms)) }
    }
}

/// A duration in milliseconds, at most a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Millis(pub u64);

impl FromStr for Millis {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let ms = parse(text)?;
        if ms > MAX_MS { Err(format!("{:?} is longer than a day", text.trim())) } else { Ok(Self(ms)) }
    }
}

fn parse(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit_ms: u64 = match unit.trim() {
        "ms" => 1,
        "s" | "" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        other => {
            return Err(format!("{other:?} is no unit of time: use ms, s, m or h, as in 500ms, 25s, 2m"));
        }
    };
    let invalid = || format!("{text:?} is no duration: write a number and a unit, as in 500ms, 25s, 2m");
    match number.split_once('.') {
        None => number.parse::<u64>().ok().and_then(|count| count.checked_mul(unit_ms)),
        Some(_) => number.parse::<f64>().ok().map(|count| (count * unit_ms as f64).round() as u64),
    }
    .ok_or_else(invalid)
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("0s"),
            ms if ms % 60_000 == 0 => write!(f, "{}m", ms / 60_000),
            ms if ms % 1_000 == 0 => write!(f, "{}s", ms / 1_000),
            ms => write!(f, "{ms}ms"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_type_is_understood() {
        for (text, ms) in
            [("0s", 0), ("25s", 25_000), ("500ms", 500), ("2m", 120_000), ("1h", 3_600_000), ("5", 5_000)]
        {
            assert_eq!(text.parse(), Ok(Millis(ms)), "{text}");
        }
        assert_eq!("0.25s".parse(), Ok(Millis(250)));
    }

    #[test]
    fn what_is_not_a_duration_is_refused_with_what_would_be() {
        for text in ["", "s", "-1s", "5 weeks", "1e9s", "..s", "99999999999999999999s", "25h"] {
            let refused = text.parse::<Millis>().unwrap_err();
            assert!(refused.contains("as in") || refused.contains("longer than a day"), "{text}: {refused}");
        }
    }

    #[test]
    fn long_ones_have_days() {
        assert_eq!("7d".parse(), Ok(LongMillis(7 * MAX_MS)));
        assert_eq!("36h".parse(), Ok(LongMillis(36 * 3_600_000)));
        for text in ["366d", "1.5d", "d", "7 weeks"] {
            assert!(text.parse::<LongMillis>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_shown_can_be_typed_again() {
        for ms in [0, 1, 999, 1_000, 25_000, 60_000, 90_000] {
            assert_eq!(Millis(ms).to_string().parse(), Ok(Millis(ms)));
        }
    }
}
