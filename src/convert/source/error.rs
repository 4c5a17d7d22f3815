//! What can go wrong when a recording is read.

use crate::convert::decode::DecodeError;
use crate::error::{Class, Classified};
use crate::storage::StorageError;
use crate::work::WorkError;

/// Why a recording, or a part of it, could not be read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The storage it lies in.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// It was asked to stop.
    #[error("stopped as asked")]
    Stopped,
    /// Not a recording that can be read.
    #[error("{file}: {reason}")]
    NotARecording {
        /// The recording.
        file: String,
        /// What was seen, and what to do.
        reason: String,
    },
    /// Bytes that do not follow the format.
    #[error(
        "{file}: damaged at byte {offset}: {reason}; repair it (`mcap recover`, `rosbag reindex`, `sqlite3 FILE .recover`), \
         or leave it out of the input"
    )]
    Damaged {
        /// The recording.
        file: String,
        /// Where in the file the damaged record begins.
        offset: u64,
        /// What was expected there.
        reason: String,
    },
    /// A part larger than this program takes into memory.
    #[error("{file}: at byte {offset}: {reason}; write the recording with smaller chunks")]
    TooLarge {
        /// The recording.
        file: String,
        /// Where in the file.
        offset: u64,
        /// What is too large, and the limit.
        reason: String,
    },
    /// A compression that is not read.
    #[error(
        "{file}: the chunk at byte {offset} is compressed by `{compression}`, which is not supported; \
         rewrite it with one that is: zstd, lz4 or none in MCAP, bz2, lz4 or none in a bag"
    )]
    Compression {
        /// The recording.
        file: String,
        /// Where in the file.
        offset: u64,
        /// The compression's name.
        compression: String,
    },
    /// A topic that cannot be used as it stands.
    #[error("{file}: topic {topic}: {reason}")]
    Topic {
        /// The recording.
        file: String,
        /// The topic.
        topic: String,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// A topic's messages or their definition.
    #[error("{file}: topic {topic}: {source}")]
    Decode {
        /// The recording.
        file: String,
        /// The topic.
        topic: String,
        /// What is wrong.
        source: DecodeError,
    },
}

impl SourceError {
    pub(crate) fn unsupported_compression(file: &str, offset: u64, name: &str) -> Self {
        let compression = name.chars().take(40).collect();
        Self::Compression { file: file.to_owned(), offset, compression }
    }

    /// Why one topic cannot be used, where the error is about that topic's declaration; otherwise the error itself.
    ///
    /// # Errors
    /// The error, if it is about storage or the whole file.
    pub(crate) fn of_topic(self) -> Result<String, Self> {
        match self {
            Self::Decode { source, .. } => Ok(source.to_string()),
            Self::Topic { reason, .. } => Ok(reason),
            error => Err(error),
        }
    }
}

impl Classified for SourceError {
    fn class(&self) -> Class {
        match self {
            Self::Storage(error) => error.class(),
            Self::Stopped => Class::Transient,
            Self::NotARecording { .. }
            | Self::Damaged { .. }
            | Self::TooLarge { .. }
            | Self::Compression { .. }
            | Self::Topic { .. }
            | Self::Decode { .. } => Class::Permanent,
        }
    }
}

impl From<SourceError> for WorkError {
    fn from(error: SourceError) -> Self {
        match (&error, error.class()) {
            (SourceError::Stopped, _) => Self::Stopped,
            (_, Class::Transient) => Self::Transient(error.to_string()),
            (_, Class::Permanent | Class::Lost) => Self::Permanent(error.to_string()),
        }
    }
}
