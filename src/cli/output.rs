//! Results on stdout, the last error on stderr.

use super::exit::{Code, OrExit, Outcome};
use super::reader_is_gone;
pub use crate::readable::{bytes, count, instant};
use serde::Serialize;
use std::io::{self, IsTerminal, Write};

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

/// Whether stdout is a terminal.
pub fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Columns of the terminal that stdout is; of anything else, enough for any table.
pub fn width() -> usize {
    let columns = rustix::termios::tcgetwinsize(io::stdout()).map_or(0, |size| size.ws_col);
    if columns == 0 { WIDTH_OF_NO_TERMINAL } else { usize::from(columns) }
}
