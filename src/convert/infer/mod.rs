//! A mapping for a recording that has none: which topics look like state, action, cameras and task.
//!
//! A guess, written as a mapping file that a person reads and corrects; it follows the same rules as one that was
//! written by hand. What it looks at: topic names, type names, field names, rates, and the first message of each topic.
//!
//! - State: topics of joints and poses; of joint states the positions, by the names in the first message.
//! - Action: topics that say command, cmd, action, target, goal, setpoint or desired, leaders and masters, and the types
//!   Twist, JointTrajectory and Ackermann. Without one, the state one frame later.
//! - Images: topics of JPEG and PNG files, of raw pixels and of depth, named by what is particular in the topic.
//! - Robots beside each other (`/turtle1`, `/turtle2`: first parts that differ by their number alone, and are no arms,
//!   hands or the like) are not mixed: the one with state and command that overlap the longest is taken.
//! - Topics that cover less than half of the time that the longest one covers are left out: they would shorten the episode.

mod candidate;
mod choose;
mod fields;
mod words;
mod write;

use super::source::{Recording, TimeSource, TopicId};
use super::{StopFlag, WorkError};
use crate::storage::SharedStorage;
use candidate::{Candidate, Role};

/// Topics that the error lists.
const LISTED_MAX: usize = 30;

/// An inferred mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inferred {
    /// The mapping file, commented; it parses.
    pub mapping_text: String,
    /// What was left out and why, and what was assumed: a line each.
    pub notes: Vec<String>,
}

impl Inferred {
    /// The same with cameras as videos.
    #[must_use]
    pub fn with_videos(self) -> Self {
        Self { mapping_text: write::with_videos(&self.mapping_text), notes: self.notes }
    }
}

/// What was chosen of a recording.
#[derive(Debug, Default)]
struct Choice {
    states: Vec<Candidate>,
    actions: Vec<Candidate>,
    cameras: Vec<(String, Candidate)>,
    task: Option<Candidate>,
    fps: u32,
    fps_reason: String,
}

/// Guesses a mapping from the recording under this key.
///
/// # Errors
/// As [`infer`], and when it is no recording.
pub fn infer_first(storage: SharedStorage, key: &str, stop: &StopFlag) -> Result<Inferred, WorkError> {
    infer(&Recording::open(storage, key, stop)?, stop)
}

/// Guesses a mapping from the recording's topics.
///
/// # Errors
/// [`WorkError::Permanent`] when nothing fits, with the topics there are; errors of reading with their class.
pub fn infer(recording: &Recording, stop: &StopFlag) -> Result<Inferred, WorkError> {
    let mut notes = Vec::new();
    let topics: Vec<TopicId> = (0..recording.topics().len()).map(TopicId).collect();
    let index = recording.index(&topics, TimeSource::Log, stop)?;
    let mut reader = recording.reader();
    let mut candidates = Vec::new();
    for (topic, messages) in topics.iter().zip(&index) {
        stop.check()?;
        let found = candidate::candidate(recording, &mut reader, *topic, messages, stop, &mut notes)?;
        candidates.extend(found);
    }
    if !candidates.iter().any(|candidate| candidate.role != Role::Task) {
        return Err(nothing(recording, &notes));
    }
    let choice = choose::choose(candidates, &mut notes);
    let mapping_text = write::mapping(recording.name(), &choice);
    Ok(Inferred { mapping_text, notes })
}

fn nothing(recording: &Recording, notes: &[String]) -> WorkError {
    if recording.topics().is_empty() {
        let warnings: String = recording.warnings().iter().map(|warning| format!("\n  {warning}")).collect();
        return WorkError::Permanent(format!(
            "{}: it holds no topics, so there is nothing to convert{warnings}",
            recording.name()
        ));
    }
    let topics: Vec<String> = recording
        .topics()
        .iter()
        .take(LISTED_MAX)
        .map(|topic| format!("  {} ({}, {})", topic.name, topic.schema_name, topic.message_encoding))
        .collect();
    let readable = if notes.is_empty() { "" } else { " that can be read" };
    let more = recording.topics().len().saturating_sub(LISTED_MAX);
    let more = if more > 0 { format!("\n  and {more} more") } else { String::new() };
    let notes: String = notes.iter().map(|note| format!("\n  {note}")).collect();
    WorkError::Permanent(format!(
        "{}: no mapping can be guessed: no topic{readable} looks like joints, a pose, a command or a camera; write a mapping and give \
         it by --mapping. Its topics:\n{}{more}{notes}",
        recording.name(),
        topics.join("\n")
    ))
}

#[cfg(test)]
mod tests;
