//! The texts of the episodes' tasks: as the mapping gives it, of a topic, of a file beside the recording, or of each
//! episode's own range.
//!
//! It decides nothing else about an episode.

use super::bind::find_topic;
use super::decode::ValueKind;
use super::field::Field;
use super::grid::Stamp;
use super::mapping::episodes::Split;
use super::mapping::{Located, Mapping, Task};
use super::source::{MessageRef, Reader, Recording};
use super::{StopFlag, WorkError};
use crate::storage::{SharedStorage, StorageError};

/// Longest task text, in bytes.
pub(crate) const TASK_BYTES_MAX: u64 = 64 << 10;
/// Stands for the recording's name without its ending in a task file's name.
const RECORDING_MARK: &str = "{recording}";

/// The tasks of a recording's episodes.
pub(crate) struct Tasks<'a> {
    recording: &'a Recording,
    from: From<'a>,
}

enum From<'a> {
    /// All have the same.
    Same(String),
    Topic(Box<FromTopic<'a>>),
    /// Each brings its own.
    Ranges,
}

struct FromTopic<'a> {
    name: &'a str,
    field: Field,
    messages: Vec<MessageRef>,
    reader: Reader,
    /// The message read last, and its text.
    last: Option<(MessageRef, String)>,
    /// A recording is one episode: its first message tells. Otherwise the last one before an episode's end does.
    first: bool,
}

impl<'a> Tasks<'a> {
    /// Reads what is the same for all episodes: the file beside the recording, or where the topic's messages lie.
    ///
    /// # Errors
    /// There is none, or it is no text; the message says what to do.
    pub(crate) fn open(
        mapping: &'a Mapping,
        recording: &'a Recording,
        storage: &SharedStorage,
        stop: &StopFlag,
    ) -> Result<Self, WorkError> {
        let from = match &mapping.task {
            Task::Text(text) => From::Same(text.clone()),
            Task::Topic { topic, field } => {
                From::Topic(Box::new(FromTopic::open(mapping, recording, topic, field, stop)?))
            }
            Task::File(file) => From::Same(of_file(mapping, recording, storage, file)?),
            Task::Ranges => From::Ranges,
        };
        Ok(Self { recording, from })
    }

    /// The task of an episode that ends at `end_ns`: its own if it has one.
    ///
    /// # Errors
    /// There is none, or it is empty or too long.
    pub(crate) fn of(&mut self, end_ns: u64, own: Option<&str>) -> Result<String, WorkError> {
        let name = self.recording.name();
        let text = match (own, &mut self.from) {
            (Some(own), _) => own.to_owned(),
            (None, From::Same(text)) => text.clone(),
            (None, From::Topic(topic)) => topic.at(name, end_ns)?,
            (None, From::Ranges) => {
                return Err(WorkError::Permanent(format!(
                    "{name}: the episode that ends at {} has no task: give it one where the ranges are written, or all \
                     others one by [task] in the mapping",
                    Stamp(end_ns)
                )));
            }
        };
        let text = text.trim();
        if text.is_empty() || text.len() as u64 > TASK_BYTES_MAX {
            return Err(WorkError::Permanent(format!(
                "{name}: the task's text has {} bytes; it must have 1 to {TASK_BYTES_MAX}",
                text.len()
            )));
        }
        Ok(text.to_owned())
    }
}

impl<'a> FromTopic<'a> {
    fn open(
        mapping: &Mapping,
        recording: &Recording,
        topic: &'a Located<String>,
        field: &Located<String>,
        stop: &StopFlag,
    ) -> Result<Self, WorkError> {
        let id = find_topic(mapping, recording, topic)?;
        let wrong = |what: String| mapping.error(field.place, what);
        let found =
            Field::compile(recording, id, &recording.schemas(id, stop)?, &field.value).map_err(wrong)?;
        if found.kind(recording, id).map_err(wrong)? != ValueKind::Strings {
            let what = format!("{} of {} is no text, and a task is one", field.value, topic.value);
            return Err(mapping.error(field.place, what).into());
        }
        let messages = recording.index(&[id], mapping.time, stop)?.into_iter().next().unwrap_or_default();
        let first = mapping.episodes.split == Split::File;
        Ok(Self { name: &topic.value, field: found, messages, reader: recording.reader(), last: None, first })
    }

    fn at(&mut self, recording: &str, end_ns: u64) -> Result<String, WorkError> {
        let until = self.messages.partition_point(|message| message.stamp_ns <= end_ns);
        let at = if self.first { 0 } else { until.saturating_sub(1) };
        let Some(at) = self.messages.get(at).filter(|_| until > 0).copied() else {
            return Err(WorkError::Permanent(format!(
                "{recording}: {} has no message at or before the episode's end at {}: give the task as text = \"...\" or by another topic",
                self.name,
                Stamp(end_ns)
            )));
        };
        if let Some((known, text)) = &self.last
            && *known == at
        {
            return Ok(text.clone());
        }
        let mut texts = Vec::new();
        let message = self.reader.message(at)?;
        self.field
            .of(message.kind)
            .strings(message.data, &mut texts)
            .map_err(|error| super::rows::complaint(recording, self.name, at.stamp_ns, &error.to_string()))?;
        let text = texts.join(" ");
        self.last = Some((at, text.clone()));
        Ok(text)
    }
}

/// The key of a file beside a recording, whose name may hold the recording's without its ending.
pub(crate) fn beside(recording: &str, file: &str) -> String {
    let (folder, name) = recording.rsplit_once('/').map_or(("", recording), |parts| parts);
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    let file = file.replace(RECORDING_MARK, stem);
    if folder.is_empty() { file } else { format!("{folder}/{file}") }
}

fn of_file(
    mapping: &Mapping,
    recording: &Recording,
    storage: &SharedStorage,
    file: &Located<String>,
) -> Result<String, WorkError> {
    let key = beside(recording.name(), &file.value);
    let bytes = storage.read(&key, TASK_BYTES_MAX).map_err(|error| match error {
        StorageError::NotFound { location, key } => {
            let what = format!(
                "{location}: there is no {key}: write the task of {} into it, or give it as text = \"...\"",
                recording.name()
            );
            mapping.error(file.place, what).into()
        }
        error => WorkError::from(error),
    })?;
    String::from_utf8(bytes.to_vec())
        .map_err(|_| WorkError::Permanent(format!("{key}: the task's text is not UTF-8: save it as UTF-8")))
}
