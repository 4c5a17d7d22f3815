//! Where a recording is split: reads what the mapping names (markers, a file beside, metadata) and gives bounds.
//!
//! It makes no frames; whether an episode is long enough is not its business.

use super::ranges::{self, Entry, Notation, RANGES_BYTES_MAX};
use super::silence::{pieces, silences};
use super::{Bounds, TooMany, marker::Markers};
use crate::convert::bind::find_topic;
use crate::convert::decode::{Extractor, ValueKind};
use crate::convert::field::Field;
use crate::convert::mapping::episodes::{MarkerRule, MarkerValue, RangesIn, Split};
use crate::convert::mapping::{Located, Mapping};
use crate::convert::rows::{Sources, complaint};
use crate::convert::source::{Message, MessageRef, TopicId};
use crate::convert::task::beside;
use crate::convert::{StopFlag, WorkError};
use crate::storage::{SharedStorage, StorageError};

/// The key of a metadata record that holds all episodes as JSON.
const METADATA_LIST_KEY: &str = "episodes";

/// What is split, and by which mapping.
pub(crate) struct Finder<'a> {
    pub(crate) mapping: &'a Mapping,
    pub(crate) sources: &'a Sources,
    /// The mapped topics.
    pub(crate) topics: &'a [TopicId],
    /// Where the recording lies, and files beside it.
    pub(crate) input: &'a SharedStorage,
    pub(crate) stop: &'a StopFlag,
}

