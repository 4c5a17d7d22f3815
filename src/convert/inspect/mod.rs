//! What is in a recording: topics, types, rates, gaps, when each speaks, and what of it can be converted.
//!
//! It looks and never judges: a recording that cannot be converted is still reported. Times come from the index; only
//! [`Options::details`] reads the messages. Memory: that index, and counts of a fixed size for each topic.

mod details;
mod histogram;
mod html;
mod preview;
mod table;
mod timeline;
mod times;

pub use details::{Details, Latency, MAX_TOPICS, Order, Picture};
pub use histogram::Bar;
pub use preview::{EpisodePreview, FeaturePreview, Preview, preview};
pub use times::{Gap, Times};

use super::decode::{Count, FieldInfo, Schema};
use super::source::{Recording, TimeSource, TopicId, Walked};
use super::{StopFlag, WorkError};
use serde::Serialize;
use std::collections::{BTreeSet, HashSet};
use std::io;

/// Columns of a timeline that is not fitted to a terminal.
pub const COLUMNS: usize = 240;
/// Types of a topic that are listed.
const LISTED_MAX: usize = 6;
/// Most columns of a timeline.
const MAX_COLUMNS: usize = 1_000;

/// What is looked at.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Fit the timeline to a text of this look; otherwise it has [`COLUMNS`].
    pub fit: Option<Look>,
    /// Read every message: [`TopicReport::details`].
    pub details: bool,
}

/// How a text looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// Columns of the terminal.
    pub width: usize,
    /// Whether it shows more than ASCII.
    pub unicode: bool,
    /// Whether it shows colours.
    pub colour: bool,
}

/// A recording, described.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Its key in storage.
    pub file: String,
    /// Its size.
    pub size_bytes: u64,
    /// Chunks that hold messages.
    pub chunks: usize,
    /// Messages of all topics.
    pub messages: u64,
    /// From the first log time to the last, in seconds.
    pub duration_s: f64,
    /// The first log time, in nanoseconds since the epoch.
    pub start_ns: Option<u64>,
    /// The last log time, in nanoseconds since the epoch.
    pub end_ns: Option<u64>,
    /// Whether messages are found by indexes, without reading the file.
    pub indexed: bool,
    /// Whether the file ends before its data does.
    pub cut: bool,
    /// What else is worth knowing.
    pub warnings: Vec<String>,
    /// The topics, by name.
    pub topics: Vec<TopicReport>,
}

/// A topic, described. Times are log times.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TopicReport {
    /// Its name.
    pub name: String,
    /// Its message type; empty if the recording names none.
    #[serde(rename = "type")]
    pub schema: String,
    /// How messages are written.
    pub encoding: String,
    /// How many.
    pub messages: u64,
    /// Rate and gaps.
    #[serde(flatten)]
    pub times: Times,
    /// Messages in each of equal parts of the recording, from its first log time to its last.
    pub timeline: Vec<u64>,
    /// Whether messages carry a stamp of their own.
    pub has_header: bool,
    /// The fields that a mapping can name.
    pub fields: Vec<FieldReport>,
    /// Why its messages cannot be read; none if they can.
    pub unreadable: Option<String>,
    /// What the messages themselves tell, where they were read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub details: Option<Details>,
}

/// A field, described.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldReport {
    /// Its path, as a mapping names it.
    pub path: String,
    /// Its element type.
    #[serde(rename = "type")]
    pub kind: String,
}

