//! Numbers, instants and names as people read them, in a terminal as in a page.
//!
//! Names come from recordings: what could steer a terminal or turn text around is shown as an escape.

/// A count of things for people: `1 episode`, `2 episodes`.
pub fn count(many: u64, thing: &str) -> String {
    let plural = if many == 1 { "" } else { "s" };
    format!("{many} {thing}{plural}")
}

/// An instant in ms since 1970 for people: `2026-11-21 12:05:01Z`.
pub fn instant(ms: u64) -> String {
    let (days, seconds) = (ms / 86_400_000, ms / 1_000 % 86_400);
    // Days to a date of the Gregorian calendar, from the first of March of a year that 400 divides.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}Z")
}

/// Bytes for people: `1.2 GB`.
pub fn bytes(count: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")];
    UNITS.iter().find(|(size, _)| count >= *size).map_or_else(
        || format!("{count} B"),
        |(size, unit)| format!("{:.1} {unit}", count as f64 / *size as f64),
    )
}

/// A length of time for people: `53 µs`, `2.10 ms`, `410.0 ms`, `12.00 s`, `90 s`.
pub fn millis(ms: f64) -> String {
    match ms.abs() {
        0.0 => "0 ms".to_owned(),
        ..0.1 => format!("{:.0} µs", ms * 1e3),
        ..10.0 => format!("{ms:.2} ms"),
        ..1_000.0 => format!("{ms:.1} ms"),
        ..60_000.0 => format!("{:.2} s", ms / 1e3),
        _ => format!("{:.0} s", ms / 1e3),
    }
}

/// A place in a recording, from its beginning: `0.25 s`, `12.0 s`, `1:02:05`.
pub fn clock(seconds: f64) -> String {
    let whole = seconds as u64;
    match seconds {
        ..10.0 => format!("{seconds:.2} s"),
        ..600.0 => format!("{seconds:.1} s"),
        ..3_600.0 => format!("{}:{:02} min", whole / 60, whole % 60),
        _ => format!("{}:{:02}:{:02}", whole / 3_600, whole / 60 % 60, whole % 60),
    }
}

/// Longest name that is shown whole.
const NAME_CHARS_MAX: usize = 200;

/// A name or text out of a recording on one line: control characters and those that turn the direction of text are
/// shown as `\u{1b}`, and of more than 200 characters the beginning.
pub fn name(text: &str) -> String {
    let mut shown = String::with_capacity(text.len().min(NAME_CHARS_MAX));
    for (at, char) in text.chars().enumerate() {
        if at == NAME_CHARS_MAX {
            shown.push_str("...");
            break;
        }
        if steers(char) { shown.extend(char.escape_unicode()) } else { shown.push(char) }
    }
    shown
}

/// Whether a character does something other than stand there.
pub fn steers(char: char) -> bool {
    let turns = matches!(char, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    char.is_control() || turns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_dates() {
        for (seconds, shown) in [
            (0, "1970-01-01 00:00:00Z"),
            (951_782_399, "2000-02-28 23:59:59Z"),
            (951_782_400, "2000-02-29 00:00:00Z"),
            (1_767_225_599, "2025-12-31 23:59:59Z"),
            (1_795_262_701, "2026-11-21 12:05:01Z"),
        ] {
            assert_eq!(instant(seconds * 1_000 + 999), shown);
        }
    }

    #[test]
    fn lengths_of_time_have_fitting_units() {
        for (ms, shown) in [
            (0.0, "0 ms"),
            (0.0534, "53 µs"),
            (2.1, "2.10 ms"),
            (410.0, "410.0 ms"),
            (-1_500.0, "-1.50 s"),
            (90_000.0, "90 s"),
        ] {
            assert_eq!(millis(ms), shown);
        }
        assert_eq!([0.25, 12.04, 754.0, 3_725.9].map(clock), ["0.25 s", "12.0 s", "12:34 min", "1:02:05"]);
    }

    #[test]
    fn names_cannot_steer_a_terminal() {
        assert_eq!(name("/a\u{1b}[2J\n\u{202e}b"), "/a\\u{1b}[2J\\u{a}\\u{202e}b");
        assert_eq!(name("/joint_états/关节"), "/joint_états/关节");
        assert_eq!(name(&"x".repeat(1_000_000)).len(), NAME_CHARS_MAX + 3);
    }
}