impl Finder<'_> {
    /// The bounds of all episodes; at least one.
    ///
    /// # Errors
    /// What the mapping names is not there or cannot be read, with what to do.
    pub(crate) fn bounds(&self) -> Result<Vec<Bounds>, WorkError> {
        match &self.mapping.episodes.split {
            Split::File => Ok(vec![Bounds::whole()]),
            Split::Gap { gap_ns, topic: None } => {
                let topics: Vec<&[MessageRef]> = self.sources.messages.iter().map(Vec::as_slice).collect();
                Ok(pieces(&silences(&topics, *gap_ns).map_err(|many| self.too_many(many))?))
            }
            Split::Gap { gap_ns, topic: Some(topic) } => {
                let messages = self.messages(find_topic(self.mapping, &self.sources.recording, topic)?)?;
                Ok(pieces(&silences(&[&messages[..]], *gap_ns).map_err(|many| self.too_many(many))?))
            }
            Split::Marker { topic, field, rule } => self.markers(topic, field.as_ref(), rule),
            Split::Ranges(RangesIn::File(file)) => self.ranges_beside(file),
            Split::Ranges(RangesIn::Metadata(name)) => self.ranges_in_metadata(name),
        }
    }

    fn too_many(&self, many: TooMany) -> WorkError {
        WorkError::Permanent(format!(
            "{}: {many}: look at [episodes] in the mapping, or cut the recording into several",
            self.sources.recording.name()
        ))
    }

    /// The messages of a topic, mapped or not.
    fn messages(&self, topic: TopicId) -> Result<Vec<MessageRef>, WorkError> {
        if let Some(at) = self.topics.iter().position(|mapped| *mapped == topic) {
            return Ok(self.sources.messages.get(at).cloned().unwrap_or_default());
        }
        let found = self.sources.recording.index(&[topic], self.mapping.time, self.stop)?;
        Ok(found.into_iter().next().unwrap_or_default())
    }

    fn markers(
        &self,
        topic: &Located<String>,
        field: Option<&Located<String>>,
        rule: &MarkerRule,
    ) -> Result<Vec<Bounds>, WorkError> {
        let recording = &self.sources.recording;
        let id = find_topic(self.mapping, recording, topic)?;
        let field = field.map(|field| self.field(id, topic, field, rule)).transpose()?;
        let messages = self.messages(id)?;
        let mut reader = recording.reader();
        let mut markers = Markers::new(rule);
        for at in &messages {
            self.stop.check()?;
            let value = match &field {
                Some(field) => {
                    let message = reader.message(*at)?;
                    let said = value(field.of(message.kind), message);
                    Some(said.map_err(|what| complaint(recording.name(), &topic.value, at.stamp_ns, &what))?)
                }
                None => None,
            };
            markers.take(at.stamp_ns, value).map_err(|many| self.too_many(many))?;
        }
        let found = markers.finish().map_err(|many| self.too_many(many))?;
        if found.is_empty() {
            let what = format!(
                "none of the {} messages of {} in {} begins an episode",
                messages.len(),
                topic.value,
                recording.name()
            );
            return Err(self.mapping.error(topic.place, what).into());
        }
        Ok(found)
    }

    /// The field that markers are told by, of the kind that the rule compares it with.
    fn field(
        &self,
        id: TopicId,
        topic: &Located<String>,
        field: &Located<String>,
        rule: &MarkerRule,
    ) -> Result<Field, WorkError> {
        let recording = &self.sources.recording;
        let wrong = |what: String| self.mapping.error(field.place, what);
        let schemas = recording.schemas(id, self.stop)?;
        let found = Field::compile(recording, id, &schemas, &field.value).map_err(wrong)?;
        let values = match rule {
            MarkerRule::Start { start } => vec![start],
            MarkerRule::StartStop { start, stop } => vec![start, stop],
            MarkerRule::Each | MarkerRule::Toggle | MarkerRule::Change => Vec::new(),
        };
        let (fits, is) = match found.kind(recording, id).map_err(wrong)? {
            ValueKind::Strings => (
                values.iter().all(|value| matches!(value, MarkerValue::Text(_))),
                "a text: start = \"start\"",
            ),
            ValueKind::Numbers { .. } => (
                values.iter().all(|value| matches!(value, MarkerValue::Number(_))),
                "a number or a boolean: start = 1, or start = true",
            ),
            ValueKind::Bytes => (false, "bytes, and a marker is a text, a number or a boolean"),
        };
        if !fits {
            let what = format!("{} of {} is {is}", field.value, topic.value);
            return Err(self.mapping.error(field.place, what).into());
        }
        Ok(found)
    }

    fn ranges_beside(&self, file: &Located<String>) -> Result<Vec<Bounds>, WorkError> {
        let name = self.sources.recording.name();
        let key = beside(name, &file.value);
        let bytes = self.input.read(&key, RANGES_BYTES_MAX).map_err(|error| match error {
            StorageError::NotFound { location, key } => {
                let what = format!("{location}: there is no {key}: write the episodes of {name} into it");
                self.mapping.error(file.place, what).into()
            }
            error => WorkError::from(error),
        })?;
        let wrong = |what: String| WorkError::Permanent(format!("{key}: {what}"));
        let text =
            std::str::from_utf8(&bytes).map_err(|_| wrong("it is not UTF-8: save it as UTF-8".to_owned()))?;
        let notation = Notation::of(&key)
            .ok_or_else(|| wrong("its name must end in .json, .toml or .csv".to_owned()))?;
        ranges::entries(notation, text)
            .and_then(|entries| ranges::bounds(entries, self.origin_ns()))
            .map_err(wrong)
    }

    fn ranges_in_metadata(&self, name: &Located<String>) -> Result<Vec<Bounds>, WorkError> {
        let recording = &self.sources.recording;
        let mut entries = Vec::new();
        for record in recording.metadata(&name.value, self.stop)? {
            match record.get(METADATA_LIST_KEY) {
                Some(json) => entries.extend(
                    ranges::entries(Notation::Json, json).map_err(|what| self.of_metadata(name, &what))?,
                ),
                None => entries
                    .push(Entry::of_texts(record.iter().map(|(key, text)| (key.as_str(), text.as_str())))),
            }
        }
        if entries.is_empty() {
            let names = recording.metadata_names();
            let there = crate::convert::nearest::listed(names.iter().map(String::as_str), 12);
            let what =
                format!("{} has no metadata record {:?}; there are: {there}", recording.name(), name.value);
            return Err(self.mapping.error(name.place, what).into());
        }
        ranges::bounds(entries, self.origin_ns()).map_err(|what| self.of_metadata(name, &what))
    }

    fn of_metadata(&self, name: &Located<String>, what: &str) -> WorkError {
        WorkError::Permanent(format!("{}: metadata {:?}: {what}", self.sources.recording.name(), name.value))
    }

    /// Where seconds of ranges are counted from: the earliest stamp of all mapped topics.
    fn origin_ns(&self) -> u64 {
        let firsts = self.sources.messages.iter().filter_map(|messages| messages.first());
        firsts.map(|message| message.stamp_ns).min().unwrap_or(0)
    }
}

/// What a marker says: the one value of its field.
fn value(extractor: &Extractor, message: Message<'_>) -> Result<MarkerValue, String> {
    let one = |count: usize| match count {
        1 => Ok(()),
        _ => Err(format!("{} has {count} values, and a marker is one", extractor.path())),
    };
    if extractor.kind() == ValueKind::Strings {
        let mut texts = Vec::new();
        extractor.strings(message.data, &mut texts).map_err(|error| error.to_string())?;
        one(texts.len())?;
        Ok(MarkerValue::Text(texts.pop().unwrap_or_default()))
    } else {
        let mut numbers = Vec::new();
        extractor.numbers(message.data, &mut numbers).map_err(|error| error.to_string())?;
        one(numbers.len())?;
        Ok(MarkerValue::Number(numbers.pop().unwrap_or_default()))
    }
}
