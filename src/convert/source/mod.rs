//! Recordings: MCAP files, ROS 1 bags, ROS 2 bags in SQLite, and ROS 2 bags that are folders of files, in storage, read by
//! ranges. It knows topics, times and bytes; what the bytes mean is [`super::decode`]'s business.
//!
//! A file with a usable summary is never read as a whole: its message indexes say where each message lies, and one
//! chunk is one ranged read. A file without one, or cut short, is scanned once when it is opened. What the formats do
//! differently stands in `mcap`, `bag` and `db3`; `format` tells them apart. A folder is its files behind each other: see
//! [`rosbag2`].
//!
//! Memory: the index of the topics asked for (16 bytes a message), and for each reader a bounded cache of chunks.

mod bag;
mod catalog;
mod chunk;
mod db3;
mod digest;
mod error;
mod fields;
mod file;
mod format;
mod index;
mod mcap;
mod metadata;
mod part;
mod reader;
pub mod rosbag2;
mod walk;

pub use digest::DIGEST_END_BYTES;
pub use error::SourceError;
pub use reader::Reader;
pub use walk::Walked;

use crate::convert::StopFlag;
use crate::convert::decode::{DecodeError, Schema};
use crate::storage::{ObjectInfo, SharedStorage};
use bytes::Bytes;
use file::File;
use part::{Part, Whole};
use rosbag2::Folder;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A topic of one recording: its place in [`Recording::topics`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicId(pub usize);

/// Types of one topic: each is parsed, and a field of the topic is found in each.
pub const TOPIC_TYPES_MAX: usize = 32;

/// A topic, with all channels of its name together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// Its name, as the recording has it (a leading `/` is usual, not certain).
    pub name: String,
    /// The message type, with or without `/msg/`. Empty if the recording gives none.
    pub schema_name: String,
    /// How the definition is written: `ros2msg`, `ros1msg`, `jsonschema`, … Empty if there is none.
    pub schema_encoding: String,
    /// The definition.
    pub schema_data: Bytes,
    /// How the messages are written: `cdr`, `ros1`, `json`, …
    pub message_encoding: String,
    /// How many messages there are.
    pub message_count: Option<u64>,
}

impl Topic {
    /// Whether messages of both are read alike.
    pub(crate) fn has_type_of(&self, other: &Self) -> bool {
        self.schema_name == other.schema_name
            && self.schema_encoding == other.schema_encoding
            && self.message_encoding == other.message_encoding
            && self.schema_data == other.schema_data
    }

    /// The type by its name and encoding, for messages.
    pub(crate) fn type_shown(&self) -> String {
        let name = if self.schema_name.is_empty() { "no type" } else { &self.schema_name };
        format!("{name} ({})", self.message_encoding)
    }
}

/// Which of a message's times orders it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TimeSource {
    /// When it was recorded.
    #[default]
    Log,
    /// When it was published.
    Publish,
    /// The stamp in the message; its log time for types without one.
    Header,
}

/// Where a message lies and when it counts. Ordered by stamp, then by place in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageRef {
    /// Nanoseconds since the epoch, by the time source that was asked for.
    pub stamp_ns: u64,
    /// Which chunk, in the order of the file, over all files of the recording.
    pub chunk: u32,
    /// Where its record begins in the decompressed chunk.
    pub offset: u32,
}

const _: () = assert!(size_of::<MessageRef>() == 16);

/// One message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// Its topic.
    pub topic: TopicId,
    /// Which of the topic's types it has: the place in [`Recording::types`].
    pub kind: usize,
    /// When it was recorded, nanoseconds.
    pub log_ns: u64,
    /// When it was published, nanoseconds.
    pub publish_ns: u64,
    /// Its bytes, borrowed from the reader's cache.
    pub data: &'a [u8],
}

/// An open recording. Cheap to clone, and shared between threads.
#[derive(Debug, Clone)]
pub struct Recording(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    key: String,
    /// Place and name, for messages.
    shown: String,
    whole: Whole,
}

impl Recording {
    /// Opens a recording: reads its summary, or scans the file once when there is none to rely on. The key of a `metadata.yaml`
    /// stands for the ROS 2 bag that its folder is.
    ///
    /// # Errors
    /// Storage errors with their class; [`SourceError::NotARecording`] for other files; [`SourceError::Damaged`] for a
    /// file whose middle is broken (one whose end is missing is only [`Recording::is_cut`]).
    pub fn open(storage: SharedStorage, key: &str, stop: &StopFlag) -> Result<Self, SourceError> {
        let files = match rosbag2::folder_of(key) {
            None => vec![File::open(storage, key)?],
            Some(_) => {
                let folder = Folder::look(&*storage, key)?;
                let folder = folder.ok_or_else(|| rosbag2::not_a_bag(&*storage, key))?;
                let open = |file: &ObjectInfo| File::of(SharedStorage::clone(&storage), file.clone());
                folder.files().iter().map(open).collect()
            }
        };
        let whole = Whole::open(files, stop)?;
        let place = whole.parts.first().map(|part| part.file().place().to_owned()).unwrap_or_default();
        let shown = format!("{}/{}", place.trim_end_matches('/'), rosbag2::name_of(key));
        Ok(Self(Arc::new(Inner { key: key.to_owned(), shown, whole })))
    }

    /// Its name in storage: its key, or a folder's path.
    #[must_use]
    pub fn name(&self) -> &str {
        rosbag2::name_of(&self.0.key)
    }

