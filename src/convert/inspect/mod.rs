//! What is in a recording: topics, types, rates, gaps, and what of it can be converted.
//!
//! It looks and never judges: a recording that cannot be converted is still reported.

mod table;

use super::decode::{Count, FieldInfo};
use super::source::{MessageRef, Recording, TimeSource, TopicId};
use super::{StopFlag, WorkError};
use serde::Serialize;
use std::collections::BTreeSet;

/// A silence of so many usual periods is a gap. The usual one is the median or the mean, whichever is longer: topics
/// that speak in bursts have a median near zero.
const GAP_PERIODS: u64 = 5;

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
    /// Messages a second; none of fewer than two.
    pub rate_hz: Option<f64>,
    /// The first, in nanoseconds since the epoch.
    pub first_ns: Option<u64>,
    /// The last, in nanoseconds since the epoch.
    pub last_ns: Option<u64>,
    /// Silences of more than five usual periods.
    pub gaps: u64,
    /// The longest silence between two messages, in milliseconds.
    pub longest_gap_ms: Option<f64>,
    /// When the longest silence began, in nanoseconds since the epoch.
    pub longest_gap_at_ns: Option<u64>,
    /// Whether messages carry a stamp of their own.
    pub has_header: bool,
    /// The fields that a mapping can name.
    pub fields: Vec<FieldReport>,
    /// Why its messages cannot be read; none if they can.
    pub unreadable: Option<String>,
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

/// Looks at every topic of a recording. Messages are read only where there is no index of them.
///
/// # Errors
/// Errors of reading with their class; [`WorkError::Stopped`]. A topic that cannot be decoded is no error.
pub fn inspect(recording: &Recording, stop: &StopFlag) -> Result<Report, WorkError> {
    let all = recording.topics().iter().enumerate();
    let whole = |(at, _): &(usize, _)| recording.conflict(TopicId(*at)).is_none();
    let indexed: Vec<TopicId> = all.clone().filter(whole).map(|(at, _)| TopicId(at)).collect();
    let messages = recording.index(&indexed, TimeSource::Log, stop)?;
    let mut topics = Vec::with_capacity(recording.topics().len());
    for (at, about) in all {
        stop.check()?;
        let id = TopicId(at);
        let refs = indexed.iter().position(|topic| *topic == id).and_then(|at| messages.get(at));
        let mut report = times(refs.map_or(&[][..], Vec::as_slice));
        report.name.clone_from(&about.name);
        report.schema.clone_from(&about.schema_name);
        report.encoding.clone_from(&about.message_encoding);
        if refs.is_none() {
            report.messages = about.message_count.unwrap_or(0);
        }
        match (recording.conflict(id), recording.schema(id, stop)) {
            (Some(conflict), _) => report.unreadable = Some(conflict.to_owned()),
            (None, Ok(schema)) => {
                report.has_header = schema.has_header();
                report.fields = schema.fields().iter().map(field).collect();
            }
            (None, Err(error)) => report.unreadable = Some(error.of_topic()?),
        }
        topics.push(report);
    }
    let stamps = || topics.iter().flat_map(|topic| topic.first_ns.into_iter().chain(topic.last_ns));
    let duration_ns = stamps().max().unwrap_or(0) - stamps().min().unwrap_or(0);
    Ok(Report {
        file: recording.name().to_owned(),
        size_bytes: recording.size_bytes(),
        chunks: messages.iter().flatten().map(|message| message.chunk).collect::<BTreeSet<_>>().len(),
        messages: topics.iter().map(|topic| topic.messages).sum(),
        duration_s: duration_ns as f64 / 1e9,
        indexed: recording.is_indexed(),
        cut: recording.is_cut(),
        warnings: recording.warnings().to_vec(),
        topics,
    })
}

impl Report {
    /// The report as a text of at most `width` columns where that is possible; names are never cut.
    pub fn render(&self, width: usize) -> String {
        table::render(self, width)
    }
}

fn field(field: &FieldInfo) -> FieldReport {
    let list = if field.array == Count::One { "" } else { "[]" };
    FieldReport { path: field.path.clone(), kind: format!("{}{list}", field.element.name()) }
}

/// Counts, rate and gaps of messages in the order of their stamps.
fn times(messages: &[MessageRef]) -> TopicReport {
    let stamp = |message: &MessageRef| message.stamp_ns;
    let (first_ns, last_ns) = (messages.first().map(stamp), messages.last().map(stamp));
    let silences: Vec<(u64, u64)> = messages
        .iter()
        .zip(messages.iter().skip(1))
        .map(|(before, after)| (after.stamp_ns - before.stamp_ns, before.stamp_ns))
        .collect();
    let mut periods: Vec<u64> = silences.iter().map(|(period, _)| *period).collect();
    periods.sort_unstable();
    let median = periods.get(periods.len() / 2).copied().unwrap_or(0);
    let span_ns = last_ns.unwrap_or(0) - first_ns.unwrap_or(0);
    let usual = median.max(span_ns / periods.len().max(1) as u64);
    let gaps = periods.iter().filter(|period| **period > usual.saturating_mul(GAP_PERIODS)).count();
    let longest = silences.iter().max_by_key(|(period, _)| *period);
    TopicReport {
        name: String::new(),
        schema: String::new(),
        encoding: String::new(),
        messages: messages.len() as u64,
        rate_hz: (span_ns > 0).then(|| periods.len() as f64 * 1e9 / span_ns as f64),
        first_ns,
        last_ns,
        gaps: gaps as u64,
        longest_gap_ms: longest.map(|(period, _)| *period as f64 / 1e6),
        longest_gap_at_ns: longest.map(|(_, at)| *at),
        has_header: false,
        fields: Vec::new(),
        unreadable: None,
    }
}

#[cfg(test)]
mod tests;
