//! Results on stdout, the last error on stderr.

use super::exit::{Code, OrExit, Outcome};
use super::reader_is_gone;
use serde::Serialize;
use std::io::{self, Write};

/// Columns of what is no terminal.
const WIDTH_OF_NO_TERMINAL: usize = 160;

/// Writes a result to stdout. A reader that has gone away is no error.
///
/// # Errors
/// When stdout cannot be written.
pub fn text(text: &str) -> Outcome<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if !reader_is_gone(&error) => Err(error).or_exit(Code::Io),
        _ => Ok(()),
    }
}

/// Writes a result to stdout as one JSON document, indented, with a line feed.
///
/// # Errors
/// When stdout cannot be written.
pub fn json(value: &impl Serialize) -> Outcome<()> {
    let document = serde_json::to_string_pretty(value).or_exit(Code::Fault)?;
    text(&format!("{document}\n"))
}

/// Writes to stderr what a person should read, beside the log. A closed stderr is no error.
pub fn notice(text: &str) {
    io::stderr().write_all(format!("{text}\n").as_bytes()).ok();
}

/// Writes why the command failed to stderr.
pub fn error(error: &anyhow::Error) {
    notice(&format!("error: {error:#}"));
}

/// Columns of the terminal that stdout is; of anything else, enough for any table.
pub fn width() -> usize {
    let columns = rustix::termios::tcgetwinsize(io::stdout()).map_or(0, |size| size.ws_col);
    if columns == 0 { WIDTH_OF_NO_TERMINAL } else { usize::from(columns) }
}

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
}
