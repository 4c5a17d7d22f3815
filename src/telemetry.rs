//! Logs: to stderr, as text or JSON lines, around the progress bars when a terminal shows them; and the context that a line
//! is said in: which worker, which machine of it, in which state, with which job.
//!
//! stdout is never written here: it belongs to results.

use indicatif::MultiProgress;
use roboflow_fsm::effect::Leaf;
use roboflow_fsm::id::{Epoch, JobId};
use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::str::FromStr;
use tracing::{Span, field, info_span};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// Libraries that tell of every connection: of them only warnings are logged, unless a filter asks for more.
const TALKATIVE: [&str; 7] = ["h2", "hyper", "rusoto_core", "rustls", "tikv_client", "tonic", "tower"];

/// What contexts are filtered by. A line of JSON always has its context; in text it is left out below the level info.
const CONTEXT: &str = "roboflow::context";
/// What the lines of transitions are filtered by.
pub const TRANSITION: &str = "roboflow::transition";
/// For a person who waits for one dataset and has the bars' lines: what happens to recordings, not what machines do.
pub const FOR_A_RUN: &str = "info,roboflow::transition=warn,roboflow::context=warn";

/// Who speaks: a process of a fleet, by the name under which people see it in the queue.
pub fn process(worker: &str) -> Span {
    info_span!(target: CONTEXT, "process", worker)
}

/// Who speaks, where it is a machine: with the state it stands in and the job it holds.
pub fn machine(worker: &str, machine: u32, state: Leaf, held: Option<(JobId, Epoch)>) -> Span {
    let job = held.map(|(job, _)| field::display(job));
    let epoch = held.map(|(_, epoch)| epoch.0);
    let state = state.name();
    info_span!(target: CONTEXT, parent: None, "machine", worker, machine, state, job, epoch)
}

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
    let filter = EnvFilter::try_new(directives(format, level))
        .map_err(|error| format!("the log level {level:?} is not valid: {error}"))?;
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(AboveBars(bars))
        .with_ansi(format == LogFormat::Text && stderr_is_terminal());
    let started = match format {
        LogFormat::Text => subscriber.with_target(false).try_init(),
        LogFormat::Json => {
            // One context a line: contexts are not nested.
            subscriber.json().flatten_event(true).with_current_span(true).with_span_list(false).try_init()
        }
    };
    started.map_err(|error| format!("logging cannot be started: {error}"))
}

/// A level or a filter that begins with one, with what keeps libraries quiet before what is asked for more narrowly. To
/// JSON belongs its context, however little is logged.
fn directives(format: LogFormat, level: &str) -> String {
    let (first, rest) = level.split_once(',').map_or((level, None), |(first, rest)| (first, Some(rest)));
    let mut filter = first.to_owned();
    if matches!(first.to_ascii_lowercase().as_str(), "info" | "debug" | "trace") {
        filter = TALKATIVE.iter().fold(filter, |filter, library| format!("{filter},{library}=warn"));
    }
    if let Some(rest) = rest {
        filter = format!("{filter},{rest}");
    }
    match format {
        LogFormat::Text => filter,
        LogFormat::Json => format!("{filter},{CONTEXT}=info"),
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
        let text = |level| directives(LogFormat::Text, level);
        assert!(text("INFO").starts_with("INFO,") && text("debug").contains("tikv_client=warn"));
        for filter in ["warn", "error", "off", "warn,tikv_client=debug", "roboflow::worker=debug,info"] {
            assert_eq!(text(filter), filter);
        }
        assert!(text("info,h2=debug").ends_with(",h2=debug"), "what is asked for comes last, and holds");
        assert!(text(FOR_A_RUN).starts_with("info,h2=warn"));
        for level in ["info", "trace", "warn", "off", FOR_A_RUN] {
            EnvFilter::try_new(directives(LogFormat::Json, level)).unwrap();
        }
    }

    #[test]
    fn json_has_its_context_at_any_level() {
        assert_eq!(directives(LogFormat::Json, "error"), "error,roboflow::context=info");
        assert!(directives(LogFormat::Json, FOR_A_RUN).ends_with(",roboflow::context=info"));
    }
}
