//! Logs: to stderr, as text or JSON lines, around the progress bars when a terminal shows them.
//!
//! stdout is never written here: it belongs to results.

use indicatif::MultiProgress;
use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::str::FromStr;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// Libraries that tell of every connection: of them only warnings are logged, unless a filter asks for more.
const TALKATIVE: [&str; 7] = ["h2", "hyper", "rusoto_core", "rustls", "tikv_client", "tonic", "tower"];

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            other => Err(format!("{other:?} is neither text nor json")),
        }
    }
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Json => "json",
        })
    }
}

/// Whether stderr is shown to a person who can watch bars move.
pub fn stderr_is_terminal() -> bool {
    io::stderr().is_terminal()
}

/// Starts logging for the whole process. `level` is a level or a filter as `tracing` writes them
/// (`info`, `warn,roboflow::worker=debug`). Lines are printed above `bars`.
///
/// # Errors
/// A sentence about the level that cannot be understood.
pub fn init(format: LogFormat, level: &str, bars: MultiProgress) -> Result<(), String> {
    let filter = EnvFilter::try_new(directives(level))
        .map_err(|error| format!("the log level {level:?} is not valid: {error}"))?;
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(AboveBars(bars))
        .with_ansi(format == LogFormat::Text && stderr_is_terminal());
    let started = match format {
        LogFormat::Text => subscriber.with_target(false).try_init(),
        LogFormat::Json => subscriber.json().flatten_event(true).with_current_span(true).try_init(),
    };
    started.map_err(|error| format!("logging cannot be started: {error}"))
}

/// A level that was given alone, with what keeps libraries quiet; a filter as it is.
fn directives(level: &str) -> String {
    match level.to_ascii_lowercase().as_str() {
        bare @ ("info" | "debug" | "trace") => {
            TALKATIVE.iter().fold(bare.to_owned(), |filter, library| format!("{filter},{library}=warn"))
        }
        _ => level.to_owned(),
    }
}

/// Writes to stderr without tearing the progress bars.
#[derive(Debug, Clone)]
struct AboveBars(MultiProgress);

impl<'a> MakeWriter<'a> for AboveBars {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Write for AboveBars {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A closed stderr must not stop the work: what cannot be written is dropped.
        self.0.suspend(|| io::stderr().write_all(bytes)).ok();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_quiet_unless_a_filter_says_otherwise() {
        assert!(directives("INFO").starts_with("info,") && directives("debug").contains("tikv_client=warn"));
        for filter in ["warn", "error", "off", "warn,tikv_client=debug"] {
            assert_eq!(directives(filter), filter);
        }
        for level in ["info", "trace", "warn"] {
            EnvFilter::try_new(directives(level)).unwrap();
        }
    }
}
