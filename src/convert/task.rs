//! The task's text: as the mapping gives it, of a topic, or of a file beside the recording.
//!
//! It decides nothing else about the episode.

use super::bind::find_topic;
use super::decode::{Extractor, ValueKind};
use super::grid::Stamp;
use super::mapping::{Located, Mapping, Task};
use super::source::Recording;
use super::{StopFlag, WorkError};
use crate::storage::{SharedStorage, StorageError};

/// Longest task text, in bytes.
pub(crate) const TASK_BYTES_MAX: u64 = 64 << 10;
/// Stands for the recording's name without its ending in a task file's name.
const RECORDING_MARK: &str = "{recording}";

/// The task of an episode that ends at `end_ns`. A topic's is its first message whose stamp is at or before that end.
///
/// # Errors
/// There is none, or it is no text; the message says what to do.
pub(crate) fn task(
    mapping: &Mapping,
    recording: &Recording,
    storage: &SharedStorage,
    end_ns: u64,
    stop: &StopFlag,
) -> Result<String, WorkError> {
    let text = match &mapping.task {
        Task::Text(text) => return Ok(text.clone()),
        Task::Topic { topic, field } => of_topic(mapping, recording, topic, field, end_ns, stop)?,
        Task::File(file) => of_file(mapping, recording, storage, file)?,
    };
    let text = text.trim();
    if text.is_empty() || text.len() as u64 > TASK_BYTES_MAX {
        return Err(WorkError::Permanent(format!(
            "{}: the task's text has {} bytes; it must have 1 to {TASK_BYTES_MAX}",
            recording.name(),
            text.len()
        )));
    }
    Ok(text.to_owned())
}

fn of_topic(
    mapping: &Mapping,
    recording: &Recording,
    topic: &Located<String>,
    field: &Located<String>,
    end_ns: u64,
    stop: &StopFlag,
) -> Result<String, WorkError> {
    let id = find_topic(mapping, recording, topic)?;
    let schema = recording.schema(id, stop)?;
    let extractor = Extractor::compile(&schema, &field.value)
        .map_err(|error| mapping.error(field.place, error.to_string()))?;
    if extractor.kind() != ValueKind::Strings {
        let what = format!("{} of {} is no text, and a task is one", field.value, topic.value);
        return Err(mapping.error(field.place, what).into());
    }
    let messages = recording.index(&[id], mapping.time, stop)?;
    let first = messages.first().and_then(|messages| messages.first());
    let Some(first) = first.filter(|message| message.stamp_ns <= end_ns) else {
        return Err(WorkError::Permanent(format!(
            "{}: {} has no message at or before the episode's end at {}: give the task as text = \"...\" or by another topic",
            recording.name(),
            topic.value,
            Stamp(end_ns)
        )));
    };
    let mut texts = Vec::new();
    let mut reader = recording.reader();
    let message = reader.message(*first)?;
    extractor.strings(message.data, &mut texts).map_err(|error| {
        super::rows::complaint(recording.name(), &topic.value, first.stamp_ns, &error.to_string())
    })?;
    Ok(texts.join(" "))
}

fn of_file(
    mapping: &Mapping,
    recording: &Recording,
    storage: &SharedStorage,
    file: &Located<String>,
) -> Result<String, WorkError> {
    let (folder, name) = recording.name().rsplit_once('/').map_or(("", recording.name()), |parts| parts);
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    let beside = file.value.replace(RECORDING_MARK, stem);
    let key = if folder.is_empty() { beside } else { format!("{folder}/{beside}") };
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