/// Looks at every topic of a recording. Messages are read only where there is no index of them, or details are asked for.
///
/// # Errors
/// Errors of reading with their class; [`WorkError::Stopped`]. A topic that cannot be decoded is no error, nor is damage
/// that is met while details are read: it is a warning.
pub fn inspect(recording: &Recording, options: &Options, stop: &StopFlag) -> Result<Report, WorkError> {
    let all: Vec<TopicId> = (0..recording.topics().len()).map(TopicId).collect();
    let messages = recording.index(&all, TimeSource::Log, stop)?;
    let refs = |at: usize| messages.get(at);
    let (mut topics, mut schemas) = (Vec::with_capacity(all.len()), Vec::new());
    let mut warnings = recording.warnings().to_vec();
    for (at, about) in recording.topics().iter().enumerate() {
        stop.check()?;
        let id = TopicId(at);
        let found = refs(at).map(Vec::as_slice).unwrap_or_default();
        let (of_types, unreadable) = match recording.schemas(id, stop) {
            Ok(schemas) => (schemas, None),
            Err(error) => (Vec::new(), Some(error.of_topic()?)),
        };
        if let types @ [_, _, ..] = recording.types(id) {
            let shown: Vec<String> = types.iter().take(LISTED_MAX).map(|known| known.type_shown()).collect();
            let (name, many, shown) = (&about.name, types.len(), shown.join(", "));
            warnings.push(format!("{name} has messages of {many} types or definitions: {shown}"));
        }
        topics.push(TopicReport {
            name: about.name.clone(),
            schema: about.schema_name.clone(),
            encoding: about.message_encoding.clone(),
            messages: found.len() as u64,
            times: times::times(found),
            timeline: Vec::new(),
            has_header: of_types.iter().any(Schema::has_header),
            fields: fields(&of_types),
            unreadable,
            details: None,
        });
        schemas.push(of_types);
    }
    let stamps =
        || topics.iter().flat_map(|topic| topic.times.first_ns.into_iter().chain(topic.times.last_ns));
    let (start_ns, end_ns) = (stamps().min(), stamps().max());
    let mut report = Report {
        file: recording.name().to_owned(),
        size_bytes: recording.size_bytes(),
        chunks: messages.iter().flatten().map(|message| message.chunk).collect::<BTreeSet<_>>().len(),
        messages: topics.iter().map(|topic| topic.messages).sum(),
        duration_s: (end_ns.unwrap_or(0) - start_ns.unwrap_or(0)) as f64 / 1e9,
        start_ns,
        end_ns,
        indexed: recording.is_indexed(),
        cut: recording.is_cut(),
        warnings,
        topics,
    };
    if let (Some(start), Some(end)) = (start_ns, end_ns) {
        let columns = options.fit.map_or(COLUMNS, |look| table::timeline_columns(&report, look));
        for (at, topic) in report.topics.iter_mut().enumerate() {
            topic.timeline = refs(at).map_or_else(Vec::new, |refs| times::columns(refs, start, end, columns));
        }
    }
    drop(messages);
    if options.details {
        let (details, walked) = details::read(recording, &schemas, stop)?;
        report.topics.iter_mut().zip(details).for_each(|(topic, details)| topic.details = details);
        report.warn_of(&walked);
    }
    Ok(report)
}

impl Report {
    /// The report as a text of at most `look.width` columns where that is possible: only in a timeline above a table are
    /// names cut.
    pub fn render(&self, look: Look) -> String {
        table::render(self, look)
    }

    /// The report as one HTML page that needs nothing else, with [`Details`] where there are any.
    ///
    /// # Errors
    /// Of the writer.
    pub fn write_html(&self, out: &mut dyn io::Write) -> io::Result<()> {
        html::write(self, out)
    }

    fn warn_of(&mut self, walked: &Walked) {
        self.warnings.extend(walked.damaged.iter().cloned());
        let more = walked.damaged_count - walked.damaged.len() as u64;
        if more > 0 {
            self.warnings.push(format!("{more} more places are damaged"));
        }
        if self.topics.len() > MAX_TOPICS {
            self.warnings.push(format!("only the messages of the first {MAX_TOPICS} topics were looked at"));
        }
    }

    /// The recording's length in seconds, never zero: what places are shares of.
    fn span_s(&self) -> f64 {
        self.duration_s.max(1e-9)
    }

    /// Where an instant lies, as a share of the recording.
    fn place(&self, at_ns: u64) -> f64 {
        self.since_start_s(at_ns) / self.span_s()
    }

    fn since_start_s(&self, at_ns: u64) -> f64 {
        at_ns.saturating_sub(self.start_ns.unwrap_or(0)) as f64 / 1e9
    }
}

/// The fields that all of a topic's types have.
fn fields(of_types: &[Schema]) -> Vec<FieldReport> {
    let Some((first, others)) = of_types.split_first() else { return Vec::new() };
    let others: Vec<HashSet<String>> =
        others.iter().map(|schema| schema.fields().into_iter().map(|info| info.path).collect()).collect();
    let everywhere = |info: &FieldInfo| others.iter().all(|paths| paths.contains(&info.path));
    first.fields().iter().filter(|info| everywhere(info)).map(field).collect()
}

fn field(field: &FieldInfo) -> FieldReport {
    let list = if field.array == Count::One { "" } else { "[]" };
    FieldReport { path: field.path.clone(), kind: format!("{}{list}", field.element.name()) }
}

#[cfg(test)]
mod tests;