    /// Its size in storage, that of all of its files.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.parts().iter().fold(0, |sum, part| sum.saturating_add(part.file().size()))
    }

    /// All topics, in the order of their names.
    #[must_use]
    pub fn topics(&self) -> &[Topic] {
        &self.0.whole.topics
    }

    /// A topic by its exact name.
    #[must_use]
    pub fn topic(&self, name: &str) -> Option<TopicId> {
        self.topics().binary_search_by(|t| t.name.as_str().cmp(name)).ok().map(TopicId)
    }

    /// Whether messages are found by indexes; otherwise indexing reads all chunks.
    #[must_use]
    pub fn is_indexed(&self) -> bool {
        self.0.whole.indexed
    }

    /// Whether the file ends before its data does.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.0.whole.cut
    }

    /// What the user should know of the file, without its name: the words must not depend on where it lies.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.0.whole.warnings
    }

    /// The types that a topic's messages have, each with the count of them: several where a publisher was replaced midway, or
    /// several publishers disagree. At least one for a topic that there is.
    #[must_use]
    pub fn types(&self, topic: TopicId) -> &[Topic] {
        self.0.whole.types.get(topic.0).map_or(&[], Vec::as_slice)
    }

    /// The parsed message type of a topic, the first where it has several: as [`Recording::schemas`].
    ///
    /// # Errors
    /// As [`Recording::schemas`], of the first type.
    pub fn schema(&self, topic: TopicId, stop: &StopFlag) -> Result<Schema, SourceError> {
        self.schema_of(topic, 0, stop)
    }

    /// The parsed message types of a topic, as [`Recording::types`] lists them: each checked against (for JSON without a
    /// definition: learned from) its first message.
    ///
    /// # Errors
    /// [`SourceError::Decode`] when a definition or an encoding cannot be used, or the label is wrong;
    /// [`SourceError::Topic`] for more than [`TOPIC_TYPES_MAX`] types.
    pub fn schemas(&self, topic: TopicId, stop: &StopFlag) -> Result<Vec<Schema>, SourceError> {
        let types = self.types(topic);
        if types.len() > TOPIC_TYPES_MAX {
            let many = types.len();
            return Err(self.topic_error(
                topic,
                format!(
                    "it has messages of {many} types or definitions, and at most {TOPIC_TYPES_MAX} are read"
                ),
            ));
        }
        (0..types.len().max(1)).map(|kind| self.schema_of(topic, kind, stop)).collect()
    }

    fn schema_of(&self, topic: TopicId, kind: usize, stop: &StopFlag) -> Result<Schema, SourceError> {
        let Some(known) = self.types(topic).get(kind) else {
            return Err(self.topic_error(topic, "there is no such topic".to_owned()));
        };
        let mut schema = Schema::parse(known).map_err(|e| self.decode_error(topic, e))?;
        self.with_first_message((topic, kind), stop, |data| schema.learn(data))?
            .unwrap_or(Ok(()))
            .map_err(|e| self.decode_error(topic, e))?;
        Ok(schema)
    }

    /// Every message of these topics, for each topic ordered by (stamp, place in the file).
    ///
    /// By log time on an indexed file it reads message indexes and never chunks; otherwise each chunk that may hold one
    /// of the topics, once.
    ///
    /// # Errors
    /// Of damaged chunks, stamps that cannot be decoded, and
    /// [`SourceError::Stopped`].
    pub fn index(
        &self,
        topics: &[TopicId],
        time: TimeSource,
        stop: &StopFlag,
    ) -> Result<Vec<Vec<MessageRef>>, SourceError> {
        index::index(self, topics, time, stop)
    }

    /// A reader of messages, with a cache of its own.
    #[must_use]
    pub fn reader(&self) -> Reader {
        Reader::new(self.clone())
    }

    pub(crate) fn topic_at(&self, topic: TopicId) -> Option<&Topic> {
        self.topics().get(topic.0)
    }

    fn parts(&self) -> &[Part] {
        &self.0.whole.parts
    }

    /// The file that a chunk lies in.
    fn part_of(&self, chunk: u32) -> Option<&Part> {
        let behind = self.parts().partition_point(|part| part.first() <= chunk);
        self.parts().get(behind.checked_sub(1)?)
    }

    /// Place and name, for messages.
    fn shown(&self) -> &str {
        &self.0.shown
    }

    fn topic_name(&self, topic: TopicId) -> String {
        self.topic_at(topic).map_or_else(|| format!("#{}", topic.0), |t| t.name.clone())
    }

    fn topic_error(&self, topic: TopicId, reason: String) -> SourceError {
        SourceError::Topic { file: self.shown().to_owned(), topic: self.topic_name(topic), reason }
    }

    fn decode_error(&self, topic: TopicId, source: DecodeError) -> SourceError {
        SourceError::Decode { file: self.shown().to_owned(), topic: self.topic_name(topic), source }
    }

    /// Gives the first message of a topic and type in the file to `take`; none if there is none.
    fn with_first_message<T>(
        &self,
        of: (TopicId, usize),
        stop: &StopFlag,
        take: impl FnOnce(&[u8]) -> T,
    ) -> Result<Option<T>, SourceError> {
        for part in self.parts() {
            let file = part.file().name();
            let wanted = |channel: u16| part.topic(channel) == Some(of);
            for (number, stretch) in part.stretches().filter(|(_, stretch)| stretch.may_hold(wanted)) {
                if stop.is_set() {
                    return Err(SourceError::Stopped);
                }
                let chunk = part.chunk(number, stretch, Vec::new())?;
                for message in chunk.messages(file) {
                    let (_, message) = message?;
                    if wanted(message.channel) {
                        return Ok(Some(take(message.data)));
                    }
                }
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests;
